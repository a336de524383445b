//! Status of the node, the persons enrolled, and the policies in force.

use crate::{problem::Problem, request::Admin, views};
use axum::{Json, extract::State};
use portcullis_policy::PolicyText;
use portcullis_protocol::{
    frame::Lane,
    identifiers::NodeId,
    register::{Authority, Node},
    time::Timestamp,
};

use super::apart;
use portcullis_admin_api::v1::{
    ListView,
    status::{CheckView, EnrolledView, PeerView, PolicyView, ProposalView, StatusView},
};
use portcullis_exchange::dispatch::plan::relays;
use portcullis_kernel::{Kernel, health, scrub};
use portcullis_store::{ReconciliationRow, Relay};

pub(crate) async fn status(State(admin): State<Admin>) -> Result<Json<StatusView>, Problem> {
    let kernel = admin.kernel.clone();
    let persons = admin.people.known().signers(kernel.now()).len();
    apart(move || view(&kernel, persons)).await.map(Json)
}

fn view(kernel: &Kernel, persons: usize) -> Result<StatusView, Problem> {
    let decider = kernel.decider();
    let (register, me) = (decider.register(), kernel.me());
    let certificate_ends = kernel.identity().certificate().not_after().as_millisecond();
    let log_end = kernel.store().log_end()?;
    let aside = kernel.store().aside()?;
    let gates = kernel.gates();
    let health = health::health(kernel);
    let peers: Vec<_> = peers(kernel)?.into_iter().map(|(_, peer)| peer).collect();
    let restored_from = kernel
        .store()
        .backup_restored()?
        .filter(|_| peers.iter().any(|peer| peer.reconciled.is_none()))
        .map(|at| at.to_string());
    Ok(StatusView {
        software: env!("CARGO_PKG_VERSION").to_owned(),
        federation: me.federation.to_string(),
        authority: me.authority.to_string(),
        node: me.node.to_string(),
        now: kernel.now().to_string(),
        development: register.development,
        register_epoch: register.epoch,
        register_digest: decider.verified_register().digest().to_string(),
        policy: decider.engine().rules().to_string(),
        own_policies: decider
            .engine()
            .policies()
            .filter(|policy| !is_baseline(policy))
            .count(),
        settings: kernel.acceptance().name().to_owned(),
        freshness: gates.stage.name().to_owned(),
        fresh_until: gates.stage.until().map(|time| time.to_string()),
        release_stopped: gates.stops.all,
        certificate_ends: Timestamp::from_millis(certificate_ends).to_string(),
        ends: kernel
            .dependencies()
            .iter()
            .map(|one| views::end(one, kernel.now()))
            .collect(),
        health: health.state().to_owned(),
        problems: views::problems(health.problems),
        hindrances: views::problems(health.hindrances),
        keys: kernel.keys_in_use().iter().map(views::key).collect(),
        last_backup: kernel.last_backup().map(|time| time.to_string()),
        held_until: kernel.store().next_held_end()?.map(|time| time.to_string()),
        peers,
        restored_from,
        log_end,
        scrubbed: kernel.scrubbed().map(|last| last.at.to_string()),
        persons,
        held: aside.held,
        quarantined: aside.quarantined,
        set_aside: kernel.set_aside().names(&kernel.store().damaged()),
        alarms: kernel.alarms().standing(),
    })
}

/// Checks everything that is kept, at once. What can be mended is mended then, and told once.
pub(crate) async fn check(State(admin): State<Admin>) -> Result<Json<CheckView>, Problem> {
    let kernel = admin.kernel.clone();
    let view = apart(move || {
        let mut parts = 0;
        while kernel.store().scrub(parts)?.is_some() {
            parts = parts.saturating_add(1);
        }
        kernel.note_scrubbed();
        kernel.move_gates();
        let damaged = kernel.store().damaged();
        let damaged = damaged
            .into_iter()
            .map(|row| format!("{}: {}", row.thing, row.why));
        Ok(CheckView {
            parts,
            damaged: damaged.collect(),
        })
    })
    .await?;
    scrub::mend_indexes(&admin.kernel).await;
    Ok(Json(view))
}

/// Returns the status of the other nodes of the federation.
pub(super) fn peers(kernel: &Kernel) -> Result<Vec<(NodeId, PeerView)>, Problem> {
    let (decider, me) = (kernel.decider(), kernel.me());
    let register = decider.register();
    let relay = register
        .authorities
        .get(&me.authority)
        .map_or(Relay::OwnOnly, |own| relays(own.kind));
    let generation = kernel.store().generation()?;
    let mut compared = kernel.store().reconciliations()?;
    compared.retain(|row| row.own == generation);
    register
        .nodes()
        .filter(|(_, node)| node.id != me.node)
        .map(|(authority, node)| {
            let view = peer(kernel, authority, node, relay, &compared)?;
            Ok((node.id.clone(), view))
        })
        .collect()
}

fn peer(
    kernel: &Kernel,
    authority: &Authority,
    node: &Node,
    relay: Relay,
    compared: &[ReconciliationRow],
) -> Result<PeerView, Problem> {
    let compared = compared.iter().find(|row| row.peer == node.id);
    let health = kernel.peer_health().remove(&node.id).unwrap_or_default();
    let reach = kernel.reach(&node.id);
    let behind = |lane| -> Result<u64, Problem> {
        let position = kernel.store().position(&node.id, lane)?;
        Ok(kernel.store().behind(lane, relay, position.cursor)?)
    };
    Ok(PeerView {
        node: node.id.to_string(),
        authority: authority.id.to_string(),
        kind: authority.kind.to_string(),
        last_receipt: health.last_receipt.map(|time| time.to_string()),
        failure: health.failure,
        last_heard: reach.heard.map(|time| time.to_string()),
        unreachable_since: reach.trouble.as_ref().map(|one| one.since.to_string()),
        unreachable: reach.trouble.as_ref().map(|one| one.why.to_string()),
        unreachable_do: reach
            .trouble
            .as_ref()
            .map(|one| one.why.remedy().to_owned()),
        clock_ahead_ms: health.skew.map(|skew| skew.ahead_ms),
        clock_error_ms: health.skew.map(|skew| skew.error_ms),
        closed: kernel
            .closed(&node.id, Lane::Urgent)
            .or_else(|| kernel.closed(&node.id, Lane::Bulk))
            .map(|closed| closed.to_string()),
        reconciled: compared.map(|row| row.at.to_string()),
        repaired: compared
            .filter(|row| !row.found.is_nothing())
            .map(|row| row.found.to_string()),
        behind_urgent: behind(Lane::Urgent)?,
        behind_bulk: behind(Lane::Bulk)?,
    })
}

pub(crate) async fn persons(State(admin): State<Admin>) -> Json<ListView<EnrolledView>> {
    let now = admin.kernel.now();
    let persons = admin.people.known();
    let items = persons.all().map(|person| views::enrolled(person, now));
    Json(ListView {
        items: items.collect(),
    })
}

/// The changes of persons that wait for a second person.
pub(crate) async fn proposals(State(admin): State<Admin>) -> Json<ListView<ProposalView>> {
    let now = admin.kernel.now();
    let persons = admin.people.known();
    let items = persons
        .proposals(now)
        .map(|(act, one)| views::proposal(act, one, now));
    Json(ListView {
        items: items.collect(),
    })
}

pub(crate) async fn policies(State(admin): State<Admin>) -> Json<ListView<PolicyView>> {
    let decider = admin.kernel.decider();
    Json(ListView {
        items: decider.engine().policies().map(PolicyView::from).collect(),
    })
}

fn is_baseline(policy: &PolicyText) -> bool {
    policy.file.starts_with("baseline/")
}

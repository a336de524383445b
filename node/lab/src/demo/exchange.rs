//! Outcome of every record for every member: the wait for it, its counts, and its display.
//!
//! Candidates are counted from the records that are held, independently of the decisions in the
//! ledgers. An authority's own record is a candidate for each other member. A record of others that
//! a hub holds is a candidate for each member but the hub and the record's origin.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{DemoError, cast::HUB, process::NodeProcess, report::ExchangeReport, show::Step};
use portcullis_admin::ledger::{LedgerView, VerificationView};
use portcullis_admin_api::v1::record::{DisclosureView, RecordView};

/// Longest time until every record is decided on and answered.
const PATIENCE: Duration = Duration::from_secs(60);

/// Interval at which the ledgers are read.
const GLANCE: Duration = Duration::from_millis(100);

/// State of one node's ledger, with the number of decisions that it should hold.
struct LedgerState {
    node: String,
    ledger: LedgerView,
    candidates: u64,
}

impl LedgerState {
    const fn is_settled(&self) -> bool {
        self.ledger.open == 0 && self.ledger.rows == self.candidates
    }
}

/// Waits until every record was decided on for every member and was answered.
///
/// # Errors
///
/// [`DemoError::Unsettled`] names the nodes that still have open decisions or deliveries.
pub async fn settled(nodes: &BTreeMap<String, NodeProcess>, step: &Step) -> Result<(), DemoError> {
    let begun = Instant::now();
    loop {
        let standings = standings(nodes).await?;
        let open: Vec<&LedgerState> = standings
            .iter()
            .filter(|standing| !standing.is_settled())
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err(DemoError::Unsettled(described(&open)));
        }
        step.at(&format!("{} nodes still have something open", open.len()));
        tokio::time::sleep(GLANCE).await;
    }
}

fn described(open: &[&LedgerState]) -> String {
    let each = open.iter().map(|standing| {
        let LedgerView { rows, open, .. } = &standing.ledger;
        format!(
            "{}: {rows} of {} decided, {open} unanswered",
            standing.node, standing.candidates
        )
    });
    each.collect::<Vec<_>>().join("; ")
}

async fn standings(nodes: &BTreeMap<String, NodeProcess>) -> Result<Vec<LedgerState>, DemoError> {
    let others = nodes.len().saturating_sub(1) as u64;
    let mut standings = Vec::with_capacity(nodes.len());
    for (name, node) in nodes {
        let ledger: LedgerView = node.get("/v1/ledger").await?;
        let relayed = if name == HUB { ledger.others } else { 0 };
        standings.push(LedgerState {
            node: name.clone(),
            candidates: ledger.own * others + relayed * others.saturating_sub(1),
            ledger,
        });
    }
    Ok(standings)
}

/// Adds up the ledgers of all nodes, and has each node verify the records that it holds.
///
/// # Errors
///
/// [`DemoError::Unverified`] if a record held by any node does not verify.
pub async fn report(nodes: &BTreeMap<String, NodeProcess>) -> Result<ExchangeReport, DemoError> {
    let mut report = ExchangeReport::default();
    for standing in standings(nodes).await? {
        let LedgerView {
            version: _,
            own,
            others: _,
            rows: _,
            delivered,
            denied,
            refused,
            held,
            open: _,
            withheld_sections,
        } = standing.ledger;
        report.candidates += standing.candidates;
        report.sealed += own;
        report.delivered += delivered;
        report.denied += denied;
        report.refused += refused;
        report.held += held;
        report.withheld_sections += withheld_sections;
    }
    for (name, node) in nodes {
        let verification: VerificationView = node.get("/v1/verification").await?;
        report.verified += verification.verified;
        if let Some(failure) = verification.failed.first() {
            return Err(DemoError::Unverified {
                node: name.clone(),
                record: failure.record.clone(),
                why: failure.why.clone(),
            });
        }
    }
    Ok(report)
}

/// Returns one line for each outcome: the members, the form in which they received the record, and
/// the policy that decided.
///
/// # Errors
///
/// [`DemoError::Client`] if the node does not show the record.
pub async fn who_got(
    from: &NodeProcess,
    hub: Option<&NodeProcess>,
    record: &str,
) -> Result<Vec<String>, DemoError> {
    let mut lines = outcomes(&from.get(&format!("/v1/records/{record}")).await?, "");
    if let Some(hub) = hub {
        // The hub holds the record only if policy let it go there.
        match hub.client.get(&format!("/v1/records/{record}")).await {
            Ok(view) => lines.extend(outcomes(&view, "over the hub: ")),
            Err(_) => lines.push("the hub does not hold it".to_owned()),
        }
    }
    Ok(lines)
}

fn outcomes(view: &RecordView, by: &str) -> Vec<String> {
    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for disclosure in &view.disclosures {
        let outcome = outcome(view, disclosure);
        groups.entry(outcome).or_default().push(&disclosure.peer);
    }
    groups
        .into_iter()
        .map(|(outcome, peers)| format!("{by}{}: {outcome}", peers.join(", ")))
        .collect()
}

fn outcome(view: &RecordView, disclosure: &DisclosureView) -> String {
    let policies = decisive(&disclosure.policies);
    let reason = disclosure
        .reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(" under {reason}"));
    if disclosure.opened.is_empty() {
        return format!("{} [{policies}]", disclosure.state);
    }
    let opened: Vec<&str> = view
        .sections
        .iter()
        .filter(|section| disclosure.opened.contains(&section.index))
        .map(|section| section.holds.as_str())
        .collect();
    format!(
        "{}{reason}, with {} [{policies}]",
        disclosure.state,
        opened.join(", ")
    )
}

/// Returns the policies that kept something back, or if there are none those that permitted it.
fn decisive(policies: &[String]) -> String {
    let kept: Vec<&str> = policies
        .iter()
        .map(String::as_str)
        .filter(|policy| !policy.starts_with("base-permit-"))
        .collect();
    if kept.is_empty() {
        policies.join(", ")
    } else {
        kept.join(", ")
    }
}

//! State of dispatch: lanes, exceptions, undelivered records, and what peers are owed.

use crate::{
    problem::{Problem, ProblemKind},
    request::{Admin, JsonBody},
    views,
};
use std::sync::Arc;

use axum::{Json, extract::State};
use portcullis_protocol::{
    frame::Lane, identifiers::NodeId, record::RecordId, time::Timestamp, verify::Refusal,
};

use super::{apart, names, outcome::in_job};
use portcullis_admin_api::{
    act::Action,
    v1::{
        ListView, Malformed,
        dispatch::{
            BackfillAsk, BackfillPreviewView, CancelView, DispatchView, LaneView, OwedView,
            RetryView, UndeliveredView,
        },
    },
};
use portcullis_exchange::dispatch::{
    backfill,
    error::PlanError as LoadError,
    plan::{Planner, relays},
};
use portcullis_kernel::Kernel;
use portcullis_store::{
    Act, Backfill, BackfillRow, CancelBackfills, DisclosureState, Relay, Retry, Write,
    writer::Priority,
};

/// Largest length of a logged reason, in bytes.
const LONGEST_REASON: usize = 256;
/// Largest number of records listed as undelivered.
const MOST_LISTED: usize = 10_000;

pub(crate) async fn status(State(admin): State<Admin>) -> Result<Json<DispatchView>, Problem> {
    let kernel = admin.kernel.clone();
    apart(move || view(&kernel)).await.map(Json)
}

fn view(kernel: &Kernel) -> Result<DispatchView, Problem> {
    let (decider, me, store) = (kernel.decider(), kernel.me(), kernel.store());
    let relay = relay(kernel);
    let mut lanes = Vec::new();
    for (_, node) in decider.register().nodes() {
        if node.id == me.node {
            continue;
        }
        for lane in Lane::ALL {
            let position = store.position(&node.id, *lane)?;
            lanes.push(LaneView {
                peer: node.id.to_string(),
                lane: lane.name().to_owned(),
                cursor: position.cursor,
                behind: store.behind(*lane, relay, position.cursor)?,
                next_sequence: position.next_sequence,
                closed: kernel
                    .closed(&node.id, *lane)
                    .map(|closed| closed.to_string()),
            });
        }
    }
    Ok(DispatchView {
        generation: data_encoding::HEXLOWER.encode(store.generation()?.as_bytes()),
        log_end: store.log_end()?,
        lanes,
        exceptions: store
            .exceptions(kernel.now())?
            .iter()
            .map(views::exception)
            .collect(),
        backfills: store.backfills()?.iter().map(views::backfill).collect(),
    })
}

fn relay(kernel: &Kernel) -> Relay {
    let decider = kernel.decider();
    let own = decider.register().authorities.get(&kernel.me().authority);
    own.map_or(Relay::OwnOnly, |own| relays(own.kind))
}

pub(crate) async fn undelivered(
    State(admin): State<Admin>,
) -> Result<Json<ListView<UndeliveredView>>, Problem> {
    let kernel = admin.kernel.clone();
    let items = apart(move || given_up(&kernel)).await?;
    Ok(Json(ListView { items }))
}

fn given_up(kernel: &Kernel) -> Result<Vec<UndeliveredView>, Problem> {
    let store = kernel.store();
    let rows = store.undelivered(kernel.now())?;
    rows.iter()
        .take(MOST_LISTED)
        .map(|row| {
            let disclosure = store.disclosure(&row.record, &row.peer)?;
            let (state, reason) = disclosure.map_or(("intended", None), |told| {
                (state_name(told.state), told.reason)
            });
            Ok(UndeliveredView {
                record: row.record.to_string(),
                peer: row.peer.to_string(),
                lane: row.lane.name().to_owned(),
                attempts: row.attempts,
                ended_at: row.ended_at.to_string(),
                state: state.to_owned(),
                reason,
            })
        })
        .collect()
}

const fn state_name(state: DisclosureState) -> &'static str {
    match state {
        DisclosureState::Intended => "intended",
        DisclosureState::Denied => "denied",
        DisclosureState::Answered(outcome) => outcome.name(),
    }
}

/// Returns the preview of a backfill. Nothing is written.
pub(crate) async fn preview(
    State(admin): State<Admin>,
    JsonBody(ask): JsonBody<BackfillAsk>,
) -> Result<Json<BackfillPreviewView>, Problem> {
    let kernel = admin.kernel.clone();
    apart(move || previewed(&kernel, ask)).await.map(Json)
}

fn previewed(kernel: &Kernel, ask: BackfillAsk) -> Result<BackfillPreviewView, Problem> {
    let range = Range::read(kernel, ask)?;
    let decider = kernel.decider();
    let Some((authority, node)) = decider.register().node(&range.peer) else {
        let message = "the register was replaced meanwhile; ask again";
        return Err(Problem::new(ProblemKind::Failed, message));
    };
    let key = kernel.hop_key();
    let planner = Planner {
        decider: &decider,
        sender: &kernel.me().node,
        authority,
        peer: &node.id,
        lane: Lane::Bulk,
        key: &key,
        now: kernel.now(),
        most: portcullis_protocol::frame::MAX_ITEMS,
        spoken: kernel.spoken(&node.id),
    };
    let span = (range.since, range.until);
    let preview = backfill::preview(planner, kernel.store().as_ref(), relay(kernel), span);
    let preview = preview.map_err(|error| match error {
        LoadError::Store(error) => Problem::from(error),
        LoadError::Frame(error) => Problem::new(ProblemKind::Failed, error.to_string()),
    })?;
    Ok(views::backfill_preview(range.peer.as_str(), &preview))
}

/// A range of time, of which a peer is sent the older records.
#[derive(Debug)]
pub(super) struct Range {
    peer: NodeId,
    since: Timestamp,
    until: Timestamp,
    reason: String,
}

impl Range {
    fn read(kernel: &Kernel, ask: BackfillAsk) -> Result<Self, Problem> {
        let BackfillAsk {
            peer,
            since,
            until,
            reason,
        } = ask;
        // Records that come from now on are sent anyway; those of this millisecond count as older.
        let end = kernel.now().plus_millis(1);
        let range = Self {
            peer: Malformed::reading("peer", &peer)?,
            since: Malformed::reading("since", &since)?,
            until: Malformed::reading_any("until", until)?
                .unwrap_or(end)
                .min(end),
            reason: one_line(reason)?,
        };
        names::known(kernel).peer(&range.peer)?;
        if range.since >= range.until {
            let message = "the range is empty: it begins when it ends, or later, or ahead of now";
            return Err(Problem::new(ProblemKind::Invalid, message));
        }
        Ok(range)
    }
}

fn one_line(reason: String) -> Result<String, Problem> {
    if reason.len() > LONGEST_REASON || reason.chars().any(char::is_control) {
        let message = "the reason is not one short line";
        return Err(Problem::new(ProblemKind::Invalid, message));
    }
    Ok(reason)
}

/// A change to what a peer is owed.
#[derive(Debug)]
pub(super) enum OwedAct {
    /// Retry of a record that was given up, or waits for its next try.
    Retry {
        record: RecordId,
        peer: NodeId,
        reason: String,
    },
    /// Sending of older records.
    Backfill(Range),
    /// End of sending older records.
    Cancel { peer: NodeId, reason: String },
}

impl OwedAct {
    /// Reads the body of a signed act.
    pub(super) fn read(kernel: &Kernel, action: Action, body: &[u8]) -> Result<Self, Problem> {
        let unreadable = |error: serde_json::Error| {
            let message = format!("the request cannot be read: {error}");
            Problem::new(ProblemKind::Invalid, message)
        };
        if action == Action::Backfill {
            let ask = serde_json::from_slice(body).map_err(unreadable)?;
            return Range::read(kernel, ask).map(Self::Backfill);
        }
        if action == Action::BackfillCancel {
            let CancelView { peer, reason } = serde_json::from_slice(body).map_err(unreadable)?;
            let peer = Malformed::reading("peer", &peer)?;
            let reason = one_line(reason)?;
            return Ok(Self::Cancel { peer, reason });
        }
        let RetryView {
            record,
            peer,
            reason,
        } = serde_json::from_slice(body).map_err(unreadable)?;
        let peer = Malformed::reading("peer", &peer)?;
        names::known(kernel).peer(&peer)?;
        Ok(Self::Retry {
            record: names::record(kernel, &record)?,
            peer,
            reason: one_line(reason)?,
        })
    }

    /// Describes the object of the act for the log.
    pub(super) fn concerns(&self) -> String {
        match self {
            Self::Retry {
                record,
                peer,
                reason,
            } => format!("record {record} for {peer}: {reason}"),
            Self::Backfill(range) => format!(
                "records from {} to {} for {}: {}",
                range.since, range.until, range.peer, range.reason
            ),
            Self::Cancel { peer, reason } => format!("older records for {peer}: {reason}"),
        }
    }

    /// Writes the change together with the act's log, and has dispatch look again.
    pub(super) async fn carry_out(self, admin: &Admin, log: Act) -> Result<OwedView, Problem> {
        let kernel = &admin.kernel;
        let (write, view) = match self {
            Self::Backfill(range) => entered(kernel, range),
            Self::Cancel { peer, .. } => {
                let kernel = Arc::clone(kernel);
                apart(move || cancelled(&kernel, peer)).await?
            }
            Self::Retry { record, peer, .. } => {
                let kernel = Arc::clone(kernel);
                apart(move || due(&kernel, record, peer)).await?
            }
        };
        let kept = view.clone();
        let log = in_job(log, move |_| kept.clone());
        kernel.commit(Priority::Urgent, vec![log, write]).await?;
        kernel.call_dispatch();
        Ok(view)
    }
}

fn entered(kernel: &Kernel, range: Range) -> (Write, OwedView) {
    let view = OwedView {
        peer: range.peer.to_string(),
        what: format!(
            "what came from {} to {}, as policy permits; `portcullis dispatch status` shows how far it is",
            range.since, range.until
        ),
    };
    let write = Write::Backfill(Backfill {
        peer: range.peer,
        since: range.since,
        until: range.until,
        now: kernel.now(),
    });
    (write, view)
}

/// Ends the ranges of a peer; records of them that were sent stay sent.
fn cancelled(kernel: &Kernel, peer: NodeId) -> Result<(Write, OwedView), Problem> {
    let rows = kernel.store().backfills()?;
    let open = |row: &&BackfillRow| row.peer == peer && row.ended_at.is_none();
    let open = rows.iter().filter(open).count();
    if open == 0 {
        names::known(kernel).peer(&peer)?;
        let message = format!("no older records are being sent to `{peer}`");
        return Err(Problem::new(ProblemKind::Invalid, message)
            .remedy("`portcullis dispatch status` shows what is"));
    }
    let view = OwedView {
        peer: peer.to_string(),
        what: format!(
            "no more of the older records that it was owed (ranges ended: {open}); what was sent stays sent"
        ),
    };
    let now = kernel.now();
    let write = Write::CancelBackfills(CancelBackfills { peer, now });
    Ok((write, view))
}

/// Has a record tried again for another seven days, or until it is to be deleted.
fn due(kernel: &Kernel, record: RecordId, peer: NodeId) -> Result<(Write, OwedView), Problem> {
    let now = kernel.now();
    let held = kernel.store().record(&record)?.ok_or_else(|| {
        Problem::new(
            ProblemKind::Unknown,
            format!("record `{record}` is not held here"),
        )
        .remedy("`portcullis dispatch undelivered` lists what was given up")
    })?;
    let verified = kernel.decider().verify_held(&held, now);
    let verified = verified.map_err(|refusal: Refusal| {
        Problem::new(ProblemKind::Failed, refusal.to_string()).rule(refusal.rule.id())
    })?;
    let delete_at = verified.header().marking.delete_at;
    if delete_at.is_some_and(|end| end <= now) {
        let message = format!("record `{record}` was to be deleted; nobody takes it any more");
        return Err(Problem::new(ProblemKind::Invalid, message));
    }
    let view = OwedView {
        peer: peer.to_string(),
        what: format!("record {record}, at once"),
    };
    let write = Write::Retry(Retry {
        peer,
        record,
        now,
        delete_at,
    });
    Ok((write, view))
}

//! Backfill: older records that a peer is owed, because policy permits them now or because the peer
//! is new.
//!
//! A range of the record log is read again, behind everything that is new: the bulk lane takes from
//! the range only when its log gives nothing, so that no alert and no new record waits. Records
//! that the peer has confirmed in the permitted form are passed over. Records that are still denied
//! are noted in the ledger. The preview builds the same draft, frame by frame, and sends nothing.

use std::collections::BTreeMap;

use portcullis_protocol::{
    frame::{Chain, Generation, Lane, MAX_ITEMS},
    record::{Kind, SectionTag},
    time::Timestamp,
};

use super::plan::{Draft, Footing, Planner};
use crate::dispatch::error::PlanError;
use portcullis_store::{
    BackfillMove, DisclosureRow, LogEntry, Relay, Store, StoreError, ends_page,
};

/// Entries per page, at most.
const PAGE: usize = 256;

/// One page of a range, and what was disclosed to the peer of its records before.
struct Page {
    entries: Vec<LogEntry>,
    earlier: Vec<DisclosureRow>,
    /// True if the range has no entries after this page.
    is_last: bool,
}

/// Position in a range at which a page begins.
#[derive(Clone, Copy)]
struct From {
    log: Lane,
    after: u64,
    last: u64,
}

fn page(
    planner: Planner<'_>,
    store: &dyn Store,
    relay: Relay,
    from: From,
    limit: usize,
) -> Result<Page, StoreError> {
    let limit = limit.clamp(1, PAGE);
    let asked = u32::try_from(limit).unwrap_or(u32::MAX);
    let mut entries = store.outbox(from.log, relay, from.after, asked)?;
    let found = entries.len();
    let is_short = found < limit && !ends_page(&entries);
    entries.retain(|entry| entry.sequence <= from.last);
    let is_last = is_short || entries.len() < found;
    let logged: Vec<_> = entries
        .iter()
        .map(|entry| (entry.sequence, entry.logged.id()))
        .collect();
    let earlier = store.disclosures_to(planner.peer, &logged)?;
    Ok(Page {
        entries,
        earlier,
        is_last,
    })
}

/// Fills the rest of a frame with older records that the peer is owed.
pub(super) fn fill(
    draft: &mut Draft<'_>,
    planner: Planner<'_>,
    store: &dyn Store,
    relay: Relay,
) -> Result<(), StoreError> {
    let Some(row) = store.next_backfill(planner.peer)? else {
        return Ok(());
    };
    let (before, sent) = (draft.looked_at(), draft.len());
    let mut looked_at = 0;
    let mut from = From {
        log: row.log,
        after: row.next,
        last: row.last,
    };
    let mut ended = false;
    while !ended && !draft.is_full() && draft.looked_at() < before + MAX_ITEMS {
        let limit = before + MAX_ITEMS - draft.looked_at();
        let page = page(planner, store, relay, from, limit)?;
        let places: Vec<u64> = page.entries.iter().map(|entry| entry.sequence).collect();
        let end = places.last().copied();
        let reached = draft.fill(page.entries, page.earlier);
        from.after = reached.unwrap_or(from.after);
        looked_at += places.iter().filter(|at| **at <= from.after).count() as u64;
        // A frame that was full before the end of the page continues from the entry at which it
        // stopped.
        ended = page.is_last && end.is_none_or(|end| reached == Some(end));
    }
    draft.moves(BackfillMove {
        n: row.n,
        next: from.after,
        looked_at,
        sent: (draft.len() - sent) as u64,
        ended,
    });
    Ok(())
}

/// Summary of what a backfill would send: counts only, never a record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preview {
    /// Number of log entries in the range.
    pub looked_at: u64,
    /// Records that would be sent, counted by kind, sections opened, number of sections withheld,
    /// and the policies that decide.
    pub sends: BTreeMap<Sends, u64>,
    /// Records that would be denied, counted by the policies that deny them.
    pub denied: BTreeMap<Vec<String>, u64>,
}

/// A form in which records would be sent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sends {
    /// Kind of the records.
    pub kind: Kind,
    /// Sections opened.
    pub gets: Vec<SectionTag>,
    /// Number of sections of the held form that are withheld.
    pub withheld: u32,
    /// Policies that decide.
    pub policies: Vec<String>,
}

/// Says what a backfill of what came at or after `since` and before `until` would send.
///
/// # Errors
///
/// [`PlanError`] if the store does not answer.
pub fn preview(
    planner: Planner<'_>,
    store: &dyn Store,
    relay: Relay,
    (since, until): (Timestamp, Timestamp),
) -> Result<Preview, PlanError> {
    let mut preview = Preview::default();
    for lane in Lane::ALL {
        let span = store.span(*lane, since, until)?;
        let mut from = From {
            log: *lane,
            after: span.after,
            last: span.last,
        };
        loop {
            let page = page(planner, store, relay, from, PAGE)?;
            let places: Vec<u64> = page.entries.iter().map(|entry| entry.sequence).collect();
            let end = places.last().copied();
            let mut draft = planner.draft(NOWHERE);
            let reached = draft.fill(page.entries, page.earlier);
            preview.count(&draft);
            let Some(reached) = reached else { break };
            preview.looked_at += places.iter().filter(|at| **at <= reached).count() as u64;
            from.after = reached;
            if page.is_last && Some(reached) == end {
                break;
            }
        }
    }
    Ok(preview)
}

/// Footing of a preview, from which nothing is sent.
const NOWHERE: Footing = Footing {
    generation: Generation::from_bytes([0; 16]),
    cursor: 0,
    next_sequence: 1,
    settled_sequence: 1,
    chain: Chain::START,
};

impl Preview {
    fn count(&mut self, draft: &Draft<'_>) {
        let mut records = draft.records();
        for entry in draft.ledger() {
            let policies = entry.note.policies.clone();
            if entry.form.is_empty() {
                *self.denied.entry(policies).or_default() += 1;
                continue;
            }
            // Records of the frame are in the order of those entries that are not denied.
            let Some(record) = records.next() else { return };
            let table = record.header().sections.iter();
            let sends = Sends {
                kind: record.header().kind,
                gets: table
                    .filter(|section| entry.form.contains(section.index))
                    .map(|section| section.tag)
                    .collect(),
                withheld: entry.withheld,
                policies,
            };
            *self.sends.entry(sends).or_default() += 1;
        }
    }
}

//! State of every record for every peer, and verification of everything that is held.
//!
//! Counts the disclosure ledger, and checks each record from its bytes on disk up to the register's
//! signatures. A record that cannot be read, or does not verify, is reported with the rule it
//! breaks or the error of the store. The others are checked all the same.
//!
//! No request of the product asks this yet; the laboratory's do, until `ledger` and `verification` are commands.

use std::collections::BTreeMap;

use portcullis_protocol::{frame::Outcome, identifiers::NodeId, record::RecordId, rules::Rule};
use serde::{Deserialize, Serialize};

use portcullis_kernel::Kernel;
use portcullis_store::{DisclosureRow, DisclosureState, StoreError};

/// Ids read at a time.
const PAGE: u32 = 4_096;

/// The counts of a node's disclosure ledger. Version 1.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerView {
    /// Version of the format: 1.
    pub version: u32,
    /// Records that this authority made.
    pub own: u64,
    /// Records of others that are held.
    pub others: u64,
    /// Number of pairs of a record and a peer for which there is a decision.
    pub rows: u64,
    /// Disclosures answered as accepted, extended or duplicate.
    pub delivered: u64,
    /// Disclosures denied by policy at this node.
    pub denied: u64,
    /// Disclosures refused by the peer.
    pub refused: u64,
    /// Disclosures held by the peer for a person.
    pub held: u64,
    /// Disclosures without a final answer: sent, about to be sent, or to be tried again.
    pub open: u64,
    /// Sections withheld from released records.
    pub withheld_sections: u64,
}

/// Result of verifying everything that a node holds. Version 1.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerificationView {
    /// Version of the format: 1.
    pub version: u32,
    /// Records held that verify against the register in force.
    pub verified: u64,
    /// Records set apart, because they were first seen after their key was compromised.
    #[serde(default)]
    pub set_apart: u64,
    /// Records that do not verify.
    pub failed: Vec<FailureView>,
}

/// A record that does not verify.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureView {
    /// The record.
    pub record: String,
    /// Rule that the record breaks; absent if the store could not read it.
    pub rule: Option<String>,
    /// Description of the error.
    pub why: String,
}

/// Counts the ledger of a node.
///
/// # Errors
///
/// [`StoreError`].
pub fn count(kernel: &Kernel) -> Result<LedgerView, StoreError> {
    let mut view = LedgerView {
        version: 1,
        ..LedgerView::default()
    };
    for_each_id(kernel, |id| {
        match kernel.store().record(id) {
            Ok(Some(held)) if held.source.is_none() => view.own += 1,
            Ok(Some(_)) => view.others += 1,
            // The verification reports records that cannot be read.
            Ok(None) | Err(StoreError::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    })?;
    for row in newest(kernel.store().disclosures(None)?) {
        view.add(&row);
    }
    Ok(view)
}

/// Verifies everything that a node holds.
///
/// # Errors
///
/// [`StoreError`] if the store fails as a whole.
pub fn verify(kernel: &Kernel) -> Result<VerificationView, StoreError> {
    let mut view = VerificationView {
        version: 1,
        ..VerificationView::default()
    };
    let (decider, now) = (kernel.decider(), kernel.now());
    for_each_id(kernel, |id| {
        let held = match kernel.store().record(id) {
            Ok(Some(held)) => held,
            // Known by its id alone: refused, held or erased.
            Ok(None) => return Ok(()),
            Err(StoreError::Damaged(why)) => {
                view.fail(id, None, why);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        match decider.verify_held(&held, now) {
            Ok(_) => view.verified += 1,
            Err(refusal) if refusal.rule == Rule::KeyCompromised => view.set_apart += 1,
            Err(refusal) => view.fail(id, Some(refusal.rule), refusal.detail),
        }
        Ok(())
    })?;
    Ok(view)
}

/// Calls `look` with every id in the log, which is read page by page.
fn for_each_id(
    kernel: &Kernel,
    mut look: impl FnMut(&RecordId) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = kernel.store().ids_after(after.as_ref(), PAGE)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(*last);
        page.iter().try_for_each(&mut look)?;
    }
}

/// Returns the newest decision on each record for each peer.
fn newest(rows: Vec<DisclosureRow>) -> impl Iterator<Item = DisclosureRow> {
    let mut newest: BTreeMap<(RecordId, NodeId), DisclosureRow> = BTreeMap::new();
    for row in rows {
        let key = (row.record, row.peer.clone());
        match newest.get(&key) {
            Some(known) if known.decided_at > row.decided_at => {}
            Some(_) | None => {
                newest.insert(key, row);
            }
        }
    }
    newest.into_values()
}

impl LedgerView {
    fn add(&mut self, row: &DisclosureRow) {
        self.rows += 1;
        match row.state {
            DisclosureState::Denied => {
                self.denied += 1;
                return;
            }
            DisclosureState::Intended => self.open += 1,
            DisclosureState::Answered(
                Outcome::Accepted | Outcome::Extended | Outcome::Duplicate,
            ) => self.delivered += 1,
            DisclosureState::Answered(Outcome::Refused) => self.refused += 1,
            DisclosureState::Answered(Outcome::Held) => self.held += 1,
            DisclosureState::Answered(Outcome::RefusedForNow) => self.open += 1,
        }
        self.withheld_sections += u64::from(row.withheld);
    }
}

impl VerificationView {
    fn fail(&mut self, record: &RecordId, rule: Option<Rule>, why: String) {
        self.failed.push(FailureView {
            record: record.to_string(),
            rule: rule.map(|rule| rule.id().to_owned()),
            why,
        });
    }
}

#[cfg(test)]
mod tests {
    use portcullis_protocol::{record::Form, time::Timestamp};

    use super::*;
    use portcullis_store::DecisionNote;

    fn row(record: u8, state: DisclosureState, at: i64) -> DisclosureRow {
        DisclosureRow {
            record: RecordId::of_header(&[record]),
            peer: "peer".parse().unwrap(),
            form: Form::EMPTY,
            withheld: 2,
            state,
            reason: None,
            note: DecisionNote::default(),
            decided_at: Timestamp::from_millis(at),
            answered_at: None,
        }
    }

    #[test]
    fn every_state_is_counted_once() {
        let states = [
            DisclosureState::Intended,
            DisclosureState::Denied,
            DisclosureState::Answered(Outcome::Accepted),
            DisclosureState::Answered(Outcome::Extended),
            DisclosureState::Answered(Outcome::Duplicate),
            DisclosureState::Answered(Outcome::Refused),
            DisclosureState::Answered(Outcome::RefusedForNow),
            DisclosureState::Answered(Outcome::Held),
        ];
        let mut view = LedgerView::default();
        for (n, state) in (0..).zip(states) {
            view.add(&row(n, state, 0));
        }
        let sum = view.delivered + view.denied + view.refused + view.held + view.open;
        assert_eq!((view.rows, sum), (8, 8));
        assert_eq!((view.delivered, view.open), (3, 2));
        assert_eq!(
            view.withheld_sections, 14,
            "what is denied releases nothing"
        );
    }

    #[test]
    fn the_newest_decision_counts() {
        let rows = vec![
            row(1, DisclosureState::Denied, 2),
            row(1, DisclosureState::Intended, 1),
        ];
        let newest: Vec<_> = newest(rows).map(|row| row.state).collect();
        assert_eq!(newest, [DisclosureState::Denied]);
    }
}

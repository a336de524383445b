//! Tests of announcements: urgent records are planned while the transaction that logs them is open,
//! and nothing is passed over.

use portcullis_protocol::{
    frame::Lane,
    record::{Kind, RecordId},
    verify::VerifiedRecord,
};

use super::{fixture::*, key};
use crate::SqliteStore;
use portcullis_store::{
    DisclosureState, Intend, LedgerEntry, LogEntry, Relay, Store, StoreError, Write, Written,
};

struct Office {
    store: SqliteStore,
    _folder: tempfile::TempDir,
    police: Originator,
}

impl Office {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            store: SqliteStore::create(folder.path(), &key()).unwrap(),
            _folder: folder,
            police: Originator::new(1),
        }
    }

    fn alert(&mut self) -> VerifiedRecord {
        self.police.record(Kind::Alert)
    }

    fn urgent(&self) -> Vec<LogEntry> {
        let log = self.store.outbox(Lane::Urgent, Relay::Others, 0, 9);
        log.unwrap()
    }

    /// Commits jobs as one transaction. The last job is made when the others are in it.
    fn group(
        &self,
        jobs: Vec<Vec<Write>>,
        last: impl Fn(&Self) -> Option<Vec<Write>>,
    ) -> Vec<Result<Vec<Written>, StoreError>> {
        let mut jobs = jobs.into_iter();
        let mut asked = false;
        self.store.commit_group(&mut || {
            let next = jobs.next();
            if next.is_some() || std::mem::replace(&mut asked, true) {
                return next;
            }
            last(self)
        })
    }

    fn intended(&self, record: RecordId, sequence: u64) -> Vec<Write> {
        let entry = LedgerEntry {
            sequence: Some(sequence),
            ..entry(record, form(&[0, 1]))
        };
        vec![Write::Intend(Intend {
            peer: peer("hub"),
            lane: Lane::Urgent,
            now: at(1),
            generation: self.store.generation().unwrap(),
            first_sequence: Some(1),
            entries: vec![entry],
            cursor: None,
            filled: None,
            awaits: Vec::new(),
        })]
    }
}

fn publish(record: &VerifiedRecord) -> Vec<Write> {
    vec![Write::Publish {
        records: vec![record.clone()],
        now: at(0),
    }]
}

#[test]
fn what_is_intended_for_an_alert_joins_the_transaction_that_logs_it() {
    let mut office = Office::new();
    let (bulk, alert) = (office.police.record(Kind::Indicator), office.alert());
    let results = office.group(vec![publish(&bulk), publish(&alert)], |office| {
        assert!(office.store.record(&alert.id()).unwrap().is_none());
        let announced = office.urgent();
        assert_eq!(announced.len(), 1);
        assert_eq!(announced[0].logged.id(), alert.id());
        Some(office.intended(alert.id(), announced[0].sequence))
    });
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let log = office.urgent();
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].logged.id(), alert.id());
    let row = office.store.disclosure(&alert.id(), &peer("hub")).unwrap();
    assert_eq!(row.unwrap().state, DisclosureState::Intended);
}

#[test]
fn an_alert_is_not_announced_before_another_that_came_in_the_same_transaction() {
    let mut office = Office::new();
    let (delivered, own) = (office.alert(), office.alert());
    let came = intake(
        "antwerp",
        vec![(delivered.id(), delivered.form(), admit(&delivered))],
    );
    let results = office.group(vec![vec![came], publish(&own)], |office| {
        // A cursor that moved to the second would pass over the first.
        assert!(office.urgent().is_empty());
        None
    });
    assert_eq!(results.len(), 2);
    let log: Vec<_> = office
        .urgent()
        .iter()
        .map(|entry| entry.logged.id())
        .collect();
    assert_eq!(log, [delivered.id(), own.id()]);
}

#[test]
fn what_a_job_rolled_back_is_not_announced() {
    let mut office = Office::new();
    let (lost, other) = (office.alert(), office.alert());
    let mut job = publish(&lost);
    job.push(intake(
        "hub",
        vec![(lost.id(), other.form(), admit(&other))],
    ));
    let results = office.group(vec![job], |office| {
        assert!(office.urgent().is_empty());
        None
    });
    assert!(results[0].is_err());
}

#[test]
fn a_ledger_row_for_another_record_at_an_announced_place_is_refused() {
    let mut office = Office::new();
    let (gone, there) = (office.alert(), office.alert());
    office.store.commit(publish(&there)).unwrap();
    let place = office.urgent()[0].sequence;
    let wrong = office.intended(gone.id(), place);
    assert!(matches!(
        office.store.commit(wrong),
        Err(StoreError::Fault(_))
    ));
    let right = office.intended(there.id(), place);
    assert!(office.store.commit(right).is_ok());
}

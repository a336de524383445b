//! Tests that SQLite's store returns the same from memory as from the disk.

use portcullis_protocol::{frame::Lane, record::Kind};

use super::{fixture::*, key};
use crate::SqliteStore;
use portcullis_store::{LogEntry, Logged, Relay, Store, Write};

fn log(store: &SqliteStore, cursor: u64, limit: u32) -> Vec<LogEntry> {
    store
        .outbox(Lane::Bulk, Relay::OwnOnly, cursor, limit)
        .unwrap()
}

fn is_at_hand(entry: &LogEntry) -> bool {
    matches!(entry.logged, Logged::AtHand { .. })
}

#[test]
fn own_records_come_from_memory_and_after_a_start_the_same_from_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let mut police = Originator::new(1);
    // The records fill more than two packs, the last one only in part.
    let records = police.batch(vec![draft(Kind::Indicator); 70]);
    publish(&store, &records);
    let at_hand = log(&store, 0, 999);
    assert_eq!(at_hand.len(), 70);
    assert!(at_hand.iter().all(is_at_hand));
    drop(store);
    let store = SqliteStore::open(folder.path(), &key()).unwrap();
    let stored = log(&store, 0, 999);
    assert!(!stored.iter().any(is_at_hand));
    let view = |entries: &[LogEntry]| -> Vec<_> {
        let sealed = |entry: &LogEntry| (entry.sequence, entry.logged.sealed().clone());
        entries.iter().map(sealed).collect()
    };
    assert_eq!(view(&at_hand), view(&stored));
    // The reading starts in the middle of a pack and does not reach its end.
    let cursor = at_hand[40].sequence;
    assert_eq!(view(&log(&store, cursor, 5)), view(&at_hand[41..46]));
}

#[test]
fn what_was_rolled_back_or_delivered_is_not_at_hand() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let mut police = Originator::new(1);
    let (lost, kept) = (
        police.record(Kind::Indicator),
        police.record(Kind::Indicator),
    );
    let other = police.record(Kind::Alert);
    let publish = |record| Write::Publish {
        records: vec![record],
        now: at(0),
    };
    let failing = intake("hub", vec![(lost.id(), other.form(), admit(&other))]);
    assert!(store.commit(vec![publish(lost), failing]).is_err());
    store.commit(vec![publish(kept.clone())]).unwrap();
    let delivered = police.record(Kind::Indicator);
    deliver(
        &store,
        "hub",
        vec![(delivered.id(), delivered.form(), admit(&delivered))],
    );
    let log = store.outbox(Lane::Bulk, Relay::Others, 0, 9).unwrap();
    let seen: Vec<_> = log
        .iter()
        .map(|entry| (entry.logged.id(), is_at_hand(entry)))
        .collect();
    assert_eq!(seen, [(kept.id(), true), (delivered.id(), false)]);
}

//! A record that is withdrawn is gone for good, and the others of its pack are not.

use portcullis_protocol::{
    frame::{Lane, Outcome},
    record::{Form, Kind},
    verify::VerifiedRecord,
};
use rusqlite::Connection;

use super::{fixture::*, key};
use crate::store::{RecordFilter, Relay, SqliteStore, Store, Write};

fn withdraw(store: &SqliteStore, records: &[VerifiedRecord]) {
    let write = Write::Withdraw {
        records: records.iter().map(VerifiedRecord::id).collect(),
        outcome: "recalled".to_owned(),
        at: at(9),
    };
    store.commit(vec![write]).unwrap();
}

/// Any commit: keys are destroyed one commit behind.
fn another_commit(store: &SqliteStore) {
    publish(store, &[]);
}

fn pack_key(folder: &std::path::Path) -> Vec<u8> {
    Connection::open(folder.join("keys.db"))
        .unwrap()
        .query_row("SELECT sealed FROM pack_key WHERE n = 1", [], |row| {
            row.get(0)
        })
        .unwrap()
}

#[test]
fn the_others_of_a_pack_open_as_before_and_the_withdrawn_one_never_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let mut police = Originator::new(1);
    let records: Vec<_> = (0..5).map(|_| police.record(Kind::Indicator)).collect();
    publish(&store, &records);
    let before = pack_key(folder.path());
    withdraw(&store, &records[1..3]);
    let kept = [&records[0], &records[3], &records[4]];
    let check = |store: &SqliteStore| {
        for record in &records[1..3] {
            assert!(store.record(&record.id()).unwrap().is_none());
        }
        for record in kept {
            let held = store.record(&record.id()).unwrap().unwrap();
            assert_eq!(&police.verify(&held.sealed).unwrap(), record);
        }
        let listed = store.records(&RecordFilter::default()).unwrap();
        let mut expected: Vec<_> = kept.iter().map(|record| record.id()).collect();
        expected.reverse();
        assert_eq!(ids(&listed), expected);
        let log = store.outbox(Lane::Bulk, Relay::OwnOnly, 0, 10).unwrap();
        let logged: Vec<_> = log.iter().map(|entry| entry.sequence).collect();
        assert_eq!(logged, [32, 35, 36]);
    };
    check(&store);
    assert_eq!(
        pack_key(folder.path()),
        before,
        "keys follow one commit behind"
    );
    another_commit(&store);
    assert_ne!(pack_key(folder.path()), before);
    check(&store);
    // With the tombstone gone, the key is gone all the same.
    drop(store);
    let main = Connection::open(folder.path().join("store.db")).unwrap();
    let left: i64 = main
        .query_row("SELECT count(*) FROM erasure", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0);
    main.execute_batch("DELETE FROM tombstone").unwrap();
    let store = SqliteStore::open(folder.path(), &key()).unwrap();
    assert!(
        store.record(&records[1].id()).is_err(),
        "its sections do not open"
    );
    assert!(store.record(&records[0].id()).unwrap().is_some());
}

#[test]
fn a_crash_before_the_keys_are_destroyed_is_made_good_at_the_first_commit() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let record = Originator::new(1).record(Kind::Indicator);
    publish(&store, std::slice::from_ref(&record));
    let before = pack_key(folder.path());
    withdraw(&store, std::slice::from_ref(&record));
    drop(store);
    let store = SqliteStore::open(folder.path(), &key()).unwrap();
    assert!(store.record(&record.id()).unwrap().is_none());
    assert_eq!(pack_key(folder.path()), before);
    another_commit(&store);
    assert_ne!(pack_key(folder.path()), before);
}

#[test]
fn a_withdrawn_record_is_not_taken_again_sent_again_or_decided_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let mut police = Originator::new(1);
    let [own, waiting, unknown]: [_; 3] = std::array::from_fn(|_| police.record(Kind::Indicator));
    publish(&store, std::slice::from_ref(&own));
    intend(
        &store,
        "hub",
        vec![entry(own.id(), own.form())],
        None,
        at(0),
    );
    let answers = vec![answer(own.id(), own.form(), Outcome::RefusedForNow)];
    settle(&store, "hub", answers, None, at(1));
    let hold = crate::store::Judgement::Hold {
        record: waiting.clone(),
        rule: portcullis_protocol::rules::Rule::PolicyHeld,
        note: note("hold"),
    };
    deliver(&store, "hub", vec![(waiting.id(), waiting.form(), hold)]);
    withdraw(&store, &[own.clone(), waiting.clone(), unknown.clone()]);
    withdraw(&store, std::slice::from_ref(&own));
    assert_eq!(store.held_items().unwrap(), []);
    let later = at(10_000_000);
    assert!(
        store
            .due(&peer("hub"), Lane::Bulk, later, 10)
            .unwrap()
            .is_empty()
    );
    for record in [&own, &waiting, &unknown] {
        assert_eq!(accept(&store, "port", record), Outcome::Refused);
    }
    publish(&store, std::slice::from_ref(&own));
    assert!(store.record(&own.id()).unwrap().is_none());
    let log = store.outbox(Lane::Bulk, Relay::OwnOnly, 0, 10).unwrap();
    assert!(log.is_empty());
    assert_eq!(own.form(), Form::from_bits(0b1111));
}

#[test]
fn a_page_of_withdrawn_records_alone_is_stepped_over() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let mut police = Originator::new(1);
    let records: Vec<_> = (0..100).map(|_| police.record(Kind::Indicator)).collect();
    publish(&store, &records);
    withdraw(&store, &records[..99]);
    another_commit(&store);
    let log = store.outbox(Lane::Bulk, Relay::OwnOnly, 0, 5).unwrap();
    let [last] = &log[..] else {
        panic!("{} entries", log.len());
    };
    // Place 99 of packs of 32 that begin at 32.
    assert_eq!(last.sequence, 32 + 99);
}

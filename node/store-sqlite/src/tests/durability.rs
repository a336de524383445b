//! Tests of the files on disk after an unplanned end.

use std::path::Path;

use portcullis_protocol::{
    frame::{Lane, Outcome},
    record::Kind,
};
use rusqlite::Connection;

use super::{fixture::*, key};
use crate::{KEYS_FILE, MAIN_FILE, Snapshot, SqliteStore, examine};
use portcullis_store::{RecordFilter, Store, Write};

fn reopened(folder: &Path) -> SqliteStore {
    SqliteStore::open(folder, &key()).unwrap()
}

fn count(folder: &Path, file: &str, table: &str) -> i64 {
    Connection::open(folder.join(file))
        .unwrap()
        .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
            row.get(0)
        })
        .unwrap()
}

#[test]
fn what_was_committed_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let generation = store.generation().unwrap();
    let mut police = Originator::new(1);
    let record = police.record(Kind::Indicator);
    publish(&store, std::slice::from_ref(&record));
    intend(
        &store,
        "hub",
        vec![entry(record.id(), record.form())],
        Some(1),
        at(0),
    );
    drop(store);
    let store = reopened(folder.path());
    assert_eq!(store.generation().unwrap(), generation);
    let held = store.record(&record.id()).unwrap().unwrap();
    assert_eq!(police.verify(&held.sealed).unwrap(), record);
    assert_eq!(store.position(&peer("hub"), Lane::Bulk).unwrap().cursor, 1);
    let another = tempfile::tempdir().unwrap();
    let another = SqliteStore::create(another.path(), &key()).unwrap();
    assert_ne!(another.generation().unwrap(), generation);
}

/// Copies the files as they are while the store has them open, since a killed process writes
/// nothing more.
fn killed_copy(folder: &Path, files: &[(&str, &Path)]) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for (file, from) in files {
        for suffix in ["", "-wal"] {
            let name = format!("{file}{suffix}");
            if from.join(&name).exists() {
                std::fs::copy(from.join(&name), copy.path().join(&name)).unwrap();
            }
        }
    }
    assert!(folder.exists());
    copy
}

#[test]
fn killed_between_the_two_files_the_store_opens_and_lacks_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let mut police = Originator::new(1);
    let (before, lost) = (police.record(Kind::Alert), police.record(Kind::Indicator));
    publish(&store, std::slice::from_ref(&before));
    let main_before = killed_copy(folder.path(), &[("store.db", folder.path())]);
    publish(&store, std::slice::from_ref(&lost));
    // The copy has the keys of both commits, but the main database of the first one only.
    let files = [("store.db", main_before.path()), ("keys.db", folder.path())];
    let crashed = killed_copy(folder.path(), &files);
    assert_eq!(count(crashed.path(), "keys.db", "pack_key"), 2);
    let store = reopened(crashed.path());
    assert_eq!(store.record(&lost.id()).unwrap(), None);
    let held = store.record(&before.id()).unwrap().unwrap();
    assert_eq!(police.verify(&held.sealed).unwrap(), before);
    assert!(store.verify_files().unwrap().is_empty());
    // The lost record is taken when it is delivered again, under keys of its own.
    assert_eq!(accept(&store, "hub", &lost), Outcome::Accepted);
    let held = store.record(&lost.id()).unwrap().unwrap();
    assert_eq!(police.verify(&held.sealed).unwrap(), lost);
    assert_eq!(count(crashed.path(), "keys.db", "pack_key"), 2);
}

#[test]
fn a_killed_process_keeps_what_it_answered() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let record = Originator::new(1).record(Kind::Indicator);
    assert_eq!(accept(&store, "hub", &record), Outcome::Accepted);
    let files = [("store.db", folder.path()), ("keys.db", folder.path())];
    let crashed = killed_copy(folder.path(), &files);
    let store = reopened(crashed.path());
    assert!(store.record(&record.id()).unwrap().is_some());
    assert_eq!(accept(&store, "hub", &record), Outcome::Accepted);
    assert_eq!(store.arrivals(None).unwrap().len(), 1);
}

/// Returns the write of the consignment that is scored.
fn goods() -> Write {
    Write::Consignments(vec![portcullis_store::ConsignmentRow {
        reference: "a".to_owned(),
        at: at(0),
        arriving: true,
        body: vec![],
        selectors: vec![],
    }])
}

fn score(points: f64) -> Write {
    Write::Scores(vec![portcullis_store::ScoreRow {
        reference: "a".to_owned(),
        points,
        at: at(0),
        summary: vec![],
        records: 0,
    }])
}

#[test]
fn the_key_of_what_was_replaced_is_destroyed_even_if_the_process_ends_before() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    store.commit(vec![goods(), score(1.0)]).unwrap();
    store.commit(vec![score(2.0)]).unwrap();
    assert_eq!(count(folder.path(), "keys.db", "wrapped_key"), 3);
    drop(store);
    let store = reopened(folder.path());
    assert_eq!(store.score("a").unwrap().unwrap().points, 2.0);
    store.commit(vec![]).unwrap();
    assert_eq!(count(folder.path(), "keys.db", "wrapped_key"), 2);
    assert_eq!(count(folder.path(), "store.db", "retired_key"), 0);
    assert_eq!(store.score("a").unwrap().unwrap().points, 2.0);
}

#[test]
fn readers_see_whole_commits_while_the_writer_replaces() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    store.commit(vec![goods(), score(0.0)]).unwrap();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut last = 0.0;
            while last < 100.0 {
                let points = store.score("a").unwrap().unwrap().points;
                assert!(points >= last);
                last = points;
            }
        });
        for points in 1..=100 {
            store.commit(vec![score(f64::from(points))]).unwrap();
        }
        reader.join().unwrap();
    });
}

/// Copies the files that a snapshot holds, and opens them as a store of their own.
fn copied(snapshot: &Snapshot) -> (tempfile::TempDir, SqliteStore) {
    let folder = tempfile::tempdir().unwrap();
    let (main, keys) = (folder.path().join(MAIN_FILE), folder.path().join(KEYS_FILE));
    snapshot.copy_main(&main, &mut |_| {}).unwrap();
    snapshot.copy_keys(&keys, &mut |_| {}).unwrap();
    assert_eq!(examine(&main, Some(&keys)).unwrap(), Vec::<String>::new());
    let store = reopened(folder.path());
    (folder, store)
}

#[test]
fn a_snapshot_is_of_one_commit_whatever_is_committed_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let mut police = Originator::new(1);
    let records: Vec<_> = (0..60).map(|_| police.record(Kind::Indicator)).collect();
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for record in &records {
                publish(&store, std::slice::from_ref(record));
            }
        });
        while !writing.is_finished() {
            let snapshot = store.snapshot().unwrap();
            let (_folder, copy) = copied(&snapshot);
            let held = copy.records(&RecordFilter::default()).unwrap();
            // Each record was published in a commit of its own. The copy holds a prefix of them,
            // and each opens.
            assert_eq!(copy.log_end().unwrap(), held.len() as u64 * 32);
            for (held, record) in held.iter().rev().zip(&records) {
                assert_eq!(&police.verify(&held.sealed).unwrap(), record);
            }
        }
    });
    let before = store.snapshot().unwrap();
    let late = police.record(Kind::Alert);
    publish(&store, std::slice::from_ref(&late));
    let (_folder, copy) = copied(&before);
    assert_eq!(copy.records(&RecordFilter::default()).unwrap().len(), 60);
    assert!(copy.record(&late.id()).unwrap().is_none());
}

#[test]
fn a_folder_that_nobody_has_open_is_snapshot_too() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let record = Originator::new(1).record(Kind::Indicator);
    publish(&store, std::slice::from_ref(&record));
    drop(store);
    let snapshot = Snapshot::of_folder(folder.path()).unwrap();
    let (_folder, copy) = copied(&snapshot);
    assert!(copy.record(&record.id()).unwrap().is_some());
}

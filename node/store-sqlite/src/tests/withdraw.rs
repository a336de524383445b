//! Tests of withdrawal: a withdrawn record is gone for good, and the other records of its pack are
//! not.

use crate::schema::Sealing;
use std::{fs, path::Path};

use portcullis_protocol::{
    body::SelectorKind,
    frame::{Lane, Outcome},
    record::{Form, Kind},
    verify::VerifiedRecord,
};
use rusqlite::Connection;

use super::{fixture::*, key};
use crate::{SqliteStore, crypt::Vault};
use portcullis_store::{RecordFilter, Relay, Store, Write};

fn withdraw(store: &SqliteStore, records: &[VerifiedRecord]) {
    let write = Write::Withdraw {
        records: records.iter().map(VerifiedRecord::id).collect(),
        outcome: "recalled".to_owned(),
        at: at(9),
    };
    store.commit(vec![write]).unwrap();
}

/// Makes one more commit: keys are destroyed one commit behind.
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
    // Even if the tombstone is removed, the key is gone.
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
    let hold = portcullis_store::Judgement::Hold {
        record: waiting.clone(),
        rule: portcullis_protocol::rules::Rule::PolicyHeld,
        note: note("hold"),
    };
    deliver(&store, "hub", vec![(waiting.id(), waiting.form(), hold)]);
    withdraw(&store, &[own.clone(), waiting.clone(), unknown.clone()]);
    withdraw(&store, std::slice::from_ref(&own));
    assert_eq!(held_items(&store), []);
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
    // The hundredth record is at offset 99 of a log that begins at place 32.
    assert_eq!(last.sequence, 32 + 99);
}

#[test]
fn what_is_behind_counts_no_withdrawn_record() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let (mut police, mut port) = (Originator::new(1), Originator::new(2));
    let own: Vec<_> = (0..5).map(|_| police.record(Kind::Indicator)).collect();
    publish(&store, &own);
    // One record was met before it was held. Another was extended and has two places in the log.
    let [met, thin] = [(); 2].map(|()| port.record(Kind::Indicator));
    let refused = portcullis_store::Judgement::RefuseForNow {
        rule: portcullis_protocol::rules::Rule::SealingKey,
    };
    deliver(&store, "hub", vec![(met.id(), met.form(), refused)]);
    accept(&store, "hub", &met);
    accept(&store, "hub", &thin.withhold(form(&[0, 1])).unwrap());
    accept(&store, "hub", &thin);
    let behind = |relay, cursor| {
        let counted = store.behind(Lane::Bulk, relay, cursor).unwrap();
        let listed = store.outbox(Lane::Bulk, relay, cursor, 100).unwrap();
        assert_eq!(counted, listed.len() as u64, "counted as listed");
        counted
    };
    assert_eq!(behind(Relay::OwnOnly, 0), 5);
    assert_eq!(behind(Relay::Others, 0), 8);
    withdraw(&store, &[own[1].clone(), own[3].clone()]);
    assert_eq!(behind(Relay::OwnOnly, 0), 3);
    assert_eq!(behind(Relay::OwnOnly, 32 + 1), 2);
    withdraw(&store, std::slice::from_ref(&met));
    assert_eq!(behind(Relay::Others, 0), 5);
    withdraw(&store, std::slice::from_ref(&thin));
    assert_eq!(behind(Relay::Others, 0), 3);
    assert_eq!(store.behind(Lane::Urgent, Relay::Others, 0).unwrap(), 0);
}

#[test]
fn a_late_answer_has_no_withdrawn_record_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let record = Originator::new(1).record(Kind::Indicator);
    publish(&store, std::slice::from_ref(&record));
    let sent = vec![entry(record.id(), record.form())];
    intend(&store, "hub", sent, None, at(0));
    withdraw(&store, std::slice::from_ref(&record));
    let answers = vec![answer(record.id(), record.form(), Outcome::Held)];
    settle(&store, "hub", answers, None, at(1));
    let next = store.next_due(&peer("hub"), Lane::Bulk, at(1)).unwrap();
    assert_eq!(next, None, "nothing is due that cannot be sent");
}

#[test]
fn what_was_withdrawn_before_it_was_held_is_not_published() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let record = Originator::new(1).record(Kind::Indicator);
    withdraw(&store, std::slice::from_ref(&record));
    publish(&store, std::slice::from_ref(&record));
    assert_eq!(store.log_end().unwrap(), 0, "nothing of it is kept");
}

/// Returns the bytes of both files and of their write-ahead logs.
fn all_bytes(folder: &Path) -> Vec<u8> {
    let files = ["store.db", "store.db-wal", "keys.db", "keys.db-wal"];
    let read = |name| fs::read(folder.join(name)).unwrap_or_default();
    files.into_iter().flat_map(read).collect()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Returns true if the token stands in these bytes, as a directory encodes it or as a row of the
/// index.
fn has_token(bytes: &[u8], token: i64) -> bool {
    contains(bytes, &token.to_le_bytes()) || contains(bytes, &token.to_be_bytes())
}

/// Writes the logs back and leaves nothing in them, as the store itself does after a while.
fn empty_logs(folder: &Path) {
    for name in ["store.db", "keys.db"] {
        let file = Connection::open(folder.join(name)).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        let is_busy = || -> bool {
            file.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
                .unwrap()
        };
        // SQLite waits for readers, but not for another checkpoint, such as that of the store's own
        // thread.
        while is_busy() {
            assert!(std::time::Instant::now() < deadline, "{name}");
            std::thread::yield_now();
        }
    }
}

fn about(container: &str) -> portcullis_protocol::seal::Draft {
    use portcullis_protocol::body::{Body, Selector, Window};
    let mut draft = about_a_container(Kind::Indicator);
    let window = Window {
        from: at(0),
        until: at(1_000),
    };
    for section in &mut draft.sections {
        if let Body::Subject(subject) = &mut section.body {
            let named = Selector::new(SelectorKind::Container, container, Some(window));
            subject.selectors = vec![named.unwrap()];
        }
    }
    draft
}

/// Checks that no file has a trace of a withdrawn record's selector or keys, whether its token was
/// in the index already or only gathered.
#[track_caller]
fn no_trace_stays(gathered: usize) {
    let folder = tempfile::tempdir().unwrap();
    drop(SqliteStore::create(folder.path(), &key()).unwrap());
    let store =
        SqliteStore::open_gathering(folder.path(), &key(), (gathered, Sealing::MayBegin)).unwrap();
    let mut police = Originator::new(1);
    let records = police.batch(vec![about("MSKU0000080"), about(CONTAINER)]);
    publish(&store, &records);
    // The gathered entries go to the index with the commits that follow.
    for _ in 0..3 {
        publish(&store, &[police.batch(vec![about(CONTAINER)]).remove(0)]);
    }
    let vault = Vault::new(&key()).unwrap();
    let token = |text| vault.token(SelectorKind::Container, text).unwrap();
    let (gone, kept) = (token("MSKU0000080"), token(CONTAINER));
    let database = Connection::open(folder.path().join("store.db")).unwrap();
    let indexed: i64 = database
        .query_row(
            "SELECT count(*) FROM token_index WHERE token = ?1",
            [gone],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(indexed > 0, gathered == 1, "in the index");
    drop(database);
    let (keys, wrapped) = (pack_key(folder.path()), wrapped_key(folder.path()));
    empty_logs(folder.path());
    let before = all_bytes(folder.path());
    assert!(has_token(&before, gone) && contains(&before, &keys));
    assert!(contains(&before, &wrapped));
    withdraw(&store, &records[..1]);
    let found = |store: &SqliteStore, text| {
        let found = store.records_about(SelectorKind::Container, text);
        found.unwrap().len()
    };
    assert_eq!(
        (found(&store, "MSKU0000080"), found(&store, CONTAINER)),
        (0, 4)
    );
    // The erasure may happen while a slice of the index is written. Nothing comes back.
    for _ in 0..3 {
        publish(&store, &[police.batch(vec![about(CONTAINER)]).remove(0)]);
    }
    empty_logs(folder.path());
    let after = all_bytes(folder.path());
    assert!(!has_token(&after, gone), "the token");
    assert!(
        !contains(&after, &keys) && !contains(&after, &wrapped),
        "the keys"
    );
    assert!(has_token(&after, kept), "the others are found as before");
    assert_eq!(found(&store, CONTAINER), 7);
    drop(store);
    let store = SqliteStore::open(folder.path(), &key()).unwrap();
    assert_eq!(
        (found(&store, "MSKU0000080"), found(&store, CONTAINER)),
        (0, 7)
    );
    let held = store.record(&records[1].id()).unwrap().unwrap();
    assert_eq!(police.verify(&held.sealed).unwrap(), records[1]);
}

fn wrapped_key(folder: &Path) -> Vec<u8> {
    Connection::open(folder.join("keys.db"))
        .unwrap()
        .query_row("SELECT wrapped FROM pack_key WHERE n = 1", [], |row| {
            row.get(0)
        })
        .unwrap()
}

#[test]
fn no_file_keeps_a_trace_of_what_was_withdrawn_from_the_index() {
    no_trace_stays(1);
}

#[test]
fn no_file_keeps_a_trace_of_what_was_withdrawn_before_it_was_indexed() {
    no_trace_stays(1_000);
}

#[test]
fn the_store_empties_its_logs_by_itself_after_a_withdrawal() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let record = Originator::new(1).record(Kind::Indicator);
    publish(&store, std::slice::from_ref(&record));
    withdraw(&store, std::slice::from_ref(&record));
    another_commit(&store);
    let logs = ["store.db-wal", "keys.db-wal"];
    let length = |name| fs::metadata(folder.path().join(name)).unwrap().len();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while logs.into_iter().any(|name| length(name) > 0) {
        assert!(
            std::time::Instant::now() < deadline,
            "the logs are not emptied"
        );
        std::thread::yield_now();
    }
}

/// The pack is as format 5 wrote it: its keys are bound to the directory with its tokens.
#[test]
fn a_pack_of_the_former_format_opens_and_forgets_what_is_withdrawn() {
    use sha2::{Digest as _, Sha256};
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let mut police = Originator::new(1);
    let records = police.batch(vec![about("MSKU0000080"), about(CONTAINER)]);
    publish(&store, &records);
    drop(store);
    let vault = Vault::new(&key()).unwrap();
    let files = [
        Connection::open(folder.path().join("store.db")).unwrap(),
        Connection::open(folder.path().join("keys.db")).unwrap(),
    ];
    let column = |file: usize, sql: &str| -> (Vec<u8>, Vec<u8>) {
        files[file]
            .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
    };
    let (ids, directory) = column(0, "SELECT ids, directory FROM pack WHERE n = 1");
    let (wrapped, sealed) = column(1, "SELECT wrapped, sealed FROM pack_key WHERE n = 1");
    let bound = |label: &[u8], directory: &[u8]| -> [u8; 32] {
        let hash = Sha256::new().chain_update(label);
        let hash = hash.chain_update((ids.len() as u64).to_be_bytes());
        hash.chain_update(&ids)
            .chain_update(directory)
            .finalize()
            .into()
    };
    // The directory ends with its index: 9 bytes for each token and slot, and the slots of common
    // selectors.
    let bare = directory_without_index(&directory);
    let now = bound(b"portcullis store directory v2\0", &bare);
    let keys = vault.open_keys(1, &now, &wrapped, sealed).unwrap();
    let then = bound(b"portcullis store directory v1\0", &directory);
    let again = vault.seal_keys(1, &then, &keys, 8).unwrap();
    files[1]
        .execute(
            "UPDATE pack_key SET wrapped = ?1, sealed = ?2 WHERE n = 1",
            (&again.wrapped, &again.bytes),
        )
        .unwrap();
    // The columns of later formats are not there yet.
    files[0].execute_batch(BACK_TO_8).unwrap();
    files[0]
        .execute_batch(
            "ALTER TABLE backfill DROP COLUMN cancelled;
             DROP TABLE refusal; DROP TABLE refusal_turn; ALTER TABLE act DROP COLUMN outcome; DROP INDEX exception_unlogged;
             DROP INDEX undelivered_unlogged; DROP INDEX channel_note_unlogged",
        )
        .unwrap();
    files[0].pragma_update(None, "user_version", 5).unwrap();
    let store = SqliteStore::open(folder.path(), &key()).unwrap();
    let opens = |record: &VerifiedRecord| {
        let held = store.record(&record.id()).unwrap()?;
        police.verify(&held.sealed).ok()
    };
    assert_eq!(opens(&records[0]).as_ref(), Some(&records[0]));
    withdraw(&store, &records[..1]);
    another_commit(&store);
    assert_eq!(opens(&records[0]), None);
    assert_eq!(opens(&records[1]).as_ref(), Some(&records[1]));
    empty_logs(folder.path());
    let token = vault.token(SelectorKind::Container, "MSKU0000080");
    assert!(!has_token(&all_bytes(folder.path()), token.unwrap()));
}

/// Returns the encoded directory up to its seventh field, where the tokens begin.
fn directory_without_index(directory: &[u8]) -> Vec<u8> {
    // In Protobuf this is field 7, length-delimited: two tokens of eight bytes.
    let begin = directory.windows(2).rposition(|tag| tag == [0x3a, 16]);
    directory[..begin.unwrap()].to_vec()
}

/// Attack HL1: a damaged directory of a withdrawn record fails no commit, neither the next one nor
/// one after a start.
#[test]
fn a_damaged_directory_of_a_withdrawn_record_fails_no_commit() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let mut police = Originator::new(1);
    let records: Vec<_> = (0..2).map(|_| police.record(Kind::Indicator)).collect();
    publish(&store, &records[..1]);
    withdraw(&store, &records[..1]);
    Connection::open(folder.path().join("store.db"))
        .unwrap()
        .execute_batch("UPDATE pack SET directory = x'ff' WHERE n = 1")
        .unwrap();
    another_commit(&store);
    publish(&store, &records[1..]);
    drop(store);
    let store = SqliteStore::open(folder.path(), &key()).unwrap();
    another_commit(&store);
    assert!(store.record(&records[1].id()).unwrap().is_some());
}

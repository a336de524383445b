//! Tests against tampering: changes to the files are found, and their content tells a reader
//! nothing.

use std::{fs, path::Path};

use portcullis_protocol::{
    body::SelectorKind,
    frame::{Lane, Outcome},
    reconcile::Buckets,
    record::{Kind, RecordId},
    rules::Rule,
    verify::VerifiedRecord,
};
use rusqlite::Connection;

use super::{fixture::*, key};
use crate::{SqliteStore, crypt::Vault};
use portcullis_store::{
    ChannelPage, ChannelSide, ConsignmentRow, ConsignmentStage, Damaged, HeldDecision, HeldRecord,
    IntakeItem, Judgement, LogEntry, RecordFilter, Relay, ScoreRow, Store, StoreError, Write,
};

fn raw(folder: &Path, file: &str) -> Connection {
    Connection::open(folder.join(file)).unwrap()
}

/// Lists all records, as if one that is damaged were an error.
fn listed(store: &SqliteStore) -> Result<Vec<HeldRecord>, StoreError> {
    let held = store.records(&RecordFilter::default())?;
    match store.damaged().first() {
        Some(row) => Err(StoreError::Damaged(row.why.clone())),
        None => Ok(held),
    }
}

/// Returns a store that holds one record, and the originator that verifies it.
fn with_record(folder: &Path) -> (SqliteStore, Originator, VerifiedRecord) {
    let store = SqliteStore::create(folder, &key()).unwrap();
    let mut police = Originator::new(1);
    let record = police.batch(vec![draft(Kind::Indicator); 2]).remove(0);
    publish(&store, std::slice::from_ref(&record));
    (store, police, record)
}

/// Flips every 13th bit of a column, one at a time, and checks that each change is found when the
/// record is read.
#[track_caller]
fn every_flip_is_found(file: &str, table: &str, column: &str, order: &str) {
    every_flip(file, table, column, order, |_, _| false);
}

/// Flips bits in the same way, where the record that is read may also be `harmless`.
#[track_caller]
fn every_flip(
    file: &str,
    table: &str,
    column: &str,
    order: &str,
    harmless: impl Fn(&VerifiedRecord, &VerifiedRecord) -> bool,
) {
    let folder = tempfile::tempdir().unwrap();
    let (store, police, record) = with_record(folder.path());
    let database = raw(folder.path(), file);
    let rows: Vec<(i64, Vec<u8>)> = database
        .prepare(&format!("SELECT {order}, {column} FROM {table}"))
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert!(!rows.is_empty());
    let put = |row: i64, value: &[u8]| {
        let sql = format!("UPDATE {table} SET {column} = ?2 WHERE {order} = ?1");
        assert_eq!(database.execute(&sql, (row, value)).unwrap(), 1);
    };
    for (row, value) in rows {
        for bit in (0..value.len() * 8).step_by(13) {
            let mut changed = value.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            put(row, &changed);
            let read = listed(&store);
            let verified = read.map(|held| police.verify(&held[0].sealed));
            let found = match verified {
                Err(StoreError::Damaged(_)) => true,
                Ok(Ok(verified)) => harmless(&verified, &record),
                Ok(Err(_)) => true,
                Err(error) => panic!("{error}"),
            };
            assert!(found, "{table}.{column} row {row} bit {bit}");
        }
        put(row, &value);
    }
    let held = store.record(&record.id()).unwrap().unwrap();
    assert_eq!(police.verify(&held.sealed).unwrap(), record);
}

#[test]
fn a_flipped_bit_in_header_path_or_section_is_found() {
    every_flip_is_found("store.db", "pack", "body", "n");
}

#[test]
fn a_flipped_bit_in_what_a_pack_says_of_its_records_is_found() {
    every_flip_is_found("store.db", "pack", "ids", "n");
    // Tokens are not protected: they lead to a record, and its selectors are then compared.
    every_flip("store.db", "pack", "directory", "n", PartialEq::eq);
}

#[test]
fn a_flipped_bit_in_the_keys_is_found() {
    every_flip_is_found("keys.db", "pack_key", "wrapped", "n");
    every_flip_is_found("keys.db", "pack_key", "sealed", "n");
}

#[test]
fn a_flipped_bit_in_a_statement_is_found() {
    every_flip_is_found("store.db", "statement", "payload", "n");
    every_flip_is_found("store.db", "statement", "signature", "n");
    every_flip_is_found("store.db", "statement", "key_id", "n");
}

/// Changes a store of two records, each in a pack of its own, and checks that listing them reports
/// the damage.
#[track_caller]
fn damage_is_found(file: &str, sql: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut police, _) = with_record(folder.path());
    publish(&store, &[police.record(Kind::Indicator)]);
    raw(folder.path(), file).execute_batch(sql).unwrap();
    let read = listed(&store);
    assert!(
        matches!(read, Err(StoreError::Damaged(_))),
        "{sql}: {read:?}"
    );
}

#[test]
fn a_pack_whose_parts_were_exchanged_or_removed_is_found() {
    for columns in ["body", "directory", "ids", "ids, directory, body"] {
        damage_is_found(
            "store.db",
            &format!(
                "UPDATE pack SET ({columns}) = (SELECT {columns} FROM pack WHERE n = 2) WHERE n = 1"
            ),
        );
    }
    damage_is_found("keys.db", "DELETE FROM pack_key WHERE n = 2");
    for columns in ["wrapped", "sealed", "wrapped, sealed"] {
        damage_is_found(
            "keys.db",
            &format!(
                "UPDATE pack_key SET ({columns}) = (SELECT {columns} FROM pack_key WHERE n = 2)
                 WHERE n = 1"
            ),
        );
    }
}

/// Flips a bit in the body of the first pack. A negative `at` counts from the end.
fn flip(folder: &Path, at: i64) {
    let database = raw(folder, "store.db");
    let mut body: Vec<u8> = database
        .query_row("SELECT body FROM pack WHERE n = 1", [], |row| row.get(0))
        .unwrap();
    let length = i64::try_from(body.len()).unwrap();
    body[usize::try_from(at.rem_euclid(length)).unwrap()] ^= 1;
    database
        .execute("UPDATE pack SET body = ?1 WHERE n = 1", [body])
        .unwrap();
}

/// Publishes two records into one pack, damages it, and returns the outbox.
fn outbox_after(at: i64) -> (Originator, [RecordId; 2], Vec<LogEntry>) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let mut police = Originator::new(1);
    let records = police.batch(vec![draft(Kind::Indicator); 2]);
    publish(&store, &records);
    drop(store);
    flip(folder.path(), at);
    // The store is opened again, since recently published records come from memory and are sound
    // there.
    let store = SqliteStore::open(folder.path(), &key()).unwrap();
    let log = store.outbox(Lane::Bulk, Relay::OwnOnly, 0, 9).unwrap();
    (police, [records[0].id(), records[1].id()], log)
}

#[test]
fn a_damaged_record_is_refused_at_dispatch_and_keeps_no_other_back() {
    let (police, [sound, damaged], log) = outbox_after(-1);
    let ids: Vec<_> = log.iter().map(|entry| entry.logged.id()).collect();
    assert_eq!(ids, [sound, damaged]);
    assert!(police.verify(log[0].logged.sealed()).is_ok());
    let refusal = police.verify(log[1].logged.sealed()).unwrap_err();
    assert_eq!(refusal.rule, Rule::NothingOpened);
}

#[test]
fn a_record_with_another_header_is_left_out_of_dispatch() {
    let (_, [_, sound], log) = outbox_after(20);
    let ids: Vec<_> = log.iter().map(|entry| entry.logged.id()).collect();
    assert_eq!(ids, [sound]);
}

#[test]
fn exceptions_that_are_too_many_end_early_and_leave_an_event() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _, record) = with_record(folder.path());
    // The list is filled to its limit with exceptions that end an hour after all others.
    raw(folder.path(), "store.db")
        .execute_batch(
            "WITH RECURSIVE n (i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 65545)
             INSERT INTO known (n, id) SELECT -i, randomblob(32) FROM n;
             INSERT INTO exception (peer, lane, record, next_attempt, attempts, ends_at)
             SELECT 'hub', 'bulk', n, 0, 1, 1617181200000 FROM known WHERE n <= -10",
        )
        .unwrap();
    let held = vec![answer(record.id(), record.form(), Outcome::Held)];
    settle(&store, "hub", held, None, at(0));
    let events = store.events(9).unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(
        events[0].detail,
        "records not tried again: 1; they are listed as undelivered"
    );
    let due = store
        .due(&peer("hub"), Lane::Bulk, at(3_600_000), u32::MAX)
        .unwrap();
    assert!(due.is_empty(), "the one that ends first has ended");
}

#[test]
fn looking_the_files_through_finds_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _, record) = with_record(folder.path());
    let refuse = Judgement::Refuse {
        rule: Rule::PolicyDenied,
        note: note("no"),
    };
    deliver(&store, "hub", vec![(record.id(), form(&[0]), refuse)]);
    assert!(store.verify_files().unwrap().is_empty());
    raw(folder.path(), "keys.db")
        .execute_batch("DELETE FROM pack_key")
        .unwrap();
    let found = store.verify_files().unwrap();
    assert_eq!(found, ["`keys.db`: 1 packs of records have no keys"]);
    raw(folder.path(), "store.db")
        .execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM decision")
        .unwrap();
    assert!(store.verify_files().unwrap().len() > 1);
}

#[test]
fn ex_17_a_withdrawn_record_is_refused_and_answers_before_stand() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let record = Originator::new(1).record(Kind::Indicator);
    assert_eq!(accept(&store, "hub", &record), Outcome::Accepted);
    raw(folder.path(), "store.db")
        .execute_batch("INSERT INTO tombstone (record, outcome, at) VALUES (32, 'recalled', 0)")
        .unwrap();
    for from in ["hub", "port"] {
        let item = vec![(record.id(), record.form(), admit(&record))];
        let answers = deliver(&store, from, item);
        assert_eq!(outcomes(&answers), [Outcome::Refused], "{from}");
        assert_eq!(answers[0].reason.as_deref(), Some("EX-17"));
    }
    let kept: Vec<_> = store
        .arrivals(Some(&record.id()))
        .unwrap()
        .into_iter()
        .map(|row| (row.peer, row.answer.outcome))
        .collect();
    assert_eq!(
        kept,
        [
            (peer("hub"), Outcome::Accepted),
            (peer("port"), Outcome::Refused)
        ]
    );
}

/// Returns all bytes on disk, including the write-ahead logs.
fn bytes_on_disk(folder: &Path) -> Vec<u8> {
    let files = fs::read_dir(folder).unwrap();
    files
        .flat_map(|file| fs::read(file.unwrap().path()).unwrap())
        .collect()
}

/// Attack H2: references and points of scores, and the free text of handling code H3, lay in clear.
#[test]
fn the_files_yield_no_body_no_selector_no_reference_no_points_and_no_free_text() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut police, _) = with_record(folder.path());
    let mut told = draft(Kind::Indicator);
    told.marking.handling.h3 = Some("ask inspector Clouseau".to_owned());
    publish(&store, &police.batch(vec![told]));
    let waiting = police.record(Kind::Alert);
    let hold = Judgement::Hold {
        record: waiting.clone(),
        rule: Rule::PolicyHeld,
        note: note("h3"),
    };
    deliver(&store, "hub", vec![(waiting.id(), waiting.form(), hold)]);
    let consignment = ConsignmentRow {
        reference: "declaration-1".to_owned(),
        at: at(0),
        arriving: true,
        body: STORY.as_bytes().to_vec(),
        selectors: vec![
            (SelectorKind::Container, CONTAINER.to_owned()),
            (SelectorKind::HsCode, GOODS.to_owned()),
        ],
    };
    let score = ScoreRow {
        reference: "declaration-1".to_owned(),
        points: 53.718_281_828,
        at: at(0),
        summary: STORY.as_bytes().to_vec(),
        records: 1,
    };
    store
        .commit(vec![
            Write::Consignments(vec![consignment]),
            Write::Scores(vec![score]),
        ])
        .unwrap();
    let found = |text: &[u8]| {
        let bytes = bytes_on_disk(folder.path());
        bytes.windows(text.len()).any(|window| window == text)
    };
    assert!(found(b"hub"), "the search finds what is there");
    let points = 53.718_281_828_f64;
    assert!(!found(&points.to_be_bytes()) && !found(&points.to_le_bytes()));
    for secret in [
        "53.71",
        "declaration",
        "Clouseau",
        STORY,
        CONTAINER,
        SHIP,
        GOODS,
        "an officer",
        "narcotics",
        "a box",
    ] {
        assert!(!found(secret.as_bytes()), "{secret}");
    }
}

#[test]
fn the_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (_store, _, _) = with_record(folder.path());
    for file in fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}", file.path());
    }
}

#[test]
fn another_key_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    with_record(folder.path());
    let other = [4; 32];
    let opened = SqliteStore::open(folder.path(), &other);
    assert!(matches!(opened, Err(StoreError::WrongKey)));
}

#[test]
fn a_key_table_of_another_store_is_refused() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&one, &other] {
        with_record(folder.path());
    }
    for file in ["keys.db", "keys.db-wal", "keys.db-shm"] {
        let (from, to) = (other.path().join(file), one.path().join(file));
        if from.exists() {
            fs::copy(from, to).unwrap();
        }
    }
    let opened = SqliteStore::open(one.path(), &key());
    assert!(matches!(opened, Err(StoreError::Damaged(_))));
}

#[test]
fn a_newer_format_is_refused() {
    for file in ["store.db", "keys.db"] {
        let folder = tempfile::tempdir().unwrap();
        with_record(folder.path());
        raw(folder.path(), file)
            .execute_batch("PRAGMA user_version = 99")
            .unwrap();
        let opened = SqliteStore::open(folder.path(), &key());
        assert!(
            matches!(opened, Err(StoreError::Format { found: 99, .. })),
            "{file}"
        );
    }
}

#[test]
fn a_store_is_made_once_and_not_opened_before() {
    let folder = tempfile::tempdir().unwrap();
    let missing = SqliteStore::open(folder.path(), &key());
    assert!(matches!(missing, Err(StoreError::File { .. })));
    let (_, police, record) = with_record(folder.path());
    let again = SqliteStore::create(folder.path(), &key());
    assert!(matches!(again, Err(StoreError::Exists(_))));
    fs::remove_file(folder.path().join("keys.db")).unwrap();
    let again = SqliteStore::create(folder.path(), &key());
    assert!(matches!(again, Err(StoreError::Exists(_))));
    assert!(!folder.path().join("keys.db").exists());
    assert_eq!(police.verify(record.sealed()).unwrap(), record);
}

#[test]
fn listing_names_the_damaged_record() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _, record) = with_record(folder.path());
    flip(folder.path(), -1);
    let error = listed(&store).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the store is damaged: section 3 of record `{}` does not open; restore it from a backup",
            record.id()
        )
    );
}

/// Attack HM4, M9: of three records one is damaged; lists by kind and by selector go on with the
/// others, and the damage is named until it is mended.
#[test]
fn a_damaged_record_is_set_aside_and_keeps_no_other_out_of_a_list() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let records = Originator::new(1).batch(vec![draft(Kind::Indicator); 3]);
    publish(&store, &records);
    let ids = |held: Vec<HeldRecord>| {
        let mut ids: Vec<_> = held.iter().map(|held| held.sealed.id()).collect();
        ids.sort_unstable();
        ids
    };
    let about = || store.records_about(SelectorKind::Container, CONTAINER);
    let mut all: Vec<_> = records.iter().map(VerifiedRecord::id).collect();
    all.sort_unstable();
    assert_eq!(ids(about().unwrap()), all);
    // The last byte is of the third record.
    flip(folder.path(), -1);
    let damaged = records[2].id();
    let sound: Vec<_> = all.iter().copied().filter(|id| *id != damaged).collect();
    assert_eq!(ids(store.records(&RecordFilter::default()).unwrap()), sound);
    assert_eq!(ids(about().unwrap()), sound);
    let named: Vec<_> = store.damaged().into_iter().map(|row| row.thing).collect();
    assert_eq!(named, [Damaged::Record(damaged)]);
    assert!(matches!(
        store.record(&damaged),
        Err(StoreError::Damaged(_))
    ));
    flip(folder.path(), -1);
    assert_eq!(ids(store.records(&RecordFilter::default()).unwrap()), all);
    assert_eq!(store.damaged(), []);
}

/// Attack HM4: a pack whose keys are gone does not stop the packs beside it.
#[test]
fn a_pack_that_does_not_open_is_set_aside_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut police, _) = with_record(folder.path());
    let later = police.record(Kind::Indicator);
    publish(&store, std::slice::from_ref(&later));
    raw(folder.path(), "keys.db")
        .execute_batch("DELETE FROM pack_key WHERE n = 1")
        .unwrap();
    let held = store.records(&RecordFilter::default()).unwrap();
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].sealed.id(), later.id());
    assert_eq!(store.damaged()[0].thing, Damaged::Pack(1));
}

/// Attack HM4: of two held items one is damaged. The other is opened, and the damaged one still has
/// its key, by which it can be dropped.
#[test]
fn a_damaged_held_item_keeps_no_other_back_and_can_still_be_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let mut police = Originator::new(1);
    let items: Vec<_> = (0..2).map(|_| police.record(Kind::Alert)).collect();
    for record in &items {
        let hold = Judgement::Hold {
            record: record.clone(),
            rule: Rule::PolicyHeld,
            note: note("h3"),
        };
        deliver(&store, "hub", vec![(record.id(), record.form(), hold)]);
    }
    assert_eq!(held_items(&store).len(), 2);
    raw(folder.path(), "store.db")
        .execute_batch("UPDATE held SET sealed = zeroblob(length(sealed)) WHERE n = 1")
        .unwrap();
    let opened = held_items(&store);
    assert_eq!(opened.len(), 1);
    assert_eq!(opened[0].sealed.id(), items[1].id());
    let keys = store.held_keys(None, 10).unwrap();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[1].record, opened[0].sealed.id());
    let damaged = Damaged::Held {
        record: items[0].id(),
        peer: peer("hub"),
    };
    assert_eq!(store.damaged()[0].thing, damaged);
    let refused = IntakeItem {
        id: items[0].id(),
        form: items[0].form(),
        judgement: Judgement::Refuse {
            rule: Rule::HeldDropped,
            note: note("h3"),
        },
    };
    let drop = Write::Decide(HeldDecision {
        peer: peer("hub"),
        now: at(1),
        items: vec![refused],
    });
    store.commit(vec![drop]).unwrap();
    assert_eq!(held_items(&store).len(), 1);
    assert_eq!(store.damaged(), []);
}

/// Attack #9: one consignment, or one score, that does not open keeps no other back.
#[test]
fn a_damaged_consignment_or_score_is_set_aside_and_mended_by_importing_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let consignment = |n: u8| ConsignmentRow {
        reference: format!("declaration-{n}"),
        at: at(0),
        arriving: true,
        body: vec![n],
        selectors: vec![(SelectorKind::Container, CONTAINER.to_owned())],
    };
    let score = |n: u8| ScoreRow {
        reference: format!("declaration-{n}"),
        points: f64::from(n),
        at: at(0),
        summary: vec![n],
        records: 0,
    };
    let both = || vec![consignment(1), consignment(2)];
    store
        .commit(vec![
            Write::Consignments(both()),
            Write::Scores(vec![score(1), score(2)]),
        ])
        .unwrap();
    let raw = raw(folder.path(), "store.db");
    let name = Vault::new(&key()).unwrap().name("declaration-1").unwrap();
    for table in ["consignment", "score"] {
        let wrong = format!("UPDATE {table} SET sealed = zeroblob(length(sealed)) WHERE name = ?1");
        assert_eq!(raw.execute(&wrong, [&name]).unwrap(), 1);
    }
    let sound = [consignment(2)];
    assert_eq!(
        store.consignments(ConsignmentStage::Arriving).unwrap(),
        sound
    );
    let about = store.consignments_with(SelectorKind::Container, CONTAINER);
    assert_eq!(about.unwrap(), sound);
    assert_eq!(store.scores(9).unwrap(), [score(2)]);
    assert_eq!(store.score("declaration-1").unwrap(), None);
    assert_eq!(store.damaged().len(), 2);
    store
        .commit(vec![
            Write::Consignments(both()),
            Write::Scores(vec![score(1)]),
        ])
        .unwrap();
    assert_eq!(
        store.consignments(ConsignmentStage::Arriving).unwrap(),
        both()
    );
    assert_eq!(store.scores(9).unwrap().len(), 2);
    assert_eq!(store.damaged(), []);
}

/// Attack HM4: what is damaged in one pack leaves the comparison with a peer to go on.
#[test]
fn a_damaged_directory_leaves_the_comparison_of_a_channel_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let mut police = Originator::new(1);
    let records: Vec<_> = (0..2).map(|_| police.record(Kind::Indicator)).collect();
    for record in &records {
        accept(&store, "hub", record);
    }
    raw(folder.path(), "store.db")
        .execute_batch("UPDATE pack SET directory = x'ff' WHERE n = 1")
        .unwrap();
    let page = ChannelPage {
        of: Buckets::ALL,
        after: None,
        most: 9,
    };
    let entries = store
        .channel(&peer("hub"), ChannelSide::Received, &page)
        .unwrap();
    let ids: Vec<_> = entries.iter().map(|entry| entry.id).collect();
    assert_eq!(ids, [records[1].id()]);
    assert_eq!(store.damaged()[0].thing, Damaged::Pack(1));
}

//! Claims about the indexes of a stolen disk, of which somebody without the key learns little, and
//! about a store of format 8.

use std::{collections::BTreeSet, fs, path::Path};

use portcullis_protocol::{
    body::SelectorKind,
    record::{Kind, RecordId},
};
use portcullis_store::{ConsignmentRow, ConsignmentStage, ScoreRow, Store, Write};
use rusqlite::Connection;

use super::{fixture::*, key};
use crate::{KEYS_FILE, MAIN_FILE, Sealing, SqliteStore, crypt::Vault, pack::Directory};

fn consignment(reference: &str, arriving: bool) -> ConsignmentRow {
    ConsignmentRow {
        reference: reference.to_owned(),
        at: at(0),
        arriving,
        body: STORY.as_bytes().to_vec(),
        selectors: vec![
            (SelectorKind::Container, CONTAINER.to_owned()),
            (SelectorKind::Imo, SHIP.to_owned()),
            (SelectorKind::HsCode, GOODS.to_owned()),
        ],
    }
}

/// Returns the tokens that an index holds on disk, as whoever steals it reads them.
fn tokens(raw: &Connection, table: &str) -> BTreeSet<i64> {
    let mut select = raw.prepare(&format!("SELECT token FROM {table}")).unwrap();
    let tokens = select.query_map([], |row| row.get(0)).unwrap();
    tokens.map(Result::unwrap).collect()
}

fn tokens_of_packs(raw: &Connection) -> BTreeSet<i64> {
    let mut select = raw.prepare("SELECT directory FROM pack").unwrap();
    let packs = select
        .query_map([], |row| row.get::<_, Vec<u8>>(0))
        .unwrap();
    let directories = packs.map(|bytes| Directory::read(&bytes.unwrap()).unwrap());
    directories.flat_map(|directory| directory.tokens).collect()
}

/// Attack H2: records and consignments were found by the same tokens, so that a join told without a
/// key which declarations the police name.
#[test]
fn a_join_of_records_and_consignments_finds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    drop(SqliteStore::create(folder.path(), &key()).unwrap());
    let store = SqliteStore::open_gathering(folder.path(), &key(), (2, Sealing::MayBegin)).unwrap();
    store
        .commit(vec![Write::Consignments(vec![consignment("DECL-1", true)])])
        .unwrap();
    let mut police = Originator::new(1);
    let records = police.batch((0..6).map(|_| draft(Kind::Indicator)).collect());
    for record in &records {
        publish(&store, std::slice::from_ref(record));
    }
    let raw = Connection::open(folder.path().join(MAIN_FILE)).unwrap();
    let (of_records, of_packs) = (tokens(&raw, "token_index"), tokens_of_packs(&raw));
    let of_consignments = tokens(&raw, "consignment_token");
    assert_eq!(
        (of_records.len(), of_packs.len(), of_consignments.len()),
        (2, 2, 2)
    );
    assert!(of_records.is_subset(&of_packs), "the index is filled");
    let joined: i64 = raw
        .query_row(
            "SELECT count(*) FROM token_index AS r JOIN consignment_token AS c ON c.token = r.token",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(joined, 0);
    assert!(of_packs.is_disjoint(&of_consignments));
    // Whoever has the key finds both by the plain selector.
    let about = store.records_about(SelectorKind::Container, CONTAINER);
    assert_eq!(about.unwrap().len(), 6);
    let named = store.consignments_with(SelectorKind::Imo, SHIP).unwrap();
    assert_eq!(named, [consignment("DECL-1", true)]);
    let ids: Vec<RecordId> = records.iter().map(|record| record.id()).collect();
    assert_eq!(store.touching(&ids).unwrap(), ids);
    // Each column of each table is compared: no value of eight bytes or more of one kind stands in
    // the tables of the other.
    let values = |tables: &[&str]| -> BTreeSet<Vec<u8>> {
        tables
            .iter()
            .flat_map(|table| values(&raw, table))
            .collect()
    };
    let consigned = values(&["consignment", "consignment_token", "score"]);
    let recorded = values(&["pack", "token_index", "id_index", "known", "statement"]);
    assert!(consigned.len() > 4 && recorded.len() > 10);
    assert_eq!(consigned.intersection(&recorded).count(), 0);
}

/// Returns every value of a table that has eight bytes or more.
fn values(raw: &Connection, table: &str) -> BTreeSet<Vec<u8>> {
    let mut select = raw.prepare(&format!("SELECT * FROM {table}")).unwrap();
    let columns = select.column_count();
    let mut rows = select.query([]).unwrap();
    let mut found = BTreeSet::new();
    while let Some(row) = rows.next().unwrap() {
        for column in 0..columns {
            let value = match row.get_ref(column).unwrap() {
                rusqlite::types::ValueRef::Integer(number) if number.unsigned_abs() > 1 << 32 => {
                    number.to_be_bytes().to_vec()
                }
                rusqlite::types::ValueRef::Blob(bytes) | rusqlite::types::ValueRef::Text(bytes) => {
                    bytes.to_vec()
                }
                rusqlite::types::ValueRef::Integer(_)
                | rusqlite::types::ValueRef::Null
                | rusqlite::types::ValueRef::Real(_) => continue,
            };
            if value.len() >= 8 {
                found.insert(value);
            }
        }
    }
    found
}

#[test]
fn equal_points_and_references_of_two_stores_have_nothing_in_common() {
    let (one, other) = (Vault::new(&[1; 32]).unwrap(), Vault::new(&[2; 32]).unwrap());
    let (name, points) = (one.name("a").unwrap(), one.points("a", 1.5).unwrap());
    assert_eq!(one.reference(&name).as_deref(), Some("a"));
    assert_eq!(one.open_points("a", &points), Some(1.5));
    assert_eq!(one.open_points("b", &points), None);
    assert_ne!(points, one.points("b", 1.5).unwrap());
    assert_ne!(name, other.name("a").unwrap());
    assert_eq!(other.reference(&name), None);
    for bit in 0..name.len() * 8 {
        let mut flipped = name.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(one.reference(&flipped), None, "{bit}");
    }
}

/// Makes the files of a store that a node of format 8 wrote.
fn of_format_8(folder: &Path) {
    for (file, dump) in [
        (MAIN_FILE, include_str!("format_8_main.sql")),
        (KEYS_FILE, include_str!("format_8_keys.sql")),
    ] {
        let raw = Connection::open(folder.join(file)).unwrap();
        raw.execute_batch(dump).unwrap();
    }
}

fn found(folder: &Path, text: &str) -> bool {
    let files = fs::read_dir(folder).unwrap();
    files
        .map(|file| fs::read(file.unwrap().path()).unwrap())
        .any(|bytes| {
            bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        })
}

/// Attack H2: a store that was written before is brought up to date, and yields no more than a new one.
#[test]
fn a_store_of_format_8_opens_whole_and_keeps_nothing_in_clear_that_is_sealed_now() {
    let folder = tempfile::tempdir().unwrap();
    of_format_8(folder.path());
    let secrets = ["DECL-7700", "Clouseau"];
    for secret in secrets {
        assert!(
            found(folder.path(), secret),
            "the search finds what is there"
        );
    }
    let raw = Connection::open(folder.path().join(MAIN_FILE)).unwrap();
    assert!(!tokens(&raw, "consignment_token").is_disjoint(&tokens_of_packs(&raw)));
    drop(raw);
    for _ in 0..2 {
        let store = SqliteStore::open(folder.path(), &key()).unwrap();
        let references = |stage| -> Vec<String> {
            let rows = store.consignments(stage).unwrap();
            assert!(rows.iter().all(|row| row.body == STORY.as_bytes()));
            rows.into_iter().map(|row| row.reference).collect()
        };
        let arriving = ["DECL-77001", "DECL-77002"];
        assert_eq!(references(ConsignmentStage::Arriving), arriving);
        assert_eq!(references(ConsignmentStage::History), ["DECL-77003"]);
        for (kind, value) in [
            (SelectorKind::Container, CONTAINER),
            (SelectorKind::HsCode, GOODS),
        ] {
            assert_eq!(store.consignments_with(kind, value).unwrap().len(), 2);
            assert_eq!(store.records_about(kind, value).unwrap().len(), 5);
        }
        let ids = store.ids_with_prefix("", 99).unwrap();
        assert_eq!(ids.len(), 5);
        let touching: BTreeSet<RecordId> = store.touching(&ids).unwrap().into_iter().collect();
        assert_eq!(touching, ids.iter().copied().collect());
        let (police, other) = (Originator::new(1), Originator::new(2));
        let held = |id| store.record(id).unwrap().unwrap().sealed;
        let verified = ids
            .iter()
            .map(held)
            .filter(|sealed| police.verify(sealed).is_ok() || other.verify(sealed).is_ok());
        assert_eq!(verified.count(), 5);
        assert_eq!(
            (store.damaged(), store.verify_files().unwrap()),
            (vec![], vec![])
        );
        assert!(store.act_seen(&statement(b"an old act")).unwrap());
        // Scores are computed anew.
        let score = ScoreRow {
            reference: "DECL-77001".to_owned(),
            points: 4.25,
            at: at(9),
            summary: STORY.as_bytes().to_vec(),
            records: 0,
        };
        store
            .commit(vec![Write::Scores(vec![score.clone()])])
            .unwrap();
        assert_eq!(store.scores(9).unwrap(), [score]);
    }
    for secret in secrets {
        assert!(!found(folder.path(), secret), "{secret}");
    }
    let raw = Connection::open(folder.path().join(MAIN_FILE)).unwrap();
    assert!(tokens(&raw, "consignment_token").is_disjoint(&tokens_of_packs(&raw)));
    let (keys, scores): (i64, i64) = {
        let keys = Connection::open(folder.path().join(KEYS_FILE)).unwrap();
        let count = |raw: &Connection, table: &str| {
            let sql = format!("SELECT count(*) FROM {table}");
            raw.query_row(&sql, [], |row| row.get(0)).unwrap()
        };
        (count(&keys, "wrapped_key"), count(&raw, "score"))
    };
    // The keys of the scores that were left behind are destroyed.
    assert_eq!((keys, scores), (3 + 1 + 1, 1));
}

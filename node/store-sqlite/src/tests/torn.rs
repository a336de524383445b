//! Claims about torn pages: one of them keeps back nothing but what stood on it.

use std::{
    fs::OpenOptions,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use portcullis_protocol::{body::SelectorKind, record::Kind};

use super::{
    fixture::*,
    key,
    sealing::{copied, filled, raw, scrubbed},
};
use crate::{MAIN_FILE, SqliteStore, schema::Sealing};
use portcullis_store::{Damaged, Store};

/// Bytes of a page.
const PAGE: u64 = 4_096;

/// Returns the pages of a table's or index's tree that are of this type, in order.
fn pages(folder: &Path, of: &str, page_type: &str) -> Vec<u64> {
    let main = raw(folder);
    let mut select = main
        .prepare("SELECT pageno FROM dbstat WHERE name = ?1 AND pagetype = ?2 ORDER BY path")
        .unwrap();
    let rows = select.query_map([of, page_type], |row| row.get::<_, i64>(0));
    let rows = rows.unwrap().map(|page| page.unwrap().cast_unsigned());
    rows.collect()
}

/// Overwrites the first bytes of a page with zeros.
fn tear(folder: &Path, page: u64, bytes: usize) {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(folder.join(MAIN_FILE))
        .unwrap();
    let mut size = [0; 2];
    file.seek(SeekFrom::Start(16)).unwrap();
    file.read_exact(&mut size).unwrap();
    assert_eq!(u64::from(u16::from_be_bytes(size)), PAGE);
    file.seek(SeekFrom::Start((page - 1) * PAGE)).unwrap();
    file.write_all(&vec![0; bytes]).unwrap();
}

/// Fills a store of which most index entries are in their tables.
fn indexed(folder: &Path) -> Vec<portcullis_protocol::verify::VerifiedRecord> {
    drop(SqliteStore::create(folder, &key()).unwrap());
    let store = gathering(folder);
    let mut police = Originator::new(1);
    let records = police.batch(vec![draft(Kind::Indicator); 640]);
    for records in records.chunks(32) {
        publish(&store, records);
    }
    records
}

fn gathering(folder: &Path) -> SqliteStore {
    SqliteStore::open_gathering(folder, &key(), (64, Sealing::MustBe)).unwrap()
}

/// Attack S4: a torn page in a table that is computed from others kept the node from starting.
#[test]
fn a_torn_page_of_the_index_of_records_is_named_and_the_table_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let records = indexed(folder.path());
    for table in ["id_index", "token_index"] {
        let leaves = pages(folder.path(), table, "leaf");
        assert!(leaves.len() > 1, "{table}: {leaves:?}");
        for at in [0, leaves.len() / 2, leaves.len() - 1] {
            let folder = copied(folder.path());
            tear(folder.path(), leaves[at], 4_096);
            let store = gathering(folder.path());
            let named: Vec<_> = store.damaged().into_iter().map(|row| row.thing).collect();
            assert_eq!(named, [Damaged::Indexes(table)], "leaf {at}");
            assert_eq!(store.mend_indexes().unwrap().len(), 1, "{table}, leaf {at}");
            assert_eq!(scrubbed(&store).unwrap().len(), 0, "{table}, leaf {at}");
            let found = store.records_about(SelectorKind::Imo, SHIP).unwrap();
            assert_eq!(found.len(), records.len());
            for record in &records {
                assert!(store.record(&record.id()).unwrap().is_some());
            }
            // Entries are written where the torn page was, and no later start finds anything.
            let mut customs = Originator::new(2);
            for _ in 0..4 {
                publish(&store, &customs.batch(vec![draft(Kind::Alert); 32]));
            }
            assert_eq!(store.verify_files().unwrap(), [] as [String; 0]);
            drop(store);
            let store = gathering(folder.path());
            assert_eq!(store.damaged(), []);
            assert_eq!(scrubbed(&store).unwrap().len(), 0);
        }
    }
}

/// Attack S4: wherever one page is torn, the node starts, names the table, and checks the rest.
#[test]
fn a_torn_page_of_any_table_is_named_and_the_other_tables_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path()));
    raw(folder.path())
        .execute_batch(
            "INSERT INTO statement SELECT 1000 + n, 0, zeroblob(900), x'00', x'00' FROM
                 (WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 40)
                  SELECT n FROM c)",
        )
        .unwrap();
    for table in [
        "event",
        "act",
        "leaf",
        "consignment_token",
        "statement",
        "decision",
    ] {
        let folder = copied(folder.path());
        let page = *pages(folder.path(), table, "leaf").last().unwrap();
        tear(folder.path(), page, 4_096);
        let store = SqliteStore::open_sealed(folder.path(), &key()).unwrap();
        let is_named = |store: &SqliteStore| {
            let rows = store.damaged().into_iter();
            rows.map(|row| row.thing).any(|thing| {
                matches!(thing, Damaged::Table(name) | Damaged::Indexes(name) if name == table)
            })
        };
        assert!(is_named(&store), "{table}: {:?}", store.damaged());
        store.mend_indexes().unwrap();
        // All parts are checked: none of them ends the pass.
        let found = scrubbed(&store).unwrap();
        assert!(is_named(&store), "{table}: {found:?}");
    }
}

/// Attack S7: what building cannot mend was built anew after each part of the scrub.
#[test]
fn what_cannot_be_built_is_tried_once_and_what_no_index_says_is_damage_of_the_table() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path()));
    let page = *pages(folder.path(), "event", "leaf").last().unwrap();
    tear(folder.path(), page, 4_096);
    let store = SqliteStore::open_sealed(folder.path(), &key()).unwrap();
    let named: Vec<_> = store.damaged().into_iter().map(|row| row.thing).collect();
    assert!(named.contains(&Damaged::Table("event")), "{named:?}");
    assert!(!named.contains(&Damaged::Indexes("event")), "{named:?}");
}

/// Attack S9: the start read the long content of a table with few rows from end to end.
#[test]
fn a_table_with_few_rows_and_much_content_is_left_to_the_scrub() {
    for (megabytes, is_at_start) in [(1, true), (40, false)] {
        let folder = tempfile::tempdir().unwrap();
        drop(filled(folder.path()));
        raw(folder.path())
            .execute(
                "INSERT INTO statement VALUES (1000, 0, zeroblob(?1), x'00', x'00')",
                [megabytes << 20],
            )
            .unwrap();
        let overflow = pages(folder.path(), "statement", "overflow");
        assert!(overflow.len() > 200);
        // The chain of its content ends in the middle.
        tear(folder.path(), overflow[100], 4);
        let store = SqliteStore::open_sealed(folder.path(), &key()).unwrap();
        let named = |store: &SqliteStore| {
            let rows = store.damaged().into_iter();
            rows.map(|row| row.thing).collect::<Vec<_>>()
        };
        let at_start: &[Damaged] = if is_at_start {
            &[Damaged::Table("statement")]
        } else {
            &[]
        };
        assert_eq!(named(&store), at_start, "{megabytes} MB");
        scrubbed(&store).unwrap();
        assert_eq!(named(&store), [Damaged::Table("statement")]);
    }
}

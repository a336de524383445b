//! Claims about SQLite's own indexes: an entry that was taken out is found and put back.

use std::path::Path;

use rusqlite::Connection;

use super::{
    key,
    sealing::{act, copied, fact, filled, raw, scrubbed},
};
use crate::{
    SqliteStore, indexes,
    tables::{Guard, TABLES, Table},
};
use portcullis_store::{Damaged, FactKind, Store, StoreError};

/// Rows for the tables of which a filled store has none, so that every index has an entry.
const ROWS: &str = "
    INSERT INTO extension VALUES (32, 64);
    INSERT INTO known VALUES (-70, x'0000000000000000000000000000000000000000000000000000000000000001', 64);
    INSERT INTO held VALUES (1, 32, 'hub', 1, 'PO-02', 1, 1, 1, x'00', 9);
    INSERT INTO sent VALUES (900, 'hub', 'bulk', 1, 1, 7, 1, NULL, NULL, x'00');
    INSERT INTO disclosure VALUES ('x', 32, 1, 901, 0, 'denied', NULL, 1, 1, NULL, NULL);
    INSERT INTO exception VALUES ('x', 'bulk', -70, 1, 1, 9, 0);
    INSERT INTO undelivered VALUES ('x', 'bulk', -70, 1, 1);
    INSERT INTO past_generation VALUES (1, 'x', 'bulk', zeroblob(16));
    INSERT INTO fork VALUES (1, 'x', 'bulk', 1, x'00', x'01');
    INSERT INTO backfill VALUES (1, 'x', 'bulk', 1, 2, 1, 2, 0, 0, 1, 5, 0);
    INSERT INTO channel_note VALUES ('x', -70, 'gone', 1);
    INSERT INTO bad_item VALUES (1, 'x', zeroblob(32), 'RC-01', '', 1, 1, 1, x'00');
    INSERT INTO refusal VALUES ('x', 0, 32, 1);";

/// Runs statements on the tree of an index, or of a table without rowids, alone: it is made to look
/// like a table `shadow` for a while, with columns `c0`, `c1`, ….
fn in_tree(folder: &Path, of: &str, statements: &str) {
    let main = raw(folder);
    let columns: i64 = main
        .query_row("SELECT count(*) FROM pragma_index_xinfo(?1)", [of], |row| {
            row.get(0)
        })
        .unwrap();
    assert!(columns > 0, "there is no index `{of}`");
    let columns: Vec<String> = (0..columns).map(|column| format!("c{column}")).collect();
    let columns = columns.join(", ");
    let made = format!("CREATE TABLE shadow ({columns}, PRIMARY KEY ({columns})) WITHOUT ROWID");
    in_tree_as(folder, of, &made, statements);
}

/// As [`in_tree`], where `made` says what the table looks like.
fn in_tree_as(folder: &Path, of: &str, made: &str, statements: &str) {
    let main = raw(folder);
    main.execute_batch("PRAGMA writable_schema = ON").unwrap();
    // The tree of a table without rowids is that of its primary key.
    let root: i64 = main
        .query_row(
            "SELECT rootpage FROM sqlite_schema
             WHERE (name = ?1 AND rootpage > 0) OR (type = 'table' AND name = (
                 SELECT t.name FROM sqlite_schema AS t, pragma_index_list(t.name) AS i
                 WHERE i.name = ?1 AND i.origin = 'pk'))",
            [of],
            |row| row.get(0),
        )
        .unwrap();
    main.execute(
        "INSERT INTO sqlite_schema VALUES ('table', 'shadow', 'shadow', ?1, ?2)",
        (root, made),
    )
    .unwrap();
    drop(main);
    let main = raw(folder);
    main.pragma_update(None, "foreign_keys", false).unwrap();
    main.execute_batch(statements).unwrap();
    main.execute_batch(
        "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'shadow'",
    )
    .unwrap();
}

/// Takes the first entry out of an index.
const FIRST_OUT: &str = "DELETE FROM shadow WHERE (c0, c1) IN (SELECT c0, c1 FROM shadow LIMIT 1)";

/// Returns the secondary indexes of all tables, each with its table.
fn all_indexes(main: &Connection) -> Vec<(String, String)> {
    let mut select = main
        .prepare(
            "SELECT i.name, t.name FROM sqlite_schema AS t, pragma_index_list(t.name) AS i
             WHERE t.type = 'table' AND i.origin <> 'pk' ORDER BY i.name",
        )
        .unwrap();
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

/// Hostile HP-193: an entry taken out of an index of SQLite hid a row from every question by it.
#[test]
fn an_entry_taken_out_of_any_index_is_found_at_the_start_and_by_the_scrub_and_put_back() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path()));
    let main = raw(folder.path());
    main.pragma_update(None, "foreign_keys", false).unwrap();
    main.execute_batch(ROWS).unwrap();
    let indexes = all_indexes(&main);
    drop(main);
    assert!(indexes.len() >= 20, "{indexes:?}");
    let open = |folder: &Path| SqliteStore::open_sealed(folder, &key()).unwrap();
    for (index, table) in indexes {
        let folder = copied(folder.path());
        in_tree(folder.path(), &index, FIRST_OUT);
        let store = open(folder.path());
        let named = |store: &SqliteStore| {
            let rows = store.damaged().into_iter();
            let rows = rows.filter(|row| matches!(row.thing, Damaged::Indexes(_)));
            rows.map(|row| (row.thing.to_string(), row.why))
                .collect::<Vec<_>>()
        };
        let at_start = named(&store);
        let [(thing, why)] = &at_start[..] else {
            panic!("{index}: {at_start:?}");
        };
        assert!(
            thing.contains(&format!("`{table}`")) && why.contains(&index),
            "{thing}: {why}"
        );
        let seals = scrubbed(&store).unwrap();
        assert_eq!(named(&store), at_start, "{index}");
        let mended = store.mend_indexes().unwrap();
        assert_eq!(mended.len(), 1, "{index}");
        assert_eq!(named(&store), [], "{index}");
        // What was sealed is as it was, and nothing is left to mend.
        let still = scrubbed(&store).unwrap();
        assert!(
            still.is_subset(&seals) && still.len() < seals.len(),
            "{index}: {still:?}"
        );
        assert_eq!(store.mend_indexes().unwrap(), []);
        drop(store);
        assert_eq!(named(&open(folder.path())), [], "{index}");
    }
}

/// Hostile HP-193: the seals of two tables were compared with an index that has all of their columns.
#[test]
fn a_row_taken_out_of_a_table_and_left_in_its_index_is_missed_by_the_seals() {
    for (table, only) in [("extension", "32"), ("refusal", "'x'")] {
        let folder = tempfile::tempdir().unwrap();
        let store = filled(folder.path());
        drop(store);
        let main = raw(folder.path());
        main.execute_batch(
            ROWS.split(';')
                .filter(|sql| sql.contains(&format!("INTO {table} ")))
                .collect::<Vec<_>>()
                .join(";")
                .as_str(),
        )
        .unwrap();
        drop(main);
        // The row is written by the node: its seal is made when the seals are made anew.
        raw(folder.path())
            .execute_batch("DELETE FROM seal_root")
            .unwrap();
        let store = SqliteStore::open(folder.path(), &key()).unwrap();
        assert_eq!(scrubbed(&store).unwrap().len(), 0, "{table}");
        drop(store);
        let tree = format!("sqlite_autoindex_{table}_1");
        in_tree(
            folder.path(),
            &tree,
            &format!("DELETE FROM shadow WHERE c0 = {only}"),
        );
        let store = SqliteStore::open_sealed(folder.path(), &key()).unwrap();
        let found: Vec<_> = store.damaged().into_iter().map(|row| row.thing).collect();
        assert!(
            found.iter().any(|thing| *thing
                == Damaged::Table(TABLES.iter().find(|one| one.name == table).unwrap().name)),
            "{found:?}"
        );
    }
}

/// A row of a table without rowids that stands at a wrong place is not found by its key.
#[test]
fn a_row_out_of_its_place_is_found_and_put_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path()));
    in_tree_as(
        folder.path(),
        "sqlite_autoindex_trust_fact_1",
        "CREATE TABLE shadow (kind, subject, content, at, PRIMARY KEY (kind DESC, subject DESC)) WITHOUT ROWID",
        "CREATE TEMP TABLE kept AS SELECT * FROM shadow; DELETE FROM shadow;
         INSERT INTO shadow SELECT * FROM kept",
    );
    let store = SqliteStore::open_sealed(folder.path(), &key()).unwrap();
    let found = scrubbed(&store).unwrap();
    assert_eq!(
        found.into_iter().collect::<Vec<_>>(),
        ["indexes of trust_fact"]
    );
    assert_eq!(store.mend_indexes().unwrap().len(), 1);
    assert_eq!(scrubbed(&store).unwrap().len(), 0);
    store.commit(vec![fact(FactKind::Block, "port")]).unwrap();
    assert_eq!(store.facts().unwrap().len(), 2);
}

/// An act was carried out twice while the entry of its digest was missing.
#[test]
fn an_act_is_not_carried_out_twice_when_its_entry_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path());
    in_tree(
        folder.path(),
        "sqlite_autoindex_act_1",
        "DELETE FROM shadow",
    );
    for payload in [b"one", b"two"] {
        let again = store.commit(vec![act(payload)]);
        assert!(matches!(again, Err(StoreError::Replayed)), "{again:?}");
    }
    assert_eq!(store.acts(None, 9).unwrap().len(), 2);
}

/// Two rows with the key of one contradict each other: no index can be made of them, and they stay
/// named.
#[test]
fn an_index_that_cannot_be_built_stays_a_problem_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path());
    in_tree(
        folder.path(),
        "sqlite_autoindex_known_1",
        "DELETE FROM shadow",
    );
    raw(folder.path())
        .execute_batch("INSERT INTO known SELECT n - 100, id, place FROM known")
        .unwrap();
    scrubbed(&store).unwrap();
    assert_eq!(store.mend_indexes().unwrap(), []);
    let found = scrubbed(&store).unwrap();
    assert!(found.contains("indexes of known"), "{found:?}");
}

/// An index that is built anew would overwrite another table.
#[test]
fn a_store_in_which_two_trees_begin_on_one_page_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path()));
    raw(folder.path())
        .execute_batch(
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET rootpage =
                 (SELECT rootpage FROM sqlite_schema WHERE name = 'act')
             WHERE name = 'sent_by_place'",
        )
        .unwrap();
    let opened = SqliteStore::open_sealed(folder.path(), &key());
    assert!(matches!(opened, Err(StoreError::Damaged(_))));
}

/// No table of today has an index on an expression; one that gets one is compared as well.
#[test]
fn an_index_on_an_expression_and_a_partial_one_are_compared_and_built_anew() {
    for index in ["t (abs(a), length(b))", "t (a, b) WHERE b IS NOT NULL"] {
        let folder = tempfile::tempdir().unwrap();
        let main = raw(folder.path());
        main.execute_batch(&format!(
            "CREATE TABLE t (a INTEGER, b TEXT); CREATE INDEX i ON {index};
             INSERT INTO t VALUES (-1, 'x'), (2, 'yy'), (3, NULL)"
        ))
        .unwrap();
        let table = Table {
            id: 0,
            name: "t",
            guard: Guard::Derived,
            key: &[],
            left_out: &[],
            only: "1",
            since: 0,
        };
        assert_eq!(indexes::differ(&main, &table).unwrap(), None);
        drop(main);
        in_tree(folder.path(), "i", FIRST_OUT);
        let main = raw(folder.path());
        let found = indexes::differ(&main, &table).unwrap();
        assert!(found.is_some_and(|what| what.contains("missing from index i")));
        assert!(indexes::build_anew(&main, "t").unwrap());
        assert_eq!(indexes::differ(&main, &table).unwrap(), None);
    }
}

/// The seals are those of the rows: no question for them is answered from an index.
#[test]
fn the_rows_that_are_sealed_are_read_from_their_table() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path()));
    let main = raw(folder.path());
    for table in TABLES.iter().filter(|table| table.is_sealed()) {
        let plan = crate::seals::plan(&main, table);
        assert!(!plan.contains("COVERING"), "{}: {plan}", table.name);
        assert!(!plan.contains("TEMP B-TREE"), "{}: {plan}", table.name);
    }
}

#[test]
fn a_store_that_was_not_closed_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path());
    let other = copied(folder.path());
    drop(store);
    let closed = SqliteStore::open(folder.path(), &key()).unwrap();
    assert!(!closed.stopped_uncleanly());
    let killed = SqliteStore::open(other.path(), &key()).unwrap();
    assert!(killed.stopped_uncleanly());
}

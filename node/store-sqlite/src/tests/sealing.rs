//! Claims about seals: whoever writes to the files without a key is noticed, whatever is written.

use std::{collections::BTreeSet, fs, path::Path};

use portcullis_protocol::{body::SelectorKind, frame::Outcome, record::Kind, rules::Rule};
use rusqlite::Connection;

use super::{fixture::*, key};
use crate::{
    MAIN_FILE, SqliteStore, connection,
    tables::{Guard, TABLES, sealed_tables},
};
use portcullis_store::{
    Act, ConsignmentRow, Damaged, Effects, Fact, FactKind, Judgement, NodeEvent, PersonRow,
    ScoreRow, Store, StoreError, Write,
};

pub(super) fn raw(folder: &Path) -> Connection {
    Connection::open(folder.join("store.db")).unwrap()
}

pub(super) fn act(payload: &'static [u8]) -> Write {
    Write::Act(Act {
        action: "enrol".to_owned(),
        person: "anna".to_owned(),
        uid: None,
        at: at(1),
        statement: Some(statement(payload)),
        concerns: "`anna`".to_owned(),
        enrols: Some(PersonRow {
            id: String::from_utf8_lossy(payload).into_owned(),
            name: "Anna".to_owned(),
            role: "analyst".to_owned(),
            public_key: vec![1; 32],
            enrolled_at: at(1),
            enrolled_by: String::new(),
        }),
        effects: Effects::Nothing,
    })
}

pub(super) fn fact(kind: FactKind, subject: &str) -> Write {
    Write::Fact(Fact {
        kind,
        subject: subject.to_owned(),
        content: Some(b"x".to_vec()),
        at: at(1),
    })
}

fn score(reference: &str) -> ScoreRow {
    ScoreRow {
        reference: reference.to_owned(),
        points: 53.5,
        at: at(1),
        summary: b"why".to_vec(),
        records: 0,
    }
}

/// Fills a store with something of every kind.
pub(super) fn filled(folder: &Path) -> SqliteStore {
    let store = SqliteStore::create(folder, &key()).unwrap();
    let mut police = Originator::new(1);
    let mut customs = Originator::new(2);
    let own: Vec<_> = (0..3).map(|_| customs.record(Kind::Indicator)).collect();
    for record in &own {
        publish(&store, std::slice::from_ref(record));
    }
    for _ in 0..2 {
        let record = police.record(Kind::Indicator);
        accept(&store, "police", &record);
    }
    let refused = police.record(Kind::Alert);
    let refuse = Judgement::Refuse {
        rule: Rule::PolicyDenied,
        note: note("no"),
    };
    deliver(&store, "port", vec![(refused.id(), refused.form(), refuse)]);
    for (peer, record) in [("port", &own[0]), ("hub", &own[1])] {
        intend(
            &store,
            peer,
            vec![entry(record.id(), record.form())],
            Some(40),
            at(3),
        );
        let answers = vec![answer(record.id(), record.form(), Outcome::Accepted)];
        settle(&store, peer, answers, None, at(4));
    }
    store.commit(vec![act(b"one")]).unwrap();
    store.commit(vec![act(b"two")]).unwrap();
    store
        .commit(vec![
            fact(FactKind::Block, "port"),
            fact(FactKind::Stop, "hub"),
            Write::Meet(vec![peer("port"), peer("hub")]),
            Write::Event(NodeEvent {
                at: at(1),
                kind: "test".to_owned(),
                peer: None,
                detail: "an event".to_owned(),
            }),
            Write::Consignments(
                [
                    ("23BE-1", vec![(SelectorKind::Imo, SHIP.to_owned())]),
                    ("23BE-2", Vec::new()),
                ]
                .map(|(reference, selectors)| ConsignmentRow {
                    reference: reference.to_owned(),
                    at: at(1),
                    arriving: true,
                    body: b"goods".to_vec(),
                    selectors,
                })
                .into(),
            ),
            Write::Scores(["23BE-1", "23BE-2"].map(score).into()),
        ])
        .unwrap();
    store
        .commit(vec![Write::Withdraw {
            records: vec![own[2].id()],
            outcome: "withdrawn".to_owned(),
            at: at(5),
        }])
        .unwrap();
    store
}

/// Opens a store, checks all of it, and returns the names of what differs.
fn found(folder: &Path) -> Result<BTreeSet<String>, StoreError> {
    let store = SqliteStore::open_sealed(folder, &key())?;
    let at_start = store.damaged();
    let found = scrubbed(&store)?;
    assert!(at_start.iter().all(|row| store.damaged().contains(row)));
    Ok(found)
}

/// Checks all of a store, and returns the names of what differs.
pub(super) fn scrubbed(store: &SqliteStore) -> Result<BTreeSet<String>, StoreError> {
    let mut part = 0;
    while store.scrub(part)?.is_some() {
        part += 1;
    }
    let names = store.damaged().into_iter().map(|row| match row.thing {
        Damaged::Table(name) => name.to_owned(),
        Damaged::Indexes(name) => format!("indexes of {name}"),
        other @ (Damaged::Record(_)
        | Damaged::Pack(_)
        | Damaged::Held { .. }
        | Damaged::Consignment(_)
        | Damaged::Score(_)) => other.to_string(),
    });
    Ok(names.collect())
}

pub(super) fn copied(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.path().join(file.file_name())).unwrap();
    }
    to
}

#[test]
fn an_untouched_store_has_nothing_to_find() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path()));
    assert_eq!(found(folder.path()).unwrap(), BTreeSet::new());
    assert_eq!(found(folder.path()).unwrap(), BTreeSet::new());
}

/// Attack H1: the edits of the store that were noticed nowhere, and others of their kind.
#[test]
fn an_edit_of_the_store_is_found_in_its_table() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path()));
    for (table, edit) in [
        // Those of the report.
        (
            "person",
            "INSERT INTO person VALUES ('eve', 'Eve', 'administrator', x'00', 1, 'anna')",
        ),
        ("person", "UPDATE person SET role = 'administrator'"),
        ("person", "DELETE FROM person"),
        ("act", "DELETE FROM act"),
        ("pack", "DELETE FROM pack WHERE source = 'police'"),
        (
            "pack",
            "UPDATE pack SET source = 'port' WHERE source = 'police'",
        ),
        ("pack", "UPDATE pack SET received_at = received_at - 1000"),
        ("pack", "UPDATE pack SET own = 1"),
        ("disclosure", "DELETE FROM disclosure"),
        ("disclosure", "UPDATE disclosure SET peer = 'nobody'"),
        ("receipt", "DELETE FROM receipt"),
        ("index", "DELETE FROM token_index"),
        ("consignment", "DELETE FROM consignment"),
        (
            "tombstone",
            "INSERT INTO tombstone VALUES ((SELECT n * 32 FROM pack WHERE source = 'police'), 'withdrawn', 1)",
        ),
        (
            "decision",
            "UPDATE decision SET policies = '[\"other\"]' WHERE n = 1",
        ),
        ("dispatch", "UPDATE dispatch SET cursor = 999999999"),
        (
            "meta",
            "UPDATE meta SET value = randomblob(16) WHERE name = 'generation'",
        ),
        (
            "trust_fact",
            "INSERT INTO trust_fact VALUES ('stop', '*', x'00', 1)",
        ),
        // Others.
        ("trust_fact", "DELETE FROM trust_fact WHERE kind = 'block'"),
        (
            "trust_fact",
            "UPDATE trust_fact SET subject = 'nobody' WHERE kind = 'block'",
        ),
        ("tombstone", "DELETE FROM tombstone"),
        ("arrival", "DELETE FROM arrival"),
        (
            "arrival",
            "UPDATE arrival SET outcome = 'held', reason = NULL",
        ),
        ("act", "DELETE FROM act WHERE n = (SELECT max(n) FROM act)"),
        ("act", "UPDATE act SET person = 'bea' WHERE n = 1"),
        (
            "leaf",
            "DELETE FROM leaf WHERE n = (SELECT max(n) FROM leaf)",
        ),
        (
            "leaf",
            "UPDATE leaf SET salted = (SELECT salted FROM leaf WHERE n = 2) WHERE n = 1",
        ),
        (
            "leaf",
            "UPDATE leaf SET n = n + 1000 WHERE n > 1; UPDATE leaf SET n = n - 1001",
        ),
        ("event", "DELETE FROM event"),
        // Finding F10: a score of another time, or of another consignment.
        (
            "score",
            "DELETE FROM score WHERE name = (SELECT min(name) FROM score)",
        ),
        ("score", "UPDATE score SET at = at - 1"),
        (
            "score",
            "CREATE TEMP TABLE s AS SELECT name, points FROM score;
            UPDATE score SET points = (SELECT points FROM s WHERE s.name <> score.name)",
        ),
        ("sent_position", "DELETE FROM sent_position"),
        ("refusal", "DELETE FROM refusal"),
        ("consignment_token", "DELETE FROM consignment_token"),
        ("pack", "UPDATE pack SET lane = 'urgent'"),
        ("pack", "UPDATE pack SET kind = 'alert'"),
        // Two rows change places, with their seals.
        (
            "dispatch",
            "CREATE TEMP TABLE c AS SELECT peer, lane, cursor FROM dispatch;
            UPDATE dispatch SET cursor = cursor + 7 WHERE peer = 'hub'",
        ),
        (
            "disclosure",
            "CREATE TEMP TABLE m AS SELECT row, mac FROM row_seal WHERE tbl = 11;
            UPDATE disclosure SET record = 1000 - record;
            UPDATE row_seal SET mac = (SELECT mac FROM m ORDER BY random() LIMIT 1) WHERE tbl = 11",
        ),
        (
            "index",
            "DELETE FROM id_index; INSERT OR REPLACE INTO meta VALUES ('indexed', x'00000000000F4240')",
        ),
    ] {
        let folder = copied(folder.path());
        let main = raw(folder.path());
        main.pragma_update(None, "foreign_keys", false).unwrap();
        if table == "index" {
            main.execute(
                "INSERT OR REPLACE INTO meta VALUES ('indexed', x'00000000000F4240')",
                [],
            )
            .unwrap();
        }
        main.execute_batch(edit).unwrap();
        drop(main);
        let names = found(folder.path()).unwrap();
        assert!(names.contains(table), "{edit}: {names:?}");
    }
}

/// Attack H1: small tables and heads are checked before anything is sent.
#[test]
fn what_decides_is_checked_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path()));
    raw(folder.path())
        .execute_batch(
            "UPDATE dispatch SET cursor = 999999999; DELETE FROM trust_fact;
             DELETE FROM leaf WHERE n = (SELECT max(n) FROM leaf)",
        )
        .unwrap();
    let store = SqliteStore::open_sealed(folder.path(), &key()).unwrap();
    let named: Vec<_> = store.damaged().into_iter().map(|row| row.thing).collect();
    for table in ["dispatch", "leaf", "trust_fact"] {
        assert!(named.contains(&Damaged::Table(table)), "{named:?}");
    }
    // It is not mended by what is written since.
    store.commit(vec![fact(FactKind::Stop, "all")]).unwrap();
    drop(store);
    let names = found(folder.path()).unwrap();
    assert!(names.contains("trust_fact") && names.contains("dispatch"));
}

/// Attack H1: rows and seals of an earlier state.
#[test]
fn a_row_or_a_table_of_an_earlier_state_is_found() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path()));
    let earlier = copied(folder.path());
    let store = SqliteStore::open(folder.path(), &key()).unwrap();
    let lifted = Fact {
        kind: FactKind::Stop,
        subject: "hub".to_owned(),
        content: None,
        at: at(9),
    };
    store
        .commit(vec![Write::Fact(lifted), fact(FactKind::Stop, "port")])
        .unwrap();
    drop(store);
    let main = raw(folder.path());
    let from = earlier.path().join("store.db");
    main.execute("ATTACH DATABASE ?1 AS earlier", [from.to_str().unwrap()])
        .unwrap();
    main.execute_batch(
        "DELETE FROM trust_fact; INSERT INTO trust_fact SELECT * FROM earlier.trust_fact;
         DELETE FROM row_seal; INSERT INTO row_seal SELECT * FROM earlier.row_seal",
    )
    .unwrap();
    assert!(found(folder.path()).unwrap().contains("trust_fact"));
    // With the root of that time, everything else is another one.
    main.execute_batch(
        "DELETE FROM seal_root; INSERT INTO seal_root SELECT * FROM earlier.seal_root;
         INSERT INTO event (at, kind, detail) VALUES (1, 'x', 'y')",
    )
    .unwrap();
    assert!(found(folder.path()).unwrap().contains("event"));
}

/// Attack H1: a store whose seals were taken away, changed, or that has a trigger of a stranger.
#[test]
fn a_store_without_its_seals_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path()));
    for edit in [
        "DELETE FROM seal_root",
        "UPDATE seal_root SET sealed = zeroblob(length(sealed))",
        "UPDATE seal_root SET salt = zeroblob(32)",
        "CREATE TRIGGER eve AFTER INSERT ON event BEGIN DELETE FROM trust_fact; END",
        "CREATE VIEW v AS SELECT 1",
        "DROP INDEX sent_by_place",
        "CREATE TRIGGER eve AFTER INSERT ON event BEGIN DELETE FROM trust_fact; END;
         PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET name = 'sqlite_eve',
             sql = replace(sql, 'TRIGGER eve', 'TRIGGER sqlite_eve') WHERE name = 'eve'",
        BACK_TO_8,
    ] {
        let folder = copied(folder.path());
        raw(folder.path()).execute_batch(edit).unwrap();
        let opened = SqliteStore::open_sealed(folder.path(), &key());
        assert!(matches!(opened, Err(StoreError::Damaged(_))), "{edit}");
    }
}

/// Format 12 sealed everything but scores. They are sealed as they stand, and nothing else is that was
/// changed.
#[test]
fn a_store_of_format_12_has_its_scores_sealed_and_nothing_else_that_was_changed() {
    let folder = tempfile::tempdir().unwrap();
    let back_to_12 = "PRAGMA user_version = 12";
    drop(filled(folder.path()));
    raw(folder.path()).execute_batch(back_to_12).unwrap();
    let other = copied(folder.path());
    // The number alone has nothing sealed anew that was sealed before.
    for edit in [
        "UPDATE score SET at = at - 1",
        "DELETE FROM score",
        "DELETE FROM leaf WHERE n = (SELECT max(n) FROM leaf)",
        "UPDATE leaf SET salted = zeroblob(48) WHERE n = 1",
    ] {
        let edited = copied(folder.path());
        raw(edited.path()).execute_batch(edit).unwrap();
        let opened = SqliteStore::open_sealed(edited.path(), &key());
        assert!(matches!(opened, Err(StoreError::Damaged(_))), "{edit}");
    }
    let store = SqliteStore::open_sealed(folder.path(), &key()).unwrap();
    assert_eq!(scrubbed(&store).unwrap(), BTreeSet::new());
    assert_eq!(store.scores(9).unwrap().len(), 2);
    drop(store);
    raw(folder.path())
        .execute_batch("UPDATE score SET at = at - 1")
        .unwrap();
    assert!(found(folder.path()).unwrap().contains("score"));
    raw(other.path())
        .execute_batch("UPDATE person SET role = 'administrator'")
        .unwrap();
    let opened = SqliteStore::open_sealed(other.path(), &key());
    assert!(matches!(opened, Err(StoreError::Damaged(_))));
}

/// Finding F1: a trigger of somebody else, made while the node ran, had its changes sealed by the
/// node; so has any other change of the schema that makes SQLite itself write.
#[test]
fn what_is_added_to_the_schema_of_a_running_store_does_nothing_and_stops_its_writer() {
    for edit in [
        "CREATE TRIGGER eve AFTER INSERT ON event BEGIN DELETE FROM trust_fact; END",
        "CREATE TRIGGER eve BEFORE INSERT ON event BEGIN SELECT RAISE(IGNORE); END",
        "CREATE TABLE eve (fact TEXT REFERENCES trust_fact (kind) ON DELETE CASCADE)",
        "ALTER TABLE trust_fact RENAME TO old; CREATE VIEW trust_fact AS SELECT * FROM old",
        "CREATE UNIQUE INDEX eve ON event (at) WHERE kind <> 'x'",
        "DROP INDEX sent_by_place",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let store = filled(folder.path());
        let end = store.log_end().unwrap();
        let version = raw(folder.path())
            .pragma_query_value(None, "schema_version", |row| row.get::<_, i64>(0))
            .unwrap();
        raw(folder.path()).execute_batch(edit).unwrap();
        let written = store.commit(vec![fact(FactKind::Stop, "hub")]);
        assert!(matches!(written, Err(StoreError::Damaged(_))), "{edit}");
        assert_eq!(store.log_end().unwrap(), end, "{edit}");
        assert!(matches!(store.scrub(0), Ok(Some(_))), "{edit}");
        assert!(
            store
                .damaged()
                .iter()
                .any(|row| row.thing == Damaged::Table("sqlite_schema")),
            "{edit}"
        );
        // Whoever hides the change keeps the running node from taking it up.
        raw(folder.path())
            .pragma_update(None, "schema_version", version)
            .unwrap();
        drop(store);
        let opened = SqliteStore::open_sealed(folder.path(), &key());
        assert!(matches!(opened, Err(StoreError::Damaged(_))), "{edit}");
    }
}

/// Finding F1: the number of the schema is put back before the node looks at it.
#[test]
fn a_trigger_that_hides_itself_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path());
    let facts = store.facts().unwrap();
    let eve = raw(folder.path());
    let version = eve
        .pragma_query_value(None, "schema_version", |row| row.get::<_, i64>(0))
        .unwrap();
    eve.execute_batch(
        "CREATE TRIGGER eve AFTER INSERT ON act BEGIN DELETE FROM trust_fact; END;
         CREATE TRIGGER eva AFTER UPDATE ON act BEGIN DELETE FROM trust_fact; END",
    )
    .unwrap();
    eve.pragma_update(None, "schema_version", version).unwrap();
    store.commit(vec![act(b"three")]).unwrap();
    assert_eq!(store.facts().unwrap(), facts);
    assert!(scrubbed(&store).unwrap().contains("sqlite_schema"));
    // Nor does it on a connection that has read the schema with it.
    let other = connection::writable(folder.path(), MAIN_FILE).unwrap();
    let changed = other.execute("UPDATE act SET action = 'x' WHERE action = 'enrol'", []);
    assert_eq!(changed.unwrap(), 3);
    assert_eq!(store.facts().unwrap(), facts);
}

/// An administrator who compacts the file or has its statistics gathered changes nothing of it.
#[test]
fn a_file_that_is_vacuumed_or_analyzed_under_a_running_store_is_written_further() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path());
    for sql in ["VACUUM", "ANALYZE", "PRAGMA optimize"] {
        raw(folder.path()).execute_batch(sql).unwrap();
        store.commit(vec![fact(FactKind::Stop, sql)]).unwrap();
    }
    drop(store);
    assert_eq!(found(folder.path()).unwrap(), BTreeSet::new());
}

/// Attack H1: seals are bound to their store.
#[test]
fn rows_and_root_of_another_store_under_the_same_key_do_not_hold() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(filled(one.path()));
    drop(filled(other.path()));
    let main = raw(one.path());
    let from = other.path().join("store.db");
    main.execute("ATTACH DATABASE ?1 AS other", [from.to_str().unwrap()])
        .unwrap();
    main.execute_batch(
        "DELETE FROM seal_root; INSERT INTO seal_root SELECT * FROM other.seal_root",
    )
    .unwrap();
    assert!(found(one.path()).is_err());
}

#[test]
fn a_store_of_format_8_is_sealed_as_it_stands_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path());
    let (facts, persons, log) = (store.facts(), store.persons(), store.log_end());
    drop(store);
    raw(folder.path()).execute_batch(BACK_TO_8).unwrap();
    let store = SqliteStore::open(folder.path(), &key()).unwrap();
    assert_eq!(store.facts().unwrap(), facts.unwrap());
    assert_eq!(store.persons().unwrap(), persons.unwrap());
    assert_eq!(store.log_end().unwrap(), log.unwrap());
    store.commit(vec![fact(FactKind::Stop, "port")]).unwrap();
    drop(store);
    assert_eq!(found(folder.path()).unwrap(), BTreeSet::new());
    raw(folder.path())
        .execute_batch("DELETE FROM trust_fact WHERE kind = 'block'")
        .unwrap();
    assert!(found(folder.path()).unwrap().contains("trust_fact"));
}

/// A job that fails leaves neither rows nor seals.
#[test]
fn a_job_that_fails_leaves_the_seals_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path());
    let mut jobs = vec![
        vec![fact(FactKind::Stop, "one")],
        vec![fact(FactKind::Stop, "two"), act(b"one")],
        vec![fact(FactKind::Stop, "three")],
    ]
    .into_iter();
    let done = store.commit_group(&mut || jobs.next());
    assert!(done[0].is_ok() && done[1].is_err() && done[2].is_ok());
    drop(store);
    assert_eq!(found(folder.path()).unwrap(), BTreeSet::new());
}

/// A table that nobody decided about fails here.
#[test]
fn every_table_says_how_its_rows_are_protected() {
    let folder = tempfile::tempdir().unwrap();
    drop(SqliteStore::create(folder.path(), &key()).unwrap());
    let main = raw(folder.path());
    let mut select = main
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*'")
        .unwrap();
    let made: BTreeSet<String> = select
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let listed: BTreeSet<String> = TABLES.iter().map(|table| table.name.to_owned()).collect();
    assert_eq!(made, listed);
    let ids: BTreeSet<u8> = sealed_tables().map(|table| table.id).collect();
    assert_eq!(ids.len(), sealed_tables().count(), "a number is used twice");
    for table in sealed_tables() {
        let columns = |sql: &str| -> Vec<String> {
            let mut select = main.prepare(sql).unwrap();
            let rows = select.query_map([table.name], |row| row.get(0)).unwrap();
            rows.collect::<Result<_, _>>().unwrap()
        };
        let key = columns("SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk");
        assert_eq!(key, table.key, "{}", table.name);
        let all = columns("SELECT name FROM pragma_table_info(?1)");
        assert!(
            table
                .left_out
                .iter()
                .all(|left| all.iter().any(|one| one == left))
        );
    }
    let chained = TABLES.iter().filter(|table| table.guard == Guard::Chained);
    let chained: Vec<&str> = chained.map(|table| table.name).collect();
    assert_eq!(chained, ["receipt", "sent", "disclosure", "act"]);
}

/// The chain holds a salted digest of each row, and goes on holding when salts are erased.
#[test]
fn a_leaf_is_the_salted_digest_of_its_row() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path()));
    let main = raw(folder.path());
    let salted: Vec<Vec<u8>> = main
        .prepare("SELECT salted FROM leaf WHERE tbl = 17 ORDER BY n")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(salted.len(), 2);
    assert!(salted.iter().all(|one| one.len() == 48));
    assert_ne!(salted[0][..16], salted[1][..16]);
    // Rows can go, and the chain holds.
    main.execute_batch("UPDATE leaf SET salted = CAST(zeroblob(16) || substr(salted, 17) AS BLOB)")
        .unwrap();
    assert_eq!(found(folder.path()).unwrap(), BTreeSet::new());
}

/// A record that nobody reads is found damaged by the scrub.
#[test]
fn a_section_that_nobody_reads_is_found_by_the_scrub() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path()));
    let main = raw(folder.path());
    let body: Vec<u8> = main
        .query_row("SELECT body FROM pack WHERE n = 1", [], |row| row.get(0))
        .unwrap();
    let mut changed = body;
    let last = changed.len() - 1;
    changed[last] ^= 1;
    main.execute("UPDATE pack SET body = ?1 WHERE n = 1", [changed])
        .unwrap();
    let names = found(folder.path()).unwrap();
    assert!(
        names.iter().any(|name| name.starts_with("record ")),
        "{names:?}"
    );
}

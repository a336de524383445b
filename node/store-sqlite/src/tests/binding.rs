//! Claims about the binding of the key table: keys of the node from before it open nothing any more, and
//! whoever is killed while it is made loses nothing.

use std::{collections::BTreeSet, fs, path::Path};

use portcullis_protocol::{body::SelectorKind, record::Kind};
use rusqlite::Connection;

use super::{
    fixture::*,
    key,
    sealing::{copied, filled, raw, scrubbed},
};
use crate::{
    Binding, KEYS_FILE, SqliteStore, Unlocking, binding::wrap_anew, connection::writable,
    would_open, would_open_sealed,
};
use portcullis_store::{Store, StoreError};

const KEY: [u8; 32] = [3; 32];
const SECRET: [u8; 32] = [9; 32];

const BEGUN: Unlocking<'static> = Unlocking {
    key: &KEY,
    binding: Binding::Begun(&SECRET),
};
const BOUND: Unlocking<'static> = Unlocking {
    key: &KEY,
    binding: Binding::Bound(&SECRET),
};

/// Ways to take the seals of rows from a store, so that it looks like one of an earlier version.
const WITHOUT_SEALS: [&str; 2] = ["DELETE FROM seal_root", BACK_TO_8];

fn keys(folder: &Path) -> Connection {
    Connection::open(folder.join(KEYS_FILE)).unwrap()
}

/// Everything that needs a key to be read, as it is read.
fn opened(store: &SqliteStore) -> String {
    let about = store.records_about(SelectorKind::Imo, SHIP).unwrap();
    assert!(!about.is_empty());
    let goods = store.consignments_with(SelectorKind::Imo, SHIP).unwrap();
    assert_eq!(goods.len(), 1);
    format!(
        "{about:?} {goods:?} {:?} {:?}",
        store.scores(9),
        store.acts(None, 9)
    )
}

/// Makes a store of before the binding.
fn unbound() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let holds = opened(&filled(folder.path()));
    (folder, holds)
}

fn whole(folder: &Path, keys: Unlocking<'_>, holds: &str) {
    let store = SqliteStore::open_sealed(folder, keys).unwrap();
    assert_eq!(opened(&store), holds);
    assert_eq!(scrubbed(&store).unwrap(), BTreeSet::new());
}

/// Finding F3: old keys know of no settings and no first administrator. With a store whose seals were
/// taken away, they had everything adopted as it stood.
#[test]
fn keys_of_before_the_binding_open_no_store_however_it_is_edited() {
    let (folder, holds) = unbound();
    let earlier = copied(folder.path());
    for edit in WITHOUT_SEALS {
        let folder = copied(folder.path());
        raw(folder.path()).execute_batch(edit).unwrap();
        let adopted = SqliteStore::open(folder.path(), &key());
        assert!(adopted.is_ok(), "before the binding it is adopted: {edit}");
    }
    whole(folder.path(), BEGUN, &holds);
    let again = SqliteStore::open(folder.path(), &key());
    assert!(matches!(again, Err(StoreError::OlderKeys)));
    let told = StoreError::OlderKeys.to_string();
    assert!(
        told.contains("node.keys") && told.contains("backup"),
        "{told}"
    );
    let check: Vec<u8> = keys(earlier.path())
        .query_row("SELECT value FROM meta WHERE name = 'check'", [], |row| {
            row.get(0)
        })
        .unwrap();
    for edit in WITHOUT_SEALS {
        let folder = copied(folder.path());
        raw(folder.path()).execute_batch(edit).unwrap();
        let looked = would_open(folder.path(), &key());
        assert!(matches!(looked, Err(StoreError::OlderKeys)), "{edit}");
        let refused = SqliteStore::open(folder.path(), &key());
        assert!(matches!(refused, Err(StoreError::OlderKeys)), "{edit}");
        // The check value of that time is put back, and the sign of the binding removed.
        keys(folder.path())
            .execute_batch("DELETE FROM meta WHERE name = 'key check'")
            .unwrap();
        let refused = SqliteStore::open(folder.path(), &key());
        assert!(matches!(refused, Err(StoreError::WrongKey)), "{edit}");
        keys(folder.path())
            .execute("UPDATE meta SET value = ?1 WHERE name = 'check'", [&check])
            .unwrap();
        let refused = SqliteStore::open(folder.path(), &key());
        assert!(matches!(refused, Err(StoreError::OlderKeys)), "{edit}");
        let sealed: i64 = raw(folder.path())
            .query_row(
                "SELECT count(*) FROM sqlite_schema AS s WHERE s.name = 'seal_root'
                     AND (SELECT count(*) FROM seal_root) > 0",
                [],
                |row| row.get(0),
            )
            .unwrap_or(0);
        assert_eq!(sealed, 0, "nothing was sealed as it stands: {edit}");
    }
    whole(folder.path(), BOUND, &holds);
}

/// Finding F3: present keys, and a store that looks like one of an earlier version.
#[test]
fn a_bound_store_without_its_seals_does_not_open() {
    let (folder, holds) = unbound();
    whole(folder.path(), BEGUN, &holds);
    for edit in WITHOUT_SEALS {
        let folder = copied(folder.path());
        raw(folder.path()).execute_batch(edit).unwrap();
        for keys in [BEGUN, BOUND] {
            let refused = SqliteStore::open(folder.path(), keys);
            assert!(matches!(refused, Err(StoreError::Damaged(_))), "{edit}");
            for opens in [would_open, would_open_sealed] {
                let refused = opens(folder.path(), keys);
                assert!(matches!(refused, Err(StoreError::Damaged(_))), "{edit}");
            }
        }
    }
    assert!(would_open(folder.path(), BOUND).is_ok());
}

/// Finding F3: whoever is killed while the key table is bound starts again and loses nothing.
#[test]
fn a_binding_that_is_cut_anywhere_is_healed() {
    let (folder, holds) = unbound();
    // Before anything of it is done.
    whole(copied(folder.path()).path(), BEGUN, &holds);
    // Within the transaction, as whoever copies the files at that moment finds them.
    let table = writable(folder.path(), KEYS_FILE).unwrap();
    table.pragma_update(None, "cache_size", 1).unwrap();
    let transaction = table.unchecked_transaction().unwrap();
    wrap_anew(&transaction, BEGUN).unwrap();
    whole(copied(folder.path()).path(), BEGUN, &holds);
    // After it, and before the log is written back.
    transaction.commit().unwrap();
    let cut = copied(folder.path());
    assert!(cut.path().join("keys.db-wal").metadata().unwrap().len() > 0);
    whole(cut.path(), BEGUN, &holds);
    // After all of it: the keys may still say that it is under way, or no more.
    for keys in [BEGUN, BOUND, BEGUN, BOUND] {
        whole(cut.path(), keys, &holds);
    }
    drop(table);
    whole(folder.path(), BOUND, &holds);
}

/// Finding F3: once the binding is made, a table of before is no part of the store.
#[test]
fn a_key_table_of_before_the_binding_is_refused_once_it_is_whole() {
    let (folder, holds) = unbound();
    let earlier = copied(folder.path());
    whole(folder.path(), BEGUN, &holds);
    whole(folder.path(), BOUND, &holds);
    // Both parts of the earlier time open as they did.
    whole(copied(earlier.path()).path(), Unlocking::from(&KEY), &holds);
    for file in ["keys.db", "keys.db-wal", "keys.db-shm"] {
        drop(fs::remove_file(folder.path().join(file)));
        drop(fs::copy(
            earlier.path().join(file),
            folder.path().join(file),
        ));
    }
    let refused = SqliteStore::open_sealed(folder.path(), BOUND);
    let Err(StoreError::Damaged(what)) = refused else {
        panic!("it opened");
    };
    assert!(what.contains("older than the node's keys"), "{what}");
}

/// Attack M9: one damaged key stops nothing else.
#[test]
fn a_damaged_key_does_not_stop_the_binding() {
    let (folder, _) = unbound();
    keys(folder.path())
        .execute_batch(
            "UPDATE pack_key SET wrapped = zeroblob(40) WHERE n = (SELECT min(n) FROM pack_key)",
        )
        .unwrap();
    let before = SqliteStore::open_sealed(folder.path(), &key()).unwrap();
    let damaged = scrubbed(&before).unwrap();
    assert!(!damaged.is_empty());
    drop(before);
    let store = SqliteStore::open_sealed(folder.path(), BEGUN).unwrap();
    assert_eq!(scrubbed(&store).unwrap(), damaged);
    assert_eq!(store.scores(9).unwrap().len(), 2);
}

#[test]
fn a_bound_store_is_made_and_written_and_opens_with_its_keys_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), BOUND).unwrap();
    let record = Originator::new(1).record(Kind::Indicator);
    publish(&store, std::slice::from_ref(&record));
    drop(store);
    let refused = SqliteStore::open(folder.path(), &key());
    assert!(matches!(refused, Err(StoreError::OlderKeys)));
    for (key, secret) in [(KEY, [8; 32]), ([4; 32], SECRET), ([4; 32], [8; 32])] {
        let other = Unlocking {
            key: &key,
            binding: Binding::Bound(&secret),
        };
        match SqliteStore::open(folder.path(), other) {
            Err(StoreError::OlderKeys) => assert_eq!(key, KEY),
            Err(StoreError::WrongKey) => assert_ne!(key, KEY),
            other => panic!("{other:?}"),
        }
    }
    let store = SqliteStore::open(folder.path(), BOUND).unwrap();
    assert_eq!(
        store.record(&record.id()).unwrap().unwrap().sealed.id(),
        record.id()
    );
}

/// Stores of the formats before and after seals, as their versions left them.
#[test]
fn stores_of_formats_8_to_13_open_and_are_bound() {
    let back_to_9 = BACK_TO_8
        .replace("ALTER TABLE act DROP COLUMN answer;", "")
        .replace("user_version = 8", "user_version = 9");
    let no_seals = "DROP TABLE row_seal; DROP TABLE seal_root; DROP TABLE leaf;";
    for (format, back) in [
        (8, BACK_TO_8.to_owned()),
        (9, back_to_9),
        (
            10,
            format!(
                "ALTER TABLE exception DROP COLUMN awaits; {no_seals} PRAGMA user_version = 10"
            ),
        ),
        (11, format!("{no_seals} PRAGMA user_version = 11")),
        (12, "PRAGMA user_version = 12".to_owned()),
        (13, String::new()),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let persons = filled(folder.path()).persons().unwrap();
        raw(folder.path()).execute_batch(&back).unwrap();
        let store = SqliteStore::open(folder.path(), &key()).unwrap();
        assert_eq!(store.persons().unwrap(), persons, "{format}");
        let records = store.records_about(SelectorKind::Imo, SHIP).unwrap();
        drop(store);
        let store = SqliteStore::open_sealed(folder.path(), BEGUN).unwrap();
        assert_eq!(scrubbed(&store).unwrap(), BTreeSet::new(), "{format}");
        let after = store.records_about(SelectorKind::Imo, SHIP).unwrap();
        assert_eq!(format!("{after:?}"), format!("{records:?}"), "{format}");
    }
}

//! Tests of the quarantine: items that failed verification are set apart, bounded in number and
//! bytes, and destroyed when they are dropped.

use portcullis_protocol::{record::Kind, rules::Rule, verify::VerifiedRecord};

use super::{fixture::*, key};
use crate::SqliteStore;
use portcullis_store::{Aside, BadItem, Store, StoreError, Write, Written};

fn bad(from: &str, record: &VerifiedRecord) -> BadItem {
    BadItem {
        peer: peer(from),
        sealed: record.sealed().clone(),
        rule: Rule::SectionDigest,
        detail: "section 3".to_owned(),
        at: at(1),
    }
}

fn store() -> (tempfile::TempDir, SqliteStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    (folder, store)
}

fn set_apart(store: &SqliteStore, items: Vec<BadItem>) {
    store.commit(vec![Write::Quarantine(items)]).unwrap();
}

#[test]
fn what_is_set_apart_is_kept_as_it_came_and_is_no_record() {
    let (folder, store) = store();
    let record = Originator::new(1).record(Kind::Indicator);
    set_apart(&store, vec![bad("hub", &record)]);
    drop(store);
    let store = SqliteStore::open(folder.path(), &key()).unwrap();
    let rows = store.bad_items().unwrap();
    let [row] = &rows[..] else {
        panic!("{rows:?}");
    };
    assert_eq!((&row.peer, row.record), (&peer("hub"), record.id()));
    assert_eq!(
        (row.rule.as_str(), row.detail.as_str()),
        ("RE-11", "section 3")
    );
    assert_eq!(store.bad_item(row.n).unwrap().unwrap(), *record.sealed());
    assert!(store.record(&record.id()).unwrap().is_none());
    assert!(store.ids_with_prefix("", 10).unwrap().is_empty());
    assert_eq!(
        store.aside().unwrap(),
        Aside {
            held: 0,
            quarantined: 1
        }
    );
}

#[test]
fn the_oldest_of_a_peer_gives_way_and_those_of_others_stay() {
    let (_folder, store) = store();
    let record = Originator::new(1).record(Kind::Indicator);
    set_apart(&store, vec![bad("antwerp", &record)]);
    for _ in 0..5 {
        set_apart(&store, vec![bad("hub", &record); 64]);
    }
    let rows = store.bad_items().unwrap();
    let of_hub: Vec<_> = rows.iter().filter(|row| row.peer == peer("hub")).collect();
    assert_eq!(of_hub.len(), 256);
    assert_eq!(of_hub.iter().map(|row| row.n).max(), Some(321));
    assert_eq!(rows.len(), 257);
}

#[test]
fn what_is_dropped_is_gone_and_dropped_once() {
    let (_folder, store) = store();
    let record = Originator::new(1).record(Kind::Indicator);
    set_apart(&store, vec![bad("hub", &record); 2]);
    store.commit(vec![Write::DropBad(vec![1])]).unwrap();
    assert_eq!(store.bad_items().unwrap().len(), 1);
    assert_eq!(store.bad_item(1).unwrap(), None);
    let again = store.commit(vec![Write::DropBad(vec![1])]);
    assert!(matches!(again, Err(StoreError::NotThere)));
    // A further commit destroys the keys. The items that are left still open.
    set_apart(&store, vec![bad("hub", &record)]);
    assert!(store.bad_item(2).unwrap().is_some());
    assert!(store.verify_files().unwrap().is_empty());
}

/// Attack HL4: what is told is how many items were destroyed, not how many were named.
#[test]
fn a_drop_tells_how_many_items_there_were_to_destroy() {
    let (_folder, store) = store();
    let record = Originator::new(1).record(Kind::Indicator);
    set_apart(&store, vec![bad("hub", &record); 2]);
    let dropped = store.commit(vec![Write::DropBad(vec![1, 1, 2, 77])]);
    assert_eq!(dropped.unwrap(), [Written::Destroyed(2)]);
}

//! Tests of ranges of older records, and of the starting point of new peers.

use portcullis_protocol::{frame::Lane, record::Kind};

use super::{fixture::*, key};
use crate::SqliteStore;
use portcullis_store::{
    Backfill, BackfillMove, BackfillRow, CancelBackfills, Intend, Relay, Store, Write,
};

fn store() -> (tempfile::TempDir, SqliteStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    (folder, store)
}

/// Publishes `count` indicators at time `now`, and returns the end of the log.
fn published(store: &SqliteStore, count: usize, now: i64) -> u64 {
    let mut police = Originator::new(u8::try_from(now).unwrap());
    let records = (0..count).map(|_| police.record(Kind::Indicator)).collect();
    let now = at(now);
    store.commit(vec![Write::Publish { records, now }]).unwrap();
    store.log_end().unwrap()
}

fn enter(store: &SqliteStore, since: i64, until: i64) {
    let backfill = Backfill {
        peer: peer("hub"),
        since: at(since),
        until: at(until),
        now: at(100),
    };
    store.commit(vec![Write::Backfill(backfill)]).unwrap();
}

fn next(store: &SqliteStore) -> Option<BackfillRow> {
    store.next_backfill(&peer("hub")).unwrap()
}

fn moved(store: &SqliteStore, n: i64, next: u64, ended: bool) {
    let filled = BackfillMove {
        n,
        next,
        looked_at: 10,
        sent: 4,
        ended,
    };
    let intend = Intend {
        peer: peer("hub"),
        lane: Lane::Bulk,
        now: at(200),
        generation: store.generation().unwrap(),
        first_sequence: None,
        entries: Vec::new(),
        cursor: None,
        filled: Some(filled),
        awaits: Vec::new(),
    };
    store.commit(vec![Write::Intend(intend)]).unwrap();
}

#[test]
fn a_range_holds_what_came_in_its_time_and_moves_forward_alone() {
    let (_folder, store) = store();
    published(&store, 40, 1);
    let second = published(&store, 5, 2);
    published(&store, 5, 3);
    enter(&store, 2, 3);
    let row = next(&store).unwrap();
    assert_eq!(row.log, Lane::Bulk);
    let entries = store.outbox(Lane::Bulk, Relay::OwnOnly, row.next, 10);
    let within = entries
        .unwrap()
        .iter()
        .filter(|entry| entry.sequence <= row.last)
        .count();
    assert_eq!(within, 5);
    assert!(row.last >= second);
    moved(&store, row.n, second, false);
    moved(&store, row.n, row.next, false);
    let row = next(&store).unwrap();
    assert_eq!((row.next, row.looked_at, row.sent), (second, 10, 4));
    moved(&store, row.n, row.last, true);
    assert_eq!(next(&store), None);
    let told = store.backfills().unwrap();
    assert!(told.iter().all(|row| row.ended_at.is_some()));
    assert_eq!(told.iter().map(|row| row.sent).sum::<u64>(), 8);
}

#[test]
fn a_range_goes_on_in_a_store_that_was_opened_again() {
    let (folder, store) = store();
    let end = published(&store, 40, 1);
    enter(&store, 1, 2);
    let row = next(&store).unwrap();
    moved(&store, row.n, end - 3, false);
    drop(store);
    let store = SqliteStore::open(folder.path(), &key()).unwrap();
    assert_eq!(next(&store).unwrap().next, end - 3);
}

#[test]
fn a_time_in_which_nothing_came_leaves_nothing_to_do() {
    let (_folder, store) = store();
    published(&store, 3, 1);
    enter(&store, 5, 9);
    assert_eq!(next(&store), None);
}

#[test]
fn a_new_peer_begins_where_the_log_ends_and_a_known_one_stays_ahead() {
    let (_folder, store) = store();
    let end = published(&store, 3, 1);
    let cursor = || store.position(&peer("hub"), Lane::Bulk).unwrap().cursor;
    assert_eq!(cursor(), 0);
    store.commit(vec![Write::Meet(vec![peer("hub")])]).unwrap();
    assert_eq!(cursor(), end);
    let ahead = published(&store, 3, 2) + 5;
    intend(&store, "hub", Vec::new(), Some(ahead), at(3));
    store.commit(vec![Write::Meet(vec![peer("hub")])]).unwrap();
    assert_eq!(cursor(), ahead);
}

#[test]
fn a_range_that_was_cancelled_counts_what_was_on_its_way_and_sends_no_more() {
    let (_folder, store) = store();
    let end = published(&store, 40, 1);
    enter(&store, 1, 2);
    let row = next(&store).unwrap();
    moved(&store, row.n, end - 30, false);
    let cancel = |now| {
        let peer = peer("hub");
        let cancel = CancelBackfills { peer, now: at(now) };
        store.commit(vec![Write::CancelBackfills(cancel)])
    };
    cancel(150).unwrap();
    assert_eq!(next(&store), None);
    assert!(cancel(151).is_err(), "nothing goes on");
    // The frame that was planned before the cancellation is settled after it.
    moved(&store, row.n, row.last, true);
    let rows = store.backfills().unwrap();
    let told = rows.iter().find(|one| one.n == row.n).unwrap();
    assert_eq!((told.sent, told.looked_at), (8, 20));
    assert_eq!((told.cancelled, told.ended_at), (true, Some(at(150))));
    // Another range of the same time is a range of its own.
    enter(&store, 1, 2);
    assert!(!next(&store).unwrap().cancelled);
}

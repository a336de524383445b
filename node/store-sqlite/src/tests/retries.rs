//! Claims about retries that back off and end, and about the items that wait for a person.

use portcullis_protocol::{
    frame::{Lane, Outcome},
    record::{Kind, RecordId},
    rules::Rule,
    time::Timestamp,
};

use super::{conformance::Claim, fixture::*};
use portcullis_store::{Judgement, Retry, Settle, Store, StoreError, Write};

const HOUR: i64 = 3_600_000;

pub(super) const CLAIMS: &[Claim] = &[
    (
        "the wait doubles with each attempt",
        the_wait_doubles_with_each_attempt,
    ),
    (
        "a retry planned under a clock that ran ahead is due at once",
        a_retry_planned_under_a_clock_that_ran_ahead_is_due_at_once,
    ),
    (
        "retries end when the record is to be deleted",
        retries_end_when_the_record_is_to_be_deleted,
    ),
    (
        "retries that ended without a word of the peer are listed",
        retries_that_ended_without_a_word_of_the_peer_are_listed,
    ),
    (
        "what was given up is tried again for seven days more",
        what_was_given_up_is_tried_again_for_seven_days_more,
    ),
    (
        "as many items of a peer wait for a person as may",
        as_many_items_of_a_peer_wait_for_a_person_as_may,
    ),
];

/// Has the hub answer at time `now` that it holds the record.
fn held_at(store: &dyn Store, record: RecordId, now: Timestamp, expires: Option<Timestamp>) {
    let position = store.position(&peer("hub"), Lane::Bulk).unwrap();
    let settle = Write::Settle(Settle {
        peer: peer("hub"),
        lane: Lane::Bulk,
        now,
        generation: position.generation,
        frame: SETTLED,
        first_sequence: position.next_sequence,
        answers: vec![answer(record, form(&[0, 1, 2, 3]), Outcome::Held)],
        receipt: statement(b"receipt"),
        cursor: None,
        next_sequence: position.next_sequence + 1,
        retry_at: now.plus_millis(60_000),
        expires: expires.map(|end| (record, end)).into_iter().collect(),
        filled: None,
    });
    store.commit(vec![settle]).unwrap();
}

fn published(store: &dyn Store) -> RecordId {
    let record = Originator::new(1).record(Kind::Indicator);
    let id = record.id();
    publish(store, std::slice::from_ref(&record));
    intend(store, "hub", vec![entry(id, record.form())], None, at(0));
    id
}

fn next(store: &dyn Store, now: Timestamp) -> Option<Timestamp> {
    store.next_due(&peer("hub"), Lane::Bulk, now).unwrap()
}

/// Newcomer A1: what was planned under a clock that ran ahead waited as long as that clock was wrong.
fn a_retry_planned_under_a_clock_that_ran_ahead_is_due_at_once(store: &dyn Store) {
    let id = published(store);
    let ahead = at(100 * 24 * HOUR);
    held_at(store, id, ahead, None);
    let due = |now| {
        let due = store.due(&peer("hub"), Lane::Bulk, now, 10).unwrap();
        due.iter().map(|held| held.sealed.id()).collect::<Vec<_>>()
    };
    assert_eq!(due(ahead), []);
    assert_eq!(due(at(0)), [id]);
    // Within the hour that an attempt may wait nothing is known of another clock.
    held_at(store, id, at(0), None);
    let next = next(store, at(0)).unwrap();
    assert!(next.millis_since(at(0)) <= HOUR);
    assert_eq!(due(at(-1)), []);
    assert_eq!(due(next), [id]);
}

fn the_wait_doubles_with_each_attempt(store: &dyn Store) {
    let id = published(store);
    let mut now = at(0);
    let mut waits = Vec::new();
    for _ in 0..8 {
        held_at(store, id, now, None);
        let due = next(store, now).unwrap();
        waits.push(due.millis_since(now) / 60_000);
        now = due;
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
}

fn retries_end_when_the_record_is_to_be_deleted(store: &dyn Store) {
    let id = published(store);
    let end = at(3 * HOUR);
    held_at(store, id, at(0), Some(end));
    assert!(next(store, at(0)).is_some());
    // A later receipt does not extend the time for retries.
    held_at(store, id, at(HOUR), None);
    assert!(next(store, at(HOUR)).is_some());
    assert_eq!(next(store, end), None);
    let due = store.due(&peer("hub"), Lane::Bulk, end, 10).unwrap();
    assert!(due.is_empty());
    held_at(store, id, end, Some(end));
    assert_eq!(store.events(1).unwrap()[0].kind, "exceptions-ended");
    assert_eq!(store.undelivered(end).unwrap()[0].record, id);
}

fn what_was_given_up_is_tried_again_for_seven_days_more(store: &dyn Store) {
    let id = published(store);
    let retry = |now, delete_at| {
        store.commit(vec![Write::Retry(Retry {
            peer: peer("hub"),
            record: id,
            now,
            delete_at,
        })])
    };
    assert!(matches!(retry(at(0), None), Err(StoreError::NotOwed)));
    held_at(store, id, at(0), None);
    // A record that still waits is retried at once.
    retry(at(1), None).unwrap();
    assert_eq!(next(store, at(1)), Some(at(1)));
    let given_up = at(8 * 24 * HOUR);
    assert_eq!(store.undelivered(given_up).unwrap().len(), 1);
    retry(given_up, None).unwrap();
    assert_eq!(store.undelivered(given_up).unwrap(), []);
    assert_eq!(next(store, given_up), Some(given_up));
    let waiting = store.exceptions(given_up).unwrap();
    let [row] = &waiting[..] else {
        panic!("{waiting:?}");
    };
    assert_eq!((row.count, row.state.as_str()), (1, "held"));
    assert_eq!(row.ends_at, given_up.plus_millis(7 * 24 * HOUR));
    let end = given_up.plus_millis(1);
    retry(given_up, Some(end)).unwrap();
    assert_eq!(store.exceptions(end).unwrap(), []);
}

fn retries_that_ended_without_a_word_of_the_peer_are_listed(store: &dyn Store) {
    let id = published(store);
    held_at(store, id, at(0), None);
    assert_eq!(store.undelivered(at(7 * 24 * HOUR - 1)).unwrap(), []);
    let ended = store.undelivered(at(7 * 24 * HOUR)).unwrap();
    let [row] = &ended[..] else {
        panic!("{ended:?}");
    };
    assert_eq!((row.record, row.attempts), (id, 1));
    assert_eq!(row.ended_at, at(7 * 24 * HOUR));
}

fn as_many_items_of_a_peer_wait_for_a_person_as_may(store: &dyn Store) {
    const MOST: usize = 4096;
    let mut originator = Originator::new(1);
    let mut hold = |from: &str, count: usize| {
        let records = originator.batch(vec![draft(Kind::Indicator); count]);
        let items = records.iter().map(|record| {
            let judgement = Judgement::Hold {
                record: record.clone(),
                rule: Rule::PolicyHeld,
                note: note("hold"),
            };
            (record.id(), record.form(), judgement)
        });
        deliver(store, from, items.collect())
    };
    for _ in 0..MOST / 512 {
        let answers = hold("hub", 512);
        assert!(answers.iter().all(|one| one.outcome == Outcome::Held));
    }
    let beyond = hold("hub", 2);
    assert_eq!(outcomes(&beyond), [Outcome::RefusedForNow; 2]);
    assert_eq!(beyond[0].reason.as_deref(), Some("EX-15"));
    // The limit is counted for each peer: another peer's items still wait.
    assert_eq!(outcomes(&hold("port", 1)), [Outcome::Held]);
    assert_eq!(held_items(store).len(), MOST + 1);
}

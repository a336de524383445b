//! Claims about dispatch that every engine must fulfil: cursors, disclosures, retries and receipts.

use portcullis_protocol::{
    frame::{Chain, Lane, Outcome},
    record::{Form, Kind, RecordId},
};

use super::{conformance::claims, fixture::*};
use portcullis_store::{DecisionNote, DisclosureState, DispatchPosition, Store, Written};

claims![
    the_cursor_never_moves_back,
    a_disclosure_that_was_answered_is_never_intended_again,
    a_later_denial_does_not_hide_what_was_disclosed,
    what_is_not_final_is_due_at_its_time_and_ends_with_a_final_answer,
    a_denial_ends_the_retries,
    nothing_is_retried_for_ever,
    an_unintended_answer_is_kept_as_evidence,
    a_receipt_is_kept_with_all_its_answers,
];

fn the_cursor_never_moves_back(store: &dyn Store) {
    let position = || store.position(&peer("hub"), Lane::Bulk).unwrap();
    let start = DispatchPosition {
        generation: store.generation().unwrap(),
        cursor: 0,
        next_sequence: 1,
        chain: Chain::START,
    };
    assert_eq!(position(), start);
    intend(store, "hub", vec![], Some(7), at(0));
    assert_eq!(position().cursor, 7);
    intend(store, "hub", vec![], Some(5), at(1));
    let id = RecordId::from_slice(&[1; 32]).unwrap();
    let answers = vec![answer(id, form(&[0]), Outcome::Accepted); 3];
    settle(store, "hub", answers.clone(), Some(3), at(2));
    settle(store, "hub", answers.clone(), None, at(3));
    assert_eq!(position().cursor, 7);
    settle(store, "hub", answers, Some(9), at(4));
    let moved = DispatchPosition {
        cursor: 9,
        next_sequence: 10,
        chain: Chain::START.then(&SETTLED).then(&SETTLED).then(&SETTLED),
        ..start
    };
    assert_eq!(position(), moved);
    assert_eq!(store.position(&peer("hub"), Lane::Urgent).unwrap(), start);
    assert_eq!(store.position(&peer("port"), Lane::Bulk).unwrap(), start);
}

fn a_disclosure_that_was_answered_is_never_intended_again(store: &dyn Store) {
    let record = Originator::new(1).record(Kind::Indicator);
    let (id, wide, narrow) = (record.id(), form(&[0, 1, 2]), form(&[0, 1]));
    publish(store, &[record]);
    let newest = || store.disclosure(&id, &peer("hub")).unwrap().unwrap();
    intend(store, "hub", vec![entry(id, wide)], None, at(1));
    assert_eq!(newest().state, DisclosureState::Intended);
    settle(
        store,
        "hub",
        vec![answer(id, wide, Outcome::Accepted)],
        None,
        at(2),
    );
    let answered = newest();
    assert_eq!(answered.state, DisclosureState::Answered(Outcome::Accepted));
    assert_eq!(
        (answered.decided_at, answered.answered_at),
        (at(1), Some(at(2)))
    );
    assert_eq!((answered.withheld, &answered.note), (1, &note("release")));
    for again in [wide, narrow] {
        intend(store, "hub", vec![entry(id, again)], None, at(3));
        assert_eq!(newest(), answered);
        settle(
            store,
            "hub",
            vec![answer(id, again, Outcome::Refused)],
            None,
            at(4),
        );
        assert_eq!(newest(), answered);
    }
    assert_eq!(store.disclosures(None).unwrap(), [answered]);
    // A wider form is another disclosure.
    intend(
        store,
        "hub",
        vec![entry(id, form(&[0, 1, 2, 3]))],
        None,
        at(5),
    );
    assert_eq!(newest().state, DisclosureState::Intended);
    assert_eq!(store.disclosures(Some(&id)).unwrap().len(), 1);
}

fn a_later_denial_does_not_hide_what_was_disclosed(store: &dyn Store) {
    let record = Originator::new(1).record(Kind::Indicator);
    let (id, wide) = (record.id(), form(&[0, 1, 2]));
    publish(store, &[record]);
    intend(store, "hub", vec![entry(id, wide)], None, at(1));
    settle(
        store,
        "hub",
        vec![answer(id, wide, Outcome::Accepted)],
        None,
        at(2),
    );
    intend(store, "hub", vec![entry(id, Form::EMPTY)], None, at(2));
    let states = |rows: Vec<portcullis_store::DisclosureRow>| {
        rows.into_iter()
            .map(|row| (row.form, row.state))
            .collect::<Vec<_>>()
    };
    let accepted = (wide, DisclosureState::Answered(Outcome::Accepted));
    let denied = (Form::EMPTY, DisclosureState::Denied);
    let history = || states(store.disclosure_history(&id, &peer("hub")).unwrap());
    assert_eq!(history(), [accepted, denied]);
    assert_eq!(states(store.disclosures(None).unwrap()), [denied]);
    // A form released again stands as it was answered.
    intend(store, "hub", vec![entry(id, wide)], None, at(3));
    assert_eq!(history(), [denied, accepted]);
}

fn due_ids(store: &dyn Store, now: i64) -> Vec<RecordId> {
    ids(&store.due(&peer("hub"), Lane::Bulk, at(now), 9).unwrap())
}

fn what_is_not_final_is_due_at_its_time_and_ends_with_a_final_answer(store: &dyn Store) {
    const HOUR: i64 = 3_600_000;
    let mut police = Originator::new(1);
    let records = police.batch(vec![draft(Kind::Indicator); 3]);
    let [one, two, three] = [&records[0], &records[1], &records[2]].map(|record| record.id());
    publish(store, &records);
    let next = || store.next_due(&peer("hub"), Lane::Bulk, at(0)).unwrap();
    assert_eq!(next(), None);
    let wide = form(&[0, 1]);
    let all = [one, two, three].map(|id| entry(id, wide));
    intend(store, "hub", all.into(), None, at(0));
    let answers = vec![
        answer(one, wide, Outcome::Held),
        answer(two, wide, Outcome::RefusedForNow),
        answer(three, wide, Outcome::Refused),
    ];
    settle(store, "hub", answers, Some(3), at(0));
    assert_eq!(next(), Some(at(HOUR)));
    assert!(due_ids(store, HOUR - 1).is_empty());
    assert_eq!(due_ids(store, HOUR), [one, two]);
    assert_eq!(
        store
            .due(&peer("hub"), Lane::Bulk, at(HOUR), 1)
            .unwrap()
            .len(),
        1
    );
    assert!(
        store
            .due(&peer("hub"), Lane::Urgent, at(HOUR), 9)
            .unwrap()
            .is_empty()
    );
    assert!(
        store
            .due(&peer("port"), Lane::Bulk, at(HOUR), 9)
            .unwrap()
            .is_empty()
    );
    // Intending the retry does not end the exception: the peer may not hear of it.
    intend(store, "hub", vec![entry(one, wide)], None, at(HOUR));
    assert_eq!(due_ids(store, HOUR), [one, two]);
    let answers = vec![
        answer(one, wide, Outcome::Accepted),
        answer(two, wide, Outcome::RefusedForNow),
    ];
    settle(store, "hub", answers, None, at(HOUR));
    assert!(due_ids(store, HOUR).is_empty());
    assert_eq!(due_ids(store, 2 * HOUR), [two]);
    let state = |id| store.disclosure(&id, &peer("hub")).unwrap().unwrap().state;
    assert_eq!(state(one), DisclosureState::Answered(Outcome::Accepted));
    assert_eq!(
        state(two),
        DisclosureState::Answered(Outcome::RefusedForNow)
    );
}

fn a_denial_ends_the_retries(store: &dyn Store) {
    let record = Originator::new(1).record(Kind::Indicator);
    let (id, whole) = (record.id(), record.form());
    publish(store, &[record]);
    intend(store, "hub", vec![entry(id, whole)], None, at(0));
    settle(
        store,
        "hub",
        vec![answer(id, whole, Outcome::RefusedForNow)],
        Some(1),
        at(0),
    );
    assert_eq!(due_ids(store, 4_000_000), [id]);
    intend(
        store,
        "hub",
        vec![entry(id, Form::EMPTY)],
        None,
        at(4_000_000),
    );
    assert!(due_ids(store, i64::MAX / 2).is_empty());
    assert_eq!(
        store.next_due(&peer("hub"), Lane::Bulk, at(0)).unwrap(),
        None
    );
}

fn nothing_is_retried_for_ever(store: &dyn Store) {
    const DAY: i64 = 24 * 3_600_000;
    let record = Originator::new(1).record(Kind::Indicator);
    let (id, whole) = (record.id(), record.form());
    publish(store, &[record]);
    intend(store, "hub", vec![entry(id, whole)], None, at(0));
    for day in 0..7 {
        let held = vec![answer(id, whole, Outcome::Held)];
        settle(store, "hub", held, None, at(day * DAY));
        assert_eq!(due_ids(store, day * DAY + 3_600_000), [id], "day {day}");
    }
    settle(
        store,
        "hub",
        vec![answer(id, whole, Outcome::Held)],
        None,
        at(8 * DAY),
    );
    assert!(due_ids(store, 9 * DAY).is_empty());
    assert_eq!(
        store.next_due(&peer("hub"), Lane::Bulk, at(0)).unwrap(),
        None
    );
    let events = store.events(1).unwrap();
    assert_eq!(events[0].kind, "exceptions-ended");
    assert_eq!(events[0].peer, Some(peer("hub")));
    let ended = store.undelivered(at(9 * DAY)).unwrap();
    let [row] = &ended[..] else {
        panic!("{ended:?}");
    };
    assert_eq!((&row.peer, row.record, row.attempts), (&peer("hub"), id, 8));
    // The record got its final answer after all.
    let accepted = vec![answer(id, whole, Outcome::Accepted)];
    settle(store, "hub", accepted, None, at(9 * DAY));
    assert_eq!(store.undelivered(at(9 * DAY)).unwrap(), []);
}

fn an_unintended_answer_is_kept_as_evidence(store: &dyn Store) {
    let record = Originator::new(1).record(Kind::Indicator);
    let (id, whole) = (record.id(), record.form());
    settle(
        store,
        "hub",
        vec![answer(id, whole, Outcome::Accepted)],
        None,
        at(0),
    );
    let row = store.disclosure(&id, &peer("hub")).unwrap().unwrap();
    assert_eq!(row.state, DisclosureState::Answered(Outcome::Accepted));
    assert_eq!((row.form, row.note), (whole, DecisionNote::default()));
}

fn a_receipt_is_kept_with_all_its_answers(store: &dyn Store) {
    let mut police = Originator::new(1);
    let records = police.batch(vec![draft(Kind::Indicator); 2]);
    let answers = vec![
        answer(records[0].id(), records[0].form(), Outcome::Accepted),
        answer(records[1].id(), records[1].form(), Outcome::Refused),
    ];
    let receipt = |record: usize, from| store.receipt(&records[record].id(), &peer(from)).unwrap();
    assert_eq!(receipt(0, "hub"), None);
    settle(store, "hub", answers.clone(), None, at(4));
    for record in [0, 1] {
        let kept = receipt(record, "hub").unwrap();
        assert_eq!(kept.statement, statement(b"receipt"));
        assert_eq!(kept.answers, answers);
        assert_eq!((kept.peer, kept.at), (peer("hub"), at(4)));
    }
    assert_eq!(receipt(0, "port"), None);
    assert_eq!(store.commit(vec![]).unwrap(), Vec::<Written>::new());
}

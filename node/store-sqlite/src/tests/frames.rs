//! Claims about frames that every engine must fulfil: the ledger holds each record in them, whether
//! the frame was accepted whole, answered in part, given up, or overtaken by another decision.

use portcullis_protocol::{
    frame::{Answer, Lane, Outcome},
    record::{Form, Kind, RecordId},
    rules::Rule,
    time::Timestamp,
};

use super::{conformance::claims, fixture::*};
use portcullis_store::{
    DisclosureState, Intend, Judgement, LedgerEntry, Relay, Settle, Store, StoreError, Write,
};

claims![
    a_frame_accepted_whole_is_told_of_each_record,
    answers_of_one_frame_that_differ_are_told_apart,
    a_frame_that_was_given_up_leaves_what_it_may_have_disclosed,
    a_frame_sent_again_as_it_was_is_one_disclosure,
    frames_in_flight_are_answered_each,
    what_was_denied_between_is_told_without_a_receipt,
    answers_that_are_not_those_of_the_frame_change_nothing,
    a_record_logged_again_is_disclosed_again,
    a_record_that_was_refused_first_is_kept_and_disclosed_like_any,
    what_is_sent_twice_keeps_its_first_answer,
    an_alert_that_was_sent_among_older_records_is_known_to_its_own_lane,
];

const WIDE: [u8; 3] = [0, 1, 2];
const NARROW: [u8; 2] = [0, 1];

/// Returns the log after `cursor`: each record with its place.
fn logged(store: &dyn Store, cursor: u64) -> Vec<(u64, RecordId)> {
    let log = store
        .outbox(Lane::Bulk, Relay::Others, cursor, 999)
        .unwrap();
    log.iter()
        .map(|entry| (entry.sequence, entry.logged.id()))
        .collect()
}

/// Publishes `count` of the authority's own records, and returns each with its place.
fn own(store: &dyn Store, count: usize) -> Vec<(u64, RecordId)> {
    let before = store.log_end().unwrap();
    let records = Originator::new(1).batch(vec![draft(Kind::Indicator); count]);
    publish(store, &records);
    logged(store, before)
}

fn fresh((sequence, record): (u64, RecordId), form: Form) -> LedgerEntry {
    LedgerEntry {
        sequence: Some(sequence),
        ..entry(record, form)
    }
}

fn send(store: &dyn Store, first_sequence: u64, entries: Vec<LedgerEntry>, now: Timestamp) {
    let intend = Write::Intend(Intend {
        peer: peer("hub"),
        lane: Lane::Bulk,
        now,
        generation: store.generation().unwrap(),
        first_sequence: Some(first_sequence),
        entries,
        cursor: None,
        filled: None,
        awaits: Vec::new(),
    });
    store.commit(vec![intend]).unwrap();
}

fn receive(
    store: &dyn Store,
    first_sequence: u64,
    answers: Vec<Answer>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let settle = Write::Settle(Settle {
        peer: peer("hub"),
        lane: Lane::Bulk,
        now,
        generation: store.generation().unwrap(),
        frame: SETTLED,
        first_sequence,
        next_sequence: first_sequence + answers.len() as u64,
        answers,
        receipt: statement(b"receipt"),
        cursor: None,
        retry_at: now.plus_millis(3_600_000),
        expires: Vec::new(),
        filled: None,
    });
    store.commit(vec![settle]).map(|_| ())
}

/// Returns the ledger's rows of a record for the hub, the oldest first.
fn history(store: &dyn Store, record: RecordId) -> Vec<(Form, DisclosureState)> {
    let rows = store.disclosure_history(&record, &peer("hub")).unwrap();
    rows.into_iter().map(|row| (row.form, row.state)).collect()
}

const ACCEPTED: DisclosureState = DisclosureState::Answered(Outcome::Accepted);

fn a_frame_accepted_whole_is_told_of_each_record(store: &dyn Store) {
    let records = own(store, 70);
    let wide = form(&WIDE);
    let entries = records.iter().map(|record| fresh(*record, wide));
    send(store, 1, entries.collect(), at(1));
    for (_, id) in &records {
        assert_eq!(history(store, *id), [(wide, DisclosureState::Intended)]);
        assert_eq!(store.receipt(id, &peer("hub")).unwrap(), None);
    }
    let answers: Vec<_> = records
        .iter()
        .map(|(_, id)| answer(*id, wide, Outcome::Accepted))
        .collect();
    receive(store, 1, answers.clone(), at(2)).unwrap();
    for (_, id) in &records {
        let row = store.disclosure(id, &peer("hub")).unwrap().unwrap();
        assert_eq!((row.form, row.state), (wide, ACCEPTED));
        assert_eq!((row.decided_at, row.answered_at), (at(1), Some(at(2))));
        assert_eq!((row.withheld, row.note), (1, note("release")));
        assert_eq!(store.disclosures(Some(id)).unwrap().len(), 1);
        let receipt = store.receipt(id, &peer("hub")).unwrap().unwrap();
        assert_eq!((receipt.answers, receipt.at), (answers.clone(), at(2)));
        assert!(
            store
                .disclosure_history(id, &peer("port"))
                .unwrap()
                .is_empty()
        );
    }
    assert_eq!(store.disclosures(None).unwrap().len(), 70);
    let to = |name| store.disclosures_to(&peer(name), &records);
    assert_eq!(to("hub").unwrap().len(), 70);
    assert!(to("port").unwrap().is_empty());
    assert!(
        store
            .disclosures_to(&peer("hub"), &own(store, 3))
            .unwrap()
            .is_empty()
    );
}

fn answers_of_one_frame_that_differ_are_told_apart(store: &dyn Store) {
    let records = own(store, 6);
    let wide = form(&WIDE);
    let entries = records.iter().map(|record| fresh(*record, wide));
    send(store, 1, entries.collect(), at(1));
    let outcomes = [
        Outcome::Accepted,
        Outcome::Refused,
        Outcome::Held,
        Outcome::Duplicate,
        Outcome::RefusedForNow,
        Outcome::Extended,
    ];
    let answers = records.iter().zip(outcomes);
    let answers = answers.map(|((_, id), outcome)| answer(*id, wide, outcome));
    receive(store, 1, answers.collect(), at(2)).unwrap();
    for ((_, id), outcome) in records.iter().zip(outcomes) {
        let row = store.disclosure(id, &peer("hub")).unwrap().unwrap();
        assert_eq!(row.state, DisclosureState::Answered(outcome));
        assert_eq!(row.reason, answer(*id, wide, outcome).reason);
        assert_eq!((row.decided_at, row.answered_at), (at(1), Some(at(2))));
        assert!(store.receipt(id, &peer("hub")).unwrap().is_some());
        assert_eq!(history(store, *id).len(), 1);
    }
    let due = store
        .due(&peer("hub"), Lane::Bulk, at(3_600_002), 9)
        .unwrap();
    assert_eq!(ids(&due), [records[2].1, records[4].1]);
    // A record that was held gets its final answer.
    send(store, 7, vec![entry(records[2].1, wide)], at(3));
    let accepted = vec![answer(records[2].1, wide, Outcome::Accepted)];
    receive(store, 7, accepted, at(4)).unwrap();
    assert_eq!(history(store, records[2].1), [(wide, ACCEPTED)]);
}

fn a_frame_that_was_given_up_leaves_what_it_may_have_disclosed(store: &dyn Store) {
    let records = own(store, 4);
    let (wide, narrow) = (form(&WIDE), form(&NARROW));
    let all = || records.iter().map(|record| fresh(*record, wide));
    send(store, 1, all().collect(), at(1));
    // The frame is planned anew under another policy. The fourth record is left out because the
    // frame is full.
    let anew = vec![
        fresh(records[0], wide),
        fresh(records[1], narrow),
        fresh(records[2], Form::EMPTY),
    ];
    send(store, 1, anew, at(2));
    let intended = DisclosureState::Intended;
    assert_eq!(history(store, records[0].1), [(wide, intended)]);
    assert_eq!(
        history(store, records[1].1),
        [(wide, intended), (narrow, intended)]
    );
    assert_eq!(
        history(store, records[2].1),
        [(wide, intended), (Form::EMPTY, DisclosureState::Denied)]
    );
    assert_eq!(history(store, records[3].1), [(wide, intended)]);
    let answers = vec![
        answer(records[0].1, wide, Outcome::Accepted),
        answer(records[1].1, narrow, Outcome::Accepted),
    ];
    receive(store, 1, answers, at(3)).unwrap();
    assert_eq!(history(store, records[0].1), [(wide, ACCEPTED)]);
    assert_eq!(
        history(store, records[1].1),
        [(wide, intended), (narrow, ACCEPTED)]
    );
    // The fourth record goes with the next frame, and is answered there.
    send(store, 3, vec![fresh(records[3], wide)], at(4));
    let accepted = vec![answer(records[3].1, wide, Outcome::Accepted)];
    receive(store, 3, accepted, at(5)).unwrap();
    assert_eq!(history(store, records[3].1), [(wide, ACCEPTED)]);
    assert_eq!(store.disclosures(None).unwrap().len(), 4);
}

fn a_frame_sent_again_as_it_was_is_one_disclosure(store: &dyn Store) {
    let records = own(store, 3);
    let wide = form(&WIDE);
    for attempt in 0..5 {
        let entries = records.iter().map(|record| fresh(*record, wide));
        send(store, 1, entries.collect(), at(attempt));
    }
    for (_, id) in &records {
        assert_eq!(history(store, *id), [(wide, DisclosureState::Intended)]);
    }
    assert_eq!(store.disclosures(None).unwrap().len(), 3);
}

fn frames_in_flight_are_answered_each(store: &dyn Store) {
    let records = own(store, 3);
    let wide = form(&WIDE);
    for (sequence, record) in (1..).zip(&records) {
        send(store, sequence, vec![fresh(*record, wide)], at(1));
    }
    let state = |at: usize| history(store, records[at].1)[0].1;
    for (sequence, (_, id)) in (1..).zip(&records).take(2) {
        let accepted = vec![answer(*id, wide, Outcome::Accepted)];
        receive(store, sequence, accepted, at(2)).unwrap();
    }
    assert_eq!(
        [state(0), state(1), state(2)],
        [ACCEPTED, ACCEPTED, DisclosureState::Intended]
    );
    // The third frame is given up and planned anew. The others stand.
    send(store, 3, vec![fresh(records[2], wide)], at(3));
    let accepted = vec![answer(records[2].1, wide, Outcome::Accepted)];
    receive(store, 3, accepted, at(4)).unwrap();
    assert_eq!([state(0), state(1), state(2)], [ACCEPTED; 3]);
}

fn what_was_denied_between_is_told_without_a_receipt(store: &dyn Store) {
    let records = own(store, 3);
    let wide = form(&WIDE);
    let forms = [wide, Form::EMPTY, wide];
    let entries = records.iter().zip(forms);
    let entries = entries.map(|(record, form)| fresh(*record, form));
    send(store, 1, entries.collect(), at(1));
    let answers = vec![
        answer(records[0].1, wide, Outcome::Accepted),
        answer(records[2].1, wide, Outcome::Refused),
    ];
    receive(store, 1, answers, at(2)).unwrap();
    let denied = store
        .disclosure(&records[1].1, &peer("hub"))
        .unwrap()
        .unwrap();
    assert_eq!(
        (denied.form, denied.state, denied.answered_at),
        (Form::EMPTY, DisclosureState::Denied, None)
    );
    assert_eq!(store.receipt(&records[1].1, &peer("hub")).unwrap(), None);
    assert_eq!(history(store, records[0].1), [(wide, ACCEPTED)]);
    let refused = DisclosureState::Answered(Outcome::Refused);
    assert_eq!(history(store, records[2].1), [(wide, refused)]);
}

fn answers_that_are_not_those_of_the_frame_change_nothing(store: &dyn Store) {
    let records = own(store, 2);
    let (wide, narrow) = (form(&WIDE), form(&NARROW));
    let entries = records.iter().map(|record| fresh(*record, wide));
    send(store, 1, entries.collect(), at(1));
    let (one, two) = (records[0].1, records[1].1);
    let accepted = |id, form| answer(id, form, Outcome::Accepted);
    for answers in [
        vec![accepted(two, wide), accepted(one, wide)],
        vec![accepted(one, narrow), accepted(two, wide)],
        vec![accepted(one, wide)],
    ] {
        let settled = receive(store, 1, answers, at(2));
        assert!(matches!(settled, Err(StoreError::Fault(_))), "{settled:?}");
    }
    for id in [one, two] {
        assert_eq!(history(store, id), [(wide, DisclosureState::Intended)]);
    }
    assert_eq!(
        store
            .position(&peer("hub"), Lane::Bulk)
            .unwrap()
            .next_sequence,
        1
    );
}

fn a_record_logged_again_is_disclosed_again(store: &dyn Store) {
    let record = Originator::new(1).record(Kind::Indicator);
    let thin = record.withhold(form(&NARROW)).unwrap();
    accept(store, "police", &thin);
    let first = logged(store, 0);
    send(store, 1, vec![fresh(first[0], thin.form())], at(1));
    let accepted = vec![answer(record.id(), thin.form(), Outcome::Accepted)];
    receive(store, 1, accepted, at(2)).unwrap();
    assert_eq!(accept(store, "port", &record), Outcome::Extended);
    let again = logged(store, first[0].0);
    assert_eq!(again.len(), 1);
    let known = store.disclosures_to(&peer("hub"), &again).unwrap();
    assert_eq!((known[0].form, known[0].state), (thin.form(), ACCEPTED));
    send(store, 2, vec![fresh(again[0], record.form())], at(3));
    let extended = vec![answer(record.id(), record.form(), Outcome::Extended)];
    receive(store, 2, extended, at(4)).unwrap();
    assert_eq!(
        history(store, record.id()),
        [
            (thin.form(), ACCEPTED),
            (record.form(), DisclosureState::Answered(Outcome::Extended))
        ]
    );
}

fn a_record_that_was_refused_first_is_kept_and_disclosed_like_any(store: &dyn Store) {
    let mut police = Originator::new(1);
    let records = police.batch(vec![draft(Kind::Indicator); 3]);
    let second = &records[1];
    let refuse = Judgement::Refuse {
        rule: Rule::PolicyDenied,
        note: note("no"),
    };
    deliver(store, "liar", vec![(second.id(), second.form(), refuse)]);
    let items = records.iter();
    let items = items.map(|record| (record.id(), record.form(), admit(record)));
    assert_eq!(
        outcomes(&deliver(store, "police", items.collect())),
        [Outcome::Accepted; 3]
    );
    let log = logged(store, 0);
    assert_eq!(log.len(), 3);
    let held = store.record(&second.id()).unwrap().unwrap();
    assert_eq!(police.verify(&held.sealed).unwrap(), *second);
    let prefix = second.id().to_string();
    assert_eq!(store.ids_with_prefix(&prefix, 2).unwrap(), [second.id()]);
    let arrivals = store.arrivals(Some(&second.id())).unwrap();
    let arrivals: Vec<_> = arrivals
        .into_iter()
        .map(|row| (row.peer, row.answer.outcome))
        .collect();
    assert_eq!(
        arrivals,
        [
            (peer("liar"), Outcome::Refused),
            (peer("police"), Outcome::Accepted)
        ]
    );
    let entries = log.iter().map(|record| fresh(*record, form(&WIDE)));
    send(store, 1, entries.collect(), at(3));
    let answers = log.iter();
    let answers = answers.map(|(_, id)| answer(*id, form(&WIDE), Outcome::Accepted));
    receive(store, 1, answers.collect(), at(4)).unwrap();
    for (_, id) in &log {
        assert_eq!(history(store, *id), [(form(&WIDE), ACCEPTED)]);
    }
    let again = vec![(second.id(), second.form(), admit(second))];
    assert_eq!(outcomes(&deliver(store, "liar", again)), [Outcome::Refused]);
}

fn what_is_sent_twice_keeps_its_first_answer(store: &dyn Store) {
    let records = own(store, 2);
    let (wide, narrow) = (form(&WIDE), form(&NARROW));
    let all = |form| records.iter().map(move |record| fresh(*record, form));
    send(store, 1, all(wide).collect(), at(1));
    let answers = |form, outcome| -> Vec<Answer> {
        let ids = records.iter().map(|(_, id)| *id);
        ids.map(|id| answer(id, form, outcome)).collect()
    };
    receive(store, 1, answers(wide, Outcome::Accepted), at(2)).unwrap();
    let before = store.disclosures(None).unwrap();
    for form in [wide, narrow] {
        send(store, 3, all(form).collect(), at(3));
        assert_eq!(store.disclosures(None).unwrap(), before);
        receive(store, 3, answers(form, Outcome::Refused), at(4)).unwrap();
        assert_eq!(store.disclosures(None).unwrap(), before);
    }
}

fn an_alert_that_was_sent_among_older_records_is_known_to_its_own_lane(store: &dyn Store) {
    publish(store, &Originator::new(1).batch(vec![draft(Kind::Alert)]));
    let log = store.outbox(Lane::Urgent, Relay::Others, 0, 9).unwrap();
    let alert = (log[0].sequence, log[0].logged.id());
    // Records given back after a loss, and older ones, travel in the bulk lane.
    send(store, 1, vec![fresh(alert, form(&WIDE))], at(1));
    let known = store.disclosures_to(&peer("hub"), &[alert]).unwrap();
    assert_eq!(known.len(), 1);
}

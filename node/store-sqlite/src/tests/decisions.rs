//! Claims about final answers to items that were held.

use portcullis_protocol::{
    frame::{Answer, Lane, Outcome},
    record::Kind,
    rules::Rule,
    time::Timestamp,
    verify::VerifiedRecord,
};

use super::{conformance::Claim, fixture::*, key};
use crate::SqliteStore;
use portcullis_store::{HELD_LIFE_MS, HeldDecision, IntakeItem, Judgement, Store, Write, Written};

pub(super) const CLAIMS: &[Claim] = &[
    (
        "what was refused for now since it was held waits no longer",
        what_was_refused_for_now_since_it_was_held_waits_no_longer,
    ),
    (
        "what does not wait is not decided on",
        what_does_not_wait_is_not_decided_on,
    ),
    (
        "an item waits six days, or until its record is to be deleted",
        an_item_waits_six_days,
    ),
    (
        "what a peer has decided on is due at once",
        what_a_peer_has_decided_on_is_due_at_once,
    ),
];

fn hold(record: &VerifiedRecord) -> Judgement {
    Judgement::Hold {
        record: record.clone(),
        rule: Rule::PolicyHeld,
        note: note("h3"),
    }
}

fn held(store: &dyn Store) -> VerifiedRecord {
    let record = Originator::new(1).record(Kind::Indicator);
    let item = (record.id(), record.form(), hold(&record));
    assert_eq!(
        outcomes(&deliver(store, "hub", vec![item])),
        [Outcome::Held]
    );
    record
}

fn decide(store: &dyn Store, record: &VerifiedRecord, judgement: Judgement) -> Vec<Answer> {
    let decision = HeldDecision {
        peer: peer("hub"),
        now: at(5),
        items: vec![IntakeItem {
            id: record.id(),
            form: record.form(),
            judgement,
        }],
    };
    let written = store.commit(vec![Write::Decide(decision)]).unwrap();
    match written.into_iter().next() {
        Some(Written::Answers(answers)) => answers,
        other => panic!("{other:?}"),
    }
}

#[test]
fn po_04_what_a_person_declines_is_refused_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let record = held(&store);
    let declined = Judgement::Refuse {
        rule: Rule::HeldDropped,
        note: note(""),
    };
    let answers = decide(&store, &record, declined);
    assert_eq!(outcomes(&answers), [Outcome::Refused]);
    assert_eq!(answers[0].reason.as_deref(), Some("PO-04"));
    assert!(held_items(&store).is_empty());
    let again = (record.id(), record.form(), admit(&record));
    assert_eq!(deliver(&store, "hub", vec![again]), answers);
    assert!(store.record(&record.id()).unwrap().is_none());
}

fn what_was_refused_for_now_since_it_was_held_waits_no_longer(store: &dyn Store) {
    let record = held(store);
    let for_now = Judgement::RefuseForNow {
        rule: Rule::Suspended,
    };
    deliver(store, "hub", vec![(record.id(), record.form(), for_now)]);
    assert_eq!(held_items(store).len(), 1);
    let answers = decide(store, &record, admit(&record));
    assert_eq!(outcomes(&answers), [Outcome::Accepted]);
    assert!(held_items(store).is_empty());
    assert!(store.record(&record.id()).unwrap().is_some());
}

fn what_does_not_wait_is_not_decided_on(store: &dyn Store) {
    let record = Originator::new(1).record(Kind::Indicator);
    assert_eq!(decide(store, &record, admit(&record)), []);
    assert!(store.record(&record.id()).unwrap().is_none());
}

fn an_item_waits_six_days(store: &dyn Store) {
    assert_eq!(store.next_held_end().unwrap(), None);
    held(store);
    let since = held_items(store)[0].at;
    let end = since.plus_millis(HELD_LIFE_MS);
    assert_eq!(store.next_held_end().unwrap(), Some(end));
    assert_eq!(held_items(store)[0].ends_at, end);
}

fn what_a_peer_has_decided_on_is_due_at_once(store: &dyn Store) {
    let mut police = Originator::new(1);
    let (waits, busy) = (
        police.record(Kind::Indicator),
        police.record(Kind::Indicator),
    );
    publish(store, &[waits.clone(), busy.clone()]);
    let entries = [&waits, &busy].map(|record| entry(record.id(), record.form()));
    intend(store, "hub", entries.into(), None, at(0));
    let answers = vec![
        answer(waits.id(), waits.form(), Outcome::Held),
        answer(busy.id(), busy.form(), Outcome::RefusedForNow),
    ];
    settle(store, "hub", answers, None, at(0));
    let due = |now: Timestamp| {
        let due = store.due(&peer("hub"), Lane::Bulk, now, 10).unwrap();
        let ids = due.iter().map(|held| held.sealed.id());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(due(at(1)), []);
    let again = Write::AnswersReady {
        peer: peer("hub"),
        now: at(1),
    };
    store.commit(vec![again]).unwrap();
    assert_eq!(due(at(1)), [waits.id()]);
}

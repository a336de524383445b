//! Claims about records and intake that every engine must fulfil. [`super::dispatching`],
//! [`super::frames`] and others have the rest.

use portcullis_protocol::{
    body::SelectorKind,
    frame::{Lane, Outcome},
    record::{Kind, RecordId},
    rules::Rule,
};

use super::fixture::*;
use portcullis_store::{Judgement, Logged, RecordFilter, Relay, Store, StoreError, Write};

/// Runs every claim on an empty store of its own.
pub(super) fn conformance(make: impl Fn() -> Box<dyn Store>) {
    for (name, claim) in CLAIMS
        .iter()
        .chain(super::dispatching::CLAIMS)
        .chain(super::frames::CLAIMS)
        .chain(super::office::CLAIMS)
        .chain(super::position::CLAIMS)
        .chain(super::retries::CLAIMS)
        .chain(super::decisions::CLAIMS)
    {
        println!("claim: {name}");
        claim(make().as_ref());
    }
}

/// A claim about a store, by name.
pub(super) type Claim = (&'static str, fn(&dyn Store));

macro_rules! claims {
    ($($claim:ident),+ $(,)?) => {
        pub(super) const CLAIMS: &[super::conformance::Claim] =
            &[$((stringify!($claim), $claim)),+];
    };
}
pub(super) use claims;

claims![
    an_item_that_brings_another_record_fails_its_job_alone,
    a_failed_write_takes_its_whole_job_with_it,
    a_final_answer_is_given_again_whatever_is_judged_later,
    an_answer_that_was_not_final_is_judged_again,
    a_refused_item_is_not_held_and_its_refusal_stays,
    a_held_item_is_no_record_and_waits_as_it_came,
    a_held_item_that_is_decided_on_waits_no_longer,
    fewer_sections_than_held_are_a_duplicate,
    more_sections_extend_the_record_and_log_it_again,
    two_forms_in_one_frame_are_taken_in_order,
    a_form_thinned_by_policy_is_kept_thin_and_answered_as_delivered,
    a_record_comes_back_byte_for_byte_and_verifies,
    publishing_twice_changes_nothing,
    alerts_are_urgent_and_all_else_is_bulk,
    a_member_passes_on_its_own_records_only,
    the_outbox_begins_after_the_cursor_and_ends_at_the_limit,
    records_are_found_by_selector_indexed_or_not,
    records_are_listed_newest_first_by_kind_and_origin,
    ids_are_found_by_their_beginning,
];

fn an_item_that_brings_another_record_fails_its_job_alone(store: &dyn Store) {
    let mut police = Originator::new(1);
    let (one, other) = (police.record(Kind::Indicator), police.record(Kind::Alert));
    let mut jobs = [
        vec![intake("hub", vec![(one.id(), one.form(), admit(&one))])],
        vec![intake("hub", vec![(one.id(), one.form(), admit(&other))])],
        vec![intake(
            "hub",
            vec![(other.id(), other.form(), admit(&other))],
        )],
    ]
    .into_iter();
    // The lies below come from another peer, so that no earlier answer stands in the way.
    let mut results = store.commit_group(&mut || jobs.next());
    assert_eq!(results.len(), 3);
    assert!(results.remove(2).is_ok());
    assert!(results.remove(0).is_ok());
    let lying = vec![intake("liar", vec![(one.id(), one.form(), admit(&other))])];
    assert!(matches!(store.commit(lying), Err(StoreError::Fault(_))));
    let thinner = vec![intake("liar", vec![(one.id(), form(&[0, 1]), admit(&one))])];
    assert!(matches!(store.commit(thinner), Err(StoreError::Fault(_))));
    assert_eq!(store.arrivals(Some(&one.id())).unwrap().len(), 1);
}

fn a_failed_write_takes_its_whole_job_with_it(store: &dyn Store) {
    let mut police = Originator::new(1);
    let (one, other) = (police.record(Kind::Indicator), police.record(Kind::Alert));
    let publish = Write::Publish {
        records: vec![one.clone()],
        now: at(0),
    };
    let failing = intake("hub", vec![(one.id(), other.form(), admit(&other))]);
    let mut jobs = [
        vec![publish, failing],
        vec![intake(
            "hub",
            vec![(other.id(), other.form(), admit(&other))],
        )],
    ]
    .into_iter();
    let results = store.commit_group(&mut || jobs.next());
    assert!(results[0].is_err() && results[1].is_ok());
    assert!(store.record(&one.id()).unwrap().is_none());
    let held = store.record(&other.id()).unwrap().unwrap();
    assert_eq!(police.verify(&held.sealed).unwrap(), other);
    assert!(
        store
            .outbox(Lane::Bulk, Relay::Others, 0, 9)
            .unwrap()
            .is_empty()
    );
}

fn a_final_answer_is_given_again_whatever_is_judged_later(store: &dyn Store) {
    let record = Originator::new(1).record(Kind::Indicator);
    let (id, whole) = (record.id(), record.form());
    let first = deliver(store, "hub", vec![(id, whole, admit(&record))]);
    assert_eq!(outcomes(&first), [Outcome::Accepted]);
    let refuse = || Judgement::Refuse {
        rule: Rule::PolicyDenied,
        note: note("later"),
    };
    for judgement in [
        refuse(),
        admit(&record),
        Judgement::RefuseForNow {
            rule: Rule::SealingKey,
        },
    ] {
        assert_eq!(deliver(store, "hub", vec![(id, whole, judgement)]), first);
    }
    let arrivals = store.arrivals(Some(&id)).unwrap();
    assert_eq!(arrivals.len(), 1);
    assert_eq!(
        (&arrivals[0].answer, &arrivals[0].note),
        (&first[0], &note("admit"))
    );
    // Another peer, and another form from the same peer, are judged on their own.
    assert_eq!(
        outcomes(&deliver(store, "other", vec![(id, whole, refuse())])),
        [Outcome::Refused]
    );
    assert_eq!(
        outcomes(&deliver(store, "hub", vec![(id, form(&[0, 1]), refuse())])),
        [Outcome::Refused]
    );
}

fn an_answer_that_was_not_final_is_judged_again(store: &dyn Store) {
    let record = Originator::new(1).record(Kind::Indicator);
    let wait = Judgement::RefuseForNow {
        rule: Rule::SealingKey,
    };
    let answers = deliver(store, "hub", vec![(record.id(), record.form(), wait)]);
    assert_eq!(outcomes(&answers), [Outcome::RefusedForNow]);
    assert_eq!(answers[0].reason.as_deref(), Some("EX-07"));
    assert_eq!(accept(store, "hub", &record), Outcome::Accepted);
    assert_eq!(store.arrivals(None).unwrap().len(), 1);
}

fn a_refused_item_is_not_held_and_its_refusal_stays(store: &dyn Store) {
    let record = Originator::new(1).record(Kind::Indicator);
    let refuse = Judgement::Refuse {
        rule: Rule::PolicyDenied,
        note: note("no"),
    };
    let refused = deliver(store, "hub", vec![(record.id(), record.form(), refuse)]);
    assert_eq!(refused[0].reason.as_deref(), Some("PO-01"));
    let again = deliver(
        store,
        "hub",
        vec![(record.id(), record.form(), admit(&record))],
    );
    assert_eq!(again, refused);
    assert!(store.record(&record.id()).unwrap().is_none());
    assert!(store.ids_with_prefix("", 10).unwrap().is_empty());
}

fn hold(record: &portcullis_protocol::verify::VerifiedRecord) -> Judgement {
    Judgement::Hold {
        record: record.clone(),
        rule: Rule::PolicyHeld,
        note: note("h3"),
    }
}

fn a_held_item_is_no_record_and_waits_as_it_came(store: &dyn Store) {
    let mut police = Originator::new(1);
    let record = police.record(Kind::Indicator);
    let item = || vec![(record.id(), record.form(), hold(&record))];
    let answers = deliver(store, "hub", item());
    assert_eq!(outcomes(&answers), [Outcome::Held]);
    assert_eq!(answers[0].reason.as_deref(), Some("PO-03"));
    assert_eq!(deliver(store, "hub", item()), answers);
    assert!(store.record(&record.id()).unwrap().is_none());
    assert!(
        store
            .records_about(SelectorKind::Imo, SHIP)
            .unwrap()
            .is_empty()
    );
    let waiting = held_items(store);
    assert_eq!(waiting.len(), 1);
    assert_eq!(
        (&waiting[0].peer, waiting[0].form),
        (&peer("hub"), record.form())
    );
    assert_eq!(waiting[0].rule, "PO-03");
    assert_eq!(police.verify(&waiting[0].sealed).unwrap(), record);
}

fn a_held_item_that_is_decided_on_waits_no_longer(store: &dyn Store) {
    let mut police = Originator::new(1);
    let record = police.record(Kind::Indicator);
    deliver(
        store,
        "hub",
        vec![(record.id(), record.form(), hold(&record))],
    );
    deliver(
        store,
        "other",
        vec![(record.id(), record.form(), hold(&record))],
    );
    assert_eq!(accept(store, "hub", &record), Outcome::Accepted);
    let waiting = held_items(store);
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].peer, peer("other"));
    // A further commit destroys the key of the hub's held item. The record's own keys stay.
    publish(store, &[police.record(Kind::Alert)]);
    let held = store.record(&record.id()).unwrap().unwrap();
    assert_eq!(police.verify(&held.sealed).unwrap(), record);
}

fn fewer_sections_than_held_are_a_duplicate(store: &dyn Store) {
    let record = Originator::new(1).record(Kind::Indicator);
    let thin = record.withhold(form(&[0, 1])).unwrap();
    assert_eq!(accept(store, "hub", &record), Outcome::Accepted);
    assert_eq!(accept(store, "hub", &thin), Outcome::Duplicate);
    assert_eq!(accept(store, "other", &record), Outcome::Duplicate);
    assert_eq!(
        store.outbox(Lane::Bulk, Relay::Others, 0, 9).unwrap().len(),
        1
    );
    let held = store.record(&record.id()).unwrap().unwrap();
    assert_eq!((held.form, held.source), (record.form(), Some(peer("hub"))));
}

fn more_sections_extend_the_record_and_log_it_again(store: &dyn Store) {
    let mut police = Originator::new(1);
    let record = police.record(Kind::Indicator);
    let story = record.withhold(form(&[2])).unwrap();
    let facts = record.withhold(form(&[0, 1])).unwrap();
    let both = record.withhold(form(&[0, 1, 2])).unwrap();
    assert_eq!(accept(store, "hub", &story), Outcome::Accepted);
    let before = store.log_end().unwrap();
    assert_eq!(accept(store, "port", &facts), Outcome::Extended);
    let held = store.record(&record.id()).unwrap().unwrap();
    assert_eq!(held.form, both.form());
    assert_eq!(held.source, Some(peer("hub")));
    assert_eq!(police.verify(&held.sealed).unwrap(), both);
    let log = store.outbox(Lane::Bulk, Relay::Others, before, 9).unwrap();
    assert_eq!(log.len(), 1);
    assert!(log[0].sequence > before);
    assert_eq!(log[0].logged, Logged::Stored(held.clone()));
    // The selectors that came later are found as well.
    assert_eq!(
        store.records_about(SelectorKind::Imo, SHIP).unwrap(),
        [held]
    );
}

fn two_forms_in_one_frame_are_taken_in_order(store: &dyn Store) {
    let record = Originator::new(1).record(Kind::Indicator);
    let thin = record.withhold(form(&[0, 1])).unwrap();
    let answers = deliver(
        store,
        "hub",
        vec![
            (record.id(), thin.form(), admit(&thin)),
            (record.id(), record.form(), admit(&record)),
            (record.id(), thin.form(), admit(&thin)),
        ],
    );
    assert_eq!(
        outcomes(&answers),
        [Outcome::Accepted, Outcome::Extended, Outcome::Accepted]
    );
    assert_eq!(
        store.record(&record.id()).unwrap().unwrap().form,
        record.form()
    );
}

fn a_form_thinned_by_policy_is_kept_thin_and_answered_as_delivered(store: &dyn Store) {
    let mut police = Originator::new(1);
    let record = police.record(Kind::Indicator);
    let thin = record.withhold(form(&[0, 1])).unwrap();
    let answers = deliver(
        store,
        "hub",
        vec![(record.id(), record.form(), admit(&thin))],
    );
    assert_eq!(outcomes(&answers), [Outcome::Accepted]);
    assert_eq!(answers[0].form, record.form());
    let held = store.record(&record.id()).unwrap().unwrap();
    assert_eq!(police.verify(&held.sealed).unwrap(), thin);
}

fn a_record_comes_back_byte_for_byte_and_verifies(store: &dyn Store) {
    let mut police = Originator::new(1);
    let mut drafts = vec![draft(Kind::Indicator), draft(Kind::Alert)];
    drafts.extend([draft(Kind::Outcome)]);
    let batch = police.batch(drafts);
    publish(store, &batch);
    for record in &batch {
        let held = store.record(&record.id()).unwrap().unwrap();
        assert_eq!(held.sealed, *record.sealed());
        assert_eq!(police.verify(&held.sealed).unwrap(), *record);
        assert_eq!((held.source, held.received_at), (None, at(1)));
    }
    let listed = store.records(&RecordFilter::default()).unwrap();
    assert!(shares_statement(&listed[0], &listed[2]));
    let unknown = RecordId::from_slice(&[0; 32]).unwrap();
    assert_eq!(store.record(&unknown).unwrap(), None);
}

fn publishing_twice_changes_nothing(store: &dyn Store) {
    let record = Originator::new(1).record(Kind::Indicator);
    publish(store, &[record.clone(), record.clone()]);
    publish(store, std::slice::from_ref(&record));
    let log = store.outbox(Lane::Bulk, Relay::OwnOnly, 0, 9).unwrap();
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].sequence, store.log_end().unwrap());
}

fn alerts_are_urgent_and_all_else_is_bulk(store: &dyn Store) {
    let mut police = Originator::new(1);
    let kinds = [Kind::Indicator, Kind::Alert, Kind::Advisory, Kind::Outcome];
    let records = police.batch(kinds.map(draft).to_vec());
    publish(store, &records);
    let in_lane = |lane| {
        let log = store.outbox(lane, Relay::OwnOnly, 0, 9).unwrap();
        log.iter()
            .map(|entry| entry.logged.id())
            .collect::<Vec<_>>()
    };
    assert_eq!(in_lane(Lane::Urgent), [records[1].id()]);
    assert_eq!(
        in_lane(Lane::Bulk),
        [records[0].id(), records[2].id(), records[3].id()]
    );
}

fn a_member_passes_on_its_own_records_only(store: &dyn Store) {
    let (mut police, mut customs) = (Originator::new(1), Originator::new(2));
    let (own, others) = (customs.record(Kind::Alert), police.record(Kind::Alert));
    publish(store, std::slice::from_ref(&own));
    accept(store, "hub", &others);
    let listed = |relay| {
        let log = store.outbox(Lane::Urgent, relay, 0, 9).unwrap();
        log.iter()
            .map(|entry| entry.logged.id())
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(Relay::OwnOnly), [own.id()]);
    assert_eq!(listed(Relay::Others), [own.id(), others.id()]);
}

fn the_outbox_begins_after_the_cursor_and_ends_at_the_limit(store: &dyn Store) {
    let mut police = Originator::new(1);
    let records: Vec<_> = (0..5).map(|_| police.record(Kind::Indicator)).collect();
    publish(store, &records[..3]);
    accept(store, "hub", &records[3]);
    publish(store, &records[4..]);
    let all = store.outbox(Lane::Bulk, Relay::Others, 0, 9).unwrap();
    let expected: Vec<_> = records.iter().map(|record| record.id()).collect();
    let found: Vec<_> = all.iter().map(|entry| entry.logged.id()).collect();
    assert_eq!(found, expected);
    assert!(
        all.windows(2)
            .all(|pair| pair[0].sequence < pair[1].sequence)
    );
    let after = store
        .outbox(Lane::Bulk, Relay::Others, all[1].sequence, 2)
        .unwrap();
    assert_eq!(after, all[2..4]);
    assert_eq!(store.log_end().unwrap(), all[4].sequence);
    let end = store.outbox(Lane::Bulk, Relay::Others, all[4].sequence, 9);
    assert!(end.unwrap().is_empty());
}

fn records_are_found_by_selector_indexed_or_not(store: &dyn Store) {
    let mut police = Originator::new(1);
    let (own, other) = (police.record(Kind::Indicator), police.record(Kind::Alert));
    publish(store, std::slice::from_ref(&own));
    accept(store, "hub", &other);
    let found = |kind, value| ids(&store.records_about(kind, value).unwrap());
    for (kind, value) in [
        (SelectorKind::Container, CONTAINER),
        (SelectorKind::Imo, SHIP),
        (SelectorKind::HsCode, GOODS),
    ] {
        assert_eq!(found(kind, value), [other.id(), own.id()], "{kind}");
    }
    assert!(found(SelectorKind::Container, "MSKU0000080").is_empty());
    assert!(found(SelectorKind::Mmsi, SHIP).is_empty());
    assert!(found(SelectorKind::HsCode, "080310").is_empty());
}

fn records_are_listed_newest_first_by_kind_and_origin(store: &dyn Store) {
    let (mut police, mut customs) = (Originator::new(1), Originator::new(2));
    let own = [customs.record(Kind::Alert), customs.record(Kind::Advisory)];
    let other = police.record(Kind::Alert);
    publish(store, &own);
    accept(store, "hub", &other);
    let listed = |filter: RecordFilter| ids(&store.records(&filter).unwrap());
    let everything = RecordFilter::default();
    assert_eq!(
        listed(everything.clone()),
        [other.id(), own[1].id(), own[0].id()]
    );
    let alerts = RecordFilter {
        kind: Some(Kind::Alert),
        ..everything.clone()
    };
    assert_eq!(listed(alerts.clone()), [other.id(), own[0].id()]);
    let of_police = RecordFilter {
        origin: Some(police.origin().clone()),
        ..everything.clone()
    };
    assert_eq!(listed(of_police), [other.id()]);
    let newest_own_alert = RecordFilter {
        origin: Some(customs.origin().clone()),
        limit: Some(1),
        ..alerts
    };
    assert_eq!(listed(newest_own_alert), [own[0].id()]);
    let newest = RecordFilter {
        limit: Some(1),
        ..everything
    };
    assert_eq!(listed(newest), [other.id()]);
    // In one frame of a hub the newest record is of another origin. The limit counts only records
    // that are asked for.
    let (first, last) = (police.record(Kind::Outcome), customs.record(Kind::Outcome));
    let items = [&first, &last].map(|record| (record.id(), record.form(), admit(record)));
    deliver(store, "hub", items.into());
    let newest_of_police = RecordFilter {
        kind: Some(Kind::Outcome),
        origin: Some(police.origin().clone()),
        limit: Some(1),
    };
    assert_eq!(listed(newest_of_police), [first.id()]);
}

fn ids_are_found_by_their_beginning(store: &dyn Store) {
    let mut police = Originator::new(1);
    let records: Vec<_> = (0..40).map(|_| police.record(Kind::Alert)).collect();
    publish(store, &records);
    let first = records[0].id().to_string();
    for length in [1, 2, 3, 9, 64] {
        let prefix = first.get(..length).unwrap();
        let mut expected: Vec<_> = records
            .iter()
            .map(|record| record.id())
            .filter(|id| id.to_string().starts_with(prefix))
            .collect();
        expected.sort_unstable();
        let found = |prefix: &str| store.ids_with_prefix(prefix, 99).unwrap();
        assert_eq!(found(prefix), expected);
        assert_eq!(found(&prefix.to_uppercase()), expected);
    }
    assert_eq!(store.ids_with_prefix("", 7).unwrap().len(), 7);
    for wrong in ["g", "0x", "%", &"0".repeat(65), "é"] {
        assert!(store.ids_with_prefix(wrong, 9).unwrap().is_empty());
    }
}

//! Claims that every engine must fulfil, second part: registers, persons, acts, consignments,
//! scores.

use portcullis_protocol::{
    body::SelectorKind,
    frame::Outcome,
    record::{Kind, RecordId},
    register::{Register, SignedRegister},
    verify::VerifiedRecord,
};

use super::{conformance::claims, fixture::*};
use portcullis_store::{
    Act, ActAnswer, ActOutcome, CONSIGNMENTS_A_PAGE, ConsignmentPlace, ConsignmentRow,
    ConsignmentStage, ConsignmentsOf, Effects, NodeEvent, PersonRow, ScoreRow, Store, StoreError,
    Write, Written,
};
use portcullis_testbed as testbed;

claims![
    an_empty_store_answers_every_question,
    an_epoch_that_skips_repeats_or_forks_is_refused,
    a_statement_is_carried_out_once_and_its_job_with_it,
    an_act_its_effects_and_its_answer_are_one_commit,
    an_act_that_was_cut_short_or_failed_is_begun_again,
    an_act_about_a_person_that_failed_is_not_given_out,
    an_act_without_a_statement_may_come_again,
    a_person_is_enrolled_once,
    a_consignment_comes_back_whole_and_is_replaced_by_its_reference,
    arriving_consignments_are_found_by_identifier_indexed_or_not,
    a_record_touches_the_consignments_it_names_and_what_is_not_indexed,
    a_score_comes_back_whole_and_is_replaced_by_its_reference,
    scores_are_listed_highest_first,
    a_consignment_whose_outcome_is_known_leaves_the_ranking,
    a_consignment_that_is_removed_leaves_nothing_and_no_score_brings_it_back,
    pages_of_consignments_hold_each_once_whatever_changes_between_them,
    events_are_listed_newest_first,
    the_newest_events_are_kept,
    acts_are_listed_by_pages_with_their_ends,
];

fn an_empty_store_answers_every_question(store: &dyn Store) {
    assert_eq!(store.log_end().unwrap(), 0);
    assert!(store.registers().unwrap().is_empty());
    assert!(store.persons().unwrap().is_empty());
    assert!(store.events(9).unwrap().is_empty());
    assert!(store.scores(9).unwrap().is_empty());
    assert!(held_items(store).is_empty());
    assert!(store.disclosures(None).unwrap().is_empty());
    assert_eq!(store.score("x").unwrap(), None);
    assert_eq!(store.consignment("x").unwrap(), None);
}

fn epoch(number: u64, change: impl FnOnce(&mut Register)) -> SignedRegister {
    let mut register = testbed::register().register().clone();
    register.epoch = number;
    if number > 1 {
        register.previous = Some(testbed::register().digest());
    }
    change(&mut register);
    SignedRegister::unsigned(&register).unwrap()
}

fn an_epoch_that_skips_repeats_or_forks_is_refused(store: &dyn Store) {
    let keep = |register: &SignedRegister| store.commit(vec![Write::Register(register.clone())]);
    let (first, second) = (epoch(1, |_| ()), epoch(2, |_| ()));
    assert!(matches!(
        keep(&second),
        Err(StoreError::Epoch {
            found: 2,
            newest: 0
        })
    ));
    assert_eq!(keep(&first).unwrap(), [Written::Done]);
    assert_eq!(keep(&second).unwrap(), [Written::Done]);
    assert_eq!(keep(&first).unwrap(), [Written::Done]);
    let fork = epoch(2, |register| register.issued_at = at(1));
    assert!(matches!(
        keep(&fork),
        Err(StoreError::Epoch {
            found: 2,
            newest: 2
        })
    ));
    let skipping = epoch(4, |_| ());
    assert!(matches!(
        keep(&skipping),
        Err(StoreError::Epoch {
            found: 4,
            newest: 2
        })
    ));
    assert_eq!(store.registers().unwrap(), [first, second]);
}

fn act(payload: Option<&'static [u8]>) -> Act {
    Act {
        action: "publish".to_owned(),
        person: "ada".to_owned(),
        uid: Some(1000),
        at: at(0),
        statement: payload.map(statement),
        concerns: String::new(),
        enrols: None,
        effects: Effects::Nothing,
    }
}

fn a_statement_is_carried_out_once_and_its_job_with_it(store: &dyn Store) {
    let record = Originator::new(1).record(Kind::Indicator);
    let order = statement(b"publish this");
    assert!(!store.act_seen(&order).unwrap());
    store
        .commit(vec![Write::Act(act(Some(b"publish this")))])
        .unwrap();
    assert!(store.act_seen(&order).unwrap());
    assert!(!store.act_seen(&statement(b"publish that")).unwrap());
    let again = vec![
        Write::Publish {
            records: vec![record.clone()],
            now: at(1),
        },
        Write::Act(act(Some(b"publish this"))),
    ];
    assert!(matches!(store.commit(again), Err(StoreError::Replayed)));
    assert!(store.record(&record.id()).unwrap().is_none());
    // Two equal acts in one job are a replay as well.
    let twice = vec![
        Write::Act(act(Some(b"publish that"))),
        Write::Act(act(Some(b"publish that"))),
    ];
    assert!(matches!(store.commit(twice), Err(StoreError::Replayed)));
    assert!(!store.act_seen(&statement(b"publish that")).unwrap());
}

/// Attack HH5: an act and its record lay in two transactions, and sent again it made a second record.
fn an_act_its_effects_and_its_answer_are_one_commit(store: &dyn Store) {
    let drafts = vec![draft(Kind::Indicator), draft(Kind::Indicator)];
    let records = Originator::new(1).batch(drafts);
    let order = statement(b"publish both");
    let job = |effects: Vec<Write>| {
        let answer = ActAnswer::new(|written| format!("{} results", written.len()).into_bytes());
        let ordered = Act {
            effects: Effects::InJob(answer),
            ..act(Some(b"publish both"))
        };
        let mut writes = vec![Write::Act(ordered)];
        writes.extend(effects);
        store.commit(writes)
    };
    let publish = |record: &VerifiedRecord| Write::Publish {
        records: vec![record.clone()],
        now: at(1),
    };
    // The second effect fails: neither the first nor the act stays.
    let failed = job(vec![publish(&records[0]), Write::DropBad(vec![7])]);
    assert!(matches!(failed, Err(StoreError::NotThere)));
    assert!(!store.act_seen(&order).unwrap());
    assert_eq!(store.act_answer(&order).unwrap(), None);
    assert_eq!(
        (store.log_end().unwrap(), store.acts(None, 9).unwrap()),
        (0, vec![])
    );
    job(records.iter().map(publish).collect()).unwrap();
    let end = store.log_end().unwrap();
    let kept = store.act_answer(&order).unwrap();
    assert_eq!(kept.as_deref(), Some(b"3 results".as_slice()));
    // The same act again makes no second record, and leaves the first answer.
    let again = job(vec![publish(&Originator::new(2).record(Kind::Indicator))]);
    assert!(matches!(again, Err(StoreError::Replayed)));
    assert_eq!(store.log_end().unwrap(), end);
    assert_eq!(store.act_answer(&order).unwrap(), kept);
    let rows = store.acts(None, 9).unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].outcome.as_deref(), Some("done"));
}

/// Attack HH5: an act that was cut short could not be finished, for it counted as carried out.
fn an_act_that_was_cut_short_or_failed_is_begun_again(store: &dyn Store) {
    let order = statement(b"import");
    let begun = || Act {
        effects: Effects::Following,
        ..act(Some(b"import"))
    };
    let ended = |outcome: &str, answer: Option<&[u8]>| {
        let ended = ActOutcome {
            statement: order.clone(),
            outcome: outcome.to_owned(),
            answer: answer.map(<[u8]>::to_vec),
        };
        store.commit(vec![Write::ActOutcome(ended)]).unwrap();
    };
    for end in [None, Some("failed: the node failed"), None] {
        store.commit(vec![Write::Act(begun())]).unwrap();
        if let Some(end) = end {
            ended(end, None);
        }
        assert!(!store.act_seen(&order).unwrap());
        assert_eq!(store.acts(None, 9).unwrap().len(), 1);
    }
    ended("done", Some(b"3 consignments"));
    assert!(store.act_seen(&order).unwrap());
    let again = store.commit(vec![Write::Act(begun())]);
    assert!(matches!(again, Err(StoreError::Replayed)));
    let kept = store.act_answer(&order).unwrap();
    assert_eq!(kept.as_deref(), Some(b"3 consignments".as_slice()));
}

/// A person is not believed because of an act that failed.
fn an_act_about_a_person_that_failed_is_not_given_out(store: &dyn Store) {
    let failed = Act {
        action: "enrol".to_owned(),
        effects: Effects::Following,
        ..act(Some(b"enrol eve"))
    };
    store.commit(vec![Write::Act(failed)]).unwrap();
    assert_eq!(store.acts_about_persons().unwrap(), []);
}

fn an_act_without_a_statement_may_come_again(store: &dyn Store) {
    for _ in 0..2 {
        store.commit(vec![Write::Act(act(None))]).unwrap();
    }
}

fn person(id: &str) -> PersonRow {
    PersonRow {
        id: id.to_owned(),
        name: "Ada Example".to_owned(),
        role: "analyst".to_owned(),
        public_key: vec![7; 32],
        enrolled_at: at(0),
        enrolled_by: String::new(),
    }
}

fn a_person_is_enrolled_once(store: &dyn Store) {
    let enrol = |person: PersonRow, payload| {
        let enrolment = Act {
            enrols: Some(person),
            ..act(Some(payload))
        };
        store.commit(vec![Write::Act(enrolment)])
    };
    enrol(person("eve"), b"enrol eve").unwrap();
    enrol(person("ada"), b"enrol ada").unwrap();
    let other_key = PersonRow {
        public_key: vec![8; 32],
        ..person("ada")
    };
    let refused = enrol(other_key, b"enrol ada again");
    assert!(matches!(refused, Err(StoreError::Enrolled(id)) if id == "ada"));
    assert!(!store.act_seen(&statement(b"enrol ada again")).unwrap());
    assert_eq!(store.persons().unwrap(), [person("ada"), person("eve")]);
}

fn consignment(reference: &str, arriving: bool) -> ConsignmentRow {
    ConsignmentRow {
        reference: reference.to_owned(),
        at: at(0),
        arriving,
        body: STORY.as_bytes().to_vec(),
        selectors: vec![
            (SelectorKind::Container, CONTAINER.to_owned()),
            (SelectorKind::HsCode, GOODS.to_owned()),
        ],
    }
}

fn a_consignment_comes_back_whole_and_is_replaced_by_its_reference(store: &dyn Store) {
    let rows = ["b", "a", "c"].map(|reference| consignment(reference, reference != "c"));
    store
        .commit(vec![Write::Consignments(rows.to_vec())])
        .unwrap();
    let [b, a, c] = rows;
    assert_eq!(
        store.consignments(ConsignmentStage::Arriving).unwrap(),
        [a.clone(), b]
    );
    assert_eq!(store.consignments(ConsignmentStage::History).unwrap(), [c]);
    let changed = ConsignmentRow {
        at: at(9),
        body: vec![],
        selectors: vec![(SelectorKind::Imo, SHIP.to_owned())],
        ..a
    };
    // The consignment is replaced twice in one commit, and further commits destroy keys.
    let twice = vec![consignment("a", true), changed.clone()];
    store.commit(vec![Write::Consignments(twice)]).unwrap();
    for payload in [b"1", b"2"] {
        store.commit(vec![Write::Act(act(Some(payload)))]).unwrap();
    }
    assert_eq!(store.consignment("a").unwrap(), Some(changed.clone()));
    let found = |kind, value| store.consignments_with(kind, value).unwrap();
    assert_eq!(found(SelectorKind::Imo, SHIP), [changed]);
    assert_eq!(found(SelectorKind::Container, CONTAINER).len(), 1);
}

fn arriving_consignments_are_found_by_identifier_indexed_or_not(store: &dyn Store) {
    let rows = vec![consignment("new", true), consignment("old", false)];
    store.commit(vec![Write::Consignments(rows)]).unwrap();
    let found = |kind, value| store.consignments_with(kind, value).unwrap();
    for (kind, value) in [
        (SelectorKind::Container, CONTAINER),
        (SelectorKind::HsCode, GOODS),
    ] {
        assert_eq!(found(kind, value), [consignment("new", true)], "{kind}");
    }
    assert!(found(SelectorKind::Seal, CONTAINER).is_empty());
    assert!(found(SelectorKind::HsCode, "080310").is_empty());
    // A consignment that has left is not found any more.
    let gone = vec![consignment("new", false)];
    store.commit(vec![Write::Consignments(gone)]).unwrap();
    assert!(found(SelectorKind::Container, CONTAINER).is_empty());
    assert!(found(SelectorKind::HsCode, GOODS).is_empty());
}

fn a_record_touches_the_consignments_it_names_and_what_is_not_indexed(store: &dyn Store) {
    let mut police = Originator::new(1);
    let drafts = vec![about_a_container(Kind::Indicator), draft(Kind::Indicator)];
    let records = police.batch(drafts);
    publish(store, &records);
    let (boxed, common) = (records[0].id(), records[1].id());
    let unknown = RecordId::from_slice(&[0; 32]).unwrap();
    let all = [boxed, unknown, common];
    assert!(store.touching(&all).unwrap().is_empty());
    let arrive = |arriving| {
        let rows = vec![consignment("new", arriving)];
        store.commit(vec![Write::Consignments(rows)]).unwrap();
    };
    arrive(true);
    assert_eq!(store.touching(&all).unwrap(), [boxed, common]);
    arrive(false);
    assert_eq!(store.touching(&all).unwrap(), [common]);
    // Sections that a second deliverer adds count as well.
    let late = police
        .batch(vec![about_a_container(Kind::Indicator)])
        .remove(0);
    let story = late.withhold(form(&[2])).unwrap();
    assert_eq!(accept(store, "hub", &story), Outcome::Accepted);
    arrive(true);
    assert!(store.touching(&[late.id()]).unwrap().is_empty());
    assert_eq!(accept(store, "hub", &late), Outcome::Extended);
    assert_eq!(store.touching(&[late.id()]).unwrap(), [late.id()]);
}

fn score(reference: &str, points: f64) -> ScoreRow {
    ScoreRow {
        reference: reference.to_owned(),
        points,
        at: at(0),
        summary: b"{}".to_vec(),
        records: 1,
    }
}

fn a_score_comes_back_whole_and_is_replaced_by_its_reference(store: &dyn Store) {
    let keep = |row: &ScoreRow| {
        store
            .commit(vec![Write::Scores(vec![row.clone()])])
            .unwrap()
    };
    let rows = ["a", "b"].map(|reference| consignment(reference, true));
    let rows = Write::Consignments(rows.into());
    store.commit(vec![rows]).unwrap();
    keep(&score("a", 17.5));
    assert_eq!(store.score("a").unwrap(), Some(score("a", 17.5)));
    let rescored = ScoreRow {
        summary: vec![],
        records: 0,
        ..score("a", 3.25)
    };
    keep(&rescored);
    keep(&score("b", 1.0));
    assert_eq!(store.score("a").unwrap(), Some(rescored));
    assert_eq!(store.scores(9).unwrap().len(), 2);
}

fn scores_are_listed_highest_first(store: &dyn Store) {
    let rows = [("a", 1.0), ("b", 99.5), ("d", 50.0), ("c", 50.0)];
    let scores = rows.map(|(reference, points)| score(reference, points));
    let rows = rows.map(|(reference, _)| consignment(reference, true));
    let writes = vec![
        Write::Consignments(rows.into()),
        Write::Scores(scores.into()),
    ];
    store.commit(writes).unwrap();
    let listed = |limit| {
        let rows = store.scores(limit).unwrap();
        rows.into_iter()
            .map(|row| row.reference)
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(9), ["b", "c", "d", "a"]);
    assert_eq!(listed(2), ["b", "c"]);
}

/// Newcomer A8: what was controlled stayed on top of the ranking.
fn a_consignment_whose_outcome_is_known_leaves_the_ranking(store: &dyn Store) {
    let rows = ["a", "b", "c", "d"].map(|reference| consignment(reference, true));
    let scores = [("a", 1.0), ("b", 99.5), ("c", 50.0)];
    let scores = scores.map(|(reference, points)| score(reference, points));
    let writes = vec![
        Write::Consignments(rows.into()),
        Write::Scores(scores.into()),
    ];
    store.commit(writes).unwrap();
    let ranked = |of: ConsignmentsOf, limit| {
        let ranking = store.consignment_ranking(&of, limit).unwrap();
        let listed = ranking.listed.into_iter();
        let listed: Vec<_> = listed
            .map(|one| (one.reference, one.points.map(|points| points.to_string())))
            .collect();
        (ranking.total, ranking.scored, listed)
    };
    let line =
        |reference: &str, points: Option<&str>| (reference.to_owned(), points.map(str::to_owned));
    let arriving = ConsignmentsOf::stage(ConsignmentStage::Arriving);
    let all = [
        line("b", Some("99.5")),
        line("c", Some("50")),
        line("a", Some("1")),
        line("d", None),
    ];
    assert_eq!(ranked(arriving, 9), (4, 3, all.to_vec()));
    assert_eq!(ranked(arriving, 2), (4, 3, all[..2].to_vec()));
    let closed = vec![Write::Consignments(vec![consignment("b", false)])];
    store.commit(closed).unwrap();
    assert_eq!(ranked(arriving, 9), (3, 2, all[1..].to_vec()));
    let history = ConsignmentsOf::stage(ConsignmentStage::History);
    assert_eq!(ranked(history, 9), (1, 1, all[..1].to_vec()));
    // A score that was under way while it was closed does not bring it back.
    let late = vec![Write::Scores(vec![score("b", 98.0)])];
    store.commit(late).unwrap();
    assert_eq!(ranked(arriving, 9), (3, 2, all[1..].to_vec()));
    let both = ConsignmentsOf {
        stage: None,
        ..arriving
    };
    assert_eq!(ranked(both, 1), (4, 3, vec![line("b", Some("98"))]));
    let day = store.consignment("a").unwrap().unwrap().at;
    let later = ConsignmentsOf {
        since: day.plus_millis(1),
        ..arriving
    };
    assert_eq!(ranked(later, 9), (0, 0, Vec::new()));
    let until = ConsignmentsOf {
        before: day,
        ..arriving
    };
    assert_eq!(ranked(until, 9), (0, 0, Vec::new()));
}

/// Newcomer A18: nothing could be deleted, and a store grew for ever.
fn a_consignment_that_is_removed_leaves_nothing_and_no_score_brings_it_back(store: &dyn Store) {
    let rows = ["a", "b", "c"].map(|reference| consignment(reference, reference != "c"));
    let scores = ["a", "b", "c"].map(|reference| score(reference, 5.0));
    let writes = vec![
        Write::Consignments(rows.into()),
        Write::Scores(scores.into()),
    ];
    store.commit(writes).unwrap();
    let removed = ["a", "unknown", "c"].map(str::to_owned);
    let remove = || vec![Write::RemoveConsignments(removed.to_vec())];
    store.commit(remove()).unwrap();
    // A score that was under way is of nothing.
    store
        .commit(vec![Write::Scores(vec![score("a", 6.0)])])
        .unwrap();
    for reference in &removed {
        assert_eq!(store.consignment(reference).unwrap(), None);
        assert_eq!(store.score(reference).unwrap(), None);
    }
    let arriving = store.consignments(ConsignmentStage::Arriving).unwrap();
    assert_eq!(arriving, [consignment("b", true)]);
    let (kind, value) = &consignment("a", true).selectors[0];
    let found = store.consignments_with(*kind, value).unwrap();
    assert_eq!(found, [consignment("b", true)]);
    store.commit(remove()).unwrap();
    // One that comes again is like a new one.
    let again = vec![Write::Consignments(vec![consignment("a", true)])];
    store.commit(again).unwrap();
    assert_eq!(store.score("a").unwrap(), None);
    assert_eq!(store.consignments_with(*kind, value).unwrap().len(), 2);
}

/// Newcomer A18: a list that is read whole takes as much memory as it is long.
fn pages_of_consignments_hold_each_once_whatever_changes_between_them(store: &dyn Store) {
    let many = CONSIGNMENTS_A_PAGE + 5;
    let reference = |n: u32| format!("r{n:06}");
    let rows = (0..many).map(|n| consignment(&reference(n), n % 2 == 0));
    let writes = vec![Write::Consignments(rows.collect())];
    store.commit(writes).unwrap();
    let everything = ConsignmentsOf {
        stage: None,
        ..ConsignmentsOf::stage(ConsignmentStage::Arriving)
    };
    let (mut seen, mut from) = (Vec::new(), Some(ConsignmentPlace::default()));
    while let Some(place) = from {
        let page = store.consignment_references(&everything, place).unwrap();
        seen.extend(page.references);
        from = page.next;
        // One that was seen is replaced, and another removed.
        let writes = vec![
            Write::Consignments(vec![consignment(&reference(0), true)]),
            Write::RemoveConsignments(vec![reference(1)]),
        ];
        store.commit(writes).unwrap();
    }
    seen.sort();
    assert_eq!(seen, (0..many).map(reference).collect::<Vec<_>>());
    let arriving = store.consignments(ConsignmentStage::Arriving).unwrap();
    assert_eq!(u32::try_from(arriving.len()), Ok(many.div_ceil(2)));
    let before = ConsignmentsOf {
        before: arriving[0].at,
        ..everything
    };
    let none = store.consignment_references(&before, ConsignmentPlace::default());
    assert_eq!(none.unwrap().references, Vec::<String>::new());
}

fn event(number: usize) -> NodeEvent {
    NodeEvent {
        at: at(0),
        kind: "frame-refused".to_owned(),
        peer: number.is_multiple_of(2).then(|| peer("hub")),
        detail: number.to_string(),
    }
}

fn events_are_listed_newest_first(store: &dyn Store) {
    let events = (0..3).map(|number| Write::Event(event(number)));
    store.commit(events.collect()).unwrap();
    assert_eq!(store.events(2).unwrap(), [event(2), event(1)]);
}

fn the_newest_events_are_kept(store: &dyn Store) {
    let events = (0..100_003).map(|number| Write::Event(event(number)));
    store.commit(events.collect()).unwrap();
    let kept = store.events(u32::MAX).unwrap();
    assert_eq!(kept.len(), 100_000);
    assert_eq!(
        (&kept[0].detail, &kept[99_999].detail),
        (&"100002".to_owned(), &"3".to_owned())
    );
    // A forgotten event does not come back under a number that was used before.
    let record = Originator::new(1).record(Kind::Alert);
    assert_eq!(accept(store, "hub", &record), Outcome::Accepted);
}

/// Attack HM10, HL5: the log of acts is read page by page, and tells how an act that was begun ended.
fn acts_are_listed_by_pages_with_their_ends(store: &dyn Store) {
    let signed = act(Some(b"an act"));
    let ended = |outcome: &str| {
        Write::ActOutcome(ActOutcome {
            statement: signed.statement.clone().unwrap(),
            outcome: outcome.to_owned(),
            answer: None,
        })
    };
    store
        .commit(vec![Write::Act(signed.clone()), ended("begun")])
        .unwrap();
    for _ in 0..2 {
        store.commit(vec![Write::Act(act(None))]).unwrap();
    }
    let listed = |before: Option<i64>| -> Vec<(i64, Option<String>)> {
        let rows = store.acts(before, 2).unwrap();
        rows.into_iter().map(|row| (row.n, row.outcome)).collect()
    };
    assert_eq!(listed(None), [(3, None), (2, None)]);
    assert_eq!(listed(Some(2)), [(1, Some("begun".to_owned()))]);
    store.commit(vec![ended("failed: invalid input")]).unwrap();
    let rows = store.acts(Some(2), 9).unwrap();
    assert_eq!(rows[0].outcome.as_deref(), Some("failed: invalid input"));
    assert!(rows[0].is_signed && rows[0].action == signed.action && rows[0].at == signed.at);
    assert_eq!(store.acts(Some(1), 9).unwrap(), []);
}

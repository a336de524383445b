//! Checks that the example policies do what their comments state.

use std::collections::BTreeMap;

use portcullis_protocol::{
    marking::{Pap, Tlp},
    record::{Header, Kind, SectionTag},
};

use crate::{
    Bundle, Engine, Facts, FormDecision, Permission, Roster,
    testing::{ORDINARY, engine, header, holding, id, marking, memo, profile, register},
};

const MINIMUM_COUNT: &str = include_str!("../examples/minimum-count.cedar");
const PERSONS: &str = include_str!("../examples/third-country-persons.cedar");
const ALERTS: &str = include_str!("../examples/alerts-pap-red.cedar");
const TERMINALS: &str = include_str!("../examples/hear-terminals.cedar");

fn released(engine: &Engine, header: &Header, to: &str, facts: Facts) -> FormDecision {
    let roster = Roster::of(&register());
    let here = header.origin.clone();
    let mut holding = holding(&roster, &here, &here, header);
    holding.facts = facts;
    engine.decide(&holding.towards(&id(to)).unwrap())
}

#[track_caller]
fn check(policies: &str, header: &Header, to: &str, without: &[u8], with: &[u8]) {
    for (policies, expect) in [("", without), (policies, with)] {
        let decision = released(&engine(policies), header, to, Facts::default());
        let opened: Vec<u8> = decision.opened().iter().collect();
        assert_eq!(opened, expect, "to {to} with {policies:?}");
    }
}

#[test]
fn brazil_gets_counts_from_five_on_and_other_customs_all() {
    let record = profile(&[Some(1), Some(4), Some(5), Some(10)]);
    check(MINIMUM_COUNT, &record, "abroad", &[0, 1, 2, 3], &[2, 3]);
    check(
        MINIMUM_COUNT,
        &record,
        "customs-b",
        &[0, 1, 2, 3],
        &[0, 1, 2, 3],
    );
}

#[test]
fn persons_stay_at_home_even_if_a_third_country_is_named() {
    let mut marked = marking(Tlp::Amber);
    marked.release_to = Some([id("abroad"), id("customs")].into());
    let record = header("police", Kind::Indicator, ORDINARY, marked);
    check(PERSONS, &record, "abroad", &[0, 1, 2, 3, 4], &[0, 1, 2, 3]);
    check(
        PERSONS,
        &record,
        "customs",
        &[0, 1, 2, 3, 4],
        &[0, 1, 2, 3, 4],
    );
}

#[test]
fn a_red_alert_waits_for_a_supervisor_before_it_goes_to_a_terminal() {
    let mut marked = marking(Tlp::Green);
    marked.pap = Pap::Red;
    let alert = header("police", Kind::Alert, ORDINARY, marked.clone());
    check(ALERTS, &alert, "terminal", &[0, 1], &[]);
    check(
        ALERTS,
        &alert,
        "customs",
        &[0, 1, 2, 3, 4],
        &[0, 1, 2, 3, 4],
    );
    let indicator = header("police", Kind::Indicator, ORDINARY, marked);
    check(ALERTS, &indicator, "terminal", &[0, 1], &[0, 1]);
    let engine = engine(ALERTS);
    let waiting = released(&engine, &alert, "terminal", Facts::default());
    assert_eq!(waiting.outcome(), Permission::Hold);
    assert_eq!(waiting.held().iter().collect::<Vec<_>>(), [0, 1]);
    let approved = Facts {
        approved: true,
        ..Facts::default()
    };
    let sent = released(&engine, &alert, "terminal", approved);
    assert_eq!(sent.opened().iter().collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn the_examples_stand_together_as_one_bundle_and_are_explained() {
    let files = [
        ("minimum-count.cedar", MINIMUM_COUNT),
        ("third-country-persons.cedar", PERSONS),
        ("alerts-pap-red.cedar", ALERTS),
    ];
    let files: BTreeMap<String, String> = files
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .into();
    let engine = Engine::new(Bundle::from_files(&files).unwrap(), memo()).unwrap();
    for policy in [
        "minimum-count-brazil",
        "third-country-persons",
        "alerts-pap-red",
    ] {
        assert!(engine.explain(policy).unwrap().comment.len() > 80);
    }
}

/// Admission and scoring ask the same policy of hearing, and so does a terminal that sends.
#[test]
fn terminals_that_scan_are_heard_and_nobody_else_gains_or_loses_by_it() {
    let tags = [SectionTag::Subject, SectionTag::Assessment];
    let roster = Roster::of(&register());
    let opened = |policies: &str, origin: &str, kind: Kind| {
        let record = header(origin, kind, &tags, marking(Tlp::Clear));
        let (here, via) = (id("customs"), id(origin));
        let engine = engine(policies);
        let arrived = holding(&roster, &here, &via, &record);
        let sent = holding(&roster, &via, &via, &record);
        [arrived.admission(), arrived.scoring(), sent.towards(&here)]
            .map(|request| engine.decide(&request.unwrap()).outcome() == Permission::Allow)
    };
    assert_eq!(opened("", "terminal", Kind::Outcome), [false; 3]);
    assert_eq!(opened(TERMINALS, "terminal", Kind::Outcome), [true; 3]);
    assert_eq!(opened(TERMINALS, "terminal", Kind::RiskProfile), [false; 3]);
    for (origin, kind) in [
        ("port", Kind::Outcome),
        ("abroad", Kind::Outcome),
        ("hub", Kind::Outcome),
        ("police", Kind::Outcome),
        ("terminal", Kind::Alert),
    ] {
        assert_eq!(opened("", origin, kind), opened(TERMINALS, origin, kind));
    }
    let voices = engine(TERMINALS);
    let changed: Vec<String> = voices
        .voices()
        .rows()
        .into_iter()
        .filter(|row| !row.heard.by_own_policy().is_empty())
        .map(|row| format!("{}: {}", row.who, row.heard.by_own_policy().join("; ")))
        .collect();
    assert_eq!(
        changed,
        [
            "police under third-country: does not hear requests",
            "private-operator under gdpr: hears outcomes; \
             believes A3 A4 B2 B3 B4 C1 C2 C3 C4 X1 X2",
        ]
    );
}

/// An authority that listens to less at home goes on sending its own reports.
#[test]
fn who_hears_no_customs_refuses_their_outcomes_and_still_sends_its_own() {
    let deaf = "forbid (principal, action == Portcullis::Action::\"hear\", resource) \
                unless { principal.own };";
    let tags = [SectionTag::Subject, SectionTag::Assessment];
    let roster = Roster::of(&register());
    let (here, other) = (id("customs"), id("customs-b"));
    let engine = engine(deaf);
    let allows = |request| engine.decide(&request).outcome() == Permission::Allow;
    let theirs = header("customs-b", Kind::Outcome, &tags, marking(Tlp::Clear));
    let theirs = holding(&roster, &here, &other, &theirs);
    assert!(!allows(theirs.admission().unwrap()));
    assert!(!allows(theirs.scoring().unwrap()));
    let own = header("customs", Kind::Outcome, &tags, marking(Tlp::Clear));
    let own = holding(&roster, &here, &here, &own);
    assert!(allows(own.scoring().unwrap()));
    assert!(allows(own.towards(&other).unwrap()));
}

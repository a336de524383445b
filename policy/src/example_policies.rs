//! Checks that the example policies do what their comments state.

use std::collections::BTreeMap;

use portcullis_protocol::{
    marking::{Pap, Tlp},
    record::{Header, Kind},
};

use crate::{
    Bundle, Engine, Facts, FormDecision, Permission, Roster,
    testing::{ORDINARY, engine, header, holding, id, marking, memo, profile, register},
};

const MINIMUM_COUNT: &str = include_str!("../examples/minimum-count.cedar");
const PERSONS: &str = include_str!("../examples/third-country-persons.cedar");
const ALERTS: &str = include_str!("../examples/alerts-pap-red.cedar");

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

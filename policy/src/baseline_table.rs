//! Decisions of the baseline, case by case.

use portcullis_protocol::{
    marking::{Marking, Purpose, SectionMarking, Tlp},
    record::{Form, Header, Kind, RecordId, SectionTag},
    rules::Rule,
};

use crate::{
    Facts, FormDecision, Permission, Roster,
    testing::{ORDINARY, engine, header, holding, id, indicator, marking, profile, register},
};

/// The parties of a question: `here` decides, `to` would receive, `via` delivered. If `here` equals
/// `to`, the record is admitted; otherwise it is sent.
struct Asked<'a> {
    here: &'a str,
    to: &'a str,
    via: &'a str,
    facts: Facts,
}

fn ask(policies: &str, header: &Header, asked: &Asked<'_>) -> FormDecision {
    let roster = Roster::of(&register());
    let (here, to, via) = (id(asked.here), id(asked.to), id(asked.via));
    let mut holding = holding(&roster, &here, &via, header);
    holding.facts = asked.facts;
    let request = if here == to {
        holding.admission()
    } else {
        holding.towards(&to)
    };
    engine(policies).decide(&request.unwrap())
}

fn tags(decision: &FormDecision) -> String {
    let opened = decision.sections().iter();
    let opened = opened.filter(|section| decision.opened().contains(section.index));
    let names: Vec<&str> = opened.map(|section| section.tag.name()).collect();
    if names.is_empty() {
        let by: Vec<String> = decision
            .policies()
            .iter()
            .map(ToString::to_string)
            .collect();
        return format!("{} by {}", decision.outcome(), by.join(" "));
    }
    names.join(" ")
}

/// Checks the sections that are sent of `header` from its originator to `to`, under the baseline
/// alone.
#[track_caller]
fn check_release(header: &Header, to: &str, expect: &str) {
    let here = header.origin.to_string();
    let asked = Asked {
        here: &here,
        to,
        via: &here,
        facts: Facts::default(),
    };
    assert_eq!(tags(&ask("", header, &asked)), expect);
}

#[track_caller]
fn check_relay(header: &Header, here: &str, to: &str, expect: &str) {
    let via = header.origin.to_string();
    let asked = Asked {
        here,
        to,
        via: &via,
        facts: Facts::default(),
    };
    assert_eq!(tags(&ask("", header, &asked)), expect);
}

#[track_caller]
fn check_admit(header: &Header, here: &str, via: &str, expect: &str) {
    let asked = Asked {
        here,
        to: here,
        via,
        facts: Facts::default(),
    };
    assert_eq!(tags(&ask("", header, &asked)), expect);
}

fn to(names: &[&str], mut marking: Marking) -> Marking {
    marking.release_to = Some(names.iter().map(|name| id(name)).collect());
    marking
}

const ALL: &str = "subject assessment narrative source persons";

#[test]
fn a_terminal_operator_gets_subject_and_assessment_only() {
    let record = indicator(marking(Tlp::Green));
    check_release(&record, "terminal", "subject assessment");
    check_release(&record, "port", "subject assessment");
    check_release(&record, "customs", ALL);
    check_admit(&record, "terminal", "police", "subject assessment");
}

#[test]
fn a_record_without_port_security_is_not_for_terminals() {
    let record = indicator(Marking::new(Tlp::Green, [Purpose::LawEnforcement]));
    check_release(
        &record,
        "terminal",
        "deny by base-private-operator-sections base-purpose-law-enforcement \
         base-purpose-port-security",
    );
    check_release(&record, "customs", ALL);
}

#[test]
fn h2_does_not_pass_the_hub() {
    let mut marked = marking(Tlp::Green);
    marked.handling.h2 = true;
    let record = indicator(marked);
    check_release(&record, "customs", ALL);
    check_release(
        &record,
        "hub",
        "deny by base-hub-not-trusted base-hub-sections",
    );
    check_relay(&record, "hub", "customs", "deny by base-h2-no-onward");
    check_admit(&record, "customs", "hub", "deny by base-h2-no-onward");
}

#[test]
fn a_grant_of_the_originator_lifts_h2_for_its_receiver() {
    let mut marked = marking(Tlp::Green);
    marked.handling.h2 = true;
    let asked = Asked {
        here: "hub",
        to: "customs",
        via: "police",
        facts: Facts {
            grant_active: true,
            ..Facts::default()
        },
    };
    assert_eq!(tags(&ask("", &indicator(marked), &asked)), ALL);
}

#[test]
fn red_reaches_its_named_recipients_only() {
    let record = indicator(to(&["customs"], marking(Tlp::Red)));
    check_release(&record, "customs", ALL);
    check_admit(&record, "customs", "police", ALL);
    check_release(
        &record,
        "customs-b",
        "deny by base-release-list base-tlp-red-named-recipients",
    );
    check_admit(
        &record,
        "customs-b",
        "police",
        "deny by base-release-list base-tlp-red-named-recipients",
    );
}

#[test]
fn red_is_never_passed_on_not_even_to_the_named_or_under_a_grant() {
    let record = indicator(to(&["customs", "hub"], marking(Tlp::Red)));
    check_relay(
        &record,
        "hub",
        "customs",
        "deny by base-tlp-red-direct-only",
    );
    check_admit(
        &record,
        "customs",
        "hub",
        "deny by base-tlp-red-direct-only",
    );
    let asked = Asked {
        here: "hub",
        to: "customs",
        via: "police",
        facts: Facts {
            grant_active: true,
            ..Facts::default()
        },
    };
    assert_eq!(
        tags(&ask("", &record, &asked)),
        "deny by base-tlp-red-direct-only"
    );
}

#[test]
fn amber_strict_goes_no_further_than_its_recipient() {
    let record = indicator(marking(Tlp::AmberStrict));
    check_release(&record, "customs", ALL);
    check_release(
        &record,
        "hub",
        "deny by base-hub-not-trusted base-hub-sections",
    );
    check_relay(
        &record,
        "hub",
        "customs",
        "deny by base-tlp-amber-strict-no-onward",
    );
    check_relay(
        &record,
        "port",
        "terminal",
        "deny by base-private-operator-sections base-tlp-amber-strict-no-onward",
    );
}

#[test]
fn amber_is_passed_on_by_the_hub_and_to_clients() {
    let record = indicator(marking(Tlp::Amber));
    check_relay(&record, "hub", "customs", ALL);
    check_admit(&record, "customs", "hub", ALL);
    check_relay(&record, "port", "terminal", "subject assessment");
    check_admit(&record, "terminal", "port", "subject assessment");
    check_relay(
        &record,
        "customs",
        "customs-b",
        "deny by base-tlp-amber-onward",
    );
    check_admit(
        &record,
        "customs-b",
        "customs",
        "deny by base-tlp-amber-onward",
    );
}

#[test]
fn without_a_shared_community_nothing_below_clear_arrives() {
    for (tlp, by) in [
        (Tlp::Green, "base-tlp-green-community"),
        (Tlp::Amber, "base-tlp-amber-organisation-and-clients"),
        (Tlp::AmberStrict, "base-tlp-amber-strict-community"),
    ] {
        check_release(
            &indicator(marking(tlp)),
            "stranger",
            &format!("deny by {by}"),
        );
    }
    check_release(&indicator(marking(Tlp::Clear)), "stranger", ALL);
    // A recipient that the source names is one that the source has chosen.
    let named = indicator(to(&["stranger"], marking(Tlp::Amber)));
    check_release(&named, "stranger", ALL);
}

#[test]
fn a_release_list_binds_also_under_clear() {
    let record = indicator(to(&["customs-b"], marking(Tlp::Clear)));
    check_release(&record, "customs", "deny by base-release-list");
    check_relay(&record, "hub", "customs", "deny by base-release-list");
    check_relay(&record, "hub", "customs-b", ALL);
}

#[test]
fn what_is_not_to_be_relayed_comes_from_its_originator() {
    let mut marked = marking(Tlp::Green);
    marked.relay = false;
    let record = indicator(marked);
    check_release(&record, "customs", ALL);
    check_admit(&record, "customs", "police", ALL);
    check_admit(&record, "customs", "hub", "deny by base-relay-forbidden");
    check_relay(&record, "hub", "customs", "deny by base-relay-forbidden");
    check_release(
        &record,
        "hub",
        "deny by base-hub-not-trusted base-hub-sections",
    );
}

#[test]
fn originator_control_asks_for_a_grant() {
    let mut marked = marking(Tlp::Green);
    marked.originator_control = true;
    check_relay(
        &indicator(marked),
        "hub",
        "customs",
        "deny by base-originator-control",
    );
}

#[test]
fn nothing_goes_back_to_where_it_came_from() {
    let record = indicator(marking(Tlp::Green));
    check_relay(&record, "hub", "police", "deny by base-not-back");
}

#[test]
fn h0_is_for_those_who_combat_crime() {
    let mut marked = marking(Tlp::Green);
    marked.handling.h0 = true;
    let record = indicator(marked);
    check_release(&record, "customs", ALL);
    check_release(
        &record,
        "terminal",
        "deny by base-h0-crime-only base-private-operator-sections",
    );
}

#[test]
fn h3_waits_for_a_person_and_goes_on_when_approved() {
    let mut marked = marking(Tlp::Green);
    marked.handling.h3 = Some("not to be used before the search".to_owned());
    let record = indicator(marked);
    check_admit(&record, "customs", "police", "hold by base-h3-held");
    check_release(&record, "customs", "hold by base-h3-held");
    let asked = Asked {
        here: "customs",
        to: "customs",
        via: "police",
        facts: Facts {
            approved: true,
            ..Facts::default()
        },
    };
    assert_eq!(tags(&ask("", &record, &asked)), ALL);
}

#[test]
fn what_is_denied_besides_is_not_held() {
    let mut marked = marking(Tlp::Green);
    marked.handling.h2 = true;
    marked.handling.h3 = Some("ask first".to_owned());
    check_admit(
        &indicator(marked),
        "customs",
        "hub",
        "deny by base-h2-no-onward base-h3-held",
    );
}

#[test]
fn the_least_count_depends_on_the_kind_of_recipient() {
    let record = profile(&[Some(1), Some(2), Some(5), Some(0), None]);
    let asked = |to| {
        let asked = Asked {
            here: "customs",
            to,
            via: "customs",
            facts: Facts::default(),
        };
        ask("", &record, &asked).opened()
    };
    assert_eq!(asked("customs-b"), [0, 1, 2].into_iter().collect());
    assert_eq!(asked("police"), [2].into_iter().collect());
    assert_eq!(asked("hub"), [2].into_iter().collect());
    assert_eq!(asked("terminal"), Form::EMPTY);
}

#[test]
fn a_hub_gets_neither_source_nor_persons() {
    let record = indicator(marking(Tlp::Green));
    check_release(&record, "hub", "subject assessment narrative");
    let named = indicator(to(&["hub"], marking(Tlp::Green)));
    check_release(&named, "hub", ALL);
}

#[test]
fn a_third_country_is_named_or_gets_nothing_from_amber_on() {
    check_release(
        &indicator(marking(Tlp::Amber)),
        "abroad",
        "deny by base-third-country",
    );
    check_release(
        &indicator(to(&["abroad"], marking(Tlp::Amber))),
        "abroad",
        ALL,
    );
    check_release(&indicator(marking(Tlp::Green)), "abroad", ALL);
}

#[test]
fn what_has_expired_is_denied_and_what_is_due_for_review_held() {
    let asked = |facts| Asked {
        here: "police",
        to: "customs",
        via: "police",
        facts,
    };
    let record = indicator(marking(Tlp::Green));
    let expired = Facts {
        expired: true,
        ..Facts::default()
    };
    let due = Facts {
        review_due: true,
        ..Facts::default()
    };
    assert_eq!(
        tags(&ask("", &record, &asked(expired))),
        "deny by base-expired"
    );
    assert_eq!(
        tags(&ask("", &record, &asked(due))),
        "hold by base-review-due"
    );
}

#[test]
fn an_exercise_never_scores_and_statistics_do_not_decide() {
    let roster = Roster::of(&register());
    let (here, via) = (id("customs"), id("police"));
    let engine = engine("");
    let scored = |header: &Header| {
        let request = holding(&roster, &here, &via, header).scoring().unwrap();
        tags(&engine.decide(&request))
    };
    let mut exercise = indicator(marking(Tlp::Green));
    assert_eq!(scored(&exercise), ALL);
    exercise.exercise = true;
    assert_eq!(scored(&exercise), "deny by base-exercise");
    let statistics = indicator(Marking::new(Tlp::Green, [Purpose::Statistics]));
    assert_eq!(scored(&statistics), "deny by base-score-purpose");
}

/// Attacks C1 and C2: a private operator reported controls that it never made.
#[test]
fn only_who_controls_reports_controls() {
    let roster = Roster::of(&register());
    let (here, via) = (id("customs"), id("police"));
    let engine = engine("");
    let asked = |origin: &str, kind: Kind| {
        let sections: &[SectionTag] = match kind {
            Kind::RiskProfile => &[SectionTag::Cells],
            Kind::Indicator | Kind::Alert | Kind::Advisory | Kind::Outcome => {
                &[SectionTag::Subject, SectionTag::Assessment]
            }
        };
        let mut purposes = vec![Purpose::LawEnforcement, Purpose::CustomsControl];
        purposes.extend([Purpose::PortSecurity, Purpose::Statistics]);
        let mut record = header(origin, kind, sections, Marking::new(Tlp::Clear, purposes));
        for entry in &mut record.sections {
            entry.least_count = (kind == Kind::RiskProfile).then_some(100);
        }
        let holding = holding(&roster, &here, &via, &record);
        let by = |request| tags(&engine.decide(&request));
        [
            holding.admission().map(by).unwrap(),
            holding.scoring().map(by).unwrap(),
        ]
    };
    let refused = ["deny by base-controls-right", "deny by base-controls-right"];
    for origin in ["terminal", "port", "abroad"] {
        assert_eq!(asked(origin, Kind::Outcome), refused, "{origin}");
        assert_eq!(asked(origin, Kind::RiskProfile), refused, "{origin}");
        assert_ne!(asked(origin, Kind::Alert), refused, "{origin}");
    }
    assert_eq!(asked("hub", Kind::Outcome), refused);
    for (origin, kind) in [
        ("police", Kind::Outcome),
        ("police", Kind::RiskProfile),
        ("customs-b", Kind::Outcome),
        ("customs-b", Kind::RiskProfile),
        ("hub", Kind::RiskProfile),
    ] {
        for decision in asked(origin, kind) {
            assert!(!decision.starts_with("deny"), "{origin}: {decision}");
        }
    }
    // An authority counts its own, of whatever kind it is.
    let port = id("port");
    let own = header(
        "port",
        Kind::Outcome,
        &[SectionTag::Subject, SectionTag::Assessment],
        marking(Tlp::Green),
    );
    let scored = holding(&roster, &port, &port, &own).scoring().unwrap();
    assert_eq!(tags(&engine.decide(&scored)), "subject assessment");
}

#[test]
fn others_records_leave_the_federation_only_when_clear() {
    let roster = Roster::of(&register());
    let (customs, police) = (id("customs"), id("police"));
    let engine = engine("");
    let exported = |here, header: &Header| {
        let request = holding(&roster, here, &police, header).export().unwrap();
        engine.decide(&request).outcome()
    };
    let green = indicator(marking(Tlp::Green));
    assert_eq!(exported(&customs, &green), Permission::Deny);
    assert_eq!(exported(&police, &green), Permission::Allow);
    let clear = indicator(marking(Tlp::Clear));
    assert_eq!(exported(&customs, &clear), Permission::Allow);
    let red = indicator(to(&["customs"], marking(Tlp::Red)));
    assert_eq!(exported(&police, &red), Permission::Deny);
}

#[test]
fn a_stricter_section_is_decided_by_its_own_marking() {
    let mut record = indicator(marking(Tlp::Green));
    record.sections[2].stricter = Some(SectionMarking {
        h2: true,
        ..SectionMarking::default()
    });
    check_relay(
        &record,
        "hub",
        "customs",
        "subject assessment source persons",
    );
}

#[test]
fn a_group_travels_whole_or_not_at_all() {
    let assessment = r#"forbid (principal, action, resource)
        when { context.section.tag == Portcullis::SectionTag::"assessment" };"#;
    let asked = Asked {
        here: "police",
        to: "customs",
        via: "police",
        facts: Facts::default(),
    };
    let decision = ask(assessment, &indicator(marking(Tlp::Green)), &asked);
    assert_eq!(tags(&decision), "narrative source persons");
    assert_eq!(decision.withheld(), [0, 1].into_iter().collect());
}

#[test]
fn an_advisory_for_terminals_keeps_its_narrative() {
    let record = header("port", Kind::Advisory, ORDINARY, marking(Tlp::Green));
    check_release(&record, "terminal", "subject assessment narrative");
}

#[test]
fn only_a_decision_to_send_gives_a_permit_and_it_covers_nothing_else() {
    let record = indicator(marking(Tlp::Green));
    let asked = |here, to| Asked {
        here,
        to,
        via: "police",
        facts: Facts::default(),
    };
    let decision = ask("", &record, &asked("police", "terminal"));
    let permit = decision.permit().unwrap();
    let (id_, terminal) = (decision.record(), id("terminal"));
    assert!(permit.covers(&id_, &terminal, decision.opened()));
    assert!(permit.covers(&id_, &terminal, Form::EMPTY.with(0)));
    assert!(!permit.covers(&id_, &terminal, record.full_form()));
    assert!(!permit.covers(&id_, &terminal, Form::EMPTY));
    assert!(!permit.covers(&id_, &id("customs"), decision.opened()));
    let other = RecordId::of_header(b"other");
    assert!(!permit.covers(&other, &terminal, decision.opened()));
    assert!(
        ask("", &record, &asked("customs", "customs"))
            .permit()
            .is_none()
    );
    assert!(ask("", &record, &asked("hub", "police")).permit().is_none());
}

/// The rule under which customs answers a record from the police.
fn rule_of(record: &Header) -> Option<Rule> {
    let asked = Asked {
        here: "customs",
        to: "customs",
        via: "police",
        facts: Facts::default(),
    };
    ask("", record, &asked).rule()
}

#[test]
fn po_01_what_names_others_is_denied() {
    assert_eq!(rule_of(&indicator(marking(Tlp::Green))), None);
    let named = indicator(to(&["port"], marking(Tlp::Green)));
    assert_eq!(rule_of(&named), Some(Rule::PolicyDenied));
}

#[test]
fn po_03_what_carries_h3_is_held_for_a_person() {
    let mut marked = marking(Tlp::Green);
    marked.handling.h3 = Some("ask".to_owned());
    assert_eq!(rule_of(&indicator(marked)), Some(Rule::PolicyHeld));
}

#[test]
fn po_02_a_forbid_that_errors_denies() {
    let overflows = r#"forbid (principal, action, resource)
        when { context.section has least_count &&
               context.section.least_count + 9223372036854775807 < 0 };"#;
    let record = profile(&[Some(9)]);
    let asked = Asked {
        here: "customs-b",
        to: "customs-b",
        via: "customs",
        facts: Facts::default(),
    };
    let decision = ask(overflows, &record, &asked);
    assert_eq!(decision.rule(), Some(Rule::PolicyError));
    assert_eq!(tags(&decision), "deny by test.cedar#1");
}

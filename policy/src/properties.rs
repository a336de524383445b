//! Properties that hold for every question, and a model of the baseline written from
//! docs/policy.md.

use std::{collections::BTreeSet, sync::LazyLock};

use portcullis_protocol::{
    identifiers::AuthorityId,
    marking::{HandlingCodes, Marking, Pap, Purpose, SectionMarking, Tlp},
    record::{Header, Kind, SectionEntry, SectionTag},
    register::{Authority, AuthorityKind, LegalRegime, Register},
};
use proptest::{
    collection::btree_set,
    prelude::{
        Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
    },
    sample::{select, subsequence},
};

use crate::{
    Action, Engine, Facts, FormDecision, Permission, RecordRequest, Roster,
    key::{KeyBuilder, Question},
    testing::{engine, header, holding, id, register},
};

static REGISTER: LazyLock<Register> = LazyLock::new(register);
static ROSTER: LazyLock<Roster> = LazyLock::new(|| Roster::of(&REGISTER));
static BASELINE: LazyLock<Engine> = LazyLock::new(|| engine(""));

/// One question in parts: the model reads the parts, the engine the request made of them.
#[derive(Debug, Clone)]
struct Case {
    action: Action,
    here: AuthorityId,
    to: AuthorityId,
    via: AuthorityId,
    header: Header,
    facts: Facts,
}

impl Case {
    fn with_request<T>(&self, roster: &Roster, ask: impl FnOnce(&RecordRequest<'_>) -> T) -> T {
        let mut holding = holding(roster, &self.here, &self.via, &self.header);
        holding.facts = self.facts;
        let request = match self.action {
            Action::Release | Action::Relay => holding.towards(&self.to),
            Action::Admit => holding.admission(),
            Action::Consult => holding.consultation(),
            Action::Score => holding.scoring(),
            Action::Export => holding.export(),
        };
        ask(&request.unwrap())
    }

    fn decide(&self, engine: &Engine) -> FormDecision {
        self.with_request(&ROSTER, |request| engine.decide(request))
    }
}

fn members() -> Vec<AuthorityId> {
    REGISTER.authorities.keys().cloned().collect()
}

fn seldom() -> impl Strategy<Value = bool> {
    prop_oneof![5 => Just(false), 1 => Just(true)]
}

fn codes() -> impl Strategy<Value = HandlingCodes> {
    (seldom(), any::<bool>(), seldom(), seldom()).prop_map(|(h0, h1, h2, h3)| HandlingCodes {
        h0,
        h1,
        h2,
        h3: h3.then(|| "see the case officer".to_owned()),
    })
}

fn markings() -> impl Strategy<Value = Marking> {
    (
        (select(Tlp::ALL), select(Pap::ALL), codes()),
        subsequence(Purpose::ALL, 1..=Purpose::ALL.len()),
        proptest::option::of(btree_set(select(members()), 1..5)),
        (seldom(), seldom()),
    )
        .prop_map(
            |((tlp, pap, handling), purposes, release_to, (no_relay, originator_control))| {
                Marking {
                    pap,
                    handling,
                    release_to,
                    relay: !no_relay,
                    originator_control,
                    ..Marking::new(tlp, purposes)
                }
            },
        )
}

fn headers() -> impl Strategy<Value = Header> {
    (
        select(members()),
        select(Kind::ALL),
        any::<bool>(),
        markings(),
        proptest::option::of(0u32..9),
        proptest::option::of(select(Tlp::ALL)),
    )
        .prop_map(|(origin, kind, exercise, marking, least_count, stricter)| {
            let mut header = header(origin.as_str(), kind, SectionTag::ALL, marking);
            header.exercise = exercise;
            for entry in &mut header.sections {
                match entry.tag {
                    SectionTag::Cells => entry.least_count = least_count,
                    SectionTag::Narrative => {
                        entry.stricter = stricter.map(|tlp| SectionMarking {
                            tlp: Some(tlp.max(header.marking.tlp)),
                            ..SectionMarking::default()
                        });
                    }
                    SectionTag::Subject
                    | SectionTag::Assessment
                    | SectionTag::Source
                    | SectionTag::Persons
                    | SectionTag::Attachments => {}
                }
            }
            header
        })
}

fn facts() -> impl Strategy<Value = Facts> {
    (seldom(), seldom(), seldom(), any::<bool>()).prop_map(
        |(expired, review_due, grant_active, approved)| Facts {
            expired,
            review_due,
            grant_active,
            approved,
        },
    )
}

fn cases() -> impl Strategy<Value = Case> {
    (
        select(Action::ALL),
        [select(members()), select(members()), select(members())],
        any::<[bool; 2]>(),
        headers(),
        facts(),
    )
        .prop_map(|(action, [here, to, via], [own, direct], header, facts)| {
            // Half of the questions concern own or directly delivered records.
            let here = if own && action.sends() {
                header.origin.clone()
            } else {
                here
            };
            let via = if direct { header.origin.clone() } else { via };
            let action = match action {
                Action::Release | Action::Relay if here == header.origin => Action::Release,
                Action::Release | Action::Relay => Action::Relay,
                Action::Admit | Action::Consult | Action::Score | Action::Export => action,
            };
            let to = if action.sends() { to } else { here.clone() };
            Case {
                action,
                here,
                to,
                via,
                header,
                facts,
            }
        })
}

/// Conditions for the policies of a bundle: valid ones, some that fail to evaluate, some that hold.
const CONDITIONS: &[&str] = &[
    r#"principal.country == "BR""#,
    r#"principal.kind == Portcullis::AuthorityKind::"hub""#,
    r#"principal.regime != Portcullis::Regime::"led""#,
    r#"principal.clients.contains(context.here)"#,
    r#"context.section.tag == Portcullis::SectionTag::"persons""#,
    r#"context.section has least_count && context.section.least_count < 7"#,
    // Fails for every section with a least count above zero.
    r#"context.section has least_count &&
       context.section.least_count + 9223372036854775807 < 0"#,
    r#"context.marking.pap == Portcullis::Pap::"RED""#,
    r#"context.marking has release_to && context.marking.release_to.contains(context.via)"#,
    r#"context.via_hub || context.direct"#,
    r#"context.grant_active"#,
    r#"!context.approved"#,
    r#"resource.exercise"#,
    r#"resource.origin == Portcullis::Authority::"police""#,
    r#"resource.audience_countries.contains("NL")"#,
    r#"resource.source_code == Portcullis::SourceCode::"B""#,
];

fn forbids() -> impl Strategy<Value = String> {
    let actions = ["action", r#"action in Portcullis::Action::"disclose""#];
    let annotations = ["", r#"@held("a person looks at it")"#];
    (
        select(annotations.to_vec()),
        select(actions.to_vec()),
        select(CONDITIONS),
    )
        .prop_map(|(annotation, action, condition)| {
            format!("{annotation} forbid (principal, {action}, resource) when {{ {condition} }};\n")
        })
}

/// Returns the baseline's outcome as docs/policy.md describes it in words.
fn model(case: &Case, entry: &SectionEntry) -> Permission {
    let marking = case.header.section_marking(entry);
    let part = Part::of(case, &marking, entry);
    let allowed = part.controls()
        && part.structure()
        && !case.facts.expired
        && match case.action {
            Action::Release | Action::Relay | Action::Admit => {
                part.label() && part.hops() && part.recipient() && part.list()
            }
            Action::Consult => true,
            Action::Score => part.scored(),
            Action::Export => part.exported(),
        };
    match (allowed, part.waits()) {
        (true, false) => Permission::Allow,
        (true, true) => Permission::Hold,
        (false, _) => Permission::Deny,
    }
}

struct Part<'a> {
    case: &'a Case,
    marking: &'a Marking,
    entry: &'a SectionEntry,
    here: &'a Authority,
    to: &'a Authority,
    via: &'a Authority,
    origin: &'a Authority,
}

impl<'a> Part<'a> {
    fn of(case: &'a Case, marking: &'a Marking, entry: &'a SectionEntry) -> Self {
        let member = |id: &AuthorityId| &REGISTER.authorities[id];
        Self {
            case,
            marking,
            entry,
            here: member(&case.here),
            to: member(&case.to),
            via: member(&case.via),
            origin: member(&case.header.origin),
        }
    }

    fn structure(&self) -> bool {
        let own = self.origin.id == self.here.id;
        match self.case.action {
            Action::Release => own && self.to.id != self.here.id,
            Action::Relay => {
                let back = self.to.id == self.origin.id || self.to.id == self.via.id;
                !own && self.to.id != self.here.id && !back
            }
            Action::Admit => !own,
            Action::Consult | Action::Score | Action::Export => true,
        }
    }

    fn named(&self) -> bool {
        let list = self.marking.release_to.as_ref();
        list.is_some_and(|list| list.contains(&self.to.id))
    }

    fn list(&self) -> bool {
        self.marking.release_to.is_none() || self.named()
    }

    /// Returns whether the record goes from its originator straight to the receiver.
    fn straight(&self) -> bool {
        match self.case.action {
            Action::Release => true,
            Action::Admit => self.via.id == self.origin.id,
            Action::Relay | Action::Consult | Action::Score | Action::Export => false,
        }
    }

    /// Returns the authority that passes the record on, if it does not come straight.
    fn passer(&self) -> &Authority {
        if self.case.action == Action::Relay {
            self.here
        } else {
            self.via
        }
    }

    fn label(&self) -> bool {
        let granted = self.case.facts.grant_active;
        let community = self
            .to
            .communities
            .iter()
            .any(|it| self.origin.communities.contains(it));
        let client = |of: &Authority| of.clients.contains(&self.to.id);
        let chosen = self.marking.release_to.is_some() || granted;
        let row = match self.marking.tlp {
            Tlp::Clear => true,
            Tlp::Green => chosen || community,
            Tlp::Amber if self.straight() => chosen || community || client(self.origin),
            Tlp::Amber => {
                granted
                    || client(self.passer())
                    || (self.passer().kind == AuthorityKind::Hub
                        && (chosen || community || client(self.origin)))
            }
            Tlp::AmberStrict => granted || (self.straight() && (chosen || community)),
            Tlp::Red => self.straight() && self.named(),
        };
        let abroad = self.to.regime == LegalRegime::ThirdCountry;
        row && (!abroad || self.marking.tlp < Tlp::Amber || self.named())
    }

    fn hops(&self) -> bool {
        let stopped =
            self.marking.handling.h2 || self.marking.originator_control || !self.marking.relay;
        let onward = !stopped || self.straight() || self.case.facts.grant_active;
        let hub = self.to.kind == AuthorityKind::Hub;
        let kept_from_hubs = stopped || self.marking.tlp == Tlp::AmberStrict;
        onward && (!hub || !kept_from_hubs || self.named())
    }

    fn recipient(&self) -> bool {
        use Purpose::{LawEnforcement, PortSecurity, Statistics};
        use SectionTag::{Assessment, Attachments, Cells, Narrative, Persons, Source, Subject};
        let purposes = &self.marking.purposes;
        let tag = self.entry.tag;
        let count = self.entry.least_count.unwrap_or(0);
        let crime = !self.marking.handling.h0 || purposes.contains(&LawEnforcement);
        let only_crime = *purposes == BTreeSet::from([LawEnforcement]);
        let led = self.to.regime != LegalRegime::Gdpr || !only_crime;
        led && match self.to.kind {
            AuthorityKind::Customs => crime && (tag != Cells || count >= 1),
            AuthorityKind::Police => {
                let fits = purposes.contains(&LawEnforcement) || purposes.contains(&Statistics);
                crime && fits && (tag != Cells || count >= 5)
            }
            AuthorityKind::Hub => {
                let kept = matches!(tag, Source | Persons);
                crime && (tag != Cells || count >= 5) && (!kept || self.named())
            }
            AuthorityKind::PortAuthority | AuthorityKind::PrivateOperator => {
                let advisory = self.case.header.kind == Kind::Advisory;
                let seen = matches!(tag, Subject | Assessment)
                    || (advisory && matches!(tag, Narrative | Attachments));
                !self.marking.handling.h0 && purposes.contains(&PortSecurity) && seen
            }
        }
    }

    /// Returns whether the originator may report controls, if the record does.
    fn controls(&self) -> bool {
        let kind = self.case.header.kind;
        let reports = matches!(kind, Kind::Outcome | Kind::RiskProfile);
        let own_score = self.case.action == Action::Score && self.origin.id == self.here.id;
        let asked = matches!(
            self.case.action,
            Action::Release | Action::Relay | Action::Admit | Action::Score
        );
        let led = matches!(self.origin.regime, LegalRegime::Led | LegalRegime::Both);
        let may = match self.origin.kind {
            AuthorityKind::Customs | AuthorityKind::Police => led,
            AuthorityKind::Hub => led && kind == Kind::RiskProfile,
            AuthorityKind::PortAuthority | AuthorityKind::PrivateOperator => false,
        };
        !asked || !reports || own_score || may
    }

    fn scored(&self) -> bool {
        let statistics = BTreeSet::from([Purpose::Statistics]);
        !self.case.header.exercise && self.marking.purposes != statistics
    }

    fn exported(&self) -> bool {
        let codes = &self.marking.handling;
        let bound = codes.h0 || codes.h2 || codes.h3.is_some() || self.marking.originator_control;
        let others = self.marking.tlp == Tlp::Clear && (self.case.facts.grant_active || !bound);
        let own = self.origin.id == self.here.id;
        !self.case.header.exercise && self.marking.tlp != Tlp::Red && (own || others)
    }

    fn waits(&self) -> bool {
        let h3 = self.marking.handling.h3.is_some();
        let due = self.case.facts.review_due;
        let listed = self.marking.release_to.is_some();
        let waits = match self.case.action {
            Action::Release => (h3 && !listed) || due,
            Action::Relay => h3 || due,
            Action::Admit => h3,
            Action::Consult | Action::Score | Action::Export => false,
        };
        waits && !self.case.facts.approved
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn the_baseline_does_what_its_document_says(case in cases()) {
        let model: Vec<Permission> =
            case.header.sections.iter().map(|entry| model(&case, entry)).collect();
        let decision = case.decide(&BASELINE);
        let sections = decision.sections().iter();
        let outcomes: Vec<Permission> = sections.map(|it| it.verdict.outcome).collect();
        prop_assert_eq!(outcomes, model);
    }

    #[test]
    fn nothing_fails_to_evaluate_and_every_denial_has_a_reason(case in cases()) {
        case.with_request(&ROSTER, |request| {
            for section in BASELINE.decide(request).sections() {
                prop_assert_eq!(&section.verdict.errors, &Vec::<String>::new());
                let to_itself = case.action.sends() && case.to == case.here;
                let own = case.action == Action::Admit && case.here == case.header.origin;
                let named = !section.verdict.policies.is_empty();
                prop_assert!(named || to_itself || own);
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_key_says_all_that_cedar_gets(case in cases()) {
        case.with_request(&ROSTER, |request| {
            let mut builder = KeyBuilder::new(request);
            for entry in &case.header.sections {
                let marking = case.header.section_marking(entry);
                let key = builder.section(&marking, entry);
                let question = Question::decode(key).unwrap();
                prop_assert_eq!(question.action, case.action);
                prop_assert_eq!(question.facts, case.facts);
                prop_assert_eq!(question.principal.id, case.to.as_str());
                prop_assert_eq!(question.here.id, case.here.as_str());
                prop_assert_eq!(question.via.id, case.via.as_str());
                prop_assert_eq!(question.origin.id, case.header.origin.as_str());
                let origin = &REGISTER.authorities[&case.header.origin];
                prop_assert_eq!(question.origin.kind, origin.kind);
                prop_assert_eq!(question.origin.regime, origin.regime);
                prop_assert_eq!(question.kind, case.header.kind);
                prop_assert_eq!(question.exercise, case.header.exercise);
                prop_assert_eq!(question.tag, entry.tag);
                prop_assert_eq!(question.least_count, entry.least_count);
                prop_assert_eq!(question.marking.tlp, marking.tlp);
                prop_assert_eq!(question.marking.pap, marking.pap);
                prop_assert_eq!(question.marking.h2, marking.handling.h2);
                prop_assert_eq!(question.marking.h3, marking.handling.h3.is_some());
                let purposes: BTreeSet<Purpose> =
                    question.marking.purposes.iter().copied().collect();
                prop_assert_eq!(purposes, marking.purposes.clone());
                let list = question.marking.release_to.map(|list| {
                    list.into_iter().map(id).collect::<BTreeSet<_>>()
                });
                prop_assert_eq!(list, marking.release_to.clone());
                // A truncated key is no key.
                let shorter = key.split_last().map_or(&[][..], |(_, rest)| rest);
                prop_assert_eq!(Question::decode(shorter), None);
            }
            Ok(())
        })?;
    }

    #[test]
    fn no_bytes_make_the_reader_of_keys_panic(bytes: Vec<u8>) {
        let _ = Question::decode(&bytes);
    }
}

proptest! {
    // Each case validates two sets of policies.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_bundle_allows_what_the_baseline_denies_and_adding_a_forbid_never_widens(
        bundle in proptest::collection::vec(forbids(), 0..5),
        added in forbids(),
        cases in proptest::collection::vec(cases(), 24),
    ) {
        let own = engine(&bundle.concat());
        let tighter = engine(&(bundle.concat() + &added));
        for case in &cases {
            // Allow < Hold < Deny.
            let [base, own, tighter] =
                [&*BASELINE, &own, &tighter].map(|engine| case.decide(engine));
            prop_assert!(own.opened().is_within(base.opened()));
            prop_assert!(tighter.opened().is_within(own.opened()));
            let looser = base.sections().iter().zip(own.sections()).zip(tighter.sections());
            for ((base, own), tighter) in looser {
                prop_assert!(base.verdict.outcome <= own.verdict.outcome);
                prop_assert!(own.verdict.outcome <= tighter.verdict.outcome);
            }
        }
    }

    #[test]
    fn what_the_memo_answers_is_what_cedar_answers(
        bundle in proptest::collection::vec(forbids(), 0..5),
        questions in proptest::collection::vec((any::<bool>(), 0usize..3, cases()), 24),
    ) {
        // Bundles, epochs and facts differ from question to question.
        let engines = [engine(""), engine(&bundle.concat())];
        let rosters = epochs();
        for (own, epoch, case) in questions.iter().chain(&questions).flat_map(|it| [it, it]) {
            let engine = &engines[usize::from(*own)];
            case.with_request(&rosters[*epoch], |request| {
                let mut builder = KeyBuilder::new(request);
                for section in engine.decide(request).sections() {
                    let entry = request.header.entry(section.index).unwrap();
                    let marking = request.header.section_marking(entry);
                    let fresh = engine.answer_afresh(builder.section(&marking, entry));
                    prop_assert_eq!(&*section.verdict, &fresh);
                }
                Ok(())
            })?;
        }
        let counts = engines.each_ref().map(Engine::memo_counts);
        prop_assert!(counts.iter().any(|counts| counts.hits > 0));
    }
}

/// The register of the tests, and two later epochs in which facts that widen have changed.
fn epochs() -> [Roster; 3] {
    let mut second = register();
    second.epoch = 2;
    for authority in second.authorities.values_mut() {
        authority.communities = vec!["inland".to_owned()];
        authority.clients.clear();
    }
    let mut third = register();
    third.epoch = 3;
    for authority in third.authorities.values_mut() {
        authority.kind = AuthorityKind::PrivateOperator;
        authority.regime = LegalRegime::Gdpr;
        authority.clients = members();
    }
    [register(), second, third].map(|register| Roster::of(&register))
}

//! Held records in the terms of scoring: counts from profiles, and evidence on identifiers.
//!
//! The facts about an origin come from the register in force (its group and its role) and from the
//! policy in force (what may be heard from its kind), and from nowhere else. Only verified records are
//! accepted here.

use portcullis_protocol::{
    body::{Body, Cells, Finding, Selector},
    identifiers::AuthorityId,
    record::{Kind, SectionTag},
    register::AuthorityKind,
    verify::Excerpt,
};
use portcullis_scoring::{
    evidence::{Origin, OriginRole, SelectorEvidence, Voice, most_credible},
    received::{CellsPart, Edition, ProfileRecord, ReceivedError, Speaker},
    schema::Schema,
};

use portcullis_kernel::decide::Decider;

/// Returns the counts of a profile record, from sections whose smallest count is at least `least`.
///
/// # Errors
///
/// [`ReceivedError`] if a section cannot be taken for counts; then nothing of the record is taken.
pub fn cells(
    schema: &Schema,
    members: Members<'_>,
    record: &Excerpt,
    least: u32,
) -> Result<Vec<CellsPart>, ReceivedError> {
    let header = record.header();
    let speaker = if members.role(&header.origin) == OriginRole::Hub {
        Speaker::Hub(&header.origin)
    } else {
        Speaker::Authority(&header.origin)
    };
    let edition = Edition {
        sealed_at: header.sealed_at,
        root: header.root,
    };
    let said_by = |cells: &Cells| {
        let speak = std::iter::once(&header.origin).chain(&cells.contributors);
        ProfileRecord {
            record: record.id(),
            marking: header.marking_of(record.form()),
            evaluation: header.evaluation,
            is_by_own_policy: members.counts_by_own_policy(speak),
        }
    };
    record
        .sections()
        .iter()
        .filter(|open| open.body.least_count().is_some_and(|count| count >= least))
        .filter_map(|open| match &open.body {
            Body::Cells(cells) => Some(cells.clone()),
            Body::Subject(_)
            | Body::Assessment(_)
            | Body::Narrative(_)
            | Body::Source(_)
            | Body::Persons(_)
            | Body::Attachments(_) => None,
        })
        .map(|cells| {
            members.check_contributors(&cells)?;
            CellsPart::read(schema, speaker, edition, said_by(&cells), cells)
        })
        .collect()
}

/// Returns the evidence of a record on each identifier that it names; empty if it names none.
#[must_use]
pub fn on_selectors(members: Members<'_>, record: &Excerpt) -> Vec<SelectorEvidence> {
    let header = record.header();
    let Some(Body::Subject(subject)) = record.body(SectionTag::Subject) else {
        return Vec::new();
    };
    let outcome = match header.kind {
        Kind::Indicator | Kind::Alert => None,
        Kind::Outcome => match finding(record) {
            Some(finding) => Some(finding),
            None => return Vec::new(),
        },
        Kind::Advisory | Kind::RiskProfile => return Vec::new(),
    };
    let origin = members.origin(&header.origin);
    let selectors = subject.selectors.iter();
    selectors
        .map(|selector| SelectorEvidence {
            record: record.id(),
            root: header.root,
            origin: origin.clone(),
            selector: selector.clone(),
            evaluation: header.evaluation,
            marking: header.marking_of(record.form()),
            seen_at: header.sealed_at,
            outcome,
        })
        .collect()
}

/// Returns the finding of the control behind an outcome; `None` if the record has none.
#[must_use]
pub fn finding(record: &Excerpt) -> Option<Finding> {
    match record.body(SectionTag::Assessment) {
        Some(Body::Assessment(assessment)) => assessment.finding,
        Some(
            Body::Subject(_)
            | Body::Narrative(_)
            | Body::Source(_)
            | Body::Persons(_)
            | Body::Attachments(_)
            | Body::Cells(_),
        )
        | None => None,
    }
}

/// Returns whether two records name the same goods at the same time: a selector of one is one of the
/// other, and their windows overlap.
#[must_use]
pub fn share_goods(one: &Excerpt, other: &Excerpt) -> bool {
    let others = selectors(other);
    selectors(one).iter().any(|selector| {
        others.iter().any(|other| {
            (selector.kind(), selector.value()) == (other.kind(), other.value())
                && overlap(selector, other)
        })
    })
}

fn selectors(record: &Excerpt) -> &[Selector] {
    match record.body(SectionTag::Subject) {
        Some(Body::Subject(subject)) => &subject.selectors,
        Some(
            Body::Assessment(_)
            | Body::Narrative(_)
            | Body::Source(_)
            | Body::Persons(_)
            | Body::Attachments(_)
            | Body::Cells(_),
        )
        | None => &[],
    }
}

fn overlap(one: &Selector, other: &Selector) -> bool {
    match (one.window(), other.window()) {
        (Some(one), Some(other)) => one.from <= other.until && other.from <= one.until,
        (None, _) | (_, None) => true,
    }
}

/// The members of the federation as this authority sees and hears them.
#[derive(Clone, Copy)]
pub struct Members<'d>(pub &'d Decider);

impl Members<'_> {
    /// Returns the origin of a record with its group, role and voice. An authority that has left the
    /// register is its own group and is not heard.
    fn origin(self, authority: &AuthorityId) -> Origin {
        let Self(decider) = self;
        let member = decider.register().authorities.get(authority);
        let heard = decider.heard(authority);
        let [voice, baseline] = [heard.in_force, heard.baseline].map(|voice| Voice {
            outcomes: voice.outcomes,
            requests: voice.requests,
            believed: most_credible(voice.believed),
        });
        Origin {
            authority: authority.clone(),
            group: member.map_or_else(|| authority.to_string(), |member| member.group.clone()),
            role: self.role(authority),
            voice,
            baseline,
        }
    }

    fn role(self, authority: &AuthorityId) -> OriginRole {
        let Self(decider) = self;
        if authority == decider.own() {
            OriginRole::Own
        } else if self.is_hub(authority) {
            OriginRole::Hub
        } else {
            OriginRole::Member
        }
    }

    fn is_hub(self, authority: &AuthorityId) -> bool {
        let Self(decider) = self;
        let member = decider.register().authorities.get(authority);
        member.is_some_and(|member| member.kind == AuthorityKind::Hub)
    }

    /// Checks that every contributor is a member whose counts are heard. A hub makes no controls.
    fn check_contributors(self, cells: &Cells) -> Result<(), ReceivedError> {
        let Self(decider) = self;
        let counts = |authority: &AuthorityId| {
            let is_own = authority == decider.own();
            is_own || (!self.is_hub(authority) && decider.heard(authority).in_force.counts)
        };
        match cells
            .contributors
            .iter()
            .find(|authority| !counts(authority))
        {
            Some(authority) => Err(ReceivedError::NoRight(authority.clone())),
            None => Ok(()),
        }
    }

    /// Returns whether the baseline alone would not hear the counts of one of these authorities.
    fn counts_by_own_policy<'a>(self, mut of: impl Iterator<Item = &'a AuthorityId>) -> bool {
        of.any(|authority| {
            self.0
                .heard(authority)
                .is_only_by_own_policy(|voice| voice.counts)
        })
    }

    /// Returns whether the baseline alone would not hear outcomes of this authority.
    pub(crate) fn outcomes_by_own_policy(self, authority: &AuthorityId) -> bool {
        let heard = self.0.heard(authority);
        heard.is_only_by_own_policy(|voice| voice.outcomes)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        num::NonZeroUsize,
    };

    use portcullis_policy::{Bundle, Engine};
    use portcullis_protocol::{
        digest::Digest,
        keys::KeyUse,
        register::{LegalRegime, Register, SignedRegister},
    };
    use portcullis_testbed as testbed;

    use super::*;

    /// Terminals are heard on everything and believed, hubs on nothing.
    const OWN: &str = "permit (principal, action == Portcullis::Action::\"hear\", resource)\n\
        when { principal.kind == Portcullis::AuthorityKind::\"private-operator\" };\n\
        permit (principal, action == Portcullis::Action::\"believe\", resource)\n\
        when { principal.kind == Portcullis::AuthorityKind::\"private-operator\" };\n\
        forbid (principal, action in [Portcullis::Action::\"hear\", Portcullis::Action::\"believe\"], resource)\n\
        when { principal.kind == Portcullis::AuthorityKind::\"hub\" };";

    /// Makes antwerp's decider with these policies, in an epoch that differs so.
    fn decider(own: &str, change: impl FnOnce(&mut Register)) -> Decider {
        let present = testbed::register();
        let mut next = present.register().clone();
        next.epoch = 2;
        next.previous = Some(present.digest());
        change(&mut next);
        let mut signed = SignedRegister::unsigned(&next).unwrap();
        signed.sign(&testbed::key(9, KeyUse::Governance)).unwrap();
        let files = BTreeMap::from([("own.cedar".to_owned(), own.to_owned())]);
        let memo = NonZeroUsize::new(8).unwrap();
        let engine = Engine::new(Bundle::from_files(&files).unwrap(), memo).unwrap();
        let next = present.next(signed).unwrap();
        Decider::new(next, engine, "antwerp".parse().unwrap()).unwrap()
    }

    /// Returns what counts of an authority's word: outcomes, requests, and the best evaluation.
    fn voice(decider: &Decider, authority: &str) -> (bool, bool, String) {
        let Voice {
            outcomes,
            requests,
            believed,
        } = Members(decider).origin(&authority.parse().unwrap()).voice;
        let believed = believed.map_or_else(|| "-".to_owned(), |best| best.to_string());
        (outcomes, requests, believed)
    }

    #[track_caller]
    fn check(decider: &Decider, authority: &str, outcomes: bool, requests: bool, believed: &str) {
        let expected = (outcomes, requests, believed.to_owned());
        assert_eq!(voice(decider, authority), expected, "{authority}");
    }

    /// Attack M11: the voice of an authority is that of its kind, as policy has it.
    #[test]
    fn an_origin_has_the_voice_that_policy_gives_its_kind() {
        let baseline = decider("", |_| ());
        check(&baseline, "antwerp", true, true, "A1");
        check(&baseline, "rotterdam", true, false, "A1");
        check(&baseline, "hub", false, false, "B2");
        check(&baseline, "terminal", false, false, "X3");
        let own = decider(OWN, |_| ());
        check(&own, "rotterdam", true, false, "A1");
        check(&own, "hub", false, false, "-");
        check(&own, "terminal", true, true, "A1");
        let terminal = Members(&own).origin(&"terminal".parse().unwrap());
        let before = Members(&baseline).origin(&"terminal".parse().unwrap());
        assert_eq!(terminal.baseline, before.voice);
        assert!(Members(&own).outcomes_by_own_policy(&terminal.authority));
        assert!(!Members(&own).outcomes_by_own_policy(&"rotterdam".parse().unwrap()));
    }

    /// An authority that left, or never came, is of no kind: no policy gives it a voice.
    #[test]
    fn who_is_not_in_the_register_is_not_heard_whatever_it_was() {
        for own in ["", OWN] {
            let left = decider(own, |register| {
                register.authorities.remove(&"terminal".parse().unwrap());
            });
            check(&left, "terminal", false, false, "-");
            check(&left, "never-heard-of", false, false, "-");
            let origin = Members(&left).origin(&"terminal".parse().unwrap());
            assert_eq!(
                (origin.group.as_str(), origin.role),
                ("terminal", OriginRole::Member)
            );
        }
    }

    /// A hub's sum names only those who are heard on counts themselves. Those of a third country counted
    /// if a hub repeated them.
    #[test]
    fn a_sum_names_those_alone_whose_counts_are_heard() {
        let cells = |names: &[&str]| Cells {
            schema: Digest::from_bytes([0; 32]),
            period: "2020".to_owned(),
            contributors: names
                .iter()
                .map(|name| name.parse().unwrap())
                .collect::<BTreeSet<_>>(),
            part: 1,
            parts: 1,
            cells: Vec::new(),
        };
        let counts = |decider: &Decider, names: &[&str]| {
            Members(decider).check_contributors(&cells(names)).is_ok()
        };
        let baseline = decider("", |_| ());
        assert!(counts(&baseline, &["rotterdam", "antwerp"]));
        for name in ["terminal", "hub", "never-heard-of"] {
            assert!(!counts(&baseline, &["rotterdam", name]), "{name}");
        }
        assert!(counts(&decider(OWN, |_| ()), &["rotterdam", "terminal"]));
        let abroad = decider("", |register| {
            let rotterdam = register.authorities.get_mut(&"rotterdam".parse().unwrap());
            rotterdam.unwrap().regime = LegalRegime::ThirdCountry;
        });
        assert!(!counts(&abroad, &["rotterdam"]));
        let own = decider(OWN, |_| ());
        let of = |names: &[&str]| {
            let names: Vec<AuthorityId> = names.iter().map(|name| name.parse().unwrap()).collect();
            Members(&own).counts_by_own_policy(names.iter())
        };
        assert!(of(&["rotterdam", "terminal"]));
        assert!(!of(&["rotterdam", "antwerp"]));
    }
}

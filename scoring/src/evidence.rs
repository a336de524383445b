//! Weights of indicators and outcomes on a consignment's identifiers.
//!
//! The likelihood ratio of an indicator is 1 + (largest ratio of its kind − 1) · reliability of its
//! origin · credibility of its evaluation · fraction left at its age. The ratio of an outcome
//! without a finding lies below 1: it is the miss rate of a control if the outcome is fully
//! believed, and nearer to 1 the less it is.
//!
//! Ten copies of one rumour count as one rumour: of the records with one root, only one counts.
//! Roots add up only if they are independent: those who speak for them are of different groups, none
//! is a hub, and all know their information themselves (information code 1 or 2). The weight of one
//! group is capped, and no record is more credible than policy allows the kind of its publisher. Evidence
//! outside its time window or past its deletion date is refused: it is set aside with the reason.

mod independence;

use std::collections::{BTreeMap, BTreeSet};

use portcullis_protocol::{
    body::{Finding, Selector, SelectorKind},
    evaluation::{Evaluation, InformationCode, SourceCode},
    identifiers::AuthorityId,
    marking::Marking,
    record::{RecordId, RootTag},
    time::Timestamp,
};

use self::independence::Claim;
use crate::{
    consignment::Consignment,
    decay::{DAY_MS, Decay},
    reliability::Reliabilities,
};

/// One record's evidence on one identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectorEvidence {
    /// The record.
    pub record: RecordId,
    /// The tag that the record shares with its copies.
    pub root: RootTag,
    /// The publisher.
    pub origin: Origin,
    /// The identifier, with its time window.
    pub selector: Selector,
    /// Evaluation of source and information.
    pub evaluation: Evaluation,
    /// The record's marking in the form that is held.
    pub marking: Marking,
    /// Time of sealing.
    pub seen_at: Timestamp,
    /// Result of the control; `None` for an indicator or an alert.
    pub outcome: Option<Finding>,
}

/// The publisher of a record, as the register lists it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The authority.
    pub authority: AuthorityId,
    /// Its group, for instance its parent ministry.
    pub group: String,
    /// Its role.
    pub role: OriginRole,
    /// The part of its word that counts.
    pub voice: Voice,
    /// The part that would count without the authority's own policies.
    pub baseline: Voice,
}

/// The part of a publisher's word that counts, as policy says of its kind. The default is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Voice {
    /// True if its outcomes of controls are heard.
    pub outcomes: bool,
    /// True if its requests to the finder are put before a person. Those of others are named and go
    /// no further.
    pub requests: bool,
    /// The most credible evaluation that a record of it may have, whatever it says of itself; `None`
    /// if it is not believed at all.
    pub believed: Option<Evaluation>,
}

/// Role of a publisher towards this authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OriginRole {
    /// This authority itself.
    Own,
    /// Another member.
    Member,
    /// A hub, which repeats what others told it.
    Hub,
}

impl Voice {
    /// Returns the credibility of a record with this evaluation.
    fn credibility(&self, evaluation: &Evaluation) -> f64 {
        let most = self.believed.as_ref().map_or(0.0, credibility);
        credibility(evaluation).min(most)
    }
}

/// Returns the most credible of these evaluations.
#[must_use]
pub fn most_credible(evaluations: impl IntoIterator<Item = Evaluation>) -> Option<Evaluation> {
    let worth =
        |one: &Evaluation, other: &Evaluation| credibility(one).total_cmp(&credibility(other));
    evaluations.into_iter().max_by(worth)
}

/// Weights for the identifiers of one kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KindWeight {
    /// The likelihood ratio of a fresh indicator that is certainly true; at least 1.
    pub largest_ratio: f64,
    /// Its decay with age.
    pub decay: Decay,
}

/// Options for weighing evidence. The defaults are expert choices, not measurements.
#[derive(Debug, Clone, PartialEq)]
pub struct EvidenceOptions {
    /// Weights of kinds for which [`KindWeight::of`] does not apply.
    pub kinds: BTreeMap<SelectorKind, KindWeight>,
    /// Share of the controls that miss what is there, from 0 to 1.
    pub miss_rate: f64,
    /// The most by which one group can move the log-odds.
    pub group_cap: f64,
}

impl Default for EvidenceOptions {
    fn default() -> Self {
        Self {
            kinds: BTreeMap::new(),
            miss_rate: 0.3,
            group_cap: 50.0_f64.ln(),
        }
    }
}

impl KindWeight {
    /// Returns the default weight of a kind. Identifiers that name fewer things weigh more, and
    /// those that are used again decay sooner.
    #[must_use]
    pub fn of(kind: SelectorKind) -> Self {
        let (largest_ratio, half_life_days) = match kind {
            SelectorKind::Container | SelectorKind::Ilu => (40.0, 14.0),
            SelectorKind::Plate => (20.0, 14.0),
            SelectorKind::BillOfLading | SelectorKind::Seal => (60.0, 30.0),
            SelectorKind::Imo | SelectorKind::Mmsi => (4.0, 60.0),
            SelectorKind::Eori | SelectorKind::Trader => (10.0, 180.0),
            SelectorKind::UnLocode | SelectorKind::HsCode => (1.5, 90.0),
        };
        let half_life_ms = half_life_days * DAY_MS;
        Self {
            largest_ratio,
            decay: Decay::HalfLife { half_life_ms },
        }
    }
}

/// Reason for which a record about an identifier of the consignment counts nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SetAside {
    /// The consignment's day lies outside the selector's time window.
    OutsideWindow,
    /// Its deletion date has passed.
    Expired,
    /// Policy believes no record of its publisher's kind.
    NotBelieved,
    /// It may rest on the same knowledge as the named record, which counts.
    NotIndependent(RecordId),
}

impl std::fmt::Display for SetAside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OutsideWindow => f.write_str("outside its time window"),
            Self::Expired => f.write_str("past its deletion date"),
            Self::NotBelieved => f.write_str("of a kind of authority that policy does not believe"),
            Self::NotIndependent(record) => write!(f, "not independent of {record}"),
        }
    }
}

/// One root that moves the log-odds.
#[derive(Debug)]
pub(crate) struct Root<'e> {
    /// The copy that counts.
    pub(crate) strongest: &'e SelectorEvidence,
    /// All copies, the one that counts included.
    pub(crate) copies: Vec<&'e SelectorEvidence>,
    pub(crate) log_odds: f64,
}

/// The evidence on one consignment, sorted by its effect.
#[derive(Debug)]
pub(crate) struct Weighed<'e> {
    /// The roots that move the log-odds.
    pub(crate) counted: Vec<Root<'e>>,
    /// All records about the consignment that are neither outside their window nor expired, whether
    /// they move anything or not.
    pub(crate) current: Vec<&'e SelectorEvidence>,
    /// Records that move nothing, each with the reason.
    pub(crate) set_aside: Vec<(RecordId, SetAside)>,
}

/// The part of what lowers the log-odds that is heard.
#[derive(Debug, Clone, Copy)]
enum Hearing<'l> {
    /// Everything but what these said.
    Without(&'l BTreeSet<AuthorityId>),
    /// Nothing of others.
    Raising,
}

impl Hearing<'_> {
    /// Returns whether a record that speaks against is heard.
    fn hears(self, item: &SelectorEvidence) -> bool {
        match self {
            Self::Without(left_out) => !left_out.contains(&item.origin.authority),
            Self::Raising => item.origin.role == OriginRole::Own,
        }
    }
}

/// Weighs records at one point in time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scales<'o> {
    pub(crate) options: &'o EvidenceOptions,
    pub(crate) reliabilities: &'o Reliabilities,
    pub(crate) now: Timestamp,
}

impl Scales<'_> {
    /// Sorts the evidence on `consignment`; evidence on others is ignored.
    pub(crate) fn weigh<'e>(
        &self,
        consignment: &Consignment,
        evidence: &'e [SelectorEvidence],
    ) -> Weighed<'e> {
        self.weigh_without(consignment, evidence, &BTreeSet::new())
    }

    /// Returns the most that the evidence on `consignment` can come to, whomever is left out and
    /// whoever of them had never sent anything: with all that raises it, and with nothing of others
    /// that lowers it. A weightiest selection of fewer claims, or of claims that weigh less, weighs
    /// less ([`independence`]).
    pub(crate) fn at_most(&self, consignment: &Consignment, evidence: &[SelectorEvidence]) -> f64 {
        self.weigh_as(consignment, evidence, Hearing::Raising)
            .log_odds()
    }

    /// Sorts the evidence on `consignment`, without what `left_out` said to lower the log-odds:
    /// their controls that found nothing, and their outcomes of others' indicators.
    pub(crate) fn weigh_without<'e>(
        &self,
        consignment: &Consignment,
        evidence: &'e [SelectorEvidence],
        left_out: &BTreeSet<AuthorityId>,
    ) -> Weighed<'e> {
        self.weigh_as(consignment, evidence, Hearing::Without(left_out))
    }

    fn weigh_as<'e>(
        &self,
        consignment: &Consignment,
        evidence: &'e [SelectorEvidence],
        hearing: Hearing<'_>,
    ) -> Weighed<'e> {
        let mut set_aside = Vec::new();
        let mut current = Vec::new();
        for item in evidence.iter().filter(|item| item.is_about(consignment)) {
            match item.obstacle(consignment, self.now) {
                Some(why) => set_aside.push((item.record, why)),
                None => current.push(item),
            }
        }
        let (believed, others): (Vec<_>, Vec<_>) = current
            .iter()
            .copied()
            .partition(|item| item.origin.voice.believed.is_some());
        let others = others.iter();
        set_aside.extend(others.map(|item| (item.record, SetAside::NotBelieved)));
        let (speaks_for, speaks_against): (Vec<_>, Vec<_>) = believed
            .iter()
            .filter(|item| !item.speaks_against() || hearing.hears(item))
            .partition(|item| !item.speaks_against());
        let mut counted = Vec::new();
        for side in [speaks_for, speaks_against] {
            let (roots, dependent) = self.roots(side, hearing);
            set_aside.extend(dependent);
            counted.extend(roots);
        }
        Weighed {
            counted,
            current,
            set_aside,
        }
    }

    /// Returns the roots that count, the strongest first, and the records that do not count.
    fn roots<'e>(
        &self,
        items: Vec<&'e SelectorEvidence>,
        hearing: Hearing<'_>,
    ) -> (Vec<Root<'e>>, Vec<(RecordId, SetAside)>) {
        let cap = self.options.group_cap;
        let claims = items.iter().map(|item| Claim {
            item,
            group: &item.origin.group,
            log_odds: self.log_odds(item, hearing).clamp(-cap, cap),
        });
        let counted = independence::counted(claims);
        let Some(first) = counted.first() else {
            return (Vec::new(), Vec::new());
        };
        let because = SetAside::NotIndependent(first.item.record);
        let counts =
            |item: &SelectorEvidence| counted.iter().any(|claim| claim.item.root == item.root);
        let set_aside = items.iter().filter(|item| !counts(item));
        let set_aside = set_aside.map(|item| (item.record, because)).collect();
        let roots = counted.iter().map(|claim| Root {
            strongest: claim.item,
            copies: items
                .iter()
                .copied()
                .filter(|item| item.root == claim.item.root)
                .collect(),
            log_odds: claim.log_odds,
        });
        (roots.collect(), set_aside)
    }

    /// Returns the logarithm of the likelihood ratio of one record.
    fn log_odds(&self, item: &SelectorEvidence, hearing: Hearing<'_>) -> f64 {
        let kind = item.selector.kind();
        let weight = self
            .options
            .kinds
            .get(&kind)
            .copied()
            .unwrap_or_else(|| KindWeight::of(kind));
        let origin = &item.origin.authority;
        let reliability = match hearing {
            Hearing::Without(left_out) => self.reliabilities.without(origin, left_out),
            Hearing::Raising => self.reliabilities.extreme(origin, !item.speaks_against()),
        };
        let strength = reliability.mean()
            * item.origin.voice.credibility(&item.evaluation)
            * weight.decay.left(self.now.millis_since(item.seen_at));
        let ratio = match item.outcome {
            None | Some(Finding::Found) => 1.0 + (weight.largest_ratio - 1.0) * strength,
            Some(Finding::NotFound) => 1.0 - (1.0 - self.options.miss_rate) * strength,
        };
        ratio.ln()
    }
}

impl Weighed<'_> {
    /// Returns the sum of the roots that move the log-odds.
    pub(crate) fn log_odds(&self) -> f64 {
        self.counted.iter().map(|root| root.log_odds).sum()
    }

    /// Returns the other authorities that said anything to lower the log-odds: they found nothing in
    /// the consignment, or in goods that one of its indicators' publishers had named; or they
    /// confirmed a publisher who found nothing in the consignment, so that it is believed more.
    pub(crate) fn lowered_by(&self, reliabilities: &Reliabilities) -> BTreeSet<AuthorityId> {
        let against = self.current.iter().filter(|item| item.speaks_against());
        let against = against
            .filter(|item| item.origin.role != OriginRole::Own)
            .map(|item| &item.origin.authority);
        let graded: BTreeSet<(&AuthorityId, Finding)> = self
            .current
            .iter()
            .map(|item| match item.speaks_against() {
                true => (&item.origin.authority, Finding::Found),
                false => (&item.origin.authority, Finding::NotFound),
            })
            .collect();
        let graded = graded
            .into_iter()
            .flat_map(|(origin, finding)| reliabilities.found_so_by(origin, finding));
        against.chain(graded).cloned().collect()
    }
}

impl SelectorEvidence {
    /// Returns whether it counts, or counts for more, by the authority's own policies alone.
    pub(crate) fn is_by_own_policy(&self) -> bool {
        let Origin {
            voice, baseline, ..
        } = &self.origin;
        let is_heard = self.outcome.is_some() && voice.outcomes && !baseline.outcomes;
        let worth = [voice, baseline].map(|voice| voice.credibility(&self.evaluation));
        is_heard || worth.first() > worth.last()
    }

    /// Returns whether it is a control that found nothing.
    fn speaks_against(&self) -> bool {
        self.outcome == Some(Finding::NotFound)
    }

    fn is_about(&self, consignment: &Consignment) -> bool {
        consignment
            .identifiers()
            .iter()
            .any(|identifier| identifier.is_named_by(&self.selector, consignment.year()))
    }

    fn obstacle(&self, consignment: &Consignment, now: Timestamp) -> Option<SetAside> {
        if self.marking.delete_at.is_some_and(|end| end <= now) {
            return Some(SetAside::Expired);
        }
        let outside = self.selector.window().is_some_and(|window| {
            consignment.day_ends() < window.from || window.until < consignment.day_begins()
        });
        outside.then_some(SetAside::OutsideWindow)
    }
}

/// Returns the credibility of a record, between 0 and 1: the value of the source's code times that
/// of the information's. The values follow the weights that MISP gives the Admiralty scale (A 100,
/// B 75, D 25 for a mostly unreliable source, F 50 for one that cannot be judged; 1 100, 2 75, 3
/// 50, 4 25).
#[must_use]
pub fn credibility(evaluation: &Evaluation) -> f64 {
    let source = match evaluation.source {
        SourceCode::A => 1.0,
        SourceCode::B => 0.75,
        SourceCode::C => 0.25,
        SourceCode::X => 0.5,
    };
    let information = match evaluation.information {
        InformationCode::One => 1.0,
        InformationCode::Two => 0.75,
        InformationCode::Three => 0.5,
        InformationCode::Four => 0.25,
    };
    source * information
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::{consignment, day, indicator};

    const DAY: i64 = 86_400_000;

    fn weighed<R>(items: &[SelectorEvidence], look: impl FnOnce(Weighed<'_>) -> R) -> R {
        weighed_with(&EvidenceOptions::default(), items, look)
    }

    fn weighed_with<R>(
        options: &EvidenceOptions,
        items: &[SelectorEvidence],
        look: impl FnOnce(Weighed<'_>) -> R,
    ) -> R {
        let reliabilities = Reliabilities::default();
        let scales = Scales {
            options,
            reliabilities: &reliabilities,
            now: day(),
        };
        look(scales.weigh(&consignment(), items))
    }

    fn sum(items: &[SelectorEvidence]) -> f64 {
        weighed(items, |all| {
            all.counted.iter().map(|root| root.log_odds).sum()
        })
    }

    #[track_caller]
    fn check(items: &[SelectorEvidence], ratio: f64) {
        let sum = sum(items);
        assert!(
            (sum - ratio.ln()).abs() < 1e-9,
            "{} is not {ratio}",
            sum.exp()
        );
    }

    /// Returns [`indicator`] with another evaluation.
    fn evaluated(n: u8, code: &str) -> SelectorEvidence {
        SelectorEvidence {
            evaluation: code.parse().unwrap(),
            ..indicator(n)
        }
    }

    #[test]
    fn a_ratio_is_made_of_kind_reliability_credibility_and_age() {
        // Container 40, half-life 14 days; Beta(4, 1) has mean 0.8; B 0.75, information 2 0.75.
        check(&[indicator(1)], 1.0 + 39.0 * 0.8);
        check(&[evaluated(1, "B2")], 1.0 + 39.0 * 0.8 * 0.75 * 0.75);
        let mut old = evaluated(1, "B2");
        old.seen_at = day().plus_millis(-14 * DAY);
        check(&[old], 1.0 + 39.0 * 0.8 * 0.75 * 0.75 * 0.5);
    }

    #[test]
    fn a_control_that_found_nothing_leaves_the_miss_rate() {
        let mut outcome = indicator(1);
        outcome.outcome = Some(Finding::NotFound);
        check(&[outcome.clone()], 1.0 - 0.7 * 0.8);
        check(
            &[outcome, indicator(2)],
            (1.0 - 0.7 * 0.8) * (1.0 + 39.0 * 0.8),
        );
    }

    #[test]
    fn ten_copies_of_one_rumour_are_one_rumour() {
        let copies: Vec<SelectorEvidence> = (1..=10)
            .map(|n| SelectorEvidence {
                root: RootTag::from_bytes([1; 16]),
                ..evaluated(n, "B1")
            })
            .collect();
        check(&copies, 1.0 + 39.0 * 0.8 * 0.75);
        let records = weighed(&copies, |all| all.counted.first().unwrap().copies.len());
        assert_eq!(records, 10);
    }

    #[test]
    fn those_who_know_it_themselves_and_do_not_share_a_group_add_up() {
        let one = 1.0 + 39.0 * 0.8 * 0.75;
        check(&[evaluated(1, "A2"), evaluated(2, "B1")], one * one);
    }

    #[track_caller]
    fn only_the_first_counts(first: SelectorEvidence, second: SelectorEvidence) {
        let alone = sum(std::slice::from_ref(&first));
        let items = [first, second];
        assert!((sum(&items) - alone).abs() < 1e-12);
        let because = SetAside::NotIndependent(items[0].record);
        assert_eq!(
            weighed(&items, |all| all.set_aside),
            [(items[1].record, because)]
        );
    }

    #[test]
    fn whoever_may_rest_on_the_same_knowledge_does_not_add_up() {
        let second = || evaluated(2, "B1");
        let same_group = Origin {
            group: "ministry-1".to_owned(),
            ..second().origin
        };
        only_the_first_counts(
            indicator(1),
            SelectorEvidence {
                origin: same_group,
                ..second()
            },
        );
        let same_authority = Origin {
            authority: indicator(1).origin.authority,
            ..second().origin
        };
        only_the_first_counts(
            indicator(1),
            SelectorEvidence {
                origin: same_authority,
                ..second()
            },
        );
        let hub = Origin {
            role: OriginRole::Hub,
            ..second().origin
        };
        only_the_first_counts(
            indicator(1),
            SelectorEvidence {
                origin: hub,
                ..second()
            },
        );
        only_the_first_counts(indicator(1), evaluated(2, "A3"));
        only_the_first_counts(indicator(1), evaluated(2, "A4"));
    }

    /// Attack L10: a third member sent copies of the roots of two honest ones, and their
    /// corroboration was gone.
    #[test]
    fn copies_bind_nobody_else() {
        let (one, two) = (evaluated(1, "A2"), evaluated(2, "B1"));
        let copy = |of: &SelectorEvidence, n: u8| SelectorEvidence {
            root: of.root,
            record: RecordId::of_header(&[n, n]),
            ..evaluated(3, "X4")
        };
        let alone = sum(&[one.clone(), two.clone()]);
        let copies = [copy(&one, 3), copy(&two, 4)];
        let [first, second] = copies;
        assert!((sum(&[one, two, first, second]) - alone).abs() < 1e-12);
    }

    /// Attack M11: a private operator graded its own alert A1. Policy says by kind of authority how far
    /// each is believed.
    #[test]
    fn nobody_is_more_credible_than_policy_allows() {
        let by = |believed: Option<&str>| SelectorEvidence {
            origin: Origin {
                voice: Voice {
                    believed: believed.map(|code| code.parse().unwrap()),
                    ..indicator(1).origin.voice
                },
                ..indicator(1).origin
            },
            ..indicator(1)
        };
        for (believed, credibility) in [
            (Some("A1"), 1.0),
            (Some("B2"), 0.75 * 0.75),
            (Some("X3"), 0.5 * 0.5),
            (None, 0.0),
        ] {
            check(&[by(believed)], 1.0 + 39.0 * 0.8 * credibility);
        }
        // Its request is still there to be heard or named.
        let aside = weighed(&[by(None)], |all| (all.set_aside, all.current.len()));
        assert_eq!(
            aside,
            (vec![(indicator(1).record, SetAside::NotBelieved)], 1)
        );
        let modest = SelectorEvidence {
            evaluation: "C4".parse().unwrap(),
            ..by(Some("X3"))
        };
        check(&[modest], 1.0 + 39.0 * 0.8 * 0.25 * 0.25);
    }

    #[test]
    fn of_what_a_publisher_may_be_believed_the_most_credible_counts() {
        let most = |codes: &str| {
            let codes = codes.split_whitespace();
            most_credible(codes.map(|code| code.parse().unwrap())).map(|best| best.to_string())
        };
        assert_eq!(most("C4 B2 X1 X4").unwrap(), "B2");
        assert_eq!(most("X4 X3").unwrap(), "X3");
        assert_eq!(most(""), None);
    }

    #[test]
    fn hearsay_that_is_worth_more_than_all_who_know_counts_alone() {
        check(
            &[evaluated(1, "C2"), evaluated(2, "A3")],
            1.0 + 39.0 * 0.8 * 0.5,
        );
    }

    #[test]
    fn one_group_moves_no_more_than_its_cap() {
        let options = EvidenceOptions {
            group_cap: 2.0,
            ..EvidenceOptions::default()
        };
        let both = [indicator(1), indicator(2)];
        let sum: f64 = weighed_with(&options, &both, |all| {
            all.counted.iter().map(|root| root.log_odds).sum()
        });
        assert!((sum - 4.0).abs() < 1e-12, "{sum}");
    }

    #[test]
    fn a_reused_box_counts_on_the_days_of_its_window_only() {
        let moved = |days: i64| {
            let window = portcullis_protocol::body::Window {
                from: day().plus_millis(days * DAY),
                until: day().plus_millis(days * DAY + 3_600_000),
            };
            let kind = SelectorKind::Container;
            let value = crate::fixtures::CONTAINER;
            let selector = Selector::new(kind, value, Some(window)).unwrap();
            SelectorEvidence {
                selector,
                ..indicator(1)
            }
        };
        for (days, set_aside) in [(-1, 1), (0, 0), (1, 1)] {
            let found = weighed(&[moved(days)], |all| all.set_aside.len());
            assert_eq!(found, set_aside, "{days}");
        }
    }

    #[test]
    fn what_should_have_been_erased_counts_no_more() {
        let mut expired = indicator(1);
        expired.marking.delete_at = Some(day());
        let items = [expired];
        assert_eq!(
            weighed(&items, |all| (all.current.len(), all.set_aside)),
            (0, vec![(items[0].record, SetAside::Expired)])
        );
    }

    #[test]
    fn what_is_about_others_is_passed_over() {
        let window = indicator(1).selector.window();
        let selector = Selector::new(SelectorKind::Container, "MSKU0000080", window).unwrap();
        let other = SelectorEvidence {
            selector,
            ..indicator(1)
        };
        let seen = weighed(&[other], |all| all.current.len() + all.set_aside.len());
        assert_eq!(seen, 0);
    }

    fn any_indicator() -> impl Strategy<Value = SelectorEvidence> {
        let codes = prop::sample::select(vec!["A1", "A2", "B2", "B3", "C1", "X4"]);
        let roles = prop::sample::select(vec![OriginRole::Member, OriginRole::Hub]);
        let believed = prop::option::of(prop::sample::select(vec!["A1", "B2", "X3"]));
        (1u8..9, 1u8..5, codes, roles, believed).prop_map(|(n, root, code, role, believed)| {
            let origin = Origin {
                // Two authorities are of each group.
                group: format!("ministry-{}", n / 2),
                role,
                voice: Voice {
                    believed: believed.map(|code| code.parse().unwrap()),
                    ..indicator(n).origin.voice
                },
                ..indicator(n).origin
            };
            SelectorEvidence {
                root: RootTag::from_bytes([root; 16]),
                origin,
                ..evaluated(n, code)
            }
        })
    }

    proptest! {
        #[test]
        fn no_indicator_makes_those_of_others_count_for_less(
            items in prop::collection::vec(any_indicator(), 0..8),
            more in prop::collection::vec(any_indicator(), 1..4),
        ) {
            let mut all = items.clone();
            all.extend(more.into_iter().zip(0u8..).map(|(item, n)| SelectorEvidence {
                record: RecordId::of_header(&[n, n, n]),
                ..item
            }));
            prop_assert!(sum(&all) >= sum(&items) - 1e-9);
        }

        #[test]
        fn repeating_what_is_known_never_adds(
            items in prop::collection::vec(any_indicator(), 1..6),
            again in any::<prop::sample::Index>(),
        ) {
            let mut more = items.clone();
            more.push(again.get(&items).clone());
            prop_assert!((sum(&more) - sum(&items)).abs() < 1e-9);
        }

        #[test]
        fn evidence_is_worth_no_less_than_its_strongest_and_no_more_than_the_groups_allow(
            items in prop::collection::vec(any_indicator(), 1..8),
        ) {
            let strongest =
                items.iter().map(|item| sum(std::slice::from_ref(item))).fold(0.0, f64::max);
            let groups: std::collections::BTreeSet<&str> =
                items.iter().map(|item| item.origin.group.as_str()).collect();
            let all = sum(&items);
            prop_assert!(all >= strongest - 1e-9);
            prop_assert!(all <= strongest * groups.len() as f64 + 1e-9);
        }
    }
}

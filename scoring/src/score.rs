//! Scores of consignments, with their explanation.
//!
//! The log-odds of a finding are a sum of the base rate, the contribution of each level of the
//! profile, and that of indicators on the consignment's identifiers. Every summand is a
//! [`Contribution`] that names the records it rests on. A score inherits the strictest marking of
//! these records, so that it goes no further than they may.
//!
//! A score is for one audience: the caller passes only what that audience may see, in the pool and
//! as evidence. No other authority takes more from a score than [`bound`](crate::bound) allows; what
//! is not taken stands as a summand of its own and names who would have taken it. The software
//! recommends; a person decides.

use std::{collections::BTreeSet, sync::Arc};

use portcullis_protocol::{
    body::{Finding, SelectorKind},
    digest::Digest,
    evaluation::Evaluation,
    identifiers::AuthorityId,
    marking::Marking,
    record::{RecordId, RootTag},
    time::Timestamp,
};

use crate::{
    bound::{Bounded, Hearings, MOST_TAKEN, Silenced},
    consignment::Consignment,
    evidence::{EvidenceOptions, Root, Scales, SelectorEvidence, SetAside, Weighed},
    levels::{Levels, Node},
    profile::Counts,
    received::ProfileRecord,
    recommend::{Recommendation, Sampling, Thresholds},
    reliability::{Observation, Reliabilities},
    scorecard::Scorecard,
};

/// Kind of summand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The base: the rate at which controls find anything at all.
    Base,
    /// A level of the profile.
    Level {
        /// The level's name.
        level: String,
        /// The consignment's value at this level.
        value: String,
        /// The counts at this level for that value.
        counts: Counts,
    },
    /// An indicator or outcome on one of the consignment's identifiers.
    Selector {
        /// Kind of identifier.
        kind: SelectorKind,
        /// The identifier.
        value: String,
        /// Result of the control; `None` for an indicator.
        finding: Option<Finding>,
        /// True if the identifier was generated because the data has none.
        generated: bool,
        /// True if the consignment's file has it with a wrong check digit.
        unchecked: bool,
    },
    /// The part of what some authorities take that is more than each of them may.
    Bound {
        /// Those authorities, in order.
        authorities: Vec<AuthorityId>,
    },
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Base => f.write_str("base rate"),
            Self::Level {
                level,
                value,
                counts,
            } => write!(
                f,
                "{level} {value}: {} findings in {} controls",
                counts.findings(),
                counts.controls()
            ),
            Self::Selector {
                kind,
                value,
                finding,
                generated,
                unchecked,
            } => {
                let mark = match (*generated, *unchecked) {
                    (true, _) => " (generated)",
                    (false, true) => " (unchecked)",
                    (false, false) => "",
                };
                let finding = finding.map_or("indicated", Finding::name);
                write!(f, "{kind} {value}{mark}: {finding}")
            }
            Self::Bound { authorities } => {
                let names: Vec<&str> = authorities.iter().map(AsRef::as_ref).collect();
                write!(f, "given back: more than {} may take", names.join(", "))
            }
        }
    }
}

/// One summand of a score.
#[derive(Debug, Clone, PartialEq)]
pub struct Contribution {
    /// Kind of summand.
    pub what: What,
    /// Its contribution to the log-odds.
    pub log_odds: f64,
    /// The records it rests on; empty for the authority's own knowledge.
    pub records: Vec<RecordId>,
    /// The evaluations of these records, each once.
    pub evaluations: Vec<Evaluation>,
    /// The roots of these records, if they are indicators or outcomes.
    pub roots: Vec<RootTag>,
    /// Outcomes of other authorities that the reliability of the publisher rests on.
    pub graded_by: Vec<RecordId>,
    /// Those of all these records that count, or count for more, by the authority's own policies
    /// alone.
    pub by_own_policy: Vec<RecordId>,
}

/// Version of the model: the digest of its scorecard, its settings and the records of its counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ModelVersion(Digest);

impl std::fmt::Display for ModelVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{MODEL}-{:.12}", self.0.to_string())
    }
}

/// The form of the model.
const MODEL: &str = "levels-1";

/// The likelihood that a control finds something, with its explanation.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// The log-odds: the sum of the contributions.
    pub log_odds: f64,
    /// The probability of a finding.
    pub probability: f64,
    /// The probability in points from 0 to 100.
    pub points: u8,
    /// The recommended handling.
    pub recommendation: Recommendation,
    /// The summands, in the order of the model.
    pub contributions: Vec<Contribution>,
    /// Records about the consignment that add nothing, each with the reason.
    pub set_aside: Vec<(RecordId, SetAside)>,
    /// The strictest marking of all records it rests on; `None` if it rests on the authority's own
    /// knowledge alone.
    pub marking: Option<Marking>,
    /// The model that made it.
    pub model: ModelVersion,
}

impl Score {
    /// Returns the summand that adds most of those that something was found out for; `None` if none adds.
    #[must_use]
    pub fn reason(&self) -> Option<&Contribution> {
        let found_out = self.contributions.iter().filter(|part| match &part.what {
            What::Base | What::Bound { .. } => false,
            What::Level { .. } | What::Selector { .. } => part.log_odds > 0.0,
        });
        found_out.max_by(|one, other| one.log_odds.total_cmp(&other.log_odds))
    }
}

/// Settings of a [`Scorer`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// Options for weighing evidence on identifiers.
    pub evidence: EvidenceOptions,
    /// The reliability of each authority.
    pub reliabilities: Reliabilities,
    /// The least probabilities at which controls are recommended.
    pub thresholds: Thresholds,
    /// The share of consignments that is drawn for control whatever their scores; `None`: no
    /// sampling.
    pub sampling: Option<Sampling>,
}

/// Scores consignments for one audience.
#[derive(Debug, Clone)]
pub struct Scorer {
    levels: Levels,
    hearings: Arc<Hearings>,
    settings: Settings,
    /// The most that one authority takes from the log-odds.
    allowance: f64,
    model: ModelVersion,
    /// The strictest marking of the profiles.
    marking: Option<Marking>,
}

impl Scorer {
    /// Makes a scorer from summed counts and the scorecards calibrated on them.
    #[must_use]
    pub fn new(levels: Levels, hearings: Arc<Hearings>, settings: Settings) -> Self {
        let records = levels.sources().iter().flat_map(|source| &source.records);
        let marking = strictest(records.map(|record| &record.marking));
        let model = version(&levels, hearings.scorecard(), &settings);
        Self {
            allowance: settings.thresholds.least_step().min(MOST_TAKEN),
            levels,
            hearings,
            settings,
            model,
            marking,
        }
    }

    /// Returns the version of the model.
    #[must_use]
    pub const fn model(&self) -> ModelVersion {
        self.model
    }

    /// Returns the scorecards by which it is bounded.
    #[must_use]
    pub const fn hearings(&self) -> &Arc<Hearings> {
        &self.hearings
    }

    /// Returns the counts it rests on.
    #[must_use]
    pub const fn levels(&self) -> &Levels {
        &self.levels
    }

    /// Returns the log-odds from the profile alone, without explanation: enough to rank arrivals.
    #[must_use]
    pub fn profile_log_odds(&self, consignment: &Consignment) -> f64 {
        let path = self.levels.path(consignment);
        let nothing = Silenced::each(&BTreeSet::new(), |_| 0.0, || 0.0);
        let bounded = self
            .hearings
            .bounded(&self.levels, &path, &nothing, self.allowance);
        bounded.log_odds
    }

    /// Scores a consignment at the time `now`. Evidence about other consignments is ignored.
    #[must_use]
    pub fn score(
        &self,
        consignment: &Consignment,
        evidence: &[SelectorEvidence],
        now: Timestamp,
    ) -> Score {
        let scales = Scales {
            options: &self.settings.evidence,
            reliabilities: &self.settings.reliabilities,
            now,
        };
        let weighed = scales.weigh(consignment, evidence);
        let path = self.levels.path(consignment);
        let mut contributions = self.profile(consignment, &path);
        let selectors = weighed.counted.iter();
        contributions.extend(selectors.map(|root| self.selector(consignment, root)));
        let lowering = weighed.lowered_by(&self.settings.reliabilities);
        let silenced = Silenced::each(
            &lowering,
            |left_out| {
                scales
                    .weigh_without(consignment, evidence, left_out)
                    .log_odds()
            },
            || scales.at_most(consignment, evidence),
        );
        let bounded = self
            .hearings
            .bounded(&self.levels, &path, &silenced, self.allowance);
        contributions.extend(self.given_back(&bounded, &contributions, &path, &weighed));
        let log_odds = contributions
            .iter()
            .map(|contribution| contribution.log_odds)
            .sum::<f64>();
        let probability = 1.0 / (1.0 + (-log_odds).exp());
        let current = weighed.current.iter().map(|item| &item.marking);
        let graded = weighed.counted.iter().flat_map(|root| self.graded_by(root));
        let graded = graded.map(|observation| &observation.marking);
        Score {
            log_odds,
            probability,
            points: points(probability),
            recommendation: Recommendation::of(
                consignment,
                probability,
                &self.settings.thresholds,
                self.settings.sampling.as_ref(),
                &weighed.current,
            ),
            contributions,
            set_aside: weighed.set_aside,
            marking: strictest(self.marking.iter().chain(current).chain(graded)),
            model: self.model,
        }
    }

    /// Returns the base and the contribution of each level.
    fn profile(&self, consignment: &Consignment, path: &[Node]) -> Vec<Contribution> {
        let scorecard = self.hearings.scorecard();
        let counts = path.iter().map(|node| self.levels.counts_at(*node));
        let mut contributions = vec![self.resting_on(What::Base, scorecard.base(), Node::ROOT)];
        let added = scorecard.contributions(counts);
        let levels = self.levels.portions(consignment).zip(path.iter().skip(1));
        for (((level, value), node), log_odds) in levels.zip(added) {
            let what = What::Level {
                level: level.to_owned(),
                value: value.to_owned(),
                counts: self.levels.counts_at(*node),
            };
            contributions.push(self.resting_on(what, log_odds, *node));
        }
        contributions
    }

    /// Returns the summand that makes up for what the authorities left out would have taken; `None`
    /// if nobody is left out.
    fn given_back(
        &self,
        bounded: &Bounded,
        contributions: &[Contribution],
        path: &[Node],
        weighed: &Weighed<'_>,
    ) -> Option<Contribution> {
        if bounded.left_out.is_empty() {
            return None;
        }
        let sum: f64 = contributions.iter().map(|part| part.log_odds).sum();
        let is_left_out = |authority: &AuthorityId| bounded.left_out.contains(authority);
        let sources = path.iter().flat_map(|node| self.levels.sources_at(*node));
        let profiles: Vec<&ProfileRecord> = sources
            .filter(|source| is_left_out(&source.signer))
            .flat_map(|source| &source.records)
            .collect();
        let outcomes = weighed.current.iter().filter(|item| {
            item.outcome == Some(Finding::NotFound) && is_left_out(&item.origin.authority)
        });
        let outcomes: Vec<_> = outcomes.collect();
        let graded = weighed.counted.iter().flat_map(|root| self.graded_by(root));
        let graded = graded.filter(|told| told.observer.is_in(&bounded.left_out));
        let of_profiles = profiles.iter().map(|profile| profile.record);
        let of_outcomes = outcomes.iter().map(|outcome| outcome.record);
        let evaluations = profiles.iter().map(|profile| profile.evaluation);
        let evaluations = evaluations.chain(outcomes.iter().map(|outcome| outcome.evaluation));
        Some(Contribution {
            what: What::Bound {
                authorities: bounded.left_out.iter().cloned().collect(),
            },
            log_odds: bounded.log_odds - sum,
            records: once_each(of_profiles.chain(of_outcomes)),
            evaluations: once_each(evaluations),
            roots: Vec::new(),
            graded_by: once_each(graded.map(|told| told.outcome)),
            // What is given back does not count.
            by_own_policy: Vec::new(),
        })
    }

    fn resting_on(&self, what: What, log_odds: f64, node: Node) -> Contribution {
        let records: Vec<&ProfileRecord> = self
            .levels
            .sources_at(node)
            .flat_map(|source| &source.records)
            .collect();
        Contribution {
            what,
            log_odds,
            records: once_each(records.iter().map(|record| record.record)),
            evaluations: once_each(records.iter().map(|record| record.evaluation)),
            roots: Vec::new(),
            graded_by: Vec::new(),
            by_own_policy: once_each(
                records
                    .iter()
                    .filter(|record| record.is_by_own_policy)
                    .map(|record| record.record),
            ),
        }
    }

    fn selector(&self, consignment: &Consignment, root: &Root<'_>) -> Contribution {
        let selector = &root.strongest.selector;
        let named = consignment
            .identifiers()
            .iter()
            .find(|own| own.is_named_by(selector, consignment.year()));
        let copies = root.copies.iter().filter(|copy| copy.is_by_own_policy());
        let copies = copies.map(|copy| copy.record);
        let graded = self.graded_by(root).filter(|told| told.is_by_own_policy);
        let graded = graded.map(|told| told.outcome);
        Contribution {
            what: What::Selector {
                kind: selector.kind(),
                value: selector.value().to_owned(),
                finding: root.strongest.outcome,
                generated: named.is_some_and(|identifier| identifier.generated),
                unchecked: named.is_some_and(|identifier| identifier.unchecked),
            },
            log_odds: root.log_odds,
            records: once_each(root.copies.iter().map(|copy| copy.record)),
            evaluations: once_each(root.copies.iter().map(|copy| copy.evaluation)),
            roots: vec![root.strongest.root],
            graded_by: once_each(self.graded_by(root).map(|told| told.outcome)),
            by_own_policy: once_each(copies.chain(graded)),
        }
    }

    /// Returns the outcomes of others that the reliability of the publisher rests on.
    fn graded_by(&self, root: &Root<'_>) -> impl Iterator<Item = &Observation> {
        let publisher = &root.strongest.origin.authority;
        self.settings.reliabilities.told_by_others(publisher)
    }
}

fn once_each<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    items.collect::<BTreeSet<T>>().into_iter().collect()
}

fn strictest<'m>(markings: impl Iterator<Item = &'m Marking>) -> Option<Marking> {
    markings.fold(None, |so_far, marking| match so_far {
        None => Some(marking.clone()),
        Some(so_far) if so_far == *marking => Some(so_far),
        Some(so_far) => Some(so_far.strictest(marking)),
    })
}

/// Returns the probability in hundredths, rounded to the nearest.
fn points(probability: f64) -> u8 {
    let hundredths = (probability * 100.0).round();
    (0..=100)
        .rev()
        .find(|points| f64::from(*points) <= hundredths)
        .unwrap_or(0)
}

fn version(levels: &Levels, scorecard: &Scorecard, settings: &Settings) -> ModelVersion {
    let mut bytes = Vec::new();
    let numbers = [scorecard.base(), scorecard.shrinkage()];
    for number in numbers.iter().chain(scorecard.factors()) {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    for source in levels.sources() {
        bytes.extend_from_slice(source.period.as_str().as_bytes());
        for record in &source.records {
            bytes.extend_from_slice(record.record.as_bytes());
        }
    }
    let total = levels.total();
    bytes.extend_from_slice(&total.controls().to_be_bytes());
    bytes.extend_from_slice(&total.findings().to_be_bytes());
    // The settings hold only ordered maps and numbers, and do not show the seed; their text is the
    // same in every run.
    let settings = format!("{settings:?}");
    ModelVersion(Digest::labelled(
        "portcullis score model v1",
        &[&bytes, settings.as_bytes()],
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use portcullis_protocol::marking::{RequestedAction, Tlp};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        fixtures::{self, OFFICES, day, indicator},
        recommend::Control,
        scorecard::Calibration,
    };

    /// Office 13's scorer, from its own counts and those of `others`.
    fn scorer(others: &[&str]) -> Scorer {
        let (schema, history) = (fixtures::schema(), fixtures::history());
        let pool = fixtures::pool_of(&schema, &history, "13", others, 1);
        let levels = Levels::of(&schema, &pool);
        let own = fixtures::of_office(&history, "13");
        let hearings = Hearings::calibrated(&levels, own, Calibration::default()).unwrap();
        Scorer::new(levels, Arc::new(hearings), Settings::default())
    }

    static FEDERATED: LazyLock<(Scorer, Vec<Consignment>)> =
        LazyLock::new(|| (scorer(&OFFICES), fixtures::arriving()));

    fn asking(n: u8, action: RequestedAction) -> SelectorEvidence {
        let mut asking = indicator(n);
        asking.marking.requested_action = Some(action);
        asking
    }

    #[test]
    fn the_fast_path_is_the_score_without_evidence() {
        let scorer = scorer(&OFFICES);
        for row in fixtures::arriving().iter().take(200) {
            let whole = scorer.score(row, &[], day()).log_odds;
            assert!((scorer.profile_log_odds(row) - whole).abs() < 1e-9);
        }
    }

    #[test]
    fn a_score_rests_on_others_records_only_where_they_count() {
        let consignment = fixtures::consignment();
        let alone = scorer(&[]).score(&consignment, &[], day());
        assert_eq!(alone.marking, None);
        assert!(
            alone
                .contributions
                .iter()
                .all(|contribution| contribution.records.is_empty())
        );
        let federated = scorer(&OFFICES).score(&consignment, &[], day());
        let base = federated.contributions.first().unwrap();
        assert_eq!(
            (&base.what, base.records.len()),
            (&What::Base, OFFICES.len() - 1)
        );
        assert_eq!(federated.marking.unwrap().tlp, Tlp::Green);
        assert_ne!(federated.model, alone.model);
    }

    #[test]
    fn a_score_inherits_the_strictest_marking_even_of_what_adds_nothing() {
        let mut rumour = indicator(2);
        rumour.marking.tlp = Tlp::AmberStrict;
        rumour.origin.group = indicator(1).origin.group;
        let evidence = [indicator(1), rumour];
        let score = scorer(&OFFICES).score(&fixtures::consignment(), &evidence, day());
        assert_eq!(score.set_aside.len(), 1);
        assert_eq!(score.marking.unwrap().tlp, Tlp::AmberStrict);
    }

    #[test]
    fn a_generated_identifier_shows_in_the_explanation() {
        let score = scorer(&[]).score(&fixtures::consignment(), &[indicator(1)], day());
        let last = score.contributions.last().unwrap();
        assert_eq!(
            last.what.to_string(),
            "container CSQU3054383 (generated): indicated"
        );
        assert_eq!(last.records, [indicator(1).record]);
        assert_eq!(last.roots, [indicator(1).root]);
        assert_eq!(last.evaluations, [indicator(1).evaluation]);
    }

    #[test]
    fn the_more_discreet_request_is_put_beside_the_control_and_both_are_named() {
        let evidence = [
            asking(1, RequestedAction::SpecificCheck),
            asking(2, RequestedAction::Discreet),
        ];
        let score = scorer(&OFFICES).score(&fixtures::consignment(), &evidence, day());
        let recommendation = score.recommendation;
        assert_eq!(recommendation.action, Some(RequestedAction::Discreet));
        assert!(recommendation.as_requested.unwrap() <= Control::Document);
        let without = scorer(&OFFICES).score(
            &fixtures::consignment(),
            &[indicator(1), indicator(2)],
            day(),
        );
        assert_eq!(score.log_odds, without.log_odds);
        assert_eq!(recommendation.control, without.recommendation.control);
        assert!(recommendation.is_contested());
        assert_eq!(recommendation.asks.len(), 2);
    }

    /// A score names what the authority's own policies loosen and moves it.
    #[test]
    fn what_counts_by_own_policy_alone_is_named_where_it_counts() {
        use crate::{evidence::Voice, fixtures::WHOLE, reliability::Observer};

        let baseline = |n, believed: Option<&str>, outcomes| {
            let mut item = indicator(n);
            item.origin.baseline = Voice {
                outcomes,
                believed: believed.map(|code| code.parse().unwrap()),
                ..WHOLE
            };
            item
        };
        let named = |settings: Settings, evidence: &[SelectorEvidence]| {
            let alone = scorer(&[]);
            let scorer = Scorer::new(alone.levels.clone(), alone.hearings, settings);
            let score = scorer.score(&fixtures::consignment(), evidence, day());
            let parts = score.contributions.into_iter();
            parts
                .flat_map(|part| part.by_own_policy)
                .collect::<Vec<_>>()
        };
        let usual = Settings::default;
        assert_eq!(named(usual(), &[indicator(1)]), []);
        // Believed more than the baseline would, and no more than it would.
        let more = baseline(1, Some("X3"), true);
        assert_eq!(named(usual(), std::slice::from_ref(&more)), [more.record]);
        let modest = SelectorEvidence {
            evaluation: "X4".parse().unwrap(),
            ..more
        };
        assert_eq!(named(usual(), &[modest]), []);
        // A control that the baseline would not hear of.
        let mut control = baseline(2, Some("A1"), false);
        control.outcome = Some(Finding::NotFound);
        assert_eq!(
            named(usual(), std::slice::from_ref(&control)),
            [control.record]
        );
        // An indicator whose publisher was graded by somebody whom the baseline does not hear.
        let mut settings = usual();
        let told = Observation {
            observer: Observer::Other("terminal".parse().unwrap()),
            indicator: indicator(3).record,
            outcome: RecordId::of_header(b"told"),
            sealed_at: day(),
            marking: indicator(3).marking,
            finding: Finding::Found,
            is_by_own_policy: true,
        };
        let publisher = indicator(3).origin.authority;
        settings.reliabilities.observe(&publisher, told.clone());
        assert_eq!(named(settings, &[indicator(3)]), [told.outcome]);
    }

    #[test]
    fn points_are_the_probability_in_hundredths() {
        for (probability, expected) in [(0.0, 0), (0.004, 0), (0.005, 1), (0.996, 100), (1.0, 100)]
        {
            assert_eq!(points(probability), expected, "{probability}");
        }
    }

    proptest! {
        #[test]
        fn contributions_sum_to_the_log_odds(
            rows in prop::collection::vec(any::<prop::sample::Index>(), 20),
            of in prop::collection::vec((1u8..9, 1u8..5, 0i64..100, any::<bool>()), 0..8),
        ) {
            let (scorer, arriving) = &*FEDERATED;
            let evidence: Vec<SelectorEvidence> = of
                .into_iter()
                .map(|(n, root, days, missed)| SelectorEvidence {
                    root: RootTag::from_bytes([root; 16]),
                    seen_at: day().plus_millis(-days * 86_400_000),
                    outcome: missed.then_some(Finding::NotFound),
                    ..indicator(n)
                })
                .collect();
            let rows = rows.iter().map(|row| row.get(arriving).clone());
            for row in rows.chain([fixtures::consignment()]) {
                let score = scorer.score(&row, &evidence, day());
                let sum: f64 = score.contributions.iter().map(|part| part.log_odds).sum();
                prop_assert!((score.log_odds - sum).abs() < 1e-9);
                prop_assert!((score.probability - 1.0 / (1.0 + (-sum).exp())).abs() < 1e-9);
            }
        }
    }
}

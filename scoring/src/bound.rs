//! Bound on what one member takes from a score.
//!
//! Let `L(T)` be the log-odds if only the members `T` had ever sent anything. A score is the largest
//! `L(T)` over sets of members, less an allowance for each member that `T` leaves out:
//!
//! ```text
//! score(all) = max over R of  L(all without R) − allowance · |R|
//! ```
//!
//! So whoever speaks takes no more than the allowance from what the score would be without it,
//! whatever it says and whatever the others say: every set that leaves it out is among those of the
//! maximum, for one allowance more. Nothing bounds what a member adds. A *hearing* is a set of signers
//! of counts that is left out, with the scorecard calibrated on the counts that are left: what a
//! member makes of the factors is part of what it takes.
//!
//! Of evidence on a consignment, every set of up to six members that lower it is left out. If they are
//! more, all sets of up to `k` of them are, and besides nothing that lowers is heard of anybody, for
//! `k + 1` allowances. The bound holds all the same. Take one member away: what was the maximum then
//! left out a set of fewer than `k`, which with the member is among those of now, for one allowance
//! more; or it cost `k` allowances at least, and what can be heard of anybody at most costs `k + 1`.
//!
//! Of counts, every set of up to eight signers is left out. Of more, the smallest sets up to
//! `MOST_HEARINGS`, each signer alone in any case, and everybody: the bound then holds against a signer
//! as long as hardly anybody else takes more than its allowance. What counts come to at most is not known
//! without calibrating anew.

use std::{collections::BTreeSet, sync::Arc};

use portcullis_protocol::{digest::Digest, identifiers::AuthorityId};

use crate::{
    consignment::Consignment,
    levels::{Levels, Node},
    pool::Choice,
    scorecard::{Calibration, CalibrationError, OwnControls, Scorecard},
};

/// The most that one member takes from the log-odds of a finding.
pub const MOST_TAKEN: f64 = 1.0;

/// Most sets of members whose evidence is left out, unless there are more members: each is left out
/// alone. An evaluation of the evidence on one consignment for each.
const MOST_SILENCED: usize = 64;

/// Most sets of signers whose counts are left out, unless there are more signers. A calibration for
/// each, once for given counts.
const MOST_HEARINGS: usize = 256;

/// A set of signers that is left out, and the model of those that are left.
#[derive(Debug, Clone)]
struct Hearing {
    left_out: BTreeSet<AuthorityId>,
    choice: Choice,
    scorecard: Scorecard,
}

/// The hearings over given counts.
#[derive(Debug, Clone)]
pub struct Hearings {
    /// The scorecard with nobody left out.
    all: Scorecard,
    /// The sets that may be left out.
    others: Vec<Hearing>,
    nobody: BTreeSet<AuthorityId>,
    /// Digest of the counts and the controls that they were calibrated on.
    of: Digest,
}

/// The log-odds of indicators and outcomes without what some members said to lower them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Silenced {
    left_out: BTreeSet<AuthorityId>,
    log_odds: f64,
    /// Allowances that it costs, if not one for each member.
    for_all: Option<usize>,
}

/// The members that a score leaves out, and the log-odds less the allowances for them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bounded {
    pub(crate) left_out: BTreeSet<AuthorityId>,
    pub(crate) log_odds: f64,
}

impl Silenced {
    /// Computes `evidence` for each set of the members that lower it, and with all of them. If there
    /// are too many sets, `at_most` is what the evidence comes to at most, whoever is left out.
    pub(crate) fn each(
        lowering: &BTreeSet<AuthorityId>,
        evidence: impl Fn(&BTreeSet<AuthorityId>) -> f64,
        at_most: impl FnOnce() -> f64,
    ) -> Vec<Self> {
        let members: Vec<&AuthorityId> = lowering.iter().collect();
        let (sets, size) = sets(&members, MOST_SILENCED);
        let sets = std::iter::once(BTreeSet::new()).chain(sets);
        let silenced = sets.map(|left_out| Self {
            log_odds: evidence(&left_out),
            left_out,
            for_all: None,
        });
        let of_nobody = (size < members.len()).then(|| Self {
            left_out: lowering.clone(),
            log_odds: at_most(),
            for_all: Some(size + 1),
        });
        silenced.chain(of_nobody).collect()
    }

    /// Returns the number of allowances that it costs beside a hearing without `unheard`.
    fn cost(&self, unheard: &BTreeSet<AuthorityId>) -> usize {
        self.for_all.map_or_else(
            || unheard.union(&self.left_out).count(),
            |for_all| for_all.max(unheard.len()),
        )
    }
}

impl Hearings {
    /// Calibrates a scorecard for each set of signers that may be left out, on the authority's own
    /// controlled rows. These must be those that the pool counts as its own.
    ///
    /// # Errors
    ///
    /// [`CalibrationError`] if a row is not among the counts, and for fewer than two folds.
    pub fn calibrated<'c>(
        levels: &Levels,
        own: impl IntoIterator<Item = &'c Consignment>,
        options: Calibration,
    ) -> Result<Self, CalibrationError> {
        let controls = OwnControls::of(levels, own, options)?;
        let of = controls.digest();
        Self::of(levels, &controls, of)
    }

    /// Returns `before` if it was calibrated on the same counts and controls, and calibrates anew
    /// otherwise. A calibration takes many times as long as the comparison.
    ///
    /// # Errors
    ///
    /// As [`Self::calibrated`].
    pub fn renewed<'c>(
        before: Option<Arc<Self>>,
        levels: &Levels,
        own: impl IntoIterator<Item = &'c Consignment>,
        options: Calibration,
    ) -> Result<Arc<Self>, CalibrationError> {
        let controls = OwnControls::of(levels, own, options)?;
        let of = controls.digest();
        match before.filter(|before| before.of == of) {
            Some(before) => Ok(before),
            None => Self::of(levels, &controls, of).map(Arc::new),
        }
    }

    fn of(
        levels: &Levels,
        controls: &OwnControls<'_>,
        of: Digest,
    ) -> Result<Self, CalibrationError> {
        let signers: Vec<&AuthorityId> = levels.signers().into_iter().collect();
        let (mut left_out, size) = sets(&signers, MOST_HEARINGS);
        if size < signers.len() {
            left_out.push(signers.iter().map(|signer| (*signer).clone()).collect());
        }
        let others = left_out
            .into_iter()
            .map(|left_out| {
                let choice = levels.choice_without(&left_out);
                let scorecard = controls.scorecard(&choice)?;
                Ok(Hearing {
                    left_out,
                    choice,
                    scorecard,
                })
            })
            .collect::<Result<_, CalibrationError>>()?;
        let nobody = BTreeSet::new();
        Ok(Self {
            all: controls.scorecard(&levels.choice_without(&nobody))?,
            others,
            nobody,
            of,
        })
    }

    /// Returns the scorecard for the counts of everybody.
    #[must_use]
    pub const fn scorecard(&self) -> &Scorecard {
        &self.all
    }

    /// Returns the largest sum of the log-odds from the profile, at the nodes of `path`, and of those
    /// from indicators and outcomes, over all sets of members that may be left out.
    pub(crate) fn bounded(
        &self,
        levels: &Levels,
        path: &[Node],
        silenced: &[Silenced],
        allowance: f64,
    ) -> Bounded {
        let all = path.iter().map(|node| levels.counts_at(*node));
        let mut best = Best::default();
        best.hear(&self.nobody, self.all.log_odds(all), silenced, allowance);
        for hearing in &self.others {
            let counts = path
                .iter()
                .map(|node| levels.chosen_at(*node, &hearing.choice));
            let log_odds = hearing.scorecard.log_odds(counts);
            best.hear(&hearing.left_out, log_odds, silenced, allowance);
        }
        Bounded {
            left_out: best
                .left_out
                .into_iter()
                .flatten()
                .flatten()
                .cloned()
                .collect(),
            log_odds: best.log_odds,
        }
    }
}

/// The best sum so far.
struct Best<'s> {
    log_odds: f64,
    left_out: [Option<&'s BTreeSet<AuthorityId>>; 2],
}

impl Default for Best<'_> {
    fn default() -> Self {
        Self {
            log_odds: f64::NEG_INFINITY,
            left_out: [None, None],
        }
    }
}

impl<'s> Best<'s> {
    fn hear(
        &mut self,
        unheard: &'s BTreeSet<AuthorityId>,
        profile: f64,
        silenced: &'s [Silenced],
        allowance: f64,
    ) {
        for silent in silenced {
            let allowances: f64 = (0..silent.cost(unheard)).map(|_| allowance).sum();
            let log_odds = profile + silent.log_odds - allowances;
            if log_odds > self.log_odds {
                self.log_odds = log_odds;
                self.left_out = [Some(unheard), Some(&silent.left_out)];
            }
        }
    }
}

/// Returns sets of these members, the empty one apart: all sets of one size after the other while they
/// are fewer than `most` together, and each member alone in any case. Returns the largest size besides.
fn sets(members: &[&AuthorityId], most: usize) -> (Vec<BTreeSet<AuthorityId>>, usize) {
    let mut sets: Vec<BTreeSet<AuthorityId>> = Vec::new();
    // The sets of one size, each with the position of the first member that may be added.
    let mut of_size = vec![(0, BTreeSet::new())];
    for size in 1..=members.len() {
        of_size = of_size
            .iter()
            .flat_map(|(next, set)| {
                let further = members.iter().enumerate().skip(*next);
                further.map(|(at, member)| {
                    let mut larger: BTreeSet<AuthorityId> = set.clone();
                    larger.insert((*member).clone());
                    (at + 1, larger)
                })
            })
            .collect();
        if size > 1 && sets.len() + of_size.len() >= most {
            return (sets, size - 1);
        }
        sets.extend(of_size.iter().map(|(_, set)| set.clone()));
    }
    (sets, members.len())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::LazyLock};

    use portcullis_protocol::{
        body::Finding,
        marking::RequestedAction,
        record::{RecordId, RootTag},
    };
    use proptest::prelude::*;

    use super::*;
    use crate::{
        evidence::{OriginRole, SelectorEvidence},
        fixtures::{self, authority, day, indicator},
        pool::Pool,
        profile::{CellKey, Counts, Profile},
        received::{CellsPart, Contributors, Edition, ProfileRecord},
        reliability::{Observation, Observer, Reliabilities},
        score::{Score, Scorer, Settings, What},
    };

    const MEMBERS: [&str; 12] = ["a", "b", "c", "hub", "e", "f", "g", "h", "i", "j", "k", "l"];
    const DAY: i64 = 86_400_000;

    /// Everything that one member sent.
    #[derive(Debug, Clone)]
    struct Said {
        editions: Vec<Vec<(usize, u32, u32)>>,
        /// Positions of the members that a hub sums up.
        sums_up: BTreeSet<usize>,
        indicators: Vec<Told>,
        controls: Vec<(Told, bool)>,
        /// The origin, the number of its indicator, and whether it proved right.
        outcomes: Vec<(usize, u8, bool)>,
    }

    /// A record on the consignment's container.
    #[derive(Debug, Clone)]
    struct Told {
        root: u8,
        days: i64,
        evaluation: (usize, usize),
        request: Option<usize>,
        expires: Option<i64>,
        is_in_window: bool,
        /// Evaluation that policy lets it have; `None`: it is not believed.
        believed: Option<(usize, usize)>,
    }

    fn told() -> impl Strategy<Value = Told> {
        told_on(1..5)
    }

    /// A record that has one of these roots.
    fn told_on(roots: std::ops::Range<u8>) -> impl Strategy<Value = Told> {
        (
            roots,
            0i64..60,
            (0usize..4, 0usize..4),
            prop::option::of(0usize..4),
            prop::option::of(-5i64..5),
            prop::bool::weighted(0.9),
            prop::option::weighted(0.9, (0usize..4, 0usize..4)),
        )
            .prop_map(
                |(root, days, evaluation, request, expires, is_in_window, believed)| Told {
                    root,
                    days,
                    evaluation,
                    request,
                    expires,
                    is_in_window,
                    believed,
                },
            )
    }

    fn counts() -> impl Strategy<Value = (usize, u32, u32)> {
        let controls = prop_oneof![1u32..20, 1u32..100_000, Just(u32::MAX)];
        let findings = prop_oneof![Just(0u32), 1u32..20, Just(u32::MAX)];
        (0usize..6, controls, findings)
            .prop_map(|(cell, controls, findings)| (cell, controls, findings.min(controls)))
    }

    fn said() -> impl Strategy<Value = Said> {
        (
            prop::collection::vec(prop::collection::vec(counts(), 1..4), 0..3),
            prop::collection::btree_set(0usize..3, 2..4),
            prop::collection::vec(told(), 0..3),
            prop::collection::vec((told(), any::<bool>()), 0..3),
            prop::collection::vec((0usize..4, 0u8..6, prop::bool::weighted(0.2)), 0..6),
        )
            .prop_map(|(editions, sums_up, indicators, controls, outcomes)| Said {
                editions,
                sums_up,
                indicators,
                controls,
                outcomes,
            })
    }

    static OWN: LazyLock<Vec<Consignment>> = LazyLock::new(|| {
        let mut own = fixtures::history();
        own.retain(|row| row.office() == "33");
        own.truncate(60);
        own
    });

    /// Returns the cell of the consignment for 0, and cells ever farther from it.
    fn cell(n: usize) -> CellKey {
        let schema = fixtures::schema();
        let own = CellKey::of(&schema, &fixtures::consignment());
        let own: Vec<&str> = own.values().collect();
        let values = own.iter().enumerate().map(|(at, value)| match n {
            0 => *value,
            n if at + n >= own.len() => "other",
            _ => *value,
        });
        CellKey::new(values)
    }

    fn role(member: usize) -> OriginRole {
        match member {
            3 => OriginRole::Hub,
            _ => OriginRole::Member,
        }
    }

    fn number(values: &[u8]) -> RecordId {
        RecordId::of_header(values)
    }

    /// Returns the evidence of a member's record.
    fn evidence(member: usize, n: u8, told: &Told, outcome: Option<Finding>) -> SelectorEvidence {
        let codes = [["A", "B", "C", "X"], ["1", "2", "3", "4"]];
        let code = |(source, information): (usize, usize)| {
            let code = format!("{}{}", codes[0][source], codes[1][information]);
            code.parse().unwrap()
        };
        let actions = [
            RequestedAction::Discreet,
            RequestedAction::Inquiry,
            RequestedAction::SpecificCheck,
            RequestedAction::DoNotApproach,
        ];
        let mut said = indicator(1);
        said.record = number(&[9, u8::try_from(member).unwrap(), n]);
        said.root = RootTag::from_bytes([told.root; 16]);
        said.origin.authority = authority(MEMBERS[member]);
        said.origin.group = format!("ministry-{member}");
        said.origin.role = role(member);
        said.origin.voice.believed = told.believed.map(code);
        said.evaluation = code(told.evaluation);
        said.marking.requested_action = told.request.map(|at| actions[at]);
        said.marking.delete_at = told.expires.map(|days| day().plus_millis(days * DAY));
        said.seen_at = day().plus_millis(-told.days * DAY);
        said.outcome = outcome;
        if !told.is_in_window {
            let window = portcullis_protocol::body::Window {
                from: day().plus_millis(-9 * DAY),
                until: day().plus_millis(-3 * DAY),
            };
            let (kind, value) = (said.selector.kind(), said.selector.value().to_owned());
            said.selector =
                portcullis_protocol::body::Selector::new(kind, &value, Some(window)).unwrap();
        }
        said
    }

    fn parts(member: usize, said: &Said) -> Vec<CellsPart> {
        let signer = authority(MEMBERS[member]);
        let contributors = if role(member) == OriginRole::Hub {
            Contributors(
                said.sums_up
                    .iter()
                    .map(|of| authority(MEMBERS[*of]))
                    .collect(),
            )
        } else {
            Contributors::one(signer.clone())
        };
        let editions = said.editions.iter().zip(1u8..);
        editions
            .map(|(cells, n)| {
                let mut sums: BTreeMap<CellKey, Counts> = BTreeMap::new();
                for (at, controls, findings) in cells {
                    sums.insert(cell(*at), Counts::new(*controls, *findings).unwrap());
                }
                CellsPart {
                    said_by: ProfileRecord {
                        record: number(&[8, u8::try_from(member).unwrap(), n]),
                        ..fixtures::said_by(&[n])
                    },
                    signer: signer.clone(),
                    edition: Edition {
                        sealed_at: day().plus_millis(i64::from(n)),
                        root: RootTag::from_bytes([n; 16]),
                    },
                    contributors: contributors.clone(),
                    period: "2020".parse().unwrap(),
                    part: 1,
                    cells: sums.into_iter().collect(),
                }
            })
            .collect()
    }

    /// Scores the fixture consignment with everything that these members said.
    fn score(own: &[Consignment], said: &[(usize, &Said)]) -> Score {
        let schema = fixtures::schema();
        let mut pool = Pool::new(authority("own"));
        pool.replace_own(Profile::by_period(&schema, own));
        let mut items = Vec::new();
        let mut reliabilities = Reliabilities::default();
        for (member, said) in said {
            for part in parts(*member, said) {
                pool.add(part);
            }
            let indicators = said.indicators.iter().zip(0u8..);
            items.extend(indicators.map(|(told, n)| evidence(*member, n, told, None)));
            for ((told, found), n) in said.controls.iter().zip(100u8..) {
                let finding = if *found {
                    Finding::Found
                } else {
                    Finding::NotFound
                };
                items.push(evidence(*member, n, told, Some(finding)));
            }
            for ((origin, of, right), n) in said.outcomes.iter().zip(0u8..) {
                let observation = Observation {
                    observer: Observer::Other(authority(MEMBERS[*member])),
                    indicator: number(&[*of]),
                    outcome: number(&[7, u8::try_from(*member).unwrap(), n]),
                    sealed_at: day(),
                    marking: indicator(1).marking,
                    finding: if *right {
                        Finding::Found
                    } else {
                        Finding::NotFound
                    },
                    is_by_own_policy: false,
                };
                if origin != member {
                    reliabilities.observe(&authority(MEMBERS[*origin]), observation);
                }
            }
        }
        let levels = Levels::of(&schema, &pool);
        let hearings = Hearings::calibrated(&levels, own, Calibration::default()).unwrap();
        let settings = Settings {
            reliabilities,
            ..Settings::default()
        };
        let scorer = Scorer::new(levels, Arc::new(hearings), settings);
        scorer.score(&fixtures::consignment(), &items, day())
    }

    fn step(score: &Score) -> usize {
        crate::recommend::Control::ALL
            .iter()
            .position(|control| *control == score.recommendation.control)
            .unwrap()
    }

    /// A member that finds nothing, and says so of others' indicators.
    fn doubting() -> impl Strategy<Value = Said> {
        (
            prop::collection::vec(told_on(1..12), 0..2),
            prop::collection::vec((told_on(1..12), prop::bool::weighted(0.2)), 1..3),
            prop::collection::vec((0usize..10, 0u8..6, prop::bool::weighted(0.3)), 0..8),
        )
            .prop_map(|(indicators, controls, outcomes)| Said {
                editions: Vec::new(),
                sums_up: BTreeSet::new(),
                indicators,
                controls,
                outcomes,
            })
    }

    fn nobody_takes_more(
        own: &[Consignment],
        said: &[(usize, &Said)],
    ) -> Result<(), TestCaseError> {
        let all = score(own, said);
        for (silent, (member, _)) in said.iter().enumerate() {
            let mut others = said.to_vec();
            others.remove(silent);
            let without = score(own, &others);
            let name = MEMBERS[*member];
            prop_assert!(
                all.log_odds >= without.log_odds - MOST_TAKEN - 1e-9,
                "{} takes {}",
                name,
                without.log_odds - all.log_odds
            );
            prop_assert!(step(&all) + 1 >= step(&without), "{name} moves the control");
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// Attacks C1 and C2, searched for: whatever one member says, by counts, editions, controls
        /// and outcomes, the score falls by its allowance at most and the control by one step. It holds
        /// whomever policy hears: here hubs report controls as well, and each is believed up to anything.
        #[test]
        fn no_member_takes_more_than_its_allowance(
            said in prop::collection::vec(said(), 4),
            own in 0usize..60,
        ) {
            let own = &OWN[..own];
            let everybody: Vec<(usize, &Said)> = said.iter().enumerate().collect();
            let all = score(own, &everybody);
            let sum: f64 = all.contributions.iter().map(|part| part.log_odds).sum();
            prop_assert!((sum - all.log_odds).abs() < 1e-9);
            nobody_takes_more(own, &everybody)?;
        }

        /// As many members as like say anything by controls and outcomes, and some by counts.
        #[test]
        fn nobody_of_many_takes_more_than_its_allowance(
            said in prop::collection::vec(doubting(), 6..=10),
        ) {
            let everybody: Vec<(usize, &Said)> = said.iter().enumerate().collect();
            nobody_takes_more(&OWN, &everybody)?;
        }

        /// A member that may report neither controls nor counts takes nothing at all.
        #[test]
        fn indicators_and_requests_alone_take_nothing(
            said in prop::collection::vec(said(), 3),
            indicators in prop::collection::vec(told(), 1..4),
        ) {
            let everybody: Vec<(usize, &Said)> = said.iter().enumerate().collect();
            let without = score(&OWN, &everybody);
            let hub = Said {
                editions: Vec::new(),
                sums_up: BTreeSet::new(),
                indicators,
                controls: Vec::new(),
                outcomes: Vec::new(),
            };
            let with = score(&OWN, &[everybody, vec![(3, &hub)]].concat());
            prop_assert!(with.log_odds >= without.log_odds - 1e-9);
            prop_assert!(with.recommendation.control >= without.recommendation.control);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5))]

        /// Signers of counts, as many as can be left out in every way.
        #[test]
        fn nobody_of_eight_signers_takes_more_than_its_allowance(
            said in prop::collection::vec(said(), 7..=8),
        ) {
            let everybody: Vec<(usize, &Said)> = said.iter().enumerate().collect();
            nobody_takes_more(&OWN[..20], &everybody)?;
        }
    }

    fn silent() -> Said {
        Said {
            editions: Vec::new(),
            sums_up: BTreeSet::from([0, 1]),
            indicators: Vec::new(),
            controls: Vec::new(),
            outcomes: Vec::new(),
        }
    }

    fn counts_of(edition: Vec<(usize, u32, u32)>) -> Said {
        Said {
            editions: vec![edition],
            ..silent()
        }
    }

    /// A record of today that is believed whole.
    const fn fresh(root: u8) -> Told {
        Told {
            root,
            days: 0,
            evaluation: (0, 0),
            request: None,
            expires: None,
            is_in_window: true,
            believed: Some((0, 0)),
        }
    }

    /// Attack C2: 4·10⁹ invented controls took the second-highest arrival from 93 to 0.
    #[test]
    fn invented_controls_take_one_and_are_named() {
        let (honest, liar) = (
            counts_of(vec![(0, 40, 38)]),
            counts_of(vec![(0, u32::MAX, 0)]),
        );
        let without = score(&OWN, &[(0, &honest)]);
        let with = score(&OWN, &[(0, &honest), (1, &liar)]);
        assert!((without.log_odds - with.log_odds - MOST_TAKEN).abs() < 1e-9);
        let bound = with.contributions.last().unwrap();
        let liar = What::Bound {
            authorities: vec![authority("b")],
        };
        assert_eq!((&bound.what, bound.records.len()), (&liar, 1));
        assert!(bound.log_odds > 3.0, "{}", bound.log_odds);
    }

    /// A liar hides behind an honest authority that lowers the score by itself.
    #[test]
    fn a_second_member_has_no_allowance_of_the_first() {
        let honest = counts_of(vec![(0, 40, 38)]);
        let doubter = counts_of(vec![(0, 5_000, 2)]);
        let liar = counts_of(vec![(0, u32::MAX, 0)]);
        let without = score(&OWN, &[(0, &honest), (2, &doubter)]);
        let with = score(&OWN, &[(0, &honest), (2, &doubter), (1, &liar)]);
        assert!(without.log_odds - with.log_odds <= MOST_TAKEN + 1e-9);
    }

    /// A liar confirms indicators of a member whose control found nothing, which then weighs more.
    #[test]
    fn who_confirms_a_control_that_found_nothing_takes_no_more() {
        let mut liar = counts_of(vec![(0, 3_469, 0)]);
        liar.outcomes.push((1, 0, true));
        let mut honest = silent();
        honest.controls.push((fresh(1), false));
        let without = score(&[], &[(1, &honest)]);
        let with = score(&[], &[(0, &liar), (1, &honest)]);
        assert!(without.log_odds - with.log_odds <= MOST_TAKEN + 1e-9);
    }

    /// Three members take more than their allowance each, and eight confirm them: with so many, not
    /// every set of two was left out, and each of the three gave cover to the others.
    #[test]
    fn many_who_take_little_give_no_cover_to_few_who_take_much() {
        let doubters = (0u8..3).map(|member| {
            let mut said = silent();
            said.controls.push((fresh(member + 1), false));
            said
        });
        let confirming = (3..11).map(|_| {
            let mut said = silent();
            for doubter in 0..3 {
                said.outcomes.extend((0..4).map(|n| (doubter, n, true)));
            }
            said
        });
        let said: Vec<Said> = doubters.chain(confirming).collect();
        let everybody: Vec<(usize, &Said)> = said.iter().enumerate().collect();
        nobody_takes_more(&[], &everybody).unwrap();
        let all = score(&[], &everybody);
        let bound = all.contributions.last().unwrap();
        let What::Bound { authorities } = &bound.what else {
            panic!("nothing is given back: {bound:?}");
        };
        assert_eq!(authorities.len(), 11);
    }

    #[test]
    fn what_a_member_adds_is_not_bounded() {
        let mut honest = counts_of(vec![(0, 400, 396)]);
        honest.indicators.push(fresh(1));
        let alone = score(&OWN, &[]);
        let with = score(&OWN, &[(0, &honest)]);
        // An indicator of a container by customs, A1 and fresh: ln(1 + 39 · 0.8) = 3.47.
        assert!(with.log_odds > alone.log_odds + 3.0);
        let is_bound = |part: &crate::score::Contribution| matches!(part.what, What::Bound { .. });
        assert!(!with.contributions.iter().any(is_bound));
    }

    #[test]
    fn hearings_are_calibrated_anew_only_for_other_counts_or_controls() {
        let schema = fixtures::schema();
        let hearings = |own: &[Consignment], said: &Said, before: Option<&Arc<Hearings>>| {
            let mut pool = Pool::new(authority("own"));
            pool.replace_own(Profile::by_period(&schema, own));
            for part in parts(0, said) {
                pool.add(part);
            }
            let levels = Levels::of(&schema, &pool);
            Hearings::renewed(before.cloned(), &levels, own, Calibration::default()).unwrap()
        };
        let (said, other) = (counts_of(vec![(0, 40, 38)]), counts_of(vec![(0, 40, 37)]));
        let first = hearings(&OWN, &said, None);
        assert!(Arc::ptr_eq(&first, &hearings(&OWN, &said, Some(&first))));
        assert!(!Arc::ptr_eq(&first, &hearings(&OWN, &other, Some(&first))));
        assert!(!Arc::ptr_eq(
            &first,
            &hearings(&OWN[1..], &said, Some(&first))
        ));
    }

    #[test]
    fn few_members_are_left_out_in_every_way_and_many_each_alone() {
        let names: Vec<AuthorityId> = (0..70).map(|n| authority(&n.to_string())).collect();
        let of = |count: usize| sets(&names.iter().take(count).collect::<Vec<_>>(), 64);
        for (members, expected, up_to) in [
            (0, 0, 0),
            (1, 1, 1),
            (2, 3, 2),
            (5, 31, 5),
            (6, 63, 6),
            (7, 63, 3),
            (8, 36, 2),
            (70, 70, 1),
        ] {
            let (sets, size) = of(members);
            assert_eq!(size, up_to, "{members}");
            assert_eq!(sets.len(), expected, "{members}");
            let distinct: BTreeSet<_> = sets.iter().collect();
            assert_eq!(distinct.len(), expected);
            assert!(
                names
                    .iter()
                    .take(members)
                    .all(|name| sets.contains(&BTreeSet::from([name.clone()])))
            );
        }
    }
}

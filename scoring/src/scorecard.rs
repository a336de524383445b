//! Scorecards: the factors by which an authority weighs the evidence at each level.
//!
//! At each level of the profile the finding rate, drawn towards that of the level before, moves the
//! log-odds by the *weight of evidence* `logit(rate) − logit(rate before)`. A scorecard multiplies
//! each level's weight by a factor and adds a base. With all factors at 1, the log-odds are those
//! of the shrunken rate, which claims too much if counts are small. Calibration moves the factors
//! to values that the authority's own controls confirm. It moves all of them together first, and
//! each by itself only if many controls ask for it, so that the order in which the rates rank is
//! kept.
//!
//! No control teaches about itself: the authority's own rows are cut into folds, and a row's
//! evidence comes from counts without its fold. The fit is a logistic regression with Gaussian
//! priors.

use portcullis_protocol::digest::Digest;

use crate::{
    consignment::Consignment,
    levels::{Levels, Node},
    lookup::{SHRINKAGE, shrunk},
    pool::Choice,
    profile::Counts,
    regression::{Regression, Unknown},
};

/// Options of a calibration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    /// Weight of the rate of the level before, in controls.
    pub shrinkage: f64,
    /// The precision of the prior that holds the factors' common part near 1.
    pub common_pull: f64,
    /// The precision of the prior that holds each factor near the common part.
    pub level_pull: f64,
    /// Number of folds that the authority's own rows are cut into; at least 2.
    pub folds: usize,
}

impl Default for Calibration {
    fn default() -> Self {
        Self {
            shrinkage: SHRINKAGE,
            common_pull: 10.0,
            level_pull: 1000.0,
            folds: 10,
        }
    }
}

/// Error in calibrating a scorecard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CalibrationError {
    /// A row's own control is missing from the counts, so that it cannot be left out of them.
    #[error(
        "the own control in row {row} is not among the counts; replace the pool's own counts by those of the same rows"
    )]
    NotCounted {
        /// Its position among the rows, counted from 1.
        row: usize,
    },
    /// Fewer than two folds leave nothing to learn from.
    #[error("`{0}` folds; cross-fitting needs at least 2")]
    TooFewFolds(usize),
}

/// A base, and a factor for each level.
#[derive(Debug, Clone, PartialEq)]
pub struct Scorecard {
    base: f64,
    factors: Vec<f64>,
    shrinkage: f64,
}

/// Least distance of rates from 0 and 1, so that their logits stay finite.
const RATE_MARGIN: f64 = 1e-6;

const CALIBRATION_LABEL: &str = "portcullis calibration v1";

/// The precision of the prior that holds the base near the pooled one.
const BASE_PULL: f64 = 1.0;

impl Scorecard {
    /// Makes the scorecard that takes the evidence unchanged: all factors are 1.
    #[must_use]
    pub fn uncalibrated(levels: &Levels, shrinkage: f64) -> Self {
        Self::unchanged(levels.total(), levels.levels().len(), shrinkage)
    }

    fn unchanged(total: Counts, levels: usize, shrinkage: f64) -> Self {
        Self {
            base: logit(base_rate(total)),
            factors: vec![1.0; levels],
            shrinkage,
        }
    }

    /// Returns the log-odds before any evidence.
    #[must_use]
    pub const fn base(&self) -> f64 {
        self.base
    }

    /// Returns the factor of each level.
    #[must_use]
    pub fn factors(&self) -> &[f64] {
        &self.factors
    }

    /// Returns the weight of the rate of the level before, in controls.
    #[must_use]
    pub const fn shrinkage(&self) -> f64 {
        self.shrinkage
    }

    /// Returns the contribution of each level to the log-odds; `counts` begin with the total.
    pub(crate) fn contributions(
        &self,
        counts: impl IntoIterator<Item = Counts>,
    ) -> impl Iterator<Item = f64> {
        let weights = weights(counts, self.shrinkage);
        self.factors
            .iter()
            .zip(weights)
            .map(|(factor, weight)| factor * weight)
    }

    /// Returns the log-odds from the profile; `counts` begin with the total.
    pub(crate) fn log_odds(&self, counts: impl IntoIterator<Item = Counts>) -> f64 {
        self.base + self.contributions(counts).sum::<f64>()
    }

    /// Fits the scorecard to `found`; `evidence` has one column for each level.
    ///
    /// A factor is the sum of a part common to all levels and one of its own: two unknowns with a
    /// prior each.
    fn fitted(&self, found: Vec<bool>, evidence: Vec<Vec<f64>>, options: Calibration) -> Self {
        let mut sums = vec![0.0; found.len()];
        for column in &evidence {
            for (sum, weight) in sums.iter_mut().zip(column) {
                *sum += weight;
            }
        }
        let base = Unknown {
            column: vec![1.0; found.len()],
            mean: self.base,
            pull: BASE_PULL,
        };
        let common = Unknown {
            column: sums,
            mean: 1.0,
            pull: options.common_pull,
        };
        let own = evidence.into_iter().map(|column| Unknown {
            column,
            mean: 0.0,
            pull: options.level_pull,
        });
        let unknowns = [base, common].into_iter().chain(own).collect();
        let mut values = Regression::new(found, unknowns).fit().into_iter();
        let base = values.next().unwrap_or(self.base);
        let common = values.next().unwrap_or(1.0);
        Self {
            base,
            factors: values.map(|own| common + own).collect(),
            shrinkage: self.shrinkage,
        }
    }
}

/// One own control, with its path in the counts.
struct Control {
    path: Vec<Node>,
    found: bool,
}

/// The authority's own controls, on which scorecards are calibrated.
pub(crate) struct OwnControls<'l> {
    levels: &'l Levels,
    controls: Vec<Control>,
    options: Calibration,
}

impl<'l> OwnControls<'l> {
    /// Takes the controlled rows of `own`. These are the authority's own rows, and must be those
    /// that the pool counts as its own.
    ///
    /// # Errors
    ///
    /// [`CalibrationError::TooFewFolds`].
    pub(crate) fn of<'c>(
        levels: &'l Levels,
        own: impl IntoIterator<Item = &'c Consignment>,
        options: Calibration,
    ) -> Result<Self, CalibrationError> {
        if options.folds < 2 {
            return Err(CalibrationError::TooFewFolds(options.folds));
        }
        let controlled = own.into_iter().filter_map(|row| {
            row.finding().map(|found| Control {
                path: levels.path(row),
                found,
            })
        });
        Ok(Self {
            levels,
            controls: controlled.collect(),
            options,
        })
    }

    /// Returns the digest of everything that a scorecard is calibrated on.
    pub(crate) fn digest(&self) -> Digest {
        let mut bytes = format!("{:?}", self.options).into_bytes();
        self.levels.encode(&mut bytes);
        for control in &self.controls {
            let leaf = control.path.last().map_or(0, |node| node.index());
            bytes.extend_from_slice(&leaf.to_be_bytes());
            bytes.push(u8::from(control.found));
        }
        Digest::labelled(CALIBRATION_LABEL, &[&bytes])
    }

    /// Returns the scorecard for the counts of `choice`. If nothing was controlled, it stays
    /// uncalibrated.
    ///
    /// # Errors
    ///
    /// [`CalibrationError::NotCounted`].
    pub(crate) fn scorecard(&self, choice: &Choice) -> Result<Scorecard, CalibrationError> {
        let counts = self.levels.all_chosen(choice);
        let total = counts.first().copied().unwrap_or_default();
        let levels = self.levels.levels().len();
        let start = Scorecard::unchanged(total, levels, self.options.shrinkage);
        let evidence = cross_fitted(&counts, levels, &self.controls, self.options)?;
        let found = self.controls.iter().map(|control| control.found).collect();
        Ok(start.fitted(found, evidence, self.options))
    }
}

/// Returns the rate of all that is counted; one half if nothing is.
fn base_rate(total: Counts) -> f64 {
    shrunk(total, 0.5, 1.0)
}

/// Returns the weight of evidence of each level; `counts` begin with the total.
fn weights(counts: impl IntoIterator<Item = Counts>, shrinkage: f64) -> impl Iterator<Item = f64> {
    let mut counts = counts.into_iter();
    let mut rate = base_rate(counts.next().unwrap_or_default());
    counts.map(move |counts| {
        let before = logit(rate);
        rate = shrunk(counts, rate, shrinkage);
        logit(rate) - before
    })
}

fn logit(rate: f64) -> f64 {
    let rate = rate.clamp(RATE_MARGIN, 1.0 - RATE_MARGIN);
    (rate / (1.0 - rate)).ln()
}

/// Returns the weights of evidence of each control from `counts` without its fold, one column for
/// each level.
fn cross_fitted(
    counts: &[Counts],
    levels: usize,
    controls: &[Control],
    options: Calibration,
) -> Result<Vec<Vec<f64>>, CalibrationError> {
    let mut columns = vec![vec![0.0; controls.len()]; levels];
    for fold in 0..options.folds {
        let of_fold = || {
            controls
                .iter()
                .enumerate()
                .skip(fold)
                .step_by(options.folds)
        };
        let left_out = counted(counts.len(), of_fold().map(|(_, control)| control));
        for (row, control) in of_fold() {
            let counts = without(counts, levels, &left_out, control)
                .ok_or(CalibrationError::NotCounted { row: row + 1 })?;
            for (column, weight) in columns.iter_mut().zip(weights(counts, options.shrinkage)) {
                if let Some(cell) = column.get_mut(row) {
                    *cell = weight;
                }
            }
        }
    }
    Ok(columns)
}

/// Sums `controls` for each node.
fn counted<'c>(nodes: usize, controls: impl Iterator<Item = &'c Control>) -> Vec<Counts> {
    let mut counts = vec![Counts::none(); nodes];
    for control in controls {
        for node in &control.path {
            if let Some(sum) = counts.get_mut(node.index()) {
                *sum = sum.plus(Counts::one(control.found));
            }
        }
    }
    counts
}

/// Returns the counts along the control's path without `left_out`; `None` if the path is not
/// complete or `left_out` is not part of the counts.
fn without(
    counts: &[Counts],
    levels: usize,
    left_out: &[Counts],
    control: &Control,
) -> Option<Vec<Counts>> {
    let whole = control.path.len() == levels + 1;
    let at = |of: &[Counts], node: &Node| of.get(node.index()).copied().unwrap_or_default();
    let left = control
        .path
        .iter()
        .map(|node| at(counts, node).minus(at(left_out, node)));
    whole.then(|| left.collect()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use crate::fixtures::{self, OFFICES};

    fn calibrated<'c>(
        levels: &Levels,
        own: impl IntoIterator<Item = &'c Consignment>,
        options: Calibration,
    ) -> Result<Scorecard, CalibrationError> {
        OwnControls::of(levels, own, options)?.scorecard(&levels.choice_without(&BTreeSet::new()))
    }

    fn card(office: &str, others: &[&str], options: Calibration) -> Scorecard {
        let (schema, history) = (fixtures::schema(), fixtures::history());
        let pool = fixtures::pool_of(&schema, &history, office, others, 1);
        let levels = Levels::of(&schema, &pool);
        calibrated(&levels, fixtures::of_office(&history, office), options).unwrap()
    }

    /// The expected values come from Newton's method in Python with numpy over the same files.
    #[track_caller]
    fn check(office: &str, others: &[&str], expected: [f64; 8]) {
        let card = card(office, others, Calibration::default());
        for (value, expected) in [&card.base].into_iter().chain(&card.factors).zip(expected) {
            assert!((value - expected).abs() < 1e-5, "{card:?}");
        }
    }

    #[test]
    fn the_fit_is_what_a_separate_program_finds() {
        check(
            "40",
            &OFFICES,
            [
                -1.012447, 0.401560, 0.355203, 0.309397, 0.366367, 0.348616, 0.425638, 0.445659,
            ],
        );
        check(
            "13",
            &OFFICES,
            [
                -0.944336, 0.246555, 0.239214, 0.213404, 0.242188, 0.238336, 0.267679, 0.264655,
            ],
        );
        check(
            "16",
            &[],
            [
                -1.101734, 0.092754, 0.078411, 0.051890, 0.083840, 0.078840, 0.105744, 0.116299,
            ],
        );
    }

    #[test]
    fn factors_of_one_give_the_log_odds_of_the_shrunken_rate() {
        let (schema, history) = (fixtures::schema(), fixtures::history());
        let pool = fixtures::pool_of(&schema, &history, "33", &OFFICES, 1);
        let levels = Levels::of(&schema, &pool);
        let card = Scorecard::uncalibrated(&levels, 1.0);
        for row in fixtures::of_office(&history, "33").into_iter().take(100) {
            let counts = levels.counts_of(row);
            let rate = counts
                .iter()
                .skip(1)
                .fold(base_rate(levels.total()), |rate, counts| {
                    shrunk(*counts, rate, 1.0)
                });
            let sum = card.base + card.contributions(counts).sum::<f64>();
            assert!((sum - logit(rate)).abs() < 1e-9, "{sum}");
        }
    }

    #[test]
    fn a_strong_prior_holds_the_factors_at_one() {
        let held = card(
            "13",
            &OFFICES,
            Calibration {
                common_pull: 1e12,
                level_pull: 1e12,
                ..Calibration::default()
            },
        );
        assert!(
            held.factors
                .iter()
                .all(|factor| (factor - 1.0).abs() < 1e-6),
            "{held:?}"
        );
    }

    #[test]
    fn labels_without_meaning_teach_nothing() {
        // Findings are dealt out anew at the same rate. The counts without a control must then not
        // help to predict its finding.
        let (schema, history) = (fixtures::schema(), fixtures::history());
        let finding = schema.finding.get();
        let own = fixtures::of_office(&history, "40");
        let turned = own.iter().cycle().skip(own.len() / 2);
        let dealt: Vec<Consignment> = own
            .iter()
            .zip(turned)
            .map(|(row, other)| {
                let values = row.values().enumerate().map(|(at, value)| {
                    if at == finding {
                        other.value(schema.finding)
                    } else {
                        value
                    }
                });
                Consignment::from_values(&schema, 1, values).unwrap()
            })
            .collect();
        let pool = fixtures::pool_of(&schema, &dealt, "40", &[], 1);
        let levels = Levels::of(&schema, &pool);
        let card = calibrated(
            &levels,
            &dealt,
            Calibration {
                common_pull: 1.0,
                level_pull: 1.0,
                ..Calibration::default()
            },
        )
        .unwrap();
        assert!(
            card.factors.iter().all(|factor| factor.abs() < 0.3),
            "{card:?}"
        );
    }

    #[test]
    fn rows_that_are_not_counted_are_refused() {
        let (schema, history) = (fixtures::schema(), fixtures::history());
        let pool = fixtures::pool_of(&schema, &history, "13", &[], 1);
        let levels = Levels::of(&schema, &pool);
        let foreign = fixtures::of_office(&history, "40");
        let error = calibrated(&levels, foreign, Calibration::default()).unwrap_err();
        assert!(
            matches!(error, CalibrationError::NotCounted { .. }),
            "{error}"
        );
        let one_fold = Calibration {
            folds: 1,
            ..Calibration::default()
        };
        assert_eq!(
            calibrated(&levels, &[], one_fold),
            Err(CalibrationError::TooFewFolds(1))
        );
    }

    #[test]
    fn without_own_controls_the_scorecard_stays_uncalibrated() {
        let (schema, history) = (fixtures::schema(), fixtures::history());
        let pool = fixtures::pool_of(&schema, &history, "none", &["40"], 1);
        let levels = Levels::of(&schema, &pool);
        let card = calibrated(&levels, &[], Calibration::default()).unwrap();
        assert_eq!(card, Scorecard::uncalibrated(&levels, SHRINKAGE));
    }
}

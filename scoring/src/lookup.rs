//! The plain look-up. It takes the finding rate of the most specific kind of consignment that was
//! ever controlled, drawn step by step towards the rate of the next coarser kind.
//!
//! It is a baseline beside the score. It beats every model published on the shipped data set, so a
//! score says little unless it is compared with it.

use crate::{consignment::Consignment, levels::Levels, profile::Counts};

/// Shrinkage of the published figures: the weight of the next coarser rate, in controls.
pub const SHRINKAGE: f64 = 0.3;

/// The plain look-up over given counts.
#[derive(Debug, Clone, Copy)]
pub struct Lookup<'l> {
    levels: &'l Levels,
    shrinkage: f64,
}

impl<'l> Lookup<'l> {
    /// Makes the look-up with the published shrinkage.
    #[must_use]
    pub const fn new(levels: &'l Levels) -> Self {
        Self {
            levels,
            shrinkage: SHRINKAGE,
        }
    }

    /// Returns the rate at which controls of such consignments found something, between 0 and 1; 0
    /// if nothing was ever controlled.
    #[must_use]
    pub fn rate(&self, consignment: &Consignment) -> f64 {
        let total = self.levels.total();
        let start = match total.numbers() {
            (0.0, _) => 0.0,
            (controls, findings) => findings / controls,
        };
        let nodes = self.levels.path(consignment).into_iter().skip(1);
        nodes.fold(start, |parent, node| {
            shrunk(self.levels.counts_at(node), parent, self.shrinkage)
        })
    }
}

/// Returns the finding rate of `counts` after adding `shrinkage` controls with the rate `parent`.
pub(crate) fn shrunk(counts: Counts, parent: f64, shrinkage: f64) -> f64 {
    let (controls, findings) = counts.numbers();
    (findings + shrinkage * parent) / (controls + shrinkage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixtures::{self, OFFICES},
        metrics::{Ranking, Share},
    };

    fn ranking(levels: &Levels, arriving: &[&Consignment]) -> Ranking {
        let lookup = Lookup::new(levels);
        arriving
            .iter()
            .map(|row| (lookup.rate(row), row.finding().unwrap()))
            .collect()
    }

    /// Returns the rankings of the six offices, each with its own counts and those of `others`.
    fn rankings(others: &[&str]) -> Vec<Ranking> {
        let schema = fixtures::schema();
        let (history, arriving) = (fixtures::history(), fixtures::arriving());
        let of_office = |office: &&str| {
            let pool = fixtures::pool_of(&schema, &history, office, others, 1);
            let levels = Levels::of(&schema, &pool);
            ranking(&levels, &fixtures::of_office(&arriving, office))
        };
        OFFICES.iter().map(of_office).collect()
    }

    #[track_caller]
    fn near(share: Share, expected: f64) {
        let ratio = share.ratio().unwrap();
        assert!((ratio - expected).abs() < 1e-6, "{ratio} is not {expected}");
    }

    // The expected values come from a separate Python program over the same files, which keeps
    // counts in dictionaries and counts pairs by sorting.

    #[test]
    fn pooled_counts_rank_as_published() {
        let offices = rankings(&OFFICES);
        near(
            offices.iter().map(Ranking::concordant_pairs).sum(),
            0.901598,
        );
        near(
            offices.iter().map(|office| office.precision_at(5.0)).sum(),
            0.973475,
        );
    }

    #[test]
    fn local_counts_rank_worse_as_published() {
        let offices = rankings(&[]);
        near(
            offices.iter().map(Ranking::concordant_pairs).sum(),
            0.822925,
        );
        near(
            offices.iter().map(|office| office.precision_at(5.0)).sum(),
            0.843501,
        );
    }

    #[test]
    fn nothing_known_is_a_rate_of_nothing() {
        let schema = fixtures::schema();
        let pool = fixtures::pool_of(&schema, &[], "13", &[], 1);
        let levels = Levels::of(&schema, &pool);
        let arriving = fixtures::arriving();
        assert!(Lookup::new(&levels).rate(arriving.first().unwrap()).abs() < f64::EPSILON);
    }
}

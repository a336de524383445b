//! Quality of the ranking of the authority's own arrivals, measured by the findings of their
//! controls.
//!
//! Pure. Every figure is a part and a whole, so that the figures of several offices are summed by
//! adding parts and wholes. Only controlled consignments count. Generated identifiers do not count:
//! figures come from profiles alone.

use std::collections::BTreeMap;

use portcullis_scoring::{
    consignment::Consignment,
    lookup::Lookup,
    metrics::{Ranking, Share},
    score::Scorer,
};
use serde::{Deserialize, Serialize};

/// Shares of arrivals, in per cent, for which figures are given.
pub const PERCENTS: [u8; 3] = [1, 5, 10];

/// Smallest counts of a shared cell for which the cost is shown.
pub const LEAST_COUNTS: [u32; 4] = [2, 3, 5, 10];

/// A part of a whole.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ShareView {
    /// The part.
    pub part: f64,
    /// The whole.
    pub whole: f64,
}

/// Figures of one way to rank.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct QualityView {
    /// Pairs of a finding and a non-finding in the right order, of all such pairs. The ratio is the
    /// AUC.
    pub auc: ShareView,
    /// Findings among the consignments opened, of all opened, by per cent opened.
    pub precision_at: BTreeMap<String, ShareView>,
    /// Findings among the consignments opened, of all findings, by per cent opened.
    pub recall_at: BTreeMap<String, ShareView>,
}

/// Cost of withholding small counts between customs authorities.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeastCountView {
    /// The smallest count of a shared cell.
    pub least_count: u32,
    /// Figures with smaller counts withheld.
    pub federated: QualityView,
}

/// The figures of one authority. Version 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FiguresView {
    /// Version of the format: 1.
    pub version: u32,
    /// Number of its rows of the past.
    pub history: u64,
    /// Number of its arrivals.
    pub arriving: u64,
    /// Number of its arrivals whose control is known.
    pub controlled: u64,
    /// Figures of the score from its own counts.
    pub local: QualityView,
    /// Figures of the score from the federation's counts.
    pub federated: QualityView,
    /// Figures of the plain look-up in the federation's counts.
    pub lookup: QualityView,
    /// Figures of the plain look-up in its own counts.
    pub lookup_local: QualityView,
    /// Cost of withholding small counts, by smallest count.
    pub least_counts: Vec<LeastCountView>,
}

impl ShareView {
    /// Returns the part over the whole; `None` if the whole is not positive.
    #[must_use]
    pub fn ratio(self) -> Option<f64> {
        (self.whole > 0.0).then(|| self.part / self.whole)
    }

    fn plus(self, other: Self) -> Self {
        Self {
            part: self.part + other.part,
            whole: self.whole + other.whole,
        }
    }
}

impl From<Share> for ShareView {
    fn from(share: Share) -> Self {
        Self {
            part: share.part,
            whole: share.whole,
        }
    }
}

impl From<&Ranking> for QualityView {
    fn from(ranking: &Ranking) -> Self {
        let at = |share: fn(&Ranking, f64) -> Share| {
            PERCENTS
                .iter()
                .map(|percent| {
                    let share = share(ranking, f64::from(*percent));
                    (percent.to_string(), share.into())
                })
                .collect()
        };
        Self {
            auc: ranking.concordant_pairs().into(),
            precision_at: at(Ranking::precision_at),
            recall_at: at(Ranking::recall_at),
        }
    }
}

impl QualityView {
    /// Returns the figures of several authorities together, each of which opens its own share.
    #[must_use]
    pub fn sum<'v>(views: impl IntoIterator<Item = &'v Self>) -> Self {
        let mut sum = Self::default();
        for view in views {
            sum.auc = sum.auc.plus(view.auc);
            add(&mut sum.precision_at, &view.precision_at);
            add(&mut sum.recall_at, &view.recall_at);
        }
        sum
    }
}

fn add(sum: &mut BTreeMap<String, ShareView>, more: &BTreeMap<String, ShareView>) {
    for (percent, share) in more {
        let so_far = sum.entry(percent.clone()).or_default();
        *so_far = so_far.plus(*share);
    }
}

/// Returns the figures of a scorer on arrivals.
#[must_use]
pub fn of_scores(scorer: &Scorer, arriving: &[Consignment]) -> QualityView {
    quality(arriving, |row| scorer.profile_log_odds(row))
}

/// Returns the figures of the plain look-up in a scorer's counts.
#[must_use]
pub fn of_lookup(scorer: &Scorer, arriving: &[Consignment]) -> QualityView {
    let lookup = Lookup::new(scorer.levels());
    quality(arriving, |row| lookup.rate(row))
}

fn quality(arriving: &[Consignment], score: impl Fn(&Consignment) -> f64) -> QualityView {
    let ranking: Ranking = arriving
        .iter()
        .filter_map(|row| row.finding().map(|found| (score(row), found)))
        .collect();
    QualityView::from(&ranking)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offices_add_up_by_parts_and_wholes() {
        let office = |part, whole| QualityView {
            auc: ShareView { part, whole },
            precision_at: [("5".to_owned(), ShareView { part, whole })].into(),
            recall_at: BTreeMap::new(),
        };
        let sum = QualityView::sum(&[office(1.0, 2.0), office(3.0, 8.0)]);
        assert_eq!(sum.auc.ratio(), Some(0.4));
        assert_eq!(sum.precision_at["5"].ratio(), Some(0.4));
    }

    #[test]
    fn what_was_not_controlled_counts_in_no_figure() {
        let rows = crate::fixtures::read(&[crate::fixtures::row_with("Fraud", "")]);
        assert_eq!(quality(&rows, |_| 1.0).auc, ShareView::default());
    }
}

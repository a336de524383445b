//! The figures of a run, as a file for programs and a table for people.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use portcullis_desk::figures::{FiguresView, QualityView, ShareView};

/// Everything that a run measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Each office on its own arrivals.
    pub offices: Vec<OfficeReport>,
    /// The sum over the offices: each opens its own share.
    pub overall: OfficeReport,
    /// What the least count of a shared cell between customs authorities would cost.
    pub least_counts: Vec<LeastCountReport>,
    /// What became of every record for every member.
    pub exchange: ExchangeReport,
    /// How long alerts took.
    pub alerts: AlertsReport,
    /// How many node processes there were.
    pub nodes: usize,
    /// How long all of it took.
    pub seconds: f64,
}

/// The figures of one office, or of all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OfficeReport {
    /// The office; `overall` for the sum.
    pub id: String,
    /// Its rows of the past.
    pub history: u64,
    /// Its arrivals.
    pub arriving: u64,
    /// Area under the ROC curve with its own counts alone.
    pub auc_local: Option<f64>,
    /// The same with what the federation gave.
    pub auc_federated: Option<f64>,
    /// Federated: findings among what is opened, by per cent opened.
    pub precision_at: BTreeMap<String, Option<f64>>,
    /// Federated: findings among what is opened, of all findings.
    pub recall_at: BTreeMap<String, Option<f64>>,
    /// The plain look-up in the same counts.
    pub lookup: LookupReport,
}

/// The figures of the plain look-up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LookupReport {
    /// Area under the ROC curve.
    pub auc: Option<f64>,
    /// Findings among what is opened, by per cent opened.
    pub precision_at: BTreeMap<String, Option<f64>>,
}

/// What withholding small counts would cost all offices together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeastCountReport {
    /// The least count of a shared cell.
    pub least_count: u32,
    /// Federated, then.
    pub auc: Option<f64>,
    /// Federated, then.
    pub precision_at: BTreeMap<String, Option<f64>>,
}

/// What became of every record for every member, summed over all nodes' ledgers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeReport {
    /// Records times members to which they could have gone, counted without the ledgers.
    pub candidates: u64,
    /// Records sealed by their authorities.
    pub sealed: u64,
    /// Receipted as accepted, extended or duplicate.
    pub delivered: u64,
    /// Stopped by the sender's policy.
    pub denied: u64,
    /// Refused by the receiver.
    pub refused: u64,
    /// Held by the receiver for a person.
    pub held: u64,
    /// Sections that were withheld from what was released.
    pub withheld_sections: u64,
    /// Records held anywhere that verify against the register.
    pub verified: u64,
}

/// How long alerts took, in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AlertsReport {
    /// How many were raised.
    pub count: usize,
    /// From the request to raise it to the last signed receipt.
    pub receipt_ms: Percentiles,
    /// From the request to raise it to the new score at the office of its consignment.
    pub scored_ms: Percentiles,
}

/// Percentiles by the nearest rank.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// 99 of 100 lie below or at it.
    pub p99: f64,
}

impl Percentiles {
    /// The percentiles of some durations in milliseconds; zero for none.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let rank = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            values.get(rank - 1).copied().unwrap_or_default()
        };
        Self {
            p50: rank(50),
            p99: rank(99),
        }
    }
}

impl OfficeReport {
    /// The figures of one office.
    #[must_use]
    pub fn of(id: &str, figures: &FiguresView) -> Self {
        let FiguresView {
            version: _,
            history,
            arriving,
            controlled: _,
            local,
            federated,
            lookup,
            lookup_local: _,
            least_counts: _,
        } = figures;
        Self {
            id: id.to_owned(),
            history: *history,
            arriving: *arriving,
            auc_local: local.auc.ratio(),
            auc_federated: federated.auc.ratio(),
            precision_at: ratios(&federated.precision_at),
            recall_at: ratios(&federated.recall_at),
            lookup: LookupReport {
                auc: lookup.auc.ratio(),
                precision_at: ratios(&lookup.precision_at),
            },
        }
    }

    /// The figures of all offices together.
    #[must_use]
    pub fn overall(offices: &[FiguresView]) -> Self {
        let sum = |of: fn(&FiguresView) -> &QualityView| QualityView::sum(offices.iter().map(of));
        let all = FiguresView {
            version: 1,
            history: offices.iter().map(|office| office.history).sum(),
            arriving: offices.iter().map(|office| office.arriving).sum(),
            controlled: offices.iter().map(|office| office.controlled).sum(),
            local: sum(|office| &office.local),
            federated: sum(|office| &office.federated),
            lookup: sum(|office| &office.lookup),
            lookup_local: sum(|office| &office.lookup_local),
            least_counts: Vec::new(),
        };
        Self::of("overall", &all)
    }
}

impl LeastCountReport {
    /// What each least count would cost all offices together.
    #[must_use]
    pub fn overall(offices: &[FiguresView]) -> Vec<Self> {
        let mut by_count: BTreeMap<u32, Vec<&QualityView>> = BTreeMap::new();
        for row in offices.iter().flat_map(|office| &office.least_counts) {
            let all = by_count.entry(row.least_count).or_default();
            all.push(&row.federated);
        }
        by_count
            .into_iter()
            .map(|(least_count, all)| {
                let sum = QualityView::sum(all);
                Self {
                    least_count,
                    auc: sum.auc.ratio(),
                    precision_at: ratios(&sum.precision_at),
                }
            })
            .collect()
    }
}

impl ExchangeReport {
    /// Whether every candidate has one of the four outcomes.
    #[must_use]
    pub const fn adds_up(&self) -> bool {
        self.delivered + self.denied + self.refused + self.held == self.candidates
    }
}

fn ratios(shares: &BTreeMap<String, ShareView>) -> BTreeMap<String, Option<f64>> {
    shares
        .iter()
        .map(|(percent, share)| (percent.clone(), share.ratio()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        let Percentiles { p50, p99 } = Percentiles::of(values);
        assert_eq!((p50, p99), (100.0, 198.0));
        assert_eq!(Percentiles::of(vec![7.0]).p99, 7.0);
        assert_eq!(Percentiles::of(Vec::new()).p50, 0.0);
    }

    #[test]
    fn a_candidate_without_outcome_is_noticed() {
        let mut exchange = ExchangeReport {
            candidates: 4,
            delivered: 1,
            denied: 1,
            refused: 1,
            ..ExchangeReport::default()
        };
        assert!(!exchange.adds_up());
        exchange.held = 1;
        assert!(exchange.adds_up());
    }
}

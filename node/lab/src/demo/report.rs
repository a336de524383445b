//! Figures of a run, as a file for programs and a table for people.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use portcullis_desk::figures::{FiguresView, QualityView, ShareView};

/// All figures that a run measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Figures of each office on its own arrivals.
    pub offices: Vec<OfficeReport>,
    /// Sum over the offices, each of which opens its own share.
    pub overall: OfficeReport,
    /// Cost of each least count of a shared cell between customs authorities.
    pub least_counts: Vec<LeastCountReport>,
    /// Outcomes of every record for every member.
    pub exchange: ExchangeReport,
    /// Times of the alerts.
    pub alerts: AlertsReport,
    /// Number of node processes.
    pub nodes: usize,
    /// Duration of the whole run, in seconds.
    pub seconds: f64,
}

/// Figures of one office, or of all offices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OfficeReport {
    /// Number of the office; `overall` for the sum.
    pub id: String,
    /// Number of its rows of the past.
    pub history: u64,
    /// Number of its arrivals.
    pub arriving: u64,
    /// Area under the ROC curve with the office's own counts alone.
    pub auc_local: Option<f64>,
    /// Area under the ROC curve with the federation's counts as well.
    pub auc_federated: Option<f64>,
    /// Share of findings among the opened consignments, by per cent opened, with the federation's
    /// counts.
    pub precision_at: BTreeMap<String, Option<f64>>,
    /// Share of all findings that are among the opened consignments, by per cent opened, with the
    /// federation's counts.
    pub recall_at: BTreeMap<String, Option<f64>>,
    /// Figures of the plain look-up in the same counts.
    pub lookup: LookupReport,
}

/// Figures of the plain look-up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LookupReport {
    /// Area under the ROC curve.
    pub auc: Option<f64>,
    /// Share of findings among the opened consignments, by per cent opened.
    pub precision_at: BTreeMap<String, Option<f64>>,
}

/// Cost of withholding small counts, for all offices together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeastCountReport {
    /// Least count of a shared cell.
    pub least_count: u32,
    /// Area under the ROC curve with the federation's counts and this least count.
    pub auc: Option<f64>,
    /// Share of findings among the opened consignments, by per cent opened, with the federation's
    /// counts and this least count.
    pub precision_at: BTreeMap<String, Option<f64>>,
}

/// Outcomes of every record for every member, summed over the ledgers of all nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeReport {
    /// Number of pairs of a record and a member that it could have gone to, counted independently
    /// of the decisions in the ledgers.
    pub candidates: u64,
    /// Number of records sealed by their authorities.
    pub sealed: u64,
    /// Deliveries receipted as accepted, extended or duplicate.
    pub delivered: u64,
    /// Deliveries stopped by the sender's policy.
    pub denied: u64,
    /// Deliveries refused by the receiver.
    pub refused: u64,
    /// Deliveries held by the receiver for a person.
    pub held: u64,
    /// Number of sections that were withheld from released records.
    pub withheld_sections: u64,
    /// Number of records held by any node that verify against the register.
    pub verified: u64,
}

/// Times of the alerts, in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AlertsReport {
    /// Number of alerts raised.
    pub count: usize,
    /// Time from the request to raise the alert to the last signed receipt.
    pub receipt_ms: Percentiles,
    /// Time from the request to raise the alert to the new score at the office of its consignment.
    pub scored_ms: Percentiles,
}

/// Percentiles by the nearest rank.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// Value that 99 of 100 lie at or below.
    pub p99: f64,
}

impl Percentiles {
    /// Returns the percentiles of some durations in milliseconds; zero if there are none.
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
    /// Returns the figures of one office.
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

    /// Returns the figures of all offices together.
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
    /// Returns the cost of each least count, for all offices together.
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
    /// Returns true if every candidate has one of the four outcomes.
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

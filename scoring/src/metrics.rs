//! Quality figures: measures of how well a score ranks the findings of controls.
//!
//! A [`Ranking`] holds one office's arrivals. Each office opens its own share of them, so that
//! `overall` figures are sums over offices: concordant pairs over pairs, findings over opened
//! arrivals.

/// The scores and findings of one office's arrivals.
#[derive(Debug, Clone, Default)]
pub struct Ranking {
    /// Pairs of score and finding, by falling score; equal scores in the order of arrival.
    by_score: Vec<(f64, bool)>,
}

/// A part and its whole.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Share {
    /// The part.
    pub part: f64,
    /// The whole.
    pub whole: f64,
}

impl Share {
    /// Returns the part divided by the whole; `None` if the whole is zero.
    #[must_use]
    pub fn ratio(self) -> Option<f64> {
        (self.whole > 0.0).then(|| self.part / self.whole)
    }
}

impl std::iter::Sum for Share {
    fn sum<I: Iterator<Item = Self>>(shares: I) -> Self {
        shares.fold(Self::default(), |sum, share| Self {
            part: sum.part + share.part,
            whole: sum.whole + share.whole,
        })
    }
}

impl Ranking {
    /// Returns the number of arrivals.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.by_score.len()
    }

    /// Returns whether there are no arrivals.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.by_score.is_empty()
    }

    /// Counts the pairs of an arrival with a finding and one without that the score puts in the
    /// right order, out of all such pairs; a tie counts half. The ratio is the area under the ROC
    /// curve.
    #[must_use]
    pub fn concordant_pairs(&self) -> Share {
        let mut findings_above = 0.0;
        let (mut part, mut negatives) = (0.0, 0.0);
        for tied in self
            .by_score
            .chunk_by(|left, right| left.0.total_cmp(&right.0).is_eq())
        {
            let found = count_found(tied);
            let not_found = tied.len() as f64 - found;
            part += not_found * (findings_above + found / 2.0);
            findings_above += found;
            negatives += not_found;
        }
        Share {
            part,
            whole: findings_above * negatives,
        }
    }

    /// Counts the findings among the arrivals opened if an office opens `percent` of them, out of
    /// those opened.
    #[must_use]
    pub fn precision_at(&self, percent: f64) -> Share {
        let opened = self.opened(percent);
        Share {
            part: count_found(opened),
            whole: opened.len() as f64,
        }
    }

    /// Counts the findings among the arrivals opened at `percent`, out of all findings.
    #[must_use]
    pub fn recall_at(&self, percent: f64) -> Share {
        Share {
            part: count_found(self.opened(percent)),
            whole: count_found(&self.by_score),
        }
    }

    /// Returns the first arrivals by score: `percent` of them, rounded to the nearest, at least
    /// one.
    fn opened(&self, percent: f64) -> &[(f64, bool)] {
        let wanted = self.len() as f64 * percent / 100.0;
        let least = usize::from(!self.is_empty());
        let opened = (least..=self.len())
            .find(|count| *count as f64 + 0.5 > wanted)
            .unwrap_or(self.len());
        self.by_score.get(..opened).unwrap_or(&self.by_score)
    }
}

impl FromIterator<(f64, bool)> for Ranking {
    fn from_iter<T: IntoIterator<Item = (f64, bool)>>(scored: T) -> Self {
        let mut by_score: Vec<(f64, bool)> = scored.into_iter().collect();
        by_score.sort_by(|left, right| right.0.total_cmp(&left.0));
        Self { by_score }
    }
}

fn count_found(arrivals: &[(f64, bool)]) -> f64 {
    arrivals.iter().filter(|(_, found)| *found).count() as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranking(scored: &[(f64, u8)]) -> Ranking {
        scored
            .iter()
            .map(|(score, found)| (*score, *found == 1))
            .collect()
    }

    #[track_caller]
    fn auc(scored: &[(f64, u8)], expected: Option<f64>) {
        assert_eq!(ranking(scored).concordant_pairs().ratio(), expected);
    }

    #[test]
    fn auc_of_small_cases_is_what_counting_pairs_gives() {
        auc(&[(0.9, 1), (0.1, 0)], Some(1.0));
        auc(&[(0.1, 1), (0.9, 0)], Some(0.0));
        auc(&[(0.5, 1), (0.5, 0)], Some(0.5));
        // The example of scikit-learn's `roc_auc_score`: 3 of 4 pairs.
        auc(&[(0.1, 0), (0.4, 0), (0.35, 1), (0.8, 1)], Some(0.75));
        // Pairs: (3 over 2) 1, (3 over 1) 1, (2 over 2) 0.5, (2 over 1) 1; of 4.
        auc(&[(3.0, 1), (2.0, 1), (2.0, 0), (1.0, 0)], Some(0.875));
        auc(&[(1.0, 1), (2.0, 1)], None);
        auc(&[], None);
    }

    #[test]
    fn the_share_opened_is_rounded_to_the_nearest_and_never_nothing() {
        let opened = |n: u32, percent| {
            (0..n)
                .map(|score| (f64::from(score), false))
                .collect::<Ranking>()
                .precision_at(percent)
                .whole
        };
        assert_eq!(opened(188, 5.0), 9.0);
        assert_eq!(opened(30, 5.0), 2.0);
        assert_eq!(opened(3, 1.0), 1.0);
        assert_eq!(opened(10, 100.0), 10.0);
        assert_eq!(opened(0, 5.0), 0.0);
    }

    #[test]
    fn precision_and_recall_count_findings_among_the_opened() {
        let all = ranking(&[(4.0, 1), (3.0, 0), (2.0, 1), (1.0, 1)]);
        assert_eq!(
            all.precision_at(50.0),
            Share {
                part: 1.0,
                whole: 2.0
            }
        );
        assert_eq!(
            all.recall_at(50.0),
            Share {
                part: 1.0,
                whole: 3.0
            }
        );
    }

    #[test]
    fn overall_is_the_sum_over_offices() {
        let offices = [
            ranking(&[(1.0, 1), (0.0, 0)]),
            ranking(&[(9.0, 0), (9.0, 0), (8.0, 1)]),
        ];
        let overall: Share = offices.iter().map(Ranking::concordant_pairs).sum();
        assert_eq!(
            overall,
            Share {
                part: 1.0,
                whole: 3.0
            }
        );
        let opened: Share = offices.iter().map(|office| office.precision_at(5.0)).sum();
        assert_eq!(
            opened,
            Share {
                part: 1.0,
                whole: 2.0
            }
        );
    }

    proptest! {
        #[test]
        fn auc_equals_the_count_over_all_pairs(
            scored in prop::collection::vec((0u8..6, any::<bool>()), 0..30),
        ) {
            let (mut part, mut whole) = (0.0, 0.0);
            for (high, _) in scored.iter().filter(|(_, found)| *found) {
                for (low, _) in scored.iter().filter(|(_, found)| !*found) {
                    whole += 1.0;
                    part += match high.cmp(low) {
                        std::cmp::Ordering::Greater => 1.0,
                        std::cmp::Ordering::Equal => 0.5,
                        std::cmp::Ordering::Less => 0.0,
                    };
                }
            }
            let ranking: Ranking =
                scored.iter().map(|(score, found)| (f64::from(*score), *found)).collect();
            prop_assert_eq!(ranking.concordant_pairs(), Share { part, whole });
        }
    }
}

//! Clock offset of a peer, measured from receipts. Pure.
//!
//! A receipt gives the time of the peer's answer by the peer's clock. Its frame was sent before and
//! its receipt read after, both by this node's clock, so the offset lies between two bounds. Half
//! their distance is the error. The best measurement of the last quarter of an hour counts, unless a
//! newer one contradicts it: then one of the two clocks was set. It is only shown: no rule trusts a
//! clock because it is near.

use std::fmt;

use portcullis_protocol::time::Timestamp;

/// Time in milliseconds after which a measurement gives way to a worse one.
const LASTS_MS: i64 = 15 * 60_000;

/// Drift of two clocks within that time, in milliseconds.
const DRIFT_MS: i64 = 200;

/// Offset of a peer's clock, with its error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew {
    /// Milliseconds by which the peer's clock is ahead; negative if it is behind.
    pub ahead_ms: i64,
    /// Largest error of `ahead_ms`, in milliseconds.
    pub error_ms: i64,
    /// Time of the measurement.
    pub at: Timestamp,
}

impl Skew {
    /// Measures by one exchange: frame sent, answered by the peer's clock, receipt read. Returns
    /// `None` if this clock was set back meanwhile.
    #[must_use]
    pub const fn measured(sent: Timestamp, answered: Timestamp, read: Timestamp) -> Option<Self> {
        let took = read.millis_since(sent);
        if took < 0 {
            return None;
        }
        // Half of the round trip, rounded up so that the bounds are included.
        let error_ms = took / 2 + took % 2;
        Some(Self {
            ahead_ms: answered.millis_since(sent).saturating_sub(took / 2),
            error_ms,
            at: read,
        })
    }

    /// Returns true if both measurements can be right: their bounds overlap, a little drift allowed.
    const fn agrees(self, other: Self) -> bool {
        let apart = self
            .ahead_ms
            .saturating_sub(other.ahead_ms)
            .saturating_abs();
        let bounds = self.error_ms.saturating_add(other.error_ms);
        apart <= bounds.saturating_add(DRIFT_MS)
    }

    /// Returns the better of the held measurement and a new one; the new one if both cannot be
    /// right.
    #[must_use]
    pub fn or_better(held: Option<Self>, new: Self) -> Self {
        match held {
            Some(held)
                if held.agrees(new)
                    && held.error_ms < new.error_ms
                    && (0..LASTS_MS).contains(&new.at.millis_since(held.at)) =>
            {
                held
            }
            Some(_) | None => new,
        }
    }
}

impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (way, size) = if self.ahead_ms < 0 {
            ("behind", self.ahead_ms.saturating_neg())
        } else {
            ("ahead", self.ahead_ms)
        };
        write!(f, "{size} ms {way}, within {} ms", self.error_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_772_366_400_000);

    fn measured(sent: i64, answered: i64, read: i64) -> Option<Skew> {
        let at = |millis| START.plus_millis(millis);
        Skew::measured(at(sent), at(answered), at(read))
    }

    #[test]
    fn the_true_difference_lies_within_the_error_wherever_the_time_went() {
        for ahead in [-400_000, -3, 0, 7, 90_000] {
            for (there, back) in [(0, 0), (0, 9), (9, 0), (4, 5), (60_000, 1)] {
                let skew = measured(0, there + ahead, there + back).unwrap();
                let wrong = (skew.ahead_ms - ahead).abs();
                assert!(
                    wrong <= skew.error_ms,
                    "{skew} for {ahead} by {there}, {back}"
                );
            }
        }
    }

    #[test]
    fn a_clock_that_was_set_back_measures_nothing() {
        assert_eq!(measured(5, 5, 4), None);
    }

    #[test]
    fn the_better_measurement_counts_until_it_is_old() {
        let good = measured(0, 1, 2).unwrap();
        let worse = measured(1_000, 1_500, 2_000).unwrap();
        assert_eq!(Skew::or_better(Some(good), worse), good);
        assert_eq!(Skew::or_better(Some(worse), good), good);
        let late = measured(LASTS_MS, LASTS_MS + 500, LASTS_MS + 1_000).unwrap();
        assert_eq!(Skew::or_better(Some(good), late), late);
        assert_eq!(Skew::or_better(None, worse), worse);
    }

    /// Newcomer B14: a clock that was set two hours ahead was shown as it had been before, for a
    /// quarter of an hour.
    #[test]
    fn a_clock_that_was_set_is_seen_at_the_next_measurement() {
        let before = measured(0, 1, 2).unwrap();
        let set = measured(10_000, 7_210_500, 11_000).unwrap();
        assert_eq!(Skew::or_better(Some(before), set), set);
        let back = measured(20_000, 20_020, 20_040).unwrap();
        assert_eq!(Skew::or_better(Some(set), back), back);
    }

    #[test]
    fn it_is_said_which_way() {
        assert_eq!(
            measured(0, 5, 2).unwrap().to_string(),
            "4 ms ahead, within 1 ms"
        );
        assert_eq!(
            measured(0, -5, 0).unwrap().to_string(),
            "5 ms behind, within 0 ms"
        );
    }
}

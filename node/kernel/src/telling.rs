//! Telling of what comes again and again: the first few times in a minute each time, then once with the count.
//!
//! Peers and strangers can cause log lines and events as often as they like. Here they are counted by cause, so that
//! nobody fills the disk, and nothing is lost but the repetition. Pure: the time is an argument.

use std::collections::BTreeMap;

use portcullis_protocol::time::Timestamp;

/// Period over which a cause is counted, in milliseconds.
pub const MINUTE_MS: i64 = 60_000;

/// Counts by cause.
#[derive(Debug)]
pub struct Telling<K> {
    /// Times in a minute that a cause is told by itself.
    most: u64,
    /// Causes that are counted apart.
    causes: usize,
    counts: BTreeMap<K, Count>,
    /// Times that causes came which found no room among those counted apart.
    others: u64,
}

/// Number of times that one cause came in its minute.
#[derive(Debug)]
struct Count {
    began: Timestamp,
    times: u64,
}

/// Causes whose minute is over, and that were not told each time.
#[derive(Debug, PartialEq, Eq)]
pub struct Untold<K> {
    /// Each cause with the number of times that it was not told.
    pub causes: Vec<(K, u64)>,
    /// Number of times that causes came which were not counted apart.
    pub others: u64,
}

impl<K: Ord> Telling<K> {
    /// Begins with nothing told. Each cause is told by itself `most` times a minute, and `causes` are counted apart.
    #[must_use]
    pub const fn new(most: u64, causes: usize) -> Self {
        Self {
            most,
            causes,
            counts: BTreeMap::new(),
            others: 0,
        }
    }

    /// Counts a cause. Returns true if it is to be told.
    pub fn count(&mut self, cause: K, now: Timestamp) -> bool {
        let most = self.most;
        if let Some(count) = self.counts.get_mut(&cause) {
            if !within_minute(count.began, now) && count.times <= most {
                *count = Count {
                    began: now,
                    times: 0,
                };
            }
            count.times = count.times.saturating_add(1);
            return count.times <= most;
        }
        if self.counts.len() >= self.causes {
            self.others = self.others.saturating_add(1);
            return false;
        }
        let count = Count {
            began: now,
            times: 1,
        };
        self.counts.insert(cause, count);
        most > 0
    }

    /// Returns what came in minutes that are over and was not told, and drops the counts of those minutes.
    pub fn over(&mut self, now: Timestamp) -> Untold<K> {
        let most = self.most;
        let (open, over): (BTreeMap<K, Count>, BTreeMap<K, Count>) =
            std::mem::take(&mut self.counts)
                .into_iter()
                .partition(|(_, count)| within_minute(count.began, now));
        self.counts = open;
        let untold = |(cause, count): (K, Count)| {
            let times = count.times.saturating_sub(most);
            (times > 0).then_some((cause, times))
        };
        Untold {
            causes: over.into_iter().filter_map(untold).collect(),
            others: std::mem::take(&mut self.others),
        }
    }

    /// Returns true if nothing is counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

/// Returns true while the minute lasts. A clock that was set back ends it as well.
#[must_use]
pub fn within_minute(began: Timestamp, now: Timestamp) -> bool {
    (0..MINUTE_MS).contains(&now.millis_since(began))
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_testbed::NOW;

    #[test]
    fn a_cause_is_told_a_few_times_and_then_counted_exactly() {
        let mut telling = Telling::new(5, 10);
        let told = (0..400)
            .filter(|number| telling.count("stranger", NOW.plus_millis(*number)))
            .count();
        assert_eq!(told, 5);
        assert!(telling.count("another", NOW));
        let nothing = telling.over(NOW.plus_millis(MINUTE_MS - 1));
        assert_eq!(nothing.causes, []);
        let untold = telling.over(NOW.plus_millis(MINUTE_MS));
        assert_eq!(untold.causes, [("stranger", 395)]);
        assert!(telling.is_empty());
        assert!(telling.count("stranger", NOW.plus_millis(MINUTE_MS)));
    }

    #[test]
    fn what_came_seldom_is_told_again_in_the_next_minute() {
        let mut telling = Telling::new(1, 10);
        assert!(telling.count("once", NOW));
        assert!(telling.count("once", NOW.plus_millis(MINUTE_MS)));
        assert!(!telling.count("once", NOW.plus_millis(MINUTE_MS + 1)));
        // A clock that was set back ends the minute, and nothing is lost by it.
        assert_eq!(telling.over(NOW).causes, [("once", 1)]);
        assert!(telling.count("once", NOW));
    }

    #[test]
    fn causes_without_end_are_counted_together() {
        let mut telling = Telling::new(5, 3);
        let told = (0..1_000)
            .filter(|cause| telling.count(*cause, NOW))
            .count();
        assert_eq!(told, 3);
        assert_eq!(telling.over(NOW).others, 997);
    }
}

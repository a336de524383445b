//! Counters of the node, for `/metrics`. No label carries an identifier of cargo or persons.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use lru::LruCache;
use portcullis_protocol::{
    frame::{Answer, Outcome},
    record::RecordId,
    time::Timestamp,
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::outlook::{Dependency, Subject};
use portcullis_peering::counters::ExchangeCounters;
use portcullis_store::{Found, writer::Priority};

/// The outcome of an item, as answered to a peer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    outcome: &'static str,
}

/// Kind of dependency that comes to an end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct EndLabel {
    what: &'static str,
}

/// Queue of the store's writer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct QueueLabel {
    priority: &'static str,
}

/// Upper bounds of the times from an alert's publication to a receipt, in seconds.
const ALERT_SECONDS: [f64; 15] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0,
];

/// Upper bounds of the times that a write takes, in seconds.
const COMMIT_SECONDS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Newest alerts whose publication is remembered.
const ALERTS_REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// Times from the publication of this authority's alerts to the receipts of peers; clones share them.
#[derive(Debug, Clone)]
struct AlertTimes {
    /// Beginnings of the newest publications; held for a moment only.
    began: Arc<Mutex<LruCache<RecordId, Instant>>>,
    seconds: Histogram,
}

impl Default for AlertTimes {
    fn default() -> Self {
        Self {
            began: Arc::new(Mutex::new(LruCache::new(ALERTS_REMEMBERED))),
            seconds: Histogram::new(ALERT_SECONDS),
        }
    }
}

impl AlertTimes {
    fn begin(&self, records: impl IntoIterator<Item = RecordId>) {
        let mut began = self.began.lock().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            began.put(record, Instant::now());
        }
    }

    /// Counts the answers by which a peer admits an alert. A record that is held there is counted
    /// when a person has let it in.
    fn receipted(&self, answers: &[Answer]) {
        let began = self.began.lock().unwrap_or_else(PoisonError::into_inner);
        if began.is_empty() {
            return;
        }
        for answer in answers.iter().filter(|one| one.outcome.is_admitted()) {
            if let Some(begun) = began.peek(&answer.record) {
                self.seconds.observe(begun.elapsed().as_secs_f64());
            }
        }
    }
}

/// Times that writes take from their request until they are durable, by queue.
#[derive(Debug, Clone)]
struct CommitTimes(Family<QueueLabel, Histogram>);

impl Default for CommitTimes {
    fn default() -> Self {
        let times = Family::new_with_constructor(commit_seconds as fn() -> Histogram);
        for priority in Priority::ALL {
            let priority = priority.name();
            // A queue that nothing was written to has zeros.
            drop(times.get_or_create(&QueueLabel { priority }));
        }
        Self(times)
    }
}

fn commit_seconds() -> Histogram {
    Histogram::new(COMMIT_SECONDS)
}

/// Counters of the node; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Counters of connections.
    pub connections: ExchangeCounters,
    /// Frames refused whole.
    pub frames_refused: Counter,
    /// Items that failed verification and were set apart.
    pub items_quarantined: Counter,
    ends: Family<EndLabel, Gauge>,
    /// Records that one end of a channel had lost or did not know of, repaired.
    repairs: Counter,
    answers: Family<OutcomeLabel, Counter>,
    receipts: Family<OutcomeLabel, Counter>,
    alerts: AlertTimes,
    commits: CommitTimes,
}

impl Metrics {
    /// Registers the counters with a registry.
    pub fn register(&self, registry: &mut Registry) {
        self.connections.register(registry);
        registry.register(
            "portcullis_frames_refused",
            "Frames of peers that were refused whole",
            self.frames_refused.clone(),
        );
        registry.register(
            "portcullis_ends_in_seconds",
            "Seconds until the first of each kind of what the node depends on ends",
            self.ends.clone(),
        );
        registry.register(
            "portcullis_records_reconciled",
            "Records that one end of a channel had lost or did not know of, put right",
            self.repairs.clone(),
        );
        registry.register(
            "portcullis_items_quarantined",
            "Items of peers that failed verification and were set apart",
            self.items_quarantined.clone(),
        );
        registry.register(
            "portcullis_items_answered",
            "Items of peers by what was answered",
            self.answers.clone(),
        );
        registry.register(
            "portcullis_items_receipted",
            "Items sent to peers by what they answered",
            self.receipts.clone(),
        );
        registry.register(
            "portcullis_alert_latency_seconds",
            "Time from the publication of an alert here to the receipt by which a peer admits it",
            self.alerts.seconds.clone(),
        );
        registry.register(
            "portcullis_commit_duration_seconds",
            "Time from the request of a write until it is durable, by the queue of the writer",
            self.commits.0.clone(),
        );
    }

    /// Notes that alerts are about to be published.
    pub fn begin_alerts(&self, records: impl IntoIterator<Item = RecordId>) {
        self.alerts.begin(records);
    }

    /// Counts a write that took so long to be durable.
    pub fn count_commit(&self, priority: Priority, took: Duration) {
        let priority = priority.name();
        let times = self.commits.0.get_or_create(&QueueLabel { priority });
        times.observe(took.as_secs_f64());
    }

    /// Shows the seconds until each kind of dependency ends, by its first end. A kind without
    /// dependencies is not shown. `dependencies` must be in order of their ends.
    pub fn show_ends(&self, dependencies: &[Dependency], now: Timestamp) {
        let label = |one: &Dependency| EndLabel {
            what: one.subject.name(),
        };
        for name in Subject::NAMES {
            if !dependencies.iter().any(|one| one.subject.name() == *name) {
                self.ends.remove(&EndLabel { what: name });
            }
        }
        // The nearest end of a kind comes first, so it is written last.
        for one in dependencies.iter().rev() {
            let seconds = one.ends.millis_since(now) / 1000;
            self.ends.get_or_create(&label(one)).set(seconds);
        }
    }

    /// Returns the number of items that peers have answered, with any outcome.
    #[must_use]
    pub fn receipted(&self) -> u64 {
        let of = |outcome: &Outcome| {
            let label = OutcomeLabel {
                outcome: outcome.name(),
            };
            self.receipts.get(&label).map_or(0, |counter| counter.get())
        };
        Outcome::ALL.iter().map(of).sum()
    }

    /// Counts the repairs of a comparison.
    pub fn count_repairs(&self, found: &Found) {
        let Found {
            owed,
            learned,
            withdrawn,
            recovered,
        } = *found;
        self.repairs.inc_by(owed + learned + withdrawn + recovered);
    }

    /// Counts the answers to a peer.
    pub fn count_answers(&self, answers: &[Answer]) {
        count(&self.answers, answers);
    }

    /// Counts the answers of a peer.
    pub fn count_receipts(&self, answers: &[Answer]) {
        count(&self.receipts, answers);
        self.alerts.receipted(answers);
    }
}

fn count(family: &Family<OutcomeLabel, Counter>, answers: &[Answer]) {
    for answer in answers {
        let outcome = answer.outcome.name();
        family.get_or_create(&OutcomeLabel { outcome }).inc();
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;

    use super::*;
    use portcullis_peering::term::Term;
    use portcullis_testbed::NOW;

    #[test]
    fn the_end_of_what_is_gone_is_shown_no_more() {
        let metrics = Metrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let lasting = |subject, seconds: i64| {
            let until = NOW.plus_millis(seconds * 1_000);
            Dependency::lasting(subject, Term { since: NOW, until })
        };
        let shown = |dependencies: &[Dependency]| {
            metrics.show_ends(dependencies, NOW);
            let mut page = String::new();
            text::encode(&mut page, &registry).unwrap();
            let lines = page
                .lines()
                .filter(|line| line.starts_with("portcullis_ends_in"));
            lines.map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        let line = |what: &str, seconds: i64| {
            format!("portcullis_ends_in_seconds{{what=\"{what}\"}} {seconds}")
        };
        let anchor = |node: &str, seconds| lasting(Subject::Anchor(node.parse().unwrap()), seconds);
        let both = [
            anchor("antwerp-1", 7),
            anchor("hub-1", 9),
            lasting(Subject::Freshness, 11),
        ];
        let mut all = shown(&both);
        all.sort_unstable();
        assert_eq!(all, [line("freshness", 11), line("trust-anchor", 7)]);
        assert_eq!(shown(&both[1..2]), [line("trust-anchor", 9)]);
    }
}

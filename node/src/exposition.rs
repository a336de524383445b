//! The page of `/metrics`: counters and readings in Prometheus' text format, version 0.0.4.
//!
//! Every peer label is a node of the register, so that no stranger makes a series. Times are Unix
//! seconds, ages seconds, sizes bytes. What is not known has no sample, and no age is below zero.

use std::{
    collections::BTreeSet,
    fmt::{self, Write as _},
};

use portcullis_kernel::{disk::Space, health::ProblemKind, metrics::Metrics};
use portcullis_protocol::{frame::Lane, identifiers::NodeId, time::Timestamp};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, text},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Registry,
};

use crate::readings::{Behind, Kept, PeerReadings, PeerState, Queue, Readings};

/// Content type of the page.
pub const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes the page.
///
/// # Errors
///
/// [`fmt::Error`] if the text cannot be grown.
pub fn page(metrics: &Metrics, readings: Readings) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    registry.register_collector(Box::new(readings));
    let mut page = String::new();
    text::encode_registry(&mut page, &registry)?;
    classic(&page)
}

/// Rewrites OpenMetrics text in the older format, which every tool takes: there a counter's help and
/// type carry the name of its samples.
fn classic(open: &str) -> Result<String, fmt::Error> {
    let counter = |line: &'_ str| {
        let named = line.strip_prefix("# TYPE ")?.strip_suffix(" counter")?;
        Some(named.to_owned())
    };
    let counters: BTreeSet<String> = open.lines().filter_map(counter).collect();
    let mut page = String::with_capacity(open.len());
    for line in open.lines() {
        let said = ["# HELP ", "# TYPE "]
            .into_iter()
            .find_map(|mark| Some((mark, line.strip_prefix(mark)?.split_once(' ')?)));
        match said {
            Some((mark, (name, rest))) if counters.contains(name) => {
                writeln!(page, "{mark}{name}_total {rest}")?;
            }
            Some(_) => writeln!(page, "{line}")?,
            // Units stand in the names.
            None if line.starts_with('#') => {}
            None => writeln!(page, "{line}")?,
        }
    }
    Ok(page)
}

/// A sample: its labels, and its value.
type Sample = (Vec<(&'static str, String)>, f64);

/// Writer of gauges.
struct Gauges<'e>(DescriptorEncoder<'e>);

impl Gauges<'_> {
    fn family(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = Sample>,
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in samples {
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn one(&mut self, name: &str, help: &str, value: impl Into<Option<f64>>) -> fmt::Result {
        self.family(name, help, value.into().map(|value| (Vec::new(), value)))
    }
}

impl Collector for Readings {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut gauges = Gauges(encoder);
        node(self, &mut gauges)?;
        health(self, &mut gauges)?;
        store(self, &mut gauges)?;
        peers(self, &mut gauges)?;
        deliveries(self, &mut gauges)
    }
}

fn node(readings: &Readings, gauges: &mut Gauges<'_>) -> fmt::Result {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    gauges.family(
        "portcullis_build_info",
        "Version of the software; the value is 1.",
        [(vec![("version", version)], 1.0)],
    )?;
    gauges.one(
        "portcullis_register_epoch",
        "Epoch of the register in force.",
        number(readings.register_epoch),
    )?;
    gauges.family(
        "portcullis_register_freshness",
        "Freshness of the register: 1 for the stage that holds, 0 for the others.",
        STAGES.into_iter().map(|stage| {
            (
                vec![("stage", stage.to_owned())],
                flag(stage == readings.freshness.name()),
            )
        }),
    )?;
    gauges.one(
        "portcullis_clock_believed",
        "1 if the clock of this machine is believed, 0 after a step that nobody has confirmed.",
        flag(readings.clock_step_ms.is_none()),
    )?;
    gauges.one(
        "portcullis_clock_step_seconds",
        "Step of the clock that nobody has confirmed; negative if it was set back, 0 without one.",
        seconds(readings.clock_step_ms.unwrap_or(0)),
    )?;
    gauges.one(
        "portcullis_time_seconds",
        "Time that the node goes by.",
        seconds(readings.now.as_millis()),
    )?;
    gauges.one(
        "portcullis_alarms",
        "Standing signs that a member means to move this authority's scores.",
        count(readings.alarms),
    )
}

/// Names of the stages of freshness.
const STAGES: [&str; 5] = ["unused", "fresh", "ending", "stale", "bulk-stopped"];

fn health(readings: &Readings, gauges: &mut Gauges<'_>) -> fmt::Result {
    let state = readings.health.state();
    gauges.family(
        "portcullis_health_state",
        "Health of the node: 1 for the state that holds, 0 for the others.",
        ["ok", "hindered", "failing"]
            .into_iter()
            .map(|one| (vec![("state", one.to_owned())], flag(one == state))),
    )?;
    let [problems, hindrances] = readings.kinds();
    let samples = [problems, hindrances]
        .into_iter()
        .flat_map(|(class, found)| {
            ProblemKind::ALL.into_iter().map(move |kind| {
                let number = found.iter().filter(|one| **one == kind).count();
                let labels = vec![
                    ("class", class.to_owned()),
                    ("kind", kind.name().to_owned()),
                ];
                (labels, count(number))
            })
        });
    gauges.family(
        "portcullis_health_findings",
        "Problems that keep the node from its work, and hindrances that keep it from a part, by kind.",
        samples,
    )
}

fn store(readings: &Readings, gauges: &mut Gauges<'_>) -> fmt::Result {
    let (kept, now) = (readings.kept.as_ref(), readings.now);
    let of = |value: fn(&Kept) -> u64| kept.map(value).map(number);
    gauges.one(
        "portcullis_held_items",
        "Items that wait for a person.",
        of(|kept| kept.held),
    )?;
    gauges.one(
        "portcullis_held_oldest_age_seconds",
        "Age of the item that waits longest for a person; 0 if nothing waits.",
        kept.map(|kept| age(kept.held_since, now).unwrap_or(0.0)),
    )?;
    gauges.one(
        "portcullis_quarantined_items",
        "Items of peers that failed verification and are set apart.",
        of(|kept| kept.quarantined),
    )?;
    gauges.one(
        "portcullis_set_aside",
        "Records, consignments and scores that are damaged, unfit or left out, and do not count.",
        count(readings.set_aside),
    )?;
    gauges.one(
        "portcullis_log_records",
        "Newest number of the record log.",
        of(|kept| kept.log_end),
    )?;
    gauges.one(
        "portcullis_store_bytes",
        "Size of the store's files.",
        kept.and_then(|kept| kept.bytes).map(number),
    )?;
    let space = |value: fn(Space) -> u64| readings.space.map(value).map(number);
    gauges.one(
        "portcullis_disk_free_bytes",
        "Free space on the disk of the store.",
        space(|space| space.free),
    )?;
    gauges.one(
        "portcullis_disk_reserve_bytes",
        "Free space below which bulk is refused for now.",
        space(|space| space.reserve),
    )?;
    gauges.one(
        "portcullis_backup_last_timestamp_seconds",
        "Time of the latest backup that this node knows of; 0 if it knows of none.",
        time(readings.last_backup).unwrap_or(0.0),
    )?;
    gauges.one(
        "portcullis_backup_age_seconds",
        "Age of the latest backup that this node knows of.",
        age(readings.last_backup, now),
    )?;
    gauges.one(
        "portcullis_store_checked_timestamp_seconds",
        "Time at which everything that is kept was last checked whole, since the start.",
        time(readings.scrubbed),
    )?;
    let queues = |value: fn(&Queue) -> usize| {
        let samples = readings.queues.iter();
        samples.map(move |queue| {
            let labels = vec![("priority", queue.priority.name().to_owned())];
            (labels, count(value(queue)))
        })
    };
    gauges.family(
        "portcullis_writer_jobs",
        "Jobs that wait for the store's writer.",
        queues(|queue| queue.jobs),
    )?;
    gauges.family(
        "portcullis_writer_places",
        "Jobs that may wait for the store's writer.",
        queues(|queue| queue.places),
    )
}

fn peers(readings: &Readings, gauges: &mut Gauges<'_>) -> fmt::Result {
    let each = |value: fn(&PeerReadings, Timestamp) -> Option<f64>| {
        let samples = readings.peers.iter();
        samples.filter_map(move |peer| {
            let value = value(peer, readings.now)?;
            Some((vec![("peer", peer.node.to_string())], value))
        })
    };
    let states = readings.peers.iter().flat_map(|peer| {
        PeerState::ALL.into_iter().map(|state| {
            let labels = vec![
                ("peer", peer.node.to_string()),
                ("state", state.name().to_owned()),
            ];
            (labels, flag(state == peer.state))
        })
    });
    gauges.family(
        "portcullis_peer_info",
        "Authority of each peer; the value is 1.",
        readings.peers.iter().map(|peer| {
            let labels = vec![
                ("peer", peer.node.to_string()),
                ("authority", peer.authority.to_string()),
            ];
            (labels, 1.0)
        }),
    )?;
    gauges.family(
        "portcullis_peer_state",
        "Standing of each peer: 1 for the state that holds, 0 for the others.",
        states,
    )?;
    gauges.family(
        "portcullis_peer_last_receipt_timestamp_seconds",
        "Time of the last receipt of each peer, since the start.",
        each(|peer, _| time(peer.last_receipt)),
    )?;
    gauges.family(
        "portcullis_peer_last_heard_timestamp_seconds",
        "Time of the latest sign of life of each peer, since the start.",
        each(|peer, _| time(peer.last_heard)),
    )?;
    gauges.family(
        "portcullis_peer_unreachable_seconds",
        "Time for which each peer was not reached; 0 if the latest try did not fail.",
        each(|peer, now| Some(age(peer.unreachable_since, now).unwrap_or(0.0))),
    )?;
    gauges.family(
        "portcullis_peer_clock_ahead_seconds",
        "Lead of each peer's clock over this node's, as last measured; negative if it is behind.",
        each(|peer, _| peer.skew.map(|skew| seconds(skew.ahead_ms))),
    )?;
    gauges.family(
        "portcullis_peer_clock_error_seconds",
        "Largest error of that lead.",
        each(|peer, _| peer.skew.map(|skew| seconds(skew.error_ms))),
    )
}

fn deliveries(readings: &Readings, gauges: &mut Gauges<'_>) -> fmt::Result {
    let each = |value: fn(&Behind, Timestamp) -> f64| {
        let kept = readings.kept.iter().flat_map(|kept| &kept.behind);
        kept.map(move |((peer, lane), behind)| {
            (lane_labels(peer, *lane), value(behind, readings.now))
        })
    };
    gauges.family(
        "portcullis_peer_lag_seconds",
        "Age of the oldest record of the log that a peer has not settled; 0 if none waits.",
        each(|behind, now| age(behind.since, now).unwrap_or(0.0)),
    )?;
    gauges.family(
        "portcullis_peer_behind_records",
        "Records of the log that a peer has not settled.",
        each(|behind, _| number(behind.records)),
    )?;
    gauges.family(
        "portcullis_peer_retried_records",
        "Records that a peer gave no final answer to, and that wait for another try.",
        each(|behind, _| number(behind.retried)),
    )
}

fn lane_labels(peer: &NodeId, lane: Lane) -> Vec<(&'static str, String)> {
    vec![("peer", peer.to_string()), ("lane", lane.name().to_owned())]
}

const fn flag(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge is a floating-point number; counts beyond 2^53 are rounded"
)]
const fn number(count: u64) -> f64 {
    count as f64
}

fn count(of: usize) -> f64 {
    number(u64::try_from(of).unwrap_or(u64::MAX))
}

/// Returns milliseconds as seconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "times are far below 2^53 milliseconds"
)]
const fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

fn time(of: Option<Timestamp>) -> Option<f64> {
    of.map(|time| seconds(time.as_millis()))
}

/// Returns the age in seconds. What seems to come from the future is new.
fn age(of: Option<Timestamp>, now: Timestamp) -> Option<f64> {
    of.map(|time| seconds(now.millis_since(time).max(0)))
}

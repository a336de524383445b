//! Report of a bench: its figures, the limits measured in the same run, and the targets that are
//! held or missed.

use serde::Serialize;

use super::machine::Machine;

/// Lowest number of records per second that holds the target.
const FLOOR_PER_S: f64 = 25_000.0;

/// Lowest share of the unchecked pipe that holds the target.
const FLOOR_SHARE: f64 = 0.5;

/// Milliseconds that an idle alert may take on any disk.
const IDLE_MS: f64 = 10.0;

/// Longest time of an idle alert as a multiple of one disk sync.
const IDLE_SYNCS: f64 = 4.0;

/// Milliseconds that an alert under load may take on any disk.
const LOADED_MS: f64 = 25.0;

/// Longest time of an alert under load as a multiple of an idle alert.
const LOADED_IDLE: f64 = 5.0;

/// Seconds within which a million records catch up.
const MILLION_S: f64 = 60.0;

/// Memory in megabytes that a node must stay below while catching up.
const MEMORY_MB: f64 = 300.0;

/// All figures of a run, as they are reported.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Records of the measured stream.
    pub records: u64,
    /// Records per second, from the first draft handed over to the last receipt durable at the
    /// sender.
    pub records_per_s: f64,
    /// Records per second of the same size through the unchecked pipe.
    pub unchecked_records_per_s: f64,
    /// `records_per_s` divided by `unchecked_records_per_s`.
    pub share_of_unchecked: f64,
    /// Size of a record in bytes.
    pub record_bytes: RecordBytes,
    /// Seconds of processor time for 1,000 records.
    pub cpu_s_per_1000: Ends,
    /// Number of alerts raised idle, and again under load.
    pub alerts: u64,
    /// Time of an alert with no other traffic, in milliseconds.
    pub alert_idle_ms: Percentiles,
    /// Time of an alert while bulk runs, in milliseconds.
    pub alert_loaded_ms: Percentiles,
    /// Bulk records settled per second while alerts were raised.
    pub bulk_per_s_under_alerts: f64,
    /// Time of an append of 4 KiB that is synced, in milliseconds.
    pub fdatasync_ms: Percentiles,
    /// Synced appends per second.
    pub fdatasync_per_s: f64,
    /// Signatures per second checked one by one on one core.
    pub verify_strict_per_s: f64,
    /// Number of records that waited for the receiver.
    pub catch_up_records: u64,
    /// Time from the start of the receiver's process to the last receipt durable at the sender, in
    /// seconds.
    pub catch_up_s: f64,
    /// Records per second while catching up.
    pub catch_up_records_per_s: f64,
    /// Highest peak of memory of either node in any part of the run, in 10^6 bytes.
    pub peak_rss_mb: f64,
    /// Peak memory of each node.
    pub memory_mb: Memory,
    /// Number of records that were sent and are not held by the receiver, or are held and were not
    /// sent.
    pub lost: u64,
    /// Seed of the record generator.
    pub seed: u64,
    /// The machine.
    pub machine: Machine,
    /// Versions of the software that ran.
    pub versions: Versions,
    /// Duration of the whole run, in seconds.
    pub seconds: f64,
    /// Targets, with their measured values.
    pub targets: Vec<Target>,
}

/// Size of a record in bytes, at each place where it lies or passes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RecordBytes {
    /// Bytes of header and sections.
    pub content: usize,
    /// Bytes in a frame, including the record's place in its batch.
    pub in_frame: usize,
    /// Bytes per record that the loopback interface carried, both ways and with all other traffic
    /// on it; `None` if its counter cannot be read.
    pub on_wire: Option<f64>,
    /// Bytes per record by which the stores grew.
    pub on_disk: Ends,
}

/// One figure for each node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Ends {
    /// Figure of the sending node.
    pub sender: f64,
    /// Figure of the receiving node.
    pub receiver: f64,
}

/// Peak memory of each node, in 10^6 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Memory {
    /// Peak while records were streamed and alerts raised.
    pub exchange: Ends,
    /// Peak while catching up.
    pub catch_up: Ends,
}

/// Versions of the software that ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Versions {
    /// Version of this binary.
    pub portcullis: &'static str,
    /// Version of the database in it.
    pub sqlite: &'static str,
}

/// Percentiles by the nearest rank.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// Value that 99 of 100 lie at or below.
    pub p99: f64,
    /// Value that 999 of 1,000 lie at or below.
    pub p999: f64,
}

impl Percentiles {
    /// Returns the percentiles of some durations; zero if there are none.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        let rank = |per_mille: usize| {
            let rank = (values.len() * per_mille).div_ceil(1000).max(1);
            values.get(rank - 1).copied().unwrap_or_default()
        };
        Self {
            p50: rank(500),
            p99: rank(990),
            p999: rank(999),
        }
    }
}

/// A target and its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// Name of the figure.
    pub name: &'static str,
    /// Wanted value, as text.
    pub wanted: String,
    /// Measured value, as text.
    pub measured: String,
    /// True if the measured value reaches the wanted one.
    pub held: bool,
}

/// The figures that have targets.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// See [`Report::records_per_s`].
    pub records_per_s: f64,
    /// See [`Report::share_of_unchecked`].
    pub share_of_unchecked: f64,
    /// See [`Report::alert_idle_ms`].
    pub alert_idle_ms: Percentiles,
    /// See [`Report::alert_loaded_ms`].
    pub alert_loaded_ms: Percentiles,
    /// See [`Report::fdatasync_ms`].
    pub fdatasync_ms: Percentiles,
    /// See [`Report::catch_up_records`].
    pub catch_up_records: u64,
    /// See [`Report::catch_up_s`].
    pub catch_up_s: f64,
    /// Peak memory of the node that used more while catching up, in 10^6 bytes.
    pub catch_up_mb: f64,
}

impl Figures {
    /// Compares these figures with the targets. If fewer than a million records catch up, they must
    /// do so at the rate that a million would need.
    #[must_use]
    pub fn targets(&self) -> Vec<Target> {
        let idle = self.alert_idle_ms.p99;
        let idle_most = IDLE_MS.max(IDLE_SYNCS * self.fdatasync_ms.p99);
        let loaded = self.alert_loaded_ms.p99;
        let loaded_most = LOADED_MS.max(LOADED_IDLE * idle);
        let catch_up_most = self.catch_up_records as f64 * MILLION_S / 1e6;
        vec![
            Target {
                name: "records per second",
                wanted: format!("at least {FLOOR_PER_S:.0}"),
                measured: format!("{:.0}", self.records_per_s),
                held: self.records_per_s >= FLOOR_PER_S,
            },
            Target {
                name: "share of the unchecked pipe",
                wanted: format!("at least {FLOOR_SHARE:.2}"),
                measured: format!("{:.2}", self.share_of_unchecked),
                held: self.share_of_unchecked >= FLOOR_SHARE,
            },
            Target {
                name: "alert, idle, p99",
                wanted: format!("at most {idle_most:.1} ms"),
                measured: format!("{idle:.1} ms"),
                held: idle <= idle_most,
            },
            Target {
                name: "alert, bulk running, p99",
                wanted: format!("at most {loaded_most:.1} ms"),
                measured: format!("{loaded:.1} ms"),
                held: loaded <= loaded_most,
            },
            Target {
                name: "catching up",
                wanted: format!("{} within {catch_up_most:.1} s", self.catch_up_records),
                measured: format!("{:.1} s", self.catch_up_s),
                held: self.catch_up_s <= catch_up_most,
            },
            Target {
                name: "memory while catching up",
                wanted: format!("below {MEMORY_MB:.0} MB"),
                measured: format!("{:.0} MB", self.catch_up_mb),
                held: self.catch_up_mb < MEMORY_MB,
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(p99: f64) -> Percentiles {
        Percentiles {
            p50: p99 / 2.0,
            p99,
            p999: p99 * 2.0,
        }
    }

    const GOOD: Figures = Figures {
        records_per_s: 25_000.0,
        share_of_unchecked: 0.5,
        alert_idle_ms: Percentiles {
            p50: 1.0,
            p99: 10.0,
            p999: 30.0,
        },
        alert_loaded_ms: Percentiles {
            p50: 1.0,
            p99: 50.0,
            p999: 90.0,
        },
        fdatasync_ms: Percentiles {
            p50: 0.5,
            p99: 1.0,
            p999: 5.0,
        },
        catch_up_records: 1_000_000,
        catch_up_s: 60.0,
        catch_up_mb: 299.0,
    };

    #[track_caller]
    fn missed(figures: Figures, expected: &[&str]) {
        let targets = figures.targets();
        let missed: Vec<_> = targets
            .iter()
            .filter(|target| !target.held)
            .map(|target| target.name)
            .collect();
        assert_eq!(missed, expected);
    }

    #[test]
    fn what_just_reaches_a_target_holds_it_and_a_little_less_misses_it() {
        missed(GOOD, &[]);
        let slow = Figures {
            records_per_s: 24_999.0,
            share_of_unchecked: 0.49,
            catch_up_s: 60.1,
            catch_up_mb: 300.0,
            ..GOOD
        };
        missed(
            slow,
            &[
                "records per second",
                "share of the unchecked pipe",
                "catching up",
                "memory while catching up",
            ],
        );
        let late = Figures {
            alert_idle_ms: ms(10.1),
            alert_loaded_ms: ms(50.6),
            ..GOOD
        };
        missed(late, &["alert, idle, p99", "alert, bulk running, p99"]);
    }

    #[test]
    fn a_slow_disk_allows_for_slower_alerts_and_a_fast_one_for_25_ms() {
        let slow_disk = Figures {
            alert_idle_ms: ms(40.0),
            alert_loaded_ms: ms(200.0),
            fdatasync_ms: ms(10.0),
            ..GOOD
        };
        missed(slow_disk, &[]);
        let fast = Figures {
            alert_idle_ms: ms(2.0),
            alert_loaded_ms: ms(25.0),
            ..GOOD
        };
        missed(fast, &[]);
    }

    #[test]
    fn fewer_records_catch_up_at_the_same_rate() {
        let tenth = Figures {
            catch_up_records: 100_000,
            catch_up_s: 6.1,
            ..GOOD
        };
        missed(tenth, &["catching up"]);
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let values: Vec<f64> = (1..=2000).rev().map(f64::from).collect();
        let Percentiles { p50, p99, p999 } = Percentiles::of(&values);
        assert_eq!((p50, p99, p999), (1000.0, 1980.0, 1998.0));
        assert_eq!(Percentiles::of(&[]).p50, 0.0);
    }
}

//! What a bench reports: figures, the limits of the same run, and how they stand to the targets.

use serde::Serialize;

use super::machine::Machine;

/// Records per second that are the floor.
const FLOOR_PER_S: f64 = 25_000.0;

/// The share of the unchecked pipe that is the floor.
const FLOOR_SHARE: f64 = 0.5;

/// Milliseconds that an idle alert may always take.
const IDLE_MS: f64 = 10.0;

/// How many times a sync of the disk an idle alert may take.
const IDLE_SYNCS: f64 = 4.0;

/// Milliseconds that an alert under load may always take.
const LOADED_MS: f64 = 25.0;

/// How many times an idle alert one under load may take.
const LOADED_IDLE: f64 = 5.0;

/// Seconds within which a million records catch up.
const MILLION_S: f64 = 60.0;

/// Megabytes that a node may hold while catching up.
const MEMORY_MB: f64 = 300.0;

/// All figures of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Records of the measured stream.
    pub records: u64,
    /// From the first draft handed over to the last receipt durable at the sender.
    pub records_per_s: f64,
    /// The same bytes through the unchecked pipe.
    pub unchecked_records_per_s: f64,
    /// The one as a share of the other.
    pub share_of_unchecked: f64,
    /// Bytes of a record.
    pub record_bytes: RecordBytes,
    /// Seconds of processor time for 1,000 records.
    pub cpu_s_per_1000: Ends,
    /// Alerts of each kind.
    pub alerts: u64,
    /// A lone alert.
    pub alert_idle_ms: Percentiles,
    /// An alert while bulk runs.
    pub alert_loaded_ms: Percentiles,
    /// Bulk records settled per second meanwhile.
    pub bulk_per_s_under_alerts: f64,
    /// An append of 4 KiB that is synced.
    pub fdatasync_ms: Percentiles,
    /// How many of them there are in a second.
    pub fdatasync_per_s: f64,
    /// Signatures checked one by one on one core.
    pub verify_strict_per_s: f64,
    /// Records that waited for the receiver.
    pub catch_up_records: u64,
    /// From the start of the receiver's process to the last receipt durable at the sender.
    pub catch_up_s: f64,
    /// Records per second of that.
    pub catch_up_records_per_s: f64,
    /// The most memory that one node held at any time, in 10^6 bytes.
    pub peak_rss_mb: f64,
    /// The most memory each node held.
    pub memory_mb: Memory,
    /// Records sent that the receiver does not hold, or holds and were not sent.
    pub lost: u64,
    /// Where the generator began.
    pub seed: u64,
    /// The machine.
    pub machine: Machine,
    /// What ran.
    pub versions: Versions,
    /// How long the whole run took.
    pub seconds: f64,
    /// What was to be reached.
    pub targets: Vec<Target>,
}

/// Bytes of a record where it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RecordBytes {
    /// Header and sections.
    pub content: usize,
    /// With its place in the batch, as it stands in a frame.
    pub in_frame: usize,
    /// What the loopback interface carried for it, both ways, whatever else used it; `None` if it
    /// cannot be read.
    pub on_wire: Option<f64>,
    /// What the stores grew by.
    pub on_disk: Ends,
}

/// A figure of each node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Ends {
    /// The sending one.
    pub sender: f64,
    /// The receiving one.
    pub receiver: f64,
}

/// The most memory each node held, in 10^6 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Memory {
    /// While records were streamed and alerts raised.
    pub exchange: Ends,
    /// While catching up.
    pub catch_up: Ends,
}

/// What ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Versions {
    /// This binary.
    pub portcullis: &'static str,
    /// The database in it.
    pub sqlite: &'static str,
}

/// Percentiles by the nearest rank.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// 99 of 100 lie below or at it.
    pub p99: f64,
    /// 999 of 1,000 lie below or at it.
    pub p999: f64,
}

impl Percentiles {
    /// The percentiles of some durations; zero for none.
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

/// One thing to reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// What it is about.
    pub name: &'static str,
    /// What is wanted.
    pub wanted: String,
    /// What was measured.
    pub measured: String,
    /// Whether the one holds with the other.
    pub held: bool,
}

/// The figures that targets are about.
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
    /// The most memory a node held while catching up.
    pub catch_up_mb: f64,
}

impl Figures {
    /// How these figures stand to the targets. Fewer records than a million catch up at the rate
    /// that a million would need.
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

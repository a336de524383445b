//! The figures of a comparison, as a table and as JSON.

use crate::syscalls::{self, Calls, Syscalls};
use crate::workload::{PER_COMMIT, RECORD, Shape};
use crate::{Options, engines, run};
use anyhow::Result;
use std::fmt;

/// Commits whose system calls are counted.
const TRACED: u64 = 20;

/// All figures of a comparison.
#[derive(serde::Serialize)]
pub(crate) struct Report {
    record_bytes: usize,
    records_per_commit: u64,
    folder: String,
    rates: Vec<Rate>,
    /// Empty if `strace` is not installed.
    syscalls: Vec<Syscalls>,
}

/// Figures of one engine with one shape.
#[derive(serde::Serialize)]
struct Rate {
    engine: &'static str,
    shape: &'static str,
    /// Records per second: the median of `runs`.
    median: u64,
    runs: Vec<u64>,
    /// The one-minute load average before each run, as a measure of the machine's other work.
    load: Vec<String>,
    /// Commits of the shortest run; fewer than asked for if the limit ended it.
    commits: u64,
    /// Bytes on disk for each byte of record, at the end of the last run.
    amplification: f64,
}

impl Report {
    /// Makes all runs that `options` ask for.
    pub(crate) fn measure(options: &Options) -> Result<Self> {
        let mut report = Self {
            record_bytes: RECORD,
            records_per_commit: PER_COMMIT,
            folder: options.folder.display().to_string(),
            rates: Vec::new(),
            syscalls: Vec::new(),
        };
        let traced = syscalls::available();
        for engine in engines::NAMES {
            for shape in Shape::ALL
                .into_iter()
                .filter(|shape| engines::holds(engine, *shape))
            {
                eprintln!("{engine}, {}", shape.name());
                report.rates.push(rate(engine, shape, options)?);
            }
            if traced {
                report.syscalls.push(syscalls::count(
                    engine,
                    Shape::Batch,
                    TRACED,
                    &options.folder,
                )?);
            }
        }
        Ok(report)
    }
}

fn rate(engine: &'static str, shape: Shape, options: &Options) -> Result<Rate> {
    let mut rate = Rate {
        engine,
        shape: shape.name(),
        median: 0,
        runs: Vec::new(),
        load: Vec::new(),
        commits: options.commits,
        amplification: 0.0,
    };
    for _ in 0..options.repeat {
        rate.load.push(load());
        let outcome = run::once(
            engine,
            shape,
            options.commits,
            options.limit,
            &options.folder,
        )?;
        rate.runs.push(outcome.rate());
        rate.commits = rate.commits.min(outcome.commits);
        rate.amplification = amplification(&outcome);
    }
    rate.median = median(&rate.runs);
    Ok(rate)
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

#[expect(clippy::cast_precision_loss, reason = "a ratio shown with one decimal")]
fn amplification(outcome: &run::Outcome) -> f64 {
    let records = outcome.commits.saturating_mul(PER_COMMIT);
    outcome.bytes as f64 / (records as f64 * RECORD as f64)
}

/// Returns the median; the lower of the two middle values if their number is even.
fn median(runs: &[u64]) -> u64 {
    let mut sorted = runs.to_vec();
    sorted.sort_unstable();
    sorted
        .get(sorted.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or_default()
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{RECORD}-byte records, a durable commit for each {PER_COMMIT}; median records a second\n"
        )?;
        writeln!(
            out,
            "{:<8} {:<8} {:>10} {:>8} {:>6}  runs (load)",
            "engine", "shape", "records/s", "commits", "disk"
        )?;
        for rate in &self.rates {
            let runs: Vec<String> = rate
                .runs
                .iter()
                .zip(&rate.load)
                .map(|(run, load)| format!("{run} ({load})"))
                .collect();
            writeln!(
                out,
                "{:<8} {:<8} {:>10} {:>8} {:>5.1}x  {}",
                rate.engine,
                rate.shape,
                rate.median,
                rate.commits,
                rate.amplification,
                runs.join(", ")
            )?;
        }
        if self.syscalls.is_empty() {
            return writeln!(
                out,
                "\nsystem calls were not counted: `strace` is not installed"
            );
        }
        writeln!(
            out,
            "\ncalls that ask for durability, over open, close and open again (strace)\n"
        )?;
        for row in &self.syscalls {
            writeln!(
                out,
                "{:<8} with {} commits: {}; with none: {}",
                row.engine,
                row.commits,
                list(&row.filled),
                list(&row.empty)
            )?;
        }
        Ok(())
    }
}

fn list(calls: &Calls) -> String {
    if calls.is_empty() {
        return "none".to_owned();
    }
    let parts: Vec<String> = calls
        .iter()
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_does_not_depend_on_order() {
        assert_eq!(median(&[9, 1, 5]), 5);
        assert_eq!(median(&[4, 3, 2, 1]), 2);
    }
}

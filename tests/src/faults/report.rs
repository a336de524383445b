//! The report of a run: one row per kind of fault, for a table in Markdown and for a JSON file.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::{check::Findings, resources::Pressure};

/// Results for one kind of fault.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Description of the fault.
    pub fault: String,
    /// Number of times the fault was injected.
    pub injected: usize,
    /// Number of times in each state, for faults that have several.
    pub states: BTreeMap<String, usize>,
    /// Records that the sender acknowledged during the scenario.
    pub acknowledged: usize,
    /// Acknowledged or receipted records that are gone.
    pub lost: usize,
    /// Records that were admitted twice.
    pub duplicates: usize,
    /// Records that did not arrive.
    pub missing: usize,
    /// Damage found in a store's files.
    pub damaged: usize,
    /// Median time from the end of the fault to the last receipt, in milliseconds.
    pub catch_up_median_ms: u64,
    /// Longest time from the end of the fault to the last receipt, in milliseconds.
    pub catch_up_longest_ms: u64,
}

impl Row {
    /// Makes a row from the catch-up time of each injection and the verdict.
    #[must_use]
    pub fn new(fault: &str, catch_up: &[Duration], verdict: Findings) -> Self {
        let mut catch_up: Vec<u64> = catch_up
            .iter()
            .map(|time| u64::try_from(time.as_millis()).unwrap())
            .collect();
        catch_up.sort_unstable();
        let Findings {
            acknowledged,
            lost,
            duplicates,
            missing,
            damaged,
        } = verdict;
        Self {
            fault: fault.to_owned(),
            injected: catch_up.len(),
            states: BTreeMap::new(),
            acknowledged,
            lost,
            duplicates,
            missing,
            damaged,
            catch_up_median_ms: catch_up.get(catch_up.len() / 2).copied().unwrap_or(0),
            catch_up_longest_ms: catch_up.last().copied().unwrap_or(0),
        }
    }

    /// Returns whether nothing was lost, duplicated, missing or damaged.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicates == 0 && self.missing == 0 && self.damaged == 0
    }
}

/// The report of a whole run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Version of the format: 1.
    pub version: u32,
    /// Time at which the run ended.
    pub at: String,
    /// Processors and kernel of the machine.
    pub machine: String,
    /// One row for each kind of fault.
    pub rows: Vec<Row>,
    /// One row for each attack on memory, processor and descriptors.
    pub pressures: Vec<Pressure>,
    /// Scenarios that were skipped, with the reason.
    pub skipped: Vec<String>,
}

impl Report {
    /// Makes the report of these rows, dated now.
    #[must_use]
    pub fn new(rows: Vec<Row>, pressures: Vec<Pressure>, skipped: Vec<String>) -> Self {
        Self {
            version: 1,
            at: portcullis_home::clock::system_clock()().to_string(),
            machine: machine(),
            rows,
            pressures,
            skipped,
        }
    }

    /// Returns the rows as tables in Markdown.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = String::from(
            "| fault | times | acknowledged | lost | twice | missing | damaged | catch-up, median | longest |\n\
             |---|---|---|---|---|---|---|---|---|\n",
        );
        for row in &self.rows {
            table.push_str(&format!(
                "| {} | {} | {} | {} | {} | {} | {} | {} ms | {} ms |\n",
                row.fault,
                row.injected,
                row.acknowledged,
                row.lost,
                row.duplicates,
                row.missing,
                row.damaged,
                row.catch_up_median_ms,
                row.catch_up_longest_ms,
            ));
            for (state, times) in &row.states {
                table.push_str(&format!("| — {state} | {times} | | | | | | | |\n"));
            }
        }
        table.push_str(
            "\n| attack on resources | messages | at rest | gained at most | alert, 99 % | during the attack |\n\
             |---|---|---|---|---|---|\n",
        );
        for pressure in &self.pressures {
            table.push_str(&format!(
                "| {} | {} | {} MiB | {} MiB | {} ms | {} ms |\n",
                pressure.attack,
                pressure.attempts,
                pressure.rest_kib >> 10,
                pressure.gained_kib >> 10,
                pressure.alert_ms,
                pressure.alert_under_attack_ms,
            ));
        }
        table
    }
}

fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .and_then(|line| line.split_once(':'))
        .map_or("unknown processor", |(_, name)| name.trim());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{processors} × {model}, Linux {}", kernel.trim())
}

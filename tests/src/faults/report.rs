//! What was done, how often, and what came of it: rows for a table and for a file.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::check::Verdict;

/// One kind of fault and what came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What was done.
    pub fault: String,
    /// How often.
    pub injected: usize,
    /// How often in each state, where there are several.
    pub states: BTreeMap<String, usize>,
    /// Records that the sender acknowledged meanwhile.
    pub acknowledged: usize,
    /// Acknowledged or receipted records that are gone.
    pub lost: usize,
    /// Records that were admitted twice.
    pub duplicates: usize,
    /// Records that did not arrive.
    pub missing: usize,
    /// Damage found in a store's files.
    pub damaged: usize,
    /// From the end of the fault to the last receipt, in milliseconds: the median.
    pub catch_up_median_ms: u64,
    /// The longest.
    pub catch_up_longest_ms: u64,
}

impl Row {
    /// A row.
    #[must_use]
    pub fn new(fault: &str, catch_up: &[Duration], verdict: Verdict) -> Self {
        let mut catch_up: Vec<u64> = catch_up
            .iter()
            .map(|time| u64::try_from(time.as_millis()).unwrap())
            .collect();
        catch_up.sort_unstable();
        let Verdict {
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

    /// Whether nothing was lost, doubled, left behind or damaged.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicates == 0 && self.missing == 0 && self.damaged == 0
    }
}

/// A whole run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// 1.
    pub version: u32,
    /// When it ended.
    pub at: String,
    /// The machine: processors and kernel.
    pub machine: String,
    /// A row for each kind of fault.
    pub rows: Vec<Row>,
    /// What was not done, and why.
    pub skipped: Vec<String>,
}

impl Report {
    /// A report of these rows.
    #[must_use]
    pub fn new(rows: Vec<Row>, skipped: Vec<String>) -> Self {
        Self {
            version: 1,
            at: portcullis_home::clock::system_clock()().to_string(),
            machine: machine(),
            rows,
            skipped,
        }
    }

    /// The rows as a table in Markdown.
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

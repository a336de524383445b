//! Counts the system calls by which an engine asks for durability, if `strace` is installed.

use crate::workload::Shape;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

const CALLS: [&str; 5] = ["fsync", "fdatasync", "sync_file_range", "msync", "syncfs"];

/// Number of calls, by name.
pub(crate) type Calls = BTreeMap<String, u64>;

/// System calls of `commits` commits, beside those of opening and closing the empty store.
#[derive(serde::Serialize)]
pub(crate) struct Syscalls {
    pub(crate) engine: String,
    pub(crate) shape: String,
    pub(crate) commits: u64,
    /// Calls to open the store, close it and open it again, with nothing committed.
    pub(crate) empty: Calls,
    /// The same calls with `commits` commits in between.
    pub(crate) filled: Calls,
}

/// Returns whether `strace` can be run here.
pub(crate) fn available() -> bool {
    Command::new("strace")
        .arg("-V")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|end| end.success())
}

/// Runs this program under `strace` for one engine and shape.
pub(crate) fn count(engine: &str, shape: Shape, commits: u64, folder: &Path) -> Result<Syscalls> {
    Ok(Syscalls {
        engine: engine.to_owned(),
        shape: shape.name().to_owned(),
        commits,
        empty: trace(engine, shape, 0, folder)?,
        filled: trace(engine, shape, commits, folder)?,
    })
}

fn trace(engine: &str, shape: Shape, commits: u64, folder: &Path) -> Result<Calls> {
    let output = folder.join(format!("strace-{}", std::process::id()));
    let status = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-e",
            &format!("trace={}", CALLS.join(",")),
            "-o",
        ])
        .arg(&output)
        .arg(std::env::current_exe()?)
        .args([
            "--only",
            &format!("{engine}:{}", shape.name()),
            "--commits",
            &commits.to_string(),
            "--limit",
            "60",
        ])
        .arg("--dir")
        .arg(folder)
        .status()
        .context("cannot run `strace`")?;
    anyhow::ensure!(
        status.success(),
        "`{engine}` failed under `strace`: is tracing allowed here?"
    );
    let text = std::fs::read_to_string(&output)?;
    std::fs::remove_file(&output)?;
    Ok(tally(&text))
}

/// Counts the lines that begin a call: `1234  fsync(5) = 0`, `1234  fsync(5 <unfinished ...>`.
fn tally(text: &str) -> Calls {
    let mut calls = Calls::new();
    for line in text.lines() {
        let Some((_, rest)) = line.split_once(char::is_whitespace) else {
            continue;
        };
        let Some((name, _)) = rest.trim_start().split_once('(') else {
            continue;
        };
        if CALLS.contains(&name) {
            let count = calls.entry(name.to_owned()).or_default();
            *count = count.saturating_add(1);
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::tally;

    #[test]
    fn a_call_that_another_thread_interrupts_counts_once() {
        let text = "11  fsync(3) = 0\n12  fsync(4 <unfinished ...>\n11  fdatasync(3) = 0\n12  <... fsync resumed>) = 0\n";
        let calls = tally(text);
        assert_eq!(calls.get("fsync"), Some(&2));
        assert_eq!(calls.get("fdatasync"), Some(&1));
    }
}

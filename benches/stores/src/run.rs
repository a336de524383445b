//! One run: starts with an empty folder, commits against the clock, and checks what is held.

use crate::engines;
use crate::workload::{self, PER_COMMIT, Shape};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::time::{Duration, Instant};

/// Result of one run. The time to make the records is not counted.
pub(crate) struct Outcome {
    pub(crate) commits: u64,
    pub(crate) spent: Duration,
    /// Bytes on disk at the end, of all files of the store.
    pub(crate) bytes: u64,
}

impl Outcome {
    /// Returns the records per second.
    pub(crate) fn rate(&self) -> u64 {
        let records = u128::from(self.commits.saturating_mul(PER_COMMIT)).saturating_mul(1_000_000);
        u64::try_from(records / self.spent.as_micros().max(1)).unwrap_or(u64::MAX)
    }
}

/// Runs up to `commits` commits, or as many as `limit` allows, in a new folder below `folder`.
pub(crate) fn once(
    engine: &str,
    shape: Shape,
    commits: u64,
    limit: Duration,
    folder: &Path,
) -> Result<Outcome> {
    let place = folder.join(format!("{engine}-{}-{}", shape.name(), std::process::id()));
    if place.exists() {
        std::fs::remove_dir_all(&place)?;
    }
    std::fs::create_dir_all(&place)?;
    let outcome = fill(engine, shape, commits, limit, &place)
        .and_then(|outcome| check(engine, shape, outcome.commits, &place).map(|()| outcome))
        .with_context(|| format!("`{engine}` failed with rows of shape `{}`", shape.name()));
    std::fs::remove_dir_all(&place)?;
    outcome
}

fn fill(
    engine: &str,
    shape: Shape,
    commits: u64,
    limit: Duration,
    place: &Path,
) -> Result<Outcome> {
    let mut store = engines::open(engine, place)?;
    let mut spent = Duration::ZERO;
    let mut done = 0;
    while done < commits && spent < limit {
        let commit = workload::commit(shape, done);
        let begin = Instant::now();
        store.commit(&commit)?;
        spent = spent.saturating_add(begin.elapsed());
        done = done.saturating_add(1);
    }
    Ok(Outcome {
        commits: done,
        spent,
        bytes: size_of(place)?,
    })
}

/// Opens the store again and checks the first and the last commit, row by row and key by key.
fn check(engine: &str, shape: Shape, commits: u64, place: &Path) -> Result<()> {
    let Some(last) = commits.checked_sub(1) else {
        return Ok(());
    };
    let store = engines::open(engine, place)?;
    for number in [0, last] {
        let commit = workload::commit(shape, number);
        for (position, row) in &commit.log {
            let held = store.row(*position)?;
            ensure!(
                held.as_ref() == Some(row),
                "row {position} was committed and is not held"
            );
        }
        for (which, entries) in commit.indexes.iter().enumerate() {
            for (key, position) in entries {
                let held = store.position(which, key)?;
                ensure!(
                    held == Some(*position),
                    "index {which} lost the entry of {position}"
                );
            }
        }
    }
    Ok(())
}

fn size_of(folder: &Path) -> Result<u64> {
    let mut total: u64 = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let size = if metadata.is_dir() {
            size_of(&entry.path())?
        } else {
            metadata.len()
        };
        total = total.saturating_add(size);
    }
    Ok(total)
}

//! The engines behind one trait, which commits durably and then returns what is held.

mod fjall;
mod plain;
mod redb;
mod sled;
mod sqlite;

use crate::workload::{Commit, Key, Shape};
use anyhow::{Result, bail};
use std::path::Path;

/// The names of the engines, in the order of the table.
pub(crate) const NAMES: [&str; 6] = ["file", "sqlite", "sqlite64", "redb", "fjall", "sled"];

/// A store opened for writing.
pub(crate) trait Engine {
    /// Writes `commit` whole, and returns when the engine says it is durable.
    fn commit(&mut self, commit: &Commit) -> Result<()>;

    /// Returns the row of the log at `position`.
    fn row(&self, position: u64) -> Result<Option<Vec<u8>>>;

    /// Returns the position that index `which` (0 or 1) holds under `key`.
    fn position(&self, which: usize, key: &Key) -> Result<Option<u64>>;
}

/// Returns whether `engine` can hold rows of this shape. A plain file has no keys.
pub(crate) fn holds(engine: &str, shape: Shape) -> bool {
    engine != "file" || shape == Shape::Batch
}

/// Opens the engine called `name` in `folder`, with the data of an earlier run if there is one.
pub(crate) fn open(name: &str, folder: &Path) -> Result<Box<dyn Engine>> {
    Ok(match name {
        "file" => Box::new(plain::File::open(folder)?),
        "sqlite" => Box::new(sqlite::Sqlite::open(folder)?),
        "sqlite64" => Box::new(sqlite::Sqlite::open_roomy(folder)?),
        "redb" => Box::new(redb::Redb::open(folder)?),
        "fjall" => Box::new(fjall::Fjall::open(folder)?),
        "sled" => Box::new(sled::Sled::open(folder)?),
        unknown => bail!("`{unknown}` is not an engine: use one of {NAMES:?}"),
    })
}

/// Encodes a position as a key whose order is that of the numbers.
fn key_of(position: u64) -> [u8; 8] {
    position.to_be_bytes()
}

/// Decodes the position that an index entry holds.
fn position_of(bytes: &[u8]) -> Result<u64> {
    Ok(u64::from_be_bytes(bytes.try_into()?))
}

//! sled 0.34: a batch for each tree, then `flush()`, which its documentation calls durable.
//!
//! The three batches are not one transaction: sled's transactions over several trees would be slower still.

use super::{Engine, key_of, position_of};
use crate::workload::{Commit, Key};
use anyhow::{Context, Result};
use sled::{Batch, Db, Tree};
use std::path::Path;

/// A database of three trees.
pub(crate) struct Sled {
    database: Db,
    log: Tree,
    indexes: [Tree; 2],
}

impl Sled {
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let database = sled::Config::new()
            .path(folder.join("store.sled"))
            .flush_every_ms(None)
            .open()?;
        Ok(Self {
            log: database.open_tree("log")?,
            indexes: [database.open_tree("first")?, database.open_tree("second")?],
            database,
        })
    }
}

impl Engine for Sled {
    fn commit(&mut self, commit: &Commit) -> Result<()> {
        let mut rows = Batch::default();
        for (position, row) in &commit.log {
            rows.insert(&key_of(*position), row.as_slice());
        }
        self.log.apply_batch(rows)?;
        for (index, entries) in self.indexes.iter().zip(&commit.indexes) {
            let mut rows = Batch::default();
            for (key, position) in entries {
                rows.insert(key, &key_of(*position));
            }
            index.apply_batch(rows)?;
        }
        self.database.flush()?;
        Ok(())
    }

    fn row(&self, position: u64) -> Result<Option<Vec<u8>>> {
        Ok(self.log.get(key_of(position))?.map(|row| row.to_vec()))
    }

    fn position(&self, which: usize, key: &Key) -> Result<Option<u64>> {
        let index = self.indexes.get(which).context("there are two indexes")?;
        index.get(key)?.map(|bytes| position_of(&bytes)).transpose()
    }
}

//! fjall: one batch over three keyspaces, its journal synced with each commit.

use super::{Engine, key_of, position_of};
use crate::workload::{Commit, Key};
use anyhow::{Context, Result};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::path::Path;

/// A database of three trees.
pub(crate) struct Fjall {
    database: Database,
    log: Keyspace,
    indexes: [Keyspace; 2],
}

impl Fjall {
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let database = Database::builder(folder.join("store.fjall")).open()?;
        let tree = |name: &str| database.keyspace(name, KeyspaceCreateOptions::default);
        Ok(Self {
            log: tree("log")?,
            indexes: [tree("first")?, tree("second")?],
            database,
        })
    }
}

impl Engine for Fjall {
    fn commit(&mut self, commit: &Commit) -> Result<()> {
        let mut batch = self
            .database
            .batch()
            .durability(Some(PersistMode::SyncData));
        for (position, row) in &commit.log {
            batch.insert(&self.log, key_of(*position), row.as_slice());
        }
        for (index, entries) in self.indexes.iter().zip(&commit.indexes) {
            for (key, position) in entries {
                batch.insert(index, *key, key_of(*position));
            }
        }
        Ok(batch.commit()?)
    }

    fn row(&self, position: u64) -> Result<Option<Vec<u8>>> {
        Ok(self.log.get(key_of(position))?.map(|row| row.to_vec()))
    }

    fn position(&self, which: usize, key: &Key) -> Result<Option<u64>> {
        let index = self.indexes.get(which).context("there are two indexes")?;
        index.get(key)?.map(|bytes| position_of(&bytes)).transpose()
    }
}

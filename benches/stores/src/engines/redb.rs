//! redb with its default durability: a commit returns when it is on disk.

use super::Engine;
use crate::workload::{Commit, Key};
use anyhow::{Context, Result};
use redb::{Database, ReadableDatabase, TableDefinition};
use std::path::Path;

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const INDEXES: [TableDefinition<'_, &[u8; 32], u64>; 2] = [
    TableDefinition::new("first"),
    TableDefinition::new("second"),
];

/// One database file.
pub(crate) struct Redb(Database);

impl Redb {
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        Ok(Self(Database::create(folder.join("store.redb"))?))
    }
}

impl Engine for Redb {
    fn commit(&mut self, commit: &Commit) -> Result<()> {
        let transaction = self.0.begin_write()?;
        {
            let mut log = transaction.open_table(LOG)?;
            for (position, row) in &commit.log {
                log.insert(position, row.as_slice())?;
            }
        }
        for (definition, entries) in INDEXES.into_iter().zip(&commit.indexes) {
            let mut index = transaction.open_table(definition)?;
            for (key, position) in entries {
                index.insert(key, position)?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn row(&self, position: u64) -> Result<Option<Vec<u8>>> {
        let log = self.0.begin_read()?.open_table(LOG)?;
        Ok(log.get(position)?.map(|row| row.value().to_vec()))
    }

    fn position(&self, which: usize, key: &Key) -> Result<Option<u64>> {
        let definition = *INDEXES.get(which).context("there are two indexes")?;
        let index = self.0.begin_read()?.open_table(definition)?;
        Ok(index.get(key)?.map(|position| position.value()))
    }
}

//! SQLite as the node opens it: write-ahead log, `synchronous=FULL`.

use super::Engine;
use crate::workload::{Commit, Key};
use anyhow::{Context, Result};
use rusqlite::{Connection, OptionalExtension, params};
use std::path::Path;

const TABLES: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS log (position INTEGER PRIMARY KEY, body BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS first (key BLOB PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS second (key BLOB PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;";

/// 64 MiB of pages in memory, and as much in the write-ahead log before it is moved into the database. With the default
/// of 1,000 pages, every commit that touches two indexes moves pages into the database.
const ROOMY: &str = "PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 16384;";

const INSERT_INDEX: [&str; 2] = [
    "INSERT INTO first (key, position) VALUES (?1, ?2)",
    "INSERT INTO second (key, position) VALUES (?1, ?2)",
];

const SELECT_INDEX: [&str; 2] = [
    "SELECT position FROM first WHERE key = ?1",
    "SELECT position FROM second WHERE key = ?1",
];

/// One connection.
pub(crate) struct Sqlite(Connection);

impl Sqlite {
    /// Opens the store with SQLite's own cache and checkpoint interval.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let connection = Connection::open(folder.join("store.sqlite"))?;
        connection.execute_batch(TABLES)?;
        Ok(Self(connection))
    }

    /// Opens the store with a larger cache and fewer checkpoints.
    pub(crate) fn open_roomy(folder: &Path) -> Result<Self> {
        let store = Self::open(folder)?;
        store.0.execute_batch(ROOMY)?;
        Ok(store)
    }
}

impl Engine for Sqlite {
    fn commit(&mut self, commit: &Commit) -> Result<()> {
        let transaction = self.0.transaction()?;
        {
            let mut insert =
                transaction.prepare_cached("INSERT INTO log (position, body) VALUES (?1, ?2)")?;
            for (position, row) in &commit.log {
                insert.execute(params![i64::try_from(*position)?, row])?;
            }
        }
        for (sql, entries) in INSERT_INDEX.iter().zip(&commit.indexes) {
            let mut insert = transaction.prepare_cached(sql)?;
            for (key, position) in entries {
                insert.execute(params![key, i64::try_from(*position)?])?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn row(&self, position: u64) -> Result<Option<Vec<u8>>> {
        let mut select = self
            .0
            .prepare_cached("SELECT body FROM log WHERE position = ?1")?;
        Ok(select
            .query_row([i64::try_from(position)?], |row| row.get(0))
            .optional()?)
    }

    fn position(&self, which: usize, key: &Key) -> Result<Option<u64>> {
        let sql = SELECT_INDEX.get(which).context("there are two indexes")?;
        let found: Option<i64> = self
            .0
            .prepare_cached(sql)?
            .query_row([key], |row| row.get(0))
            .optional()?;
        Ok(found.map(u64::try_from).transpose()?)
    }
}

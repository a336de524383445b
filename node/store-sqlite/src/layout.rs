//! The layout of the main database: its tables and indexes as this version makes them, and nothing
//! beside them.
//!
//! It is compared when a store is opened, whenever SQLite says that it changed, and by the checks.

use portcullis_store::StoreError;
use rusqlite::Connection;

use super::error::SqlError;

/// Tables, indexes, views and triggers of a file: kind and name of each, and the statement that made
/// it.
pub(super) struct Layout(Vec<(String, Option<String>)>);

impl Layout {
    /// Reads the layout of a file. What SQLite itself makes is left out: indexes of keys, which have
    /// no statement, and statistics.
    pub(super) fn of(connection: &Connection) -> Result<Self, SqlError> {
        let mut select = connection.prepare(
            "SELECT type || ' ' || name, sql FROM sqlite_schema
             WHERE NOT (type = 'index' AND sql IS NULL)
                 AND NOT (type = 'table' AND name IN ('sqlite_stat1', 'sqlite_stat4'))
             ORDER BY name",
        )?;
        let rows = select.query_map([], |row| {
            let sql: Option<String> = row.get(1)?;
            Ok((row.get(0)?, sql.as_deref().map(without_comments)))
        })?;
        Ok(Self(rows.collect::<Result<_, _>>()?))
    }

    /// Returns what of a file's layout is not this one, in words.
    pub(super) fn differs_in(&self, connection: &Connection) -> Result<Option<String>, SqlError> {
        if begin_on_one_page(connection)? {
            let what = "two tables or indexes of its schema begin on one page";
            return Ok(Some(what.to_owned()));
        }
        let Self(found) = Self::of(connection)?;
        let other = found
            .iter()
            .find(|one| !self.0.contains(one))
            .or_else(|| self.0.iter().find(|one| !found.contains(one)));
        Ok(other.map(|(name, _)| {
            let name = name.escape_debug();
            format!("`{name}` of its schema is not what this version makes")
        }))
    }

    /// Refuses a file with another layout.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`].
    pub(super) fn refuse_other(&self, connection: &Connection) -> Result<(), SqlError> {
        match self.differs_in(connection)? {
            None => Ok(()),
            Some(what) => Err(StoreError::Damaged(what).into()),
        }
    }
}

/// Returns the number of a file's layout, which SQLite raises at every change of it.
pub(super) fn number(connection: &Connection) -> Result<i64, SqlError> {
    let mut read = connection.prepare_cached("PRAGMA schema_version")?;
    Ok(read.query_row([], |row| row.get(0))?)
}

/// Returns true if two trees of the file begin on one page: an index that is built anew would
/// overwrite another table then.
fn begin_on_one_page(connection: &Connection) -> Result<bool, SqlError> {
    let shared: i64 = connection.query_row(
        "SELECT count(*) - count(DISTINCT rootpage) FROM sqlite_schema WHERE rootpage > 0",
        [],
        |row| row.get(0),
    )?;
    Ok(shared != 0)
}

/// Returns a statement without its comments and line breaks, which say nothing.
fn without_comments(sql: &str) -> String {
    let lines = sql
        .lines()
        .map(|line| line.split("--").next().unwrap_or(line));
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    words.join(" ")
}

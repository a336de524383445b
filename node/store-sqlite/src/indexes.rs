//! SQLite's own indexes, compared with the tables that they are of.
//!
//! An index without an entry hides a row from every question that goes by it, and a row that stands
//! twice from a `UNIQUE` of the writer. The seals say what the rows of a table are; that its indexes
//! say the same is checked here, and that the rows stand where a search looks for them. The table is
//! the truth: an index that differs is built anew from it.

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use super::{error::SqlError, tables::Table};

/// Findings that are told of one table.
const MOST_NAMED: usize = 3;

/// Compares the indexes of a table with its rows, in the transaction of the connection. Returns what
/// differs, in words. Rows are counted in them, and no content is shown.
pub(super) fn differ(main: &Connection, table: &Table) -> Result<Option<String>, SqlError> {
    let mut check = main.prepare(&format!("PRAGMA main.integrity_check({})", table.name))?;
    let lines = check.query_map([], |row| row.get::<_, String>(0))?;
    let lines: Vec<String> = lines.collect::<Result<_, _>>()?;
    let found: Vec<String> = lines
        .iter()
        .filter(|line| line.as_str() != "ok")
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    if found.is_empty() {
        return Ok(None);
    }
    let named: Vec<&str> = found.iter().map(String::as_str).take(MOST_NAMED).collect();
    let more = match found.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    Ok(Some(format!("{}{more}", named.join(", "))))
}

/// Builds all indexes of a table anew from its rows, on the connection that writes. Returns false if
/// they cannot be built, and leaves everything as it was then: two rows have the key of one, or the
/// table itself is torn.
pub(super) fn build_anew(main: &Connection, table: &str) -> Result<bool, SqlError> {
    let transaction = Transaction::new_unchecked(main, TransactionBehavior::Immediate)?;
    match transaction.execute_batch(&format!("REINDEX main.{table}")) {
        Ok(()) => {}
        Err(error) if cannot_be_built(&error) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    transaction.commit()?;
    Ok(true)
}

fn cannot_be_built(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::ConstraintViolation | ErrorCode::DatabaseCorrupt)
    )
}

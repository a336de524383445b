//! SQLite's own indexes, compared with the tables that they are of.
//!
//! An index without an entry hides a row from every question that goes by it, and a row that stands
//! twice from a `UNIQUE` of the writer. The seals say what the rows of a table are; that its indexes
//! say the same is checked here, and that the rows stand where a search looks for them. The table is
//! the truth: an index that differs is built anew from it.

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use super::{
    error::{SqlError, is_torn},
    tables::{Guard, Table},
};

/// Findings that are told of one table.
const MOST_NAMED: usize = 3;

/// Findings about a table, in words. Rows are counted in them, and no content is shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// Findings that are mended by building the indexes anew, or the table if it is derived.
    pub(super) of_indexes: Option<String>,
    /// Findings that no building mends: the table itself is torn, or holds what it may not.
    pub(super) of_table: Option<String>,
}

/// Compares the indexes of a table with its rows, in the transaction of the connection. A page that
/// cannot be read is a finding.
pub(super) fn differ(main: &Connection, table: &Table) -> Result<Findings, SqlError> {
    let lines = match lines(main, table) {
        Ok(lines) => lines,
        Err(error) if is_torn(&error) => vec![error.to_string()],
        Err(error) => return Err(error.into()),
    };
    let found = lines
        .iter()
        .flat_map(|line| line.lines())
        .filter(|line| *line != "ok" && !line.starts_with("*** in database"))
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let is_mended = |line: &String| table.guard == Guard::Derived || is_of_an_index(line);
    let (of_indexes, of_table): (Vec<_>, Vec<_>) = found.partition(is_mended);
    Ok(Findings {
        of_indexes: told(&of_indexes),
        of_table: told(&of_table),
    })
}

fn lines(main: &Connection, table: &Table) -> rusqlite::Result<Vec<String>> {
    let mut check = main.prepare(&format!("PRAGMA main.integrity_check({})", table.name))?;
    let lines = check.query_map([], |row| row.get(0))?;
    lines.collect()
}

/// Returns true if a line of SQLite's check says that an index, or the order of a table without
/// rowids, is not what the rows say.
fn is_of_an_index(line: &str) -> bool {
    const WITHIN: [&str; 2] = [" missing from index ", "values differ from index "];
    const FIRST: [&str; 4] = [
        "wrong # of entries in index ",
        "non-unique entry in index ",
        "rowid not at end-of-record for row ",
        "row not in PRIMARY KEY order for ",
    ];
    WITHIN.iter().any(|words| line.contains(words))
        || FIRST.iter().any(|words| line.starts_with(words))
}

fn told(found: &[String]) -> Option<String> {
    let named: Vec<&str> = found.iter().map(String::as_str).take(MOST_NAMED).collect();
    let more = match found.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    (!found.is_empty()).then(|| format!("{}{more}", named.join(", ")))
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

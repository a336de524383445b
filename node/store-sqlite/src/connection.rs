//! Connections to the two files, and what each of them is told before anything else.
//!
//! A file is data, never a program: its own triggers and views do nothing here, and its expressions
//! call none of the node's functions. Whoever writes to the disk would have the node do and seal what
//! they say.

use std::{fs, path::Path, sync::Arc, time::Duration};

use portcullis_store::StoreError;
use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{
    error::SqlError,
    files::{KEYS_FILE, MAIN_FILE},
};

const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const CACHED_STATEMENTS: usize = 128;
/// Pages in the WAL after which the writer writes it back: 64 MiB.
const CHECKPOINT_PAGES: i64 = 16_384;

/// Opens a connection that only reads, with the key table attached as `keys`.
pub(super) fn readable(dir: &Path) -> Result<Connection, SqlError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(dir.join(MAIN_FILE), flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    set_up(&connection)?;
    let keys = dir.join(KEYS_FILE);
    connection
        .execute("ATTACH DATABASE ?1 AS keys", [path_text(&keys)?])
        .map_err(SqlError::Keys)?;
    Ok(connection)
}

/// Opens a connection that only reads one of the files.
pub(super) fn readable_alone(dir: &Path, name: &str) -> Result<Connection, SqlError> {
    let path = dir.join(name);
    fs::metadata(&path).map_err(|source| file_error(&path, source))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    set_up(&connection)?;
    Ok(connection)
}

/// Opens a connection that writes to one of the files.
pub(super) fn writable(dir: &Path, name: &str) -> Result<Connection, SqlError> {
    let path = dir.join(name);
    fs::metadata(&path).map_err(|source| file_error(&path, source))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    set_up(&connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "cache_size", -65_536)?;
    Ok(connection)
}

/// Returns true if a write-ahead log of the main database has content. SQLite removes it when the last
/// connection is closed.
pub(super) fn has_log(dir: &Path) -> bool {
    let log = dir.join(format!("{MAIN_FILE}-wal"));
    fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

/// Opens a file that does not change. No other file is created next to it.
pub(super) fn at_rest(path: &Path) -> Result<Connection, SqlError> {
    fs::metadata(path).map_err(|source| file_error(path, source))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(immutable(path)?, flags)?;
    set_up(&connection)?;
    Ok(connection)
}

/// Returns the URI of a file that does not change (sqlite.org/uri.html).
pub(super) fn immutable(path: &Path) -> Result<String, SqlError> {
    let mut uri = "file:".to_owned();
    for byte in path_text(path)?.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.' | b'_' | b'~') {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri.push_str("?immutable=1");
    Ok(uri)
}

/// Applies what holds for every connection.
///
/// Triggers and views of the connection itself, which are temporary, still work. Prepared statements
/// stay prepared: SQLite is built with `STAT4` and would parse a statement again for each binding that
/// might change its plan. A plan that never changes is wanted here.
fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    for (setting, on) in [
        (DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
    ] {
        connection.set_db_config(setting, on)?;
    }
    Ok(())
}

pub(super) fn file_error(path: &Path, source: std::io::Error) -> SqlError {
    SqlError::Store(StoreError::File {
        path: path.display().to_string(),
        source: Arc::new(source),
    })
}

/// Returns a path as UTF-8, which SQLite requires for an attached file.
pub(super) fn path_text(path: &Path) -> Result<&str, SqlError> {
    let not_utf8 = || std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is not UTF-8");
    path.to_str().ok_or_else(|| file_error(path, not_utf8()))
}

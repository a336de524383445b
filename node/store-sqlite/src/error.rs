//! Errors inside the engine, before they are told in the store's terms.

use std::sync::Arc;

use portcullis_store::StoreError;

use super::files::{KEYS_FILE, MAIN_FILE};

/// An error of either database, or one that is in the store's terms already.
#[derive(Debug)]
pub(crate) enum SqlError {
    /// SQLite refused or failed in the main database.
    Main(rusqlite::Error),
    /// SQLite refused or failed in the table of keys.
    Keys(rusqlite::Error),
    /// Anything else.
    Store(StoreError),
}

impl SqlError {
    /// The same error, of the table of keys if it is SQLite's.
    pub(crate) fn in_keys(self) -> Self {
        match self {
            Self::Main(error) | Self::Keys(error) => Self::Keys(error),
            Self::Store(error) => Self::Store(error),
        }
    }

    /// Returns what was found, in words, if something that was read is not what was written: it does
    /// not open, or SQLite cannot read its pages.
    pub(crate) fn damage(&self) -> Option<String> {
        match self {
            Self::Store(StoreError::Damaged(why)) => Some(why.clone()),
            Self::Store(_) => None,
            Self::Main(error) | Self::Keys(error) => is_torn(error).then(|| error.to_string()),
        }
    }
}

/// Returns true if SQLite cannot read pages of a file as it wrote them.
pub(crate) fn is_torn(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt)
}

impl From<rusqlite::Error> for SqlError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Main(error)
    }
}

impl From<StoreError> for SqlError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<SqlError> for StoreError {
    fn from(error: SqlError) -> Self {
        match error {
            SqlError::Main(source) => database(MAIN_FILE, source),
            SqlError::Keys(source) => database(KEYS_FILE, source),
            SqlError::Store(error) => error,
        }
    }
}

fn database(file: &'static str, source: rusqlite::Error) -> StoreError {
    StoreError::Database {
        file,
        is_fatal: source.sqlite_error_code() == Some(rusqlite::ErrorCode::SystemIoFailure),
        source: Arc::new(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)
    }

    #[test]
    fn only_a_failed_read_write_or_sync_is_fatal() {
        let fatal = |error: SqlError| StoreError::from(error).is_fatal();
        assert!(fatal(failure(rusqlite::ffi::SQLITE_IOERR_FSYNC).into()));
        assert!(fatal(SqlError::Keys(failure(
            rusqlite::ffi::SQLITE_IOERR_WRITE
        ))));
        assert!(!fatal(failure(rusqlite::ffi::SQLITE_FULL).into()));
        assert!(!fatal(rusqlite::Error::InvalidQuery.into()));
        assert!(!fatal(StoreError::Replayed.into()));
    }

    #[test]
    fn an_error_names_its_file() {
        let told = |error: SqlError| StoreError::from(error).to_string();
        assert!(told(rusqlite::Error::InvalidQuery.into()).contains(MAIN_FILE));
        assert!(told(SqlError::Main(rusqlite::Error::InvalidQuery).in_keys()).contains(KEYS_FILE));
    }
}

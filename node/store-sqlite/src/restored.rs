//! The mark of a store that comes from a backup.
//!
//! It stands until the store begins a generation of its own. The time stays known after that: it is
//! the time since which channels are compared.

use std::path::Path;

use portcullis_protocol::time::Timestamp;
use portcullis_store::StoreError;

use super::{connection, error::SqlError, files::MAIN_FILE, view::DatabaseView};

/// Name in `meta` for the time of the backup from which a store was restored.
const RESTORED: &str = "restored";
/// The same name once the store has begun a generation of its own.
const RECONCILING: &str = "reconciling";

/// Notes, in a store that nobody has open, that it comes from a backup made at this time. Its first
/// start begins a new generation.
///
/// # Errors
///
/// [`StoreError`].
pub fn mark_restored(dir: &Path, made_at: Timestamp) -> Result<(), StoreError> {
    Ok(write_mark(dir, made_at)?)
}

fn write_mark(dir: &Path, made_at: Timestamp) -> Result<(), SqlError> {
    let main = connection::writable(dir, MAIN_FILE)?;
    main.execute(
        "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)",
        (RESTORED, made_at.as_millis().to_be_bytes()),
    )?;
    main.close().map_err(|(_, error)| error.into())
}

/// Reader of the mark.
pub(super) struct RestoredReader<'a> {
    view: DatabaseView<'a>,
}

impl<'a> RestoredReader<'a> {
    pub(super) const fn of(view: DatabaseView<'a>) -> Self {
        Self { view }
    }

    /// Returns the time of the backup from which this store was restored, if it has not begun a
    /// generation of its own since.
    pub(super) fn restored_from(&self) -> Result<Option<Timestamp>, SqlError> {
        self.time_in_meta(RESTORED)
    }

    /// Returns the time of the backup from which this store was restored, if it ever was.
    pub(super) fn reconciling_since(&self) -> Result<Option<Timestamp>, SqlError> {
        self.time_in_meta(RECONCILING)
    }

    fn time_in_meta(&self, name: &str) -> Result<Option<Timestamp>, SqlError> {
        let found = self
            .view
            .first("SELECT value FROM meta WHERE name = ?1", [name], |row| {
                row.get::<_, Vec<u8>>(0)
            })?;
        let damaged = || StoreError::Damaged("the time of its backup cannot be read".to_owned());
        found
            .map(|bytes| {
                let bytes: [u8; 8] = bytes.try_into().map_err(|_| damaged())?;
                Ok(Timestamp::from_millis(i64::from_be_bytes(bytes)))
            })
            .transpose()
    }
}

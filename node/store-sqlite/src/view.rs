//! One consistent view of the main database, in a snapshot or in the transaction that writes.

use portcullis_protocol::record::RecordId;
use portcullis_store::{Damaged, StoreError};
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::{
    crypt::{SealedAs, Vault},
    damages::Damages,
    decode::{record_id, unreadable},
    error::SqlError,
    index::{Index, id_of, place_of},
    pack::place,
    seals::Sealer,
};

/// The main database as one transaction sees it, with the means to find and open what is in it.
#[derive(Clone, Copy)]
pub(super) struct DatabaseView<'a> {
    pub(super) connection: &'a Connection,
    pub(super) vault: &'a Vault,
    pub(super) sealer: &'a Sealer,
    pub(super) index: &'a Index,
    pub(super) on_damage: OnDamage<'a>,
}

/// Treatment of a damaged thing among others.
#[derive(Clone, Copy)]
pub(super) enum OnDamage<'a> {
    /// The query ends with it: a transaction that writes.
    End,
    /// The query ends with it and is tried once more; what is sound is noted.
    TryAgain(&'a Damages),
    /// It is noted and left out.
    LeaveOut(&'a Damages),
}

impl<'a> OnDamage<'a> {
    pub(super) const fn damages(self) -> Option<&'a Damages> {
        match self {
            Self::End => None,
            Self::TryAgain(damages) | Self::LeaveOut(damages) => Some(damages),
        }
    }
}

impl DatabaseView<'_> {
    /// Returns a thing that was read; `None` if it is damaged and left out.
    pub(super) fn unless_damaged<T>(
        &self,
        thing: impl FnOnce() -> Damaged,
        read: Result<T, SqlError>,
    ) -> Result<Option<T>, SqlError> {
        match (read, self.on_damage) {
            (Ok(sound), look) => {
                if let Some(damages) = look.damages() {
                    damages.sound(thing);
                }
                Ok(Some(sound))
            }
            (Err(error), OnDamage::LeaveOut(damages)) => match error.damage() {
                Some(why) => {
                    damages.met(thing(), why);
                    Ok(None)
                }
                None => Err(error),
            },
            (Err(error), OnDamage::End | OnDamage::TryAgain(_)) => Err(error),
        }
    }

    /// Returns a part of a thing that was read; `None` if it is damaged and left out. A part says
    /// nothing of the rest, so that a thing known as damaged stays so.
    pub(super) fn unless_part_damaged<T>(
        &self,
        thing: impl FnOnce() -> Damaged,
        read: Result<T, SqlError>,
    ) -> Result<Option<T>, SqlError> {
        match read {
            Ok(part) => Ok(Some(part)),
            Err(damage) => self.unless_damaged(thing, Err(damage)),
        }
    }

    /// Returns all rows of a query.
    pub(super) fn rows<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, SqlError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params, read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Returns the first row of a query.
    pub(super) fn first<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, SqlError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.query_row(params, read).optional()?)
    }

    /// Opens a sealed thing.
    pub(super) fn open(
        &self,
        sealed_as: SealedAs<'_>,
        wrapped: Option<&[u8]>,
        sealed: Vec<u8>,
        what: impl Fn() -> String,
    ) -> Result<Vec<u8>, SqlError> {
        let wrapped =
            wrapped.ok_or_else(|| StoreError::Damaged(format!("{} has no key", what())))?;
        self.vault
            .open(sealed_as, wrapped, sealed)
            .ok_or_else(|| StoreError::Damaged(format!("{} does not open", what())).into())
    }

    /// Returns the newest place of the log; 0 if it is empty.
    pub(super) fn log_end(&self) -> Result<i64, SqlError> {
        log_end(self.connection)
    }

    /// Returns the number of a record, if it was met before.
    pub(super) fn number(&self, id: &RecordId) -> Result<Option<i64>, SqlError> {
        let known = self.first(
            "SELECT n FROM known WHERE id = ?1",
            [id.as_bytes()],
            |row| row.get(0),
        )?;
        match known {
            Some(number) => Ok(Some(number)),
            None => place_of(self.connection, self.index, id),
        }
    }

    /// Returns the id of the record with this number.
    pub(super) fn id(&self, number: i64) -> Result<Option<RecordId>, SqlError> {
        if number >= 0 {
            return id_of(self.connection, number);
        }
        self.noted_id(number)
    }

    /// Returns the id of a record that was met before it was logged, if it was logged at all.
    pub(super) fn noted_id(&self, number: i64) -> Result<Option<RecordId>, SqlError> {
        let id: Option<Vec<u8>> =
            self.first("SELECT id FROM known WHERE n = ?1", [number], |row| {
                row.get(0)
            })?;
        id.map(|id| record_id(&id)).transpose()
    }

    /// Returns the id of a record that a row of the ledger names.
    pub(super) fn ledger_id(&self, number: i64) -> Result<RecordId, SqlError> {
        self.id(number)?
            .ok_or_else(|| unreadable("the record of a row of the ledger"))
    }

    /// Returns the places of a record in the log: first its own, then those of its extensions.
    pub(super) fn places(&self, number: i64) -> Result<Vec<i64>, SqlError> {
        let first = if number >= 0 {
            Some(number)
        } else {
            self.first("SELECT place FROM known WHERE n = ?1", [number], |row| {
                row.get(0)
            })?
            .flatten()
        };
        let mut places: Vec<i64> = first.into_iter().collect();
        places.extend(self.rows(
            "SELECT place FROM extension WHERE record = ?1 ORDER BY place",
            [number],
            |row| row.get::<_, i64>(0),
        )?);
        Ok(places)
    }

    /// Returns true if the record with this number was withdrawn.
    pub(super) fn is_withdrawn(&self, number: i64) -> Result<bool, SqlError> {
        let found = self.first(
            "SELECT 1 FROM tombstone WHERE record = ?1",
            [number],
            |row| row.get::<_, i64>(0),
        )?;
        Ok(found.is_some())
    }
}

/// Returns the newest place of the log; 0 if it is empty.
pub(super) fn log_end(main: &Connection) -> Result<i64, SqlError> {
    let mut newest = main.prepare_cached("SELECT n, count FROM pack ORDER BY n DESC LIMIT 1")?;
    let end = newest
        .query_row([], |row| Ok(place(row.get(0)?, row.get::<_, i64>(1)? - 1)))
        .optional()?;
    Ok(end.unwrap_or(0))
}

//! Ids of the pack that was looked at last, for many lookups in a row.

use portcullis_protocol::record::RecordId;
use rusqlite::{Connection, OptionalExtension as _};

use super::{
    error::SqlError,
    pack::{id_at, pack_of, slot_of},
};

/// Ids of one pack.
#[derive(Default)]
pub(super) struct PackIds {
    pack: i64,
    /// The ids; `None` if no pack was found.
    ids: Option<Vec<u8>>,
}

impl PackIds {
    /// Returns the id of the record at this place of the log.
    pub(super) fn id_at(
        &mut self,
        main: &Connection,
        place: i64,
    ) -> Result<Option<RecordId>, SqlError> {
        let pack = pack_of(place);
        if self.ids.is_none() || self.pack != pack {
            let mut select = main.prepare_cached("SELECT ids FROM pack WHERE n = ?1")?;
            let ids = select.query_row([pack], |row| row.get(0)).optional()?;
            *self = Self { pack, ids };
        }
        let ids = self.ids.as_ref();
        Ok(ids.and_then(|ids| id_at(ids, slot_of(place))))
    }
}

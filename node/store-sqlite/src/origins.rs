//! Origins of held records, as their statements name them. Nothing is opened and nothing verified.

use std::collections::{BTreeSet, HashMap};

use portcullis_protocol::{identifiers::AuthorityId, wire};
use prost::Message as _;

use super::{
    error::SqlError,
    pack::{Directory, PackRow, pack_of, slot_of, statements},
    view::DatabaseView,
};

/// Most statements of which the origin is remembered.
const MOST_REMEMBERED: usize = 4_096;

/// Reader of the origins whose records are left out.
pub(super) struct OriginReader<'a> {
    view: DatabaseView<'a>,
    left_out: &'a BTreeSet<AuthorityId>,
    /// The pack looked at last, and the statement of each of its entries.
    pack: Option<(i64, Vec<i64>)>,
    /// Origins by the numbers of statements, if they are left out.
    remembered: HashMap<i64, Option<AuthorityId>>,
    /// Bytes of the packs that were looked at.
    pub(super) looked_at: usize,
}

impl<'a> OriginReader<'a> {
    pub(super) fn of(view: DatabaseView<'a>, left_out: &'a BTreeSet<AuthorityId>) -> Self {
        Self {
            view,
            left_out,
            pack: None,
            remembered: HashMap::new(),
            looked_at: 0,
        }
    }

    /// Returns the origin of the record at this place, if it is left out. An entry that extends a
    /// record has no statement, and is not known here.
    pub(super) fn left_out(&mut self, place: i64) -> Result<Option<AuthorityId>, SqlError> {
        if self.left_out.is_empty() {
            return Ok(None);
        }
        let n = pack_of(place);
        if self.pack.as_ref().is_none_or(|(known, _)| *known != n) {
            let row = self.view.first(
                "SELECT directory, body FROM pack WHERE n = ?1",
                [n],
                |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?)),
            )?;
            let (directory, body) = row.unwrap_or_default();
            self.looked_at = self.looked_at.saturating_add(body.len());
            self.keep(n, &directory, &body);
        }
        let entries = self.pack.as_ref().map(|(_, entries)| entries);
        match entries.and_then(|entries| entries.get(slot_of(place))) {
            Some(statement) => self.origin_of(*statement),
            None => Ok(None),
        }
    }

    /// Returns the origins of all records of a pack that was read, if all of them are left out.
    pub(super) fn all_left_out(
        &mut self,
        row: &PackRow,
    ) -> Result<Option<Vec<AuthorityId>>, SqlError> {
        if self.left_out.is_empty() {
            return Ok(None);
        }
        self.keep(row.n, &row.directory, &row.body);
        let entries = self.pack.as_ref().map(|(_, entries)| entries.clone());
        let Some(entries) = entries.filter(|entries| !entries.is_empty()) else {
            return Ok(None);
        };
        let origins = entries.into_iter();
        origins.map(|statement| self.origin_of(statement)).collect()
    }

    fn keep(&mut self, n: i64, directory: &[u8], body: &[u8]) {
        // A damaged pack is reported by whoever opens it.
        let entries = Directory::read(directory).map(|directory| statements(&directory, body));
        self.pack = Some((n, entries.unwrap_or_default()));
    }

    fn origin_of(&mut self, statement: i64) -> Result<Option<AuthorityId>, SqlError> {
        if let Some(known) = self.remembered.get(&statement) {
            return Ok(known.clone());
        }
        let payload: Option<Vec<u8>> = self.view.first(
            "SELECT payload FROM statement WHERE n = ?1",
            [statement],
            |row| row.get(0),
        )?;
        let batch = payload.and_then(|payload| wire::BatchStatement::decode(&*payload).ok());
        let origin = batch.and_then(|batch| batch.origin.parse().ok());
        let origin = origin.filter(|origin| self.left_out.contains(origin));
        if self.remembered.len() >= MOST_REMEMBERED {
            self.remembered.clear();
        }
        self.remembered.insert(statement, origin.clone());
        Ok(origin)
    }
}

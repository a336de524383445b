//! Origins of held records, as their statements name them and their headers confirm them. No section
//! is opened, and nothing verified.
//!
//! No key binds the number of a statement to its record. Whoever writes to the disk would put another
//! number there, and the record would be left out as another origin's. The header is bound to the id:
//! nothing is left out whose header names another origin than its statement.

use std::collections::{BTreeSet, HashMap};

use portcullis_protocol::{identifiers::AuthorityId, wire};
use prost::Message as _;

use super::{
    error::SqlError,
    pack::{Directory, Head, PackRow, header_of, heads, pack_of, slot_of},
    view::DatabaseView,
};

/// Most statements of which the origin is remembered.
const MOST_REMEMBERED: usize = 4_096;

/// Reader of the origins whose records are left out.
pub(super) struct OriginReader<'a> {
    view: DatabaseView<'a>,
    left_out: &'a BTreeSet<AuthorityId>,
    /// The pack looked at last, and the heads of its entries.
    pack: Option<(i64, Vec<Option<Head>>)>,
    /// Origins by the numbers of statements.
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
                "SELECT ids, directory, body FROM pack WHERE n = ?1",
                [n],
                |row| {
                    Ok((
                        row.get::<_, Vec<u8>>(0)?,
                        row.get::<_, Vec<u8>>(1)?,
                        row.get::<_, Vec<u8>>(2)?,
                    ))
                },
            )?;
            let (ids, directory, body) = row.unwrap_or_default();
            self.looked_at = self.looked_at.saturating_add(body.len());
            self.keep((n, &ids), &directory, &body);
        }
        self.left_out_at(slot_of(place))
    }

    /// Returns the origins of all records of a pack that was read, if all of them are left out.
    pub(super) fn all_left_out(
        &mut self,
        row: &PackRow,
    ) -> Result<Option<Vec<AuthorityId>>, SqlError> {
        if self.left_out.is_empty() {
            return Ok(None);
        }
        self.keep((row.n, &row.ids), &row.directory, &row.body);
        let entries = self.pack.as_ref().map_or(0, |(_, entries)| entries.len());
        if entries == 0 {
            return Ok(None);
        }
        (0..entries).map(|slot| self.left_out_at(slot)).collect()
    }

    fn keep(&mut self, (n, ids): (i64, &[u8]), directory: &[u8], body: &[u8]) {
        // A damaged pack is reported by whoever opens it.
        let entries = Directory::read(directory).map(|directory| heads(ids, &directory, body));
        self.pack = Some((n, entries.unwrap_or_default()));
    }

    /// Returns the origin of an entry of the pack looked at last, if it is left out. One whose header
    /// is not sound, or names another, is not left out: whoever opens it reports it.
    fn left_out_at(&mut self, slot: usize) -> Result<Option<AuthorityId>, SqlError> {
        let statement = self.head(slot).map_or(0, |head| head.statement);
        let named = self.origin_of(statement)?;
        let Some(origin) = named.filter(|origin| self.left_out.contains(origin)) else {
            return Ok(None);
        };
        let header = self.head(slot).map(|head| head.header(self.view.vault));
        let header = header.and_then(Result::ok).and_then(header_of);
        Ok(header
            .is_some_and(|header| header.origin == origin)
            .then_some(origin))
    }

    fn head(&self, slot: usize) -> Option<&Head> {
        let (_, entries) = self.pack.as_ref()?;
        entries.get(slot)?.as_ref()
    }

    /// Returns the origin that the statement with this number names.
    pub(super) fn origin_of(&mut self, statement: i64) -> Result<Option<AuthorityId>, SqlError> {
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
        if self.remembered.len() >= MOST_REMEMBERED {
            self.remembered.clear();
        }
        self.remembered.insert(statement, origin.clone());
        Ok(origin)
    }
}

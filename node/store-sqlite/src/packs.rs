//! Reads of records from their packs, each as it is held now.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
    sync::Arc,
};

use portcullis_protocol::{
    body::SelectorKind,
    digest::Digest,
    frame::Lane,
    identifiers::AuthorityId,
    record::{Form, Kind, RecordId},
    seal::SealedRecord,
    statement::SignedStatement,
    wire,
};

use super::{
    decode::{record_id, unsigned},
    group::log_end,
    index::{id_key, id_of, place_of},
    pack::{Directory, Opened, Pack, PackRow, SLOTS, pack_of, pack_rows, place, slot_of},
    query::names,
    reader::Reader,
    recent::{Placed, Recent},
};
use crate::error::SqlError;
use portcullis_store::{HeldRecord, LogEntry, Logged, RecordFilter, Relay, StoreError};

/// Packs kept while records are read one after the other.
const PACKS_AT_HAND: usize = 4;

/// Statements and packs kept while records are read one after the other.
#[derive(Default)]
pub(super) struct PackCache {
    /// Records of one batch share their statement, so that it is verified only once.
    statements: HashMap<i64, Arc<SignedStatement>>,
    /// The packs looked at last, the newest first.
    packs: Vec<Rc<Pack>>,
}

impl PackCache {
    fn keep(&mut self, pack: &Rc<Pack>) {
        self.packs.insert(0, Rc::clone(pack));
        self.packs.truncate(PACKS_AT_HAND);
    }
}

/// Adds the entries after the cursor.
fn add_at_hand(
    records: Vec<Placed>,
    cursor: i64,
    limit: usize,
    entries: &mut Vec<LogEntry>,
) -> Result<(), SqlError> {
    for Placed { at, since, record } in records {
        if at > cursor && entries.len() < limit {
            entries.push(LogEntry {
                sequence: unsigned(at)?,
                logged: Logged::AtHand { record, since },
            });
        }
    }
    Ok(())
}

impl Reader<'_> {
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
        let id: Option<Vec<u8>> =
            self.first("SELECT id FROM known WHERE n = ?1", [number], |row| {
                row.get(0)
            })?;
        id.map(|id| record_id(&id)).transpose()
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

    fn pack(&self, n: i64, cache: &mut PackCache) -> Result<Option<Rc<Pack>>, SqlError> {
        if let Some(pack) = cache.packs.iter().find(|pack| pack.n == n) {
            return Ok(Some(Rc::clone(pack)));
        }
        let row = self.first(pack_rows!("WHERE p.n = ?1"), [n], PackRow::read)?;
        let Some(row) = row else {
            return Ok(None);
        };
        let pack = Rc::new(Pack::open(row, self.vault)?);
        cache.keep(&pack);
        Ok(Some(pack))
    }

    pub(super) fn record(&self, id: &RecordId) -> Result<Option<HeldRecord>, SqlError> {
        match self.number(id)? {
            Some(number) => self.held_record(number, &mut PackCache::default()),
            None => Ok(None),
        }
    }

    /// Returns the record with this number as it is held; `None` if it is not held.
    pub(super) fn held_record(
        &self,
        number: i64,
        cache: &mut PackCache,
    ) -> Result<Option<HeldRecord>, SqlError> {
        if self.is_withdrawn(number)? {
            return Ok(None);
        }
        let places = self.places(number)?;
        let Some((first, extensions)) = places.split_first() else {
            return Ok(None);
        };
        match self.pack(pack_of(*first), cache)? {
            Some(pack) => {
                let extensions = extensions.to_vec();
                self.assembled(&pack, slot_of(*first), &extensions, cache)
                    .map(Some)
            }
            None => Ok(None),
        }
    }

    fn assembled(
        &self,
        pack: &Pack,
        slot: usize,
        extensions: &[i64],
        cache: &mut PackCache,
    ) -> Result<HeldRecord, SqlError> {
        let mut form = Form::EMPTY;
        let mut sections = Vec::new();
        self.add_sections(pack, slot, &mut form, &mut sections)?;
        for place in extensions {
            let pack = self
                .pack(pack_of(*place), cache)?
                .ok_or_else(|| StoreError::Damaged(format!("nothing stands at {place}")))?;
            self.add_sections(&pack, slot_of(*place), &mut form, &mut sections)?;
        }
        sections.sort_by_key(|section| section.index);
        self.held(pack, slot, form, sections, cache)
    }

    fn add_sections(
        &self,
        pack: &Pack,
        slot: usize,
        form: &mut Form,
        sections: &mut Vec<wire::Section>,
    ) -> Result<(), SqlError> {
        let expected = pack.directory.form(slot).unwrap_or(Form::EMPTY);
        let opened = pack.sections(slot)?;
        let found: Form = opened.iter().map(|section| section.index).collect();
        if found != expected {
            let id = pack.id(slot)?;
            let lacks = format!("record `{id}` lacks a section");
            return Err(StoreError::Damaged(lacks).into());
        }
        *form = form.union(found);
        sections.extend(opened.into_iter().map(wire_section));
        Ok(())
    }

    fn held(
        &self,
        pack: &Pack,
        slot: usize,
        form: Form,
        sections: Vec<wire::Section>,
        cache: &mut PackCache,
    ) -> Result<HeldRecord, SqlError> {
        let bare = pack.bare(slot)?;
        let statement = self.statement(bare.statement, &mut cache.statements)?;
        let record = wire::Record {
            header: bare.header,
            sections,
            batch: 0,
            blind: bare.blind,
            leaf: bare.leaf,
            path: bare.path,
        };
        Ok(HeldRecord {
            sealed: SealedRecord::new(record, statement),
            form,
            source: pack.source.clone(),
            received_at: pack.received_at,
        })
    }

    /// Reads a record for dispatch. One damaged record must not keep back all those after it. It is
    /// therefore returned without its sections, so that its verification refuses it and the ledger
    /// names it. If not even its header is sound, it is left out.
    pub(super) fn dispatched(
        &self,
        pack: &Pack,
        slot: usize,
        extensions: &[i64],
        cache: &mut PackCache,
    ) -> Result<Option<HeldRecord>, SqlError> {
        match self.assembled(pack, slot, extensions, cache) {
            Err(SqlError::Store(StoreError::Damaged(why))) => {
                tracing::error!(%why, "a held record is damaged; restore the store from a backup");
                match self.held(pack, slot, Form::EMPTY, Vec::new(), cache) {
                    Err(SqlError::Store(StoreError::Damaged(_))) => Ok(None),
                    other => other.map(Some),
                }
            }
            other => other.map(Some),
        }
    }

    /// [`Self::dispatched`] for a record's number.
    pub(super) fn dispatched_number(
        &self,
        number: i64,
        cache: &mut PackCache,
    ) -> Result<Option<HeldRecord>, SqlError> {
        if self.is_withdrawn(number)? {
            return Ok(None);
        }
        let places = self.places(number)?;
        let Some((first, extensions)) = places.split_first() else {
            return Ok(None);
        };
        match self.pack(pack_of(*first), cache) {
            Ok(Some(pack)) => self.dispatched(&pack, slot_of(*first), extensions, cache),
            Ok(None) => Ok(None),
            Err(SqlError::Store(StoreError::Damaged(why))) => {
                tracing::error!(%why, "a pack of records is damaged; restore the store from a backup");
                Ok(None)
            }
            Err(error) => Err(error),
        }
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

    /// Returns the numbers of the records of a pack that were withdrawn.
    fn withdrawn_in(&self, pack: &Pack) -> Result<HashSet<i64>, SqlError> {
        let found = self.rows(
            "SELECT record FROM tombstone WHERE record BETWEEN ?1 AND ?2",
            (place(pack.n, 0), place(pack.n, SLOTS - 1)),
            |row| row.get(0),
        )?;
        let mut found: HashSet<i64> = found.into_iter().collect();
        for number in pack.directory.numbers.iter().filter(|number| **number < 0) {
            if self.is_withdrawn(*number)? {
                found.insert(*number);
            }
        }
        Ok(found)
    }

    /// Returns the places of the extensions of a pack's records, by the records' numbers.
    fn extensions(&self, pack: &Pack) -> Result<HashMap<i64, Vec<i64>>, SqlError> {
        let rows: Vec<(i64, i64)> = self.rows(
            "SELECT record, place FROM extension WHERE record BETWEEN ?1 AND ?2 ORDER BY place",
            (place(pack.n, 0), place(pack.n, SLOTS - 1)),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let mut found: HashMap<i64, Vec<i64>> = HashMap::new();
        for (record, place) in rows {
            found.entry(record).or_default().push(place);
        }
        for number in pack.directory.numbers.iter().filter(|number| **number < 0) {
            let places = self.places(*number)?;
            found.insert(*number, places.get(1..).unwrap_or_default().to_vec());
        }
        Ok(found)
    }

    pub(super) fn outbox(
        &self,
        recent: &Recent,
        (lane, relay): (Lane, Relay),
        cursor: u64,
        limit: u32,
    ) -> Result<Vec<LogEntry>, SqlError> {
        let sql = match relay {
            Relay::OwnOnly => {
                "SELECT n, count FROM pack WHERE lane = ?1 AND own = 1 AND n >= ?2 ORDER BY n"
            }
            Relay::Others => "SELECT n, count FROM pack WHERE lane = ?1 AND n >= ?2 ORDER BY n",
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let cursor = cursor.cast_signed();
        let mut cache = PackCache::default();
        let mut entries = Vec::new();
        let mut select = self.connection.prepare_cached(sql)?;
        let mut rows = select.query((lane.name(), pack_of(cursor)))?;
        while entries.len() < limit {
            let Some(row) = rows.next()? else {
                break;
            };
            let (n, count) = (row.get(0)?, row.get(1)?);
            match self.at_hand(recent, n, count)? {
                Some(records) => add_at_hand(records, cursor, limit, &mut entries)?,
                None => self.add_stored(n, cursor, limit, &mut entries, &mut cache)?,
            }
        }
        if lane == Lane::Urgent && entries.len() < limit {
            let announced = recent.announced(log_end(self.connection)?);
            add_at_hand(announced, cursor, limit, &mut entries)?;
        }
        Ok(entries)
    }

    /// Returns the records of a pack if all of them are in memory and none has been extended or
    /// withdrawn since.
    fn at_hand(
        &self,
        recent: &Recent,
        n: i64,
        count: i64,
    ) -> Result<Option<Vec<Placed>>, SqlError> {
        let Some(records) = recent.pack(n, count) else {
            return Ok(None);
        };
        let extended: Option<i64> = self.first(
            "SELECT 1 FROM extension WHERE record BETWEEN ?1 AND ?2
             UNION ALL SELECT 1 FROM tombstone WHERE record BETWEEN ?1 AND ?2 LIMIT 1",
            (place(n, 0), place(n, SLOTS - 1)),
            |row| row.get(0),
        )?;
        Ok(extended.is_none().then_some(records))
    }

    fn add_stored(
        &self,
        n: i64,
        cursor: i64,
        limit: usize,
        entries: &mut Vec<LogEntry>,
        cache: &mut PackCache,
    ) -> Result<(), SqlError> {
        match self.pack(n, cache) {
            Ok(Some(pack)) => self.log_entries(&pack, cursor, limit, entries, cache),
            Ok(None) => Ok(()),
            Err(SqlError::Store(StoreError::Damaged(why))) => {
                tracing::error!(%why, "a pack of records is damaged; restore the store from a backup");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn log_entries(
        &self,
        pack: &Pack,
        cursor: i64,
        limit: usize,
        entries: &mut Vec<LogEntry>,
        cache: &mut PackCache,
    ) -> Result<(), SqlError> {
        let extensions = self.extensions(pack)?;
        let withdrawn = self.withdrawn_in(pack)?;
        for slot in 0..pack.len() {
            let at = pack.place(slot);
            let number = pack.directory.number(pack.n, slot);
            if at <= cursor || entries.len() >= limit || withdrawn.contains(&number) {
                continue;
            }
            let held = if pack.extends {
                self.dispatched_number(number, cache)?
            } else {
                let extensions = extensions.get(&number).map(Vec::as_slice);
                self.dispatched(pack, slot, extensions.unwrap_or_default(), cache)?
            };
            if let Some(held) = held {
                entries.push(LogEntry {
                    sequence: unsigned(at)?,
                    logged: Logged::Stored(held),
                });
            }
        }
        Ok(())
    }

    pub(super) fn behind(&self, lane: Lane, relay: Relay, cursor: u64) -> Result<u64, SqlError> {
        let least_own = match relay {
            Relay::OwnOnly => 1,
            Relay::Others => 0,
        };
        let cursor = cursor.cast_signed();
        let slot = i64::try_from(slot_of(cursor)).unwrap_or_default();
        let count: Option<i64> = self.first(
            "SELECT coalesce(sum(iif(n = ?3, max(count - ?4, 0), count)), 0) FROM pack
             WHERE lane = ?1 AND own IN (?2, 1) AND n >= ?3",
            (lane.name(), least_own, pack_of(cursor), slot + 1),
            |row| row.get(0),
        )?;
        let withdrawn = self.withdrawn_after(lane, least_own, cursor)?;
        unsigned(count.unwrap_or(0).saturating_sub(withdrawn))
    }

    pub(super) fn ids_with_prefix(
        &self,
        prefix: &str,
        limit: u32,
    ) -> Result<Vec<RecordId>, SqlError> {
        let end = |fill: &str| -> Option<RecordId> {
            let rest = 64_usize.checked_sub(prefix.len())?;
            let digest: Digest = format!("{prefix}{}", fill.repeat(rest)).parse().ok()?;
            RecordId::from_slice(digest.as_bytes())
        };
        let (Some(first), Some(last)) = (end("0"), end("f")) else {
            return Ok(Vec::new());
        };
        let keys = (id_key(&first), id_key(&last));
        let mut ids = Vec::new();
        for place in self.index.ids_between(self.connection, keys, limit)? {
            let id = id_of(self.connection, place)?;
            ids.extend(id.filter(|id| (first..=last).contains(id)));
        }
        ids.sort_unstable();
        ids.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(ids)
    }

    pub(super) fn records(&self, filter: &RecordFilter) -> Result<Vec<HeldRecord>, SqlError> {
        let RecordFilter {
            kind,
            origin,
            limit,
        } = filter;
        let sql = match kind {
            Some(_) => pack_rows!("WHERE extends = 0 AND kind = ?1 ORDER BY p.n DESC"),
            None => pack_rows!("WHERE extends = 0 AND ?1 IS NULL ORDER BY p.n DESC"),
        };
        let limit = limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        let mut cache = PackCache::default();
        let mut records = Vec::new();
        let mut select = self.connection.prepare_cached(sql)?;
        let mut rows = select.query([kind.map(Kind::name)])?;
        while records.len() < limit {
            let Some(row) = rows.next()? else {
                break;
            };
            let pack = Pack::open(PackRow::read(row)?, self.vault)?;
            let extensions = self.extensions(&pack)?;
            let withdrawn = self.withdrawn_in(&pack)?;
            for slot in (0..pack.len()).rev() {
                if records.len() >= limit {
                    break;
                }
                let number = pack.directory.number(pack.n, slot);
                if withdrawn.contains(&number) {
                    continue;
                }
                let extensions = extensions.get(&number).map(Vec::as_slice);
                let extensions = extensions.unwrap_or_default();
                let held = self.assembled(&pack, slot, extensions, &mut cache)?;
                let chosen = |origin: &AuthorityId| is_of(&held.sealed, origin.as_str());
                if origin.as_ref().is_none_or(chosen) {
                    records.push(held);
                }
            }
        }
        Ok(records)
    }

    pub(super) fn records_about(
        &self,
        kind: SelectorKind,
        value: &str,
    ) -> Result<Vec<HeldRecord>, SqlError> {
        let mut records = match self.vault.token(kind, value) {
            Some(token) => self.with_token(token)?,
            None => self.records(&RecordFilter::default())?,
        };
        records.retain(|held| names(&held.sealed, kind, value));
        Ok(records)
    }

    fn with_token(&self, token: i64) -> Result<Vec<HeldRecord>, SqlError> {
        let mut numbers = Vec::new();
        for place in self.index.tokens(self.connection, token)? {
            let directory: Option<Vec<u8>> = self.first(
                "SELECT directory FROM pack WHERE n = ?1",
                [pack_of(place)],
                |row| row.get(0),
            )?;
            if let Some(directory) = directory {
                let directory = Directory::read(&directory)?;
                numbers.push(directory.number(pack_of(place), slot_of(place)));
            }
        }
        let mut found: Vec<(i64, i64)> = Vec::new();
        for number in numbers {
            let first = self.places(number)?.first().copied();
            found.extend(first.map(|place| (place, number)));
        }
        // The newest come first. A record found twice is listed once.
        found.sort_unstable_by(|one, other| other.cmp(one));
        found.dedup();
        let mut cache = PackCache::default();
        let mut records = Vec::new();
        for (_, number) in found {
            records.extend(self.held_record(number, &mut cache)?);
        }
        Ok(records)
    }
}

fn wire_section(opened: Opened) -> wire::Section {
    wire::Section {
        index: u32::from(opened.index),
        salt: opened.salt,
        body: opened.body,
    }
}

/// Returns true if the header of a record that was read names this origin.
fn is_of(sealed: &SealedRecord, origin: &str) -> bool {
    use prost::Message as _;
    wire::Header::decode(sealed.wire().header.clone()).is_ok_and(|header| header.origin == origin)
}

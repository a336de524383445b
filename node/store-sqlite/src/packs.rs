//! Records as their packs hold them, each put together from its own entry and its extensions.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

use bytes::Bytes;
use portcullis_protocol::{
    record::{Form, SectionTag},
    seal::{SealedRecord, claimed_sections},
    wire,
};
use portcullis_store::{HeldExcerpt, HeldRecord, StoreError};

use super::{
    error::SqlError,
    interned::StatementReader,
    pack::{Opened, Pack, PackRow, SLOTS, pack_of, pack_rows, place, slot_of},
    view::DatabaseView,
};

/// Most packs kept open while records are read one after the other.
const MOST_CACHED: usize = 4;

/// Reader of records one after the other, which keeps their statements and packs at hand.
pub(super) struct PackReader<'a> {
    view: DatabaseView<'a>,
    statements: StatementReader<'a>,
    cached: PackCache,
}

/// The packs looked at last, the newest first.
#[derive(Default)]
struct PackCache(Vec<Rc<Pack>>);

impl PackCache {
    fn pack(&self, n: i64) -> Option<Rc<Pack>> {
        self.0.iter().find(|pack| pack.n == n).map(Rc::clone)
    }

    fn keep(&mut self, pack: &Rc<Pack>) {
        self.0.insert(0, Rc::clone(pack));
        self.0.truncate(MOST_CACHED);
    }
}

impl<'a> PackReader<'a> {
    pub(super) fn of(view: DatabaseView<'a>) -> Self {
        Self {
            view,
            statements: StatementReader::of(view),
            cached: PackCache::default(),
        }
    }

    /// Returns the pack with this number, with its keys opened.
    pub(super) fn pack(&mut self, n: i64) -> Result<Option<Rc<Pack>>, SqlError> {
        if let Some(pack) = self.cached.pack(n) {
            return Ok(Some(pack));
        }
        let row = self
            .view
            .first(pack_rows!("WHERE p.n = ?1"), [n], PackRow::read)?;
        let Some(row) = row else {
            return Ok(None);
        };
        let pack = Rc::new(Pack::open(row, self.view.vault, self.view.sealer)?);
        self.cached.keep(&pack);
        Ok(Some(pack))
    }

    /// Returns the record with this number as it is held; `None` if it is not held.
    pub(super) fn held_record(&mut self, number: i64) -> Result<Option<HeldRecord>, SqlError> {
        if self.view.is_withdrawn(number)? {
            return Ok(None);
        }
        let places = self.view.places(number)?;
        let Some((first, extensions)) = places.split_first() else {
            return Ok(None);
        };
        match self.pack(pack_of(*first))? {
            Some(pack) => {
                let extensions = extensions.to_vec();
                self.assembled(&pack, slot_of(*first), &extensions)
                    .map(Some)
            }
            None => Ok(None),
        }
    }

    /// Returns an excerpt of the record with this number, with the sections of these tags; `None` if
    /// it is not held.
    pub(super) fn held_excerpt(
        &mut self,
        number: i64,
        tags: &[SectionTag],
    ) -> Result<Option<HeldExcerpt>, SqlError> {
        if self.view.is_withdrawn(number)? {
            return Ok(None);
        }
        let places = self.view.places(number)?;
        let Some((first, extensions)) = places.split_first() else {
            return Ok(None);
        };
        let found = self.pack(pack_of(*first))?;
        found
            .map(|pack| self.excerpt(&pack, slot_of(*first), extensions, tags))
            .transpose()
    }

    /// Returns the record in this slot, with the sections of its extensions.
    pub(super) fn assembled(
        &mut self,
        pack: &Pack,
        slot: usize,
        extensions: &[i64],
    ) -> Result<HeldRecord, SqlError> {
        let (form, sections) = self.sections((pack, slot), extensions, None)?;
        self.held(pack, slot, form, sections)
    }

    /// Returns an excerpt of the record in this slot, with the sections of these tags. Nothing of it
    /// keeps the pack in memory.
    pub(super) fn excerpt(
        &mut self,
        pack: &Pack,
        slot: usize,
        extensions: &[i64],
        tags: &[SectionTag],
    ) -> Result<HeldExcerpt, SqlError> {
        let bare = pack.bare(slot, self.view.vault)?;
        let asked = claimed_sections(&bare.header, tags);
        let (form, sections) = self.sections((pack, slot), extensions, Some(asked))?;
        let apart = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
        let record = wire::Record {
            header: apart(&bare.header),
            sections,
            batch: 0,
            blind: apart(&bare.blind),
            leaf: bare.leaf,
            path: apart(&bare.path),
        };
        Ok(HeldExcerpt {
            opened: SealedRecord::new(record, self.statements.statement(bare.statement)?),
            form,
            source: pack.source.clone(),
            received_at: pack.received_at,
        })
    }

    /// Returns the form of a record with its extensions, and its sections within `asked`.
    fn sections(
        &mut self,
        (pack, slot): (&Pack, usize),
        extensions: &[i64],
        asked: Option<Form>,
    ) -> Result<(Form, Vec<wire::Section>), SqlError> {
        let mut form = Form::EMPTY;
        let mut sections = Vec::new();
        let mut add = |pack: &Pack, slot: usize| -> Result<(), SqlError> {
            form = form.union(pack.directory.form(slot).unwrap_or(Form::EMPTY));
            let opened = pack.sections(slot, asked)?;
            sections.extend(opened.into_iter().map(wire_section));
            Ok(())
        };
        add(pack, slot)?;
        for place in extensions {
            let pack = self
                .pack(pack_of(*place))?
                .ok_or_else(|| StoreError::Damaged(format!("nothing stands at {place}")))?;
            add(&pack, slot_of(*place))?;
        }
        sections.sort_by_key(|section| section.index);
        Ok((form, sections))
    }

    fn held(
        &mut self,
        pack: &Pack,
        slot: usize,
        form: Form,
        sections: Vec<wire::Section>,
    ) -> Result<HeldRecord, SqlError> {
        let bare = pack.bare(slot, self.view.vault)?;
        let statement = self.statements.statement(bare.statement)?;
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
        &mut self,
        pack: &Pack,
        slot: usize,
        extensions: &[i64],
    ) -> Result<Option<HeldRecord>, SqlError> {
        match self.assembled(pack, slot, extensions) {
            Err(SqlError::Store(StoreError::Damaged(why))) => {
                tracing::error!(%why, "a held record is damaged; restore the store from a backup");
                match self.held(pack, slot, Form::EMPTY, Vec::new()) {
                    Err(SqlError::Store(StoreError::Damaged(_))) => Ok(None),
                    other => other.map(Some),
                }
            }
            other => other.map(Some),
        }
    }

    /// Reads the record with this number for dispatch, as [`Self::dispatched`] does.
    pub(super) fn dispatched_number(
        &mut self,
        number: i64,
    ) -> Result<Option<HeldRecord>, SqlError> {
        if self.view.is_withdrawn(number)? {
            return Ok(None);
        }
        let places = self.view.places(number)?;
        let Some((first, extensions)) = places.split_first() else {
            return Ok(None);
        };
        match self.pack(pack_of(*first)) {
            Ok(Some(pack)) => self.dispatched(&pack, slot_of(*first), extensions),
            Ok(None) => Ok(None),
            Err(SqlError::Store(StoreError::Damaged(why))) => {
                tracing::error!(%why, "a pack of records is damaged; restore the store from a backup");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the numbers of the records of a pack that were withdrawn.
    pub(super) fn withdrawn_in(&self, pack: &Pack) -> Result<HashSet<i64>, SqlError> {
        let found = self.view.rows(
            "SELECT record FROM tombstone WHERE record BETWEEN ?1 AND ?2",
            (place(pack.n, 0), place(pack.n, SLOTS - 1)),
            |row| row.get(0),
        )?;
        let mut found: HashSet<i64> = found.into_iter().collect();
        for number in pack.directory.numbers.iter().filter(|number| **number < 0) {
            if self.view.is_withdrawn(*number)? {
                found.insert(*number);
            }
        }
        Ok(found)
    }

    /// Returns the places of the extensions of a pack's records, by the records' numbers.
    pub(super) fn extensions(&self, pack: &Pack) -> Result<HashMap<i64, Vec<i64>>, SqlError> {
        let rows: Vec<(i64, i64)> = self.view.rows(
            "SELECT record, place FROM extension WHERE record BETWEEN ?1 AND ?2 ORDER BY place",
            (place(pack.n, 0), place(pack.n, SLOTS - 1)),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let mut found: HashMap<i64, Vec<i64>> = HashMap::new();
        for (record, place) in rows {
            found.entry(record).or_default().push(place);
        }
        for number in pack.directory.numbers.iter().filter(|number| **number < 0) {
            let places = self.view.places(*number)?;
            found.insert(*number, places.get(1..).unwrap_or_default().to_vec());
        }
        Ok(found)
    }
}

fn wire_section(opened: Opened) -> wire::Section {
    wire::Section {
        index: u32::from(opened.index),
        salt: opened.salt,
        body: opened.body,
    }
}

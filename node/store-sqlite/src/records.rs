//! Records on their way in: published here or admitted from a peer, and packed in the order of
//! arrival.

use std::{collections::HashMap, sync::Arc};

use portcullis_protocol::{
    identifiers::NodeId,
    record::{Form, RecordId},
    time::Timestamp,
    verify::VerifiedRecord,
};

use super::{
    group::Group,
    index::{Additions, entries},
    pack::{Directory, OpenPack, Packing, Run, pack_of, slot_of},
    recent::Placed,
};
use crate::error::SqlError;
use portcullis_store::StoreError;

/// Delivery of a record: its sender, its form, and the number of the decision to admit it.
#[derive(Clone, Copy)]
pub(super) struct Delivery<'a> {
    pub(super) peer: &'a NodeId,
    pub(super) form: Form,
    pub(super) decision: i64,
}

/// Additions of a group to the record log.
#[derive(Default)]
pub(super) struct Log {
    /// The pack that still takes entries.
    open: Option<OpenPack>,
    /// The number of the next pack, once it is known.
    next: Option<i64>,
    /// The numbers of the added records, which the index does not know yet.
    numbers: HashMap<RecordId, i64>,
    /// The records that the present job added.
    job: Vec<RecordId>,
    /// Own records that were added.
    pub(super) published: Vec<Placed>,
    /// Entries for the index, added to it once the group is durable.
    pub(super) additions: Additions,
}

/// Lengths of a log's lists before a job.
pub(super) struct Mark {
    ids: usize,
    tokens: usize,
    published: usize,
}

impl Log {
    /// Begins a job.
    pub(super) fn mark(&mut self) -> Mark {
        self.job.clear();
        Mark {
            ids: self.additions.ids.len(),
            tokens: self.additions.tokens.len(),
            published: self.published.len(),
        }
    }

    /// Forgets everything that a job added since this mark.
    pub(super) fn rewind(&mut self, mark: &Mark) {
        self.open = None;
        self.next = None;
        self.additions.ids.truncate(mark.ids);
        self.additions.tokens.truncate(mark.tokens);
        self.published.truncate(mark.published);
        for id in self.job.drain(..) {
            self.numbers.remove(&id);
        }
    }

    /// Returns the number of a record that the group added.
    pub(super) fn number(&self, id: &RecordId) -> Option<i64> {
        self.numbers.get(id).copied()
    }

    /// Returns the directory of a pack that still takes entries.
    fn directory(&self, pack: i64) -> Option<&Directory> {
        let open = self.open.as_ref().filter(|open| open.n == pack)?;
        Some(&open.directory)
    }
}

impl Group<'_> {
    /// Adds the authority's own records to the log; those held already or withdrawn are skipped.
    pub(super) fn publish(
        &mut self,
        records: Vec<VerifiedRecord>,
        now: Timestamp,
    ) -> Result<(), SqlError> {
        for record in records {
            let number = self.number(&record.id())?;
            let is_settled = match number {
                Some(number) => self.is_withdrawn(number)? || self.held_form(number)?.is_some(),
                None => false,
            };
            if is_settled {
                continue;
            }
            let place = self.insert_record(&record, number, None, now)?;
            if number.is_none() {
                self.log.published.push(Placed {
                    at: place,
                    since: now,
                    record: Arc::new(record),
                });
            }
        }
        Ok(())
    }

    /// Returns the form held of the record with this number; `None` if it is not held.
    pub(super) fn held_form(&self, number: i64) -> Result<Option<Form>, SqlError> {
        let mut form = None;
        for place in self.places(number)? {
            let entry = self.directory_at(place, |directory| directory.form(slot_of(place)))?;
            form = entry.map_or(form, |entry| {
                Some(form.map_or(entry, |held: Form| held.union(entry)))
            });
        }
        Ok(form)
    }

    /// Returns the places of a record in the log: first its own, then those of its extensions.
    pub(super) fn places(&self, number: i64) -> Result<Vec<i64>, SqlError> {
        let first = if number >= 0 {
            Some(number)
        } else {
            let found = self.first("SELECT place FROM known WHERE n = ?1", [number], |row| {
                row.get::<_, Option<i64>>(0)
            })?;
            found.flatten()
        };
        let mut places: Vec<i64> = first.into_iter().collect();
        places.extend(self.column(
            "SELECT place FROM extension WHERE record = ?1 ORDER BY place",
            &[&number],
        )?);
        Ok(places)
    }

    /// Applies `look` to the directory of the pack with this place.
    pub(super) fn directory_at<T>(
        &self,
        place: i64,
        look: impl FnOnce(&Directory) -> Option<T>,
    ) -> Result<Option<T>, SqlError> {
        let pack = pack_of(place);
        if let Some(directory) = self.log.directory(pack) {
            return Ok(look(directory));
        }
        let bytes = self.first("SELECT directory FROM pack WHERE n = ?1", [pack], |row| {
            row.get::<_, Vec<u8>>(0)
        })?;
        match bytes {
            Some(bytes) => Ok(look(&Directory::read(&bytes)?)),
            None => Ok(None),
        }
    }

    /// Adds a record that is not held to the log, and returns its place. A record that was known
    /// already keeps its number.
    pub(super) fn insert_record(
        &mut self,
        record: &VerifiedRecord,
        known: Option<i64>,
        delivery: Option<Delivery<'_>>,
        now: Timestamp,
    ) -> Result<i64, SqlError> {
        let run = Run {
            kind: record.header().kind,
            source: delivery.map(|delivery| delivery.peer.clone()),
            own: delivery.is_none(),
            extends: false,
            received_at: now,
        };
        let packing = Packing {
            record,
            form: record.form(),
            statement: self.statement(record.statement())?,
            number: known,
            delivered: delivery.map(|delivery| (delivery.form, delivery.decision)),
        };
        let place = self.append(run, &packing)?;
        if let Some(number) = known {
            self.run("UPDATE known SET place = ?2 WHERE n = ?1", (number, place))?;
        }
        self.log.numbers.insert(record.id(), known.unwrap_or(place));
        self.log.job.push(record.id());
        Ok(place)
    }

    /// Adds the sections of a record that are not held yet, and so logs it again.
    pub(super) fn extend_record(
        &mut self,
        number: i64,
        record: &VerifiedRecord,
        held: Form,
        delivery: Option<Delivery<'_>>,
        now: Timestamp,
    ) -> Result<(), SqlError> {
        let run = Run {
            kind: record.header().kind,
            source: delivery.map(|delivery| delivery.peer.clone()),
            own: self.is_own(number)?,
            extends: true,
            received_at: now,
        };
        let packing = Packing {
            record,
            form: record.form().without(held),
            statement: 0,
            number: Some(number),
            delivered: delivery.map(|delivery| (delivery.form, delivery.decision)),
        };
        let place = self.append(run, &packing)?;
        self.run(
            "INSERT INTO extension (record, place) VALUES (?1, ?2)",
            (number, place),
        )?;
        Ok(())
    }

    /// Returns the peer that delivered the entry at this place; `None` if it was made here.
    pub(super) fn source_at(&self, place: i64) -> Result<Option<String>, SqlError> {
        let pack = pack_of(place);
        if let Some(open) = self.log.open.as_ref().filter(|open| open.n == pack) {
            return Ok(open.run.source.as_ref().map(NodeId::to_string));
        }
        let source = self.first("SELECT source FROM pack WHERE n = ?1", [pack], |row| {
            row.get(0)
        })?;
        Ok(source.flatten())
    }

    fn is_own(&self, number: i64) -> Result<bool, SqlError> {
        let Some(place) = self.places(number)?.first().copied() else {
            return Ok(false);
        };
        let pack = pack_of(place);
        if let Some(open) = self.log.open.as_ref().filter(|open| open.n == pack) {
            return Ok(open.run.own);
        }
        let own = self.first("SELECT own FROM pack WHERE n = ?1", [pack], |row| {
            row.get(0)
        })?;
        Ok(own.unwrap_or(false))
    }

    /// Adds an entry to the open pack, or to a new one if it does not fit with the others.
    fn append(&mut self, run: Run, packing: &Packing<'_>) -> Result<i64, SqlError> {
        let fits = |open: &OpenPack| open.run == run && open.has_room();
        if !self.log.open.as_ref().is_some_and(fits) {
            self.close_pack()?;
            let n = match self.log.next {
                Some(next) => next,
                None => newest_pack(self)? + 1,
            };
            self.log.next = Some(n + 1);
            self.log.open = Some(OpenPack::new(n, run));
        }
        let vault = self.vault();
        let open = self.log.open.as_mut();
        open.ok_or(StoreError::Fault("no pack is open"))?
            .add(packing, vault)
    }

    /// Writes the open pack.
    pub(super) fn close_pack(&mut self) -> Result<(), SqlError> {
        let Some(open) = self.log.open.take() else {
            return Ok(());
        };
        let closed = open.closed(self.vault())?;
        self.keys()?
            .prepare_cached(
                "INSERT OR REPLACE INTO pack_key (n, wrapped, sealed) VALUES (?1, ?2, ?3)",
            )
            .and_then(|mut insert| insert.execute((open.n, &closed.wrapped, &closed.keys)))
            .map_err(SqlError::Keys)?;
        self.run(
            "INSERT INTO pack (n, lane, own, extends, kind, source, received_at, count, ids,
                 directory, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            (
                open.n,
                open.run.lane().name(),
                open.run.own,
                open.run.extends,
                open.run.kind.name(),
                open.run.source.as_ref().map(NodeId::as_str),
                open.run.received_at.as_millis(),
                i64::try_from(open.len()).unwrap_or(i64::MAX),
                &open.ids,
                &closed.directory,
                &open.body,
            ),
        )?;
        let ids: &[u8] = if open.run.extends { &[] } else { &open.ids };
        let added = entries(open.n, ids, &open.directory);
        self.log.additions.ids.extend(added.ids);
        self.log.additions.tokens.extend(added.tokens);
        self.log.additions.pack = open.n;
        Ok(())
    }
}

fn newest_pack(group: &Group<'_>) -> Result<i64, SqlError> {
    let newest = group.first("SELECT coalesce(max(n), 0) FROM pack", [], |row| row.get(0))?;
    Ok(newest.unwrap_or(0))
}

//! Records on their way in: published here or admitted from a peer, and packed in the order of
//! arrival.

use std::sync::Arc;

use portcullis_protocol::{
    frame::Outcome, identifiers::NodeId, record::Form, time::Timestamp, verify::VerifiedRecord,
};
use portcullis_store::StoreError;

use super::{
    error::SqlError,
    index::entries,
    pack::{OpenPack, Packing, Run, pack_of, slot_of},
    recent::Placed,
    transaction::WriteTransaction,
};

/// Delivery of a record: its sender, its form, and the number of the decision to admit it.
#[derive(Clone, Copy)]
pub(super) struct Delivery<'a> {
    pub(super) peer: &'a NodeId,
    pub(super) form: Form,
    pub(super) decision: i64,
}

/// Writer of the record log: what is published here, admitted from a peer, or taken back.
pub(super) struct RecordWriter<'t, 'a> {
    tx: &'t mut WriteTransaction<'a>,
}

/// Effect of a record on the log, as far as its sections were held already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Addition {
    /// The record was not held.
    Record,
    /// The record was held without some of these sections.
    Sections,
    /// All of it was held.
    Nothing,
}

impl Addition {
    /// Returns the effect of `brought`, given the form held of the record, if it is held.
    fn to(held: Option<Form>, brought: Form) -> Self {
        match held {
            None => Self::Record,
            Some(held) if brought.is_within(held) => Self::Nothing,
            Some(_) => Self::Sections,
        }
    }
}

impl<'t, 'a> RecordWriter<'t, 'a> {
    pub(super) const fn of(tx: &'t mut WriteTransaction<'a>) -> Self {
        Self { tx }
    }

    /// Adds the authority's own records to the log; those held already or withdrawn are skipped.
    pub(super) fn publish(
        &mut self,
        records: Vec<VerifiedRecord>,
        now: Timestamp,
    ) -> Result<(), SqlError> {
        for record in records {
            let number = self.tx.number(&record.id())?;
            let is_settled = match number {
                Some(number) => self.tx.is_withdrawn(number)? || self.held_form(number)?.is_some(),
                None => false,
            };
            if is_settled {
                continue;
            }
            let place = self.insert_record(&record, number, None, now)?;
            if number.is_none() {
                self.tx.log.published.push(Placed {
                    at: place,
                    since: now,
                    record: Arc::new(record),
                });
            }
        }
        self.close_pack()
    }

    /// Takes back records of this authority that it had lost. A withdrawn record stays withdrawn.
    pub(super) fn recover(
        &mut self,
        records: &[VerifiedRecord],
        now: Timestamp,
    ) -> Result<(), SqlError> {
        for record in records {
            let number = self.tx.number(&record.id())?;
            if let Some(number) = number
                && self.tx.is_withdrawn(number)?
            {
                continue;
            }
            self.add(record, number, None, now)?;
        }
        self.close_pack()
    }

    /// Adds what the log lacks of a record. `number` is the record's, if it was met before.
    pub(super) fn add(
        &mut self,
        record: &VerifiedRecord,
        number: Option<i64>,
        delivery: Option<Delivery<'_>>,
        now: Timestamp,
    ) -> Result<Addition, SqlError> {
        let held = match number {
            Some(number) => self.held_form(number)?.map(|form| (number, form)),
            None => None,
        };
        let addition = Addition::to(held.map(|(_, form)| form), record.form());
        match held {
            None => {
                self.insert_record(record, number, delivery, now)?;
            }
            Some((number, held)) if addition == Addition::Sections => {
                self.extend_record(number, record, held, delivery, now)?;
            }
            Some(_) => {}
        }
        Ok(addition)
    }

    /// Returns the form held of the record with this number; `None` if it is not held.
    fn held_form(&self, number: i64) -> Result<Option<Form>, SqlError> {
        let mut form = None;
        for place in self.tx.places(number)? {
            let entry = self
                .tx
                .directory_at(place, |directory| directory.form(slot_of(place)))?;
            form = entry.map_or(form, |entry| {
                Some(form.map_or(entry, |held: Form| held.union(entry)))
            });
        }
        Ok(form)
    }

    /// Adds a record that is not held to the log, and returns its place. A record that was known
    /// already keeps its number.
    fn insert_record(
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
            statement: self.tx.statement(record.statement())?,
            number: known,
            delivered: delivery.map(|delivery| (delivery.form, delivery.decision)),
        };
        let place = self.append(run, &packing)?;
        if let Some(number) = known {
            self.tx
                .run("UPDATE known SET place = ?2 WHERE n = ?1", (number, place))?;
        }
        self.tx.log.added(record.id(), known.unwrap_or(place));
        Ok(place)
    }

    /// Adds the sections of a record that are not held yet, and so logs it again.
    fn extend_record(
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
        self.tx.run(
            "INSERT INTO extension (record, place) VALUES (?1, ?2)",
            (number, place),
        )?;
        Ok(())
    }

    /// Returns the outcome of this very delivery if the record log holds it: it added the record,
    /// or sections to it.
    pub(super) fn admitted_before(
        &self,
        (peer, form): (&NodeId, Form),
        number: i64,
    ) -> Result<Option<Outcome>, SqlError> {
        for (at, place) in self.tx.places(number)?.into_iter().enumerate() {
            let delivered = self
                .tx
                .directory_at(place, |all| all.delivered(slot_of(place)))?;
            let same_form = delivered.is_some_and(|(delivered, _)| delivered == form);
            if same_form && self.source_at(place)?.as_deref() == Some(peer.as_str()) {
                return Ok(Some(match at {
                    0 => Outcome::Accepted,
                    _ => Outcome::Extended,
                }));
            }
        }
        Ok(None)
    }

    /// Returns the peer that delivered the entry at this place; `None` if it was made here.
    fn source_at(&self, place: i64) -> Result<Option<String>, SqlError> {
        let pack = pack_of(place);
        if let Some(run) = self.tx.log.run(pack) {
            return Ok(run.source.as_ref().map(NodeId::to_string));
        }
        let source = self
            .tx
            .first("SELECT source FROM pack WHERE n = ?1", [pack], |row| {
                row.get(0)
            })?;
        Ok(source.flatten())
    }

    fn is_own(&self, number: i64) -> Result<bool, SqlError> {
        let Some(place) = self.tx.places(number)?.first().copied() else {
            return Ok(false);
        };
        let pack = pack_of(place);
        if let Some(run) = self.tx.log.run(pack) {
            return Ok(run.own);
        }
        let own = self
            .tx
            .first("SELECT own FROM pack WHERE n = ?1", [pack], |row| {
                row.get(0)
            })?;
        Ok(own.unwrap_or(false))
    }

    /// Adds an entry to the open pack, or to a new one if it does not fit with the others.
    fn append(&mut self, run: Run, packing: &Packing<'_>) -> Result<i64, SqlError> {
        let fits = |open: &OpenPack| open.run == run && open.has_room();
        if !self.tx.log.open.as_ref().is_some_and(fits) {
            self.close_pack()?;
            let n = match self.tx.log.next {
                Some(next) => next,
                None => newest_pack(self.tx)? + 1,
            };
            self.tx.log.next = Some(n + 1);
            self.tx.log.open = Some(OpenPack::new(n, run));
        }
        let vault = self.tx.vault();
        let open = self.tx.log.open.as_mut();
        open.ok_or(StoreError::Fault("no pack is open"))?
            .add(packing, vault)
    }

    /// Writes the open pack.
    pub(super) fn close_pack(&mut self) -> Result<(), SqlError> {
        let Some(open) = self.tx.log.open.take() else {
            return Ok(());
        };
        let closed = open.closed(self.tx.vault())?;
        self.tx
            .keys()?
            .prepare_cached(
                "INSERT OR REPLACE INTO pack_key (n, wrapped, sealed) VALUES (?1, ?2, ?3)",
            )
            .and_then(|mut insert| insert.execute((open.n, &closed.wrapped, &closed.keys)))
            .map_err(SqlError::Keys)?;
        self.tx.run(
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
        self.tx.log.additions.ids.extend(added.ids);
        self.tx.log.additions.tokens.extend(added.tokens);
        self.tx.log.additions.pack = open.n;
        Ok(())
    }
}

fn newest_pack(tx: &WriteTransaction<'_>) -> Result<i64, SqlError> {
    let newest = tx.first("SELECT coalesce(max(n), 0) FROM pack", [], |row| row.get(0))?;
    Ok(newest.unwrap_or(0))
}

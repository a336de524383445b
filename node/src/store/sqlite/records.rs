//! Records on their way in: published here, or admitted from a peer.

use portcullis_protocol::{
    body::Body,
    frame::Lane,
    identifiers::NodeId,
    record::{Form, Kind, RecordId},
    time::Timestamp,
    verify::{OpenSection, VerifiedRecord},
};

use super::group::{Group, Kept};
use crate::store::{
    StoreError,
    crypt::{Place, Token},
};

/// What of a record is held already.
pub(super) enum Holding {
    /// Nothing.
    Nothing,
    /// This form of it.
    Form(Form),
}

/// The slot of a section: a record's sections stand together.
pub(super) const fn slot(record: i64, index: u8) -> i64 {
    record * 64 + index as i64
}

/// The lane that a record travels in.
const fn lane_of(kind: Kind) -> Lane {
    match kind {
        Kind::Alert => Lane::Urgent,
        Kind::Indicator | Kind::Advisory | Kind::Outcome | Kind::RiskProfile => Lane::Bulk,
    }
}

impl Group<'_> {
    /// Adds the authority's own records to record table and log; those held already are skipped.
    pub(super) fn publish(
        &mut self,
        records: &[VerifiedRecord],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for record in records {
            let number = self.known(&record.id())?;
            match self.holding(number)? {
                Holding::Nothing => self.insert_record(number, record, None, now)?,
                Holding::Form(_) => {}
            }
        }
        Ok(())
    }

    /// What is held of the record with this number.
    pub(super) fn holding(&self, number: i64) -> Result<Holding, StoreError> {
        let form = self.first("SELECT form FROM record WHERE n = ?1", [number], |row| {
            row.get::<_, i64>(0)
        })?;
        Ok(form.map_or(Holding::Nothing, |bits| {
            Holding::Form(Form::from_bits(bits.cast_unsigned()))
        }))
    }

    /// Keeps a record of which nothing is held, and adds it to the log.
    pub(super) fn insert_record(
        &mut self,
        number: i64,
        record: &VerifiedRecord,
        source: Option<&NodeId>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let statement = self.statement(record.statement())?;
        let (header, wire) = (record.header(), record.sealed().wire());
        self.run(
            "INSERT INTO record (n, received_at, kind, form, statement, leaf, origin, source,
                 blind, path, header)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            (
                number,
                now.as_millis(),
                header.kind.name(),
                record.form().bits().cast_signed(),
                statement,
                wire.leaf,
                header.origin.as_str(),
                source.map(NodeId::as_str),
                wire.blind.as_ref(),
                wire.path.as_ref(),
                wire.header.as_ref(),
            ),
        )?;
        self.insert_sections(number, record, record.form(), source)?;
        self.append(lane_of(header.kind), source.is_none(), number)
    }

    /// Adds the sections of `fresh` to a record of which `held` is held, and logs it again.
    pub(super) fn extend_record(
        &mut self,
        number: i64,
        record: &VerifiedRecord,
        held: Form,
        source: &NodeId,
    ) -> Result<(), StoreError> {
        let form = held.union(record.form());
        self.run(
            "UPDATE record SET form = ?2 WHERE n = ?1",
            (number, form.bits().cast_signed()),
        )?;
        self.insert_sections(number, record, record.form().without(held), Some(source))?;
        let own = self
            .first(
                "SELECT source IS NULL FROM record WHERE n = ?1",
                [number],
                |row| row.get(0),
            )?
            .unwrap_or(false);
        self.append(lane_of(record.header().kind), own, number)
    }

    fn insert_sections(
        &mut self,
        number: i64,
        record: &VerifiedRecord,
        form: Form,
        channel: Option<&NodeId>,
    ) -> Result<(), StoreError> {
        let fresh = |open: &&OpenSection| form.contains(open.section.index);
        for open in record.sections().iter().filter(fresh) {
            self.insert_section(number, &record.id(), open, channel)?;
            if let Body::Subject(subject) = &open.body {
                let tokens = subject
                    .selectors
                    .iter()
                    .filter_map(|selector| self.vault().token(selector.kind(), selector.value()));
                self.index(number, tokens.collect())?;
            }
        }
        Ok(())
    }

    fn insert_section(
        &mut self,
        number: i64,
        id: &RecordId,
        open: &OpenSection,
        channel: Option<&NodeId>,
    ) -> Result<(), StoreError> {
        let section = &open.section;
        let plain = [section.salt.as_slice(), &section.body].concat();
        let Kept { key, sealed } = self.seal(Place::Section(id, section.index), plain)?;
        self.run(
            "INSERT INTO section (slot, key, channel, sealed) VALUES (?1, ?2, ?3, ?4)",
            (
                slot(number, section.index),
                key,
                channel.map(NodeId::as_str),
                sealed,
            ),
        )?;
        Ok(())
    }

    fn index(&self, number: i64, mut tokens: Vec<Token>) -> Result<(), StoreError> {
        tokens.sort_unstable();
        for token in tokens {
            self.run(
                "INSERT OR IGNORE INTO record_token (token, record) VALUES (?1, ?2)",
                (token, number),
            )?;
        }
        Ok(())
    }
}

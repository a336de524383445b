//! Reading: rows become what was kept, or an error; never something else.
//!
//! A header must hash to the id it is found by, the sections held must be those of the form
//! noted, and each must open in its place. What else may have been changed on disk (statement,
//! path, blind) is found when the reader verifies the record.

use std::{collections::HashMap, str::FromStr, sync::Arc};

use bytes::Bytes;
use portcullis_protocol::{
    body::{Body, SelectorKind},
    digest::Digest,
    identifiers::NodeId,
    record::{Form, Header, Kind, RecordId, SectionTag},
    rules::Rule,
    seal::SealedRecord,
    statement::SignedStatement,
    time::Timestamp,
    wire,
};
use prost::Message as _;
use rusqlite::{OptionalExtension as _, Row};

use super::{group, reader::Reader, records::slot};
use crate::store::{HeldItem, HeldRecord, RecordFilter, StoreError, crypt::Place};

/// Bytes of a salt.
const SALT_LEN: usize = 16;

impl Reader<'_> {
    /// All rows that a query gives.
    pub(super) fn rows<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params, read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The first row that a query gives.
    pub(super) fn first<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.query_row(params, read).optional()?)
    }

    /// Opens a sealed thing.
    pub(super) fn open(
        &self,
        place: Place<'_>,
        wrapped: Option<&[u8]>,
        sealed: Vec<u8>,
        what: impl Fn() -> String,
    ) -> Result<Vec<u8>, StoreError> {
        let wrapped =
            wrapped.ok_or_else(|| StoreError::Damaged(format!("{} has no key", what())))?;
        self.vault
            .open(place, wrapped, sealed)
            .ok_or_else(|| StoreError::Damaged(format!("{} does not open", what())))
    }

    pub(super) fn log_end(&self) -> Result<u64, StoreError> {
        group::log_end(self.connection).and_then(unsigned)
    }

    fn number(&self, id: &RecordId) -> Result<Option<i64>, StoreError> {
        self.first(
            "SELECT n FROM known WHERE id = ?1",
            [id.as_bytes()],
            |row| row.get(0),
        )
    }

    pub(super) fn record(&self, id: &RecordId) -> Result<Option<HeldRecord>, StoreError> {
        let number = self.number(id)?;
        let held = self.held_records(number.into_iter())?;
        Ok(held.into_iter().flatten().next())
    }

    pub(super) fn ids_with_prefix(
        &self,
        prefix: &str,
        limit: u32,
    ) -> Result<Vec<RecordId>, StoreError> {
        let end = |fill: &str| -> Option<Digest> {
            let rest = 64_usize.checked_sub(prefix.len())?;
            format!("{prefix}{}", fill.repeat(rest)).parse().ok()
        };
        let (Some(first), Some(last)) = (end("0"), end("f")) else {
            return Ok(Vec::new());
        };
        let ids: Vec<Vec<u8>> = self.rows(
            "SELECT id FROM known JOIN record USING (n) WHERE id BETWEEN ?1 AND ?2
             ORDER BY id LIMIT ?3",
            (first.as_bytes(), last.as_bytes(), limit),
            |row| row.get(0),
        )?;
        ids.iter().map(|id| record_id(id)).collect()
    }

    pub(super) fn records(&self, filter: &RecordFilter) -> Result<Vec<HeldRecord>, StoreError> {
        let RecordFilter {
            kind,
            origin,
            limit,
        } = filter;
        let chosen = match kind {
            Some(_) => "kind = ?1",
            None => "?1 IS NULL",
        };
        let sql = format!(
            "SELECT n FROM record WHERE {chosen} AND (?2 IS NULL OR origin = ?2)
             ORDER BY received_at DESC, n DESC LIMIT ?3"
        );
        let numbers: Vec<i64> = self.rows(
            &sql,
            (
                kind.map(Kind::name),
                origin.as_ref().map(|origin| origin.as_str()),
                limit.map_or(-1, i64::from),
            ),
            |row| row.get(0),
        )?;
        let held = self.held_records(numbers.into_iter())?;
        Ok(held.into_iter().flatten().collect())
    }

    pub(super) fn records_about(
        &self,
        kind: SelectorKind,
        value: &str,
    ) -> Result<Vec<HeldRecord>, StoreError> {
        let mut records = match self.vault.token(kind, value) {
            Some(token) => {
                let numbers: Vec<i64> = self.rows(
                    "SELECT record FROM record_token JOIN record ON n = record
                     WHERE token = ?1 ORDER BY received_at DESC, n DESC",
                    [token],
                    |row| row.get(0),
                )?;
                let held = self.held_records(numbers.into_iter())?;
                held.into_iter().flatten().collect()
            }
            None => self.records(&RecordFilter::default())?,
        };
        records.retain(|held| names(&held.sealed, kind, value));
        Ok(records)
    }

    /// [`Self::held_records`] for dispatch: one damaged record must not keep back all that come
    /// after it. It is given without its sections, so that its verification refuses it and the
    /// ledger names it; if not even its header stands, it is left out.
    pub(super) fn dispatched_records(
        &self,
        numbers: impl Iterator<Item = i64>,
    ) -> Result<Vec<Option<HeldRecord>>, StoreError> {
        let mut statements = HashMap::new();
        numbers
            .map(|number| match self.held_record(number, &mut statements) {
                Err(StoreError::Damaged(why)) => {
                    tracing::error!(%why, "a held record is damaged; restore the store from a backup");
                    self.record_without_sections(number, &mut statements)
                }
                other => other,
            })
            .collect()
    }

    fn record_without_sections(
        &self,
        number: i64,
        statements: &mut HashMap<i64, Arc<SignedStatement>>,
    ) -> Result<Option<HeldRecord>, StoreError> {
        let bare = self.record_row(number).and_then(|found| {
            found
                .map(|(_, row)| self.assembled(row, Vec::new(), statements))
                .transpose()
        });
        match bare {
            Err(StoreError::Damaged(_)) => Ok(None),
            other => other,
        }
    }

    /// The records with these numbers, in their order; `None` where nothing is held.
    pub(super) fn held_records(
        &self,
        numbers: impl Iterator<Item = i64>,
    ) -> Result<Vec<Option<HeldRecord>>, StoreError> {
        // Records of one batch share their statement, so that it is verified once.
        let mut statements = HashMap::new();
        numbers
            .map(|number| self.held_record(number, &mut statements))
            .collect()
    }

    fn held_record(
        &self,
        number: i64,
        statements: &mut HashMap<i64, Arc<SignedStatement>>,
    ) -> Result<Option<HeldRecord>, StoreError> {
        let Some((id, row)) = self.record_row(number)? else {
            return Ok(None);
        };
        let sections = self.sections(number, &id)?;
        let found: Form = sections
            .iter()
            .filter_map(|section| u8::try_from(section.index).ok())
            .collect();
        if found.bits() != row.form.cast_unsigned() {
            return Err(StoreError::Damaged(format!(
                "record `{id}` lacks a section"
            )));
        }
        self.assembled(row, sections, statements).map(Some)
    }

    /// The row of a record whose header is the one it is known by.
    fn record_row(&self, number: i64) -> Result<Option<(RecordId, RecordRow)>, StoreError> {
        let row = self.first(
            "SELECT id, header, form, statement, leaf, blind, path, source, received_at
             FROM record JOIN known USING (n) WHERE n = ?1",
            [number],
            RecordRow::read,
        )?;
        let Some(row) = row else {
            return Ok(None);
        };
        let id = record_id(&row.id)?;
        if RecordId::of_header(&row.header) != id {
            return Err(StoreError::Damaged(format!(
                "record `{id}` has another header"
            )));
        }
        Ok(Some((id, row)))
    }

    fn assembled(
        &self,
        row: RecordRow,
        sections: Vec<wire::Section>,
        statements: &mut HashMap<i64, Arc<SignedStatement>>,
    ) -> Result<HeldRecord, StoreError> {
        let statement = self.statement(row.statement, statements)?;
        let record = wire::Record {
            header: row.header.into(),
            sections,
            batch: 0,
            blind: row.blind.into(),
            leaf: row.leaf,
            path: row.path.into(),
        };
        Ok(HeldRecord {
            sealed: SealedRecord::new(record, statement),
            form: Form::from_bits(row.form.cast_unsigned()),
            source: row.source.as_deref().map(node).transpose()?,
            received_at: Timestamp::from_millis(row.received_at),
        })
    }

    /// The sections held of a record, ascending by index.
    fn sections(&self, number: i64, id: &RecordId) -> Result<Vec<wire::Section>, StoreError> {
        let rows: Vec<(i64, Option<Vec<u8>>, Vec<u8>)> = self.rows(
            "SELECT slot, wrapped, sealed FROM section
             LEFT JOIN keys.wrapped_key AS k ON k.n = section.key
             WHERE slot BETWEEN ?1 AND ?2 ORDER BY slot",
            (slot(number, 0), slot(number, 63)),
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        rows.into_iter()
            .map(|(at, wrapped, sealed)| {
                let index = u8::try_from(at - slot(number, 0))
                    .map_err(|_| unreadable("the slot of a section"))?;
                let what = || format!("section {index} of record `{id}`");
                let place = Place::Section(id, index);
                let plain = Bytes::from(self.open(place, wrapped.as_deref(), sealed, what)?);
                if plain.len() < SALT_LEN {
                    return Err(unreadable(&what()));
                }
                Ok(wire::Section {
                    index: u32::from(index),
                    salt: plain.slice(..SALT_LEN),
                    body: plain.slice(SALT_LEN..),
                })
            })
            .collect()
    }

    fn statement(
        &self,
        number: i64,
        statements: &mut HashMap<i64, Arc<SignedStatement>>,
    ) -> Result<Arc<SignedStatement>, StoreError> {
        if let Some(statement) = statements.get(&number) {
            return Ok(Arc::clone(statement));
        }
        let wire = self.first(
            "SELECT payload, key_id, signature FROM statement WHERE n = ?1",
            [number],
            |row| {
                Ok(wire::SignedStatement {
                    payload: row.get::<_, Vec<u8>>(0)?.into(),
                    key_id: row.get::<_, Vec<u8>>(1)?.into(),
                    signature: row.get::<_, Vec<u8>>(2)?.into(),
                })
            },
        )?;
        let statement = wire
            .and_then(|wire| SignedStatement::try_from(wire).ok())
            .map(Arc::new)
            .ok_or_else(|| unreadable("a statement"))?;
        statements.insert(number, Arc::clone(&statement));
        Ok(statement)
    }

    pub(super) fn held_items(&self) -> Result<Vec<HeldItem>, StoreError> {
        let rows = self.rows(
            "SELECT id, peer, form, rule, at, statement, wrapped, sealed
             FROM held JOIN known ON known.n = held.record
             LEFT JOIN keys.wrapped_key AS k ON k.n = held.key ORDER BY held.n",
            [],
            HeldRow::read,
        )?;
        let mut statements = HashMap::new();
        rows.into_iter()
            .map(|row| self.held_item(row, &mut statements))
            .collect()
    }

    fn held_item(
        &self,
        row: HeldRow,
        statements: &mut HashMap<i64, Arc<SignedStatement>>,
    ) -> Result<HeldItem, StoreError> {
        let (id, peer) = (record_id(&row.id)?, node(&row.peer)?);
        let form = Form::from_bits(row.form.cast_unsigned());
        let what = || format!("the held item `{id}`");
        let place = Place::Held(&id, form, &peer);
        let plain = self.open(place, row.wrapped.as_deref(), row.sealed, what)?;
        let record = wire::Record::decode(Bytes::from(plain)).map_err(|_| unreadable(&what()))?;
        let statement = self.statement(row.statement, statements)?;
        Ok(HeldItem {
            form,
            rule: row.rule,
            at: Timestamp::from_millis(row.at),
            sealed: SealedRecord::new(record, statement),
            peer,
        })
    }
}

/// Whether the subject of a record that was read names this selector. A subject that cannot be
/// read names nothing; verification tells why.
fn names(sealed: &SealedRecord, kind: SelectorKind, value: &str) -> bool {
    let wire = sealed.wire();
    let header = wire::Header::decode(wire.header.clone())
        .ok()
        .and_then(|header| Header::try_from(header).ok());
    let tag = |index: u32| {
        let index = u8::try_from(index).ok()?;
        header.as_ref()?.entry(index).map(|entry| entry.tag)
    };
    let mut subjects = wire
        .sections
        .iter()
        .filter(|section| tag(section.index) == Some(SectionTag::Subject))
        .filter_map(|section| Body::decode(SectionTag::Subject, &section.body).ok());
    subjects.any(|body| match body {
        Body::Subject(subject) => subject
            .selectors
            .iter()
            .any(|selector| selector.kind() == kind && selector.value() == value),
        Body::Assessment(_)
        | Body::Narrative(_)
        | Body::Source(_)
        | Body::Persons(_)
        | Body::Attachments(_)
        | Body::Cells(_) => false,
    })
}

struct RecordRow {
    id: Vec<u8>,
    header: Vec<u8>,
    form: i64,
    statement: i64,
    leaf: u32,
    blind: Vec<u8>,
    path: Vec<u8>,
    source: Option<String>,
    received_at: i64,
}

impl RecordRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            header: row.get(1)?,
            form: row.get(2)?,
            statement: row.get(3)?,
            leaf: row.get(4)?,
            blind: row.get(5)?,
            path: row.get(6)?,
            source: row.get(7)?,
            received_at: row.get(8)?,
        })
    }
}

struct HeldRow {
    id: Vec<u8>,
    peer: String,
    form: i64,
    rule: String,
    at: i64,
    statement: i64,
    wrapped: Option<Vec<u8>>,
    sealed: Vec<u8>,
}

impl HeldRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            peer: row.get(1)?,
            form: row.get(2)?,
            rule: row.get(3)?,
            at: row.get(4)?,
            statement: row.get(5)?,
            wrapped: row.get(6)?,
            sealed: row.get(7)?,
        })
    }
}

pub(super) fn record_id(bytes: &[u8]) -> Result<RecordId, StoreError> {
    RecordId::from_slice(bytes).ok_or_else(|| unreadable("a record id"))
}

pub(super) fn node(text: &str) -> Result<NodeId, StoreError> {
    text.parse().map_err(|_| unreadable("the name of a node"))
}

/// The value of a closed list with this name.
pub(super) fn named<T: FromStr>(name: &str) -> Result<T, StoreError> {
    name.parse().map_err(|_| unreadable("the name of a value"))
}

/// A count that is never negative.
pub(super) fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| unreadable("a sequence number"))
}

pub(super) fn unreadable(what: &str) -> StoreError {
    StoreError::Damaged(format!("{what} cannot be read"))
}

/// How a rule stands in an answer.
pub(super) fn reason(rule: Option<Rule>) -> Option<&'static str> {
    rule.map(Rule::id)
}

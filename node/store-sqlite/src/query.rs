//! Reading: rows become what was kept, or an error; never something else.
//!
//! What may have been changed on disk and does not show here (statement, path, blind) is found
//! when the reader verifies the record.

use std::{collections::HashMap, str::FromStr, sync::Arc};

use portcullis_protocol::{
    body::{Body, SelectorKind},
    identifiers::NodeId,
    record::{Header, RecordId, SectionTag},
    rules::Rule,
    seal::SealedRecord,
    statement::SignedStatement,
    wire,
};
use prost::Message as _;
use rusqlite::{OptionalExtension as _, Row};

use super::{group, reader::Reader};
use crate::crypt::Place;
use crate::error::SqlError;
use portcullis_store::StoreError;

impl Reader<'_> {
    /// All rows that a query gives.
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

    /// The first row that a query gives.
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
        place: Place<'_>,
        wrapped: Option<&[u8]>,
        sealed: Vec<u8>,
        what: impl Fn() -> String,
    ) -> Result<Vec<u8>, SqlError> {
        let wrapped =
            wrapped.ok_or_else(|| StoreError::Damaged(format!("{} has no key", what())))?;
        self.vault
            .open(place, wrapped, sealed)
            .ok_or_else(|| StoreError::Damaged(format!("{} does not open", what())).into())
    }

    pub(super) fn log_end(&self) -> Result<u64, SqlError> {
        group::log_end(self.connection).and_then(unsigned)
    }

    pub(super) fn statement(
        &self,
        number: i64,
        statements: &mut HashMap<i64, Arc<SignedStatement>>,
    ) -> Result<Arc<SignedStatement>, SqlError> {
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
}

/// Whether the subject of a record that was read names this selector. A subject that cannot be
/// read names nothing; verification tells why.
pub(super) fn names(sealed: &SealedRecord, kind: SelectorKind, value: &str) -> bool {
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

pub(super) fn record_id(bytes: &[u8]) -> Result<RecordId, SqlError> {
    RecordId::from_slice(bytes).ok_or_else(|| unreadable("a record id"))
}

pub(super) fn node(text: &str) -> Result<NodeId, SqlError> {
    text.parse().map_err(|_| unreadable("the name of a node"))
}

/// The value of a closed list with this name.
pub(super) fn named<T: FromStr>(name: &str) -> Result<T, SqlError> {
    name.parse().map_err(|_| unreadable("the name of a value"))
}

/// A count that is never negative.
pub(super) fn unsigned(number: i64) -> Result<u64, SqlError> {
    u64::try_from(number).map_err(|_| unreadable("a sequence number"))
}

pub(super) fn unreadable(what: &str) -> SqlError {
    SqlError::Store(StoreError::Damaged(format!("{what} cannot be read")))
}

/// How a rule stands in an answer.
pub(super) fn reason(rule: Option<Rule>) -> Option<&'static str> {
    rule.map(Rule::id)
}

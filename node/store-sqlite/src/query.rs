//! Reads of rows: a row becomes what was kept, or an error, and never anything else.
//!
//! Changes on disk that cannot be detected here (in the statement, path or blind) are found when
//! the reader verifies the record.

use std::{collections::HashMap, sync::Arc};

use portcullis_protocol::{
    body::{Body, SelectorKind},
    record::{Header, SectionTag},
    rules::Rule,
    seal::SealedRecord,
    statement::SignedStatement,
    wire,
};
use prost::Message as _;
use rusqlite::{OptionalExtension as _, Row};

use super::{
    decode::{unreadable, unsigned},
    group,
    reader::Reader,
};
use crate::crypt::SealedAs;
use crate::error::SqlError;
use portcullis_store::StoreError;

impl Reader<'_> {
    /// Returns all rows of a query.
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

    /// Returns the first row of a query.
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
        sealed_as: SealedAs<'_>,
        wrapped: Option<&[u8]>,
        sealed: Vec<u8>,
        what: impl Fn() -> String,
    ) -> Result<Vec<u8>, SqlError> {
        let wrapped =
            wrapped.ok_or_else(|| StoreError::Damaged(format!("{} has no key", what())))?;
        self.vault
            .open(sealed_as, wrapped, sealed)
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

/// Returns true if the subject of a record that was read names this selector. A subject that cannot
/// be decoded names nothing; verification reports why.
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

/// Returns the name of a rule in an answer.
pub(super) fn reason(rule: Option<Rule>) -> Option<&'static str> {
    rule.map(Rule::id)
}

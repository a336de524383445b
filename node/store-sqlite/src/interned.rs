//! Decisions and statements, each kept once and named by number in other tables.

use std::{collections::HashMap, sync::Arc};

use portcullis_protocol::{digest::Digest, statement::SignedStatement, wire};
use portcullis_store::DecisionNote;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::{decode::unreadable, error::SqlError, view::DatabaseView};

/// Numbers met in one transaction. They are forgotten when a job is rolled back.
#[derive(Default)]
pub(super) struct Interned {
    decisions: HashMap<DecisionNote, i64>,
    statements: HashMap<[u8; 64], i64>,
}

impl Interned {
    /// Returns the number of a decision, and keeps the decision if it is new.
    pub(super) fn decision(
        &mut self,
        main: &Connection,
        note: &DecisionNote,
    ) -> Result<i64, SqlError> {
        if let Some(number) = self.decisions.get(note) {
            return Ok(*number);
        }
        let policies = serde_json::Value::from(note.policies.clone()).to_string();
        let bundle = note
            .bundle
            .map_or(Vec::new(), |digest| digest.as_bytes().to_vec());
        let found = main
            .prepare_cached("SELECT n FROM decision WHERE policies = ?1 AND bundle = ?2")?
            .query_row((&policies, &bundle), |row| row.get(0))
            .optional()?;
        let number = match found {
            Some(number) => number,
            None => main
                .prepare_cached("INSERT INTO decision (policies, bundle) VALUES (?1, ?2)")?
                .insert((&policies, &bundle))?,
        };
        self.decisions.insert(note.clone(), number);
        Ok(number)
    }

    /// Returns the number of an originator's statement, and keeps the statement if it is new.
    pub(super) fn statement(
        &mut self,
        main: &Connection,
        statement: &SignedStatement,
    ) -> Result<i64, SqlError> {
        if let Some(number) = self.statements.get(statement.signature()) {
            return Ok(*number);
        }
        let (payload, key_id) = (statement.unverified_payload(), statement.key_id());
        let tag = tag_of(statement.signature());
        let found = main
            .prepare_cached(
                "SELECT n FROM statement
                 WHERE tag = ?1 AND signature = ?2 AND payload = ?3 AND key_id = ?4",
            )?
            .query_row(
                (
                    tag,
                    statement.signature(),
                    payload.as_ref(),
                    key_id.as_bytes(),
                ),
                |row| row.get(0),
            )
            .optional()?;
        let number = match found {
            Some(number) => number,
            None => main
                .prepare_cached(
                    "INSERT INTO statement (tag, payload, key_id, signature)
                     VALUES (?1, ?2, ?3, ?4)",
                )?
                .insert((
                    tag,
                    payload.as_ref(),
                    key_id.as_bytes(),
                    statement.signature(),
                ))?,
        };
        self.statements.insert(*statement.signature(), number);
        Ok(number)
    }
}

/// Returns the first 8 bytes of a signature, by which the statement index finds it.
fn tag_of(signature: &[u8; 64]) -> i64 {
    signature
        .first_chunk()
        .map_or(0, |bytes| i64::from_be_bytes(*bytes))
}

/// Statements by number, each read once. Records of one batch share theirs, so that it is verified
/// only once.
pub(super) struct StatementReader<'a> {
    view: DatabaseView<'a>,
    read: HashMap<i64, Arc<SignedStatement>>,
}

impl<'a> StatementReader<'a> {
    pub(super) fn of(view: DatabaseView<'a>) -> Self {
        Self {
            view,
            read: HashMap::new(),
        }
    }

    /// Returns the statement with this number.
    pub(super) fn statement(&mut self, number: i64) -> Result<Arc<SignedStatement>, SqlError> {
        if let Some(statement) = self.read.get(&number) {
            return Ok(Arc::clone(statement));
        }
        let wire = self.view.first(
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
        self.read.insert(number, Arc::clone(&statement));
        Ok(statement)
    }
}

/// Decisions by number, each read once.
pub(super) struct DecisionReader<'a> {
    view: DatabaseView<'a>,
    read: HashMap<i64, DecisionNote>,
}

impl<'a> DecisionReader<'a> {
    pub(super) fn of(view: DatabaseView<'a>) -> Self {
        Self {
            view,
            read: HashMap::new(),
        }
    }

    /// Returns the decision with this number.
    pub(super) fn note(&mut self, number: i64) -> Result<DecisionNote, SqlError> {
        if let Some(note) = self.read.get(&number) {
            return Ok(note.clone());
        }
        let row = self.view.first(
            "SELECT policies, bundle FROM decision WHERE n = ?1",
            [number],
            DecisionRow::read,
        )?;
        let note = row.ok_or_else(|| unreadable("a decision"))?.note()?;
        self.read.insert(number, note.clone());
        Ok(note)
    }
}

/// A decision as it stands in its table.
struct DecisionRow {
    policies: String,
    bundle: Vec<u8>,
}

impl DecisionRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            policies: row.get(0)?,
            bundle: row.get(1)?,
        })
    }

    fn note(&self) -> Result<DecisionNote, SqlError> {
        let damaged = || unreadable("a decision");
        let bundle = match self.bundle.as_slice() {
            [] => None,
            bytes => Some(Digest::from_slice(bytes).ok_or_else(damaged)?),
        };
        Ok(DecisionNote {
            policies: serde_json::from_str(&self.policies).map_err(|_| damaged())?,
            bundle,
        })
    }
}

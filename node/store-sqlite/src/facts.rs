//! Facts about trust: freshness, suspensions, blocks and stops, each under its kind and subject.

use portcullis_protocol::time::Timestamp;
use portcullis_store::{Fact, FactKind, FactRow};

use super::{
    decode::unreadable, error::SqlError, transaction::WriteTransaction, view::DatabaseView,
};

/// Writer of facts about trust.
pub(super) struct FactWriter<'t> {
    tx: &'t WriteTransaction<'t>,
}

impl<'t> FactWriter<'t> {
    pub(super) const fn of(tx: &'t WriteTransaction<'t>) -> Self {
        Self { tx }
    }

    /// Keeps a fact in place of the one with its kind and subject, or removes it.
    pub(super) fn fact(&self, fact: &Fact) -> Result<(), SqlError> {
        let Fact {
            kind,
            subject,
            content,
            at,
        } = fact;
        match content {
            Some(content) => self.tx.run(
                "INSERT OR REPLACE INTO trust_fact (kind, subject, content, at)
                 VALUES (?1, ?2, ?3, ?4)",
                (kind.name(), subject, content, at.as_millis()),
            )?,
            None => self.tx.run(
                "DELETE FROM trust_fact WHERE kind = ?1 AND subject = ?2",
                (kind.name(), subject),
            )?,
        };
        Ok(())
    }
}

/// Reader of facts about trust.
pub(super) struct FactReader<'a> {
    view: DatabaseView<'a>,
}

impl<'a> FactReader<'a> {
    pub(super) const fn of(view: DatabaseView<'a>) -> Self {
        Self { view }
    }

    pub(super) fn facts(&self) -> Result<Vec<FactRow>, SqlError> {
        let rows: Vec<(String, String, Vec<u8>, i64)> = self.view.rows(
            "SELECT kind, subject, content, at FROM trust_fact ORDER BY kind, subject",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )?;
        rows.into_iter()
            .map(|(kind, subject, content, at)| {
                Ok(FactRow {
                    kind: FactKind::named(&kind).ok_or_else(|| unreadable("a fact's kind"))?,
                    subject,
                    content,
                    at: Timestamp::from_millis(at),
                })
            })
            .collect()
    }
}

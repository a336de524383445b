//! Differences that comparing a channel found, noted record by record until they are settled.

use std::collections::HashMap;

use portcullis_protocol::{frame::Answer, identifiers::NodeId, time::Timestamp};

use super::{
    decode::{unreadable, unsigned},
    disclosure::Posting,
    error::SqlError,
    transaction::WriteTransaction,
    view::DatabaseView,
};

/// State of a record in a channel, as far as a note holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Difference {
    /// The peer lost it, and it is sent again.
    Owed,
    /// The peer lost it, and it is not sent again.
    Gone,
    /// The peer says that it withdrew it.
    Withdrawn,
}

impl Difference {
    const fn name(self) -> &'static str {
        match self {
            Self::Owed => "owed",
            Self::Gone => "gone",
            Self::Withdrawn => "withdrawn",
        }
    }

    fn named(name: &str) -> Result<Self, SqlError> {
        [Self::Owed, Self::Gone, Self::Withdrawn]
            .into_iter()
            .find(|difference| difference.name() == name)
            .ok_or_else(|| unreadable("a note on a record"))
    }
}

/// Writer of differences.
pub(super) struct DifferenceWriter<'t> {
    tx: &'t WriteTransaction<'t>,
}

impl<'t> DifferenceWriter<'t> {
    pub(super) const fn of(tx: &'t WriteTransaction<'t>) -> Self {
        Self { tx }
    }

    /// Returns the difference noted on a record in the channel to this peer.
    pub(super) fn difference(
        &self,
        peer: &NodeId,
        number: i64,
    ) -> Result<Option<Difference>, SqlError> {
        let what = self.tx.first(
            "SELECT what FROM channel_note WHERE peer = ?1 AND record = ?2",
            (peer.as_str(), number),
            |row| row.get::<_, String>(0),
        )?;
        what.map(|what| Difference::named(&what)).transpose()
    }

    /// Notes a difference in place of the one noted before.
    pub(super) fn note(
        &self,
        peer: &NodeId,
        number: i64,
        difference: Difference,
        at: Timestamp,
    ) -> Result<(), SqlError> {
        self.tx.run(
            "INSERT OR REPLACE INTO channel_note (peer, record, what, at)
             VALUES (?1, ?2, ?3, ?4)",
            (peer.as_str(), number, difference.name(), at.as_millis()),
        )?;
        Ok(())
    }

    /// Forgets the difference noted on a record.
    pub(super) fn forget(&self, peer: &NodeId, number: i64) -> Result<(), SqlError> {
        self.tx.run(
            "DELETE FROM channel_note WHERE peer = ?1 AND record = ?2",
            (peer.as_str(), number),
        )?;
        Ok(())
    }

    /// Returns true if anything is owed to the peer again.
    fn owes(&self, peer: &NodeId) -> Result<bool, SqlError> {
        let owed = self.tx.first(
            "SELECT record FROM channel_note WHERE peer = ?1 AND what = 'owed' LIMIT 1",
            [peer.as_str()],
            |row| row.get::<_, i64>(0),
        )?;
        Ok(owed.is_some())
    }

    /// Clears the debt of records that were owed again and are now answered. A record that the peer
    /// did not admit counts as lost for good.
    pub(super) fn pay(&self, posting: Posting<'_>, answers: &[Answer]) -> Result<(), SqlError> {
        if !self.owes(posting.peer)? {
            return Ok(());
        }
        for answer in answers.iter().filter(|answer| answer.outcome.is_final()) {
            let Some(number) = self.tx.number(&answer.record)? else {
                continue;
            };
            if self.difference(posting.peer, number)? != Some(Difference::Owed) {
                continue;
            }
            if answer.outcome.is_admitted() {
                self.forget(posting.peer, number)?;
            } else {
                self.note(posting.peer, number, Difference::Gone, posting.now)?;
            }
        }
        Ok(())
    }

    /// Marks a record that was owed again and is now denied as lost for good.
    pub(super) fn deny_owed(&self, posting: Posting<'_>, number: i64) -> Result<(), SqlError> {
        self.tx.run(
            "UPDATE channel_note SET what = 'gone' WHERE peer = ?1 AND record = ?2
             AND what = 'owed'",
            (posting.peer.as_str(), number),
        )?;
        Ok(())
    }
}

/// Reader of differences.
pub(super) struct DifferenceReader<'a> {
    view: DatabaseView<'a>,
}

impl<'a> DifferenceReader<'a> {
    pub(super) const fn of(view: DatabaseView<'a>) -> Self {
        Self { view }
    }

    /// Returns the differences in the channel to a peer, by record.
    pub(super) fn of_peer(&self, peer: &NodeId) -> Result<HashMap<i64, Difference>, SqlError> {
        let rows: Vec<(i64, String)> = self.view.rows(
            "SELECT record, what FROM channel_note WHERE peer = ?1",
            [peer.as_str()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        rows.into_iter()
            .map(|(record, what)| Ok((record, Difference::named(&what)?)))
            .collect()
    }

    /// Counts the records that a peer lost and that are being sent again.
    pub(super) fn owed(&self, peer: &NodeId) -> Result<u64, SqlError> {
        let count = self.view.first(
            "SELECT count(*) FROM channel_note WHERE peer = ?1 AND what = 'owed'",
            [peer.as_str()],
            |row| row.get(0),
        )?;
        unsigned(count.unwrap_or(0))
    }
}

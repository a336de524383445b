//! Events: what happened at this node, told to its operator. The newest ones are kept.

use portcullis_protocol::time::Timestamp;
use portcullis_store::NodeEvent;

use super::{
    decode::unreadable, error::SqlError, transaction::WriteTransaction, view::DatabaseView,
};

/// Most events kept; the newest ones.
const MAX_EVENTS: i64 = 100_000;

/// Writer of events.
pub(super) struct EventWriter<'t> {
    tx: &'t WriteTransaction<'t>,
}

impl<'t> EventWriter<'t> {
    pub(super) const fn of(tx: &'t WriteTransaction<'t>) -> Self {
        Self { tx }
    }

    /// Keeps an event, and forgets the oldest ones beyond the limit.
    pub(super) fn event(&self, event: &NodeEvent) -> Result<(), SqlError> {
        let NodeEvent {
            at,
            kind,
            peer,
            detail,
        } = event;
        let number = self.tx.insert(
            "INSERT INTO event (at, kind, peer, detail) VALUES (?1, ?2, ?3, ?4)",
            (
                at.as_millis(),
                kind,
                peer.as_ref().map(|peer| peer.as_str()),
                detail,
            ),
        )?;
        self.tx
            .run("DELETE FROM event WHERE n <= ?1", [number - MAX_EVENTS])?;
        Ok(())
    }
}

/// Reader of events.
pub(super) struct EventReader<'a> {
    view: DatabaseView<'a>,
}

impl<'a> EventReader<'a> {
    pub(super) const fn of(view: DatabaseView<'a>) -> Self {
        Self { view }
    }

    /// Returns the events before this number, the newest first. Without a number, the newest.
    pub(super) fn events(
        &self,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<(i64, NodeEvent)>, SqlError> {
        let rows = self.view.rows(
            "SELECT n, at, kind, peer, detail FROM event WHERE n < ?1 ORDER BY n DESC LIMIT ?2",
            (before.unwrap_or(i64::MAX), limit),
            |row| {
                Ok((
                    row.get(0)?,
                    Timestamp::from_millis(row.get(1)?),
                    row.get(2)?,
                    row.get::<_, Option<String>>(3)?,
                    row.get(4)?,
                ))
            },
        )?;
        rows.into_iter()
            .map(|(n, at, kind, peer, detail)| {
                let peer = peer.map(|peer| peer.parse()).transpose();
                let event = NodeEvent {
                    at,
                    kind,
                    peer: peer.map_err(|_| unreadable("the peer of an event"))?,
                    detail,
                };
                Ok((n, event))
            })
            .collect()
    }
}

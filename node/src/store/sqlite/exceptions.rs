//! What the cursors passed without a final answer: tried again, and not for ever.

use portcullis_protocol::{frame::Lane, identifiers::NodeId, time::Timestamp};

use super::{dispatch::Turn, group::Group, packs::Desk, reader::Reader};
use crate::store::{Event, HeldRecord, StoreError};

/// How long a record that was refused for now, or held, is tried again: 30 days.
const EXCEPTION_LIFE_MS: i64 = 30 * 24 * 3_600_000;
/// The most exceptions of one peer and lane; those that have waited longest end early.
const MAX_EXCEPTIONS: i64 = 65_536;
/// The kind of event that tells of records that are not tried again.
const EXCEPTIONS_ENDED: &str = "exceptions-ended";

impl Group<'_> {
    pub(super) fn retry(
        &self,
        turn: Turn<'_>,
        record: i64,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO exception (peer, lane, record, next_attempt, attempts, ends_at)
             VALUES (?1, ?2, ?3, ?4, 1, ?5)
             ON CONFLICT DO UPDATE
             SET next_attempt = excluded.next_attempt, attempts = attempts + 1",
            (
                turn.peer.as_str(),
                turn.lane.name(),
                record,
                at.as_millis(),
                turn.now.plus_millis(EXCEPTION_LIFE_MS).as_millis(),
            ),
        )?;
        Ok(())
    }

    pub(super) fn end_exception(&self, turn: Turn<'_>, record: i64) -> Result<(), StoreError> {
        self.run(
            "DELETE FROM exception WHERE peer = ?1 AND lane = ?2 AND record = ?3",
            (turn.peer.as_str(), turn.lane.name(), record),
        )?;
        Ok(())
    }

    /// Nothing is retried for ever, and no peer fills the disk.
    pub(super) fn bound_exceptions(&self, turn: Turn<'_>) -> Result<(), StoreError> {
        let (peer, lane) = (turn.peer.as_str(), turn.lane.name());
        let expired = self.run(
            "DELETE FROM exception WHERE peer = ?1 AND lane = ?2 AND ends_at <= ?3",
            (peer, lane, turn.now.as_millis()),
        )?;
        let crowded = self.run(
            "DELETE FROM exception WHERE peer = ?1 AND lane = ?2 AND record IN
                 (SELECT record FROM exception WHERE peer = ?1 AND lane = ?2
                  ORDER BY ends_at DESC, record DESC LIMIT -1 OFFSET ?3)",
            (peer, lane, MAX_EXCEPTIONS),
        )?;
        if expired + crowded == 0 {
            return Ok(());
        }
        self.event(&Event {
            at: turn.now,
            kind: EXCEPTIONS_ENDED.to_owned(),
            peer: Some(turn.peer.clone()),
            detail: format!(
                "records not tried again: {}; `dispatch backfill` sends them",
                expired + crowded
            ),
        })
    }
}

impl Reader<'_> {
    pub(super) fn due(
        &self,
        peer: &NodeId,
        lane: Lane,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<HeldRecord>, StoreError> {
        let numbers: Vec<i64> = self.rows(
            "SELECT record FROM exception
             WHERE peer = ?1 AND lane = ?2 AND next_attempt <= ?3 AND ends_at > ?3
             ORDER BY next_attempt, record LIMIT ?4",
            (peer.as_str(), lane.name(), now.as_millis(), limit),
            |row| row.get(0),
        )?;
        let mut desk = Desk::default();
        let mut held = Vec::new();
        for number in numbers {
            held.extend(self.dispatched_number(number, &mut desk)?);
        }
        Ok(held)
    }

    pub(super) fn next_due(
        &self,
        peer: &NodeId,
        lane: Lane,
    ) -> Result<Option<Timestamp>, StoreError> {
        let next = self.first(
            "SELECT min(next_attempt) FROM exception
             WHERE peer = ?1 AND lane = ?2 AND next_attempt < ends_at",
            (peer.as_str(), lane.name()),
            |row| row.get::<_, Option<i64>>(0),
        )?;
        Ok(next.flatten().map(Timestamp::from_millis))
    }
}

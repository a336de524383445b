//! Bound on what refused items leave behind.
//!
//! A refused item leaves its answer and the number of its record, and a peer can make up ids
//! without end. Each peer therefore has a ring of places. An item that takes the place of another
//! one makes it forgotten: if that one comes again, it is judged anew. What was admitted, is held or
//! was withdrawn has no place here and is never forgotten.

use portcullis_protocol::frame::Outcome;

use super::{error::SqlError, item::Item, transaction::WriteTransaction};

/// Most refused items that are remembered of one peer. The migration to format 8 names it too.
const MOST: i64 = 65_536;

/// Returns true for the answers that are remembered only as long as there is a place.
pub(super) const fn is_refusal(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Refused | Outcome::RefusedForNow => true,
        Outcome::Accepted | Outcome::Extended | Outcome::Duplicate | Outcome::Held => false,
    }
}

/// Writer of the places of refused items.
pub(super) struct RefusalWriter<'t, 'a> {
    tx: &'t mut WriteTransaction<'a>,
}

impl<'t, 'a> RefusalWriter<'t, 'a> {
    pub(super) const fn of(tx: &'t mut WriteTransaction<'a>) -> Self {
        Self { tx }
    }

    /// Gives a refused item a place, unless it has one.
    pub(super) fn keep(&mut self, item: &Item<'_>, number: i64) -> Result<(), SqlError> {
        let placed = self.tx.first(
            "SELECT place FROM refusal WHERE record = ?1 AND peer = ?2 AND form = ?3",
            item.key(number),
            |row| row.get::<_, i64>(0),
        )?;
        if placed.is_some() {
            return Ok(());
        }
        let peer = item.peer.as_str();
        let next = self.tx.first(
            "SELECT next FROM refusal_turn WHERE peer = ?1",
            [peer],
            |row| row.get::<_, i64>(0),
        )?;
        let place = next.unwrap_or(0);
        self.give_way(peer, place)?;
        self.tx.run(
            "INSERT INTO refusal (peer, place, record, form) VALUES (?1, ?2, ?3, ?4)",
            (peer, place, number, item.form.bits().cast_signed()),
        )?;
        self.tx.run(
            "INSERT OR REPLACE INTO refusal_turn (peer, next) VALUES (?1, ?2)",
            (peer, (place + 1) % MOST),
        )?;
        Ok(())
    }

    /// Forgets the item at a place.
    fn give_way(&mut self, peer: &str, place: i64) -> Result<(), SqlError> {
        let oldest = self.tx.first(
            "DELETE FROM refusal WHERE peer = ?1 AND place = ?2 RETURNING record, form",
            (peer, place),
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
        )?;
        let Some((record, form)) = oldest else {
            return Ok(());
        };
        self.tx.run(
            "DELETE FROM arrival WHERE record = ?1 AND peer = ?2 AND form = ?3
             AND outcome IN ('refused', 'refused-for-now')",
            (record, peer, form),
        )?;
        self.tx.run(
            "DELETE FROM known WHERE n = ?1 AND n < 0 AND place IS NULL
             AND NOT EXISTS (SELECT 1 FROM arrival WHERE record = ?1)
             AND NOT EXISTS (SELECT 1 FROM held WHERE record = ?1)
             AND NOT EXISTS (SELECT 1 FROM tombstone WHERE record = ?1)
             AND NOT EXISTS (SELECT 1 FROM disclosure WHERE record = ?1)
             AND NOT EXISTS (SELECT 1 FROM exception WHERE record = ?1 AND record < 0)
             AND NOT EXISTS (SELECT 1 FROM undelivered WHERE record = ?1 AND record < 0)
             AND NOT EXISTS (SELECT 1 FROM channel_note WHERE record = ?1 AND record < 0)",
            [record],
        )?;
        Ok(())
    }
}

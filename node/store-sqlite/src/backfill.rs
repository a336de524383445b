//! Ranges of the record log that are searched again for a peer.
//!
//! A range is a place to continue from and a last place, so that a million records need one row. It
//! moves together with the ledger: with the rows of what is denied, and with the receipt of what is
//! sent.

use portcullis_protocol::{frame::Lane, identifiers::NodeId, time::Timestamp};
use portcullis_store::{Backfill, BackfillMove, BackfillRow, CancelBackfills, Span, StoreError};

use super::{
    decode::{named, node, unsigned},
    error::SqlError,
    pack::{SLOTS, place},
    transaction::WriteTransaction,
    view::DatabaseView,
};

/// Most ranges of one peer that are in progress or waiting.
const MOST_OPEN: i64 = 16;
/// Most ended ranges of one peer that are kept for display.
const MOST_ENDED: i64 = 16;

/// Writer of the ranges that are searched again.
pub(super) struct BackfillWriter<'t> {
    tx: &'t WriteTransaction<'t>,
}

impl<'t> BackfillWriter<'t> {
    pub(super) const fn of(tx: &'t WriteTransaction<'t>) -> Self {
        Self { tx }
    }

    /// Enters a range for each lane of the log.
    pub(super) fn begin(&self, backfill: &Backfill) -> Result<(), SqlError> {
        let Backfill {
            peer,
            since,
            until,
            now,
        } = backfill;
        for lane in Lane::ALL {
            let span = BackfillReader::of(self.tx.view()).span(*lane, (*since, *until))?;
            self.tx.run(
                "INSERT INTO backfill (peer, log, since, until, next, last, started_at, ended_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, iif(?5 >= ?6, ?7, NULL))",
                (
                    peer.as_str(),
                    lane.name(),
                    since.as_millis(),
                    until.as_millis(),
                    span.after.cast_signed(),
                    span.last.cast_signed(),
                    now.as_millis(),
                ),
            )?;
        }
        let open = self.tx.count(
            "SELECT count(*) FROM backfill WHERE peer = ?1 AND ended_at IS NULL",
            [peer.as_str()],
        )?;
        if open > MOST_OPEN {
            return Err(StoreError::Crowded("as many ranges are sent to this peer as may").into());
        }
        self.tx.run(
            "DELETE FROM backfill WHERE peer = ?1 AND ended_at IS NOT NULL AND n NOT IN
                 (SELECT n FROM backfill WHERE peer = ?1 AND ended_at IS NOT NULL
                  ORDER BY n DESC LIMIT ?2)",
            (peer.as_str(), MOST_ENDED),
        )?;
        Ok(())
    }

    /// Ends every range of a peer that is in progress. Records already sent stay sent.
    pub(super) fn cancel(&self, cancel: &CancelBackfills) -> Result<(), SqlError> {
        let CancelBackfills { peer, now } = cancel;
        let ended = self.tx.run(
            "UPDATE backfill SET ended_at = ?2, cancelled = 1
             WHERE peer = ?1 AND ended_at IS NULL",
            (peer.as_str(), now.as_millis()),
        )?;
        if ended == 0 {
            return Err(StoreError::NotOwed.into());
        }
        Ok(())
    }

    /// Moves a range forward; it never moves back. A cancelled range still counts what was on its
    /// way, and stays ended.
    pub(super) fn advance(
        &self,
        filled: Option<&BackfillMove>,
        now: Timestamp,
    ) -> Result<(), SqlError> {
        let Some(BackfillMove {
            n,
            next,
            looked_at,
            sent,
            ended,
        }) = filled
        else {
            return Ok(());
        };
        self.tx.run(
            "UPDATE backfill
             SET next = ?2, looked_at = looked_at + ?3, sent = sent + ?4,
                 ended_at = coalesce(ended_at, iif(?5, ?6, NULL))
             WHERE n = ?1 AND (ended_at IS NULL OR cancelled) AND next <= ?2",
            (
                n,
                next.cast_signed(),
                looked_at.cast_signed(),
                sent.cast_signed(),
                ended,
                now.as_millis(),
            ),
        )?;
        Ok(())
    }
}

/// Reader of the ranges that are searched again.
pub(super) struct BackfillReader<'a> {
    view: DatabaseView<'a>,
}

impl<'a> BackfillReader<'a> {
    pub(super) const fn of(view: DatabaseView<'a>) -> Self {
        Self { view }
    }

    /// Returns the places of what was received at or after `since` and before `until`.
    pub(super) fn span(
        &self,
        lane: Lane,
        (since, until): (Timestamp, Timestamp),
    ) -> Result<Span, SqlError> {
        let found: Option<(Option<i64>, Option<i64>)> = self.view.first(
            "SELECT min(n), max(n) FROM pack
             WHERE lane = ?1 AND received_at >= ?2 AND received_at < ?3",
            (lane.name(), since.as_millis(), until.as_millis()),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        match found {
            Some((Some(first), Some(last))) => Ok(Span {
                after: unsigned(place(first, 0) - 1)?,
                last: unsigned(place(last, SLOTS - 1))?,
            }),
            Some((None, _) | (_, None)) | None => Ok(Span { after: 0, last: 0 }),
        }
    }

    /// Returns the range that is searched next for a peer.
    pub(super) fn next_backfill(&self, peer: &NodeId) -> Result<Option<BackfillRow>, SqlError> {
        let found = self.backfill_rows(
            "SELECT n, peer, log, since, until, next, last, looked_at, sent, started_at, ended_at,
                 cancelled
             FROM backfill WHERE peer = ?1 AND ended_at IS NULL ORDER BY n LIMIT 1",
            peer.as_str(),
        )?;
        Ok(found.into_iter().next())
    }

    pub(super) fn backfills(&self) -> Result<Vec<BackfillRow>, SqlError> {
        self.backfill_rows(
            "SELECT n, peer, log, since, until, next, last, looked_at, sent, started_at, ended_at,
                 cancelled
             FROM backfill WHERE ?1 = '' ORDER BY n",
            "",
        )
    }

    fn backfill_rows(&self, sql: &str, peer: &str) -> Result<Vec<BackfillRow>, SqlError> {
        let rows = self.view.rows(sql, [peer], |row| {
            Ok((
                (
                    row.get(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, String>(2)?,
                ),
                (row.get(3)?, row.get(4)?),
                (row.get::<_, i64>(5)?, row.get::<_, i64>(6)?),
                (row.get::<_, i64>(7)?, row.get::<_, i64>(8)?),
                (row.get(9)?, row.get::<_, Option<i64>>(10)?, row.get(11)?),
            ))
        })?;
        rows.into_iter()
            .map(
                |((n, peer, log), (since, until), (next, last), (looked_at, sent), times)| {
                    let (started_at, ended_at, cancelled) = times;
                    Ok(BackfillRow {
                        n,
                        peer: node(&peer)?,
                        log: named(&log)?,
                        since: Timestamp::from_millis(since),
                        until: Timestamp::from_millis(until),
                        next: unsigned(next)?,
                        last: unsigned(last)?,
                        looked_at: unsigned(looked_at)?,
                        sent: unsigned(sent)?,
                        started_at: Timestamp::from_millis(started_at),
                        ended_at: ended_at.map(Timestamp::from_millis),
                        cancelled,
                    })
                },
            )
            .collect()
    }
}

//! Exceptions: records that the cursors passed without a final answer, and that are retried for a
//! limited time.
//!
//! The wait doubles with every attempt, up to an hour. An exception ends seven days after it began,
//! or when its record is to be deleted, whichever is first. The record then stands in `undelivered`
//! until it gets a final answer after all. Both lists are bounded for each peer and lane: the
//! exception whose time is over soonest ends first, and the oldest ended one is forgotten.

use std::collections::{BTreeMap, HashMap};

use portcullis_protocol::{
    frame::{Answer, Lane, Outcome},
    identifiers::NodeId,
    time::Timestamp,
};
use portcullis_store::{
    Awaiting, DisclosureState, ExceptionRow, HeldRecord, NodeEvent, PAGE_BYTES, Retry, Settle,
    StoreError, UndeliveredRow, weight,
};

use super::{
    decode::{unreadable, unsigned},
    disclosure::{Posting, state_name},
    error::SqlError,
    events::EventWriter,
    ledger::LedgerReader,
    packs::PackReader,
    retry,
    transaction::WriteTransaction,
    view::DatabaseView,
};

/// Most exceptions of one peer and lane, and most ended ones that are listed.
const MOST: i64 = 65_536;
/// Longest time for which a record waits for a version: ten years.
const LONGEST_AWAITING_MS: i64 = 10 * 365 * 24 * 3_600_000;
/// States of records that are retried in the ordinary way.
const HELD: &str = Outcome::Held.name();
const REFUSED_FOR_NOW: &str = Outcome::RefusedForNow.name();
/// Kind of the event that reports records that are no longer retried.
const EXCEPTIONS_ENDED: &str = "exceptions-ended";

/// Writer of exceptions and of their ends.
pub(super) struct ExceptionWriter<'t> {
    tx: &'t WriteTransaction<'t>,
}

impl<'t> ExceptionWriter<'t> {
    pub(super) const fn of(tx: &'t WriteTransaction<'t>) -> Self {
        Self { tx }
    }

    /// Schedules retries of the records that got no final answer.
    pub(super) fn schedule(&self, posting: Posting<'_>, settle: &Settle) -> Result<(), SqlError> {
        let mut waiting = settle
            .answers
            .iter()
            .filter(|answer| !answer.outcome.is_final())
            .peekable();
        if waiting.peek().is_none() {
            return Ok(());
        }
        let expires: HashMap<_, _> = settle.expires.iter().copied().collect();
        for answer in waiting {
            self.schedule_one(
                posting,
                answer,
                settle.retry_at,
                expires.get(&answer.record),
            )?;
        }
        self.end_crowded(posting)
    }

    fn schedule_one(
        &self,
        posting: Posting<'_>,
        answer: &Answer,
        retry_at: Timestamp,
        expires: Option<&Timestamp>,
    ) -> Result<(), SqlError> {
        let number = self.tx.known(&answer.record)?;
        if self.tx.is_withdrawn(number)? {
            return Ok(());
        }
        let attempts = self
            .tx
            .first(
                "SELECT attempts FROM exception WHERE peer = ?1 AND lane = ?2 AND record = ?3",
                (posting.peer.as_str(), posting.lane.name(), number),
                |row| row.get::<_, u32>(0),
            )?
            .unwrap_or(0);
        let next = retry::next_attempt(posting.now, retry_at, attempts);
        let ends = retry::end(posting.now, expires.copied());
        self.tx.run(
            "INSERT INTO exception (peer, lane, record, next_attempt, attempts, ends_at)
             VALUES (?1, ?2, ?3, ?4, 1, ?5)
             ON CONFLICT DO UPDATE
             SET next_attempt = excluded.next_attempt, attempts = attempts + 1, awaits = 0",
            (
                posting.peer.as_str(),
                posting.lane.name(),
                number,
                next.as_millis(),
                ends.as_millis(),
            ),
        )?;
        Ok(())
    }

    /// Keeps records that wait for a version of the protocol. They are looked at again when the peer
    /// states one, and now and then, and wait until they are to be deleted.
    pub(super) fn wait_for_version(
        &self,
        posting: Posting<'_>,
        awaits: &[Awaiting],
    ) -> Result<(), SqlError> {
        for Awaiting {
            record,
            version,
            delete_at,
        } in awaits
        {
            let number = self.tx.known(record)?;
            let ends = delete_at.unwrap_or_else(|| posting.now.plus_millis(LONGEST_AWAITING_MS));
            self.tx.run(
                "INSERT OR REPLACE INTO exception
                     (peer, lane, record, next_attempt, attempts, ends_at, awaits)
                 VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6)",
                (
                    posting.peer.as_str(),
                    posting.lane.name(),
                    number,
                    retry::latest_attempt(posting.now).as_millis(),
                    ends.as_millis(),
                    version,
                ),
            )?;
        }
        if awaits.is_empty() {
            return Ok(());
        }
        self.end_crowded(posting)
    }

    /// Schedules a record that the peer lost to be sent again at once.
    pub(super) fn owe(
        &self,
        posting: Posting<'_>,
        number: i64,
        delete_at: Option<Timestamp>,
    ) -> Result<(), SqlError> {
        self.tx.run(
            "INSERT OR REPLACE INTO exception
                 (peer, lane, record, next_attempt, attempts, ends_at)
             VALUES (?1, ?2, ?3, ?4, 0, ?5)",
            (
                posting.peer.as_str(),
                posting.lane.name(),
                number,
                posting.now.as_millis(),
                retry::end(posting.now, delete_at).as_millis(),
            ),
        )?;
        Ok(())
    }

    /// Schedules an immediate retry of a record that was given up or waits.
    pub(super) fn retry_now(&self, retry: &Retry) -> Result<(), SqlError> {
        let Retry {
            peer,
            record,
            now,
            delete_at,
        } = retry;
        let number = self.tx.number(record)?.ok_or(StoreError::NotOwed)?;
        let ends = retry::end(*now, *delete_at).as_millis();
        self.tx.run(
            "INSERT OR IGNORE INTO exception (peer, lane, record, next_attempt, attempts, ends_at)
             SELECT peer, lane, record, ?3, 0, ?4 FROM undelivered
             WHERE peer = ?1 AND record = ?2",
            (peer.as_str(), number, now.as_millis(), ends),
        )?;
        self.tx.run(
            "DELETE FROM undelivered WHERE peer = ?1 AND record = ?2",
            (peer.as_str(), number),
        )?;
        let waiting = self.tx.run(
            "UPDATE exception SET next_attempt = ?3, attempts = 0, ends_at = ?4
             WHERE peer = ?1 AND record = ?2",
            (peer.as_str(), number, now.as_millis(), ends),
        )?;
        if waiting == 0 {
            return Err(StoreError::NotOwed.into());
        }
        Ok(())
    }

    /// Schedules an immediate retry of everything that a peer holds, or held, and of what waits for
    /// its version.
    pub(super) fn answers_ready(&self, peer: &NodeId, now: Timestamp) -> Result<(), SqlError> {
        self.tx.run(
            "UPDATE exception SET next_attempt = ?2
             WHERE peer = ?1 AND next_attempt > ?2 AND (awaits > 0 OR EXISTS
                 (SELECT 1 FROM disclosure AS d
                  WHERE d.peer = exception.peer AND d.record = exception.record
                  AND d.state = 'held'))",
            (peer.as_str(), now.as_millis()),
        )?;
        Ok(())
    }

    /// Ends the exception of a record that got its final answer or is denied.
    pub(super) fn end(&self, posting: Posting<'_>, record: i64) -> Result<(), SqlError> {
        let key = (posting.peer.as_str(), posting.lane.name(), record);
        self.tx.run(
            "DELETE FROM exception WHERE peer = ?1 AND lane = ?2 AND record = ?3",
            key,
        )?;
        self.tx.run(
            "DELETE FROM undelivered WHERE peer = ?1 AND lane = ?2 AND record = ?3",
            key,
        )?;
        Ok(())
    }

    /// Forgets a record that was withdrawn, whichever peer it was to be sent to.
    pub(super) fn forget(&self, record: i64) -> Result<(), SqlError> {
        self.tx
            .run("DELETE FROM exception WHERE record = ?1", [record])?;
        self.tx
            .run("DELETE FROM undelivered WHERE record = ?1", [record])?;
        Ok(())
    }

    /// Ends the exceptions whose time is over, so that nothing is retried for ever.
    pub(super) fn end_overdue(&self, posting: Posting<'_>) -> Result<(), SqlError> {
        let (peer, lane) = (posting.peer.as_str(), posting.lane.name());
        let over = (peer, lane, posting.now.as_millis());
        self.tx.run(
            "INSERT OR REPLACE INTO undelivered (peer, lane, record, attempts, ended_at)
             SELECT peer, lane, record, attempts, ?3 FROM exception
             WHERE peer = ?1 AND lane = ?2 AND ends_at <= ?3",
            over,
        )?;
        // What was owed again and is not tried any more is lost to the peer for good.
        self.tx.run(
            "UPDATE channel_note SET what = 'gone' WHERE peer = ?1 AND what = 'owed' AND record IN
                 (SELECT record FROM exception
                  WHERE peer = ?1 AND lane = ?2 AND ends_at <= ?3)",
            over,
        )?;
        let ended = self.tx.run(
            "DELETE FROM exception WHERE peer = ?1 AND lane = ?2 AND ends_at <= ?3",
            over,
        )?;
        self.tell_ended(posting, ended)
    }

    /// Ends the exceptions beyond the limit, so that no peer fills the disk.
    fn end_crowded(&self, posting: Posting<'_>) -> Result<(), SqlError> {
        let (peer, lane) = (posting.peer.as_str(), posting.lane.name());
        self.tx.run(
            "INSERT OR REPLACE INTO undelivered (peer, lane, record, attempts, ended_at)
             SELECT peer, lane, record, attempts, ?3 FROM exception
             WHERE peer = ?1 AND lane = ?2
             ORDER BY ends_at DESC, record DESC LIMIT -1 OFFSET ?4",
            (peer, lane, posting.now.as_millis(), MOST),
        )?;
        self.tx.run(
            "UPDATE channel_note SET what = 'gone' WHERE peer = ?1 AND what = 'owed' AND record IN
                 (SELECT record FROM exception WHERE peer = ?1 AND lane = ?2
                  ORDER BY ends_at DESC, record DESC LIMIT -1 OFFSET ?3)",
            (peer, lane, MOST),
        )?;
        let ended = self.tx.run(
            "DELETE FROM exception WHERE peer = ?1 AND lane = ?2 AND record IN
                 (SELECT record FROM exception WHERE peer = ?1 AND lane = ?2
                  ORDER BY ends_at DESC, record DESC LIMIT -1 OFFSET ?3)",
            (peer, lane, MOST),
        )?;
        self.tell_ended(posting, ended)
    }

    fn tell_ended(&self, posting: Posting<'_>, ended: usize) -> Result<(), SqlError> {
        if ended == 0 {
            return Ok(());
        }
        let (peer, lane) = (posting.peer.as_str(), posting.lane.name());
        self.tx.run(
            "DELETE FROM undelivered WHERE peer = ?1 AND lane = ?2 AND record IN
                 (SELECT record FROM undelivered WHERE peer = ?1 AND lane = ?2
                  ORDER BY ended_at DESC, record DESC LIMIT -1 OFFSET ?3)",
            (peer, lane, MOST),
        )?;
        EventWriter::of(self.tx).event(&NodeEvent {
            at: posting.now,
            kind: EXCEPTIONS_ENDED.to_owned(),
            peer: Some(posting.peer.clone()),
            detail: format!("records not tried again: {ended}; they are listed as undelivered"),
        })
    }
}

/// The exceptions whose time is not over, each with the newest state in a row of its own, and with
/// a flag that this state, or its absence, tells all.
macro_rules! waiting {
    () => {
        "SELECT *, CASE WHEN is_owed THEN state IS NULL
                   ELSE state IS NOT NULL AND state IN ('intended', ?2, ?3) END AS is_told
         FROM (SELECT e.record, e.peer, e.lane, e.next_attempt, e.ends_at,
                   (SELECT d.state FROM disclosure AS d
                    WHERE d.peer = e.peer AND d.record = e.record
                    ORDER BY d.ordinal DESC LIMIT 1) AS state,
                   EXISTS (SELECT 1 FROM channel_note AS c WHERE c.peer = e.peer
                           AND c.record = e.record AND c.what = 'owed') AS is_owed
               FROM exception AS e WHERE e.ends_at > ?1)"
    };
}

/// Reader of exceptions and of records that are no longer retried.
pub(super) struct ExceptionReader<'a> {
    view: DatabaseView<'a>,
}

impl<'a> ExceptionReader<'a> {
    pub(super) const fn of(view: DatabaseView<'a>) -> Self {
        Self { view }
    }

    /// Returns the records of which an attempt is due: now, or at a time that can only have been
    /// planned under a clock that has been set back since.
    pub(super) fn due(
        &self,
        peer: &NodeId,
        lane: Lane,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<HeldRecord>, SqlError> {
        let numbers: Vec<i64> = self.view.rows(
            "SELECT record FROM (
                 SELECT * FROM (SELECT record, next_attempt FROM exception
                     WHERE peer = ?1 AND lane = ?2 AND next_attempt <= ?3 AND ends_at > ?3
                     ORDER BY next_attempt, record LIMIT ?4)
                 UNION ALL
                 SELECT * FROM (SELECT record, next_attempt FROM exception
                     WHERE peer = ?1 AND lane = ?2 AND next_attempt > ?5 AND ends_at > ?3
                     ORDER BY next_attempt, record LIMIT ?4))
             ORDER BY next_attempt, record LIMIT ?4",
            (
                peer.as_str(),
                lane.name(),
                now.as_millis(),
                limit,
                retry::latest_attempt(now).as_millis(),
            ),
            |row| row.get(0),
        )?;
        let mut packs = PackReader::of(self.view);
        let mut held: Vec<HeldRecord> = Vec::new();
        let mut bytes = 0_usize;
        for number in numbers {
            if bytes >= PAGE_BYTES {
                break;
            }
            if let Some(record) = packs.dispatched_number(number)? {
                bytes = bytes.saturating_add(weight(&record.sealed));
                held.push(record);
            }
        }
        Ok(held)
    }

    pub(super) fn next_due(
        &self,
        peer: &NodeId,
        lane: Lane,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, SqlError> {
        let next = self.view.first(
            "SELECT min(next_attempt) FROM exception
             WHERE peer = ?1 AND lane = ?2 AND next_attempt < ends_at AND ends_at > ?3",
            (peer.as_str(), lane.name(), now.as_millis()),
            |row| row.get::<_, Option<i64>>(0),
        )?;
        Ok(next.flatten().map(Timestamp::from_millis))
    }

    /// Returns the exceptions whose time is not over, grouped by peer, lane and the newest state
    /// that the ledger has of them.
    pub(super) fn exceptions(&self, now: Timestamp) -> Result<Vec<ExceptionRow>, SqlError> {
        let mut grouped: BTreeMap<Group, Sum> = BTreeMap::new();
        for (group, sum) in self.told_by_one_table(now)? {
            add(&mut grouped, group, sum);
        }
        let ledger = LedgerReader::of(self.view);
        for (record, peer, lane, sum) in self.told_by_the_ledger(now)? {
            let newest = ledger.newest_state(record, &peer)?;
            let state = state_name(newest.unwrap_or(DisclosureState::Intended));
            add(&mut grouped, (peer, lane, state.to_owned()), sum);
        }
        grouped
            .into_iter()
            .map(|((peer, lane, state), sum)| {
                Ok(ExceptionRow {
                    peer: peer.parse().map_err(|_| unreadable("a peer"))?,
                    lane: lane.parse().map_err(|_| unreadable("a lane"))?,
                    state,
                    count: unsigned(sum.count)?,
                    next_attempt: Timestamp::from_millis(sum.next_attempt),
                    ends_at: Timestamp::from_millis(sum.ends_at),
                })
            })
            .collect()
    }

    /// Returns the exceptions whose newest state one table tells: those that wait for another
    /// answer have a row of their own, and a record that is owed again and has none was accepted
    /// with its frame.
    fn told_by_one_table(&self, now: Timestamp) -> Result<Vec<(Group, Sum)>, SqlError> {
        self.view.rows(
            concat!(
                "SELECT peer, lane, coalesce(state, 'accepted'),
                     count(*), min(next_attempt), min(ends_at) FROM (",
                waiting!(),
                ") WHERE is_told GROUP BY 1, 2, 3"
            ),
            (now.as_millis(), HELD, REFUSED_FOR_NOW),
            |row| {
                let sum = Sum {
                    count: row.get(3)?,
                    next_attempt: row.get(4)?,
                    ends_at: row.get(5)?,
                };
                Ok(((row.get(0)?, row.get(1)?, row.get(2)?), sum))
            },
        )
    }

    /// Returns the exceptions whose newest state can stand in a row of their own or in that of a
    /// frame.
    fn told_by_the_ledger(
        &self,
        now: Timestamp,
    ) -> Result<Vec<(i64, String, String, Sum)>, SqlError> {
        self.view.rows(
            concat!(
                "SELECT record, peer, lane, next_attempt, ends_at FROM (",
                waiting!(),
                ") WHERE NOT is_told"
            ),
            (now.as_millis(), HELD, REFUSED_FOR_NOW),
            |row| {
                let sum = Sum {
                    count: 1,
                    next_attempt: row.get(3)?,
                    ends_at: row.get(4)?,
                };
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, sum))
            },
        )
    }

    /// Returns the records that are no longer retried, the latest end first. Those whose end is not
    /// entered yet are included.
    pub(super) fn undelivered(&self, now: Timestamp) -> Result<Vec<UndeliveredRow>, SqlError> {
        let rows = self.view.rows(
            "SELECT peer, lane, record, attempts, ended_at FROM undelivered
             UNION ALL
             SELECT peer, lane, record, attempts, ends_at FROM exception WHERE ends_at <= ?1
             ORDER BY 5 DESC, 3 DESC LIMIT ?2",
            (now.as_millis(), MOST),
            |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, i64>(2)?,
                    row.get::<_, u32>(3)?,
                    row.get::<_, i64>(4)?,
                ))
            },
        )?;
        rows.into_iter()
            .map(|(peer, lane, record, attempts, ended_at)| {
                Ok(UndeliveredRow {
                    peer: peer.parse().map_err(|_| unreadable("a peer"))?,
                    lane: lane.parse().map_err(|_| unreadable("a lane"))?,
                    record: self.view.ledger_id(record)?,
                    attempts,
                    ended_at: Timestamp::from_millis(ended_at),
                })
            })
            .collect()
    }
}

/// A peer, a lane and a state, by their names.
type Group = (String, String, String);

/// Number of the exceptions of a group, and the earliest of their times in milliseconds.
struct Sum {
    count: i64,
    next_attempt: i64,
    ends_at: i64,
}

fn add<K: Ord>(grouped: &mut BTreeMap<K, Sum>, group: K, sum: Sum) {
    grouped
        .entry(group)
        .and_modify(|all| {
            all.count += sum.count;
            all.next_attempt = all.next_attempt.min(sum.next_attempt);
            all.ends_at = all.ends_at.min(sum.ends_at);
        })
        .or_insert(sum);
}

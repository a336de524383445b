//! The outbox: the record log from a place on, as it is planned for a peer.
//!
//! Records that were published lately come from memory as they were verified, all others from
//! their packs.

use portcullis_protocol::{frame::Lane, time::Timestamp};
use portcullis_store::{LogEntry, Logged, PAGE_BYTES, Relay, StoreError, weight};

use super::{
    decode::unsigned,
    error::SqlError,
    pack::{Pack, SLOTS, pack_of, place, slot_of},
    packs::PackReader,
    recent::{Placed, Recent},
    view::DatabaseView,
};

/// Reader of the outbox.
pub(super) struct OutboxReader<'a> {
    view: DatabaseView<'a>,
}

impl<'a> OutboxReader<'a> {
    pub(super) const fn of(view: DatabaseView<'a>) -> Self {
        Self { view }
    }

    pub(super) fn outbox(
        &self,
        recent: &Recent,
        (lane, relay): (Lane, Relay),
        cursor: u64,
        limit: u32,
    ) -> Result<Vec<LogEntry>, SqlError> {
        let sql = match relay {
            Relay::OwnOnly => {
                "SELECT n, count FROM pack WHERE lane = ?1 AND own = 1 AND n >= ?2 ORDER BY n"
            }
            Relay::Others => "SELECT n, count FROM pack WHERE lane = ?1 AND n >= ?2 ORDER BY n",
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let cursor = cursor.cast_signed();
        let mut packs = PackReader::of(self.view);
        let mut page = Page::new(cursor, limit);
        let mut select = self.view.connection.prepare_cached(sql)?;
        let mut rows = select.query((lane.name(), pack_of(cursor)))?;
        while !page.is_full() {
            let Some(row) = rows.next()? else {
                break;
            };
            let (n, count) = (row.get(0)?, row.get(1)?);
            match self.at_hand(recent, n, count)? {
                Some(records) => page.add_at_hand(records)?,
                None => self.add_stored(n, &mut page, &mut packs)?,
            }
        }
        if lane == Lane::Urgent && !page.is_full() {
            page.add_at_hand(recent.announced(self.view.log_end()?))?;
        }
        Ok(page.entries)
    }

    /// Returns the records of a pack if all of them are in memory and none has been extended or
    /// withdrawn since.
    fn at_hand(
        &self,
        recent: &Recent,
        n: i64,
        count: i64,
    ) -> Result<Option<Vec<Placed>>, SqlError> {
        let Some(records) = recent.pack(n, count) else {
            return Ok(None);
        };
        let extended: Option<i64> = self.view.first(
            "SELECT 1 FROM extension WHERE record BETWEEN ?1 AND ?2
             UNION ALL SELECT 1 FROM tombstone WHERE record BETWEEN ?1 AND ?2 LIMIT 1",
            (place(n, 0), place(n, SLOTS - 1)),
            |row| row.get(0),
        )?;
        Ok(extended.is_none().then_some(records))
    }

    fn add_stored(
        &self,
        n: i64,
        page: &mut Page,
        packs: &mut PackReader<'_>,
    ) -> Result<(), SqlError> {
        match packs.pack(n) {
            Ok(Some(pack)) => self.log_entries(&pack, page, packs),
            Ok(None) => Ok(()),
            Err(SqlError::Store(StoreError::Damaged(why))) => {
                tracing::error!(%why, "a pack of records is damaged; restore the store from a backup");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn log_entries(
        &self,
        pack: &Pack,
        page: &mut Page,
        packs: &mut PackReader<'_>,
    ) -> Result<(), SqlError> {
        let extensions = packs.extensions(pack)?;
        let withdrawn = packs.withdrawn_in(pack)?;
        for slot in 0..pack.len() {
            let at = pack.place(slot);
            let number = pack.directory.number(pack.n, slot);
            if page.is_full() {
                break;
            }
            if at <= page.cursor || withdrawn.contains(&number) {
                continue;
            }
            let held = if pack.extends {
                packs.dispatched_number(number)?
            } else {
                let extensions = extensions.get(&number).map(Vec::as_slice);
                packs.dispatched(pack, slot, extensions.unwrap_or_default())?
            };
            if let Some(held) = held {
                page.push(at, Logged::Stored(held))?;
            }
        }
        Ok(())
    }

    pub(super) fn behind(&self, lane: Lane, relay: Relay, cursor: u64) -> Result<u64, SqlError> {
        let least_own = match relay {
            Relay::OwnOnly => 1,
            Relay::Others => 0,
        };
        let cursor = cursor.cast_signed();
        let slot = i64::try_from(slot_of(cursor)).unwrap_or_default();
        let count: Option<i64> = self.view.first(
            "SELECT coalesce(sum(iif(n = ?3, max(count - ?4, 0), count)), 0) FROM pack
             WHERE lane = ?1 AND own IN (?2, 1) AND n >= ?3",
            (lane.name(), least_own, pack_of(cursor), slot + 1),
            |row| row.get(0),
        )?;
        let withdrawn = self.withdrawn_after(lane, least_own, cursor)?;
        unsigned(count.unwrap_or(0).saturating_sub(withdrawn))
    }

    /// Returns the time of the first pack of this lane that holds a place after the cursor.
    pub(super) fn waits_since(
        &self,
        lane: Lane,
        relay: Relay,
        cursor: u64,
    ) -> Result<Option<Timestamp>, SqlError> {
        if self.behind(lane, relay, cursor)? == 0 {
            return Ok(None);
        }
        let least_own = match relay {
            Relay::OwnOnly => 1,
            Relay::Others => 0,
        };
        let cursor = cursor.cast_signed();
        let slot = i64::try_from(slot_of(cursor)).unwrap_or_default();
        let since: Option<i64> = self.view.first(
            "SELECT received_at FROM pack
             WHERE lane = ?1 AND own IN (?2, 1) AND (n > ?3 OR n = ?3 AND count > ?4)
             ORDER BY n LIMIT 1",
            (lane.name(), least_own, pack_of(cursor), slot + 1),
            |row| row.get(0),
        )?;
        Ok(since.map(Timestamp::from_millis))
    }

    /// Counts the places of the log after the cursor that hold withdrawn records, in packs of this
    /// lane whose `own` is at least `least_own`.
    fn withdrawn_after(&self, lane: Lane, least_own: i64, cursor: i64) -> Result<i64, SqlError> {
        let count = self.view.first(
            "WITH gone (place) AS (
                 SELECT record FROM tombstone WHERE record > ?3
                 UNION ALL SELECT k.place FROM known AS k JOIN tombstone AS t ON t.record = k.n
                 WHERE k.place > ?3
                 UNION ALL SELECT e.place FROM extension AS e
                 JOIN tombstone AS t ON t.record = e.record WHERE e.place > ?3)
             SELECT count(*) FROM gone JOIN pack ON pack.n = gone.place / ?4
             WHERE lane = ?1 AND own >= ?2",
            (lane.name(), least_own, cursor, SLOTS),
            |row| row.get(0),
        )?;
        Ok(count.unwrap_or(0))
    }
}

/// Adds the entries after the cursor.
/// A page of the log in the making: bounded in entries and in bytes.
struct Page {
    /// Entries up to here are not listed.
    cursor: i64,
    limit: usize,
    bytes: usize,
    entries: Vec<LogEntry>,
}

impl Page {
    const fn new(cursor: i64, limit: usize) -> Self {
        Self {
            cursor,
            limit,
            bytes: 0,
            entries: Vec::new(),
        }
    }

    const fn is_full(&self) -> bool {
        self.entries.len() >= self.limit || self.bytes >= PAGE_BYTES
    }

    fn push(&mut self, at: i64, logged: Logged) -> Result<(), SqlError> {
        self.bytes = self.bytes.saturating_add(weight(logged.sealed()));
        self.entries.push(LogEntry {
            sequence: unsigned(at)?,
            logged,
        });
        Ok(())
    }

    fn add_at_hand(&mut self, records: Vec<Placed>) -> Result<(), SqlError> {
        for Placed { at, since, record } in records {
            if at > self.cursor && !self.is_full() {
                self.push(at, Logged::AtHand { record, since })?;
            }
        }
        Ok(())
    }
}

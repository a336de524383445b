//! Recently published own records, kept in memory as they were verified.
//!
//! A published record is planned for every peer soon after. It is taken from here then, so that it
//! is not read, decrypted and verified again for each of them. Records that come from the disk are
//! verified each time.
//!
//! The memory is bounded by number and by bytes; the oldest go first. Only durable records get in,
//! and only those whose number in the ledger is their place.
//!
//! Urgent records are announced sooner, while their transaction is open, so that they are planned
//! meanwhile and the plans for peers join the same transaction. A reader of an announcement must
//! see exactly what was durable when the transaction began; otherwise it would pass over what came
//! in between.
//!
//! Nothing is sent because of an announcement alone: a frame is sent once its ledger rows are
//! durable, and they are refused if the record is not. No cursor moves because of one without such
//! a row either: an own record is sent or denied and never skipped, since no authority is a peer of
//! itself.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use portcullis_protocol::{time::Timestamp, verify::VerifiedRecord};
use portcullis_store::write::is_urgent;

use super::pack::place;

/// Most records kept.
const MOST: usize = 6 << 10;
/// Most bytes kept, as [`weight`] counts them.
const MOST_BYTES: usize = 12 << 20;
/// Bytes counted for a record in addition to its own: its decoded header and bodies.
const BESIDE: usize = 2 << 10;

/// A record, its place in the log, and the time of its commit.
#[derive(Clone)]
pub(super) struct Placed {
    pub(super) at: i64,
    pub(super) since: Timestamp,
    pub(super) record: Arc<VerifiedRecord>,
}

/// The records, in the order of their places.
#[derive(Default)]
pub(super) struct Recent {
    /// Guards the records; held for the moment of a lookup or an addition.
    kept: RwLock<Kept>,
    /// Guards the announced records, which the open transaction will log.
    announced: RwLock<Announced>,
}

/// The urgent records in the open transaction.
#[derive(Default)]
struct Announced {
    /// The newest place of the log when the transaction began.
    base: i64,
    records: Vec<Placed>,
}

/// A transaction that may announce. When it ends, nothing is announced any more.
pub(super) struct Announcing<'a> {
    recent: &'a Recent,
    base: i64,
    /// Greatest number of urgent records that the transaction logs.
    urgent: usize,
    /// True if all of them were announced; otherwise readers would pass over some.
    is_whole: bool,
}

impl Announcing<'_> {
    /// Notes a job that was added. It logs at most `urgent` urgent records; `own` are its own new
    /// records.
    pub(super) fn added(&mut self, urgent: usize, own: &[Placed]) {
        let own = own.iter().filter(|placed| is_urgent(&placed.record));
        let own: Vec<_> = own.cloned().collect();
        self.urgent += urgent;
        self.is_whole &= own.len() == urgent;
        if self.is_whole && !own.is_empty() {
            let mut announced = self.recent.announcements();
            announced.base = self.base;
            announced.records.extend(own);
        }
    }

    /// Returns true if the transaction logs something urgent.
    pub(super) const fn has_urgent(&self) -> bool {
        self.urgent > 0
    }
}

impl Drop for Announcing<'_> {
    fn drop(&mut self) {
        self.recent.announcements().records.clear();
    }
}

#[derive(Default)]
struct Kept {
    records: VecDeque<Placed>,
    bytes: usize,
}

impl Recent {
    /// Keeps records that are durable now. Their places come after those that are kept.
    pub(super) fn add(&self, records: Vec<Placed>) {
        if records.is_empty() {
            return;
        }
        let gone = self
            .kept
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .add(records);
        // The records are freed once the lock is released.
        drop(gone);
    }

    /// Returns all records of a pack; `None` if one of them is not kept.
    pub(super) fn pack(&self, n: i64, count: i64) -> Option<Vec<Placed>> {
        let kept = self.read();
        let begin = kept.records.partition_point(|kept| kept.at < place(n, 0));
        let count = usize::try_from(count).ok()?;
        let found: Vec<_> = kept.records.range(begin..).take(count).cloned().collect();
        let last = i64::try_from(count).ok()?.checked_sub(1)?;
        let is_whole = found.len() == count
            && found.first().is_some_and(|kept| kept.at == place(n, 0))
            && found.last().is_some_and(|kept| kept.at == place(n, last));
        is_whole.then_some(found)
    }

    /// Begins to announce the records that a transaction logs after this place.
    pub(super) const fn announcing(&self, base: i64) -> Announcing<'_> {
        Announcing {
            recent: self,
            base,
            urgent: 0,
            is_whole: true,
        }
    }

    /// Returns the urgent records that are on their way to the disk, for a reader who sees the log
    /// up to exactly this place.
    pub(super) fn announced(&self, log_end: i64) -> Vec<Placed> {
        let announced = self
            .announced
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if announced.base == log_end {
            announced.records.clone()
        } else {
            Vec::new()
        }
    }

    fn announcements(&self) -> RwLockWriteGuard<'_, Announced> {
        self.announced
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Kept> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Adds records, and returns those that have to go.
    fn add(&mut self, records: Vec<Placed>) -> Vec<Placed> {
        for placed in records {
            self.bytes += weight(&placed.record);
            self.records.push_back(placed);
        }
        let mut gone = Vec::new();
        while self.records.len() > MOST || self.bytes > MOST_BYTES {
            let Some(oldest) = self.records.pop_front() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(weight(&oldest.record));
            gone.push(oldest);
        }
        gone
    }
}

/// Returns the approximate number of bytes that a record takes.
fn weight(record: &VerifiedRecord) -> usize {
    let bodies = record.sections().iter().map(|open| open.section.body.len());
    // Each body is held twice: as bytes and decoded.
    bodies.fold(record.header_bytes().len() + BESIDE, |sum, body| {
        sum + 2 * body
    })
}

#[cfg(test)]
mod tests {
    use portcullis_protocol::record::Kind;

    use super::*;
    use crate::tests::fixture::{Originator, at};

    fn placed(kind: Kind) -> Placed {
        Placed {
            at: 96,
            since: at(0),
            record: Arc::new(Originator::new(1).record(kind)),
        }
    }

    #[test]
    fn an_announcement_is_for_who_sees_all_that_came_before_and_while_it_is_open() {
        let recent = Recent::default();
        let mut announcing = recent.announcing(64);
        announcing.added(0, &[placed(Kind::Indicator)]);
        announcing.added(1, &[placed(Kind::Alert)]);
        let ends = [32, 64, 96];
        let seen = || ends.map(|log_end| recent.announced(log_end).len());
        assert_eq!(seen(), [0, 1, 0]);
        drop(announcing);
        assert_eq!(seen(), [0, 0, 0]);
    }

    #[test]
    fn nothing_is_announced_behind_something_urgent_that_was_not() {
        let recent = Recent::default();
        let mut announcing = recent.announcing(64);
        announcing.added(1, &[]);
        announcing.added(1, &[placed(Kind::Alert)]);
        assert!(recent.announced(64).is_empty());
    }
}

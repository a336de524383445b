//! Own records that were published a moment ago, in memory as they were verified.
//!
//! What is published is planned for every peer soon after. It is taken from here then, and is not
//! read, decrypted and verified once more for each of them. What comes from the disk is.
//!
//! Bounded by number and by bytes; the oldest go first. Only what is durable gets in, and nothing
//! that is known to the ledger under another number than its place.
//!
//! What is urgent is announced sooner, while its transaction is open, so that it is planned
//! meanwhile and what is intended for peers joins the same transaction. Who reads an announcement
//! has to see just what was durable when the transaction began, or would pass over what came in
//! between. Nothing leaves by it: a frame is sent once its ledger rows are durable, and they are
//! refused if the record is not. No cursor moves by it either without such a row: an own record is
//! sent or denied, and never skipped, for nobody is a peer of their own authority.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use portcullis_protocol::{time::Timestamp, verify::VerifiedRecord};

use super::pack::place;
use portcullis_store::write::is_urgent;

/// The most records kept.
const MOST: usize = 6 << 10;
/// The most bytes kept, as [`weight`] counts them.
const MOST_BYTES: usize = 12 << 20;
/// What a record takes beside its own bytes: its header and bodies as they were read.
const BESIDE: usize = 2 << 10;

/// A record, its place in the log, and when it was committed.
#[derive(Clone)]
pub(super) struct Placed {
    pub(super) at: i64,
    pub(super) since: Timestamp,
    pub(super) record: Arc<VerifiedRecord>,
}

/// The records, in the order of their places.
#[derive(Default)]
pub(super) struct Recent {
    /// Guards them for the moment of a look or an addition.
    kept: RwLock<Kept>,
    /// Guards what the open transaction will log.
    announced: RwLock<Announced>,
}

/// What is urgent in the transaction that is open.
#[derive(Default)]
struct Announced {
    /// The newest place of the log when it began.
    base: i64,
    records: Vec<Placed>,
}

/// A transaction that may announce: when it ends, nothing is announced any more.
pub(super) struct Announcing<'a> {
    recent: &'a Recent,
    base: i64,
    /// How many urgent records it logs at most.
    urgent: usize,
    /// Whether all of them were announced: else readers would pass over something.
    is_whole: bool,
}

impl Announcing<'_> {
    /// Notes a job that was added, with so many urgent records, of which these are its own and new.
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

    /// Whether it logs something urgent.
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
    /// Keeps records that are durable now; their places come after those that are kept.
    pub(super) fn add(&self, records: Vec<Placed>) {
        if records.is_empty() {
            return;
        }
        let gone = self
            .kept
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .add(records);
        // Freed when nobody waits for the lock.
        drop(gone);
    }

    /// The records of a pack, all of them; `None` if one is not kept.
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

    /// Begins to announce what a transaction logs behind this place.
    pub(super) const fn announcing(&self, base: i64) -> Announcing<'_> {
        Announcing {
            recent: self,
            base,
            urgent: 0,
            is_whole: true,
        }
    }

    /// What is urgent and on its way to the disk, for who sees the log up to this place.
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
    /// Gives what has to go.
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

/// The bytes that a record takes, about.
fn weight(record: &VerifiedRecord) -> usize {
    let bodies = record.sections().iter().map(|open| open.section.body.len());
    // Bodies stand twice: as bytes, and as what they say.
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

//! Own records that were published a moment ago, in memory as they were verified.
//!
//! What is published is planned for every peer soon after. It is taken from here then, and is not
//! read, decrypted and verified once more for each of them. What comes from the disk is.
//!
//! Bounded by number and by bytes; the oldest go first. Only what is durable gets in, and nothing
//! that is known to the ledger under another number than its place.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use portcullis_protocol::{time::Timestamp, verify::VerifiedRecord};

use super::pack::place;

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

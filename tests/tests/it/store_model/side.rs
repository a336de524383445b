//! Both stores. Numbers of log lines, ranges and quarantined items may differ between them; each
//! side translates what a step names into its own numbers.

use std::collections::{BTreeMap, VecDeque};

use portcullis_protocol::{
    frame::Lane, identifiers::NodeId, record::RecordId, seal::SealedRecord, time::Timestamp,
};
use portcullis_store::{BackfillRow, BadItemRow, Relay, Span, Store, StoreError, Write, Written};
use portcullis_store_sqlite::SqliteStore;

/// Result of one job.
pub(super) type Reply = Result<Vec<Written>, StoreError>;

/// One of the two stores.
pub(super) trait Side {
    /// Returns the store.
    fn store(&self) -> &dyn Store;
    /// Returns the lines of the log that were ever listed.
    fn lines(&self) -> &Lines;
    /// Makes a group of jobs durable.
    fn commit(&mut self, jobs: Vec<Vec<Write>>, now: Timestamp) -> Vec<Reply>;
    /// [`Store::span`].
    fn span(&self, lane: Lane, since: Timestamp, until: Timestamp) -> Span;
    /// [`Store::backfills`].
    fn backfills(&self) -> Vec<BackfillRow>;
    /// [`Store::next_backfill`].
    fn next_backfill(&self, peer: &NodeId) -> Option<BackfillRow>;
    /// [`Store::bad_items`].
    fn bad_items(&self) -> Vec<BadItemRow>;
    /// [`Store::bad_item`].
    fn bad_item(&self, n: i64) -> Option<SealedRecord>;
    /// Returns the number of items in the quarantine.
    fn quarantined(&self) -> u64;
}

/// The lines of the log by lane, including those of records withdrawn since.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines(BTreeMap<Lane, Vec<(u64, RecordId)>>);

impl Lines {
    /// Returns the lines of a lane.
    pub(super) fn of(&self, lane: Lane) -> &[(u64, RecordId)] {
        self.0.get(&lane).map_or(&[], Vec::as_slice)
    }

    /// Returns the store's own sequence number of a line.
    pub(super) fn sequence(&self, lane: Lane, line: usize) -> Option<u64> {
        self.of(lane).get(line).map(|(sequence, _)| *sequence)
    }

    /// Adds the entries listed after the last line.
    pub(super) fn update(&mut self, store: &dyn Store) {
        for lane in Lane::ALL {
            let lines = self.0.entry(*lane).or_default();
            let last = lines.last().map_or(0, |(sequence, _)| *sequence);
            let listed = store.outbox(*lane, Relay::Others, last, u32::MAX).unwrap();
            lines.extend(
                listed
                    .iter()
                    .map(|entry| (entry.sequence, entry.logged.id())),
            );
        }
    }
}

/// Commits a group of jobs.
pub(super) fn commit_all(store: &dyn Store, jobs: Vec<Vec<Write>>) -> Vec<Reply> {
    let mut jobs = VecDeque::from(jobs);
    store.commit_group(&mut || jobs.pop_front())
}

/// The product's store.
pub(super) struct Sqlite {
    /// `None` between two processes.
    store: Option<SqliteStore>,
    pub(super) lines: Lines,
}

impl Sqlite {
    pub(super) fn new(store: SqliteStore) -> Self {
        Self {
            store: Some(store),
            lines: Lines::default(),
        }
    }

    /// Closes the store and continues with another one.
    pub(super) fn reopen(&mut self, open: impl FnOnce() -> SqliteStore) {
        drop(self.store.take());
        self.store = Some(open());
    }

    fn open(&self) -> &SqliteStore {
        self.store.as_ref().unwrap()
    }
}

impl Side for Sqlite {
    fn store(&self) -> &dyn Store {
        self.open()
    }

    fn lines(&self) -> &Lines {
        &self.lines
    }

    fn commit(&mut self, jobs: Vec<Vec<Write>>, _: Timestamp) -> Vec<Reply> {
        let replies = commit_all(self.open(), jobs);
        self.lines.update(self.store.as_ref().unwrap());
        replies
    }

    fn span(&self, lane: Lane, since: Timestamp, until: Timestamp) -> Span {
        self.open().span(lane, since, until).unwrap()
    }

    fn backfills(&self) -> Vec<BackfillRow> {
        self.open().backfills().unwrap()
    }

    fn next_backfill(&self, peer: &NodeId) -> Option<BackfillRow> {
        self.open().next_backfill(peer).unwrap()
    }

    fn bad_items(&self) -> Vec<BadItemRow> {
        self.open().bad_items().unwrap()
    }

    fn bad_item(&self, n: i64) -> Option<SealedRecord> {
        self.open().bad_item(n).unwrap()
    }

    fn quarantined(&self) -> u64 {
        self.open().aside().unwrap().quarantined
    }
}

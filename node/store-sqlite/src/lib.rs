//! The store on SQLite: two files, one writer, many readers.
//!
//! ```text
//! store.db   what is kept: headers in clear, everything else sealed
//! keys.db    the wrapped key of each sealed thing; committed first
//! ```
//!
//! Both are in WAL mode with `synchronous=FULL`. A group of jobs is one transaction in each file.
//! The keys are durable before anything that was sealed under them, so that a crash in between
//! leaves keys without a use and never a sealed thing without its key. A key is destroyed one
//! commit after the one that made it useless.
//!
//! The store refuses to open files that a newer version wrote or another key sealed, and two files
//! that do not belong together.

mod backfill;
mod channel;
mod checkpoint;
mod consignments;
mod crypt;
mod decode;
mod dispatch;
mod error;
mod exceptions;
mod facts;
mod files;
mod frames;
mod group;
mod held;
mod index;
mod intake;
mod ledger;
mod pack;
mod packs;
mod position;
mod quarantine;
mod query;
mod reader;
mod recent;
mod reconcile;
mod records;
mod registry;
mod schema;
mod sent;
mod snapshot;
#[cfg(test)]
mod tests;
mod withdraw;

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use portcullis_protocol::{
    body::SelectorKind,
    frame::{Generation, Lane},
    identifiers::NodeId,
    reconcile::Entry,
    record::RecordId,
    register::SignedRegister,
    seal::SealedRecord,
    statement::SignedStatement,
    time::Timestamp,
};

pub use self::files::{KEYS_FILE, MAIN_FILE};
pub use self::snapshot::{Contents, Copied, PositionRow, Snapshot, examine, look, mark_restored};
use self::{
    checkpoint::{Checkpointer, Commit},
    group::{Group, WriteSide},
    index::Index,
    reader::{Pool, Reader},
    recent::Recent,
    snapshot::Turnstile,
};
use crate::crypt::Vault;
use error::SqlError;
use portcullis_store::{
    ArrivalRow, Aside, BackfillRow, BadItemRow, ChannelPage, ChannelSide, ConsignmentRow,
    DisclosureRow, DispatchPosition, Event, ExceptionRow, FactRow, ForkRow, HeldItem, HeldRecord,
    LogEntry, PersonRow, ReceiptRow, ReconciliationRow, RecordFilter, Relay, ScoreRow, Span, Stage,
    Store, StoreError, UndeliveredRow, Write, Written,
};

/// A store in a folder.
pub struct SqliteStore {
    vault: Vault,
    /// Guards the connections that write: there is one writer.
    writer: Mutex<WriteSide>,
    /// Lets a snapshot begin between two commits.
    turnstile: Turnstile,
    readers: Pool,
    index: Index,
    recent: Recent,
    checkpointer: Checkpointer,
    dir: PathBuf,
}

impl SqliteStore {
    /// Makes an empty store in `dir`, with a generation drawn at random.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`] if there is one; nothing is overwritten.
    pub fn create(dir: &Path, key: &[u8; 32]) -> Result<Self, StoreError> {
        let vault = Vault::new(key)?;
        schema::create(dir, &vault)?;
        Self::open(dir, key)
    }

    /// Opens the store in `dir`, and brings an older format up to date.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it is of a newer version, sealed with another key, or damaged.
    pub fn open(dir: &Path, key: &[u8; 32]) -> Result<Self, StoreError> {
        Self::open_gathering(dir, key, index::FULL)
    }

    /// Opens the store. `full` is the number of entries gathered before they are written to the
    /// index.
    pub(crate) fn open_gathering(
        dir: &Path,
        key: &[u8; 32],
        full: usize,
    ) -> Result<Self, StoreError> {
        let vault = Vault::new(key)?;
        let (main, keys) = schema::open(dir, &vault)?;
        Ok(Self {
            index: Index::load(&main, full)?,
            recent: Recent::default(),
            checkpointer: Checkpointer::start(dir)?,
            vault,
            writer: Mutex::new(WriteSide::new(main, keys)?),
            turnstile: Turnstile::default(),
            readers: Pool::new(dir),
            dir: dir.to_owned(),
        })
    }

    /// Checks both files for damage and returns the findings in words. It is slow on a large store.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the files cannot be checked.
    pub fn verify_files(&self) -> Result<Vec<String>, StoreError> {
        self.read(|reader| schema::findings(reader.connection))
    }

    /// Holds both files in their state between two commits, to be copied while commits go on.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let snapshot = Snapshot::open(&self.dir)?;
        self.turnstile.between(|| {
            let _side = self.write_side();
            snapshot.begin()
        })?;
        Ok(snapshot)
    }

    /// Returns the time of the backup from which this store was restored, if the store has not
    /// started a generation of its own since.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn restored_from(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|reader| reader.restored_from())
    }

    fn write_side(&self) -> MutexGuard<'_, WriteSide> {
        // A panic in a commit rolled its transaction back, so that the connections are sound.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_group(
        &self,
        next: &mut dyn FnMut() -> Option<Vec<Write>>,
        results: &mut Vec<Result<Vec<Written>, StoreError>>,
    ) -> Result<(), StoreError> {
        self.turnstile.pass();
        let mut side = self.write_side();
        let mut group = Group::begin(&side, &self.vault, &self.index)?;
        let mut announcing = self.recent.announcing(group.log_end()?);
        while let Some(job) = next() {
            let urgent = job.iter().map(Write::urgent_logged).sum();
            let own = group.log.published.len();
            let result = group.job(job);
            if result.is_ok() {
                let own = group.log.published.get(own..).unwrap_or_default();
                announcing.added(urgent, own);
            }
            results.push(result.map_err(StoreError::from));
        }
        let committed = group.commit()?;
        committed.tell(&self.index);
        self.recent.add(committed.published);
        self.checkpointer.committed(&Commit {
            has_erased: committed.has_erased,
            is_urgent: announcing.has_urgent(),
        });
        side.retired = committed.retired;
        side.erasing = committed.erasing;
        side.ordinal = committed.ordinal;
        Ok(())
    }

    fn read<T>(&self, query: impl Fn(&Reader<'_>) -> Result<T, SqlError>) -> Result<T, StoreError> {
        Ok(self.readers.read(&self.vault, &self.index, query)?)
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SqliteStore")
    }
}

impl Store for SqliteStore {
    fn commit_group(
        &self,
        next: &mut dyn FnMut() -> Option<Vec<Write>>,
    ) -> Vec<Result<Vec<Written>, StoreError>> {
        let mut results = Vec::new();
        match self.try_group(next, &mut results) {
            Ok(()) => results,
            Err(error) => {
                // A transaction that could not begin has taken no job. The first job gets the
                // error.
                if results.is_empty() {
                    results.extend(next().map(|_| Err(error.clone())));
                }
                results.iter().map(|_| Err(error.clone())).collect()
            }
        }
    }

    fn generation(&self) -> Result<Generation, StoreError> {
        self.read(|reader| reader.generation())
    }

    fn outbox(
        &self,
        lane: Lane,
        relay: Relay,
        cursor: u64,
        limit: u32,
    ) -> Result<Vec<LogEntry>, StoreError> {
        self.read(|reader| reader.outbox(&self.recent, (lane, relay), cursor, limit))
    }

    fn behind(&self, lane: Lane, relay: Relay, cursor: u64) -> Result<u64, StoreError> {
        self.read(|reader| reader.behind(lane, relay, cursor))
    }

    fn position(&self, peer: &NodeId, lane: Lane) -> Result<DispatchPosition, StoreError> {
        self.read(|reader| reader.position(peer, lane))
    }

    fn forks(&self) -> Result<Vec<ForkRow>, StoreError> {
        self.read(|reader| reader.forks())
    }

    fn due(
        &self,
        peer: &NodeId,
        lane: Lane,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<HeldRecord>, StoreError> {
        self.read(|reader| reader.due(peer, lane, now, limit))
    }

    fn next_due(
        &self,
        peer: &NodeId,
        lane: Lane,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        self.read(|reader| reader.next_due(peer, lane, now))
    }

    fn exceptions(&self, now: Timestamp) -> Result<Vec<ExceptionRow>, StoreError> {
        self.read(|reader| reader.exceptions(now))
    }

    fn span(&self, lane: Lane, since: Timestamp, until: Timestamp) -> Result<Span, StoreError> {
        self.read(|reader| reader.span(lane, since, until))
    }

    fn next_backfill(&self, peer: &NodeId) -> Result<Option<BackfillRow>, StoreError> {
        self.read(|reader| reader.next_backfill(peer))
    }

    fn backfills(&self) -> Result<Vec<BackfillRow>, StoreError> {
        self.read(|reader| reader.backfills())
    }

    fn undelivered(&self, now: Timestamp) -> Result<Vec<UndeliveredRow>, StoreError> {
        self.read(|reader| reader.undelivered(now))
    }

    fn disclosure(
        &self,
        record: &RecordId,
        peer: &NodeId,
    ) -> Result<Option<DisclosureRow>, StoreError> {
        self.read(|reader| reader.disclosure(record, peer))
    }

    fn disclosures_to(
        &self,
        peer: &NodeId,
        lane: Lane,
        entries: &[(u64, RecordId)],
    ) -> Result<Vec<DisclosureRow>, StoreError> {
        self.read(|reader| reader.disclosures_to(peer, lane, entries))
    }

    fn disclosures(&self, record: Option<&RecordId>) -> Result<Vec<DisclosureRow>, StoreError> {
        self.read(|reader| reader.disclosures(record))
    }

    fn disclosure_history(
        &self,
        record: &RecordId,
        peer: &NodeId,
    ) -> Result<Vec<DisclosureRow>, StoreError> {
        self.read(|reader| reader.disclosure_history(record, peer))
    }

    fn receipt(&self, record: &RecordId, peer: &NodeId) -> Result<Option<ReceiptRow>, StoreError> {
        self.read(|reader| reader.receipt(record, peer))
    }

    fn held_items(&self) -> Result<Vec<HeldItem>, StoreError> {
        self.read(|reader| reader.held_items())
    }

    fn bad_items(&self) -> Result<Vec<BadItemRow>, StoreError> {
        self.read(|reader| reader.bad_items())
    }

    fn bad_item(&self, n: i64) -> Result<Option<SealedRecord>, StoreError> {
        self.read(|reader| reader.bad_item(n))
    }

    fn aside(&self) -> Result<Aside, StoreError> {
        self.read(|reader| reader.aside())
    }

    fn next_held_end(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|reader| reader.next_held_end())
    }

    fn arrivals(&self, record: Option<&RecordId>) -> Result<Vec<ArrivalRow>, StoreError> {
        self.read(|reader| reader.arrivals(record))
    }

    fn record(&self, id: &RecordId) -> Result<Option<HeldRecord>, StoreError> {
        self.read(|reader| reader.record(id))
    }

    fn ids_with_prefix(&self, prefix: &str, limit: u32) -> Result<Vec<RecordId>, StoreError> {
        self.read(|reader| reader.ids_with_prefix(prefix, limit))
    }

    fn records(&self, filter: &RecordFilter) -> Result<Vec<HeldRecord>, StoreError> {
        self.read(|reader| reader.records(filter))
    }

    fn records_about(
        &self,
        kind: SelectorKind,
        value: &str,
    ) -> Result<Vec<HeldRecord>, StoreError> {
        self.read(|reader| reader.records_about(kind, value))
    }

    fn log_end(&self) -> Result<u64, StoreError> {
        self.read(|reader| reader.log_end())
    }

    fn registers(&self) -> Result<Vec<SignedRegister>, StoreError> {
        self.read(|reader| reader.registers())
    }

    fn facts(&self) -> Result<Vec<FactRow>, StoreError> {
        self.read(|reader| reader.facts())
    }

    fn persons(&self) -> Result<Vec<PersonRow>, StoreError> {
        self.read(|reader| reader.persons())
    }

    fn act_seen(&self, statement: &SignedStatement) -> Result<bool, StoreError> {
        self.read(|reader| reader.act_seen(statement))
    }

    fn consignments(&self, stage: Stage) -> Result<Vec<ConsignmentRow>, StoreError> {
        self.read(|reader| reader.consignments(stage))
    }

    fn consignment(&self, reference: &str) -> Result<Option<ConsignmentRow>, StoreError> {
        self.read(|reader| reader.consignment(reference))
    }

    fn consignments_with(
        &self,
        kind: SelectorKind,
        value: &str,
    ) -> Result<Vec<ConsignmentRow>, StoreError> {
        self.read(|reader| reader.consignments_with(kind, value))
    }

    fn touching(&self, records: &[RecordId]) -> Result<Vec<RecordId>, StoreError> {
        self.read(|reader| reader.touching(records))
    }

    fn score(&self, reference: &str) -> Result<Option<ScoreRow>, StoreError> {
        self.read(|reader| reader.score(reference))
    }

    fn scores(&self, limit: u32) -> Result<Vec<ScoreRow>, StoreError> {
        self.read(|reader| reader.scores(limit))
    }

    fn channel(
        &self,
        peer: &NodeId,
        side: ChannelSide,
        page: &ChannelPage,
    ) -> Result<Vec<Entry>, StoreError> {
        self.read(|reader| reader.channel(peer, side, page))
    }

    fn owed(&self, peer: &NodeId) -> Result<u64, StoreError> {
        self.read(|reader| reader.owed(peer))
    }

    fn learned(&self, peer: &NodeId) -> Result<u64, StoreError> {
        self.read(|reader| reader.learned(peer))
    }

    fn reconciliations(&self) -> Result<Vec<ReconciliationRow>, StoreError> {
        self.read(|reader| reader.reconciliations())
    }

    fn backup_restored(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|reader| reader.reconciling_since())
    }

    fn events(&self, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.read(|reader| reader.events(limit))
    }
}

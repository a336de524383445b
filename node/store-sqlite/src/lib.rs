//! The store on SQLite: two files, one writer, many readers.
//!
//! ```text
//! store.db   what is kept: records, consignments and scores sealed, the frame around them in clear
//!            (docs/operator.md says what)
//! keys.db    the wrapped key of each sealed thing; committed first
//! ```
//!
//! Both are in WAL mode with `synchronous=FULL`. A group of jobs is one transaction in each file.
//! The keys are durable before anything that was sealed under them, so that a crash in between
//! leaves keys without a use and never a sealed thing without its key. A key is destroyed one
//! commit after the one that made it useless.
//!
//! Every file imports only from those above it here:
//!
//! ```text
//! values     files, error, decode, crypt, damages, tables, seals, pack, item, and rules apart from
//!            SQL: disclosure, retry
//! files      connection, layout, indexes, tokens_apart, binding, schema, checkpoint
//! the log    index, pack_ids, recent, crossing, log
//! contexts   view (to read), interned, transaction (to write), pool, snapshot
//! concerns   events, records, packs, origins, search, outbox, sent, frames, ledger, arrivals, exceptions,
//!            position, backfill, differences, dispatch, reconcile, channel, held, refusals, intake,
//!            withdraw, quarantine, consignments, registry, facts, restored, scrub
//! on top     group (the jobs of one transaction), and the store itself
//! ```
//!
//! A concern is a writer over the transaction, a reader over the view, or both.
//!
//! The store refuses to open files that a newer version wrote or another key sealed, and two files
//! that do not belong together.

mod arrivals;
mod backfill;
mod binding;
mod channel;
mod checkpoint;
mod connection;
mod consignments;
mod crossing;
mod crypt;
mod damages;
mod decode;
mod differences;
mod disclosure;
mod dispatch;
mod error;
mod events;
mod exceptions;
mod excerpts;
mod facts;
mod files;
mod frames;
mod group;
mod held;
mod held_tally;
mod index;
mod indexes;
mod intake;
mod interned;
mod item;
mod layout;
mod ledger;
mod log;
mod origins;
mod outbox;
mod pack;
mod pack_ids;
mod packs;
mod pool;
mod position;
mod quarantine;
mod recent;
mod reconcile;
mod records;
mod refusals;
mod registry;
mod restored;
mod retry;
mod schema;
mod scrub;
mod seals;
mod search;
mod sent;
mod snapshot;
mod tables;
#[cfg(test)]
mod tests;
mod tokens_apart;
mod transaction;
mod view;
mod withdraw;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use portcullis_protocol::{
    body::SelectorKind,
    frame::{Generation, Lane},
    identifiers::{AuthorityId, NodeId},
    reconcile::Entry,
    record::{Form, Kind, RecordId, SectionTag},
    register::SignedRegister,
    seal::SealedRecord,
    statement::SignedStatement,
    time::Timestamp,
};

pub use self::binding::{Binding, Unlocking};
pub use self::files::{KEYS_FILE, MAIN_FILE};
pub use self::restored::mark_restored;
pub use self::snapshot::{Contents, Copied, PositionRow, Snapshot, examine, look};
use self::{
    arrivals::ArrivalReader,
    backfill::BackfillReader,
    channel::ChannelReader,
    checkpoint::{Checkpointer, Commit},
    consignments::ConsignmentReader,
    crossing::Crossing,
    crypt::Vault,
    damages::Damages,
    decode::unsigned,
    differences::DifferenceReader,
    error::SqlError,
    events::EventReader,
    exceptions::ExceptionReader,
    excerpts::ExcerptSearch,
    facts::FactReader,
    group::Group,
    held::HeldReader,
    index::Index,
    layout::Layout,
    ledger::LedgerReader,
    outbox::OutboxReader,
    pool::Pool,
    position::PositionReader,
    quarantine::QuarantineReader,
    recent::Recent,
    reconcile::ReconciliationReader,
    registry::RegistryReader,
    restored::RestoredReader,
    schema::{Opened, Sealing},
    scrub::Scrubber,
    seals::Sealer,
    search::RecordSearch,
    snapshot::Turnstile,
    transaction::WriteSide,
    view::DatabaseView,
};
use portcullis_store::{
    ActRow, ArrivalRow, Aside, BackfillRow, BadItemRow, Came, ChannelPage, ChannelSide,
    ConsignmentPage, ConsignmentPlace, ConsignmentRanking, ConsignmentRow, ConsignmentStage,
    ConsignmentsOf, DamageRow, DisclosureRow, DispatchPosition, ExceptionRow, ExcerptPage,
    ExcerptsOf, FactRow, ForkRow, HeldExcerpt, HeldItem, HeldKey, HeldRecord, LogEntry, NodeEvent,
    PersonRow, ReceiptRow, ReconciliationRow, RecordFilter, ReferencePage, Relay, ScoreRow, Span,
    Store, StoreError, UndeliveredRow, Write, Written, apart,
};

/// A store in a folder.
pub struct SqliteStore {
    vault: Vault,
    sealer: Arc<Sealer>,
    layout: Arc<Layout>,
    /// Guards the connections that write: there is one writer.
    writer: Mutex<WriteSide>,
    /// Lets a snapshot begin between two commits.
    turnstile: Turnstile,
    readers: Pool,
    index: Index,
    recent: Recent,
    crossing: Crossing,
    damages: Damages,
    checkpointer: Checkpointer,
    dir: PathBuf,
    /// True if the process that had it open before left a write-ahead log behind.
    stopped_uncleanly: bool,
}

impl SqliteStore {
    /// Makes an empty store in `dir`, with a generation drawn at random.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`] if there is one; nothing is overwritten.
    pub fn create<'a>(dir: &Path, keys: impl Into<Unlocking<'a>>) -> Result<Self, StoreError> {
        let keys = keys.into();
        schema::create(dir, keys)?;
        Self::open_gathering(dir, keys, (index::FULL, Sealing::MayBegin))
    }

    /// Opens the store in `dir`, and brings an older format up to date. A key table whose binding
    /// is begun is bound.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it is of a newer version, sealed with other keys, or damaged; with a bound
    /// key table, also if its seals were taken away.
    pub fn open<'a>(dir: &Path, keys: impl Into<Unlocking<'a>>) -> Result<Self, StoreError> {
        let keys = keys.into();
        Self::open_gathering(dir, keys, (index::FULL, Sealing::of(keys.binding)))
    }

    /// As [`Self::open`], a store whose rows were sealed before.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] as well, if its seals were taken away.
    pub fn open_sealed<'a>(dir: &Path, keys: impl Into<Unlocking<'a>>) -> Result<Self, StoreError> {
        Self::open_gathering(dir, keys, (index::FULL, Sealing::MustBe))
    }

    /// Opens the store. `full` is the number of entries gathered before they are written to the
    /// index.
    pub(crate) fn open_gathering<'a>(
        dir: &Path,
        keys: impl Into<Unlocking<'a>>,
        (full, sealing): (usize, Sealing),
    ) -> Result<Self, StoreError> {
        let stopped_uncleanly = connection::has_log(dir);
        let Opened {
            main,
            keys,
            vault,
            sealer,
            seals,
            layout,
            layout_number,
        } = schema::open(dir, keys.into(), sealing)?;
        let (sealer, layout) = (Arc::new(sealer), Arc::new(layout));
        let index = Index::load(&main, full)?;
        let side = WriteSide::new(main, keys, &sealer, seals, (&layout, layout_number))?;
        let store = Self {
            index,
            recent: Recent::default(),
            crossing: Crossing::default(),
            damages: Damages::default(),
            checkpointer: Checkpointer::start(dir)?,
            vault,
            writer: Mutex::new(side),
            sealer,
            layout,
            turnstile: Turnstile::default(),
            readers: Pool::new(dir),
            dir: dir.to_owned(),
            stopped_uncleanly,
        };
        store.read(|view| Scrubber::of(view, &store.layout, &store.damages).at_start())?;
        Ok(store)
    }

    /// Checks both files for damage and returns the findings in words. It is slow on a large store.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the files cannot be checked.
    pub fn verify_files(&self) -> Result<Vec<String>, StoreError> {
        self.read(|view| schema::findings(view.connection))
    }

    /// Holds both files in their state between two commits, to be copied while commits go on.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        apart::noticed();
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
        self.read(|view| RestoredReader::of(view).restored_from())
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
        apart::noticed();
        self.turnstile.pass();
        let mut side = self.write_side();
        let mut group = Group::begin(&side, &self.vault, &self.index)?;
        let mut announcing = self.recent.announcing(group.log_end()?);
        while let Some(job) = next() {
            let urgent = job.iter().map(Write::urgent_logged).sum();
            let own = group.published().len();
            let result = group.job(job);
            if result.is_ok() {
                let own = group.published().get(own..).unwrap_or_default();
                announcing.added(urgent, own);
            }
            results.push(result.map_err(StoreError::from));
        }
        let committed = group.commit()?;
        committed.tell(&self.index);
        self.crossing.follow(&committed.crossing);
        self.recent.add(committed.published);
        self.checkpointer.committed(&Commit {
            has_erased: committed.has_erased,
            is_urgent: announcing.has_urgent(),
        });
        side.take_over(committed.left);
        Ok(())
    }

    fn read<T>(
        &self,
        query: impl Fn(DatabaseView<'_>) -> Result<T, SqlError>,
    ) -> Result<T, StoreError> {
        apart::noticed();
        Ok(self.readers.read(
            (&self.vault, &self.sealer),
            &self.index,
            &self.damages,
            query,
        )?)
    }
}

/// Tells whether the store in `dir` would open with these keys, and has its seals although it is one
/// that was sealed before. Nothing is changed, and a node may have it open.
///
/// # Errors
///
/// [`StoreError`] with what is wrong.
pub fn would_open_sealed<'a>(dir: &Path, keys: impl Into<Unlocking<'a>>) -> Result<(), StoreError> {
    Ok(schema::look(dir, keys.into(), Sealing::MustBe)?)
}

/// As [`would_open_sealed`], a store that may be of a format before seals.
///
/// # Errors
///
/// [`StoreError`] with what is wrong.
pub fn would_open<'a>(dir: &Path, keys: impl Into<Unlocking<'a>>) -> Result<(), StoreError> {
    let keys = keys.into();
    Ok(schema::look(dir, keys, Sealing::of(keys.binding))?)
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
        self.read(|view| PositionReader::of(view).generation())
    }

    fn outbox(
        &self,
        lane: Lane,
        relay: Relay,
        cursor: u64,
        limit: u32,
    ) -> Result<Vec<LogEntry>, StoreError> {
        self.read(|view| OutboxReader::of(view).outbox(&self.recent, (lane, relay), cursor, limit))
    }

    fn behind(&self, lane: Lane, relay: Relay, cursor: u64) -> Result<u64, StoreError> {
        self.read(|view| OutboxReader::of(view).behind(lane, relay, cursor))
    }

    fn waits_since(
        &self,
        lane: Lane,
        relay: Relay,
        cursor: u64,
    ) -> Result<Option<Timestamp>, StoreError> {
        self.read(|view| OutboxReader::of(view).waits_since(lane, relay, cursor))
    }

    fn left_generations(&self) -> Result<Vec<Generation>, StoreError> {
        self.read(|view| PositionReader::of(view).left_generations())
    }

    fn position(&self, peer: &NodeId, lane: Lane) -> Result<DispatchPosition, StoreError> {
        self.read(|view| PositionReader::of(view).position(peer, lane))
    }

    fn forks(&self) -> Result<Vec<ForkRow>, StoreError> {
        self.read(|view| PositionReader::of(view).forks())
    }

    fn due(
        &self,
        peer: &NodeId,
        lane: Lane,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<HeldRecord>, StoreError> {
        self.read(|view| ExceptionReader::of(view).due(peer, lane, now, limit))
    }

    fn next_due(
        &self,
        peer: &NodeId,
        lane: Lane,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        self.read(|view| ExceptionReader::of(view).next_due(peer, lane, now))
    }

    fn exceptions(&self, now: Timestamp) -> Result<Vec<ExceptionRow>, StoreError> {
        self.read(|view| ExceptionReader::of(view).exceptions(now))
    }

    fn span(&self, lane: Lane, since: Timestamp, until: Timestamp) -> Result<Span, StoreError> {
        self.read(|view| BackfillReader::of(view).span(lane, (since, until)))
    }

    fn next_backfill(&self, peer: &NodeId) -> Result<Option<BackfillRow>, StoreError> {
        self.read(|view| BackfillReader::of(view).next_backfill(peer))
    }

    fn backfills(&self) -> Result<Vec<BackfillRow>, StoreError> {
        self.read(|view| BackfillReader::of(view).backfills())
    }

    fn undelivered(&self, now: Timestamp) -> Result<Vec<UndeliveredRow>, StoreError> {
        self.read(|view| ExceptionReader::of(view).undelivered(now))
    }

    fn disclosure(
        &self,
        record: &RecordId,
        peer: &NodeId,
    ) -> Result<Option<DisclosureRow>, StoreError> {
        self.read(|view| LedgerReader::of(view).disclosure(record, peer))
    }

    fn disclosures_to(
        &self,
        peer: &NodeId,
        entries: &[(u64, RecordId)],
    ) -> Result<Vec<DisclosureRow>, StoreError> {
        self.read(|view| LedgerReader::of(view).disclosures_to(peer, entries))
    }

    fn disclosures(&self, record: Option<&RecordId>) -> Result<Vec<DisclosureRow>, StoreError> {
        self.read(|view| LedgerReader::of(view).disclosures(record))
    }

    fn disclosure_history(
        &self,
        record: &RecordId,
        peer: &NodeId,
    ) -> Result<Vec<DisclosureRow>, StoreError> {
        self.read(|view| LedgerReader::of(view).disclosure_history(record, peer))
    }

    fn receipt(&self, record: &RecordId, peer: &NodeId) -> Result<Option<ReceiptRow>, StoreError> {
        self.read(|view| LedgerReader::of(view).receipt(record, peer))
    }

    fn held_keys(&self, after: Option<i64>, limit: u32) -> Result<Vec<HeldKey>, StoreError> {
        self.read(|view| HeldReader::of(view).held_keys(after, limit))
    }

    fn held_over(&self, now: Timestamp, limit: u32) -> Result<Vec<HeldKey>, StoreError> {
        self.read(|view| HeldReader::of(view).held_over(now, limit))
    }

    fn held_key(
        &self,
        record: &RecordId,
        peer: &NodeId,
        form: Form,
    ) -> Result<Option<HeldKey>, StoreError> {
        self.read(|view| HeldReader::of(view).held_key(record, peer, form))
    }

    fn held_item(&self, key: &HeldKey) -> Result<Option<HeldItem>, StoreError> {
        self.read(|view| HeldReader::of(view).held_item(key))
    }

    fn scrub(&self, part: usize) -> Result<Option<&'static str>, StoreError> {
        self.read(|view| Scrubber::of(view, &self.layout, &self.damages).part(part))
    }

    fn mend_indexes(&self) -> Result<Vec<DamageRow>, StoreError> {
        let mut mended = Vec::new();
        for (name, row) in self.damages.to_build() {
            let built = self
                .turnstile
                .between(|| self.write_side().build_indexes(name))?;
            if built
                && self
                    .read(|view| Scrubber::of(view, &self.layout, &self.damages).indexes_of(name))?
            {
                self.damages.mended(name);
                mended.push(row);
            } else {
                tracing::error!(table = %name, "the indexes of a table cannot be built anew: restore the store from a backup");
            }
        }
        Ok(mended)
    }

    fn stopped_uncleanly(&self) -> bool {
        self.stopped_uncleanly
    }

    fn damaged(&self) -> Vec<DamageRow> {
        self.damages.rows()
    }

    fn bad_items(&self) -> Result<Vec<BadItemRow>, StoreError> {
        self.read(|view| QuarantineReader::of(view).bad_items())
    }

    fn bad_item(&self, n: i64) -> Result<Option<SealedRecord>, StoreError> {
        self.read(|view| QuarantineReader::of(view).bad_item(n))
    }

    fn aside(&self) -> Result<Aside, StoreError> {
        self.read(|view| QuarantineReader::of(view).aside())
    }

    fn next_held_end(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|view| HeldReader::of(view).next_held_end())
    }

    fn arrivals(&self, record: Option<&RecordId>) -> Result<Vec<ArrivalRow>, StoreError> {
        self.read(|view| ArrivalReader::of(view).arrivals(record))
    }

    fn record(&self, id: &RecordId) -> Result<Option<HeldRecord>, StoreError> {
        self.read(|view| RecordSearch::of(view).record(id))
    }

    fn ids_with_prefix(&self, prefix: &str, limit: u32) -> Result<Vec<RecordId>, StoreError> {
        self.read(|view| RecordSearch::of(view).ids_with_prefix(prefix, limit))
    }

    fn ids_after(&self, after: Option<&RecordId>, limit: u32) -> Result<Vec<RecordId>, StoreError> {
        self.read(|view| RecordSearch::of(view).ids_after(after, limit))
    }

    fn records(&self, filter: &RecordFilter) -> Result<Vec<HeldRecord>, StoreError> {
        self.read(|view| RecordSearch::of(view).records(filter))
    }

    fn records_about(
        &self,
        kind: SelectorKind,
        value: &str,
    ) -> Result<Vec<HeldRecord>, StoreError> {
        self.read(|view| RecordSearch::of(view).records_about(kind, value))
    }

    fn excerpts_but(
        &self,
        left_out: &BTreeSet<AuthorityId>,
        of: ExcerptsOf<'_>,
        tags: &[SectionTag],
        from: Option<i64>,
    ) -> Result<ExcerptPage, StoreError> {
        self.read(|view| ExcerptSearch::of(view, tags, left_out).page(of, from))
    }

    fn count(&self, kind: Option<Kind>, came: Came) -> Result<u64, StoreError> {
        self.read(|view| ExcerptSearch::of(view, &[], &BTreeSet::new()).count(kind, came))
    }

    fn excerpt(
        &self,
        id: &RecordId,
        tags: &[SectionTag],
    ) -> Result<Option<HeldExcerpt>, StoreError> {
        self.read(|view| ExcerptSearch::of(view, tags, &BTreeSet::new()).excerpt(id))
    }

    fn log_end(&self) -> Result<u64, StoreError> {
        self.read(|view| view.log_end().and_then(unsigned))
    }

    fn registers(&self) -> Result<Vec<SignedRegister>, StoreError> {
        self.read(|view| RegistryReader::of(view).registers())
    }

    fn facts(&self) -> Result<Vec<FactRow>, StoreError> {
        self.read(|view| FactReader::of(view).facts())
    }

    fn persons(&self) -> Result<Vec<PersonRow>, StoreError> {
        self.read(|view| RegistryReader::of(view).persons())
    }

    fn acts_about_persons(&self) -> Result<Vec<SignedStatement>, StoreError> {
        self.read(|view| RegistryReader::of(view).acts_about_persons())
    }

    fn acts_done(&self, action: &str) -> Result<Vec<SignedStatement>, StoreError> {
        self.read(|view| RegistryReader::of(view).acts_done(action))
    }

    fn act_seen(&self, statement: &SignedStatement) -> Result<bool, StoreError> {
        self.read(|view| RegistryReader::of(view).act_seen(statement))
    }

    fn act_answer(&self, statement: &SignedStatement) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|view| RegistryReader::of(view).act_answer(statement))
    }

    fn consignment_page(
        &self,
        stage: ConsignmentStage,
        from: ConsignmentPlace,
    ) -> Result<ConsignmentPage, StoreError> {
        self.read(|view| ConsignmentReader::of(view).page(stage, from))
    }

    fn consignment_references(
        &self,
        of: &ConsignmentsOf,
        from: ConsignmentPlace,
    ) -> Result<ReferencePage, StoreError> {
        self.read(|view| ConsignmentReader::of(view).references(of, from))
    }

    fn consignment(&self, reference: &str) -> Result<Option<ConsignmentRow>, StoreError> {
        self.read(|view| ConsignmentReader::of(view).consignment(reference))
    }

    fn consignments_with(
        &self,
        kind: SelectorKind,
        value: &str,
    ) -> Result<Vec<ConsignmentRow>, StoreError> {
        self.read(|view| ConsignmentReader::of(view).consignments_with(kind, value))
    }

    fn touching(&self, records: &[RecordId]) -> Result<Vec<RecordId>, StoreError> {
        self.crossing
            .learn(|| self.read(|view| ConsignmentReader::of(view).record_tokens()))?;
        self.read(|view| ConsignmentReader::of(view).touching(&self.crossing, records))
    }

    fn score(&self, reference: &str) -> Result<Option<ScoreRow>, StoreError> {
        self.read(|view| ConsignmentReader::of(view).score(reference))
    }

    fn consignment_ranking(
        &self,
        of: &ConsignmentsOf,
        limit: u32,
    ) -> Result<ConsignmentRanking, StoreError> {
        self.read(|view| ConsignmentReader::of(view).ranking(of, limit))
    }

    fn scores(&self, limit: u32) -> Result<Vec<ScoreRow>, StoreError> {
        self.read(|view| ConsignmentReader::of(view).scores(limit))
    }

    fn channel(
        &self,
        peer: &NodeId,
        side: ChannelSide,
        page: &ChannelPage,
    ) -> Result<Vec<Entry>, StoreError> {
        self.read(|view| ChannelReader::of(view).channel(peer, side, page))
    }

    fn owed(&self, peer: &NodeId) -> Result<u64, StoreError> {
        self.read(|view| DifferenceReader::of(view).owed(peer))
    }

    fn learned(&self, peer: &NodeId) -> Result<u64, StoreError> {
        self.read(|view| ReconciliationReader::of(view).learned(peer))
    }

    fn reconciliations(&self) -> Result<Vec<ReconciliationRow>, StoreError> {
        self.read(|view| ReconciliationReader::of(view).reconciliations())
    }

    fn backup_restored(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|view| RestoredReader::of(view).reconciling_since())
    }

    fn events_before(
        &self,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<(i64, NodeEvent)>, StoreError> {
        self.read(|view| EventReader::of(view).events(before, limit))
    }

    fn acts(&self, before: Option<i64>, limit: u32) -> Result<Vec<ActRow>, StoreError> {
        self.read(|view| RegistryReader::of(view).acts(before, limit))
    }
}

//! What a node keeps, in the domain's terms.
//!
//! ```text
//! writer task ──commit([Write, …])──▶ Store ──▶ one durable transaction, then the answers
//! everyone else ──queries──────────▶ Store ──▶ a consistent read of what is durable
//! ```
//!
//! The store takes only verified records, keeps every section under a key of its own, and gives
//! no record out but as [`HeldRecord`], which its reader verifies again: a flipped bit on disk
//! is found when it is read. An answer given to a peer once and for all is kept and given again.
//!
//! Failure cases: a failed commit leaves nothing behind and is reported to every writer in the
//! group; a failed fsync ends the process (DESIGN §7), for nobody knows what is on disk then.

mod error;
mod facts;
pub mod niceness;
mod rows;
pub mod write;
pub mod writer;

pub use error::StoreError;
pub use facts::{Fact, FactKind, FactRow};
pub use rows::{
    ArrivalRow, Aside, BackfillRow, BadItemRow, ChannelPage, ChannelSide, ConsignmentRow,
    DisclosureRow, DisclosureState, DispatchPosition, ExceptionRow, ForkRow, Found, HELD_LIFE_MS,
    HeldItem, HeldRecord, LogEntry, Logged, PersonRow, ReceiptRow, ReconciliationRow, RecordFilter,
    Relay, ScoreRow, Span, Stage, UndeliveredRow,
};
pub use write::{
    Act, Backfill, BackfillMove, BadItem, CancelBackfills, DecisionNote, Event, GiveBack,
    HeldDecision, Intake, IntakeItem, Intend, Judgement, LedgerEntry, NewGeneration, Part, Repair,
    Retry, Settle, Write, Written,
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

/// A node's store.
pub trait Store: Send + Sync {
    /// Takes jobs from `next` until it gives none, and makes all of them durable in one
    /// transaction; then gives the results of each, in order. A job that fails leaves nothing
    /// behind and does not touch the others; a failed commit fails them all.
    fn commit_group(
        &self,
        next: &mut dyn FnMut() -> Option<Vec<Write>>,
    ) -> Vec<Result<Vec<Written>, StoreError>>;

    /// Makes all of the writes durable in one transaction, and gives their results in order.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; nothing was written then.
    fn commit(&self, writes: Vec<Write>) -> Result<Vec<Written>, StoreError> {
        let mut job = Some(writes);
        self.commit_group(&mut || job.take())
            .pop()
            .unwrap_or(Err(StoreError::Stopped))
    }

    /// The generation in which this store's sequence numbers count now.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn generation(&self) -> Result<Generation, StoreError>;

    /// Entries of the log in this lane after `cursor`, ascending, at most `limit`. Only records
    /// that this node may pass on are listed: its own, and if `relay`, those of others.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn outbox(
        &self,
        lane: Lane,
        relay: Relay,
        cursor: u64,
        limit: u32,
    ) -> Result<Vec<LogEntry>, StoreError>;

    /// How many entries of the log come after `cursor` in this lane, counted as
    /// [`Store::outbox`] lists them.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn behind(&self, lane: Lane, relay: Relay, cursor: u64) -> Result<u64, StoreError>;

    /// How far dispatch is with this peer in this lane.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn position(&self, peer: &NodeId, lane: Lane) -> Result<DispatchPosition, StoreError>;

    /// The forks that were found in what peers send, the oldest first; so many of each peer.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn forks(&self) -> Result<Vec<ForkRow>, StoreError>;

    /// Records whose delivery to this peer is due for another attempt, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn due(
        &self,
        peer: &NodeId,
        lane: Lane,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<HeldRecord>, StoreError>;

    /// When the next exception of this peer and lane falls due; none that has ended by `now`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn next_due(
        &self,
        peer: &NodeId,
        lane: Lane,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError>;

    /// What waits for another try, counted by peer, lane and what the peer said last.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn exceptions(&self, now: Timestamp) -> Result<Vec<ExceptionRow>, StoreError>;

    /// The places in this lane of the log of what came at or after `since` and before `until`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn span(&self, lane: Lane, since: Timestamp, until: Timestamp) -> Result<Span, StoreError>;

    /// The range of older records that a peer is sent next from.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn next_backfill(&self, peer: &NodeId) -> Result<Option<BackfillRow>, StoreError>;

    /// The ranges of older records that are sent, and those that ended lately.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn backfills(&self) -> Result<Vec<BackfillRow>, StoreError>;

    /// Records that are not tried again, the newest end first; bounded.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn undelivered(&self, now: Timestamp) -> Result<Vec<UndeliveredRow>, StoreError>;

    /// The newest disclosure of this record to this peer.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn disclosure(
        &self,
        record: &RecordId,
        peer: &NodeId,
    ) -> Result<Option<DisclosureRow>, StoreError>;

    /// The newest disclosure to each peer: of one record, or of all.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn disclosures(&self, record: Option<&RecordId>) -> Result<Vec<DisclosureRow>, StoreError>;

    /// The newest disclosure to this peer of each of these records that has one. Each record is
    /// named with its number in the log, as [`Store::outbox`] gives it; a record that was logged
    /// once and not disclosed since costs nothing of its own.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn disclosures_to(
        &self,
        peer: &NodeId,
        lane: Lane,
        entries: &[(u64, RecordId)],
    ) -> Result<Vec<DisclosureRow>, StoreError>;

    /// Every decision on this record for this peer, a row for each form, the oldest first: what
    /// was disclosed once stays in it, whatever is decided later.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn disclosure_history(
        &self,
        record: &RecordId,
        peer: &NodeId,
    ) -> Result<Vec<DisclosureRow>, StoreError>;

    /// The peer's signed receipt behind its newest answer on this record.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn receipt(&self, record: &RecordId, peer: &NodeId) -> Result<Option<ReceiptRow>, StoreError>;

    /// Items that wait for a person's decision, the oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn held_items(&self) -> Result<Vec<HeldItem>, StoreError>;

    /// Items that failed verification, the newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn bad_items(&self) -> Result<Vec<BadItemRow>, StoreError>;

    /// An item that failed verification, as it came.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn bad_item(&self, n: i64) -> Result<Option<SealedRecord>, StoreError>;

    /// How much is kept beside the records.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn aside(&self) -> Result<Aside, StoreError>;

    /// When the next item that waits for a person waits no longer.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn next_held_end(&self) -> Result<Option<Timestamp>, StoreError>;

    /// What peers delivered and was answered: of one record, or of all.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn arrivals(&self, record: Option<&RecordId>) -> Result<Vec<ArrivalRow>, StoreError>;

    /// One record in the form held.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn record(&self, id: &RecordId) -> Result<Option<HeldRecord>, StoreError>;

    /// The ids in the log that begin with these hexadecimal characters, ascending, at most `limit`;
    /// those of withdrawn records as well, for what was said of them can be asked for.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn ids_with_prefix(&self, prefix: &str, limit: u32) -> Result<Vec<RecordId>, StoreError>;

    /// Records, the newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn records(&self, filter: &RecordFilter) -> Result<Vec<HeldRecord>, StoreError>;

    /// Records with this very selector: found by its keyed hash, or, if the kind has too few
    /// values for one, by reading every subject.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn records_about(&self, kind: SelectorKind, value: &str)
    -> Result<Vec<HeldRecord>, StoreError>;

    /// The newest number of the log, to wait for something newer.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn log_end(&self) -> Result<u64, StoreError>;

    /// Every epoch of the register that was applied, ascending.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn registers(&self) -> Result<Vec<SignedRegister>, StoreError>;

    /// The facts about trust that were kept, by kind and subject.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn facts(&self) -> Result<Vec<FactRow>, StoreError>;

    /// The persons enrolled.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn persons(&self) -> Result<Vec<PersonRow>, StoreError>;

    /// Whether a statement with this digest was carried out before: a replay is refused.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn act_seen(&self, statement: &SignedStatement) -> Result<bool, StoreError>;

    /// Consignments: those that arrive, or the history; ascending by reference.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn consignments(&self, stage: Stage) -> Result<Vec<ConsignmentRow>, StoreError>;

    /// One consignment.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn consignment(&self, reference: &str) -> Result<Option<ConsignmentRow>, StoreError>;

    /// Arriving consignments with this very identifier; found as [`Store::records_about`] does.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn consignments_with(
        &self,
        kind: SelectorKind,
        value: &str,
    ) -> Result<Vec<ConsignmentRow>, StoreError>;

    /// Those of these records that may concern an arriving consignment: it is named by a
    /// selector of theirs, or they name something that is found by reading everything.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn touching(&self, records: &[RecordId]) -> Result<Vec<RecordId>, StoreError>;

    /// The newest score of a consignment.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn score(&self, reference: &str) -> Result<Option<ScoreRow>, StoreError>;

    /// Scores, the highest first, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn scores(&self, limit: u32) -> Result<Vec<ScoreRow>, StoreError>;

    /// What is known of the channel to or from a peer, ascending by record: each record once,
    /// with all of its forms that were admitted. A record that either side withdrew has no form;
    /// one that was answered and is held no more is not listed, and neither is one that the peer
    /// is known to have lost.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn channel(
        &self,
        peer: &NodeId,
        side: ChannelSide,
        page: &ChannelPage,
    ) -> Result<Vec<Entry>, StoreError>;

    /// How many records this peer lost that are being sent again.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn owed(&self, peer: &NodeId) -> Result<u64, StoreError>;

    /// How many disclosures the ledger tells of because this peer said so.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn learned(&self, peer: &NodeId) -> Result<u64, StoreError>;

    /// When the channel to each peer was compared last, by peer.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn reconciliations(&self) -> Result<Vec<ReconciliationRow>, StoreError>;

    /// When the backup was made that this node was restored from last; `None`: never.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn backup_restored(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Events, the newest first, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn events(&self, limit: u32) -> Result<Vec<Event>, StoreError>;
}

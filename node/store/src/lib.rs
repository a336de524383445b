//! The store of a node, in the domain's terms.
//!
//! ```text
//! writer task ──commit([Write, …])──▶ Store ──▶ one durable transaction, then the answers
//! everyone else ──queries──────────▶ Store ──▶ a consistent read of what is durable
//! ```
//!
//! The store takes only verified records and keeps every section under a key of its own. It gives a
//! record out only as a [`HeldRecord`], which its reader verifies again: a flipped bit on disk is
//! found when the record is read. A final answer to a peer is kept, and the same answer is given
//! again.
//!
//! Failure cases: a failed commit leaves nothing behind and is reported to every writer in the
//! group. A failed fsync ends the process (docs/design.md, Store), because the state on disk is unknown then.

pub mod apart;
mod consignments;
mod error;
mod excerpt;
mod facts;
pub mod niceness;
pub mod room;
mod rows;
pub mod write;
pub mod writer;

pub use consignments::{
    CONSIGNMENTS_A_PAGE, ConsignmentPage, ConsignmentPlace, ConsignmentRanking, ConsignmentRow,
    ConsignmentStage, ConsignmentsOf, RankedConsignment, ReferencePage, ScoreRow,
};
pub use error::StoreError;
pub use excerpt::{Came, ExcerptPage, ExcerptsOf, HeldExcerpt};
pub use facts::{Fact, FactKind, FactRow};
pub use rows::{
    ActRow, ArrivalRow, Aside, BackfillRow, BadItemRow, ChannelPage, ChannelSide, DamageRow,
    Damaged, DecisionNote, DisclosureRow, DisclosureState, DispatchPosition, ExceptionRow, ForkRow,
    Found, HELD_LIFE_MS, HeldItem, HeldKey, HeldRecord, LogEntry, Logged, PAGE_BYTES, PersonRow,
    ReceiptRow, ReconciliationRow, RecordFilter, Relay, Span, UndeliveredRow, ends_page, weight,
};
pub use write::{
    Act, ActAnswer, ActOutcome, Awaiting, Backfill, BackfillMove, BadItem, CancelBackfills,
    Effects, GiveBack, HeldDecision, Intake, IntakeItem, Intend, Judgement, LedgerEntry,
    NewGeneration, NodeEvent, Part, Repair, Retry, Settle, Write, Written,
};

use std::collections::BTreeSet;

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

/// A node's store.
pub trait Store: Send + Sync {
    /// Takes jobs from `next` until it returns none, and makes all of them durable in one
    /// transaction. Returns the result of each job, in order. A job that fails leaves nothing
    /// behind and does not touch the others; a failed commit fails them all.
    fn commit_group(
        &self,
        next: &mut dyn FnMut() -> Option<Vec<Write>>,
    ) -> Vec<Result<Vec<Written>, StoreError>>;

    /// Makes all of the writes durable in one transaction, and returns their results in order.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; nothing was written in that case.
    fn commit(&self, writes: Vec<Write>) -> Result<Vec<Written>, StoreError> {
        let mut job = Some(writes);
        self.commit_group(&mut || job.take())
            .pop()
            .unwrap_or(Err(StoreError::Stopped))
    }

    /// Returns the generation in which this store's sequence numbers count now.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn generation(&self) -> Result<Generation, StoreError>;

    /// Returns the entries of the log in this lane after `cursor`, ascending, at most `limit`, and no
    /// more once [`ends_page`] is true of them. Only
    /// records that this node may pass on are listed: its own, and with [`Relay::Others`] those of
    /// others too.
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

    /// Counts the log entries after `cursor` in this lane, as [`Store::outbox`] lists them.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn behind(&self, lane: Lane, relay: Relay, cursor: u64) -> Result<u64, StoreError>;

    /// Returns the time since which the first log entry after `cursor` in this lane waits, of those
    /// that [`Store::outbox`] lists; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn waits_since(
        &self,
        lane: Lane,
        relay: Relay,
        cursor: u64,
    ) -> Result<Option<Timestamp>, StoreError> {
        let first = self.outbox(lane, relay, cursor, 1)?;
        Ok(first.first().map(|entry| entry.logged.since()))
    }

    /// Returns the generations that this node has left, or was shown as left, the oldest first; the
    /// newest ones are kept.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn left_generations(&self) -> Result<Vec<Generation>, StoreError>;

    /// Returns the dispatch position of this peer in this lane.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn position(&self, peer: &NodeId, lane: Lane) -> Result<DispatchPosition, StoreError>;

    /// Returns the forks found in what peers send, the oldest first. The number kept of each peer
    /// is bounded.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn forks(&self) -> Result<Vec<ForkRow>, StoreError>;

    /// Returns the records whose delivery to this peer is due for another attempt, at most `limit`.
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

    /// Returns the time at which the next exception of this peer and lane falls due. Exceptions
    /// that have ended by `now` do not count.
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

    /// Counts the records that wait for another attempt, by peer, lane and the peer's latest
    /// answer.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn exceptions(&self, now: Timestamp) -> Result<Vec<ExceptionRow>, StoreError>;

    /// Returns the places in this lane of the log that hold records received at or after `since`
    /// and before `until`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn span(&self, lane: Lane, since: Timestamp, until: Timestamp) -> Result<Span, StoreError>;

    /// Returns the range of older records from which this peer is sent next.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn next_backfill(&self, peer: &NodeId) -> Result<Option<BackfillRow>, StoreError>;

    /// Returns the ranges of older records that are being sent, and those that ended lately.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn backfills(&self) -> Result<Vec<BackfillRow>, StoreError>;

    /// Returns the records that are no longer retried, the latest end first; bounded.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn undelivered(&self, now: Timestamp) -> Result<Vec<UndeliveredRow>, StoreError>;

    /// Returns the newest disclosure of this record to this peer.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn disclosure(
        &self,
        record: &RecordId,
        peer: &NodeId,
    ) -> Result<Option<DisclosureRow>, StoreError>;

    /// Returns the newest disclosure to each peer, of one record or of all.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn disclosures(&self, record: Option<&RecordId>) -> Result<Vec<DisclosureRow>, StoreError>;

    /// Returns the newest disclosure to this peer of each of these records that has one. Each
    /// record is named with its number in the log, as [`Store::outbox`] gives it. A record that was
    /// logged once and not disclosed since costs no lookup of its own. The lane in which a record was
    /// disclosed does not matter.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn disclosures_to(
        &self,
        peer: &NodeId,
        entries: &[(u64, RecordId)],
    ) -> Result<Vec<DisclosureRow>, StoreError>;

    /// Returns every decision on this record for this peer, one row for each form, the oldest
    /// first. An earlier disclosure stays in the list, whatever is decided later.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn disclosure_history(
        &self,
        record: &RecordId,
        peer: &NodeId,
    ) -> Result<Vec<DisclosureRow>, StoreError>;

    /// Returns the peer's signed receipt behind its newest answer on this record.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn receipt(&self, record: &RecordId, peer: &NodeId) -> Result<Option<ReceiptRow>, StoreError>;

    /// Returns the keys of the items that wait for a person after the one with this number, the
    /// oldest first, at most `limit`. Nothing is opened, so that damaged items are among them.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn held_keys(&self, after: Option<i64>, limit: u32) -> Result<Vec<HeldKey>, StoreError>;

    /// Returns the keys of items whose wait is over by `now`, at most `limit`. Nothing is opened.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn held_over(&self, now: Timestamp, limit: u32) -> Result<Vec<HeldKey>, StoreError>;

    /// Returns the key of an item, if it waits. Nothing is opened.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn held_key(
        &self,
        record: &RecordId,
        peer: &NodeId,
        form: Form,
    ) -> Result<Option<HeldKey>, StoreError>;

    /// Returns the item with this key; `None` if it does not wait, or if it is damaged.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn held_item(&self, key: &HeldKey) -> Result<Option<HeldItem>, StoreError>;

    /// Returns the stored things that were found damaged since the store was opened; bounded. Lists
    /// leave them out.
    fn damaged(&self) -> Vec<DamageRow> {
        Vec::new()
    }

    /// Checks one part of everything that is kept: the parts have numbers from 0. Damage is found
    /// again in [`Store::damaged`]. Returns the name of the part; `None` after the last.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the part cannot be read.
    fn scrub(&self, _part: usize) -> Result<Option<&'static str>, StoreError> {
        Ok(None)
    }

    /// Builds the indexes anew that were found not to say what their tables say. Returns those that are
    /// sound now, each with what was found.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if they cannot be written.
    fn mend_indexes(&self) -> Result<Vec<DamageRow>, StoreError> {
        Ok(Vec::new())
    }

    /// Returns true if whoever had the store open before did not close it.
    fn stopped_uncleanly(&self) -> bool {
        false
    }

    /// Returns the items that failed verification, the newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn bad_items(&self) -> Result<Vec<BadItemRow>, StoreError>;

    /// Returns an item that failed verification, exactly as it arrived.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn bad_item(&self, n: i64) -> Result<Option<SealedRecord>, StoreError>;

    /// Counts the items kept outside the record log.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn aside(&self) -> Result<Aside, StoreError>;

    /// Returns the time at which the next held item stops waiting for a person.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn next_held_end(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Returns the deliveries of peers with the answers they were given, of one record or of all.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn arrivals(&self, record: Option<&RecordId>) -> Result<Vec<ArrivalRow>, StoreError>;

    /// Returns one record in the form held.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn record(&self, id: &RecordId) -> Result<Option<HeldRecord>, StoreError>;

    /// Returns the record ids in the log that begin with these hexadecimal characters, ascending,
    /// at most `limit`. Ids of withdrawn records are included, since their ledger entries can still
    /// be asked for.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn ids_with_prefix(&self, prefix: &str, limit: u32) -> Result<Vec<RecordId>, StoreError>;

    /// Returns the record ids in the log after this one, or from the first, ascending, at most
    /// `limit`. An empty page is the end. Ids of withdrawn records are included.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn ids_after(&self, after: Option<&RecordId>, limit: u32) -> Result<Vec<RecordId>, StoreError>;

    /// Returns the records that the filter selects, the newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn records(&self, filter: &RecordFilter) -> Result<Vec<HeldRecord>, StoreError>;

    /// Returns the records with exactly this selector. They are found by its keyed hash or, if the
    /// kind has too few values for one, by reading every subject.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn records_about(&self, kind: SelectorKind, value: &str)
    -> Result<Vec<HeldRecord>, StoreError>;

    /// Returns excerpts of the records that `of` selects, the newest first, each with the sections
    /// of these tags. The page goes on from `from`, the `next` of the page before it.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn excerpts(
        &self,
        of: ExcerptsOf<'_>,
        tags: &[SectionTag],
        from: Option<i64>,
    ) -> Result<ExcerptPage, StoreError> {
        self.excerpts_but(&BTreeSet::new(), of, tags, from)
    }

    /// Returns excerpts as [`Store::excerpts`] does, but for the records of some origins: those are
    /// counted on their page, and nothing of them is opened.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn excerpts_but(
        &self,
        left_out: &BTreeSet<AuthorityId>,
        of: ExcerptsOf<'_>,
        tags: &[SectionTag],
        from: Option<i64>,
    ) -> Result<ExcerptPage, StoreError>;

    /// Counts the records of this kind, or of any, that came here in this time and are not withdrawn.
    /// Nothing is opened, so that records which do not verify are among them.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn count(&self, kind: Option<Kind>, came: Came) -> Result<u64, StoreError>;

    /// Returns an excerpt of one record with the sections of these tags.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn excerpt(
        &self,
        id: &RecordId,
        tags: &[SectionTag],
    ) -> Result<Option<HeldExcerpt>, StoreError>;

    /// Returns the newest number of the log, so that the caller can wait for a newer one.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn log_end(&self) -> Result<u64, StoreError>;

    /// Returns every epoch of the register that was applied, ascending.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn registers(&self) -> Result<Vec<SignedRegister>, StoreError>;

    /// Returns the facts about trust that are kept, by kind and subject.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn facts(&self) -> Result<Vec<FactRow>, StoreError>;

    /// Returns the enrolled persons.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn persons(&self) -> Result<Vec<PersonRow>, StoreError>;

    /// Returns the statements of the acts about persons (`enrol` and `person-…`), in the order in
    /// which they were carried out. Nothing is verified.
    ///
    /// # Errors
    ///
    /// [`StoreError`], also for a statement that cannot be read: one that is left out might be the
    /// end of a person.
    fn acts_about_persons(&self) -> Result<Vec<SignedStatement>, StoreError>;

    /// Returns the statements of the acts with this name that were carried out to their end, in the
    /// order in which they were logged. Nothing is verified.
    ///
    /// # Errors
    ///
    /// [`StoreError`], also for a statement that cannot be read.
    fn acts_done(&self, action: &str) -> Result<Vec<SignedStatement>, StoreError>;

    /// Returns true if this statement was carried out before: a replay is refused.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn act_seen(&self, statement: &SignedStatement) -> Result<bool, StoreError>;

    /// Returns the answer that is kept of an act that was done.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn act_answer(&self, statement: &SignedStatement) -> Result<Option<Vec<u8>>, StoreError>;

    /// Returns some consignments of this stage, at most [`CONSIGNMENTS_A_PAGE`], from a place on. One that is
    /// kept before the first page is read and until the last, replaced or not, is on exactly one page.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn consignment_page(
        &self,
        stage: ConsignmentStage,
        from: ConsignmentPlace,
    ) -> Result<ConsignmentPage, StoreError>;

    /// Returns the references of some of the chosen consignments, as [`Store::consignment_page`]. None is
    /// opened, so that damaged ones are among them.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn consignment_references(
        &self,
        of: &ConsignmentsOf,
        from: ConsignmentPlace,
    ) -> Result<ReferencePage, StoreError>;

    /// Hands every consignment of this stage to `visit`, in the store's order. No more than a page of them is
    /// in memory.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn each_consignment(
        &self,
        stage: ConsignmentStage,
        visit: &mut dyn FnMut(ConsignmentRow),
    ) -> Result<(), StoreError> {
        let mut from = Some(ConsignmentPlace::default());
        while let Some(place) = from {
            let page = self.consignment_page(stage, place)?;
            page.rows.into_iter().for_each(&mut *visit);
            from = page.next;
        }
        Ok(())
    }

    /// Returns every consignment of this stage, ascending by reference.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn consignments(&self, stage: ConsignmentStage) -> Result<Vec<ConsignmentRow>, StoreError> {
        let mut rows = Vec::new();
        self.each_consignment(stage, &mut |row| rows.push(row))?;
        rows.sort_unstable_by(|one, other| one.reference.cmp(&other.reference));
        Ok(rows)
    }

    /// Returns the consignment with this reference.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn consignment(&self, reference: &str) -> Result<Option<ConsignmentRow>, StoreError>;

    /// Returns the arriving consignments with exactly this identifier, found as in
    /// [`Store::records_about`].
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn consignments_with(
        &self,
        kind: SelectorKind,
        value: &str,
    ) -> Result<Vec<ConsignmentRow>, StoreError>;

    /// Returns those of `records` that may concern an arriving consignment. Such a record names the
    /// consignment by a selector, or names a selector that is only found by reading everything.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn touching(&self, records: &[RecordId]) -> Result<Vec<RecordId>, StoreError>;

    /// Returns the newest score of a consignment.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn score(&self, reference: &str) -> Result<Option<ScoreRow>, StoreError>;

    /// Returns the chosen consignments by their scores, at most `limit`, and counts them all. None is
    /// opened but for its reference and points.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn consignment_ranking(
        &self,
        of: &ConsignmentsOf,
        limit: u32,
    ) -> Result<ConsignmentRanking, StoreError>;

    /// Returns the scores, the highest first, at most `limit`, whatever became of the consignments.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn scores(&self, limit: u32) -> Result<Vec<ScoreRow>, StoreError>;

    /// Returns the entries known of the channel to or from a peer, ascending by record. Each record
    /// is listed once, with all of its forms that were admitted.
    ///
    /// A record that either side withdrew has an empty form. A record that was answered and is no
    /// longer held is not listed; neither is one that the peer is known to have lost.
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

    /// Counts the records that this peer lost and that are being sent again.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn owed(&self, peer: &NodeId) -> Result<u64, StoreError>;

    /// Counts the disclosures that the ledger holds because this peer reported them.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn learned(&self, peer: &NodeId) -> Result<u64, StoreError>;

    /// Returns the latest comparison of the channel to each peer, ordered by peer.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn reconciliations(&self) -> Result<Vec<ReconciliationRow>, StoreError>;

    /// Returns the time of the backup from which this node was last restored; `None` if it never
    /// was.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn backup_restored(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Returns the events, the newest first, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn events(&self, limit: u32) -> Result<Vec<NodeEvent>, StoreError> {
        let rows = self.events_before(None, limit)?;
        Ok(rows.into_iter().map(|(_, event)| event).collect())
    }

    /// Returns the events with a smaller number than `before`, or the newest, each with its number,
    /// the newest first, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn events_before(
        &self,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<(i64, NodeEvent)>, StoreError>;

    /// Returns the acts with a smaller number than `before`, or the newest, the newest first, at
    /// most `limit`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn acts(&self, before: Option<i64>, limit: u32) -> Result<Vec<ActRow>, StoreError>;
}

//! The independent model of the store: the contract of [`Store`] in maps, without a disk.
//!
//! It is written from the trait's documentation and the conformance suite, so that it can be
//! compared with the SQLite store. A commit has two halves, as on a disk: [`ModelStore::prepare`]
//! works out the next state of the disk, and [`ModelStore::install`] makes it the one that is read.
//! A crash may lose a state that was prepared and not installed.
//!
//! It encrypts nothing and checks no bytes: that is left to the SQLite store.

mod channel;
mod dispatch;
mod intake;
mod office;
mod position;
pub mod state;

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use portcullis_protocol::{
    body::{Body, SelectorKind},
    frame::{Generation, Lane},
    identifiers::{AuthorityId, NodeId},
    reconcile::Entry,
    record::{Form, Kind, RecordId, SectionTag},
    register::SignedRegister,
    seal::SealedRecord,
    statement::SignedStatement,
    time::Timestamp,
};
use portcullis_store::{
    ActRow, ArrivalRow, Aside, BackfillRow, BadItemRow, Came, ChannelPage, ChannelSide,
    ConsignmentPage, ConsignmentPlace, ConsignmentRanking, ConsignmentRow, ConsignmentStage,
    ConsignmentsOf, DisclosureRow, DispatchPosition, ExceptionRow, ExcerptPage, ExcerptsOf,
    FactRow, ForkRow, HeldExcerpt, HeldItem, HeldKey, HeldRecord, LogEntry, Logged, NodeEvent,
    PersonRow, ReceiptRow, ReconciliationRow, RecordFilter, ReferencePage, Relay, ScoreRow, Span,
    Store, StoreError, UndeliveredRow, Write, Written,
};

pub use channel::Note;
pub use dispatch::EXCEPTION_LIFE_MS;
pub use state::{Kept, LogLine, State, lane_of};

use super::mutant::Mutant;

/// The result of one job.
pub type Reply = Result<Vec<Written>, StoreError>;

/// A store in memory.
#[derive(Debug)]
pub struct ModelStore {
    /// State of the disk, which all reads see. The lock is held while it is read or copied.
    durable: Mutex<State>,
    mutant: Option<Mutant>,
    /// Most entries that one page of the outbox lists.
    page: u32,
}

impl ModelStore {
    /// Returns an empty store in this generation.
    #[must_use]
    pub fn new(generation: Generation) -> Self {
        Self::holding(State::new(generation), None, u32::MAX)
    }

    /// Returns a store with this state, a planted fault if any, and this many entries on a page of
    /// its outbox.
    #[must_use]
    pub const fn holding(state: State, mutant: Option<Mutant>, page: u32) -> Self {
        Self {
            durable: Mutex::new(state),
            mutant,
            page,
        }
    }

    /// Returns the records of this kind, or of any, that came in this time.
    fn came(&self, kind: Option<Kind>, came: Came) -> Result<Vec<HeldRecord>, StoreError> {
        let mut held = self.records(&RecordFilter {
            kind,
            ..RecordFilter::default()
        })?;
        held.retain(|held| came.contains(held.received_at));
        Ok(held)
    }

    /// Returns the state of the disk.
    #[must_use]
    pub fn durable(&self) -> State {
        self.lock().clone()
    }

    /// Works out the state of the disk after these jobs, and the reply to each.
    pub fn prepare(&self, next: &mut dyn FnMut() -> Option<Vec<Write>>) -> (State, Vec<Reply>) {
        let mut state = self.durable();
        let mut replies = Vec::new();
        while let Some(job) = next() {
            let mut changed = state.clone();
            let reply = changed.job(job, self.mutant);
            if reply.is_ok() {
                state = changed;
            }
            replies.push(reply);
        }
        (state, replies)
    }

    /// Installs a state as that of the disk.
    pub fn install(&self, state: State) {
        *self.lock() = state;
    }

    /// Erases a record and leaves a tombstone, so that it is never admitted again.
    pub fn withdraw(&self, record: RecordId) {
        self.lock().withdraw(record);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, query: impl FnOnce(&State) -> T) -> Result<T, StoreError> {
        Ok(query(&self.lock()))
    }
}

impl State {
    /// Carries out a job. If it fails, the changed state must be discarded.
    fn job(&mut self, writes: Vec<Write>, mutant: Option<Mutant>) -> Reply {
        let answers: Vec<_> = writes.iter().filter_map(office::answered).collect();
        let written = writes
            .into_iter()
            .map(|write| self.write(write, mutant))
            .collect::<Result<Vec<_>, _>>()?;
        self.keep_answers(&answers, &written);
        Ok(written)
    }

    fn write(&mut self, write: Write, mutant: Option<Mutant>) -> Result<Written, StoreError> {
        match write {
            Write::Publish { records, now } => self.publish(records, now),
            Write::Intake(intake) => return self.arrive(intake, mutant),
            Write::Intend(intend) => self.intend(intend),
            Write::Settle(settle) => self.settle(settle, mutant),
            Write::Register(register) => self.register(register)?,
            Write::Act(act) => self.act(act)?,
            Write::Consignments(rows) => self.keep_consignments(rows),
            Write::Scores(rows) => self.keep_scores(rows),
            Write::RemoveConsignments(names) => self.remove_consignments(&names),
            Write::Event(event) => self.event(event),
            Write::StartGeneration(new) => self.start_generation(new),
            Write::Fact(fact) => self.keep_fact(fact),
            // The model does not keep items that failed verification.
            Write::Quarantine(_) => {}
            Write::Meet(_)
            | Write::Backfill(_)
            | Write::CancelBackfills(_)
            | Write::Retry(_)
            | Write::ActOutcome(_)
            | Write::DropBad(_) => {
                return Err(StoreError::Fault("no person acts in the model"));
            }
            Write::Decide(decision) => return self.decide_held(decision, mutant),
            Write::AnswersReady { peer, now } => self.answers_ready(&peer, now),
            Write::Repair(repair) => self.repair(repair),
            Write::GiveBack(back) => self.give_back(back),
            Write::Withdraw {
                records,
                outcome: _,
                at: _,
            } => {
                for record in records {
                    self.withdraw(record);
                    self.end_everywhere(record);
                }
            }
            Write::Reconciled(row) => self.reconciled(row),
            Write::Recover { records, now } => self.recover(records, now),
        }
        Ok(Written::Done)
    }
}

impl Store for ModelStore {
    fn commit_group(&self, next: &mut dyn FnMut() -> Option<Vec<Write>>) -> Vec<Reply> {
        let (state, replies) = self.prepare(next);
        self.install(state);
        replies
    }

    fn generation(&self) -> Result<Generation, StoreError> {
        self.read(|state| state.generation)
    }

    fn outbox(
        &self,
        lane: Lane,
        relay: Relay,
        cursor: u64,
        limit: u32,
    ) -> Result<Vec<LogEntry>, StoreError> {
        self.read(|state| {
            let passes = |line: &&LogLine| {
                line.lane == lane && line.sequence > cursor && (line.own || relay == Relay::Others)
            };
            let lines = state.log.iter().filter(passes);
            // Erased records are not listed and do not count.
            let entries = lines.filter_map(|line| {
                Some(LogEntry {
                    sequence: line.sequence,
                    logged: Logged::Stored(state.held_record(&line.record)?),
                })
            });
            entries
                .take(usize::try_from(limit.min(self.page)).unwrap_or(usize::MAX))
                .collect()
        })
    }

    fn behind(&self, lane: Lane, relay: Relay, cursor: u64) -> Result<u64, StoreError> {
        self.read(|state| {
            let after = state.log.iter().filter(|line| {
                let listed = line.own || relay == Relay::Others;
                line.lane == lane && line.sequence > cursor && listed
            });
            after
                .filter(|line| state.records.contains_key(&line.record))
                .count() as u64
        })
    }

    fn left_generations(&self) -> Result<Vec<Generation>, StoreError> {
        self.read(|state| state.own_left.to_vec())
    }

    fn position(&self, peer: &NodeId, lane: Lane) -> Result<DispatchPosition, StoreError> {
        self.read(|state| state.position(peer, lane))
    }

    fn forks(&self) -> Result<Vec<ForkRow>, StoreError> {
        self.read(|state| state.forks.to_vec())
    }

    fn due(
        &self,
        peer: &NodeId,
        lane: Lane,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<HeldRecord>, StoreError> {
        let mutant = self.mutant;
        self.read(|state| state.due(peer, lane, now, limit, mutant))
    }

    fn next_due(
        &self,
        peer: &NodeId,
        lane: Lane,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let mutant = self.mutant;
        self.read(|state| state.next_due(peer, lane, now, mutant))
    }

    fn exceptions(&self, now: Timestamp) -> Result<Vec<ExceptionRow>, StoreError> {
        self.read(|state| state.exceptions_by(now))
    }

    /// The model has no backfills.
    fn span(&self, _: Lane, _: Timestamp, _: Timestamp) -> Result<Span, StoreError> {
        Ok(Span { after: 0, last: 0 })
    }

    fn next_backfill(&self, _: &NodeId) -> Result<Option<BackfillRow>, StoreError> {
        Ok(None)
    }

    fn backfills(&self) -> Result<Vec<BackfillRow>, StoreError> {
        Ok(Vec::new())
    }

    fn undelivered(&self, now: Timestamp) -> Result<Vec<UndeliveredRow>, StoreError> {
        self.read(|state| state.undelivered_by(now))
    }

    fn disclosure(
        &self,
        record: &RecordId,
        peer: &NodeId,
    ) -> Result<Option<DisclosureRow>, StoreError> {
        self.read(|state| {
            state
                .ledger(record, peer)
                .last()
                .map(|line| line.row.clone())
        })
    }

    fn disclosures(&self, record: Option<&RecordId>) -> Result<Vec<DisclosureRow>, StoreError> {
        self.read(|state| {
            state
                .ledger
                .iter()
                .filter(|((of, _), _)| record.is_none_or(|record| record == of))
                .filter_map(|(_, lines)| lines.last().map(|line| line.row.clone()))
                .collect()
        })
    }

    fn disclosures_to(
        &self,
        peer: &NodeId,
        entries: &[(u64, RecordId)],
    ) -> Result<Vec<DisclosureRow>, StoreError> {
        self.read(|state| {
            entries
                .iter()
                .filter_map(|(_, record)| state.ledger(record, peer).last())
                .map(|line| line.row.clone())
                .collect()
        })
    }

    fn disclosure_history(
        &self,
        record: &RecordId,
        peer: &NodeId,
    ) -> Result<Vec<DisclosureRow>, StoreError> {
        self.read(|state| {
            let lines = state.ledger(record, peer).iter();
            lines.map(|line| line.row.clone()).collect()
        })
    }

    fn receipt(&self, record: &RecordId, peer: &NodeId) -> Result<Option<ReceiptRow>, StoreError> {
        self.read(|state| {
            let mut lines = state.ledger(record, peer).iter().rev();
            lines.find_map(|line| line.receipt.as_deref()).cloned()
        })
    }

    fn held_keys(&self, after: Option<i64>, limit: u32) -> Result<Vec<HeldKey>, StoreError> {
        self.read(|state| {
            let keys = state.held_keys().into_iter();
            keys.filter(|key| after.is_none_or(|after| key.n > after))
                .take(usize::try_from(limit).unwrap_or(usize::MAX))
                .collect()
        })
    }

    fn held_over(&self, now: Timestamp, limit: u32) -> Result<Vec<HeldKey>, StoreError> {
        self.read(|state| {
            let mut keys = state.held_keys();
            keys.retain(|key| key.ends_at <= now);
            keys.sort_by_key(|key| key.ends_at);
            keys.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            keys
        })
    }

    fn held_key(
        &self,
        record: &RecordId,
        peer: &NodeId,
        form: Form,
    ) -> Result<Option<HeldKey>, StoreError> {
        self.read(|state| {
            let mut keys = state.held_keys().into_iter();
            keys.find(|key| key.record == *record && key.peer == *peer && key.form == form)
        })
    }

    fn held_item(&self, key: &HeldKey) -> Result<Option<HeldItem>, StoreError> {
        self.read(|state| {
            let mut items = state.held.iter();
            let item = items.find(|item| {
                item.sealed.id() == key.record && item.peer == key.peer && item.form == key.form
            });
            item.map(|item| (**item).clone())
        })
    }

    fn bad_items(&self) -> Result<Vec<BadItemRow>, StoreError> {
        Ok(Vec::new())
    }

    fn bad_item(&self, _: i64) -> Result<Option<SealedRecord>, StoreError> {
        Ok(None)
    }

    fn aside(&self) -> Result<Aside, StoreError> {
        self.read(|state| Aside {
            held: state.held.len() as u64,
            quarantined: 0,
        })
    }

    fn next_held_end(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|state| state.held.iter().map(|item| item.ends_at).min())
    }

    fn arrivals(&self, record: Option<&RecordId>) -> Result<Vec<ArrivalRow>, StoreError> {
        self.read(|state| {
            let rows = state.arrivals.iter();
            let asked = rows.filter(|((of, _, _), _)| record.is_none_or(|record| record == of));
            asked.map(|(_, row)| (**row).clone()).collect()
        })
    }

    fn record(&self, id: &RecordId) -> Result<Option<HeldRecord>, StoreError> {
        self.read(|state| state.held_record(id))
    }

    fn ids_with_prefix(&self, prefix: &str, limit: u32) -> Result<Vec<RecordId>, StoreError> {
        let prefix = prefix.to_ascii_lowercase();
        self.read(|state| {
            // Records withdrawn since were in the log as well.
            let logged: BTreeSet<RecordId> = state.log.iter().map(|line| line.record).collect();
            let found = logged
                .into_iter()
                .filter(|id| id.to_string().starts_with(&prefix));
            found
                .take(usize::try_from(limit).unwrap_or(usize::MAX))
                .collect()
        })
    }

    fn ids_after(&self, after: Option<&RecordId>, limit: u32) -> Result<Vec<RecordId>, StoreError> {
        self.read(|state| {
            let logged: BTreeSet<RecordId> = state.log.iter().map(|line| line.record).collect();
            let later = logged
                .into_iter()
                .filter(|id| after.is_none_or(|after| id > after));
            later
                .take(usize::try_from(limit).unwrap_or(usize::MAX))
                .collect()
        })
    }

    fn records(&self, filter: &RecordFilter) -> Result<Vec<HeldRecord>, StoreError> {
        let RecordFilter {
            kind,
            origin,
            limit,
        } = filter;
        self.read(|state| {
            let mut found = state.newest_first(|kept| {
                let header = kept.record.header();
                kind.is_none_or(|kind| header.kind == kind)
                    && origin
                        .as_ref()
                        .is_none_or(|origin| header.origin == *origin)
            });
            if let Some(limit) = limit {
                found.truncate(usize::try_from(*limit).unwrap_or(usize::MAX));
            }
            found
        })
    }

    fn records_about(
        &self,
        kind: SelectorKind,
        value: &str,
    ) -> Result<Vec<HeldRecord>, StoreError> {
        self.read(|state| {
            state.newest_first(|kept| match kept.record.body(SectionTag::Subject) {
                Some(Body::Subject(subject)) => subject
                    .selectors
                    .iter()
                    .any(|selector| selector.kind() == kind && selector.value() == value),
                Some(_) | None => false,
            })
        })
    }

    /// Returns everything on one page.
    fn excerpts_but(
        &self,
        left_out: &BTreeSet<AuthorityId>,
        of: ExcerptsOf<'_>,
        tags: &[SectionTag],
        _: Option<i64>,
    ) -> Result<ExcerptPage, StoreError> {
        let held = match of {
            ExcerptsOf::Kind(kind) => self.records(&RecordFilter {
                kind: Some(kind),
                ..RecordFilter::default()
            }),
            ExcerptsOf::Any => self.records(&RecordFilter::default()),
            ExcerptsOf::Selector(kind, value) => self.records_about(kind, value),
            ExcerptsOf::Came(kind, came) => self.came(kind, came),
        }?;
        let mut page = ExcerptPage::default();
        for held in held {
            let origin = held.sealed.claimed_origin();
            match origin.filter(|origin| left_out.contains(origin)) {
                Some(origin) => page.leave_out(origin),
                None => page.add(HeldExcerpt::of(&held, tags)),
            }
        }
        Ok(page)
    }

    fn count(&self, kind: Option<Kind>, came: Came) -> Result<u64, StoreError> {
        Ok(self.came(kind, came)?.len() as u64)
    }

    fn excerpt(
        &self,
        id: &RecordId,
        tags: &[SectionTag],
    ) -> Result<Option<HeldExcerpt>, StoreError> {
        let held = self.record(id)?;
        Ok(held.map(|held| HeldExcerpt::of(&held, tags)))
    }

    fn log_end(&self) -> Result<u64, StoreError> {
        self.read(|state| state.log.last().map_or(0, |line| line.sequence))
    }

    fn registers(&self) -> Result<Vec<SignedRegister>, StoreError> {
        self.read(|state| state.registers.to_vec())
    }

    fn facts(&self) -> Result<Vec<FactRow>, StoreError> {
        self.read(|state| state.facts.values().cloned().collect())
    }

    fn persons(&self) -> Result<Vec<PersonRow>, StoreError> {
        self.read(|state| state.persons.values().cloned().collect())
    }

    fn acts_done(&self, _: &str) -> Result<Vec<SignedStatement>, StoreError> {
        // No act of the simulation has an end of its own.
        Ok(Vec::new())
    }

    fn acts_about_persons(&self) -> Result<Vec<SignedStatement>, StoreError> {
        self.read(|state| state.acts_about_persons())
    }

    fn act_seen(&self, statement: &SignedStatement) -> Result<bool, StoreError> {
        self.read(|state| state.act_seen(statement))
    }

    /// Returns all of them on one page.
    fn consignment_page(
        &self,
        stage: ConsignmentStage,
        _from: ConsignmentPlace,
    ) -> Result<ConsignmentPage, StoreError> {
        self.read(|state| {
            let rows = state.consignments.values();
            let staged = rows.filter(|row| row.arriving == (stage == ConsignmentStage::Arriving));
            ConsignmentPage {
                rows: staged.cloned().collect(),
                next: None,
            }
        })
    }

    /// Returns all of them on one page.
    fn consignment_references(
        &self,
        of: &ConsignmentsOf,
        _from: ConsignmentPlace,
    ) -> Result<ReferencePage, StoreError> {
        self.read(|state| {
            let rows = state.consignments.values();
            let chosen = rows.filter(|row| of.takes(row.arriving, row.at));
            ReferencePage {
                references: chosen.map(|row| row.reference.clone()).collect(),
                next: None,
            }
        })
    }

    fn consignment(&self, reference: &str) -> Result<Option<ConsignmentRow>, StoreError> {
        self.read(|state| state.consignments.get(reference).cloned())
    }

    fn consignments_with(
        &self,
        kind: SelectorKind,
        value: &str,
    ) -> Result<Vec<ConsignmentRow>, StoreError> {
        self.read(|state| state.consignments_with(kind, value))
    }

    /// Returns all of these records that are held: each may concern a consignment.
    fn touching(&self, records: &[RecordId]) -> Result<Vec<RecordId>, StoreError> {
        self.read(|state| {
            let held = |id: &&RecordId| state.records.contains_key(*id);
            records.iter().filter(held).copied().collect()
        })
    }

    fn score(&self, reference: &str) -> Result<Option<ScoreRow>, StoreError> {
        self.read(|state| state.scores.get(reference).cloned())
    }

    fn consignment_ranking(
        &self,
        of: &ConsignmentsOf,
        limit: u32,
    ) -> Result<ConsignmentRanking, StoreError> {
        self.read(|state| state.consignment_ranking(of, limit))
    }

    fn scores(&self, limit: u32) -> Result<Vec<ScoreRow>, StoreError> {
        self.read(|state| state.highest_scores(limit))
    }

    fn channel(
        &self,
        peer: &NodeId,
        side: ChannelSide,
        page: &ChannelPage,
    ) -> Result<Vec<Entry>, StoreError> {
        self.read(|state| state.channel(peer, side, page))
    }

    fn owed(&self, peer: &NodeId) -> Result<u64, StoreError> {
        self.read(|state| state.owed(peer))
    }

    fn learned(&self, peer: &NodeId) -> Result<u64, StoreError> {
        self.read(|state| state.learned(peer))
    }

    fn reconciliations(&self) -> Result<Vec<ReconciliationRow>, StoreError> {
        self.read(|state| state.reconciliations.values().cloned().collect())
    }

    fn backup_restored(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    fn events_before(
        &self,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<(i64, NodeEvent)>, StoreError> {
        self.read(|state| {
            let numbered = (1..).zip(state.events.iter());
            let mut found: Vec<(i64, NodeEvent)> = numbered
                .filter(|(number, _)| before.is_none_or(|before| *number < before))
                .map(|(number, event)| (number, event.clone()))
                .collect();
            found.reverse();
            found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            found
        })
    }

    fn act_answer(&self, statement: &SignedStatement) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|state| state.act_answer(statement))
    }

    fn acts(&self, _: Option<i64>, _: u32) -> Result<Vec<ActRow>, StoreError> {
        Err(StoreError::Fault("no person acts in the model"))
    }
}

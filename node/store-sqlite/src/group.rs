//! A group of jobs on its way into both files, as one transaction in each.
//!
//! Each kind of write goes to the writer of its concern. A job is all of its writes or none.

use portcullis_protocol::statement::SignedStatement;
use portcullis_store::{Act, ActAnswer, Effects, StoreError, Write, Written};

use super::{
    backfill::BackfillWriter,
    consignments::ConsignmentWriter,
    crypt::Vault,
    dispatch::DispatchWriter,
    error::SqlError,
    events::EventWriter,
    exceptions::ExceptionWriter,
    facts::FactWriter,
    index::Index,
    intake::IntakeWriter,
    position::PositionWriter,
    quarantine::QuarantineWriter,
    recent::Placed,
    reconcile::ReconciliationWriter,
    records::RecordWriter,
    registry::RegistryWriter,
    transaction::{Committed, WriteSide, WriteTransaction},
    withdraw::WithdrawalWriter,
};

/// A transaction to which jobs are added one by one.
pub(super) struct Group<'a> {
    tx: WriteTransaction<'a>,
    side: &'a WriteSide,
}

impl<'a> Group<'a> {
    pub(super) fn begin(
        side: &'a WriteSide,
        vault: &'a Vault,
        index: &'a Index,
    ) -> Result<Self, SqlError> {
        let tx = WriteTransaction::begin(side, vault, index)?;
        Ok(Self { tx, side })
    }

    /// Returns the newest place of the log.
    pub(super) fn log_end(&self) -> Result<i64, SqlError> {
        self.tx.view().log_end()
    }

    /// Returns the own records that the group has added to the log so far.
    pub(super) fn published(&self) -> &[Placed] {
        &self.tx.log.published
    }

    /// Adds a job. If it fails, nothing of it stays.
    pub(super) fn job(&mut self, writes: Vec<Write>) -> Result<Vec<Written>, SqlError> {
        let mark = self.tx.mark()?;
        let answered: Vec<_> = writes.iter().filter_map(answered).collect();
        let result: Result<Vec<_>, _> = writes.into_iter().map(|write| self.write(write)).collect();
        let result = result.and_then(|written| {
            let registry = RegistryWriter::of(&self.tx);
            for (statement, answer) in &answered {
                registry.answer(statement, answer, &written)?;
            }
            Ok(written)
        });
        if result.is_err() {
            self.tx.rewind(&mark)?;
        }
        self.tx.release()?;
        result
    }

    /// Makes the group durable, the keys first.
    pub(super) fn commit(mut self) -> Result<Committed, SqlError> {
        self.tx.turn_over_keys()?;
        let slice = self.tx.write_slice()?;
        // This comes after the slice, which may have written entries that are to be erased.
        let unindexed = WithdrawalWriter::of(&mut self.tx).erase(&self.side.erasing)?;
        self.tx.commit(slice, unindexed)
    }

    fn write(&mut self, write: Write) -> Result<Written, SqlError> {
        let tx = &mut self.tx;
        match write {
            Write::Publish { records, now } => RecordWriter::of(tx).publish(records, now)?,
            Write::Intake(intake) => return IntakeWriter::of(tx).arrive(intake),
            Write::Intend(intend) => DispatchWriter::of(tx).intend(&intend)?,
            Write::Settle(settle) => DispatchWriter::of(tx).settle(&settle)?,
            Write::Register(register) => RegistryWriter::of(tx).register(&register)?,
            Write::Fact(fact) => FactWriter::of(tx).fact(&fact)?,
            Write::Act(act) => RegistryWriter::of(tx).act(&act)?,
            Write::ActOutcome(ended) => RegistryWriter::of(tx).outcome(&ended)?,
            Write::Consignments(rows) => ConsignmentWriter::of(tx).consignments(rows)?,
            Write::Scores(rows) => ConsignmentWriter::of(tx).scores(rows)?,
            Write::RemoveConsignments(names) => ConsignmentWriter::of(tx).remove(&names)?,
            Write::Event(event) => EventWriter::of(tx).event(&event)?,
            Write::StartGeneration(new) => PositionWriter::of(tx).start_generation(&new)?,
            Write::Quarantine(items) => QuarantineWriter::of(tx).quarantine(&items)?,
            Write::DropBad(numbers) => {
                let dropped = QuarantineWriter::of(tx).drop_bad(&numbers)?;
                if dropped == 0 {
                    return Err(StoreError::NotThere.into());
                }
                return Ok(Written::Destroyed(dropped));
            }
            Write::Meet(peers) => DispatchWriter::of(tx).meet(&peers)?,
            Write::Backfill(backfill) => BackfillWriter::of(tx).begin(&backfill)?,
            Write::CancelBackfills(cancel) => BackfillWriter::of(tx).cancel(&cancel)?,
            Write::Retry(retry) => ExceptionWriter::of(tx).retry_now(&retry)?,
            Write::Decide(decision) => {
                let answers = IntakeWriter::of(tx).decide_held(decision)?;
                return Ok(Written::Answers(answers));
            }
            Write::AnswersReady { peer, now } => {
                ExceptionWriter::of(tx).answers_ready(&peer, now)?
            }
            Write::Repair(repair) => ReconciliationWriter::of(tx).repair(&repair)?,
            Write::GiveBack(back) => ReconciliationWriter::of(tx).give_back(&back)?,
            Write::Reconciled(row) => ReconciliationWriter::of(tx).reconciled(&row)?,
            Write::Withdraw {
                records,
                outcome,
                at,
            } => WithdrawalWriter::of(tx).withdraw(&records, &outcome, at)?,
            Write::Recover { records, now } => RecordWriter::of(tx).recover(&records, now)?,
        }
        Ok(Written::Done)
    }
}

/// Returns the statement of an act whose effects are in its job, and the maker of its answer.
fn answered(write: &Write) -> Option<(SignedStatement, ActAnswer)> {
    let Write::Act(Act {
        statement: Some(statement),
        effects: Effects::InJob(answer),
        ..
    }) = write
    else {
        return None;
    };
    Some((statement.clone(), answer.clone()))
}

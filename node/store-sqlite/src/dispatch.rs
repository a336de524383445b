//! Dispatch to peers: what is noted before a frame is sent, and when its receipt comes.
//!
//! One plan or receipt concerns the ledger, the exceptions, the position, a range that is searched
//! again, and the cursor. They change together.

use portcullis_protocol::{frame::Lane, identifiers::NodeId};
use portcullis_store::{Intend, LedgerEntry, Settle};

use super::{
    backfill::BackfillWriter, differences::DifferenceWriter, disclosure::Posting, error::SqlError,
    exceptions::ExceptionWriter, frames::FrameWriter, ledger::LedgerWriter,
    position::PositionWriter, transaction::WriteTransaction,
};

/// Writer of plans, receipts and cursors.
pub(super) struct DispatchWriter<'t, 'a> {
    tx: &'t mut WriteTransaction<'a>,
}

impl<'t, 'a> DispatchWriter<'t, 'a> {
    pub(super) const fn of(tx: &'t mut WriteTransaction<'a>) -> Self {
        Self { tx }
    }

    /// Notes what is about to be sent and what is denied.
    pub(super) fn intend(&mut self, intend: &Intend) -> Result<(), SqlError> {
        let Intend {
            peer,
            lane,
            now,
            generation: _,
            first_sequence,
            entries,
            cursor,
            filled,
            awaits,
        } = intend;
        let posting = Posting {
            peer,
            lane: *lane,
            now: *now,
        };
        for single in FrameWriter::of(self.tx).plan(posting, *first_sequence, entries)? {
            self.intend_one(posting, single.number, single.entry)?;
        }
        ExceptionWriter::of(self.tx).wait_for_version(posting, awaits)?;
        BackfillWriter::of(self.tx).advance(filled.as_ref(), *now)?;
        match cursor {
            Some(cursor) => self.advance(peer, *lane, cursor.cast_signed()),
            None => Ok(()),
        }
    }

    fn intend_one(
        &mut self,
        posting: Posting<'_>,
        number: i64,
        entry: &LedgerEntry,
    ) -> Result<(), SqlError> {
        if entry.form.is_empty() {
            ExceptionWriter::of(self.tx).end(posting, number)?;
            DifferenceWriter::of(self.tx).deny_owed(posting, number)?;
        }
        LedgerWriter::of(self.tx).intend(posting, number, entry)
    }

    /// Notes a peer's answers with its receipt.
    pub(super) fn settle(&mut self, settle: &Settle) -> Result<(), SqlError> {
        let Settle {
            peer,
            lane,
            now,
            first_sequence,
            answers,
            receipt,
            cursor,
            generation: _,
            frame: _,
            next_sequence: _,
            retry_at: _,
            expires: _,
            filled,
        } = settle;
        let posting = Posting {
            peer,
            lane: *lane,
            now: *now,
        };
        let receipt = LedgerWriter::of(self.tx).keep_receipt(posting, receipt, answers)?;
        for answer in
            FrameWriter::of(self.tx).settle(posting, (*first_sequence, receipt), answers)?
        {
            let number = self.tx.known(&answer.record)?;
            LedgerWriter::of(self.tx).answered(posting, number, answer, receipt)?;
            if answer.outcome.is_final() {
                ExceptionWriter::of(self.tx).end(posting, number)?;
            }
        }
        DifferenceWriter::of(self.tx).pay(posting, answers)?;
        ExceptionWriter::of(self.tx).schedule(posting, settle)?;
        ExceptionWriter::of(self.tx).end_overdue(posting)?;
        BackfillWriter::of(self.tx).advance(filled.as_ref(), *now)?;
        PositionWriter::of(self.tx).settle(settle)?;
        self.advance(peer, *lane, cursor.unwrap_or(0).cast_signed())
    }

    /// Sets the cursors of new peers to the present end of the log. Older records are sent by a
    /// backfill only.
    pub(super) fn meet(&self, peers: &[NodeId]) -> Result<(), SqlError> {
        let end = self.tx.view().log_end()?;
        for peer in peers {
            for lane in Lane::ALL {
                self.advance(peer, *lane, end)?;
            }
        }
        Ok(())
    }

    /// Moves the cursor forward; it never moves back.
    fn advance(&self, peer: &NodeId, lane: Lane, cursor: i64) -> Result<(), SqlError> {
        self.tx.run(
            "INSERT INTO dispatch (peer, lane, cursor) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET cursor = max(cursor, excluded.cursor)",
            (peer.as_str(), lane.name(), cursor),
        )?;
        Ok(())
    }
}

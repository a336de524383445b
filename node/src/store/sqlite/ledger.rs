//! Reading the ledger: what peers delivered, what was disclosed to them, and their receipts.

use bytes::Bytes;
use portcullis_protocol::{
    digest::Digest,
    frame::Answer,
    identifiers::NodeId,
    record::{Form, RecordId},
    statement::SignedStatement,
    time::Timestamp,
    wire,
};
use prost::Message as _;
use rusqlite::Row;

use super::{
    dispatch::state_named,
    query::{named, node, record_id, unreadable},
    reader::Reader,
};
use crate::store::{ArrivalRow, DecisionNote, DisclosureRow, ReceiptRow, StoreError};

/// The columns of a [`LedgerRow`], up to where rows are chosen.
macro_rules! disclosure_rows {
    ($rest:literal) => {
        concat!(
            "SELECT id, peer, form, withheld, state, reason, decided_at, answered_at, ",
            "policies, bundle FROM disclosure AS d JOIN known ON known.n = d.record ",
            "JOIN decision ON decision.n = d.decision ",
            $rest
        )
    };
}

impl Reader<'_> {
    pub(super) fn arrivals(
        &self,
        record: Option<&RecordId>,
    ) -> Result<Vec<ArrivalRow>, StoreError> {
        let rows = self.rows(
            "SELECT id, peer, form, outcome, reason, policies, bundle, at
             FROM arrival JOIN known ON known.n = arrival.record
             JOIN decision ON decision.n = arrival.decision
             WHERE ?1 IS NULL OR arrival.record = (SELECT n FROM known WHERE id = ?1)
             ORDER BY at, id, peer, form",
            [record.map(RecordId::as_bytes)],
            |row| {
                Ok((
                    row.get::<_, Vec<u8>>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, i64>(2)?,
                    row.get::<_, String>(3)?,
                    row.get(4)?,
                    NoteRow::read(row, 5)?,
                    row.get(7)?,
                ))
            },
        )?;
        rows.into_iter()
            .map(|(id, peer, form, outcome, reason, note, at)| {
                Ok(ArrivalRow {
                    peer: node(&peer)?,
                    answer: Answer {
                        record: record_id(&id)?,
                        form: Form::from_bits(form.cast_unsigned()),
                        outcome: named(&outcome)?,
                        reason,
                    },
                    note: note.note()?,
                    at: Timestamp::from_millis(at),
                })
            })
            .collect()
    }

    pub(super) fn disclosure(
        &self,
        record: &RecordId,
        peer: &NodeId,
    ) -> Result<Option<DisclosureRow>, StoreError> {
        Ok(self.disclosure_history(record, peer)?.pop())
    }

    pub(super) fn disclosure_history(
        &self,
        record: &RecordId,
        peer: &NodeId,
    ) -> Result<Vec<DisclosureRow>, StoreError> {
        let rows = self.rows(
            disclosure_rows!(
                "WHERE d.record = (SELECT n FROM known WHERE id = ?1) AND peer = ?2
                 ORDER BY ordinal"
            ),
            (record.as_bytes(), peer.as_str()),
            LedgerRow::read,
        )?;
        rows.into_iter().map(LedgerRow::row).collect()
    }

    pub(super) fn disclosures(
        &self,
        record: Option<&RecordId>,
    ) -> Result<Vec<DisclosureRow>, StoreError> {
        let rows = self.rows(
            disclosure_rows!(
                "WHERE (?1 IS NULL OR d.record = (SELECT n FROM known WHERE id = ?1))
                     AND ordinal = (SELECT max(ordinal) FROM disclosure AS newest
                         WHERE newest.record = d.record AND newest.peer = d.peer)
                 ORDER BY d.record, peer"
            ),
            [record.map(RecordId::as_bytes)],
            LedgerRow::read,
        )?;
        rows.into_iter().map(LedgerRow::row).collect()
    }

    pub(super) fn receipt(
        &self,
        record: &RecordId,
        peer: &NodeId,
    ) -> Result<Option<ReceiptRow>, StoreError> {
        let row: Option<(i64, Vec<u8>)> = self.first(
            "SELECT r.at, r.receipt FROM disclosure AS d JOIN receipt AS r ON r.n = d.receipt
             WHERE d.record = (SELECT n FROM known WHERE id = ?1) AND d.peer = ?2
             ORDER BY d.ordinal DESC LIMIT 1",
            (record.as_bytes(), peer.as_str()),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let Some((at, bytes)) = row else {
            return Ok(None);
        };
        let damaged = || unreadable("a receipt");
        let wire::Receipt {
            payload,
            answers,
            refused: _,
        } = wire::Receipt::decode(Bytes::from(bytes)).map_err(|_| damaged())?;
        let statement = payload
            .and_then(|payload| SignedStatement::try_from(payload).ok())
            .ok_or_else(damaged)?;
        let answers = answers
            .into_iter()
            .map(|answer| Answer::try_from(answer).map_err(|_| damaged()))
            .collect::<Result<_, _>>()?;
        Ok(Some(ReceiptRow {
            peer: peer.clone(),
            at: Timestamp::from_millis(at),
            statement,
            answers,
        }))
    }
}

/// A decision as it stands in its table.
struct NoteRow {
    policies: String,
    bundle: Vec<u8>,
}

impl NoteRow {
    fn read(row: &Row<'_>, first: usize) -> rusqlite::Result<Self> {
        Ok(Self {
            policies: row.get(first)?,
            bundle: row.get(first + 1)?,
        })
    }

    fn note(&self) -> Result<DecisionNote, StoreError> {
        let damaged = || unreadable("a decision");
        let bundle = match self.bundle.as_slice() {
            [] => None,
            bytes => Some(Digest::from_slice(bytes).ok_or_else(damaged)?),
        };
        Ok(DecisionNote {
            policies: serde_json::from_str(&self.policies).map_err(|_| damaged())?,
            bundle,
        })
    }
}

struct LedgerRow {
    id: Vec<u8>,
    peer: String,
    form: i64,
    withheld: u32,
    state: String,
    reason: Option<String>,
    decided_at: i64,
    answered_at: Option<i64>,
    note: NoteRow,
}

impl LedgerRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            peer: row.get(1)?,
            form: row.get(2)?,
            withheld: row.get(3)?,
            state: row.get(4)?,
            reason: row.get(5)?,
            decided_at: row.get(6)?,
            answered_at: row.get(7)?,
            note: NoteRow::read(row, 8)?,
        })
    }

    fn row(self) -> Result<DisclosureRow, StoreError> {
        Ok(DisclosureRow {
            record: record_id(&self.id)?,
            peer: node(&self.peer)?,
            form: Form::from_bits(self.form.cast_unsigned()),
            withheld: self.withheld,
            state: state_named(&self.state)?,
            reason: self.reason,
            note: self.note.note()?,
            decided_at: Timestamp::from_millis(self.decided_at),
            answered_at: self.answered_at.map(Timestamp::from_millis),
        })
    }
}

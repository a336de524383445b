//! The ledger of disclosures: every decision on a record for a peer, and the peer's receipts.
//!
//! A ledger row stands for one record, peer and form. A row that a peer has answered for good never
//! changes again, whatever is decided later: the ledger keeps every disclosure. Most rows stand
//! together in the row of their frame ([`super::sent`]); a row in `disclosure` takes precedence.

use std::collections::{BTreeMap, BTreeSet, HashSet, btree_map::Entry};

use bytes::Bytes;
use portcullis_protocol::{
    frame::{Answer, Lane, Outcome},
    identifiers::NodeId,
    record::{Form, RecordId},
    statement::SignedStatement,
    time::Timestamp,
    wire,
};
use portcullis_store::{DecisionNote, DisclosureRow, DisclosureState, LedgerEntry, ReceiptRow};
use prost::Message as _;
use rusqlite::Row;

use super::{
    decode::{node, unreadable},
    disclosure::{AnswerEffect, Posting, PriorDecision, state_name, state_named},
    error::SqlError,
    frames::FrameWriter,
    interned::DecisionReader,
    sent::{SentItem, SentRow, sent_at, sent_in, sent_peers, sent_rows},
    transaction::WriteTransaction,
    view::DatabaseView,
};

/// Writer of decisions on single records, and of the answers to them.
pub(super) struct LedgerWriter<'t, 'a> {
    tx: &'t mut WriteTransaction<'a>,
}

impl<'t, 'a> LedgerWriter<'t, 'a> {
    pub(super) const fn of(tx: &'t mut WriteTransaction<'a>) -> Self {
        Self { tx }
    }

    /// Notes that an entry is denied, or is about to be sent. A form that is settled stays as it was
    /// answered.
    pub(super) fn intend(
        &mut self,
        posting: Posting<'_>,
        number: i64,
        entry: &LedgerEntry,
    ) -> Result<(), SqlError> {
        if entry.form.is_empty() {
            return self.decide(posting, number, entry, DisclosureState::Denied);
        }
        let priors = self.priors(number, posting.peer)?;
        match priors.iter().find(|prior| prior.settles(entry.form)) {
            Some(prior) => self.renew(posting, number, prior.form),
            None => self.decide(posting, number, entry, DisclosureState::Intended),
        }
    }

    /// Returns the ledger's entries for a record and a peer, one for each form.
    fn priors(&mut self, record: i64, peer: &NodeId) -> Result<Vec<PriorDecision>, SqlError> {
        let single = self.tx.rows(
            "SELECT form, state FROM disclosure WHERE record = ?1 AND peer = ?2",
            (record, peer.as_str()),
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)),
        )?;
        let mut priors = Vec::new();
        for (form, state) in single {
            priors.push(PriorDecision {
                form: Form::from_bits(form.cast_unsigned()),
                state: state_named(&state)?,
            });
        }
        for row in FrameWriter::of(self.tx).rows_of(peer.as_str(), record)? {
            for item in row.items.iter().filter(|item| item.number == record) {
                if priors.iter().all(|prior| prior.form != item.form) {
                    priors.push(PriorDecision {
                        form: item.form,
                        state: row.state(item),
                    });
                }
            }
        }
        Ok(priors)
    }

    /// Returns true if the ledger holds this form, or a fuller one, as intended or answered.
    pub(super) fn tells_of(
        &mut self,
        record: i64,
        peer: &NodeId,
        form: Form,
    ) -> Result<bool, SqlError> {
        let priors = self.priors(record, peer)?;
        Ok(priors.iter().any(|prior| prior.tells_of(form)))
    }

    /// Makes the row of this form the newest decision.
    pub(super) fn decide(
        &mut self,
        posting: Posting<'_>,
        record: i64,
        entry: &LedgerEntry,
        state: DisclosureState,
    ) -> Result<(), SqlError> {
        let decision = self.tx.decision(&entry.note)?;
        let ordinal = self.tx.next_ordinal();
        self.tx.run(
            "INSERT OR REPLACE INTO disclosure
                 (record, peer, form, ordinal, withheld, state, decision, decided_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            (
                record,
                posting.peer.as_str(),
                entry.form.bits().cast_signed(),
                ordinal,
                entry.withheld,
                state_name(state),
                decision,
                posting.now.as_millis(),
            ),
        )?;
        Ok(())
    }

    /// Enters a disclosure that the peer reported, as accepted. No receipt of it is known.
    pub(super) fn learn(
        &mut self,
        posting: Posting<'_>,
        record: i64,
        entry: &LedgerEntry,
    ) -> Result<(), SqlError> {
        let accepted = DisclosureState::Answered(Outcome::Accepted);
        self.decide(posting, record, entry, accepted)?;
        self.tx.run(
            "UPDATE disclosure SET answered_at = ?4 WHERE peer = ?1 AND record = ?2 AND form = ?3",
            (
                posting.peer.as_str(),
                record,
                entry.form.bits().cast_signed(),
                posting.now.as_millis(),
            ),
        )?;
        Ok(())
    }

    /// Makes a row that was answered for good the newest decision again, and changes nothing else.
    fn renew(&mut self, posting: Posting<'_>, record: i64, form: Form) -> Result<(), SqlError> {
        FrameWriter::of(self.tx).renew(posting, record, form)?;
        let ordinal = self.tx.next_ordinal();
        self.tx.run(
            "UPDATE disclosure SET ordinal = ?4 WHERE record = ?1 AND peer = ?2 AND form = ?3",
            (
                record,
                posting.peer.as_str(),
                form.bits().cast_signed(),
                ordinal,
            ),
        )?;
        Ok(())
    }

    /// Keeps a receipt, and returns its number.
    pub(super) fn keep_receipt(
        &self,
        posting: Posting<'_>,
        statement: &SignedStatement,
        answers: &[Answer],
    ) -> Result<i64, SqlError> {
        let receipt = wire::Receipt {
            payload: Some(statement.into()),
            answers: answers.iter().map(wire::Answer::from).collect(),
            refused: String::new(),
        };
        self.tx.insert(
            "INSERT INTO receipt (peer, lane, at, receipt) VALUES (?1, ?2, ?3, ?4)",
            (
                posting.peer.as_str(),
                posting.lane.name(),
                posting.now.as_millis(),
                receipt.encode_to_vec(),
            ),
        )
    }

    /// Notes the answer to one record.
    pub(super) fn answered(
        &mut self,
        posting: Posting<'_>,
        record: i64,
        answer: &Answer,
        receipt: i64,
    ) -> Result<(), SqlError> {
        let priors = self.priors(record, posting.peer)?;
        match AnswerEffect::of(answer.form, &priors) {
            AnswerEffect::Nothing => return Ok(()),
            AnswerEffect::Answers => {}
            AnswerEffect::Discloses => {
                let entry = LedgerEntry {
                    sequence: None,
                    record: answer.record,
                    form: answer.form,
                    withheld: 0,
                    note: DecisionNote::default(),
                };
                self.decide(posting, record, &entry, DisclosureState::Intended)?;
            }
        }
        self.tx.run(
            "UPDATE disclosure SET state = ?4, reason = ?5, answered_at = ?6, receipt = ?7
             WHERE record = ?1 AND peer = ?2 AND form = ?3",
            (
                record,
                posting.peer.as_str(),
                answer.form.bits().cast_signed(),
                answer.outcome.name(),
                answer.reason.as_deref(),
                posting.now.as_millis(),
                receipt,
            ),
        )?;
        Ok(())
    }
}

/// The columns of a [`LedgerRow`], up to the clauses that choose the rows.
macro_rules! disclosure_rows {
    ($rest:literal) => {
        concat!(
            "SELECT record, peer, form, ordinal, withheld, state, reason, decision, decided_at, ",
            "answered_at, receipt FROM disclosure ",
            $rest
        )
    };
}

/// Reader of disclosures and receipts.
pub(super) struct LedgerReader<'a> {
    view: DatabaseView<'a>,
}

impl<'a> LedgerReader<'a> {
    pub(super) const fn of(view: DatabaseView<'a>) -> Self {
        Self { view }
    }

    pub(super) fn disclosure(
        &self,
        record: &RecordId,
        peer: &NodeId,
    ) -> Result<Option<DisclosureRow>, SqlError> {
        Ok(self.disclosure_history(record, peer)?.pop())
    }

    pub(super) fn disclosure_history(
        &self,
        record: &RecordId,
        peer: &NodeId,
    ) -> Result<Vec<DisclosureRow>, SqlError> {
        let Some(number) = self.view.number(record)? else {
            return Ok(Vec::new());
        };
        let rows = self.history(number, peer.as_str())?;
        self.disclosure_rows(rows)
    }

    /// Returns the decisions on a record for a peer, one row for each form, the oldest first.
    fn history(&self, number: i64, peer: &str) -> Result<Vec<LedgerRow>, SqlError> {
        let mut rows = self.view.rows(
            disclosure_rows!("WHERE record = ?1 AND peer = ?2"),
            (number, peer),
            LedgerRow::read,
        )?;
        let places = self.view.places(number)?;
        for sent in sent_at(self.view, peer, &places, number)? {
            let items = sent.items.iter().filter(|item| item.number == number);
            for row in items.map(|item| LedgerRow::sent(&sent, item)) {
                if rows.iter().all(|single| single.form != row.form) {
                    rows.push(row);
                }
            }
        }
        rows.sort_by_key(|row| row.ordinal);
        Ok(rows)
    }

    /// Returns the newest state of a record for a peer; `None` if nothing was decided.
    pub(super) fn newest_state(
        &self,
        number: i64,
        peer: &str,
    ) -> Result<Option<DisclosureState>, SqlError> {
        let newest = self.history(number, peer)?.pop();
        newest.map(|row| row.state()).transpose()
    }

    pub(super) fn disclosures(
        &self,
        record: Option<&RecordId>,
    ) -> Result<Vec<DisclosureRow>, SqlError> {
        let rows = match record {
            None => self.newest_of_all()?,
            Some(id) => match self.view.number(id)? {
                None => Vec::new(),
                Some(number) => self.newest_of(number)?,
            },
        };
        self.disclosure_rows(rows)
    }

    fn newest_of(&self, number: i64) -> Result<Vec<LedgerRow>, SqlError> {
        let mut peers = sent_peers(self.view)?;
        peers.extend(self.view.rows(
            "SELECT DISTINCT peer FROM disclosure WHERE record = ?1",
            [number],
            |row| row.get::<_, String>(0),
        )?);
        peers.sort_unstable();
        peers.dedup();
        let mut newest = Vec::new();
        for peer in peers {
            newest.extend(self.history(number, &peer)?.pop());
        }
        Ok(newest)
    }

    fn newest_of_all(&self) -> Result<Vec<LedgerRow>, SqlError> {
        let mut newest: BTreeMap<(i64, String), LedgerRow> = BTreeMap::new();
        let single = self.view.rows(disclosure_rows!(""), [], LedgerRow::read)?;
        let mut own_row: HashSet<(i64, String, i64)> = HashSet::new();
        for row in single {
            own_row.insert((row.number, row.peer.clone(), row.form));
            keep_newest(&mut newest, row);
        }
        let sent = self
            .view
            .rows(sent_rows!("ORDER BY n"), [], SentRow::read)?;
        for sent in sent {
            let sent = SentRow::with_items(sent)?;
            for item in &sent.items {
                let row = LedgerRow::sent(&sent, item);
                if !own_row.contains(&(row.number, row.peer.clone(), row.form)) {
                    keep_newest(&mut newest, row);
                }
            }
        }
        Ok(newest.into_values().collect())
    }

    pub(super) fn disclosures_to(
        &self,
        peer: &NodeId,
        entries: &[(u64, RecordId)],
    ) -> Result<Vec<DisclosureRow>, SqlError> {
        let numbers = self.decided_before(peer, entries)?;
        let mut newest = Vec::new();
        for number in numbers {
            newest.extend(self.history(number, peer.as_str())?.pop());
        }
        self.disclosure_rows(newest)
    }

    /// Returns those of these records that the ledger may hold. Records in no row cost no lookup of
    /// their own.
    fn decided_before(
        &self,
        peer: &NodeId,
        entries: &[(u64, RecordId)],
    ) -> Result<BTreeSet<i64>, SqlError> {
        let places = || entries.iter().map(|(place, _)| place.cast_signed());
        let Some((first, last)) = places().min().zip(places().max()) else {
            return Ok(BTreeSet::new());
        };
        let single = self.view.rows(
            "SELECT record FROM disclosure WHERE peer = ?1 AND record BETWEEN ?2 AND ?3",
            (peer.as_str(), first, last),
            |row| row.get::<_, i64>(0),
        )?;
        let mut numbers: BTreeSet<i64> = single.into_iter().collect();
        for lane in Lane::ALL {
            for row in sent_in(self.view, peer.as_str(), *lane, (first, last))? {
                numbers.extend(row.items.iter().map(|item| item.number));
            }
        }
        let wanted: BTreeSet<i64> = places().collect();
        numbers.retain(|number| wanted.contains(number));
        numbers.extend(self.numbered_elsewhere((first, last), &wanted)?);
        Ok(numbers)
    }

    /// Returns the numbers of the records at these places whose number is not their place: they
    /// were logged again, or their id was known before.
    fn numbered_elsewhere(
        &self,
        (first, last): (i64, i64),
        wanted: &BTreeSet<i64>,
    ) -> Result<Vec<i64>, SqlError> {
        let rows: Vec<(i64, i64)> = self.view.rows(
            "SELECT place, n FROM known WHERE place BETWEEN ?1 AND ?2
             UNION ALL SELECT place, record FROM extension WHERE place BETWEEN ?1 AND ?2",
            (first, last),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let found = rows.into_iter().filter(|(place, _)| wanted.contains(place));
        Ok(found.map(|(_, number)| number).collect())
    }

    fn disclosure_rows(&self, rows: Vec<LedgerRow>) -> Result<Vec<DisclosureRow>, SqlError> {
        let mut decisions = DecisionReader::of(self.view);
        rows.into_iter()
            .map(|row| {
                Ok(DisclosureRow {
                    record: self.view.ledger_id(row.number)?,
                    peer: node(&row.peer)?,
                    form: Form::from_bits(row.form.cast_unsigned()),
                    withheld: row.withheld,
                    state: row.state()?,
                    reason: row.reason,
                    note: decisions.note(row.decision)?,
                    decided_at: Timestamp::from_millis(row.decided_at),
                    answered_at: row.answered_at.map(Timestamp::from_millis),
                })
            })
            .collect()
    }

    pub(super) fn receipt(
        &self,
        record: &RecordId,
        peer: &NodeId,
    ) -> Result<Option<ReceiptRow>, SqlError> {
        let rows = match self.view.number(record)? {
            Some(number) => self.history(number, peer.as_str())?,
            None => Vec::new(),
        };
        let Some(receipt) = rows.iter().rev().find_map(|row| row.receipt) else {
            return Ok(None);
        };
        let row: Option<(i64, Vec<u8>)> = self.view.first(
            "SELECT at, receipt FROM receipt WHERE n = ?1",
            [receipt],
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

struct LedgerRow {
    number: i64,
    peer: String,
    form: i64,
    ordinal: i64,
    withheld: u32,
    state: RowState,
    reason: Option<String>,
    decision: i64,
    decided_at: i64,
    answered_at: Option<i64>,
    receipt: Option<i64>,
}

/// A state that its row names, or that follows from the row.
enum RowState {
    Named(String),
    Known(DisclosureState),
}

impl LedgerRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            number: row.get(0)?,
            peer: row.get(1)?,
            form: row.get(2)?,
            ordinal: row.get(3)?,
            withheld: row.get(4)?,
            state: RowState::Named(row.get(5)?),
            reason: row.get(6)?,
            decision: row.get(7)?,
            decided_at: row.get(8)?,
            answered_at: row.get(9)?,
            receipt: row.get(10)?,
        })
    }

    fn sent(row: &SentRow, item: &SentItem) -> Self {
        let denied = item.form.is_empty();
        Self {
            number: item.number,
            peer: row.peer.clone(),
            form: item.form.bits().cast_signed(),
            ordinal: row.n,
            withheld: item.withheld,
            state: RowState::Known(row.state(item)),
            reason: None,
            decision: item.decision,
            decided_at: row.decided_at,
            answered_at: row.answered_at.filter(|_| !denied),
            receipt: row.receipt.filter(|_| !denied),
        }
    }

    fn state(&self) -> Result<DisclosureState, SqlError> {
        match &self.state {
            RowState::Named(name) => state_named(name),
            RowState::Known(state) => Ok(*state),
        }
    }
}

fn keep_newest(newest: &mut BTreeMap<(i64, String), LedgerRow>, row: LedgerRow) {
    match newest.entry((row.number, row.peer.clone())) {
        Entry::Vacant(place) => {
            place.insert(row);
        }
        Entry::Occupied(mut place) if place.get().ordinal <= row.ordinal => {
            place.insert(row);
        }
        Entry::Occupied(_) => {}
    }
}

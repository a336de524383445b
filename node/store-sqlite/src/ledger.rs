//! Reads of the ledger: deliveries of peers, disclosures to them, and their receipts.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, btree_map::Entry};

use bytes::Bytes;
use portcullis_protocol::{
    digest::Digest,
    frame::{Answer, Lane, Outcome},
    identifiers::NodeId,
    record::{Form, RecordId},
    statement::SignedStatement,
    time::Timestamp,
    wire,
};
use prost::Message as _;
use rusqlite::Row;

use super::{
    decode::{named, node, unreadable},
    dispatch::state_named,
    pack::{Directory, id_at, pack_of},
    reader::Reader,
    sent::{SentItem, SentRow, sent_at, sent_in, sent_peers, sent_rows},
};
use crate::error::SqlError;
use portcullis_store::{ArrivalRow, DecisionNote, DisclosureRow, DisclosureState, ReceiptRow};

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

/// The columns of an arrival, up to the clauses that choose the rows.
macro_rules! arrival_rows {
    ($rest:literal) => {
        concat!(
            "SELECT record, peer, form, outcome, reason, decision, at FROM arrival ",
            $rest
        )
    };
}

/// Decisions that have been read, by number.
#[derive(Default)]
struct Notes(HashMap<i64, DecisionNote>);

impl Reader<'_> {
    fn note(&self, number: i64, notes: &mut Notes) -> Result<DecisionNote, SqlError> {
        if let Some(note) = notes.0.get(&number) {
            return Ok(note.clone());
        }
        let row = self.first(
            "SELECT policies, bundle FROM decision WHERE n = ?1",
            [number],
            |row| NoteRow::read(row, 0),
        )?;
        let note = row.ok_or_else(|| unreadable("a decision"))?.note()?;
        notes.0.insert(number, note.clone());
        Ok(note)
    }

    /// Returns the id of a record that a row of the ledger names.
    pub(super) fn ledger_id(&self, number: i64) -> Result<RecordId, SqlError> {
        self.id(number)?
            .ok_or_else(|| unreadable("the record of a row of the ledger"))
    }

    pub(super) fn arrivals(&self, record: Option<&RecordId>) -> Result<Vec<ArrivalRow>, SqlError> {
        let mut notes = Notes::default();
        let mut arrivals = match record {
            None => {
                let mut all = self.admissions("", 0, &mut notes)?;
                all.extend(self.single_arrivals(arrival_rows!("WHERE ?1 = 0"), 0, &mut notes)?);
                all
            }
            Some(id) => match self.number(id)? {
                None => Vec::new(),
                Some(number) => self.arrivals_of(number, &mut notes)?,
            },
        };
        arrivals.sort_by(|one, other| {
            let key = |row: &ArrivalRow| (row.at, row.answer.record);
            let last = |row: &ArrivalRow| row.answer.form.bits();
            (key(one), &one.peer, last(one)).cmp(&(key(other), &other.peer, last(other)))
        });
        Ok(arrivals)
    }

    fn arrivals_of(&self, number: i64, notes: &mut Notes) -> Result<Vec<ArrivalRow>, SqlError> {
        let mut found = self.single_arrivals(arrival_rows!("WHERE record = ?1"), number, notes)?;
        // Two places of the record can be in one pack.
        let packs: BTreeSet<i64> = self.places(number)?.into_iter().map(pack_of).collect();
        for pack in packs {
            let mut of_pack = self.admissions("AND n = ?1", pack, notes)?;
            let id = self.ledger_id(number)?;
            of_pack.retain(|row| row.answer.record == id);
            found.extend(of_pack);
        }
        Ok(found)
    }

    fn single_arrivals(
        &self,
        sql: &str,
        number: i64,
        notes: &mut Notes,
    ) -> Result<Vec<ArrivalRow>, SqlError> {
        let rows = self.rows(sql, [number], |row| {
            Ok((
                (row.get::<_, i64>(0)?, row.get::<_, String>(1)?),
                (row.get::<_, i64>(2)?, row.get::<_, String>(3)?),
                row.get(4)?,
                (row.get::<_, i64>(5)?, row.get(6)?),
            ))
        })?;
        rows.into_iter()
            .map(
                |((number, peer), (form, outcome), reason, (decision, at))| {
                    Ok(ArrivalRow {
                        peer: node(&peer)?,
                        answer: Answer {
                            record: self.ledger_id(number)?,
                            form: Form::from_bits(form.cast_unsigned()),
                            outcome: named(&outcome)?,
                            reason,
                        },
                        note: self.note(decision, notes)?,
                        at: Timestamp::from_millis(at),
                    })
                },
            )
            .collect()
    }

    /// Returns the deliveries that added to the record log, as the packs hold them.
    fn admissions(
        &self,
        chosen: &str,
        pack: i64,
        notes: &mut Notes,
    ) -> Result<Vec<ArrivalRow>, SqlError> {
        let sql = format!(
            "SELECT extends, source, received_at, ids, directory FROM pack
             WHERE source IS NOT NULL AND ?1 = ?1 {chosen}"
        );
        let rows = self.rows(&sql, [pack], |row| {
            Ok((
                (row.get::<_, bool>(0)?, row.get::<_, String>(1)?),
                row.get(2)?,
                (row.get::<_, Vec<u8>>(3)?, row.get::<_, Vec<u8>>(4)?),
            ))
        })?;
        let mut found = Vec::new();
        for ((extends, source), at, (ids, directory)) in rows {
            let directory = Directory::read(&directory)?;
            let outcome = if extends {
                Outcome::Extended
            } else {
                Outcome::Accepted
            };
            for slot in 0..directory.forms.len() {
                let delivered = directory.delivered(slot);
                let id = id_at(&ids, slot);
                let (Some((form, decision)), Some(record)) = (delivered, id) else {
                    return Err(unreadable("a pack's directory"));
                };
                found.push(ArrivalRow {
                    peer: node(&source)?,
                    answer: Answer {
                        record,
                        form,
                        outcome,
                        reason: None,
                    },
                    note: self.note(decision, notes)?,
                    at: Timestamp::from_millis(at),
                });
            }
        }
        Ok(found)
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
        let Some(number) = self.number(record)? else {
            return Ok(Vec::new());
        };
        let rows = self.history(number, peer.as_str())?;
        self.disclosure_rows(rows)
    }

    /// Returns the decisions on a record for a peer, one row for each form, the oldest first.
    fn history(&self, number: i64, peer: &str) -> Result<Vec<LedgerRow>, SqlError> {
        let mut rows = self.rows(
            disclosure_rows!("WHERE record = ?1 AND peer = ?2"),
            (number, peer),
            LedgerRow::read,
        )?;
        let places = self.places(number)?;
        for sent in sent_at(self.connection, peer, &places, number)? {
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

    pub(super) fn disclosures(
        &self,
        record: Option<&RecordId>,
    ) -> Result<Vec<DisclosureRow>, SqlError> {
        let rows = match record {
            None => self.newest_of_all()?,
            Some(id) => match self.number(id)? {
                None => Vec::new(),
                Some(number) => self.newest_of(number)?,
            },
        };
        self.disclosure_rows(rows)
    }

    fn newest_of(&self, number: i64) -> Result<Vec<LedgerRow>, SqlError> {
        let mut peers = sent_peers(self.connection)?;
        peers.extend(self.rows(
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
        let single = self.rows(disclosure_rows!(""), [], LedgerRow::read)?;
        let mut own_row: HashSet<(i64, String, i64)> = HashSet::new();
        for row in single {
            own_row.insert((row.number, row.peer.clone(), row.form));
            keep_newest(&mut newest, row);
        }
        let sent = self.rows(sent_rows!("ORDER BY n"), [], SentRow::read)?;
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
        lane: Lane,
        entries: &[(u64, RecordId)],
    ) -> Result<Vec<DisclosureRow>, SqlError> {
        let numbers = self.decided_before(peer, lane, entries)?;
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
        lane: Lane,
        entries: &[(u64, RecordId)],
    ) -> Result<BTreeSet<i64>, SqlError> {
        let places = || entries.iter().map(|(place, _)| place.cast_signed());
        let Some((first, last)) = places().min().zip(places().max()) else {
            return Ok(BTreeSet::new());
        };
        let single = self.rows(
            "SELECT record FROM disclosure WHERE peer = ?1 AND record BETWEEN ?2 AND ?3",
            (peer.as_str(), first, last),
            |row| row.get::<_, i64>(0),
        )?;
        let mut numbers: BTreeSet<i64> = single.into_iter().collect();
        for row in sent_in(self.connection, peer.as_str(), lane, (first, last))? {
            numbers.extend(row.items.iter().map(|item| item.number));
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
        let rows: Vec<(i64, i64)> = self.rows(
            "SELECT place, n FROM known WHERE place BETWEEN ?1 AND ?2
             UNION ALL SELECT place, record FROM extension WHERE place BETWEEN ?1 AND ?2",
            (first, last),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let found = rows.into_iter().filter(|(place, _)| wanted.contains(place));
        Ok(found.map(|(_, number)| number).collect())
    }

    fn disclosure_rows(&self, rows: Vec<LedgerRow>) -> Result<Vec<DisclosureRow>, SqlError> {
        let mut notes = Notes::default();
        rows.into_iter()
            .map(|row| {
                Ok(DisclosureRow {
                    record: self.ledger_id(row.number)?,
                    peer: node(&row.peer)?,
                    form: Form::from_bits(row.form.cast_unsigned()),
                    withheld: row.withheld,
                    state: row.state()?,
                    reason: row.reason,
                    note: self.note(row.decision, &mut notes)?,
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
        let rows = match self.number(record)? {
            Some(number) => self.history(number, peer.as_str())?,
            None => Vec::new(),
        };
        let Some(receipt) = rows.iter().rev().find_map(|row| row.receipt) else {
            return Ok(None);
        };
        let row: Option<(i64, Vec<u8>)> = self.first(
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

    fn note(&self) -> Result<DecisionNote, SqlError> {
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
    number: i64,
    peer: String,
    form: i64,
    ordinal: i64,
    withheld: u32,
    state: State,
    reason: Option<String>,
    decision: i64,
    decided_at: i64,
    answered_at: Option<i64>,
    receipt: Option<i64>,
}

/// A state that its row names, or that follows from the row.
enum State {
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
            state: State::Named(row.get(5)?),
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
            state: State::Known(row.state(item)),
            reason: None,
            decision: item.decision,
            decided_at: row.decided_at,
            answered_at: row.answered_at.filter(|_| !denied),
            receipt: row.receipt.filter(|_| !denied),
        }
    }

    fn state(&self) -> Result<DisclosureState, SqlError> {
        match &self.state {
            State::Named(name) => state_named(name),
            State::Known(state) => Ok(*state),
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

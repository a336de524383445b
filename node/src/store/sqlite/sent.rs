//! The ledger's rows for whole frames: what was decided on before a frame, and its receipt.
//!
//! A frame brings up to 1,024 records in the order of the log, and nearly always all of them are
//! accepted. One row says so: the numbers, forms and decisions of its items, what was denied
//! between them, and the receipt once it came. Whatever is otherwise has a row of its own in
//! `disclosure`: an answer that is not `accepted`, a record that is tried again or was decided on
//! before. Such a row stands before what is said here.
//!
//! ```text
//! intend ─▶ row without an answer ──settle──▶ answered
//!                  └─ the frame was given up: dissolved into rows of `disclosure`
//! ```

use std::collections::HashSet;

use portcullis_protocol::{
    frame::{Answer, Lane, Outcome},
    record::{Form, RecordId},
};
use prost::Message;
use rusqlite::{Connection, Row};

use super::{
    dispatch::{Turn, state_name},
    group::Group,
    pack::{id_at, pack_of, slot_of},
    query::unreadable,
};
use crate::store::{DisclosureState, LedgerEntry, StoreError};

/// The items of a row, a column each.
#[derive(Clone, PartialEq, Message)]
struct Columns {
    /// Each record's number, as the difference to the one before.
    #[prost(sint64, repeated, tag = "1")]
    numbers: Vec<i64>,
    #[prost(uint64, repeated, tag = "2")]
    forms: Vec<u64>,
    #[prost(uint32, repeated, tag = "3")]
    withheld: Vec<u32>,
    #[prost(int64, repeated, tag = "4")]
    decisions: Vec<i64>,
    /// How many items of the frame come before each.
    #[prost(uint32, repeated, tag = "5")]
    positions: Vec<u32>,
}

/// One record of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SentItem {
    pub(super) number: i64,
    /// Empty: it was denied.
    pub(super) form: Form,
    pub(super) withheld: u32,
    pub(super) decision: i64,
    /// Its place in the frame.
    position: u32,
}

/// A row.
pub(super) struct SentRow {
    pub(super) n: i64,
    pub(super) peer: String,
    pub(super) decided_at: i64,
    pub(super) answered_at: Option<i64>,
    pub(super) receipt: Option<i64>,
    pub(super) items: Vec<SentItem>,
}

/// The columns of a [`SentRow`], up to where rows are chosen.
macro_rules! sent_rows {
    ($rest:literal) => {
        concat!(
            "SELECT n, peer, decided_at, answered_at, receipt, items FROM sent ",
            $rest
        )
    };
}
pub(super) use sent_rows;

impl SentRow {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<(Self, Vec<u8>)> {
        let read = Self {
            n: row.get(0)?,
            peer: row.get(1)?,
            decided_at: row.get(2)?,
            answered_at: row.get(3)?,
            receipt: row.get(4)?,
            items: Vec::new(),
        };
        Ok((read, row.get(5)?))
    }

    pub(super) fn with_items((row, items): (Self, Vec<u8>)) -> Result<Self, StoreError> {
        Ok(Self {
            items: read_items(&items)?,
            ..row
        })
    }

    /// The state of one of its items, unless a row of its own says otherwise.
    pub(super) const fn state(&self, item: &SentItem) -> DisclosureState {
        match (item.form.is_empty(), self.answered_at) {
            (true, _) => DisclosureState::Denied,
            (false, None) => DisclosureState::Intended,
            (false, Some(_)) => DisclosureState::Answered(Outcome::Accepted),
        }
    }
}

fn write_items(items: &[SentItem]) -> Vec<u8> {
    let mut columns = Columns::default();
    let mut before = 0;
    for item in items {
        columns.numbers.push(item.number.wrapping_sub(before));
        before = item.number;
        columns.forms.push(item.form.bits());
        columns.withheld.push(item.withheld);
        columns.decisions.push(item.decision);
        columns.positions.push(item.position);
    }
    columns.encode_to_vec()
}

fn read_items(bytes: &[u8]) -> Result<Vec<SentItem>, StoreError> {
    let Columns {
        numbers,
        forms,
        withheld,
        decisions,
        positions,
    } = Columns::decode(bytes).map_err(|_| unreadable("a row of the ledger"))?;
    let count = numbers.len();
    let lengths = [
        forms.len(),
        withheld.len(),
        decisions.len(),
        positions.len(),
    ];
    if lengths.iter().any(|length| *length != count) {
        return Err(unreadable("a row of the ledger"));
    }
    let mut number: i64 = 0;
    let columns = numbers.into_iter().zip(forms).zip(withheld);
    let items = columns.zip(decisions).zip(positions).map(
        |((((difference, form), withheld), decision), position)| {
            number = number.wrapping_add(difference);
            SentItem {
                number,
                form: Form::from_bits(form),
                withheld,
                decision,
                position,
            }
        },
    );
    Ok(items.collect())
}

/// What of a plan goes into a row, and what is decided on one by one.
pub(super) struct Split<'a> {
    /// Each entry with its record's number and its place in the frame.
    pub(super) numbered: Vec<Numbered<'a>>,
    /// The range of places that the row covers.
    range: Option<(i64, i64)>,
    /// Records that were decided on before.
    met: HashSet<i64>,
}

/// An entry and its record's number.
pub(super) struct Numbered<'a> {
    pub(super) entry: &'a LedgerEntry,
    pub(super) number: i64,
    position: u32,
}

impl Split<'_> {
    /// Whether an entry goes into the row.
    pub(super) fn is_plain(&self, numbered: &Numbered<'_>) -> bool {
        let place = numbered.entry.sequence.map(u64::cast_signed);
        place == Some(numbered.number) && !self.met.contains(&numbered.number)
    }
}

impl Group<'_> {
    /// Numbers the entries of a plan, and looks for those that were decided on before.
    pub(super) fn split<'e>(
        &self,
        turn: Turn<'_>,
        first_sequence: Option<u64>,
        entries: &'e [LedgerEntry],
    ) -> Result<(Split<'e>, Vec<SentRow>), StoreError> {
        let mut numbered = Vec::with_capacity(entries.len());
        let mut position = 0;
        for entry in entries {
            numbered.push(Numbered {
                entry,
                number: self.number_of(entry)?,
                position,
            });
            position += u32::from(!entry.form.is_empty());
        }
        let places = || entries.iter().filter_map(|entry| entry.sequence);
        let range = places().min().zip(places().max());
        let range = range.map(|(first, last)| (first.cast_signed(), last.cast_signed()));
        let left = match first_sequence {
            Some(sequence) => self.left_behind(turn, sequence)?,
            None => Vec::new(),
        };
        let met = match range {
            Some(range) => self.met_in(turn, range, &left)?,
            None => HashSet::new(),
        };
        let split = Split {
            numbered,
            range,
            met,
        };
        Ok((split, left))
    }

    fn number_of(&self, entry: &LedgerEntry) -> Result<i64, StoreError> {
        let Some(place) = entry.sequence.map(u64::cast_signed) else {
            return self.known(&entry.record);
        };
        let pack = pack_of(place);
        let number = self.directory_at(place, |all| Some(all.number(pack, slot_of(place))))?;
        number.ok_or(StoreError::Fault("an entry names no place in the log"))
    }

    /// Rows of frames that were given up: they were not answered, and another frame takes their
    /// sequence numbers.
    fn left_behind(&self, turn: Turn<'_>, sequence: u64) -> Result<Vec<SentRow>, StoreError> {
        let rows = self.rows(
            sent_rows!("WHERE peer = ?1 AND lane = ?2 AND sequence >= ?3 AND answered_at IS NULL"),
            (turn.peer.as_str(), turn.lane.name(), sequence.cast_signed()),
            SentRow::read,
        )?;
        rows.into_iter().map(SentRow::with_items).collect()
    }

    /// The records in a range of places that were decided on for this peer, but for the rows that
    /// are about to be dissolved.
    fn met_in(
        &self,
        turn: Turn<'_>,
        (first, last): (i64, i64),
        left: &[SentRow],
    ) -> Result<HashSet<i64>, StoreError> {
        let single = self.column(
            "SELECT record FROM disclosure WHERE peer = ?1 AND record BETWEEN ?2 AND ?3",
            &[&turn.peer.as_str(), &first, &last],
        )?;
        let mut met: HashSet<i64> = single.into_iter().collect();
        for row in sent_in(&self.main, turn.peer.as_str(), turn.lane, (first, last))? {
            if left.iter().all(|gone| gone.n != row.n) {
                met.extend(row.items.iter().map(|item| item.number));
            }
        }
        Ok(met)
    }

    /// Writes the row of a plan; gives what is to be decided on one by one.
    pub(super) fn write_sent<'e>(
        &mut self,
        turn: Turn<'_>,
        first_sequence: Option<u64>,
        split: Split<'e>,
    ) -> Result<Vec<Numbered<'e>>, StoreError> {
        let mut items = Vec::with_capacity(split.numbered.len());
        for numbered in split.numbered.iter().filter(|one| split.is_plain(one)) {
            items.push(SentItem {
                number: numbered.number,
                form: numbered.entry.form,
                withheld: numbered.entry.withheld,
                decision: self.decision(&numbered.entry.note)?,
                position: numbered.position,
            });
        }
        let Some((first, last)) = split.range.filter(|_| !items.is_empty()) else {
            return Ok(split.numbered);
        };
        let n = self.next_ordinal();
        self.run(
            "INSERT INTO sent (n, peer, lane, first, last, sequence, decided_at, items)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            (
                n,
                turn.peer.as_str(),
                turn.lane.name(),
                first,
                last,
                first_sequence.map(u64::cast_signed),
                turn.now.as_millis(),
                write_items(&items),
            ),
        )?;
        let plain: HashSet<i64> = items.iter().map(|item| item.number).collect();
        let mut rest = split.numbered;
        rest.retain(|numbered| !plain.contains(&numbered.number));
        Ok(rest)
    }

    /// Keeps what rows of frames that were given up say, one by one, unless the plan that takes
    /// their place says the same.
    pub(super) fn dissolve(
        &mut self,
        turn: Turn<'_>,
        left: Vec<SentRow>,
        split: &Split<'_>,
    ) -> Result<(), StoreError> {
        if left.is_empty() {
            return Ok(());
        }
        let again: HashSet<(i64, Form)> = split
            .numbered
            .iter()
            .map(|numbered| (numbered.number, numbered.entry.form))
            .collect();
        for row in left {
            for item in &row.items {
                if !again.contains(&(item.number, item.form)) {
                    self.single(turn, &row, item, Said::of(row.state(item)))?;
                }
            }
            self.run("DELETE FROM sent WHERE n = ?1", [row.n])?;
        }
        Ok(())
    }

    /// Notes what is said of one item in a row of its own; one that is there stays.
    fn single(
        &self,
        turn: Turn<'_>,
        row: &SentRow,
        item: &SentItem,
        said: Said<'_>,
    ) -> Result<(), StoreError> {
        self.run(
            "INSERT OR IGNORE INTO disclosure
                 (peer, record, form, ordinal, withheld, state, reason, decision, decided_at,
                  answered_at, receipt)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            (
                turn.peer.as_str(),
                item.number,
                item.form.bits().cast_signed(),
                row.n,
                item.withheld,
                state_name(said.state),
                said.reason,
                item.decision,
                row.decided_at,
                said.receipt.map(|_| turn.now.as_millis()),
                said.receipt,
            ),
        )?;
        Ok(())
    }

    /// Makes what a row says of a record the newest decision on it.
    pub(super) fn renew_sent(
        &mut self,
        turn: Turn<'_>,
        number: i64,
        form: Form,
    ) -> Result<(), StoreError> {
        let ordinal = self.next_ordinal();
        for row in self.sent_of(turn.peer.as_str(), number)? {
            let found = row.items.iter().find(|item| {
                item.number == number && item.form == form && row.answered_at.is_some()
            });
            let Some(item) = found else { continue };
            self.run(
                "INSERT OR IGNORE INTO disclosure
                     (peer, record, form, ordinal, withheld, state, decision, decided_at,
                      answered_at, receipt)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                (
                    turn.peer.as_str(),
                    number,
                    form.bits().cast_signed(),
                    ordinal,
                    item.withheld,
                    state_name(row.state(item)),
                    item.decision,
                    row.decided_at,
                    row.answered_at,
                    row.receipt,
                ),
            )?;
        }
        Ok(())
    }

    /// The rows that tell of a record.
    pub(super) fn sent_of(&self, peer: &str, number: i64) -> Result<Vec<SentRow>, StoreError> {
        let places = self.places(number)?;
        sent_at(&self.main, peer, &places, number)
    }

    /// Answers the items of the row of this frame, and gives the answers that are of no item of it.
    pub(super) fn settle_sent<'e>(
        &mut self,
        turn: Turn<'_>,
        (sequence, receipt): (u64, i64),
        answers: &'e [Answer],
    ) -> Result<Vec<&'e Answer>, StoreError> {
        let row = self.first(
            sent_rows!(
                "WHERE peer = ?1 AND lane = ?2 AND sequence = ?3 AND answered_at IS NULL
                 ORDER BY n DESC LIMIT 1"
            ),
            (turn.peer.as_str(), turn.lane.name(), sequence.cast_signed()),
            SentRow::read,
        )?;
        let Some(row) = row.map(SentRow::with_items).transpose()? else {
            return Ok(answers.iter().collect());
        };
        let mut rest: Vec<Option<&Answer>> = answers.iter().map(Some).collect();
        for item in row.items.iter().filter(|item| !item.form.is_empty()) {
            let position = usize::try_from(item.position).unwrap_or(usize::MAX);
            let answer = rest.get_mut(position).and_then(Option::take);
            let answer = answer.ok_or(StoreError::Fault("an item has no answer"))?;
            self.settle_item(turn, &row, item, (answer, receipt))?;
        }
        self.run(
            "UPDATE sent SET answered_at = ?2, receipt = ?3 WHERE n = ?1",
            (row.n, turn.now.as_millis(), receipt),
        )?;
        Ok(rest.into_iter().flatten().collect())
    }

    fn settle_item(
        &mut self,
        turn: Turn<'_>,
        row: &SentRow,
        item: &SentItem,
        (answer, receipt): (&Answer, i64),
    ) -> Result<(), StoreError> {
        if answer.form != item.form || !self.log_ids.is(&self.main, item.number, &answer.record)? {
            return Err(StoreError::Fault("an answer is of another item"));
        }
        if answer.outcome == Outcome::Accepted {
            return Ok(());
        }
        let said = Said {
            state: DisclosureState::Answered(answer.outcome),
            reason: answer.reason.as_deref(),
            receipt: Some(receipt),
        };
        self.single(turn, row, item, said)
    }
}

/// What is said of an item.
struct Said<'a> {
    state: DisclosureState,
    reason: Option<&'a str>,
    receipt: Option<i64>,
}

impl Said<'_> {
    const fn of(state: DisclosureState) -> Self {
        Self {
            state,
            reason: None,
            receipt: None,
        }
    }
}

/// The ids of the pack looked at last.
#[derive(Default)]
pub(super) struct PackIds {
    pack: Option<i64>,
    ids: Vec<u8>,
}

impl PackIds {
    fn is(&mut self, main: &Connection, number: i64, id: &RecordId) -> Result<bool, StoreError> {
        let pack = pack_of(number);
        if self.pack != Some(pack) {
            let mut select = main.prepare_cached("SELECT ids FROM pack WHERE n = ?1")?;
            self.ids = select.query_row([pack], |row| row.get(0))?;
            self.pack = Some(pack);
        }
        Ok(id_at(&self.ids, slot_of(number)).as_ref() == Some(id))
    }
}

/// The rows of a peer and lane that cover some of these places.
pub(super) fn sent_in(
    main: &Connection,
    peer: &str,
    lane: Lane,
    (first, last): (i64, i64),
) -> Result<Vec<SentRow>, StoreError> {
    let mut select = main.prepare_cached(sent_rows!(
        "WHERE peer = ?1 AND lane = ?2 AND last >= ?3 AND first <= ?4 ORDER BY n"
    ))?;
    let rows = select.query_map((peer, lane.name(), first, last), SentRow::read)?;
    rows.map(|row| SentRow::with_items(row?)).collect()
}

/// The rows of a peer that tell of this record, which stands at these places.
pub(super) fn sent_at(
    main: &Connection,
    peer: &str,
    places: &[i64],
    number: i64,
) -> Result<Vec<SentRow>, StoreError> {
    let mut rows = Vec::new();
    for place in places {
        for lane in Lane::ALL {
            rows.extend(sent_in(main, peer, *lane, (*place, *place))?);
        }
    }
    rows.retain(|row| row.items.iter().any(|item| item.number == number));
    rows.sort_by_key(|row| row.n);
    rows.dedup_by_key(|row| row.n);
    Ok(rows)
}

/// The peers that rows are of.
pub(super) fn sent_peers(main: &Connection) -> Result<Vec<String>, StoreError> {
    let mut select = main.prepare_cached(
        "WITH RECURSIVE p (peer) AS (
             SELECT min(peer) FROM sent
             UNION ALL
             SELECT (SELECT min(peer) FROM sent WHERE sent.peer > p.peer) FROM p
             WHERE p.peer IS NOT NULL)
         SELECT peer FROM p WHERE peer IS NOT NULL",
    )?;
    let rows = select.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

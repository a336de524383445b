//! The ledger's rows for whole frames: the decisions before a frame, and its receipt.
//!
//! A frame brings up to 1,024 records in the order of the log, and nearly always all of them are
//! accepted. One row holds this: the numbers, forms and decisions of its items, the records denied
//! between them, and the receipt once it arrived. Every exception to it has a row of its own in
//! `disclosure`: an answer other than `accepted`, and a record that is retried or was decided on
//! before. Such a row takes precedence over the frame's.
//!
//! ```text
//! intend ─▶ row without an answer ──settle──▶ answered
//!                  └─ the frame was given up: dissolved into rows of `disclosure`
//! ```

use portcullis_protocol::{
    frame::{Lane, Outcome},
    record::Form,
};
use portcullis_store::DisclosureState;
use prost::Message;
use rusqlite::Row;

use super::{decode::unreadable, error::SqlError, view::DatabaseView};

/// The items of a row, one list for each column.
#[derive(Clone, PartialEq, Message)]
struct Columns {
    /// Each record's number, as the difference from the one before.
    #[prost(sint64, repeated, tag = "1")]
    numbers: Vec<i64>,
    #[prost(uint64, repeated, tag = "2")]
    forms: Vec<u64>,
    #[prost(uint32, repeated, tag = "3")]
    withheld: Vec<u32>,
    #[prost(int64, repeated, tag = "4")]
    decisions: Vec<i64>,
    /// The number of items of the frame that come before each.
    #[prost(uint32, repeated, tag = "5")]
    positions: Vec<u32>,
}

/// One record of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SentItem {
    pub(super) number: i64,
    /// The form released; empty if the record was denied.
    pub(super) form: Form,
    pub(super) withheld: u32,
    pub(super) decision: i64,
    /// Its position in the frame, from 0.
    pub(super) position: u32,
}

/// A row of the ledger for a whole frame.
pub(super) struct SentRow {
    pub(super) n: i64,
    pub(super) peer: String,
    pub(super) decided_at: i64,
    pub(super) answered_at: Option<i64>,
    pub(super) receipt: Option<i64>,
    pub(super) items: Vec<SentItem>,
}

/// The columns of a [`SentRow`], up to the clauses that choose the rows.
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

    pub(super) fn with_items((row, items): (Self, Vec<u8>)) -> Result<Self, SqlError> {
        Ok(Self {
            items: read_items(&items)?,
            ..row
        })
    }

    /// Returns the state of one of its items. A row in `disclosure` takes precedence.
    pub(super) const fn state(&self, item: &SentItem) -> DisclosureState {
        match (item.form.is_empty(), self.answered_at) {
            (true, _) => DisclosureState::Denied,
            (false, None) => DisclosureState::Intended,
            (false, Some(_)) => DisclosureState::Answered(Outcome::Accepted),
        }
    }
}

pub(super) fn write_items(items: &[SentItem]) -> Vec<u8> {
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

fn read_items(bytes: &[u8]) -> Result<Vec<SentItem>, SqlError> {
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

/// Returns the rows of a peer and lane that cover some of these places.
pub(super) fn sent_in(
    view: DatabaseView<'_>,
    peer: &str,
    lane: Lane,
    (first, last): (i64, i64),
) -> Result<Vec<SentRow>, SqlError> {
    let rows = view.rows(
        sent_rows!("WHERE peer = ?1 AND lane = ?2 AND last >= ?3 AND first <= ?4 ORDER BY n"),
        (peer, lane.name(), first, last),
        SentRow::read,
    )?;
    rows.into_iter().map(SentRow::with_items).collect()
}

/// Returns the rows of a peer that hold this record, which stands at these places.
pub(super) fn sent_at(
    view: DatabaseView<'_>,
    peer: &str,
    places: &[i64],
    number: i64,
) -> Result<Vec<SentRow>, SqlError> {
    let mut rows = Vec::new();
    for place in places {
        for lane in Lane::ALL {
            rows.extend(sent_in(view, peer, *lane, (*place, *place))?);
        }
    }
    rows.retain(|row| row.items.iter().any(|item| item.number == number));
    rows.sort_by_key(|row| row.n);
    rows.dedup_by_key(|row| row.n);
    Ok(rows)
}

/// Returns the peers that have rows.
pub(super) fn sent_peers(view: DatabaseView<'_>) -> Result<Vec<String>, SqlError> {
    view.rows(
        "WITH RECURSIVE p (peer) AS (
             SELECT min(peer) FROM sent
             UNION ALL
             SELECT (SELECT min(peer) FROM sent WHERE sent.peer > p.peer) FROM p
             WHERE p.peer IS NOT NULL)
         SELECT peer FROM p WHERE peer IS NOT NULL",
        [],
        |row| row.get(0),
    )
}

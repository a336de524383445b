//! Writes to the ledger's rows of frames: when a frame is planned, given up, and answered.
//!
//! Entries and answers that do not go into the row of a frame are handed back, to be decided on or
//! answered one by one ([`super::ledger`]).

use std::collections::HashSet;

use portcullis_protocol::{
    frame::{Answer, Lane, Outcome},
    record::Form,
};
use portcullis_store::{DisclosureState, LedgerEntry, StoreError};

use super::{
    disclosure::{Posting, state_name},
    error::SqlError,
    pack::{Directory, pack_of, slot_of},
    sent::{SentItem, SentRow, sent_at, sent_in, sent_rows, write_items},
    transaction::WriteTransaction,
};

/// A plan, divided into what goes into a frame's row and what is decided on one by one.
struct Split<'a> {
    /// The entries, each with its record's number and its position in the frame.
    numbered: Vec<Numbered<'a>>,
    /// The first and last place in the log that the row covers.
    range: Option<(i64, i64)>,
    /// Records that were decided on before.
    met: HashSet<i64>,
}

/// An entry with its record's number and its position in the frame.
pub(super) struct Numbered<'a> {
    pub(super) entry: &'a LedgerEntry,
    pub(super) number: i64,
    position: u32,
}

impl Split<'_> {
    /// Returns true if the entry goes into the row.
    fn is_plain(&self, numbered: &Numbered<'_>) -> bool {
        let place = numbered.entry.sequence.map(u64::cast_signed);
        place == Some(numbered.number) && !self.met.contains(&numbered.number)
    }
}

/// Writer of the ledger's rows of frames.
pub(super) struct FrameWriter<'t, 'a> {
    tx: &'t mut WriteTransaction<'a>,
}

impl<'t, 'a> FrameWriter<'t, 'a> {
    pub(super) const fn of(tx: &'t mut WriteTransaction<'a>) -> Self {
        Self { tx }
    }

    /// Writes the row of a plan in place of those that were given up, and returns the entries that
    /// are to be decided on one by one.
    pub(super) fn plan<'e>(
        &mut self,
        posting: Posting<'_>,
        first_sequence: Option<u64>,
        entries: &'e [LedgerEntry],
    ) -> Result<Vec<Numbered<'e>>, SqlError> {
        let (mut split, left) = self.split(posting, first_sequence, entries)?;
        self.dissolve(posting, left, &mut split)?;
        self.write_sent(posting, first_sequence, split)
    }

    /// Numbers the entries of a plan, and looks for those that were decided on before.
    fn split<'e>(
        &self,
        posting: Posting<'_>,
        first_sequence: Option<u64>,
        entries: &'e [LedgerEntry],
    ) -> Result<(Split<'e>, Vec<SentRow>), SqlError> {
        let mut numbered = Vec::with_capacity(entries.len());
        let mut position = 0;
        let mut at_hand = None;
        for entry in entries {
            let number = self.number_of(entry, &mut at_hand)?;
            if posting.lane == Lane::Urgent && self.tx.number(&entry.record)? != Some(number) {
                // The record was announced, but its transaction failed.
                return Err(StoreError::Fault("an entry names another record's place").into());
            }
            numbered.push(Numbered {
                entry,
                number,
                position,
            });
            position += u32::from(!entry.form.is_empty());
        }
        let places = || entries.iter().filter_map(|entry| entry.sequence);
        let range = places().min().zip(places().max());
        let range = range.map(|(first, last)| (first.cast_signed(), last.cast_signed()));
        let left = match first_sequence {
            Some(sequence) => self.left_behind(posting, sequence)?,
            None => Vec::new(),
        };
        let met = match range {
            Some(range) => self.met_in(posting, range, &left)?,
            None => HashSet::new(),
        };
        let split = Split {
            numbered,
            range,
            met,
        };
        Ok((split, left))
    }

    /// Returns the number of an entry's record. Neighbours in the log share one read of their
    /// pack's directory.
    fn number_of(
        &self,
        entry: &LedgerEntry,
        at_hand: &mut Option<(i64, Directory)>,
    ) -> Result<i64, SqlError> {
        let Some(place) = entry.sequence.map(u64::cast_signed) else {
            return self.tx.known(&entry.record);
        };
        let pack = pack_of(place);
        if at_hand.as_ref().is_none_or(|(n, _)| *n != pack) {
            let directory = self
                .tx
                .directory_at(place, |directory| Some(directory.clone()))?;
            *at_hand = directory.map(|directory| (pack, directory));
        }
        let number = at_hand
            .as_ref()
            .map(|(n, directory)| directory.number(*n, slot_of(place)));
        Ok(number.ok_or(StoreError::Fault("an entry names no place in the log"))?)
    }

    /// Returns the rows of frames that were given up: they were not answered, and another frame
    /// takes their sequence numbers.
    fn left_behind(&self, posting: Posting<'_>, sequence: u64) -> Result<Vec<SentRow>, SqlError> {
        let rows = self.tx.rows(
            sent_rows!("WHERE peer = ?1 AND lane = ?2 AND sequence >= ?3 AND answered_at IS NULL"),
            (
                posting.peer.as_str(),
                posting.lane.name(),
                sequence.cast_signed(),
            ),
            SentRow::read,
        )?;
        rows.into_iter().map(SentRow::with_items).collect()
    }

    /// Returns the records in a range of places that were decided on for this peer. The rows that
    /// are about to be dissolved do not count.
    fn met_in(
        &self,
        posting: Posting<'_>,
        (first, last): (i64, i64),
        left: &[SentRow],
    ) -> Result<HashSet<i64>, SqlError> {
        let single = self.tx.column(
            "SELECT record FROM disclosure WHERE peer = ?1 AND record BETWEEN ?2 AND ?3",
            &[&posting.peer.as_str(), &first, &last],
        )?;
        let mut met: HashSet<i64> = single.into_iter().collect();
        for row in sent_in(
            self.tx.view(),
            posting.peer.as_str(),
            posting.lane,
            (first, last),
        )? {
            if left.iter().all(|gone| gone.n != row.n) {
                met.extend(row.items.iter().map(|item| item.number));
            }
        }
        Ok(met)
    }

    /// Writes the row of a plan, and returns the entries that are to be decided on one by one.
    fn write_sent<'e>(
        &mut self,
        posting: Posting<'_>,
        first_sequence: Option<u64>,
        split: Split<'e>,
    ) -> Result<Vec<Numbered<'e>>, SqlError> {
        let mut items = Vec::with_capacity(split.numbered.len());
        for numbered in split.numbered.iter().filter(|one| split.is_plain(one)) {
            items.push(SentItem {
                number: numbered.number,
                form: numbered.entry.form,
                withheld: numbered.entry.withheld,
                decision: self.tx.decision(&numbered.entry.note)?,
                position: numbered.position,
            });
        }
        let Some((first, last)) = split.range.filter(|_| !items.is_empty()) else {
            return Ok(split.numbered);
        };
        let n = self.tx.next_ordinal();
        self.tx.run(
            "INSERT INTO sent (n, peer, lane, first, last, sequence, decided_at, items)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            (
                n,
                posting.peer.as_str(),
                posting.lane.name(),
                first,
                last,
                first_sequence.map(u64::cast_signed),
                posting.now.as_millis(),
                write_items(&items),
            ),
        )?;
        let plain: HashSet<i64> = items.iter().map(|item| item.number).collect();
        let mut rest = split.numbered;
        rest.retain(|numbered| !plain.contains(&numbered.number));
        Ok(rest)
    }

    /// Keeps the entries of rows whose frames were given up, one by one, unless the plan that takes
    /// their place has the same entry. The records kept so count as decided on before. This ensures
    /// that the newest decision on a record with a row of its own also has a row of its own.
    fn dissolve(
        &mut self,
        posting: Posting<'_>,
        left: Vec<SentRow>,
        split: &mut Split<'_>,
    ) -> Result<(), SqlError> {
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
                    self.single(posting, &row, item, Said::of(row.state(item)))?;
                    split.met.insert(item.number);
                }
            }
            self.tx.run("DELETE FROM sent WHERE n = ?1", [row.n])?;
        }
        Ok(())
    }

    /// Writes one item into a row of its own. An existing row stays as it is.
    fn single(
        &self,
        posting: Posting<'_>,
        row: &SentRow,
        item: &SentItem,
        said: Said<'_>,
    ) -> Result<(), SqlError> {
        self.tx.run(
            "INSERT OR IGNORE INTO disclosure
                 (peer, record, form, ordinal, withheld, state, reason, decision, decided_at,
                  answered_at, receipt)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            (
                posting.peer.as_str(),
                item.number,
                item.form.bits().cast_signed(),
                row.n,
                item.withheld,
                state_name(said.state),
                said.reason,
                item.decision,
                row.decided_at,
                said.receipt.map(|_| posting.now.as_millis()),
                said.receipt,
            ),
        )?;
        Ok(())
    }

    /// Makes an answered item of a frame's row the newest decision on its record.
    pub(super) fn renew(
        &mut self,
        posting: Posting<'_>,
        number: i64,
        form: Form,
    ) -> Result<(), SqlError> {
        let ordinal = self.tx.next_ordinal();
        for row in self.rows_of(posting.peer.as_str(), number)? {
            let found = row.items.iter().find(|item| {
                item.number == number && item.form == form && row.answered_at.is_some()
            });
            let Some(item) = found else { continue };
            self.tx.run(
                "INSERT OR IGNORE INTO disclosure
                     (peer, record, form, ordinal, withheld, state, decision, decided_at,
                      answered_at, receipt)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                (
                    posting.peer.as_str(),
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

    /// Returns the rows of frames that hold this record.
    pub(super) fn rows_of(&self, peer: &str, number: i64) -> Result<Vec<SentRow>, SqlError> {
        let places = self.tx.places(number)?;
        sent_at(self.tx.view(), peer, &places, number)
    }

    /// Answers the items of this frame's row, and returns the answers that belong to none of them.
    pub(super) fn settle<'e>(
        &mut self,
        posting: Posting<'_>,
        (sequence, receipt): (u64, i64),
        answers: &'e [Answer],
    ) -> Result<Vec<&'e Answer>, SqlError> {
        let row = self.tx.first(
            sent_rows!(
                "WHERE peer = ?1 AND lane = ?2 AND sequence = ?3 AND answered_at IS NULL
                 ORDER BY n DESC LIMIT 1"
            ),
            (
                posting.peer.as_str(),
                posting.lane.name(),
                sequence.cast_signed(),
            ),
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
            self.settle_item(posting, &row, item, (answer, receipt))?;
        }
        self.tx.run(
            "UPDATE sent SET answered_at = ?2, receipt = ?3 WHERE n = ?1",
            (row.n, posting.now.as_millis(), receipt),
        )?;
        Ok(rest.into_iter().flatten().collect())
    }

    fn settle_item(
        &mut self,
        posting: Posting<'_>,
        row: &SentRow,
        item: &SentItem,
        (answer, receipt): (&Answer, i64),
    ) -> Result<(), SqlError> {
        if answer.form != item.form || self.tx.logged_id(item.number)? != Some(answer.record) {
            return Err(StoreError::Fault("an answer is of another item").into());
        }
        if answer.outcome == Outcome::Accepted {
            return Ok(());
        }
        let said = Said {
            state: DisclosureState::Answered(answer.outcome),
            reason: answer.reason.as_deref(),
            receipt: Some(receipt),
        };
        self.single(posting, row, item, said)
    }
}

/// State of an item that is written into a row of its own.
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

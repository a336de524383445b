//! The authority's own consignments and their scores.

use portcullis_protocol::{body::SelectorKind, record::RecordId, time::Timestamp};
use portcullis_store::{ConsignmentRow, ConsignmentStage, Damaged, ScoreRow};
use prost::Message;
use rusqlite::Row;

use super::{
    crypt::SealedAs,
    decode::{named, unreadable},
    error::SqlError,
    pack::{Directory, pack_of, slot_of},
    transaction::{KeyedCiphertext, WriteTransaction},
    view::DatabaseView,
};

/// The sealed part of a consignment.
#[derive(Clone, PartialEq, Message)]
struct SealedConsignment {
    #[prost(bytes = "vec", tag = "1")]
    body: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    selectors: Vec<SealedSelector>,
}

#[derive(Clone, PartialEq, Message)]
struct SealedSelector {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// The sealed part of a score.
#[derive(Clone, PartialEq, Message)]
struct SealedScore {
    #[prost(bytes = "vec", tag = "1")]
    explanation: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    records: Vec<Vec<u8>>,
}

/// Writer of consignments and their scores.
pub(super) struct ConsignmentWriter<'t, 'a> {
    tx: &'t mut WriteTransaction<'a>,
}

impl<'t, 'a> ConsignmentWriter<'t, 'a> {
    pub(super) const fn of(tx: &'t mut WriteTransaction<'a>) -> Self {
        Self { tx }
    }

    /// Keeps consignments. One with the same reference is replaced and its key destroyed.
    pub(super) fn consignments(&mut self, rows: Vec<ConsignmentRow>) -> Result<(), SqlError> {
        rows.into_iter().try_for_each(|row| self.consignment(row))
    }

    fn consignment(&mut self, row: ConsignmentRow) -> Result<(), SqlError> {
        let ConsignmentRow {
            reference,
            at,
            arriving,
            body,
            selectors,
        } = row;
        let mut tokens: Vec<_> = selectors
            .iter()
            .filter(|_| arriving)
            .filter_map(|(kind, value)| self.tx.vault().token(*kind, value))
            .collect();
        tokens.sort_unstable();
        let selectors = selectors.into_iter().map(|(kind, value)| SealedSelector {
            kind: kind.name().to_owned(),
            value,
        });
        let plain = SealedConsignment {
            body,
            selectors: selectors.collect(),
        };
        let KeyedCiphertext { key, sealed } = self
            .tx
            .seal(SealedAs::Consignment(&reference), plain.encode_to_vec())?;
        let number = self.place_consignment(&reference)?;
        self.tx.run(
            "INSERT INTO consignment (n, reference, at, arriving, key, sealed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (n) DO UPDATE SET at = excluded.at, arriving = excluded.arriving,
                 key = excluded.key, sealed = excluded.sealed",
            (number, &reference, at.as_millis(), arriving, key, sealed),
        )?;
        for token in tokens {
            self.tx.run(
                "INSERT OR IGNORE INTO consignment_token (token, consignment) VALUES (?1, ?2)",
                (token, number),
            )?;
        }
        Ok(())
    }

    /// Returns the number of a consignment, a new one if the reference is new. The consignment that
    /// is replaced loses its key and tokens.
    fn place_consignment(&mut self, reference: &str) -> Result<i64, SqlError> {
        let earlier = self.tx.first(
            "SELECT n, key FROM consignment WHERE reference = ?1",
            [reference],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let Some((number, key)) = earlier else {
            let newest =
                self.tx
                    .first("SELECT coalesce(max(n), 0) FROM consignment", [], |row| {
                        row.get::<_, i64>(0)
                    })?;
            return Ok(newest.unwrap_or(0) + 1);
        };
        self.tx.retire(key);
        self.tx.run(
            "DELETE FROM consignment_token WHERE consignment = ?1",
            [number],
        )?;
        Ok(number)
    }

    /// Keeps scores. An earlier score of the same consignment is replaced and its key destroyed.
    pub(super) fn scores(&mut self, rows: Vec<ScoreRow>) -> Result<(), SqlError> {
        rows.into_iter().try_for_each(|row| self.score(row))
    }

    fn score(&mut self, row: ScoreRow) -> Result<(), SqlError> {
        let ScoreRow {
            reference,
            points,
            at,
            explanation,
            records,
        } = row;
        let earlier = self.tx.first(
            "SELECT key FROM score WHERE reference = ?1",
            [&reference],
            |row| row.get(0),
        )?;
        if let Some(key) = earlier {
            self.tx.retire(key);
        }
        let records = records.iter().map(|record| record.as_bytes().to_vec());
        let plain = SealedScore {
            explanation,
            records: records.collect(),
        };
        let KeyedCiphertext { key, sealed } = self
            .tx
            .seal(SealedAs::Score(&reference), plain.encode_to_vec())?;
        self.tx.run(
            "INSERT OR REPLACE INTO score (reference, points, at, key, sealed)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            (&reference, points, at.as_millis(), key, sealed),
        )?;
        Ok(())
    }
}

/// A consignment or score as it stands in its table.
struct SealedRow<T> {
    reference: String,
    at: i64,
    /// The part in clear: `arriving` of a consignment, or the points of a score.
    clear: T,
    wrapped: Option<Vec<u8>>,
    sealed: Vec<u8>,
}

impl<T: rusqlite::types::FromSql> SealedRow<T> {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            reference: row.get(0)?,
            at: row.get(1)?,
            clear: row.get(2)?,
            wrapped: row.get(3)?,
            sealed: row.get(4)?,
        })
    }
}

/// The columns of a [`SealedRow`], up to the clauses that choose the rows.
macro_rules! consignment_rows {
    ($rest:literal) => {
        concat!(
            "SELECT reference, at, arriving, wrapped, sealed FROM consignment AS c ",
            "LEFT JOIN keys.wrapped_key AS k ON k.n = c.key ",
            $rest
        )
    };
}

macro_rules! score_rows {
    ($rest:literal) => {
        concat!(
            "SELECT reference, at, points, wrapped, sealed FROM score AS s ",
            "LEFT JOIN keys.wrapped_key AS k ON k.n = s.key ",
            $rest
        )
    };
}

/// Reader of consignments and their scores.
pub(super) struct ConsignmentReader<'a> {
    view: DatabaseView<'a>,
}

impl<'a> ConsignmentReader<'a> {
    pub(super) const fn of(view: DatabaseView<'a>) -> Self {
        Self { view }
    }

    /// Returns those of `records` that may concern an arriving consignment.
    pub(super) fn touching(&self, records: &[RecordId]) -> Result<Vec<RecordId>, SqlError> {
        let mut found = Vec::new();
        let any = self
            .view
            .first("SELECT n FROM consignment LIMIT 1", [], |row| {
                row.get::<_, i64>(0)
            })?;
        if any.is_none() {
            return Ok(found);
        }
        let mut last: Option<(i64, Directory)> = None;
        for id in records {
            for place in self.places_of(id)? {
                let pack = pack_of(place);
                if last.as_ref().is_none_or(|(n, _)| *n != pack) {
                    let read = self.directory(pack);
                    let read = self.view.unless_damaged(|| Damaged::Pack(pack), read)?;
                    last = read.flatten().map(|directory| (pack, directory));
                }
                let directory = last.as_ref().map(|(_, directory)| directory);
                if directory.map_or(Ok(false), |all| self.touches(all, slot_of(place)))? {
                    found.push(*id);
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Returns the places of a record in the log; none if it was withdrawn.
    fn places_of(&self, id: &RecordId) -> Result<Vec<i64>, SqlError> {
        match self.view.number(id)? {
            Some(number) if !self.view.is_withdrawn(number)? => self.view.places(number),
            Some(_) | None => Ok(Vec::new()),
        }
    }

    fn directory(&self, pack: i64) -> Result<Option<Directory>, SqlError> {
        let bytes: Option<Vec<u8>> =
            self.view
                .first("SELECT directory FROM pack WHERE n = ?1", [pack], |row| {
                    row.get(0)
                })?;
        bytes.map(|bytes| Directory::read(&bytes)).transpose()
    }

    fn touches(&self, directory: &Directory, slot: usize) -> Result<bool, SqlError> {
        if directory.is_common(slot) {
            return Ok(true);
        }
        for token in directory.tokens_of(slot) {
            let named = self.view.first(
                "SELECT 1 FROM consignment_token WHERE token = ?1 LIMIT 1",
                [token],
                |row| row.get::<_, i64>(0),
            )?;
            if named.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn consignments(
        &self,
        stage: ConsignmentStage,
    ) -> Result<Vec<ConsignmentRow>, SqlError> {
        let arriving = match stage {
            ConsignmentStage::History => false,
            ConsignmentStage::Arriving => true,
        };
        let rows = self.view.rows(
            consignment_rows!("WHERE arriving = ?1 ORDER BY reference"),
            [arriving],
            SealedRow::read,
        )?;
        self.opened(rows)
    }

    /// Opens rows; those that are damaged are left out.
    fn opened(&self, rows: Vec<SealedRow<bool>>) -> Result<Vec<ConsignmentRow>, SqlError> {
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let reference = row.reference.clone();
            let read = self.open_consignment(row);
            found.extend(
                self.view
                    .unless_damaged(|| Damaged::Consignment(reference), read)?,
            );
        }
        Ok(found)
    }

    pub(super) fn consignment(&self, reference: &str) -> Result<Option<ConsignmentRow>, SqlError> {
        let row = self.view.first(
            consignment_rows!("WHERE reference = ?1"),
            [reference],
            SealedRow::read,
        )?;
        row.map(|row| self.open_consignment(row)).transpose()
    }

    pub(super) fn consignments_with(
        &self,
        kind: SelectorKind,
        value: &str,
    ) -> Result<Vec<ConsignmentRow>, SqlError> {
        let mut rows = match self.view.vault.token(kind, value) {
            Some(token) => {
                let rows = self.view.rows(
                    consignment_rows!(
                        "JOIN consignment_token AS t ON t.consignment = c.n
                         WHERE t.token = ?1 AND arriving ORDER BY reference"
                    ),
                    [token],
                    SealedRow::read,
                )?;
                self.opened(rows)?
            }
            None => self.consignments(ConsignmentStage::Arriving)?,
        };
        let named = |(of, text): &(SelectorKind, String)| *of == kind && text == value;
        rows.retain(|row| row.selectors.iter().any(named));
        Ok(rows)
    }

    fn open_consignment(&self, row: SealedRow<bool>) -> Result<ConsignmentRow, SqlError> {
        let sealed_as = SealedAs::Consignment(&row.reference);
        let what = || format!("consignment `{}`", row.reference);
        let plain = self
            .view
            .open(sealed_as, row.wrapped.as_deref(), row.sealed, what)?;
        let SealedConsignment { body, selectors } =
            SealedConsignment::decode(plain.as_slice()).map_err(|_| unreadable(&what()))?;
        let selectors = selectors
            .into_iter()
            .map(|selector| Ok((named(&selector.kind)?, selector.value)))
            .collect::<Result<_, SqlError>>()?;
        Ok(ConsignmentRow {
            at: Timestamp::from_millis(row.at),
            arriving: row.clear,
            body,
            selectors,
            reference: row.reference,
        })
    }

    pub(super) fn score(&self, reference: &str) -> Result<Option<ScoreRow>, SqlError> {
        let row = self.view.first(
            score_rows!("WHERE reference = ?1"),
            [reference],
            SealedRow::read,
        )?;
        let opened = row.map(|row| self.sound_score(row)).transpose()?;
        Ok(opened.flatten())
    }

    /// Opens a score. A damaged one counts as none: the consignment is scored again.
    fn sound_score(&self, row: SealedRow<f64>) -> Result<Option<ScoreRow>, SqlError> {
        let reference = row.reference.clone();
        let read = self.open_score(row);
        self.view.unless_damaged(|| Damaged::Score(reference), read)
    }

    pub(super) fn scores(&self, limit: u32) -> Result<Vec<ScoreRow>, SqlError> {
        let rows = self.view.rows(
            score_rows!("ORDER BY points DESC, reference LIMIT ?1"),
            [limit],
            SealedRow::read,
        )?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            found.extend(self.sound_score(row)?);
        }
        Ok(found)
    }

    fn open_score(&self, row: SealedRow<f64>) -> Result<ScoreRow, SqlError> {
        let sealed_as = SealedAs::Score(&row.reference);
        let what = || format!("the score of `{}`", row.reference);
        let plain = self
            .view
            .open(sealed_as, row.wrapped.as_deref(), row.sealed, what)?;
        let SealedScore {
            explanation,
            records,
        } = SealedScore::decode(plain.as_slice()).map_err(|_| unreadable(&what()))?;
        let records = records
            .iter()
            .map(|bytes| RecordId::from_slice(bytes).ok_or_else(|| unreadable(&what())))
            .collect::<Result<_, _>>()?;
        Ok(ScoreRow {
            points: row.clear,
            at: Timestamp::from_millis(row.at),
            explanation,
            records,
            reference: row.reference,
        })
    }
}

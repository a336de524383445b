//! The authority's own consignments and their scores.
//!
//! A row is found by its name, which is its reference sealed. Nothing in clear tells a reference,
//! points, or by which records a consignment is named.

use std::{cmp::Reverse, collections::BinaryHeap};

use portcullis_protocol::{body::SelectorKind, record::RecordId, time::Timestamp};
use portcullis_store::{
    CONSIGNMENTS_A_PAGE, ConsignmentPage, ConsignmentPlace, ConsignmentRanking, ConsignmentRow,
    ConsignmentStage, ConsignmentsOf, Damaged, RankedConsignment, ReferencePage, ScoreRow,
    StoreError,
};
use prost::Message;
use rusqlite::{OptionalExtension as _, Row};

use super::{
    crossing::Crossing,
    crypt::{SealedAs, Token},
    decode::{named, unreadable},
    error::SqlError,
    pack::{Directory, pack_of, slot_of},
    transaction::{KeyedCiphertext, WriteTransaction},
    view::DatabaseView,
};

/// Rank of a consignment without a score: below every score.
const UNSCORED: f64 = f64::NEG_INFINITY;

/// The sealed part of a consignment.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SealedConsignment {
    #[prost(bytes = "vec", tag = "1")]
    body: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    pub(super) selectors: Vec<SealedSelector>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SealedSelector {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    value: String,
}

impl SealedSelector {
    /// Returns the kind and the value.
    pub(super) fn read(self) -> Result<(SelectorKind, String), SqlError> {
        Ok((named(&self.kind)?, self.value))
    }
}

/// The sealed part of a score.
#[derive(Clone, PartialEq, Message)]
struct SealedScore {
    /// Earlier versions kept the whole explanation, which the desk reads as well.
    #[prost(bytes = "vec", tag = "1")]
    summary: Vec<u8>,
    /// The records themselves, as earlier versions kept them; they are counted.
    #[prost(bytes = "vec", repeated, tag = "2")]
    listed: Vec<Vec<u8>>,
    #[prost(uint64, tag = "3")]
    records: u64,
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
        let (vault, arrivals) = (self.tx.vault(), selectors.iter().filter(|_| arriving));
        let mut tokens: Vec<_> = arrivals
            .clone()
            .filter_map(|(kind, value)| vault.consignment_token(*kind, value))
            .collect();
        tokens.sort_unstable();
        let crossing = arrivals.filter_map(|(kind, value)| vault.token(*kind, value));
        self.tx.crossing.added.extend(crossing);
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
        let name = self.tx.vault().name(&reference)?;
        let number = self.place_consignment(&name)?;
        self.tx.run(
            "INSERT INTO consignment (n, name, at, arriving, key, sealed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (n) DO UPDATE SET at = excluded.at, arriving = excluded.arriving,
                 key = excluded.key, sealed = excluded.sealed",
            (number, &name, at.as_millis(), arriving, key, sealed),
        )?;
        for token in tokens {
            self.tx.run(
                "INSERT OR IGNORE INTO consignment_token (token, consignment) VALUES (?1, ?2)",
                (token, number),
            )?;
        }
        Ok(())
    }

    /// Returns the number of a consignment, a new one if the name is new. The consignment that is
    /// replaced loses its key and tokens.
    fn place_consignment(&mut self, name: &[u8]) -> Result<i64, SqlError> {
        let Some((number, key)) = self.placed(name)? else {
            let newest =
                self.tx
                    .first("SELECT coalesce(max(n), 0) FROM consignment", [], |row| {
                        row.get::<_, i64>(0)
                    })?;
            return Ok(newest.unwrap_or(0) + 1);
        };
        self.end(number, key, name)?;
        Ok(number)
    }

    /// Ends what is kept of a consignment beside its row: its key and its tokens.
    fn end(&mut self, number: i64, key: i64, name: &[u8]) -> Result<(), SqlError> {
        self.let_go(number, key, name)?;
        self.tx.retire(key);
        self.tx.run(
            "DELETE FROM consignment_token WHERE consignment = ?1",
            [number],
        )?;
        Ok(())
    }

    /// Removes consignments with their scores. Those that are unknown are left out.
    pub(super) fn remove(&mut self, references: &[String]) -> Result<(), SqlError> {
        for reference in references {
            let name = self.tx.vault().name(reference)?;
            if let Some((number, key)) = self.placed(&name)? {
                self.end(number, key, &name)?;
                self.tx
                    .run("DELETE FROM consignment WHERE n = ?1", [number])?;
            }
            if let Some(key) = self.score_key(&name)? {
                self.tx.retire(key);
                self.tx.run("DELETE FROM score WHERE name = ?1", [&name])?;
            }
        }
        Ok(())
    }

    /// Returns the number and the key of a consignment that is kept.
    fn placed(&mut self, name: &[u8]) -> Result<Option<(i64, i64)>, SqlError> {
        self.tx.first(
            "SELECT n, key FROM consignment WHERE name = ?1",
            [name],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    fn score_key(&mut self, name: &[u8]) -> Result<Option<i64>, SqlError> {
        let select = "SELECT key FROM score WHERE name = ?1";
        self.tx.first(select, [name], |row| row.get(0))
    }

    /// Notes the tokens by which records named an arriving consignment that is replaced. One that does
    /// not open leaves its tokens behind.
    fn let_go(&mut self, number: i64, key: i64, name: &[u8]) -> Result<(), SqlError> {
        let arrived = self.tx.first(
            "SELECT sealed FROM consignment WHERE n = ?1 AND arriving",
            [number],
            |row| row.get::<_, Vec<u8>>(0),
        )?;
        let vault = self.tx.vault();
        let (Some(sealed), Some(reference)) = (arrived, vault.reference(name)) else {
            return Ok(());
        };
        let wrapped: Option<Vec<u8>> = self
            .tx
            .keys()?
            .query_row(
                "SELECT wrapped FROM wrapped_key WHERE n = ?1",
                [key],
                |row| row.get(0),
            )
            .optional()
            .map_err(SqlError::Keys)?;
        let plain = wrapped
            .and_then(|wrapped| vault.open(SealedAs::Consignment(&reference), &wrapped, sealed))
            .and_then(|plain| SealedConsignment::decode(plain.as_slice()).ok());
        let selectors = plain.map(|plain| plain.selectors).unwrap_or_default();
        for selector in selectors {
            let (kind, value) = selector.read()?;
            self.tx.crossing.gone.extend(vault.token(kind, &value));
        }
        Ok(())
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
            summary,
            records,
        } = row;
        let name = self.tx.vault().name(&reference)?;
        // It may have been removed while it was scored.
        if self.placed(&name)?.is_none() {
            return Ok(());
        }
        if let Some(key) = self.score_key(&name)? {
            self.tx.retire(key);
        }
        let plain = SealedScore {
            summary,
            listed: Vec::new(),
            records,
        };
        let KeyedCiphertext { key, sealed } = self
            .tx
            .seal(SealedAs::Score(&reference), plain.encode_to_vec())?;
        let points = self.tx.vault().points(&reference, points)?;
        self.tx.run(
            "INSERT OR REPLACE INTO score (name, points, at, key, sealed)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            (&name, points, at.as_millis(), key, sealed),
        )?;
        Ok(())
    }
}

/// A consignment or score as it stands in its table.
struct SealedRow<T> {
    /// The reference, sealed.
    name: Vec<u8>,
    at: i64,
    /// Flag `arriving` of a consignment, or the sealed points of a score.
    beside: T,
    wrapped: Option<Vec<u8>>,
    sealed: Vec<u8>,
}

impl<T: rusqlite::types::FromSql> SealedRow<T> {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            name: row.get(0)?,
            at: row.get(1)?,
            beside: row.get(2)?,
            wrapped: row.get(3)?,
            sealed: row.get(4)?,
        })
    }
}

/// The columns of a [`SealedRow`], up to the clauses that choose the rows.
macro_rules! consignment_rows {
    ($rest:literal) => {
        concat!(
            "SELECT name, at, arriving, wrapped, sealed, c.n FROM consignment AS c ",
            "LEFT JOIN keys.wrapped_key AS k ON k.n = c.key ",
            $rest
        )
    };
}

macro_rules! score_rows {
    ($rest:literal) => {
        concat!(
            "SELECT name, at, points, wrapped, sealed FROM score AS s ",
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

    /// Returns the tokens by which records name the arriving consignments.
    pub(super) fn record_tokens(&self) -> Result<Vec<Token>, SqlError> {
        let mut tokens = Vec::new();
        self.each_arriving(|row| {
            let selectors = row.selectors.iter();
            let named = selectors.filter_map(|(kind, value)| self.view.vault.token(*kind, value));
            tokens.extend(named);
            Ok(())
        })?;
        Ok(tokens)
    }

    /// Returns those of `records` that may concern an arriving consignment.
    pub(super) fn touching(
        &self,
        crossing: &Crossing,
        records: &[RecordId],
    ) -> Result<Vec<RecordId>, SqlError> {
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
                if directory.is_some_and(|all| touches(crossing, all, slot_of(place))) {
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

    /// Returns some consignments of a stage, from a number on.
    pub(super) fn page(
        &self,
        stage: ConsignmentStage,
        ConsignmentPlace(from): ConsignmentPlace,
    ) -> Result<ConsignmentPage, SqlError> {
        let from = i64::try_from(from).unwrap_or(i64::MAX);
        let arriving = stage == ConsignmentStage::Arriving;
        let mut last = None;
        let rows = self.view.rows(
            consignment_rows!("WHERE arriving = ?1 AND c.n >= ?2 ORDER BY c.n LIMIT ?3"),
            (arriving, from, CONSIGNMENTS_A_PAGE),
            |row| {
                last = Some(row.get::<_, i64>(5)?);
                SealedRow::read(row)
            },
        )?;
        let is_full = u32::try_from(rows.len()) == Ok(CONSIGNMENTS_A_PAGE);
        let next = last.filter(|_| is_full);
        Ok(ConsignmentPage {
            rows: self.opened(rows)?,
            next: next.map(|n| ConsignmentPlace(n.unsigned_abs().saturating_add(1))),
        })
    }

    /// Returns the references of some of the chosen consignments, from a number on. One that does not open
    /// is left out.
    pub(super) fn references(
        &self,
        of: &ConsignmentsOf,
        ConsignmentPlace(from): ConsignmentPlace,
    ) -> Result<ReferencePage, SqlError> {
        let arriving = of.stage.map(|stage| stage == ConsignmentStage::Arriving);
        let (since, before) = (of.since.as_millis(), of.before.as_millis());
        let from = i64::try_from(from).unwrap_or(i64::MAX);
        let names: Vec<(i64, Vec<u8>)> = self.view.rows(
            "SELECT n, name FROM consignment
             WHERE n >= ?1 AND (?2 IS NULL OR arriving = ?2) AND at >= ?3 AND at < ?4 ORDER BY n LIMIT ?5",
            (from, arriving, since, before, CONSIGNMENTS_A_PAGE),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let is_full = u32::try_from(names.len()) == Ok(CONSIGNMENTS_A_PAGE);
        let last = names.last().filter(|_| is_full);
        let next = last.map(|(n, _)| ConsignmentPlace(n.unsigned_abs().saturating_add(1)));
        let vault = self.view.vault;
        let names = names.iter();
        Ok(ReferencePage {
            references: names
                .filter_map(|(_, name)| vault.reference(name))
                .collect(),
            next,
        })
    }

    /// Hands every arriving consignment to `visit`.
    pub(super) fn each_arriving(
        &self,
        mut visit: impl FnMut(ConsignmentRow) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        let mut from = Some(ConsignmentPlace::default());
        while let Some(place) = from {
            let page = self.page(ConsignmentStage::Arriving, place)?;
            page.rows.into_iter().try_for_each(&mut visit)?;
            from = page.next;
        }
        Ok(())
    }

    /// Opens rows, and orders them by reference; those that are damaged are left out.
    fn opened(&self, rows: Vec<SealedRow<bool>>) -> Result<Vec<ConsignmentRow>, SqlError> {
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let reference = self.shown_reference(&row.name);
            let read = self.open_consignment(row);
            found.extend(
                self.view
                    .unless_damaged(|| Damaged::Consignment(reference), read)?,
            );
        }
        found.sort_unstable_by(|one, other| one.reference.cmp(&other.reference));
        Ok(found)
    }

    fn reference(&self, name: &[u8]) -> Result<String, SqlError> {
        let reference = self.view.vault.reference(name);
        reference.ok_or_else(|| {
            StoreError::Damaged("the reference of a consignment does not open".to_owned()).into()
        })
    }

    /// Returns a reference to be shown, also in place of one that does not open.
    fn shown_reference(&self, name: &[u8]) -> String {
        let reference = self.view.vault.reference(name);
        reference.unwrap_or_else(|| "unreadable".to_owned())
    }

    pub(super) fn consignment(&self, reference: &str) -> Result<Option<ConsignmentRow>, SqlError> {
        let row = self.view.first(
            consignment_rows!("WHERE name = ?1"),
            [self.view.vault.name(reference)?],
            SealedRow::read,
        )?;
        row.map(|row| self.open_consignment(row)).transpose()
    }

    pub(super) fn consignments_with(
        &self,
        kind: SelectorKind,
        value: &str,
    ) -> Result<Vec<ConsignmentRow>, SqlError> {
        let named = |row: &ConsignmentRow| {
            let mut selectors = row.selectors.iter();
            selectors.any(|(of, text)| *of == kind && text == value)
        };
        let mut rows = match self.view.vault.consignment_token(kind, value) {
            Some(token) => {
                let rows = self.view.rows(
                    consignment_rows!(
                        "JOIN consignment_token AS t ON t.consignment = c.n
                         WHERE t.token = ?1 AND arriving"
                    ),
                    [token],
                    SealedRow::read,
                )?;
                self.opened(rows)?
            }
            None => self.arriving_with(&named)?,
        };
        rows.retain(named);
        Ok(rows)
    }

    /// Returns the arriving consignments that are `chosen`, ascending by reference. All are opened.
    fn arriving_with(
        &self,
        chosen: &impl Fn(&ConsignmentRow) -> bool,
    ) -> Result<Vec<ConsignmentRow>, SqlError> {
        let mut rows = Vec::new();
        self.each_arriving(|row| {
            rows.extend(Some(row).filter(chosen));
            Ok(())
        })?;
        rows.sort_unstable_by(|one, other| one.reference.cmp(&other.reference));
        Ok(rows)
    }

    fn open_consignment(&self, row: SealedRow<bool>) -> Result<ConsignmentRow, SqlError> {
        let reference = self.reference(&row.name)?;
        let sealed_as = SealedAs::Consignment(&reference);
        let what = || format!("consignment `{reference}`");
        let plain = self
            .view
            .open(sealed_as, row.wrapped.as_deref(), row.sealed, what)?;
        let SealedConsignment { body, selectors } =
            SealedConsignment::decode(plain.as_slice()).map_err(|_| unreadable(&what()))?;
        let selectors = selectors
            .into_iter()
            .map(SealedSelector::read)
            .collect::<Result<_, SqlError>>()?;
        Ok(ConsignmentRow {
            at: Timestamp::from_millis(row.at),
            arriving: row.beside,
            body,
            selectors,
            reference,
        })
    }

    pub(super) fn score(&self, reference: &str) -> Result<Option<ScoreRow>, SqlError> {
        let name = self.view.vault.name(reference)?;
        self.named_score(&name)
    }

    fn named_score(&self, name: &[u8]) -> Result<Option<ScoreRow>, SqlError> {
        let row = self
            .view
            .first(score_rows!("WHERE name = ?1"), [name], SealedRow::read)?;
        let opened = row.map(|row| self.sound_score(row)).transpose()?;
        Ok(opened.flatten())
    }

    /// Opens a score. A damaged one counts as none: the consignment is scored again.
    fn sound_score(&self, row: SealedRow<Vec<u8>>) -> Result<Option<ScoreRow>, SqlError> {
        let reference = self.shown_reference(&row.name);
        let read = self.open_score(row);
        self.view.unless_damaged(|| Damaged::Score(reference), read)
    }

    pub(super) fn scores(&self, limit: u32) -> Result<Vec<ScoreRow>, SqlError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut found = Vec::new();
        for Ranked { name, .. } in self.ranked(limit)? {
            found.extend(self.named_score(&name)?);
        }
        Ok(found)
    }

    /// Returns the chosen consignments by their scores. One whose score does not open counts as one
    /// without.
    pub(super) fn ranking(
        &self,
        of: &ConsignmentsOf,
        limit: u32,
    ) -> Result<ConsignmentRanking, SqlError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let arriving = of.stage.map(|stage| stage == ConsignmentStage::Arriving);
        let mut select = self.view.connection.prepare_cached(
            "SELECT c.name, s.points FROM consignment AS c LEFT JOIN score AS s ON s.name = c.name
             WHERE (?1 IS NULL OR c.arriving = ?1) AND c.at >= ?2 AND c.at < ?3",
        )?;
        let (since, before) = (of.since.as_millis(), of.before.as_millis());
        let mut rows = select.query((arriving, since, before))?;
        let (mut ranking, mut highest) = (ConsignmentRanking::default(), BinaryHeap::new());
        while let Some(row) = rows.next()? {
            let (name, sealed): (Vec<u8>, Option<Vec<u8>>) = (row.get(0)?, row.get(1)?);
            let shown = self.shown_reference(&name);
            let reference = self.reference(&name);
            let thing = || Damaged::Consignment(shown.clone());
            let Some(reference) = self.view.unless_damaged(thing, reference)? else {
                continue;
            };
            let read = sealed.map(|sealed| self.open_points(&reference, &sealed));
            let points = match read {
                Some(Ok(points)) => Some(points),
                Some(Err(error)) => {
                    let thing = || Damaged::Score(reference.clone());
                    self.view.unless_damaged::<f64>(thing, Err(error))?
                }
                None => None,
            };
            ranking.total += 1;
            ranking.scored += u64::from(points.is_some());
            highest.push(Reverse(Ranked {
                points: points.unwrap_or(UNSCORED),
                reference: Reverse(reference),
                name,
            }));
            if highest.len() > limit {
                highest.pop();
            }
        }
        let listed = highest.into_sorted_vec().into_iter();
        ranking.listed = listed
            .map(|Reverse(ranked)| RankedConsignment {
                points: (ranked.points > UNSCORED).then_some(ranked.points),
                reference: ranked.reference.0,
            })
            .collect();
        Ok(ranking)
    }

    /// Returns the highest scores, the highest first. Points are opened one after the other, and no
    /// more than asked for are kept.
    fn ranked(&self, limit: usize) -> Result<Vec<Ranked>, SqlError> {
        let mut select = self
            .view
            .connection
            .prepare_cached("SELECT name, points FROM score")?;
        let mut rows = select.query([])?;
        let mut highest = BinaryHeap::new();
        while let Some(row) = rows.next()? {
            let (name, sealed): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
            let read = self.rank(name.clone(), &sealed);
            let thing = || Damaged::Score(self.shown_reference(&name));
            // A row that is sound here may still not open whole, so that it is not told to be.
            match read {
                Ok(ranked) => highest.push(Reverse(ranked)),
                Err(error) => drop(self.view.unless_damaged::<Ranked>(thing, Err(error))?),
            }
            if highest.len() > limit {
                highest.pop();
            }
        }
        let highest = highest.into_sorted_vec().into_iter();
        Ok(highest.map(|Reverse(ranked)| ranked).collect())
    }

    fn rank(&self, name: Vec<u8>, sealed: &[u8]) -> Result<Ranked, SqlError> {
        let reference = self.reference(&name)?;
        let points = self.open_points(&reference, sealed)?;
        Ok(Ranked {
            points,
            reference: Reverse(reference),
            name,
        })
    }

    fn open_points(&self, reference: &str, sealed: &[u8]) -> Result<f64, SqlError> {
        let points = self.view.vault.open_points(reference, sealed);
        points.ok_or_else(|| {
            StoreError::Damaged(format!("the points of `{reference}` do not open")).into()
        })
    }

    fn open_score(&self, row: SealedRow<Vec<u8>>) -> Result<ScoreRow, SqlError> {
        let reference = self.reference(&row.name)?;
        let points = self.open_points(&reference, &row.beside)?;
        let sealed_as = SealedAs::Score(&reference);
        let what = || format!("the score of `{reference}`");
        let plain = self
            .view
            .open(sealed_as, row.wrapped.as_deref(), row.sealed, what)?;
        let SealedScore {
            summary,
            listed,
            records,
        } = SealedScore::decode(plain.as_slice()).map_err(|_| unreadable(&what()))?;
        Ok(ScoreRow {
            points,
            at: Timestamp::from_millis(row.at),
            summary,
            records: records.max(listed.len() as u64),
            reference,
        })
    }
}

/// A score among others: the higher one is greater, and of equal ones that with the lesser reference.
struct Ranked {
    points: f64,
    reference: Reverse<String>,
    name: Vec<u8>,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let points = self.points.total_cmp(&other.points);
        points.then_with(|| self.reference.cmp(&other.reference))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}

/// Returns true if the entry in this slot may concern an arriving consignment.
fn touches(crossing: &Crossing, directory: &Directory, slot: usize) -> bool {
    let concerns = |token| crossing.concerns(token);
    directory.is_common(slot) || directory.tokens_of(slot).any(concerns)
}

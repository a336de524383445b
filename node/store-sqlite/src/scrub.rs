//! The checks of everything that is kept: what is small at the start, all of it part by part.
//!
//! Each table is compared with its seals, if it has any, and with its indexes.
//! What is found is noted among the damages. A table is compared as a whole, in one snapshot; its
//! rows are counted, and the changed ones are named.

use std::collections::BTreeSet;

use portcullis_store::{Damaged, StoreError};

use super::{
    consignments::ConsignmentReader,
    damages::Damages,
    error::{SqlError, is_torn},
    index::{entries, indexed},
    indexes::{self, Findings},
    layout::Layout,
    origins::OriginReader,
    pack::{Directory, Pack, header_of},
    packs::PackReader,
    seals::{self, Seals},
    tables::{Guard, TABLES, Table, sealed_tables},
    view::DatabaseView,
};

/// Most rows of a table that is checked at the start, and most bytes of one that is read from end to
/// end: some tenths of a second for each.
const SMALL: u64 = 20_000;
const SMALL_BYTES: i64 = 32 << 20;

/// Most pages of packs, and the fewest packs on one.
const PAGES: i64 = 100;
const LEAST_PAGE: i64 = 1_000;

/// Names of the parts that are no table: the tables as such, the chain, and what is computed
/// from others.
const LAYOUT: &str = "sqlite_schema";
const CHAIN: &str = "leaf";
const PACKS: &str = "pack";
const RECORDS: &str = "records";
const INDEX: &str = "index";
const TOKENS: &str = "consignment_token";

/// Checks of one snapshot.
pub(super) struct Scrubber<'a> {
    view: DatabaseView<'a>,
    layout: &'a Layout,
    damages: &'a Damages,
}

impl<'a> Scrubber<'a> {
    pub(super) const fn of(
        view: DatabaseView<'a>,
        layout: &'a Layout,
        damages: &'a Damages,
    ) -> Self {
        Self {
            view,
            layout,
            damages,
        }
    }

    /// Checks the small tables and the newest leaf, within seconds whatever is kept.
    pub(super) fn at_start(&self) -> Result<(), SqlError> {
        let seals = self.seals()?;
        for table in sealed_tables() {
            if seals::written(&seals, table) <= SMALL {
                self.table(&seals, table)?;
            }
        }
        for table in TABLES {
            let is_small = self.is_small(table);
            if self.unless_torn(table, is_small)? == Some(true) {
                self.indexes(table)?;
            }
        }
        let is_whole = seals::chain_is_whole(self.view.connection, &seals);
        if self.unless_torn_as(|| Damaged::Table(CHAIN), is_whole)? == Some(false) {
            let what = "its newest leaf is not the newest that was written";
            self.damages.met(Damaged::Table(CHAIN), what.to_owned());
        }
        Ok(())
    }

    /// Checks the part with this number, and returns its name.
    pub(super) fn part(&self, part: usize) -> Result<Option<&'static str>, SqlError> {
        // First, because other tables may not even be read.
        let Some(part) = part.checked_sub(1) else {
            return self.layout().map(|()| Some(LAYOUT));
        };
        if let Some(table) = TABLES.get(part) {
            if table.is_sealed() {
                self.table(&self.seals()?, table)?;
            }
            self.indexes(table)?;
            return Ok(Some(table.name));
        }
        match part.checked_sub(TABLES.len()) {
            Some(0) => self.chain().map(|()| Some(CHAIN)),
            Some(1) => {
                self.unless_torn_as(|| Damaged::Table(INDEX), self.index())?;
                Ok(Some(INDEX))
            }
            Some(2) => {
                self.unless_torn_as(|| Damaged::Table(TOKENS), self.consignments())?;
                Ok(Some(TOKENS))
            }
            Some(later) => {
                let page = later.saturating_sub(3);
                Ok(self.records(page)?.then_some(RECORDS))
            }
            None => Ok(None),
        }
    }

    /// Compares the indexes of the table with this name once more. Returns true if they are sound.
    pub(super) fn indexes_of(&self, name: &str) -> Result<bool, SqlError> {
        let table = TABLES.iter().find(|table| table.name == name);
        table.map_or(Ok(false), |table| self.indexes(table))
    }

    /// Returns true if the indexes of a table are compared at the start: all of its content is read for
    /// it. The lengths of long content stand in its row, and nothing of it is read here.
    fn is_small(&self, table: &Table) -> Result<bool, SqlError> {
        let name = table.name;
        let sql = format!("SELECT count(*) FROM (SELECT 1 FROM main.{name} LIMIT ?1)");
        let limit = SMALL.saturating_add(1).cast_signed();
        let rows = self.view.first(&sql, [limit], |row| row.get::<_, i64>(0))?;
        if rows.is_some_and(|rows| rows >= limit) {
            return Ok(false);
        }
        let lengths = self.view.rows(
            "SELECT 'coalesce(sum(octet_length(' || name || ')), 0)' FROM pragma_table_info(?1)",
            [name],
            |row| row.get::<_, String>(0),
        )?;
        let sql = format!("SELECT {} FROM main.{name}", lengths.join(" + "));
        let bytes = self.view.first(&sql, [], |row| row.get::<_, i64>(0))?;
        Ok(bytes.is_none_or(|bytes| bytes <= SMALL_BYTES))
    }

    /// Opens every section of the records on a page of the packs. Returns false after the last page.
    fn records(&self, page: usize) -> Result<bool, SqlError> {
        let packs = || Damaged::Table(PACKS);
        let range = self.unless_torn_as(packs, self.page(page))?.flatten();
        let Some(range) = range else {
            return Ok(false);
        };
        self.unless_torn_as(packs, self.records_between(range))?;
        Ok(true)
    }

    fn records_between(&self, (first, last): (i64, i64)) -> Result<(), SqlError> {
        let numbers = self.view.rows(
            "SELECT n FROM pack WHERE n BETWEEN ?1 AND ?2 ORDER BY n",
            (first, last),
            |row| row.get::<_, i64>(0),
        )?;
        let mut packs = PackReader::of(self.view);
        let none_left_out = BTreeSet::new();
        let mut origins = OriginReader::of(self.view, &none_left_out);
        for n in numbers {
            let read = packs.pack(n);
            let Some(Some(pack)) = self.view.unless_damaged(|| Damaged::Pack(n), read)? else {
                continue;
            };
            let withdrawn = packs.withdrawn_in(&pack)?;
            for slot in 0..pack.len() {
                if withdrawn.contains(&pack.directory.number(n, slot)) {
                    continue;
                }
                let bare = if pack.extends {
                    Ok(())
                } else {
                    self.bare(&pack, slot, &mut origins)
                };
                let read = bare.and_then(|()| pack.sections(slot, None).map(drop));
                let thing = || pack.id(slot).map_or(Damaged::Pack(n), Damaged::Record);
                self.view.unless_damaged(thing, read)?;
            }
        }
        Ok(())
    }

    /// Checks a record without its sections: no key binds the number of its statement to it.
    fn bare(
        &self,
        pack: &Pack,
        slot: usize,
        origins: &mut OriginReader<'_>,
    ) -> Result<(), SqlError> {
        let bare = pack.bare(slot, self.view.vault)?;
        let named = origins.origin_of(bare.statement)?;
        let own = header_of(bare.header).map(|header| header.origin);
        if own.is_some() && own == named {
            return Ok(());
        }
        let id = pack.id(slot)?;
        let what = format!("record `{id}` stands under a statement of another origin");
        Err(StoreError::Damaged(what).into())
    }

    /// Returns the first and last number of the packs on a page: all packs are on at most a hundred.
    fn page(&self, page: usize) -> Result<Option<(i64, i64)>, SqlError> {
        let newest = self.view.first("SELECT max(n) FROM pack", [], |row| {
            row.get::<_, Option<i64>>(0)
        })?;
        let newest = newest.flatten().unwrap_or(0);
        let size = (newest / PAGES + 1).max(LEAST_PAGE);
        let page = i64::try_from(page).unwrap_or(i64::MAX);
        let first = page.saturating_mul(size);
        Ok((first <= newest).then(|| (first, first.saturating_add(size - 1))))
    }

    /// Looks for every entry of the packs in the tables of the index, as far as they say to be.
    fn index(&self) -> Result<(), SqlError> {
        let main = self.view.connection;
        let mut id = main.prepare_cached("SELECT 1 FROM id_index WHERE id = ?1 AND place = ?2")?;
        let mut token =
            main.prepare_cached("SELECT 1 FROM token_index WHERE token = ?1 AND place = ?2")?;
        let mut packs =
            main.prepare("SELECT n, extends, ids, directory FROM pack WHERE n <= ?1 ORDER BY n")?;
        let mut rows = packs.query([indexed(main)?])?;
        let mut missing = 0_u64;
        while let Some(row) = rows.next()? {
            let (n, extends): (i64, bool) = (row.get(0)?, row.get(1)?);
            let (ids, directory): (Vec<u8>, Vec<u8>) = (row.get(2)?, row.get(3)?);
            // A damaged pack is found with its own table.
            let directory = Directory::read(&directory).unwrap_or_default();
            let ids: &[u8] = if extends { &[] } else { &ids };
            let entries = entries(n, ids, &directory);
            for entry in entries.ids {
                missing += u64::from(!id.exists(entry)?);
            }
            for entry in entries.tokens {
                missing += u64::from(!token.exists(entry)?);
            }
        }
        let what = format!("{missing} entries are missing: records are not found by them");
        self.note(INDEX, (missing > 0).then_some(what));
        Ok(())
    }

    /// Looks for the token of every identifier of the arriving consignments.
    fn consignments(&self) -> Result<(), SqlError> {
        let mut token = self.view.connection.prepare_cached(
            "SELECT 1 FROM consignment_token AS t JOIN consignment AS c ON c.n = t.consignment
             WHERE t.token = ?1 AND c.name = ?2",
        )?;
        let mut missing = 0_u64;
        ConsignmentReader::of(self.view).each_arriving(|row| {
            let name = self.view.vault.name(&row.reference)?;
            for (kind, value) in &row.selectors {
                if let Some(of) = self.view.vault.consignment_token(*kind, value) {
                    missing += u64::from(!token.exists((of, &name))?);
                }
            }
            Ok(())
        })?;
        let what = format!("{missing} entries are missing: consignments are not found by them");
        self.note(TOKENS, (missing > 0).then_some(what));
        Ok(())
    }

    fn seals(&self) -> Result<Seals, SqlError> {
        let gone = || StoreError::Damaged("its seals are gone".to_owned());
        let seals = seals::read_root(self.view.connection, self.view.sealer)?;
        Ok(seals.ok_or_else(gone)?)
    }

    fn table(&self, seals: &Seals, table: &Table) -> Result<(), SqlError> {
        let found = seals::differs(self.view.connection, self.view.sealer, seals, table);
        if let Some(found) = self.unless_torn(table, found)? {
            self.note(table.name, found);
        }
        Ok(())
    }

    /// Compares the indexes of a table with its rows. Returns true if they are sound. The rest of the
    /// table's damage stays noted: other checks find it as well.
    fn indexes(&self, table: &Table) -> Result<bool, SqlError> {
        let Findings {
            of_indexes,
            of_table,
        } = indexes::differ(self.view.connection, table)?;
        if let Some(what) = of_table {
            self.damages.met(Damaged::Table(table.name), what);
        }
        let is_sound = of_indexes.is_none();
        match of_indexes {
            Some(what) => self.damages.met(Damaged::Indexes(table.name), what),
            None => self.damages.sound(|| Damaged::Indexes(table.name)),
        }
        Ok(is_sound)
    }

    fn chain(&self) -> Result<(), SqlError> {
        let seals = self.seals()?;
        let found = seals::chain_differs(self.view.connection, self.view.sealer, &seals);
        if let Some(found) = self.unless_torn_as(|| Damaged::Table(CHAIN), found)? {
            self.note(CHAIN, found);
        }
        Ok(())
    }

    /// Returns the result of a check of a table; `None` if pages of it cannot be read, which is noted.
    /// One torn page keeps back no other check.
    fn unless_torn<T>(
        &self,
        table: &Table,
        read: Result<T, SqlError>,
    ) -> Result<Option<T>, SqlError> {
        let thing = || match table.guard {
            Guard::Derived => Damaged::Indexes(table.name),
            Guard::Sealed | Guard::Chained | Guard::Signed | Guard::Seals => {
                Damaged::Table(table.name)
            }
        };
        self.unless_torn_as(thing, read)
    }

    fn unless_torn_as<T>(
        &self,
        thing: impl FnOnce() -> Damaged,
        read: Result<T, SqlError>,
    ) -> Result<Option<T>, SqlError> {
        let error = match read {
            Ok(sound) => return Ok(Some(sound)),
            Err(error) => error,
        };
        match &error {
            SqlError::Main(of) if is_torn(of) => {
                self.damages.met(thing(), of.to_string());
                Ok(None)
            }
            SqlError::Main(_) | SqlError::Keys(_) | SqlError::Store(_) => Err(error),
        }
    }

    fn layout(&self) -> Result<(), SqlError> {
        self.note(LAYOUT, self.layout.differs_in(self.view.connection)?);
        Ok(())
    }

    fn note(&self, name: &'static str, found: Option<String>) {
        match found {
            Some(what) => self.damages.met(Damaged::Table(name), what),
            None => self.damages.sound(|| Damaged::Table(name)),
        }
    }
}

//! The checks of everything that is kept: what is small at the start, all of it part by part.
//!
//! Each table is compared with its seals, if it has any, and with its indexes.
//! What is found is noted among the damages. A table is compared as a whole, in one snapshot; its
//! rows are counted, and the changed ones are named.

use portcullis_store::{ConsignmentStage, Damaged, StoreError};

use super::{
    consignments::ConsignmentReader,
    damages::Damages,
    error::SqlError,
    index::{entries, indexed},
    indexes,
    layout::Layout,
    pack::Directory,
    packs::PackReader,
    seals::{self, Seals},
    tables::{TABLES, Table, sealed_tables},
    view::DatabaseView,
};

/// Most rows of a table that is checked at the start: some tenths of a second for each.
const SMALL: u64 = 20_000;

/// Most pages of packs, and the fewest packs on one.
const PAGES: i64 = 100;
const LEAST_PAGE: i64 = 1_000;

/// Names of the parts that are no table: the tables as such, the chain, and what is computed
/// from others.
const LAYOUT: &str = "sqlite_schema";
const CHAIN: &str = "leaf";
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
            if self.is_small(table)? {
                self.indexes(table)?;
            }
        }
        if !seals::chain_is_whole(self.view.connection, &seals)? {
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
            Some(1) => self.index().map(|()| Some(INDEX)),
            Some(2) => self.consignments().map(|()| Some(TOKENS)),
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

    /// Returns true if the indexes of a table are compared at the start. Content that the seals leave
    /// out is long, and is read from end to end for it.
    fn is_small(&self, table: &Table) -> Result<bool, SqlError> {
        let most = if table.left_out.is_empty() {
            SMALL
        } else {
            SMALL / 10
        };
        let sql = format!(
            "SELECT count(*) FROM (SELECT 1 FROM main.{} LIMIT ?1)",
            table.name
        );
        let limit = most.saturating_add(1).cast_signed();
        let rows = self.view.first(&sql, [limit], |row| row.get::<_, i64>(0))?;
        Ok(rows.is_none_or(|rows| rows < limit))
    }

    /// Opens every section of the records on a page of the packs. Returns false after the last page.
    fn records(&self, page: usize) -> Result<bool, SqlError> {
        let (first, last) = match self.page(page)? {
            Some(range) => range,
            None => return Ok(false),
        };
        let numbers = self.view.rows(
            "SELECT n FROM pack WHERE n BETWEEN ?1 AND ?2 ORDER BY n",
            (first, last),
            |row| row.get::<_, i64>(0),
        )?;
        let mut packs = PackReader::of(self.view);
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
                    pack.bare(slot, self.view.vault).map(drop)
                };
                let read = bare.and_then(|()| pack.sections(slot, None).map(drop));
                let thing = || pack.id(slot).map_or(Damaged::Pack(n), Damaged::Record);
                self.view.unless_damaged(thing, read)?;
            }
        }
        Ok(true)
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
        for row in ConsignmentReader::of(self.view).consignments(ConsignmentStage::Arriving)? {
            let name = self.view.vault.name(&row.reference)?;
            for (kind, value) in &row.selectors {
                if let Some(of) = self.view.vault.consignment_token(*kind, value) {
                    missing += u64::from(!token.exists((of, &name))?);
                }
            }
        }
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
        let found = seals::differs(self.view.connection, self.view.sealer, seals, table)?;
        self.note(table.name, found);
        Ok(())
    }

    /// Compares the indexes of a table with its rows. Returns true if they are sound.
    fn indexes(&self, table: &Table) -> Result<bool, SqlError> {
        let found = indexes::differ(self.view.connection, table)?;
        let is_sound = found.is_none();
        match found {
            Some(what) => self.damages.met(Damaged::Indexes(table.name), what),
            None => self.damages.sound(|| Damaged::Indexes(table.name)),
        }
        Ok(is_sound)
    }

    fn chain(&self) -> Result<(), SqlError> {
        let seals = self.seals()?;
        let found = seals::chain_differs(self.view.connection, self.view.sealer, &seals)?;
        self.note(CHAIN, found);
        Ok(())
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

//! The transaction that writes, in both files.
//!
//! It is the context of everything that a group of jobs changes: the two connections, the vault,
//! the index, and what the group adds to the log before the index knows it. It decides nothing.

use std::sync::Arc;

use portcullis_protocol::{record::RecordId, statement::SignedStatement};
use portcullis_store::{DecisionNote, StoreError};
use rusqlite::{Connection, ToSql, Transaction, TransactionBehavior};

use super::{
    crossing::CrossingChange,
    crypt::{Sealed, SealedAs, Vault},
    error::SqlError,
    held_tally::HeldTally,
    index::{self, Additions, Index, IndexEntry, Slice},
    indexes,
    interned::Interned,
    layout::{self, Layout},
    log::{Log, LogMark},
    pack::{Directory, pack_of},
    pack_ids::PackIds,
    recent::Placed,
    seals::{Pending, Sealer, Seals},
    view::{DatabaseView, OnDamage},
};

/// The two connections that write, and the work that the last commit left to do.
pub(super) struct WriteSide {
    main: Connection,
    keys: Connection,
    /// Numbers of keys under which nothing is sealed any more. They are destroyed with the next
    /// group.
    retired: Vec<i64>,
    /// Places whose section keys are destroyed with the next group.
    pub(super) erasing: Vec<i64>,
    /// The newest ordinal of the disclosure ledger.
    ordinal: i64,
    /// Items that wait for a person.
    held: HeldTally,
    sealer: Arc<Sealer>,
    pending: Pending,
    /// Seals of the newest commit.
    seals: Seals,
    layout: Arc<Layout>,
    /// Number of the layout that was checked last.
    layout_number: i64,
}

impl WriteSide {
    pub(super) fn new(
        main: Connection,
        keys: Connection,
        sealer: &Arc<Sealer>,
        seals: Seals,
        (layout, layout_number): (&Arc<Layout>, i64),
    ) -> Result<Self, SqlError> {
        let retired = main
            .prepare("SELECT key FROM retired_key")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let erasing = main
            .prepare("SELECT place FROM erasure")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let ordinal = main.query_row(
            "SELECT max((SELECT coalesce(max(n), 0) FROM sent),
                 (SELECT coalesce(max(ordinal), 0) FROM disclosure))",
            [],
            |row| row.get(0),
        )?;
        let held = HeldTally::counted(&main)?;
        let pending = Pending::install(&main, sealer, seals.clone())?;
        Ok(Self {
            main,
            keys,
            retired,
            erasing,
            ordinal,
            held,
            sealer: Arc::clone(sealer),
            pending,
            seals,
            layout: Arc::clone(layout),
            layout_number,
        })
    }

    /// Builds the indexes of a table anew, apart from any group, or a table of the index of records if
    /// it is torn. Returns false if they cannot be built.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if the schema is not what this version makes.
    pub(super) fn build_indexes(&self, table: &str) -> Result<bool, SqlError> {
        self.layout.refuse_other(&self.main)?;
        Ok(indexes::build_anew(&self.main, table)? || index::build_anew(&self.main, table)?)
    }

    /// Lets every such statement of the writer fail, for instance `INSERT ON pack`, until it is mended.
    #[cfg(test)]
    pub(super) fn fail(&self, when: &str) {
        let trigger = format!(
            "CREATE TEMP TRIGGER fault BEFORE {when} BEGIN SELECT RAISE(ABORT, 'a fault'); END"
        );
        self.main.execute_batch(&trigger).unwrap();
    }

    #[cfg(test)]
    pub(super) fn mend(&self) {
        self.main.execute_batch("DROP TRIGGER temp.fault").unwrap();
    }

    /// Takes over what a commit left to do.
    pub(super) fn take_over(&mut self, left: Leftover) {
        let Leftover {
            retired,
            erasing,
            ordinal,
            held,
            seals,
            layout_number,
        } = left;
        self.retired = retired;
        self.erasing = erasing;
        self.ordinal = ordinal;
        self.held = held;
        self.seals = seals;
        self.layout_number = layout_number;
    }
}

/// A sealed thing whose key is in the key table.
pub(super) struct KeyedCiphertext {
    /// The key's number.
    pub(super) key: i64,
    /// The ciphertext.
    pub(super) sealed: Vec<u8>,
}

/// One transaction in each file, to which jobs are added one by one.
pub(super) struct WriteTransaction<'a> {
    main: Transaction<'a>,
    /// The transaction in the key table. It begins when the first key is needed.
    keys: Option<Transaction<'a>>,
    side: &'a WriteSide,
    vault: &'a Vault,
    index: &'a Index,
    retiring: Vec<i64>,
    /// Places of the records that the group withdraws.
    pub(super) erasing: Vec<i64>,
    interned: Interned,
    /// Additions to the record log.
    pub(super) log: Log,
    /// Tokens by which records name the consignments that the group adds and replaces.
    pub(super) crossing: CrossingChange,
    log_ids: PackIds,
    /// The newest ordinal of the disclosure ledger.
    ordinal: i64,
    /// Items that wait for a person, with the changes of this group.
    pub(super) held: HeldTally,
    /// Number of the layout under which it writes.
    layout_number: i64,
}

/// State of a transaction before a job.
pub(super) struct Mark {
    retiring: usize,
    erasing: usize,
    /// Numbers of tokens added and gone.
    crossing: (usize, usize),
    log: LogMark,
    held: HeldTally,
    seals: Seals,
}

/// Work that a commit leaves to the next group.
pub(super) struct Leftover {
    retired: Vec<i64>,
    erasing: Vec<i64>,
    ordinal: i64,
    held: HeldTally,
    seals: Seals,
    layout_number: i64,
}

/// Work that is left once a group is durable.
pub(super) struct Committed {
    /// Work that is left to the next group.
    pub(super) left: Leftover,
    /// Own records that are in the log now.
    pub(super) published: Vec<Placed>,
    /// Tokens by which records name the consignments that were added and replaced.
    pub(super) crossing: CrossingChange,
    additions: Additions,
    slice: Slice,
    /// Index entries of withdrawn records, to be removed from memory.
    unindexed: Vec<IndexEntry>,
    /// True if something of a withdrawn record was erased that the write-ahead logs still hold.
    pub(super) has_erased: bool,
}

impl Committed {
    /// Brings the index up to date with the log.
    pub(super) fn tell(&self, index: &Index) {
        index.add(&self.additions);
        index.written(&self.slice);
        index.forget(&self.unindexed);
    }
}

impl<'a> WriteTransaction<'a> {
    /// Begins one, if the main database is laid out as this version makes it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if somebody else made a table, an index or a trigger: what it changes
    /// would be sealed like what the node writes.
    pub(super) fn begin(
        side: &'a WriteSide,
        vault: &'a Vault,
        index: &'a Index,
    ) -> Result<Self, SqlError> {
        let main = Transaction::new_unchecked(&side.main, TransactionBehavior::Immediate)?;
        let layout_number = layout::number(&main)?;
        if layout_number != side.layout_number {
            side.layout.refuse_other(&main)?;
        }
        side.pending.begin(&side.seals);
        Ok(Self {
            main,
            keys: None,
            side,
            vault,
            index,
            retiring: Vec::new(),
            erasing: Vec::new(),
            interned: Interned::default(),
            log: Log::default(),
            crossing: CrossingChange::default(),
            log_ids: PackIds::default(),
            ordinal: side.ordinal,
            held: side.held.clone(),
            layout_number,
        })
    }

    /// Begins a job.
    pub(super) fn mark(&mut self) -> Result<Mark, SqlError> {
        self.main.execute_batch("SAVEPOINT job")?;
        Ok(Mark {
            retiring: self.retiring.len(),
            erasing: self.erasing.len(),
            crossing: (self.crossing.added.len(), self.crossing.gone.len()),
            log: self.log.mark(),
            held: self.held.clone(),
            seals: self.side.pending.now(),
        })
    }

    /// Takes back everything since this mark.
    pub(super) fn rewind(&mut self, mark: &Mark) -> Result<(), SqlError> {
        self.retiring.truncate(mark.retiring);
        self.erasing.truncate(mark.erasing);
        self.crossing.added.truncate(mark.crossing.0);
        self.crossing.gone.truncate(mark.crossing.1);
        self.log.rewind(&mark.log);
        self.held = mark.held.clone();
        self.log_ids = PackIds::default();
        self.interned = Interned::default();
        self.side.pending.rewind(&mark.seals);
        Ok(self.main.execute_batch("ROLLBACK TO job")?)
    }

    /// Ends a job.
    pub(super) fn release(&self) -> Result<(), SqlError> {
        Ok(self.main.execute_batch("RELEASE job")?)
    }

    /// Destroys the keys that the commit before retired, and notes those that this one retires.
    pub(super) fn turn_over_keys(&mut self) -> Result<(), SqlError> {
        if !self.side.retired.is_empty() {
            self.destroy_retired()?;
        }
        for key in &self.retiring {
            self.run("INSERT INTO retired_key (key) VALUES (?1)", [key])?;
        }
        Ok(())
    }

    fn destroy_retired(&mut self) -> Result<(), SqlError> {
        let side = self.side;
        let keys = self.keys()?;
        for key in &side.retired {
            keys.prepare_cached("DELETE FROM wrapped_key WHERE n = ?1")
                .and_then(|mut delete| delete.execute([key]))
                .map_err(SqlError::Keys)?;
        }
        for key in &side.retired {
            self.run("DELETE FROM retired_key WHERE key = ?1", [key])?;
        }
        Ok(())
    }

    /// Writes the next slice of gathered entries to the index.
    pub(super) fn write_slice(&self) -> Result<Slice, SqlError> {
        let records = self.log.additions.ids.len();
        self.index.write_slice(&self.main, records)
    }

    /// Makes the transaction durable, the keys first.
    pub(super) fn commit(
        self,
        slice: Slice,
        unindexed: Vec<IndexEntry>,
    ) -> Result<Committed, SqlError> {
        let seals = self.side.pending.write_root(&self.main, &self.side.seals)?;
        if let Some(keys) = self.keys {
            keys.commit().map_err(SqlError::Keys)?;
        }
        self.main.commit()?;
        Ok(Committed {
            left: Leftover {
                retired: self.retiring,
                erasing: self.erasing,
                ordinal: self.ordinal,
                held: self.held,
                seals,
                layout_number: self.layout_number,
            },
            published: self.log.published,
            crossing: self.crossing,
            additions: self.log.additions,
            slice,
            unindexed,
            has_erased: !self.side.erasing.is_empty(),
        })
    }

    /// Returns the main database as this transaction sees it. The index does not know yet what the
    /// group adds to the log.
    pub(super) fn view(&self) -> DatabaseView<'_> {
        DatabaseView {
            connection: &self.main,
            vault: self.vault,
            sealer: &self.side.sealer,
            index: self.index,
            on_damage: OnDamage::End,
        }
    }

    pub(super) fn vault(&self) -> &'a Vault {
        self.vault
    }

    /// Returns the transaction in the key table, and begins it if it has not begun.
    pub(super) fn keys(&mut self) -> Result<&Transaction<'a>, SqlError> {
        if self.keys.is_none() {
            let keys = Transaction::new_unchecked(&self.side.keys, TransactionBehavior::Immediate)
                .map_err(SqlError::Keys)?;
            self.keys = Some(keys);
        }
        Ok(self.keys.as_ref().ok_or(StoreError::Stopped)?)
    }

    /// Seals something under a key of its own.
    pub(super) fn seal(
        &mut self,
        sealed_as: SealedAs<'_>,
        plain: Vec<u8>,
    ) -> Result<KeyedCiphertext, SqlError> {
        let Sealed { wrapped, bytes } = self.vault.seal(sealed_as, plain)?;
        let keys = self.keys()?;
        keys.prepare_cached("INSERT INTO wrapped_key (wrapped) VALUES (?1)")
            .and_then(|mut insert| insert.execute([wrapped]))
            .map_err(SqlError::Keys)?;
        Ok(KeyedCiphertext {
            key: keys.last_insert_rowid(),
            sealed: bytes,
        })
    }

    /// Notes that nothing is sealed under this key any more.
    pub(super) fn retire(&mut self, key: i64) {
        self.retiring.push(key);
    }

    /// Runs a statement and returns the number of rows it changed.
    pub(super) fn run(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize, SqlError> {
        Ok(self.main.prepare_cached(sql)?.execute(params)?)
    }

    /// Runs an insertion and returns the number of the new row.
    pub(super) fn insert(&self, sql: &str, params: impl rusqlite::Params) -> Result<i64, SqlError> {
        Ok(self.main.prepare_cached(sql)?.insert(params)?)
    }

    /// Returns the first row of a query.
    pub(super) fn first<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, SqlError> {
        self.view().first(sql, params, read)
    }

    /// Returns all rows of a query.
    pub(super) fn rows<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, SqlError> {
        self.view().rows(sql, params, read)
    }

    /// Returns the first column of all rows.
    pub(super) fn column(&self, sql: &str, params: &[&dyn ToSql]) -> Result<Vec<i64>, SqlError> {
        self.view().rows(sql, params, |row| row.get(0))
    }

    /// Returns the number that a query counts.
    pub(super) fn count(&self, sql: &str, params: impl rusqlite::Params) -> Result<i64, SqlError> {
        Ok(self
            .main
            .prepare_cached(sql)?
            .query_row(params, |row| row.get(0))?)
    }

    /// Returns the number of a record id, if the id was met before.
    pub(super) fn number(&self, id: &RecordId) -> Result<Option<i64>, SqlError> {
        match self.log.number(id) {
            Some(number) => Ok(Some(number)),
            None => self.view().number(id),
        }
    }

    /// Returns the number of a record id, and assigns one if the id is new.
    pub(super) fn known(&self, id: &RecordId) -> Result<i64, SqlError> {
        match self.number(id)? {
            Some(number) => Ok(number),
            None => self.insert(
                "INSERT INTO known (n, id)
                 VALUES ((SELECT min(coalesce(min(n), 0), 0) - 1 FROM known), ?1)",
                [id.as_bytes()],
            ),
        }
    }

    /// Returns the places of a record in the log: first its own, then those of its extensions.
    pub(super) fn places(&self, number: i64) -> Result<Vec<i64>, SqlError> {
        self.view().places(number)
    }

    /// Returns true if the record with this number was withdrawn.
    pub(super) fn is_withdrawn(&self, number: i64) -> Result<bool, SqlError> {
        self.view().is_withdrawn(number)
    }

    /// Applies `look` to the directory of the pack with this place.
    pub(super) fn directory_at<T>(
        &self,
        place: i64,
        look: impl FnOnce(&Directory) -> Option<T>,
    ) -> Result<Option<T>, SqlError> {
        let pack = pack_of(place);
        if let Some(directory) = self.log.directory(pack) {
            return Ok(look(directory));
        }
        let bytes = self.first("SELECT directory FROM pack WHERE n = ?1", [pack], |row| {
            row.get::<_, Vec<u8>>(0)
        })?;
        match bytes {
            Some(bytes) => Ok(look(&Directory::read(&bytes)?)),
            None => Ok(None),
        }
    }

    /// Returns the id that the log holds at this place, as far as its packs are written.
    pub(super) fn logged_id(&mut self, place: i64) -> Result<Option<RecordId>, SqlError> {
        self.log_ids.id_at(&self.main, place)
    }

    /// Returns the next ordinal of the disclosure ledger.
    pub(super) fn next_ordinal(&mut self) -> i64 {
        self.ordinal += 1;
        self.ordinal
    }

    /// Returns the number of a decision. Each decision is kept once.
    pub(super) fn decision(&mut self, note: &DecisionNote) -> Result<i64, SqlError> {
        self.interned.decision(&self.main, note)
    }

    /// Returns the number of an originator's statement. Each statement is kept once.
    pub(super) fn statement(&mut self, statement: &SignedStatement) -> Result<i64, SqlError> {
        self.interned.statement(&self.main, statement)
    }
}

//! Seals of rows: what stands in a sealed table is what this store wrote, all of it and nothing else.
//!
//! ```text
//! row written ─▶ its MAC (row_seal), its element added to the table's sum; a leaf, if it is chained
//! row removed ─▶ its element taken from the sum
//! commit      ─▶ seal_root: version, every count and sum, length and head of the chain, under one key
//! ```
//!
//! A MAC binds table, row and version under a key of the table, which is derived from the store's
//! key and the store's id. It tells which row was changed.
//!
//! The sum of a table is a multiset hash: the sum modulo 2^256 of a keyed hash of each row (Clarke
//! et al., "Incremental Multiset Hash Functions", ASIACRYPT 2003). Adding is chosen before XOR,
//! because a row that stands there twice must count twice, and because sets with equal XOR are found
//! by linear algebra. The hashes and the sums never stand on the disk in clear: the root is encrypted
//! under a key of its own each time, so that nobody can look for another set with the same sum. The
//! root holds all tables, so that one table cannot be put back to an earlier state alone.
//!
//! A leaf is `SHA-256("portcullis leaf v1" 0 ‖ salt ‖ table ‖ row)`, with a fresh salt of 16 bytes.
//! The head of the chain is `HMAC(head before ‖ number ‖ leaf)`. A row and its salt can be erased,
//! and the chain still holds.
//!
//! All of it is done by triggers on the connection that writes, which are not part of the file. No
//! writer of a concern can forget it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::{digest, hmac, rand};
use portcullis_store::StoreError;
use rusqlite::{
    Connection, OptionalExtension as _, Row, ToSql,
    functions::{Context, FunctionFlags},
    types::{ToSqlOutput, Value, ValueRef},
};
use zeroize::Zeroizing;

use super::{
    crypt::{SealedAs, derived, open_under, seal_under},
    error::SqlError,
    tables::{Guard, Table, sealed_tables},
};

const MAC_LEN: usize = 16;
const SALT_LEN: usize = 16;
const SUM_LEN: usize = 32;
/// Rows that are named when a table is not as it was written.
const MOST_NAMED: usize = 5;

/// Keys of one table.
struct TableKeys {
    row: hmac::Key,
    element: hmac::Key,
}

/// Keys of the seals of one store.
pub(super) struct Sealer {
    tables: BTreeMap<u8, TableKeys>,
    chain: hmac::Key,
    root: hmac::Key,
}

impl Sealer {
    /// Derives the keys from the store's key, for the store with this id.
    pub(super) fn new(key: &[u8; 32], store: &[u8]) -> Result<Self, SqlError> {
        let store = hex(store);
        let made = |use_of: &str| -> Result<hmac::Key, SqlError> {
            let key: Zeroizing<[u8; 32]> = derived(key, &format!("{use_of} of {store} v1"))?;
            Ok(hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()))
        };
        let tables = sealed_tables().map(|table| {
            let keys = TableKeys {
                row: made(&format!("seals of rows in {}", table.name))?,
                element: made(&format!("sum of {}", table.name))?,
            };
            Ok((table.id, keys))
        });
        Ok(Self {
            tables: tables.collect::<Result<_, SqlError>>()?,
            chain: made("chain of leaves")?,
            root: made("root of seals")?,
        })
    }

    fn keys(&self, table: u8) -> Result<&TableKeys, SqlError> {
        let keys = self.tables.get(&table);
        Ok(keys.ok_or(StoreError::Fault(
            "a row of a table without seals is sealed",
        ))?)
    }

    /// Returns the MAC of a row.
    fn mac(&self, table: u8, version: u64, row: &[u8]) -> Result<[u8; MAC_LEN], SqlError> {
        let mut context = hmac::Context::with_key(&self.keys(table)?.row);
        context.update(&version.to_be_bytes());
        context.update(row);
        let tag = context.sign();
        let mac = tag.as_ref().first_chunk().copied();
        Ok(mac.ok_or(StoreError::Cryptography("HMAC"))?)
    }

    fn element(&self, table: u8, row: &[u8]) -> Result<[u8; SUM_LEN], SqlError> {
        let tag = hmac::sign(&self.keys(table)?.element, row);
        let element = tag.as_ref().first_chunk().copied();
        Ok(element.ok_or(StoreError::Cryptography("HMAC"))?)
    }

    fn head(
        &self,
        before: &[u8; SUM_LEN],
        number: u64,
        leaf: &[u8],
    ) -> Result<[u8; SUM_LEN], SqlError> {
        let mut context = hmac::Context::with_key(&self.chain);
        context.update(before);
        context.update(&number.to_be_bytes());
        context.update(leaf);
        let head = context.sign().as_ref().first_chunk().copied();
        Ok(head.ok_or(StoreError::Cryptography("HMAC"))?)
    }

    fn root_key(&self, salt: &[u8]) -> Result<Zeroizing<[u8; 32]>, SqlError> {
        let key = hmac::sign(&self.root, salt).as_ref().first_chunk().copied();
        Ok(Zeroizing::new(key.ok_or(StoreError::Cryptography("HMAC"))?))
    }

    /// Returns true if the row has this seal: a version and its MAC.
    pub(super) fn holds(
        &self,
        table: u8,
        row: &[ValueRef<'_>],
        seal: Option<(i64, &[u8])>,
    ) -> Result<bool, SqlError> {
        let Some((version, mac)) = seal else {
            return Ok(false);
        };
        let mut bytes = Vec::with_capacity(128);
        row.iter().for_each(|value| encode(*value, &mut bytes));
        Ok(self.mac(table, version.cast_unsigned(), &bytes)? == mac)
    }
}

/// Count of a table's rows, and the sum of their elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Tally {
    count: u64,
    /// The sum modulo 2^256, the least significant limb first.
    sum: [u64; 4],
}

impl Tally {
    fn add(&mut self, element: &[u8; SUM_LEN]) {
        self.count = self.count.wrapping_add(1);
        let mut carry = false;
        for (limb, more) in self.sum.iter_mut().zip(limbs(element)) {
            let (sum, first) = limb.overflowing_add(more);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            (*limb, carry) = (sum, first || second);
        }
    }

    fn take(&mut self, element: &[u8; SUM_LEN]) {
        self.count = self.count.wrapping_sub(1);
        let mut borrow = false;
        for (limb, less) in self.sum.iter_mut().zip(limbs(element)) {
            let (left, first) = limb.overflowing_sub(less);
            let (left, second) = left.overflowing_sub(u64::from(borrow));
            (*limb, borrow) = (left, first || second);
        }
    }
}

fn limbs(element: &[u8; SUM_LEN]) -> impl Iterator<Item = u64> {
    let (limbs, _) = element.as_chunks::<8>();
    limbs.iter().map(|limb| u64::from_le_bytes(*limb))
}

/// Sums of all tables and the head of the chain, as of one commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Seals {
    version: u64,
    tallies: BTreeMap<u8, Tally>,
    leaves: u64,
    head: [u8; SUM_LEN],
}

impl Seals {
    /// Returns true if the root knows the table, be it without rows.
    pub(super) fn covers(&self, table: &Table) -> bool {
        self.tallies.contains_key(&table.id)
    }

    fn tally(&self, table: u8) -> Tally {
        self.tallies.get(&table).copied().unwrap_or_default()
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + self.tallies.len() * 41);
        bytes.extend_from_slice(&self.version.to_be_bytes());
        bytes.extend_from_slice(&self.leaves.to_be_bytes());
        bytes.extend_from_slice(&self.head);
        for (table, Tally { count, sum }) in &self.tallies {
            bytes.push(*table);
            bytes.extend_from_slice(&count.to_be_bytes());
            sum.iter()
                .for_each(|limb| bytes.extend_from_slice(&limb.to_be_bytes()));
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = number(bytes)?;
        let (leaves, rest) = number(rest)?;
        let (head, mut rest) = rest.split_first_chunk()?;
        let mut tallies = BTreeMap::new();
        while let Some((table, more)) = rest.split_first() {
            let (count, mut more) = number(more)?;
            let mut sum = [0; 4];
            for limb in &mut sum {
                (*limb, more) = number(more)?;
            }
            tallies.insert(*table, Tally { count, sum });
            rest = more;
        }
        Some(Self {
            version,
            tallies,
            leaves,
            head: *head,
        })
    }
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), rest))
}

/// Seals of the transaction that writes, shared with the functions that its triggers call.
pub(super) struct Pending {
    sealer: Arc<Sealer>,
    /// Locked for a moment only: by a trigger, or by the transaction between its statements.
    seals: Arc<Mutex<Seals>>,
}

impl Pending {
    /// Installs the triggers on the connection that writes. `committed` is what its file holds.
    pub(super) fn install(
        main: &Connection,
        sealer: &Arc<Sealer>,
        committed: Seals,
    ) -> Result<Self, SqlError> {
        let pending = Self {
            sealer: Arc::clone(sealer),
            seals: Arc::new(Mutex::new(committed)),
        };
        main.pragma_update(None, "recursive_triggers", true)?;
        main.pragma_update(None, "temp_store", "MEMORY")?;
        pending.functions(main)?;
        for table in sealed_tables() {
            main.execute_batch(&triggers(table, &columns(main, table)?))?;
        }
        Ok(pending)
    }

    fn functions(&self, main: &Connection) -> Result<(), SqlError> {
        let plain = FunctionFlags::SQLITE_UTF8;
        main.create_scalar_function("row_added", -1, plain, self.function(added))?;
        main.create_scalar_function("row_removed", -1, plain, self.function(removed))?;
        main.create_scalar_function("leaf_added", -1, plain, self.function(leaf))?;
        let seals = Arc::clone(&self.seals);
        main.create_scalar_function("seal_version", 0, plain, move |_| {
            Ok(lock(&seals).version.cast_signed())
        })?;
        main.create_scalar_function("row_key", -1, plain, |context| {
            let mut key = Vec::with_capacity(64);
            (0..context.len()).for_each(|column| encode(context.get_raw(column), &mut key));
            Ok(key)
        })?;
        Ok(())
    }

    /// Returns a function of SQL over the number of a table and the columns of a row.
    fn function(
        &self,
        apply: fn(&Sealer, &mut Seals, u8, &[u8]) -> Result<Value, SqlError>,
    ) -> impl Fn(&mut Context<'_>) -> rusqlite::Result<Value> + Send + 'static + use<> {
        let (sealer, seals) = (Arc::clone(&self.sealer), Arc::clone(&self.seals));
        move |context| {
            let table: u8 = context.get(0)?;
            let mut row = Vec::with_capacity(128);
            (1..context.len()).for_each(|column| encode(context.get_raw(column), &mut row));
            apply(&sealer, &mut lock(&seals), table, &row).map_err(failed)
        }
    }

    /// Begins a transaction after `committed`.
    pub(super) fn begin(&self, committed: &Seals) {
        let mut seals = lock(&self.seals);
        seals.clone_from(committed);
        seals.version = committed.version.wrapping_add(1);
    }

    /// Returns the seals as they are now.
    pub(super) fn now(&self) -> Seals {
        lock(&self.seals).clone()
    }

    /// Takes everything back since these seals.
    pub(super) fn rewind(&self, seals: &Seals) {
        lock(&self.seals).clone_from(seals);
    }

    /// Writes the root, before the commit. A transaction that wrote no sealed row leaves it as it
    /// is. Returns the seals that are committed then.
    pub(super) fn write_root(
        &self,
        main: &Connection,
        committed: &Seals,
    ) -> Result<Seals, SqlError> {
        let now = self.now();
        if now.tallies == committed.tallies && now.leaves == committed.leaves {
            return Ok(committed.clone());
        }
        write_root(main, &self.sealer, &now)?;
        Ok(now)
    }
}

fn lock(seals: &Mutex<Seals>) -> MutexGuard<'_, Seals> {
    seals.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(error: SqlError) -> rusqlite::Error {
    rusqlite::Error::UserFunctionError(Box::new(StoreError::from(error)))
}

fn added(sealer: &Sealer, seals: &mut Seals, table: u8, row: &[u8]) -> Result<Value, SqlError> {
    let element = sealer.element(table, row)?;
    seals.tallies.entry(table).or_default().add(&element);
    Ok(Value::Blob(sealer.mac(table, seals.version, row)?.to_vec()))
}

fn removed(sealer: &Sealer, seals: &mut Seals, table: u8, row: &[u8]) -> Result<Value, SqlError> {
    let element = sealer.element(table, row)?;
    seals.tallies.entry(table).or_default().take(&element);
    Ok(Value::Null)
}

fn leaf(sealer: &Sealer, seals: &mut Seals, table: u8, row: &[u8]) -> Result<Value, SqlError> {
    let mut salt = [0; SALT_LEN];
    rand::fill(&mut salt).map_err(|_| StoreError::Cryptography("the random source"))?;
    let leaf = leaf_of(&salt, table, row);
    seals.leaves = seals.leaves.wrapping_add(1);
    seals.head = sealer.head(&seals.head, seals.leaves, &leaf)?;
    Ok(Value::Blob([salt.as_slice(), &leaf].concat()))
}

fn leaf_of(salt: &[u8], table: u8, row: &[u8]) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [b"portcullis leaf v1\0".as_slice(), salt, &[table], row] {
        context.update(part);
    }
    context.finish().as_ref().to_vec()
}

/// Appends a value: its type, its length, its bytes.
fn encode(value: ValueRef<'_>, bytes: &mut Vec<u8>) {
    let (kind, content): (u8, &[u8]) = match value {
        ValueRef::Null => (0, &[]),
        ValueRef::Integer(number) => {
            bytes.push(1);
            return bytes.extend_from_slice(&number.to_be_bytes());
        }
        ValueRef::Real(number) => {
            bytes.push(2);
            return bytes.extend_from_slice(&number.to_bits().to_be_bytes());
        }
        ValueRef::Text(text) => (3, text),
        ValueRef::Blob(blob) => (4, blob),
    };
    bytes.push(kind);
    bytes.extend_from_slice(&(content.len() as u64).to_be_bytes());
    bytes.extend_from_slice(content);
}

/// Returns the columns that the seals of a table cover.
fn columns(main: &Connection, table: &Table) -> Result<Vec<String>, SqlError> {
    let mut select = main.prepare("SELECT name FROM pragma_table_info(?1) ORDER BY cid")?;
    let names = select.query_map([table.name], |row| row.get(0))?;
    let mut names: Vec<String> = names.collect::<Result<_, _>>()?;
    names.retain(|name| !table.left_out.contains(&name.as_str()));
    Ok(names)
}

/// Returns a list of columns, each after `row`.
fn list<S: AsRef<str>>(row: &str, columns: &[S]) -> String {
    let mut text = String::new();
    for (index, column) in columns.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(text, "{comma}{row}.{}", column.as_ref());
    }
    text
}

/// Returns the expression for a row's key in `row_seal`: its one value, or all of them encoded.
fn key_of(row: &str, table: &Table) -> String {
    let key = list(row, table.key);
    match table.key {
        // Without the affinity of the column, or the comparison would find no use for the index.
        [_] => format!("+{key}"),
        _ => format!("row_key({key})"),
    }
}

fn triggers(table: &Table, columns: &[String]) -> String {
    let (id, name) = (table.id, table.name);
    let [new, old] = ["new", "old"].map(|row| list(row, columns));
    let [new_key, old_key] = ["new", "old"].map(|row| key_of(row, table));
    let [new_only, old_only] = ["new", "old"].map(|row| table.only.replace("{row}", row));
    let chained = match table.guard {
        Guard::Chained => {
            format!(
                "INSERT INTO leaf (tbl, row, salted) VALUES ({id}, {new_key}, leaf_added({id}, {new}));"
            )
        }
        Guard::Sealed | Guard::Signed | Guard::Derived | Guard::Seals => String::new(),
    };
    // `OR` clauses would be those of the statement that fires the trigger.
    let add = format!(
        "DELETE FROM row_seal WHERE tbl = {id} AND row = {new_key};
         INSERT INTO row_seal (tbl, row, version, mac)
             VALUES ({id}, {new_key}, seal_version(), row_added({id}, {new}));
         {chained}"
    );
    format!(
        "CREATE TEMP TRIGGER seal_{name}_inserted AFTER INSERT ON main.{name} WHEN {new_only}
             BEGIN {add} END;
         CREATE TEMP TRIGGER seal_{name}_changed AFTER UPDATE ON main.{name} WHEN {new_only}
             BEGIN {add} END;
         CREATE TEMP TRIGGER seal_{name}_left AFTER UPDATE ON main.{name} WHEN {old_only}
             BEGIN
                 SELECT row_removed({id}, {old});
                 DELETE FROM row_seal
                     WHERE tbl = {id} AND row = {old_key} AND {old_key} IS NOT {new_key};
             END;
         CREATE TEMP TRIGGER seal_{name}_deleted AFTER DELETE ON main.{name} WHEN {old_only}
             BEGIN
                 SELECT row_removed({id}, {old});
                 DELETE FROM row_seal WHERE tbl = {id} AND row = {old_key};
             END;"
    )
}

fn write_root(main: &Connection, sealer: &Sealer, seals: &Seals) -> Result<(), SqlError> {
    let mut salt = [0; 32];
    rand::fill(&mut salt).map_err(|_| StoreError::Cryptography("the random source"))?;
    let key = sealer.root_key(&salt)?;
    let sealed = seal_under(&key, SealedAs::Root, seals.encode())?;
    main.prepare_cached("INSERT OR REPLACE INTO seal_root (one, salt, sealed) VALUES (1, ?1, ?2)")?
        .execute((salt, sealed))?;
    Ok(())
}

/// Reads the root. `None` if there is none.
///
/// # Errors
///
/// [`StoreError::Damaged`] if it does not open.
pub(super) fn read_root(main: &Connection, sealer: &Sealer) -> Result<Option<Seals>, SqlError> {
    let found: Option<(Vec<u8>, Vec<u8>)> = main
        .prepare_cached("SELECT salt, sealed FROM seal_root")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((salt, sealed)) = found else {
        return Ok(None);
    };
    let key = sealer.root_key(&salt)?;
    let seals = open_under(&key, SealedAs::Root, sealed).and_then(|bytes| Seals::decode(&bytes));
    let damaged = || StoreError::Damaged("the root of its seals does not open".to_owned());
    Ok(Some(seals.ok_or_else(damaged)?))
}

/// Seals all rows as they stand, for a store that was not sealed before or is of another format now.
pub(super) fn adopt(main: &Connection, sealer: &Sealer) -> Result<Seals, SqlError> {
    let before = read_root(main, sealer)?.unwrap_or_default();
    let mut seals = Seals {
        version: before.version.wrapping_add(1),
        ..Seals::default()
    };
    main.execute_batch("DELETE FROM row_seal; DELETE FROM leaf;")?;
    let mut insert =
        main.prepare("INSERT INTO row_seal (tbl, row, version, mac) VALUES (?1, ?2, ?3, ?4)")?;
    let mut append = main.prepare("INSERT INTO leaf (tbl, row, salted) VALUES (?1, ?2, ?3)")?;
    for table in sealed_tables() {
        // That a table has no rows is sealed as well: the root tells what was sealed when.
        seals.tallies.entry(table.id).or_default();
        each_row(main, table, |key, bytes| {
            let mac = added(sealer, &mut seals, table.id, bytes)?;
            insert.execute((table.id, &key, seals.version.cast_signed(), mac))?;
            if table.guard == Guard::Chained {
                let salted = leaf(sealer, &mut seals, table.id, bytes)?;
                append.execute((table.id, &key, salted))?;
            }
            Ok(())
        })?;
    }
    write_root(main, sealer, &seals)?;
    Ok(seals)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Key of a row in `row_seal`.
#[derive(PartialEq, Eq)]
enum RowKey {
    One(KeyValue),
    All(Vec<u8>),
}

/// A key of one value.
#[derive(PartialEq, Eq)]
enum KeyValue {
    Number(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl ToSql for RowKey {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::One(KeyValue::Number(number)) => ToSqlOutput::from(*number),
            Self::One(KeyValue::Text(text)) => ToSqlOutput::from(text.as_str()),
            Self::One(KeyValue::Bytes(bytes)) | Self::All(bytes) => {
                ToSqlOutput::from(bytes.as_slice())
            }
        })
    }
}

/// Applies `apply` to key and bytes of every sealed row of a table.
fn each_row(
    main: &Connection,
    table: &Table,
    mut apply: impl FnMut(RowKey, &[u8]) -> Result<(), SqlError>,
) -> Result<(), SqlError> {
    let columns = columns(main, table)?;
    let mut select = main.prepare(&all_rows(table, &columns))?;
    let mut rows = select.query([])?;
    let mut bytes = Vec::with_capacity(256);
    while let Some(row) = rows.next()? {
        bytes.clear();
        for column in 0..columns.len() {
            encode(row.get_ref(table.key.len() + column)?, &mut bytes);
        }
        apply(key_in(row, table)?, &bytes)?;
    }
    Ok(())
}

/// Returns the question for key and columns of every sealed row, in the order of the key: the rows
/// themselves are read for it, and not an index that has all of their columns as well.
fn all_rows<S: AsRef<str>>(table: &Table, columns: &[S]) -> String {
    let key = list(table.name, table.key);
    format!(
        "SELECT {key}, {} FROM main.{name} NOT INDEXED WHERE {} ORDER BY {key}",
        list(table.name, columns),
        table.only.replace("{row}", table.name),
        name = table.name,
    )
}

/// Returns how SQLite reads all rows of a table.
#[cfg(test)]
pub(super) fn plan(main: &Connection, table: &Table) -> String {
    let sql = all_rows(table, &columns(main, table).unwrap());
    let mut explain = main.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let steps = explain
        .query_map([], |row| row.get::<_, String>(3))
        .unwrap();
    let steps: Vec<String> = steps.collect::<Result<_, _>>().unwrap();
    steps.join(", ")
}

fn key_in(row: &Row<'_>, table: &Table) -> Result<RowKey, SqlError> {
    if let [_] = table.key {
        return Ok(RowKey::One(match row.get_ref(0)? {
            ValueRef::Integer(number) => KeyValue::Number(number),
            ValueRef::Blob(bytes) => KeyValue::Bytes(bytes.to_vec()),
            ValueRef::Null | ValueRef::Real(_) | ValueRef::Text(_) => KeyValue::Text(row.get(0)?),
        }));
    }
    let mut key = Vec::with_capacity(64);
    for column in 0..table.key.len() {
        encode(row.get_ref(column)?, &mut key);
    }
    Ok(RowKey::All(key))
}

/// Compares a sealed table with what was written, in the transaction of the connection. Returns what
/// differs, in words. No content stands in them but keys of rows.
pub(super) fn differs(
    main: &Connection,
    sealer: &Sealer,
    seals: &Seals,
    table: &Table,
) -> Result<Option<String>, SqlError> {
    let mut found = Tally::default();
    each_row(main, table, |_, bytes| {
        found.add(&sealer.element(table.id, bytes)?);
        Ok(())
    })?;
    let written = seals.tally(table.id);
    if found == written {
        return Ok(None);
    }
    let (count, changed) = changed_rows(main, sealer, table)?;
    let mut what = format!("{} rows, {} were written", found.count, written.count);
    if count > 0 {
        let _ = write!(what, "; {count} are not as written: {}", changed.join(", "));
    }
    Ok(Some(what))
}

/// Returns the number of rows without their seal, and the keys of the first.
fn changed_rows(
    main: &Connection,
    sealer: &Sealer,
    table: &Table,
) -> Result<(usize, Vec<String>), SqlError> {
    let mut seal = main.prepare("SELECT version, mac FROM row_seal WHERE tbl = ?1 AND row = ?2")?;
    let (mut count, mut named) = (0_usize, Vec::new());
    each_row(main, table, |key, bytes| {
        let kept: Option<(i64, Vec<u8>)> = seal
            .query_row((table.id, &key), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let holds = match kept {
            Some((version, mac)) => {
                sealer
                    .mac(table.id, version.cast_unsigned(), bytes)?
                    .as_slice()
                    == mac
            }
            None => false,
        };
        if !holds {
            count += 1;
            if named.len() < MOST_NAMED {
                named.push(name_of(&key));
            }
        }
        Ok(())
    })?;
    Ok((count, named))
}

/// Returns a row's key for people: printable text of its parts.
fn name_of(key: &RowKey) -> String {
    match key {
        RowKey::One(KeyValue::Number(number)) => number.to_string(),
        RowKey::One(KeyValue::Text(text)) => format!("`{}`", text.escape_debug()),
        RowKey::One(KeyValue::Bytes(bytes)) => format!("`{}`", hex(bytes)),
        RowKey::All(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            let printable: String = text
                .chars()
                .map(|char| if char.is_ascii_graphic() { char } else { ' ' })
                .collect();
            let words: Vec<&str> = printable.split_whitespace().collect();
            format!("`{}`", words.join(" "))
        }
    }
}

/// Returns true if the newest leaf of the chain is the newest that was written. Nothing else is read.
pub(super) fn chain_is_whole(main: &Connection, seals: &Seals) -> Result<bool, SqlError> {
    let newest: i64 =
        main.query_row("SELECT coalesce(max(n), 0) FROM leaf", [], |row| row.get(0))?;
    Ok(newest == seals.leaves.cast_signed())
}

/// Compares the whole chain with its sealed head. Returns what differs, in words.
pub(super) fn chain_differs(
    main: &Connection,
    sealer: &Sealer,
    seals: &Seals,
) -> Result<Option<String>, SqlError> {
    let mut select = main.prepare("SELECT n, salted FROM leaf ORDER BY n")?;
    let mut rows = select.query([])?;
    let (mut leaves, mut head) = (0_u64, [0; SUM_LEN]);
    while let Some(row) = rows.next()? {
        let salted = row.get_ref(1)?.as_blob().unwrap_or_default();
        let leaf = salted.get(SALT_LEN..).unwrap_or_default();
        leaves = leaves.wrapping_add(1);
        if row.get::<_, i64>(0)? != leaves.cast_signed() {
            return Ok(Some(format!("leaf {leaves} is missing")));
        }
        head = sealer.head(&head, leaves, leaf)?;
    }
    if leaves != seals.leaves {
        let written = seals.leaves;
        return Ok(Some(format!("{leaves} leaves, {written} were written")));
    }
    Ok((head != seals.head).then(|| "a leaf is not as written".to_owned()))
}

/// Returns the number of rows that were written to a table.
pub(super) fn written(seals: &Seals, table: &Table) -> u64 {
    seals.tally(table.id).count
}

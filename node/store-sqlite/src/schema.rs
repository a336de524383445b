//! The two database files: their creation, opening, migration and checks.

use std::{fs, os::unix::fs::OpenOptionsExt as _, path::Path};

use aws_lc_rs::rand;
use portcullis_store::StoreError;
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};

use super::{
    binding::{self, Binding, Unlocking},
    connection::{file_error, readable_alone, writable},
    crypt::Vault,
    error::SqlError,
    files::{KEYS_FILE, MAIN_FILE},
    layout::{self, Layout},
    seals::{self, Sealer, Seals},
    tables::{SEALS, Table, sealed_tables},
    tokens_apart,
};

/// The steps from an empty file to the newest format. The number of steps is the format's number.
const MAIN_STEPS: &[Step] = &[
    Step::Sql(include_str!("main_1.sql")),
    Step::Sql(include_str!("main_2.sql")),
    Step::Sql(include_str!("main_3.sql")),
    Step::Sql(include_str!("main_4.sql")),
    Step::Sql(include_str!("main_5.sql")),
    Step::Sql(include_str!("main_6.sql")),
    Step::Sql(include_str!("main_7.sql")),
    Step::Sql(include_str!("main_8.sql")),
    Step::Sql(include_str!("main_act_answers.sql")),
    Step::Sealing {
        tables: tokens_apart::TABLES,
        fill: tokens_apart::fill,
        drop: tokens_apart::DROP,
    },
    Step::Sql(include_str!("main_awaited_versions.sql")),
    Step::Sql(include_str!("main_seals.sql")),
    // Rows of `score` are sealed (tables.rs).
    Step::Sql(""),
];
const KEYS_STEPS: &[Step] = &[Step::Sql(include_str!("keys_1.sql"))];

/// Findings of SQLite's own checks that are told of a file, and lines that are read for them.
const MOST_FINDINGS: usize = 20;
const MOST_LINES: u32 = 1_000_000;

/// A step from one format to the next.
enum Step {
    Sql(&'static str),
    /// One that opens and seals.
    Sealing {
        /// Makes the new tables, and renames the former ones.
        tables: &'static str,
        /// Fills them, with the main database, the key table, and the vault.
        fill: fn(&Connection, &Connection, &Vault) -> Result<(), SqlError>,
        /// Drops the former ones.
        drop: &'static str,
    },
}

/// Makes both files. Neither may exist.
pub(super) fn create(dir: &Path, unlocking: Unlocking<'_>) -> Result<(), SqlError> {
    for file in [KEYS_FILE, MAIN_FILE] {
        if dir.join(file).exists() {
            return Err(StoreError::Exists(dir.join(file).display().to_string()).into());
        }
    }
    let mut random = [0; 32];
    rand::fill(&mut random).map_err(|_| StoreError::Cryptography("the random source"))?;
    let (store, generation) = random.split_at(16);
    let keys = new_file(dir, KEYS_FILE)?;
    migrate(&keys, KEYS_STEPS, None)?;
    set_meta(&keys, "store", store).map_err(SqlError::Keys)?;
    for (name, check) in binding::checks(unlocking)? {
        set_meta(&keys, name, &check).map_err(SqlError::Keys)?;
    }
    let main = new_file(dir, MAIN_FILE)?;
    migrate(&main, MAIN_STEPS, Some((&keys, &unlocking.vault()?)))?;
    set_meta(&main, "generation", generation)?;
    set_meta(&main, "store", store)?;
    sync_folder(dir)
}

/// Treatment of a store whose rows are not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sealing {
    /// They are sealed as they stand: the store is new, or of a format before seals.
    MayBegin,
    /// Its seals were taken away.
    MustBe,
}

impl Sealing {
    /// Returns the treatment of a store whose key table has this binding. What is bound was sealed
    /// before.
    pub(super) const fn of(binding: Binding<'_>) -> Self {
        match binding {
            Binding::Unbound => Self::MayBegin,
            Binding::Begun(_) | Binding::Bound(_) => Self::MustBe,
        }
    }
}

/// Both files, opened for writing, and the seals of the rows.
pub(super) struct Opened {
    pub(super) main: Connection,
    pub(super) keys: Connection,
    pub(super) vault: Vault,
    pub(super) sealer: Sealer,
    pub(super) seals: Seals,
    /// Layout of the main file, and the number under which it was checked.
    pub(super) layout: Layout,
    pub(super) layout_number: i64,
}

/// Opens both files for writing.
pub(super) fn open(
    dir: &Path,
    unlocking: Unlocking<'_>,
    sealing: Sealing,
) -> Result<Opened, SqlError> {
    let keys = writable(dir, KEYS_FILE)?;
    migrate(&keys, KEYS_STEPS, None).map_err(SqlError::in_keys)?;
    let vault = binding::unlock(&keys, unlocking).map_err(SqlError::in_keys)?;
    let store = meta(&keys, "store").map_err(SqlError::in_keys)?;
    let sealer = Sealer::new(unlocking.key, &store)?;
    let main = writable(dir, MAIN_FILE)?;
    if is_older(&main, MAIN_STEPS)? {
        refuse_damaged(&main, &sealer, sealing)?;
    }
    if migrate(&main, MAIN_STEPS, Some((&keys, &vault)))? == Migrated::Sealed {
        // What stood in clear is overwritten, also in the write-ahead log.
        main.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    }
    // Read first: a change between the two is seen by the first transaction.
    let layout_number = layout::number(&main)?;
    let layout = own_layout()?;
    layout.refuse_other(&main)?;
    if meta(&main, "store")? != store {
        let both = format!("`{MAIN_FILE}` and `{KEYS_FILE}` are of different stores");
        return Err(StoreError::Damaged(both).into());
    }
    if meta(&main, "generation")?.len() != 16 {
        return Err(StoreError::Damaged("its generation is not 16 bytes".to_owned()).into());
    }
    let transaction = Transaction::new_unchecked(&main, TransactionBehavior::Immediate)?;
    let seals = match (seals::read_root(&transaction, &sealer)?, sealing) {
        (Some(seals), Sealing::MayBegin | Sealing::MustBe)
            if sealed_tables().all(|table| seals.covers(table)) =>
        {
            seals
        }
        (None, Sealing::MustBe) => return Err(seals_gone()),
        (None, Sealing::MayBegin) => {
            // Older keys, and a check value of their time.
            if binding::opens_nothing(&keys, &vault).map_err(SqlError::in_keys)? {
                return Err(StoreError::OlderKeys.into());
            }
            seals::adopt(&transaction, &sealer)?
        }
        // It was brought up to date, by this start or by one that was cut short before it sealed.
        (Some(_), Sealing::MayBegin | Sealing::MustBe) => {
            refuse_damaged(&transaction, &sealer, sealing)?;
            seals::adopt(&transaction, &sealer)?
        }
    };
    transaction.commit()?;
    Ok(Opened {
        main,
        keys,
        vault,
        sealer,
        seals,
        layout,
        layout_number,
    })
}

/// Tells whether a store would open with these keys, and has its seals if it must. Nothing is
/// changed; a node may have it open.
pub(super) fn look(dir: &Path, unlocking: Unlocking<'_>, sealing: Sealing) -> Result<(), SqlError> {
    let keys = readable_alone(dir, KEYS_FILE)?;
    binding::found(&keys, unlocking).map_err(SqlError::in_keys)?;
    let store = meta(&keys, "store").map_err(SqlError::in_keys)?;
    let main = readable_alone(dir, MAIN_FILE)?;
    match sealing {
        Sealing::MayBegin => Ok(()),
        Sealing::MustBe if !has_seals(&main)? => Err(seals_gone()),
        Sealing::MustBe => match seals::read_root(&main, &Sealer::new(unlocking.key, &store)?)? {
            Some(_) => Ok(()),
            None => Err(seals_gone()),
        },
    }
}

fn seals_gone() -> SqlError {
    StoreError::Damaged("its seals are gone".to_owned()).into()
}

fn has_seals(main: &Connection) -> Result<bool, SqlError> {
    Ok(main.query_row(
        "SELECT count(*) > 0 FROM sqlite_schema WHERE name = 'seal_root'",
        [],
        |row| row.get(0),
    )?)
}

/// Returns the layout that this version makes.
fn own_layout() -> Result<Layout, SqlError> {
    let made = Connection::open_in_memory()?;
    for step in MAIN_STEPS {
        match step {
            Step::Sql(sql) => made.execute_batch(sql)?,
            Step::Sealing { tables, drop, .. } => {
                made.execute_batch(tables)?;
                made.execute_batch(drop)?;
            }
        }
    }
    Layout::of(&made)
}

/// Refuses to bring a store up to date whose sealed rows are not what was written: they would be
/// sealed anew as they stand.
fn refuse_damaged(main: &Connection, sealer: &Sealer, sealing: Sealing) -> Result<(), SqlError> {
    match (has_seals(main)?, sealing) {
        (false, Sealing::MayBegin) => return Ok(()),
        (false, Sealing::MustBe) => return Err(seals_gone()),
        (true, Sealing::MayBegin | Sealing::MustBe) => {}
    }
    let seals = seals::read_root(main, sealer)?.ok_or_else(seals_gone)?;
    // The file's number is no proof: what the root knows is checked whatever the number says.
    let is_sealed = |table: &&Table| table.since == SEALS || seals.covers(table);
    for table in sealed_tables().filter(is_sealed) {
        if let Some(what) = seals::differs(main, sealer, &seals, table)? {
            let what = format!("`{}`: {what}", table.name);
            return Err(StoreError::Damaged(what).into());
        }
    }
    match seals::chain_differs(main, sealer, &seals)? {
        None => Ok(()),
        Some(what) => {
            let what = format!("the chain: {what}");
            Err(StoreError::Damaged(what).into())
        }
    }
}

/// Returns the damage found in the files, in words. The key table is attached as `keys`.
pub(super) fn findings(connection: &Connection) -> Result<Vec<String>, SqlError> {
    let mut findings = Vec::new();
    for (schema, file) in [("main", MAIN_FILE), ("keys", KEYS_FILE)] {
        findings.extend(torn(connection, schema, file, "quick_check")?);
    }
    findings.extend(dangling(connection)?);
    findings.extend(keyless(connection)?);
    Ok(findings)
}

/// Returns the damage that SQLite finds in a file with `check`, one of its own checks. Pages that
/// nothing uses are none: they are left behind where a torn table was made anew.
pub(super) fn torn(
    connection: &Connection,
    schema: &str,
    file: &str,
    check: &str,
) -> Result<Vec<String>, SqlError> {
    let lines = texts(
        connection,
        &format!("PRAGMA {schema}.{check}({MOST_LINES})"),
    )?;
    let wrong = lines.iter().flat_map(|line| line.lines()).filter(|line| {
        let is_unused = line.starts_with("Page ") && line.ends_with(": never used");
        *line != "ok" && !line.starts_with("*** in database") && !is_unused
    });
    let told = wrong.map(|line| format!("`{file}`: {line}"));
    Ok(told.take(MOST_FINDINGS).collect())
}

/// Returns a finding for each table of the main database with rows that refer to nothing.
pub(super) fn dangling(connection: &Connection) -> Result<Vec<String>, SqlError> {
    let tables = texts(
        connection,
        "SELECT DISTINCT \"table\" FROM pragma_foreign_key_check",
    )?;
    let named = |table| format!("`{MAIN_FILE}`: a row of `{table}` refers to nothing");
    Ok(tables.into_iter().map(named).collect())
}

/// Returns findings for sealed things in the main database that have no key.
pub(super) fn keyless(connection: &Connection) -> Result<Vec<String>, SqlError> {
    let mut findings = Vec::new();
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    for table in ["held", "bad_item", "consignment", "score"] {
        let count = count(&format!(
            "SELECT count(*) FROM {table} WHERE key NOT IN (SELECT n FROM keys.wrapped_key)"
        ))?;
        if count > 0 {
            findings.push(format!(
                "`{KEYS_FILE}`: {count} rows of `{table}` have no key"
            ));
        }
    }
    let packs = count("SELECT count(*) FROM pack WHERE n NOT IN (SELECT n FROM keys.pack_key)")?;
    if packs > 0 {
        findings.push(format!(
            "`{KEYS_FILE}`: {packs} packs of records have no keys"
        ));
    }
    Ok(findings)
}

fn texts(connection: &Connection, sql: &str) -> Result<Vec<String>, SqlError> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Makes a file that only its owner can access. SQLite gives its WAL the same permissions.
fn new_file(dir: &Path, name: &str) -> Result<Connection, SqlError> {
    let path = dir.join(name);
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(|source| file_error(&path, source))?;
    writable(dir, name)
}

/// Returns true if there are steps that the file has not seen.
fn is_older(connection: &Connection, steps: &[Step]) -> Result<bool, SqlError> {
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(usize::try_from(found).is_ok_and(|found| found < steps.len()))
}

/// Result of bringing a file up to date.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Migrated {
    /// Nothing was sealed that stood in clear.
    Plain,
    /// Something may have been sealed that stood in clear.
    Sealed,
}

/// Applies the steps that the file has not seen, all or none. `sealing` is the key table and the
/// vault, for the steps that need them.
fn migrate(
    connection: &Connection,
    steps: &[Step],
    sealing: Option<(&Connection, &Vault)>,
) -> Result<Migrated, SqlError> {
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = u32::try_from(steps.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(StoreError::Format { found, known }.into());
    }
    let taken = usize::try_from(found).unwrap_or(usize::MAX);
    let missing = steps.get(taken..).unwrap_or_default();
    let mut migrated = Migrated::Plain;
    if missing.is_empty() {
        return Ok(migrated);
    }
    let transaction = connection.unchecked_transaction()?;
    for step in missing {
        match step {
            Step::Sql(sql) => transaction.execute_batch(sql)?,
            Step::Sealing { tables, fill, drop } => {
                let (keys, vault) = sealing.ok_or(StoreError::Fault("a step has no keys"))?;
                transaction.execute_batch(tables)?;
                fill(&transaction, keys, vault)?;
                transaction.execute_batch(drop)?;
                migrated = Migrated::Sealed;
            }
        }
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.commit()?;
    Ok(migrated)
}

pub(super) fn meta(connection: &Connection, name: &str) -> Result<Vec<u8>, SqlError> {
    connection
        .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| {
            row.get(0)
        })
        .optional()?
        .ok_or_else(|| StoreError::Damaged(format!("it does not say its `{name}`")).into())
}

fn set_meta(connection: &Connection, name: &str, value: &[u8]) -> rusqlite::Result<()> {
    connection
        .execute(
            "INSERT INTO meta (name, value) VALUES (?1, ?2)",
            (name, value),
        )
        .map(|_| ())
}

fn sync_folder(dir: &Path) -> Result<(), SqlError> {
    fs::File::open(dir)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| file_error(dir, source))
}

//! Snapshots of both files at one commit, copied while the writer goes on.
//!
//! ```text
//! writer   ── commit n ──┐ keys, main ┌── commit n+1 ── …
//! snapshot               └─ begin ────┘ ── copy, page by page ──▶ two files of commit n
//! ```
//!
//! The two files are one unit: a snapshot begins in both while no commit is under way. The
//! write-ahead logs cannot begin anew until it is dropped, so that they grow meanwhile. Pages are
//! copied a few at a time, and no key is needed. An existing file is not overwritten.

use std::{
    fs,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use portcullis_protocol::{
    frame::{Generation, Lane},
    identifiers::NodeId,
};
use portcullis_store::StoreError;
use rusqlite::{
    Connection, OpenFlags, TransactionBehavior,
    backup::{Backup, StepResult},
};

use super::{
    connection::{self, at_rest, file_error, immutable},
    decode::{named, node, unsigned},
    error::SqlError,
    files::{KEYS_FILE, MAIN_FILE},
    schema,
    view::log_end,
};

/// Pages copied at a time: 1 MiB.
const PAGES: i32 = 256;

/// Turnstile that lets another thread in between two commits, however busy the writer is.
#[derive(Default)]
pub(super) struct Turnstile {
    /// Guards the number of threads that want to come in between.
    waiting: Mutex<usize>,
    passed: Condvar,
}

impl Turnstile {
    /// Waits until no thread wants to come in between.
    pub(super) fn pass(&self) {
        let busy = |waiting: &mut usize| *waiting > 0;
        drop(self.passed.wait_while(self.lock(), busy));
    }

    /// Keeps the writer from its next commit while `work` runs.
    pub(super) fn between<T>(&self, work: impl FnOnce() -> T) -> T {
        *self.lock() += 1;
        let done = work();
        *self.lock() -= 1;
        self.passed.notify_all();
        done
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both files as they were at one commit.
#[derive(Debug)]
pub struct Snapshot(Connection);

/// Progress of a copy, in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Pages copied so far.
    pub pages: u64,
    /// Pages in total.
    pub of: u64,
}

impl Snapshot {
    /// Holds the files in `dir` as they are between two commits. If a node has them open, the call
    /// waits for its commit to end.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the files cannot be opened, or are being written all the time.
    pub fn of_folder(dir: &Path) -> Result<Self, StoreError> {
        Ok(Self::in_folder(dir)?)
    }

    fn in_folder(dir: &Path) -> Result<Self, SqlError> {
        let mut writer = connection::writable(dir, MAIN_FILE)?;
        let snapshot = Self::open(dir)?;
        // A writer takes the main database first, and the key table only then.
        let held = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        snapshot.begin()?;
        drop(held);
        Ok(snapshot)
    }

    pub(super) fn open(dir: &Path) -> Result<Self, SqlError> {
        connection::readable(dir).map(Self)
    }

    /// Begins to hold both files.
    pub(super) fn begin(&self) -> Result<(), SqlError> {
        self.0.execute_batch("BEGIN")?;
        for sql in [
            "SELECT count(*) FROM main.meta",
            "SELECT count(*) FROM keys.meta",
        ] {
            self.0.query_row(sql, [], |_| Ok(()))?;
        }
        Ok(())
    }

    /// Copies the main database into a new file.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn copy_main(&self, to: &Path, told: &mut dyn FnMut(Copied)) -> Result<(), StoreError> {
        Ok(self.main_to(to, told)?)
    }

    fn main_to(&self, to: &Path, told: &mut dyn FnMut(Copied)) -> Result<(), SqlError> {
        self.copy("main", to, told)
    }

    /// Copies the key table into a new file.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn copy_keys(&self, to: &Path, told: &mut dyn FnMut(Copied)) -> Result<(), StoreError> {
        Ok(self.keys_to(to, told)?)
    }

    fn keys_to(&self, to: &Path, told: &mut dyn FnMut(Copied)) -> Result<(), SqlError> {
        self.copy("keys", to, told)
    }

    fn copy(&self, schema: &str, to: &Path, told: &mut dyn FnMut(Copied)) -> Result<(), SqlError> {
        let file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(to)
            .map_err(|source| file_error(to, source))?;
        let mut copy = Connection::open_with_flags(
            to,
            OpenFlags::SQLITE_OPEN_READ_WRITE
                | OpenFlags::SQLITE_OPEN_NO_MUTEX
                | OpenFlags::SQLITE_OPEN_NOFOLLOW,
        )?;
        // Nobody uses this file yet. It is synced once it is whole, or thrown away.
        copy.pragma_update(None, "journal_mode", "OFF")?;
        copy.pragma_update(None, "synchronous", "OFF")?;
        {
            let backup = Backup::new_with_names(&self.0, schema, &mut copy, "main")?;
            while backup.step(PAGES)? != StepResult::Done {
                told(copied(&backup));
            }
            told(copied(&backup));
        }
        copy.close().map_err(|(_, error)| error)?;
        file.sync_all().map_err(|source| file_error(to, source))
    }
}

fn copied(backup: &Backup<'_, '_>) -> Copied {
    let progress = backup.progress();
    let of = u64::try_from(progress.pagecount).unwrap_or(0);
    let left = u64::try_from(progress.remaining).unwrap_or(0);
    Copied {
        pages: of.saturating_sub(left),
        of,
    }
}

/// Description of a node, as its main database holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The node's generation.
    pub generation: Generation,
    /// The newest number of the record log.
    pub log_end: u64,
    /// The newest epoch of the register that was applied; 0 if none was.
    pub register_epoch: u64,
    /// Positions of dispatch, for each peer and lane.
    pub positions: Vec<PositionRow>,
}

/// Position of dispatch with one peer in one lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionRow {
    /// The peer.
    pub peer: NodeId,
    /// The lane.
    pub lane: Lane,
    /// Everything up to this number of the log is dealt with.
    pub cursor: u64,
    /// The sequence number of the next item sent.
    pub next_sequence: u64,
}

/// Reads the description from a main database that nobody has open.
///
/// # Errors
///
/// [`StoreError`].
pub fn look(main: &Path) -> Result<Contents, StoreError> {
    Ok(contents_of(main)?)
}

fn contents_of(main: &Path) -> Result<Contents, SqlError> {
    let connection = at_rest(main)?;
    let generation = schema::meta(&connection, "generation")?;
    let generation = <[u8; 16]>::try_from(generation)
        .map(Generation::from_bytes)
        .map_err(|_| StoreError::Damaged("its generation is not 16 bytes".to_owned()))?;
    let epoch: i64 =
        connection.query_row("SELECT coalesce(max(epoch), 0) FROM register", [], |row| {
            row.get(0)
        })?;
    Ok(Contents {
        generation,
        log_end: unsigned(log_end(&connection)?)?,
        register_epoch: unsigned(epoch)?,
        positions: positions(&connection)?,
    })
}

fn positions(connection: &Connection) -> Result<Vec<PositionRow>, SqlError> {
    let mut select = connection.prepare(
        "SELECT d.peer, d.lane, d.cursor, coalesce(s.next_sequence, 1) FROM dispatch d
         LEFT JOIN sent_position s ON s.peer = d.peer AND s.lane = d.lane
         ORDER BY d.peer, d.lane",
    )?;
    let rows = select.query_map([], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, String>(1)?,
            row.get::<_, i64>(2)?,
            row.get::<_, i64>(3)?,
        ))
    })?;
    rows.map(|row| {
        let (peer, lane, cursor, next) = row?;
        Ok(PositionRow {
            peer: node(&peer)?,
            lane: named(&lane)?,
            cursor: unsigned(cursor)?,
            next_sequence: unsigned(next)?,
        })
    })
    .collect()
}

/// Checks files that nobody has open in full, and returns the damage found, in words.
///
/// # Errors
///
/// [`StoreError`] if the files cannot be checked.
pub fn examine(main: &Path, keys: Option<&Path>) -> Result<Vec<String>, StoreError> {
    Ok(faults_in(main, keys)?)
}

fn faults_in(main: &Path, keys: Option<&Path>) -> Result<Vec<String>, SqlError> {
    let connection = at_rest(main)?;
    let mut findings = schema::torn(&connection, "main", MAIN_FILE, "integrity_check")?;
    findings.extend(schema::dangling(&connection)?);
    let Some(keys) = keys else {
        return Ok(findings);
    };
    connection
        .execute("ATTACH DATABASE ?1 AS keys", [immutable(keys)?])
        .map_err(SqlError::Keys)?;
    findings.extend(schema::torn(
        &connection,
        "keys",
        KEYS_FILE,
        "integrity_check",
    )?);
    let same: bool = connection.query_row(
        "SELECT (SELECT value FROM main.meta WHERE name = 'store')
              = (SELECT value FROM keys.meta WHERE name = 'store')",
        [],
        |row| row.get::<_, Option<bool>>(0).map(|same| same == Some(true)),
    )?;
    if !same {
        findings.push(format!(
            "`{MAIN_FILE}` and `{KEYS_FILE}` are of different stores"
        ));
    }
    findings.extend(schema::keyless(&connection)?);
    Ok(findings)
}

//! Checkpoints of the write-ahead logs, on a thread beside the writer.
//!
//! A write-ahead log has to be written back to its file now and then. This takes the longer, the
//! more has gathered. The writer does it when the log is large. This thread does it more often and
//! on connections of its own, so that the writer finds little left and nobody waits for it.
//!
//! Data that was overwritten because its record was withdrawn stays in the log until the log is
//! begun anew. After such a commit the log is therefore emptied, as soon as no reader uses it.

use std::{
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use portcullis_store::StoreError;
use rusqlite::Connection;

use super::{
    connection,
    error::SqlError,
    files::{KEYS_FILE, MAIN_FILE},
};

/// Time for which commits gather before a checkpoint.
const PERIOD: Duration = Duration::from_millis(250);
/// The same while alerts come: a commit may have to wait until everything gathered is on disk.
const SHORT_PERIOD: Duration = Duration::from_millis(60);
/// Time after something urgent during which more is expected.
const URGENT_LATELY: Duration = Duration::from_secs(1);

/// Handle of the checkpoint thread. The thread ends when it is dropped.
pub(super) struct Checkpointer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// Guards the state on which the thread waits.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// True if there were commits since the logs were last written back.
    committed: bool,
    /// True if the logs still hold something that was erased.
    erased: bool,
    /// Time at which something urgent was last logged.
    last_urgent: Option<Instant>,
    stopping: bool,
}

impl Checkpointer {
    /// Starts the thread.
    pub(super) fn start(dir: &Path) -> Result<Self, SqlError> {
        let files = [
            connection::writable(dir, MAIN_FILE)?,
            connection::writable(dir, KEYS_FILE)?,
        ];
        let shared = Arc::new(Shared::default());
        // A process that ended early may have left erased data in the logs.
        shared.lock().erased = true;
        let its = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("store-checkpoint".to_owned())
            .spawn(move || work(&its, &files))
            .map_err(|source| StoreError::File {
                path: "store-checkpoint".to_owned(),
                source: Arc::new(source),
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Notes a commit.
    pub(super) fn committed(&self, commit: &Commit) {
        let mut state = self.shared.lock();
        state.erased |= commit.has_erased;
        if commit.is_urgent {
            state.last_urgent = Some(Instant::now());
        }
        if !state.committed {
            state.committed = true;
            self.shared.changed.notify_one();
        }
    }
}

/// Properties of a commit that matter to the checkpoints.
pub(super) struct Commit {
    /// True if the logs still hold something that the commit erased.
    pub(super) has_erased: bool,
    /// True if the commit logged something urgent.
    pub(super) is_urgent: bool,
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_one();
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            tracing::error!("the thread that writes the log back had panicked");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there were commits and the period has passed. Returns the next task.
    fn wait(&self) -> Task {
        let idle = |state: &mut State| !state.committed && !state.erased && !state.stopping;
        let state = self.changed.wait_while(self.lock(), idle);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        let running = |state: &mut State| !state.stopping;
        let period = state.period();
        let waited = self.changed.wait_timeout_while(state, period, running);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.committed = false;
        match (state.stopping, std::mem::take(&mut state.erased)) {
            (true, _) => Task::Stop,
            (false, true) => Task::Empty,
            (false, false) => Task::WriteBack,
        }
    }
}

impl State {
    fn period(&self) -> Duration {
        match self.last_urgent {
            Some(last) if last.elapsed() < URGENT_LATELY => SHORT_PERIOD,
            Some(_) | None => PERIOD,
        }
    }
}

/// Next task of the thread.
enum Task {
    /// Write back as much as readers and the writer allow.
    WriteBack,
    /// Leave nothing in the logs.
    Empty,
    Stop,
}

fn work(shared: &Shared, files: &[Connection]) {
    portcullis_store::niceness::give_way();
    loop {
        match shared.wait() {
            Task::Stop => return,
            Task::WriteBack => write_back(files),
            Task::Empty => {
                // The passive checkpoint comes first: emptying keeps the writer waiting, and has
                // less to do then.
                write_back(files);
                // Both are tried, whatever becomes of the other.
                let left = files.iter().filter(|file| !is_emptied(file)).count();
                shared.lock().erased |= left > 0;
            }
        }
    }
}

fn write_back(files: &[Connection]) {
    for file in files {
        // Whatever a reader or the writer holds up now is written back at a later checkpoint.
        let done = file.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if let Err(error) = done {
            tracing::warn!(%error, "the write-ahead log was not written back");
        }
    }
}

/// Empties the log of a file. Returns `false` if a reader or the writer still uses it.
fn is_emptied(file: &Connection) -> bool {
    let emptied = file.busy_timeout(Duration::ZERO).and_then(|()| {
        file.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
            row.get::<_, bool>(0)
        })
    });
    match emptied {
        Ok(busy) => !busy,
        Err(error) => {
            tracing::debug!(%error, "the write-ahead log was not emptied yet");
            false
        }
    }
}

//! Writing the WAL back beside the writer.
//!
//! A write-ahead log has to be written back to its file now and then, which takes as long as what
//! has gathered. The writer does so when the log is large; this thread does it more often and on
//! connections of its own, so that the writer finds little left and nobody waits for it.
//!
//! What was overwritten because its record was withdrawn stands in the log until that is begun
//! anew. After such a commit the log is emptied, as soon as no reader looks at it.

use std::{
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rusqlite::Connection;

use super::{KEYS_FILE, MAIN_FILE, schema};
use crate::error::SqlError;
use portcullis_store::StoreError;

/// How long commits gather.
const PERIOD: Duration = Duration::from_millis(250);
/// How long while alerts come: a commit may have to wait until all that gathered is on disk.
const SHORT_PERIOD: Duration = Duration::from_millis(60);
/// For how long something urgent says that more will come.
const URGENT_LATELY: Duration = Duration::from_secs(1);

/// The thread; it ends with this.
pub(super) struct Checkpointer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// Guards what the thread waits for.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Whether there were commits since the log was written back.
    committed: bool,
    /// Whether something was erased that the log holds still.
    erased: bool,
    /// When something urgent was logged last.
    last_urgent: Option<Instant>,
    stopping: bool,
}

impl Checkpointer {
    /// Starts the thread.
    pub(super) fn start(dir: &Path) -> Result<Self, SqlError> {
        let files = [
            schema::writable(dir, MAIN_FILE)?,
            schema::writable(dir, KEYS_FILE)?,
        ];
        let shared = Arc::new(Shared::default());
        // A process that ended early may have left something erased in the logs.
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

/// What a commit was, as far as it matters here.
pub(super) struct Commit {
    /// Whether something was erased that the log holds still.
    pub(super) has_erased: bool,
    /// Whether it logged something urgent.
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

    /// Waits until there were commits and a while has passed.
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

/// What the thread is to do.
enum Task {
    /// Write back what it may.
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
                // The passive way first: emptying keeps the writer waiting, and has less to do then.
                write_back(files);
                // Each of them is tried, whatever becomes of the other.
                let left = files.iter().filter(|file| !is_emptied(file)).count();
                shared.lock().erased |= left > 0;
            }
        }
    }
}

fn write_back(files: &[Connection]) {
    for file in files {
        // What a reader or the writer keeps from being written back now is so later.
        let done = file.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if let Err(error) = done {
            tracing::warn!(%error, "the write-ahead log was not written back");
        }
    }
}

/// Empties the log of a file; `false` if somebody looks at it.
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

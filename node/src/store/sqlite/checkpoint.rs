//! Writing the WAL back beside the writer.
//!
//! A write-ahead log has to be written back to its file now and then, which takes as long as what
//! has gathered. The writer does so when the log is large; this thread does it more often and on
//! connections of its own, so that the writer finds little left and nobody waits for it.

use std::{
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use rusqlite::Connection;

use super::{KEYS_FILE, MAIN_FILE, schema};
use crate::store::StoreError;

/// How long commits gather.
const PERIOD: Duration = Duration::from_millis(250);

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
    stopping: bool,
}

impl Checkpointer {
    /// Starts the thread.
    pub(super) fn start(dir: &Path) -> Result<Self, StoreError> {
        let files = [
            schema::writable(dir, MAIN_FILE)?,
            schema::writable(dir, KEYS_FILE)?,
        ];
        let shared = Arc::new(Shared::default());
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
    pub(super) fn committed(&self) {
        let mut state = self.shared.lock();
        if !state.committed {
            state.committed = true;
            self.shared.changed.notify_one();
        }
    }
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

    /// Waits until there were commits and a while has passed; `false`: it is time to stop.
    fn wait(&self) -> bool {
        let idle = |state: &mut State| !state.committed && !state.stopping;
        let state = self.changed.wait_while(self.lock(), idle);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        let running = |state: &mut State| !state.stopping;
        let waited = self.changed.wait_timeout_while(state, PERIOD, running);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.committed = false;
        !state.stopping
    }
}

fn work(shared: &Shared, files: &[Connection]) {
    crate::work::give_way();
    while shared.wait() {
        for file in files {
            // What a reader or the writer keeps from being written back now is so later.
            let done = file.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            if let Err(error) = done {
                tracing::warn!(%error, "the write-ahead log was not written back");
            }
        }
    }
}

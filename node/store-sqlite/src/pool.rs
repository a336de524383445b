//! Connections that only read, opened when they are needed.

use std::{
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use portcullis_store::StoreError;
use rusqlite::Connection;

use super::{
    connection,
    crypt::Vault,
    damages::Damages,
    error::SqlError,
    index::Index,
    seals::Sealer,
    view::{DatabaseView, OnDamage},
};

/// Most connections that read at the same time. Further readers wait.
const MAX_READERS: usize = 8;

/// Connections for reading, opened when they are needed.
pub(super) struct Pool {
    dir: PathBuf,
    /// Guards the connections that are idle and the count of those that are open.
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Connection>,
    open: usize,
}

impl Pool {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            state: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    /// Runs a query on one snapshot. The key of something that was replaced meanwhile can be gone
    /// already, so that a result that looks damaged is checked once more on a newer snapshot. Only
    /// what is damaged there too is left out of a list.
    pub(super) fn read<T>(
        &self,
        (vault, sealer): (&Vault, &Sealer),
        index: &Index,
        damages: &Damages,
        query: impl Fn(DatabaseView<'_>) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        let lease = self.lease()?;
        let connection = lease.connection.as_ref().ok_or(StoreError::Stopped)?;
        let look = |on_damage| snapshot(connection, (vault, sealer, index, on_damage), &query);
        match look(OnDamage::TryAgain(damages)) {
            Err(error) if error.damage().is_some() => look(OnDamage::LeaveOut(damages)),
            other => other,
        }
    }

    fn lease(&self) -> Result<Lease<'_>, SqlError> {
        let mut state = self.lock();
        while state.idle.is_empty() && state.open >= MAX_READERS {
            state = self
                .returned
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let mut lease = Lease {
            connection: state.idle.pop(),
            pool: self,
        };
        if lease.connection.is_none() {
            state.open += 1;
            drop(state);
            lease.connection = Some(connection::readable(&self.dir)?);
        }
        Ok(lease)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in use. It returns to the pool however the query ends.
struct Lease<'a> {
    connection: Option<Connection>,
    pool: &'a Pool,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        match self.connection.take() {
            Some(connection) => state.idle.push(connection),
            None => state.open = state.open.saturating_sub(1),
        }
        self.pool.returned.notify_one();
    }
}

fn snapshot<T>(
    connection: &Connection,
    (vault, sealer, index, on_damage): (&Vault, &Sealer, &Index, OnDamage<'_>),
    query: &impl Fn(DatabaseView<'_>) -> Result<T, SqlError>,
) -> Result<T, SqlError> {
    // The transaction is dropped unfinished, because there is nothing to commit.
    let transaction = connection.unchecked_transaction()?;
    query(DatabaseView {
        connection: &transaction,
        vault,
        sealer,
        index,
        on_damage,
    })
}

//! The store of a home, made and opened with the node's keys.
//!
//! A store that an earlier version made is bound to the keys once somebody has accepted the trust
//! settings. What is known of it is written before and after, so that a process that is killed in
//! between goes on at its next start.
//!
//! ```text
//! store opens, with its seals ──▶ keys: begun ──▶ key table is bound ──▶ keys: bound
//! ```
//!
//! If there is no room for it, or the keys cannot be written, the node runs with the table as it was, says
//! so, and tries again at its next start: a short disk keeps no node from its work.

use portcullis_home::{
    Home,
    keyring::{Binding as KeysBinding, BindingStep, Keyring, KeyringError, StoreKey},
    secret::KeySource,
};
use portcullis_store::StoreError;
use portcullis_store_sqlite::{Binding, SqliteStore, Unlocking, would_open, would_open_sealed};

/// Makes the store of a new home.
///
/// # Errors
///
/// [`StoreError`] if there is one already.
pub fn create(home: &Home, keyring: &Keyring) -> Result<SqliteStore, StoreError> {
    SqliteStore::create(&home.data(), unlocking(&keyring.store))
}

/// Opens the store of a home in which no node runs. Its key table is bound only if that was begun.
///
/// # Errors
///
/// [`StoreError`] if the keys do not open it, or its seals were taken away.
pub fn open(home: &Home, keyring: &Keyring) -> Result<SqliteStore, StoreError> {
    // Whoever accepted settings did so at a node that seals its rows.
    let open = match keyring.facts().accepted {
        Some(_) => SqliteStore::open_sealed,
        None => SqliteStore::open,
    };
    open(&home.data(), unlocking(&keyring.store))
}

/// The store of a node that starts.
#[derive(Debug)]
pub struct Opened {
    /// The node's keys as they are now.
    pub keyring: Keyring,
    /// The store.
    pub store: SqliteStore,
    /// Reason for which the store is not bound to the keys although it should be, if there is one.
    pub unbound: Option<String>,
}

/// Opens the store for the node that starts, and binds its key table if settings were accepted and
/// it is not bound.
///
/// # Errors
///
/// [`OpenError`] if it does not open, or the keys cannot be read again.
pub fn open_to_run(home: &Home, source: &KeySource, keyring: Keyring) -> Result<Opened, OpenError> {
    let mut keyring = keyring;
    if keyring.facts().accepted.is_some() && *keyring.store.binding() == KeysBinding::Unbound {
        // Only what opens as it is, with its seals, is bound.
        let store = open(home, &keyring)?;
        tracing::info!(
            "the store is being bound to the node's keys, which takes a while if it is large"
        );
        if let Err(error) = Keyring::step_binding(home, source, BindingStep::Begin) {
            return Ok(not_bound(keyring, store, &error));
        }
        drop(store);
        keyring = Keyring::load(home, source)?;
    }
    let store = match open(home, &keyring) {
        Ok(store) => store,
        // It was rolled back whole, so that the table is as it was.
        Err(error @ StoreError::Database { .. })
            if matches!(keyring.store.binding(), KeysBinding::Begun(_)) =>
        {
            let key = Unlocking::from(keyring.store.bytes());
            // If that opens nothing either, the first error is the cause.
            return match SqliteStore::open_sealed(&home.data(), key) {
                Ok(store) => Ok(not_bound(keyring, store, &error)),
                Err(_) => Err(error.into()),
            };
        }
        Err(error) => return Err(error.into()),
    };
    if matches!(keyring.store.binding(), KeysBinding::Begun(_)) {
        // The table is bound; that the keys do not say so is mended by any later start.
        match Keyring::step_binding(home, source, BindingStep::End) {
            Ok(()) => keyring = Keyring::load(home, source)?,
            Err(error) => return Ok(not_bound(keyring, store, &error)),
        }
        tracing::info!("the store is bound to the node's keys; older keys no longer open it");
    }
    Ok(Opened {
        keyring,
        store,
        unbound: None,
    })
}

fn not_bound(keyring: Keyring, store: SqliteStore, error: &dyn std::error::Error) -> Opened {
    let unbound = error.to_string();
    tracing::warn!(
        error = unbound,
        "the store is not bound to the node's keys yet"
    );
    Opened {
        keyring,
        store,
        unbound: Some(unbound),
    }
}

/// Says what keeps the store of a home from being opened, without a change.
///
/// # Errors
///
/// [`StoreError`] with what is wrong.
pub fn look(home: &Home, keyring: &Keyring) -> Result<(), StoreError> {
    let look = match keyring.facts().accepted {
        Some(_) => would_open_sealed,
        None => would_open,
    };
    look(&home.data(), unlocking(&keyring.store))
}

/// Error of a store that was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys to which it is to be bound cannot be written.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
}

fn unlocking(key: &StoreKey) -> Unlocking<'_> {
    Unlocking {
        key: key.bytes(),
        binding: match key.binding() {
            KeysBinding::Unbound => Binding::Unbound,
            KeysBinding::Begun(secret) => Binding::Begun(secret),
            KeysBinding::Bound(secret) => Binding::Bound(secret),
        },
    }
}

#[cfg(test)]
mod tests;

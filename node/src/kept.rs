//! The store of a home, made and opened with the node's keys.
//!
//! A store that an earlier version made is bound to the keys once somebody has accepted the trust
//! settings. What is known of it is written before and after, so that a process that is killed in
//! between goes on at its next start.
//!
//! ```text
//! store opens, with its seals ──▶ keys: begun ──▶ key table is bound ──▶ keys: bound
//! ```

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

/// Opens the store for the node that starts, and binds its key table if settings were accepted and
/// it is not bound. Returns the keys as they are then.
///
/// # Errors
///
/// [`OpenError`] if it does not open, or the keys cannot be written.
pub fn open_to_run(
    home: &Home,
    source: &KeySource,
    keyring: Keyring,
) -> Result<(Keyring, SqliteStore), OpenError> {
    let mut keyring = keyring;
    if keyring.facts().accepted.is_some() && *keyring.store.binding() == KeysBinding::Unbound {
        // Only what opens as it is, with its seals, is bound.
        drop(open(home, &keyring)?);
        Keyring::step_binding(home, source, BindingStep::Begin)?;
        keyring = Keyring::load(home, source)?;
    }
    let store = open(home, &keyring)?;
    if matches!(keyring.store.binding(), KeysBinding::Begun(_)) {
        Keyring::step_binding(home, source, BindingStep::End)?;
        keyring = Keyring::load(home, source)?;
        tracing::info!("the store is bound to the node's keys; older keys no longer open it");
    }
    Ok((keyring, store))
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

//! The binding of the key table to the node's keys.
//!
//! Keys in `keys.db` are wrapped under a key of the store's key, and of a secret that lies sealed
//! beside it. A store of an earlier version has no secret: it is bound once, in one transaction.
//! From then on keys of the node from before that, which hold the store's key and not the secret,
//! open nothing.
//!
//! ```text
//! meta "check"      a known text wrapped as all keys are: opens under what opens the table
//! meta "key check"  in a bound table, the same text under the store's key alone: tells older keys
//!                   from those of another node
//! ```

use portcullis_store::StoreError;
use rusqlite::{Connection, OptionalExtension as _, functions::FunctionFlags};

use super::{
    crypt::{Vault, WRAPPED_LEN},
    error::SqlError,
};

/// Plain text of the check values in keys.db.
const CHECK: [u8; 32] = *b"portcullis store key check value";
/// Name of the value that opens with what opens the table.
const OF_TABLE: &str = "check";
/// Name of the value that opens with the store's key alone.
const OF_KEY: &str = "key check";
/// Newest keys of each kind that are tried before a store is believed to be of before seals.
const TRIED: u32 = 64;

/// Keys that open a store: its own, and what its key table is bound to.
#[derive(Clone, Copy)]
pub struct Unlocking<'a> {
    /// The store's key.
    pub key: &'a [u8; 32],
    /// The binding of the key table.
    pub binding: Binding<'a>,
}

/// Binding of a key table.
#[derive(Clone, Copy)]
pub enum Binding<'a> {
    /// It is not bound: the store is of an earlier version.
    Unbound,
    /// It is or is not bound to this secret yet: opening it binds it.
    Begun(&'a [u8; 32]),
    /// It is bound to this secret.
    Bound(&'a [u8; 32]),
}

impl<'a> From<&'a [u8; 32]> for Unlocking<'a> {
    /// Takes the key of a store whose key table is not bound.
    fn from(key: &'a [u8; 32]) -> Self {
        Self {
            key,
            binding: Binding::Unbound,
        }
    }
}

impl Unlocking<'_> {
    /// Returns the vault of a key table that is made now.
    pub(super) fn vault(&self) -> Result<Vault, SqlError> {
        match self.binding {
            Binding::Unbound => Vault::new(self.key),
            Binding::Begun(secret) | Binding::Bound(secret) => Vault::bound(self.key, secret),
        }
    }
}

/// Returns the check values of a key table that is made now, by name.
pub(super) fn checks(
    unlocking: Unlocking<'_>,
) -> Result<Vec<(&'static str, [u8; WRAPPED_LEN])>, SqlError> {
    let of_table = (OF_TABLE, unlocking.vault()?.wrap(&CHECK)?);
    match unlocking.binding {
        Binding::Unbound => Ok(vec![of_table]),
        Binding::Begun(_) | Binding::Bound(_) => {
            let of_key = Vault::new(unlocking.key)?.wrap(&CHECK)?;
            Ok(vec![of_table, (OF_KEY, of_key)])
        }
    }
}

/// State of a key table that opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// As the binding says.
    AsItShouldBe,
    /// Not bound yet, although that is begun.
    StillToBind,
}

/// Tells whether these keys open a key table, without a change.
///
/// # Errors
///
/// [`StoreError::OlderKeys`] or [`StoreError::WrongKey`] if they do not, and
/// [`StoreError::Damaged`] if the table is older than they are.
pub(super) fn found(keys: &Connection, unlocking: Unlocking<'_>) -> Result<Found, SqlError> {
    let unnamed = || StoreError::Damaged(format!("it does not say its `{OF_TABLE}`"));
    let check = value(keys, OF_TABLE)?.ok_or_else(unnamed)?;
    let alone = Vault::new(unlocking.key)?;
    let bound = unlocking.vault()?;
    match (unlocking.binding, opens(&alone, &check)) {
        (Binding::Unbound, true) => Ok(Found::AsItShouldBe),
        (Binding::Begun(_), true) => Ok(Found::StillToBind),
        (Binding::Bound(_), true) => {
            let older = "its table of keys is older than the node's keys".to_owned();
            Err(StoreError::Damaged(older).into())
        }
        (Binding::Begun(_) | Binding::Bound(_), false) if opens(&bound, &check) => {
            Ok(Found::AsItShouldBe)
        }
        (Binding::Unbound | Binding::Begun(_) | Binding::Bound(_), false) => {
            let is_ours = value(keys, OF_KEY)?.is_some_and(|of_key| opens(&alone, &of_key));
            let refused = if is_ours {
                StoreError::OlderKeys
            } else {
                StoreError::WrongKey
            };
            Err(refused.into())
        }
    }
}

/// Opens a key table, and binds it if that is begun.
///
/// # Errors
///
/// As for [`found`].
pub(super) fn unlock(keys: &Connection, unlocking: Unlocking<'_>) -> Result<Vault, SqlError> {
    match found(keys, unlocking)? {
        Found::AsItShouldBe => {}
        Found::StillToBind => bind(keys, unlocking)?,
    }
    unlocking.vault()
}

fn value(keys: &Connection, name: &str) -> Result<Option<Vec<u8>>, SqlError> {
    Ok(keys
        .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| {
            row.get(0)
        })
        .optional()?)
}

fn opens(vault: &Vault, check: &[u8]) -> bool {
    vault.unwrap(check).is_some_and(|key| *key == CHECK)
}

/// Binds the key table, in one transaction.
fn bind(keys: &Connection, unlocking: Unlocking<'_>) -> Result<(), SqlError> {
    let transaction = keys.unchecked_transaction()?;
    wrap_anew(&transaction, unlocking)?;
    transaction.commit()?;
    // The former wrappings are overwritten, also in the write-ahead log.
    Ok(keys.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
}

/// Wraps every key under the secret. A key that does not open is damaged and stays as it is.
pub(super) fn wrap_anew(keys: &Connection, unlocking: Unlocking<'_>) -> Result<(), SqlError> {
    let (alone, bound) = (Vault::new(unlocking.key)?, unlocking.vault()?);
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DIRECTONLY;
    keys.create_scalar_function("wrapped_anew", 1, flags, move |context| {
        let wrapped: Vec<u8> = context.get(0)?;
        let Some(key) = alone.unwrap(&wrapped) else {
            return Ok(wrapped);
        };
        let anew = bound.wrap(&key).map(Vec::from);
        anew.map_err(|error| rusqlite::Error::UserFunctionError(StoreError::from(error).into()))
    })?;
    keys.execute_batch(
        "UPDATE wrapped_key SET wrapped = wrapped_anew(wrapped);
         UPDATE pack_key SET wrapped = wrapped_anew(wrapped);",
    )?;
    keys.remove_function("wrapped_anew", 1)?;
    for (name, value) in checks(unlocking)? {
        keys.execute(
            "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)",
            (name, value),
        )?;
    }
    Ok(())
}

/// Returns true if the key table holds keys and none of the newest opens: it is bound, and its check
/// value was exchanged.
pub(super) fn opens_nothing(keys: &Connection, vault: &Vault) -> Result<bool, SqlError> {
    let mut tried = false;
    for table in ["wrapped_key", "pack_key"] {
        let mut select = keys.prepare(&format!(
            "SELECT wrapped FROM {table} ORDER BY n DESC LIMIT {TRIED}"
        ))?;
        let rows = select.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
        for wrapped in rows {
            if vault.unwrap(&wrapped?).is_some() {
                return Ok(false);
            }
            tried = true;
        }
    }
    Ok(tried)
}

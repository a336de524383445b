//! Backups: a node's whole state at one moment, apart from its keys, and a node made from one.
//!
//! ```text
//! take     snapshot of store.db and keys.db between two commits ─▶ copies, page by page
//!          files of the home ─▶ copies; all opened again, checked, digested, synced
//!          .DATA.unfinished, .KEYS.unfinished ─rename─▶ KEYS, then DATA
//! restore  both manifests, every digest ─▶ .HOME.unfinished ─▶ marked ─rename─▶ HOME
//!          first start: a new generation, before anything is signed
//! ```
//!
//! Two folders: DATA has the store, the configuration, register, policies and certificates; KEYS
//! has the table of wrapped keys and the node's sealed keys. DATA alone opens nothing, KEYS alone
//! tells nothing, and both need the passphrase, which is in neither. Each has a manifest
//! ([`manifest`]); that of DATA names the digest of the other, so that two that do not belong
//! together are told from a pair, and is signed by the node's log key ([`signature`]), so that who
//! writes to the folder can change nothing of it. An older backup is one as well: which is the
//! newest, nobody but its owner knows.
//!
//! A folder is written beside its place and renamed, so that what has its name is whole. Refuses
//! to overwrite, to write into the node's home, and to put keys and data into one folder.

mod check;
pub mod manifest;
mod restore;
pub mod signature;
mod staging;
mod take;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc};

pub use check::{Checked, Which, verify};
pub use restore::{Restoring, restore};
pub use take::{Order, Taken, log_key, take};

use portcullis_home::{config::ConfigError, files::FileError, keyring::KeyringError};
use portcullis_store::StoreError;
use portcullis_store_sqlite::{Snapshot, SqliteStore};

/// How far a backup or a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// So much of it is done, in pages or bytes.
    pub done: u64,
    /// Of so much.
    pub of: u64,
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The store is copied.
    Store,
    /// The key table is copied.
    Keys,
    /// The copies are looked through.
    Checking,
    /// Digests are made or compared.
    Digesting,
    /// Files are put in their places.
    Placing,
}

impl Phase {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Keys => "keys",
            Self::Checking => "checking",
            Self::Digesting => "digesting",
            Self::Placing => "placing",
        }
    }
}

/// Who is told how far it is.
pub type Told<'a> = &'a mut dyn FnMut(Progress);

/// Why there is no backup, or none that can be used. Nothing is half done then.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The target is there.
    #[error("`{}` is there already and is not overwritten; name a folder that is not there", .0.display())]
    Exists(PathBuf),
    /// Keys and data into one folder.
    #[error("keys and data go apart: `{}` and `{}` are one folder, or one is in the other; name another place for the keys", .0.display(), .1.display())]
    Together(PathBuf, PathBuf),
    /// A target in the node's home.
    #[error("`{}` is in the node's home, which the backup is to outlive; name another place", .0.display())]
    InHome(PathBuf),
    /// Someone else writes there.
    #[error("a backup or restore to `{}` is under way already; wait for it to end", .0.display())]
    UnderWay(PathBuf),
    /// A manifest is not one.
    #[error("`{}` is no manifest of a backup that this version reads: {why}; name the folder that `portcullis backup` made", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A manifest is not the node's.
    #[error("`{}` cannot be trusted: {why}; use a backup that nobody else could write to", path.display())]
    Forged {
        /// The manifest.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A manifest cannot be written.
    #[error("the manifest cannot be written: {0}")]
    Unwritable(String),
    /// A target without a name of its own.
    #[error("`{}` names no folder that can be made; write its path without `..` at the end", .0.display())]
    Nameless(PathBuf),
    /// The two folders are not of one backup.
    #[error("`{}` and `{}` are not of one backup; name the keys that were made with the data", .0.display(), .1.display())]
    Mismatch(PathBuf, PathBuf),
    /// What was copied or kept is not what was written.
    #[error("the backup is damaged: {}; use an older one", .0.join("; "))]
    Damaged(Vec<String>),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The store cannot be copied.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node's keys, of which one signs, cannot be opened.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The home has no configuration that can be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl BackupError {
    /// Whether what was asked for is wrong, and not the disk or the backup.
    #[must_use]
    pub const fn is_invalid(&self) -> bool {
        match self {
            Self::Exists(_)
            | Self::Nameless(_)
            | Self::Together(..)
            | Self::InHome(_)
            | Self::Manifest { .. }
            | Self::Mismatch(..)
            | Self::Config(_)
            | Self::File(FileError::Missing { .. }) => true,
            Self::UnderWay(_)
            | Self::Damaged(_)
            | Self::Forged { .. }
            | Self::Unwritable(_)
            | Self::Keyring(_)
            | Self::File(_)
            | Self::Store(_) => false,
        }
    }
}

/// Where the snapshots of a running node's store come from: who asks for a backup needs to know no engine.
#[derive(Debug, Clone)]
pub struct Snapshots(Arc<SqliteStore>);

impl Snapshots {
    /// Snapshots of this store.
    #[must_use]
    pub const fn of(store: Arc<SqliteStore>) -> Self {
        Self(store)
    }

    /// Holds both files of the store as they are between two commits.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn take(&self) -> Result<Snapshot, StoreError> {
        self.0.snapshot()
    }
}

//! Backups: copies of a node's whole state at one moment, its keys apart, and their restoration.
//!
//! ```text
//! take     snapshot of store.db and keys.db between two commits ─▶ copies, page by page
//!          files of the home ─▶ copies; all opened again, checked, digested, synced
//!          .DATA.….unfinished, .KEYS.….unfinished ─rename─▶ KEYS, then DATA
//! restore  both manifests, every digest ─▶ .HOME.….unfinished ─▶ marked ─rename─▶ HOME
//!          first start: a new generation, before anything is signed
//! ```
//!
//! A backup has two folders. DATA has the store, the configuration, register, policies and
//! certificates. KEYS has the table of wrapped keys and the node's sealed keys. DATA alone opens
//! nothing, KEYS alone tells nothing, and both need the passphrase, which is in neither. Each
//! folder has a manifest ([`manifest`]). The manifest of DATA names the digest of the other one, so
//! that two folders of different backups are told from a pair. It is signed by the node's log key
//! ([`signature`]), so that nobody who can write to the folder can change its contents unnoticed.
//! An older backup is also valid: only the owner knows which one is the newest.
//!
//! A folder is written beside its place, under a random name that must be new, and then renamed, so
//! that a folder with its final name is whole, whoever else can write around it. Refuses to overwrite, to write into the node's home, and to put keys and data into one
//! folder.

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
pub use take::{BackupMade, Order, log_key, take};

use portcullis_home::{config::ConfigError, files::FileError, keyring::KeyringError};
use portcullis_store::StoreError;
use portcullis_store_sqlite::{Snapshot, SqliteStore};

/// Progress of a backup or a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The present phase.
    pub phase: Phase,
    /// Amount done in this phase, in pages or bytes.
    pub done: u64,
    /// Total amount of this phase, in the same unit.
    pub of: u64,
}

/// Phase of a backup or a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The store is copied.
    Store,
    /// The key table is copied.
    Keys,
    /// The copies are checked.
    Checking,
    /// Digests are made or compared.
    Digesting,
    /// Files are copied to their places.
    Placing,
}

impl Phase {
    /// Returns the name of the phase.
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

/// Callback that is told of the progress.
pub type Told<'a> = &'a mut dyn FnMut(Progress);

/// Error of a backup or a restore. It leaves nothing half done.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The target exists.
    #[error("`{}` is there already and is not overwritten; name a folder that is not there", .0.display())]
    Exists(PathBuf),
    /// The folders for keys and data are the same, or one is in the other.
    #[error("keys and data go apart: `{}` and `{}` are one folder, or one is in the other; name another place for the keys", .0.display(), .1.display())]
    Together(PathBuf, PathBuf),
    /// A target is in the node's home.
    #[error("`{}` is in the node's home, which the backup is to outlive; name another place", .0.display())]
    InHome(PathBuf),
    /// Something else stands where an unfinished folder was made.
    #[error("`{}` was replaced while it was written; name a place that only you can write to", .0.display())]
    Replaced(PathBuf),
    /// The file is no manifest that this version reads.
    #[error("`{}` is no manifest of a backup that this version reads: {why}; name the folder that `portcullis backup` made", path.display())]
    Manifest {
        /// Path of the manifest.
        path: PathBuf,
        /// Reason.
        why: String,
    },
    /// The manifest is not the one that the node signed.
    #[error("`{}` cannot be trusted: {why}; use a backup that nobody else could write to", path.display())]
    Forged {
        /// Path of the manifest.
        path: PathBuf,
        /// Reason.
        why: String,
    },
    /// A manifest cannot be written.
    #[error("the manifest cannot be written: {0}")]
    Unwritable(String),
    /// The path of a target does not end in a name.
    #[error("`{}` names no folder that can be made; write its path without `..` at the end", .0.display())]
    Nameless(PathBuf),
    /// The two folders are not of one backup.
    #[error("`{}` and `{}` are not of one backup; name the keys that were made with the data", .0.display(), .1.display())]
    Mismatch(PathBuf, PathBuf),
    /// The copies, or the files kept, are not what was written.
    #[error("the backup is damaged: {}; use an older one", .0.join("; "))]
    Damaged(Vec<String>),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The store cannot be copied.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node's keys, one of which signs, cannot be opened.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The home has no configuration that can be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl BackupError {
    /// Returns true if the order is wrong, and not the disk or the backup.
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
            Self::Replaced(_)
            | Self::Damaged(_)
            | Self::Forged { .. }
            | Self::Unwritable(_)
            | Self::Keyring(_)
            | Self::File(_)
            | Self::Store(_) => false,
        }
    }
}

/// Source of a running node's snapshots, so that whoever asks for a backup needs to know no engine.
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

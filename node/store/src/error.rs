//! Why the store does not do what it is asked.

use std::sync::Arc;

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database refused or failed.
    #[error("the database `{file}` failed: {source}")]
    Database {
        /// Which file of the store.
        file: &'static str,
        /// What the engine said.
        source: Arc<dyn std::error::Error + Send + Sync>,
        /// Whether the engine no longer knows what is on disk: a failed read or write, so also a failed fsync.
        is_fatal: bool,
    },
    /// A file of the store cannot be opened or made.
    #[error("`{path}` cannot be opened: {source}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        source: Arc<std::io::Error>,
    },
    /// There is a store already where one was to be made.
    #[error("`{0}` is there already; open that store, or choose another folder")]
    Exists(String),
    /// The store was written by a newer version.
    #[error("the store has format {found}, this version reads up to {known}; update portcullis")]
    Format {
        /// The store's format.
        found: u32,
        /// The newest known here.
        known: u32,
    },
    /// The node's key does not open the store.
    #[error("the node's key does not open this store; give the passphrase it was made with")]
    WrongKey,
    /// Something on disk is not what was written.
    #[error("the store is damaged: {0}; restore it from a backup")]
    Damaged(String),
    /// The cryptographic library refused what must always succeed.
    #[error("{0} failed in the cryptographic library; run `portcullis doctor`")]
    Cryptography(&'static str),
    /// A person's statement that was carried out before.
    #[error("this statement was carried out before; sign a new one")]
    Replayed,
    /// A person of this id is enrolled.
    #[error("a person `{0}` is enrolled already; choose another id")]
    Enrolled(String),
    /// An epoch of the register that does not follow the newest one kept.
    #[error("epoch {found} does not follow the newest epoch {newest} kept; apply the next one")]
    Epoch {
        /// The epoch to be kept.
        found: u64,
        /// The newest epoch kept; 0 for none.
        newest: u64,
    },
    /// Nothing of a record waits for a peer, and nothing was given up.
    #[error(
        "nothing of this record waits for that peer, and nothing was given up; `portcullis dispatch undelivered` lists what was"
    )]
    NotOwed,
    /// Nothing of what was named is there.
    #[error("nothing of what was named is there any more; list it again")]
    NotThere,
    /// As many of something as may be are there.
    #[error("{0}; wait until one has ended")]
    Crowded(&'static str),
    /// The caller asked for what makes no sense.
    #[error("{0}; this is a fault of portcullis, report it")]
    Fault(&'static str),
    /// The writer has stopped or is about to.
    #[error("the store is closing; try again once the node runs")]
    Stopped,
}

impl StoreError {
    /// Whether nobody knows what is on disk now, so that the process has to end (DESIGN §7).
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Database { is_fatal, .. } => *is_fatal,
            Self::File { .. }
            | Self::Exists(_)
            | Self::Format { .. }
            | Self::WrongKey
            | Self::Damaged(_)
            | Self::Cryptography(_)
            | Self::Replayed
            | Self::Enrolled(_)
            | Self::Epoch { .. }
            | Self::NotOwed
            | Self::NotThere
            | Self::Crowded(_)
            | Self::Fault(_)
            | Self::Stopped => false,
        }
    }
}

//! Errors of the store.

use std::sync::Arc;

/// Reason for which the store did not carry out a request.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database refused or failed.
    #[error("the database `{file}` failed: {source}")]
    Database {
        /// File name of the database within the store.
        file: &'static str,
        /// The cause, as the engine told it.
        source: Arc<dyn std::error::Error + Send + Sync>,
        /// Set if nobody knows what is on disk now: a read or a write failed, or an fsync.
        is_fatal: bool,
    },
    /// A file of the store cannot be opened or made.
    #[error("`{path}` cannot be opened: {source}")]
    File {
        /// Path of the file.
        path: String,
        /// Error that the operating system reported.
        source: Arc<std::io::Error>,
    },
    /// There already is a store where a new one was to be made.
    #[error("`{0}` is there already; open that store, or choose another folder")]
    Exists(String),
    /// The store was written by a newer version.
    #[error("the store has format {found}, this version reads up to {known}; update portcullis")]
    Format {
        /// The store's format.
        found: u32,
        /// The newest format that this version reads.
        known: u32,
    },
    /// The node's key does not open the store.
    #[error("the node's key does not open this store; give the passphrase it was made with")]
    WrongKey,
    /// The node's key opens the store, but the key table is bound to newer keys of that node.
    #[error(
        "the node's keys are older than the store; put back the newest `keys/node.keys`, or restore a whole backup: older keys open nothing that was kept since"
    )]
    OlderKeys,
    /// Something on disk is not what was written.
    #[error("the store is damaged: {0}; restore it from a backup")]
    Damaged(String),
    /// The cryptographic library refused an operation that must always succeed.
    #[error("{0} failed in the cryptographic library; run `portcullis doctor`")]
    Cryptography(&'static str),
    /// A person's statement that was carried out before.
    #[error("this statement was carried out before; sign a new one")]
    Replayed,
    /// A person with this id is already enrolled.
    #[error("a person `{0}` is enrolled already; choose another id")]
    Enrolled(String),
    /// An epoch of the register that does not follow the newest epoch kept.
    #[error("epoch {found} does not follow the newest epoch {newest} kept; apply the next one")]
    Epoch {
        /// The epoch that was to be kept.
        found: u64,
        /// The newest epoch kept; 0 for none.
        newest: u64,
    },
    /// Nothing of a record waits for a peer, and nothing was given up.
    #[error(
        "nothing of this record waits for that peer, and nothing was given up; `portcullis dispatch undelivered` lists what was"
    )]
    NotOwed,
    /// The named item is not in the store.
    #[error("nothing of what was named is there any more; list it again")]
    NotThere,
    /// The limit on the number of such things is reached.
    #[error("{0}; wait until one has ended")]
    Crowded(&'static str),
    /// The caller made a request that makes no sense.
    #[error("{0}; this is a fault of portcullis, report it")]
    Fault(&'static str),
    /// The writer has stopped or is about to.
    #[error("the store is closing; try again once the node runs")]
    Stopped,
}

impl StoreError {
    /// Returns true if the engine or the disk failed, whatever was asked of them.
    #[must_use]
    pub const fn is_of_the_engine(&self) -> bool {
        match self {
            Self::Database { .. } | Self::File { .. } => true,
            Self::Exists(_)
            | Self::Format { .. }
            | Self::WrongKey
            | Self::OlderKeys
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

    /// Returns true if the state on disk is unknown, so that the process has to end (docs/design.md, Store).
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Database { is_fatal, .. } => *is_fatal,
            Self::File { .. }
            | Self::Exists(_)
            | Self::Format { .. }
            | Self::WrongKey
            | Self::OlderKeys
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

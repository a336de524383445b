//! Errors of a bench run.

use std::{io, path::PathBuf};

use portcullis_protocol::{identifiers::NameError, statement::SignatureError};

use crate::demo::DemoError;
use portcullis_backup::BackupError;
use portcullis_home::{config::ConfigError, files::FileError};
use portcullis_node::runtime::StartError;
use portcullis_store::StoreError;

/// Error that ends a bench run early.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The homes lie in memory.
    #[error(
        "`{}` is on {file_system}, where fsync costs nothing: the figures would be of another machine; name a folder on a disk with `--dir`",
        folder.display()
    )]
    InMemory {
        /// The folder.
        folder: PathBuf,
        /// Its file system.
        file_system: String,
    },
    /// Homes, keys or register could not be made.
    #[error(transparent)]
    SetUp(#[from] DemoError),
    /// A name is not valid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A signature could not be made or verified.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The disk refused an operation.
    #[error("`{}`: {source}", path.display())]
    Disk {
        /// Path of the file or folder.
        path: PathBuf,
        /// Underlying I/O error.
        source: io::Error,
    },
    /// The operating system gives no signals.
    #[error("the operating system gives no signals: {0}")]
    Signals(#[source] io::Error),
    /// A worker does not start.
    #[error("the {name} worker cannot be started: {source}")]
    Process {
        /// Name of the worker.
        name: &'static str,
        /// Underlying I/O error.
        source: io::Error,
    },
    /// A worker failed.
    #[error("the {name} worker: {why}")]
    Worker {
        /// Name of the worker.
        name: &'static str,
        /// Reason that the worker gave.
        why: String,
    },
    /// A worker ended too early.
    #[error("the {name} worker has ended; its log ends with:\n{tail}")]
    Ended {
        /// Name of the worker.
        name: &'static str,
        /// The log's last lines.
        tail: String,
    },
    /// A worker sent a reply that does not belong to its order.
    #[error("the {name} worker replied something else than was asked")]
    Unexpected {
        /// Name of the worker.
        name: &'static str,
    },
    /// An order or a reply is not valid JSON.
    #[error("what a worker is told or tells is no JSON: {0}")]
    Json(#[source] serde_json::Error),
    /// A backup failed.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// A node does not start in this process.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A configuration could not be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A store could not be opened, read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A question about a channel has no answer, or one that is not valid.
    #[error("the channel cannot be compared: {0}")]
    Compare(String),
    /// A task of the bench ended before it was done.
    #[error("a part of the bench was cut short")]
    CutShort,
    /// The person at the terminal interrupted the bench.
    #[error("interrupted; the workers are ended and their folder is removed")]
    Interrupted,
}

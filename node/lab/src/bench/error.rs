//! Why a bench did not come to its end.

use std::{io, path::PathBuf};

use portcullis_protocol::{identifiers::NameError, statement::SignatureError};

use crate::demo::DemoError;
use portcullis_backup::BackupError;
use portcullis_home::config::ConfigError;
use portcullis_home::files::FileError;
use portcullis_node::runtime::StartError;
use portcullis_store::StoreError;

/// Why a bench did not come to its end.
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
    /// Homes, keys and register.
    #[error(transparent)]
    SetUp(#[from] DemoError),
    /// A name cannot be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A signature.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The disk refused.
    #[error("`{}`: {source}", path.display())]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There are no signals.
    #[error("the operating system gives no signals: {0}")]
    Signals(#[source] io::Error),
    /// A worker does not start.
    #[error("the {name} worker cannot be started: {source}")]
    Process {
        /// Which.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A worker failed.
    #[error("the {name} worker: {why}")]
    Worker {
        /// Which.
        name: &'static str,
        /// Why.
        why: String,
    },
    /// A worker ended.
    #[error("the {name} worker has ended; its log ends with:\n{tail}")]
    Ended {
        /// Which.
        name: &'static str,
        /// The log's last lines.
        tail: String,
    },
    /// A worker replied something that was not asked.
    #[error("the {name} worker replied something else than was asked")]
    Unexpected {
        /// Which.
        name: &'static str,
    },
    /// An order or reply is no JSON.
    #[error("what a worker is told or tells is no JSON: {0}")]
    Json(#[source] serde_json::Error),
    /// A backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// A node does not start in this process.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A question about a channel has no answer, or one that does not count.
    #[error("the channel cannot be compared: {0}")]
    Compare(String),
    /// A part of the bench ended before its end.
    #[error("a part of the bench was cut short")]
    CutShort,
    /// The person at the terminal stopped it.
    #[error("interrupted; the workers are ended and their folder is removed")]
    Interrupted,
}

//! Backups as JSON, version 1: the order, and the answer line by line.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ProblemView;

/// Order to make a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupOrder {
    /// Folder for the data, as an absolute path.
    pub to: PathBuf,
    /// Folder for the keys, as an absolute path.
    pub keys_to: PathBuf,
}

/// One line of the answer; the last one is no progress. `M` is the manifest, which only a program that takes backups
/// itself needs to understand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum BackupStep<M> {
    /// Progress of the backup.
    Progress {
        /// Name of the present phase.
        phase: String,
        /// Amount done in this phase, in pages or bytes.
        done: u64,
        /// Total amount of this phase, in the same unit.
        of: u64,
    },
    /// The backup is made.
    Taken {
        /// The manifest of the data.
        data: Box<M>,
        /// The manifest of the keys.
        keys: Box<M>,
    },
    /// The backup is not made.
    Failed {
        /// True if the order is wrong, and not the disk or the backup.
        invalid: bool,
        /// Description of the error.
        problem: ProblemView,
    },
}

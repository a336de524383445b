//! A backup, as JSON, version 1: what is asked for, and line by line what comes of it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ProblemView;

/// A backup that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupOrder {
    /// The folder of the data, absolute.
    pub to: PathBuf,
    /// The folder of the keys, absolute.
    pub keys_to: PathBuf,
}

/// One line of the answer; the last one is no progress. `M` is the manifest, which only a program that takes backups
/// itself needs to understand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum BackupStep<M> {
    /// How far it is.
    Progress {
        /// What is being done.
        phase: String,
        /// So much of it, in pages or bytes.
        done: u64,
        /// Of so much.
        of: u64,
    },
    /// It is made.
    Taken {
        /// The manifest of the data.
        data: Box<M>,
        /// The manifest of the keys.
        keys: Box<M>,
    },
    /// It is not made.
    Failed {
        /// Whether what was asked for is wrong.
        invalid: bool,
        /// What happened.
        problem: ProblemView,
    },
}

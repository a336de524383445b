//! A backup, as JSON, version 1: what is asked for, and line by line what comes of it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ProblemView;
use crate::backup::{Progress, Taken, manifest::Manifest};

/// A backup that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupOrder {
    /// The folder of the data, absolute.
    pub to: PathBuf,
    /// The folder of the keys, absolute.
    pub keys_to: PathBuf,
}

/// One line of the answer; the last one is no progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum BackupStep {
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
        data: Box<Manifest>,
        /// The manifest of the keys.
        keys: Box<Manifest>,
    },
    /// It is not made.
    Failed {
        /// Whether what was asked for is wrong.
        invalid: bool,
        /// What happened.
        problem: ProblemView,
    },
}

impl From<Progress> for BackupStep {
    fn from(progress: Progress) -> Self {
        let Progress { phase, done, of } = progress;
        Self::Progress {
            phase: phase.name().to_owned(),
            done,
            of,
        }
    }
}

impl From<Taken> for BackupStep {
    fn from(taken: Taken) -> Self {
        let Taken { data, keys } = taken;
        Self::Taken {
            data: Box::new(data),
            keys: Box::new(keys),
        }
    }
}

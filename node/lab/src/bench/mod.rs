//! The cost of an exchange: two real node processes on one machine, measured, and the limits that
//! the figures stand against, measured in the same run.
//!
//! ```text
//! bench exchange ──starts──▶ bench worker (sending)    generator ▸ Kernel::publish ▸ … ▸ receipt
//!       │  orders on stdin,        │ mutual TLS on loopback
//!       │  replies on stdout       ▼
//!       └────────starts──▶ bench worker (receiving)
//! ```
//!
//! The workers are this binary and run the node that `portcullis run` runs, on homes made as the
//! demo makes them: fsync is on and nothing is left out. The generator is inside the sending
//! process, so that sealing is measured and the JSON of the admin API is not. A worker ends when
//! its orders end, so that whatever becomes of the bench, no process stays.
//!
//! `bench store` ([`upkeep`]) measures what keeping many records costs beside that: backups, sending
//! older ones, and comparing both ends of a channel.
//!
//! A benchmark is no test: a target that is missed is reported. Records that are lost are a
//! failure: at the end the receiver must hold exactly what was sent.

pub mod census;
pub mod drafts;
pub mod machine;
pub mod order;
pub mod report;
pub mod upkeep;
pub mod worker;

mod child;
pub mod error;
mod feed;
mod folder;
pub mod limits;
mod pipe;
mod run;

use std::path::PathBuf;

pub use error::BenchError;
pub use run::{homes, run};

/// Records of one batch, of one frame and of one commit of the unchecked pipe.
pub const BATCH: u64 = 1024;

/// Settings of a bench run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Records of the measured stream, and of the unchecked pipe.
    pub records: u64,
    /// Alerts raised idle, and again under load.
    pub alerts: u64,
    /// Records that wait for the receiver when it comes back.
    pub catch_up: u64,
    /// Seed of the record generator.
    pub seed: u64,
    /// The folder below which homes are made.
    pub folder: PathBuf,
    /// Permission to use a folder in memory.
    pub memory: Memory,
}

impl Options {
    /// Returns the number of records handed over at once: one batch, or all records if they are
    /// fewer.
    #[must_use]
    pub const fn batch(&self) -> u64 {
        if self.records < BATCH {
            self.records
        } else {
            BATCH
        }
    }
}

/// Permission for homes that lie in memory, where fsync costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// Homes in memory are refused: the figures would be those of another machine.
    Refused,
    /// Homes in memory are accepted, for a test of the bench itself.
    Accepted,
}

//! A deterministic simulation of a federation: nodes, network, disks and clock in one thread.
//!
//! It drives the code that the binary runs: the dispatch machines, the planner, the judge, the
//! decider with the real policy engine, and frames and receipts with real signatures. Code that
//! does I/O in the binary is replaced here by a shell, kept thin and as similar as possible. One
//! seed always makes the same run. docs/reliability.md says what the simulation covers and how to
//! replay a run.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a panic here is a failed test"
)]

mod acting;
pub mod cast;
mod copying;
pub mod coverage;
mod dispatching;
pub mod expect;
pub mod happening;
pub mod invariants;
mod judgement;
mod living;
pub mod lying;
pub mod mutant;
pub mod network;
pub mod node;
mod preparing;
pub mod profile;
pub mod random;
mod receiving;
pub mod reconciling;
mod restoring;
pub mod store;
pub mod world;
mod writing;

pub use coverage::{Coverage, Seen};
pub use invariants::{Invariant, Violation};
pub use mutant::Mutant;
pub use random::Random;
pub use store::ModelStore;
pub use world::{RunResult, run};

//! Whole-process faults: federations of `portcullis run` processes that are killed, frozen, cut off
//! or given faulty disks and clocks.
//!
//! ```text
//! Load ──signed acts──▶ sender ──▶ Proxy ──▶ receivers       Control ──▶ the shim inside a process
//!                          ▲ kill -9, SIGSTOP, full disk …      (disk and clock)
//! ```
//!
//! Every scenario ends with the same check of all nodes, [`check`]: each acknowledged record is
//! still there, each arrived once, and everything verifies. The actions and the result of a
//! scenario form a [`report::Row`].
//!
//! No process is left behind: it is killed when its handle is dropped and, where the system has
//! `setpriv`, when the thread that started it ends.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a panic here is a failed test"
)]

pub mod cast;
pub mod check;
pub mod clock;
pub mod disk;
pub mod floods;
pub mod kills;
pub mod link;
pub mod load;
pub mod namespace;
pub mod process;
pub mod proxy;
pub mod report;
pub mod resources;
pub mod shim;

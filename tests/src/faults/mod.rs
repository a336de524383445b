//! Whole-process faults: federations of `portcullis run` processes to which bad things happen.
//!
//! ```text
//! Load ──signed acts──▶ sender ──▶ Proxy ──▶ receivers       Control ──▶ the shim inside a process
//!                          ▲ kill -9, SIGSTOP, full disk …      (disk and clock)
//! ```
//!
//! Every scenario ends with the same question, asked of all nodes by [`check`]: is each record
//! that was acknowledged still there, did each arrive once, does everything verify. What a
//! scenario did and how it ended is a [`report::Row`].
//!
//! Nothing is left behind: a process is killed when its handle is dropped and, where the system
//! has `setpriv`, when the thread that started it ends.
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
pub mod kills;
pub mod link;
pub mod load;
pub mod namespace;
pub mod process;
pub mod proxy;
pub mod report;
pub mod shim;

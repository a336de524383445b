//! Membership by files: how a federation's register is made, signed, checked and installed.
//!
//! Nothing here is decided anew: every rule is [`portcullis_protocol::register`]'s. What this
//! module adds is files, and a home in which every epoch is kept, so that a node starts from a
//! chain that it verifies from its pin each time.

mod chain;

pub use chain::{ChainError, epoch_path, install, load_chain, verify_files};

#[cfg(test)]
mod chain_tests;
#[cfg(test)]
pub(crate) mod testbed;

//! Membership by files: how a federation's register is made, signed, checked and installed.
//!
//! ```text
//! found ─▶ epoch 1 ─sign k times─▶ pin ─▶ every node's configuration
//! request (a node's home) ─▶ admit ─▶ epoch e+1 ─sign k times─▶ install in every home
//! ```
//!
//! All rules are decided in [`portcullis_protocol::register`]; none is decided here. This module
//! adds files, and a home that keeps every epoch. A node can thus start from a chain that it
//! verifies from its pin each time.

mod admit;
mod amend;
mod chain;
mod governance;
mod request;

pub use admit::{Admission, AdmitError, Admitted, admit};
pub use amend::{AmendError, Amendment, KeyEnd, amend};
pub use chain::{
    ChainError, append, epoch_path, install, load_chain, load_epochs, read_epoch, verify_files,
};
pub use governance::{FoundError, SignError, Signatures, found, sign};
pub use request::{MemberFacts, RequestError, make_request, read_request, request_new_keys};

#[cfg(test)]
mod admit_tests;
#[cfg(test)]
mod chain_tests;

//! Dispatch: what leaves this node, to whom, in which form, and what became of it.
//!
//! One machine per peer and lane ([`machine`]); what goes into the next frame is planned from
//! the record log by policy ([`plan`]); one driver per peer does the I/O ([`driver`]).
//!
//! ```text
//! log grew ─▶ plan: load after the cursor, decide section by section, sign a frame
//!          ─▶ commit: denied and intended disclosures are in the ledger
//!          ─▶ send ─▶ receipt ─▶ commit: confirmed, cursor moved ─▶ plan …
//! ```
//!
//! Nothing leaves that is not in the ledger as intended. The cursor passes a record only when it
//! is receipted, denied, or in the exception set. A crash anywhere repeats at most a frame, whose
//! items the receiver then answers as it did before.

pub mod driver;
pub mod machine;
pub mod plan;
pub mod supervisor;

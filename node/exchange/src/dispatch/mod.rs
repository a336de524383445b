//! Dispatch: what leaves this node, to whom, in which form, and what became of it.
//!
//! One machine per peer and lane ([`machine`]); what goes into the next frame is loaded ([`load`])
//! and planned from the record log by policy ([`plan`]); one driver per peer and lane does the I/O
//! ([`driver`]). Several frames are on their way at once, as many as the peer grants.
//!
//! ```text
//! log grew ─▶ plan: load after the cursor, decide section by section, sign a frame
//!          ─▶ commit: denied and intended disclosures are in the ledger
//!          ─▶ send ─▶ receipt ─▶ commit: confirmed, cursor moved ─▶ plan …
//! ```
//!
//! Nothing leaves that is not in the ledger as intended. The cursor passes a record only when it
//! is receipted, denied, or in the exception set. A crash anywhere repeats at most a window of
//! frames, whose items the receiver then answers as it did before.
//!
//! A node that was rolled back learns it from a peer that knows more of it than it does (EX-10):
//! one machine asks for a new generation, the store starts it once for the whole node, and every
//! other machine finds out when it plans, or is refused for a frame of the generation before and
//! asks in vain. What was on its way in that generation is receipted or dropped, never mixed.

pub mod backfill;
pub mod driver;
pub mod error;
mod link;
pub mod load;
pub mod machine;
mod outgoing;
pub mod plan;
pub mod supervisor;

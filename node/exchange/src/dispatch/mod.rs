//! Dispatch: selection of what leaves this node, for whom and in which form, and its delivery.
//!
//! There is one machine per peer and lane ([`machine`]). The content of the next frame is loaded
//! ([`load`]) and planned from the record log by policy ([`plan`]). One driver per peer and lane
//! does the input and output ([`driver`]). Several frames are on their way at once, as many as the
//! peer grants.
//!
//! ```text
//! log grew ─▶ plan: load after the cursor, decide section by section, sign a frame
//!          ─▶ commit: denied and intended disclosures are in the ledger
//!          ─▶ send ─▶ receipt ─▶ commit: confirmed, cursor moved ─▶ plan …
//! ```
//!
//! No record leaves that is not in the ledger as intended. The cursor passes a record only when it
//! is receipted, denied, or in the exception set. A crash at any point repeats at most a window of
//! frames, whose items the receiver then answers as it did before.
//!
//! A node that was rolled back learns it from a peer that knows a later state of it (EX-10). One
//! machine asks for a new generation, and the store starts it once for the whole node. Every other
//! machine finds out when it plans, or when a frame of the generation before is refused and its own
//! request has no effect. Frames on their way in the old generation are receipted or dropped, never
//! mixed with the new.

pub mod backfill;
pub mod driver;
pub mod error;
mod link;
pub mod load;
pub mod machine;
mod outgoing;
pub mod plan;
pub mod supervisor;

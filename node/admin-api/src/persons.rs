//! The persons of a node, as their signed acts make them.
//!
//! ```text
//! first administrator ─enrols─▶ persons ─enrol, end, rekey, roles─▶ persons ─▶ …
//! ```
//!
//! A person is believed because of the statements that enrolled them, from the first administrator
//! on. A row in a table proves nothing. Once a node has two administrators, a change takes two
//! persons for ever, even if one administrator alone is left: what one of them signs is a proposal, and another one seconds it within a week. An end
//! that one person signs suspends until then. Nobody seconds for somebody who enrolled them or
//! changed their key or role within the last week, so that nobody makes their own second.
//!
//! An administrator who lost their key is recovered at the machine, with the passphrase of the node's
//! keys: the node tells everybody of another key, which counts after 72 hours unless somebody who may
//! second withdraws it. The node says by its own clock when that is, and notes it; the time of an act
//! never does.
//!
//! Pure: the statements are verified by [`replay`] or by the caller, and times are arguments.

mod chain;
mod change;
mod rules;
#[cfg(test)]
mod tests;

pub use chain::{Replayed, replay};
pub use change::{Change, LONGEST_ID, LONGEST_NAME, MOST_PROPOSALS, PersonError, is_slug};
pub use rules::{
    Effect, First, FormerKey, Person, Persons, Proposal, RECOVERY_MS, Recovery, RecoveryEnd,
    Settled, Signed, Standing, WEEK_MS,
};

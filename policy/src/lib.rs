//! Who may have it: decisions on the records of a federation by Cedar policies.
//!
//! A decision is taken for each section of a record: may this authority have it, may it be used
//! here (DESIGN §6). Policies see the record's header and the register's facts about authorities,
//! never a body and never the time. The shipped baseline permits; an authority's
//! own [`Bundle`] can only forbid. What fails to evaluate is denied.
//!
//! Top-down: a [`Holding`] says what record is at hand, [`Engine::decide`] answers with a
//! [`FormDecision`], and only from one that allows comes a [`Permit`] to send. [`preview`] asks
//! the same engine the same questions for every member. Reads no clock, no file, no socket.

mod bundle;
mod decide;
mod engine;
mod error;
mod evaluate;
mod facts;
mod holding;
mod key;
mod member;
mod preview;
mod sources;
mod translate;

#[cfg(test)]
mod baseline_table;
#[cfg(test)]
mod example_policies;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod testing;

pub use bundle::{Bundle, PolicyText};
pub use decide::{FormDecision, Permit, SectionDecision};
pub use engine::{Engine, MemoCounts};
pub use error::{Finding, PolicyError};
pub use evaluate::{Outcome, PolicyId, Verdict};
pub use facts::{Action, Facts};
pub use holding::{Holding, RecordRequest, UnknownMember};
pub use member::{Member, Roster};
pub use preview::{PreviewRow, preview};

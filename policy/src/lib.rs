//! Decisions on the records of a federation, made by Cedar policies.
//!
//! Each section of a record is decided on: may this authority have it, may it be used here (docs/design.md,
//! Policy). Policies see the record's header and the register's facts about authorities, never a body
//! and never the time. The shipped baseline permits; an authority's own [`Bundle`] can only forbid.
//! A request that fails to evaluate is denied. Policies of hearing say what counts from each kind of
//! authority ([`Voices`]); there a bundle can permit as well.
//!
//! In reading order: a [`Holding`] describes the record at hand, and [`Engine::decide`] answers
//! with a [`FormDecision`]. Only one that allows gives a [`Permit`] to send. [`preview`] asks the
//! same engine the same questions for every member. Nothing here reads a clock, a file or a socket.

mod bundle;
mod decide;
mod encoding;
mod engine;
mod error;
mod evaluate;
mod facts;
mod hearing;
mod holding;
mod key;
mod member;
mod preview;
mod sources;
mod translate;
mod voices;

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
pub use evaluate::{Permission, PolicyId, Verdict};
pub use facts::{Action, Facts};
pub use holding::{Holding, RecordRequest, UnknownMember};
pub use member::{Member, Roster};
pub use preview::{PreviewRow, preview};
pub use voices::{Heard, HeardRow, Speaker, Voice, Voices};

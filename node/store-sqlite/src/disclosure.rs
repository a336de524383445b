//! Rules of the ledger of disclosures that need no database: names of states, and what an earlier
//! decision settles.

use portcullis_protocol::{
    frame::{Lane, Outcome},
    identifiers::NodeId,
    record::Form,
    time::Timestamp,
};
use portcullis_store::DisclosureState;

use super::{decode::named, error::SqlError};

/// Peer, lane and time of one operation on the ledger.
#[derive(Clone, Copy)]
pub(super) struct Posting<'a> {
    pub(super) peer: &'a NodeId,
    pub(super) lane: Lane,
    pub(super) now: Timestamp,
}

/// The part of a ledger row that new decisions look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PriorDecision {
    pub(super) form: Form,
    pub(super) state: DisclosureState,
}

impl PriorDecision {
    /// Returns true if the peer has answered for good.
    pub(super) fn is_final(&self) -> bool {
        match self.state {
            DisclosureState::Answered(outcome) => outcome.is_final(),
            DisclosureState::Intended | DisclosureState::Denied => false,
        }
    }

    /// Returns true if the peer has all of `form`.
    pub(super) fn covers(&self, form: Form) -> bool {
        match self.state {
            DisclosureState::Answered(outcome) => {
                outcome.is_admitted() && form.is_within(self.form)
            }
            DisclosureState::Intended | DisclosureState::Denied => false,
        }
    }

    /// Returns true if nothing new is to be decided on `form`: the peer has all of it, or has
    /// answered it for good.
    pub(super) fn settles(&self, form: Form) -> bool {
        self.covers(form) || (self.form == form && self.is_final())
    }

    /// Returns true if the row holds `form`, or a fuller one, as intended or answered.
    pub(super) fn tells_of(&self, form: Form) -> bool {
        let is_intended = self.state == DisclosureState::Intended;
        self.settles(form) || (is_intended && form.is_within(self.form))
    }
}

/// Returns the name of a state in the ledger.
pub(super) const fn state_name(state: DisclosureState) -> &'static str {
    match state {
        DisclosureState::Intended => "intended",
        DisclosureState::Denied => "denied",
        DisclosureState::Answered(outcome) => outcome.name(),
    }
}

/// Returns the state with this name.
pub(super) fn state_named(name: &str) -> Result<DisclosureState, SqlError> {
    match name {
        "intended" => Ok(DisclosureState::Intended),
        "denied" => Ok(DisclosureState::Denied),
        outcome => named::<Outcome>(outcome).map(DisclosureState::Answered),
    }
}

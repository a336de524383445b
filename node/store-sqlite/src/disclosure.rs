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
    fn is_final(&self) -> bool {
        match self.state {
            DisclosureState::Answered(outcome) => outcome.is_final(),
            DisclosureState::Intended | DisclosureState::Denied => false,
        }
    }

    /// Returns true if the peer has all of `form`.
    fn covers(&self, form: Form) -> bool {
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

/// Effect of an answer on the ledger, given the earlier decisions on its record for its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerEffect {
    /// The ledger holds a final answer already, or the peer has a fuller form.
    Nothing,
    /// The row of its form is answered.
    Answers,
    /// The ledger does not hold its form. The answer is evidence of a disclosure as well.
    Discloses,
}

impl AnswerEffect {
    /// Returns the effect of an answer about this form.
    pub(super) fn of(form: Form, priors: &[PriorDecision]) -> Self {
        let of_form = priors.iter().find(|prior| prior.form == form);
        match of_form {
            Some(prior) if prior.is_final() => Self::Nothing,
            Some(_) => Self::Answers,
            None if priors.iter().any(|prior| prior.covers(form)) => Self::Nothing,
            None => Self::Discloses,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const THIN: Form = Form::from_bits(0b01);
    const FULL: Form = Form::from_bits(0b11);

    const fn prior(form: Form, state: DisclosureState) -> PriorDecision {
        PriorDecision { form, state }
    }

    const fn answered(form: Form, outcome: Outcome) -> PriorDecision {
        prior(form, DisclosureState::Answered(outcome))
    }

    #[test]
    fn a_form_is_settled_by_its_final_answer_or_by_an_admitted_fuller_one() {
        assert!(answered(THIN, Outcome::Refused).settles(THIN));
        assert!(answered(FULL, Outcome::Accepted).settles(THIN));
        assert!(!answered(FULL, Outcome::Refused).settles(THIN));
        assert!(!answered(THIN, Outcome::Accepted).settles(FULL));
        assert!(!answered(THIN, Outcome::RefusedForNow).settles(THIN));
        assert!(!answered(THIN, Outcome::Held).settles(THIN));
        assert!(!prior(THIN, DisclosureState::Intended).settles(THIN));
        assert!(!prior(THIN, DisclosureState::Denied).settles(THIN));
    }

    #[test]
    fn the_ledger_tells_of_what_is_settled_or_intended() {
        assert!(prior(FULL, DisclosureState::Intended).tells_of(THIN));
        assert!(!prior(THIN, DisclosureState::Intended).tells_of(FULL));
        assert!(!prior(THIN, DisclosureState::Denied).tells_of(THIN));
        assert!(answered(THIN, Outcome::Refused).tells_of(THIN));
    }

    #[test]
    fn a_final_answer_never_changes_and_an_unknown_form_is_a_disclosure() {
        #[track_caller]
        fn check(priors: &[PriorDecision], expected: AnswerEffect) {
            assert_eq!(AnswerEffect::of(THIN, priors), expected);
        }
        check(&[], AnswerEffect::Discloses);
        check(&[answered(THIN, Outcome::Refused)], AnswerEffect::Nothing);
        check(&[answered(THIN, Outcome::Held)], AnswerEffect::Answers);
        check(
            &[
                prior(THIN, DisclosureState::Denied),
                answered(FULL, Outcome::Accepted),
            ],
            AnswerEffect::Answers,
        );
        check(&[answered(FULL, Outcome::Accepted)], AnswerEffect::Nothing);
        check(&[answered(FULL, Outcome::Refused)], AnswerEffect::Discloses);
    }
}

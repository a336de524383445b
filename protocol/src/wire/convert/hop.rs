//! Conversion of the parts of a hop: lanes, outcomes, answers.

use bytes::Bytes;

use super::{HeaderError, same_values};
use crate::{
    frame::{Answer, Lane, Outcome, is_reason},
    record::{Form, RecordId},
    wire,
};

same_values!(Lane, Unspecified: Urgent = Urgent, Bulk = Bulk);
same_values!(Outcome, Unspecified: Accepted = Accepted, Extended = Extended, Duplicate = Duplicate,
    Refused = Refused, RefusedForNow = RefusedForNow, Held = Held);

impl From<&Answer> for wire::Answer {
    fn from(answer: &Answer) -> Self {
        Self {
            record_id: Bytes::copy_from_slice(answer.record.as_bytes()),
            form: answer.form.bits(),
            outcome: wire::Outcome::from(answer.outcome).into(),
            reason: answer.reason.clone().unwrap_or_default(),
        }
    }
}

impl TryFrom<wire::Answer> for Answer {
    type Error = HeaderError;

    fn try_from(wire: wire::Answer) -> Result<Self, Self::Error> {
        let wire::Answer {
            record_id,
            form,
            outcome,
            reason,
        } = wire;
        let outcome = Outcome::from_wire(outcome).ok_or(HeaderError::Field("outcome"))?;
        let reasoned = is_reason(&reason) && !outcome.is_admitted();
        if !(reason.is_empty() || reasoned) {
            return Err(HeaderError::Field("reason"));
        }
        Ok(Self {
            record: RecordId::from_slice(&record_id).ok_or(HeaderError::Field("record_id"))?,
            form: Form::from_bits(form),
            outcome,
            reason: (!reason.is_empty()).then_some(reason),
        })
    }
}

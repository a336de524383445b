//! See before you send: who would get what, in which form, and which policies decide.
//!
//! A preview asks [`Engine::decide`] the questions that dispatch asks ([`Holding::towards`]), so
//! it cannot say anything else than what happens.

use portcullis_protocol::{
    identifiers::AuthorityId,
    record::{RecordId, SectionTag},
};

use crate::{
    decide::FormDecision,
    engine::Engine,
    evaluate::{Outcome, PolicyId},
    holding::{Holding, UnknownMember},
};

/// What one member would get of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewRow {
    /// The record.
    pub record: RecordId,
    /// The member.
    pub receiver: AuthorityId,
    /// The record as a whole.
    pub outcome: Outcome,
    /// The sections it would get: index and what they hold.
    pub opened: Vec<(u8, SectionTag)>,
    /// The sections it would not get.
    pub withheld: Vec<(u8, SectionTag)>,
    /// The policies that decide, also those that withhold.
    pub policies: Vec<PolicyId>,
    /// The whole decision, section by section.
    pub decision: FormDecision,
}

/// Asks for every member but this one what it would be sent of each of `holdings`. Rows come in
/// the order of the holdings, members by id.
///
/// # Errors
///
/// [`UnknownMember`] if the register does not list this authority, an originator or a deliverer.
pub fn preview<'a>(
    engine: &Engine,
    holdings: impl IntoIterator<Item = Holding<'a>>,
) -> Result<Vec<PreviewRow>, UnknownMember> {
    let mut rows = Vec::new();
    for holding in holdings {
        let others = holding.roster.members().map(|member| member.id());
        for receiver in others.filter(|id| *id != holding.here) {
            let decision = engine.decide(&holding.towards(receiver)?);
            rows.push(row(decision));
        }
    }
    Ok(rows)
}

fn row(decision: FormDecision) -> PreviewRow {
    let form = decision.opened();
    let sections = decision.sections().iter();
    let (opened, withheld) = sections
        .map(|section| (section.index, section.tag))
        .partition(|(index, _)| form.contains(*index));
    PreviewRow {
        record: decision.record(),
        receiver: decision.principal().clone(),
        outcome: decision.outcome(),
        opened,
        withheld,
        policies: decision.policies(),
        decision,
    }
}

//! Previews: the members that would get a record, each with the form it would get and the policies
//! that decide.
//!
//! A preview asks [`Engine::decide`] the questions that dispatch asks ([`Holding::towards`]), so
//! its answers are those of the dispatch.

use portcullis_protocol::{
    identifiers::AuthorityId,
    record::{RecordId, SectionTag},
};

use crate::{
    decide::FormDecision,
    engine::Engine,
    evaluate::{Permission, PolicyId},
    holding::{Holding, UnknownMember},
};

/// The part of one record that one member would get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewRow {
    /// The record.
    pub record: RecordId,
    /// The member.
    pub receiver: AuthorityId,
    /// The outcome for the whole record.
    pub outcome: Permission,
    /// The sections it would get, each as its index and tag.
    pub opened: Vec<(u8, SectionTag)>,
    /// The sections it would not get.
    pub withheld: Vec<(u8, SectionTag)>,
    /// The policies that decide, those that withhold included.
    pub policies: Vec<PolicyId>,
    /// The whole decision, section by section.
    pub decision: FormDecision,
}

/// Decides for every member but this one what it would be sent of each of `holdings`. Rows are in
/// the order of the holdings, then by member id.
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

#[cfg(test)]
mod tests {
    use portcullis_protocol::marking::Tlp;

    use super::*;
    use crate::{
        Roster,
        testing::{engine, holding, id, indicator, marking, register},
    };

    #[test]
    fn a_preview_says_for_each_member_what_dispatch_would_decide() {
        let roster = Roster::of(&register());
        let police = id("police");
        let header = indicator(marking(Tlp::Amber));
        let engine = engine("");
        let holding = holding(&roster, &police, &police, &header);
        let rows = preview(&engine, [holding]).unwrap();
        let table: Vec<(&str, String)> = rows
            .iter()
            .map(|row| {
                let opened: Vec<&str> = row.opened.iter().map(|(_, tag)| tag.name()).collect();
                (row.receiver.as_str(), opened.join(" "))
            })
            .collect();
        let all = "subject assessment narrative source persons".to_owned();
        assert_eq!(
            table,
            [
                ("abroad", String::new()),
                ("customs", all.clone()),
                ("customs-b", all),
                ("hub", "subject assessment narrative".to_owned()),
                ("port", "subject assessment".to_owned()),
                ("stranger", String::new()),
                ("terminal", "subject assessment".to_owned()),
            ]
        );
        for row in &rows {
            let request = holding.towards(&row.receiver).unwrap();
            assert_eq!(row.decision, engine.decide(&request));
            assert_eq!(row.opened.len() + row.withheld.len(), 5);
        }
        let stranger = rows
            .iter()
            .find(|row| row.receiver == id("stranger"))
            .unwrap();
        assert_eq!(stranger.outcome, Permission::Deny);
        assert_eq!(
            stranger.policies[0].as_str(),
            "base-tlp-amber-organisation-and-clients"
        );
    }

    #[test]
    fn an_authority_that_the_register_does_not_list_has_no_preview() {
        let roster = Roster::of(&register());
        let gone = id("gone");
        let header = indicator(marking(Tlp::Amber));
        let rows = preview(&engine(""), [holding(&roster, &gone, &gone, &header)]);
        assert_eq!(rows, Err(UnknownMember(gone)));
    }
}

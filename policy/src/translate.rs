//! Translation of questions into Cedar's terms: entities, context and request, as the schema
//! declares them.

use std::collections::{BTreeMap, HashMap, HashSet};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression,
    Schema,
};
use portcullis_protocol::{
    evaluation::{InformationCode, SourceCode},
    marking::Tlp,
    register::AuthorityKind,
};

use crate::{
    error::PolicyError,
    key::{MarkingFacts, MemberFacts, Question},
};

/// Error for facts that do not fit the schema: the fault of neither a peer nor an operator.
#[derive(Debug, thiserror::Error)]
#[error("the facts do not fit the schema: {0}")]
pub(crate) struct UnfitFacts(Box<dyn std::error::Error + Send + Sync>);

impl UnfitFacts {
    fn new(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}

/// Id of the one record of a request. It is a constant, so that similar records share a decision.
const THE_RECORD: &str = "record";

type Attributes = HashMap<String, RestrictedExpression>;

/// An entity type of the schema.
pub(crate) struct Type(EntityTypeName);

impl Type {
    pub(crate) fn parse(name: &str) -> Result<Self, PolicyError> {
        match format!("Portcullis::{name}").parse() {
            Ok(name) => Ok(Self(name)),
            Err(error) => Err(PolicyError::Schema(format!("{error}"))),
        }
    }

    pub(crate) fn uid(&self, id: &str) -> EntityUid {
        EntityUid::from_type_name_and_id(self.0.clone(), EntityId::new(id))
    }

    pub(crate) fn value(&self, id: &str) -> RestrictedExpression {
        RestrictedExpression::new_entity_uid(self.uid(id))
    }

    fn set<'t>(&self, ids: impl IntoIterator<Item = &'t str>) -> RestrictedExpression {
        RestrictedExpression::new_set(ids.into_iter().map(|id| self.value(id)))
    }
}

/// The entity types of the schema, parsed once.
pub(crate) struct Names {
    action: Type,
    authority: Type,
    authority_kind: Type,
    data_subject: Type,
    information_code: Type,
    pap: Type,
    purpose: Type,
    record: Type,
    record_kind: Type,
    regime: Type,
    requested_action: Type,
    section_tag: Type,
    source_code: Type,
    tlp: Type,
}

impl Names {
    pub(crate) fn parse() -> Result<Self, PolicyError> {
        let parse = Type::parse;
        Ok(Self {
            action: parse("Action")?,
            authority: parse("Authority")?,
            authority_kind: parse("AuthorityKind")?,
            data_subject: parse("DataSubject")?,
            information_code: parse("InformationCode")?,
            pap: parse("Pap")?,
            purpose: parse("Purpose")?,
            record: parse("Record")?,
            record_kind: parse("RecordKind")?,
            regime: parse("Regime")?,
            requested_action: parse("RequestedAction")?,
            section_tag: parse("SectionTag")?,
            source_code: parse("SourceCode")?,
            tlp: parse("Tlp")?,
        })
    }

    /// Makes Cedar's request and entities for the question, validated against the schema. `is_heard`
    /// tells whether the originator is heard on what the record reports.
    pub(crate) fn request(
        &self,
        question: &Question<'_>,
        is_heard: bool,
        schema: &Schema,
    ) -> Result<(Request, Entities), UnfitFacts> {
        let context = Context::from_pairs(self.circumstances(question, is_heard));
        let request = Request::new(
            self.authority.uid(question.principal.id),
            self.action.uid(question.action.name()),
            self.record.uid(THE_RECORD),
            context.map_err(UnfitFacts::new)?,
            Some(schema),
        );
        let entities = Entities::from_entities(self.entities(question)?, Some(schema));
        Ok((
            request.map_err(UnfitFacts::new)?,
            entities.map_err(UnfitFacts::new)?,
        ))
    }

    fn entities(&self, question: &Question<'_>) -> Result<Vec<Entity>, UnfitFacts> {
        let mut members = BTreeMap::new();
        for member in [
            &question.principal,
            &question.here,
            &question.origin,
            &question.via,
        ] {
            members.insert(member.id, member);
        }
        let mut entities = vec![entity(
            self.record.uid(THE_RECORD),
            self.record_attributes(question),
        )?];
        for (id, member) in members {
            entities.push(entity(
                self.authority.uid(id),
                self.member_attributes(member),
            )?);
        }
        Ok(entities)
    }

    fn member_attributes(&self, member: &MemberFacts<'_>) -> Attributes {
        let MemberFacts {
            id: _,
            kind,
            country,
            group,
            regime,
            communities,
            clients,
        } = member;
        attributes([
            ("kind", self.authority_kind.value(kind.name())),
            ("country", text(country)),
            ("group", text(group)),
            ("regime", self.regime.value(regime.name())),
            ("communities", texts(communities)),
            ("clients", self.authority.set(clients.iter().copied())),
        ])
    }

    fn record_attributes(&self, question: &Question<'_>) -> Attributes {
        let countries: Vec<&str> = question
            .audience
            .iter()
            .filter_map(|port| port.get(..2))
            .collect();
        attributes([
            ("kind", self.record_kind.value(question.kind.name())),
            ("origin", self.authority.value(question.origin.id)),
            ("exercise", flag(question.exercise)),
            ("audience", texts(&question.audience)),
            ("audience_countries", texts(&countries)),
            (
                "source_code",
                self.source_code.value(source_name(question.source)),
            ),
            (
                "information_code",
                self.information_code
                    .value(information_name(question.information)),
            ),
        ])
    }

    fn circumstances(
        &self,
        question: &Question<'_>,
        is_heard: bool,
    ) -> Vec<(String, RestrictedExpression)> {
        let direct = question.via.id == question.origin.id;
        let hub = question.via.kind == AuthorityKind::Hub;
        [
            ("here", self.authority.value(question.here.id)),
            ("via", self.authority.value(question.via.id)),
            ("direct", flag(direct)),
            ("via_hub", flag(hub && !direct)),
            ("section", self.section(question)),
            ("marking", self.marking(&question.marking)),
            ("expired", flag(question.facts.expired)),
            ("review_due", flag(question.facts.review_due)),
            ("grant_active", flag(question.facts.grant_active)),
            ("approved", flag(question.facts.approved)),
            ("heard", flag(is_heard)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    fn section(&self, question: &Question<'_>) -> RestrictedExpression {
        let mut section = attributes([("tag", self.section_tag.value(question.tag.name()))]);
        if let Some(count) = question.least_count {
            let count = RestrictedExpression::new_long(count.into());
            section.insert("least_count".to_owned(), count);
        }
        record(section)
    }

    fn marking(&self, marking: &MarkingFacts<'_>) -> RestrictedExpression {
        let MarkingFacts {
            tlp,
            pap,
            h0,
            h1,
            h2,
            h3,
            relay,
            originator_control,
            purposes,
            requested_action,
            data_subject,
            release_to,
        } = marking;
        let purposes = purposes.iter().map(|purpose| purpose.name());
        let mut facts = attributes([
            ("tlp", self.tlp.value(bare_tlp(*tlp))),
            ("pap", self.pap.value(bare(pap.name()))),
            ("h0", flag(*h0)),
            ("h1", flag(*h1)),
            ("h2", flag(*h2)),
            ("h3", flag(*h3)),
            ("purposes", self.purpose.set(purposes)),
            ("relay", flag(*relay)),
            ("originator_control", flag(*originator_control)),
        ]);
        if let Some(list) = release_to {
            let list = self.authority.set(list.iter().copied());
            facts.insert("release_to".to_owned(), list);
        }
        if let Some(action) = requested_action {
            let action = self.requested_action.value(action.name());
            facts.insert("requested_action".to_owned(), action);
        }
        if let Some(subject) = data_subject {
            let subject = self.data_subject.value(subject.name());
            facts.insert("data_subject".to_owned(), subject);
        }
        record(facts)
    }
}

fn entity(uid: EntityUid, attributes: Attributes) -> Result<Entity, UnfitFacts> {
    Entity::new(uid, attributes, HashSet::new()).map_err(UnfitFacts::new)
}

fn attributes<const N: usize>(pairs: [(&str, RestrictedExpression); N]) -> Attributes {
    pairs
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

/// Makes a Cedar record of attributes. It fails only for a repeated name, and the names of a map
/// are unique. The value used in that case does not fit the schema, and so denies.
fn record(attributes: Attributes) -> RestrictedExpression {
    RestrictedExpression::new_record(attributes)
        .unwrap_or_else(|_| RestrictedExpression::new_bool(false))
}

fn flag(value: bool) -> RestrictedExpression {
    RestrictedExpression::new_bool(value)
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

fn texts(texts: &[&str]) -> RestrictedExpression {
    RestrictedExpression::new_set(texts.iter().copied().map(text))
}

fn bare_tlp(tlp: Tlp) -> &'static str {
    let name = tlp.name();
    name.strip_prefix("TLP:").unwrap_or(name)
}

fn bare(pap: &'static str) -> &'static str {
    pap.strip_prefix("PAP:").unwrap_or(pap)
}

const fn source_name(code: SourceCode) -> &'static str {
    match code {
        SourceCode::A => "A",
        SourceCode::B => "B",
        SourceCode::C => "C",
        SourceCode::X => "X",
    }
}

const fn information_name(code: InformationCode) -> &'static str {
    match code {
        InformationCode::One => "1",
        InformationCode::Two => "2",
        InformationCode::Three => "3",
        InformationCode::Four => "4",
    }
}

#[cfg(test)]
mod tests {
    use portcullis_protocol::{
        evaluation::Evaluation,
        marking::{DataSubject, Pap, Purpose, RequestedAction},
        record::{Header, Kind, SectionTag},
        register::LegalRegime,
    };

    use crate::{
        Permission, Roster,
        testing::{authority, engine, header, holding, id, marking, register},
    };

    use super::*;

    #[track_caller]
    fn check_known(header: &Header) {
        let roster = Roster::of(&register());
        let police = id("police");
        let request = holding(&roster, &police, &police, header).consultation();
        let decision = engine("").decide(&request.unwrap());
        assert_eq!(decision.errors().collect::<Vec<_>>(), Vec::<&str>::new());
        assert_eq!(decision.outcome(), Permission::Allow);
    }

    #[test]
    fn the_schema_knows_every_name_of_the_closed_lists() {
        let mut known = header("police", Kind::Alert, SectionTag::ALL, marking(Tlp::Clear));
        known.marking.release_to = Some([id("gone-since")].into());
        known.marking.purposes = Purpose::ALL.iter().copied().collect();
        for (tlp, kind) in Tlp::ALL.iter().zip(Kind::ALL) {
            (known.marking.tlp, known.kind) = (*tlp, *kind);
            check_known(&known);
        }
        let actions = RequestedAction::ALL.iter().zip(DataSubject::ALL);
        for ((action, subject), pap) in actions.zip(Pap::ALL) {
            known.marking.requested_action = Some(*action);
            known.marking.data_subject = Some(*subject);
            known.marking.pap = *pap;
            check_known(&known);
        }
        let sources = [SourceCode::A, SourceCode::B, SourceCode::C, SourceCode::X];
        let codes = [
            InformationCode::One,
            InformationCode::Two,
            InformationCode::Three,
            InformationCode::Four,
        ];
        for (source, information) in sources.into_iter().zip(codes) {
            known.evaluation = Evaluation {
                source,
                information,
                admiralty: None,
            };
            check_known(&known);
        }
    }

    #[test]
    fn the_schema_knows_every_kind_and_regime_of_members() {
        let known = header("police", Kind::Alert, SectionTag::ALL, marking(Tlp::Clear));
        for (kind, regime) in AuthorityKind::ALL
            .iter()
            .zip(LegalRegime::ALL.iter().cycle())
        {
            let mut register = register();
            let police = authority("police", *kind, *regime);
            register.authorities.insert(police.id.clone(), police);
            let roster = Roster::of(&register);
            let police = id("police");
            let request = holding(&roster, &police, &police, &known).consultation();
            assert_eq!(
                engine("").decide(&request.unwrap()).outcome(),
                Permission::Allow
            );
        }
    }
}

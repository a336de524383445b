//! One question put to Cedar.
//!
//! Requests and entities are validated against the schema. Cedar skips a policy that fails to
//! evaluate, also a `forbid`: so any error, here or there, is a denial.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::Arc,
};

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName,
    EntityUid, PolicySet, Request, RestrictedExpression, Schema,
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

/// The id of a policy: its `@id`, or its file and number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId(Arc<str>);

impl PolicyId {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It may.
    Allow,
    /// A person decides first.
    Hold,
    /// It may not.
    Deny,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Allow => "allow",
            Self::Hold => "hold",
            Self::Deny => "deny",
        })
    }
}

/// The answer to one question about one section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What was decided.
    pub outcome: Outcome,
    /// The policies that decided, by id: the permits of an allow, the forbids of a denial. None
    /// if nothing permits it.
    pub policies: Vec<PolicyId>,
    /// Why it could not be evaluated; any entry makes it a denial.
    pub errors: Vec<String>,
}

impl Verdict {
    fn failed(error: impl fmt::Display) -> Self {
        Self {
            outcome: Outcome::Deny,
            policies: Vec::new(),
            errors: vec![error.to_string()],
        }
    }
}

/// Why a question could not be put to Cedar. None of these is the fault of a peer or an operator.
#[derive(Debug, thiserror::Error)]
enum QuestionError {
    #[error("the question could not be read back from its key")]
    Key,
    #[error("the facts do not fit the schema: {0}")]
    Facts(Box<dyn std::error::Error + Send + Sync>),
}

impl QuestionError {
    fn facts(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Facts(Box::new(error))
    }
}

/// The policies in force and what it takes to ask them.
pub(crate) struct Evaluator {
    pub(crate) schema: Schema,
    pub(crate) policies: PolicySet,
    /// The ids of Cedar to ours, with whether the policy holds instead of denying.
    pub(crate) ids: BTreeMap<cedar_policy::PolicyId, (PolicyId, Holds)>,
    pub(crate) names: Names,
    pub(crate) authorizer: Authorizer,
}

/// Whether a `forbid` denies or asks a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// `@held`: a person decides.
    ForAPerson,
    /// It denies.
    No,
}

impl Evaluator {
    /// Answers the question that `key` encodes.
    pub(crate) fn evaluate(&self, key: &[u8]) -> Verdict {
        let Some(question) = Question::decode(key) else {
            return Verdict::failed(QuestionError::Key);
        };
        match self.request(&question) {
            Ok((request, entities)) => self.ask(&request, &entities),
            Err(error) => Verdict::failed(error),
        }
    }

    fn ask(&self, request: &Request, entities: &Entities) -> Verdict {
        let response = self
            .authorizer
            .is_authorized(request, &self.policies, entities);
        let diagnostics = response.diagnostics();
        let errors: Vec<&AuthorizationError> = diagnostics.errors().collect();
        if !errors.is_empty() {
            return self.failed_policies(&errors);
        }
        let reasons = self.known(diagnostics.reason());
        let all_hold =
            !reasons.is_empty() && reasons.iter().all(|(_, holds)| *holds == Holds::ForAPerson);
        Verdict {
            outcome: match response.decision() {
                Decision::Allow => Outcome::Allow,
                Decision::Deny if all_hold => Outcome::Hold,
                Decision::Deny => Outcome::Deny,
            },
            policies: reasons.into_iter().map(|(id, _)| id.clone()).collect(),
            errors: Vec::new(),
        }
    }

    fn failed_policies(&self, errors: &[&AuthorizationError]) -> Verdict {
        let ids = errors.iter().map(|error| match error {
            AuthorizationError::PolicyEvaluationError(error) => error.policy_id(),
        });
        let failed = self.known(ids);
        let mut errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        errors.sort();
        Verdict {
            outcome: Outcome::Deny,
            policies: failed.into_iter().map(|(id, _)| id.clone()).collect(),
            errors,
        }
    }

    fn known<'i>(
        &self,
        ids: impl Iterator<Item = &'i cedar_policy::PolicyId>,
    ) -> Vec<&(PolicyId, Holds)> {
        let mut known: Vec<_> = ids.filter_map(|id| self.ids.get(id)).collect();
        known.sort_by(|left, right| left.0.cmp(&right.0));
        known
    }

    fn request(&self, question: &Question<'_>) -> Result<(Request, Entities), QuestionError> {
        let names = &self.names;
        let context = Context::from_pairs(names.circumstances(question));
        let request = Request::new(
            names.authority.uid(question.principal.id),
            names.action.uid(question.action.name()),
            names.record.uid(THE_RECORD),
            context.map_err(QuestionError::facts)?,
            Some(&self.schema),
        );
        let entities = Entities::from_entities(names.entities(question)?, Some(&self.schema));
        Ok((
            request.map_err(QuestionError::facts)?,
            entities.map_err(QuestionError::facts)?,
        ))
    }
}

/// The one record of a request. It carries no id, so that like records share a decision.
const THE_RECORD: &str = "record";

type Attributes = HashMap<String, RestrictedExpression>;

/// A type of entities in the schema.
pub(crate) struct Type(EntityTypeName);

impl Type {
    fn uid(&self, id: &str) -> EntityUid {
        EntityUid::from_type_name_and_id(self.0.clone(), EntityId::new(id))
    }

    fn value(&self, id: &str) -> RestrictedExpression {
        RestrictedExpression::new_entity_uid(self.uid(id))
    }

    fn set<'t>(&self, ids: impl IntoIterator<Item = &'t str>) -> RestrictedExpression {
        RestrictedExpression::new_set(ids.into_iter().map(|id| self.value(id)))
    }
}

/// The types of the schema, parsed once.
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
        let parse = |name: &str| match format!("Portcullis::{name}").parse() {
            Ok(name) => Ok(Type(name)),
            Err(error) => Err(PolicyError::Schema(format!("{error}"))),
        };
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

    fn entities(&self, question: &Question<'_>) -> Result<Vec<Entity>, QuestionError> {
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

    fn circumstances(&self, question: &Question<'_>) -> Vec<(String, RestrictedExpression)> {
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

fn entity(uid: EntityUid, attributes: Attributes) -> Result<Entity, QuestionError> {
    Entity::new(uid, attributes, HashSet::new()).map_err(QuestionError::facts)
}

fn attributes<const N: usize>(pairs: [(&str, RestrictedExpression); N]) -> Attributes {
    pairs
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

/// A record of attributes; names in a map are unique, which is all that could fail.
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

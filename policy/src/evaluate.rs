//! Evaluation of one question by Cedar.
//!
//! Requests and entities are validated against the schema. Cedar skips a policy that fails to
//! evaluate, even a `forbid`. Therefore any error, in Cedar or here, is a denial.

use std::{collections::BTreeMap, fmt, sync::Arc};

use cedar_policy::{
    AuthorizationError, Authorizer, Decision, Entities, PolicySet, Request, Schema,
};

use crate::{
    facts::Action,
    key::Question,
    translate::Names,
    voices::{Speaker, Voices},
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

/// Permission of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Allowed.
    Allow,
    /// Held: a person decides first.
    Hold,
    /// Denied.
    Deny,
}

impl fmt::Display for Permission {
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
    /// The outcome.
    pub outcome: Permission,
    /// The policies that decided, by id: the permits of an allow, the forbids of a denial. Empty if
    /// nothing permits it.
    pub policies: Vec<PolicyId>,
    /// Errors of evaluation; any entry makes the answer a denial.
    pub errors: Vec<String>,
}

impl Verdict {
    fn failed(error: impl fmt::Display) -> Self {
        Self {
            outcome: Permission::Deny,
            policies: Vec::new(),
            errors: vec![error.to_string()],
        }
    }
}

/// The policies in force, with all that is needed to evaluate them.
pub(crate) struct Evaluator {
    pub(crate) schema: Schema,
    pub(crate) policies: PolicySet,
    /// The policies without those that hold.
    pub(crate) deciding: PolicySet,
    /// Maps Cedar's ids to ours, each with the effect of its `forbid`.
    pub(crate) ids: BTreeMap<cedar_policy::PolicyId, (PolicyId, Holds)>,
    pub(crate) names: Names,
    pub(crate) authorizer: Authorizer,
    /// Answers of the policies of hearing, which are not among the others.
    pub(crate) voices: Voices,
}

/// Effect of a `forbid`: a denial, or a question to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// Marked `@held`: a person decides.
    ForAPerson,
    /// A denial.
    No,
}

impl Evaluator {
    /// Answers the question that `key` encodes.
    pub(crate) fn evaluate(&self, key: &[u8]) -> Verdict {
        let Some(question) = Question::decode(key) else {
            return Verdict::failed("the question could not be read back from its key");
        };
        let is_heard = self.hears(&question);
        match self.names.request(&question, is_heard, &self.schema) {
            Ok((request, entities)) => self.ask(&request, &entities),
            Err(error) => Verdict::failed(error),
        }
    }

    /// Returns whether the originator is heard on what the record reports. It follows from the
    /// question and these policies alone, so that the key of an answer need not hold it.
    fn hears(&self, question: &Question<'_>) -> bool {
        let is_own = question.origin.id == question.here.id && question.action == Action::Score;
        let speaker = Speaker {
            is_own,
            kind: question.origin.kind,
            regime: question.origin.regime,
        };
        self.voices.hears(question.action, question.kind, speaker)
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
        let outcome = match response.decision() {
            Decision::Allow => Permission::Allow,
            Decision::Deny if self.only_held(&reasons, request, entities) => Permission::Hold,
            Decision::Deny => Permission::Deny,
        };
        Verdict {
            outcome,
            policies: reasons.into_iter().map(|(id, _)| id.clone()).collect(),
            errors: Vec::new(),
        }
    }

    /// Returns whether a denial rests only on policies that hold: without them, the request would
    /// be allowed.
    fn only_held(
        &self,
        reasons: &[&(PolicyId, Holds)],
        request: &Request,
        entities: &Entities,
    ) -> bool {
        let held = reasons.iter().all(|(_, holds)| *holds == Holds::ForAPerson);
        if reasons.is_empty() || !held {
            return false;
        }
        let without = self
            .authorizer
            .is_authorized(request, &self.deciding, entities);
        without.decision() == Decision::Allow && without.diagnostics().errors().next().is_none()
    }

    fn failed_policies(&self, errors: &[&AuthorizationError]) -> Verdict {
        let ids = errors.iter().map(|error| match error {
            AuthorizationError::PolicyEvaluationError(error) => error.policy_id(),
        });
        let failed = self.known(ids);
        let mut errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        errors.sort();
        Verdict {
            outcome: Permission::Deny,
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
}

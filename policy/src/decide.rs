//! Decisions on a record: section by section, then narrowed so that no group of sections is cut.

use std::{collections::BTreeSet, sync::Arc};

use portcullis_protocol::{
    digest::Digest,
    identifiers::AuthorityId,
    record::{Form, RecordId, SectionEntry, SectionTag},
    rules::Rule,
};

use crate::{
    engine::Engine,
    evaluate::{Permission, PolicyId, Verdict},
    facts::Action,
    holding::RecordRequest,
    key::KeyBuilder,
};

/// The decision on one section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionDecision {
    /// The section's number.
    pub index: u8,
    /// Kind of its content.
    pub tag: SectionTag,
    /// The answer, before groups are considered.
    pub verdict: Arc<Verdict>,
}

/// The decision on a record in the form at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormDecision {
    action: Action,
    record: RecordId,
    principal: AuthorityId,
    rules: Digest,
    asked: Form,
    opened: Form,
    held: Form,
    sections: Vec<SectionDecision>,
}

impl Engine {
    /// Decides on one section of a record.
    #[must_use]
    pub fn decide_section(
        &self,
        request: &RecordRequest<'_>,
        section: &SectionEntry,
    ) -> Arc<Verdict> {
        let mut key = KeyBuilder::new(request);
        self.section_verdict(&mut key, request, section)
    }

    /// Decides on every section at hand. A section stays closed if its group is not allowed whole.
    #[must_use]
    pub fn decide(&self, request: &RecordRequest<'_>) -> FormDecision {
        let mut key = KeyBuilder::new(request);
        let mut sections = Vec::with_capacity(request.header.sections.len());
        let (mut allowed, mut held) = (Form::EMPTY, Form::EMPTY);
        let at_hand = request.header.sections.iter();
        for entry in at_hand.filter(|entry| request.form.contains(entry.index)) {
            let verdict = self.section_verdict(&mut key, request, entry);
            match verdict.outcome {
                Permission::Allow => allowed = allowed.with(entry.index),
                Permission::Hold => held = held.with(entry.index),
                Permission::Deny => {}
            }
            sections.push(SectionDecision {
                index: entry.index,
                tag: entry.tag,
                verdict,
            });
        }
        FormDecision {
            action: request.action,
            record: request.record,
            principal: request.principal.id().clone(),
            rules: self.rules(),
            asked: request.form,
            opened: request.header.without_cut_groups(allowed),
            held,
            sections,
        }
    }

    fn section_verdict(
        &self,
        key: &mut KeyBuilder,
        request: &RecordRequest<'_>,
        entry: &SectionEntry,
    ) -> Arc<Verdict> {
        match entry.stricter {
            None => self.answer(key.section(&request.header.marking, entry)),
            Some(_) => {
                let marking = request.header.section_marking(entry);
                self.answer(key.section(&marking, entry))
            }
        }
    }
}

impl FormDecision {
    /// Returns the action that was asked for.
    #[must_use]
    pub const fn action(&self) -> Action {
        self.action
    }

    /// The record.
    #[must_use]
    pub const fn record(&self) -> RecordId {
        self.record
    }

    /// Returns the authority that would receive the record, or use it.
    #[must_use]
    pub const fn principal(&self) -> &AuthorityId {
        &self.principal
    }

    /// Returns the digest of the rules that decided ([`Engine::rules`]).
    #[must_use]
    pub const fn rules(&self) -> Digest {
        self.rules
    }

    /// Returns the sections that are allowed and whose groups are whole.
    #[must_use]
    pub const fn opened(&self) -> Form {
        self.opened
    }

    /// Returns the sections at hand that are not opened.
    #[must_use]
    pub const fn withheld(&self) -> Form {
        self.asked.without(self.opened)
    }

    /// Returns the sections that wait for a person's decision.
    #[must_use]
    pub const fn held(&self) -> Form {
        self.held
    }

    /// Returns the decision on each section at hand, ascending by index.
    #[must_use]
    pub fn sections(&self) -> &[SectionDecision] {
        &self.sections
    }

    /// Returns the outcome for the whole record: allowed if any section is opened, held if none is
    /// opened and some wait, denied otherwise.
    #[must_use]
    pub const fn outcome(&self) -> Permission {
        if !self.opened.is_empty() {
            Permission::Allow
        } else if !self.held.is_empty() {
            Permission::Hold
        } else {
            Permission::Deny
        }
    }

    /// Returns the rule under which a receiver answers; `None` if the record is allowed.
    #[must_use]
    pub fn rule(&self) -> Option<Rule> {
        match self.outcome() {
            Permission::Allow => None,
            Permission::Hold => Some(Rule::PolicyHeld),
            Permission::Deny if self.errors().next().is_some() => Some(Rule::PolicyError),
            Permission::Deny => Some(Rule::PolicyDenied),
        }
    }

    /// Returns the policies that decided on any section, ascending, each once.
    #[must_use]
    pub fn policies(&self) -> Vec<PolicyId> {
        let deciding = self.sections.iter().flat_map(|it| &it.verdict.policies);
        let deciding: BTreeSet<&PolicyId> = deciding.collect();
        deciding.into_iter().cloned().collect()
    }

    /// Returns the policies that keep sections closed, ascending, each once.
    #[must_use]
    pub fn withholding(&self) -> Vec<PolicyId> {
        let closed = self.sections.iter();
        let closed = closed.filter(|section| section.verdict.outcome != Permission::Allow);
        let deciding: BTreeSet<&PolicyId> = closed.flat_map(|it| &it.verdict.policies).collect();
        deciding.into_iter().cloned().collect()
    }

    /// Errors of sections that could not be evaluated.
    pub fn errors(&self) -> impl Iterator<Item = &str> {
        let errors = self.sections.iter().flat_map(|it| &it.verdict.errors);
        errors.map(String::as_str)
    }

    /// Returns the permit to send the opened sections; `None` if there are none, or if the action
    /// sends nothing.
    #[must_use]
    pub fn permit(&self) -> Option<Permit> {
        (self.action.sends() && !self.opened.is_empty()).then(|| Permit {
            action: self.action,
            record: self.record,
            receiver: self.principal.clone(),
            form: self.opened,
            rules: self.rules,
            policies: self.policies(),
        })
    }
}

/// The right to send one record to one receiver in one form. Only a [`FormDecision`] gives one, and
/// it is checked again when the frame is written.
#[derive(Debug, PartialEq, Eq)]
pub struct Permit {
    action: Action,
    record: RecordId,
    receiver: AuthorityId,
    form: Form,
    rules: Digest,
    policies: Vec<PolicyId>,
}

impl Permit {
    /// Returns whether the permit allows sending `form` of `record` to `receiver`.
    #[must_use]
    pub fn covers(&self, record: &RecordId, receiver: &AuthorityId, form: Form) -> bool {
        self.record == *record
            && self.receiver == *receiver
            && !form.is_empty()
            && form.is_within(self.form)
    }

    /// Returns the action: to send an own record, or to pass on another's.
    #[must_use]
    pub const fn action(&self) -> Action {
        self.action
    }

    /// The record.
    #[must_use]
    pub const fn record(&self) -> RecordId {
        self.record
    }

    /// The receiver.
    #[must_use]
    pub const fn receiver(&self) -> &AuthorityId {
        &self.receiver
    }

    /// The sections.
    #[must_use]
    pub const fn form(&self) -> Form {
        self.form
    }

    /// Returns the digest of the rules that decided.
    #[must_use]
    pub const fn rules(&self) -> Digest {
        self.rules
    }

    /// Returns the policies that decided, those that withhold other sections included.
    #[must_use]
    pub fn policies(&self) -> &[PolicyId] {
        &self.policies
    }
}

//! Records at hand, and the questions that can be asked about them.

use portcullis_protocol::{
    identifiers::AuthorityId,
    record::{Form, Header, RecordId},
};

use crate::{
    facts::{Action, Facts},
    member::{Member, Roster},
};

/// A record that a node holds or is offered, with all that a question about it needs.
#[derive(Debug, Clone, Copy)]
pub struct Holding<'a> {
    /// The members in the epoch in force.
    pub roster: &'a Roster,
    /// The authority whose node asks.
    pub here: &'a AuthorityId,
    /// The record.
    pub record: RecordId,
    /// Its header.
    pub header: &'a Header,
    /// The sections at hand.
    pub form: Form,
    /// The authority that delivered it; the originator itself for own records.
    pub via: &'a AuthorityId,
    /// Facts that depend on the time, on grants and on approvals.
    pub facts: Facts,
}

/// Error for an authority that the register does not list; nothing is decided about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a member in the register in force; renew the register, or leave it out")]
pub struct UnknownMember(pub AuthorityId);

impl<'a> Holding<'a> {
    /// Asks whether the record may be sent to `receiver`: `release` of an own record, `relay` of
    /// another's.
    ///
    /// # Errors
    ///
    /// [`UnknownMember`] if the register does not list an authority that takes part.
    pub fn towards(&self, receiver: &AuthorityId) -> Result<RecordRequest<'a>, UnknownMember> {
        let action = if self.header.origin == *self.here {
            Action::Release
        } else {
            Action::Relay
        };
        self.ask(action, receiver)
    }

    /// Asks whether the record may be admitted here.
    ///
    /// # Errors
    ///
    /// [`UnknownMember`] if the register does not list an authority that takes part.
    pub fn admission(&self) -> Result<RecordRequest<'a>, UnknownMember> {
        self.ask(Action::Admit, self.here)
    }

    /// Asks whether a person of this authority may see the record.
    ///
    /// # Errors
    ///
    /// [`UnknownMember`] if the register does not list an authority that takes part.
    pub fn consultation(&self) -> Result<RecordRequest<'a>, UnknownMember> {
        self.ask(Action::Consult, self.here)
    }

    /// Asks whether the record may count in a score.
    ///
    /// # Errors
    ///
    /// [`UnknownMember`] if the register does not list an authority that takes part.
    pub fn scoring(&self) -> Result<RecordRequest<'a>, UnknownMember> {
        self.ask(Action::Score, self.here)
    }

    /// Asks whether the record may leave the federation.
    ///
    /// # Errors
    ///
    /// [`UnknownMember`] if the register does not list an authority that takes part.
    pub fn export(&self) -> Result<RecordRequest<'a>, UnknownMember> {
        self.ask(Action::Export, self.here)
    }

    fn ask(
        &self,
        action: Action,
        principal: &AuthorityId,
    ) -> Result<RecordRequest<'a>, UnknownMember> {
        let roster = self.roster;
        let member = |id: &AuthorityId| roster.member(id).ok_or_else(|| UnknownMember(id.clone()));
        Ok(RecordRequest {
            action,
            record: self.record,
            header: self.header,
            form: self.form.intersection(self.header.full_form()),
            principal: member(principal)?,
            here: member(self.here)?,
            origin: member(&self.header.origin)?,
            via: member(self.via)?,
            facts: self.facts,
        })
    }
}

/// One question about a record. Only [`Holding`] makes it, so that its parts belong together.
#[derive(Debug, Clone, Copy)]
pub struct RecordRequest<'a> {
    pub(crate) action: Action,
    pub(crate) record: RecordId,
    pub(crate) header: &'a Header,
    pub(crate) form: Form,
    pub(crate) principal: &'a Member,
    pub(crate) here: &'a Member,
    pub(crate) origin: &'a Member,
    pub(crate) via: &'a Member,
    pub(crate) facts: Facts,
}

impl RecordRequest<'_> {
    /// Returns the action that is asked for.
    #[must_use]
    pub const fn action(&self) -> Action {
        self.action
    }

    /// Returns the authority that would receive the record, or use it.
    #[must_use]
    pub const fn principal(&self) -> &AuthorityId {
        self.principal.id()
    }
}

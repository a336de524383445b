//! Verified records: their content, and other forms of them.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    body::Body,
    record::{Form, Header, RecordId, Section, SectionTag},
    seal::SealedRecord,
    statement::SignedStatement,
    wire,
};

/// An opened section: its bytes and their decoded content.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenSection {
    /// The bytes and their salt.
    pub section: Section,
    /// The decoded content.
    pub body: Body,
}

/// A record in some form that was verified; only [`Verifier`](super::Verifier) makes it.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedRecord {
    pub(super) id: RecordId,
    pub(super) header: Arc<Header>,
    pub(super) sections: Vec<OpenSection>,
    pub(super) form: Form,
    pub(super) sealed: SealedRecord,
}

/// Error in making a form of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// The form opens no section.
    #[error("a form opens at least one section")]
    Nothing,
    /// The form opens a section that is not held.
    #[error("a form opens only sections that are there")]
    NotHeld,
    /// The form cuts a group.
    #[error("a form does not cut a group of sections")]
    GroupCut,
    /// The two are not forms of one record.
    #[error("the two are forms of different records")]
    OtherRecord,
}

impl VerifiedRecord {
    /// The record's id.
    #[must_use]
    pub const fn id(&self) -> RecordId {
        self.id
    }

    /// Returns the header that its originator signed.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the bytes of the header as signed.
    #[must_use]
    pub const fn header_bytes(&self) -> &Bytes {
        &self.sealed.record.header
    }

    /// Returns the set of the open sections.
    #[must_use]
    pub const fn form(&self) -> Form {
        self.form
    }

    /// The open sections, ascending by index.
    #[must_use]
    pub fn sections(&self) -> &[OpenSection] {
        &self.sections
    }

    /// The first open section with this tag.
    #[must_use]
    pub fn body(&self, tag: SectionTag) -> Option<&Body> {
        self.sections
            .iter()
            .map(|open| &open.body)
            .find(|body| body.tag() == tag)
    }

    /// The batch statement it was verified with.
    #[must_use]
    pub const fn statement(&self) -> &Arc<SignedStatement> {
        &self.sealed.statement
    }

    /// Returns the record as it came.
    #[must_use]
    pub const fn sealed(&self) -> &SealedRecord {
        &self.sealed
    }

    /// Returns the record for the wire; its `batch` field names the statement at that position
    /// among those that travel with it.
    #[must_use]
    pub fn to_wire(&self, batch: u32) -> wire::Record {
        wire::Record {
            batch,
            ..self.sealed.record.clone()
        }
    }

    /// Returns this record with only the sections of `form` open. It verifies under the same id.
    ///
    /// # Errors
    ///
    /// [`FormError`] if the form opens nothing, something not held, or cuts a group.
    pub fn withhold(&self, form: Form) -> Result<Self, FormError> {
        if form.is_empty() {
            return Err(FormError::Nothing);
        }
        if !form.is_within(self.form) {
            return Err(FormError::NotHeld);
        }
        if self.header.cuts_a_group(form) {
            return Err(FormError::GroupCut);
        }
        let mut thinner = self.clone();
        thinner
            .sections
            .retain(|open| form.contains(open.section.index));
        thinner.sealed.record.sections = thinner
            .sections
            .iter()
            .map(|open| wire::Section::from(&open.section))
            .collect();
        thinner.form = form;
        Ok(thinner)
    }

    /// Returns this record with the open sections of another form added.
    ///
    /// # Errors
    ///
    /// [`FormError::OtherRecord`] if the other is not a form of this record.
    pub fn extended(&self, other: &Self) -> Result<Self, FormError> {
        if self.id != other.id {
            return Err(FormError::OtherRecord);
        }
        let mut merged = self.clone();
        let fresh = other.form.without(self.form);
        merged.sections.extend(
            other
                .sections
                .iter()
                .filter(|open| fresh.contains(open.section.index))
                .cloned(),
        );
        merged.sections.sort_by_key(|open| open.section.index);
        merged.sealed.record.sections = merged
            .sections
            .iter()
            .map(|open| wire::Section::from(&open.section))
            .collect();
        merged.form = self.form.union(other.form);
        Ok(merged)
    }
}

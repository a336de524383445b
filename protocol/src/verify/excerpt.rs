//! Verified excerpts: what some sections of a held record say, without the others being opened.

use std::sync::Arc;

use super::OpenSection;
use crate::{
    body::Body,
    record::{Form, Header, RecordId, SectionTag},
};

/// A held record of which only some sections were opened and verified; only
/// [`Verifier`](super::Verifier) makes it. It can be read and cannot be passed on.
#[derive(Debug, Clone, PartialEq)]
pub struct Excerpt {
    pub(super) id: RecordId,
    pub(super) header: Arc<Header>,
    /// Sections that are held, or those of them that count; more than are opened.
    pub(super) form: Form,
    pub(super) sections: Vec<OpenSection>,
}

impl Excerpt {
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

    /// Returns the set of the sections that are held, opened or not.
    #[must_use]
    pub const fn form(&self) -> Form {
        self.form
    }

    /// The opened sections, ascending by index.
    #[must_use]
    pub fn sections(&self) -> &[OpenSection] {
        &self.sections
    }

    /// The first opened section with this tag.
    #[must_use]
    pub fn body(&self, tag: SectionTag) -> Option<&Body> {
        let mut bodies = self.sections.iter().map(|open| &open.body);
        bodies.find(|body| body.tag() == tag)
    }

    /// Returns the excerpt as if only the sections in `form` were held.
    #[must_use]
    pub fn within(mut self, form: Form) -> Self {
        self.form = self.form.intersection(form);
        let form = self.form;
        self.sections
            .retain(|open| form.contains(open.section.index));
        self
    }
}

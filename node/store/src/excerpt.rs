//! Excerpts of held records: their headers, and only the sections that a reader needs.
//!
//! A record may bring files of several MiB. Whoever goes over many records reads excerpts, page by
//! page, so that files cost neither memory nor the opening of them.

use std::collections::BTreeMap;

use portcullis_protocol::{
    body::SelectorKind,
    identifiers::{AuthorityId, NodeId},
    record::{Form, Kind, SectionTag},
    seal::SealedRecord,
    time::Timestamp,
};

use crate::{HeldRecord, PAGE_BYTES, weight};

/// Most excerpts on one page.
const PAGE_EXCERPTS: usize = 1024;

/// Selection of the records of which excerpts are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExcerptsOf<'a> {
    /// Records of this kind.
    Kind(Kind),
    /// Records of any kind.
    Any,
    /// Records with exactly this selector.
    Selector(SelectorKind, &'a str),
    /// Records of this kind, or of any, that came here in this time.
    Came(Option<Kind>, Came),
}

/// A span of time in which records came here or were made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Came {
    /// First point of it.
    pub since: Timestamp,
    /// First point after it.
    pub before: Timestamp,
}

impl Came {
    /// All of time.
    pub const EVER: Self = Self {
        since: Timestamp::from_millis(i64::MIN),
        before: Timestamp::from_millis(i64::MAX),
    };

    /// Returns true if the point lies in the span.
    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        self.since <= at && at < self.before
    }
}

/// A held record of which only some sections were opened. Its reader verifies it again.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldExcerpt {
    /// The record with the sections that were opened; its `batch` field is 0.
    pub opened: SealedRecord,
    /// Sections that are held, opened or not.
    pub form: Form,
    /// Peer that delivered the record first; `None` if this authority made it.
    pub source: Option<NodeId>,
    /// Time at which the record was committed here.
    pub received_at: Timestamp,
}

/// Excerpts of some records, the newest first, and the way to those after them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExcerptPage {
    /// The excerpts.
    pub excerpts: Vec<HeldExcerpt>,
    /// Place from which the next page goes on; `None` at the end.
    pub next: Option<i64>,
    /// Number of records of each origin that was to be left out, as far as the page was looked through.
    pub left_out: BTreeMap<AuthorityId, usize>,
    /// Weight of the excerpts.
    bytes: usize,
}

impl ExcerptPage {
    /// Adds an excerpt.
    pub fn add(&mut self, held: HeldExcerpt) {
        self.bytes = self.bytes.saturating_add(weight(&held.opened));
        self.excerpts.push(held);
    }

    /// Counts a record of an origin that is left out.
    pub fn leave_out(&mut self, origin: AuthorityId) {
        *self.left_out.entry(origin).or_default() += 1;
    }

    /// Returns true if the page ends here, whatever comes after. It holds one record more than
    /// [`PAGE_BYTES`] at most.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.excerpts.len() >= PAGE_EXCERPTS || self.bytes >= PAGE_BYTES
    }
}

impl HeldExcerpt {
    /// Returns the excerpt of a whole record with the sections of these tags.
    #[must_use]
    pub fn of(held: &HeldRecord, tags: &[SectionTag]) -> Self {
        let asked = held.sealed.claimed_sections(tags);
        Self {
            opened: held.sealed.opening(asked),
            form: held.form,
            source: held.source.clone(),
            received_at: held.received_at,
        }
    }
}

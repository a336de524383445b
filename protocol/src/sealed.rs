//! Sealed records as they travel and are stored: the record, the statement over its batch, and the sections that a kind
//! may have. [`crate::seal`] makes them, [`crate::verify`] checks them.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use prost::Message as _;

use crate::{
    digest::Digest,
    fields::{Encoded, Fields, Value},
    identifiers::AuthorityId,
    keys::KeyUse,
    record::{Form, Header, Kind, MAX_SECTIONS, RecordId, SectionTag},
    statement::{SignedStatement, StatementType},
    wire,
};

/// The statement an originator signs over a batch.
pub enum Batch {}

impl StatementType for Batch {
    const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.batch.v1";
    const KEY_USE: KeyUse = KeyUse::Sealing;
}

/// Number of the field of a header that names its kind.
const HEADER_KIND: u64 = 3;

/// Number of the field of a header that names its originator.
const HEADER_ORIGIN: u64 = 4;

/// The most bytes of a record's header and bodies together, so that the record fits into a frame by
/// itself.
pub const MAX_RECORD_BYTES: usize = 7 << 20;

/// Misfit between a set of sections and the kind of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SectionsError {
    /// A section that the kind needs is missing.
    #[error("a record of kind `{kind}` needs a section `{tag}`")]
    Missing {
        /// The record's kind.
        kind: Kind,
        /// The missing section.
        tag: SectionTag,
    },
    /// A section that the kind may not have.
    #[error("a record of kind `{kind}` has no section `{tag}`")]
    Unfit {
        /// The record's kind.
        kind: Kind,
        /// The section that does not fit.
        tag: SectionTag,
    },
    /// A section occurs twice, or there are too many sections.
    #[error("section `{0}` stands too often")]
    TooMany(SectionTag),
}

/// Checks the tags of a section table against the kind of record.
///
/// # Errors
///
/// [`SectionsError`] names the section that is missing, unfit or too much.
pub(crate) fn check_sections(
    kind: Kind,
    tags: impl Iterator<Item = SectionTag>,
) -> Result<(), SectionsError> {
    let (needed, fitting) = sections_of(kind);
    let mut seen = BTreeSet::new();
    for (count, tag) in tags.enumerate() {
        if !fitting.contains(&tag) {
            return Err(SectionsError::Unfit { kind, tag });
        }
        let repeated = !seen.insert(tag) && tag != SectionTag::Cells;
        if repeated || count >= usize::from(MAX_SECTIONS) {
            return Err(SectionsError::TooMany(tag));
        }
    }
    match needed.iter().find(|tag| !seen.contains(tag)) {
        Some(&tag) => Err(SectionsError::Missing { kind, tag }),
        None => Ok(()),
    }
}

/// Returns the sections that a kind needs, and those it may have.
const fn sections_of(kind: Kind) -> (&'static [SectionTag], &'static [SectionTag]) {
    use SectionTag::{Assessment, Attachments, Cells, Narrative, Persons, Source, Subject};
    const ORDINARY: &[SectionTag] = &[Subject, Assessment, Narrative, Source, Persons, Attachments];
    match kind {
        Kind::Indicator | Kind::Alert | Kind::Outcome => (&[Subject, Assessment], ORDINARY),
        Kind::Advisory => (&[Assessment], ORDINARY),
        Kind::RiskProfile => (&[Cells], &[Cells]),
    }
}

/// A record in some form as it travels and is stored; nothing about it has been checked.
#[derive(Debug, Clone)]
pub struct SealedRecord {
    pub(crate) record: wire::Record,
    pub(crate) statement: Arc<SignedStatement>,
    /// The decoded header, if it was read already: that is so if the record was sealed here.
    pub(crate) header: Option<Arc<Header>>,
}

impl PartialEq for SealedRecord {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            record,
            statement,
            header: _,
        } = self;
        *record == other.record && *statement == other.statement
    }
}

impl SealedRecord {
    /// Joins a record with the batch statement that it is said to belong to. The record's `batch`
    /// field tells which of a frame's statements that is; it is ignored here.
    #[must_use]
    pub const fn new(record: wire::Record, statement: Arc<SignedStatement>) -> Self {
        Self {
            record,
            statement,
            header: None,
        }
    }

    /// Returns the id of the header, whether or not anything else about the record is right.
    #[must_use]
    pub fn id(&self) -> RecordId {
        RecordId::of_header(&self.record.header)
    }

    /// Returns the set of the section indexes that the record claims to bring.
    #[must_use]
    pub fn claimed_form(&self) -> Form {
        self.record
            .sections
            .iter()
            .filter_map(|section| u8::try_from(section.index).ok())
            .collect()
    }

    /// Returns the kind that the header names; nothing else of the record is read or checked.
    #[must_use]
    pub fn claimed_kind(&self) -> Option<Kind> {
        let kind = Fields::of(&self.record.header).find_map(|field| match field {
            Ok(Encoded {
                number: HEADER_KIND,
                value: Value::Number(number),
            }) => Some(number),
            Ok(_) | Err(_) => None,
        });
        kind.and_then(|number| i32::try_from(number).ok())
            .and_then(Kind::from_wire)
    }

    /// Returns the authority that the header names as originator; nothing else of the record is read
    /// or checked.
    #[must_use]
    pub fn claimed_origin(&self) -> Option<AuthorityId> {
        let origin = Fields::of(&self.record.header).find_map(|field| match field {
            Ok(Encoded {
                number: HEADER_ORIGIN,
                value: Value::Bytes(origin),
            }) => Some(origin),
            Ok(_) | Err(_) => None,
        });
        std::str::from_utf8(origin?).ok()?.parse().ok()
    }

    /// Returns the sections to which the header gives one of these tags; nothing else of the record
    /// is read or checked.
    #[must_use]
    pub fn claimed_sections(&self, tags: &[SectionTag]) -> Form {
        claimed_sections(&self.record.header, tags)
    }

    /// Returns the record with only the sections in `form`, whatever else it brings.
    #[must_use]
    pub fn opening(&self, form: Form) -> Self {
        let mut thinner = self.clone();
        thinner
            .record
            .sections
            .retain(|section| u8::try_from(section.index).is_ok_and(|index| form.contains(index)));
        thinner
    }

    /// Returns the record on the wire.
    #[must_use]
    pub const fn wire(&self) -> &wire::Record {
        &self.record
    }

    /// Returns the statement it came with.
    #[must_use]
    pub const fn statement(&self) -> &Arc<SignedStatement> {
        &self.statement
    }
}

/// Returns the sections to which an encoded header gives one of these tags; none if it cannot be
/// read. Nothing is checked.
#[must_use]
pub fn claimed_sections(header: &Bytes, tags: &[SectionTag]) -> Form {
    let Ok(header) = wire::Header::decode(header.clone()) else {
        return Form::EMPTY;
    };
    let is_asked =
        |entry: &&wire::SectionEntry| tags.iter().any(|tag| i32::from(tag.number()) == entry.tag);
    let asked = header.sections.iter().filter(is_asked);
    asked
        .filter_map(|entry| u8::try_from(entry.index).ok())
        .collect()
}

/// Returns the leaf of a record in its batch's tree.
pub(crate) fn batch_leaf(blind: &[u8; 16], id: RecordId) -> Digest {
    Digest::labelled("portcullis batch leaf v1", &[blind, id.as_bytes()])
}

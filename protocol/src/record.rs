//! Records: the immutable unit that an originator signs, with sections that can be withheld.
//!
//! A record is a [`Header`], always sent whole, and sections of which a receiver may see only some:
//! the set it sees is a [`Form`]. The header lists a salted digest of every section, so that the
//! originator's signature holds for every form (docs/design.md, Sealing).

use std::{collections::BTreeSet, fmt, str::FromStr};

use bytes::Bytes;

use crate::{
    digest::{Digest, DigestParseError},
    evaluation::Evaluation,
    identifiers::{AuthorityId, FederationId, UnLocode},
    keys::KeyId,
    marking::{Marking, SectionMarking},
    named::named,
    time::Timestamp,
};

/// Number of section indexes: the sections of one record are numbered below this.
pub const MAX_SECTIONS: u8 = 64;

/// Id of a record: SHA-256 over its header as signed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(Digest);

impl RecordId {
    /// The id of the record with this encoded header.
    #[must_use]
    pub fn of_header(header: &[u8]) -> Self {
        Self(Digest::labelled("portcullis record v1", &[header]))
    }

    /// Takes 32 bytes for a record id; `None` for any other length.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Digest::from_slice(bytes).map(Self)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordId({})", self.0)
    }
}

impl FromStr for RecordId {
    type Err = DigestParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

named! {
    /// Kind of record.
    Kind, "kind of record", "`indicator`, `alert`, `advisory`, `outcome`, `risk-profile`" {
        /// Something to look out for.
        Indicator = "indicator",
        /// Something to act on now; travels in the urgent lane.
        Alert = "alert",
        /// A vulnerability or a good practice.
        Advisory = "advisory",
        /// The result of a control: a sighting.
        Outcome = "outcome",
        /// Counts of controls and findings per cell.
        RiskProfile = "risk-profile",
    }
}

named! {
    /// Kind of content of a section.
    SectionTag, "section",
    "`subject`, `assessment`, `narrative`, `source`, `persons`, `attachments`, `cells`" {
        /// The selectors: what the record is about.
        Subject = "subject",
        /// The threat and its assessment.
        Assessment = "assessment",
        /// The account in free text.
        Narrative = "narrative",
        /// The source of the information.
        Source = "source",
        /// Persons concerned.
        Persons = "persons",
        /// Files.
        Attachments = "attachments",
        /// Counts of a risk profile; may stand several times.
        Cells = "cells",
    }
}

impl SectionTag {
    /// The number the digest covers and the wire carries.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Subject => 1,
            Self::Assessment => 2,
            Self::Narrative => 3,
            Self::Source => 4,
            Self::Persons => 5,
            Self::Attachments => 6,
            Self::Cells => 7,
        }
    }
}

/// The 16 random bytes that a record shares with its copies, so that ten copies of one rumour count
/// as one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RootTag([u8; 16]);

impl RootTag {
    /// Takes 16 bytes drawn at random.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for RootTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A set of section indexes: bit `i` stands for the section with index `i`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Form(u64);

impl Form {
    /// No section.
    pub const EMPTY: Self = Self(0);

    /// The set with these bits.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The set with `index` added; an index from [`MAX_SECTIONS`] on is no member of any form.
    #[must_use]
    pub const fn with(self, index: u8) -> Self {
        if index < MAX_SECTIONS {
            Self(self.0 | (1 << index))
        } else {
            self
        }
    }

    /// Returns whether the section with this index is in the set.
    #[must_use]
    pub const fn contains(self, index: u8) -> bool {
        index < MAX_SECTIONS && self.0 & (1 << index) != 0
    }

    /// Returns the union of both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the members that both sets have.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// This set without the other's members.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns whether every member of this set is in `other`.
    #[must_use]
    pub const fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Returns whether the set has no members.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The number of members.
    #[must_use]
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// The members, ascending.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..MAX_SECTIONS).filter(move |index| self.contains(*index))
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl FromIterator<u8> for Form {
    fn from_iter<T: IntoIterator<Item = u8>>(indexes: T) -> Self {
        indexes.into_iter().fold(Self::EMPTY, Self::with)
    }
}

/// One row of a header's section table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionEntry {
    /// The section's number in the record, below [`MAX_SECTIONS`].
    pub index: u8,
    /// Kind of its content.
    pub tag: SectionTag,
    /// The salted digest of its bytes.
    pub digest: Digest,
    /// Its marking, if stricter than the record's.
    pub stricter: Option<SectionMarking>,
    /// Cells only: the smallest count of controls of any cell in it.
    pub least_count: Option<u32>,
}

/// The part of a record that its originator signs; always sent whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The version of the protocol that a node needs to take the record.
    pub version: u32,
    /// The federation in which the record is valid.
    pub federation: FederationId,
    /// Kind of the record.
    pub kind: Kind,
    /// The authority that made it.
    pub origin: AuthorityId,
    /// The sealing key it is signed with.
    pub key_id: KeyId,
    /// Time of sealing, by the originator's clock.
    pub sealed_at: Timestamp,
    /// True if it belongs to an exercise and to nothing real.
    pub exercise: bool,
    /// The ports it concerns; empty: all.
    pub audience: BTreeSet<UnLocode>,
    /// Limits on its use.
    pub marking: Marking,
    /// Evaluation of its source and information.
    pub evaluation: Evaluation,
    /// Sections that travel together or not at all.
    pub groups: Vec<Form>,
    /// The records it was made from.
    pub derived_from: Vec<RecordId>,
    /// The record it replaces.
    pub supersedes: Option<RecordId>,
    /// Tag shared with its copies.
    pub root: RootTag,
    /// Its sections, ascending by index.
    pub sections: Vec<SectionEntry>,
}

impl Header {
    /// All sections of the table.
    #[must_use]
    pub fn full_form(&self) -> Form {
        self.sections.iter().map(|entry| entry.index).collect()
    }

    /// Returns the row for this index.
    #[must_use]
    pub fn entry(&self, index: u8) -> Option<&SectionEntry> {
        self.sections.iter().find(|entry| entry.index == index)
    }

    /// Returns the marking of one section: the record's, tightened by the section's own.
    #[must_use]
    pub fn section_marking(&self, entry: &SectionEntry) -> Marking {
        entry.stricter.as_ref().map_or_else(
            || self.marking.clone(),
            |stricter| self.marking.tightened(stricter),
        )
    }

    /// Returns the strictest marking of the sections in `form`.
    #[must_use]
    pub fn marking_of(&self, form: Form) -> Marking {
        self.sections
            .iter()
            .filter(|entry| form.contains(entry.index))
            .filter_map(|entry| entry.stricter.as_ref())
            .fold(self.marking.clone(), |marking, stricter| {
                let tightened = self.marking.tightened(stricter);
                marking.strictest(&tightened)
            })
    }

    /// Returns whether `form` opens some of a group's sections and leaves out others.
    #[must_use]
    pub fn cuts_a_group(&self, form: Form) -> bool {
        self.groups
            .iter()
            .any(|group| !form.intersection(*group).is_empty() && !group.is_within(form))
    }

    /// Returns the largest part of `form` that cuts no group.
    #[must_use]
    pub fn without_cut_groups(&self, form: Form) -> Form {
        let mut form = form;
        // Groups may overlap, so that dropping one can cut another. Each round drops at least one
        // section.
        while let Some(cut) = self
            .groups
            .iter()
            .find(|group| !form.intersection(**group).is_empty() && !group.is_within(form))
        {
            form = form.without(*cut);
        }
        form
    }
}

/// A section with its salt. The salt is withheld and erased together with the section.
#[derive(Clone, PartialEq, Eq)]
pub struct Section {
    /// The section's number in the record.
    pub index: u8,
    /// 16 random bytes that prevent guessing the body from the digest.
    pub salt: [u8; 16],
    /// The encoded body.
    pub body: Bytes,
}

impl Section {
    /// The digest that a header lists for this section.
    #[must_use]
    pub fn digest(&self, tag: SectionTag) -> Digest {
        Digest::labelled(
            "portcullis section v1",
            &[
                &self.salt,
                &tag.number().to_be_bytes(),
                &u16::from(self.index).to_be_bytes(),
                &self.body,
            ],
        )
    }
}

impl fmt::Debug for Section {
    /// Leaves salt and body out: both are secret and easily end up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Section({}, {} bytes)", self.index, self.body.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_a_set() {
        let form: Form = [3, 0, 63, 64].into_iter().collect();
        assert_eq!(form.iter().collect::<Vec<_>>(), [0, 3, 63]);
        assert_eq!(form.len(), 3);
        assert!(form.without(Form::EMPTY.with(3)).is_within(form));
        assert!(!form.is_within(Form::EMPTY.with(3)));
    }

    #[test]
    fn the_section_digest_covers_salt_tag_index_and_body() {
        let section = Section {
            index: 2,
            salt: [9; 16],
            body: Bytes::from_static(b"body"),
        };
        let mut input = b"portcullis section v1\0".to_vec();
        input.extend([9; 16]);
        input.extend([0, 3, 0, 2]);
        input.extend(b"body");
        let expected: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(input).into();
        assert_eq!(section.digest(SectionTag::Narrative).as_bytes(), &expected);
    }

    #[test]
    fn a_section_prints_neither_salt_nor_body() {
        let section = Section {
            index: 1,
            salt: *b"saltsaltsaltsalt",
            body: Bytes::from_static(b"secret"),
        };
        assert_eq!(format!("{section:?}"), "Section(1, 6 bytes)");
    }
}

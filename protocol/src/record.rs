//! Records: the immutable thing an originator signs, and the parts of it that can be withheld.
//!
//! A record is a [`Header`], always sent whole, and sections of which a receiver may see only
//! some: the set it sees is a [`Form`]. The header lists a salted digest of every section, so
//! the originator's signature holds for every form (DESIGN §4).

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

/// Sections of one record are numbered below this.
pub const MAX_SECTIONS: u8 = 64;

/// Names a record: SHA-256 over its header as signed.
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
    /// What kind of thing a record says.
    Kind, "kind of record", "`indicator`, `alert`, `advisory`, `outcome`, `risk-profile`" {
        /// Something to look out for.
        Indicator = "indicator",
        /// Something to act on now; travels in the urgent lane.
        Alert = "alert",
        /// A vulnerability or a good practice.
        Advisory = "advisory",
        /// What a control found: a sighting.
        Outcome = "outcome",
        /// Counts of controls and findings per cell.
        RiskProfile = "risk-profile",
    }
}

named! {
    /// What a section holds.
    SectionTag, "section",
    "`subject`, `assessment`, `narrative`, `source`, `persons`, `attachments`, `cells`" {
        /// The selectors: what the record is about.
        Subject = "subject",
        /// The threat and its assessment.
        Assessment = "assessment",
        /// The story in free text.
        Narrative = "narrative",
        /// Where it comes from.
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

/// The 16 random bytes that a record and its copies share: ten copies of one rumour are one.
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

    /// Whether the section with this index is in the set.
    #[must_use]
    pub const fn contains(self, index: u8) -> bool {
        index < MAX_SECTIONS && self.0 & (1 << index) != 0
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both sets share.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// This set without the other's members.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether every member of this set is one of `other`.
    #[must_use]
    pub const fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether the set has no member.
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

/// One line of a header's section table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionEntry {
    /// The section's number in the record, below [`MAX_SECTIONS`].
    pub index: u8,
    /// What it holds.
    pub tag: SectionTag,
    /// The salted digest of its bytes.
    pub digest: Digest,
    /// A marking stricter than the record's.
    pub stricter: Option<SectionMarking>,
    /// Cells only: the smallest count of controls of any cell in it.
    pub least_count: Option<u32>,
}

/// What an originator signs: always sent whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The federation in which the record counts.
    pub federation: FederationId,
    /// What kind of thing it says.
    pub kind: Kind,
    /// Who says it.
    pub origin: AuthorityId,
    /// The sealing key it is signed with.
    pub key_id: KeyId,
    /// When it was sealed, by the originator's clock.
    pub sealed_at: Timestamp,
    /// Whether it belongs to an exercise and to nothing real.
    pub exercise: bool,
    /// The ports it concerns; empty: all.
    pub audience: BTreeSet<UnLocode>,
    /// What may be done with it.
    pub marking: Marking,
    /// How far its source and content are trusted.
    pub evaluation: Evaluation,
    /// Sections that travel together or not at all.
    pub groups: Vec<Form>,
    /// The records it was made from.
    pub derived_from: Vec<RecordId>,
    /// The record it replaces.
    pub supersedes: Option<RecordId>,
    /// What copies of it share.
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

    /// The table's line for this index.
    #[must_use]
    pub fn entry(&self, index: u8) -> Option<&SectionEntry> {
        self.sections.iter().find(|entry| entry.index == index)
    }

    /// The marking of one section: the record's, tightened by its own.
    #[must_use]
    pub fn section_marking(&self, entry: &SectionEntry) -> Marking {
        entry.stricter.as_ref().map_or_else(
            || self.marking.clone(),
            |stricter| self.marking.tightened(stricter),
        )
    }

    /// The strictest marking of the sections in `form`.
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

    /// Whether `form` opens some of a group's sections and not the others.
    #[must_use]
    pub fn cuts_a_group(&self, form: Form) -> bool {
        self.groups
            .iter()
            .any(|group| !form.intersection(*group).is_empty() && !group.is_within(form))
    }

    /// The largest part of `form` that cuts no group.
    #[must_use]
    pub fn without_cut_groups(&self, form: Form) -> Form {
        let mut form = form;
        // Groups may overlap, so that dropping one can cut another; each round drops a section.
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

/// A section with its salt: the salt is part of it, withheld and erased with it.
#[derive(Clone, PartialEq, Eq)]
pub struct Section {
    /// The section's number in the record.
    pub index: u8,
    /// 16 random bytes that keep the digest from being guessed.
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
    /// Neither salt nor body: both are secret and end up in logs too easily.
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

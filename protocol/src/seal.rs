//! Sealing: drafts become signed records.
//!
//! Each section gets a fresh salt, the header gets its section table, and the batch gets a tree
//! over blinded and shuffled leaves. The originator signs one statement over the tree's root. The
//! result is a [`SealedRecord`]; the originator verifies it like any other before storing it.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use prost::Message as _;

pub use crate::sealed::{Batch, MAX_RECORD_BYTES, SealedRecord, SectionsError, claimed_sections};
use crate::{
    body::{Body, BodyError},
    digest::Digest,
    evaluation::Evaluation,
    identifiers::{AuthorityId, FederationId, UnLocode},
    keys::SigningKey,
    marking::{Marking, MarkingError, SectionMarking},
    merkle::{MAX_LEAVES, Tree},
    record::{
        Form, Header, Kind, MAX_SECTIONS, RecordId, RootTag, Section, SectionEntry, SectionTag,
    },
    refusal::Refusal,
    sealed::{batch_leaf, check_sections},
    statement::{SignatureError, SignedStatement},
    time::Timestamp,
    verify::read_header,
    version, wire,
};

/// Source of random bytes, given by the caller. Salts, blinds and root tags must not be guessable:
/// outside of tests the source is the operating system's generator.
pub trait Entropy {
    /// Fills `out` with random bytes.
    fn fill(&mut self, out: &mut [u8]);
}

/// A record before it is sealed.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Kind of the record.
    pub kind: Kind,
    /// True if it belongs to an exercise.
    pub exercise: bool,
    /// The ports it concerns; empty: all.
    pub audience: BTreeSet<UnLocode>,
    /// Limits on its use.
    pub marking: Marking,
    /// Evaluation of its source and information.
    pub evaluation: Evaluation,
    /// The records it was made from.
    pub derived_from: Vec<RecordId>,
    /// The record it replaces.
    pub supersedes: Option<RecordId>,
    /// The root tag of the record that it copies; `None`: something new.
    pub root: Option<RootTag>,
    /// Its sections. The table lists them by tag, and those of one tag in the order given here.
    pub sections: Vec<DraftSection>,
    /// Groups of sections that travel together, as positions in `sections`; `None`: subject with
    /// assessment.
    pub groups: Option<Vec<Form>>,
    /// Tags for which the table gets a random digest if the section is absent, so that its absence
    /// does not show; only `source` and `persons` can have one. A decoy has no marking of its own:
    /// if these sections are marked stricter than their record, their presence shows.
    pub decoys: BTreeSet<SectionTag>,
}

impl Draft {
    /// Makes a draft with these sections and defaults for the rest.
    #[must_use]
    pub fn new(kind: Kind, marking: Marking, evaluation: Evaluation, bodies: Vec<Body>) -> Self {
        let sections = bodies
            .into_iter()
            .map(|body| DraftSection {
                body,
                stricter: None,
            })
            .collect();
        Self {
            kind,
            exercise: false,
            audience: BTreeSet::new(),
            marking,
            evaluation,
            derived_from: Vec::new(),
            supersedes: None,
            root: None,
            sections,
            groups: None,
            decoys: BTreeSet::new(),
        }
    }
}

/// A section before it is sealed.
#[derive(Debug, Clone)]
pub struct DraftSection {
    /// Its content.
    pub body: Body,
    /// A marking stricter than the record's.
    pub stricter: Option<SectionMarking>,
}

/// Error in sealing drafts; the caller has to correct the drafts in every case.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// A batch of no records, or of too many.
    #[error("a batch holds 1 to {MAX_LEAVES} records, not {0}")]
    BatchSize(usize),
    /// The marking contradicts itself.
    #[error(transparent)]
    Marking(#[from] MarkingError),
    /// A section is marked looser than its record.
    #[error(
        "section `{0}` is marked looser than its record; mark the record as its most open section"
    )]
    LooserSection(SectionTag),
    /// The sections do not fit the kind.
    #[error(transparent)]
    Sections(#[from] SectionsError),
    /// A section's content is not allowed.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// A decoy for a section whose absence is not secret.
    #[error("section `{0}` has no decoy; only `source` and `persons` have")]
    Decoy(SectionTag),
    /// A group names a section that is not there.
    #[error("a group of sections names one that the record does not have")]
    Group,
    /// The record is too large for a frame.
    #[error("the record has {0} bytes, {MAX_RECORD_BYTES} are allowed; split it")]
    TooLarge(usize),
    /// The header breaks a rule, so that every receiver would refuse it.
    #[error("every receiver would refuse it: {0}")]
    Refused(#[from] Refusal),
    /// The header holds a value that the wire format cannot express, such as an empty H3 text.
    #[error("the header holds a value that would be lost; leave out empty texts and zero times")]
    Lossy,
    /// The key is not a sealing key.
    #[error(transparent)]
    Key(#[from] SignatureError),
}

/// The sealing authority with its key, and the time of sealing.
#[derive(Debug, Clone, Copy)]
pub struct Sealer<'a> {
    /// The federation the records are made for.
    pub federation: &'a FederationId,
    /// The authority that makes them.
    pub origin: &'a AuthorityId,
    /// Its sealing key.
    pub key: &'a SigningKey,
    /// The time of sealing that the records state.
    pub now: Timestamp,
}

impl Sealer<'_> {
    /// Seals up to [`MAX_LEAVES`] drafts in one batch; the results are in the drafts' order.
    ///
    /// # Errors
    ///
    /// [`SealError`] for the first fault; nothing is sealed then.
    pub fn seal(
        &self,
        drafts: Vec<Draft>,
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<SealedRecord>, SealError> {
        if drafts.is_empty() || drafts.len() > MAX_LEAVES {
            return Err(SealError::BatchSize(drafts.len()));
        }
        let sheets = drafts
            .into_iter()
            .map(|draft| self.sheet(draft, entropy))
            .collect::<Result<Vec<_>, _>>()?;
        let places = shuffled_places(sheets.len(), entropy);
        let tree = batch_tree(&sheets, &places, entropy)?;
        let statement = Arc::new(self.statement(&tree)?);
        let records = sheets.into_iter().zip(places).map(|(sheet, place)| {
            let path = tree
                .path(place)
                .iter()
                .flat_map(|digest| *digest.as_bytes())
                .collect::<Vec<u8>>();
            let (record, header) = sheet.into_wire(place, path);
            SealedRecord {
                record,
                statement: Arc::clone(&statement),
                header: Some(header),
            }
        });
        Ok(records.collect())
    }

    /// Makes all of a record except its place in the batch.
    fn sheet(&self, draft: Draft, entropy: &mut dyn Entropy) -> Result<Sheet, SealError> {
        draft.marking.check()?;
        check_sections(
            draft.kind,
            draft.sections.iter().map(|section| section.body.tag()),
        )?;
        let table = Table::new(&draft, entropy)?;
        let groups = table.groups(draft.groups.as_deref())?;
        let needs = draft.sections.iter().map(|section| section.body.needs());
        let header = Header {
            version: needs.max().unwrap_or(version::FIRST),
            federation: self.federation.clone(),
            kind: draft.kind,
            origin: self.origin.clone(),
            key_id: self.key.id(),
            sealed_at: self.now,
            exercise: draft.exercise,
            audience: draft.audience,
            marking: draft.marking,
            evaluation: draft.evaluation,
            groups,
            derived_from: draft.derived_from,
            supersedes: draft.supersedes,
            root: draft
                .root
                .unwrap_or_else(|| RootTag::from_bytes(random(entropy))),
            sections: table.entries,
        };
        let bytes = Bytes::from(wire::Header::from(&header).encode_to_vec());
        check_size(&bytes, &table.sections)?;
        let read = read_header(&bytes)?;
        if read != header {
            return Err(SealError::Lossy);
        }
        Ok(Sheet {
            header: bytes,
            read: Arc::new(read),
            sections: table.sections,
            blind: random(entropy),
        })
    }

    fn statement(&self, tree: &Tree) -> Result<SignedStatement, SealError> {
        let payload = wire::BatchStatement {
            federation: self.federation.to_string(),
            origin: self.origin.to_string(),
            key_id: Bytes::copy_from_slice(self.key.id().as_bytes()),
            sealed_at_ms: self.now.as_millis(),
            tree_size: u32::try_from(tree.size()).unwrap_or(u32::MAX),
            root: Bytes::copy_from_slice(tree.root().as_bytes()),
        };
        Ok(SignedStatement::sign::<Batch>(
            payload.encode_to_vec().into(),
            self.key,
        )?)
    }
}

/// A record without its place in a batch.
struct Sheet {
    header: Bytes,
    /// The header, as decoded from its bytes.
    read: Arc<Header>,
    sections: Vec<Section>,
    blind: [u8; 16],
}

impl Sheet {
    fn into_wire(self, leaf: usize, path: Vec<u8>) -> (wire::Record, Arc<Header>) {
        let record = wire::Record {
            header: self.header,
            sections: self.sections.iter().map(wire::Section::from).collect(),
            batch: 0,
            blind: Bytes::copy_from_slice(&self.blind),
            leaf: u32::try_from(leaf).unwrap_or(u32::MAX),
            path: path.into(),
        };
        (record, self.read)
    }
}

/// Refuses a record that fits no frame, before it is signed.
fn check_size(header: &Bytes, sections: &[Section]) -> Result<(), SealError> {
    let bodies = sections.iter().map(|section| section.body.len());
    let bytes = bodies.fold(header.len(), usize::saturating_add);
    if bytes > MAX_RECORD_BYTES {
        return Err(SealError::TooLarge(bytes));
    }
    Ok(())
}

fn random<const N: usize>(entropy: &mut dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}

/// Section table of a draft under construction. Sections and decoys stand in the order of their
/// tags, so that their places do not tell one from the other.
struct Table {
    sections: Vec<Section>,
    entries: Vec<SectionEntry>,
    /// Pairs of a position in the draft's sections and the index it was given.
    indexes: Vec<(usize, u8)>,
}

impl Table {
    fn new(draft: &Draft, entropy: &mut dyn Entropy) -> Result<Self, SealError> {
        let mut table = Self {
            sections: Vec::with_capacity(draft.sections.len()),
            entries: Vec::with_capacity(draft.sections.len()),
            indexes: Vec::with_capacity(draft.sections.len()),
        };
        for (index, (tag, position)) in (0..MAX_SECTIONS).zip(places(draft)?) {
            match position.and_then(|at| draft.sections.get(at).map(|section| (at, section))) {
                Some((at, section)) => {
                    table.indexes.push((at, index));
                    table.add(index, section, draft, entropy)?;
                }
                None => table.entries.push(decoy(index, tag, entropy)),
            }
        }
        Ok(table)
    }

    fn add(
        &mut self,
        index: u8,
        section: &DraftSection,
        draft: &Draft,
        entropy: &mut dyn Entropy,
    ) -> Result<(), SealError> {
        section.body.check_kind(draft.kind)?;
        let tag = section.body.tag();
        let stricter = section.stricter.clone();
        if stricter
            .as_ref()
            .is_some_and(|stricter| stricter.is_looser_than(&draft.marking))
        {
            return Err(SealError::LooserSection(tag));
        }
        let sealed = Section {
            index,
            salt: random(entropy),
            body: section.body.encode()?,
        };
        self.entries.push(SectionEntry {
            index,
            tag,
            digest: sealed.digest(tag),
            stricter,
            least_count: section.body.least_count(),
        });
        self.sections.push(sealed);
        Ok(())
    }

    /// Returns the groups asked for, or subject with assessment by default. No group holds a decoy:
    /// a decoy can never be opened, nor could its group.
    fn groups(&self, asked: Option<&[Form]>) -> Result<Vec<Form>, SealError> {
        match asked {
            Some(groups) => groups.iter().map(|group| self.group(*group)).collect(),
            None => Ok(default_groups(&self.entries)),
        }
    }

    /// Translates a group from positions in the draft to section indexes.
    fn group(&self, asked: Form) -> Result<Form, SealError> {
        let index_of = |position: u8| {
            self.indexes
                .iter()
                .find(|(at, _)| *at == usize::from(position))
                .map(|(_, index)| *index)
        };
        asked
            .iter()
            .map(|position| index_of(position).ok_or(SealError::Group))
            .collect()
    }
}

/// Lists the rows of the table by tag: each is a section, given by its position in the draft, or a
/// decoy.
fn places(draft: &Draft) -> Result<Vec<(SectionTag, Option<usize>)>, SealError> {
    let has_decoy = |tag| matches!(tag, SectionTag::Source | SectionTag::Persons);
    if let Some(tag) = draft.decoys.iter().find(|tag| !has_decoy(**tag)) {
        return Err(SealError::Decoy(*tag));
    }
    let sections = draft.sections.iter().map(|section| section.body.tag());
    let absent = |tag: &SectionTag| sections.clone().all(|there| there != *tag);
    let decoys = draft.decoys.iter().copied().filter(absent);
    let mut places: Vec<_> = sections
        .clone()
        .enumerate()
        .map(|(position, tag)| (tag, Some(position)))
        .chain(decoys.map(|tag| (tag, None)))
        .collect();
    places.sort_by_key(|(tag, _)| tag.number());
    Ok(places)
}

/// Makes a decoy: 32 random bytes in place of a digest, which look the same and belong to no
/// section.
fn decoy(index: u8, tag: SectionTag, entropy: &mut dyn Entropy) -> SectionEntry {
    SectionEntry {
        index,
        tag,
        digest: Digest::from_bytes(random(entropy)),
        stricter: None,
        least_count: None,
    }
}

fn default_groups(entries: &[SectionEntry]) -> Vec<Form> {
    let group: Form = entries
        .iter()
        .filter(|entry| matches!(entry.tag, SectionTag::Subject | SectionTag::Assessment))
        .map(|entry| entry.index)
        .collect();
    if group.len() > 1 {
        vec![group]
    } else {
        Vec::new()
    }
}

/// Returns the place of each record's leaf: a random permutation of the tree's places, cut to
/// `count`.
fn shuffled_places(count: usize, entropy: &mut dyn Entropy) -> Vec<usize> {
    let mut places: Vec<usize> = (0..count.next_power_of_two()).collect();
    for last in (1..places.len()).rev() {
        // 64 random bits over at most 1,024 places: the bias is below 2^-53.
        let draw = u64::from_be_bytes(random(entropy)) % (last as u64 + 1);
        places.swap(last, usize::try_from(draw).unwrap_or(0));
    }
    places.truncate(count);
    places
}

/// Builds the tree with each record at its place and random leaves elsewhere, so that neither the
/// neighbours nor their number show.
fn batch_tree(
    sheets: &[Sheet],
    places: &[usize],
    entropy: &mut dyn Entropy,
) -> Result<Tree, SealError> {
    let mut leaves: Vec<Digest> = (0..sheets.len().next_power_of_two())
        .map(|_| Digest::from_bytes(random(entropy)))
        .collect();
    for (sheet, place) in sheets.iter().zip(places) {
        if let Some(leaf) = leaves.get_mut(*place) {
            *leaf = batch_leaf(&sheet.blind, RecordId::of_header(&sheet.header));
        }
    }
    Tree::new(leaves).map_err(|error| SealError::BatchSize(error.0))
}

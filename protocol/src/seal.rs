//! Sealing: drafts become signed records.
//!
//! Each section gets a fresh salt, the header its section table, the batch a tree over blinded
//! and shuffled leaves, and the originator signs one statement over the tree's root. What comes
//! out is a [`SealedRecord`]: the originator verifies it like any other before storing it.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use prost::Message as _;

use crate::{
    body::{Body, BodyError},
    digest::Digest,
    evaluation::Evaluation,
    identifiers::{AuthorityId, FederationId, UnLocode},
    keys::{KeyUse, SigningKey},
    marking::{Marking, MarkingError, SectionMarking},
    merkle::{MAX_LEAVES, Tree},
    record::{
        Form, Header, Kind, MAX_SECTIONS, RecordId, RootTag, Section, SectionEntry, SectionTag,
    },
    statement::{SignatureError, SignedStatement, StatementType},
    time::Timestamp,
    verify::{Refusal, read_header},
    wire,
};

/// Where random bytes come from; the caller brings it. Salts, blinds and root tags must not be
/// guessable: outside of tests it is the operating system's generator.
pub trait Entropy {
    /// Fills `out` with random bytes.
    fn fill(&mut self, out: &mut [u8]);
}

/// The statement an originator signs over a batch.
pub enum Batch {}

impl StatementType for Batch {
    const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.batch.v1";
    const KEY_USE: KeyUse = KeyUse::Sealing;
}

/// The version of the header format.
pub(crate) const HEADER_VERSION: u32 = 1;

/// The most bytes of a record's header and bodies together: it fits into a frame by itself.
pub const MAX_RECORD_BYTES: usize = 7 << 20;

/// A record before it is sealed.
#[derive(Debug, Clone)]
pub struct Draft {
    /// What kind of thing it says.
    pub kind: Kind,
    /// Whether it belongs to an exercise.
    pub exercise: bool,
    /// The ports it concerns; empty: all.
    pub audience: BTreeSet<UnLocode>,
    /// What may be done with it.
    pub marking: Marking,
    /// How far its source and content are trusted.
    pub evaluation: Evaluation,
    /// The records it was made from.
    pub derived_from: Vec<RecordId>,
    /// The record it replaces.
    pub supersedes: Option<RecordId>,
    /// The root of what it copies; `None`: something new.
    pub root: Option<RootTag>,
    /// Its sections. The table lists them by tag, those of one tag in this order.
    pub sections: Vec<DraftSection>,
    /// Sections that travel together, by their positions in `sections`; `None`: subject with
    /// assessment.
    pub groups: Option<Vec<Form>>,
    /// Tags for which a digest of nothing stands in the table, so that their absence does not show:
    /// `source` and `persons`. A decoy has no marking of its own: where these sections are marked
    /// stricter than their record, their presence shows.
    pub decoys: BTreeSet<SectionTag>,
}

impl Draft {
    /// A draft with these sections and nothing else said.
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
    /// What it holds.
    pub body: Body,
    /// A marking stricter than the record's.
    pub stricter: Option<SectionMarking>,
}

/// Why drafts cannot be sealed. All of them are the caller's to mend.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// A batch of none or of too many.
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
    /// A decoy for a section whose absence is no secret.
    #[error("section `{0}` has no decoy; only `source` and `persons` have")]
    Decoy(SectionTag),
    /// A group names a section that is not there.
    #[error("a group of sections names one that the record does not have")]
    Group,
    /// The record is too large for a frame.
    #[error("the record has {0} bytes, {MAX_RECORD_BYTES} are allowed; split it")]
    TooLarge(usize),
    /// Every receiver would refuse the header.
    #[error("every receiver would refuse it: {0}")]
    Refused(#[from] Refusal),
    /// The header holds something that the wire cannot say, such as an empty H3 text.
    #[error("the header holds a value that would be lost; leave out empty texts and zero times")]
    Lossy,
    /// The key does not seal.
    #[error(transparent)]
    Key(#[from] SignatureError),
}

/// Why a set of sections does not fit the kind of record.
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
    /// A section stands twice, or there are too many.
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

/// The sections a kind needs, and those it may have.
const fn sections_of(kind: Kind) -> (&'static [SectionTag], &'static [SectionTag]) {
    use SectionTag::{Assessment, Attachments, Cells, Narrative, Persons, Source, Subject};
    const ORDINARY: &[SectionTag] = &[Subject, Assessment, Narrative, Source, Persons, Attachments];
    match kind {
        Kind::Indicator | Kind::Alert | Kind::Outcome => (&[Subject, Assessment], ORDINARY),
        Kind::Advisory => (&[Assessment], ORDINARY),
        Kind::RiskProfile => (&[Cells], &[Cells]),
    }
}

/// A record in some form as it travels and is kept: nothing about it has been checked.
#[derive(Debug, Clone)]
pub struct SealedRecord {
    pub(crate) record: wire::Record,
    pub(crate) statement: Arc<SignedStatement>,
    /// What the header's bytes say, if they were read already: when they were sealed here.
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
    /// Puts a record together with the batch statement that it is said to belong to. The
    /// record's `batch` field says which of a frame's statements that is and is ignored here.
    #[must_use]
    pub const fn new(record: wire::Record, statement: Arc<SignedStatement>) -> Self {
        Self {
            record,
            statement,
            header: None,
        }
    }

    /// The id that the header has, whether or not anything else about it is right.
    #[must_use]
    pub fn id(&self) -> RecordId {
        RecordId::of_header(&self.record.header)
    }

    /// The sections that it brings, by what they call themselves.
    #[must_use]
    pub fn claimed_form(&self) -> Form {
        self.record
            .sections
            .iter()
            .filter_map(|section| u8::try_from(section.index).ok())
            .collect()
    }

    /// The record on the wire.
    #[must_use]
    pub const fn wire(&self) -> &wire::Record {
        &self.record
    }

    /// The statement it came with.
    #[must_use]
    pub const fn statement(&self) -> &Arc<SignedStatement> {
        &self.statement
    }
}

/// Who seals, and when.
#[derive(Debug, Clone, Copy)]
pub struct Sealer<'a> {
    /// The federation the records are made for.
    pub federation: &'a FederationId,
    /// The authority that makes them.
    pub origin: &'a AuthorityId,
    /// Its sealing key.
    pub key: &'a SigningKey,
    /// The time they bear.
    pub now: Timestamp,
}

impl Sealer<'_> {
    /// Seals up to [`MAX_LEAVES`] drafts in one batch; the results are in the drafts' order.
    ///
    /// # Errors
    ///
    /// [`SealError`] says which rule the drafts break; nothing is sealed then.
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

    /// Everything of a record but its place in the batch.
    fn sheet(&self, draft: Draft, entropy: &mut dyn Entropy) -> Result<Sheet, SealError> {
        draft.marking.check()?;
        check_sections(
            draft.kind,
            draft.sections.iter().map(|section| section.body.tag()),
        )?;
        let table = Table::new(&draft, entropy)?;
        let groups = table.groups(draft.groups.as_deref())?;
        let header = Header {
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
    /// What the header says, as it was read back.
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

/// A record that fits no frame is not signed.
fn check_size(header: &Bytes, sections: &[Section]) -> Result<(), SealError> {
    let bodies = sections.iter().map(|section| section.body.len());
    let bytes = bodies.fold(header.len(), usize::saturating_add);
    if bytes > MAX_RECORD_BYTES {
        return Err(SealError::TooLarge(bytes));
    }
    Ok(())
}

/// The leaf of a record in its batch's tree.
pub(crate) fn batch_leaf(blind: &[u8; 16], id: RecordId) -> Digest {
    Digest::labelled("portcullis batch leaf v1", &[blind, id.as_bytes()])
}

fn random<const N: usize>(entropy: &mut dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}

/// A draft's section table in the making: sections and decoys in the order of their tags, so that
/// their place does not tell one from the other.
struct Table {
    sections: Vec<Section>,
    entries: Vec<SectionEntry>,
    /// The index that each of the draft's sections was given.
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

    /// The groups asked for, or subject with assessment. A decoy is in none: it can never be
    /// opened, and its group with it.
    fn groups(&self, asked: Option<&[Form]>) -> Result<Vec<Form>, SealError> {
        match asked {
            Some(groups) => groups.iter().map(|group| self.group(*group)).collect(),
            None => Ok(default_groups(&self.entries)),
        }
    }

    /// A group of the draft's sections by the indexes that they were given.
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

/// What the table lists, by tag: a section by its position in the draft, or a decoy.
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

/// A decoy is a digest that no section has: 32 random bytes look the same.
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

/// Where each record's leaf stands: a random permutation of the tree's places, cut to `count`.
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

/// The tree with each record at its place and random leaves in between, so that neither the
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

//! Records as JSON, version 1: a line of a list, and a record with everything known about it.

use portcullis_protocol::{
    body::{Body, Cells},
    record::{Form, Header, SectionEntry},
    verify::VerifiedRecord,
};
use serde::{Deserialize, Serialize};

use super::{
    draft::{AssessmentView, PersonView, SubjectView},
    marking::{EvaluationView, MarkingView},
};

/// A record that is set apart because its key is compromised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetApartView {
    /// Its id.
    pub record: String,
    /// Who delivered it; nothing if it was made here.
    pub from: Option<String>,
    /// When it was first seen here.
    pub first_seen: String,
    /// The rule that sets it apart.
    pub rule: String,
    /// Which key, whose, and since when.
    pub why: String,
}

/// Which records to list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterView {
    /// Only this kind.
    pub kind: Option<String>,
    /// Only this origin.
    pub origin: Option<String>,
    /// Only records about this identifier.
    pub about: Option<String>,
    /// At most so many, the newest first.
    pub limit: u32,
}

/// A line of the list of records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordLine {
    /// The record's id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// Its origin.
    pub origin: String,
    /// When it was sealed.
    pub sealed_at: String,
    /// When it was committed here.
    pub received_at: String,
    /// The node that delivered it; absent: it was made here.
    pub from: Option<String>,
    /// Its TLP label.
    pub tlp: String,
    /// Its handling codes, `-` for none.
    pub handling: String,
    /// Its 4x4 evaluation.
    pub evaluation: String,
    /// Whether it belongs to an exercise.
    pub exercise: bool,
    /// How many sections are held, of how many.
    pub open: u32,
    /// How many sections it has.
    pub sections: u32,
    /// What it is about, in a line; absent if the subject is withheld.
    pub about: Option<String>,
}

/// A record with everything known about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordView {
    /// The record's id.
    pub id: String,
    /// What its originator signed.
    pub header: HeaderView,
    /// Its sections, open and withheld.
    pub sections: Vec<SectionView>,
    /// The node that delivered it first; absent: it was made here.
    pub from: Option<String>,
    /// When it was committed here.
    pub received_at: String,
    /// From the record's id to the register's signatures, each step checked.
    pub chain: ChainView,
    /// To whom it was disclosed or denied.
    pub disclosures: Vec<DisclosureView>,
    /// Who delivered it and what was answered.
    pub arrivals: Vec<ArrivalView>,
}

/// A header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderView {
    /// The federation in which it counts.
    pub federation: String,
    /// Its kind.
    pub kind: String,
    /// Its origin.
    pub origin: String,
    /// When it was sealed, by the originator's clock.
    pub sealed_at: String,
    /// Whether it belongs to an exercise.
    pub exercise: bool,
    /// The ports it concerns; empty: all.
    pub audience: Vec<String>,
    /// What may be done with it.
    pub marking: MarkingView,
    /// How far it is trusted.
    pub evaluation: EvaluationView,
    /// Groups of sections, by index, that travel together.
    pub groups: Vec<Vec<u8>>,
    /// The records it was made from.
    pub derived_from: Vec<String>,
    /// The record it replaces.
    pub supersedes: Option<String>,
    /// What copies of it share.
    pub root: String,
}

impl From<&Header> for HeaderView {
    fn from(header: &Header) -> Self {
        let Header {
            federation,
            kind,
            origin,
            key_id: _,
            sealed_at,
            exercise,
            audience,
            marking,
            evaluation,
            groups,
            derived_from,
            supersedes,
            root,
            sections: _,
        } = header;
        Self {
            federation: federation.to_string(),
            kind: kind.to_string(),
            origin: origin.to_string(),
            sealed_at: sealed_at.to_string(),
            exercise: *exercise,
            audience: audience.iter().map(ToString::to_string).collect(),
            marking: marking.into(),
            evaluation: evaluation.into(),
            groups: groups.iter().map(|form| form.iter().collect()).collect(),
            derived_from: derived_from.iter().map(ToString::to_string).collect(),
            supersedes: supersedes.map(|id| id.to_string()),
            root: data_encoding::HEXLOWER.encode(root.as_bytes()),
        }
    }
}

/// A section of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SectionView {
    /// Its number.
    pub index: u8,
    /// What it holds.
    pub holds: String,
    /// Its salted digest.
    pub digest: String,
    /// Its TLP label, where it is stricter than the record's.
    pub tlp: Option<String>,
    /// Cells only: the smallest count of controls of any cell.
    pub least_count: Option<u32>,
    /// What it says; absent: it is withheld from this node.
    pub content: Option<ContentView>,
}

/// What an open section says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContentView {
    /// What the record is about.
    Subject(SubjectView),
    /// The threat and its assessment.
    Assessment(AssessmentView),
    /// The story.
    Narrative(String),
    /// Where it comes from.
    Source(String),
    /// Persons concerned.
    Persons(Vec<PersonView>),
    /// Files, without their bytes.
    Attachments(Vec<AttachmentView>),
    /// Counts, in sum.
    Cells(CellsView),
}

/// A file of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentView {
    /// Its name.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Its size.
    pub bytes: usize,
}

/// A part of a risk profile, in sum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellsView {
    /// The digest of the profile schema.
    pub schema: String,
    /// The period.
    pub period: String,
    /// Whose rows are counted.
    pub contributors: Vec<String>,
    /// Which part, from 1.
    pub part: u32,
    /// Of how many.
    pub parts: u32,
    /// Its cells.
    pub cells: usize,
    /// Their controls.
    pub controls: u64,
    /// Their findings.
    pub findings: u64,
}

/// The authorities whose counts the cells hold.
#[must_use]
pub fn contributors(cells: &Cells) -> Vec<String> {
    cells.contributors.iter().map(ToString::to_string).collect()
}

impl From<&Cells> for CellsView {
    fn from(cells: &Cells) -> Self {
        Self {
            schema: cells.schema.to_string(),
            period: cells.period.clone(),
            contributors: contributors(cells),
            part: cells.part,
            parts: cells.parts,
            cells: cells.cells.len(),
            controls: cells
                .cells
                .iter()
                .map(|cell| u64::from(cell.controls))
                .sum(),
            findings: cells
                .cells
                .iter()
                .map(|cell| u64::from(cell.findings))
                .sum(),
        }
    }
}

impl From<&Body> for ContentView {
    fn from(body: &Body) -> Self {
        match body {
            Body::Subject(subject) => Self::Subject(subject.into()),
            Body::Assessment(assessment) => Self::Assessment(assessment.into()),
            Body::Narrative(text) => Self::Narrative(text.clone()),
            Body::Source(text) => Self::Source(text.clone()),
            Body::Persons(persons) => Self::Persons(persons.iter().map(PersonView::from).collect()),
            Body::Attachments(files) => Self::Attachments(
                files
                    .iter()
                    .map(|file| AttachmentView {
                        name: file.name.clone(),
                        media_type: file.media_type.clone(),
                        bytes: file.content.len(),
                    })
                    .collect(),
            ),
            Body::Cells(cells) => Self::Cells(cells.into()),
        }
    }
}

/// The sections of a record: those in `shown` with what they say.
#[must_use]
pub fn sections(record: &VerifiedRecord, shown: Form) -> Vec<SectionView> {
    let content = |entry: &SectionEntry| {
        record
            .sections()
            .iter()
            .find(|open| open.section.index == entry.index && shown.contains(entry.index))
            .map(|open| ContentView::from(&open.body))
    };
    let table = record.header().sections.iter();
    table
        .map(|entry| SectionView {
            index: entry.index,
            holds: entry.tag.to_string(),
            digest: entry.digest.to_string(),
            tlp: entry
                .stricter
                .as_ref()
                .and_then(|stricter| stricter.tlp)
                .map(|tlp| tlp.to_string()),
            least_count: entry.least_count,
            content: content(entry),
        })
        .collect()
}

/// How a record is vouched for, step by step. It is only made of a record that was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainView {
    /// Its place in the originator's batch.
    pub leaf: u64,
    /// The steps from the leaf to the batch's root.
    pub path_length: usize,
    /// The sealing key that signed the batch.
    pub sealing_key: String,
    /// Whose key it is.
    pub origin: String,
    /// How the key stands: `in force`, or `ended since` a time.
    pub standing: String,
    /// The epoch of the register that lists the key.
    pub register_epoch: u64,
    /// That epoch's digest.
    pub register_digest: String,
    /// How many governance signatures that epoch bears.
    pub governance_signatures: usize,
    /// How many it needs.
    pub governance_threshold: u32,
}

/// A row of the disclosure ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisclosureView {
    /// The peer.
    pub peer: String,
    /// `intended`, `denied`, or the peer's answer.
    pub state: String,
    /// The reason the peer gave.
    pub reason: Option<String>,
    /// The indexes of the sections that were released.
    pub opened: Vec<u8>,
    /// How many sections were withheld.
    pub withheld: u32,
    /// The policies that decided.
    pub policies: Vec<String>,
    /// When it was decided.
    pub decided_at: String,
    /// When it was answered.
    pub answered_at: Option<String>,
}

/// A delivery that arrived, and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArrivalView {
    /// Who delivered it.
    pub peer: String,
    /// What was answered.
    pub answer: String,
    /// The rule that refused or held it.
    pub reason: Option<String>,
    /// The indexes of the sections that were delivered.
    pub opened: Vec<u8>,
    /// The policies that decided.
    pub policies: Vec<String>,
    /// When.
    pub at: String,
}

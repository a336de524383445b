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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct SetApartView {
    /// Its id.
    pub record: String,
    /// Node that delivered it; absent: it was made here.
    pub from: Option<String>,
    /// Time at which it was first seen here.
    pub first_seen: String,
    /// Id of the rule that sets it apart.
    pub rule: String,
    /// Text that names the key, its owner, and the time since which it is compromised.
    pub why: String,
}

/// Filter for the list of records. A field that is absent lets every record through.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterView {
    /// Only records of this kind.
    pub kind: Option<String>,
    /// Only records of this origin.
    pub origin: Option<String>,
    /// Only records about this identifier.
    pub about: Option<String>,
    /// Kind of the identifier; it is then taken as written, even if its check digit is wrong. Absent:
    /// every kind that it can be.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub taken_as: Option<String>,
    /// Only records that came here at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Only records that came here before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Only records with this threat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threat: Option<String>,
    /// Only records with this TLP label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tlp: Option<String>,
    /// Only records that say this, in any case of letters; needs `since` and `purpose`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Purpose of the search. Records that may not be used for it are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Largest number of records to list, 1 or more; the newest come first.
    pub limit: u32,
}

/// The records found, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct RecordsView {
    /// Their lines, as many as were asked for.
    pub items: Vec<RecordLine>,
    /// Number of records that fit.
    #[serde(default)]
    pub total: u64,
    /// True if there are more than `total`: they were not counted to the end.
    #[serde(default)]
    pub at_least: bool,
    /// True if records that fit are not among `items`.
    #[serde(default)]
    pub more: bool,
    /// Identifiers that the text of `about` can be, as `container CSQU3054383`.
    #[serde(default)]
    pub read_as: Vec<String>,
}

/// A line of the list of records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct RecordLine {
    /// The record's id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// Its origin.
    pub origin: String,
    /// Time at which it was sealed.
    pub sealed_at: String,
    /// Time at which it was committed here.
    pub received_at: String,
    /// The node that delivered it; absent: it was made here.
    pub from: Option<String>,
    /// Its TLP label.
    pub tlp: String,
    /// Its handling codes, `-` for none.
    pub handling: String,
    /// Its 4x4 evaluation.
    pub evaluation: String,
    /// True if it belongs to an exercise.
    pub exercise: bool,
    /// Number of sections held.
    pub open: u32,
    /// Number of sections of the record.
    pub sections: u32,
    /// Subject in one line; absent if no section that may be shown tells it.
    pub about: Option<String>,
    /// Title of the subject; absent if it has none or may not be shown.
    #[serde(default)]
    pub title: Option<String>,
    /// The threat; absent if it may not be shown.
    #[serde(default)]
    pub threat: Option<String>,
}

/// A record with everything known about it.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct RecordView {
    /// The record's id.
    pub id: String,
    /// Header, as its originator signed it.
    pub header: HeaderView,
    /// Its sections, open and withheld.
    pub sections: Vec<SectionView>,
    /// The node that delivered it first; absent: it was made here.
    pub from: Option<String>,
    /// Time at which it was committed here.
    pub received_at: String,
    /// Chain from the record's id to the register's signatures, each step of it checked.
    pub chain: ChainView,
    /// Decisions to disclose it to peers or to deny it.
    pub disclosures: Vec<DisclosureView>,
    /// Deliveries of it to this node, with the answers.
    pub arrivals: Vec<ArrivalView>,
}

/// A header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct HeaderView {
    /// The federation in which it counts.
    pub federation: String,
    /// Its kind.
    pub kind: String,
    /// Its origin.
    pub origin: String,
    /// Time at which it was sealed, by the originator's clock.
    pub sealed_at: String,
    /// True if it belongs to an exercise.
    pub exercise: bool,
    /// The ports it concerns; empty: all.
    pub audience: Vec<String>,
    /// Marking of the record.
    pub marking: MarkingView,
    /// Evaluation of source and content.
    pub evaluation: EvaluationView,
    /// Groups of sections, by index, that travel together.
    pub groups: Vec<Vec<u8>>,
    /// The records it was made from.
    pub derived_from: Vec<String>,
    /// The record it replaces.
    pub supersedes: Option<String>,
    /// Tag that copies of the record share, hexadecimal.
    pub root: String,
}

impl From<&Header> for HeaderView {
    fn from(header: &Header) -> Self {
        let Header {
            version: _, // it says who can take the record, not what it says
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
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct SectionView {
    /// Index of the section.
    pub index: u8,
    /// Tag that names its kind of content.
    pub holds: String,
    /// Its salted digest.
    pub digest: String,
    /// Its TLP label, where it is stricter than the record's.
    pub tlp: Option<String>,
    /// Cells only: the smallest count of controls of any cell.
    pub least_count: Option<u32>,
    /// Content; absent if it is withheld from this node or may not be shown.
    pub content: Option<ContentView>,
}

/// Content of an open section.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContentView {
    /// Subject of the record.
    Subject(SubjectView),
    /// The threat and its assessment.
    Assessment(AssessmentView),
    /// Narrative, as free text.
    Narrative(String),
    /// Source of the information.
    Source(String),
    /// Persons concerned.
    Persons(Vec<PersonView>),
    /// Files, without their bytes.
    Attachments(Vec<AttachmentView>),
    /// Totals of counts.
    Cells(CellsView),
}

/// A file of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct AttachmentView {
    /// Its name.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Size in bytes.
    pub bytes: usize,
}

/// Totals of one part of a risk profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct CellsView {
    /// The digest of the profile schema.
    pub schema: String,
    /// The period.
    pub period: String,
    /// Authorities whose rows are counted.
    pub contributors: Vec<String>,
    /// Number of this part, from 1.
    pub part: u32,
    /// Number of parts.
    pub parts: u32,
    /// Number of cells.
    pub cells: usize,
    /// Sum of the controls in its cells.
    pub controls: u64,
    /// Sum of the findings in its cells.
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

/// Returns the sections of a record; those in `shown` have their content.
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

/// Steps by which a record is vouched for. A chain is made only of a record that was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct ChainView {
    /// Index of the record in the originator's batch.
    pub leaf: u64,
    /// Number of steps from the leaf to the batch's root.
    pub path_length: usize,
    /// The sealing key that signed the batch.
    pub sealing_key: String,
    /// Authority that owns the key.
    pub origin: String,
    /// Standing of the key: `in force`, `retired since` or `compromised since` a time, or `not
    /// listed any more`.
    pub standing: String,
    /// The epoch of the register that lists the key.
    pub register_epoch: u64,
    /// Digest of that epoch.
    pub register_digest: String,
    /// Number of governance signatures that this epoch bears.
    pub governance_signatures: usize,
    /// Number of governance signatures that it needs.
    pub governance_threshold: u32,
}

/// A row of the disclosure ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct DisclosureView {
    /// The peer.
    pub peer: String,
    /// `intended`, `denied`, or the peer's answer.
    pub state: String,
    /// The reason the peer gave.
    pub reason: Option<String>,
    /// The indexes of the sections that were released.
    pub opened: Vec<u8>,
    /// Number of sections withheld.
    pub withheld: u32,
    /// The policies that decided.
    pub policies: Vec<String>,
    /// Time of the decision.
    pub decided_at: String,
    /// Time of the answer.
    pub answered_at: Option<String>,
}

/// A delivery that arrived, and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct ArrivalView {
    /// Node that delivered it.
    pub peer: String,
    /// Answer of this node.
    pub answer: String,
    /// The rule that refused or held it.
    pub reason: Option<String>,
    /// The indexes of the sections that were delivered.
    pub opened: Vec<u8>,
    /// The policies that decided.
    pub policies: Vec<String>,
    /// Time of arrival.
    pub at: String,
}

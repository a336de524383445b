//! Held records in the terms of scoring: counts from profiles, and evidence on identifiers.
//!
//! The facts about an origin (its group, and whether it is a hub) come from the register in force
//! and from nowhere else. Only verified records are accepted here.

use portcullis_protocol::{
    body::{Body, Finding},
    identifiers::AuthorityId,
    record::{Kind, SectionTag},
    register::{AuthorityKind, Register},
    verify::VerifiedRecord,
};
use portcullis_scoring::{
    evidence::{Origin, OriginRole, SelectorEvidence},
    received::{CellsPart, Edition, ProfileRecord, ReceivedError, Speaker},
    schema::Schema,
};

/// Returns the counts of a profile record, from sections whose smallest count is at least `least`.
///
/// # Errors
///
/// [`ReceivedError`] if a section cannot be taken for counts; then nothing of the record is taken.
pub fn cells(
    schema: &Schema,
    register: &Register,
    record: &VerifiedRecord,
    least: u32,
) -> Result<Vec<CellsPart>, ReceivedError> {
    let header = record.header();
    let speaker = match role(register, &header.origin) {
        OriginRole::Member => Speaker::Authority(&header.origin),
        OriginRole::Hub => Speaker::Hub(&header.origin),
    };
    let edition = Edition {
        sealed_at: header.sealed_at,
        root: header.root,
    };
    let said_by = ProfileRecord {
        record: record.id(),
        marking: header.marking_of(record.form()),
        evaluation: header.evaluation,
    };
    record
        .sections()
        .iter()
        .filter(|open| open.body.least_count().is_some_and(|count| count >= least))
        .filter_map(|open| match &open.body {
            Body::Cells(cells) => Some(cells.clone()),
            Body::Subject(_)
            | Body::Assessment(_)
            | Body::Narrative(_)
            | Body::Source(_)
            | Body::Persons(_)
            | Body::Attachments(_) => None,
        })
        .map(|cells| CellsPart::read(schema, speaker, edition, said_by.clone(), cells))
        .collect()
}

/// Returns the evidence of a record on each identifier that it names; empty if it names none.
#[must_use]
pub fn on_selectors(register: &Register, record: &VerifiedRecord) -> Vec<SelectorEvidence> {
    let header = record.header();
    let Some(Body::Subject(subject)) = record.body(SectionTag::Subject) else {
        return Vec::new();
    };
    let outcome = match header.kind {
        Kind::Indicator | Kind::Alert => None,
        Kind::Outcome => match finding(record) {
            Some(finding) => Some(finding),
            None => return Vec::new(),
        },
        Kind::Advisory | Kind::RiskProfile => return Vec::new(),
    };
    let origin = origin(register, &header.origin);
    let selectors = subject.selectors.iter();
    selectors
        .map(|selector| SelectorEvidence {
            record: record.id(),
            root: header.root,
            origin: origin.clone(),
            selector: selector.clone(),
            evaluation: header.evaluation,
            marking: header.marking_of(record.form()),
            seen_at: header.sealed_at,
            outcome,
        })
        .collect()
}

/// Returns the finding of the control behind an outcome; `None` if the record has none.
#[must_use]
pub fn finding(record: &VerifiedRecord) -> Option<Finding> {
    match record.body(SectionTag::Assessment) {
        Some(Body::Assessment(assessment)) => assessment.finding,
        Some(
            Body::Subject(_)
            | Body::Narrative(_)
            | Body::Source(_)
            | Body::Persons(_)
            | Body::Attachments(_)
            | Body::Cells(_),
        )
        | None => None,
    }
}

/// Returns the origin of a record with its group and role. An authority that has left the register
/// is its own group.
fn origin(register: &Register, authority: &AuthorityId) -> Origin {
    let group = register
        .authorities
        .get(authority)
        .map_or_else(|| authority.to_string(), |member| member.group.clone());
    Origin {
        authority: authority.clone(),
        group,
        role: role(register, authority),
    }
}

fn role(register: &Register, authority: &AuthorityId) -> OriginRole {
    let kind = register
        .authorities
        .get(authority)
        .map(|member| member.kind);
    match kind {
        Some(AuthorityKind::Hub) => OriginRole::Hub,
        Some(
            AuthorityKind::Customs
            | AuthorityKind::Police
            | AuthorityKind::PortAuthority
            | AuthorityKind::PrivateOperator,
        )
        | None => OriginRole::Member,
    }
}

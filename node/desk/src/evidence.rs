//! Held records in the terms of scoring: counts from profiles, and evidence on identifiers.
//!
//! The facts about an origin (its group and its role) come from the register in force and from
//! nowhere else. Only verified records are accepted here.

use portcullis_protocol::{
    body::{Body, Cells, Finding, Selector},
    identifiers::AuthorityId,
    record::{Kind, SectionTag},
    register::{AuthorityKind, Register},
    verify::Excerpt,
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
    members: Members<'_>,
    record: &Excerpt,
    least: u32,
) -> Result<Vec<CellsPart>, ReceivedError> {
    let header = record.header();
    let speaker = if members.role(&header.origin) == OriginRole::Hub {
        Speaker::Hub(&header.origin)
    } else {
        Speaker::Authority(&header.origin)
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
        .map(|cells| {
            members.check_contributors(&cells)?;
            CellsPart::read(schema, speaker, edition, said_by.clone(), cells)
        })
        .collect()
}

/// Returns the evidence of a record on each identifier that it names; empty if it names none.
#[must_use]
pub fn on_selectors(members: Members<'_>, record: &Excerpt) -> Vec<SelectorEvidence> {
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
    let origin = members.origin(&header.origin);
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
pub fn finding(record: &Excerpt) -> Option<Finding> {
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

/// Returns whether two records name the same goods at the same time: a selector of one is one of the
/// other, and their windows overlap.
#[must_use]
pub fn share_goods(one: &Excerpt, other: &Excerpt) -> bool {
    let others = selectors(other);
    selectors(one).iter().any(|selector| {
        others.iter().any(|other| {
            (selector.kind(), selector.value()) == (other.kind(), other.value())
                && overlap(selector, other)
        })
    })
}

fn selectors(record: &Excerpt) -> &[Selector] {
    match record.body(SectionTag::Subject) {
        Some(Body::Subject(subject)) => &subject.selectors,
        Some(
            Body::Assessment(_)
            | Body::Narrative(_)
            | Body::Source(_)
            | Body::Persons(_)
            | Body::Attachments(_)
            | Body::Cells(_),
        )
        | None => &[],
    }
}

fn overlap(one: &Selector, other: &Selector) -> bool {
    match (one.window(), other.window()) {
        (Some(one), Some(other)) => one.from <= other.until && other.from <= one.until,
        (None, _) | (_, None) => true,
    }
}

/// The members of the federation as this authority sees them.
#[derive(Debug, Clone, Copy)]
pub struct Members<'r> {
    /// The register in force.
    pub register: &'r Register,
    /// This authority.
    pub own: &'r AuthorityId,
}

impl Members<'_> {
    /// Returns the origin of a record with its group and role. An authority that has left the
    /// register is its own group.
    fn origin(self, authority: &AuthorityId) -> Origin {
        let group = self
            .register
            .authorities
            .get(authority)
            .map_or_else(|| authority.to_string(), |member| member.group.clone());
        Origin {
            authority: authority.clone(),
            group,
            role: self.role(authority),
        }
    }

    fn role(self, authority: &AuthorityId) -> OriginRole {
        if authority == self.own {
            return OriginRole::Own;
        }
        match self.register.authorities.get(authority) {
            None => OriginRole::Former,
            Some(member) => match member.kind {
                AuthorityKind::Customs => OriginRole::Customs,
                AuthorityKind::Police => OriginRole::Police,
                AuthorityKind::PortAuthority => OriginRole::PortAuthority,
                AuthorityKind::PrivateOperator => OriginRole::PrivateOperator,
                AuthorityKind::Hub => OriginRole::Hub,
            },
        }
    }

    /// Checks that every contributor is a member that makes controls.
    fn check_contributors(self, cells: &Cells) -> Result<(), ReceivedError> {
        let stranger = cells
            .contributors
            .iter()
            .find(|authority| !self.controls(authority));
        match stranger {
            Some(authority) => Err(ReceivedError::NoRight(authority.clone())),
            None => Ok(()),
        }
    }

    fn controls(self, authority: &AuthorityId) -> bool {
        self.register
            .authorities
            .get(authority)
            .is_some_and(|member| match member.kind {
                AuthorityKind::Customs | AuthorityKind::Police => true,
                AuthorityKind::PortAuthority
                | AuthorityKind::PrivateOperator
                | AuthorityKind::Hub => *authority == *self.own,
            })
    }
}

//! Conversion of headers: markings, evaluations, section tables.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{HeaderError, ascending, same_values};
use crate::{
    digest::Digest,
    evaluation::{Admiralty, Evaluation},
    identifiers::AuthorityId,
    keys::KeyId,
    marking::{
        DataSubject, HandlingCodes, Marking, Pap, Purpose, RequestedAction, SectionMarking, Tlp,
    },
    record::{Form, Header, Kind, MAX_SECTIONS, RecordId, RootTag, SectionEntry, SectionTag},
    time::Timestamp,
    wire,
};

same_values!(Tlp, Unspecified: Clear = Clear, Green = Green, Amber = Amber, AmberStrict = AmberStrict, Red = Red);
same_values!(Pap, Unspecified: Clear = Clear, Green = Green, Amber = Amber, Red = Red);
same_values!(Purpose, Unspecified: LawEnforcement = LawEnforcement, CustomsControl = CustomsControl,
    PortSecurity = PortSecurity, Statistics = Statistics);
same_values!(RequestedAction, Unspecified: Discreet = Discreet, Inquiry = Inquiry,
    SpecificCheck = SpecificCheck, DoNotApproach = DoNotApproach);
same_values!(SectionTag, Unspecified: Subject = Subject, Assessment = Assessment, Narrative = Narrative,
    Source = Source, Persons = Persons, Attachments = Attachments, Cells = Cells);

/// The most bytes that the text of H3 has.
const MAX_H3_BYTES: usize = 4096;

impl From<DataSubject> for wire::DataSubjectCategory {
    fn from(category: DataSubject) -> Self {
        match category {
            DataSubject::Suspect => Self::Suspect,
            DataSubject::Convicted => Self::Convicted,
            DataSubject::Victim => Self::Victim,
            DataSubject::Other => Self::Other,
        }
    }
}

impl DataSubject {
    pub(super) fn from_wire(number: i32) -> Option<Self> {
        match wire::DataSubjectCategory::try_from(number).ok()? {
            wire::DataSubjectCategory::Suspect => Some(Self::Suspect),
            wire::DataSubjectCategory::Convicted => Some(Self::Convicted),
            wire::DataSubjectCategory::Victim => Some(Self::Victim),
            wire::DataSubjectCategory::Other => Some(Self::Other),
            wire::DataSubjectCategory::Unspecified => None,
        }
    }
}

impl From<Kind> for wire::Kind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Indicator => Self::Indicator,
            Kind::Alert => Self::Alert,
            Kind::Advisory => Self::Advisory,
            Kind::Outcome => Self::Outcome,
            Kind::RiskProfile => Self::RiskProfile,
        }
    }
}

impl Kind {
    /// Returns the kind with the wire's number; `None` for reserved and unknown numbers.
    pub(crate) fn from_wire(number: i32) -> Option<Self> {
        match wire::Kind::try_from(number).ok()? {
            wire::Kind::Indicator => Some(Self::Indicator),
            wire::Kind::Alert => Some(Self::Alert),
            wire::Kind::Advisory => Some(Self::Advisory),
            wire::Kind::Outcome => Some(Self::Outcome),
            wire::Kind::RiskProfile => Some(Self::RiskProfile),
            wire::Kind::Unspecified
            | wire::Kind::Request
            | wire::Kind::Response
            | wire::Kind::Grant => None,
        }
    }
}

/// Reads an optional enum: zero stands for none, a number not in use is an error.
fn optional<T>(
    number: i32,
    field: &'static str,
    from_wire: impl Fn(i32) -> Option<T>,
) -> Result<Option<T>, HeaderError> {
    if number == 0 {
        return Ok(None);
    }
    from_wire(number).map(Some).ok_or(HeaderError::Field(field))
}

impl From<&Marking> for wire::Marking {
    fn from(marking: &Marking) -> Self {
        let release_to = marking.release_to.iter().flatten();
        Self {
            tlp: wire::Tlp::from(marking.tlp).into(),
            pap: wire::Pap::from(marking.pap).into(),
            h0: marking.handling.h0,
            h1: marking.handling.h1,
            h2: marking.handling.h2,
            h3: marking.handling.h3.clone().unwrap_or_default(),
            purposes: marking
                .purposes
                .iter()
                .map(|purpose| wire::Purpose::from(*purpose).into())
                .collect(),
            release_to: release_to.map(ToString::to_string).collect(),
            relay: marking.relay,
            originator_control: marking.originator_control,
            requested_action: marking
                .requested_action
                .map_or(0, |action| wire::RequestedAction::from(action).into()),
            review_at_ms: Timestamp::to_wire(marking.review_at),
            delete_at_ms: Timestamp::to_wire(marking.delete_at),
            data_subject: marking.data_subject.map_or(0, |category| {
                wire::DataSubjectCategory::from(category).into()
            }),
        }
    }
}

impl TryFrom<wire::Marking> for Marking {
    type Error = HeaderError;

    fn try_from(wire: wire::Marking) -> Result<Self, Self::Error> {
        let wire::Marking {
            tlp,
            pap,
            h0,
            h1,
            h2,
            h3,
            purposes,
            release_to,
            relay,
            originator_control,
            requested_action,
            review_at_ms,
            delete_at_ms,
            data_subject,
        } = wire;
        if h3.len() > MAX_H3_BYTES || h3.contains(char::is_control) {
            return Err(HeaderError::Field("h3"));
        }
        Ok(Self {
            tlp: Tlp::from_wire(tlp).ok_or(HeaderError::Field("tlp"))?,
            pap: Pap::from_wire(pap).ok_or(HeaderError::Field("pap"))?,
            handling: HandlingCodes {
                h0,
                h1,
                h2,
                h3: (!h3.is_empty()).then_some(h3),
            },
            purposes: ascending("purposes", purposes, Purpose::from_wire)?,
            release_to: release_list(release_to)?,
            relay,
            originator_control,
            requested_action: optional(
                requested_action,
                "requested_action",
                RequestedAction::from_wire,
            )?,
            review_at: optional_time(review_at_ms, "review_at")?,
            delete_at: optional_time(delete_at_ms, "delete_at")?,
            data_subject: optional(data_subject, "data_subject", DataSubject::from_wire)?,
        })
    }
}

fn release_list(names: Vec<String>) -> Result<Option<BTreeSet<AuthorityId>>, HeaderError> {
    let list = ascending("release_to", names, |name| name.parse().ok())?;
    Ok((!list.is_empty()).then_some(list))
}

impl From<&SectionMarking> for wire::SectionMarking {
    fn from(marking: &SectionMarking) -> Self {
        Self {
            tlp: marking.tlp.map_or(0, |tlp| wire::Tlp::from(tlp).into()),
            pap: marking.pap.map_or(0, |pap| wire::Pap::from(pap).into()),
            h1: marking.h1,
            h2: marking.h2,
        }
    }
}

impl TryFrom<wire::SectionMarking> for SectionMarking {
    type Error = HeaderError;

    fn try_from(wire: wire::SectionMarking) -> Result<Self, Self::Error> {
        let wire::SectionMarking { tlp, pap, h1, h2 } = wire;
        Ok(Self {
            tlp: optional(tlp, "stricter.tlp", Tlp::from_wire)?,
            pap: optional(pap, "stricter.pap", Pap::from_wire)?,
            h1,
            h2,
        })
    }
}

impl From<&Evaluation> for wire::Evaluation {
    fn from(evaluation: &Evaluation) -> Self {
        Self {
            source: evaluation.source.to_string(),
            information: evaluation.information.number(),
            admiralty: evaluation
                .admiralty
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
        }
    }
}

impl TryFrom<wire::Evaluation> for Evaluation {
    type Error = HeaderError;

    fn try_from(wire: wire::Evaluation) -> Result<Self, Self::Error> {
        let wire::Evaluation {
            source,
            information,
            admiralty,
        } = wire;
        let error = || HeaderError::Field("evaluation");
        let code = format!("{source}{information}");
        let evaluation: Self = code.parse().map_err(|_| error())?;
        let read = if admiralty.is_empty() {
            evaluation
        } else {
            Self::from(admiralty.parse::<Admiralty>().map_err(|_| error())?)
        };
        // The original code must map to the evaluation, and both texts must be canonical.
        let original = read.admiralty.map(|code| code.to_string());
        let same = read.source == evaluation.source
            && read.information == evaluation.information
            && read.source.to_string() == source
            && original.unwrap_or_default() == admiralty;
        same.then_some(read).ok_or_else(error)
    }
}

impl From<&SectionEntry> for wire::SectionEntry {
    fn from(entry: &SectionEntry) -> Self {
        Self {
            index: u32::from(entry.index),
            tag: wire::SectionTag::from(entry.tag).into(),
            digest: Bytes::copy_from_slice(entry.digest.as_bytes()),
            stricter: entry.stricter.as_ref().map(wire::SectionMarking::from),
            least_count: entry.least_count.unwrap_or(0),
        }
    }
}

impl TryFrom<wire::SectionEntry> for SectionEntry {
    type Error = HeaderError;

    fn try_from(wire: wire::SectionEntry) -> Result<Self, Self::Error> {
        let wire::SectionEntry {
            index,
            tag,
            digest,
            stricter,
            least_count,
        } = wire;
        Ok(Self {
            index: u8::try_from(index)
                .ok()
                .filter(|index| *index < MAX_SECTIONS)
                .ok_or(HeaderError::Table("has an index above 63"))?,
            tag: SectionTag::from_wire(tag).ok_or(HeaderError::Table("has an unknown tag"))?,
            digest: Digest::from_slice(&digest)
                .ok_or(HeaderError::Table("has a digest that is not 32 bytes"))?,
            stricter: stricter.map(SectionMarking::try_from).transpose()?,
            least_count: (least_count > 0).then_some(least_count),
        })
    }
}

impl From<&Header> for wire::Header {
    fn from(header: &Header) -> Self {
        Self {
            version: crate::sealed::HEADER_VERSION,
            federation: header.federation.to_string(),
            kind: wire::Kind::from(header.kind).into(),
            origin: header.origin.to_string(),
            key_id: Bytes::copy_from_slice(header.key_id.as_bytes()),
            sealed_at_ms: header.sealed_at.as_millis(),
            exercise: header.exercise,
            audience: header.audience.iter().map(ToString::to_string).collect(),
            marking: Some((&header.marking).into()),
            evaluation: Some((&header.evaluation).into()),
            groups: header
                .groups
                .iter()
                .map(|group| wire::Group {
                    indexes: group.iter().map(u32::from).collect(),
                })
                .collect(),
            derived_from: header
                .derived_from
                .iter()
                .map(|id| Bytes::copy_from_slice(id.as_bytes()))
                .collect(),
            supersedes: header
                .supersedes
                .map_or_else(Bytes::new, |id| Bytes::copy_from_slice(id.as_bytes())),
            root: Bytes::copy_from_slice(header.root.as_bytes()),
            sections: header.sections.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<wire::Header> for Header {
    type Error = HeaderError;

    fn try_from(wire: wire::Header) -> Result<Self, Self::Error> {
        let wire::Header {
            version: _, // read before anything else is
            federation,
            kind,
            origin,
            key_id,
            sealed_at_ms,
            exercise,
            audience,
            marking,
            evaluation,
            groups,
            derived_from,
            supersedes,
            root,
            sections,
        } = wire;
        let field = HeaderError::Field;
        let sections = section_table(sections)?;
        Ok(Self {
            federation: federation.parse().map_err(|_| field("federation"))?,
            kind: Kind::from_wire(kind).ok_or(HeaderError::Kind(kind))?,
            origin: origin.parse().map_err(|_| field("origin"))?,
            key_id: KeyId::from_slice(&key_id).ok_or(field("key_id"))?,
            sealed_at: Timestamp::on_calendar(sealed_at_ms).ok_or(field("sealed_at"))?,
            exercise,
            audience: ascending("audience", audience, |code| code.parse().ok())?,
            marking: marking.ok_or(field("marking"))?.try_into()?,
            evaluation: evaluation.ok_or(field("evaluation"))?.try_into()?,
            groups: groups_of(groups, &sections)?,
            derived_from: record_ids(&derived_from)?,
            supersedes: optional_id(&supersedes)?,
            root: root
                .as_ref()
                .try_into()
                .map(RootTag::from_bytes)
                .map_err(|_| field("root"))?,
            sections,
        })
    }
}

fn optional_time(millis: i64, field: &'static str) -> Result<Option<Timestamp>, HeaderError> {
    let on_calendar = |time: Timestamp| Timestamp::on_calendar(time.as_millis());
    match Timestamp::from_wire(millis) {
        None => Ok(None),
        Some(time) => on_calendar(time).map(Some).ok_or(HeaderError::Field(field)),
    }
}

/// Reads a list of records in any order, each of which stands once.
fn record_ids(ids: &[Bytes]) -> Result<Vec<RecordId>, HeaderError> {
    let mut seen = BTreeSet::new();
    ids.iter()
        .map(|id| {
            RecordId::from_slice(id)
                .filter(|id| seen.insert(*id))
                .ok_or(HeaderError::Field("derived_from"))
        })
        .collect()
}

fn optional_id(bytes: &Bytes) -> Result<Option<RecordId>, HeaderError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    RecordId::from_slice(bytes)
        .map(Some)
        .ok_or(HeaderError::Field("supersedes"))
}

fn section_table(entries: Vec<wire::SectionEntry>) -> Result<Vec<SectionEntry>, HeaderError> {
    if entries.is_empty() || entries.len() > usize::from(MAX_SECTIONS) {
        return Err(HeaderError::Table("has no entry, or too many"));
    }
    let table = entries
        .into_iter()
        .map(SectionEntry::try_from)
        .collect::<Result<Vec<_>, _>>()?;
    if table.is_sorted_by(|left, right| left.index < right.index) {
        Ok(table)
    } else {
        Err(HeaderError::Table("repeats an index or is unordered"))
    }
}

fn groups_of(groups: Vec<wire::Group>, table: &[SectionEntry]) -> Result<Vec<Form>, HeaderError> {
    let full: Form = table.iter().map(|entry| entry.index).collect();
    let mut seen = BTreeSet::new();
    groups
        .into_iter()
        .map(|group| {
            let indexes = ascending("groups", group.indexes, |index| u8::try_from(index).ok())?;
            let form: Form = indexes.iter().copied().collect();
            let listed = form.is_within(full) && indexes.iter().all(|i| *i < MAX_SECTIONS);
            if listed && form.len() > 1 && seen.insert(form.bits()) {
                Ok(form)
            } else {
                Err(HeaderError::Field("groups"))
            }
        })
        .collect()
}

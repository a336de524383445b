//! Conversion of headers: markings, evaluations, section tables.
//!
//! Only canonical values are read: two texts of one value would be two headers that mean the same. A
//! header that was read is written as the same one.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{HeaderError, ascending, same_values};
use crate::{
    digest::Digest,
    evaluation::{Admiralty, Evaluation},
    identifiers::{AuthorityId, UnLocode},
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
            version: header.version,
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
            version, // checked before anything else is
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
            version,
            federation: federation.parse().map_err(|_| field("federation"))?,
            kind: Kind::from_wire(kind).ok_or(HeaderError::Kind(kind))?,
            origin: origin.parse().map_err(|_| field("origin"))?,
            key_id: KeyId::from_slice(&key_id).ok_or(field("key_id"))?,
            sealed_at: Timestamp::on_calendar(sealed_at_ms).ok_or(field("sealed_at"))?,
            exercise,
            audience: ascending("audience", audience, |code| locode(&code))?,
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

/// Reads a UN/LOCODE as it is written, in capitals and without a space.
fn locode(text: &str) -> Option<UnLocode> {
    let code: UnLocode = text.parse().ok()?;
    (code.as_str() == text).then_some(code)
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

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};

    use super::*;

    fn texts(of: &'static [&'static str]) -> impl Strategy<Value = String> {
        select(of).prop_map(str::to_owned)
    }

    fn lists(of: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec(texts(of), 0..3)
    }

    prop_compose! {
        fn markings()(
            numbers in prop::array::uniform4(0_i32..5),
            flags in prop::array::uniform5(any::<bool>()),
            h3 in texts(&["", "ask first", " ask first", "a\nline"]),
            purposes in prop::collection::vec(0_i32..5, 0..3),
            release_to in lists(&["antwerp", "Antwerp", "antwerp ", "rotterdam", ""]),
            times in prop::array::uniform2(select(vec![0, 1, -1, 1_700_000_000_000, i64::MAX])),
        ) -> wire::Marking {
            let [tlp, pap, requested_action, data_subject] = numbers;
            let [h0, h1, h2, relay, originator_control] = flags;
            let [review_at_ms, delete_at_ms] = times;
            wire::Marking {
                tlp, pap, h0, h1, h2, h3, purposes, release_to, relay, originator_control,
                requested_action, review_at_ms, delete_at_ms, data_subject,
            }
        }
    }

    prop_compose! {
        fn evaluations()(
            source in texts(&["A", "B", "X", "a", "A ", ""]),
            information in 0_u32..6,
            admiralty in texts(&["", "A1", "B2", "b2", "B 2", "F6"]),
        ) -> wire::Evaluation {
            wire::Evaluation { source, information, admiralty }
        }
    }

    fn base() -> wire::Header {
        let entry = |index| wire::SectionEntry {
            index,
            tag: 1,
            digest: Bytes::from_static(&[7; 32]),
            stricter: None,
            least_count: 0,
        };
        wire::Header {
            version: crate::version::FIRST,
            federation: "test".to_owned(),
            kind: 1,
            origin: "antwerp".to_owned(),
            key_id: Bytes::from_static(&[5; 32]),
            sealed_at_ms: 1_700_000_000_000,
            exercise: false,
            audience: vec!["BEANR".to_owned(), "NLRTM".to_owned()],
            marking: Some(wire::Marking {
                tlp: 3,
                pap: 3,
                release_to: vec!["rotterdam".to_owned()],
                ..wire::Marking::default()
            }),
            evaluation: Some(wire::Evaluation {
                source: "B".to_owned(),
                information: 2,
                admiralty: String::new(),
            }),
            groups: vec![wire::Group {
                indexes: vec![0, 1],
            }],
            derived_from: vec![Bytes::from_static(&[1; 32])],
            supersedes: Bytes::new(),
            root: Bytes::from_static(&[6; 16]),
            sections: (0..3).map(entry).collect(),
        }
    }

    /// Returns the base with one field changed to each value that it might have.
    fn changed() -> Vec<wire::Header> {
        let mut all = vec![base()];
        let mut change = |apply: &dyn Fn(&mut wire::Header)| {
            let mut header = base();
            apply(&mut header);
            all.push(header);
        };
        for text in ["Test", "test ", " test", "TEST", "other"] {
            change(&|header| text.clone_into(&mut header.federation));
            change(&|header| text.clone_into(&mut header.origin));
        }
        for codes in [
            &["beanr"][..],
            &["BE ANR"],
            &["BEANR "],
            &["NLRTM", "BEANR"],
            &["BEANR", "BEANR"],
            &["BEANR", "BE ANR"],
            &["NLRTM"],
            &[],
        ] {
            change(&|header| header.audience = codes.iter().map(ToString::to_string).collect());
        }
        for number in 0..9 {
            change(&|header| header.kind = number);
        }
        for time in [0, -1, 1, i64::MAX, i64::MIN] {
            change(&|header| header.sealed_at_ms = time);
        }
        for groups in [
            vec![],
            vec![vec![1, 0]],
            vec![vec![0, 0]],
            vec![vec![0]],
            vec![vec![1, 2], vec![0, 1]],
            vec![vec![0, 1], vec![0, 1]],
        ] {
            let groups = groups.into_iter().map(|indexes| wire::Group { indexes });
            let groups: Vec<_> = groups.collect();
            change(&|header| header.groups.clone_from(&groups));
        }
        for len in [0, 31, 32, 33] {
            let id = Bytes::from(vec![3; len]);
            change(&|header| header.derived_from = vec![id.clone()]);
            change(&|header| header.derived_from = vec![id.clone(), id.clone()]);
            change(&|header| header.supersedes = id.clone());
            change(&|header| header.root = id.clone());
            change(&|header| header.key_id = id.clone());
        }
        for (tlp, pap) in [(0, 0), (5, 4), (5, 0), (9, 9)] {
            let stricter = wire::SectionMarking {
                tlp,
                pap,
                ..wire::SectionMarking::default()
            };
            change(&|header| header.sections[1].stricter = Some(stricter));
        }
        for number in [0, 1, 63, 64, u32::MAX] {
            change(&|header| header.sections[2].index = number);
            change(&|header| header.sections[1].least_count = number);
            change(&|header| header.evaluation.as_mut().unwrap().information = number);
        }
        all
    }

    /// Two headers that mean the same would be two records of one, which no list shows as such.
    #[test]
    fn a_header_that_is_read_is_the_one_that_is_written() {
        assert!(Header::try_from(base()).is_ok());
        let mut read = 0;
        for wire in changed() {
            if let Ok(header) = Header::try_from(wire.clone()) {
                read += 1;
                assert_eq!(wire::Header::from(&header), wire);
            }
        }
        assert!((20..60).contains(&read), "{read}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn a_marking_that_is_read_is_the_one_that_is_written(wire in markings()) {
            if let Ok(marking) = Marking::try_from(wire.clone()) {
                prop_assert_eq!(wire::Marking::from(&marking), wire);
            }
        }

        #[test]
        fn an_evaluation_that_is_read_is_the_one_that_is_written(wire in evaluations()) {
            if let Ok(evaluation) = Evaluation::try_from(wire.clone()) {
                prop_assert_eq!(wire::Evaluation::from(&evaluation), wire);
            }
        }
    }

    #[test]
    fn a_port_is_read_in_capitals_without_a_space_alone() {
        for (text, is_read) in [
            ("BEANR", true),
            ("beanr", false),
            ("BE ANR", false),
            ("BEANR ", false),
        ] {
            assert_eq!(locode(text).is_some(), is_read, "{text}");
        }
    }
}

//! A small federation and records for this crate's tests.

use std::{collections::BTreeMap, num::NonZeroUsize};

use portcullis_protocol::{
    digest::Digest,
    evaluation::{Evaluation, InformationCode, SourceCode},
    identifiers::AuthorityId,
    keys::KeyId,
    marking::{Marking, Purpose, Tlp},
    record::{Form, Header, Kind, RecordId, RootTag, SectionEntry, SectionTag},
    register::{Authority, AuthorityKind, FreshnessKeys, LegalRegime, Register},
    time::Timestamp,
};

use crate::{Bundle, Engine, Facts, Holding, Roster};

pub(crate) fn id(text: &str) -> AuthorityId {
    text.parse().unwrap()
}

pub(crate) fn authority(name: &str, kind: AuthorityKind, regime: LegalRegime) -> Authority {
    Authority {
        id: id(name),
        name: name.to_owned(),
        kind,
        country: "NL".parse().unwrap(),
        group: format!("ministry of {name}"),
        regime,
        communities: vec!["ports".to_owned()],
        clients: Vec::new(),
        nodes: Vec::new(),
        contact: String::new(),
    }
}

/// The members `police`, `customs`, `customs-b`, `port` (with its client `terminal`) and `hub`, and
/// outside of the community `stranger` (customs) and `abroad` (customs of a third country).
pub(crate) fn register() -> Register {
    let mut port = authority("port", AuthorityKind::PortAuthority, LegalRegime::Gdpr);
    port.clients.push(id("terminal"));
    let mut stranger = authority("stranger", AuthorityKind::Customs, LegalRegime::Both);
    stranger.communities = vec!["inland".to_owned()];
    let mut abroad = authority("abroad", AuthorityKind::Customs, LegalRegime::ThirdCountry);
    abroad.country = "BR".parse().unwrap();
    let authorities = [
        authority("police", AuthorityKind::Police, LegalRegime::Led),
        authority("customs", AuthorityKind::Customs, LegalRegime::Both),
        authority("customs-b", AuthorityKind::Customs, LegalRegime::Both),
        authority("hub", AuthorityKind::Hub, LegalRegime::Led),
        authority(
            "terminal",
            AuthorityKind::PrivateOperator,
            LegalRegime::Gdpr,
        ),
        port,
        stranger,
        abroad,
    ];
    Register {
        federation: "test".parse().unwrap(),
        epoch: 1,
        previous: None,
        development: true,
        threshold: 1,
        governance: Vec::new(),
        freshness: FreshnessKeys::default(),
        authorities: authorities
            .into_iter()
            .map(|authority| (authority.id.clone(), authority))
            .collect(),
        issued_at: Timestamp::from_millis(0),
        former: BTreeMap::new(),
    }
}

pub(crate) fn marking(tlp: Tlp) -> Marking {
    Marking::new(
        tlp,
        [
            Purpose::LawEnforcement,
            Purpose::CustomsControl,
            Purpose::PortSecurity,
        ],
    )
}

/// A record of `origin` with these sections; subject and assessment form a group.
pub(crate) fn header(origin: &str, kind: Kind, tags: &[SectionTag], marking: Marking) -> Header {
    let sections: Vec<SectionEntry> = (0..)
        .zip(tags)
        .map(|(index, tag)| SectionEntry {
            index,
            tag: *tag,
            digest: Digest::from_bytes([index; 32]),
            stricter: None,
            least_count: None,
        })
        .collect();
    let grouped =
        |entry: &&SectionEntry| matches!(entry.tag, SectionTag::Subject | SectionTag::Assessment);
    let group: Form = sections.iter().filter(grouped).map(|it| it.index).collect();
    Header {
        version: 1,
        federation: "test".parse().unwrap(),
        kind,
        origin: id(origin),
        key_id: KeyId::from_slice(&[7; 32]).unwrap(),
        sealed_at: Timestamp::from_millis(1),
        exercise: false,
        audience: ["NLRTM".parse().unwrap()].into(),
        marking,
        evaluation: Evaluation {
            source: SourceCode::B,
            information: InformationCode::Two,
            admiralty: None,
        },
        groups: if group.is_empty() {
            vec![]
        } else {
            vec![group]
        },
        derived_from: Vec::new(),
        supersedes: None,
        root: RootTag::from_bytes([1; 16]),
        sections,
    }
}

pub(crate) const ORDINARY: &[SectionTag] = &[
    SectionTag::Subject,
    SectionTag::Assessment,
    SectionTag::Narrative,
    SectionTag::Source,
    SectionTag::Persons,
];

/// An indicator of the police.
pub(crate) fn indicator(marking: Marking) -> Header {
    header("police", Kind::Indicator, ORDINARY, marking)
}

/// A risk profile of `customs`: one section of cells for each least count.
pub(crate) fn profile(least_counts: &[Option<u32>]) -> Header {
    let tags = vec![SectionTag::Cells; least_counts.len()];
    let marking = Marking::new(Tlp::Green, [Purpose::CustomsControl, Purpose::Statistics]);
    let mut header = header("customs", Kind::RiskProfile, &tags, marking);
    for (entry, least_count) in header.sections.iter_mut().zip(least_counts) {
        entry.least_count = *least_count;
    }
    header
}

pub(crate) fn engine(policies: &str) -> Engine {
    let files = BTreeMap::from([("test.cedar".to_owned(), policies.to_owned())]);
    Engine::new(Bundle::from_files(&files).unwrap(), memo()).unwrap()
}

pub(crate) fn memo() -> NonZeroUsize {
    NonZeroUsize::new(64).unwrap()
}

/// `header` as `here` holds it after `via` delivered it.
pub(crate) fn holding<'a>(
    roster: &'a Roster,
    here: &'a AuthorityId,
    via: &'a AuthorityId,
    header: &'a Header,
) -> Holding<'a> {
    Holding {
        roster,
        here,
        record: RecordId::of_header(b"header"),
        header,
        form: header.full_form(),
        via,
        facts: Facts::default(),
    }
}

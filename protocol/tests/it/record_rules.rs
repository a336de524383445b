//! RE-01 to RE-12, RE-17 and RE-19: refusals about a header and its sections.

use bytes::Bytes;
use portcullis_protocol::{
    body::{Body, Cell, Cells},
    evaluation::Evaluation,
    record::Kind,
    rules::Rule,
    seal::{Draft, MAX_RECORD_BYTES, SealedRecord},
    verify::MAX_HEADER_BYTES,
    wire,
};
use prost::Message as _;

use crate::{
    fixture::{assert_refused, indicator, indicator_draft, marking, seal, verify},
    forge::{Forgery, altered, flipped},
};

/// Checks a good record whose header its own originator changed before signing.
#[track_caller]
pub(crate) fn check_header(rule: Rule, change: impl FnOnce(&mut wire::Header)) {
    let mut forgery = Forgery::of_indicator();
    change(&mut forgery.header);
    assert_refused(verify(&forgery.seal()), rule);
}

/// Checks a good record that was changed on the way.
#[track_caller]
pub(crate) fn check_altered(rule: Rule, change: impl FnOnce(&mut wire::Record)) {
    assert_refused(verify(&altered(&indicator(), change)), rule);
}

#[test]
fn the_forge_makes_good_records_unless_told_otherwise() {
    assert!(verify(&Forgery::of_indicator().seal()).is_ok());
    let mut forgery = Forgery::of_indicator();
    let body = forgery.sections[2].body.to_vec();
    forgery.set_body(2, body);
    assert!(verify(&forgery.seal()).is_ok());
}

#[test]
fn re_01_unreadable_header_or_unknown_version() {
    check_header(Rule::RecordHeader, |header| header.version = 0);
    let garbage = Forgery::of_indicator().seal_header(vec![0xff; 40]);
    assert_refused(verify(&garbage), Rule::RecordHeader);
    check_header(Rule::RecordHeader, |header| {
        header.root = Bytes::from_static(&[0; 15])
    });
    check_header(Rule::RecordHeader, |header| header.key_id = Bytes::new());
    check_header(Rule::RecordHeader, |header| header.marking = None);
    check_header(Rule::RecordHeader, |header| header.evaluation = None);
    check_header(Rule::RecordHeader, |header| {
        header.origin = "Kr Customs".to_owned()
    });
    check_header(Rule::RecordHeader, |header| {
        header.supersedes = Bytes::from_static(&[1; 31])
    });
    check_header(Rule::RecordHeader, |header| {
        header.derived_from = vec![Bytes::from_static(&[1; 33])];
    });
    check_header(Rule::RecordHeader, |header| {
        header.audience = vec!["NLRTM".to_owned(), "BEANR".to_owned()];
    });
}

#[test]
fn re_01_unreadable_header_or_unknown_version_in_its_marking() {
    let marking = |change: fn(&mut wire::Marking)| {
        check_header(Rule::RecordHeader, |header| {
            change(header.marking.as_mut().unwrap())
        });
    };
    marking(|marking| marking.tlp = 0);
    marking(|marking| marking.pap = 0);
    marking(|marking| marking.purposes = vec![2, 1]);
    marking(|marking| marking.purposes = vec![1, 1]);
    marking(|marking| marking.release_to = vec!["b".to_owned(), "a".to_owned()]);
    marking(|marking| marking.h3 = "ask first\u{1b}[2J".to_owned());
    marking(|marking| marking.h3 = "x".repeat(4097));
}

#[test]
fn re_01_unreadable_header_or_unknown_version_in_its_groups() {
    for indexes in [
        vec![],
        vec![0],
        vec![0, 0],
        vec![1, 0],
        vec![0, 9],
        vec![0, 64],
        vec![0, 300],
    ] {
        check_header(Rule::RecordHeader, |header| {
            header.groups = vec![wire::Group { indexes }];
        });
    }
}

#[test]
fn an_admiralty_code_that_maps_to_another_evaluation_is_refused() {
    // C3 maps to C4 (see `evaluation`); A1 is no mapping of it.
    for (source, information, admiralty) in
        [("A", 1, "C3"), ("c", 4, ""), ("C", 4, "c3"), ("C", 5, "")]
    {
        check_header(Rule::RecordHeader, |header| {
            header.evaluation = Some(wire::Evaluation {
                source: source.to_owned(),
                information,
                admiralty: admiralty.to_owned(),
            });
        });
    }
    let mut forgery = Forgery::of_indicator();
    forgery.header.evaluation = Some(wire::Evaluation {
        source: "C".to_owned(),
        information: 4,
        admiralty: "C3".to_owned(),
    });
    assert!(verify(&forgery.seal()).is_ok());
}

#[test]
fn a_header_over_its_size_limit_is_refused_before_it_is_decoded() {
    check_header(Rule::RecordHeader, |header| {
        header.derived_from = vec![Bytes::from_static(&[1; 32]); MAX_HEADER_BYTES / 34];
    });
}

#[test]
fn ex_12_message_over_the_size_limit_as_a_record_that_no_frame_could_pass_on() {
    check_altered(Rule::Oversized, |record| {
        record.sections[2].body = vec![0; MAX_RECORD_BYTES].into();
    });
}

#[test]
fn re_02_record_of_another_federation() {
    check_header(Rule::RecordFederation, |header| {
        header.federation = "us-ports".to_owned()
    });
    let mut forgery = Forgery::of_indicator();
    forgery.statement.federation = "us-ports".to_owned();
    assert_refused(verify(&forgery.seal()), Rule::RecordFederation);
}

#[test]
fn re_03_kind_that_is_not_in_use() {
    for kind in [
        wire::Kind::Unspecified,
        wire::Kind::Request,
        wire::Kind::Response,
        wire::Kind::Grant,
    ] {
        check_header(Rule::RecordKind, |header| header.kind = kind.into());
    }
    check_header(Rule::RecordKind, |header| header.kind = 9);
    check_header(Rule::RecordKind, |header| header.kind = -1);
}

#[test]
fn re_04_malformed_section_table() {
    check_header(Rule::SectionTable, |header| header.sections.clear());
    check_header(Rule::SectionTable, |header| header.sections[1].index = 0);
    check_header(Rule::SectionTable, |header| header.sections.swap(0, 1));
    check_header(Rule::SectionTable, |header| header.sections[4].index = 64);
    check_header(Rule::SectionTable, |header| header.sections[4].index = 256);
    check_header(Rule::SectionTable, |header| header.sections[4].tag = 0);
    check_header(Rule::SectionTable, |header| {
        header.sections[4].digest = Bytes::from_static(&[0; 31]);
    });
}

#[test]
fn re_05_section_that_is_not_in_the_table() {
    for index in [5, 63, 64, 256, u32::MAX] {
        check_altered(Rule::SectionNotListed, |record| {
            let added = wire::Section {
                index,
                ..record.sections[3].clone()
            };
            record.sections.push(added);
        });
    }
}

#[test]
fn re_06_repeated_or_unordered_section() {
    check_altered(Rule::SectionOrder, |record| {
        let again = record.sections[3].clone();
        record.sections.push(again);
    });
    check_altered(Rule::SectionOrder, |record| record.sections.swap(2, 3));
}

#[test]
fn re_07_salt_of_another_length() {
    for length in [0, 15, 17, 32] {
        check_altered(Rule::SaltLength, |record| {
            record.sections[2].salt = vec![0; length].into();
        });
    }
    // Without the rule, moving the last byte of the salt into the bytes behind it would give the
    // same hash.
    check_altered(Rule::SaltLength, |record| {
        let salt = record.sections[2].salt.clone();
        record.sections[2].salt = salt.slice(..15);
    });
}

#[test]
fn re_08_section_marked_looser_than_its_record() {
    let looser = |marking: wire::SectionMarking| {
        check_header(Rule::LooserSection, |header| {
            header.marking.as_mut().unwrap().pap = wire::Pap::Amber.into();
            header.sections[2].stricter = Some(marking);
        });
    };
    for tlp in [wire::Tlp::Clear, wire::Tlp::Green] {
        looser(wire::SectionMarking {
            tlp: tlp.into(),
            ..Default::default()
        });
    }
    looser(wire::SectionMarking {
        pap: wire::Pap::Green.into(),
        ..Default::default()
    });
    // A tightened part does not make up for a loosened one.
    looser(wire::SectionMarking {
        tlp: wire::Tlp::AmberStrict.into(),
        pap: wire::Pap::Clear.into(),
        h1: true,
        h2: true,
    });
}

#[test]
fn re_09_record_with_no_section_opened() {
    check_altered(Rule::NothingOpened, |record| record.sections.clear());
}

#[test]
fn re_10_group_of_sections_cut_apart() {
    check_altered(Rule::GroupCut, |record| drop(record.sections.remove(0)));
    check_altered(Rule::GroupCut, |record| drop(record.sections.remove(1)));
    check_altered(Rule::GroupCut, |record| record.sections.truncate(1));
}

#[test]
fn re_11_section_that_does_not_match_its_digest() {
    check_altered(Rule::SectionDigest, |record| {
        record.sections[2].body = flipped(&record.sections[2].body, 17);
    });
    check_altered(Rule::SectionDigest, |record| {
        record.sections[2].salt = flipped(&record.sections[2].salt, 0);
    });
    check_altered(Rule::SectionDigest, |record| {
        let salt = record.sections[2].salt.clone();
        record.sections[2].salt = record.sections[3].salt.clone();
        record.sections[3].salt = salt;
    });
    check_altered(Rule::SectionDigest, |record| {
        let (left, right) = record.sections.split_at_mut(3);
        std::mem::swap(&mut left[2].body, &mut right[0].body);
        std::mem::swap(&mut left[2].salt, &mut right[0].salt);
    });
    check_altered(Rule::SectionDigest, |record| {
        record.sections[2].body = Bytes::new()
    });
}

#[test]
fn re_11_section_that_does_not_match_its_digest_nor_does_a_decoy_open() {
    let decoy = 4;
    for body in [Bytes::new(), Bytes::from_static(b"\x0a\x00")] {
        check_altered(Rule::SectionDigest, |record| {
            record.sections.push(wire::Section {
                index: decoy,
                salt: Bytes::from_static(&[0; 16]),
                body,
            });
        });
    }
}

#[test]
fn re_11_section_that_does_not_match_its_digest_in_another_record() {
    let mut records = seal(vec![indicator_draft(), indicator_draft()], 3);
    let other = records.remove(1);
    let swapped = altered(&records[0], |record| {
        record.sections[2] = other.wire().sections[2].clone();
    });
    assert_refused(verify(&swapped), Rule::SectionDigest);
}

#[test]
fn re_12_unreadable_section_body() {
    let garbled = |at: usize, body: Vec<u8>| {
        let mut forgery = Forgery::of_indicator();
        forgery.set_body(at, body);
        let refusal = verify(&forgery.seal()).unwrap_err();
        assert_eq!(refusal.rule, Rule::SectionBody);
        refusal.detail
    };
    garbled(2, vec![0xff]);
    garbled(
        2,
        wire::Narrative {
            text: "x".repeat((64 << 10) + 1),
        }
        .encode_to_vec(),
    );
    garbled(0, Vec::new());
    let selector = wire::Selector {
        kind: wire::SelectorKind::Imo.into(),
        value: "9074720".to_owned(),
        ..Default::default()
    };
    let subject = wire::Subject {
        selectors: vec![selector],
        ..Default::default()
    };
    let detail = garbled(0, subject.encode_to_vec());
    assert!(
        !detail.contains("907472"),
        "a detail repeats no value of a body: {detail}"
    );
}

#[test]
fn re_12_unreadable_section_body_when_a_selector_is_not_canonical() {
    let day = 86_400_000;
    let selector = wire::Selector {
        kind: wire::SelectorKind::Container.into(),
        value: "CSQU3054383".to_owned(),
        valid_from_ms: day,
        valid_until_ms: 2 * day,
        unchecked: false,
    };
    let verdict = |selector: wire::Selector| {
        let subject = wire::Subject {
            selectors: vec![selector],
            ..Default::default()
        };
        let mut forgery = Forgery::of_indicator();
        forgery.set_body(0, subject.encode_to_vec());
        verify(&forgery.seal())
    };
    assert!(verdict(selector.clone()).is_ok());
    for bad in [
        wire::Selector {
            value: "csqu 305438-3".to_owned(),
            ..selector.clone()
        },
        wire::Selector {
            value: "CSQU3054384".to_owned(),
            ..selector.clone()
        },
        wire::Selector {
            unchecked: true,
            ..selector.clone()
        },
        wire::Selector {
            valid_until_ms: 0,
            ..selector.clone()
        },
        wire::Selector {
            valid_from_ms: 0,
            valid_until_ms: 0,
            ..selector.clone()
        },
        wire::Selector {
            valid_until_ms: 1,
            ..selector.clone()
        },
        wire::Selector {
            kind: 0,
            ..selector.clone()
        },
    ] {
        assert_refused(verdict(bad), Rule::SectionBody);
    }
}

#[test]
fn re_12_unreadable_section_body_when_a_finding_is_in_no_outcome() {
    let assessment = |finding: wire::Finding| {
        wire::Assessment {
            finding: finding.into(),
            ..Default::default()
        }
        .encode_to_vec()
    };
    let verdict = |kind: wire::Kind, finding| {
        let mut forgery = Forgery::of_indicator();
        forgery.header.kind = kind.into();
        forgery.set_body(1, assessment(finding));
        verify(&forgery.seal())
    };
    assert!(verdict(wire::Kind::Outcome, wire::Finding::Found).is_ok());
    assert_refused(
        verdict(wire::Kind::Outcome, wire::Finding::Unspecified),
        Rule::SectionBody,
    );
    assert_refused(
        verdict(wire::Kind::Indicator, wire::Finding::Found),
        Rule::SectionBody,
    );
    assert_refused(
        verdict(wire::Kind::Alert, wire::Finding::NotFound),
        Rule::SectionBody,
    );
}

fn profile() -> SealedRecord {
    let cells = Cells {
        schema: portcullis_protocol::digest::Digest::from_bytes([1; 32]),
        period: "2020".to_owned(),
        contributors: ["kr-customs-40".parse().unwrap()].into(),
        part: 1,
        parts: 1,
        cells: vec![
            Cell {
                key: vec!["84".to_owned()],
                controls: 5,
                findings: 1,
            },
            Cell {
                key: vec!["85".to_owned()],
                controls: 7,
                findings: 0,
            },
        ],
    };
    let draft = Draft::new(
        Kind::RiskProfile,
        marking(),
        Evaluation::default(),
        vec![Body::Cells(cells)],
    );
    seal(vec![draft], 1).remove(0)
}

#[test]
fn re_12_unreadable_section_body_when_the_least_count_is_another() {
    assert!(verify(&profile()).is_ok());
    for least in [0, 4, 6, 7] {
        let mut forgery = Forgery::of(&profile());
        forgery.header.sections[0].least_count = least;
        assert_refused(verify(&forgery.seal()), Rule::SectionBody);
    }
    let mut forgery = Forgery::of_indicator();
    forgery.header.sections[2].least_count = 5;
    assert_refused(verify(&forgery.seal()), Rule::SectionBody);
}

#[test]
fn re_17_sections_that_do_not_fit_the_kind() {
    let kinds = |kind: wire::Kind| move |header: &mut wire::Header| header.kind = kind.into();
    check_header(Rule::KindSections, kinds(wire::Kind::RiskProfile));
    // Without its subject, an indicator concerns nothing.
    check_header(Rule::KindSections, |header| {
        header.groups.clear();
        header.sections.remove(0);
    });
    check_header(Rule::KindSections, |header| {
        header.groups.clear();
        header.sections.remove(1);
    });
    // Two narratives: a receiver would not know which one counts.
    check_header(Rule::KindSections, |header| {
        header.sections[3].tag = wire::SectionTag::Narrative.into();
    });
    check_header(Rule::KindSections, |header| {
        header.sections[3].tag = wire::SectionTag::Cells.into();
    });
    let mut forgery = Forgery::of(&profile());
    forgery.header.kind = wire::Kind::Advisory.into();
    assert_refused(verify(&forgery.seal()), Rule::KindSections);
}

#[test]
fn re_19_marking_that_contradicts_itself() {
    let marking = |change: fn(&mut wire::Marking)| {
        check_header(Rule::ContradictoryMarking, |header| {
            change(header.marking.as_mut().unwrap());
        });
    };
    marking(|marking| marking.tlp = wire::Tlp::Red.into());
    marking(|marking| marking.purposes.clear());
    marking(|marking| {
        marking.review_at_ms = 2;
        marking.delete_at_ms = 1;
    });
}

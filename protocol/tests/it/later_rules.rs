//! RE-20, RE-21, EX-23 and TR-03: what a later version may have written, and lists longer than any
//! receiver takes.

use bytes::Bytes;
use portcullis_protocol::{
    body::{Body, BodyError, Selector, SelectorKind, Subject, Window},
    freshness::{Freshness, SignedFreshness},
    record::SectionTag,
    register::SignedRegister,
    rules::Rule,
    seal::SealedRecord,
    verify::Refusal,
    version, wire,
};
use prost::Message as _;

use crate::{
    fixture::{NOW, assert_refused, indicator_draft, seal, sealing_key, verify},
    forge::{Forgery, sign_payload},
    members::{first, following, signed},
};

/// A field that no version has yet, with a number in it.
const UNKNOWN: [u8; 3] = [0xf8, 0x07, 0x01];

fn with_unknown(message: &impl prost::Message) -> Vec<u8> {
    [message.encode_to_vec(), UNKNOWN.to_vec()].concat()
}

#[test]
fn re_20_record_of_a_later_version() {
    for version in [version::OWN + 1, u32::MAX] {
        let mut forgery = Forgery::of_indicator();
        forgery.header.version = version;
        assert_refused(verify(&forgery.seal()), Rule::LaterVersion);
    }
    let forgery = Forgery::of_indicator();
    let header = with_unknown(&forgery.header);
    assert_refused(verify(&forgery.seal_header(header)), Rule::LaterVersion);
    // A restriction that only a later version knows, inside of the marking.
    let forgery = Forgery::of_indicator();
    let marking = with_unknown(forgery.header.marking.as_ref().unwrap());
    let mut bare = forgery.header.clone();
    bare.marking = None;
    let mut header = bare.encode_to_vec();
    header.extend([0x4a, u8::try_from(marking.len()).unwrap()]);
    header.extend(marking);
    assert_refused(verify(&forgery.seal_header(header)), Rule::LaterVersion);
    let later = |change: fn(&mut wire::Header)| {
        let mut forgery = Forgery::of_indicator();
        change(&mut forgery.header);
        assert_refused(verify(&forgery.seal()), Rule::LaterVersion);
    };
    later(|header| header.marking.as_mut().unwrap().purposes = vec![9]);
    later(|header| header.marking.as_mut().unwrap().tlp = 6);
    later(|header| header.sections[4].tag = 8);
    let mut forgery = Forgery::of_indicator();
    let body = [forgery.sections[2].body.to_vec(), UNKNOWN.to_vec()].concat();
    forgery.set_body(2, body);
    assert_refused(verify(&forgery.seal()), Rule::LaterVersion);
    let forgery = Forgery::of_indicator();
    let sealed = forgery.seal();
    let payload = [sealed.statement().unverified_payload().as_ref(), &UNKNOWN].concat();
    let later = SealedRecord::new(sealed.wire().clone(), sign_payload(payload, &sealing_key()));
    assert_refused(verify(&later), Rule::LaterVersion);
}

/// Attack H3.3: a valid advisory of two million empty files.
#[test]
fn re_21_more_elements_than_a_record_may_have() {
    let mut forgery = Forgery::of_indicator();
    forgery.header.sections[4].tag = wire::SectionTag::Attachments.into();
    forgery.sections.push(wire::Section {
        index: 4,
        salt: Bytes::from_static(&[3; 16]),
        body: Bytes::new(),
    });
    let mut good = Forgery {
        header: forgery.header.clone(),
        sections: forgery.sections.clone(),
        statement: forgery.statement.clone(),
        key: sealing_key(),
    };
    good.set_body(4, [0x0a, 0x00].repeat(256));
    assert!(verify(&good.seal()).is_ok());
    forgery.set_body(4, [0x0a, 0x00].repeat(2_090_000));
    assert_refused(verify(&forgery.seal()), Rule::TooManyElements);
    let refused = |change: fn(&mut wire::Header)| {
        let mut forgery = Forgery::of_indicator();
        change(&mut forgery.header);
        assert_refused(verify(&forgery.seal()), Rule::TooManyElements);
    };
    refused(|header| header.derived_from = vec![Bytes::new(); 257]);
    refused(|header| header.audience = vec![String::new(); 257]);
    refused(|header| header.groups = vec![wire::Group::default(); 65]);
    refused(|header| header.sections = vec![wire::SectionEntry::default(); 65]);
    refused(|header| header.marking.as_mut().unwrap().release_to = vec![String::new(); 1025]);
    let persons = Bytes::from([0x0a, 0x00].repeat(1025));
    assert_eq!(
        Body::decode(SectionTag::Persons, &persons),
        Err(BodyError::TooMany("persons"))
    );
}

/// Attack C1: one record named 1,500 times.
#[test]
fn a_record_named_twice_in_a_header_is_refused() {
    let ids = |ids: &[u8]| {
        let mut forgery = Forgery::of_indicator();
        forgery.header.derived_from = ids.iter().map(|id| Bytes::from(vec![*id; 32])).collect();
        verify(&forgery.seal())
    };
    assert!(ids(&[2, 1, 3]).is_ok());
    assert_refused(ids(&[2, 1, 2]), Rule::RecordHeader);
    let mut forgery = Forgery::of_indicator();
    let group = forgery.header.groups[0].clone();
    forgery.header.groups.push(group);
    assert_refused(verify(&forgery.seal()), Rule::RecordHeader);
}

#[test]
fn a_signed_header_is_read_as_it_stands_or_not_at_all() {
    let refused = |change: fn(&mut wire::Header)| {
        let mut forgery = Forgery::of_indicator();
        change(&mut forgery.header);
        assert_refused(verify(&forgery.seal()), Rule::RecordHeader);
    };
    refused(|header| header.audience = vec!["nlrtm".to_owned()]);
    refused(|header| header.audience = vec!["NL RTM".to_owned()]);
    refused(|header| header.evaluation.as_mut().unwrap().source = "x".to_owned());
}

#[test]
fn a_time_that_no_calendar_has_is_refused() {
    for millis in [i64::MIN, i64::MIN / 2, i64::MAX] {
        let mut forgery = Forgery::of_indicator();
        forgery.header.marking.as_mut().unwrap().delete_at_ms = millis;
        assert_refused(verify(&forgery.seal()), Rule::RecordHeader);
    }
    for millis in [i64::MIN, i64::MIN / 2] {
        let mut forgery = Forgery::of_indicator();
        forgery.header.sealed_at_ms = millis;
        forgery.statement.sealed_at_ms = millis;
        assert_refused(verify(&forgery.seal()), Rule::RecordHeader);
    }
    let mut forgery = Forgery::of_indicator();
    forgery.header.sealed_at_ms = -62_135_596_800_000;
    forgery.statement.sealed_at_ms = -62_135_596_800_000;
    assert!(verify(&forgery.seal()).is_ok(), "the year 1");
}

#[test]
fn tr_03_trust_data_of_a_later_version() {
    let mut epoch =
        wire::SignedRegister::decode(&*signed(&following(&first()), &[200, 201]).encode()).unwrap();
    epoch.payload = [&epoch.payload[..], &UNKNOWN].concat().into();
    let epoch = SignedRegister::decode(&epoch.encode_to_vec()).unwrap();
    let refusal = Refusal::from(epoch.unverified().unwrap_err());
    assert_eq!(refusal.rule, Rule::TrustLater);
    let fresh = SignedFreshness::unsigned(&Freshness::of(&first(), NOW));
    let mut fresh = wire::SignedFreshness::decode(&*fresh.encode()).unwrap();
    fresh.payload = [&fresh.payload[..], &UNKNOWN].concat().into();
    let fresh = SignedFreshness::decode(&fresh.encode_to_vec()).unwrap();
    assert_refused(fresh.unverified(), Rule::TrustLater);
}

/// Bugs 15, 16: a node of the first version would refuse such a record for good.
#[test]
fn a_header_says_which_version_its_record_needs_and_a_body_that_needs_more_is_refused() {
    let unit = wire::Selector {
        kind: wire::SelectorKind::Ilu.into(),
        value: "XYZA1003094".to_owned(),
        valid_from_ms: 86_400_000,
        valid_until_ms: 2 * 86_400_000,
        unchecked: false,
    };
    let radio = wire::Selector {
        kind: wire::SelectorKind::Mmsi.into(),
        value: "009123456".to_owned(),
        unchecked: true,
        ..wire::Selector::default()
    };
    let of_a_container = wire::Selector {
        kind: wire::SelectorKind::Container.into(),
        ..unit.clone()
    };
    let verdict = |selector: &wire::Selector, version| {
        let subject = wire::Subject {
            selectors: vec![selector.clone()],
            ..wire::Subject::default()
        };
        let mut forgery = Forgery::of_indicator();
        forgery.header.version = version;
        forgery.set_body(0, subject.encode_to_vec());
        verify(&forgery.seal())
    };
    for selector in [&unit, &radio] {
        assert_refused(verdict(selector, version::FIRST), Rule::SectionBody);
        assert!(verdict(selector, version::UNITS).is_ok());
    }
    // One spelling: an ILU code is no container number on the wire.
    assert_refused(verdict(&of_a_container, version::UNITS), Rule::SectionBody);
}

#[test]
fn a_record_is_sealed_with_the_version_that_it_needs() {
    let versions = |selector: Selector| {
        let mut draft = indicator_draft();
        draft.sections[0].body = Body::Subject(Subject {
            selectors: vec![selector],
            title: String::new(),
            generated: false,
        });
        let sealed = seal(vec![draft, indicator_draft()], 3);
        let verified = sealed.iter().map(|record| verify(record).unwrap());
        verified
            .map(|record| version::needed(record.header()))
            .collect::<Vec<_>>()
    };
    let window = Some(Window {
        from: NOW,
        until: NOW,
    });
    let unit = Selector::new(SelectorKind::Ilu, "XYZA1003094", window).unwrap();
    assert_eq!(versions(unit), [version::UNITS, version::FIRST]);
    let radio = Selector::accept_unchecked(SelectorKind::Mmsi, "009123456", None).unwrap();
    assert_eq!(versions(radio), [version::UNITS, version::FIRST]);
    let ship = Selector::new(SelectorKind::Mmsi, "440123456", None).unwrap();
    assert_eq!(versions(ship), [version::FIRST, version::FIRST]);
}

//! EX-01 to EX-06 and EX-12: the frames that are accepted, and the sender each counts for.

use bytes::Bytes;
use portcullis_protocol::{
    frame::{
        Chain, FrameError, FrameHead, Generation, Hop, Lane, MAX_AHEAD, MAX_FRAME_BYTES, MAX_ITEMS,
        ReceivedFrame, RefusedFrame, SentFrame, check_frame_size, check_receipt_size,
    },
    identifiers::{FederationId, NodeId},
    keys::{KeyUse, SigningKey},
    record::{Form, Kind},
    rules::Rule,
    statement::{SignedStatement, StatementType},
    verify::VerifiedRecord,
    wire,
};
use prost::Message as _;

use crate::{
    fixture::{NOW, assert_refused, federation, indicator_draft, seal, verify},
    forge::flipped,
    members::{hop_key, register},
};

pub(crate) const SENDER_SEED: u8 = 10;
pub(crate) const RECEIVER_SEED: u8 = 20;

/// The sender's statement type, declared again.
struct Framed;
impl StatementType for Framed {
    const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.frame.v1";
    const KEY_USE: KeyUse = KeyUse::Hop;
}

pub(crate) fn sender() -> NodeId {
    "customs-n1".parse().unwrap()
}

pub(crate) fn receiver() -> NodeId {
    "police-n1".parse().unwrap()
}

pub(crate) fn head() -> FrameHead {
    FrameHead {
        federation: federation(),
        sender: sender(),
        receiver: receiver(),
        generation: Generation::from_bytes([3; 16]),
        lane: Lane::Bulk,
        first_sequence: 41,
        settled_sequence: 38,
        chain: Chain::from_slice(&[7; 32]).unwrap(),
        sent_at: NOW,
        register_epoch: 1,
    }
}

/// Three records of one batch and one of another; the second is in a form with fewer sections.
pub(crate) fn records() -> Vec<VerifiedRecord> {
    let batches = [
        seal(vec![indicator_draft(); 3], 1),
        seal(vec![indicator_draft()], 2),
    ];
    let mut records: Vec<_> = batches
        .iter()
        .flatten()
        .map(|sealed| verify(sealed).unwrap())
        .collect();
    records[1] = records[1].withhold(Form::from_bits(0b11)).unwrap();
    records
}

pub(crate) fn sent() -> SentFrame {
    SentFrame::sign(head(), &records(), &hop_key(SENDER_SEED)).unwrap()
}

/// Judges a frame as the node `at`, on a connection with `peer`, by the register's keys.
fn receive_as(
    frame: wire::Frame,
    federation: &FederationId,
    at: &NodeId,
    peer: &NodeId,
) -> Result<ReceivedFrame, RefusedFrame> {
    let hop = Hop {
        federation,
        receiver: at,
        peer,
    };
    let register = register();
    ReceivedFrame::verify(frame, hop, |id| register.hop_key(peer, id, NOW))
}

pub(crate) fn receive(frame: wire::Frame) -> Result<ReceivedFrame, RefusedFrame> {
    receive_as(frame, &federation(), &receiver(), &sender())
}

#[track_caller]
fn check(rule: Rule, change: impl FnOnce(&mut wire::Frame)) {
    let mut frame = sent().wire().clone();
    change(&mut frame);
    assert_eq!(receive(frame).unwrap_err().refusal.rule, rule);
}

/// A frame whose payload was changed by its own sender before signing.
#[track_caller]
fn check_payload(rule: Rule, change: impl FnOnce(&mut wire::FramePayload)) {
    check(rule, |frame| {
        let signed = frame.payload.take().unwrap();
        let mut payload = wire::FramePayload::decode(signed.payload).unwrap();
        change(&mut payload);
        frame.payload = Some(sign(payload.encode_to_vec()));
    });
}

fn sign(payload: Vec<u8>) -> wire::SignedStatement {
    let key = hop_key(SENDER_SEED);
    (&SignedStatement::sign::<Framed>(payload.into(), &key).unwrap()).into()
}

#[test]
fn a_frame_arrives_as_it_was_sent() {
    let sent = sent();
    let received = receive(sent.wire().clone()).unwrap();
    assert_eq!(&received.head, sent.head());
    let items: Vec<_> = received
        .records
        .iter()
        .map(|record| (record.id(), record.claimed_form()))
        .collect();
    assert_eq!(items, sent.items());
    assert_eq!(sent.wire().batches.len(), 2, "a statement travels once");
    for (record, original) in received.records.iter().zip(records()) {
        assert_eq!(verify(record).unwrap().sections(), original.sections());
    }
}

#[test]
fn ex_01_unreadable_frame() {
    check(Rule::FrameUnreadable, |frame| frame.payload = None);
    check(Rule::FrameUnreadable, |frame| {
        frame.payload.as_mut().unwrap().signature = Bytes::from_static(&[0; 63]);
    });
    check(Rule::FrameUnreadable, |frame| {
        frame.payload = Some(sign(vec![0xff; 9]))
    });
    check(Rule::FrameUnreadable, |frame| frame.records.clear());
    check(Rule::FrameUnreadable, |frame| {
        frame.records = vec![frame.records[0].clone(); MAX_ITEMS + 1];
    });
    check(Rule::FrameUnreadable, |frame| frame.records[3].batch = 2);
    check(Rule::FrameUnreadable, |frame| {
        frame.batches = vec![frame.batches[0].clone(); 5]
    });
    check(Rule::FrameUnreadable, |frame| {
        frame.batches[1].key_id = Bytes::new()
    });
    check_payload(Rule::FrameUnreadable, |payload| {
        payload.sender = "N 1".to_owned()
    });
    check_payload(Rule::FrameUnreadable, |payload| {
        payload.generation = Bytes::from_static(&[1; 15])
    });
    check_payload(Rule::FrameUnreadable, |payload| payload.lane = 0);
    check_payload(Rule::FrameUnreadable, |payload| {
        payload.items_root = Bytes::new()
    });
    check_payload(Rule::FrameUnreadable, |payload| payload.first_sequence = 0);
    check_payload(Rule::FrameUnreadable, |payload| {
        payload.first_sequence = u64::MAX
    });
    check_payload(Rule::FrameUnreadable, |payload| {
        payload.settled_sequence = 0;
    });
    check_payload(Rule::FrameUnreadable, |payload| {
        payload.settled_sequence = 42;
    });
    check_payload(Rule::FrameUnreadable, |payload| {
        payload.settled_sequence = 1;
    });
    check_payload(Rule::FrameUnreadable, |payload| {
        payload.chain = Bytes::from_static(&[0; 32]);
    });
    check_payload(Rule::FrameUnreadable, |payload| {
        payload.chain = Bytes::from_static(&[7; 33]);
    });
}

#[test]
fn ex_10_frame_out_of_sequence_further_ahead_than_any_window() {
    check_payload(Rule::Sequence, |payload| {
        payload.first_sequence = 39 + MAX_AHEAD;
    });
}

#[test]
fn a_frame_names_its_place_and_what_is_settled_before_it() {
    let sent = sent();
    let place = receive(sent.wire().clone()).unwrap().place();
    assert_eq!((place.first_sequence, place.next_sequence), (41, 45));
    assert_eq!(place.settled_sequence, 38);
    assert_eq!(&place.digest, sent.digest());
}

#[test]
fn ex_02_frame_of_another_federation() {
    check_payload(Rule::FrameFederation, |payload| {
        payload.federation = "us-ports".to_owned()
    });
    let here = "us-ports".parse().unwrap();
    let refused = receive_as(sent().wire().clone(), &here, &receiver(), &sender()).unwrap_err();
    assert_eq!(refused.refusal.rule, Rule::FrameFederation);
}

#[test]
fn ex_03_frame_for_another_node() {
    check_payload(Rule::FrameReceiver, |payload| {
        payload.receiver = "port-n1".to_owned()
    });
    // Replayed by its own sender to another node.
    let other = "port-n1".parse().unwrap();
    let refused = receive_as(sent().wire().clone(), &federation(), &other, &sender()).unwrap_err();
    assert_eq!(refused.refusal.rule, Rule::FrameReceiver);
}

#[test]
fn ex_04_frame_whose_sender_is_not_the_peer_of_the_connection() {
    check_payload(Rule::FrameSender, |payload| {
        payload.sender = "port-n1".to_owned()
    });
    check_payload(Rule::FrameSender, |payload| {
        payload.sender = "police-n1".to_owned()
    });
}

#[test]
fn ex_05_frame_signature_that_does_not_verify() {
    for bit in [0, 255, 256, 511] {
        check(Rule::FrameSignature, |frame| {
            let payload = frame.payload.as_mut().unwrap();
            payload.signature = flipped(&payload.signature, bit);
        });
    }
    check(Rule::FrameSignature, |frame| {
        let payload = frame.payload.as_mut().unwrap();
        payload.payload = flipped(&payload.payload, 9);
    });
    // Replayed by a third node on its own connection: the key is not that node's.
    let third = receive_as(
        sent().wire().clone(),
        &federation(),
        &receiver(),
        &receiver(),
    );
    assert_eq!(third.unwrap_err().refusal.rule, Rule::FrameSignature);
    // Signed with the hop key of another node.
    check(Rule::FrameSignature, |frame| {
        let payload = frame.payload.take().unwrap().payload;
        let key = hop_key(RECEIVER_SEED);
        frame.payload = Some((&SignedStatement::sign::<Framed>(payload, &key).unwrap()).into());
    });
}

#[test]
fn ex_05_frame_signature_that_does_not_verify_when_made_as_a_receipt() {
    struct Receipted;
    impl StatementType for Receipted {
        const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.receipt.v1";
        const KEY_USE: KeyUse = KeyUse::Hop;
    }
    check(Rule::FrameSignature, |frame| {
        let payload = frame.payload.take().unwrap().payload;
        let key = hop_key(SENDER_SEED);
        frame.payload = Some((&SignedStatement::sign::<Receipted>(payload, &key).unwrap()).into());
    });
}

#[test]
fn any_flipped_bit_of_a_signed_frame_payload_is_refused() {
    let good = sent().wire().clone();
    let payload = good.payload.clone().unwrap();
    for bit in 0..payload.payload.len() * 8 {
        let mut bad = good.clone();
        bad.payload.as_mut().unwrap().payload = flipped(&payload.payload, bit);
        assert_eq!(receive(bad).unwrap_err().refusal.rule, Rule::FrameSignature);
    }
}

#[test]
fn ex_06_frame_whose_items_do_not_match_its_signed_root() {
    check(Rule::FrameItems, |frame| drop(frame.records.pop()));
    check(Rule::FrameItems, |frame| {
        let again = frame.records[0].clone();
        frame.records.push(again);
    });
    check(Rule::FrameItems, |frame| {
        frame.records[0] = frame.records[1].clone()
    });
    check(Rule::FrameItems, |frame| frame.records.swap(0, 2));
    check(Rule::FrameItems, |frame| {
        frame.records[0].header = flipped(&frame.records[0].header, 77);
    });
    // A form other than the one signed: a section withheld, or one brought back.
    check(Rule::FrameItems, |frame| {
        frame.records[0].sections.truncate(2)
    });
    check(Rule::FrameItems, |frame| {
        let story = frame.records[0].sections[2].clone();
        frame.records[1].sections.push(story);
    });
    check_payload(Rule::FrameItems, |payload| payload.count = 3);
    check_payload(Rule::FrameItems, |payload| {
        payload.items_root = Bytes::from_static(&[0; 32])
    });
}

#[test]
fn a_changed_section_is_its_records_fault_and_not_its_frames() {
    let mut frame = sent().wire().clone();
    frame.records[0].sections[2].body = flipped(&frame.records[0].sections[2].body, 20);
    let received = receive(frame).unwrap();
    let verdicts: Vec<_> = received
        .records
        .iter()
        .map(|record| verify(record).err().map(|refusal| refusal.rule))
        .collect();
    assert_eq!(verdicts, [Some(Rule::SectionDigest), None, None, None]);
}

#[test]
fn a_frame_of_none_of_too_many_or_of_another_key_is_not_signed() {
    let key = hop_key(SENDER_SEED);
    let record = records().remove(0);
    for count in [0, MAX_ITEMS + 1] {
        let error = SentFrame::sign(head(), &vec![record.clone(); count], &key).unwrap_err();
        assert!(matches!(error, FrameError::Items(found) if found == count));
    }
    let sealing = SigningKey::from_seed(KeyUse::Sealing, [SENDER_SEED + 1; 32]);
    let error = SentFrame::sign(head(), &[record], &sealing).unwrap_err();
    assert!(matches!(error, FrameError::Key(_)));
}

#[test]
fn a_frame_that_no_receiver_would_take_is_not_signed() {
    use portcullis_protocol::body::{Attachment, Body};
    let mut draft = indicator_draft();
    draft.sections[2].body = Body::Attachments(vec![Attachment {
        name: "photo".to_owned(),
        media_type: "image/jpeg".to_owned(),
        content: vec![0; 3_000_000].into(),
    }]);
    let record = verify(&seal(vec![draft], 1).remove(0)).unwrap();
    let key = hop_key(SENDER_SEED);
    assert!(SentFrame::sign(head(), &vec![record.clone(); 2], &key).is_ok());
    let error = SentFrame::sign(head(), &vec![record; 3], &key).unwrap_err();
    assert!(matches!(error, FrameError::TooLarge(_)));
}

#[test]
fn ex_12_message_over_the_size_limit() {
    let oversized = |encoded: &[u8]| {
        assert_refused(check_frame_size(encoded), Rule::Oversized);
    };
    let good = sent().wire().clone();
    assert_eq!(check_frame_size(&good.encode_to_vec()), Ok(()));
    let with = |records: usize, batches: usize, sections: usize| {
        let record = wire::Record {
            sections: vec![wire::Section::default(); sections],
            ..wire::Record::default()
        };
        wire::Frame {
            payload: good.payload.clone(),
            batches: vec![wire::SignedStatement::default(); batches],
            records: vec![record; records],
        }
        .encode_to_vec()
    };
    assert_eq!(check_frame_size(&with(1024, 1024, 64)), Ok(()));
    oversized(&with(1025, 1, 1));
    oversized(&with(1, 1025, 1));
    oversized(&with(2, 1, 65));
    // Four million empty records in 8 MiB: refused before they take half a gigabyte.
    oversized(&[0x1a, 0x00].repeat(MAX_FRAME_BYTES / 2));
    oversized(&vec![0; MAX_FRAME_BYTES + 1]);
}

#[test]
fn ex_12_message_over_the_size_limit_as_a_receipt() {
    let with = |answers: usize| {
        wire::Receipt {
            answers: vec![wire::Answer::default(); answers],
            ..wire::Receipt::default()
        }
        .encode_to_vec()
    };
    assert_eq!(check_receipt_size(&with(1024)), Ok(()));
    assert_refused(check_receipt_size(&with(1025)), Rule::Oversized);
    let bytes = vec![0; MAX_FRAME_BYTES + 1];
    assert_refused(check_receipt_size(&bytes), Rule::Oversized);
}

#[test]
fn a_group_does_not_hide_what_follows_it() {
    // An unknown field 100 as a group, which prost skips, and then too many records.
    let hidden = [&[0xa3, 0x06, 0xa4, 0x06][..], &[0x1a, 0x00].repeat(1025)].concat();
    assert_eq!(wire::Frame::decode(&*hidden).unwrap().records.len(), 1025);
    assert_refused(check_frame_size(&hidden), Rule::FrameUnreadable);
    for bytes in [&[0x1a][..], &[0x1a, 5, 0], &[0xff; 11], &[0x0d, 0, 0]] {
        assert_refused(check_frame_size(bytes), Rule::FrameUnreadable);
    }
}

proptest::proptest! {
    /// Bytes that passed decode to no more than a frame may have, whatever prost makes of them.
    #[test]
    fn what_passed_decodes_to_no_more_than_a_frame(
        bytes in proptest::collection::vec(
            proptest::prop_oneof![proptest::prelude::Just(0x1a_u8), proptest::prelude::Just(0x12), 0..12_u8], 0..6000),
    ) {
        if check_frame_size(&bytes).is_ok() && let Ok(frame) = wire::Frame::decode(&*bytes) {
            proptest::prop_assert!(frame.records.len() <= MAX_ITEMS && frame.batches.len() <= MAX_ITEMS);
            proptest::prop_assert!(frame.records.iter().all(|record| record.sections.len() <= 64));
        }
    }
}

/// Attacks HH6 and M3: the lane is not the sender's word.
#[test]
fn ex_22_item_in_a_lane_that_is_not_for_its_kind() {
    let frame = |lane, kind| {
        let mut draft = indicator_draft();
        draft.kind = kind;
        let records: Vec<_> = seal(vec![draft], 1)
            .iter()
            .map(|sealed| verify(sealed).unwrap())
            .collect();
        let head = FrameHead { lane, ..head() };
        let sent = SentFrame::sign(head, &records, &hop_key(SENDER_SEED)).unwrap();
        receive(sent.wire().clone()).unwrap()
    };
    for kind in [Kind::Indicator, Kind::Advisory] {
        let frame = frame(Lane::Urgent, kind);
        assert_refused(frame.check_lane(&frame.records[0]), Rule::LaneOfKind);
    }
    // An older alert is sent again behind everything that is new.
    for (lane, kind) in [
        (Lane::Urgent, Kind::Alert),
        (Lane::Bulk, Kind::Alert),
        (Lane::Bulk, Kind::Indicator),
    ] {
        let frame = frame(lane, kind);
        assert_eq!(frame.check_lane(&frame.records[0]), Ok(()));
    }
}

#[test]
fn ex_23_frame_or_receipt_of_a_later_version() {
    check(Rule::HopLater, |frame| {
        let signed = frame.payload.take().unwrap();
        let unknown: &[u8] = &[0xf8, 0x07, 0x01];
        frame.payload = Some(sign([&signed.payload[..], unknown].concat()));
    });
    check_payload(Rule::HopLater, |payload| payload.lane = 3);
}

//! Fuzz targets of the protocol. Each decodes its bytes and judges them as on arrival, and checks
//! that accepted data reads the same again.
//!
//! `protocol/tests/it/corpus.rs` includes this file and replays the corpus with it, so that the
//! ordinary tests run what the fuzzer found. Signatures are made here in the places where a hostile
//! originator or peer would make them: without them, no code behind a signature check would be
//! reached.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use portcullis_protocol::{
    body::{Assessment, Body, Selector, SelectorKind, canonical},
    digest::Digest,
    evaluation::Evaluation,
    frame::{
        Chain, FrameHead, Generation, Hop, Lane, ReceivedFrame, SentFrame, check_frame_size,
        check_receipt_size,
    },
    identifiers::{AuthorityId, FederationId, NodeId, identify},
    keys::{KeyId, KeyUse, PublicKey, SigningKey},
    marking::{Marking, Purpose, Tlp},
    reconcile::{Answer, Ask, check_answer_size, check_ask_size},
    record::{Kind, RecordId, SectionTag},
    register::{SignedMembershipRequest, SignedRegister, VerifiedRegister},
    seal::{Batch, Draft, Entropy, SealedRecord, Sealer},
    statement::{SignedStatement, StatementType},
    time::Timestamp,
    verify::{KeyStanding, Occasion, SealingKeys, VerifiedRecord, Verifier},
    wire,
};
use prost::Message as _;

const NOW: Timestamp = Timestamp::from_millis(1_614_585_600_000);
const BLIND: [u8; 16] = [5; 16];

static FEDERATION: LazyLock<FederationId> = LazyLock::new(|| "eu-ports".parse().unwrap());
static ORIGIN: LazyLock<AuthorityId> = LazyLock::new(|| "kr-customs-40".parse().unwrap());
static SENDER: LazyLock<NodeId> = LazyLock::new(|| "customs-n1".parse().unwrap());
static RECEIVER: LazyLock<NodeId> = LazyLock::new(|| "police-n1".parse().unwrap());

fn sealing_key() -> SigningKey {
    SigningKey::from_seed(KeyUse::Sealing, [1; 32])
}

fn hop_key() -> SigningKey {
    SigningKey::from_seed(KeyUse::Hop, [11; 32])
}

/// The origin's one sealing key.
struct OneKey(PublicKey);

impl SealingKeys for OneKey {
    fn sealing_key(&self, origin: &AuthorityId, key: &KeyId) -> Option<(&PublicKey, KeyStanding)> {
        let known = *origin == *ORIGIN && self.0.id() == *key;
        known.then_some((&self.0, KeyStanding::InForce))
    }
}

fn verify(sealed: &SealedRecord) -> Option<VerifiedRecord> {
    let keys = OneKey(sealing_key().public());
    let verifier = Verifier {
        federation: &FEDERATION,
        keys: &keys,
        now: NOW,
        occasion: Occasion::Arriving,
    };
    verifier.verify(sealed).ok()
}

/// Reads any text as an identifier of every kind; the result must be canonical.
pub fn identifiers(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for kind in SelectorKind::ALL {
        if let Ok(value) = canonical(*kind, text) {
            assert_eq!(canonical(*kind, &value).as_ref(), Ok(&value));
        }
    }
    for identified in identify(text) {
        assert!(identified.near_matches.len() < 100);
    }
}

/// Reads a selector from the wire.
pub fn selector(data: &[u8]) {
    let Ok(selector) = wire::Selector::decode(data) else {
        return;
    };
    if let Ok(read) = Selector::try_from(selector) {
        let again = Selector::try_from(wire::Selector::from(&read));
        assert_eq!(again.as_ref(), Ok(&read));
    }
}

/// Reads a section's body; the first byte is its tag.
pub fn body(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let Some(tag) = SectionTag::ALL
        .iter()
        .find(|tag| tag.number() == u16::from(*first))
    else {
        return;
    };
    if let Ok(read) = Body::decode(*tag, &Bytes::copy_from_slice(rest)) {
        assert_eq!(read.tag(), *tag);
        let bytes = read.encode().unwrap();
        assert_eq!(Body::decode(*tag, &bytes), Ok(read));
    }
}

/// Verifies a record whose originator signs any header it has, in a batch of one.
pub fn record(data: &[u8]) {
    let Ok(mut record) = wire::Record::decode(data) else {
        return;
    };
    let id = RecordId::of_header(&record.header);
    let leaf = Digest::labelled("portcullis batch leaf v1", &[&BLIND, id.as_bytes()]);
    record.blind = Bytes::copy_from_slice(&BLIND);
    (record.batch, record.leaf, record.path) = (0, 0, Bytes::new());
    let payload = wire::BatchStatement {
        federation: FEDERATION.to_string(),
        origin: ORIGIN.to_string(),
        key_id: Bytes::copy_from_slice(sealing_key().id().as_bytes()),
        sealed_at_ms: NOW.as_millis(),
        tree_size: 1,
        root: Bytes::copy_from_slice(leaf.as_bytes()),
    };
    let statement = SignedStatement::sign::<Batch>(payload.encode_to_vec().into(), &sealing_key());
    let sealed = SealedRecord::new(record, Arc::new(statement.unwrap()));
    if let Some(verified) = verify(&sealed) {
        assert_eq!(verified.id(), id);
        let uncut = verified.header().without_cut_groups(verified.form());
        assert_eq!(uncut, verified.form());
        let again = verify(verified.sealed()).unwrap();
        assert_eq!(again, verified);
    }
}

/// Verifies a batch statement that the originator signs whatever it holds.
pub fn statement(data: &[u8]) {
    let payload = Bytes::copy_from_slice(data);
    let statement = SignedStatement::sign::<Batch>(payload, &sealing_key()).unwrap();
    let keys = OneKey(sealing_key().public());
    let verifier = Verifier {
        federation: &FEDERATION,
        keys: &keys,
        now: NOW,
        occasion: Occasion::Arriving,
    };
    drop(verifier.batch(&Arc::new(statement)));
}

/// Statement type of a frame, as a peer would define it.
struct Framed;
impl StatementType for Framed {
    const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.frame.v1";
    const KEY_USE: KeyUse = KeyUse::Hop;
}

struct Receipted;
impl StatementType for Receipted {
    const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.receipt.v1";
    const KEY_USE: KeyUse = KeyUse::Hop;
}

/// Returns a payload with the signature that its sender would give it.
fn resigned<S: StatementType>(wire: Option<wire::SignedStatement>) -> wire::SignedStatement {
    let payload = wire.map(|signed| signed.payload).unwrap_or_default();
    let signed = SignedStatement::sign::<S>(payload, &hop_key()).unwrap();
    (&signed).into()
}

fn hop() -> Hop<'static> {
    Hop {
        federation: &FEDERATION,
        receiver: &RECEIVER,
        peer: &SENDER,
    }
}

/// Checks a frame that its sender signs whatever it holds.
pub fn frame(data: &[u8]) {
    if check_frame_size(data).is_err() {
        return;
    }
    let Ok(mut frame) = wire::Frame::decode(data) else {
        return;
    };
    let as_it_came = ReceivedFrame::verify(frame.clone(), hop(), |_| Some(hop_key().public()));
    frame.payload = Some(resigned::<Framed>(frame.payload.take()));
    let received = ReceivedFrame::verify(frame, hop(), |_| Some(hop_key().public()));
    if let Ok(received) = received {
        assert_eq!(received.head.receiver, *RECEIVER);
        for record in &received.records {
            drop(verify(record));
        }
    } else {
        assert!(as_it_came.is_err());
    }
}

struct Counter(u8);

impl Entropy for Counter {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_mul(29).wrapping_add(7);
            *byte = self.0;
        }
    }
}

/// A sent frame that receipts can answer.
static SENT: LazyLock<SentFrame> = LazyLock::new(|| {
    let assessment = Assessment {
        threat: "narcotics".to_owned(),
        finding: None,
        text: String::new(),
    };
    let draft = Draft::new(
        Kind::Advisory,
        Marking::new(Tlp::Green, [Purpose::CustomsControl]),
        Evaluation::default(),
        vec![Body::Assessment(assessment)],
    );
    let key = sealing_key();
    let sealer = Sealer {
        federation: &FEDERATION,
        origin: &ORIGIN,
        key: &key,
        now: NOW,
    };
    let sealed = sealer
        .seal(vec![draft.clone(), draft], &mut Counter(1))
        .unwrap();
    let records: Vec<_> = sealed.iter().filter_map(verify).collect();
    let head = FrameHead {
        federation: FEDERATION.clone(),
        sender: SENDER.clone(),
        receiver: RECEIVER.clone(),
        generation: Generation::from_bytes([3; 16]),
        lane: Lane::Bulk,
        first_sequence: 1,
        settled_sequence: 1,
        chain: Chain::START,
        sent_at: NOW,
        register_epoch: 1,
    };
    SentFrame::sign(head, &records, &hop_key()).unwrap()
});

/// Checks a receipt that its receiver signs whatever it holds.
pub fn receipt(data: &[u8]) {
    if check_receipt_size(data).is_err() {
        return;
    }
    let Ok(mut receipt) = wire::Receipt::decode(data) else {
        return;
    };
    drop(SENT.receipt(receipt.clone(), |_| Some(hop_key().public())));
    receipt.payload = Some(resigned::<Receipted>(receipt.payload.take()));
    drop(SENT.receipt(receipt, |_| Some(hop_key().public())));
}

/// Reads an epoch of the register, as a file or message brings it.
pub fn register(data: &[u8]) {
    let Ok(signed) = SignedRegister::decode(data) else {
        return;
    };
    assert_eq!(
        SignedRegister::decode(&signed.encode()).as_ref(),
        Ok(&signed)
    );
    if let Ok(content) = signed.unverified() {
        let again = SignedRegister::unsigned(&content).unwrap();
        assert_eq!(again.unverified().as_ref(), Ok(&content));
    }
    let pin = signed.digest();
    if let Ok(first) = VerifiedRegister::first(signed.clone(), &pin) {
        assert!(
            first.next(signed).is_err(),
            "an epoch does not follow itself"
        );
    }
}

/// Reads a membership request, as a file brings it.
pub fn request(data: &[u8]) {
    if let Ok(request) = SignedMembershipRequest::verify(data) {
        assert!(!request.authority.nodes.is_empty());
    }
}

/// Reads a question about a channel, or an answer; what is read must be written as it was, and must
/// fit the size limits.
pub fn reconcile(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    if check_ask_size(data).is_ok()
        && let Ok(wire) = wire::ReconcileAsk::decode(bytes.clone())
        && let Ok(ask) = Ask::read(wire, &FEDERATION)
    {
        let again = ask.to_wire(&FEDERATION);
        check_ask_size(&again.encode_to_vec()).unwrap();
        assert_eq!(Ask::read(again, &FEDERATION).unwrap(), ask);
    }
    if check_answer_size(data).is_ok()
        && let Ok(wire) = wire::ReconcileAnswer::decode(bytes)
        && let Ok(answer) = Answer::read(wire)
    {
        let again = Answer::read(answer.to_wire()).unwrap();
        assert_eq!(again.entries, answer.entries);
        assert_eq!(again.ranges, answer.ranges);
    }
}

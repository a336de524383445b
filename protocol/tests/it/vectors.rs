//! Replays `tests/vectors`, which another implementation made with hashes, signatures and protobuf
//! of its own. Each vector must be judged here as it states.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use portcullis_protocol::{
    body::{SelectorKind, canonical},
    digest::Digest,
    frame::{Chain, FrameHead, Generation, Hop, Lane, ReceivedFrame, SentFrame},
    identifiers::{AuthorityId, FederationId, NodeId},
    keys::{KeyId, KeyUse, PublicKey, SigningKey},
    merkle::{Tree, root_from_path},
    record::{Form, RecordId, Section, SectionTag},
    register::{SignedMembershipRequest, SignedRegister, VerifiedRegister},
    rules::Rule,
    seal::{Batch, SealedRecord},
    statement::{SignedStatement, StatementType as _, sign_detached, verify_detached},
    time::Timestamp,
    verify::{KeyStanding, Occasion, Refusal, SealingKeys, VerifiedRecord, Verifier},
    wire,
};
use prost::Message as _;
use serde::{Deserialize, Deserializer};

macro_rules! vectors {
    ($name:literal) => {
        serde_json::from_str(include_str!(concat!("../../../tests/vectors/", $name))).unwrap()
    };
}

/// Bytes, in hexadecimal.
#[derive(Debug, Clone)]
struct Hex(Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes());
        bytes.map(Self).map_err(serde::de::Error::custom)
    }
}

impl Hex {
    fn array<const N: usize>(&self) -> [u8; N] {
        self.0.as_slice().try_into().unwrap()
    }

    fn bytes(&self) -> Bytes {
        self.0.clone().into()
    }
}

/// Compares a verdict with the expected one: `ok`, or the id of the rule that refuses.
#[track_caller]
fn judge<T: std::fmt::Debug>(name: &str, expect: &str, verdict: Result<T, Refusal>) {
    match verdict {
        Ok(_) => assert_eq!("ok", expect, "{name}"),
        Err(refusal) => assert_eq!(refusal.rule.id(), expect, "{name}: {refusal}"),
    }
}

#[test]
fn identifiers_are_read_as_the_vectors_say() {
    #[derive(Deserialize)]
    struct File {
        cases: Vec<Case>,
    }
    #[derive(Deserialize)]
    struct Case {
        kind: String,
        text: String,
        canonical: Option<String>,
    }
    let file: File = vectors!("identifiers.json");
    assert!(!file.cases.is_empty());
    for case in file.cases {
        let kind: SelectorKind = case.kind.parse().unwrap();
        let read = canonical(kind, &case.text).ok();
        assert_eq!(read, case.canonical, "{} `{}`", case.kind, case.text);
    }
}

#[derive(Deserialize)]
struct Digests {
    labelled: Vec<Labelled>,
    keys: Vec<KeyVector>,
    payload_type: String,
    signatures: Vec<SignatureVector>,
    leaf_label: String,
    trees: Vec<TreeVector>,
}
#[derive(Deserialize)]
struct Labelled {
    label: String,
    parts: Vec<Hex>,
    digest: Hex,
}
#[derive(Deserialize)]
struct KeyVector {
    #[serde(rename = "use")]
    usage: String,
    seed: Option<Hex>,
    public: Hex,
    id: Hex,
}
#[derive(Deserialize)]
struct SignatureVector {
    payload: Hex,
    pae: Hex,
    key: Hex,
    seed: Hex,
    signature: Hex,
}
#[derive(Deserialize)]
struct TreeVector {
    size: usize,
    root: Hex,
    paths: Vec<PathVector>,
}
#[derive(Deserialize)]
struct PathVector {
    leaf: usize,
    path: Vec<Hex>,
}

fn key_use(name: &str) -> KeyUse {
    [
        KeyUse::Sealing,
        KeyUse::Hop,
        KeyUse::Log,
        KeyUse::Agreement,
        KeyUse::Governance,
        KeyUse::Person,
    ]
    .into_iter()
    .find(|usage| usage.name() == name)
    .unwrap()
}

#[test]
fn digests_and_key_ids_are_those_of_the_vectors() {
    let file: Digests = vectors!("digests.json");
    for vector in file.labelled {
        let parts: Vec<&[u8]> = vector.parts.iter().map(|part| part.0.as_slice()).collect();
        let digest = Digest::labelled(&vector.label, &parts);
        assert_eq!(
            digest.as_bytes(),
            &vector.digest.array(),
            "{}",
            vector.label
        );
    }
    for vector in file.keys {
        let usage = key_use(&vector.usage);
        let public = PublicKey::from_slice(usage, &vector.public.0).unwrap();
        assert_eq!(
            public.id().as_bytes(),
            &vector.id.array(),
            "{}",
            vector.usage
        );
        if let Some(seed) = vector.seed {
            let key = SigningKey::from_seed(usage, seed.array());
            assert_eq!(key.public(), public);
        }
    }
}

#[test]
fn signatures_are_those_of_the_vectors() {
    let file: Digests = vectors!("digests.json");
    assert_eq!(Batch::PAYLOAD_TYPE, file.payload_type);
    for vector in file.signatures {
        let key = SigningKey::from_seed(KeyUse::Sealing, vector.seed.array());
        assert_eq!(key.public().to_bytes(), vector.key.array());
        let signature = sign_detached::<Batch>(&vector.payload.0, &key).unwrap();
        assert_eq!(signature, vector.signature.array());
        let verdict = verify_detached::<Batch>(&vector.payload.0, &signature, &key.public());
        assert_eq!(verdict, Ok(()));
        // The signed encoding is that of the vectors, and nothing else.
        let dalek = ed25519_dalek::VerifyingKey::from_bytes(&vector.key.array()).unwrap();
        let signature = ed25519_dalek::Signature::from_bytes(&signature);
        assert!(dalek.verify_strict(&vector.pae.0, &signature).is_ok());
    }
}

#[test]
fn trees_and_paths_are_those_of_the_vectors() {
    let file: Digests = vectors!("digests.json");
    for vector in file.trees {
        let leaf = |number: usize| {
            let number = u32::try_from(number).unwrap();
            Digest::labelled(&file.leaf_label, &[&number.to_be_bytes()])
        };
        let tree = Tree::new((0..vector.size).map(leaf).collect()).unwrap();
        assert_eq!(tree.root().as_bytes(), &vector.root.array());
        for place in vector.paths {
            let path: Vec<_> = place
                .path
                .iter()
                .map(|hex| Digest::from_bytes(hex.array()))
                .collect();
            assert_eq!(tree.path(place.leaf), path);
            assert_eq!(
                root_from_path(leaf(place.leaf), place.leaf, &path),
                tree.root()
            );
        }
    }
}

#[derive(Deserialize)]
struct Records {
    federation: String,
    origin: String,
    now_ms: i64,
    keys: Vec<SealingKeyVector>,
    header: Hex,
    id: Hex,
    sections: Vec<SectionVector>,
    cases: Vec<RecordCase>,
}
#[derive(Deserialize)]
struct SealingKeyVector {
    public: Hex,
    id: Hex,
    ended_ms: i64,
}
#[derive(Deserialize)]
struct SectionVector {
    index: u8,
    tag: u16,
    salt: Hex,
    body: Hex,
    digest: Hex,
}
#[derive(Deserialize)]
struct RecordCase {
    name: String,
    record: Hex,
    statement: Hex,
    expect: String,
}

/// The sealing keys of the vectors.
struct Listed {
    origin: AuthorityId,
    keys: Vec<(PublicKey, KeyStanding)>,
}

impl SealingKeys for Listed {
    fn sealing_key(&self, origin: &AuthorityId, key: &KeyId) -> Option<(&PublicKey, KeyStanding)> {
        self.keys
            .iter()
            .find(|(public, _)| *origin == self.origin && public.id() == *key)
            .map(|(public, standing)| (public, *standing))
    }
}

impl Records {
    fn listed(&self) -> Listed {
        let key = |vector: &SealingKeyVector| {
            let public = PublicKey::from_slice(KeyUse::Sealing, &vector.public.0).unwrap();
            assert_eq!(public.id().as_bytes(), &vector.id.array());
            let standing = match vector.ended_ms {
                0 => KeyStanding::InForce,
                ended => KeyStanding::RetiredSince(Timestamp::from_millis(ended)),
            };
            (public, standing)
        };
        Listed {
            origin: self.origin.parse().unwrap(),
            keys: self.keys.iter().map(key).collect(),
        }
    }

    fn verify(&self, case: &RecordCase) -> Result<VerifiedRecord, Refusal> {
        let federation = self.federation.parse().unwrap();
        let keys = self.listed();
        let verifier = Verifier {
            federation: &federation,
            keys: &keys,
            now: Timestamp::from_millis(self.now_ms),
            occasion: Occasion::Arriving,
        };
        let statement = wire::SignedStatement::decode(case.statement.bytes()).unwrap();
        let statement = Arc::new(SignedStatement::try_from(statement).unwrap());
        let record = wire::Record::decode(case.record.bytes()).unwrap();
        verifier.verify(&SealedRecord::new(record, statement))
    }
}

#[test]
fn section_digests_and_record_ids_are_those_of_the_vectors() {
    let file: Records = vectors!("records.json");
    assert_eq!(
        RecordId::of_header(&file.header.0).as_bytes(),
        &file.id.array()
    );
    for vector in &file.sections {
        let tag = SectionTag::ALL
            .iter()
            .find(|tag| tag.number() == vector.tag);
        let section = Section {
            index: vector.index,
            salt: vector.salt.array(),
            body: vector.body.bytes(),
        };
        let digest = section.digest(*tag.unwrap());
        assert_eq!(digest.as_bytes(), &vector.digest.array());
    }
    // Both implementations write the same header for the same content.
    let header = wire::Header::decode(file.header.bytes()).unwrap();
    assert_eq!(header.encode_to_vec(), file.header.0);
}

#[test]
fn records_are_judged_as_the_vectors_say() {
    let file: Records = vectors!("records.json");
    for case in &file.cases {
        let verdict = file.verify(case);
        if let Ok(record) = &verdict {
            assert_eq!(
                record.to_wire(0).encode_to_vec(),
                case.record.0,
                "{}",
                case.name
            );
            let header = wire::Header::from(record.header()).encode_to_vec();
            assert_eq!(header, record.header_bytes()[..], "{}", case.name);
        }
        judge(&case.name, &case.expect, verdict);
    }
}

#[test]
fn the_vectors_hold_a_record_for_every_rule_that_refuses_one() {
    let file: Records = vectors!("records.json");
    let expected: BTreeSet<_> = file.cases.iter().map(|case| case.expect.as_str()).collect();
    for rule in Rule::ALL.iter().filter(|rule| rule.id().starts_with("RE-")) {
        assert!(expected.contains(rule.id()), "{rule}");
    }
    for id in ["EX-07", "EX-08", "EX-09", "EX-16"] {
        assert!(expected.contains(id), "{id}");
    }
}

#[test]
fn forms_of_the_vectors_record_have_its_id_and_are_made_here_too() {
    let file: Records = vectors!("records.json");
    let whole = file.verify(&file.cases[0]).unwrap();
    assert_eq!(whole.id().as_bytes(), &file.id.array());
    for case in file
        .cases
        .iter()
        .filter(|case| case.name.starts_with("form "))
    {
        let found = file.verify(case).unwrap();
        assert_eq!(found.id(), whole.id());
        assert_eq!(found, whole.withhold(found.form()).unwrap());
    }
}

#[derive(Deserialize)]
struct Registers {
    pin: Hex,
    epochs: Vec<Epoch>,
    after_the_last: Vec<SignedCase>,
    first: Vec<SignedCase>,
    requests: Vec<SignedCase>,
}
#[derive(Deserialize)]
struct Epoch {
    name: String,
    signed: Hex,
    digest: Hex,
}
#[derive(Deserialize)]
struct SignedCase {
    name: String,
    signed: Hex,
    expect: String,
}

/// Verifies the epochs of the vectors, each after the one before, and returns the last.
fn last_epoch(file: &Registers) -> VerifiedRegister {
    let pin = Digest::from_bytes(file.pin.array());
    file.epochs
        .iter()
        .fold(None, |before: Option<VerifiedRegister>, epoch| {
            let signed = SignedRegister::decode(&epoch.signed.0).unwrap();
            assert_eq!(signed.encode(), epoch.signed.0, "{}", epoch.name);
            let verified = match &before {
                None => VerifiedRegister::first(signed, &pin),
                Some(before) => before.next(signed),
            };
            let verified = verified.unwrap();
            assert_eq!(verified.digest().as_bytes(), &epoch.digest.array());
            let payload = wire::Register::from(verified.register()).encode_to_vec();
            let digest = Digest::labelled("portcullis register v1", &[&payload]);
            assert_eq!(digest, verified.digest(), "{}", epoch.name);
            Some(verified)
        })
        .unwrap()
}

#[test]
fn registers_are_judged_as_the_vectors_say() {
    let file: Registers = vectors!("registers.json");
    let last = last_epoch(&file);
    let pin = Digest::from_bytes(file.pin.array());
    for case in &file.after_the_last {
        let signed = SignedRegister::decode(&case.signed.0).unwrap();
        judge(&case.name, &case.expect, last.next(signed));
    }
    for case in &file.first {
        let signed = SignedRegister::decode(&case.signed.0).unwrap();
        judge(
            &case.name,
            &case.expect,
            VerifiedRegister::first(signed, &pin),
        );
    }
    for case in &file.requests {
        let verdict = SignedMembershipRequest::verify(&case.signed.0);
        judge(&case.name, &case.expect, verdict);
    }
}

#[derive(Deserialize)]
struct Exchanged {
    federation: String,
    sender: HopVector,
    receiver: HopVector,
    generation: Hex,
    lane: String,
    first_sequence: u64,
    sent_at_ms: i64,
    register_epoch: u64,
    settled_sequence: u64,
    settled: Vec<Hex>,
    chain: Hex,
    credit: u32,
    sealing: SealingVector,
    items: Vec<ItemVector>,
    frames: Vec<FrameCase>,
    receipts: Vec<ReceiptCase>,
}
#[derive(Deserialize)]
struct HopVector {
    node: String,
    hop_key: Hex,
    hop_seed: Option<Hex>,
}
#[derive(Deserialize)]
struct SealingVector {
    origin: String,
    public: Hex,
}
#[derive(Deserialize)]
struct ItemVector {
    id: Hex,
    form: u64,
}
#[derive(Deserialize)]
struct FrameCase {
    name: String,
    frame: Hex,
    expect: String,
}
#[derive(Deserialize)]
struct ReceiptCase {
    name: String,
    receipt: Hex,
    expect: String,
}

impl HopVector {
    /// Returns the hop key, if it has this id.
    fn key(&self, id: &KeyId) -> Option<PublicKey> {
        let key = PublicKey::from_slice(KeyUse::Hop, &self.hop_key.0).unwrap();
        (key.id() == *id).then_some(key)
    }
}

impl Exchanged {
    fn receive(&self, case: &FrameCase) -> Result<ReceivedFrame, Refusal> {
        let federation: FederationId = self.federation.parse().unwrap();
        let (receiver, peer): (NodeId, NodeId) = (
            self.receiver.node.parse().unwrap(),
            self.sender.node.parse().unwrap(),
        );
        let hop = Hop {
            federation: &federation,
            receiver: &receiver,
            peer: &peer,
        };
        let frame = wire::Frame::decode(case.frame.bytes()).unwrap();
        ReceivedFrame::verify(frame, hop, |id| self.sender.key(id))
            .map_err(|refused| refused.refusal)
    }

    /// Makes the first frame of the vectors here.
    fn send(&self) -> SentFrame {
        let received = self.receive(&self.frames[0]).unwrap();
        let federation = self.federation.parse().unwrap();
        let sealing = PublicKey::from_slice(KeyUse::Sealing, &self.sealing.public.0).unwrap();
        let keys = Listed {
            origin: self.sealing.origin.parse().unwrap(),
            keys: vec![(sealing, KeyStanding::InForce)],
        };
        let verifier = Verifier {
            federation: &federation,
            keys: &keys,
            now: Timestamp::from_millis(self.sent_at_ms),
            occasion: Occasion::Arriving,
        };
        let records: Vec<_> = received
            .records
            .iter()
            .map(|record| verifier.verify(record).unwrap())
            .collect();
        let head = FrameHead {
            federation: federation.clone(),
            sender: self.sender.node.parse().unwrap(),
            receiver: self.receiver.node.parse().unwrap(),
            generation: Generation::from_bytes(self.generation.array()),
            lane: self.lane.parse::<Lane>().unwrap(),
            first_sequence: self.first_sequence,
            settled_sequence: self.settled_sequence,
            chain: Chain::from_slice(&self.chain.0).unwrap(),
            sent_at: Timestamp::from_millis(self.sent_at_ms),
            register_epoch: self.register_epoch,
        };
        let seed = self.sender.hop_seed.as_ref().unwrap().array();
        SentFrame::sign(head, &records, &SigningKey::from_seed(KeyUse::Hop, seed)).unwrap()
    }
}

#[test]
fn frames_are_judged_as_the_vectors_say() {
    let file: Exchanged = vectors!("exchange.json");
    for case in &file.frames {
        judge(&case.name, &case.expect, file.receive(case));
    }
}

#[test]
fn the_chain_over_settled_frames_is_that_of_the_vectors() {
    let file: Exchanged = vectors!("exchange.json");
    let settled = file
        .settled
        .iter()
        .map(|digest| Digest::from_bytes(digest.array()));
    let chain = settled.fold(Chain::START, |chain, frame| chain.then(&frame));
    assert_eq!(chain.as_bytes(), &file.chain.array());
}

#[test]
fn the_same_frame_is_made_here_byte_for_byte() {
    let file: Exchanged = vectors!("exchange.json");
    let sent = file.send();
    let items: Vec<_> = file
        .items
        .iter()
        .map(|item| {
            (
                RecordId::from_slice(&item.id.0).unwrap(),
                Form::from_bits(item.form),
            )
        })
        .collect();
    assert_eq!(sent.items(), items);
    assert_eq!(sent.wire().encode_to_vec(), file.frames[0].frame.0);
}

#[test]
fn receipts_are_judged_as_the_vectors_say() {
    let file: Exchanged = vectors!("exchange.json");
    let sent = file.send();
    for case in &file.receipts {
        let receipt = wire::Receipt::decode(case.receipt.bytes()).unwrap();
        let verdict = sent.receipt(receipt, |id| file.receiver.key(id));
        if let Ok(receipt) = &verdict {
            assert_eq!(receipt.credit, file.credit, "{}", case.name);
        }
        judge(&case.name, &case.expect, verdict);
    }
}

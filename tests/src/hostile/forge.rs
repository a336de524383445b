//! Forging of frames and records: any part can be changed and signed again, as far as a peer or an
//! originator could sign it.

use std::sync::Arc;

use bytes::Bytes;
use portcullis_home::clock::SystemEntropy;
use portcullis_protocol::{
    digest::Digest,
    frame::{Chain, FrameHead, Lane, SentFrame},
    keys::{KeyUse, SigningKey},
    merkle::Tree,
    record::{Form, RecordId},
    seal::{Batch, Draft, SealedRecord, Sealer},
    statement::{SignedStatement, StatementType},
    verify::VerifiedRecord,
    wire,
};
use prost::Message as _;

use super::{
    caller::generation,
    stage::{Mallory, Theatre},
};
use crate::federation::FEDERATION;

/// A frame's statement, as its sender signs it.
pub struct Framed;

impl StatementType for Framed {
    const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.frame.v1";
    const KEY_USE: KeyUse = KeyUse::Hop;
}

/// A receipt's statement, as its receiver signs it.
pub struct Receipted;

impl StatementType for Receipted {
    const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.receipt.v1";
    const KEY_USE: KeyUse = KeyUse::Hop;
}

/// A statement with the payload type of a frame's, signed with a sealing key.
pub struct FramedBySealing;

impl StatementType for FramedBySealing {
    const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.frame.v1";
    const KEY_USE: KeyUse = KeyUse::Sealing;
}

/// A record on the wire with its own batch statement.
#[derive(Debug, Clone)]
pub struct Loose {
    /// The record; its batch index is 0.
    pub record: wire::Record,
    /// The signed batch statement.
    pub batch: wire::SignedStatement,
}

impl Loose {
    /// Puts a verified record into its form on the wire.
    #[must_use]
    pub fn of(record: &VerifiedRecord) -> Self {
        Self {
            record: record.to_wire(0),
            batch: record.statement().as_ref().into(),
        }
    }

    /// Returns the record's id.
    #[must_use]
    pub fn id(&self) -> RecordId {
        RecordId::of_header(&self.record.header)
    }

    /// Decodes the record's header, to be changed and put back with [`reseal`].
    #[must_use]
    pub fn header(&self) -> wire::Header {
        wire::Header::decode(self.record.header.clone()).unwrap()
    }

    /// Returns the section at this position.
    pub fn section(&mut self, place: usize) -> &mut wire::Section {
        self.record.sections.get_mut(place).unwrap()
    }

    fn claimed_form(&self) -> Form {
        let statement = SignedStatement::try_from(self.batch.clone());
        match statement {
            Ok(statement) => {
                SealedRecord::new(self.record.clone(), Arc::new(statement)).claimed_form()
            }
            Err(_) => Form::EMPTY,
        }
    }
}

impl Theatre {
    /// Seals drafts as a hostile originator, in one batch.
    #[must_use]
    pub fn seal(&self, by: &Mallory, drafts: Vec<Draft>) -> Vec<VerifiedRecord> {
        let sealer = Sealer {
            federation: &FEDERATION.parse().unwrap(),
            origin: &by.name.parse().unwrap(),
            key: &by.keyring.sealing,
            now: self.now(),
        };
        let sealed = sealer.seal(drafts, &mut SystemEntropy::default()).unwrap();
        let decider = self.target.kernel.decider();
        sealed
            .iter()
            .map(|sealed| decider.verify_seen(sealed, self.now(), self.now()).unwrap())
            .collect()
    }

    /// Seals one draft as a hostile originator.
    #[must_use]
    pub fn seal_one(&self, by: &Mallory, draft: Draft) -> Loose {
        Loose::of(self.seal(by, vec![draft]).first().unwrap())
    }

    /// Returns the head of a member's next frame to the target. It is the first of a new
    /// generation, so that no earlier position interferes with the attempt.
    #[must_use]
    pub fn head(&self, by: &Mallory) -> FrameHead {
        FrameHead {
            federation: FEDERATION.parse().unwrap(),
            sender: by.name.parse().unwrap(),
            receiver: "antwerp".parse().unwrap(),
            generation: generation(),
            lane: Lane::Bulk,
            first_sequence: 1,
            settled_sequence: 1,
            chain: Chain::START,
            sent_at: self.now(),
            register_epoch: 2,
        }
    }

    /// Returns a frame as an honest member would sign it.
    #[must_use]
    pub fn honest_frame(&self, by: &Mallory, records: &[VerifiedRecord]) -> wire::Frame {
        let sent = SentFrame::sign(self.head(by), records, &by.keyring.hop);
        sent.unwrap().wire().clone()
    }

    /// Returns a frame whose payload matches these items, whatever they are.
    #[must_use]
    pub fn frame(&self, by: &Mallory, items: &[Loose]) -> wire::Frame {
        self.frame_with(by, items, |_| {})
    }

    /// Like [`Self::frame`], with the payload changed before it is signed.
    #[must_use]
    pub fn frame_with(
        &self,
        by: &Mallory,
        items: &[Loose],
        change: impl FnOnce(&mut wire::FramePayload),
    ) -> wire::Frame {
        // The payload of an honest frame, so that only the intended change is wrong.
        let model = self.seal(
            by,
            vec![super::stage::draft(
                portcullis_protocol::record::Kind::Indicator,
            )],
        );
        let mut payload = matching(payload(&self.honest_frame(by, &model)), items);
        change(&mut payload);
        signed(&payload, items, &by.keyring.hop)
    }

    /// Delivers one item over a new stream and returns its answer.
    pub async fn deliver(&mut self, by: Who, item: &Loose) -> String {
        let told = self.deliver_all(by, std::slice::from_ref(item)).await;
        assert_eq!(told.len(), 1, "{told:?}");
        told.into_iter().next().unwrap()
    }

    /// Delivers items in one frame over a new stream and returns the answers.
    pub async fn deliver_all(&mut self, by: Who, items: &[Loose]) -> Vec<String> {
        let frame = self.frame(self.peer(by), items);
        self.line(self.peer(by)).await.say(&frame).await
    }

    /// Returns the hostile peer in this role.
    #[must_use]
    pub const fn peer(&self, who: Who) -> &Mallory {
        match who {
            Who::Mallory => &self.mallory,
            Who::Hub => &self.hub,
        }
    }
}

/// Role in which the hostile peer acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The customs authority.
    Mallory,
    /// The hub.
    Hub,
}

/// Returns a frame of these items under a payload that is made to match them.
#[must_use]
pub fn framed(payload: wire::FramePayload, items: &[Loose], key: &SigningKey) -> wire::Frame {
    signed(&matching(payload, items), items, key)
}

fn matching(payload: wire::FramePayload, items: &[Loose]) -> wire::FramePayload {
    wire::FramePayload {
        count: u32::try_from(items.len()).unwrap(),
        items_root: Bytes::copy_from_slice(items_root(items).as_bytes()),
        ..payload
    }
}

fn signed(payload: &wire::FramePayload, items: &[Loose], key: &SigningKey) -> wire::Frame {
    let statement = sign::<Framed>(payload, key);
    let records = (0..).zip(items).map(|(batch, item)| wire::Record {
        batch,
        ..item.record.clone()
    });
    wire::Frame {
        payload: Some((&statement).into()),
        batches: items.iter().map(|item| item.batch.clone()).collect(),
        records: records.collect(),
    }
}

/// Decodes the payload of a frame.
#[must_use]
pub fn payload(frame: &wire::Frame) -> wire::FramePayload {
    let signed = frame.payload.as_ref().unwrap();
    wire::FramePayload::decode(signed.payload.clone()).unwrap()
}

/// Signs a payload of any type with a key whose use matches the type.
#[must_use]
pub fn sign<S: StatementType>(payload: &impl prost::Message, key: &SigningKey) -> SignedStatement {
    SignedStatement::sign::<S>(payload.encode_to_vec().into(), key).unwrap()
}

/// Returns the root over the items of a frame, computed here and not by the code under test.
#[must_use]
pub fn items_root(items: &[Loose]) -> Digest {
    let leaves = items.iter().map(|item| {
        Digest::labelled(
            "portcullis frame item v1",
            &[
                item.id().as_bytes(),
                &item.claimed_form().bits().to_be_bytes(),
            ],
        )
    });
    Tree::padded(leaves.collect()).map_or_else(|_| Digest::from_bytes([0; 32]), |tree| tree.root())
}

/// Puts a changed header into a record and signs a batch of one over it, as its originator could.
#[must_use]
pub fn reseal(item: &Loose, header: &wire::Header, key: &SigningKey) -> Loose {
    reseal_bytes(item, header.encode_to_vec().into(), key, |_| {})
}

/// Like [`reseal`], with the header given as bytes and the batch statement changed before it is
/// signed.
#[must_use]
pub fn reseal_bytes(
    item: &Loose,
    header: Bytes,
    key: &SigningKey,
    change: impl FnOnce(&mut wire::BatchStatement),
) -> Loose {
    let id = RecordId::of_header(&header);
    let leaf = Digest::labelled(
        "portcullis batch leaf v1",
        &[&item.record.blind, id.as_bytes()],
    );
    let mut statement = statement(item);
    if let Ok(header) = wire::Header::decode(header.clone()) {
        statement.sealed_at_ms = header.sealed_at_ms;
        statement.federation = header.federation;
    }
    statement.key_id = Bytes::copy_from_slice(key.id().as_bytes());
    statement.tree_size = 1;
    statement.root = Bytes::copy_from_slice(leaf.as_bytes());
    change(&mut statement);
    Loose {
        record: wire::Record {
            header,
            leaf: 0,
            path: Bytes::new(),
            ..item.record.clone()
        },
        batch: (&sign::<Batch>(&statement, key)).into(),
    }
}

/// Decodes a record's batch statement.
#[must_use]
pub fn statement(item: &Loose) -> wire::BatchStatement {
    wire::BatchStatement::decode(item.batch.payload.clone()).unwrap()
}

//! The sending end: puts records into a signed frame and checks the receipt that answers it.

use std::{borrow::Borrow, sync::Arc};

use bytes::Bytes;
use prost::Message as _;

use super::{
    FrameAnswer, FrameError, FrameHead, FrameType, Generation, MAX_FRAME_BYTES, Receipt,
    frame_digest, items_root, received::read_payload,
};
use crate::{
    digest::Digest,
    keys::{KeyId, PublicKey, SigningKey},
    record::{Form, RecordId},
    rules::Rule,
    statement::SignedStatement,
    verify::{Refusal, VerifiedRecord},
    wire,
};

/// A frame ready to be sent, with the data that its receipt must match.
#[derive(Debug, Clone)]
pub struct SentFrame {
    awaited: Awaited,
    wire: wire::Frame,
}

/// The part of a sent frame that its receipt must match: all that is needed after sending.
#[derive(Debug, Clone)]
pub struct Awaited {
    head: FrameHead,
    digest: Digest,
    items: Vec<(RecordId, Form)>,
}

impl SentFrame {
    /// Puts records into a frame and signs it.
    ///
    /// # Errors
    ///
    /// [`FrameError`] if there are none, too many or too large ones, or the key is no hop key.
    pub fn sign(
        head: FrameHead,
        records: &[impl Borrow<VerifiedRecord>],
        key: &SigningKey,
    ) -> Result<Self, FrameError> {
        let items: Vec<_> = records
            .iter()
            .map(Borrow::borrow)
            .map(|record: &VerifiedRecord| (record.id(), record.form()))
            .collect();
        let root = items_root(&items).ok_or(FrameError::Items(items.len()))?;
        let payload = Bytes::from(frame_payload(&head, items.len(), root).encode_to_vec());
        let digest = frame_digest(&payload);
        let (batches, records) = with_statements(records);
        let statement = SignedStatement::sign::<FrameType>(payload, key)?;
        let wire = wire::Frame {
            payload: Some((&statement).into()),
            batches,
            records,
        };
        if wire.encoded_len() > MAX_FRAME_BYTES {
            return Err(FrameError::TooLarge(wire.encoded_len()));
        }
        let awaited = Awaited {
            head,
            digest,
            items,
        };
        Ok(Self { awaited, wire })
    }

    /// Returns the head of the frame.
    #[must_use]
    pub const fn head(&self) -> &FrameHead {
        self.awaited.head()
    }

    /// Returns its items in order, each as a record and its form.
    #[must_use]
    pub fn items(&self) -> &[(RecordId, Form)] {
        self.awaited.items()
    }

    /// The digest of what was signed.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        self.awaited.digest()
    }

    /// Returns the message for the wire.
    #[must_use]
    pub const fn wire(&self) -> &wire::Frame {
        &self.wire
    }

    /// Splits the frame into the message for the wire and the part that stays until the receipt
    /// comes.
    #[must_use]
    pub fn split(self) -> (wire::Frame, Awaited) {
        (self.wire, self.awaited)
    }

    /// Looks for the proof of a rollback in a receipt, as [`Awaited::forgotten`] does.
    pub fn forgotten(
        &self,
        receipt: &Receipt,
        own_key: impl Fn(&KeyId) -> Option<PublicKey>,
        remembered: Remembered<'_>,
    ) -> Option<Generation> {
        self.awaited.forgotten(receipt, own_key, remembered)
    }

    /// Checks a receipt for this frame, as [`Awaited::receipt`] does.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] if the receipt is not the receiver's, or not for this frame.
    pub fn receipt(
        &self,
        wire: wire::Receipt,
        hop_key: impl Fn(&KeyId) -> Option<PublicKey>,
    ) -> Result<Receipt, Refusal> {
        self.awaited.receipt(wire, hop_key)
    }
}

impl Awaited {
    /// Returns the head of the frame.
    #[must_use]
    pub const fn head(&self) -> &FrameHead {
        &self.head
    }

    /// Returns its items in order, each as a record and its form.
    #[must_use]
    pub fn items(&self) -> &[(RecordId, Form)] {
        &self.items
    }

    /// The digest of what was signed.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Checks a receipt for this frame: it must bind this frame and answer its items, in order.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] if the receipt is not the receiver's, or not for this frame.
    pub fn receipt(
        &self,
        wire: wire::Receipt,
        hop_key: impl Fn(&KeyId) -> Option<PublicKey>,
    ) -> Result<Receipt, Refusal> {
        let receipt = Receipt::verify(wire, hop_key)?;
        let mismatch = |what: &str| Refusal::new(Rule::ReceiptMismatch, what.to_owned());
        if receipt.frame_digest != self.digest || receipt.head_differs(&self.head) {
            return Err(mismatch("it names another frame"));
        }
        if let FrameAnswer::Answered(answers) = &receipt.verdict {
            let answered = answers.iter().map(|answer| (answer.record, answer.form));
            if !answered.eq(self.items.iter().copied()) {
                return Err(mismatch("it answers other items"));
            }
        }
        Ok(receipt)
    }
}

/// Memory of a node's own sending to one peer in one lane.
#[derive(Debug, Clone, Copy)]
pub struct Remembered<'a> {
    /// The node's present generation.
    pub generation: Generation,
    /// The first number that is not settled in it, durably.
    pub settled_sequence: u64,
    /// Generations that the node has left, or was shown before.
    pub left: &'a [Generation],
}

impl Awaited {
    /// Returns the generation of the statement that a refusal under EX-10 shows, if the statement
    /// proves that this node was rolled back: this node signed it, for this peer and lane, and does
    /// not remember what it says. The word of a peer alone proves nothing.
    pub fn forgotten(
        &self,
        receipt: &Receipt,
        own_key: impl Fn(&KeyId) -> Option<PublicKey>,
        remembered: Remembered<'_>,
    ) -> Option<Generation> {
        let shown = receipt
            .shown
            .as_ref()
            .filter(|_| receipt.is_out_of_sequence())?;
        let payload = shown.verify::<FrameType>(&own_key(&shown.key_id())?).ok()?;
        let (said, _, _) = read_payload(payload).ok()?;
        let head = &self.head;
        let same_channel = said.federation == head.federation
            && said.sender == head.sender
            && said.receiver == head.receiver
            && said.lane == head.lane;
        let is_later = if said.generation == remembered.generation {
            said.settled_sequence > remembered.settled_sequence
        } else {
            !remembered.left.contains(&said.generation)
        };
        (same_channel && is_later).then_some(said.generation)
    }
}

/// Returns the records for the wire, and the distinct statements they belong to.
fn with_statements(
    records: &[impl Borrow<VerifiedRecord>],
) -> (Vec<wire::SignedStatement>, Vec<wire::Record>) {
    let mut statements: Vec<&Arc<SignedStatement>> = Vec::new();
    let mut positions = std::collections::HashMap::with_capacity(records.len());
    let records = records
        .iter()
        .map(Borrow::borrow)
        .map(|record: &VerifiedRecord| {
            let statement = record.statement();
            let position = *positions.entry(statement.signature()).or_insert_with(|| {
                statements.push(statement);
                statements.len() - 1
            });
            record.to_wire(u32::try_from(position).unwrap_or(u32::MAX))
        })
        .collect();
    let batches = statements
        .into_iter()
        .map(|statement| statement.as_ref().into())
        .collect();
    (batches, records)
}

fn frame_payload(head: &FrameHead, count: usize, root: Digest) -> wire::FramePayload {
    wire::FramePayload {
        federation: head.federation.to_string(),
        sender: head.sender.to_string(),
        receiver: head.receiver.to_string(),
        generation: Bytes::copy_from_slice(head.generation.as_bytes()),
        lane: wire::Lane::from(head.lane).into(),
        first_sequence: head.first_sequence,
        count: u32::try_from(count).unwrap_or(u32::MAX),
        items_root: Bytes::copy_from_slice(root.as_bytes()),
        sent_at_ms: head.sent_at.as_millis(),
        register_epoch: head.register_epoch,
        settled_sequence: head.settled_sequence,
        chain: Bytes::copy_from_slice(head.chain.as_bytes()),
    }
}

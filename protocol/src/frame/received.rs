//! The receiving end: checks the sender and the items of a frame, and signs the answers.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use super::{
    Answer, Answering, Chain, FrameError, FrameHead, FramePosition, FrameType, Generation, Hop,
    Lane, MAX_AHEAD, MAX_ITEMS, frame_digest, items_root,
    receipt::{answers_receipt, refusal},
};
use crate::{
    digest::Digest,
    keys::{KeyId, PublicKey},
    rules::Rule,
    seal::SealedRecord,
    shape,
    statement::SignedStatement,
    time::Timestamp,
    verify::Refusal,
    wire,
};

/// A frame with its signature and items checked; its records are not verified yet.
#[derive(Debug, Clone)]
pub struct ReceivedFrame {
    /// Head of the frame.
    pub head: FrameHead,
    /// Its records, none of them verified.
    pub records: Vec<SealedRecord>,
    statement: SignedStatement,
    digest: Digest,
}

impl ReceivedFrame {
    /// Checks sender and receiver of a frame, its signature, and that its items are those signed.
    ///
    /// # Errors
    ///
    /// A [`RefusedFrame`], which holds all that is needed to sign the refusal.
    pub fn verify(
        wire: wire::Frame,
        hop: Hop<'_>,
        hop_key: impl Fn(&KeyId) -> Option<PublicKey>,
    ) -> Result<Self, RefusedFrame> {
        let wire::Frame {
            payload,
            batches,
            records,
        } = wire;
        let unreadable = |what: &str| Refusal::new(Rule::FrameUnreadable, what.to_owned());
        let statement = payload
            .ok_or_else(|| unreadable("it has no payload"))
            .and_then(|payload| {
                SignedStatement::try_from(payload)
                    .map_err(|_| unreadable("its signature has the wrong length"))
            })
            .map_err(RefusedFrame::anonymous)?;
        let digest = frame_digest(statement.unverified_payload());
        let refused = |refusal| RefusedFrame {
            digest: Some(digest),
            refusal,
        };
        let key = hop_key(&statement.key_id()).ok_or_else(|| {
            let detail = format!("`{}` has no hop key `{}`", hop.peer, statement.key_id());
            refused(Refusal::new(Rule::FrameSignature, detail))
        })?;
        let payload = statement
            .verify::<FrameType>(&key)
            .map_err(|error| refused(Refusal::new(Rule::FrameSignature, error.to_string())))?;
        let (head, count, root) = read_payload(payload).map_err(refused)?;
        check_hop(&head, hop).map_err(refused)?;
        check_place(&head).map_err(refused)?;
        let records = sealed_records(batches, records).map_err(refused)?;
        check_items(&records, count, root).map_err(refused)?;
        Ok(Self {
            head,
            records,
            statement,
            digest,
        })
    }

    /// Returns the frame's place in its sender's sequence, and the sender's claim of what it
    /// settled.
    #[must_use]
    pub fn place(&self) -> FramePosition {
        let head = &self.head;
        FramePosition {
            generation: head.generation,
            first_sequence: head.first_sequence,
            next_sequence: head
                .first_sequence
                .saturating_add(self.records.len() as u64),
            settled_sequence: head.settled_sequence,
            chain: head.chain,
            digest: self.digest,
        }
    }

    /// Checks that a record may travel in this frame's lane. Only kinds that must not wait may be in
    /// the urgent lane; older alerts are sent again in bulk. The kind is part of the record's id, so
    /// nothing has to be verified first.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under EX-22.
    pub fn check_lane(&self, record: &SealedRecord) -> Result<(), Refusal> {
        match (self.head.lane, record.claimed_kind()) {
            (Lane::Urgent, Some(kind)) if Lane::of(kind) != Lane::Urgent => {
                let detail = format!("kind `{kind}` in lane `{}`", self.head.lane);
                Err(Refusal::new(Rule::LaneOfKind, detail))
            }
            (Lane::Urgent | Lane::Bulk, Some(_) | None) => Ok(()),
        }
    }

    /// The sender's signed statement, to be kept as evidence.
    #[must_use]
    pub const fn statement(&self) -> &SignedStatement {
        &self.statement
    }

    /// Signs the answers to this frame, one per item, in order.
    ///
    /// # Errors
    ///
    /// [`FrameError`] if the answers are not as many as the items or the key is no hop key.
    pub fn answer(
        &self,
        answers: Vec<Answer>,
        signing: Answering<'_>,
    ) -> Result<wire::Receipt, FrameError> {
        if answers.len() != self.records.len() {
            return Err(FrameError::Items(answers.len()));
        }
        answers_receipt(&self.head, self.digest, &answers, signing)
    }

    /// Signs the refusal of this whole frame, for a reason that lies beyond its items.
    ///
    /// # Errors
    ///
    /// [`FrameError`] if the key is no hop key.
    pub fn refuse(&self, rule: Rule, signing: Answering<'_>) -> Result<wire::Receipt, FrameError> {
        refusal(&self.head, self.digest, (rule, None), signing)
    }

    /// Signs the refusal of this whole frame as out of sequence. `forgotten` is the statement with
    /// the last claim of its sender, which proves that the sender was rolled back.
    ///
    /// # Errors
    ///
    /// [`FrameError`] if the key is no hop key.
    pub fn refuse_forgotten(
        &self,
        forgotten: &SignedStatement,
        signing: Answering<'_>,
    ) -> Result<wire::Receipt, FrameError> {
        let why = (Rule::Sequence, Some(forgotten));
        refusal(&self.head, self.digest, why, signing)
    }
}

/// A frame that was refused whole.
#[derive(Debug, thiserror::Error)]
#[error("{refusal}")]
pub struct RefusedFrame {
    /// The digest of its payload, if it has one.
    digest: Option<Digest>,
    /// Rule and detail of the refusal.
    pub refusal: Refusal,
}

impl RefusedFrame {
    /// Refuses a frame without reading it; not even its signature is checked.
    #[must_use]
    pub fn unread(frame: &wire::Frame, refusal: Refusal) -> Self {
        let digest = frame
            .payload
            .as_ref()
            .map(|signed| frame_digest(&signed.payload));
        Self { digest, refusal }
    }

    const fn anonymous(refusal: Refusal) -> Self {
        Self {
            digest: None,
            refusal,
        }
    }

    /// Signs the refusal. It repeats nothing of the frame except the digest of its payload.
    ///
    /// # Errors
    ///
    /// [`FrameError`] if the key is no hop key.
    pub fn answer(
        &self,
        hop: Hop<'_>,
        signing: Answering<'_>,
    ) -> Result<wire::Receipt, FrameError> {
        let head = FrameHead {
            federation: hop.federation.clone(),
            sender: hop.peer.clone(),
            receiver: hop.receiver.clone(),
            generation: Generation::from_bytes([0; 16]),
            lane: Lane::Bulk,
            first_sequence: 0,
            settled_sequence: 0,
            chain: Chain::START,
            sent_at: signing.now,
            register_epoch: 0,
        };
        let digest = self.digest.unwrap_or_else(|| frame_digest(&[]));
        refusal(&head, digest, (self.refusal.rule, None), signing)
    }
}

/// Returns the lane that a frame claims, before anything about it is checked. The claim decides how
/// soon the frame is looked at, and nothing else.
#[must_use]
pub fn claimed_lane(frame: &wire::Frame) -> Lane {
    let payload = frame.payload.as_ref();
    payload
        .and_then(|signed| wire::FramePayload::decode(signed.payload.clone()).ok())
        .and_then(|payload| Lane::from_wire(payload.lane))
        .unwrap_or(Lane::Bulk)
}

pub(super) fn read_payload(bytes: &Bytes) -> Result<(FrameHead, usize, Digest), Refusal> {
    let field = |name: &str| Refusal::new(Rule::FrameUnreadable, format!("field `{name}`"));
    let wire::FramePayload {
        federation,
        sender,
        receiver,
        generation,
        lane,
        first_sequence,
        count,
        items_root,
        sent_at_ms,
        register_epoch,
        settled_sequence,
        chain,
    } = shape::read(bytes).map_err(|error| error.refused(Rule::HopLater, field("payload")))?;
    let head = FrameHead {
        federation: federation.parse().map_err(|_| field("federation"))?,
        sender: sender.parse().map_err(|_| field("sender"))?,
        receiver: receiver.parse().map_err(|_| field("receiver"))?,
        generation: generation
            .as_ref()
            .try_into()
            .map(Generation::from_bytes)
            .map_err(|_| field("generation"))?,
        lane: Lane::from_wire(lane).ok_or_else(|| field("lane"))?,
        first_sequence,
        settled_sequence,
        chain: Chain::from_slice(&chain).ok_or_else(|| field("chain"))?,
        sent_at: Timestamp::from_millis(sent_at_ms),
        register_epoch,
    };
    let count = usize::try_from(count).map_err(|_| field("count"))?;
    let root = Digest::from_slice(&items_root).ok_or_else(|| field("items_root"))?;
    if first_sequence == 0 || first_sequence.checked_add(count as u64).is_none() {
        return Err(field("first_sequence"));
    }
    if settled_sequence == 0 || settled_sequence > first_sequence {
        return Err(field("settled_sequence"));
    }
    // Something is settled if and only if the chain has left its start.
    if (settled_sequence == 1) != (head.chain == Chain::START) {
        return Err(field("chain"));
    }
    Ok((head, count, root))
}

fn check_hop(head: &FrameHead, hop: Hop<'_>) -> Result<(), Refusal> {
    if head.federation != *hop.federation {
        let detail = format!("it names federation `{}`", head.federation);
        return Err(Refusal::new(Rule::FrameFederation, detail));
    }
    if head.receiver != *hop.receiver {
        let detail = format!("it is for node `{}`", head.receiver);
        return Err(Refusal::new(Rule::FrameReceiver, detail));
    }
    if head.sender != *hop.peer {
        let detail = format!("it names sender `{}`", head.sender);
        return Err(Refusal::new(Rule::FrameSender, detail));
    }
    Ok(())
}

/// Checks that a frame is not further ahead than a sender's window allows.
fn check_place(head: &FrameHead) -> Result<(), Refusal> {
    let ahead = head.first_sequence.saturating_sub(head.settled_sequence);
    if ahead > MAX_AHEAD {
        let detail = format!("it is {ahead} items ahead of what is settled");
        return Err(Refusal::new(Rule::Sequence, detail));
    }
    Ok(())
}

fn sealed_records(
    batches: Vec<wire::SignedStatement>,
    records: Vec<wire::Record>,
) -> Result<Vec<SealedRecord>, Refusal> {
    let unreadable = |what: &str| Refusal::new(Rule::FrameUnreadable, what.to_owned());
    if records.is_empty() || records.len() > MAX_ITEMS || batches.len() > records.len() {
        return Err(unreadable(
            "the number of its items or batches is not allowed",
        ));
    }
    let statements = batches
        .into_iter()
        .map(|batch| SignedStatement::try_from(batch).map(Arc::new))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| unreadable("a batch signature has the wrong length"))?;
    records
        .into_iter()
        .map(|record| {
            usize::try_from(record.batch)
                .ok()
                .and_then(|position| statements.get(position))
                .cloned()
                .map(|statement| SealedRecord::new(record, statement))
                .ok_or_else(|| unreadable("a record names a batch that is not there"))
        })
        .collect()
}

fn check_items(records: &[SealedRecord], count: usize, root: Digest) -> Result<(), Refusal> {
    let items: Vec<_> = records
        .iter()
        .map(|record| (record.id(), record.claimed_form()))
        .collect();
    if records.len() == count && items_root(&items) == Some(root) {
        Ok(())
    } else {
        Err(Refusal::new(
            Rule::FrameItems,
            format!("{} items, {count} were signed", records.len()),
        ))
    }
}

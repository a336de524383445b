//! One hop: records in a signed frame, answers in a signed receipt.
//!
//! ```text
//! sender                                             receiver
//!   frame(seq 41..44, items root) signed with hop key  ->  checks sender, receiver, root
//!                                                          verifies, decides, commits
//!   checks that the receipt binds this very frame     <-   receipt(frame digest, answers root)
//! ```
//!
//! A frame binds who sends to whom, the sender's generation, the lane and the items in their
//! forms; the sections themselves are bound by the digests in each header. A receipt binds the
//! frame's digest and one answer per item. A frame that cannot be answered item by item is
//! refused whole, and that refusal is signed too.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use prost::Message as _;

use crate::{
    digest::Digest,
    identifiers::{FederationId, NodeId},
    keys::{KeyId, KeyUse, PublicKey, SigningKey},
    merkle::{MAX_LEAVES, Tree},
    named::named,
    record::{Form, RecordId},
    rules::Rule,
    seal::SealedRecord,
    statement::{SignatureError, SignedStatement, StatementType},
    time::Timestamp,
    verify::{Refusal, VerifiedRecord},
    wire,
};

/// The most items in a frame.
pub const MAX_ITEMS: usize = MAX_LEAVES;
/// The most bytes of an encoded frame.
pub const MAX_FRAME_BYTES: usize = 8 << 20;

/// A sender's statement over a frame.
enum FrameType {}

impl StatementType for FrameType {
    const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.frame.v1";
    const KEY_USE: KeyUse = KeyUse::Hop;
}

/// A receiver's statement over its answers.
enum ReceiptType {}

impl StatementType for ReceiptType {
    const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.receipt.v1";
    const KEY_USE: KeyUse = KeyUse::Hop;
}

named! {
    /// Which of the two queues of a peer something travels in.
    Lane, "lane", "`urgent`, `bulk`" {
        /// Alerts and whatever must not wait.
        Urgent = "urgent",
        /// Everything else.
        Bulk = "bulk",
    }
}

/// Which life of a node's store its sequence numbers count in: random at `init` and at restore.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation([u8; 16]);

impl Generation {
    /// Takes 16 bytes drawn at random.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a frame says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameHead {
    /// The federation.
    pub federation: FederationId,
    /// Who sends it.
    pub sender: NodeId,
    /// To whom.
    pub receiver: NodeId,
    /// The sender's generation.
    pub generation: Generation,
    /// The lane.
    pub lane: Lane,
    /// The sequence number of its first item in this generation, lane and direction; from 1.
    pub first_sequence: u64,
    /// When it was sent, by the sender's clock.
    pub sent_at: Timestamp,
    /// The sender's register epoch.
    pub register_epoch: u64,
}

/// A frame ready to be sent, and what its receipt must match.
#[derive(Debug, Clone)]
pub struct SentFrame {
    head: FrameHead,
    digest: Digest,
    items: Vec<(RecordId, Form)>,
    wire: wire::Frame,
}

impl SentFrame {
    /// Puts records into a frame and signs it.
    ///
    /// # Errors
    ///
    /// [`FrameError`] if there are none, too many or too large ones, or the key is no hop key.
    pub fn sign(
        head: FrameHead,
        records: &[VerifiedRecord],
        key: &SigningKey,
    ) -> Result<Self, FrameError> {
        let items: Vec<_> = records
            .iter()
            .map(|record| (record.id(), record.form()))
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
        Ok(Self {
            head,
            digest,
            items,
            wire,
        })
    }

    /// What it says about itself.
    #[must_use]
    pub const fn head(&self) -> &FrameHead {
        &self.head
    }

    /// Its items in order: which record in which form.
    #[must_use]
    pub fn items(&self) -> &[(RecordId, Form)] {
        &self.items
    }

    /// What goes over the wire.
    #[must_use]
    pub const fn wire(&self) -> &wire::Frame {
        &self.wire
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
        if let Verdict::Answered(answers) = &receipt.verdict {
            let answered = answers.iter().map(|answer| (answer.record, answer.form));
            if !answered.eq(self.items.iter().copied()) {
                return Err(mismatch("it answers other items"));
            }
        }
        Ok(receipt)
    }
}

/// Why a frame or a receipt cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// No items, or too many.
    #[error("a frame has 1 to {MAX_ITEMS} items, not {0}")]
    Items(usize),
    /// More bytes than a receiver takes.
    #[error("a frame has at most {MAX_FRAME_BYTES} bytes, not {0}; put fewer records into it")]
    TooLarge(usize),
    /// The key is no hop key.
    #[error(transparent)]
    Key(#[from] SignatureError),
}

/// Records for the wire, and the distinct statements they belong to.
fn with_statements(records: &[VerifiedRecord]) -> (Vec<wire::SignedStatement>, Vec<wire::Record>) {
    let mut statements: Vec<&Arc<SignedStatement>> = Vec::new();
    let mut positions = std::collections::HashMap::with_capacity(records.len());
    let records = records
        .iter()
        .map(|record| {
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
    }
}

fn frame_digest(payload: &[u8]) -> Digest {
    Digest::labelled("portcullis frame v1", &[payload])
}

/// The root over the items of a frame; `None` if there are none or too many.
fn items_root(items: &[(RecordId, Form)]) -> Option<Digest> {
    let leaves = items
        .iter()
        .map(|(id, form)| {
            Digest::labelled(
                "portcullis frame item v1",
                &[id.as_bytes(), &form.bits().to_be_bytes()],
            )
        })
        .collect();
    Tree::padded(leaves).ok().map(|tree| tree.root())
}

/// Who the receiver of a frame is, and who it believes the sender to be.
#[derive(Clone, Copy)]
pub struct Hop<'a> {
    /// The federation both are members of.
    pub federation: &'a FederationId,
    /// The receiving node.
    pub receiver: &'a NodeId,
    /// The peer of the connection, as its certificate and the register say.
    pub peer: &'a NodeId,
}

/// A frame whose signature and items were checked; its records have not been.
#[derive(Debug, Clone)]
pub struct ReceivedFrame {
    /// What it says about itself.
    pub head: FrameHead,
    /// Its records, none of them verified.
    pub records: Vec<SealedRecord>,
    digest: Digest,
}

impl ReceivedFrame {
    /// Checks who sent a frame to whom, its signature and that its items are those signed.
    ///
    /// # Errors
    ///
    /// A [`RefusedFrame`], with all that is needed to sign the refusal.
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
        let records = sealed_records(batches, records).map_err(refused)?;
        check_items(&records, count, root).map_err(refused)?;
        Ok(Self {
            head,
            records,
            digest,
        })
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
        let root = answers_root(&answers).ok_or(FrameError::Items(answers.len()))?;
        let payload = receipt_payload(&self.head, answers.len(), self.digest, root, signing);
        let statement =
            SignedStatement::sign::<ReceiptType>(payload.encode_to_vec().into(), signing.key)?;
        Ok(wire::Receipt {
            payload: Some((&statement).into()),
            answers: answers.iter().map(wire::Answer::from).collect(),
            refused: String::new(),
        })
    }

    /// Signs the refusal of this whole frame, for a reason that lies beyond its items.
    ///
    /// # Errors
    ///
    /// [`FrameError`] if the key is no hop key.
    pub fn refuse(&self, rule: Rule, signing: Answering<'_>) -> Result<wire::Receipt, FrameError> {
        refusal(&self.head, self.digest, rule, signing)
    }
}

/// Who answers, and when.
#[derive(Clone, Copy)]
pub struct Answering<'a> {
    /// The receiver's hop key.
    pub key: &'a SigningKey,
    /// The present.
    pub now: Timestamp,
    /// The receiver's register epoch.
    pub register_epoch: u64,
}

/// A frame that was refused whole.
#[derive(Debug, thiserror::Error)]
#[error("{refusal}")]
pub struct RefusedFrame {
    /// The digest of its payload, if it has one.
    digest: Option<Digest>,
    /// Why.
    pub refusal: Refusal,
}

impl RefusedFrame {
    const fn anonymous(refusal: Refusal) -> Self {
        Self {
            digest: None,
            refusal,
        }
    }

    /// Signs the refusal. Of the frame's own words it repeats none but the payload's digest.
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
            sent_at: signing.now,
            register_epoch: 0,
        };
        let digest = self.digest.unwrap_or_else(|| frame_digest(&[]));
        refusal(&head, digest, self.refusal.rule, signing)
    }
}

fn refusal(
    head: &FrameHead,
    digest: Digest,
    rule: Rule,
    signing: Answering<'_>,
) -> Result<wire::Receipt, FrameError> {
    let payload = receipt_payload(head, 0, digest, refusal_root(rule.id()), signing);
    let statement =
        SignedStatement::sign::<ReceiptType>(payload.encode_to_vec().into(), signing.key)?;
    Ok(wire::Receipt {
        payload: Some((&statement).into()),
        answers: Vec::new(),
        refused: rule.id().to_owned(),
    })
}

fn refusal_root(rule_id: &str) -> Digest {
    Digest::labelled("portcullis frame refusal v1", &[rule_id.as_bytes()])
}

fn receipt_payload(
    head: &FrameHead,
    count: usize,
    frame: Digest,
    root: Digest,
    signing: Answering<'_>,
) -> wire::ReceiptPayload {
    wire::ReceiptPayload {
        federation: head.federation.to_string(),
        sender: head.sender.to_string(),
        receiver: head.receiver.to_string(),
        generation: Bytes::copy_from_slice(head.generation.as_bytes()),
        lane: wire::Lane::from(head.lane).into(),
        first_sequence: head.first_sequence,
        count: u32::try_from(count).unwrap_or(u32::MAX),
        frame_digest: Bytes::copy_from_slice(frame.as_bytes()),
        answers_root: Bytes::copy_from_slice(root.as_bytes()),
        register_epoch: signing.register_epoch,
        answered_at_ms: signing.now.as_millis(),
    }
}

fn read_payload(bytes: &Bytes) -> Result<(FrameHead, usize, Digest), Refusal> {
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
    } = wire::FramePayload::decode(bytes.clone()).map_err(|_| field("payload"))?;
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
        sent_at: Timestamp::from_millis(sent_at_ms),
        register_epoch,
    };
    let count = usize::try_from(count).map_err(|_| field("count"))?;
    let root = Digest::from_slice(&items_root).ok_or_else(|| field("items_root"))?;
    if first_sequence == 0 || first_sequence.checked_add(count as u64).is_none() {
        return Err(field("first_sequence"));
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

named! {
    /// What a receiver did with an item.
    Outcome, "outcome",
    "`accepted`, `extended`, `duplicate`, `refused`, `refused-for-now`, `held`" {
        /// Admitted and durable.
        Accepted = "accepted",
        /// Held before; sections it lacked were added.
        Extended = "extended",
        /// Held before in this form or a fuller one.
        Duplicate = "duplicate",
        /// Not admitted, for good.
        Refused = "refused",
        /// Not admitted now; worth another try.
        RefusedForNow = "refused-for-now",
        /// A person decides; a final answer follows.
        Held = "held",
    }
}

impl Outcome {
    /// Whether the receiver will never say anything else about this item.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Accepted | Self::Extended | Self::Duplicate | Self::Refused => true,
            Self::RefusedForNow | Self::Held => false,
        }
    }

    /// Whether the receiver has the item.
    #[must_use]
    pub const fn is_admitted(self) -> bool {
        match self {
            Self::Accepted | Self::Extended | Self::Duplicate => true,
            Self::Refused | Self::RefusedForNow | Self::Held => false,
        }
    }
}

/// A receiver's answer to one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The record.
    pub record: RecordId,
    /// The form in which it was delivered.
    pub form: Form,
    /// What became of it.
    pub outcome: Outcome,
    /// The rule that refused or held it: an id of [`Rule`], or of a newer protocol.
    pub reason: Option<String>,
}

impl Answer {
    fn digest(&self) -> Digest {
        let reason = self.reason.as_deref().unwrap_or_default();
        Digest::labelled(
            "portcullis answer v1",
            &[
                self.record.as_bytes(),
                &self.form.bits().to_be_bytes(),
                &i32::from(wire::Outcome::from(self.outcome)).to_be_bytes(),
                reason.as_bytes(),
            ],
        )
    }
}

fn answers_root(answers: &[Answer]) -> Option<Digest> {
    let leaves = answers.iter().map(Answer::digest).collect();
    Tree::padded(leaves).ok().map(|tree| tree.root())
}

/// What a receiver said to a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// An answer to each item.
    Answered(Vec<Answer>),
    /// The whole frame was refused under the rule with this id.
    RefusedWhole(String),
}

/// A receipt whose signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// What the receiver said.
    pub verdict: Verdict,
    /// When, by its clock.
    pub answered_at: Timestamp,
    /// The receiver's register epoch.
    pub register_epoch: u64,
    /// The statement, to be kept as evidence.
    pub statement: SignedStatement,
    frame_digest: Digest,
    named: wire::ReceiptPayload,
}

impl Receipt {
    fn verify(
        wire: wire::Receipt,
        hop_key: impl Fn(&KeyId) -> Option<PublicKey>,
    ) -> Result<Self, Refusal> {
        let wire::Receipt {
            payload,
            answers,
            refused,
        } = wire;
        let invalid = |what: &str| Refusal::new(Rule::ReceiptSignature, what.to_owned());
        let statement = payload
            .and_then(|payload| SignedStatement::try_from(payload).ok())
            .ok_or_else(|| invalid("it is not signed"))?;
        let key = hop_key(&statement.key_id()).ok_or_else(|| invalid("its key is unknown"))?;
        let payload = statement
            .verify::<ReceiptType>(&key)
            .map_err(|error| invalid(&error.to_string()))?;
        let named = wire::ReceiptPayload::decode(payload.clone())
            .map_err(|_| invalid("its payload cannot be read"))?;
        let mismatch = |what: &str| Refusal::new(Rule::ReceiptMismatch, what.to_owned());
        let frame_digest = Digest::from_slice(&named.frame_digest)
            .ok_or_else(|| mismatch("its frame digest is not 32 bytes"))?;
        let root = Digest::from_slice(&named.answers_root);
        let verdict = read_verdict(answers, refused)?;
        let (count, signed_root) = match &verdict {
            Verdict::Answered(answers) => (answers.len(), answers_root(answers)),
            Verdict::RefusedWhole(rule) => (0, Some(refusal_root(rule))),
        };
        let count_differs = usize::try_from(named.count) != Ok(count);
        if root.is_none() || signed_root != root || count_differs {
            return Err(mismatch("its answers are not those signed"));
        }
        Ok(Self {
            verdict,
            answered_at: Timestamp::from_millis(named.answered_at_ms),
            register_epoch: named.register_epoch,
            statement,
            frame_digest,
            named,
        })
    }

    /// Whether it names other parties or another place than `head`. A refusal of a whole frame
    /// that could not be read repeats nothing but the parties.
    fn head_differs(&self, head: &FrameHead) -> bool {
        let named = &self.named;
        let parties_differ = named.federation != head.federation.as_str()
            || named.sender != head.sender.as_str()
            || named.receiver != head.receiver.as_str();
        let place_differs = named.generation.as_ref() != head.generation.as_bytes()
            || Lane::from_wire(named.lane) != Some(head.lane)
            || named.first_sequence != head.first_sequence;
        match self.verdict {
            Verdict::Answered(_) => parties_differ || place_differs,
            Verdict::RefusedWhole(_) => parties_differ,
        }
    }
}

fn read_verdict(answers: Vec<wire::Answer>, refused: String) -> Result<Verdict, Refusal> {
    let mismatch = |what: &str| Refusal::new(Rule::ReceiptMismatch, what.to_owned());
    match (answers.is_empty(), refused.is_empty()) {
        (true, false) if is_reason(&refused) => Ok(Verdict::RefusedWhole(refused)),
        (false, true) => answers
            .into_iter()
            .map(|answer| Answer::try_from(answer).map_err(|_| mismatch("an answer is unreadable")))
            .collect::<Result<_, _>>()
            .map(Verdict::Answered),
        (true | false, _) => Err(mismatch("it neither answers nor refuses")),
    }
}

/// Whether a text has the form of a rule's id; it is printed, so nothing else may pass.
pub(crate) fn is_reason(text: &str) -> bool {
    let shaped = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=16).contains(&text.len()) && text.bytes().all(shaped)
}

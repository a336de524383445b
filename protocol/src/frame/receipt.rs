//! Receipts: the receiver's signed answer to a frame, and the sender's check of it.

use bytes::Bytes;
use prost::Message as _;

use super::{Answering, FrameError, FrameHead, Lane, ReceiptType};
use crate::{
    digest::Digest,
    keys::{KeyId, PublicKey},
    merkle::Tree,
    named::named,
    record::{Form, RecordId},
    rules::Rule,
    shape,
    statement::SignedStatement,
    time::Timestamp,
    verify::Refusal,
    wire,
};

named! {
    /// Result of one item at the receiver.
    Outcome, "outcome",
    "`accepted`, `extended`, `duplicate`, `refused`, `refused-for-now`, `held`" {
        /// Admitted and durable.
        Accepted = "accepted",
        /// Held before; sections that were missing were added.
        Extended = "extended",
        /// Held before in this form or a fuller one.
        Duplicate = "duplicate",
        /// Not admitted, for good.
        Refused = "refused",
        /// Not admitted now; the sender may try again.
        RefusedForNow = "refused-for-now",
        /// A person has to decide; a final answer follows.
        Held = "held",
    }
}

impl Outcome {
    /// Returns whether this answer is the receiver's last about the item.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Accepted | Self::Extended | Self::Duplicate | Self::Refused => true,
            Self::RefusedForNow | Self::Held => false,
        }
    }

    /// Returns whether the receiver has the item.
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
    /// The result.
    pub outcome: Outcome,
    /// Id of the rule that refused or held the item: one of [`Rule`], or of a newer protocol.
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

/// The receiver's answer to a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameAnswer {
    /// An answer to each item.
    Answered(Vec<Answer>),
    /// The whole frame was refused under the rule with this id.
    RefusedWhole(String),
}

/// A receipt whose signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The receiver's answer.
    pub verdict: FrameAnswer,
    /// Time of the answer, by the receiver's clock.
    pub answered_at: Timestamp,
    /// The receiver's register epoch.
    pub register_epoch: u64,
    /// Number of frames of this lane that the receiver accepts in flight; 0: none for now.
    pub credit: u32,
    /// The statement, to be kept as evidence.
    pub statement: SignedStatement,
    /// A statement over a frame that the receiver shows with a refusal under EX-10. It is not
    /// checked; [`Awaited::forgotten`](super::Awaited::forgotten) does that.
    pub(super) shown: Option<SignedStatement>,
    pub(super) frame_digest: Digest,
    named: wire::ReceiptPayload,
}

impl Receipt {
    pub(super) fn verify(
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
        let named: wire::ReceiptPayload = shape::read(payload).map_err(|error| {
            error.refused(Rule::HopLater, invalid("its payload cannot be read"))
        })?;
        let mismatch = |what: &str| Refusal::new(Rule::ReceiptMismatch, what.to_owned());
        let frame_digest = Digest::from_slice(&named.frame_digest)
            .ok_or_else(|| mismatch("its frame digest is not 32 bytes"))?;
        let root = Digest::from_slice(&named.answers_root);
        let shown = named
            .forgotten
            .clone()
            .map(SignedStatement::try_from)
            .transpose()
            .map_err(|_| mismatch("it shows a statement that cannot be read"))?;
        let verdict = read_verdict(answers, refused)?;
        let (count, signed_root) = match &verdict {
            FrameAnswer::Answered(answers) => (answers.len(), answers_root(answers)),
            FrameAnswer::RefusedWhole(rule) => (0, Some(refusal_root(rule))),
        };
        let count_differs = usize::try_from(named.count) != Ok(count);
        if root.is_none() || signed_root != root || count_differs {
            return Err(mismatch("its answers are not those signed"));
        }
        Ok(Self {
            verdict,
            answered_at: Timestamp::from_millis(named.answered_at_ms),
            register_epoch: named.register_epoch,
            credit: named.credit,
            statement,
            shown,
            frame_digest,
            named,
        })
    }

    /// Returns whether the receipt refuses the frame as out of sequence (EX-10).
    #[must_use]
    pub fn is_out_of_sequence(&self) -> bool {
        match &self.verdict {
            FrameAnswer::RefusedWhole(rule) => rule == Rule::Sequence.id(),
            FrameAnswer::Answered(_) => false,
        }
    }

    /// Returns the digest of the frame that is answered.
    #[must_use]
    pub const fn frame_digest(&self) -> &Digest {
        &self.frame_digest
    }

    /// Returns whether the receipt names other parties or another place than `head`. A refusal of a
    /// whole frame that could not be read repeats only the parties, as the receiver knows them; a
    /// refusal because of the parties that the frame names cannot repeat those. The frame's digest
    /// binds all of it.
    pub(super) fn head_differs(&self, head: &FrameHead) -> bool {
        let named = &self.named;
        let parties_differ = named.federation != head.federation.as_str()
            || named.sender != head.sender.as_str()
            || named.receiver != head.receiver.as_str();
        let place_differs = named.generation.as_ref() != head.generation.as_bytes()
            || Lane::from_wire(named.lane) != Some(head.lane)
            || named.first_sequence != head.first_sequence;
        match &self.verdict {
            FrameAnswer::Answered(_) => parties_differ || place_differs,
            FrameAnswer::RefusedWhole(rule) => parties_differ && !is_about_parties(rule),
        }
    }
}

/// Returns whether a whole frame is refused under this rule because of the parties that it names.
fn is_about_parties(rule: &str) -> bool {
    let rules = [
        Rule::FrameFederation,
        Rule::FrameReceiver,
        Rule::FrameSender,
    ];
    rules.iter().any(|about| about.id() == rule)
}

fn read_verdict(answers: Vec<wire::Answer>, refused: String) -> Result<FrameAnswer, Refusal> {
    let mismatch = |what: &str| Refusal::new(Rule::ReceiptMismatch, what.to_owned());
    match (answers.is_empty(), refused.is_empty()) {
        (true, false) if is_reason(&refused) => Ok(FrameAnswer::RefusedWhole(refused)),
        (false, true) => answers
            .into_iter()
            .map(|answer| Answer::try_from(answer).map_err(|_| mismatch("an answer is unreadable")))
            .collect::<Result<_, _>>()
            .map(FrameAnswer::Answered),
        (true | false, _) => Err(mismatch("it neither answers nor refuses")),
    }
}

/// Returns whether a text has the form of a rule's id. The text is printed, so nothing else may
/// pass.
pub(crate) fn is_reason(text: &str) -> bool {
    let shaped = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=16).contains(&text.len()) && text.bytes().all(shaped)
}

/// Signs the answers to a frame, one per item.
pub(super) fn answers_receipt(
    head: &FrameHead,
    frame: Digest,
    answers: &[Answer],
    signing: Answering<'_>,
) -> Result<wire::Receipt, FrameError> {
    let root = answers_root(answers).ok_or(FrameError::Items(answers.len()))?;
    let payload = receipt_payload(head, answers.len(), frame, root, signing);
    let statement =
        SignedStatement::sign::<ReceiptType>(payload.encode_to_vec().into(), signing.key)?;
    Ok(wire::Receipt {
        payload: Some((&statement).into()),
        answers: answers.iter().map(wire::Answer::from).collect(),
        refused: String::new(),
    })
}

/// Signs the refusal of a whole frame. With EX-10 comes what the frame's sender forgot.
pub(super) fn refusal(
    head: &FrameHead,
    digest: Digest,
    (rule, forgotten): (Rule, Option<&SignedStatement>),
    signing: Answering<'_>,
) -> Result<wire::Receipt, FrameError> {
    let payload = wire::ReceiptPayload {
        forgotten: forgotten.map(wire::SignedStatement::from),
        ..receipt_payload(head, 0, digest, refusal_root(rule.id()), signing)
    };
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
        credit: signing.credit,
        forgotten: None,
    }
}

//! Gossip about trust: members exchange registers, freshness statements and suspensions.
//!
//! ```text
//! asks: I have epoch 4 …          ──▶  epochs after 4, as many as fit; the newer freshness; …
//! ```
//!
//! Any member may carry what others signed; nothing is believed because of who brought it. Each
//! epoch is verified on top of the one before it. Its signatures are checked before its content is
//! read, so that only the governance can make a node do more work. Sizes and counts are checked
//! before anything is decoded.

use bytes::Bytes;

use crate::{
    digest::Digest,
    frame::check_count,
    freshness::MAX_FRESHNESS_BYTES,
    identifiers::FederationId,
    register::{SignedRegister, VerifiedRegister},
    rules::Rule,
    suspension::{MAX_SUSPENSION_BYTES, MAX_SUSPENSIONS},
    time::Timestamp,
    verify::Refusal,
    wire,
};

/// The most bytes of a question.
pub const MAX_ASK_BYTES: usize = 1 << 10;
/// The most bytes of an answer, and of one epoch that travels in it.
pub const MAX_ANSWER_BYTES: usize = 16 << 20;
/// The most epochs in an answer; a node that lacks more asks again.
pub const MAX_EPOCHS: usize = 64;
/// Bytes of an answer reserved for all but the epochs: digests, lengths, freshness, suspensions.
const BESIDE_EPOCHS: usize = 4 << 20;
/// The most signatures of an epoch: of the governance before it and of its own.
const MAX_SIGNATURES: usize = 128;

/// Numbers of repeated fields in gossip.proto and register.proto.
const ANSWER_EPOCHS: u64 = 3;
const ANSWER_SUSPENSIONS: u64 = 5;
const REGISTER_SIGNATURES: u64 = 2;

/// The trust data that a node has, in enough detail to tell what it lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The federation.
    pub federation: FederationId,
    /// The epoch of its register.
    pub epoch: u64,
    /// The digest of that epoch.
    pub register: Digest,
    /// Time at which its freshness statement was issued.
    pub freshness_issued: Option<Timestamp>,
    /// The digest over its suspensions.
    pub suspensions: Digest,
}

impl Standing {
    /// The question for what this node lacks.
    #[must_use]
    pub fn to_wire(&self) -> wire::TrustAsk {
        wire::TrustAsk {
            federation: self.federation.to_string(),
            epoch: self.epoch,
            register: Bytes::copy_from_slice(self.register.as_bytes()),
            freshness_issued_ms: Timestamp::to_wire(self.freshness_issued),
            suspensions: Bytes::copy_from_slice(self.suspensions.as_bytes()),
            answers_ready: false,
        }
    }

    /// Reads a member's question.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under TR-01, or TR-02 if it is asked in another federation.
    pub fn read(ask: wire::TrustAsk, federation: &FederationId) -> Result<Self, Refusal> {
        let wire::TrustAsk {
            federation: named,
            epoch,
            register,
            freshness_issued_ms,
            suspensions,
            answers_ready: _,
        } = ask;
        if named != federation.as_str() {
            let detail = "it names another federation";
            return Err(Refusal::new(Rule::TrustFederation, detail));
        }
        let digest = |bytes: &Bytes| {
            Digest::from_slice(bytes).ok_or_else(|| unreadable("a digest has not 32 bytes"))
        };
        Ok(Self {
            federation: federation.clone(),
            epoch,
            register: digest(&register)?,
            freshness_issued: Timestamp::from_wire(freshness_issued_ms),
            suspensions: digest(&suspensions)?,
        })
    }

    /// Returns whether a node that has `other` might know something that this node does not.
    #[must_use]
    pub fn lacks(&self, other: &Self) -> bool {
        other.epoch > self.epoch
            || (other.epoch == self.epoch
                && (other.freshness_issued > self.freshness_issued
                    || other.suspensions != self.suspensions))
    }

    /// Returns whether the two hold different registers under one epoch number: the governance
    /// signed a fork.
    #[must_use]
    pub fn forks_from(&self, other: &Self) -> bool {
        self.epoch == other.epoch && self.register != other.register
    }
}

fn unreadable(detail: &str) -> Refusal {
    Refusal::new(Rule::TrustUnreadable, detail)
}

/// Checks that an encoded question is not larger than questions are.
///
/// # Errors
///
/// A [`Refusal`] under EX-12.
pub fn check_ask_size(encoded: &[u8]) -> Result<(), Refusal> {
    check_bytes(encoded, MAX_ASK_BYTES)
}

/// Checks that an encoded answer is not larger than answers are.
///
/// # Errors
///
/// A [`Refusal`] under EX-12, or TR-01 if it is no protobuf message.
pub fn check_answer_size(encoded: &[u8]) -> Result<(), Refusal> {
    check_bytes(encoded, MAX_ANSWER_BYTES)?;
    count(encoded, ANSWER_EPOCHS, MAX_EPOCHS)?;
    count(encoded, ANSWER_SUSPENSIONS, MAX_SUSPENSIONS)
}

fn check_bytes(encoded: &[u8], most: usize) -> Result<(), Refusal> {
    if encoded.len() <= most {
        return Ok(());
    }
    let detail = format!("{} bytes, {most} are allowed", encoded.len());
    Err(Refusal::new(Rule::Oversized, detail))
}

fn count(encoded: &[u8], number: u64, most: usize) -> Result<(), Refusal> {
    check_count(encoded, number, most).map_err(|refusal| {
        if refusal.rule == Rule::Oversized {
            refusal
        } else {
            unreadable("it is no protobuf message")
        }
    })
}

/// A member's answer; nothing in it is verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The epoch that the member claims to have.
    pub epoch: u64,
    /// The digest of that epoch.
    pub register: Digest,
    /// Epochs, encoded.
    pub epochs: Vec<Bytes>,
    /// A freshness statement, encoded.
    pub freshness: Option<Bytes>,
    /// Suspensions, encoded.
    pub suspensions: Vec<Bytes>,
}

impl Answer {
    /// Makes the answer of a node that has `standing`. `epochs` are its epochs after the asked one,
    /// encoded and ascending; as many are taken as fit.
    #[must_use]
    pub fn new(
        standing: &Standing,
        epochs: impl IntoIterator<Item = Bytes>,
        freshness: Option<Bytes>,
        suspensions: Vec<Bytes>,
    ) -> Self {
        let mut room = MAX_ANSWER_BYTES - BESIDE_EPOCHS;
        let mut fitting = Vec::new();
        for epoch in epochs.into_iter().take(MAX_EPOCHS) {
            let Some(left) = room.checked_sub(epoch.len()) else {
                break;
            };
            room = left;
            fitting.push(epoch);
        }
        Self {
            epoch: standing.epoch,
            register: standing.register,
            epochs: fitting,
            freshness,
            suspensions,
        }
    }

    /// Returns the message that carries the answer.
    #[must_use]
    pub fn to_wire(&self) -> wire::TrustAnswer {
        wire::TrustAnswer {
            epoch: self.epoch,
            register: Bytes::copy_from_slice(self.register.as_bytes()),
            epochs: self.epochs.clone(),
            freshness: self.freshness.clone().unwrap_or_default(),
            suspensions: self.suspensions.clone(),
        }
    }

    /// Reads a member's answer.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under TR-01.
    pub fn read(answer: wire::TrustAnswer) -> Result<Self, Refusal> {
        let wire::TrustAnswer {
            epoch,
            register,
            epochs,
            freshness,
            suspensions,
        } = answer;
        let oversized = freshness.len() > MAX_FRESHNESS_BYTES
            || suspensions
                .iter()
                .any(|one| one.len() > MAX_SUSPENSION_BYTES);
        if oversized {
            return Err(unreadable("a part of it is larger than allowed"));
        }
        Ok(Self {
            epoch,
            register: Digest::from_slice(&register)
                .ok_or_else(|| unreadable("a digest has not 32 bytes"))?,
            epochs,
            freshness: Some(freshness).filter(|bytes| !bytes.is_empty()),
            suspensions,
        })
    }
}

/// Result of following epochs.
#[derive(Debug, Clone, PartialEq)]
pub struct Followed {
    /// The epochs that verified, each on top of the one before.
    pub taken: Vec<VerifiedRegister>,
    /// The refusal of the next one; nothing after it was looked at.
    pub refused: Option<Refusal>,
}

/// Verifies encoded epochs on top of the one in force, one by one. An epoch that is not newer is
/// skipped; a different register under the number in force is refused.
#[must_use]
pub fn follow(present: &VerifiedRegister, epochs: &[Bytes]) -> Followed {
    let mut taken: Vec<VerifiedRegister> = Vec::new();
    for bytes in epochs.iter().take(MAX_EPOCHS) {
        let newest = taken.last().unwrap_or(present);
        match step(newest, bytes) {
            Ok(Some(next)) => taken.push(next),
            Ok(None) => {}
            Err(refusal) => {
                return Followed {
                    taken,
                    refused: Some(refusal),
                };
            }
        }
    }
    Followed {
        taken,
        refused: None,
    }
}

fn step(newest: &VerifiedRegister, bytes: &Bytes) -> Result<Option<VerifiedRegister>, Refusal> {
    count(bytes, REGISTER_SIGNATURES, MAX_SIGNATURES)?;
    let signed = SignedRegister::decode(bytes)?;
    if signed.digest() == newest.digest() {
        return Ok(None);
    }
    let present = newest.register();
    let needed = usize::try_from(present.threshold).unwrap_or(usize::MAX);
    let found = signed.signed_by(&present.governance).len();
    if found < needed {
        let detail = format!("{found} of {needed} signatures of the present governance");
        return Err(Refusal::new(Rule::RegisterSignatures, detail));
    }
    let offered = signed.unverified()?;
    if offered.epoch == present.epoch {
        let detail = format!(
            "epoch {} here has digest `{}`, `{}` was offered",
            present.epoch,
            newest.digest(),
            signed.digest()
        );
        return Err(Refusal::new(Rule::RegisterChain, detail));
    }
    if offered.epoch < present.epoch {
        return Ok(None);
    }
    newest.next(signed).map(Some)
}

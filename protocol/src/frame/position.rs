//! Positions of senders: the claim of how far each has settled, and the receiver's check of it.
//!
//! ```text
//! sender    settles frames in order: sequence moves past their items, chain' = H(chain, frame)
//!           every frame claims (generation, settled sequence, chain) at the time it was signed
//! receiver  keeps the last claim and the frames it answered since; the next claim must be the
//!           last one, moved on by frames that were answered, each where the one before ends
//! ```
//!
//! A claim that lies behind the last one comes from a node that was rolled back: it forgot what it
//! had settled (EX-10). A claim that no answered frames lead to is a fork within a generation:
//! there are two nodes with one identity, or the node lies (EX-11). A new generation is neither; it
//! starts a new account. Items that were sent and not settled may be sent again in another frame,
//! so that several frames may be answered for one place; at most one of them is in the chain. A copy
//! of a frame can arrive over another connection before the frame that it follows, so that frames are
//! settled in the order of their places, whatever the order in which they were answered.
//!
//! The content of a frame is not judged here: items are answered by record and form, wherever they
//! stand.

use std::fmt;

use super::{Generation, MAX_ITEMS};
use crate::{digest::Digest, rules::Rule};

/// Largest number of frames on their way without a receipt.
pub const WINDOW: usize = 4;
/// The most frames of one lane that may be on their way without a receipt.
pub const MAX_WINDOW: usize = 8;
/// Most items by which a frame's first item may be ahead of the settled sequence.
pub const MAX_AHEAD: u64 = (MAX_WINDOW * MAX_ITEMS) as u64;
/// Most answered frames since the last claim that a receiver remembers; the newest are kept.
pub const MAX_ANSWERED: usize = 64;
/// Most steps of the search through the answered frames; a claim not found by then counts as
/// unproven.
const MAX_STEPS: usize = 10_000;

/// The running hash over the frames that were settled in one generation and lane, in order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chain([u8; 32]);

impl Chain {
    /// The chain before the first frame: 32 zero bytes.
    pub const START: Self = Self([0; 32]);

    /// Returns the chain after the frame with this digest is settled.
    #[must_use]
    pub fn then(self, frame: &Digest) -> Self {
        let parts: [&[u8]; 2] = [&self.0, frame.as_bytes()];
        Self(*Digest::labelled("portcullis chain v1", &parts).as_bytes())
    }

    /// Takes 32 bytes for a chain; `None` for any other length.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Digest::from_bytes(self.0), f)
    }
}

/// FramePosition of a frame in its sender's sequence, with the sender's claim of what it settled before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramePosition {
    /// The sender's generation.
    pub generation: Generation,
    /// The sequence number of its first item.
    pub first_sequence: u64,
    /// The sequence number after its last item.
    pub next_sequence: u64,
    /// Claimed: every item before this number has a receipt and is settled.
    pub settled_sequence: u64,
    /// Claimed: the chain over the frames that are settled.
    pub chain: Chain,
    /// The digest of the frame.
    pub digest: Digest,
}

/// One frame that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnsweredFrame {
    /// The sequence number of its first item.
    pub first_sequence: u64,
    /// The sequence number after its last item.
    pub next_sequence: u64,
    /// Its digest.
    pub digest: Digest,
}

/// Completeness of a receiver's memory of what it answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// The receiver remembers all that it answered.
    Whole,
    /// The receiver was itself rolled back: a claim that goes beyond its memory is believed once.
    RolledBack,
}

/// State that a receiver holds of one sender in one lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// The sender's generation.
    pub generation: Generation,
    /// The settled sequence of the last claim.
    pub settled_sequence: u64,
    /// The chain of the last claim.
    pub chain: Chain,
    /// The frames answered since the last claim, those answered first before the others.
    pub answered: Vec<AnsweredFrame>,
}

impl Witness {
    /// Returns the state after the first frame of a generation is answered; its claim is believed.
    #[must_use]
    pub fn first(place: &FramePosition) -> Self {
        Self {
            generation: place.generation,
            settled_sequence: place.settled_sequence,
            chain: place.chain,
            answered: vec![place.answered()],
        }
    }

    /// Returns the state after the next frame of the same generation is answered.
    ///
    /// # Errors
    ///
    /// [`Rule::Sequence`] if its sender was rolled back, [`Rule::Fork`] if its claim does not
    /// follow from what was answered.
    pub fn next(&self, place: &FramePosition, memory: Memory) -> Result<Self, Rule> {
        if place.settled_sequence < self.settled_sequence {
            return Err(Rule::Sequence);
        }
        match (self.leads_to(place), memory) {
            (Way::Found, _) | (Way::None | Way::TooMany, Memory::RolledBack) => {}
            (Way::None, Memory::Whole) => return Err(Rule::Fork),
            // Not proven to be a fork. The sender starts a new generation to go on.
            (Way::TooMany, Memory::Whole) => return Err(Rule::Sequence),
        }
        let newest = place.answered();
        let mut answered: Vec<_> = self
            .answered
            .iter()
            .filter(|frame| frame.first_sequence >= place.settled_sequence)
            .copied()
            .collect();
        if !answered.iter().any(|frame| frame.digest == newest.digest) {
            answered.push(newest);
        }
        let excess = answered.len().saturating_sub(MAX_ANSWERED);
        answered.drain(..excess);
        Ok(Self {
            generation: self.generation,
            settled_sequence: place.settled_sequence,
            chain: place.chain,
            answered,
        })
    }

    /// Returns whether the answered frames lead from the last claim to this one.
    fn leads_to(&self, place: &FramePosition) -> Way {
        let mut search = Search {
            answered: &self.answered,
            goal: (place.settled_sequence, place.chain),
            steps: 0,
        };
        search.from(self.settled_sequence, self.chain)
    }
}

impl FramePosition {
    const fn answered(&self) -> AnsweredFrame {
        AnsweredFrame {
            first_sequence: self.first_sequence,
            next_sequence: self.next_sequence,
            digest: self.digest,
        }
    }
}

enum Way {
    Found,
    None,
    TooMany,
}

/// Search for a path through answered frames, each starting where the one before ends.
struct Search<'a> {
    answered: &'a [AnsweredFrame],
    goal: (u64, Chain),
    steps: usize,
}

impl Search<'_> {
    /// Continues with the answered frames that begin at this number. The newest come first: an honest
    /// sender settles the last one it sent.
    fn from(&mut self, sequence: u64, chain: Chain) -> Way {
        if (sequence, chain) == self.goal {
            return Way::Found;
        }
        if sequence >= self.goal.0 {
            return Way::None;
        }
        let answered = self.answered;
        for frame in answered.iter().rev() {
            if frame.first_sequence != sequence || frame.next_sequence <= sequence {
                continue;
            }
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return Way::TooMany;
            }
            match self.from(frame.next_sequence, chain.then(&frame.digest)) {
                Way::None => {}
                end @ (Way::Found | Way::TooMany) => return end,
            }
        }
        Way::None
    }
}

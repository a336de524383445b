//! One hop: records in a signed frame, answers in a signed receipt.
//!
//! ```text
//! sender                                             receiver
//!   frame(seq 41..44, items root) signed with hop key  ->  checks sender, receiver, root
//!                                                          verifies, decides, commits
//!   checks that the receipt binds this very frame     <-   receipt(frame digest, answers root)
//! ```
//!
//! A frame binds sender and receiver, the sender's generation, the lane and the items in their
//! forms; the sections themselves are bound by the digests in each header. A receipt binds the
//! frame's digest and one answer per item. A frame that cannot be answered item by item is refused
//! whole, and that refusal is signed too. Each frame claims how far its sender has settled, and the
//! receiver checks that claim ([`Witness`]). Each receipt states how many frames its signer accepts
//! in flight.
mod position;
mod receipt;
mod received;
mod sent;
mod size;

use std::fmt;

pub use position::{
    AnsweredFrame, Chain, FramePosition, MAX_AHEAD, MAX_ANSWERED, MAX_WINDOW, Memory, WINDOW,
    Witness,
};
pub use receipt::{Answer, FrameAnswer, Outcome, Receipt};
pub use received::{ReceivedFrame, RefusedFrame, claimed_lane};
pub use sent::{Awaited, Remembered, SentFrame};
pub use size::{check_frame_size, check_receipt_size};

pub(crate) use receipt::is_reason;
pub(crate) use size::check_count;

use crate::{
    digest::Digest,
    identifiers::{FederationId, NodeId},
    keys::{KeyUse, SigningKey},
    merkle::{MAX_LEAVES, Tree},
    named::named,
    record::{Form, Kind, RecordId},
    statement::{SignatureError, StatementType},
    time::Timestamp,
};

/// The most items in a frame.
pub const MAX_ITEMS: usize = MAX_LEAVES;
/// Largest encoded receipt, in bytes: 1,024 answers of about 70 bytes, and its statement.
pub const MAX_RECEIPT_BYTES: usize = 256 << 10;
/// The most bytes of an encoded frame.
pub const MAX_FRAME_BYTES: usize = 8 << 20;

/// The payload type of a sender's statement over a frame.
pub const FRAME_PAYLOAD_TYPE: &str = "application/vnd.portcullis.frame.v1";

/// A sender's statement over a frame.
enum FrameType {}

impl StatementType for FrameType {
    const PAYLOAD_TYPE: &'static str = FRAME_PAYLOAD_TYPE;
    const KEY_USE: KeyUse = KeyUse::Hop;
}

/// A receiver's statement over its answers.
enum ReceiptType {}

impl StatementType for ReceiptType {
    const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.receipt.v1";
    const KEY_USE: KeyUse = KeyUse::Hop;
}

named! {
    /// Queue of a peer; each peer has two.
    Lane, "lane", "`urgent`, `bulk`" {
        /// Alerts, and all else that must not wait.
        Urgent = "urgent",
        /// Everything else.
        Bulk = "bulk",
    }
}

impl Lane {
    /// Returns the lane in which records of a kind travel: alerts are urgent.
    #[must_use]
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Alert => Self::Urgent,
            Kind::Indicator | Kind::Advisory | Kind::Outcome | Kind::RiskProfile => Self::Bulk,
        }
    }
}

/// Identifies one life of a node's store, in which its sequence numbers count. It is drawn at
/// random at `init` and at restore.
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

/// Head of a frame: parties, place in the sequence and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameHead {
    /// The federation.
    pub federation: FederationId,
    /// The sending node.
    pub sender: NodeId,
    /// The receiving node.
    pub receiver: NodeId,
    /// The sender's generation.
    pub generation: Generation,
    /// The lane.
    pub lane: Lane,
    /// The sequence number of its first item in this generation, lane and direction; from 1.
    pub first_sequence: u64,
    /// The first number that is not settled: every item before it has a durable receipt.
    pub settled_sequence: u64,
    /// The chain over the frames that are settled.
    pub chain: Chain,
    /// Time of sending, by the sender's clock.
    pub sent_at: Timestamp,
    /// The sender's register epoch.
    pub register_epoch: u64,
}

/// The parties of a frame as the receiver knows them.
#[derive(Clone, Copy)]
pub struct Hop<'a> {
    /// The federation both are members of.
    pub federation: &'a FederationId,
    /// The receiving node.
    pub receiver: &'a NodeId,
    /// The peer of the connection, as its certificate and the register say.
    pub peer: &'a NodeId,
}

/// The receiver's key, time and state for signing a receipt.
#[derive(Clone, Copy)]
pub struct Answering<'a> {
    /// The receiver's hop key.
    pub key: &'a SigningKey,
    /// The present time.
    pub now: Timestamp,
    /// The receiver's register epoch.
    pub register_epoch: u64,
    /// Number of frames of this lane that may be in flight to the receiver; 0: none for now.
    pub credit: u32,
}

/// Error in making a frame or a receipt.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// More bytes than a receiver accepts.
    #[error("a frame has 1 to {MAX_ITEMS} items, not {0}")]
    Items(usize),
    /// More bytes than a receiver takes.
    #[error("a frame has at most {MAX_FRAME_BYTES} bytes, not {0}; put fewer records into it")]
    TooLarge(usize),
    /// The key is no hop key.
    #[error(transparent)]
    Key(#[from] SignatureError),
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

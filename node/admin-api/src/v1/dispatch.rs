//! How it stands with what is sent, as JSON, version 1.

use serde::{Deserialize, Serialize};

/// How it stands with every peer and lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DispatchView {
    /// The generation in which sequence numbers count.
    pub generation: String,
    /// The end of the record log.
    pub log_end: u64,
    /// A line for each peer and lane.
    pub lanes: Vec<LaneView>,
    /// What waits for another try.
    pub exceptions: Vec<ExceptionView>,
    /// Older records that are sent, or were lately.
    pub backfills: Vec<BackfillView>,
}

/// A peer and a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneView {
    /// The peer's node.
    pub peer: String,
    /// The lane.
    pub lane: String,
    /// Everything up to this number of the log is dealt with.
    pub cursor: u64,
    /// How many records come after it.
    pub behind: u64,
    /// The sequence number of the next item sent.
    pub next_sequence: u64,
    /// Why nothing is sent, if nothing is.
    pub closed: Option<String>,
}

/// What of a peer and lane waits for another try, of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExceptionView {
    /// The peer's node.
    pub peer: String,
    /// The lane.
    pub lane: String,
    /// What the peer said last: `held`, `refused-for-now`, or `intended` for nothing yet.
    pub kind: String,
    /// How many records.
    pub count: u64,
    /// When the next of them is tried.
    pub next_attempt: String,
    /// When the first of them is given up.
    pub ends_at: String,
}

/// Older records that are sent to a peer, from one lane of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillView {
    /// The peer's node.
    pub peer: String,
    /// The lane of the log that is looked through.
    pub log: String,
    /// What came at or after this time …
    pub since: String,
    /// … and before this.
    pub until: String,
    /// Everything up to this number of the log is looked at.
    pub next: u64,
    /// The last number of the range.
    pub last: u64,
    /// How many records were looked at.
    pub looked_at: u64,
    /// How many were sent.
    pub sent: u64,
    /// When it was asked for.
    pub started_at: String,
    /// When it ended; absent: it goes on.
    pub ended_at: Option<String>,
    /// Whether a person ended it.
    #[serde(default)]
    pub cancelled: bool,
}

/// A record that is not tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndeliveredView {
    /// The record's id.
    pub record: String,
    /// The peer's node.
    pub peer: String,
    /// The lane.
    pub lane: String,
    /// How often it was sent.
    pub attempts: u32,
    /// When it was given up.
    pub ended_at: String,
    /// What the peer said last.
    pub state: String,
    /// Under which rule.
    pub reason: Option<String>,
}

/// A record to be tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryView {
    /// The record's id, whole.
    pub record: String,
    /// The peer's node.
    pub peer: String,
    /// Why, for the log.
    pub reason: String,
}

/// Older records for a peer: what came at or after `since` and before `until`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackfillAsk {
    /// The peer's node.
    pub peer: String,
    /// From when on.
    pub since: String,
    /// Until when; absent: until now.
    pub until: Option<String>,
    /// Why, for the log.
    pub reason: String,
}

/// Older records of which a peer is sent no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelView {
    /// The peer's node.
    pub peer: String,
    /// Why, for the log.
    pub reason: String,
}

/// What a backfill would send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillPreviewView {
    /// The peer's node.
    pub peer: String,
    /// How many records are in the range.
    pub looked_at: u64,
    /// What would be sent.
    pub sends: Vec<SendsView>,
    /// What would be denied.
    pub denied: Vec<DeniedView>,
    /// How many need nothing: the peer has them, or was denied them alike, or made them.
    pub nothing_new: u64,
}

/// A form in which records would be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendsView {
    /// How many.
    pub records: u64,
    /// Their kind.
    pub kind: String,
    /// The sections opened.
    pub gets: Vec<String>,
    /// How many sections are withheld of each.
    pub withheld: u32,
    /// The policies that decide.
    pub policies: Vec<String>,
}

/// What policies deny.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeniedView {
    /// How many.
    pub records: u64,
    /// The policies that deny them.
    pub policies: Vec<String>,
}

/// What was done for a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwedView {
    /// The peer's node.
    pub peer: String,
    /// What it is owed now.
    pub what: String,
}

/// The evidence of a fork: two frames that a peer signed, and that cannot both be honest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkView {
    /// The peer's node.
    pub peer: String,
    /// The lane.
    pub lane: String,
    /// When it was found.
    pub at: String,
    /// The rule.
    pub rule: String,
    /// The frame whose claim was believed.
    pub known: EvidenceView,
    /// The frame whose claim does not follow from it.
    pub forked: EvidenceView,
}

/// A signed statement as evidence: a DSSE envelope, the key that verifies it, and what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceView {
    /// The envelope, as DSSE (version 1.0.2) writes it in JSON.
    pub envelope: EnvelopeView,
    /// The Ed25519 public key, hexadecimal; absent: no epoch kept here lists it.
    pub public_key: Option<String>,
    /// The epoch of the register that lists the key for this peer.
    pub epoch: Option<u64>,
    /// The digest of that epoch.
    pub epoch_digest: Option<String>,
    /// The sequence number of its first item.
    pub first_sequence: u64,
    /// How many items it brought.
    pub count: u32,
    /// Every item before this number is settled, it says.
    pub settled_sequence: u64,
    /// The chain over the frames that are, hexadecimal.
    pub chain: String,
    /// The generation, hexadecimal.
    pub generation: String,
    /// When it was signed, it says.
    pub sent_at: String,
}

/// A DSSE envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvelopeView {
    /// What was signed, base 64.
    pub payload: String,
    /// Its type.
    #[serde(rename = "payloadType")]
    pub payload_type: String,
    /// One signature.
    pub signatures: Vec<EnvelopeSignature>,
}

/// A signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvelopeSignature {
    /// The id of the key, hexadecimal.
    pub keyid: String,
    /// The signature, base 64.
    pub sig: String,
}

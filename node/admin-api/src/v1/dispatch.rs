//! State of dispatch, as JSON, version 1: lanes, exceptions, backfills, undelivered records and
//! forks.

use serde::{Deserialize, Serialize};

/// State of dispatch for every peer and lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct DispatchView {
    /// Generation in which sequence numbers count, in hexadecimal.
    pub generation: String,
    /// Number of the newest entry of the record log.
    pub log_end: u64,
    /// One row for each peer and lane.
    pub lanes: Vec<LaneView>,
    /// Records that wait for another try, counted by peer, lane and kind.
    pub exceptions: Vec<ExceptionView>,
    /// Backfills that are under way or ended lately.
    pub backfills: Vec<BackfillView>,
}

/// State of dispatch for one peer and lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct LaneView {
    /// The peer's node.
    pub peer: String,
    /// The lane.
    pub lane: String,
    /// Position in the record log up to which every entry is dealt with.
    pub cursor: u64,
    /// Number of records of the lane after `cursor`.
    pub behind: u64,
    /// The sequence number of the next item sent.
    pub next_sequence: u64,
    /// Reason why nothing is sent; absent while the lane is open.
    pub closed: Option<String>,
}

/// Records of one peer and lane that wait for another try, all of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct ExceptionView {
    /// The peer's node.
    pub peer: String,
    /// The lane.
    pub lane: String,
    /// Last answer of the peer: `held`, `refused-for-now`, or `intended` if there is none yet.
    pub kind: String,
    /// Number of records.
    pub count: u64,
    /// Time of the next try of any of them.
    pub next_attempt: String,
    /// Time at which the first of them is given up.
    pub ends_at: String,
}

/// One row of a backfill: older records that are sent to a peer, from one lane of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct BackfillView {
    /// The peer's node.
    pub peer: String,
    /// Lane of the log that is searched.
    pub log: String,
    /// Start of the range: records that came at or after this time.
    pub since: String,
    /// End of the range: records that came before this time.
    pub until: String,
    /// Position in the log up to which every entry was looked at.
    pub next: u64,
    /// Last position of the range in the log.
    pub last: u64,
    /// Number of records looked at.
    pub looked_at: u64,
    /// Number of records sent.
    pub sent: u64,
    /// Time at which the backfill was asked for.
    pub started_at: String,
    /// Time at which the backfill ended; absent while it is under way.
    pub ended_at: Option<String>,
    /// True if a person ended it.
    #[serde(default)]
    pub cancelled: bool,
}

/// A record that was given up and is not tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct UndeliveredView {
    /// The record's id.
    pub record: String,
    /// The peer's node.
    pub peer: String,
    /// The lane.
    pub lane: String,
    /// Number of times it was sent.
    pub attempts: u32,
    /// Time at which it was given up.
    pub ended_at: String,
    /// State of its disclosure: `intended`, `denied`, or the last answer of the peer.
    pub state: String,
    /// Rule that the peer gave as the reason.
    pub reason: Option<String>,
}

/// Order to try a record again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryView {
    /// Full id of the record.
    pub record: String,
    /// The peer's node.
    pub peer: String,
    /// Reason, for the log.
    pub reason: String,
}

/// Request for a backfill: records that came at or after `since` and before `until`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackfillAsk {
    /// The peer's node.
    pub peer: String,
    /// Start of the range.
    pub since: String,
    /// End of the range; absent: now.
    pub until: Option<String>,
    /// Reason, for the log.
    pub reason: String,
}

/// Order to send a peer no more of the older records that it is owed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelView {
    /// The peer's node.
    pub peer: String,
    /// Reason, for the log.
    pub reason: String,
}

/// Preview of a backfill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct BackfillPreviewView {
    /// The peer's node.
    pub peer: String,
    /// Number of records in the range.
    pub looked_at: u64,
    /// Records that would be sent, grouped by form.
    pub sends: Vec<SendsView>,
    /// Records that would be denied, grouped by the policies that deny them.
    pub denied: Vec<DeniedView>,
    /// Number of records that need nothing: the peer has them, was denied them in the same way, or
    /// made them.
    pub nothing_new: u64,
}

/// A form in which records would be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct SendsView {
    /// Number of records.
    pub records: u64,
    /// Kind of these records.
    pub kind: String,
    /// Tags of the sections opened.
    pub gets: Vec<String>,
    /// Number of sections withheld from each record.
    pub withheld: u32,
    /// The policies that decide.
    pub policies: Vec<String>,
}

/// Records that the same policies deny.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct DeniedView {
    /// Number of records.
    pub records: u64,
    /// The policies that deny them.
    pub policies: Vec<String>,
}

/// Answer to an act on the records that a peer is owed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct OwedView {
    /// The peer's node.
    pub peer: String,
    /// Description of what it is owed now.
    pub what: String,
}

/// Evidence of a fork: two frames that a peer signed, and that cannot both be honest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct ForkView {
    /// The peer's node.
    pub peer: String,
    /// The lane.
    pub lane: String,
    /// Time at which the fork was found.
    pub at: String,
    /// The rule that a fork breaks.
    pub rule: String,
    /// The frame whose claim was believed.
    pub known: EvidenceView,
    /// The frame whose claim does not follow from `known`.
    pub forked: EvidenceView,
}

/// A signed statement as evidence: a DSSE envelope, the key that verifies it, and its claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct EvidenceView {
    /// The envelope, as DSSE (version 1.0.2) writes it in JSON.
    pub envelope: EnvelopeView,
    /// The Ed25519 public key, hexadecimal; absent: no epoch kept here lists it.
    pub public_key: Option<String>,
    /// The epoch of the register that lists the key for this peer.
    pub epoch: Option<u64>,
    /// The digest of that epoch.
    pub epoch_digest: Option<String>,
    /// Sequence number of the first item in the frame.
    pub first_sequence: u64,
    /// Number of items in the frame.
    pub count: u32,
    /// Claim of the frame: every item before this sequence number is settled.
    pub settled_sequence: u64,
    /// Chain over the frames that are settled, hexadecimal.
    pub chain: String,
    /// The generation, hexadecimal.
    pub generation: String,
    /// Time of signing, as the frame claims it.
    pub sent_at: String,
}

/// A DSSE envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct EnvelopeView {
    /// The signed payload, base 64.
    pub payload: String,
    /// Type of the payload.
    #[serde(rename = "payloadType")]
    pub payload_type: String,
    /// The signatures; there is exactly one.
    pub signatures: Vec<EnvelopeSignature>,
}

/// A signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct EnvelopeSignature {
    /// The id of the key, hexadecimal.
    pub keyid: String,
    /// The signature, base 64.
    pub sig: String,
}

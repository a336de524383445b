//! How it stands with a node, as JSON, version 1.

use portcullis_policy::PolicyText;
use serde::{Deserialize, Serialize};

/// How it stands with the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// The software's version.
    pub software: String,
    /// The federation.
    pub federation: String,
    /// The authority.
    pub authority: String,
    /// The node.
    pub node: String,
    /// The node's time.
    pub now: String,
    /// Whether the federation is one of worthless development keys.
    pub development: bool,
    /// The epoch of the register in force.
    pub register_epoch: u64,
    /// Its digest.
    pub register_digest: String,
    /// The digest of the policies in force, the baseline included.
    pub policy: String,
    /// How many of the authority's own policies are in force.
    pub own_policies: usize,
    /// How fresh the register is: `unused`, `fresh`, `ending`, `stale` or `bulk-stopped`.
    pub freshness: String,
    /// Until when it is or was fresh; nothing if freshness is not used.
    pub fresh_until: Option<String>,
    /// Whether what is released is stopped to everyone.
    pub release_stopped: bool,
    /// When the node's certificate ends.
    pub certificate_ends: String,
    /// What comes to an end by itself, the nearest first.
    #[serde(default)]
    pub ends: Vec<EndView>,
    /// What keeps the node from its work; empty: nothing.
    pub problems: Vec<StatusProblem>,
    /// The other nodes of the federation.
    pub peers: Vec<PeerView>,
    /// When the backup was made that this node was restored from, while it is not reconciled
    /// with every peer.
    pub restored_from: Option<String>,
    /// The number of the newest entry of the record log.
    pub log_end: u64,
    /// How many persons are enrolled.
    pub persons: usize,
    /// How many items wait for a person.
    #[serde(default)]
    pub held: u64,
    /// How many items that failed verification are set apart.
    #[serde(default)]
    pub quarantined: u64,
}

/// Something that keeps the node from its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusProblem {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub r#do: String,
}

/// How it stands with a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// The node.
    pub node: String,
    /// Its authority.
    pub authority: String,
    /// The authority's kind.
    pub kind: String,
    /// When its last receipt came.
    pub last_receipt: Option<String>,
    /// Why the last delivery failed, if it did since then.
    pub failure: Option<String>,
    /// Why nothing is released to it beside policy, if so: it is blocked, suspended or stopped.
    pub closed: Option<String>,
    /// How far its clock is ahead, in milliseconds; negative: behind; nothing if not measured.
    #[serde(default)]
    pub clock_ahead_ms: Option<i64>,
    /// The most by which that is wrong, in milliseconds.
    #[serde(default)]
    pub clock_error_ms: Option<i64>,
    /// When the channel to it was compared last in the present generation of this node.
    pub reconciled: Option<String>,
    /// What that repaired, in words; nothing if both sides agreed.
    pub repaired: Option<String>,
    /// How many entries of the record log it is behind, in the urgent lane.
    pub behind_urgent: u64,
    /// How many entries of the record log it is behind, in the bulk lane.
    pub behind_bulk: u64,
}

/// How it stands with a peer, at one look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStandingView {
    /// What `status` shows of it.
    #[serde(flatten)]
    pub peer: PeerView,
    /// In a word or two: `connected`, `away`, why it is closed, or what it refuses.
    pub state: String,
    /// Since when this node has a delivery stream to it.
    pub connected_since: Option<String>,
    /// Since when it has a delivery stream to this node.
    pub delivers_since: Option<String>,
    /// The rule under which it takes nothing from this node, if so.
    pub refuses: Option<String>,
    /// How many records wait for another try, in the urgent lane.
    pub exceptions_urgent: u64,
    /// How many records wait for another try, in the bulk lane.
    pub exceptions_bulk: u64,
    /// How many records were given up.
    pub undelivered: u64,
    /// How many proofs are kept that its history forked.
    pub forks: u64,
    /// The end of the certificate that it showed last; nothing if it was not seen since the start.
    pub certificate_ends: Option<String>,
}

/// A person of the authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolledView {
    /// Their id.
    pub id: String,
    /// Their full name.
    pub name: String,
    /// Their role.
    pub role: String,
    /// When they were enrolled.
    pub enrolled_at: String,
    /// Who enrolled them; empty for the first.
    pub enrolled_by: String,
    /// Their public key.
    pub public_key: String,
}

/// A policy in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyView {
    /// Its id.
    pub id: String,
    /// The file it stands in; `baseline/…` for a shipped one.
    pub file: String,
    /// The line on which it starts.
    pub line: usize,
    /// What it is for, as its author wrote.
    pub comment: String,
    /// What a person decides on, if it holds instead of denying.
    pub held: Option<String>,
    /// Its text.
    pub text: String,
}

impl From<&PolicyText> for PolicyView {
    fn from(policy: &PolicyText) -> Self {
        let PolicyText {
            id,
            file,
            line,
            comment,
            text,
            held,
        } = policy;
        Self {
            id: id.to_string(),
            file: file.clone(),
            line: *line,
            comment: comment.clone(),
            held: held.clone(),
            text: text.clone(),
        }
    }
}

/// Something that comes to an end by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndView {
    /// What.
    pub what: String,
    /// Its kind, as metrics name it.
    pub kind: String,
    /// Its end.
    pub ends: String,
    /// How long until then, as people say it.
    pub left: String,
    /// `later`, `soon` (it is warned of) or `ended`.
    pub urgency: String,
    /// What stops then.
    pub stops: String,
    /// What to do before.
    pub r#do: String,
}

impl EndView {
    /// Whether it is warned of, or has ended.
    #[must_use]
    pub fn is_warned_of(&self) -> bool {
        self.urgency != "later"
    }
}

//! Status of a node and its peers, as JSON, version 1.

use portcullis_policy::PolicyText;
use serde::{Deserialize, Serialize};

/// Status of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
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
    /// True if the keys of the federation are development keys, which are worth nothing.
    pub development: bool,
    /// The epoch of the register in force.
    pub register_epoch: u64,
    /// Digest of that register.
    pub register_digest: String,
    /// The digest of the policies in force, the baseline included.
    pub policy: String,
    /// Number of the authority's own policies in force.
    pub own_policies: usize,
    /// Standing of the trust settings: `accepted`, `changed`, `waiting` for a restart, or
    /// `unsealed`.
    #[serde(default)]
    pub settings: String,
    /// Freshness of the register: `unused`, `fresh`, `ending`, `stale` or `bulk-stopped`.
    pub freshness: String,
    /// Time until which the register is or was fresh; absent if freshness is not used.
    pub fresh_until: Option<String>,
    /// True if the release to everyone is stopped.
    pub release_stopped: bool,
    /// Time at which the node's certificate ends.
    pub certificate_ends: String,
    /// Dependencies that end by themselves, the nearest end first.
    #[serde(default)]
    pub ends: Vec<EndView>,
    /// Problems that keep the node from its work; empty if there are none.
    pub problems: Vec<StatusProblem>,
    /// Parts of the work that are not done though the node works: peers that are closed or not
    /// reached, clocks that differ, and what waits too long.
    #[serde(default)]
    pub hindrances: Vec<StatusProblem>,
    /// Health in a word: `ok`, `hindered` or `failing`.
    #[serde(default)]
    pub health: String,
    /// Keys in use, and those that wait for the register.
    #[serde(default)]
    pub keys: Vec<KeyView>,
    /// Time of the latest backup that the running node took; absent if it knows of none.
    #[serde(default)]
    pub last_backup: Option<String>,
    /// Time at which the item that waits longest for a person is refused.
    #[serde(default)]
    pub held_until: Option<String>,
    /// The other nodes of the federation.
    pub peers: Vec<PeerView>,
    /// Time of the backup that this node was restored from; present until the node is reconciled
    /// with every peer.
    pub restored_from: Option<String>,
    /// The number of the newest entry of the record log.
    pub log_end: u64,
    /// Time at which everything that is kept was last checked whole; absent before the end of the
    /// first pass since the start.
    #[serde(default)]
    pub scrubbed: Option<String>,
    /// Number of persons enrolled.
    pub persons: usize,
    /// Number of items that wait for a person.
    #[serde(default)]
    pub held: u64,
    /// Number of items that failed verification and are set apart.
    #[serde(default)]
    pub quarantined: u64,
    /// Stored things that are damaged, records that do not verify any more, and consignments that
    /// do not fit the schema in use, each in words; at most 1,000.
    #[serde(default)]
    pub set_aside: Vec<String>,
    /// Signs that a member means to move this authority's scores, the newest first.
    #[serde(default)]
    pub alarms: Vec<String>,
}

/// Keys of one use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct KeyView {
    /// The use: `sealing`, `hop`, `log` or `agreement`.
    pub r#use: String,
    /// Id of the key in use.
    pub in_use: String,
    /// Id of a newer key that waits for the register to list it; absent if there is none.
    pub waits: Option<String>,
}

/// Answer to a check of everything that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct CheckView {
    /// Number of parts that were checked.
    pub parts: usize,
    /// Things that are not what was written, each in words.
    pub damaged: Vec<String>,
}

/// A problem that keeps the node from its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct StatusProblem {
    /// Kind of the problem, as in metrics; empty in answers of earlier versions.
    #[serde(default)]
    pub kind: String,
    /// Description of the problem.
    pub what: String,
    /// Remedy for the operator to apply.
    pub r#do: String,
}

/// Status of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct PeerView {
    /// The node.
    pub node: String,
    /// Its authority.
    pub authority: String,
    /// The authority's kind.
    pub kind: String,
    /// Time of its last receipt.
    pub last_receipt: Option<String>,
    /// Reason why the last delivery failed; absent if none failed since the last receipt.
    pub failure: Option<String>,
    /// Time of its latest sign of life since this node's start.
    #[serde(default)]
    pub last_heard: Option<String>,
    /// Time since which it cannot be reached; absent if the latest try did not fail.
    #[serde(default)]
    pub unreachable_since: Option<String>,
    /// Reason why it cannot be reached.
    #[serde(default)]
    pub unreachable: Option<String>,
    /// Remedy for that.
    #[serde(default)]
    pub unreachable_do: Option<String>,
    /// Reason other than policy why nothing is released to it: it is blocked, suspended or stopped.
    /// Absent if there is none.
    pub closed: Option<String>,
    /// Lead of its clock over this node's, in milliseconds; negative if it is behind, absent if it
    /// was not measured.
    #[serde(default)]
    pub clock_ahead_ms: Option<i64>,
    /// Largest error of that measurement, in milliseconds.
    #[serde(default)]
    pub clock_error_ms: Option<i64>,
    /// Time at which the channel to it was last compared in the present generation of this node.
    pub reconciled: Option<String>,
    /// Description of what that comparison repaired; absent if both sides agreed.
    pub repaired: Option<String>,
    /// Number of entries of the record log by which it is behind, in the urgent lane.
    pub behind_urgent: u64,
    /// Number of entries of the record log by which it is behind, in the bulk lane.
    pub behind_bulk: u64,
}

/// Status of a peer with everything else that is kept about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct PeerStandingView {
    /// The part that `status` shows.
    #[serde(flatten)]
    pub peer: PeerView,
    /// State in a word or two: why it is closed, what it refuses, `connected`, `unreachable`,
    /// `reachable` (it answers, and nothing is on its way), or `not tried yet`.
    pub state: String,
    /// Time since which this node has a delivery stream to it.
    pub connected_since: Option<String>,
    /// Time since which it has a delivery stream to this node.
    pub delivers_since: Option<String>,
    /// Rule under which it takes nothing from this node; absent if it takes deliveries.
    pub refuses: Option<String>,
    /// Number of records that wait for another try, in the urgent lane.
    pub exceptions_urgent: u64,
    /// Number of records that wait for another try, in the bulk lane.
    pub exceptions_bulk: u64,
    /// Number of records that were given up.
    pub undelivered: u64,
    /// Number of kept proofs that its history forked.
    pub forks: u64,
    /// End of the certificate that it showed last; absent if it was not seen since the start.
    pub certificate_ends: Option<String>,
}

impl PeerStandingView {
    /// Returns the time since which the state is what it is, if that is known.
    #[must_use]
    pub fn since(&self) -> &Option<String> {
        if self.state == "unreachable" {
            &self.peer.unreachable_since
        } else {
            &self.connected_since
        }
    }
}

/// A person of the authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct EnrolledView {
    /// Their id.
    pub id: String,
    /// Their full name.
    pub name: String,
    /// Their role.
    pub role: String,
    /// Time of enrolment.
    pub enrolled_at: String,
    /// Id of the person who enrolled them; empty for the first person.
    pub enrolled_by: String,
    /// Their public key, hexadecimal.
    pub public_key: String,
    /// `active`, `suspended` or `ended`.
    #[serde(default)]
    pub state: String,
    /// Time until which their signature counted; `None` while it counts.
    #[serde(default)]
    pub until: Option<String>,
    /// Keys that they had before, hexadecimal, with the time until which each counted.
    #[serde(default)]
    pub former_keys: Vec<FormerKeyView>,
    /// Id of the proposal that waits for a second person; `None` if the act is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposed: Option<String>,
}

/// A key that a person had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct FormerKeyView {
    /// The public key, hexadecimal.
    pub public_key: String,
    /// Time until which it counted.
    pub until: String,
}

/// A change of persons that waits: for a second person, or for its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct ProposalView {
    /// Its id.
    pub id: String,
    /// Id of the person who proposed it; empty for a recovery.
    pub by: String,
    /// Time at which it was signed, or at which the node told of the recovery.
    pub at: String,
    /// Time at which it lapses, or from which a recovery counts if the node runs until then.
    pub until: String,
    /// The change, in words.
    pub change: String,
    /// Id of the person whom it changes; empty in answers of earlier versions.
    #[serde(default)]
    pub person: String,
    /// True for a recovery, which counts by itself unless somebody withdraws it.
    #[serde(default)]
    pub recovery: bool,
}

/// A policy in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct PolicyView {
    /// Its id.
    pub id: String,
    /// The file that holds it; `baseline/…` for a shipped one.
    pub file: String,
    /// The line on which it starts.
    pub line: usize,
    /// Purpose of the policy, in its author's words.
    pub comment: String,
    /// Matter for a person to decide; present if the policy holds instead of denying.
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

/// A dependency that ends by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct EndView {
    /// Description of the dependency.
    pub what: String,
    /// Name of its kind, as in metrics.
    pub kind: String,
    /// Its end.
    pub ends: String,
    /// Time left until then, in words.
    pub left: String,
    /// `later`, `soon` (the node warns of it) or `ended`.
    pub urgency: String,
    /// Description of what stops at that time.
    pub stops: String,
    /// Remedy to apply before that time.
    pub r#do: String,
}

impl EndView {
    /// Returns true if the node warns of the dependency, or if it has ended.
    #[must_use]
    pub fn is_warned_of(&self) -> bool {
        self.urgency != "later"
    }
}

//! Calls from one part of a running node to another, for want of a better time: each may be missed.

use portcullis_protocol::identifiers::NodeId;

/// Rumours that may wait. A rumour that is missed is made good by the rotation.
pub const RUMOURS_WAITING: usize = 1024;

/// Sign that a peer gave of its knowledge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rumour {
    /// The peer seems to know more.
    Ahead(NodeId),
    /// The peer has what this node has.
    Level(NodeId),
}

/// Calls to compare that may wait. A call that is missed is made good within a day.
pub const CALLS_WAITING: usize = 256;

/// Reason to compare channels now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Compare with this peer: it was restored, or somebody asks for it.
    With(NodeId),
    /// Compare with all peers: this node started a new generation.
    All,
}

/// Peers that may wait to be told that answers are ready. One that is missed sends again by itself.
pub const ANSWERS_READY_WAITING: usize = 1024;

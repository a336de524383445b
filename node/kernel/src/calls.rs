//! Calls from one part of a running node to another, for want of a better time: each may be missed.

use portcullis_protocol::identifiers::NodeId;

/// Rumours that may wait; one that is missed is made good by the rotation.
pub const RUMOURS_WAITING: usize = 1024;

/// What a peer let show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rumour {
    /// It seems to know more.
    Ahead(NodeId),
    /// It has what this node has.
    Level(NodeId),
    /// It waits for answers that this node has decided on.
    Waiting(NodeId),
}

/// Calls to compare that may wait; one that is missed is made good within a day.
pub const CALLS_WAITING: usize = 256;

/// Why channels are to be compared now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// With this peer: it was restored, or somebody wants it.
    With(NodeId),
    /// With all: this node started a new generation.
    All,
}

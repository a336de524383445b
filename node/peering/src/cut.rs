//! Reasons for which there is no connection with a node that the register lists.

use portcullis_protocol::{rules::Rule, time::Timestamp};

/// Reason for which there is no connection with a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// An administrator of this node blocked the node.
    Blocked,
    /// The governance suspended the node's authority until this time.
    Suspended(Timestamp),
    /// This node is shut: what decides at it was changed, and nobody accepted that.
    Shut,
}

impl Cut {
    /// Returns the rule under which the node is refused.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        match self {
            Self::Blocked | Self::Shut => Rule::PeerBlocked,
            Self::Suspended(_) => Rule::Suspended,
        }
    }
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Blocked => f.write_str("blocked here"),
            Self::Suspended(until) => write!(f, "suspended until {until}"),
            Self::Shut => f.write_str("this node is shut; `portcullis status` says why"),
        }
    }
}

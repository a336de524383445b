//! Why there is no connection with a node that the register lists.

use portcullis_protocol::{rules::Rule, time::Timestamp};

/// Why there is no connection with a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// An administrator of this node blocked it.
    Blocked,
    /// The governance suspended its authority until then.
    Suspended(Timestamp),
}

impl Cut {
    /// The rule under which it is refused.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        match self {
            Self::Blocked => Rule::PeerBlocked,
            Self::Suspended(_) => Rule::Suspended,
        }
    }
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Blocked => f.write_str("blocked here"),
            Self::Suspended(until) => write!(f, "suspended until {until}"),
        }
    }
}

//! Facts about trust that outlive the process, in the domain's terms.

use portcullis_protocol::time::Timestamp;

/// Subject matter of a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FactKind {
    /// The freshness statement in force here.
    Freshness,
    /// A suspension that this node has taken up.
    Suspension,
    /// A node that an administrator blocked.
    Block,
    /// A stop of release, to one peer or to everyone.
    Stop,
    /// A recovery of an administrator that this node has told of.
    Recovery,
}

impl FactKind {
    const ALL: [Self; 5] = [
        Self::Freshness,
        Self::Suspension,
        Self::Block,
        Self::Stop,
        Self::Recovery,
    ];

    /// Returns the kind's name, as the store holds it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Freshness => "freshness",
            Self::Suspension => "suspension",
            Self::Block => "block",
            Self::Stop => "stop",
            Self::Recovery => "recovery",
        }
    }

    /// Returns the kind with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A fact to be kept in place of the earlier one with the same kind and subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Kind of the fact.
    pub kind: FactKind,
    /// Subject within the kind, for instance a node's name; empty for freshness.
    pub subject: String,
    /// Content to keep; `None` removes the fact.
    pub content: Option<Vec<u8>>,
    /// Time at which the fact was entered.
    pub at: Timestamp,
}

/// A fact as it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactRow {
    /// Kind of the fact.
    pub kind: FactKind,
    /// Subject within the kind, for instance a node's name; empty for freshness.
    pub subject: String,
    /// Content that was kept.
    pub content: Vec<u8>,
    /// Time at which the fact was entered.
    pub at: Timestamp,
}

//! Facts about trust that outlive the process, in the domain's terms.

use portcullis_protocol::time::Timestamp;

/// What a fact is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FactKind {
    /// The freshness statement at hand.
    Freshness,
    /// A suspension that was taken up.
    Suspension,
    /// A node that an administrator blocked.
    Block,
    /// To whom release is stopped.
    Stop,
}

impl FactKind {
    const ALL: [Self; 4] = [Self::Freshness, Self::Suspension, Self::Block, Self::Stop];

    /// Its name, as the store has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Freshness => "freshness",
            Self::Suspension => "suspension",
            Self::Block => "block",
            Self::Stop => "stop",
        }
    }

    /// The one with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A fact to be kept in place of the one with its kind and subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What it is about.
    pub kind: FactKind,
    /// Which of its kind.
    pub subject: String,
    /// What is kept; `None` removes it.
    pub content: Option<Vec<u8>>,
    /// When.
    pub at: Timestamp,
}

/// A fact as it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactRow {
    /// What it is about.
    pub kind: FactKind,
    /// Which of its kind.
    pub subject: String,
    /// What was kept.
    pub content: Vec<u8>,
    /// When.
    pub at: Timestamp,
}

//! Items that failed verification and were set apart, as JSON, version 1.

use serde::{Deserialize, Serialize};

use super::record::HeaderView;

/// An item that failed verification, as this node describes it; nothing of its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct BadItemView {
    /// Number of the item at this node.
    pub number: i64,
    /// Id of the record that it claims to be.
    pub record: String,
    /// The node that delivered it.
    pub from: String,
    /// Id of the rule that it broke.
    pub rule: String,
    /// Title of the rule, and how the item broke it.
    pub why: String,
    /// Time of arrival.
    pub at: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// An item with the claims of its header, none of which was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct BadItemDetailView {
    /// The item.
    #[serde(flatten)]
    pub item: BadItemView,
    /// Claims of its header; absent if the header cannot be read.
    pub claims: Option<HeaderView>,
    /// Reason why the header cannot be read.
    #[serde(default)]
    pub unreadable: Option<String>,
    /// Id of the key that allegedly signed its batch.
    pub claimed_key: String,
    /// Index and size, in bytes, of each section that came.
    pub sections: Vec<(u32, usize)>,
}

/// Items to be destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropView {
    /// Their numbers.
    pub numbers: Vec<i64>,
    /// Reason, for the log.
    pub reason: String,
}

/// Answer to the destruction of items.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct DroppedView {
    /// Number of items destroyed.
    pub dropped: usize,
}

//! What failed verification and was set apart, as JSON, version 1.

use serde::{Deserialize, Serialize};

use super::record::HeaderView;

/// An item that failed verification: what is said of it here, and nothing that it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadItemView {
    /// Its number here.
    pub number: i64,
    /// The id of the record that it says it is.
    pub record: String,
    /// The node that delivered it.
    pub from: String,
    /// The rule that it broke.
    pub rule: String,
    /// What the rule says, and how it was broken.
    pub why: String,
    /// When it came.
    pub at: String,
    /// Its bytes.
    pub bytes: u64,
}

/// An item with what its header claims. Nothing of it was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadItemDetailView {
    /// The item.
    #[serde(flatten)]
    pub item: BadItemView,
    /// What its header claims; absent: it cannot be read.
    pub claims: Option<HeaderView>,
    /// Why it cannot be read.
    #[serde(default)]
    pub unreadable: Option<String>,
    /// The id of the key that is said to have signed its batch.
    pub claimed_key: String,
    /// Each section that came: its number, and how many bytes.
    pub sections: Vec<(u32, usize)>,
}

/// Items to be destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropView {
    /// Their numbers.
    pub numbers: Vec<i64>,
    /// Why, for the log.
    pub reason: String,
}

/// What was destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedView {
    /// How many items.
    pub dropped: usize,
}

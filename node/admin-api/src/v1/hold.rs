//! Held items, and the decisions of persons on them, as JSON, version 1.

use portcullis_protocol::{frame::Answer, identifiers::NodeId, record::RecordId};
use serde::{Deserialize, Serialize};

use super::record::{HeaderView, SectionView};

/// Key of a held item. All three fields are needed, because a record may come from several peers in
/// several forms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemView {
    /// The record's id.
    pub record: String,
    /// The node that delivered it.
    pub from: String,
    /// The sections delivered, as bits.
    pub form: u64,
}

/// Decision of a person on held items.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecideView {
    /// The items.
    pub items: Vec<ItemView>,
    /// Reason, for the log.
    pub reason: String,
}

/// A held item: the contents of its header, and no body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct HeldView {
    /// Key of the item.
    #[serde(flatten)]
    pub item: ItemView,
    /// Its kind.
    pub kind: String,
    /// Its origin.
    pub origin: String,
    /// Its TLP label.
    pub tlp: String,
    /// Its handling codes, `-` for none.
    pub handling: String,
    /// True if it belongs to an exercise.
    pub exercise: bool,
    /// Number of sections delivered.
    pub open: u32,
    /// Number of sections of the record.
    pub sections: u32,
    /// The id of the rule that holds it.
    pub rule: String,
    /// Title of that rule.
    pub why: String,
    /// Policies that decided.
    pub policies: Vec<String>,
    /// Time of arrival, since which it waits.
    pub since: String,
    /// Time at which the wait ends and the item is refused.
    pub until: String,
}

/// Held items, the oldest first, and the way to those after them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct HeldPageView {
    /// The items.
    pub items: Vec<HeldView>,
    /// Number after which the next page begins; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
}

/// A held item with those of its contents that may be read here.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct HeldDetailView {
    /// The item.
    #[serde(flatten)]
    pub held: HeldView,
    /// Header, as its originator signed it.
    pub header: HeaderView,
    /// Sections of the record; those open here have their content.
    pub contents: Vec<SectionView>,
}

/// Result of a decision for one item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct RuledView {
    /// The record's id.
    pub record: String,
    /// The node that delivered it.
    pub from: String,
    /// Answer that the sender gets; absent if the item goes on waiting.
    pub answer: Option<String>,
    /// Rule of a refusal, or reason why the item goes on waiting.
    pub reason: Option<String>,
}

impl RuledView {
    /// Returns the result for an item with its final answer.
    #[must_use]
    pub fn answered(peer: &NodeId, answer: &Answer) -> Self {
        Self {
            record: answer.record.to_string(),
            from: peer.to_string(),
            answer: Some(answer.outcome.name().to_owned()),
            reason: answer.reason.clone(),
        }
    }

    /// Returns the result for an item that goes on waiting.
    #[must_use]
    pub fn stays(record: &RecordId, peer: &NodeId, why: &str) -> Self {
        Self {
            record: record.to_string(),
            from: peer.to_string(),
            answer: None,
            reason: Some(why.to_owned()),
        }
    }
}

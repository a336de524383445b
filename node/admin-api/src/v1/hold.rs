//! What waits for a person, and what a person decides, as JSON, version 1.

use portcullis_protocol::record::RecordId;
use portcullis_protocol::{frame::Answer, identifiers::NodeId};
use serde::{Deserialize, Serialize};

use super::record::{HeaderView, SectionView};

/// Which item: all three are needed, for a record may come from several peers in several forms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemView {
    /// The record's id.
    pub record: String,
    /// The node that delivered it.
    pub from: String,
    /// The sections delivered, as bits.
    pub form: u64,
}

/// What a person decides on items.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecideView {
    /// The items.
    pub items: Vec<ItemView>,
    /// Why, for the log.
    pub reason: String,
}

/// An item that waits: what its header says, and no body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldView {
    /// Which.
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
    /// Whether it belongs to an exercise.
    pub exercise: bool,
    /// How many sections were delivered.
    pub open: u32,
    /// How many sections it has.
    pub sections: u32,
    /// The id of the rule that holds it.
    pub rule: String,
    /// What the rule says.
    pub why: String,
    /// The policies that decided.
    pub policies: Vec<String>,
    /// Since when it waits.
    pub since: String,
    /// Until when: then it is refused.
    pub until: String,
}

/// An item that waits, with what of it may be read here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldDetailView {
    /// The item.
    #[serde(flatten)]
    pub held: HeldView,
    /// What its originator signed.
    pub header: HeaderView,
    /// Its sections, those open here with what they say.
    pub contents: Vec<SectionView>,
}

/// What became of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuledView {
    /// The record's id.
    pub record: String,
    /// The node that delivered it.
    pub from: String,
    /// The answer that the sender gets; absent: it goes on waiting.
    pub answer: Option<String>,
    /// The rule of a refusal, or why it goes on waiting.
    pub reason: Option<String>,
}

impl RuledView {
    /// An item with its final answer.
    #[must_use]
    pub fn answered(peer: &NodeId, answer: &Answer) -> Self {
        Self {
            record: answer.record.to_string(),
            from: peer.to_string(),
            answer: Some(answer.outcome.name().to_owned()),
            reason: answer.reason.clone(),
        }
    }

    /// An item that goes on waiting.
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

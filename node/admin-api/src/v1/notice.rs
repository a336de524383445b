//! Notices of events as JSON, version 1: one line for each, without bodies or selectors.

use serde::{Deserialize, Serialize};

/// Notice of an event.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct NoticeView {
    /// Time of the event.
    pub at: String,
    /// The event.
    #[serde(flatten)]
    pub what: WhatView,
}

/// An event, with its details.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum WhatView {
    /// This authority's record is in the log.
    Published {
        /// The record.
        record: String,
        /// Its kind.
        kind: String,
    },
    /// A peer's record, or more of its sections, was admitted.
    Received {
        /// The record.
        record: String,
        /// Its kind.
        kind: String,
        /// Its origin.
        origin: String,
        /// Node that delivered it.
        peer: String,
    },
    /// An item that a peer delivered was refused or held.
    Declined {
        /// The record.
        record: String,
        /// The peer.
        peer: String,
        /// Answer that the peer got.
        answer: String,
        /// The rule that refused or held it.
        reason: Option<String>,
    },
    /// A peer answered to a record.
    Answered {
        /// The record.
        record: String,
        /// The peer.
        peer: String,
        /// Its answer.
        answer: String,
        /// The rule that refused or held it.
        reason: Option<String>,
    },
    /// A delivery failed and will be tried again.
    DeliveryFailed {
        /// The peer.
        peer: String,
        /// Reason of the failure.
        why: String,
    },
    /// A consignment has a new score.
    Scored {
        /// The consignment.
        reference: String,
        /// Score, from 0 to 100.
        points: f64,
    },
    /// A sign that a member means to move scores.
    Alarm {
        /// The alarm in words.
        alarm: String,
    },
    /// The reader was too slow and missed notices.
    Missed {
        /// Number of missed notices.
        notices: u64,
    },
}

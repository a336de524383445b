//! What just happened, as JSON, version 1: a line for each, without bodies or selectors.

use serde::{Deserialize, Serialize};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NoticeView {
    /// When.
    pub at: String,
    /// What.
    #[serde(flatten)]
    pub what: WhatView,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
        /// Who delivered it.
        peer: String,
    },
    /// What a peer delivered was refused or held.
    Declined {
        /// The record.
        record: String,
        /// The peer.
        peer: String,
        /// The answer it got.
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
        /// Why.
        why: String,
    },
    /// A consignment has a new score.
    Scored {
        /// The consignment.
        reference: String,
        /// 0 to 100.
        points: f64,
    },
    /// The reader was too slow and missed some.
    Missed {
        /// How many.
        notices: u64,
    },
}

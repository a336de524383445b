//! Statements about trust and acts that close and open gates, as JSON, version 1.

use serde::{Deserialize, Serialize};

/// A statement to take up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatementView {
    /// The encoded statement, in base 64.
    pub statement: String,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenView {
    /// Whether it was new to the node.
    pub new: bool,
}

/// Whom an act on a gate concerns, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateView {
    /// The node, or `all` for a stop of what is released.
    pub peer: String,
    /// Why, for the log.
    pub reason: String,
}

/// A gate after it was moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedView {
    /// The node, or `all`.
    pub peer: String,
    /// What is the case from now on, for instance `blocked`.
    pub state: String,
}

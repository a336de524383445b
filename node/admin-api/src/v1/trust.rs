//! Statements about trust and acts that close and open gates, as JSON, version 1.

use serde::{Deserialize, Serialize};

/// A statement to take up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatementView {
    /// The encoded statement, in base 64.
    pub statement: String,
}

/// Result of taking up a statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct TakenView {
    /// True if the statement was new to the node.
    pub new: bool,
}

/// Body of an act on a gate: the node concerned and the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateView {
    /// The node; `all` if release to everyone is stopped or resumed.
    pub peer: String,
    /// Reason, for the log.
    pub reason: String,
}

/// A gate after it was moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct MovedView {
    /// The node, or `all`.
    pub peer: String,
    /// State from now on, for instance `blocked`.
    pub state: String,
}

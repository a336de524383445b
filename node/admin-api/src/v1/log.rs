//! Events and acts as JSON, version 1, for whoever watches over the node.

use serde::{Deserialize, Serialize};

/// Part of the log that is asked for: the newest entries, or those before one that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogPageView {
    /// The log that is read.
    pub what: LogKind,
    /// Only entries with a smaller number; absent for the newest.
    pub before: Option<i64>,
    /// Greatest number of entries, at most 1,000.
    pub limit: u32,
}

/// One of the two logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogKind {
    /// Events at the node.
    Events,
    /// Acts that persons had the node do, and what they read.
    Acts,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct EventView {
    /// Its number.
    pub number: i64,
    /// Time of the event.
    pub at: String,
    /// Kind of event, for instance `frame-refused`.
    pub kind: String,
    /// The peer it concerns, if any.
    pub peer: Option<String>,
    /// Description in words.
    pub detail: String,
}

/// An act of a person, or an access that nobody signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct ActEntryView {
    /// Its number.
    pub number: i64,
    /// Time of the act.
    pub at: String,
    /// Id of the person; empty if nobody signed.
    pub person: String,
    /// The uid that opened the socket, as the kernel reported it.
    pub uid: Option<u32>,
    /// Name of the act.
    pub action: String,
    /// Records, persons or consignments that it concerns, without their content.
    pub concerns: String,
    /// `done`, `begun` (its end is not known), or why it failed.
    pub outcome: String,
    /// True if a person's statement is kept with it.
    pub signed: bool,
}

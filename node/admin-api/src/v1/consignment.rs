//! The authority's own consignments as JSON, version 1: lists, one whole, and closing.

use portcullis_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::score::{ClosingView, RankedView};

/// Largest number of consignments in a list or ranking.
pub const MOST_LISTED: u32 = 100_000;

/// Least age of a consignment that may be removed, in days: what may still be controlled stays.
pub const LEAST_AGE_DAYS: i64 = 7;

/// Returns the latest time before which consignments may be removed: the beginning of a day.
#[must_use]
pub const fn latest_prune(now: Timestamp) -> Timestamp {
    let days = now.as_millis().div_euclid(DAY_MS) - LEAST_AGE_DAYS;
    Timestamp::from_millis(days * DAY_MS)
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Choice of consignments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsignmentFilterView {
    /// `arriving`, `closed` or `all`. Closed are those whose outcome is known, imported ones as well.
    pub stage: String,
    /// Only consignments of this time or later.
    #[serde(default)]
    pub since: Option<String>,
    /// Only consignments before this time.
    #[serde(default)]
    pub before: Option<String>,
    /// Only consignments with this identifier.
    #[serde(default)]
    pub about: Option<String>,
    /// Kind as which the identifier is taken as it is written.
    #[serde(default)]
    pub taken_as: Option<String>,
    /// Greatest number of consignments.
    pub limit: u32,
}

/// A list of consignments, the highest score first.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct ConsignmentsView {
    /// Those listed.
    pub items: Vec<ConsignmentLine>,
    /// Number of all that were asked for.
    pub total: u64,
    /// Readings of the identifier that was asked about.
    pub read_as: Vec<String>,
    /// Number of consignments with that identifier that were not asked for: closed ones, or arriving ones.
    #[serde(default)]
    pub elsewhere: u64,
}

/// A line of the list.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct ConsignmentLine {
    /// The consignment.
    pub reference: String,
    /// Its day.
    pub day: String,
    /// `arriving` or `closed`.
    pub stage: String,
    /// Its newest score, from 0 to 100; absent: not scored.
    pub points: Option<f64>,
    /// The recommended control; absent: not scored.
    pub control: Option<String>,
    /// Its closing by a person; absent: nobody closed it.
    pub closing: Option<ClosingView>,
    /// Its identifiers, each with its kind.
    pub identifiers: Vec<String>,
}

/// A consignment whole. Version 1.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct ConsignmentView {
    /// Version of the format: 1.
    pub version: u32,
    /// Its line in the list.
    pub line: ConsignmentLine,
    /// Its values, in the schema's order, without those that are empty.
    pub fields: Vec<FieldView>,
    /// Its newest score; absent: not scored.
    pub score: Option<RankedView>,
}

/// One value of a consignment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct FieldView {
    /// The column in the authority's files.
    pub column: String,
    /// The value.
    pub value: String,
}

/// Body of the act that closes a consignment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseView {
    /// The consignment.
    pub reference: String,
    /// `found`, `nothing` or `no-control`.
    pub result: String,
    /// One line for colleagues; empty for none.
    pub note: String,
    /// True if a result that is known already is replaced.
    pub correct: bool,
}

/// A consignment that was closed. Version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct ClosedView {
    /// Version of the format: 1.
    pub version: u32,
    /// The consignment.
    pub reference: String,
    /// Its closing.
    pub closing: ClosingView,
}

/// Body of the act that removes consignments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PruneView {
    /// `arriving`, `closed` or `all`.
    pub stage: String,
    /// Only consignments before this time.
    pub before: String,
}

/// Consignments that were removed. Version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct PrunedView {
    /// Version of the format: 1.
    pub version: u32,
    /// Their number.
    pub consignments: u64,
}

/// Progress of the import under way, or of the last one, in consignments. Version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportProgressView {
    /// Version of the format: 1.
    pub version: u32,
    /// Number that was looked at.
    pub checked: u64,
    /// Number that is durable.
    pub written: u64,
}

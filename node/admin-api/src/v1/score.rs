//! Consignments, scores and profiles as JSON, version 1.

use serde::{Deserialize, Serialize};

/// The version of [`ExplanationView`].
pub const VERSION: u32 = 1;

/// A score and everything that it is based on.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct ExplanationView {
    /// Version of the format: 1.
    pub version: u32,
    /// The consignment.
    pub reference: String,
    /// Time of scoring.
    pub at: String,
    /// Score from 0 to 100, with the counts and records of the federation.
    pub points: f64,
    /// Probability that a control finds something.
    pub probability: f64,
    /// Sum of the contributions, as log-odds.
    pub log_odds: f64,
    /// Score from the authority's own counts alone.
    pub local: LocalView,
    /// Recommended control. The software recommends; a person decides.
    pub recommendation: RecommendationView,
    /// Summands of the log-odds.
    pub contributions: Vec<ContributionView>,
    /// Records about the consignment that add nothing, and why.
    pub set_aside: Vec<SetAsideView>,
    /// The strictest marking of everything it is based on; absent: own knowledge only.
    pub marking: Option<MarkingView>,
    /// Version of the model.
    pub model: String,
    /// Its closing by a person; absent: it arrives, or a file brought its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closing: Option<ClosingView>,
}

/// Closing of a consignment by a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct ClosingView {
    /// `found`, `nothing` or `no-control`.
    pub result: String,
    /// Time at which the node was told.
    pub at: String,
    /// Id of the person.
    pub by: String,
    /// Note of the person; empty for none.
    pub note: String,
}

/// The score from the authority's own counts alone.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct LocalView {
    /// Score from 0 to 100.
    pub points: f64,
    /// Probability that a control finds something.
    pub probability: f64,
    /// Version of the model.
    pub model: String,
}

/// Recommendation for a consignment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct RecommendationView {
    /// The recommended control, whatever originators ask for.
    pub control: String,
    /// Control that the requested action leads to; absent: no request is heard.
    #[serde(default)]
    pub as_requested: Option<String>,
    /// Action for carrying out the control, where an originator who is heard asks for one.
    pub action: Option<String>,
    /// True if originators who are heard ask for different actions.
    pub contested: bool,
    /// Every action asked for.
    pub asks: Vec<AskView>,
}

/// Action that one originator asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct AskView {
    /// Authority that asks.
    pub authority: String,
    /// Action asked for.
    pub action: String,
    /// Id of the record that asks for it.
    pub record: String,
    /// True if the authority is of a kind whose requests are put before a person.
    #[serde(default = "heard_before")]
    pub heard: bool,
    /// True if it is heard by the authority's own policies alone.
    #[serde(default)]
    pub by_own_policy: bool,
}

/// One summand of the log-odds.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct ContributionView {
    /// `base`, `profile` or `selector`.
    pub part: String,
    /// Description of the summand.
    pub what: String,
    /// Log-odds that it adds.
    pub log_odds: f64,
    /// True if it is based on a generated identifier.
    pub generated: bool,
    /// Ids of the records it is based on; empty: own knowledge.
    pub records: Vec<String>,
    /// Evaluations of these records.
    pub evaluations: Vec<String>,
    /// Outcomes of other authorities that the reliability of the publisher rests on.
    #[serde(default)]
    pub graded_by: Vec<String>,
    /// Those of all these records that count, or count for more, by the authority's own policies
    /// alone.
    #[serde(default)]
    pub by_own_policy: Vec<String>,
}

/// Scores that were kept before requests were told apart heard all of them.
const fn heard_before() -> bool {
    true
}

/// A record that adds nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct SetAsideView {
    /// The record.
    pub record: String,
    /// Reason why it adds nothing.
    pub why: String,
}

/// A marking in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct MarkingView {
    /// TLP 2.0.
    pub tlp: String,
    /// PAP.
    pub pap: String,
    /// Handling codes; `-` for none.
    pub handling: String,
    /// Purposes.
    pub purposes: Vec<String>,
    /// The only authorities that may have it; absent: no list.
    pub release_to: Option<Vec<String>>,
    /// True if a hub may pass it on.
    pub relay: bool,
    /// True if wider sharing needs the originator's permission.
    pub originator_control: bool,
    /// Time at which it is to be erased.
    pub delete_at: Option<String>,
}

/// The highest scores.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct RankingView {
    /// The consignments, the highest score first.
    pub items: Vec<RankedView>,
    /// Number of all that are scored, of those asked for.
    pub total: u64,
}

/// A line of the ranking.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct RankedView {
    /// The consignment.
    pub reference: String,
    /// Score from 0 to 100.
    pub points: f64,
    /// The recommended control, whatever originators ask for.
    pub control: String,
    /// Control that the requested action leads to; absent: no request is heard.
    #[serde(default)]
    pub as_requested: Option<String>,
    /// Description of the summand that adds most.
    pub because: String,
    /// Number of records it is based on.
    pub records: usize,
}

impl ExplanationView {
    /// Returns the description of the summand that adds most, other than the base; empty if none
    /// adds.
    #[must_use]
    pub fn because(&self) -> &str {
        let added = self
            .contributions
            .iter()
            .filter(|contribution| contribution.is_reason());
        added
            .max_by(|left, right| left.log_odds.total_cmp(&right.log_odds))
            .map_or("", |contribution| contribution.what.as_str())
    }
}

impl ContributionView {
    /// Returns whether it is a reason for the score: something that was found out and adds to it.
    fn is_reason(&self) -> bool {
        !matches!(self.part.as_str(), "base" | "bound") && self.log_odds > 0.0
    }
}

/// Result of an import. Version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct ImportedView {
    /// Version of the format: 1.
    pub version: u32,
    /// Number of consignments.
    pub consignments: u64,
    /// Number of consignments that were controlled.
    pub controlled: u64,
    /// Number of identifiers that were generated for them.
    pub generated: u64,
    /// Number of identifiers with a wrong check digit that were accepted all the same.
    #[serde(default)]
    pub unchecked: u64,
    /// Separator, encoding, lines and marks of numbers, as the file was read. Empty from a node of an earlier version.
    #[serde(default)]
    pub read_as: String,
    /// Number of consignments that were known, and were replaced whole.
    #[serde(default)]
    pub replaced: u64,
    /// Number of consignments left as they are, because a person closed them.
    #[serde(default)]
    pub closed: u64,
    /// Rows that were left out, as the act asked for.
    #[serde(default)]
    pub skipped: Vec<SkippedView>,
}

/// A row of a file that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct SkippedView {
    /// Its line in the file.
    pub line: u64,
    /// The fault, and what to do.
    pub why: String,
}

/// A profile that was published. Version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct PublishedProfileView {
    /// Version of the format: 1.
    pub version: u32,
    /// The period.
    pub period: String,
    /// Number of its controls.
    pub controls: u64,
    /// Number of its findings.
    pub findings: u64,
    /// Number of its cells.
    pub cells: usize,
    /// Number of its sections.
    pub sections: usize,
    /// Ids of its records.
    pub records: Vec<String>,
}

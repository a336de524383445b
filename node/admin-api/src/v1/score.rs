//! What the desk says of consignments, scores and profiles, as JSON, version 1.

use serde::{Deserialize, Serialize};

/// The version of [`ExplanationView`].
pub const VERSION: u32 = 1;

/// A score and everything it stands on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExplanationView {
    /// 1.
    pub version: u32,
    /// The consignment.
    pub reference: String,
    /// When it was scored.
    pub at: String,
    /// With what the federation gave: 0 to 100.
    pub points: f64,
    /// The probability that a control finds something.
    pub probability: f64,
    /// The sum of the contributions.
    pub log_odds: f64,
    /// With the authority's own counts alone.
    pub local: LocalView,
    /// What to do. The software recommends; a person decides.
    pub recommendation: RecommendationView,
    /// The summands.
    pub contributions: Vec<ContributionView>,
    /// Records about the consignment that add nothing, and why.
    pub set_aside: Vec<SetAsideView>,
    /// The strictest marking of all it stands on; absent: own knowledge only.
    pub marking: Option<MarkingView>,
    /// Which model made it.
    pub model: String,
}

/// The score from the authority's own counts alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LocalView {
    /// 0 to 100.
    pub points: f64,
    /// The probability.
    pub probability: f64,
    /// Which model made it.
    pub model: String,
}

/// What to do with a consignment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecommendationView {
    /// The control.
    pub control: String,
    /// How to go about it, where an originator asks for something.
    pub action: Option<String>,
    /// Whether originators ask for different things.
    pub contested: bool,
    /// Everything that is asked.
    pub asks: Vec<AskView>,
}

/// What one originator asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskView {
    /// Who asks.
    pub authority: String,
    /// What for.
    pub action: String,
    /// In which record.
    pub record: String,
}

/// One summand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContributionView {
    /// `base`, `profile` or `selector`.
    pub part: String,
    /// What it is, in words.
    pub what: String,
    /// What it adds to the log-odds.
    pub log_odds: f64,
    /// Whether it rests on a generated identifier.
    pub generated: bool,
    /// The records it rests on; none: own knowledge.
    pub records: Vec<String>,
    /// How these were evaluated.
    pub evaluations: Vec<String>,
}

/// A record that adds nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAsideView {
    /// The record.
    pub record: String,
    /// Why.
    pub why: String,
}

/// A marking in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Whether a hub may pass it on.
    pub relay: bool,
    /// Whether wider sharing needs the originator's permission.
    pub originator_control: bool,
    /// When it is to be erased.
    pub delete_at: Option<String>,
}

/// A line of the ranking.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RankedView {
    /// The consignment.
    pub reference: String,
    /// 0 to 100.
    pub points: f64,
    /// The recommended control.
    pub control: String,
    /// What adds most, in words.
    pub because: String,
    /// How many records it stands on.
    pub records: usize,
}

impl ExplanationView {
    /// What adds most to it, the base apart.
    #[must_use]
    pub fn because(&self) -> &str {
        let added = self
            .contributions
            .iter()
            .filter(|contribution| contribution.part != "base" && contribution.log_odds > 0.0);
        added
            .max_by(|left, right| left.log_odds.total_cmp(&right.log_odds))
            .map_or("", |contribution| contribution.what.as_str())
    }
}

/// What was imported. Version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedView {
    /// 1.
    pub version: u32,
    /// How many consignments.
    pub consignments: u64,
    /// How many of them were controlled.
    pub controlled: u64,
    /// How many identifiers were generated for them.
    pub generated: u64,
}

/// A profile that was published. Version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedProfileView {
    /// 1.
    pub version: u32,
    /// The period.
    pub period: String,
    /// Its controls.
    pub controls: u32,
    /// Its findings.
    pub findings: u32,
    /// Its cells.
    pub cells: usize,
    /// Its sections.
    pub sections: usize,
    /// Its records.
    pub records: Vec<String>,
}

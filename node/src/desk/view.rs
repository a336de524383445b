//! What a score says to people and programs: versioned views, written once as JSON and kept.

use portcullis_protocol::{marking::Marking, record::RecordId, time::Timestamp};
use portcullis_scoring::{
    recommend::Recommendation,
    score::{Contribution, Score, What},
};
use serde::{Deserialize, Serialize};

use super::model::Model;
use crate::store::ScoreRow;

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
    /// Puts a score into words.
    #[must_use]
    pub fn of(
        reference: &str,
        score: &Score,
        local_log_odds: f64,
        model: &Model,
        at: Timestamp,
    ) -> Self {
        let local = 1.0 / (1.0 + (-local_log_odds).exp());
        Self {
            version: VERSION,
            reference: reference.to_owned(),
            at: at.to_string(),
            points: f64::from(score.points),
            probability: score.probability,
            log_odds: score.log_odds,
            local: LocalView {
                points: (local * 100.0).round(),
                probability: local,
                model: model.local.model().to_string(),
            },
            recommendation: RecommendationView::from(&score.recommendation),
            contributions: score.contributions.iter().map(Into::into).collect(),
            set_aside: score
                .set_aside
                .iter()
                .map(|(record, why)| SetAsideView {
                    record: record.to_string(),
                    why: why.to_string(),
                })
                .collect(),
            marking: score.marking.as_ref().map(MarkingView::from),
            model: score.model.to_string(),
        }
    }

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

impl RankedView {
    /// The line of a stored score; its explanation may be of another version.
    #[must_use]
    pub fn of(row: &ScoreRow) -> Self {
        let explanation: Option<ExplanationView> = serde_json::from_slice(&row.explanation).ok();
        let words = explanation.map(|view| {
            let because = view.because().to_owned();
            (view.recommendation.control, because)
        });
        let (control, because) = words.unwrap_or_default();
        Self {
            reference: row.reference.clone(),
            points: row.points,
            control,
            because,
            records: row.records.len(),
        }
    }
}

impl From<&Recommendation> for RecommendationView {
    fn from(recommendation: &Recommendation) -> Self {
        let asks = recommendation.asks.iter();
        Self {
            control: recommendation.control.to_string(),
            action: recommendation.action.map(|action| action.to_string()),
            contested: recommendation.is_contested(),
            asks: asks
                .map(|ask| AskView {
                    authority: ask.authority.to_string(),
                    action: ask.action.to_string(),
                    record: ask.record.to_string(),
                })
                .collect(),
        }
    }
}

impl From<&Contribution> for ContributionView {
    fn from(contribution: &Contribution) -> Self {
        let (part, generated) = match &contribution.what {
            What::Base => ("base", false),
            What::Level { .. } => ("profile", false),
            What::Selector { generated, .. } => ("selector", *generated),
        };
        let records = contribution.records.iter();
        Self {
            part: part.to_owned(),
            what: contribution.what.to_string(),
            log_odds: contribution.log_odds,
            generated,
            records: records.map(RecordId::to_string).collect(),
            evaluations: contribution
                .evaluations
                .iter()
                .map(ToString::to_string)
                .collect(),
        }
    }
}

impl From<&Marking> for MarkingView {
    fn from(marking: &Marking) -> Self {
        let names = |list: &std::collections::BTreeSet<_>| {
            list.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        Self {
            tlp: marking.tlp.to_string(),
            pap: marking.pap.to_string(),
            handling: marking.handling.to_string(),
            purposes: marking.purposes.iter().map(ToString::to_string).collect(),
            release_to: marking.release_to.as_ref().map(names),
            relay: marking.relay,
            originator_control: marking.originator_control,
            delete_at: marking.delete_at.map(|time| time.to_string()),
        }
    }
}

//! Scores as the structs that people and programs read, and the part of a score that is kept.

use portcullis_admin_api::v1::score::{
    AskView, ContributionView, ExplanationView, LocalView, MarkingView, RankedView,
    RecommendationView, SetAsideView, VERSION,
};
use portcullis_protocol::{marking::Marking, record::RecordId, time::Timestamp};
use portcullis_scoring::{
    recommend::Recommendation,
    score::{Contribution, Score, What},
};
use portcullis_store::ScoreRow;
use serde::{Deserialize, Serialize};

use super::model::Model;

/// Returns the view of a score.
#[must_use]
pub(crate) fn explanation(
    reference: &str,
    score: &Score,
    local_log_odds: f64,
    model: &Model,
    at: Timestamp,
) -> ExplanationView {
    let local = 1.0 / (1.0 + (-local_log_odds).exp());
    ExplanationView {
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
        recommendation: recommendation(&score.recommendation),
        contributions: score.contributions.iter().map(contribution).collect(),
        set_aside: score
            .set_aside
            .iter()
            .map(|(record, why)| SetAsideView {
                record: record.to_string(),
                why: why.to_string(),
            })
            .collect(),
        marking: score.marking.as_ref().map(marking),
        model: score.model.to_string(),
        closing: None,
    }
}

/// The part of a score that is kept beside its points: a ranking shows it, and the rest of an explanation is
/// made when a person asks, of what is known then. As JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Summary {
    control: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    as_requested: Option<String>,
    because: String,
}

impl Summary {
    /// Reads what is kept. It is empty if it cannot be read, for instance because it is of another version.
    fn read(kept: &[u8]) -> Self {
        serde_json::from_slice(kept)
            .ok()
            .or_else(|| Self::of_an_earlier_version(kept))
            .unwrap_or_default()
    }

    /// Versions before 0.2 kept the whole explanation.
    fn of_an_earlier_version(kept: &[u8]) -> Option<Self> {
        let view: ExplanationView = serde_json::from_slice(kept).ok()?;
        let because = view.because().to_owned();
        let RecommendationView {
            control,
            as_requested,
            ..
        } = view.recommendation;
        Some(Self {
            control,
            as_requested,
            because,
        })
    }
}

/// Returns what is kept of a score beside its points.
#[must_use]
pub(crate) fn summary(score: &Score) -> Vec<u8> {
    let RecommendationView {
        control,
        as_requested,
        ..
    } = recommendation(&score.recommendation);
    let reason = score.reason();
    let summary = Summary {
        control,
        as_requested,
        because: reason.map_or_else(String::new, |part| part.what.to_string()),
    };
    // It has no number that JSON lacks.
    serde_json::to_vec(&summary).unwrap_or_else(|error| {
        tracing::error!(%error, "what is kept of a score cannot be written");
        Vec::new()
    })
}

/// Returns the line of a stored score.
#[must_use]
pub(crate) fn ranked(row: &ScoreRow) -> RankedView {
    let Summary {
        control,
        as_requested,
        because,
    } = Summary::read(&row.summary);
    RankedView {
        reference: row.reference.clone(),
        points: row.points,
        control,
        as_requested,
        because,
        records: usize::try_from(row.records).unwrap_or(usize::MAX),
    }
}

/// The control that is recommended, and who asked for what.
fn recommendation(recommendation: &Recommendation) -> RecommendationView {
    let asks = recommendation.asks.iter();
    RecommendationView {
        control: recommendation.control.to_string(),
        as_requested: recommendation
            .as_requested
            .map(|control| control.to_string()),
        action: recommendation.action.map(|action| action.to_string()),
        contested: recommendation.is_contested(),
        asks: asks
            .map(|ask| AskView {
                authority: ask.authority.to_string(),
                action: ask.action.to_string(),
                record: ask.record.to_string(),
                heard: ask.is_heard,
                by_own_policy: ask.is_by_own_policy,
            })
            .collect(),
    }
}

/// A part of a score, in words.
fn contribution(contribution: &Contribution) -> ContributionView {
    let (part, generated) = match &contribution.what {
        What::Base => ("base", false),
        What::Level { .. } => ("profile", false),
        What::Selector { generated, .. } => ("selector", *generated),
        What::Bound { .. } => ("bound", false),
    };
    let records = contribution.records.iter();
    ContributionView {
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
        graded_by: contribution
            .graded_by
            .iter()
            .map(RecordId::to_string)
            .collect(),
        by_own_policy: contribution
            .by_own_policy
            .iter()
            .map(RecordId::to_string)
            .collect(),
    }
}

/// The marking that a score inherits.
fn marking(marking: &Marking) -> MarkingView {
    let names = |list: &std::collections::BTreeSet<_>| {
        list.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    MarkingView {
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

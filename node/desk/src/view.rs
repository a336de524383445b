//! Scores as the structs that people and programs read: written once as JSON and kept.

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
    }
}

/// Returns the line of a stored score. Control and reason are empty if its explanation cannot
/// be read, for instance because it is of another version.
#[must_use]
pub(crate) fn ranked(row: &ScoreRow) -> RankedView {
    let explanation: Option<ExplanationView> = serde_json::from_slice(&row.explanation).ok();
    let words = explanation.map(|view| {
        let because = view.because().to_owned();
        let RecommendationView {
            control,
            as_requested,
            ..
        } = view.recommendation;
        (control, as_requested, because)
    });
    let (control, as_requested, because) = words.unwrap_or_default();
    RankedView {
        reference: row.reference.clone(),
        points: row.points,
        control,
        as_requested,
        because,
        records: row.records.len(),
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

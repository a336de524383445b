//! Scoring of a stored consignment, with explanation.

use portcullis_admin_api::v1::score::ExplanationView;
use std::{collections::BTreeSet, sync::Arc};

use portcullis_protocol::record::RecordId;
use portcullis_scoring::{
    consignment::Consignment, evidence::SelectorEvidence, recommend::Control, score::Score,
};

use super::{
    Desk, DeskError,
    alarm::{self, Fall},
    holdings::Holdings,
    model::Model,
    view,
};
use portcullis_kernel::alarms::Alarm;
use portcullis_store::{ConsignmentRow, ScoreRow};

impl Desk {
    /// Scores a consignment twice, with the authority's own counts and with the federation's.
    pub(super) fn explain(
        &self,
        model: &Arc<Model>,
        holdings: &Holdings,
        row: &ConsignmentRow,
    ) -> Result<ExplanationView, DeskError> {
        let consignment = model.setup.read(row)?;
        let score = scored(model, holdings, &consignment)?;
        Ok(explained(model, holdings, &consignment, &score))
    }

    /// Returns the score of a consignment as it is kept; `None` if the consignment does not fit the
    /// schema in use. Such a consignment is set aside and keeps no other one back.
    pub(super) fn score_row(
        &self,
        model: &Arc<Model>,
        holdings: &Holdings,
        row: &ConsignmentRow,
    ) -> Result<Option<Scored>, DeskError> {
        let Ok(consignment) = model.setup.read(row) else {
            return Ok(None);
        };
        let score = scored(model, holdings, &consignment)?;
        let records: BTreeSet<&RecordId> = score
            .contributions
            .iter()
            .flat_map(|contribution| contribution.records.iter().chain(&contribution.graded_by))
            .collect();
        Ok(Some(Scored {
            control: score.recommendation.control,
            alarms: alarm::of_score(&score, &self.kernel.me().authority),
            row: ScoreRow {
                reference: row.reference.clone(),
                points: f64::from(score.points),
                at: holdings.now(),
                summary: view::summary(&score),
                records: records.len() as u64,
            },
        }))
    }
}

/// A score as it is kept, with what it raises.
pub(super) struct Scored {
    pub(super) row: ScoreRow,
    pub(super) control: Control,
    pub(super) alarms: Vec<Alarm>,
}

impl Scored {
    /// Returns the fall of the recommended control from the score that was kept before, if it fell.
    pub(super) fn fall(&self, before: &ScoreRow) -> Option<Fall> {
        if before.points <= self.row.points {
            return None;
        }
        let from = Control::named(&view::ranked(before).control)?;
        (from > self.control).then(|| Fall {
            reference: self.row.reference.clone(),
            from,
            to: self.control,
        })
    }
}

fn scored(
    model: &Model,
    holdings: &Holdings,
    consignment: &Consignment,
) -> Result<Score, DeskError> {
    let mut evidence: Vec<SelectorEvidence> = Vec::new();
    let year = consignment.year();
    for identifier in consignment.identifiers() {
        if identifier.kind.is_high_entropy() {
            evidence.extend(holdings.about(identifier.kind, &identifier.value)?);
        } else {
            let unindexed = model.unindexed.iter();
            let about = unindexed.filter(|item| identifier.is_named_by(&item.selector, year));
            evidence.extend(about.cloned());
        }
    }
    // A record that names two identifiers of the consignment is found twice, so duplicates are
    // removed.
    let key = |item: &SelectorEvidence| (item.record, item.selector.clone());
    evidence.sort_by_key(key);
    evidence.dedup_by_key(|item| key(item));
    Ok(model
        .federated
        .score(consignment, &evidence, holdings.now()))
}

fn explained(
    model: &Model,
    holdings: &Holdings,
    consignment: &Consignment,
    score: &Score,
) -> ExplanationView {
    let local = model.local.profile_log_odds(consignment);
    view::explanation(consignment.id(), score, local, model, holdings.now())
}

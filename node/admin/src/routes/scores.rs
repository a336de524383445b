//! Scores of the authority's own consignments.

use axum::{
    Json,
    extract::{ConnectInfo, Path, State},
};

use super::consultation;
use crate::{
    problem::{Problem, ProblemKind},
    request::{Admin, Caller},
};
use portcullis_admin_api::v1::{
    ListView,
    score::{ExplanationView, RankedView},
};

/// Largest number of consignments in a ranking.
const MOST_RANKED: u32 = 100_000;

pub(crate) async fn top(
    State(admin): State<Admin>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Path(limit): Path<u32>,
) -> Result<Json<ListView<RankedView>>, Problem> {
    if !(1..=MOST_RANKED).contains(&limit) {
        let message = format!("`{limit}` consignments are not listed");
        return Err(Problem::new(ProblemKind::Invalid, message)
            .remedy(format!("ask for 1 to {MOST_RANKED}")));
    }
    let items = admin.desk.top(limit).await?;
    let concerns = format!("{} consignments", items.len());
    consultation::log(&admin, caller, "score", concerns).await?;
    Ok(Json(ListView { items }))
}

/// Returns the score of one consignment, explained. Scoring joins what is known about a
/// consignment: Directive (EU) 2016/680 Art. 25 calls that a combination, and it is logged as one.
pub(crate) async fn of(
    State(admin): State<Admin>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Path(reference): Path<String>,
) -> Result<Json<ExplanationView>, Problem> {
    let view = admin.desk.score(&reference).await?;
    let concerns = format!("consignment {}", view.reference);
    consultation::log(&admin, caller, "score", concerns).await?;
    Ok(Json(view))
}

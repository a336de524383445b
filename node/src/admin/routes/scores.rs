//! Scores of the authority's own consignments.

use axum::{
    Json,
    extract::{ConnectInfo, Path, State},
};

use super::consultation;
use crate::{
    admin::{
        api::ListView,
        problem::Problem,
        request::{Admin, Caller},
    },
    desk::{
        DeskState,
        figures::FiguresView,
        view::{ExplanationView, RankedView},
    },
};

/// The most consignments of a ranking.
const MOST_RANKED: u32 = 100_000;

pub(in crate::admin) async fn top(
    State(admin): State<Admin>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Path(limit): Path<u32>,
) -> Result<Json<ListView<RankedView>>, Problem> {
    let items = admin.desk.top(limit.min(MOST_RANKED)).await?;
    let concerns = format!("{} consignments", items.len());
    consultation::log(&admin, caller, "score", concerns).await?;
    Ok(Json(ListView { items }))
}

/// Scoring joins what is known about a consignment: Directive (EU) 2016/680 Art. 25 calls that a
/// combination, and it is logged as one.
pub(in crate::admin) async fn of(
    State(admin): State<Admin>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Path(reference): Path<String>,
) -> Result<Json<ExplanationView>, Problem> {
    let view = admin.desk.score(&reference).await?;
    let concerns = format!("consignment {}", view.reference);
    consultation::log(&admin, caller, "score", concerns).await?;
    Ok(Json(view))
}

pub(in crate::admin) async fn figures(
    State(admin): State<Admin>,
) -> Result<Json<FiguresView>, Problem> {
    Ok(Json(admin.desk.figures().await?))
}

/// Waits until every arrival is scored by all that is known.
pub(in crate::admin) async fn settled(State(admin): State<Admin>) -> Json<DeskState> {
    tokio::select! {
        () = admin.desk.settled() => {}
        () = admin.shutdown.cancelled() => {}
    }
    Json(admin.desk.state())
}

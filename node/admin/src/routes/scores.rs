//! Scores of the authority's own consignments.

use axum::{
    Json,
    extract::{ConnectInfo, Path, State},
};

use super::{consignments, consultation};
use crate::{
    problem::{Problem, ProblemKind},
    request::{Admin, Caller, JsonBody},
};
use portcullis_admin_api::v1::{
    ListView,
    consignment::ConsignmentFilterView,
    score::{ExplanationView, RankedView, RankingView},
};

pub(crate) async fn top(
    State(admin): State<Admin>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Path(limit): Path<u32>,
) -> Result<Json<ListView<RankedView>>, Problem> {
    let view = ConsignmentFilterView {
        stage: "arriving".to_owned(),
        since: None,
        before: None,
        about: None,
        taken_as: None,
        limit,
    };
    let RankingView { items, total: _ } = ranked(&admin, caller, view).await?;
    Ok(Json(ListView { items }))
}

pub(crate) async fn ranking(
    State(admin): State<Admin>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    JsonBody(filter): JsonBody<ConsignmentFilterView>,
) -> Result<Json<RankingView>, Problem> {
    Ok(Json(ranked(&admin, caller, filter).await?))
}

async fn ranked(
    admin: &Admin,
    caller: Caller,
    filter: ConsignmentFilterView,
) -> Result<RankingView, Problem> {
    let (of, about, limit) = consignments::chosen(filter)?;
    if about.is_some() {
        let message = "a ranking is of all consignments, and an identifier is named";
        return Err(Problem::new(ProblemKind::Invalid, message)
            .remedy("`portcullis consignment list --about` lists those with an identifier"));
    }
    let (items, total) = admin.desk.top(of, limit).await?;
    let concerns = format!("{} consignments", items.len());
    consultation::log(admin, caller, "score", concerns).await?;
    Ok(RankingView { items, total })
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

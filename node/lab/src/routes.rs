//! Routes for the demo and the fault tests, beside those that a node serves to administrators: counts of the whole
//! ledger, a check of everything held, how well arrivals are ranked. Unsigned, unlogged and slow on a large store, and so no
//! part of the product.

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use portcullis_admin::{
    ledger::{self, LedgerView, VerificationView},
    request::Admin,
};
use portcullis_desk::{DeskState, figures::FiguresView};

type Answer<T> = Result<Json<T>, (StatusCode, String)>;

/// The routes.
pub fn routes() -> Router<Admin> {
    Router::new()
        .route("/v1/figures", get(figures))
        .route("/v1/desk/settled", get(settled))
        .route("/v1/ledger", get(counts))
        .route("/v1/verification", get(verification))
}

async fn figures(State(admin): State<Admin>) -> Answer<FiguresView> {
    admin.desk.figures().await.map(Json).map_err(failed)
}

/// Waits until every arrival is scored by everything known, or the node stops.
async fn settled(State(admin): State<Admin>) -> Json<DeskState> {
    tokio::select! {
        () = admin.desk.settled() => {}
        () = admin.shutdown.cancelled() => {}
    }
    Json(admin.desk.state())
}

async fn counts(State(admin): State<Admin>) -> Answer<LedgerView> {
    apart(move || ledger::count(&admin.kernel)).await
}

async fn verification(State(admin): State<Admin>) -> Answer<VerificationView> {
    apart(move || ledger::verify(&admin.kernel)).await
}

async fn apart<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Answer<T>
where
    T: Send + 'static,
    E: std::fmt::Display + Send + 'static,
{
    match portcullis_store::apart::spawn(work).await {
        Ok(done) => done.map(Json).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

fn failed(error: impl std::fmt::Display) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

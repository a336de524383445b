//! What became of every record for every peer, and whether all that is held verifies.

use axum::{Json, extract::State};

use super::apart;
use crate::{
    admin::{problem::Problem, request::Admin},
    ledger::{self, LedgerView, VerificationView},
};

pub(in crate::admin) async fn ledger(
    State(admin): State<Admin>,
) -> Result<Json<LedgerView>, Problem> {
    let core = admin.core.clone();
    apart(move || Ok(ledger::count(&core)?)).await.map(Json)
}

pub(in crate::admin) async fn verification(
    State(admin): State<Admin>,
) -> Result<Json<VerificationView>, Problem> {
    let core = admin.core.clone();
    apart(move || Ok(ledger::verify(&core)?)).await.map(Json)
}

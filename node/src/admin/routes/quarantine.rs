//! What is set apart because its key is compromised: which records, never their content.

use axum::{Json, extract::State};

use super::apart;
use crate::{
    admin::{
        api::{ListView, record::SetApartView},
        problem::Problem,
        server::Admin,
    },
    quarantine,
};

/// As many as are listed.
const MOST: usize = 10_000;

pub(in crate::admin) async fn list(
    State(admin): State<Admin>,
) -> Result<Json<ListView<SetApartView>>, Problem> {
    let core = admin.core.clone();
    let found = apart(move || Ok(quarantine::list(&core, MOST)?)).await?;
    let items = found
        .into_iter()
        .map(|one| SetApartView {
            record: one.held.sealed.id().to_string(),
            from: one.held.source.map(|peer| peer.to_string()),
            first_seen: one.held.received_at.to_string(),
            rule: one.rule.id().to_owned(),
            why: one.why,
        })
        .collect();
    Ok(Json(ListView { items }))
}

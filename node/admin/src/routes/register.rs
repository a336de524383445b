//! Taking up new epochs of the register that lie in the home. No person signs this: the epochs were
//! signed by the governance, and everything else is refused.

use axum::{Json, extract::State};

use crate::{
    problem::{Problem, ProblemKind},
    request::Admin,
};
use portcullis_admin_api::v1::register::TakenUpView;

pub(crate) async fn take_up(State(admin): State<Admin>) -> Result<Json<TakenUpView>, Problem> {
    let register_epoch = admin.reloader.take_up().await.map_err(|error| {
        Problem::new(ProblemKind::Invalid, error.to_string())
            .remedy("the present register stays in force; run `portcullis doctor`")
    })?;
    Ok(Json(TakenUpView { register_epoch }))
}

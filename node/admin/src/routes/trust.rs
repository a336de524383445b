//! Taking up statements of the governance and of freshness keys, which are passed on to every
//! member. No person of this authority signs this: the statements carry their own signatures.

use axum::{Json, extract::State};
use data_encoding::BASE64;

use crate::{
    problem::{Problem, ProblemKind},
    request::{Admin, JsonBody},
};
use portcullis_admin_api::v1::trust::{StatementView, TakenView};
use portcullis_kernel::OfferError;

pub(crate) async fn freshness(
    State(admin): State<Admin>,
    JsonBody(statement): JsonBody<StatementView>,
) -> Result<Json<TakenView>, Problem> {
    let bytes = bytes(&statement)?;
    taken(admin.kernel.offer_freshness(&bytes).await)
}

pub(crate) async fn suspension(
    State(admin): State<Admin>,
    JsonBody(statement): JsonBody<StatementView>,
) -> Result<Json<TakenView>, Problem> {
    let bytes = bytes(&statement)?;
    taken(admin.kernel.offer_suspension(&bytes).await)
}

fn bytes(statement: &StatementView) -> Result<Vec<u8>, Problem> {
    BASE64
        .decode(statement.statement.as_bytes())
        .map_err(|_| Problem::new(ProblemKind::Invalid, "the statement is not base 64"))
}

fn taken(offered: Result<bool, OfferError>) -> Result<Json<TakenView>, Problem> {
    match offered {
        Ok(new) => Ok(Json(TakenView { new })),
        Err(OfferError::Store(error)) => Err(error.into()),
        Err(OfferError::Refused(refusal)) => {
            Err(Problem::new(ProblemKind::Denied, refusal.to_string())
                .rule(refusal.rule.id())
                .remedy(refusal.rule.remedy()))
        }
    }
}

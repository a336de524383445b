//! Preview of drafts: the members who would get one, in which form, and the policies that decide; and the
//! records that drafts would repeat. Nothing is stored or sent.

use axum::{Json, extract::State};
use portcullis_policy::preview as ask;
use portcullis_protocol::seal::Draft;

use super::{apart, names};
use crate::{
    problem::{Problem, ProblemKind},
    request::{Admin, JsonBody},
};
use portcullis_admin_api::v1::{
    act::{DraftsView, RepeatedView},
    draft::DraftView,
    preview::{MemberPreview, PreviewView},
};
use portcullis_kernel::{Kernel, repeated};

pub(crate) async fn preview(
    State(admin): State<Admin>,
    JsonBody(draft): JsonBody<DraftView>,
) -> Result<Json<PreviewView>, Problem> {
    let kernel = admin.kernel.clone();
    apart(move || view(&kernel, names::draft(&kernel, draft)?))
        .await
        .map(Json)
}

/// Tells which of the drafts repeat a record of this authority.
pub(crate) async fn repeated(
    State(admin): State<Admin>,
    JsonBody(DraftsView { drafts }): JsonBody<DraftsView>,
) -> Result<Json<RepeatedView>, Problem> {
    let kernel = admin.kernel.clone();
    let asked = apart(move || {
        let drafts = drafts.into_iter().map(|view| names::draft(&kernel, view));
        let drafts = drafts.collect::<Result<Vec<Draft>, _>>()?;
        Ok(repeated::repeated(&kernel, &drafts)?)
    });
    let records = asked.await?.into_iter();
    let records = records.map(|id| id.map(|id| id.to_string())).collect();
    Ok(Json(RepeatedView { records }))
}

/// Seals the draft as publishing would, asks the engine that dispatch asks, and keeps nothing.
fn view(kernel: &Kernel, draft: Draft) -> Result<PreviewView, Problem> {
    let decider = kernel.decider();
    let records = kernel.seal(vec![draft])?;
    let holdings = records
        .iter()
        .map(|record| decider.holding(record, None, kernel.now()));
    let rows = ask(decider.engine(), holdings)
        .map_err(|error| Problem::new(ProblemKind::Failed, error.to_string()))?;
    Ok(PreviewView {
        rules: decider.engine().rules().to_string(),
        members: rows.iter().map(MemberPreview::from).collect(),
    })
}

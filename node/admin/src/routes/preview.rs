//! Preview of drafts: the members who would get one, in which form, and the policies that decide; and the
//! records that drafts would repeat. Nothing is stored or sent.

use axum::{
    Json,
    extract::{ConnectInfo, State},
};
use portcullis_policy::preview as ask;
use portcullis_protocol::seal::Draft;

use super::{apart, consultation, names};
use crate::{
    problem::{Problem, ProblemKind},
    request::{Admin, Caller, JsonBody},
};
use portcullis_admin_api::v1::{
    act::{DraftsView, RepeatedView},
    draft::DraftView,
    preview::{MemberPreview, PreviewView},
};
use portcullis_kernel::{
    Kernel,
    repeated::{self, Repeat},
};

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
    ConnectInfo(caller): ConnectInfo<Caller>,
    JsonBody(DraftsView { drafts }): JsonBody<DraftsView>,
) -> Result<Json<RepeatedView>, Problem> {
    let kernel = admin.kernel.clone();
    let asked = apart(move || {
        let drafts = drafts.into_iter().map(|view| names::draft(&kernel, view));
        let drafts = drafts.collect::<Result<Vec<Draft>, _>>()?;
        Ok(repeated::repeated(&kernel, &drafts)?)
    });
    let repeats = asked.await?;
    let count = |of: fn(&Repeat) -> bool| repeats.iter().filter(|repeat| of(repeat)).count();
    let repeated = count(|repeat| matches!(repeat, Repeat::Of(_)));
    let not_looked_up = count(|repeat| *repeat == Repeat::NotLookedUp) as u64;
    let concerns = format!(
        "whether {} drafts were said before: {repeated}",
        repeats.len()
    );
    consultation::log(&admin, caller, "records", concerns).await?;
    let record = |repeat: &Repeat| match repeat {
        Repeat::Of(id) => Some(id.to_string()),
        Repeat::New | Repeat::NotLookedUp => None,
    };
    Ok(Json(RepeatedView {
        records: repeats.iter().map(record).collect(),
        not_looked_up,
    }))
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

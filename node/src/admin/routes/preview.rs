//! Who would get a draft, in which form, and which policies decide. Nothing is stored or sent.

use axum::{Json, extract::State};
use portcullis_policy::preview as ask;
use portcullis_protocol::seal::Draft;

use super::apart;
use crate::{
    admin::{
        api::{
            draft::DraftView,
            preview::{MemberPreview, PreviewView},
        },
        problem::{Problem, ProblemKind},
        request::{Admin, JsonBody},
    },
    core::Core,
};

pub(in crate::admin) async fn preview(
    State(admin): State<Admin>,
    JsonBody(draft): JsonBody<DraftView>,
) -> Result<Json<PreviewView>, Problem> {
    let draft = Draft::try_from(draft)?;
    let core = admin.core.clone();
    apart(move || view(&core, draft)).await.map(Json)
}

/// Seals the draft as publishing would, asks the engine that dispatch asks, and forgets it.
fn view(core: &Core, draft: Draft) -> Result<PreviewView, Problem> {
    let decider = core.decider();
    let records = core.seal(vec![draft])?;
    let holdings = records
        .iter()
        .map(|record| decider.holding(record, None, core.now()));
    let rows = ask(decider.engine(), holdings)
        .map_err(|error| Problem::new(ProblemKind::Failed, error.to_string()))?;
    Ok(PreviewView {
        rules: decider.engine().rules().to_string(),
        members: rows.iter().map(MemberPreview::from).collect(),
    })
}

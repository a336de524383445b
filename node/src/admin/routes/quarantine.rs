//! What is set apart: records whose key is compromised, and items that failed verification. Which
//! they are and why, never their content.

use axum::{
    Json,
    extract::{Path, State},
};
use portcullis_protocol::{record::Header, wire};
use prost::Message as _;

use super::apart;
use crate::{
    admin::{
        api::{
            ListView,
            quarantine::{BadItemDetailView, BadItemView, DropView, DroppedView},
            record::{HeaderView, SetApartView},
        },
        problem::{Problem, ProblemKind},
        server::Admin,
    },
    core::Core,
    quarantine,
    store::{Write, writer::Priority},
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

pub(in crate::admin) async fn items(
    State(admin): State<Admin>,
) -> Result<Json<ListView<BadItemView>>, Problem> {
    let core = admin.core.clone();
    let rows = apart(move || Ok(core.store().bad_items()?)).await?;
    let items = rows.iter().map(BadItemView::of).collect();
    Ok(Json(ListView { items }))
}

pub(in crate::admin) async fn item(
    State(admin): State<Admin>,
    Path(number): Path<i64>,
) -> Result<Json<BadItemDetailView>, Problem> {
    let core = admin.core.clone();
    apart(move || detail(&core, number)).await.map(Json)
}

fn detail(core: &Core, number: i64) -> Result<BadItemDetailView, Problem> {
    let rows = core.store().bad_items()?;
    let row = rows.iter().find(|row| row.n == number);
    let sealed = core.store().bad_item(number)?;
    let Some((row, sealed)) = row.zip(sealed) else {
        let message = format!("no item {number} is set apart");
        return Err(Problem::new(ProblemKind::Unknown, message)
            .remedy("`portcullis quarantine list` shows what is"));
    };
    let record = sealed.wire();
    let header = wire::Header::decode(record.header.clone()).ok();
    let header = header.and_then(|wire| Header::try_from(wire).ok());
    let sections = record.sections.iter();
    Ok(BadItemDetailView {
        item: BadItemView::of(row),
        claims: header.as_ref().map(HeaderView::from),
        claimed_key: sealed.statement().key_id().to_string(),
        sections: sections
            .map(|section| (section.index, section.body.len()))
            .collect(),
    })
}

/// Items that a person has destroyed.
#[derive(Debug)]
pub(super) struct DropAct {
    numbers: Vec<i64>,
    reason: String,
}

impl DropAct {
    /// Reads what a person had signed.
    pub(super) fn read(body: &[u8]) -> Result<Self, Problem> {
        let invalid = |message: String| Problem::new(ProblemKind::Invalid, message);
        let DropView { numbers, reason } = serde_json::from_slice(body)
            .map_err(|error| invalid(format!("the request cannot be read: {error}")))?;
        if numbers.is_empty() || numbers.len() > MOST {
            return Err(invalid(format!(
                "{} items are named; name 1 to {MOST}",
                numbers.len()
            )));
        }
        if reason.is_empty() || reason.len() > 256 || reason.chars().any(char::is_control) {
            return Err(invalid("the reason is not one short line".to_owned()));
        }
        Ok(Self { numbers, reason })
    }

    /// What the log says that it concerns.
    pub(super) fn concerns(&self) -> String {
        format!(
            "{} items of the quarantine: {}",
            self.numbers.len(),
            self.reason
        )
    }

    /// Destroys them with the act's log.
    pub(super) async fn carry_out(
        self,
        admin: &Admin,
        log: Write,
    ) -> Result<Json<DroppedView>, Problem> {
        let dropped = self.numbers.len();
        let writes = vec![log, Write::DropBad(self.numbers)];
        admin.core.commit(Priority::Urgent, writes).await?;
        Ok(Json(DroppedView { dropped }))
    }
}

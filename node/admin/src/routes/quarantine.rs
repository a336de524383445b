//! Quarantine: records whose key is compromised, and items that failed verification. Tells which
//! they are and why they are set apart, never their content.

use crate::{
    problem::{Problem, ProblemKind},
    request::Admin,
    views,
};
use axum::{
    Json,
    extract::{Path, State},
};
use bytes::Bytes;
use portcullis_protocol::{record::Header, wire};
use prost::Message as _;

use super::{apart, outcome::in_job};
use portcullis_admin_api::v1::{
    ListView,
    quarantine::{BadItemDetailView, BadItemView, DropView, DroppedView},
    record::{HeaderView, SetApartView},
};
use portcullis_kernel::{Kernel, quarantine};
use portcullis_store::{Act, Write, Written, writer::Priority};

/// Largest number of records listed, and of items that one act names.
const MOST: usize = 10_000;

pub(crate) async fn list(
    State(admin): State<Admin>,
) -> Result<Json<ListView<SetApartView>>, Problem> {
    let kernel = admin.kernel.clone();
    let found = apart(move || Ok(quarantine::list(&kernel, MOST)?)).await?;
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

pub(crate) async fn items(
    State(admin): State<Admin>,
) -> Result<Json<ListView<BadItemView>>, Problem> {
    let kernel = admin.kernel.clone();
    let rows = apart(move || Ok(kernel.store().bad_items()?)).await?;
    let items = rows.iter().map(views::bad_item).collect();
    Ok(Json(ListView { items }))
}

pub(crate) async fn item(
    State(admin): State<Admin>,
    Path(number): Path<i64>,
) -> Result<Json<BadItemDetailView>, Problem> {
    let kernel = admin.kernel.clone();
    apart(move || detail(&kernel, number)).await.map(Json)
}

fn detail(kernel: &Kernel, number: i64) -> Result<BadItemDetailView, Problem> {
    let rows = kernel.store().bad_items()?;
    let row = rows.iter().find(|row| row.n == number);
    let sealed = kernel.store().bad_item(number)?;
    let Some((row, sealed)) = row.zip(sealed) else {
        let message = format!("no item {number} is set apart");
        return Err(Problem::new(ProblemKind::Unknown, message)
            .remedy("`portcullis quarantine list` shows what is"));
    };
    let record = sealed.wire();
    let (claims, unreadable) = match header(record.header.clone()) {
        Ok(header) => (Some(HeaderView::from(&header)), None),
        Err(why) => (None, Some(why)),
    };
    let sections = record.sections.iter();
    Ok(BadItemDetailView {
        item: views::bad_item(row),
        claims,
        unreadable,
        claimed_key: sealed.statement().key_id().to_string(),
        sections: sections
            .map(|section| (section.index, section.body.len()))
            .collect(),
    })
}

/// Reads the claims of a header; the error says why it cannot be read.
fn header(bytes: Bytes) -> Result<Header, String> {
    let wire = wire::Header::decode(bytes).map_err(|error| error.to_string())?;
    Header::try_from(wire).map_err(|error| error.to_string())
}

/// Items that a person wants destroyed.
#[derive(Debug)]
pub(super) struct DropAct {
    numbers: Vec<i64>,
    reason: String,
}

impl DropAct {
    /// Reads the body of a signed act.
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

    /// Describes the object of the act for the log.
    pub(super) fn concerns(&self) -> String {
        format!(
            "{} items of the quarantine: {}",
            self.numbers.len(),
            self.reason
        )
    }

    /// Destroys the items, in one commit with the act's log.
    pub(super) async fn carry_out(self, admin: &Admin, log: Act) -> Result<DroppedView, Problem> {
        let writes = vec![in_job(log, dropped), Write::DropBad(self.numbers)];
        let written = admin.kernel.commit(Priority::Urgent, writes).await?;
        Ok(dropped(&written))
    }
}

/// Returns the answer of an act that destroyed items.
fn dropped(written: &[Written]) -> DroppedView {
    let destroyed = written.iter().filter_map(|written| match written {
        Written::Destroyed(count) => Some(*count),
        Written::Done | Written::Answers(_) | Written::Refused(_) | Written::OutOfSequence(_) => {
            None
        }
    });
    DroppedView {
        dropped: destroyed.sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_testbed as testbed;

    #[test]
    fn a_header_that_cannot_be_read_says_why() {
        let sealed = testbed::seal(1, vec![testbed::indicator()], 1).remove(0);
        let good = sealed.wire().header.clone();
        assert_eq!(header(good.clone()).unwrap().origin.as_str(), "rotterdam");
        // A header cut in the middle of a field is no message; an empty one names no federation.
        let cut = header(good.slice(..good.len() - 1)).unwrap_err();
        let empty = header(Bytes::new()).unwrap_err();
        assert!(!cut.is_empty() && !empty.is_empty());
        assert_ne!(cut, empty);
    }
}

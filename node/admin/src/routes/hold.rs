//! Items that wait for a person: the list, the details of one record, and the acts that decide on
//! items.

use crate::{
    problem::{Problem, ProblemKind},
    request::{Admin, Caller},
    views,
};
use axum::{
    Json,
    extract::{ConnectInfo, Path, State},
};
use portcullis_protocol::{frame::Answer, identifiers::NodeId};

use super::{
    apart,
    consultation::{self, Consulted},
    outcome::in_job,
};
use portcullis_admin_api::v1::{
    ListView,
    hold::{DecideView, HeldDetailView, HeldPageView, HeldView, RuledView},
    record::{HeaderView, sections},
};
use portcullis_kernel::{
    Kernel,
    hold::{self, Choice, ItemKey, Ruling},
};
use portcullis_store::{Act, HeldItem, HeldKey, HeldRecord};

/// Largest length of a logged reason, in bytes.
const LONGEST_REASON: usize = 256;
/// Items on one page of the list.
const PAGE_ITEMS: u32 = 256;
/// Keys that are looked through at a time.
const PAGE_KEYS: u32 = 4_096;
/// Most items that are shown together: one record from several peers, in several forms.
const MOST_SHOWN: usize = 16;
/// Largest number of items in one act.
const MOST_ITEMS: usize = 65_536;

pub(crate) async fn list(
    State(admin): State<Admin>,
    ConnectInfo(caller): ConnectInfo<Caller>,
) -> Result<Json<HeldPageView>, Problem> {
    listed(&admin, caller, None).await
}

pub(crate) async fn list_after(
    State(admin): State<Admin>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Path(number): Path<i64>,
) -> Result<Json<HeldPageView>, Problem> {
    listed(&admin, caller, Some(number)).await
}

async fn listed(
    admin: &Admin,
    caller: Caller,
    after: Option<i64>,
) -> Result<Json<HeldPageView>, Problem> {
    let kernel = admin.kernel.clone();
    let page = apart(move || page(&kernel, after)).await?;
    let concerns = format!("{} held items", page.items.len());
    consultation::log(admin, caller, "hold-list", concerns).await?;
    Ok(Json(page))
}

/// Returns a page of the list. One item is opened at a time.
fn page(kernel: &Kernel, after: Option<i64>) -> Result<HeldPageView, Problem> {
    let keys = kernel.store().held_keys(after, PAGE_ITEMS)?;
    let is_last = u32::try_from(keys.len()).is_ok_and(|count| count < PAGE_ITEMS);
    let next = keys.last().map(|key| key.n).filter(|_| !is_last);
    let mut items = Vec::with_capacity(keys.len());
    for key in &keys {
        if let Some(item) = kernel.store().held_item(key)? {
            items.extend(line(kernel, &item)?);
        }
    }
    Ok(HeldPageView { items, next })
}

/// Returns the line of an item; `None` if it does not verify, of which the log tells.
fn line(kernel: &Kernel, item: &HeldItem) -> Result<Option<HeldView>, Problem> {
    let decider = kernel.decider();
    match decider.verify_seen(&item.sealed, item.at, kernel.now()) {
        Ok(record) => Ok(Some(views::held(item, &record, policies(kernel, item)?))),
        Err(refusal) => {
            let record = item.sealed.id();
            tracing::debug!(%record, %refusal, "a held item does not verify");
            kernel.set_aside().refused(record, refusal.rule);
            Ok(None)
        }
    }
}

/// Returns the policies that were noted when the item came.
fn policies(kernel: &Kernel, item: &HeldItem) -> Result<Vec<String>, Problem> {
    let arrivals = kernel.store().arrivals(Some(&item.sealed.id()))?;
    let own = arrivals
        .into_iter()
        .find(|row| row.peer == item.peer && row.answer.form == item.form);
    Ok(own.map_or_else(Vec::new, |row| row.note.policies))
}

pub(crate) async fn show(
    State(admin): State<Admin>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Path(prefix): Path<String>,
) -> Result<Json<ListView<HeldDetailView>>, Problem> {
    let kernel = admin.kernel.clone();
    let asked = prefix.to_ascii_lowercase();
    let items = apart(move || details(&kernel, &asked)).await?;
    let concerns = format!("held record {prefix:.64}");
    consultation::log(&admin, caller, "hold-show", concerns).await?;
    Ok(Json(ListView { items }))
}

fn details(kernel: &Kernel, prefix: &str) -> Result<Vec<HeldDetailView>, Problem> {
    let found = begin_with(kernel, prefix)?;
    if found.is_empty() {
        let message = format!("no held record has an id that begins with `{prefix}`");
        return Err(Problem::new(ProblemKind::Unknown, message)
            .remedy("`portcullis hold list` shows what waits"));
    }
    let mut details = Vec::with_capacity(found.len());
    for key in &found {
        if let Some(item) = kernel.store().held_item(key)? {
            details.push(detail(kernel, &item)?);
        }
    }
    Ok(details)
}

/// Returns the keys of the items whose records have ids that begin so, the oldest first and not
/// more than are shown together.
fn begin_with(kernel: &Kernel, prefix: &str) -> Result<Vec<HeldKey>, Problem> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let keys = kernel.store().held_keys(after, PAGE_KEYS)?;
        let Some(last) = keys.last() else {
            return Ok(found);
        };
        after = Some(last.n);
        let fits = |key: &HeldKey| key.record.to_string().starts_with(prefix);
        found.extend(keys.into_iter().filter(fits));
        if found.len() >= MOST_SHOWN {
            found.truncate(MOST_SHOWN);
            return Ok(found);
        }
    }
}

fn detail(kernel: &Kernel, item: &HeldItem) -> Result<HeldDetailView, Problem> {
    let as_record = HeldRecord {
        sealed: item.sealed.clone(),
        form: item.form,
        source: Some(item.peer.clone()),
        received_at: item.at,
    };
    let consulted = Consulted::of(kernel, &kernel.decider(), &as_record, kernel.now())?;
    Ok(HeldDetailView {
        held: views::held(item, &consulted.record, policies(kernel, item)?),
        header: HeaderView::from(consulted.record.header()),
        contents: sections(&consulted.record, consulted.shown),
    })
}

/// Decision of a person on items.
#[derive(Debug)]
pub(super) struct HoldAct {
    choice: Choice,
    keys: Vec<ItemKey>,
    reason: String,
}

impl HoldAct {
    /// Reads the body of a signed act.
    pub(super) fn read(choice: Choice, body: &[u8]) -> Result<Self, Problem> {
        let invalid = |message: String| Problem::new(ProblemKind::Invalid, message);
        let DecideView { items, reason } = serde_json::from_slice(body)
            .map_err(|error| invalid(format!("the request cannot be read: {error}")))?;
        let one_line = !reason.is_empty()
            && reason.len() <= LONGEST_REASON
            && !reason.chars().any(char::is_control);
        if !one_line {
            return Err(invalid("the reason is not one short line".to_owned()));
        }
        if items.is_empty() || items.len() > MOST_ITEMS {
            return Err(invalid(format!(
                "{} items are named; name 1 to {MOST_ITEMS}",
                items.len()
            )));
        }
        Ok(Self {
            choice,
            keys: items
                .into_iter()
                .map(views::item_key)
                .collect::<Result<_, _>>()?,
            reason,
        })
    }

    /// Describes the object of the act for the log.
    pub(super) fn concerns(&self) -> String {
        let which = match self.keys.as_slice() {
            [one] => format!("held record {} from {}", one.record, one.peer),
            keys => format!("{} held records", keys.len()),
        };
        format!("{which}: {}", self.reason)
    }

    /// Rules on the items. Fails if one of them does not wait here. Nothing is written yet.
    pub(super) fn rule(&self, kernel: &Kernel) -> Result<Ruling, Problem> {
        let ruling = hold::rule(kernel, self.choice, &self.keys)?;
        match ruling.unknown.first() {
            None => Ok(ruling),
            Some(key) => Err(Problem::new(
                ProblemKind::Unknown,
                format!(
                    "record `{}` from `{}` does not wait here (any more); nothing was decided",
                    key.record, key.peer
                ),
            )
            .remedy("`portcullis hold list` shows what waits")),
        }
    }

    /// Returns a ruling under the register, policy and closures in force: this one, or one made
    /// anew if any of them was replaced since.
    pub(super) async fn in_force(self, admin: &Admin, ruling: Ruling) -> Result<Ruling, Problem> {
        if ruling.stands(&admin.kernel) {
            return Ok(ruling);
        }
        let kernel = admin.kernel.clone();
        apart(move || self.rule(&kernel)).await
    }

    /// Makes the ruling durable together with the act's log, and returns the result for each item.
    pub(super) async fn carry_out(
        admin: &Admin,
        ruling: Ruling,
        log: Act,
    ) -> Result<ListView<RuledView>, Problem> {
        let stays = ruling.stays.iter();
        let stays: Vec<RuledView> = stays
            .map(|(key, why)| RuledView::stays(&key.record, &key.peer, why))
            .collect();
        let (kept, peers) = (stays.clone(), ruling.peers());
        let log = in_job(log, move |written| {
            ruled(&kept, &hold::answered(&peers, written))
        });
        let answered = hold::carry_out(&admin.kernel, ruling, vec![log]).await?;
        Ok(ruled(&stays, &answered))
    }
}

/// Returns the result for each item: those that go on waiting, then those that were answered.
fn ruled(stays: &[RuledView], answered: &[(NodeId, Vec<Answer>)]) -> ListView<RuledView> {
    let mut items = stays.to_vec();
    for (peer, answers) in answered {
        items.extend(answers.iter().map(|one| RuledView::answered(peer, one)));
    }
    ListView { items }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reason: &str, items: usize) -> Result<HoldAct, Problem> {
        let item = serde_json::json!({ "record": "ab".repeat(32), "from": "hub", "form": 3 });
        let body = serde_json::json!({ "items": vec![item; items], "reason": reason });
        HoldAct::read(Choice::Drop, body.to_string().as_bytes())
    }

    #[test]
    fn a_decision_names_items_and_a_reason() {
        let act = read("not ours", 1).unwrap();
        assert_eq!(
            act.concerns(),
            format!("held record {} from hub: not ours", "ab".repeat(32))
        );
        assert_eq!(
            read("not ours", 2).unwrap().concerns(),
            "2 held records: not ours"
        );
        assert!(read("", 1).is_err());
        assert!(read("two\nlines", 1).is_err());
        assert!(read("not ours", 0).is_err());
        assert!(HoldAct::read(Choice::Drop, b"{}").is_err());
    }
}

//! `portcullis hold list`, `show`, `release` and `drop`: records that arrived and wait for the
//! decision of a person.

use std::io;

use portcullis_protocol::{identifiers::NodeId, rules::Rule};

use super::{
    Session,
    error::CliError,
    live::block_on,
    names::{id_prefix, known_peer},
    output::{Column, Page, Table, View, seconds},
    show::{content_text, label, marking},
    signing::{ActRequest, SigningArgs, have_done},
};
use portcullis_admin_api::{
    act::Action,
    client::Client,
    v1::{
        ListView,
        hold::{DecideView, HeldDetailView, HeldPageView, HeldView, RuledView},
    },
};

/// List what arrived and waits for a person
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
List what arrived and waits for a person's decision: who sent it, what its header says, which rule \
and policies hold it, since when, and until when. What nobody decides on by then is refused. \
Nothing of it is indexed, scored or passed on meanwhile. Listing is logged as a consultation.",
    after_long_help = "\
Examples:
  portcullis hold list
  portcullis hold list --from antwerp --json"
)]
pub(super) struct HoldList {
    #[command(flatten)]
    which: Which,
}

/// Show what waits, with the sections that may be read here
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Show what waits: its header, and the sections that policy lets this authority read, so that a \
person can decide. Showing is logged as a consultation.",
    after_long_help = "\
Example:
  portcullis hold show 3f9a1c20"
)]
pub(super) struct HoldShow {
    /// The record's id, or its beginning
    #[arg(value_name = "ID")]
    id: String,
}

/// Take in what waits, if nothing else is against it
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Take in what waits. Verification and policy are asked anew about everything but the approval: what \
they deny is refused for good all the same. The sender is told, and gets its final answer.

By its id one record is meant; by `--rule` or `--from` all that fit: they are counted first, and \
decided on with `--yes`. It is an act of a supervisor or an officer for data protection.",
    after_long_help = "\
Examples:
  portcullis hold release 3f9a1c20 --reason 'read; the restriction fits us' --key anna.key
  portcullis hold release --from antwerp --rule PO-03 --reason 'agreed by phone' --yes --key anna.key"
)]
pub(super) struct HoldRelease {
    #[command(flatten)]
    decision: Decision,
}

/// Refuse what waits, for good
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Refuse what waits, for good (PO-04). The sender is told, and gets its final answer; the same record \
in the same form is not taken from it any more.

By its id one record is meant; by `--rule` or `--from` all that fit: they are counted first, and \
decided on with `--yes`. It is an act of a supervisor or an officer for data protection.",
    after_long_help = "\
Examples:
  portcullis hold drop 3f9a1c20 --reason 'not for customs' --key anna.key
  portcullis hold drop --from antwerp --reason 'sent in error, says antwerp' --yes --key anna.key"
)]
pub(super) struct HoldDrop {
    #[command(flatten)]
    decision: Decision,
}

/// Which items.
#[derive(Debug, clap::Args)]
struct Which {
    /// Only what this rule holds, for instance PO-03
    #[arg(long, value_name = "RULE")]
    rule: Option<Rule>,
    /// Only what this node delivered
    #[arg(long, value_name = "PEER")]
    from: Option<NodeId>,
}

#[derive(Debug, clap::Args)]
struct Decision {
    /// The record's id, or its beginning; without it `--rule` or `--from` say which
    #[arg(value_name = "ID", required_unless_present_any = ["rule", "from"])]
    id: Option<String>,
    #[command(flatten)]
    which: Which,
    /// Why, for the log
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Decide on all that fit, not only count them
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    signing: SigningArgs,
}

impl Which {
    fn fits(&self, held: &HeldView) -> bool {
        self.rule.is_none_or(|rule| held.rule == rule.id())
            && self
                .from
                .as_ref()
                .is_none_or(|from| held.item.from == from.as_str())
    }
}

impl HoldList {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let client = session.client()?;
        let held = block_on(async {
            let mut held = list(&client).await?;
            held.items.retain(|item| self.which.fits(item));
            known_peer(&client, self.which.from.as_ref(), !held.items.is_empty()).await?;
            Ok(held)
        })?;
        session.output.show(&held)
    }
}

impl HoldShow {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let id = id_prefix(&self.id)?;
        let client = session.client()?;
        let found: ListView<HeldDetailView> =
            block_on(async { Ok(client.get(&format!("/v1/held/{id}")).await?) })?;
        session.output.show(&found)
    }
}

impl HoldRelease {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        self.decision.run(session, Action::HoldRelease)
    }
}

impl HoldDrop {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        self.decision.run(session, Action::HoldDrop)
    }
}

impl Decision {
    fn run(self, session: &Session, action: Action) -> Result<(), CliError> {
        let client = session.client()?;
        let held = block_on(async {
            let mut held = list(&client).await?.items;
            held.retain(|item| self.which.fits(item));
            known_peer(&client, self.which.from.as_ref(), !held.is_empty()).await?;
            Ok(held)
        })?;
        let held = self.chosen(held)?;
        if self.id.is_none() && !self.yes {
            session.output.show(&ListView { items: held })?;
            session
                .output
                .note("nothing was decided; add `--yes` to decide on all of these");
            return Ok(());
        }
        let view = DecideView {
            items: held.into_iter().map(|held| held.item).collect(),
            reason: self.reason,
        };
        let body = serde_json::to_vec(&view)
            .map_err(|error| CliError::failed("the act cannot be written").because(&error))?;
        let key = self.signing.open()?;
        let deed = ActRequest::new(action, body);
        let ruled: ListView<RuledView> = block_on(async { have_done(&client, &key, deed).await })?;
        session.output.show(&ruled)
    }

    /// Returns the items to decide on, of those that fit: those of one record, or all.
    fn chosen(&self, mut held: Vec<HeldView>) -> Result<Vec<HeldView>, CliError> {
        if let Some(id) = &self.id {
            let id = id_prefix(id)?;
            held.retain(|item| item.item.record.starts_with(&id));
        }
        let Some(first) = held.first() else {
            return Err(CliError::not_found("nothing that waits fits")
                .remedy("`portcullis hold list` shows what waits"));
        };
        let several = held.iter().any(|one| one.item.record != first.item.record);
        if self.id.is_some() && several {
            return Err(
                CliError::invalid("several records have an id that begins so")
                    .remedy("write more of it"),
            );
        }
        Ok(held)
    }
}

pub(super) async fn list(client: &Client) -> Result<ListView<HeldView>, CliError> {
    let mut items = Vec::new();
    let mut page: HeldPageView = client.get("/v1/held").await?;
    loop {
        items.append(&mut page.items);
        let Some(next) = page.next else {
            return Ok(ListView { items });
        };
        page = client.get(&format!("/v1/held/after/{next}")).await?;
    }
}

impl View for ListView<HeldView> {
    const SCHEMA: &'static str = "portcullis/held/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        if self.items.is_empty() {
            return page.line("nothing waits");
        }
        let mut table = Table::new(&[
            Column::Text("ID"),
            Column::Text("FROM"),
            Column::Text("KIND"),
            Column::Text("ORIGIN"),
            Column::Text("TLP"),
            Column::Text("CODES"),
            Column::Number("OPEN"),
            Column::Text("HELD BY"),
            Column::Text("SINCE"),
            Column::Text("UNTIL"),
        ])
        .yielding(&["CODES", "OPEN", "SINCE", "TLP", "KIND", "ORIGIN"])
        .wrapping(&["HELD BY"]);
        for held in &self.items {
            table.row(row(held));
        }
        page.table(&table)?;
        match self.items.len() {
            1 => page.line("1 waits"),
            count => page.line(format!("{count} wait")),
        }
    }
}

fn row(held: &HeldView) -> [String; 10] {
    let kind = if held.exercise {
        format!("{} (exercise)", held.kind)
    } else {
        held.kind.clone()
    };
    [
        format!("{:.12}", held.item.record),
        held.item.from.clone(),
        kind,
        held.origin.clone(),
        held.tlp.clone(),
        held.handling.clone(),
        format!("{}/{}", held.open, held.sections),
        format!("{} {}", held.rule, held.policies.join(" ")),
        seconds(&held.since),
        seconds(&held.until),
    ]
}

impl View for ListView<HeldDetailView> {
    const SCHEMA: &'static str = "portcullis/held-detail/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        for item in &self.items {
            let held = &item.held;
            page.heading(&format!("{} of {}", held.kind, held.origin))?;
            page.pairs(&[
                ("id", held.item.record.clone()),
                ("from", held.item.from.clone()),
                ("held by", format!("{}: {}", held.rule, held.why)),
                ("policies", held.policies.join(" ")),
                ("since", held.since.clone()),
                ("until", held.until.clone()),
            ])?;
            page.pairs(&marking(&item.header))?;
            page.heading("Sections")?;
            for section in &item.contents {
                let said = section.content.as_ref().map_or_else(
                    || "not delivered, or not to be read here".to_owned(),
                    content_text,
                );
                page.pairs(&[(label(section), said)])?;
            }
        }
        Ok(())
    }
}

impl View for ListView<RuledView> {
    const SCHEMA: &'static str = "portcullis/ruled/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        self.items.iter().try_for_each(|ruled| {
            let reason = ruled.reason.as_deref().unwrap_or_default();
            let said = match &ruled.answer {
                Some(answer) if reason.is_empty() => answer.clone(),
                Some(answer) => format!("{answer} ({reason})"),
                None => format!("still waits: {reason}"),
            };
            page.line(format!("{:.12} from {}: {said}", ruled.record, ruled.from))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_fits_the_terminal() {
        let held = serde_json::json!({
            "record": "3f07f443d0ad".repeat(5), "from": "rotterdam", "form": 3, "kind": "risk-profile",
            "origin": "customs-40", "tlp": "TLP:AMBER+STRICT", "handling": "H1+H3", "exercise": true,
            "open": 3, "sections": 5, "rule": "PO-03", "why": "a person reads it first",
            "policies": ["base-h3-held", "port-own-hold-of-profiles"],
            "since": "2026-11-24T11:01:51.25Z", "until": "2026-12-24T11:01:51.25Z",
        });
        let items: Vec<HeldView> = vec![serde_json::from_value(held).unwrap()];
        crate::output::check_fits(&ListView { items });
    }
}

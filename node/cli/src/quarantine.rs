//! `portcullis quarantine list`, `show` and `drop`: what failed verification and was set apart.

use std::io;

use portcullis_protocol::{identifiers::NodeId, rules::Rule};
use serde::Serialize;

use super::{
    Session,
    error::CliError,
    live::block_on,
    names::known_peer,
    output::{Column, Page, Table, View, seconds},
    show::marking,
    signing::{ActRequest, SigningArgs, have_done},
};
use portcullis_admin_api::{
    act::Action,
    v1::{
        ListView,
        quarantine::{BadItemDetailView, BadItemView, DropView, DroppedView},
        record::SetApartView,
    },
};

/// List what is set apart: items that failed verification, and records of a compromised key
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
List what is set apart, the newest first: items that peers delivered and that failed verification, \
as they came; and records held here whose sealing key was compromised before they were first seen \
(EX-21). Nothing of either is indexed, scored, shown or passed on.

Items are kept for whoever looks into it: at most 256 of a peer and 4,096 in all (4 and 32 MiB), \
the oldest give way. Records stay in the log; they have no number.",
    after_long_help = "\
Examples:
  portcullis quarantine list
  portcullis quarantine list --from antwerp --json"
)]
pub(super) struct QuarantineList {
    #[command(flatten)]
    which: Which,
}

/// Show an item that failed verification: what it claims, and none of its content
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Show an item that failed verification: the rule that it broke, and what its header claims, of which \
nothing was verified. Its sections are counted and not shown.",
    after_long_help = "\
Example:
  portcullis quarantine show 17"
)]
pub(super) struct QuarantineShow {
    /// Its number, as `quarantine list` shows it
    #[arg(value_name = "NUMBER")]
    number: i64,
}

/// Destroy items that failed verification
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Destroy items that failed verification, with their keys. The answers that the peers got stay as \
they are. By `--rule` or `--from` all that fit are meant: they are listed first, and destroyed with \
`--yes`. It is an act of an administrator, a supervisor or an officer for data protection.",
    after_long_help = "\
Examples:
  portcullis quarantine drop 17 18 --reason 'looked into' --key anna.key
  portcullis quarantine drop --from antwerp --reason 'a faulty disk there' --yes --key anna.key"
)]
pub(super) struct QuarantineDrop {
    /// Their numbers, as `quarantine list` shows them
    #[arg(value_name = "NUMBER", required_unless_present_any = ["rule", "from"], conflicts_with_all = ["rule", "from"])]
    numbers: Vec<i64>,
    #[command(flatten)]
    which: Which,
    /// Why, for the log
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Destroy all that fit, not only list them
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    signing: SigningArgs,
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Only what broke this rule, for instance RE-11
    #[arg(long, value_name = "RULE")]
    rule: Option<Rule>,
    /// Only what this node delivered
    #[arg(long, value_name = "PEER")]
    from: Option<NodeId>,
}

impl Which {
    fn fits(&self, rule: &str, from: Option<&str>) -> bool {
        self.rule.is_none_or(|wanted| rule == wanted.id())
            && self
                .from
                .as_ref()
                .is_none_or(|wanted| from == Some(wanted.as_str()))
    }
}

impl QuarantineList {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let client = session.client()?;
        let (items, records) = block_on(async {
            let items: ListView<BadItemView> = client.get("/v1/quarantine/items").await?;
            let records: ListView<SetApartView> = client.get("/v1/quarantine").await?;
            let (mut items, mut records) = (items.items, records.items);
            items.retain(|item| self.which.fits(&item.rule, Some(&item.from)));
            records.retain(|record| self.which.fits(&record.rule, record.from.as_deref()));
            let is_found = !(items.is_empty() && records.is_empty());
            known_peer(&client, self.which.from.as_ref(), is_found).await?;
            Ok((items, records))
        })?;
        session.output.show(&QuarantineView { items, records })
    }
}

impl QuarantineShow {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let client = session.client()?;
        let path = format!("/v1/quarantine/items/{}", self.number);
        let item: BadItemDetailView = block_on(async { Ok(client.get(&path).await?) })?;
        session.output.show(&item)
    }
}

impl QuarantineDrop {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let client = session.client()?;
        let mut numbers = self.numbers;
        if numbers.is_empty() {
            let items = block_on(async {
                let mut items: ListView<BadItemView> = client.get("/v1/quarantine/items").await?;
                items
                    .items
                    .retain(|item| self.which.fits(&item.rule, Some(&item.from)));
                known_peer(&client, self.which.from.as_ref(), !items.items.is_empty()).await?;
                Ok(items)
            })?;
            numbers = items.items.iter().map(|item| item.number).collect();
            if numbers.is_empty() {
                return Err(CliError::invalid("nothing that is set apart fits"));
            }
            if !self.yes {
                let (items, records) = (items.items, Vec::new());
                session.output.show(&QuarantineView { items, records })?;
                session
                    .output
                    .note("nothing was destroyed; add `--yes` to destroy all of these");
                return Ok(());
            }
        }
        let view = DropView {
            numbers,
            reason: self.reason,
        };
        let body = serde_json::to_vec(&view)
            .map_err(|error| CliError::failed("the act cannot be written").because(&error))?;
        let key = self.signing.open()?;
        let deed = ActRequest::new(Action::QuarantineDrop, body);
        let dropped: DroppedView = block_on(async { have_done(&client, &key, deed).await })?;
        session.output.show(&dropped)
    }
}

/// Items and records that are set apart, version 2.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct QuarantineView {
    items: Vec<BadItemView>,
    records: Vec<SetApartView>,
}

impl View for QuarantineView {
    const SCHEMA: &'static str = "portcullis/quarantine/v2";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        let mut table = Table::new(&[
            Column::Number("NUMBER"),
            Column::Text("WHAT"),
            Column::Text("ID"),
            Column::Text("FROM"),
            Column::Text("CAME"),
            Column::Text("RULE"),
            Column::Text("WHY"),
        ])
        .yielding(&["WHAT", "CAME"])
        .wrapping(&["WHY"]);
        for item in &self.items {
            table.row([
                item.number.to_string(),
                "item".to_owned(),
                format!("{:.12}", item.record),
                item.from.clone(),
                seconds(&item.at),
                item.rule.clone(),
                item.why.clone(),
            ]);
        }
        for record in &self.records {
            table.row([
                "-".to_owned(),
                "record".to_owned(),
                format!("{:.12}", record.record),
                record.from.clone().unwrap_or_else(|| "here".to_owned()),
                seconds(&record.first_seen),
                record.rule.clone(),
                record.why.clone(),
            ]);
        }
        if table.is_empty() {
            return page.line("nothing is set apart");
        }
        page.table(&table)
    }
}

impl View for BadItemDetailView {
    const SCHEMA: &'static str = "portcullis/quarantine-item/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        let item = &self.item;
        page.heading(&format!("Item {} from {}", item.number, item.from))?;
        page.pairs(&[
            ("record", item.record.clone()),
            ("rule", item.rule.clone()),
            ("why", item.why.clone()),
            ("came", item.at.clone()),
            ("bytes", item.bytes.to_string()),
            ("claimed key", self.claimed_key.clone()),
        ])?;
        match &self.claims {
            None => page.line(format!(
                "  its header cannot be read: {}",
                self.unreadable
                    .as_deref()
                    .unwrap_or("the node does not say why")
            ))?,
            Some(header) => {
                page.heading("What it claims; nothing of it was verified")?;
                page.pairs(&[
                    ("kind", header.kind.clone()),
                    ("origin", header.origin.clone()),
                    ("sealed", header.sealed_at.clone()),
                ])?;
                page.pairs(&marking(header))?;
            }
        }
        let sections = self.sections.iter();
        let listed: Vec<String> = sections
            .map(|(index, bytes)| format!("{index} ({bytes} bytes)"))
            .collect();
        page.pairs(&[("sections", listed.join(", "))])
    }
}

impl View for DroppedView {
    const SCHEMA: &'static str = "portcullis/quarantine-dropped/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.line(format!("{} destroyed", self.dropped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_apart_fits_the_terminal() {
        let item = BadItemView {
            number: 4096,
            record: "3f07f443d0ad".repeat(5),
            from: "port-authority-32".to_owned(),
            rule: "RE-11".to_owned(),
            why: "a section does not match its digest: section 2 of the record".to_owned(),
            at: "2026-11-24T11:01:51.25Z".to_owned(),
            bytes: 7,
        };
        let record = SetApartView {
            record: item.record.clone(),
            from: None,
            first_seen: item.at.clone(),
            rule: "EX-21".to_owned(),
            why: "the sealing key 2775e46520ce of police is compromised since 2026-11-01T00:00:00Z"
                .to_owned(),
        };
        crate::output::check_fits(&ListView {
            items: vec![record.clone()],
        });
        let (items, records) = (vec![item], vec![record]);
        crate::output::check_fits(&QuarantineView { items, records });
    }
}

//! `portcullis log events` and `portcullis log acts`: what happened, and who had what done.

use std::io;

use serde::de::DeserializeOwned;

use super::{
    Session,
    error::CliError,
    live::block_on,
    output::{Column, Page, Table, View, seconds},
    signing::{ActRequest, SigningArgs, have_done},
};
use portcullis_admin_api::{
    act::Action,
    v1::{
        ListView,
        log::{ActEntryView, EventView, LogKind, LogPageView},
    },
};

/// List what happened at the node, the newest first
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
List what happened at the node, the newest first: refused frames, peers that were cut off or restored, \
clocks, backups, disks, parts that ended. The newest 100,000 are kept. It is an act of an auditor or an \
officer for data protection, and is in the log itself.",
    after_long_help = "\
Examples:
  portcullis log events --key otto.key
  portcullis log events --before 4711 --limit 1000 --json --key otto.key"
)]
pub(super) struct LogEvents {
    #[command(flatten)]
    page: PageArgs,
}

/// List what persons had the node do, and what was read, the newest first
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
List what persons had the node do, the newest first: who, when, what, and how it ended; and what was \
read over the admin socket without a signature, with the uid that opened it. An act that is `begun` \
was not finished, or the node ended before it could say so. It is an act of an auditor or an officer \
for data protection, and is in the log itself.",
    after_long_help = "\
Examples:
  portcullis log acts --key otto.key
  portcullis log acts --before 4711 --limit 1000 --json --key otto.key"
)]
pub(super) struct LogActs {
    #[command(flatten)]
    page: PageArgs,
}

/// Which part of the log.
#[derive(Debug, clap::Args)]
struct PageArgs {
    /// Only entries before the one with this number
    #[arg(long, value_name = "NUMBER")]
    before: Option<i64>,
    /// How many, at most 1000
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: u32,
    #[command(flatten)]
    signing: SigningArgs,
}

impl PageArgs {
    fn read<T: DeserializeOwned>(
        self,
        session: &Session,
        what: LogKind,
    ) -> Result<ListView<T>, CliError> {
        let page = LogPageView {
            what,
            before: self.before,
            limit: self.limit,
        };
        let client = session.client()?;
        let key = self.signing.open()?;
        let deed = ActRequest::of(Action::ReadLog, &page)?;
        block_on(async { have_done(&client, &key, deed).await })
    }
}

impl LogEvents {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let events: ListView<EventView> = self.page.read(session, LogKind::Events)?;
        session.output.show(&events)
    }
}

impl LogActs {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let acts: ListView<ActEntryView> = self.page.read(session, LogKind::Acts)?;
        session.output.show(&acts)
    }
}

impl View for ListView<EventView> {
    const SCHEMA: &'static str = "portcullis/log-events/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        let mut table = Table::new(&[
            Column::Number("NUMBER"),
            Column::Text("WHEN"),
            Column::Text("WHAT"),
            Column::Text("PEER"),
            Column::Text("DETAIL"),
        ])
        .yielding(&["PEER"])
        .wrapping(&["DETAIL"]);
        for event in &self.items {
            table.row([
                event.number.to_string(),
                seconds(&event.at),
                event.kind.clone(),
                event.peer.clone().unwrap_or_else(|| "-".to_owned()),
                event.detail.clone(),
            ]);
        }
        if table.is_empty() {
            return page.line("there are no (more) events");
        }
        page.table(&table)
    }
}

impl View for ListView<ActEntryView> {
    const SCHEMA: &'static str = "portcullis/log-acts/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        let mut table = Table::new(&[
            Column::Number("NUMBER"),
            Column::Text("WHEN"),
            Column::Text("WHO"),
            Column::Text("WHAT"),
            Column::Text("CONCERNS"),
            Column::Text("OUTCOME"),
        ])
        .wrapping(&["CONCERNS", "OUTCOME"]);
        for act in &self.items {
            table.row([
                act.number.to_string(),
                seconds(&act.at),
                who(act),
                act.action.clone(),
                act.concerns.clone(),
                act.outcome.clone(),
            ]);
        }
        if table.is_empty() {
            return page.line("there are no (more) acts");
        }
        page.table(&table)
    }
}

/// Formats the person, or the user of this machine if nobody signed.
fn who(act: &ActEntryView) -> String {
    match (act.person.as_str(), act.uid) {
        ("", Some(uid)) => format!("uid {uid}"),
        ("", None) => "-".to_owned(),
        (person, _) => person.to_owned(),
    }
}

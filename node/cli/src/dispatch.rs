//! `portcullis dispatch status`, `undelivered` and `retry`: show what is sent and what was given
//! up, and try it again.

use std::io;

use portcullis_protocol::identifiers::NodeId;

use super::{
    Session,
    error::CliError,
    live::block_on,
    names::{id_prefix, known_peer},
    output::{Column, Page, Table, View, seconds},
    signing::{ActRequest, SigningArgs, have_done},
};
use portcullis_admin_api::{
    act::Action,
    v1::{
        ListView,
        dispatch::{BackfillView, DispatchView, OwedView, RetryView, UndeliveredView},
    },
};

/// Show how far this node is with every peer
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Show how far this node is with every peer and lane: where its cursor stands in the record log, how \
much comes after it, what waits for another try and until when, and which older records are being \
sent (`portcullis dispatch backfill`).",
    after_long_help = "\
Examples:
  portcullis dispatch status
  portcullis dispatch status --json"
)]
pub(super) struct DispatchStatus {}

/// List what was given up: records that a peer gave no final answer to
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
List what was given up, the newest first: records that a peer refused for now, held, or did not \
answer, for seven days or until they were to be deleted. The last word of the peer stands beside \
each. `portcullis dispatch retry` has one tried again.",
    after_long_help = "\
Examples:
  portcullis dispatch undelivered
  portcullis dispatch undelivered --peer antwerp --json"
)]
pub(super) struct Undelivered {
    /// Only what was for this node
    #[arg(long, value_name = "PEER")]
    peer: Option<NodeId>,
}

/// Try a record again that was given up, or that waits
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Try a record again at once that was given up, or that waits for its next try; for seven days more. \
Policy decides anew whether it is sent. It is an act of an administrator or a supervisor.",
    after_long_help = "\
Example:
  portcullis dispatch retry 3f9a1c20 antwerp --reason 'antwerp is back' --key anna.key"
)]
pub(super) struct Retry {
    /// The record's id, or its beginning, as `dispatch undelivered` or `list` shows it
    #[arg(value_name = "ID")]
    id: String,
    /// The peer's node
    #[arg(value_name = "PEER")]
    peer: NodeId,
    /// Why, for the log
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    signing: SigningArgs,
}

impl DispatchStatus {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let client = session.client()?;
        let view: DispatchView = block_on(async { Ok(client.get("/v1/dispatch/status").await?) })?;
        session.output.show(&view)
    }
}

impl Undelivered {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let client = session.client()?;
        let peer = self.peer.as_ref();
        let rows = block_on(async {
            let mut rows: ListView<UndeliveredView> =
                client.get("/v1/dispatch/undelivered").await?;
            rows.items
                .retain(|row| peer.is_none_or(|peer| row.peer == peer.as_str()));
            known_peer(&client, peer, !rows.items.is_empty()).await?;
            Ok(rows)
        })?;
        session.output.show(&rows)
    }
}

impl Retry {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let client = session.client()?;
        let record = id_prefix(&self.id)?;
        let key = self.signing.open()?;
        let owed: OwedView = block_on(async {
            let view = RetryView {
                record,
                peer: self.peer.to_string(),
                reason: self.reason,
            };
            let body = serde_json::to_vec(&view)
                .map_err(|error| CliError::failed("the act cannot be written").because(&error))?;
            have_done(&client, &key, ActRequest::new(Action::DispatchRetry, body)).await
        })?;
        session.output.show(&owed)
    }
}

impl View for DispatchView {
    const SCHEMA: &'static str = "portcullis/dispatch/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.pairs(&[
            ("generation", self.generation.clone()),
            ("record log", format!("up to {}", self.log_end)),
        ])?;
        page.heading("Lanes")?;
        let mut lanes = Table::new(&[
            Column::Text("PEER"),
            Column::Text("LANE"),
            Column::Number("CURSOR"),
            Column::Number("BEHIND"),
            Column::Number("NEXT"),
            Column::Text("CLOSED"),
        ])
        .yielding(&["NEXT", "CURSOR"])
        .wrapping(&["CLOSED"]);
        for lane in &self.lanes {
            lanes.row([
                lane.peer.clone(),
                lane.lane.clone(),
                lane.cursor.to_string(),
                lane.behind.to_string(),
                lane.next_sequence.to_string(),
                lane.closed.clone().unwrap_or_else(|| "-".to_owned()),
            ]);
        }
        page.table(&lanes)?;
        if !self.exceptions.is_empty() {
            page.heading("Tried again")?;
            page.table(&exceptions(self))?;
        }
        if !self.backfills.is_empty() {
            page.heading("Older records")?;
            page.table(&backfills(&self.backfills))?;
        }
        Ok(())
    }
}

fn exceptions(view: &DispatchView) -> Table {
    let mut table = Table::new(&[
        Column::Text("PEER"),
        Column::Text("LANE"),
        Column::Text("ANSWERED"),
        Column::Number("RECORDS"),
        Column::Text("NEXT TRY"),
        Column::Text("FIRST END"),
    ])
    .yielding(&["FIRST END"])
    .wrapping(&["ANSWERED"]);
    for row in &view.exceptions {
        table.row([
            row.peer.clone(),
            row.lane.clone(),
            row.kind.clone(),
            row.count.to_string(),
            seconds(&row.next_attempt),
            seconds(&row.ends_at),
        ]);
    }
    table
}

fn backfills(rows: &[BackfillView]) -> Table {
    let mut table = Table::new(&[
        Column::Text("PEER"),
        Column::Text("LANE"),
        Column::Text("SINCE"),
        Column::Text("UNTIL"),
        Column::Number("LOOKED AT"),
        Column::Number("SENT"),
        Column::Text("STATE"),
    ])
    .yielding(&["LOOKED AT"])
    .wrapping(&["STATE"]);
    for row in rows {
        table.row([
            row.peer.clone(),
            row.log.clone(),
            seconds(&row.since),
            seconds(&row.until),
            row.looked_at.to_string(),
            row.sent.to_string(),
            match &row.ended_at {
                Some(at) if row.cancelled => format!("cancelled {}", seconds(at)),
                Some(at) => format!("done {}", seconds(at)),
                None => format!("at {} of {}", row.next, row.last),
            },
        ]);
    }
    table
}

impl View for ListView<UndeliveredView> {
    const SCHEMA: &'static str = "portcullis/undelivered/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        if self.items.is_empty() {
            return page.line("nothing was given up");
        }
        let mut table = Table::new(&[
            Column::Text("ID"),
            Column::Text("PEER"),
            Column::Text("LANE"),
            Column::Number("TRIES"),
            Column::Text("GIVEN UP"),
            Column::Text("LAST ANSWER"),
        ])
        .wrapping(&["LAST ANSWER"]);
        for row in &self.items {
            let reason = row.reason.as_deref();
            table.row([
                format!("{:.12}", row.record),
                row.peer.clone(),
                row.lane.clone(),
                row.attempts.to_string(),
                seconds(&row.ended_at),
                reason.map_or_else(
                    || row.state.clone(),
                    |rule| format!("{} ({rule})", row.state),
                ),
            ]);
        }
        page.table(&table)
    }
}

impl View for OwedView {
    const SCHEMA: &'static str = "portcullis/owed/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.line(format!("{} is sent {}", self.peer, self.what))
    }
}

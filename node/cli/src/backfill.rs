//! `portcullis dispatch backfill`: sends older records to a peer, after a preview of what it would
//! get.

use std::io;

use portcullis_protocol::{
    identifiers::NodeId,
    time::{End, Timestamp},
};
use serde::Serialize;

use super::{
    Session,
    error::CliError,
    live::block_on,
    output::{Column, Page, Table, View},
    signing::{ActRequest, SigningArgs, have_done},
};
use portcullis_admin_api::{
    act::Action,
    v1::dispatch::{BackfillAsk, BackfillPreviewView, CancelView, OwedView},
};

/// Send a peer older records that policy permits now
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Send a peer older records that policy permits now: to a new member, or after a policy was widened. \
By itself a node sends what is new alone.

Without `--yes` it only shows what would be sent, in which form, and which policies decide; the \
node asks the code that sends. With `--yes` the time is entered: the records are decided on once \
more when their turn comes, behind everything new, and alerts never wait for them. What the peer \
has confirmed in that form is passed over. `portcullis dispatch status` shows how far it is. It is \
an act of a supervisor or an officer for data protection.

With `--cancel` nothing more is sent of all that was entered for this peer; what was sent, and the frame \
that is on its way, stays sent. That is an act of an administrator as well.",
    after_long_help = "\
Examples:
  portcullis dispatch backfill antwerp --since 2021-03-01T00:00:00Z
  portcullis dispatch backfill antwerp --since 2021-03-01T00:00:00Z --yes --reason 'joined in May' --key anna.key
  portcullis dispatch backfill antwerp --cancel --reason 'wrong year' --key anna.key"
)]
pub(super) struct Backfill {
    /// The peer's node
    #[arg(value_name = "PEER")]
    peer: NodeId,
    /// What came here at or after this time
    #[arg(long, value_name = "TIME", required_unless_present = "cancel")]
    since: Option<Timestamp>,
    /// What came here before this time, or up to the end of this day [default: now]
    #[arg(long, value_name = "TIME")]
    until: Option<End>,
    /// Send no more of what was entered before
    #[arg(long, conflicts_with_all = ["since", "until", "dry_run", "yes"])]
    cancel: bool,
    /// Only show what would be sent
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Send it
    #[arg(long)]
    yes: bool,
    /// Why, for the log
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    signing: SigningArgs,
}

impl Backfill {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let client = session.client()?;
        let Some(since) = self.since else {
            return self.cancel(session);
        };
        let ask = BackfillAsk {
            peer: self.peer.to_string(),
            since: since.to_string(),
            until: self.until.map(|end| end.excluded().to_string()),
            reason: self.reason,
        };
        if !self.yes {
            let preview: BackfillPreviewView =
                block_on(async { Ok(client.post("/v1/dispatch/backfill", &ask).await?) })?;
            session.output.show(&preview)?;
            if !self.dry_run {
                session
                    .output
                    .note("nothing was entered; add `--yes` to send this");
            }
            return Ok(());
        }
        act(session, &self.signing, Action::Backfill, &ask)
    }

    fn cancel(self, session: &Session) -> Result<(), CliError> {
        let view = CancelView {
            peer: self.peer.to_string(),
            reason: self.reason,
        };
        act(session, &self.signing, Action::BackfillCancel, &view)
    }
}

/// Signs an act, has the node carry it out, and shows what is still to be sent to the peer.
fn act(
    session: &Session,
    signing: &SigningArgs,
    action: Action,
    body: &impl Serialize,
) -> Result<(), CliError> {
    let client = session.client()?;
    let body = serde_json::to_vec(body)
        .map_err(|error| CliError::failed("the act cannot be written").because(&error))?;
    let key = signing.open()?;
    let deed = ActRequest::new(action, body);
    let owed: OwedView = block_on(async { have_done(&client, &key, deed).await })?;
    session.output.show(&owed)
}

impl View for BackfillPreviewView {
    const SCHEMA: &'static str = "portcullis/backfill-preview/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        let mut table = Table::new(&[
            Column::Number("RECORDS"),
            Column::Text("WOULD"),
            Column::Text("KIND"),
            Column::Text("GETS"),
            Column::Number("WITHHELD"),
            Column::Text("POLICIES"),
        ])
        .yielding(&["WITHHELD"])
        .wrapping(&["GETS", "POLICIES"]);
        for sends in &self.sends {
            table.row([
                sends.records.to_string(),
                "be sent".to_owned(),
                sends.kind.clone(),
                sends.gets.join(" "),
                sends.withheld.to_string(),
                sends.policies.join(" "),
            ]);
        }
        for denied in &self.denied {
            table.row([
                denied.records.to_string(),
                "be denied".to_owned(),
                "-".to_owned(),
                "-".to_owned(),
                "-".to_owned(),
                denied.policies.join(" "),
            ]);
        }
        if !table.is_empty() {
            page.table(&table)?;
        }
        page.line(format!(
            "{} in that time; {} need nothing: {} has them, made them, or was denied them alike",
            self.looked_at, self.nothing_new, self.peer
        ))
    }
}

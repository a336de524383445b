//! `portcullis peer block`, `peer unblock`, `release stop` and `release resume`: acts by which an
//! administrator closes a channel at once, whatever policy and register say.

use std::io;

use super::{
    Session,
    error::CliError,
    live::block_on,
    output::{Page, View},
    signing::{ActRequest, SigningArgs, have_done},
};
use portcullis_admin_api::{
    act::Action,
    v1::trust::{GateView, MovedView},
};

/// Whom it concerns, why, and who signs.
#[derive(Debug, clap::Args)]
struct GateArgs {
    /// Why, for the log
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    signing: SigningArgs,
}

impl GateArgs {
    fn have_done(self, session: &Session, action: Action, peer: String) -> Result<(), CliError> {
        let client = session.client()?;
        let view = GateView {
            peer,
            reason: self.reason,
        };
        let body = serde_json::to_vec(&view)
            .map_err(|error| CliError::failed("the act cannot be written").because(&error))?;
        let key = self.signing.open()?;
        let deed = ActRequest::new(action, body);
        let moved: MovedView = block_on(async { have_done(&client, &key, deed).await })?;
        session.output.show(&moved)
    }
}

/// Cut a peer off at once
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Cut a peer off at once: its connections are closed, nothing is sent to it and nothing taken from \
it, until it is unblocked. It holds through restarts and new epochs of the register. Nothing is \
lost by it: both sides go on where they stopped. It is an act of an administrator.",
    after_long_help = "\
Example:
  portcullis peer block maasvlakte --reason 'its officer called: the node was taken' --key admin.key"
)]
pub(super) struct PeerBlock {
    /// The peer's node, as `portcullis status` lists it
    #[arg(value_name = "PEER")]
    peer: String,
    #[command(flatten)]
    gate: GateArgs,
}

/// Let a blocked peer in again
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Let a blocked peer in again. What waited meanwhile is sent. It is an act of an administrator.",
    after_long_help = "\
Example:
  portcullis peer unblock maasvlakte --key admin.key"
)]
pub(super) struct PeerUnblock {
    /// The peer's node
    #[arg(value_name = "PEER")]
    peer: String,
    #[command(flatten)]
    gate: GateArgs,
}

/// Send nothing more to a peer, or to anyone
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Send nothing more to a peer, or to anyone, from the next frame on. What peers send is still taken \
in. It holds through restarts until it is resumed; nothing is lost meanwhile. It is an act of an \
administrator, a supervisor or an officer for data protection.",
    after_long_help = "\
Examples:
  portcullis release stop maasvlakte --reason 'under review' --key anna.key
  portcullis release stop all --reason 'a leak is suspected' --key anna.key"
)]
pub(super) struct ReleaseStop {
    /// The peer's node, or `all`
    #[arg(value_name = "PEER|all")]
    peer: String,
    #[command(flatten)]
    gate: GateArgs,
}

/// Send again what was stopped
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Send again to a peer, or to all, what `portcullis release stop` stopped. A stop of `all` and a \
stop of one peer are lifted one by one. It is an act of an administrator, a supervisor or an \
officer for data protection.",
    after_long_help = "\
Example:
  portcullis release resume all --key anna.key"
)]
pub(super) struct ReleaseResume {
    /// The peer's node, or `all`
    #[arg(value_name = "PEER|all")]
    peer: String,
    #[command(flatten)]
    gate: GateArgs,
}

impl PeerBlock {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        self.gate.have_done(session, Action::PeerBlock, self.peer)
    }
}

impl PeerUnblock {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        self.gate.have_done(session, Action::PeerUnblock, self.peer)
    }
}

impl ReleaseStop {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        self.gate.have_done(session, Action::ReleaseStop, self.peer)
    }
}

impl ReleaseResume {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        self.gate
            .have_done(session, Action::ReleaseResume, self.peer)
    }
}

impl View for MovedView {
    const SCHEMA: &'static str = "portcullis/gate/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.line(format!("{}: {}", self.peer, self.state))
    }
}

//! `portcullis clock confirm`: an administrator confirms that the clock is right after it was set.

use std::io;

use super::{
    Session,
    error::CliError,
    live::block_on,
    output::{Page, View},
    signing::{ActRequest, SigningArgs, have_done},
};
use portcullis_admin_api::{act::Action, v1::act::ClockView};

/// Say that the clock, which was set, is right
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Say that the clock of the node's machine is right. The node notices when it is set by more than five \
minutes (also while it was stopped, if it was set back), or when the machine slept. Until this act it \
publishes nothing and goes by the time it had; receipt and delivery go on, and `portcullis status` \
says so. The act is signed with the present time, so that a command line whose clock is ten minutes \
off cannot confirm it. It is an act of an administrator.",
    after_long_help = "\
Example:
  portcullis clock confirm --key admin.key"
)]
pub(super) struct ClockConfirm {
    #[command(flatten)]
    signing: SigningArgs,
}

impl ClockConfirm {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let client = session.client()?;
        let key = self.signing.open()?;
        let deed = ActRequest::new(Action::ConfirmClock, "");
        let confirmed: ClockView = block_on(async { have_done(&client, &key, deed).await })?;
        session.output.show(&confirmed)
    }
}

impl View for ClockView {
    const SCHEMA: &'static str = "portcullis/clock/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.line(format!("confirmed: it is {}", self.now))
    }
}

//! `portcullis reload`: has a running node load a changed register, policy or certificate.

use std::io;

use super::{
    Session,
    error::CliError,
    live::block_on,
    output::{Page, View},
    signing::{ActRequest, SigningArgs, have_done},
};
use portcullis_admin_api::{act::Action, v1::act::ReloadedView};

/// Have the running node load configuration, register, policy, certificate and revocation lists again
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Have the running node load configuration, register, policy, certificate and revocation lists again, \
all or nothing: a file that does not hold leaves everything as it is, and the error (exit code 3, \
as in the log) names it and says why. What decides (policies, limits, exercises, access) and was \
changed is refused until somebody accepts it: see `portcullis settings`. Of the rest, `log.level` can \
change while the node runs; a change of anything else needs a restart, and is refused. It is an act \
of an administrator.",
    after_long_help = "\
Example:
  portcullis reload --key admin.key"
)]
pub(super) struct Reload {
    #[command(flatten)]
    signing: SigningArgs,
}

impl Reload {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let client = session.client()?;
        let key = self.signing.open()?;
        let deed = ActRequest::new(Action::Reload, "");
        let reloaded: ReloadedView = block_on(async { have_done(&client, &key, deed).await })?;
        session.output.show(&reloaded)
    }
}

impl View for ReloadedView {
    const SCHEMA: &'static str = "portcullis/reloaded/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.line(format!(
            "in force: register epoch {}, policy {:.12}",
            self.register_epoch, self.policy
        ))
    }
}

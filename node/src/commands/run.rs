//! `portcullis run`: the node itself, in the foreground.

use crate::runtime;
use portcullis_cli::{Session, error::CliError, exit::Exit, exit_codes};
use portcullis_home::{Home, config::Config};

/// Run the node in the foreground
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Run the node in the foreground until SIGTERM or Ctrl-C; SIGHUP loads register, policy, certificate \
and revocation lists again. Everything is read and checked before a port is bound. It logs to \
standard error.",
    after_long_help = "\
Examples:
  portcullis run
  portcullis --home /srv/portcullis run"
)]
pub(super) struct Run {}

impl Run {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let home = Home::new(session.home()?);
        let config = Config::of(&home)?;
        runtime::run(home, config, axum::Router::new())
            .map_err(|error| exit_codes::told(Exit::Failed, &error))
    }
}

//! `portcullis-lab run`: the product's node, with the laboratory's routes at its socket.

use portcullis_cli::{Session, error::CliError, exit::Exit, exit_codes};
use portcullis_home::{Home, config::Config};

use crate::routes::routes;

/// Run a node that also answers what the demo and the tests ask
#[derive(Debug, clap::Args)]
#[command(
    hide = true,
    after_long_help = "\
Examples:
  portcullis-lab run --home /srv/scratch/rotterdam"
)]
pub(super) struct Run {}

impl Run {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let home = Home::new(session.home()?);
        let config = Config::of(&home)?;
        portcullis_node::runtime::run(home, config, routes())
            .map_err(|error| exit_codes::told(Exit::Failed, &error))
    }
}

//! `portcullis completions`: a completion script for a shell.

use clap_complete::Shell;

use super::{Session, error::CliError};

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Example, for bash:
  portcullis completions bash > ~/.local/share/bash-completion/completions/portcullis")]
pub(super) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let mut script = Vec::new();
        let mut definition = session.definition.clone();
        let name = definition.get_name().to_owned();
        clap_complete::generate(self.shell, &mut definition, name, &mut script);
        session.output.raw(&script)
    }
}

//! `portcullis completions`: a completion script for a shell.

use clap_complete::Shell;

use super::{Session, command, error::CliError};

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
        clap_complete::generate(self.shell, &mut command(), "portcullis", &mut script);
        session.output.raw(&script)
    }
}

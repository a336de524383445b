//! `portcullis man`: manual pages, one for each command.

use std::{fs, path::PathBuf};

use super::{Session, error::CliError};

/// Print the manual page, or write those of all commands into a folder
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  portcullis man | man -l -
  portcullis man --out /usr/local/share/man/man1")]
pub(super) struct Man {
    /// A folder for the pages of all commands; it is made if it is not there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let Some(folder) = self.out else {
            let mut page = Vec::new();
            clap_mangen::Man::new(session.definition.clone())
                .render(&mut page)
                .map_err(|error| CliError::failed("the page cannot be made").because(&error))?;
            return session.output.raw(&page);
        };
        fs::create_dir_all(&folder)
            .and_then(|()| clap_mangen::generate_to(session.definition.clone(), &folder))
            .map_err(|error| {
                CliError::failed(format!("cannot write to `{}`", folder.display()))
                    .because(&error)
                    .remedy("name a folder that you may write to")
            })
    }
}

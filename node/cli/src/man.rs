//! `portcullis man`: manual pages, one for each command and one for the configuration, and the tables of the manual.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Session, error::CliError, output::Kind, reference};

/// Print the manual page, or write those of all commands into a folder
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  portcullis man | man -l -
  portcullis man --configuration | man -l -
  portcullis man --out /usr/local/share/man/man1")]
pub(super) struct Man {
    /// A folder for the pages of all commands; it is made if it is not there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the page of the configuration, portcullis.toml(5)
    #[arg(long, conflicts_with = "out")]
    configuration: bool,
    /// A folder for `cli.md`, `configuration.md` and `schemas`, as the repository has them in `docs/`
    #[arg(long, value_name = "DIR", hide = true, conflicts_with_all = ["out", "configuration"])]
    reference: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let definition = &session.definition;
        if let Some(folder) = self.reference {
            return written(&folder, |folder| {
                fs::write(folder.join("cli.md"), reference::commands(definition))?;
                fs::write(folder.join("configuration.md"), reference::configuration())?;
                schemas(&folder.join("schemas"), &(session.kinds)())
            });
        }
        if let Some(folder) = self.out {
            return written(&folder, |folder| {
                clap_mangen::generate_to(definition.clone(), folder)
            });
        }
        let mut page = Vec::new();
        let made = if self.configuration {
            reference::page(definition).to_writer(&mut page)
        } else {
            clap_mangen::Man::new(definition.clone()).render(&mut page)
        };
        made.map_err(|error| CliError::failed("the page cannot be made").because(&error))?;
        session.output.raw(&page)
    }
}

/// Writes the JSON Schema of each kind of answer into a folder, which then has nothing else.
fn schemas(folder: &Path, kinds: &[Kind]) -> io::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    for kind in kinds {
        let text = serde_json::to_string_pretty(&kind.schema)?;
        fs::write(folder.join(kind.file()), format!("{text}\n"))?;
    }
    Ok(())
}

/// Makes the folder and has it filled.
fn written(folder: &Path, fill: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), CliError> {
    fs::create_dir_all(folder)
        .and_then(|()| fill(folder))
        .map_err(|error| {
            CliError::failed(format!("cannot write to `{}`", folder.display()))
                .because(&error)
                .remedy("name a folder that you may write to")
        })
}

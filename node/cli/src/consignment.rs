//! `portcullis consignment import`: the authority's own cargo lines. They are never shared.

use std::{fs, io, path::PathBuf};

use bytes::Bytes;

use super::{
    Session,
    error::CliError,
    live::block_on,
    output::{Page, View},
    signing::{ActRequest, SigningArgs, have_done},
};
use portcullis_admin_api::{act::Action, v1::score::ImportedView};

/// Import consignments from a CSV file
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Import the authority's own consignments from a CSV file, plain or packed with gzip. They stay in \
this node and are never shared.

History (`--history`) has a known outcome: it is counted into the risk profile and calibrates the \
score. Arriving ones are scored at once and again whenever something new is known. The columns are \
those of the node's schema; a wrong line is named and nothing is imported. A consignment with a \
reference that is known replaces the one before, so an import that was cut short is simply run again.",
    after_long_help = "\
Examples:
  portcullis consignment import declarations-2020.csv.gz --history --key anna.key
  portcullis consignment import today.csv --key anna.key"
)]
pub(super) struct ConsignmentImport {
    /// The file
    #[arg(value_name = "FILE.csv")]
    file: PathBuf,
    /// They are history: their outcome is known
    #[arg(long)]
    history: bool,
    /// Give each sea consignment a container and a vessel made by a seeded rule: for demonstrations
    #[arg(long, value_name = "SEED")]
    generate: Option<u64>,
    #[command(flatten)]
    signing: SigningArgs,
}

impl ConsignmentImport {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let file = fs::read(&self.file).map_err(|error| {
            CliError::failed(format!("`{}` cannot be read", self.file.display())).because(&error)
        })?;
        let mut deed = ActRequest::new(Action::ImportConsignments, Bytes::from(file));
        let stage = if self.history { "history" } else { "arriving" };
        deed.parameters.insert("stage".to_owned(), stage.to_owned());
        if let Some(seed) = self.generate {
            deed.parameters.insert("seed".to_owned(), seed.to_string());
        }
        let client = session.client()?;
        let key = self.signing.open()?;
        let imported: ImportedView = block_on(async { have_done(&client, &key, deed).await })?;
        session.output.show(&imported)
    }
}

impl View for ImportedView {
    const SCHEMA: &'static str = "portcullis/imported/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.line(format!("imported {} consignments", self.consignments))?;
        if self.controlled > 0 {
            page.line(format!("  {} with a known control", self.controlled))?;
        }
        if self.generated > 0 {
            page.line(format!("  {} generated identifiers", self.generated))?;
        }
        Ok(())
    }
}

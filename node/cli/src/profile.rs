//! `portcullis profile publish`: the authority's counts of controls and findings.

use std::io;

use super::{
    Session,
    error::CliError,
    live::block_on,
    output::{Column, Page, Table, View},
    signing::{ActRequest, SigningArgs, have_done},
};
use portcullis_admin_api::{
    act::Action,
    v1::{ListView, score::PublishedProfileView},
};

/// Publish the risk profile: counts of controls and findings, no consignment
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Publish the authority's risk profile: counts of controls and findings for each cell of the schema, \
in sections by how large the counts are. Policy decides which member gets which sections; no \
consignment leaves the node.",
    after_long_help = "\
Example:
  portcullis profile publish --key anna.key"
)]
pub(super) struct ProfilePublish {
    #[command(flatten)]
    signing: SigningArgs,
}

impl ProfilePublish {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let client = session.client()?;
        let key = self.signing.open()?;
        let deed = ActRequest::new(Action::PublishProfile, "");
        let published: ListView<PublishedProfileView> =
            block_on(async { have_done(&client, &key, deed).await })?;
        session.output.show(&published)
    }
}

impl View for ListView<PublishedProfileView> {
    const SCHEMA: &'static str = "portcullis/published-profiles/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        let mut table = Table::new(&[
            Column::Text("PERIOD"),
            Column::Number("CONTROLS"),
            Column::Number("FINDINGS"),
            Column::Number("CELLS"),
            Column::Number("SECTIONS"),
            Column::Text("RECORDS"),
        ]);
        for profile in &self.items {
            let ids: Vec<String> = profile
                .records
                .iter()
                .map(|id| format!("{id:.12}"))
                .collect();
            table.row([
                profile.period.clone(),
                profile.controls.to_string(),
                profile.findings.to_string(),
                profile.cells.to_string(),
                profile.sections.to_string(),
                ids.join(" "),
            ]);
        }
        page.table(&table)
    }
}

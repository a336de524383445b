//! `portcullis person list`: who is enrolled at the authority.

use std::io;

use super::{
    Session,
    error::CliError,
    live::block_on,
    output::{Column, Page, Table, View, seconds},
};
use portcullis_admin_api::v1::{ListView, status::EnrolledView};

/// List the persons enrolled, with their roles
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Example:
  portcullis person list")]
pub(super) struct PersonList {}

impl PersonList {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let client = session.client()?;
        let persons: ListView<EnrolledView> =
            block_on(async { Ok(client.get("/v1/persons").await?) })?;
        session.output.show(&persons)
    }
}

impl View for ListView<EnrolledView> {
    const SCHEMA: &'static str = "portcullis/persons/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        if self.items.is_empty() {
            return page.line("nobody is enrolled; begin with `portcullis person enrol`");
        }
        let mut table = Table::new(&[
            Column::Text("ID"),
            Column::Text("NAME"),
            Column::Text("ROLE"),
            Column::Text("ENROLLED"),
            Column::Text("BY"),
        ]);
        for person in &self.items {
            let by = match person.enrolled_by.as_str() {
                "" => "themselves",
                id => id,
            };
            table.row([
                person.id.as_str(),
                &person.name,
                &person.role,
                &seconds(&person.enrolled_at),
                by,
            ]);
        }
        page.table(&table)
    }
}

//! `portcullis person list` and `person proposals`: who is enrolled at the authority, and what waits
//! for a second person.

use std::io;

use super::{
    Session,
    error::CliError,
    live::block_on,
    output::{Column, Page, Table, View, seconds},
};
use portcullis_admin_api::v1::{
    ListView,
    status::{EnrolledView, ProposalView},
};

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

/// Says until when a person's signature counts.
fn counts(person: &EnrolledView) -> String {
    match (person.state.as_str(), &person.until) {
        ("suspended", Some(since)) => format!("suspended since {}", seconds(since)),
        (_, Some(until)) => format!("until {}", seconds(until)),
        (_, None) => "yes".to_owned(),
    }
}

/// List the changes of persons that wait: for a second person, or for their time
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Example:
  portcullis person proposals")]
pub(super) struct PersonProposals {}

impl PersonProposals {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let client = session.client()?;
        let proposals: ListView<ProposalView> =
            block_on(async { Ok(client.get("/v1/persons/proposals").await?) })?;
        session.output.show(&proposals)
    }
}

impl View for ListView<ProposalView> {
    const SCHEMA: &'static str = "portcullis/proposals/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        if self.items.is_empty() {
            return page.line("nothing waits for a second person, and nobody is being recovered");
        }
        for one in &self.items {
            let (at, until) = (seconds(&one.at), seconds(&one.until));
            if one.recovery {
                page.line(format!("recovery at this machine: {}", one.change))?;
                page.line(format!(
                    "  told {at}, counts from {until} if the node runs until then"
                ))?;
                page.line(format!("  portcullis person withdraw {}", one.id))?;
                continue;
            }
            page.line(format!("{}: {}", one.by, one.change))?;
            page.line(format!("  signed {at}, lapses {until}"))?;
            page.line(format!("  portcullis person second {}", one.id))?;
        }
        Ok(())
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
            Column::Text("COUNTS"),
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
                &counts(person),
            ]);
            for former in &person.former_keys {
                let until = format!("a key until {}", seconds(&former.until));
                table.row(["", "", "", "", "", &until]);
            }
        }
        page.table(&table)
    }
}

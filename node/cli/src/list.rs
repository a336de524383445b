//! `portcullis list`: the records held here, the newest first.

use std::io;

use portcullis_protocol::{identifiers::AuthorityId, record::Kind};

use super::{
    Session,
    error::CliError,
    live::block_on,
    output::{Column, Page, Table, View, seconds},
};
use portcullis_admin_api::v1::{
    ListView,
    record::{FilterView, RecordLine, SetApartView},
};

/// List the records held here, the newest first
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
List the records held here, the newest first: own ones and received ones.

The column OPEN says how many sections are held, of how many there are: what is missing was \
withheld. Listing is logged as a consultation.",
    after_long_help = "\
Examples:
  portcullis list --kind indicator
  portcullis list --about CSQU3054383
  portcullis list --origin nl-police --limit 5 --json
  portcullis list --quarantined"
)]
pub(super) struct List {
    /// Only this kind: indicator, alert, advisory, outcome or risk-profile
    #[arg(long, value_name = "KIND")]
    kind: Option<Kind>,
    /// Only records of this authority
    #[arg(long, value_name = "AUTHORITY")]
    origin: Option<AuthorityId>,
    /// Only records about this identifier, for instance a container number
    #[arg(long, value_name = "IDENTIFIER")]
    about: Option<String>,
    /// Instead: what is set apart because its key is compromised
    #[arg(long, conflicts_with_all = ["kind", "origin", "about"])]
    quarantined: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
}

impl List {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        if self.quarantined {
            let client = session.client()?;
            let apart: ListView<SetApartView> =
                block_on(async { Ok(client.get("/v1/quarantine").await?) })?;
            return session.output.show(&apart);
        }
        let filter = FilterView {
            kind: self.kind.map(|kind| kind.to_string()),
            origin: self.origin.map(|origin| origin.to_string()),
            about: self.about,
            limit: self.limit,
        };
        let client = session.client()?;
        let records: ListView<RecordLine> =
            block_on(async { Ok(client.post("/v1/records", &filter).await?) })?;
        session.output.show(&records)
    }
}

impl View for ListView<RecordLine> {
    const SCHEMA: &'static str = "portcullis/records/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        if self.items.is_empty() {
            return page.line("no records");
        }
        let mut table = Table::new(&[
            Column::Text("ID"),
            Column::Text("SEALED"),
            Column::Text("KIND"),
            Column::Text("ORIGIN"),
            Column::Text("FROM"),
            Column::Text("TLP"),
            Column::Text("CODES"),
            Column::Text("EVAL"),
            Column::Number("OPEN"),
            Column::Text("ABOUT"),
        ]);
        for line in &self.items {
            table.row(row(line));
        }
        page.table(&table)
    }
}

fn row(line: &RecordLine) -> [String; 10] {
    let kind = if line.exercise {
        format!("{} (exercise)", line.kind)
    } else {
        line.kind.clone()
    };
    [
        format!("{:.12}", line.id),
        seconds(&line.sealed_at),
        kind,
        line.origin.clone(),
        line.from.clone().unwrap_or_else(|| "made here".to_owned()),
        line.tlp.clone(),
        line.handling.clone(),
        line.evaluation.clone(),
        format!("{}/{}", line.open, line.sections),
        line.about.clone().unwrap_or_else(|| "withheld".to_owned()),
    ]
}

impl View for ListView<SetApartView> {
    const SCHEMA: &'static str = "portcullis/quarantine/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        let mut table = Table::new(&[
            Column::Text("RECORD"),
            Column::Text("FROM"),
            Column::Text("FIRST SEEN"),
            Column::Text("WHY"),
        ]);
        for one in &self.items {
            table.row([
                one.record.chars().take(16).collect(),
                one.from.clone().unwrap_or_else(|| "here".to_owned()),
                seconds(&one.first_seen),
                one.why.clone(),
            ]);
        }
        if table.is_empty() {
            return page.line("nothing is set apart");
        }
        page.table(&table)
    }
}

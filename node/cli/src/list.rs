//! `portcullis list`: the records held here, the newest first.

use std::io;

use clap::value_parser;
use portcullis_protocol::{
    body::SelectorKind,
    identifiers::AuthorityId,
    marking::{Purpose, Tlp},
    record::Kind,
    time::{End, Timestamp},
};

use super::{
    Session,
    error::CliError,
    live::block_on,
    output::{Column, Page, Table, View, seconds, thousands},
};
use portcullis_admin_api::v1::{
    ListView,
    record::{FilterView, RecordLine, RecordsView, SetApartView},
};

/// List the records held here, the newest first
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
List the records held here, the newest first: own ones and received ones. If there are more than are \
listed, the last line says how many.

The column OPEN says how many sections are held, of how many there are: what is missing was \
withheld. TITLE and THREAT are shown as far as policy shows them here; columns give way where the terminal \
is too narrow for all. Listing is logged as a consultation.

`--about` takes a container number, an IMO number, a plate and so on, as `portcullis check` reads them. A \
number whose check digit is wrong is refused: that nothing is known about it would say nothing. `--as KIND` \
takes it as it is written, for boxes and ships that were published so.

`--text` opens every record that came since a time and looks into title, identifiers, threat, text, \
narrative, source and persons, as far as policy shows them here. It needs `--since` and `--purpose`; records \
that their originators did not release for that purpose are left out. The log says that a text was searched \
for, since when and what for, and not which.",
    after_long_help = "\
Examples:
  portcullis list --kind indicator --since 2026-11-01
  portcullis list --about CSQU3054383
  portcullis list --about 9074720 --as seal
  portcullis list --origin nl-police --tlp AMBER --limit 5 --json
  portcullis list --text 'rip-off' --since 2026-11-01 --purpose customs-control
  portcullis list --quarantined"
)]
pub(super) struct List {
    #[command(flatten)]
    filter: FilterArgs,
    /// Instead: what is set apart because its key is compromised
    #[arg(long, conflicts_with = "FilterArgs")]
    quarantined: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = value_parser!(u32).range(1..))]
    limit: u32,
}

/// Which records.
#[derive(Debug, clap::Args)]
struct FilterArgs {
    /// Only this kind: indicator, alert, advisory, outcome or risk-profile
    #[arg(long, value_name = "KIND")]
    kind: Option<Kind>,
    /// Only records of this authority
    #[arg(long, value_name = "AUTHORITY")]
    origin: Option<AuthorityId>,
    /// Only records about this identifier, for instance a container number
    #[arg(long, value_name = "IDENTIFIER")]
    about: Option<String>,
    /// Take the identifier as this kind, as it is written: container, imo, seal, bill-of-lading, …
    #[arg(long = "as", value_name = "KIND", requires = "about")]
    taken_as: Option<SelectorKind>,
    /// Only what came here at this time or later; a day is meant from its beginning in UTC
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only what came here before this time, or up to the end of this day
    #[arg(long, value_name = "TIME")]
    until: Option<End>,
    /// Only records with this threat, for instance narcotics
    #[arg(long, value_name = "WORD")]
    threat: Option<String>,
    /// Only records with this TLP label
    #[arg(long, value_name = "LABEL")]
    tlp: Option<Tlp>,
    /// Only records that say this; small and capital letters are the same
    #[arg(long, value_name = "TEXT", requires = "since", requires = "purpose")]
    text: Option<String>,
    /// What the search is for: law-enforcement, customs-control, port-security or statistics
    #[arg(long, value_name = "PURPOSE")]
    purpose: Option<Purpose>,
}

impl FilterArgs {
    fn view(self, limit: u32) -> FilterView {
        FilterView {
            kind: self.kind.map(|kind| kind.to_string()),
            origin: self.origin.map(|origin| origin.to_string()),
            about: self.about,
            taken_as: self.taken_as.map(|kind| kind.to_string()),
            since: self.since.map(|since| since.to_string()),
            before: self.until.map(|end| end.excluded().to_string()),
            threat: self.threat,
            tlp: self.tlp.map(|tlp| tlp.to_string()),
            text: self.text,
            purpose: self.purpose.map(|purpose| purpose.to_string()),
            limit,
        }
    }
}

impl List {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let client = session.client()?;
        if self.quarantined {
            let apart: ListView<SetApartView> =
                block_on(async { Ok(client.get("/v1/quarantine").await?) })?;
            return session.output.show(&apart);
        }
        let filter = self.filter.view(self.limit);
        let records: RecordsView =
            block_on(async { Ok(client.post("/v1/records", &filter).await?) })?;
        session.output.show(&records)
    }
}

impl View for RecordsView {
    const SCHEMA: &'static str = "portcullis/records/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        if self.items.is_empty() {
            return page.line(nothing(&self.read_as));
        }
        page.table(&records(&self.items))?;
        if self.more {
            page.line(shown(self.items.len(), self.total, self.at_least))?;
        }
        Ok(())
    }
}

/// Says that there is nothing, and of what.
fn nothing(read_as: &[String]) -> String {
    match read_as {
        [] => "no records".to_owned(),
        read_as => format!("nothing is known here about {}", read_as.join(", or ")),
    }
}

/// Says how many of how many are listed.
fn shown(listed: usize, total: u64, at_least: bool) -> String {
    let total = thousands(total);
    let total = if at_least {
        format!("more than {total}")
    } else {
        total
    };
    format!(
        "{} of {total}; `--limit N` lists more",
        thousands(listed as u64)
    )
}

/// Returns a table of records, the least important columns of which give way.
pub(super) fn records(lines: &[RecordLine]) -> Table {
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
        Column::Text("THREAT"),
        Column::Text("ABOUT"),
        Column::Text("TITLE"),
    ])
    .yielding(&["CODES", "FROM", "OPEN", "EVAL", "TITLE", "THREAT", "SEALED"])
    .wrapping(&["ABOUT", "TITLE"]);
    for line in lines {
        table.row(row(line));
    }
    table
}

fn row(line: &RecordLine) -> [String; 12] {
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
        line.threat.clone().unwrap_or_else(|| "-".to_owned()),
        line.about.clone().unwrap_or_else(|| "withheld".to_owned()),
        line.title.clone().unwrap_or_else(|| "-".to_owned()),
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
        ])
        .yielding(&["FIRST SEEN"])
        .wrapping(&["WHY"]);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Newcomer B4: fifty of 5,018 were listed without a word.
    #[test]
    fn a_list_that_is_cut_says_of_how_many() {
        assert_eq!(
            shown(50, 5018, false),
            "50 of 5,018; `--limit N` lists more"
        );
        assert_eq!(
            shown(1000, 101_000, true),
            "1,000 of more than 101,000; `--limit N` lists more"
        );
    }

    /// Newcomer A7: that nothing is known about a container read like any empty list.
    #[test]
    fn that_nothing_is_known_says_about_what() {
        assert_eq!(nothing(&[]), "no records");
        let read_as = ["imo 9074729".to_owned(), "seal 9074729".to_owned()];
        assert_eq!(
            nothing(&read_as),
            "nothing is known here about imo 9074729, or seal 9074729"
        );
    }

    /// Newcomer C8: the list broke in the middle of words and times.
    #[test]
    fn a_list_fits_the_terminal() {
        let line = |about: &str, title: Option<&str>| RecordLine {
            id: "3f07f443d0ad".repeat(5),
            kind: "indicator".to_owned(),
            origin: "customs-40".to_owned(),
            sealed_at: "2026-11-24T11:01:51.25Z".to_owned(),
            received_at: "2026-11-24T11:01:52Z".to_owned(),
            from: Some("hub".to_owned()),
            tlp: "TLP:AMBER+STRICT".to_owned(),
            handling: "H1+H2".to_owned(),
            evaluation: "B2".to_owned(),
            exercise: true,
            open: 2,
            sections: 5,
            about: Some(about.to_owned()),
            title: title.map(str::to_owned),
            threat: Some("undeclared-goods".to_owned()),
        };
        crate::output::check_fits(&RecordsView {
            items: vec![
                line("container CSQU3054383, imo 9074729, seal 123456", None),
                line(
                    "container ZZZU0366859",
                    Some("a box whose seals were compared twice"),
                ),
            ],
            total: 5018,
            at_least: false,
            more: true,
            read_as: Vec::new(),
        });
    }
}

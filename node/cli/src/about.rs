//! `portcullis about`: everything that is known here about one identifier, on one page.

use std::io;

use clap::builder::NonEmptyStringValueParser;
use portcullis_protocol::{body::SelectorKind, record::Kind};
use serde::Serialize;

use super::{
    Session, consignment_desk,
    error::CliError,
    list,
    live::block_on,
    output::{Page, View, thousands},
};
use portcullis_admin_api::v1::{
    ListView,
    consignment::{ConsignmentFilterView, ConsignmentsView},
    hold::HeldView,
    record::{FilterView, RecordLine, RecordsView},
};

/// Most records, and most consignments, on the page.
const MOST: u32 = 200;

/// Show all that is known about an identifier
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Show on one page all that this node knows about an identifier: alerts, indicators, advisories and outcomes, as \
far as policy shows them here, and the authority's own consignments with their scores and outcomes. The \
identifier is read as `portcullis check` reads it; a number whose check digit is wrong is refused, for that \
nothing is known about it would say nothing. Items that wait for a person are not opened: the page says how many \
wait. Asking is logged as a consultation.",
    after_long_help = "\
Examples:
  portcullis about CSQU3054383
  portcullis about 9074720 --as seal"
)]
pub(super) struct About {
    /// The identifier, for instance a container number
    #[arg(value_name = "IDENTIFIER", value_parser = NonEmptyStringValueParser::new())]
    identifier: String,
    /// Take the identifier as this kind, as it is written: container, imo, seal, bill-of-lading, …
    #[arg(long = "as", value_name = "KIND")]
    taken_as: Option<SelectorKind>,
}

impl About {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let about = Some(self.identifier);
        let taken_as = self.taken_as.map(|kind| kind.to_string());
        let records = FilterView {
            about: about.clone(),
            taken_as: taken_as.clone(),
            limit: MOST,
            ..FilterView::default()
        };
        let consignments = ConsignmentFilterView {
            stage: "all".to_owned(),
            since: None,
            before: None,
            about,
            taken_as,
            limit: MOST,
        };
        let client = session.client()?;
        let view = block_on(async {
            let records: RecordsView = client.post("/v1/records", &records).await?;
            let consignments: ConsignmentsView =
                client.post("/v1/consignments", &consignments).await?;
            let held: ListView<HeldView> = super::hold::list(&client).await?;
            Ok(AboutView {
                version: 1,
                records,
                consignments,
                held: held.items.len() as u64,
            })
        })?;
        session.output.show(&view)
    }
}

/// All that is known about an identifier. Version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct AboutView {
    /// Version of the format: 1.
    version: u32,
    /// Records about it, the newest first.
    records: RecordsView,
    /// Own consignments with it, the highest score first.
    consignments: ConsignmentsView,
    /// Number of items that wait for a person, whatever they are about.
    held: u64,
}

/// Parts of the page, in the order in which a person needs them.
const PARTS: [(Kind, &str); 5] = [
    (Kind::Alert, "Alerts"),
    (Kind::Indicator, "Indicators"),
    (Kind::Outcome, "Outcomes"),
    (Kind::Advisory, "Advisories"),
    (Kind::RiskProfile, "Risk profiles"),
];

impl View for AboutView {
    const SCHEMA: &'static str = "portcullis/about/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        let read_as = self.records.read_as.join(", or ");
        page.heading(&read_as)?;
        if self.records.items.is_empty() {
            page.line("no record of anybody names it")?;
        }
        for (kind, heading) in PARTS {
            let of_kind = |line: &&RecordLine| line.kind == kind.name();
            let lines: Vec<RecordLine> =
                self.records.items.iter().filter(of_kind).cloned().collect();
            if !lines.is_empty() {
                page.heading(heading)?;
                page.table(&list::records(&lines))?;
            }
        }
        if self.records.more {
            let listed = thousands(self.records.items.len() as u64);
            page.line(format!(
                "the newest {listed}; `portcullis list --about` lists more"
            ))?;
        }
        page.heading("Own consignments")?;
        if self.consignments.items.is_empty() {
            page.line("none has it")?;
        } else {
            page.table(&consignment_desk::table(&self.consignments.items))?;
        }
        let listed = self.consignments.items.len() as u64;
        if listed < self.consignments.total {
            let (listed, total) = (thousands(listed), thousands(self.consignments.total));
            page.line(format!(
                "{listed} of {total}; `portcullis consignment list --about` lists more"
            ))?;
        }
        match self.held {
            0 => Ok(()),
            1 => {
                page.line("\n1 item waits for a person and was not opened: `portcullis hold list`")
            }
            held => page.line(format!(
                "\n{} items wait for a person and were not opened: `portcullis hold list`",
                thousands(held)
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: Kind, id: &str) -> RecordLine {
        RecordLine {
            id: id.repeat(16),
            kind: kind.name().to_owned(),
            origin: "police".to_owned(),
            sealed_at: "2026-11-24T11:01:51.250Z".to_owned(),
            received_at: "2026-11-24T11:01:52.000Z".to_owned(),
            from: None,
            tlp: "TLP:GREEN".to_owned(),
            handling: "-".to_owned(),
            evaluation: "B2".to_owned(),
            exercise: false,
            open: 3,
            sections: 3,
            about: Some("container CSQU3054383".to_owned()),
            title: None,
            threat: Some("narcotics".to_owned()),
        }
    }

    /// An analyst asked five commands for one container, and could miss the alert among fifty indicators.
    #[test]
    fn the_page_begins_with_alerts_and_fits_the_terminal() {
        let view = AboutView {
            version: 1,
            records: RecordsView {
                items: vec![line(Kind::Indicator, "3f07"), line(Kind::Alert, "96aa")],
                total: 2,
                at_least: false,
                more: false,
                read_as: vec!["container CSQU3054383".to_owned()],
            },
            consignments: ConsignmentsView {
                items: Vec::new(),
                total: 0,
                read_as: Vec::new(),
                elsewhere: 0,
            },
            held: 2,
        };
        crate::output::check_fits(&view);
        let page = crate::output::paged(&view, None);
        let place = |text: &str| page.find(text).unwrap();
        assert!(place("Alerts") < place("Indicators"), "{page}");
        assert!(place("none has it") < place("2 items wait"), "{page}");
    }
}

//! `portcullis consignment list`, `show`, `close` and `prune`: the authority's own consignments at the desk.

use std::io;

use bytes::Bytes;
use clap::{ValueEnum, builder::NonEmptyStringValueParser, value_parser};
use portcullis_protocol::{
    body::SelectorKind,
    time::{End, Timestamp},
};

use super::{
    Session,
    error::CliError,
    live::block_on,
    output::{Column, Page, Table, View, seconds, thousands},
    signing::{ActRequest, SigningArgs, have_done},
};
use portcullis_admin_api::{
    act::Action,
    client::encoded,
    v1::{
        consignment::{
            CloseView, ClosedView, ConsignmentFilterView, ConsignmentLine, ConsignmentView,
            ConsignmentsView, LEAST_AGE_DAYS, PruneView, PrunedView, latest_prune,
        },
        score::ClosingView,
    },
};
use portcullis_home::clock::system_clock;

/// List the authority's own consignments, the highest score first
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
List the authority's own consignments that arrive, the highest score first and those without a score last. \
If there are more than are listed, the last line says how many. `--closed` lists those whose outcome is \
known: closed by a person, or imported as history. Listing is logged as a consultation.

`--about` takes a container number, an IMO number and so on, as `portcullis check` reads them; a number \
whose check digit is wrong is refused.",
    after_long_help = "\
Examples:
  portcullis consignment list --since 2026-11-30
  portcullis consignment list --about CSQU3054383 --all
  portcullis consignment list --closed --limit 10 --json"
)]
pub(super) struct ConsignmentList {
    /// Only consignments of this day or later
    #[arg(long, value_name = "DAY")]
    since: Option<Timestamp>,
    /// Only consignments up to the end of this day
    #[arg(long, value_name = "DAY")]
    until: Option<End>,
    /// Only consignments with this identifier, for instance a container number
    #[arg(long, value_name = "IDENTIFIER")]
    about: Option<String>,
    /// Take the identifier as this kind, as it is written: container, imo, seal, bill-of-lading, …
    #[arg(long = "as", value_name = "KIND", requires = "about")]
    taken_as: Option<SelectorKind>,
    /// Those whose outcome is known
    #[arg(long, conflicts_with = "all")]
    closed: bool,
    /// Those that arrive and those whose outcome is known
    #[arg(long)]
    all: bool,
    /// At most so many, at most 100,000
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

impl ConsignmentList {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let stage = stage(self.closed, self.all);
        let filter = ConsignmentFilterView {
            stage: stage.to_owned(),
            since: self.since.map(|since| since.to_string()),
            before: self.until.map(|end| end.excluded().to_string()),
            about: self.about,
            taken_as: self.taken_as.map(|kind| kind.to_string()),
            limit: self.limit,
        };
        let client = session.client()?;
        let listed: ConsignmentsView =
            block_on(async { Ok(client.post("/v1/consignments", &filter).await?) })?;
        session.output.show(&listed)
    }
}

/// Show one consignment with its values, its score and its outcome
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Show one of the authority's own consignments: its values as they were imported, its identifiers, its newest \
score, and how it was closed. Showing is logged as a consultation. `portcullis score` explains the score.",
    after_long_help = "\
Example:
  portcullis consignment show 56839011"
)]
pub(super) struct ConsignmentShow {
    /// The consignment's reference
    #[arg(value_name = "REFERENCE", value_parser = NonEmptyStringValueParser::new())]
    reference: String,
}

impl ConsignmentShow {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let client = session.client()?;
        let path = format!("/v1/consignments/{}", encoded(&self.reference));
        let view: ConsignmentView = block_on(async { Ok(client.get(&path).await?) })?;
        session.output.show(&view)
    }
}

/// Result of a control, as it is written on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ResultArg {
    /// A control found something
    Found,
    /// A control found nothing
    Nothing,
    /// It was let go without a control
    NoControl,
}

impl ResultArg {
    const fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Nothing => "nothing",
            Self::NoControl => "no-control",
        }
    }
}

/// Close a consignment with the result of its control
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Close a consignment with the result of its control. It leaves the ranking, and the result counts as an own \
control from now on, exactly as one that was imported with `consignment import --history`: in the scores of \
other consignments and in the next risk profile. Nothing is sent to anybody. `no-control` closes it without \
counting anything. A file that brings the consignment again leaves it as it was closed.

A result that is known already stays, unless `--correct` says that it is replaced; the log of acts keeps both.",
    after_long_help = "\
Examples:
  portcullis consignment close 56839011 found --note 'two bags behind the cooling' --key anna.key
  portcullis consignment close 56839011 nothing --correct --key anna.key"
)]
pub(super) struct ConsignmentClose {
    /// The consignment's reference
    #[arg(value_name = "REFERENCE", value_parser = NonEmptyStringValueParser::new())]
    reference: String,
    /// The result
    #[arg(value_name = "RESULT", value_enum)]
    result: ResultArg,
    /// One line for colleagues, which stays in this node
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    note: String,
    /// Replace a result that is known already
    #[arg(long)]
    correct: bool,
    #[command(flatten)]
    signing: SigningArgs,
}

impl ConsignmentClose {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let close = CloseView {
            reference: self.reference,
            result: self.result.name().to_owned(),
            note: self.note,
            correct: self.correct,
        };
        let body = Bytes::from(
            serde_json::to_vec(&close)
                .map_err(|error| CliError::failed("the act cannot be written").because(&error))?,
        );
        let deed = ActRequest::new(Action::CloseConsignment, body);
        let client = session.client()?;
        let key = self.signing.open()?;
        let closed: ClosedView = block_on(async { have_done(&client, &key, deed).await })?;
        session.output.show(&closed)
    }
}

/// Delete consignments of past days
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Delete the authority's own consignments of before a day, with their scores: those that arrive, with `--closed` \
those whose outcome is known, with `--all` both. They are counted first, and deleted with `--yes`. Their keys \
are destroyed, so that only a backup has them still. Consignments of the last seven days stay. The file of the \
store does not become smaller: what is free in it is used again.

Closed consignments are the authority's own controls: without them, scores and the next risk profile count \
fewer. It is an act of a supervisor or an officer for data protection.",
    after_long_help = "\
Examples:
  portcullis consignment prune --before 2026-06-01 --key anna.key
  portcullis consignment prune --before 2026-06-01 --all --yes --key anna.key"
)]
pub(super) struct ConsignmentPrune {
    /// Only consignments of before this day
    #[arg(long, value_name = "DAY")]
    before: Timestamp,
    /// Those whose outcome is known
    #[arg(long, conflicts_with = "all")]
    closed: bool,
    /// Those that arrive and those whose outcome is known
    #[arg(long)]
    all: bool,
    /// Delete them, not only count them
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    signing: SigningArgs,
}

impl ConsignmentPrune {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let stage = stage(self.closed, self.all).to_owned();
        let before = self.before.to_string();
        let client = session.client()?;
        let latest = latest_prune(system_clock()());
        if self.before > latest {
            let told = format!("consignments of the last {LEAST_AGE_DAYS} days stay");
            let latest: String = latest.to_string().chars().take(10).collect();
            return Err(CliError::invalid(told).remedy(format!("name {latest} or an earlier day")));
        }
        if !self.yes {
            let filter = ConsignmentFilterView {
                stage,
                since: None,
                before: Some(before),
                about: None,
                taken_as: None,
                limit: 1,
            };
            let ConsignmentsView { total, .. } =
                block_on(async { Ok(client.post("/v1/consignments", &filter).await?) })?;
            session.output.show(&PruneCountView {
                version: 1,
                stage: filter.stage,
                before: filter.before.unwrap_or_default(),
                consignments: total,
            })?;
            if total > 0 {
                session
                    .output
                    .note("nothing was deleted; add `--yes` to delete these");
            }
            return Ok(());
        }
        let body = serde_json::to_vec(&PruneView { stage, before })
            .map_err(|error| CliError::failed("the act cannot be written").because(&error))?;
        let key = self.signing.open()?;
        let deed = ActRequest::new(Action::PruneConsignments, body);
        let pruned: PrunedView = block_on(async { have_done(&client, &key, deed).await })?;
        session.output.show(&pruned)
    }
}

/// Returns the name of the stage that the flags choose.
const fn stage(closed: bool, all: bool) -> &'static str {
    match (closed, all) {
        (true, _) => "closed",
        (false, true) => "all",
        (false, false) => "arriving",
    }
}

/// Consignments that would be deleted. Version 1.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub(super) struct PruneCountView {
    /// Version of the format: 1.
    version: u32,
    /// `arriving`, `closed` or `all`.
    stage: String,
    /// Only consignments of before this time.
    before: String,
    /// Their number.
    consignments: u64,
}

impl View for PruneCountView {
    const SCHEMA: &'static str = "portcullis/prune-count/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        let which = match self.stage.as_str() {
            "all" => String::new(),
            stage => format!("{stage} "),
        };
        let (consignments, before) = (thousands(self.consignments), seconds(&self.before));
        page.line(format!(
            "{consignments} {which}consignments of before {before} would be deleted"
        ))
    }
}

impl View for PrunedView {
    const SCHEMA: &'static str = "portcullis/pruned/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        let consignments = thousands(self.consignments);
        page.line(format!(
            "deleted {consignments} consignments with their scores"
        ))
    }
}

impl View for ConsignmentsView {
    const SCHEMA: &'static str = "portcullis/consignments/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        if self.items.is_empty() {
            page.line(match (self.read_as.as_slice(), self.elsewhere) {
                ([], _) => "no consignments".to_owned(),
                (read_as, 0) => format!("no own consignment with {}", read_as.join(", or ")),
                (read_as, _) => format!("none of those with {}", read_as.join(", or ")),
            })?;
        } else {
            page.table(&table(&self.items))?;
        }
        if self.elsewhere > 0 {
            page.line(format!(
                "{} more have it, closed or arriving; `--all` lists them",
                thousands(self.elsewhere)
            ))?;
        }
        let listed = self.items.len() as u64;
        if listed < self.total {
            let (listed, total) = (thousands(listed), thousands(self.total));
            page.line(format!("{listed} of {total}; `--limit N` lists more"))?;
        }
        Ok(())
    }
}

/// Returns a table of consignments, the least important columns of which give way.
pub(super) fn table(lines: &[ConsignmentLine]) -> Table {
    let mut table = Table::new(&[
        Column::Text("REFERENCE"),
        Column::Text("DAY"),
        Column::Number("POINTS"),
        Column::Text("CONTROL"),
        Column::Text("OUTCOME"),
        Column::Text("IDENTIFIERS"),
    ])
    .yielding(&["CONTROL", "DAY"])
    .wrapping(&["IDENTIFIERS"]);
    for line in lines {
        table.row([
            line.reference.clone(),
            line.day.clone(),
            points(line),
            line.control.clone().unwrap_or_else(|| "-".to_owned()),
            outcome(line),
            line.identifiers.join(", "),
        ]);
    }
    table
}

fn points(line: &ConsignmentLine) -> String {
    line.points
        .map_or_else(|| "-".to_owned(), |points| format!("{points:.0}"))
}

fn outcome(line: &ConsignmentLine) -> String {
    match (&line.closing, line.stage.as_str()) {
        (Some(closing), _) => closing.result.clone(),
        (None, "closed") => "imported".to_owned(),
        (None, _) => "-".to_owned(),
    }
}

impl View for ConsignmentView {
    const SCHEMA: &'static str = "portcullis/consignment/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        let line = &self.line;
        page.heading(&line.reference)?;
        let mut pairs = vec![("day", line.day.clone())];
        if let Some(score) = &self.score {
            pairs.push(("score", format!("{:.0} of 100", score.points)));
            pairs.push(("recommended", score.control.clone()));
            pairs.push(("mainly because", score.because.clone()));
        } else {
            pairs.push(("score", "none".to_owned()));
        }
        pairs.push((
            "outcome",
            match &line.closing {
                Some(closing) => told(closing),
                None => outcome(line),
            },
        ));
        pairs.push(("identifiers", line.identifiers.join("\n")));
        page.pairs(&pairs)?;
        page.heading("Values")?;
        let mut table =
            Table::new(&[Column::Text("COLUMN"), Column::Text("VALUE")]).wrapping(&["VALUE"]);
        for field in &self.fields {
            table.row([field.column.clone(), field.value.clone()]);
        }
        page.table(&table)
    }
}

/// Says how a consignment was closed.
pub(super) fn told(closing: &ClosingView) -> String {
    let by = format!(
        "{}, told by {} at {}",
        closing.result,
        closing.by,
        seconds(&closing.at)
    );
    match closing.note.as_str() {
        "" => by,
        note => format!("{by}\n{note}"),
    }
}

impl View for ClosedView {
    const SCHEMA: &'static str = "portcullis/closed/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        let counts = match self.closing.result.as_str() {
            "no-control" => "it counts as no control",
            _ => "it counts as an own control from now on",
        };
        page.line(format!(
            "closed {}: {}; {counts}",
            self.reference, self.closing.result
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(reference: &str, points: Option<f64>, result: Option<&str>) -> ConsignmentLine {
        ConsignmentLine {
            reference: reference.to_owned(),
            day: "2026-11-30".to_owned(),
            stage: if result.is_some() {
                "closed"
            } else {
                "arriving"
            }
            .to_owned(),
            points,
            control: points.map(|_| "physical".to_owned()),
            closing: result.map(|result| ClosingView {
                result: result.to_owned(),
                at: "2026-11-30T08:00:00.123Z".to_owned(),
                by: "anna".to_owned(),
                note: "two bags behind the cooling of a box that was opened twice on its way"
                    .to_owned(),
            }),
            identifiers: vec![
                "container CSQU3054383".to_owned(),
                "trader KR:QLRUBN9".to_owned(),
                "hs-code 440890".to_owned(),
                "imo 9074729".to_owned(),
            ],
        }
    }

    #[test]
    fn consignments_fit_the_terminal() {
        crate::output::check_fits(&ConsignmentsView {
            items: vec![
                line("56839011", Some(95.0), None),
                line("99887098-2026-BE-ANR", None, Some("no-control")),
            ],
            total: 105_018,
            read_as: Vec::new(),
            elsewhere: 0,
        });
        crate::output::check_fits(&ConsignmentView {
            version: 1,
            line: line("56839011", Some(95.0), Some("found")),
            fields: Vec::new(),
            score: None,
        });
    }

    /// Newcomer A8: what became of a consignment stood nowhere.
    #[test]
    fn an_outcome_says_who_told_it() {
        assert_eq!(outcome(&line("1", None, None)), "-");
        assert_eq!(outcome(&line("1", None, Some("nothing"))), "nothing");
        let imported = ConsignmentLine {
            stage: "closed".to_owned(),
            ..line("1", None, None)
        };
        assert_eq!(outcome(&imported), "imported");
        let closing = line("1", None, Some("found")).closing.unwrap();
        let says = told(&closing);
        assert!(
            says.starts_with("found, told by anna at 2026-11-30"),
            "{says}"
        );
        assert!(says.contains("two bags"), "{says}");
    }
}

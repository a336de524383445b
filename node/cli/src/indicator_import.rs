//! `portcullis indicator import`: indicators from a CSV file.
//!
//! Every line is read before anything is sent. Errors are reported line by line. A long file is
//! published in parts, each of them whole or not at all.

use std::{fs::File, path::PathBuf};

use csv::StringRecord;
use portcullis_protocol::{
    body::SelectorKind, evaluation::Evaluation, record::Kind, time::Timestamp,
};

use super::{
    Session,
    drafting::{
        self,
        identifier::{Strictness, selector},
        marking::MarkingArgs,
    },
    error::CliError,
    publish::publish,
    signing::SigningArgs,
};
use portcullis_admin_api::{
    act::Action,
    v1::{
        draft::{AssessmentView, DraftView, SelectorView, SubjectView},
        marking::EvaluationView,
    },
};

/// Number of wrong lines that are reported.
const TOLD: usize = 20;

/// Largest number of lines of a file.
const MOST_LINES: usize = 100_000;

/// Columns that hold an identifier. `importer` and `trader` mean the same.
const IDENTIFIERS: &[(&str, SelectorKind)] = &[
    ("container", SelectorKind::Container),
    ("imo", SelectorKind::Imo),
    ("mmsi", SelectorKind::Mmsi),
    ("bill-of-lading", SelectorKind::BillOfLading),
    ("seal", SelectorKind::Seal),
    ("eori", SelectorKind::Eori),
    ("plate", SelectorKind::Plate),
    ("unlocode", SelectorKind::UnLocode),
    ("hs", SelectorKind::HsCode),
    ("importer", SelectorKind::Trader),
    ("trader", SelectorKind::Trader),
];

/// The other columns.
const OTHERS: &[&str] = &[
    "from",
    "until",
    "title",
    "threat",
    "text",
    "narrative",
    "source",
    "evaluation",
    "audience",
];

/// Publish the indicators of a CSV file
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Publish the indicators of a CSV file: a header line, then one indicator a line.

Columns: container, imo, mmsi, bill-of-lading, seal, eori, plate, unlocode, hs, importer; from and \
until (the time window, needed for containers and plates); title, threat, text, narrative, source, \
evaluation, audience. A line needs at least one identifier. The flags mark all lines alike; \
`evaluation` and `threat` of a line go before the flag.

Every line is read before anything is published. If one is wrong, nothing is.",
    after_long_help = "\
Example:
  portcullis indicator import boxes.csv --tlp TLP:AMBER --purpose customs-control --key anna.key"
)]
pub(super) struct IndicatorImport {
    /// The file; `-` for standard input
    #[arg(value_name = "FILE.csv")]
    file: PathBuf,
    /// The threat of lines that name none
    #[arg(long, value_name = "WORD", default_value = "unspecified")]
    threat: String,
    /// Accept wrong check digits; the records say so
    #[arg(long)]
    accept_unchecked: bool,
    /// Read and check the file, and publish nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    marking: MarkingArgs,
    #[command(flatten)]
    signing: SigningArgs,
}

impl IndicatorImport {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let drafts = self.drafts()?;
        if self.dry_run {
            let lines = drafts.len();
            session.output.note(&format!(
                "indicators in order: {lines}; nothing was published"
            ));
            return Ok(());
        }
        publish(session, &self.signing, Action::Publish, drafts)
    }

    fn drafts(&self) -> Result<Vec<DraftView>, CliError> {
        let name = self.file.display().to_string();
        let input: Box<dyn std::io::Read> = if name == "-" {
            Box::new(std::io::stdin())
        } else {
            Box::new(File::open(&self.file).map_err(|error| {
                CliError::failed(format!("`{name}` cannot be read")).because(&error)
            })?)
        };
        let common = Common {
            threat: &self.threat,
            strictness: Strictness::from(self.accept_unchecked),
            marking: &self.marking,
        };
        read(&name, input, &common)
    }
}

/// Settings that all lines share.
struct Common<'a> {
    threat: &'a str,
    strictness: Strictness,
    marking: &'a MarkingArgs,
}

fn read(
    name: &str,
    input: impl std::io::Read,
    common: &Common<'_>,
) -> Result<Vec<DraftView>, CliError> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(input);
    let columns = columns(
        name,
        reader.headers().map_err(|error| broken(name, &error))?,
    )?;
    let (mut drafts, mut wrong) = (Vec::new(), Vec::new());
    for (row, line) in reader.records().zip(2_usize..) {
        if line > MOST_LINES {
            return Err(
                CliError::invalid(format!("`{name}` has over {MOST_LINES} lines"))
                    .remedy("split the file"),
            );
        }
        let draft = row.map_err(|error| error.to_string()).and_then(|row| {
            Line {
                columns: &columns,
                row,
            }
            .draft(common)
        });
        match draft {
            Ok(draft) => drafts.push(draft),
            Err(what) => wrong.push(format!("line {line}: {what}")),
        }
    }
    if !wrong.is_empty() {
        return Err(wrong_lines(name, wrong));
    }
    if drafts.is_empty() {
        return Err(CliError::invalid(format!("`{name}` has no indicator"))
            .remedy("write a header line and at least one line below it"));
    }
    Ok(drafts)
}

fn broken(name: &str, error: &csv::Error) -> CliError {
    CliError::invalid(format!("`{name}` is no CSV file"))
        .because(error)
        .remedy("write UTF-8 text with commas, a header line first")
}

fn wrong_lines(name: &str, mut wrong: Vec<String>) -> CliError {
    let count = wrong.len();
    wrong.truncate(TOLD);
    if count > TOLD {
        wrong.push(format!("and {} more", count - TOLD));
    }
    let noun = if count == 1 { "line is" } else { "lines are" };
    CliError {
        causes: wrong,
        ..CliError::invalid(format!(
            "{count} {noun} wrong in `{name}`; nothing was published"
        ))
    }
    .remedy("correct the file and import it again")
}

/// Returns the names of the columns. Each must be known and present only once.
fn columns(name: &str, header: &StringRecord) -> Result<Vec<String>, CliError> {
    let columns: Vec<String> = header.iter().map(str::to_ascii_lowercase).collect();
    if columns.iter().all(String::is_empty) {
        return Err(CliError::invalid(format!("`{name}` is empty"))
            .remedy("write a header line and at least one line below it"));
    }
    let known = |column: &str| {
        OTHERS.contains(&column) || IDENTIFIERS.iter().any(|(known, _)| *known == column)
    };
    if let Some(unknown) = columns.iter().find(|column| !known(column)) {
        let all: Vec<&str> = IDENTIFIERS
            .iter()
            .map(|(name, _)| *name)
            .chain(OTHERS.iter().copied())
            .collect();
        return Err(
            CliError::invalid(format!("`{name}` has an unknown column `{unknown}`"))
                .remedy(format!("name the columns among {}", all.join(", "))),
        );
    }
    let repeated = columns
        .iter()
        .enumerate()
        .find(|(place, column)| columns.iter().take(*place).any(|before| before == *column));
    match repeated {
        Some((_, column)) => Err(CliError::invalid(format!(
            "`{name}` has the column `{column}` twice"
        ))
        .remedy("remove one of them")),
        None => Ok(columns),
    }
}

/// A line of the file.
struct Line<'a> {
    columns: &'a [String],
    row: StringRecord,
}

impl Line<'_> {
    /// Returns the value of a column. An empty value counts as absent.
    fn value(&self, column: &str) -> Option<&str> {
        let place = self.columns.iter().position(|name| name == column)?;
        self.row.get(place).filter(|value| !value.is_empty())
    }

    fn draft(&self, common: &Common<'_>) -> Result<DraftView, String> {
        let selectors = self.selectors(common.strictness)?;
        if selectors.is_empty() {
            return Err("it names no identifier".to_owned());
        }
        let text = |column| self.value(column).map(str::to_owned);
        Ok(DraftView {
            kind: Kind::Indicator.to_string(),
            exercise: false,
            audience: self
                .value("audience")
                .map(|list| list.split([',', ';', ' ']).map(str::to_owned).collect())
                .unwrap_or_default(),
            marking: common.marking.view().map_err(|error| error.message)?,
            evaluation: self.evaluation(common)?,
            derived_from: Vec::new(),
            supersedes: None,
            subject: Some(SubjectView {
                title: text("title").unwrap_or_default(),
                selectors,
                generated: false,
            }),
            assessment: AssessmentView {
                threat: text("threat").unwrap_or_else(|| common.threat.to_owned()),
                finding: None,
                text: text("text").unwrap_or_default(),
            },
            narrative: text("narrative"),
            source: text("source"),
            persons: Vec::new(),
            decoys: true,
        })
    }

    fn selectors(&self, strictness: Strictness) -> Result<Vec<SelectorView>, String> {
        let window = drafting::window(self.time("from")?, self.time("until")?).map_err(told)?;
        IDENTIFIERS
            .iter()
            .filter_map(|(column, kind)| Some((*kind, self.value(column)?)))
            .map(|(kind, text)| selector(kind, text, window, strictness).map_err(told))
            .collect()
    }

    fn time(&self, column: &str) -> Result<Option<Timestamp>, String> {
        self.value(column)
            .map(|text| text.parse().map_err(|error| format!("`{column}`: {error}")))
            .transpose()
    }

    fn evaluation(&self, common: &Common<'_>) -> Result<EvaluationView, String> {
        match self.value("evaluation") {
            None => Ok(common.marking.evaluation()),
            Some(text) => text
                .parse::<Evaluation>()
                .map(|evaluation| EvaluationView::from(&evaluation))
                .map_err(|error| error.to_string()),
        }
    }
}

/// Formats the error of one line.
fn told(error: CliError) -> String {
    match error.remedy {
        Some(remedy) => format!("{}; {remedy}", error.message),
        None => error.message,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::exit::Exit;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        marking: MarkingArgs,
    }

    fn import(text: &str) -> Result<Vec<DraftView>, CliError> {
        let flags = Flags::try_parse_from(["test"]).unwrap();
        let common = Common {
            threat: "narcotics",
            strictness: Strictness::CheckDigits,
            marking: &flags.marking,
        };
        read("boxes.csv", text.as_bytes(), &common)
    }

    #[test]
    fn lines_become_drafts() {
        let drafts = import(
            "container,from,until,evaluation,source\n\
             CSQU3054383,2021-03-01,2021-03-31,B2,a worker\n\
             MSKU0000080,2021-03-01,2021-03-31,,\n",
        )
        .unwrap();
        assert_eq!(drafts.len(), 2);
        assert_eq!(drafts[0].evaluation.code, "B2");
        assert_eq!(drafts[0].source.as_deref(), Some("a worker"));
        assert_eq!(drafts[1].evaluation.code, "X4");
        assert_eq!(drafts[1].assessment.threat, "narcotics");
    }

    #[test]
    fn wrong_lines_are_told_one_by_one() {
        let error = import(
            "container,from,until\n\
             CSQU3054384,2021-03-01,2021-03-31\n\
             CSQU3054383,2021-03-01,2021-03-31\n\
             CSQU3054383,yesterday,2021-03-31\n\
             CSQU3054383\n",
        )
        .unwrap_err();
        assert_eq!(error.exit, Exit::Invalid);
        assert_eq!(error.causes.len(), 3, "{error:?}");
        assert!(error.causes[0].starts_with("line 2: `CSQU3054384`"));
        assert!(error.causes[0].contains("CSQU3054383"));
        assert!(error.causes[1].starts_with("line 4: `from`"));
        assert!(error.causes[2].starts_with("line 5: "));
    }

    #[test]
    fn unknown_and_repeated_columns_and_empty_files_are_refused() {
        for (text, says) in [
            ("", "is empty"),
            ("container,from,until\n", "no indicator"),
            (
                "container,colour\nCSQU3054383,red\n",
                "unknown column `colour`",
            ),
            ("imo,imo\n9074729,9074729\n", "the column `imo` twice"),
        ] {
            let error = import(text).unwrap_err();
            assert!(error.message.contains(says), "{text:?}: {error}");
            assert_eq!(error.exit, Exit::Invalid);
        }
    }

    #[test]
    fn a_line_without_identifier_is_wrong() {
        let error = import("imo,title\n,a ship\n").unwrap_err();
        assert!(error.causes[0].contains("no identifier"));
    }
}

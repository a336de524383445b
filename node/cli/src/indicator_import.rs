//! `portcullis indicator import`: indicators from a list as a spreadsheet saved it.
//!
//! ```text
//! file ── sheet (lines, columns) ── draft of each line ── rehearsal ── policy asked once ── published
//! ```
//!
//! Every line is read and rehearsed before anything is sent, and each fault is told with the line of
//! the file. `--dry-run` ends there: what it passes, publishing does not refuse.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io,
    path::PathBuf,
};

use csv::StringRecord;
use portcullis_protocol::{
    body::SelectorKind,
    evaluation::Evaluation,
    record::Kind,
    time::{End, Timestamp, TimestampParseError},
};
use portcullis_sheets::Sheet;
use serde::Serialize;

use super::{
    Session,
    drafting::{
        self,
        identifier::{Strictness, selector},
        marking::MarkingArgs,
        rehearsal::Rehearsal,
    },
    error::CliError,
    exit::Exit,
    live::block_on,
    output::{Page, View},
    publish::{publish, repeated},
    sheet::{self, Rejected, RejectsFile, SheetArgs},
    signing::SigningArgs,
};
use portcullis_admin_api::{
    act::Action,
    v1::{
        draft::{AssessmentView, DraftView, SelectorView, SubjectView},
        marking::EvaluationView,
        preview::PreviewView,
    },
};

/// Largest number of indicators of a file.
const MOST: usize = 100_000;

/// Most choices of audience and evaluation of which policy is asked in a rehearsal.
const MOST_PREVIEWS: usize = 20;

/// Columns that hold an identifier. `importer` and `trader` mean the same.
const IDENTIFIERS: &[(&str, SelectorKind)] = &[
    ("container", SelectorKind::Container),
    ("ilu", SelectorKind::Ilu),
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

/// Publish the indicators of a list
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Publish the indicators of a list as a spreadsheet saves it: a header line, then one indicator a line, at \
most 100,000. Separator (comma, semicolon, tab), encoding (UTF-8, UTF-16, Windows-1252) and packing (gzip) \
are found, and what was found is said. Blank lines and lines that begin with # are left out.

Columns, in any case and order: container (or ilu), imo, mmsi, bill-of-lading, seal, eori, plate, unlocode, hs, \
importer; from and until (the time window, needed for containers and plates); title, threat, text, \
narrative, source, evaluation, audience. A line needs at least one identifier. The flags mark all lines \
alike; `evaluation` and `threat` of a line go before the flag. Times are 2021-03-01T08:00:00Z, or a bare \
day: `from` is its beginning, `until` its end, in UTC.

Every line is read and checked before anything is published. If one is wrong nothing is, and all are told; \
with `--skip-invalid` the others are published and the wrong ones written to a file.",
    after_long_help = "\
Examples:
  portcullis indicator import boxes.csv --dry-run
  portcullis indicator import boxes.csv --tlp TLP:AMBER --purpose customs-control --key anna.key
  portcullis indicator import boxes.csv --skip-invalid rejected.csv --key anna.key"
)]
pub(super) struct IndicatorImport {
    /// The file; `-` for standard input
    #[arg(value_name = "FILE.csv")]
    file: PathBuf,
    /// The threat of lines that name none, by a word of the common vocabulary
    #[arg(long, value_name = "WORD", default_value = "unspecified")]
    threat: String,
    /// Take also words for threats that the common vocabulary lacks
    #[arg(long)]
    threat_other: bool,
    /// Accept wrong check digits; the records say so
    #[arg(long)]
    accept_unchecked: bool,
    /// Rehearse: check the file, ask policy if a node answers, and publish nothing
    #[arg(long)]
    dry_run: bool,
    /// Publish the lines that are in order, and write the others with the reason into this new file
    #[arg(long, value_name = "REJECTED.csv")]
    skip_invalid: Option<PathBuf>,
    /// Publish also what was published before, word for word
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    sheet: SheetArgs,
    #[command(flatten)]
    marking: MarkingArgs,
    #[command(flatten)]
    signing: SigningArgs,
}

impl IndicatorImport {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let bytes = sheet::bytes(&self.file)?;
        let sheet = sheet::open(&self.file, &bytes, self.sheet)?;
        drop(bytes);
        let read_as = sheet.reading().to_string();
        session.output.note(&format!("read as: {read_as}"));
        let common = Common {
            threat: &self.threat,
            own_words: self.threat_other,
            strictness: Strictness::from(self.accept_unchecked),
            marking: &self.marking,
        };
        let list = List::read(&sheet, &common).map_err(|error| match error {
            Unread::Sheet(error) => sheet::refused(&self.file, &error),
            Unread::Columns(error) => error,
        })?;
        self.check(&list)?;
        let rejects = self.skip_invalid.as_deref().map(RejectsFile::take);
        let rejects = rejects.transpose()?;
        let List {
            columns,
            drafts,
            rejected,
        } = list;
        let indicators = drafts.len();
        let drafts = match self.new_ones(session, drafts.clone()) {
            // A rehearsal needs no node.
            Err(error) if self.dry_run && error.exit == Exit::Unanswered => {
                let note = format!("no node was asked what was published before: {error}");
                session.output.note(&note);
                drafts
            }
            other => other?,
        };
        if self.dry_run {
            return session.output.show(&RehearsalView {
                read_as,
                indicators,
                new: drafts.len(),
                rejected: rejected.iter().map(RejectedView::from).collect(),
                previews: previews(session, &drafts),
            });
        }
        publish(session, &self.signing, Action::Publish, drafts)?;
        if let (Some(to), Some(rejects)) = (&self.skip_invalid, rejects)
            && !rejected.is_empty()
        {
            let separator = sheet.reading().separator;
            rejects.write(&columns, &rejected, separator, "the others were published")?;
            session.output.note(&sheet::rejected_note(&rejected, to));
        }
        Ok(())
    }

    /// Leaves out what this authority has published before, unless it is meant to be repeated. So a list that
    /// is imported twice makes nothing new, and one that broke off goes on where it was.
    fn new_ones(
        &self,
        session: &Session,
        drafts: Vec<DraftView>,
    ) -> Result<Vec<DraftView>, CliError> {
        if self.again {
            return Ok(drafts);
        }
        let all = drafts.len();
        let known = repeated(session, &drafts)?;
        let new: Vec<DraftView> = drafts
            .into_iter()
            .zip(known)
            .filter_map(|(draft, known)| known.is_none().then_some(draft))
            .collect();
        let before = all.saturating_sub(new.len());
        if new.is_empty() {
            let told = CliError::invalid(format!(
                "all {all} indicators were published before; nothing was published"
            ));
            return Err(told.remedy("publish them once more with `--again`, if that is meant"));
        }
        if before > 0 {
            session.output.note(&format!(
                "{before} of {all} were published before and are passed over (`--again` repeats them)"
            ));
        }
        Ok(new)
    }

    /// Refuses a list that cannot be published as it was asked for.
    fn check(&self, list: &List) -> Result<(), CliError> {
        let is_skipped = self.skip_invalid.is_some() && !list.drafts.is_empty();
        if list.rejected.is_empty() || is_skipped {
            Ok(())
        } else {
            let outcome = "nothing was published";
            Err(sheet::wrong_lines(&self.file, &list.rejected, outcome))
        }
    }
}

/// Asks a running node who would get the drafts, once for all that policy cannot tell apart. Nothing if no
/// node answers.
fn previews(session: &Session, drafts: &[DraftView]) -> Vec<PreviewOfSome> {
    let alike = alike(drafts);
    let asked = alike.iter().take(MOST_PREVIEWS).map(|alike| {
        let client = session.client()?;
        let preview = block_on(async { Ok(client.post("/v1/preview", alike.first).await?) })?;
        Ok(PreviewOfSome {
            indicators: alike.count,
            audience: alike.first.audience.clone(),
            evaluation: alike.first.evaluation.clone(),
            preview,
        })
    });
    let asked: Result<Vec<PreviewOfSome>, CliError> = asked.collect();
    let left = alike.len().saturating_sub(MOST_PREVIEWS);
    if left > 0 {
        let note =
            format!("policy was not asked of {left} more choices of audience and evaluation");
        session.output.note(&note);
    }
    asked.unwrap_or_else(|error| {
        session
            .output
            .note(&format!("policy was not asked: {error}"));
        Vec::new()
    })
}

/// Drafts that policy cannot tell apart: audience and evaluation stand in the lines, the rest is the same.
struct Alike<'a> {
    first: &'a DraftView,
    count: usize,
}

fn alike(drafts: &[DraftView]) -> Vec<Alike<'_>> {
    let mut found: Vec<Alike<'_>> = Vec::new();
    for draft in drafts {
        let is_same = |other: &&mut Alike<'_>| {
            other.first.audience == draft.audience && other.first.evaluation == draft.evaluation
        };
        match found.iter_mut().find(is_same) {
            Some(alike) => alike.count = alike.count.saturating_add(1),
            None => found.push(Alike {
                first: draft,
                count: 1,
            }),
        }
    }
    found
}

/// Outcome of a rehearsal, version 2.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct RehearsalView {
    /// How the file was read.
    read_as: String,
    /// Number of indicators in order.
    indicators: usize,
    /// Number of them that were not published before.
    new: usize,
    /// Lines that would be left out.
    rejected: Vec<RejectedView>,
    /// Who would get them; empty if no node answers.
    previews: Vec<PreviewOfSome>,
}

/// Who would get indicators with one audience and evaluation.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct PreviewOfSome {
    /// Their number.
    indicators: usize,
    /// Ports for which they are meant; empty for all.
    audience: Vec<String>,
    /// Their evaluation.
    evaluation: EvaluationView,
    preview: PreviewView,
}

/// A line that is not taken, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct RejectedView {
    line: u64,
    why: String,
}

impl From<&Rejected> for RejectedView {
    fn from(rejected: &Rejected) -> Self {
        Self {
            line: rejected.line,
            why: rejected.why.clone(),
        }
    }
}

impl PreviewOfSome {
    /// Names the indicators by what tells them from the others.
    fn title(&self) -> String {
        let audience = match self.audience.as_slice() {
            [] => "all ports".to_owned(),
            ports => ports.join(", "),
        };
        format!(
            "{} indicators {}, for {audience}",
            self.indicators, self.evaluation.code
        )
    }
}

impl View for RehearsalView {
    const SCHEMA: &'static str = "portcullis/rehearsal/v2";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.heading(&format!(
            "indicators in order: {}, of them new: {}; nothing was published",
            self.indicators, self.new
        ))?;
        for rejected in &self.rejected {
            page.line(format!("  line {}: {}", rejected.line, rejected.why))?;
        }
        if self.previews.is_empty() {
            return page.line("  no node answers here: who would get them was not asked");
        }
        for some in &self.previews {
            page.line("")?;
            if self.previews.len() > 1 {
                page.heading(&some.title())?;
            }
            some.preview.page(page)?;
        }
        Ok(())
    }
}

/// Settings that all lines share.
struct Common<'a> {
    threat: &'a str,
    own_words: bool,
    strictness: Strictness,
    marking: &'a MarkingArgs,
}

impl Common<'_> {
    /// Returns the word for a line's threat.
    fn threat(&self, written: Option<&str>) -> Result<String, String> {
        let word = written.unwrap_or(self.threat);
        let other = self.own_words.then_some(word);
        drafting::threat(word, other).map_err(|error| error.message)
    }
}

/// Lines of a file, as far as they are in order.
#[derive(Debug)]
struct List {
    columns: Vec<String>,
    drafts: Vec<DraftView>,
    rejected: Vec<Rejected>,
}

/// Reason for which no line of a file was read.
#[derive(Debug)]
enum Unread {
    Sheet(portcullis_sheets::SheetError),
    Columns(CliError),
}

impl From<portcullis_sheets::SheetError> for Unread {
    fn from(error: portcullis_sheets::SheetError) -> Self {
        Self::Sheet(error)
    }
}

impl From<CliError> for Unread {
    fn from(error: CliError) -> Self {
        Self::Columns(error)
    }
}

impl List {
    fn read(sheet: &Sheet, common: &Common<'_>) -> Result<Self, Unread> {
        let mut rows = sheet.rows()?;
        let columns = rows.columns().to_vec();
        let names = columns_of(&columns)?;
        let mut rehearsal = Rehearsal::new()?;
        let mut said: BTreeMap<String, u64> = BTreeMap::new();
        let mut list = Self {
            columns,
            drafts: Vec::new(),
            rejected: Vec::new(),
        };
        loop {
            let row = match rows.next_row() {
                Ok(Some(row)) => row,
                Ok(None) => return Ok(list),
                Err(error) if error.line == 0 => return Err(error.into()),
                Err(error) => {
                    list.rejected.push(Rejected {
                        line: error.line,
                        why: format!("{}; {}", error.fault, error.remedy()),
                        values: rows.values(),
                    });
                    continue;
                }
            };
            let line = Line {
                columns: &names,
                row: row.values,
            };
            let draft = line.draft(common).and_then(|draft| {
                rehearsal.of(&draft)?;
                let text = serde_json::to_string(&draft).map_err(|error| error.to_string())?;
                match said.entry(text) {
                    Entry::Occupied(before) => {
                        Err(format!("it says what line {} says", before.get()))
                    }
                    Entry::Vacant(new) => {
                        new.insert(row.line);
                        Ok(draft)
                    }
                }
            });
            if list.drafts.len().saturating_add(list.rejected.len()) >= MOST {
                let told = CliError::invalid(format!("it has over {MOST} indicators"));
                return Err(told.remedy("split the file").into());
            }
            match draft {
                Ok(draft) => list.drafts.push(draft),
                Err(why) => list.rejected.push(Rejected {
                    line: row.line,
                    why,
                    values: row.values.iter().map(str::to_owned).collect(),
                }),
            }
        }
    }
}

/// Reads a list of ports as people write it, with commas, semicolons or blanks.
fn audience(list: &str) -> Result<Vec<String>, String> {
    let names = list.split([',', ';', ' ']).filter(|name| !name.is_empty());
    let names: Vec<String> = names.map(str::to_owned).collect();
    if names.is_empty() {
        return Err(format!("`audience`: `{list}` names nobody"));
    }
    Ok(names)
}

/// Returns the names of the columns in lower case. Each must be known.
fn columns_of(header: &[String]) -> Result<Vec<String>, CliError> {
    let columns: Vec<String> = header
        .iter()
        .map(|name| name.to_lowercase().replace(['_', ' '], "-"))
        .collect();
    let known = |column: &str| {
        OTHERS.contains(&column) || IDENTIFIERS.iter().any(|(known, _)| *known == column)
    };
    let unknown = columns
        .iter()
        .find(|column| !column.is_empty() && !known(column));
    match unknown {
        None => Ok(columns),
        Some(unknown) => {
            let all: Vec<&str> = IDENTIFIERS
                .iter()
                .map(|(name, _)| *name)
                .chain(OTHERS.iter().copied())
                .collect();
            let told = CliError::invalid(format!("the file has an unknown column `{unknown}`"));
            Err(told.remedy(format!("name the columns among {}", all.join(", "))))
        }
    }
}

/// A line of the file.
struct Line<'a> {
    columns: &'a [String],
    row: &'a StringRecord,
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
                .map(audience)
                .transpose()?
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
                threat: common.threat(self.value("threat"))?,
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
        let from = self.time::<Timestamp>("from")?;
        let until = self.time::<End>("until")?.map(End::included);
        let window = drafting::window(from, until).map_err(told)?;
        IDENTIFIERS
            .iter()
            .filter_map(|(column, kind)| Some((*kind, self.value(column)?)))
            .map(|(kind, text)| selector(kind, text, window, strictness).map_err(told))
            .collect()
    }

    fn time<T: std::str::FromStr<Err = TimestampParseError>>(
        &self,
        column: &str,
    ) -> Result<Option<T>, String> {
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

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        marking: MarkingArgs,
    }

    fn list(text: &str) -> Result<List, String> {
        let flags = Flags::try_parse_from(["test"]).unwrap();
        let common = Common {
            threat: "narcotics",
            own_words: false,
            strictness: Strictness::CheckDigits,
            marking: &flags.marking,
        };
        let sheet = Sheet::read(text.as_bytes(), portcullis_sheets::Options::default());
        let sheet = sheet.map_err(|error| error.to_string())?;
        List::read(&sheet, &common).map_err(|error| match error {
            Unread::Sheet(error) => error.to_string(),
            Unread::Columns(error) => error.to_string(),
        })
    }

    #[track_caller]
    fn rejects(text: &str, lines: &[(u64, &str)]) {
        let list = list(text).unwrap();
        assert_eq!(list.rejected.len(), lines.len(), "{:?}", list.rejected);
        for (rejected, (line, why)) in list.rejected.iter().zip(lines) {
            assert_eq!(rejected.line, *line, "{rejected:?}");
            assert!(rejected.why.starts_with(why), "{rejected:?}");
        }
    }

    /// Newcomer A17: a mistyped threat was published, and nobody who looked for the right one found it.
    #[test]
    fn a_mistyped_threat_is_told_with_its_line() {
        rejects(
            "imo,threat\n9074729,Narcotics\n9074729,narcotcs\n2000004,two words\n",
            &[
                (3, "`narcotcs` is no threat"),
                (4, "`two words` is no word"),
            ],
        );
    }

    /// `a, b` was refused, and policy was asked for the first line's ports alone.
    #[test]
    fn ports_are_read_as_people_list_them_and_policy_is_asked_for_each_choice() {
        let list = list(
            "imo\taudience\tevaluation\n\
             9074729\tDEHAM, BEANR,\tB2\n\
             2000004\tDEHAM;BEANR\tB2\n\
             9074729\tPTLIS\tB2\n\
             9074729\t\tA1\n\
             2000004\t,\tA1\n",
        )
        .unwrap();
        let [.., nobody] = &list.rejected[..] else {
            panic!("{list:?}");
        };
        assert!(nobody.why.contains("names nobody"), "{nobody:?}");
        let both = ["DEHAM", "BEANR"];
        assert_eq!(list.drafts[0].audience, both);
        let counts: Vec<_> = alike(&list.drafts)
            .iter()
            .map(|alike| (alike.first.audience.len(), alike.count))
            .collect();
        assert_eq!(counts[0], (2, 2));
        assert_eq!(counts.last(), Some(&(0, 1)));
    }

    #[test]
    fn lines_become_drafts() {
        let list = list(
            "Container;FROM;until;Evaluation;source\n\
             CSQU3054383;2021-03-01;2021-03-31;B2;a worker\n\
             MSKU0000080;2021-03-01T08:00:00Z;2021-03-31T20:00:00+02:00;;\n",
        )
        .unwrap();
        let [first, second] = &list.drafts[..] else {
            panic!("{list:?}");
        };
        assert_eq!(first.evaluation.code, "B2");
        assert_eq!(first.source.as_deref(), Some("a worker"));
        assert_eq!(second.evaluation.code, "X4");
        assert_eq!(second.assessment.threat, "narcotics");
        let window = |draft: &DraftView| {
            let selector = draft.subject.as_ref().unwrap().selectors[0].clone();
            let window = selector.window.unwrap();
            (window.from, window.until)
        };
        // A bare day begins when it begins, and ends when it ends.
        let (from, until) = window(first);
        assert_eq!(from.parse::<Timestamp>(), "2021-03-01T00:00:00Z".parse());
        assert_eq!(
            until.parse::<Timestamp>(),
            "2021-03-31T23:59:59.999Z".parse()
        );
        let (from, until) = window(second);
        assert_eq!(from.parse::<Timestamp>(), "2021-03-01T08:00:00Z".parse());
        assert_eq!(until.parse::<Timestamp>(), "2021-03-31T18:00:00Z".parse());
    }

    /// Bugs 2, 13, 14: lines were counted as records, times lost, and a dry run passed what publishing
    /// refused.
    #[test]
    fn wrong_lines_are_told_one_by_one_with_the_line_of_the_file() {
        rejects(
            "container,from,until,title\n\
             CSQU3054384,2021-03-01,2021-03-31,\n\
             CSQU3054383,2021-03-01,2021-03-31,in order\n\
             \n\
             CSQU3054383,yesterday,2021-03-31,\n\
             CSQU3054383\n\
             CSQU3054383,2021-03-01,2021-03-31T20:00:00,\n\
             CSQU3054383,2021-03-01,2021-03-31,\"two\nlines\"\n\
             ,2021-03-01,2021-03-31,\n\
             CSQU3054383,2021-03-02,2021-03-01,\n\
             csqu 305438-3,2021-03-01,2021-03-31,in order\n",
            &[
                (2, "`CSQU3054384`"),
                (5, "`from`: `yesterday` is not a time"),
                (6, "1 values where the header has 4 columns"),
                (7, "`until`: `2021-03-31T20:00:00` has no time zone"),
                (8, "`title`"),
                (10, "it names no identifier"),
                (11, "the time window ends before it begins"),
                (12, "it says what line 3 says"),
            ],
        );
    }

    /// Bug 18: a code with an edition met fewer goods, and nobody was told.
    #[test]
    fn a_code_of_goods_with_an_edition_is_told_to_meet_fewer_goods() {
        let note = |text| crate::publish::edition_note(&list(text).unwrap().drafts);
        let told = note("hs\n440890\n293190@2022\n").unwrap();
        assert!(
            told.contains("`293190@2022` meets goods") && told.contains("`293190`"),
            "{told}"
        );
        assert_eq!(note("hs\n440890\n"), None);
        assert_eq!(note("imo\n9074729\n"), None);
    }

    #[test]
    fn what_is_rejected_is_written_so_that_it_can_be_imported_again() {
        let text = "container,from,until,text\n\
             CSQU3054384,2021-03-01,2021-03-31,\"a, \"\"b\"\"\"\n";
        let before = list(text).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rejected.csv");
        let comma = portcullis_sheets::Separator::Comma;
        let rejects = RejectsFile::take(&file).unwrap();
        rejects
            .write(&before.columns, &before.rejected, comma, "done")
            .unwrap();
        let written = std::fs::read_to_string(&file).unwrap();
        assert!(written.contains("# line 2: `CSQU3054384`"), "{written}");
        let again = list(&written).unwrap();
        assert_eq!(again.rejected[0].values, before.rejected[0].values);
        let corrected = list(&written.replace("4384", "4383")).unwrap();
        assert_eq!(corrected.drafts[0].assessment.text, "a, \"b\"");
        assert!(RejectsFile::take(&file).is_err());
    }

    #[test]
    fn unknown_and_repeated_columns_and_empty_files_are_refused() {
        for (text, says) in [
            ("", "the file is empty"),
            ("container,from,until\n", "a header and no rows"),
            (
                "container,colour\nCSQU3054383,red\n",
                "unknown column `colour`",
            ),
            ("imo,imo\n9074729,9074729\n", "the column `imo` twice"),
        ] {
            let error = list(text).unwrap_err();
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }
}

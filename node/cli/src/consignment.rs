//! `portcullis consignment import`: the authority's own cargo lines. They are never shared.

use std::{collections::BTreeMap, convert::Infallible, io, path::PathBuf, time::Duration};

use bytes::Bytes;
use portcullis_sheets::{Options, Separator, Sheet, SheetError};

use super::{
    Session,
    bar::Bar,
    error::CliError,
    live::block_on,
    output::{Page, View},
    sheet::{self, Rejected, RejectsFile, SheetArgs},
    signing::{ActRequest, SigningArgs, have_done},
};
use portcullis_admin_api::{
    act::Action,
    client::Client,
    v1::{
        consignment::ImportProgressView,
        score::{ImportedView, SkippedView},
    },
};

/// The mark before the fraction of a number.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum DecimalName {
    Point,
    Comma,
}

impl DecimalName {
    const fn name(self) -> &'static str {
        match self {
            Self::Point => "point",
            Self::Comma => "comma",
        }
    }
}

/// Import consignments from a list or manifest
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Import the authority's own consignments from a list or manifest as a spreadsheet saves it, plain or packed \
with gzip. They stay in this node and are never shared. Separator (comma, semicolon, tab) and encoding \
(UTF-8, UTF-16, Windows-1252) are found, and what was found is said.

History (`--history`) has a known outcome: it is counted into the risk profile and calibrates the \
score. Arriving ones are scored at once and again whenever something new is known. The columns are \
those of the node's schema, in any case and order; `portcullis schema show` explains each. Numbers may have \
decimal commas and thousands marks; one of two meanings, such as 1,234, is refused unless another number \
of its column or `--decimal` says which. If a line is wrong nothing is imported, and all wrong \
ones are told; with `--skip-invalid` the others are imported and the wrong ones written to a file. A \
consignment with a reference that is known replaces the one before, so an import that was cut short is \
simply run again.",
    after_long_help = "\
Examples:
  portcullis consignment import declarations-2020.csv.gz --history --key anna.key
  portcullis consignment import today.csv --skip-invalid rejected.csv --key anna.key"
)]
pub(super) struct ConsignmentImport {
    /// The file; `-` for standard input
    #[arg(value_name = "FILE.csv")]
    file: PathBuf,
    /// They are history: their outcome is known
    #[arg(long)]
    history: bool,
    /// Import the lines that are in order, and write the others with the reason into this new file
    #[arg(long, value_name = "REJECTED.csv")]
    skip_invalid: Option<PathBuf>,
    /// Take identifiers whose check digit is wrong, and mark them as unchecked
    #[arg(long)]
    accept_unchecked: bool,
    /// Which mark stands before the fraction of a number [default: what the numbers of each column say]
    #[arg(long, value_name = "MARK")]
    decimal: Option<DecimalName>,
    /// Give each sea consignment a container and a vessel made by a seeded rule: for demonstrations
    #[arg(long, value_name = "SEED")]
    generate: Option<u64>,
    #[command(flatten)]
    sheet: SheetArgs,
    #[command(flatten)]
    signing: SigningArgs,
}

impl ConsignmentImport {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let file = Bytes::from(sheet::bytes(&self.file)?);
        // The node divides it in the same way, and asks its schema besides.
        let sheet = sheet::open(&self.file, &file, self.sheet)?;
        let mut deed = ActRequest::new(Action::ImportConsignments, file);
        let stage = if self.history { "history" } else { "arriving" };
        let given = Options::from(self.sheet);
        let parameters = [
            Some(("stage", stage.to_owned())),
            self.generate.map(|seed| ("seed", seed.to_string())),
            given
                .separator
                .map(|separator| ("separator", separator.name().to_owned())),
            given
                .encoding
                .map(|encoding| ("encoding", encoding.name().to_owned())),
            self.skip_invalid
                .as_ref()
                .map(|_| ("wrong", "skip".to_owned())),
            self.accept_unchecked
                .then(|| ("unchecked", "accept".to_owned())),
            self.decimal.map(|mark| ("decimal", mark.name().to_owned())),
        ];
        for (name, value) in parameters.into_iter().flatten() {
            deed.parameters.insert(name.to_owned(), value);
        }
        let client = session.client()?;
        let key = self.signing.open()?;
        let rejects = self.skip_invalid.as_deref().map(RejectsFile::take);
        let rejects = rejects.transpose()?;
        let mut bar = Bar::new(session);
        let lines = sheet.reading().lines;
        let imported: Result<ImportedView, CliError> = block_on(async {
            tokio::select! {
                imported = have_done(&client, &key, deed) => imported,
                never = follow(&client, &mut bar, lines) => match never {},
            }
        });
        bar.end();
        let imported = imported?;
        let (Some(to), Some(rejects)) = (&self.skip_invalid, rejects) else {
            return session.output.show(&imported);
        };
        if !imported.skipped.is_empty() {
            let (columns, lines) = rejected(&sheet, &imported.skipped)
                .map_err(|error| sheet::refused(&self.file, &error))?;
            // A comma that separates says that numbers have points, and a person said which mark they have.
            let separator = match self.decimal {
                None => sheet.reading().separator,
                Some(_) => Separator::Semicolon,
            };
            let done = format!("{} consignments were imported", imported.consignments);
            rejects.write(&columns, &lines, separator, &done)?;
            session.output.note(&sheet::rejected_note(&lines, to));
        }
        session.output.show(&imported)
    }
}

/// Pause between two looks at the progress of an import.
const LOOK: Duration = Duration::from_millis(500);

/// Shows how far the import under way is, until it is dropped. What cannot be asked is not shown.
async fn follow(client: &Client, bar: &mut Bar, lines: u64) -> Infallible {
    loop {
        tokio::time::sleep(LOOK).await;
        let progress: Result<ImportProgressView, _> = client.get("/v1/imports/progress").await;
        match progress {
            Ok(progress) if progress.written == 0 => bar.at("checking", progress.checked, lines),
            Ok(progress) => bar.at("writing", progress.written, progress.checked),
            Err(_) => {}
        }
    }
}

/// Returns the columns of a sheet, and those of its lines that the node left out.
fn rejected(
    sheet: &Sheet,
    skipped: &[SkippedView],
) -> Result<(Vec<String>, Vec<Rejected>), SheetError> {
    let mut rows = sheet.rows()?;
    let columns = rows.columns().to_vec();
    let why: BTreeMap<u64, &str> = skipped
        .iter()
        .map(|one| (one.line, one.why.as_str()))
        .collect();
    let mut rejected = Vec::new();
    loop {
        let line = match rows.next_row() {
            Ok(None) => return Ok((columns, rejected)),
            Ok(Some(row)) => row.line,
            Err(error) if error.line == 0 => return Err(error),
            Err(error) => error.line,
        };
        rejected.extend(why.get(&line).map(|why| Rejected {
            line,
            why: (*why).to_owned(),
            values: rows.values(),
        }));
    }
}

impl View for ImportedView {
    const SCHEMA: &'static str = "portcullis/imported/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.line(format!("imported {} consignments", self.consignments))?;
        if !self.read_as.is_empty() {
            page.line(format!("  read as: {}", self.read_as))?;
        }
        if self.controlled > 0 {
            page.line(format!("  {} with a known control", self.controlled))?;
        }
        if self.generated > 0 {
            page.line(format!("  {} generated identifiers", self.generated))?;
        }
        if self.unchecked > 0 {
            page.line(format!(
                "  {} identifiers with a wrong check digit, marked as unchecked",
                self.unchecked
            ))?;
        }
        if self.replaced > 0 {
            page.line(format!("  {} of them replace earlier ones", self.replaced))?;
        }
        if self.closed > 0 {
            page.line(format!(
                "  {} left as they are: a person closed them",
                self.closed
            ))?;
        }
        if !self.skipped.is_empty() {
            page.line(format!("  {} lines left out", self.skipped.len()))?;
        }
        Ok(())
    }
}

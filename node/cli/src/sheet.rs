//! Files that people's spreadsheets saved, as commands take them: their bytes, how they are to be read,
//! what was found, and the lines that are rejected.

use std::{fs, io::Read as _, path::Path};

use portcullis_home::files::{self, Access};
use portcullis_sheets::{Encoding, Options, Separator, Sheet, SheetError};

use super::error::CliError;

/// Number of wrong lines that an error tells.
const TOLD: usize = 20;

/// How to read the file, if what is found is wrong.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = "How to read the file (found by itself)")]
pub(super) struct SheetArgs {
    /// What stands between the values
    #[arg(long, value_name = "NAME")]
    separator: Option<SeparatorName>,
    /// How the text is encoded
    #[arg(long, value_name = "NAME")]
    encoding: Option<EncodingName>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum SeparatorName {
    Comma,
    Semicolon,
    Tab,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum EncodingName {
    #[value(name = "utf-8")]
    Utf8,
    #[value(name = "utf-16le")]
    Utf16Le,
    #[value(name = "utf-16be")]
    Utf16Be,
    #[value(name = "windows-1252")]
    Windows1252,
}

impl From<SheetArgs> for Options {
    fn from(args: SheetArgs) -> Self {
        Self {
            separator: args.separator.map(|name| match name {
                SeparatorName::Comma => Separator::Comma,
                SeparatorName::Semicolon => Separator::Semicolon,
                SeparatorName::Tab => Separator::Tab,
            }),
            encoding: args.encoding.map(|name| match name {
                EncodingName::Utf8 => Encoding::Utf8,
                EncodingName::Utf16Le => Encoding::Utf16Le,
                EncodingName::Utf16Be => Encoding::Utf16Be,
                EncodingName::Windows1252 => Encoding::Windows1252,
            }),
        }
    }
}

/// Returns the name of a file as people read it.
pub(super) fn name(file: &Path) -> String {
    if is_standard_input(file) {
        "standard input".to_owned()
    } else {
        format!("`{}`", file.display())
    }
}

fn is_standard_input(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// Returns the bytes of a file; `-` is standard input.
///
/// # Errors
///
/// [`CliError`] with exit code 3 if the file cannot be read.
pub(super) fn bytes(file: &Path) -> Result<Vec<u8>, CliError> {
    let read = if is_standard_input(file) {
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .map(|_| bytes)
    } else {
        fs::read(file)
    };
    read.map_err(|error| {
        CliError::invalid(format!("{} cannot be read", name(file)))
            .because(&error)
            .remedy("name a CSV file, or `-` for standard input")
    })
}

/// Returns the error of a file as a whole.
pub(super) fn refused(file: &Path, error: &SheetError) -> CliError {
    let told = CliError::invalid(format!("{}: {error}", name(file)));
    told.remedy(error.remedy())
}

/// Reads a file's bytes as a sheet.
///
/// # Errors
///
/// [`CliError`] with exit code 3 names line and column.
pub(super) fn open(file: &Path, bytes: &[u8], args: SheetArgs) -> Result<Sheet, CliError> {
    Sheet::read(bytes, args.into()).map_err(|error| refused(file, &error))
}

/// A line that is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rejected {
    /// Its number in the file.
    pub(super) line: u64,
    /// The fault, and what to do.
    pub(super) why: String,
    /// Its values; empty if it could not be divided into columns.
    pub(super) values: Vec<String>,
}

/// Returns the error that lists rejected lines, of which nothing was taken.
pub(super) fn wrong_lines(file: &Path, rejected: &[Rejected], outcome: &str) -> CliError {
    let mut causes: Vec<String> = rejected
        .iter()
        .take(TOLD)
        .map(|one| format!("line {}: {}", one.line, one.why))
        .collect();
    let count = rejected.len();
    if count > TOLD {
        causes.push(format!("and {} more", count.saturating_sub(TOLD)));
    }
    let noun = if count == 1 { "line is" } else { "lines are" };
    let told = CliError::invalid(format!("{count} {noun} wrong in {}; {outcome}", name(file)));
    CliError { causes, ..told }.remedy(
        "correct the file and import it again, or take the others with `--skip-invalid REJECTED.csv`",
    )
}

/// Writes rejected lines into a new file: the header, then each line below a comment that says what is
/// wrong with it. Once corrected it can be imported as it is, for comments are left out.
///
/// # Errors
///
/// [`CliError`] if the file is there already or cannot be written.
pub(super) fn write_rejected(
    to: &Path,
    columns: &[String],
    rejected: &[Rejected],
) -> Result<(), CliError> {
    let mut text = row(columns)?;
    for one in rejected {
        let why = one.why.replace(['\r', '\n'], " ");
        text.push_str(&format!("# line {}: {why}\n", one.line));
        text.push_str(&row(&one.values)?);
    }
    files::create(to, text.as_bytes(), Access::Owner)?;
    Ok(())
}

/// Returns values as a line of a CSV file.
fn row(values: &[String]) -> Result<String, CliError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let failed = |error: &dyn std::error::Error| {
        CliError::failed("the rejected lines cannot be written").because(error)
    };
    writer
        .write_record(values)
        .map_err(|error| failed(&error))?;
    let bytes = writer.into_inner().map_err(|error| failed(&error))?;
    String::from_utf8(bytes).map_err(|error| failed(&error))
}

//! Files that people's spreadsheets saved, as commands take them: their bytes, how they are to be read,
//! what was found, and the lines that are rejected.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

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
    let (causes, count) = (told_lines(rejected), rejected.len());
    let noun = if count == 1 { "line is" } else { "lines are" };
    let told = CliError::invalid(format!("{count} {noun} wrong in {}; {outcome}", name(file)));
    CliError { causes, ..told }.remedy(
        "correct the file and import it again, or take the others with `--skip-invalid REJECTED.csv`",
    )
}

/// A new file for the lines that are rejected. It is taken before the work begins, so that no work is done
/// whose rejected lines have no place; where nothing is written into it, it is removed again.
#[derive(Debug)]
pub(super) struct RejectsFile<'p> {
    path: &'p Path,
    file: fs::File,
    is_written: bool,
}

impl<'p> RejectsFile<'p> {
    /// Takes the file. An empty one is left of a command that was ended, and is taken over.
    ///
    /// # Errors
    ///
    /// [`CliError`] if it holds something, or cannot be made.
    pub(super) fn take(path: &'p Path) -> Result<Self, CliError> {
        let is_left_behind =
            fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() == 0);
        let opened = fs::OpenOptions::new()
            .write(true)
            .create_new(!is_left_behind)
            .mode(0o600)
            .open(path);
        let file = opened.map_err(|error| {
            let told = CliError::invalid(format!("`{}` cannot be made", path.display()));
            told.because(&error).remedy(
                "name a file that does not exist yet, in a folder that you may write to, for the rejected lines",
            )
        })?;
        Ok(Self {
            path,
            file,
            is_written: false,
        })
    }

    /// Writes rejected lines: the header, then each line below a comment that says what is wrong with it.
    /// Once corrected it can be imported as it is, for comments are left out.
    ///
    /// Numbers mean there what they mean in the file that the lines are of, or one of two meanings is
    /// refused: the same character separates, and if `decimal` was given, one that says nothing of numbers.
    ///
    /// # Errors
    ///
    /// [`CliError`] tells the lines if they cannot be written. The rest is done: `done` says so.
    pub(super) fn write(
        mut self,
        columns: &[String],
        rejected: &[Rejected],
        separator: Separator,
        done: &str,
    ) -> Result<(), CliError> {
        let written = text_of(columns, rejected, separator).and_then(|text| {
            self.file.write_all(text.as_bytes())?;
            self.file.sync_all()
        });
        match written {
            Ok(()) => {
                self.is_written = true;
                Ok(())
            }
            Err(error) => {
                let path = self.path.display();
                let told = CliError::failed(format!(
                    "{done}; the {} rejected lines cannot be written to `{path}`",
                    rejected.len()
                ));
                let mut causes = vec![error.to_string()];
                causes.extend(told_lines(rejected));
                Err(CliError { causes, ..told }
                    .remedy("correct these lines, and import them alone"))
            }
        }
    }
}

impl Drop for RejectsFile<'_> {
    fn drop(&mut self) {
        if !self.is_written
            && let Err(error) = fs::remove_file(self.path)
        {
            tracing::debug!(%error, "the empty file of rejected lines stays");
        }
    }
}

/// Returns what a note says of rejected lines that were written.
pub(super) fn rejected_note(rejected: &[Rejected], to: &Path) -> String {
    let formulas = rejected.iter().flat_map(|one| &one.values);
    let warning = if formulas.clone().any(|value| begins_a_formula(value)) {
        "; some values begin like formulas: have a spreadsheet take them as text"
    } else {
        ""
    };
    format!(
        "{} lines were rejected; they stand with the reasons in `{}`{warning}",
        rejected.len(),
        to.display()
    )
}

/// Returns whether a spreadsheet that opens a value may compute something. Numbers have signs as well.
fn begins_a_formula(value: &str) -> bool {
    let is_number = value
        .chars()
        .skip(1)
        .all(|one| one.is_ascii_digit() || ".,".contains(one));
    value.starts_with(['=', '@']) || (value.starts_with(['+', '-']) && !is_number)
}

fn told_lines(rejected: &[Rejected]) -> Vec<String> {
    let mut lines: Vec<String> = rejected
        .iter()
        .take(TOLD)
        .map(|one| format!("line {}: {}", one.line, one.why))
        .collect();
    let count = rejected.len();
    if count > TOLD {
        lines.push(format!("and {} more", count.saturating_sub(TOLD)));
    }
    lines
}

/// Returns the text of a file with rejected lines.
fn text_of(
    columns: &[String],
    rejected: &[Rejected],
    separator: Separator,
) -> std::io::Result<String> {
    let mut text = row(columns, separator)?;
    for one in rejected {
        let why = one.why.replace(['\r', '\n'], " ");
        text.push_str(&format!("# line {}: {why}\n", one.line));
        text.push_str(&row(&one.values, separator)?);
    }
    Ok(text)
}

/// Returns values as a line of a CSV file. A first value that begins like a comment is quoted.
fn row(values: &[String], separator: Separator) -> std::io::Result<String> {
    let mut writer = csv::WriterBuilder::new()
        .delimiter(separator.byte())
        .comment(Some(b'#'))
        .from_writer(Vec::new());
    writer.write_record(values)?;
    let bytes = writer
        .into_inner()
        .map_err(|error| std::io::Error::other(error.to_string()))?;
    String::from_utf8(bytes).map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(values: &[&str]) -> Rejected {
        Rejected {
            line: 7,
            why: "of two\nmeanings".to_owned(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        }
    }

    /// A file with semicolons was written with commas, and `1.234`, which was refused for its two meanings,
    /// was then taken as the smaller one. A reference `#7` was a comment when it came back.
    #[test]
    fn rejected_lines_read_as_they_did_in_their_file() {
        let columns = ["Reference", "Weight"].map(str::to_owned);
        for separator in Separator::ALL {
            let lines = [
                rejected(&["#7", "1.234"]),
                rejected(&["a;b,c\t\"d\"", "12,5"]),
                rejected(&["", "1"]),
            ];
            let text = text_of(&columns, &lines, separator).unwrap();
            let sheet = Sheet::read(text.as_bytes(), Options::default()).unwrap();
            assert_eq!(sheet.reading().separator, separator);
            assert_eq!(sheet.reading().comments, 3);
            let mut rows = sheet.rows().unwrap();
            assert_eq!(rows.columns(), columns);
            for line in &lines {
                let row = rows.next_row().unwrap().unwrap();
                let values: Vec<_> = row.values.iter().collect();
                assert_eq!(values, line.values);
            }
            assert!(rows.next_row().unwrap().is_none());
        }
    }

    /// An import was done, and its rejected lines had no place.
    #[test]
    fn the_file_for_rejected_lines_is_taken_first_and_leaves_no_trace_unused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rejected.csv");
        drop(RejectsFile::take(&path).unwrap());
        assert!(!path.exists());
        // What a command that was killed left behind does not keep the next one from its work.
        fs::write(&path, "").unwrap();
        let file = RejectsFile::take(&path).unwrap();
        let columns = ["Reference".to_owned()];
        let lines = [rejected(&["1"])];
        file.write(&columns, &lines, Separator::Comma, "1 was imported")
            .unwrap();
        assert!(
            fs::read_to_string(&path)
                .unwrap()
                .contains("# line 7: of two meanings")
        );
        assert!(RejectsFile::take(&path).is_err());
        assert!(RejectsFile::take(&folder.path().join("none/rejected.csv")).is_err());
    }

    #[test]
    fn values_that_a_spreadsheet_computes_are_told() {
        for value in ["=HYPERLINK(1)", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3"] {
            assert!(begins_a_formula(value), "{value}");
        }
        for value in ["-12,5", "+31", "12", "", "a=b"] {
            assert!(!begins_a_formula(value), "{value}");
        }
    }
}

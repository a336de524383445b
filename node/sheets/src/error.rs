//! Errors of a file, each with its line, its column and a remedy.

use std::fmt;

use crate::{Encoding, MOST_BYTES, MOST_CHARACTERS};

/// Fault of a file, which is then not read at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{fault}", Place(*line, column.as_deref()))]
pub struct SheetError {
    /// Line of the file, counted from 1; 0 if the fault is that of the whole file.
    pub line: u64,
    /// Name of the column, or its number, if the fault is within a value.
    pub column: Option<String>,
    /// The fault.
    pub fault: Fault,
}

impl SheetError {
    pub(crate) const fn file(fault: Fault) -> Self {
        Self {
            line: 0,
            column: None,
            fault,
        }
    }

    pub(crate) const fn at(line: u64, fault: Fault) -> Self {
        Self {
            line,
            column: None,
            fault,
        }
    }

    pub(crate) const fn within(line: u64, column: String, fault: Fault) -> Self {
        Self {
            line,
            column: Some(column),
            fault,
        }
    }

    /// Returns what a person should do.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        self.fault.remedy()
    }
}

/// Place of a fault as a person reads it.
struct Place<'a>(u64, Option<&'a str>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (0, _) => Ok(()),
            (line, None) => write!(to, "line {line}: "),
            (line, Some(column)) => write!(to, "line {line}, column `{column}`: "),
        }
    }
}

/// Kind of a fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nothing is in the file.
    #[error("the file is empty")]
    Empty,
    /// A header stands alone.
    #[error("the file has a header and no rows")]
    NoRows,
    /// The file is no text but something known.
    #[error("this is {0} and no CSV file")]
    Other(&'static str),
    /// The packed file ends too early or is damaged.
    #[error("the packed file is cut or damaged")]
    Packed,
    /// The file is larger than what is read.
    #[error("the file has more than {} MiB", MOST_BYTES >> 20)]
    TooLarge,
    /// The bytes are none of the encoding that was given or found.
    #[error("this is no {0} text")]
    Encoding(Encoding),
    /// A quote opens a value and none closes it.
    #[error("the quote that begins here never ends")]
    UnclosedQuote,
    /// Text stands between a closing quote and the next separator.
    #[error("text follows the closing quote of a value")]
    AfterQuote,
    /// A blank stands before an opening quote.
    #[error("a blank stands before the quote at the beginning of a value")]
    BlankBeforeQuote,
    /// A character that no text has.
    #[error("it has a control character, U+{0:04X}")]
    Control(u32),
    /// A value is longer than what is read.
    #[error("it has over {MOST_CHARACTERS} characters")]
    TooLong,
    /// A row has more or fewer values than the header has columns.
    #[error("{found} values where the header has {columns} columns")]
    Width {
        /// Number of values in the row.
        found: usize,
        /// Number of columns in the header.
        columns: usize,
    },
    /// A name stands in the header twice.
    #[error("the header has the column `{0}` twice")]
    Twice(String),
    /// A value stands in a column without a name.
    #[error("a value stands in a column that has no name")]
    Unnamed,
    /// The csv reader refuses it for another reason.
    #[error("it cannot be divided into values")]
    Undivided,
}

impl Fault {
    const fn remedy(&self) -> &'static str {
        match self {
            Self::Empty | Self::NoRows => "write a header line and at least one line below it",
            Self::Other(_) => "save the sheet as CSV, UTF-8, and give that file",
            Self::Packed => "pack it again, or give it unpacked",
            Self::TooLarge => "split the file",
            Self::Encoding(_) => "save it as UTF-8, or say what it is with `--encoding`",
            Self::UnclosedQuote => {
                "close the quote, or write `\"\"` for a quote within a value; every line below would be lost in it"
            }
            Self::AfterQuote => {
                "put the quotes around the whole value, and write `\"\"` for one within it"
            }
            Self::BlankBeforeQuote => "remove the blank",
            Self::Control(_) => "remove the character",
            Self::TooLong => "shorten the value; look for a missing quote or line end",
            Self::Width { .. } => "look for a missing quote or separator in the line",
            Self::Twice(_) => "remove one of them",
            Self::Unnamed => "name the column in the header, or empty it",
            Self::Undivided => "look for a missing quote or separator",
        }
    }
}

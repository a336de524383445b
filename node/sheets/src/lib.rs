//! Reader of lists and manifests as people's spreadsheets save them: one for every CSV file that the
//! product takes.
//!
//! ```text
//! bytes ── unpack (gzip) ── decode (encoding) ── check (quotes, control characters) ── rows
//!             │                  │                      │
//!             └── what was found stands in [`Reading`] ─┘
//! ```
//!
//! Separator, encoding and line ends are found, and what was found can be told; what is given overrules
//! it. A line `sep=;` before the header is heeded. Blank lines, lines of separators alone, and lines that
//! begin with `#` are left out and counted. Every error names the line of the *file* (line breaks within
//! quotes and lines left out count) and the column.
//!
//! The csv crate divides the rows. It forgives what would lose data without a word: a quote that never
//! ends takes the rest of the file into one field, text after a closing quote is joined to it.
//! The module `quotes` looks at the whole text first, and nothing is given out of a file that has such a fault.

mod encoding;
mod error;
mod quotes;
mod rows;
mod unpacking;

use std::{fmt, ops::Range};

pub use encoding::Encoding;
pub use error::{Fault, SheetError};
pub use rows::{Row, Rows};

/// Most characters of one value: twice what a spreadsheet's cell can hold.
pub const MOST_CHARACTERS: usize = 65_536;

/// Most bytes of an unpacked file: some five million rows. A packed one could hold a thousand times its size,
/// and a node must go on that has one GiB.
pub const MOST_BYTES: usize = 512 << 20;

/// Character between the values of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Separator {
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// The tabulator.
    Tab,
}

impl Separator {
    /// Every separator, in the order in which they are preferred.
    pub const ALL: [Self; 3] = [Self::Comma, Self::Semicolon, Self::Tab];

    /// Returns the character.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
        }
    }

    /// Returns the name under which a person gives or reads it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Comma => "comma",
            Self::Semicolon => "semicolon",
            Self::Tab => "tab",
        }
    }

    /// Returns the separator that a header line has most of. A line that has none has one column.
    fn of_header(line: &str) -> Self {
        let outside = quotes::outside(line);
        let count = |separator: Self| {
            outside
                .bytes()
                .filter(|byte| *byte == separator.byte())
                .count()
        };
        let mut found = Self::Comma;
        for separator in Self::ALL {
            if count(separator) > count(found) {
                found = separator;
            }
        }
        found
    }
}

/// Instructions that overrule what is found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// The separator, if it is given.
    pub separator: Option<Separator>,
    /// The encoding, if it is given.
    pub encoding: Option<Encoding>,
}

/// Properties with which a file was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Separator of the values.
    pub separator: Separator,
    /// Encoding of the text.
    pub encoding: Encoding,
    /// True if the file was packed with gzip.
    pub is_packed: bool,
    /// Number of the file's lines, all of them.
    pub lines: u64,
    /// Number of lines that begin with `#` and were left out.
    pub comments: u64,
}

impl fmt::Display for Reading {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_packed {
            to.write_str("gzip, ")?;
        }
        let ending = if self.lines == 1 { "" } else { "s" };
        let (separator, encoding) = (self.separator.name(), self.encoding);
        write!(to, "{separator}, {encoding}, {} line{ending}", self.lines)?;
        match self.comments {
            0 => Ok(()),
            1 => to.write_str(", 1 comment left out"),
            comments => write!(to, ", {comments} comments left out"),
        }
    }
}

/// A file whose text is in order.
#[derive(Debug)]
pub struct Sheet {
    text: String,
    /// Place in the text of the first line after a `sep=` line.
    begin: usize,
    reading: Reading,
}

impl Sheet {
    /// Reads the bytes of a file.
    ///
    /// # Errors
    ///
    /// [`SheetError`] if the file is packed and cut, is no text, or cannot be divided without losing
    /// something.
    pub fn read(bytes: &[u8], options: Options) -> Result<Self, SheetError> {
        let (unpacked, is_packed) = unpacking::unpack(bytes)?;
        let (text, encoding) = unpacking::decode(unpacked, options.encoding)?;
        let (said, begin) = separator_line(&text);
        let (head, rest) = text.split_at_checked(begin).unwrap_or((&text, ""));
        let header = rest.split(['\r', '\n']).find(|line| !is_left_out(line));
        let separator = options
            .separator
            .or(said)
            .unwrap_or_else(|| Separator::of_header(header.unwrap_or_default()));
        let first_line = if begin == 0 { 1 } else { 2 };
        let lines = quotes::check(rest, separator, first_line)?;
        let reading = Reading {
            separator,
            encoding,
            is_packed,
            lines: lines.all,
            comments: u64::try_from(lines.comments.len()).unwrap_or(u64::MAX),
        };
        let from = head.len();
        let text = without(text, from, &lines.comments);
        Ok(Self {
            text,
            begin,
            reading,
        })
    }

    /// Returns how the file was read.
    #[must_use]
    pub const fn reading(&self) -> Reading {
        self.reading
    }

    /// Divides the text into its header and its rows.
    ///
    /// # Errors
    ///
    /// [`SheetError`] if there is no header, or if a name stands in it twice.
    pub fn rows(&self) -> Result<Rows<'_>, SheetError> {
        let text = self.text.get(self.begin..).unwrap_or_default();
        let first_line = if self.begin == 0 { 1 } else { 2 };
        Rows::of(text, self.reading.separator, first_line)
    }
}

/// Returns the text with blanks in the place of its comments, whose ranges count from `from`, so that all else
/// keeps its place.
fn without(text: String, from: usize, comments: &[Range<usize>]) -> String {
    if comments.is_empty() {
        return text;
    }
    let mut bytes = text.into_bytes();
    for comment in comments {
        let range = from.saturating_add(comment.start)..from.saturating_add(comment.end);
        if let Some(comment) = bytes.get_mut(range) {
            comment.fill(b' ');
        }
    }
    // Comments are whole lines, so that no character is cut.
    String::from_utf8(bytes).unwrap_or_default()
}

/// Returns whether a line has nothing to read: blank, separators alone, or a comment.
fn is_left_out(line: &str) -> bool {
    let line = line.trim();
    line.starts_with('#') || line.chars().all(|character| matches!(character, ',' | ';'))
}

/// Returns what a first line `sep=;` says, as spreadsheets write it, and where the next line begins.
fn separator_line(text: &str) -> (Option<Separator>, usize) {
    let end = text.find(['\r', '\n']).unwrap_or(text.len());
    let line = text.get(..end).unwrap_or_default();
    let bare = line.trim_matches(['"', ' ']);
    let said = match bare.get(..4) {
        Some(sep) if sep.eq_ignore_ascii_case("sep=") => bare.get(4..).unwrap_or_default(),
        _ => return (None, 0),
    };
    let separator = Separator::ALL
        .into_iter()
        .find(|separator| said.as_bytes() == [separator.byte()]);
    let ending = if text.get(end..).is_some_and(|rest| rest.starts_with("\r\n")) {
        2
    } else {
        1
    };
    match separator {
        Some(_) => (separator, text.len().min(end.saturating_add(ending))),
        None => (None, 0),
    }
}

#[cfg(test)]
mod tests;

//! Output of commands: pages for people, JSON for programs.
//!
//! A command hands over a [`View`]: a struct of its own that has a named version of its JSON form
//! and can write itself as a page. Domain types are never printed directly. Standard output holds
//! only the answer; errors and progress go to standard error.
//!
//! Pages, errors and JSON repeat text that others wrote. Control characters, characters that change
//! the direction of writing and characters that show nothing are therefore escaped in all of them. No
//! record can then move the cursor, colour itself, or read otherwise than it is.

use std::io::{self, IsTerminal as _, Write};

use comfy_table::{CellAlignment, ContentArrangement, Table as Grid, TableStyle};
use portcullis_protocol::characters;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::Serialize;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use super::error::CliError;

/// Use of colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Colour {
    /// At a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Answer of a command.
pub trait View: Serialize {
    /// The name and version of its JSON form, for instance `portcullis/check/v1`.
    const SCHEMA: &'static str;

    /// Writes the answer for a person.
    ///
    /// # Errors
    ///
    /// Only an error of the page itself.
    fn page(&self, page: &mut Page) -> io::Result<()>;
}

/// Kind of answer: the name and version of its JSON form, and that form as a JSON Schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Kind {
    /// Name and version.
    pub name: &'static str,
    /// JSON Schema (draft 2020-12), with the envelope.
    pub schema: Value,
}

impl Kind {
    /// Returns the kind of a command's answer.
    #[must_use]
    pub fn of<V: View + JsonSchema>() -> Self {
        Self::named::<V>(V::SCHEMA)
    }

    /// Returns the kind of a form that is no command's answer.
    pub(super) fn named<T: JsonSchema>(name: &'static str) -> Self {
        let mut schema = SchemaSettings::draft2020_12()
            .for_serialize()
            .into_generator()
            .into_root_schema_for::<T>();
        schema.insert("title".to_owned(), name.into());
        let object = schema.ensure_object();
        let envelope = json!({ "const": name, "description": "Name and version of this form." });
        let properties = object.entry("properties").or_insert_with(|| json!({}));
        if let Some(properties) = properties.as_object_mut() {
            properties.insert("schema".to_owned(), envelope);
        }
        let required = object.entry("required").or_insert_with(|| json!([]));
        if let Some(required) = required.as_array_mut()
            && !required.contains(&"schema".into())
        {
            required.insert(0, "schema".into());
        }
        Self {
            name,
            schema: schema.to_value(),
        }
    }

    /// Returns the name of the file in which the manual has the schema: that of `portcullis/check/v1` is
    /// `check.v1.json`.
    #[must_use]
    pub fn file(&self) -> String {
        let name = self
            .name
            .split_once('/')
            .map_or(self.name, |(_, name)| name);
        format!("{}.json", name.replace('/', "."))
    }
}

#[derive(Serialize)]
struct Versioned<'a, V> {
    schema: &'static str,
    #[serde(flatten)]
    view: &'a V,
}

/// Destination and form of a command's output.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
    ink: Ink,
    error_ink: Ink,
    /// Columns of the terminal; `None` if the answer goes elsewhere, and nothing has to give way.
    width: Option<usize>,
}

impl Output {
    /// Finds out whether standard output and standard error are terminals.
    #[must_use]
    pub fn new(json: bool, colour: Colour) -> Self {
        Self {
            json,
            ink: Ink::for_stream(colour, io::stdout().is_terminal()),
            error_ink: Ink::for_stream(colour, io::stderr().is_terminal()),
            width: terminal_size::terminal_size_of(io::stdout())
                .map(|(terminal_size::Width(width), _)| usize::from(width)),
        }
    }

    /// Returns true if the answer is printed as JSON.
    #[must_use]
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// Prints the answer.
    ///
    /// # Errors
    ///
    /// [`CliError`] if the answer cannot be written. A reader that has closed the pipe is not an
    /// error.
    pub fn show<V: View>(&self, view: &V) -> Result<(), CliError> {
        self.write(view, |bytes, versioned| {
            serde_json::to_writer_pretty(bytes, versioned)
        })
    }

    /// Prints one answer of a stream of answers. With `--json` it is one line.
    ///
    /// # Errors
    ///
    /// As [`Self::show`].
    pub fn show_line<V: View>(&self, view: &V) -> Result<(), CliError> {
        self.write(view, |bytes, versioned| {
            serde_json::to_writer(bytes, versioned)
        })
    }

    fn write<'v, V: View>(
        &self,
        view: &'v V,
        json: impl FnOnce(&mut Vec<u8>, &Versioned<'v, V>) -> serde_json::Result<()>,
    ) -> Result<(), CliError> {
        let mut page = Page {
            text: Vec::new(),
            ink: self.ink,
            width: self.width,
        };
        let written = if self.json {
            let versioned = Versioned {
                schema: V::SCHEMA,
                view,
            };
            let mut bytes = Vec::new();
            json(&mut bytes, &versioned)
                .map_err(io::Error::from)
                .and_then(|()| String::from_utf8(bytes).map_err(io::Error::other))
                .and_then(|json| writeln!(page.text, "{}", escaped_json(&json)))
        } else {
            view.page(&mut page)
        };
        written.map_err(|error| unwritable(&error))?;
        self.raw(&page.text)
    }

    /// Prints bytes as they are: a completion script, a manual page.
    ///
    /// # Errors
    ///
    /// As [`Self::show`].
    pub fn raw(&self, bytes: &[u8]) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritable(&error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Prints an error on standard error. If that fails too, it is not reported anywhere.
    pub fn complain(&self, error: &CliError) {
        let text = if self.json {
            serde_json::to_string(&error.view()).map(|json| format!("{}\n", escaped_json(&json)))
        } else {
            Ok(self.error_ink.error(&harmless_lines(&error.human())))
        };
        let text = text.unwrap_or_else(|_| harmless_lines(&error.human()));
        if io::stderr().lock().write_all(text.as_bytes()).is_err() {
            tracing::debug!("standard error is closed");
        }
    }

    /// Prints a note for a person beside the answer. With `--json` nothing is printed.
    pub fn note(&self, text: &str) {
        if self.json {
            return;
        }
        if writeln!(io::stderr().lock(), "note: {}", harmless(text)).is_err() {
            tracing::debug!("standard error is closed");
        }
    }
}

fn unwritable(error: &io::Error) -> CliError {
    CliError::failed("the answer cannot be written").because(error)
}

/// Choice of escape codes for colours, or of plain text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ink {
    Plain,
    Ansi,
}

impl Ink {
    fn for_stream(colour: Colour, terminal: bool) -> Self {
        let no_colour = || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        match colour {
            Colour::Always => Self::Ansi,
            Colour::Auto if terminal && !no_colour() => Self::Ansi,
            Colour::Auto | Colour::Never => Self::Plain,
        }
    }

    fn bold(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Ansi => format!("\u{1b}[1m{text}\u{1b}[0m"),
        }
    }

    fn error(self, text: &str) -> String {
        match (self, text.strip_prefix("error:")) {
            (Self::Ansi, Some(rest)) => format!("\u{1b}[1;31merror:\u{1b}[0m{rest}"),
            (Self::Ansi | Self::Plain, _) => text.to_owned(),
        }
    }
}

/// A page for a person, line by line.
#[derive(Debug)]
pub struct Page {
    text: Vec<u8>,
    ink: Ink,
    width: Option<usize>,
}

impl Page {
    /// Writes one line.
    ///
    /// # Errors
    ///
    /// None in practice: the page is in memory.
    pub fn line(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        writeln!(self.text, "{}", harmless(text.as_ref()))
    }

    /// Writes a heading, after an empty line unless the page begins with it.
    ///
    /// # Errors
    ///
    /// As [`Self::line`].
    pub fn heading(&mut self, text: &str) -> io::Result<()> {
        if !self.text.is_empty() {
            self.line("")?;
        }
        self.bold(text)
    }

    fn bold(&mut self, text: &str) -> io::Result<()> {
        let bold = self.ink.bold(&harmless(text));
        writeln!(self.text, "{bold}")
    }

    /// Writes pairs of a name and a value, with the values aligned. The further lines of a value
    /// stay in its column.
    ///
    /// # Errors
    ///
    /// As [`Self::line`].
    pub fn pairs<N: AsRef<str>>(&mut self, pairs: &[(N, String)]) -> io::Result<()> {
        let width = pairs
            .iter()
            .map(|(name, _)| name.as_ref().chars().count())
            .max()
            .unwrap_or(0);
        for (name, value) in pairs {
            let mut label = name.as_ref();
            if value.is_empty() {
                self.line(format!("  {label}"))?;
            }
            for line in value.lines() {
                self.line(format!("  {label:width$}  {line}").trim_end())?;
                label = "";
            }
        }
        Ok(())
    }

    /// Writes a table.
    ///
    /// # Errors
    ///
    /// As [`Self::line`].
    pub fn table(&mut self, table: &Table) -> io::Result<()> {
        for (number, line) in table.lines(self.width).enumerate() {
            if number == 0 {
                self.bold(&line)?;
            } else {
                self.line(line)?;
            }
        }
        Ok(())
    }
}

/// Title and alignment of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Text, aligned left.
    Text(&'static str),
    /// Numbers, aligned right.
    Number(&'static str),
}

impl Column {
    const fn name(self) -> &'static str {
        match self {
            Self::Text(name) | Self::Number(name) => name,
        }
    }
}

/// Fewest characters to which a column of words is narrowed before another column gives way.
const NARROW: usize = 20;

/// Spaces between columns.
const GAP: usize = 2;

/// A table with a header and rows. Columns are two spaces apart and there are no rules, so `awk`
/// can read it too.
///
/// At a terminal that is too narrow, columns of words are wrapped between words, and columns that may give
/// way are left out, the least important first. No word, number or time is ever broken.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
    columns: Vec<Column>,
    /// Columns that may be left out, the least important first.
    yielding: &'static [&'static str],
    /// Columns that may be wrapped.
    wrapping: &'static [&'static str],
}

impl Table {
    /// Makes a table with these columns.
    #[must_use]
    pub fn new(columns: &[Column]) -> Self {
        Self {
            rows: Vec::new(),
            columns: columns.to_vec(),
            yielding: &[],
            wrapping: &[],
        }
    }

    /// Names the columns that give way where there is no room, the least important first.
    #[must_use]
    pub const fn yielding(mut self, columns: &'static [&'static str]) -> Self {
        self.yielding = columns;
        self
    }

    /// Names the columns that are wrapped between words where there is no room.
    #[must_use]
    pub const fn wrapping(mut self, columns: &'static [&'static str]) -> Self {
        self.wrapping = columns;
        self
    }

    /// Adds a row.
    pub fn row<C: Into<String>>(&mut self, cells: impl IntoIterator<Item = C>) {
        let cells = cells.into_iter().map(|cell| one_line(&cell.into()));
        self.rows.push(cells.collect());
    }

    /// Returns true if the table has no rows.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Lays the table out in this width; `None` is all the width that it needs.
    fn lines(&self, width: Option<usize>) -> impl Iterator<Item = String> {
        let columns = self.layout(width);
        let mut grid = Grid::new();
        grid.load_style(TableStyle::new());
        grid.set_content_arrangement(ContentArrangement::Disabled);
        grid.set_header(columns.iter().map(|placed| placed.column.name()));
        for row in &self.rows {
            let cells = columns.iter().map(|placed| {
                let cell = row
                    .get(placed.index)
                    .map(String::as_str)
                    .unwrap_or_default();
                wrapped(cell, placed.width)
            });
            grid.add_row(cells.collect::<Vec<String>>());
        }
        for (place, placed) in columns.iter().enumerate() {
            let Some(cells) = grid.column_mut(place) else {
                continue;
            };
            cells.set_padding((0, 2));
            if matches!(placed.column, Column::Number(_)) {
                cells.set_cell_alignment(CellAlignment::Right);
            }
        }
        grid.lines()
            .map(|line| line.trim_end().to_owned())
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// Returns the columns that are shown, each with its width. If the width is too small even for the
    /// columns that are always shown, lines are longer than it.
    fn layout(&self, width: Option<usize>) -> Vec<Placed> {
        let columns: Vec<Placed> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| self.placed(index, *column))
            .collect();
        let Some(width) = width else {
            return columns;
        };
        for count in 0..=self.yielding.len() {
            let gone: Vec<&str> = self.yielding.iter().take(count).copied().collect();
            let mut left = columns.clone();
            left.retain(|placed| !gone.contains(&placed.column.name()));
            let is_last = count == self.yielding.len();
            let least = if is_last { 0 } else { NARROW };
            if is_last || needed(&left, least) <= width {
                narrow(&mut left, width);
                return left;
            }
        }
        columns
    }

    /// Returns a column with the widths that it can have.
    fn placed(&self, index: usize, column: Column) -> Placed {
        let cells = || self.rows.iter().filter_map(|row| row.get(index));
        let name = column.name().width();
        let width = cells().map(|cell| cell.width()).max();
        let width = width.unwrap_or(0).max(name);
        let least = if self.wrapping.contains(&column.name()) {
            let words = cells().flat_map(|cell| cell.split(' '));
            let longest = words.map(UnicodeWidthStr::width).max();
            longest.unwrap_or(0).max(name)
        } else {
            width
        };
        Placed {
            index,
            column,
            width,
            least,
        }
    }
}

/// A column in a layout.
#[derive(Debug, Clone, Copy)]
struct Placed {
    /// Its place in the rows.
    index: usize,
    column: Column,
    /// The width that it is given; at first that of its longest cell.
    width: usize,
    /// Width below which a word would break.
    least: usize,
}

/// Returns the width that columns need side by side, if those of words are narrowed, but none below
/// `narrow`.
fn needed(columns: &[Placed], narrow: usize) -> usize {
    let widths = columns
        .iter()
        .map(|placed| placed.least.max(narrow.min(placed.width)));
    widths.sum::<usize>() + GAP * columns.len().saturating_sub(1)
}

/// Narrows the columns of words until all fit side by side, the widest first.
fn narrow(columns: &mut [Placed], width: usize) {
    let gaps = GAP * columns.len().saturating_sub(1);
    loop {
        let taken: usize = columns.iter().map(|placed| placed.width).sum();
        let can_give = columns
            .iter_mut()
            .filter(|placed| placed.width > placed.least);
        match can_give.max_by_key(|placed| placed.width) {
            Some(widest) if taken + gaps > width => widest.width -= 1,
            Some(_) | None => return,
        }
    }
}

/// Divides a text into lines of this width, between words. A longer word stays whole.
fn wrapped(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut lines = String::with_capacity(text.len());
    let mut used = 0;
    for word in text.split(' ') {
        let long = word.width();
        if used > 0 && used + 1 + long > width {
            lines.push('\n');
            used = 0;
        } else if used > 0 {
            lines.push(' ');
            used += 1;
        }
        lines.push_str(word);
        used += long;
    }
    lines
}

/// Writes a number with commas between thousands.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut written = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            written.push(',');
        }
        written.push(digit);
    }
    written
}

/// Shortens a time in RFC 3339 to whole seconds, for tables.
#[must_use]
pub fn seconds(time: &str) -> String {
    match time.split_once('.') {
        Some((whole, _)) => format!("{whole}Z"),
        None => time.to_owned(),
    }
}

/// Escapes the characters that steer a terminal, change the direction of writing or show nothing.
fn harmless(text: &str) -> String {
    escaped(text, |_| false)
}

/// As [`harmless`], for a text of several lines.
fn harmless_lines(text: &str) -> String {
    escaped(text, |character| character == '\n')
}

fn escaped(text: &str, is_kept: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if characters::needs_escape(character) && !is_kept(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Makes text fit for a cell of a table: harmless, and on one line.
fn one_line(text: &str) -> String {
    harmless(&text.replace(['\n', '\r'], " "))
}

/// Escapes such characters in JSON, as JSON escapes them: a program reads the same text. They stand in
/// strings alone; between them JSON has line breaks and no other control character.
fn escaped_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for character in json.chars() {
        if characters::needs_escape(character) && character != '\n' {
            let units = character.encode_utf16(&mut [0; 2]).to_vec();
            shown.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Returns a view as a person reads it, at a terminal of this width or in a file.
#[cfg(test)]
pub(crate) fn paged<V: View>(view: &V, width: Option<usize>) -> String {
    let mut page = Page {
        text: Vec::new(),
        ink: Ink::Plain,
        width,
    };
    view.page(&mut page).unwrap();
    String::from_utf8(page.text).unwrap()
}

/// Checks that the tables of a page fit terminals of 80 and 120 columns, and that no word of it is broken.
/// Pairs of names and values, which are indented, are as long as they are.
#[cfg(test)]
#[track_caller]
pub(crate) fn check_fits<V: View>(view: &V) {
    let rendered = |width| paged(view, width);
    let whole = rendered(None);
    let words: Vec<&str> = whole.split_whitespace().collect();
    assert!(!words.is_empty());
    for width in [80, 120] {
        for line in rendered(Some(width)).lines() {
            let fits = line.starts_with(' ') || line.width() <= width;
            assert!(fits, "{} in {width}: {line}", line.width());
            for word in line.split_whitespace() {
                assert!(words.contains(&word), "`{word}` is broken: {line}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Greeting {
        to: &'static str,
    }

    impl View for Greeting {
        const SCHEMA: &'static str = "test/greeting/v1";
        fn page(&self, page: &mut Page) -> io::Result<()> {
            page.line(format!("hello {}", self.to))
        }
    }

    fn page() -> Page {
        Page {
            text: Vec::new(),
            ink: Ink::Plain,
            width: None,
        }
    }

    fn text(page: Page) -> String {
        String::from_utf8(page.text).unwrap()
    }

    #[test]
    fn a_table_aligns_its_columns_and_leaves_no_space_at_the_end() {
        let mut table = Table::new(&[Column::Text("ID"), Column::Number("POINTS")]);
        table.row(["a", "7"]);
        table.row(["abcdef", "100"]);
        let mut page = page();
        page.table(&table).unwrap();
        assert_eq!(
            text(page),
            "ID      POINTS\na            7\nabcdef     100\n"
        );
    }

    /// Newcomer C8: tables broke in the middle of words and times at 80 and 120 columns.
    #[test]
    fn a_table_that_is_too_wide_wraps_words_and_leaves_columns_out_by_importance() {
        let columns = ["ID", "AT", "BY", "WHY"].map(Column::Text);
        let mut table = Table::new(&columns)
            .yielding(&["BY", "AT"])
            .wrapping(&["WHY"]);
        let words = "the seals were compared twice, and one of them differs";
        table.row(["3f07f443d0ad", "2026-11-24T11:01:51Z", "portcullis", words]);
        let at = |width| table.lines(Some(width)).collect::<Vec<_>>();
        assert_eq!(at(200), table.lines(None).collect::<Vec<_>>());
        for width in [20, 40, 60, 80, 100] {
            let lines = at(width);
            let text = lines.join(" ");
            let read: Vec<&str> = text.split_whitespace().collect();
            for word in words.split(' ') {
                assert!(read.contains(&word), "{word} at {width}: {lines:?}");
            }
            assert!(read.contains(&"3f07f443d0ad"), "{lines:?}");
            let is_whole = !text.contains("2026") || read.contains(&"2026-11-24T11:01:51Z");
            assert!(is_whole, "{lines:?}");
            let fits = lines
                .iter()
                .all(|line| line.width() <= width.max(12 + 2 + NARROW));
            assert!(fits, "{width}: {lines:?}");
        }
        let shown = |width: usize| {
            at(width)[0]
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(80), ["ID", "AT", "BY", "WHY"]);
        assert_eq!(shown(60), ["ID", "AT", "WHY"]);
        assert_eq!(shown(40), ["ID", "WHY"]);
    }

    #[test]
    fn a_number_is_read_in_threes() {
        let numbers = [
            (0, "0"),
            (999, "999"),
            (5018, "5,018"),
            (1_000_000, "1,000,000"),
        ];
        for (number, written) in numbers {
            assert_eq!(thousands(number), written);
        }
    }

    #[test]
    fn values_stand_under_each_other() {
        let mut page = page();
        page.pairs(&[("a", "one".to_owned()), ("bcd", "two\nthree".to_owned())])
            .unwrap();
        assert_eq!(text(page), "  a    one\n  bcd  two\n       three\n");
    }

    #[test]
    fn text_of_others_cannot_steer_the_terminal() {
        let mut page = page();
        page.line("a\u{1b}[31mb\u{202e}c\rd").unwrap();
        let mut table = Table::new(&[Column::Text("X")]);
        table.row(["one\ntwo\u{7}"]);
        page.table(&table).unwrap();
        assert_eq!(
            text(page),
            "a\\u{1b}[31mb\\u{202e}c\\rd\nX\none two\\u{7}\n"
        );
    }

    /// Bugs, `csv-bidi.csv`: marks that turn or hide text passed through JSON, errors and most pages.
    #[test]
    fn what_turns_or_shows_nothing_is_escaped_on_pages_and_in_json_as_the_same_text() {
        let text =
            "a\u{200b}b\u{61c}c\u{ad}d\u{e0041}e\u{feff}f\u{3164}g\u{2028}h\u{85}i \u{fe0f}\u{7f}";
        let mut page = page();
        page.line(text).unwrap();
        assert_eq!(
            self::text(page),
            "a\\u{200b}b\\u{61c}c\\u{ad}d\\u{e0041}e\\u{feff}f\\u{3164}g\\u{2028}h\\u{85}i \\u{fe0f}\\u{7f}\n"
        );
        assert_eq!(harmless_lines("a\u{202e}\nb"), "a\\u{202e}\nb");
        let json = serde_json::to_string_pretty(&[text, "été — 中"]).unwrap();
        let shown = escaped_json(&json);
        assert!(
            shown
                .chars()
                .all(|one| one == '\n' || !characters::needs_escape(one)),
            "{shown}"
        );
        assert!(
            shown.contains("\\udb40\\udc41") && shown.contains("été — 中"),
            "{shown}"
        );
        let read: Vec<String> = serde_json::from_str(&shown).unwrap();
        assert_eq!(read, [text, "été — 中"]);
    }

    #[test]
    fn json_names_its_version() {
        let versioned = Versioned {
            schema: Greeting::SCHEMA,
            view: &Greeting { to: "you" },
        };
        assert_eq!(
            serde_json::to_string(&versioned).unwrap(),
            r#"{"schema":"test/greeting/v1","to":"you"}"#
        );
    }
}

//! The header and the rows of a text that was found to be in order.

use csv::{Reader, ReaderBuilder, StringRecord, Trim};

use crate::{Fault, Separator, SheetError};

/// Reader of the rows. It yields each with its line in the file.
pub struct Rows<'a> {
    reader: Reader<&'a [u8]>,
    text: &'a str,
    /// Names of the columns as they stand in the file; those without a name at the end are left out.
    columns: Vec<String>,
    header_line: u64,
    /// Place in the text up to which lines were counted, and the number of the line there.
    counted: (usize, u64),
    record: StringRecord,
    count: u64,
}

/// A row.
#[derive(Debug)]
pub struct Row<'a> {
    /// Line of the file in which it begins.
    pub line: u64,
    /// Its values, one for each column, without blanks around them.
    pub values: &'a StringRecord,
}

impl<'a> Rows<'a> {
    pub(crate) fn of(
        text: &'a str,
        separator: Separator,
        first_line: u64,
    ) -> Result<Self, SheetError> {
        let reader = ReaderBuilder::new()
            .delimiter(separator.byte())
            .has_headers(false)
            .flexible(true)
            .trim(Trim::All)
            .from_reader(text.as_bytes());
        let mut rows = Self {
            reader,
            text,
            columns: Vec::new(),
            header_line: first_line,
            counted: (0, first_line),
            record: StringRecord::new(),
            count: 0,
        };
        let Some(line) = rows.advance()? else {
            return Err(SheetError::file(Fault::Empty));
        };
        let mut columns: Vec<String> = rows.record.iter().map(str::to_owned).collect();
        while columns.last().is_some_and(String::is_empty) {
            columns.pop();
        }
        if let Some(name) = twice(&columns) {
            return Err(SheetError::at(line, Fault::Twice(name)));
        }
        rows.columns = columns;
        rows.header_line = line;
        Ok(rows)
    }

    /// Returns the names of the columns, as they stand in the file.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Returns the line of the header in the file.
    #[must_use]
    pub const fn header_line(&self) -> u64 {
        self.header_line
    }

    /// Returns the next row; `None` at the end of the file.
    ///
    /// # Errors
    ///
    /// [`SheetError`] if the row has more or fewer values than there are columns, and at the end of a
    /// file that has no row. Reading may go on after an error.
    pub fn next_row(&mut self) -> Result<Option<Row<'_>>, SheetError> {
        let Some(line) = self.advance()? else {
            return if self.count == 0 {
                self.count = 1;
                Err(SheetError::file(Fault::NoRows))
            } else {
                Ok(None)
            };
        };
        self.count = self.count.saturating_add(1);
        let (found, columns) = (self.record.len(), self.columns.len());
        let beyond = self.record.iter().skip(columns);
        if found > columns && beyond.clone().any(|value| !value.is_empty()) {
            let number = columns.saturating_add(1).to_string();
            return Err(if found == columns.saturating_add(1) {
                SheetError::within(line, number, Fault::Unnamed)
            } else {
                SheetError::at(line, Fault::Width { found, columns })
            });
        }
        if found < columns {
            return Err(SheetError::at(line, Fault::Width { found, columns }));
        }
        self.record.truncate(columns);
        let unnamed = self
            .columns
            .iter()
            .zip(&self.record)
            .position(|(name, value)| name.is_empty() && !value.is_empty());
        if let Some(column) = unnamed {
            let number = column.saturating_add(1).to_string();
            return Err(SheetError::within(line, number, Fault::Unnamed));
        }
        Ok(Some(Row {
            line,
            values: &self.record,
        }))
    }

    /// Returns the values of the row that was read last, also of one that was refused.
    #[must_use]
    pub fn values(&self) -> Vec<String> {
        self.record.iter().map(str::to_owned).collect()
    }

    /// Reads the next line that has something to read, and returns its number.
    fn advance(&mut self) -> Result<Option<u64>, SheetError> {
        loop {
            // The reader's own place is before the empty lines that it passes over.
            let begins = self.reader.position().byte();
            let read = self.reader.read_record(&mut self.record);
            let line = self.line_of(self.first_of_row(begins));
            match read {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(_) => return Err(SheetError::at(line, Fault::Undivided)),
            }
            if self.record.iter().any(|value| !value.is_empty()) {
                return Ok(Some(line));
            }
        }
    }

    /// Returns the place of the first line from here on that is not empty.
    fn first_of_row(&self, from: u64) -> usize {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let rest = self.text.as_bytes().get(from..).unwrap_or_default();
        let breaks = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
        from.saturating_add(breaks.count())
    }

    /// Returns the number of the line at this place, which is never before one that was asked for.
    fn line_of(&mut self, place: usize) -> u64 {
        let (from, mut line) = self.counted;
        let to = place.min(self.text.len());
        let passed = self.text.as_bytes().get(from..to).unwrap_or_default();
        let mut bytes = passed.iter().peekable();
        while let Some(byte) = bytes.next() {
            // A row never begins between the two characters of a line break.
            let is_break = *byte == b'\n'
                || (*byte == b'\r' && bytes.peek().is_none_or(|next| **next != b'\n'));
            line = line.saturating_add(u64::from(is_break));
        }
        self.counted = (to.max(from), line);
        line
    }
}

/// Returns a name that stands twice, in whatever case.
fn twice(columns: &[String]) -> Option<String> {
    columns.iter().enumerate().find_map(|(place, name)| {
        let before = columns.iter().take(place);
        let is_repeated = !name.is_empty()
            && before
                .into_iter()
                .any(|other| other.to_lowercase() == name.to_lowercase());
        is_repeated.then(|| name.clone())
    })
}

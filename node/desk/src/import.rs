//! Import: turns a file as a spreadsheet saved it into consignments, all of its rows or none, or those
//! that are in order if the others are to be skipped.
//!
//! The file is looked at whole before anything is stored ([`portcullis_sheets`] divides it), and then read once
//! more, so that a manifest of a million rows is never in memory as consignments. A wrong row, a
//! column that the schema does not know, a repeated reference and an empty file are errors. Each names
//! the line of the file, and nothing of the file is kept.

use std::{collections::HashMap, fmt};

pub use portcullis_scoring::{
    consignment::{Wording, WrongDigits},
    number::DecimalMark,
};

use portcullis_scoring::{
    consignment::{Columns, Consignment, HeaderError, RowError},
    schema::Schema,
};
use portcullis_sheets::{Options, Separator, Sheet, SheetError};

use super::generated::{self, Seed};

/// Number of rows after which the progress is reported again.
const ROWS_A_STEP: usize = 500;

/// Number of wrong rows that an error tells.
const TOLD: usize = 20;

/// Error of an import. The operator has to correct the file; nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be divided into rows.
    #[error("{0}; {remedy}; nothing was imported", remedy = .0.remedy())]
    Sheet(#[from] SheetError),
    /// The header does not fit the schema.
    #[error("line {line}: {error}; nothing was imported")]
    Header {
        /// Line of the header.
        line: u64,
        /// The misfit.
        error: HeaderError,
    },
    /// Rows do not fit the schema.
    #[error("{0}; nothing was imported")]
    Rows(WrongRows),
}

/// Row that is not imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongRow {
    /// Its line in the file.
    pub line: u64,
    /// The fault, and what to do.
    pub why: String,
}

/// Every wrong row of a file, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongRows(pub Vec<WrongRow>);

impl WrongRows {
    /// Returns their number in words.
    #[must_use]
    pub fn summary(&self) -> String {
        let count = self.0.len();
        let lines = if count == 1 { "line is" } else { "lines are" };
        format!("{count} {lines} wrong; nothing was imported")
    }

    /// Returns the first ones, each with its line and fault, and how many more there are.
    #[must_use]
    pub fn told(&self) -> Vec<String> {
        let Self(rows) = self;
        let first = rows.iter().take(TOLD);
        let mut told: Vec<String> = first
            .map(|row| format!("line {}: {}", row.line, row.why))
            .collect();
        if let Some(more) = rows.len().checked_sub(TOLD).filter(|more| *more > 0) {
            told.push(format!("and {more} more"));
        }
        told
    }
}

impl fmt::Display for WrongRows {
    /// Tells the first ones.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.told().join("; "))
    }
}

/// Treatment of rows that do not fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wrong {
    /// Nothing is imported.
    #[default]
    RefusesAll,
    /// They are left out and told.
    IsSkipped,
}

/// Instructions for reading a file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Instructions {
    /// Separator and encoding, if what is found is to be overruled.
    pub options: Options,
    /// Seed of identifiers that are generated, if any are.
    pub generate: Option<Seed>,
    /// Treatment of rows that do not fit.
    pub wrong: Wrong,
    /// Reading of numbers and identifiers.
    pub wording: Wording,
}

/// A file that was looked at whole: it has consignments, and every row that is none was told.
///
/// Its text is in memory, and its consignments are not: they are read again when they are handed out.
#[derive(Debug)]
pub struct CheckedFile<'s> {
    schema: &'s Schema,
    sheet: Sheet,
    columns: Columns<'s>,
    generate: Option<Seed>,
    /// Rows that are left out, ascending by line.
    skipped: Vec<WrongRow>,
    /// Number of consignments.
    consignments: usize,
    /// Number of those with the result of a control.
    controlled: usize,
}

impl<'s> CheckedFile<'s> {
    /// Looks at a file as instructed. Calls `progress` with the number of rows read so far.
    ///
    /// # Errors
    ///
    /// [`ImportError`], which names the lines. Skipping leaves at least one row, or is an error.
    pub fn of(
        schema: &'s Schema,
        file: &[u8],
        instructions: &Instructions,
        progress: &dyn Fn(u64),
    ) -> Result<Self, ImportError> {
        let sheet = Sheet::read(file, instructions.options)?;
        let columns = columns(schema, &sheet, instructions.wording)?;
        let mut checked = Self {
            schema,
            sheet,
            columns,
            generate: instructions.generate,
            skipped: Vec::new(),
            consignments: 0,
            controlled: 0,
        };
        checked.look(progress)?;
        let refuses = instructions.wrong == Wrong::RefusesAll || checked.consignments == 0;
        if refuses && !checked.skipped.is_empty() {
            return Err(ImportError::Rows(WrongRows(checked.skipped)));
        }
        Ok(checked)
    }

    /// Finds the rows that are not consignments, and counts those that are.
    fn look(&mut self, progress: &dyn Fn(u64)) -> Result<(), ImportError> {
        let mut rows = self.sheet.rows()?;
        let skipped = &mut self.skipped;
        let mut lines: HashMap<Box<str>, u64> = HashMap::new();
        loop {
            let row = match rows.next_row() {
                Ok(Some(row)) => row,
                Ok(None) => break,
                Err(error) if error.line == 0 => return Err(error.into()),
                Err(error) => {
                    let why = format!("{}; {}", error.fault, error.remedy());
                    let line = error.line;
                    skipped.push(WrongRow { line, why });
                    continue;
                }
            };
            let line = row.line;
            match self.columns.consignment(line, row.values) {
                Ok(consignment) => match lines.get(consignment.id()) {
                    Some(first) => skipped.push(repeated(line, *first, consignment.id())),
                    None => {
                        lines.insert(consignment.id().into(), line);
                        self.controlled += usize::from(consignment.finding().is_some());
                    }
                },
                Err(error) => skipped.push(WrongRow {
                    line,
                    why: error.without_line(),
                }),
            }
            if lines.len().is_multiple_of(ROWS_A_STEP) {
                progress(lines.len() as u64);
            }
        }
        progress(lines.len() as u64);
        self.consignments = lines.len();
        Ok(())
    }

    /// Hands every consignment to `visit`, in the file's order, until it fails.
    ///
    /// # Errors
    ///
    /// [`ImportError`] of a file that cannot be divided; the error of `visit`.
    pub fn each<E: From<ImportError>>(
        &self,
        mut visit: impl FnMut(Consignment) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut skipped = self.skipped.iter().map(|row| row.line).peekable();
        let mut rows = self.sheet.rows().map_err(ImportError::from)?;
        loop {
            // A row that cannot be read is among those that are skipped.
            let row = match rows.next_row() {
                Ok(Some(row)) => row,
                Ok(None) => return Ok(()),
                Err(error) if error.line == 0 => return Err(ImportError::from(error).into()),
                Err(_) => continue,
            };
            while skipped.next_if(|line| *line < row.line).is_some() {}
            if skipped.next_if(|line| *line == row.line).is_some() {
                continue;
            }
            if let Ok(consignment) = self.columns.consignment(row.line, row.values) {
                visit(with_generated(self.schema, consignment, self.generate))?;
            }
        }
    }

    /// Returns every consignment, in the file's order.
    ///
    /// # Errors
    ///
    /// [`ImportError`] of a file that cannot be divided.
    pub fn consignments(&self) -> Result<Vec<Consignment>, ImportError> {
        let mut consignments = Vec::new();
        self.each(|consignment| {
            consignments.push(consignment);
            Ok::<_, ImportError>(())
        })?;
        Ok(consignments)
    }

    /// Returns the number of consignments, and of those with the result of a control.
    #[must_use]
    pub const fn counts(&self) -> (usize, usize) {
        (self.consignments, self.controlled)
    }

    /// Returns the rows that are left out.
    #[must_use]
    pub fn skipped(&self) -> &[WrongRow] {
        &self.skipped
    }

    /// Returns separator, encoding and lines, as they were found, and how numbers were read, in words.
    #[must_use]
    pub fn read_as(&self) -> String {
        let mut words = vec![self.sheet.reading().to_string()];
        words.extend(self.columns.said());
        words.join(", ")
    }
}

/// Reads a whole file of consignments. Calls `rows` with the number of rows read so far.
///
/// # Errors
///
/// [`ImportError`], which names the lines.
pub fn read(
    schema: &Schema,
    file: &[u8],
    generate: Option<Seed>,
    rows: &dyn Fn(u64),
) -> Result<Vec<Consignment>, ImportError> {
    let instructions = Instructions {
        generate,
        ..Instructions::default()
    };
    CheckedFile::of(schema, file, &instructions, rows)?.consignments()
}

/// Returns the columns of a file, with the readings of its numbers.
fn columns<'s>(
    schema: &'s Schema,
    sheet: &Sheet,
    wording: Wording,
) -> Result<Columns<'s>, ImportError> {
    let rows = sheet.rows()?;
    let header = rows.columns().to_vec();
    let columns = Columns::of(schema, header.iter().map(String::as_str)).map_err(|error| {
        ImportError::Header {
            line: rows.header_line(),
            error,
        }
    })?;
    // Where commas separate, a spreadsheet writes decimal points; elsewhere the numbers must say it.
    let points_by_default = sheet.reading().separator == Separator::Comma;
    let mut columns = columns.worded(wording, points_by_default);
    if columns.has_decimals() {
        look(sheet, &mut columns)?;
    }
    Ok(columns)
}

/// Looks at all numbers of a file before the first is read: one of two meanings has that of the others.
fn look(sheet: &Sheet, columns: &mut Columns<'_>) -> Result<(), SheetError> {
    let mut rows = sheet.rows()?;
    loop {
        match rows.next_row() {
            Ok(Some(row)) => columns.look(row.values),
            Ok(None) => return Ok(()),
            Err(error) if error.line == 0 => return Err(error),
            // It is told, or left out, when the rows are read.
            Err(_) => {}
        }
    }
}

/// Reads the examples of a schema as a consignment; `None` if a field that must have a value has none.
///
/// # Errors
///
/// [`RowError`] if an example is not what its field takes.
pub fn examples(schema: &Schema) -> Result<Option<Consignment>, RowError> {
    let values = schema.fields().iter().map(|field| {
        let example = field.example();
        example.or_else(|| field.is_optional().then_some(""))
    });
    let Some(values) = values.collect::<Option<Vec<&str>>>() else {
        return Ok(None);
    };
    let header = schema.fields().iter().map(|field| field.column());
    match Columns::of(schema, header) {
        Ok(columns) => columns.consignment(1, values).map(Some),
        // The header is the schema's own.
        Err(_) => Ok(None),
    }
}

fn repeated(line: u64, first: u64, reference: &str) -> WrongRow {
    let why = format!("the reference `{reference}` stands in line {first} already");
    WrongRow { line, why }
}

fn with_generated(schema: &Schema, consignment: Consignment, seed: Option<Seed>) -> Consignment {
    match seed {
        Some(seed) => {
            let made = generated::identifiers(schema, &consignment, seed);
            consignment.with_generated(made)
        }
        None => consignment,
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, io::Write as _};

    use flate2::{Compression, write::GzEncoder};

    use super::*;
    use crate::fixtures::{HEADER, ROW, row_with, schema};

    fn import(text: &str) -> Result<Vec<Consignment>, ImportError> {
        read(&schema(), text.as_bytes(), None, &|_| {})
    }

    #[track_caller]
    fn check(text: &str, message: &str) {
        assert_eq!(import(text).unwrap_err().to_string(), message);
    }

    #[test]
    fn an_empty_file_is_refused() {
        let remedy = "write a header line and at least one line below it; nothing was imported";
        check("", &format!("the file is empty; {remedy}"));
        check("\n\n", &format!("the file is empty; {remedy}"));
        check(
            HEADER,
            &format!("the file has a header and no rows; {remedy}"),
        );
    }

    #[test]
    fn an_unknown_column_is_named() {
        check(
            &format!("{HEADER},Colour\n{ROW},red\n"),
            "line 1: the schema has no column `Colour`; remove it or add a `[[field]]` for it; \
             nothing was imported",
        );
    }

    #[test]
    fn a_malformed_line_is_named_and_nothing_is_kept() {
        check(
            &format!("{HEADER}\n{ROW}\n56839012,2021-01-01\n"),
            "line 3: 2 values where the header has 22 columns; look for a missing quote or separator in \
             the line; nothing was imported",
        );
        let bad_day = row_with("Date", "2021-02-30");
        check(
            &format!("{HEADER}\n{bad_day}\n"),
            "line 2: column `Date`: `2021-02-30` is not a day such as `2021-03-31`; correct the \
             value; nothing was imported",
        );
    }

    #[test]
    fn a_repeated_reference_is_refused() {
        check(
            &format!("{HEADER}\n{ROW}\n{ROW}\n"),
            "line 3: the reference `56839011` stands in line 2 already; nothing was imported",
        );
    }

    /// Newcomer A19: one wrong row cost the whole manifest, and the first wrong one alone was told.
    #[test]
    fn wrong_rows_are_all_told_or_skipped_with_their_reasons() {
        let bad_day = row_with("Date", "2021-02-30");
        let text = format!("{HEADER}\n{bad_day}\n{ROW}\n\n1,2\n{ROW}\n");
        let error = import(&text).unwrap_err().to_string();
        for line in ["line 2: ", "line 5: ", "line 6: "] {
            assert!(error.contains(line), "{error}");
        }
        let instructions = Instructions {
            wrong: Wrong::IsSkipped,
            ..Instructions::default()
        };
        let schema = schema();
        let read = |text: &str| CheckedFile::of(&schema, text.as_bytes(), &instructions, &|_| {});
        let checked = read(&text).unwrap();
        assert_eq!(checked.consignments().unwrap().len(), 1);
        let lines: Vec<u64> = checked.skipped.iter().map(|row| row.line).collect();
        assert_eq!(lines, [2, 5, 6]);
        // Nothing in order is nothing imported.
        let none = format!("{HEADER}\n{bad_day}\n");
        assert!(read(&none).is_err());
        // A line that cannot be divided leaves the others in their places.
        let (first, last) = (
            row_with("Declaration ID", "1"),
            row_with("Declaration ID", "2"),
        );
        let torn = format!("{HEADER}\n1,2\n{first}\n3\n4,5\n{last}\n{bad_day}\n");
        let kept = read(&torn).unwrap().consignments().unwrap();
        let kept: Vec<&str> = kept.iter().map(Consignment::id).collect();
        assert_eq!(kept, ["1", "2"]);
    }

    /// Newcomer B5: a number of two meanings is refused by line and column, unless somebody says which.
    #[test]
    fn decimal_commas_are_read_and_numbers_of_two_meanings_refused() {
        let mass = |value: &str| row_with("Net Mass", &value.replace(',', "|"));
        let of = |first: &str, second: &str| {
            let second = mass(second).replacen("56839011", "56839012", 1);
            let text = format!("{HEADER}\n{}\n{second}\n", mass(first));
            text.replace(',', ";").replace('|', ",")
        };
        let imported = import(&of("1.234", "12,5")).unwrap();
        let masses: Vec<_> = imported
            .iter()
            .map(|row| row.values().nth(18).unwrap())
            .collect();
        assert_eq!(masses, ["1234", "12.5"]);
        let open = of("1.234", "5");
        check(
            &open,
            "line 2: column `Net Mass`: `1.234` may be 1234 (`--decimal comma`) or 1.234 (`--decimal point`), \
             and no other number of the column says which; say it, or write numbers without thousands marks; \
             nothing was imported",
        );
        let instructions = Instructions {
            wording: Wording {
                decimal: Some(DecimalMark::Comma),
                ..Wording::default()
            },
            ..Instructions::default()
        };
        // The other numbers of the row have decimal points, which is not what is said.
        let schema = schema();
        let read = CheckedFile::of(&schema, open.as_bytes(), &instructions, &|_| {});
        let refused = read.unwrap_err();
        assert!(
            refused.to_string().contains("has no decimal comma"),
            "{refused}"
        );
        check(
            &format!("{HEADER}\n{}\n", mass("12.5 kg")),
            "line 2: column `Net Mass`: `12.5 kg` carries the unit `kg`; write the number alone, in the unit \
             that the column is in; nothing was imported",
        );
    }

    /// Newcomer A19, bug 16: a container that nobody can read again could not be imported at all.
    #[test]
    fn a_wrong_check_digit_is_refused_or_marked_and_stays_so() {
        let schema = Schema::parse(crate::shipped::Shipped::Port.text()).unwrap();
        let sample =
            include_str!("../../../data/port/sample.csv").replace("CSQU3054383", "CSQU3054384");
        let read = |wrong_digits| {
            let instructions = Instructions {
                wording: Wording {
                    wrong_digits,
                    ..Wording::default()
                },
                ..Instructions::default()
            };
            CheckedFile::of(&schema, sample.as_bytes(), &instructions, &|_| {})?.consignments()
        };
        let refused = read(WrongDigits::Refused).unwrap_err().to_string();
        assert!(refused.contains("line 3: column `Container`"), "{refused}");
        let taken = read(WrongDigits::Marked).unwrap();
        let marked = |consignment: &Consignment| -> Vec<String> {
            let own = consignment.identifiers().iter();
            own.filter(|one| one.unchecked)
                .map(|one| one.value.clone())
                .collect()
        };
        assert_eq!(marked(&taken[0]), ["CSQU3054384"]);
        assert!(marked(&taken[1]).is_empty());
        let kept = crate::encoding::decode(&schema, &crate::encoding::encode(&taken[0])).unwrap();
        assert_eq!(kept, taken[0]);
        // What has no shape of a container stays refused.
        let shapeless = sample.replace("CSQU3054384", "CSQU30");
        let instructions = Instructions {
            wording: Wording {
                wrong_digits: WrongDigits::Marked,
                ..Wording::default()
            },
            ..Instructions::default()
        };
        let refused = CheckedFile::of(&schema, shapeless.as_bytes(), &instructions, &|_| {});
        assert!(refused.is_err());
    }

    /// Newcomer B5: what Excel saves.
    #[test]
    fn a_file_with_semicolons_in_windows_text_reads_like_any_other() {
        let text = format!("{HEADER}\n{ROW}\n").replace(',', ";");
        let upper = text.replacen(
            HEADER.split(',').next().unwrap(),
            &HEADER.split(',').next().unwrap().to_uppercase(),
            1,
        );
        let imported = import(&format!("{HEADER}\n{ROW}\n")).unwrap();
        assert_eq!(import(&upper).unwrap(), imported);
    }

    #[test]
    fn a_packed_file_reads_like_a_plain_one() {
        let text = format!("{HEADER}\n{ROW}\n");
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        let packed = packed.finish().unwrap();
        let read = read(&schema(), &packed, None, &|_| {}).unwrap();
        assert_eq!(read, import(&text).unwrap());
        assert_eq!(read.len(), 1);
    }

    #[test]
    fn a_file_packed_and_cut_is_refused() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed
            .write_all(format!("{HEADER}\n{ROW}\n").as_bytes())
            .unwrap();
        let packed = packed.finish().unwrap();
        let cut = &packed[..packed.len() - 12];
        assert!(matches!(
            read(&schema(), cut, None, &|_| {}),
            Err(ImportError::Sheet(_))
        ));
    }

    #[test]
    fn progress_ends_with_the_number_of_rows() {
        let heard = RefCell::new(Vec::new());
        let text = format!("{HEADER}\n{ROW}\n");
        read(&schema(), text.as_bytes(), None, &|rows| {
            heard.borrow_mut().push(rows);
        })
        .unwrap();
        assert_eq!(heard.into_inner(), [1]);
    }
}

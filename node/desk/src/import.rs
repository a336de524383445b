//! Import: turns a CSV file into consignments, all of its lines or none.
//!
//! The file is read whole before anything is stored. A malformed line, a column that the schema
//! does not know, a repeated reference and an empty file are errors. The error names the line, and
//! nothing of the file is kept. The first bytes tell a gzip file from a plain one.

use std::{
    collections::HashMap,
    io::{BufReader, Read},
};

use flate2::bufread::GzDecoder;
use portcullis_scoring::{
    consignment::{Columns, Consignment, HeaderError, RowError},
    schema::Schema,
};

use super::generated::{self, Seed};

/// The first bytes of a gzip file (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Number of rows after which the progress is reported again.
const ROWS_A_STEP: u64 = 500;

/// Error of an import. The operator has to correct the file; nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file is empty.
    #[error("the file is empty; it needs a header line and at least one row")]
    Empty,
    /// The file has a header and no rows.
    #[error("the file has a header and no rows; nothing was imported")]
    NoRows,
    /// A line cannot be read as CSV.
    #[error("line {line}: {why}; nothing was imported")]
    Csv {
        /// Number of the line.
        line: u64,
        /// Description of the error.
        why: String,
    },
    /// The header does not fit the schema.
    #[error("{0}; nothing was imported")]
    Header(#[from] HeaderError),
    /// A row does not fit the schema.
    #[error("{0}; nothing was imported")]
    Row(#[from] RowError),
    /// Two rows have the same reference.
    #[error(
        "line {line}: the reference `{reference}` stands in line {first} already; nothing was imported"
    )]
    Repeated {
        /// Number of the line.
        line: u64,
        /// Number of the line with the same reference before it.
        first: u64,
        /// The reference.
        reference: String,
    },
}

/// Reads a file of consignments. Calls `rows` with the number of rows read so far.
///
/// # Errors
///
/// [`ImportError`], which names the line.
pub fn read(
    schema: &Schema,
    file: &[u8],
    generate: Option<Seed>,
    rows: &dyn Fn(u64),
) -> Result<Vec<Consignment>, ImportError> {
    if file.starts_with(&GZIP) {
        let unpacked = BufReader::new(GzDecoder::new(file));
        parse(schema, unpacked, generate, rows)
    } else {
        parse(schema, file, generate, rows)
    }
}

fn parse(
    schema: &Schema,
    text: impl Read,
    generate: Option<Seed>,
    progress: &dyn Fn(u64),
) -> Result<Vec<Consignment>, ImportError> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text);
    let header = reader.headers().map_err(csv_error)?.clone();
    if header.iter().all(str::is_empty) {
        return Err(ImportError::Empty);
    }
    let columns = Columns::of(schema, &header)?;
    let mut consignments: Vec<Consignment> = Vec::new();
    let mut lines: HashMap<String, u64> = HashMap::new();
    for row in reader.records() {
        let row = row.map_err(csv_error)?;
        let line = row.position().map_or(0, csv::Position::line);
        let consignment = columns.consignment(line, &row)?;
        let reference = consignment.id().to_owned();
        if let Some(first) = lines.insert(reference.clone(), line) {
            return Err(ImportError::Repeated {
                line,
                first,
                reference,
            });
        }
        consignments.push(with_generated(schema, consignment, generate));
        let count = consignments.len() as u64;
        if count.is_multiple_of(ROWS_A_STEP) {
            progress(count);
        }
    }
    progress(consignments.len() as u64);
    if consignments.is_empty() {
        return Err(ImportError::NoRows);
    }
    Ok(consignments)
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

fn csv_error(error: csv::Error) -> ImportError {
    let line = error.position().map_or(1, csv::Position::line);
    let why = if let csv::ErrorKind::Utf8 { .. } = error.kind() {
        "it is not UTF-8 text".to_owned()
    } else {
        error.to_string()
    };
    ImportError::Csv { line, why }
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
        let empty = "the file is empty; it needs a header line and at least one row";
        check("", empty);
        check("\n\n", empty);
        check(
            HEADER,
            "the file has a header and no rows; nothing was imported",
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
            "line 3: 2 values where the header has 22 columns; look for a missing quote or comma; \
             nothing was imported",
        );
        let bad_day = row_with("Date", "2021-02-30");
        check(
            &format!("{HEADER}\n{bad_day}\n"),
            "line 2, column `Date`: `2021-02-30` is not a day such as `2021-03-31`; correct the \
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

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let mut file = format!("{HEADER}\n").into_bytes();
        file.extend_from_slice(b"\xff\xfe,1\n");
        let error = read(&schema(), &file, None, &|_| {}).unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2: it is not UTF-8 text; nothing was imported"
        );
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
            Err(ImportError::Csv { .. })
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

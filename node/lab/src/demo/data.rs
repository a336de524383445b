//! Declarations of the demo: those embedded in the binary, or any files with the same columns.
//!
//! A file is divided by office, so that every node receives only its own authority's rows. The text
//! of a row is not changed; a row is parsed here to find its office and for the identifiers
//! generated for it.

use std::{cmp::Reverse, collections::BTreeMap, io::Read as _, path::PathBuf};

use flate2::read::MultiGzDecoder;
use portcullis_scoring::{
    consignment::{Columns, Consignment},
    schema::Schema,
};

use portcullis_desk::{
    generated::{self, Seed},
    import::{self, ImportError, WrongRow, WrongRows},
};
use portcullis_home::files::{self, FileError};

/// The seed of generated identifiers in the demo.
pub const SEED: Seed = Seed(2_302_081_004);

const HISTORY: &[u8] = include_bytes!("../../../../data/customs-kr/declarations-2020.csv.gz");

const ARRIVING: &[u8] = include_bytes!("../../../../data/customs-kr/declarations-2021-q1.csv.gz");

/// Error of declarations that cannot be used. It is the operator's to correct.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file does not fit the schema.
    #[error("{file}: {source}")]
    Import {
        /// Name of the file.
        file: String,
        /// Underlying error.
        source: ImportError,
    },
    /// An office has no rows.
    #[error(
        "office `{office}` has no rows in {file}; the offices there with most rows are {known}"
    )]
    NoRows {
        /// Number of the office.
        office: String,
        /// Name of the file.
        file: String,
        /// Offices that have rows, those with most rows first.
        known: String,
    },
}

/// Rows of one office in a file.
#[derive(Debug, Clone)]
pub struct OfficeRows {
    /// Rows of the office under the header of the file, as CSV.
    pub csv: Vec<u8>,
    /// The same rows as consignments, with generated identifiers.
    pub consignments: Vec<Consignment>,
}

/// Source of declarations.
#[derive(Debug, Clone)]
pub struct Source {
    /// Name of the source in messages.
    name: String,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Embedded(&'static [u8]),
    File(PathBuf),
}

impl Source {
    /// Returns the named file, or the shipped history of 2020.
    #[must_use]
    pub fn history(file: Option<PathBuf>) -> Self {
        Self::new(file, "declarations-2020.csv.gz (shipped)", HISTORY)
    }

    /// Returns the named file, or the shipped arrivals of January to March 2021.
    #[must_use]
    pub fn arriving(file: Option<PathBuf>) -> Self {
        Self::new(file, "declarations-2021-q1.csv.gz (shipped)", ARRIVING)
    }

    fn new(file: Option<PathBuf>, shipped: &str, embedded: &'static [u8]) -> Self {
        match file {
            Some(path) => Self {
                name: format!("`{}`", path.display()),
                content: Content::File(path),
            },
            None => Self {
                name: shipped.to_owned(),
                content: Content::Embedded(embedded),
            },
        }
    }

    /// Reads the source and divides it by office: the rows of each of `offices`, at most `most` of
    /// each.
    ///
    /// # Errors
    ///
    /// [`DataError`] if the source cannot be read or does not fit the schema, or if an office has
    /// no rows.
    pub fn by_office(
        &self,
        schema: &Schema,
        offices: &[String],
        most: usize,
    ) -> Result<BTreeMap<String, OfficeRows>, DataError> {
        let file = self.read()?;
        let consignments = self.import(import::read(schema, &file, None, &|_| {}))?;
        let mut whole = cut(schema, &file, most).map_err(|error| self.damaged(&error))?;
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for consignment in &consignments {
            let count = counts.entry(consignment.office()).or_default();
            if *count < most
                && let Some(rows) = whole.get_mut(consignment.office())
            {
                let made = generated::identifiers(schema, consignment, SEED);
                let consignment = consignment.clone().with_generated(made);
                rows.consignments.push(consignment);
            }
            *count += 1;
        }
        offices
            .iter()
            .map(|office| match whole.remove(office) {
                Some(rows) => Ok((office.clone(), rows)),
                None => Err(DataError::NoRows {
                    office: office.clone(),
                    file: self.name.clone(),
                    known: largest(&counts),
                }),
            })
            .collect()
    }

    fn read(&self) -> Result<Vec<u8>, DataError> {
        let packed = match &self.content {
            Content::Embedded(bytes) => bytes.to_vec(),
            Content::File(path) => files::read(path)?,
        };
        if !packed.starts_with(&[0x1f, 0x8b]) {
            return Ok(packed);
        }
        let mut text = Vec::new();
        match MultiGzDecoder::new(packed.as_slice()).read_to_end(&mut text) {
            Ok(_) => Ok(text),
            Err(error) => Err(self.damaged(&csv::Error::from(error))),
        }
    }

    fn import<T>(&self, read: Result<T, ImportError>) -> Result<T, DataError> {
        read.map_err(|source| DataError::Import {
            file: self.name.clone(),
            source,
        })
    }

    fn damaged(&self, error: &csv::Error) -> DataError {
        DataError::Import {
            file: self.name.clone(),
            source: ImportError::Rows(WrongRows(vec![WrongRow {
                line: error.position().map_or(1, csv::Position::line),
                why: error.to_string(),
            }])),
        }
    }
}

/// Divides the text of a file by office.
fn cut(
    schema: &Schema,
    file: &[u8],
    most: usize,
) -> Result<BTreeMap<String, OfficeRows>, csv::Error> {
    let mut reader = csv::Reader::from_reader(file);
    let header = reader.headers()?.clone();
    let mut writers: BTreeMap<String, (csv::Writer<Vec<u8>>, usize)> = BTreeMap::new();
    let Ok(columns) = Columns::of(schema, &header) else {
        return Ok(BTreeMap::new());
    };
    for row in reader.records() {
        let row = row?;
        let Ok(consignment) = columns.consignment(0, &row) else {
            continue;
        };
        let (writer, count) = writers
            .entry(consignment.office().to_owned())
            .or_insert_with(|| (csv::Writer::from_writer(Vec::new()), 0));
        if *count == 0 {
            writer.write_record(&header)?;
        }
        if *count < most {
            writer.write_record(&row)?;
        }
        *count += 1;
    }
    writers
        .into_iter()
        .map(|(office, (writer, _))| {
            let csv = writer
                .into_inner()
                .map_err(|error| csv::Error::from(error.into_error()))?;
            let consignments = Vec::new();
            Ok((office, OfficeRows { csv, consignments }))
        })
        .collect()
}

/// Returns the six offices with the most rows, as text.
fn largest(counts: &BTreeMap<&str, usize>) -> String {
    let mut by_count: Vec<(&str, usize)> = counts.iter().map(|(id, n)| (*id, *n)).collect();
    by_count.sort_by_key(|(_, count)| Reverse(*count));
    by_count
        .iter()
        .take(6)
        .map(|(office, count)| format!("`{office}` ({count})"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_desk::SHIPPED_SCHEMA;

    fn offices(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_office_is_given_its_own_rows() {
        // Counted by `awk` over the shipped files.
        let schema = Schema::parse(SHIPPED_SCHEMA).unwrap();
        let list = offices(&["13", "33"]);
        let history = Source::history(None)
            .by_office(&schema, &list, usize::MAX)
            .unwrap();
        let counts: Vec<usize> = history
            .values()
            .map(|rows| rows.consignments.len())
            .collect();
        assert_eq!(counts, [956, 605]);
        for (office, rows) in &history {
            let read = import::read(&schema, &rows.csv, Some(SEED), &|_| {}).unwrap();
            assert_eq!(read, rows.consignments);
            assert!(read.iter().all(|row| row.office() == office));
        }
    }

    #[test]
    fn an_office_without_rows_is_named_with_those_that_have() {
        let schema = Schema::parse(SHIPPED_SCHEMA).unwrap();
        let error = Source::arriving(None)
            .by_office(&schema, &offices(&["999"]), usize::MAX)
            .unwrap_err();
        let message = error.to_string();
        assert!(
            message.starts_with("office `999` has no rows in declarations-2021-q1.csv.gz"),
            "{message}"
        );
        assert!(message.contains("`40` (3001)"), "{message}");
    }
}

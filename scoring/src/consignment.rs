//! Consignments: rows of the authority's own file, read by its [`Schema`].
//!
//! A consignment is never shared. Refused are columns that the schema does not list, columns that
//! it lists and the file lacks, and values of another type; each error names the line and the
//! column.

use portcullis_protocol::{
    body::{SelectorError, SelectorKind, canonical, canonical_as_kept, canonical_unchecked},
    time::Timestamp,
};

use crate::{
    identifier::Identifier,
    number::{self, DecimalMark, Evidence, Marks, NumberError},
    schema::{Field, FieldIndex, FieldType, Schema},
};

const DAY_MS: i64 = 86_400_000;

const DAY_NEEDED: &str = "a day such as `2021-03-31`";

/// A consignment whose values fit its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consignment {
    /// Values in the schema's order; empty for an optional field without a value.
    values: Vec<Box<str>>,
    id: FieldIndex,
    office: FieldIndex,
    date: Timestamp,
    year: i16,
    finding: Option<bool>,
    by_sea: bool,
    identifiers: Vec<Identifier>,
}

/// Year whose controls a profile counts, for instance `2020`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(String);

/// Error for a text that is not a period.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a period; write a year of four digits, for instance `2020`")]
pub struct PeriodParseError(String);

impl Period {
    /// Returns the year as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Period {
    type Err = PeriodParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let year = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        year.then(|| Self(text.to_owned()))
            .ok_or_else(|| PeriodParseError(text.to_owned()))
    }
}

/// Misfit between a file's header and the schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// There is no header.
    #[error("the file is empty; its first line names the columns")]
    Empty,
    /// The schema does not list the column.
    #[error("the schema has no column `{0}`; remove it or add a `[[field]]` for it")]
    UnknownColumn(String),
    /// The column occurs twice.
    #[error("the column `{0}` stands twice; remove one")]
    RepeatedColumn(String),
    /// The column of a required field is missing.
    #[error("the column `{0}` is missing; add it, or mark its field `optional` in the schema")]
    MissingColumn(String),
}

/// Error for a row that is not a consignment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// More or fewer values than columns.
    #[error(
        "line {line}: {found} values where the header has {expected} columns; look for a missing quote or comma"
    )]
    Width {
        /// The line of the file.
        line: u64,
        /// The columns of the header.
        expected: usize,
        /// The values of the row.
        found: usize,
    },
    /// A value that its field cannot have.
    #[error("line {line}, column `{column}`: `{value}` is not {needed}; correct the value")]
    Value {
        /// The line of the file.
        line: u64,
        /// The column.
        column: String,
        /// The value as it is in the file.
        value: String,
        /// The values that the field takes.
        needed: String,
    },
    /// A value that is not read as a number.
    #[error("line {line}, column `{column}`: {error}")]
    Number {
        /// The line of the file.
        line: u64,
        /// The column.
        column: String,
        /// Fault and remedy.
        error: NumberError,
    },
    /// A value that is no identifier of the kind given in its schema.
    #[error("line {line}, column `{column}`: {why}")]
    Identifier {
        /// The line of the file.
        line: u64,
        /// The column.
        column: String,
        /// Fault and remedy.
        why: String,
    },
}

impl RowError {
    /// Describes the fault without the line, for who tells that apart.
    #[must_use]
    pub fn without_line(&self) -> String {
        match self {
            Self::Width {
                line: _,
                expected,
                found,
            } => format!("{found} values where the header has {expected} columns"),
            Self::Value {
                line: _,
                column,
                value,
                needed,
            } => format!("column `{column}`: `{value}` is not {needed}; correct the value"),
            Self::Number {
                line: _,
                column,
                error,
            } => format!("column `{column}`: {error}"),
            Self::Identifier {
                line: _,
                column,
                why,
            } => format!("column `{column}`: {why}"),
        }
    }
}

/// Treatment of identifiers whose check digit is wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WrongDigits {
    /// The row is refused.
    #[default]
    Refused,
    /// They are taken, and marked.
    Marked,
}

/// Reading of a file's values, as far as a person says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wording {
    /// Decimal mark of its numbers; `None` if the numbers of each column say it.
    pub decimal: Option<DecimalMark>,
    /// Treatment of identifiers whose check digit is wrong.
    pub wrong_digits: WrongDigits,
}

/// Column of a file for each field of the schema.
#[derive(Debug, Clone)]
pub struct Columns<'s> {
    schema: &'s Schema,
    /// The column of each field, in the schema's order.
    of_field: Vec<Option<usize>>,
    width: usize,
    wording: Wording,
    points_by_default: bool,
    /// Evidence on the decimal mark of each field that is a number, in the schema's order.
    evidence: Vec<Evidence>,
}

impl<'s> Columns<'s> {
    /// Fits the header of a file to the schema.
    ///
    /// # Errors
    ///
    /// [`HeaderError`] names the column.
    pub fn of<'h>(
        schema: &'s Schema,
        header: impl IntoIterator<Item = &'h str>,
    ) -> Result<Self, HeaderError> {
        let mut of_field = vec![None; schema.fields().len()];
        let mut width = 0;
        for (at, column) in header.into_iter().enumerate() {
            let column = column.trim().trim_start_matches('\u{feff}');
            let known = schema
                .fields()
                .iter()
                .position(|field| field.column.to_lowercase() == column.to_lowercase());
            let place = known.and_then(|field| of_field.get_mut(field));
            match place {
                None => return Err(HeaderError::UnknownColumn(column.to_owned())),
                Some(Some(_)) => return Err(HeaderError::RepeatedColumn(column.to_owned())),
                Some(free) => *free = Some(at),
            }
            width = at + 1;
        }
        if width == 0 {
            return Err(HeaderError::Empty);
        }
        for (field, column) in schema.fields().iter().zip(&of_field) {
            if column.is_none() && !field.optional {
                return Err(HeaderError::MissingColumn(field.column.clone()));
            }
        }
        Ok(Self {
            schema,
            evidence: vec![Evidence::default(); of_field.len()],
            of_field,
            width,
            wording: Wording::default(),
            points_by_default: true,
        })
    }

    /// Returns the same, read as a person says. `points_by_default` is false for a file of which it is
    /// not known that its decimal mark is the point.
    #[must_use]
    pub fn worded(self, wording: Wording, points_by_default: bool) -> Self {
        Self {
            wording,
            points_by_default,
            ..self
        }
    }

    /// Returns whether the file has numbers whose decimal mark is looked for.
    #[must_use]
    pub fn has_decimals(&self) -> bool {
        let fields = self.schema.fields().iter().zip(&self.of_field);
        fields
            .into_iter()
            .any(|(field, column)| field.kind == FieldType::Decimal && column.is_some())
    }

    /// Takes in what one row says on the decimal marks of its columns.
    pub fn look<'r>(&mut self, row: impl IntoIterator<Item = &'r str>) {
        let row: Vec<&str> = row.into_iter().collect();
        let fields = self.schema.fields().iter().zip(&self.of_field);
        for ((field, column), evidence) in fields.zip(&mut self.evidence) {
            let value = column.and_then(|column| row.get(column));
            if let (FieldType::Decimal, Some(value)) = (field.kind, value) {
                evidence.look(value.trim());
            }
        }
    }

    /// Describes the columns whose numbers have decimal commas or thousands marks.
    #[must_use]
    pub fn said(&self) -> Vec<String> {
        let fields = self.schema.fields().iter().zip(&self.evidence);
        fields
            .flat_map(|(field, evidence)| {
                let commas = self.wording.decimal.or(evidence.mark()) == Some(DecimalMark::Comma);
                let is_number = field.kind == FieldType::Decimal;
                [
                    (commas, "decimal commas"),
                    (evidence.is_grouped(), "thousands marks"),
                ]
                .into_iter()
                .filter(move |(found, _)| *found && is_number)
                .map(|(_, what)| format!("{what} in `{}`", field.column))
            })
            .collect()
    }

    fn marks(&self) -> impl Iterator<Item = Marks> {
        self.evidence.iter().map(|evidence| Marks {
            given: self.wording.decimal,
            evidence: *evidence,
            points_by_default: self.points_by_default,
        })
    }

    /// Reads one row; `line` is its line in the file, counted from 1.
    ///
    /// # Errors
    ///
    /// [`RowError`] names the line and the column.
    pub fn consignment<'r>(
        &self,
        line: u64,
        row: impl IntoIterator<Item = &'r str>,
    ) -> Result<Consignment, RowError> {
        let row: Vec<&str> = row.into_iter().collect();
        if row.len() != self.width {
            return Err(RowError::Width {
                line,
                expected: self.width,
                found: row.len(),
            });
        }
        let values = self.of_field.iter().map(|column| {
            column
                .and_then(|column| row.get(column).copied())
                .unwrap_or_default()
        });
        let read = match self.wording.wrong_digits {
            WrongDigits::Refused => as_written,
            WrongDigits::Marked => canonical_unchecked,
        };
        let (values, identifiers) = values_of(self.schema, line, values.zip(self.marks()), read)?;
        let values = with_canonical(self.schema, values, &identifiers);
        build(
            self.schema,
            line,
            values,
            identifiers.into_iter().map(|(_, one)| one).collect(),
        )
    }
}

impl Consignment {
    /// Reads a consignment from its values in the schema's order, as [`Consignment::values`]
    /// returns them. `line` is used in errors only.
    ///
    /// # Errors
    ///
    /// [`RowError`] names the line and the column.
    pub fn from_values<'v>(
        schema: &Schema,
        line: u64,
        values: impl IntoIterator<Item = &'v str>,
    ) -> Result<Self, RowError> {
        let values: Vec<&str> = values.into_iter().collect();
        let expected = schema.fields().len();
        if values.len() != expected {
            return Err(RowError::Width {
                line,
                expected,
                found: values.len(),
            });
        }
        let marked = values.into_iter().map(|value| (value, Marks::CANONICAL));
        let (values, identifiers) = values_of(schema, line, marked, as_kept)?;
        build(
            schema,
            line,
            values,
            identifiers.into_iter().map(|(_, one)| one).collect(),
        )
    }

    /// Adds identifiers that a documented rule made because the data has none; they are marked as
    /// generated.
    #[must_use]
    pub fn with_generated(mut self, made: impl IntoIterator<Item = Identifier>) -> Self {
        self.identifiers
            .extend(made.into_iter().map(|identifier| Identifier {
                generated: true,
                ..identifier
            }));
        self
    }

    /// Sets the result of its control; `None`: it was not controlled. Returns nothing if the schema takes
    /// no consignment without a result.
    #[must_use]
    pub fn with_finding(mut self, schema: &Schema, finding: Option<bool>) -> Option<Self> {
        let field = schema.fields().get(schema.finding.get())?;
        let flag = match finding {
            Some(true) => "1",
            Some(false) => "0",
            None => "",
        };
        let value = self.values.get_mut(schema.finding.get())?;
        // It stands in no line, and is no number.
        *value = canonical_value(field, 0, flag, Marks::CANONICAL).ok()?;
        self.finding = finding;
        Some(self)
    }

    /// Its values in the schema's order, canonical; empty for an optional field without a value.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(AsRef::as_ref)
    }

    /// Returns the value of one field.
    #[must_use]
    pub fn value(&self, field: FieldIndex) -> &str {
        self.values.get(field.get()).map_or("", AsRef::as_ref)
    }

    /// Returns its id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.value(self.id)
    }

    /// Returns the office that handles it.
    #[must_use]
    pub fn office(&self) -> &str {
        self.value(self.office)
    }

    /// Returns the start of its day (UTC).
    #[must_use]
    pub const fn day_begins(&self) -> Timestamp {
        self.date
    }

    /// Returns the last millisecond of its day (UTC).
    #[must_use]
    pub const fn day_ends(&self) -> Timestamp {
        self.date.plus_millis(DAY_MS - 1)
    }

    /// Returns the period of the profiles that count it.
    #[must_use]
    pub fn period(&self) -> Period {
        Period(format!("{:04}", self.year))
    }

    /// Returns the year of its day.
    #[must_use]
    pub const fn year(&self) -> i16 {
        self.year
    }

    /// Returns the result of its control; `None` if it was not controlled.
    #[must_use]
    pub const fn finding(&self) -> Option<bool> {
        self.finding
    }

    /// Returns whether it came by sea.
    #[must_use]
    pub const fn by_sea(&self) -> bool {
        self.by_sea
    }

    /// Returns the identifiers by which indicators can name it.
    #[must_use]
    pub fn identifiers(&self) -> &[Identifier] {
        &self.identifiers
    }
}

/// Reads the canonical text of an identifier, and whether its check digit is wrong.
type ReadIdentifier = fn(SelectorKind, &str) -> Result<(String, bool), SelectorError>;

fn as_written(kind: SelectorKind, text: &str) -> Result<(String, bool), SelectorError> {
    canonical(kind, text).map(|text| (text, false))
}

/// Reads an identifier that was kept. What has a wrong check digit was accepted all the same.
fn as_kept(kind: SelectorKind, text: &str) -> Result<(String, bool), SelectorError> {
    match canonical_as_kept(kind, text) {
        Ok(text) => Ok((text, false)),
        Err(error) => canonical_unchecked(kind, text).map_err(|_| error),
    }
}

/// Values in the schema's order, and the identifiers among them, each with its field.
type Read = (Vec<Box<str>>, Vec<(FieldIndex, Identifier)>);

fn values_of<'v>(
    schema: &Schema,
    line: u64,
    texts: impl IntoIterator<Item = (&'v str, Marks)>,
    read: ReadIdentifier,
) -> Result<Read, RowError> {
    let values = schema
        .fields()
        .iter()
        .zip(texts)
        .map(|(field, (text, marks))| canonical_value(field, line, text, marks))
        .collect::<Result<Vec<Box<str>>, RowError>>()?;
    let identifiers = identifiers(schema, line, &values, read)?;
    Ok((values, identifiers))
}

/// Returns the values with the canonical text of each that is an identifier, so that a port has one
/// text in the cells of a profile too.
fn with_canonical(
    schema: &Schema,
    mut values: Vec<Box<str>>,
    identifiers: &[(FieldIndex, Identifier)],
) -> Vec<Box<str>> {
    for rule in schema
        .identifiers()
        .iter()
        .filter(|rule| rule.prefix.is_empty())
    {
        let Some(field) = rule.field else { continue };
        let read = identifiers.iter().find(|(from, _)| *from == field);
        if let (Some((_, identifier)), Some(value)) = (read, values.get_mut(field.get())) {
            *value = identifier.value.as_str().into();
        }
    }
    values
}

fn build(
    schema: &Schema,
    line: u64,
    values: Vec<Box<str>>,
    identifiers: Vec<Identifier>,
) -> Result<Consignment, RowError> {
    let value = |index: FieldIndex| values.get(index.get()).map_or("", AsRef::as_ref);
    let day = value(schema.date);
    let date = day.parse::<Timestamp>().ok();
    let year = day.get(..4).and_then(|year| year.parse::<i16>().ok());
    let (Some(date), Some(year)) = (date, year) else {
        return Err(RowError::Value {
            line,
            column: schema.column(schema.date).to_owned(),
            value: day.to_owned(),
            needed: DAY_NEEDED.to_owned(),
        });
    };
    let finding = match value(schema.finding) {
        "" => None,
        flag => Some(flag == "1"),
    };
    let by_sea = schema
        .transport
        .as_ref()
        .is_some_and(|(field, sea)| value(*field) == sea);
    Ok(Consignment {
        id: schema.id,
        office: schema.office,
        date,
        year,
        finding,
        by_sea,
        identifiers,
        values,
    })
}

fn identifiers(
    schema: &Schema,
    line: u64,
    values: &[Box<str>],
    read: ReadIdentifier,
) -> Result<Vec<(FieldIndex, Identifier)>, RowError> {
    let mut identifiers = Vec::new();
    for rule in schema.identifiers() {
        let Some(field) = rule.field else { continue };
        let value = values.get(field.get()).map_or("", AsRef::as_ref);
        if value.is_empty() {
            continue;
        }
        let text = format!("{}{value}", rule.prefix);
        let kind = rule.kind.as_written(&text);
        let (value, unchecked) = read(kind, &text).map_err(|error| RowError::Identifier {
            line,
            column: schema.column(field).to_owned(),
            why: error.to_string(),
        })?;
        let identifier = Identifier {
            kind,
            value,
            generated: false,
            unchecked,
        };
        identifiers.push((field, identifier));
    }
    Ok(identifiers)
}

fn bad_value(field: &Field, line: u64, value: &str) -> RowError {
    let needed = match (field.kind, field.digits) {
        (FieldType::Text, Some(digits)) => format!("a code of {digits} digits"),
        (FieldType::Text, None) => "a text; it must not be empty".to_owned(),
        (FieldType::Decimal, _) => "a decimal number such as `8.5`".to_owned(),
        (FieldType::Date, _) => DAY_NEEDED.to_owned(),
        (FieldType::Flag, _) => "`0` or `1`".to_owned(),
    };
    RowError::Value {
        line,
        column: field.column.clone(),
        value: value.to_owned(),
        needed,
    }
}

/// Returns the canonical text of a value.
fn canonical_value(
    field: &Field,
    line: u64,
    given: &str,
    marks: Marks,
) -> Result<Box<str>, RowError> {
    let text = given.trim();
    let bad = || bad_value(field, line, given);
    if text.is_empty() {
        return if field.optional {
            Ok(Box::default())
        } else {
            Err(bad())
        };
    }
    let code = field.digits.map(|digits| code(text, digits));
    match (field.kind, code) {
        (_, Some(None)) => Err(bad()),
        (FieldType::Text, Some(Some(code))) => Ok(code),
        (FieldType::Text, None) => Ok(text.into()),
        (FieldType::Decimal, _) => number::canonical(text, marks)
            .map(String::into_boxed_str)
            .map_err(|error| RowError::Number {
                line,
                column: field.column.clone(),
                error,
            }),
        (FieldType::Date, _) => is_day(text).then(|| text.into()).ok_or_else(bad),
        (FieldType::Flag, _) => {
            let is_flag = matches!(text, "0" | "1");
            is_flag.then(|| text.into()).ok_or_else(bad)
        }
    }
}

/// Returns a code of so many digits; dots and blanks within it are how people show it.
fn code(text: &str, digits: usize) -> Option<Box<str>> {
    let shown = |one: char| matches!(one, '.' | ' ');
    let bare: String = text.chars().filter(|one| !shown(*one)).collect();
    let is_code = !text.starts_with(shown)
        && !text.ends_with(shown)
        && bare.len() == digits
        && bare.bytes().all(|byte| byte.is_ascii_digit());
    is_code.then(|| bare.into())
}

fn is_day(text: &str) -> bool {
    text.len() == 10 && text.parse::<Timestamp>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{CUSTOMS_KR, HEADER, schema};

    const ROW: &str = "97061800,2020-02-29,30,B,11,21,11,10,ZZR1LT6,QLRUBN9,0VKY2BR,,440890,BE,BE,0.0,FEU1,G,108.0,372254.4,0,0";

    fn read(header: &str, row: &str) -> Result<Consignment, RowError> {
        let schema = schema();
        let columns = Columns::of(&schema, header.split(',')).unwrap();
        columns.consignment(7, row.split(','))
    }

    #[track_caller]
    fn refused(from: &str, to: &str, says: &str) {
        let row = ROW.replacen(from, to, 1);
        assert_ne!(row, ROW);
        assert_eq!(read(HEADER, &row).unwrap_err().to_string(), says);
    }

    #[test]
    fn a_row_becomes_a_consignment() {
        let read = read(HEADER, ROW).unwrap();
        assert_eq!(
            (read.id(), read.office(), read.finding()),
            ("97061800", "30", Some(false))
        );
        assert_eq!(read.period().as_str(), "2020");
        assert_eq!(read.day_begins().to_string(), "2020-02-29T00:00:00.000Z");
        assert_eq!(read.day_ends().to_string(), "2020-02-29T23:59:59.999Z");
        assert!(read.by_sea());
        let kinds: Vec<_> = read
            .identifiers()
            .iter()
            .map(|i| (i.kind, i.value.as_str()))
            .collect();
        assert_eq!(
            kinds,
            [
                (SelectorKind::Trader, "KR:QLRUBN9"),
                (SelectorKind::HsCode, "440890")
            ]
        );
    }

    #[test]
    fn the_result_of_a_control_is_kept_like_an_imported_one() {
        let schema = schema();
        let first = read(HEADER, ROW).unwrap();
        for (finding, value) in [(Some(true), "1"), (Some(false), "0"), (None, "")] {
            let closed = first.clone().with_finding(&schema, finding).unwrap();
            assert_eq!(closed.value(schema.finding), value);
            let again = Consignment::from_values(&schema, 1, closed.values()).unwrap();
            assert_eq!((again.finding(), &again), (finding, &closed));
        }
        let strict = CUSTOMS_KR.replace("optional = true", "optional = false");
        let strict = Schema::parse(&strict).unwrap();
        assert_eq!(first.with_finding(&strict, None), None);
    }

    #[test]
    fn columns_may_stand_in_any_order() {
        let turned = |line: &str| line.split(',').rev().collect::<Vec<_>>().join(",");
        assert_eq!(read(&turned(HEADER), &turned(ROW)), read(HEADER, ROW));
    }

    #[test]
    fn values_read_again_are_the_same_consignment() {
        let first = read(HEADER, ROW).unwrap();
        let again = Consignment::from_values(&schema(), 1, first.values()).unwrap();
        assert_eq!(again, first);
    }

    #[test]
    fn bad_values_name_line_column_and_cure() {
        refused(
            "QLRUBN9",
            "QL_UBN9",
            "line 7, column `Importer ID`: no trader selector: the trader id `QL_UBN9` contains `_`; use letters a-z, digits, `-`, `.` and `/`",
        );
        refused(
            "2020-02-29",
            "2021-02-29",
            "line 7, column `Date`: `2021-02-29` is not a day such as `2021-03-31`; correct the value",
        );
        refused(
            "440890",
            "40890",
            "line 7, column `HS6 Code`: `40890` is not a code of 6 digits; correct the value",
        );
        refused(
            "0.0,",
            "8%,",
            "line 7, column `Tax Rate`: `8%` carries the unit `%`; write the number alone, in the unit that \
             the column is in",
        );
        refused(
            ",0,0",
            ",2,0",
            "line 7, column `Fraud`: `2` is not `0` or `1`; correct the value",
        );
        refused(
            ",B,",
            ", ,",
            "line 7, column `Process Type`: ` ` is not a text; it must not be empty; correct the value",
        );
        refused(
            ",BE,BE",
            ",BE",
            "line 7: 21 values where the header has 22 columns; look for a missing quote or comma",
        );
    }

    #[test]
    fn headers_name_what_is_unknown_missing_or_twice() {
        let schema = schema();
        let error = |header: String| {
            Columns::of(&schema, header.split(','))
                .unwrap_err()
                .to_string()
        };
        assert!(error(format!("{HEADER},Colour")).contains("no column `Colour`"));
        assert!(error(format!("{HEADER},Date")).contains("`Date` stands twice"));
        assert!(error(HEADER.replace("Date,", "")).contains("`Date` is missing"));
        assert!(error(String::new()).contains("no column ``"));
        assert_eq!(Columns::of(&schema, []).unwrap_err(), HeaderError::Empty);
    }

    /// Bugs 15, 18: a unit of rail in the column of containers; a trader that a file of before names in
    /// a form that is not taken any more.
    #[test]
    fn units_become_their_kind_and_what_was_kept_stays_readable() {
        let text = CUSTOMS_KR
            .replace(
                "generated = true\n\n[[identifier]]\nkind = \"imo\"",
                "field = \"seller\"\n\n[[identifier]]\nkind = \"imo\"",
            )
            .replace(
                "kind = \"trader\"\nfield = \"importer\"\nprefix = \"KR:\"",
                "kind = \"eori\"\nfield = \"importer\"",
            );
        let schema = Schema::parse(&text).unwrap();
        let columns = Columns::of(&schema, HEADER.split(',')).unwrap();
        let of = |row: &str| columns.consignment(2, row.split(','));
        let row = ROW
            .replace("0VKY2BR", "xyza 100309-4")
            .replace("QLRUBN9", "GB 123 456 789 000");
        let unit = of(&row).unwrap();
        let named: Vec<_> = unit
            .identifiers()
            .iter()
            .map(|one| (one.kind, one.value.as_str()))
            .collect();
        assert_eq!(named[0], (SelectorKind::Eori, "GB123456789000"));
        assert_eq!(named[2], (SelectorKind::Ilu, "XYZA1003094"));
        let before = ROW
            .replace("0VKY2BR", "")
            .replace("QLRUBN9", "GB-123456789");
        assert!(of(&before).is_err());
        let kept: Vec<&str> = before.split(',').collect();
        let kept = kept_in_order(&schema, &kept);
        let kept = Consignment::from_values(&schema, 0, kept.iter().map(String::as_str)).unwrap();
        assert_eq!(kept.identifiers()[0].value, "GB-123456789");
    }

    /// Returns a row's values in the schema's order.
    fn kept_in_order(schema: &Schema, row: &[&str]) -> Vec<String> {
        let place = |column: &str| HEADER.split(',').position(|name| name == column).unwrap();
        let fields = schema.fields().iter();
        fields
            .map(|field| row[place(field.column())].to_owned())
            .collect()
    }

    #[test]
    fn a_file_without_findings_is_one_that_was_not_controlled_yet() {
        let header = HEADER.replace(",Fraud,Critical Fraud", "");
        let row = ROW.trim_end_matches(",0,0");
        assert_eq!(read(&header, row).unwrap().finding(), None);
    }

    #[test]
    fn generated_identifiers_are_marked_whatever_their_maker_says() {
        let made = Identifier {
            kind: SelectorKind::Container,
            value: "CSQU3054383".into(),
            generated: false,
            unchecked: false,
        };
        let read = read(HEADER, ROW).unwrap().with_generated([made]);
        assert!(read.identifiers().last().unwrap().generated);
        assert!(!read.identifiers().first().unwrap().generated);
    }

    #[test]
    fn a_period_is_a_year() {
        assert_eq!("2020".parse::<Period>().unwrap().to_string(), "2020");
        for text in ["", "20", "2020-01", "20x0", "２０２０"] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }
}

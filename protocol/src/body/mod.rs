//! Bodies of sections: the content behind the digests that a header lists.
//!
//! A body is decoded once, after its digest has been checked. The decoded type can hold only what
//! its section may hold. Sizes are bounded; free text is kept as it came.

mod selector;

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message as _;

pub use crate::shape::{MAX_CELL_VALUES, MAX_SELECTORS};
pub use selector::{
    Selector, SelectorError, SelectorKind, Window, canonical, canonical_as_kept,
    canonical_unchecked,
};

use crate::{
    digest::Digest,
    identifiers::AuthorityId,
    marking::DataSubject,
    named::named,
    record::{Kind, SectionTag},
    rules::Rule,
    shape::{self, Misshapen, Shaped},
    version, wire,
};

/// The most bytes an encoded body has.
pub const MAX_BODY_BYTES: usize = 4 << 20;
/// The most bytes the encoded body of a section has that holds neither files nor cells.
pub const MAX_PLAIN_BODY_BYTES: usize = 256 << 10;
/// The most bytes a free text has.
pub const MAX_TEXT_BYTES: usize = 64 << 10;
/// The most bytes one of these values has.
pub const MAX_CELL_VALUE_BYTES: usize = 256;

/// The decoded content of one section.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// The subject of the record: its selectors and title.
    Subject(Subject),
    /// The threat and its assessment.
    Assessment(Assessment),
    /// The account in free text.
    Narrative(String),
    /// The source of the information.
    Source(String),
    /// Persons concerned.
    Persons(Vec<Person>),
    /// Files.
    Attachments(Vec<Attachment>),
    /// Counts of a risk profile.
    Cells(Cells),
}

/// The subject of a record: its selectors and a title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The identifiers to look out for; at least one in an indicator or an alert.
    pub selectors: Vec<Selector>,
    /// One line of text for the reader.
    pub title: String,
    /// True if a rule of the demonstration made it; it is then no real input.
    pub generated: bool,
}

/// The threat and its assessment, kept apart from the facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    /// The threat, for instance `narcotics`.
    pub threat: String,
    /// The result of the control; outcomes only.
    pub finding: Option<Finding>,
    /// Free text.
    pub text: String,
}

named! {
    /// Result of a control.
    Finding, "finding", "`found`, `not-found`" {
        /// The goods were not as declared.
        Found = "found",
        /// Nothing was found.
        NotFound = "not-found",
    }
}

/// A person concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The name.
    pub name: String,
    /// The person's part in the matter.
    pub role: String,
    /// Their category.
    pub category: DataSubject,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Its name.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub content: Bytes,
}

/// Counts of a risk profile. Schema, period and contributors are stated in full, so that the counts
/// can be read by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cells {
    /// The digest of the profile schema.
    pub schema: Digest,
    /// The period, for instance `2020`.
    pub period: String,
    /// The authorities whose rows are counted; never empty.
    pub contributors: BTreeSet<AuthorityId>,
    /// Number of this part, counted from 1.
    pub part: u32,
    /// Number of parts.
    pub parts: u32,
    /// The counts, ascending by key, each key once.
    pub cells: Vec<Cell>,
}

/// The counts of one cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The values of the most specific level, in the schema's order.
    pub key: Vec<String>,
    /// Number of controls; at least one.
    pub controls: u32,
    /// Number of findings; at most the number of controls.
    pub findings: u32,
}

/// Error for bytes that are not the body of a section, and for a body that cannot be sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// They cannot be decoded.
    #[error("the body cannot be decoded")]
    Unreadable,
    /// It is larger than allowed.
    #[error("the body has {bytes} bytes, {most} are allowed; split it")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The most that its section may hold.
        most: usize,
    },
    /// A list or text is longer than allowed.
    #[error("`{0}` is longer than allowed; shorten it")]
    TooLong(&'static str),
    /// A list has more elements than any receiver takes; they were not decoded.
    #[error("the body has more of `{0}` than are allowed; split it")]
    TooMany(&'static str),
    /// It holds a field or a value that this version does not know.
    #[error("the body holds something that this version does not know")]
    LaterVersion,
    /// A subject has no selector.
    #[error("a subject names at least one selector")]
    NoSelector,
    /// A selector is not valid.
    #[error(transparent)]
    Selector(#[from] SelectorError),
    /// A field holds a value that is not allowed.
    #[error("`{0}` holds a value that is not allowed")]
    Value(&'static str),
}

impl BodyError {
    /// Describes the fault without any value of the body, so that the text is fit for logs,
    /// receipts and peers.
    #[must_use]
    pub fn without_values(&self) -> String {
        match self {
            Self::Selector(SelectorError::Identifier { kind, why: _ }) => {
                format!("a {kind} selector holds no such identifier")
            }
            Self::Selector(SelectorError::NoWindow(_) | SelectorError::EmptyWindow)
            | Self::Unreadable
            | Self::TooLarge { .. }
            | Self::TooLong(_)
            | Self::TooMany(_)
            | Self::LaterVersion
            | Self::NoSelector
            | Self::Value(_) => self.to_string(),
        }
    }

    /// Returns the rule under which a record with such a body is refused.
    pub(crate) const fn rule(&self) -> Rule {
        match self {
            Self::LaterVersion => Rule::LaterVersion,
            Self::TooMany(_) => Rule::TooManyElements,
            Self::Unreadable
            | Self::TooLarge { .. }
            | Self::TooLong(_)
            | Self::NoSelector
            | Self::Selector(_)
            | Self::Value(_) => Rule::SectionBody,
        }
    }
}

impl Body {
    /// The section that holds this.
    #[must_use]
    pub const fn tag(&self) -> SectionTag {
        match self {
            Self::Subject(_) => SectionTag::Subject,
            Self::Assessment(_) => SectionTag::Assessment,
            Self::Narrative(_) => SectionTag::Narrative,
            Self::Source(_) => SectionTag::Source,
            Self::Persons(_) => SectionTag::Persons,
            Self::Attachments(_) => SectionTag::Attachments,
            Self::Cells(_) => SectionTag::Cells,
        }
    }

    /// Returns the smallest count of controls of any cell; `None` for other sections than cells.
    #[must_use]
    pub fn least_count(&self) -> Option<u32> {
        match self {
            Self::Cells(cells) => cells.cells.iter().map(|cell| cell.controls).min(),
            Self::Subject(_)
            | Self::Assessment(_)
            | Self::Narrative(_)
            | Self::Source(_)
            | Self::Persons(_)
            | Self::Attachments(_) => None,
        }
    }

    /// Returns the version of the protocol that a node needs to read it.
    #[must_use]
    pub fn needs(&self) -> u32 {
        match self {
            Self::Subject(subject) => subject.selectors.iter().map(Selector::needs).max(),
            Self::Assessment(_)
            | Self::Narrative(_)
            | Self::Source(_)
            | Self::Persons(_)
            | Self::Attachments(_)
            | Self::Cells(_) => None,
        }
        .unwrap_or(version::FIRST)
    }

    /// Checks that a record of this kind may hold this body: the assessment of an outcome has a
    /// finding, that of any other kind has none.
    ///
    /// # Errors
    ///
    /// [`BodyError::Value`] if a finding is missing or is too much.
    pub(crate) fn check_kind(&self, kind: Kind) -> Result<(), BodyError> {
        match self {
            Self::Assessment(assessment)
                if assessment.finding.is_some() != (kind == Kind::Outcome) =>
            {
                Err(BodyError::Value("finding"))
            }
            Self::Assessment(_)
            | Self::Subject(_)
            | Self::Narrative(_)
            | Self::Source(_)
            | Self::Persons(_)
            | Self::Attachments(_)
            | Self::Cells(_) => Ok(()),
        }
    }

    /// The bytes to seal.
    ///
    /// # Errors
    ///
    /// [`BodyError`] if it would be refused when decoded.
    pub fn encode(&self) -> Result<Bytes, BodyError> {
        let bytes: Bytes = match self {
            Self::Subject(subject) => wire::Subject::from(subject).encode_to_vec(),
            Self::Assessment(assessment) => wire::Assessment::from(assessment).encode_to_vec(),
            Self::Narrative(text) => wire::Narrative { text: text.clone() }.encode_to_vec(),
            Self::Source(text) => wire::Source { text: text.clone() }.encode_to_vec(),
            Self::Persons(persons) => wire::Persons {
                persons: persons.iter().map(wire::Person::from).collect(),
            }
            .encode_to_vec(),
            Self::Attachments(files) => wire::Attachments {
                attachments: files.iter().map(wire::Attachment::from).collect(),
            }
            .encode_to_vec(),
            Self::Cells(cells) => wire::Cells::from(cells).encode_to_vec(),
        }
        .into();
        Self::decode(self.tag(), &bytes)?;
        Ok(bytes)
    }

    /// Reads the body of a section.
    ///
    /// # Errors
    ///
    /// [`BodyError`] says what is not allowed in it.
    pub fn decode(tag: SectionTag, bytes: &Bytes) -> Result<Self, BodyError> {
        let most = most_bytes(tag);
        if bytes.len() > most {
            return Err(BodyError::TooLarge {
                bytes: bytes.len(),
                most,
            });
        }
        match tag {
            SectionTag::Subject => decode::<wire::Subject>(bytes)?
                .try_into()
                .map(Self::Subject),
            SectionTag::Assessment => decode::<wire::Assessment>(bytes)?
                .try_into()
                .map(Self::Assessment),
            SectionTag::Narrative => {
                text("narrative", decode::<wire::Narrative>(bytes)?.text).map(Self::Narrative)
            }
            SectionTag::Source => {
                text("source", decode::<wire::Source>(bytes)?.text).map(Self::Source)
            }
            SectionTag::Persons => decode::<wire::Persons>(bytes)?
                .persons
                .into_iter()
                .map(Person::try_from)
                .collect::<Result<_, _>>()
                .map(Self::Persons),
            SectionTag::Attachments => decode::<wire::Attachments>(bytes)?
                .attachments
                .into_iter()
                .map(Attachment::try_from)
                .collect::<Result<_, _>>()
                .map(Self::Attachments),
            SectionTag::Cells => decode::<wire::Cells>(bytes)?.try_into().map(Self::Cells),
        }
    }
}

fn decode<M: Shaped>(bytes: &Bytes) -> Result<M, BodyError> {
    shape::read(bytes).map_err(|error| match error {
        Misshapen::Unreadable => BodyError::Unreadable,
        Misshapen::LaterField(_) | Misshapen::LaterValue { .. } => BodyError::LaterVersion,
        Misshapen::TooMany { field, .. } => BodyError::TooMany(field),
    })
}

/// Returns the most bytes that an encoded body of this section may have. Decoded types take more
/// memory than the bytes they come from, so that only sections that must be large may be.
const fn most_bytes(tag: SectionTag) -> usize {
    match tag {
        SectionTag::Attachments | SectionTag::Cells => MAX_BODY_BYTES,
        SectionTag::Subject
        | SectionTag::Assessment
        | SectionTag::Narrative
        | SectionTag::Source
        | SectionTag::Persons => MAX_PLAIN_BODY_BYTES,
    }
}

/// Takes a text that is not longer than allowed and holds no control characters that a terminal
/// would act on.
pub(crate) fn text(field: &'static str, text: String) -> Result<String, BodyError> {
    let obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    if text.len() > MAX_TEXT_BYTES {
        return Err(BodyError::TooLong(field));
    }
    if text.chars().any(obeyed) {
        return Err(BodyError::Value(field));
    }
    Ok(text)
}

/// Takes a text of one line under the same rules.
pub(crate) fn line(field: &'static str, line: String) -> Result<String, BodyError> {
    if line.chars().any(char::is_control) {
        return Err(BodyError::Value(field));
    }
    text(field, line)
}

impl Cells {
    /// Checks what the wire format cannot express: part numbers, counts, and ascending keys of one
    /// length.
    pub(crate) fn checked(self) -> Result<Self, BodyError> {
        let parts_fit = (1..=self.parts).contains(&self.part);
        if !parts_fit {
            return Err(BodyError::Value("part"));
        }
        if self.contributors.is_empty() {
            return Err(BodyError::Value("contributors"));
        }
        let graphic = self.period.bytes().all(|byte| byte.is_ascii_graphic());
        if !(1..=32).contains(&self.period.len()) || !graphic {
            return Err(BodyError::Value("period"));
        }
        let width = self.cells.first().map_or(0, |cell| cell.key.len());
        let is_value = |value: &String| {
            value.len() <= MAX_CELL_VALUE_BYTES && !value.contains(char::is_control)
        };
        let counts_fit = self.cells.iter().all(|cell| {
            cell.controls > 0
                && cell.findings <= cell.controls
                && cell.key.len() == width
                && cell.key.iter().all(is_value)
        });
        if !counts_fit || width == 0 || width > MAX_CELL_VALUES {
            return Err(BodyError::Value("cells"));
        }
        let ascending = self.cells.is_sorted_by(|left, right| left.key < right.key);
        if ascending {
            Ok(self)
        } else {
            Err(BodyError::Value("cells"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(cells: Vec<Cell>) -> Cells {
        Cells {
            schema: Digest::from_bytes([1; 32]),
            period: "2020".to_owned(),
            contributors: ["kr-customs-40".parse().unwrap()].into(),
            part: 1,
            parts: 1,
            cells,
        }
    }

    fn cell(key: &str, controls: u32, findings: u32) -> Cell {
        Cell {
            key: vec![key.to_owned()],
            controls,
            findings,
        }
    }

    #[test]
    fn a_body_reads_as_it_was_written() {
        let body = Body::Cells(cells(vec![cell("a", 3, 1), cell("b", 2, 2)]));
        assert_eq!(
            Body::decode(SectionTag::Cells, &body.encode().unwrap()),
            Ok(body.clone())
        );
        assert_eq!(body.least_count(), Some(2));
    }

    #[test]
    fn counts_that_cannot_be_are_refused() {
        for bad in [
            vec![],
            vec![cell("a", 0, 0)],
            vec![cell("a", 1, 2)],
            vec![cell("b", 1, 0), cell("a", 1, 0)],
            vec![cell("a", 1, 0), cell("a", 1, 0)],
        ] {
            assert!(Body::Cells(cells(bad)).encode().is_err());
        }
        let mut second_of_one = cells(vec![cell("a", 1, 0)]);
        second_of_one.part = 2;
        assert!(Body::Cells(second_of_one).encode().is_err());
    }

    #[test]
    fn a_subject_that_names_nothing_is_refused() {
        let subject = Subject {
            selectors: Vec::new(),
            title: String::new(),
            generated: false,
        };
        assert_eq!(Body::Subject(subject).encode(), Err(BodyError::NoSelector));
    }

    #[test]
    fn texts_that_a_terminal_would_obey_are_refused() {
        let story = |text: &str| Body::Narrative(text.to_owned()).encode();
        assert!(story("two lines\n\tof text\r\n").is_ok());
        for text in ["\u{1b}[2J", "\0", "\u{9b}31m", "a\u{7f}"] {
            assert_eq!(story(text), Err(BodyError::Value("narrative")));
        }
        let threat = |threat: &str| {
            Body::Assessment(Assessment {
                threat: threat.to_owned(),
                finding: None,
                text: String::new(),
            })
            .encode()
        };
        assert!(threat("fraud").is_ok());
        assert_eq!(threat("fraud\nTLP:CLEAR"), Err(BodyError::Value("threat")));
        let mut odd = cells(vec![cell("a", 1, 0)]);
        odd.period = "2020\n".to_owned();
        assert_eq!(Body::Cells(odd).encode(), Err(BodyError::Value("period")));
        let odd = cells(vec![cell("\u{1b}", 1, 0)]);
        assert_eq!(Body::Cells(odd).encode(), Err(BodyError::Value("cells")));
        let long = cells(vec![cell(&"x".repeat(MAX_CELL_VALUE_BYTES + 1), 1, 0)]);
        assert_eq!(Body::Cells(long).encode(), Err(BodyError::Value("cells")));
    }

    #[test]
    fn a_body_that_holds_no_files_is_small() {
        let person = Person {
            name: "n".repeat(1000),
            role: String::new(),
            category: DataSubject::Other,
        };
        let persons = |count: usize| Body::Persons(vec![person.clone(); count]).encode();
        assert!(persons(250).is_ok());
        assert!(matches!(persons(300), Err(BodyError::TooLarge { .. })));
    }

    #[test]
    fn long_texts_are_refused() {
        assert_eq!(
            Body::Narrative("x".repeat(MAX_TEXT_BYTES + 1)).encode(),
            Err(BodyError::TooLong("narrative"))
        );
    }
}

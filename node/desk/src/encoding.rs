//! Encoding of a stored consignment: compact and versioned, because the store encrypts bytes.
//!
//! ```text
//! version    u8: 1, or 2 if a person closed it
//! values     u16 count, then each: u32 length, UTF-8      (in the schema's order)
//! generated  u16 count, then each: u8 length, kind's name; u32 length, UTF-8
//! closing    in version 2: u8 result; i64 time in ms; u32 length, person; u32 length, note
//! ```
//!
//! Numbers are big-endian. Refuses another version, text that is not UTF-8, too few or too many
//! bytes, and values that the schema in use does not take.

use portcullis_protocol::{
    body::{SelectorKind, canonical},
    time::Timestamp,
};
use portcullis_scoring::{
    consignment::{Consignment, RowError},
    identifier::Identifier,
    schema::Schema,
};

use portcullis_store::{ConsignmentRow, ConsignmentStage};

const OPEN: u8 = 1;
const CLOSED: u8 = 2;

/// Error of reading a stored consignment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// A newer version of the software wrote it.
    #[error("a stored consignment has format {0}, this version reads 1 and 2; update portcullis")]
    Version(u8),
    /// It has too few or too many bytes, or a part that is not valid text.
    #[error("a stored consignment is damaged; import its file again")]
    Damaged,
    /// The schema does not take its values.
    #[error("a stored consignment does not fit the schema in use ({0}); import its file again")]
    Schema(#[from] RowError),
}

/// Result of closing a consignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlResult {
    /// A control found something.
    Found,
    /// A control found nothing.
    Nothing,
    /// The consignment was let go without a control.
    NoControl,
}

impl ControlResult {
    /// Every result.
    pub const ALL: [Self; 3] = [Self::Found, Self::Nothing, Self::NoControl];

    /// Returns the name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Nothing => "nothing",
            Self::NoControl => "no-control",
        }
    }

    /// Returns the result with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Returns what an import says of such a control: whether it found something; `None` for none.
    #[must_use]
    pub const fn finding(self) -> Option<bool> {
        match self {
            Self::Found => Some(true),
            Self::Nothing => Some(false),
            Self::NoControl => None,
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Found => 1,
            Self::Nothing => 2,
            Self::NoControl => 3,
        }
    }
}

/// Closing of a consignment by a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// Its result.
    pub result: ControlResult,
    /// Time at which the node was told.
    pub at: Timestamp,
    /// Id of the person.
    pub by: String,
    /// Note of the person; empty for none.
    pub note: String,
}

/// Returns the row of the store that keeps a consignment which a person closed.
#[must_use]
pub fn closed_row(consignment: &Consignment, closing: &Closing) -> ConsignmentRow {
    let mut row = row(consignment, ConsignmentStage::History);
    if let Some(version) = row.body.first_mut() {
        *version = CLOSED;
    }
    row.body.push(closing.result.code());
    let at = closing.at.as_millis().to_be_bytes();
    row.body.extend_from_slice(&at);
    put_text(&mut row.body, &closing.by);
    put_text(&mut row.body, &closing.note);
    row
}

/// Returns the row of the store that keeps a consignment.
#[must_use]
pub fn row(consignment: &Consignment, stage: ConsignmentStage) -> ConsignmentRow {
    let identifiers = consignment.identifiers().iter();
    ConsignmentRow {
        reference: consignment.id().to_owned(),
        at: consignment.day_begins(),
        arriving: stage == ConsignmentStage::Arriving,
        body: encode(consignment),
        selectors: identifiers
            .map(|identifier| (identifier.kind, identifier.value.clone()))
            .collect(),
    }
}

/// Encodes a consignment.
#[must_use]
pub fn encode(consignment: &Consignment) -> Vec<u8> {
    let values: Vec<&str> = consignment.values().collect();
    let generated: Vec<&Identifier> = consignment
        .identifiers()
        .iter()
        .filter(|identifier| identifier.generated)
        .collect();
    let mut bytes = vec![OPEN];
    put_count(&mut bytes, values.len());
    for value in values {
        put_text(&mut bytes, value);
    }
    put_count(&mut bytes, generated.len());
    for identifier in generated {
        let name = identifier.kind.name();
        bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(name.as_bytes());
        put_text(&mut bytes, &identifier.value);
    }
    bytes
}

/// Reads a consignment back.
///
/// # Errors
///
/// [`EncodingError`].
pub fn decode(schema: &Schema, bytes: &[u8]) -> Result<Consignment, EncodingError> {
    let kept = Kept::read(bytes)?;
    Ok(Consignment::from_values(schema, 0, kept.values)?.with_generated(kept.generated))
}

/// Reads how a stored consignment was closed; `None` if no person closed it.
///
/// # Errors
///
/// [`EncodingError`].
pub fn closing(bytes: &[u8]) -> Result<Option<Closing>, EncodingError> {
    match bytes.first() {
        // Most were not closed by a person, and an import asks this of every consignment it replaces.
        Some(&OPEN) => Ok(None),
        Some(_) | None => Ok(Kept::read(bytes)?.closing),
    }
}

/// A stored consignment in its parts.
struct Kept<'b> {
    values: Vec<&'b str>,
    generated: Vec<Identifier>,
    closing: Option<Closing>,
}

impl<'b> Kept<'b> {
    fn read(bytes: &'b [u8]) -> Result<Self, EncodingError> {
        let mut rest = Reader(bytes);
        let is_closed = match rest.byte()? {
            OPEN => false,
            CLOSED => true,
            other => return Err(EncodingError::Version(other)),
        };
        let values = (0..rest.count()?)
            .map(|_| rest.text())
            .collect::<Result<_, _>>()?;
        let generated = (0..rest.count()?)
            .map(|_| rest.identifier())
            .collect::<Result<_, _>>()?;
        let closing = is_closed.then(|| rest.closing()).transpose()?;
        if !rest.0.is_empty() {
            return Err(EncodingError::Damaged);
        }
        Ok(Self {
            values,
            generated,
            closing,
        })
    }
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    bytes.extend_from_slice(&u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes());
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

/// The bytes that are still to be read.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, length: usize) -> Result<&'b [u8], EncodingError> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(EncodingError::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], EncodingError> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| EncodingError::Damaged)
    }

    fn byte(&mut self) -> Result<u8, EncodingError> {
        self.array().map(u8::from_be_bytes)
    }

    fn count(&mut self) -> Result<u16, EncodingError> {
        self.array().map(u16::from_be_bytes)
    }

    fn utf8(&mut self, length: usize) -> Result<&'b str, EncodingError> {
        std::str::from_utf8(self.take(length)?).map_err(|_| EncodingError::Damaged)
    }

    fn text(&mut self) -> Result<&'b str, EncodingError> {
        let length = self.array().map(u32::from_be_bytes)?;
        self.utf8(usize::try_from(length).map_err(|_| EncodingError::Damaged)?)
    }

    fn closing(&mut self) -> Result<Closing, EncodingError> {
        let code = self.byte()?;
        let result = ControlResult::ALL
            .into_iter()
            .find(|one| one.code() == code)
            .ok_or(EncodingError::Damaged)?;
        Ok(Closing {
            result,
            at: Timestamp::from_millis(self.array().map(i64::from_be_bytes)?),
            by: self.text()?.to_owned(),
            note: self.text()?.to_owned(),
        })
    }

    fn identifier(&mut self) -> Result<Identifier, EncodingError> {
        let length = self.byte()?;
        let kind: SelectorKind = self
            .utf8(usize::from(length))?
            .parse()
            .map_err(|_| EncodingError::Damaged)?;
        let value = canonical(kind, self.text()?).map_err(|_| EncodingError::Damaged)?;
        Ok(Identifier {
            kind,
            value,
            generated: true,
            unchecked: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::{consignment, schema};

    #[test]
    fn a_consignment_reads_as_it_was_kept() {
        let kept = consignment();
        assert_eq!(decode(&schema(), &encode(&kept)), Ok(kept));
    }

    #[test]
    fn generated_identifiers_stay_marked() {
        let read = decode(&schema(), &encode(&consignment())).unwrap();
        let generated: Vec<bool> = read.identifiers().iter().map(|id| id.generated).collect();
        assert_eq!(generated, [false, false, true, true]);
    }

    #[test]
    fn another_version_is_named() {
        let mut bytes = encode(&consignment());
        bytes[0] = 3;
        assert_eq!(decode(&schema(), &bytes), Err(EncodingError::Version(3)));
        assert_eq!(closing(&bytes), Err(EncodingError::Version(3)));
    }

    /// Newcomer A8: a consignment could not be closed.
    #[test]
    fn a_closed_consignment_is_history_with_its_result_and_says_who_closed_it() {
        for result in ControlResult::ALL {
            let schema = schema();
            let closed = consignment()
                .with_finding(&schema, result.finding())
                .unwrap();
            let how = Closing {
                result,
                at: Timestamp::from_millis(1_700_000_000_123),
                by: "anna".to_owned(),
                note: "two bags behind the cooling".to_owned(),
            };
            let row = closed_row(&closed, &how);
            assert!(!row.arriving);
            assert_eq!(row.selectors.len(), closed.identifiers().len());
            let read = decode(&schema, &row.body).unwrap();
            assert_eq!((read.finding(), &read), (result.finding(), &closed));
            assert_eq!(closing(&row.body), Ok(Some(how)));
            for cut in 1..40 {
                let cut = &row.body[..row.body.len() - cut];
                assert_eq!(closing(cut), Err(EncodingError::Damaged));
                assert!(decode(&schema, cut).is_err());
            }
        }
        assert_eq!(closing(&encode(&consignment())), Ok(None));
    }

    proptest! {
        #[test]
        fn bytes_too_few_or_too_many_are_damage(cut in 1usize..200) {
            let mut bytes = encode(&consignment());
            bytes.push(0);
            prop_assert_eq!(decode(&schema(), &bytes), Err(EncodingError::Damaged));
            let kept = bytes.len().saturating_sub(1 + cut).max(1);
            prop_assert_eq!(decode(&schema(), &bytes[..kept]), Err(EncodingError::Damaged));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(decode(&schema(), &bytes).is_err() || !bytes.is_empty());
        }
    }
}

//! Encoding of a stored consignment: compact and versioned, because the store encrypts bytes.
//!
//! ```text
//! version    u8, 1
//! values     u16 count, then each: u32 length, UTF-8      (in the schema's order)
//! generated  u16 count, then each: u8 length, kind's name; u32 length, UTF-8
//! ```
//!
//! Numbers are big-endian. Refuses another version, text that is not UTF-8, too few or too many
//! bytes, and values that the schema in use does not take.

use portcullis_protocol::{body::SelectorKind, body::canonical};
use portcullis_scoring::{
    consignment::{Consignment, RowError},
    identifier::Identifier,
    schema::Schema,
};

use portcullis_store::{ConsignmentRow, ConsignmentStage};

const VERSION: u8 = 1;

/// Error of reading a stored consignment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// A newer version of the software wrote it.
    #[error("a stored consignment has format {0}, this version reads 1; update portcullis")]
    Version(u8),
    /// It has too few or too many bytes, or a part that is not valid text.
    #[error("a stored consignment is damaged; import its file again")]
    Damaged,
    /// The schema does not take its values.
    #[error("a stored consignment does not fit the schema in use ({0}); import its file again")]
    Schema(#[from] RowError),
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
    let mut bytes = vec![VERSION];
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
    let mut rest = Reader(bytes);
    match rest.byte()? {
        VERSION => {}
        other => return Err(EncodingError::Version(other)),
    }
    let values = (0..rest.count()?)
        .map(|_| rest.text())
        .collect::<Result<Vec<&str>, _>>()?;
    let generated = (0..rest.count()?)
        .map(|_| rest.identifier())
        .collect::<Result<Vec<Identifier>, _>>()?;
    if !rest.0.is_empty() {
        return Err(EncodingError::Damaged);
    }
    Ok(Consignment::from_values(schema, 0, values)?.with_generated(generated))
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
        bytes[0] = 2;
        assert_eq!(decode(&schema(), &bytes), Err(EncodingError::Version(2)));
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

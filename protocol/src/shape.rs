//! The strict reader of signed parts: what this version does not know is refused, and elements are
//! counted before they are decoded.
//!
//! A decoder of protobuf passes over fields that it does not know. In a signed part such a field may
//! be a restriction of a later version, which would not be seen. The reader therefore walks the
//! encoded bytes beside the shape of the message, which the build makes from the `.proto` files, and
//! decodes only what it knows whole. Comparing with a re-encoding would do the same for what our own
//! encoder wrote, but only after decoding, and would refuse other encoders' order of fields.
//!
//! Two bytes on the wire are an empty element of eighty bytes and more in memory, so the number of
//! elements is judged on the encoded bytes as well. [`most`] is the table of these limits.

use bytes::Bytes;

use crate::{
    fields::{Encoded, Fields, NotAMessage, Packed, Value},
    refusal::Refusal,
    rules::Rule,
    wire,
};

/// The most selectors a subject names.
pub const MAX_SELECTORS: usize = 256;
/// The most values a cell's key has.
pub const MAX_CELL_VALUES: usize = 16;

/// A message of the contract, with the fields that this version knows.
#[derive(Debug)]
pub(crate) struct Shape {
    name: &'static str,
    fields: &'static [Field],
}

#[derive(Debug)]
struct Field {
    number: u64,
    name: &'static str,
    repeated: bool,
    /// The most elements, if it is repeated.
    most: usize,
    holds: Holds,
}

#[derive(Debug)]
enum Holds {
    /// A number that is not larger than this.
    Number { most: u64 },
    /// One of these numbers, each of which has a name.
    Named(&'static [u64]),
    /// Eight bytes.
    Fixed,
    /// Text or bytes.
    Bytes,
    /// Another message.
    Message(&'static Shape),
}

/// A generated message, whose shape is known.
pub(crate) trait Shaped: prost::Message + Default {
    /// Returns its shape.
    fn shape() -> &'static Shape;
}

include!(concat!(env!("OUT_DIR"), "/shapes.rs"));

/// The most elements of each repeated field of a signed part. A field that is missing here may have
/// none; a test holds that none is missing.
const fn most(message: &str, field: &str) -> usize {
    match (message.as_bytes(), field.as_bytes()) {
        (b"Header", b"audience" | b"derived_from") => 256,
        (b"Header", b"groups" | b"sections") | (b"Group", b"indexes") => 64,
        (b"Marking", b"purposes") => 16,
        (b"Marking", b"release_to") | (b"Cells", b"contributors") => 1024,
        (b"Subject", b"selectors") => MAX_SELECTORS,
        (b"Persons", b"persons") => 1024,
        (b"Attachments", b"attachments") => 256,
        (b"Cells", b"cells") => 1 << 16,
        (b"Cell", b"key") => MAX_CELL_VALUES,
        (b"Register", b"authorities" | b"former") | (b"Authority", b"clients") => 10_000,
        (b"Register", b"governance" | b"freshness")
        | (b"Authority", b"nodes")
        | (b"Node", b"keys") => 64,
        (b"Authority", b"communities") => 256,
        _ => 0,
    }
}

/// Bytes that are not what this version may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misshapen {
    /// They are no such message, or hold a field twice that stands once.
    #[error("it cannot be decoded")]
    Unreadable,
    /// They hold a field of a later version.
    #[error("a `{0}` has a field that this version does not know")]
    LaterField(&'static str),
    /// They hold a named value of a later version.
    #[error("`{field}` of a `{message}` has a value that this version does not know")]
    LaterValue {
        /// The message.
        message: &'static str,
        /// The field.
        field: &'static str,
    },
    /// They hold more elements than are allowed.
    #[error("`{message}` has more of `{field}` than the {most} that are allowed")]
    TooMany {
        /// The message.
        message: &'static str,
        /// The repeated field.
        field: &'static str,
        /// The most elements that are allowed.
        most: usize,
    },
}

impl Misshapen {
    /// Makes a refusal: under `later` if a later version may have written it, otherwise the one
    /// given.
    pub(crate) fn refused(self, later: Rule, otherwise: Refusal) -> Refusal {
        match self {
            Self::LaterField(_) | Self::LaterValue { .. } => Refusal::new(later, self.to_string()),
            Self::Unreadable | Self::TooMany { .. } => otherwise,
        }
    }
}

impl From<NotAMessage> for Misshapen {
    fn from(_: NotAMessage) -> Self {
        Self::Unreadable
    }
}

/// Reads a signed part, if this version knows all that it holds.
///
/// # Errors
///
/// [`Misshapen`]; nothing was decoded then.
pub(crate) fn read<M: Shaped>(encoded: &Bytes) -> Result<M, Misshapen> {
    M::shape().check(encoded)?;
    M::decode(encoded.clone()).map_err(|_| Misshapen::Unreadable)
}

/// The most fields of a message that can be counted.
const MAX_FIELDS: usize = 16;

impl Shape {
    fn check(&self, encoded: &[u8]) -> Result<(), Misshapen> {
        let mut counts = [0_usize; MAX_FIELDS];
        // Encoders write fields in their order: the one at hand is most often the same again, or one of
        // the next.
        let mut at = 0;
        for field in Fields::of(encoded) {
            let Encoded { number, value } = field?;
            let later = Misshapen::LaterField(self.name);
            at = self.position(number, at).ok_or(later)?;
            let (field, count) = self.fields.get(at).zip(counts.get_mut(at)).ok_or(later)?;
            field.check(self, value, count)?;
        }
        Ok(())
    }

    /// Returns the position of the field with this number; those from `first` on are looked at first.
    fn position(&self, number: u64, first: usize) -> Option<usize> {
        let is_it = |field: &Field| field.number == number;
        let from_there = self.fields.get(first..).unwrap_or_default();
        match from_there.iter().position(is_it) {
            Some(further) => Some(first + further),
            None => self.fields.iter().position(is_it),
        }
    }
}

impl Field {
    /// Checks one occurrence of this field in `of`, and counts its elements.
    fn check(&self, of: &Shape, value: Value<'_>, count: &mut usize) -> Result<(), Misshapen> {
        match (&self.holds, value) {
            (Holds::Number { .. } | Holds::Named(_), Value::Bytes(packed)) if self.repeated => {
                for number in Packed::of(packed) {
                    self.count(of, count)?;
                    self.number(of, number?)?;
                }
                Ok(())
            }
            (Holds::Number { .. } | Holds::Named(_), Value::Number(number)) => {
                self.count(of, count)?;
                self.number(of, number)
            }
            (Holds::Fixed, Value::Fixed(bytes)) if bytes.len() == 8 => self.count(of, count),
            (Holds::Bytes, Value::Bytes(_)) => self.count(of, count),
            (Holds::Message(shape), Value::Bytes(content)) => {
                self.count(of, count)?;
                shape.check(content)
            }
            (
                Holds::Number { .. }
                | Holds::Named(_)
                | Holds::Fixed
                | Holds::Bytes
                | Holds::Message(_),
                Value::Number(_) | Value::Fixed(_) | Value::Bytes(_),
            ) => Err(Misshapen::Unreadable),
        }
    }

    fn count(&self, of: &Shape, count: &mut usize) -> Result<(), Misshapen> {
        *count += 1;
        if !self.repeated {
            return if *count == 1 {
                Ok(())
            } else {
                Err(Misshapen::Unreadable)
            };
        }
        if *count <= self.most {
            return Ok(());
        }
        Err(Misshapen::TooMany {
            message: of.name,
            field: self.name,
            most: self.most,
        })
    }

    fn number(&self, of: &Shape, number: u64) -> Result<(), Misshapen> {
        match &self.holds {
            Holds::Number { most } if number > *most => Err(Misshapen::Unreadable),
            Holds::Named(values) if !values.contains(&number) => Err(Misshapen::LaterValue {
                message: of.name,
                field: self.name,
            }),
            Holds::Number { .. }
            | Holds::Named(_)
            | Holds::Fixed
            | Holds::Bytes
            | Holds::Message(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::{
        DecodeError, Message,
        bytes::{Buf, BufMut},
        encoding::{DecodeContext, WireType, encode_key, encode_varint},
    };

    use super::*;

    /// Every signed part: payloads of statements, headers and bodies.
    const SIGNED: [&Shape; 17] = [
        &HEADER,
        &BATCH_STATEMENT,
        &SUBJECT,
        &ASSESSMENT,
        &NARRATIVE,
        &SOURCE,
        &PERSONS,
        &ATTACHMENTS,
        &CELLS,
        &FRAME_PAYLOAD,
        &RECEIPT_PAYLOAD,
        &REGISTER,
        &MEMBERSHIP_REQUEST,
        &FRESHNESS,
        &SUSPENSION,
        &MARKING,
        &SECTION_ENTRY,
    ];

    fn within(shape: &'static Shape) -> Vec<&'static Shape> {
        let inner = shape.fields.iter().filter_map(|field| match field.holds {
            Holds::Message(shape) => Some(shape),
            Holds::Number { .. } | Holds::Named(_) | Holds::Fixed | Holds::Bytes => None,
        });
        std::iter::once(shape)
            .chain(inner.flat_map(within))
            .collect()
    }

    /// Attack H3: an element that nobody counts before it is decoded grows forty-fold in memory.
    #[test]
    fn every_repeated_field_of_a_signed_part_has_a_limit() {
        for shape in SIGNED.into_iter().flat_map(within) {
            assert!(shape.fields.len() <= MAX_FIELDS, "{}", shape.name);
            for field in shape.fields.iter().filter(|field| field.repeated) {
                let (of, name) = (shape.name, field.name);
                assert!(field.most > 0, "`{of}.{name}` has no limit");
            }
        }
    }

    /// Stands for a message that must not be decoded.
    #[derive(Debug, Default)]
    struct NeverDecoded;

    impl Message for NeverDecoded {
        fn encode_raw(&self, _: &mut impl BufMut) {}
        fn encoded_len(&self) -> usize {
            0
        }
        fn clear(&mut self) {}
        fn merge_field(
            &mut self,
            _: u32,
            _: WireType,
            _: &mut impl Buf,
            _: DecodeContext,
        ) -> Result<(), DecodeError> {
            panic!("it was decoded");
        }
    }

    impl Shaped for NeverDecoded {
        fn shape() -> &'static Shape {
            &ATTACHMENTS
        }
    }

    /// Attack H3.3: 4 MiB of empty attachments are 170 MB in memory.
    #[test]
    fn a_file_section_of_two_million_empty_files_is_refused_without_being_decoded() {
        let bomb = Bytes::from([0x0a, 0x00].repeat(2_090_000));
        let refused = read::<NeverDecoded>(&bomb).unwrap_err();
        assert!(
            matches!(refused, Misshapen::TooMany { most: 256, .. }),
            "{refused}"
        );
    }

    /// Writes a field of `shape` at its least: a message in it has each of its fields once.
    fn sample(shape: &Shape) -> Vec<u8> {
        let mut encoded = Vec::new();
        for field in shape.fields {
            write(&mut encoded, field);
        }
        encoded
    }

    fn write(encoded: &mut Vec<u8>, field: &Field) {
        let number = u32::try_from(field.number).unwrap();
        let content = match &field.holds {
            Holds::Number { .. } | Holds::Named(_) => {
                encode_key(number, WireType::Varint, encoded);
                encode_varint(1, encoded);
                return;
            }
            Holds::Fixed => {
                encode_key(number, WireType::SixtyFourBit, encoded);
                encoded.extend([1; 8]);
                return;
            }
            Holds::Bytes => b"x".to_vec(),
            Holds::Message(shape) => sample(shape),
        };
        wrap(encoded, number, &content);
    }

    fn wrap(encoded: &mut Vec<u8>, number: u32, content: &[u8]) {
        encode_key(number, WireType::LengthDelimited, encoded);
        encode_varint(content.len() as u64, encoded);
        encoded.extend(content);
    }

    /// Returns the sample of `shape` with `extra` put in at every place in turn, at every depth.
    fn with_extra(shape: &Shape, extra: &[u8]) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for at in 0..=shape.fields.len() {
            let (before, after) = shape.fields.split_at(at);
            let mut encoded = Vec::new();
            before.iter().for_each(|field| write(&mut encoded, field));
            let head = encoded.clone();
            encoded.extend(extra);
            after.iter().for_each(|field| write(&mut encoded, field));
            all.push(encoded);
            if let Some((field, rest)) = after.split_first()
                && let Holds::Message(inner) = field.holds
            {
                for content in with_extra(inner, extra) {
                    let mut encoded = head.clone();
                    wrap(&mut encoded, u32::try_from(field.number).unwrap(), &content);
                    rest.iter().for_each(|field| write(&mut encoded, field));
                    all.push(encoded);
                }
            }
        }
        all
    }

    #[test]
    fn a_part_of_all_fields_that_are_known_has_the_right_shape() {
        for shape in SIGNED {
            assert_eq!(shape.check(&sample(shape)), Ok(()), "{}", shape.name);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// A later version's restriction may be in any field that this one does not know.
        #[test]
        fn an_unknown_field_anywhere_in_a_signed_part_is_refused(
            number in 16_u32..(1 << 29),
            kind in 0_u8..4,
            value in any::<u64>(),
        ) {
            let mut extra = Vec::new();
            match kind {
                0 => {
                    encode_key(number, WireType::Varint, &mut extra);
                    encode_varint(value, &mut extra);
                }
                1 => {
                    encode_key(number, WireType::SixtyFourBit, &mut extra);
                    extra.extend(value.to_le_bytes());
                }
                2 => {
                    encode_key(number, WireType::ThirtyTwoBit, &mut extra);
                    extra.extend([7; 4]);
                }
                _ => wrap(&mut extra, number, &value.to_le_bytes()),
            }
            for shape in SIGNED {
                for encoded in with_extra(shape, &extra) {
                    let found = shape.check(&encoded);
                    prop_assert!(matches!(found, Err(Misshapen::LaterField(_))), "{}", shape.name);
                }
            }
        }

        /// A field that stands once and comes twice is read differently by different decoders.
        #[test]
        fn a_field_that_stands_once_is_refused_twice(at in any::<prop::sample::Index>()) {
            for shape in SIGNED {
                let single: Vec<_> = shape.fields.iter().filter(|field| !field.repeated).collect();
                if single.is_empty() {
                    continue;
                }
                let mut encoded = sample(shape);
                write(&mut encoded, single[at.index(single.len())]);
                prop_assert_eq!(shape.check(&encoded), Err(Misshapen::Unreadable));
            }
        }
    }

    #[test]
    fn a_number_beyond_its_type_is_refused_and_a_name_of_a_later_version_is_told_apart() {
        let number = |number, value| {
            let mut encoded = Vec::new();
            encode_key(number, WireType::Varint, &mut encoded);
            encode_varint(value, &mut encoded);
            encoded
        };
        // `version` is of 32 bits: a decoder would cut 2^32 + 1 to 1.
        assert_eq!(
            HEADER.check(&number(1, (1 << 32) + 1)),
            Err(Misshapen::Unreadable)
        );
        assert_eq!(HEADER.check(&number(7, 2)), Err(Misshapen::Unreadable));
        let later = HEADER.check(&number(3, 9));
        assert_eq!(
            later,
            Err(Misshapen::LaterValue {
                message: "Header",
                field: "kind"
            })
        );
        // Packed and one by one, elements are counted alike.
        let mut packed = Vec::new();
        wrap(&mut packed, 1, &[1; 65]);
        assert!(matches!(
            GROUP.check(&packed),
            Err(Misshapen::TooMany { .. })
        ));
        assert!(matches!(
            GROUP.check(&number(1, 1).repeat(65)),
            Err(Misshapen::TooMany { .. })
        ));
        assert_eq!(GROUP.check(&number(1, 1).repeat(64)), Ok(()));
    }
}

//! Size checks on encoded messages, done before they are decoded.
//!
//! Decoded messages take more memory than their bytes: two bytes on the wire are an empty record of
//! more than a hundred bytes in memory, and 8 MiB of them would be half a gigabyte. Only repeated
//! fields are counted here; their content is decoded and judged afterwards.

use super::{MAX_FRAME_BYTES, MAX_ITEMS};
use crate::{record::MAX_SECTIONS, rules::Rule, verify::Refusal};

/// Numbers of repeated fields in exchange.proto and record.proto.
const FRAME_BATCHES: u64 = 2;
const FRAME_RECORDS: u64 = 3;
const RECORD_SECTIONS: u64 = 2;
const RECEIPT_ANSWERS: u64 = 2;

/// Checks that an encoded frame is not larger than frames are.
///
/// # Errors
///
/// A [`Refusal`] under EX-12, or EX-01 if it is no protobuf message.
pub fn check_frame_size(encoded: &[u8]) -> Result<(), Refusal> {
    check_bytes(encoded)?;
    check_count(encoded, FRAME_BATCHES, MAX_ITEMS)?;
    check_count(encoded, FRAME_RECORDS, MAX_ITEMS)?;
    for field in Fields(encoded) {
        let field = field?;
        if field.number == FRAME_RECORDS {
            check_count(field.content, RECORD_SECTIONS, MAX_SECTIONS.into())?;
        }
    }
    Ok(())
}

/// Checks that an encoded receipt is not larger than receipts are.
///
/// # Errors
///
/// A [`Refusal`] under EX-12, or EX-01 if it is no protobuf message.
pub fn check_receipt_size(encoded: &[u8]) -> Result<(), Refusal> {
    check_bytes(encoded)?;
    check_count(encoded, RECEIPT_ANSWERS, MAX_ITEMS)
}

fn check_bytes(encoded: &[u8]) -> Result<(), Refusal> {
    if encoded.len() <= MAX_FRAME_BYTES {
        return Ok(());
    }
    let detail = format!("{} bytes, {MAX_FRAME_BYTES} are allowed", encoded.len());
    Err(Refusal::new(Rule::Oversized, detail))
}

/// Checks that a repeated field stands at most `most` times in an encoded message.
pub(crate) fn check_count(encoded: &[u8], number: u64, most: usize) -> Result<(), Refusal> {
    let mut count = 0_usize;
    for field in Fields(encoded) {
        count += usize::from(field?.number == number);
        if count > most {
            let detail = format!("more than {most} of a repeated field");
            return Err(Refusal::new(Rule::Oversized, detail));
        }
    }
    Ok(())
}

/// One field of an encoded message.
struct Field<'a> {
    number: u64,
    /// Content of a length-delimited field; empty for a number.
    content: &'a [u8],
}

/// The fields of an encoded message, one after the other. Groups are refused: nothing here has
/// them, and a decoder that skips them would read on where this one stops.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Refusal>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| Refusal::new(Rule::FrameUnreadable, "it is no protobuf message")))
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<Field<'a>> {
        let key = self.varint()?;
        let length = match key & 7 {
            0 => self.varint().map(|_| 0)?,
            1 => self.take(8).map(|_| 0)?,
            2 => usize::try_from(self.varint()?).ok()?,
            5 => self.take(4).map(|_| 0)?,
            _ => return None,
        };
        Some(Field {
            number: key >> 3,
            content: self.take(length)?,
        })
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// Reads a varint: at most ten bytes of seven bits each.
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let [byte] = self.take(1)? else { return None };
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

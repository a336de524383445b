//! Size checks on encoded messages, done before they are decoded.
//!
//! Decoded messages take more memory than their bytes: two bytes on the wire are an empty record of
//! more than a hundred bytes in memory, and 8 MiB of them would be half a gigabyte. Only repeated
//! fields are counted here; their content is decoded and judged afterwards.

use super::{MAX_FRAME_BYTES, MAX_ITEMS};
use crate::{
    fields::{Encoded, Fields, NotAMessage, Value},
    record::MAX_SECTIONS,
    rules::Rule,
    verify::Refusal,
};

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
    for field in Fields::of(encoded) {
        if let Encoded {
            number: FRAME_RECORDS,
            value: Value::Bytes(record),
        } = field.map_err(unreadable)?
        {
            check_count(record, RECORD_SECTIONS, MAX_SECTIONS.into())?;
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
    for field in Fields::of(encoded) {
        count += usize::from(field.map_err(unreadable)?.number == number);
        if count > most {
            let detail = format!("more than {most} of a repeated field");
            return Err(Refusal::new(Rule::Oversized, detail));
        }
    }
    Ok(())
}

fn unreadable(_: NotAMessage) -> Refusal {
    Refusal::new(Rule::FrameUnreadable, "it is no protobuf message")
}

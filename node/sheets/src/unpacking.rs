//! Unpacking and decoding: from a file's bytes to text.

use std::{
    borrow::Cow,
    io::{self, BufReader, Read as _},
};

use encoding_rs::{UTF_16BE, UTF_16LE, WINDOWS_1252};
use flate2::bufread::MultiGzDecoder;

use crate::{Encoding, Fault, MOST_BYTES, SheetError};

/// First bytes of a gzip file (RFC 1952).
const GZIP: &[u8] = &[0x1f, 0x8b];

/// Bytes from which an encoding without a mark is guessed.
const LOOKED_AT: usize = 4_096;

/// First bytes of files that people give in place of a CSV file.
const OTHERS: [(&[u8], &str); 5] = [
    (b"PK\x03\x04", "a workbook (.xlsx, .ods) or a zip archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls)"),
    (b"%PDF", "a PDF document"),
    (b"{\\rtf", "a text document (.rtf)"),
    (b"<?xml", "an XML document"),
];

/// Unpacks a file that is packed, and says whether it was.
pub(crate) fn unpack(bytes: &[u8]) -> Result<(Cow<'_, [u8]>, bool), SheetError> {
    if !bytes.starts_with(GZIP) {
        return Ok((Cow::Borrowed(bytes), false));
    }
    let most = u64::try_from(MOST_BYTES).unwrap_or(u64::MAX);
    let unpacking = || MultiGzDecoder::new(BufReader::new(bytes)).take(most.saturating_add(1));
    let packed = |_| SheetError::file(Fault::Packed);
    // Its size is found first: text that grows while it is read takes up to three times its size.
    let size = io::copy(&mut unpacking(), &mut io::sink()).map_err(packed)?;
    if size > most {
        return Err(SheetError::file(Fault::TooLarge));
    }
    let mut unpacked = Vec::with_capacity(usize::try_from(size).unwrap_or(MOST_BYTES));
    unpacking().read_to_end(&mut unpacked).map_err(packed)?;
    Ok((Cow::Owned(unpacked), true))
}

/// Decodes bytes in the given encoding, or in the one that they are found to have.
pub(crate) fn decode(
    bytes: Cow<'_, [u8]>,
    given: Option<Encoding>,
) -> Result<(String, Encoding), SheetError> {
    if let Some((_, what)) = OTHERS.iter().find(|(first, _)| bytes.starts_with(first)) {
        return Err(SheetError::file(Fault::Other(what)));
    }
    let encoding = given.unwrap_or_else(|| found(&bytes));
    let wrong = || SheetError::file(Fault::Encoding(encoding));
    let text = match encoding {
        Encoding::Utf8 => {
            let mut text = String::from_utf8(bytes.into_owned()).map_err(|_| wrong())?;
            if text.starts_with('\u{feff}') {
                text.remove(0);
            }
            text
        }
        Encoding::Utf16Le => utf16(&bytes, UTF_16LE).ok_or_else(wrong)?,
        Encoding::Utf16Be => utf16(&bytes, UTF_16BE).ok_or_else(wrong)?,
        // Every byte is a character; those that are none of the code page become control characters,
        // which are refused later with their place.
        Encoding::Windows1252 => WINDOWS_1252
            .decode_without_bom_handling(&bytes)
            .0
            .into_owned(),
    };
    Ok((text, encoding))
}

fn utf16(bytes: &[u8], encoding: &'static encoding_rs::Encoding) -> Option<String> {
    let (text, has_errors) = encoding.decode_with_bom_removal(bytes);
    (!has_errors).then(|| text.into_owned())
}

/// Finds the encoding: by the mark at the beginning, by zeros at every other place, or by what UTF-8
/// cannot be.
fn found(bytes: &[u8]) -> Encoding {
    match bytes {
        [0xef, 0xbb, 0xbf, ..] => return Encoding::Utf8,
        [0xff, 0xfe, ..] => return Encoding::Utf16Le,
        [0xfe, 0xff, ..] => return Encoding::Utf16Be,
        _ => {}
    }
    let looked_at = bytes.get(..LOOKED_AT).unwrap_or(bytes);
    let zeros = |odd: usize| {
        looked_at
            .iter()
            .skip(odd)
            .step_by(2)
            .filter(|byte| **byte == 0)
            .count()
    };
    let (even, odd) = (zeros(0), zeros(1));
    let quarter = looked_at.len() / 4;
    if odd > quarter && even == 0 {
        Encoding::Utf16Le
    } else if even > quarter && odd == 0 {
        Encoding::Utf16Be
    } else if std::str::from_utf8(bytes).is_ok() {
        Encoding::Utf8
    } else {
        Encoding::Windows1252
    }
}

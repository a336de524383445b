//! Sizes as people write them: a whole number and a unit, such as `512 MiB`.

/// Error of a text that is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a size; write a whole number with `MiB`, `GiB` or `TiB`, such as `512 MiB`")]
pub struct SizeParseError(String);

/// Reads a size in bytes.
///
/// # Errors
///
/// [`SizeParseError`] says how to write one.
pub fn parse_size(text: &str) -> Result<u64, SizeParseError> {
    let wrong = || SizeParseError(text.to_owned());
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let unit = match unit.trim_start() {
        "MiB" => 1_u64 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(wrong()),
    };
    let number = number.parse::<u64>().ok();
    number
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_with_its_unit() {
        for (text, bytes) in [
            ("512 MiB", 536_870_912),
            ("2GiB", 2_147_483_648),
            ("0 MiB", 0),
        ] {
            assert_eq!(parse_size(text), Ok(bytes));
        }
        for text in ["", "512", "MiB", "512 MB", "-1 GiB", "16777216 TiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}

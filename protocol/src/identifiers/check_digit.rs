//! The check digit that container numbers (ISO 6346) and ILU codes (EN 13044-1) share.

/// Returns the sum of value × 2^position, counted from the left, modulo 11.
pub(super) fn remainder(first_ten: impl Iterator<Item = u8>) -> u32 {
    let (sum, _) = first_ten.fold((0, 1), |(sum, weight), byte| {
        (sum + value(byte) * weight, weight * 2)
    });
    sum % 11
}

/// Returns the check digit for a remainder; 10 becomes 0.
pub(super) fn of_remainder(remainder: u32) -> u32 {
    remainder % 10
}

/// Returns the check digit for the first ten characters of a number.
pub(super) fn of(number: &str) -> u32 {
    of_remainder(remainder(number.bytes().take(10)))
}

/// Returns the value of a digit or capital letter: A is 10, and the multiples of 11 are left out.
pub(super) fn value(byte: u8) -> u32 {
    match byte {
        b'A' => 10,
        b'B'..=b'K' => u32::from(byte - b'B') + 12,
        b'L'..=b'U' => u32::from(byte - b'L') + 23,
        b'V'..=b'Z' => u32::from(byte - b'V') + 34,
        other => u32::from(other.saturating_sub(b'0')),
    }
}

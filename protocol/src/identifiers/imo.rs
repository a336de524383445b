//! IMO ship numbers: seven digits, the last a check digit, such as `9074729`. They stay with the
//! hull through every change of flag, name and owner.
//!
//! Refuses a wrong check digit, except through [`ImoNumber::parse_unchecked`], whose result type
//! tells the two cases apart. Refuses a leading zero as well: ship numbers run from 1000000 to
//! 9999999 (ITU-R M.1371), and 0000000, which would pass the check, means "not available" there.

use std::str::FromStr;

use super::foreign::Foreign;
use super::near::{self, CharClass};
use super::text::{canonical_text, quote};

const SHAPE: [CharClass; 7] = [CharClass::Digit; 7];

/// An IMO ship number whose check digit is right; its canonical text is the seven digits alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImoNumber(Box<str>);

/// Seven digits whose check digit is wrong. It never compares equal to an [`ImoNumber`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UncheckedImoNumber(Box<str>);

canonical_text!(ImoNumber);
canonical_text!(UncheckedImoNumber);

/// Result of [`ImoNumber::parse_unchecked`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImoReading {
    /// The check digit is right.
    Checked(ImoNumber),
    /// The shape is right, the check digit is wrong.
    Unchecked(UncheckedImoNumber),
}

/// Error for a text that is no IMO number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImoNumberError {
    /// A character that stands in no IMO number.
    #[error(transparent)]
    Foreign(#[from] Foreign),
    /// Not seven digits.
    #[error("`{text}` is no IMO number; write seven digits, with or without `IMO ` before them")]
    Shape {
        /// The rejected text.
        text: String,
    },
    /// The first digit is zero.
    #[error("`{text}` starts with 0, as no ship's IMO number does; leave it out if it is unknown")]
    LeadingZero {
        /// The rejected text.
        text: String,
    },
    /// The check digit contradicts the rest.
    #[error(
        "`{text}` has the check digit `{found}` where its other digits give `{expected}`; \
         read the number again, or accept it as unchecked"
    )]
    CheckDigit {
        /// The rejected text.
        text: String,
        /// The digit that was given.
        found: u32,
        /// The digit that the other six give.
        expected: u32,
    },
}

impl ImoNumber {
    /// Parses seven digits, whatever their check digit; the result tells whether that digit is
    /// right.
    ///
    /// # Errors
    ///
    /// Every error of [`ImoNumber::from_str`] but the one about a wrong check digit.
    pub fn parse_unchecked(text: &str) -> Result<ImoReading, ImoNumberError> {
        let shaped = Shaped::parse(text)?;
        Ok(if shaped.found == shaped.expected {
            ImoReading::Checked(Self(shaped.digits))
        } else {
            ImoReading::Unchecked(UncheckedImoNumber(shaped.digits))
        })
    }

    /// Proposes numbers that `text` may have been meant to be, the likeliest first, at most
    /// [`super::NEAR_MATCHES_MAX`]. The list is empty if `text` is an IMO number or resembles none.
    #[must_use]
    pub fn near_matches(text: &str) -> Vec<Self> {
        near::matches(without_prefix(text), &SHAPE)
    }
}

impl UncheckedImoNumber {
    /// Returns the check digit that the other six give.
    #[must_use]
    pub fn expected_check_digit(&self) -> u32 {
        check_digit(self.0.bytes())
    }
}

impl ImoReading {
    /// Returns the canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Checked(number) => number.as_str(),
            Self::Unchecked(number) => number.as_str(),
        }
    }
}

impl FromStr for ImoNumber {
    type Err = ImoNumberError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shaped = Shaped::parse(text)?;
        if shaped.found != shaped.expected {
            return Err(ImoNumberError::CheckDigit {
                text: quote(text),
                found: shaped.found,
                expected: shaped.expected,
            });
        }
        Ok(Self(shaped.digits))
    }
}

/// Seven digits; the check digit is not compared yet.
struct Shaped {
    digits: Box<str>,
    found: u32,
    expected: u32,
}

impl Shaped {
    fn parse(text: &str) -> Result<Self, ImoNumberError> {
        Foreign::refuse(text)?;
        let digits = without_prefix(text);
        let bytes = <[u8; 7]>::try_from(digits.as_bytes());
        let Some([first, .., last]) = bytes.ok().filter(|b| b.iter().all(u8::is_ascii_digit))
        else {
            return Err(ImoNumberError::Shape { text: quote(text) });
        };
        if first == b'0' {
            return Err(ImoNumberError::LeadingZero { text: quote(text) });
        }
        Ok(Self {
            digits: digits.into(),
            found: u32::from(last - b'0'),
            expected: check_digit(digits.bytes()),
        })
    }
}

/// Removes the prefix `IMO` in any case, with the spaces, hyphens and colons after it.
fn without_prefix(text: &str) -> &str {
    match text.split_at_checked(3) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("IMO") => {
            rest.trim_start_matches([' ', '-', ':'])
        }
        Some(_) | None => text,
    }
}

/// The last digit of the sum of the first six digits times 7, 6, 5, 4, 3, 2.
fn check_digit(digits: impl Iterator<Item = u8>) -> u32 {
    let weighted = digits.zip((2..=7).rev());
    let sum: u32 = weighted
        .map(|(digit, weight): (u8, u32)| u32::from(digit.saturating_sub(b'0')) * weight)
        .sum();
    sum % 10
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn refused(text: &str, message: &str) {
        assert_eq!(text.parse::<ImoNumber>().unwrap_err().to_string(), message);
    }

    /// The check digit from right to left, over the number as an integer.
    fn reference_check_digit(first_six: u32) -> u32 {
        (0..6)
            .map(|place| (first_six / 10_u32.pow(place) % 10) * (place + 2))
            .sum::<u32>()
            % 10
    }

    #[test]
    fn a_wrong_check_digit_is_refused_with_the_right_one() {
        refused(
            "IMO 9074728",
            "`IMO 9074728` has the check digit `8` where its other digits give `9`; \
             read the number again, or accept it as unchecked",
        );
    }

    #[test]
    fn weighing_from_the_other_end_would_accept_other_digits() {
        // With the weights 2, 3, 4, 5, 6, 7 from the left the three would end in 2, 1 and 0.
        for (right, wrong) in [("9074729", '2'), ("9811000", '1'), ("9321483", '0')] {
            assert_eq!(right.parse::<ImoNumber>().unwrap().as_str(), right);
            assert!(
                format!("{}{wrong}", right.split_at(6).0)
                    .parse::<ImoNumber>()
                    .is_err()
            );
        }
    }

    #[test]
    fn the_placeholder_of_ais_is_no_number() {
        refused(
            "0000000",
            "`0000000` starts with 0, as no ship's IMO number does; leave it out if it is unknown",
        );
    }

    #[test]
    fn other_shapes_are_refused() {
        for text in [
            "",
            "IMO",
            "IMO ",
            "907472",
            "90747291",
            "9O74729",
            " 9074729",
            "9074729 ",
            "907 4729",
            "LMO 9074729",
        ] {
            assert!(
                matches!(text.parse::<ImoNumber>(), Err(ImoNumberError::Shape { .. })),
                "{text:?}"
            );
            assert!(ImoNumber::parse_unchecked(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_prefix_is_presentation() {
        for text in ["IMO 9074729", "IMO9074729", "imo-9074729", "IMO: 9074729"] {
            assert_eq!(
                text.parse::<ImoNumber>().unwrap().to_string(),
                "9074729",
                "{text}"
            );
        }
    }

    #[test]
    fn unchecked_is_for_wrong_digits_alone() {
        let wrong = ImoNumber::parse_unchecked("9074728").unwrap();
        let ImoReading::Unchecked(unchecked) = wrong else {
            panic!("{wrong:?}");
        };
        assert_eq!(unchecked.expected_check_digit(), 9);
        assert!(matches!(
            ImoNumber::parse_unchecked("9074729"),
            Ok(ImoReading::Checked(_))
        ));
    }

    proptest! {
        #[test]
        fn one_check_digit_in_ten_is_right(first_six in 100_000_u32..1_000_000) {
            let accepted: Vec<String> = (0..10)
                .map(|digit| format!("{first_six}{digit}"))
                .filter(|text| text.parse::<ImoNumber>().is_ok())
                .collect();
            let expected = format!("{first_six}{}", reference_check_digit(first_six));
            prop_assert_eq!(accepted, vec![expected]);
        }

        /// Weight w maps two digits to one where w times their difference is a multiple of ten: the
        /// weights 2, 4 and 6 miss a step of five, and the weight 5 misses every even step.
        #[test]
        fn a_changed_digit_is_found_but_where_its_weight_and_ten_share_a_factor(
            first_six in 100_000_u32..1_000_000, position in 1_u32..6, step in 1_u32..10
        ) {
            let weight = 7 - position;
            let place = 10_u32.pow(5 - position);
            let digit = first_six / place % 10;
            let changed = first_six - digit * place + (digit + step) % 10 * place;
            let text = format!("{changed}{}", reference_check_digit(first_six));
            let missed = match weight {
                2 | 4 | 6 => step == 5,
                5 => step % 2 == 0,
                _ => false,
            };
            prop_assert_eq!(text.parse::<ImoNumber>().is_ok(), missed);
        }
    }
}

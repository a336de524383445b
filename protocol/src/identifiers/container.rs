//! Container numbers of ISO 6346: three owner letters, a category letter, six digits and a check
//! digit, such as `CSQU3054383`.
//!
//! Refuses a wrong check digit, except through [`ContainerNumber::parse_unchecked`], whose result
//! type tells the two cases apart. Never accepts a wrong shape. North American trailer marks, which
//! have no check digit, are not container numbers here.

use std::str::FromStr;

use super::check_digit::{self, remainder, value};
use super::foreign::Foreign;
use super::ilu::IluCode;
use super::near::{self, CharClass};
use super::text::{canonical_text, compact, quote, quote_char};

const PRESENTATION: [char; 2] = [' ', '-'];

const SHAPE: [CharClass; 11] = [
    CharClass::Letter,
    CharClass::Letter,
    CharClass::Letter,
    CharClass::Category,
    CharClass::Digit,
    CharClass::Digit,
    CharClass::Digit,
    CharClass::Digit,
    CharClass::Digit,
    CharClass::Digit,
    CharClass::Digit,
];

/// A container number whose check digit is right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerNumber(Box<str>);

/// A container number of the right shape whose check digit is wrong: someone read it off a
/// container at night and could not read it again. It never compares equal to a
/// [`ContainerNumber`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UncheckedContainerNumber(Box<str>);

canonical_text!(ContainerNumber);
canonical_text!(UncheckedContainerNumber);

/// Result of [`ContainerNumber::parse_unchecked`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerReading {
    /// The check digit is right.
    Checked(ContainerNumber),
    /// The shape is right, the check digit is wrong.
    Unchecked(UncheckedContainerNumber),
}

/// Error for a text that is no container number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContainerNumberError {
    /// A character that stands in no container number.
    #[error(transparent)]
    Foreign(#[from] Foreign),
    /// White space or a hyphen stands before or after the number.
    #[error("`{text}` has a space or hyphen before or after the container number; remove it")]
    Padded {
        /// The rejected text.
        text: String,
    },
    /// Too few or too many characters.
    #[error(
        "`{text}` has {found} characters where a container number has 11 (4 letters, 6 digits, \
         a check digit); look for one that is missing or doubled"
    )]
    Length {
        /// The rejected text.
        text: String,
        /// The number of characters without spaces and hyphens.
        found: usize,
    },
    /// The check digit is missing and the rest is in order.
    #[error("`{text}` lacks the check digit, which would be `{expected}`; compare it with the box")]
    NoCheckDigit {
        /// The rejected text.
        text: String,
        /// The digit that ISO 6346 gives.
        expected: u32,
    },
    /// One of the first three characters is no letter A–Z.
    #[error(
        "`{text}` does not start with an owner code of three letters a-z; \
         look for a digit in place of a letter"
    )]
    Owner {
        /// The rejected text.
        text: String,
    },
    /// The fourth character is not U, J or Z.
    #[error(
        "`{text}` has `{found}` as its category; use `U` (container), `J` (detachable equipment) \
         or `Z` (trailer, chassis); `A`, `B`, `D`, `E` and `K` are of ILU codes"
    )]
    Category {
        /// The rejected text.
        text: String,
        /// The fourth character.
        found: String,
    },
    /// One of the last seven characters is no digit.
    #[error(
        "`{text}` does not end with six digits and a check digit; \
         look for a letter in place of a digit"
    )]
    Digits {
        /// The rejected text.
        text: String,
    },
    /// The check digit contradicts the rest.
    #[error(
        "`{text}` has the check digit `{found}` where ISO 6346 gives `{expected}`; \
         read the number again, or accept it as unchecked"
    )]
    CheckDigit {
        /// The rejected text.
        text: String,
        /// The digit that was given.
        found: u32,
        /// The digit that ISO 6346 gives.
        expected: u32,
    },
}

impl ContainerNumber {
    /// Parses a text of the right shape, whatever its check digit; the result tells whether that
    /// digit is right.
    ///
    /// # Errors
    ///
    /// Every error of [`ContainerNumber::from_str`] but the one about a wrong check digit.
    pub fn parse_unchecked(text: &str) -> Result<ContainerReading, ContainerNumberError> {
        let shaped = Shaped::parse(text)?;
        Ok(
            if shaped.found == check_digit::of_remainder(shaped.remainder) {
                ContainerReading::Checked(Self(shaped.canonical))
            } else {
                ContainerReading::Unchecked(UncheckedContainerNumber(shaped.canonical))
            },
        )
    }

    /// Returns whether the check digit 0 stands for the remainder 10, which it shares with the
    /// remainder 0. Such numbers (one in eleven) are valid, but their check digit finds fewer
    /// errors. ISO 6346 advises owners against these serial numbers.
    #[must_use]
    pub fn has_ambiguous_check_digit(&self) -> bool {
        remainder(self.0.bytes().take(10)) == 10
    }

    /// Proposes numbers that `text` may have been meant to be, the likeliest first, at most
    /// [`super::NEAR_MATCHES_MAX`]. The list is empty if `text` is a container number or an ILU
    /// code, or resembles none.
    #[must_use]
    pub fn near_matches(text: &str) -> Vec<Self> {
        if text.parse::<IluCode>().is_ok() {
            return Vec::new();
        }
        near::matches(text, &SHAPE)
    }
}

impl UncheckedContainerNumber {
    /// Returns the check digit that ISO 6346 gives for the rest of the number.
    #[must_use]
    pub fn expected_check_digit(&self) -> u32 {
        check_digit::of(&self.0)
    }
}

impl ContainerReading {
    /// Returns the canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Checked(number) => number.as_str(),
            Self::Unchecked(number) => number.as_str(),
        }
    }
}

impl FromStr for ContainerNumber {
    type Err = ContainerNumberError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shaped = Shaped::parse(text)?;
        let expected = check_digit::of_remainder(shaped.remainder);
        if shaped.found != expected {
            return Err(ContainerNumberError::CheckDigit {
                text: quote(text),
                found: shaped.found,
                expected,
            });
        }
        Ok(Self(shaped.canonical))
    }
}

/// A text of the right shape; its check digit is not compared yet.
struct Shaped {
    canonical: Box<str>,
    remainder: u32,
    found: u32,
}

impl Shaped {
    fn parse(text: &str) -> Result<Self, ContainerNumberError> {
        use ContainerNumberError as Error;
        Foreign::refuse(text)?;
        let quoted = || quote(text);
        let Some(canonical) = compact(text, &PRESENTATION) else {
            return Err(Error::Padded { text: quoted() });
        };
        let bytes = canonical.as_bytes();
        let Ok([o1, o2, o3, category, serial @ .., check]) = <[u8; 11]>::try_from(bytes) else {
            return Err(wrong_length(text, &canonical));
        };
        if ![o1, o2, o3].iter().all(u8::is_ascii_uppercase) {
            return Err(Error::Owner { text: quoted() });
        }
        if !matches!(category, b'U' | b'J' | b'Z') {
            let found = canonical
                .chars()
                .nth(3)
                .map_or_else(String::new, quote_char);
            return Err(Error::Category {
                text: quoted(),
                found,
            });
        }
        if !serial.iter().all(u8::is_ascii_digit) || !check.is_ascii_digit() {
            return Err(Error::Digits { text: quoted() });
        }
        Ok(Self {
            remainder: remainder(bytes.iter().copied().take(10)),
            found: value(check),
            canonical: canonical.into_boxed_str(),
        })
    }
}

fn wrong_length(text: &str, compacted: &str) -> ContainerNumberError {
    let with_any_digit = format!("{compacted}0");
    let text = quote(text);
    match compacted.len() {
        10 if Shaped::parse(&with_any_digit).is_ok() => ContainerNumberError::NoCheckDigit {
            text,
            expected: check_digit::of(compacted),
        },
        _ => ContainerNumberError::Length {
            text,
            found: compacted.chars().count(),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The published letter values, independently of `value`.
    const LETTERS: &str = "A10 B12 C13 D14 E15 F16 G17 H18 I19 J20 K21 L23 M24 N25 O26 P27 Q28 \
                           R29 S30 T31 U32 V34 W35 X36 Y37 Z38";

    /// The remainder by doubling from the right: another order of computing the same sum.
    fn reference_remainder(first_ten: &str) -> u32 {
        first_ten.chars().rev().fold(0, |sum, character| {
            let value = character.to_digit(10).unwrap_or_else(|| {
                let entry = LETTERS
                    .split_whitespace()
                    .find(|e| e.starts_with(character));
                entry.unwrap().split_at(1).1.parse().unwrap()
            });
            (2 * sum + value) % 11
        })
    }

    fn numbers() -> impl Strategy<Value = String> {
        "[A-Z]{3}[UJZ][0-9]{6}".prop_map(|start| {
            let check = reference_remainder(&start) % 10;
            format!("{start}{check}")
        })
    }

    #[track_caller]
    fn parsed(text: &str) -> ContainerNumber {
        text.parse().unwrap()
    }

    #[track_caller]
    fn refused(text: &str, message: &str) {
        let error = text.parse::<ContainerNumber>().unwrap_err();
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn a_wrong_check_digit_is_refused_with_the_right_one() {
        refused(
            "CSQU 305438-4",
            "`CSQU 305438-4` has the check digit `4` where ISO 6346 gives `3`; \
             read the number again, or accept it as unchecked",
        );
    }

    #[test]
    fn counting_positions_from_the_right_would_accept_other_digits() {
        // The variant in circulation weighs the last serial digit with 1 and the first letter
        // with 512: for these it gives 4, 5 and 6.
        for (right, wrong) in [
            ("CSQU3054383", '4'),
            ("MWCU6059784", '5'),
            ("MSKU0000080", '6'),
        ] {
            assert_eq!(parsed(right).as_str(), right);
            let mistaken = format!("{}{wrong}", right.split_at(10).0);
            assert!(matches!(
                mistaken.parse::<ContainerNumber>(),
                Err(ContainerNumberError::CheckDigit { .. })
            ));
        }
    }

    #[test]
    fn each_wrong_shape_is_named() {
        refused(
            "CSQU305438",
            "`CSQU305438` lacks the check digit, which would be `3`; compare it with the box",
        );
        refused(
            "CSQU30543833",
            "`CSQU30543833` has 12 characters where a container number has 11 (4 letters, \
             6 digits, a check digit); look for one that is missing or doubled",
        );
        refused(
            "C5QU3054383",
            "`C5QU3054383` does not start with an owner code of three letters a-z; \
             look for a digit in place of a letter",
        );
        refused(
            "CSQX3054383",
            "`CSQX3054383` has `X` as its category; use `U` (container), `J` (detachable \
             equipment) or `Z` (trailer, chassis); `A`, `B`, `D`, `E` and `K` are of ILU codes",
        );
        refused(
            "CSQU3O54383",
            "`CSQU3O54383` does not end with six digits and a check digit; \
             look for a letter in place of a digit",
        );
        refused(
            " CSQU3054383",
            "` CSQU3054383` has a space or hyphen before or after the container number; remove it",
        );
    }

    #[test]
    fn bytes_that_only_fit_by_their_count_are_refused() {
        // Eleven bytes, fewer characters; digits of other scripts; full-width letters.
        for text in [
            "CSQU30543\u{e9}",
            "\u{ff23}SQU305438",
            "CSQU\u{663}054383",
            "CSQ\u{dc}305438",
        ] {
            assert!(text.parse::<ContainerNumber>().is_err(), "{text}");
            assert!(ContainerNumber::parse_unchecked(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_printed_forms_become_canonical() {
        for text in [
            "CSQU 305438-3",
            "csqu3054383",
            "CSQU-305438-3",
            "CSQ U 305438 3",
        ] {
            assert_eq!(parsed(text).to_string(), "CSQU3054383", "{text}");
        }
    }

    #[test]
    fn remainder_ten_is_accepted_and_flagged() {
        assert_eq!(reference_remainder("MSKU000008"), 10);
        assert!(parsed("MSKU0000080").has_ambiguous_check_digit());
        assert!(!parsed("CSQU3054383").has_ambiguous_check_digit());
    }

    #[test]
    fn unchecked_takes_a_wrong_digit_and_never_a_wrong_shape() {
        let reading = ContainerNumber::parse_unchecked("csqu 305438-4").unwrap();
        let ContainerReading::Unchecked(unchecked) = &reading else {
            panic!("{reading:?}");
        };
        assert_eq!(unchecked.as_str(), "CSQU3054384");
        assert_eq!(unchecked.expected_check_digit(), 3);
        for text in [
            "CSQX3054384",
            "CSQU305438",
            "CSQU305438X",
            "",
            "CSQU 305438-4 ",
        ] {
            assert!(ContainerNumber::parse_unchecked(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_right_digit_is_never_unchecked() {
        assert_eq!(
            ContainerNumber::parse_unchecked("CSQU3054383").unwrap(),
            ContainerReading::Checked(parsed("CSQU3054383"))
        );
    }

    proptest! {
        #[test]
        fn every_number_of_the_reference_parses_and_no_other_digit_does(number in numbers()) {
            let container = parsed(&number);
            prop_assert_eq!(container.as_str(), &number);
            prop_assert_eq!(
                container.has_ambiguous_check_digit(),
                reference_remainder(number.split_at(10).0) == 10
            );
            let accepted = ('0'..='9').filter(|digit| {
                format!("{}{digit}", number.split_at(10).0).parse::<ContainerNumber>().is_ok()
            });
            prop_assert_eq!(accepted.count(), 1);
        }

        /// Multiplying by a power of two is one to one modulo 11, so a changed digit always
        /// changes the remainder; only the remainders 0 and 10 share a check digit.
        #[test]
        fn a_changed_serial_digit_is_found_but_between_remainders_zero_and_ten(
            number in numbers(), position in 4_usize..10, step in 1_u8..10
        ) {
            let mut bytes = number.clone().into_bytes();
            bytes[position] = b'0' + (bytes[position] - b'0' + step) % 10;
            let changed = String::from_utf8(bytes).unwrap();
            let mut remainders =
                [reference_remainder(number.split_at(10).0), reference_remainder(changed.split_at(10).0)];
            remainders.sort_unstable();
            prop_assert_ne!(remainders[0], remainders[1]);
            prop_assert_eq!(changed.parse::<ContainerNumber>().is_ok(), remainders == [0, 10]);
        }
    }
}

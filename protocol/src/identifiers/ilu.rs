//! ILU codes of EN 13044-1, which swap bodies and semi-trailers of European rail and road carry: three
//! owner letters, one of A, B, D, E and K, six digits and the check digit of ISO 6346, such as
//! `XYZA1003094`.
//!
//! They differ from container numbers in the fourth letter alone, so none is ever proposed for the
//! other. Refuses a wrong check digit, except through [`IluCode::parse_unchecked`].

use std::str::FromStr;

use super::check_digit;
use super::foreign::Foreign;
use super::near::{self, CharClass};
use super::text::{canonical_text, compact, quote};

const PRESENTATION: [char; 2] = [' ', '-'];

const SHAPE: [CharClass; 11] = [
    CharClass::Letter,
    CharClass::Letter,
    CharClass::Letter,
    CharClass::UnitCategory,
    CharClass::Digit,
    CharClass::Digit,
    CharClass::Digit,
    CharClass::Digit,
    CharClass::Digit,
    CharClass::Digit,
    CharClass::Digit,
];

/// An ILU code whose check digit is right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IluCode(Box<str>);

/// An ILU code of the right shape whose check digit is wrong. It never compares equal to an
/// [`IluCode`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UncheckedIluCode(Box<str>);

canonical_text!(IluCode);
canonical_text!(UncheckedIluCode);

/// Result of [`IluCode::parse_unchecked`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IluReading {
    /// The check digit is right.
    Checked(IluCode),
    /// The shape is right, the check digit is wrong.
    Unchecked(UncheckedIluCode),
}

/// Error for a text that is no ILU code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IluCodeError {
    /// A character that stands in no ILU code.
    #[error(transparent)]
    Foreign(#[from] Foreign),
    /// Another shape.
    #[error(
        "`{text}` is no ILU code; write four letters, the fourth one of `A`, `B`, `D`, `E` and `K`, \
         then six digits and the check digit"
    )]
    Shape {
        /// The rejected text.
        text: String,
    },
    /// The check digit contradicts the rest.
    #[error(
        "`{text}` has the check digit `{found}` where EN 13044-1 gives `{expected}`; \
         read the code again, or accept it as unchecked"
    )]
    CheckDigit {
        /// The rejected text.
        text: String,
        /// The digit that was given.
        found: u32,
        /// The digit that EN 13044-1 gives.
        expected: u32,
    },
}

impl IluCode {
    /// Parses a text of the right shape, whatever its check digit; the result tells whether that
    /// digit is right.
    ///
    /// # Errors
    ///
    /// Every error of [`IluCode::from_str`] but the one about a wrong check digit.
    pub fn parse_unchecked(text: &str) -> Result<IluReading, IluCodeError> {
        Foreign::refuse(text)?;
        let shape = || IluCodeError::Shape { text: quote(text) };
        let canonical = compact(text, &PRESENTATION).ok_or_else(shape)?;
        let Ok([o1, o2, o3, category, digits @ ..]) = <[u8; 11]>::try_from(canonical.as_bytes())
        else {
            return Err(shape());
        };
        let is_shaped = [o1, o2, o3].iter().all(u8::is_ascii_uppercase)
            && matches!(category, b'A' | b'B' | b'D' | b'E' | b'K')
            && digits.iter().all(u8::is_ascii_digit);
        if !is_shaped {
            return Err(shape());
        }
        let found = canonical.bytes().last().map_or(0, check_digit::value);
        Ok(if found == check_digit::of(&canonical) {
            IluReading::Checked(Self(canonical.into()))
        } else {
            IluReading::Unchecked(UncheckedIluCode(canonical.into()))
        })
    }

    /// Returns whether a text has the shape of an ILU code, whatever its check digit.
    #[must_use]
    pub fn is_shape_of(text: &str) -> bool {
        Self::parse_unchecked(text).is_ok()
    }

    /// Returns whether the check digit 0 stands for the remainder 10, which it shares with the
    /// remainder 0.
    #[must_use]
    pub fn has_ambiguous_check_digit(&self) -> bool {
        check_digit::remainder(self.0.bytes().take(10)) == 10
    }

    /// Proposes codes that `text` may have been meant to be, the likeliest first, at most
    /// [`super::NEAR_MATCHES_MAX`]. The list is empty unless `text` has the shape of one.
    #[must_use]
    pub fn near_matches(text: &str) -> Vec<Self> {
        if Self::is_shape_of(text) {
            near::matches(text, &SHAPE)
        } else {
            Vec::new()
        }
    }
}

impl UncheckedIluCode {
    /// Returns the check digit that EN 13044-1 gives for the rest of the code.
    #[must_use]
    pub fn expected_check_digit(&self) -> u32 {
        check_digit::of(&self.0)
    }
}

impl IluReading {
    /// Returns the canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Checked(code) => code.as_str(),
            Self::Unchecked(code) => code.as_str(),
        }
    }
}

impl FromStr for IluCode {
    type Err = IluCodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match Self::parse_unchecked(text)? {
            IluReading::Checked(code) => Ok(code),
            IluReading::Unchecked(code) => Err(IluCodeError::CheckDigit {
                text: quote(text),
                found: code.0.bytes().last().map_or(0, check_digit::value),
                expected: code.expected_check_digit(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ContainerNumber;
    use super::*;

    /// Bug 15, `cases/ilu.txt`: the check digits there come from an independent script.
    #[test]
    fn units_of_rail_and_road_have_the_check_digit_of_containers() {
        for text in ["XYZA1003094", "XYZK1003094", "XYZB1003099", "XYZE1003090"] {
            assert_eq!(text.parse::<IluCode>().unwrap().as_str(), text);
            assert!(text.parse::<ContainerNumber>().is_err(), "{text}");
            assert!(ContainerNumber::near_matches(text).is_empty(), "{text}");
        }
        assert_eq!(
            "xyza 100309-4".parse::<IluCode>().unwrap().as_str(),
            "XYZA1003094"
        );
        assert_eq!(
            "XYZA1003095".parse::<IluCode>().unwrap_err().to_string(),
            "`XYZA1003095` has the check digit `5` where EN 13044-1 gives `4`; read the code again, \
             or accept it as unchecked"
        );
        assert!(IluCode::near_matches("XYZA1003095").contains(&"XYZA1003094".parse().unwrap()));
        assert!(ContainerNumber::near_matches("XYZA1003095").is_empty());
    }

    #[test]
    fn other_fourth_letters_and_shapes_are_refused() {
        for letter in ('A'..='Z').filter(|letter| !"ABDEK".contains(*letter)) {
            let text = format!("XYZ{letter}1003094");
            assert!(IluCode::parse_unchecked(&text).is_err(), "{text}");
        }
        for text in [
            "",
            "XYZA100309",
            "XYZA10030944",
            "X1ZA1003094",
            "XYZA10O3094",
            " XYZA1003094",
        ] {
            assert!(
                matches!(text.parse::<IluCode>(), Err(IluCodeError::Shape { .. })),
                "{text:?}"
            );
        }
    }
}

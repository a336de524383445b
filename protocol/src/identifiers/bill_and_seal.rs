//! Bill of lading numbers and seal numbers, which carriers and seal makers give without a common
//! grammar.
//!
//! They have no check digit and no registry, so little can be refused. A text that is too short or
//! has no digit would match by chance; a text with other characters was misread.

use std::str::FromStr;

use super::foreign::Foreign;
use super::text::{canonical_text, compact, quote, quote_char};

/// A bill of lading number as its carrier writes it, in capitals and without spaces; 4 to 35
/// letters, digits, hyphens, dots and slashes, at least one of them a digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BillOfLading(Box<str>);

/// A seal number in capitals, without spaces and hyphens; 3 to 20 letters and digits, at least one
/// of them a digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SealNumber(Box<str>);

canonical_text!(BillOfLading);
canonical_text!(SealNumber);

/// Error for a text that is no bill of lading number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no bill of lading number: {fault}")]
pub struct BillOfLadingError {
    text: String,
    fault: Fault,
}

/// Error for a text that is no seal number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no seal number: {fault}")]
pub struct SealNumberError {
    text: String,
    fault: Fault,
}

/// Fault of a number that has hardly any grammar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("{found}", found = .0.told())]
    Foreign(Foreign),
    #[error("it has a space or separator before or after it; remove it")]
    Padded,
    #[error("it contains `{found}`; use {allowed}")]
    Character {
        found: String,
        allowed: &'static str,
    },
    #[error("it has {found} characters; use {least} to {most}")]
    Length {
        found: usize,
        least: usize,
        most: usize,
    },
    #[error("it has no digit; copy the whole number")]
    NoDigit,
}

/// Grammar of such a number after its presentation is taken off.
struct Grammar {
    presentation: &'static [char],
    punctuation: &'static [char],
    allowed: &'static str,
    least: usize,
    most: usize,
}

const BILL_OF_LADING: Grammar = Grammar {
    presentation: &[' '],
    punctuation: &['-', '.', '/'],
    allowed: "letters a-z, digits, `-`, `.` and `/`",
    least: 4,
    most: 35,
};

const SEAL_NUMBER: Grammar = Grammar {
    presentation: &[' ', '-'],
    punctuation: &[],
    allowed: "letters a-z and digits",
    least: 3,
    most: 20,
};

impl FromStr for BillOfLading {
    type Err = BillOfLadingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        BILL_OF_LADING
            .parse(text)
            .map(Self)
            .map_err(|fault| BillOfLadingError {
                text: quote(text),
                fault,
            })
    }
}

impl FromStr for SealNumber {
    type Err = SealNumberError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        SEAL_NUMBER
            .parse(text)
            .map(Self)
            .map_err(|fault| SealNumberError {
                text: quote(text),
                fault,
            })
    }
}

impl Grammar {
    fn parse(&self, text: &str) -> Result<Box<str>, Fault> {
        Foreign::refuse(text).map_err(Fault::Foreign)?;
        let canonical = compact(text, self.presentation).ok_or(Fault::Padded)?;
        let allowed = |c: &char| c.is_ascii_alphanumeric() || self.punctuation.contains(c);
        if let Some(found) = canonical.chars().find(|character| !allowed(character)) {
            let found = quote_char(found);
            return Err(Fault::Character {
                found,
                allowed: self.allowed,
            });
        }
        let found = canonical.len();
        if !(self.least..=self.most).contains(&found) {
            return Err(Fault::Length {
                found,
                least: self.least,
                most: self.most,
            });
        }
        if !canonical.bytes().any(|byte| byte.is_ascii_digit()) {
            return Err(Fault::NoDigit);
        }
        Ok(canonical.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn bill_refused(text: &str, message: &str) {
        assert_eq!(
            text.parse::<BillOfLading>().unwrap_err().to_string(),
            message
        );
    }

    #[test]
    fn what_would_match_by_chance_is_no_bill_of_lading() {
        bill_refused(
            "123",
            "`123` is no bill of lading number: it has 3 characters; use 4 to 35",
        );
        bill_refused(
            "UNKNOWN",
            "`UNKNOWN` is no bill of lading number: it has no digit; copy the whole number",
        );
        bill_refused(
            "MAEU#1234",
            "`MAEU#1234` is no bill of lading number: it contains `#`; \
             use letters a-z, digits, `-`, `.` and `/`",
        );
        bill_refused(
            "MAEU1234\n",
            "`MAEU1234\\n` is no bill of lading number: \
             it has a space or separator before or after it; remove it",
        );
        assert!("1".repeat(36).parse::<BillOfLading>().is_err());
    }

    #[test]
    fn the_hyphens_of_a_bill_of_lading_are_its_own() {
        assert_eq!(
            "maeu 123-456/7".parse::<BillOfLading>().unwrap().as_str(),
            "MAEU123-456/7"
        );
    }

    #[test]
    fn the_hyphens_of_a_seal_are_presentation() {
        assert_eq!(
            "ml-nl 001 234".parse::<SealNumber>().unwrap().as_str(),
            "MLNL001234"
        );
    }

    #[test]
    fn what_would_match_by_chance_is_no_seal() {
        for text in [
            "",
            "12",
            "SEAL",
            "AB/12",
            "-AB12",
            "\u{410}B12",
            &"1".repeat(21),
        ] {
            assert!(text.parse::<SealNumber>().is_err(), "{text:?}");
        }
    }
}

//! Codes of the Harmonised System: six digits, eight in the Combined Nomenclature, ten in TARIC
//! and in national tariffs. Two digits are the chapter, four the heading, six the subheading.
//!
//! The same digits can mean other goods in another edition, so the edition is part of the value if
//! it is known: `847130@2022`. The text of a code without an edition equals no text with one; whether both
//! mean the same goods, the year of the goods says ([`HsCode::is_of`]). An odd count of digits is refused;
//! no guess is made where a leading zero was lost.

use std::str::FromStr;

use super::foreign::Foreign;
use super::text::{canonical_text, compact, quote};

const PRESENTATION: [char; 2] = ['.', ' '];

const EDITIONS: [&str; 8] = [
    "1988", "1992", "1996", "2002", "2007", "2012", "2017", "2022",
];

/// A code of goods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HsCode(Box<str>);

canonical_text!(HsCode);

/// Error for a text that is no HS code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HsCodeError {
    /// A character that stands in no HS code.
    #[error(transparent)]
    Foreign(#[from] Foreign),
    /// White space or a dot stands before or after the code.
    #[error("`{text}` has a space or dot before or after the code; remove it")]
    Padded {
        /// The rejected text.
        text: String,
    },
    /// Something that is no digit.
    #[error("`{text}` is no HS code; write 6, 8 or 10 digits, such as `8471.30`")]
    Digits {
        /// The rejected text.
        text: String,
    },
    /// Another count of digits.
    #[error(
        "`{text}` has {found} digits where an HS code has 6, 8 or 10; \
         put back a leading zero if a spreadsheet dropped it"
    )]
    Length {
        /// The rejected text.
        text: String,
        /// The number of digits.
        found: usize,
    },
    /// Chapter 00.
    #[error("`{text}` is of chapter 00, which does not exist; chapters run from 01 to 99")]
    Chapter {
        /// The rejected text.
        text: String,
    },
    /// A year in which no edition came into force.
    #[error(
        "`{text}` names the edition `{found}`; \
         use 1988, 1992, 1996, 2002, 2007, 2012, 2017 or 2022, or leave `@` and the year out"
    )]
    Edition {
        /// The rejected text.
        text: String,
        /// The year.
        found: String,
    },
}

impl HsCode {
    /// Returns all its digits: 6, 8 or 10.
    #[must_use]
    pub fn digits(&self) -> &str {
        self.0.split_once('@').map_or(&self.0, |(digits, _)| digits)
    }

    /// Returns the year of the edition, if it is known.
    #[must_use]
    pub fn edition(&self) -> Option<&str> {
        self.0.split_once('@').map(|(_, edition)| edition)
    }

    /// Returns whether the goods of the code `goods` are meant by this one: theirs begins with its digits,
    /// in its edition. A code without an edition means the goods of every edition; goods without one are of
    /// the edition in force in their year, at `year`.
    #[must_use]
    pub fn is_of(&self, goods: &Self, year: i16) -> bool {
        let edition = match self.edition() {
            None => true,
            Some(named) => goods.edition().or(Self::edition_in_force(year)) == Some(named),
        };
        edition && goods.digits().starts_with(self.digits())
    }

    /// Returns the edition in force in a year, the last one that is known to this version; `None` before
    /// the first.
    #[must_use]
    pub fn edition_in_force(year: i16) -> Option<&'static str> {
        let begun = |edition: &&&str| edition.parse::<i16>().is_ok_and(|begun| begun <= year);
        EDITIONS.iter().rev().find(begun).copied()
    }

    /// Returns the first two digits.
    #[must_use]
    pub fn chapter(&self) -> &str {
        self.prefix(2)
    }

    /// Returns the first four digits.
    #[must_use]
    pub fn heading(&self) -> &str {
        self.prefix(4)
    }

    /// Returns the first six digits, the part that is the same all over the world.
    #[must_use]
    pub fn subheading(&self) -> &str {
        self.prefix(6)
    }

    // Every code has at least six digits, so the code is never returned whole because it is too
    // short.
    fn prefix(&self, length: usize) -> &str {
        let digits = self.digits();
        digits.get(..length).unwrap_or(digits)
    }
}

impl FromStr for HsCode {
    type Err = HsCodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Foreign::refuse(text)?;
        let (code, edition) = match text.split_once('@') {
            Some((code, edition)) => (code, Some(edition)),
            None => (text, None),
        };
        let Some(digits) = compact(code, &PRESENTATION) else {
            return Err(HsCodeError::Padded { text: quote(text) });
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(HsCodeError::Digits { text: quote(text) });
        }
        if !matches!(digits.len(), 6 | 8 | 10) {
            return Err(HsCodeError::Length {
                text: quote(text),
                found: digits.len(),
            });
        }
        if digits.starts_with("00") {
            return Err(HsCodeError::Chapter { text: quote(text) });
        }
        match edition {
            None => Ok(Self(digits.into())),
            Some(year) if EDITIONS.contains(&year) => Ok(Self(format!("{digits}@{year}").into())),
            Some(year) => Err(HsCodeError::Edition {
                text: quote(text),
                found: quote(year),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, message: &str) {
        assert_eq!(text.parse::<HsCode>().unwrap_err().to_string(), message);
    }

    #[test]
    fn a_lost_leading_zero_is_not_guessed() {
        refused(
            "10121",
            "`10121` has 5 digits where an HS code has 6, 8 or 10; \
             put back a leading zero if a spreadsheet dropped it",
        );
        for text in ["1", "8471", "847130000", "84713000000"] {
            assert!(
                matches!(text.parse::<HsCode>(), Err(HsCodeError::Length { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_digits_is_refused() {
        for text in ["", "@2022", "84713O", "8471-30", "847130.00a0"] {
            assert!(
                matches!(text.parse::<HsCode>(), Err(HsCodeError::Digits { .. })),
                "{text}"
            );
        }
        for text in [" 847130", "847130.", "847130 @2022"] {
            assert!(
                matches!(text.parse::<HsCode>(), Err(HsCodeError::Padded { .. })),
                "{text}"
            );
        }
        assert!(matches!(
            "000130".parse::<HsCode>(),
            Err(HsCodeError::Chapter { .. })
        ));
    }

    #[test]
    fn a_year_without_an_edition_is_refused() {
        for year in ["2021", "22", "", "2022@2017", " 2022"] {
            let text = format!("847130@{year}");
            assert!(
                matches!(text.parse::<HsCode>(), Err(HsCodeError::Edition { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn the_prefixes_are_pairs_of_digits() {
        let code: HsCode = "8471.30.0000@2022".parse().unwrap();
        assert_eq!(code.as_str(), "8471300000@2022");
        assert_eq!(
            (code.chapter(), code.heading(), code.subheading()),
            ("84", "8471", "847130")
        );
        assert_eq!(
            (code.digits(), code.edition()),
            ("8471300000", Some("2022"))
        );
    }

    #[test]
    fn a_code_of_unknown_edition_equals_none_of_a_known_one() {
        let unknown: HsCode = "0101.21".parse().unwrap();
        assert_eq!((unknown.as_str(), unknown.edition()), ("010121", None));
        assert_ne!(unknown, "010121@2022".parse().unwrap());
    }
}

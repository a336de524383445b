//! EORI numbers of the European Union and the third-country numbers of the same form (TCUIN): a
//! country and 1 to 15 visible characters, such as `NL123456789`.
//!
//! Checks the syntax alone; only the issuing country can say whether a number is registered.
//! Letters are folded to capitals, because registers hold no two numbers that differ in case alone.

use std::str::FromStr;

use super::country::CountryCode;
use super::foreign::Foreign;
use super::text::{canonical_text, quote, quote_char};

/// An economic operator's number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Eori {
    text: Box<str>,
    country: CountryCode,
}

canonical_text!(Eori, text);

/// Error for a text that is no EORI number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EoriError {
    /// A character that stands in no EORI number.
    #[error(transparent)]
    Foreign(#[from] Foreign),
    /// The first two characters are no country.
    #[error(
        "`{text}` does not start with a country of ISO 3166-1 (or `XI`); \
         write the two letters of the issuing country first"
    )]
    Country {
        /// The rejected text.
        text: String,
    },
    /// Nothing, or more than 15 characters, after the country.
    #[error("`{text}` has {found} characters after the country; an EORI number has 1 to 15")]
    Length {
        /// The rejected text.
        text: String,
        /// The number of characters after the country.
        found: usize,
    },
    /// A space or control character.
    #[error("`{text}` contains `{found}`; use visible ASCII characters without spaces")]
    Character {
        /// The rejected text.
        text: String,
        /// The first such character.
        found: String,
    },
}

impl Eori {
    /// Returns the country that issued the number. `GB` numbers are no longer EU numbers; those of
    /// Northern Ireland start with `XI`.
    #[must_use]
    pub fn country(&self) -> &CountryCode {
        &self.country
    }
}

impl FromStr for Eori {
    type Err = EoriError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Foreign::refuse(text)?;
        if let Some(found) = text.chars().find(|character| !character.is_ascii_graphic()) {
            let found = quote_char(found);
            return Err(EoriError::Character {
                text: quote(text),
                found,
            });
        }
        let split = text.split_at_checked(2);
        let country = split.and_then(|(country, _)| country.parse::<CountryCode>().ok());
        let (Some((_, number)), Some(country)) = (split, country) else {
            return Err(EoriError::Country { text: quote(text) });
        };
        if !(1..=15).contains(&number.len()) {
            return Err(EoriError::Length {
                text: quote(text),
                found: number.len(),
            });
        }
        Ok(Self {
            text: text.to_ascii_uppercase().into(),
            country,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn refused(text: &str, message: &str) {
        assert_eq!(text.parse::<Eori>().unwrap_err().to_string(), message);
    }

    #[test]
    fn what_is_no_country_is_refused_at_the_start() {
        for text in ["", "N", "ZZ123", "12345", "UK123456789000"] {
            assert!(
                matches!(text.parse::<Eori>(), Err(EoriError::Country { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn spaces_and_foreign_characters_are_refused() {
        refused(
            "NL 123",
            "`NL 123` contains `U+0020`; use visible ASCII characters without spaces",
        );
        refused(
            "NL12\u{435}3",
            "in `NL12\u{435}3` the 5th character is a Cyrillic `\u{435}` (U+0435), not a Latin `e`",
        );
    }

    #[test]
    fn the_number_has_at_most_fifteen_characters() {
        refused(
            "NL",
            "`NL` has 0 characters after the country; an EORI number has 1 to 15",
        );
        assert!("NL123456789012345".parse::<Eori>().is_ok());
        assert!(matches!(
            "NL1234567890123456".parse::<Eori>(),
            Err(EoriError::Length { found: 16, .. })
        ));
    }

    #[test]
    fn lower_case_is_presentation() {
        let eori: Eori = "xi123abc".parse().unwrap();
        assert_eq!((eori.as_str(), eori.country().as_str()), ("XI123ABC", "XI"));
    }

    proptest! {
        #[test]
        fn every_text_of_the_published_grammar_is_kept(text in "(NL|DE|BE|XI)[!-`{-~]{1,15}") {
            prop_assert_eq!(text.parse::<Eori>().unwrap().to_string(), text);
        }
    }
}

//! EORI numbers of the European Union and the third-country numbers of the same form (TCUIN): a
//! country and 1 to 15 visible characters, such as `NL123456789`.
//!
//! Numbers of `GB` and `XI` have twelve digits, or fifteen for a group, and are printed with spaces and
//! hyphens, which are taken off. Checks the syntax alone; only the issuing country can say whether a
//! number is registered.
//! Letters are folded to capitals, because registers hold no two numbers that differ in case alone.

use std::str::FromStr;

use super::country::CountryCode;
use super::foreign::Foreign;
use super::text::{canonical_text, compact, quote, quote_char};

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
    /// A number of `GB` or `XI` that has not the digits of one.
    #[error(
        "`{text}` is no EORI number of `{country}`: those have 12 digits after the country, or 15 for \
         a group; copy the whole number"
    )]
    British {
        /// The rejected text.
        text: String,
        /// Its country.
        country: CountryCode,
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
    /// Takes a number that was signed or kept before: as its form was then, which asked nothing more of
    /// numbers of `GB` and `XI` than of others.
    ///
    /// # Errors
    ///
    /// [`EoriError`].
    pub fn as_signed(text: &str) -> Result<Self, EoriError> {
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
        let Some(canonical) = compact(text, &[' ', '-']).filter(|text| is_british(text)) else {
            return Self::as_signed(text);
        };
        let eori = Self::as_signed(&canonical)?;
        let digits = canonical
            .split_at_checked(2)
            .map_or("", |(_, digits)| digits);
        if matches!(digits.len(), 12 | 15) && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(eori)
        } else {
            Err(EoriError::British {
                text: quote(text),
                country: eori.country,
            })
        }
    }
}

fn is_british(canonical: &str) -> bool {
    canonical.starts_with("GB") || canonical.starts_with("XI")
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

    /// Bug 18: one trader became two, `GB-123456789000` and `GB123456789000`.
    #[test]
    fn a_british_number_has_twelve_digits_or_fifteen_however_it_is_printed() {
        for text in [
            "GB123456789000",
            "GB 123 456 789 000",
            "gb-123456789000",
            "GB 123 4567 89-000",
        ] {
            assert_eq!(text.parse::<Eori>().unwrap().as_str(), "GB123456789000");
        }
        assert!("XI123456789000123".parse::<Eori>().is_ok());
        refused(
            "GB12345678900",
            "`GB12345678900` is no EORI number of `GB`: those have 12 digits after the country, or 15 \
             for a group; copy the whole number",
        );
        for text in [
            "GB1234567890AB",
            "XI1234567890001",
            "GB",
            " GB123456789000",
            "GB123456789000 ",
        ] {
            assert!(text.parse::<Eori>().is_err(), "{text:?}");
        }
    }

    /// A number that was signed before stays readable, as it is.
    #[test]
    fn numbers_of_before_are_taken_as_they_were_signed() {
        for text in ["GB-123456789000", "XI123ABC", "GB1"] {
            assert_eq!(Eori::as_signed(text).unwrap().as_str(), text);
            assert!(
                text.parse::<Eori>()
                    .map_or(true, |eori| eori.as_str() != text)
            );
        }
        assert!(Eori::as_signed("GB 123456789000").is_err());
    }

    #[test]
    fn lower_case_is_presentation() {
        let eori: Eori = "xi123456789000".parse().unwrap();
        assert_eq!(
            (eori.as_str(), eori.country().as_str()),
            ("XI123456789000", "XI")
        );
    }

    proptest! {
        #[test]
        fn every_text_of_the_published_grammar_is_kept(text in "(NL|DE|BE)[!-`{-~]{1,15}") {
            prop_assert_eq!(text.parse::<Eori>().unwrap().to_string(), text);
        }
    }
}

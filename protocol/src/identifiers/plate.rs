//! Number plates: the country and the plate's letters and digits, such as `NL:AB123C`.
//!
//! Spaces, hyphens and dots of the plate are presentation and are removed. Plates use Greek and
//! Cyrillic letters because they look Latin (Vienna Convention on Road Traffic, annex 2); these
//! become Latin, so that a camera and a clerk write the same plate. Refuses a plate without a
//! country, because the same characters are in use in several countries.

use std::str::FromStr;

use super::country::CountryCode;
use super::foreign::Foreign;
use super::text::{canonical_text, quote, quote_char};
use crate::characters;

const LONGEST: usize = 12;

/// Greek and Cyrillic capitals, each list followed by the Latin capitals that they look like.
const LOOK_GREEK: &str = "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ";
const LOOK_GREEK_LATIN: &str = "ABEZHIKMNOPTYX";
const LOOK_CYRILLIC: &str = "АВЕКМНОРСТУХІ";
const LOOK_CYRILLIC_LATIN: &str = "ABEKMHOPCTYXI";

/// A vehicle's plate with its country.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Plate {
    text: Box<str>,
    country: CountryCode,
}

canonical_text!(Plate, text);

/// Error for a text that is no plate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlateError {
    /// A character before the colon that stands in no country code.
    #[error(transparent)]
    Foreign(#[from] Foreign),
    /// A character that is on no plate, and is not what it looks like.
    #[error("`{text}` holds {found}; write the plate's letters and the digits 0 to 9 alone")]
    Unseen {
        /// The rejected text.
        text: String,
        /// The first such character and its name.
        found: String,
    },
    /// No country and colon before the plate.
    #[error(
        "`{text}` does not say of which country the plate is; \
         write the two letters and a colon first, such as `NL:AB-123-C`"
    )]
    Country {
        /// The rejected text.
        text: String,
    },
    /// No characters, or too many.
    #[error("`{text}` has {found} letters and digits; a plate has 1 to 12")]
    Length {
        /// The rejected text.
        text: String,
        /// The number of letters and digits.
        found: usize,
    },
    /// A character that is on no plate.
    #[error("`{text}` contains `{found}`; write the plate's letters and the digits 0 to 9 alone")]
    Character {
        /// The rejected text.
        text: String,
        /// The first such character.
        found: String,
    },
}

impl Plate {
    /// Normalises the plate `text` of `country`.
    ///
    /// # Errors
    ///
    /// [`PlateError`] if `text` holds no letter or digit, more than 12, or anything but spaces,
    /// hyphens and dots between them.
    pub fn of(country: CountryCode, text: &str) -> Result<Self, PlateError> {
        let kept = text.chars().filter(|c| !matches!(c, ' ' | '-' | '.'));
        let plate: String = kept.flat_map(char::to_uppercase).map(latin).collect();
        let allowed = |c: &char| c.is_ascii_digit() || c.is_alphabetic();
        let padding = text
            .chars()
            .next()
            .into_iter()
            .chain(text.chars().next_back());
        let foreign = plate.chars().find(|c| !allowed(c));
        if let Some(found) = foreign.or_else(|| padding.into_iter().find(|c| *c == ' ')) {
            let text = quote(text);
            return Err(if found.is_ascii() {
                let found = quote_char(found);
                PlateError::Character { text, found }
            } else {
                let found = characters::described(found);
                PlateError::Unseen { text, found }
            });
        }
        let found = plate.chars().count();
        if !(1..=LONGEST).contains(&found) {
            return Err(PlateError::Length {
                text: quote(text),
                found,
            });
        }
        Ok(Self {
            text: format!("{country}:{plate}").into(),
            country,
        })
    }

    /// Returns the country that issued the plate.
    #[must_use]
    pub fn country(&self) -> &CountryCode {
        &self.country
    }

    /// Returns the plate without its country.
    #[must_use]
    pub fn number(&self) -> &str {
        self.text
            .split_once(':')
            .map_or(&self.text, |(_, number)| number)
    }
}

impl FromStr for Plate {
    type Err = PlateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let split = text.split_once(':');
        let country = split.and_then(|(country, _)| country.parse().ok());
        let (Some((_, plate)), Some(country)) = (split, country) else {
            let country = split.map_or("", |(country, _)| country);
            Foreign::refuse(country)?;
            return Err(PlateError::Country { text: quote(text) });
        };
        Self::of(country, plate)
    }
}

fn latin(character: char) -> char {
    let greek = LOOK_GREEK.chars().zip(LOOK_GREEK_LATIN.chars());
    let mut pairs = greek.chain(LOOK_CYRILLIC.chars().zip(LOOK_CYRILLIC_LATIN.chars()));
    pairs
        .find(|(look, _)| *look == character)
        .map_or(character, |(_, latin)| latin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, message: &str) {
        assert_eq!(text.parse::<Plate>().unwrap_err().to_string(), message);
    }

    #[track_caller]
    fn check(text: &str, canonical: &str) {
        assert_eq!(text.parse::<Plate>().unwrap().as_str(), canonical);
    }

    #[test]
    fn a_plate_without_its_country_is_refused() {
        for text in [
            "AB-123-C",
            "NL AB-123-C",
            "ZZ:AB123C",
            ":AB123C",
            "",
            "NLD:AB123C",
        ] {
            assert!(
                matches!(text.parse::<Plate>(), Err(PlateError::Country { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_on_no_plate_is_refused() {
        refused(
            "NL:AB_1",
            "`AB_1` contains `_`; write the plate's letters and the digits 0 to 9 alone",
        );
        for text in ["NL:A:1", "NL: AB1"] {
            assert!(
                matches!(text.parse::<Plate>(), Err(PlateError::Character { .. })),
                "{text:?}"
            );
        }
        // Arabic-Indic digits, a combining mark, a zero-width space.
        for text in ["EG:\u{661}\u{662}", "DE:LO\u{308}1", "NL:AB\u{200b}1"] {
            assert!(
                matches!(text.parse::<Plate>(), Err(PlateError::Unseen { .. })),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_plate_has_one_to_twelve_characters() {
        for text in ["NL:", "NL:-.-", "NL:ABCDEFGHIJKLM"] {
            assert!(
                matches!(text.parse::<Plate>(), Err(PlateError::Length { .. })),
                "{text}"
            );
        }
        check("NL:ABCDEFGHIJKL", "NL:ABCDEFGHIJKL");
    }

    #[test]
    fn separators_and_case_are_presentation() {
        check("nl:ab-123-c", "NL:AB123C");
        check("GB:AB12 CDE", "GB:AB12CDE");
        check("DE:L\u{f6} ab 12", "DE:L\u{d6}AB12");
    }

    #[test]
    fn letters_that_look_latin_become_latin() {
        check("RU:\u{410}123\u{412}\u{421}77", "RU:A123BC77");
        check("GR:\u{396}\u{397}\u{3a7}-1234", "GR:ZHX1234");
        let plate: Plate = "UA:\u{410}\u{406}1234".parse().unwrap();
        assert_eq!((plate.country().as_str(), plate.number()), ("UA", "AI1234"));
    }
}

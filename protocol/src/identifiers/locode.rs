//! UN/LOCODE: a country and three characters for a port or other place, such as `NLRTM`.
//!
//! Checks the shape and the country, not whether UNECE has listed the place: the list changes
//! twice a year. Refuses the digits 0 and 1, which the standard leaves out because they look
//! like letters.

use std::str::FromStr;

use super::country::CountryCode;
use super::foreign::Foreign;
use super::text::{canonical_text, quote};

/// Prefix of UN/LOCODE for installations in international waters; it is no country.
const INTERNATIONAL_WATERS: &str = "XZ";

/// A place, in five characters without the space of the printed list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnLocode(Box<str>);

canonical_text!(UnLocode);

/// Error for a text that is no UN/LOCODE.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnLocodeError {
    /// A character that stands in no UN/LOCODE.
    #[error(transparent)]
    Foreign(#[from] Foreign),
    /// Not two and three characters.
    #[error(
        "`{text}` is no UN/LOCODE; write two letters for the country and three characters for the \
         place, such as `NLRTM`"
    )]
    Shape {
        /// The rejected text.
        text: String,
    },
    /// The first two letters are no country.
    #[error(
        "`{text}` starts with `{found}`, which is no country of ISO 3166-1; correct the first two letters"
    )]
    Country {
        /// The rejected text.
        text: String,
        /// The first two letters.
        found: String,
    },
    /// A character that the place part may not hold.
    #[error(
        "`{text}` has `{found}` in its place part; use letters and the digits 2 to 9 \
         (for 0 and 1 the letters O and I are meant)"
    )]
    CharClass {
        /// The rejected text.
        text: String,
        /// The first such character.
        found: char,
    },
}

impl UnLocode {
    /// Returns the country; `None` for an installation in international waters (`XZ`).
    #[must_use]
    pub fn country(&self) -> Option<CountryCode> {
        let (country, _) = self.0.split_at_checked(2)?;
        country.parse().ok()
    }
}

impl FromStr for UnLocode {
    type Err = UnLocodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Foreign::refuse(text)?;
        let shape = || UnLocodeError::Shape { text: quote(text) };
        let upper = text.to_ascii_uppercase();
        let (country, rest) = upper.split_at_checked(2).ok_or_else(shape)?;
        let place = rest.strip_prefix(' ').unwrap_or(rest);
        if place.len() != 3 || !place.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(shape());
        }
        if country != INTERNATIONAL_WATERS && country.parse::<CountryCode>().is_err() {
            let found = quote(country);
            return Err(UnLocodeError::Country {
                text: quote(text),
                found,
            });
        }
        if let Some(found) = place
            .chars()
            .find(|character| matches!(character, '0' | '1'))
        {
            return Err(UnLocodeError::CharClass {
                text: quote(text),
                found,
            });
        }
        Ok(Self(format!("{country}{place}").into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_zero_and_one_are_refused() {
        assert_eq!(
            "USN1C".parse::<UnLocode>(),
            Err(UnLocodeError::CharClass {
                text: "USN1C".into(),
                found: '1'
            })
        );
        assert_eq!("USAA2".parse::<UnLocode>().unwrap().as_str(), "USAA2");
    }

    #[test]
    fn a_place_without_a_country_is_refused() {
        assert!(matches!(
            "ZZRTM".parse::<UnLocode>(),
            Err(UnLocodeError::Country { .. })
        ));
        assert!(matches!(
            "12RTM".parse::<UnLocode>(),
            Err(UnLocodeError::Country { .. })
        ));
    }

    #[test]
    fn other_shapes_are_refused() {
        for text in ["", "NL", "NLRT", "NLRTMX", " NLRTM", "NL  RTM", "NL-RTM"] {
            assert!(
                matches!(text.parse::<UnLocode>(), Err(UnLocodeError::Shape { .. })),
                "{text:?}"
            );
        }
    }

    #[test]
    fn the_printed_form_and_lower_case_become_canonical() {
        for text in ["NL RTM", "nlrtm", "nl rtm"] {
            assert_eq!(text.parse::<UnLocode>().unwrap().to_string(), "NLRTM");
        }
    }

    #[test]
    fn installations_in_international_waters_have_no_country() {
        assert_eq!("XZ2LO".parse::<UnLocode>().unwrap().country(), None);
        let busan: UnLocode = "KRPUS".parse().unwrap();
        assert_eq!(busan.country(), Some("KR".parse().unwrap()));
    }
}

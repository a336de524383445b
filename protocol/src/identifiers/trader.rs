//! Ids of importers and sellers in a national register: the country and the register's own id,
//! such as `KR:QLRUBN9`.
//!
//! Refuses an id without a country: two registers give the same id to different traders, and a
//! match across borders would then be mere chance.

use std::str::FromStr;

use super::country::CountryCode;
use super::foreign::Foreign;
use super::text::{canonical_text, quote, quote_char};

const LONGEST: usize = 35;

/// A trader's id in the register of one country.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraderId {
    text: Box<str>,
    country: CountryCode,
}

canonical_text!(TraderId, text);

/// Error for a text that is no trader's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraderIdError {
    /// A character that stands in no trader's id.
    #[error(transparent)]
    Foreign(#[from] Foreign),
    /// No country and colon before the id.
    #[error(
        "`{text}` does not say of which country's register the id is; \
         write the two letters and a colon first, such as `KR:QLRUBN9`"
    )]
    Country {
        /// The rejected text.
        text: String,
    },
    /// No characters, or too many.
    #[error("the trader id `{text}` has {found} characters; use 1 to 35")]
    Length {
        /// The rejected text.
        text: String,
        /// The number of characters.
        found: usize,
    },
    /// A character outside the grammar.
    #[error("the trader id `{text}` contains `{found}`; use letters a-z, digits, `-`, `.` and `/`")]
    Character {
        /// The rejected text.
        text: String,
        /// The first such character.
        found: String,
    },
}

impl TraderId {
    /// Takes the id `text` from the register of `country`.
    ///
    /// # Errors
    ///
    /// [`TraderIdError`] if `text` is empty, longer than 35 characters, or holds anything but
    /// letters a–z (folded to capitals), digits, hyphens, dots and slashes.
    pub fn of(country: CountryCode, text: &str) -> Result<Self, TraderIdError> {
        Foreign::refuse(text)?;
        let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '/');
        if let Some(found) = text.chars().find(|character| !allowed(character)) {
            let found = quote_char(found);
            return Err(TraderIdError::Character {
                text: quote(text),
                found,
            });
        }
        if !(1..=LONGEST).contains(&text.len()) {
            return Err(TraderIdError::Length {
                text: quote(text),
                found: text.len(),
            });
        }
        let id = text.to_ascii_uppercase();
        Ok(Self {
            text: format!("{country}:{id}").into(),
            country,
        })
    }

    /// Returns the country whose register it is.
    #[must_use]
    pub fn country(&self) -> &CountryCode {
        &self.country
    }

    /// Returns the id as the register writes it, in capitals.
    #[must_use]
    pub fn register_id(&self) -> &str {
        self.text.split_once(':').map_or(&self.text, |(_, id)| id)
    }
}

impl FromStr for TraderId {
    type Err = TraderIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Foreign::refuse(text)?;
        let split = text.split_once(':');
        let country = split.and_then(|(country, _)| country.parse().ok());
        let (Some((_, id)), Some(country)) = (split, country) else {
            return Err(TraderIdError::Country { text: quote(text) });
        };
        Self::of(country, id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_without_its_country_is_refused() {
        for text in [
            "QLRUBN9",
            "",
            ":QLRUBN9",
            "ZZ:QLRUBN9",
            "K:QLRUBN9",
            " KR:QLRUBN9",
        ] {
            assert!(
                matches!(text.parse::<TraderId>(), Err(TraderIdError::Country { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn other_characters_and_lengths_are_refused() {
        for text in ["KR:QL UBN", "KR:A:B", "KR:QLRUBN9 ", "KR: A"] {
            assert!(
                matches!(
                    text.parse::<TraderId>(),
                    Err(TraderIdError::Character { .. })
                ),
                "{text:?}"
            );
        }
        for text in ["KR:".to_owned(), format!("KR:{}", "A".repeat(36))] {
            assert!(
                matches!(text.parse::<TraderId>(), Err(TraderIdError::Length { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn the_same_id_in_two_registers_is_two_traders() {
        let trader: TraderId = "kr:qlrubn9".parse().unwrap();
        assert_eq!(trader.as_str(), "KR:QLRUBN9");
        assert_eq!(
            (trader.country().as_str(), trader.register_id()),
            ("KR", "QLRUBN9")
        );
        assert_ne!(trader, "CN:QLRUBN9".parse().unwrap());
    }
}

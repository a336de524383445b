//! Country codes of ISO 3166-1 alpha-2, with the two user-assigned codes that customs work with:
//! `XI` (Northern Ireland, as EU prefixes use it) and `XK` (Kosovo).
//!
//! Refuses every other pair of letters: a code that ISO has not assigned is most often a typing
//! error, or a placeholder such as `ZZ`.

use std::str::FromStr;

use super::foreign::Foreign;
use super::text::{canonical_text, quote};

/// A country code in two capitals.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CountryCode(&'static str);

canonical_text!(CountryCode);

/// Error for a text that is no country code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CountryCodeError {
    /// A character that stands in no country code.
    #[error(transparent)]
    Foreign(#[from] Foreign),
    /// Not two letters.
    #[error("`{text}` is no country code; write two letters, such as `NL`")]
    Shape {
        /// The rejected text.
        text: String,
    },
    /// Two letters that stand for no country.
    #[error(
        "`{text}` is not assigned in ISO 3166-1 (nor one of `XI`, `XK`); \
         look up the country's alpha-2 code"
    )]
    Unassigned {
        /// The rejected text.
        text: String,
    },
}

impl FromStr for CountryCode {
    type Err = CountryCodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Foreign::refuse(text)?;
        if text.len() != 2 || !text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err(CountryCodeError::Shape { text: quote(text) });
        }
        let code = text.to_ascii_uppercase();
        ASSIGNED
            .iter()
            .chain(&USER_ASSIGNED)
            .find(|assigned| **assigned == code)
            .map(|assigned| Self(assigned))
            .ok_or_else(|| CountryCodeError::Unassigned { text: quote(text) })
    }
}

const USER_ASSIGNED: [&str; 2] = ["XI", "XK"];

/// The 249 officially assigned codes.
const ASSIGNED: [&str; 249] = [
    "AD", "AE", "AF", "AG", "AI", "AL", "AM", "AO", "AQ", "AR", "AS", "AT", "AU", "AW", "AX", "AZ",
    "BA", "BB", "BD", "BE", "BF", "BG", "BH", "BI", "BJ", "BL", "BM", "BN", "BO", "BQ", "BR", "BS",
    "BT", "BV", "BW", "BY", "BZ", "CA", "CC", "CD", "CF", "CG", "CH", "CI", "CK", "CL", "CM", "CN",
    "CO", "CR", "CU", "CV", "CW", "CX", "CY", "CZ", "DE", "DJ", "DK", "DM", "DO", "DZ", "EC", "EE",
    "EG", "EH", "ER", "ES", "ET", "FI", "FJ", "FK", "FM", "FO", "FR", "GA", "GB", "GD", "GE", "GF",
    "GG", "GH", "GI", "GL", "GM", "GN", "GP", "GQ", "GR", "GS", "GT", "GU", "GW", "GY", "HK", "HM",
    "HN", "HR", "HT", "HU", "ID", "IE", "IL", "IM", "IN", "IO", "IQ", "IR", "IS", "IT", "JE", "JM",
    "JO", "JP", "KE", "KG", "KH", "KI", "KM", "KN", "KP", "KR", "KW", "KY", "KZ", "LA", "LB", "LC",
    "LI", "LK", "LR", "LS", "LT", "LU", "LV", "LY", "MA", "MC", "MD", "ME", "MF", "MG", "MH", "MK",
    "ML", "MM", "MN", "MO", "MP", "MQ", "MR", "MS", "MT", "MU", "MV", "MW", "MX", "MY", "MZ", "NA",
    "NC", "NE", "NF", "NG", "NI", "NL", "NO", "NP", "NR", "NU", "NZ", "OM", "PA", "PE", "PF", "PG",
    "PH", "PK", "PL", "PM", "PN", "PR", "PS", "PT", "PW", "PY", "QA", "RE", "RO", "RS", "RU", "RW",
    "SA", "SB", "SC", "SD", "SE", "SG", "SH", "SI", "SJ", "SK", "SL", "SM", "SN", "SO", "SR", "SS",
    "ST", "SV", "SX", "SY", "SZ", "TC", "TD", "TF", "TG", "TH", "TJ", "TK", "TL", "TM", "TN", "TO",
    "TR", "TT", "TV", "TW", "TZ", "UA", "UG", "UM", "US", "UY", "UZ", "VA", "VC", "VE", "VG", "VI",
    "VN", "VU", "WF", "WS", "YE", "YT", "ZA", "ZM", "ZW",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_stand_for_no_country_are_refused() {
        for text in ["ZZ", "UK", "EU", "AA", "XX", "AN", "SU"] {
            assert_eq!(
                text.parse::<CountryCode>(),
                Err(CountryCodeError::Unassigned { text: text.into() })
            );
        }
        for text in ["", "N", "NLD", "N1", " N", "NL "] {
            assert!(
                matches!(
                    text.parse::<CountryCode>(),
                    Err(CountryCodeError::Shape { .. })
                ),
                "{text:?}"
            );
        }
    }

    #[test]
    fn lower_case_is_presentation() {
        assert_eq!("kr".parse::<CountryCode>().unwrap().as_str(), "KR");
    }

    #[test]
    fn the_codes_customs_use_beside_iso_are_accepted() {
        for text in ["XI", "XK", "GB", "NL", "BQ", "SS", "TW"] {
            assert_eq!(text.parse::<CountryCode>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_list_has_no_code_twice_and_is_in_order() {
        assert!(ASSIGNED.windows(2).all(|pair| pair[0] < pair[1]));
    }
}

//! MMSI: nine digits that name a radio at sea: a ship's, a coast station's, a beacon's. Most hold
//! a MID, three digits for the country (ITU-R M.585).
//!
//! There is no check digit, so a misread MMSI is most often another valid one. The MMSI changes
//! with the flag; the IMO number does not. Refuses the forms that ITU has assigned to nobody, and a
//! MID outside 201 to 775.

use std::str::FromStr;

use super::foreign::Foreign;
use super::text::{canonical_text, quote};

/// A maritime mobile service identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mmsi {
    digits: Box<str>,
    class: MmsiClass,
    mid: Option<u16>,
}

canonical_text!(Mmsi, digits);

/// Nine digits that ITU has assigned to no kind of station or country, as they are on the air. They
/// never compare equal to an [`Mmsi`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UncheckedMmsi(Box<str>);

canonical_text!(UncheckedMmsi);

/// Result of [`Mmsi::parse_unchecked`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MmsiReading {
    /// The digits have a form that ITU assigns.
    Checked(Mmsi),
    /// The digits are nine, and have no such form.
    Unchecked(UncheckedMmsi),
}

/// Kind of station that an MMSI names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MmsiClass {
    /// A ship: `MIDxxxxxx`.
    Ship,
    /// A group of ships: `0MIDxxxxx`.
    Group,
    /// A coast station: `00MIDxxxx`.
    Coast,
    /// An aircraft for search and rescue: `111MIDxxx`.
    SarAircraft,
    /// An aid to navigation: `99MIDxxxx`.
    AidToNavigation,
    /// A craft of a parent ship: `98MIDxxxx`.
    Craft,
    /// A distress beacon: `970`, `972` or `974` and six digits without a MID.
    Beacon,
    /// A handheld radio: `8MIDxxxxx`.
    Handheld,
}

/// Error for a text that is no MMSI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MmsiError {
    /// A character that stands in no MMSI.
    #[error(transparent)]
    Foreign(#[from] Foreign),
    /// Not nine digits.
    #[error("`{text}` is no MMSI; write nine digits, with or without `MMSI ` before them")]
    Shape {
        /// The rejected text.
        text: String,
    },
    /// A first part that stands for no kind of station.
    #[error(
        "`{text}` begins like no MMSI; compare its first three digits with the source, \
         or accept it as unchecked"
    )]
    Class {
        /// The rejected text.
        text: String,
    },
    /// A MID outside the range.
    #[error(
        "`{text}` has the country digits `{mid:03}` where 201 to 775 are in use; \
         compare it with the source, or accept it as unchecked"
    )]
    Mid {
        /// The rejected text.
        text: String,
        /// The three digits in the place of the MID.
        mid: u16,
    },
}

impl Mmsi {
    /// Parses nine digits, whatever they begin with; the result tells whether ITU assigns such.
    ///
    /// # Errors
    ///
    /// [`MmsiError::Shape`] and [`MmsiError::Foreign`].
    pub fn parse_unchecked(text: &str) -> Result<MmsiReading, MmsiError> {
        match text.parse() {
            Ok(mmsi) => Ok(MmsiReading::Checked(mmsi)),
            Err(MmsiError::Class { .. } | MmsiError::Mid { .. }) => {
                let digits = without_prefix(text);
                Ok(MmsiReading::Unchecked(UncheckedMmsi(digits.into())))
            }
            Err(error @ (MmsiError::Shape { .. } | MmsiError::Foreign(_))) => Err(error),
        }
    }

    /// Returns the kind of station.
    #[must_use]
    pub fn class(&self) -> MmsiClass {
        self.class
    }

    /// Returns the maritime identification digits, 201 to 775; `None` for beacons.
    #[must_use]
    pub fn mid(&self) -> Option<u16> {
        self.mid
    }
}

impl std::fmt::Display for MmsiClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Ship => "ship",
            Self::Group => "group of ships",
            Self::Coast => "coast station",
            Self::SarAircraft => "search and rescue aircraft",
            Self::AidToNavigation => "aid to navigation",
            Self::Craft => "craft of a parent ship",
            Self::Beacon => "distress beacon",
            Self::Handheld => "handheld radio",
        })
    }
}

impl FromStr for Mmsi {
    type Err = MmsiError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Foreign::refuse(text)?;
        let digits = without_prefix(text);
        let bytes = <[u8; 9]>::try_from(digits.as_bytes());
        let Some(bytes) = bytes.ok().filter(|b| b.iter().all(u8::is_ascii_digit)) else {
            return Err(MmsiError::Shape { text: quote(text) });
        };
        let Some((class, mid)) = classify(bytes) else {
            return Err(MmsiError::Class { text: quote(text) });
        };
        let mid = mid.map(number);
        match mid {
            Some(mid) if !(201..=775).contains(&mid) => Err(MmsiError::Mid {
                text: quote(text),
                mid,
            }),
            Some(_) | None => Ok(Self {
                digits: digits.into(),
                class,
                mid,
            }),
        }
    }
}

/// Removes the prefix `MMSI` in any case, with the spaces, hyphens and colons after it.
fn without_prefix(text: &str) -> &str {
    match text.split_at_checked(4) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("MMSI") => {
            rest.trim_start_matches([' ', '-', ':'])
        }
        Some(_) | None => text,
    }
}

fn classify(digits: [u8; 9]) -> Option<(MmsiClass, Option<[u8; 3]>)> {
    Some(match digits {
        [b'1', b'1', b'1', a, b, c, ..] => (MmsiClass::SarAircraft, Some([a, b, c])),
        [b'9', b'7', b'0' | b'2' | b'4', ..] => (MmsiClass::Beacon, None),
        [b'9', b'9', a, b, c, ..] => (MmsiClass::AidToNavigation, Some([a, b, c])),
        [b'9', b'8', a, b, c, ..] => (MmsiClass::Craft, Some([a, b, c])),
        [b'8', a, b, c, ..] => (MmsiClass::Handheld, Some([a, b, c])),
        [b'0', b'0', a, b, c, ..] => (MmsiClass::Coast, Some([a, b, c])),
        [b'0', a, b, c, ..] => (MmsiClass::Group, Some([a, b, c])),
        [a @ b'2'..=b'7', b, c, ..] => (MmsiClass::Ship, Some([a, b, c])),
        [..] => return None,
    })
}

fn number(mid: [u8; 3]) -> u16 {
    mid.iter().fold(0, |sum, digit| {
        sum * 10 + u16::from(digit.saturating_sub(b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, class: MmsiClass, mid: impl Into<Option<u16>>) {
        let mmsi: Mmsi = text.parse().unwrap();
        assert_eq!(
            (mmsi.as_str(), mmsi.class(), mmsi.mid()),
            (text, class, mid.into())
        );
    }

    #[test]
    fn country_digits_outside_201_to_775_are_refused_in_every_class() {
        for text in [
            "200123456",
            "776123456",
            "020012345",
            "077612345",
            "000200123",
            "009990000",
            "111200123",
            "992001234",
            "982001234",
            "820012345",
            "877612345",
        ] {
            assert!(
                matches!(text.parse::<Mmsi>(), Err(MmsiError::Mid { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn placeholders_and_unused_beginnings_are_refused() {
        for text in [
            "123456789",
            "100000000",
            "999999999",
            "971123456",
            "900000000",
            "000000000",
        ] {
            assert!(text.parse::<Mmsi>().is_err(), "{text}");
        }
        assert_eq!(
            "123456789".parse::<Mmsi>().unwrap_err().to_string(),
            "`123456789` begins like no MMSI; compare its first three digits with the source, \
             or accept it as unchecked"
        );
    }

    /// Bug 16: what a ship sends could not be named.
    #[test]
    fn an_identity_as_it_is_on_the_air_is_unchecked_and_never_a_wrong_shape() {
        for text in ["009123456", "123456789", "MMSI 009123456"] {
            let reading = Mmsi::parse_unchecked(text).unwrap();
            let MmsiReading::Unchecked(digits) = reading else {
                panic!("{reading:?}");
            };
            assert!(text.ends_with(digits.as_str()), "{digits}");
        }
        assert!(matches!(
            Mmsi::parse_unchecked("440123456"),
            Ok(MmsiReading::Checked(_))
        ));
        for text in ["", "00912345", "0091234567", "00912345O"] {
            assert!(Mmsi::parse_unchecked(text).is_err(), "{text}");
        }
    }

    #[test]
    fn other_shapes_are_refused() {
        for text in [
            "",
            "MMSI",
            "44012345",
            "4401234567",
            "44012345O",
            " 440123456",
            "440 123 456",
        ] {
            assert!(
                matches!(text.parse::<Mmsi>(), Err(MmsiError::Shape { .. })),
                "{text:?}"
            );
        }
    }

    /// The forms of the coast guard's summary of ITU-R M.585.
    #[test]
    fn each_form_gives_its_class_and_country_digits() {
        check("440123456", MmsiClass::Ship, 440);
        check("201000000", MmsiClass::Ship, 201);
        check("775999999", MmsiClass::Ship, 775);
        check("036699999", MmsiClass::Group, 366);
        check("003669999", MmsiClass::Coast, 366);
        check("111366123", MmsiClass::SarAircraft, 366);
        check("993661234", MmsiClass::AidToNavigation, 366);
        check("983661234", MmsiClass::Craft, 366);
        check("836612345", MmsiClass::Handheld, 366);
        for beacon in ["970012345", "972012345", "974012345"] {
            check(beacon, MmsiClass::Beacon, None);
        }
    }

    #[test]
    fn the_prefix_is_presentation() {
        assert_eq!(
            "mmsi: 440123456".parse::<Mmsi>().unwrap().as_str(),
            "440123456"
        );
    }
}

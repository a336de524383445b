//! Identification of a text: every kind of identifier that it parses as, or nearly does.
//!
//! It serves a person who holds a number and asks for its meaning. Unlike the parsers, it overlooks
//! white space around the text. It does not choose: a number can be of several kinds.

use super::bill_and_seal::{BillOfLading, SealNumber};
use super::container::{ContainerNumber, ContainerReading};
use super::eori::Eori;
use super::hs::HsCode;
use super::ilu::{IluCode, IluReading};
use super::imo::{ImoNumber, ImoReading};
use super::locode::UnLocode;
use super::mmsi::Mmsi;
use super::near::LIMIT as NEAR_MATCHES_MAX;
use super::plate::Plate;
use super::trader::TraderId;

/// A kind of identifier that a record can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdentifierKind {
    /// A [`ContainerNumber`].
    Container,
    /// An [`IluCode`].
    Ilu,
    /// An [`ImoNumber`].
    Imo,
    /// An [`Mmsi`].
    Mmsi,
    /// An [`UnLocode`].
    UnLocode,
    /// An [`HsCode`].
    HsCode,
    /// An [`Eori`].
    Eori,
    /// A [`Plate`].
    Plate,
    /// A [`TraderId`].
    Trader,
    /// A [`SealNumber`].
    Seal,
    /// A [`BillOfLading`].
    BillOfLading,
}

/// Result of the check digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckDigit {
    /// It is right.
    Right,
    /// The digit is right, but two remainders share it, so it proves less.
    RightButAmbiguous,
    /// The digit is wrong.
    Wrong {
        /// The digit that the rest of the number gives.
        expected: u32,
    },
    /// Identifiers of this kind have none: the text merely has the shape.
    None,
    /// The text does not have the shape; only its near matches do.
    Unreadable,
}

/// One reading of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identified {
    /// The kind of identifier.
    pub kind: IdentifierKind,
    /// The canonical text; for an unreadable one the text as it was given, without white space
    /// around it.
    pub canonical: String,
    /// Result of the check digit.
    pub check_digit: CheckDigit,
    /// The parts and their meaning, as pairs of a name and a value.
    pub parts: Vec<(&'static str, String)>,
    /// Identifiers that the text may have been meant to be, the likeliest first; empty if nothing
    /// is wrong.
    pub near_matches: Vec<String>,
}

impl std::fmt::Display for IdentifierKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Container => "container number",
            Self::Ilu => "ILU code",
            Self::Imo => "IMO number",
            Self::Mmsi => "MMSI",
            Self::UnLocode => "UN/LOCODE",
            Self::HsCode => "HS code",
            Self::Eori => "EORI number",
            Self::Plate => "number plate",
            Self::Trader => "trader id",
            Self::Seal => "seal number",
            Self::BillOfLading => "bill of lading",
        })
    }
}

/// Returns the possible readings of `text`. Readings that a check digit confirms come first, then
/// those that one contradicts, then those that merely have the shape, then near matches, then the
/// kinds that have hardly any shape.
#[must_use]
pub fn identify(text: &str) -> Vec<Identified> {
    let text = text.trim();
    let mut found: Vec<Identified> = [
        container(text),
        ilu(text),
        imo(text),
        mmsi(text),
        un_locode(text),
        hs_code(text),
        eori(text),
        plate(text),
        trader(text),
        shapeless::<SealNumber>(text, IdentifierKind::Seal),
        shapeless::<BillOfLading>(text, IdentifierKind::BillOfLading),
    ]
    .into_iter()
    .flatten()
    .collect();
    found.sort_by_key(rank);
    found
}

fn rank(identified: &Identified) -> u8 {
    match (identified.check_digit, identified.kind) {
        (CheckDigit::Right | CheckDigit::RightButAmbiguous, _) => 0,
        (CheckDigit::Wrong { .. }, _) => 1,
        (CheckDigit::None, IdentifierKind::Seal | IdentifierKind::BillOfLading) => 4,
        (CheckDigit::None, _) => 2,
        (CheckDigit::Unreadable, _) => 3,
    }
}

fn container(text: &str) -> Option<Identified> {
    let kind = IdentifierKind::Container;
    let near = || texts(&ContainerNumber::near_matches(text));
    match ContainerNumber::parse_unchecked(text) {
        Ok(ContainerReading::Checked(number)) => {
            let check_digit = if number.has_ambiguous_check_digit() {
                CheckDigit::RightButAmbiguous
            } else {
                CheckDigit::Right
            };
            Some(Identified {
                check_digit,
                ..shaped(kind, &number)
            })
        }
        Ok(ContainerReading::Unchecked(number)) => Some(Identified {
            check_digit: CheckDigit::Wrong {
                expected: number.expected_check_digit(),
            },
            near_matches: near(),
            ..shaped(kind, &number)
        }),
        Err(_) => unreadable(kind, text, near()),
    }
}

fn ilu(text: &str) -> Option<Identified> {
    let kind = IdentifierKind::Ilu;
    match IluCode::parse_unchecked(text).ok()? {
        IluReading::Checked(code) => {
            let check_digit = if code.has_ambiguous_check_digit() {
                CheckDigit::RightButAmbiguous
            } else {
                CheckDigit::Right
            };
            Some(Identified {
                check_digit,
                ..shaped(kind, &code)
            })
        }
        IluReading::Unchecked(code) => Some(Identified {
            check_digit: CheckDigit::Wrong {
                expected: code.expected_check_digit(),
            },
            // The fourth letter may be the wrong one, as after a swap with the third.
            near_matches: texts(&IluCode::near_matches(text))
                .into_iter()
                .chain(texts(&ContainerNumber::near_matches(text)))
                .take(NEAR_MATCHES_MAX)
                .collect(),
            ..shaped(kind, &code)
        }),
    }
}

fn imo(text: &str) -> Option<Identified> {
    let kind = IdentifierKind::Imo;
    let near = || texts(&ImoNumber::near_matches(text));
    match ImoNumber::parse_unchecked(text) {
        Ok(ImoReading::Checked(number)) => Some(Identified {
            check_digit: CheckDigit::Right,
            ..shaped(kind, &number)
        }),
        Ok(ImoReading::Unchecked(number)) => Some(Identified {
            check_digit: CheckDigit::Wrong {
                expected: number.expected_check_digit(),
            },
            near_matches: near(),
            ..shaped(kind, &number)
        }),
        // Without the prefix, a text of six digits is more likely an HS code than a shortened IMO
        // number.
        Err(_) if text.len() == 7 || text.to_ascii_uppercase().starts_with("IMO") => {
            unreadable(kind, text, near())
        }
        Err(_) => None,
    }
}

fn mmsi(text: &str) -> Option<Identified> {
    let mmsi: Mmsi = text.parse().ok()?;
    let mid = mmsi.mid().map(|mid| ("country digits", mid.to_string()));
    let mut parts = vec![("class", mmsi.class().to_string())];
    parts.extend(mid);
    Some(Identified {
        parts,
        ..shaped(IdentifierKind::Mmsi, &mmsi)
    })
}

fn un_locode(text: &str) -> Option<Identified> {
    let place: UnLocode = text.parse().ok()?;
    let country = place
        .country()
        .map(|country| ("country", country.to_string()));
    Some(Identified {
        parts: country.into_iter().collect(),
        ..shaped(IdentifierKind::UnLocode, &place)
    })
}

fn hs_code(text: &str) -> Option<Identified> {
    let code: HsCode = text.parse().ok()?;
    let mut parts = vec![
        ("chapter", code.chapter().to_owned()),
        ("heading", code.heading().to_owned()),
        ("subheading", code.subheading().to_owned()),
    ];
    parts.extend(
        code.edition()
            .map(|edition| ("edition", edition.to_owned())),
    );
    Some(Identified {
        parts,
        ..shaped(IdentifierKind::HsCode, &code)
    })
}

fn eori(text: &str) -> Option<Identified> {
    let eori: Eori = text.parse().ok()?;
    let parts = vec![("country", eori.country().to_string())];
    Some(Identified {
        parts,
        ..shaped(IdentifierKind::Eori, &eori)
    })
}

fn plate(text: &str) -> Option<Identified> {
    let plate: Plate = text.parse().ok()?;
    let parts = vec![
        ("country", plate.country().to_string()),
        ("plate", plate.number().to_owned()),
    ];
    Some(Identified {
        parts,
        ..shaped(IdentifierKind::Plate, &plate)
    })
}

fn trader(text: &str) -> Option<Identified> {
    let trader: TraderId = text.parse().ok()?;
    let parts = vec![
        ("country", trader.country().to_string()),
        ("register id", trader.register_id().to_owned()),
    ];
    Some(Identified {
        parts,
        ..shaped(IdentifierKind::Trader, &trader)
    })
}

fn shapeless<T: std::str::FromStr + AsRef<str>>(
    text: &str,
    kind: IdentifierKind,
) -> Option<Identified> {
    let number: T = text.parse().ok()?;
    Some(shaped(kind, &number))
}

fn shaped(kind: IdentifierKind, canonical: &impl AsRef<str>) -> Identified {
    Identified {
        kind,
        canonical: canonical.as_ref().to_owned(),
        check_digit: CheckDigit::None,
        parts: Vec::new(),
        near_matches: Vec::new(),
    }
}

fn unreadable(kind: IdentifierKind, text: &str, near_matches: Vec<String>) -> Option<Identified> {
    if near_matches.is_empty() {
        return None;
    }
    Some(Identified {
        kind,
        canonical: text.to_owned(),
        check_digit: CheckDigit::Unreadable,
        parts: Vec::new(),
        near_matches,
    })
}

fn texts(near_matches: &[impl ToString]) -> Vec<String> {
    near_matches.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(IdentifierKind, &str)]) {
        let found = identify(text);
        let seen: Vec<_> = found
            .iter()
            .map(|one| (one.kind, one.canonical.as_str()))
            .collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_wrong_check_digit_is_named_with_near_matches() {
        let found = identify("CSQU 305438-4");
        let first = &found[0];
        assert_eq!(first.kind, IdentifierKind::Container);
        assert_eq!(first.canonical, "CSQU3054384");
        assert_eq!(first.check_digit, CheckDigit::Wrong { expected: 3 });
        assert!(
            first.near_matches.contains(&"CSQU3054383".to_owned()),
            "{found:?}"
        );
    }

    /// Bug 15: a container of somebody else's was proposed.
    #[test]
    fn a_unit_of_rail_and_road_is_itself_and_never_a_container() {
        let found = identify("XYZA1003094");
        assert_eq!(found[0].kind, IdentifierKind::Ilu);
        assert_eq!(found[0].check_digit, CheckDigit::Right);
        let wrong = identify("XYZA1003095");
        assert_eq!(wrong[0].check_digit, CheckDigit::Wrong { expected: 4 });
        for readings in [found, wrong] {
            assert!(
                readings
                    .iter()
                    .all(|one| one.kind != IdentifierKind::Container),
                "{readings:?}"
            );
        }
    }

    #[test]
    fn a_text_out_of_shape_is_shown_with_what_it_may_have_been() {
        let found = identify("IMO 9O74729");
        assert_eq!(found[0].check_digit, CheckDigit::Unreadable);
        assert_eq!(found[0].near_matches, ["9074729"]);
    }

    #[test]
    fn nothing_is_made_of_what_is_like_no_identifier() {
        for text in ["", "   ", "hello", "\u{1f6a2}", "a\0b", "--"] {
            check(text, &[]);
        }
    }

    #[test]
    fn a_text_is_everything_that_it_can_be_the_surest_first() {
        use IdentifierKind as Kind;
        check(
            " 9074729\n",
            &[
                (Kind::Imo, "9074729"),
                (Kind::Seal, "9074729"),
                (Kind::BillOfLading, "9074729"),
            ],
        );
        check("nl rtm", &[(Kind::UnLocode, "NLRTM")]);
        check("NLRTM", &[(Kind::UnLocode, "NLRTM"), (Kind::Eori, "NLRTM")]);
        check(
            "kr:qlrubn9",
            &[
                (Kind::Eori, "KR:QLRUBN9"),
                (Kind::Plate, "KR:QLRUBN9"),
                (Kind::Trader, "KR:QLRUBN9"),
            ],
        );
        check(
            "MSKU0000080",
            &[
                (Kind::Container, "MSKU0000080"),
                (Kind::Eori, "MSKU0000080"),
                (Kind::Seal, "MSKU0000080"),
                (Kind::BillOfLading, "MSKU0000080"),
            ],
        );
    }

    #[test]
    fn an_ambiguous_check_digit_is_said_to_be() {
        assert_eq!(
            identify("MSKU0000080")[0].check_digit,
            CheckDigit::RightButAmbiguous
        );
        assert_eq!(identify("CSQU3054383")[0].check_digit, CheckDigit::Right);
    }

    #[test]
    fn parts_are_told() {
        assert_eq!(
            identify("440123456")[0].parts,
            [
                ("class", "ship".to_owned()),
                ("country digits", "440".to_owned())
            ]
        );
        assert_eq!(
            identify("8471.30@2022")[0].parts,
            [
                ("chapter", "84"),
                ("heading", "8471"),
                ("subheading", "847130"),
                ("edition", "2022")
            ]
            .map(|(name, value)| (name, value.to_owned()))
        );
    }
}

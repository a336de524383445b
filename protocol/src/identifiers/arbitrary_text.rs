//! Feeds every parser of this module with arbitrary text: bytes taken as text with replacement
//! characters, and texts near each grammar.

use std::fmt::Debug;
use std::str::FromStr;

use proptest::prelude::*;

use super::*;

/// Checks that a text parses without a panic, that an accepted text has one spelling, and that
/// errors stay short.
fn settles<T>(text: &str)
where
    T: FromStr<Err: std::error::Error> + AsRef<str> + Debug + PartialEq,
{
    match text.parse::<T>() {
        Ok(value) => {
            let again = value.as_ref().parse::<T>();
            assert_eq!(
                again.as_ref().ok(),
                Some(&value),
                "{text:?} is not canonical when parsed"
            );
            assert_eq!(again.unwrap().as_ref(), value.as_ref());
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.chars().count() < 600, "{message}");
            assert!(!message.chars().any(char::is_control), "{message:?}");
        }
    }
}

fn all_parsers_settle(text: &str) {
    settles::<AuthorityId>(text);
    settles::<BillOfLading>(text);
    settles::<ContainerNumber>(text);
    settles::<CountryCode>(text);
    settles::<Eori>(text);
    settles::<FederationId>(text);
    settles::<HsCode>(text);
    settles::<IluCode>(text);
    settles::<ImoNumber>(text);
    settles::<Mmsi>(text);
    settles::<NodeId>(text);
    settles::<Plate>(text);
    settles::<SealNumber>(text);
    settles::<TraderId>(text);
    settles::<UnLocode>(text);
    unchecked_readings_keep_their_side(text);
    near_matches_are_bounded(text);
    for identified in identify(text) {
        assert!(identified.near_matches.len() <= NEAR_MATCHES_MAX);
    }
}

fn unchecked_readings_keep_their_side(text: &str) {
    if let Ok(reading) = ContainerNumber::parse_unchecked(text) {
        let checked = matches!(reading, ContainerReading::Checked(_));
        assert_eq!(reading.as_str().parse::<ContainerNumber>().is_ok(), checked);
    }
    if let Ok(reading) = IluCode::parse_unchecked(text) {
        let checked = matches!(reading, IluReading::Checked(_));
        assert_eq!(reading.as_str().parse::<IluCode>().is_ok(), checked);
        assert!(text.parse::<ContainerNumber>().is_err());
    }
    if let Ok(reading) = ImoNumber::parse_unchecked(text) {
        let checked = matches!(reading, ImoReading::Checked(_));
        assert_eq!(reading.as_str().parse::<ImoNumber>().is_ok(), checked);
    }
}

fn near_matches_are_bounded(text: &str) {
    let containers = ContainerNumber::near_matches(text);
    let ships = ImoNumber::near_matches(text);
    assert!(containers.len() <= NEAR_MATCHES_MAX && ships.len() <= NEAR_MATCHES_MAX);
    assert_eq!(containers, ContainerNumber::near_matches(text));
    assert!(text.parse::<ContainerNumber>().is_err() || containers.is_empty());
    assert!(text.parse::<ImoNumber>().is_err() || ships.is_empty());
}

#[test]
fn texts_that_broke_other_parsers_settle() {
    for text in [
        "",
        " ",
        "\0",
        "\u{feff}NLRTM",
        "\u{202e}CSQU3054383",
        "IMO",
        "MMSI",
        ":",
        "@",
        "NL:",
        "@2022",
        "\u{390}",
        "DE:\u{390}1",
        "DE:\u{149}1",
        "DE:\u{df}1",
        "\u{fb03}",
        "IM\u{d6}9074729",
        "K\u{212a}",
        "CSQU\u{ff13}054383",
        "\u{1f6a2}\u{1f6a2}\u{1f6a2}",
        "-",
        "--",
        "....",
        "MM\u{17f}I 440123456",
    ] {
        all_parsers_settle(text);
    }
    all_parsers_settle(&"9".repeat(100_000));
    all_parsers_settle(&" ".repeat(100_000));
}

proptest! {
    #[test]
    fn any_bytes_settle(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        all_parsers_settle(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_text_settles(text in "\\PC{0,40}") {
        all_parsers_settle(&text);
    }

    #[test]
    fn any_text_behind_a_country_settles(country in "(NL|gr|RU|XI)", text in ":?\\PC{0,13}") {
        all_parsers_settle(&format!("{country}{text}"));
    }

    #[test]
    fn texts_near_the_grammars_settle(
        text in "(IMO|MMSI|imo)?[ :-]?[A-Z0-9a-z]{0,4}[UJZuV2ADK]?[ -]?[0-9OISBZ]{0,7}[-@.: ]?[0-9]{0,4}"
    ) {
        all_parsers_settle(&text);
    }
}

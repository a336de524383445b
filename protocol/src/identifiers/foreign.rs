//! Characters that stand in no identifier although they look as if they might: one place that finds and
//! names them for every parser.

use super::text::quote;
use crate::characters;

/// Error for a text with a character outside ASCII: a letter of another script, a dash of a word
/// processor, a space or mark that cannot be seen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("in `{text}` {self_told}", self_told = self.told())]
pub struct Foreign {
    text: String,
    /// Place of the character, counted from 1.
    place: usize,
    character: char,
}

impl Foreign {
    /// Returns the first such character of a text.
    #[must_use]
    pub fn first(text: &str) -> Option<Self> {
        let (before, character) = text.chars().enumerate().find(|(_, one)| !one.is_ascii())?;
        Some(Self {
            text: quote(text),
            place: before.saturating_add(1),
            character,
        })
    }

    /// Refuses a text that has such a character.
    pub(super) fn refuse(text: &str) -> Result<(), Self> {
        Self::first(text).map_or(Ok(()), Err)
    }

    /// Returns the place of the character, and which one it is.
    pub(super) fn told(&self) -> String {
        let place = ordinal(self.place);
        let what = characters::described(self.character);
        format!("the {place} character is {what}")
    }
}

fn ordinal(number: usize) -> String {
    let ending = match (number % 10, number % 100) {
        (1, last) if last != 11 => "st",
        (2, last) if last != 12 => "nd",
        (3, last) if last != 13 => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

#[cfg(test)]
mod tests {
    use super::super::{
        AuthorityId, BillOfLading, ContainerNumber, CountryCode, Eori, FederationId, HsCode,
        ImoNumber, Mmsi, NodeId, Plate, SealNumber, TraderId, UnLocode,
    };
    use super::*;

    #[track_caller]
    fn named<T: std::str::FromStr<Err: std::error::Error> + std::fmt::Debug>(
        text: &str,
        says: &str,
    ) {
        let message = text.parse::<T>().unwrap_err().to_string();
        assert!(message.contains(says), "{message}");
    }

    /// Newcomer B6: a Cyrillic letter was told as a wrong length, a no-break space not at all.
    #[test]
    fn every_identifier_names_a_character_that_is_not_what_it_looks_like() {
        named::<ContainerNumber>(
            "\u{421}SQU3054383",
            "in `\u{421}SQU3054383` the 1st character is a Cyrillic `\u{421}` (U+0421), not a Latin `C`",
        );
        named::<ContainerNumber>(
            "CSQU\u{a0}305438 3",
            "the 5th character is a no-break space (U+00A0); remove it",
        );
        named::<ContainerNumber>("CSQU305438\u{2013}3", "an en dash (U+2013), not a hyphen");
        named::<ContainerNumber>("\u{ff23}SQU3054383", "a full-width `\u{ff23}` (U+FF23)");
        named::<ImoNumber>("\u{feff}9074729", "a byte order mark (U+FEFF)");
        named::<Mmsi>("44012345\u{41e}", "the 9th character is a Cyrillic");
        named::<BillOfLading>("MAEU\u{2011}1234", "the 5th character is a no-break hyphen");
        named::<SealNumber>(
            "\u{410}B12",
            "is no seal number: the 1st character is a Cyrillic",
        );
        named::<Eori>(
            "NL12\u{435}3",
            "the 5th character is a Cyrillic `\u{435}` (U+0435)",
        );
        named::<UnLocode>("NLR\u{d6}M", "the 4th character is `\u{d6}` (U+00D6)");
        named::<HsCode>("84713\u{41e}", "the 6th character is a Cyrillic");
        named::<TraderId>("KR:QLR\u{435}", "the 7th character is a Cyrillic");
        named::<CountryCode>("\u{212a}R", "not a Latin `K`");
        named::<AuthorityId>("kr-customs\u{430}", "the 11th character is a Cyrillic");
        named::<NodeId>("\u{200b}antwerp", "a zero-width space (U+200B)");
        named::<FederationId>("eu\u{2013}ports", "an en dash (U+2013), not a hyphen");
        named::<Plate>("NL:AB\u{200b}12", "a zero-width space (U+200B)");
        named::<Plate>("\u{39d}L:AB12", "not a Latin `N`");
    }

    #[test]
    fn a_mark_that_cannot_be_seen_is_escaped_where_the_text_is_repeated() {
        for hidden in ['\u{200b}', '\u{202e}', '\u{3164}', '\u{115f}'] {
            let message = Foreign::first(&format!("A{hidden}")).unwrap().to_string();
            assert!(!message.contains(hidden), "{message}");
        }
    }

    #[test]
    fn places_are_counted_as_people_say_them() {
        for (number, said) in [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th")] {
            assert_eq!(ordinal(number), said);
        }
        for (number, said) in [(12, "12th"), (13, "13th"), (21, "21st"), (112, "112th")] {
            assert_eq!(ordinal(number), said);
        }
    }
}

//! The 4x4 evaluation of a record: the reliability of its source (A, B, C, X) and the way in which
//! the source knows (1 to 4). The code of an unevaluated record is `X4`.
//!
//! A receiver never changes an evaluation alone, so nothing here combines or improves two of
//! them. The Admiralty scale (A–F, 1–6) uses the same letters and digits for other things: 4x4 C
//! is mostly *un*reliable, Admiralty C fairly reliable; 4x4 1–4 say how the source knows,
//! Admiralty 1–6 how credible the information is. So a code says which scale it is of, and an
//! Admiralty code is mapped here alone, once, with the original kept.
//!
//! # The mapping
//!
//! It is ours: neither scale defines one. The rule is that the 4x4 grade must not claim more than
//! the Admiralty grade did.
//!
//! | Admiralty source | 4x4 | because |
//! |---|---|---|
//! | A completely reliable | A | reliable in all instances |
//! | B usually reliable | B | mostly reliable |
//! | C fairly reliable | C | B would claim more; C is the next grade down |
//! | D not usually reliable | C | mostly unreliable |
//! | E unreliable | C | 4x4 has no lower grade |
//! | F cannot be judged | X | cannot be assessed |
//!
//! | Admiralty information | 4x4 | because |
//! |---|---|---|
//! | 1 confirmed by other sources | 3 | corroborated; that it is beyond doubt (1) or was seen by the source itself (2) is not said |
//! | 2 probably true | 4 | not confirmed |
//! | 3 possibly true | 4 | not confirmed |
//! | 4 doubtful | 4 | not confirmed |
//! | 5 improbable | 4 | 4x4 has no grade for what other information contradicts |
//! | 6 cannot be judged | 4 | cannot be corroborated |
//!
//! Doubt is lost in the last rows, and C is harsh on a fairly reliable source: show the original
//! wherever the mapped code is shown.

use std::fmt;
use std::str::FromStr;

/// Reliability of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceCode {
    /// No doubt, or reliable in all instances.
    A,
    /// Mostly reliable.
    B,
    /// Mostly unreliable.
    C,
    /// Cannot be assessed.
    X,
}

/// The way in which the source knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InformationCode {
    /// The accuracy is not in doubt.
    One,
    /// Known personally to the source, not to the official who passes it on.
    Two,
    /// Not known personally to the source, but corroborated by information already recorded.
    Three,
    /// Not known personally to the source, and cannot be corroborated.
    Four,
}

/// A 4x4 evaluation, written `B2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Evaluation {
    /// Reliability of the source.
    pub source: SourceCode,
    /// The way in which the source knows.
    pub information: InformationCode,
    /// The Admiralty code that the originator gave, if this evaluation was mapped from one.
    pub admiralty: Option<Admiralty>,
}

/// A code of the Admiralty scale, written `C3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Admiralty {
    /// Reliability of the source.
    pub source: AdmiraltySource,
    /// Credibility of the information.
    pub information: AdmiraltyInformation,
}

/// The source's reliability on the Admiralty scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AdmiraltySource {
    /// Completely reliable.
    A,
    /// Usually reliable.
    B,
    /// Fairly reliable.
    C,
    /// Not usually reliable.
    D,
    /// Unreliable.
    E,
    /// Reliability cannot be judged.
    F,
}

/// The information's credibility on the Admiralty scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AdmiraltyInformation {
    /// Confirmed by other sources.
    One,
    /// Probably true.
    Two,
    /// Possibly true.
    Three,
    /// Doubtful.
    Four,
    /// Improbable.
    Five,
    /// Truth cannot be judged.
    Six,
}

/// Error for a text that is no code of the scale.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// No 4x4 code.
    #[error(
        "`{text}` is no 4x4 evaluation; write A, B, C or X and then 1, 2, 3 or 4, such as `B2` \
         (`X4` if nobody assessed it)"
    )]
    FourByFour {
        /// The rejected text.
        text: String,
    },
    /// A code that only the Admiralty scale has.
    #[error("`{text}` is a code of the Admiralty scale, not a 4x4 evaluation; give it as one")]
    IsAdmiralty {
        /// The rejected text.
        text: String,
    },
    /// No Admiralty code.
    #[error("`{text}` is no Admiralty code; write A to F and then 1 to 6, such as `C3`")]
    Admiralty {
        /// The rejected text.
        text: String,
    },
}

impl Evaluation {
    /// Evaluates on the 4x4 scale itself.
    #[must_use]
    pub const fn new(source: SourceCode, information: InformationCode) -> Self {
        Self {
            source,
            information,
            admiralty: None,
        }
    }
}

/// `X4`: nobody evaluated it.
impl Default for Evaluation {
    fn default() -> Self {
        Self::new(SourceCode::X, InformationCode::Four)
    }
}

/// Maps by the table of this module and keeps the original.
impl From<Admiralty> for Evaluation {
    fn from(original: Admiralty) -> Self {
        Self {
            source: original.source.into(),
            information: original.information.into(),
            admiralty: Some(original),
        }
    }
}

impl From<AdmiraltySource> for SourceCode {
    fn from(source: AdmiraltySource) -> Self {
        match source {
            AdmiraltySource::A => Self::A,
            AdmiraltySource::B => Self::B,
            AdmiraltySource::C | AdmiraltySource::D | AdmiraltySource::E => Self::C,
            AdmiraltySource::F => Self::X,
        }
    }
}

impl From<AdmiraltyInformation> for InformationCode {
    fn from(information: AdmiraltyInformation) -> Self {
        match information {
            AdmiraltyInformation::One => Self::Three,
            AdmiraltyInformation::Two
            | AdmiraltyInformation::Three
            | AdmiraltyInformation::Four
            | AdmiraltyInformation::Five
            | AdmiraltyInformation::Six => Self::Four,
        }
    }
}

impl InformationCode {
    /// Returns the number of the code, 1 to 4.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Three => 3,
            Self::Four => 4,
        }
    }
}

impl AdmiraltyInformation {
    /// Returns the number of the code, 1 to 6.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Three => 3,
            Self::Four => 4,
            Self::Five => 5,
            Self::Six => 6,
        }
    }
}

impl FromStr for Evaluation {
    type Err = EvaluationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let code = two_characters(text);
        if let Some((source, information)) = code
            && let Some(source) = four_by_four_source(source)
            && let Some(information) = four_by_four_information(information)
        {
            return Ok(Self::new(source, information));
        }
        Err(match text.parse::<Admiralty>() {
            Ok(admiralty) => EvaluationError::IsAdmiralty {
                text: admiralty.to_string(),
            },
            Err(_) => EvaluationError::FourByFour { text: shown(text) },
        })
    }
}

impl FromStr for Admiralty {
    type Err = EvaluationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((source, information)) = two_characters(text)
            && let Some(source) = admiralty_source(source)
            && let Some(information) = admiralty_information(information)
        {
            return Ok(Self {
                source,
                information,
            });
        }
        Err(EvaluationError::Admiralty { text: shown(text) })
    }
}

/// The two characters of a code, in upper case.
fn two_characters(text: &str) -> Option<(u8, u8)> {
    match text.as_bytes() {
        [source, information] => Some((source.to_ascii_uppercase(), *information)),
        [..] => None,
    }
}

/// A rejected text for a message: its beginning, with control characters escaped.
fn shown(text: &str) -> String {
    text.chars()
        .take(20)
        .flat_map(char::escape_default)
        .collect()
}

fn four_by_four_source(code: u8) -> Option<SourceCode> {
    match code {
        b'A' => Some(SourceCode::A),
        b'B' => Some(SourceCode::B),
        b'C' => Some(SourceCode::C),
        b'X' => Some(SourceCode::X),
        0..=u8::MAX => None,
    }
}

fn four_by_four_information(code: u8) -> Option<InformationCode> {
    match code {
        b'1' => Some(InformationCode::One),
        b'2' => Some(InformationCode::Two),
        b'3' => Some(InformationCode::Three),
        b'4' => Some(InformationCode::Four),
        0..=u8::MAX => None,
    }
}

fn admiralty_source(code: u8) -> Option<AdmiraltySource> {
    match code {
        b'A' => Some(AdmiraltySource::A),
        b'B' => Some(AdmiraltySource::B),
        b'C' => Some(AdmiraltySource::C),
        b'D' => Some(AdmiraltySource::D),
        b'E' => Some(AdmiraltySource::E),
        b'F' => Some(AdmiraltySource::F),
        0..=u8::MAX => None,
    }
}

fn admiralty_information(code: u8) -> Option<AdmiraltyInformation> {
    match code {
        b'1' => Some(AdmiraltyInformation::One),
        b'2' => Some(AdmiraltyInformation::Two),
        b'3' => Some(AdmiraltyInformation::Three),
        b'4' => Some(AdmiraltyInformation::Four),
        b'5' => Some(AdmiraltyInformation::Five),
        b'6' => Some(AdmiraltyInformation::Six),
        0..=u8::MAX => None,
    }
}

/// The 4x4 code alone: an original Admiralty code is shown beside it by the caller.
impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}{}", self.source, self.information))
    }
}

impl fmt::Display for Admiralty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}{}", self.source, self.information))
    }
}

impl fmt::Display for SourceCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::X => "X",
        })
    }
}

impl fmt::Display for InformationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

impl fmt::Display for AdmiraltySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
            Self::E => "E",
            Self::F => "F",
        })
    }
}

impl fmt::Display for AdmiraltyInformation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn codes(letters: &str, digits: &str) -> Vec<String> {
        let pairs = letters
            .chars()
            .flat_map(|l| digits.chars().map(move |d| format!("{l}{d}")));
        pairs.collect()
    }

    #[track_caller]
    fn refused<T: FromStr<Err = EvaluationError> + fmt::Debug>(text: &str, message: &str) {
        assert_eq!(text.parse::<T>().unwrap_err().to_string(), message);
    }

    #[test]
    fn what_is_no_code_is_refused() {
        for text in [
            "", "B", "2", "2B", "B22", " B2", "B2 ", "B0", "X5x", "\u{412}2", "B\u{662}", "Б",
        ] {
            assert!(text.parse::<Evaluation>().is_err(), "{text:?}");
            assert!(text.parse::<Admiralty>().is_err(), "{text:?}");
        }
        refused::<Evaluation>(
            "X5",
            "`X5` is no 4x4 evaluation; write A, B, C or X and then 1, 2, 3 or 4, such as `B2` \
             (`X4` if nobody assessed it)",
        );
        refused::<Admiralty>(
            "X4",
            "`X4` is no Admiralty code; write A to F and then 1 to 6, such as `C3`",
        );
    }

    #[test]
    fn a_code_that_only_the_admiralty_scale_has_is_not_taken_for_a_4x4() {
        for text in ["D1", "E3", "F6", "A5", "B6"] {
            assert_eq!(
                text.parse::<Evaluation>(),
                Err(EvaluationError::IsAdmiralty { text: text.into() })
            );
        }
    }

    #[test]
    fn all_sixteen_codes_are_kept() {
        let all = codes("ABCX", "1234");
        assert_eq!(all.len(), 16);
        for text in all {
            let evaluation: Evaluation = text.parse().unwrap();
            assert_eq!(evaluation.to_string(), text);
            assert_eq!(evaluation.admiralty, None);
            assert_eq!(text.to_lowercase().parse(), Ok(evaluation));
        }
    }

    #[test]
    fn all_thirty_six_admiralty_codes_are_kept() {
        let all = codes("ABCDEF", "123456");
        assert_eq!(all.len(), 36);
        for text in all {
            assert_eq!(text.parse::<Admiralty>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_nobody_evaluated_is_x4() {
        assert_eq!(Evaluation::default().to_string(), "X4");
    }

    #[test]
    fn the_mapping_is_the_documented_table_and_keeps_the_original() {
        let sources = [
            ("A", "A"),
            ("B", "B"),
            ("C", "C"),
            ("D", "C"),
            ("E", "C"),
            ("F", "X"),
        ];
        let informations = [
            ("1", "3"),
            ("2", "4"),
            ("3", "4"),
            ("4", "4"),
            ("5", "4"),
            ("6", "4"),
        ];
        for (source, mapped_source) in sources {
            for (information, mapped_information) in informations {
                let original: Admiralty = format!("{source}{information}").parse().unwrap();
                let evaluation = Evaluation::from(original);
                assert_eq!(
                    evaluation.to_string(),
                    format!("{mapped_source}{mapped_information}")
                );
                assert_eq!(evaluation.admiralty, Some(original));
            }
        }
    }

    #[test]
    fn no_admiralty_code_maps_to_first_hand_knowledge() {
        for text in codes("ABCDEF", "123456") {
            let information = Evaluation::from(text.parse::<Admiralty>().unwrap()).information;
            assert!(information >= InformationCode::Three, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_code_of_two_characters_or_a_short_error(text in ".{0,40}") {
            if let Err(error) = text.parse::<Evaluation>() {
                let message = error.to_string();
                prop_assert!(message.is_ascii() && message.len() < 400, "{}", message);
            } else {
                prop_assert_eq!(text.len(), 2);
            }
        }
    }
}

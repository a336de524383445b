//! The words for threats, so that one thing has one name at every member and `--threat` finds it.
//!
//! On the wire a threat is free text, for members choose words of their own where none of these fits. Such a word
//! is asked for by name and has the form of these: small letters, digits and hyphens.

use std::fmt;

/// Words with their meanings, by what goods or persons they are about.
pub const WORDS: &[(&str, &str)] = &[
    ("narcotics", "drugs"),
    ("precursors", "substances that drugs are made of"),
    ("doping", "doping and medicines"),
    ("weapons", "firearms and their parts"),
    ("explosives", "explosives and fireworks"),
    ("nuclear", "nuclear and radioactive material"),
    ("dual-use", "goods for civil and military ends"),
    ("sanctions", "goods or persons under sanctions"),
    ("cash", "undeclared money"),
    ("money-laundering", "goods that move the proceeds of crime"),
    ("tobacco", "tobacco and cigarettes"),
    ("alcohol", "alcohol and other excise goods"),
    ("undeclared-goods", "goods other than declared, or none"),
    ("undervaluation", "a value below the true one"),
    ("counterfeit", "goods that infringe a right"),
    (
        "unsafe-products",
        "goods that are a danger to who uses them",
    ),
    ("stolen-goods", "stolen goods"),
    ("stolen-vehicles", "stolen vehicles and their parts"),
    ("cultural-goods", "antiquities and art"),
    ("wildlife", "protected animals and plants"),
    ("waste", "waste that is moved against the law"),
    ("trafficking", "trade in human beings"),
    ("migrant-smuggling", "smuggling of persons"),
    ("terrorism", "terrorism"),
    ("corruption", "bribed or threatened insiders"),
    ("pin-code-fraud", "release codes that are sold or stolen"),
    ("cyber", "attacks on computer systems of ports and carriers"),
    ("unspecified", "not said"),
];

/// Most characters of a word.
const LONGEST: usize = 40;

/// Error for a text that is no word for a threat.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ThreatError {
    /// It is none of [`WORDS`].
    #[error("`{text}` is no threat of the common vocabulary{near}")]
    Unknown {
        /// The text.
        text: String,
        /// Words that may be meant.
        near: Near,
    },
    /// It has not the form of a word.
    #[error(
        "`{}` is no word for a threat: write small letters from a to z, digits and hyphens, at most {LONGEST}",
        .0.escape_debug()
    )]
    Form(String),
}

/// Words that may be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Near(Vec<&'static str>);

impl fmt::Display for Near {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [] => Ok(()),
            words => write!(to, "; is it `{}`?", words.join("`, or `")),
        }
    }
}

/// Returns the word of the vocabulary; large letters count as small.
///
/// # Errors
///
/// [`ThreatError`] with near words.
pub fn word(text: &str) -> Result<&'static str, ThreatError> {
    let small = text.trim().to_ascii_lowercase();
    let known = WORDS.iter().map(|(word, _)| *word);
    if let Some(word) = known.clone().find(|word| *word == small) {
        return Ok(word);
    }
    if !is_word(&small) {
        return Err(ThreatError::Form(text.to_owned()));
    }
    let near = known.filter(|word| {
        let allowed = if small.len() < 6 { 1 } else { 2 };
        word.starts_with(&small) || strsim::osa_distance(&small, word) <= allowed
    });
    Err(ThreatError::Unknown {
        text: text.to_owned(),
        near: Near(near.collect()),
    })
}

/// Returns a word of an authority's own.
///
/// # Errors
///
/// [`ThreatError::Form`].
pub fn own_word(text: &str) -> Result<String, ThreatError> {
    let small = text.trim().to_ascii_lowercase();
    if is_word(&small) {
        Ok(small)
    } else {
        Err(ThreatError::Form(text.to_owned()))
    }
}

fn is_word(text: &str) -> bool {
    let plain = |one: char| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '-';
    let ends = !text.starts_with('-') && !text.ends_with('-');
    (1..=LONGEST).contains(&text.len()) && ends && text.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Newcomer A17: `narcotcs`, nothing at all and a word with a Cyrillic letter were published, and nobody who
    /// looked for narcotics found them.
    #[test]
    fn a_threat_has_one_word_and_what_is_near_is_asked_about() {
        assert_eq!(word(" Narcotics "), Ok("narcotics"));
        let told = |text: &str| word(text).unwrap_err().to_string();
        assert!(
            told("narcotcs").ends_with("is it `narcotics`?"),
            "{}",
            told("narcotcs")
        );
        assert!(
            told("weapon").ends_with("is it `weapons`?"),
            "{}",
            told("weapon")
        );
        assert!(
            told("bananas").ends_with("common vocabulary"),
            "{}",
            told("bananas")
        );
        for text in [
            "",
            " ",
            "two words",
            "\u{43d}arcotics",
            "a\u{200b}b",
            "-x",
            "x-",
        ] {
            assert!(matches!(word(text), Err(ThreatError::Form(_))), "{text:?}");
            assert!(own_word(text).is_err(), "{text:?}");
        }
        assert_eq!(own_word("Sea-Trials"), Ok("sea-trials".to_owned()));
        assert!(own_word(&"x".repeat(41)).is_err());
    }

    #[test]
    fn the_page_of_the_words_has_every_one_with_its_meaning() {
        let page = include_str!("../../../docs/threats.md");
        for (word, meaning) in WORDS {
            assert!(
                page.contains(&format!("| `{word}` | {meaning} |\n")),
                "{word}"
            );
        }
    }

    #[test]
    fn every_word_is_one_and_stands_once() {
        for (place, (one, _)) in WORDS.iter().enumerate() {
            assert_eq!(word(one), Ok(*one));
            assert!(!WORDS.iter().skip(place + 1).any(|(other, _)| other == one));
        }
    }
}

//! Shared parts of the identifier parsers: quoting a rejected text in a message, and removing the
//! presentation of a printed number (case, inner separators).
//!
//! Nothing is guessed: white space and separators around a text are never dropped here.

use crate::characters::is_hidden;

/// The longest piece of a rejected text that a message repeats, in characters.
const QUOTED_MAX: usize = 40;

/// Returns `text` in a form that can stand between backticks in a message. Characters other than
/// letters, digits and printable ASCII are escaped, and a long text is cut.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == QUOTED_MAX {
            quoted.push('…');
            break;
        }
        match character {
            '`' => quoted.push('\''),
            other if other.is_alphanumeric() && !is_hidden(other) => quoted.push(other),
            other => quoted.extend(other.escape_default()),
        }
    }
    quoted
}

/// Returns one character for a message, as its code point if it cannot be printed between backticks.
pub(super) fn quote_char(character: char) -> String {
    if character.is_ascii_graphic() && character != '`' {
        return character.into();
    }
    format!("U+{:04X}", u32::from(character))
}

/// Returns `text` in ASCII upper case without the `separators` inside it; `None` if white space or
/// a separator stands before or after it.
pub(super) fn compact(text: &str, separators: &[char]) -> Option<String> {
    let loose = |character: char| character.is_whitespace() || separators.contains(&character);
    if text.starts_with(loose) || text.ends_with(loose) {
        return None;
    }
    Some(
        text.chars()
            .filter(|character| !separators.contains(character))
            .map(|character| character.to_ascii_uppercase())
            .collect(),
    )
}

/// Gives a type `as_str`, `Display` and `AsRef<str>` over the field that holds its canonical text
/// (`.0` if none is named).
macro_rules! canonical_text {
    ($type:ident) => {
        canonical_text!($type, 0);
    };
    ($type:ident, $text:tt) => {
        impl $type {
            /// Returns the canonical text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.$text
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.$text)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.$text
            }
        }
    };
}
pub(super) use canonical_text;

#[cfg(test)]
mod tests {
    use super::{compact, quote, quote_char};

    #[test]
    fn a_hostile_text_cannot_break_out_of_its_backticks_or_fill_the_screen() {
        assert_eq!(quote("a`b\n\u{1b}[2J"), r"a'b\n\u{1b}[2J");
        assert_eq!(quote(&"x".repeat(1_000)).chars().count(), 41);
    }

    #[test]
    fn a_character_that_looks_like_another_is_named_by_its_code_point() {
        assert_eq!(quote_char('\u{430}'), "U+0430");
        assert_eq!(quote_char('K'), "K");
    }

    #[test]
    fn compaction_drops_inner_separators_only() {
        assert_eq!(compact("ab 1-2", &[' ', '-']).as_deref(), Some("AB12"));
        for padded in [" ab", "ab\n", "-ab", "ab\u{a0}"] {
            assert_eq!(compact(padded, &[' ', '-']), None, "{padded:?}");
        }
    }
}

//! Characters that are not what they look like: letters of other scripts that resemble Latin ones, and
//! marks that turn the direction of writing or show nothing at all.
//!
//! Unicode's tables come from `unicode-security` (confusables and default-ignorable code points, UTS
//! #39), `unicode-normalization` (compatibility forms) and `unicode-script`. Nothing here decides
//! whether a text may be used.

use std::iter;

use unicode_normalization::UnicodeNormalization as _;
use unicode_script::{Script, UnicodeScript as _};
use unicode_security::skeleton;

/// Marks that people meet in copied text, with their names.
const NAMED: [(char, &str); 36] = [
    ('\u{a0}', "no-break space"),
    ('\u{ad}', "soft hyphen"),
    ('\u{61c}', "Arabic letter mark"),
    ('\u{2002}', "en space"),
    ('\u{2003}', "em space"),
    ('\u{2007}', "figure space"),
    ('\u{2008}', "punctuation space"),
    ('\u{2009}', "thin space"),
    ('\u{200a}', "hair space"),
    ('\u{200b}', "zero-width space"),
    ('\u{200c}', "zero-width non-joiner"),
    ('\u{200d}', "zero-width joiner"),
    ('\u{200e}', "left-to-right mark"),
    ('\u{200f}', "right-to-left mark"),
    ('\u{2010}', "typographic hyphen"),
    ('\u{2011}', "no-break hyphen"),
    ('\u{2012}', "figure dash"),
    ('\u{2013}', "en dash"),
    ('\u{2014}', "em dash"),
    ('\u{2015}', "horizontal bar"),
    ('\u{2028}', "line separator"),
    ('\u{2029}', "paragraph separator"),
    ('\u{202a}', "left-to-right embedding"),
    ('\u{202b}', "right-to-left embedding"),
    ('\u{202c}', "pop directional formatting mark"),
    ('\u{202d}', "left-to-right override"),
    ('\u{202e}', "right-to-left override"),
    ('\u{202f}', "narrow no-break space"),
    ('\u{2060}', "word joiner"),
    ('\u{2066}', "left-to-right isolate"),
    ('\u{2067}', "right-to-left isolate"),
    ('\u{2068}', "first strong isolate"),
    ('\u{2069}', "pop directional isolate mark"),
    ('\u{2212}', "minus sign"),
    ('\u{3000}', "full-width space"),
    ('\u{feff}', "byte order mark"),
];

/// Returns whether a character shows nothing, or turns the direction of writing: Unicode's
/// `Default_Ignorable_Code_Point`, of which `Bidi_Control` is a part.
#[must_use]
pub fn is_hidden(character: char) -> bool {
    !character.is_ascii()
        && skeleton(character.encode_utf8(&mut [0; 4]))
            .next()
            .is_none()
}

/// Returns whether a character has to be escaped where people read the text of others: it steers the
/// terminal, ends a line, turns the direction of writing or shows nothing.
#[must_use]
pub fn needs_escape(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') || is_hidden(character)
}

/// Returns the visible ASCII character that another one looks like, or is a form of.
#[must_use]
pub fn look_alike(character: char) -> Option<char> {
    if character.is_ascii() || character.is_whitespace() {
        return None;
    }
    let form = only(iter::once(character).nfkc());
    let alike = || only(skeleton(character.encode_utf8(&mut [0; 4])));
    form.or_else(alike).map(|alike| match alike {
        // The prototype of everything that looks like a stroke is the small l.
        'l' if character.is_uppercase() => 'I',
        other => other,
    })
}

/// Returns the only character of a sequence, if it is visible ASCII.
fn only(mut characters: impl Iterator<Item = char>) -> Option<char> {
    let first = characters.next().filter(char::is_ascii_graphic)?;
    characters.next().is_none().then_some(first)
}

/// Returns a text as it looks: look-alikes as the ASCII that they look like, spaces as spaces, without
/// what shows nothing.
#[must_use]
pub fn as_it_looks(text: &str) -> String {
    text.chars()
        .filter(|character| !is_hidden(*character))
        .map(|character| match look_alike(character) {
            Some(alike) => alike,
            None if character.is_whitespace() => ' ',
            None => character,
        })
        .collect()
}

/// Describes a character outside ASCII with its code point, and says which one it is not, such as
/// ``a Cyrillic `С` (U+0421), not a Latin `C` ``.
#[must_use]
pub fn described(character: char) -> String {
    let point = format!("(U+{:04X})", u32::from(character));
    let named = NAMED.iter().find(|(mark, _)| *mark == character);
    let what = match named {
        Some((_, name)) => format!("{} {point}", with_article(name)),
        None if is_hidden(character) => format!("a character that cannot be seen {point}"),
        None if needs_escape(character) => format!("a control character {point}"),
        None if character.is_whitespace() => format!("an unusual space {point}"),
        None => match sort(character) {
            Some(sort) => format!("{} `{character}` {point}", with_article(&sort)),
            None => format!("`{character}` {point}"),
        },
    };
    match look_alike(character) {
        _ if is_hidden(character) || character.is_whitespace() => format!("{what}; remove it"),
        None => what,
        Some('-') => format!("{what}, not a hyphen"),
        Some(digit) if digit.is_ascii_digit() => format!("{what}, not the digit `{digit}`"),
        Some(letter) if letter.is_ascii_alphabetic() => {
            format!("{what}, not a Latin `{letter}`")
        }
        Some(other) => format!("{what}, not `{other}`"),
    }
}

/// Returns the script or form of a visible character; `None` for Latin and for what all scripts share.
fn sort(character: char) -> Option<String> {
    match character {
        '\u{ff01}'..='\u{ff5e}' => return Some("full-width".to_owned()),
        '\u{1d400}'..='\u{1d7ff}' => return Some("mathematical".to_owned()),
        _ => {}
    }
    let script = character.script();
    let shared = [
        Script::Latin,
        Script::Common,
        Script::Inherited,
        Script::Unknown,
    ];
    (!shared.contains(&script)).then(|| script.full_name().replace('_', " "))
}

fn with_article(name: &str) -> String {
    let vowel = name.starts_with(['a', 'e', 'i', 'o', 'A', 'E', 'I', 'O']);
    format!("{} {name}", if vowel { "an" } else { "a" })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Bidi_Control` of PropList.txt, whole.
    const TURNING: [char; 12] = [
        '\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}',
        '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}',
    ];

    /// `Default_Ignorable_Code_Point` of DerivedCoreProperties.txt, from its first to its last range.
    const IGNORABLE: [(u32, u32); 17] = [
        (0xad, 0xad),
        (0x34f, 0x34f),
        (0x61c, 0x61c),
        (0x115f, 0x1160),
        (0x17b4, 0x17b5),
        (0x180b, 0x180f),
        (0x200b, 0x200f),
        (0x202a, 0x202e),
        (0x2060, 0x206f),
        (0x3164, 0x3164),
        (0xfe00, 0xfe0f),
        (0xfeff, 0xfeff),
        (0xffa0, 0xffa0),
        (0xfff0, 0xfff8),
        (0x1bca0, 0x1bca3),
        (0x1d173, 0x1d17a),
        (0xe0000, 0xe0fff),
    ];

    #[test]
    fn hidden_is_what_unicode_ignores_by_default_and_nothing_else() {
        for character in (0..=0x0010_ffff).filter_map(char::from_u32) {
            let point = u32::from(character);
            let listed = IGNORABLE
                .iter()
                .any(|(from, to)| (*from..=*to).contains(&point));
            assert_eq!(is_hidden(character), listed, "U+{point:04X}");
        }
        assert!(TURNING.into_iter().all(is_hidden));
    }

    #[test]
    fn a_character_is_named_with_the_one_that_it_is_not() {
        for (character, expected) in [
            ('\u{421}', "a Cyrillic `С` (U+0421), not a Latin `C`"),
            ('\u{430}', "a Cyrillic `а` (U+0430), not a Latin `a`"),
            ('\u{406}', "a Cyrillic `І` (U+0406), not a Latin `I`"),
            ('\u{391}', "a Greek `Α` (U+0391), not a Latin `A`"),
            ('\u{ff23}', "a full-width `Ｃ` (U+FF23), not a Latin `C`"),
            ('\u{ff13}', "a full-width `３` (U+FF13), not the digit `3`"),
            (
                '\u{1d7d9}',
                "a mathematical `𝟙` (U+1D7D9), not the digit `1`",
            ),
            ('\u{2013}', "an en dash (U+2013), not a hyphen"),
            ('\u{2011}', "a no-break hyphen (U+2011), not a hyphen"),
            ('\u{a0}', "a no-break space (U+00A0); remove it"),
            ('\u{200b}', "a zero-width space (U+200B); remove it"),
            ('\u{202e}', "a right-to-left override (U+202E); remove it"),
            ('\u{feff}', "a byte order mark (U+FEFF); remove it"),
            (
                '\u{e0041}',
                "a character that cannot be seen (U+E0041); remove it",
            ),
            ('\u{e9}', "`é` (U+00E9)"),
            ('\u{4e2d}', "a Han `中` (U+4E2D)"),
        ] {
            assert_eq!(described(character), expected);
        }
    }

    #[test]
    fn a_text_is_read_as_it_looks() {
        assert_eq!(
            as_it_looks("\u{feff}\u{421}SQU\u{a0}305\u{200b}438\u{2013}\u{ff13}"),
            "CSQU 305438-3"
        );
        assert_eq!(as_it_looks("CSQU 305438-3"), "CSQU 305438-3");
    }

    #[test]
    fn what_people_write_is_not_escaped() {
        for text in ["Zürich — « été »", "Нева", "中国", "مرحبا", "naïve 3 €"]
        {
            assert!(!text.chars().any(needs_escape), "{text}");
        }
    }
}

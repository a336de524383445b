//! Near matches: numbers with a check digit that a text may have been before it was misread.
//!
//! Candidates are made in the order of how likely the error is, and only those that parse are kept:
//! the check digit does the choosing. The search stops at one wrong or swapped character. Letters
//! read as digits and digits read as letters are corrected beside it, however many there are,
//! because the shape gives them away.

use std::str::FromStr;

/// The most near matches that are returned.
pub const LIMIT: usize = 8;

/// Limits within [`LIMIT`]: the most candidates that exchange a character for one that looks like
/// it, and the most that swap neighbours. The other places belong to the right check digit, then to
/// the other digits.
const ALIKE_MAX: usize = 4;
const SWAPPED_MAX: usize = 3;

/// Class of characters that a position of a number may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CharClass {
    /// A capital letter.
    Letter,
    /// One of the category letters of ISO 6346.
    Category,
    /// One of the fourth letters of EN 13044-1.
    UnitCategory,
    /// A digit.
    Digit,
}

/// Letters and digits that are mistaken for each other.
const ACROSS: [(char, char); 8] = [
    ('O', '0'),
    ('I', '1'),
    ('S', '5'),
    ('B', '8'),
    ('Z', '2'),
    ('L', '1'),
    ('Q', '0'),
    ('G', '6'),
];

/// Characters of the same class that are mistaken for each other.
const ALIKE: [(char, char); 18] = [
    ('0', '8'),
    ('1', '7'),
    ('3', '8'),
    ('5', '6'),
    ('6', '8'),
    ('0', '6'),
    ('3', '5'),
    ('5', '8'),
    ('4', '9'),
    ('1', '4'),
    ('O', 'Q'),
    ('O', 'D'),
    ('U', 'V'),
    ('M', 'N'),
    ('C', 'G'),
    ('E', 'F'),
    ('I', 'L'),
    ('P', 'R'),
];

/// Returns the values of `T` that `text` may have been meant to be, the likeliest first.
///
/// The last place of `shape` is the check digit. The list is empty if `text` parses as it stands.
pub(super) fn matches<T: FromStr + PartialEq>(text: &str, shape: &[CharClass]) -> Vec<T> {
    if text.parse::<T>().is_ok() {
        return Vec::new();
    }
    // One character more than the longest candidate is enough to detect that a text is too long.
    let read: Vec<char> = text
        .chars()
        .filter(|character| !character.is_whitespace() && !"-./_".contains(*character))
        .map(|character| character.to_ascii_uppercase())
        .take(shape.len() + 1)
        .collect();
    if read.len() + 1 == shape.len() {
        let placed = fitted(&read, shape);
        return most(('0'..='9').map(|digit| with(&placed, digit)), LIMIT);
    }
    if read.len() != shape.len() {
        return Vec::new();
    }
    one_error_away(&read, shape)
}

fn one_error_away<T: FromStr + PartialEq>(read: &[char], shape: &[CharClass]) -> Vec<T> {
    let placed = fitted(read, shape);
    // If the classes explain everything, no second error is searched for.
    if let Some(value) = parsed(&placed) {
        return vec![value];
    }
    let mut found = most(misread(&placed), ALIKE_MAX);
    // Swaps come before the characters are fitted, because a swap can move a letter into a digit's
    // place.
    add(
        &mut found,
        swapped(read).iter().map(|swap| fitted(swap, shape)),
        SWAPPED_MAX,
    );
    add(&mut found, check_digits(&placed), 1);
    add(&mut found, replaced(&placed, shape), LIMIT);
    found.truncate(LIMIT);
    found
}

/// Adds at most `limit` of the candidates that parse and are not in the list yet.
fn add<T: FromStr + PartialEq>(
    found: &mut Vec<T>,
    candidates: impl IntoIterator<Item = Vec<char>>,
    limit: usize,
) {
    let full = found.len() + limit;
    for candidate in candidates {
        if found.len() == full {
            return;
        }
        if let Some(value) = parsed(&candidate).filter(|value| !found.contains(value)) {
            found.push(value);
        }
    }
}

fn most<T: FromStr + PartialEq>(
    candidates: impl IntoIterator<Item = Vec<char>>,
    limit: usize,
) -> Vec<T> {
    let mut found = Vec::new();
    add(&mut found, candidates, limit);
    found
}

fn parsed<T: FromStr>(candidate: &[char]) -> Option<T> {
    candidate.iter().collect::<String>().parse().ok()
}

/// Reads each character as the class that its place requires.
fn fitted(read: &[char], shape: &[CharClass]) -> Vec<char> {
    read.iter()
        .zip(shape)
        .map(|(character, place)| fit(*character, *place))
        .collect()
}

fn fit(character: char, place: CharClass) -> char {
    let wants_digit = place == CharClass::Digit;
    let pair = ACROSS.iter().find(|(letter, digit)| {
        if wants_digit {
            *letter == character
        } else {
            *digit == character
        }
    });
    match pair {
        Some((_, digit)) if wants_digit => *digit,
        Some((letter, _)) => *letter,
        None => character,
    }
}

fn misread(placed: &[char]) -> Vec<Vec<char>> {
    let mut all = Vec::new();
    for (position, character) in placed.iter().enumerate() {
        for (one, other) in ALIKE {
            if one == *character {
                all.push(exchanged(placed, position, other));
            } else if other == *character {
                all.push(exchanged(placed, position, one));
            }
        }
    }
    all
}

fn swapped(placed: &[char]) -> Vec<Vec<char>> {
    (1..placed.len())
        .map(|position| {
            let mut candidate = placed.to_vec();
            candidate.swap(position - 1, position);
            candidate
        })
        .collect()
}

fn check_digits(placed: &[char]) -> Vec<Vec<char>> {
    let last = placed.len().saturating_sub(1);
    ('0'..='9')
        .map(|digit| exchanged(placed, last, digit))
        .collect()
}

/// Replaces one place at a time from the left by every value that it may hold. Owner letters are
/// left out: too many would fit.
fn replaced(placed: &[char], shape: &[CharClass]) -> Vec<Vec<char>> {
    let values = |place| match place {
        CharClass::Letter => "",
        CharClass::Category => "UJZ",
        CharClass::UnitCategory => "ABDEK",
        CharClass::Digit => "0123456789",
    };
    (0..)
        .zip(shape)
        .flat_map(|(position, place)| values(*place).chars().map(move |value| (position, value)))
        .map(|(position, value)| exchanged(placed, position, value))
        .collect()
}

fn exchanged(placed: &[char], position: usize, character: char) -> Vec<char> {
    let mut candidate = placed.to_vec();
    if let Some(slot) = candidate.get_mut(position) {
        *slot = character;
    }
    candidate
}

fn with(placed: &[char], last: char) -> Vec<char> {
    placed.iter().copied().chain([last]).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{ContainerNumber, IluCode, ImoNumber};
    use super::LIMIT;

    #[track_caller]
    fn containers(text: &str) -> Vec<String> {
        let found = ContainerNumber::near_matches(text);
        assert!(found.len() <= LIMIT);
        found.iter().map(ToString::to_string).collect()
    }

    /// Container numbers spread over owners and serials, from a fixed linear congruence.
    fn sample() -> Vec<String> {
        let mut state: u64 = 2021;
        let mut next = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        (0..500)
            .map(|_| {
                let owner: String = (0..3)
                    .map(|_| char::from(b'A' + u8::try_from(next(26)).unwrap()))
                    .collect();
                let start = format!("{owner}U{:06}", next(1_000_000));
                let numbers: Vec<String> = (0..10)
                    .map(|digit| format!("{start}{digit}"))
                    .filter(|text| text.parse::<ContainerNumber>().is_ok())
                    .collect();
                numbers[0].clone()
            })
            .collect()
    }

    #[test]
    fn nothing_is_proposed_for_what_is_right_or_like_no_number() {
        for text in [
            "CSQU3054383",
            "csqu 305438-3",
            "",
            "CSQU",
            "CSQU30543839999",
            "\u{e9}\u{e9}\u{e9}",
        ] {
            assert_eq!(containers(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn letters_and_digits_in_each_others_places_are_read_back_however_many() {
        for text in ["CSQU3O54383", "C5QU3O54383", "C5QU30S4383", "csqu 3OS438-3"] {
            assert_eq!(containers(text), ["CSQU3054383"], "{text}");
        }
    }

    #[test]
    fn a_missing_check_digit_is_filled_in() {
        assert_eq!(containers("CSQU305438"), ["CSQU3054383"]);
        let ships = ImoNumber::near_matches("907472");
        assert_eq!(ships, ["9074729".parse().unwrap()]);
    }

    #[test]
    fn a_character_that_looks_alike_is_likelier_than_a_swap_and_this_than_any_other_digit() {
        assert_eq!(containers("CSQV3054383")[0], "CSQU3054383");
        let found = containers("CSQU3045383");
        let at = |number: &str| found.iter().position(|one| one == number);
        // 3 is not read for 4, nor is the check digit 9 for 3; both numbers are valid.
        let check_digit = found.iter().position(|one| one.starts_with("CSQU304538"));
        assert!(at("CSQU3054383") < check_digit, "{found:?}");
    }

    #[test]
    fn a_misread_check_digit_is_always_among_them() {
        for number in sample() {
            let (start, check) = number.split_at(10);
            for digit in ('0'..='9').filter(|digit| check != String::from(*digit)) {
                let text = format!("{start}{digit}");
                assert!(
                    containers(&text).contains(&number),
                    "{text}: {:?}",
                    containers(&text)
                );
            }
        }
    }

    /// Counts the misread texts of the sample, and those whose original is not proposed.
    fn missed(misread: impl Fn(&[char], usize) -> Option<Vec<char>>) -> (usize, usize) {
        let mut counts = (0, 0);
        for number in sample() {
            let characters: Vec<char> = number.chars().collect();
            for position in 0..characters.len() - 1 {
                let Some(changed) = misread(&characters, position) else {
                    continue;
                };
                let text: String = changed.into_iter().collect();
                // Some are ILU codes, and right as they are.
                let right =
                    text.parse::<ContainerNumber>().is_ok() || text.parse::<IluCode>().is_ok();
                if !right {
                    counts.0 += 1;
                    counts.1 += usize::from(!containers(&text).contains(&number));
                }
            }
        }
        counts
    }

    #[test]
    fn a_swap_of_neighbours_is_among_them_but_for_one_in_a_hundred() {
        let (all, missed) = missed(|characters, position| {
            let mut changed = characters.to_vec();
            changed.swap(position, position + 1);
            Some(changed)
        });
        assert!(all > 4_000 && missed * 100 < all, "{missed} of {all}");
    }

    #[test]
    fn a_digit_read_as_one_like_it_is_among_them_but_for_one_in_fifty() {
        let (all, missed) = missed(|characters, position| {
            let alike = match characters[position] {
                '0' | '3' | '6' => '8',
                '1' => '7',
                '4' => '9',
                '5' => '6',
                '7' => '1',
                '8' => '3',
                '9' => '4',
                _ => return None,
            };
            let mut changed = characters.to_vec();
            changed[position] = alike;
            Some(changed)
        });
        assert!(all > 2_000 && missed * 50 < all, "{missed} of {all}");
    }

    #[test]
    fn ships_have_near_matches_by_the_same_rules() {
        let ships = |text: &str| -> Vec<String> {
            ImoNumber::near_matches(text)
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        assert_eq!(ships("IMO 9O74729"), ["9074729"]);
        assert!(ships("9047729").contains(&"9074729".to_owned()));
        assert!(ships("9074728").contains(&"9074729".to_owned()));
    }
}

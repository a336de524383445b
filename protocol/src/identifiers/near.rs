//! Near matches: what a number with a check digit may have been before it was misread.
//!
//! Candidates are made in the order of how likely the error is, and only those that parse are
//! kept: the check digit does the choosing. Refuses to search further than one wrong or swapped
//! character, besides letters read as digits and digits read as letters, which the shape gives
//! away however many there are.

use std::str::FromStr;

/// The most near matches that are returned.
pub const LIMIT: usize = 8;

/// What a position of a number may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A capital letter.
    Letter,
    /// One of the category letters of ISO 6346.
    Category,
    /// A digit.
    Digit,
}

/// Letters and digits that are read for each other.
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

/// Characters of the same class that are read for each other.
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
/// The last place of `shape` is the check digit. Empty where `text` parses as it stands.
pub(super) fn matches<T: FromStr + PartialEq>(text: &str, shape: &[Place]) -> Vec<T> {
    if text.parse::<T>().is_ok() {
        return Vec::new();
    }
    // One character more than the longest candidate is enough to know that a text is too long.
    let read: Vec<char> = text
        .chars()
        .filter(|character| !character.is_whitespace() && !"-./_".contains(*character))
        .map(|character| character.to_ascii_uppercase())
        .take(shape.len() + 1)
        .collect();
    let mut found: Vec<T> = Vec::new();
    for candidate in candidates(&read, shape) {
        if found.len() == LIMIT {
            break;
        }
        let parsed = candidate.iter().collect::<String>().parse::<T>();
        if let Ok(value) = parsed
            && !found.contains(&value)
        {
            found.push(value);
        }
    }
    found
}

fn candidates(read: &[char], shape: &[Place]) -> Vec<Vec<char>> {
    let placed: Vec<char> = read
        .iter()
        .zip(shape)
        .map(|(character, place)| fitted(*character, *place))
        .collect();
    if read.len() + 1 == shape.len() {
        return ('0'..='9').map(|digit| with(&placed, digit)).collect();
    }
    if read.len() != shape.len() {
        return Vec::new();
    }
    let mut all = vec![placed.clone()];
    all.extend(misread(&placed));
    all.extend(swapped(&placed));
    all.extend(replaced(&placed, shape));
    all
}

/// Reads a character as the class that its place holds.
fn fitted(character: char, place: Place) -> char {
    let wants_digit = place == Place::Digit;
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

/// One place at a time, every value that it may hold: the check digit and the category first,
/// then the other digits from the left. Owner letters are left out: too many would fit.
fn replaced(placed: &[char], shape: &[Place]) -> Vec<Vec<char>> {
    let last = shape.len().saturating_sub(1);
    let mut first = Vec::new();
    let mut then = Vec::new();
    for (position, place) in shape.iter().enumerate() {
        match place {
            Place::Category => {
                first.extend(['U', 'J', 'Z'].map(|c| exchanged(placed, position, c)));
            }
            Place::Digit if position == last => {
                first.extend(('0'..='9').map(|c| exchanged(placed, position, c)));
            }
            Place::Digit => then.extend(('0'..='9').map(|c| exchanged(placed, position, c))),
            Place::Letter => {}
        }
    }
    first.extend(then);
    first
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

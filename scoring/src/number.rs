//! Decimal numbers as people's spreadsheets write them: with a decimal point or comma, and with thousands
//! marks.
//!
//! `12,5` and `1.234,50` have one meaning each. `1,234` has two, and nothing is guessed: it counts only if
//! another number of its column, or a person, says which mark is the decimal one. Refused besides are
//! units, exponents, groups that are not of three digits, and a decimal point where a person said comma.

/// Mark between the whole and the fraction of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecimalMark {
    /// `.`
    Point,
    /// `,`
    Comma,
}

impl DecimalMark {
    /// Every mark.
    pub const ALL: [Self; 2] = [Self::Point, Self::Comma];

    /// Returns the name under which a person gives or reads it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Point => "point",
            Self::Comma => "comma",
        }
    }

    const fn character(self) -> char {
        match self {
            Self::Point => '.',
            Self::Comma => ',',
        }
    }

    const fn of(character: char) -> Option<Self> {
        match character {
            '.' => Some(Self::Point),
            ',' => Some(Self::Comma),
            _ => None,
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Point => Self::Comma,
            Self::Comma => Self::Point,
        }
    }
}

/// Error for a text that is not read as a number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// It is none.
    #[error("`{0}` is not a decimal number such as `8.5`; correct the value")]
    NoNumber(String),
    /// It has two meanings, and nothing says which one counts.
    #[error(
        "`{text}` may be {} (`--decimal {}`) or {} (`--decimal {}`), and no other number of the column \
         says which; say it, or write numbers without thousands marks",
        without(text), mark.other().name(), text.replace(',', "."), mark.name()
    )]
    Ambiguous {
        /// The text.
        text: String,
        /// The mark that it has.
        mark: DecimalMark,
    },
    /// A unit stands beside it.
    #[error(
        "`{text}` carries the unit `{unit}`; write the number alone, in the unit that the column is in"
    )]
    Unit {
        /// The text.
        text: String,
        /// The unit.
        unit: String,
    },
    /// It has another decimal mark than the one that was given.
    #[error("`{text}` has no decimal {}, which `--decimal` says; correct the value or leave `--decimal` out", mark.name())]
    Mark {
        /// The text.
        text: String,
        /// The mark that was given.
        mark: DecimalMark,
    },
}

fn without(text: &str) -> String {
    text.replace(['.', ','], "")
}

/// Evidence of a column's numbers on its decimal mark.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evidence {
    point: bool,
    comma: bool,
    grouped: bool,
}

impl Evidence {
    /// Takes in what one number says. A text that is no number says nothing.
    pub fn look(&mut self, text: &str) {
        let Some(parts) = Parts::of(text) else { return };
        self.grouped |= parts.group.is_some();
        match parts.mark() {
            Some(DecimalMark::Point) => self.point = true,
            Some(DecimalMark::Comma) => self.comma = true,
            None => {}
        }
    }

    /// Returns the decimal mark, if all numbers that say one agree.
    #[must_use]
    pub const fn mark(self) -> Option<DecimalMark> {
        match (self.point, self.comma) {
            (true, false) => Some(DecimalMark::Point),
            (false, true) => Some(DecimalMark::Comma),
            (true, true) | (false, false) => None,
        }
    }

    /// Returns whether a number has thousands marks.
    #[must_use]
    pub const fn is_grouped(self) -> bool {
        self.grouped
    }
}

/// Grounds on which the numbers of a column are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// The decimal mark that a person gave.
    pub given: Option<DecimalMark>,
    /// Evidence of the column's own numbers.
    pub evidence: Evidence,
    /// True if `1.234` is a number with a fraction where nothing says otherwise, as in a file whose
    /// values are separated by commas.
    pub points_by_default: bool,
}

impl Marks {
    /// The marks of numbers in their canonical text.
    pub const CANONICAL: Self = Self {
        given: Some(DecimalMark::Point),
        evidence: Evidence {
            point: false,
            comma: false,
            grouped: false,
        },
        points_by_default: true,
    };

    fn decided(self, found: DecimalMark) -> Option<DecimalMark> {
        let usual = self.points_by_default && found == DecimalMark::Point && !self.evidence.comma;
        self.given
            .or(self.evidence.mark())
            .or(usual.then_some(DecimalMark::Point))
    }
}

/// Returns the canonical text of a number: no plus sign, a decimal point, no marks of thousands, no
/// leading zeros, no zeros at the end of the fraction and no trailing point.
///
/// # Errors
///
/// [`NumberError`].
pub fn canonical(text: &str, marks: Marks) -> Result<String, NumberError> {
    let Some(parts) = Parts::of(text) else {
        return Err(match unit(text) {
            Some(unit) => NumberError::Unit {
                text: text.to_owned(),
                unit: unit.to_owned(),
            },
            None => NumberError::NoNumber(text.to_owned()),
        });
    };
    let other_than_given = |said| marks.given.filter(|given| *given != said);
    if let Some(mark) = parts.mark().and_then(other_than_given) {
        return Err(NumberError::Mark {
            text: text.to_owned(),
            mark,
        });
    }
    let Some(open) = parts.open else {
        return Ok(parts.text(&parts.whole, &parts.fraction));
    };
    match marks.decided(open) {
        Some(mark) if mark == open => Ok(parts.text(&parts.whole, &parts.fraction)),
        Some(_) => Ok(parts.text(&format!("{}{}", parts.whole, parts.fraction), "")),
        None => Err(NumberError::Ambiguous {
            text: text.to_owned(),
            mark: open,
        }),
    }
}

/// A number, taken apart.
struct Parts {
    negative: bool,
    whole: String,
    fraction: String,
    /// Its decimal mark, if it has one for certain.
    decimal: Option<DecimalMark>,
    /// Its mark of thousands, if it has one for certain.
    group: Option<char>,
    /// The one mark that may be either.
    open: Option<DecimalMark>,
}

impl Parts {
    fn of(text: &str) -> Option<Self> {
        let (negative, number) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let marks: Vec<char> = number.chars().filter(|one| !one.is_ascii_digit()).collect();
        let last = marks.last().copied();
        let decimal = last.and_then(DecimalMark::of);
        let count = |mark: DecimalMark| {
            let same = marks.iter().filter(|one| **one == mark.character());
            same.count()
        };
        let alone = decimal.filter(|mark| count(*mark) == 1);
        let (whole, fraction) = match alone {
            Some(mark) => number.split_once(mark.character())?,
            None => (number, ""),
        };
        if alone.is_some() && fraction.is_empty() {
            return None;
        }
        let (whole, group) = ungrouped(whole)?;
        let is_open =
            group.is_none() && fraction.len() == 3 && whole.len() <= 3 && !whole.starts_with('0');
        Some(Self {
            negative,
            whole,
            fraction: fraction.to_owned(),
            decimal: alone.filter(|_| !is_open),
            group,
            open: alone.filter(|_| is_open),
        })
    }

    /// Returns the decimal mark that this number says its column has.
    fn mark(&self) -> Option<DecimalMark> {
        let by_group = self.group.and_then(DecimalMark::of);
        self.decimal.or(by_group.map(DecimalMark::other))
    }

    fn text(&self, whole: &str, fraction: &str) -> String {
        let whole = whole.trim_start_matches('0');
        let fraction = fraction.trim_end_matches('0');
        let mut text = String::with_capacity(whole.len() + fraction.len() + 2);
        if self.negative && !(whole.is_empty() && fraction.is_empty()) {
            text.push('-');
        }
        text.push_str(if whole.is_empty() { "0" } else { whole });
        if !fraction.is_empty() {
            text.push('.');
            text.push_str(fraction);
        }
        text
    }
}

/// Returns a whole number without its marks of thousands, and the mark; `None` if it is none.
fn ungrouped(whole: &str) -> Option<(String, Option<char>)> {
    let mark = whole.chars().find(|one| !one.is_ascii_digit());
    let Some(mark) = mark else {
        return (!whole.is_empty()).then(|| (whole.to_owned(), None));
    };
    if !matches!(mark, '.' | ',' | '\'' | '’' | ' ' | '\u{a0}' | '\u{202f}') {
        return None;
    }
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let mut groups = whole.split(mark);
    let first = groups.next()?;
    let fits = (1..=3).contains(&first.len())
        && digits(first)
        && groups.all(|group| group.len() == 3 && digits(group));
    fits.then(|| (whole.replace(mark, ""), Some(mark)))
}

/// Returns the unit before or after a number: words without digits, or a sign of money or per cent.
fn unit(text: &str) -> Option<&str> {
    let is_digit = |one: char| one.is_ascii_digit();
    let (before, rest) = text.split_at_checked(text.find(is_digit)?)?;
    let (number, after) = rest.split_at_checked(rest.rfind(is_digit)?.checked_add(1)?)?;
    let unit = match (before.trim().trim_end_matches('-').trim(), after.trim()) {
        ("", unit) | (unit, "") => unit,
        _ => return None,
    };
    let named = !unit.is_empty()
        && unit
            .chars()
            .all(|one| !one.is_ascii_punctuation() || matches!(one, '%' | '$' | '.' | '/'));
    let is_word = unit.chars().any(|one| !matches!(one, '.' | '/' | ','));
    (named && is_word && Parts::of(number).is_some()).then_some(unit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEFAULT: Marks = Marks {
        given: None,
        evidence: Evidence {
            point: false,
            comma: false,
            grouped: false,
        },
        points_by_default: true,
    };

    fn with(column: &[&str], points_by_default: bool) -> Marks {
        let mut evidence = Evidence::default();
        column.iter().for_each(|text| evidence.look(text));
        Marks {
            given: None,
            evidence,
            points_by_default,
        }
    }

    #[track_caller]
    fn reads(text: &str, marks: Marks, expected: &str) {
        assert_eq!(canonical(text, marks).as_deref(), Ok(expected), "{text}");
    }

    #[track_caller]
    fn refused(text: &str, marks: Marks, says: &str) {
        let message = canonical(text, marks).unwrap_err().to_string();
        assert!(message.contains(says), "{message}");
    }

    #[test]
    fn equal_numbers_have_one_text() {
        for (text, expected) in [
            ("8", "8"),
            ("8.0", "8"),
            ("008.50", "8.5"),
            ("0.0", "0"),
            ("-0.0", "0"),
            ("-1.50", "-1.5"),
            ("0.08000000000000003", "0.08000000000000003"),
        ] {
            reads(text, DEFAULT, expected);
            reads(text, Marks::CANONICAL, expected);
        }
        for text in [
            "", "-", ".5", "5.", "1e3", "1.2E+05", "NaN", "+1", "1.2.3", "1,23,4", "--1",
        ] {
            refused(text, DEFAULT, "is not a decimal number");
        }
    }

    /// Newcomer B5: numbers of a continental spreadsheet.
    #[test]
    fn decimal_commas_and_marks_of_thousands_have_one_meaning_each() {
        for (text, expected) in [
            ("12,5", "12.5"),
            ("0,125", "0.125"),
            ("1234,567", "1234.567"),
            ("1.234,5", "1234.5"),
            ("1,234.5", "1234.5"),
            ("1.234.567", "1234567"),
            ("1,234,567", "1234567"),
            ("1 234", "1234"),
            ("1\u{202f}234\u{202f}567,8", "1234567.8"),
            ("12'345.60", "12345.6"),
            ("-1.234,5", "-1234.5"),
        ] {
            reads(text, with(&[text], false), expected);
        }
        for text in [
            "1.23,4",
            "12.34.567",
            "1 23",
            "1234.567,8",
            "1,234,5",
            "1 234 ",
        ] {
            refused(text, with(&[text], false), "is not a decimal number");
        }
    }

    /// Newcomer B5: a number of two meanings is never guessed.
    #[test]
    fn a_number_of_two_meanings_counts_only_if_its_column_or_a_person_says_which() {
        let says = "`1,234` may be 1234 (`--decimal point`) or 1.234 (`--decimal comma`)";
        refused("1,234", with(&["1,234", "5"], true), says);
        refused("1,234", with(&["1,234", "5"], false), says);
        refused(
            "1.234",
            with(&["1.234"], false),
            "may be 1234 (`--decimal comma`)",
        );
        reads("1.234", with(&["1.234"], true), "1.234");
        reads("1,234", with(&["12,5"], false), "1.234");
        reads("1,234", with(&["1.5"], false), "1234");
        reads("1.234", with(&["12,5"], true), "1234");
        // A column that says both says nothing.
        refused("1,234", with(&["12,5", "12.5"], true), says);
        refused("1.234", with(&["12,5", "12.5"], true), "may be 1234 (");
        for (mark, expected) in [(DecimalMark::Point, "1234"), (DecimalMark::Comma, "1.234")] {
            let given = Marks {
                given: Some(mark),
                ..DEFAULT
            };
            reads("1,234", given, expected);
        }
    }

    #[test]
    fn a_mark_that_was_given_binds() {
        let comma = Marks {
            given: Some(DecimalMark::Comma),
            ..DEFAULT
        };
        refused("12.5", comma, "has no decimal comma");
        refused("1,234.5", comma, "has no decimal comma");
        reads("1.234.567", comma, "1234567");
        reads("12.500", comma, "12500");
    }

    #[test]
    fn a_unit_is_named() {
        for (text, unit) in [
            ("12.5 kg", "kg"),
            ("12,5kg", "kg"),
            ("20 %", "%"),
            ("€ 1.250,00", "€"),
            ("3 t", "t"),
        ] {
            refused(text, DEFAULT, &format!("carries the unit `{unit}`"));
        }
        for text in ["n/a", "-", "1,2,3 kg", "(5)"] {
            refused(text, DEFAULT, "is not a decimal number");
        }
    }

    proptest! {
        #[test]
        fn a_canonical_text_stays_itself(text in "-?[0-9 .,']{1,12}") {
            if let Ok(once) = canonical(&text, DEFAULT) {
                prop_assert_eq!(canonical(&once, Marks::CANONICAL), Ok(once));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let mut evidence = Evidence::default();
            evidence.look(&text);
            let plain = |one: char| one.is_ascii_digit() || matches!(one, '-' | '.');
            let read = canonical(&text, Marks { evidence, ..DEFAULT });
            prop_assert!(read.is_ok_and(|number| number.chars().all(plain)) || !text.chars().all(|one| one.is_ascii_digit()) || text.is_empty());
        }
    }
}

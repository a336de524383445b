//! Points in time, in milliseconds since 1970 UTC. The caller supplies the clock.

use std::{fmt, str::FromStr};

/// A point in time with the wire's resolution: whole milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Timestamp(i64);

/// The end of a period, as a person writes it: a bare day is meant whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    written: Timestamp,
    /// Length of what was written: a day, or nothing.
    length: i64,
}

impl End {
    /// Returns the last point that belongs to the period, if its end does: for a day the last millisecond.
    #[must_use]
    pub fn included(self) -> Timestamp {
        let last = self.length.saturating_sub(1).max(0);
        self.written.plus_millis(last).min(Timestamp::LAST)
    }

    /// Returns the first point that does not belong to the period: for a day the beginning of the next.
    #[must_use]
    pub fn excluded(self) -> Timestamp {
        self.written.plus_millis(self.length).min(Timestamp::LAST)
    }
}

/// Error for a text that is not a point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimestampParseError {
    /// A time of day without a zone: nobody can say which moment it is.
    #[error("`{0}` has no time zone; write for instance `{0}Z` for UTC, or `{0}+01:00`")]
    NoZone(String),
    /// A date whose day and month could be exchanged.
    #[error("`{0}` may be read in two ways; write year, month, day: for instance `2021-03-01`")]
    Ambiguous(String),
    /// A date of which day and month cannot be exchanged, with the year at its end.
    #[error("`{text}` has its year at the end; write `{meant}`")]
    YearLast {
        /// The text.
        text: String,
        /// The day that it can only mean, as it is to be written.
        meant: String,
    },
    /// No point in time at all.
    #[error("`{0}` is not a time; write for instance `2021-03-01T08:00:00Z` or `2021-03-01`")]
    NotATime(String),
}

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// A text that a person wrote for a time.
enum Written {
    Moment(Timestamp),
    /// The beginning of a day.
    Day(Timestamp),
}

impl Timestamp {
    /// The last point that the calendar has, 9999-12-30T22:00:00.999Z. It stands for "without end": a later
    /// day that is written, 9999-12-31, is this point.
    pub const LAST: Self = Self(253_402_207_200_000);

    /// The point `millis` milliseconds after 1970 began (UTC).
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Takes a time that a signed record states; `None` if no calendar has it.
    #[must_use]
    pub fn on_calendar(millis: i64) -> Option<Self> {
        jiff::Timestamp::from_millisecond(millis)
            .ok()
            .map(|_| Self(millis))
    }

    /// Milliseconds since 1970 began (UTC).
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns this point moved by `millis`, held at the ends of the range.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this point; negative if `earlier` is later.
    #[must_use]
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads the wire's optional time, where zero stands for none.
    #[must_use]
    pub const fn from_wire(millis: i64) -> Option<Self> {
        if millis == 0 {
            None
        } else {
            Some(Self(millis))
        }
    }

    /// Writes the wire's optional time, where zero stands for none.
    #[must_use]
    pub fn to_wire(time: Option<Self>) -> i64 {
        time.map_or(0, |time| time.0)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with three digits of fraction, always; a time beyond the calendar is shown in
    /// milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = TimestampParseError;

    /// Reads RFC 3339 with its zone, or a bare day, which is its beginning in UTC.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match written(text)? {
            Written::Moment(time) | Written::Day(time) => Ok(time),
        }
    }
}

impl FromStr for End {
    type Err = TimestampParseError;

    /// Reads RFC 3339 with its zone, or a bare day, which is its end in UTC.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match written(text)? {
            Written::Moment(written) => Ok(Self { written, length: 0 }),
            Written::Day(written) => Ok(Self {
                written,
                length: DAY,
            }),
        }
    }
}

/// Reads what is a moment or a day without doubt. Nothing is left out: a time of day without a zone is no
/// day.
fn written(text: &str) -> Result<Written, TimestampParseError> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(Written::Moment(Timestamp(time.as_millisecond())));
    }
    let date = text.parse::<jiff::civil::Date>();
    match date {
        Ok(date) if is_bare_day(text) => {
            let days = date.since(jiff::civil::date(1970, 1, 1));
            let days = days.map_or(0, |span| i64::from(span.get_days()));
            let begins = Timestamp(days.saturating_mul(DAY));
            Ok(Written::Day(begins.min(Timestamp::LAST)))
        }
        // The parser takes a day out of a longer text.
        Ok(_) if lacks_a_zone(text) => Err(TimestampParseError::NoZone(text.to_owned())),
        Ok(_) => Err(TimestampParseError::NotATime(text.to_owned())),
        Err(_) => Err(match year_last(text) {
            YearLast::Two => TimestampParseError::Ambiguous(text.to_owned()),
            YearLast::One(day) => TimestampParseError::YearLast {
                text: text.to_owned(),
                meant: day.to_string(),
            },
            YearLast::None => TimestampParseError::NotATime(text.to_owned()),
        }),
    }
}

/// Returns whether a text is a time once its zone is said.
fn lacks_a_zone(text: &str) -> bool {
    let bare = text.split('[').next().unwrap_or(text);
    let hours = |more: &str| format!("{bare}{more}Z").parse::<jiff::Timestamp>().is_ok();
    hours("") || hours(":00")
}

/// Returns whether a text has the form `YYYY-MM-DD` and nothing more.
fn is_bare_day(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 10
        && bytes.iter().enumerate().all(|(place, byte)| match place {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

/// Meanings of a date whose year stands last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum YearLast {
    /// It is no such date.
    None,
    /// It means one day alone.
    One(jiff::civil::Date),
    /// Day and month could be exchanged, or the century is open.
    Two,
}

/// Reads a text that begins with a date whose year is not first, as in `31/12/2026` or `3.1.26`.
fn year_last(text: &str) -> YearLast {
    let date = text.split([' ', 'T', ',']).next().unwrap_or_default();
    let parts: Vec<&str> = date.split(['/', '.', '-']).collect();
    let is_number =
        |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let [first, second, year] = parts[..] else {
        return YearLast::None;
    };
    let has_form = [first, second, year].iter().all(is_number)
        && first.len() <= 2
        && second.len() <= 2
        && matches!(year.len(), 2 | 4);
    if !has_form {
        return YearLast::None;
    }
    let day = |day: &str, month: &str| {
        let (year, month, day) = (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
        jiff::civil::Date::new(year, month, day).ok()
    };
    match (day(first, second), day(second, first)) {
        _ if year.len() == 2 => YearLast::Two,
        (Some(one), Some(other)) if one != other => YearLast::Two,
        (Some(one), _) | (None, Some(one)) => YearLast::One(one),
        (None, None) => YearLast::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_rfc_3339_or_a_date() {
        let time = Timestamp::from_millis(1_614_585_600_000);
        assert_eq!(time.to_string(), "2021-03-01T08:00:00.000Z");
        assert_eq!("2021-03-01T08:00:00Z".parse(), Ok(time));
        assert_eq!("2021-03-01".parse(), Ok(time.plus_millis(-8 * 3_600_000)));
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    /// Bug 2: a time of day without a zone was midnight.
    #[test]
    fn a_time_without_a_zone_is_refused_and_never_midnight() {
        for text in [
            "2026-12-31T20:00:00",
            "2026-11-01 08:00",
            "2026-11-01T08",
            "2026-11-30T04:20:30[Europe/Brussels]",
            "2026-12-31T20:00:00.5",
            "20261231T200000",
        ] {
            let error = text.parse::<Timestamp>().unwrap_err();
            assert_eq!(error, TimestampParseError::NoZone(text.to_owned()));
            assert_eq!(text.parse::<End>().unwrap_err(), error);
        }
        let utc: Timestamp = "2026-11-30T03:20:30Z".parse().unwrap();
        assert_eq!("2026-11-30T04:20:30+01:00".parse(), Ok(utc));
        let end: End = "2026-11-30T04:20:30+01:00".parse().unwrap();
        assert_eq!((end.included(), end.excluded()), (utc, utc));
    }

    #[test]
    fn a_date_that_may_be_read_in_two_ways_is_refused() {
        for text in ["03/04/2026", "3.4.26", "31.12.26", "12/11/2026 20:00"] {
            let error = text.parse::<Timestamp>().unwrap_err();
            assert_eq!(error, TimestampParseError::Ambiguous(text.to_owned()));
        }
        // What can only mean one day is told as that day, and not taken either: the next line may be of two.
        for (text, meant) in [
            ("31/12/2026", "2026-12-31"),
            ("13.11.2026", "2026-11-13"),
            ("11/30/2026", "2026-11-30"),
            ("4.4.2026", "2026-04-04"),
            ("31/12/2026 20:00", "2026-12-31"),
        ] {
            let error = text.parse::<Timestamp>().unwrap_err().to_string();
            assert!(error.ends_with(&format!("write `{meant}`")), "{error}");
        }
        for text in [
            "",
            // Nobody is told to write what is refused then.
            "20261101",
            "2026-11-01x",
            "31.02.2026",
            "2026",
            "2026-13-01",
            "2026-02-30",
            "1.2.3.4",
            "tomorrow",
        ] {
            let error = text.parse::<Timestamp>().unwrap_err();
            assert_eq!(error, TimestampParseError::NotATime(text.to_owned()));
        }
    }

    /// Bug 18: 9999-12-31 was no time.
    #[test]
    fn the_last_day_of_the_calendar_is_without_end() {
        assert_eq!("9999-12-31".parse(), Ok(Timestamp::LAST));
        for text in ["9999-12-30", "9999-12-31"] {
            let end: End = text.parse().unwrap();
            assert_eq!(end.included(), Timestamp::LAST);
            assert_eq!(end.excluded(), Timestamp::LAST);
        }
        assert_eq!(
            Timestamp::on_calendar(Timestamp::LAST.0),
            Some(Timestamp::LAST)
        );
        assert_eq!(Timestamp::on_calendar(Timestamp::LAST.0 + 1), None);
    }

    #[test]
    fn a_bare_day_begins_and_ends_where_days_do() {
        let day: Timestamp = "2026-11-30".parse().unwrap();
        assert_eq!(day, "2026-11-30T00:00:00Z".parse().unwrap());
        let end: End = "2026-11-30".parse().unwrap();
        let next: Timestamp = "2026-12-01T00:00:00Z".parse().unwrap();
        assert_eq!(end.excluded(), next);
        assert_eq!(end.included(), next.plus_millis(-1));
        let before: Timestamp = "1969-12-31".parse().unwrap();
        assert_eq!(before.as_millis(), -86_400_000);
    }
}

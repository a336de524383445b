//! Points in time, in milliseconds since 1970 UTC. The caller supplies the clock.

use std::{fmt, str::FromStr};

/// A point in time with the wire's resolution: whole milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Timestamp(i64);

/// Error for a text that is not a point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time; write for instance `2021-03-01T08:00:00Z` or `2021-03-01`")]
pub struct TimestampParseError(String);

impl Timestamp {
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
    /// RFC 3339 in UTC; a time beyond the calendar is shown in milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = TimestampParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let moment = text.parse::<jiff::Timestamp>().or_else(|_| {
            text.parse::<jiff::civil::Date>()
                .and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC))
                .map(|zoned| zoned.timestamp())
        });
        moment
            .map(|time| Self(time.as_millisecond()))
            .map_err(|_| TimestampParseError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_rfc_3339_or_a_date() {
        let time = Timestamp::from_millis(1_614_585_600_000);
        assert_eq!(time.to_string(), "2021-03-01T08:00:00Z");
        assert_eq!("2021-03-01T08:00:00Z".parse(), Ok(time));
        assert_eq!("2021-03-01".parse(), Ok(time.plus_millis(-8 * 3_600_000)));
        assert!("yesterday".parse::<Timestamp>().is_err());
    }
}

//! Validity periods of certificates and revocation lists.

use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp};

use crate::Error;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A period with whole seconds, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    start: Timestamp,
    end: Timestamp,
}

impl Period {
    /// The period from `start` to `end`.
    ///
    /// # Errors
    ///
    /// [`Error::Period`] if `end` is not after `start` or `start` lies before 1970.
    pub fn new(start: Timestamp, end: Timestamp) -> Result<Self, Error> {
        if start >= end || start < Timestamp::UNIX_EPOCH {
            return Err(Error::Period);
        }
        Ok(Self { start, end })
    }

    /// A period that began an hour before `now` and lasts `days` from `now`.
    ///
    /// # Errors
    ///
    /// [`Error::Period`] if that leaves the range of times a certificate can state.
    pub fn around(now: Timestamp, days: u16) -> Result<Self, Error> {
        Self::new(shift(now, -HOUR)?, shift(now, DAY * i32::from(days))?)
    }

    /// A period of a day that ended an hour before `now`.
    ///
    /// # Errors
    ///
    /// [`Error::Period`] if that leaves the range of times a certificate can state.
    pub fn ended(now: Timestamp) -> Result<Self, Error> {
        Self::new(shift(now, -DAY)?, shift(now, -HOUR)?)
    }

    /// A period of a day that begins an hour after `now`.
    ///
    /// # Errors
    ///
    /// [`Error::Period`] if that leaves the range of times a certificate can state.
    pub fn to_come(now: Timestamp) -> Result<Self, Error> {
        Self::new(shift(now, HOUR)?, shift(now, DAY)?)
    }

    pub(crate) fn start(self) -> SystemTime {
        self.start.into()
    }

    pub(crate) fn end(self) -> SystemTime {
        self.end.into()
    }
}

fn shift(time: Timestamp, by: SignedDuration) -> Result<Timestamp, Error> {
    time.checked_add(by).map_err(|_| Error::Period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_that_ends_before_it_starts_is_refused() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        assert!(matches!(Period::new(now, now), Err(Error::Period)));
    }

    #[test]
    fn a_clock_before_1970_is_refused() {
        assert!(matches!(
            Period::around(Timestamp::UNIX_EPOCH, 1),
            Err(Error::Period)
        ));
    }
}

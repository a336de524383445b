//! Moments of a clock that cannot be set, by which this node makes its plans.
//!
//! A plan made by the wall clock waits as long as the clock is set back, or comes due all at once.
//! Whatever happens after a wait is therefore planned in moments. A time that the store keeps, or
//! that a statement names, is a [`Timestamp`](portcullis_protocol::time::Timestamp), and the two do
//! not compare.

use std::time::{Duration, Instant};

/// Moment in the life of this process, in milliseconds since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(i64);

impl Moment {
    /// Returns the present moment of a process that began then.
    #[must_use]
    pub fn since(began: Instant) -> Self {
        Self(i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    /// Makes the moment so many milliseconds after the beginning.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the moment so many milliseconds later.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Returns the milliseconds that have passed since another moment.
    #[must_use]
    pub const fn millis_since(self, other: Self) -> i64 {
        self.0.saturating_sub(other.0)
    }

    /// Returns the wait until another moment, at least `shortest`.
    #[must_use]
    pub fn wait_until(self, other: Self, shortest: Duration) -> Duration {
        let millis = u64::try_from(other.millis_since(self)).unwrap_or(0);
        Duration::from_millis(millis).max(shortest)
    }
}

//! From when until when a certificate or a revocation list holds.

use portcullis_protocol::time::Timestamp;

/// Period in which something holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// First moment of the period.
    pub since: Timestamp,
    /// Its end.
    pub until: Timestamp,
}

impl Term {
    /// Makes the term of two times as certificates write them.
    #[must_use]
    pub fn of(since: jiff::Timestamp, until: jiff::Timestamp) -> Self {
        Self {
            since: Timestamp::from_millis(since.as_millisecond()),
            until: Timestamp::from_millis(until.as_millisecond()),
        }
    }
}

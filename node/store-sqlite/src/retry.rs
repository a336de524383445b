//! Rules of retries: the wait between two attempts, and the end.

use portcullis_protocol::time::Timestamp;

/// Time for which a record that was refused for now, or held, is retried: 7 days, in milliseconds.
const LIFE_MS: i64 = 7 * 24 * 3_600_000;
/// Longest wait between two attempts, in milliseconds.
const LONGEST_WAIT_MS: i64 = 3_600_000;

/// Returns the time of the next attempt. `first` is the time of the first one, as it would be from
/// now; the wait doubles with each of the `attempts` made before.
pub(super) fn next_attempt(now: Timestamp, first: Timestamp, attempts: u32) -> Timestamp {
    now.plus_millis(wait_ms(first.millis_since(now), attempts))
}

/// Returns the latest time for which an attempt can have been planned now. A later one was planned
/// under a clock that has been set back since.
pub(super) const fn latest_attempt(now: Timestamp) -> Timestamp {
    now.plus_millis(LONGEST_WAIT_MS)
}

/// Returns the time after which a record is no longer retried: the end of its life or, if that is
/// sooner, the time at which it is to be deleted.
pub(super) fn end(now: Timestamp, delete_at: Option<Timestamp>) -> Timestamp {
    let life = now.plus_millis(LIFE_MS);
    delete_at.map_or(life, |at| life.min(at))
}

fn wait_ms(first_ms: i64, attempts: u32) -> i64 {
    let doubled = 1_i64.checked_shl(attempts.min(32)).unwrap_or(i64::MAX);
    first_ms.max(1).saturating_mul(doubled).min(LONGEST_WAIT_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_with_every_attempt_up_to_an_hour() {
        let waits: Vec<i64> = (0..7).map(|attempts| wait_ms(60_000, attempts)).collect();
        assert_eq!(
            waits,
            [
                60_000, 120_000, 240_000, 480_000, 960_000, 1_920_000, 3_600_000
            ]
        );
        assert_eq!(wait_ms(60_000, u32::MAX), 3_600_000);
        assert_eq!(wait_ms(-5, 0), 1);
    }

    #[test]
    fn a_retry_ends_after_seven_days_or_when_its_record_is_to_be_deleted() {
        let at = Timestamp::from_millis;
        assert_eq!(end(at(1_000), None), at(604_801_000));
        assert_eq!(end(at(1_000), Some(at(2_000))), at(2_000));
        assert_eq!(end(at(1_000), Some(at(604_801_001))), at(604_801_000));
    }
}

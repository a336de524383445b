//! Steps of this machine's clock. A clock that cannot be set detects them, and a step is not
//! believed until a person confirms the time.
//!
//! ```text
//! wall clock ─┐
//!             ├─▶ within five minutes of each other: the wall clock's time
//! anchor + ───┘   else: the anchor's, until somebody confirms the wall clock
//! time passed
//! ```
//!
//! Until then the node goes on by the time it had. It receives, verifies, answers and delivers;
//! keys and terms that had ended stay ended, and others go on. It seals nothing, because a record
//! sealed under a wrong time cannot be taken back. Many small steps count together. A machine that
//! slept has made a step as well, because its other clock stood still.

use std::{
    sync::{Mutex, OnceLock, PoisonError},
    time::Instant,
};

use portcullis_protocol::time::Timestamp;

/// Largest step that is believed without confirmation, in milliseconds.
pub const LARGEST_STEP_MS: i64 = 5 * 60_000;

/// Compares two clocks. Pure: both times are arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepWatch {
    /// Believed time, and the reading of the clock that cannot be set at that time, in
    /// milliseconds.
    anchor: (Timestamp, u64),
    /// Step last seen of the wall clock, in milliseconds, until a person confirms it.
    waiting: Option<i64>,
}

/// Result of a look at the clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Time to go by.
    pub now: Timestamp,
    /// A step that was not noticed before, in milliseconds.
    pub noticed: Option<i64>,
}

impl StepWatch {
    /// Begins at a wall clock's time. `known` is the newest time that this node wrote down before.
    /// A wall clock well before it was set back while the node did not run.
    #[must_use]
    pub fn begin(wall: Timestamp, monotonic_ms: u64, known: Option<Timestamp>) -> Self {
        let back = known.filter(|known| known.millis_since(wall) > LARGEST_STEP_MS);
        Self {
            anchor: (back.unwrap_or(wall), monotonic_ms),
            waiting: back.map(|known| wall.millis_since(known)),
        }
    }

    /// Looks at the wall clock and at the milliseconds of a clock that cannot be set.
    pub fn look(&mut self, wall: Timestamp, monotonic_ms: u64) -> Look {
        let (then, at) = self.anchor;
        let passed = i64::try_from(monotonic_ms.saturating_sub(at)).unwrap_or(i64::MAX);
        let believed = then.plus_millis(passed);
        let step = wall.millis_since(believed);
        let is_step = step.saturating_abs() > LARGEST_STEP_MS;
        let noticed = (is_step && self.waiting.is_none()).then_some(step);
        if is_step {
            self.waiting = Some(step);
        }
        let now = if self.waiting.is_some() {
            believed
        } else {
            wall
        };
        Look { now, noticed }
    }

    /// Returns the step that waits for confirmation, in milliseconds.
    #[must_use]
    pub const fn waiting(&self) -> Option<i64> {
        self.waiting
    }

    /// Takes a person's confirmation that the wall clock is right.
    pub const fn confirm(&mut self, wall: Timestamp, monotonic_ms: u64) {
        self.anchor = (wall, monotonic_ms);
        self.waiting = None;
    }
}

/// Watches this process's clock. Until it begins, the wall clock is believed.
#[derive(Debug, Default)]
pub(crate) struct ClockWatch {
    began: OnceLock<Instant>,
    /// Locked only for a look; `None` before the beginning.
    watch: Mutex<Option<StepWatch>>,
}

impl ClockWatch {
    /// Begins to watch.
    pub(crate) fn begin(&self, wall: Timestamp, known: Option<Timestamp>) {
        let passed = self.passed();
        let begun = StepWatch::begin(wall, passed, known);
        if let Some(step_ms) = begun.waiting() {
            tell(step_ms);
        }
        self.with(|watch| *watch = Some(begun));
    }

    /// Returns the time to go by.
    pub(crate) fn now(&self, wall: Timestamp) -> Timestamp {
        self.look(wall).0
    }

    /// Returns the step that waits for confirmation, in milliseconds.
    pub(crate) fn waiting(&self, wall: Timestamp) -> Option<i64> {
        self.look(wall).1
    }

    fn look(&self, wall: Timestamp) -> (Timestamp, Option<i64>) {
        let passed = self.passed();
        let look = self.with(|watch| {
            let watch = watch.as_mut()?;
            Some((watch.look(wall, passed), watch.waiting()))
        });
        let Some((Look { now, noticed }, waiting)) = look else {
            return (wall, None);
        };
        if let Some(step_ms) = noticed {
            tell(step_ms);
        }
        (now, waiting)
    }

    pub(crate) fn confirm(&self, wall: Timestamp) {
        let passed = self.passed();
        self.with(|watch| {
            if let Some(watch) = watch {
                watch.confirm(wall, passed);
            }
        });
    }

    fn passed(&self) -> u64 {
        let elapsed = self.began.get_or_init(Instant::now).elapsed();
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }

    fn with<T>(&self, of: impl FnOnce(&mut Option<StepWatch>) -> T) -> T {
        of(&mut self.watch.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn tell(step_ms: i64) {
    tracing::error!(
        step_ms,
        "the clock was set by more than five minutes: nothing is sealed, and the node goes by the time it had, until an administrator confirms the clock with `portcullis clock confirm`"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_772_366_400_000);
    const MINUTE: i64 = 60_000;

    fn at(millis: i64) -> Timestamp {
        START.plus_millis(millis)
    }

    fn begun() -> StepWatch {
        StepWatch::begin(START, 0, None)
    }

    #[test]
    fn a_step_over_five_minutes_is_refused_until_it_is_confirmed() {
        for step in [6 * MINUTE, -6 * MINUTE, 5 * MINUTE + 1] {
            let mut watch = begun();
            let seen = watch.look(at(1_000 + step), 1_000);
            assert_eq!((seen.now, seen.noticed), (at(1_000), Some(step)));
            let again = watch.look(at(2_000 + step), 2_000);
            assert_eq!((again.now, again.noticed), (at(2_000), None));
            assert_eq!(watch.waiting(), Some(step));
            watch.confirm(at(3_000 + step), 3_000);
            assert_eq!(watch.waiting(), None);
            let after = watch.look(at(4_000 + step), 4_000);
            assert_eq!((after.now, after.noticed), (at(4_000 + step), None));
        }
    }

    #[test]
    fn time_that_passes_and_what_ntp_corrects_is_no_step() {
        let mut watch = begun();
        let day = 24 * 60 * MINUTE;
        for wall in [day, day - 5 * MINUTE, day + 5 * MINUTE] {
            let seen = watch.look(at(wall), 86_400_000);
            assert_eq!((seen.now, seen.noticed), (at(wall), None));
        }
        assert_eq!(watch.waiting(), None);
    }

    #[test]
    fn many_small_steps_count_together() {
        let mut watch = begun();
        let steps = [2, 4, 6].map(|minutes| watch.look(at(minutes * MINUTE), 0).noticed);
        assert_eq!(steps, [None, None, Some(6 * MINUTE)]);
    }

    #[test]
    fn a_step_back_does_not_undo_one_that_waits() {
        let mut watch = begun();
        watch.look(at(60 * MINUTE), 0);
        let seen = watch.look(at(0), 0);
        assert_eq!((seen.now, seen.noticed), (at(0), None));
        assert!(watch.waiting().is_some(), "a person still looks at it");
    }

    #[test]
    fn a_clock_that_was_set_back_while_the_node_was_stopped_is_refused() {
        let known = at(10 * MINUTE);
        let mut watch = StepWatch::begin(START, 0, Some(known));
        assert_eq!(watch.waiting(), Some(-10 * MINUTE));
        assert_eq!(watch.look(at(1_000), 1_000).now, at(10 * MINUTE + 1_000));
        let recent = StepWatch::begin(START, 0, Some(at(5 * MINUTE)));
        assert_eq!(recent.waiting(), None);
    }
}

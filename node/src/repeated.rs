//! Log lines that come again and again: the first five in a minute are written, then one with the count.
//!
//! Strangers, peers and local users can cause a line as often as they like. The bound is in the log itself, so that it
//! holds for every line there is, whoever wrote the code. Lines have the same cause if the same place in the code wrote
//! them about the same peer; a stranger's address makes no cause of its own. Lines of level DEBUG and TRACE, which an
//! operator asked for, are not counted.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use portcullis_home::clock::{Clock, system_clock};
use portcullis_kernel::telling::{Telling, Untold};
use portcullis_protocol::time::Timestamp;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

/// Times in a minute that a line is written.
const MOST_LINES: u64 = 5;

/// Causes that are counted apart: lines of the code, for each peer.
const MOST_CAUSES: usize = 4_096;

/// Longest name of a peer that makes a cause, in bytes.
const LONGEST_PEER: usize = 64;

/// Target of the lines that tell of others, which are not counted.
const TARGET: &str = "portcullis_node::repeated";

/// Place in the code: file and line.
type Place = (&'static str, u32);

/// Place in the code, and the peer that the line is about; empty if it is about none.
type Cause = (Place, String);

/// Counts of the lines, and their texts.
struct Lines {
    told: Telling<Cause>,
    /// First text that each place wrote, for it to be known by.
    said: BTreeMap<Place, String>,
}

/// Lines of a log, counted by cause.
pub(crate) struct Repeated {
    clock: Clock,
    /// Counts; held for a moment only.
    lines: Mutex<Lines>,
}

impl Default for Repeated {
    fn default() -> Self {
        Self {
            clock: system_clock(),
            lines: Mutex::new(Lines {
                told: Telling::new(MOST_LINES, MOST_CAUSES),
                said: BTreeMap::new(),
            }),
        }
    }
}

impl Repeated {
    /// Writes a line for each cause whose minute is over and that had more lines than were written.
    pub(crate) fn tell(&self) {
        self.tell_at((self.clock)());
    }

    fn tell_at(&self, now: Timestamp) {
        let (Untold { causes, others }, said) = {
            let mut lines = self.lines();
            (lines.told.over(now), lines.said.clone())
        };
        for ((place, peer), more) in causes {
            let line = said.get(&place).map_or("", String::as_str);
            tracing::warn!(target: TARGET, more, peer, line, "more lines like this in a minute");
        }
        if others > 0 {
            tracing::warn!(target: TARGET, more = others, "more lines of too many kinds to count apart");
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Layer of the log that leaves out what [`Repeated`] has counted too often.
pub(crate) struct OncePerCause(pub(crate) Arc<Repeated>);

impl<S: Subscriber> Layer<S> for OncePerCause {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || metadata.target() == TARGET {
            return true;
        }
        let mut found = Found::default();
        event.record(&mut found);
        let place = (
            metadata.file().unwrap_or_default(),
            metadata.line().unwrap_or_default(),
        );
        let now = (self.0.clock)();
        let mut lines = self.0.lines();
        lines.said.entry(place).or_insert(found.message);
        lines.told.count((place, found.peer), now)
    }
}

/// Fields of a line that make its cause.
#[derive(Default)]
struct Found {
    message: String,
    peer: String,
}

impl Visit for Found {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "peer" => self.peer = format!("{value:?}").chars().take(LONGEST_PEER).collect(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_kernel::telling::MINUTE_MS;
    use portcullis_testbed::NOW;
    use tracing_subscriber::{fmt::layer, layer::SubscriberExt as _, registry};

    /// Writes to a log whose clock stands still, and tells of what was left out a minute later.
    fn written(write: impl Fn()) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let repeated = Arc::new(Repeated {
            clock: Arc::new(|| NOW),
            ..Repeated::default()
        });
        let lines = layer()
            .with_ansi(false)
            .with_writer(Arc::new(file.reopen().unwrap()));
        let log = registry()
            .with(lines)
            .with(OncePerCause(Arc::clone(&repeated)));
        tracing::subscriber::with_default(log, || {
            write();
            repeated.tell_at(NOW.plus_millis(MINUTE_MS));
        });
        std::fs::read_to_string(file.path()).unwrap()
    }

    /// Attack M5, #11: strangers' certificates wrote 6.7 GB a day, profiles of another schema 18.8 GB.
    #[test]
    fn what_strangers_cause_without_end_is_five_lines_and_a_count() {
        let log = written(|| {
            for number in 0..400 {
                tracing::warn!(address = number, reason = number, "peer refused {number}");
            }
        });
        assert_eq!(log.lines().count(), 6, "{log}");
        let last = log.lines().next_back().unwrap();
        assert!(
            last.contains("more=395") && last.contains("peer refused 0"),
            "{last}"
        );
    }

    #[test]
    fn one_peers_lines_leave_out_nobody_elses() {
        let log = written(|| {
            for number in 0..100 {
                let peer = if number % 10 == 0 { "quiet" } else { "loud" };
                if number < 50 || peer == "loud" {
                    tracing::warn!(peer = %peer, number, "a frame is refused");
                }
            }
        });
        let of = |peer: &str| log.lines().filter(|line| line.contains(peer)).count();
        assert_eq!((of("quiet"), of("loud")), (5, 6), "{log}");
        assert!(log.contains("more=85"), "{log}");
    }

    #[test]
    fn a_level_that_was_asked_for_is_written_whole() {
        let log = written(|| {
            for number in 0..100 {
                tracing::debug!(number, "detail");
            }
        });
        assert_eq!(log.lines().count(), 100);
    }
}

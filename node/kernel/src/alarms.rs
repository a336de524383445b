//! Alarms: signs that a member means to move this authority's scores. They stand in the status until
//! the node restarts, and each is remembered as an event when it is raised first.
//!
//! An alarm is no problem of health: whoever could raise one would otherwise make the node look ill.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
};

use portcullis_protocol::time::Timestamp;
use portcullis_store::{NodeEvent, Write, writer::Priority};

use crate::{Kernel, notice::Notice};

/// Most alarms that stand.
const MOST: usize = 1_000;

/// Kind of the events that remember alarms.
pub const EVENT: &str = "alarm";

/// A sign that a member means to move scores.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alarm {
    /// The reason, with the member or the record: an alarm with the same one is not raised again.
    pub of: String,
    /// The alarm in words, without bodies or selectors.
    pub what: String,
}

/// The alarms that stand.
#[derive(Debug, Default)]
pub struct Alarms {
    /// Guards the alarms by what they are of; locked for a moment only.
    standing: Mutex<BTreeMap<String, (Timestamp, String)>>,
}

impl Alarms {
    /// Lets an alarm stand. Returns whether it is new; beyond a thousand none is.
    fn stand(&self, alarm: &Alarm, at: Timestamp) -> bool {
        let mut standing = self.lock();
        let has_room = standing.len() < MOST;
        match standing.entry(alarm.of.clone()) {
            Entry::Vacant(place) if has_room => {
                place.insert((at, alarm.what.clone()));
                true
            }
            Entry::Vacant(_) | Entry::Occupied(_) => false,
        }
    }

    /// Returns the alarms in words with their times, the newest first.
    #[must_use]
    pub fn standing(&self) -> Vec<String> {
        let mut standing: Vec<(Timestamp, String)> = self.lock().values().cloned().collect();
        standing.sort_by(|left, right| right.cmp(left));
        let standing = standing.into_iter();
        standing.map(|(at, what)| format!("{at}: {what}")).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, (Timestamp, String)>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kernel {
    /// Raises alarms: those that do not stand yet are logged, told to listeners and remembered.
    pub async fn raise(&self, alarms: impl IntoIterator<Item = Alarm>) {
        let at = self.now();
        let new: Vec<Alarm> = alarms
            .into_iter()
            .filter(|alarm| self.alarms().stand(alarm, at))
            .collect();
        if new.is_empty() {
            return;
        }
        let mut events = Vec::with_capacity(new.len());
        for Alarm { of: _, what } in new {
            tracing::warn!(what, "alarm");
            events.push(Write::Event(NodeEvent {
                at,
                kind: EVENT.to_owned(),
                peer: None,
                detail: what.clone(),
            }));
            self.tell(Notice::Alarm { what, at });
        }
        if let Err(error) = self.commit(Priority::Bulk, events).await {
            tracing::error!(%error, "alarms are not remembered as events");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alarm(of: usize) -> Alarm {
        Alarm {
            of: of.to_string(),
            what: format!("alarm {of}"),
        }
    }

    #[test]
    fn an_alarm_is_new_once_and_the_newest_stands_first() {
        let alarms = Alarms::default();
        assert!(alarms.stand(&alarm(1), Timestamp::from_millis(1)));
        assert!(alarms.stand(&alarm(2), Timestamp::from_millis(2)));
        assert!(!alarms.stand(&alarm(1), Timestamp::from_millis(3)));
        let standing = alarms.standing();
        assert_eq!(standing.len(), 2);
        assert!(standing[0].ends_with("alarm 2"), "{standing:?}");
    }

    #[test]
    fn a_member_does_not_fill_memory_with_alarms() {
        let alarms = Alarms::default();
        let raised =
            (0..MOST + 5).filter(|of| alarms.stand(&alarm(*of), Timestamp::from_millis(0)));
        assert_eq!(raised.count(), MOST);
    }
}

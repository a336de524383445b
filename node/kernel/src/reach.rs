//! Signs of life of each peer, and why a peer cannot be reached.
//!
//! A peer is *heard* when anything comes from it, and *reached* when it took a connection of this
//! node. One that is heard and not reached still gets nothing.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use portcullis_peering::unreached::Unreached;
use portcullis_protocol::{identifiers::NodeId, time::Timestamp};

use super::Kernel;

/// Failed tries to reach a peer, since it was reached last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Time of the first of them.
    pub since: Timestamp,
    /// Reason of the latest.
    pub why: Unreached,
}

/// Signs of life of one peer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reach {
    /// Time of the latest sign of life since the start.
    pub heard: Option<Timestamp>,
    /// True if the peer was reached since the start, and no try failed since.
    pub reached: bool,
    /// Failed tries; `None` if the latest did not fail.
    pub trouble: Option<Trouble>,
}

/// A turn in the standing of a peer, which is told once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The first try failed.
    Lost,
    /// The peer is reached again.
    Found,
}

impl Reach {
    fn hear(&mut self, now: Timestamp) {
        self.heard = Some(self.heard.map_or(now, |before| before.max(now)));
    }

    fn reach(&mut self, now: Timestamp) -> Option<Turn> {
        self.hear(now);
        self.reached = true;
        self.trouble.take().map(|_| Turn::Found)
    }

    fn miss(&mut self, why: Unreached, now: Timestamp) -> Option<Turn> {
        self.reached = false;
        let turn = self.trouble.is_none().then_some(Turn::Lost);
        // A clock that was set back does not make the trouble begin in the future.
        let since = self.trouble.as_ref().map_or(now, |one| one.since.min(now));
        self.trouble = Some(Trouble { since, why });
        turn
    }
}

/// Signs of life by peer. Their number is that of the register's nodes.
#[derive(Debug, Default)]
pub(crate) struct Reaches(
    /// Held for a moment only.
    Mutex<BTreeMap<NodeId, Reach>>,
);

impl Reaches {
    fn with<T>(&self, peer: &NodeId, act: impl FnOnce(&mut Reach) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        act(all.entry(peer.clone()).or_default())
    }
}

impl Kernel {
    /// Notes that something came from a peer just now.
    pub fn heard_of(&self, peer: &NodeId) {
        let now = self.now();
        self.reaches.with(peer, |one| one.hear(now));
    }

    /// Notes that a peer took a connection of this node.
    pub fn reached(&self, peer: &NodeId) {
        let now = self.now();
        if self.reaches.with(peer, |one| one.reach(now)) == Some(Turn::Found) {
            tracing::info!(%peer, "a peer can be reached again");
        }
    }

    /// Notes that a peer was not reached.
    pub fn not_reached(&self, peer: &NodeId, why: Unreached) {
        let now = self.now();
        let (what, advice) = (why.to_string(), why.remedy());
        if self.reaches.with(peer, |one| one.miss(why, now)) == Some(Turn::Lost) {
            tracing::warn!(%peer, what, advice, "a peer cannot be reached");
        }
    }

    /// Returns the signs of life of a peer.
    #[must_use]
    pub fn reach(&self, peer: &NodeId) -> Reach {
        self.reaches.with(peer, |one| one.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_testbed::NOW;

    fn silent() -> Unreached {
        Unreached::Silent {
            limit: std::time::Duration::from_secs(10),
        }
    }

    /// Newcomer A12: an idle peer and a dead one looked alike.
    #[test]
    fn a_peer_is_lost_since_its_first_failed_try_and_for_the_reason_of_the_last() {
        let mut reach = Reach::default();
        let later = NOW.plus_millis(60_000);
        assert_eq!(reach.reach(NOW), None);
        assert_eq!(reach.miss(Unreached::BrokeOff, NOW), Some(Turn::Lost));
        assert_eq!(reach.miss(silent(), later), None);
        let trouble = reach.trouble.clone().unwrap();
        assert_eq!((trouble.since, trouble.why), (NOW, silent()));
        assert_eq!((reach.heard, reach.reached), (Some(NOW), false));
        assert_eq!(reach.reach(later), Some(Turn::Found));
        assert_eq!((reach.trouble, reach.heard), (None, Some(later)));
    }

    #[test]
    fn who_is_only_heard_is_not_reached() {
        let mut reach = Reach::default();
        reach.miss(silent(), NOW);
        reach.hear(NOW.plus_millis(5));
        assert!(reach.trouble.is_some() && !reach.reached);
        assert_eq!(reach.heard, Some(NOW.plus_millis(5)));
    }

    #[test]
    fn a_clock_that_was_set_back_puts_no_trouble_into_the_future() {
        let mut reach = Reach::default();
        reach.miss(silent(), NOW.plus_millis(3_600_000));
        reach.miss(silent(), NOW);
        assert_eq!(reach.trouble.unwrap().since, NOW);
    }
}

//! Hints of peers that answers are ready: each is heard, and no peer is heard too often.
//!
//! A hint has this node send again what the peer held. Who gives many is made to wait, and keeps
//! its own places for questions busy meanwhile ([`portcullis_peering::tally`]).

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use portcullis_protocol::identifiers::NodeId;
use tokio::time::Instant;

/// Shortest time between two hints of one peer.
const BETWEEN: Duration = Duration::from_secs(2);

/// Time of each peer's last hint; for a hint that waits, the time at which it will be heard.
#[derive(Debug, Default)]
pub(super) struct Hints(
    /// Held for a moment; bounded by the nodes of the register.
    Mutex<BTreeMap<NodeId, Instant>>,
);

impl Hints {
    /// Waits until a hint of this peer may be heard.
    pub(super) async fn wait(&self, peer: &NodeId) {
        let at = self.turn(peer, Instant::now());
        tokio::time::sleep_until(at).await;
    }

    fn turn(&self, peer: &NodeId, now: Instant) -> Instant {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = last.get(peer).map_or(now, |last| now.max(*last + BETWEEN));
        last.insert(peer.clone(), at);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hint_is_heard_and_none_within_two_seconds_of_another() {
        let (hints, now) = (Hints::default(), Instant::now());
        let (hub, antwerp) = ("hub".parse().unwrap(), "antwerp".parse().unwrap());
        let after = |peer, seconds| {
            let at = hints.turn(peer, now + Duration::from_secs(seconds));
            at.duration_since(now).as_secs()
        };
        assert_eq!(after(&hub, 0), 0);
        assert_eq!(after(&hub, 0), 2);
        assert_eq!(after(&hub, 1), 4);
        assert_eq!(after(&antwerp, 1), 1);
        assert_eq!(after(&hub, 9), 9);
    }
}

//! Bytes that each peer may be answered in a minute. A question of a hundred bytes can ask for a whole register.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use portcullis_kernel::telling::within_minute;
use portcullis_protocol::{gossip::MAX_ANSWER_BYTES, identifiers::NodeId, time::Timestamp};

/// Bytes of answers in a minute after which a peer has to wait: four of the largest.
const BYTES_A_MINUTE: usize = 4 * MAX_ANSWER_BYTES;

/// Bytes answered, by peer.
#[derive(Debug, Default)]
pub(super) struct Spending {
    /// Beginning of each peer's minute, and the bytes since; held for a moment only.
    of: Mutex<BTreeMap<NodeId, (Timestamp, usize)>>,
}

impl Spending {
    /// Returns true if the peer has been answered as much as it may be in this minute.
    pub(super) fn is_spent(&self, peer: &NodeId, now: Timestamp) -> bool {
        let of = self.lock();
        of.get(peer)
            .is_some_and(|(began, spent)| within_minute(*began, now) && *spent >= BYTES_A_MINUTE)
    }

    /// Counts an answer.
    pub(super) fn spend(&self, peer: &NodeId, bytes: usize, now: Timestamp) {
        let mut of = self.lock();
        of.retain(|_, (began, _)| within_minute(*began, now));
        let (_, spent) = of.entry(peer.clone()).or_insert((now, 0));
        *spent = spent.saturating_add(bytes);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, (Timestamp, usize)>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_kernel::telling::MINUTE_MS;
    use portcullis_testbed::NOW;

    /// Attack M1: 73 bytes asked for 7.9 MB, again and again.
    #[test]
    fn a_peer_that_asks_for_much_waits_for_the_next_minute_and_nobody_else_does() {
        let spending = Spending::default();
        let [greedy, other] = ["a", "b"].map(|name| name.parse::<NodeId>().unwrap());
        for _ in 0..4 {
            assert!(!spending.is_spent(&greedy, NOW));
            spending.spend(&greedy, MAX_ANSWER_BYTES, NOW);
        }
        assert!(spending.is_spent(&greedy, NOW.plus_millis(MINUTE_MS - 1)));
        assert!(!spending.is_spent(&other, NOW));
        let next = NOW.plus_millis(MINUTE_MS);
        assert!(!spending.is_spent(&greedy, next));
        spending.spend(&other, 1, next);
        assert_eq!(spending.lock().len(), 1);
    }
}

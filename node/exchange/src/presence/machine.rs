//! Schedule of probes: which peer to ask for a sign of life, and at what time. Pure.
//!
//! A peer with an open delivery stream is not asked. One that has none is asked every few minutes,
//! soon after a stream to it or from it has ended, and after a failure later and later. One probe at most begins
//! with each look, and few run at the same time, so that a large register never makes a burst. All
//! waits are counted by a clock that cannot be set.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_kernel::moment::Moment;
use portcullis_protocol::identifiers::NodeId;

/// Time between two probes of a peer that answers, in milliseconds.
pub const IDLE_MS: i64 = 5 * 60_000;
/// Wait after a stream has ended, and after a first failure, in milliseconds; doubled at each
/// further failure, up to [`IDLE_MS`].
pub const SOON_MS: i64 = 4_000;
/// Probes that run at the same time.
pub const AT_ONCE: usize = 4;

/// The peers at a look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peers {
    /// Every peer that may be asked.
    pub all: BTreeSet<NodeId>,
    /// Those to which there is a delivery stream.
    pub connected: BTreeSet<NodeId>,
    /// Those from which there is one.
    pub heard: BTreeSet<NodeId>,
}

#[derive(Debug, Clone)]
struct Peer {
    due: Moment,
    connected: bool,
    heard: bool,
    asked: bool,
    failures: u32,
}

/// Decides which peer to ask.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    peers: BTreeMap<NodeId, Peer>,
}

impl Machine {
    /// Looks at the peers and returns the one to ask now. `share` gives each peer its place in the
    /// spread of waits, in thousandths.
    pub fn look(
        &mut self,
        peers: &Peers,
        share: impl Fn(&NodeId) -> i64,
        now: Moment,
    ) -> Option<NodeId> {
        self.peers.retain(|peer, _| peers.all.contains(peer));
        for id in &peers.all {
            let peer = self.peers.entry(id.clone()).or_insert_with(|| Peer {
                // Dispatch connects at the start; a probe is for those that it did not reach.
                due: now.plus_millis(spread(SOON_MS, share(id))),
                connected: false,
                heard: false,
                asked: false,
                failures: 0,
            });
            let connected = peers.connected.contains(id);
            let heard = peers.heard.contains(id);
            if connected {
                peer.failures = 0;
            } else if peer.connected {
                peer.due = now.plus_millis(spread(SOON_MS, share(id)));
            } else if peer.heard && !heard {
                // A peer that comes and goes puts nothing off.
                peer.due = peer.due.min(now.plus_millis(spread(SOON_MS, share(id))));
            }
            peer.connected = connected;
            peer.heard = heard;
        }
        let asked = self.peers.values().filter(|peer| peer.asked).count();
        if asked >= AT_ONCE {
            return None;
        }
        let due = self
            .peers
            .iter_mut()
            .filter(|(_, peer)| !peer.connected && !peer.asked && peer.due.millis_since(now) <= 0);
        let (id, peer) = due.min_by_key(|(_, peer)| peer.due)?;
        peer.asked = true;
        Some(id.clone())
    }

    /// Takes the end of a probe.
    pub fn asked(&mut self, peer: &NodeId, answered: bool, share: i64, now: Moment) {
        let Some(peer) = self.peers.get_mut(peer) else {
            return;
        };
        peer.asked = false;
        let wait = if answered {
            peer.failures = 0;
            IDLE_MS
        } else {
            let doubled = 1_i64.checked_shl(peer.failures).unwrap_or(i64::MAX);
            peer.failures = peer.failures.saturating_add(1).min(32);
            SOON_MS.saturating_mul(doubled).min(IDLE_MS)
        };
        peer.due = now.plus_millis(spread(wait, share));
    }
}

/// Spreads a wait over three quarters to five quarters of it.
const fn spread(wait_ms: i64, share: i64) -> i64 {
    wait_ms.saturating_mul(750 + share / 2) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK_MS: i64 = 500;

    fn at(millis: i64) -> Moment {
        Moment::from_millis(millis)
    }

    fn names(count: usize) -> BTreeSet<NodeId> {
        (0..count)
            .map(|number| format!("node-{number}").parse().unwrap())
            .collect()
    }

    fn peers(count: usize, connected: usize) -> Peers {
        let all = names(count);
        Peers {
            connected: all.iter().take(connected).cloned().collect(),
            all,
            heard: BTreeSet::new(),
        }
    }

    fn share(peer: &NodeId) -> i64 {
        let number = peer.as_str().trim_start_matches("node-");
        number.parse::<i64>().unwrap() * 37 % 1_000
    }

    /// Runs for so long with answers that come after two seconds, and returns the times of the
    /// probes.
    fn probes(peers: &Peers, answer: bool, lasts_ms: i64) -> Vec<(i64, NodeId)> {
        let mut machine = Machine::default();
        let mut running: Vec<(i64, NodeId)> = Vec::new();
        let mut begun = Vec::new();
        for now in (0..lasts_ms).step_by(usize::try_from(LOOK_MS).unwrap()) {
            for (ends, peer) in std::mem::take(&mut running) {
                if ends <= now {
                    machine.asked(&peer, answer, share(&peer), at(now));
                } else {
                    running.push((ends, peer));
                }
            }
            if let Some(peer) = machine.look(peers, share, at(now)) {
                running.push((now + 2_000, peer.clone()));
                begun.push((now, peer));
            }
            assert!(running.len() <= AT_ONCE);
        }
        begun
    }

    /// Newcomer A12: a register of 200 of which all are dead makes no burst, and each is tried.
    #[test]
    fn a_large_register_is_asked_one_after_the_other_and_rarely() {
        for answer in [true, false] {
            let begun = probes(&peers(200, 0), answer, 3_600_000);
            for second in 0..3_600 {
                let within = |(at, _): &&(i64, NodeId)| at / 1_000 == second;
                assert!(begun.iter().filter(within).count() <= 2);
            }
            let asked: BTreeSet<&NodeId> = begun.iter().map(|(_, peer)| peer).collect();
            assert_eq!(asked.len(), 200);
            let late = begun.iter().filter(|(at, _)| *at >= 1_800_000).count();
            assert!((1_000..=1_700).contains(&late), "{late} in half an hour");
        }
    }

    #[test]
    fn a_peer_with_a_stream_is_not_asked_until_the_stream_ends() {
        assert_eq!(probes(&peers(3, 3), true, 3_600_000), []);
        let mut machine = Machine::default();
        assert_eq!(machine.look(&peers(1, 1), share, at(0)), None);
        assert_eq!(machine.look(&peers(1, 0), share, at(600_000)), None);
        let soon = at(600_000 + SOON_MS * 5 / 4);
        assert!(machine.look(&peers(1, 0), share, soon).is_some());
    }

    #[test]
    fn an_idle_peer_whose_own_stream_ends_is_asked_soon_and_not_later_for_coming_and_going() {
        let with = |heard: usize| Peers {
            heard: names(heard),
            ..peers(1, 0)
        };
        let mut machine = Machine::default();
        assert_eq!(machine.look(&with(1), share, at(0)), None);
        let first = machine.look(&with(1), share, at(SOON_MS * 2)).unwrap();
        machine.asked(&first, true, share(&first), at(SOON_MS * 2));
        assert_eq!(machine.look(&with(1), share, at(SOON_MS * 5)), None);
        // Nobody waits for the five minutes of an idle peer.
        let coming_and_going = (SOON_MS * 5..).step_by(1_000).take(3);
        for now in coming_and_going {
            assert_eq!(machine.look(&with(0), share, at(now)), None);
            assert_eq!(machine.look(&with(1), share, at(now)), None);
        }
        assert!(machine.look(&with(0), share, at(SOON_MS * 6)).is_some());
    }

    #[test]
    fn a_peer_that_fails_is_asked_later_and_later_and_at_last_as_often_as_an_idle_one() {
        let waits = |answer| {
            let begun = probes(&peers(1, 0), answer, 6 * 3_600_000);
            let times: Vec<i64> = begun.iter().map(|(at, _)| *at).collect();
            let waits = times.windows(2).map(|pair| pair[1] - pair[0]);
            waits.collect::<Vec<_>>()
        };
        let failing = waits(false);
        assert!(failing.is_sorted(), "{failing:?}");
        assert!(failing[0] <= 2 * SOON_MS);
        assert_eq!(failing.last(), waits(true).last());
    }

    #[test]
    fn a_peer_that_left_the_register_is_forgotten() {
        let mut machine = Machine::default();
        machine.look(&peers(2, 0), share, at(0));
        assert!(machine.look(&peers(0, 0), share, at(60_000)).is_none());
        machine.asked(&"node-1".parse().unwrap(), true, 0, at(60_001));
        assert!(machine.peers.is_empty());
    }
}

//! Schedule of comparisons: with which peers to compare channels, and at what time. Pure.
//!
//! A channel is compared as soon as possible after a new generation on either side, a while after a
//! repair, to see that it is well now, and once a day besides. A peer that does not answer is tried
//! again after longer and longer waits. Nobody can make a node compare without end: calls count
//! only at growing intervals. All waits are counted by a clock that cannot be set.

use std::collections::BTreeMap;

use portcullis_kernel::moment::Moment;
use portcullis_protocol::identifiers::NodeId;

/// Time until a channel that was found well is compared again, in milliseconds.
pub const DAY_MS: i64 = 24 * 3_600_000;
/// Time until a repaired channel is compared again, in milliseconds; doubled as long as there is
/// something to repair.
pub const AGAIN_MS: i64 = 60_000;
/// Shortest time between two comparisons that were called for, in milliseconds; doubled with each.
pub const PAUSE_MS: i64 = 2_000;
/// Number of peers that channels are compared with at the same time.
pub const AT_ONCE: usize = 2;
const FIRST_RETRY_MS: i64 = 1_000;
const LONGEST_RETRY_MS: i64 = 15 * 60_000;

/// Event for the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The other nodes of the federation, with the last comparison of each.
    Peers(BTreeMap<NodeId, Last>),
    /// This node started a new generation.
    Anew,
    /// The channel to this peer is to be compared.
    Called(NodeId),
    /// The channel to this peer was compared.
    Compared {
        /// The peer.
        peer: NodeId,
        /// Result of the comparison.
        end: End,
    },
    /// The channel to this peer could not be compared.
    Failed(NodeId),
    /// Time passed.
    Tick,
}

/// Last comparison of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Last {
    /// Milliseconds since the last comparison in the present generation; `None` if there was none
    /// yet, or if it lies in the future of a clock that has been set back.
    pub ago_ms: Option<u64>,
    /// Time beyond a day after which the channel is compared again, in milliseconds.
    pub spread_ms: i64,
}

/// Result of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Both sides agree.
    Level,
    /// Something was repaired.
    Repaired,
}

#[derive(Debug, Clone)]
struct Peer {
    due: Moment,
    spread_ms: i64,
    running: bool,
    /// True if a call came while a comparison ran.
    again: bool,
    ended: Option<Moment>,
    /// True if the next comparison was called for. `calls` counts those before it in a row.
    called: bool,
    calls: u32,
    failures: u32,
    repairs: u32,
}

impl Peer {
    fn new(last: Last, now: Moment) -> Self {
        let due = last.ago_ms.map_or(now, |ago| {
            let ago = i64::try_from(ago).unwrap_or(i64::MAX);
            now.plus_millis((DAY_MS + last.spread_ms).saturating_sub(ago))
        });
        Self {
            due,
            spread_ms: last.spread_ms,
            running: false,
            again: false,
            ended: None,
            called: false,
            calls: 0,
            failures: 0,
            repairs: 0,
        }
    }

    fn call(&mut self, now: Moment) {
        if self.running {
            self.again = true;
            return;
        }
        let pause = doubled(PAUSE_MS, self.calls, LONGEST_RETRY_MS);
        let soonest = self.ended.map_or(now, |at| at.plus_millis(pause));
        let at = now.max(soonest);
        if at < self.due {
            self.due = at;
            self.called = true;
        }
    }

    fn begin(&mut self) {
        self.running = true;
        self.calls = if std::mem::take(&mut self.called) {
            self.calls.saturating_add(1)
        } else {
            0
        };
    }

    fn end(&mut self, wait_ms: i64, now: Moment) {
        if !self.running {
            return;
        }
        self.running = false;
        self.ended = Some(now);
        self.due = now.plus_millis(wait_ms);
        if std::mem::take(&mut self.again) {
            self.call(now);
        }
    }
}

/// Doubles `first` as many times as given, up to `most`.
fn doubled(first: i64, times: u32, most: i64) -> i64 {
    let factor = 1_i64.checked_shl(times.min(40)).unwrap_or(i64::MAX);
    first.saturating_mul(factor).min(most)
}

/// Decides with which peers to compare.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    peers: BTreeMap<NodeId, Peer>,
}

impl Machine {
    /// Takes an event and returns the peers to compare with now.
    pub fn handle(&mut self, event: Event, now: Moment) -> Vec<NodeId> {
        match event {
            Event::Peers(peers) => {
                self.peers.retain(|peer, _| peers.contains_key(peer));
                for (peer, last) in peers {
                    let new = || Peer::new(last, now);
                    self.peers.entry(peer).or_insert_with(new);
                }
            }
            Event::Anew => self.peers.values_mut().for_each(|peer| peer.call(now)),
            Event::Called(peer) => self.with(&peer, |peer| peer.call(now)),
            Event::Compared { peer, end } => self.with(&peer, |peer| {
                peer.failures = 0;
                let wait = match end {
                    End::Level => {
                        peer.repairs = 0;
                        DAY_MS + peer.spread_ms
                    }
                    End::Repaired => {
                        let wait = doubled(AGAIN_MS, peer.repairs, DAY_MS);
                        peer.repairs = peer.repairs.saturating_add(1);
                        wait
                    }
                };
                peer.end(wait, now);
            }),
            Event::Failed(peer) => self.with(&peer, |peer| {
                let wait = doubled(FIRST_RETRY_MS, peer.failures, LONGEST_RETRY_MS);
                peer.failures = peer.failures.saturating_add(1);
                peer.end(wait, now);
            }),
            Event::Tick => {}
        }
        self.due(now)
    }

    /// Returns the time at which something is due without an event.
    #[must_use]
    pub fn wake_at(&self, now: Moment) -> Moment {
        let latest = now.plus_millis(LONGEST_RETRY_MS);
        let running = self.peers.values().filter(|peer| peer.running).count();
        if running >= AT_ONCE {
            return latest;
        }
        let waiting = self.peers.values().filter(|peer| !peer.running);
        let first = waiting.map(|peer| peer.due).min();
        first.map_or(latest, |due| due.min(latest))
    }

    fn with(&mut self, peer: &NodeId, change: impl FnOnce(&mut Peer)) {
        if let Some(found) = self.peers.get_mut(peer) {
            change(found);
        }
    }

    fn due(&mut self, now: Moment) -> Vec<NodeId> {
        let running = self.peers.values().filter(|peer| peer.running).count();
        let mut due: Vec<_> = self
            .peers
            .iter_mut()
            .filter(|(_, peer)| !peer.running && peer.due <= now)
            .collect();
        due.sort_by_key(|(_, peer)| peer.due);
        due.into_iter()
            .take(AT_ONCE.saturating_sub(running))
            .map(|(id, peer)| {
                peer.begin();
                id.clone()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment::from_millis(1_617_235_200_000);

    fn node(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn at(millis: i64) -> Moment {
        START.plus_millis(millis)
    }

    fn peers(names: &[(&str, Option<u64>)]) -> Event {
        let last = |ago_ms| Last {
            ago_ms,
            spread_ms: 7,
        };
        let peers = names.iter().map(|(name, ago)| (node(name), last(*ago)));
        Event::Peers(peers.collect())
    }

    fn compared(peer: &str, end: End) -> Event {
        let peer = node(peer);
        Event::Compared { peer, end }
    }

    #[test]
    fn a_peer_of_another_generation_is_compared_with_at_once_and_then_once_a_day() {
        let mut machine = Machine::default();
        let first = machine.handle(peers(&[("a", None), ("b", Some(0))]), START);
        assert_eq!(first, [node("a")]);
        assert_eq!(machine.handle(compared("a", End::Level), at(5)), []);
        assert_eq!(machine.handle(Event::Tick, at(DAY_MS + 6)), []);
        assert_eq!(machine.handle(Event::Tick, at(DAY_MS + 7)), [node("b")]);
        assert_eq!(machine.handle(Event::Tick, at(DAY_MS + 11)), []);
        assert_eq!(machine.handle(Event::Tick, at(DAY_MS + 12)), [node("a")]);
    }

    #[test]
    fn after_a_repair_it_is_looked_at_again_soon_and_then_ever_later() {
        let mut machine = Machine::default();
        machine.handle(peers(&[("a", None)]), START);
        let mut now = START;
        let mut waits = Vec::new();
        for _ in 0..14 {
            machine.handle(compared("a", End::Repaired), now);
            let since = now;
            while machine.handle(Event::Tick, now).is_empty() {
                now = machine.wake_at(now).max(now.plus_millis(1));
            }
            waits.push(now.millis_since(since));
        }
        assert_eq!(waits[..3], [60_000, 120_000, 240_000]);
        assert_eq!(waits[13], DAY_MS);
    }

    #[test]
    fn calls_without_end_do_not_make_it_compare_without_end() {
        let mut machine = Machine::default();
        machine.handle(peers(&[("a", None)]), START);
        let mut count = 0;
        for second in 0..60_i64 {
            let now = at(second * 1_000);
            for _ in 0..100 {
                if !machine.handle(Event::Called(node("a")), now).is_empty() {
                    count += 1;
                }
                machine.handle(compared("a", End::Level), now);
            }
        }
        // Comparisons begin after 2, 4, 8 and 16 seconds more. The next, 32 seconds later, is
        // beyond the minute.
        assert_eq!(count, 4);
    }

    #[test]
    fn a_call_while_it_runs_is_not_forgotten() {
        let mut machine = Machine::default();
        machine.handle(peers(&[("a", None)]), START);
        assert_eq!(machine.handle(Event::Anew, at(1)), []);
        assert_eq!(machine.handle(compared("a", End::Level), at(2)), []);
        assert_eq!(machine.handle(Event::Tick, at(2 + PAUSE_MS)), [node("a")]);
    }

    #[test]
    fn a_dead_peer_is_tried_ever_later_and_keeps_no_other_waiting() {
        let mut machine = Machine::default();
        let all = [("a", None), ("b", None), ("c", None)];
        let first = machine.handle(peers(&all), START);
        assert_eq!(first.len(), AT_ONCE);
        assert_eq!(machine.handle(Event::Failed(node("a")), at(1)), [node("c")]);
        for peer in ["b", "c"] {
            assert_eq!(machine.handle(compared(peer, End::Level), at(1)), []);
        }
        let (mut now, mut tries) = (at(1), 0);
        while now < at(DAY_MS) {
            for peer in machine.handle(Event::Tick, now) {
                tries += 1;
                assert_eq!(machine.handle(Event::Failed(peer), now), []);
            }
            now = machine.wake_at(now).max(now.plus_millis(1));
        }
        assert!((90..120).contains(&tries), "{tries}");
    }
}

//! Schedule of questions about trust: which members to ask, and at what time. Pure.
//!
//! A member is asked when it showed that it knows more, when it may not know yet what this node
//! knows, and in a slow rotation besides, so that a federation without traffic learns as well. A
//! member that says it knows more and does not show it is asked again after longer and longer
//! waits, as is one that does not answer. Nobody can make a node ask without end. All waits are
//! counted by a clock that cannot be set.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_kernel::moment::Moment;
use portcullis_protocol::identifiers::NodeId;

/// Time between two members of the rotation, in milliseconds.
pub const ROTATION_MS: i64 = 15 * 60_000;
/// Number of members asked at the same time.
pub const AT_ONCE: usize = 4;
/// Pause after a first failure, in milliseconds; doubled at each further one, up to the longest.
const FIRST_PAUSE_MS: i64 = 2_000;
const LONGEST_PAUSE_MS: i64 = ROTATION_MS;

/// Event for the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The other nodes of the federation's members.
    Peers(BTreeSet<NodeId>),
    /// This node knows something new.
    Changed,
    /// This peer seems to know more.
    Ahead(NodeId),
    /// This peer asked, and has what this node has.
    Level(NodeId),
    /// A peer answered.
    Answered {
        /// The peer.
        peer: NodeId,
        /// Gain from the answer.
        learnt: Learnt,
    },
    /// This peer did not answer, or its answer does not count.
    Failed(NodeId),
    /// Time passed.
    Tick,
}

/// Gain from an answer, compared with what the peer says it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learnt {
    /// This node learned something, and now has all that the peer says it has.
    All,
    /// This node learned nothing, and has all that the peer says it has.
    Level,
    /// This node learned something, and there is more.
    Some,
    /// This node learned nothing, though the peer says that it has more.
    Nothing,
}

#[derive(Debug, Clone)]
struct Peer {
    /// Knowledge of this node when the peer was last told, as a count of changes; 0 if it never
    /// was.
    told: u64,
    ahead: bool,
    /// The last question was asked because the peer seemed to know more.
    claimed: bool,
    in_turn: bool,
    /// Knowledge of this node when it asked, while it waits for the answer.
    asked: Option<u64>,
    failures: u32,
    not_before: Moment,
}

impl Peer {
    const fn new(now: Moment) -> Self {
        Self {
            told: 0,
            ahead: false,
            claimed: false,
            in_turn: false,
            asked: None,
            failures: 0,
            not_before: now,
        }
    }

    const fn wants(&self, known: u64) -> bool {
        self.asked.is_none() && (self.ahead || self.in_turn || self.told < known)
    }

    fn pause(&mut self, now: Moment) {
        let doubled = FIRST_PAUSE_MS.saturating_mul(1_i64.checked_shl(self.failures).unwrap_or(0));
        let pause = if doubled <= 0 {
            LONGEST_PAUSE_MS
        } else {
            doubled.min(LONGEST_PAUSE_MS)
        };
        self.failures = self.failures.saturating_add(1).min(32);
        self.not_before = now.plus_millis(pause);
    }
}

/// Decides which peers to ask.
#[derive(Debug, Clone)]
pub struct Machine {
    known: u64,
    peers: BTreeMap<NodeId, Peer>,
    /// The peer that the rotation came to last.
    turn: Option<NodeId>,
    next_turn: Moment,
}

impl Machine {
    /// Begins with the node's knowledge at its start. No peer has been told of it.
    #[must_use]
    pub const fn new(now: Moment) -> Self {
        Self {
            known: 1,
            peers: BTreeMap::new(),
            turn: None,
            next_turn: now.plus_millis(ROTATION_MS),
        }
    }

    /// Takes an event and returns the peers to ask now.
    pub fn handle(&mut self, event: Event, now: Moment) -> Vec<NodeId> {
        match event {
            Event::Peers(peers) => {
                self.peers.retain(|peer, _| peers.contains(peer));
                for peer in peers {
                    self.peers.entry(peer).or_insert_with(|| Peer::new(now));
                }
            }
            Event::Changed => self.known = self.known.saturating_add(1),
            Event::Ahead(peer) => self.with(&peer, |peer, _| peer.ahead = true),
            Event::Level(peer) => self.with(&peer, |peer, known| peer.told = known),
            Event::Answered { peer, learnt } => {
                self.with(&peer, |peer, _| answered(peer, learnt, now));
            }
            Event::Failed(peer) => self.with(&peer, |peer, _| {
                peer.asked = None;
                peer.pause(now);
            }),
            Event::Tick => {}
        }
        self.rotate(now);
        self.due(now)
    }

    /// Returns the time at which something is due without an event.
    #[must_use]
    pub fn wake_at(&self) -> Moment {
        self.peers
            .values()
            .filter(|peer| peer.wants(self.known))
            .map(|peer| peer.not_before)
            .chain([self.next_turn])
            .min()
            .unwrap_or(self.next_turn)
    }

    fn with(&mut self, peer: &NodeId, change: impl FnOnce(&mut Peer, u64)) {
        if let Some(found) = self.peers.get_mut(peer) {
            change(found, self.known);
        }
    }

    fn rotate(&mut self, now: Moment) {
        if self.next_turn.millis_since(now) > 0 {
            return;
        }
        self.next_turn = now.plus_millis(ROTATION_MS);
        let after = |id: &&NodeId| self.turn.as_ref().is_none_or(|turn| *id > turn);
        let next = self.peers.keys().find(after);
        let next = next.or_else(|| self.peers.keys().next()).cloned();
        if let Some(peer) = next.as_ref().and_then(|id| self.peers.get_mut(id)) {
            peer.in_turn = true;
        }
        self.turn = next;
    }

    fn due(&mut self, now: Moment) -> Vec<NodeId> {
        let waiting = self.peers.values().filter(|peer| peer.asked.is_some());
        let room = AT_ONCE.saturating_sub(waiting.count());
        let known = self.known;
        let mut due: Vec<_> = self
            .peers
            .iter_mut()
            .filter(|(_, peer)| peer.wants(known) && peer.not_before.millis_since(now) <= 0)
            .collect();
        // Peers that know more come first.
        due.sort_by_key(|(_, peer)| !peer.ahead);
        due.into_iter()
            .take(room)
            .map(|(id, peer)| {
                peer.asked = Some(known);
                peer.claimed = peer.ahead;
                id.clone()
            })
            .collect()
    }
}

fn answered(peer: &mut Peer, learnt: Learnt, now: Moment) {
    // A question says what this node has, so a peer that answers one has been told.
    if let Some(asked) = peer.asked.take() {
        peer.told = peer.told.max(asked);
    }
    peer.in_turn = false;
    peer.ahead = learnt == Learnt::Some;
    match learnt {
        // The peer claimed more than it shows, and may claim it again at once.
        Learnt::Level if peer.claimed => peer.pause(now),
        Learnt::Nothing => peer.pause(now),
        Learnt::All | Learnt::Some | Learnt::Level => {
            peer.failures = 0;
            peer.not_before = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment::from_millis(1_617_235_200_000);
    const HOUR: i64 = 3_600_000;

    fn node(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn at(millis: i64) -> Moment {
        START.plus_millis(millis)
    }

    /// Makes a machine that has these peers and has told all of them.
    fn told(names: &[&str]) -> Machine {
        let mut machine = Machine::new(START);
        let peers = names.iter().map(|name| node(name)).collect();
        let mut asked = machine.handle(Event::Peers(peers), START);
        while let Some(peer) = asked.pop() {
            let learnt = Learnt::All;
            asked.extend(machine.handle(Event::Answered { peer, learnt }, START));
        }
        machine
    }

    fn answered(peer: &str, learnt: Learnt) -> Event {
        Event::Answered {
            peer: node(peer),
            learnt,
        }
    }

    #[test]
    fn a_change_is_told_to_everyone_and_to_few_at_once() {
        let mut machine = told(&["a", "b", "c", "d", "e", "f"]);
        let first = machine.handle(Event::Changed, at(1));
        assert_eq!(first.len(), AT_ONCE);
        let mut all: BTreeSet<NodeId> = first.iter().cloned().collect();
        for peer in first {
            let learnt = Learnt::All;
            all.extend(machine.handle(Event::Answered { peer, learnt }, at(2)));
        }
        assert_eq!(all.len(), 6);
        for peer in ["e", "f"] {
            assert_eq!(machine.handle(answered(peer, Learnt::All), at(3)), []);
        }
    }

    #[test]
    fn who_asked_and_is_level_need_not_be_told() {
        let mut machine = told(&["a", "b"]);
        machine.known += 1;
        assert_eq!(machine.handle(Event::Level(node("a")), at(1)), [node("b")]);
    }

    #[test]
    fn a_change_while_an_answer_is_awaited_is_told_afterwards() {
        let mut machine = told(&["a"]);
        assert_eq!(machine.handle(Event::Changed, at(1)), [node("a")]);
        assert_eq!(machine.handle(Event::Changed, at(2)), []);
        let again = machine.handle(answered("a", Learnt::All), at(3));
        assert_eq!(again, [node("a")]);
        assert_eq!(machine.handle(answered("a", Learnt::All), at(4)), []);
    }

    #[test]
    fn who_knows_more_is_asked_until_all_is_here() {
        let mut machine = told(&["a", "b"]);
        let ahead = Event::Ahead(node("b"));
        assert_eq!(machine.handle(ahead.clone(), at(1)), [node("b")]);
        assert_eq!(machine.handle(ahead, at(1)), [], "it is being asked");
        let more = machine.handle(answered("b", Learnt::Some), at(2));
        assert_eq!(more, [node("b")]);
        assert_eq!(machine.handle(answered("b", Learnt::All), at(3)), []);
    }

    /// Counts the questions to a peer in a day, if each ends like this and the peer says at every
    /// moment that it knows more.
    fn asked_in_a_day(end: &Event) -> usize {
        let mut machine = told(&["a"]);
        let mut count = 0;
        let mut now = at(1);
        while now < at(24 * HOUR) {
            for _ in machine.handle(Event::Ahead(node("a")), now) {
                count += 1;
                assert_eq!(machine.handle(end.clone(), now), []);
            }
            assert_eq!(machine.handle(Event::Ahead(node("a")), now), []);
            now = machine.wake_at().max(now.plus_millis(1));
        }
        count
    }

    /// Attack L1: a claim of epoch 2^63 in the question and "level" in the answer made 19 connections a second.
    #[test]
    fn a_peer_that_promises_more_without_end_is_asked_ever_more_seldom() {
        for end in [
            answered("a", Learnt::Nothing),
            answered("a", Learnt::Level),
            Event::Failed(node("a")),
        ] {
            let count = asked_in_a_day(&end);
            assert!((90..130).contains(&count), "{count} questions");
        }
    }

    #[test]
    fn a_peer_that_claimed_nothing_and_is_level_is_told_at_once() {
        let mut machine = told(&["a"]);
        assert_eq!(machine.handle(Event::Changed, at(1)), [node("a")]);
        assert_eq!(machine.handle(answered("a", Learnt::Level), at(2)), []);
        assert_eq!(machine.handle(Event::Changed, at(3)), [node("a")]);
    }

    #[test]
    fn an_idle_node_asks_one_member_in_a_quarter_of_an_hour_in_rotation() {
        let mut machine = told(&["a", "b", "c"]);
        let mut order = Vec::new();
        let mut now = START;
        while order.len() < 6 {
            now = machine.wake_at();
            for peer in machine.handle(Event::Tick, now) {
                order.push(peer.to_string());
                let learnt = Learnt::All;
                machine.handle(Event::Answered { peer, learnt }, now);
            }
        }
        assert_eq!(order, ["a", "b", "c", "a", "b", "c"]);
        assert_eq!(now, at(6 * ROTATION_MS));
    }

    #[test]
    fn who_leaves_is_forgotten_and_who_joins_is_told() {
        let mut machine = told(&["a", "b"]);
        let peers = Event::Peers([node("b"), node("c")].into());
        assert_eq!(machine.handle(peers, at(1)), [node("c")]);
        assert_eq!(machine.handle(Event::Ahead(node("a")), at(2)), []);
    }

    #[test]
    fn a_dead_member_does_not_take_the_place_of_others() {
        let mut machine = told(&["a", "b", "c", "d", "e"]);
        let first = machine.handle(Event::Changed, at(1));
        assert!(!first.contains(&node("e")));
        let next = machine.handle(Event::Failed(node("a")), at(2));
        assert_eq!(next, [node("e")]);
    }
}

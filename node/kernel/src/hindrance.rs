//! Hindrances: parts of the work that are not done while the node itself works. Pure.
//!
//! A problem ([`crate::health`]) keeps the node from its work. A hindrance keeps it from a part of
//! it: from one peer, or before long from more. Whoever asks for the node's health hears of both, so
//! that nothing that does not work looks well.

use portcullis_protocol::{identifiers::NodeId, time::Timestamp};
use portcullis_store::{HELD_LIFE_MS, room::HELD_IN_TOTAL};

use crate::{
    gate::Closed,
    problem::{Problem, ProblemKind},
    skew::Skew,
};
use portcullis_peering::cut::Cut;

/// Time in milliseconds after which a peer that cannot be reached is a hindrance.
pub const UNREACHABLE_MS: i64 = 15 * 60_000;
/// Difference of two clocks that is a hindrance, in milliseconds.
pub const CLOCK_APART_MS: i64 = 60_000;
/// Time before the end of what waits for a person from which on it is a hindrance, in milliseconds.
const HELD_ENDS_MS: i64 = HELD_LIFE_MS / 6;
/// Peers that are named; more are counted.
const NAMED: usize = 5;

/// Facts about a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerFacts {
    /// The peer.
    pub node: NodeId,
    /// Reason for which nothing is released to it in the urgent lane.
    pub closed: Option<Closed>,
    /// Time since which it cannot be reached.
    pub unreachable_since: Option<Timestamp>,
    /// Offset of its clock.
    pub skew: Option<Skew>,
}

/// Facts about a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The other nodes of the federation.
    pub peers: Vec<PeerFacts>,
    /// True if release to everyone is stopped, or nobody is connected: a problem tells of it.
    pub all_closed: bool,
    /// Items that wait for a person.
    pub held: u64,
    /// Time at which the first of them is refused.
    pub held_end: Option<Timestamp>,
}

/// Returns the hindrances that the facts show.
#[must_use]
pub fn hindrances(facts: &Facts, now: Timestamp) -> Vec<Problem> {
    let closed = if facts.all_closed {
        Vec::new()
    } else {
        closed(&facts.peers)
    };
    closed
        .into_iter()
        .chain(unreachable(&facts.peers, now))
        .chain(clocks(&facts.peers))
        .chain(held(facts, now))
        .collect()
}

/// Names some of the peers for which something holds, and counts the others; `None` if there are
/// none.
fn named<'a>(peers: impl IntoIterator<Item = &'a PeerFacts>) -> Option<String> {
    let names: Vec<String> = peers
        .into_iter()
        .map(|peer| format!("`{}`", peer.node))
        .collect();
    let shown = names.get(..NAMED).unwrap_or(&names).join(", ");
    match names.len().saturating_sub(NAMED) {
        _ if names.is_empty() => None,
        0 => Some(shown),
        more => Some(format!("{shown} and {more} more")),
    }
}

fn closed(peers: &[PeerFacts]) -> Vec<Problem> {
    let of = |holds: fn(&Closed) -> bool| {
        let those = peers
            .iter()
            .filter(|peer| peer.closed.as_ref().is_some_and(holds));
        named(those)
    };
    let blocked = of(|closed| matches!(closed, Closed::Cut(Cut::Blocked)));
    let suspended = of(|closed| matches!(closed, Closed::Cut(Cut::Suspended(_))));
    let stopped = of(|closed| matches!(closed, Closed::Stopped));
    [
        blocked.map(|peers| Problem {
            kind: ProblemKind::PeerClosed,
            what: format!("blocked here, nothing goes to or comes from: {peers}"),
            remedy: "`portcullis peer unblock NODE`, once the block is no longer meant",
        }),
        suspended.map(|peers| Problem {
            kind: ProblemKind::PeerClosed,
            what: format!("suspended, nothing goes to or comes from: {peers}"),
            remedy: "a suspension ends by itself; ask the governance about it",
        }),
        stopped.map(|peers| Problem {
            kind: ProblemKind::PeerClosed,
            what: format!("release is stopped, nothing goes to: {peers}"),
            remedy: "`portcullis release resume NODE`, once the stop is no longer meant",
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn unreachable(peers: &[PeerFacts], now: Timestamp) -> Option<Problem> {
    let long = |peer: &&PeerFacts| {
        let since = peer.unreachable_since;
        peer.closed.is_none()
            && since.is_some_and(|since| now.millis_since(since) >= UNREACHABLE_MS)
    };
    let what = named(peers.iter().filter(long))?;
    Some(Problem {
        kind: ProblemKind::PeerUnreachable,
        what: format!(
            "not reached for {} minutes or longer: {what}",
            UNREACHABLE_MS / 60_000
        ),
        remedy: "`portcullis peer list` says why, and what to do",
    })
}

/// Returns the lead of a peer's clock in milliseconds, if it is far beyond what the measurement may
/// be wrong by.
fn apart(peer: &PeerFacts) -> Option<i64> {
    let skew = peer.skew?;
    let apart = skew.ahead_ms.saturating_abs();
    (apart > skew.error_ms.saturating_add(CLOCK_APART_MS)).then_some(skew.ahead_ms)
}

/// Returns the hindrance of clocks that differ. If more than half of those that were measured, and
/// two at least, differ the same way, it is this node's own clock that is suspected.
fn clocks(peers: &[PeerFacts]) -> Option<Problem> {
    let measured = peers.iter().filter(|peer| peer.skew.is_some()).count();
    for (way, differs) in [
        ("behind", (|ahead| ahead > 0) as fn(i64) -> bool),
        ("ahead of", |ahead| ahead < 0),
    ] {
        let those = peers.iter().filter(|peer| apart(peer).is_some_and(differs));
        let count = those.count();
        if count >= 2 && count * 2 > measured {
            return Some(Problem {
                kind: ProblemKind::ClockApart,
                what: format!(
                    "this node's clock is {way} those of {count} of {measured} peers by more than a minute"
                ),
                remedy: "compare it with a source that you trust, and keep it set with NTP",
            });
        }
    }
    let what = named(peers.iter().filter(|peer| apart(peer).is_some()))?;
    Some(Problem {
        kind: ProblemKind::ClockApart,
        what: format!("clocks that differ from this node's by more than a minute: {what}"),
        remedy: "`portcullis peer list` shows by how much; compare both with a source that you trust",
    })
}

fn held(facts: &Facts, now: Timestamp) -> impl Iterator<Item = Problem> + use<> {
    let items = facts.held;
    let near = items >= HELD_IN_TOTAL.items / 4 * 3;
    let full = near.then(|| Problem {
        kind: ProblemKind::Held,
        what: format!(
            "{items} items wait for a person, of {} that may: bulk is refused for now beyond that",
            HELD_IN_TOTAL.items
        ),
        remedy: "decide on them: `portcullis hold list`",
    });
    let soon = |end: &Timestamp| end.millis_since(now) < HELD_ENDS_MS;
    let ends = facts.held_end.filter(soon).map(|end| Problem {
        kind: ProblemKind::Held,
        what: format!("what waits for a person longest is refused at {end}"),
        remedy: "decide on it before: `portcullis hold list`",
    });
    full.into_iter().chain(ends)
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_testbed::NOW;

    fn peer(node: &str) -> PeerFacts {
        PeerFacts {
            node: node.parse().unwrap(),
            closed: None,
            unreachable_since: None,
            skew: None,
        }
    }

    fn ahead(node: &str, ahead_ms: i64) -> PeerFacts {
        let skew = Skew {
            ahead_ms,
            error_ms: 5,
            at: NOW,
        };
        PeerFacts {
            skew: Some(skew),
            ..peer(node)
        }
    }

    fn of(peers: Vec<PeerFacts>) -> Vec<String> {
        let facts = Facts {
            peers,
            ..Facts::default()
        };
        let found = hindrances(&facts, NOW).into_iter();
        found.map(|one| one.what).collect()
    }

    /// Newcomer B15: with release stopped to a peer, or a peer blocked, everything said ok.
    #[test]
    fn what_is_closed_to_a_peer_is_a_hindrance_unless_it_is_closed_to_all() {
        let closed = |node, why| PeerFacts {
            closed: Some(why),
            ..peer(node)
        };
        let peers = vec![
            closed("hague", Closed::Cut(Cut::Blocked)),
            closed("antwerp", Closed::Stopped),
            closed("ghent", Closed::Cut(Cut::Suspended(NOW))),
            peer("hub"),
        ];
        let told = of(peers.clone());
        assert_eq!(told.len(), 3, "{told:?}");
        for (line, node) in told.iter().zip(["hague", "ghent", "antwerp"]) {
            assert!(line.ends_with(&format!(": `{node}`")), "{line}");
        }
        let all = Facts {
            peers,
            all_closed: true,
            ..Facts::default()
        };
        assert_eq!(hindrances(&all, NOW), []);
    }

    /// Newcomer A12: nothing told that a peer was gone until an alert had to be sent.
    #[test]
    fn a_peer_that_is_not_reached_for_long_is_a_hindrance_and_many_are_counted() {
        let lost = |node: &str, minutes: i64| PeerFacts {
            unreachable_since: Some(NOW.plus_millis(-minutes * 60_000)),
            ..peer(node)
        };
        assert_eq!(of(vec![lost("hague", 14)]), Vec::<String>::new());
        let told = of(vec![lost("hague", 15), lost("hub", 1)]);
        assert_eq!(told, ["not reached for 15 minutes or longer: `hague`"]);
        let many = (0..9).map(|number| lost(&format!("node-{number}"), 60));
        let told = of(many.collect());
        assert!(told[0].ends_with("`node-4` and 4 more"), "{told:?}");
        let blocked = PeerFacts {
            closed: Some(Closed::Cut(Cut::Blocked)),
            ..lost("hague", 60)
        };
        assert_eq!(of(vec![blocked]).len(), 1, "a block says it already");
    }

    /// Newcomer B14: a node that was started two hours ahead told nobody.
    #[test]
    fn a_clock_that_differs_from_most_is_this_nodes_own() {
        const HOUR: i64 = 3_600_000;
        let told = of(vec![
            ahead("hague", -2 * HOUR),
            ahead("antwerp", -2 * HOUR),
            ahead("hub", 3),
        ]);
        let own = "this node's clock is ahead of those of 2 of 3 peers by more than a minute";
        assert_eq!(told, [own]);
        let told = of(vec![ahead("hague", HOUR), ahead("antwerp", HOUR)]);
        assert!(
            told[0].starts_with("this node's clock is behind"),
            "{told:?}"
        );
        let told = of(vec![ahead("hague", HOUR), ahead("antwerp", 0)]);
        assert!(told[0].ends_with(": `hague`"), "{told:?}");
        assert_eq!(of(vec![ahead("hague", 60_005)]), Vec::<String>::new());
    }

    #[test]
    fn what_waits_is_a_hindrance_before_there_is_no_room_and_before_it_lapses() {
        let held = |held, left: Option<i64>| {
            let facts = Facts {
                held,
                held_end: left.map(|left| NOW.plus_millis(left)),
                ..Facts::default()
            };
            hindrances(&facts, NOW).len()
        };
        assert_eq!(held(100, Some(HELD_LIFE_MS)), 0);
        assert_eq!(held(HELD_IN_TOTAL.items - 1, Some(HELD_LIFE_MS)), 1);
        assert_eq!(held(1, Some(HELD_ENDS_MS - 1)), 1);
        assert_eq!(held(0, None), 0);
    }
}

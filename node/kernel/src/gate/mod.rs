//! Gates: what is closed to whom, beside what policy decides, and why.
//!
//! ```text
//! block (an administrator) ─┐
//! suspension (a governance key) ─┤─▶ Gates ─▶ connections cut, drivers stopped, items refused for now
//! release stop (a person) ─┤
//! shut (what decides at this node is not what was accepted) ─┤
//! freshness of the register ─┘
//! ```
//!
//! A gate only ever closes. What waits behind a closed one is neither denied nor lost: cursors
//! stay where they are, and refusals are temporary. [`Gates`] is pure; [`state`] keeps what it is
//! computed from, durably, and [`crate::gate_schedule`] computes it anew when time or the register moves on.

pub(crate) mod keeper;
pub mod state;

use portcullis_peering::cut::Cut;
use std::collections::{BTreeMap, BTreeSet};

use portcullis_protocol::{
    frame::Lane,
    freshness::Stage,
    identifiers::{AuthorityId, NodeId},
    register::Register,
    time::Timestamp,
};

/// Reason for which nothing is released to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// There is no connection with the node.
    Cut(Cut),
    /// A person stopped release to the node, or to all.
    Stopped,
    /// For too long no statement has said that the register is the newest, so bulk records wait.
    /// The time is the end of its freshness.
    Stale(Timestamp),
}

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cut(cut) => cut.fmt(f),
            Self::Stopped => f.write_str("release stopped here"),
            Self::Stale(until) => write!(f, "bulk stopped: register not fresh since {until}"),
        }
    }
}

/// Receivers to which release is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stops {
    /// True if release is stopped to every node.
    pub all: bool,
    /// Nodes to which release is stopped besides.
    pub peers: BTreeSet<NodeId>,
}

/// Closures that are in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gates {
    /// Blocked nodes.
    pub blocked: BTreeSet<NodeId>,
    /// Receivers to which release is stopped.
    pub stops: Stops,
    /// Suspended authorities, with the end of each suspension.
    pub suspended: BTreeMap<AuthorityId, Timestamp>,
    /// Freshness of the register.
    pub stage: Stage,
    /// True if there is no connection with anybody ([`crate::acceptance`]).
    pub shut: bool,
}

impl Default for Gates {
    /// Makes gates that close nothing.
    fn default() -> Self {
        Self {
            blocked: BTreeSet::new(),
            stops: Stops::default(),
            suspended: BTreeMap::new(),
            stage: Stage::Unused,
            shut: false,
        }
    }
}

impl Gates {
    /// Returns the reason for which there is no connection with this node; `None` if there may be
    /// one.
    #[must_use]
    pub fn cut(&self, authority: &AuthorityId, node: &NodeId) -> Option<Cut> {
        if self.shut {
            return Some(Cut::Shut);
        }
        if self.blocked.contains(node) {
            return Some(Cut::Blocked);
        }
        self.suspended.get(authority).copied().map(Cut::Suspended)
    }

    /// Returns the reason for which nothing is released to this node in this lane; `None` if
    /// release is open.
    #[must_use]
    pub fn closed(&self, authority: &AuthorityId, node: &NodeId, lane: Lane) -> Option<Closed> {
        if let Some(cut) = self.cut(authority, node) {
            return Some(Closed::Cut(cut));
        }
        if self.stops.all || self.stops.peers.contains(node) {
            return Some(Closed::Stopped);
        }
        match (lane, self.stage) {
            (Lane::Bulk, Stage::BulkStopped(until)) => Some(Closed::Stale(until)),
            (
                Lane::Urgent | Lane::Bulk,
                Stage::Unused
                | Stage::Fresh(_)
                | Stage::Ending(_)
                | Stage::Stale(_)
                | Stage::BulkStopped(_),
            ) => None,
        }
    }

    /// Lists the nodes of the register that are cut off, with the reason.
    #[must_use]
    pub fn cuts(&self, register: &Register) -> BTreeMap<NodeId, Cut> {
        register
            .nodes()
            .filter_map(|(authority, node)| {
                let cut = self.cut(&authority.id, &node.id)?;
                Some((node.id.clone(), cut))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNTIL: Timestamp = Timestamp::from_millis(1_617_235_200_000);

    fn closed(gates: &Gates, node: &str) -> [Option<Closed>; 2] {
        let authority = node.parse().unwrap();
        let node = format!("{node}-1").parse().unwrap();
        [Lane::Urgent, Lane::Bulk].map(|lane| gates.closed(&authority, &node, lane))
    }

    #[test]
    fn nothing_is_closed_unless_something_closes_it() {
        assert_eq!(closed(&Gates::default(), "antwerp"), [None, None]);
    }

    #[test]
    fn tl_03_a_block_closes_one_node_and_its_connections() {
        let gates = Gates {
            blocked: ["antwerp-1".parse().unwrap()].into(),
            ..Gates::default()
        };
        let cut = Some(Closed::Cut(Cut::Blocked));
        assert_eq!(closed(&gates, "antwerp"), [cut.clone(), cut]);
        assert_eq!(closed(&gates, "hub"), [None, None]);
    }

    /// Attack H1.
    #[test]
    fn a_shut_node_has_no_connection_with_anybody() {
        let gates = Gates {
            shut: true,
            ..Gates::default()
        };
        let cut = Some(Closed::Cut(Cut::Shut));
        for node in ["antwerp", "hub"] {
            assert_eq!(closed(&gates, node), [cut.clone(), cut.clone()]);
        }
        let register = portcullis_testbed::register();
        let nodes = register.register().nodes().count();
        assert_eq!(gates.cuts(register.register()).len(), nodes);
    }

    #[test]
    fn su_06_a_suspension_closes_every_node_of_the_authority() {
        let gates = Gates {
            suspended: [("antwerp".parse().unwrap(), UNTIL)].into(),
            ..Gates::default()
        };
        let suspended = Cut::Suspended(UNTIL);
        assert_eq!(suspended.rule().id(), "SU-06");
        let cut = Some(Closed::Cut(suspended.clone()));
        assert_eq!(closed(&gates, "antwerp"), [cut.clone(), cut]);
        let register = portcullis_testbed::register();
        let cuts = gates.cuts(register.register());
        assert_eq!(cuts, [("antwerp-1".parse().unwrap(), suspended)].into());
    }

    #[test]
    fn a_stop_closes_release_and_no_connection() {
        let one = Gates {
            stops: Stops {
                all: false,
                peers: ["antwerp-1".parse().unwrap()].into(),
            },
            ..Gates::default()
        };
        let stopped = Some(Closed::Stopped);
        assert_eq!(closed(&one, "antwerp"), [stopped.clone(), stopped.clone()]);
        assert_eq!(closed(&one, "hub"), [None, None]);
        let all = Gates {
            stops: Stops {
                all: true,
                peers: BTreeSet::new(),
            },
            ..Gates::default()
        };
        assert_eq!(closed(&all, "hub"), [stopped.clone(), stopped]);
        assert!(
            all.cuts(portcullis_testbed::register().register())
                .is_empty()
        );
    }

    #[test]
    fn a_register_that_is_not_fresh_for_long_stops_bulk_alone() {
        for (stage, bulk) in [
            (Stage::Fresh(UNTIL), None),
            (Stage::Ending(UNTIL), None),
            (Stage::Stale(UNTIL), None),
            (Stage::BulkStopped(UNTIL), Some(Closed::Stale(UNTIL))),
        ] {
            let gates = Gates {
                stage,
                ..Gates::default()
            };
            assert_eq!(closed(&gates, "hub"), [None, bulk], "{stage:?}");
        }
    }
}

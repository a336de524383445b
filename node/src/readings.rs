//! Readings: what a node measures of itself at one moment, for `/metrics`.
//!
//! They say for each peer of the register how it stands, and name nobody else. Ages are counted by
//! the time that the node believes, so that a clock that was set does not make a backup young.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use portcullis_exchange::dispatch::plan::relays;
use portcullis_kernel::{
    Kernel, PeerHealth,
    connected::Way,
    disk::Space,
    gate::Closed,
    health::{self, Health, ProblemKind},
    reach::Reach,
    skew::Skew,
};
use portcullis_peering::cut::Cut;
use portcullis_protocol::{
    frame::Lane,
    freshness::Stage,
    identifiers::{AuthorityId, NodeId},
    time::Timestamp,
};
use portcullis_store::{Relay, StoreError, apart, writer::Priority};

/// Longest wait for what the store says.
const PATIENCE: Duration = Duration::from_secs(5);

/// Standing of a peer, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerState {
    /// It takes deliveries.
    Connected,
    /// It answers, and nothing is on its way.
    Reachable,
    /// It was not tried since the start.
    Untried,
    /// The latest try did not reach it.
    Unreachable,
    /// It takes nothing from this node.
    Refuses,
    /// A person stopped release to it.
    Stopped,
    /// An administrator blocked it.
    Blocked,
    /// The governance suspended it.
    Suspended,
    /// This node is shut.
    Shut,
}

impl PeerState {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Connected,
        Self::Reachable,
        Self::Untried,
        Self::Unreachable,
        Self::Refuses,
        Self::Stopped,
        Self::Blocked,
        Self::Suspended,
        Self::Shut,
    ];

    /// Returns the name, as metrics have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Reachable => "reachable",
            Self::Untried => "untried",
            Self::Unreachable => "unreachable",
            Self::Refuses => "refuses",
            Self::Stopped => "stopped",
            Self::Blocked => "blocked",
            Self::Suspended => "suspended",
            Self::Shut => "shut",
        }
    }

    /// Returns the state that these facts show: what a person or the peer closed comes first, because
    /// nothing else matters then.
    fn of(closed: Option<&Closed>, refuses: bool, connected: bool, reach: &Reach) -> Self {
        match closed {
            Some(Closed::Cut(Cut::Blocked)) => Self::Blocked,
            Some(Closed::Cut(Cut::Suspended(_))) => Self::Suspended,
            Some(Closed::Cut(Cut::Shut)) => Self::Shut,
            Some(Closed::Stopped) => Self::Stopped,
            // A stale register closes bulk alone and is told of once, for all peers.
            Some(Closed::Stale(_)) | None if refuses => Self::Refuses,
            Some(Closed::Stale(_)) | None if connected => Self::Connected,
            Some(Closed::Stale(_)) | None if reach.trouble.is_some() => Self::Unreachable,
            Some(Closed::Stale(_)) | None if reach.reached => Self::Reachable,
            Some(Closed::Stale(_)) | None => Self::Untried,
        }
    }
}

/// Readings of one peer, without what the store knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerReadings {
    /// The peer.
    pub node: NodeId,
    /// Its authority.
    pub authority: AuthorityId,
    /// Its standing.
    pub state: PeerState,
    /// Time of its last receipt since the start.
    pub last_receipt: Option<Timestamp>,
    /// Time of its latest sign of life since the start.
    pub last_heard: Option<Timestamp>,
    /// Time since which it cannot be reached.
    pub unreachable_since: Option<Timestamp>,
    /// Offset of its clock.
    pub skew: Option<Skew>,
}

/// Records that wait for one peer in one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Behind {
    /// Records of the log that are not dealt with.
    pub records: u64,
    /// Time since which the oldest of them waits.
    pub since: Option<Timestamp>,
    /// Records that wait for another try.
    pub retried: u64,
}

/// Answers of the store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    /// Records that wait, by peer and lane.
    pub behind: BTreeMap<(NodeId, Lane), Behind>,
    /// Items that wait for a person.
    pub held: u64,
    /// Time of arrival of the oldest of them.
    pub held_since: Option<Timestamp>,
    /// Items that failed verification.
    pub quarantined: u64,
    /// Newest number of the record log.
    pub log_end: u64,
    /// Bytes of the store's files.
    pub bytes: Option<u64>,
}

/// Jobs that wait for the store's writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// The queue.
    pub priority: Priority,
    /// Jobs that wait.
    pub jobs: usize,
    /// Its places.
    pub places: usize,
}

/// Readings of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readings {
    /// Time of the readings, as the node believes it.
    pub now: Timestamp,
    /// Epoch of the register in force.
    pub register_epoch: u64,
    /// Freshness of the register.
    pub freshness: Stage,
    /// Health of the node.
    pub health: Health,
    /// Step of the clock, in milliseconds, that nobody has confirmed.
    pub clock_step_ms: Option<i64>,
    /// Time of the latest backup.
    pub last_backup: Option<Timestamp>,
    /// End of the latest check of everything that is kept, since the start.
    pub scrubbed: Option<Timestamp>,
    /// Free space of the disk.
    pub space: Option<Space>,
    /// Things that are set aside.
    pub set_aside: usize,
    /// Alarms that stand.
    pub alarms: usize,
    /// Queues of the writer.
    pub queues: Vec<Queue>,
    /// The other nodes of the register.
    pub peers: Vec<PeerReadings>,
    /// Answers of the store; `None` if it does not answer.
    pub kept: Option<Kept>,
}

impl Readings {
    /// Takes the readings. A store that does not answer in time is left out, and a problem of health.
    pub async fn taken(kernel: &Arc<Kernel>) -> Self {
        let asked = Arc::clone(kernel);
        let asking = apart::spawn(move || kept(&asked));
        let kept = match tokio::time::timeout(PATIENCE, asking).await {
            Ok(Ok(Ok(kept))) => Some(kept),
            Ok(Ok(Err(error))) => {
                tracing::warn!(%error, "the store does not say what waits");
                None
            }
            Ok(Err(_)) | Err(_) => None,
        };
        let health = health::health_apart(kernel).await;
        Self::of(kernel, health, kept)
    }

    fn of(kernel: &Kernel, health: Health, kept: Option<Kept>) -> Self {
        let queue = |priority| {
            let (jobs, places) = kernel.writer().waiting(priority);
            Queue {
                priority,
                jobs,
                places,
            }
        };
        Self {
            now: kernel.now(),
            register_epoch: kernel.decider().register().epoch,
            freshness: kernel.gates().stage,
            health,
            clock_step_ms: kernel.clock_step(),
            last_backup: kernel.last_backup(),
            scrubbed: kernel.scrubbed().map(|last| last.at),
            space: kernel.space(),
            set_aside: kernel
                .set_aside()
                .count()
                .saturating_add(kernel.store().damaged().len()),
            alarms: kernel.alarms().standing().len(),
            queues: Priority::ALL.into_iter().map(queue).collect(),
            peers: peers(kernel),
            kept,
        }
    }

    /// Returns the kinds of the problems and of the hindrances.
    pub(crate) fn kinds(&self) -> [(&'static str, Vec<ProblemKind>); 2] {
        let of = |problems: &[health::Problem]| problems.iter().map(|one| one.kind).collect();
        [
            ("problem", of(&self.health.problems)),
            ("hindrance", of(&self.health.hindrances)),
        ]
    }
}

fn peers(kernel: &Kernel) -> Vec<PeerReadings> {
    let (decider, me) = (kernel.decider(), kernel.me());
    let health = kernel.peer_health();
    let others = decider
        .register()
        .nodes()
        .filter(|(_, node)| node.id != me.node);
    others
        .map(|(authority, node)| {
            let reach = kernel.reach(&node.id);
            let PeerHealth {
                last_receipt,
                failure: _,
                skew,
                stopped,
            } = health.get(&node.id).cloned().unwrap_or_default();
            let closed = kernel.closed(&node.id, Lane::Urgent);
            let connected = kernel.connected_since(&node.id, Way::ToPeer).is_some();
            PeerReadings {
                state: PeerState::of(closed.as_ref(), stopped.is_some(), connected, &reach),
                node: node.id.clone(),
                authority: authority.id.clone(),
                last_receipt,
                last_heard: reach.heard,
                unreachable_since: reach.trouble.map(|one| one.since),
                skew,
            }
        })
        .collect()
}

fn kept(kernel: &Kernel) -> Result<Kept, StoreError> {
    let store = kernel.store();
    let aside = store.aside()?;
    let oldest = store.held_keys(None, 1)?;
    Ok(Kept {
        behind: behind(kernel)?,
        held: aside.held,
        held_since: oldest.first().map(|item| item.at),
        quarantined: aside.quarantined,
        log_end: store.log_end()?,
        bytes: kernel.disk().used().ok(),
    })
}

/// Returns what waits for each peer. Peers that are equally far are counted once.
fn behind(kernel: &Kernel) -> Result<BTreeMap<(NodeId, Lane), Behind>, StoreError> {
    let (decider, me, store) = (kernel.decider(), kernel.me(), kernel.store());
    let register = decider.register();
    let own = register.authorities.get(&me.authority);
    let relay = own.map_or(Relay::OwnOnly, |own| relays(own.kind));
    let exceptions = store.exceptions(kernel.now())?;
    let mut counted: BTreeMap<(Lane, u64), (u64, Option<Timestamp>)> = BTreeMap::new();
    let mut all = BTreeMap::new();
    for (_, node) in register.nodes().filter(|(_, node)| node.id != me.node) {
        for lane in [Lane::Urgent, Lane::Bulk] {
            let cursor = store.position(&node.id, lane)?.cursor;
            let (records, since) = if let Some(known) = counted.get(&(lane, cursor)) {
                *known
            } else {
                let found = (
                    store.behind(lane, relay, cursor)?,
                    store.waits_since(lane, relay, cursor)?,
                );
                counted.insert((lane, cursor), found);
                found
            };
            let of_it = exceptions
                .iter()
                .filter(|row| row.peer == node.id && row.lane == lane);
            let retried = of_it.map(|row| row.count).sum();
            let behind = Behind {
                records,
                since,
                retried,
            };
            all.insert((node.id.clone(), lane), behind);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_kernel::reach::Trouble;
    use portcullis_peering::unreached::Unreached;
    use portcullis_testbed::NOW;

    /// Newcomer A12: monitoring could not tell an idle peer from a dead one, or one that is closed.
    #[test]
    fn an_idle_peer_a_dead_one_and_a_closed_one_have_states_of_their_own() {
        let lost = Reach {
            trouble: Some(Trouble {
                since: NOW,
                why: Unreached::BrokeOff,
            }),
            ..Reach::default()
        };
        let idle = Reach {
            reached: true,
            ..Reach::default()
        };
        let blocked = Closed::Cut(Cut::Blocked);
        let stale = Closed::Stale(NOW);
        for (closed, refuses, connected, reach, state) in [
            (None, false, false, &Reach::default(), PeerState::Untried),
            (None, false, false, &idle, PeerState::Reachable),
            (None, false, false, &lost, PeerState::Unreachable),
            (None, false, true, &idle, PeerState::Connected),
            (None, true, true, &idle, PeerState::Refuses),
            (Some(&stale), false, false, &lost, PeerState::Unreachable),
            (Some(&blocked), true, true, &lost, PeerState::Blocked),
        ] {
            assert_eq!(PeerState::of(closed, refuses, connected, reach), state);
        }
    }
}

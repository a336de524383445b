//! A node of the simulation: what survives a crash, and what does not.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use portcullis_exchange::dispatch::{
    machine::{Effect, Event, Machine},
    plan::Outgoing,
};
use portcullis_home::config::RetryBounds;
use portcullis_kernel::decide::Decider;
use portcullis_protocol::{
    frame::{Lane, ReceivedFrame, SentFrame},
    time::Timestamp,
    wire,
};
use portcullis_store::{Write, Written, writer::Priority};

use super::{
    cast::{Cast, InForce, MemberNumber, who},
    network::LinkId,
    reconciling::Reconciling,
    store::{ModelStore, Reply, State},
};

/// One peer, one lane.
pub type DriverKey = (MemberNumber, Lane);

/// What a driver asked the writer for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Ledger rows of what is about to be sent.
    Intended,
    /// Ledger rows of what was answered.
    Settled,
    /// Another generation.
    Started,
}

/// Who waits for the result of a job.
pub enum Asker {
    /// A driver, for its machine.
    Driver(DriverKey, Asked),
    /// A delivery stream, for the receipt of this frame.
    Stream(LinkId, Box<ReceivedFrame>, Arc<Decider>),
    /// A comparison of the channel to this peer, in this turn.
    Comparison(MemberNumber, u64),
    /// Nobody: an event to remember, or a publication.
    Nobody,
}

/// A job in the writer's queue.
pub struct Job {
    /// What is not in a transaction yet.
    pub pieces: VecDeque<Vec<Write>>,
    /// What the other pieces gave.
    pub result: Vec<Written>,
    /// Who waits.
    pub asker: Asker,
    /// Commits that began since it was queued and did not take it.
    pub passed_over: u32,
}

/// A transaction on its way to disk.
pub struct Committing {
    /// What the disk is to hold.
    pub state: State,
    /// Who is answered what once it does.
    pub replies: Vec<(Asker, Reply)>,
}

/// The one writer.
#[derive(Default)]
pub struct Writer {
    /// Before anything in bulk.
    pub urgent: VecDeque<Job>,
    /// When nothing urgent waits.
    pub bulk: VecDeque<Job>,
    /// What is on its way to disk.
    pub committing: Option<Committing>,
}

impl Writer {
    /// The queue of a priority.
    pub fn queue(&mut self, priority: Priority) -> &mut VecDeque<Job> {
        match priority {
            Priority::Urgent => &mut self.urgent,
            Priority::Bulk => &mut self.bulk,
        }
    }
}

/// The I/O of one peer and lane: events are taken one by one, effects carried out in order.
pub struct Driver {
    /// The product's own state machine.
    pub machine: Machine,
    /// The connection, if there is one.
    pub link: Option<LinkId>,
    /// A frame that waits for a connection, and which attempt at one it waits for.
    pub opening: Option<(u64, Box<Outgoing>)>,
    /// Frames sent over the connection without a receipt, the oldest first.
    pub awaited: VecDeque<SentFrame>,
    /// Since when the next receipt is waited for.
    pub since: Timestamp,
    /// Effects to be carried out before anything else happens.
    pub effects: VecDeque<Effect>,
    /// What became of a frame that did not leave: told after the effects that came with it.
    pub told: Option<Event>,
    /// What happened meanwhile.
    pub events: VecDeque<Event>,
    /// When the machine wants to be woken.
    pub wake_at: Option<Timestamp>,
    /// Tells the present rest, or attempt, from earlier ones.
    pub turn: u64,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (link, turn) = (self.link, self.turn);
        write!(f, "link {link:?}, turn {turn}, {:?}", self.machine)
    }
}

impl Driver {
    fn new(cast: &Cast, peer: MemberNumber, lane: Lane, retry: RetryBounds) -> Self {
        Self {
            machine: Machine::new(cast.node(peer).clone(), lane, retry),
            link: None,
            opening: None,
            awaited: VecDeque::new(),
            since: super::cast::START,
            effects: VecDeque::new(),
            told: None,
            events: VecDeque::new(),
            wake_at: None,
            turn: 0,
        }
    }
}

/// The receiving end of a delivery stream: one frame at a time, in order.
#[derive(Debug, Default)]
pub struct Stream {
    /// Frames that came while one was being answered.
    pub waiting: VecDeque<wire::Frame>,
    /// Whether one is.
    pub busy: bool,
}

/// A node.
pub struct Node {
    /// Who it is.
    pub member: MemberNumber,
    /// How often it was started.
    pub life: u32,
    /// Whether it runs.
    pub up: bool,
    /// What survives.
    pub store: ModelStore,
    /// What a backup of its disk holds.
    pub backup: Option<State>,
    /// What its configuration says: survives as well.
    pub in_force: InForce,
    /// Everything it had in force since the beginning, with the time it came.
    pub history: Vec<(Timestamp, InForce)>,
    /// What decides now.
    pub decider: Arc<Decider>,
    /// What decided when the process started, for a mutant that goes on asking it.
    pub first_decider: Arc<Decider>,
    /// Drivers by peer and lane.
    pub drivers: BTreeMap<DriverKey, Driver>,
    /// The writer.
    pub writer: Writer,
    /// Delivery streams of peers.
    pub streams: BTreeMap<LinkId, Stream>,
    /// Channels that are compared.
    pub reconciling: Reconciling,
}

impl Node {
    /// A node that was just installed and started.
    #[must_use]
    pub fn new(cast: &Cast, member: MemberNumber, store: ModelStore, in_force: InForce) -> Self {
        let decider = cast.decider(member, in_force);
        Self {
            member,
            life: 1,
            up: true,
            store,
            backup: None,
            in_force,
            history: vec![(super::cast::START, in_force)],
            first_decider: Arc::clone(&decider),
            decider,
            drivers: BTreeMap::new(),
            writer: Writer::default(),
            streams: BTreeMap::new(),
            reconciling: Reconciling::default(),
        }
    }

    /// Everything that was in force at some time from `since` on, each once.
    #[must_use]
    pub fn in_force_since(&self, since: Timestamp) -> Vec<InForce> {
        let standing = self.history.iter().rfind(|(at, _)| *at <= since);
        let later = self.history.iter().filter(|(at, _)| *at > since);
        let mut found: Vec<InForce> = Vec::new();
        for (_, in_force) in standing.into_iter().chain(later) {
            if !found.contains(in_force) {
                found.push(*in_force);
            }
        }
        found
    }

    /// Makes the drivers towards these peers, at rest.
    pub fn make_drivers(&mut self, cast: &Cast, peers: &[MemberNumber], retry: RetryBounds) {
        self.drivers = peers
            .iter()
            .filter(|peer| **peer != who(self.member))
            .flat_map(|peer| Lane::ALL.iter().map(move |lane| (*peer, *lane)))
            .map(|(peer, lane)| ((peer, lane), Driver::new(cast, peer, lane, retry)))
            .collect();
    }

    /// Everything that a process that ends leaves behind is on disk: the rest goes.
    pub fn forget(&mut self) -> Option<Committing> {
        self.up = false;
        self.drivers.clear();
        self.streams.clear();
        let writer = std::mem::take(&mut self.writer);
        writer.committing
    }
}

//! A node of the simulation: the state that survives a crash and the state that does not.

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

/// A peer and a lane.
pub type DriverKey = (MemberNumber, Lane);

/// Kind of write that a driver asked the writer for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Ledger rows of a frame that is about to be sent.
    Intended,
    /// Ledger rows of a frame that was answered.
    Settled,
    /// A new generation.
    Started,
}

/// The receiver of a job's result.
pub enum Asker {
    /// A driver, for its machine.
    Driver(DriverKey, Asked),
    /// A delivery stream, for the receipt of this frame.
    Stream(LinkId, Box<ReceivedFrame>, Arc<Decider>),
    /// A comparison of the channel to this peer, in this turn.
    Comparison(MemberNumber, u64),
    /// Nobody: the job is an event to record, or a publication.
    Nobody,
}

/// A job in the writer's queue.
pub struct Job {
    /// Pieces that are not in a transaction yet.
    pub pieces: VecDeque<Vec<Write>>,
    /// Results of the earlier pieces.
    pub result: Vec<Written>,
    /// Receiver of the result.
    pub asker: Asker,
    /// Commits that began since it was queued and did not include it.
    pub passed_over: u32,
}

/// A transaction on its way to disk.
pub struct Committing {
    /// State that the disk will have.
    pub state: State,
    /// Replies to give once the disk has it.
    pub replies: Vec<(Asker, Reply)>,
}

/// The one writer.
#[derive(Default)]
pub struct Writer {
    /// Urgent jobs, taken before any bulk job.
    pub urgent: VecDeque<Job>,
    /// Bulk jobs, taken when no urgent job waits.
    pub bulk: VecDeque<Job>,
    /// Transaction on its way to disk.
    pub committing: Option<Committing>,
}

impl Writer {
    /// Returns the queue of a priority.
    pub fn queue(&mut self, priority: Priority) -> &mut VecDeque<Job> {
        match priority {
            Priority::Urgent => &mut self.urgent,
            Priority::Bulk => &mut self.bulk,
        }
    }
}

/// The I/O of one peer and lane: events are taken one by one, and effects are carried out in order.
pub struct Driver {
    /// The product's own state machine.
    pub machine: Machine,
    /// Connection, if there is one.
    pub link: Option<LinkId>,
    /// Frame that waits for a connection, with the attempt that it waits for.
    pub opening: Option<(u64, Box<Outgoing>)>,
    /// Frames sent over the connection and not yet receipted, the oldest first.
    pub awaited: VecDeque<SentFrame>,
    /// Time from which the wait for the next receipt counts.
    pub since: Timestamp,
    /// Effects to be carried out before anything else happens.
    pub effects: VecDeque<Effect>,
    /// Event about a frame that did not leave; it is handled after the effects that came with the
    /// frame.
    pub told: Option<Event>,
    /// Events that arrived meanwhile.
    pub events: VecDeque<Event>,
    /// Time at which the machine wants to be woken.
    pub wake_at: Option<Timestamp>,
    /// Number that distinguishes the present rest, or attempt, from earlier ones.
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
    /// Frames that arrived while another was being answered.
    pub waiting: VecDeque<wire::Frame>,
    /// Set while a frame is being answered.
    pub busy: bool,
}

/// A node.
pub struct Node {
    /// Number of the process.
    pub member: MemberNumber,
    /// Number of times it was started.
    pub life: u32,
    /// Set while it runs.
    pub up: bool,
    /// Store, which survives the end of the process.
    pub store: ModelStore,
    /// State of the disk in the backup, if one was taken.
    pub backup: Option<State>,
    /// Register and policy in its configuration, which survives as well.
    pub in_force: InForce,
    /// Registers and policies that it had in force since the beginning, with the times they came
    /// into force.
    pub history: Vec<(Timestamp, InForce)>,
    /// Decider in use.
    pub decider: Arc<Decider>,
    /// Decider from the start of the process, for a mutant that keeps using it.
    pub first_decider: Arc<Decider>,
    /// Drivers by peer and lane.
    pub drivers: BTreeMap<DriverKey, Driver>,
    /// The writer.
    pub writer: Writer,
    /// Delivery streams of peers.
    pub streams: BTreeMap<LinkId, Stream>,
    /// Comparisons of channels.
    pub reconciling: Reconciling,
}

impl Node {
    /// Returns a node that was just installed and started.
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

    /// Returns every register and policy that was in force at some time from `since` on, each once.
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

    /// Makes the drivers for these peers, at rest.
    pub fn make_drivers(&mut self, cast: &Cast, peers: &[MemberNumber], retry: RetryBounds) {
        self.drivers = peers
            .iter()
            .filter(|peer| **peer != who(self.member))
            .flat_map(|peer| Lane::ALL.iter().map(move |lane| (*peer, *lane)))
            .map(|(peer, lane)| ((peer, lane), Driver::new(cast, peer, lane, retry)))
            .collect();
    }

    /// Ends the process: everything that is not on disk is lost. Returns the transaction that was
    /// on its way to disk.
    pub fn forget(&mut self) -> Option<Committing> {
        self.up = false;
        self.drivers.clear();
        self.streams.clear();
        let writer = std::mem::take(&mut self.writer);
        writer.committing
    }
}

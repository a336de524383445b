//! The world: one queue of events on a virtual clock, in which everything happens one by one.

use std::{collections::BTreeMap, sync::Arc};

use portcullis_node::{
    dispatch::{load::Loaded, machine::Event},
    store::Intake,
};
use portcullis_protocol::{
    frame::{Generation, ReceivedFrame},
    record::RecordId,
    time::Timestamp,
    wire,
};

use super::{
    cast::{Cast, InForce, MemberNumber, Policy, START},
    coverage::{Coverage, Seen},
    invariants::{Violation, Watch},
    mutant::Mutant,
    network::{LinkId, Network},
    node::{Asker, DriverKey, Node},
    profile::{Profile, Weather},
    random::Random,
    store::{ModelStore, Reply, State},
};

/// How long before its end something more is published in a long run.
const LATE_MS: i64 = 12 * 3_600_000;

/// What a message on a connection is.
pub enum Message {
    /// Sent out.
    Frame(Box<wire::Frame>),
    /// Sent back.
    Receipt(Box<wire::Receipt>),
}

/// Something that happens within one life of a process.
pub enum Task {
    /// A driver's rest is over, if it is still this one.
    Timer(DriverKey, u64),
    /// The record log grew.
    Woken(DriverKey),
    /// A plan is made.
    Planned(DriverKey, Loaded),
    /// The writer answers.
    Replied(Asker, Reply),
    /// A connection is there, or not.
    Opened(DriverKey, u64, Option<LinkId>),
    /// A receipt should have come by now.
    Overdue(DriverKey),
    /// A connection is noticed to have ended.
    Closed(LinkId),
    /// A message arrives.
    Arrived(LinkId, Message),
    /// The items of a frame are judged.
    Judged(
        LinkId,
        Box<(ReceivedFrame, Intake)>,
        Arc<portcullis_node::decide::Decider>,
    ),
    /// A receipt is signed.
    Answered(LinkId, Box<wire::Receipt>),
    /// The writer begins a transaction.
    Turn,
    /// The disk has it.
    Synced,
}

/// Something that happens.
pub enum Happening {
    /// Within this life of a member's process.
    To(MemberNumber, u32, Task),
    /// A member publishes a batch.
    Publish(MemberNumber, usize),
    /// A member has another register or policy in force.
    Reload(MemberNumber, InForce),
    /// A member withdraws one of its records.
    Withdraw(MemberNumber),
    /// A backup of a member's disk is taken.
    Backup(MemberNumber),
    /// It comes back.
    Restore(MemberNumber),
    /// A process ends.
    Crash(MemberNumber),
    /// It starts again.
    Restart(MemberNumber),
    /// The way from one to the other is cut.
    Cut(MemberNumber, MemberNumber),
    /// It is mended.
    Mend(MemberNumber, MemberNumber),
    /// From now on nothing goes wrong.
    Heal,
}

/// Where a process may end between two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// A plan is in hand.
    Planned,
    /// A job was queued.
    Queued,
    /// The disk has a commit and nobody was told.
    Durable,
    /// A frame is about to be sent.
    BeforeSend,
    /// A frame was sent.
    Sent,
    /// A receipt is in hand.
    Receipt,
    /// A frame is judged.
    Judged,
    /// A receipt is about to be sent.
    BeforeReceipt,
    /// A receipt was sent.
    AfterReceipt,
}

impl Passage {
    const fn seen(self) -> Seen {
        match self {
            Self::Planned => Seen::CrashPlanned,
            Self::Queued => Seen::CrashQueued,
            Self::Durable => Seen::CrashDurable,
            Self::BeforeSend => Seen::CrashBeforeSend,
            Self::Sent => Seen::CrashSent,
            Self::Receipt => Seen::CrashReceipt,
            Self::Judged => Seen::CrashJudged,
            Self::BeforeReceipt => Seen::CrashBeforeReceipt,
            Self::AfterReceipt => Seen::CrashAfterReceipt,
        }
    }
}

/// Everything there is.
pub struct World {
    pub(super) cast: &'static Cast,
    pub(super) profile: Profile,
    pub(super) mutant: Option<Mutant>,
    pub(super) random: Random,
    pub(super) now: Timestamp,
    pub(super) network: Network,
    pub(super) nodes: BTreeMap<MemberNumber, Node>,
    pub(super) watch: Watch,
    pub(super) coverage: Coverage,
    pub(super) healed: bool,
    queue: BTreeMap<(Timestamp, u64), Happening>,
    happened: u64,
    trace: Option<Vec<String>>,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What was violated first, if anything was.
    pub violation: Option<Violation>,
    /// What happened.
    pub coverage: Coverage,
    /// How many events there were.
    pub events: u64,
    /// What happened, line by line, if it was asked for.
    pub trace: Vec<String>,
}

/// Runs a seed to its end or to the first violation.
#[must_use]
pub fn run(seed: u64, mutant: Option<Mutant>, traced: bool) -> Outcome {
    let mut world = World::new(seed, mutant, traced);
    world.prepare();
    world.go_on();
    if world.watch.violation.is_none() {
        world.judge_the_end();
    }
    if world.watch.violation.is_some() {
        world.say_how_it_stands();
    }
    Outcome {
        violation: world.watch.violation,
        coverage: world.coverage,
        events: world.happened,
        trace: world.trace.unwrap_or_default(),
    }
}

impl World {
    fn new(seed: u64, mutant: Option<Mutant>, traced: bool) -> Self {
        let cast = Cast::get();
        let mut random = Random::new(seed);
        let profile = Profile::draw(&mut random);
        let first = InForce {
            epoch: 1,
            policy: Policy::Baseline,
        };
        let nodes = profile.members.iter().map(|member| {
            let mut generation = [0; 16];
            portcullis_protocol::seal::Entropy::fill(&mut random, &mut generation);
            let state = State::new(Generation::from_bytes(generation));
            let store = ModelStore::holding(state, mutant, profile.plan_limit);
            (*member, Node::new(cast, *member, store, first))
        });
        let nodes = nodes.collect();
        Self {
            cast,
            mutant,
            now: START,
            network: Network::default(),
            nodes,
            watch: Watch::default(),
            coverage: Coverage::default(),
            healed: false,
            queue: BTreeMap::new(),
            happened: 0,
            trace: traced.then(Vec::new),
            profile,
            random,
        }
    }

    /// Puts everything that is to happen by itself into the queue.
    fn prepare(&mut self) {
        let profile = self.profile.clone();
        self.say(|| format!("{profile:?}"));
        for member in profile.members.clone() {
            self.start_drivers(member);
            self.prepare_publications(member);
        }
        let heal = START.plus_millis(profile.trouble_ms);
        self.at(heal, Happening::Heal);
        if profile.weather != Weather::Calm {
            self.prepare_changes();
            self.prepare_cuts();
            self.prepare_crashes();
            self.prepare_restore();
        }
    }

    fn prepare_publications(&mut self, member: MemberNumber) {
        let mut left: Vec<usize> = (0..self.cast.batches(member).len()).collect();
        for _ in 0..self.profile.batches.min(left.len()) {
            let batch = left.swap_remove(self.random.index(left.len()));
            let at = self.some_time();
            self.at(at, Happening::Publish(member, batch));
        }
        if self.profile.weather == Weather::Long && !left.is_empty() {
            // Whatever has ended by then is told of when the next receipt comes.
            let late = START.plus_millis(self.profile.aftermath_ms - LATE_MS);
            self.at(late, Happening::Publish(member, left[0]));
        }
    }

    /// A time while things go wrong.
    pub(super) fn some_time(&mut self) -> Timestamp {
        let within = self.random.between(0, self.profile.trouble_ms - 1_000);
        START.plus_millis(within)
    }

    fn prepare_changes(&mut self) {
        for member in self.profile.members.clone() {
            let newest = if self.random.chance(700) {
                super::cast::NEWEST_EPOCH
            } else {
                self.random.index(super::cast::NEWEST_EPOCH) + 1
            };
            let mut times: Vec<Timestamp> = (0..newest + 1).map(|_| self.some_time()).collect();
            times.sort_unstable();
            let mut in_force = InForce {
                epoch: 1,
                policy: Policy::Baseline,
            };
            for at in times {
                if in_force.epoch < newest && self.random.chance(600) {
                    in_force.epoch += 1;
                } else if self.random.chance(500) {
                    in_force.policy = match in_force.policy {
                        Policy::Baseline => Policy::Tight,
                        Policy::Tight => Policy::Baseline,
                    };
                }
                self.at(at, Happening::Reload(member, in_force));
            }
            if self.random.chance(250) {
                let at = self.some_time();
                self.at(at, Happening::Withdraw(member));
            }
        }
    }

    fn prepare_cuts(&mut self) {
        for _ in 0..self.random.index(5) {
            let members = self.profile.members.clone();
            let (one, other) = (*self.random.pick(&members), *self.random.pick(&members));
            if one == other {
                continue;
            }
            let begins = self.some_time();
            let ends = begins.plus_millis(self.random.between(500, 60_000));
            self.at(begins, Happening::Cut(one, other));
            self.at(ends, Happening::Mend(one, other));
            if self.random.chance(500) {
                self.at(begins, Happening::Cut(other, one));
                self.at(ends, Happening::Mend(other, one));
                self.coverage.count(Seen::Partition);
            } else {
                self.coverage.count(Seen::HalfOpen);
            }
        }
    }

    fn prepare_crashes(&mut self) {
        if self.profile.crash == 0 {
            return;
        }
        for member in self.profile.members.clone() {
            for _ in 0..self.random.index(4) {
                let at = self.some_time();
                self.at(at, Happening::Crash(member));
            }
        }
    }

    fn go_on(&mut self) {
        let end = START.plus_millis(self.profile.trouble_ms + self.profile.aftermath_ms);
        while let Some(((time, _), happening)) = self.queue.pop_first() {
            if time > end {
                break;
            }
            self.now = time;
            self.happen(happening);
            if self.watch.violation.is_some() {
                return;
            }
        }
        self.now = end;
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::To(member, life, task) => {
                let node = self.node(member);
                if node.up && node.life == life {
                    self.task(member, task);
                }
            }
            Happening::Publish(member, batch) => self.publish(member, batch),
            Happening::Reload(member, in_force) => self.reload(member, in_force),
            Happening::Withdraw(member) => self.withdraw(member),
            Happening::Crash(member) => {
                if self.node(member).up && !self.healed {
                    self.coverage.count(Seen::CrashIdle);
                    self.crash(member);
                }
            }
            Happening::Backup(member) => self.back_up(member),
            Happening::Restore(member) => self.restore(member),
            Happening::Restart(member) => self.restart(member),
            Happening::Cut(from, to) => {
                if !self.healed {
                    self.say(|| format!("the way from {from} to {to} is cut"));
                    self.network.cut(from, to);
                }
            }
            Happening::Mend(from, to) => self.network.mend(from, to),
            Happening::Heal => self.heal(),
        }
    }

    fn task(&mut self, member: MemberNumber, task: Task) {
        match task {
            Task::Timer(key, rest) => self.rest_is_over(member, key, rest),
            Task::Woken(key) => self.feed(member, key, Event::Wake),
            Task::Planned(key, loaded) => self.planned(member, key, loaded),
            Task::Replied(asker, reply) => self.replied(member, asker, reply),
            Task::Opened(key, attempt, link) => self.opened(member, key, attempt, link),
            Task::Overdue(key) => self.overdue(member, key),
            Task::Closed(link) => self.closed(member, link),
            Task::Arrived(link, Message::Frame(frame)) => {
                self.frame_arrived(member, link, *frame);
            }
            Task::Arrived(link, Message::Receipt(receipt)) => {
                self.receipt_arrived(member, link, *receipt);
            }
            Task::Judged(link, judged, decider) => self.judged(member, link, *judged, decider),
            Task::Answered(link, receipt) => self.send_receipt(member, link, *receipt),
            Task::Turn => self.turn(member),
            Task::Synced => self.synced(member),
        }
    }

    /// A member's node.
    pub(super) fn node(&mut self, member: MemberNumber) -> &mut Node {
        self.nodes.get_mut(&member).unwrap()
    }

    /// Lets something happen at a time.
    pub(super) fn at(&mut self, time: Timestamp, happening: Happening) {
        self.happened += 1;
        self.queue
            .insert((time.max(self.now), self.happened), happening);
    }

    /// Lets something happen to a process after so many milliseconds, if it lives then.
    pub(super) fn after(&mut self, member: MemberNumber, millis: i64, task: Task) {
        let life = self.node(member).life;
        let time = self.now.plus_millis(millis);
        self.at(time, Happening::To(member, life, task));
    }

    /// Whether there is a trace at all.
    pub(super) const fn is_traced(&self) -> bool {
        self.trace.is_some()
    }

    /// Adds a line to the trace.
    pub(super) fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let millis = self.now.millis_since(START);
            trace.push(format!(
                "{:>9}.{:03} {}",
                millis / 1_000,
                millis % 1_000,
                line()
            ));
        }
    }

    /// Adds to the trace how each driver stands.
    fn say_how_it_stands(&mut self) {
        let mut lines = Vec::new();
        for (member, node) in &self.nodes {
            for ((peer, lane), driver) in &node.drivers {
                lines.push(format!("{member} to {peer} in {lane}: {driver:?}"));
            }
        }
        for line in lines {
            self.say(|| line);
        }
    }

    /// A passage at which the process may end; `None` if it does.
    pub(super) fn pass(&mut self, member: MemberNumber, passage: Passage) -> Option<()> {
        if self.healed || !self.random.chance(self.profile.crash) {
            return Some(());
        }
        self.coverage.count(passage.seen());
        self.say(|| format!("{member} ends at the passage {passage:?}"));
        self.crash(member);
        None
    }

    fn publish(&mut self, member: MemberNumber, batch: usize) {
        let batch = &self.cast.batches(member)[batch];
        let node = self.node(member);
        if !node.up || node.in_force.epoch < batch.epoch {
            // Whoever publishes tries again later.
            if !self.healed {
                let later = self.now.plus_millis(20_000);
                let at = self
                    .cast
                    .batches(member)
                    .iter()
                    .position(|one| std::ptr::eq(one, batch));
                self.at(later, Happening::Publish(member, at.unwrap()));
            }
            return;
        }
        let names: Vec<String> = batch
            .records
            .iter()
            .map(|record| self.name(&record.id()))
            .collect();
        self.say(|| format!("{member} publishes {names:?}"));
        self.enqueue_publication(member, batch.records.clone());
    }

    /// A short name of a record for the trace.
    pub(super) fn name(&self, record: &RecordId) -> String {
        let short: String = record.to_string().chars().take(6).collect();
        let like = self.cast.made(record).map(|made| made.like);
        like.map_or_else(|| short.clone(), |like| format!("{like:?} {short}"))
    }

    fn reload(&mut self, member: MemberNumber, in_force: InForce) {
        let (cast, now) = (self.cast, self.now);
        let node = self.node(member);
        let before = node.in_force;
        if before == in_force {
            return;
        }
        node.in_force = in_force;
        node.history.push((now, in_force));
        if node.up {
            node.decider = cast.decider(member, in_force);
        }
        self.say(|| format!("{member} has {in_force:?} in force"));
        if before.epoch != in_force.epoch {
            self.coverage.count(Seen::RegisterChange);
        }
        match (before.policy, in_force.policy) {
            (Policy::Baseline, Policy::Tight) => self.coverage.count(Seen::Tightening),
            (Policy::Tight, Policy::Baseline) => self.coverage.count(Seen::Loosening),
            (Policy::Baseline, Policy::Baseline) | (Policy::Tight, Policy::Tight) => {}
        }
    }

    fn withdraw(&mut self, member: MemberNumber) {
        let held: Vec<RecordId> = self
            .node(member)
            .store
            .durable()
            .records
            .keys()
            .copied()
            .collect();
        // While a transaction is on its way, the one writer has to wait for it.
        if held.is_empty() || self.node(member).writer.committing.is_some() {
            return;
        }
        let record = *self.random.pick(&held);
        let name = self.name(&record);
        self.say(|| format!("{member} withdraws {name}"));
        self.node(member).store.withdraw(record);
        self.watch.withdrawn.insert((member, record));
        self.coverage.count(Seen::Withdrawn);
    }

    /// Ends a process: what is not on disk is gone, its connections break.
    pub(super) fn crash(&mut self, member: MemberNumber) {
        self.say(|| format!("{member} ends"));
        let committing = self.node(member).forget();
        if let Some(committing) = committing {
            self.coverage.count(Seen::CrashUnsynced);
            if self.random.chance(500) {
                self.coverage.count(Seen::UnsyncedKept);
                self.install(member, committing.state);
            } else {
                self.coverage.count(Seen::UnsyncedLost);
            }
        }
        self.damage(member);
        for id in self.network.links_of(member) {
            self.break_link(id, member);
        }
        let down = self.random.between(50, 20_000);
        let at = self.now.plus_millis(down);
        self.at(at, Happening::Restart(member));
    }

    /// What some mutants lose with a crash although it was on disk.
    fn damage(&mut self, member: MemberNumber) {
        let mutant = self.mutant;
        let store = &self.node(member).store;
        let mut state = store.durable();
        match mutant {
            Some(Mutant::ExceptionsForgotten) => state.exceptions = Arc::default(),
            Some(Mutant::SourceForgotten) => {
                for kept in Arc::make_mut(&mut state.records).values_mut() {
                    Arc::make_mut(kept).source = None;
                }
            }
            Some(_) | None => return,
        }
        store.install(state);
    }

    /// The end of a process ends a connection; the other side notices at once or late.
    fn break_link(&mut self, id: LinkId, ended: MemberNumber) {
        let Some(link) = self.network.close(id) else {
            return;
        };
        let (other, life) = if link.from == ended {
            (link.to, link.lives.1)
        } else {
            (link.from, link.lives.0)
        };
        let late = if self.random.chance(300) { 30_000 } else { 0 };
        let notices = self.now.plus_millis(self.profile.latency_ms + late);
        self.at(notices, Happening::To(other, life, Task::Closed(id)));
    }

    fn restart(&mut self, member: MemberNumber) {
        let cast = self.cast;
        let node = self.node(member);
        if node.up {
            return;
        }
        node.up = true;
        node.life += 1;
        node.decider = cast.decider(member, node.in_force);
        node.first_decider = Arc::clone(&node.decider);
        self.say(|| format!("{member} starts again"));
        self.start_drivers(member);
        self.check_restart(member);
    }

    fn start_drivers(&mut self, member: MemberNumber) {
        let (cast, members, backoff) = (
            self.cast,
            self.profile.members.clone(),
            self.profile.backoff,
        );
        self.node(member).make_drivers(cast, &members, backoff);
        let keys: Vec<DriverKey> = self.node(member).drivers.keys().copied().collect();
        for key in keys {
            self.after(member, 0, Task::Timer(key, 0));
        }
    }

    fn heal(&mut self) {
        self.say(|| "from now on nothing goes wrong".to_owned());
        self.healed = true;
        self.network.heal();
        for member in self.profile.members.clone() {
            self.restart(member);
        }
    }
}

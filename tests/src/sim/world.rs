//! The world: one queue of events on a virtual clock, handled one by one.

use std::{collections::BTreeMap, sync::Arc};

use portcullis_exchange::dispatch::machine::Event;
use portcullis_protocol::{frame::Generation, record::RecordId, time::Timestamp};
use portcullis_store::{Found, ReconciliationRow};

use super::{
    cast::{Cast, InForce, MemberNumber, Policy, START},
    coverage::{Coverage, Seen},
    happening::{Happening, Message, Task},
    invariants::{Violation, Watch},
    lying::Memory,
    mutant::Mutant,
    network::Network,
    node::Node,
    profile::Profile,
    random::Random,
    store::{ModelStore, State},
};

/// The state of a whole run.
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
    /// The member that lies, if one does.
    pub(super) liar: Option<MemberNumber>,
    pub(super) lies: Memory,
    queue: BTreeMap<(Timestamp, u64), Happening>,
    happened: u64,
    trace: Option<Vec<String>>,
}

/// Result of a run.
#[derive(Debug)]
pub struct RunResult {
    /// First violation, if there was one.
    pub violation: Option<Violation>,
    /// Counters of the events.
    pub coverage: Coverage,
    /// Number of events.
    pub events: u64,
    /// Lines of the trace, if one was asked for.
    pub trace: Vec<String>,
}

/// Runs a seed to its end or to the first violation.
#[must_use]
pub fn run(seed: u64, mutant: Option<Mutant>, traced: bool) -> RunResult {
    let mut world = World::new(seed, mutant, traced);
    world.prepare();
    world.go_on();
    if world.watch.violation.is_none() {
        world.judge_the_end();
    }
    if world.watch.violation.is_some() {
        world.say_how_it_stands();
    }
    RunResult {
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
        let mut nodes: BTreeMap<MemberNumber, Node> = nodes.collect();
        compared(cast, &mut nodes);
        Self {
            cast,
            mutant,
            now: START,
            network: Network::default(),
            nodes,
            watch: Watch::default(),
            coverage: Coverage::default(),
            healed: false,
            liar: None,
            lies: Memory::default(),
            queue: BTreeMap::new(),
            happened: 0,
            trace: traced.then(Vec::new),
            profile,
            random,
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
            Happening::Copy(member) => self.copy(member),
            Happening::Lie(member) => self.lie(member),
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
            Task::CompareTick(rest) => self.compare_tick(member, rest),
            Task::CompareFailed(peer, turn) => self.compare_failed(member, peer, turn),
            Task::Asked(asker, life, turn, ask) => self.asked(member, asker, life, turn, *ask),
            Task::Told(peer, turn, answer) => self.told(member, peer, turn, *answer),
            Task::Turn => self.turn(member),
            Task::Synced => self.synced(member),
        }
    }

    /// Returns the node of this process.
    pub(super) fn node(&mut self, member: MemberNumber) -> &mut Node {
        self.nodes.get_mut(&member).unwrap()
    }

    /// Schedules an event at a time, at the earliest now.
    pub(super) fn at(&mut self, time: Timestamp, happening: Happening) {
        self.happened += 1;
        self.queue
            .insert((time.max(self.now), self.happened), happening);
    }

    /// Schedules an event of a process after this many milliseconds. It has no effect if the
    /// process has ended by then.
    pub(super) fn after(&mut self, member: MemberNumber, millis: i64, task: Task) {
        let life = self.node(member).life;
        let time = self.now.plus_millis(millis);
        self.at(time, Happening::To(member, life, task));
    }

    /// Returns whether a trace is kept.
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

    /// Adds the state of each driver to the trace.
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

    /// Returns a short name of a record for the trace.
    pub(super) fn name(&self, record: &RecordId) -> String {
        let short: String = record.to_string().chars().take(6).collect();
        let like = self.cast.made(record).map(|made| made.like);
        like.map_or_else(|| short.clone(), |like| format!("{like:?} {short}"))
    }
}

/// Marks every channel as compared in the present generations, as in a federation that has run for
/// a while.
fn compared(cast: &Cast, nodes: &mut BTreeMap<MemberNumber, Node>) {
    let generations: Vec<_> = nodes
        .iter()
        .map(|(member, node)| (*member, node.store.durable().generation))
        .collect();
    for (member, node) in nodes {
        let mut state = node.store.durable();
        let own = state.generation;
        let rows = generations.iter().filter(|(peer, _)| peer != member);
        let rows = rows.map(|(peer, theirs)| {
            let row = ReconciliationRow {
                peer: cast.node(*peer).clone(),
                own,
                theirs: *theirs,
                at: START,
                found: Found::default(),
            };
            (cast.node(*peer).clone(), row)
        });
        state.reconciliations = Arc::new(rows.collect());
        node.store.install(state);
    }
}

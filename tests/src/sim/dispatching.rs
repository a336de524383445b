//! The shell of dispatch: carries out the machines' effects, as dispatch/driver.rs and
//! dispatch/link.rs do.

use std::sync::Arc;

use portcullis_exchange::dispatch::{
    load::{self, Loaded},
    machine::{Effect, Event, FailedAt},
    plan::{Footing, Outgoing, Planner, relays},
};
use portcullis_kernel::decide::Decider;
use portcullis_protocol::{
    frame::{FrameAnswer, Generation, Receipt, Remembered, SentFrame},
    rules::Rule,
    seal::Entropy as _,
    wire,
};
use portcullis_store::{NewGeneration, Settle, Write};

use super::{
    cast::{MEMBERS, MemberNumber, who},
    coverage::Seen,
    happening::{Happening, Message, Passage, Task},
    lying::stranger,
    mutant::Mutant,
    network::{Fate, LinkId, Way, latency},
    node::{Asked, Asker, Driver, DriverKey},
    store::Reply,
    world::World,
};

/// Longest wait for a receipt.
pub(super) const RECEIPT_TIMEOUT_MS: i64 = 60_000;
/// Longest wait for a connection to open.
pub(super) const OPEN_TIMEOUT_MS: i64 = 30_000;
/// Most delivery streams of one peer that a node accepts.
const STREAMS_PER_PEER: usize = 4;

impl World {
    fn driver(&mut self, member: MemberNumber, key: DriverKey) -> &mut Driver {
        self.node(member).drivers.get_mut(&key).unwrap()
    }

    pub(super) fn rest_is_over(&mut self, member: MemberNumber, key: DriverKey, turn: u64) {
        let driver = self.driver(member, key);
        if driver.turn == turn && driver.opening.is_none() {
            driver.wake_at = None;
            self.feed(member, key, Event::Wake);
        }
    }

    /// Wakes every driver after the record log grew.
    pub(super) fn log_grew(&mut self, member: MemberNumber) {
        let keys: Vec<DriverKey> = self.node(member).drivers.keys().copied().collect();
        for key in keys {
            self.after(member, 0, Task::Woken(key));
        }
    }

    /// Gives an event to a driver, which takes it after all earlier ones.
    pub(super) fn feed(&mut self, member: MemberNumber, key: DriverKey, event: Event) {
        self.driver(member, key).events.push_back(event);
        self.go_on_with(member, key);
    }

    /// Carries out effects and takes events until the driver waits for a connection or nothing is
    /// left.
    fn go_on_with(&mut self, member: MemberNumber, key: DriverKey) {
        let now = self.now;
        while self.node(member).up && self.driver(member, key).opening.is_none() {
            let driver = self.driver(member, key);
            if let Some(effect) = driver.effects.pop_front() {
                self.carry_out(member, key, effect);
                continue;
            }
            let Some(event) = driver.told.take().or_else(|| driver.events.pop_front()) else {
                self.rest(member, key);
                return;
            };
            let effects = driver.machine.handle(event, now);
            driver.effects.extend(effects);
        }
    }

    fn carry_out(&mut self, member: MemberNumber, key: DriverKey, effect: Effect) {
        match effect {
            Effect::Plan(footing) => self.plan(member, key, footing),
            Effect::Intend(intend) => {
                self.ask(member, key, vec![Write::Intend(*intend)], Asked::Intended);
            }
            Effect::Settle(settles) => self.settle(member, key, settles),
            Effect::StartGeneration {
                instead_of,
                shown,
                why,
            } => self.start_generation(member, key, (instead_of, shown), why),
            Effect::Send(outgoing) => self.send(member, key, outgoing),
            Effect::Disconnect => self.disconnect(member, key),
            Effect::Trouble(rule) => self.say(|| format!("{member} gives {} up: {rule}", key.0)),
            Effect::WakeAt(time) => self.driver(member, key).wake_at = Some(time),
        }
    }

    /// Rests until the time that the machine named, for the longest rest at most.
    fn rest(&mut self, member: MemberNumber, key: DriverKey) {
        let (now, longest) = (self.now, self.profile.longest_rest_ms);
        let driver = self.driver(member, key);
        let wait = driver
            .wake_at
            .map_or(longest, |time| time.millis_since(now).clamp(0, longest));
        driver.turn += 1;
        let turn = driver.turn;
        self.after(member, wait, Task::Timer(key, turn));
    }

    /// Plans from the present state of the disk; the plan is ready a little later.
    fn plan(&mut self, member: MemberNumber, key: DriverKey, footing: Option<Footing>) {
        let mut loaded = self.load(member, key, footing);
        if let Loaded::Planned(plan) = &mut loaded {
            let (rows, sends) = (plan.entries.len(), plan.frame.is_some());
            let cursor = plan.settles.or(plan.passes);
            if !plan.is_empty() {
                self.say(|| {
                    format!(
                        "{member} plans for {} in {}: {rows} rows, frame {sends}, cursor {cursor:?}",
                        key.0, key.1
                    )
                });
            }
            if self.mutant == Some(Mutant::CursorBeforeReceipt) && sends {
                plan.passes = plan.settles;
            }
        }
        let takes = self.random.between(0, 6);
        self.after(member, takes, Task::Planned(key, loaded));
    }

    fn load(
        &mut self,
        member: MemberNumber,
        (peer, lane): DriverKey,
        footing: Option<Footing>,
    ) -> Loaded {
        let (cast, now) = (self.cast, self.now);
        let decider = self.deciding(member);
        let peer_id = cast.node(peer);
        let (authority, _) = decider.register().node(peer_id).unwrap();
        let planner = Planner {
            decider: &decider,
            sender: cast.node(member),
            authority,
            peer: peer_id,
            lane,
            key: cast.hop_key(member),
            now,
            most: portcullis_protocol::frame::MAX_ITEMS,
            spoken: portcullis_kernel::dialect::Spoken::default(),
        };
        let store = &self.node(member).store;
        load::plan(planner, store, relays(MEMBERS[who(member)].1), footing).unwrap()
    }

    /// Returns the decider to use: one mutant uses the decider from the start of its process.
    pub(super) fn deciding(&mut self, member: MemberNumber) -> Arc<Decider> {
        let stale = self.mutant == Some(Mutant::StaleMemo);
        let node = self.node(member);
        Arc::clone(if stale {
            &node.first_decider
        } else {
            &node.decider
        })
    }

    pub(super) fn planned(&mut self, member: MemberNumber, key: DriverKey, loaded: Loaded) {
        if self.pass(member, Passage::Planned).is_none() {
            return;
        }
        let event = match loaded {
            Loaded::Planned(plan) => Event::Planned(plan),
            Loaded::Outdated => Event::Outdated,
        };
        self.feed(member, key, event);
    }

    fn ask(&mut self, member: MemberNumber, key: DriverKey, writes: Vec<Write>, asked: Asked) {
        self.enqueue(member, key.1.into(), writes, Asker::Driver(key, asked));
    }

    fn settle(&mut self, member: MemberNumber, key: DriverKey, settles: Vec<Settle>) {
        let writes = settles.into_iter().map(Write::Settle).collect();
        self.ask(member, key, writes, Asked::Settled);
    }

    fn start_generation(
        &mut self,
        member: MemberNumber,
        key: DriverKey,
        (instead_of, shown): (Generation, Generation),
        why: String,
    ) {
        self.say(|| format!("{member} starts a new generation: {why}"));
        self.check_start(member);
        self.coverage.count(Seen::NewGeneration);
        let mut drawn = [0; 16];
        self.random.fill(&mut drawn);
        let new = NewGeneration {
            instead_of,
            generation: Generation::from_bytes(drawn),
            shown: Some(shown),
            at: self.now,
            why,
        };
        self.ask(
            member,
            key,
            vec![Write::StartGeneration(new)],
            Asked::Started,
        );
    }

    /// Gives the writer's reply to a driver.
    pub(super) fn driver_replied(
        &mut self,
        member: MemberNumber,
        key: DriverKey,
        asked: Asked,
        reply: &Reply,
    ) {
        let event = match (asked, reply) {
            (Asked::Intended, Ok(_)) => Event::Intended,
            (Asked::Settled, Ok(_)) => Event::Settled,
            (Asked::Started, Ok(_)) => {
                self.reconcile(member, portcullis_exchange::reconcile::machine::Event::Anew);
                Event::GenerationStarted
            }
            (Asked::Intended, Err(_)) => Event::Failed(FailedAt::Intend),
            (Asked::Settled, Err(_)) => Event::Failed(FailedAt::Settle),
            (Asked::Started, Err(_)) => Event::Failed(FailedAt::Generation),
        };
        self.feed(member, key, event);
    }

    fn send(&mut self, member: MemberNumber, key: DriverKey, outgoing: Box<Outgoing>) {
        let driver = self.driver(member, key);
        if driver.link.is_some() {
            self.transmit(member, key, *outgoing);
            return;
        }
        driver.turn += 1;
        let attempt = driver.turn;
        driver.opening = Some((attempt, outgoing));
        self.open(member, key, attempt);
    }

    fn open(&mut self, member: MemberNumber, key: DriverKey, attempt: u64) {
        let (peer, lane) = key;
        let there_and_back = 2 * latency(&self.profile, &mut self.random);
        let reaches =
            self.network.reaches(who(member), peer) && self.network.reaches(peer, who(member));
        let peer = self.reached(peer);
        let up = self.node(peer).up;
        let crowded = self.network.count(member, peer) >= STREAMS_PER_PEER;
        let (after, link) = if !reaches {
            (OPEN_TIMEOUT_MS, None)
        } else if !up || crowded {
            (there_and_back, None)
        } else {
            let lives = (self.node(member).life, self.node(peer).life);
            let link = self.network.open((member, peer), lane, lives);
            self.node(peer).streams.entry(link).or_default();
            (there_and_back, Some(link))
        };
        self.after(member, after, Task::Opened(key, attempt, link));
    }

    pub(super) fn opened(
        &mut self,
        member: MemberNumber,
        key: DriverKey,
        attempt: u64,
        link: Option<LinkId>,
    ) {
        let driver = self.driver(member, key);
        let Some((_, outgoing)) = driver.opening.take_if(|(of, _)| *of == attempt) else {
            return;
        };
        match link {
            Some(link) => {
                driver.link = Some(link);
                self.transmit(member, key, *outgoing);
            }
            None => {
                self.say(|| format!("{member} does not reach {} in {}", key.0, key.1));
                self.driver(member, key).told = Some(Event::Failed(FailedAt::Link));
            }
        }
        if self.node(member).up {
            self.go_on_with(member, key);
        }
    }

    /// Sends a frame over the open connection. Permits are checked last.
    fn transmit(&mut self, member: MemberNumber, key: DriverKey, outgoing: Outgoing) {
        let present = Arc::clone(&self.node(member).decider);
        let unchecked = matches!(self.mutant, Some(Mutant::NoRecheck | Mutant::StaleMemo));
        let frame = if unchecked {
            Some(outgoing.frame().clone())
        } else {
            outgoing.release(&present)
        };
        let Some(frame) = frame else {
            self.coverage.count(Seen::Superseded);
            self.driver(member, key).told = Some(Event::Superseded);
            return;
        };
        if self.pass(member, Passage::BeforeSend).is_none() {
            return;
        }
        self.check_sending(member, key.0, &frame);
        self.overhear_sent(member, key.0, &frame);
        let now = self.now;
        let driver = self.driver(member, key);
        let Some(link) = driver.link else {
            return;
        };
        if driver.awaited.is_empty() {
            driver.since = now;
        }
        driver.awaited.push_back(frame.clone());
        self.after(member, RECEIPT_TIMEOUT_MS, Task::Overdue(key));
        self.post(link, Way::Out, || {
            Message::Frame(Box::new(frame.wire().clone()))
        });
        self.repeat(link, &frame);
        self.pass(member, Passage::Sent);
    }

    /// Now and then repeats a frame, over a connection that carries no answers.
    fn repeat(&mut self, link: LinkId, frame: &SentFrame) {
        if self.healed || !self.random.chance(self.profile.duplicate) {
            return;
        }
        let Some(original) = self.network.link(link).cloned() else {
            return;
        };
        let peer = original.to;
        if !self.node(peer).up || self.node(peer).life != original.lives.1 {
            return;
        }
        self.coverage.count(Seen::Duplicate);
        let ghost = self
            .network
            .open((original.from, peer), original.lane, original.lives);
        self.network.mark_repeating(ghost);
        self.node(peer).streams.entry(ghost).or_default();
        let late = self.random.between(1, 20_000);
        let copy = Message::Frame(Box::new(frame.wire().clone()));
        self.after(peer, late, Task::Arrived(ghost, copy));
        self.after(peer, late + 30_000, Task::Closed(ghost));
    }

    /// Gives a message to the network.
    pub(super) fn post(&mut self, id: LinkId, way: Way, message: impl FnOnce() -> Message) {
        let fate = self
            .network
            .fate(id, way, self.now, &self.profile, &mut self.random);
        let Some(link) = self.network.link(id) else {
            return;
        };
        let (from, to, lives) = (link.from, link.to, link.lives);
        match fate {
            Fate::Nowhere => {}
            Fate::Arrives(time) => {
                let (member, life) = match way {
                    Way::Out => (to, lives.1),
                    Way::Back => (from, lives.0),
                };
                let arrival = Task::Arrived(id, message());
                self.at(time, Happening::To(member, life, arrival));
            }
            Fate::Lost(sender_notices, receiver_notices) => {
                self.coverage.count(Seen::Loss);
                self.say(|| format!("connection {id} breaks with a message"));
                let at = |millis| self.now.plus_millis(millis);
                let (first, second) = (at(sender_notices), at(receiver_notices));
                self.at(first, Happening::To(from, lives.0, Task::Closed(id)));
                self.at(second, Happening::To(to, lives.1, Task::Closed(id)));
            }
        }
    }

    pub(super) fn receipt_arrived(
        &mut self,
        member: MemberNumber,
        link: LinkId,
        receipt: wire::Receipt,
    ) {
        let Some(key) = self.key_of(member, link) else {
            return;
        };
        let (now, peer) = (self.now, self.cast.node(key.0).clone());
        let decider = Arc::clone(&self.node(member).decider);
        let driver = self.driver(member, key);
        if driver.link != Some(link) {
            return;
        }
        driver.since = now;
        let read = driver.awaited.pop_front().map(|frame| {
            let read = frame.receipt(receipt, |id| {
                let stranger = stranger().public();
                if self.mutant == Some(Mutant::AnyoneSignsReceipts) && *id == stranger.id() {
                    return Some(stranger);
                }
                decider.register().hop_key(&peer, id, self.now)
            });
            read.map(|read| (frame, read))
        });
        match read {
            Some(Ok((frame, read))) => {
                let shown = self.shown_forgotten(member, &frame, &read, &decider);
                self.receipted(member, key, read, shown);
            }
            Some(Err(_)) | None => self.link_failed(member, key),
        }
    }

    /// Returns the driver that uses this connection.
    fn key_of(&mut self, member: MemberNumber, link: LinkId) -> Option<DriverKey> {
        let drivers = self.node(member).drivers.iter();
        let mut of_link = drivers.filter(|(_, driver)| driver.link == Some(link));
        of_link.next().map(|(key, _)| *key)
    }

    /// Returns the generation of a statement of this node that it does not remember, if the receipt
    /// shows one.
    fn shown_forgotten(
        &mut self,
        member: MemberNumber,
        frame: &SentFrame,
        receipt: &Receipt,
        decider: &Decider,
    ) -> Option<Generation> {
        let head = frame.head();
        let state = self.node(member).store.durable();
        let position = state.position(&head.receiver, head.lane);
        if self.mutant == Some(Mutant::SequenceBelieved) && receipt.is_out_of_sequence() {
            return Some(position.generation);
        }
        frame.forgotten(
            receipt,
            |key| decider.register().past_hop_key(&head.sender, key),
            Remembered {
                generation: position.generation,
                settled_sequence: position.next_sequence,
                left: &state.own_left,
            },
        )
    }

    fn receipted(
        &mut self,
        member: MemberNumber,
        key: DriverKey,
        receipt: Receipt,
        shown: Option<Generation>,
    ) {
        if self.pass(member, Passage::Receipt).is_none() {
            return;
        }
        if let FrameAnswer::RefusedWhole(rule) = &receipt.verdict {
            let rule = rule.clone();
            if rule == Rule::Fork.id() {
                self.note_stop(member, key);
                if self.mutant == Some(Mutant::ForkNotHeeded) {
                    return self.link_failed(member, key);
                }
            }
            self.say(|| format!("{member} hears from {}: refused whole under {rule}", key.0));
            if rule == Rule::Sequence.id() {
                self.coverage.count(Seen::RolledBack);
            }
        }
        self.check_receipt(member, key.0, &receipt);
        let receipt = Box::new(receipt);
        let event = match shown {
            Some(shown) => Event::Forgotten(receipt, shown),
            None => Event::Answered(receipt),
        };
        self.feed(member, key, event);
    }

    fn link_failed(&mut self, member: MemberNumber, key: DriverKey) {
        self.say(|| format!("{member}: a connection to {} in {} failed", key.0, key.1));
        self.disconnect(member, key);
        self.feed(member, key, Event::Failed(FailedAt::Link));
    }

    /// Ends a connection; the receiver notices it later.
    fn disconnect(&mut self, member: MemberNumber, key: DriverKey) {
        let driver = self.driver(member, key);
        driver.awaited.clear();
        let Some(id) = driver.link.take() else {
            return;
        };
        let Some(link) = self.network.link(id).cloned() else {
            return;
        };
        let notices = self
            .now
            .plus_millis(latency(&self.profile, &mut self.random));
        self.at(
            notices,
            Happening::To(link.to, link.lives.1, Task::Closed(id)),
        );
    }

    pub(super) fn overdue(&mut self, member: MemberNumber, key: DriverKey) {
        let now = self.now;
        let driver = self.driver(member, key);
        if driver.awaited.is_empty() {
            return;
        }
        let waited = now.millis_since(driver.since);
        if waited < RECEIPT_TIMEOUT_MS {
            self.after(member, RECEIPT_TIMEOUT_MS - waited, Task::Overdue(key));
            return;
        }
        self.coverage.count(Seen::TimedOut);
        self.link_failed(member, key);
    }

    /// Handles the end of a connection, noticed by either end.
    pub(super) fn closed(&mut self, member: MemberNumber, id: LinkId) {
        let Some(key) = self.key_of(member, id) else {
            self.node(member).streams.remove(&id);
            if self.network.link(id).is_some_and(|link| link.to == member) {
                self.network.close(id);
            }
            return;
        };
        let driver = self.driver(member, key);
        if driver.machine.in_flight() == 0 {
            // An idle connection has ended: the next frame opens another.
            driver.link = None;
            driver.awaited.clear();
        } else {
            self.link_failed(member, key);
        }
    }
}

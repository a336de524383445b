//! Random sequences of writes, as a node might make them. Dispatch does one thing at a time for a
//! peer and lane; a receipt belongs to a frame that was intended; and anything lost by a crash or a
//! failed job is planned again.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_protocol::{
    digest::Digest,
    frame::{Chain, FramePosition, Generation, Lane, Outcome},
    record::Form,
    seal::Entropy as _,
    time::Timestamp,
};
use portcullis_store::{DisclosureState, FactKind, Found, Part, Store as _};
use portcullis_tests::sim::{Random, cast::START};

use super::{
    reference::Reference,
    seen::held_items,
    side::Side as _,
    step::{Answered, Decided, Filled, Item, Judged, Mended, Plan, Stage, Step},
};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Forms that do not split a group: subject and assessment travel together.
const FORMS: [u64; 7] = [0b0011, 0b0100, 0b0111, 0b1000, 0b1011, 0b1100, 0b1111];

const fn is_confirmed(state: DisclosureState) -> bool {
    match state {
        DisclosureState::Answered(outcome) => outcome.is_admitted(),
        DisclosureState::Intended | DisclosureState::Denied => false,
    }
}

/// A frame on its way.
#[derive(Debug, Clone)]
struct Frame {
    generation: Generation,
    first_sequence: u64,
    items: Vec<(usize, Form)>,
    cursor: Option<usize>,
    filled: Option<Filled>,
}

/// Claims of a peer, honest most of the time.
#[derive(Debug, Clone)]
struct Claims {
    generations: Vec<Generation>,
    settled: u64,
    chain: Chain,
    /// Earlier positions of the peer.
    earlier: Vec<(u64, Chain)>,
    /// Frame that was sent last.
    last: Option<FramePosition>,
}

impl Claims {
    const fn starting(generations: Vec<Generation>) -> Self {
        Self {
            generations,
            settled: 1,
            chain: Chain::START,
            earlier: Vec::new(),
            last: None,
        }
    }
}

/// A sequence under construction.
pub(super) struct Writing {
    random: Random,
    pub(super) stage: Stage,
    on_their_way: BTreeMap<(usize, Lane), Frame>,
    claims: BTreeMap<(usize, Lane), Claims>,
    /// Peers and lanes that dispatch handles in this group.
    at_work: BTreeSet<(usize, Lane)>,
    pub(super) now: Timestamp,
    number: u64,
}

/// Earlier claims of the peers, to which they can be put back.
pub(super) struct Remembered(BTreeMap<(usize, Lane), Claims>);

impl Writing {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            stage: Stage::new(),
            on_their_way: BTreeMap::new(),
            claims: BTreeMap::new(),
            at_work: BTreeSet::new(),
            now: START,
            number: 0,
        }
    }

    /// Draws from the same generator for uses outside of the writes.
    pub(super) fn chance(&mut self, per_mille: u64) -> bool {
        self.random.chance(per_mille)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.random.below(end)
    }

    pub(super) fn remember(&self) -> Remembered {
        Remembered(self.claims.clone())
    }

    /// Puts the claims back after the last group was lost: peers send again what was not receipted.
    pub(super) fn go_back(&mut self, Remembered(claims): Remembered) {
        self.claims = claims;
    }

    /// Forgets frames whose plans may be lost; they are planned again, as after a start.
    pub(super) fn give_up_frames(&mut self) {
        self.on_their_way.clear();
    }

    /// Returns the jobs of the next group.
    pub(super) fn group(&mut self, model: &Reference) -> Vec<Vec<Step>> {
        let pass = match self.random.below(40) {
            0 | 1 => 31 * DAY_MS,
            2..=5 => 6 * HOUR_MS,
            _ => self.random.between(1, 60_000),
        };
        self.now = self.now.plus_millis(pass);
        self.at_work.clear();
        if self.random.chance(150) {
            return vec![vec![self.alone(model)]];
        }
        let jobs = 1 + self.random.index(3);
        (0..jobs)
            .map(|_| {
                let writes = 1 + self.random.index(2);
                (0..writes).map(|_| self.step(model)).collect()
            })
            .collect()
    }

    /// Returns a write that must be alone in its group.
    fn alone(&mut self, model: &Reference) -> Step {
        let peer = self.peer();
        match self.random.below(8) {
            0 => Step::Meet(vec![peer]),
            1 | 2 => {
                let ago = self.random.between(0, 2 * HOUR_MS);
                let until = self.now.plus_millis(1 - self.random.between(0, HOUR_MS));
                Step::Backfill(peer, self.now.plus_millis(-ago), until)
            }
            3..=5 => {
                let state = model.model.durable();
                let waiting = state.exceptions.keys().chain(state.undelivered.keys());
                let of_peer: Vec<_> = waiting
                    .filter(|(of, ..)| *of == self.stage.peers[peer])
                    .filter_map(|(_, _, id)| self.stage.record(id))
                    .collect();
                let known = !of_peer.is_empty() && self.random.chance(900);
                let record = if known {
                    *self.random.pick(&of_peer)
                } else {
                    self.random.index(self.stage.records.len())
                };
                let delete_at = self.stage.records[record].header().marking.delete_at;
                Step::Retry(peer, record, delete_at)
            }
            6 => Step::Quarantine(peer, self.some_records(3)),
            _ => Step::DropBad(self.random.index(4)),
        }
    }

    fn step(&mut self, model: &Reference) -> Step {
        self.number += 1;
        let peer = self.peer();
        let lane = *self.random.pick(Lane::ALL);
        match self.random.below(100) {
            0..=13 => Step::Publish(self.own_records()),
            14..=40 => self.arrival(peer, lane),
            41..=44 => self.decision(model, peer),
            45..=60 => self.plan(model, peer, lane),
            61..=76 => self.receipt(peer, lane),
            77..=79 => self.repair(model, peer),
            80..=81 => Step::AnswersReady(peer),
            82..=84 => Step::Withdraw(self.some_records(2)),
            85..=86 => self.recovery(),
            87..=92 => self.office(model, peer),
            93..=96 => self.consignment(),
            _ => Step::Event(self.number),
        }
    }

    fn peer(&mut self) -> usize {
        self.random.index(self.stage.peers.len())
    }

    fn form(&mut self) -> Form {
        Form::from_bits(*self.random.pick(&FORMS))
    }

    fn own_records(&mut self) -> Vec<usize> {
        let count = 1 + self.random.index(3);
        (0..count)
            .map(|_| self.random.index(self.stage.own))
            .collect()
    }

    fn some_records(&mut self, most: usize) -> Vec<usize> {
        let count = 1 + self.random.index(most);
        (0..count)
            .map(|_| self.random.index(self.stage.records.len()))
            .collect()
    }

    fn generation(&mut self) -> Generation {
        Generation::from_bytes([u8::try_from(self.random.below(250)).unwrap(); 16])
    }

    fn digest(&mut self) -> Digest {
        let mut bytes = [0; 32];
        self.random.fill(&mut bytes);
        Digest::from_bytes(bytes)
    }

    /// A frame of a peer, at the position that the peer claims.
    fn arrival(&mut self, peer: usize, lane: Lane) -> Step {
        let items = self.items();
        let (generation, digest) = (self.generation(), self.digest());
        let kind = self.random.below(20);
        let settles = self.random.chance(700);
        let claims = self
            .claims
            .entry((peer, lane))
            .or_insert_with(|| Claims::starting(vec![generation]));
        if let (0, Some(last)) = (kind, claims.last) {
            return Step::Intake(peer, lane, Box::new(last), Part::Later, items);
        }
        if let Some(last) = claims.last.take().filter(|_| settles) {
            claims.earlier.push((claims.settled, claims.chain));
            claims.settled = last.next_sequence;
            claims.chain = claims.chain.then(&last.digest);
        }
        let mut place = FramePosition {
            generation: *claims.generations.last().unwrap(),
            first_sequence: claims.settled,
            next_sequence: claims.settled + items.len() as u64,
            settled_sequence: claims.settled,
            chain: claims.chain,
            digest,
        };
        match kind {
            1 => place.chain = Chain::START.then(&digest),
            2 => {
                if let Some((settled, chain)) = claims.earlier.first() {
                    (place.settled_sequence, place.chain) = (*settled, *chain);
                }
            }
            3 => place.generation = claims.generations[0],
            4 => {
                let mut generations = std::mem::take(&mut claims.generations);
                generations.push(generation);
                *claims = Claims::starting(generations);
                return self.arrival(peer, lane);
            }
            _ => claims.last = Some(place),
        }
        Step::Intake(peer, lane, Box::new(place), Part::First, items)
    }

    fn items(&mut self) -> Vec<Item> {
        let count = 1 + self.random.index(4);
        (0..count)
            .map(|_| {
                let record = self.foreign();
                let form = self.form();
                let judged = match self.random.below(30) {
                    0 => Judged::Mistaken(self.foreign()),
                    1..=3 => Judged::Refuse,
                    4..=6 => Judged::RefuseForNow,
                    7..=10 => Judged::Hold,
                    _ => Judged::Admit(self.thinner(form)),
                };
                Item {
                    record,
                    form,
                    judged,
                }
            })
            .collect()
    }

    fn foreign(&mut self) -> usize {
        let foreign = self.stage.records.len() - self.stage.own;
        self.stage.own + self.random.index(foreign)
    }

    /// Returns this form, or one within it.
    fn thinner(&mut self, form: Form) -> Form {
        let thinner = self.form();
        if thinner.is_within(form) {
            thinner
        } else {
            form
        }
    }

    /// Final answers to items of a peer that are held, and sometimes to one that is not.
    fn decision(&mut self, model: &Reference, peer: usize) -> Step {
        let held = held_items(&model.model);
        let of_peer = held
            .iter()
            .filter(|item| item.peer == self.stage.peers[peer]);
        let mut waiting: Vec<(usize, Form)> = of_peer
            .filter_map(|item| Some((self.stage.record(&item.sealed.id())?, item.form)))
            .collect();
        waiting.truncate(1 + self.random.index(2));
        if self.random.chance(100) {
            waiting.push((self.foreign(), self.form()));
        }
        let items = waiting.into_iter().map(|(record, form)| Item {
            record,
            form,
            judged: if self.random.chance(600) {
                Judged::Admit(self.thinner(form))
            } else {
                Judged::Refuse
            },
        });
        Step::Decide(peer, items.collect())
    }

    /// The next plan of dispatch for a peer and lane, which has no other write in this group.
    fn plan(&mut self, model: &Reference, peer: usize, lane: Lane) -> Step {
        if !self.at_work.insert((peer, lane)) {
            return Step::Event(self.number);
        }
        let range = model.next_backfill(&self.stage.peers[peer]);
        let older = range.filter(|_| lane == Lane::Bulk && self.random.chance(400));
        let (entries, cursor, filled) = match older {
            Some(row) => {
                let (entries, filled) = self.older(model, row.log, (row.next, row.last));
                (entries, None, Some(filled))
            }
            None => {
                let (entries, cursor) = self.newer(model, peer, lane);
                (entries, cursor, None)
            }
        };
        let position = model.model.position(&self.stage.peers[peer], lane).unwrap();
        let items: Vec<_> = entries
            .iter()
            .filter(|entry| !entry.form.is_empty())
            .map(|entry| (entry.record, entry.form))
            .collect();
        // With a frame, the cursor and the range move only with the receipt.
        let at_once = items.is_empty();
        self.on_their_way.remove(&(peer, lane));
        let plan = Plan {
            peer,
            lane,
            first_sequence: (!at_once).then_some(position.next_sequence),
            entries,
            cursor: cursor.filter(|_| at_once),
            filled: filled.filter(|_| at_once),
        };
        if !at_once {
            let frame = Frame {
                generation: position.generation,
                first_sequence: position.next_sequence,
                items,
                cursor,
                filled,
            };
            self.on_their_way.insert((peer, lane), frame);
        }
        Step::Intend(Box::new(plan))
    }

    /// Draws some entries that the log lists, and some that are due for a retry.
    fn newer(
        &mut self,
        model: &Reference,
        peer: usize,
        lane: Lane,
    ) -> (Vec<Decided>, Option<usize>) {
        let mut entries = Vec::new();
        let mut seen = BTreeSet::new();
        // Retries are found among the exceptions; every other entry is named by its line.
        let later = self.now.plus_millis(DAY_MS);
        let peer = &self.stage.peers[peer];
        let due = model.model.due(peer, lane, later, u32::MAX).unwrap();
        let tried = self.random.index(3);
        for held in due.iter().take(tried) {
            let record = self.stage.record(&held.sealed.id()).unwrap();
            if seen.insert(record) {
                entries.push(self.decided(None, record));
            }
        }
        let lines = model.lines.of(lane);
        let from = self.random.index(lines.len().max(1));
        let count = self.random.index(4);
        for (line, (_, id)) in lines.iter().enumerate().skip(from).take(count) {
            let record = self.stage.record(id).unwrap();
            if self.is_listed(model, record) && seen.insert(record) {
                entries.push(self.decided(Some((lane, line)), record));
            }
        }
        let last = (from + count).checked_sub(1);
        (entries, last.filter(|last| *last < lines.len()))
    }

    /// Draws entries of a range of older records, which lies in this lane of the log.
    fn older(
        &mut self,
        model: &Reference,
        log: Lane,
        (next, last): (u64, u64),
    ) -> (Vec<Decided>, Filled) {
        let lines = model.lines.of(log);
        let within: Vec<_> = lines
            .iter()
            .enumerate()
            .filter(|(_, (sequence, _))| *sequence > next && *sequence <= last)
            .map(|(line, (_, id))| (line, self.stage.record(id).unwrap()))
            .collect();
        let count = 1 + self.random.index(3);
        let mut entries = Vec::new();
        let mut seen = BTreeSet::new();
        for (line, record) in within.iter().take(count) {
            if self.is_listed(model, *record) && seen.insert(*record) {
                entries.push(self.decided(Some((log, *line)), *record));
            }
        }
        let is_last = count >= within.len();
        let sent = entries.iter().filter(|entry| !entry.form.is_empty());
        let filled = Filled {
            to: within
                .get(count - 1)
                .filter(|_| !is_last)
                .map(|(line, _)| (log, *line)),
            looked_at: entries.len() as u64,
            sent: sent.count() as u64,
        };
        (entries, filled)
    }

    /// Returns whether a plan may name the record. A withdrawn record is not listed, but a plan
    /// made before the withdrawal may still name it.
    fn is_listed(&mut self, model: &Reference, record: usize) -> bool {
        let held = model.model.record(&self.stage.records[record].id());
        held.unwrap().is_some() || self.random.chance(50)
    }

    fn decided(&mut self, line: Option<(Lane, usize)>, record: usize) -> Decided {
        let form = if self.random.chance(250) {
            Form::EMPTY
        } else {
            self.form()
        };
        Decided { line, record, form }
    }

    /// The receipt of the frame on its way; without one, an event instead.
    fn receipt(&mut self, peer: usize, lane: Lane) -> Step {
        let is_free = self.at_work.insert((peer, lane));
        let frame = is_free.then(|| self.on_their_way.remove(&(peer, lane)));
        let Some(frame) = frame.flatten() else {
            return Step::Event(self.number);
        };
        let mostly = self.random.chance(500);
        let answers = frame
            .items
            .into_iter()
            .map(|(record, form)| {
                let any = *self.random.pick(Outcome::ALL);
                let accepted = mostly && self.random.chance(800);
                let outcome = if accepted { Outcome::Accepted } else { any };
                (record, form, outcome)
            })
            .collect();
        Step::Settle(Box::new(Answered {
            peer,
            lane,
            generation: frame.generation,
            first_sequence: frame.first_sequence,
            answers,
            cursor: frame.cursor,
            retry_ms: *self.random.pick(&[60_000, HOUR_MS, DAY_MS]),
            filled: frame.filled,
        }))
    }

    /// Findings of a comparison of channels. Only records that the peer has confirmed can be owed.
    fn repair(&mut self, model: &Reference, peer: usize) -> Step {
        let state = model.model.durable();
        let confirmed = state.ledger.iter().filter(|((_, to), lines)| {
            let mut lines = lines.iter();
            *to == self.stage.peers[peer] && lines.any(|line| is_confirmed(line.row.state))
        });
        let mut owed: Vec<usize> = confirmed
            .filter_map(|((id, _), _)| self.stage.record(id))
            .filter(|_| self.random.chance(200))
            .collect();
        owed.truncate(3);
        let mut learned = Vec::new();
        if self.random.chance(500) {
            let empty = self.random.chance(200);
            let form = if empty { Form::EMPTY } else { self.form() };
            learned.push((self.random.index(self.stage.records.len()), form));
        }
        let withdrawn = if self.random.chance(200) {
            self.some_records(1)
        } else {
            Vec::new()
        };
        let mended = Mended {
            owed,
            learned,
            withdrawn,
        };
        Step::Repair(peer, Box::new(mended))
    }

    /// Own records that a peer gives back, whole or in part.
    fn recovery(&mut self) -> Step {
        let records = self.own_records();
        let form = Form::from_bits(0b1111);
        let given = records.into_iter().map(|at| (at, self.thinner(form)));
        Step::Recover(given.collect())
    }

    /// Writes of persons, of the governance and of the node itself.
    fn office(&mut self, model: &Reference, peer: usize) -> Step {
        match self.random.below(5) {
            0 => {
                let enrols = self.random.chance(400);
                let person = enrols.then(|| format!("p{}", self.random.below(5)));
                Step::Act(self.random.below(30), person)
            }
            1 => {
                let kinds = [FactKind::Block, FactKind::Stop, FactKind::Suspension];
                let subject = format!("s{}", self.random.below(3));
                let kept = self.random.chance(700);
                let content = kept.then(|| u8::try_from(self.random.below(9)).unwrap());
                Step::Fact(*self.random.pick(&kinds), subject, content)
            }
            2 => Step::Register(1 + self.random.index(3)),
            3 => {
                let owed = self.random.below(3);
                let learned = self.random.below(2);
                let found = Found {
                    owed,
                    learned,
                    withdrawn: 0,
                    recovered: 0,
                };
                Step::Reconciled(peer, found)
            }
            _ => {
                let present = model.model.generation().unwrap();
                let (other, next) = (self.generation(), self.generation());
                let right = self.random.chance(700);
                Step::StartGeneration(if right { present } else { other }, next)
            }
        }
    }

    fn consignment(&mut self) -> Step {
        let reference = format!("c{}", self.random.below(5));
        if self.random.chance(500) {
            return Step::Consignment(reference, self.random.chance(500), self.number);
        }
        let points = self.random.below(100);
        let records = self.some_records(2).len() as u64;
        if points < 20 {
            Step::Remove(reference)
        } else {
            Step::Score(reference, points, records)
        }
    }
}

//! The shell of reconciliation: questions about channels and their answers over the network, as
//! reconcile/question.rs and reconcile/standing.rs do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use portcullis_exchange::reconcile::{
    machine::{End, Event, Last, Machine},
    recovery, summary,
    walk::{Findings, Next, Walk},
};
use portcullis_kernel::moment::Moment;
use portcullis_protocol::{
    frame::Generation,
    reconcile::{Answer, Ask, Entry, MAX_ENTRIES, MAX_WANTED, Page, Question, Summary},
    record::RecordId,
    verify::VerifiedRecord,
    wire,
};
use portcullis_store::{
    ChannelPage, ChannelSide, DisclosureState, Found, ReconciliationRow, Repair, Store as _, Write,
    writer::Priority,
};

use super::{
    cast::{FEDERATION, MemberNumber, who},
    coverage::Seen,
    happening::{Happening, Task},
    mutant::Mutant,
    network::latency,
    node::Asker,
    store::Reply,
    world::World,
};

/// Longest wait for an answer.
const TIMEOUT_MS: i64 = 60_000;

/// State of a node's comparisons of channels.
#[derive(Debug, Default)]
pub struct Reconciling {
    /// The product's own state machine.
    machine: Machine,
    /// Comparisons under way.
    comparisons: BTreeMap<MemberNumber, Comparison>,
    /// Summaries given to peers, kept while they continue to ask.
    summaries: BTreeMap<MemberNumber, Summary>,
    /// Number that distinguishes a question from earlier ones.
    turn: u64,
    /// Number that distinguishes a rest from earlier ones.
    rest: u64,
}

#[derive(Debug)]
struct Comparison {
    walk: Walk,
    own: Generation,
    theirs: Option<Generation>,
    found: Found,
    /// Step that is waited for, with its turn.
    pending: Option<(u64, Pending)>,
    /// Questions to ask before the walk goes on.
    questions: VecDeque<Question>,
}

#[derive(Debug)]
enum Pending {
    Digests,
    Page(Page, Vec<Entry>),
    Told,
    Wanted(Vec<RecordId>),
    Repaired {
        lost: Vec<RecordId>,
        withdrawn: Vec<RecordId>,
        owes: bool,
    },
    Recovered,
    Noted(End),
}

impl World {
    /// Starts the machine of a process with its peers and the times of their last comparisons.
    pub(super) fn start_reconciling(&mut self, member: MemberNumber) {
        let cast = self.cast;
        let others: Vec<MemberNumber> = self
            .profile
            .members
            .iter()
            .copied()
            .filter(|peer| *peer != who(member))
            .collect();
        let now = self.now;
        let node = self.node(member);
        node.reconciling = Reconciling::default();
        let state = node.store.durable();
        let peers = others.into_iter().map(|peer| {
            let row = state.reconciliations.get(cast.node(peer));
            let row = row.filter(|row| row.own == state.generation);
            let last = Last {
                ago_ms: row.and_then(|row| u64::try_from(now.millis_since(row.at)).ok()),
                spread_ms: 0,
            };
            (cast.node(peer).clone(), last)
        });
        self.reconcile(member, Event::Peers(peers.collect()));
    }

    /// Gives an event to the machine and begins the comparisons that are due.
    pub(super) fn reconcile(&mut self, member: MemberNumber, event: Event) {
        if self.mutant == Some(Mutant::NeverCompared) {
            return;
        }
        // No clock is set here, so the virtual time is also the one that cannot be set.
        let now = Moment::from_millis(self.now.as_millis());
        let reconciling = &mut self.node(member).reconciling;
        let due = reconciling.machine.handle(event, now);
        let wake = reconciling.machine.wake_at(now).max(now.plus_millis(50));
        reconciling.rest += 1;
        let rest = reconciling.rest;
        self.after(member, wake.millis_since(now), Task::CompareTick(rest));
        for peer in due {
            self.begin_comparison(member, self.cast.member(&peer));
        }
    }

    pub(super) fn compare_tick(&mut self, member: MemberNumber, rest: u64) {
        if self.node(member).reconciling.rest == rest {
            self.reconcile(member, Event::Tick);
        }
    }

    fn begin_comparison(&mut self, member: MemberNumber, peer: MemberNumber) {
        let peer_id = self.cast.node(peer);
        let store = &self.node(member).store;
        let comparison = Comparison {
            walk: Walk::new(summary(store, peer_id, ChannelSide::Sent).unwrap()),
            own: store.generation().unwrap(),
            theirs: None,
            found: Found::default(),
            pending: None,
            questions: VecDeque::new(),
        };
        self.say(|| format!("{member} compares its channel to {peer}"));
        self.coverage.count(Seen::Compared);
        self.node(member)
            .reconciling
            .comparisons
            .insert(peer, comparison);
        self.go_on_comparing(member, peer);
    }

    fn comparison(&mut self, member: MemberNumber, peer: MemberNumber) -> Option<&mut Comparison> {
        self.node(member).reconciling.comparisons.get_mut(&peer)
    }

    fn go_on_comparing(&mut self, member: MemberNumber, peer: MemberNumber) {
        let peer_id = self.cast.node(peer).clone();
        let Some(comparison) = self.comparison(member, peer) else {
            return;
        };
        if let Some(question) = comparison.questions.pop_front() {
            let pending = match &question {
                Question::Wanted(ids) => Pending::Wanted(ids.clone()),
                Question::Digests(_) | Question::Page(_) | Question::Withdrawn(_) => Pending::Told,
            };
            return self.ask_peer(member, peer, question, pending);
        }
        match comparison.walk.step() {
            Next::Digests(ranges) => {
                self.ask_peer(member, peer, Question::Digests(ranges), Pending::Digests);
            }
            Next::Page(page) => {
                let own = ChannelPage {
                    of: page.of,
                    after: page.after,
                    most: MAX_ENTRIES * 2,
                };
                let store = &self.node(member).store;
                let own = store.channel(&peer_id, ChannelSide::Sent, &own).unwrap();
                self.ask_peer(member, peer, Question::Page(page), Pending::Page(page, own));
            }
            Next::Done => self.note_comparison(member, peer),
        }
    }

    fn await_in(&mut self, member: MemberNumber, peer: MemberNumber, pending: Pending) -> u64 {
        let reconciling = &mut self.node(member).reconciling;
        reconciling.turn += 1;
        let turn = reconciling.turn;
        if let Some(comparison) = reconciling.comparisons.get_mut(&peer) {
            comparison.pending = Some((turn, pending));
        }
        turn
    }

    fn ask_peer(
        &mut self,
        member: MemberNumber,
        peer: MemberNumber,
        question: Question,
        pending: Pending,
    ) {
        let turn = self.await_in(member, peer, pending);
        self.after(member, TIMEOUT_MS, Task::CompareFailed(peer, turn));
        let generation = self.node(member).store.generation().unwrap();
        let ask = Ask {
            generation,
            question,
        }
        .to_wire(&FEDERATION.parse().unwrap());
        let process = self.reached(peer);
        if !self.gets_through(member, process) {
            return;
        }
        let lives = (self.node(member).life, self.node(process).life);
        let at = self
            .now
            .plus_millis(latency(&self.profile, &mut self.random));
        let asked = Task::Asked(member, lives.0, turn, Box::new(ask));
        self.at(at, Happening::To(process, lives.1, asked));
    }

    /// Returns whether a question or an answer arrives.
    fn gets_through(&mut self, from: MemberNumber, to: MemberNumber) -> bool {
        let reaches = self.network.reaches(who(from), who(to));
        let lost = !self.healed && self.random.chance(self.profile.loss);
        reaches && !lost && self.node(to).up
    }

    /// Answers the question of a peer.
    pub(super) fn asked(
        &mut self,
        member: MemberNumber,
        asker: MemberNumber,
        life: u32,
        turn: u64,
        ask: wire::ReconcileAsk,
    ) {
        let Ok(ask) = Ask::read(ask, &FEDERATION.parse().unwrap()) else {
            return;
        };
        let peer = self.cast.node(asker).clone();
        let state = self.node(member).store.durable();
        let known = state.reconciliations.get(&peer);
        if known.is_none_or(|row| row.theirs != ask.generation) {
            self.reconcile(member, Event::Called(peer));
        }
        let answer = self.answer_of(member, asker, ask.question);
        if !self.gets_through(member, asker) {
            return;
        }
        let at = self
            .now
            .plus_millis(latency(&self.profile, &mut self.random));
        let told = Task::Told(who(member), turn, Box::new(answer.to_wire()));
        self.at(at, Happening::To(asker, life, told));
    }

    fn answer_of(
        &mut self,
        member: MemberNumber,
        asker: MemberNumber,
        question: Question,
    ) -> Answer {
        let (peer, now) = (self.cast.node(asker).clone(), self.now);
        let store = &self.node(member).store;
        let empty = Answer::empty(store.generation().unwrap());
        match question {
            Question::Digests(ranges) => {
                let begins = ranges == [portcullis_protocol::reconcile::Buckets::ALL];
                let reconciling = &self.node(member).reconciling;
                let kept = reconciling
                    .summaries
                    .get(&asker)
                    .filter(|_| !begins)
                    .cloned();
                let summary = kept.unwrap_or_else(|| {
                    summary(&self.node(member).store, &peer, ChannelSide::Received).unwrap()
                });
                let digests = ranges.iter().map(|range| summary.of(*range)).collect();
                self.node(member)
                    .reconciling
                    .summaries
                    .insert(asker, summary);
                Answer {
                    ranges: digests,
                    ..empty
                }
            }
            Question::Page(page) => {
                let asked = ChannelPage {
                    of: page.of,
                    after: page.after,
                    most: MAX_ENTRIES,
                };
                let entries = store.channel(&peer, ChannelSide::Received, &asked).unwrap();
                Answer { entries, ..empty }
            }
            Question::Withdrawn(withdrawn) => {
                let repair = Repair {
                    peer,
                    at: now,
                    owed: Vec::new(),
                    learned: Vec::new(),
                    withdrawn,
                };
                self.enqueue(
                    member,
                    Priority::Bulk,
                    vec![Write::Repair(repair)],
                    Asker::Nobody,
                );
                empty
            }
            Question::Wanted(ids) => {
                let decider = self.node(member).decider.clone();
                let authority = self.cast.authority(asker);
                let held = ids
                    .iter()
                    .filter_map(|id| self.nodes[&member].store.record(id).unwrap());
                let records = held
                    .filter_map(|held| decider.verify_held(&held, now).ok())
                    .filter(|record| record.header().origin == *authority)
                    .filter(|record| !record.header().marking.is_over(now))
                    .map(|record| record.sealed().clone())
                    .collect();
                Answer { records, ..empty }
            }
        }
    }

    pub(super) fn compare_failed(&mut self, member: MemberNumber, peer: MemberNumber, turn: u64) {
        let pending = self
            .comparison(member, peer)
            .and_then(|one| one.pending.as_ref());
        if pending.is_some_and(|(at, _)| *at == turn) {
            self.give_up_comparing(member, peer);
        }
    }

    fn give_up_comparing(&mut self, member: MemberNumber, peer: MemberNumber) {
        self.say(|| format!("{member} does not get through comparing with {peer}"));
        self.node(member).reconciling.comparisons.remove(&peer);
        self.reconcile(member, Event::Failed(self.cast.node(peer).clone()));
    }

    /// Handles the answer of a peer.
    pub(super) fn told(
        &mut self,
        member: MemberNumber,
        peer: MemberNumber,
        turn: u64,
        answer: wire::ReconcileAnswer,
    ) {
        let Some(comparison) = self.comparison(member, peer) else {
            return;
        };
        let Some((_, pending)) = comparison.pending.take_if(|(at, _)| *at == turn) else {
            return;
        };
        let Ok(answer) = Answer::read(answer) else {
            return self.give_up_comparing(member, peer);
        };
        comparison.theirs = Some(answer.generation);
        match pending {
            Pending::Digests => match comparison.walk.digests(&answer.ranges) {
                Ok(()) => self.go_on_comparing(member, peer),
                Err(_) => self.give_up_comparing(member, peer),
            },
            Pending::Page(page, own) => match comparison.walk.page(page, &own, &answer) {
                Ok(findings) => self.repair_channel(member, peer, findings),
                Err(_) => self.give_up_comparing(member, peer),
            },
            Pending::Wanted(ids) => self.take_back(member, peer, &ids, &answer),
            Pending::Told => self.go_on_comparing(member, peer),
            Pending::Repaired { .. } | Pending::Recovered | Pending::Noted(_) => {}
        }
    }

    fn repair_channel(&mut self, member: MemberNumber, peer: MemberNumber, findings: Findings) {
        let Findings {
            missing,
            unknown,
            withdrawn_there,
            withdrawn_here,
        } = findings;
        let peer_id = self.cast.node(peer).clone();
        let learned = self.forgotten(member, peer, unknown);
        if let Some(comparison) = self.comparison(member, peer) {
            comparison.found.owed += missing.len() as u64;
            comparison.found.learned += learned.len() as u64;
            comparison.found.withdrawn += (withdrawn_there.len() + withdrawn_here.len()) as u64;
        }
        self.say(|| {
            format!(
                "{member} owes {peer} {} records and learned of {}",
                missing.len(),
                learned.len()
            )
        });
        if !missing.is_empty() {
            self.coverage.count(Seen::Owed);
        }
        if !learned.is_empty() {
            self.coverage.count(Seen::Learned);
        }
        let pending = Pending::Repaired {
            lost: learned.iter().map(|entry| entry.id).collect(),
            withdrawn: withdrawn_here,
            owes: !missing.is_empty(),
        };
        let repair = Repair {
            peer: peer_id,
            at: self.now,
            owed: missing,
            learned,
            withdrawn: withdrawn_there,
        };
        let turn = self.await_in(member, peer, pending);
        self.enqueue(
            member,
            Priority::Bulk,
            vec![Write::Repair(repair)],
            Asker::Comparison(peer, turn),
        );
    }

    /// Returns those of the peer's entries that the ledger does not tell of.
    fn forgotten(
        &mut self,
        member: MemberNumber,
        peer: MemberNumber,
        unknown: Vec<Entry>,
    ) -> Vec<Entry> {
        let peer_id = self.cast.node(peer);
        let store = &self.node(member).store;
        let told = |entry: &Entry| {
            let history = store.disclosure_history(&entry.id, peer_id).unwrap();
            history.iter().any(|row| match row.state {
                DisclosureState::Intended => entry.form.is_within(row.form),
                DisclosureState::Answered(outcome) => {
                    outcome.is_admitted() && entry.form.is_within(row.form)
                }
                DisclosureState::Denied => false,
            })
        };
        unknown.into_iter().filter(|entry| !told(entry)).collect()
    }

    /// Admits records that a peer gives back, as far as they are the node's own and were asked for.
    fn take_back(
        &mut self,
        member: MemberNumber,
        peer: MemberNumber,
        ids: &[RecordId],
        answer: &Answer,
    ) {
        let wanted: BTreeSet<RecordId> = ids.iter().copied().collect();
        let (own, now) = (self.cast.authority(member), self.now);
        let decider = self.node(member).decider.clone();
        let records: Vec<VerifiedRecord> = answer
            .records
            .iter()
            .filter_map(|sealed| decider.verify_seen(sealed, now, now).ok())
            .filter(|record| recovery::check(record, own, &wanted, now).is_ok())
            .collect();
        if records.is_empty() {
            return self.go_on_comparing(member, peer);
        }
        self.coverage.count(Seen::Recovered);
        if let Some(comparison) = self.comparison(member, peer) {
            comparison.found.recovered += records.len() as u64;
        }
        let turn = self.await_in(member, peer, Pending::Recovered);
        let recover = Write::Recover { records, now };
        self.enqueue(
            member,
            Priority::Bulk,
            vec![recover],
            Asker::Comparison(peer, turn),
        );
    }

    fn note_comparison(&mut self, member: MemberNumber, peer: MemberNumber) {
        let (now, peer_id) = (self.now, self.cast.node(peer).clone());
        let Some(comparison) = self.comparison(member, peer) else {
            return;
        };
        let end = if comparison.found.is_nothing() {
            End::Level
        } else {
            End::Repaired
        };
        let row = ReconciliationRow {
            peer: peer_id,
            own: comparison.own,
            theirs: comparison.theirs.unwrap_or(comparison.own),
            at: now,
            found: comparison.found,
        };
        let turn = self.await_in(member, peer, Pending::Noted(end));
        self.enqueue(
            member,
            Priority::Bulk,
            vec![Write::Reconciled(row)],
            Asker::Comparison(peer, turn),
        );
    }

    /// Gives the writer's reply to a comparison.
    pub(super) fn comparison_replied(
        &mut self,
        member: MemberNumber,
        peer: MemberNumber,
        turn: u64,
        reply: &Reply,
    ) {
        let Some(comparison) = self.comparison(member, peer) else {
            return;
        };
        let Some((_, pending)) = comparison.pending.take_if(|(at, _)| *at == turn) else {
            return;
        };
        if reply.is_err() {
            return self.give_up_comparing(member, peer);
        }
        match pending {
            Pending::Repaired {
                lost,
                withdrawn,
                owes,
            } => {
                let held = |id: &RecordId| self.nodes[&member].store.record(id).unwrap().is_some();
                let lost: Vec<RecordId> = lost.into_iter().filter(|id| !held(id)).collect();
                if let Some(comparison) = self.comparison(member, peer) {
                    let wanted = lost
                        .chunks(MAX_WANTED)
                        .map(|ids| Question::Wanted(ids.to_vec()));
                    if !withdrawn.is_empty() {
                        comparison
                            .questions
                            .push_back(Question::Withdrawn(withdrawn));
                    }
                    comparison.questions.extend(wanted);
                }
                if owes {
                    self.log_grew(member);
                }
                self.go_on_comparing(member, peer);
            }
            Pending::Recovered => self.go_on_comparing(member, peer),
            Pending::Noted(end) => {
                self.node(member).reconciling.comparisons.remove(&peer);
                let peer = self.cast.node(peer).clone();
                self.reconcile(member, Event::Compared { peer, end });
            }
            Pending::Digests | Pending::Page(..) | Pending::Told | Pending::Wanted(_) => {}
        }
    }
}

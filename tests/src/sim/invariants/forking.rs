//! Two histories within one generation: each peer answers one of them.
//!
//! The settled history of a sender is read from its own disk, commit by commit. Therefore it is
//! known here, and nowhere else, whether one process can have made two claims.

use portcullis_protocol::{
    frame::{Chain, Generation, Lane, ReceivedFrame},
    rules::Rule,
    statement::SignedStatement,
    wire,
};
use portcullis_store::ForkRow;
use prost::Message as _;

use super::{Invariant, Watch};
use crate::{
    hostile::forge::Framed,
    sim::{
        cast::{MemberNumber, who},
        coverage::Seen,
        node::DriverKey,
        store::State,
        world::World,
    },
};

/// Key of a settled history: process, peer, lane and generation.
pub(super) type Line = (MemberNumber, MemberNumber, Lane, Generation);

/// Claim of a sender about what it has settled: generation, sequence number, chain.
pub(super) type Claim = (Generation, u64, Chain);

/// Time for which nothing is delivered to a peer that told of a fork.
const STOPPED_MS: i64 = 3_600_000;
/// Most forks of a peer that are kept.
const MOST_KEPT: usize = 16;

impl Watch {
    /// Records that a node was copied: the copy has the data of the original and the same past.
    pub(in crate::sim) fn double(&mut self, member: MemberNumber, copy: MemberNumber) {
        self.faulty.insert(member);
        self.doubled.insert(member);
        let known = self.histories.clone();
        let past = known.into_iter().filter(|((of, ..), _)| *of == member);
        self.histories
            .extend(past.map(|((_, peer, lane, at), line)| ((copy, peer, lane, at), line)));
        let withdrawn = self.withdrawn.clone();
        let of_it = withdrawn.into_iter().filter(|(by, _)| *by == member);
        self.withdrawn
            .extend(of_it.map(|(_, record)| (copy, record)));
        let sources = self.sources.clone();
        let of_it = sources.into_iter().filter(|((at, _), _)| *at == member);
        self.sources
            .extend(of_it.map(|((_, record), source)| ((copy, record), source)));
    }

    /// Forgets the claims made to a receiver that started a new generation: it believes each sender
    /// once.
    pub(in crate::sim) fn believes_anew(&mut self, member: MemberNumber) {
        self.claims.retain(|(receiver, ..), _| *receiver != member);
    }

    /// Returns whether one process of a member went through both claims.
    fn one_went_through(
        &self,
        (sender, receiver, lane): (MemberNumber, MemberNumber, Lane),
        one: Claim,
        other: Claim,
    ) -> bool {
        let of_it = self
            .histories
            .iter()
            .filter(|((process, peer, in_lane, at), _)| {
                (who(*process), *peer, *in_lane, *at) == (sender, receiver, lane, one.0)
            });
        let start = |claim: Claim| (claim.1, claim.2) == (1, Chain::START);
        (start(one) && start(other))
            || of_it.map(|(_, line)| line).any(|line| {
                let through = |claim: Claim| start(claim) || line.get(&claim.1) == Some(&claim.2);
                through(one) && through(other)
            })
    }
}

impl World {
    /// Extends the history of a process that settled something.
    pub(in crate::sim) fn remember_settled(&mut self, process: MemberNumber, after: &State) {
        for ((peer, lane), (next, chain)) in after.sent.iter() {
            let line = (process, self.cast.member(peer), *lane, after.generation);
            let history = self.watch.histories.entry(line).or_default();
            history.insert(*next, *chain);
        }
    }

    /// Checks that the claim of an answered frame and the last one answered belong to one history.
    pub(in crate::sim) fn check_claim(&mut self, receiver: MemberNumber, frame: &ReceivedFrame) {
        let head = &frame.head;
        let sender = self.cast.member(&head.sender);
        if self.liar == Some(sender) {
            return;
        }
        let key = (receiver, sender, head.lane);
        let claim = (head.generation, head.settled_sequence, head.chain);
        let last = self.watch.claims.insert(key, claim);
        let Some(last) = last.filter(|last| last.0 == claim.0) else {
            return;
        };
        let line = (sender, who(receiver), head.lane);
        if !self.watch.one_went_through(line, last, claim) {
            let detail = format!("{receiver} answers two histories of {sender}");
            self.violated(Invariant::ForkIsSeen, detail);
        }
    }

    /// Checks that evidence is kept of a frame refused as a fork of a member that did fork.
    pub(in crate::sim) fn check_evidence(
        &mut self,
        receiver: MemberNumber,
        rule: Rule,
        frame: &ReceivedFrame,
    ) {
        let sender = self.cast.member(&frame.head.sender);
        // A restored node that does not know it yet takes anyone for forked.
        let excused =
            self.watch.faulty.contains(&who(receiver)) || self.watch.restored.contains(&receiver);
        let judge = self.watch.doubled.contains(&sender) && !excused;
        if !judge {
            return;
        }
        if rule == Rule::Sequence {
            self.coverage.count(Seen::CopyBehind);
        }
        if rule != Rule::Fork {
            return;
        }
        self.coverage.count(Seen::ForkRefused);
        let state = self.node(receiver).store.durable();
        let rows: Vec<&ForkRow> = state
            .forks
            .iter()
            .filter(|row| row.peer == frame.head.sender)
            .collect();
        let kept =
            rows.len() >= MOST_KEPT || rows.iter().any(|row| row.forked == *frame.statement());
        let sound = rows
            .iter()
            .all(|row| self.proves(sender, who(receiver), row));
        if !kept || !sound {
            let detail = format!("{receiver} has no evidence that {sender} forked");
            self.violated(Invariant::ForkIsSeen, detail);
        }
    }

    /// Returns whether both frames are signed by the sender, for one receiver, lane and generation,
    /// and no process of it can have signed both.
    fn proves(&self, sender: MemberNumber, receiver: MemberNumber, row: &ForkRow) -> bool {
        let (Some(known), Some(forked)) = (
            self.claimed(sender, row, &row.known),
            self.claimed(sender, row, &row.forked),
        ) else {
            return false;
        };
        known.0 == forked.0
            && !self
                .watch
                .one_went_through((sender, receiver, row.lane), known, forked)
    }

    fn claimed(
        &self,
        sender: MemberNumber,
        row: &ForkRow,
        statement: &SignedStatement,
    ) -> Option<Claim> {
        let key = self.cast.hop_key(sender).public();
        let payload = statement.verify::<Framed>(&key).ok()?;
        let said = wire::FramePayload::decode(payload.clone()).ok()?;
        let lane = wire::Lane::from(row.lane);
        let generation = said.generation.as_ref().try_into().ok()?;
        (said.sender == self.cast.node(sender).as_str() && said.lane() == lane).then_some(())?;
        let chain = Chain::from_slice(&said.chain)?;
        Some((
            Generation::from_bytes(generation),
            said.settled_sequence,
            chain,
        ))
    }

    /// Checks that a node that starts a new generation, and so believes each peer once, was restored
    /// or exists twice. A liar that could make it do so would show a second history next.
    pub(in crate::sim) fn check_start(&mut self, process: MemberNumber) {
        // Peers may have heard a later statement of the liar than its own node has made.
        let forgot = self.watch.restored.contains(&process)
            || self.watch.doubled.contains(&who(process))
            || self.liar == Some(who(process));
        if !forgot {
            let detail = format!("{process} believes a peer that says that it was rolled back");
            self.violated(Invariant::ForkIsSeen, detail);
        }
    }

    /// Records that a process was told of its fork.
    pub(in crate::sim) fn note_stop(&mut self, process: MemberNumber, (peer, lane): DriverKey) {
        self.coverage.count(Seen::ForkHeeded);
        let (life, now) = (self.node(process).life, self.now);
        self.watch
            .stopped
            .insert((process, peer, lane), (life, now));
    }

    /// Checks that a process told of a fork delivers nothing to the peer that told it, for an hour
    /// or until it is started again.
    pub(in crate::sim) fn check_stopped(&mut self, process: MemberNumber, (peer, lane): DriverKey) {
        let life = self.node(process).life;
        let Some((of, since)) = self.watch.stopped.get(&(process, peer, lane)).copied() else {
            return;
        };
        if of == life && self.now.millis_since(since) < STOPPED_MS {
            let detail = format!("{process} was told by {peer} that it forked, and goes on");
            self.violated(Invariant::ForkIsSeen, detail);
        }
    }
}

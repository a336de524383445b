//! The position of this node, and the position that each peer claims.

use std::sync::Arc;

use portcullis_protocol::{
    frame::{Chain, Memory, Witness},
    rules::Rule,
    time::Timestamp,
};
use portcullis_store::{ForkRow, Intake, NewGeneration, NodeEvent, Part, Settle, Written};

use super::{State, state::KnownPlace};
use crate::sim::mutant::Mutant;

/// Most generations of a peer that are remembered.
const MAX_LEFT: usize = 64;
/// Most forks of a peer that are kept.
const MAX_FORKS: usize = 16;
/// Time within which a further generation of a peer is not recorded as an event of its own, in
/// milliseconds.
const GENERATION_EVENT_MS: i64 = 60_000;

impl State {
    /// Judges the position of a frame. Returns the refusal of the whole frame, if it is refused.
    pub(super) fn place(&mut self, intake: &Intake, mutant: Option<Mutant>) -> Option<Written> {
        let key = (intake.peer.clone(), intake.lane);
        let known = self.places.get(&key).cloned();
        let place = &intake.place;
        if intake.part == Part::Later {
            let begun = known.is_some_and(|known| {
                let answered = &known.witness.answered;
                known.witness.generation == place.generation
                    && answered.iter().any(|frame| frame.digest == place.digest)
            });
            return (!begun).then_some(Written::Refused(Rule::Busy));
        }
        let Some(known) = known else {
            // No other generation was seen before.
            let never = Timestamp::from_millis(0);
            self.believe(intake, Witness::first(place), never);
            return None;
        };
        if known.witness.generation != place.generation {
            return self.other_generation(intake, &known);
        }
        let memory = match mutant {
            Some(Mutant::ForkAnswered) => Memory::RolledBack,
            Some(_) | None => known.memory,
        };
        match known.witness.next(place, memory) {
            Ok(next) => {
                self.believe(intake, next, known.since);
                None
            }
            Err(rule) => {
                if rule == Rule::Fork && mutant != Some(Mutant::ForkNotKept) {
                    self.keep_fork(intake, &known);
                }
                if rule == Rule::Sequence {
                    return Some(Written::OutOfSequence(Box::new(known.statement)));
                }
                Some(Written::Refused(rule))
            }
        }
    }

    fn other_generation(&mut self, intake: &Intake, known: &KnownPlace) -> Option<Written> {
        let key = (intake.peer.clone(), intake.lane);
        let left = Arc::make_mut(&mut self.left).entry(key).or_default();
        if left.contains(&intake.place.generation) {
            return Some(Written::OutOfSequence(Box::new(known.statement.clone())));
        }
        left.push(known.witness.generation);
        let surplus = left.len().saturating_sub(MAX_LEFT);
        left.drain(..surplus);
        if intake.now.millis_since(known.since) >= GENERATION_EVENT_MS {
            self.event(NodeEvent {
                at: intake.now,
                kind: "peer-generation".to_owned(),
                peer: Some(intake.peer.clone()),
                detail: String::new(),
            });
        }
        self.believe(intake, Witness::first(&intake.place), intake.now);
        None
    }

    fn believe(&mut self, intake: &Intake, witness: Witness, since: Timestamp) {
        let known = KnownPlace {
            witness,
            memory: Memory::Whole,
            since,
            statement: intake.statement.clone(),
        };
        Arc::make_mut(&mut self.places).insert((intake.peer.clone(), intake.lane), known);
    }

    fn keep_fork(&mut self, intake: &Intake, known: &KnownPlace) {
        let of_peer = self.forks.iter().filter(|fork| fork.peer == intake.peer);
        if of_peer.count() >= MAX_FORKS {
            return;
        }
        Arc::make_mut(&mut self.forks).push(ForkRow {
            peer: intake.peer.clone(),
            lane: intake.lane,
            at: intake.now,
            known: known.statement.clone(),
            forked: intake.statement.clone(),
        });
        self.event(NodeEvent {
            at: intake.now,
            kind: "fork".to_owned(),
            peer: Some(intake.peer.clone()),
            detail: String::new(),
        });
    }

    /// Moves this node's own position past an answered frame, if the frame is at that position.
    pub(super) fn settle_position(&mut self, settle: &Settle) {
        let key = (settle.peer.clone(), settle.lane);
        let (next, chain) = self.sent.get(&key).copied().unwrap_or((1, Chain::START));
        if settle.generation == self.generation && settle.first_sequence == next {
            let moved = (settle.next_sequence, chain.then(&settle.frame));
            Arc::make_mut(&mut self.sent).insert(key, moved);
        }
    }

    /// Starts a new generation, unless the present one is no longer the one to be replaced.
    pub fn start_generation(&mut self, new: NewGeneration) {
        if self.generation != new.instead_of {
            return;
        }
        let left = Arc::make_mut(&mut self.own_left);
        for over in std::iter::once(new.instead_of).chain(new.shown) {
            if !left.contains(&over) {
                left.push(over);
            }
        }
        self.generation = new.generation;
        self.sent = Arc::default();
        for known in Arc::make_mut(&mut self.places).values_mut() {
            known.memory = Memory::RolledBack;
        }
        self.event(NodeEvent {
            at: new.at,
            kind: "generation-started".to_owned(),
            peer: None,
            detail: new.why,
        });
    }

    /// Takes in a frame if its position follows from what is known of its sender.
    pub(super) fn arrive(
        &mut self,
        intake: Intake,
        mutant: Option<Mutant>,
    ) -> Result<Written, portcullis_store::StoreError> {
        match self.place(&intake, mutant) {
            Some(refused) => Ok(refused),
            None => self.intake(intake, mutant).map(Written::Answers),
        }
    }
}

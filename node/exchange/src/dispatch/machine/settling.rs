//! Receipts, in the order of their frames: what they settle, and the consequences of refusing a
//! whole frame.

use crate::dispatch::machine::Step;
use portcullis_protocol::{
    frame::{FrameAnswer, Generation, Receipt},
    rules::Rule,
    time::Timestamp,
};

use super::{ATTEMPTS_BETWEEN_RETRIES, Effect, FailedAt, Machine, Receipted, STOPPED_MS, Settling};
use portcullis_store::Settle;

impl Machine {
    /// Takes the receipt of the oldest frame on its way. `shown` is the generation of the statement
    /// by which the peer proves that this node forgot what it had settled.
    pub(super) fn answered(
        &mut self,
        receipt: Receipt,
        shown: Option<Generation>,
        now: Timestamp,
    ) -> Vec<Effect> {
        let expected = self.flights.front().map(|flight| flight.digest);
        if expected != Some(*receipt.frame_digest()) {
            return self.failed(FailedAt::Link, now);
        }
        let Some(flight) = self.flights.pop_front() else {
            return Vec::new();
        };
        self.credit = receipt.credit;
        let answers = match receipt.verdict {
            FrameAnswer::RefusedWhole(rule) => {
                return self.refused((flight.generation, shown), rule, now);
            }
            FrameAnswer::Answered(answers) => answers,
        };
        self.proven = true;
        self.failures = 0;
        if self.credit > 0 {
            self.refusals = 0;
        }
        self.receipted.push_back(Receipted {
            flight,
            answers,
            receipt: receipt.statement,
        });
        let mut effects = self.settle(now);
        effects.extend(self.advance(now));
        effects
    }

    /// Handles the refusal of a whole frame. Nothing in it is answered, so nothing is settled.
    pub(super) fn refused(
        &mut self,
        (generation, shown): (Generation, Option<Generation>),
        rule: String,
        now: Timestamp,
    ) -> Vec<Effect> {
        if rule == Rule::Fork.id() {
            return self.disbelieved(rule, now);
        }
        if rule != Rule::Sequence.id() {
            return self.failed(FailedAt::Link, now);
        }
        let Some(shown) = shown else {
            return self.disbelieved(rule, now);
        };
        let recently = |at: Timestamp| now.millis_since(at) < STOPPED_MS;
        if self.renewed.is_some_and(recently) {
            return self.disbelieved(rule, now);
        }
        if !matches!(self.step, Step::Rest) {
            // Only one step runs at a time. The frame will be refused again, and the generation is
            // asked for then.
            return self.stop(self.retry.first_ms(), now);
        }
        let mut effects = self.drop_flights();
        self.step = Step::Renewing;
        self.renewed = Some(now);
        effects.push(Effect::StartGeneration {
            instead_of: generation,
            shown,
            why: format!(
                "{} shows under {rule} a statement of this node that it does not remember: the store was rolled back",
                self.peer
            ),
        });
        effects
    }

    pub(super) fn disbelieved(&mut self, rule: String, now: Timestamp) -> Vec<Effect> {
        let mut effects = self.stop(STOPPED_MS, now);
        effects.push(Effect::Trouble(rule));
        effects
    }

    pub(super) fn generation_started(&mut self, now: Timestamp) -> Vec<Effect> {
        if matches!(self.step, Step::Renewing) {
            self.step = Step::Rest;
        }
        self.advance(now)
    }

    /// Settles all that was receipted, unless answers are being settled already.
    pub(super) fn settle(&mut self, now: Timestamp) -> Vec<Effect> {
        if !self.settling.is_empty() || self.receipted.is_empty() {
            return Vec::new();
        }
        let receipted = std::mem::take(&mut self.receipted);
        let retry_at = now.plus_millis(self.retry.after_ms(ATTEMPTS_BETWEEN_RETRIES));
        let mut settles = Vec::with_capacity(receipted.len());
        for Receipted {
            flight,
            answers,
            receipt,
        } in receipted
        {
            self.settling.push(Settling {
                generation: flight.generation,
                digest: flight.digest,
                first_sequence: flight.first_sequence,
                next_sequence: flight.next_sequence,
            });
            if answers.iter().any(|answer| !answer.outcome.is_final()) {
                self.due = Some(self.due.map_or(retry_at, |due| due.min(retry_at)));
            }
            settles.push(Settle {
                peer: self.peer.clone(),
                lane: self.lane,
                now,
                generation: flight.generation,
                frame: flight.digest,
                first_sequence: flight.first_sequence,
                answers,
                receipt,
                cursor: flight.cursor,
                next_sequence: flight.next_sequence,
                retry_at,
                expires: flight.expires,
                filled: flight.filled,
            });
        }
        vec![Effect::Settle(settles)]
    }

    pub(super) fn settled(&mut self, now: Timestamp) -> Vec<Effect> {
        for flight in std::mem::take(&mut self.settling) {
            if let Some(settled) = &mut self.settled
                && settled.generation == flight.generation
                && settled.sequence == flight.first_sequence
            {
                settled.sequence = flight.next_sequence;
                settled.chain = settled.chain.then(&flight.digest);
            }
        }
        let mut effects = self.settle(now);
        if self.nothing_unsettled() {
            // Records due to be tried again were not looked at while frames were on their way.
            self.at_end = false;
        }
        effects.extend(self.advance(now));
        effects
    }
}

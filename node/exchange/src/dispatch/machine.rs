//! State machine of one peer and lane. It is pure, so that tests and simulations can drive it.
//!
//! ```text
//!           Plan             Intend               Send              Settle
//!   rest ─────────▶ planning ───────▶ intending ───────▶ in flight ───────▶ settling ──▶ settled
//!     ▲                │ nothing                          (a queue)  Answered  │
//!     └────────────────┴───────────────────◀──────────────────────────────────-┘ Settled
//! ```
//!
//! Two activities run side by side. *Feeding* makes one plan, then one commit of its ledger rows;
//! then the frame leaves and the next plan starts at the end of that frame. *Settling* takes
//! receipts in the order of the frames and settles all that have come in one commit, with one
//! commit under way at a time. Up to [`WINDOW`] frames are therefore on their way without a
//! receipt, and never more than the last receipt granted. A new connection begins with one.
//!
//! Frames on their way are not assumed to have arrived. Any failure of the connection drops them,
//! and everything is planned anew from the durable position once the receipts that did come are
//! settled. Records to be tried again are planned only when nothing is on its way; once some are
//! due, nothing is planned ahead until they had their turn.
//!
//! A frame refused under EX-10 means that this node was rolled back, if the peer proves it with a
//! statement of this node that this node does not remember. The machine then asks for a new
//! generation, at most once an hour; a peer that refuses that one too is itself at fault. Such a
//! refusal, one without a proof, and a fork (EX-11) stop deliveries to that peer for an hour at a
//! time, are reported as trouble and change nothing else.
//!
//! The driver carries out effects in order, and answers each `Plan`, `Intend`, `Settle` and
//! `StartGeneration` with exactly one event. `Send` is answered by a receipt, a failure of the
//! link, or `Superseded`.

mod event;
mod settling;

use portcullis_protocol::{
    digest::Digest,
    frame::{Answer, Chain, Generation, Lane, WINDOW},
    identifiers::NodeId,
    record::RecordId,
    statement::SignedStatement,
    time::Timestamp,
};
use std::collections::VecDeque;

pub use event::{Effect, Event, FailedAt};

use super::plan::{Footing, Outgoing, Plan};
use portcullis_home::config::RetryBounds;
use portcullis_store::{BackfillMove, Intend};

/// Largest number of frames on their way, or receipted and not settled yet.
const MOST_UNSETTLED: usize = portcullis_protocol::frame::MAX_WINDOW;
/// Credit with which a connection begins.
const FIRST_CREDIT: u32 = 1;
/// Time for which nothing is delivered to a peer that does not believe this node, in milliseconds.
const STOPPED_MS: i64 = 3_600_000;

/// An item refused for now, or held, waits as long as a peer does after this many failures in a
/// row.
const ATTEMPTS_BETWEEN_RETRIES: u32 = 6;

/// Step of feeding that is under way. There is only one at a time.
#[derive(Debug)]
enum Step {
    Rest,
    Planning { from: Start },
    Intending(Option<Box<Ready>>),
    Renewing,
}

/// Position from which a plan starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Durable,
    Tip,
}

/// A frame that waits for its ledger rows to be durable.
#[derive(Debug)]
struct Ready {
    outgoing: Outgoing,
    flight: Flight,
}

/// A frame on its way, and the position of the cursor once it is settled.
#[derive(Debug)]
struct Flight {
    generation: Generation,
    digest: Digest,
    first_sequence: u64,
    next_sequence: u64,
    cursor: Option<u64>,
    expires: Vec<(RecordId, Timestamp)>,
    filled: Option<BackfillMove>,
}

/// A frame that waits for its answers to be durable.
#[derive(Debug, Clone, Copy)]
struct Settling {
    generation: Generation,
    digest: Digest,
    first_sequence: u64,
    next_sequence: u64,
}

/// A frame that was receipted.
#[derive(Debug)]
struct Receipted {
    flight: Flight,
    answers: Vec<Answer>,
    receipt: SignedStatement,
}

/// Position up to which everything is settled, durably.
#[derive(Debug, Clone, Copy)]
struct Settled {
    generation: Generation,
    sequence: u64,
    chain: Chain,
}

/// A period in which nothing is planned.
#[derive(Debug, Clone, Copy)]
struct Pause {
    until: Timestamp,
    /// Intended length, in milliseconds.
    wait_ms: i64,
}

/// The machine of one peer and lane.
#[derive(Debug)]
pub struct Machine {
    peer: NodeId,
    lane: Lane,
    retry: RetryBounds,
    step: Step,
    /// True if the outcome of the step under way is to be discarded.
    discard: bool,
    /// True if a wake came while a plan was made.
    woken: bool,
    /// True if the last plan found nothing, and no wake came since.
    at_end: bool,
    /// Frames on their way, in the order in which they were sent.
    flights: VecDeque<Flight>,
    receipted: VecDeque<Receipted>,
    settling: Vec<Settling>,
    settled: Option<Settled>,
    /// Start of the next plan while something is on its way. With `None` the machine waits until
    /// nothing is.
    tip: Option<Footing>,
    /// Time at which records are to be tried again.
    due: Option<Timestamp>,
    credit: u32,
    /// True if a receipt came over this connection.
    proven: bool,
    paused: Option<Pause>,
    failures: u32,
    /// Number of times in a row that the peer granted nothing.
    refusals: u32,
    /// Time at which this machine last asked for a new generation.
    renewed: Option<Timestamp>,
}

impl Machine {
    /// Makes a machine at rest. Once woken it continues from the durable position.
    #[must_use]
    pub const fn new(peer: NodeId, lane: Lane, retry: RetryBounds) -> Self {
        Self {
            peer,
            lane,
            retry,
            step: Step::Rest,
            discard: false,
            woken: false,
            at_end: false,
            flights: VecDeque::new(),
            receipted: VecDeque::new(),
            settling: Vec::new(),
            settled: None,
            tip: None,
            due: None,
            credit: FIRST_CREDIT,
            proven: false,
            paused: None,
            failures: 0,
            refusals: 0,
            renewed: None,
        }
    }

    /// Returns the number of failures in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Returns the number of frames on their way without a receipt.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Returns true if nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.step, Step::Rest) && self.paused.is_none() && self.nothing_unsettled()
    }

    /// Takes an event and returns the effects to carry out.
    pub fn handle(&mut self, event: Event, now: Timestamp) -> Vec<Effect> {
        match event {
            Event::Wake => self.wake(now),
            Event::Planned(plan) => self.planned(*plan, now),
            Event::Outdated => self.outdated(now),
            Event::Intended => self.intended(now),
            Event::Superseded => self.superseded(now),
            Event::Answered(receipt) => self.answered(*receipt, None, now),
            Event::Forgotten(receipt, shown) => self.answered(*receipt, Some(shown), now),
            Event::Settled => self.settled(now),
            Event::GenerationStarted => self.generation_started(now),
            Event::Parted => {
                self.credit = FIRST_CREDIT;
                self.proven = false;
                Vec::new()
            }
            Event::Failed(stage) => self.failed(stage, now),
        }
    }

    fn wake(&mut self, now: Timestamp) -> Vec<Effect> {
        self.woken = true;
        self.at_end = false;
        match self.paused {
            Some(pause) if self.lasts(pause, now) => vec![Effect::WakeAt(pause.until)],
            Some(_) | None => self.advance(now),
        }
    }

    /// Returns true while a pause lasts. A pause that ends later than its length or the longest
    /// back-off allows was begun under a clock that has been corrected since.
    fn lasts(&self, pause: Pause, now: Timestamp) -> bool {
        let longest = pause.wait_ms.max(self.retry.longest_ms());
        now < pause.until && pause.until <= now.plus_millis(longest)
    }

    fn nothing_unsettled(&self) -> bool {
        self.flights.is_empty() && self.receipted.is_empty() && self.settling.is_empty()
    }

    /// Plans what comes next, if nothing forbids it.
    fn advance(&mut self, now: Timestamp) -> Vec<Effect> {
        let paused = self.paused.is_some_and(|pause| self.lasts(pause, now));
        if paused || self.at_end || !matches!(self.step, Step::Rest) {
            return Vec::new();
        }
        self.paused = None;
        if !self.nothing_unsettled() {
            return self.plan_ahead(now);
        }
        if self.credit == 0 {
            return self.hold_back(now);
        }
        self.tip = None;
        self.plan(Start::Durable, None)
    }

    fn plan_ahead(&mut self, now: Timestamp) -> Vec<Effect> {
        let window = usize::try_from(self.credit).map_or(WINDOW, |credit| credit.min(WINDOW));
        let unsettled = self.flights.len() + self.receipted.len() + self.settling.len();
        let (Some(tip), Some(settled)) = (self.tip, self.settled) else {
            return Vec::new();
        };
        let full = self.flights.len() >= window || unsettled >= MOST_UNSETTLED;
        if full || self.due.is_some_and(|due| due <= now) {
            return Vec::new();
        }
        let footing = Footing {
            settled_sequence: settled.sequence,
            chain: settled.chain,
            ..tip
        };
        self.plan(Start::Tip, Some(footing))
    }

    fn plan(&mut self, from: Start, footing: Option<Footing>) -> Vec<Effect> {
        self.woken = false;
        self.step = Step::Planning { from };
        vec![Effect::Plan(footing)]
    }

    /// Pauses because the peer grants nothing. The next connection asks again.
    fn hold_back(&mut self, now: Timestamp) -> Vec<Effect> {
        self.refusals = self.refusals.saturating_add(1);
        let wait = self.retry.after_ms(self.refusals);
        self.stop(wait, now)
    }

    fn planned(&mut self, plan: Plan, now: Timestamp) -> Vec<Effect> {
        let Step::Planning { from } = self.step else {
            return Vec::new();
        };
        self.step = Step::Rest;
        if std::mem::take(&mut self.discard) {
            return self.advance(now);
        }
        let footing = plan.footing;
        if from == Start::Durable {
            // An entry that is said to be due already, but did not come up, waits a while.
            let soonest = now.plus_millis(self.retry.first_ms());
            self.due = plan.next_due.map(|due| due.max(soonest));
            self.settled = Some(Settled {
                generation: footing.generation,
                sequence: footing.settled_sequence,
                chain: footing.chain,
            });
        }
        if plan.is_empty() {
            return self.found_nothing(now);
        }
        if from == Start::Tip && plan.entries.is_empty() && plan.frame.is_none() {
            self.move_tip(&plan);
            self.pass();
            return self.advance(now);
        }
        self.move_tip(&plan);
        self.intend(plan, from)
    }

    fn move_tip(&mut self, plan: &Plan) {
        let footing = plan.footing;
        self.tip = Some(Footing {
            cursor: plan.settles.or(plan.passes).unwrap_or(footing.cursor),
            next_sequence: plan.next_sequence,
            ..footing
        });
    }

    fn intend(&mut self, plan: Plan, from: Start) -> Vec<Effect> {
        let Plan {
            footing,
            entries,
            frame,
            passes,
            settles,
            next_sequence,
            expires,
            filled,
            awaits,
            next_due: _,
            now,
        } = plan;
        let first_sequence = frame.is_some().then_some(footing.next_sequence);
        // If there is a frame, the range of older records moves with its receipt.
        let filled_now = filled.filter(|_| frame.is_none());
        let ready = frame.map(|outgoing| {
            let flight = Flight {
                generation: footing.generation,
                digest: *outgoing.digest(),
                first_sequence: footing.next_sequence,
                next_sequence,
                cursor: settles,
                expires,
                filled,
            };
            Box::new(Ready {
                outgoing: *outgoing,
                flight,
            })
        });
        self.step = Step::Intending(ready);
        vec![Effect::Intend(Box::new(Intend {
            peer: self.peer.clone(),
            lane: self.lane,
            now,
            generation: footing.generation,
            first_sequence,
            entries,
            // The cursor cannot pass frames on their way: it moves with the last of them.
            cursor: passes.filter(|_| from == Start::Durable),
            filled: filled_now,
            awaits,
        }))]
    }

    /// Waits because there is nothing to do, unless a wake came meanwhile.
    fn found_nothing(&mut self, now: Timestamp) -> Vec<Effect> {
        self.at_end = !self.woken;
        if !self.at_end || !self.nothing_unsettled() {
            return self.advance(now);
        }
        self.due.map(Effect::WakeAt).into_iter().collect()
    }

    /// Drops a plan of an older generation. Frames of that generation that are on their way are
    /// receipted first.
    fn outdated(&mut self, now: Timestamp) -> Vec<Effect> {
        if matches!(self.step, Step::Planning { .. }) {
            self.step = Step::Rest;
            self.discard = false;
            self.tip = None;
        }
        self.advance(now)
    }

    fn intended(&mut self, now: Timestamp) -> Vec<Effect> {
        let Step::Intending(ready) = std::mem::replace(&mut self.step, Step::Rest) else {
            return Vec::new();
        };
        if std::mem::take(&mut self.discard) {
            return self.advance(now);
        }
        let Some(ready) = ready else {
            self.pass();
            return self.advance(now);
        };
        let Ready { outgoing, flight } = *ready;
        self.flights.push_back(flight);
        let mut effects = vec![Effect::Send(Box::new(outgoing))];
        effects.extend(self.advance(now));
        effects
    }

    /// Moves the cursor past entries that were denied behind frames on their way. It moves with the
    /// last of those frames.
    fn pass(&mut self) {
        let cursor = self.tip.map(|tip| tip.cursor);
        let last = match self.flights.back_mut() {
            Some(flight) => Some(flight),
            None => self.receipted.back_mut().map(|last| &mut last.flight),
        };
        if let Some(last) = last {
            last.cursor = last.cursor.max(cursor);
        }
    }

    fn superseded(&mut self, now: Timestamp) -> Vec<Effect> {
        if self.flights.pop_back().is_some() {
            self.plan_anew();
        }
        self.advance(now)
    }

    /// Discards what is planned ahead. The next plan starts from the durable position.
    fn plan_anew(&mut self) {
        self.tip = None;
        self.at_end = false;
        self.discard = matches!(self.step, Step::Planning { .. } | Step::Intending(_));
    }

    fn failed(&mut self, stage: FailedAt, now: Timestamp) -> Vec<Effect> {
        match stage {
            FailedAt::Plan | FailedAt::Intend => {
                self.step = Step::Rest;
                if std::mem::take(&mut self.discard) {
                    return self.advance(now);
                }
                self.tip = None;
            }
            FailedAt::Generation => self.step = Step::Rest,
            FailedAt::Settle => {
                self.settling.clear();
                self.receipted.clear();
            }
            // The connection was idle and may have ended for that reason; a new one shows if the
            // peer can be reached.
            FailedAt::Link if std::mem::take(&mut self.proven) && self.failures == 0 => {
                let mut effects = self.drop_flights();
                effects.extend(self.advance(now));
                return effects;
            }
            FailedAt::Link => {}
        }
        self.failures = self.failures.saturating_add(1);
        self.stop(self.retry.after_ms(self.failures), now)
    }

    fn drop_flights(&mut self) -> Vec<Effect> {
        self.flights.clear();
        self.plan_anew();
        self.credit = FIRST_CREDIT;
        self.proven = false;
        vec![Effect::Disconnect]
    }

    /// Drops frames on their way and pauses.
    fn stop(&mut self, wait_ms: i64, now: Timestamp) -> Vec<Effect> {
        let mut effects = self.drop_flights();
        let until = now.plus_millis(wait_ms);
        self.paused = Some(Pause { until, wait_ms });
        effects.push(Effect::WakeAt(until));
        effects
    }
}

#[cfg(test)]
mod tests;

//! The state machine of one peer and lane: pure, so that tests and simulations drive it.
//!
//! ```text
//!           Plan             Intend               Send              Settle
//!   rest ─────────▶ planning ───────▶ intending ───────▶ in flight ───────▶ settling ──▶ settled
//!     ▲                │ nothing                          (a queue)  Answered  │
//!     └────────────────┴───────────────────◀──────────────────────────────────-┘ Settled
//! ```
//!
//! Two things go on side by side. *Feeding*: one plan, then one commit of its ledger rows, then
//! its frame leaves and the next plan starts where that frame ends. *Settling*: receipts come in
//! the order of the frames, and all that have come are settled in one commit after the other. So
//! up to [`WINDOW`] frames are on their way without a receipt, and never more than the last
//! receipt granted; a new connection begins with one.
//!
//! What is on its way is only believed in. Any failure of the connection drops it, and everything
//! is planned anew from the durable position once receipts that did come are settled: nothing that
//! was not receipted is believed to have arrived. Records tried again are planned only when
//! nothing is on its way; once some are due, nothing is planned ahead until they had their turn.
//!
//! A frame refused under EX-10 means that this node was rolled back: a new generation is asked
//! for, at most once an hour; a peer that refuses that one too is at fault itself. That, and a
//! fork (EX-11), stop deliveries to the peer for an hour at a time and are told as trouble.
//!
//! Whoever drives it carries out effects in order, and answers each `Plan`, `Intend`, `Settle`
//! and `StartGeneration` with exactly one event. `Send` is answered by a receipt, a failure of
//! the link, or `Superseded`.

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

pub use event::{Effect, Event, Stage};

use super::plan::{Footing, Outgoing, Plan};
use portcullis_home::config::RetryBounds;
use portcullis_store::{BackfillMove, Intend};

/// The most frames on their way or receipted and not settled yet.
const MOST_UNSETTLED: usize = portcullis_protocol::frame::MAX_WINDOW;
/// What a connection begins with.
const FIRST_CREDIT: u32 = 1;
/// How long nothing is delivered to a peer that does not believe this node.
const STOPPED_MS: i64 = 3_600_000;

/// An item refused for now or held waits as long as a peer after so many failures.
const ATTEMPTS_BETWEEN_RETRIES: u32 = 6;

/// The one step of feeding that is under way.
#[derive(Debug)]
enum Step {
    Rest,
    Planning { from: Start },
    Intending(Option<Box<Ready>>),
    Renewing,
}

/// Where a plan starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Durable,
    Tip,
}

/// A frame whose ledger rows are about to be durable.
#[derive(Debug)]
struct Ready {
    outgoing: Outgoing,
    flight: Flight,
}

/// A frame on its way, and where the cursor stands once it is settled.
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

/// A frame whose answers are about to be durable.
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

/// How far everything is settled, durably.
#[derive(Debug, Clone, Copy)]
struct Settled {
    generation: Generation,
    sequence: u64,
    chain: Chain,
}

/// A time in which nothing is planned.
#[derive(Debug, Clone, Copy)]
struct Pause {
    until: Timestamp,
    /// How long it was meant to last.
    wait_ms: i64,
}

/// The machine of one peer and lane.
#[derive(Debug)]
pub struct Machine {
    peer: NodeId,
    lane: Lane,
    retry: RetryBounds,
    step: Step,
    /// The outcome of the step under way is of no use any more.
    discard: bool,
    /// Something came up while a plan was made.
    woken: bool,
    /// The last plan found nothing, and nothing came up since.
    at_end: bool,
    /// On their way, in the order in which they were sent.
    flights: VecDeque<Flight>,
    receipted: VecDeque<Receipted>,
    settling: Vec<Settling>,
    settled: Option<Settled>,
    /// Where the next plan starts while something is on its way; `None`: it waits until nothing
    /// is.
    tip: Option<Footing>,
    /// When records are to be tried again.
    due: Option<Timestamp>,
    credit: u32,
    /// A receipt came over this connection.
    proven: bool,
    paused: Option<Pause>,
    failures: u32,
    /// How often in a row the peer granted nothing.
    refusals: u32,
    /// When it asked last for a new generation.
    renewed: Option<Timestamp>,
}

impl Machine {
    /// A machine at rest; it goes on from the durable position once it is woken.
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

    /// How many failures in a row there were.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// How many frames are on their way without a receipt.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.step, Step::Rest) && self.paused.is_none() && self.nothing_unsettled()
    }

    /// Takes an event and says what to do.
    pub fn handle(&mut self, event: Event, now: Timestamp) -> Vec<Effect> {
        match event {
            Event::Wake => self.wake(now),
            Event::Planned(plan) => self.planned(*plan, now),
            Event::Outdated => self.outdated(now),
            Event::Intended => self.intended(now),
            Event::Superseded => self.superseded(now),
            Event::Answered(receipt) => self.answered(*receipt, now),
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

    /// Whether a pause lasts on. One that ends later than it or any back-off reaches was begun
    /// under a clock that has been put right since.
    fn lasts(&self, pause: Pause, now: Timestamp) -> bool {
        let longest = pause.wait_ms.max(self.retry.longest_ms());
        now < pause.until && pause.until <= now.plus_millis(longest)
    }

    fn nothing_unsettled(&self) -> bool {
        self.flights.is_empty() && self.receipted.is_empty() && self.settling.is_empty()
    }

    /// Plans what comes next, if it is time to.
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

    /// The peer grants nothing: the next connection asks again, later.
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
            // Whatever is said to be due already and did not come up waits a while.
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
            next_due: _,
            now,
        } = plan;
        let first_sequence = frame.is_some().then_some(footing.next_sequence);
        // With a frame a range of older records moves with its receipt.
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
            // With frames on their way the cursor cannot pass them: it moves with the last one.
            cursor: passes.filter(|_| from == Start::Durable),
            filled: filled_now,
        }))]
    }

    /// Nothing to do: waits, unless something came up meanwhile.
    fn found_nothing(&mut self, now: Timestamp) -> Vec<Effect> {
        self.at_end = !self.woken;
        if !self.at_end || !self.nothing_unsettled() {
            return self.advance(now);
        }
        self.due.map(Effect::WakeAt).into_iter().collect()
    }

    /// What is on its way is of the generation before: it is receipted first.
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

    /// What was denied behind frames on their way is passed with the last of them.
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

    /// What is planned ahead is of no use; the next plan starts from the durable position.
    fn plan_anew(&mut self) {
        self.tip = None;
        self.at_end = false;
        self.discard = matches!(self.step, Step::Planning { .. } | Step::Intending(_));
    }

    fn failed(&mut self, stage: Stage, now: Timestamp) -> Vec<Effect> {
        match stage {
            Stage::Plan | Stage::Intend => {
                self.step = Step::Rest;
                if std::mem::take(&mut self.discard) {
                    return self.advance(now);
                }
                self.tip = None;
            }
            Stage::Generation => self.step = Step::Rest,
            Stage::Settle => {
                self.settling.clear();
                self.receipted.clear();
            }
            // A connection that lay idle may have ended meanwhile; a new one tells.
            Stage::Link if std::mem::take(&mut self.proven) && self.failures == 0 => {
                let mut effects = self.drop_flights();
                effects.extend(self.advance(now));
                return effects;
            }
            Stage::Link => {}
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

    /// Drops what is on its way and pauses.
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

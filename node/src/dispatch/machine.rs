//! The state machine of one peer and lane: pure, so that tests and simulations drive it.
//!
//! ```text
//!            Wake                Planned(send)          Committed
//!   Idle ───────────▶ Planning ───────────────▶ Intending ─────────▶ InFlight
//!    ▲  ▲               │ nothing                                      │ Answered
//!    │  └───────────────┘                        Committed             ▼
//!    └──────────────────────────────────────────────────────────── Settling
//!            Failed, in any state: Paused until the back-off ends, then Planning
//! ```
//!
//! After a failure everything is planned anew from the durable cursor: nothing that was not
//! receipted is believed to have arrived.

use portcullis_protocol::{
    frame::{Lane, Receipt, SentFrame, Verdict},
    identifiers::NodeId,
    time::Timestamp,
};

use super::plan::Plan;
use crate::store::{Intend, Settle, Write};

/// An item refused for now or held waits as long as a peer after so many failures.
const ATTEMPTS_BETWEEN_RETRIES: u32 = 6;

/// How long to wait after failures: doubling from `first` up to `most`, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first_ms: i64,
    /// At most.
    pub most_ms: i64,
}

impl Backoff {
    /// How long to wait after so many failures in a row.
    #[must_use]
    pub fn after(self, failures: u32) -> i64 {
        let doubled = 1_i64.checked_shl(failures.saturating_sub(1).min(32));
        self.first_ms
            .saturating_mul(doubled.unwrap_or(i64::MAX))
            .min(self.most_ms)
    }
}

/// What happens to a machine.
#[derive(Debug)]
pub enum Event {
    /// The log may have grown, or an exception may be due.
    Wake,
    /// The plan it asked for.
    Planned(Plan),
    /// The write it asked for is durable.
    Committed,
    /// The peer's receipt for the frame in flight, checked against it.
    Answered(Box<Receipt>),
    /// Planning, writing or sending failed.
    Failed,
    /// Register or policy changed since the frame was planned: it is not sent.
    Superseded,
}

/// What a machine asks its driver to do.
#[derive(Debug)]
pub enum Effect {
    /// Plan what comes after the durable cursor.
    Plan,
    /// Make this durable.
    Commit(Box<Write>),
    /// Send this frame.
    Send(Box<SentFrame>),
    /// Wake the machine at this time.
    WakeAt(Timestamp),
}

#[derive(Debug)]
enum State {
    Idle,
    Planning,
    Intending(Option<Box<Flight>>),
    InFlight(Box<Flight>),
    Settling,
    Paused { until: Timestamp },
}

/// A frame and where the cursor stands once it is receipted.
#[derive(Debug)]
struct Flight {
    frame: SentFrame,
    cursor: Option<u64>,
    first_sequence: u64,
    next_sequence: u64,
}

/// The machine of one peer and lane.
#[derive(Debug)]
pub struct Machine {
    peer: NodeId,
    lane: Lane,
    state: State,
    /// Whether something came up while it was busy.
    woken: bool,
    failures: u32,
    backoff: Backoff,
}

impl Machine {
    /// A machine at rest; it goes on from the durable position once it is woken.
    #[must_use]
    pub const fn new(peer: NodeId, lane: Lane, backoff: Backoff) -> Self {
        Self {
            peer,
            lane,
            state: State::Idle,
            woken: false,
            failures: 0,
            backoff,
        }
    }

    /// How many failures in a row there were.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether nothing is under way.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Takes an event and says what to do.
    pub fn handle(&mut self, event: Event, now: Timestamp) -> Vec<Effect> {
        match event {
            Event::Wake => self.wake(now),
            Event::Planned(plan) => self.planned(plan),
            Event::Committed => self.committed(),
            Event::Answered(receipt) => self.answered(*receipt, now),
            Event::Failed => self.failed(now),
            Event::Superseded => self.superseded(),
        }
    }

    fn wake(&mut self, now: Timestamp) -> Vec<Effect> {
        match self.state {
            State::Idle => self.plan(),
            State::Paused { until } if now >= until => self.plan(),
            State::Paused { until } => vec![Effect::WakeAt(until)],
            State::Planning | State::Intending(_) | State::InFlight(_) | State::Settling => {
                self.woken = true;
                Vec::new()
            }
        }
    }

    fn plan(&mut self) -> Vec<Effect> {
        self.woken = false;
        self.state = State::Planning;
        vec![Effect::Plan]
    }

    fn planned(&mut self, plan: Plan) -> Vec<Effect> {
        if !matches!(self.state, State::Planning) {
            return Vec::new();
        }
        let Plan {
            entries,
            frame,
            passes,
            settles,
            generation,
            first_sequence,
            next_sequence,
            next_due,
            now,
        } = plan;
        if entries.is_empty() && frame.is_none() && passes.is_none() {
            return self.rest(next_due, now);
        }
        let sends = frame.is_some();
        let flight = frame.map(|frame| {
            Box::new(Flight {
                frame: *frame,
                cursor: settles,
                first_sequence,
                next_sequence,
            })
        });
        self.state = State::Intending(flight);
        vec![Effect::Commit(Box::new(Write::Intend(Intend {
            peer: self.peer.clone(),
            lane: self.lane,
            now,
            generation,
            first_sequence: sends.then_some(first_sequence),
            entries,
            cursor: passes,
        })))]
    }

    /// Nothing to do: waits, unless something came up meanwhile.
    fn rest(&mut self, next_due: Option<Timestamp>, now: Timestamp) -> Vec<Effect> {
        if self.woken {
            return self.plan();
        }
        self.state = State::Idle;
        // Whatever is said to be due already did not come up: no spinning on it.
        let soonest = now.plus_millis(self.backoff.first_ms);
        next_due
            .map(|due| Effect::WakeAt(due.max(soonest)))
            .into_iter()
            .collect()
    }

    fn committed(&mut self) -> Vec<Effect> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Intending(Some(flight)) => {
                let frame = Box::new(flight.frame.clone());
                self.state = State::InFlight(flight);
                vec![Effect::Send(frame)]
            }
            State::Intending(None) | State::Settling => self.plan(),
            other @ (State::Idle | State::Planning | State::InFlight(_) | State::Paused { .. }) => {
                self.state = other;
                Vec::new()
            }
        }
    }

    fn answered(&mut self, receipt: Receipt, now: Timestamp) -> Vec<Effect> {
        let State::InFlight(flight) = std::mem::replace(&mut self.state, State::Idle) else {
            return self.failed(now);
        };
        let Verdict::Answered(answers) = receipt.verdict else {
            // The whole frame was refused: nothing in it is answered, so nothing is settled.
            return self.failed(now);
        };
        self.failures = 0;
        self.state = State::Settling;
        vec![Effect::Commit(Box::new(Write::Settle(Settle {
            peer: self.peer.clone(),
            lane: self.lane,
            now,
            generation: flight.frame.head().generation,
            frame: *flight.frame.digest(),
            first_sequence: flight.first_sequence,
            answers,
            receipt: receipt.statement,
            cursor: flight.cursor,
            next_sequence: flight.next_sequence,
            retry_at: now.plus_millis(self.backoff.after(ATTEMPTS_BETWEEN_RETRIES)),
        })))]
    }

    fn superseded(&mut self) -> Vec<Effect> {
        match self.state {
            State::InFlight(_) => self.plan(),
            State::Idle
            | State::Planning
            | State::Intending(_)
            | State::Settling
            | State::Paused { .. } => Vec::new(),
        }
    }

    fn failed(&mut self, now: Timestamp) -> Vec<Effect> {
        self.failures = self.failures.saturating_add(1);
        let until = now.plus_millis(self.backoff.after(self.failures));
        self.state = State::Paused { until };
        vec![Effect::WakeAt(until)]
    }
}

#[cfg(test)]
mod tests {
    use portcullis_protocol::{
        digest::Digest,
        frame::{Answer, Answering, Chain, FrameHead, Generation, Hop, Outcome, ReceivedFrame},
        keys::KeyUse,
        rules::Rule,
        verify::{Occasion, VerifiedRecord, Verifier},
    };

    use super::*;
    use crate::testbed::{self, NOW};

    const BACKOFF: Backoff = Backoff {
        first_ms: 100,
        most_ms: 1_000,
    };

    fn record() -> VerifiedRecord {
        let register = testbed::register();
        let sealed = testbed::seal(1, vec![testbed::indicator()], 1);
        Verifier {
            federation: &register.register().federation,
            keys: register.register(),
            now: NOW,
            occasion: Occasion::Arriving,
        }
        .verify(&sealed[0])
        .unwrap()
    }

    fn frame() -> SentFrame {
        let head = FrameHead {
            federation: "test".parse().unwrap(),
            sender: "rotterdam-1".parse().unwrap(),
            receiver: "antwerp-1".parse().unwrap(),
            generation: Generation::from_bytes([1; 16]),
            lane: Lane::Bulk,
            first_sequence: 5,
            settled_sequence: 5,
            chain: Chain::START.then(&Digest::from_bytes([1; 32])),
            sent_at: NOW,
            register_epoch: 1,
        };
        SentFrame::sign(head, &[record()], &testbed::key(1, KeyUse::Hop)).unwrap()
    }

    /// What antwerp says to a frame; `None`: it refuses the frame whole.
    fn receipt(frame: &SentFrame, outcome: Option<Outcome>) -> Receipt {
        let (federation, receiver, peer) = (
            "test".parse().unwrap(),
            "antwerp-1".parse().unwrap(),
            "rotterdam-1".parse().unwrap(),
        );
        let hop = Hop {
            federation: &federation,
            receiver: &receiver,
            peer: &peer,
        };
        let sender_key = testbed::key(1, KeyUse::Hop);
        let own_key = testbed::key(2, KeyUse::Hop);
        let received =
            ReceivedFrame::verify(frame.wire().clone(), hop, |_| Some(sender_key.public()))
                .unwrap();
        let signing = Answering {
            key: &own_key,
            now: NOW,
            register_epoch: 1,
            credit: 1,
        };
        let wire = match outcome {
            None => received.refuse(Rule::Busy, signing).unwrap(),
            Some(outcome) => {
                let answers = frame.items().iter().map(|&(record, form)| Answer {
                    record,
                    form,
                    outcome,
                    reason: None,
                });
                received.answer(answers.collect(), signing).unwrap()
            }
        };
        frame.receipt(wire, |_| Some(own_key.public())).unwrap()
    }

    fn plan(frame: Option<SentFrame>, passes: Option<u64>) -> Plan {
        Plan {
            entries: Vec::new(),
            settles: frame.as_ref().map(|_| 9),
            generation: Generation::from_bytes([1; 16]),
            first_sequence: 5,
            next_sequence: 6,
            frame: frame.map(Box::new),
            passes,
            next_due: None,
            now: NOW,
        }
    }

    #[track_caller]
    fn committed(effects: &[Effect]) -> &Write {
        let [Effect::Commit(write)] = effects else {
            panic!("{effects:?}");
        };
        write
    }

    #[track_caller]
    fn intended(effects: &[Effect]) -> &Intend {
        let Write::Intend(intend) = committed(effects) else {
            panic!("{effects:?}");
        };
        intend
    }

    #[track_caller]
    fn settled(effects: &[Effect]) -> &Settle {
        let Write::Settle(settle) = committed(effects) else {
            panic!("{effects:?}");
        };
        settle
    }

    fn machine() -> Machine {
        Machine::new("antwerp-1".parse().unwrap(), Lane::Bulk, BACKOFF)
    }

    /// Brings a machine to the point where a frame is in flight.
    fn in_flight(machine: &mut Machine) -> SentFrame {
        let frame = frame();
        machine.handle(Event::Wake, NOW);
        machine.handle(Event::Planned(plan(Some(frame.clone()), None)), NOW);
        machine.handle(Event::Committed, NOW);
        frame
    }

    #[test]
    fn nothing_is_sent_before_the_ledger_is_durable() {
        let mut machine = machine();
        assert!(matches!(
            machine.handle(Event::Wake, NOW)[..],
            [Effect::Plan]
        ));
        let effects = machine.handle(Event::Planned(plan(Some(frame()), None)), NOW);
        intended(&effects);
        let effects = machine.handle(Event::Committed, NOW);
        assert!(matches!(effects[..], [Effect::Send(_)]));
    }

    #[test]
    fn the_cursor_moves_with_the_receipt_and_not_before() {
        let mut machine = machine();
        machine.handle(Event::Wake, NOW);
        let effects = machine.handle(Event::Planned(plan(Some(frame()), None)), NOW);
        assert_eq!(intended(&effects).cursor, None);
        machine.handle(Event::Committed, NOW);
        let answer = receipt(&frame(), Some(Outcome::Accepted));
        let effects = machine.handle(Event::Answered(Box::new(answer)), NOW);
        let settle = settled(&effects);
        assert_eq!((settle.cursor, settle.next_sequence), (Some(9), 6));
        assert_eq!(settle.first_sequence, 5);
    }

    #[test]
    fn what_was_denied_moves_the_cursor_without_a_frame() {
        let mut machine = machine();
        machine.handle(Event::Wake, NOW);
        let effects = machine.handle(Event::Planned(plan(None, Some(7))), NOW);
        assert_eq!(intended(&effects).cursor, Some(7));
        assert!(matches!(
            machine.handle(Event::Committed, NOW)[..],
            [Effect::Plan]
        ));
    }

    #[test]
    fn ex_15_a_frame_refused_whole_settles_nothing_and_is_planned_again_later() {
        let mut machine = machine();
        let frame = in_flight(&mut machine);
        let refused = receipt(&frame, None);
        let effects = machine.handle(Event::Answered(Box::new(refused)), NOW);
        assert!(matches!(effects[..], [Effect::WakeAt(at)] if at == NOW.plus_millis(100)));
        assert!(matches!(
            machine.handle(Event::Wake, NOW)[..],
            [Effect::WakeAt(_)]
        ));
        let later = NOW.plus_millis(100);
        assert!(matches!(
            machine.handle(Event::Wake, later)[..],
            [Effect::Plan]
        ));
    }

    #[test]
    fn a_receipt_that_nobody_waits_for_changes_nothing_durable() {
        let mut machine = machine();
        let answer = receipt(&frame(), Some(Outcome::Accepted));
        let effects = machine.handle(Event::Answered(Box::new(answer)), NOW);
        assert!(
            !effects
                .iter()
                .any(|effect| matches!(effect, Effect::Commit(_)))
        );
    }

    #[test]
    fn what_comes_up_while_it_is_busy_is_not_forgotten() {
        let mut machine = machine();
        machine.handle(Event::Wake, NOW);
        machine.handle(Event::Wake, NOW);
        let effects = machine.handle(Event::Planned(plan(None, None)), NOW);
        assert!(matches!(effects[..], [Effect::Plan]));
        assert!(
            machine
                .handle(Event::Planned(plan(None, None)), NOW)
                .is_empty()
        );
        assert!(machine.is_idle());
    }

    #[test]
    fn the_wait_doubles_up_to_its_limit() {
        let waits: Vec<i64> = (1..=6).map(|failures| BACKOFF.after(failures)).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(BACKOFF.after(u32::MAX), 1_000);
    }
}

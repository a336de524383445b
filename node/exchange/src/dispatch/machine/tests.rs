mod failures;

use std::time::Duration;
use std::{num::NonZeroUsize, sync::Arc};

use portcullis_policy::{Bundle, Engine};
use portcullis_protocol::{
    frame::{
        Answering, Awaited, FrameHead, Hop, Outcome, Receipt, ReceivedFrame, RefusedFrame,
        SentFrame,
    },
    keys::KeyUse,
    rules::Rule,
    verify::{Occasion, Refusal, VerifiedRecord, Verifier},
};

use super::*;
use portcullis_kernel::decide::Decider;
use portcullis_store::Settle;
use portcullis_testbed as testbed;
use portcullis_testbed::NOW;

const RETRY: RetryBounds = RetryBounds {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(1),
};
const GENERATION: Generation = Generation::from_bytes([1; 16]);
const ANOTHER: Generation = Generation::from_bytes([2; 16]);

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

fn decider() -> Arc<Decider> {
    let engine = Engine::new(Bundle::empty(), NonZeroUsize::new(64).unwrap()).unwrap();
    let own = "rotterdam".parse().unwrap();
    Arc::new(Decider::new(testbed::register(), engine, own).unwrap())
}

fn start(generation: Generation) -> Footing {
    Footing {
        generation,
        cursor: 0,
        next_sequence: 1,
        settled_sequence: 1,
        chain: Chain::START,
    }
}

/// Rotterdam's side as a driver sees it, and antwerp's as a receiver of one item a frame.
struct Bench {
    machine: Machine,
    decider: Arc<Decider>,
    /// Frames sent and not answered, the oldest first.
    sent: VecDeque<SentFrame>,
    now: Timestamp,
}

impl Bench {
    fn new() -> Self {
        Self {
            machine: Machine::new("antwerp-1".parse().unwrap(), Lane::Bulk, RETRY),
            decider: decider(),
            sent: VecDeque::new(),
            now: NOW,
        }
    }

    fn handle(&mut self, event: Event) -> Vec<Effect> {
        self.machine.handle(event, self.now)
    }

    /// Plans one record from this footing. The log has an entry for each item.
    fn plan(&self, footing: Footing) -> Plan {
        let head = FrameHead {
            federation: "test".parse().unwrap(),
            sender: "rotterdam-1".parse().unwrap(),
            receiver: "antwerp-1".parse().unwrap(),
            generation: footing.generation,
            lane: Lane::Bulk,
            first_sequence: footing.next_sequence,
            settled_sequence: footing.settled_sequence,
            chain: footing.chain,
            sent_at: self.now,
            register_epoch: 1,
        };
        let frame = SentFrame::sign(head, &[record()], &testbed::key(1, KeyUse::Hop)).unwrap();
        Plan {
            footing,
            entries: Vec::new(),
            frame: Some(Box::new(Outgoing::new(frame, Arc::clone(&self.decider)))),
            passes: None,
            settles: Some(footing.cursor + 1),
            next_sequence: footing.next_sequence + 1,
            expires: vec![(record().id(), NOW.plus_millis(5_000))],
            filled: None,
            awaits: Vec::new(),
            next_due: None,
            now: self.now,
        }
    }

    fn planned(&mut self, plan: Plan) -> Vec<Effect> {
        self.handle(Event::Planned(Box::new(plan)))
    }

    /// Plans, commits and sends one frame. Returns the effects that come with it.
    fn send_from(&mut self, footing: Footing) -> Vec<Effect> {
        let plan = self.plan(footing);
        let effects = self.planned(plan);
        assert!(matches!(effects[..], [Effect::Intend(_)]), "{effects:?}");
        let mut effects = self.handle(Event::Intended);
        let Effect::Send(outgoing) = effects.remove(0) else {
            panic!("{effects:?}");
        };
        self.sent
            .push_back(outgoing.release(&self.decider).unwrap());
        effects
    }

    /// Wakes the machine and sends frames until it plans no more. The machine begins with a credit
    /// of one.
    fn fill(&mut self) -> usize {
        let mut effects = self.handle(Event::Wake);
        loop {
            let footing = match effects[..] {
                [Effect::Plan(None)] => start(GENERATION),
                [Effect::Plan(Some(footing))] => footing,
                _ => return self.sent.len(),
            };
            effects = self.send_from(footing);
        }
    }

    /// Makes antwerp's receipt for the oldest frame.
    fn receipt(&mut self, said: Said, credit: u32) -> Receipt {
        let frame = self.sent.pop_front().unwrap();
        receipt(&frame, said, credit)
    }

    fn answer(&mut self, said: Said, credit: u32) -> Vec<Effect> {
        let receipt = self.receipt(said, credit);
        self.handle(Event::Answered(Box::new(receipt)))
    }

    /// Refuses the oldest frame under EX-10 and proves it with a statement of this generation.
    fn prove_forgotten(&mut self, shown: Generation) -> Vec<Effect> {
        let receipt = self.receipt(Said::Refused(Rule::Sequence), 1);
        self.handle(Event::Forgotten(Box::new(receipt), shown))
    }

    /// Makes a machine with four frames on their way, after one was settled.
    fn with_four_in_flight() -> (Self, Footing) {
        let mut bench = Self::new();
        assert_eq!(bench.fill(), 1);
        let effects = bench.answer(Said::Each(Outcome::Accepted), 4);
        let [Effect::Settle(_), Effect::Plan(Some(_))] = effects[..] else {
            panic!("{effects:?}");
        };
        // The plan was asked for before the first frame was settled.
        let mut footing = tip(&effects);
        let effects = bench.handle(Event::Settled);
        assert!(effects.is_empty(), "{effects:?}");
        while bench.sent.len() < WINDOW {
            let effects = bench.send_from(footing);
            if bench.sent.len() < WINDOW {
                footing = tip(&effects);
            } else {
                assert!(effects.is_empty(), "{effects:?}");
            }
        }
        (bench, footing)
    }
}

#[derive(Clone, Copy)]
enum Said {
    Each(Outcome),
    Refused(Rule),
}

fn receipt(frame: &SentFrame, said: Said, credit: u32) -> Receipt {
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
    let signing = Answering {
        key: &own_key,
        now: NOW,
        register_epoch: 1,
        credit,
    };
    let received =
        ReceivedFrame::verify(frame.wire().clone(), hop, |_| Some(sender_key.public())).unwrap();
    let wire = match said {
        Said::Refused(Rule::Busy) => {
            let refusal = Refusal::new(Rule::Busy, "later");
            let refused = RefusedFrame::unread(frame.wire(), refusal);
            refused.answer(hop, signing).unwrap()
        }
        Said::Refused(rule) => received.refuse(rule, signing).unwrap(),
        Said::Each(outcome) => {
            let answers = frame.items().iter().map(|&(record, form)| Answer {
                record,
                form,
                outcome,
                reason: None,
            });
            received.answer(answers.collect(), signing).unwrap()
        }
    };
    let (_, awaited): (_, Awaited) = frame.clone().split();
    awaited.receipt(wire, |_| Some(own_key.public())).unwrap()
}

#[track_caller]
fn tip(effects: &[Effect]) -> Footing {
    let found = effects.iter().find_map(|effect| {
        if let Effect::Plan(footing) = effect {
            *footing
        } else {
            None
        }
    });
    found.unwrap_or_else(|| panic!("{effects:?}"))
}

#[track_caller]
fn intended(effects: &[Effect]) -> &Intend {
    let [Effect::Intend(intend)] = effects else {
        panic!("{effects:?}");
    };
    intend
}

#[track_caller]
fn settled(effects: &[Effect]) -> &[Settle] {
    let found = effects.iter().find_map(|effect| {
        if let Effect::Settle(settles) = effect {
            Some(settles)
        } else {
            None
        }
    });
    found.unwrap_or_else(|| panic!("{effects:?}"))
}

#[track_caller]
fn paused_until(effects: &[Effect]) -> Timestamp {
    let found = effects.iter().find_map(|effect| {
        if let Effect::WakeAt(time) = effect {
            Some(*time)
        } else {
            None
        }
    });
    found.unwrap_or_else(|| panic!("{effects:?}"))
}

fn disconnects(effects: &[Effect]) -> bool {
    effects
        .iter()
        .any(|effect| matches!(effect, Effect::Disconnect))
}

fn nothing(footing: Footing, passes: Option<u64>, next_due: Option<Timestamp>) -> Plan {
    Plan {
        footing,
        entries: Vec::new(),
        frame: None,
        passes,
        settles: None,
        next_sequence: footing.next_sequence,
        expires: Vec::new(),
        filled: None,
        awaits: Vec::new(),
        next_due,
        now: NOW,
    }
}

#[test]
fn nothing_is_sent_before_the_ledger_is_durable() {
    let mut bench = Bench::new();
    assert!(matches!(
        bench.handle(Event::Wake)[..],
        [Effect::Plan(None)]
    ));
    let plan = bench.plan(start(GENERATION));
    let effects = bench.planned(plan);
    assert_eq!(intended(&effects).first_sequence, Some(1));
    let effects = bench.handle(Event::Intended);
    assert!(matches!(effects[..], [Effect::Send(_)]));
}

#[test]
fn the_cursor_moves_with_the_receipt_and_not_before() {
    let mut bench = Bench::new();
    bench.handle(Event::Wake);
    let plan = bench.plan(start(GENERATION));
    let effects = bench.planned(plan);
    assert_eq!(intended(&effects).cursor, None);
    let mut effects = bench.handle(Event::Intended);
    let Effect::Send(outgoing) = effects.remove(0) else {
        panic!("{effects:?}");
    };
    let frame = outgoing.release(&bench.decider).unwrap();
    let digest = *frame.digest();
    bench.sent.push_back(frame);
    let effects = bench.answer(Said::Each(Outcome::Accepted), 1);
    let [settle] = settled(&effects) else {
        panic!("{effects:?}");
    };
    assert_eq!((settle.cursor, settle.next_sequence), (Some(1), 2));
    assert_eq!((settle.first_sequence, settle.generation), (1, GENERATION));
    assert_eq!(settle.frame, digest);
    assert_eq!(settle.expires, [(record().id(), NOW.plus_millis(5_000))]);
}

const FILLED: BackfillMove = BackfillMove {
    n: 1,
    next: 40,
    looked_at: 3,
    sent: 1,
    ended: false,
};

#[test]
fn a_range_of_older_records_moves_with_the_receipt_of_what_was_sent() {
    let mut bench = Bench::new();
    bench.handle(Event::Wake);
    let mut plan = bench.plan(start(GENERATION));
    (plan.filled, plan.settles) = (Some(FILLED), None);
    let effects = bench.planned(plan);
    assert_eq!(intended(&effects).filled, None);
    let mut effects = bench.handle(Event::Intended);
    let Effect::Send(outgoing) = effects.remove(0) else {
        panic!("{effects:?}");
    };
    bench
        .sent
        .push_back(outgoing.release(&bench.decider).unwrap());
    let effects = bench.answer(Said::Each(Outcome::Accepted), 1);
    let [settle] = settled(&effects) else {
        panic!("{effects:?}");
    };
    assert_eq!((settle.filled, settle.cursor), (Some(FILLED), None));
}

#[test]
fn a_range_in_which_nothing_is_sent_moves_at_once_and_more_of_it_is_planned() {
    let mut bench = Bench::new();
    bench.handle(Event::Wake);
    let mut plan = nothing(start(GENERATION), None, None);
    plan.filled = Some(FILLED);
    let effects = bench.planned(plan);
    assert_eq!(intended(&effects).filled, Some(FILLED));
    let effects = bench.handle(Event::Intended);
    assert!(matches!(effects[..], [Effect::Plan(None)]), "{effects:?}");
}

#[test]
fn what_was_denied_moves_the_cursor_without_a_frame() {
    let mut bench = Bench::new();
    bench.handle(Event::Wake);
    let effects = bench.planned(nothing(start(GENERATION), Some(7), None));
    let intend = intended(&effects);
    assert_eq!((intend.cursor, intend.first_sequence), (Some(7), None));
    assert!(matches!(
        bench.handle(Event::Intended)[..],
        [Effect::Plan(None)]
    ));
}

#[test]
fn a_window_of_frames_is_on_its_way_and_each_starts_where_the_last_ends() {
    let (mut bench, footing) = Bench::with_four_in_flight();
    assert_eq!(bench.machine.in_flight(), WINDOW);
    let places: Vec<_> = bench
        .sent
        .iter()
        .map(|frame| frame.head().first_sequence)
        .collect();
    assert_eq!(places, [2, 3, 4, 5]);
    // The frame claims what is durable at the time of planning.
    let claims: Vec<_> = bench
        .sent
        .iter()
        .map(|frame| frame.head().settled_sequence)
        .collect();
    assert_eq!(claims, [1, 2, 2, 2]);
    assert_eq!(footing.chain, bench.sent[1].head().chain);
    assert_ne!(footing.chain, Chain::START);
    // A receipt makes room for one more frame, which starts at the tip.
    let effects = bench.answer(Said::Each(Outcome::Accepted), 4);
    assert_eq!(settled(&effects).len(), 1);
    let next = tip(&effects);
    assert_eq!((next.next_sequence, next.cursor), (6, 5));
    assert_eq!(next.settled_sequence, 2, "not durable yet");
}

#[test]
fn receipts_that_come_while_others_are_settled_are_settled_together_and_in_order() {
    let (mut bench, _) = Bench::with_four_in_flight();
    let effects = bench.answer(Said::Each(Outcome::Accepted), 1);
    assert_eq!(settled(&effects).len(), 1);
    for _ in 0..2 {
        let effects = bench.answer(Said::Each(Outcome::Accepted), 1);
        assert!(effects.is_empty(), "one settlement at a time: {effects:?}");
    }
    let effects = bench.handle(Event::Settled);
    let cursors: Vec<_> = settled(&effects).iter().map(|one| one.cursor).collect();
    assert_eq!(cursors, [Some(3), Some(4)]);
}

#[test]
fn no_more_is_sent_than_the_last_receipt_grants() {
    let mut bench = Bench::new();
    assert_eq!(bench.fill(), 1, "a connection begins with one");
    let effects = bench.answer(Said::Each(Outcome::Accepted), 2);
    let effects = bench.send_from(tip(&effects));
    let effects = bench.send_from(tip(&effects));
    assert!(effects.is_empty(), "{effects:?}");
    assert_eq!(bench.machine.in_flight(), 2);
    // The receipt grants one from now on: nothing is sent until one of the two is answered.
    bench.handle(Event::Settled);
    let effects = bench.answer(Said::Each(Outcome::Accepted), 1);
    assert_eq!(settled(&effects).len(), 1);
    assert!(bench.handle(Event::Settled).is_empty());
}

#[test]
fn what_grants_nothing_is_asked_again_later_by_a_new_connection_and_less_and_less() {
    let mut bench = Bench::new();
    let mut waits = Vec::new();
    for _ in 0..3 {
        bench.fill();
        let effects = bench.answer(Said::Each(Outcome::Accepted), 0);
        assert_eq!(settled(&effects).len(), 1);
        let effects = bench.handle(Event::Settled);
        assert!(disconnects(&effects), "{effects:?}");
        waits.push(paused_until(&effects).millis_since(bench.now));
        assert!(matches!(bench.handle(Event::Wake)[..], [Effect::WakeAt(_)]));
        bench.now = paused_until(&effects);
    }
    assert_eq!(waits, [100, 200, 400]);
}

#[test]
fn what_comes_up_while_it_is_busy_is_not_forgotten() {
    let mut bench = Bench::new();
    bench.handle(Event::Wake);
    bench.handle(Event::Wake);
    let effects = bench.planned(nothing(start(GENERATION), None, None));
    assert!(matches!(effects[..], [Effect::Plan(None)]), "{effects:?}");
    let effects = bench.planned(nothing(start(GENERATION), None, None));
    assert!(effects.is_empty(), "{effects:?}");
    assert!(bench.machine.is_idle());
}

#[test]
fn what_is_due_is_looked_at_when_it_is_due_and_not_at_once_again() {
    let mut bench = Bench::new();
    bench.handle(Event::Wake);
    let due = NOW.plus_millis(70_000);
    let effects = bench.planned(nothing(start(GENERATION), None, Some(due)));
    assert_eq!(paused_until(&effects), due);
    bench.handle(Event::Wake);
    // A record is said to be due already, but does not come up.
    let effects = bench.planned(nothing(start(GENERATION), None, Some(NOW)));
    assert_eq!(paused_until(&effects), NOW.plus_millis(100));
}

#[test]
fn records_that_are_due_again_get_their_turn_however_much_is_new() {
    let mut bench = Bench::new();
    bench.fill();
    // The item is held, and is tried again after 1 s.
    let effects = bench.answer(Said::Each(Outcome::Held), 4);
    let footing = tip(&effects);
    bench.handle(Event::Settled);
    let effects = bench.send_from(footing);
    let footing = tip(&effects);
    bench.now = NOW.plus_millis(1_000);
    let effects = bench.send_from(footing);
    assert!(effects.is_empty(), "nothing is planned ahead: {effects:?}");
    for _ in 0..2 {
        bench.answer(Said::Each(Outcome::Accepted), 4);
    }
    bench.handle(Event::Settled);
    let effects = bench.handle(Event::Settled);
    assert!(matches!(effects[..], [Effect::Plan(None)]), "{effects:?}");
}

#[test]
fn the_wait_doubles_up_to_its_limit() {
    let waits: Vec<i64> = (1..=6).map(|failures| RETRY.after_ms(failures)).collect();
    assert_eq!(waits, [100, 200, 400, 800, 1_000, 1_000]);
    assert_eq!(RETRY.after_ms(u32::MAX), 1_000);
}

#[test]
fn a_connection_that_ended_idle_is_followed_by_one_that_begins_with_its_own_credit() {
    for (parted, sent) in [(false, WINDOW), (true, 1)] {
        let mut bench = Bench::new();
        assert_eq!(bench.fill(), 1);
        let effects = bench.answer(Said::Each(Outcome::Accepted), 4);
        bench.planned(nothing(tip(&effects), None, None));
        let mut effects = bench.handle(Event::Settled);
        while let [Effect::Plan(_)] = effects[..] {
            effects = bench.planned(nothing(start(GENERATION), None, None));
        }
        assert!(bench.machine.is_idle(), "{effects:?}");
        if parted {
            assert!(bench.handle(Event::Parted).is_empty());
        }
        assert_eq!(
            bench.fill(),
            sent,
            "the receiver counts from the first frame"
        );
    }
}

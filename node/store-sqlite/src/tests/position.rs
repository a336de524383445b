//! Claims about positions: the place that a peer's frames must have, and this store's own place.

use portcullis_protocol::{
    digest::Digest,
    frame::{Chain, FramePosition, Generation, Lane, Outcome},
    record::Kind,
    rules::Rule,
    statement::SignedStatement,
};

use super::{conformance::Claim, fixture::*};
use portcullis_store::{Intake, IntakeItem, NewGeneration, Part, Store, Write, Written};

pub(super) const CLAIMS: &[Claim] = &[
    (
        "a rolled back sender is refused and leaves nothing",
        a_rolled_back_sender_is_refused_and_leaves_nothing,
    ),
    (
        "a fork is refused and both statements are kept",
        a_fork_is_refused_and_both_statements_are_kept,
    ),
    ("evidence of forks is bounded", evidence_of_forks_is_bounded),
    (
        "a new generation is taken and an old one never again",
        a_new_generation_is_taken_and_an_old_one_never_again,
    ),
    (
        "lanes and peers have positions of their own",
        lanes_and_peers_have_positions_of_their_own,
    ),
    (
        "a later part of a frame is taken only after its first",
        a_later_part_of_a_frame_is_taken_only_after_its_first,
    ),
    (
        "a new generation of this node begins anew and keeps its cursors",
        a_new_generation_of_this_node_begins_anew_and_keeps_its_cursors,
    ),
    (
        "a receipt of an earlier generation moves no position",
        a_receipt_of_an_earlier_generation_moves_no_position,
    ),
    (
        "a node that was rolled back accuses nobody of a fork",
        a_node_that_was_rolled_back_accuses_nobody_of_a_fork,
    ),
];

/// A peer that sends frames of one item.
struct Sender {
    peer: &'static str,
    lane: Lane,
    generation: Generation,
    settled: u64,
    chain: Chain,
    sent: u64,
    originator: Originator,
}

impl Sender {
    fn new(peer: &'static str, generation: u8) -> Self {
        Self {
            peer,
            lane: Lane::Bulk,
            generation: Generation::from_bytes([generation; 16]),
            settled: 1,
            chain: Chain::START,
            sent: 0,
            originator: Originator::new(1),
        }
    }

    /// Sends the next frame after what is settled. `settle` tells whether its receipt arrives.
    fn send(&mut self, store: &dyn Store, settle: bool) -> Written {
        self.sent += 1;
        let parts: [&[u8]; 2] = [
            self.generation.as_bytes(),
            &(1_000 * self.settled + self.sent).to_be_bytes(),
        ];
        let digest = Digest::labelled("test frame", &parts);
        let write = self.frame(digest, Part::First);
        let written = store.commit(vec![write]).unwrap().remove(0);
        if settle {
            self.settled += 1;
            self.chain = self.chain.then(&digest);
        }
        written
    }

    fn frame(&mut self, digest: Digest, part: Part) -> Write {
        let record = self.originator.record(Kind::Indicator);
        Write::Intake(Intake {
            peer: peer(self.peer),
            lane: self.lane,
            place: FramePosition {
                generation: self.generation,
                first_sequence: self.settled,
                next_sequence: self.settled + 1,
                settled_sequence: self.settled,
                chain: self.chain,
                digest,
            },
            statement: self.statement(),
            part,
            now: at(3),
            items: vec![IntakeItem {
                id: record.id(),
                form: record.form(),
                judgement: admit(&record),
            }],
        })
    }

    /// Returns a statement over the generation alone, which is enough to tell statements apart.
    fn statement(&self) -> SignedStatement {
        if self.generation.as_bytes()[0] == 1 {
            statement(b"a frame of the first")
        } else {
            statement(b"a frame of another")
        }
    }

    fn back_to(&self, settled: u64, chain: Chain) -> Self {
        Self {
            settled,
            chain,
            originator: Originator::new(2),
            ..*self
        }
    }
}

#[track_caller]
fn taken(written: &Written) {
    let Written::Answers(answers) = written else {
        panic!("{written:?}");
    };
    assert_eq!(outcomes(answers), [Outcome::Accepted]);
}

fn kinds(store: &dyn Store) -> Vec<String> {
    let events = store.events(100).unwrap();
    events.into_iter().map(|event| event.kind).collect()
}

fn held(store: &dyn Store) -> usize {
    store.records(&Default::default()).unwrap().len()
}

/// The refusal of a frame from a sender that forgot what `sender` said last.
fn forgot(sender: &Sender) -> Written {
    Written::OutOfSequence(Box::new(sender.statement()))
}

fn a_rolled_back_sender_is_refused_and_leaves_nothing(store: &dyn Store) {
    let mut sender = Sender::new("hub", 1);
    let mut forgetful = sender.back_to(1, Chain::START);
    taken(&sender.send(store, true));
    taken(&sender.send(store, false));
    // After a crash the sender uses the same place again, with another record in the frame.
    taken(&sender.send(store, true));
    assert_eq!(held(store), 3);
    assert_eq!(forgetful.send(store, false), forgot(&sender));
    assert_eq!(held(store), 3);
    assert_eq!(store.arrivals(None).unwrap().len(), 3);
    taken(&sender.send(store, true));
}

fn a_fork_is_refused_and_both_statements_are_kept(store: &dyn Store) {
    let mut sender = Sender::new("hub", 1);
    taken(&sender.send(store, true));
    let chain = sender.chain.then(&Digest::from_bytes([9; 32]));
    let mut forked = sender.back_to(3, chain);
    assert_eq!(forked.send(store, false), Written::Refused(Rule::Fork));
    assert_eq!(held(store), 1);
    let forks = store.forks().unwrap();
    let [fork] = &forks[..] else {
        panic!("{forks:?}");
    };
    assert_eq!((&fork.peer, fork.lane), (&peer("hub"), Lane::Bulk));
    assert_eq!(fork.known, sender.statement());
    assert_eq!(fork.forked, forked.statement());
    assert_eq!(kinds(store), ["fork"]);
    // The sender that is right goes on.
    taken(&sender.send(store, true));
}

fn evidence_of_forks_is_bounded(store: &dyn Store) {
    let mut sender = Sender::new("hub", 1);
    taken(&sender.send(store, true));
    for number in 0..20 {
        let chain = sender.chain.then(&Digest::from_bytes([number; 32]));
        let refused = sender.back_to(3, chain).send(store, false);
        assert_eq!(refused, Written::Refused(Rule::Fork));
    }
    assert_eq!(store.forks().unwrap().len(), 16);
    assert_eq!(kinds(store).len(), 16);
}

fn a_new_generation_is_taken_and_an_old_one_never_again(store: &dyn Store) {
    let mut first = Sender::new("hub", 1);
    taken(&first.send(store, true));
    let mut second = Sender::new("hub", 2);
    second.originator = Originator::new(2);
    taken(&second.send(store, true));
    taken(&second.send(store, true));
    assert_eq!(first.send(store, true), forgot(&second));
    let mut third = Sender::new("hub", 3);
    third.originator = Originator::new(3);
    taken(&third.send(store, true));
    for old in [&mut first, &mut second] {
        assert_eq!(old.send(store, false), forgot(&third));
    }
    assert_eq!(store.forks().unwrap(), []);
}

fn lanes_and_peers_have_positions_of_their_own(store: &dyn Store) {
    let mut bulk = Sender::new("hub", 1);
    taken(&bulk.send(store, true));
    taken(&bulk.send(store, true));
    let mut urgent = Sender::new("hub", 1);
    urgent.lane = Lane::Urgent;
    urgent.originator = Originator::new(2);
    taken(&urgent.send(store, true));
    let mut port = Sender::new("port", 1);
    port.originator = Originator::new(3);
    taken(&port.send(store, true));
    taken(&bulk.send(store, true));
}

fn a_later_part_of_a_frame_is_taken_only_after_its_first(store: &dyn Store) {
    let mut sender = Sender::new("hub", 1);
    let digest = Digest::from_bytes([8; 32]);
    let later = sender.frame(digest, Part::Later);
    let written = store.commit(vec![later]).unwrap();
    assert_eq!(written, [Written::Refused(Rule::Busy)]);
    assert_eq!(held(store), 0);
    for part in [Part::First, Part::Later] {
        let write = sender.frame(digest, part);
        taken(&store.commit(vec![write]).unwrap()[0]);
    }
    let other = sender.frame(Digest::from_bytes([7; 32]), Part::Later);
    let written = store.commit(vec![other]).unwrap();
    assert_eq!(written, [Written::Refused(Rule::Busy)]);
}

fn start(store: &dyn Store, instead_of: Generation, generation: u8) {
    let new = NewGeneration {
        shown: None,
        instead_of,
        generation: Generation::from_bytes([generation; 16]),
        at: at(9),
        why: "a test asked for it".to_owned(),
    };
    store.commit(vec![Write::StartGeneration(new)]).unwrap();
}

fn a_new_generation_of_this_node_begins_anew_and_keeps_its_cursors(store: &dyn Store) {
    let record = Originator::new(1).record(Kind::Indicator);
    let answers = vec![answer(record.id(), record.form(), Outcome::Accepted)];
    settle(store, "hub", answers, Some(7), at(1));
    let before = store.position(&peer("hub"), Lane::Bulk).unwrap();
    assert_eq!((before.cursor, before.next_sequence), (7, 2));
    start(store, before.generation, 77);
    let after = store.position(&peer("hub"), Lane::Bulk).unwrap();
    assert_eq!(after.generation, Generation::from_bytes([77; 16]));
    assert_eq!((after.cursor, after.next_sequence), (7, 1));
    assert_eq!(after.chain, Chain::START);
    assert_eq!(kinds(store), ["generation-started"]);
    assert_eq!(store.left_generations().unwrap(), [before.generation]);
    // A second lane asks for the same, which is done already.
    start(store, before.generation, 78);
    assert_eq!(store.generation().unwrap(), after.generation);
    assert_eq!(kinds(store), ["generation-started"]);
}

fn a_receipt_of_an_earlier_generation_moves_no_position(store: &dyn Store) {
    let record = Originator::new(1).record(Kind::Indicator);
    let before = store.position(&peer("hub"), Lane::Bulk).unwrap();
    start(store, before.generation, 77);
    let answers = vec![answer(record.id(), record.form(), Outcome::Accepted)];
    settle_at(store, "hub", answers, before);
    let after = store.position(&peer("hub"), Lane::Bulk).unwrap();
    assert_eq!((after.next_sequence, after.chain), (1, Chain::START));
    // The peer's answer stands.
    let rows = store.disclosures(Some(&record.id())).unwrap();
    assert_eq!(rows.len(), 1);
}

fn a_node_that_was_rolled_back_accuses_nobody_of_a_fork(store: &dyn Store) {
    let mut sender = Sender::new("hub", 1);
    taken(&sender.send(store, true));
    start(store, store.generation().unwrap(), 77);
    // The sender has receipts for frames that this store no longer knows.
    let chain = sender.chain.then(&Digest::from_bytes([9; 32]));
    let mut ahead = sender.back_to(3, chain);
    taken(&ahead.send(store, true));
    assert_eq!(sender.send(store, true), forgot(&ahead));
    let mut forked = ahead.back_to(9, chain);
    assert_eq!(forked.send(store, false), Written::Refused(Rule::Fork));
}

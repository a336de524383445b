//! EX-10 and EX-11: the claims a sender may make about what it settled, and the answer to a false
//! one.

use portcullis_protocol::{
    digest::Digest,
    frame::{Chain, FramePosition, Generation, MAX_ANSWERED, MAX_WINDOW, Memory, Witness},
    rules::Rule,
};

const GENERATION: Generation = Generation::from_bytes([3; 16]);

fn digest(number: u64) -> Digest {
    Digest::labelled("test frame", &[&number.to_be_bytes()])
}

/// A sender that settles frames of ten items.
#[derive(Clone, Copy)]
struct Sender {
    settled: u64,
    chain: Chain,
}

impl Sender {
    const fn new() -> Self {
        Self {
            settled: 1,
            chain: Chain::START,
        }
    }

    /// Returns the place of the frame with this digest, `ahead` frames beyond what is settled.
    fn place(self, ahead: u64, number: u64) -> FramePosition {
        let first_sequence = self.settled + 10 * ahead;
        FramePosition {
            generation: GENERATION,
            first_sequence,
            next_sequence: first_sequence + 10,
            settled_sequence: self.settled,
            chain: self.chain,
            digest: digest(number),
        }
    }

    fn settle(&mut self, number: u64) {
        self.settled += 10;
        self.chain = self.chain.then(&digest(number));
    }
}

fn next(witness: &Witness, place: FramePosition) -> Result<Witness, Rule> {
    witness.next(&place, Memory::Whole)
}

#[test]
fn the_chain_is_a_labelled_hash_over_chain_and_frame() {
    let frame = digest(1);
    let parts: [&[u8]; 2] = [&[0; 32], frame.as_bytes()];
    let plain = Digest::labelled("portcullis chain v1", &parts);
    assert_eq!(Chain::START.then(&frame).as_bytes(), plain.as_bytes());
}

#[test]
fn frames_settled_one_by_one_or_several_at_once_follow() {
    let mut sender = Sender::new();
    let mut witness = Witness::first(&sender.place(0, 0));
    for number in 1..4 {
        witness = next(&witness, sender.place(number, number)).unwrap();
    }
    for number in 0..4 {
        sender.settle(number);
    }
    witness = next(&witness, sender.place(0, 4)).unwrap();
    assert_eq!(witness.answered.len(), 1);
    sender.settle(4);
    assert!(next(&witness, sender.place(0, 5)).is_ok());
}

#[test]
fn a_copy_of_an_answered_frame_changes_no_order() {
    let mut sender = Sender::new();
    let mut witness = Witness::first(&sender.place(0, 0));
    for (ahead, number) in [(1, 1), (0, 0)] {
        witness = next(&witness, sender.place(ahead, number)).unwrap();
    }
    sender.settle(0);
    sender.settle(1);
    assert!(next(&witness, sender.place(0, 2)).is_ok());
}

/// Seed 427 of the simulation: a copy of the second frame came over another connection before the
/// first frame.
#[test]
fn a_copy_that_arrives_before_the_frame_it_follows_makes_no_fork() {
    let mut sender = Sender::new();
    let mut witness = Witness::first(&sender.place(1, 1));
    for (ahead, number) in [(0, 0), (1, 1)] {
        witness = next(&witness, sender.place(ahead, number)).unwrap();
    }
    sender.settle(0);
    sender.settle(1);
    assert!(next(&witness, sender.place(0, 2)).is_ok());
}

#[test]
fn what_was_not_settled_may_be_sent_again_with_other_items() {
    let mut sender = Sender::new();
    let mut witness = Witness::first(&sender.place(0, 0));
    for (ahead, number) in [(1, 1), (2, 2), (0, 10), (1, 11), (0, 20), (1, 21)] {
        witness = next(&witness, sender.place(ahead, number)).unwrap();
    }
    // A frame of an abandoned connection arrives late: both ways stay open.
    witness = next(&witness, sender.place(2, 2)).unwrap();
    sender.settle(20);
    sender.settle(21);
    assert!(next(&witness, sender.place(0, 30)).is_ok());
}

#[test]
fn ex_10_frame_out_of_sequence() {
    let mut sender = Sender::new();
    let forgetful = sender;
    let witness = Witness::first(&sender.place(0, 0));
    sender.settle(0);
    let witness = next(&witness, sender.place(0, 1)).unwrap();
    assert_eq!(next(&witness, forgetful.place(0, 2)), Err(Rule::Sequence));
    // Not even a receiver that was itself rolled back accepts a claim behind the one it holds.
    assert_eq!(
        witness.next(&forgetful.place(0, 2), Memory::RolledBack),
        Err(Rule::Sequence)
    );
}

#[test]
fn ex_11_fork_within_a_generation() {
    let mut sender = Sender::new();
    let mut other = sender;
    let witness = Witness::first(&sender.place(0, 0));
    sender.settle(0);
    other.settle(1_000);
    // Two nodes with one key: the second settled a frame that was never answered here.
    assert_eq!(next(&witness, other.place(0, 2)), Err(Rule::Fork));
    let witness = next(&witness, sender.place(0, 2)).unwrap();
    assert_eq!(next(&witness, other.place(0, 3)), Err(Rule::Fork));
    // The frames are right, but their order is not.
    let mut reordered = sender;
    let witness = next(&witness, sender.place(1, 3)).unwrap();
    reordered.settle(3);
    reordered.settle(2);
    assert_eq!(next(&witness, reordered.place(0, 4)), Err(Rule::Fork));
    // The claim goes beyond all that was answered.
    sender.settle(2);
    sender.settle(3);
    sender.settle(4);
    assert_eq!(next(&witness, sender.place(0, 5)), Err(Rule::Fork));
}

#[test]
fn a_receiver_that_was_rolled_back_accuses_nobody_and_believes_the_claim_once() {
    let mut sender = Sender::new();
    let witness = Witness::first(&sender.place(0, 0));
    for number in 0..5 {
        sender.settle(number);
    }
    let place = sender.place(0, 6);
    let witness = witness.next(&place, Memory::RolledBack).unwrap();
    assert_eq!(witness.settled_sequence, sender.settled);
    let mut other = sender;
    other.settle(1_000);
    assert_eq!(next(&witness, other.place(0, 7)), Err(Rule::Fork));
}

#[test]
fn what_is_remembered_and_tried_is_bounded() {
    let sender = Sender::new();
    let mut witness = Witness::first(&sender.place(0, 0));
    // Eight frames for each of sixteen places: 8^16 paths.
    for number in 0..128 {
        witness = next(&witness, sender.place(number / 8, 100 + number)).unwrap();
    }
    assert_eq!(witness.answered.len(), MAX_ANSWERED);
    let mut witness = Witness::first(&sender.place(0, 0));
    for number in 0..63 {
        witness = next(&witness, sender.place(number / 8, 100 + number)).unwrap();
    }
    let mut liar = sender;
    for _ in 0..7 {
        liar.settle(1_000);
    }
    assert_eq!(next(&witness, liar.place(0, 1)), Err(Rule::Sequence));
}

#[test]
fn the_same_frame_again_is_remembered_once() {
    let sender = Sender::new();
    let witness = Witness::first(&sender.place(0, 0));
    let again = next(&witness, sender.place(0, 0)).unwrap();
    assert_eq!(again, witness);
}

proptest::proptest! {
    /// An honest sender is never refused, whatever is lost, abandoned or planned anew.
    #[test]
    fn an_honest_sender_is_always_followed(
        moves in proptest::collection::vec((0..4_u8, 1..20_u64), 1..200),
    ) {
        let mut settled = (1_u64, Chain::START);
        let mut flights: Vec<FramePosition> = Vec::new();
        let mut witness: Option<Witness> = None;
        for (number, (what, items)) in (0..).zip(moves) {
            match what {
                // A frame is sent and answered.
                0 | 1 if flights.len() < MAX_WINDOW => {
                    let first_sequence = flights.last().map_or(settled.0, |last| last.next_sequence);
                    let place = FramePosition {
                        generation: GENERATION,
                        first_sequence,
                        next_sequence: first_sequence + items,
                        settled_sequence: settled.0,
                        chain: settled.1,
                        digest: digest(number),
                    };
                    let next = match &witness {
                        Some(witness) => witness.next(&place, Memory::Whole).unwrap(),
                        None => Witness::first(&place),
                    };
                    witness = Some(next);
                    flights.push(place);
                }
                // The oldest receipt arrives and is settled.
                0..=2 => if !flights.is_empty() {
                    let first = flights.remove(0);
                    settled = (first.next_sequence, settled.1.then(&first.digest));
                },
                // The connection or the process ends: receipts are lost.
                _ => flights.clear(),
            }
        }
    }
}

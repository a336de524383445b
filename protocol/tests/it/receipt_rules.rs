//! EX-13 and EX-14: the receipts that end a delivery, and those that settle nothing.

use bytes::Bytes;
use portcullis_protocol::{
    frame::{
        Answer, Answering, FrameAnswer, FrameHead, Generation, Hop, Lane, Outcome, Receipt,
        Remembered, SentFrame,
    },
    keys::{KeyUse, SigningKey},
    rules::Rule,
    statement::{SignedStatement, StatementType},
    verify::Refusal,
    wire,
};
use prost::Message as _;

use crate::{
    fixture::{NOW, assert_refused, federation},
    forge::{flipped, labelled},
    frame_rules::{RECEIVER_SEED, SENDER_SEED, head, receive, receiver, records, sender, sent},
    members::{hop_key, register},
};

struct Receipted;
impl StatementType for Receipted {
    const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.receipt.v1";
    const KEY_USE: KeyUse = KeyUse::Hop;
}

fn answering(key: &SigningKey) -> Answering<'_> {
    Answering {
        key,
        now: NOW.plus_millis(5),
        register_epoch: 1,
        credit: 3,
    }
}

/// Four answers: accepted, refused under EX-07, duplicate, held.
fn answers(frame: &SentFrame) -> Vec<Answer> {
    let said = [
        (Outcome::Accepted, None),
        (Outcome::Refused, Some("EX-07")),
        (Outcome::Duplicate, None),
        (Outcome::Held, Some("PO-03")),
    ];
    frame
        .items()
        .iter()
        .zip(said)
        .map(|(&(record, form), (outcome, reason))| Answer {
            record,
            form,
            outcome,
            reason: reason.map(str::to_owned),
        })
        .collect()
}

/// The receiver's receipt for a frame.
fn answered(frame: &SentFrame) -> wire::Receipt {
    let key = hop_key(RECEIVER_SEED);
    let received = receive(frame.wire().clone()).unwrap();
    received.answer(answers(frame), answering(&key)).unwrap()
}

/// Judges a receipt as the sender, by the receiver's keys.
fn judge(frame: &SentFrame, receipt: wire::Receipt) -> Result<Receipt, Refusal> {
    let register = register();
    frame.receipt(receipt, |id| register.hop_key(&receiver(), id, NOW))
}

#[track_caller]
fn check(rule: Rule, change: impl FnOnce(&mut wire::Receipt)) {
    let frame = sent();
    let mut receipt = answered(&frame);
    change(&mut receipt);
    assert_refused(judge(&frame, receipt), rule);
}

/// A receipt whose payload its own signer changed.
#[track_caller]
fn check_payload(change: impl FnOnce(&mut wire::ReceiptPayload)) {
    check(Rule::ReceiptMismatch, |receipt| {
        let signed = receipt.payload.take().unwrap();
        let mut payload = wire::ReceiptPayload::decode(signed.payload).unwrap();
        change(&mut payload);
        receipt.payload = Some(sign(payload.encode_to_vec()));
    });
}

fn sign(payload: Vec<u8>) -> wire::SignedStatement {
    let key = hop_key(RECEIVER_SEED);
    (&SignedStatement::sign::<Receipted>(payload.into(), &key).unwrap()).into()
}

#[test]
fn a_receipt_answers_item_by_item() {
    let frame = sent();
    let receipt = judge(&frame, answered(&frame)).unwrap();
    assert_eq!(receipt.verdict, FrameAnswer::Answered(answers(&frame)));
    assert_eq!(receipt.answered_at, NOW.plus_millis(5));
    assert_eq!(receipt.register_epoch, 1);
    assert_eq!(receipt.credit, 3);
    assert_eq!(receipt.frame_digest(), frame.digest());
}

#[test]
fn a_signed_refusal_of_the_whole_frame_counts() {
    let frame = sent();
    let key = hop_key(RECEIVER_SEED);
    let received = receive(frame.wire().clone()).unwrap();
    let refusal = received.refuse(Rule::Sequence, answering(&key)).unwrap();
    let receipt = judge(&frame, refusal).unwrap();
    assert_eq!(
        receipt.verdict,
        FrameAnswer::RefusedWhole("EX-10".to_owned())
    );
    // Damaged on the way: the receiver can still name the frame that it refuses.
    let mut damaged = frame.wire().clone();
    damaged.records.pop();
    let (federation, receiver, sender) = (federation(), receiver(), sender());
    let hop = Hop {
        federation: &federation,
        receiver: &receiver,
        peer: &sender,
    };
    let refusal = receive(damaged).unwrap_err().answer(hop, answering(&key));
    let receipt = judge(&frame, refusal.unwrap()).unwrap();
    assert_eq!(
        receipt.verdict,
        FrameAnswer::RefusedWhole("EX-06".to_owned())
    );
}

#[test]
fn ex_13_receipt_signature_that_does_not_verify() {
    check(Rule::ReceiptSignature, |receipt| receipt.payload = None);
    check(Rule::ReceiptSignature, |receipt| {
        receipt.payload.as_mut().unwrap().signature = Bytes::new();
    });
    check(Rule::ReceiptSignature, |receipt| {
        receipt.payload = Some(sign(vec![0xff; 9]))
    });
    // Signed by another key: the sender's own, or one that nobody has.
    for key in [
        hop_key(SENDER_SEED),
        SigningKey::from_seed(KeyUse::Hop, [99; 32]),
    ] {
        check(Rule::ReceiptSignature, |receipt| {
            let payload = receipt.payload.take().unwrap().payload;
            let statement = SignedStatement::sign::<Receipted>(payload, &key).unwrap();
            receipt.payload = Some((&statement).into());
        });
    }
}

#[test]
fn ex_13_receipt_signature_that_does_not_verify_when_any_bit_is_flipped() {
    let frame = sent();
    let good = answered(&frame);
    let statement = good.payload.clone().unwrap();
    for bit in 0..statement.payload.len() * 8 {
        let mut bad = good.clone();
        bad.payload.as_mut().unwrap().payload = flipped(&statement.payload, bit);
        assert_refused(judge(&frame, bad), Rule::ReceiptSignature);
    }
    for bit in 0..512 {
        let mut bad = good.clone();
        bad.payload.as_mut().unwrap().signature = flipped(&statement.signature, bit);
        assert_refused(judge(&frame, bad), Rule::ReceiptSignature);
    }
}

#[test]
fn ex_14_receipt_for_something_that_was_not_sent() {
    // A valid receipt for another frame: the next one, or one with other items.
    let frame = sent();
    let key = hop_key(SENDER_SEED);
    let mut next = head();
    next.first_sequence += 4;
    let next = SentFrame::sign(next, &records(), &key).unwrap();
    assert_refused(judge(&frame, answered(&next)), Rule::ReceiptMismatch);
    let again = SentFrame::sign(head(), &records()[..2], &key).unwrap();
    assert_refused(judge(&frame, answered(&again)), Rule::ReceiptMismatch);
}

#[test]
fn ex_14_receipt_for_something_that_was_not_sent_by_its_parties_or_place() {
    check_payload(|payload| payload.federation = "us-ports".to_owned());
    check_payload(|payload| payload.sender = "police-n1".to_owned());
    check_payload(|payload| payload.receiver = "customs-n1".to_owned());
    check_payload(|payload| payload.generation = Bytes::from_static(&[4; 16]));
    check_payload(|payload| payload.lane = wire::Lane::Urgent.into());
    check_payload(|payload| payload.first_sequence = 42);
    check_payload(|payload| payload.count = 3);
    check_payload(|payload| payload.frame_digest = flipped(&payload.frame_digest, 0));
    check_payload(|payload| payload.frame_digest = Bytes::new());
    check_payload(|payload| payload.answers_root = flipped(&payload.answers_root, 0));
    check_payload(|payload| payload.answers_root = Bytes::new());
}

#[test]
fn ex_14_receipt_for_something_that_was_not_sent_when_its_answers_were_changed() {
    let answers = |change: fn(&mut Vec<wire::Answer>)| {
        check(Rule::ReceiptMismatch, |receipt| {
            change(&mut receipt.answers)
        });
    };
    answers(|answers| answers.swap(0, 2));
    answers(|answers| drop(answers.pop()));
    answers(|answers| answers.push(answers[3].clone()));
    answers(|answers| answers[1].outcome = wire::Outcome::Accepted.into());
    answers(|answers| answers[1].reason = "EX-08".to_owned());
    answers(|answers| answers[1].reason = "\u{1b}[2J".to_owned());
    answers(|answers| answers[0].form ^= 4);
    answers(|answers| answers[0].record_id = flipped(&answers[0].record_id, 0));
    answers(|answers| answers[0].outcome = 0);
}

#[test]
fn ex_14_receipt_for_something_that_was_not_sent_when_the_receiver_answers_other_items() {
    // Signed by the receiver, but reordered, for another form, or for another record.
    let frame = sent();
    let key = hop_key(RECEIVER_SEED);
    let received = receive(frame.wire().clone()).unwrap();
    let verdict = |change: fn(&mut Vec<Answer>)| {
        let mut answers = answers(&frame);
        change(&mut answers);
        judge(&frame, received.answer(answers, answering(&key)).unwrap())
    };
    assert!(verdict(|_| ()).is_ok());
    assert_refused(verdict(|answers| answers.swap(0, 1)), Rule::ReceiptMismatch);
    assert_refused(
        verdict(|answers| answers[0].record = answers[2].record),
        Rule::ReceiptMismatch,
    );
    assert_refused(
        verdict(|answers| answers[1].form = answers[0].form),
        Rule::ReceiptMismatch,
    );
    assert_refused(
        verdict(|answers| answers[0].reason = Some("EX-07".to_owned())),
        Rule::ReceiptMismatch,
    );
    assert!(
        received
            .answer(answers(&frame)[1..].to_vec(), answering(&key))
            .is_err()
    );
}

#[test]
fn ex_14_receipt_for_something_that_was_not_sent_when_a_refusal_is_forged() {
    // An acceptance turned into a refusal of the whole frame, and the other way round.
    check(Rule::ReceiptMismatch, |receipt| {
        receipt.answers.clear();
        receipt.refused = "EX-06".to_owned();
    });
    check(Rule::ReceiptMismatch, |receipt| {
        receipt.refused = "EX-06".to_owned()
    });
    check(Rule::ReceiptMismatch, |receipt| receipt.answers.clear());
    let frame = sent();
    let key = hop_key(RECEIVER_SEED);
    let received = receive(frame.wire().clone()).unwrap();
    let refusal = received.refuse(Rule::Busy, answering(&key)).unwrap();
    for refused in ["EX-06", "", "not an id", "EX-15-AND-A-LONG-TAIL"] {
        let forged = wire::Receipt {
            refused: refused.to_owned(),
            ..refusal.clone()
        };
        assert_refused(judge(&frame, forged), Rule::ReceiptMismatch);
    }
    // A refusal that states as many items as the frame has, though it answers none.
    let mut payload =
        wire::ReceiptPayload::decode(refusal.payload.clone().unwrap().payload).unwrap();
    assert_eq!(
        payload.answers_root[..],
        labelled("portcullis frame refusal v1", &[b"EX-15"])
    );
    payload.count = 4;
    let counted = wire::Receipt {
        payload: Some(sign(payload.encode_to_vec())),
        ..refusal
    };
    assert_refused(judge(&frame, counted), Rule::ReceiptMismatch);
}

#[test]
fn ex_14_receipt_for_something_that_was_not_sent_when_it_refuses_an_unreadable_one() {
    let (federation, receiver, sender) = (federation(), receiver(), sender());
    let hop = Hop {
        federation: &federation,
        receiver: &receiver,
        peer: &sender,
    };
    let key = hop_key(RECEIVER_SEED);
    let nothing = receive(wire::Frame::default()).unwrap_err();
    let receipt = nothing.answer(hop, answering(&key)).unwrap();
    assert_eq!(receipt.refused, "EX-01");
    assert_refused(judge(&sent(), receipt), Rule::ReceiptMismatch);
}

/// Attacks HH3 and M6: the word of a peer restarted the generation, and gave up what was known of
/// all peers.
#[test]
fn ex_10_frame_out_of_sequence_is_believed_with_a_later_statement_of_ones_own_alone() {
    let frame = sent();
    let received = receive(frame.wire().clone()).unwrap();
    let key = hop_key(RECEIVER_SEED);
    let own = hop_key(SENDER_SEED);
    let statement = |head: FrameHead, key: &SigningKey| {
        let sent = SentFrame::sign(head, &records(), key).unwrap();
        let payload = sent.wire().payload.clone().unwrap();
        SignedStatement::try_from(payload).unwrap()
    };
    let left = [Generation::from_bytes([1; 16])];
    let proves = |shown: Option<&SignedStatement>| {
        let receipt = match shown {
            Some(shown) => received.refuse_forgotten(shown, answering(&key)),
            None => received.refuse(Rule::Sequence, answering(&key)),
        };
        let receipt = judge(&frame, receipt.unwrap()).unwrap();
        let remembered = Remembered {
            generation: head().generation,
            settled_sequence: 41,
            left: &left,
        };
        let own_key = |id: &_| (own.id() == *id).then(|| own.public());
        frame.forgotten(&receipt, own_key, remembered)
    };
    let later = || FrameHead {
        settled_sequence: 42,
        first_sequence: 44,
        ..head()
    };
    assert_eq!(
        proves(Some(&statement(later(), &own))),
        Some(head().generation)
    );
    let unknown = Generation::from_bytes([9; 16]);
    let of = |generation| FrameHead {
        generation,
        ..head()
    };
    assert_eq!(proves(Some(&statement(of(unknown), &own))), Some(unknown));

    assert_eq!(proves(None), None, "a bare word");
    assert_eq!(proves(Some(&statement(head(), &own))), None, "remembered");
    assert_eq!(proves(Some(&statement(of(left[0]), &own))), None, "left");
    let forged = statement(later(), &hop_key(RECEIVER_SEED));
    assert_eq!(proves(Some(&forged)), None, "signed by another");
    for elsewhere in [
        FrameHead {
            lane: Lane::Urgent,
            ..later()
        },
        FrameHead {
            receiver: "hub-n1".parse().unwrap(),
            ..later()
        },
        FrameHead {
            federation: "us-ports".parse().unwrap(),
            ..later()
        },
    ] {
        assert_eq!(
            proves(Some(&statement(elsewhere, &own))),
            None,
            "of another channel"
        );
    }
    let receipt = judge(&frame, answered(&frame)).unwrap();
    assert!(!receipt.is_out_of_sequence());
}

/// The sender that caused the refusal learns of it.
#[test]
fn a_refusal_because_of_the_parties_reaches_the_sender_that_named_them() {
    let key = hop_key(RECEIVER_SEED);
    for (rule, head) in [
        (
            Rule::FrameFederation,
            FrameHead {
                federation: "us-ports".parse().unwrap(),
                ..head()
            },
        ),
        (
            Rule::FrameReceiver,
            FrameHead {
                receiver: "hub-n1".parse().unwrap(),
                ..head()
            },
        ),
        (
            Rule::FrameSender,
            FrameHead {
                sender: "hub-n1".parse().unwrap(),
                ..head()
            },
        ),
    ] {
        let frame = SentFrame::sign(head, &records(), &hop_key(SENDER_SEED)).unwrap();
        let refused = receive(frame.wire().clone()).unwrap_err();
        let (federation, receiver, sender) = (federation(), receiver(), sender());
        let hop = Hop {
            federation: &federation,
            receiver: &receiver,
            peer: &sender,
        };
        let receipt = refused.answer(hop, answering(&key)).unwrap();
        let read = judge(&frame, receipt).unwrap();
        assert_eq!(
            read.verdict,
            FrameAnswer::RefusedWhole(rule.id().to_owned())
        );
    }
}

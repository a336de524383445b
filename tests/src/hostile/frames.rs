//! Attacks of a member with frames: a wrong sender, receiver, signature, number of items or
//! position.

use portcullis_protocol::{record::Kind, statement::SignedStatement, wire};
use prost::{Message as _, bytes::Bytes};

use super::{
    Behaviour,
    forge::{Framed, FramedBySealing, Loose, Receipted, payload, sign},
    stage::{Theatre, draft},
};
use crate::behaviours;

/// Behaviours of this layer.
pub const BEHAVIOURS: &[Behaviour] = behaviours![
    hp_40_bytes_that_are_no_frame,
    hp_41_a_frame_without_a_payload,
    hp_42_a_frame_of_another_federation,
    hp_43_a_frame_for_another_node,
    hp_44_a_frame_that_names_another_sender,
    hp_45_a_frame_signed_by_a_key_of_another_use,
    hp_46_a_receipts_statement_shown_as_a_frame,
    hp_47_an_item_added_after_signing,
    hp_48_an_item_taken_away_after_signing,
    hp_49_two_items_collapsed_into_their_node,
    hp_50_a_frame_of_nothing,
    hp_51_more_items_than_a_frame_may_have,
    hp_52_sequence_numbers_that_overflow,
    hp_53_a_record_that_names_a_batch_that_is_not_there,
    hp_54_a_message_of_groups_within_groups,
    hp_55_the_same_frame_again_and_again,
    hp_56_the_signature_of_another_payload,
    hp_100_a_history_that_was_never_answered,
    hp_101_a_sender_that_goes_back,
    hp_102_items_far_ahead,
    hp_103_a_generation_that_was_left,
    hp_104_a_chain_that_is_none,
];

fn items(stage: &Theatre) -> Vec<Loose> {
    let drafts = vec![draft(Kind::Indicator), draft(Kind::Indicator)];
    let sealed = stage.seal(&stage.mallory, drafts);
    sealed.iter().map(Loose::of).collect()
}

async fn say(stage: &Theatre, frame: &wire::Frame) -> Vec<String> {
    stage.line(&stage.mallory).await.say(frame).await
}

async fn hp_40_bytes_that_are_no_frame(stage: &mut Theatre) {
    for bytes in [
        &[0xff; 64][..],
        &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
        b"GET / HTTP/1.1",
    ] {
        let mut line = stage.line(&stage.mallory).await;
        let told = line.say_bytes(Bytes::copy_from_slice(bytes)).await;
        assert!(
            told == ["whole EX-01"] || told == ["ended InvalidArgument"],
            "{told:?}"
        );
    }
}

async fn hp_41_a_frame_without_a_payload(stage: &mut Theatre) {
    let frame = wire::Frame {
        payload: None,
        ..stage.frame(&stage.mallory, &items(stage))
    };
    assert_eq!(say(stage, &frame).await, ["whole EX-01"]);
}

async fn hp_42_a_frame_of_another_federation(stage: &mut Theatre) {
    let frame = stage.frame_with(&stage.mallory, &items(stage), |payload| {
        payload.federation = "elsewhere".to_owned();
    });
    assert_eq!(say(stage, &frame).await, ["whole EX-02"]);
}

async fn hp_43_a_frame_for_another_node(stage: &mut Theatre) {
    let frame = stage.frame_with(&stage.mallory, &items(stage), |payload| {
        payload.receiver = "rotterdam".to_owned();
    });
    assert_eq!(say(stage, &frame).await, ["whole EX-03"]);
}

/// The sender signs with its own key a frame in the name of another member, over its own
/// connection; then it delivers a frame that the hub signed.
async fn hp_44_a_frame_that_names_another_sender(stage: &mut Theatre) {
    let frame = stage.frame_with(&stage.mallory, &items(stage), |payload| {
        payload.sender = "rotterdam".to_owned();
    });
    assert_eq!(say(stage, &frame).await, ["whole EX-04"]);
    let hubs = stage.frame(&stage.hub, &items(stage));
    assert_eq!(say(stage, &hubs).await, ["whole EX-05"]);
}

async fn hp_45_a_frame_signed_by_a_key_of_another_use(stage: &mut Theatre) {
    let mut frame = stage.frame(&stage.mallory, &items(stage));
    let signed = sign::<FramedBySealing>(&payload(&frame), &stage.mallory.keyring.sealing);
    frame.payload = Some((&signed).into());
    assert_eq!(say(stage, &frame).await, ["whole EX-05"]);
}

async fn hp_46_a_receipts_statement_shown_as_a_frame(stage: &mut Theatre) {
    let mut frame = stage.frame(&stage.mallory, &items(stage));
    let signed = sign::<Receipted>(&payload(&frame), &stage.mallory.keyring.hop);
    frame.payload = Some((&signed).into());
    assert_eq!(say(stage, &frame).await, ["whole EX-05"]);
}

async fn hp_47_an_item_added_after_signing(stage: &mut Theatre) {
    let items = items(stage);
    let mut frame = stage.frame(&stage.mallory, &items[..1]);
    let more = stage.frame(&stage.mallory, &items);
    (frame.records, frame.batches) = (more.records, more.batches);
    assert_eq!(say(stage, &frame).await, ["whole EX-06"]);
}

async fn hp_48_an_item_taken_away_after_signing(stage: &mut Theatre) {
    let mut frame = stage.frame(&stage.mallory, &items(stage));
    frame.records.truncate(1);
    frame.batches.truncate(1);
    assert_eq!(say(stage, &frame).await, ["whole EX-06"]);
}

/// The root over two items is signed as the root over one: an inner node is no leaf.
async fn hp_49_two_items_collapsed_into_their_node(stage: &mut Theatre) {
    let items = items(stage);
    let both = payload(&stage.frame(&stage.mallory, &items)).items_root;
    let frame = stage.frame_with(&stage.mallory, &items[..1], |payload| {
        payload.items_root = both;
    });
    assert_eq!(say(stage, &frame).await, ["whole EX-06"]);
}

async fn hp_50_a_frame_of_nothing(stage: &mut Theatre) {
    let frame = stage.frame(&stage.mallory, &[]);
    assert_eq!(say(stage, &frame).await, ["whole EX-01"]);
}

async fn hp_51_more_items_than_a_frame_may_have(stage: &mut Theatre) {
    let mut frame = stage.frame(&stage.mallory, &items(stage));
    frame.records = vec![wire::Record::default(); 1025];
    assert_eq!(say(stage, &frame).await, ["ended OutOfRange"]);
}

async fn hp_52_sequence_numbers_that_overflow(stage: &mut Theatre) {
    for first in [0, u64::MAX] {
        let frame = stage.frame_with(&stage.mallory, &items(stage), |payload| {
            payload.first_sequence = first;
        });
        assert_eq!(say(stage, &frame).await, ["whole EX-01"]);
    }
}

async fn hp_53_a_record_that_names_a_batch_that_is_not_there(stage: &mut Theatre) {
    let mut frame = stage.frame(&stage.mallory, &items(stage));
    frame.records.last_mut().unwrap().batch = u32::MAX;
    assert_eq!(say(stage, &frame).await, ["whole EX-01"]);
}

/// A decoder that followed the nested groups would descend a million levels.
async fn hp_54_a_message_of_groups_within_groups(stage: &mut Theatre) {
    let deep = vec![0x0b; 1 << 20];
    let mut line = stage.line(&stage.mallory).await;
    let told = line.say_bytes(deep.clone().into()).await;
    assert_eq!(told, ["ended InvalidArgument"]);
    // The same within a record, where the size is checked field by field.
    let mut nested = vec![0x1a, 0x80, 0x80, 0x40];
    nested.extend(deep);
    let mut line = stage.line(&stage.mallory).await;
    let told = line.say_bytes(nested.into()).await;
    assert_eq!(told, ["ended InvalidArgument"]);
}

/// The frame gets the same answer each time, and its items are admitted once.
async fn hp_55_the_same_frame_again_and_again(stage: &mut Theatre) {
    let items = items(stage);
    let frame = stage.frame(&stage.mallory, &items);
    stage.allowed.extend(items.iter().map(Loose::id));
    let mut first = stage.line(&stage.mallory).await;
    let mut second = stage.line(&stage.mallory).await;
    for _ in 0..20 {
        assert_eq!(first.say(&frame).await, ["accepted", "accepted"]);
        assert_eq!(second.say(&frame).await, ["accepted", "accepted"]);
    }
    for item in &items {
        assert_eq!(stage.times_held(&item.id()), 1);
    }
}

async fn hp_56_the_signature_of_another_payload(stage: &mut Theatre) {
    let first = stage.frame(&stage.mallory, &items(stage));
    let mut second = stage.frame(&stage.mallory, &items(stage));
    let other = first.payload.unwrap();
    let signed: SignedStatement = sign::<Framed>(&payload(&second), &stage.mallory.keyring.hop);
    second.payload = Some(wire::SignedStatement {
        signature: other.signature,
        ..(&signed).into()
    });
    assert_eq!(say(stage, &second).await, ["whole EX-05"]);
    let mut short = stage.frame(&stage.mallory, &items(stage));
    short.payload.as_mut().unwrap().signature = vec![0; 63].into();
    assert_eq!(say(stage, &short).await, ["whole EX-01"]);
    assert!(short.encode_to_vec().len() > 63);
}

/// Sends frames of one generation over one stream, each with its own first sequence number, settled
/// sequence number and chain.
async fn history(stage: &mut Theatre, places: &[(u64, u64, [u8; 32])]) -> Vec<String> {
    let generation = super::caller::generation();
    let items = items(stage);
    stage.allowed.extend(items.iter().map(Loose::id));
    let mut line = stage.line(&stage.mallory).await;
    let mut told = Vec::new();
    for (first, settled, chain) in places {
        let frame = stage.frame_with(&stage.mallory, &items[..1], |payload| {
            payload.generation = Bytes::copy_from_slice(generation.as_bytes());
            payload.first_sequence = *first;
            payload.settled_sequence = *settled;
            payload.chain = Bytes::copy_from_slice(chain);
        });
        told.extend(line.say(&frame).await);
    }
    told
}

/// Two nodes with the keys of one, or a forged history: both signed frames are kept as evidence, up
/// to a bounded number.
async fn hp_100_a_history_that_was_never_answered(stage: &mut Theatre) {
    for _ in 0..20 {
        let told = history(stage, &[(1, 1, [0; 32]), (2, 2, [9; 32])]).await;
        assert_eq!(told, ["accepted", "whole EX-11"]);
    }
    let forks = stage.target.kernel.store().forks().unwrap().len();
    assert!((1..=16).contains(&forks), "{forks} forks are kept");
}

async fn hp_101_a_sender_that_goes_back(stage: &mut Theatre) {
    let told = history(stage, &[(9, 9, [1; 32]), (5, 5, [2; 32])]).await;
    assert_eq!(told, ["accepted", "whole EX-10"]);
}

async fn hp_102_items_far_ahead(stage: &mut Theatre) {
    let told = history(stage, &[(8_194, 1, [0; 32]), (u64::MAX - 9, 1, [0; 32])]).await;
    assert_eq!(told, ["whole EX-10", "whole EX-10"]);
}

async fn hp_103_a_generation_that_was_left(stage: &mut Theatre) {
    let items = items(stage);
    stage.allowed.extend(items.iter().map(Loose::id));
    let left = stage.frame(&stage.mallory, &items);
    let next = stage.frame(&stage.mallory, &items);
    let mut line = stage.line(&stage.mallory).await;
    assert_eq!(line.say(&left).await, ["accepted", "accepted"]);
    assert_eq!(line.say(&next).await, ["accepted", "accepted"]);
    assert_eq!(line.say(&left).await, ["whole EX-10"]);
}

async fn hp_104_a_chain_that_is_none(stage: &mut Theatre) {
    for (settled, chain) in [
        (1, vec![9; 32]),
        (1, vec![0; 31]),
        (5, vec![0; 32]),
        (0, vec![0; 32]),
    ] {
        let frame = stage.frame_with(&stage.mallory, &items(stage), |payload| {
            payload.settled_sequence = settled;
            payload.chain = chain.into();
        });
        assert_eq!(say(stage, &frame).await, ["whole EX-01"]);
    }
}

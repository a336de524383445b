//! Lies in place of receipts.

use portcullis_protocol::{
    frame::{Answer, Answering, Outcome, ReceivedFrame},
    keys::SigningKey,
    record::RecordId,
    rules::Rule,
    statement::SignedStatement,
    wire,
};
use prost::Message as _;

use super::stranger;
use crate::{
    hostile::forge::{Framed, sign},
    sim::{cast::MemberNumber, world::World},
};

type Said = Option<wire::Receipt>;

fn signing<'a>(world: &World, key: &'a SigningKey) -> Answering<'a> {
    Answering {
        key,
        now: world.now,
        register_epoch: 1,
        credit: 4,
    }
}

/// A receipt that accepts all items, signed with a key that belongs to no member.
pub(super) fn of_a_stranger(
    world: &mut World,
    _: MemberNumber,
    frame: &ReceivedFrame,
    _: wire::Receipt,
) -> Said {
    let answers = frame.records.iter().map(|record| Answer {
        record: record.id(),
        form: record.claimed_form(),
        outcome: Outcome::Accepted,
        reason: None,
    });
    frame
        .answer(answers.collect(), signing(world, &stranger()))
        .ok()
}

/// The payload of the receipt, signed as a frame.
pub(super) fn frame_as_receipt(
    world: &mut World,
    liar: MemberNumber,
    _: &ReceivedFrame,
    receipt: wire::Receipt,
) -> Said {
    let signed = receipt.payload.as_ref()?;
    let says = wire::ReceiptPayload::decode(signed.payload.clone()).ok()?;
    let signed = sign::<Framed>(&says, world.cast.hop_key(liar));
    Some(wire::Receipt {
        payload: Some((&signed).into()),
        ..receipt
    })
}

/// A true receipt of another frame. The last one remembered is that of this frame.
pub(super) fn of_an_earlier_frame(
    world: &mut World,
    _: MemberNumber,
    _: &ReceivedFrame,
    receipt: wire::Receipt,
) -> Said {
    let earlier = world.lies.answered.len().saturating_sub(1);
    if earlier == 0 {
        return Some(receipt);
    }
    let at = world.random.index(earlier);
    world.lies.answered.get(at).cloned()
}

/// A correctly signed receipt for this frame, about a record that was not in it.
pub(super) fn of_other_items(
    world: &mut World,
    liar: MemberNumber,
    frame: &ReceivedFrame,
    _: wire::Receipt,
) -> Said {
    let other = RecordId::from_slice(&[7; 32])?;
    let answers = frame.records.iter().map(|record| Answer {
        record: other,
        form: record.claimed_form(),
        outcome: Outcome::Accepted,
        reason: None,
    });
    let key = world.cast.hop_key(liar);
    frame.answer(answers.collect(), signing(world, key)).ok()
}

/// A refusal of the whole frame, under a rule that makes the sender wait, start a new generation,
/// or stop.
pub(super) fn refusing_all(
    world: &mut World,
    liar: MemberNumber,
    frame: &ReceivedFrame,
    _: wire::Receipt,
) -> Said {
    let rules = [Rule::Busy, Rule::Sequence, Rule::Fork, Rule::FrameSignature];
    let rule = *world.random.pick(&rules);
    let key = world.cast.hop_key(liar);
    frame.refuse(rule, signing(world, key)).ok()
}

/// A refusal as out of sequence that shows what the sender did sign and remembers, or somebody
/// else's frame. A second history may come next.
pub(super) fn forgetting_what_is_remembered(
    world: &mut World,
    liar: MemberNumber,
    frame: &ReceivedFrame,
    _: wire::Receipt,
) -> Said {
    let heard: Vec<SignedStatement> = world
        .lies
        .heard
        .iter()
        .filter_map(|frame| frame.payload.clone()?.try_into().ok())
        .collect();
    let shown = match heard.len() {
        0 => frame.statement().clone(),
        some => heard.get(world.random.index(some))?.clone(),
    };
    let key = world.cast.hop_key(liar);
    frame.refuse_forgotten(&shown, signing(world, key)).ok()
}

/// No receipt.
pub(super) fn withheld(
    _: &mut World,
    _: MemberNumber,
    _: &ReceivedFrame,
    _: wire::Receipt,
) -> Said {
    None
}

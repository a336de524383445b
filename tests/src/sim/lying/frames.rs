//! Lies in frames: a wrong sender, receiver, contents or position.

use bytes::Bytes;
use portcullis_protocol::{
    frame::{Chain, Lane},
    keys::KeyUse,
    seal::Entropy as _,
    wire,
};

use super::Parties;
use crate::{
    hostile::forge::{Framed, FramedBySealing, Loose, items_root, payload, sign},
    sim::{
        cast::{self, FEDERATION, MemberNumber},
        world::World,
    },
};

type Frames = Option<Vec<wire::Frame>>;

/// Returns the records that the liar's node holds, in their form on the wire.
pub(super) fn held(world: &World, liar: MemberNumber) -> Vec<Loose> {
    let state = world.nodes[&liar].store.durable();
    state
        .records
        .values()
        .map(|kept| Loose::of(&kept.record))
        .collect()
}

/// Returns one of these records.
pub(super) fn any_held(world: &mut World, liar: MemberNumber) -> Option<Loose> {
    let held = held(world, liar);
    (!held.is_empty()).then(|| world.random.pick(&held).clone())
}

/// Returns a frame at the present position of the liar's node, with its payload changed before it
/// is signed.
pub(super) fn framed(
    world: &World,
    parties: Parties,
    items: &[Loose],
    change: impl FnOnce(&mut wire::FramePayload),
) -> wire::Frame {
    let Parties { liar, victim } = parties;
    let (cast, lane) = (world.cast, Lane::Bulk);
    let state = world.nodes[&liar].store.durable();
    let stands = state.position(cast.node(victim), lane);
    let mut says = wire::FramePayload {
        federation: FEDERATION.to_owned(),
        sender: cast.node(liar).to_string(),
        receiver: cast.node(victim).to_string(),
        generation: Bytes::copy_from_slice(stands.generation.as_bytes()),
        lane: wire::Lane::from(lane).into(),
        first_sequence: stands.next_sequence,
        count: u32::try_from(items.len()).unwrap_or(u32::MAX),
        items_root: Bytes::copy_from_slice(items_root(items).as_bytes()),
        sent_at_ms: world.now.as_millis(),
        register_epoch: 1,
        settled_sequence: stands.next_sequence,
        chain: Bytes::copy_from_slice(stands.chain.as_bytes()),
    };
    change(&mut says);
    let records = (0..).zip(items).map(|(batch, item)| wire::Record {
        batch,
        ..item.record.clone()
    });
    wire::Frame {
        payload: Some((&sign::<Framed>(&says, cast.hop_key(liar))).into()),
        batches: items.iter().map(|item| item.batch.clone()).collect(),
        records: records.collect(),
    }
}

fn changed(
    world: &mut World,
    parties: Parties,
    change: impl FnOnce(&mut wire::FramePayload),
) -> Frames {
    let item = any_held(world, parties.liar)?;
    Some(vec![framed(world, parties, &[item], change)])
}

pub(super) fn other_federation(world: &mut World, parties: Parties) -> Frames {
    changed(world, parties, |says| {
        says.federation = "elsewhere".to_owned()
    })
}

/// A frame of the liar's node for another member, as it was signed.
pub(super) fn other_receiver(world: &mut World, parties: Parties) -> Frames {
    let sent = &world.lies.sent;
    let others: Vec<_> = sent
        .iter()
        .filter(|(to, _)| *to != parties.victim)
        .map(|(_, frame)| frame.clone())
        .collect();
    (!others.is_empty()).then(|| vec![world.random.pick(&others).clone()])
}

/// A frame that an honest member signed for the liar.
pub(super) fn other_sender(world: &mut World, _: Parties) -> Frames {
    let heard = world.lies.heard.clone();
    (!heard.is_empty()).then(|| vec![world.random.pick(&heard).clone()])
}

pub(super) fn sealing_key(world: &mut World, parties: Parties) -> Frames {
    let mut frame = changed(world, parties, |_| {})?.remove(0);
    let key = cast::key(parties.liar, KeyUse::Sealing, 0);
    frame.payload = Some((&sign::<FramedBySealing>(&payload(&frame), &key)).into());
    Some(vec![frame])
}

pub(super) fn item_added(world: &mut World, parties: Parties) -> Frames {
    let item = any_held(world, parties.liar)?;
    let more = any_held(world, parties.liar)?;
    let mut frame = framed(world, parties, std::slice::from_ref(&item), |_| {});
    let both = framed(world, parties, &[item, more], |_| {});
    (frame.records, frame.batches) = (both.records, both.batches);
    Some(vec![frame])
}

pub(super) fn item_taken(world: &mut World, parties: Parties) -> Frames {
    let (item, more) = (
        any_held(world, parties.liar)?,
        any_held(world, parties.liar)?,
    );
    let mut frame = framed(world, parties, &[item, more], |_| {});
    frame.records.truncate(1);
    frame.batches.truncate(1);
    Some(vec![frame])
}

/// A frame that the liar's node sent to the same peer before, twice.
pub(super) fn replayed(world: &mut World, parties: Parties) -> Frames {
    let sent = &world.lies.sent;
    let to_it: Vec<_> = sent
        .iter()
        .filter(|(to, _)| *to == parties.victim)
        .map(|(_, frame)| frame.clone())
        .collect();
    let frame = (!to_it.is_empty()).then(|| world.random.pick(&to_it).clone())?;
    Some(vec![frame.clone(), frame])
}

pub(super) fn false_history(world: &mut World, parties: Parties) -> Frames {
    let ahead = 1 + world.random.below(5);
    changed(world, parties, |says| {
        says.settled_sequence += ahead;
        says.first_sequence += ahead;
        says.chain = Bytes::from_static(&[9; 32]);
    })
}

pub(super) fn going_back(world: &mut World, parties: Parties) -> Frames {
    changed(world, parties, |says| {
        says.settled_sequence = 1;
        says.first_sequence = 1;
        says.chain = Bytes::copy_from_slice(Chain::START.as_bytes());
    })
}

pub(super) fn far_ahead(world: &mut World, parties: Parties) -> Frames {
    changed(world, parties, |says| says.first_sequence += 100_000)
}

/// Frames of two generations in alternation.
pub(super) fn generation_left(world: &mut World, parties: Parties) -> Frames {
    let item = any_held(world, parties.liar)?;
    let mut drawn = [[0; 16]; 2];
    drawn.iter_mut().for_each(|one| world.random.fill(one));
    let [one, other] = drawn;
    let first = |says: &mut wire::FramePayload, generation: [u8; 16]| {
        says.generation = Bytes::copy_from_slice(&generation);
        says.first_sequence = 1;
        says.settled_sequence = 1;
        says.chain = Bytes::copy_from_slice(Chain::START.as_bytes());
    };
    let items = [item];
    let frames = [one, other, one]
        .map(|generation| framed(world, parties, &items, |says| first(says, generation)));
    Some(frames.to_vec())
}

//! Lies in records: changes by a hub to what others sealed, wrong seals of an originator, and true
//! records sent to members that may not have them.

use bytes::Bytes;
use portcullis_protocol::{
    keys::{KeyUse, SigningKey},
    record::{Form, RecordId},
    verify::VerifiedRecord,
    wire,
};
use prost::Message as _;

use super::{
    Parties,
    frames::{any_held, framed, held},
};
use crate::{
    hostile::forge::{Loose, reseal},
    sim::{
        cast::{self, Likeness, MemberNumber},
        world::World,
    },
};

type Frames = Option<Vec<wire::Frame>>;

fn one(world: &World, parties: Parties, item: Loose) -> Frames {
    Some(vec![framed(world, parties, &[item], |_| {})])
}

/// Changes a record that the liar holds in at least this many sections.
fn tampered(
    world: &mut World,
    parties: Parties,
    sections: usize,
    change: impl FnOnce(&mut Loose) -> Option<()>,
) -> Frames {
    let all: Vec<Loose> = held(world, parties.liar)
        .into_iter()
        .filter(|item| item.record.sections.len() >= sections)
        .collect();
    if all.is_empty() {
        return None;
    }
    let mut item = world.random.pick(&all).clone();
    change(&mut item)?;
    one(world, parties, item)
}

pub(super) fn section_stripped(world: &mut World, parties: Parties) -> Frames {
    tampered(world, parties, 2, |item| {
        let mut header = item.header();
        header.sections.pop()?;
        item.record.header = header.encode_to_vec().into();
        let table = header.sections.len();
        item.record.sections.truncate(table);
        Some(())
    })
}

pub(super) fn section_added(world: &mut World, parties: Parties) -> Frames {
    tampered(world, parties, 1, |item| {
        let mut added = item.record.sections.last()?.clone();
        added.index = 9;
        item.record.sections.push(added);
        Some(())
    })
}

pub(super) fn salts_swapped(world: &mut World, parties: Parties) -> Frames {
    tampered(world, parties, 2, |item| {
        let [first, second, ..] = item.record.sections.as_mut_slice() else {
            return None;
        };
        std::mem::swap(&mut first.salt, &mut second.salt);
        Some(())
    })
}

pub(super) fn bodies_swapped(world: &mut World, parties: Parties) -> Frames {
    let other = any_held(world, parties.liar)?;
    tampered(world, parties, 1, |item| {
        if other.id() == item.id() {
            return None;
        }
        *item.record.sections.first_mut()? = other.record.sections.first()?.clone();
        Some(())
    })
}

/// The assessment without its subject.
pub(super) fn group_cut(world: &mut World, parties: Parties) -> Frames {
    tampered(world, parties, 2, |item| {
        item.record.sections.remove(0);
        Some(())
    })
}

pub(super) fn nothing_opened(world: &mut World, parties: Parties) -> Frames {
    tampered(world, parties, 1, |item| {
        item.record.sections.clear();
        Some(())
    })
}

/// Returns a record that the liar made itself, published or not.
fn own(
    world: &mut World,
    liar: MemberNumber,
    chosen: impl Fn(Likeness) -> bool,
) -> Option<VerifiedRecord> {
    let cast = world.cast;
    let records = cast.batches(liar).iter().filter(|batch| batch.epoch == 1);
    let records: Vec<&VerifiedRecord> = records
        .flat_map(|batch| &batch.records)
        .filter(|record| {
            cast.made(&record.id())
                .is_some_and(|made| chosen(made.like))
        })
        .collect();
    (!records.is_empty()).then(|| (*world.random.pick(&records)).clone())
}

fn resealed(
    world: &mut World,
    parties: Parties,
    key: Option<SigningKey>,
    change: impl FnOnce(&mut wire::Header),
) -> Frames {
    let item = Loose::of(&own(world, parties.liar, |_| true)?);
    let key = key.unwrap_or_else(|| cast::key(parties.liar, KeyUse::Sealing, 0));
    let mut header = item.header();
    header.key_id = Bytes::copy_from_slice(key.id().as_bytes());
    change(&mut header);
    let forged = reseal(&item, &header, &key);
    one(world, parties, forged)
}

pub(super) fn of_another_federation(world: &mut World, parties: Parties) -> Frames {
    resealed(world, parties, None, |header| {
        header.federation = "elsewhere".to_owned()
    })
}

pub(super) fn of_an_exercise(world: &mut World, parties: Parties) -> Frames {
    resealed(world, parties, None, |header| header.exercise = true)
}

pub(super) fn of_the_future(world: &mut World, parties: Parties) -> Frames {
    let tomorrow = world.now.as_millis() + 86_400_000 * 30;
    resealed(world, parties, None, |header| {
        header.sealed_at_ms = tomorrow
    })
}

/// A record under a key that no register lists, dated to a time at which it could have been listed.
pub(super) fn back_dated(world: &mut World, parties: Parties) -> Frames {
    let key = SigningKey::from_seed(KeyUse::Sealing, [5; 32]);
    resealed(world, parties, Some(key), |header| {
        header.sealed_at_ms -= 86_400_000 * 30
    })
}

/// A record with one bit of its originator's signature changed.
pub(super) fn forged_origin(world: &mut World, parties: Parties) -> Frames {
    tampered(world, parties, 1, |item| {
        let mut signature = item.batch.signature.to_vec();
        *signature.first_mut()? ^= 1;
        item.batch.signature = signature.into();
        Some(())
    })
}

/// A true record: one that the liar holds and for which `chosen` returns true.
fn held_if(
    world: &mut World,
    parties: Parties,
    chosen: impl Fn(&World, &RecordId) -> bool,
) -> Frames {
    let all: Vec<Loose> = held(world, parties.liar)
        .into_iter()
        .filter(|item| chosen(world, &item.id()))
        .collect();
    let item = (!all.is_empty()).then(|| world.random.pick(&all).clone())?;
    one(world, parties, item)
}

pub(super) fn brought_back(world: &mut World, parties: Parties) -> Frames {
    held_if(world, parties, |world, id| {
        world.made(id).origin == parties.victim
    })
}

pub(super) fn passed_on(world: &mut World, parties: Parties) -> Frames {
    held_if(world, parties, |world, id| {
        let origin = world.made(id).origin;
        origin != parties.liar && origin != parties.victim
    })
}

pub(super) fn withdrawn(world: &mut World, parties: Parties) -> Frames {
    held_if(world, parties, |world, id| {
        world.watch.withdrawn.contains(&(parties.victim, *id))
    })
}

pub(super) fn expired(world: &mut World, parties: Parties) -> Frames {
    held_if(world, parties, |world, id| {
        let end = world.made(id).like.delete_at();
        end.is_some_and(|end| end <= world.now)
    })
}

/// A record for the members on its release list, delivered to anyone.
pub(super) fn retargeted(world: &mut World, parties: Parties) -> Frames {
    let narrow = |like| {
        matches!(
            like,
            Likeness::Red | Likeness::AmberStrict | Likeness::Amber
        )
    };
    let record = own(world, parties.liar, narrow)?;
    one(world, parties, Loose::of(&record))
}

/// The thin form, the whole one, and one between, each in a frame of its own.
pub(super) fn thin_and_whole(world: &mut World, parties: Parties) -> Frames {
    let record = own(world, parties.liar, |like| like == Likeness::Green)?;
    let forms = [0b0011, 0b1111, 0b0111].map(Form::from_bits);
    forms
        .into_iter()
        .map(|form| {
            let item = if form == record.form() {
                Loose::of(&record)
            } else {
                Loose::of(&record.withhold(form).ok()?)
            };
            Some(framed(world, parties, &[item], |_| {}))
        })
        .collect()
}

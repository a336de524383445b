//! SU-01 to SU-05: the suspensions that count, their duration, and their number.

use std::collections::BTreeMap;

use bytes::Bytes;
use portcullis_protocol::{
    keys::{KeyUse, SigningKey},
    register::Register,
    rules::Rule,
    statement::{SignedStatement, StatementType},
    suspension::{Offered, Suspension, Suspensions, encode},
    time::Timestamp,
    verify::Refusal,
    wire,
};
use prost::Message as _;

use crate::{
    fixture::{NOW, assert_refused},
    members::{governance, register},
};

const HOUR: i64 = 3_600_000;

/// The statement's type, declared a second time, with a key use of the test's choice.
struct Governed;
impl StatementType for Governed {
    const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.suspension.v1";
    const KEY_USE: KeyUse = KeyUse::Governance;
}
struct Fresh;
impl StatementType for Fresh {
    const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.suspension.v1";
    const KEY_USE: KeyUse = KeyUse::Freshness;
}

fn suspension() -> Suspension {
    Suspension {
        federation: register().federation,
        authority: "police".parse().unwrap(),
        epoch: 1,
        from: NOW,
        until: NOW.plus_millis(72 * HOUR),
        reason: "its node was taken".to_owned(),
    }
}

fn offer(suspension: &Suspension, by: u8) -> Result<Offered, Refusal> {
    let bytes = encode(&suspension.sign(&governance(by)).unwrap());
    Suspensions::default().offer(&bytes, &register(), NOW)
}

#[track_caller]
fn check(rule: Rule, change: impl FnOnce(&mut Suspension)) {
    let mut changed = suspension();
    change(&mut changed);
    assert_refused(offer(&changed, 200), rule);
}

fn until(held: &Suspensions, register: &Register, now: Timestamp) -> Option<Timestamp> {
    let suspended: BTreeMap<_, _> = held.in_force(register, now);
    suspended.get(&"police".parse().unwrap()).copied()
}

#[test]
fn one_governance_key_suspends_a_member_until_the_end_and_no_longer() {
    let mut held = Suspensions::default();
    let bytes = encode(&suspension().sign(&governance(201)).unwrap());
    assert_eq!(held.offer(&bytes, &register(), NOW), Ok(Offered::New));
    assert_eq!(held.offer(&bytes, &register(), NOW), Ok(Offered::Known));
    let end = NOW.plus_millis(72 * HOUR);
    assert_eq!(until(&held, &register(), NOW), Some(end));
    assert_eq!(until(&held, &register(), end.plus_millis(-1)), Some(end));
    assert_eq!(until(&held, &register(), end), None);
    assert_eq!(held.in_force(&register(), NOW).len(), 1);
}

#[test]
fn su_01_unreadable_suspension() {
    let register = register();
    let mut held = Suspensions::default();
    let mut refused = |bytes: &[u8]| {
        assert_refused(
            held.offer(bytes, &register, NOW),
            Rule::SuspensionUnreadable,
        );
    };
    refused(&[0xff]);
    refused(&vec![0; (2 << 10) + 1]);
    let wrong_length = wire::SignedStatement {
        key_id: vec![1; 31].into(),
        ..wire::SignedStatement::default()
    };
    refused(&wrong_length.encode_to_vec());
    for reason in ["two\nlines", &"x".repeat(257)] {
        check(Rule::SuspensionUnreadable, |it| {
            reason.clone_into(&mut it.reason)
        });
    }
}

#[test]
fn su_01_a_suspension_that_says_more_than_it_can_is_unreadable() {
    // Properly signed, with a field 7 that a later version might read as a permission.
    let narrow = suspension().sign(&governance(200)).unwrap();
    let mut payload = narrow.unverified_payload().to_vec();
    payload.extend([0x38, 1]);
    let wide = SignedStatement::sign::<Governed>(payload.into(), &governance(200)).unwrap();
    let offered = Suspensions::default().offer(&encode(&wide), &register(), NOW);
    assert_refused(offered, Rule::SuspensionUnreadable);
}

#[test]
fn su_02_suspension_in_another_federation() {
    check(Rule::SuspensionFederation, |it| {
        it.federation = "us-ports".parse().unwrap();
    });
}

#[test]
fn su_03_suspension_not_signed_by_a_governance_key() {
    assert_refused(offer(&suspension(), 210), Rule::SuspensionSignature);
    let payload = suspension().sign(&governance(200)).unwrap();
    let payload = payload.unverified_payload().clone();
    // The bytes differ from any governance key's: a register lists no bytes under two uses.
    let online = SigningKey::from_seed(KeyUse::Freshness, [230; 32]);
    let by_other = SignedStatement::sign::<Fresh>(payload.clone(), &online).unwrap();
    let offered = Suspensions::default().offer(&encode(&by_other), &register(), NOW);
    assert_refused(offered, Rule::SuspensionSignature);
    // Signed by that key, but under a governance key's id.
    let forged = wire::SignedStatement {
        payload,
        key_id: Bytes::copy_from_slice(governance(200).id().as_bytes()),
        signature: Bytes::copy_from_slice(by_other.signature()),
    };
    let offered = Suspensions::default().offer(&forged.encode_to_vec(), &register(), NOW);
    assert_refused(offered, Rule::SuspensionSignature);
}

#[test]
fn su_04_suspension_whose_time_or_epoch_does_not_hold() {
    check(Rule::SuspensionTime, |it| {
        it.until = it.until.plus_millis(1)
    });
    check(Rule::SuspensionTime, |it| it.until = it.from);
    check(Rule::SuspensionTime, |it| it.epoch = 0);
    check(Rule::SuspensionTime, |it| it.epoch = 2);
    check(Rule::SuspensionTime, |it| {
        it.from = NOW.plus_millis(11 * 60_000);
        it.until = it.from.plus_millis(HOUR);
    });
    check(Rule::SuspensionTime, |it| {
        it.from = NOW.plus_millis(-2 * HOUR);
        it.until = NOW;
    });
    check(Rule::SuspensionTime, |it| {
        it.authority = "nobody".parse().unwrap()
    });
}

#[test]
fn su_05_suspension_repeated_by_the_same_key() {
    let mut held = Suspensions::default();
    let mut present = register();
    let offer = |held: &mut Suspensions, it: &Suspension, by: u8, register: &Register, now| {
        held.offer(&encode(&it.sign(&governance(by)).unwrap()), register, now)
    };
    offer(&mut held, &suspension(), 200, &present, NOW).unwrap();
    let later = NOW.plus_millis(71 * HOUR);
    let mut second = Suspension {
        from: later,
        until: later.plus_millis(72 * HOUR),
        ..suspension()
    };
    let again = offer(&mut held, &second, 200, &present, later);
    assert_refused(again, Rule::SuspensionRepeated);
    // Nor after the first has ended: the key has used its turn in this epoch.
    let after = NOW.plus_millis(72 * HOUR);
    held.forget_spent(&present, after);
    let again = offer(&mut held, &second, 200, &present, after);
    assert_refused(again, Rule::SuspensionRepeated);
    // Another key has a turn of its own, and a new register gives every key a new one.
    let by_other = offer(&mut held.clone(), &second, 201, &present, later);
    assert_eq!(by_other, Ok(Offered::New));
    present.epoch = 2;
    second.epoch = 2;
    let renewed = offer(&mut held, &second, 200, &present, later);
    assert_eq!(renewed, Ok(Offered::New));
}

#[test]
fn of_two_by_one_key_the_one_that_ends_first_counts_whichever_was_heard_of_first() {
    let early = encode(&suspension().sign(&governance(200)).unwrap());
    let late = Suspension {
        from: NOW.plus_millis(5 * 60_000),
        until: NOW.plus_millis(72 * HOUR + 5 * 60_000),
        ..suspension()
    };
    let late = encode(&late.sign(&governance(200)).unwrap());
    let (mut one, mut two) = (Suspensions::default(), Suspensions::default());
    let present = register();
    one.offer(&early, &present, NOW).unwrap();
    assert_refused(one.offer(&late, &present, NOW), Rule::SuspensionRepeated);
    two.offer(&late, &present, NOW).unwrap();
    two.offer(&early, &present, NOW).unwrap();
    assert_eq!(one, two);
    assert_eq!(one.digest(&present, NOW), two.digest(&present, NOW));
    assert_ne!(
        one.digest(&present, NOW),
        Suspensions::default().digest(&present, NOW)
    );
}

#[test]
fn a_suspension_holds_through_a_new_epoch_unless_its_key_is_dismissed() {
    let mut held = Suspensions::default();
    let bytes = encode(&suspension().sign(&governance(200)).unwrap());
    held.offer(&bytes, &register(), NOW).unwrap();
    let mut next = register();
    next.epoch = 2;
    held.forget_spent(&next, NOW);
    assert!(until(&held, &next, NOW).is_some());
    // Another node hears of it too late to take it up: the governance has issued a new epoch since.
    let heard = Suspensions::default().offer(&bytes, &next, NOW);
    assert_refused(heard, Rule::SuspensionTime);
    next.governance
        .retain(|key| key.id() != governance(200).id());
    assert_eq!(until(&held, &next, NOW), None);
    held.forget_spent(&next, NOW.plus_millis(72 * HOUR));
    assert_eq!(held.all().count(), 0);
}

#[test]
fn what_was_taken_up_is_restored_whatever_the_epoch() {
    let bytes = encode(&suspension().sign(&governance(200)).unwrap());
    let mut next = register();
    next.epoch = 7;
    let mut held = Suspensions::default();
    held.restore(&bytes, &next).unwrap();
    assert!(until(&held, &next, NOW).is_some());
    next.governance.clear();
    assert_refused(
        Suspensions::default().restore(&bytes, &next),
        Rule::SuspensionSignature,
    );
}

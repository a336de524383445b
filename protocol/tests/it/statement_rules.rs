//! EX-07, EX-08, EX-09, EX-16 and EX-21: the signatures that count, and the times at which they do.

use std::sync::Arc;

use portcullis_protocol::{
    keys::{KeyUse, SigningKey},
    rules::Rule,
    seal::{Batch, SealError, SealedRecord, Sealer},
    statement::{SignatureError, SignedStatement, StatementType},
    time::Timestamp,
    verify::{KeyStanding, MAX_CLOCK_AHEAD_MS, Occasion},
    wire,
};

use crate::{
    fixture::{
        Keys, NOW, Seeded, assert_refused, federation, indicator, indicator_draft, origin,
        sealing_key, verify, verify_with,
    },
    forge::{Forgery, flipped, sign},
};

/// Returns the good record with its statement changed on the wire.
fn with_statement(change: impl FnOnce(&mut wire::SignedStatement)) -> SealedRecord {
    let good = indicator();
    let mut statement = wire::SignedStatement::from(good.statement().as_ref());
    change(&mut statement);
    let statement = SignedStatement::try_from(statement).unwrap();
    SealedRecord::new(good.wire().clone(), Arc::new(statement))
}

/// A record that has been held for long.
const HELD: Occasion = Occasion::Held {
    first_seen: Timestamp::from_millis(0),
};

#[test]
fn ex_07_unknown_sealing_key() {
    assert_refused(
        verify_with(&indicator(), &Keys::default(), Occasion::Arriving),
        Rule::SealingKey,
    );
    // Another authority's key does not count for this one.
    let keys = Keys::default().with(
        "kr-police".parse().unwrap(),
        &sealing_key(),
        KeyStanding::InForce,
    );
    assert_refused(
        verify_with(&indicator(), &keys, Occasion::Arriving),
        Rule::SealingKey,
    );
    assert_refused(
        verify_with(&indicator(), &Keys::default(), HELD),
        Rule::SealingKey,
    );
}

#[test]
fn ex_08_batch_signature_that_does_not_verify() {
    let forged = with_statement(|statement| {
        statement.signature = flipped(&statement.signature, 0);
    });
    assert_refused(verify(&forged), Rule::BatchSignature);
    // The same holds for a record already held.
    assert_refused(
        verify_with(&forged, &Keys::usual(), HELD),
        Rule::BatchSignature,
    );
}

#[test]
fn ex_08_batch_signature_that_does_not_verify_when_made_for_another_payload_type() {
    struct Other;
    impl StatementType for Other {
        const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.batch.v2";
        const KEY_USE: KeyUse = KeyUse::Sealing;
    }
    let good = indicator();
    let payload = good.statement().unverified_payload().clone();
    let statement = SignedStatement::sign::<Other>(payload, &sealing_key()).unwrap();
    let sealed = SealedRecord::new(good.wire().clone(), Arc::new(statement));
    assert_refused(verify(&sealed), Rule::BatchSignature);
}

#[test]
fn ex_08_batch_signature_that_does_not_verify_with_a_key_of_another_use() {
    // The same seed, enrolled as a hop key: a register that confused uses would list it.
    let hop = SigningKey::from_seed(KeyUse::Hop, [1; 32]);
    assert_ne!(hop.id(), sealing_key().id());
    struct AsHop;
    impl StatementType for AsHop {
        const PAYLOAD_TYPE: &'static str = Batch::PAYLOAD_TYPE;
        const KEY_USE: KeyUse = KeyUse::Hop;
    }
    let mut forgery = Forgery::of_indicator();
    let id = bytes::Bytes::copy_from_slice(hop.id().as_bytes());
    forgery.header.key_id = id.clone();
    forgery.statement.key_id = id;
    let payload = prost::Message::encode_to_vec(&forgery.statement);
    let statement = SignedStatement::sign::<AsHop>(payload.into(), &hop).unwrap();
    let sealed = SealedRecord::new(indicator().wire().clone(), Arc::new(statement));
    let keys = Keys::default().with(origin(), &hop, KeyStanding::InForce);
    assert_refused(
        verify_with(&sealed, &keys, Occasion::Arriving),
        Rule::BatchSignature,
    );
}

#[test]
fn a_hop_key_does_not_seal() {
    let (federation, origin) = (federation(), origin());
    let hop = SigningKey::from_seed(KeyUse::Hop, [1; 32]);
    let sealer = Sealer {
        federation: &federation,
        origin: &origin,
        key: &hop,
        now: NOW,
    };
    let error = sealer
        .seal(vec![indicator_draft()], &mut Seeded(1))
        .unwrap_err();
    assert!(matches!(
        error,
        SealError::Key(SignatureError::WrongUse { .. })
    ));
}

#[test]
fn ex_09_sealing_key_that_has_ended() {
    // A signature counts from the time at which it was first seen, not from the time it states.
    for ended in [NOW.plus_millis(-86_400_000), NOW.plus_millis(-1), NOW] {
        let standing = KeyStanding::RetiredSince(ended);
        let keys = Keys::default().with(origin(), &sealing_key(), standing);
        let arriving = verify_with(&indicator(), &keys, Occasion::Arriving);
        assert_refused(arriving, Rule::KeyEnded);
        assert!(verify_with(&indicator(), &keys, HELD).is_ok());
    }
    // An end in the future lets records that are on their way arrive.
    let ahead = KeyStanding::RetiredSince(NOW.plus_millis(1));
    let keys = Keys::default().with(origin(), &sealing_key(), ahead);
    assert!(verify_with(&indicator(), &keys, Occasion::Arriving).is_ok());
}

#[test]
fn ex_21_sealing_key_that_is_compromised() {
    let since = NOW.plus_millis(-1_000);
    let standing = KeyStanding::CompromisedSince(since);
    let keys = Keys::default().with(origin(), &sealing_key(), standing);
    let on = |occasion| verify_with(&indicator(), &keys, occasion);
    assert_refused(on(Occasion::Arriving), Rule::KeyCompromised);
    let seen = |millis: i64| Occasion::Held {
        first_seen: since.plus_millis(millis),
    };
    // The record states that it was sealed at NOW; the time at which it was first seen is what
    // counts.
    assert!(on(seen(-1)).is_ok());
    assert_refused(on(seen(0)), Rule::KeyCompromised);
    assert_refused(on(seen(5_000)), Rule::KeyCompromised);
}

#[test]
fn ex_16_record_sealed_in_the_future() {
    let ahead = |millis: i64| {
        let mut forgery = Forgery::of_indicator();
        let time = NOW.plus_millis(millis).as_millis();
        forgery.header.sealed_at_ms = time;
        forgery.statement.sealed_at_ms = time;
        forgery.seal()
    };
    assert!(verify(&ahead(MAX_CLOCK_AHEAD_MS)).is_ok());
    assert_refused(verify(&ahead(MAX_CLOCK_AHEAD_MS + 1)), Rule::FutureSeal);
    let end_of_time = ahead(Timestamp::from_millis(i64::MAX).millis_since(NOW));
    assert_refused(verify(&end_of_time), Rule::FutureSeal);
    // A record that is held was judged on arrival.
    let far_ahead = ahead(1_000 * 365 * 86_400_000);
    assert_refused(verify(&far_ahead), Rule::FutureSeal);
    assert!(verify_with(&far_ahead, &Keys::usual(), HELD).is_ok());
    assert!(verify(&ahead(-1_000 * 365 * 86_400_000)).is_ok());
}

#[test]
fn a_statement_moved_under_another_key_of_the_origin_is_refused() {
    let second = SigningKey::from_seed(KeyUse::Sealing, [2; 32]);
    let keys = Keys::usual().with(origin(), &second, KeyStanding::InForce);
    let forgery = Forgery::of_indicator();
    let resigned = sign(&forgery.statement, &second);
    let sealed = SealedRecord::new(indicator().wire().clone(), resigned);
    assert_refused(
        verify_with(&sealed, &keys, Occasion::Arriving),
        Rule::BatchStatement,
    );
}

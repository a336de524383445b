//! FR-01 to FR-05: the freshness statements that count, and the behaviour of a node without one.

use bytes::Bytes;
use portcullis_protocol::{
    digest::Digest,
    freshness::{Freshness, SignedFreshness, Stage, fresh_until},
    keys::{KeyUse, SigningKey},
    register::{FreshnessKeys, SignedRegister, VerifiedRegister},
    rules::Rule,
    statement::{StatementType, sign_detached},
    time::Timestamp,
    verify::Refusal,
    wire,
};
use prost::Message as _;

use crate::{
    fixture::{NOW, assert_refused},
    members::{first, following, governance, register, signed},
};

const HOUR: i64 = 3_600_000;

fn online(seed: u8) -> SigningKey {
    SigningKey::from_seed(KeyUse::Freshness, [seed; 32])
}

/// Epoch 2 with the freshness keys 220, 221 and 222, of which `threshold` must sign.
fn with_keys(threshold: u32) -> VerifiedRegister {
    let mut register = following(&first());
    register.freshness = FreshnessKeys {
        threshold,
        keys: [220, 221, 222].map(|seed| online(seed).public()).into(),
    };
    first().next(signed(&register, &[200, 201])).unwrap()
}

fn statement(freshness: &Freshness, by: &[u8]) -> SignedFreshness {
    let mut statement = SignedFreshness::unsigned(freshness);
    for seed in by {
        statement.sign(&online(*seed)).unwrap();
    }
    statement
}

#[track_caller]
fn check(rule: Rule, change: impl FnOnce(&mut Freshness)) {
    let register = with_keys(1);
    let mut freshness = Freshness::of(&register, NOW);
    change(&mut freshness);
    let refused = statement(&freshness, &[220]).verify(&register, NOW);
    assert_refused(refused.map(drop), rule);
}

#[test]
fn a_statement_signed_by_enough_counts_and_reads_as_written() {
    let register = with_keys(2);
    let freshness = Freshness::of(&register, NOW);
    let signed = statement(&freshness, &[222, 220]);
    let copy = SignedFreshness::decode(&signed.encode()).unwrap();
    assert_eq!(copy, signed);
    let verified = copy.verify(&register, NOW).unwrap();
    assert_eq!(verified.freshness(), &freshness);
    assert_eq!(
        fresh_until(&register, Some(&verified)),
        Some(NOW.plus_millis(48 * HOUR))
    );
}

#[test]
fn fr_01_unreadable_freshness_statement() {
    let register = with_keys(1);
    let good = statement(&Freshness::of(&register, NOW), &[220]).encode();
    for bytes in [&[0xff][..], &vec![0; (16 << 10) + 1], &[0x12, 0].repeat(65)] {
        assert_refused(SignedFreshness::decode(bytes), Rule::FreshnessUnreadable);
    }
    for (key_id, signature) in [(31, 64), (32, 63)] {
        let wire = wire::SignedFreshness {
            payload: Bytes::new(),
            signatures: vec![wire::Signature {
                key_id: vec![1; key_id].into(),
                signature: vec![1; signature].into(),
            }],
        };
        let decoded = SignedFreshness::decode(&wire.encode_to_vec());
        assert_refused(decoded, Rule::FreshnessUnreadable);
    }
    let mut wire = wire::SignedFreshness::decode(good.as_slice()).unwrap();
    wire.payload = vec![0xff; 4].into();
    let read = SignedFreshness::decode(&wire.encode_to_vec()).unwrap();
    assert_refused(
        read.verify(&register, NOW).map(drop),
        Rule::FreshnessUnreadable,
    );
}

#[test]
fn fr_02_freshness_statement_of_another_federation() {
    check(Rule::FreshnessFederation, |freshness| {
        freshness.federation = "us-ports".parse().unwrap();
    });
}

#[test]
fn fr_03_freshness_statement_with_too_few_signatures() {
    let register = with_keys(2);
    let freshness = Freshness::of(&register, NOW);
    for by in [&[][..], &[220], &[220, 220], &[230, 231]] {
        let refused = statement(&freshness, by).verify(&register, NOW);
        assert_refused(refused.map(drop), Rule::FreshnessSignatures);
    }
    // A register without freshness keys accepts no statement, whoever signed it.
    let without = first();
    let refused = statement(&Freshness::of(&without, NOW), &[220]).verify(&without, NOW);
    assert_refused(refused.map(drop), Rule::FreshnessSignatures);
}

/// The statement's type with the governance's key use. The payload type is the one that
/// docs/design.md names.
struct ByGovernance;
impl StatementType for ByGovernance {
    const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.freshness.v1";
    const KEY_USE: KeyUse = KeyUse::Governance;
}

#[test]
fn fr_03_freshness_statement_signed_by_a_key_of_another_use() {
    let register = with_keys(1);
    let unsigned = SignedFreshness::unsigned(&Freshness::of(&register, NOW));
    assert!(unsigned.clone().sign(&governance(200)).is_err());
    let mut wire = wire::SignedFreshness::decode(unsigned.encode().as_slice()).unwrap();
    let key = governance(200);
    let signature = sign_detached::<ByGovernance>(&wire.payload, &key).unwrap();
    // Under its own name, and under that of a freshness key.
    for id in [key.id(), online(220).id()] {
        wire.signatures = vec![wire::Signature {
            key_id: Bytes::copy_from_slice(id.as_bytes()),
            signature: Bytes::copy_from_slice(&signature),
        }];
        let forged = SignedFreshness::decode(&wire.encode_to_vec()).unwrap();
        let refused = forged.verify(&register, NOW);
        assert_refused(refused.map(drop), Rule::FreshnessSignatures);
    }
}

#[test]
fn fr_04_freshness_statement_for_another_register() {
    check(Rule::FreshnessRegister, |freshness| freshness.epoch = 1);
    check(Rule::FreshnessRegister, |freshness| freshness.epoch = 3);
    check(Rule::FreshnessRegister, |freshness| {
        freshness.register = Digest::from_bytes([9; 32]);
    });
}

#[test]
fn fr_05_freshness_statement_whose_time_cannot_be() {
    check(Rule::FreshnessTime, |freshness| {
        freshness.valid_until = freshness.issued_at.plus_millis(48 * HOUR + 1);
    });
    check(Rule::FreshnessTime, |freshness| {
        freshness.valid_until = freshness.issued_at.plus_millis(-1);
    });
    let minutes = 60_000;
    check(Rule::FreshnessTime, |freshness| {
        freshness.issued_at = NOW.plus_millis(10 * minutes + 1);
        freshness.valid_until = freshness.issued_at.plus_millis(HOUR);
    });
    let register = with_keys(1);
    let ahead = Freshness::of(&register, NOW.plus_millis(10 * minutes));
    assert!(statement(&ahead, &[220]).verify(&register, NOW).is_ok());
}

#[test]
fn any_flipped_bit_of_a_statement_is_refused() {
    let register = with_keys(1);
    let good = statement(&Freshness::of(&register, NOW), &[220]).encode();
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let read = SignedFreshness::decode(&bytes);
        let verified: Result<_, Refusal> = read.and_then(|it| it.verify(&register, NOW));
        assert!(verified.is_err(), "bit {bit}");
    }
}

#[test]
fn a_register_vouches_for_itself_for_the_first_48_hours() {
    let register = with_keys(1);
    let issued = register.register().issued_at;
    let until = fresh_until(&register, None);
    assert_eq!(until, Some(issued.plus_millis(48 * HOUR)));
    assert_eq!(fresh_until(&first(), None), None);
    // An older statement does not shorten it.
    let earlier = Freshness {
        valid_until: issued.plus_millis(HOUR),
        issued_at: issued,
        ..Freshness::of(&register, issued)
    };
    let verified = statement(&earlier, &[220]).verify(&register, NOW).unwrap();
    assert_eq!(fresh_until(&register, Some(&verified)), until);
}

#[test]
fn each_stage_begins_when_it_is_said_to() {
    let until = NOW;
    let at =
        |hours: i64, millis: i64| Stage::at(Some(until), until.plus_millis(hours * HOUR + millis));
    assert_eq!(at(-24, -1), Stage::Fresh(until));
    assert_eq!(at(-24, 0), Stage::Ending(until));
    assert_eq!(at(0, -1), Stage::Ending(until));
    assert_eq!(at(0, 0), Stage::Stale(until));
    assert_eq!(at(7 * 24, -1), Stage::Stale(until));
    assert_eq!(at(7 * 24, 0), Stage::BulkStopped(until));
    assert_eq!(at(365 * 24, 0), Stage::BulkStopped(until));
    assert_eq!(
        Stage::at(None, Timestamp::from_millis(i64::MAX)),
        Stage::Unused
    );
    let releasing = |stage: Stage| stage.releases_bulk();
    assert!(releasing(at(7 * 24, -1)) && releasing(Stage::Unused));
    assert!(!releasing(at(7 * 24, 0)));
}

#[test]
fn freshness_keys_that_cannot_be_met_or_stand_twice_make_no_register() {
    let good = following(&first());
    let keys = |threshold, keys| {
        let mut register = good.clone();
        register.freshness = FreshnessKeys { threshold, keys };
        SignedRegister::unsigned(&register)
    };
    let (one, two) = (online(220).public(), online(221).public());
    assert!(keys(0, Vec::new()).is_ok());
    assert!(keys(2, vec![one.clone(), two.clone()]).is_ok());
    assert!(keys(1, Vec::new()).is_err());
    assert!(keys(0, vec![one.clone()]).is_err());
    assert!(keys(3, vec![one.clone(), two]).is_err());
    assert!(keys(1, vec![one.clone(), one]).is_err());
    assert!(keys(1, vec![governance(250).public()]).is_err());
    // The bytes of a governance key, listed under the other use.
    assert!(keys(1, vec![online(200).public()]).is_err());
    let mut listed = register();
    let node = &mut listed.authorities.values_mut().next().unwrap().nodes[0];
    let key = portcullis_protocol::register::RegisteredKey::in_force(online(220).public());
    node.keys.push(key);
    assert!(SignedRegister::unsigned(&listed).is_err());
}

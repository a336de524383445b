//! RG-01 to RG-07: the epochs of the register that are accepted, and those that never are.

use bytes::Bytes;
use portcullis_protocol::{
    digest::Digest,
    keys::{KeyUse, PublicKey, SigningKey},
    register::{Archive, RegisterError, RegisteredKey, SignedRegister, VerifiedRegister},
    rules::Rule,
    statement::{StatementType, sign_detached},
    time::Timestamp,
    verify::{KeyStanding, Refusal, SealingKeys as _},
    wire,
};
use prost::Message as _;

use crate::{
    fixture::assert_refused,
    forge::{flipped, labelled},
    members::{authority, first, following, governance, hop_key, node_keys, register, signed},
};

/// The governance's statement type, declared a second time, with the payload type that
/// docs/design.md names.
struct Governed;
impl StatementType for Governed {
    const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.register.v1";
    const KEY_USE: KeyUse = KeyUse::Governance;
}

/// Signs any payload with these governance keys, each as often as it is listed.
fn signed_payload(payload: Vec<u8>, by: &[u8]) -> Vec<u8> {
    let signatures = by.iter().map(|seed| {
        let key = governance(*seed);
        let signature = sign_detached::<Governed>(&payload, &key).unwrap();
        wire::Signature {
            key_id: Bytes::copy_from_slice(key.id().as_bytes()),
            signature: Bytes::copy_from_slice(&signature),
        }
    });
    wire::SignedRegister {
        signatures: signatures.collect(),
        payload: payload.into(),
    }
    .encode_to_vec()
}

/// Verifies a second epoch whose content was changed on the wire, properly signed by all.
fn next_with(change: impl FnOnce(&mut wire::Register)) -> Result<VerifiedRegister, Refusal> {
    let first = first();
    let mut wire = wire::Register::from(&following(&first));
    change(&mut wire);
    let bytes = signed_payload(wire.encode_to_vec(), &[200, 201, 202]);
    first.next(SignedRegister::decode(&bytes).unwrap())
}

#[track_caller]
fn check(rule: Rule, change: impl FnOnce(&mut wire::Register)) {
    assert_refused(next_with(change), rule);
}

#[test]
fn an_epoch_signed_by_enough_follows_and_reads_as_written() {
    let first = first();
    let next = following(&first);
    let second = first.next(signed(&next, &[202, 200])).unwrap();
    assert_eq!(second.register(), &next);
    let copy = SignedRegister::decode(&second.signed().encode()).unwrap();
    assert_eq!(&copy, second.signed());
    let payload = wire::Register::from(&next).encode_to_vec();
    assert_eq!(
        second.digest().as_bytes(),
        &labelled("portcullis register v1", &[&payload])
    );
    assert!(next_with(|_| ()).is_ok());
}

#[test]
fn rg_01_unreadable_register() {
    assert_eq!(
        SignedRegister::decode(&[0xff]),
        Err(RegisterError::Unreadable)
    );
    assert_eq!(
        Refusal::from(RegisterError::Unreadable).rule,
        Rule::RegisterUnreadable
    );
    let garbage = SignedRegister::decode(&signed_payload(vec![0xff; 8], &[200, 201])).unwrap();
    assert_refused(first().next(garbage.clone()), Rule::RegisterUnreadable);
    let pin = garbage.digest();
    assert_refused(
        VerifiedRegister::first(garbage, &pin),
        Rule::RegisterUnreadable,
    );
    for (key_id, signature) in [(31, 64), (32, 63), (33, 64), (0, 0)] {
        let bytes = wire::SignedRegister {
            payload: Bytes::new(),
            signatures: vec![wire::Signature {
                key_id: vec![1; key_id].into(),
                signature: vec![1; signature].into(),
            }],
        };
        assert_eq!(
            SignedRegister::decode(&bytes.encode_to_vec()),
            Err(RegisterError::Unreadable)
        );
    }
}

#[test]
fn rg_01_unreadable_register_when_it_carries_signatures_without_end() {
    let payload = wire::Register::from(&register()).encode_to_vec();
    let bytes = signed_payload(payload, &[200; 129]);
    assert_eq!(
        SignedRegister::decode(&bytes),
        Err(RegisterError::Unreadable)
    );
}

#[test]
fn rg_02_register_of_another_federation() {
    check(Rule::RegisterFederation, |register| {
        register.federation = "us-ports".to_owned();
        for node in register
            .authorities
            .iter_mut()
            .flat_map(|member| &mut member.nodes)
        {
            node.uri = node.uri.replace("eu-ports", "us-ports");
        }
    });
}

#[test]
fn rg_03_register_with_too_few_signatures() {
    let first = first();
    let next = following(&first);
    for by in [&[][..], &[200], &[200, 210], &[210, 211, 212]] {
        assert_refused(first.next(signed(&next, by)), Rule::RegisterSignatures);
    }
    let alone = signed(&register(), &[201]);
    let pin = alone.digest();
    assert_refused(
        VerifiedRegister::first(alone, &pin),
        Rule::RegisterSignatures,
    );
}

#[test]
fn rg_03_register_with_too_few_signatures_when_one_key_signs_twice() {
    let first = first();
    let payload = wire::Register::from(&following(&first)).encode_to_vec();
    let twice = SignedRegister::decode(&signed_payload(payload.clone(), &[200, 200, 200])).unwrap();
    assert_refused(first.next(twice), Rule::RegisterSignatures);
    let two = SignedRegister::decode(&signed_payload(payload, &[200, 200, 201])).unwrap();
    assert!(first.next(two).is_ok());
    let mut signed = signed(&following(&first), &[200, 200]);
    assert_eq!(signed.signers().count(), 1);
    signed.sign(&governance(202)).unwrap();
    assert!(first.next(signed).is_ok());
}

#[test]
fn rg_03_register_with_too_few_signatures_of_the_epoch_before_or_of_its_own() {
    // A takeover: new governance keys, signed for by their owners only.
    let first = first();
    let mut next = following(&first);
    next.governance = [210, 211].map(|seed| governance(seed).public()).into();
    assert_refused(
        first.next(signed(&next, &[210, 211])),
        Rule::RegisterSignatures,
    );
    assert_refused(
        first.next(signed(&next, &[200, 201])),
        Rule::RegisterSignatures,
    );
    assert_refused(
        first.next(signed(&next, &[200, 201, 210])),
        Rule::RegisterSignatures,
    );
    let second = first.next(signed(&next, &[200, 201, 210, 211])).unwrap();
    // The old keys count for nothing now.
    let third = following(&second);
    assert_refused(
        second.next(signed(&third, &[200, 201])),
        Rule::RegisterSignatures,
    );
    assert!(second.next(signed(&third, &[210, 211])).is_ok());
}

#[test]
fn rg_03_register_with_too_few_signatures_that_verify() {
    let first = first();
    let payload = wire::Register::from(&following(&first)).encode_to_vec();
    let good = wire::SignedRegister::decode(&*signed_payload(payload, &[200, 201])).unwrap();
    for bit in 0..512 {
        let mut bad = good.clone();
        bad.signatures[1].signature = flipped(&bad.signatures[1].signature, bit);
        let bad = SignedRegister::decode(&bad.encode_to_vec()).unwrap();
        assert_refused(first.next(bad), Rule::RegisterSignatures);
    }
    // Signed by the right keys, as another type of statement.
    struct Other;
    impl StatementType for Other {
        const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.act.v1";
        const KEY_USE: KeyUse = KeyUse::Governance;
    }
    let mut other = good.clone();
    let signature = sign_detached::<Other>(&good.payload, &governance(201)).unwrap();
    other.signatures[1].signature = Bytes::copy_from_slice(&signature);
    let other = SignedRegister::decode(&other.encode_to_vec()).unwrap();
    assert_refused(first.next(other), Rule::RegisterSignatures);
}

#[test]
fn any_flipped_bit_of_an_epoch_is_refused() {
    let first = first();
    let payload = wire::Register::from(&following(&first)).encode_to_vec();
    let good = wire::SignedRegister::decode(&*signed_payload(payload, &[200, 201])).unwrap();
    for bit in 0..good.payload.len() * 8 {
        let mut bad = good.clone();
        bad.payload = flipped(&bad.payload, bit);
        let bad = SignedRegister::decode(&bad.encode_to_vec()).unwrap();
        assert!(first.next(bad).is_err(), "bit {bit}");
    }
}

#[test]
fn only_governance_keys_sign_a_register() {
    let mut epoch = SignedRegister::unsigned(&register()).unwrap();
    for usage in [KeyUse::Sealing, KeyUse::Hop, KeyUse::Log, KeyUse::Person] {
        assert!(
            epoch
                .sign(&SigningKey::from_seed(usage, [200; 32]))
                .is_err()
        );
    }
}

#[test]
fn rg_04_register_that_skips_or_repeats_an_epoch() {
    let first = first();
    for epoch in [3, u64::MAX] {
        check(Rule::RegisterEpoch, |register| register.epoch = epoch);
    }
    // The epoch that is held, offered again; and the very first one, after two steps.
    let again = first.signed().clone();
    assert_refused(first.next(again.clone()), Rule::RegisterEpoch);
    let second = first.next(signed(&following(&first), &[200, 201])).unwrap();
    let third = second
        .next(signed(&following(&second), &[200, 201]))
        .unwrap();
    assert_refused(third.next(again), Rule::RegisterEpoch);
    assert_refused(third.next(second.signed().clone()), Rule::RegisterEpoch);
    assert_refused(first.next(third.signed().clone()), Rule::RegisterEpoch);
    // A second epoch is no first one, even if someone pins it.
    let pin = second.digest();
    assert_refused(
        VerifiedRegister::first(second.signed().clone(), &pin),
        Rule::RegisterEpoch,
    );
}

#[test]
fn rg_05_register_that_does_not_follow_the_one_held() {
    // A fork: two second epochs, each with valid signatures. The successor of one does not follow
    // the other.
    let first = first();
    let left = first.next(signed(&following(&first), &[200, 201])).unwrap();
    let mut other = following(&first);
    other.threshold = 3;
    let right = first.next(signed(&other, &[200, 201, 202])).unwrap();
    let third = signed(&following(&right), &[200, 201, 202]);
    assert!(right.next(third.clone()).is_ok());
    assert_refused(left.next(third), Rule::RegisterChain);
    check(Rule::RegisterChain, |register| {
        register.previous = flipped(&register.previous, 0)
    });
}

#[test]
fn rg_06_first_register_that_is_not_the_pinned_one() {
    let good = signed(&register(), &[200, 201]);
    let mut later = register();
    later.issued_at = later.issued_at.plus_millis(1);
    let later = SignedRegister::unsigned(&later).unwrap().digest();
    for pin in [Digest::from_bytes([0; 32]), later] {
        assert_refused(
            VerifiedRegister::first(good.clone(), &pin),
            Rule::RegisterPin,
        );
    }
}

#[test]
fn rg_07_register_whose_content_contradicts_itself() {
    let contradicts = |change: fn(&mut wire::Register)| check(Rule::RegisterContent, change);
    contradicts(|register| register.threshold = 0);
    contradicts(|register| register.threshold = 4);
    contradicts(|register| register.governance.clear());
    contradicts(|register| register.epoch = 0);
    contradicts(|register| register.previous = Bytes::new());
    contradicts(|register| register.previous = Bytes::from_static(&[1; 31]));
    contradicts(|register| register.epoch = 1);
    contradicts(|register| register.federation = String::new());
    // A development federation stays one for ever, and no federation becomes one later.
    contradicts(|register| register.development = true);
}

#[test]
fn rg_07_register_whose_content_contradicts_itself_by_what_stands_twice() {
    let twice = |change: fn(&mut wire::Register)| check(Rule::RegisterContent, change);
    twice(|register| {
        let member = register.authorities[0].clone();
        register.authorities.push(member);
    });
    twice(|register| {
        let (from, to) = two(register);
        to.id.clone_from(&from.id);
        to.uri.clone_from(&from.uri);
    });
    twice(|register| {
        let (from, to) = two(register);
        to.dns_name.clone_from(&from.dns_name);
    });
    twice(|register| {
        let (from, to) = two(register);
        to.endpoint.clone_from(&from.endpoint);
    });
    twice(|register| {
        let (from, to) = two(register);
        to.trust_anchor.clone_from(&from.trust_anchor);
    });
    twice(|register| {
        let (from, to) = two(register);
        to.keys[0] = from.keys[0].clone();
    });
    twice(|register| register.governance[1] = register.governance[0].clone());
}

#[test]
fn rg_07_register_whose_content_contradicts_itself_by_a_key_of_two_uses() {
    // The same bytes as a sealing and a hop key, or as a node's and a governance key.
    check(Rule::RegisterContent, |register| {
        let (from, to) = two(register);
        to.keys[1].public = from.keys[0].public.clone();
    });
    check(Rule::RegisterContent, |register| {
        register.authorities[0].nodes[0].keys[0].public = register.governance[0].public.clone();
    });
}

#[test]
fn rg_07_register_whose_content_contradicts_itself_by_its_keys() {
    let key = |change: fn(&mut wire::Key)| {
        check(Rule::RegisterContent, |register| {
            change(&mut two(register).0.keys[0])
        });
    };
    key(|key| key.r#use = wire::KeyUse::Person.into());
    key(|key| key.r#use = wire::KeyUse::Governance.into());
    key(|key| key.r#use = 0);
    key(|key| key.algorithm = wire::KeyAlgorithm::X25519.into());
    key(|key| key.algorithm = 0);
    key(|key| key.public = Bytes::from_static(&[1; 31]));
    // The neutral element: anyone can sign for it.
    key(|key| {
        let mut neutral = [0; 32];
        neutral[0] = 1;
        key.public = Bytes::copy_from_slice(&neutral);
    });
    let governance = |change: fn(&mut wire::Key)| {
        check(Rule::RegisterContent, |register| {
            change(&mut register.governance[2])
        });
    };
    governance(|key| key.r#use = wire::KeyUse::Sealing.into());
    // A governance key ends by no longer being listed: an end stated in the list would go
    // unnoticed.
    governance(|key| key.compromised_since_ms = 1);
    governance(|key| key.retired_at_ms = 1);
}

#[test]
fn rg_07_register_whose_content_contradicts_itself_by_former_keys() {
    let former = |key_id: &[u8], compromised_since_ms| wire::FormerKey {
        key_id: Bytes::copy_from_slice(key_id),
        compromised_since_ms,
    };
    let contradicts = |keys: Vec<wire::FormerKey>| {
        check(Rule::RegisterContent, |register| register.former = keys);
    };
    contradicts(vec![former(&[1; 31], 5)]);
    contradicts(vec![former(&[1; 32], 0)]);
    contradicts(vec![former(&[1; 32], 5), former(&[1; 32], 6)]);
    // A key of a present node states its own end.
    check(Rule::RegisterContent, |register| {
        let key = two(register).0.keys[0].public.clone();
        let key = PublicKey::from_slice(KeyUse::Sealing, &key).unwrap();
        register.former = vec![former(key.id().as_bytes(), 5)];
    });
    let many = (0..10_001_u32).map(|number| {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        former(&id, 5)
    });
    contradicts(many.collect());
}

/// The nodes of the two members.
fn two(register: &mut wire::Register) -> (&mut wire::Node, &mut wire::Node) {
    let (left, right) = register.authorities.split_at_mut(1);
    (&mut left[0].nodes[0], &mut right[0].nodes[0])
}

#[test]
fn rg_07_register_whose_content_contradicts_itself_by_names_and_addresses() {
    for endpoint in [
        "",
        "host",
        "host:",
        ":7443",
        "host:0",
        "host:+80",
        "host:080",
        "host:65536",
        "HOST:80",
        "ho st:80",
        "host\n:80",
        "::1:80",
        "[::1]:080",
        "127.0.0.1:0",
        "1.2.3:80",
    ] {
        check(Rule::RegisterContent, |register| {
            endpoint.clone_into(&mut two(register).0.endpoint);
        });
    }
    for endpoint in ["127.0.0.1:7443", "[::1]:7443", "n1:1", "a-b.example:65535"] {
        assert!(next_with(|register| endpoint.clone_into(&mut two(register).0.endpoint)).is_ok());
    }
    for name in [
        "",
        ".",
        "a..b",
        "-a.example",
        "a-.example",
        "A.example",
        "127.0.0.1",
        "*.example",
        "a_b",
    ] {
        check(Rule::RegisterContent, |register| {
            name.clone_into(&mut two(register).0.dns_name);
        });
    }
    check(Rule::RegisterContent, |register| {
        two(register).0.uri = "urn:portcullis:eu-ports:police-n1".to_owned();
    });
    check(Rule::RegisterContent, |register| {
        two(register).0.trust_anchor = Bytes::new()
    });
    let member = |change: fn(&mut wire::Authority)| {
        check(Rule::RegisterContent, |register| {
            change(&mut register.authorities[0])
        });
    };
    member(|member| member.name = "Customs\u{1b}[2J".to_owned());
    member(|member| member.name = String::new());
    member(|member| member.group = String::new());
    member(|member| member.contact = "a\nb".to_owned());
    member(|member| member.communities = vec![String::new()]);
    member(|member| member.communities = vec!["x".to_owned(); 257]);
    member(|member| member.clients = vec!["Not An Id".to_owned()]);
    member(|member| member.country = "KOR".to_owned());
    member(|member| member.kind = 0);
    member(|member| member.regime = 0);
    member(|member| member.nodes.clear());
    let hostile = next_with(|register| register.authorities[0].id = "\u{1b}[2J".to_owned());
    assert!(!hostile.unwrap_err().detail.contains('\u{1b}'));
}

#[test]
fn what_would_be_lost_on_the_wire_is_not_signed() {
    let mut register = register();
    let member = register.authorities.values_mut().next().unwrap();
    member.nodes[0].keys[0].retired_at = Some(Timestamp::from_millis(0));
    assert_eq!(
        SignedRegister::unsigned(&register),
        Err(RegisterError::Lossy)
    );
}

#[test]
fn keys_count_for_their_owner_and_use_and_until_they_end() {
    let register = register();
    let [sealing, hop, _] = node_keys(10);
    let customs = "customs".parse().unwrap();
    let (key, standing) = register.sealing_key(&customs, &sealing.id()).unwrap();
    assert_eq!((key.id(), standing), (sealing.id(), KeyStanding::InForce));
    assert!(
        register
            .sealing_key(&"police".parse().unwrap(), &sealing.id())
            .is_none()
    );
    assert!(register.sealing_key(&customs, &hop.id()).is_none());
    let node = "customs-n1".parse().unwrap();
    let at = register.issued_at;
    assert_eq!(register.hop_key(&node, &hop.id(), at), Some(hop.public()));
    assert_eq!(register.hop_key(&node, &sealing.id(), at), None);
    assert_eq!(register.hop_key(&node, &hop_key(20).id(), at), None);
    assert_eq!(
        register.hop_key(&"police-n1".parse().unwrap(), &hop.id(), at),
        None
    );
}

#[test]
fn a_compromise_weighs_more_than_a_retirement_and_both_end_a_key() {
    let mut member = authority("customs", 10);
    let at = Timestamp::from_millis;
    let end = |millis: i64| Some(at(millis));
    for (retired_at, compromised_since, expected) in [
        (end(5), None, KeyStanding::RetiredSince(at(5))),
        (None, end(7), KeyStanding::CompromisedSince(at(7))),
        (end(5), end(3), KeyStanding::CompromisedSince(at(3))),
        (end(2), end(3), KeyStanding::CompromisedSince(at(3))),
    ] {
        let key = &mut member.nodes[0].keys[1];
        *key = RegisteredKey {
            retired_at,
            compromised_since,
            ..key.clone()
        };
        assert_eq!(key.standing(), expected);
    }
    let mut register = register();
    register.authorities.insert(member.id.clone(), member);
    let node = "customs-n1".parse().unwrap();
    let signs = |at: Timestamp| register.hop_key(&node, &hop_key(10).id(), at).is_some();
    assert!(!signs(at(1)), "a compromised hop key signs nothing");
    let mut retired = register.clone();
    let customs = retired.authorities.get_mut(&"customs".parse().unwrap());
    let key = &mut customs.unwrap().nodes[0].keys[1];
    key.compromised_since = None;
    let signs = |at: Timestamp| retired.hop_key(&node, &hop_key(10).id(), at).is_some();
    assert!(
        signs(at(1)) && !signs(at(2)),
        "a retired hop key signs until its end"
    );
}

#[test]
fn a_key_that_is_listed_again_stays_compromised() {
    let first = register();
    let police = "police".parse().unwrap();
    let key = node_keys(20)[0].id();
    let since = Timestamp::from_millis(9);
    let mut without = first.clone();
    without.authorities.remove(&police);
    without.former.insert(key, since);
    let mut again = first.clone();
    again.authorities.get_mut(&police).unwrap().nodes[0].keys[0].compromised_since =
        Some(Timestamp::from_millis(12));
    for last in [&first, &again] {
        let archive = Archive::of([&first, &without, last]);
        let (_, standing) = archive.sealing_key(&police, &key).unwrap();
        assert_eq!(standing, KeyStanding::CompromisedSince(since));
    }
}

#[test]
fn the_archive_keeps_the_keys_of_who_left_as_they_were_listed_last() {
    let first = register();
    let key = node_keys(20)[0].id();
    let police = "police".parse().unwrap();
    let mut second = first.clone();
    let ended = Some(Timestamp::from_millis(9));
    second.authorities.get_mut(&police).unwrap().nodes[0].keys[0].compromised_since = ended;
    let mut third = second.clone();
    third.authorities.remove(&police);
    let archive = Archive::of([&first, &second, &third]);
    let (public, standing) = archive.sealing_key(&police, &key).unwrap();
    assert_eq!(public.id(), key);
    assert_eq!(
        standing,
        KeyStanding::CompromisedSince(Timestamp::from_millis(9))
    );
    assert!(third.sealing_key(&police, &key).is_none());
    assert_eq!(archive.compromised().collect::<Vec<_>>(), [key]);
    // Neither a key of another use nor one of another authority.
    assert!(archive.sealing_key(&police, &hop_key(20).id()).is_none());
    assert!(
        archive
            .sealing_key(&"customs".parse().unwrap(), &key)
            .is_none()
    );
}

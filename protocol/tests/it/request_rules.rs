//! RG-08: a membership request proves that its authority holds the keys it lists.

use portcullis_protocol::{
    keys::{KeyUse, SigningKey},
    register::{MembershipRequest, SignedMembershipRequest},
    rules::Rule,
    time::Timestamp,
    wire,
};
use prost::Message as _;

use crate::{
    fixture::{NOW, assert_refused, federation},
    forge::flipped,
    members::{authority, node_keys},
};

fn request() -> MembershipRequest {
    MembershipRequest {
        federation: federation(),
        authority: authority("customs", 10),
        made_at: NOW,
    }
}

fn signed_by(request: &MembershipRequest, keys: &[&SigningKey]) -> Vec<u8> {
    SignedMembershipRequest::sign(request, keys)
        .unwrap()
        .encode()
}

#[test]
fn a_request_signed_by_all_its_keys_reads_as_written() {
    let [sealing, hop, log] = node_keys(10);
    let bytes = signed_by(&request(), &[&log, &sealing, &hop]);
    assert_eq!(SignedMembershipRequest::verify(&bytes), Ok(request()));
}

#[test]
fn rg_08_membership_request_without_proof_of_its_keys() {
    let [sealing, hop, log] = node_keys(10);
    for by in [
        &[][..],
        &[&sealing, &hop],
        &[&sealing, &log],
        &[&hop, &log],
        &[&sealing, &hop, &hop],
    ] {
        let bytes = signed_by(&request(), by);
        assert_refused(
            SignedMembershipRequest::verify(&bytes),
            Rule::RequestSignatures,
        );
    }
    // Another authority's key, listed as one's own.
    let [stolen, ..] = node_keys(20);
    let mut with_stolen = request();
    with_stolen.authority.nodes[0].keys[0].public = stolen.public();
    let bytes = signed_by(&with_stolen, &[&sealing, &hop, &log]);
    assert_refused(
        SignedMembershipRequest::verify(&bytes),
        Rule::RequestSignatures,
    );
}

#[test]
fn rg_08_membership_request_without_proof_of_its_keys_when_any_bit_is_flipped() {
    let [sealing, hop, log] = node_keys(10);
    let bytes = signed_by(&request(), &[&sealing, &hop, &log]);
    let good = wire::SignedMembershipRequest::decode(&*bytes).unwrap();
    for bit in 0..good.payload.len() * 8 {
        let mut bad = good.clone();
        bad.payload = flipped(&bad.payload, bit);
        assert!(
            SignedMembershipRequest::verify(&bad.encode_to_vec()).is_err(),
            "bit {bit}"
        );
    }
    for bit in 0..512 {
        let mut bad = good.clone();
        bad.signatures[1].signature = flipped(&bad.signatures[1].signature, bit);
        let verdict = SignedMembershipRequest::verify(&bad.encode_to_vec());
        assert_refused(verdict, Rule::RequestSignatures);
    }
}

#[test]
fn rg_08_membership_request_without_proof_of_its_keys_because_it_has_none() {
    let mut bare = request();
    bare.authority.nodes[0].keys.clear();
    let bytes = signed_by(&bare, &[]);
    assert_refused(
        SignedMembershipRequest::verify(&bytes),
        Rule::RequestSignatures,
    );
    let mut mute = request();
    mute.authority.nodes[0]
        .keys
        .retain(|key| key.public.usage() == KeyUse::Agreement);
    let bytes = signed_by(&mute, &[]);
    assert_refused(
        SignedMembershipRequest::verify(&bytes),
        Rule::RequestSignatures,
    );
}

#[test]
fn a_key_that_has_ended_may_be_lost_and_need_not_sign() {
    let [_, hop, log] = node_keys(10);
    let mut request = request();
    request.authority.nodes[0].keys[0].compromised_since = Some(Timestamp::from_millis(1));
    let bytes = signed_by(&request, &[&hop, &log]);
    assert_eq!(SignedMembershipRequest::verify(&bytes), Ok(request));
}

#[test]
fn a_governance_or_person_key_asks_for_nothing() {
    for usage in [KeyUse::Governance, KeyUse::Person] {
        let key = SigningKey::from_seed(usage, [1; 32]);
        assert!(SignedMembershipRequest::sign(&request(), &[&key]).is_err());
    }
}

#[test]
fn rg_01_unreadable_register_request() {
    for bytes in [&b"\xff"[..], b"", b"\x0a\x02\xff\xff"] {
        let verdict = SignedMembershipRequest::verify(bytes);
        assert_refused(verdict, Rule::RegisterUnreadable);
    }
}

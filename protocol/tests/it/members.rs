//! A register to attack: two authorities of one node each, three governance keys of which two sign.

use portcullis_protocol::{
    keys::{KeyUse, PublicKey, SigningKey},
    register::{
        Authority, AuthorityKind, FreshnessKeys, LegalRegime, Node, Register, RegisteredKey,
        SignedRegister, VerifiedRegister,
    },
};

use crate::fixture::{NOW, federation};

pub(crate) fn governance(seed: u8) -> SigningKey {
    SigningKey::from_seed(KeyUse::Governance, [seed; 32])
}

/// The signing keys of a node: sealing, hop, log.
pub(crate) fn node_keys(seed: u8) -> [SigningKey; 3] {
    [
        SigningKey::from_seed(KeyUse::Sealing, [seed; 32]),
        SigningKey::from_seed(KeyUse::Hop, [seed + 1; 32]),
        SigningKey::from_seed(KeyUse::Log, [seed + 2; 32]),
    ]
}

pub(crate) fn hop_key(seed: u8) -> SigningKey {
    SigningKey::from_seed(KeyUse::Hop, [seed + 1; 32])
}

pub(crate) fn node(name: &str, seed: u8) -> Node {
    let signing = node_keys(seed);
    let public = signing.iter().map(SigningKey::public);
    let agreement = PublicKey::from_slice(KeyUse::Agreement, &[seed + 3; 32]).unwrap();
    Node {
        id: name.parse().unwrap(),
        dns_name: format!("{name}.example"),
        endpoint: format!("{name}.example:7443"),
        trust_anchor: vec![seed; 40],
        keys: public
            .chain([agreement])
            .map(RegisteredKey::in_force)
            .collect(),
    }
}

pub(crate) fn authority(name: &str, seed: u8) -> Authority {
    Authority {
        id: name.parse().unwrap(),
        name: format!("Authority {name}"),
        kind: AuthorityKind::Customs,
        country: "KR".parse().unwrap(),
        group: "finance".to_owned(),
        regime: LegalRegime::Both,
        communities: vec!["ports".to_owned()],
        clients: Vec::new(),
        nodes: vec![node(&format!("{name}-n1"), seed)],
        contact: "duty officer".to_owned(),
    }
}

/// Epoch 1: governance keys 200, 201, 202, of which two must sign.
pub(crate) fn register() -> Register {
    let members = [authority("customs", 10), authority("police", 20)];
    Register {
        federation: federation(),
        epoch: 1,
        previous: None,
        development: false,
        threshold: 2,
        governance: [200, 201, 202].map(|seed| governance(seed).public()).into(),
        freshness: FreshnessKeys::default(),
        authorities: members.map(|member| (member.id.clone(), member)).into(),
        issued_at: NOW,
        former: std::collections::BTreeMap::new(),
    }
}

pub(crate) fn signed(register: &Register, by: &[u8]) -> SignedRegister {
    let mut signed = SignedRegister::unsigned(register).unwrap();
    for seed in by {
        signed.sign(&governance(*seed)).unwrap();
    }
    signed
}

pub(crate) fn first() -> VerifiedRegister {
    let signed = signed(&register(), &[200, 201]);
    let pin = signed.digest();
    VerifiedRegister::first(signed, &pin).unwrap()
}

/// An epoch that follows `before` with nothing else changed.
pub(crate) fn following(before: &VerifiedRegister) -> Register {
    Register {
        epoch: before.register().epoch + 1,
        previous: Some(before.digest()),
        ..before.register().clone()
    }
}

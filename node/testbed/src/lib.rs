//! A small federation for tests: keys from fixed seeds, a register, records.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "for tests alone: a fixture that fails is a failed test"
)]

pub mod governance;

use std::collections::BTreeMap;

use portcullis_protocol::{
    body::{Assessment, Body, Selector, SelectorKind, Subject, Window},
    evaluation::Evaluation,
    identifiers::AuthorityId,
    keys::{KeyUse, SigningKey},
    marking::{Marking, Purpose, Tlp},
    record::Kind,
    register::{
        Authority, AuthorityKind, FreshnessKeys, LegalRegime, Node, Register, RegisteredKey,
        SignedRegister, VerifiedRegister,
    },
    seal::{Draft, Entropy, SealedRecord, Sealer},
    time::Timestamp,
};

/// Time at which tests happen.
pub const NOW: Timestamp = Timestamp::from_millis(1_617_235_200_000);

/// Source of numbers that only look random.
#[derive(Debug)]
pub struct Counting(pub u8);

impl Entropy for Counting {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_mul(31).wrapping_add(17);
            *byte = self.0;
        }
    }
}

/// Returns the key of a node for one use.
#[must_use]
pub fn key(node: u8, usage: KeyUse) -> SigningKey {
    let number = match usage {
        KeyUse::Sealing => 1,
        KeyUse::Hop => 2,
        KeyUse::Log => 3,
        KeyUse::Agreement => 4,
        KeyUse::Governance => 5,
        KeyUse::Person => 6,
        KeyUse::Freshness => 7,
    };
    SigningKey::from_seed(usage, [node * 16 + number; 32])
}

fn authority(number: u8, id: &str, kind: AuthorityKind) -> Authority {
    let keys = [KeyUse::Sealing, KeyUse::Hop, KeyUse::Log]
        .map(|usage| RegisteredKey::in_force(key(number, usage).public()));
    Authority {
        id: id.parse().unwrap(),
        name: id.to_owned(),
        kind,
        country: "NL".parse().unwrap(),
        group: format!("group-{number}"),
        regime: LegalRegime::Both,
        communities: vec!["ports".to_owned()],
        clients: Vec::new(),
        nodes: vec![Node {
            id: format!("{id}-1").parse().unwrap(),
            dns_name: format!("{id}.example"),
            endpoint: format!("127.0.0.1:{}", 4000 + u16::from(number)),
            trust_anchor: vec![number],
            keys: keys.to_vec(),
        }],
        contact: String::new(),
    }
}

/// Members of the federation: number (for [`key`]), id, kind.
pub const MEMBERS: [(u8, &str, AuthorityKind); 4] = [
    (1, "rotterdam", AuthorityKind::Customs),
    (2, "antwerp", AuthorityKind::Customs),
    (3, "hub", AuthorityKind::Hub),
    (4, "terminal", AuthorityKind::PrivateOperator),
];

/// Makes the register of the members above.
#[must_use]
pub fn register() -> VerifiedRegister {
    registered(FreshnessKeys::default())
}

/// Makes the register of the members above, of which one freshness key says that it is the newest.
#[must_use]
pub fn fresh_register() -> VerifiedRegister {
    registered(FreshnessKeys {
        keys: vec![key(8, KeyUse::Freshness).public()],
        threshold: 1,
    })
}

fn registered(freshness: FreshnessKeys) -> VerifiedRegister {
    let authorities: BTreeMap<AuthorityId, Authority> = MEMBERS
        .into_iter()
        .map(|(number, id, kind)| (id.parse().unwrap(), authority(number, id, kind)))
        .collect();
    let register = Register {
        federation: "test".parse().unwrap(),
        epoch: 1,
        previous: None,
        development: true,
        threshold: 1,
        governance: vec![key(9, KeyUse::Governance).public()],
        freshness,
        authorities,
        issued_at: NOW,
        former: BTreeMap::new(),
    };
    let mut signed = SignedRegister::unsigned(&register).unwrap();
    signed.sign(&key(9, KeyUse::Governance)).unwrap();
    let pin = signed.digest();
    VerifiedRegister::first(signed, &pin).unwrap()
}

/// Drafts an indicator on a container, for customs and port security.
#[must_use]
pub fn indicator() -> Draft {
    let window = Window {
        from: NOW.plus_millis(-86_400_000),
        until: NOW.plus_millis(86_400_000),
    };
    let subject = Subject {
        selectors: vec![
            Selector::new(SelectorKind::Container, "CSQU3054383", Some(window)).unwrap(),
        ],
        title: "a box".to_owned(),
        generated: false,
    };
    let assessment = Assessment {
        threat: "narcotics".to_owned(),
        finding: None,
        text: String::new(),
    };
    let marking = Marking::new(
        Tlp::Green,
        [
            Purpose::CustomsControl,
            Purpose::LawEnforcement,
            Purpose::PortSecurity,
        ],
    );
    Draft::new(
        Kind::Indicator,
        marking,
        Evaluation::default(),
        vec![
            Body::Subject(subject),
            Body::Assessment(assessment),
            Body::Narrative("the story".to_owned()),
            Body::Source("an informant".to_owned()),
        ],
    )
}

/// Seals drafts as the member with this number.
#[must_use]
pub fn seal(number: u8, drafts: Vec<Draft>, seed: u8) -> Vec<SealedRecord> {
    seal_by(number, &key(number, KeyUse::Sealing), drafts, seed)
}

/// Seals a draft in the name of a member with any key.
#[must_use]
pub fn seal_with(number: u8, key: SigningKey, draft: Draft) -> SealedRecord {
    seal_by(number, &key, vec![draft], 1).remove(0)
}

fn seal_by(number: u8, key: &SigningKey, drafts: Vec<Draft>, seed: u8) -> Vec<SealedRecord> {
    let (_, origin, _) = MEMBERS[usize::from(number) - 1];
    Sealer {
        federation: &"test".parse().unwrap(),
        origin: &origin.parse().unwrap(),
        key,
        now: NOW,
    }
    .seal(drafts, &mut Counting(seed))
    .unwrap()
}

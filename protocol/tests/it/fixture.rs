//! A federation of two authorities, its keys, and records to attack.

use std::collections::BTreeMap;

use portcullis_protocol::{
    body::{Assessment, Body, Person, Selector, SelectorKind, Subject, Window},
    evaluation::Evaluation,
    identifiers::{AuthorityId, FederationId},
    keys::{KeyId, KeyUse, PublicKey, SigningKey},
    marking::{DataSubject, Marking, Purpose, Tlp},
    record::Kind,
    rules::Rule,
    seal::{Draft, Entropy, SealedRecord, Sealer},
    time::Timestamp,
    verify::{KeyStanding, Occasion, Refusal, SealingKeys, VerifiedRecord, Verifier},
};

/// 2021-03-01T08:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_614_585_600_000);

/// SplitMix64 (Steele, Lea, Flood 2014): not secret, and the same in every run.
pub(crate) struct Seeded(pub(crate) u64);

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = self.0;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^= word >> 31;
            chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        }
    }
}

pub(crate) fn federation() -> FederationId {
    "eu-ports".parse().unwrap()
}

pub(crate) fn origin() -> AuthorityId {
    "kr-customs-40".parse().unwrap()
}

pub(crate) fn sealing_key() -> SigningKey {
    SigningKey::from_seed(KeyUse::Sealing, [1; 32])
}

/// The sealing keys that count, with their states.
#[derive(Default)]
pub(crate) struct Keys(BTreeMap<(AuthorityId, KeyId), (PublicKey, KeyStanding)>);

impl Keys {
    pub(crate) fn with(mut self, of: AuthorityId, key: &SigningKey, standing: KeyStanding) -> Self {
        self.0.insert((of, key.id()), (key.public(), standing));
        self
    }

    /// The origin's sealing key, in force.
    pub(crate) fn usual() -> Self {
        Self::default().with(origin(), &sealing_key(), KeyStanding::InForce)
    }
}

impl SealingKeys for Keys {
    fn sealing_key(&self, origin: &AuthorityId, key: &KeyId) -> Option<(&PublicKey, KeyStanding)> {
        self.0
            .get(&(origin.clone(), *key))
            .map(|(public, standing)| (public, *standing))
    }
}

/// Verifies as a member of the federation would on arrival.
pub(crate) fn verify(sealed: &SealedRecord) -> Result<VerifiedRecord, Refusal> {
    verify_with(sealed, &Keys::usual(), Occasion::Arriving)
}

pub(crate) fn verify_with(
    sealed: &SealedRecord,
    keys: &Keys,
    occasion: Occasion,
) -> Result<VerifiedRecord, Refusal> {
    let federation = federation();
    Verifier {
        federation: &federation,
        keys,
        now: NOW,
        occasion,
    }
    .verify(sealed)
}

#[track_caller]
pub(crate) fn assert_refused<T: std::fmt::Debug>(result: Result<T, Refusal>, rule: Rule) {
    assert_eq!(result.unwrap_err().rule, rule);
}

/// Seals drafts of the origin with its usual key.
pub(crate) fn seal(drafts: Vec<Draft>, seed: u64) -> Vec<SealedRecord> {
    let (federation, origin, key) = (federation(), origin(), sealing_key());
    let sealer = Sealer {
        federation: &federation,
        origin: &origin,
        key: &key,
        now: NOW,
    };
    sealer.seal(drafts, &mut Seeded(seed)).unwrap()
}

/// One record with every ordinary section except persons; a decoy stands in for that one.
pub(crate) fn indicator() -> SealedRecord {
    seal(vec![indicator_draft()], 7).remove(0)
}

/// Sections 0 subject and 1 assessment (a group), 2 narrative, 3 source; 4 is a decoy for persons.
pub(crate) fn indicator_draft() -> Draft {
    let mut draft = Draft::new(
        Kind::Indicator,
        marking(),
        Evaluation::default(),
        vec![
            subject("CSQU3054383"),
            assessment(),
            Body::Narrative("seen twice at the back gate".to_owned()),
            Body::Source("a dock worker".to_owned()),
        ],
    );
    draft
        .decoys
        .insert(portcullis_protocol::record::SectionTag::Persons);
    draft
}

pub(crate) fn marking() -> Marking {
    Marking::new(
        Tlp::Amber,
        [Purpose::LawEnforcement, Purpose::CustomsControl],
    )
}

pub(crate) fn subject(container: &str) -> Body {
    let window = Window {
        from: NOW,
        until: NOW.plus_millis(86_400_000),
    };
    Body::Subject(Subject {
        selectors: vec![
            Selector::new(SelectorKind::Container, container, Some(window)).unwrap(),
            Selector::new(SelectorKind::Imo, "9074729", None).unwrap(),
        ],
        title: "container with a second seal".to_owned(),
        generated: false,
    })
}

pub(crate) fn assessment() -> Body {
    Body::Assessment(Assessment {
        threat: "narcotics".to_owned(),
        finding: None,
        text: String::new(),
    })
}

pub(crate) fn persons() -> Body {
    Body::Persons(vec![Person {
        name: "N. N.".to_owned(),
        role: "driver".to_owned(),
        category: DataSubject::Other,
    }])
}

//! OpenSSL verifies the protocol's signatures: Ed25519 over the DSSE pre-authentication encoding,
//! which is written here independently from DSSE's own text.

use openssl::{
    pkey::{Id, PKey},
    sign::Verifier,
};
use portcullis_protocol::{
    body::{Assessment, Body},
    evaluation::Evaluation,
    keys::{KeyUse, SigningKey},
    marking::{Marking, Purpose, Tlp},
    record::Kind,
    seal::{Draft, Entropy, SealedRecord, Sealer},
    time::Timestamp,
};

/// A sequence of bytes that only looks random.
struct Counting(u8);

impl Entropy for Counting {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_mul(31).wrapping_add(17);
            *byte = self.0;
        }
    }
}

fn sealed(key: &SigningKey) -> SealedRecord {
    let assessment = Assessment {
        threat: "fraud".to_owned(),
        finding: None,
        text: "seals are cut behind shed 4".to_owned(),
    };
    let draft = Draft::new(
        Kind::Advisory,
        Marking::new(Tlp::Green, [Purpose::PortSecurity]),
        Evaluation::default(),
        vec![Body::Assessment(assessment)],
    );
    Sealer {
        federation: &"test".parse().unwrap(),
        origin: &"rotterdam".parse().unwrap(),
        key,
        now: Timestamp::from_millis(1_617_235_200_000),
    }
    .seal(vec![draft], &mut Counting(1))
    .unwrap()
    .remove(0)
}

/// DSSE v1: `DSSEv1 SP LEN(type) SP type SP LEN(body) SP body`.
fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    );
    [head.as_bytes(), payload].concat()
}

fn openssl_verifies(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let key = PKey::public_key_from_raw_bytes(public, Id::ED25519).unwrap();
    let mut verifier = Verifier::new_without_digest(&key).unwrap();
    verifier.verify_oneshot(signature, message).unwrap()
}

#[test]
fn openssl_verifies_the_signature_of_a_batch_and_of_nothing_else() {
    let key = SigningKey::from_seed(KeyUse::Sealing, [7; 32]);
    let record = sealed(&key);
    let statement = record.statement();
    let payload = statement.unverified_payload();
    let (public, signature) = (key.public().to_bytes(), statement.signature());
    let batch = "application/vnd.portcullis.batch.v1";
    let signed = pre_authentication_encoding(batch, payload);
    assert!(openssl_verifies(&public, &signed, signature));
    let other = pre_authentication_encoding("application/vnd.portcullis.frame.v1", payload);
    assert!(!openssl_verifies(&public, &other, signature));
    let mut flipped = signed;
    *flipped.last_mut().unwrap() ^= 1;
    assert!(!openssl_verifies(&public, &flipped, signature));
}

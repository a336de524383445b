//! Fuzz targets of the node's own decoders: the certificate that a peer shows in its handshake, and
//! the data that an operator, an analyst or another program hands in at the admin socket.
//!
//! `tests/tests/it/corpus.rs` includes this file and replays the corpus with it.

use std::{path::Path, sync::LazyLock};

use data_encoding::BASE64;
use portcullis_admin_api::{
    act::{ActVerifier, Enrolled, PersonAct},
    v1::act::DraftsView,
};
use portcullis_desk::import;
use portcullis_home::config::Config;
use portcullis_peering::certificate::{PeerCertificate, marking, next_update};
use portcullis_protocol::{
    keys::{KeyUse, SigningKey},
    seal::Draft,
    statement::SignedStatement,
    time::Timestamp,
    wire,
};
use portcullis_scoring::schema::Schema;
use prost::Message as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

const NOW: Timestamp = Timestamp::from_millis(1_614_585_600_000);

/// Parses a certificate as a peer shows it, before anything about the peer is known.
pub fn certificate(data: &[u8]) {
    let der = CertificateDer::from(data);
    if let Ok(read) = PeerCertificate::parse(&der) {
        assert!(!read.uri().is_empty() || !read.dns_name().is_empty());
        assert!(marking(&der).is_ok());
        // With one byte more it is no certificate any longer.
        let longer = [data, &[0]].concat();
        assert!(PeerCertificate::parse(&CertificateDer::from(longer)).is_err());
    }
}

/// Reads a revocation list as an operator puts it into `crl/`.
pub fn revocation(data: &[u8]) {
    let der = CertificateRevocationListDer::from(data);
    if let Ok(due) = next_update(&der) {
        assert_eq!(next_update(&der), Ok(due));
    }
}

/// Parses a configuration file.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Err(error) = Config::parse(Path::new("portcullis.toml"), text) {
        assert!(!error.to_string().is_empty());
    }
}

static SCHEMA: LazyLock<Schema> =
    LazyLock::new(|| Schema::parse(include_str!("../../data/customs-kr/schema.toml")).unwrap());

/// Reads a file of consignments. Compressed ones are left out: a fault found in them would be
/// gzip's.
pub fn consignments(data: &[u8]) {
    if data.starts_with(&[0x1f, 0x8b]) {
        return;
    }
    if let Ok(rows) = import::read(&SCHEMA, data, None, &|_| {}) {
        assert!(!rows.is_empty());
    }
}

/// Reads drafts as the admin API takes them.
pub fn drafts(data: &[u8]) {
    let Ok(DraftsView { drafts }) = serde_json::from_slice(data) else {
        return;
    };
    for view in drafts {
        if let Ok(draft) = Draft::try_from(view) {
            assert!(!draft.sections.is_empty());
        }
    }
}

/// Checks a statement that an enrolled person signs whatever it holds, and the same bytes in place
/// of the signed statement.
pub fn act(data: &[u8]) {
    let key = SigningKey::from_seed(KeyUse::Person, [3; 32]);
    let person = Enrolled {
        id: "anna".to_owned(),
        role: "analyst".to_owned(),
        public_key: key.public().to_bytes().to_vec(),
    };
    let verifier = ActVerifier {
        federation: &"test".parse().unwrap(),
        node: &"rotterdam".parse().unwrap(),
        now: NOW,
    };
    let statement = SignedStatement::sign::<PersonAct>(data.to_vec().into(), &key).unwrap();
    let signed = wire::SignedStatement::from(&statement).encode_to_vec();
    for text in [BASE64.encode(&signed), BASE64.encode(data)] {
        if let Ok(act) = verifier.verify(&text, b"{}", std::slice::from_ref(&person)) {
            assert_eq!(act.person.id, "anna");
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(verifier.verify(text, b"{}", &[]).is_err(), "nobody acts");
    }
}

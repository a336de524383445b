//! Tests of the making of a node, and of the check of its certificate.

use portcullis_home::{
    own_certificate::{
        CertificateFault, Own, PemError, certificate_authority, check_certificate,
        install_certificate, read_certificates,
    },
    secret::SecretError,
};
use std::{fs, path::Path};

use portcullis_certs_dev::{Defect, DevelopmentAuthority, NodeNames, certificate_pem};
use portcullis_protocol::register::Register;
use rustls_pki_types::{CertificateSigningRequestDer, UnixTime, pem::PemObject as _};

use super::*;
use portcullis_testbed::governance::Governance;

struct Bed {
    folder: tempfile::TempDir,
    home: Home,
}

fn bed() -> Bed {
    let folder = tempfile::tempdir().unwrap();
    files::create(
        &folder.path().join("passphrase"),
        b"four words in a row",
        Access::Owner,
    )
    .unwrap();
    let home = Home::new(folder.path().join("home"));
    Bed { folder, home }
}

impl Bed {
    fn node(&self) -> NewNode {
        NewNode {
            federation: "ports".parse().unwrap(),
            authority: "be-customs".parse().unwrap(),
            node: "antwerp".parse().unwrap(),
            dns_name: "antwerp.example".parse().unwrap(),
            listen: "127.0.0.1:7443".parse().unwrap(),
            register_pin: Digest::labelled("pin", &[]),
            key: KeySource::PassphraseFile(self.folder.path().join("passphrase")),
            metrics: Some("127.0.0.1:9999".parse().unwrap()),
            first_administrator: None,
            schema: None,
        }
    }

    /// Leaves the home as a process does that is killed after it wrote its keys.
    fn stopped_halfway(&self) -> Keyring {
        let keyring = init(&self.home, &self.node()).unwrap();
        fs::remove_file(self.home.config()).unwrap();
        fs::write(self.home.unfinished(), b"").unwrap();
        keyring
    }
}

fn now() -> jiff::Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn unix_now() -> UnixTime {
    let seconds = u64::try_from(now().as_second()).unwrap();
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
}

fn own() -> Own {
    Own {
        node: "antwerp".parse().unwrap(),
        dns_name: "antwerp.example".parse().unwrap(),
        uri: "urn:portcullis:ports:antwerp".into(),
    }
}

fn names() -> NodeNames {
    NodeNames::new("ports", "antwerp", "antwerp.example").unwrap()
}

fn request(home: &Home) -> CertificateSigningRequestDer<'static> {
    CertificateSigningRequestDer::from_pem_slice(&fs::read(home.certificate_request()).unwrap())
        .unwrap()
}

#[test]
fn init_leaves_a_configuration_that_says_what_was_given() {
    let bed = bed();
    init(&bed.home, &bed.node()).unwrap();
    let config = Config::of(&bed.home).unwrap();
    let node = bed.node();
    assert_eq!(config.authority, node.authority);
    assert_eq!(config.listen, node.listen);
    assert_eq!(config.register_pin, node.register_pin);
    assert_eq!(config.key, node.key);
    assert_eq!(Some(config.metrics), node.metrics);
    assert!(!bed.home.unfinished().exists());
    assert_eq!(files::mode(bed.home.folder()).unwrap(), 0o700);
}

#[test]
fn init_twice_is_refused_and_changes_nothing() {
    let bed = bed();
    let made = init(&bed.home, &bed.node()).unwrap();
    let before = fs::read(bed.home.config()).unwrap();
    let again = init(&bed.home, &bed.node()).unwrap_err();
    assert!(matches!(again, SetupError::AlreadyMade(_)), "{again}");
    assert_eq!(fs::read(bed.home.config()).unwrap(), before);
    let kept = Keyring::load(&bed.home, &bed.node().key).unwrap();
    assert_eq!(kept.public_keys(), made.public_keys());
    Config::of(&bed.home).unwrap();
}

#[test]
fn keys_without_a_configuration_are_not_overwritten_either() {
    let bed = bed();
    init(&bed.home, &bed.node()).unwrap();
    fs::remove_file(bed.home.config()).unwrap();
    let again = init(&bed.home, &bed.node()).unwrap_err();
    assert!(matches!(again, SetupError::AlreadyMade(_)), "{again}");
}

#[test]
fn an_init_that_was_stopped_is_no_node_and_starts_anew() {
    let bed = bed();
    let lost = bed.stopped_halfway();
    let refused = Config::of(&bed.home).unwrap_err();
    assert!(matches!(refused, ConfigError::Unfinished(_)), "{refused}");
    let made = init(&bed.home, &bed.node()).unwrap();
    assert_ne!(made.public_keys(), lost.public_keys());
    Config::of(&bed.home).unwrap();
    kept::open(&bed.home, &made).unwrap();
}

#[test]
fn two_at_once_make_one_node() {
    let bed = bed();
    files::create_folder(bed.home.folder()).unwrap();
    let held = begin(&bed.home).unwrap();
    let second = init(&bed.home, &bed.node()).unwrap_err();
    assert!(matches!(second, SetupError::Running(_)), "{second}");
    end(&bed.home, held).unwrap();
    init(&bed.home, &bed.node()).unwrap();
}

#[test]
fn without_a_passphrase_not_even_a_folder_is_made() {
    let bed = bed();
    let node = NewNode {
        key: KeySource::PassphraseFile(bed.folder.path().join("none")),
        ..bed.node()
    };
    let refused = init(&bed.home, &node).unwrap_err();
    assert!(matches!(
        refused,
        SetupError::Keyring(KeyringError::Secret(SecretError::File(
            FileError::Missing { .. }
        )))
    ));
    assert!(!bed.home.folder().exists());
}

#[test]
fn the_request_asks_for_exactly_one_dns_name_and_one_uri() {
    let bed = bed();
    init(&bed.home, &bed.node()).unwrap();
    // The development CA refuses a request with other names, and one that its key did not sign.
    let authority = DevelopmentAuthority::new("belgium", now()).unwrap();
    authority
        .sign_request(&request(&bed.home), &names(), now())
        .unwrap();
}

/// A node with a request, its CA and the register that lists it.
struct Certified {
    bed: Bed,
    keyring: Keyring,
    authority: DevelopmentAuthority,
}

fn certified() -> Certified {
    let bed = bed();
    let keyring = init(&bed.home, &bed.node()).unwrap();
    let authority = DevelopmentAuthority::new("belgium", now()).unwrap();
    Certified {
        bed,
        keyring,
        authority,
    }
}

impl Certified {
    fn file(&self, text: &str) -> PathBuf {
        let path = self.bed.folder.path().join("cert.pem");
        fs::write(&path, text).unwrap();
        path
    }

    fn signed(&self) -> PathBuf {
        let certificate = self
            .authority
            .sign_request(&request(&self.bed.home), &names(), now())
            .unwrap();
        self.file(&certificate_pem(&certificate))
    }

    fn register(&self, anchor: &DevelopmentAuthority, development: bool) -> Register {
        let mut register = Governance::new().epoch(None, 1_000);
        register.federation = "ports".parse().unwrap();
        register.development = development;
        let authority = portcullis_protocol::register::Authority {
            id: "be-customs".parse().unwrap(),
            name: "Customs".into(),
            kind: portcullis_protocol::register::AuthorityKind::Customs,
            country: "BE".parse().unwrap(),
            group: "be".into(),
            regime: portcullis_protocol::register::LegalRegime::Led,
            communities: Vec::new(),
            clients: Vec::new(),
            nodes: vec![portcullis_protocol::register::Node {
                id: "antwerp".parse().unwrap(),
                dns_name: "antwerp.example".into(),
                endpoint: "antwerp.example:7443".into(),
                trust_anchor: anchor.certificate().to_vec(),
                keys: Vec::new(),
            }],
            contact: String::new(),
        };
        register.authorities.insert(authority.id.clone(), authority);
        register
    }

    fn install(&self, path: &Path, register: Option<&Register>) -> Result<(), CertificateFault> {
        let home = &self.bed.home;
        install_certificate(home, path, &self.keyring, &own(), register, unix_now()).map(drop)
    }
}

#[test]
fn the_certificate_of_the_own_request_is_installed() {
    let node = certified();
    let path = node.signed();
    node.install(&path, Some(&node.register(&node.authority, true)))
        .unwrap();
    let chain = read_certificates(&node.bed.home.certificate()).unwrap();
    assert_eq!(chain, read_certificates(&path).unwrap());
}

#[track_caller]
fn refused(node: &Certified, path: &Path, register: Option<&Register>, says: &str) {
    let error = node.install(path, register).unwrap_err();
    assert!(error.to_string().contains(says), "{error}");
    assert!(!node.bed.home.certificate().exists());
}

#[test]
fn a_certificate_for_another_key_is_refused() {
    let node = certified();
    let other = node.authority.issue(&names(), now()).unwrap();
    let path = node.file(&certificate_pem(&other.certificate));
    refused(&node, &path, None, "does not belong to the certificate");
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let node = certified();
    let other = DevelopmentAuthority::new("elsewhere", now()).unwrap();
    let register = node.register(&other, true);
    refused(&node, &node.signed(), Some(&register), "does not hold");
}

#[test]
fn a_development_certificate_is_refused_outside_a_development_federation() {
    let node = certified();
    let register = node.register(&node.authority, false);
    refused(&node, &node.signed(), Some(&register), "development");
}

#[test]
fn a_certificate_that_has_ended_is_refused() {
    let node = certified();
    let path = node.signed();
    let later = UnixTime::since_unix_epoch(std::time::Duration::from_secs(
        unix_now().as_secs() + 100 * 86_400,
    ));
    let fault = install_certificate(&node.bed.home, &path, &node.keyring, &own(), None, later);
    assert!(
        matches!(fault, Err(CertificateFault::Ended(_))),
        "{fault:?}"
    );
}

#[test]
fn a_certificate_with_other_names_is_refused() {
    let node = certified();
    let other = Own {
        dns_name: "ghent.example".parse().unwrap(),
        ..own()
    };
    let chain = read_certificates(&node.signed()).unwrap();
    let fault = check_certificate(
        &chain,
        node.keyring.tls_key(&chain),
        &other,
        None,
        unix_now(),
    );
    assert!(matches!(fault, Err(CertificateFault::Names { .. })));
    let defective = node
        .authority
        .issue_defective(&names(), &Defect::NoUriName, now())
        .unwrap();
    let path = node.file(&certificate_pem(&defective.certificate));
    refused(&node, &path, None, "0 URIs");
}

#[test]
fn a_file_that_is_no_certificate_is_named() {
    let node = certified();
    let path = node.file("hello");
    refused(&node, &path, None, "cert.pem");
}

#[test]
fn a_nodes_certificate_is_not_that_of_a_ca() {
    let node = certified();
    let fault = certificate_authority(&node.signed()).unwrap_err();
    assert!(matches!(fault, PemError::NotAuthority(_)), "{fault}");
    let anchor = node.file(&node.authority.certificate_pem());
    let der = certificate_authority(&anchor).unwrap();
    assert_eq!(&der, node.authority.certificate());
    // The same certificate in DER is read as well.
    let path = node.bed.folder.path().join("ca.der");
    fs::write(&path, &der).unwrap();
    assert_eq!(certificate_authority(&path).unwrap(), der);
}

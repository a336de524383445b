//! Tests of admission, from a node's home to a register that lists it, with files alone.

use std::path::{Path, PathBuf};

use portcullis_certs_dev::DevelopmentAuthority;
use portcullis_protocol::{
    register::{AuthorityKind, LegalRegime, MembershipRequest, SignedRegister},
    rules::Rule,
    time::Timestamp,
    verify::KeyStanding,
};

use super::*;
use crate::{
    Home,
    config::Config,
    files::{self, Access},
    keyring::Keyring,
    secret::KeySource,
};
use portcullis_testbed::governance::Governance;

const NOW: Timestamp = Timestamp::from_millis(1_772_366_400_000);

const CHANGES: Admission = Admission::Changes { overlap_ms: 9 };

pub(crate) struct Applicant {
    pub(crate) home: Home,
    pub(crate) keyring: Keyring,
    pub(crate) config: Config,
}

fn applicant(folder: &Path, authority: &str, node: &str) -> Applicant {
    let passphrase = folder.join("passphrase");
    files::replace(&passphrase, b"four words in a row", Access::Owner).unwrap();
    let home = Home::new(folder.join(node));
    files::create_folder(home.keys().parent().unwrap()).unwrap();
    let keyring = Keyring::create(&home, &KeySource::PassphraseFile(passphrase.clone())).unwrap();
    let pin = portcullis_protocol::digest::Digest::labelled("pin", &[]);
    let text = format!(
        "federation = \"eu-ports\"\nauthority = \"{authority}\"\nnode = \"{node}\"\n\
         dns_name = \"{node}.example\"\nlisten = \"127.0.0.1:0\"\nregister_pin = \"{pin}\"\n\
         [key]\npassphrase_file = \"{}\"\n",
        passphrase.display()
    );
    let config = Config::parse(&home.config(), &text).unwrap();
    Applicant {
        home,
        keyring,
        config,
    }
}

fn facts(node: &str) -> MemberFacts {
    let authority = DevelopmentAuthority::new("belgium", "2026-03-01T12:00:00Z".parse().unwrap());
    MemberFacts {
        name: "Customs of Belgium".into(),
        kind: AuthorityKind::Customs,
        country: "BE".parse().unwrap(),
        group: "be-finance".into(),
        regime: LegalRegime::Led,
        communities: vec!["europe".into()],
        clients: Vec::new(),
        contact: "duty officer".into(),
        endpoint: format!("{node}.example:7443"),
        trust_anchor: authority.unwrap().certificate().to_vec(),
    }
}

impl Applicant {
    fn request(&self, folder: &Path, facts: MemberFacts) -> PathBuf {
        let bytes = make_request(&self.config, &self.keyring, facts, NOW).unwrap();
        let path = folder.join(format!("{}.request", self.config.node));
        files::replace(&path, &bytes, Access::Everyone).unwrap();
        path
    }
}

fn asked(folder: &Path, authority: &str, node: &str) -> MembershipRequest {
    let path = applicant(folder, authority, node).request(folder, facts(node));
    read_request(&path).unwrap()
}

fn admit_one(
    governance: &Governance,
    present: &SignedRegister,
    request: MembershipRequest,
    admission: Admission,
) -> Result<SignedRegister, AdmitError> {
    let (mut next, _) = admit(present, vec![request], admission, NOW)?;
    for key in &governance.keys[..2] {
        sign(&mut next, Some(present), key).unwrap();
    }
    Ok(next)
}

#[test]
fn a_node_that_asked_is_listed_with_its_keys_and_its_anchor() {
    let governance = Governance::new();
    let folder = governance.folder.path();
    let first = governance.next(None);
    let applicant = applicant(folder, "be-customs", "antwerp");
    let path = applicant.request(folder, facts("antwerp"));
    let request = read_request(&path).unwrap();
    let next = admit_one(&governance, &first, request, Admission::NewOnly).unwrap();
    let files = [governance.file("1", &first), governance.file("2", &next)];
    let verified = install(&applicant.home, &first.digest(), &files).unwrap();
    let (authority, node) = verified.register().node(&applicant.config.node).unwrap();
    assert_eq!(authority.name, "Customs of Belgium");
    assert_eq!(node.dns_name, "antwerp.example");
    let listed: Vec<_> = node.keys.iter().map(|key| key.public.clone()).collect();
    assert_eq!(listed, applicant.keyring.public_keys());
}

#[test]
fn a_request_of_which_any_bit_was_changed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let applicant = applicant(folder.path(), "be-customs", "antwerp");
    let path = applicant.request(folder.path(), facts("antwerp"));
    let good = std::fs::read(&path).unwrap();
    for bit in (0..good.len() * 8).step_by(7) {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, bytes).unwrap();
        assert!(read_request(&path).is_err(), "bit {bit}");
    }
}

#[test]
fn a_present_epoch_with_too_few_signatures_is_not_built_upon() {
    let governance = Governance::new();
    let first = governance.signed(&governance.epoch(None, 1_000), &[0]);
    let request = asked(governance.folder.path(), "be-customs", "antwerp");
    let refused = admit(&first, vec![request], Admission::NewOnly, NOW).unwrap_err();
    assert_eq!(refused.rule(), Some(Rule::RegisterSignatures));
}

#[test]
fn a_request_to_another_federation_is_refused() {
    let governance = Governance::new();
    let first = governance.next(None);
    let request = MembershipRequest {
        federation: "other".parse().unwrap(),
        ..asked(governance.folder.path(), "be-customs", "antwerp")
    };
    let refused = admit(&first, vec![request], Admission::NewOnly, NOW).unwrap_err();
    assert_eq!(refused.rule(), Some(Rule::RegisterFederation));
}

#[test]
fn a_member_is_changed_only_if_that_is_asked_for() {
    let governance = Governance::new();
    let folder = governance.folder.path();
    let first = governance.next(None);
    let request = asked(folder, "be-customs", "antwerp");
    let second = admit_one(&governance, &first, request, Admission::NewOnly).unwrap();

    let renewed = tempfile::tempdir().unwrap();
    let request = asked(renewed.path(), "be-customs", "antwerp");
    let refused = admit_one(&governance, &second, request.clone(), Admission::NewOnly);
    assert!(matches!(refused, Err(AdmitError::Listed(_))));
    let third = admit_one(&governance, &second, request, CHANGES).unwrap();
    let register = third.unverified().unwrap();
    let (_, node) = register.node(&"antwerp".parse().unwrap()).unwrap();
    // Four keys are in force, and the four former ones are retired: records that they sealed stay
    // verifiable.
    let standing: Vec<_> = node.keys.iter().map(|key| key.standing()).collect();
    assert_eq!(standing[..4], [KeyStanding::InForce; 4]);
    assert_eq!(
        standing[4..],
        [KeyStanding::RetiredSince(NOW.plus_millis(9)); 4]
    );
}

/// A request of before the keys were exchanged took the new keys out of force, and left the node without one.
#[test]
fn a_request_of_before_its_keys_were_exchanged_is_refused() {
    let governance = Governance::new();
    let first = governance.next(None);
    let old = asked(governance.folder.path(), "be-customs", "antwerp");
    let second = admit_one(&governance, &first, old.clone(), Admission::NewOnly).unwrap();
    // The same request once more changes nothing, and harms nothing.
    let same = admit_one(&governance, &second, old.clone(), CHANGES).unwrap();
    let renewed = tempfile::tempdir().unwrap();
    let new = asked(renewed.path(), "be-customs", "antwerp");
    let third = admit_one(&governance, &same, new, CHANGES).unwrap();
    let refused = admit_one(&governance, &third, old, CHANGES).unwrap_err();
    assert!(matches!(refused, AdmitError::EndedKey { .. }), "{refused}");
}

#[test]
fn a_second_node_joins_the_first() {
    let governance = Governance::new();
    let folder = governance.folder.path();
    let first = governance.next(None);
    let request = asked(folder, "be-customs", "antwerp");
    let second = admit_one(&governance, &first, request, Admission::NewOnly).unwrap();
    let request = asked(folder, "be-customs", "ghent");
    let third = admit_one(&governance, &second, request, CHANGES).unwrap();
    let register = third.unverified().unwrap();
    assert!(register.node(&"antwerp".parse().unwrap()).is_some());
    assert!(register.node(&"ghent".parse().unwrap()).is_some());
}

#[test]
fn a_node_of_another_member_cannot_be_taken_over() {
    let governance = Governance::new();
    let first = governance.next(None);
    let request = asked(governance.folder.path(), "be-customs", "antwerp");
    let second = admit_one(&governance, &first, request, Admission::NewOnly).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let request = asked(elsewhere.path(), "nl-customs", "antwerp");
    let refused = admit_one(&governance, &second, request, CHANGES).unwrap_err();
    assert_eq!(refused.rule(), Some(Rule::RegisterContent));
}

#[test]
fn facts_that_cannot_stand_in_a_register_make_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let applicant = applicant(folder.path(), "be-customs", "antwerp");
    let wrong = MemberFacts {
        endpoint: "no port".into(),
        ..facts("antwerp")
    };
    let refused = make_request(&applicant.config, &applicant.keyring, wrong, NOW).unwrap_err();
    assert!(refused.to_string().contains("endpoint"), "{refused}");
}

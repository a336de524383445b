//! The development PKI as OpenSSL sees it: chains and revocation lists, verified by an implementation that shares no
//! code with the one that made them.

use jiff::Timestamp;
use openssl::ssl::SslFiletype;
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{CrlStatus, X509, X509Crl, X509PurposeId, X509StoreContext, X509VerifyResult};
use portcullis_certs_dev::{
    Defect, DevelopmentAuthority, NodeCertificate, NodeKey, NodeNames, Period, certificate_pem,
    revocation_list_pem,
};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

// The codes of `x509_vfy.h`, which the openssl crate does not name.
const CERT_SIGNATURE_FAILURE: i32 = 7;
const CERT_NOT_YET_VALID: i32 = 9;
const CERT_HAS_EXPIRED: i32 = 10;
const CRL_HAS_EXPIRED: i32 = 12;
const UNABLE_TO_GET_ISSUER_CERT_LOCALLY: i32 = 20;
const CERT_REVOKED: i32 = 23;
const UNSUITABLE_PURPOSE: i32 = 26;

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn names() -> NodeNames {
    NodeNames::new("ports", "rotterdam", "rotterdam.example").unwrap()
}

fn authority() -> DevelopmentAuthority {
    DevelopmentAuthority::new("netherlands", now()).unwrap()
}

fn x509(der: &CertificateDer<'_>) -> X509 {
    X509::from_der(der).unwrap()
}

/// Returns a store that trusts `anchor` alone, checks strictly at the time of [`now`], and consults `list`, if it is
/// given, for revocations.
fn store(
    anchor: &CertificateDer<'_>,
    list: Option<&CertificateRevocationListDer<'_>>,
) -> X509Store {
    let mut store = X509StoreBuilder::new().unwrap();
    store.add_cert(x509(anchor)).unwrap();
    let mut param = X509VerifyParam::new().unwrap();
    param.set_time(now().as_second());
    param.set_flags(X509VerifyFlags::X509_STRICT).unwrap();
    if let Some(list) = list {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), revocation_list_pem(list)).unwrap();
        let lookup = store
            .add_lookup(openssl::x509::store::X509Lookup::file())
            .unwrap();
        lookup.load_crl_file(file.path(), SslFiletype::PEM).unwrap();
        param.set_flags(X509VerifyFlags::CRL_CHECK).unwrap();
    }
    store.set_param(&param).unwrap();
    store.build()
}

fn verdict(store: &X509Store, certificate: &CertificateDer<'_>) -> X509VerifyResult {
    let mut context = X509StoreContext::new().unwrap();
    context
        .init(
            store,
            &x509(certificate),
            &Stack::new().unwrap(),
            |context| {
                context.verify_cert()?;
                Ok(context.error())
            },
        )
        .unwrap()
}

#[track_caller]
fn assert_verdict(store: &X509Store, certificate: &NodeCertificate, expected: i32) {
    let verdict = verdict(store, &certificate.certificate);
    assert_eq!(verdict.as_raw(), expected, "{}", verdict.error_string());
}

const OK: i32 = 0;

#[test]
fn a_node_certificate_verifies_strictly_against_its_own_authority() {
    let authority = authority();
    let node = authority.issue(&names(), now()).unwrap();
    assert_verdict(&store(authority.certificate(), None), &node, OK);
}

#[test]
fn a_certificate_made_from_a_request_verifies_for_both_uses() {
    let (authority, key) = (authority(), NodeKey::generate().unwrap());
    let signed = authority
        .sign_request(&key.request(&names()).unwrap(), &names(), now())
        .unwrap();
    for purpose in [X509PurposeId::SSL_CLIENT, X509PurposeId::SSL_SERVER] {
        let mut store = X509StoreBuilder::new().unwrap();
        store.add_cert(x509(authority.certificate())).unwrap();
        store.set_purpose(purpose).unwrap();
        let mut param = X509VerifyParam::new().unwrap();
        param.set_time(now().as_second());
        store.set_param(&param).unwrap();
        assert_eq!(verdict(&store.build(), &signed), X509VerifyResult::OK);
    }
}

#[test]
fn a_certificate_for_signing_code_is_of_no_use_here() {
    let authority = authority();
    let odd = authority
        .issue_defective(&names(), &Defect::WrongExtendedKeyUsage, now())
        .unwrap();
    let mut store = X509StoreBuilder::new().unwrap();
    store.add_cert(x509(authority.certificate())).unwrap();
    let mut param = X509VerifyParam::new().unwrap();
    param.set_time(now().as_second());
    param.set_purpose(X509PurposeId::SSL_CLIENT).unwrap();
    store.set_param(&param).unwrap();
    assert_verdict(&store.build(), &odd, UNSUITABLE_PURPOSE);
}

#[test]
fn another_authority_vouches_for_no_one() {
    let node = authority().issue(&names(), now()).unwrap();
    let belgium = DevelopmentAuthority::new("belgium", now()).unwrap();
    assert_verdict(
        &store(belgium.certificate(), None),
        &node,
        UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
    );
}

#[test]
fn an_authority_of_the_same_name_vouches_for_no_one() {
    // The key identifiers differ. OpenSSL either does not take the twin for the issuer, or fails the signature.
    let node = authority().issue(&names(), now()).unwrap();
    let verdict = verdict(&store(authority().certificate(), None), &node.certificate).as_raw();
    assert!(
        [UNABLE_TO_GET_ISSUER_CERT_LOCALLY, CERT_SIGNATURE_FAILURE].contains(&verdict),
        "{verdict}"
    );
}

#[test]
fn expired_and_early_certificates_are_what_they_say() {
    let authority = authority();
    let store = store(authority.certificate(), None);
    let with = |defect| authority.issue_defective(&names(), &defect, now()).unwrap();
    assert_verdict(&store, &with(Defect::Expired), CERT_HAS_EXPIRED);
    assert_verdict(&store, &with(Defect::NotYetValid), CERT_NOT_YET_VALID);
}

#[test]
fn a_revocation_list_ends_the_one_it_names_and_no_other() {
    let authority = authority();
    let (revoked, kept) = (
        authority.issue(&names(), now()).unwrap(),
        authority.issue(&names(), now()).unwrap(),
    );
    let list = authority
        .revocation_list(1, std::slice::from_ref(&revoked.serial), now())
        .unwrap();
    let store = store(authority.certificate(), Some(&list));
    assert_verdict(&store, &revoked, CERT_REVOKED);
    assert_verdict(&store, &kept, OK);
}

#[test]
fn a_revocation_list_past_its_next_update_is_past_it() {
    let authority = authority();
    let node = authority.issue(&names(), now()).unwrap();
    let list = authority
        .revocation_list_lasting(1, &[], Period::ended(now()).unwrap())
        .unwrap();
    assert_verdict(
        &store(authority.certificate(), Some(&list)),
        &node,
        CRL_HAS_EXPIRED,
    );
}

#[test]
fn a_revocation_list_is_signed_by_its_authority_and_holds_the_serial() {
    let authority = authority();
    let node = authority.issue(&names(), now()).unwrap();
    let list = authority
        .revocation_list(1, std::slice::from_ref(&node.serial), now())
        .unwrap();
    let list = X509Crl::from_der(&list).unwrap();
    assert!(
        list.verify(&x509(authority.certificate()).public_key().unwrap())
            .unwrap()
    );
    assert!(matches!(
        list.get_by_cert(&x509(&node.certificate)),
        CrlStatus::Revoked(_)
    ));
    assert!(list.next_update().is_some());
}

#[test]
fn openssl_reads_the_two_names_and_the_curve() {
    let node = authority().issue(&names(), now()).unwrap();
    let certificate = X509::from_pem(certificate_pem(&node.certificate).as_bytes()).unwrap();
    let names = certificate.subject_alt_names().unwrap();
    let dns: Vec<&str> = names.iter().filter_map(|name| name.dnsname()).collect();
    let uris: Vec<&str> = names.iter().filter_map(|name| name.uri()).collect();
    assert_eq!(
        (dns, uris),
        (
            vec!["rotterdam.example"],
            vec!["urn:portcullis:ports:rotterdam"]
        )
    );
    let key = certificate.public_key().unwrap().ec_key().unwrap();
    assert_eq!(
        key.group().curve_name(),
        Some(openssl::nid::Nid::X9_62_PRIME256V1)
    );
}

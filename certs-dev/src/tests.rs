//! Checks the development PKI's output, read back by another library (x509-parser).

use crate::{
    DEVELOPMENT_OID_TEXT, Defect, DevelopmentAuthority, Error, NodeKey, NodeNames, Serial,
    certificate_pem,
};
use jiff::Timestamp;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn authority() -> DevelopmentAuthority {
    DevelopmentAuthority::new("customs-40", now()).unwrap()
}

fn names(node: &str) -> NodeNames {
    NodeNames::new("ports", node, &format!("{node}.example")).unwrap()
}

fn parse(der: &[u8]) -> X509Certificate<'_> {
    let (rest, certificate) = X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty());
    certificate
}

fn alternative_names(certificate: &X509Certificate<'_>) -> (Vec<String>, Vec<String>) {
    let (mut dns, mut uris) = (Vec::new(), Vec::new());
    let Some(extension) = certificate.subject_alternative_name().unwrap() else {
        return (dns, uris);
    };
    for name in &extension.value.general_names {
        if let GeneralName::DNSName(name) = name {
            dns.push((*name).to_owned());
        } else if let GeneralName::URI(name) = name {
            uris.push((*name).to_owned());
        } else {
            panic!("unexpected name {name:?}");
        }
    }
    (dns, uris)
}

fn is_marked(certificate: &X509Certificate<'_>) -> bool {
    certificate.extensions().iter().any(|extension| {
        extension.oid.to_id_string() == DEVELOPMENT_OID_TEXT && !extension.critical
    })
}

#[test]
fn an_authority_says_that_it_is_worthless_and_may_only_certify() {
    let authority = authority();
    let certificate = parse(authority.certificate());
    let common_name = certificate
        .subject()
        .iter_common_name()
        .next()
        .unwrap()
        .as_str()
        .unwrap();
    assert_eq!(common_name, "WORTHLESS DEVELOPMENT CA customs-40");
    assert!(is_marked(&certificate));
    let constraints = certificate.basic_constraints().unwrap().unwrap().value;
    assert!(constraints.ca);
    assert_eq!(constraints.path_len_constraint, Some(0));
    let usage = certificate.key_usage().unwrap().unwrap().value;
    assert!(usage.key_cert_sign() && usage.crl_sign() && !usage.digital_signature());
}

#[test]
fn a_node_has_one_dns_name_one_uri_and_both_uses() {
    let authority = authority();
    let node = authority.issue(&names("antwerp"), now()).unwrap();
    let certificate = parse(&node.certificate);
    let expected = (
        vec!["antwerp.example".to_owned()],
        vec!["urn:portcullis:ports:antwerp".to_owned()],
    );
    assert_eq!(alternative_names(&certificate), expected);
    let extended = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && extended.client_auth && !extended.any);
    assert!(!certificate.is_ca() && is_marked(&certificate));
    assert_eq!(certificate.raw_serial(), node.serial.octets());
    assert_eq!(
        certificate.validity().not_after.timestamp(),
        now().as_second() + 90 * 86_400
    );
    certificate
        .verify_signature(Some(parse(authority.certificate()).public_key()))
        .unwrap();
}

#[test]
fn the_same_key_gets_a_new_serial_at_renewal() {
    let (authority, key) = (authority(), NodeKey::generate().unwrap());
    let request = key.request(&names("antwerp")).unwrap();
    let first = authority
        .sign_request(&request, &names("antwerp"), now())
        .unwrap();
    let second = authority
        .sign_request(&request, &names("antwerp"), now())
        .unwrap();
    assert_ne!(parse(&first).raw_serial(), parse(&second).raw_serial());
    assert_eq!(parse(&first).public_key(), parse(&second).public_key());
}

#[test]
fn a_request_for_another_node_is_refused() {
    let request = NodeKey::generate()
        .unwrap()
        .request(&names("rotterdam"))
        .unwrap();
    let refusal = authority()
        .sign_request(&request, &names("antwerp"), now())
        .unwrap_err();
    assert!(matches!(refusal, Error::OtherNames { .. }), "{refusal:?}");
}

/// DER of the AlgorithmIdentifier ecdsa-with-SHA256 (RFC 5758 §3.2). It follows the signed part. Like the tag of the
/// signature after it, it is itself not signed.
const ECDSA_WITH_SHA256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";

#[test]
fn a_request_with_a_flipped_bit_is_refused() {
    let request = NodeKey::generate()
        .unwrap()
        .request(&names("antwerp"))
        .unwrap();
    let authority = authority();
    let signed = request
        .windows(ECDSA_WITH_SHA256.len())
        .position(|octets| octets == ECDSA_WITH_SHA256)
        .unwrap();
    for at in (0..signed).chain(request.len() - 32..request.len()) {
        let mut octets = request.to_vec();
        octets[at] ^= 0x01;
        let answer = authority.sign_request(&octets.into(), &names("antwerp"), now());
        assert!(answer.is_err(), "octet {at} may be flipped");
    }
}

#[test]
fn a_revocation_list_names_the_serial_and_when_it_must_be_renewed() {
    let authority = authority();
    let serial = authority.issue(&names("antwerp"), now()).unwrap().serial;
    let der = authority
        .revocation_list(7, std::slice::from_ref(&serial), now())
        .unwrap();
    let (_, list) = CertificateRevocationList::from_der(&der).unwrap();
    let revoked: Vec<Serial> = list
        .iter_revoked_certificates()
        .map(|entry| Serial::from_octets(entry.raw_serial()))
        .collect();
    assert_eq!(revoked, [serial]);
    assert_eq!(
        list.next_update().unwrap().timestamp(),
        now().as_second() + 30 * 86_400
    );
    assert_eq!(list.crl_number().unwrap().to_string(), "7");
    list.verify_signature(parse(authority.certificate()).public_key())
        .unwrap();
}

#[test]
fn an_authority_taken_up_from_its_files_signs_as_before() {
    let first = authority();
    let again = DevelopmentAuthority::from_pem(&first.certificate_pem(), &first.key_pem()).unwrap();
    let node = again.issue(&names("antwerp"), now()).unwrap();
    let certificate = parse(&node.certificate);
    let anchor = parse(first.certificate());
    certificate
        .verify_signature(Some(anchor.public_key()))
        .unwrap();
    assert_eq!(certificate.issuer(), anchor.subject());
}

#[test]
fn each_defect_is_the_one_it_says() {
    let authority = authority();
    let make = |defect: Defect| {
        authority
            .issue_defective(&names("antwerp"), &defect, now())
            .unwrap()
            .certificate
    };
    let count = |der: &[u8]| {
        let (dns, uris) = alternative_names(&parse(der));
        (dns.len(), uris.len())
    };
    assert_eq!(
        count(&make(Defect::TwoUriNames(names("rotterdam")))),
        (1, 2)
    );
    assert_eq!(count(&make(Defect::NoUriName)), (1, 0));
    assert_eq!(
        count(&make(Defect::TwoDnsNames(names("rotterdam")))),
        (2, 1)
    );
    assert_eq!(count(&make(Defect::NoDnsName)), (0, 1));
    assert!(
        parse(&make(Defect::Expired))
            .validity()
            .not_after
            .timestamp()
            < now().as_second()
    );
    assert!(
        parse(&make(Defect::NotYetValid))
            .validity()
            .not_before
            .timestamp()
            > now().as_second()
    );
    assert!(!is_marked(&parse(&make(Defect::Unmarked))));
    let wrong = make(Defect::WrongExtendedKeyUsage);
    let wrong = parse(&wrong);
    let extended = wrong.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.code_signing && !extended.server_auth && !extended.client_auth);
    let usage = make(Defect::WrongKeyUsage);
    assert!(
        !parse(&usage)
            .key_usage()
            .unwrap()
            .unwrap()
            .value
            .digital_signature()
    );
}

#[test]
fn no_private_key_shows_in_debug_output() {
    let authority = authority();
    let node = authority.issue(&names("antwerp"), now()).unwrap();
    let shown = format!("{authority:?} {node:?} {:#?}", node.key);
    assert!(shown.contains("NodeKey(..)"));
    for pem in [authority.key_pem(), node.key.pem()] {
        let inside = pem.lines().nth(1).unwrap();
        assert!(!shown.contains(inside));
    }
    let private = node.key.der();
    assert!(!shown.contains(&format!("{:?}", private.secret_der())));
    assert!(certificate_pem(&node.certificate).starts_with("-----BEGIN CERTIFICATE-----\n"));
}

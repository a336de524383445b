//! Judgement of certificates by a snapshot, apart from any connection.

use std::time::Duration;

use jiff::ToSpan;
use portcullis_certs_dev::{Defect, NodeCertificate, Period};
use portcullis_protocol::rules::Rule;
use rustls_pki_types::UnixTime;

use super::testbed::*;
use crate::trust::{DevelopmentCertificates, PeerFacts, PeerTrust, Refusal, Role, TrustError};

fn judge(
    federation: &Federation,
    snapshot: &PeerTrust,
    shown: &NodeCertificate,
) -> Result<(), Refusal> {
    use rustls::time_provider::TimeProvider as _;
    let time = federation.clock.current_time().unwrap();
    snapshot
        .judge(Role::Client, &shown.certificate, &[], time)
        .map(drop)
}

#[test]
fn rg_09_a_worthless_certificate_is_refused_outside_a_development_federation() {
    let federation = Federation::new();
    let strict =
        PeerTrust::new([federation.rotterdam()], DevelopmentCertificates::Refused).unwrap();
    let marked = federation.good_certificate();
    let refusal = judge(&federation, &strict, &marked).unwrap_err();
    assert!(matches!(refusal, Refusal::Development { .. }));
    assert_eq!(refusal.rule(), Rule::DevelopmentKeys);
    // Leaving the mark out of the node's certificate does not help: its authority carries it.
    let unmarked = federation
        .netherlands
        .issue_defective(&names("rotterdam"), &Defect::Unmarked, now())
        .unwrap();
    assert!(matches!(
        judge(&federation, &strict, &unmarked),
        Err(Refusal::Development { .. })
    ));
}

#[test]
fn tl_01_another_dns_name_than_the_registers_is_refused() {
    let federation = Federation::new();
    let snapshot = federation.snapshot(PeerFacts {
        dns_name: "elsewhere.example".to_owned(),
        ..federation.rotterdam()
    });
    let refusal = judge(&federation, &snapshot, &federation.good_certificate()).unwrap_err();
    assert!(matches!(refusal, Refusal::OtherDnsName { .. }), "{refusal}");
    assert_eq!(refusal.rule(), Rule::PeerCertificate);
}

#[test]
fn tl_02_a_revoked_certificate_is_refused_and_so_is_one_without_a_list_in_force() {
    let federation = Federation::new();
    let good = federation.good_certificate();
    let revoked = std::slice::from_ref(&good.serial);
    let ended = Period::ended(now()).unwrap();
    for list in [
        federation.netherlands.revocation_list(1, revoked, now()),
        federation
            .netherlands
            .revocation_list_lasting(1, &[], ended),
        federation.belgium.revocation_list(1, &[], now()),
    ] {
        let snapshot = federation.snapshot(federation.rotterdam_with(list.unwrap()));
        let refusal = judge(&federation, &snapshot, &good).unwrap_err();
        assert_eq!(refusal.rule(), Rule::PeerRevoked, "{refusal}");
    }
}

#[test]
fn a_uri_that_the_register_does_not_know_is_refused() {
    let federation = Federation::new();
    let stranger = federation
        .netherlands
        .issue(&names("piraeus"), now())
        .unwrap();
    let refusal = judge(
        &federation,
        &federation.snapshot(federation.rotterdam()),
        &stranger,
    )
    .unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "no node in the register has the URI `urn:portcullis:ports:piraeus`; \
         check that both nodes hold the newest register"
    );
}

#[test]
fn two_nodes_cannot_share_a_uri_or_an_id() {
    let federation = Federation::new();
    let same_uri = PeerFacts {
        uri: federation.antwerp().uri,
        ..federation.rotterdam()
    };
    let same_id = PeerFacts {
        node: node("antwerp"),
        ..federation.rotterdam()
    };
    for second in [same_uri, same_id, federation.antwerp()] {
        let made = PeerTrust::new(
            [federation.antwerp(), second],
            DevelopmentCertificates::Accepted,
        );
        assert!(matches!(made, Err(TrustError::Shared { .. })));
    }
}

#[test]
fn a_judgement_holds_no_longer_than_the_revocation_list() {
    let federation = Federation::new();
    let due = now() + 2.hours();
    let list = federation
        .netherlands
        .revocation_list_lasting(1, &[], Period::new(now(), due).unwrap())
        .unwrap();
    let snapshot = federation.snapshot(federation.rotterdam_with(list));
    let certificate = federation.good_certificate().certificate;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(now().as_second().unsigned_abs()));
    let judged = snapshot
        .judge(Role::Server, &certificate, &[], time)
        .unwrap();
    assert_eq!(judged.holds_until, due);
    assert_eq!(judged.certificate_expiry, now() + (24 * 90).hours());
}

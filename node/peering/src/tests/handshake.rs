//! Callers that the listener refuses, and listeners that a caller refuses.

use std::sync::Arc;

use portcullis_certs_dev::{Defect, DevelopmentAuthority, NodeCertificate, Period};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, SignatureScheme};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::testbed::*;
use crate::{
    counters::Rejection,
    crypto::provider,
    listener::ListenerLimits,
    tls::HTTP2,
    trust::{PeerFacts, Trust},
    verifier::OnePeer,
};

/// Calls as plain rustls would, without this module's checks: any certificate or none, any ALPN. Returns the result of
/// the first read.
async fn call_raw(
    federation: &Federation,
    antwerp: &Antwerp,
    shown: Option<&NodeCertificate>,
    protocols: &[&[u8]],
) -> std::io::Result<usize> {
    let certified = |shown: &NodeCertificate| {
        let key = provider()
            .key_provider
            .load_private_key(shown.key.der())
            .unwrap();
        Arc::new(CertifiedKey::new(vec![shown.certificate.clone()], key))
    };
    let shown = Shown(shown.map(certified));
    call_as(federation, antwerp, Arc::new(shown), protocols).await
}

async fn call_as(
    federation: &Federation,
    antwerp: &Antwerp,
    shown: Arc<Shown>,
    protocols: &[&[u8]],
) -> std::io::Result<usize> {
    let trust = Trust::new(federation.snapshot(federation.rotterdam()));
    let builder = rustls::ClientConfig::builder_with_details(provider(), federation.clock.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OnePeer::new(
            node("antwerp"),
            trust,
            provider(),
        )));
    let mut config = builder.with_client_cert_resolver(shown);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let tcp = TcpStream::connect(antwerp.address).await.unwrap();
    let name = ServerName::try_from("antwerp.example").unwrap();
    let mut tls = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await?;
    soon(tls.read(&mut [0; 1])).await
}

fn alert_in(error: &std::io::Error) -> Option<AlertDescription> {
    let rustls::Error::AlertReceived(alert) = error.get_ref()?.downcast_ref()? else {
        return None;
    };
    Some(*alert)
}

#[track_caller]
fn assert_alert(result: std::io::Result<usize>, expected: AlertDescription) {
    let error = result.expect_err("the listener must refuse");
    assert_eq!(alert_in(&error), Some(expected), "{error:?}");
}

/// Checks that the certificate is refused with the one alert that strangers get as well.
///
/// Attack L2: the alert told members from strangers.
async fn refuses(federation: &Federation, rotterdam: PeerFacts, shown: &NodeCertificate) {
    let mut antwerp = federation
        .listen(rotterdam, &ListenerLimits::default())
        .await;
    assert_alert(
        call_raw(federation, &antwerp, Some(shown), &[HTTP2]).await,
        AlertDescription::CertificateUnknown,
    );
    antwerp.rejects_for(Rejection::Untrusted).await;
}

#[tokio::test]
async fn a_caller_without_a_certificate_is_refused() {
    let federation = Federation::new();
    let mut antwerp = federation
        .listen(federation.rotterdam(), &ListenerLimits::default())
        .await;
    let answer = call_raw(&federation, &antwerp, None, &[HTTP2]).await;
    assert_alert(answer, AlertDescription::CertificateRequired);
    antwerp.rejects_for(Rejection::Tls).await;
}

#[tokio::test]
async fn another_authoritys_certificate_for_this_nodes_uri_is_refused() {
    let federation = Federation::new();
    // Belgium is a member in good standing; its certification authority may still not speak for rotterdam.
    let stolen = federation
        .belgium
        .issue(&names("rotterdam"), now())
        .unwrap();
    refuses(&federation, federation.rotterdam(), &stolen).await;
}

/// Attack L2: a member's certificate is no secret, and who shows it without its key learns nothing either.
#[tokio::test]
async fn anothers_certificate_without_its_key_gets_the_alert_of_a_stranger() {
    let federation = Federation::new();
    let mut antwerp = federation
        .listen(federation.rotterdam(), &ListenerLimits::default())
        .await;
    let good = federation.good_certificate();
    let other = federation.good_certificate();
    let key = provider()
        .key_provider
        .load_private_key(other.key.der())
        .unwrap();
    let shown = CertifiedKey::new(vec![good.certificate.clone()], key);
    let answer = call_as(
        &federation,
        &antwerp,
        Arc::new(Shown(Some(Arc::new(shown)))),
        &[HTTP2],
    )
    .await;
    assert_alert(answer, AlertDescription::CertificateUnknown);
    antwerp.rejects_for(Rejection::Untrusted).await;
}

/// Shows a certificate with any key, or none.
#[derive(Debug)]
struct Shown(Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

#[tokio::test]
async fn a_foreign_authority_with_the_same_subject_is_refused() {
    let federation = Federation::new();
    let twin = DevelopmentAuthority::new("netherlands", now()).unwrap();
    let forged = twin.issue(&names("rotterdam"), now()).unwrap();
    // The name of the issuer is the anchor's, so the chain is built and its signature fails.
    refuses(&federation, federation.rotterdam(), &forged).await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let federation = Federation::new();
    let expired = federation
        .netherlands
        .issue_defective(&names("rotterdam"), &Defect::Expired, now())
        .unwrap();
    refuses(&federation, federation.rotterdam(), &expired).await;
}

#[tokio::test]
async fn a_certificate_that_is_not_yet_valid_is_refused() {
    let federation = Federation::new();
    let early = federation
        .netherlands
        .issue_defective(&names("rotterdam"), &Defect::NotYetValid, now())
        .unwrap();
    refuses(&federation, federation.rotterdam(), &early).await;
}

#[tokio::test]
async fn a_revoked_certificate_is_refused() {
    let federation = Federation::new();
    let revoked = federation.good_certificate();
    let list = federation
        .netherlands
        .revocation_list(1, std::slice::from_ref(&revoked.serial), now())
        .unwrap();
    refuses(&federation, federation.rotterdam_with(list), &revoked).await;
}

#[tokio::test]
async fn a_revocation_list_past_its_next_update_refuses_everyone() {
    let federation = Federation::new();
    let list = federation
        .netherlands
        .revocation_list_lasting(1, &[], Period::ended(now()).unwrap())
        .unwrap();
    let good = federation.good_certificate();
    // No alert fits a fault that is the listener's own, so only the refusal is asserted.
    let mut antwerp = federation
        .listen(federation.rotterdam_with(list), &ListenerLimits::default())
        .await;
    call_raw(&federation, &antwerp, Some(&good), &[HTTP2])
        .await
        .unwrap_err();
    antwerp.rejects_for(Rejection::Untrusted).await;
}

#[tokio::test]
async fn a_revocation_list_of_another_authority_vouches_for_no_one() {
    let federation = Federation::new();
    let list = federation.belgium.revocation_list(1, &[], now()).unwrap();
    let good = federation.good_certificate();
    let mut antwerp = federation
        .listen(federation.rotterdam_with(list), &ListenerLimits::default())
        .await;
    call_raw(&federation, &antwerp, Some(&good), &[HTTP2])
        .await
        .unwrap_err();
    antwerp.rejects_for(Rejection::Untrusted).await;
}

#[tokio::test]
async fn a_certificate_with_two_uris_or_none_is_refused() {
    let federation = Federation::new();
    for defect in [
        Defect::TwoUriNames(names("antwerp")),
        Defect::NoUriName,
        Defect::WrongKeyUsage,
    ] {
        let odd = federation
            .netherlands
            .issue_defective(&names("rotterdam"), &defect, now())
            .unwrap();
        refuses(&federation, federation.rotterdam(), &odd).await;
    }
}

#[tokio::test]
async fn a_certificate_for_signing_code_is_refused() {
    let federation = Federation::new();
    let odd = federation
        .netherlands
        .issue_defective(&names("rotterdam"), &Defect::WrongExtendedKeyUsage, now())
        .unwrap();
    let mut antwerp = federation
        .listen(federation.rotterdam(), &ListenerLimits::default())
        .await;
    call_raw(&federation, &antwerp, Some(&odd), &[HTTP2])
        .await
        .unwrap_err();
    antwerp.rejects_for(Rejection::Untrusted).await;
}

#[tokio::test]
async fn a_caller_that_does_not_ask_for_http2_is_refused() {
    let federation = Federation::new();
    let mut antwerp = federation
        .listen(federation.rotterdam(), &ListenerLimits::default())
        .await;
    let good = federation.good_certificate();
    let answer = call_raw(&federation, &antwerp, Some(&good), &[]).await;
    assert!(!matches!(answer, Ok(octets) if octets > 0));
    antwerp.rejects_for(Rejection::NotHttp2).await;
}

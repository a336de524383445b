//! Attacks before anything is sent over a connection: wrong certificates, unfinished handshakes,
//! and many connections.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use portcullis_certs_dev::{Defect, DevelopmentAuthority, NodeCertificate, NodeNames};
use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::CertifiedKey,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use super::{
    Behaviour,
    caller::{shake, tls},
    raw::PREFACE,
    stage::Theatre,
};
use crate::{behaviours, federation::FEDERATION};

/// Behaviours of this layer.
pub const BEHAVIOURS: &[Behaviour] = behaviours![
    hp_01_no_certificate,
    hp_02_a_certificate_of_an_unknown_authority,
    hp_03_a_members_authority_speaks_for_another,
    hp_04_an_expired_certificate,
    hp_05_a_certificate_of_the_future,
    hp_06_a_revoked_certificate,
    hp_07_a_certificate_without_a_uri,
    hp_08_a_certificate_with_two_uris,
    hp_09_a_certificate_with_two_dns_names,
    hp_10_a_certificate_for_another_use,
    hp_11_a_key_that_may_not_sign,
    hp_12_another_dns_name,
    hp_13_a_node_that_is_not_in_the_register,
    hp_14_another_protocol_by_alpn,
    hp_15_plain_text,
    hp_16_handshakes_that_never_end,
    hp_17_more_connections_than_a_member_may_have,
    hp_18_a_chain_without_an_end,
    hp_19_anothers_certificate_without_its_key,
];

/// Longest wait for the end of a connection.
const PATIENCE: Duration = Duration::from_secs(20);

/// Shows one certificate chain and signs with one key, even if they do not belong together.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl Shown {
    fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Arc<Self> {
        let key = default_provider()
            .key_provider
            .load_private_key(key)
            .unwrap();
        Arc::new(Self(Arc::new(CertifiedKey::new(chain, key))))
    }

    fn of(certificate: &NodeCertificate) -> Arc<Self> {
        Self::new(vec![certificate.certificate.clone()], certificate.key.der())
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn names(node: &str) -> NodeNames {
    NodeNames::new(FEDERATION, node, &format!("{node}.example")).unwrap()
}

fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// Performs a handshake and returns the target's reaction as text. In TLS 1.3 the refusal of a
/// client's certificate arrives with the first read.
async fn refusal(stage: &Theatre, shown: Option<Arc<Shown>>, protocols: &[&[u8]]) -> String {
    let shown = shown.map(|shown| shown as Arc<dyn ResolvesClientCert>);
    let mut stream = match shake(tls(shown, protocols), stage.target_address()).await {
        Ok(stream) => stream,
        Err(error) => return error.to_string(),
    };
    let mut byte = [0; 1];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut byte));
    match read.await.unwrap() {
        Ok(0) => "closed".to_owned(),
        Ok(_) => "let through".to_owned(),
        Err(error) => error.to_string(),
    }
}

async fn refused(stage: &Theatre, shown: Option<Arc<Shown>>, alert: &str) {
    let told = refusal(stage, shown, &[b"h2"]).await;
    assert!(told.contains(alert), "{told}");
}

async fn defective(stage: &Theatre, defect: &Defect, alert: &str) {
    let ca = stage.federation.ca("mallory");
    let issued = ca
        .issue_defective(&names("mallory"), defect, now())
        .unwrap();
    refused(stage, Some(Shown::of(&issued)), alert).await;
}

async fn hp_01_no_certificate(stage: &mut Theatre) {
    refused(stage, None, "CertificateRequired").await;
}

async fn hp_02_a_certificate_of_an_unknown_authority(stage: &mut Theatre) {
    let foreign = DevelopmentAuthority::new("elsewhere", now()).unwrap();
    let forged = foreign.issue(&names("rotterdam"), now()).unwrap();
    refused(stage, Some(Shown::of(&forged)), "CertificateUnknown").await;
}

async fn hp_03_a_members_authority_speaks_for_another(stage: &mut Theatre) {
    let stolen = stage
        .federation
        .ca("mallory")
        .issue(&names("rotterdam"), now());
    refused(
        stage,
        Some(Shown::of(&stolen.unwrap())),
        "CertificateUnknown",
    )
    .await;
}

async fn hp_04_an_expired_certificate(stage: &mut Theatre) {
    defective(stage, &Defect::Expired, "CertificateUnknown").await;
}

async fn hp_05_a_certificate_of_the_future(stage: &mut Theatre) {
    defective(stage, &Defect::NotYetValid, "alert").await;
}

async fn hp_06_a_revoked_certificate(stage: &mut Theatre) {
    refused(stage, Some(Shown::of(&stage.revoked)), "CertificateUnknown").await;
}

async fn hp_07_a_certificate_without_a_uri(stage: &mut Theatre) {
    defective(stage, &Defect::NoUriName, "alert").await;
}

async fn hp_08_a_certificate_with_two_uris(stage: &mut Theatre) {
    defective(stage, &Defect::TwoUriNames(names("rotterdam")), "alert").await;
}

async fn hp_09_a_certificate_with_two_dns_names(stage: &mut Theatre) {
    defective(stage, &Defect::TwoDnsNames(names("rotterdam")), "alert").await;
    defective(stage, &Defect::NoDnsName, "alert").await;
}

async fn hp_10_a_certificate_for_another_use(stage: &mut Theatre) {
    defective(stage, &Defect::WrongExtendedKeyUsage, "alert").await;
}

async fn hp_11_a_key_that_may_not_sign(stage: &mut Theatre) {
    defective(stage, &Defect::WrongKeyUsage, "alert").await;
}

async fn hp_12_another_dns_name(stage: &mut Theatre) {
    let other = NodeNames::new(FEDERATION, "mallory", "rotterdam.example").unwrap();
    let issued = stage.federation.ca("mallory").issue(&other, now()).unwrap();
    refused(stage, Some(Shown::of(&issued)), "alert").await;
}

async fn hp_13_a_node_that_is_not_in_the_register(stage: &mut Theatre) {
    let other = NodeNames::new(FEDERATION, "mallory-2", "mallory.example").unwrap();
    let issued = stage.federation.ca("mallory").issue(&other, now()).unwrap();
    refused(stage, Some(Shown::of(&issued)), "alert").await;
}

fn good(stage: &Theatre) -> Arc<Shown> {
    let issued = stage
        .federation
        .ca("mallory")
        .issue(&names("mallory"), now());
    Shown::of(&issued.unwrap())
}

async fn hp_14_another_protocol_by_alpn(stage: &mut Theatre) {
    let told = refusal(stage, Some(good(stage)), &[b"http/1.1"]).await;
    assert!(told.contains("NoApplicationProtocol"), "{told}");
    let told = refusal(stage, Some(good(stage)), &[]).await;
    assert_ne!(told, "let through");
}

async fn hp_15_plain_text(stage: &mut Theatre) {
    for said in [
        PREFACE,
        b"GET /metrics HTTP/1.1\r\nhost: antwerp\r\n\r\n",
        &[0; 64],
    ] {
        let mut tcp = TcpStream::connect(stage.target_address()).await.unwrap();
        tcp.write_all(said).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut answer));
        drop(read.await.unwrap());
        // A TLS alert at most (RFC 8446, §6): record type 21, seven bytes in all.
        assert!(
            answer.is_empty() || (answer[0] == 21 && answer.len() == 7),
            "{answer:?}"
        );
    }
}

/// Connects from the given local address, as a caller on another host would.
async fn call_from(address: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((address, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Opens as many connections as one address may have and sends one byte of a handshake on each. The
/// next connection from that address is dropped at once, and callers from other addresses are
/// served.
async fn hp_16_handshakes_that_never_end(stage: &mut Theatre) {
    let elsewhere = Ipv4Addr::new(127, 0, 0, 2);
    let mut slow = Vec::new();
    for _ in 0..64 {
        let mut tcp = call_from(elsewhere, stage.target_address()).await;
        tcp.write_all(&[22]).await.unwrap();
        slow.push(tcp);
    }
    // The oldest gives way to one more, and those that stay have no more than two seconds.
    slow.push(call_from(elsewhere, stage.target_address()).await);
    for tcp in &mut slow {
        let mut byte = [0; 1];
        let read = tokio::time::timeout(Duration::from_secs(5), tcp.read(&mut byte));
        assert!(matches!(read.await.unwrap(), Ok(0) | Err(_)));
    }
    let connection = stage.connection(&stage.mallory).await;
    stage.still_serves().await;
    drop((slow, connection));
}

async fn hp_17_more_connections_than_a_member_may_have(stage: &mut Theatre) {
    let mut open = Vec::new();
    let mut ended = 0;
    for _ in 0..40 {
        let mut stream = stage.connection(&stage.mallory).await;
        let mut byte = [0; 1];
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut byte));
        // In HTTP/2 the server speaks first, so a stream that ends here was refused.
        match read.await {
            Ok(Ok(0) | Err(_)) => ended += 1,
            Ok(Ok(_)) | Err(_) => open.push(stream),
        }
    }
    assert!(ended >= 20, "{ended} of 40 were refused");
    stage.still_serves().await;
}

/// Two hundred certificates follow the valid one.
async fn hp_18_a_chain_without_an_end(stage: &mut Theatre) {
    let ca = stage.federation.ca("mallory");
    let issued = ca.issue(&names("mallory"), now()).unwrap();
    let mut chain = vec![issued.certificate.clone()];
    chain.extend(vec![ca.certificate().clone(); 200]);
    let told = refusal(stage, Some(Shown::new(chain, issued.key.der())), &[b"h2"]).await;
    assert_ne!(told, "let through");
}

async fn hp_19_anothers_certificate_without_its_key(stage: &mut Theatre) {
    let honest = stage
        .federation
        .ca("rotterdam")
        .issue(&names("rotterdam"), now());
    let own = stage
        .federation
        .ca("mallory")
        .issue(&names("mallory"), now())
        .unwrap();
    let shown = Shown::new(vec![honest.unwrap().certificate], own.key.der());
    refused(stage, Some(shown), "CertificateUnknown").await;
}

//! The exchange's TLS against OpenSSL: the handshakes that succeed, and the alerts with which all others are refused.
//!
//! OpenSSL checks certificates against the system's clock, so the certificates here are made for the present time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use openssl::pkey::PKey;
use openssl::ssl::{
    AlpnError, ErrorCode, HandshakeError, SslAcceptor, SslConnector, SslConnectorBuilder,
    SslMethod, SslSessionCacheMode, SslStream, SslVerifyMode, SslVersion, select_next_proto,
};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use portcullis_certs_dev::{Defect, DevelopmentAuthority, NodeCertificate, NodeNames};
use portcullis_peering::{
    connector::{ConnectError, ConnectorLimits, PeerConnector},
    counters::ExchangeCounters,
    identity::OwnIdentity,
    listener::{Incoming, Listener, ListenerLimits},
    tls::system_clock,
    trust::{DevelopmentCertificates, PeerFacts, PeerTrust, Trust},
};
use rustls::pki_types::CertificateRevocationListDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_stream::StreamExt;
use tokio_util::sync::{CancellationToken, DropGuard};

const PATIENCE: Duration = Duration::from_secs(20);
const HTTP2: &[u8] = b"\x02h2";

struct Federation {
    belgium: DevelopmentAuthority,
    netherlands: DevelopmentAuthority,
    now: Timestamp,
}

fn names(node: &str) -> NodeNames {
    NodeNames::new("ports", node, &format!("{node}.example")).unwrap()
}

fn identity(certificate: &NodeCertificate) -> Arc<OwnIdentity> {
    Arc::new(
        OwnIdentity::new(vec![certificate.certificate.clone()], certificate.key.der()).unwrap(),
    )
}

impl Federation {
    fn new() -> Self {
        let now = Timestamp::now();
        let authority = |name| DevelopmentAuthority::new(name, now).unwrap();
        Self {
            belgium: authority("belgium"),
            netherlands: authority("netherlands"),
            now,
        }
    }

    fn trust(&self, rotterdams_lists: Vec<CertificateRevocationListDer<'static>>) -> Trust {
        let facts = |name: &str, authority: &DevelopmentAuthority, revocation_lists| PeerFacts {
            node: name.parse().unwrap(),
            dns_name: format!("{name}.example"),
            uri: format!("urn:portcullis:ports:{name}"),
            trust_anchor: authority.certificate().clone(),
            revocation_lists,
        };
        let peers = [
            facts("antwerp", &self.belgium, Vec::new()),
            facts("rotterdam", &self.netherlands, rotterdams_lists),
        ];
        Trust::new(PeerTrust::new(peers, DevelopmentCertificates::Accepted).unwrap())
    }

    /// Starts the listener of `antwerp`.
    async fn listen(
        &self,
        rotterdams_lists: Vec<CertificateRevocationListDer<'static>>,
    ) -> Antwerp {
        let certificate = self.belgium.issue(&names("antwerp"), self.now).unwrap();
        let tcp = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let address = tcp.local_addr().unwrap();
        let (listener, incoming) = Listener::new(
            tcp,
            identity(&certificate),
            self.trust(rotterdams_lists),
            system_clock(),
            &ListenerLimits::default(),
            ExchangeCounters::default(),
        )
        .unwrap();
        let shutdown = CancellationToken::new();
        tokio::spawn(listener.run(shutdown.clone()));
        Antwerp {
            address,
            incoming,
            _shutdown: shutdown.drop_guard(),
        }
    }

    fn good_certificate(&self) -> NodeCertificate {
        self.netherlands
            .issue(&names("rotterdam"), self.now)
            .unwrap()
    }

    /// Returns an OpenSSL client that calls `antwerp`: it trusts Belgium's authority and asks for HTTP/2.
    fn connector(&self, shown: Option<&NodeCertificate>, version: SslVersion) -> SslConnector {
        self.connector_builder(shown, version).build()
    }

    fn connector_builder(
        &self,
        shown: Option<&NodeCertificate>,
        version: SslVersion,
    ) -> SslConnectorBuilder {
        let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
        let mut store = X509StoreBuilder::new().unwrap();
        store
            .add_cert(X509::from_der(self.belgium.certificate()).unwrap())
            .unwrap();
        connector.set_verify_cert_store(store.build()).unwrap();
        connector.set_verify(SslVerifyMode::PEER);
        connector.set_min_proto_version(Some(version)).unwrap();
        connector.set_max_proto_version(Some(version)).unwrap();
        connector.set_alpn_protos(HTTP2).unwrap();
        if let Some(shown) = shown {
            connector
                .set_certificate(&X509::from_der(&shown.certificate).unwrap())
                .unwrap();
            connector
                .set_private_key(&PKey::private_key_from_pem(shown.key.pem().as_bytes()).unwrap())
                .unwrap();
        }
        connector
    }
}

struct Antwerp {
    address: SocketAddr,
    incoming: Incoming,
    _shutdown: DropGuard,
}

/// The reasons that OpenSSL gives for a failed call, in its words.
type Reasons = Vec<String>;

fn call(connector: &SslConnector, address: SocketAddr) -> Result<SslStream<TcpStream>, Reasons> {
    let tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    match connector.connect("antwerp.example", tcp) {
        Ok(stream) => Ok(stream),
        Err(HandshakeError::Failure(failed)) => Err(reasons(failed.error())),
        Err(other) => panic!("{other:?}"),
    }
}

fn reasons(error: &openssl::ssl::Error) -> Reasons {
    assert_ne!(
        error.code(),
        ErrorCode::WANT_READ,
        "no answer within {PATIENCE:?}"
    );
    let errors = error
        .ssl_error()
        .map(openssl::error::ErrorStack::errors)
        .unwrap_or_default();
    errors
        .iter()
        .filter_map(openssl::error::Error::reason)
        .map(str::to_owned)
        .collect()
}

/// Returns the reasons of a refusal. In TLS 1.3 a client has finished its handshake before the server has seen the
/// client's certificate, so the refusal arrives with the first read.
fn refusal(connector: &SslConnector, address: SocketAddr) -> Reasons {
    let mut stream = match call(connector, address) {
        Ok(stream) => stream,
        Err(reasons) => return reasons,
    };
    match stream.ssl_read(&mut [0; 1]) {
        Ok(_) => panic!("the listener let the call through"),
        Err(error) => reasons(&error),
    }
}

async fn refused_with(
    federation: &Federation,
    shown: Option<&NodeCertificate>,
    version: SslVersion,
    lists: Vec<CertificateRevocationListDer<'static>>,
) -> Reasons {
    let antwerp = federation.listen(lists).await;
    let connector = federation.connector(shown, version);
    tokio::task::spawn_blocking(move || refusal(&connector, antwerp.address))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_with_a_good_certificate_is_heard_and_answered() {
    let federation = Federation::new();
    let list = federation
        .netherlands
        .revocation_list(1, &[], federation.now)
        .unwrap();
    let mut antwerp = federation.listen(vec![list]).await;
    let connector = federation.connector(Some(&federation.good_certificate()), SslVersion::TLS1_3);
    let address = antwerp.address;
    let caller = tokio::task::spawn_blocking(move || {
        let mut stream = call(&connector, address).unwrap();
        stream.write_all(b"customs").unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        let ssl = stream.ssl();
        (
            answer,
            ssl.version_str().to_owned(),
            ssl.selected_alpn_protocol().map(<[u8]>::to_vec),
        )
    });
    let Ok(mut peer) = tokio::time::timeout(PATIENCE, antwerp.incoming.next())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(peer.peer().node.as_str(), "rotterdam");
    let mut heard = [0; 7];
    peer.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"customs");
    peer.write_all(b"port").await.unwrap();
    peer.flush().await.unwrap();
    let (answer, version, protocol) = caller.await.unwrap();
    assert_eq!(
        (&answer, version.as_str(), protocol.as_deref()),
        (b"port", "TLSv1.3", Some(b"h2".as_slice()))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_1_2_is_refused() {
    let federation = Federation::new();
    let good = federation.good_certificate();
    let reasons = refused_with(&federation, Some(&good), SslVersion::TLS1_2, Vec::new()).await;
    assert_eq!(reasons, ["tlsv1 alert protocol version"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_without_a_certificate_is_refused() {
    let federation = Federation::new();
    let reasons = refused_with(&federation, None, SslVersion::TLS1_3, Vec::new()).await;
    assert_eq!(reasons, ["tlsv13 alert certificate required"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_certificate_is_refused() {
    let federation = Federation::new();
    let foreign = DevelopmentAuthority::new("elsewhere", federation.now).unwrap();
    let forged = foreign.issue(&names("rotterdam"), federation.now).unwrap();
    let reasons = refused_with(&federation, Some(&forged), SslVersion::TLS1_3, Vec::new()).await;
    assert_eq!(reasons, ["sslv3 alert certificate unknown"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_members_certificate_for_this_uri_is_refused() {
    let federation = Federation::new();
    let stolen = federation
        .belgium
        .issue(&names("rotterdam"), federation.now)
        .unwrap();
    let reasons = refused_with(&federation, Some(&stolen), SslVersion::TLS1_3, Vec::new()).await;
    assert_eq!(reasons, ["sslv3 alert certificate unknown"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_certificate_is_refused() {
    let federation = Federation::new();
    let expired = federation
        .netherlands
        .issue_defective(&names("rotterdam"), &Defect::Expired, federation.now)
        .unwrap();
    let reasons = refused_with(&federation, Some(&expired), SslVersion::TLS1_3, Vec::new()).await;
    assert_eq!(reasons, ["sslv3 alert certificate unknown"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_certificate_is_refused() {
    let federation = Federation::new();
    let revoked = federation.good_certificate();
    let list = federation
        .netherlands
        .revocation_list(1, std::slice::from_ref(&revoked.serial), federation.now)
        .unwrap();
    let reasons = refused_with(&federation, Some(&revoked), SslVersion::TLS1_3, vec![list]).await;
    assert_eq!(reasons, ["sslv3 alert certificate unknown"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_ticket_is_given_for_resumption() {
    let federation = Federation::new();
    let mut antwerp = federation.listen(Vec::new()).await;
    let tickets = Arc::new(AtomicUsize::new(0));
    let mut connector =
        federation.connector_builder(Some(&federation.good_certificate()), SslVersion::TLS1_3);
    connector.set_session_cache_mode(SslSessionCacheMode::CLIENT);
    let (seen, address) = (tickets.clone(), antwerp.address);
    connector.set_new_session_callback(move |_, _| {
        seen.fetch_add(1, Ordering::SeqCst);
    });
    let connector = connector.build();
    let caller = tokio::task::spawn_blocking(move || {
        let mut stream = call(&connector, address).unwrap();
        // A ticket would arrive before the first byte of data, so the read of that byte would also process any ticket.
        stream.read_exact(&mut [0; 1]).unwrap();
    });
    let Ok(mut peer) = tokio::time::timeout(PATIENCE, antwerp.incoming.next())
        .await
        .unwrap()
        .unwrap();
    peer.write_all(b"!").await.unwrap();
    peer.flush().await.unwrap();
    caller.await.unwrap();
    assert_eq!(tickets.load(Ordering::SeqCst), 0);
}

/// Starts OpenSSL as `antwerp`, answering one call.
fn serve_once(
    federation: &Federation,
    version: SslVersion,
) -> (SocketAddr, std::thread::JoinHandle<bool>) {
    let certificate = federation
        .belgium
        .issue(&names("antwerp"), federation.now)
        .unwrap();
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    acceptor
        .set_certificate(&X509::from_der(&certificate.certificate).unwrap())
        .unwrap();
    acceptor
        .set_private_key(&PKey::private_key_from_pem(certificate.key.pem().as_bytes()).unwrap())
        .unwrap();
    acceptor.set_max_proto_version(Some(version)).unwrap();
    acceptor.set_alpn_select_callback(|_, offered| {
        select_next_proto(HTTP2, offered).ok_or(AlpnError::NOACK)
    });
    let acceptor = acceptor.build();
    let tcp = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = tcp.local_addr().unwrap();
    let serving = std::thread::spawn(move || acceptor.accept(tcp.accept().unwrap().0).is_ok());
    (address, serving)
}

async fn connect(federation: &Federation, address: SocketAddr) -> Result<(), ConnectError> {
    let connector = PeerConnector::new(
        "antwerp".parse().unwrap(),
        identity(&federation.good_certificate()),
        federation.trust(Vec::new()),
        system_clock(),
        ConnectorLimits::default(),
    )
    .unwrap();
    connector.connect(&address.to_string()).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_caller_speaks_tls_1_3_with_openssl_and_refuses_1_2() {
    let federation = Federation::new();
    let (address, serving) = serve_once(&federation, SslVersion::TLS1_3);
    connect(&federation, address).await.unwrap();
    assert!(serving.join().unwrap());
    let (address, serving) = serve_once(&federation, SslVersion::TLS1_2);
    assert!(matches!(
        connect(&federation, address).await,
        Err(ConnectError::Handshake { .. })
    ));
    assert!(!serving.join().unwrap());
}

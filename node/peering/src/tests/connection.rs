//! Admitted connections: what they carry, their limits, and their ends.

use std::convert::Infallible;
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::ToSpan;
use portcullis_certs_dev::Period;
use rustls::CertificateError;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tonic::codegen::http::{Request, Response};
use tower::{Service, ServiceExt};

use super::testbed::*;
use crate::{
    connector::{ConnectError, endpoint},
    counters::Rejection,
    cut::Cut,
    ending::Ending,
    listener::{ListenerLimits, server},
    probe::{ProbeError, probe},
    stream::{Peer, PeerStream},
    tls::client_config,
    trust::{DevelopmentCertificates, PeerTrust, Refusal, Trust},
    unreached::{Disbelief, Unreached},
    verifier::refusal_of,
};

async fn echo(near: &mut PeerStream, far: &mut PeerStream) {
    near.write_all(b"customs").await.unwrap();
    near.flush().await.unwrap();
    let mut heard = [0; 7];
    soon(far.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"customs");
}

#[tokio::test]
async fn a_good_certificate_is_admitted_as_the_node_it_names() {
    let federation = Federation::new();
    let list = federation
        .netherlands
        .revocation_list(1, &[], now())
        .unwrap();
    let mut antwerp = federation
        .listen(federation.rotterdam_with(list), &ListenerLimits::default())
        .await;
    let good = federation.good_certificate();
    let mut near = federation
        .caller(&good)
        .connect(&antwerp.at())
        .await
        .unwrap();
    let mut far = antwerp.next().await;
    assert_eq!(far.peer().node, node("rotterdam"));
    assert_eq!(far.peer().certificate_expiry, now() + (24 * 90).hours());
    assert_eq!(near.peer().node, node("antwerp"));
    echo(&mut near, &mut far).await;
    echo(&mut far, &mut near).await;
    assert_eq!(antwerp.counters.accepted_total(), 1);
}

#[tokio::test]
async fn the_key_exchange_is_the_hybrid_one_and_the_version_1_3() {
    let federation = Federation::new();
    let antwerp = federation
        .listen(federation.rotterdam(), &ListenerLimits::default())
        .await;
    let good = federation.good_certificate();
    let trust = Trust::new(federation.snapshot(federation.rotterdam()));
    let config = client_config(
        identity(&good),
        trust,
        node("antwerp"),
        federation.clock.clone(),
    )
    .unwrap();
    let tcp = TcpStream::connect(antwerp.address).await.unwrap();
    let name = ServerName::try_from("antwerp.example").unwrap();
    let tls = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .unwrap();
    let session = tls.get_ref().1;
    assert_eq!(
        session.negotiated_key_exchange_group().unwrap().name(),
        rustls::NamedGroup::X25519MLKEM768
    );
    assert_eq!(
        session.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
    assert_eq!(session.handshake_kind(), Some(rustls::HandshakeKind::Full));
}

#[tokio::test]
async fn a_caller_refuses_the_listener_that_is_another_node() {
    let federation = Federation::new();
    let antwerp = federation
        .listen(federation.rotterdam(), &ListenerLimits::default())
        .await;
    let good = federation.good_certificate();
    let error = federation
        .caller_of("rotterdam", &good)
        .connect(&antwerp.at())
        .await
        .unwrap_err();
    let ConnectError::Handshake { source, .. } = error else {
        panic!("{error:?}");
    };
    assert!(
        matches!(refusal_of(&source), Some(Refusal::OtherNode { .. })),
        "{source:?}"
    );
}

#[tokio::test]
async fn a_caller_refuses_an_impostor_with_another_authoritys_certificate() {
    let federation = Federation::new();
    let forged = federation
        .netherlands
        .issue(&names("antwerp"), now())
        .unwrap();
    let antwerp = federation
        .listen_as(&forged, federation.rotterdam(), &ListenerLimits::default())
        .await;
    let error = federation
        .caller(&federation.good_certificate())
        .connect(&antwerp.at())
        .await
        .unwrap_err();
    let cause = error.source().unwrap().to_string();
    assert_eq!(
        cause,
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer).to_string()
    );
}

#[tokio::test]
async fn a_node_that_the_register_does_not_know_is_not_called() {
    let federation = Federation::new();
    let caller = federation.caller_of("piraeus", &federation.good_certificate());
    let error = caller.connect("127.0.0.1:9").await.unwrap_err();
    assert!(
        matches!(
            error,
            ConnectError::Untrusted(Ending::Untrusted(Refusal::UnknownNode { .. }))
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_silent_caller_has_two_seconds_and_holds_up_no_one() {
    let federation = Federation::new();
    let limits = ListenerLimits {
        handshake_timeout: PATIENCE + Duration::from_secs(1),
        ..ListenerLimits::default()
    };
    let mut antwerp = federation.listen(federation.rotterdam(), &limits).await;
    let mut silent = TcpStream::connect(antwerp.address).await.unwrap();
    let good = federation.good_certificate();
    let _near = federation
        .caller(&good)
        .connect(&antwerp.at())
        .await
        .unwrap();
    assert_eq!(antwerp.next().await.peer().node, node("rotterdam"));
    assert_eq!(antwerp.counters.rejected_total(Rejection::TimedOut), 0);
    assert_eq!(soon(silent.read(&mut [0; 1])).await.unwrap(), 0);
    until(|| antwerp.counters.rejected_total(Rejection::TimedOut) == 1).await;
}

/// Attack #12: a member behind the address of silent callers was kept out.
#[tokio::test]
async fn one_address_cannot_hold_all_handshakes_and_its_newest_caller_is_heard() {
    let federation = Federation::new();
    let limits = ListenerLimits {
        handshakes_per_address: 1,
        ..ListenerLimits::default()
    };
    let mut antwerp = federation.listen(federation.rotterdam(), &limits).await;
    let mut silent = TcpStream::connect(antwerp.address).await.unwrap();
    let _near = federation
        .caller(&federation.good_certificate())
        .connect(&antwerp.at())
        .await
        .unwrap();
    assert_eq!(antwerp.next().await.peer().node, node("rotterdam"));
    assert!(matches!(
        soon(silent.read(&mut [0; 1])).await,
        Ok(0) | Err(_)
    ));
    assert_eq!(antwerp.counters.rejected_total(Rejection::GaveWay), 1);
    assert_eq!(antwerp.counters.rejected_total(Rejection::TimedOut), 0);
}

/// Attack H5: a few silent callers for each place, for as long as they like, and a member's handshake in between.
#[tokio::test]
async fn silent_callers_that_come_again_and_again_hold_up_no_member() {
    let federation = Federation::new();
    let limits = ListenerLimits {
        handshakes: 8,
        handshakes_per_address: 8,
        ..ListenerLimits::default()
    };
    let mut antwerp = federation.listen(federation.rotterdam(), &limits).await;
    let address = antwerp.address;
    let flood = tokio::spawn(async move {
        let mut open = std::collections::VecDeque::new();
        loop {
            open.push_back(TcpStream::connect(address).await.unwrap());
            if open.len() > 64 {
                open.pop_front();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    until(|| antwerp.counters.rejected_total(Rejection::GaveWay) > 8).await;
    let caller = federation.caller(&federation.good_certificate());
    let began = std::time::Instant::now();
    for _ in 0..5 {
        let near = caller.connect(&antwerp.at()).await.unwrap();
        drop((near, antwerp.next().await));
    }
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    flood.abort();
}

/// Attack H5: callers that speak and then stop do not make way at once, and a member has places of its own.
#[tokio::test]
async fn a_listed_address_gets_in_when_strangers_hold_every_place() {
    let federation = Federation::new();
    let limits = ListenerLimits {
        handshakes: 1,
        handshakes_per_address: 1,
        ..ListenerLimits::default()
    };
    let mut antwerp = federation.listen(federation.rotterdam(), &limits).await;
    let stranger = tokio::net::TcpSocket::new_v4().unwrap();
    stranger.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut stranger = stranger.connect(antwerp.address).await.unwrap();
    stranger
        .write_all(&client_hello(&federation))
        .await
        .unwrap();
    assert_eq!(soon(stranger.read(&mut [0; 1])).await.unwrap(), 1);
    let caller = federation.caller(&federation.good_certificate());
    assert!(caller.connect(&antwerp.at()).await.is_err());
    assert_eq!(antwerp.counters.rejected_total(Rejection::AddressBusy), 1);
    let of = [antwerp.address.ip()].into();
    antwerp.listed.replace([(node("rotterdam"), of)].into());
    let _near = caller.connect(&antwerp.at()).await.unwrap();
    assert_eq!(antwerp.next().await.peer().node, node("rotterdam"));
}

fn behind_proxy(handshakes_per_address: usize) -> ListenerLimits {
    ListenerLimits {
        handshakes_per_address,
        proxies: ["127.0.0.1".parse().unwrap()].into(),
        ..ListenerLimits::default()
    }
}

/// Makes the handshake of a good caller behind these bytes.
async fn call_with(federation: &Federation, antwerp: &Antwerp, before: &[u8]) -> bool {
    let good = federation.good_certificate();
    let trust = Trust::new(federation.snapshot(federation.rotterdam()));
    let clock = federation.clock.clone();
    let config = client_config(identity(&good), trust, node("antwerp"), clock).unwrap();
    let mut tcp = TcpStream::connect(antwerp.address).await.unwrap();
    tcp.write_all(before).await.unwrap();
    let name = ServerName::try_from("antwerp.example").unwrap();
    let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    soon(tls).await.is_ok()
}

/// Attack #12: peers behind one proxy were counted as one address.
#[tokio::test]
async fn behind_a_proxy_the_callers_address_counts_and_is_the_peers() {
    let federation = Federation::new();
    let mut antwerp = federation
        .listen(federation.rotterdam(), &behind_proxy(1))
        .await;
    let mut silent = TcpStream::connect(antwerp.address).await.unwrap();
    let head = b"PROXY TCP4 203.0.113.7 192.0.2.1 4660 443\r\n";
    silent.write_all(head).await.unwrap();
    let other = b"PROXY TCP4 198.51.100.9 192.0.2.1 5 443\r\n";
    assert!(call_with(&federation, &antwerp, other).await);
    let peer = antwerp.next().await.peer().clone();
    assert_eq!(peer.address, "198.51.100.9:5".parse().unwrap());
    assert_eq!(antwerp.counters.rejected_total(Rejection::GaveWay), 0);
    // Another silent caller from the first address displaces that one.
    let mut again = TcpStream::connect(antwerp.address).await.unwrap();
    again.write_all(head).await.unwrap();
    until(|| antwerp.counters.rejected_total(Rejection::GaveWay) == 1).await;
    assert!(matches!(
        soon(silent.read(&mut [0; 1])).await,
        Ok(0) | Err(_)
    ));
}

#[tokio::test]
async fn a_proxy_without_a_header_and_a_header_without_a_proxy_are_refused() {
    let federation = Federation::new();
    let mut antwerp = federation
        .listen(federation.rotterdam(), &behind_proxy(64))
        .await;
    assert!(!call_with(&federation, &antwerp, b"").await);
    antwerp.rejects_for(Rejection::Proxy).await;
    let mut antwerp = federation
        .listen(federation.rotterdam(), &ListenerLimits::default())
        .await;
    let head = b"PROXY TCP4 203.0.113.7 192.0.2.1 4660 443\r\n";
    assert!(!call_with(&federation, &antwerp, head).await);
    antwerp.rejects_for(Rejection::Tls).await;
}

/// Returns a ClientHello that a caller could send before it stops.
fn client_hello(federation: &Federation) -> Vec<u8> {
    let trust = Trust::new(federation.snapshot(federation.rotterdam()));
    let good = federation.good_certificate();
    let config = client_config(
        identity(&good),
        trust,
        node("antwerp"),
        federation.clock.clone(),
    );
    let name = ServerName::try_from("antwerp.example").unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config.unwrap()), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test]
async fn one_peer_cannot_hold_more_connections_than_its_share() {
    let federation = Federation::new();
    let limits = ListenerLimits {
        connections_per_peer: 1,
        ..ListenerLimits::default()
    };
    let mut antwerp = federation.listen(federation.rotterdam(), &limits).await;
    let caller = federation.caller(&federation.good_certificate());
    let _near = caller.connect(&antwerp.at()).await.unwrap();
    let first = antwerp.next().await;
    let _second = caller.connect(&antwerp.at()).await.unwrap();
    until(|| antwerp.counters.rejected_total(Rejection::PeerBusy) == 1).await;
    drop(first);
    let mut third = caller.connect(&antwerp.at()).await.unwrap();
    echo(&mut third, &mut antwerp.next().await).await;
}

#[tokio::test]
async fn bytes_that_are_not_tls_leave_the_listener_running() {
    let federation = Federation::new();
    let mut antwerp = federation
        .listen(federation.rotterdam(), &ListenerLimits::default())
        .await;
    let mut scanner = TcpStream::connect(antwerp.address).await.unwrap();
    scanner
        .write_all(b"GET / HTTP/1.1\r\nHost: antwerp.example\r\n\r\n")
        .await
        .unwrap();
    antwerp.rejects_for(Rejection::Tls).await;
    let _near = federation
        .caller(&federation.good_certificate())
        .connect(&antwerp.at())
        .await
        .unwrap();
    assert_eq!(antwerp.next().await.peer().node, node("rotterdam"));
}

async fn ending_of(stream: &mut PeerStream) -> std::io::Error {
    soon(stream.read(&mut [0; 1])).await.unwrap_err()
}

fn is_untrusted(error: &std::io::Error) -> bool {
    let ending = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Arc<Ending>>());
    matches!(ending.map(AsRef::as_ref), Some(Ending::Untrusted(_)))
}

#[tokio::test]
async fn a_reload_without_the_peer_ends_its_open_connection() {
    let federation = Federation::new();
    let mut antwerp = federation
        .listen(federation.rotterdam(), &ListenerLimits::default())
        .await;
    let mut near = federation
        .caller(&federation.good_certificate())
        .connect(&antwerp.at())
        .await
        .unwrap();
    let mut far = antwerp.next().await;
    let without =
        PeerTrust::new([federation.antwerp()], DevelopmentCertificates::Accepted).unwrap();
    antwerp.trust.replace(without);
    let error = ending_of(&mut far).await;
    assert!(is_untrusted(&error), "{error:?}");
    assert!(far.write(b"more").await.is_err());
    drop(far);
    assert!(!matches!(soon(near.read(&mut [0; 1])).await, Ok(octets) if octets > 0));
}

#[tokio::test]
async fn a_reload_that_revokes_the_certificate_ends_its_open_connection() {
    let federation = Federation::new();
    let mut antwerp = federation
        .listen(federation.rotterdam(), &ListenerLimits::default())
        .await;
    let good = federation.good_certificate();
    let _near = federation
        .caller(&good)
        .connect(&antwerp.at())
        .await
        .unwrap();
    let mut far = antwerp.next().await;
    let list = federation
        .netherlands
        .revocation_list(2, std::slice::from_ref(&good.serial), now())
        .unwrap();
    antwerp
        .trust
        .replace(federation.snapshot(federation.rotterdam_with(list)));
    let error = ending_of(&mut far).await;
    assert!(is_untrusted(&error), "{error:?}");
}

#[tokio::test]
async fn a_reload_that_keeps_the_peer_leaves_its_connection_open() {
    let federation = Federation::new();
    let mut antwerp = federation
        .listen(federation.rotterdam(), &ListenerLimits::default())
        .await;
    let mut near = federation
        .caller(&federation.good_certificate())
        .connect(&antwerp.at())
        .await
        .unwrap();
    let mut far = antwerp.next().await;
    antwerp
        .trust
        .replace(federation.snapshot(federation.rotterdam()));
    echo(&mut near, &mut far).await;
    echo(&mut far, &mut near).await;
}

#[tokio::test]
async fn a_certificate_that_ends_while_connected_ends_the_connection() {
    let federation = Federation::new();
    let mut antwerp = federation
        .listen(federation.rotterdam(), &ListenerLimits::default())
        .await;
    let brief = Period::new(now() - 1.hour(), now() + 1.second()).unwrap();
    let ends_soon = federation
        .netherlands
        .issue_lasting(&names("rotterdam"), brief)
        .unwrap();
    let _near = federation
        .caller(&ends_soon)
        .connect(&antwerp.at())
        .await
        .unwrap();
    let mut far = antwerp.next().await;
    federation.clock.set(now() + 2.seconds());
    let error = ending_of(&mut far).await;
    assert!(is_untrusted(&error), "{error:?}");
}

#[tokio::test]
async fn a_connection_ends_at_its_age_limit() {
    let federation = Federation::new();
    let limits = ListenerLimits {
        connection_lifetime: Duration::from_millis(50),
        ..ListenerLimits::default()
    };
    let mut antwerp = federation.listen(federation.rotterdam(), &limits).await;
    let _near = federation
        .caller(&federation.good_certificate())
        .connect(&antwerp.at())
        .await
        .unwrap();
    let error = ending_of(&mut antwerp.next().await).await;
    let ending = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Arc<Ending>>())
        .unwrap();
    assert!(matches!(**ending, Ending::Age));
}

#[tokio::test]
async fn a_stopped_listener_hands_on_no_one_else() {
    let federation = Federation::new();
    let antwerp = federation
        .listen(federation.rotterdam(), &ListenerLimits::default())
        .await;
    let Antwerp {
        mut incoming,
        shutdown,
        ..
    } = antwerp;
    drop(shutdown);
    assert!(
        soon(tokio_stream::StreamExt::next(&mut incoming))
            .await
            .is_none()
    );
}

#[tokio::test]
async fn tonic_serves_over_it_and_knows_who_asks() {
    let federation = Federation::new();
    let Antwerp {
        address,
        incoming,
        shutdown,
        ..
    } = federation
        .listen(federation.rotterdam(), &ListenerLimits::default())
        .await;
    let who = tower::service_fn(|request: Request<tonic::body::Body>| async move {
        let peer = request
            .extensions()
            .get::<Peer>()
            .map_or("nobody".to_owned(), |peer| peer.node.to_string());
        Ok::<_, std::convert::Infallible>(
            Response::builder()
                .header("who", peer)
                .body(tonic::body::Body::empty())
                .unwrap(),
        )
    });
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(
        server(Duration::from_secs(60)).serve_with_incoming_shutdown(who, incoming, async {
            let _closed = stopped.await;
        }),
    );
    let connector = federation.caller(&federation.good_certificate());
    let mut channel = endpoint(&address.to_string())
        .unwrap()
        .connect_with_connector(connector)
        .await
        .unwrap();
    let request = Request::builder()
        .uri("http://antwerp.example/")
        .body(tonic::body::Body::empty())
        .unwrap();
    let answer = soon(channel.ready().await.unwrap().call(request))
        .await
        .unwrap();
    assert_eq!(answer.headers().get("who").unwrap(), "rotterdam");
    drop((channel, shutdown, stop));
    soon(serving).await.unwrap().unwrap();
}

#[test]
fn an_endpoint_is_a_host_and_a_port_and_nothing_else() {
    for good in ["antwerp.example:7400", "127.0.0.1:7400", "[::1]:7400"] {
        assert_eq!(
            endpoint(good).unwrap().uri().scheme_str(),
            Some("http"),
            "{good}"
        );
    }
    for bad in [
        "",
        "antwerp.example",
        "https://antwerp.example:1",
        "a@antwerp.example:1",
        "antwerp.example:1/x",
        "a b:1",
    ] {
        assert!(
            matches!(endpoint(bad), Err(ConnectError::Address { .. })),
            "{bad}"
        );
    }
}

/// Newcomer A12, B3: who answers a probe has judged this node's certificate, and who refuses it is
/// told apart from who is not there.
#[tokio::test]
async fn a_probe_tells_a_peer_that_is_there_from_one_that_refuses_and_one_that_is_gone() {
    let federation = Federation::new();
    let antwerp = federation
        .listen(federation.rotterdam(), &ListenerLimits::default())
        .await;
    let caller = federation.caller(&federation.good_certificate());
    let at = antwerp.at();
    let serving = server(Duration::from_secs(3600)).serve_with_incoming(
        tower::service_fn(|_: Request<tonic::body::Body>| async {
            Ok::<_, Infallible>(Response::new(tonic::body::Body::empty()))
        }),
        antwerp.incoming,
    );
    tokio::spawn(async move { serving.await.unwrap() });
    soon(probe(&caller, &at)).await.unwrap();
    antwerp
        .trust
        .cut([(node("rotterdam"), Cut::Blocked)].into());
    let reason = |error: ProbeError| match error {
        ProbeError::Connect(error) => Unreached::of(&error),
        ProbeError::Ended(error) => Unreached::of(&error),
        ProbeError::Silent => panic!("it answers"),
    };
    let refused = soon(probe(&caller, &at)).await.unwrap_err();
    let untold = Unreached::Disbelieves(Disbelief::Untold);
    assert_eq!(reason(refused), untold);
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nowhere = gone.local_addr().unwrap().to_string();
    drop(gone);
    let refused = soon(probe(&caller, &nowhere)).await.unwrap_err();
    let address = nowhere;
    assert_eq!(reason(refused), Unreached::Refused { address });
}

//! A small federation for the tests of this module: `antwerp` listens and `rotterdam` calls, over real loopback
//! sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use portcullis_certs_dev::{DevelopmentAuthority, NodeCertificate, NodeNames};
use portcullis_protocol::identifiers::NodeId;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::{CertificateRevocationListDer, UnixTime};
use tokio::net::TcpListener;
use tokio_stream::StreamExt;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    connector::{ConnectorLimits, PeerConnector},
    counters::{ExchangeCounters, Rejection},
    identity::OwnIdentity,
    listed::Listed,
    listener::{Incoming, Listener, ListenerLimits},
    stream::PeerStream,
    trust::{DevelopmentCertificates, PeerFacts, PeerTrust, Trust},
};

/// Time that a test waits for an event before it fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A clock that stands still until it is set.
#[derive(Debug)]
pub(super) struct StillClock(AtomicU64);

impl StillClock {
    pub(super) fn set(&self, time: Timestamp) {
        self.0
            .store(u64::try_from(time.as_second()).unwrap(), Ordering::SeqCst);
    }
}

impl TimeProvider for StillClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(
            self.0.load(Ordering::SeqCst),
        )))
    }
}

pub(super) fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

pub(super) fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

pub(super) fn names(name: &str) -> NodeNames {
    NodeNames::new("ports", name, &format!("{name}.example")).unwrap()
}

pub(super) fn identity(certificate: &NodeCertificate) -> Arc<OwnIdentity> {
    Arc::new(
        OwnIdentity::new(vec![certificate.certificate.clone()], certificate.key.der()).unwrap(),
    )
}

pub(super) async fn soon<F: Future>(what: F) -> F::Output {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("it did not happen in time")
}

pub(super) async fn until(mut holds: impl FnMut() -> bool) {
    soon(async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Two authorities with one node each.
pub(super) struct Federation {
    pub(super) belgium: DevelopmentAuthority,
    pub(super) netherlands: DevelopmentAuthority,
    pub(super) clock: Arc<StillClock>,
}

impl Federation {
    pub(super) fn new() -> Self {
        let clock = Arc::new(StillClock(AtomicU64::new(0)));
        clock.set(now());
        Self {
            belgium: DevelopmentAuthority::new("belgium", now()).unwrap(),
            netherlands: DevelopmentAuthority::new("netherlands", now()).unwrap(),
            clock,
        }
    }

    pub(super) fn antwerp(&self) -> PeerFacts {
        facts("antwerp", &self.belgium, Vec::new())
    }

    pub(super) fn rotterdam(&self) -> PeerFacts {
        facts("rotterdam", &self.netherlands, Vec::new())
    }

    pub(super) fn rotterdam_with(&self, list: CertificateRevocationListDer<'static>) -> PeerFacts {
        facts("rotterdam", &self.netherlands, vec![list])
    }

    /// Builds the trust in `antwerp` and in a `rotterdam` with these facts.
    pub(super) fn snapshot(&self, rotterdam: PeerFacts) -> PeerTrust {
        PeerTrust::new(
            [self.antwerp(), rotterdam],
            DevelopmentCertificates::Accepted,
        )
        .unwrap()
    }

    pub(super) async fn listen(&self, rotterdam: PeerFacts, limits: &ListenerLimits) -> Antwerp {
        let certificate = self.belgium.issue(&names("antwerp"), now()).unwrap();
        self.listen_as(&certificate, rotterdam, limits).await
    }

    pub(super) async fn listen_as(
        &self,
        certificate: &NodeCertificate,
        rotterdam: PeerFacts,
        limits: &ListenerLimits,
    ) -> Antwerp {
        let tcp = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (trust, counters) = (
            Trust::new(self.snapshot(rotterdam)),
            ExchangeCounters::default(),
        );
        let (listener, incoming) = Listener::new(
            tcp,
            identity(certificate),
            trust.clone(),
            self.clock.clone(),
            limits,
            counters.clone(),
        )
        .unwrap();
        let listed = listener.listed();
        let (address, shutdown) = (listener.local_address().unwrap(), CancellationToken::new());
        tokio::spawn(listener.run(shutdown.clone()));
        Antwerp {
            address,
            incoming,
            trust,
            counters,
            listed,
            shutdown: shutdown.drop_guard(),
        }
    }

    /// Builds a caller that shows `certificate` and expects `antwerp`.
    pub(super) fn caller(&self, certificate: &NodeCertificate) -> PeerConnector {
        self.caller_of("antwerp", certificate)
    }

    pub(super) fn caller_of(&self, expected: &str, certificate: &NodeCertificate) -> PeerConnector {
        let trust = Trust::new(self.snapshot(self.rotterdam()));
        let limits = ConnectorLimits::default();
        PeerConnector::new(
            node(expected),
            identity(certificate),
            trust,
            self.clock.clone(),
            limits,
        )
        .unwrap()
    }

    pub(super) fn good_certificate(&self) -> NodeCertificate {
        self.netherlands.issue(&names("rotterdam"), now()).unwrap()
    }
}

pub(super) fn facts(
    name: &str,
    authority: &DevelopmentAuthority,
    revocation_lists: Vec<CertificateRevocationListDer<'static>>,
) -> PeerFacts {
    PeerFacts {
        node: node(name),
        dns_name: format!("{name}.example"),
        uri: format!("urn:portcullis:ports:{name}"),
        trust_anchor: authority.certificate().clone(),
        revocation_lists,
    }
}

/// The listening node.
pub(super) struct Antwerp {
    pub(super) address: SocketAddr,
    pub(super) incoming: Incoming,
    pub(super) trust: Trust,
    pub(super) counters: ExchangeCounters,
    pub(super) listed: Listed,
    pub(super) shutdown: DropGuard,
}

impl Antwerp {
    pub(super) fn at(&self) -> String {
        self.address.to_string()
    }

    pub(super) async fn next(&mut self) -> PeerStream {
        let Ok(stream) = soon(self.incoming.next()).await.expect("the listener runs");
        stream
    }

    /// Waits until one connection was rejected for `reason`, and checks that none was handed on.
    pub(super) async fn rejects_for(&mut self, reason: Rejection) {
        until(|| self.counters.rejected_total(reason) == 1).await;
        assert_eq!(self.counters.accepted_total(), 0);
    }
}

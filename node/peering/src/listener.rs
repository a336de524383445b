//! Accepting peers: handshakes run side by side, each with a time limit, and only judged peers are handed on.
//!
//! tonic ends its server at the first `Err` of an incoming stream, so [`Incoming`] cannot yield one: its error type has no
//! values. A failed handshake is counted, logged and forgotten.
//!
//! Bounded: handshakes in all and per address, connections per peer, connections waiting to be served. At the bound on
//! handshakes nothing is accepted, and the kernel's queue holds the callers.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use portcullis_protocol::identifiers::NodeId;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, server};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use super::counters::{ExchangeCounters, Rejection};
use super::ending::{Ending, Presented, Warden};
use super::identity::OwnIdentity;
use super::stream::{Peer, PeerStream};
use super::tally::Tally;
use super::tls::{Clock, HTTP2, server_config};
use super::trust::{Role, Trust};

/// Pause after the system refused to accept, which is mostly a lack of file descriptors.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_millis(100);

/// The bounds of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Unfinished handshakes in all.
    pub handshakes: usize,
    /// Unfinished handshakes from one address, so that one caller cannot hold all of them.
    pub handshakes_per_address: usize,
    /// Time limit of one handshake.
    pub handshake_timeout: Duration,
    /// Open connections of one peer.
    pub connections_per_peer: usize,
    /// Age limit of a connection.
    pub connection_lifetime: Duration,
    /// Connections that have been judged and wait to be served.
    pub waiting: usize,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            handshakes: 256,
            handshakes_per_address: 64,
            handshake_timeout: Duration::from_secs(10),
            connections_per_peer: 16,
            connection_lifetime: Duration::from_secs(3600),
            waiting: 64,
        }
    }
}

/// A tonic server with this exchange's HTTP/2 settings.
///
/// A ping every 20 s, answered within 10 s, finds a dead peer in half a minute. At nine tenths of `lifetime` tonic asks
/// the peer to go away and lets what is under way finish; [`super::ending`] cuts what is left at the full lifetime.
#[must_use]
pub fn server(lifetime: Duration) -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .max_connection_age(lifetime.mul_f64(0.9))
        .max_concurrent_streams(Some(4))
}

/// The judged connections, in the order in which their handshakes ended; for `serve_with_incoming_shutdown`.
#[derive(Debug)]
pub struct Incoming(mpsc::Receiver<PeerStream>);

impl Stream for Incoming {
    type Item = Result<PeerStream, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|stream| stream.map(Ok))
    }
}

/// A bound listener that has not begun to accept.
pub struct Listener {
    tcp: TcpListener,
    handshakes: Arc<Semaphore>,
    per_address: Tally<IpAddr>,
    reception: Reception,
}

/// State that every handshake needs; clones share their tallies and counters.
#[derive(Clone)]
struct Reception {
    acceptor: TlsAcceptor,
    trust: Trust,
    clock: Clock,
    timeout: Duration,
    lifetime: Duration,
    per_peer: Tally<NodeId>,
    counters: ExchangeCounters,
    judged: mpsc::Sender<PeerStream>,
}

/// Reason for which one incoming connection came to nothing.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no handshake within {0:?}")]
    TimedOut(Duration),
    #[error(transparent)]
    Tls(#[from] io::Error),
    #[error("the peer did not agree on HTTP/2")]
    NotHttp2,
    #[error(transparent)]
    Untrusted(#[from] Ending),
    #[error("node `{0}` holds as many connections as it may")]
    PeerBusy(NodeId),
    #[error("the server has stopped")]
    Stopped,
}

impl Listener {
    /// Prepares to accept on `tcp`; the connections come out of the [`Incoming`] while [`Self::run`] runs.
    ///
    /// # Errors
    ///
    /// [`rustls::Error`] if TLS 1.3 cannot be configured: our fault.
    pub fn new(
        tcp: TcpListener,
        identity: Arc<OwnIdentity>,
        trust: Trust,
        clock: Clock,
        limits: &ListenerLimits,
        counters: ExchangeCounters,
    ) -> Result<(Self, Incoming), rustls::Error> {
        let config: ServerConfig = server_config(identity, trust.clone(), clock.clone())?;
        let (judged, incoming) = mpsc::channel(limits.waiting.max(1));
        let reception = Reception {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            trust,
            clock,
            timeout: limits.handshake_timeout,
            lifetime: limits.connection_lifetime,
            per_peer: Tally::new(limits.connections_per_peer),
            counters,
            judged,
        };
        let handshakes = Arc::new(Semaphore::new(limits.handshakes));
        let per_address = Tally::new(limits.handshakes_per_address);
        Ok((
            Self {
                tcp,
                handshakes,
                per_address,
                reception,
            },
            Incoming(incoming),
        ))
    }

    /// The address that is listened on.
    ///
    /// # Errors
    ///
    /// As [`TcpListener::local_addr`].
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Accepts until `shutdown`, then drops unfinished handshakes and ends the [`Incoming`]; open connections live on.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut running = JoinSet::new();
        loop {
            let (tcp, address, permit) = tokio::select! {
                () = shutdown.cancelled() => break,
                Some(next) = self.next() => next,
            };
            self.begin(&mut running, tcp, address, permit);
            while let Some(finished) = running.try_join_next() {
                if let Err(error) = finished {
                    tracing::error!(%error, "a handshake did not finish");
                }
            }
        }
        running.shutdown().await;
    }

    /// Waits for room and then for a caller. Returns nothing if the semaphore is closed, which never happens.
    async fn next(&self) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let permit = self.handshakes.clone().acquire_owned().await.ok()?;
        loop {
            match self.tcp.accept().await {
                Ok((tcp, address)) => return Some((tcp, address, permit)),
                Err(error) => {
                    tracing::warn!(%error, "the system accepts no connection");
                    tokio::time::sleep(PAUSE_AFTER_REFUSAL).await;
                }
            }
        }
    }

    fn begin(
        &self,
        running: &mut JoinSet<()>,
        tcp: TcpStream,
        address: SocketAddr,
        permit: OwnedSemaphorePermit,
    ) {
        let Some(place) = self.per_address.take(address.ip()) else {
            self.reception.counters.reject(Rejection::AddressBusy);
            tracing::debug!(%address, "too many unfinished handshakes from one address");
            return;
        };
        let reception = self.reception.clone();
        running.spawn(async move {
            reception.receive(tcp, address).await;
            drop((permit, place));
        });
    }
}

impl Reception {
    async fn receive(&self, tcp: TcpStream, address: SocketAddr) {
        if let Err(failure) = self.admit(tcp, address).await {
            failure.report(address, &self.counters);
        }
    }

    async fn admit(&self, tcp: TcpStream, address: SocketAddr) -> Result<(), Failure> {
        tcp.set_nodelay(true)?;
        let handshake = tokio::time::timeout(self.timeout, self.acceptor.accept(tcp));
        let tls = handshake
            .await
            .map_err(|_| Failure::TimedOut(self.timeout))??;
        let stream = self.judge(tls, address)?;
        self.judged.send(stream).await.map_err(|_| Failure::Stopped)
    }

    fn judge(
        &self,
        tls: server::TlsStream<TcpStream>,
        address: SocketAddr,
    ) -> Result<PeerStream, Failure> {
        let session = tls.get_ref().1;
        if session.alpn_protocol() != Some(HTTP2) {
            return Err(Failure::NotHttp2);
        }
        let presented = Presented::new(Role::Client, session.peer_certificates())
            .ok_or_else(|| io::Error::other("a handshake without a certificate"))?;
        let (warden, judged) =
            Warden::new(presented, &self.trust, self.clock.clone(), self.lifetime)?;
        let node = judged.node.clone();
        let place = self
            .per_peer
            .take(node.clone())
            .ok_or_else(|| Failure::PeerBusy(node.clone()))?;
        self.counters.accept();
        tracing::debug!(peer = %node, %address, "peer connected");
        let peer = Peer {
            node,
            certificate_expiry: judged.certificate_expiry,
            address,
        };
        Ok(PeerStream::new(tls.into(), peer, warden).counted(self.counters.clone(), place))
    }
}

impl Failure {
    fn report(&self, address: SocketAddr, counters: &ExchangeCounters) {
        let Some(rejection) = self.rejection() else {
            return;
        };
        counters.reject(rejection);
        // A peer that is not believed wants an operator's eye; what a port scanner does is noise.
        if rejection == Rejection::Untrusted {
            tracing::warn!(%address, reason = %self, "peer refused");
        } else {
            tracing::debug!(%address, reason = %self, "connection refused");
        }
    }

    fn rejection(&self) -> Option<Rejection> {
        match self {
            Self::TimedOut(_) => Some(Rejection::TimedOut),
            Self::Tls(error) if is_about_certificate(error) => Some(Rejection::Untrusted),
            Self::Tls(_) => Some(Rejection::Tls),
            Self::NotHttp2 => Some(Rejection::NotHttp2),
            Self::Untrusted(_) => Some(Rejection::Untrusted),
            Self::PeerBusy(_) => Some(Rejection::PeerBusy),
            Self::Stopped => None,
        }
    }
}

fn is_about_certificate(error: &io::Error) -> bool {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(
        inner,
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::InvalidCertRevocationList(_))
    )
}

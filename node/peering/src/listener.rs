//! Accepting peers: handshakes run side by side, each with a time limit, and only judged peers are handed on.
//!
//! tonic ends its server at the first `Err` of an incoming stream, so [`Incoming`] cannot yield one: its error type has no
//! values. A failed handshake is counted, logged and forgotten.
//!
//! Bounded: handshakes in all, per address and per network, connections per peer, connections waiting to be served. At
//! the bound on handshakes the oldest silent caller gives way to the newest (peering/places.rs). A caller has two seconds
//! for its ClientHello and the rest of the time limit for what follows.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use portcullis_protocol::identifiers::NodeId;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::{LazyConfigAcceptor, server};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use super::counters::{ExchangeCounters, Rejection};
use super::crowding::{Crowding, TELLING, Told};
use super::ending::{Ending, Presented, Warden};
use super::identity::OwnIdentity;
use super::listed::Listed;
use super::places::{Bounds, Caller, Crowded, Door, Place};
use super::proxy;
use super::reserve::Reserve;
use super::stream::{Peer, PeerStream};
use super::tally::Tally;
use super::tls::{Clock, HTTP2, server_config};
use super::trust::{Role, Trust};
use super::unreached::Unreached;
use super::verifier::refusal_of;

/// Longest time until a caller's ClientHello is whole.
const HELLO_TIMEOUT: Duration = Duration::from_secs(2);

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
    /// Addresses of proxies that say for whom they call, by the PROXY protocol.
    pub proxies: BTreeSet<IpAddr>,
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
            proxies: BTreeSet::new(),
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
    reserve: Reserve,
    reception: Reception,
}

/// State that every handshake needs; clones share their tallies and counters.
#[derive(Clone)]
struct Reception {
    config: Arc<ServerConfig>,
    trust: Trust,
    clock: Clock,
    timeout: Duration,
    lifetime: Duration,
    per_peer: Tally<NodeId>,
    door: Door,
    proxies: Arc<BTreeSet<IpAddr>>,
    listed: Listed,
    // Guards the counts alone. Held for one count, and never across an await.
    crowding: Arc<Mutex<Crowding>>,
    counters: ExchangeCounters,
    judged: mpsc::Sender<PeerStream>,
}

/// Reason for which one incoming connection came to nothing.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no handshake within {0:?}")]
    TimedOut(Duration),
    #[error("it gave its place to a newer caller")]
    GaveWay,
    #[error("it found no place: {0:?}")]
    Crowded(Crowded),
    #[error("{}", in_words(.0))]
    Tls(#[from] io::Error),
    #[error("a proxy: {0}")]
    Proxy(io::Error),
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
    /// Prepares to accept on `tcp`; the connections come out of the [`Incoming`] while [`Self::run`] runs. Addresses in
    /// `listed` keep places for their handshakes.
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
            config: Arc::new(config),
            trust,
            clock,
            timeout: limits.handshake_timeout,
            lifetime: limits.connection_lifetime,
            per_peer: Tally::new(limits.connections_per_peer),
            door: Door::new(Bounds {
                total: limits.handshakes,
                per_address: limits.handshakes_per_address,
                patience: HELLO_TIMEOUT,
            }),
            proxies: Arc::new(limits.proxies.clone()),
            listed: Listed::default(),
            crowding: Arc::default(),
            counters,
            judged,
        };
        let mut reserve = Reserve::default();
        reserve.fill();
        Ok((
            Self {
                tcp,
                reserve,
                reception,
            },
            Incoming(incoming),
        ))
    }

    /// Returns the addresses of members, to be kept up to date by whoever knows the register.
    #[must_use]
    pub fn listed(&self) -> Listed {
        self.reception.listed.clone()
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
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut running = JoinSet::new();
        let mut minute = tokio::time::interval(TELLING);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = self.tcp.accept() => match accepted {
                    Ok((tcp, address)) => self.begin(&mut running, tcp, address),
                    Err(error) => self.refused(&error).await,
                },
                _ = minute.tick() => tell(&self.reception.crowding().over()),
                Some(finished) = running.join_next() => if let Err(error) = finished {
                    tracing::error!(%error, "a handshake did not finish");
                },
            }
        }
        running.shutdown().await;
    }

    async fn refused(&mut self, error: &io::Error) {
        tracing::warn!(%error, "the system accepts no connection; raise `LimitNOFILE` if it lacks file descriptors");
        tokio::time::sleep(self.reserve.pause_after(error)).await;
    }

    fn begin(&mut self, running: &mut JoinSet<()>, tcp: TcpStream, address: SocketAddr) {
        self.reserve.fill();
        let reception = self.reception.clone();
        match reception.place(reception.caller(address.ip())) {
            Ok(place) => {
                running.spawn(async move { reception.receive(tcp, address, place).await });
            }
            Err(failure) => failure.report(address, &reception.counters),
        }
    }
}

/// Tells which addresses wanted more handshakes at once than they may have.
fn tell(told: &Told) {
    for (address, callers) in &told.named {
        tracing::warn!(%address, callers, "within a minute so many callers from one address or its network found no place or lost it; if peers come through a proxy or NAT there, see `exchange.proxy_protocol_from` and `exchange.handshakes_per_address`");
    }
    if told.rest > 0 {
        tracing::warn!(
            callers = told.rest,
            "more callers from other addresses found no place or lost it"
        );
    }
}

impl Reception {
    fn caller(&self, address: IpAddr) -> Caller {
        let address = address.to_canonical();
        if self.proxies.contains(&address) {
            Caller::Proxy
        } else {
            self.direct(address)
        }
    }

    fn direct(&self, address: IpAddr) -> Caller {
        if self.listed.contains(address) {
            Caller::Listed(address)
        } else {
            Caller::Stranger(address)
        }
    }

    fn place(&self, caller: Caller) -> Result<Place, Failure> {
        let taken = self.door.take(caller);
        let crowded = match &taken {
            Ok((_, crowded)) => *crowded,
            Err(crowded) => Some(*crowded),
        };
        if let (Some(Crowded::Address), Some(address)) = (crowded, caller.address()) {
            self.crowding().count(address);
        }
        match taken {
            Ok((place, _)) => Ok(place),
            Err(crowded) => Err(Failure::Crowded(crowded)),
        }
    }

    fn crowding(&self) -> MutexGuard<'_, Crowding> {
        self.crowding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn receive(&self, mut tcp: TcpStream, address: SocketAddr, place: Place) {
        let (address, place) = match self.behind_proxy(&mut tcp, address, place).await {
            Ok(known) => known,
            Err(failure) => return failure.report(address, &self.counters),
        };
        let judged = tokio::select! {
            judged = self.admit(tcp, address, &place) => judged,
            () = place.gone() => Err(Failure::GaveWay),
        };
        // What is judged is bounded per peer, and needs no place any more.
        drop(place);
        let handed_on = match judged {
            Ok(stream) => self.judged.send(stream).await.map_err(|_| Failure::Stopped),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = handed_on {
            failure.report(address, &self.counters);
        }
    }

    /// Learns from a proxy for whom it calls, and takes a place for that address. A caller without a proxy keeps its
    /// own.
    async fn behind_proxy(
        &self,
        tcp: &mut TcpStream,
        address: SocketAddr,
        place: Place,
    ) -> Result<(SocketAddr, Place), Failure> {
        if !self.proxies.contains(&address.ip().to_canonical()) {
            return Ok((address, place));
        }
        let caller = tokio::select! {
            caller = timeout(HELLO_TIMEOUT, proxy::caller_of(tcp)) => caller,
            () = place.gone() => return Err(Failure::GaveWay),
        };
        let caller = caller
            .map_err(|_| Failure::TimedOut(HELLO_TIMEOUT))?
            .map_err(Failure::Proxy)?;
        let Some(caller) = caller else {
            return Ok((address, place));
        };
        drop(place);
        Ok((caller, self.place(self.direct(caller.ip()))?))
    }

    async fn admit(
        &self,
        tcp: TcpStream,
        address: SocketAddr,
        place: &Place,
    ) -> Result<PeerStream, Failure> {
        let until = Instant::now() + self.timeout;
        let silence = HELLO_TIMEOUT.min(self.timeout);
        tcp.set_nodelay(true)?;
        let acceptor = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), tcp);
        let hello = timeout(silence, acceptor)
            .await
            .map_err(|_| Failure::TimedOut(silence))??;
        place.heard();
        let tls = timeout_at(until, hello.into_stream(self.config.clone()))
            .await
            .map_err(|_| Failure::TimedOut(self.timeout))??;
        self.judge(tls, address)
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
        self.listed.saw(&node, address.ip());
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
        // A peer that is not believed and a proxy that is not set up want an operator's eye; what a port scanner does
        // is noise.
        if matches!(rejection, Rejection::Untrusted | Rejection::Proxy) {
            tracing::warn!(%address, reason = %self, "peer refused");
        } else {
            tracing::debug!(%address, reason = %self, "connection refused");
        }
    }

    fn rejection(&self) -> Option<Rejection> {
        match self {
            Self::TimedOut(_) => Some(Rejection::TimedOut),
            Self::GaveWay => Some(Rejection::GaveWay),
            Self::Crowded(Crowded::Address) => Some(Rejection::AddressBusy),
            Self::Crowded(Crowded::All) => Some(Rejection::Full),
            Self::Proxy(_) => Some(Rejection::Proxy),
            Self::Tls(error) if is_about_certificate(error) => Some(Rejection::Untrusted),
            Self::Tls(_) => Some(Rejection::Tls),
            Self::NotHttp2 => Some(Rejection::NotHttp2),
            Self::Untrusted(_) => Some(Rejection::Untrusted),
            Self::PeerBusy(_) => Some(Rejection::PeerBusy),
            Self::Stopped => None,
        }
    }
}

/// Describes a failed handshake: by this node's own refusal if there is one.
fn in_words(error: &io::Error) -> String {
    match refusal_of(error) {
        Some(refusal) => format!("{refusal} ({})", refusal.rule()),
        None => Unreached::of(error).to_string(),
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

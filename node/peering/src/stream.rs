//! Connection with a judged peer, as tonic sees it: bytes both ways, and the peer's identity.
//!
//! Refuses to carry another byte once the peer is no longer trusted or the connection is too old ([`super::ending`]).

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use jiff::Timestamp;
use portcullis_protocol::identifiers::NodeId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;
use tonic::transport::server::Connected;

use super::counters::ExchangeCounters;
use super::ending::{Ending, Warden};
use super::tally::Seat;

/// Peer at the other end, found in the extensions of every request that came over the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Node id, by its certificate and the register.
    pub node: NodeId,
    /// Last second at which its certificate holds.
    pub certificate_expiry: Timestamp,
    /// Address that it connected from, or that was connected to.
    pub address: SocketAddr,
}

/// A TLS connection with a judged peer.
pub struct PeerStream {
    io: TlsStream<TcpStream>,
    peer: Peer,
    ending: Pin<Box<dyn Future<Output = Ending> + Send>>,
    ended: Option<Arc<Ending>>,
    counters: Option<ExchangeCounters>,
    _place: Option<Seat<NodeId>>,
}

impl PeerStream {
    pub(super) fn new(io: TlsStream<TcpStream>, peer: Peer, warden: Warden) -> Self {
        Self {
            io,
            peer,
            ending: Box::pin(warden.watch()),
            ended: None,
            counters: None,
            _place: None,
        }
    }

    pub(super) fn counted(self, counters: ExchangeCounters, place: Seat<NodeId>) -> Self {
        Self {
            counters: Some(counters),
            _place: Some(place),
            ..self
        }
    }

    /// Returns the peer at the other end.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Checks if the connection has ended, and registers to be woken when it does.
    fn poll_alive(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.ended.is_none()
            && let Poll::Ready(ending) = self.ending.as_mut().poll(context)
        {
            tracing::info!(peer = %self.peer.node, reason = %ending, "connection ended");
            if let Some(counters) = &self.counters {
                counters.ended(&ending);
            }
            self.ended = Some(Arc::new(ending));
        }
        self.alive()
    }

    fn alive(&self) -> io::Result<()> {
        match &self.ended {
            Some(ending) => Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                ending.clone(),
            )),
            None => Ok(()),
        }
    }
}

impl Connected for PeerStream {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl fmt::Debug for PeerStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerStream")
            .field("peer", &self.peer)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl AsyncRead for PeerStream {
    /// HTTP/2 always has a read outstanding, so an idle connection learns of its end here.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_alive(cx)?;
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.alive()?;
        Pin::new(&mut self.io).poll_write(cx, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.alive()?;
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.alive()?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

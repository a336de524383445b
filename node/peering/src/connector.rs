//! Connecting to a peer: TCP and TLS to one expected node, for tonic's `Endpoint::connect_with_connector`.
//!
//! The URI given to tonic stays `http://`, because the TLS is ours; with `https://` tonic would ask for its own.
//! Refuses any other node than the expected one, whatever answers at the address.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::rt::TokioIo;
use portcullis_protocol::identifiers::NodeId;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::codegen::http::Uri;
use tonic::transport::Endpoint;
use tower::Service;
use tower::util::MapErr;

use super::ending::{Ending, Presented, Warden};
use super::identity::OwnIdentity;
use super::stream::{Peer, PeerStream};
use super::tls::{Clock, HTTP2, client_config};
use super::trust::{Refusal, Role, Trust};
use super::verifier::refuse_other;

/// The limits of an outgoing connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorLimits {
    /// Time limit for looking up the name and connecting.
    pub connect_timeout: Duration,
    /// Time limit of the handshake.
    pub handshake_timeout: Duration,
    /// Age limit of a connection.
    pub connection_lifetime: Duration,
}

impl Default for ConnectorLimits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            connection_lifetime: Duration::from_secs(3600),
        }
    }
}

/// Error of a lookup: a name has no address.
#[derive(Debug, thiserror::Error)]
#[error("the name has no address")]
pub struct NoName(#[source] io::Error);

impl NoName {
    pub(super) const fn of(error: io::Error) -> Self {
        Self(error)
    }
}

/// Error that kept a connection to a peer from being made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address is not `host:port`.
    #[error("`{address}` is not `host:port`; correct the node's endpoint in the register")]
    Address {
        /// The address given.
        address: String,
    },
    /// Nothing answers at the address.
    #[error("no connection to node `{node}` at `{address}`")]
    Tcp {
        /// The node called.
        node: NodeId,
        /// The address tried.
        address: String,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// TLS failed, or the peer is not believed.
    #[error("no handshake with node `{node}`")]
    Handshake {
        /// The node called.
        node: NodeId,
        /// The TLS or input/output error.
        #[source]
        source: io::Error,
    },
    /// A step took longer than its limit.
    #[error("node `{node}` did not answer within {limit:?}")]
    TimedOut {
        /// The node called.
        node: NodeId,
        /// The limit exceeded.
        limit: Duration,
    },
    /// The peer does not speak HTTP/2.
    #[error("node `{node}` did not agree on HTTP/2")]
    NotHttp2 {
        /// The node called.
        node: NodeId,
    },
    /// The peer is not, or no longer, believed.
    #[error(transparent)]
    Untrusted(#[from] Ending),
}

/// Makes the endpoint for `address` (`host:port`, as the register has it) with this exchange's HTTP/2 settings.
///
/// A ping every 20 s, on idle connections too, answered within 10 s, finds a dead peer in half a minute.
///
/// # Errors
///
/// [`ConnectError::Address`] if `address` is not `host:port`.
pub fn endpoint(address: &str) -> Result<Endpoint, ConnectError> {
    let wrong = || ConnectError::Address {
        address: address.to_owned(),
    };
    let uri: Uri = format!("http://{address}/").parse().map_err(|_| wrong())?;
    let plain = uri.port().is_some() && uri.path() == "/" && uri.query().is_none();
    if !plain
        || uri
            .authority()
            .is_none_or(|authority| authority.as_str() != address || address.contains('@'))
    {
        return Err(wrong());
    }
    Ok(Endpoint::from(uri)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true)
        .tcp_nodelay(true))
}

/// Connects to one node.
#[derive(Clone)]
pub struct PeerConnector {
    node: NodeId,
    tls: TlsConnector,
    trust: Trust,
    clock: Clock,
    limits: ConnectorLimits,
}

impl PeerConnector {
    /// Prepares to connect to `node` and no other.
    ///
    /// # Errors
    ///
    /// [`rustls::Error`] if TLS 1.3 cannot be configured: our fault.
    pub fn new(
        node: NodeId,
        identity: Arc<OwnIdentity>,
        trust: Trust,
        clock: Clock,
        limits: ConnectorLimits,
    ) -> Result<Self, rustls::Error> {
        let config = client_config(identity, trust.clone(), node.clone(), clock.clone())?;
        Ok(Self {
            node,
            tls: TlsConnector::from(Arc::new(config)),
            trust,
            clock,
            limits,
        })
    }

    /// Connects to `address` (`host:port`) and judges who answers.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says which step failed.
    pub async fn connect(&self, address: &str) -> Result<PeerStream, ConnectError> {
        let server_name = self
            .trust
            .current()
            .server_name(&self.node)
            .ok_or_else(|| {
                Ending::from(Refusal::UnknownNode {
                    node: self.node.clone(),
                })
            })?;
        let tcp = self.tcp(address).await?;
        let address = tcp
            .peer_addr()
            .map_err(|source| self.handshake_error(source))?;
        let tls = self
            .within(
                self.limits.handshake_timeout,
                self.tls.connect(server_name, tcp),
            )
            .await?
            .map_err(|source| self.handshake_error(source))?;
        let session = tls.get_ref().1;
        if session.alpn_protocol() != Some(HTTP2) {
            return Err(ConnectError::NotHttp2 {
                node: self.node.clone(),
            });
        }
        let presented =
            Presented::new(Role::Server, session.peer_certificates()).ok_or_else(|| {
                self.handshake_error(io::Error::other("a handshake without a certificate"))
            })?;
        let (warden, judged) = Warden::new(
            presented,
            &self.trust,
            self.clock.clone(),
            self.limits.connection_lifetime,
        )?;
        let judged = refuse_other(&self.node, judged).map_err(Ending::from)?;
        let peer = Peer {
            node: judged.node,
            certificate_expiry: judged.certificate_expiry,
            address,
        };
        Ok(PeerStream::new(tls.into(), peer, warden))
    }

    async fn tcp(&self, address: &str) -> Result<TcpStream, ConnectError> {
        let wrong = |_| ConnectError::Address {
            address: address.to_owned(),
        };
        let uri: Uri = format!("http://{address}/").parse().map_err(wrong)?;
        let limit = self.limits.connect_timeout;
        let names = MapErr::new(GaiResolver::new(), NoName::of as fn(io::Error) -> NoName);
        self.within(limit, first_of(names, uri, limit))
            .await?
            .map_err(|source| ConnectError::Tcp {
                node: self.node.clone(),
                address: address.to_owned(),
                source,
            })
    }

    async fn within<F: Future>(&self, limit: Duration, step: F) -> Result<F::Output, ConnectError> {
        let timed_out = |_| ConnectError::TimedOut {
            node: self.node.clone(),
            limit,
        };
        tokio::time::timeout(limit, step).await.map_err(timed_out)
    }

    fn handshake_error(&self, source: io::Error) -> ConnectError {
        ConnectError::Handshake {
            node: self.node.clone(),
            source,
        }
    }
}

/// Connects to the first address of a name that answers. The families of addresses are tried side by side, the second a
/// little later (RFC 8305), and the addresses of a family one after the other, each with its share of `limit`.
async fn first_of<R>(resolver: R, uri: Uri, limit: Duration) -> io::Result<TcpStream>
where
    HttpConnector<R>: Service<Uri, Response = TokioIo<TcpStream>>,
    <HttpConnector<R> as Service<Uri>>::Error: Error + Send + Sync + 'static,
{
    let mut connector = HttpConnector::new_with_resolver(resolver);
    connector.set_connect_timeout(Some(limit));
    connector.set_nodelay(true);
    let connected = connector.call(uri).await.map_err(system_error)?;
    Ok(connected.into_inner())
}

/// Returns the error of the operating system behind `error`, or the failed lookup; `error` itself if there is neither.
fn system_error(error: impl Error + Send + Sync + 'static) -> io::Error {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(found) = cause {
        if let Some(NoName(source)) = found.downcast_ref::<NoName>() {
            let again = io::Error::new(source.kind(), source.to_string());
            return io::Error::new(io::ErrorKind::NotFound, NoName::of(again));
        }
        if let Some(code) = found
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error)
        {
            return io::Error::from_raw_os_error(code);
        }
        cause = found.source();
    }
    io::Error::other(error)
}

impl Service<Uri> for PeerConnector {
    type Response = TokioIo<PeerStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let address = uri.authority().map_or("", |authority| authority.as_str());
            connector.connect(address).await.map(TokioIo::new)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper_util::client::legacy::connect::dns::Name;
    use std::net::SocketAddr;
    use tokio::net::{TcpListener, TcpSocket};

    /// Binds an address at which connections are begun and never made: its queue is full.
    async fn swallowing(address: &str) -> (SocketAddr, Vec<TcpStream>, TcpListener) {
        let address: SocketAddr = address.parse().unwrap();
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        };
        let socket = socket.unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        let brief = Duration::from_millis(200);
        while let Ok(connected) = tokio::time::timeout(brief, TcpStream::connect(address)).await {
            queued.push(connected.unwrap());
        }
        (address, queued, listener)
    }

    async fn reaches(swallows: &str, limit: Duration) {
        let (dead, _queued, _open) = swallowing(swallows).await;
        let alive = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive_at = alive.local_addr().unwrap();
        let name = tower::service_fn(move |_: Name| {
            let both = [dead, alive_at];
            async move { Ok::<_, io::Error>(both.into_iter()) }
        });
        let uri = Uri::from_static("http://antwerp.example/");
        let connecting = first_of(name, uri, limit);
        let connected = tokio::time::timeout(limit, connecting).await.unwrap();
        assert_eq!(connected.unwrap().peer_addr().unwrap(), alive_at);
    }

    /// Attack #8: a name whose first address swallowed packets was never connected to.
    #[tokio::test]
    async fn an_address_that_swallows_everything_does_not_hide_the_next() {
        reaches("127.0.0.2:0", Duration::from_secs(2)).await;
        let v6 = TcpSocket::new_v6().is_ok_and(|of| of.bind("[::1]:0".parse().unwrap()).is_ok());
        if v6 {
            reaches("[::1]:0", Duration::from_secs(2)).await;
        }
    }

    /// Newcomer B3: a name that is not found is told apart from an address that does not answer.
    #[tokio::test]
    async fn a_name_without_an_address_is_told_as_that() {
        let nothing = tower::service_fn(|_: Name| async {
            Err::<std::iter::Empty<SocketAddr>, _>(io::Error::other("no such name"))
        });
        let names = MapErr::new(nothing, NoName::of as fn(io::Error) -> NoName);
        let uri = Uri::from_static("http://antwerp.example/");
        let failed = first_of(names, uri, Duration::from_secs(2)).await;
        let inner = failed.unwrap_err().into_inner().unwrap();
        assert!(inner.is::<NoName>(), "{inner:?}");
    }

    #[tokio::test]
    async fn an_address_that_refuses_is_told_as_the_system_tells_it() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = gone.local_addr().unwrap();
        drop(gone);
        let uri: Uri = format!("http://{at}/").parse().unwrap();
        let refused = first_of(GaiResolver::new(), uri, Duration::from_secs(2)).await;
        assert_eq!(
            refused.unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
    }
}

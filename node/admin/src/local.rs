//! HTTP/1 for users of this machine, with bounds: connections, the time for a request's head, and pauses in its body.
//!
//! A connection carries one request and is closed. Whoever holds one open without asking is cut, so that no local user
//! uses up the node's descriptors or keeps others from asking.

use std::{
    collections::VecDeque, convert::Infallible, future::Future, io, sync::Arc, time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
    response::Response,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use portcullis_peering::reserve::Reserve;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::Semaphore,
    task::{AbortHandle, JoinSet},
    time::{Instant, timeout},
};
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::request::Caller;

/// Time that requests under way have to finish once the node is told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// Bounds of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Open connections.
    pub connections: usize,
    /// Treatment of one more.
    pub when_full: WhenFull,
    /// Time limit of a request's head.
    pub head: Duration,
    /// Longest pause in a request's body.
    pub pause: Duration,
    /// Time limit of a whole connection; `None` if an answer may go on for as long as it is read.
    pub whole: Option<Duration>,
}

/// Treatment of a caller when as many connections are open as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The caller waits until another has left.
    Wait,
    /// The oldest connection is cut.
    CutOldest,
}

/// A socket that is listened on.
pub trait Accept: Send + 'static {
    /// Connection that it gives.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// Facts about who connected.
    type Caller: Clone + Send + Sync + 'static;

    /// Waits for a caller.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Io>> + Send;

    /// Says who connected.
    fn caller(io: &Self::Io) -> Self::Caller;
}

impl Accept for TcpListener {
    type Io = TcpStream;
    type Caller = ();

    async fn accept(&self) -> io::Result<TcpStream> {
        Ok(Self::accept(self).await?.0)
    }

    fn caller(_: &TcpStream) -> Self::Caller {}
}

impl Accept for UnixListener {
    type Io = UnixStream;
    type Caller = Caller;

    async fn accept(&self) -> io::Result<UnixStream> {
        Ok(Self::accept(self).await?.0)
    }

    fn caller(io: &UnixStream) -> Caller {
        Caller {
            uid: io.peer_cred().ok().map(|peer| peer.uid()),
        }
    }
}

/// Serves `router` until `shutdown`, then gives what is under way ten seconds.
pub async fn serve<L: Accept>(
    listener: L,
    router: Router,
    bounds: Bounds,
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(bounds.connections));
    let mut reserve = Reserve::default();
    reserve.fill();
    let mut open = Open::default();
    loop {
        let place = match bounds.when_full {
            WhenFull::CutOldest => {
                open.cut_down_to(bounds.connections.saturating_sub(1));
                None
            }
            WhenFull::Wait => tokio::select! {
                () = shutdown.cancelled() => break,
                place = Arc::clone(&places).acquire_owned() => place.ok(),
            },
        };
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
            Some(()) = open.next() => continue,
        };
        match accepted {
            Ok(io) => {
                reserve.fill();
                let serving = connection::<L>(io, router.clone(), bounds, shutdown.clone());
                open.add(async move {
                    serving.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the system accepts no local connection; raise `LimitNOFILE` if it lacks file descriptors");
                tokio::time::sleep(reserve.pause_after(&error)).await;
            }
        }
    }
    drop(listener);
    if timeout(GRACE, open.all()).await.is_err() {
        tracing::warn!("local requests did not finish in time; they were cut");
    }
}

/// The connections that are open, the oldest first.
#[derive(Default)]
struct Open {
    running: JoinSet<()>,
    order: VecDeque<AbortHandle>,
}

impl Open {
    fn add(&mut self, serving: impl Future<Output = ()> + Send + 'static) {
        self.order.retain(|handle| !handle.is_finished());
        self.order.push_back(self.running.spawn(serving));
    }

    fn cut_down_to(&mut self, most: usize) {
        self.order.retain(|handle| !handle.is_finished());
        while self.order.len() > most {
            if let Some(oldest) = self.order.pop_front() {
                oldest.abort();
            }
        }
    }

    /// Waits for the end of one connection; `None` if none is open.
    async fn next(&mut self) -> Option<()> {
        let ended = self.running.join_next().await?;
        if let Err(error) = ended
            && !error.is_cancelled()
        {
            tracing::error!(%error, "a local request was cut short");
        }
        Some(())
    }

    async fn all(&mut self) {
        while self.next().await.is_some() {}
    }
}

async fn connection<L: Accept>(
    io: L::Io,
    router: Router,
    bounds: Bounds,
    shutdown: CancellationToken,
) {
    let caller = L::caller(&io);
    let answer = service_fn(move |request| {
        let (router, caller) = (router.clone(), caller.clone());
        async move { Ok::<_, Infallible>(answered(router, request, caller, bounds.pause).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .keep_alive(false)
        .serve_connection(TokioIo::new(io), answer);
    let end = bounds.whole.map(|whole| Instant::now() + whole);
    let cut = async {
        match end {
            Some(end) => tokio::time::sleep_until(end).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = cut => return tracing::debug!("a local connection was cut: it took too long"),
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a local connection ended");
    }
}

async fn answered<C: Clone + Send + Sync + 'static>(
    router: Router,
    request: Request<Incoming>,
    caller: C,
    pause: Duration,
) -> Response {
    let mut request = request.map(|body| steady(body, pause));
    request.extensions_mut().insert(ConnectInfo(caller));
    let answer = router.oneshot(request).await;
    answer.unwrap_or_else(|never: Infallible| match never {})
}

/// Returns a body that fails if it pauses for too long.
fn steady(body: Incoming, pause: Duration) -> Body {
    let parts = Body::new(body).into_data_stream().timeout(pause);
    Body::from_stream(parts.map(|part| match part {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(io::Error::other(error)),
        Err(elapsed) => Err(io::Error::new(io::ErrorKind::TimedOut, elapsed)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const BOUNDS: Bounds = Bounds {
        connections: 4,
        when_full: WhenFull::CutOldest,
        head: Duration::from_millis(500),
        pause: Duration::from_millis(500),
        whole: Some(Duration::from_secs(60)),
    };

    async fn served(bounds: Bounds) -> (std::net::SocketAddr, tokio_util::sync::DropGuard) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let router = Router::new()
            .route("/", get(async || "here"))
            .route("/", post(async |body: String| body));
        tokio::spawn(serve(listener, router, bounds, shutdown.clone()));
        (address, shutdown.drop_guard())
    }

    async fn asked(address: std::net::SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        let read = timeout(Duration::from_secs(20), read).await.unwrap();
        // A connection that is cut may end with a reset.
        drop(read);
        answer
    }

    const ASK: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

    /// Attack H6: a thousand idle connections used up the node's descriptors.
    #[tokio::test]
    async fn idle_connections_keep_nobody_from_asking() {
        let bounds = Bounds {
            head: Duration::from_secs(60),
            ..BOUNDS
        };
        let (address, _stop) = served(bounds).await;
        let mut idle = Vec::new();
        for _ in 0..100 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        assert!(asked(address, ASK).await.ends_with("here"));
        let mut cut = 0;
        for stream in &mut idle {
            let read = timeout(Duration::from_millis(20), stream.read_u8()).await;
            cut += usize::from(read.is_ok());
        }
        assert!(cut >= 96, "{cut} of 100 were cut");
    }

    #[tokio::test]
    async fn who_does_not_ask_in_time_is_cut_and_another_waits_no_longer() {
        let bounds = Bounds {
            connections: 1,
            when_full: WhenFull::Wait,
            ..BOUNDS
        };
        let (address, _stop) = served(bounds).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nHost: l").await.unwrap();
        assert!(asked(address, ASK).await.ends_with("here"));
        let mut said = Vec::new();
        silent.read_to_end(&mut said).await.unwrap();
    }

    #[tokio::test]
    async fn a_body_that_stops_is_not_waited_for() {
        let (address, _stop) = served(BOUNDS).await;
        let head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n";
        assert!(
            asked(address, &format!("{head}whole"))
                .await
                .ends_with("whole")
        );
        let answer = asked(address, &format!("{head}ha")).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }

    #[tokio::test]
    async fn a_connection_carries_one_request() {
        let (address, _stop) = served(BOUNDS).await;
        let answer = asked(address, &format!("{ASK}{ASK}")).await;
        assert_eq!(answer.matches("here").count(), 1, "{answer}");
    }
}

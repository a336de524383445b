//! A sign of life: a short connection to a peer, with one HTTP/2 ping over it.
//!
//! A TLS handshake alone tells nothing: in TLS 1.3 the caller's side of it ends before the other side has judged the
//! caller's certificate. Whoever answers the ping has judged it.

use std::{io, time::Duration};

use h2::{Ping, client};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::connector::{ConnectError, PeerConnector};

/// Longest wait for the answer to the ping.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest wait for the first bytes of the peer: its settings come without a question.
const FIRST_WORD: Duration = Duration::from_secs(2);

/// Longest wait for the connection to close in order.
const FAREWELL: Duration = Duration::from_secs(1);

/// Error of a probe: the peer gave no sign of life.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection ended before the ping was answered.
    #[error("the connection ended before an answer")]
    Ended(#[source] io::Error),
    /// The ping was not answered in time.
    #[error("no answer within {PATIENCE:?}")]
    Silent,
}

/// Asks the node at `address` for a sign of life.
///
/// # Errors
///
/// [`ProbeError`] if there was none.
pub async fn probe(connector: &PeerConnector, address: &str) -> Result<(), ProbeError> {
    let mut stream = BufReader::new(connector.connect(address).await?);
    // Who refuses this node's certificate says so first. Whatever were written before that is heard
    // could make the system reset the connection, and the reason would be lost.
    match tokio::time::timeout(FIRST_WORD, stream.fill_buf()).await {
        Ok(Ok([])) => return Err(ProbeError::Ended(io::ErrorKind::UnexpectedEof.into())),
        Ok(Err(error)) => return Err(ProbeError::Ended(error)),
        Ok(Ok(_)) | Err(_) => {}
    }
    let pinging = async {
        let (requests, mut connection) = client::handshake(stream).await.map_err(ended)?;
        let mut pings = connection
            .ping_pong()
            .ok_or_else(|| ProbeError::Ended(io::ErrorKind::NotConnected.into()))?;
        tokio::select! {
            closed = &mut connection => closed.map_err(ended).and_then(|()| {
                Err(ProbeError::Ended(io::ErrorKind::UnexpectedEof.into()))
            })?,
            pong = pings.ping(Ping::opaque()) => pong.map(drop).map_err(ended)?,
        }
        drop(requests);
        Ok::<_, ProbeError>(connection)
    };
    let connection = tokio::time::timeout(PATIENCE, pinging)
        .await
        .map_err(|_| ProbeError::Silent)??;
    if tokio::time::timeout(FAREWELL, connection).await.is_err() {
        tracing::trace!("a probed peer did not close its connection");
    }
    Ok(())
}

fn ended(error: h2::Error) -> ProbeError {
    ProbeError::Ended(
        error
            .into_io()
            .unwrap_or_else(|| io::ErrorKind::ConnectionAborted.into()),
    )
}

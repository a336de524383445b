//! The unchecked pipe: an exchange in which nothing is sealed, verified or decided.
//!
//! It sends the same number of bytes, in the same frames, through the same kind of stream and under
//! the same TLS as an exchange. Both ends write one (id, bytes) row per record, with one commit and
//! fsync per frame. It has as many frames in flight as dispatch has. The node's figures are
//! compared with those of the pipe. Nothing here touches the store of a node.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use portcullis_protocol::{
    frame::{MAX_FRAME_BYTES, MAX_ITEMS, WINDOW},
    identifiers::NodeId,
    wire,
};
use rusqlite::Connection;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::drafts::Random;
use portcullis_kernel::Kernel;
use portcullis_peering::{
    connector::{self, ConnectError},
    counters::ExchangeCounters,
    listener::{self, Listener, ListenerLimits},
    rpc::{
        exchange_client::ExchangeClient,
        exchange_server::{Exchange, ExchangeServer},
    },
    tls,
};

/// Frames in flight without an answer: as many as dispatch has in one lane.
const DEPTH: usize = WINDOW;

/// Frames that are stored and wait to be sent, at most.
const STORED: usize = 16;

/// Length of an id in bytes.
const ID: usize = 32;

/// Bytes that protobuf adds to an item: a key of one byte and a length of two bytes.
const FIELD: usize = 3;

/// Bytes that protobuf and tonic may add to a frame, at most.
const SLACK: usize = 64 << 10;

/// Error that ends a pipe.
#[derive(Debug, thiserror::Error)]
pub enum PipeError {
    /// Rows could not be stored.
    #[error("rows of the pipe cannot be stored: {0}")]
    Rows(#[from] rusqlite::Error),
    /// The listener could not be bound or started.
    #[error("the pipe cannot listen: {0}")]
    Listen(#[from] std::io::Error),
    /// TLS cannot be configured.
    #[error("TLS cannot be configured: {0}")]
    Tls(#[from] rustls::Error),
    /// The connection could not be prepared.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection could not be established.
    #[error("no connection: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The other end ended the stream with an error.
    #[error("the other end ended the stream: {0}")]
    Status(#[from] Box<Status>),
    /// One end, or a task of it, ended before all frames were answered.
    #[error("an end of the pipe was cut short")]
    CutShort,
}

/// Records that go through a pipe.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Number of records.
    pub(super) records: u64,
    /// Length of each record on the wire, in bytes.
    pub(super) item_bytes: usize,
    /// Seed of the records' bytes.
    pub(super) seed: u64,
}

/// Listens with this node's certificate and stores the frames that arrive, until `stop` is
/// cancelled. Returns the address of the listener.
pub(super) async fn receive(
    kernel: &Arc<Kernel>,
    file: PathBuf,
    stop: CancellationToken,
) -> Result<String, PipeError> {
    let tcp = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = tcp.local_addr()?.to_string();
    let limits = ListenerLimits::default();
    let (listener, incoming) = Listener::new(
        tcp,
        Arc::clone(kernel.identity()),
        kernel.trust().clone(),
        tls::system_clock(),
        &limits,
        ExchangeCounters::default(),
    )?;
    drop(open(&file)?);
    tokio::spawn(listener.run(stop.clone()));
    let service = ExchangeServer::new(End { file }).max_decoding_message_size(MAX_FRAME_BYTES);
    let serving = listener::server(limits.connection_lifetime).serve_with_incoming_shutdown(
        service,
        incoming,
        stop.cancelled_owned(),
    );
    tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "the pipe ended");
        }
    });
    Ok(address)
}

/// The receiving end.
struct End {
    file: PathBuf,
}

#[tonic::async_trait]
impl Exchange for End {
    type DeliverStream = ReceiverStream<Result<wire::Receipt, Status>>;

    async fn deliver(
        &self,
        request: Request<Streaming<wire::Frame>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let rows = open(&self.file).map_err(|error| Status::internal(error.to_string()))?;
        let (receipts, stream) = mpsc::channel(DEPTH);
        tokio::spawn(store_all(rows, request.into_inner(), receipts));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn compare(
        &self,
        _: Request<wire::TrustAsk>,
    ) -> Result<Response<wire::TrustAnswer>, Status> {
        Err(Status::unimplemented("the pipe compares nothing"))
    }

    async fn reconcile(
        &self,
        _: Request<wire::ReconcileAsk>,
    ) -> Result<Response<wire::ReconcileAnswer>, Status> {
        Err(Status::unimplemented("the pipe compares nothing"))
    }
}

async fn store_all(
    mut rows: Connection,
    mut frames: Streaming<wire::Frame>,
    receipts: mpsc::Sender<Result<wire::Receipt, Status>>,
) {
    while let Ok(Some(frame)) = frames.message().await {
        let stored = portcullis_store::apart::spawn(move || {
            let stored = store(&mut rows, &frame);
            (rows, stored)
        });
        let Ok((back, stored)) = stored.await else {
            return;
        };
        rows = back;
        let answer = stored
            .map(|()| wire::Receipt::default())
            .map_err(|error| Status::internal(error.to_string()));
        let failed = answer.is_err();
        if receipts.send(answer).await.is_err() || failed {
            return;
        }
    }
}

/// Stores the records and sends them. Returns the seconds from the first row to the last answer.
pub(super) async fn send(
    kernel: &Kernel,
    peer: &NodeId,
    address: &str,
    file: PathBuf,
    load: Load,
) -> Result<f64, PipeError> {
    let channel = connector::endpoint(address)?
        .connect_with_connector(kernel.connector(peer)?)
        .await?;
    let (out, stream) = mpsc::channel(DEPTH);
    let mut receipts = ExchangeClient::new(channel)
        .max_encoding_message_size(MAX_FRAME_BYTES + SLACK)
        .deliver(ReceiverStream::new(stream))
        .await
        .map_err(Box::new)?
        .into_inner();
    let rows = open(&file)?;
    let begun = Instant::now();
    let (stored, mut waiting) = mpsc::channel(STORED);
    let storing = portcullis_store::apart::spawn(move || store_frames(rows, load, &stored));
    let room = Arc::new(Semaphore::new(DEPTH));
    let places = Arc::clone(&room);
    let sending = tokio::spawn(async move {
        while let Some(frame) = waiting.recv().await {
            let Ok(place) = places.acquire().await else {
                return;
            };
            place.forget();
            if out.send(frame).await.is_err() {
                return;
            }
        }
    });
    for _ in 0..frames(load.records) {
        let receipt = receipts.message().await.map_err(Box::new)?;
        receipt.ok_or(PipeError::CutShort)?;
        room.add_permits(1);
    }
    let took = begun.elapsed();
    storing.await.map_err(|_| PipeError::CutShort)??;
    sending.await.map_err(|_| PipeError::CutShort)?;
    Ok(seconds(took))
}

const fn seconds(took: Duration) -> f64 {
    took.as_secs_f64()
}

fn frames(records: u64) -> u64 {
    records.div_ceil(super::BATCH)
}

fn store_frames(
    mut rows: Connection,
    load: Load,
    stored: &mpsc::Sender<wire::Frame>,
) -> Result<(), PipeError> {
    let mut random = Random(load.seed);
    let mut left = usize::try_from(load.records).unwrap_or(usize::MAX);
    while left > 0 {
        let count = left.min(MAX_ITEMS);
        left -= count;
        let frame = frame(count, load.item_bytes, &mut random);
        store(&mut rows, &frame)?;
        if stored.blocking_send(frame).is_err() {
            return Err(PipeError::CutShort);
        }
    }
    Ok(())
}

/// Makes a frame of `count` items of this length on the wire. Each begins with its id.
fn frame(count: usize, item_bytes: usize, random: &mut Random) -> wire::Frame {
    let length = item_bytes.saturating_sub(FIELD).max(ID);
    let item = |_| {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&random.next().to_le_bytes());
        }
        bytes.truncate(length);
        wire::Record {
            header: bytes.into(),
            ..wire::Record::default()
        }
    };
    wire::Frame {
        records: (0..count).map(item).collect(),
        ..wire::Frame::default()
    }
}

/// Stores a frame in one commit, one row per item. Rows are inserted in the order of their ids,
/// which an index takes faster.
fn store(rows: &mut Connection, frame: &wire::Frame) -> rusqlite::Result<()> {
    let mut items: Vec<&[u8]> = frame.records.iter().map(|item| &*item.header).collect();
    items.sort_unstable();
    let transaction = rows.transaction()?;
    {
        let mut insert = transaction.prepare_cached("INSERT INTO row VALUES (?1, ?2)")?;
        for item in items {
            insert.execute((item.get(..ID), item))?;
        }
    }
    transaction.commit()
}

/// Opens a table with the settings of a node's store.
fn open(file: &std::path::Path) -> rusqlite::Result<Connection> {
    let rows = Connection::open(file)?;
    rows.pragma_update(None, "journal_mode", "WAL")?;
    rows.pragma_update(None, "synchronous", "FULL")?;
    rows.pragma_update(None, "wal_autocheckpoint", 4096)?;
    rows.pragma_update(None, "cache_size", -32_768)?;
    rows.execute_batch(
        "CREATE TABLE IF NOT EXISTS row (id BLOB PRIMARY KEY, bytes BLOB NOT NULL)",
    )?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn items_are_as_long_as_they_are_said_to_be_and_have_ids_of_their_own() {
        let frame = frame(3, 950, &mut Random(1));
        let lengths: Vec<_> = frame.records.iter().map(Message::encoded_len).collect();
        assert_eq!(lengths, [950; 3]);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rows.db");
        let mut rows = open(&file).unwrap();
        store(&mut rows, &frame).unwrap();
        let stored: (i64, i64) = open(&file)
            .unwrap()
            .query_row("SELECT count(*), sum(length(bytes)) FROM row", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!(stored, (3, 3 * 947));
    }
}

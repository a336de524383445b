//! An open delivery stream to a peer: frames out, receipts back in the same order.

use std::{collections::VecDeque, future::Future, pin::Pin, sync::Arc, time::Duration};

use portcullis_protocol::{
    frame::{
        Awaited, Generation, MAX_FRAME_BYTES, MAX_RECEIPT_BYTES, MAX_WINDOW, Receipt, Remembered,
        SentFrame,
    },
    identifiers::NodeId,
    time::Timestamp,
    verify::Refusal,
    version, wire,
};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, transport::Channel};

use portcullis_kernel::{
    Kernel,
    connected::{Connected, Way},
    decide::Decider,
    work::Running,
};
use portcullis_peering::{
    connector::{self, ConnectError},
    rpc::exchange_client::ExchangeClient,
    unreached::{Unreached, answered},
};

/// Longest wait for the oldest receipt: the peer has to verify, decide and sync its disk.
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(60);
/// Time limit for opening a connection, the handshake included.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// Reason for which a frame was not receipted.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("{}", Unreached::of(.0))]
    Connect(#[from] ConnectError),
    #[error("{}", Unreached::of(.0))]
    Transport(#[from] tonic::transport::Error),
    #[error("{}", answered(.0))]
    Status(#[from] tonic::Status),
    #[error("the peer closed the stream")]
    Closed,
    #[error("no receipt within {RECEIPT_TIMEOUT:?}")]
    TimedOut,
    #[error("the peer took the connection and said nothing within {OPEN_TIMEOUT:?}")]
    Mute,
    #[error("register or policy changed since the frame was planned")]
    Superseded,
    #[error("nothing is released to the peer: {0}")]
    Gate(portcullis_kernel::gate::Closed),
    #[error("a receipt came for no frame")]
    Unasked,
    #[error("the receipt does not count: {0}")]
    Receipt(#[from] Refusal),
    #[error("a receipt's check was cut short")]
    CutShort,
    #[error("TLS cannot be configured: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the register lists the peer no more")]
    Unknown,
}

impl LinkError {
    /// Returns the reason for which the peer was not reached; `None` if it was.
    pub(super) fn unreached(&self) -> Option<Unreached> {
        match self {
            Self::Connect(error) => Some(Unreached::of(error)),
            Self::Transport(error) => Some(Unreached::of(error)),
            Self::Status(status) => Unreached::of_call(status),
            Self::Mute => Some(Unreached::Silent {
                limit: OPEN_TIMEOUT,
            }),
            Self::Closed
            | Self::TimedOut
            | Self::Superseded
            | Self::Gate(_)
            | Self::Unasked
            | Self::Receipt(_)
            | Self::CutShort
            | Self::Tls(_)
            | Self::Unknown => None,
        }
    }
}

/// A receipt whose signature was checked.
pub(super) struct Receipted {
    pub(super) receipt: Receipt,
    /// Generation of the statement that proves that this node was rolled back, if the receipt shows
    /// one.
    pub(super) forgotten: Option<Generation>,
}

/// Looks for the proof of a rollback in a receipt. If the store does not answer there is none: the
/// frame is refused again.
fn forgotten(
    kernel: &Kernel,
    decider: &Decider,
    awaited: &Awaited,
    receipt: &Receipt,
) -> Option<Generation> {
    let head = awaited.head();
    if !receipt.is_out_of_sequence() {
        return None;
    }
    let known = kernel
        .store()
        .position(&head.receiver, head.lane)
        .and_then(|position| Ok((position, kernel.store().left_generations()?)));
    let (position, left) = match known {
        Ok(known) => known,
        Err(error) => {
            tracing::error!(peer = %head.receiver, %error, "a refusal could not be judged");
            return None;
        }
    };
    let register = decider.register();
    awaited.forgotten(
        receipt,
        |key| register.past_hop_key(&head.sender, key),
        Remembered {
            generation: position.generation,
            settled_sequence: position.next_sequence,
            left: &left,
        },
    )
}

/// An open delivery stream.
pub(super) struct Link {
    kernel: Arc<Kernel>,
    peer: NodeId,
    frames: mpsc::Sender<wire::Frame>,
    receipts: Receipts,
    /// Frames without a receipt and the time at which each was sent, the oldest first. `since` is
    /// the start of the wait for the receipt of the first.
    awaited: VecDeque<(Awaited, Timestamp)>,
    since: Instant,
    /// The receipt that is being checked.
    checking: Option<Running<Result<Receipted, Refusal>>>,
    /// The peer counts as connected as long as this guard is kept. It does so once it has taken the
    /// stream.
    connected: Option<Connected>,
}

/// Answer of the peer to the opened stream.
type Opening =
    Pin<Box<dyn Future<Output = Result<Response<Streaming<wire::Receipt>>, Status>> + Send>>;

/// The receipts of a stream. Frames leave without waiting for the peer to take the stream: a server
/// may do so with its first receipt only.
enum Receipts {
    Opening(Opening),
    Open(Box<Streaming<wire::Receipt>>),
}

impl Link {
    pub(super) async fn open(kernel: &Arc<Kernel>, peer: &NodeId) -> Result<Self, LinkError> {
        // Boxed because the future is large and lives for the length of a handshake.
        let opening: Pin<Box<dyn Future<Output = _> + Send>> =
            Box::pin(Self::connect(kernel, peer));
        tokio::time::timeout(OPEN_TIMEOUT, opening)
            .await
            .map_err(|_| LinkError::Mute)?
    }

    async fn connect(kernel: &Arc<Kernel>, peer: &NodeId) -> Result<Self, LinkError> {
        let decider = kernel.decider();
        let (_, node) = decider.register().node(peer).ok_or(LinkError::Unknown)?;
        let connector = kernel.connector(peer)?;
        let channel: Channel = connector::endpoint(&node.endpoint)?
            .connect_with_connector(connector)
            .await?;
        let (frames, stream) = mpsc::channel(MAX_WINDOW);
        let mut client = ExchangeClient::new(channel)
            .max_encoding_message_size(MAX_FRAME_BYTES + (64 << 10))
            .max_decoding_message_size(MAX_RECEIPT_BYTES);
        let mut request = Request::new(ReceiverStream::new(stream));
        if let Some(version) = kernel.dialect().states {
            request
                .metadata_mut()
                .insert(version::METADATA, version.into());
        }
        let opening = async move { client.deliver(request).await };
        Ok(Self {
            kernel: Arc::clone(kernel),
            peer: peer.clone(),
            frames,
            receipts: Receipts::Opening(Box::pin(opening)),
            awaited: VecDeque::new(),
            since: Instant::now(),
            checking: None,
            connected: None,
        })
    }

    /// Sends a frame without waiting for its receipt.
    pub(super) async fn send(&mut self, frame: SentFrame) -> Result<(), LinkError> {
        let (wire, awaited) = frame.split();
        if self.awaited.is_empty() {
            self.since = Instant::now();
        }
        self.awaited.push_back((awaited, self.kernel.now()));
        self.frames.send(wire).await.map_err(|_| LinkError::Closed)
    }

    /// Waits for the next receipt and checks it, off the runtime's threads. Safe to cancel: nothing
    /// is lost if the wait is given up and begun again.
    pub(super) async fn receipt(&mut self) -> Result<Receipted, LinkError> {
        if self.checking.is_none() {
            let receipt = self.next().await?.ok_or(LinkError::Closed)?;
            let (awaited, sent) = self.awaited.pop_front().ok_or(LinkError::Unasked)?;
            self.since = Instant::now();
            let (kernel, peer) = (Arc::clone(&self.kernel), self.peer.clone());
            let lane = awaited.head().lane;
            self.checking = Some(self.kernel.work().run(lane, move || {
                let (decider, now) = (kernel.decider(), kernel.now());
                let receipt =
                    awaited.receipt(receipt, |key| decider.register().hop_key(&peer, key, now))?;
                kernel.measured(&peer, sent, receipt.answered_at);
                let forgotten = forgotten(&kernel, &decider, &awaited, &receipt);
                Ok(Receipted { receipt, forgotten })
            }));
        }
        let Some(checking) = &mut self.checking else {
            return Err(LinkError::CutShort);
        };
        let checked = checking.await.map_err(|_| LinkError::CutShort);
        self.checking = None;
        Ok(checked??)
    }

    async fn next(&mut self) -> Result<Option<wire::Receipt>, LinkError> {
        if self.awaited.is_empty() {
            return Ok(self.message().await?);
        }
        tokio::time::timeout_at(self.since + RECEIPT_TIMEOUT, self.message())
            .await
            .map_err(|_| LinkError::TimedOut)?
            .map_err(LinkError::from)
    }

    /// Waits for the next message of the stream, once the peer has taken it.
    async fn message(&mut self) -> Result<Option<wire::Receipt>, Status> {
        loop {
            match &mut self.receipts {
                Receipts::Open(receipts) => return receipts.message().await,
                Receipts::Opening(opening) => {
                    let response = opening.await?;
                    let stated = response.metadata().get(version::METADATA);
                    let stated = stated.and_then(|stated| stated.to_str().ok());
                    self.kernel.heard_version(&self.peer, stated);
                    let receipts = response.into_inner();
                    self.kernel.reached(&self.peer);
                    self.connected = Some(self.kernel.connected(&self.peer, Way::ToPeer));
                    self.receipts = Receipts::Open(Box::new(receipts));
                }
            }
        }
    }
}

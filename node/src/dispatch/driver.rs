//! The I/O of dispatch: one task per peer and lane executes what its machine asks for.
//!
//! Each lane has a connection of its own, so that neither a flood nor a slow peer in one lane
//! delays the other, and no peer delays another.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use portcullis_protocol::{
    frame::{Lane, MAX_FRAME_BYTES, MAX_ITEMS, Receipt, SentFrame, Verdict},
    identifiers::NodeId,
    time::Timestamp,
    wire,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Streaming, transport::Channel};

use super::{
    machine::{Effect, Event, Machine},
    plan::{Candidates, Plan, Planner, relays},
};
use crate::{
    core::Core,
    decide::Decider,
    exchange::{
        connector::{self, ConnectError},
        rpc::exchange_client::ExchangeClient,
        service,
    },
    store::{StoreError, Write},
};

/// How long a receipt may take: the peer has to verify, decide and sync its disk.
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long opening a delivery stream may take, the handshake included.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a machine rests when nothing wakes it; then it looks again.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Why a frame was not receipted.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("no connection: {0}")]
    Transport(#[from] tonic::transport::Error),
    #[error("the peer ended the stream: {0}")]
    Status(#[from] tonic::Status),
    #[error("the peer closed the stream")]
    Closed,
    #[error("no receipt within {RECEIPT_TIMEOUT:?}")]
    TimedOut,
    #[error("the peer took the connection and said nothing within {OPEN_TIMEOUT:?}")]
    Mute,
    #[error("register or policy changed since the frame was planned")]
    Superseded,
    #[error("the receipt does not count: {0}")]
    Receipt(#[from] portcullis_protocol::verify::Refusal),
    #[error("TLS cannot be configured: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the register lists the peer no more")]
    Unknown,
}

impl LinkError {
    /// Whether a new connection may do better at once. After a receipt that did not come the peer
    /// is still at work on the frame, and one that does not count will not count again.
    const fn is_of_connection(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Transport(_) | Self::Status(_) | Self::Closed => true,
            Self::TimedOut
            | Self::Mute
            | Self::Superseded
            | Self::Receipt(_)
            | Self::Tls(_)
            | Self::Unknown => false,
        }
    }
}

/// Why nothing could be planned.
#[derive(Debug, thiserror::Error)]
enum PlanError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Frame(#[from] portcullis_protocol::frame::FrameError),
    #[error("the register lists the peer no more")]
    Unknown,
}

/// Delivers one lane to one peer until `shutdown`.
pub async fn run(core: Arc<Core>, peer: NodeId, lane: Lane, shutdown: CancellationToken) {
    let machine = Machine::new(peer.clone(), lane, core.backoff());
    let driver = Driver {
        log: core.log(),
        core,
        peer,
        lane,
        machine,
        link: None,
        planned_by: None,
        answered: None,
        wake_at: None,
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = driver.run() => {}
    }
}

struct Driver {
    core: Arc<Core>,
    peer: NodeId,
    lane: Lane,
    machine: Machine,
    link: Option<Link>,
    /// The register and policy under which the frame at hand was planned.
    planned_by: Option<Arc<Decider>>,
    /// A receipt that is told of once it is settled in the ledger.
    answered: Option<Receipt>,
    log: watch::Receiver<u64>,
    wake_at: Option<Timestamp>,
}

impl Driver {
    async fn run(mut self) {
        self.connect_early().await;
        loop {
            let effects = self.machine.handle(Event::Wake, self.core.now());
            self.carry_out(effects).await;
            self.rest().await;
        }
    }

    /// A first alert should not wait for a handshake.
    async fn connect_early(&mut self) {
        match self.open().await {
            Ok(link) => self.link = Some(link),
            Err(error) => tracing::debug!(peer = %self.peer, %error, "not connected yet"),
        }
    }

    async fn open(&self) -> Result<Link, LinkError> {
        tokio::time::timeout(OPEN_TIMEOUT, Link::open(&self.core, &self.peer))
            .await
            .map_err(|_| LinkError::Mute)?
    }

    async fn carry_out(&mut self, effects: Vec<Effect>) {
        let mut waiting: VecDeque<Effect> = effects.into();
        while let Some(effect) = waiting.pop_front() {
            let event = match effect {
                Effect::Plan => Some(self.plan().await),
                Effect::Commit(write) => Some(self.commit(*write).await),
                Effect::Send(frame) => Some(self.send(&frame).await),
                Effect::WakeAt(time) => {
                    self.wake_at = Some(time);
                    None
                }
            };
            if let Some(event) = event {
                waiting.extend(self.machine.handle(event, self.core.now()));
            }
        }
    }

    /// Sleeps until the log grows, the time the machine named, or the longest rest.
    async fn rest(&mut self) {
        let limit = self.wake_at.take().map_or(LONGEST_REST, |time| {
            let wait = time.millis_since(self.core.now()).max(0);
            Duration::from_millis(u64::try_from(wait).unwrap_or(0)).min(LONGEST_REST)
        });
        tokio::select! {
            () = tokio::time::sleep(limit) => {}
            changed = self.log.changed() => {
                if changed.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    async fn plan(&mut self) -> Event {
        let (core, peer, lane) = (Arc::clone(&self.core), self.peer.clone(), self.lane);
        let decider = core.decider();
        self.planned_by = Some(Arc::clone(&decider));
        let planned = tokio::task::spawn_blocking(move || plan(&core, &decider, &peer, lane)).await;
        match planned {
            Ok(Ok(plan)) => Event::Planned(plan),
            Ok(Err(error)) => {
                tracing::error!(peer = %self.peer, %error, "nothing can be planned");
                Event::Failed
            }
            Err(error) => {
                tracing::error!(peer = %self.peer, %error, "planning was cut short");
                Event::Failed
            }
        }
    }

    async fn commit(&mut self, write: Write) -> Event {
        let answered = self.answered.take();
        match self.core.commit(self.lane.into(), vec![write]).await {
            Ok(_) => {
                if let Some(receipt) = answered {
                    self.core.settled(&self.peer, &receipt);
                }
                Event::Committed
            }
            Err(error) => {
                tracing::error!(peer = %self.peer, %error, "a ledger entry was not stored");
                Event::Failed
            }
        }
    }

    async fn send(&mut self, frame: &SentFrame) -> Event {
        let fresh = self.link.is_none();
        let mut outcome = self.deliver(frame).await;
        if outcome.as_ref().is_err_and(LinkError::is_of_connection) && !fresh {
            // A connection that lay idle may have ended meanwhile; a new one tells.
            outcome = self.deliver(frame).await;
        }
        match outcome {
            Ok(receipt) => self.receipted(receipt),
            Err(LinkError::Superseded) => Event::Superseded,
            Err(error) => self.failed(&error.to_string()),
        }
    }

    fn receipted(&mut self, receipt: Receipt) -> Event {
        if let Verdict::RefusedWhole(rule) = &receipt.verdict {
            return self.failed(&format!("it refuses the frame under {rule}"));
        }
        self.answered = Some(receipt.clone());
        Event::Answered(Box::new(receipt))
    }

    fn failed(&self, why: &str) -> Event {
        tracing::warn!(peer = %self.peer, lane = %self.lane, why, "a frame was not receipted");
        self.core.delivery_failed(&self.peer, why);
        Event::Failed
    }

    async fn deliver(&mut self, frame: &SentFrame) -> Result<Receipt, LinkError> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => self.open().await?,
        };
        // The permits in the frame are of the register and policy it was planned under.
        let current = self.core.decider();
        let stands = |by: &Arc<Decider>| Arc::ptr_eq(by, &current);
        if !self.planned_by.as_ref().is_some_and(stands) {
            self.link = Some(link);
            return Err(LinkError::Superseded);
        }
        let receipt = link.exchange(&self.core, &self.peer, frame).await?;
        self.link = Some(link);
        Ok(receipt)
    }
}

/// Loads what comes after the durable cursor and plans from it.
fn plan(core: &Core, decider: &Decider, peer: &NodeId, lane: Lane) -> Result<Plan, PlanError> {
    let me = core.me();
    let register = decider.register();
    let (authority, _) = register.node(peer).ok_or(PlanError::Unknown)?;
    let own_kind = register
        .authorities
        .get(&me.authority)
        .map(|authority| authority.kind)
        .ok_or(PlanError::Unknown)?;
    let store = core.store();
    let now = core.now();
    let limit = u32::try_from(MAX_ITEMS).unwrap_or(u32::MAX);
    let position = store.position(peer, lane)?;
    let entries = store.outbox(lane, relays(own_kind), position.cursor, limit)?;
    let logged: Vec<_> = entries
        .iter()
        .map(|entry| (entry.sequence, entry.held.sealed.id()))
        .collect();
    let earlier = store.disclosures_to(peer, lane, &logged)?;
    let candidates = Candidates {
        entries,
        due: store.due(peer, lane, now, limit)?,
        earlier: earlier.into_iter().map(|row| (row.record, row)).collect(),
        next_due: store.next_due(peer, lane)?,
    };
    let planner = Planner {
        decider,
        sender: &me.node,
        authority,
        peer,
        lane,
        key: core.hop_key(),
        now,
    };
    Ok(planner.plan(position, candidates)?)
}

/// An open delivery stream.
struct Link {
    frames: mpsc::Sender<wire::Frame>,
    receipts: Streaming<wire::Receipt>,
}

impl Link {
    async fn open(core: &Core, peer: &NodeId) -> Result<Self, LinkError> {
        let decider = core.decider();
        let (_, node) = decider.register().node(peer).ok_or(LinkError::Unknown)?;
        let connector = core.connector(peer)?;
        let channel: Channel = connector::endpoint(&node.endpoint)?
            .connect_with_connector(connector)
            .await?;
        let (frames, stream) = mpsc::channel(1);
        let receipts = ExchangeClient::new(channel)
            .max_encoding_message_size(MAX_FRAME_BYTES + (64 << 10))
            .max_decoding_message_size(service::MAX_RECEIPT_BYTES)
            .deliver(ReceiverStream::new(stream))
            .await?
            .into_inner();
        Ok(Self { frames, receipts })
    }

    async fn exchange(
        &mut self,
        core: &Core,
        peer: &NodeId,
        frame: &SentFrame,
    ) -> Result<Receipt, LinkError> {
        let sent = self.frames.send(frame.wire().clone()).await;
        sent.map_err(|_| LinkError::Closed)?;
        let receipt = tokio::time::timeout(RECEIPT_TIMEOUT, self.receipts.message())
            .await
            .map_err(|_| LinkError::TimedOut)??
            .ok_or(LinkError::Closed)?;
        let decider = core.decider();
        Ok(frame.receipt(receipt, |key| decider.register().hop_key(peer, key))?)
    }
}

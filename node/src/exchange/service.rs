//! The receiving end of the exchange: frames in, receipts out, in order.
//!
//! ```text
//! frame ─▶ verify (peer, signature, items) ─▶ judge each item ─▶ commit ─▶ sign the receipt
//! ```
//!
//! The receipt is signed and sent only after the commit is durable. Verification, decisions and
//! signatures run off the runtime's threads. A frame that cannot be answered item by item is
//! refused whole; the stream goes on, for the next frame may be better.

use std::sync::Arc;

use portcullis_protocol::{
    frame::{Answering, FrameError, Hop, Lane, MAX_FRAME_BYTES, MAX_ITEMS, ReceivedFrame},
    gossip::MAX_ANSWER_BYTES,
    identifiers::NodeId,
    rules::Rule,
    time::Timestamp,
    wire,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{
    rpc::exchange_server::{Exchange, ExchangeServer},
    stream::Peer,
    tally::Tally,
};
use crate::{
    core::{Admitted, Core},
    decide::Decider,
    gossip::standing::{self, AnswerError},
    intake::Judge,
    store::{Event, Intake, Judgement, Write, Written},
};

/// What protobuf adds to a frame of the largest size: keys and lengths of its parts.
const ENCODING_SLACK: usize = 64 << 10;

/// Receipts that may wait to be sent on one stream; the peer waits for each anyway.
const RECEIPTS_WAITING: usize = 2;

/// The most bytes of an encoded receipt: 1,024 answers of about 70 bytes, and its statement.
pub(crate) const MAX_RECEIPT_BYTES: usize = 256 << 10;

/// Delivery streams of one peer: one a lane, and as many that it gave up and we have not noticed.
const STREAMS_PER_PEER: usize = 2 * Lane::ALL.len();

/// Questions of one peer about trust that are answered at the same time.
const QUESTIONS_PER_PEER: usize = 2;

/// The service with its limits, to be served by a tonic server. On `stop` it takes no more frames
/// and ends its streams.
#[must_use]
pub fn server(core: Arc<Core>, stop: CancellationToken) -> ExchangeServer<Service> {
    let service = Service {
        core,
        streams: Tally::new(STREAMS_PER_PEER),
        questions: Tally::new(QUESTIONS_PER_PEER),
        stop,
    };
    ExchangeServer::new(service)
        .max_decoding_message_size(MAX_FRAME_BYTES + ENCODING_SLACK)
        .max_encoding_message_size(MAX_ANSWER_BYTES + ENCODING_SLACK)
}

/// Takes frames from peers.
pub struct Service {
    core: Arc<Core>,
    streams: Tally<NodeId>,
    questions: Tally<NodeId>,
    stop: CancellationToken,
}

#[tonic::async_trait]
impl Exchange for Service {
    type DeliverStream = ReceiverStream<Result<wire::Receipt, Status>>;

    async fn deliver(
        &self,
        request: Request<Streaming<wire::Frame>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let peer = peer_of(&request)?;
        let place = self.streams.take(peer.clone()).ok_or_else(|| {
            Status::resource_exhausted("as many delivery streams as a peer may have are open")
        })?;
        let (receipts, stream) = mpsc::channel(RECEIPTS_WAITING);
        let (core, stop) = (Arc::clone(&self.core), self.stop.clone());
        tokio::spawn(async move {
            receive(core, peer, request.into_inner(), receipts, stop).await;
            drop(place);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn compare(
        &self,
        request: Request<wire::TrustAsk>,
    ) -> Result<Response<wire::TrustAnswer>, Status> {
        let peer = peer_of(&request)?;
        let place = self.questions.take(peer.clone()).ok_or_else(|| {
            Status::resource_exhausted("as many questions as a peer may ask are open")
        })?;
        let (core, ask) = (Arc::clone(&self.core), request.into_inner());
        let answered = tokio::task::spawn_blocking(move || standing::answer(&core, &peer, ask))
            .await
            .map_err(|error| internal(&error))?;
        drop(place);
        match answered {
            Ok(answer) => Ok(Response::new(answer.to_wire())),
            Err(AnswerError::Refused(refusal)) => {
                Err(Status::invalid_argument(refusal.to_string()))
            }
            Err(AnswerError::Store(error)) => Err(internal(&error)),
        }
    }
}

fn peer_of<T>(request: &Request<T>) -> Result<NodeId, Status> {
    let peer = request.extensions().get::<Peer>();
    peer.map(|peer| peer.node.clone())
        .ok_or_else(|| Status::unauthenticated("the connection names no peer"))
}

/// Answers the frames of one stream until it ends or the peer goes away.
async fn receive(
    core: Arc<Core>,
    peer: NodeId,
    mut frames: Streaming<wire::Frame>,
    receipts: mpsc::Sender<Result<wire::Receipt, Status>>,
    stop: CancellationToken,
) {
    loop {
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            next = frames.message() => next,
        };
        let answer = match next {
            Ok(Some(frame)) => answer(&core, &peer, frame).await,
            Ok(None) => return,
            Err(status) => {
                tracing::debug!(%peer, %status, "a delivery stream ended");
                Err(status)
            }
        };
        let failed = answer.is_err();
        if receipts.send(answer).await.is_err() || failed {
            return;
        }
    }
}

async fn answer(
    core: &Arc<Core>,
    peer: &NodeId,
    frame: wire::Frame,
) -> Result<wire::Receipt, Status> {
    let reception = Reception {
        core: Arc::clone(core),
        decider: core.decider(),
        peer: peer.clone(),
        now: core.now(),
    };
    let judged = tokio::task::spawn_blocking(move || reception.judge(frame))
        .await
        .map_err(|error| internal(&error))?;
    match judged.map_err(|error| internal(&error))? {
        Judged::Refused(refused) => {
            let Refused { receipt, event } = *refused;
            core.metrics().frames_refused.inc();
            core.note(event).await;
            Ok(receipt)
        }
        Judged::Items(items) => settle(core, *items).await,
    }
}

/// Our own fault: the peer learns only that it should try again later.
fn internal(error: &impl std::error::Error) -> Status {
    tracing::error!(%error, "a frame could not be answered");
    Status::unavailable("the frame could not be answered; try again later")
}

async fn settle(core: &Arc<Core>, items: Items) -> Result<wire::Receipt, Status> {
    let Items {
        frame,
        intake,
        reception,
    } = items;
    let lane = frame.head.lane;
    let admitted = admitted(&intake);
    let written = core.commit(lane.into(), vec![Write::Intake(intake)]).await;
    let answers = match written.as_deref() {
        Ok([Written::Answers(answers)]) => answers.clone(),
        Ok([Written::Refused(rule)]) => {
            core.metrics().frames_refused.inc();
            core.note(reception.event(&rule.to_string())).await;
            return reception
                .refuse(&frame, *rule)
                .map_err(|error| internal(&error));
        }
        Ok(_) => return Err(Status::internal("the store answered something else")),
        Err(error) => {
            tracing::error!(%error, "a frame could not be stored");
            return reception
                .refuse(&frame, Rule::Busy)
                .map_err(|error| internal(&error));
        }
    };
    core.received(&reception.peer, &answers, admitted);
    tokio::task::spawn_blocking(move || frame.answer(answers, reception.signing()))
        .await
        .map_err(|error| internal(&error))?
        .map_err(|error| internal(&error))
}

/// What is told of the records that policy admits, once they are durable.
fn admitted(intake: &Intake) -> Vec<Admitted> {
    let admitted = intake
        .items
        .iter()
        .filter_map(|item| match &item.judgement {
            Judgement::Admit { record, note: _ } => Some(Admitted {
                id: record.id(),
                kind: record.header().kind,
                origin: record.header().origin.clone(),
            }),
            Judgement::Refuse { .. } | Judgement::RefuseForNow { .. } | Judgement::Hold { .. } => {
                None
            }
        });
    admitted.collect()
}

/// One frame from one peer, under one register and one policy.
struct Reception {
    core: Arc<Core>,
    decider: Arc<Decider>,
    peer: NodeId,
    now: Timestamp,
}

/// What became of a frame before the store saw it.
enum Judged {
    Refused(Box<Refused>),
    Items(Box<Items>),
}

struct Refused {
    receipt: wire::Receipt,
    event: Event,
}

struct Items {
    frame: ReceivedFrame,
    intake: Intake,
    reception: Reception,
}

impl Reception {
    fn judge(self, frame: wire::Frame) -> Result<Judged, FrameError> {
        let register = self.decider.register();
        let me = self.core.me();
        let hop = Hop {
            federation: &register.federation,
            receiver: &me.node,
            peer: &self.peer,
        };
        let oversized = frame.records.len() > MAX_ITEMS;
        let verified = ReceivedFrame::verify(frame, hop, |key| register.hop_key(&self.peer, key));
        let frame = match verified {
            Ok(frame) => frame,
            Err(refused) => {
                tracing::warn!(peer = %self.peer, oversized, refusal = %refused, "a frame is refused");
                let event = self.event(&refused.refusal.to_string());
                let receipt = refused.answer(hop, self.signing())?;
                return Ok(Judged::Refused(Box::new(Refused { receipt, event })));
            }
        };
        self.core.heard_epoch(&self.peer, frame.head.register_epoch);
        if register.node(&self.peer).is_none() {
            let event = self.event("the register lists the peer no more");
            let receipt = self.refuse(&frame, Rule::FrameSender)?;
            return Ok(Judged::Refused(Box::new(Refused { receipt, event })));
        }
        let intake = Judge {
            decider: &self.decider,
            own: &me.authority,
            peer: &self.peer,
            exercises: self.core.exercises(),
            now: self.now,
        }
        .judge(&frame);
        Ok(Judged::Items(Box::new(Items {
            frame,
            intake,
            reception: self,
        })))
    }

    fn event(&self, detail: &str) -> Event {
        Event {
            at: self.now,
            kind: "frame-refused".to_owned(),
            peer: Some(self.peer.clone()),
            detail: detail.to_owned(),
        }
    }

    fn signing(&self) -> Answering<'_> {
        Answering {
            key: self.core.hop_key(),
            now: self.now,
            register_epoch: self.decider.register().epoch,
            credit: 1,
        }
    }

    fn refuse(&self, frame: &ReceivedFrame, rule: Rule) -> Result<wire::Receipt, FrameError> {
        frame.refuse(rule, self.signing())
    }
}

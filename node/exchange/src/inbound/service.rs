//! The receiving end of the exchange: frames in, receipts out, in order.
//!
//! A `Reception` receives each stream. This module decides who may open one and how many, and
//! reports peers that bring what is refused.

use std::{sync::Arc, time::Duration};

use portcullis_protocol::{
    frame::{Lane, MAX_FRAME_BYTES},
    gossip::{self, MAX_ANSWER_BYTES},
    identifiers::NodeId,
    reconcile as channel, version, wire,
};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{
    conduct::Conduct,
    paced::{Largest, Paced},
    quota::Quota,
    reception::Reception,
    spending::Spending,
};
use crate::{
    answers_ready::Throttle,
    gossip::answers::{self, AnswerError, Epochs},
    reconcile::{answers as channels, answers::Answers},
};
use portcullis_kernel::Kernel;
use portcullis_peering::{rpc::exchange_server::Exchange, stream::Peer, tally::Tally};

/// Bytes that protobuf adds to a frame of the largest size: keys and lengths of its parts.
const ENCODING_SLACK: usize = 64 << 10;

/// Largest sizes of messages as encoded. A question that is a little too large is still read, so that its sender is told
/// which rule refuses it.
const LARGEST: Largest = Largest {
    frame: MAX_FRAME_BYTES + ENCODING_SLACK,
    comparison: 4 * gossip::MAX_ASK_BYTES,
    reconciliation: 2 * channel::MAX_ASK_BYTES,
    answer: MAX_ANSWER_BYTES + ENCODING_SLACK,
};

/// Receipts that may wait to be sent on one stream.
const RECEIPTS_WAITING: usize = 2;

/// Delivery streams of one peer: one per lane, and as many again that it gave up without this node
/// having noticed yet.
const STREAMS_PER_PEER: usize = 2 * Lane::ALL.len();

/// Questions about trust of one peer that are answered at the same time.
const QUESTIONS_PER_PEER: usize = 2;

/// Interval at which refusals are checked for what is to be reported.
const TELLING: Duration = Duration::from_secs(30);

/// Builds the service with its limits, to be served by a tonic server. On `stop` it takes no more
/// frames and ends its streams.
#[must_use]
pub fn server(kernel: Arc<Kernel>, stop: CancellationToken) -> Paced<Service> {
    let service = Service {
        quota: Arc::new(Quota::new(kernel.daily_bytes_per_origin())),
        kernel,
        conduct: Arc::default(),
        streams: Tally::new(STREAMS_PER_PEER),
        questions: Tally::new(QUESTIONS_PER_PEER),
        answers_ready: Throttle::default(),
        comparisons: Tally::new(1),
        comparing: Arc::new(Semaphore::new(1)),
        channels: Arc::default(),
        epochs: Arc::default(),
        spending: Arc::default(),
        stop,
    };
    tokio::spawn(tell(
        Arc::clone(&service.kernel),
        Arc::clone(&service.conduct),
        service.stop.clone(),
    ));
    Paced::new(service, LARGEST)
}

/// Service of the exchange: takes frames from peers, and answers questions about trust and
/// channels.
pub struct Service {
    kernel: Arc<Kernel>,
    conduct: Arc<Conduct>,
    quota: Arc<Quota>,
    streams: Tally<NodeId>,
    questions: Tally<NodeId>,
    answers_ready: Throttle,
    /// Questions about channels: each peer may have one open, and one of all is answered at a time.
    comparisons: Tally<NodeId>,
    comparing: Arc<Semaphore>,
    channels: Arc<Answers>,
    epochs: Arc<Epochs>,
    spending: Arc<Spending>,
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
        let stated = request.metadata().get(version::METADATA);
        let stated = stated.and_then(|stated| stated.to_str().ok());
        self.kernel.heard_version(&peer, stated);
        let (receipts, stream) = mpsc::channel(RECEIPTS_WAITING);
        let measures = (Arc::clone(&self.conduct), Arc::clone(&self.quota));
        let reception = Reception::new(Arc::clone(&self.kernel), measures, peer);
        let stop = self.stop.clone();
        tokio::spawn(async move {
            reception
                .receive(request.into_inner(), receipts, stop)
                .await;
            drop(place);
        });
        let mut response = Response::new(ReceiverStream::new(stream));
        if let Some(version) = self.kernel.dialect().states {
            let metadata = response.metadata_mut();
            metadata.insert(version::METADATA, version.into());
        }
        Ok(response)
    }

    async fn compare(
        &self,
        request: Request<wire::TrustAsk>,
    ) -> Result<Response<wire::TrustAnswer>, Status> {
        let peer = peer_of(&request)?;
        let place = self.questions.take(peer.clone()).ok_or_else(|| {
            Status::resource_exhausted("as many questions as a peer may ask are open")
        })?;
        if self.spending.is_spent(&peer, self.kernel.now()) {
            return Err(Status::resource_exhausted(
                "the answers of a minute are used up; ask again later",
            ));
        }
        let (kernel, ask) = (Arc::clone(&self.kernel), request.into_inner());
        if ask.answers_ready {
            self.answers_ready.wait(&peer).await;
            if let Err(error) = kernel.send_held_again(&peer).await {
                tracing::warn!(%peer, %error, "what a peer held is asked for later");
            }
        }
        let (epochs, spending) = (Arc::clone(&self.epochs), Arc::clone(&self.spending));
        // The place goes with the work: a peer that resets its question has not ended it.
        let answered = portcullis_store::apart::spawn(move || {
            let answered = answers::answer(&kernel, &epochs, &peer, ask).map(|of| of.to_wire());
            if let Ok(answer) = &answered {
                spending.spend(&peer, size_of(answer), kernel.now());
            }
            drop(place);
            answered
        })
        .await
        .map_err(|error| internal(&error))?;
        match answered {
            Ok(answer) => Ok(Response::new(answer)),
            Err(AnswerError::Refused(refusal)) => {
                Err(Status::invalid_argument(refusal.to_string()))
            }
            Err(AnswerError::Store(error)) => Err(internal(&error)),
        }
    }

    async fn reconcile(
        &self,
        request: Request<wire::ReconcileAsk>,
    ) -> Result<Response<wire::ReconcileAnswer>, Status> {
        use channels::AnswerError;
        let peer = peer_of(&request)?;
        let place = self.comparisons.take(peer.clone()).ok_or_else(|| {
            Status::resource_exhausted("another question of this peer about a channel is open")
        })?;
        let permit = Arc::clone(&self.comparing)
            .acquire_owned()
            .await
            .map_err(|error| internal(&error))?;
        let (kernel, answers) = (Arc::clone(&self.kernel), Arc::clone(&self.channels));
        let ask = request.into_inner();
        let answered = portcullis_store::apart::spawn(move || {
            let answered = answers.answer(&kernel, &peer, ask);
            drop((permit, place));
            answered
        })
        .await
        .map_err(|error| internal(&error))?;
        match answered {
            Ok(answer) => Ok(Response::new(answer.to_wire())),
            Err(AnswerError::Refused(refusal)) => {
                Err(Status::invalid_argument(refusal.to_string()))
            }
            Err(error @ AnswerError::Busy) => Err(Status::resource_exhausted(error.to_string())),
            Err(error @ AnswerError::Cut) => Err(Status::permission_denied(error.to_string())),
            Err(AnswerError::Store(error)) => Err(internal(&error)),
        }
    }
}

/// Returns the size of what an answer carries; what surrounds it is small.
fn size_of(answer: &wire::TrustAnswer) -> usize {
    answer
        .epochs
        .iter()
        .chain(&answer.suspensions)
        .fold(0, |sum, bytes| sum.saturating_add(bytes.len()))
}

fn peer_of<T>(request: &Request<T>) -> Result<NodeId, Status> {
    let peer = request.extensions().get::<Peer>();
    peer.map(|peer| peer.node.clone())
        .ok_or_else(|| Status::unauthenticated("the connection names no peer"))
}

/// Reports refusals that were counted together, until `stop`.
async fn tell(kernel: Arc<Kernel>, conduct: Arc<Conduct>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(TELLING) => {}
        }
        for event in conduct.over(kernel.now()) {
            kernel.note(event).await;
        }
    }
}

/// Reports an error of this node's own. The peer learns only that it should try again later.
fn internal(error: &impl std::error::Error) -> Status {
    tracing::error!(%error, "a question could not be answered");
    Status::unavailable("the question could not be answered; try again later")
}

//! Attacks of a receiver with receipts. Here the node under test is the sender, and it calls the
//! hostile peer.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use portcullis_peering::{
    counters::ExchangeCounters,
    listener::{Listener, ListenerLimits, server},
    rpc::exchange_server::{Exchange, ExchangeServer},
    stream::Peer,
    tls,
};
use portcullis_protocol::{
    frame::{Answer, Answering, Hop, Outcome, ReceivedFrame},
    keys::{KeyUse, PublicKey, SigningKey},
    record::{Kind, RecordId},
    rules::Rule,
    wire,
};
use portcullis_store::DisclosureState;
use prost::{Message as _, bytes::Bytes};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, Streaming};

use super::{
    Behaviour,
    forge::{Framed, Receipted, sign},
    stage::{Theatre, draft},
};
use crate::{
    behaviours,
    federation::{FEDERATION, eventually},
};

/// Behaviours of this layer.
pub const BEHAVIOURS: &[Behaviour] = behaviours![
    hp_90_a_receipt_signed_by_a_stranger,
    hp_91_a_frames_statement_shown_as_a_receipt,
    hp_92_the_receipt_of_an_earlier_frame,
    hp_93_answers_to_items_that_were_not_sent,
    hp_94_a_receipt_for_another_sender,
    hp_95_a_receipt_of_a_megabyte,
    hp_96_receipts_that_nobody_asked_for,
    hp_97_outcomes_that_do_not_exist,
    hp_98_every_frame_is_refused_whole,
    hp_99_streams_that_end_at_each_frame,
];

type Said = Vec<Result<wire::Receipt, Status>>;
type Compares = Box<dyn FnMut(&wire::TrustAsk) -> wire::TrustAnswer + Send>;
type Reconciles = Box<dyn FnMut(&wire::ReconcileAsk) -> Reconciled + Send>;
/// Reply to a question about a channel.
pub(super) type Reconciled = Result<wire::ReconcileAnswer, Status>;
type Answers = Box<dyn FnMut(wire::Frame, &Honest) -> Said + Send>;

/// Replies that the hostile receiver gives at present.
struct State {
    says: Answers,
    /// Sent before any frame arrives.
    first: Said,
    /// True if a stream is taken with its first frame only, as servers made with common gRPC
    /// libraries do.
    takes_late: bool,
    /// Streams opened and frames received since the replies were last set.
    asked: usize,
    /// Reply to questions about trust, if any is set.
    compares: Option<Compares>,
    /// Questions about trust received since that reply was set.
    compared: usize,
    /// Reply to questions about channels, if any is set.
    reconciles: Option<Reconciles>,
    /// Questions about channels received since that reply was set.
    reconciled: usize,
}

/// An honest receiver's answers, made with mallory's keys.
pub struct Honest {
    hop: SigningKey,
    sender_key: PublicKey,
}

impl Honest {
    fn received(&self, frame: &wire::Frame) -> ReceivedFrame {
        let hop = Hop {
            federation: &FEDERATION.parse().unwrap(),
            receiver: &"mallory".parse().unwrap(),
            peer: &"antwerp".parse().unwrap(),
        };
        ReceivedFrame::verify(frame.clone(), hop, |_| Some(self.sender_key.clone())).unwrap()
    }

    /// Refuses the whole frame for now.
    fn refuse(&self, frame: &wire::Frame) -> wire::Receipt {
        let received = self.received(frame);
        received
            .refuse(Rule::Busy, self.signing(&received))
            .unwrap()
    }

    fn signing(&self, received: &ReceivedFrame) -> Answering<'_> {
        Answering {
            key: &self.hop,
            now: received.head.sent_at,
            register_epoch: 2,
            credit: 1,
        }
    }

    /// Accepts every item.
    fn accept(&self, frame: &wire::Frame) -> wire::Receipt {
        let received = self.received(frame);
        let answers = received.records.iter().map(|record| Answer {
            record: record.id(),
            form: record.claimed_form(),
            outcome: Outcome::Accepted,
            reason: None,
        });
        received
            .answer(answers.collect(), self.signing(&received))
            .unwrap()
    }

    /// Returns an honest receipt whose payload is changed and signed again.
    fn changed(
        &self,
        frame: &wire::Frame,
        change: impl FnOnce(&mut wire::ReceiptPayload),
    ) -> wire::Receipt {
        let honest = self.accept(frame);
        let mut says = payload(&honest);
        change(&mut says);
        wire::Receipt {
            payload: Some((&sign::<Receipted>(&says, &self.hop)).into()),
            ..honest
        }
    }
}

fn payload(receipt: &wire::Receipt) -> wire::ReceiptPayload {
    let signed = receipt.payload.as_ref().unwrap();
    wire::ReceiptPayload::decode(signed.payload.clone()).unwrap()
}

/// The server of the hostile peer.
pub struct Receiver {
    state: Arc<Mutex<State>>,
    _stop: DropGuard,
}

struct Service {
    state: Arc<Mutex<State>>,
    honest: Arc<Honest>,
}

#[tonic::async_trait]
impl Exchange for Service {
    type DeliverStream = ReceiverStream<Result<wire::Receipt, Status>>;

    async fn deliver(
        &self,
        request: Request<Streaming<wire::Frame>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        // The honest peer calls as well; it is not attacked.
        let caller = request.extensions().get::<Peer>().unwrap();
        if caller.node.as_str() != "antwerp" {
            return Err(Status::unavailable("nobody is here"));
        }
        let mut frames = request.into_inner();
        let (said, stream) = mpsc::channel(64);
        let (state, honest) = (Arc::clone(&self.state), Arc::clone(&self.honest));
        let takes_late = {
            let mut state = state.lock().unwrap();
            state.asked += 1;
            for receipt in state.first.clone() {
                said.try_send(receipt).unwrap();
            }
            state.takes_late
        };
        // The headers of the response leave when this function returns.
        let mut first = if takes_late {
            frames.message().await?
        } else {
            None
        };
        tokio::spawn(async move {
            while let Ok(Some(frame)) = match first.take() {
                Some(frame) => Ok(Some(frame)),
                None => frames.message().await,
            } {
                let answers = {
                    let mut state = state.lock().unwrap();
                    state.asked += 1;
                    (state.says)(frame, &honest)
                };
                for answer in answers {
                    if said.send(answer).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn compare(
        &self,
        request: Request<wire::TrustAsk>,
    ) -> Result<Response<wire::TrustAnswer>, Status> {
        let nobody = || Status::unavailable("nothing is compared");
        let caller = request.extensions().get::<Peer>().unwrap();
        if caller.node.as_str() != "antwerp" {
            return Err(nobody());
        }
        let mut state = self.state.lock().unwrap();
        let says = state.compares.as_mut().ok_or_else(nobody)?;
        let answer = says(request.get_ref());
        state.compared += 1;
        Ok(Response::new(answer))
    }

    async fn reconcile(
        &self,
        request: Request<wire::ReconcileAsk>,
    ) -> Result<Response<wire::ReconcileAnswer>, Status> {
        let nobody = || Status::unavailable("nothing is compared");
        let caller = request.extensions().get::<Peer>().unwrap();
        if caller.node.as_str() != "antwerp" {
            return Err(nobody());
        }
        let mut state = self.state.lock().unwrap();
        let says = state.reconciles.as_mut().ok_or_else(nobody)?;
        let answer = says(request.get_ref());
        state.reconciled += 1;
        answer.map(Response::new)
    }
}

impl Receiver {
    /// Listens at mallory's address in the register.
    pub(super) async fn start(stage: &Theatre) -> Self {
        let tcp = tokio::net::TcpListener::bind(stage.listens_at.listen)
            .await
            .unwrap();
        let (listener, incoming) = Listener::new(
            tcp,
            Arc::new(stage.mallory.identity()),
            stage.target.kernel.trust().clone(),
            tls::system_clock(),
            &ListenerLimits::default(),
            ExchangeCounters::default(),
        )
        .unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(listener.run(stop.clone()));
        let state = Arc::new(Mutex::new(State {
            says: Box::new(|frame, honest| vec![Ok(honest.accept(&frame))]),
            first: Vec::new(),
            takes_late: false,
            asked: 0,
            compares: None,
            compared: 0,
            reconciles: None,
            reconciled: 0,
        }));
        let service = Service {
            state: Arc::clone(&state),
            honest: Arc::new(Honest {
                hop: clone_of(&stage.mallory.keyring.hop, stage),
                sender_key: stage.target.kernel.hop_key().public(),
            }),
        };
        let service = ExchangeServer::new(service).max_decoding_message_size(9 << 20);
        let ended = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            let served = server(Duration::from_secs(3600));
            served
                .serve_with_incoming_shutdown(service, incoming, ended)
                .await
                .unwrap();
        });
        Self {
            state,
            _stop: stop.drop_guard(),
        }
    }

    fn set(&self, first: Said, says: impl FnMut(wire::Frame, &Honest) -> Said + Send + 'static) {
        let mut state = self.state.lock().unwrap();
        (state.first, state.says, state.asked) = (first, Box::new(says), 0);
    }

    /// Sets the reply to questions about trust.
    pub(super) fn compare_with(
        &self,
        says: impl FnMut(&wire::TrustAsk) -> wire::TrustAnswer + Send + 'static,
    ) {
        let mut state = self.state.lock().unwrap();
        state.compares = Some(Box::new(says));
        state.compared = 0;
    }

    /// Sets the reply to questions about channels.
    pub(super) fn reconcile_with(
        &self,
        says: impl FnMut(&wire::ReconcileAsk) -> Reconciled + Send + 'static,
    ) {
        let mut state = self.state.lock().unwrap();
        state.reconciles = Some(Box::new(says));
        state.reconciled = 0;
    }

    /// Returns the number of questions about channels received since the reply was set.
    pub(super) fn reconciled(&self) -> usize {
        self.state.lock().unwrap().reconciled
    }

    /// Returns the number of questions about trust received since the reply was set.
    pub(super) fn compared(&self) -> usize {
        self.state.lock().unwrap().compared
    }

    fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }
}

/// A signing key cannot be copied, so its keyring is read again.
fn clone_of(_: &SigningKey, stage: &Theatre) -> SigningKey {
    let home = stage.federation.home("mallory");
    let passphrase = stage.federation.folder().join("mallory.passphrase");
    let source = portcullis_home::secret::KeySource::PassphraseFile(passphrase);
    let keyring = portcullis_home::keyring::Keyring::load(&home, &source).unwrap();
    Arc::into_inner(keyring.hop).unwrap()
}

/// Returns the state of a record's disclosure to a peer in the target's ledger.
fn state(stage: &Theatre, id: &RecordId, peer: &str) -> Option<DisclosureState> {
    let store = stage.target.kernel.store();
    let row = store.disclosure(id, &peer.parse().unwrap()).unwrap();
    row.map(|row| row.state)
}

const ADMITTED: DisclosureState = DisclosureState::Answered(Outcome::Accepted);

/// Publishes at the target while mallory replies with `says`. The honest peer still receives the
/// record. The target does not accept mallory's receipts and tries again; once mallory answers
/// correctly, its receipt is accepted.
async fn disbelieved(
    stage: &mut Theatre,
    first: Said,
    says: impl FnMut(wire::Frame, &Honest) -> Said + Send + 'static,
) {
    let receiver = match stage.receiver.take() {
        Some(receiver) => receiver,
        None => Receiver::start(stage).await,
    };
    receiver.set(first, says);
    let kernel = Arc::clone(&stage.target.kernel);
    let id = kernel.publish(vec![draft(Kind::Indicator)]).await.unwrap()[0];
    eventually(&kernel, || state(stage, &id, "rotterdam") == Some(ADMITTED)).await;
    eventually(&kernel, || receiver.asked() >= 2).await;
    assert_eq!(
        state(stage, &id, "mallory"),
        Some(DisclosureState::Intended)
    );
    receiver.set(Vec::new(), |frame, honest| vec![Ok(honest.accept(&frame))]);
    eventually(&kernel, || state(stage, &id, "mallory") == Some(ADMITTED)).await;
    stage.receiver = Some(receiver);
}

/// A record reaches a server that takes a stream with its first frame only: nobody waits for the other
/// to begin.
pub async fn delivers_to_who_takes_streams_late(stage: &mut Theatre) {
    let receiver = Receiver::start(stage).await;
    receiver.state.lock().unwrap().takes_late = true;
    let kernel = Arc::clone(&stage.target.kernel);
    let id = kernel.publish(vec![draft(Kind::Indicator)]).await.unwrap()[0];
    eventually(&kernel, || state(stage, &id, "mallory") == Some(ADMITTED)).await;
    stage.receiver = Some(receiver);
}

async fn hp_90_a_receipt_signed_by_a_stranger(stage: &mut Theatre) {
    let stranger = SigningKey::from_seed(KeyUse::Hop, [13; 32]);
    disbelieved(stage, Vec::new(), move |frame, honest| {
        let honest = honest.accept(&frame);
        let payload = Some((&sign::<Receipted>(&payload(&honest), &stranger)).into());
        vec![Ok(wire::Receipt { payload, ..honest })]
    })
    .await;
}

async fn hp_91_a_frames_statement_shown_as_a_receipt(stage: &mut Theatre) {
    disbelieved(stage, Vec::new(), |frame, honest| {
        let receipt = honest.accept(&frame);
        let payload = Some((&sign::<Framed>(&payload(&receipt), &honest.hop)).into());
        vec![Ok(wire::Receipt { payload, ..receipt })]
    })
    .await;
}

async fn hp_92_the_receipt_of_an_earlier_frame(stage: &mut Theatre) {
    let mut earlier = None;
    // The first frame is answered correctly; its receipt is then shown for the next one.
    let earlier_of = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&earlier_of);
    if stage.receiver.is_none() {
        stage.receiver = Some(Receiver::start(stage).await);
    }
    stage
        .receiver
        .as_ref()
        .unwrap()
        .set(Vec::new(), move |frame, honest| {
            let receipt = honest.accept(&frame);
            *seen.lock().unwrap() = Some(receipt.clone());
            vec![Ok(receipt)]
        });
    let kernel = Arc::clone(&stage.target.kernel);
    let id = kernel.publish(vec![draft(Kind::Indicator)]).await.unwrap()[0];
    eventually(&kernel, || state(stage, &id, "mallory") == Some(ADMITTED)).await;
    earlier.clone_from(&earlier_of.lock().unwrap());
    let earlier: wire::Receipt = earlier.unwrap();
    disbelieved(stage, Vec::new(), move |_, _| vec![Ok(earlier.clone())]).await;
}

async fn hp_93_answers_to_items_that_were_not_sent(stage: &mut Theatre) {
    disbelieved(stage, Vec::new(), |frame, honest| {
        let mut receipt = honest.accept(&frame);
        receipt.answers[0].record_id = vec![7; 32].into();
        vec![Ok(receipt)]
    })
    .await;
    disbelieved(stage, Vec::new(), |frame, honest| {
        let mut receipt = honest.accept(&frame);
        receipt.answers.clear();
        vec![Ok(receipt)]
    })
    .await;
}

async fn hp_94_a_receipt_for_another_sender(stage: &mut Theatre) {
    disbelieved(stage, Vec::new(), |frame, honest| {
        vec![Ok(honest.changed(&frame, |says| {
            says.sender = "rotterdam".to_owned()
        }))]
    })
    .await;
    disbelieved(stage, Vec::new(), |frame, honest| {
        vec![Ok(honest.changed(&frame, |says| says.first_sequence += 1))]
    })
    .await;
    disbelieved(stage, Vec::new(), |frame, honest| {
        vec![Ok(honest.changed(&frame, |says| {
            says.frame_digest = Bytes::from(vec![1; 32])
        }))]
    })
    .await;
}

async fn hp_95_a_receipt_of_a_megabyte(stage: &mut Theatre) {
    disbelieved(stage, Vec::new(), |frame, honest| {
        let mut receipt = honest.accept(&frame);
        receipt.refused = "x".repeat(1 << 20);
        vec![Ok(receipt)]
    })
    .await;
}

async fn hp_96_receipts_that_nobody_asked_for(stage: &mut Theatre) {
    let empty = || Ok(wire::Receipt::default());
    disbelieved(
        stage,
        vec![empty(), empty(), empty()],
        move |frame, honest| vec![empty(), Ok(honest.accept(&frame)), empty()],
    )
    .await;
}

async fn hp_97_outcomes_that_do_not_exist(stage: &mut Theatre) {
    for outcome in [0, 77, -1] {
        disbelieved(stage, Vec::new(), move |frame, honest| {
            let mut receipt = honest.accept(&frame);
            receipt.answers[0].outcome = outcome;
            vec![Ok(receipt)]
        })
        .await;
    }
}

/// A busy peer answers in this way: it settles nothing, and the frame is sent again later.
async fn hp_98_every_frame_is_refused_whole(stage: &mut Theatre) {
    disbelieved(stage, Vec::new(), |frame, honest| {
        vec![Ok(honest.refuse(&frame))]
    })
    .await;
}

/// A stream that ends without a receipt settles nothing.
async fn hp_99_streams_that_end_at_each_frame(stage: &mut Theatre) {
    disbelieved(stage, Vec::new(), |_, _| {
        vec![Err(Status::ok("that is all"))]
    })
    .await;
    disbelieved(stage, Vec::new(), |_, _| {
        vec![Err(Status::unavailable("not now"))]
    })
    .await;
}

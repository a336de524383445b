//! One question about trust to one peer, and the use of its answer.

use std::{sync::Arc, time::Duration};

use portcullis_protocol::{
    gossip::{Answer, MAX_ANSWER_BYTES},
    identifiers::NodeId,
    verify::Refusal,
    wire,
};
use tonic::transport::Channel;

use super::{
    answers::fork,
    machine::{Event, Learnt},
};
use portcullis_kernel::{Kernel, OfferError, in_force::LoadError, reload::Reloader};
use portcullis_peering::{
    connector::{self, ConnectError},
    rpc::exchange_client::ExchangeClient,
    unreached::{Unreached, answered},
};

/// Time limit of a question, the handshake included.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes that gRPC adds to an answer.
const ENCODING_SLACK: usize = 64 << 10;

/// Reason for which a question gave nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QuestionError {
    #[error("{}", Unreached::of(.0))]
    Connect(#[from] ConnectError),
    #[error("{}", Unreached::of(.0))]
    Transport(#[from] tonic::transport::Error),
    #[error("{}", answered(.0))]
    Status(#[from] tonic::Status),
    #[error("no answer within {TIMEOUT:?}")]
    TimedOut,
    #[error("TLS cannot be configured: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the register lists the peer no more")]
    Unknown,
    #[error("the answer does not count: {0}")]
    Answer(#[from] Refusal),
    #[error("what was learnt cannot be put in force: {0}")]
    Force(#[from] LoadError),
}

/// Asks a peer and returns the event for the machine.
pub(super) async fn ask(kernel: Arc<Kernel>, reloader: Arc<Reloader>, peer: NodeId) -> Event {
    let asking = tokio::time::timeout(TIMEOUT, question(&kernel, &peer)).await;
    let answer = asking.unwrap_or(Err(QuestionError::TimedOut));
    let learnt = match answer {
        Ok(answer) => learn(&kernel, &reloader, &peer, answer).await,
        Err(error) => Err(error),
    };
    match learnt {
        Ok(learnt) => Event::Answered { peer, learnt },
        Err(error @ (QuestionError::Answer(_) | QuestionError::Force(_))) => {
            tracing::warn!(%peer, %error, "nothing was learnt about trust");
            Event::Failed(peer)
        }
        Err(error) => {
            tracing::debug!(%peer, %error, "a peer was not asked about trust");
            Event::Failed(peer)
        }
    }
}

async fn question(kernel: &Kernel, peer: &NodeId) -> Result<Answer, QuestionError> {
    Ok(Answer::read(
        compare(kernel, peer, kernel.standing().to_wire()).await?,
    )?)
}

pub(crate) async fn compare(
    kernel: &Kernel,
    peer: &NodeId,
    ask: wire::TrustAsk,
) -> Result<wire::TrustAnswer, QuestionError> {
    let decider = kernel.decider();
    let (_, node) = decider
        .register()
        .node(peer)
        .ok_or(QuestionError::Unknown)?;
    let channel: Channel = connector::endpoint(&node.endpoint)?
        .connect_with_connector(kernel.connector(peer)?)
        .await?;
    Ok(ExchangeClient::new(channel)
        .max_decoding_message_size(MAX_ANSWER_BYTES + ENCODING_SLACK)
        .compare(ask)
        .await?
        .into_inner())
}

async fn learn(
    kernel: &Kernel,
    reloader: &Reloader,
    peer: &NodeId,
    answer: Answer,
) -> Result<Learnt, QuestionError> {
    if let Some(event) = fork(kernel, peer, &answer) {
        tracing::error!(%peer, detail = event.detail, "someone signed a fork of the register");
        kernel.note(event).await;
        return Ok(Learnt::Nothing);
    }
    let Answer {
        epoch: claimed,
        register: _,
        epochs,
        freshness,
        suspensions,
    } = answer;
    let followed = reloader.follow(epochs).await?;
    let mut learnt = followed.taken > 0;
    let mut refused = followed.refused;
    // Statements refer to the newest epoch, so they come after it.
    if let Some(bytes) = freshness {
        learnt |= taken(kernel.offer_freshness(&bytes).await, &mut refused)?;
    }
    for bytes in suspensions {
        learnt |= taken(kernel.offer_suspension(&bytes).await, &mut refused)?;
    }
    let level = kernel.decider().register().epoch >= claimed;
    if let Some(refusal) = &refused {
        report(kernel, peer, refusal).await;
    }
    Ok(match (level, learnt, refused) {
        (true, true, _) => Learnt::All,
        (true, false, None) => Learnt::Level,
        (false, true, None) => Learnt::Some,
        (true | false, false, _) | (false, true, Some(_)) => Learnt::Nothing,
    })
}

/// Returns true if the statement was new. The first refusal is kept in `refused`.
fn taken(
    offered: Result<bool, OfferError>,
    refused: &mut Option<Refusal>,
) -> Result<bool, QuestionError> {
    match offered {
        Ok(new) => Ok(new),
        Err(OfferError::Refused(refusal)) => {
            refused.get_or_insert(refusal);
            Ok(false)
        }
        Err(OfferError::Store(error)) => Err(QuestionError::Force(error.into())),
    }
}

async fn report(kernel: &Kernel, peer: &NodeId, refusal: &Refusal) {
    tracing::warn!(%peer, %refusal, "what a peer brought about trust is refused");
    kernel
        .note(portcullis_store::NodeEvent {
            at: kernel.now(),
            kind: "trust-refused".to_owned(),
            peer: Some(peer.clone()),
            detail: refusal.to_string(),
        })
        .await;
}

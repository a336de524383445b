//! Trust data of this node, and its answer to a member that has other data.

use bytes::Bytes;
use portcullis_protocol::{
    gossip::{Answer, Standing},
    identifiers::NodeId,
    verify::Refusal,
    wire,
};

use portcullis_kernel::{Kernel, calls::Rumour};
use portcullis_store::{NodeEvent, StoreError};

/// Reason for which a question is not answered.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The question is refused. The fault is the peer's.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed. The fault is this node's own.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Answers a member's question with what the member lacks, and notes what it has.
///
/// # Errors
///
/// [`AnswerError`] if the question cannot be read or the epochs cannot be loaded.
pub fn answer(kernel: &Kernel, peer: &NodeId, ask: wire::TrustAsk) -> Result<Answer, AnswerError> {
    let own = kernel.standing();
    let theirs = Standing::read(ask, &own.federation)?;
    if own.lacks(&theirs) {
        kernel.spread(Rumour::Ahead(peer.clone()));
    } else if !theirs.lacks(&own) {
        kernel.spread(Rumour::Level(peer.clone()));
    }
    let epochs = if theirs.epoch < own.epoch {
        epochs_after(kernel, theirs.epoch)?
    } else {
        Vec::new()
    };
    let decider = kernel.decider();
    let (register, state) = (decider.verified_register(), kernel.gate_state());
    let level = theirs.epoch == own.epoch;
    let freshness = state
        .current_freshness(register)
        .filter(|held| !level || Some(held.freshness().issued_at) > theirs.freshness_issued)
        .map(|held| held.signed().encode().into());
    let suspensions = if theirs.suspensions == own.suspensions {
        Vec::new()
    } else {
        state.current_suspensions(register, kernel.now())
    };
    Ok(Answer::new(&own, epochs, freshness, suspensions))
}

/// Returns the event to note if a peer holds another register under the same number. Such a fork
/// proves misbehaviour by whoever signed both.
#[must_use]
pub fn fork(kernel: &Kernel, peer: &NodeId, theirs: &Answer) -> Option<NodeEvent> {
    let own = kernel.standing();
    (own.epoch == theirs.epoch && own.register != theirs.register).then(|| NodeEvent {
        at: kernel.now(),
        kind: "register-fork".to_owned(),
        peer: Some(peer.clone()),
        detail: format!(
            "RG-05: epoch {} is `{}` here and `{}` there; call the governance",
            own.epoch, own.register, theirs.register
        ),
    })
}

fn epochs_after(kernel: &Kernel, epoch: u64) -> Result<Vec<Bytes>, StoreError> {
    let known = usize::try_from(epoch).unwrap_or(usize::MAX);
    let epochs = kernel.store().registers()?;
    // Epochs are numbered from 1 without a gap.
    Ok(epochs
        .iter()
        .skip(known)
        .map(|signed| signed.encode().into())
        .collect())
}

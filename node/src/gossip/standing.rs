//! What this node has, and what it answers to a member that has something else.

use bytes::Bytes;
use portcullis_protocol::{
    gossip::{Answer, Standing},
    identifiers::NodeId,
    verify::Refusal,
    wire,
};

use crate::{
    core::{Core, calls::Rumour},
    store::{Event, StoreError},
};

/// Why a question is not answered.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The peer's fault.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Ours.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Answers a member's question with what it lacks, and takes note of what it has.
///
/// # Errors
///
/// [`AnswerError`] if the question cannot be read or the epochs not be had.
pub fn answer(core: &Core, peer: &NodeId, ask: wire::TrustAsk) -> Result<Answer, AnswerError> {
    let own = core.standing();
    let theirs = Standing::read(ask, &own.federation)?;
    if own.lacks(&theirs) {
        core.spread(Rumour::Ahead(peer.clone()));
    } else if !theirs.lacks(&own) {
        core.spread(Rumour::Level(peer.clone()));
    }
    let epochs = if theirs.epoch < own.epoch {
        epochs_after(core, theirs.epoch)?
    } else {
        Vec::new()
    };
    let decider = core.decider();
    let (register, state) = (decider.verified_register(), core.trust_state());
    let level = theirs.epoch == own.epoch;
    let freshness = state
        .current_freshness(register)
        .filter(|held| !level || Some(held.freshness().issued_at) > theirs.freshness_issued)
        .map(|held| held.signed().encode().into());
    let suspensions = if theirs.suspensions == own.suspensions {
        Vec::new()
    } else {
        state.current_suspensions(register, core.now())
    };
    Ok(Answer::new(&own, epochs, freshness, suspensions))
}

/// What is noted if a peer holds another register under the same number: a fork is proof of
/// misbehaviour by whoever signed both.
#[must_use]
pub fn fork(core: &Core, peer: &NodeId, theirs: &Answer) -> Option<Event> {
    let own = core.standing();
    (own.epoch == theirs.epoch && own.register != theirs.register).then(|| Event {
        at: core.now(),
        kind: "register-fork".to_owned(),
        peer: Some(peer.clone()),
        detail: format!(
            "RG-05: epoch {} is `{}` here and `{}` there; call the governance",
            own.epoch, own.register, theirs.register
        ),
    })
}

fn epochs_after(core: &Core, epoch: u64) -> Result<Vec<Bytes>, StoreError> {
    let known = usize::try_from(epoch).unwrap_or(usize::MAX);
    let epochs = core.store().registers()?;
    // Epochs are numbered from 1 without a gap.
    Ok(epochs
        .iter()
        .skip(known)
        .map(|signed| signed.encode().into())
        .collect())
}

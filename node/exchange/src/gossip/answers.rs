//! Trust data of this node, and its answer to a member that has other data.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use portcullis_protocol::{
    gossip::{Answer, MAX_EPOCHS, Standing},
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
pub fn answer(
    kernel: &Kernel,
    known: &Epochs,
    peer: &NodeId,
    ask: wire::TrustAsk,
) -> Result<Answer, AnswerError> {
    let own = kernel.standing();
    let theirs = Standing::read(ask, &own.federation)?;
    if own.lacks(&theirs) {
        kernel.spread(Rumour::Ahead(peer.clone()));
    } else if !theirs.lacks(&own) {
        kernel.spread(Rumour::Level(peer.clone()));
    }
    let epochs = if theirs.epoch < own.epoch {
        known.after(kernel, theirs.epoch, own.epoch)?
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

/// Bytes of encoded epochs that are kept in memory; a longer register is read from the store for each question.
const MOST_KEPT: usize = 32 << 20;

/// Encoded epochs of the register, kept so that a question does not read all of them from the store.
#[derive(Debug, Default)]
pub struct Epochs {
    // Guards the epochs alone. Held while they are read from the store, so that few questions at once read them once.
    kept: Mutex<Vec<Bytes>>,
}

impl Epochs {
    /// Returns the encoded epochs after number `known`, if `newest` is the one in force here.
    fn after(&self, kernel: &Kernel, known: u64, newest: u64) -> Result<Vec<Bytes>, StoreError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // Epochs are numbered from 1 without a gap.
        let is_whole = u64::try_from(kept.len()).is_ok_and(|kept| kept >= newest);
        if !is_whole {
            let read = kernel.store().registers()?;
            let read: Vec<Bytes> = read.iter().map(|signed| signed.encode().into()).collect();
            let size = read.iter().map(Bytes::len).fold(0, usize::saturating_add);
            if size > MOST_KEPT {
                return Ok(later(&read, known));
            }
            *kept = read;
        }
        Ok(later(&kept, known))
    }
}

fn later(epochs: &[Bytes], known: u64) -> Vec<Bytes> {
    let known = usize::try_from(known).unwrap_or(usize::MAX);
    epochs
        .iter()
        .skip(known)
        .take(MAX_EPOCHS)
        .cloned()
        .collect()
}

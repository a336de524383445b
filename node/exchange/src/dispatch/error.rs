//! Why nothing is planned for a peer.

use portcullis_protocol::frame::FrameError;

use portcullis_store::StoreError;

/// Why nothing could be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The store does not answer: our own or the operator's fault.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The frame cannot be signed: our own or the operator's fault.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

//! Reasons for which nothing is planned for a peer.

use portcullis_protocol::frame::FrameError;

use portcullis_store::StoreError;

/// Reason for which nothing could be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The store does not answer. The fault is this node's own or the operator's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The frame cannot be signed. The fault is this node's own or the operator's.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

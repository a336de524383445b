//! A request at the admin socket: who makes it, what it says, and the parts of the node that answer it.

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRequest, Request, connect_info::Connected},
    serve::IncomingStream,
};
use serde::de::DeserializeOwned;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::{
    people::People,
    problem::{Problem, ProblemKind},
};
use portcullis_backup::Snapshots;
use portcullis_desk::Desk;
use portcullis_kernel::{Kernel, reload::Reloader};

/// Parts of the node that the routes work with.
#[derive(Clone)]
pub struct Admin {
    /// The kernel that the parts of the node share.
    pub kernel: Arc<Kernel>,
    /// The persons who may act.
    pub people: Arc<People>,
    /// The scoring desk.
    pub desk: Arc<Desk>,
    /// Gives the store's snapshots, for a backup.
    pub snapshots: Snapshots,
    /// Takes up a changed register or policy.
    pub reloader: Arc<Reloader>,
    /// Token that ends streams when the node stops.
    pub shutdown: CancellationToken,
}

/// The process at the other side of the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Its uid as the kernel reports it; `None` if the kernel does not.
    pub uid: Option<u32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self {
            uid: stream.io().peer_cred().ok().map(|peer| peer.uid()),
        }
    }
}

/// A request's body as JSON; what is no such JSON is a problem like any other.
pub(super) struct JsonBody<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(Problem::new(ProblemKind::Invalid, rejection.body_text())),
        }
    }
}

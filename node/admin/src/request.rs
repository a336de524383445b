//! A request at the admin socket: who makes it, what it says, and the parts of the node that answer it.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, Request},
    http::header::CONTENT_LENGTH,
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
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

/// Largest size of the body of a request that is no act, in bytes: drafts to look at.
pub(super) const MOST_ASKED: usize = 32 << 20;

/// Kibibytes of bodies that are read and worked on at once: one of the largest, and some of the others.
const MOST_IN_FLIGHT: u32 = 320 << 10;

/// Longest time for a body to come.
const WHOLE_BODY: Duration = Duration::from_secs(600);

/// Room for the bodies of all requests; clones share it.
#[derive(Debug, Clone)]
pub(super) struct InFlight(Arc<Semaphore>);

impl Default for InFlight {
    fn default() -> Self {
        let kibibytes = usize::try_from(MOST_IN_FLIGHT).unwrap_or(0);
        Self(Arc::new(Semaphore::new(kibibytes)))
    }
}

impl InFlight {
    async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let kibibytes = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(MOST_IN_FLIGHT);
        let wanted = kibibytes.min(MOST_IN_FLIGHT);
        Arc::clone(&self.0).acquire_many_owned(wanted).await.ok()
    }
}

/// A body that was read, and its room.
pub(super) struct Read {
    pub(super) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// Reads a body of at most so many bytes, once there is room for it.
pub(super) async fn read_body(request: Request, most: usize) -> Result<Read, Problem> {
    let size = match request.headers().get(CONTENT_LENGTH) {
        Some(length) => length.to_str().ok().and_then(|length| length.parse().ok()),
        None => Some(most),
    };
    let size: usize = size.filter(|size| *size <= most).ok_or_else(too_large)?;
    let reading = async {
        let room = match request.extensions().get::<InFlight>().cloned() {
            Some(in_flight) => in_flight.take(size).await,
            None => None,
        };
        let bytes = axum::body::to_bytes(request.into_body(), most).await;
        bytes.map(|bytes| Read { bytes, _room: room })
    };
    let read = timeout(WHOLE_BODY, reading).await;
    read.ok().and_then(Result::ok).ok_or_else(|| {
        Problem::new(
            ProblemKind::Invalid,
            "the request's body did not come whole, or in time",
        )
    })
}

fn too_large() -> Problem {
    Problem::new(ProblemKind::TooLarge, "the request is too large")
        .remedy("divide it, or leave out what is not needed")
}

/// A request's body as JSON; what is no such JSON is a problem like any other.
pub(super) struct JsonBody<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let read = read_body(request, MOST_ASKED).await?;
        match Json::<T>::from_bytes(&read.bytes) {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(Problem::new(ProblemKind::Invalid, rejection.body_text())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn request(in_flight: &InFlight, length: usize, body: &'static str) -> Request {
        let request = Request::builder().header(CONTENT_LENGTH, length);
        let request = request.extension(in_flight.clone());
        request.body(Body::from(body)).unwrap()
    }

    /// Attack L4: four bodies of 250 MB took 1 GB.
    #[tokio::test]
    async fn bodies_beyond_the_room_for_all_wait_and_one_that_is_too_large_is_not_read() {
        let in_flight = InFlight::default();
        let large = 256 << 20;
        let first = read_body(request(&in_flight, large, "{}"), large)
            .await
            .unwrap();
        let second = read_body(request(&in_flight, large, "{}"), large);
        let brief = Duration::from_millis(50);
        assert!(timeout(brief, second).await.is_err());
        let small = read_body(request(&in_flight, 2, "{}"), large)
            .await
            .unwrap();
        assert_eq!(small.bytes, "{}");
        drop(first);
        let third = read_body(request(&in_flight, large, "{}"), large).await;
        assert!(third.is_ok());
        assert!(read_body(request(&in_flight, 3, "{}"), 2).await.is_err());
        assert!(
            read_body(request(&in_flight, 2, "too long"), 2)
                .await
                .is_err()
        );
    }
}

//! Limits of a request before its first message is read: the size of its messages, by method, and their pace.
//!
//! tonic knows one limit for a service, and waits for a message without end. A question of 1 KiB must not make this node
//! keep 8 MiB, nor a message that never becomes whole keep anything for long.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use portcullis_peering::rpc::exchange_server::{Exchange, ExchangeServer};
use tokio::time::{Sleep, sleep, timeout};
use tonic::{
    Status,
    body::Body,
    codegen::{
        Service,
        http::{Request, Response},
    },
};

/// Longest time between the first byte of a message and its last. A sender that had to wait for its receipt for longer
/// has given up by then.
const WHOLE: Duration = Duration::from_secs(120);

/// Time limit of a question, from its first byte to its answer. Members wait no longer for one.
const QUESTION: Duration = Duration::from_secs(60);

/// The exchange behind the limits of each method.
pub struct Paced<S: Exchange> {
    deliver: ExchangeServer<S>,
    compare: ExchangeServer<S>,
    reconcile: ExchangeServer<S>,
}

/// Largest size of a message of each method, in bytes, as encoded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Largest {
    pub(super) frame: usize,
    pub(super) comparison: usize,
    pub(super) reconciliation: usize,
    /// Of an answer of any method.
    pub(super) answer: usize,
}

impl<S: Exchange> Paced<S> {
    pub(super) fn new(service: S, largest: Largest) -> Self {
        let all = ExchangeServer::new(service).max_encoding_message_size(largest.answer);
        let of = |most| all.clone().max_decoding_message_size(most);
        Self {
            deliver: of(largest.frame),
            compare: of(largest.comparison),
            reconcile: of(largest.reconciliation),
        }
    }
}

impl<S: Exchange> Clone for Paced<S> {
    fn clone(&self) -> Self {
        Self {
            deliver: self.deliver.clone(),
            compare: self.compare.clone(),
            reconcile: self.reconcile.clone(),
        }
    }
}

impl<S: Exchange> Service<Request<Body>> for Paced<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let request = request.map(|body| Body::new(PacedBody::new(body, WHOLE)));
        let method = request.uri().path().rsplit('/').next().unwrap_or_default();
        let question = match method {
            "Deliver" => return self.deliver.call(request),
            "Reconcile" => self.reconcile.call(request),
            _ => self.compare.call(request),
        };
        Box::pin(async {
            let late = |_| Ok(Status::deadline_exceeded("the question took too long").into_http());
            timeout(QUESTION, question).await.unwrap_or_else(late)
        })
    }
}

/// A body whose messages, once begun, become whole in time.
struct PacedBody {
    body: Body,
    limit: Duration,
    messages: Messages,
    /// End of the time for the message that has begun.
    end: Option<Pin<Box<Sleep>>>,
}

impl PacedBody {
    const fn new(body: Body, limit: Duration) -> Self {
        Self {
            body,
            limit,
            messages: Messages::new(),
            end: None,
        }
    }

    fn took(&mut self, bytes: &Bytes) {
        let before = self.messages.whole;
        self.messages.take(bytes);
        if !self.messages.is_within_one() {
            self.end = None;
        } else if self.end.is_none() || self.messages.whole != before {
            self.end = Some(Box::pin(sleep(self.limit)));
        }
    }
}

impl HttpBody for PacedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            if let Some(bytes) = frame.as_ref().and_then(|of| of.as_ref().ok()?.data_ref()) {
                self.took(bytes);
            }
            return Poll::Ready(frame);
        }
        let Some(end) = &mut self.end else {
            return Poll::Pending;
        };
        ready!(end.as_mut().poll(context));
        let late = Status::deadline_exceeded("a message did not become whole in time");
        Poll::Ready(Some(Err(late)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Size of what stands before each message of gRPC: a flag and the length, in four bytes.
const PREFIX: usize = 5;

/// Place in a sequence of gRPC messages. Their contents are not looked at.
#[derive(Debug)]
struct Messages {
    /// Bytes of the prefix that have come.
    prefix: Vec<u8>,
    /// Bytes of the message that are still to come, once its prefix is whole.
    rest: usize,
    /// Messages that have become whole.
    whole: u64,
}

impl Messages {
    const fn new() -> Self {
        Self {
            prefix: Vec::new(),
            rest: 0,
            whole: 0,
        }
    }

    fn is_within_one(&self) -> bool {
        !self.prefix.is_empty()
    }

    fn take(&mut self, bytes: &[u8]) {
        let mut left = bytes;
        while !left.is_empty() {
            let wanted = PREFIX.saturating_sub(self.prefix.len());
            let (now, later) = left.split_at(wanted.min(left.len()));
            self.prefix.extend_from_slice(now);
            if wanted > 0 {
                let Some([_, length @ ..]) = self.prefix.first_chunk::<PREFIX>() else {
                    return;
                };
                self.rest = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            }
            let (now, later) = later.split_at(self.rest.min(later.len()));
            self.rest = self.rest.saturating_sub(now.len());
            left = later;
            if self.rest == 0 {
                self.prefix.clear();
                self.whole = self.whole.wrapping_add(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes these pieces and returns the messages that became whole, and whether another has begun.
    fn after(pieces: &[&[u8]]) -> (u64, bool) {
        let mut messages = Messages::new();
        for piece in pieces {
            messages.take(piece);
        }
        (messages.whole, messages.is_within_one())
    }

    #[test]
    fn messages_are_told_apart_however_they_are_cut() {
        let two = b"\x00\x00\x00\x00\x03abc\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01x";
        assert_eq!(after(&[two]), (3, false));
        for at in 0..=two.len() {
            let (one, other) = two.split_at(at);
            assert_eq!(after(&[one, other]), (3, false), "{at}");
        }
        let single: Vec<&[u8]> = two.chunks(1).collect();
        assert_eq!(after(&single), (3, false));
        assert_eq!(after(&[b"\x00"]), (0, true));
        assert_eq!(after(&[b"\x00\x00\x00\x00\x02a"]), (0, true));
    }

    /// A body that has begun a message and says no more.
    struct Stuck(Option<Bytes>);

    impl HttpBody for Stuck {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            match self.0.take() {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                None => Poll::Pending,
            }
        }
    }

    async fn second(begun: &'static [u8]) -> Option<Status> {
        let body = Body::new(Stuck(Some(Bytes::from_static(begun))));
        let mut body = PacedBody::new(body, Duration::from_millis(50));
        let mut next =
            async || std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        assert!(next().await.unwrap().is_ok());
        let answer = timeout(Duration::from_secs(1), next()).await.ok()?;
        answer.unwrap().err()
    }

    /// Attack M2: a message of which a part came was kept for as long as its sender liked.
    #[tokio::test]
    async fn a_message_that_does_not_become_whole_ends_its_stream_and_silence_does_not() {
        let late = second(b"\x00\x00\x00\x00\x09half").await.unwrap();
        assert_eq!(late.code(), tonic::Code::DeadlineExceeded);
        assert!(second(b"\x00\x00\x00\x00\x04full").await.is_none());
    }
}

//! "Answers ready": this node has decided on what it held of a peer's, and tells the peer to send it again; a peer that
//! is told so does.
//!
//! ```text
//! hold: decided ─▶ Kernel::tell_answers_ready ─▶ run ─ question with `answers_ready` ─▶ the peer's inbound service
//!   ─▶ Throttle ─▶ Kernel::send_held_again ─▶ Write::AnswersReady ─▶ dispatch
//! ```
//!
//! The message travels with a question about trust, for there is no stream from the receiver of a channel to its sender.
//! It may be lost: a sender that does not hear it sends again by itself, later. Whoever gives many is made to wait, and
//! keeps its own seats for questions busy meanwhile ([`portcullis_peering::tally`]).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use portcullis_kernel::Kernel;
use portcullis_protocol::{identifiers::NodeId, wire};
use tokio::{sync::broadcast, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::gossip::{TIMEOUT, compare};

/// Messages under way at most; further peers ask by themselves.
const MOST_MESSAGES: usize = 64;

/// Tells peers until `shutdown`.
pub async fn run(kernel: Arc<Kernel>, shutdown: CancellationToken) {
    let mut ready = kernel.answers_ready();
    let mut messages = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            peer = ready.recv() => match peer {
                Ok(peer) if messages.len() < MOST_MESSAGES => {
                    messages.spawn(tell(Arc::clone(&kernel), peer));
                }
                Ok(peer) => tracing::debug!(%peer, "too many peers wait to be told of answers"),
                Err(error @ broadcast::error::RecvError::Lagged(_)) => {
                    tracing::debug!(%error, "some peers are not told of answers");
                }
                Err(broadcast::error::RecvError::Closed) => return,
            },
            Some(done) = messages.join_next() => if let Err(error) = done {
                tracing::error!(%error, "a message to a peer was cut short");
            },
        }
    }
}

/// Tells one peer. The answer is ignored: a peer that misses the message sends again later.
async fn tell(kernel: Arc<Kernel>, peer: NodeId) {
    let ask = wire::TrustAsk {
        answers_ready: true,
        ..kernel.standing().to_wire()
    };
    match tokio::time::timeout(TIMEOUT, compare(&kernel, &peer, ask)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(%peer, %error, "a peer was not told of answers"),
        Err(_) => tracing::debug!(%peer, "a peer was not told of answers in time"),
    }
}

/// Shortest time between two messages of one peer.
const BETWEEN: Duration = Duration::from_secs(2);

/// Time of each peer's last message; for a message that waits, the time at which it will be heard.
#[derive(Debug, Default)]
pub(crate) struct Throttle(
    /// Held for a moment; bounded by the nodes of the register.
    Mutex<BTreeMap<NodeId, Instant>>,
);

impl Throttle {
    /// Waits until a message of this peer may be heard.
    pub(crate) async fn wait(&self, peer: &NodeId) {
        let at = self.turn(peer, Instant::now());
        tokio::time::sleep_until(at).await;
    }

    fn turn(&self, peer: &NodeId, now: Instant) -> Instant {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = last.get(peer).map_or(now, |last| now.max(*last + BETWEEN));
        last.insert(peer.clone(), at);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_heard_and_none_within_two_seconds_of_another() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let (hub, antwerp) = ("hub".parse().unwrap(), "antwerp".parse().unwrap());
        let after = |peer, seconds| {
            let at = throttle.turn(peer, now + Duration::from_secs(seconds));
            at.duration_since(now).as_secs()
        };
        assert_eq!(after(&hub, 0), 0);
        assert_eq!(after(&hub, 0), 2);
        assert_eq!(after(&hub, 1), 4);
        assert_eq!(after(&antwerp, 1), 1);
        assert_eq!(after(&hub, 9), 9);
    }
}

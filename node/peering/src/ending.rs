//! End of open connections from this side: at the age limit, when the judgement of the peer no longer holds, or when a
//! reload refuses the peer.

use std::sync::Arc;
use std::time::Duration;

use portcullis_protocol::identifiers::NodeId;
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::sync::watch;
use tokio::time::Instant;

use super::tls::Clock;
use super::trust::{JudgedPeer, PeerTrust, Refusal, Role, Trust};
use super::verifier::refuse_other;

/// Reason for which an open connection was ended. Its next read or write fails with this inside the [`std::io::Error`].
#[derive(Debug, thiserror::Error)]
pub enum Ending {
    /// The connection reached its age limit; connect again.
    #[error("the connection reached its age limit; connect again")]
    Age,
    /// The peer's certificate or a revocation list expired, or a reload no longer vouches for the peer.
    #[error("the peer is no longer trusted: {0}")]
    Untrusted(#[from] Refusal),
    /// The clock gives no time, so nothing can be judged.
    #[error("the clock gives no time; set it")]
    NoClock,
}

/// Certificates that a peer showed in its handshake, kept so that it can be judged again.
#[derive(Debug)]
pub(super) struct Presented {
    role: Role,
    end_entity: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
}

impl Presented {
    /// Keeps the chain of a finished handshake. Returns nothing if the peer showed none.
    pub(super) fn new(role: Role, chain: Option<&[CertificateDer<'static>]>) -> Option<Self> {
        let (end_entity, intermediates) = chain?.split_first()?;
        Some(Self {
            role,
            end_entity: end_entity.clone(),
            intermediates: intermediates.to_vec(),
        })
    }

    fn judge(&self, trust: &PeerTrust, clock: &Clock) -> Result<(JudgedPeer, UnixTime), Ending> {
        let now = clock.current_time().ok_or(Ending::NoClock)?;
        Ok((
            trust.judge(self.role, &self.end_entity, &self.intermediates, now)?,
            now,
        ))
    }
}

/// A connection's watch over its own end.
#[derive(Debug)]
pub(super) struct Warden {
    presented: Presented,
    node: NodeId,
    reloads: watch::Receiver<Arc<PeerTrust>>,
    clock: Clock,
    oldest: Instant,
    holds_until: Instant,
}

impl Warden {
    /// Judges the peer by the newest snapshot, which may be newer than the one its handshake went by.
    pub(super) fn new(
        presented: Presented,
        trust: &Trust,
        clock: Clock,
        lifetime: Duration,
    ) -> Result<(Self, JudgedPeer), Ending> {
        // Subscribed before judging, so that a reload in between is seen by one or the other.
        let mut reloads = trust.subscribe();
        let snapshot = reloads.borrow_and_update().clone();
        let (judged, now) = presented.judge(&snapshot, &clock)?;
        let warden = Self {
            presented,
            node: judged.node.clone(),
            reloads,
            clock,
            oldest: Instant::now() + lifetime,
            holds_until: instant_of(&judged, now),
        };
        Ok((warden, judged))
    }

    /// Waits for the reason to end the connection.
    pub(super) async fn watch(mut self) -> Ending {
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(self.oldest) => return Ending::Age,
                () = tokio::time::sleep_until(self.holds_until) => {}
                // Once the sender is gone there are no more reloads, and time alone ends the connection.
                Ok(()) = self.reloads.changed() => {}
            }
            if let Err(ending) = self.judge_again() {
                return ending;
            }
        }
    }

    fn judge_again(&mut self) -> Result<(), Ending> {
        let snapshot = self.reloads.borrow_and_update().clone();
        let (judged, now) = self.presented.judge(&snapshot, &self.clock)?;
        let judged = refuse_other(&self.node, judged)?;
        self.holds_until = instant_of(&judged, now);
        Ok(())
    }
}

/// Returns the first instant at which a judgement made at `now` no longer holds: one second after its last.
fn instant_of(judged: &JudgedPeer, now: UnixTime) -> Instant {
    let until = u64::try_from(judged.holds_until.as_second()).unwrap_or(0);
    Instant::now() + Duration::from_secs(until.saturating_sub(now.as_secs()).saturating_add(1))
}

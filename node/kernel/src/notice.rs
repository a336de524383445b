//! What happens, told to whoever watches, and how it stands with each peer.

use std::{collections::BTreeMap, sync::PoisonError};

use portcullis_protocol::{
    frame::Answer,
    identifiers::{AuthorityId, NodeId},
    record::{Kind, RecordId},
    time::Timestamp,
};
use tokio::sync::broadcast;

use super::Kernel;
use crate::skew::Skew;

/// Something that just happened, for whoever watches. It names records, never their content.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// This authority's record is in the log.
    Published {
        /// The record.
        record: RecordId,
        /// Its kind.
        kind: Kind,
        /// When.
        at: Timestamp,
    },
    /// A peer's record, or more of its sections, was admitted.
    Received {
        /// The record.
        record: RecordId,
        /// Its kind.
        kind: Kind,
        /// Its origin.
        origin: AuthorityId,
        /// Who delivered it.
        peer: NodeId,
        /// When.
        at: Timestamp,
    },
    /// What a peer delivered was refused or held.
    Declined {
        /// The peer.
        peer: NodeId,
        /// The answer it got.
        answer: Answer,
        /// When.
        at: Timestamp,
    },
    /// A peer answered.
    Answered {
        /// The peer.
        peer: NodeId,
        /// Its answer.
        answer: Answer,
        /// When.
        at: Timestamp,
    },
    /// A delivery failed and will be tried again.
    DeliveryFailed {
        /// The peer.
        peer: NodeId,
        /// Why.
        why: String,
        /// When.
        at: Timestamp,
    },
    /// A consignment has a new score.
    Scored {
        /// The consignment's reference.
        reference: String,
        /// 0 to 100.
        points: f64,
        /// When.
        at: Timestamp,
    },
}

/// How it stands with one peer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerHealth {
    /// When its last receipt came.
    pub last_receipt: Option<Timestamp>,
    /// Why the last delivery failed, if it did since then.
    pub failure: Option<String>,
    /// How far its clock is from this one, as last measured.
    pub skew: Option<Skew>,
    /// The rule under which it takes nothing from this node until something changes.
    pub stopped: Option<String>,
}

/// What is told of a record that policy admits.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// The record.
    pub id: RecordId,
    /// Its kind.
    pub kind: Kind,
    /// Its origin.
    pub origin: AuthorityId,
}

impl Kernel {
    /// Listens to what happens.
    #[must_use]
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    /// Tells the parts that wait for it that records of a peer are durable.
    pub fn received(&self, peer: &NodeId, answers: &[Answer], records: Vec<Admitted>) {
        let at = self.now();
        let admitted: BTreeMap<RecordId, &Answer> = answers
            .iter()
            .filter(|answer| answer.outcome.is_admitted())
            .map(|answer| (answer.record, answer))
            .collect();
        self.metrics().count_answers(answers);
        for answer in answers.iter().filter(|one| !one.outcome.is_admitted()) {
            self.tell(Notice::Declined {
                peer: peer.clone(),
                answer: answer.clone(),
                at,
            });
        }
        for record in records {
            if admitted.contains_key(&record.id) {
                self.tell(Notice::Received {
                    record: record.id,
                    kind: record.kind,
                    origin: record.origin,
                    peer: peer.clone(),
                    at,
                });
            }
        }
    }

    /// Tells that a peer answered frames.
    pub fn settled(&self, peer: &NodeId, answers: &[Answer]) {
        let at = self.now();
        self.with_peers(|peers| {
            let health = peers.entry(peer.clone()).or_default();
            health.last_receipt = Some(at);
            health.failure = None;
            health.stopped = None;
        });
        self.metrics().count_receipts(answers);
        for answer in answers {
            self.tell(Notice::Answered {
                peer: peer.clone(),
                answer: answer.clone(),
                at,
            });
        }
    }

    /// Tells that a peer takes nothing from this node, under the rule with this id.
    pub fn delivery_stopped(&self, peer: &NodeId, rule: String) {
        tracing::error!(%peer, rule, "nothing is delivered to this peer");
        self.with_peers(|peers| {
            peers.entry(peer.clone()).or_default().stopped = Some(rule);
        });
    }

    /// Tells that a delivery failed.
    pub fn delivery_failed(&self, peer: &NodeId, why: &str) {
        self.with_peers(|peers| {
            peers.entry(peer.clone()).or_default().failure = Some(why.to_owned());
        });
        self.tell(Notice::DeliveryFailed {
            peer: peer.clone(),
            why: why.to_owned(),
            at: self.now(),
        });
    }

    /// How it stands with the peers that were spoken to.
    #[must_use]
    pub fn peer_health(&self) -> BTreeMap<NodeId, PeerHealth> {
        self.with_peers(|peers| peers.clone())
    }

    /// Tells whoever listens; nobody listening is fine.
    pub fn tell(&self, notice: Notice) {
        if self.notices.send(notice).is_err() {
            tracing::trace!("nobody listens to notices");
        }
    }

    /// Takes note of how far a peer's clock is from this one.
    pub fn measured(&self, peer: &NodeId, sent: Timestamp, answered: Timestamp) {
        if let Some(new) = Skew::measured(sent, answered, self.now()) {
            self.with_peers(|peers| {
                let health = peers.entry(peer.clone()).or_default();
                health.skew = Some(Skew::or_better(health.skew, new));
            });
        }
    }

    fn with_peers<T>(&self, act: impl FnOnce(&mut BTreeMap<NodeId, PeerHealth>) -> T) -> T {
        act(&mut self.peers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

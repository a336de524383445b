//! Notices of events to all listeners, and the health of each peer.

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

/// Something that just happened. A notice names records, never their content.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// This authority's record is in the log.
    Published {
        /// Id of the record.
        record: RecordId,
        /// Its kind.
        kind: Kind,
        /// Time of publication.
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
        /// Peer that delivered it.
        peer: NodeId,
        /// Time of admission.
        at: Timestamp,
    },
    /// A record that a peer delivered was refused or held.
    Declined {
        /// The peer.
        peer: NodeId,
        /// Answer to the peer.
        answer: Answer,
        /// Time of the answer.
        at: Timestamp,
    },
    /// A peer answered.
    Answered {
        /// The peer.
        peer: NodeId,
        /// Answer of the peer.
        answer: Answer,
        /// Time at which the answer was settled.
        at: Timestamp,
    },
    /// A delivery failed and will be tried again.
    DeliveryFailed {
        /// The peer.
        peer: NodeId,
        /// Reason of the failure.
        why: String,
        /// Time of the failure.
        at: Timestamp,
    },
    /// A consignment has a new score.
    Scored {
        /// The consignment's reference.
        reference: String,
        /// Score from 0 to 100.
        points: f64,
        /// Time of the score.
        at: Timestamp,
    },
    /// A sign that a member means to move scores.
    Alarm {
        /// The alarm in words.
        what: String,
        /// Time at which it was raised.
        at: Timestamp,
    },
}

/// Health of one peer as seen from this node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerHealth {
    /// Time of its last receipt.
    pub last_receipt: Option<Timestamp>,
    /// Reason of the last failed delivery, if no receipt came since.
    pub failure: Option<String>,
    /// Offset of its clock from this node's, as last measured.
    pub skew: Option<Skew>,
    /// Id of the rule under which it takes nothing from this node until something changes.
    pub stopped: Option<String>,
}

/// A record that policy admits, as told to listeners.
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
    /// Subscribes to notices.
    #[must_use]
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    /// Subscribes to the notices of records that were published here or received. Whatever else
    /// happens does not push them out.
    #[must_use]
    pub fn record_notices(&self) -> broadcast::Receiver<Notice> {
        self.record_notices.subscribe()
    }

    /// Tells listeners that records of a peer are durable, and which were declined.
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

    /// Tells listeners that a peer answered frames.
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

    /// Records that a peer takes nothing from this node, under the rule with this id.
    pub fn delivery_stopped(&self, peer: &NodeId, rule: String) {
        tracing::error!(%peer, rule, "nothing is delivered to this peer");
        self.with_peers(|peers| {
            peers.entry(peer.clone()).or_default().stopped = Some(rule);
        });
    }

    /// Tells listeners that a delivery failed.
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

    /// Returns the health of the peers that were spoken to.
    #[must_use]
    pub fn peer_health(&self) -> BTreeMap<NodeId, PeerHealth> {
        self.with_peers(|peers| peers.clone())
    }

    /// Sends a notice to all listeners. It is no error if nobody listens.
    pub fn tell(&self, notice: Notice) {
        match &notice {
            Notice::Published { .. } | Notice::Received { .. } => {
                if self.record_notices.send(notice.clone()).is_err() {
                    tracing::trace!("nobody listens to notices of records");
                }
            }
            Notice::Declined { .. }
            | Notice::Answered { .. }
            | Notice::DeliveryFailed { .. }
            | Notice::Scored { .. }
            | Notice::Alarm { .. } => {}
        }
        if self.notices.send(notice).is_err() {
            tracing::trace!("nobody listens to notices");
        }
    }

    /// Measures the offset of a peer's clock from this node's, and keeps the better of this and the
    /// last measurement.
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

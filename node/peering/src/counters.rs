//! Counters of the exchange, for `/metrics`. No label carries a name that a stranger can choose.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::ending::Ending;

/// Reason for which an incoming connection did not become a peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Rejection {
    /// The handshake took too long.
    TimedOut,
    /// TLS failed: version, certificate, signature, or bytes that are not TLS.
    Tls,
    /// A proxy did not say for whom it calls.
    Proxy,
    /// The handshake ended without HTTP/2 being agreed on.
    NotHttp2,
    /// The peer was not believed.
    Untrusted,
    /// Too many unfinished handshakes from one address or its network.
    AddressBusy,
    /// Too many unfinished handshakes in all.
    Full,
    /// A newer caller needed the place of an unfinished handshake.
    GaveWay,
    /// The peer holds as many connections as it may.
    PeerBusy,
}

/// Reason for which an open connection was ended from this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
enum EndedFor {
    Age,
    Untrusted,
    NoClock,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RejectionLabel {
    reason: Rejection,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndingLabel {
    reason: EndedFor,
}

/// Counters of incoming connections; clones count together.
#[derive(Debug, Clone, Default)]
pub struct ExchangeCounters {
    accepted: Counter,
    rejected: Family<RejectionLabel, Counter>,
    ended: Family<EndingLabel, Counter>,
}

impl ExchangeCounters {
    /// Registers the counters under `portcullis_connections_…`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "portcullis_connections_accepted",
            "Connections of peers whose certificate was judged good",
            self.accepted.clone(),
        );
        registry.register(
            "portcullis_connections_rejected",
            "Incoming connections that did not become a peer's, by reason",
            self.rejected.clone(),
        );
        registry.register(
            "portcullis_connections_ended",
            "Peers' connections ended from this side, by reason",
            self.ended.clone(),
        );
    }

    /// Returns the number of connections that became a peer's.
    #[must_use]
    pub fn accepted_total(&self) -> u64 {
        self.accepted.get()
    }

    /// Returns the number of connections rejected for `reason`.
    #[must_use]
    pub fn rejected_total(&self, reason: Rejection) -> u64 {
        self.rejected
            .get_or_create(&RejectionLabel { reason })
            .get()
    }

    pub(super) fn accept(&self) {
        self.accepted.inc();
    }

    pub(super) fn reject(&self, reason: Rejection) {
        self.rejected
            .get_or_create(&RejectionLabel { reason })
            .inc();
    }

    pub(super) fn ended(&self, ending: &Ending) {
        let reason = match ending {
            Ending::Age => EndedFor::Age,
            Ending::Untrusted(_) => EndedFor::Untrusted,
            Ending::NoClock => EndedFor::NoClock,
        };
        self.ended.get_or_create(&EndingLabel { reason }).inc();
    }
}

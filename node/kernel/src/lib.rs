//! What the parts of a running node share: keys, store, the register and policy in force.
//!
//! The register and the policy travel together as one [`Decider`], replaced whole by a reload,
//! so that no decision is taken under half of each. Whoever writes goes through the one writer;
//! whoever waits for news watches the end of the record log or listens to notices.

pub mod calls;
pub mod clock_step;
pub mod connected;
pub mod decide;
pub mod gate;
mod gate_changes;
pub mod gate_schedule;
pub mod health;
pub mod hold;
pub mod in_force;
pub mod intake;
pub mod metrics;
mod notice;
pub mod outlook;
mod publish;
pub mod quarantine;
pub mod reload;
pub mod skew;
pub mod work;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use arc_swap::ArcSwap;
use connected::Streams;
pub use gate_changes::OfferError;
pub use notice::{Admitted, Notice, PeerHealth};
use portcullis_protocol::{
    frame::Lane,
    identifiers::{AuthorityId, FederationId, NodeId},
    keys::{KeyUse, SigningKey},
    record::RecordId,
    time::Timestamp,
};
pub use publish::PublishError;
use tokio::sync::{broadcast, watch};

use crate::{
    calls::{CALLS_WAITING, Call, RUMOURS_WAITING, Rumour},
    clock_step::ClockWatch,
    decide::Decider,
    gate::{Closed, Gates, keeper::Gatekeeper},
    metrics::Metrics,
    work::Work,
};
use portcullis_home::{
    clock::Clock,
    config::{Config, Exercises, RetryBounds},
    keyring::Keyring,
};
use portcullis_peering::{
    connector::{ConnectorLimits, PeerConnector},
    identity::OwnIdentity,
    tls,
    trust::Trust,
};
use portcullis_store::{
    Event, RecordFilter, Store, StoreError, Write, Written,
    writer::{Priority, WriterHandle},
};

/// Notices that may wait for a slow listener before it misses some.
const NOTICES_WAITING: usize = 4096;

/// Who this node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Me {
    /// Its federation.
    pub federation: FederationId,
    /// Its authority.
    pub authority: AuthorityId,
    /// Its id.
    pub node: NodeId,
}

/// What a core is made of.
pub struct Parts {
    /// Who this node is.
    pub me: Me,
    /// Where it keeps things.
    pub store: Arc<dyn Store>,
    /// The one writer.
    pub writer: WriterHandle,
    /// Its keys.
    pub keyring: Arc<Keyring>,
    /// The register and policy in force.
    pub decider: Arc<Decider>,
    /// The certificate it shows.
    pub identity: Arc<OwnIdentity>,
    /// Whose certificates count.
    pub trust: Trust,
    /// The time.
    pub clock: Clock,
    /// How long to wait after failures.
    pub retry: RetryBounds,
    /// Whether exercises are admitted.
    pub exercises: Exercises,
    /// Limits of outgoing connections.
    pub connector: ConnectorLimits,
    /// Counters.
    pub metrics: Metrics,
}

/// What of the configuration can change while the node runs.
struct Settings {
    exercises: Exercises,
    connector: ConnectorLimits,
}

/// The shared heart of a running node.
pub struct Kernel {
    parts: Parts,
    work: Work,
    decider: watch::Sender<Arc<Decider>>,
    notices: broadcast::Sender<Notice>,
    rumours: broadcast::Sender<Rumour>,
    settings: ArcSwap<Settings>,
    /// Calls to dispatch to look again, counted.
    calls: watch::Sender<u64>,
    keyring: ArcSwap<Keyring>,
    clock_watch: ClockWatch,
    comparisons: broadcast::Sender<Call>,
    gatekeeper: Gatekeeper,
    streams: Streams,
    /// How it stands with each peer; held for a moment only.
    peers: Mutex<BTreeMap<NodeId, PeerHealth>>,
}

impl Kernel {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            decider: watch::Sender::new(Arc::clone(&parts.decider)),
            notices: broadcast::Sender::new(NOTICES_WAITING),
            rumours: broadcast::Sender::new(RUMOURS_WAITING),
            settings: ArcSwap::from_pointee(Settings {
                exercises: parts.exercises,
                connector: parts.connector.clone(),
            }),
            calls: watch::Sender::new(0),
            keyring: ArcSwap::new(Arc::clone(&parts.keyring)),
            clock_watch: ClockWatch::default(),
            comparisons: broadcast::Sender::new(CALLS_WAITING),
            gatekeeper: Gatekeeper::default(),
            streams: Streams::default(),
            peers: Mutex::new(BTreeMap::new()),
            work: Work::start(),
            parts,
        }
    }

    /// Who this node is.
    #[must_use]
    pub const fn me(&self) -> &Me {
        &self.parts.me
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock_watch.now(self.wall())
    }

    /// What this machine's clock shows, believed or not.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        (self.parts.clock)()
    }

    /// Begins to watch this machine's clock for steps.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be read when this node last wrote something down.
    pub fn watch_clock(&self) -> Result<(), StoreError> {
        let newest = self.store().records(&RecordFilter {
            limit: Some(1),
            ..RecordFilter::default()
        })?;
        let known = newest.first().map(|held| held.received_at);
        self.clock_watch.begin(self.wall(), known);
        Ok(())
    }

    /// The step of this machine's clock, in milliseconds, that waits for a person's confirmation.
    #[must_use]
    pub fn clock_step(&self) -> Option<i64> {
        self.clock_watch.waiting(self.wall())
    }

    /// An administrator says that the clock is right.
    pub fn confirm_clock(&self) {
        self.clock_watch.confirm(self.wall());
    }

    /// What is kept.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.parts.store
    }

    /// The counters.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.parts.metrics
    }

    /// The register and policy in force.
    #[must_use]
    pub fn decider(&self) -> Arc<Decider> {
        Arc::clone(&self.decider.borrow())
    }

    /// Watches for another register or policy.
    #[must_use]
    pub fn deciders(&self) -> watch::Receiver<Arc<Decider>> {
        self.decider.subscribe()
    }

    /// Puts another register or policy in force.
    pub fn replace_decider(&self, decider: Arc<Decider>) {
        self.decider.send_replace(decider);
    }

    /// What is closed to whom.
    #[must_use]
    pub fn gates(&self) -> Arc<Gates> {
        self.gatekeeper.gates()
    }

    /// Why nothing is released to a peer in a lane; nothing if it may be.
    #[must_use]
    pub fn closed(&self, peer: &NodeId, lane: Lane) -> Option<Closed> {
        let decider = self.decider();
        let (authority, node) = decider.register().node(peer)?;
        self.gates().closed(&authority.id, &node.id, lane)
    }

    pub(crate) const fn gatekeeper(&self) -> &Gatekeeper {
        &self.gatekeeper
    }

    /// When a record that is held was first seen here.
    #[must_use]
    pub fn first_seen(&self, record: &RecordId) -> Option<Timestamp> {
        match self.store().record(record) {
            Ok(held) => held.map(|held| held.received_at),
            Err(error) => {
                tracing::error!(%record, %error, "it is not known when a record was first seen");
                None
            }
        }
    }

    /// Watches the end of the record log, as it grows in this lane.
    #[must_use]
    pub fn logged(&self, lane: Lane) -> watch::Receiver<u64> {
        self.parts.writer.logged(lane)
    }

    /// Listens to what peers let show of the register that they hold.
    #[must_use]
    pub fn rumours(&self) -> broadcast::Receiver<Rumour> {
        self.rumours.subscribe()
    }

    /// Tells what a peer let show; nobody listening is fine.
    pub fn spread(&self, rumour: Rumour) {
        if self.rumours.send(rumour).is_err() {
            tracing::trace!("nobody listens to rumours");
        }
    }

    /// Has dispatch look again at what is due, to every peer.
    pub fn call_dispatch(&self) {
        self.calls
            .send_modify(|calls| *calls = calls.wrapping_add(1));
    }

    /// Watches for calls to look again.
    #[must_use]
    pub fn dispatch_calls(&self) -> watch::Receiver<u64> {
        self.calls.subscribe()
    }

    /// Takes note of the epoch that a peer signed in a frame or receipt.
    pub fn heard_epoch(&self, peer: &NodeId, epoch: u64) {
        if epoch > self.decider.borrow().register().epoch {
            self.spread(Rumour::Ahead(peer.clone()));
        }
    }

    /// Has channels compared soon; nobody listening is fine.
    pub fn call_to_compare(&self, call: Call) {
        if self.comparisons.send(call).is_err() {
            tracing::trace!("nobody compares channels");
        }
    }

    /// Listens to calls to compare channels.
    #[must_use]
    pub fn calls_to_compare(&self) -> broadcast::Receiver<Call> {
        self.comparisons.subscribe()
    }

    /// This node's keys.
    #[must_use]
    pub fn keyring(&self) -> Arc<Keyring> {
        self.keyring.load_full()
    }

    /// Puts other keys in their place: the same and those made since.
    pub fn replace_keyring(&self, keyring: Keyring) {
        self.keyring.store(Arc::new(keyring));
    }

    /// The key of this use with which this node signs under the register in force.
    fn signing_key(&self, usage: KeyUse) -> Arc<SigningKey> {
        let decider = self.decider();
        let listed = decider.register().node(&self.parts.me.node);
        let listed = listed.map(|(_, node)| node);
        self.keyring().signing(usage, listed, self.now())
    }

    /// The hop key.
    #[must_use]
    pub fn hop_key(&self) -> Arc<SigningKey> {
        self.signing_key(KeyUse::Hop)
    }

    /// The log key, which signs what this node says of its own state.
    #[must_use]
    pub fn log_key(&self) -> Arc<SigningKey> {
        self.signing_key(KeyUse::Log)
    }

    /// The sealing key.
    #[must_use]
    pub fn sealing_key(&self) -> Arc<SigningKey> {
        self.signing_key(KeyUse::Sealing)
    }

    /// Whose certificates count; replaced on reload.
    #[must_use]
    pub const fn trust(&self) -> &Trust {
        &self.parts.trust
    }

    /// The certificate this node shows; replaced on reload.
    #[must_use]
    pub const fn identity(&self) -> &Arc<OwnIdentity> {
        &self.parts.identity
    }

    /// How long to wait after failures.
    #[must_use]
    pub const fn retry(&self) -> RetryBounds {
        self.parts.retry
    }

    /// Whether exercises are admitted.
    #[must_use]
    pub fn exercises(&self) -> Exercises {
        self.settings.load().exercises
    }

    /// Takes up what of another configuration needs no restart.
    pub fn take_settings(&self, config: &Config) {
        self.settings.store(Arc::new(Settings {
            exercises: config.exercises,
            connector: config.connector.clone(),
        }));
    }

    /// Connects to a peer.
    ///
    /// # Errors
    ///
    /// [`rustls::Error`] if TLS cannot be configured.
    pub fn connector(&self, peer: &NodeId) -> Result<PeerConnector, rustls::Error> {
        PeerConnector::new(
            peer.clone(),
            Arc::clone(&self.parts.identity),
            self.parts.trust.clone(),
            tls::system_clock(),
            self.settings.load().connector.clone(),
        )
    }

    /// The one writer.
    #[must_use]
    pub const fn writer(&self) -> &WriterHandle {
        &self.parts.writer
    }

    /// Runs what takes the processor for a while, off the runtime's threads.
    #[must_use]
    pub const fn work(&self) -> &Work {
        &self.work
    }

    /// Makes writes durable.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; nothing was written then.
    pub async fn commit(
        &self,
        priority: Priority,
        writes: Vec<Write>,
    ) -> Result<Vec<Written>, StoreError> {
        self.parts.writer.commit(priority, writes).await
    }

    /// Remembers an event. A failure to do so is logged; nobody waits for it.
    pub async fn note(&self, event: Event) {
        if let Err(error) = self.commit(Priority::Bulk, vec![Write::Event(event)]).await {
            tracing::error!(%error, "an event was not stored");
        }
    }

    /// A peer has decided on what it held: that is sent again at once.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; it is sent again later then.
    pub async fn ask_again(&self, peer: &NodeId) -> Result<(), StoreError> {
        let again = Write::AskAgain {
            peer: peer.clone(),
            now: self.now(),
        };
        self.commit(Priority::Urgent, vec![again]).await?;
        self.call_dispatch();
        Ok(())
    }
}

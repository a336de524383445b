//! What the parts of a running node share: keys, store, the register and policy in force.
//!
//! The register and the policy travel together as one [`Decider`], replaced whole by a reload,
//! so that no decision is taken under half of each. Whoever writes goes through the one writer;
//! whoever waits for news watches the end of the record log or listens to notices.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use portcullis_protocol::{
    frame::{Answer, Lane},
    identifiers::{AuthorityId, FederationId, NodeId},
    keys::{KeyUse, SigningKey},
    merkle::MAX_LEAVES,
    record::{Kind, RecordId},
    seal::{Draft, SealError, Sealer},
    time::Timestamp,
    verify::{Refusal, VerifiedRecord},
};
use tokio::sync::{broadcast, watch};

use crate::{
    clock::{Clock, SystemEntropy},
    clock_step::ClockWatch,
    config::{Config, Exercises},
    decide::Decider,
    dispatch::machine::Backoff,
    exchange::{
        connector::{ConnectorLimits, PeerConnector},
        identity::OwnIdentity,
        tls,
        trust::Trust,
    },
    gate::{Closed, Gates, keep::Gatekeeper},
    gossip::{RUMOURS_WAITING, Rumour},
    keyring::Keyring,
    metrics::Metrics,
    reconcile::{CALLS_WAITING, Call},
    skew::Skew,
    store::{
        Event, RecordFilter, Store, StoreError, Write, Written,
        writer::{Priority, WriterHandle},
    },
    work::Work,
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

/// Why records are not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// They break a rule of sealing: the caller's to mend.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The register does not list this node's sealing key, or the record breaks a rule of the protocol.
    #[error("the sealed record would be refused by every member: {0}")]
    Refused(#[from] Refusal),
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The clock was set by so many seconds, and nobody has confirmed it.
    #[error("the clock was set by {0} seconds; nothing is sealed until it is confirmed")]
    ClockStep(i64),
    /// The work was cut short.
    #[error("sealing was cut short; nothing was published")]
    CutShort,
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
    pub backoff: Backoff,
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
pub struct Core {
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
    /// How it stands with each peer; held for a moment only.
    peers: Mutex<BTreeMap<NodeId, PeerHealth>>,
}

impl Core {
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

    /// Takes note of how far a peer's clock is from this one.
    pub fn measured(&self, peer: &NodeId, sent: Timestamp, answered: Timestamp) {
        if let Some(new) = Skew::measured(sent, answered, self.now()) {
            self.with_peers(|peers| {
                let health = peers.entry(peer.clone()).or_default();
                health.skew = Some(Skew::or_better(health.skew, new));
            });
        }
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

    /// Watches the end of the record log.
    #[must_use]
    pub fn log(&self) -> watch::Receiver<u64> {
        self.parts.writer.log_end()
    }

    /// Listens to what happens.
    #[must_use]
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
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
    pub const fn backoff(&self) -> Backoff {
        self.parts.backoff
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

    /// Seals drafts in batches, verifies them as any member would, and puts them in the log.
    /// Urgent kinds are sealed one by one.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; what it names is not published.
    pub async fn publish(
        self: &Arc<Self>,
        drafts: Vec<Draft>,
    ) -> Result<Vec<RecordId>, PublishError> {
        let core = Arc::clone(self);
        let is_urgent = drafts
            .iter()
            .any(|draft| lane_of(draft.kind) == Lane::Urgent);
        let lane = if is_urgent { Lane::Urgent } else { Lane::Bulk };
        let sealing = self.work.run(lane, move || core.seal(drafts));
        let records = sealing.await.map_err(|_| PublishError::CutShort)??;
        let now = self.now();
        let published: Vec<_> = records
            .iter()
            .map(|record| (record.id(), record.header().kind))
            .collect();
        let write = Write::Publish { records, now };
        self.commit(lane.into(), vec![write]).await?;
        for &(record, kind) in &published {
            self.tell(Notice::Published {
                record,
                kind,
                at: now,
            });
        }
        Ok(published.into_iter().map(|(record, _)| record).collect())
    }

    /// Seals drafts and verifies them as any member would; nothing is stored.
    ///
    /// # Errors
    ///
    /// [`PublishError`] as for publishing.
    pub fn seal(&self, drafts: Vec<Draft>) -> Result<Vec<VerifiedRecord>, PublishError> {
        if let Some(step_ms) = self.clock_step() {
            return Err(PublishError::ClockStep(step_ms / 1000));
        }
        let me = &self.parts.me;
        let key = self.sealing_key();
        let sealer = Sealer {
            federation: &me.federation,
            origin: &me.authority,
            key: &key,
            now: self.now(),
        };
        let (urgent, bulk): (Vec<_>, Vec<_>) = drafts
            .into_iter()
            .partition(|draft| lane_of(draft.kind) == Lane::Urgent);
        let mut batches: Vec<Vec<Draft>> = urgent.into_iter().map(|draft| vec![draft]).collect();
        let mut bulk = bulk.into_iter();
        loop {
            let batch: Vec<Draft> = bulk.by_ref().take(MAX_LEAVES).collect();
            if batch.is_empty() {
                break;
            }
            batches.push(batch);
        }
        let decider = self.decider();
        let mut entropy = SystemEntropy::default();
        let mut verification = decider.verification(sealer.now);
        let mut verified = Vec::new();
        for batch in batches {
            for sealed in sealer.seal(batch, &mut entropy)? {
                verified.push(verification.arriving(&sealed)?);
            }
        }
        Ok(verified)
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

    fn with_peers<T>(&self, act: impl FnOnce(&mut BTreeMap<NodeId, PeerHealth>) -> T) -> T {
        act(&mut self.peers.lock().unwrap_or_else(PoisonError::into_inner))
    }
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

/// The lane in which records of this kind travel.
#[must_use]
pub const fn lane_of(kind: Kind) -> Lane {
    match kind {
        Kind::Alert => Lane::Urgent,
        Kind::Indicator | Kind::Advisory | Kind::Outcome | Kind::RiskProfile => Lane::Bulk,
    }
}

impl From<Lane> for Priority {
    fn from(lane: Lane) -> Self {
        match lane {
            Lane::Urgent => Self::Urgent,
            Lane::Bulk => Self::Bulk,
        }
    }
}

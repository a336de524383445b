//! Shared state of a running node: its keys, its store, and the register and policy in force.
//!
//! The register and the policy travel together as one [`Decider`], which a reload replaces whole,
//! so that no decision mixes an old and a new one. All writes go through the one writer. Code that
//! waits for news watches the end of the record log or listens to notices.

pub mod acceptance;
pub mod alarms;
pub mod calls;
pub mod clock_step;
pub mod connected;
pub mod decide;
pub mod dialect;
pub mod disk;
pub mod gate;
mod gate_changes;
pub mod gate_schedule;
pub mod health;
pub mod hindrance;
pub mod hold;
pub mod in_force;
pub mod intake;
pub mod key_use;
pub mod metrics;
pub mod moment;
mod notice;
pub mod outlook;
pub mod problem;
mod publish;
pub mod quarantine;
pub mod reach;
pub mod reload;
pub mod repeated;
pub mod revocation;
pub mod scrub;
pub mod set_aside;
pub mod skew;
pub mod telling;
pub mod work;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use connected::Streams;
pub use gate_changes::OfferError;
pub use notice::{Admitted, Notice, PeerHealth};
use portcullis_protocol::{
    frame::Lane,
    identifiers::{AuthorityId, FederationId, NodeId},
    keys::{KeyUse, SigningKey},
    record::RecordId,
    time::Timestamp,
    version,
};
pub use publish::PublishError;
use tokio::sync::{broadcast, watch};

use crate::{
    acceptance::Acceptance,
    alarms::Alarms,
    calls::{ANSWERS_READY_WAITING, CALLS_WAITING, Call, RUMOURS_WAITING, Rumour},
    clock_step::ClockWatch,
    decide::Decider,
    dialect::{Dialect, Spoken, Versions},
    disk::{Disk, Space},
    gate::{Closed, Gates, keeper::Gatekeeper},
    metrics::Metrics,
    moment::Moment,
    reach::Reaches,
    scrub::Scrubbed,
    set_aside::SetAside,
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
    Damaged, NodeEvent, RecordFilter, Store, StoreError, Write, Written,
    writer::{Priority, WriterHandle},
};

/// Notices that may wait for a slow listener before it misses some.
const NOTICES_WAITING: usize = 4096;

/// Table of the facts about trust.
const FACTS: &str = "trust_fact";

/// Problems of the start that are shown; more of them say no more.
const MOST_REPORTED: usize = 32;

/// Kind of the event that tells of a backup.
pub const BACKUP: &str = "backup";

/// Beginning of that event's text if the backup was taken.
pub const BACKUP_TAKEN: &str = "a backup is in ";

/// Newest events among which the latest backup is looked for.
const EVENTS_SEARCHED: u32 = 20_000;

/// Identity of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Me {
    /// Federation of the node.
    pub federation: FederationId,
    /// Authority of the node.
    pub authority: AuthorityId,
    /// Id of the node.
    pub node: NodeId,
}

/// Parts from which a core is made.
pub struct Parts {
    /// Identity of this node.
    pub me: Me,
    /// Store of records, ledger and trust state.
    pub store: Arc<dyn Store>,
    /// The one writer to the store.
    pub writer: WriterHandle,
    /// Keys of the node.
    pub keyring: Arc<Keyring>,
    /// The register and policy in force.
    pub decider: Arc<Decider>,
    /// Certificate shown to peers.
    pub identity: Arc<OwnIdentity>,
    /// Trust in the certificates of peers.
    pub trust: Trust,
    /// Clock of this machine.
    pub clock: Clock,
    /// The pauses after failures.
    pub retry: RetryBounds,
    /// Treatment of exercises: admitted or not.
    pub exercises: Exercises,
    /// Limits of outgoing connections.
    pub connector: ConnectorLimits,
    /// Counters.
    pub metrics: Metrics,
    /// Disk of the store.
    pub disk: Disk,
    /// Bytes that one authority may add to the store in a day, through each peer.
    pub daily_bytes_per_origin: u64,
}

/// Settings of the configuration that can change while the node runs.
struct Settings {
    exercises: Exercises,
    connector: ConnectorLimits,
}

/// State shared by the parts of a running node.
pub struct Kernel {
    parts: Parts,
    work: Work,
    decider: watch::Sender<Arc<Decider>>,
    notices: broadcast::Sender<Notice>,
    record_notices: broadcast::Sender<Notice>,
    rumours: broadcast::Sender<Rumour>,
    answers_ready: broadcast::Sender<NodeId>,
    settings: ArcSwap<Settings>,
    /// Number of calls on dispatch to look again.
    calls: watch::Sender<u64>,
    keyring: ArcSwap<Keyring>,
    clock_watch: ClockWatch,
    /// Beginning of the moments.
    began: Instant,
    comparisons: broadcast::Sender<Call>,
    gatekeeper: Gatekeeper,
    streams: Streams,
    versions: Versions,
    set_aside: SetAside,
    alarms: Alarms,
    reaches: Reaches,
    /// Time of the latest backup that this node knows of.
    last_backup: ArcSwapOption<Timestamp>,
    /// Free space of the disk at the latest look.
    space: ArcSwapOption<Space>,
    /// Health of each peer; locked for a moment only.
    peers: Mutex<BTreeMap<NodeId, PeerHealth>>,
    /// The latest whole check of everything that is kept.
    scrubbed: ArcSwapOption<Scrubbed>,
    /// Comparison of the trust settings found with those accepted.
    acceptance: ArcSwap<Acceptance>,
    /// Problems that were found at the start; locked for a moment only.
    reported: Mutex<Vec<health::Problem>>,
    /// Problems that stay until they are withdrawn; held for a moment only.
    passing: Mutex<Vec<health::Problem>>,
}

impl Kernel {
    /// Assembles a core from its parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            decider: watch::Sender::new(Arc::clone(&parts.decider)),
            notices: broadcast::Sender::new(NOTICES_WAITING),
            record_notices: broadcast::Sender::new(NOTICES_WAITING),
            rumours: broadcast::Sender::new(RUMOURS_WAITING),
            answers_ready: broadcast::Sender::new(ANSWERS_READY_WAITING),
            settings: ArcSwap::from_pointee(Settings {
                exercises: parts.exercises,
                connector: parts.connector.clone(),
            }),
            calls: watch::Sender::new(0),
            keyring: ArcSwap::new(Arc::clone(&parts.keyring)),
            clock_watch: ClockWatch::default(),
            began: Instant::now(),
            comparisons: broadcast::Sender::new(CALLS_WAITING),
            gatekeeper: Gatekeeper::default(),
            streams: Streams::default(),
            versions: Versions::default(),
            set_aside: SetAside::default(),
            alarms: Alarms::default(),
            reaches: Reaches::default(),
            last_backup: ArcSwapOption::empty(),
            space: ArcSwapOption::empty(),
            peers: Mutex::new(BTreeMap::new()),
            scrubbed: ArcSwapOption::empty(),
            acceptance: ArcSwap::default(),
            reported: Mutex::default(),
            passing: Mutex::default(),
            work: Work::start(),
            parts,
        }
    }

    /// Returns the identity of this node.
    #[must_use]
    pub const fn me(&self) -> &Me {
        &self.parts.me
    }

    /// Returns the present time, as the clock watch believes it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock_watch.now(self.wall())
    }

    /// Returns the present moment, by the clock that cannot be set.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment::since(self.began)
    }

    /// Returns the time that this machine's clock shows, believed or not.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        (self.parts.clock)()
    }

    /// Begins to watch this machine's clock for steps.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the time of the newest record cannot be read.
    pub fn watch_clock(&self) -> Result<(), StoreError> {
        let newest = self.store().records(&RecordFilter {
            limit: Some(1),
            ..RecordFilter::default()
        })?;
        let known = newest.first().map(|held| held.received_at);
        self.clock_watch.begin(self.wall(), known);
        Ok(())
    }

    /// Returns the step of this machine's clock, in milliseconds, that waits for a person's
    /// confirmation.
    #[must_use]
    pub fn clock_step(&self) -> Option<i64> {
        self.clock_watch.waiting(self.wall())
    }

    /// Confirms, for an administrator, that the clock is right.
    pub fn confirm_clock(&self) {
        self.clock_watch.confirm(self.wall());
    }

    /// Returns the comparison of the trust settings found with those accepted.
    #[must_use]
    pub fn acceptance(&self) -> Arc<Acceptance> {
        self.acceptance.load_full()
    }

    /// Returns the latest whole check of everything that is kept since the start; `None` before its
    /// end.
    #[must_use]
    pub fn scrubbed(&self) -> Option<Scrubbed> {
        self.scrubbed.load().as_deref().copied()
    }

    /// Notes that everything that is kept was checked just now.
    pub fn note_scrubbed(&self) {
        let (at, moment) = (self.now(), self.moment());
        self.scrubbed.store(Some(Arc::new(Scrubbed { at, moment })));
    }

    /// Returns true if the facts about trust are not those that were written: somebody may have
    /// lifted what closes.
    #[must_use]
    pub fn facts_are_damaged(&self) -> bool {
        let damaged = self.store().damaged();
        damaged.iter().any(|row| row.thing == Damaged::Table(FACTS))
    }

    /// Takes up another comparison of the trust settings, and moves the gates.
    pub fn compare_settings(&self, acceptance: Acceptance) {
        self.acceptance.store(Arc::new(acceptance));
        self.move_gates();
    }

    /// Takes up problems that were found at the start and stay until somebody mends them.
    pub fn report(&self, problems: impl IntoIterator<Item = health::Problem>) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        reported.extend(problems.into_iter().take(MOST_REPORTED));
        reported.truncate(MOST_REPORTED);
    }

    /// Takes up a problem that stays until it is withdrawn.
    pub fn report_passing(&self, problem: health::Problem) {
        let mut reported = self.passing.lock().unwrap_or_else(PoisonError::into_inner);
        reported.push(problem);
        reported.truncate(MOST_REPORTED);
    }

    /// Withdraws a problem that was to stay until then.
    pub fn withdraw_report(&self, problem: &health::Problem) {
        let mut reported = self.passing.lock().unwrap_or_else(PoisonError::into_inner);
        reported.retain(|one| one.what != problem.what);
    }

    /// Returns the problems that were found at the start and stay.
    pub(crate) fn reported(&self) -> Vec<health::Problem> {
        let lasting = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let passing = self.passing.lock().unwrap_or_else(PoisonError::into_inner);
        lasting.iter().chain(passing.iter()).cloned().collect()
    }

    /// Returns the store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.parts.store
    }

    /// Returns the free space of the disk at the latest look; `None` before the first one.
    #[must_use]
    pub fn space(&self) -> Option<Space> {
        self.space.load().as_deref().copied()
    }

    /// Returns the disk of the store.
    #[must_use]
    pub const fn disk(&self) -> &Disk {
        &self.parts.disk
    }

    /// Returns the free space of the disk at this moment, because bulk can fill much between two
    /// looks; plenty if the system does not tell. Asks the system, so that it belongs off the
    /// runtime's threads.
    #[must_use]
    pub fn space_now(&self) -> Space {
        self.parts.disk.space().unwrap_or_else(|error| {
            tracing::debug!(%error, "the free space of the disk is not known");
            Space {
                free: u64::MAX,
                reserve: self.parts.disk.reserve,
            }
        })
    }

    /// Returns the bytes that one authority may add to the store in a day, through each peer.
    #[must_use]
    pub const fn daily_bytes_per_origin(&self) -> u64 {
        self.parts.daily_bytes_per_origin
    }

    /// Notes the free space of the disk.
    pub fn note_space(&self, space: Space) {
        self.space.store(Some(Arc::new(space)));
    }

    /// Returns the time of the latest backup that this node took; `None` if it knows of none.
    #[must_use]
    pub fn last_backup(&self) -> Option<Timestamp> {
        self.last_backup.load().as_deref().copied()
    }

    /// Notes that a backup was taken at this time.
    pub fn note_backup(&self, at: Timestamp) {
        self.last_backup.store(Some(Arc::new(at)));
    }

    /// Looks for the latest backup among the newest events. Called once, at the start.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the events cannot be read.
    pub fn remember_backup(&self) -> Result<(), StoreError> {
        let events = self.store().events(EVENTS_SEARCHED)?;
        let taken =
            |event: &&NodeEvent| event.kind == BACKUP && event.detail.starts_with(BACKUP_TAKEN);
        if let Some(event) = events.iter().find(taken) {
            self.note_backup(event.at);
        }
        Ok(())
    }

    /// Returns the register of what is held and set aside.
    #[must_use]
    pub const fn set_aside(&self) -> &SetAside {
        &self.set_aside
    }

    /// Returns the alarms that stand.
    #[must_use]
    pub const fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// Returns the counters.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.parts.metrics
    }

    /// Returns the register and policy in force.
    #[must_use]
    pub fn decider(&self) -> Arc<Decider> {
        Arc::clone(&self.decider.borrow())
    }

    /// Subscribes to changes of register or policy.
    #[must_use]
    pub fn deciders(&self) -> watch::Receiver<Arc<Decider>> {
        self.decider.subscribe()
    }

    /// Puts another register or policy in force.
    pub fn replace_decider(&self, decider: Arc<Decider>) {
        self.decider.send_replace(decider);
    }

    /// Returns the closures in force.
    #[must_use]
    pub fn gates(&self) -> Arc<Gates> {
        self.gatekeeper.gates()
    }

    /// Returns the reason for which nothing is released to a peer in a lane; `None` if release is
    /// open or the register does not list the peer.
    #[must_use]
    pub fn closed(&self, peer: &NodeId, lane: Lane) -> Option<Closed> {
        let decider = self.decider();
        let (authority, node) = decider.register().node(peer)?;
        self.gates().closed(&authority.id, &node.id, lane)
    }

    pub(crate) const fn gatekeeper(&self) -> &Gatekeeper {
        &self.gatekeeper
    }

    /// Returns the time at which a held record was first seen here.
    #[must_use]
    pub fn first_seen(&self, record: &RecordId) -> Option<Timestamp> {
        match self.store().excerpt(record, &[]) {
            Ok(held) => held.map(|held| held.received_at),
            Err(error) => {
                tracing::error!(%record, %error, "it is not known when a record was first seen");
                None
            }
        }
    }

    /// Subscribes to the end of the record log, as it grows in this lane.
    #[must_use]
    pub fn logged(&self, lane: Lane) -> watch::Receiver<u64> {
        self.parts.writer.logged(lane)
    }

    /// Subscribes to rumours: signs that peers give of the register that they hold.
    #[must_use]
    pub fn rumours(&self) -> broadcast::Receiver<Rumour> {
        self.rumours.subscribe()
    }

    /// Spreads a rumour. It is no error if nobody listens.
    pub fn spread(&self, rumour: Rumour) {
        if self.rumours.send(rumour).is_err() {
            tracing::trace!("nobody listens to rumours");
        }
    }

    /// Peers that are to be told that what was held of theirs is decided on.
    #[must_use]
    pub fn answers_ready(&self) -> broadcast::Receiver<NodeId> {
        self.answers_ready.subscribe()
    }

    /// Has a peer told that what was held of its records is decided on. Without a listener, nothing happens.
    pub fn tell_answers_ready(&self, peer: NodeId) {
        if self.answers_ready.send(peer).is_err() {
            tracing::trace!("nobody tells peers of answers");
        }
    }

    /// Returns what this node says of its version.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.versions.own()
    }

    /// Has this node state another version, as a later one would.
    pub fn replace_dialect(&self, dialect: Dialect) {
        self.versions.replace_own(dialect);
    }

    /// Returns the version of the protocol that a peer has.
    #[must_use]
    pub fn spoken(&self, peer: &NodeId) -> Spoken {
        self.versions.of(peer)
    }

    /// Notes the version that a peer states. If it is higher than any before, what waits for the
    /// peer's version is looked at again.
    pub fn heard_version(self: &Arc<Self>, peer: &NodeId, stated: Option<&str>) {
        if self.versions.stated(peer, version::read(stated)) {
            self.look_again(peer);
        }
    }

    /// Has dispatch look again at what waits for a peer's version.
    pub fn look_again(self: &Arc<Self>, peer: &NodeId) {
        let (kernel, peer) = (Arc::clone(self), peer.clone());
        tokio::spawn(async move {
            if let Err(error) = kernel.send_held_again(&peer).await {
                tracing::warn!(%peer, %error, "what waits for a peer's version is sent later");
            }
        });
    }

    /// Calls on dispatch to look again at what is due, for every peer.
    pub fn call_dispatch(&self) {
        self.calls
            .send_modify(|calls| *calls = calls.wrapping_add(1));
    }

    /// Subscribes to calls on dispatch.
    #[must_use]
    pub fn dispatch_calls(&self) -> watch::Receiver<u64> {
        self.calls.subscribe()
    }

    /// Compares the epoch that a peer signed in a frame or receipt with this node's own, and
    /// spreads a rumour if the peer is ahead.
    pub fn heard_epoch(&self, peer: &NodeId, epoch: u64) {
        if epoch > self.decider.borrow().register().epoch {
            self.spread(Rumour::Ahead(peer.clone()));
        }
    }

    /// Calls for a comparison of channels soon. It is no error if nobody listens.
    pub fn call_to_compare(&self, call: Call) {
        if self.comparisons.send(call).is_err() {
            tracing::trace!("nobody compares channels");
        }
    }

    /// Subscribes to calls to compare channels.
    #[must_use]
    pub fn calls_to_compare(&self) -> broadcast::Receiver<Call> {
        self.comparisons.subscribe()
    }

    /// Returns this node's keys.
    #[must_use]
    pub fn keyring(&self) -> Arc<Keyring> {
        self.keyring.load_full()
    }

    /// Replaces the keyring by one that holds the same keys and those made since.
    pub fn replace_keyring(&self, keyring: Keyring) {
        self.keyring.store(Arc::new(keyring));
    }

    /// Returns the key of this use with which this node signs under the register in force.
    fn signing_key(&self, usage: KeyUse) -> Arc<SigningKey> {
        let decider = self.decider();
        let listed = decider.register().node(&self.parts.me.node);
        let listed = listed.map(|(_, node)| node);
        self.keyring().signing(usage, listed, self.now())
    }

    /// Returns the hop key, which signs frames and receipts.
    #[must_use]
    pub fn hop_key(&self) -> Arc<SigningKey> {
        self.signing_key(KeyUse::Hop)
    }

    /// Returns the log key, which signs statements about this node's own state.
    #[must_use]
    pub fn log_key(&self) -> Arc<SigningKey> {
        self.signing_key(KeyUse::Log)
    }

    /// Returns the sealing key.
    #[must_use]
    pub fn sealing_key(&self) -> Arc<SigningKey> {
        self.signing_key(KeyUse::Sealing)
    }

    /// Returns the trust in the certificates of peers. A reload replaces its content.
    #[must_use]
    pub const fn trust(&self) -> &Trust {
        &self.parts.trust
    }

    /// Returns the certificate that this node shows. A reload replaces its content.
    #[must_use]
    pub const fn identity(&self) -> &Arc<OwnIdentity> {
        &self.parts.identity
    }

    /// Returns the waiting times after failures.
    #[must_use]
    pub const fn retry(&self) -> RetryBounds {
        self.parts.retry
    }

    /// Returns the treatment of exercises: admitted or not.
    #[must_use]
    pub fn exercises(&self) -> Exercises {
        self.settings.load().exercises
    }

    /// Takes up those settings of another configuration that need no restart.
    pub fn take_settings(&self, config: &Config) {
        self.settings.store(Arc::new(Settings {
            exercises: config.exercises,
            connector: config.connector.clone(),
        }));
    }

    /// Makes a connector to a peer.
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

    /// Returns the one writer.
    #[must_use]
    pub const fn writer(&self) -> &WriterHandle {
        &self.parts.writer
    }

    /// Returns the threads for work that takes the processor for a while, apart from the runtime's.
    #[must_use]
    pub const fn work(&self) -> &Work {
        &self.work
    }

    /// Makes writes durable.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the commit fails; nothing is written then.
    pub async fn commit(
        &self,
        priority: Priority,
        writes: Vec<Write>,
    ) -> Result<Vec<Written>, StoreError> {
        let began = Instant::now();
        let written = self.parts.writer.commit(priority, writes).await;
        if written.is_ok() {
            self.metrics().count_commit(priority, began.elapsed());
        }
        written
    }

    /// Stores an event. A failure is logged only.
    pub async fn note(&self, event: NodeEvent) {
        if let Err(error) = self.commit(Priority::Bulk, vec![Write::Event(event)]).await {
            tracing::error!(%error, "an event was not stored");
        }
    }

    /// Makes the records due at once that the peer held, because it has decided on them, and those
    /// that wait for its version.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the commit fails; the records are sent again later then.
    pub async fn send_held_again(&self, peer: &NodeId) -> Result<(), StoreError> {
        let again = Write::AnswersReady {
            peer: peer.clone(),
            now: self.now(),
        };
        self.commit(Priority::Urgent, vec![again]).await?;
        self.call_dispatch();
        Ok(())
    }
}

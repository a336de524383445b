//! Life of a node, from its home folder to its end. Everything is read and checked before a port is
//! bound.
//!
//! ```text
//! configuration → keys → store → register chain → policy → certificate → peers' trust
//!   → bind exchange, admin socket, metrics → serve until told to stop → stop in order
//! ```
//!
//! `SIGHUP` (or the admin API) reloads configuration, register, policy, revocation lists and
//! certificate, all or nothing: if one of them does not load, the present state stays in force
//! (`reload`). A new epoch of the register needs no reload, if a member or
//! `portcullis federation apply` brings it.

use std::{error::Error, sync::Arc, time::Duration};

use axum::Router;
use portcullis_backup::Snapshots;
use portcullis_protocol::{frame::Generation, keys::KeyUse, seal::Entropy as _, time::Timestamp};
use tokio::{
    net::{TcpListener, UnixListener},
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    alone::{Alone, AloneError},
    descriptors, kept, observe,
    parts::NodeParts,
    service_manager, undumped,
};
use portcullis_admin::{
    people::{self, People},
    request::Admin,
    server::{self, SocketError},
};
use portcullis_admin_api::persons::First;
use portcullis_desk as desk;
use portcullis_desk::Desk;
use portcullis_exchange::{
    answers_ready,
    dispatch::supervisor,
    gossip,
    inbound::{addresses, service},
    presence, reconcile,
};
use portcullis_home::{
    Home,
    clock::{Clock, SystemEntropy, system_clock},
    config::{Config, RenewalSettings},
    key_file::{self, KeyFileError},
    keyring::{FirstAdministrator, Keyring, KeyringError},
    secret::{Passphrase, SecretError},
    trust_settings::TrustSettings,
};
use portcullis_kernel::{
    Kernel, Me, Parts,
    acceptance::Acceptance,
    disk::{self, Disk},
    gate_schedule::{self, Renewal},
    health::{Problem, ProblemKind},
    hold,
    in_force::{InForce, LoadError, meeting, missing_epochs, read_register},
    metrics::Metrics,
    reload::{Reloader, accepted_in_log},
    scrub,
};
use portcullis_peering::{
    listener::{self, Listener},
    tls,
    trust::Trust,
};
use portcullis_store::{
    NewGeneration, NodeEvent, Store, StoreError, Write, apart,
    writer::{Writer, abort_on_disk_failure},
};
use portcullis_store_sqlite::SqliteStore;

/// Time that frames under way have to finish once the node is told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// Time that the event of a part's end may take to be stored.
const NOTE: Duration = Duration::from_secs(2);

/// A node does not start, or does not go on. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process uses the home.
    #[error(transparent)]
    Alone(#[from] AloneError),
    /// The home does not load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The keys do not load.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The store does not open with the keys.
    #[error(transparent)]
    Kept(#[from] kept::OpenError),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The freshness key does not load.
    #[error(transparent)]
    FreshnessKey(#[from] KeyFileError),
    /// The passphrase of the freshness key cannot be read.
    #[error(transparent)]
    Passphrase(#[from] SecretError),
    /// An address cannot be bound.
    #[error("`{address}` cannot be listened on: {source}; is another node running?")]
    Bind {
        /// The address.
        address: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The schema of the desk does not load.
    #[error(transparent)]
    Desk(#[from] desk::SetupError),
    /// The admin socket cannot be made.
    #[error(transparent)]
    Admin(#[from] SocketError),
    /// A part of the running node has ended.
    #[error(
        "the part `{0}` of the node has ended, and the node has stopped; look at the log, then start it again"
    )]
    PartEnded(&'static str),
    /// TLS cannot be configured.
    #[error("TLS cannot be configured: {0}")]
    Tls(#[from] rustls::Error),
}

/// A node that is ready to be served.
pub struct Node {
    kernel: Arc<Kernel>,
    reloader: Arc<Reloader>,
    config: Config,
    exchange: TcpListener,
    metrics: TcpListener,
    admin: UnixListener,
    desk: Arc<Desk>,
    people: Arc<People>,
    renewal: Option<Renewal>,
    writer: Writer,
    store: Arc<SqliteStore>,
    alone: Alone,
}

impl Node {
    /// Reads and checks everything, then binds the ports.
    ///
    /// # Errors
    ///
    /// [`StartError`] says what is wrong and what to do.
    pub async fn prepare(home: Home, config: Config) -> Result<Self, StartError> {
        Self::prepare_by(home, config, system_clock()).await
    }

    /// [`Node::prepare`], by this clock of the machine.
    ///
    /// # Errors
    ///
    /// [`StartError`] says what is wrong and what to do.
    pub async fn prepare_by(
        home: Home,
        mut config: Config,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let loading = apart::spawn(move || {
            let alone = Alone::at(&home)?;
            let (kernel, writer, store) = load(&home, &mut config, clock)?;
            let kernel = Arc::new(kernel);
            let people = Arc::new(People::load(&kernel, first_administrator(&kernel))?);
            Ok::<_, StartError>((home, config, kernel, people, (writer, store, alone)))
        });
        let cut_short = |_| StartError::PartEnded("start");
        let (home, config, kernel, people, (writer, store, alone)) =
            loading.await.map_err(cut_short)??;
        let renewal = config.freshness.as_ref().map(renewal).transpose()?;
        let reloader = Arc::new(Reloader::new(
            Arc::clone(&kernel),
            home,
            config.clone(),
            observe::move_level,
        ));
        let desk = desk::Setup::load(reloader.home().folder())?;
        let desk = Arc::new(Desk::new(Arc::clone(&kernel), desk));
        let exchange = bind(config.listen).await?;
        let metrics = bind(config.metrics).await?;
        let admin = server::bind(&reloader.home().socket(), config.admin_access).await?;
        Ok(Self {
            kernel,
            reloader,
            config,
            exchange,
            metrics,
            admin,
            desk,
            people,
            renewal,
            writer,
            store,
            alone,
        })
    }

    /// Returns the reloader, which takes up changes in the home.
    #[must_use]
    pub const fn reloader(&self) -> &Arc<Reloader> {
        &self.reloader
    }

    /// Returns the state shared by the parts of the node.
    #[must_use]
    pub const fn kernel(&self) -> &Arc<Kernel> {
        &self.kernel
    }

    /// Returns the address to which peers connect.
    ///
    /// # Errors
    ///
    /// An I/O error if the socket is gone.
    pub fn address(&self) -> std::io::Result<std::net::SocketAddr> {
        self.exchange.local_addr()
    }

    /// Serves until `shutdown`, then stops: no new frames are taken, and those under way are
    /// finished.
    ///
    /// # Errors
    ///
    /// [`StartError`] if serving cannot begin, or a part of the node ends before it is told to.
    pub async fn serve(self, shutdown: CancellationToken) -> Result<(), StartError> {
        self.serve_with(Router::new(), shutdown).await
    }

    /// [`Node::serve`], with more routes at the admin socket.
    ///
    /// # Errors
    ///
    /// [`StartError`] if serving cannot begin.
    pub async fn serve_with(
        self,
        routes: Router<Admin>,
        shutdown: CancellationToken,
    ) -> Result<(), StartError> {
        let Self {
            kernel,
            reloader,
            config,
            exchange,
            metrics,
            admin,
            desk,
            people,
            renewal,
            writer,
            store,
            alone,
        } = self;
        let (listener, incoming) = Listener::new(
            exchange,
            Arc::clone(kernel.identity()),
            kernel.trust().clone(),
            tls::system_clock(),
            &config.listener,
            kernel.metrics().connections.clone(),
        )?;
        let mut parts = NodeParts::default();
        parts.start(
            "addresses of members",
            addresses::keep(Arc::clone(&kernel), listener.listed(), shutdown.clone()),
        );
        parts.start("listener", listener.run(shutdown.clone()));
        parts.start("log", observe::tell_repeated(shutdown.clone()));
        parts.start(
            "dispatch",
            supervisor::run(Arc::clone(&kernel), shutdown.clone()),
        );
        parts.start(
            "metrics and health",
            observe::serve(
                metrics,
                Arc::clone(&kernel),
                config.dns_name.clone(),
                shutdown.clone(),
            ),
        );
        parts.start("desk", Arc::clone(&desk).run(shutdown.clone()));
        parts.start(
            "gates",
            gate_schedule::run(Arc::clone(&kernel), shutdown.clone()),
        );
        parts.start(
            "held items",
            hold::run(Arc::clone(&kernel), shutdown.clone()),
        );
        if let Some(renewal) = renewal {
            parts.start(
                "freshness",
                gate_schedule::renew(Arc::clone(&kernel), renewal, shutdown.clone()),
            );
        }
        parts.start(
            "answers",
            answers_ready::run(Arc::clone(&kernel), shutdown.clone()),
        );
        parts.start(
            "reconciliation",
            reconcile::run(Arc::clone(&kernel), shutdown.clone()),
        );
        parts.start(
            "gossip",
            gossip::run(Arc::clone(&kernel), Arc::clone(&reloader), shutdown.clone()),
        );
        parts.start(
            "presence",
            presence::run(Arc::clone(&kernel), shutdown.clone()),
        );
        parts.start("disk", disk::run(Arc::clone(&kernel), shutdown.clone()));
        parts.start("scrub", scrub::run(Arc::clone(&kernel), shutdown.clone()));
        parts.start(
            "store writer",
            disk::writer_ends(Arc::clone(&kernel), shutdown.clone()),
        );
        parts.start(
            "recoveries of administrators",
            people::keep_recoveries(Arc::clone(&people), Arc::clone(&kernel), shutdown.clone()),
        );
        let socket = reloader.home().socket();
        let served = server::serve(
            admin,
            Admin {
                kernel: Arc::clone(&kernel),
                people,
                desk,
                snapshots: Snapshots::of(store),
                reloader,
                shutdown: shutdown.clone(),
            },
            routes,
        );
        parts.start("admin socket", async move {
            served.await;
            server::unbind(&socket);
        });
        parts.start(
            "service manager",
            service_manager::keep(Arc::clone(&kernel), shutdown.clone()),
        );
        let server = listener::server(config.listener.connection_lifetime)
            .serve_with_incoming_shutdown(
                service::server(Arc::clone(&kernel), shutdown.clone()),
                incoming,
                shutdown.clone().cancelled_owned(),
            );
        let cut = async {
            shutdown.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        let serving = async {
            tokio::select! {
                ended = server => if let Err(error) = ended {
                    tracing::error!(%error, "the exchange ended");
                },
                () = cut => tracing::warn!("peers held connections open; they were cut"),
            }
        };
        tokio::pin!(serving);
        let missed = tokio::select! {
            () = &mut serving => (!shutdown.is_cancelled()).then_some("exchange"),
            ended = parts.ended() => {
                let missed = ended.filter(|_| !shutdown.is_cancelled());
                if let Some(part) = missed {
                    tracing::error!(part, "a part of the node has ended; the node stops");
                    note_end(&kernel, part).await;
                }
                shutdown.cancel();
                serving.await;
                missed
            }
        };
        shutdown.cancel();
        parts.stop(GRACE).await;
        if let Err(error) = apart::spawn(move || writer.stop()).await {
            tracing::error!(%error, "the writer did not end well");
        }
        drop(alone);
        missed.map_or(Ok(()), |part| Err(StartError::PartEnded(part)))
    }
}

/// Stores the event that a part has ended. It is not waited for long: the writer may be that part.
async fn note_end(kernel: &Kernel, part: &str) {
    let event = NodeEvent {
        at: kernel.now(),
        kind: "part-ended".to_owned(),
        peer: None,
        detail: format!("the part `{part}` has ended; the node stops"),
    };
    if tokio::time::timeout(NOTE, kernel.note(event))
        .await
        .is_err()
    {
        tracing::warn!("the event of its end was not stored in time");
    }
}

async fn bind(address: std::net::SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Bind {
            address: address.to_string(),
            source,
        })
}

fn load(
    home: &Home,
    config: &mut Config,
    clock: Clock,
) -> Result<(Kernel, Writer, Arc<SqliteStore>), StartError> {
    let keyring = Keyring::load(home, &config.key)?;
    let settings = TrustSettings::found(home, config).map_err(LoadError::from)?;
    let accepted = keyring.facts().accepted.clone();
    if let Some(accepted) = &accepted
        && !accepted.settings.bind(config)
    {
        return Err(KeyringError::Format.into());
    }
    let in_force = InForce::load(home, config, &keyring)?;
    let opened = kept::open_to_run(home, &config.key, keyring)?;
    let (keyring, files) = (opened.keyring, Arc::new(opened.store));
    let unbound = opened.unbound.map(|why| Problem {
        kind: ProblemKind::Unbound,
        what: format!("the store is not bound to the node's keys yet: {why}"),
        remedy: "make room on its disk, let the node write into `keys/`, and restart it: until then older keys may still open the store",
    });
    let store: Arc<dyn Store> = files.clone();
    // Before anything is asked or written that goes by an index.
    let mended = scrub::told(&store.mend_indexes()?, clock());
    store.commit(mended.into_iter().map(Write::Event).collect())?;
    begin_anew(&files, clock())?;
    let missing = missing_epochs(&in_force.epochs, &store.registers()?)?;
    let known = store.registers()?.last().and_then(read_register);
    let mut writes: Vec<Write> = missing.into_iter().map(Write::Register).collect();
    writes.extend(meeting(known.as_ref(), in_force.decider.register()));
    store.commit(writes)?;
    let (stopper, writer) = Writer::start(Arc::clone(&store), abort_on_disk_failure())?;
    let kernel = Kernel::new(Parts {
        me: Me {
            federation: config.federation.clone(),
            authority: config.authority.clone(),
            node: config.node.clone(),
        },
        store,
        writer,
        keyring: Arc::new(keyring),
        decider: Arc::new(in_force.decider),
        identity: Arc::new(in_force.identity),
        trust: Trust::new(in_force.trust),
        clock,
        retry: config.retry,
        exercises: config.exercises,
        connector: config.connector.clone(),
        metrics: Metrics::default(),
        disk: Disk {
            folder: home.data(),
            reserve: config.disk_reserve,
        },
        daily_bytes_per_origin: config.daily_bytes_per_origin,
    });
    kernel.report(unbound);
    kernel.restore_gates()?;
    let logged = accepted_in_log(&kernel)?;
    let acceptance = Acceptance::of(accepted.as_ref(), &settings, logged).at_start();
    tell_acceptance(&acceptance);
    kernel.compare_settings(acceptance);
    kernel.watch_clock()?;
    kernel.remember_backup()?;
    Ok((kernel, stopper, files))
}

/// Says in the log what was found of the trust settings, unless all is as it was accepted.
fn tell_acceptance(acceptance: &Acceptance) {
    if acceptance.is_shut {
        let changes: Vec<String> = acceptance.changes.iter().map(ToString::to_string).collect();
        let (changes, lost) = (changes.join(", "), acceptance.lost);
        tracing::error!(%changes, ?lost, "the settings are not those that were accepted: nobody is connected until an administrator accepts them with `portcullis settings accept`");
    } else if acceptance.is_open_ended {
        tracing::warn!(
            "the settings that decide are not sealed with the keys; have an administrator accept them with `portcullis settings accept`"
        );
    }
}

/// Begins another generation, before anything else is signed, if the store comes from a backup.
/// Such a store may have forgotten what it signed since.
fn begin_anew(store: &SqliteStore, now: Timestamp) -> Result<(), StoreError> {
    let Some(backup) = store.restored_from()? else {
        return Ok(());
    };
    let mut generation = [0; 16];
    SystemEntropy::default().fill(&mut generation);
    let new = NewGeneration {
        instead_of: store.generation()?,
        generation: Generation::from_bytes(generation),
        shown: None,
        at: now,
        why: format!("this node was restored from a backup of {backup}"),
    };
    tracing::warn!(%backup, "this node was restored: it begins a new generation");
    store.commit(vec![Write::StartGeneration(new)]).map(drop)
}

/// Returns the administrator with whom alone the enrolment of persons begins, as the keys say.
fn first_administrator(kernel: &Kernel) -> Option<First> {
    let keyring = kernel.keyring();
    let FirstAdministrator { id, key } = keyring.facts().first_administrator.clone()?;
    Some(First { id, key })
}

fn renewal(settings: &RenewalSettings) -> Result<Renewal, StartError> {
    let passphrase = Passphrase::from_file(&settings.passphrase_file)?;
    Ok(Renewal {
        key: key_file::open(&settings.key, KeyUse::Freshness, &passphrase)?,
        every: settings.every,
    })
}

/// Error with which `portcullis run` ends.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The node did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The operating system gave no runtime or no listening address.
    #[error("the operating system refused: {0}")]
    System(#[from] std::io::Error),
}

/// Runs a node in the foreground until SIGTERM or SIGINT; SIGHUP reloads. `routes` are answered at the admin socket
/// beside the product's own.
///
/// # Errors
///
/// [`RunError`] if it does not start.
pub fn run(home: Home, config: Config, routes: Router<Admin>) -> Result<(), RunError> {
    observe::start_log(config.log);
    undumped::protect();
    descriptors::raise_limit();
    service_manager::starting();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let ended: Result<(), RunError> = runtime.block_on(async {
        let node = Node::prepare(home, config).await?;
        let shutdown = CancellationToken::new();
        let signals = Signals::listen()?;
        let (reloader, desk) = (Arc::clone(node.reloader()), Arc::clone(&node.desk));
        let reload = move || {
            let (reloader, desk) = (Arc::clone(&reloader), Arc::clone(&desk));
            async move {
                service_manager::reloading();
                match reload(&reloader, &desk).await {
                    Ok(()) => service_manager::reloaded(None),
                    Err(error) => {
                        tracing::error!(%error, "nothing was reloaded; the present state stays in force");
                        service_manager::reloaded(Some(&*error));
                    }
                }
            }
        };
        let signals = tokio::spawn(signals.obey(reload, shutdown.clone()));
        tracing::info!(node = %node.kernel().me().node, address = %node.address()?, "the node is up");
        let ended = node.serve_with(routes, shutdown).await;
        signals.abort();
        Ok(ended?)
    });
    if let Err(error) = &ended {
        service_manager::failed(error);
    }
    // Work that does not end, such as a backup, is cut off.
    runtime.shutdown_timeout(GRACE);
    ended
}

/// Loads everything anew that needs no restart, the schema of consignments as well.
async fn reload(reloader: &Reloader, desk: &Desk) -> Result<(), Box<dyn Error + Send + Sync>> {
    let home = reloader.home().folder().to_owned();
    let setup = portcullis_store::apart::spawn(move || desk::Setup::load(&home)).await??;
    reloader.reload().await?;
    desk.take_up(setup);
    Ok(())
}

/// The signals that a node obeys. A node that cannot hear them does not start.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Turns signals into shutdown and reload. A reload under way holds up neither; a signal that
    /// comes meanwhile makes one more.
    async fn obey<R>(mut self, reload: impl Fn() -> R, shutdown: CancellationToken)
    where
        R: Future<Output = ()> + Send + 'static,
    {
        let mut reloads = JoinSet::new();
        let mut again = false;
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                _ = self.hangup.recv() => again = true,
                Some(ended) = reloads.join_next() => if let Err(error) = ended {
                    tracing::error!(%error, "a reload was cut short");
                },
            }
            if again && reloads.is_empty() {
                again = false;
                reloads.spawn(reload());
            }
        }
        tracing::info!("stopping");
        shutdown.cancel();
        // A reload under way ends with the node.
        reloads.detach_all();
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal as Number, getpid, kill_process};

    use super::*;

    /// Attack HL6: a reload that does not end does not hold up SIGTERM.
    #[tokio::test]
    async fn a_reload_that_hangs_does_not_hold_up_the_end() {
        let signals = Signals::listen().unwrap();
        let shutdown = CancellationToken::new();
        let (began, mut begun) = tokio::sync::mpsc::channel(4);
        let reload = move || {
            let began = began.clone();
            async move {
                began.send(()).await.unwrap();
                std::future::pending().await
            }
        };
        let obeying = tokio::spawn(signals.obey(reload, shutdown.clone()));
        kill_process(getpid(), Number::HUP).unwrap();
        begun.recv().await.unwrap();
        kill_process(getpid(), Number::TERM).unwrap();
        obeying.await.unwrap();
        assert!(shutdown.is_cancelled());
    }
}

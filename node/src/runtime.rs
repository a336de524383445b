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

use std::{sync::Arc, time::Duration};

use axum::Router;
use portcullis_backup::Snapshots;
use portcullis_protocol::{frame::Generation, keys::KeyUse, seal::Entropy as _, time::Timestamp};
use tokio::{
    net::{TcpListener, UnixListener},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::observe;
use portcullis_admin::{
    request::Admin,
    server::{self, SocketError},
};
use portcullis_desk as desk;
use portcullis_desk::Desk;
use portcullis_exchange::{
    answers_ready, dispatch::supervisor, gossip, inbound::service, reconcile,
};
use portcullis_home::{
    Home,
    clock::{SystemEntropy, system_clock},
    config::{Config, RenewalSettings},
    key_file::{self, KeyFileError},
    keyring::{Keyring, KeyringError},
    secret::{Passphrase, SecretError},
};
use portcullis_kernel::{
    Kernel, Me, Parts,
    gate_schedule::{self, Renewal},
    hold,
    in_force::{InForce, LoadError, meeting, missing_epochs, read_register},
    metrics::Metrics,
    reload::Reloader,
};
use portcullis_peering::{
    listener::{self, Listener},
    tls,
    trust::Trust,
};
use portcullis_store::{
    NewGeneration, Store, StoreError, Write,
    writer::{Writer, abort_on_disk_failure},
};
use portcullis_store_sqlite::SqliteStore;

/// Time that frames under way have to finish once the node is told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// A node does not start. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The home does not load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The keys do not load.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The store does not open.
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
    renewal: Option<Renewal>,
    writer: Writer,
    store: Arc<SqliteStore>,
}

impl Node {
    /// Reads and checks everything, then binds the ports.
    ///
    /// # Errors
    ///
    /// [`StartError`] says what is wrong and what to do.
    pub async fn prepare(home: Home, config: Config) -> Result<Self, StartError> {
        let (kernel, writer, store) = load(&home, &config)?;
        let renewal = config.freshness.as_ref().map(renewal).transpose()?;
        let kernel = Arc::new(kernel);
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
            renewal,
            writer,
            store,
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
    /// [`StartError`] if serving cannot begin.
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
            renewal,
            writer,
            store,
        } = self;
        let (listener, incoming) = Listener::new(
            exchange,
            Arc::clone(kernel.identity()),
            kernel.trust().clone(),
            tls::system_clock(),
            &config.listener,
            kernel.metrics().connections.clone(),
        )?;
        let mut parts = JoinSet::new();
        parts.spawn(listener.run(shutdown.clone()));
        parts.spawn(supervisor::run(Arc::clone(&kernel), shutdown.clone()));
        parts.spawn(serve_metrics(
            metrics,
            Arc::clone(&kernel),
            shutdown.clone(),
        ));
        parts.spawn(Arc::clone(&desk).run(shutdown.clone()));
        parts.spawn(gate_schedule::run(Arc::clone(&kernel), shutdown.clone()));
        parts.spawn(hold::run(Arc::clone(&kernel), shutdown.clone()));
        if let Some(renewal) = renewal {
            parts.spawn(gate_schedule::renew(
                Arc::clone(&kernel),
                renewal,
                shutdown.clone(),
            ));
        }
        parts.spawn(answers_ready::run(Arc::clone(&kernel), shutdown.clone()));
        parts.spawn(reconcile::run(Arc::clone(&kernel), shutdown.clone()));
        parts.spawn(gossip::run(
            Arc::clone(&kernel),
            Arc::clone(&reloader),
            shutdown.clone(),
        ));
        parts.spawn(serve_admin(
            admin,
            Admin {
                kernel: Arc::clone(&kernel),
                desk,
                snapshots: Snapshots::of(store),
                reloader,
                shutdown: shutdown.clone(),
            },
            routes,
        ));
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
        tokio::select! {
            ended = server => if let Err(error) = ended {
                tracing::error!(%error, "the exchange ended");
            },
            () = cut => tracing::warn!("peers held connections open; they were cut"),
        }
        shutdown.cancel();
        while let Some(ended) = parts.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a part of the node did not end well");
            }
        }
        if let Err(error) = tokio::task::spawn_blocking(move || writer.stop()).await {
            tracing::error!(%error, "the writer did not end well");
        }
        Ok(())
    }
}

async fn serve_metrics(listener: TcpListener, kernel: Arc<Kernel>, shutdown: CancellationToken) {
    if let Err(error) = observe::serve(listener, kernel, shutdown).await {
        tracing::error!(%error, "metrics and health are not served any more");
    }
}

async fn serve_admin(listener: UnixListener, admin: Admin, routes: Router<Admin>) {
    if let Err(error) = server::serve(listener, admin, routes).await {
        tracing::error!(%error, "the admin socket is not served any more");
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

fn load(home: &Home, config: &Config) -> Result<(Kernel, Writer, Arc<SqliteStore>), StartError> {
    let keyring = Keyring::load(home, &config.key)?;
    let in_force = InForce::load(home, config, &keyring)?;
    let files = Arc::new(SqliteStore::open(&home.data(), keyring.store.bytes())?);
    let store: Arc<dyn Store> = files.clone();
    begin_anew(&files, system_clock()())?;
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
        clock: system_clock(),
        retry: config.retry,
        exercises: config.exercises,
        connector: config.connector.clone(),
        metrics: Metrics::default(),
    });
    kernel.restore_gates()?;
    kernel.watch_clock()?;
    Ok((kernel, stopper, files))
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let node = Node::prepare(home, config).await?;
        let shutdown = CancellationToken::new();
        let signals = tokio::spawn(signals(Arc::clone(node.reloader()), shutdown.clone()));
        tracing::info!(node = %node.kernel().me().node, address = %node.address()?, "the node is up");
        node.serve_with(routes, shutdown).await?;
        signals.abort();
        Ok(())
    })
}

/// Turns signals into shutdown and reload.
async fn signals(reloader: Arc<Reloader>, shutdown: CancellationToken) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => if let Err(error) = reloader.reload().await {
                tracing::error!(%error, "nothing was reloaded; the present state stays in force");
            },
        }
    }
    tracing::info!("stopping");
    shutdown.cancel();
    Ok(())
}

//! A node from its home folder to its end: everything is read and checked before a port is bound.
//!
//! ```text
//! configuration → keys → store → register chain → policy → certificate → peers' trust
//!   → bind exchange, admin socket, metrics → serve until told to stop → stop in order
//! ```
//!
//! `SIGHUP` (or the admin API) reloads register, policy, revocation lists and certificate, all
//! or nothing: what does not load leaves the present state in force.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use portcullis_policy::{Bundle, Engine, PolicyError};
use portcullis_protocol::register::{Register, VerifiedRegister};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject};
use tokio::{
    net::{TcpListener, UnixListener},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    admin::server::{self, Admin, SocketError},
    clock::system_clock,
    config::Config,
    core::{Core, Me, Parts},
    decide::{Decider, DeciderError},
    desk::{self, Desk},
    dispatch::{machine::Backoff, supervisor},
    exchange::{
        certificate::Marking,
        identity::{IdentityError, OwnIdentity},
        listener::{self, Listener},
        service, tls,
        trust::{DevelopmentCertificates, PeerFacts, PeerTrust, Trust, TrustError},
    },
    files::FileError,
    home::Home,
    keyring::{Keyring, KeyringError},
    membership::{ChainError, load_chain},
    metrics::Metrics,
    observe,
    store::{
        SqliteStore, Store, StoreError,
        writer::{Writer, abort_on_disk_failure},
    },
};

/// Answers of policy that are remembered, about 1 KiB each.
const MEMO: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// How long frames under way may take to finish once the node is told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// Why a node does not start, or does not take a reload. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The keys do not load.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The register does not load.
    #[error(transparent)]
    Register(#[from] ChainError),
    /// The register and this node do not go together.
    #[error(transparent)]
    Decider(#[from] DeciderError),
    /// The policy does not load.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The certificate does not load.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The peers' certificates cannot be judged.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A file does not read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A certificate of the development PKI outside of a development federation (RG-09).
    #[error(
        "RG-09: this node's certificate is a worthless development one, and the register is of a real federation; have the authority's own CA sign `tls/csr.pem`"
    )]
    DevelopmentCertificate,
    /// The newest register in the home is older than the one in force.
    #[error(
        "RG-04: the newest register in the home is epoch {found}, epoch {present} is in force; put the missing epochs back"
    )]
    Older {
        /// The epoch in the home.
        found: u64,
        /// The epoch in force.
        present: u64,
    },
    /// A folder cannot be read.
    #[error("`{path}` cannot be read: {source}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A revocation list is not PEM.
    #[error("`{0}` is not a revocation list in PEM; fetch it again from its CA")]
    RevocationList(PathBuf),
    /// An address cannot be bound.
    #[error("`{address}` cannot be listened on: {source}; is another node running?")]
    Bind {
        /// The address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The desk has no schema.
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
    core: Arc<Core>,
    reloader: Arc<Reloader>,
    config: Config,
    exchange: TcpListener,
    metrics: TcpListener,
    admin: UnixListener,
    desk: Arc<Desk>,
    writer: Writer,
}

impl Node {
    /// Reads and checks everything, then binds the ports.
    ///
    /// # Errors
    ///
    /// [`StartError`] says what is wrong and what to do.
    pub async fn prepare(home: Home, config: Config) -> Result<Self, StartError> {
        let (core, writer) = load(&home, &config)?;
        let core = Arc::new(core);
        let reloader = Arc::new(Reloader {
            core: Arc::clone(&core),
            home,
            config: config.clone(),
            turn: Mutex::new(()),
        });
        let desk = desk::Setup::load(reloader.home.folder())?;
        let desk = Arc::new(Desk::new(Arc::clone(&core), desk));
        let exchange = bind(config.listen).await?;
        let metrics = bind(config.metrics).await?;
        let admin = server::bind(&reloader.home.socket(), config.admin_access).await?;
        Ok(Self {
            core,
            reloader,
            config,
            exchange,
            metrics,
            admin,
            desk,
            writer,
        })
    }

    /// Takes up what changed in the home.
    #[must_use]
    pub const fn reloader(&self) -> &Arc<Reloader> {
        &self.reloader
    }

    /// The heart of the node.
    #[must_use]
    pub const fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Where peers connect to.
    ///
    /// # Errors
    ///
    /// An I/O error if the socket is gone.
    pub fn address(&self) -> std::io::Result<std::net::SocketAddr> {
        self.exchange.local_addr()
    }

    /// Serves until `shutdown`, then stops: no new frames, those under way are finished.
    ///
    /// # Errors
    ///
    /// [`StartError`] if serving cannot begin.
    pub async fn serve(self, shutdown: CancellationToken) -> Result<(), StartError> {
        let Self {
            core,
            reloader,
            config,
            exchange,
            metrics,
            admin,
            desk,
            writer,
        } = self;
        let (listener, incoming) = Listener::new(
            exchange,
            Arc::clone(core.identity()),
            core.trust().clone(),
            tls::system_clock(),
            &config.listener,
            core.metrics().connections.clone(),
        )?;
        let mut parts = JoinSet::new();
        parts.spawn(listener.run(shutdown.clone()));
        parts.spawn(supervisor::run(Arc::clone(&core), shutdown.clone()));
        parts.spawn(serve_metrics(metrics, Arc::clone(&core), shutdown.clone()));
        parts.spawn(Arc::clone(&desk).run(shutdown.clone()));
        parts.spawn(serve_admin(
            admin,
            Admin {
                core: Arc::clone(&core),
                desk,
                reloader,
                shutdown: shutdown.clone(),
            },
        ));
        let server = listener::server(config.listener.connection_lifetime)
            .serve_with_incoming_shutdown(
                service::server(Arc::clone(&core), shutdown.clone()),
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

async fn serve_metrics(listener: TcpListener, core: Arc<Core>, shutdown: CancellationToken) {
    if let Err(error) = observe::serve(listener, core, shutdown).await {
        tracing::error!(%error, "metrics and health are not served any more");
    }
}

async fn serve_admin(listener: UnixListener, admin: Admin) {
    if let Err(error) = server::serve(listener, admin).await {
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

fn load(home: &Home, config: &Config) -> Result<(Core, Writer), StartError> {
    let keyring = Keyring::load(home, &config.key)?;
    let standing = Standing::load(home, config, &keyring)?;
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&home.data(), &keyring.store)?);
    let (stopper, writer) = Writer::start(Arc::clone(&store), abort_on_disk_failure())?;
    let backoff = Backoff {
        first_ms: millis(config.retry.first),
        most_ms: millis(config.retry.longest),
    };
    let core = Core::new(Parts {
        me: Me {
            federation: config.federation.clone(),
            authority: config.authority.clone(),
            node: config.node.clone(),
        },
        store,
        writer,
        keyring,
        decider: Arc::new(standing.decider),
        identity: Arc::new(standing.identity),
        trust: Trust::new(standing.trust),
        clock: system_clock(),
        backoff,
        exercises: config.exercises,
        connector: config.connector.clone(),
        metrics: Metrics::default(),
    });
    Ok((core, stopper))
}

fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Takes up a changed register, policy, certificate or revocation list of a running node.
pub struct Reloader {
    core: Arc<Core>,
    home: Home,
    config: Config,
    /// Guards nothing but the order of reloads.
    turn: Mutex<()>,
}

impl Reloader {
    /// Loads everything anew and puts it in force; what does not load changes nothing.
    ///
    /// # Errors
    ///
    /// [`StartError`] says what did not load.
    pub fn reload(&self) -> Result<(), StartError> {
        // One after the other: the older of two must not be put in force after the newer.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let keyring = self.core.keyring();
        let standing = Standing::load(&self.home, &self.config, keyring)?;
        let found = standing.decider.register().epoch;
        let present = self.core.decider().register().epoch;
        if found < present {
            return Err(StartError::Older { found, present });
        }
        let (chain, key) = (&standing.chain, keyring.tls_key_pem()?);
        self.core
            .identity()
            .replace_from_pem(chain, key.as_bytes())?;
        self.core.trust().replace(standing.trust);
        self.core.replace_decider(Arc::new(standing.decider));
        tracing::info!("register, policy, certificate and revocation lists were loaded again");
        Ok(())
    }

    /// The node's home.
    #[must_use]
    pub const fn home(&self) -> &Home {
        &self.home
    }

    /// The configuration it started with.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }
}

/// What a reload replaces, loaded and checked whole.
struct Standing {
    decider: Decider,
    trust: PeerTrust,
    identity: OwnIdentity,
    /// The certificate chain that `identity` shows, in PEM.
    chain: Vec<u8>,
}

impl Standing {
    fn load(home: &Home, config: &Config, keyring: &Keyring) -> Result<Self, StartError> {
        let register = load_chain(home, &config.register_pin)?;
        let chain = crate::files::read(&home.certificate())?;
        let identity = own_identity(&chain, keyring, register.register())?;
        let trust = peer_trust(home, register.register())?;
        let decider = decider(home, config, register)?;
        Ok(Self {
            decider,
            trust,
            identity,
            chain,
        })
    }
}

fn decider(
    home: &Home,
    config: &Config,
    register: VerifiedRegister,
) -> Result<Decider, StartError> {
    let bundle = Bundle::from_files(&policy_files(&home.policy())?)?;
    let engine = Engine::new(bundle, MEMO)?;
    Ok(Decider::new(register, engine, config.authority.clone())?)
}

fn own_identity(
    chain: &[u8],
    keyring: &Keyring,
    register: &Register,
) -> Result<OwnIdentity, StartError> {
    let identity = OwnIdentity::from_pem(chain, keyring.tls_key_pem()?.as_bytes())?;
    if identity.certificate().marking() == Marking::Development && !register.development {
        return Err(StartError::DevelopmentCertificate);
    }
    Ok(identity)
}

/// The policies of a folder: every `*.cedar` file by name; no folder is no policy of one's own.
///
/// # Errors
///
/// [`StartError::Folder`] if folder or file cannot be read.
pub fn policy_files(folder: &Path) -> Result<BTreeMap<String, String>, StartError> {
    files_named(folder, "cedar")?
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).map_err(|source| StartError::Folder {
                path: path.clone(),
                source,
            })?;
            let name = path.file_name().unwrap_or_default();
            Ok((name.to_string_lossy().into_owned(), text))
        })
        .collect()
}

/// The files of a folder with this extension, by name; none if there is no folder.
fn files_named(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, StartError> {
    let failed = |source| StartError::Folder {
        path: folder.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// What the register and the revocation lists say of the peers. A list counts for the node whose
/// trust anchor's subject issued it.
fn peer_trust(home: &Home, register: &Register) -> Result<PeerTrust, StartError> {
    let lists = revocation_lists(home)?;
    let facts: Vec<PeerFacts> = register
        .nodes()
        .map(|(_, node)| PeerFacts {
            node: node.id.clone(),
            dns_name: node.dns_name.clone(),
            uri: node.uri(&register.federation),
            trust_anchor: CertificateDer::from(node.trust_anchor.clone()),
            revocation_lists: lists
                .iter()
                .filter(|list| issued_by(list, &node.trust_anchor))
                .cloned()
                .collect(),
        })
        .collect();
    let development = if register.development {
        DevelopmentCertificates::Accepted
    } else {
        DevelopmentCertificates::Refused
    };
    Ok(PeerTrust::new(facts, development)?)
}

/// The revocation lists in a home.
pub(crate) fn revocation_lists(
    home: &Home,
) -> Result<Vec<CertificateRevocationListDer<'static>>, StartError> {
    files_named(&home.revocation_lists(), "crl")?
        .into_iter()
        .map(|path| {
            CertificateRevocationListDer::from_pem_file(&path)
                .map_err(|_| StartError::RevocationList(path))
        })
        .collect()
}

/// Whether a list names the anchor's subject as its issuer. The verifier checks its signature.
pub(crate) fn issued_by(list: &CertificateRevocationListDer<'_>, anchor: &[u8]) -> bool {
    use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};
    let issuer = CertificateRevocationList::from_der(list).ok();
    let subject = X509Certificate::from_der(anchor).ok();
    match (issuer, subject) {
        (Some((_, list)), Some((_, anchor))) => list.issuer().as_raw() == anchor.subject().as_raw(),
        (Some(_) | None, Some(_) | None) => false,
    }
}

/// Why `portcullis run` ended other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The node did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The operating system gave no runtime or no signals.
    #[error("the operating system refused: {0}")]
    System(#[from] std::io::Error),
}

/// Runs a node in the foreground until SIGTERM or SIGINT; SIGHUP reloads.
///
/// # Errors
///
/// [`RunError`] if it does not start.
pub fn run(home: Home, config: Config) -> Result<(), RunError> {
    observe::start_log(config.log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let node = Node::prepare(home, config).await?;
        let shutdown = CancellationToken::new();
        let signals = tokio::spawn(signals(Arc::clone(node.reloader()), shutdown.clone()));
        tracing::info!(node = %node.core().me().node, address = %node.address()?, "the node is up");
        node.serve(shutdown).await?;
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
            _ = hangup.recv() => {
                let reloader = Arc::clone(&reloader);
                let done = tokio::task::spawn_blocking(move || reloader.reload()).await;
                match done {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::error!(%error, "nothing was reloaded; the present state stays in force"),
                    Err(error) => tracing::error!(%error, "the reload was cut short"),
                }
            }
        }
    }
    tracing::info!("stopping");
    shutdown.cancel();
    Ok(())
}

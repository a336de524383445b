//! A federation of real nodes in this process: homes on disk, mutual TLS over loopback, SQLite.
//!
//! Only the process is shared; nodes talk to each other over their sockets and through nothing
//! else. A panic here is a failed test.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a panic here is a failed test"
)]

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::Range,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use portcullis_certs_dev::{DevelopmentAuthority, NodeNames, certificate_pem, revocation_list_pem};
use portcullis_home::{
    Home,
    clock::{Clock, system_clock},
    config::Config,
    files::{self, Access},
    keyring::{Accepted, Keyring, SealedFacts},
    membership,
    secret::{self, KeySource},
    trust_settings::TrustSettings,
};
use portcullis_kernel::{Kernel, dialect::Dialect, reload::Reloader};
use portcullis_node::{
    runtime::Node,
    setup::{NewNode, init},
};
use portcullis_protocol::{
    digest::Digest,
    identifiers::{AuthorityId, FederationId},
    keys::{KeyUse, SigningKey},
    register::{
        Authority, AuthorityKind, FreshnessKeys, LegalRegime, Node as RegisteredNode, Register,
        RegisteredKey, SignedMembershipRequest, SignedRegister,
    },
    time::Timestamp,
};
use portcullis_store::apart::seen_on_the_runtime;
use portcullis_store_sqlite::SqliteStore;
use rustls::pki_types::{CertificateSigningRequestDer, pem::PemObject as _};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A member: its id, which is also the id of its node, and its kind.
pub type Member = (&'static str, AuthorityKind);

/// The id of every test federation.
pub const FEDERATION: &str = "test";

/// A node that runs until it is dropped or stopped.
pub struct Running {
    /// The running core of the node.
    pub kernel: Arc<Kernel>,
    /// Home directory of the node.
    pub home: Home,
    /// Reloader that takes up changes in the home.
    pub reloader: Arc<Reloader>,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
    _store: OffTheRuntime,
}

/// Accepts the trust settings that lie in a home, as a person's act does at a running node.
pub fn accept_settings(home: &Home) {
    let config = Config::load(&home.config()).unwrap();
    let settings = TrustSettings::found(home, &config).unwrap();
    let keyring = Keyring::load(home, &config.key).unwrap();
    let present = keyring.facts().clone();
    let serial = present.accepted.as_ref().map_or(0, |one| one.serial);
    if present.accepted.is_some_and(|one| one.settings == settings) {
        return;
    }
    let facts = SealedFacts {
        accepted: Some(Accepted {
            serial: serial + 1,
            settings,
        }),
        ..present
    };
    Keyring::seal_facts(home, &config.key, &facts).unwrap();
}

/// Watches that a node uses the store on no thread of the runtime while it runs (house HM2). It has the
/// number of uses that were seen before, by whatever else is in the process.
struct OffTheRuntime(u64);

impl Drop for OffTheRuntime {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(
                seen_on_the_runtime(),
                self.0,
                "the store was used on the runtime"
            );
        }
    }
}

/// Makes the keys and the store of a home as the first version left them: the keys say nothing of
/// settings, and the store is bound to nothing.
pub fn as_the_first_version_made_it(home: &Home) {
    let config = Config::load(&home.config()).unwrap();
    let passphrase = config.key.read().unwrap();
    let text = std::fs::read_to_string(home.keys()).unwrap();
    let content = secret::open(&passphrase, "node keys", &text).unwrap();
    // The parts are those of `keyring/content.rs` of `portcullis-home`.
    let (version, rest) = content.split_first().unwrap();
    assert_eq!(*version, 4);
    let (seeds, rest) = rest.split_first_chunk::<160>().unwrap();
    let (_binding, rest) = rest.split_first_chunk::<33>().unwrap();
    let (length, rest) = rest.split_first_chunk().unwrap();
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap();
    let (_facts, tls) = rest.split_at_checked(length).unwrap();
    let first = [&[1], seeds.as_slice(), tls].concat();
    let text = secret::seal(&passphrase, "node keys", None, &first).unwrap();
    files::replace(&home.keys(), text.as_bytes(), Access::Owner).unwrap();
    std::fs::remove_dir_all(home.data()).unwrap();
    files::create_folder(&home.data()).unwrap();
    let key: &[u8; 32] = seeds.last_chunk().unwrap();
    SqliteStore::create(&home.data(), key).unwrap();
}

impl Running {
    /// Starts the node in a home, whose settings somebody has accepted.
    pub async fn start(home: Home) -> Self {
        accept_settings(&home);
        Self::start_as_it_is(home, Dialect::default()).await
    }

    /// Starts the node in a home whose settings somebody has accepted, as one of another version of
    /// the protocol.
    pub async fn start_speaking(home: Home, dialect: Dialect) -> Self {
        accept_settings(&home);
        Self::start_as_it_is(home, dialect).await
    }

    /// Starts the node in a home, whatever was accepted there.
    pub async fn start_as_it_is(home: Home, dialect: Dialect) -> Self {
        Self::serve(home, dialect, system_clock()).await
    }

    /// Starts the node in a home, whose settings somebody has accepted, by this clock of the machine.
    pub async fn start_by(home: Home, clock: Clock) -> Self {
        accept_settings(&home);
        Self::serve(home, Dialect::default(), clock).await
    }

    async fn serve(home: Home, dialect: Dialect, clock: Clock) -> Self {
        let config = Config::load(&home.config()).unwrap();
        let node = Node::prepare_by(home.clone(), config, clock).await.unwrap();
        node.kernel().replace_dialect(dialect);
        let kernel = Arc::clone(node.kernel());
        let reloader = Arc::clone(node.reloader());
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        let serving = tokio::spawn(async move { node.serve(token).await.unwrap() });
        Self {
            kernel,
            home,
            reloader,
            shutdown,
            serving,
            _store: OffTheRuntime(seen_on_the_runtime()),
        }
    }

    /// Returns the clock of this machine, and what it is ahead by, in milliseconds, which may be set.
    #[must_use]
    pub fn settable_clock() -> (Clock, Arc<AtomicI64>) {
        let (clock, ahead) = (system_clock(), Arc::new(AtomicI64::new(0)));
        let by = Arc::clone(&ahead);
        let set = move || clock().plus_millis(by.load(Ordering::SeqCst));
        (Arc::new(set), ahead)
    }

    /// Accepts the settings that lie in the home, and puts them in force.
    pub async fn reload_accepting(&self) {
        let (_, found) = self.reloader.settings_found().unwrap();
        let keyring = self.kernel.keyring();
        let serial = keyring
            .facts()
            .accepted
            .as_ref()
            .map_or(0, |one| one.serial);
        let accepting = self.reloader.accept(found.digest(), serial + 1, None);
        assert!(accepting.await.unwrap().is_empty());
    }

    /// Stops the node and returns its home, in which it can be started again.
    pub async fn stop(self) -> Home {
        self.shutdown.cancel();
        self.serving.await.unwrap();
        self.home
    }
}

/// The addresses of a node: the one it listens on and the one its peers are told, for instance that
/// of a proxy.
#[derive(Debug, Clone, Copy)]
pub struct Site {
    /// Address on which the node listens.
    pub listen: SocketAddr,
    /// Address that the register gives to the peers.
    pub endpoint: SocketAddr,
}

impl Site {
    /// Returns a free address on loopback; peers reach the node at the same address.
    #[must_use]
    pub fn free() -> Self {
        let listen = free_address(Ipv4Addr::LOCALHOST);
        Self {
            listen,
            endpoint: listen,
        }
    }
}

/// A federation whose homes exist and whose nodes have not been started.
pub struct Federation {
    homes: BTreeMap<AuthorityId, Home>,
    authorities: BTreeMap<AuthorityId, DevelopmentAuthority>,
    /// Newest epoch of the register.
    pub register: Register,
    /// Newest epoch with its signatures.
    signed: SignedRegister,
    folder: TempDir,
}

struct Made {
    home: Home,
    authority: Authority,
    ca: DevelopmentAuthority,
    revocation_list: String,
}

impl Federation {
    /// Makes the homes of these members, each with a certificate of its own CA, and the register.
    #[must_use]
    pub fn new(members: &[Member]) -> Self {
        Self::at(members, |_| Site::free())
    }

    /// Like [`Self::new`], with the addresses of each member as `site` gives them for its name.
    #[must_use]
    pub fn at(members: &[Member], site: impl FnMut(&str) -> Site) -> Self {
        Self::altered(members, site, |_| {})
    }

    /// Like [`Self::at`], with the register changed by `alter` before it is signed.
    #[must_use]
    pub fn altered(
        members: &[Member],
        mut site: impl FnMut(&str) -> Site,
        alter: impl FnOnce(&mut Register),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = portcullis_home::clock::system_clock()();
        let governance = governance_key();
        let first = first_epoch(&governance, now);
        let made: Vec<Made> = members
            .iter()
            .map(|member| make(folder.path(), *member, site(member.0), first.digest(), now))
            .collect();
        let mut register = Register {
            epoch: 2,
            previous: Some(first.digest()),
            authorities: made
                .iter()
                .map(|made| (made.authority.id.clone(), made.authority.clone()))
                .collect(),
            ..first.unverified().unwrap()
        };
        alter(&mut register);
        let mut second = SignedRegister::unsigned(&register).unwrap();
        second.sign(&governance).unwrap();
        for made in &made {
            install(&made.home, &[&first, &second]);
        }
        // A list of an authority that the register does not list is nobody's.
        let lists: Vec<(String, String)> = made
            .iter()
            .filter(|made| register.authorities.contains_key(&made.authority.id))
            .map(|made| (made.authority.id.to_string(), made.revocation_list.clone()))
            .collect();
        for made in &made {
            write_lists(&made.home, &lists);
        }
        let mut homes = BTreeMap::new();
        let mut authorities = BTreeMap::new();
        for made in made {
            homes.insert(made.authority.id.clone(), made.home);
            authorities.insert(made.authority.id, made.ca);
        }
        Self {
            homes,
            authorities,
            register,
            signed: second,
            folder,
        }
    }

    /// Makes and signs the next epoch, changed by `change`, and writes it into the home of one
    /// member.
    pub fn next_epoch(&mut self, at: &str, change: impl FnOnce(&mut Register)) {
        self.register.epoch += 1;
        self.register.previous = Some(self.signed.digest());
        change(&mut self.register);
        let mut signed = SignedRegister::unsigned(&self.register).unwrap();
        signed.sign(&governance_key()).unwrap();
        let path = membership::epoch_path(&self.home(at), self.register.epoch);
        std::fs::write(path, signed.encode()).unwrap();
        self.signed = signed;
    }

    /// Admits the request of a listed node to be listed with other keys, and writes the resulting
    /// epoch into the home of one member.
    pub fn admit_change(&mut self, at: &str, request: &[u8], overlap_ms: i64) {
        let request = SignedMembershipRequest::verify(request).unwrap();
        let now = portcullis_home::clock::system_clock()();
        let changes = membership::Admission::Changes { overlap_ms };
        let (next, _) = membership::admit(&self.signed, vec![request], changes, now).unwrap();
        let next = next.unverified().unwrap();
        self.next_epoch(at, |register| {
            let (epoch, previous) = (register.epoch, register.previous);
            *register = Register {
                epoch,
                previous,
                ..next
            };
        });
    }

    /// Returns the home of a member.
    #[must_use]
    pub fn home(&self, member: &str) -> Home {
        self.homes.get(&member.parse().unwrap()).unwrap().clone()
    }

    /// Returns the certification authority of a member.
    #[must_use]
    pub fn ca(&self, member: &str) -> &DevelopmentAuthority {
        self.authorities.get(&member.parse().unwrap()).unwrap()
    }

    /// Starts every node.
    pub async fn start(&self) -> BTreeMap<AuthorityId, Running> {
        let mut running = BTreeMap::new();
        for (id, home) in &self.homes {
            running.insert(id.clone(), Running::start(home.clone()).await);
        }
        running
    }

    /// Returns the folder in which the homes lie.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Returns the one governance key of every test federation.
#[must_use]
pub fn governance_key() -> SigningKey {
    SigningKey::from_seed(KeyUse::Governance, [77; 32])
}

/// First epoch, without members. Every node is pinned to its digest.
fn first_epoch(governance: &SigningKey, now: Timestamp) -> SignedRegister {
    let mut first = SignedRegister::unsigned(&Register {
        federation: FEDERATION.parse().unwrap(),
        epoch: 1,
        previous: None,
        development: true,
        threshold: 1,
        governance: vec![governance.public()],
        freshness: FreshnessKeys::default(),
        authorities: BTreeMap::new(),
        issued_at: now,
        former: BTreeMap::new(),
    })
    .unwrap();
    first.sign(governance).unwrap();
    first
}

/// Ports from which addresses are taken. They lie below the range from which systems take ephemeral
/// ports, so that no foreign connection or listener occupies one before it is used.
const PORTS: Range<u16> = 10_000..32_000;

/// Returns an address of this machine on which nobody listens. No address is returned twice. Each
/// process begins its search at a different port.
#[must_use]
pub fn free_address(ip: Ipv4Addr) -> SocketAddr {
    /// Number of ports tried so far.
    static LOOKED_AT: Mutex<u32> = Mutex::new(0);
    let count = u32::from(PORTS.end - PORTS.start);
    let first = std::process::id().wrapping_mul(64);
    let mut looked_at = LOOKED_AT.lock().unwrap();
    loop {
        assert!(*looked_at < count, "no port of {PORTS:?} is free");
        let offset = first.wrapping_add(*looked_at) % count;
        *looked_at += 1;
        let port = PORTS.start + u16::try_from(offset).unwrap();
        match TcpListener::bind((ip, port)) {
            Ok(_) => return (ip, port).into(),
            Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse, "{ip}: {error}"),
        }
    }
}

fn make(folder: &Path, (name, kind): Member, site: Site, pin: Digest, now: Timestamp) -> Made {
    let federation: FederationId = FEDERATION.parse().unwrap();
    let home = Home::new(folder.join(name));
    let passphrase = folder.join(format!("{name}.passphrase"));
    files::create(&passphrase, b"correct horse battery staple", Access::Owner).unwrap();
    let dns_name = format!("{name}.example");
    let node = NewNode {
        federation,
        authority: name.parse().unwrap(),
        node: name.parse().unwrap(),
        dns_name: dns_name.parse().unwrap(),
        listen: site.listen,
        register_pin: pin,
        key: KeySource::PassphraseFile(passphrase),
        metrics: Some(free_address(Ipv4Addr::LOCALHOST)),
        first_administrator: None,
        schema: None,
    };
    let keyring = init(&home, &node).unwrap();
    let (ca, revocation_list) = certify(&home, name, &dns_name, now);
    let anchor = ca.certificate().to_vec();
    Made {
        authority: authority(name, kind, &keyring, site.endpoint, anchor),
        home,
        ca,
        revocation_list,
    }
}

/// Has the member's own CA sign its request; returns the CA and its revocation list.
fn certify(
    home: &Home,
    name: &str,
    dns_name: &str,
    now: Timestamp,
) -> (DevelopmentAuthority, String) {
    let now = jiff::Timestamp::from_millisecond(now.as_millis()).unwrap();
    let ca = DevelopmentAuthority::new(name, now).unwrap();
    let names = NodeNames::new(FEDERATION, name, dns_name).unwrap();
    let pem = std::fs::read(home.certificate_request()).unwrap();
    let request = CertificateSigningRequestDer::from_pem_slice(&pem).unwrap();
    let certificate = ca.sign_request(&request, &names, now).unwrap();
    std::fs::write(home.certificate(), certificate_pem(&certificate)).unwrap();
    let list = ca.revocation_list(1, &[], now).unwrap();
    (ca, revocation_list_pem(&list))
}

fn authority(
    name: &str,
    kind: AuthorityKind,
    keyring: &Keyring,
    endpoint: SocketAddr,
    anchor: Vec<u8>,
) -> Authority {
    let keys = keyring.public_keys();
    Authority {
        id: name.parse().unwrap(),
        name: name.to_owned(),
        kind,
        country: "NL".parse().unwrap(),
        group: format!("ministry-of-{name}"),
        regime: LegalRegime::Both,
        communities: vec!["ports".to_owned()],
        clients: Vec::new(),
        nodes: vec![RegisteredNode {
            id: name.parse().unwrap(),
            dns_name: format!("{name}.example"),
            endpoint: endpoint.to_string(),
            trust_anchor: anchor,
            keys: keys.into_iter().map(RegisteredKey::in_force).collect(),
        }],
        contact: String::new(),
    }
}

fn install(home: &Home, epochs: &[&SignedRegister]) {
    for (number, epoch) in (1..).zip(epochs) {
        std::fs::write(membership::epoch_path(home, number), epoch.encode()).unwrap();
    }
}

/// Writes revocation lists into a home, each under the name of its certification authority.
pub fn write_lists(home: &Home, lists: &[(String, String)]) {
    for (name, list) in lists {
        let path = home.revocation_lists().join(format!("{name}.crl"));
        std::fs::write(path, list).unwrap();
    }
}

/// Waits until `holds` returns true, or fails after 20 seconds. It is asked again at every notice
/// of `core` and at least every 50 ms.
pub async fn eventually(kernel: &Kernel, mut holds: impl FnMut() -> bool) {
    let mut notices = kernel.notices();
    let waiting = async {
        while !holds() {
            let pause = tokio::time::timeout(Duration::from_millis(50), notices.recv());
            drop(pause.await);
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .unwrap();
}

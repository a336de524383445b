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
    sync::{Arc, Mutex},
    time::Duration,
};

use portcullis_certs_dev::{DevelopmentAuthority, NodeNames, certificate_pem, revocation_list_pem};
use portcullis_home::{
    Home,
    config::Config,
    files::{self, Access},
    keyring::Keyring,
    membership,
    secret::KeySource,
};
use portcullis_kernel::{Kernel, reload::Reloader};
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
use rustls::pki_types::{CertificateSigningRequestDer, pem::PemObject as _};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A member: its id, which is its node's as well, and its kind.
pub type Member = (&'static str, AuthorityKind);

/// The id of every test federation.
pub const FEDERATION: &str = "test";

/// A node that runs until it is dropped or stopped.
pub struct Running {
    /// Its heart.
    pub kernel: Arc<Kernel>,
    /// Its home.
    pub home: Home,
    /// What takes up changes in its home.
    pub reloader: Arc<Reloader>,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

impl Running {
    /// Starts the node in a home.
    pub async fn start(home: Home) -> Self {
        let config = Config::load(&home.config()).unwrap();
        let node = Node::prepare(home.clone(), config).await.unwrap();
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
        }
    }

    /// Stops the node and gives its home, in which it can be started again.
    pub async fn stop(self) -> Home {
        self.shutdown.cancel();
        self.serving.await.unwrap();
        self.home
    }
}

/// Where a node listens, and where its peers are told to find it: at a proxy, for instance.
#[derive(Debug, Clone, Copy)]
pub struct Site {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What the register says.
    pub endpoint: SocketAddr,
}

impl Site {
    /// A place of its own on loopback, found where it is.
    #[must_use]
    pub fn free() -> Self {
        let listen = free_address(Ipv4Addr::LOCALHOST);
        Self {
            listen,
            endpoint: listen,
        }
    }
}

/// A federation whose homes are made and whose nodes are not started.
pub struct Federation {
    homes: BTreeMap<AuthorityId, Home>,
    authorities: BTreeMap<AuthorityId, DevelopmentAuthority>,
    /// The newest epoch.
    pub register: Register,
    /// The newest epoch with its signatures.
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

    /// As [`Self::new`], each member at the site that is given for its name.
    #[must_use]
    pub fn at(members: &[Member], site: impl FnMut(&str) -> Site) -> Self {
        Self::altered(members, site, |_| {})
    }

    /// As [`Self::at`], with the register changed before it is signed.
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
        let lists: Vec<(String, String)> = made
            .iter()
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

    /// Makes and signs the next epoch, which differs by `change`, and lays it into one home.
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

    /// Admits a listed node's request to be listed with other keys, and lays the epoch into one home.
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

    /// The home of a member.
    #[must_use]
    pub fn home(&self, member: &str) -> Home {
        self.homes.get(&member.parse().unwrap()).unwrap().clone()
    }

    /// The certification authority of a member.
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

    /// Where the homes lie.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// The one key that governs every test federation.
#[must_use]
pub fn governance_key() -> SigningKey {
    SigningKey::from_seed(KeyUse::Governance, [77; 32])
}

/// An epoch without members: its digest is what every node is pinned to.
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

/// The ports that are given: below those that systems give out by themselves, so that no
/// connection and no listener of somebody else comes upon one before it is used.
const PORTS: Range<u16> = 10_000..32_000;

/// An address of this machine at which nobody listens, and which is given once. Processes begin
/// at ports of their own.
#[must_use]
pub fn free_address(ip: Ipv4Addr) -> SocketAddr {
    /// Guards how many ports were looked at.
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

/// Has the member's own CA sign its request; gives the CA and its revocation list.
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

/// Writes the revocation lists of certification authorities into a home, by their names.
pub fn write_lists(home: &Home, lists: &[(String, String)]) {
    for (name, list) in lists {
        let path = home.revocation_lists().join(format!("{name}.crl"));
        std::fs::write(path, list).unwrap();
    }
}

/// Waits until `holds` says so, or fails after 20 seconds. It asks again at every notice of
/// `core`, and now and then besides.
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

//! Makes the demo's federation: homes, keys, certificates of a worthless PKI, and a signed
//! register.
//!
//! Each member has a certification authority of its own, as in a real federation. The certificates
//! bear the mark of the development PKI, and the register says that the federation is for
//! development. The governance keys exist only while the register is signed.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use portcullis_certs_dev::{DevelopmentAuthority, NodeNames, certificate_pem, revocation_list_pem};
use portcullis_protocol::{
    digest::Digest,
    identifiers::FederationId,
    keys::{KeyUse, PublicKey, SigningKey},
    register::{Authority, FreshnessKeys, Node, Register, RegisteredKey, SignedRegister},
    seal::Entropy as _,
    time::Timestamp,
};
use rayon::prelude::*;
use rustls_pki_types::{CertificateSigningRequestDer, pem::PemObject as _};

use super::{
    DemoError,
    cast::{FEDERATION, Member},
    people::random_text,
};
use portcullis_home::{
    Home,
    clock::{SystemEntropy, system_clock},
    config::{Config, keys},
    files::{self, Access},
    keyring::{Accepted, Keyring, SealedFacts},
    own_certificate::certificate_request,
    secret::KeySource,
    trust_settings::TrustSettings,
};
use portcullis_node::kept;

/// Number of governance keys, and number of them that sign.
const GOVERNANCE: (usize, u32) = (3, 2);

/// Addresses of a member's node.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// Address at which the node listens.
    pub exchange: SocketAddr,
    /// Address that the register lists. It differs from `exchange` only if a relay stands between.
    pub announced: SocketAddr,
    metrics: SocketAddr,
}

/// A member whose home is ready to run.
pub struct Seat {
    /// Member that the home belongs to.
    pub member: Member,
    /// Home of the node.
    pub home: Home,
    /// Addresses of the node.
    pub ports: Ports,
}

/// Things that a member has made before the register lists it.
struct Made {
    member: Member,
    home: Home,
    ports: Ports,
    source: KeySource,
    keys: Vec<PublicKey>,
    anchor: Vec<u8>,
    revocation_list: String,
}

/// Sets up every member under `root`. `announced` returns the address that the register lists for a
/// member.
///
/// # Errors
///
/// [`DemoError`] if a file, a key or a certificate cannot be made.
pub fn set_up(
    root: &Path,
    members: Vec<Member>,
    announced: &(dyn Fn(&Member, SocketAddr) -> SocketAddr + Sync),
) -> Result<Vec<Seat>, DemoError> {
    let now = system_clock()();
    let ports = free_ports(members.len() * 2)?;
    let pairs = ports.chunks_exact(2).filter_map(|pair| match pair {
        [exchange, metrics] => Some((*exchange, *metrics)),
        [] | [_, ..] => None,
    });
    let seats: Vec<(Member, Ports)> = members
        .into_iter()
        .zip(pairs)
        .map(|(member, (exchange, metrics))| {
            let announced = announced(&member, exchange);
            let ports = Ports {
                exchange,
                announced,
                metrics,
            };
            (member, ports)
        })
        .collect();
    let made: Vec<Made> = seats
        .into_par_iter()
        .map(|(member, ports)| make(root, member, ports, now))
        .collect::<Result<_, _>>()?;
    let register = signed_register(&made, now)?;
    let lists: Vec<(String, String)> = made
        .iter()
        .map(|made| (made.member.node.to_string(), made.revocation_list.clone()))
        .collect();
    made.into_iter()
        .map(|made| furnish(made, &register, &lists))
        .collect()
}

/// Returns addresses with ports that nobody listens on now.
fn free_ports(count: usize) -> Result<Vec<SocketAddr>, DemoError> {
    let listeners = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(DemoError::Ports)?;
    listeners
        .iter()
        .map(|listener| listener.local_addr().map_err(DemoError::Ports))
        .collect()
}

/// Makes a member's keys and has the member's own authority certify its node.
fn make(root: &Path, member: Member, ports: Ports, now: Timestamp) -> Result<Made, DemoError> {
    let home = Home::new(root.join(member.node.as_str()));
    for folder in [
        home.folder().to_owned(),
        parent(&home.keys()),
        parent(&home.certificate()),
        home.revocation_lists(),
        home.register(),
        home.policy(),
        home.data(),
        root.join("secrets"),
    ] {
        files::create_folder(&folder)?;
    }
    // The passphrase lies outside the home, as `doctor` asks, and not beside the database that it
    // opens.
    let secret = root
        .join("secrets")
        .join(format!("{}.passphrase", member.node));
    files::create(&secret, random_text().as_bytes(), Access::Owner)?;
    let source = KeySource::PassphraseFile(secret);
    let keyring = Keyring::create(&home, &source)?;
    let now = jiff::Timestamp::from_millisecond(now.as_millis()).map_err(DemoError::Clock)?;
    let ca = DevelopmentAuthority::new(member.node.as_str(), now)?;
    let names = NodeNames::new(FEDERATION, member.node.as_str(), &member.dns_name())?;
    let request = certificate_request(
        &keyring,
        &member.dns_name().parse()?,
        &federation()?,
        &member.node,
    )?;
    let request = CertificateSigningRequestDer::from_pem_slice(request.as_bytes())?;
    drop(kept::create(&home, &keyring)?);
    let certificate = ca.sign_request(&request, &names, now)?;
    let pem = certificate_pem(&certificate);
    files::create(&home.certificate(), pem.as_bytes(), Access::Everyone)?;
    Ok(Made {
        keys: keyring.public_keys(),
        anchor: ca.certificate().to_vec(),
        revocation_list: revocation_list_pem(&ca.revocation_list(1, &[], now)?),
        member,
        home,
        ports,
        source,
    })
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}

/// Makes the first epoch, signed by as many governance keys as it requires.
fn signed_register(made: &[Made], now: Timestamp) -> Result<SignedRegister, DemoError> {
    let (count, threshold) = GOVERNANCE;
    let governance: Vec<SigningKey> = (0..count)
        .map(|_| {
            let mut seed = [0; 32];
            SystemEntropy::default().fill(&mut seed);
            SigningKey::from_seed(KeyUse::Governance, seed)
        })
        .collect();
    let register = Register {
        federation: federation()?,
        epoch: 1,
        previous: None,
        development: true,
        threshold,
        governance: governance.iter().map(SigningKey::public).collect(),
        freshness: FreshnessKeys::default(),
        authorities: made
            .iter()
            .map(|made| Ok((made.member.authority.clone(), authority(made)?)))
            .collect::<Result<_, DemoError>>()?,
        issued_at: now,
        former: std::collections::BTreeMap::new(),
    };
    let mut signed = SignedRegister::unsigned(&register)?;
    let needed = usize::try_from(threshold).unwrap_or(count);
    for key in governance.iter().take(needed) {
        signed.sign(key)?;
    }
    Ok(signed)
}

fn federation() -> Result<FederationId, DemoError> {
    Ok(FEDERATION.parse()?)
}

fn authority(made: &Made) -> Result<Authority, DemoError> {
    let Member {
        authority,
        node,
        name,
        kind,
        group,
        regime,
        communities,
        clients,
        office: _,
    } = &made.member;
    Ok(Authority {
        id: authority.clone(),
        name: name.clone(),
        kind: *kind,
        country: "KR".parse().map_err(|_| DemoError::Country)?,
        group: (*group).to_owned(),
        regime: *regime,
        communities: communities.clone(),
        clients: clients.clone(),
        nodes: vec![Node {
            id: node.clone(),
            dns_name: made.member.dns_name(),
            endpoint: made.ports.announced.to_string(),
            trust_anchor: made.anchor.clone(),
            keys: made
                .keys
                .iter()
                .cloned()
                .map(RegisteredKey::in_force)
                .collect(),
        }],
        contact: format!("duty officer, {name} (demo)"),
    })
}

/// Puts the register, the members' revocation lists and the configuration into a home.
fn furnish(
    made: Made,
    register: &SignedRegister,
    lists: &[(String, String)],
) -> Result<Seat, DemoError> {
    let home = made.home;
    let epoch = home.register().join("00000001.register");
    files::create(&epoch, &register.encode(), Access::Everyone)?;
    for (node, list) in lists {
        let path = home.revocation_lists().join(format!("{node}.crl"));
        files::create(&path, list.as_bytes(), Access::Everyone)?;
    }
    let text = config(&made.member, &made.ports, &made.source, register.digest());
    files::create(&home.config(), text.as_bytes(), Access::Owner)?;
    Ok(Seat {
        member: made.member,
        home,
        ports: made.ports,
    })
}

/// Seals the trust settings of a home with its keys, as `init` does.
pub(super) fn seal_settings(home: &Home) -> Result<(), DemoError> {
    let config = Config::load(&home.config())?;
    let facts = SealedFacts {
        recoveries: Vec::new(),
        first_administrator: None,
        accepted: Some(Accepted {
            serial: 1,
            settings: TrustSettings::found(home, &config)?,
        }),
    };
    Ok(Keyring::seal_facts(home, &config.key, &facts)?)
}

fn config(member: &Member, ports: &Ports, source: &KeySource, pin: Digest) -> String {
    let quoted = |text: &dyn std::fmt::Display| toml::Value::String(text.to_string()).to_string();
    let mut given = vec![
        ("federation", quoted(&FEDERATION)),
        ("authority", quoted(&member.authority)),
        ("node", quoted(&member.node)),
        ("dns_name", quoted(&member.dns_name())),
        ("listen", quoted(&ports.exchange)),
        ("register_pin", quoted(&pin)),
        ("metrics.listen", quoted(&ports.metrics)),
        ("dispatch.retry_first", quoted(&"200ms")),
        ("dispatch.retry_longest", quoted(&"2s")),
    ];
    if ports.announced != ports.exchange {
        // The log must show that a relay stands between, and what it did.
        given.push(("log.level", quoted(&"debug")));
    }
    if let KeySource::PassphraseFile(path) = source {
        given.push(("key.passphrase_file", quoted(&path.display())));
    }
    keys::render(&given)
}

//! Reads the facts of a node from its home. Changes nothing, and needs no running node.

use std::{
    collections::BTreeMap,
    io,
    num::NonZeroUsize,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use portcullis_policy::{Bundle, Engine};
use portcullis_protocol::{
    identifiers::AuthorityId,
    register::{Register, node_uri},
    time::Timestamp,
};
use rustls_pki_types::UnixTime;

use super::{
    CertificateFact, Exposed, Facts, KeysFact, Listed, NodeFacts, RegisterFact, RevocationFact,
    SocketFact,
};
use crate::{
    config::Config,
    exchange::certificate::{Marking, next_update},
    files,
    home::Home,
    keyring::{Keyring, KeyringError},
    membership::{ChainError, load_chain},
    runtime::{issued_by, policy_files, revocation_lists},
    secret::SecretError,
    setup::{self, CertificateFault, Own, PemError, check_certificate, read_certificates},
};

/// Reads what is known of the node in `home`.
#[must_use]
pub fn inspect(home: &Home, now: Timestamp) -> Facts {
    Facts {
        now,
        exposed: exposed(home),
        node: setup::load_config(home)
            .map(|config| node(home, &config, now))
            .map_err(|error| error.to_string()),
    }
}

/// What should be closed to others, as far as it is there.
fn exposed(home: &Home) -> Vec<Exposed> {
    let keys = home.keys();
    let key_folder = keys.parent().map(Path::to_owned).unwrap_or_default();
    let mut watched = vec![(key_folder, 0o700), (home.data(), 0o700), (keys, 0o600)];
    let stored = files::list_all(&home.data()).unwrap_or_default();
    watched.extend(stored.into_iter().map(|path| (path, 0o600)));
    watched
        .into_iter()
        .filter_map(|(path, should)| {
            let mode = files::mode(&path).ok()?;
            (mode & 0o077 != 0).then_some(Exposed { path, mode, should })
        })
        .collect()
}

fn node(home: &Home, config: &Config, now: Timestamp) -> NodeFacts {
    let keyring = Keyring::load(home, &config.key);
    let register = load_chain(home, &config.register_pin);
    let listed = register.as_ref().ok().map(|verified| verified.register());
    let certificate = match &keyring {
        Ok(keyring) => certificate(home, config, keyring, listed, now),
        Err(_) => CertificateFact::Unchecked,
    };
    NodeFacts {
        key_place: config.key.place(home.folder()).ok(),
        store: store(home),
        certificate,
        revocation: listed.map_or_else(|| Ok(Vec::new()), |register| revocation(home, register)),
        policy: policy(home),
        socket: socket(home),
        register: match &register {
            Ok(verified) => RegisterFact::Held {
                epoch: verified.register().epoch,
                issued_at: verified.register().issued_at,
                listed: listing(config, keyring.as_ref().ok(), verified.register()),
            },
            Err(ChainError::None(_)) => RegisterFact::Missing,
            Err(error @ (ChainError::File(_) | ChainError::Refused { .. })) => {
                RegisterFact::Refused(error.to_string())
            }
        },
        keys: keys(keyring),
    }
}

fn keys(keyring: Result<Keyring, KeyringError>) -> KeysFact {
    match keyring {
        Ok(_) => KeysFact::Open,
        Err(KeyringError::Secret(SecretError::NoCredential(_))) => KeysFact::OutOfReach,
        Err(error) => KeysFact::Closed(error.to_string()),
    }
}

/// Only whether the files are there: opening them is for the node, which may be running.
fn store(home: &Home) -> Result<(), String> {
    let there = |name: &&str| home.data().join(name).is_file();
    match ["store.db", "keys.db"].iter().find(|name| !there(name)) {
        None => Ok(()),
        Some(name) => Err(format!(
            "`{}` is not there",
            home.data().join(name).display()
        )),
    }
}

fn listing(config: &Config, keyring: Option<&Keyring>, register: &Register) -> Listed {
    let Some((authority, node)) = register.node(&config.node) else {
        return Listed::No;
    };
    let named = authority.id == config.authority
        && register.federation == config.federation
        && node.dns_name == config.dns_name.as_str();
    let has = |public| node.keys.iter().any(|key| key.public == public);
    // Keys that do not open are a finding of their own.
    let keyed = keyring.is_none_or(|keyring| keyring.public_keys().into_iter().all(has));
    if named && keyed {
        Listed::Yes
    } else {
        Listed::Otherwise
    }
}

fn certificate(
    home: &Home,
    config: &Config,
    keyring: &Keyring,
    register: Option<&Register>,
    now: Timestamp,
) -> CertificateFact {
    let chain = match read_certificates(&home.certificate()) {
        Ok(chain) => chain,
        Err(PemError::File(files::FileError::Missing { .. })) => return CertificateFact::Missing,
        Err(error) => return CertificateFact::Unfit(error.to_string()),
    };
    let own = Own {
        node: config.node.clone(),
        dns_name: config.dns_name.clone(),
        uri: node_uri(&config.federation, &config.node),
    };
    let listed = register.filter(|register| register.node(&config.node).is_some());
    match check_certificate(&chain, keyring.tls_key(), &own, listed, unix(now)) {
        Ok(certificate) => {
            let real = register.is_some_and(|register| !register.development);
            if real && certificate.marking() == Marking::Development {
                return CertificateFact::Development;
            }
            CertificateFact::Fit {
                ends: Timestamp::from_millis(certificate.not_after().as_millisecond()),
            }
        }
        Err(CertificateFault::Refused(crate::exchange::trust::Refusal::Development { .. })) => {
            CertificateFact::Development
        }
        Err(error) => CertificateFact::Unfit(error.to_string()),
    }
}

/// The time of certificates: whole seconds from 1970 on.
fn unix(now: Timestamp) -> UnixTime {
    let millis = u64::try_from(now.as_millis()).unwrap_or_default();
    UnixTime::since_unix_epoch(std::time::Duration::from_millis(millis))
}

/// For each authority the earliest renewal of the lists of its nodes' anchors.
fn revocation(home: &Home, register: &Register) -> Result<Vec<RevocationFact>, String> {
    let lists = revocation_lists(home).map_err(|error| error.to_string())?;
    let mut due: BTreeMap<AuthorityId, Option<Timestamp>> = BTreeMap::new();
    for (authority, node) in register.nodes() {
        let earliest = lists
            .iter()
            .filter(|list| issued_by(list, &node.trust_anchor))
            .filter_map(|list| next_update(list).ok())
            .map(|time| Timestamp::from_millis(time.as_millisecond()))
            .min();
        let entry = due.entry(authority.id.clone()).or_insert(earliest);
        *entry = match (*entry, earliest) {
            (Some(known), Some(found)) => Some(known.min(found)),
            (None, _) | (_, None) => None,
        };
    }
    Ok(due
        .into_iter()
        .map(|(authority, due)| RevocationFact { authority, due })
        .collect())
}

fn policy(home: &Home) -> Result<(), String> {
    let texts = policy_files(&home.policy()).map_err(|error| error.to_string())?;
    let bundle = Bundle::from_files(&texts).map_err(|error| error.to_string())?;
    Engine::new(bundle, NonZeroUsize::MIN)
        .map(drop)
        .map_err(|error| error.to_string())
}

fn socket(home: &Home) -> SocketFact {
    let path: PathBuf = home.socket();
    match UnixStream::connect(&path) {
        Ok(_) => SocketFact::Answers,
        Err(error) if error.kind() == io::ErrorKind::NotFound => SocketFact::Absent,
        Err(_) => SocketFact::Dead,
    }
}

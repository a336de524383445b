//! Reads the facts of a node from its home. It changes nothing and needs no running node.

use std::{
    collections::BTreeMap,
    io,
    num::NonZeroUsize,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use portcullis_policy::{Bundle, Engine};
use portcullis_protocol::{
    freshness::{Stage, fresh_until},
    identifiers::AuthorityId,
    keys::KeyUse,
    register::Register,
    time::Timestamp,
};

use super::{
    CertificateFact, Exposed, Facts, KeysFact, Listed, NodeFacts, RegisterFact, Revocation,
    RevocationFact, SettingsFact, SocketFact,
};
use crate::kept;
use portcullis_desk::Setup;
use portcullis_home::{
    Home,
    config::Config,
    files,
    keyring::{Keyring, KeyringError},
    membership::{ChainError, load_chain, load_epochs},
    own_certificate::{
        CertificateFault, Own, PemError, check_certificate, read_certificates, unix,
    },
    secret::SecretError,
    trust_settings::TrustSettings,
};
use portcullis_kernel::{
    disk::{Disk, Space},
    in_force::{anchors as anchors_of, policy_files},
    key_use::keys_in_use,
    outlook::{Dependency, Subject, ending_keys, freshness_ends, in_order},
    revocation::{FiledList, HomeLists},
};
use portcullis_peering::{
    certificate::{self, Marking},
    revocation::{Chosen, choose},
    term::Term,
};

/// Returns the facts of the node in `home`.
#[must_use]
pub fn inspect(home: &Home, now: Timestamp) -> Facts {
    Facts {
        now,
        exposed: exposed(home),
        node: Config::of(home)
            .map(|config| node(home, &config, now))
            .map_err(|error| error.to_string()),
    }
}

/// Returns the files and folders that exist, are open to others, and should not be.
fn exposed(home: &Home) -> Vec<Exposed> {
    let keys = home.keys();
    let key_folder = keys.parent().map(Path::to_owned).unwrap_or_default();
    let mut watched = vec![(key_folder, 0o700), (home.data(), 0o700), (keys, 0o600)];
    let stored = files::list_all(&home.data()).unwrap_or_default();
    watched.extend(stored.into_iter().map(|path| (path, 0o600)));
    let open = watched.into_iter().filter_map(|(path, should)| {
        let mode = files::mode(&path).ok()?;
        (mode & 0o077 != 0).then_some(Exposed { path, mode, should })
    });
    // Others need not see even the names of what lies in a home.
    let entered = files::mode(&home.config())
        .and_then(|_| files::mode(home.folder()))
        .ok()
        .filter(|mode| mode & 0o007 != 0 && mode & 0o022 == 0)
        .map(|mode| Exposed {
            path: home.folder().to_owned(),
            mode,
            should: mode & !0o007,
        });
    let exchangeable = files::exchangeable(home.folder()).into_iter();
    let full = std::fs::canonicalize(home.folder()).ok();
    let exchangeable = exchangeable.map(|(path, mode)| Exposed {
        // What lies above the home may be there for everybody to enter.
        should: if full.as_ref() == Some(&path) {
            mode & !0o027
        } else {
            mode & !0o022
        },
        path,
        mode,
    });
    exchangeable.chain(entered).chain(open).collect()
}

fn node(home: &Home, config: &Config, now: Timestamp) -> NodeFacts {
    let keyring = Keyring::load(home, &config.key);
    let register = load_chain(home, &config.register_pin);
    let listed = register.as_ref().ok().map(|verified| verified.register());
    let certificate = match &keyring {
        Ok(keyring) => certificate(home, config, keyring, listed, now),
        Err(_) => CertificateFact::Unchecked,
    };
    let revocation = listed.map_or_else(Revocation::default, |register| {
        revocation(home, config, register, now)
    });
    let own = register.as_ref().ok();
    let freshness = Stage::at(own.and_then(|verified| fresh_until(verified, None)), now);
    NodeFacts {
        dependencies: in_order(
            own_certificate(&certificate)
                .into_iter()
                .chain(listed.into_iter().flat_map(|register| {
                    let own = register.node(&config.node).map(|(_, node)| node);
                    own.into_iter().flat_map(|node| ending_keys(node, now))
                }))
                .chain(listed.into_iter().flat_map(anchors))
                .chain(lists(&revocation.authorities))
                .chain(freshness_ends(freshness)),
        ),
        freshness,
        space: space(home, config),
        hindered: Vec::new(),
        keys_waiting: keys_waiting(config, keyring.as_ref().ok(), listed, now),
        last_backup: None,
        checked: None,
        reported: Vec::new(),
        key_place: config.key.place(home.folder()).ok(),
        store: store(home, keyring.as_ref().ok()),
        certificate,
        revocation,
        policy: policy(home),
        unread: files::unread(&home.policy(), "cedar").unwrap_or_default(),
        schema: Setup::load(home.folder())
            .map(drop)
            .map_err(|error| error.to_string()),
        too_long_by: home.too_long_by(),
        settings: settings(home, config, keyring.as_ref().ok()),
        socket: socket(home),
        register: match &register {
            Ok(verified) => RegisterFact::Held {
                epoch: verified.register().epoch,
                issued_at: verified.register().issued_at,
                listed: listing(config, keyring.as_ref().ok(), verified.register(), now),
            },
            Err(ChainError::None(_)) => RegisterFact::Missing,
            Err(error @ (ChainError::File(_) | ChainError::Refused { .. })) => {
                RegisterFact::Refused(error.to_string())
            }
        },
        keys: keys(keyring),
    }
}

/// Returns the uses of newer keys that the register does not list yet.
fn keys_waiting(
    config: &Config,
    keyring: Option<&Keyring>,
    register: Option<&Register>,
    now: Timestamp,
) -> Vec<KeyUse> {
    let own = register.and_then(|register| register.node(&config.node));
    let (Some(keyring), Some((_, node))) = (keyring, own) else {
        return Vec::new();
    };
    let keys = keys_in_use(keyring, Some(node), now).into_iter();
    let waiting = keys.filter(|key| key.waits.is_some());
    waiting.map(|key| key.usage).collect()
}

fn settings(home: &Home, config: &Config, keyring: Option<&Keyring>) -> SettingsFact {
    let Some(keyring) = keyring else {
        return SettingsFact::Unchecked;
    };
    let Some(accepted) = &keyring.facts().accepted else {
        return SettingsFact::Unsealed;
    };
    let changes: Vec<String> = match TrustSettings::found(home, config) {
        Ok(found) => accepted
            .settings
            .changes(&found)
            .iter()
            .map(ToString::to_string)
            .collect(),
        Err(error) => vec![error.to_string()],
    };
    if changes.is_empty() {
        SettingsFact::Accepted
    } else {
        SettingsFact::Changed(changes)
    }
}

fn space(home: &Home, config: &Config) -> Option<Space> {
    let disk = Disk {
        folder: home.data(),
        reserve: config.disk_reserve,
    };
    disk.space().ok()
}

fn own_certificate(fact: &CertificateFact) -> Option<Dependency> {
    match fact {
        CertificateFact::Fit { term } => Some(Dependency::lasting(Subject::Certificate, *term)),
        CertificateFact::Missing
        | CertificateFact::Unchecked
        | CertificateFact::Unfit(_)
        | CertificateFact::Development => None,
    }
}

fn anchors(register: &Register) -> impl Iterator<Item = Dependency> {
    register.nodes().filter_map(|(_, node)| {
        let term = certificate::term(&node.trust_anchor.as_slice().into()).ok()?;
        Some(Dependency::lasting(Subject::Anchor(node.id.clone()), term))
    })
}

fn lists(facts: &[RevocationFact]) -> impl Iterator<Item = Dependency> {
    facts.iter().filter_map(|fact| {
        let subject = Subject::RevocationList(fact.authority.clone());
        Some(Dependency::lasting(subject, fact.term?))
    })
}

fn keys(keyring: Result<Keyring, KeyringError>) -> KeysFact {
    match keyring {
        Ok(_) => KeysFact::Open,
        Err(KeyringError::Secret(SecretError::NoCredential(_))) => KeysFact::OutOfReach,
        Err(error) => KeysFact::Closed(error.to_string()),
    }
}

/// Checks that the files exist, and that the keys would open them. Opening them is left to the node,
/// which may be running.
fn store(home: &Home, keyring: Option<&Keyring>) -> Result<(), String> {
    let names = ["store.db", "keys.db"];
    let denied = names.iter().find(|name| {
        let found = std::fs::metadata(home.data().join(name));
        found.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    });
    if let Some(name) = denied {
        return Err(format!(
            "this user may not look at `{}`; run `portcullis doctor` as the user to whom the home belongs",
            home.data().join(name).display()
        ));
    }
    let there = |name: &&str| home.data().join(name).is_file();
    match names.iter().find(|name| !there(name)) {
        None => keyring.map_or(Ok(()), |keyring| would_open(home, keyring)),
        Some(name) => Err(format!(
            "`{}` is not there; restore `data/` from a backup: a node that lost its store must not go on with an empty one",
            home.data().join(name).display()
        )),
    }
}

/// Returns what the keys and the store say of each other. Files that cannot be looked at are the
/// node's to tell of.
fn would_open(home: &Home, keyring: &Keyring) -> Result<(), String> {
    match kept::look(home, keyring) {
        Err(error) if !error.is_of_the_engine() => Err(error.to_string()),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn listing(
    config: &Config,
    keyring: Option<&Keyring>,
    register: &Register,
    now: Timestamp,
) -> Listed {
    let Some((authority, node)) = register.node(&config.node) else {
        return Listed::No;
    };
    let named = authority.id == config.authority
        && register.federation == config.federation
        && node.dns_name == config.dns_name.as_str();
    // Keys that do not open have a finding of their own. A key that is not listed yet is no fault.
    let keyed = keyring.is_none_or(|keyring| {
        let signs = |usage| {
            let id = keyring.signing(usage, Some(node), now).id();
            let mut listed = node.keys.iter().filter(|key| key.signs_at(now));
            listed.any(|key| key.public.id() == id)
        };
        let uses = [KeyUse::Sealing, KeyUse::Hop, KeyUse::Log];
        keyring.has_all(node, now) && uses.into_iter().all(signs)
    });
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
    let own = Own::of(config);
    let listed = register.filter(|register| register.node(&config.node).is_some());
    match check_certificate(&chain, keyring.tls_key(&chain), &own, listed, unix(now)) {
        Ok(certificate) => {
            let real = register.is_some_and(|register| !register.development);
            if real && certificate.marking() == Marking::Development {
                return CertificateFact::Development;
            }
            CertificateFact::Fit {
                term: certificate.term(),
            }
        }
        Err(CertificateFault::Refused(portcullis_peering::trust::Refusal::Development {
            ..
        })) => CertificateFact::Development,
        Err(error) => CertificateFact::Unfit(error.to_string()),
    }
}

/// Returns for each authority the term of the revocation list that ends first among those that count
/// for its nodes' anchors, and the files beside them. An authority has no term if one of these
/// anchors has no list.
fn revocation(home: &Home, config: &Config, register: &Register, now: Timestamp) -> Revocation {
    let epochs = load_epochs(home, &config.register_pin).unwrap_or_default();
    let epochs = epochs.iter().map(|epoch| epoch.register());
    let HomeLists {
        lists,
        faults,
        ignored,
    } = HomeLists::read(home, &anchors_of(epochs.chain([register])));
    let (needed, left): (Vec<FiledList>, Vec<FiledList>) = lists.into_iter().partition(|filed| {
        let mut nodes = register.nodes();
        nodes.any(|(_, node)| filed.list.is_issued_by(&node.trust_anchor))
    });
    let Chosen { counting, older } = choose(needed, |filed| &filed.list);
    let mut terms: BTreeMap<AuthorityId, Option<Term>> = BTreeMap::new();
    for (authority, node) in register.nodes() {
        let earliest = counting
            .iter()
            .filter(|filed| filed.list.is_issued_by(&node.trust_anchor))
            .map(|filed| filed.list.term())
            .min_by_key(|term| term.until);
        let entry = terms.entry(authority.id.clone()).or_insert(earliest);
        *entry = match (*entry, earliest) {
            (Some(known), Some(found)) if known.until <= found.until => Some(known),
            (Some(_), Some(found)) => Some(found),
            (None, _) | (_, None) => None,
        };
    }
    let authorities = terms.into_iter();
    let older = older.iter().map(|filed| {
        let path = filed.path.display();
        let ended = if filed.list.term().until < now {
            "an ended and"
        } else {
            "an"
        };
        format!("`{path}` holds {ended} older list of an issuer whose newer one counts; remove it")
    });
    let left = left.iter().map(|filed| {
        let path = filed.path.display();
        format!("`{path}` holds a list of an authority that is no member any more; remove it")
    });
    let ignored = ignored.iter().map(|path| {
        let path = path.display();
        format!("`{path}` is not read; give it a name that ends in `.crl`, or remove it")
    });
    Revocation {
        authorities: authorities
            .map(|(authority, term)| RevocationFact { authority, term })
            .collect(),
        faults: faults.iter().map(ToString::to_string).collect(),
        idle: older.chain(left).chain(ignored).collect(),
    }
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

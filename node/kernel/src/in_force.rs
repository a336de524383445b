//! State that a reload replaces, loaded from the home and checked whole: register, policy, own
//! certificate, and the facts about peers from the register and the revocation lists.
//!
//! A home that lacks epochs which the store has seen is refused (RG-10): otherwise a removed member
//! would come back when somebody removes the newest epoch file.

use crate::{
    decide::{Decider, DeciderError},
    revocation::{FiledList, HomeLists, ListFault},
};
use portcullis_home::{
    Home,
    config::{Config, ConfigError},
    files::{self, FileError},
    keyring::{Keyring, KeyringError},
    membership::{ChainError, load_epochs},
    own_certificate::{CertificateFault, read_certificates},
};
use portcullis_peering::{
    certificate::Marking,
    identity::{IdentityError, OwnIdentity},
    revocation::RevocationList,
    trust::{DevelopmentCertificates, PeerFacts, PeerTrust, TrustError},
};
use portcullis_policy::{Bundle, Engine, PolicyError};
use portcullis_protocol::{
    identifiers::NodeId,
    register::{Archive, Register, SignedRegister, VerifiedRegister},
};
use portcullis_store::{StoreError, Write};
use rustls_pki_types::CertificateDer;
use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

/// Policy decisions that are remembered, about 1 KiB each.
const MEMO: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// A home's content cannot be put in force. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The keys do not load.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The register does not load.
    #[error(transparent)]
    Register(#[from] ChainError),
    /// The register and this node do not fit together.
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
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The certificate is of the development PKI, and the federation is not for development
    /// (RG-09).
    #[error(
        "RG-09: this node's certificate is a worthless development one, and the register is of a real federation; have the authority's own CA sign `tls/csr.pem`"
    )]
    DevelopmentCertificate,
    /// The newest register in the home is older than the one in force.
    #[error(
        "RG-04: the newest register in the home is epoch {found}, epoch {present} is in force; put the missing epochs back"
    )]
    Older {
        /// Epoch in the home.
        found: u64,
        /// Epoch in force.
        present: u64,
    },
    /// The home lacks epochs that this node has seen (RG-10).
    #[error(
        "RG-10: the newest register in the home is epoch {found}, this node has seen epoch {seen}; put the missing epochs back into `register/`, or fetch them from a member and apply them"
    )]
    RolledBack {
        /// Newest epoch in the home.
        found: u64,
        /// Newest epoch seen.
        seen: u64,
    },
    /// The home holds a different register than this node has seen under the same epoch.
    #[error(
        "RG-05: epoch {epoch} in the home is another one than this node has seen before; someone signed a fork: call the governance"
    )]
    Forked {
        /// Number of the epoch.
        epoch: u64,
    },
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A part of the configuration changed that is read at start only.
    #[error("`{}`: {keys} changed, which needs a restart", path.display())]
    NeedsRestart {
        /// The file.
        path: PathBuf,
        /// Keys or sections that changed.
        keys: String,
    },
    /// Trust settings changed that nobody accepted.
    #[error(
        "settings changed that nobody accepted: {changes}; look at them with `portcullis settings show`, then have an administrator accept them with `portcullis settings accept`, or put them back"
    )]
    Unaccepted {
        /// Settings that changed, old and new.
        changes: String,
    },
    /// Other settings are to be accepted than those that lie in the home.
    #[error(
        "the settings in the home are not those that were signed for; look at them again with `portcullis settings show`"
    )]
    OtherSettings,
    /// The certificate is one that no peer would believe.
    #[error("`{}`: {fault}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// The fault.
        #[source]
        fault: Box<CertificateFault>,
    },
    /// The work was cut short.
    #[error("the work was cut short; try again")]
    CutShort,
    /// A folder cannot be read.
    #[error("`{path}` cannot be read: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A revocation list does not hold.
    #[error(transparent)]
    RevocationList(#[from] ListFault),
}

/// State that a reload replaces, loaded and checked whole.
pub struct InForce {
    /// The register and the policy.
    pub decider: Decider,
    /// Facts of the register and the revocation lists about the peers.
    pub trust: PeerTrust,
    /// This node's certificate and its key.
    pub identity: OwnIdentity,
    /// Every epoch in the home.
    pub epochs: Vec<SignedRegister>,
}

impl InForce {
    /// Loads what is in a home and checks it whole.
    ///
    /// # Errors
    ///
    /// [`LoadError`] names what does not load and what to do.
    pub fn load(home: &Home, config: &Config, keyring: &Keyring) -> Result<Self, LoadError> {
        let chain = load_epochs(home, &config.register_pin)?;
        let epochs = chain.iter().map(|epoch| epoch.signed().clone()).collect();
        let anchors = anchors(chain.iter().map(VerifiedRegister::register));
        let archive = Archive::of(chain.iter().map(VerifiedRegister::register));
        let register = newest(home, chain)?;
        let identity = own_identity(home, keyring, register.register())?;
        let lists = sound_lists(home, &anchors)?;
        let trust = peer_trust(register.register(), lists.iter().map(|filed| &filed.list))?;
        let decider = decider(home, config, register)?.with_archive(archive);
        Ok(Self {
            decider,
            trust,
            identity,
            epochs,
        })
    }
}

fn newest(home: &Home, mut chain: Vec<VerifiedRegister>) -> Result<VerifiedRegister, LoadError> {
    Ok(chain
        .pop()
        .ok_or_else(|| portcullis_home::membership::ChainError::None(home.register()))?)
}

/// The epochs of the home that the store has not seen, after comparing those that it has.
///
/// # Errors
///
/// [`LoadError::RolledBack`] if the store has seen more, [`LoadError::Forked`] if it has seen
/// another one.
pub fn missing_epochs(
    held: &[SignedRegister],
    seen: &[SignedRegister],
) -> Result<Vec<SignedRegister>, LoadError> {
    for (epoch, (held, seen)) in (1..).zip(held.iter().zip(seen)) {
        if held.digest() != seen.digest() {
            return Err(LoadError::Forked { epoch });
        }
    }
    match held.get(seen.len()..) {
        Some(missing) => Ok(missing.to_vec()),
        None => Err(LoadError::RolledBack {
            found: held.len() as u64,
            seen: seen.len() as u64,
        }),
    }
}

/// Reads an epoch that was verified before it was stored.
pub fn read_register(kept: &SignedRegister) -> Option<Register> {
    kept.unverified().ok()
}

/// Makes the write for nodes that become peers. They begin with records that are logged from now
/// on; older records reach them only by a backfill.
pub fn meeting(before: Option<&Register>, next: &Register) -> Option<Write> {
    let nodes = next.nodes().map(|(_, node)| node.id.clone());
    let new: Vec<NodeId> = nodes
        .filter(|id| before.is_none_or(|before| before.node(id).is_none()))
        .collect();
    (!new.is_empty()).then_some(Write::Meet(new))
}

fn decider(home: &Home, config: &Config, register: VerifiedRegister) -> Result<Decider, LoadError> {
    for name in files::unread(&home.policy(), "cedar").unwrap_or_default() {
        tracing::warn!(
            name,
            "a file in `policy/` is not read; a policy's file ends in `.cedar`"
        );
    }
    let bundle = Bundle::from_files(&policy_files(&home.policy())?)?;
    let engine = Engine::new(bundle, MEMO)?;
    Ok(Decider::new(register, engine, config.authority.clone())?)
}

fn own_identity(
    home: &Home,
    keyring: &Keyring,
    register: &Register,
) -> Result<OwnIdentity, LoadError> {
    let unfit = |fault: CertificateFault| LoadError::Certificate {
        path: home.certificate(),
        fault: Box::new(fault),
    };
    let chain = read_certificates(&home.certificate()).map_err(|error| unfit(error.into()))?;
    let key = keyring.tls_key(&chain);
    let identity = OwnIdentity::new(chain, key).map_err(|error| unfit(error.into()))?;
    if identity.certificate().marking() == Marking::Development && !register.development {
        return Err(LoadError::DevelopmentCertificate);
    }
    Ok(identity)
}

/// The policies of a folder: every `*.cedar` file by name; no folder is no policy of one's own.
///
/// # Errors
///
/// [`LoadError::Folder`] if folder or file cannot be read.
pub fn policy_files(folder: &Path) -> Result<BTreeMap<String, String>, LoadError> {
    files_named(folder, "cedar")?
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).map_err(|source| LoadError::Folder {
                path: path.clone(),
                source,
            })?;
            let name = path.file_name().unwrap_or_default();
            Ok((name.to_string_lossy().into_owned(), text))
        })
        .collect()
}

/// Lists the files of a folder with this extension, sorted by name. Returns none if there is no
/// folder.
fn files_named(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, LoadError> {
    let failed = |source| LoadError::Folder {
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

/// Builds the trust in peers from the register and from revocation lists that anchors issued. A
/// list counts for each node whose trust anchor issued it.
///
/// # Errors
///
/// [`LoadError::Trust`] if the register's facts do not hold together.
pub fn peer_trust<'a>(
    register: &Register,
    lists: impl IntoIterator<Item = &'a RevocationList>,
) -> Result<PeerTrust, LoadError> {
    let lists: Vec<&RevocationList> = lists.into_iter().collect();
    let facts: Vec<PeerFacts> = register
        .nodes()
        .map(|(_, node)| PeerFacts {
            node: node.id.clone(),
            dns_name: node.dns_name.clone(),
            uri: node.uri(&register.federation),
            trust_anchor: CertificateDer::from(node.trust_anchor.clone()),
            revocation_lists: lists
                .iter()
                .filter(|list| list.is_issued_by(&node.trust_anchor))
                .map(|list| list.der().clone())
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

/// Lists the trust anchors of these epochs, each once.
pub fn anchors<'a>(registers: impl IntoIterator<Item = &'a Register>) -> Vec<Vec<u8>> {
    let anchors: BTreeSet<&[u8]> = registers
        .into_iter()
        .flat_map(Register::nodes)
        .map(|(_, node)| node.trust_anchor.as_slice())
        .collect();
    anchors.into_iter().map(<[u8]>::to_vec).collect()
}

/// Reads the revocation lists of a home, all of which must hold.
fn sound_lists(home: &Home, anchors: &[Vec<u8>]) -> Result<Vec<FiledList>, LoadError> {
    let HomeLists { lists, faults, .. } = HomeLists::read(home, anchors);
    match faults.into_iter().next() {
        Some(fault) => Err(fault.into()),
        None => Ok(lists),
    }
}

#[cfg(test)]
mod tests {
    use portcullis_protocol::rules::Rule;

    use super::*;
    use portcullis_testbed::governance::Governance;

    /// Makes three epochs, and a different third one.
    fn epochs() -> ([SignedRegister; 3], SignedRegister) {
        let governance = Governance::new();
        let first = governance.next(None);
        let second = governance.next(Some(&first));
        let third = governance.next(Some(&second));
        let fork = governance.signed(&governance.epoch(Some(&second), 9_999), &[0, 1]);
        ([first, second, third], fork)
    }

    #[test]
    fn rg_10_a_home_without_its_newest_epoch_is_refused() {
        let (all, _) = epochs();
        let refused = missing_epochs(&all[..2], &all).unwrap_err();
        assert!(matches!(
            refused,
            LoadError::RolledBack { found: 2, seen: 3 }
        ));
        assert!(refused.to_string().starts_with(Rule::RolledBack.id()));
        assert!(missing_epochs(&[], &all[..1]).is_err());
    }

    #[test]
    fn another_epoch_than_the_one_seen_is_refused() {
        let (all, fork) = epochs();
        let forked = [all[0].clone(), all[1].clone(), fork];
        let refused = missing_epochs(&forked, &all);
        assert!(matches!(refused, Err(LoadError::Forked { epoch: 3 })));
    }

    #[test]
    fn epochs_that_the_store_has_not_seen_are_kept() {
        let (all, _) = epochs();
        assert_eq!(missing_epochs(&all, &all[..1]).unwrap(), all[1..]);
        assert_eq!(missing_epochs(&all, &all).unwrap(), []);
        assert_eq!(missing_epochs(&all, &[]).unwrap(), all);
    }
}

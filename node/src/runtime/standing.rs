//! What a reload replaces, loaded from the home and checked whole: register, policy, own
//! certificate, and what the register and the revocation lists say of the peers.
//!
//! Refuses a home that lacks epochs which the store has seen (RG-10): who removes the newest epoch
//! file would bring a removed member back.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use portcullis_policy::{Bundle, Engine};
use portcullis_protocol::{
    identifiers::NodeId,
    register::{Archive, Register, SignedRegister, VerifiedRegister},
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject};

use super::StartError;
use crate::{
    config::Config,
    decide::Decider,
    exchange::{
        certificate::Marking,
        identity::OwnIdentity,
        trust::{DevelopmentCertificates, PeerFacts, PeerTrust},
    },
    home::Home,
    keyring::Keyring,
    membership::load_epochs,
    setup::{CertificateFault, read_certificates},
    store::Write,
};

/// Answers of policy that are remembered, about 1 KiB each.
const MEMO: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// What a reload replaces, loaded and checked whole.
pub(super) struct Standing {
    pub(super) decider: Decider,
    pub(super) trust: PeerTrust,
    pub(super) identity: OwnIdentity,
    /// Every epoch in the home.
    pub(super) epochs: Vec<SignedRegister>,
}

impl Standing {
    pub(super) fn load(
        home: &Home,
        config: &Config,
        keyring: &Keyring,
    ) -> Result<Self, StartError> {
        let chain = load_epochs(home, &config.register_pin)?;
        let epochs = chain.iter().map(|epoch| epoch.signed().clone()).collect();
        let archive = Archive::of(chain.iter().map(VerifiedRegister::register));
        let register = newest(home, chain)?;
        let identity = own_identity(home, keyring, register.register())?;
        let trust = peer_trust(home, register.register())?;
        let decider = decider(home, config, register)?.with_archive(archive);
        Ok(Self {
            decider,
            trust,
            identity,
            epochs,
        })
    }
}

fn newest(home: &Home, mut chain: Vec<VerifiedRegister>) -> Result<VerifiedRegister, StartError> {
    Ok(chain
        .pop()
        .ok_or_else(|| crate::membership::ChainError::None(home.register()))?)
}

/// The epochs of the home that the store has not seen, after comparing those that it has.
///
/// # Errors
///
/// [`StartError::RolledBack`] if the store has seen more, [`StartError::Forked`] if it has seen
/// another one.
pub(super) fn missing_epochs(
    held: &[SignedRegister],
    seen: &[SignedRegister],
) -> Result<Vec<SignedRegister>, StartError> {
    for (epoch, (held, seen)) in (1..).zip(held.iter().zip(seen)) {
        if held.digest() != seen.digest() {
            return Err(StartError::Forked { epoch });
        }
    }
    match held.get(seen.len()..) {
        Some(missing) => Ok(missing.to_vec()),
        None => Err(StartError::RolledBack {
            found: held.len() as u64,
            seen: seen.len() as u64,
        }),
    }
}

/// An epoch that was verified before it was kept.
pub(super) fn read_register(kept: &SignedRegister) -> Option<Register> {
    kept.unverified().ok()
}

/// What is written when nodes are peers that were not: they begin with what comes from now on.
/// What is older they are sent by a backfill alone.
pub(super) fn meeting(before: Option<&Register>, next: &Register) -> Option<Write> {
    let nodes = next.nodes().map(|(_, node)| node.id.clone());
    let new: Vec<NodeId> = nodes
        .filter(|id| before.is_none_or(|before| before.node(id).is_none()))
        .collect();
    (!new.is_empty()).then_some(Write::Meet(new))
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
    home: &Home,
    keyring: &Keyring,
    register: &Register,
) -> Result<OwnIdentity, StartError> {
    let unfit = |fault: CertificateFault| StartError::Certificate {
        path: home.certificate(),
        fault: Box::new(fault),
    };
    let chain = read_certificates(&home.certificate()).map_err(|error| unfit(error.into()))?;
    let key = keyring.tls_key(&chain);
    let identity = OwnIdentity::new(chain, key).map_err(|error| unfit(error.into()))?;
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
pub(super) fn peer_trust(home: &Home, register: &Register) -> Result<PeerTrust, StartError> {
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

#[cfg(test)]
mod tests {
    use portcullis_protocol::rules::Rule;

    use super::*;
    use crate::membership::testbed::Governance;

    /// Three epochs, and another third one.
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
            StartError::RolledBack { found: 2, seen: 3 }
        ));
        assert!(refused.to_string().starts_with(Rule::RolledBack.id()));
        assert!(missing_epochs(&[], &all[..1]).is_err());
    }

    #[test]
    fn another_epoch_than_the_one_seen_is_refused() {
        let (all, fork) = epochs();
        let forked = [all[0].clone(), all[1].clone(), fork];
        let refused = missing_epochs(&forked, &all);
        assert!(matches!(refused, Err(StartError::Forked { epoch: 3 })));
    }

    #[test]
    fn epochs_that_the_store_has_not_seen_are_kept() {
        let (all, _) = epochs();
        assert_eq!(missing_epochs(&all, &all[..1]).unwrap(), all[1..]);
        assert_eq!(missing_epochs(&all, &all).unwrap(), []);
        assert_eq!(missing_epochs(&all, &[]).unwrap(), all);
    }
}

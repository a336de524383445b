//! Keys of the node, one for each use, in one file that is sealed under the node's passphrase.
//!
//! The keys are made once, by `portcullis init`, from the operating system's random numbers. They
//! are not made if keys exist already, not read if others can read the file, and never printed.
//!
//! `content` says what is sealed. Keys that replace the first ones later lie beside that file
//! (`rotated`).

mod content;
mod facts;
mod kinds;
mod reseal;
mod rotated;
mod store_key;

use std::{fmt, sync::Arc};

use portcullis_protocol::{
    keys::{KeyId, KeyUse, PublicKey, SigningKey},
    register::Node,
    time::Timestamp,
};
use rcgen::KeyPair;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

pub use self::facts::{Accepted, FirstAdministrator, SealedFacts, SealedRecovery};
pub use self::kinds::{KeyringError, Rotatable};
pub use self::store_key::{Binding, BindingStep, StoreKey};
use self::{
    content::{Content, after, fresh, seed, with_facts},
    kinds::{SEED, agreement_public, tls_pair},
    rotated::Rotated,
};
use crate::{
    Home,
    files::{self, Access, FileError},
    secret::{self, KeySource, Passphrase},
};
use portcullis_peering::identity::OwnIdentity;

const HOLDS: &str = "node keys";

/// Keys of a node. They are wiped from memory when they are dropped, and are never printed.
pub struct Keyring {
    /// First sealing key; [`Self::signing`] returns the one that seals records now.
    pub sealing: Arc<SigningKey>,
    /// First hop key, for deliveries and receipts.
    pub hop: Arc<SigningKey>,
    /// First log key, for checkpoints of the audit log.
    pub log: Arc<SigningKey>,
    /// Key that opens the store.
    pub store: StoreKey,
    agreement: Zeroizing<[u8; SEED]>,
    agreement_public: PublicKey,
    tls: Zeroizing<Vec<u8>>,
    facts: SealedFacts,
    /// Keys made later, the oldest first.
    rotated: Vec<Rotated>,
}

impl Keyring {
    /// Makes the keys of a new node and writes them to its home, sealed under the node's
    /// passphrase.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Exists`] if there are keys already; nothing is written in that case.
    pub fn create(home: &Home, source: &KeySource) -> Result<Self, KeyringError> {
        Self::create_with(home, source, &SealedFacts::default())
    }

    /// As [`Self::create`], with facts that lie sealed beside the keys.
    ///
    /// # Errors
    ///
    /// [`KeyringError`] as for [`Self::create`].
    pub fn create_with(
        home: &Home,
        source: &KeySource,
        facts: &SealedFacts,
    ) -> Result<Self, KeyringError> {
        let content = fresh(facts)?;
        let keyring = Self::parse(&content)?;
        let text = secret::seal(&source.chosen()?, HOLDS, None, &content)?;
        match files::create(&home.keys(), text.as_bytes(), Access::Owner) {
            Ok(()) => Ok(keyring),
            Err(FileError::Exists { path }) => {
                Err(KeyringError::Exists(path.display().to_string()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the keys of a node.
    ///
    /// # Errors
    ///
    /// [`KeyringError`] if there are no keys or they do not open; its message says what to do.
    pub fn load(home: &Home, source: &KeySource) -> Result<Self, KeyringError> {
        Self::open(home, &source.read()?)
    }

    /// As [`Self::load`], with a passphrase that is already read.
    ///
    /// # Errors
    ///
    /// [`KeyringError`] as for [`Self::load`].
    pub fn open(home: &Home, passphrase: &Passphrase) -> Result<Self, KeyringError> {
        let sealed = match files::read_secret(&home.keys()) {
            Ok(sealed) => sealed,
            Err(FileError::Missing { path }) => {
                return Err(KeyringError::NoKeys(path.display().to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        let text = String::from_utf8_lossy(&sealed);
        let mut keyring = Self::parse(&secret::open(passphrase, HOLDS, &text)?)?;
        keyring.rotated = rotated::load(home, passphrase)?;
        Ok(keyring)
    }

    /// Seals the same keys with other facts beside them.
    ///
    /// # Errors
    ///
    /// [`KeyringError`] if the keys do not open or cannot be written; they are as they were then.
    pub fn seal_facts(
        home: &Home,
        source: &KeySource,
        facts: &SealedFacts,
    ) -> Result<(), KeyringError> {
        replace(home, source, |present| with_facts(present, facts))
    }

    /// Seals the same keys with the next state of the binding of the store's key table.
    ///
    /// # Errors
    ///
    /// [`KeyringError`] if the keys do not open or cannot be written; they are as they were then.
    pub fn step_binding(
        home: &Home,
        source: &KeySource,
        step: BindingStep,
    ) -> Result<(), KeyringError> {
        replace(home, source, |present| after(present, step))
    }

    /// Seals all keys of a home under another passphrase: all of them in one step on the disk.
    ///
    /// # Errors
    ///
    /// [`KeyringError`] if a file does not open, or the folder cannot be exchanged. The keys are as
    /// they were then.
    pub fn change_passphrase(
        home: &Home,
        present: &Passphrase,
        next: &Passphrase,
    ) -> Result<(), KeyringError> {
        // All of it opens, or nothing is written.
        Self::open(home, present)?;
        reseal::folder(&rotated::folder(home), present, next)
    }

    /// Makes a key for this use beside the present one and returns its public half; `None` for a
    /// TLS key. If the newest key is not listed in the register yet, it is returned instead of a
    /// new one.
    ///
    /// # Errors
    ///
    /// [`KeyringError`] if the key cannot be made; nothing is written in that case.
    pub fn rotate(
        &mut self,
        home: &Home,
        source: &KeySource,
        usage: Rotatable,
        listed: &Node,
    ) -> Result<Option<PublicKey>, KeyringError> {
        let Some(use_listed) = usage.listed() else {
            return self.rotate_tls(home, source).map(|()| None);
        };
        let newest = self.newest(use_listed);
        let known = |id: KeyId| listed.keys.iter().any(|key| key.public.id() == id);
        if !known(newest.id()) {
            return Ok(Some(newest));
        }
        let made = rotated::create(home, &source.read()?, usage)?;
        self.rotated.push(made);
        Ok(Some(self.newest(use_listed)))
    }

    /// Makes a TLS key, unless the newest one still waits for its certificate.
    fn rotate_tls(&mut self, home: &Home, source: &KeySource) -> Result<(), KeyringError> {
        let shown = match files::read(&home.certificate()) {
            Ok(chain) => chain,
            // Without a certificate, the present key waits for its first one.
            Err(FileError::Missing { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let pem = self.tls_key_pem()?;
        if OwnIdentity::from_pem(&shown, pem.as_bytes()).is_ok() {
            let made = rotated::create(home, &source.read()?, Rotatable::Tls)?;
            self.rotated.push(made);
        }
        Ok(())
    }

    /// Returns the key of this use that signs under this listing: the newest one that is listed and
    /// has not ended, or the first one if there is none.
    #[must_use]
    pub fn signing(&self, usage: KeyUse, listed: Option<&Node>, now: Timestamp) -> Arc<SigningKey> {
        let signs = |key: &&Arc<SigningKey>| {
            let mut listed = listed.into_iter().flat_map(|node| &node.keys);
            listed.any(|listed| listed.public.id() == key.id() && listed.signs_at(now))
        };
        let newest = self.made_for(usage).find(signs);
        Arc::clone(newest.unwrap_or_else(|| self.first(usage)))
    }

    /// Returns the public keys to be listed: the newest for each use.
    #[must_use]
    pub fn public_keys(&self) -> Vec<PublicKey> {
        [KeyUse::Sealing, KeyUse::Hop, KeyUse::Log, KeyUse::Agreement]
            .map(|usage| self.newest(usage))
            .into()
    }

    /// Returns the newest signing keys, for a membership request.
    #[must_use]
    pub fn signing_keys(&self) -> [Arc<SigningKey>; 3] {
        [KeyUse::Sealing, KeyUse::Hop, KeyUse::Log].map(|usage| {
            let newest = self.made_for(usage).next();
            Arc::clone(newest.unwrap_or_else(|| self.first(usage)))
        })
    }

    /// Returns true if this keyring has every key of a listing that has not ended.
    #[must_use]
    pub fn has_all(&self, listed: &Node, now: Timestamp) -> bool {
        let own: Vec<KeyId> = self.own_ids().collect();
        let mut counting = listed.keys.iter().filter(|key| key.signs_at(now));
        counting.all(|key| own.contains(&key.public.id()))
    }

    /// Returns the facts that lie sealed with the keys.
    #[must_use]
    pub const fn facts(&self) -> &SealedFacts {
        &self.facts
    }

    fn own_ids(&self) -> impl Iterator<Item = KeyId> {
        let first = [&self.sealing, &self.hop, &self.log];
        let first = first.into_iter().map(|key| key.id());
        let rotated = self.rotated.iter().filter_map(|key| match key {
            Rotated::Signing(key) => Some(key.id()),
            Rotated::Agreement(_, public) => Some(public.id()),
            Rotated::Tls(_) => None,
        });
        first.chain([self.agreement_public.id()]).chain(rotated)
    }

    fn newest(&self, usage: KeyUse) -> PublicKey {
        match usage {
            KeyUse::Agreement => self.agreement_public().clone(),
            KeyUse::Sealing
            | KeyUse::Hop
            | KeyUse::Log
            | KeyUse::Governance
            | KeyUse::Person
            | KeyUse::Freshness => {
                let newest = self.made_for(usage).next();
                newest.unwrap_or_else(|| self.first(usage)).public()
            }
        }
    }

    /// Returns the keys made later for this use, the newest first.
    fn made_for(&self, usage: KeyUse) -> impl Iterator<Item = &Arc<SigningKey>> {
        let rotated = self.rotated.iter().rev();
        rotated.filter_map(move |key| match key {
            Rotated::Signing(key) => (key.usage() == usage).then_some(key),
            Rotated::Agreement(..) | Rotated::Tls(_) => None,
        })
    }

    const fn first(&self, usage: KeyUse) -> &Arc<SigningKey> {
        match usage {
            KeyUse::Hop => &self.hop,
            KeyUse::Log => &self.log,
            // A key of another use than is asked for signs nothing, because the protocol refuses
            // it.
            KeyUse::Sealing
            | KeyUse::Agreement
            | KeyUse::Governance
            | KeyUse::Person
            | KeyUse::Freshness => &self.sealing,
        }
    }

    fn newest_agreement(&self) -> (&[u8; SEED], &PublicKey) {
        let mut rotated = self.rotated.iter().rev().filter_map(|key| match key {
            Rotated::Agreement(secret, public) => Some((&**secret, &**public)),
            Rotated::Signing(_) | Rotated::Tls(_) => None,
        });
        rotated
            .next()
            .unwrap_or((&self.agreement, &self.agreement_public))
    }

    /// Returns the secret of the newest agreement key (X25519, RFC 7748).
    #[must_use]
    pub fn agreement_secret(&self) -> &[u8; SEED] {
        self.newest_agreement().0
    }

    /// Returns the public half of the newest agreement key.
    #[must_use]
    pub fn agreement_public(&self) -> &PublicKey {
        self.newest_agreement().1
    }

    /// Returns the TLS keys as PKCS #8, the newest first.
    fn tls_secrets(&self) -> impl Iterator<Item = &Zeroizing<Vec<u8>>> {
        let rotated = self.rotated.iter().rev().filter_map(|key| match key {
            Rotated::Tls(secret) => Some(secret),
            Rotated::Signing(_) | Rotated::Agreement(..) => None,
        });
        rotated.chain([&self.tls])
    }

    /// Returns the TLS key of this certificate, for rustls; the newest one if none belongs to it.
    #[must_use]
    pub fn tls_key(&self, chain: &[CertificateDer<'static>]) -> PrivateKeyDer<'static> {
        let key = |secret: &Zeroizing<Vec<u8>>| -> PrivateKeyDer<'static> {
            PrivatePkcs8KeyDer::from(secret.to_vec()).into()
        };
        let fits =
            |secret: &&Zeroizing<Vec<u8>>| OwnIdentity::new(chain.to_vec(), key(secret)).is_ok();
        let newest = self.tls_secrets().next().unwrap_or(&self.tls);
        key(self.tls_secrets().find(fits).unwrap_or(newest))
    }

    /// Returns the newest TLS key in PEM.
    ///
    /// # Errors
    ///
    /// [`KeyringError::System`] if the cryptography refuses its own key.
    pub fn tls_key_pem(&self) -> Result<Zeroizing<String>, KeyringError> {
        Ok(Zeroizing::new(self.tls_pair()?.serialize_pem()))
    }

    /// Returns the newest TLS key, to sign a certificate request.
    pub(crate) fn tls_pair(&self) -> Result<KeyPair, KeyringError> {
        tls_pair(self.tls_secrets().next().unwrap_or(&self.tls))
    }

    fn parse(content: &[u8]) -> Result<Self, KeyringError> {
        let Content {
            seeds,
            binding,
            facts,
            tls,
        } = Content::read(content)?;
        let (sealing, rest) = seed(seeds)?;
        let (hop, rest) = seed(rest)?;
        let (log, rest) = seed(rest)?;
        let (agreement, rest) = seed(rest)?;
        let (store, _) = seed(rest)?;
        let keyring = Self {
            store: StoreKey::new(store, binding),
            sealing: Arc::new(SigningKey::from_seed(KeyUse::Sealing, *sealing)),
            hop: Arc::new(SigningKey::from_seed(KeyUse::Hop, *hop)),
            log: Arc::new(SigningKey::from_seed(KeyUse::Log, *log)),
            rotated: Vec::new(),
            agreement_public: agreement_public(&agreement)?,
            agreement,
            tls: Zeroizing::new(tls.to_vec()),
            facts,
        };
        keyring.tls_pair().map_err(|_| KeyringError::Format)?;
        Ok(keyring)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({:?})", self.public_keys())
    }
}

/// Seals what `change` makes of the present keys in place of them.
fn replace(
    home: &Home,
    source: &KeySource,
    change: impl FnOnce(&[u8]) -> Result<Zeroizing<Vec<u8>>, KeyringError>,
) -> Result<(), KeyringError> {
    let passphrase = source.read()?;
    let sealed = files::read_secret(&home.keys())?;
    let text = String::from_utf8_lossy(&sealed);
    let content = change(&secret::open(&passphrase, HOLDS, &text)?)?;
    Keyring::parse(&content)?;
    let text = secret::seal(&passphrase, HOLDS, None, &content)?;
    Ok(files::replace(
        &home.keys(),
        text.as_bytes(),
        Access::Owner,
    )?)
}

#[cfg(test)]
mod tests;

//! The node's own keys, one for each use, in one file sealed under the node's key.
//!
//! Made once, by `portcullis init`, from the operating system's random numbers. Refuses to be
//! made where keys are already, to be read where others can read the file, and to print itself.
//!
//! The sealed content: version octet 1; the 32-byte seeds of the sealing, hop and log keys
//! (Ed25519) and the agreement key (X25519), and the 32-byte key of the store; the TLS key (ECDSA
//! P-256) as PKCS #8, to the end.

use std::fmt;

use aws_lc_rs::agreement;
use portcullis_protocol::keys::{KeyError, KeyUse, PublicKey, SigningKey};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::{
    files::{self, Access, FileError},
    home::Home,
    secret::{self, KeySource, Passphrase, SecretError},
    store::StoreKey,
};

const HOLDS: &str = "node keys";
const VERSION: u8 = 1;
const SEED: usize = 32;

/// Why the node's keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// There are no keys here.
    #[error("there are no keys in `{0}`; run `portcullis init` first")]
    NoKeys(String),
    /// There are keys here.
    #[error(
        "there are keys in `{0}` already; they are never overwritten: whoever makes a new node does so in another home"
    )]
    Exists(String),
    /// The passphrase, or the sealed file.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The opened file is not what this version writes.
    #[error("the node's keys have a format that this version does not know; update portcullis")]
    Format,
    /// A key cannot be used.
    #[error("a key of the node cannot be used: {0}")]
    Key(#[from] KeyError),
    /// The system's random numbers or the cryptography failed.
    #[error("the operating system gave no keys; nothing was written")]
    System,
}

/// The keys of a node. They are wiped from memory when dropped and never printed.
pub struct Keyring {
    /// Seals records.
    pub sealing: SigningKey,
    /// Signs deliveries and receipts.
    pub hop: SigningKey,
    /// Signs checkpoints of the audit log.
    pub log: SigningKey,
    /// Opens the store.
    pub store: StoreKey,
    agreement: Zeroizing<[u8; SEED]>,
    agreement_public: PublicKey,
    tls: Zeroizing<Vec<u8>>,
}

impl Keyring {
    /// Makes the keys of a new node and keeps them in its home, sealed under the node's key.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Exists`] if there are keys already; nothing is written then.
    pub fn create(home: &Home, source: &KeySource) -> Result<Self, KeyringError> {
        let content = fresh()?;
        let keyring = Self::parse(&content)?;
        let text = secret::seal(&source.read()?, HOLDS, None, &content)?;
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
    /// [`KeyringError`] says what to do.
    pub fn load(home: &Home, source: &KeySource) -> Result<Self, KeyringError> {
        Self::open(home, &source.read()?)
    }

    /// As [`Self::load`], with the passphrase at hand.
    ///
    /// # Errors
    ///
    /// [`KeyringError`] says what to do.
    pub fn open(home: &Home, passphrase: &Passphrase) -> Result<Self, KeyringError> {
        let sealed = match files::read_secret(&home.keys()) {
            Ok(sealed) => sealed,
            Err(FileError::Missing { path }) => {
                return Err(KeyringError::NoKeys(path.display().to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        let text = String::from_utf8_lossy(&sealed);
        Self::parse(&secret::open(passphrase, HOLDS, &text)?)
    }

    /// The public keys, as the register lists them.
    #[must_use]
    pub fn public_keys(&self) -> Vec<PublicKey> {
        vec![
            self.sealing.public(),
            self.hop.public(),
            self.log.public(),
            self.agreement_public.clone(),
        ]
    }

    /// The keys that sign, for a membership request.
    #[must_use]
    pub fn signing_keys(&self) -> [&SigningKey; 3] {
        [&self.sealing, &self.hop, &self.log]
    }

    /// The secret of the agreement key (X25519, RFC 7748).
    #[must_use]
    pub fn agreement_secret(&self) -> &[u8; SEED] {
        &self.agreement
    }

    /// The public half of the agreement key.
    #[must_use]
    pub const fn agreement_public(&self) -> &PublicKey {
        &self.agreement_public
    }

    /// The TLS key, for rustls.
    #[must_use]
    pub fn tls_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.tls.to_vec()).into()
    }

    /// The TLS key in PEM, for a reload of the certificate.
    ///
    /// # Errors
    ///
    /// [`KeyringError::System`] if the cryptography refuses its own key.
    pub fn tls_key_pem(&self) -> Result<Zeroizing<String>, KeyringError> {
        Ok(Zeroizing::new(self.tls_pair()?.serialize_pem()))
    }

    /// The TLS key, to sign a certificate request with.
    pub(crate) fn tls_pair(&self) -> Result<KeyPair, KeyringError> {
        let der = PrivatePkcs8KeyDer::from(self.tls.as_slice());
        KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256)
            .map_err(|_| KeyringError::System)
    }

    fn parse(content: &[u8]) -> Result<Self, KeyringError> {
        let Some((&VERSION, rest)) = content.split_first() else {
            return Err(KeyringError::Format);
        };
        let (sealing, rest) = seed(rest)?;
        let (hop, rest) = seed(rest)?;
        let (log, rest) = seed(rest)?;
        let (agreement, rest) = seed(rest)?;
        let (store, tls) = seed(rest)?;
        let keyring = Self {
            store: StoreKey::from_bytes(*store),
            sealing: SigningKey::from_seed(KeyUse::Sealing, *sealing),
            hop: SigningKey::from_seed(KeyUse::Hop, *hop),
            log: SigningKey::from_seed(KeyUse::Log, *log),
            agreement_public: agreement_public(&agreement)?,
            agreement,
            tls: Zeroizing::new(tls.to_vec()),
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

/// The content of a new file of keys.
fn fresh() -> Result<Zeroizing<Vec<u8>>, KeyringError> {
    let tls = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|_| KeyringError::System)?;
    let mut seeds = Zeroizing::new([0; SEED * 5]);
    getrandom::fill(seeds.as_mut()).map_err(|_| KeyringError::System)?;
    let pkcs8 = Zeroizing::new(tls.serialize_der());
    // In one piece: a vector that grows leaves copies of secrets behind.
    let whole = seeds.len().saturating_add(pkcs8.len()).saturating_add(1);
    let mut content = Zeroizing::new(Vec::with_capacity(whole));
    content.push(VERSION);
    content.extend_from_slice(seeds.as_ref());
    content.extend_from_slice(&pkcs8);
    Ok(content)
}

fn seed(content: &[u8]) -> Result<(Zeroizing<[u8; SEED]>, &[u8]), KeyringError> {
    let (seed, rest) = content
        .split_first_chunk::<SEED>()
        .ok_or(KeyringError::Format)?;
    Ok((Zeroizing::new(*seed), rest))
}

fn agreement_public(secret: &[u8; SEED]) -> Result<PublicKey, KeyringError> {
    let public = agreement::PrivateKey::from_private_key(&agreement::X25519, secret)
        .map_err(|_| KeyringError::System)?
        .compute_public_key()
        .map_err(|_| KeyringError::System)?;
    Ok(PublicKey::from_slice(KeyUse::Agreement, public.as_ref())?)
}

#[cfg(test)]
mod tests;

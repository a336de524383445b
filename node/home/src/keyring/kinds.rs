//! The keys that a node has, by use: how each is made public, and why one is not to be had.

use portcullis_protocol::keys::{KeyError, KeyUse, PublicKey};
use std::str::FromStr;

use aws_lc_rs::agreement;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::PrivatePkcs8KeyDer;

use crate::{files::FileError, secret::SecretError};

pub(super) const VERSION: u8 = 1;
/// Version of a first file of keys that holds facts beside the keys.
pub(super) const WITH_FACTS: u8 = 2;
/// Version of one that holds accepted trust settings as well.
pub(super) const WITH_SETTINGS: u8 = 3;
/// Version of one that holds the secret to which the store's key table is bound as well.
pub(super) const WITH_BINDING: u8 = 4;

pub(super) const SEED: usize = 32;

/// Error of keys that cannot be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The home holds no keys.
    #[error("there are no keys in `{0}`; run `portcullis init` first")]
    NoKeys(String),
    /// The home holds keys already.
    #[error(
        "there are keys in `{0}` already; they are never overwritten: whoever makes a new node does so in another home"
    )]
    Exists(String),
    /// The passphrase cannot be had, or the sealed file does not open.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The opened content has a format that this version does not know.
    #[error("the node's keys have a format that this version does not know; update portcullis")]
    Format,
    /// A key cannot be used.
    #[error("a key of the node cannot be used: {0}")]
    Key(#[from] KeyError),
    /// The system's random numbers or the cryptography failed.
    #[error("the operating system gave no keys; nothing was written")]
    System,
}

/// A use for which a node makes new keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotatable {
    /// Signs records.
    Sealing,
    /// Signs deliveries and receipts.
    Hop,
    /// Signs checkpoints.
    Log,
    /// Agrees on keys (X25519).
    Agreement,
    /// Key of the certificate.
    Tls,
}

impl Rotatable {
    /// All uses.
    pub const ALL: [Self; 5] = [
        Self::Sealing,
        Self::Hop,
        Self::Log,
        Self::Agreement,
        Self::Tls,
    ];

    /// Returns the name of the use, as it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.listed() {
            Some(usage) => usage.name(),
            None => "tls",
        }
    }

    /// Returns the use under which the register lists such a key. A TLS key stands only in the
    /// certificate.
    #[must_use]
    pub const fn listed(self) -> Option<KeyUse> {
        match self {
            Self::Sealing => Some(KeyUse::Sealing),
            Self::Hop => Some(KeyUse::Hop),
            Self::Log => Some(KeyUse::Log),
            Self::Agreement => Some(KeyUse::Agreement),
            Self::Tls => None,
        }
    }
}

impl FromStr for Rotatable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|usage| usage.name() == text)
            .ok_or_else(|| "write `sealing`, `hop`, `log`, `agreement` or `tls`".to_owned())
    }
}

pub(super) fn tls_pair(secret: &[u8]) -> Result<KeyPair, KeyringError> {
    let der = PrivatePkcs8KeyDer::from(secret);
    KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256)
        .map_err(|_| KeyringError::System)
}

pub(super) fn agreement_public(secret: &[u8; SEED]) -> Result<PublicKey, KeyringError> {
    let public = agreement::PrivateKey::from_private_key(&agreement::X25519, secret)
        .map_err(|_| KeyringError::System)?
        .compute_public_key()
        .map_err(|_| KeyringError::System)?;
    Ok(PublicKey::from_slice(KeyUse::Agreement, public.as_ref())?)
}

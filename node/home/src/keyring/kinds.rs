//! The keys that a node has, by use: how each is made public, and why one is not to be had.

use portcullis_protocol::keys::KeyError;
use std::str::FromStr;

use aws_lc_rs::agreement;
use portcullis_protocol::keys::{KeyUse, PublicKey};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::PrivatePkcs8KeyDer;

use crate::{files::FileError, secret::SecretError};

pub(super) const VERSION: u8 = 1;

pub(super) const SEED: usize = 32;

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

/// A use for which a node makes new keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotatable {
    /// Records.
    Sealing,
    /// Deliveries and receipts.
    Hop,
    /// Checkpoints.
    Log,
    /// X25519.
    Agreement,
    /// The certificate's key.
    Tls,
}

impl Rotatable {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Sealing,
        Self::Hop,
        Self::Log,
        Self::Agreement,
        Self::Tls,
    ];

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.listed() {
            Some(usage) => usage.name(),
            None => "tls",
        }
    }

    /// The use under which the register lists such a key; a TLS key is in the certificate alone.
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

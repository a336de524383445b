//! Keys made beside the first ones, each in a file of its own: `keys/rotated-0001.keys`, …
//!
//! A key is used from the time at which the register in force lists it; until then the key before
//! it is used. A TLS key is used from the time at which a certificate of it is installed. Nothing
//! is overwritten, so a rotation can be begun, abandoned and begun again.
//!
//! The sealed content is, in this order: the version octet 1; an octet for the use; and, to the
//! end, the 32-byte seed (Ed25519, X25519) or the TLS key (ECDSA P-256) as PKCS #8.

use std::{path::PathBuf, sync::Arc};

use portcullis_protocol::keys::{KeyUse, PublicKey, SigningKey};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use zeroize::Zeroizing;

use super::kinds::{KeyringError, Rotatable, SEED, VERSION, agreement_public, tls_pair};
use crate::{
    Home,
    files::{self, Access},
    secret::{self, Passphrase},
};

const HOLDS: &str = "rotated node key";

/// A key made after the first ones.
pub(super) enum Rotated {
    /// Signing key for records, deliveries or checkpoints.
    Signing(Arc<SigningKey>),
    /// Secret and public half of an X25519 key.
    Agreement(Zeroizing<[u8; SEED]>, Box<PublicKey>),
    /// TLS key as PKCS #8.
    Tls(Zeroizing<Vec<u8>>),
}

impl Rotatable {
    const fn octet(self) -> u8 {
        match self {
            Self::Sealing => 1,
            Self::Hop => 2,
            Self::Log => 3,
            Self::Agreement => 4,
            Self::Tls => 5,
        }
    }
}

/// Reads the rotated keys of a home, the oldest first.
pub(super) fn load(home: &Home, passphrase: &Passphrase) -> Result<Vec<Rotated>, KeyringError> {
    paths(home)?
        .iter()
        .map(|path| {
            let sealed = files::read_secret(path)?;
            let text = String::from_utf8_lossy(&sealed);
            parse(&secret::open(passphrase, HOLDS, &text)?)
        })
        .collect()
}

/// Makes a key for this use beside the existing ones.
pub(super) fn create(
    home: &Home,
    passphrase: &Passphrase,
    usage: Rotatable,
) -> Result<Rotated, KeyringError> {
    let secret = fresh(usage)?;
    let mut content = Zeroizing::new(Vec::with_capacity(secret.len().saturating_add(2)));
    content.extend_from_slice(&[VERSION, usage.octet()]);
    content.extend_from_slice(&secret);
    let made = parse(&content)?;
    let text = secret::seal(passphrase, HOLDS, None, &content)?;
    let number = next_number(&paths(home)?);
    let path = folder(home).join(format!("rotated-{number:04}.keys"));
    files::create(&path, text.as_bytes(), Access::Owner)?;
    Ok(made)
}

/// Returns the number after the highest one in use. Files before it may have been removed.
fn next_number(paths: &[PathBuf]) -> u64 {
    let number = |path: &PathBuf| -> Option<u64> {
        let name = path.file_stem()?.to_str()?;
        name.strip_prefix("rotated-")?.parse().ok()
    };
    let highest = paths.iter().filter_map(number).max();
    highest.unwrap_or(0).saturating_add(1)
}

fn fresh(usage: Rotatable) -> Result<Zeroizing<Vec<u8>>, KeyringError> {
    let system = |_| KeyringError::System;
    if usage == Rotatable::Tls {
        let pair =
            KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|_| KeyringError::System)?;
        return Ok(Zeroizing::new(pair.serialize_der()));
    }
    let mut seed = Zeroizing::new(vec![0; SEED]);
    getrandom::fill(seed.as_mut_slice()).map_err(system)?;
    Ok(seed)
}

fn parse(content: &[u8]) -> Result<Rotated, KeyringError> {
    let [VERSION, octet, secret @ ..] = content else {
        return Err(KeyringError::Format);
    };
    let usage = Rotatable::ALL.iter().find(|usage| usage.octet() == *octet);
    let signing = |usage| -> Result<Rotated, KeyringError> {
        Ok(Rotated::Signing(Arc::new(SigningKey::from_seed(
            usage,
            *seed(secret)?,
        ))))
    };
    match usage.ok_or(KeyringError::Format)? {
        Rotatable::Sealing => signing(KeyUse::Sealing),
        Rotatable::Hop => signing(KeyUse::Hop),
        Rotatable::Log => signing(KeyUse::Log),
        Rotatable::Agreement => {
            let seed = seed(secret)?;
            let public = agreement_public(&seed)?;
            Ok(Rotated::Agreement(seed, Box::new(public)))
        }
        Rotatable::Tls => {
            tls_pair(secret).map_err(|_| KeyringError::Format)?;
            Ok(Rotated::Tls(Zeroizing::new(secret.to_vec())))
        }
    }
}

fn seed(secret: &[u8]) -> Result<Zeroizing<[u8; SEED]>, KeyringError> {
    let seed = secret.try_into().map_err(|_| KeyringError::Format)?;
    Ok(Zeroizing::new(seed))
}

/// Returns the folder of the keys.
pub(super) fn folder(home: &Home) -> PathBuf {
    home.keys().parent().map(PathBuf::from).unwrap_or_default()
}

fn paths(home: &Home) -> Result<Vec<PathBuf>, KeyringError> {
    let mut paths = files::list(&folder(home), "keys")?;
    paths.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("rotated-")
    });
    // By number: `rotated-10000` is newer than `rotated-9999`.
    paths.sort_by_cached_key(|path| (next_number(std::slice::from_ref(path)), path.clone()));
    Ok(paths)
}

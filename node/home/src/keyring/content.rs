//! The content of a file of keys, before it is sealed.
//!
//! It is, in this order: the version octet 1 to 4; the 32-byte seeds of the sealing, hop and log
//! keys (Ed25519) and of the agreement key (X25519); the 32-byte key of the store; in version 4 the
//! octet 1 or 2 and a 32-byte secret, which bind the store's key table (`store_key`); in version 2
//! the first administrator, and in versions 3 and 4 the accepted trust settings as well, as JSON
//! after its length (`facts`); and, to the end, the TLS key (ECDSA P-256) as PKCS #8.

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use zeroize::Zeroizing;

use super::{
    facts::SealedFacts,
    kinds::{KeyringError, SEED, VERSION, WITH_BINDING, WITH_FACTS, WITH_SETTINGS},
    store_key::{Binding, BindingStep},
};

/// Bytes of all seeds, the key of the store included.
const SEEDS: usize = SEED * 5;

/// The content of a file of keys, in its parts.
pub(super) struct Content<'a> {
    pub(super) seeds: &'a [u8],
    pub(super) binding: Binding,
    pub(super) facts: SealedFacts,
    pub(super) tls: &'a [u8],
}

impl<'a> Content<'a> {
    pub(super) fn read(content: &'a [u8]) -> Result<Self, KeyringError> {
        let (version, rest) = match content.split_first() {
            Some((&version @ (VERSION | WITH_FACTS | WITH_SETTINGS | WITH_BINDING), rest)) => {
                (version, rest)
            }
            Some(_) | None => return Err(KeyringError::Format),
        };
        let (seeds, rest) = rest.split_at_checked(SEEDS).ok_or(KeyringError::Format)?;
        let (binding, rest) = match version {
            WITH_BINDING => Binding::read(rest)?,
            _ => (Binding::Unbound, rest),
        };
        let (facts, tls) = SealedFacts::read(version, rest)?;
        Ok(Self {
            seeds,
            binding,
            facts,
            tls,
        })
    }

    pub(super) fn encode(&self) -> Result<Zeroizing<Vec<u8>>, KeyringError> {
        let Self {
            seeds,
            binding,
            facts,
            tls,
        } = self;
        let version = match binding {
            Binding::Unbound => facts.version(),
            Binding::Begun(_) | Binding::Bound(_) => WITH_BINDING,
        };
        // Capacity is allocated at once: a vector that grows leaves copies of secrets behind.
        let encoded = facts.encode(version)?;
        let whole = [seeds.len(), SEED, encoded.len(), tls.len(), 2];
        let whole = whole.into_iter().fold(0_usize, usize::saturating_add);
        let mut content = Zeroizing::new(Vec::with_capacity(whole));
        content.push(version);
        content.extend_from_slice(seeds);
        if let Some(secret) = binding.secret() {
            content.push(binding.octet());
            content.extend_from_slice(secret);
        }
        content.extend_from_slice(&encoded);
        content.extend_from_slice(tls);
        Ok(content)
    }
}

/// Makes the content of a new file of keys.
pub(super) fn fresh(facts: &SealedFacts) -> Result<Zeroizing<Vec<u8>>, KeyringError> {
    let tls = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|_| KeyringError::System)?;
    let mut seeds = Zeroizing::new([0; SEEDS]);
    getrandom::fill(seeds.as_mut()).map_err(|_| KeyringError::System)?;
    let pkcs8 = Zeroizing::new(tls.serialize_der());
    let content = Content {
        seeds: seeds.as_ref(),
        binding: Binding::made()?,
        facts: facts.clone(),
        tls: &pkcs8,
    };
    content.encode()
}

/// Returns a content with the keys of another one and these facts.
pub(super) fn with_facts(
    present: &[u8],
    facts: &SealedFacts,
) -> Result<Zeroizing<Vec<u8>>, KeyringError> {
    let mut content = Content::read(present)?;
    content.facts = facts.clone();
    content.encode()
}

/// Returns a content with the keys of another one and the next state of its binding.
pub(super) fn after(present: &[u8], step: BindingStep) -> Result<Zeroizing<Vec<u8>>, KeyringError> {
    let mut content = Content::read(present)?;
    content.binding = content.binding.after(step)?;
    content.encode()
}

pub(super) fn seed(content: &[u8]) -> Result<(Zeroizing<[u8; SEED]>, &[u8]), KeyringError> {
    let (seed, rest) = content
        .split_first_chunk::<SEED>()
        .ok_or(KeyringError::Format)?;
    Ok((Zeroizing::new(*seed), rest))
}

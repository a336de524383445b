//! Acts of the governance: it founds a federation and signs epochs.
//!
//! A threshold of zero or above the number of keys is refused, and so is the signature of a key
//! that the epoch does not list.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_protocol::{
    identifiers::FederationId,
    keys::{KeyId, PublicKey, SigningKey},
    register::{FreshnessKeys, Register, RegisterError, SignedRegister},
    statement::SignatureError,
    time::Timestamp,
};

/// Error of a federation that is not founded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoundError {
    /// A key is named twice, or the threshold cannot be met.
    #[error(
        "the federation cannot be founded: {0}; name each governance key once and a threshold from 1 to their number"
    )]
    Content(#[from] RegisterError),
}

/// Makes the first epoch of a federation: its governance, and no member yet.
///
/// # Errors
///
/// [`FoundError`] if a key is named twice or the threshold cannot be met.
pub fn found(
    federation: FederationId,
    development: bool,
    governance: Vec<PublicKey>,
    threshold: u32,
    now: Timestamp,
) -> Result<SignedRegister, FoundError> {
    Ok(SignedRegister::unsigned(&Register {
        federation,
        epoch: 1,
        previous: None,
        development,
        threshold,
        governance,
        freshness: FreshnessKeys::default(),
        authorities: BTreeMap::new(),
        issued_at: now,
        former: BTreeMap::new(),
    })?)
}

/// Error of an epoch that is not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The epoch cannot be read.
    #[error(transparent)]
    Content(#[from] RegisterError),
    /// The key does not belong to this governance.
    #[error("key `{key}` is not one of this epoch's governance; sign with one of: {governance}")]
    Stranger {
        /// Id of the key.
        key: KeyId,
        /// Keys that may sign, as text.
        governance: String,
    },
    /// The key has another use.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

/// Adds the signature of a governance key. A key that has signed already signs again.
///
/// The governance of the epoch before must sign as well. It is the same unless this epoch changes
/// it. `before` is the epoch before, and may be left out for the first epoch.
///
/// # Errors
///
/// [`SignError`] if the key may not sign.
pub fn sign(
    epoch: &mut SignedRegister,
    before: Option<&SignedRegister>,
    key: &SigningKey,
) -> Result<(), SignError> {
    let mut may = epoch.unverified()?.governance;
    if let Some(before) = before {
        may.extend(before.unverified()?.governance);
    }
    if !may.iter().any(|public| public.id() == key.id()) {
        let governance: BTreeSet<_> = may.iter().map(|public| public.id().to_string()).collect();
        return Err(SignError::Stranger {
            key: key.id(),
            governance: governance.into_iter().collect::<Vec<_>>().join(", "),
        });
    }
    Ok(epoch.sign(key)?)
}

/// State of the signatures of an epoch's own governance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signatures {
    /// Keys whose signature verifies.
    pub valid: Vec<KeyId>,
    /// Keys that have not signed, or whose signature does not verify.
    pub missing: Vec<KeyId>,
    /// Number of keys that must sign.
    pub threshold: usize,
}

impl Signatures {
    /// Counts the signatures of an epoch's own governance.
    #[must_use]
    pub fn of(register: &Register, signed: &SignedRegister) -> Self {
        let by = signed.signed_by(&register.governance);
        let (valid, missing) = register
            .governance
            .iter()
            .map(PublicKey::id)
            .partition(|id| by.contains(id));
        Self {
            valid,
            missing,
            threshold: usize::try_from(register.threshold).unwrap_or(usize::MAX),
        }
    }

    /// Returns true if enough keys have signed.
    #[must_use]
    pub const fn suffice(&self) -> bool {
        self.valid.len() >= self.threshold
    }
}

#[cfg(test)]
mod tests {
    use portcullis_protocol::keys::KeyUse;

    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(KeyUse::Governance, [seed; 32])
    }

    fn founded(keys: &[&SigningKey], threshold: u32) -> Result<SignedRegister, FoundError> {
        found(
            "eu-ports".parse().unwrap(),
            false,
            keys.iter().map(|key| key.public()).collect(),
            threshold,
            Timestamp::from_millis(1_000),
        )
    }

    #[test]
    fn a_threshold_that_cannot_be_met_is_refused() {
        let (a, b) = (key(1), key(2));
        assert!(founded(&[&a, &b], 2).is_ok());
        assert!(founded(&[&a, &b], 3).is_err());
        assert!(founded(&[&a, &b], 0).is_err());
        assert!(founded(&[], 1).is_err());
        assert!(founded(&[&a, &a], 1).is_err());
    }

    #[test]
    fn signatures_are_counted_once_for_each_key() {
        let (a, b) = (key(1), key(2));
        let mut epoch = founded(&[&a, &b], 2).unwrap();
        sign(&mut epoch, None, &a).unwrap();
        sign(&mut epoch, None, &a).unwrap();
        let register = epoch.unverified().unwrap();
        let signatures = Signatures::of(&register, &epoch);
        assert_eq!(signatures.valid, [a.id()]);
        assert_eq!(signatures.missing, [b.id()]);
        assert!(!signatures.suffice());
        sign(&mut epoch, None, &b).unwrap();
        assert!(Signatures::of(&register, &epoch).suffice());
    }

    #[test]
    fn a_strangers_signature_is_not_added() {
        let mut epoch = founded(&[&key(1)], 1).unwrap();
        let refused = sign(&mut epoch, None, &key(9)).unwrap_err();
        assert!(matches!(refused, SignError::Stranger { .. }));
        let person = SigningKey::from_seed(KeyUse::Person, [1; 32]);
        assert!(sign(&mut epoch, None, &person).is_err());
        assert_eq!(epoch.signers().count(), 0);
    }
}

//! The key of the store, one of the node's keys, and the secret to which the store's key table is
//! bound: together they open what the store seals.
//!
//! The secret is drawn when a keyring is made. Keys of an earlier version have none, and get one at
//! the first start after somebody accepted the trust settings. From then on those earlier keys, put
//! back, no longer open the store, although they hold the store's key:
//!
//! ```text
//! unbound ──draw and keep the secret──▶ begun ──the key table is wrapped under it──▶ bound
//! ```

use zeroize::Zeroizing;

use super::kinds::{KeyringError, SEED};

/// The key of a store. It is wiped from memory when dropped and never printed.
#[derive(Clone)]
pub struct StoreKey {
    key: Zeroizing<[u8; SEED]>,
    binding: Binding,
}

/// Binding of the store's key table to the node's keys. A secret is never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Binding {
    /// The store's key alone opens the key table: the keys are of an earlier version.
    Unbound,
    /// The key table is being bound to this secret, and is or is not yet.
    Begun(Zeroizing<[u8; SEED]>),
    /// The key table opens with this secret only.
    Bound(Zeroizing<[u8; SEED]>),
}

impl StoreKey {
    /// Takes 32 bytes that nobody can guess, and the binding of the key table.
    pub(super) const fn new(key: Zeroizing<[u8; SEED]>, binding: Binding) -> Self {
        Self { key, binding }
    }

    /// Its 32 bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; SEED] {
        &self.key
    }

    /// Returns the binding of the key table.
    #[must_use]
    pub const fn binding(&self) -> &Binding {
        &self.binding
    }
}

impl Binding {
    /// Draws the secret of a key table that is made under it.
    pub(super) fn made() -> Result<Self, KeyringError> {
        drawn().map(Self::Bound)
    }

    /// Returns the binding after a step of this kind. A binding that is begun keeps its secret.
    pub(super) fn after(self, step: BindingStep) -> Result<Self, KeyringError> {
        match (self, step) {
            (Self::Unbound, BindingStep::Begin) => drawn().map(Self::Begun),
            (Self::Begun(secret), BindingStep::End) => Ok(Self::Bound(secret)),
            (same @ (Self::Begun(_) | Self::Bound(_)), BindingStep::Begin)
            | (same @ (Self::Unbound | Self::Bound(_)), BindingStep::End) => Ok(same),
        }
    }

    /// Returns the octet that names the state.
    pub(super) const fn octet(&self) -> u8 {
        match self {
            Self::Unbound => 0,
            Self::Begun(_) => 1,
            Self::Bound(_) => 2,
        }
    }

    /// Returns the secret, if there is one.
    pub(super) fn secret(&self) -> Option<&[u8; SEED]> {
        match self {
            Self::Unbound => None,
            Self::Begun(secret) | Self::Bound(secret) => Some(secret),
        }
    }

    /// Reads an octet and the secret that follows it.
    pub(super) fn read(content: &[u8]) -> Result<(Self, &[u8]), KeyringError> {
        let (&octet, rest) = content.split_first().ok_or(KeyringError::Format)?;
        let (secret, rest) = rest.split_first_chunk().ok_or(KeyringError::Format)?;
        let secret = Zeroizing::new(*secret);
        match octet {
            1 => Ok((Self::Begun(secret), rest)),
            2 => Ok((Self::Bound(secret), rest)),
            _ => Err(KeyringError::Format),
        }
    }
}

/// A step of the binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindingStep {
    /// A secret is kept, before anything is wrapped under it.
    Begin,
    /// Everything is wrapped under the secret.
    End,
}

fn drawn() -> Result<Zeroizing<[u8; SEED]>, KeyringError> {
    let mut secret = Zeroizing::new([0; SEED]);
    getrandom::fill(secret.as_mut()).map_err(|_| KeyringError::System)?;
    Ok(secret)
}

impl std::fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreKey(..)")
    }
}

impl std::fmt::Debug for Binding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unbound => "Unbound",
            Self::Begun(_) => "Begun(..)",
            Self::Bound(_) => "Bound(..)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_the_key_nor_the_secret_is_printed() {
        let secret = Zeroizing::new([7; SEED]);
        let key = StoreKey::new(secret.clone(), Binding::Bound(secret));
        assert_eq!(format!("{key:?}"), "StoreKey(..)");
        assert_eq!(format!("{:?}", key.binding()), "Bound(..)");
    }

    /// Finding F3: a secret that is lost while the table is bound to it loses the store.
    #[test]
    fn a_secret_is_drawn_once_and_stays() {
        let begun = Binding::Unbound.after(BindingStep::Begin).unwrap();
        assert!(matches!(begun, Binding::Begun(_)));
        assert!(begun.clone().after(BindingStep::Begin).unwrap() == begun);
        let bound = begun.clone().after(BindingStep::End).unwrap();
        assert!(matches!(bound, Binding::Bound(_)));
        assert_eq!(bound.secret(), begun.secret());
        for step in [BindingStep::Begin, BindingStep::End] {
            assert!(bound.clone().after(step).unwrap() == bound);
        }
        let unbound = Binding::Unbound.after(BindingStep::End).unwrap();
        assert!(
            unbound == Binding::Unbound,
            "nothing ends that did not begin"
        );
        assert!(Binding::made().unwrap() != Binding::made().unwrap());
    }
}

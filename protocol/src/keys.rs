//! Keys, each with one use.
//!
//! A key id covers the use and the algorithm, so that the same 32 bytes enrolled for another use
//! are another key. Only Ed25519 keys sign; signatures are checked with `verify_strict`. Keys of
//! small order are refused before they are ever enrolled.

use std::fmt;

use ed25519_dalek::{Signature, Signer as _, SigningKey as DalekSigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::{digest::Digest, wire};

/// Use of a key; a key has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyUse {
    /// Seals records.
    Sealing,
    /// Signs deliveries and receipts.
    Hop,
    /// Signs checkpoints of the audit log.
    Log,
    /// Agrees on keys (X25519); signs nothing.
    Agreement,
    /// Signs the register.
    Governance,
    /// Signs the acts of a person.
    Person,
    /// Signs, online, a statement that a register is the newest.
    Freshness,
}

impl KeyUse {
    /// The use's name as commands and messages print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sealing => "sealing",
            Self::Hop => "hop",
            Self::Log => "log",
            Self::Agreement => "agreement",
            Self::Governance => "governance",
            Self::Person => "person",
            Self::Freshness => "freshness",
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Sealing => 1,
            Self::Hop => 2,
            Self::Log => 3,
            Self::Agreement => 4,
            Self::Governance => 5,
            Self::Person => 6,
            Self::Freshness => 7,
        }
    }
}

impl fmt::Display for KeyUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<KeyUse> for wire::KeyUse {
    fn from(usage: KeyUse) -> Self {
        match usage {
            KeyUse::Sealing => Self::Sealing,
            KeyUse::Hop => Self::Hop,
            KeyUse::Log => Self::Log,
            KeyUse::Agreement => Self::Agreement,
            KeyUse::Governance => Self::Governance,
            KeyUse::Person => Self::Person,
            KeyUse::Freshness => Self::Freshness,
        }
    }
}

/// Id of a key: SHA-256 over its use, its algorithm and its 32 public bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Digest);

impl KeyId {
    /// Takes 32 bytes for a key id; `None` for any other length.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Digest::from_slice(bytes).map(Self)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    fn of(usage: KeyUse, algorithm: Algorithm, public: &[u8; 32]) -> Self {
        let kind = [usage.number(), algorithm.number()];
        Self(Digest::labelled("portcullis key v1", &[&kind, public]))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({})", self.0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Ed25519,
    X25519,
}

impl Algorithm {
    const fn number(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::X25519 => 2,
        }
    }
}

/// Error for 32 bytes that are not a key that may be enrolled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a point of the curve.
    #[error("the key is not a point of the curve; make a new one with `portcullis init`")]
    NotAPoint,
    /// A key of small order, under which anyone can make signatures.
    #[error("the key is weak (small order); make a new one with `portcullis init`")]
    Weak,
    /// The key has another length than 32 bytes.
    #[error("a key has 32 bytes, this one has {0}")]
    Length(usize),
}

/// A public key with its use.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    usage: KeyUse,
    id: KeyId,
    key: Public,
}

#[derive(Clone, PartialEq, Eq)]
enum Public {
    Ed25519(VerifyingKey),
    X25519([u8; 32]),
}

impl PublicKey {
    /// Takes 32 bytes for a key of this use: Ed25519, or X25519 for [`KeyUse::Agreement`].
    ///
    /// # Errors
    ///
    /// [`KeyError`] if they are not a key, or a weak one.
    pub fn from_slice(usage: KeyUse, bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes: &[u8; 32] = bytes
            .try_into()
            .map_err(|_| KeyError::Length(bytes.len()))?;
        if usage == KeyUse::Agreement {
            if is_small_order(bytes) {
                return Err(KeyError::Weak);
            }
            return Ok(Self {
                usage,
                id: KeyId::of(usage, Algorithm::X25519, bytes),
                key: Public::X25519(*bytes),
            });
        }
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotAPoint)?;
        if key.is_weak() {
            return Err(KeyError::Weak);
        }
        Ok(Self {
            usage,
            id: KeyId::of(usage, Algorithm::Ed25519, bytes),
            key: Public::Ed25519(key),
        })
    }

    /// Returns the use of the key.
    #[must_use]
    pub const fn usage(&self) -> KeyUse {
        self.usage
    }

    /// The key's id.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The 32 public bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        match &self.key {
            Public::Ed25519(key) => key.to_bytes(),
            Public::X25519(key) => *key,
        }
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        match &self.key {
            Public::Ed25519(key) => key
                .verify_strict(message, &Signature::from_bytes(signature))
                .is_ok(),
            Public::X25519(_) => false,
        }
    }
}

/// Returns whether an X25519 key leads to the same shared secret with everyone (RFC 7748 §6.1).
/// Those are the points of small order on the curve and its twist, as cr.yp.to/ecdh.html lists
/// them. The topmost bit is ignored, as it is when the key is used.
fn is_small_order(key: &[u8; 32]) -> bool {
    const ORDER_EIGHT: [[u8; 32]; 2] = [
        [
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f,
            0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16,
            0x5f, 0x49, 0xb8, 0x00,
        ],
        [
            0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83,
            0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd,
            0xd0, 0x9f, 0x11, 0x57,
        ],
    ];
    let mut key = *key;
    let [low, middle @ .., high] = &mut key;
    *high &= 0x7f;
    let zero_or_one = *low <= 1 && *high == 0 && middle.iter().all(|byte| *byte == 0);
    // 2^255 - 19 and its neighbours: minus one, zero and one, written another way.
    let around_the_prime =
        (0xec..=0xee).contains(low) && *high == 0x7f && middle.iter().all(|byte| *byte == 0xff);
    zero_or_one || around_the_prime || ORDER_EIGHT.contains(&key)
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.usage, self.id)
    }
}

/// An Ed25519 key with its use. It is wiped from memory when dropped and never printed.
pub struct SigningKey {
    public: PublicKey,
    key: DalekSigningKey,
}

impl SigningKey {
    /// Makes the key of a 32-byte seed. The caller draws the seed at random and keeps it secret.
    #[must_use]
    pub fn from_seed(usage: KeyUse, seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        let key = DalekSigningKey::from_bytes(&seed);
        let verifying = key.verifying_key();
        let id = KeyId::of(usage, Algorithm::Ed25519, verifying.as_bytes());
        Self {
            public: PublicKey {
                usage,
                id,
                key: Public::Ed25519(verifying),
            },
            key,
        }
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public.clone()
    }

    /// The key's id.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.public.id
    }

    /// Returns the use of the key.
    #[must_use]
    pub const fn usage(&self) -> KeyUse {
        self.public.usage
    }

    pub(crate) fn sign_bytes(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.usage(), self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032 §7.1, test 1.
    const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    const SIGNATURE: &str = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        data_encoding::HEXLOWER
            .decode(text.as_bytes())
            .unwrap()
            .try_into()
            .unwrap()
    }

    #[test]
    fn signatures_are_those_of_rfc_8032() {
        let key = SigningKey::from_seed(KeyUse::Sealing, hex(SEED));
        assert_eq!(key.public().to_bytes(), hex(PUBLIC));
        assert_eq!(key.sign_bytes(b""), hex::<64>(SIGNATURE));
        assert!(key.public().verifies(b"", &hex(SIGNATURE)));
        assert!(!key.public().verifies(b"x", &hex(SIGNATURE)));
    }

    #[test]
    fn weak_keys_are_refused() {
        // The neutral element and a point of order 8: RFC 7748 lists small orders, ed25519 the points.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert_eq!(
            PublicKey::from_slice(KeyUse::Hop, &neutral),
            Err(KeyError::Weak)
        );
        assert_eq!(
            PublicKey::from_slice(KeyUse::Hop, &[0; 31]),
            Err(KeyError::Length(31))
        );
    }

    #[test]
    fn agreement_keys_of_small_order_are_refused() {
        // Each was checked with OpenSSL: the shared secret with any key is zero.
        for text in [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ] {
            let mut key: [u8; 32] = hex(text);
            for _ in 0..2 {
                let enrolled = PublicKey::from_slice(KeyUse::Agreement, &key);
                assert_eq!(enrolled, Err(KeyError::Weak), "{text}");
                key[31] ^= 0x80;
            }
        }
        // RFC 7748 §6.1: Alice's public key.
        let alice = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
        assert!(PublicKey::from_slice(KeyUse::Agreement, &hex::<32>(alice)).is_ok());
    }

    #[test]
    fn the_same_bytes_for_another_use_are_another_key() {
        let sealing = SigningKey::from_seed(KeyUse::Sealing, [1; 32]);
        let hop = SigningKey::from_seed(KeyUse::Hop, [1; 32]);
        assert_ne!(sealing.id(), hop.id());
    }

    #[test]
    fn a_secret_key_is_not_printed() {
        let key = SigningKey::from_seed(KeyUse::Sealing, hex(SEED));
        assert!(!format!("{key:?}").contains("9d61b19d"));
    }
}

//! Signed statements: DSSE pre-authentication encoding over a typed payload.
//!
//! Every statement type states its payload type and the one use that a key must have to sign it. A
//! key of another use, or a payload of another type, can therefore never verify. Bytes are signed
//! and verified as they came; nothing is verified from a re-encoding. Source: DSSE v1.0
//! (secure-systems-lab/dsse, protocol.md).

use bytes::Bytes;

use crate::{
    keys::{KeyId, KeyUse, PublicKey, SigningKey},
    wire,
};

/// A type of statement: the content its signature covers and the keys that may sign it.
pub trait StatementType {
    /// The DSSE payload type.
    const PAYLOAD_TYPE: &'static str;
    /// The only use of key that may sign it.
    const KEY_USE: KeyUse;
}

/// Fault of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The key is for another kind of statement.
    #[error("a {actual} key cannot sign what a {required} key must sign")]
    WrongUse {
        /// The use the statement requires.
        required: KeyUse,
        /// The use of the key that was given.
        actual: KeyUse,
    },
    /// The statement names another key than the one it is checked against.
    #[error("the statement names key `{named}`, not `{given}`")]
    OtherKey {
        /// The key the statement names.
        named: KeyId,
        /// The key it was checked against.
        given: KeyId,
    },
    /// The key id or the signature has the wrong length.
    #[error("the signature or its key id has the wrong length")]
    Malformed,
    /// The signature does not verify.
    #[error("the signature does not verify")]
    Invalid,
}

/// A payload with one signature, not yet checked against any key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedStatement {
    payload: Bytes,
    key_id: KeyId,
    signature: [u8; 64],
}

impl SignedStatement {
    /// Signs `payload` as a statement of type `S`.
    ///
    /// # Errors
    ///
    /// [`SignatureError::WrongUse`] if the key is for another kind of statement.
    pub fn sign<S: StatementType>(
        payload: Bytes,
        key: &SigningKey,
    ) -> Result<Self, SignatureError> {
        let signature = sign_detached::<S>(&payload, key)?;
        Ok(Self {
            payload,
            key_id: key.id(),
            signature,
        })
    }

    /// Checks the signature with `key` and returns the payload.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if the key has another use, is not the one named, or does not verify.
    pub fn verify<S: StatementType>(&self, key: &PublicKey) -> Result<&Bytes, SignatureError> {
        if key.id() != self.key_id {
            return Err(SignatureError::OtherKey {
                named: self.key_id,
                given: key.id(),
            });
        }
        verify_detached::<S>(&self.payload, &self.signature, key)?;
        Ok(&self.payload)
    }

    /// Returns the id of the key that the statement names; it is not checked.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// Returns the payload, unchecked: enough to find the key to check it with.
    #[must_use]
    pub const fn unverified_payload(&self) -> &Bytes {
        &self.payload
    }

    /// The signature's bytes.
    #[must_use]
    pub const fn signature(&self) -> &[u8; 64] {
        &self.signature
    }
}

impl TryFrom<wire::SignedStatement> for SignedStatement {
    type Error = SignatureError;

    fn try_from(wire: wire::SignedStatement) -> Result<Self, Self::Error> {
        let wire::SignedStatement {
            payload,
            key_id,
            signature,
        } = wire;
        Ok(Self {
            // Copied: a slice would keep the whole received message alive.
            payload: Bytes::copy_from_slice(&payload),
            key_id: KeyId::from_slice(&key_id).ok_or(SignatureError::Malformed)?,
            signature: signature
                .as_ref()
                .try_into()
                .map_err(|_| SignatureError::Malformed)?,
        })
    }
}

impl From<&SignedStatement> for wire::SignedStatement {
    fn from(statement: &SignedStatement) -> Self {
        Self {
            payload: statement.payload.clone(),
            key_id: Bytes::copy_from_slice(statement.key_id.as_bytes()),
            signature: Bytes::copy_from_slice(&statement.signature),
        }
    }
}

/// Signs `payload` as a statement of type `S` and returns the signature alone.
///
/// # Errors
///
/// [`SignatureError::WrongUse`] if the key is for another kind of statement.
pub fn sign_detached<S: StatementType>(
    payload: &[u8],
    key: &SigningKey,
) -> Result<[u8; 64], SignatureError> {
    require_use::<S>(key.usage())?;
    Ok(key.sign_bytes(&pre_authentication_encoding(S::PAYLOAD_TYPE, payload)))
}

/// Checks a signature that is kept apart from its payload.
///
/// # Errors
///
/// [`SignatureError`] if the key has another use or does not verify.
pub fn verify_detached<S: StatementType>(
    payload: &[u8],
    signature: &[u8; 64],
    key: &PublicKey,
) -> Result<(), SignatureError> {
    require_use::<S>(key.usage())?;
    let signed = pre_authentication_encoding(S::PAYLOAD_TYPE, payload);
    if key.verifies(&signed, signature) {
        Ok(())
    } else {
        Err(SignatureError::Invalid)
    }
}

fn require_use<S: StatementType>(actual: KeyUse) -> Result<(), SignatureError> {
    if actual == S::KEY_USE {
        Ok(())
    } else {
        Err(SignatureError::WrongUse {
            required: S::KEY_USE,
            actual,
        })
    }
}

/// Encodes as DSSE does: `DSSEv1 SP LEN(type) SP type SP LEN(body) SP body`, lengths in ASCII
/// decimal.
fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut encoded = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    )
    .into_bytes();
    encoded.extend_from_slice(payload);
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Batch;
    impl StatementType for Batch {
        const PAYLOAD_TYPE: &'static str = "application/vnd.test.batch";
        const KEY_USE: KeyUse = KeyUse::Sealing;
    }
    struct Receipt;
    impl StatementType for Receipt {
        const PAYLOAD_TYPE: &'static str = "application/vnd.test.receipt";
        const KEY_USE: KeyUse = KeyUse::Sealing;
    }

    #[test]
    fn the_encoding_is_the_one_of_the_dsse_specification() {
        // The example of DSSE's protocol.md.
        assert_eq!(
            pre_authentication_encoding("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn a_key_of_another_use_neither_signs_nor_verifies() {
        let hop = SigningKey::from_seed(KeyUse::Hop, [7; 32]);
        assert!(SignedStatement::sign::<Batch>(Bytes::from_static(b"x"), &hop).is_err());
        let sealing = SigningKey::from_seed(KeyUse::Sealing, [7; 32]);
        let signed = SignedStatement::sign::<Batch>(Bytes::from_static(b"x"), &sealing).unwrap();
        assert!(signed.verify::<Batch>(&hop.public()).is_err());
        assert!(signed.verify::<Batch>(&sealing.public()).is_ok());
    }

    #[test]
    fn a_payload_of_another_type_does_not_verify() {
        let key = SigningKey::from_seed(KeyUse::Sealing, [7; 32]);
        let signed = SignedStatement::sign::<Batch>(Bytes::from_static(b"x"), &key).unwrap();
        assert_eq!(
            signed.verify::<Receipt>(&key.public()),
            Err(SignatureError::Invalid)
        );
    }
}

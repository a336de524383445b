//! A register with its signatures, and the steps from one epoch to the next.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message as _;

use super::{Register, RegisterError, convert::MAX_KEYS};
use crate::{
    digest::Digest,
    keys::{KeyId, KeyUse, PublicKey, SigningKey},
    rules::Rule,
    shape,
    statement::{SignatureError, StatementType, sign_detached, verify_detached},
    verify::Refusal,
    wire,
};

/// The most signatures an epoch carries: of the governance before it and of its own.
const MAX_SIGNATURES: usize = 2 * MAX_KEYS;

/// The governance's statement over an epoch.
enum RegisterType {}

impl StatementType for RegisterType {
    const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.register.v1";
    const KEY_USE: KeyUse = KeyUse::Governance;
}

/// An epoch in circulation: its bytes and the signatures collected so far.
#[derive(Debug, Clone, PartialEq)]
pub struct SignedRegister {
    payload: Bytes,
    signatures: Vec<(KeyId, [u8; 64])>,
}

impl SignedRegister {
    /// The epoch without a signature.
    ///
    /// # Errors
    ///
    /// [`RegisterError`] if every node would refuse its content.
    pub fn unsigned(register: &Register) -> Result<Self, RegisterError> {
        let wire = wire::Register::from(register);
        if Register::try_from(wire.clone())? != *register {
            return Err(RegisterError::Lossy);
        }
        Ok(Self {
            payload: wire.encode_to_vec().into(),
            signatures: Vec::new(),
        })
    }

    /// Adds a governance signature, once per key.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if the key is no governance key.
    pub fn sign(&mut self, key: &SigningKey) -> Result<(), SignatureError> {
        let signature = sign_detached::<RegisterType>(&self.payload, key)?;
        self.signatures.retain(|(id, _)| *id != key.id());
        self.signatures.push((key.id(), signature));
        Ok(())
    }

    /// Returns the digest by which the next epoch names this one; a first epoch is pinned by it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::labelled("portcullis register v1", &[&self.payload])
    }

    /// Reads the file or message that carries an epoch.
    ///
    /// # Errors
    ///
    /// [`RegisterError::Unreadable`] if the bytes hold none.
    pub fn decode(bytes: &[u8]) -> Result<Self, RegisterError> {
        let wire::SignedRegister {
            payload,
            signatures,
        } = wire::SignedRegister::decode(bytes).map_err(|_| RegisterError::Unreadable)?;
        if signatures.len() > MAX_SIGNATURES {
            return Err(RegisterError::Unreadable);
        }
        let signatures = signatures
            .into_iter()
            .map(|signature| {
                let id = KeyId::from_slice(&signature.key_id)?;
                let bytes: [u8; 64] = signature.signature.as_ref().try_into().ok()?;
                Some((id, bytes))
            })
            .collect::<Option<Vec<_>>>()
            .ok_or(RegisterError::Unreadable)?;
        Ok(Self {
            payload,
            signatures,
        })
    }

    /// Writes the file or message that carries it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::SignedRegister {
            payload: self.payload.clone(),
            signatures: self
                .signatures
                .iter()
                .map(|(id, signature)| wire::Signature {
                    key_id: Bytes::copy_from_slice(id.as_bytes()),
                    signature: Bytes::copy_from_slice(signature),
                })
                .collect(),
        }
        .encode_to_vec()
    }

    /// Returns the content without checking any signature. It is for display; nothing may act on
    /// it.
    ///
    /// # Errors
    ///
    /// [`RegisterError`] if it cannot be read.
    pub fn unverified(&self) -> Result<Register, RegisterError> {
        shape::read::<wire::Register>(&self.payload)?.try_into()
    }

    /// The keys whose signatures are attached; none of them is checked.
    pub fn signers(&self) -> impl Iterator<Item = KeyId> {
        self.signatures.iter().map(|(id, _)| *id)
    }

    /// Returns those of `keys` that have signed, with verified signatures.
    #[must_use]
    pub fn signed_by(&self, keys: &[PublicKey]) -> BTreeSet<KeyId> {
        let verifies = |id: &KeyId, signature: &[u8; 64]| {
            let key = keys.iter().find(|key| key.id() == *id);
            key.is_some_and(|key| {
                verify_detached::<RegisterType>(&self.payload, signature, key).is_ok()
            })
        };
        self.signatures
            .iter()
            .filter(|(id, signature)| verifies(id, signature))
            .map(|(id, _)| *id)
            .collect()
    }

    fn require_signatures(&self, by: &Register, whose: &str) -> Result<(), Refusal> {
        let signed = self.signed_by(&by.governance).len();
        let needed = usize::try_from(by.threshold).unwrap_or(usize::MAX);
        if signed >= needed {
            return Ok(());
        }
        let detail = format!("{signed} of {needed} signatures of {whose} governance");
        Err(Refusal::new(Rule::RegisterSignatures, detail))
    }
}

/// An epoch that was verified: the first against its pin, each later one against the one before.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedRegister {
    register: Register,
    signed: SignedRegister,
    digest: Digest,
}

impl VerifiedRegister {
    /// Checks a first epoch against its pinned digest.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] if it is not the pinned one, not the first, or lacks signatures.
    pub fn first(signed: SignedRegister, pin: &Digest) -> Result<Self, Refusal> {
        let digest = signed.digest();
        // A later epoch in the place of the first one is a file that is missing, and no other federation.
        let later = |signed: &SignedRegister| {
            let epoch = signed.unverified().map_or(1, |register| register.epoch);
            (epoch > 1).then_some(epoch)
        };
        if digest != *pin
            && let Some(epoch) = later(&signed)
        {
            let detail = format!("epoch {epoch} is not the first: every epoch from 1 on is needed");
            return Err(Refusal::new(Rule::RegisterEpoch, detail));
        }
        if digest != *pin {
            let detail = format!("its digest is `{digest}`, `{pin}` is pinned");
            return Err(Refusal::new(Rule::RegisterPin, detail));
        }
        let register = signed.unverified()?;
        if register.epoch != 1 {
            let detail = format!("epoch {} is not the first", register.epoch);
            return Err(Refusal::new(Rule::RegisterEpoch, detail));
        }
        signed.require_signatures(&register, "its own")?;
        Ok(Self {
            register,
            signed,
            digest,
        })
    }

    /// Checks the epoch that follows this one.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] if it is not the next epoch of this federation, does not name this one, or
    /// lacks signatures of this epoch's governance or of its own.
    pub fn next(&self, signed: SignedRegister) -> Result<Self, Refusal> {
        let register = signed.unverified()?;
        if register.federation != self.register.federation {
            let detail = format!("it is of `{}`", register.federation);
            return Err(Refusal::new(Rule::RegisterFederation, detail));
        }
        if register.epoch.checked_sub(1) != Some(self.register.epoch) {
            let detail = format!(
                "epoch {} does not follow epoch {}",
                register.epoch, self.register.epoch
            );
            return Err(Refusal::new(Rule::RegisterEpoch, detail));
        }
        if register.previous != Some(self.digest) {
            let detail = format!(
                "epoch {} here has digest `{}`",
                self.register.epoch, self.digest
            );
            return Err(Refusal::new(Rule::RegisterChain, detail));
        }
        if register.development != self.register.development {
            let detail = "a federation does not become or cease to be a development one";
            return Err(Refusal::new(Rule::RegisterContent, detail));
        }
        signed.require_signatures(&self.register, "the present")?;
        signed.require_signatures(&register, "its own")?;
        let digest = signed.digest();
        Ok(Self {
            register,
            signed,
            digest,
        })
    }

    /// The content.
    #[must_use]
    pub const fn register(&self) -> &Register {
        &self.register
    }

    /// The content with its signatures, to pass on.
    #[must_use]
    pub const fn signed(&self) -> &SignedRegister {
        &self.signed
    }

    /// Its digest.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

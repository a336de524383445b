//! Membership requests: an authority asks to be admitted or changed, and proves that it holds its
//! keys.

use bytes::Bytes;
use prost::Message as _;

use super::{Authority, Node, RegisterError};
use crate::{
    identifiers::FederationId,
    keys::{KeyId, KeyUse, PublicKey, SigningKey},
    rules::Rule,
    shape,
    statement::{SignatureError, StatementType, sign_detached, verify_detached},
    time::Timestamp,
    verify::{KeyStanding, Refusal},
    wire,
};

/// Declares statement types over one request, one for each use of key.
macro_rules! possession {
    ($($name:ident = $usage:ident),+) => {
        $(
            enum $name {}
            impl StatementType for $name {
                const PAYLOAD_TYPE: &'static str =
                    "application/vnd.portcullis.membership-request.v1";
                const KEY_USE: KeyUse = KeyUse::$usage;
            }
        )+
    };
}
possession!(BySealing = Sealing, ByHop = Hop, ByLog = Log);

/// An authority's request to be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipRequest {
    /// The federation that it wants to be listed in.
    pub federation: FederationId,
    /// The entry that it asks for.
    pub authority: Authority,
    /// Time of the request.
    pub made_at: Timestamp,
}

/// A request with a signature by each of its Ed25519 keys.
#[derive(Debug, Clone, PartialEq)]
pub struct SignedMembershipRequest {
    payload: Bytes,
    signatures: Vec<(KeyId, [u8; 64])>,
}

impl SignedMembershipRequest {
    /// Signs a request with all of the authority's signing keys.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if a key has a use that no node has.
    pub fn sign(request: &MembershipRequest, keys: &[&SigningKey]) -> Result<Self, SignatureError> {
        let payload: Bytes = wire::MembershipRequest {
            federation: request.federation.to_string(),
            authority: Some(request.authority.to_wire(&request.federation)),
            made_at_ms: request.made_at.as_millis(),
        }
        .encode_to_vec()
        .into();
        let signatures = keys
            .iter()
            .map(|key| Ok((key.id(), sign_possession(&payload, key)?)))
            .collect::<Result<_, SignatureError>>()?;
        Ok(Self {
            payload,
            signatures,
        })
    }

    /// Writes the file that carries it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::SignedMembershipRequest {
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

    /// Reads a request and checks that each of its Ed25519 keys in force has signed it.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] if it is unreadable, malformed, or a key has not signed.
    pub fn verify(bytes: &[u8]) -> Result<MembershipRequest, Refusal> {
        let unreadable = || Refusal::from(RegisterError::Unreadable);
        let wire = wire::SignedMembershipRequest::decode(bytes).map_err(|_| unreadable())?;
        let payload = wire.payload.clone();
        let request =
            shape::read::<wire::MembershipRequest>(&payload).map_err(RegisterError::from)?;
        let federation: FederationId = request.federation.parse().map_err(|_| unreadable())?;
        let authority = request.authority.ok_or_else(unreadable)?;
        let authority = Authority::from_wire(authority, &federation)?;
        for node in &authority.nodes {
            require_keys(&wire, node)?;
        }
        Ok(MembershipRequest {
            federation,
            authority,
            made_at: Timestamp::from_millis(request.made_at_ms),
        })
    }
}

fn sign_possession(payload: &[u8], key: &SigningKey) -> Result<[u8; 64], SignatureError> {
    match key.usage() {
        KeyUse::Hop => sign_detached::<ByHop>(payload, key),
        KeyUse::Log => sign_detached::<ByLog>(payload, key),
        // Uses other than sealing are refused by `sign_detached`.
        KeyUse::Sealing
        | KeyUse::Agreement
        | KeyUse::Governance
        | KeyUse::Person
        | KeyUse::Freshness => sign_detached::<BySealing>(payload, key),
    }
}

/// Checks that every key of the node in force has signed, and that at least one of them can sign. A
/// key that has ended may be lost and need not sign.
fn require_keys(request: &wire::SignedMembershipRequest, node: &Node) -> Result<(), Refusal> {
    let mut proved = false;
    for key in &node.keys {
        if key.standing() == KeyStanding::InForce {
            require_possession(request, &key.public)?;
            proved |= key.public.usage() != KeyUse::Agreement;
        }
    }
    if proved {
        Ok(())
    } else {
        let detail = format!("node `{}` has no key that signs", node.id);
        Err(Refusal::new(Rule::RequestSignatures, detail))
    }
}

/// Checks the signature of one key. An agreement key signs nothing; its owner vouches for it by
/// signing with the others.
fn require_possession(
    request: &wire::SignedMembershipRequest,
    key: &PublicKey,
) -> Result<(), Refusal> {
    let check = match key.usage() {
        KeyUse::Sealing => verify_detached::<BySealing>,
        KeyUse::Hop => verify_detached::<ByHop>,
        KeyUse::Log => verify_detached::<ByLog>,
        KeyUse::Agreement => return Ok(()),
        KeyUse::Governance | KeyUse::Person | KeyUse::Freshness => {
            return Err(Refusal::new(
                Rule::RequestSignatures,
                format!("a node has no {} key", key.usage()),
            ));
        }
    };
    let proved = request.signatures.iter().any(|signature| {
        let bytes: Option<[u8; 64]> = signature.signature.as_ref().try_into().ok();
        signature.key_id.as_ref() == key.id().as_bytes()
            && bytes.is_some_and(|bytes| check(&request.payload, &bytes, key).is_ok())
    });
    if proved {
        Ok(())
    } else {
        let detail = format!("{} key `{}` has not signed", key.usage(), key.id());
        Err(Refusal::new(Rule::RequestSignatures, detail))
    }
}

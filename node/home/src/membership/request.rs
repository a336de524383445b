//! Request of a node to be listed: its authority's facts, its keys, and the proof that it holds
//! them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use portcullis_protocol::{
    identifiers::{AuthorityId, CountryCode, NodeId},
    keys::{KeyId, KeyUse, SigningKey},
    register::{
        Authority, AuthorityKind, LegalRegime, MembershipRequest, Node, Register, RegisteredKey,
        SignedMembershipRequest,
    },
    statement::SignatureError,
    time::Timestamp,
    verify::Refusal,
};

use crate::{
    config::Config,
    files::{self, FileError},
    keyring::Keyring,
};

/// Facts that an authority states about itself, besides those in its node's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberFacts {
    /// Name of the authority, for people.
    pub name: String,
    /// Kind of authority.
    pub kind: AuthorityKind,
    /// Country of the authority.
    pub country: CountryCode,
    /// Name of its parent, for instance a ministry.
    pub group: String,
    /// Law under which it processes personal data.
    pub regime: LegalRegime,
    /// Communities that it belongs to.
    pub communities: Vec<String>,
    /// Authorities that are its clients.
    pub clients: Vec<AuthorityId>,
    /// Contact for people.
    pub contact: String,
    /// Address at which peers connect to its node: `host:port`.
    pub endpoint: String,
    /// Certificate of its own CA, in DER.
    pub trust_anchor: Vec<u8>,
}

/// Error of a request that is not made or not accepted.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The request is refused.
    #[error("`{}` is refused: {}: {}; {}", path.display(), refusal.rule, refusal.detail, refusal.rule.remedy())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Rule that refuses, with details.
        refusal: Refusal,
    },
    /// The given facts cannot stand in a register.
    #[error("the request would be refused: {}; correct what was given", .0.detail)]
    Content(Refusal),
    /// The register does not list the node.
    #[error(
        "the register does not list node `{0}`; ask to be listed with `portcullis federation request`"
    )]
    NotListed(NodeId),
    /// A key has another use.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

/// Makes the request of a node, signed with each of its keys.
///
/// # Errors
///
/// [`RequestError::Content`] if the facts cannot stand in a register.
pub fn make_request(
    config: &Config,
    keyring: &Keyring,
    facts: MemberFacts,
    now: Timestamp,
) -> Result<Vec<u8>, RequestError> {
    let MemberFacts {
        name,
        kind,
        country,
        group,
        regime,
        communities,
        clients,
        contact,
        endpoint,
        trust_anchor,
    } = facts;
    let keys = keyring.public_keys();
    let node = Node {
        id: config.node.clone(),
        dns_name: config.dns_name.to_string(),
        endpoint,
        trust_anchor,
        keys: keys.into_iter().map(RegisteredKey::in_force).collect(),
    };
    let request = MembershipRequest {
        federation: config.federation.clone(),
        authority: Authority {
            id: config.authority.clone(),
            name,
            kind,
            country,
            group,
            regime,
            communities,
            clients,
            nodes: vec![node],
            contact,
        },
        made_at: now,
    };
    let keys = keyring.signing_keys();
    let keys: Vec<&SigningKey> = keys.iter().map(AsRef::as_ref).collect();
    signed(&request, &keys)
}

/// Signs a request. A request that its reader would refuse is not returned.
fn signed(request: &MembershipRequest, keys: &[&SigningKey]) -> Result<Vec<u8>, RequestError> {
    let bytes = SignedMembershipRequest::sign(request, keys)?.encode();
    SignedMembershipRequest::verify(&bytes).map_err(RequestError::Content)?;
    Ok(bytes)
}

/// Makes the request of a listed node to be listed with its newest keys, and otherwise unchanged.
/// The newest keys and the present ones sign it, so that whoever admits it sees that it comes from
/// the listed node.
///
/// # Errors
///
/// [`RequestError::NotListed`] if the register does not list the node.
pub fn request_new_keys(
    config: &Config,
    keyring: &Keyring,
    register: &Register,
    now: Timestamp,
) -> Result<Vec<u8>, RequestError> {
    let (authority, node) = register
        .node(&config.node)
        .ok_or_else(|| RequestError::NotListed(config.node.clone()))?;
    let keys = keyring.public_keys();
    let request = MembershipRequest {
        federation: config.federation.clone(),
        authority: Authority {
            nodes: vec![Node {
                keys: keys.into_iter().map(RegisteredKey::in_force).collect(),
                ..node.clone()
            }],
            ..authority.clone()
        },
        made_at: now,
    };
    let present = [KeyUse::Sealing, KeyUse::Hop, KeyUse::Log]
        .map(|usage| keyring.signing(usage, Some(node), now));
    let mut signing: BTreeMap<KeyId, Arc<SigningKey>> = BTreeMap::new();
    for key in keyring.signing_keys().into_iter().chain(present) {
        signing.insert(key.id(), key);
    }
    let keys: Vec<&SigningKey> = signing.values().map(AsRef::as_ref).collect();
    signed(&request, &keys)
}

/// Reads a request and checks that each of its keys has signed it.
///
/// # Errors
///
/// [`RequestError`] if the file cannot be read or the request is refused.
pub fn read_request(path: &Path) -> Result<MembershipRequest, RequestError> {
    SignedMembershipRequest::verify(&files::read(path)?).map_err(|refusal| RequestError::Refused {
        path: path.to_owned(),
        refusal,
    })
}

//! A node's request to be listed: its authority's facts, its keys, and the proof that it has them.

use std::path::{Path, PathBuf};

use portcullis_protocol::{
    identifiers::{AuthorityId, CountryCode},
    register::{
        Authority, AuthorityKind, LegalRegime, MembershipRequest, Node, RegisteredKey,
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

/// What an authority says of itself, beside what its node's configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberFacts {
    /// Its name, for people.
    pub name: String,
    /// What kind of authority it is.
    pub kind: AuthorityKind,
    /// Its country.
    pub country: CountryCode,
    /// Its parent, for instance a ministry.
    pub group: String,
    /// Under which law it processes personal data.
    pub regime: LegalRegime,
    /// The communities it belongs to.
    pub communities: Vec<String>,
    /// The authorities that are its clients.
    pub clients: Vec<AuthorityId>,
    /// Whom to call.
    pub contact: String,
    /// Where peers connect to its node: `host:port`.
    pub endpoint: String,
    /// The certificate of its own CA, DER.
    pub trust_anchor: Vec<u8>,
}

/// Why a request is not made or not taken.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is refused.
    #[error("`{}` is refused: {}: {}; {}", path.display(), refusal.rule, refusal.detail, refusal.rule.remedy())]
    Refused {
        /// The file.
        path: PathBuf,
        /// The rule and what about it.
        refusal: Refusal,
    },
    /// What was given cannot stand in a register.
    #[error("the request would be refused: {}; correct what was given", .0.detail)]
    Content(Refusal),
    /// A key has another use.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

/// Makes the request of a node, signed with each of its keys.
///
/// # Errors
///
/// [`RequestError::Content`] if the facts could not stand in a register.
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
    let bytes = SignedMembershipRequest::sign(&request, &keyring.signing_keys())?.encode();
    // What is refused by whoever reads it is not handed out.
    SignedMembershipRequest::verify(&bytes).map_err(RequestError::Content)?;
    Ok(bytes)
}

/// Reads a request and checks that each of its keys has signed it.
///
/// # Errors
///
/// [`RequestError`] if it is refused.
pub fn read_request(path: &Path) -> Result<MembershipRequest, RequestError> {
    SignedMembershipRequest::verify(&files::read(path)?).map_err(|refusal| RequestError::Refused {
        path: path.to_owned(),
        refusal,
    })
}

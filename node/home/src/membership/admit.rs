//! Makes the next epoch from the present one and the requests of members, for the governance to
//! sign.
//!
//! A request proves that the requester holds its keys, but not who the requester is. Whoever admits
//! it must compare the key ids with the authority by another way. A change of a listed member is
//! refused unless changes are permitted, and so is a present epoch that its own governance has not
//! signed. Keys that a member no longer names are retired, never dropped. Records that they sealed
//! stay verifiable, and records still on their way arrive if the keys are given some time.

use portcullis_protocol::{
    identifiers::{AuthorityId, FederationId},
    register::{
        Authority, MembershipRequest, Node, Register, RegisterError, RegisteredKey, SignedRegister,
    },
    rules::Rule,
    time::Timestamp,
    verify::KeyStanding,
};

use super::governance::Signatures;

/// Extent of an admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// New members only.
    NewOnly,
    /// Changes of listed members as well. Keys that they no longer name are retired after
    /// `overlap_ms`.
    Changes {
        /// Time until those keys are retired, in milliseconds.
        overlap_ms: i64,
    },
}

/// Outcome of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admitted {
    /// The member was not listed before.
    New(AuthorityId),
    /// The member was listed, and its entry is changed.
    Changed(AuthorityId),
}

/// Error of an epoch that is not made. It is the governance's to correct.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdmitError {
    /// The present epoch cannot be read, or the next one would contradict itself.
    #[error(transparent)]
    Content(#[from] RegisterError),
    /// The present epoch has too few signatures.
    #[error(
        "the present epoch has {valid} of {threshold} signatures of its governance; let it be signed first with `portcullis federation sign`"
    )]
    Unsigned {
        /// Number of signatures that verify.
        valid: usize,
        /// Number of signatures needed.
        threshold: usize,
    },
    /// The request is for another federation.
    #[error(
        "the request of `{authority}` is for federation `{requested}`, this one is `{federation}`"
    )]
    OtherFederation {
        /// Authority that asks.
        authority: AuthorityId,
        /// Federation that its request names.
        requested: FederationId,
        /// Federation of the present epoch.
        federation: FederationId,
    },
    /// The member is listed already.
    #[error(
        "`{0}` is listed already; if it means to change its entry, compare the key ids with it by another way and give `--change`"
    )]
    Listed(AuthorityId),
    /// The request names a key that has ended: it was made before the key was exchanged.
    #[error(
        "the request of `{authority}` names key `{key:.16}`, which ends or has ended at {at}: it is older than the keys of its node; let it make a new one with `portcullis federation request`"
    )]
    EndedKey {
        /// Authority that asks.
        authority: AuthorityId,
        /// Id of the key.
        key: String,
        /// End of the key.
        at: Timestamp,
    },
    /// There is no request.
    #[error("name at least one request")]
    Nothing,
    /// The number of the present epoch is the last possible one.
    #[error("there is no epoch after {0}")]
    LastEpoch(u64),
}

impl AdmitError {
    /// Returns the rule on which the refusal stands, if it is one between nodes.
    #[must_use]
    pub const fn rule(&self) -> Option<Rule> {
        match self {
            Self::Content(RegisterError::Unreadable) => Some(Rule::RegisterUnreadable),
            Self::Content(_) => Some(Rule::RegisterContent),
            Self::Unsigned { .. } => Some(Rule::RegisterSignatures),
            Self::OtherFederation { .. } => Some(Rule::RegisterFederation),
            Self::Listed(_) | Self::EndedKey { .. } | Self::Nothing | Self::LastEpoch(_) => None,
        }
    }
}

/// Makes the unsigned epoch after `present`, with the members that asked.
///
/// # Errors
///
/// [`AdmitError`] if the present epoch or a request is refused.
pub fn admit(
    present: &SignedRegister,
    requests: Vec<MembershipRequest>,
    admission: Admission,
    now: Timestamp,
) -> Result<(SignedRegister, Vec<Admitted>), AdmitError> {
    let mut register = present.unverified()?;
    let signatures = Signatures::of(&register, present);
    if !signatures.suffice() {
        return Err(AdmitError::Unsigned {
            valid: signatures.valid.len(),
            threshold: signatures.threshold,
        });
    }
    if requests.is_empty() {
        return Err(AdmitError::Nothing);
    }
    let mut admitted = Vec::with_capacity(requests.len());
    for request in requests {
        admitted.push(enter(&mut register, request, admission, now)?);
    }
    let last = AdmitError::LastEpoch(register.epoch);
    register.epoch = register.epoch.checked_add(1).ok_or(last)?;
    register.previous = Some(present.digest());
    register.issued_at = now;
    Ok((SignedRegister::unsigned(&register)?, admitted))
}

fn enter(
    register: &mut Register,
    request: MembershipRequest,
    admission: Admission,
    now: Timestamp,
) -> Result<Admitted, AdmitError> {
    let MembershipRequest {
        federation,
        authority,
        made_at: _,
    } = request;
    let id = authority.id.clone();
    if federation != register.federation {
        return Err(AdmitError::OtherFederation {
            authority: id,
            requested: federation,
            federation: register.federation.clone(),
        });
    }
    match (register.authorities.remove(&id), admission) {
        (None, Admission::NewOnly | Admission::Changes { .. }) => {
            register.authorities.insert(id.clone(), authority);
            Ok(Admitted::New(id))
        }
        (Some(_), Admission::NewOnly) => Err(AdmitError::Listed(id)),
        (Some(listed), Admission::Changes { overlap_ms }) => {
            refuse_ended(&listed, &authority)?;
            let changed = changed(listed, authority, now.plus_millis(overlap_ms));
            register.authorities.insert(id.clone(), changed);
            Ok(Admitted::Changed(id))
        }
    }
}

/// Refuses a request that names a key which has ended. It would retire the key that is in force, and leave the node
/// without one.
fn refuse_ended(listed: &Authority, asked: &Authority) -> Result<(), AdmitError> {
    let known = || listed.nodes.iter().flat_map(|node| &node.keys);
    for key in asked.nodes.iter().flat_map(|node| &node.keys) {
        let listed = known().find(|known| known.public == key.public);
        match listed.map(RegisteredKey::standing) {
            None | Some(KeyStanding::InForce) => {}
            Some(KeyStanding::RetiredSince(at) | KeyStanding::CompromisedSince(at)) => {
                return Err(AdmitError::EndedKey {
                    authority: asked.id.clone(),
                    key: key.public.id().to_string(),
                    at,
                });
            }
        }
    }
    Ok(())
}

/// Returns the authority as it asks to be listed, with its other nodes and the keys it no longer
/// names.
fn changed(listed: Authority, asked: Authority, retire: Timestamp) -> Authority {
    let mut nodes = listed.nodes;
    for node in asked.nodes {
        match nodes.iter_mut().find(|present| present.id == node.id) {
            Some(present) => {
                let keys = retired(&present.keys, &node.keys, retire);
                *present = Node { keys, ..node };
            }
            None => nodes.push(node),
        }
    }
    Authority { nodes, ..asked }
}

/// Returns the asked keys as they stand, and then the keys that are no longer named, retired at
/// `retire`.
fn retired(
    listed: &[RegisteredKey],
    asked: &[RegisteredKey],
    retire: Timestamp,
) -> Vec<RegisteredKey> {
    let find = |keys: &[RegisteredKey], key: &RegisteredKey| {
        keys.iter()
            .find(|found| found.public == key.public)
            .cloned()
    };
    let named = asked
        .iter()
        .map(|key| find(listed, key).unwrap_or_else(|| key.clone()));
    let unnamed = listed
        .iter()
        .filter(|key| find(asked, key).is_none())
        .map(|key| RegisteredKey {
            retired_at: key.retired_at.or(Some(retire)),
            ..key.clone()
        });
    named.chain(unnamed).collect()
}

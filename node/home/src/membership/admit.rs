//! The next epoch: the present one with the members that asked, for the governance to sign.
//!
//! A request proves that its keys are held, not by whom: whoever admits compares the key ids with
//! the authority by another way. Refuses to change a member that is listed unless that is asked
//! for, and a present epoch that its own governance has not signed. Keys that a member no longer
//! names are retired, never dropped: what they sealed stays verifiable, and what is on its way
//! under them arrives if they are given some time.

use portcullis_protocol::{
    identifiers::{AuthorityId, FederationId},
    register::{
        Authority, MembershipRequest, Node, Register, RegisterError, RegisteredKey, SignedRegister,
    },
    rules::Rule,
    time::Timestamp,
};

use super::governance::Signatures;

/// What may be admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// New members only.
    NewOnly,
    /// Changes of members as well. Keys that are named no more are retired after this time.
    Changes {
        /// In milliseconds.
        overlap_ms: i64,
    },
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admitted {
    /// A member that was not listed.
    New(AuthorityId),
    /// A member that is listed otherwise from now on.
    Changed(AuthorityId),
}

/// Why no next epoch is made. The governance's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdmitError {
    /// The present epoch cannot be read, or the next would contradict itself.
    #[error(transparent)]
    Content(#[from] RegisterError),
    /// The present epoch is not signed.
    #[error(
        "the present epoch has {valid} of {threshold} signatures of its governance; let it be signed first with `portcullis federation sign`"
    )]
    Unsigned {
        /// Signatures that verify.
        valid: usize,
        /// Signatures needed.
        threshold: usize,
    },
    /// The request is for another federation.
    #[error(
        "the request of `{authority}` is for federation `{requested}`, this one is `{federation}`"
    )]
    OtherFederation {
        /// Who asks.
        authority: AuthorityId,
        /// The federation it asks.
        requested: FederationId,
        /// This federation.
        federation: FederationId,
    },
    /// The member is listed.
    #[error(
        "`{0}` is listed already; if it means to change its entry, compare the key ids with it by another way and give `--change`"
    )]
    Listed(AuthorityId),
    /// Nothing was asked.
    #[error("name at least one request")]
    Nothing,
    /// There is no further epoch.
    #[error("there is no epoch after {0}")]
    LastEpoch(u64),
}

impl AdmitError {
    /// The rule that the refusal stands on, if it is one between nodes.
    #[must_use]
    pub const fn rule(&self) -> Option<Rule> {
        match self {
            Self::Content(RegisterError::Unreadable) => Some(Rule::RegisterUnreadable),
            Self::Content(_) => Some(Rule::RegisterContent),
            Self::Unsigned { .. } => Some(Rule::RegisterSignatures),
            Self::OtherFederation { .. } => Some(Rule::RegisterFederation),
            Self::Listed(_) | Self::Nothing | Self::LastEpoch(_) => None,
        }
    }
}

/// Makes the epoch after `present` with the members that asked, unsigned.
///
/// # Errors
///
/// [`AdmitError`].
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
            let changed = changed(listed, authority, now.plus_millis(overlap_ms));
            register.authorities.insert(id.clone(), changed);
            Ok(Admitted::Changed(id))
        }
    }
}

/// The authority as it asks to be, with its other nodes and with the keys it no longer names.
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

/// The asked keys as they stand, then those that are no longer named, retired at that time.
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
    // A key that had ended does not come back by asking for it.
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

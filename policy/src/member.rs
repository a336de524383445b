//! Members as policies see them: the register's facts, the only facts that widen.

use std::collections::BTreeMap;

use portcullis_protocol::{
    identifiers::AuthorityId,
    register::{Authority, Register},
};

use crate::encoding::encode_member;

/// The register's facts about one authority, encoded for the key of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    id: AuthorityId,
    encoded: Box<[u8]>,
}

impl Member {
    /// Encodes the facts of `authority` that policies see.
    #[must_use]
    pub fn of(authority: &Authority) -> Self {
        Self {
            id: authority.id.clone(),
            encoded: encode_member(authority),
        }
    }

    /// Returns the authority's id.
    #[must_use]
    pub const fn id(&self) -> &AuthorityId {
        &self.id
    }

    pub(crate) fn encoded(&self) -> &[u8] {
        &self.encoded
    }
}

/// The members of one epoch of the register; made once per epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    epoch: u64,
    members: BTreeMap<AuthorityId, Member>,
}

impl Roster {
    /// Makes the roster of the members that `register` lists.
    #[must_use]
    pub fn of(register: &Register) -> Self {
        let members = register.authorities.values().map(Member::of);
        Self {
            epoch: register.epoch,
            members: members.map(|member| (member.id.clone(), member)).collect(),
        }
    }

    /// The register's epoch.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns the member with this id.
    #[must_use]
    pub fn member(&self, id: &AuthorityId) -> Option<&Member> {
        self.members.get(id)
    }

    /// Every member, ordered by id.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }
}

//! Versions of the protocol: this node's, and those that its peers have stated since the start.
//!
//! A peer is believed to have the version that it stated last over an authenticated connection. After
//! a start, all are believed to have the first one until they state another.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use portcullis_protocol::{identifiers::NodeId, record::Header, version};

/// The version that this node states, and the one that it finds a record to need.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    /// Version that it states; `None`: it states none.
    pub states: Option<u32>,
    /// Returns the version that a record with this header needs.
    pub needed: fn(&Header) -> u32,
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            states: Some(version::OWN),
            needed: version::needed,
        }
    }
}

/// A peer's version, and which versions records need.
#[derive(Debug, Clone, Copy)]
pub struct Spoken {
    /// Version of the peer.
    pub version: u32,
    /// Returns the version that a record with this header needs.
    pub needed: fn(&Header) -> u32,
}

impl Default for Spoken {
    /// Returns what is believed of a peer that stated nothing.
    fn default() -> Self {
        Self {
            version: version::FIRST,
            needed: version::needed,
        }
    }
}

/// The versions that peers stated.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    /// This node's; locked for a moment only.
    own: Mutex<Dialect>,
    /// Those of peers; locked for a moment only.
    peers: Mutex<BTreeMap<NodeId, Stated>>,
}

/// Versions that a peer stated.
#[derive(Debug, Clone, Copy)]
struct Stated {
    newest: u32,
    highest: u32,
}

impl Versions {
    pub(crate) fn own(&self) -> Dialect {
        *self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn replace_own(&self, dialect: Dialect) {
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = dialect;
    }

    pub(crate) fn of(&self, peer: &NodeId) -> Spoken {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        Spoken {
            version: peers.get(peer).map_or(version::FIRST, |of| of.newest),
            needed: self.own().needed,
        }
    }

    /// Notes a peer's version. Returns `true` if it is higher than any before, so that a peer that
    /// states one and another in turn causes no work.
    pub(crate) fn stated(&self, peer: &NodeId, newest: u32) -> bool {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let of = peers.entry(peer.clone()).or_insert(Stated {
            newest,
            highest: version::FIRST,
        });
        of.newest = newest;
        let is_higher = newest > of.highest;
        of.highest = of.highest.max(newest);
        is_higher
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_version_higher_than_any_before_is_news() {
        let (versions, hub) = (Versions::default(), "hub-1".parse().unwrap());
        assert_eq!(versions.of(&hub).version, version::FIRST);
        let stated = [1, 3, 1, 3, 2, 4].map(|newest| versions.stated(&hub, newest));
        assert_eq!(stated, [false, true, false, false, false, true]);
        versions.stated(&hub, 2);
        assert_eq!(versions.of(&hub).version, 2);
    }
}

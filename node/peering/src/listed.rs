//! Addresses that belong to members: those that the register lists, and those from which members came.
//!
//! An address gives nobody trust. It only keeps places free for a handshake ([`super::listener`]).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_protocol::identifiers::NodeId;

/// Addresses of members; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Listed {
    // Guards the addresses alone. Held for one lookup or change, and never across an await.
    of: Arc<Mutex<Addresses>>,
}

#[derive(Debug, Default)]
struct Addresses {
    /// Addresses of each node's endpoint, by the register.
    register: BTreeMap<NodeId, BTreeSet<IpAddr>>,
    /// Address from which each node was last admitted, which may be that of its way out.
    seen: BTreeMap<NodeId, IpAddr>,
}

impl Listed {
    /// Takes the addresses of these nodes in place of those known from the register. Nodes that are not among them are
    /// forgotten.
    pub fn replace(&self, register: BTreeMap<NodeId, BTreeSet<IpAddr>>) {
        let mut of = self.lock();
        of.seen.retain(|node, _| register.contains_key(node));
        of.register = register;
    }

    /// Returns true if the address is a member's.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let of = self.lock();
        of.seen.values().any(|seen| *seen == address)
            || of.register.values().any(|of| of.contains(&address))
    }

    pub(super) fn saw(&self, node: &NodeId, address: IpAddr) {
        self.lock()
            .seen
            .insert(node.clone(), address.to_canonical());
    }

    fn lock(&self) -> MutexGuard<'_, Addresses> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_leaves_the_register_has_no_address_any_more() {
        let listed = Listed::default();
        let endpoint = BTreeSet::from([address("192.0.2.1")]);
        listed.replace([(node("antwerp"), endpoint)].into());
        listed.saw(&node("antwerp"), address("::ffff:198.51.100.1"));
        assert!(listed.contains(address("::ffff:192.0.2.1")));
        assert!(listed.contains(address("198.51.100.1")));
        listed.replace(BTreeMap::new());
        assert!(!listed.contains(address("192.0.2.1")));
        assert!(!listed.contains(address("198.51.100.1")));
    }
}

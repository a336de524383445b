//! Open delivery streams by peer and direction, with the time since which each is open.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use portcullis_protocol::{identifiers::NodeId, time::Timestamp};

use super::Kernel;

/// Direction of a delivery stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// This node delivers to the peer.
    ToPeer,
    /// The peer delivers to this node.
    FromPeer,
}

/// The delivery streams that are open. Their number is limited per peer.
#[derive(Debug, Clone, Default)]
pub struct Streams {
    /// Streams by peer and direction; locked for a moment only.
    open: Arc<Mutex<BTreeMap<(NodeId, Way), Open>>>,
}

#[derive(Debug)]
struct Open {
    count: usize,
    since: Timestamp,
}

/// Guard of an open stream, which counts as open until the guard is dropped.
#[derive(Debug)]
pub struct Connected {
    streams: Streams,
    which: (NodeId, Way),
}

impl Streams {
    fn enter(&self, peer: NodeId, way: Way, now: Timestamp) -> Connected {
        let which = (peer, way);
        self.lock()
            .entry(which.clone())
            .or_insert(Open {
                count: 0,
                since: now,
            })
            .count += 1;
        Connected {
            streams: self.clone(),
            which,
        }
    }

    fn since(&self, peer: &NodeId, way: Way) -> Option<Timestamp> {
        let which = (peer.clone(), way);
        self.lock().get(&which).map(|open| open.since)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(NodeId, Way), Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        if let Some(found) = open.get_mut(&self.which) {
            found.count = found.count.saturating_sub(1);
            if found.count == 0 {
                open.remove(&self.which);
            }
        }
    }
}

impl Kernel {
    /// Notes that a delivery stream is open, until the returned guard is dropped.
    #[must_use]
    pub fn connected(&self, peer: &NodeId, way: Way) -> Connected {
        self.streams.enter(peer.clone(), way, self.now())
    }

    /// Returns the time since which at least one delivery stream in this direction is open without
    /// a break.
    #[must_use]
    pub fn connected_since(&self, peer: &NodeId, way: Way) -> Option<Timestamp> {
        self.streams.since(peer, way)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_testbed::NOW;

    #[test]
    fn a_peer_is_connected_from_its_first_stream_to_the_end_of_its_last() {
        let streams = Streams::default();
        let peer: NodeId = "antwerp-1".parse().unwrap();
        let since = || streams.since(&peer, Way::ToPeer);
        assert_eq!(since(), None);
        let urgent = streams.enter(peer.clone(), Way::ToPeer, NOW);
        let bulk = streams.enter(peer.clone(), Way::ToPeer, NOW.plus_millis(7));
        assert_eq!(since(), Some(NOW));
        assert_eq!(streams.since(&peer, Way::FromPeer), None);
        drop(urgent);
        assert_eq!(since(), Some(NOW), "one stream is left");
        drop(bulk);
        assert_eq!(since(), None);
        let _again = streams.enter(peer.clone(), Way::ToPeer, NOW.plus_millis(9));
        assert_eq!(since(), Some(NOW.plus_millis(9)));
    }
}

//! Presence: finds out whether peers are there, so that a peer that is idle and one that is dead
//! differ before something has to be sent.
//!
//! An open delivery stream is a sign of life by itself: HTTP/2 pings go over it every 20 seconds. A
//! peer without one is asked now and then over a short connection ([`machine`]), which says nothing
//! but a ping.

pub mod machine;

use std::{sync::Arc, time::Duration};

use portcullis_kernel::{Kernel, connected::Way};
use portcullis_peering::{
    probe::{ProbeError, probe},
    unreached::Unreached,
};
use portcullis_protocol::{digest::Digest, identifiers::NodeId};
use tokio::{task::JoinSet, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use self::machine::{Machine, Peers};

/// Time between two looks at the peers. One probe at most begins with each.
const LOOK: Duration = Duration::from_millis(500);

/// Asks peers for signs of life until `shutdown`.
pub async fn run(kernel: Arc<Kernel>, shutdown: CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = go_round(kernel) => {}
    }
}

async fn go_round(kernel: Arc<Kernel>) {
    let mut machine = Machine::default();
    let mut probes = JoinSet::new();
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let me = &kernel.me().node;
    loop {
        tokio::select! {
            Some(done) = probes.join_next() => match done {
                Ok((peer, answered)) => {
                    machine.asked(&peer, answered, share(me, &peer), kernel.moment());
                }
                Err(error) => tracing::error!(%error, "a probe was cut short"),
            },
            _ = looks.tick() => {
                let peers = peers(&kernel);
                for peer in &peers.heard {
                    kernel.heard_of(peer);
                }
                for peer in &peers.connected {
                    kernel.reached(peer);
                }
                let due = machine.look(&peers, |peer| share(me, peer), kernel.moment());
                if let Some(peer) = due {
                    probes.spawn(ask(Arc::clone(&kernel), peer));
                }
            }
        }
    }
}

/// Returns the peers that may be asked, and those with an open delivery stream.
fn peers(kernel: &Kernel) -> Peers {
    let me = kernel.me();
    let (decider, gates) = (kernel.decider(), kernel.gates());
    let mut peers = Peers::default();
    for (authority, node) in decider.register().nodes() {
        if node.id == me.node || gates.cut(&authority.id, &node.id).is_some() {
            continue;
        }
        let has = |way| kernel.connected_since(&node.id, way).is_some();
        if has(Way::ToPeer) {
            peers.connected.insert(node.id.clone());
        }
        if has(Way::FromPeer) {
            peers.heard.insert(node.id.clone());
        }
        peers.all.insert(node.id.clone());
    }
    peers
}

/// Asks a peer. Returns it, and true if it answered.
async fn ask(kernel: Arc<Kernel>, peer: NodeId) -> (NodeId, bool) {
    let asked = sign_of_life(&kernel, &peer).await;
    let answered = asked.is_ok();
    match asked {
        Ok(()) => kernel.reached(&peer),
        Err(Some(why)) => kernel.not_reached(&peer, why),
        Err(None) => {}
    }
    (peer, answered)
}

async fn sign_of_life(kernel: &Kernel, peer: &NodeId) -> Result<(), Option<Unreached>> {
    let decider = kernel.decider();
    // The register may have changed since.
    let (_, node) = decider.register().node(peer).ok_or(None)?;
    let connector = kernel.connector(peer).map_err(|error| {
        tracing::error!(%error, "TLS cannot be configured");
        None
    })?;
    probe(&connector, &node.endpoint).await.map_err(|error| {
        Some(match &error {
            ProbeError::Connect(error) => Unreached::of(error),
            ProbeError::Ended(error) => Unreached::of(error),
            ProbeError::Silent => Unreached::Silent {
                limit: Duration::ZERO,
            },
        })
    })
}

/// Derives a share of a thousand from a pair of nodes: always the same for one pair, and different
/// between pairs, so that not all probes fall together.
fn share(me: &NodeId, peer: &NodeId) -> i64 {
    let parts = [me.as_str().as_bytes(), b" ", peer.as_str().as_bytes()];
    let digest = Digest::labelled("portcullis presence v1", &parts);
    let drawn = digest.as_bytes().first_chunk().copied();
    i64::from(u16::from_be_bytes(drawn.unwrap_or_default()) % 1_000)
}

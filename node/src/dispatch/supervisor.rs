//! Keeps one driver per peer and lane: those of the register in force, and no others.

use std::{collections::BTreeMap, sync::Arc};

use portcullis_protocol::{frame::Lane, identifiers::NodeId};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::driver;
use crate::core::Core;

/// Runs the drivers until `shutdown`, and waits for them to end.
pub async fn run(core: Arc<Core>, shutdown: CancellationToken) {
    let mut deciders = core.deciders();
    let mut drivers = JoinSet::new();
    let mut running: BTreeMap<NodeId, CancellationToken> = BTreeMap::new();
    loop {
        let peers = peers(&core);
        running.retain(|peer, stop| {
            let stays = peers.contains(peer);
            if !stays {
                stop.cancel();
            }
            stays
        });
        for peer in peers {
            running.entry(peer.clone()).or_insert_with(|| {
                let stop = shutdown.child_token();
                for &lane in Lane::ALL {
                    let core = Arc::clone(&core);
                    drivers.spawn(driver::run(core, peer.clone(), lane, stop.clone()));
                }
                stop
            });
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            changed = deciders.changed() => if changed.is_err() { break },
            Some(ended) = drivers.join_next() => if let Err(error) = ended {
                tracing::error!(%error, "a driver ended by itself");
            },
        }
    }
    while let Some(ended) = drivers.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a driver did not end well");
        }
    }
}

fn peers(core: &Core) -> Vec<NodeId> {
    let me = core.me();
    core.decider()
        .register()
        .nodes()
        .filter(|(authority, _)| authority.id != me.authority)
        .map(|(_, node)| node.id.clone())
        .collect()
}

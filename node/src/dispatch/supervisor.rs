//! Keeps one driver per peer and lane: those of the register in force to whom no gate is closed,
//! and no others. Where a gate closes, the driver ends and its cursor stays where it is.

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
    let mut gates = core.watch_gates();
    let mut running: BTreeMap<(NodeId, Lane), CancellationToken> = BTreeMap::new();
    loop {
        let open = open(&core);
        running.retain(|way, stop| {
            let stays = open.contains(way);
            if !stays {
                stop.cancel();
            }
            stays
        });
        for (peer, lane) in open {
            running.entry((peer.clone(), lane)).or_insert_with(|| {
                let stop = shutdown.child_token();
                drivers.spawn(driver::run(Arc::clone(&core), peer, lane, stop.clone()));
                stop
            });
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            changed = deciders.changed() => if changed.is_err() { break },
            changed = gates.changed() => if changed.is_err() { break },
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

/// Each peer and lane in which something may be released.
fn open(core: &Core) -> Vec<(NodeId, Lane)> {
    let me = core.me();
    let (decider, gates) = (core.decider(), core.gates());
    decider
        .register()
        .nodes()
        .filter(|(authority, _)| authority.id != me.authority)
        .flat_map(|way| Lane::ALL.iter().map(move |lane| (way, *lane)))
        .filter(|((authority, node), lane)| gates.closed(&authority.id, &node.id, *lane).is_none())
        .map(|((_, node), lane)| (node.id.clone(), lane))
        .collect()
}

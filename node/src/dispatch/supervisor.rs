//! Keeps one driver per peer and lane: those of the register in force to whom no gate is closed,
//! and no others. Where a gate closes, the driver ends and its cursor stays where it is. A driver
//! that ends by itself, which is a fault of ours, is started again after a pause: what it had to
//! deliver is in the store.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use portcullis_protocol::{frame::Lane, identifiers::NodeId};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::driver;
use crate::core::Core;

/// How long a driver that ended by itself stays away.
const PAUSE: Duration = Duration::from_secs(5);

/// A driver at work.
struct Running {
    stop: CancellationToken,
    task: tokio::task::Id,
}

/// Runs the drivers until `shutdown`, and waits for them to end.
pub async fn run(core: Arc<Core>, shutdown: CancellationToken) {
    let mut deciders = core.deciders();
    let mut drivers = JoinSet::new();
    let mut gates = core.watch_gates();
    let mut running: BTreeMap<(NodeId, Lane), Running> = BTreeMap::new();
    let mut failed = BTreeMap::new();
    loop {
        let open = open(&core);
        running.retain(|way, driver| {
            let stays = open.contains(way);
            if !stays {
                driver.stop.cancel();
            }
            stays
        });
        for way in open {
            let pause = failed.remove(&way);
            running.entry(way.clone()).or_insert_with(|| {
                let stop = shutdown.child_token();
                let driver = drive(Arc::clone(&core), way, pause, stop.clone());
                let task = drivers.spawn(driver).id();
                Running { stop, task }
            });
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            changed = deciders.changed() => if changed.is_err() { break },
            changed = gates.changed() => if changed.is_err() { break },
            Some(ended) = drivers.join_next() => if let Err(error) = ended {
                tracing::error!(%error, "a driver ended by itself; it is started again");
                failed.extend(remove(&mut running, error.id()).map(|way| (way, PAUSE)));
            },
        }
    }
    while let Some(ended) = drivers.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a driver did not end well");
        }
    }
}

/// Takes out the driver with this task.
fn remove(
    running: &mut BTreeMap<(NodeId, Lane), Running>,
    task: tokio::task::Id,
) -> Option<(NodeId, Lane)> {
    let is_it =
        |(way, driver): (&(NodeId, Lane), &Running)| (driver.task == task).then(|| way.clone());
    let way = running.iter().find_map(is_it)?;
    running.remove(&way);
    Some(way)
}

async fn drive(
    core: Arc<Core>,
    (peer, lane): (NodeId, Lane),
    pause: Option<Duration>,
    stop: CancellationToken,
) {
    let rest = async {
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = rest => driver::run(core, peer, lane, stop.clone()).await,
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

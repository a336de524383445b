//! Supervisor of the drivers, one per peer and lane. It keeps a driver for each peer of the
//! register in force to which no gate is closed, and no others. If a gate closes, the driver ends
//! and its cursor stays where it is. A driver that ends by itself, which is a fault of this node,
//! is started again after a pause; what it had to deliver is in the store.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use portcullis_protocol::{frame::Lane, identifiers::NodeId};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::driver;
use portcullis_kernel::Kernel;

/// Pause before a driver that ended by itself is started again.
const PAUSE: Duration = Duration::from_secs(5);

/// A driver at work.
struct Running {
    stop: CancellationToken,
    task: tokio::task::Id,
}

/// A peer and a lane.
pub type PeerLane = (NodeId, Lane);

/// Runs the drivers until `shutdown`, and waits for them to end.
pub async fn run(kernel: Arc<Kernel>, shutdown: CancellationToken) {
    let drive = |kernel, (peer, lane), stop| driver::run(kernel, peer, lane, stop);
    keep(kernel, drive, PAUSE, shutdown).await;
}

/// Does the work of [`run`] with the given driver: `drive` serves one peer and lane until it is
/// told to stop, and is started again after `pause` if it ends by itself.
pub async fn keep<D, F>(kernel: Arc<Kernel>, drive: D, pause: Duration, shutdown: CancellationToken)
where
    D: Fn(Arc<Kernel>, PeerLane, CancellationToken) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut deciders = kernel.deciders();
    let mut drivers = JoinSet::new();
    let mut gates = kernel.watch_gates();
    let mut running: BTreeMap<PeerLane, Running> = BTreeMap::new();
    let mut failed = BTreeMap::new();
    loop {
        let open = open(&kernel);
        running.retain(|way, driver| {
            let stays = open.contains(way);
            if !stays {
                driver.stop.cancel();
            }
            stays
        });
        for way in open {
            let rest = failed.remove(&way);
            running.entry(way.clone()).or_insert_with(|| {
                let stop = shutdown.child_token();
                let driver = drive(Arc::clone(&kernel), way, stop.clone());
                let task = drivers.spawn(after(rest, driver, stop.clone())).id();
                Running { stop, task }
            });
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            changed = deciders.changed() => if changed.is_err() { break },
            changed = gates.changed() => if changed.is_err() { break },
            Some(ended) = drivers.join_next() => if let Err(error) = ended {
                tracing::error!(%error, "a driver ended by itself; it is started again");
                failed.extend(remove(&mut running, error.id()).map(|way| (way, pause)));
            },
        }
    }
    while let Some(ended) = drivers.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a driver did not end well");
        }
    }
}

/// Removes the driver with this task and returns its peer and lane.
fn remove(running: &mut BTreeMap<PeerLane, Running>, task: tokio::task::Id) -> Option<PeerLane> {
    let is_it = |(way, driver): (&PeerLane, &Running)| (driver.task == task).then(|| way.clone());
    let way = running.iter().find_map(is_it)?;
    running.remove(&way);
    Some(way)
}

/// Runs the driver, after a rest if there is to be one.
async fn after(rest: Option<Duration>, driver: impl Future<Output = ()>, stop: CancellationToken) {
    let resting = async {
        if let Some(rest) = rest {
            tokio::time::sleep(rest).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = resting => driver.await,
    }
}

/// Lists each peer and lane for which something may be released.
fn open(kernel: &Kernel) -> Vec<PeerLane> {
    let me = kernel.me();
    let (decider, gates) = (kernel.decider(), kernel.gates());
    decider
        .register()
        .nodes()
        .filter(|(authority, _)| authority.id != me.authority)
        .flat_map(|way| Lane::ALL.iter().map(move |lane| (way, *lane)))
        .filter(|((authority, node), lane)| gates.closed(&authority.id, &node.id, *lane).is_none())
        .map(|((_, node), lane)| (node.id.clone(), lane))
        .collect()
}

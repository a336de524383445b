//! Gossip: a node learns of a new register from any member, and tells it to all.
//!
//! ```text
//! frame, receipt or question of a peer shows more ─▶ machine ─▶ ask it ─▶ verify, keep, put in force
//! something new is in force here                  ─▶ machine ─▶ ask everyone: a question tells what one has
//! ```
//!
//! Nothing is believed because of its bearer. Anything that does not verify is noted as an event,
//! and its bearer is asked again after longer and longer waits ([`machine`]). Questions go over the
//! connections' own mutual TLS, one short connection each. An idle node asks one member in a
//! quarter of an hour.

pub mod answers;
pub mod machine;
mod question;

use portcullis_kernel::{Kernel, calls::Rumour, reload::Reloader};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use portcullis_protocol::identifiers::NodeId;
use tokio::{sync::broadcast, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub(crate) use question::{TIMEOUT, compare};

use self::machine::{Event, Machine};

/// Shortest wait between two looks at the schedule without news.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);

/// Asks peers and tells them until `shutdown`.
pub async fn run(kernel: Arc<Kernel>, reloader: Arc<Reloader>, shutdown: CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = go_round(kernel, reloader) => {}
    }
}

async fn go_round(kernel: Arc<Kernel>, reloader: Arc<Reloader>) {
    let mut rumours = kernel.rumours();
    let mut deciders = kernel.deciders();
    let mut gates = kernel.watch_gates();
    let mut machine = Machine::new(kernel.moment());
    let mut questions = JoinSet::new();
    let mut events = vec![Event::Peers(peers(&kernel))];
    loop {
        for event in events.drain(..) {
            for peer in machine.handle(event, kernel.moment()) {
                questions.spawn(question::ask(
                    Arc::clone(&kernel),
                    Arc::clone(&reloader),
                    peer,
                ));
            }
        }
        let wait = kernel.moment().wait_until(machine.wake_at(), SHORTEST_WAIT);
        tokio::select! {
            rumour = rumours.recv() => match heard(rumour) {
                Some(Rumour::Ahead(peer)) => events.push(Event::Ahead(peer)),
                Some(Rumour::Level(peer)) => events.push(Event::Level(peer)),
                None => {}
            },
            changed = deciders.changed() => {
                if changed.is_err() {
                    return;
                }
                events.extend([Event::Peers(peers(&kernel)), Event::Changed]);
            }
            changed = gates.changed() => {
                if changed.is_err() {
                    return;
                }
                events.extend([Event::Peers(peers(&kernel)), Event::Changed]);
            }
            Some(done) = questions.join_next() => match done {
                Ok(event) => events.push(event),
                Err(error) => tracing::error!(%error, "a question about trust was cut short"),
            },
            () = tokio::time::sleep(wait) => events.push(Event::Tick),
        }
    }
}

fn heard(rumour: Result<Rumour, broadcast::error::RecvError>) -> Option<Rumour> {
    match rumour {
        Ok(rumour) => Some(rumour),
        Err(error) => {
            tracing::debug!(%error, "rumours were missed; the rotation makes them good");
            None
        }
    }
}

fn peers(kernel: &Kernel) -> BTreeSet<NodeId> {
    let me = kernel.me();
    let decider = kernel.decider();
    let gates = kernel.gates();
    let others = decider.register().nodes();
    others
        .filter(|(authority, node)| {
            node.id != me.node && gates.cut(&authority.id, &node.id).is_none()
        })
        .map(|(_, node)| node.id.clone())
        .collect()
}

//! Reconciliation: finds and repairs what either end of a channel has lost.
//!
//! ```text
//! a new generation here or there, or a day is over ─▶ machine ─▶ compare with that peer:
//!   own summary, from the ledger ── digests? ──▶ the peer's summary, from what it answered
//!   where they differ            ── entries? ──▶ diff: owed, learned, withdrawn ─▶ repair
//! ```
//!
//! The node that sends in a channel asks, compares ([`walk`]) and repairs. Records that the peer
//! lost are sent again, as policy decides now. Disclosures that the ledger forgot are entered
//! again. A record of its own that this node lost is asked back ([`recovery`]). Withdrawals on
//! either side stand, and the other side learns of them. Both ends of a link do this for what they
//! send, so both directions are compared. The answering side keeps no state of a comparison and
//! answers within a budget ([`answers`]).
//!
//! A record past its date of deletion does not leave: it is neither owed again nor given back. It
//! stays an entry all the same, as long as both sides have it. What is compared depends on no clock,
//! so that two nodes whose clocks differ agree on it.
//!
//! The ledger learns what it forgot from the peer's word alone, and therefore within a bound
//! ([`claims`]). A comparison with a peer that answers without end is given up after half an hour,
//! because other peers wait.
//!
//! An idle channel costs one question a day.

pub mod answers;
pub mod claims;
pub mod machine;
mod question;
pub mod recovery;
pub mod walk;

use portcullis_kernel::{Kernel, calls::Call};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use portcullis_protocol::{
    digest::Digest,
    identifiers::NodeId,
    reconcile::{Buckets, Summarizing, Summary},
};
use tokio::{sync::broadcast, task::JoinSet};
use tokio_util::sync::CancellationToken;

use self::machine::{Event, Last, Machine};
use portcullis_store::{ChannelPage, ChannelSide, Store, StoreError};

/// Entries read at a time.
const PAGE: usize = 131_072;
/// Longest time beyond a day after which a channel is compared, in milliseconds, so that not all
/// comparisons fall together.
const SPREAD_MS: u64 = 2 * 3_600_000;

impl From<Call> for Event {
    fn from(call: Call) -> Self {
        match call {
            Call::With(peer) => Self::Called(peer),
            Call::All => Self::Anew,
        }
    }
}

/// Shortest wait between two looks at the schedule without news.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);

/// Compares channels until `shutdown`.
pub async fn run(kernel: Arc<Kernel>, shutdown: CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = go_round(kernel) => {}
    }
}

async fn go_round(kernel: Arc<Kernel>) {
    let mut calls = kernel.calls_to_compare();
    let mut deciders = kernel.deciders();
    let mut machine = Machine::default();
    let mut questions = JoinSet::new();
    let mut events = vec![peers(&kernel).await];
    loop {
        for event in events.drain(..) {
            for peer in machine.handle(event, kernel.moment()) {
                questions.spawn(question::compare(Arc::clone(&kernel), peer));
            }
        }
        let now = kernel.moment();
        let wait = now.wait_until(machine.wake_at(now), SHORTEST_WAIT);
        tokio::select! {
            call = calls.recv() => match call {
                Ok(call) => events.push(call.into()),
                Err(broadcast::error::RecvError::Lagged(_)) => events.push(Event::Anew),
                Err(broadcast::error::RecvError::Closed) => return,
            },
            changed = deciders.changed() => {
                if changed.is_err() {
                    return;
                }
                events.push(peers(&kernel).await);
            }
            Some(done) = questions.join_next() => match done {
                Ok(event) => events.push(event),
                Err(error) => tracing::error!(%error, "a comparison was cut short"),
            },
            () = tokio::time::sleep(wait) => events.push(Event::Tick),
        }
    }
}

/// Lists the other nodes of the federation, with the time of the last comparison of each channel.
async fn peers(kernel: &Arc<Kernel>) -> Event {
    let reading = Arc::clone(kernel);
    let read = portcullis_store::apart::spawn(move || {
        let store = reading.store();
        Ok((store.reconciliations()?, store.generation()?))
    });
    let (known, generation) = match read.await.unwrap_or(Err(StoreError::Stopped)) {
        Ok(read) => read,
        Err(error) => {
            tracing::error!(%error, "when channels were compared last cannot be read");
            return Event::Tick;
        }
    };
    let (me, now) = (kernel.me(), kernel.now());
    let decider = kernel.decider();
    let others = decider.register().nodes().map(|(_, node)| &node.id);
    let peers = others.filter(|peer| **peer != me.node).map(|peer| {
        let row = known
            .iter()
            .find(|row| row.peer == *peer && row.own == generation);
        let last = Last {
            ago_ms: row.and_then(|row| u64::try_from(now.millis_since(row.at)).ok()),
            spread_ms: spread(&me.node, peer),
        };
        (peer.clone(), last)
    });
    Event::Peers(peers.collect::<BTreeMap<_, _>>())
}

/// Derives a delay from a pair of nodes: always the same for one pair, and different between pairs.
/// It is below [`SPREAD_MS`] milliseconds.
fn spread(me: &NodeId, peer: &NodeId) -> i64 {
    let parts = [me.as_str().as_bytes(), b" ", peer.as_str().as_bytes()];
    let digest = Digest::labelled("portcullis reconciliation v1", &parts);
    let drawn = digest.as_bytes().first_chunk().copied();
    i64::try_from(u64::from_be_bytes(drawn.unwrap_or_default()) % SPREAD_MS).unwrap_or(0)
}

/// Returns the summary of a channel, read page by page.
///
/// # Errors
///
/// [`StoreError`] if the store cannot be read.
pub fn summary(store: &dyn Store, peer: &NodeId, side: ChannelSide) -> Result<Summary, StoreError> {
    let mut summarizing = Summarizing::default();
    let mut page = ChannelPage {
        of: Buckets::ALL,
        after: None,
        most: PAGE,
    };
    loop {
        let entries = store.channel(peer, side, &page)?;
        entries.iter().for_each(|entry| summarizing.add(entry));
        match entries.last() {
            Some(last) if entries.len() >= PAGE => page.after = Some(last.id),
            Some(_) | None => return Ok(summarizing.finish()),
        }
    }
}

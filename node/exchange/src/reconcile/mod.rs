//! Reconciliation: what of a channel was lost, at either end, is found and put right.
//!
//! ```text
//! a new generation here or there, or a day is over ─▶ machine ─▶ compare with that peer:
//!   own summary, from the ledger ── digests? ──▶ the peer's summary, from what it answered
//!   where they differ            ── entries? ──▶ diff: owed, learned, withdrawn ─▶ repair
//! ```
//!
//! The node that sends in a channel asks, compares ([`walk`]) and repairs: what the peer lost is
//! sent again, as policy decides now; what the ledger forgot is in it again; a record of its own
//! that this node lost is asked back ([`recovery`]). What either side withdrew stays so, and the
//! other learns of it. Both ends of a link do this for what they send, so both directions are
//! compared. The answering side keeps nothing and is asked within a budget ([`standing`]).
//!
//! What the ledger forgot it learns from the peer's word alone, and so within a bound ([`claims`]).
//! A peer that answers without end is left after half an hour, for others wait.
//!
//! An idle channel costs one question a day.

pub mod claims;
pub mod machine;
mod question;
pub mod recovery;
pub mod standing;
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

/// Entries that are read at a time.
const PAGE: usize = 131_072;
/// How much later than a day a channel may be compared, so that not all are at once.
const SPREAD_MS: u64 = 2 * 3_600_000;

impl From<Call> for Event {
    fn from(call: Call) -> Self {
        match call {
            Call::With(peer) => Self::Called(peer),
            Call::All => Self::Anew,
        }
    }
}

/// Compares until `shutdown`.
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
    let mut events = vec![peers(&kernel)];
    loop {
        for event in events.drain(..) {
            for peer in machine.handle(event, kernel.now()) {
                questions.spawn(question::compare(Arc::clone(&kernel), peer));
            }
        }
        let wait = machine.wake_at(kernel.now()).millis_since(kernel.now());
        let wait = Duration::from_millis(u64::try_from(wait.max(50)).unwrap_or(50));
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
                events.push(peers(&kernel));
            }
            Some(done) = questions.join_next() => match done {
                Ok(event) => events.push(event),
                Err(error) => tracing::error!(%error, "a comparison was cut short"),
            },
            () = tokio::time::sleep(wait) => events.push(Event::Tick),
        }
    }
}

/// The other nodes of the federation, and when the channel to each was compared last.
fn peers(kernel: &Kernel) -> Event {
    let me = kernel.me();
    let (known, generation) = match (
        kernel.store().reconciliations(),
        kernel.store().generation(),
    ) {
        (Ok(known), Ok(generation)) => (known, generation),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "when channels were compared last cannot be read");
            return Event::Tick;
        }
    };
    let decider = kernel.decider();
    let others = decider.register().nodes().map(|(_, node)| &node.id);
    let peers = others.filter(|peer| **peer != me.node).map(|peer| {
        let row = known
            .iter()
            .find(|row| row.peer == *peer && row.own == generation);
        let last = Last {
            at: row.map(|row| row.at),
            spread_ms: spread(&me.node, peer),
        };
        (peer.clone(), last)
    });
    Event::Peers(peers.collect::<BTreeMap<_, _>>())
}

/// A time that is another one for each two nodes, and always the same for them.
fn spread(me: &NodeId, peer: &NodeId) -> i64 {
    let parts = [me.as_str().as_bytes(), b" ", peer.as_str().as_bytes()];
    let digest = Digest::labelled("portcullis reconciliation v1", &parts);
    let drawn = digest.as_bytes().first_chunk().copied();
    i64::try_from(u64::from_be_bytes(drawn.unwrap_or_default()) % SPREAD_MS).unwrap_or(0)
}

/// The summary of a channel, read page by page.
///
/// # Errors
///
/// [`StoreError`].
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

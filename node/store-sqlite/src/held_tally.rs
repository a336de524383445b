//! Tally of the items that wait for a person, by deliverer and originator.
//!
//! It is counted once when the store is opened and follows every change since, so that a flood of
//! items costs no counting. A job that is taken back takes its changes of the tally with it.

use std::{collections::BTreeMap, sync::Arc};

use portcullis_protocol::{identifiers::NodeId, wire};
use portcullis_store::room::{Amount, HeldLoad};
use prost::Message as _;
use rusqlite::Connection;

use super::error::SqlError;

/// Amounts by peer and originator.
#[derive(Debug, Clone, Default)]
pub(super) struct HeldTally(Arc<BTreeMap<(String, String), Amount>>);

impl HeldTally {
    /// Counts what a store holds.
    pub(super) fn counted(main: &Connection) -> Result<Self, SqlError> {
        let mut select = main.prepare(
            "SELECT peer, count(*), sum(length(sealed)), s.payload
             FROM held LEFT JOIN statement AS s ON s.n = held.statement GROUP BY peer, statement",
        )?;
        let mut rows = select.query([])?;
        let mut tally = Self::default();
        while let Some(row) = rows.next()? {
            let (peer, items, bytes): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let amount = Amount {
                items: u64::try_from(items).unwrap_or_default(),
                bytes: u64::try_from(bytes).unwrap_or_default(),
            };
            let payload: Option<Vec<u8>> = row.get(3)?;
            tally.change(peer, origin_of(&payload.unwrap_or_default()), |held| {
                held.plus(amount)
            });
        }
        Ok(tally)
    }

    pub(super) fn add(&mut self, peer: &NodeId, origin: &str, bytes: usize) {
        let one = one(bytes);
        self.change(peer.as_str().to_owned(), origin.to_owned(), |held| {
            held.plus(one)
        });
    }

    pub(super) fn take(&mut self, peer: &str, payload: &[u8], bytes: usize) {
        let one = one(bytes);
        self.change(peer.to_owned(), origin_of(payload), |held| held.less(one));
    }

    fn change(&mut self, peer: String, origin: String, to: impl Fn(Amount) -> Amount) {
        let of = Arc::make_mut(&mut self.0);
        let key = (peer, origin);
        let held = to(of.get(&key).copied().unwrap_or_default());
        if held.items == 0 {
            of.remove(&key);
        } else {
            of.insert(key, held);
        }
    }

    /// Returns what waits beside an item of this originator from this peer.
    pub(super) fn load(&self, peer: &NodeId, origin: &str) -> HeldLoad {
        let mut load = HeldLoad::default();
        for ((from, of), amount) in self.0.iter() {
            load.in_total = load.in_total.plus(*amount);
            if from == peer.as_str() {
                load.of_peer = load.of_peer.plus(*amount);
                if of == origin {
                    load.of_origin = load.of_origin.plus(*amount);
                }
            }
        }
        load
    }
}

fn one(bytes: usize) -> Amount {
    Amount {
        items: 1,
        bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
    }
}

/// Returns the originator that a batch statement names; empty if it cannot be read.
fn origin_of(payload: &[u8]) -> String {
    wire::BatchStatement::decode(payload)
        .map(|batch| batch.origin)
        .unwrap_or_default()
}

//! Checks of the state with which a process starts again.

use portcullis_store::DisclosureState;

use super::{Invariant, RETRY_SLACK_MS, lane_of};
use crate::sim::{cast::MemberNumber, store::EXCEPTION_LIFE_MS, world::World};

impl World {
    /// Checks that everything for which others hold receipts is there when a process starts again.
    pub(in crate::sim) fn check_restart(&mut self, member: MemberNumber) {
        let cast = self.cast;
        let id = cast.node(member).clone();
        let mut accepted = Vec::new();
        for (sender, node) in &self.nodes {
            let state = node.store.durable();
            let of_it = state.ledger.iter().filter(|((_, peer), _)| *peer == id);
            for line in of_it.flat_map(|(_, lines)| lines.iter()) {
                if let DisclosureState::Answered(outcome) = line.row.state
                    && outcome.is_admitted()
                {
                    accepted.push((*sender, line.row.record, line.row.form));
                }
            }
        }
        for (sender, record, form) in accepted {
            self.check_held(sender, member, record, form);
        }
        self.check_waiting(member);
    }

    /// Checks that a record without a final answer is an exception as long as the exception lives.
    fn check_waiting(&mut self, member: MemberNumber) {
        let (cast, now) = (self.cast, self.now);
        let state = self.node(member).store.durable();
        let forgotten = state.ledger.iter().find_map(|((record, peer), lines)| {
            let newest = &lines.last()?.row;
            let waits =
                matches!(newest.state, DisclosureState::Answered(outcome) if !outcome.is_final());
            let lane = state.records.get(record).map(|kept| lane_of(kept))?;
            let key = (peer.clone(), lane, *record);
            (waits && !state.exceptions.contains_key(&key) && !state.undelivered.contains_key(&key))
                .then(|| (*record, cast.member(peer)))
        });
        let Some((record, peer)) = forgotten else {
            return;
        };
        let since = self.watch.waits.get(&(member, peer, record)).copied();
        if since.is_some_and(|since| now.millis_since(since) < EXCEPTION_LIFE_MS - RETRY_SLACK_MS) {
            let detail = format!("{member} forgot to try {} again", self.name(&record));
            self.violated(Invariant::NothingIsPassedOver, detail);
        }
    }
}

//! Checks of the changes that a transaction made on disk.

use std::{collections::BTreeMap, sync::Arc};

use portcullis_protocol::{
    frame::Lane,
    record::{Form, RecordId},
};
use portcullis_store::DisclosureState;

use super::{Invariant, is_hub, lane_of};
use crate::sim::{
    cast::MemberNumber,
    coverage::Seen,
    store::{LogLine, State},
    world::World,
};

impl World {
    /// Checks the state of the disk after a transaction.
    pub(in crate::sim) fn check_state(&mut self, member: MemberNumber, before: &State) {
        let after = self.node(member).store.durable();
        if !Arc::ptr_eq(&before.records, &after.records) {
            self.check_log(member, before, &after);
        }
        if !Arc::ptr_eq(&before.records, &after.records) {
            self.check_genuine(member, before, &after);
            self.check_tombstones(member, &after);
            self.check_logged(member, &after);
            self.remember_sources(member, &after);
        }
        if !Arc::ptr_eq(&before.arrivals, &after.arrivals) {
            self.check_arrivals(member, before, &after);
        }
        if !Arc::ptr_eq(&before.ledger, &after.ledger) {
            self.check_ledger(member, before, &after);
            self.check_given(member, before, &after);
        }
        if !Arc::ptr_eq(&before.places, &after.places) || before.forks.len() < after.forks.len() {
            self.check_kept(member, &after);
        }
        if !Arc::ptr_eq(&before.sent, &after.sent) {
            self.remember_settled(member, &after);
        }
        if before.generation != after.generation {
            self.watch.believes_anew(member);
        }
        if !Arc::ptr_eq(&before.cursors, &after.cursors) {
            self.check_cursors(member, before, &after);
        }
        if after.events.len() > before.events.len()
            && after
                .events
                .iter()
                .any(|event| event.kind == "exceptions-ended")
        {
            self.coverage.count(Seen::RetriesEnded);
        }
    }

    fn check_log(&mut self, member: MemberNumber, before: &State, after: &State) {
        let mut known: BTreeMap<RecordId, Form> = BTreeMap::new();
        for LogLine {
            record,
            form,
            own,
            sequence,
            ..
        } in after.log.iter()
        {
            let held = known.entry(*record).or_default();
            let grows = !form.is_within(*held);
            *held = held.union(*form);
            let again = self.watch.withdrawn.contains(&(member, *record));
            if !grows && !again {
                let detail = format!("{member} took {} in twice", self.name(record));
                self.violated(Invariant::OneFinalAnswer, detail);
                return;
            }
            let fresh = before
                .log
                .last()
                .is_none_or(|last| last.sequence < *sequence);
            if *own && fresh && !self.watch.lost.contains(record) {
                self.watch.published.entry(*record).or_insert(self.now);
            }
        }
    }

    /// Checks that every record is in the log in the form that is held: relaying reads the log.
    fn check_logged(&mut self, member: MemberNumber, after: &State) {
        let mut logged: BTreeMap<RecordId, Form> = BTreeMap::new();
        for line in after.log.iter() {
            let known = logged.entry(line.record).or_default();
            *known = known.union(line.form);
        }
        let missing = after.records.iter().find(|(id, kept)| {
            let known = logged.get(id).copied().unwrap_or_default();
            !kept.record.form().is_within(known)
        });
        if let Some((record, _)) = missing {
            let detail = format!(
                "{member} holds more of {} than it logged",
                self.name(record)
            );
            self.violated(Invariant::NothingIsPassedOver, detail);
        }
    }

    fn check_tombstones(&mut self, member: MemberNumber, after: &State) {
        let withdrawn = self.watch.withdrawn.iter();
        let back = withdrawn
            .filter(|(by, _)| *by == member)
            .find(|(_, record)| after.records.contains_key(record))
            .copied();
        if let Some((_, record)) = back {
            let detail = format!("{member} withdrew {} and holds it", self.name(&record));
            self.violated(Invariant::WithdrawnStaysAway, detail);
        }
    }

    fn remember_sources(&mut self, member: MemberNumber, after: &State) {
        for (record, kept) in after.records.iter() {
            if let Some(source) = &kept.source {
                let source = self.cast.member(source);
                self.watch
                    .sources
                    .entry((member, *record))
                    .or_insert(source);
            }
            if lane_of(kept) == Lane::Urgent {
                self.watch
                    .urgent
                    .entry((member, *record))
                    .or_insert(self.now);
            }
        }
    }

    fn check_arrivals(&mut self, member: MemberNumber, before: &State, after: &State) {
        let changed = before.arrivals.iter().find(|(key, row)| {
            let same = after
                .arrivals
                .get(*key)
                .is_some_and(|now| Arc::ptr_eq(now, row));
            !same
                && row.answer.outcome.is_final()
                && after
                    .arrivals
                    .get(*key)
                    .is_none_or(|now| now.answer != row.answer)
        });
        if let Some(((record, peer, _), _)) = changed {
            let detail = format!(
                "{member} changed its answer to {peer} on {}",
                self.name(record)
            );
            self.violated(Invariant::OneFinalAnswer, detail);
        }
    }

    fn check_ledger(&mut self, member: MemberNumber, before: &State, after: &State) {
        for (key, lines) in before.ledger.iter() {
            let (record, peer) = key;
            // Of two copies of one node, each answers for itself, and a node whose backup came back may
            // hold what it refused later: the comparison of channels tells what it holds now.
            let member_of_peer = self.cast.member(peer);
            let restored = self.watch.restored.contains(&member_of_peer);
            if restored || self.watch.doubled.contains(&member_of_peer) {
                continue;
            }
            if after
                .ledger
                .get(key)
                .is_some_and(|now| Arc::ptr_eq(now, lines))
            {
                continue;
            }
            let now = after.ledger(record, peer);
            let changed = lines.iter().any(|line| {
                matches!(line.row.state, DisclosureState::Answered(outcome) if outcome.is_final())
                    && !now.iter().any(|later| later.row == line.row)
            });
            if changed {
                let detail = format!(
                    "{member} changed what {peer} answered on {}",
                    self.name(record)
                );
                self.violated(Invariant::OneFinalAnswer, detail);
                return;
            }
        }
    }

    /// Checks that everything between the old and the new position of a cursor is dealt with.
    fn check_cursors(&mut self, member: MemberNumber, before: &State, after: &State) {
        for ((peer, lane), cursor) in after.cursors.iter() {
            let earlier = before.position(peer, *lane).cursor;
            if *cursor < earlier {
                let detail = format!("{member}'s cursor for {peer} moves back");
                self.violated(Invariant::NothingIsPassedOver, detail);
                return;
            }
            let passed = after
                .log
                .iter()
                .filter(|line| line.lane == *lane)
                .filter(|line| line.sequence > earlier && line.sequence <= *cursor);
            let lost = passed
                .filter(|line| line.own || is_hub(member))
                .find(|line| !self.is_dealt_with(line.record, after, (peer, *lane, *cursor)))
                .copied();
            if let Some(line) = lost {
                let detail = format!(
                    "{member}'s cursor for {peer} passes {}",
                    self.name(&line.record)
                );
                self.violated(Invariant::NothingIsPassedOver, detail);
                return;
            }
        }
    }

    fn is_dealt_with(
        &self,
        record: RecordId,
        state: &State,
        (peer, lane, cursor): (&portcullis_protocol::identifiers::NodeId, Lane, u64),
    ) -> bool {
        let Some(kept) = state.records.get(&record) else {
            return true;
        };
        let receiver = self.cast.member(peer);
        let goes_back = self.made(&record).origin == receiver || kept.source.as_ref() == Some(peer);
        let waits = state.exceptions.contains_key(&(peer.clone(), lane, record));
        // Further sections may be logged after the cursor and be on their way already.
        let grows = |line: &LogLine| line.record == record && line.sequence > cursor;
        let newest = if state.log.iter().any(grows) {
            usize::MAX
        } else {
            1
        };
        let lines = state.ledger(&record, peer).iter().rev().take(newest);
        let said = lines.map(|line| line.row.state);
        goes_back
            || waits
            || said
                .into_iter()
                .any(|state| state != DisclosureState::Intended)
    }
}

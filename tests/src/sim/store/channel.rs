//! The contents of a channel, and the findings of its comparison.

use std::{collections::BTreeMap, sync::Arc};

use portcullis_protocol::{
    frame::{Answer, Lane, Outcome},
    identifiers::NodeId,
    reconcile::Entry,
    record::{Form, RecordId},
    time::Timestamp,
    verify::VerifiedRecord,
};
use portcullis_store::{
    ChannelPage, ChannelSide, DecisionNote, DisclosureState, GiveBack, LedgerEntry, NodeEvent,
    ReconciliationRow, Repair,
};

use super::{
    State,
    dispatch::EXCEPTION_LIFE_MS,
    state::{Exception, lane_of},
};

/// Finding about a record and a peer from a comparison of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// The peer lost it, and it is being sent again.
    Owed,
    /// The peer lost it for good.
    Gone,
    /// The peer reports that it withdrew it.
    Withdrawn,
}

/// A line of the ledger that no policy decided.
fn said(why: &str, record: RecordId, form: Form) -> LedgerEntry {
    LedgerEntry {
        sequence: None,
        record,
        form,
        withheld: 0,
        note: DecisionNote {
            policies: vec![why.to_owned()],
            bundle: None,
        },
    }
}

impl State {
    fn noted(&self, peer: &NodeId, record: &RecordId) -> Option<Note> {
        self.notes.get(&(peer.clone(), *record)).copied()
    }

    fn set_note(&mut self, peer: &NodeId, record: RecordId, note: Option<Note>) {
        let notes = Arc::make_mut(&mut self.notes);
        match note {
            Some(note) => drop(notes.insert((peer.clone(), record), note)),
            None => drop(notes.remove(&(peer.clone(), record))),
        }
    }

    /// Returns the entries of the channel to or from a peer, as far as this node knows.
    #[must_use]
    pub fn channel(&self, peer: &NodeId, side: ChannelSide, page: &ChannelPage) -> Vec<Entry> {
        let mut found: BTreeMap<RecordId, Form> = BTreeMap::new();
        let mut add = |id: RecordId, form: Form| {
            let known = found.entry(id).or_insert(Form::EMPTY);
            *known = known.union(form);
        };
        match side {
            ChannelSide::Sent => self.confirmed(peer, &mut add),
            ChannelSide::Received => self.admitted(peer, &mut add),
        }
        for ((_, id), note) in self.notes.iter().filter(|((of, _), _)| of == peer) {
            if *note == Note::Withdrawn {
                add(*id, Form::EMPTY);
            }
        }
        let withdrawn = |id: &RecordId| {
            self.tombstones.contains(id) || self.noted(peer, id) == Some(Note::Withdrawn)
        };
        found
            .into_iter()
            .filter(|(id, _)| page.of.contains(id) && page.after.is_none_or(|after| *id > after))
            .take(page.most)
            .map(|(id, form)| Entry {
                id,
                form: if withdrawn(&id) { Form::EMPTY } else { form },
            })
            .collect()
    }

    fn confirmed(&self, peer: &NodeId, add: &mut dyn FnMut(RecordId, Form)) {
        for ((id, _), lines) in self.ledger.iter().filter(|((_, to), _)| to == peer) {
            let lost = matches!(self.noted(peer, id), Some(Note::Owed | Note::Gone));
            for line in lines.iter().filter(|_| !lost) {
                if let DisclosureState::Answered(outcome) = line.row.state
                    && outcome.is_admitted()
                {
                    add(*id, line.row.form);
                }
            }
        }
    }

    fn admitted(&self, peer: &NodeId, add: &mut dyn FnMut(RecordId, Form)) {
        for ((id, from, form), row) in self.arrivals.iter() {
            if from != peer {
                continue;
            }
            let outcome = row.answer.outcome;
            let held = outcome.is_admitted() && self.records.contains_key(id);
            if held || (self.tombstones.contains(id) && outcome.is_final()) {
                add(*id, *form);
            }
        }
    }

    pub(super) fn repair(&mut self, repair: Repair) {
        let Repair {
            peer,
            at,
            owed,
            learned,
            withdrawn,
        } = repair;
        for id in owed {
            self.owe(&peer, id, at);
        }
        for entry in learned {
            self.learn(&peer, entry, at);
        }
        for id in withdrawn {
            self.set_note(&peer, id, Some(Note::Withdrawn));
            for lane in Lane::ALL {
                self.end_exception(&peer, *lane, id);
            }
        }
    }

    fn owe(&mut self, peer: &NodeId, id: RecordId, at: Timestamp) {
        if self.tombstones.contains(&id) || self.noted(peer, &id).is_some() {
            return;
        }
        let Some(kept) = self.records.get(&id) else {
            return self.set_note(peer, id, Some(Note::Gone));
        };
        let header = kept.record.header();
        let (lane, delete_at) = (lane_of(header.kind), header.marking.delete_at);
        if header.marking.is_over(at) {
            return self.set_note(peer, id, Some(Note::Gone));
        }
        self.set_note(peer, id, Some(Note::Owed));
        let life = at.plus_millis(EXCEPTION_LIFE_MS);
        let exception = Exception {
            next_attempt: at,
            ends_at: delete_at.map_or(life, |end| life.min(end)),
            attempts: 0,
        };
        Arc::make_mut(&mut self.exceptions).insert((peer.clone(), lane, id), exception);
    }

    fn learn(&mut self, peer: &NodeId, entry: Entry, at: Timestamp) {
        let Entry { id, form } = entry;
        match self.noted(peer, &id) {
            Some(Note::Withdrawn) => return,
            Some(Note::Owed | Note::Gone) => self.set_note(peer, id, None),
            None => {}
        }
        let told = self.tells_of(&id, peer, form);
        if form.is_empty() || told {
            return;
        }
        let said = said("reconciled", id, form);
        self.decide(peer, at, said, DisclosureState::Answered(Outcome::Accepted));
        for line in self.lines(peer, id) {
            if line.row.form == form {
                line.row.answered_at = Some(at);
            }
        }
    }

    /// Notes in the ledger the records that are given back to their originator, before they go
    /// back.
    pub(super) fn give_back(&mut self, back: GiveBack) {
        let GiveBack { peer, at, given } = back;
        for Entry { id, form } in given {
            if self.records.contains_key(&id) && !self.tells_of(&id, &peer, form) {
                let said = said("given-back", id, form);
                self.decide(&peer, at, said, DisclosureState::Intended);
            }
        }
    }

    /// Returns whether the ledger has this form, or a fuller one, as on its way or answered.
    fn tells_of(&self, id: &RecordId, peer: &NodeId, form: Form) -> bool {
        self.ledger(id, peer)
            .iter()
            .any(|line| match line.row.state {
                DisclosureState::Intended => form.is_within(line.row.form),
                DisclosureState::Answered(outcome) => {
                    outcome.is_admitted() && form.is_within(line.row.form)
                }
                DisclosureState::Denied => false,
            })
    }

    /// Counts the disclosures that were noted because this peer reported them.
    #[must_use]
    pub fn learned(&self, peer: &NodeId) -> u64 {
        let of_it = self.ledger.iter().filter(|((_, to), _)| to == peer);
        of_it
            .flat_map(|(_, lines)| lines.iter())
            .filter(|line| line.row.note.policies == ["reconciled"])
            .count() as u64
    }

    /// Removes the mark of a record that was owed again and is answered.
    pub(super) fn pay(&mut self, peer: &NodeId, answers: &[Answer]) {
        if self.notes.is_empty() {
            return;
        }
        for answer in answers.iter().filter(|answer| answer.outcome.is_final()) {
            if self.noted(peer, &answer.record) == Some(Note::Owed) {
                let lost = (!answer.outcome.is_admitted()).then_some(Note::Gone);
                self.set_note(peer, answer.record, lost);
            }
        }
    }

    /// Marks a record that was owed again and is now denied as lost for good.
    pub(super) fn deny_owed(&mut self, peer: &NodeId, id: RecordId) {
        if self.noted(peer, &id) == Some(Note::Owed) {
            self.set_note(peer, id, Some(Note::Gone));
        }
    }

    pub(super) fn reconciled(&mut self, row: ReconciliationRow) {
        if !row.found.is_nothing() {
            self.event(NodeEvent {
                at: row.at,
                kind: "reconciled".to_owned(),
                peer: Some(row.peer.clone()),
                detail: row.found.to_string(),
            });
        }
        Arc::make_mut(&mut self.reconciliations).insert(row.peer.clone(), row);
    }

    pub(super) fn recover(&mut self, records: Vec<VerifiedRecord>, now: Timestamp) {
        for record in records {
            let id = record.id();
            if self.tombstones.contains(&id) {
                continue;
            }
            match self.records.get(&id).cloned() {
                None => self.insert(record, None, now),
                Some(kept) if record.form().is_within(kept.record.form()) => {}
                Some(kept) => self.extend(&kept, &record, None),
            }
        }
    }

    /// Ends all retries of a record that was withdrawn.
    pub(super) fn end_everywhere(&mut self, id: RecordId) {
        Arc::make_mut(&mut self.exceptions).retain(|(_, _, of), _| *of != id);
        Arc::make_mut(&mut self.undelivered).retain(|(_, _, of), _| *of != id);
    }

    /// Counts the records that a peer lost and that are being sent again.
    #[must_use]
    pub fn owed(&self, peer: &NodeId) -> u64 {
        let owed = self.notes.iter();
        owed.filter(|((of, _), note)| of == peer && **note == Note::Owed)
            .count() as u64
    }
}

//! The intake of a frame's items.

use std::sync::Arc;

use portcullis_protocol::{
    frame::{Answer, Outcome},
    identifiers::NodeId,
    record::{Form, RecordId},
    rules::Rule,
    time::Timestamp,
    verify::VerifiedRecord,
};
use portcullis_store::{
    ArrivalRow, DecisionNote, HELD_LIFE_MS, HeldDecision, HeldItem, Intake, IntakeItem, Judgement,
    StoreError, Written,
};

use super::{Kept, State};
use crate::sim::mutant::Mutant;

/// An item with its peer and its time of arrival.
struct Item {
    id: RecordId,
    form: Form,
    peer: NodeId,
    now: Timestamp,
}

impl Item {
    fn key(&self) -> (RecordId, NodeId, Form) {
        (self.id, self.peer.clone(), self.form)
    }

    fn answer(&self, outcome: Outcome, rule: Option<Rule>) -> Answer {
        Answer {
            record: self.id,
            form: self.form,
            outcome,
            reason: rule.map(|rule| rule.id().to_owned()),
        }
    }

    fn check(&self, record: &VerifiedRecord) -> Result<(), StoreError> {
        if record.id() == self.id && record.form().is_within(self.form) {
            return Ok(());
        }
        Err(StoreError::Fault("the item and its record differ"))
    }
}

impl State {
    pub(super) fn intake(
        &mut self,
        intake: Intake,
        mutant: Option<Mutant>,
    ) -> Result<Vec<Answer>, StoreError> {
        let (peer, now) = (intake.peer, intake.now);
        intake
            .items
            .into_iter()
            .map(|item| {
                let IntakeItem {
                    id,
                    form,
                    judgement,
                } = item;
                let item = Item {
                    id,
                    form,
                    peer: peer.clone(),
                    now,
                };
                self.item(&item, judgement, mutant)
            })
            .collect()
    }

    /// Gives held items their final answers. Items that are not held any more keep the answer they
    /// have.
    pub(super) fn decide_held(
        &mut self,
        decision: HeldDecision,
        mutant: Option<Mutant>,
    ) -> Result<Written, StoreError> {
        let HeldDecision { peer, now, items } = decision;
        let mut answers = Vec::new();
        for IntakeItem {
            id,
            form,
            judgement,
        } in items
        {
            let waits = self
                .held
                .iter()
                .any(|one| (one.sealed.id(), &one.peer, one.form) == (id, &peer, form));
            if waits {
                let peer = peer.clone();
                let item = Item {
                    id,
                    form,
                    peer,
                    now,
                };
                answers.push(self.item(&item, judgement, mutant)?);
            }
        }
        Ok(Written::Answers(answers))
    }

    fn item(
        &mut self,
        item: &Item,
        judgement: Judgement,
        mutant: Option<Mutant>,
    ) -> Result<Answer, StoreError> {
        let earlier = self.arrivals.get(&item.key()).map(|row| row.answer.clone());
        let last = earlier
            .clone()
            .filter(|answer| answer.outcome.is_final() && mutant != Some(Mutant::FinalOverwritten));
        let withdrawn =
            self.tombstones.contains(&item.id) && mutant != Some(Mutant::TombstoneIgnored);
        if withdrawn {
            let refusal = item.answer(Outcome::Refused, Some(Rule::Withdrawn));
            if last.is_none() {
                self.note(item, refusal.clone(), DecisionNote::default());
            }
            return Ok(refusal);
        }
        if let Some(answer) = last {
            return Ok(answer);
        }
        let (answer, note) = self.judged(item, judgement, mutant)?;
        if answer.outcome.is_final() {
            Arc::make_mut(&mut self.held).retain(|waiting| {
                (waiting.sealed.id(), &waiting.peer, waiting.form)
                    != (item.id, &item.peer, item.form)
            });
        }
        self.note(item, answer.clone(), note);
        Ok(answer)
    }

    fn judged(
        &mut self,
        item: &Item,
        judgement: Judgement,
        mutant: Option<Mutant>,
    ) -> Result<(Answer, DecisionNote), StoreError> {
        Ok(match judgement {
            Judgement::Admit { record, note } => {
                item.check(&record)?;
                let outcome = self.admit(item, record, mutant);
                (item.answer(outcome, None), note)
            }
            Judgement::Refuse { rule, note } => (item.answer(Outcome::Refused, Some(rule)), note),
            Judgement::RefuseForNow { rule } => {
                let outcome = match mutant {
                    Some(Mutant::TemporaryMadeFinal) => Outcome::Refused,
                    Some(_) | None => Outcome::RefusedForNow,
                };
                (item.answer(outcome, Some(rule)), DecisionNote::default())
            }
            Judgement::Hold { record, rule, note } => {
                item.check(&record)?;
                self.hold(item, &record, rule);
                (item.answer(Outcome::Held, Some(rule)), note)
            }
        })
    }

    fn admit(&mut self, item: &Item, record: VerifiedRecord, mutant: Option<Mutant>) -> Outcome {
        let Some(kept) = self.records.get(&item.id).cloned() else {
            let source = Some(item.peer.clone());
            self.insert(record, source, item.now);
            return Outcome::Accepted;
        };
        let nothing_new = record.form().is_within(kept.record.form());
        if nothing_new || mutant == Some(Mutant::DuplicateById) {
            return Outcome::Duplicate;
        }
        self.extend(&kept, &record, mutant);
        Outcome::Extended
    }

    /// Adds the sections that another form of a record opens, and logs the record again.
    pub(super) fn extend(&mut self, kept: &Kept, record: &VerifiedRecord, mutant: Option<Mutant>) {
        let mut extended = kept.clone();
        if let Ok(merged) = kept.record.extended(record) {
            extended.record = merged;
        }
        if mutant != Some(Mutant::ExtensionNotLogged) {
            self.append(&extended.record, extended.source.is_none());
        }
        Arc::make_mut(&mut self.records).insert(record.id(), Arc::new(extended));
    }

    /// Holds an item for a person. No run of the model is so long that there is no room.
    fn hold(&mut self, item: &Item, record: &VerifiedRecord, rule: Rule) {
        let waits = self.held.iter().any(|waiting| {
            (waiting.sealed.id(), &waiting.peer, waiting.form) == (item.id, &item.peer, item.form)
        });
        if waits {
            return;
        }
        let statement = Arc::clone(record.statement());
        let life = item.now.plus_millis(HELD_LIFE_MS);
        let delete_at = record.header().marking.delete_at;
        Arc::make_mut(&mut self.held).push(Arc::new(HeldItem {
            peer: item.peer.clone(),
            form: item.form,
            rule: rule.id().to_owned(),
            at: item.now,
            ends_at: delete_at.map_or(life, |at| life.min(at)),
            sealed: portcullis_protocol::seal::SealedRecord::new(record.to_wire(0), statement),
        }));
    }

    fn note(&mut self, item: &Item, answer: Answer, note: DecisionNote) {
        let row = ArrivalRow {
            peer: item.peer.clone(),
            answer,
            note,
            at: item.now,
        };
        Arc::make_mut(&mut self.arrivals).insert(item.key(), Arc::new(row));
    }
}

//! Registers, persons, acts, consignments, scores and events.

use std::sync::Arc;

use portcullis_protocol::{
    body::SelectorKind, register::SignedRegister, statement::SignedStatement,
};
use portcullis_store::{
    Act, ActAnswer, ConsignmentRanking, ConsignmentRow, ConsignmentsOf, Effects, Fact, FactRow,
    NodeEvent, RankedConsignment, ScoreRow, StoreError, Write, Written,
};

use super::{State, state::LoggedAct};

/// Number of events that are kept, the newest.
const MAX_EVENTS: usize = 100_000;

/// Returns the name of a statement: its key id and its payload. Signing the same payload again
/// gives the same name.
fn name_of(statement: &SignedStatement) -> (Vec<u8>, Vec<u8>) {
    (
        statement.key_id().as_bytes().to_vec(),
        statement.unverified_payload().to_vec(),
    )
}

impl State {
    /// Keeps a fact in place of the one with its kind and subject, or removes that.
    pub(super) fn keep_fact(&mut self, fact: Fact) {
        let Fact {
            kind,
            subject,
            content,
            at,
        } = fact;
        let facts = Arc::make_mut(&mut self.facts);
        match content {
            None => {
                facts.remove(&(kind, subject));
            }
            Some(content) => {
                let row = FactRow {
                    kind,
                    subject: subject.clone(),
                    content,
                    at,
                };
                facts.insert((kind, subject), row);
            }
        }
    }

    pub(super) fn register(&mut self, register: SignedRegister) -> Result<(), StoreError> {
        let unreadable = StoreError::Fault("the epoch cannot be read");
        let found = register.unverified().map_err(|_| unreadable)?.epoch;
        let newest = self.registers.len() as u64;
        let kept = found
            .checked_sub(1)
            .and_then(|at| self.registers.get(usize::try_from(at).ok()?));
        if kept.is_some_and(|kept| kept.digest() == register.digest()) {
            return Ok(());
        }
        if found != newest + 1 {
            return Err(StoreError::Epoch { found, newest });
        }
        Arc::make_mut(&mut self.registers).push(register);
        Ok(())
    }

    pub(super) fn act(&mut self, act: Act) -> Result<(), StoreError> {
        if let Some(statement) = &act.statement {
            let is_open = matches!(act.effects, Effects::Following);
            let acts = Arc::make_mut(&mut self.acts);
            if let Some(earlier) = acts.get_mut(&name_of(statement)) {
                if !earlier.is_open {
                    return Err(StoreError::Replayed);
                }
                earlier.is_open = is_open;
                return Ok(());
            }
            let logged = LoggedAct {
                is_open,
                answer: None,
            };
            acts.insert(name_of(statement), logged);
        }
        if let Some(person) = &act.enrols
            && self.persons.contains_key(&person.id)
        {
            return Err(StoreError::Enrolled(person.id.clone()));
        }
        if let Some(statement) = act.statement
            && (act.action == "enrol" || act.action.starts_with("person-"))
        {
            Arc::make_mut(&mut self.about_persons).push(statement);
        }
        let Some(person) = act.enrols else {
            return Ok(());
        };
        Arc::make_mut(&mut self.persons).insert(person.id.clone(), person);
        Ok(())
    }

    pub(super) fn keep_answers(
        &mut self,
        answers: &[(SignedStatement, ActAnswer)],
        written: &[Written],
    ) {
        let acts = Arc::make_mut(&mut self.acts);
        for (statement, answer) in answers {
            if let Some(act) = acts.get_mut(&name_of(statement)) {
                act.answer = Some(answer.of(written));
            }
        }
    }

    pub(super) fn act_answer(&self, statement: &SignedStatement) -> Option<Vec<u8>> {
        self.acts.get(&name_of(statement))?.answer.clone()
    }

    pub(super) fn acts_about_persons(&self) -> Vec<SignedStatement> {
        (*self.about_persons).clone()
    }

    pub(super) fn act_seen(&self, statement: &SignedStatement) -> bool {
        let act = self.acts.get(&name_of(statement));
        act.is_some_and(|act| !act.is_open)
    }

    pub(super) fn keep_consignments(&mut self, rows: Vec<ConsignmentRow>) {
        let consignments = Arc::make_mut(&mut self.consignments);
        consignments.extend(rows.into_iter().map(|row| (row.reference.clone(), row)));
    }

    pub(super) fn consignments_with(&self, kind: SelectorKind, value: &str) -> Vec<ConsignmentRow> {
        let names = |row: &&ConsignmentRow| {
            row.arriving
                && row
                    .selectors
                    .iter()
                    .any(|(of, text)| *of == kind && text == value)
        };
        self.consignments.values().filter(names).cloned().collect()
    }

    pub(super) fn keep_scores(&mut self, rows: Vec<ScoreRow>) {
        let scores = Arc::make_mut(&mut self.scores);
        let kept = |row: &ScoreRow| self.consignments.contains_key(&row.reference);
        let rows = rows.into_iter().filter(kept);
        scores.extend(rows.map(|row| (row.reference.clone(), row)));
    }

    pub(super) fn remove_consignments(&mut self, references: &[String]) {
        for reference in references {
            Arc::make_mut(&mut self.consignments).remove(reference);
            Arc::make_mut(&mut self.scores).remove(reference);
        }
    }

    pub(super) fn highest_scores(&self, limit: u32) -> Vec<ScoreRow> {
        let mut scores: Vec<_> = self.scores.values().cloned().collect();
        // The sort is stable: scores with equal points stay in the order of their references.
        scores.sort_by(|one, other| other.points.total_cmp(&one.points));
        scores.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        scores
    }

    pub(super) fn consignment_ranking(
        &self,
        of: &ConsignmentsOf,
        limit: u32,
    ) -> ConsignmentRanking {
        let chosen = self.consignments.values();
        let mut listed: Vec<_> = chosen
            .filter(|row| of.takes(row.arriving, row.at))
            .map(|row| RankedConsignment {
                reference: row.reference.clone(),
                points: self.scores.get(&row.reference).map(|score| score.points),
            })
            .collect();
        let total = listed.len() as u64;
        let scored = listed.iter().filter(|row| row.points.is_some()).count() as u64;
        // The sort is stable, and `None` is less than every score.
        listed.sort_by(|one, other| {
            let order = other.points.partial_cmp(&one.points);
            order.unwrap_or(std::cmp::Ordering::Equal)
        });
        listed.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        ConsignmentRanking {
            total,
            scored,
            listed,
        }
    }

    pub(super) fn event(&mut self, event: NodeEvent) {
        let events = Arc::make_mut(&mut self.events);
        events.push(event);
        if events.len() > MAX_EVENTS {
            events.remove(0);
        }
    }
}

/// Returns the statement of an act whose effects are in its job, and the maker of its answer.
pub(super) fn answered(write: &Write) -> Option<(SignedStatement, ActAnswer)> {
    let Write::Act(Act {
        statement: Some(statement),
        effects: Effects::InJob(answer),
        ..
    }) = write
    else {
        return None;
    };
    Some((statement.clone(), answer.clone()))
}

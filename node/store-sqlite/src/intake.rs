//! Intake of a frame's items: each is answered according to what is held and what was answered
//! before.

use portcullis_protocol::{
    frame::{Answer, Outcome},
    identifiers::NodeId,
    record::{Form, RecordId},
    rules::Rule,
    time::Timestamp,
    verify::VerifiedRecord,
};

use super::{decode::named, group::Group, pack::slot_of, query::reason, records::Delivery};
use crate::error::SqlError;
use portcullis_store::{DecisionNote, Intake, IntakeItem, Judgement, StoreError};

/// An item with its sender.
pub(super) struct Item<'a> {
    /// Number of the record, if it was met before.
    number: Option<i64>,
    pub(super) id: RecordId,
    pub(super) form: Form,
    pub(super) peer: &'a NodeId,
    pub(super) now: Timestamp,
}

/// An answer in the making.
struct DraftAnswer {
    outcome: Outcome,
    rule: Option<Rule>,
    note: DecisionNote,
}

impl DraftAnswer {
    const fn new(outcome: Outcome, rule: Option<Rule>, note: DecisionNote) -> Self {
        Self {
            outcome,
            rule,
            note,
        }
    }

    /// Returns true if the record log holds this draft, since the delivery added to it.
    const fn is_logged(&self) -> bool {
        match self.outcome {
            Outcome::Accepted | Outcome::Extended => true,
            Outcome::Duplicate | Outcome::Refused | Outcome::RefusedForNow | Outcome::Held => false,
        }
    }
}

impl Group<'_> {
    /// Answers the items of a frame, in order.
    pub(super) fn intake(&mut self, intake: Intake) -> Result<Vec<Answer>, SqlError> {
        let Intake {
            peer,
            lane: _,
            place: _,
            statement: _,
            part: _,
            now,
            items,
        } = intake;
        items
            .into_iter()
            .map(|item| self.item(item, &peer, now))
            .collect()
    }

    pub(super) fn item(
        &mut self,
        item: IntakeItem,
        peer: &NodeId,
        now: Timestamp,
    ) -> Result<Answer, SqlError> {
        let IntakeItem {
            id,
            form,
            judgement,
        } = item;
        let item = Item {
            number: self.number(&id)?,
            id,
            form,
            peer,
            now,
        };
        match item.number {
            Some(number) => self.met(&item, number, judgement),
            None => {
                let draft = self.judged(&item, judgement)?;
                self.answered_with(&item, &draft)
            }
        }
    }

    /// Answers an item whose record was met before.
    fn met(
        &mut self,
        item: &Item<'_>,
        number: i64,
        judgement: Judgement,
    ) -> Result<Answer, SqlError> {
        let earlier = self.earlier(item, number)?;
        let settled = earlier.clone().filter(|answer| answer.outcome.is_final());
        if self.is_withdrawn(number)? {
            let draft = DraftAnswer::new(
                Outcome::Refused,
                Some(Rule::Withdrawn),
                DecisionNote::default(),
            );
            // A final answer stays noted as it was given.
            return match settled {
                Some(_) => Ok(item.answer(&draft)),
                None => self.answered_with(item, &draft),
            };
        }
        if let Some(answer) = settled {
            return Ok(answer);
        }
        let draft = self.judged(item, judgement)?;
        if earlier.is_some() {
            // An item that was held may have been refused for now since.
            if draft.outcome.is_final() {
                self.release_held(item, number)?;
            }
            if draft.is_logged() {
                self.forget(item, number)?;
            }
        }
        self.answered_with(item, &draft)
    }

    fn answered_with(&mut self, item: &Item<'_>, draft: &DraftAnswer) -> Result<Answer, SqlError> {
        if draft.is_logged() {
            return Ok(item.answer(draft));
        }
        self.note(item, draft)
    }

    fn judged(&mut self, item: &Item<'_>, judgement: Judgement) -> Result<DraftAnswer, SqlError> {
        Ok(match judgement {
            Judgement::Admit { record, note } => {
                DraftAnswer::new(self.admit(item, &record, &note)?, None, note)
            }
            Judgement::Refuse { rule, note } => {
                DraftAnswer::new(Outcome::Refused, Some(rule), note)
            }
            Judgement::RefuseForNow { rule } => {
                DraftAnswer::new(Outcome::RefusedForNow, Some(rule), DecisionNote::default())
            }
            Judgement::Hold { record, rule, note } => {
                if self.hold(item, &record, rule)? {
                    DraftAnswer::new(Outcome::Held, Some(rule), note)
                } else {
                    DraftAnswer::new(Outcome::RefusedForNow, Some(Rule::Busy), note)
                }
            }
        })
    }

    fn admit(
        &mut self,
        item: &Item<'_>,
        record: &VerifiedRecord,
        note: &DecisionNote,
    ) -> Result<Outcome, SqlError> {
        item.check(record)?;
        let delivery = Delivery {
            peer: item.peer,
            form: item.form,
            decision: self.decision(note)?,
        };
        let held = match item.number {
            Some(number) => self.held_form(number)?.map(|form| (number, form)),
            None => None,
        };
        match held {
            None => {
                self.insert_record(record, item.number, Some(delivery), item.now)?;
                Ok(Outcome::Accepted)
            }
            Some((_, held)) if record.form().is_within(held) => Ok(Outcome::Duplicate),
            Some((number, held)) => {
                self.extend_record(number, record, held, Some(delivery), item.now)?;
                Ok(Outcome::Extended)
            }
        }
    }

    /// Forgets an answer that was not final. The record log holds the final one.
    fn forget(&self, item: &Item<'_>, number: i64) -> Result<(), SqlError> {
        self.run(
            "DELETE FROM arrival WHERE record = ?1 AND peer = ?2 AND form = ?3",
            item.key(number),
        )?;
        Ok(())
    }

    pub(super) fn is_withdrawn(&self, number: i64) -> Result<bool, SqlError> {
        let found = self.first(
            "SELECT record FROM tombstone WHERE record = ?1",
            [number],
            |row| row.get::<_, i64>(0),
        )?;
        Ok(found.is_some())
    }

    /// Returns this peer's earlier answer on this record in this form.
    fn earlier(&self, item: &Item<'_>, number: i64) -> Result<Option<Answer>, SqlError> {
        if let Some(outcome) = self.admitted_before(item, number)? {
            return Ok(Some(item.answer(&DraftAnswer::new(
                outcome,
                None,
                DecisionNote::default(),
            ))));
        }
        let row = self.first(
            "SELECT outcome, reason FROM arrival WHERE record = ?1 AND peer = ?2 AND form = ?3",
            item.key(number),
            |row| Ok((row.get::<_, String>(0)?, row.get(1)?)),
        )?;
        row.map(|(outcome, reason)| {
            Ok(Answer {
                record: item.id,
                form: item.form,
                outcome: named(&outcome)?,
                reason,
            })
        })
        .transpose()
    }

    /// Returns the outcome of this very delivery if the record log holds it: it added the record,
    /// or sections to it.
    fn admitted_before(&self, item: &Item<'_>, number: i64) -> Result<Option<Outcome>, SqlError> {
        for (at, place) in self.places(number)?.into_iter().enumerate() {
            let delivered = self.directory_at(place, |all| all.delivered(slot_of(place)))?;
            let same_form = delivered.is_some_and(|(form, _)| form == item.form);
            if same_form && self.source_at(place)?.as_deref() == Some(item.peer.as_str()) {
                return Ok(Some(match at {
                    0 => Outcome::Accepted,
                    _ => Outcome::Extended,
                }));
            }
        }
        Ok(None)
    }

    fn note(&mut self, item: &Item<'_>, draft: &DraftAnswer) -> Result<Answer, SqlError> {
        let decision = self.decision(&draft.note)?;
        let number = self.known(&item.id)?;
        self.run(
            "INSERT OR REPLACE INTO arrival (record, peer, form, outcome, reason, decision, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            (
                number,
                item.peer.as_str(),
                item.form.bits().cast_signed(),
                draft.outcome.name(),
                reason(draft.rule),
                decision,
                item.now.as_millis(),
            ),
        )?;
        Ok(item.answer(draft))
    }
}

impl Item<'_> {
    pub(super) fn key(&self, number: i64) -> (i64, &str, i64) {
        let form = self.form.bits().cast_signed();
        (number, self.peer.as_str(), form)
    }

    fn answer(&self, draft: &DraftAnswer) -> Answer {
        Answer {
            record: self.id,
            form: self.form,
            outcome: draft.outcome,
            reason: reason(draft.rule).map(str::to_owned),
        }
    }

    /// Checks that the record is the item's, in its form or a thinner one. Intake made both.
    pub(super) fn check(&self, record: &VerifiedRecord) -> Result<(), SqlError> {
        if record.id() == self.id && record.form().is_within(self.form) {
            Ok(())
        } else {
            Err(StoreError::Fault("an item names one record and brings another").into())
        }
    }
}

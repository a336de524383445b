//! Intake of a frame's items: each is answered according to what is held and what was answered
//! before.
//!
//! A person's decision on a held item takes the same path, so that its answer is kept and given
//! again like any other.

use portcullis_protocol::{
    frame::{Answer, Outcome},
    identifiers::NodeId,
    rules::Rule,
    time::Timestamp,
    verify::VerifiedRecord,
};
use portcullis_store::{DecisionNote, HeldDecision, Intake, IntakeItem, Judgement, Written};

use super::{
    decode::named,
    error::SqlError,
    held::HeldWriter,
    item::Item,
    position::PositionWriter,
    records::{Addition, Delivery, RecordWriter},
    refusals::{RefusalWriter, is_refusal},
    transaction::WriteTransaction,
};

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

    /// Returns true if the record log holds this answer, since the delivery added to it.
    const fn is_logged(&self) -> bool {
        match self.outcome {
            Outcome::Accepted | Outcome::Extended => true,
            Outcome::Duplicate | Outcome::Refused | Outcome::RefusedForNow | Outcome::Held => false,
        }
    }
}

/// Writer of what peers deliver, and of the answers to it.
pub(super) struct IntakeWriter<'t, 'a> {
    tx: &'t mut WriteTransaction<'a>,
}

impl<'t, 'a> IntakeWriter<'t, 'a> {
    pub(super) const fn of(tx: &'t mut WriteTransaction<'a>) -> Self {
        Self { tx }
    }

    /// Takes a frame in if its place follows from what is known of its sender.
    pub(super) fn arrive(&mut self, intake: Intake) -> Result<Written, SqlError> {
        if let Some(refused) = PositionWriter::of(self.tx).follow(&intake)? {
            return Ok(refused);
        }
        let answers = self.intake(intake)?;
        RecordWriter::of(self.tx).close_pack()?;
        Ok(Written::Answers(answers))
    }

    /// Answers held items for good. An item that is no longer held keeps the answer it has.
    pub(super) fn decide_held(&mut self, decision: HeldDecision) -> Result<Vec<Answer>, SqlError> {
        let HeldDecision { peer, now, items } = decision;
        let mut answers = Vec::with_capacity(items.len());
        for item in items {
            if HeldWriter::of(self.tx).waits(&item.id, &peer, item.form)? {
                answers.push(self.item(item, &peer, now)?);
            }
        }
        RecordWriter::of(self.tx).close_pack()?;
        Ok(answers)
    }

    /// Answers the items of a frame, in order.
    fn intake(&mut self, intake: Intake) -> Result<Vec<Answer>, SqlError> {
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

    fn item(
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
            number: self.tx.number(&id)?,
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
        if self.tx.is_withdrawn(number)? {
            let draft = DraftAnswer::new(
                Outcome::Refused,
                Some(Rule::Withdrawn),
                DecisionNote::default(),
            );
            // A final answer stays noted as it was given.
            return match settled {
                Some(_) => Ok(answer(item, &draft)),
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
                HeldWriter::of(self.tx).release(item, number)?;
            }
            if draft.is_logged() {
                self.forget(item, number)?;
            }
        }
        self.answered_with(item, &draft)
    }

    fn answered_with(&mut self, item: &Item<'_>, draft: &DraftAnswer) -> Result<Answer, SqlError> {
        if draft.is_logged() {
            return Ok(answer(item, draft));
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
                if HeldWriter::of(self.tx).hold(item, &record, rule)? {
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
            decision: self.tx.decision(note)?,
        };
        let added = RecordWriter::of(self.tx).add(record, item.number, Some(delivery), item.now)?;
        Ok(match added {
            Addition::Record => Outcome::Accepted,
            Addition::Sections => Outcome::Extended,
            Addition::Nothing => Outcome::Duplicate,
        })
    }

    /// Forgets an answer that was not final. The record log holds the final one.
    fn forget(&self, item: &Item<'_>, number: i64) -> Result<(), SqlError> {
        self.tx.run(
            "DELETE FROM arrival WHERE record = ?1 AND peer = ?2 AND form = ?3",
            item.key(number),
        )?;
        Ok(())
    }

    /// Returns this peer's earlier answer on this record in this form.
    fn earlier(&mut self, item: &Item<'_>, number: i64) -> Result<Option<Answer>, SqlError> {
        if let Some(outcome) =
            RecordWriter::of(self.tx).admitted_before((item.peer, item.form), number)?
        {
            return Ok(Some(answer(
                item,
                &DraftAnswer::new(outcome, None, DecisionNote::default()),
            )));
        }
        let row = self.tx.first(
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

    fn note(&mut self, item: &Item<'_>, draft: &DraftAnswer) -> Result<Answer, SqlError> {
        let decision = self.tx.decision(&draft.note)?;
        let number = self.tx.known(&item.id)?;
        self.tx.run(
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
        if is_refusal(draft.outcome) {
            RefusalWriter::of(self.tx).keep(item, number)?;
        }
        Ok(answer(item, draft))
    }
}

fn answer(item: &Item<'_>, draft: &DraftAnswer) -> Answer {
    Answer {
        record: item.id,
        form: item.form,
        outcome: draft.outcome,
        reason: reason(draft.rule).map(str::to_owned),
    }
}

/// Returns the name of a rule in an answer.
fn reason(rule: Option<Rule>) -> Option<&'static str> {
    rule.map(Rule::id)
}

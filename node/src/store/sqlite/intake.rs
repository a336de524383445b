//! What becomes of a frame's items: answered against what is held and what was answered before.

use portcullis_protocol::{
    frame::{Answer, Outcome},
    identifiers::NodeId,
    record::{Form, RecordId},
    rules::Rule,
    time::Timestamp,
    verify::VerifiedRecord,
};
use prost::Message as _;

use super::{
    group::{Group, Kept},
    query::{named, reason},
    records::Holding,
};
use crate::store::{DecisionNote, Intake, IntakeItem, Judgement, StoreError, crypt::Place};

/// An item and who delivered it.
struct Item<'a> {
    number: i64,
    id: RecordId,
    form: Form,
    peer: &'a NodeId,
    now: Timestamp,
}

/// An answer in the making.
struct Verdict {
    outcome: Outcome,
    rule: Option<Rule>,
    note: DecisionNote,
}

impl Verdict {
    const fn new(outcome: Outcome, rule: Option<Rule>, note: DecisionNote) -> Self {
        Self {
            outcome,
            rule,
            note,
        }
    }
}

impl Group<'_> {
    /// Answers the items of a frame, in order.
    pub(super) fn intake(&mut self, intake: Intake) -> Result<Vec<Answer>, StoreError> {
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
    ) -> Result<Answer, StoreError> {
        let IntakeItem {
            id,
            form,
            judgement,
        } = item;
        let item = Item {
            number: self.known(&id)?,
            id,
            form,
            peer,
            now,
        };
        let earlier = self.earlier(&item)?;
        let settled = earlier.clone().filter(|answer| answer.outcome.is_final());
        if self.is_withdrawn(&item)? {
            let verdict = Verdict::new(
                Outcome::Refused,
                Some(Rule::Withdrawn),
                DecisionNote::default(),
            );
            // What was answered once and for all stays noted as it was answered.
            return match settled {
                Some(_) => Ok(item.answer(&verdict)),
                None => self.note(&item, &verdict),
            };
        }
        if let Some(answer) = settled {
            return Ok(answer);
        }
        let verdict = self.judged(&item, judgement)?;
        if earlier.is_some_and(|answer| answer.outcome == Outcome::Held)
            && verdict.outcome.is_final()
        {
            self.release_held(&item)?;
        }
        self.note(&item, &verdict)
    }

    fn judged(&mut self, item: &Item<'_>, judgement: Judgement) -> Result<Verdict, StoreError> {
        Ok(match judgement {
            Judgement::Admit { record, note } => {
                Verdict::new(self.admit(item, &record)?, None, note)
            }
            Judgement::Refuse { rule, note } => Verdict::new(Outcome::Refused, Some(rule), note),
            Judgement::RefuseForNow { rule } => {
                Verdict::new(Outcome::RefusedForNow, Some(rule), DecisionNote::default())
            }
            Judgement::Hold { record, rule, note } => {
                self.hold(item, &record, rule)?;
                Verdict::new(Outcome::Held, Some(rule), note)
            }
        })
    }

    fn admit(&mut self, item: &Item<'_>, record: &VerifiedRecord) -> Result<Outcome, StoreError> {
        item.check(record)?;
        match self.holding(item.number)? {
            Holding::Nothing => {
                self.insert_record(item.number, record, Some(item.peer), item.now)?;
                Ok(Outcome::Accepted)
            }
            Holding::Form(held) if record.form().is_within(held) => Ok(Outcome::Duplicate),
            Holding::Form(held) => {
                self.extend_record(item.number, record, held, item.peer)?;
                Ok(Outcome::Extended)
            }
        }
    }

    /// Keeps an item for a person; one that waits already is kept as it is.
    fn hold(
        &mut self,
        item: &Item<'_>,
        record: &VerifiedRecord,
        rule: Rule,
    ) -> Result<(), StoreError> {
        item.check(record)?;
        let waiting = self.first(
            "SELECT n FROM held WHERE record = ?1 AND peer = ?2 AND form = ?3",
            item.key(),
            |row| row.get::<_, i64>(0),
        )?;
        if waiting.is_some() {
            return Ok(());
        }
        let statement = self.statement(record.statement())?;
        let place = Place::Held(&item.id, item.form, item.peer);
        let Kept { key, sealed } = self.seal(place, record.to_wire(0).encode_to_vec())?;
        self.run(
            "INSERT INTO held (record, peer, form, rule, at, statement, key, sealed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            (
                item.number,
                item.peer.as_str(),
                item.form.bits().cast_signed(),
                rule.id(),
                item.now.as_millis(),
                statement,
                key,
                sealed,
            ),
        )?;
        Ok(())
    }

    fn release_held(&mut self, item: &Item<'_>) -> Result<(), StoreError> {
        let key = self.first(
            "DELETE FROM held WHERE record = ?1 AND peer = ?2 AND form = ?3 RETURNING key",
            item.key(),
            |row| row.get(0),
        )?;
        if let Some(key) = key {
            self.retire(key);
        }
        Ok(())
    }

    fn is_withdrawn(&self, item: &Item<'_>) -> Result<bool, StoreError> {
        let found = self.first(
            "SELECT record FROM tombstone WHERE record = ?1",
            [item.number],
            |row| row.get::<_, i64>(0),
        )?;
        Ok(found.is_some())
    }

    /// What this peer was answered to this record in this form.
    fn earlier(&self, item: &Item<'_>) -> Result<Option<Answer>, StoreError> {
        let row = self.first(
            "SELECT outcome, reason FROM arrival WHERE record = ?1 AND peer = ?2 AND form = ?3",
            item.key(),
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

    fn note(&mut self, item: &Item<'_>, verdict: &Verdict) -> Result<Answer, StoreError> {
        let decision = self.decision(&verdict.note)?;
        self.run(
            "INSERT OR REPLACE INTO arrival (record, peer, form, outcome, reason, decision, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            (
                item.number,
                item.peer.as_str(),
                item.form.bits().cast_signed(),
                verdict.outcome.name(),
                reason(verdict.rule),
                decision,
                item.now.as_millis(),
            ),
        )?;
        Ok(item.answer(verdict))
    }
}

impl Item<'_> {
    fn key(&self) -> (i64, &str, i64) {
        let form = self.form.bits().cast_signed();
        (self.number, self.peer.as_str(), form)
    }

    fn answer(&self, verdict: &Verdict) -> Answer {
        Answer {
            record: self.id,
            form: self.form,
            outcome: verdict.outcome,
            reason: reason(verdict.rule).map(str::to_owned),
        }
    }

    /// The record must be the item, in its form or a thinner one: intake made both.
    fn check(&self, record: &VerifiedRecord) -> Result<(), StoreError> {
        if record.id() == self.id && record.form().is_within(self.form) {
            Ok(())
        } else {
            Err(StoreError::Fault(
                "an item names one record and brings another",
            ))
        }
    }
}

//! The ledger of disclosures, the cursors and the exceptions of dispatch.
//!
//! A ledger row stands for one record, peer and form. A row that a peer has answered for good
//! never changes again, whatever is decided later: what was disclosed stays told.

use portcullis_protocol::{
    frame::{Answer, Lane, Outcome},
    identifiers::NodeId,
    record::Form,
    statement::SignedStatement,
    time::Timestamp,
    wire,
};
use prost::Message as _;

use super::{
    group::Group,
    query::{named, unsigned},
    reader::Reader,
};
use crate::store::{
    DisclosureState, Event, HeldRecord, Intend, LedgerEntry, LogEntry, Relay, Settle, StoreError,
};

/// How long a record that was refused for now, or held, is tried again: 30 days.
const EXCEPTION_LIFE_MS: i64 = 30 * 24 * 3_600_000;
/// The most exceptions of one peer and lane; those that have waited longest end early.
const MAX_EXCEPTIONS: i64 = 65_536;
/// The kind of event that tells of records that are not tried again.
const EXCEPTIONS_ENDED: &str = "exceptions-ended";

/// One peer, one lane, one moment.
#[derive(Clone, Copy)]
struct Turn<'a> {
    peer: &'a NodeId,
    lane: Lane,
    now: Timestamp,
}

/// A ledger row as far as new decisions look at it.
struct Standing {
    form: Form,
    state: DisclosureState,
}

impl Standing {
    fn is_final(&self) -> bool {
        match self.state {
            DisclosureState::Answered(outcome) => outcome.is_final(),
            DisclosureState::Intended | DisclosureState::Denied => false,
        }
    }

    /// Whether the peer has all of `form`.
    fn covers(&self, form: Form) -> bool {
        match self.state {
            DisclosureState::Answered(outcome) => {
                outcome.is_admitted() && form.is_within(self.form)
            }
            DisclosureState::Intended | DisclosureState::Denied => false,
        }
    }
}

impl Group<'_> {
    /// Notes what is about to be sent and what is denied.
    pub(super) fn intend(&mut self, intend: &Intend) -> Result<(), StoreError> {
        let Intend {
            peer,
            lane,
            now,
            generation: _,
            first_sequence: _,
            entries,
            cursor,
        } = intend;
        let turn = Turn {
            peer,
            lane: *lane,
            now: *now,
        };
        for entry in entries {
            self.intend_one(turn, entry)?;
        }
        match cursor {
            Some(cursor) => self.advance(turn, *cursor),
            None => Ok(()),
        }
    }

    fn intend_one(&mut self, turn: Turn<'_>, entry: &LedgerEntry) -> Result<(), StoreError> {
        let number = self.known(&entry.record)?;
        if entry.form.is_empty() {
            self.end_exception(turn, number)?;
            return self.decide(turn, number, entry, DisclosureState::Denied);
        }
        let standings = self.standings(number, turn.peer)?;
        let settled = standings.iter().find(|standing| {
            standing.covers(entry.form) || (standing.form == entry.form && standing.is_final())
        });
        match settled {
            Some(standing) => self.renew(turn, number, standing.form),
            None => self.decide(turn, number, entry, DisclosureState::Intended),
        }
    }

    fn standings(&self, record: i64, peer: &NodeId) -> Result<Vec<Standing>, StoreError> {
        let forms = self.column(
            "SELECT form FROM disclosure WHERE record = ?1 AND peer = ?2",
            &[&record, &peer.as_str()],
        )?;
        forms
            .into_iter()
            .filter_map(|bits| self.standing(record, peer, bits).transpose())
            .collect()
    }

    fn standing(
        &self,
        record: i64,
        peer: &NodeId,
        form: i64,
    ) -> Result<Option<Standing>, StoreError> {
        let state = self.first(
            "SELECT state FROM disclosure WHERE record = ?1 AND peer = ?2 AND form = ?3",
            (record, peer.as_str(), form),
            |row| row.get::<_, String>(0),
        )?;
        state
            .map(|state| {
                Ok(Standing {
                    form: Form::from_bits(form.cast_unsigned()),
                    state: state_named(&state)?,
                })
            })
            .transpose()
    }

    /// Makes the row of this form the newest decision.
    fn decide(
        &mut self,
        turn: Turn<'_>,
        record: i64,
        entry: &LedgerEntry,
        state: DisclosureState,
    ) -> Result<(), StoreError> {
        let decision = self.decision(&entry.note)?;
        self.run(
            "INSERT OR REPLACE INTO disclosure
                 (record, peer, form, ordinal, withheld, state, decision, decided_at)
             VALUES (?1, ?2, ?3,
                 (SELECT coalesce(max(ordinal), 0) + 1 FROM disclosure
                  WHERE record = ?1 AND peer = ?2),
                 ?4, ?5, ?6, ?7)",
            (
                record,
                turn.peer.as_str(),
                entry.form.bits().cast_signed(),
                entry.withheld,
                state_name(state),
                decision,
                turn.now.as_millis(),
            ),
        )?;
        Ok(())
    }

    /// Makes a row that was answered for good the newest again, and changes nothing else.
    fn renew(&self, turn: Turn<'_>, record: i64, form: Form) -> Result<(), StoreError> {
        self.run(
            "UPDATE disclosure SET ordinal =
                 (SELECT max(ordinal) + 1 FROM disclosure WHERE record = ?1 AND peer = ?2)
             WHERE record = ?1 AND peer = ?2 AND form = ?3",
            (record, turn.peer.as_str(), form.bits().cast_signed()),
        )?;
        Ok(())
    }

    /// Notes a peer's answers with its receipt.
    pub(super) fn settle(&mut self, settle: &Settle) -> Result<(), StoreError> {
        let Settle {
            peer,
            lane,
            now,
            first_sequence: _,
            answers,
            receipt,
            cursor,
            generation: _,
            frame: _,
            next_sequence: _,
            retry_at,
        } = settle;
        let turn = Turn {
            peer,
            lane: *lane,
            now: *now,
        };
        let receipt = self.keep_receipt(turn, receipt, answers)?;
        for answer in answers {
            let number = self.known(&answer.record)?;
            self.answered(turn, number, answer, receipt)?;
            if answer.outcome.is_final() {
                self.end_exception(turn, number)?;
            } else {
                self.retry(turn, number, *retry_at)?;
            }
        }
        self.bound_exceptions(turn)?;
        self.settle_position(settle)?;
        self.advance(turn, cursor.unwrap_or(0))
    }

    fn keep_receipt(
        &self,
        turn: Turn<'_>,
        statement: &SignedStatement,
        answers: &[Answer],
    ) -> Result<i64, StoreError> {
        let receipt = wire::Receipt {
            payload: Some(statement.into()),
            answers: answers.iter().map(wire::Answer::from).collect(),
            refused: String::new(),
        };
        self.insert(
            "INSERT INTO receipt (peer, lane, at, receipt) VALUES (?1, ?2, ?3, ?4)",
            (
                turn.peer.as_str(),
                turn.lane.name(),
                turn.now.as_millis(),
                receipt.encode_to_vec(),
            ),
        )
    }

    fn answered(
        &mut self,
        turn: Turn<'_>,
        record: i64,
        answer: &Answer,
        receipt: i64,
    ) -> Result<(), StoreError> {
        let standings = self.standings(record, turn.peer)?;
        let of_form = standings
            .iter()
            .find(|standing| standing.form == answer.form);
        let covered = standings
            .iter()
            .any(|standing| standing.covers(answer.form));
        match of_form {
            Some(standing) if standing.is_final() => return Ok(()),
            None if covered => return Ok(()),
            Some(_) => {}
            // An answer to what the ledger does not hold is evidence of a disclosure as well.
            None => {
                let entry = LedgerEntry {
                    sequence: None,
                    record: answer.record,
                    form: answer.form,
                    withheld: 0,
                    note: crate::store::DecisionNote::default(),
                };
                self.decide(turn, record, &entry, DisclosureState::Intended)?;
            }
        }
        self.run(
            "UPDATE disclosure SET state = ?4, reason = ?5, answered_at = ?6, receipt = ?7
             WHERE record = ?1 AND peer = ?2 AND form = ?3",
            (
                record,
                turn.peer.as_str(),
                answer.form.bits().cast_signed(),
                answer.outcome.name(),
                answer.reason.as_deref(),
                turn.now.as_millis(),
                receipt,
            ),
        )?;
        Ok(())
    }

    fn retry(&self, turn: Turn<'_>, record: i64, at: Timestamp) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO exception (peer, lane, record, next_attempt, attempts, ends_at)
             VALUES (?1, ?2, ?3, ?4, 1, ?5)
             ON CONFLICT DO UPDATE
             SET next_attempt = excluded.next_attempt, attempts = attempts + 1",
            (
                turn.peer.as_str(),
                turn.lane.name(),
                record,
                at.as_millis(),
                turn.now.plus_millis(EXCEPTION_LIFE_MS).as_millis(),
            ),
        )?;
        Ok(())
    }

    fn end_exception(&self, turn: Turn<'_>, record: i64) -> Result<(), StoreError> {
        self.run(
            "DELETE FROM exception WHERE peer = ?1 AND lane = ?2 AND record = ?3",
            (turn.peer.as_str(), turn.lane.name(), record),
        )?;
        Ok(())
    }

    /// Nothing is retried for ever, and no peer fills the disk.
    fn bound_exceptions(&self, turn: Turn<'_>) -> Result<(), StoreError> {
        let (peer, lane) = (turn.peer.as_str(), turn.lane.name());
        let expired = self.run(
            "DELETE FROM exception WHERE peer = ?1 AND lane = ?2 AND ends_at <= ?3",
            (peer, lane, turn.now.as_millis()),
        )?;
        let crowded = self.run(
            "DELETE FROM exception WHERE peer = ?1 AND lane = ?2 AND record IN
                 (SELECT record FROM exception WHERE peer = ?1 AND lane = ?2
                  ORDER BY ends_at DESC, record DESC LIMIT -1 OFFSET ?3)",
            (peer, lane, MAX_EXCEPTIONS),
        )?;
        if expired + crowded == 0 {
            return Ok(());
        }
        self.event(&Event {
            at: turn.now,
            kind: EXCEPTIONS_ENDED.to_owned(),
            peer: Some(turn.peer.clone()),
            detail: format!(
                "records not tried again: {}; `dispatch backfill` sends them",
                expired + crowded
            ),
        })
    }

    /// Moves the cursor forward; it never moves back.
    fn advance(&self, turn: Turn<'_>, cursor: u64) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO dispatch (peer, lane, cursor) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET cursor = max(cursor, excluded.cursor)",
            (turn.peer.as_str(), turn.lane.name(), cursor.cast_signed()),
        )?;
        Ok(())
    }
}

impl Reader<'_> {
    pub(super) fn outbox(
        &self,
        lane: Lane,
        relay: Relay,
        cursor: u64,
        limit: u32,
    ) -> Result<Vec<LogEntry>, StoreError> {
        let sql = match relay {
            Relay::OwnOnly => {
                "SELECT sequence, record FROM log
                 WHERE lane = ?1 AND own = 1 AND sequence > ?2 ORDER BY sequence LIMIT ?3"
            }
            Relay::Others => {
                "SELECT sequence, record FROM log
                 WHERE lane = ?1 AND own = 0 AND sequence > ?2
                 UNION ALL
                 SELECT sequence, record FROM log
                 WHERE lane = ?1 AND own = 1 AND sequence > ?2
                 ORDER BY 1 LIMIT ?3"
            }
        };
        let rows: Vec<(i64, i64)> =
            self.rows(sql, (lane.name(), cursor.cast_signed(), limit), |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let numbers = rows.iter().map(|(_, record)| *record);
        let held = self.dispatched_records(numbers)?;
        rows.iter()
            .zip(held)
            .filter_map(|((sequence, _), held)| held.map(|held| (*sequence, held)))
            .map(|(sequence, held)| {
                Ok(LogEntry {
                    sequence: unsigned(sequence)?,
                    held,
                })
            })
            .collect()
    }

    pub(super) fn behind(&self, lane: Lane, relay: Relay, cursor: u64) -> Result<u64, StoreError> {
        let least_own = match relay {
            Relay::OwnOnly => 1,
            Relay::Others => 0,
        };
        let count = self.first(
            "SELECT count(*) FROM log WHERE lane = ?1 AND own IN (?2, 1) AND sequence > ?3",
            (lane.name(), least_own, cursor.cast_signed()),
            |row| row.get(0),
        )?;
        unsigned(count.unwrap_or(0))
    }

    pub(super) fn due(
        &self,
        peer: &NodeId,
        lane: Lane,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<HeldRecord>, StoreError> {
        let numbers: Vec<i64> = self.rows(
            "SELECT record FROM exception
             WHERE peer = ?1 AND lane = ?2 AND next_attempt <= ?3 AND ends_at > ?3
             ORDER BY next_attempt, record LIMIT ?4",
            (peer.as_str(), lane.name(), now.as_millis(), limit),
            |row| row.get(0),
        )?;
        let held = self.dispatched_records(numbers.into_iter())?;
        Ok(held.into_iter().flatten().collect())
    }

    pub(super) fn next_due(
        &self,
        peer: &NodeId,
        lane: Lane,
    ) -> Result<Option<Timestamp>, StoreError> {
        let next = self.first(
            "SELECT min(next_attempt) FROM exception
             WHERE peer = ?1 AND lane = ?2 AND next_attempt < ends_at",
            (peer.as_str(), lane.name()),
            |row| row.get::<_, Option<i64>>(0),
        )?;
        Ok(next.flatten().map(Timestamp::from_millis))
    }
}

/// How a state stands in the ledger.
const fn state_name(state: DisclosureState) -> &'static str {
    match state {
        DisclosureState::Intended => "intended",
        DisclosureState::Denied => "denied",
        DisclosureState::Answered(outcome) => outcome.name(),
    }
}

/// The state with this name.
pub(super) fn state_named(name: &str) -> Result<DisclosureState, StoreError> {
    match name {
        "intended" => Ok(DisclosureState::Intended),
        "denied" => Ok(DisclosureState::Denied),
        outcome => named::<Outcome>(outcome).map(DisclosureState::Answered),
    }
}

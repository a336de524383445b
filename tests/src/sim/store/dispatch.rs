//! The ledger of disclosures, the cursors and the exceptions.

use std::sync::Arc;

use portcullis_protocol::{
    frame::{Answer, Lane, Outcome},
    identifiers::NodeId,
    record::{Form, RecordId},
    time::Timestamp,
};
use portcullis_store::{
    DecisionNote, DisclosureRow, DisclosureState, ExceptionRow, HeldRecord, Intend, LedgerEntry,
    NodeEvent, ReceiptRow, Settle, UndeliveredRow,
};

use super::{
    State,
    state::{Exception, LedgerLine},
};
use crate::sim::mutant::Mutant;

/// Time for which a record that was refused for now, or held, is tried again: 7 days.
pub const EXCEPTION_LIFE_MS: i64 = 7 * 24 * 3_600_000;
/// Longest wait between two attempts.
const LONGEST_WAIT_MS: i64 = 3_600_000;

/// Returns whether this line has a final answer of the peer.
fn is_final(row: &DisclosureRow) -> bool {
    match row.state {
        DisclosureState::Answered(outcome) => outcome.is_final(),
        DisclosureState::Intended | DisclosureState::Denied => false,
    }
}

/// Returns whether the peer has all of `form` by this line.
fn covers(row: &DisclosureRow, form: Form) -> bool {
    match row.state {
        DisclosureState::Answered(outcome) => outcome.is_admitted() && form.is_within(row.form),
        DisclosureState::Intended | DisclosureState::Denied => false,
    }
}

impl State {
    pub(super) fn intend(&mut self, intend: Intend) {
        let Intend {
            peer,
            lane,
            now,
            generation: _,
            first_sequence: _,
            entries,
            cursor,
            filled: _,
            // Everybody in the model has the version of every record.
            awaits: _,
        } = intend;
        for entry in entries {
            if entry.form.is_empty() {
                self.end_exception(&peer, lane, entry.record);
                self.deny_owed(&peer, entry.record);
                self.decide(&peer, now, entry, DisclosureState::Denied);
                continue;
            }
            let settled = self
                .ledger(&entry.record, &peer)
                .iter()
                .filter(|line| {
                    covers(&line.row, entry.form)
                        || (line.row.form == entry.form && is_final(&line.row))
                })
                .map(|line| line.row.form)
                .min();
            match settled {
                Some(form) => self.renew(&peer, entry.record, form),
                None => self.decide(&peer, now, entry, DisclosureState::Intended),
            }
        }
        if let Some(cursor) = cursor {
            self.advance(&peer, lane, cursor);
        }
    }

    pub(super) fn lines(&mut self, peer: &NodeId, record: RecordId) -> &mut Vec<LedgerLine> {
        let lines = Arc::make_mut(&mut self.ledger)
            .entry((record, peer.clone()))
            .or_default();
        Arc::make_mut(lines)
    }

    /// Makes the line of this form the newest decision.
    pub(super) fn decide(
        &mut self,
        peer: &NodeId,
        now: Timestamp,
        entry: LedgerEntry,
        state: DisclosureState,
    ) {
        let LedgerEntry {
            sequence: _,
            record,
            form,
            withheld,
            note,
        } = entry;
        let row = DisclosureRow {
            record,
            peer: peer.clone(),
            form,
            withheld,
            state,
            reason: None,
            note,
            decided_at: now,
            answered_at: None,
        };
        let lines = self.lines(peer, record);
        lines.retain(|line| line.row.form != form);
        lines.push(LedgerLine { row, receipt: None });
    }

    /// Makes a line the newest and changes nothing else.
    fn renew(&mut self, peer: &NodeId, record: RecordId, form: Form) {
        let lines = self.lines(peer, record);
        if let Some(at) = lines.iter().position(|line| line.row.form == form) {
            let line = lines.remove(at);
            lines.push(line);
        }
    }

    pub(super) fn settle(&mut self, settle: Settle, mutant: Option<Mutant>) {
        self.settle_position(&settle);
        let Settle {
            peer,
            lane,
            now,
            generation: _,
            frame: _,
            first_sequence: _,
            answers,
            receipt,
            cursor,
            next_sequence: _,
            retry_at,
            expires,
            filled: _,
        } = settle;
        let receipt = Arc::new(ReceiptRow {
            peer: peer.clone(),
            at: now,
            statement: receipt,
            answers: answers.clone(),
        });
        self.pay(&peer, &answers);
        for answer in &answers {
            self.answered(&peer, now, answer, &receipt);
            if answer.outcome.is_final() {
                self.end_exception(&peer, lane, answer.record);
            } else if !self.tombstones.contains(&answer.record) {
                let expires = expires.iter().find(|(id, _)| *id == answer.record);
                let life = now.plus_millis(EXCEPTION_LIFE_MS);
                let ends_at = expires.map_or(life, |(_, end)| life.min(*end));
                let key = (peer.clone(), lane, answer.record);
                self.retry(key, retry_at.millis_since(now), now, ends_at);
            }
        }
        if mutant != Some(Mutant::RetryForEver) {
            self.end_old_exceptions(&peer, lane, now);
        }
        self.advance(&peer, lane, cursor.unwrap_or(0));
    }

    fn answered(
        &mut self,
        peer: &NodeId,
        now: Timestamp,
        answer: &Answer,
        receipt: &Arc<ReceiptRow>,
    ) {
        let lines = self.ledger(&answer.record, peer);
        let of_form = lines.iter().find(|line| line.row.form == answer.form);
        match of_form {
            Some(line) if is_final(&line.row) => return,
            Some(_) => {}
            None if lines.iter().any(|line| covers(&line.row, answer.form)) => return,
            None => {
                let entry = LedgerEntry {
                    sequence: None,
                    record: answer.record,
                    form: answer.form,
                    withheld: 0,
                    note: DecisionNote::default(),
                };
                self.decide(peer, now, entry, DisclosureState::Intended);
            }
        }
        for line in self.lines(peer, answer.record) {
            if line.row.form == answer.form {
                line.row.state = DisclosureState::Answered(answer.outcome);
                line.row.reason.clone_from(&answer.reason);
                line.row.answered_at = Some(now);
                line.receipt = Some(Arc::clone(receipt));
            }
        }
    }

    /// Schedules the next attempt; the wait doubles with every attempt.
    fn retry(
        &mut self,
        key: (NodeId, Lane, RecordId),
        first_ms: i64,
        now: Timestamp,
        ends_at: Timestamp,
    ) {
        let exceptions = Arc::make_mut(&mut self.exceptions);
        let exception = exceptions.entry(key).or_insert(Exception {
            next_attempt: now,
            ends_at,
            attempts: 0,
        });
        let doubled = 2_i64.saturating_pow(exception.attempts.min(40));
        let wait = first_ms.max(1).saturating_mul(doubled).min(LONGEST_WAIT_MS);
        exception.next_attempt = now.plus_millis(wait);
        exception.attempts += 1;
    }

    pub(super) fn end_exception(&mut self, peer: &NodeId, lane: Lane, record: RecordId) {
        let key = (peer.clone(), lane, record);
        if self.exceptions.contains_key(&key) {
            Arc::make_mut(&mut self.exceptions).remove(&key);
        }
        if self.undelivered.contains_key(&key) {
            Arc::make_mut(&mut self.undelivered).remove(&key);
        }
    }

    fn end_old_exceptions(&mut self, peer: &NodeId, lane: Lane, now: Timestamp) {
        let ended: Vec<_> = self
            .exceptions
            .iter()
            .filter(|((of, in_lane, _), exception)| {
                (of, *in_lane) == (peer, lane) && exception.ends_at <= now
            })
            .map(|(key, exception)| (key.clone(), exception.attempts))
            .collect();
        if ended.is_empty() {
            return;
        }
        for (key, attempts) in ended {
            self.deny_owed(peer, key.2);
            Arc::make_mut(&mut self.exceptions).remove(&key);
            Arc::make_mut(&mut self.undelivered).insert(key, (attempts, now));
        }
        self.event(NodeEvent {
            at: now,
            kind: "exceptions-ended".to_owned(),
            peer: Some(peer.clone()),
            detail: String::new(),
        });
    }

    /// Returns the records that are not tried again, including those not yet noted as such.
    pub(super) fn undelivered_by(&self, now: Timestamp) -> Vec<UndeliveredRow> {
        let noted = self
            .undelivered
            .iter()
            .map(|(key, (attempts, ended))| (key, *attempts, *ended));
        let over = self
            .exceptions
            .iter()
            .filter(|(_, exception)| exception.ends_at <= now)
            .map(|(key, exception)| (key, exception.attempts, exception.ends_at));
        noted
            .chain(over)
            .map(
                |((peer, lane, record), attempts, ended_at)| UndeliveredRow {
                    peer: peer.clone(),
                    lane: *lane,
                    record: *record,
                    attempts,
                    ended_at,
                },
            )
            .collect()
    }

    /// Moves the cursor forward; it never moves back.
    fn advance(&mut self, peer: &NodeId, lane: Lane, cursor: u64) {
        let cursors = Arc::make_mut(&mut self.cursors);
        let known = cursors.entry((peer.clone(), lane)).or_default();
        *known = cursor.max(*known);
    }

    pub(super) fn exceptions_by(&self, now: Timestamp) -> Vec<ExceptionRow> {
        let mut rows: Vec<ExceptionRow> = Vec::new();
        for ((peer, lane, record), exception) in self.exceptions.iter() {
            if exception.ends_at <= now {
                continue;
            }
            let newest = self.ledger(record, peer).last();
            let state = match newest.map(|line| line.row.state) {
                Some(DisclosureState::Answered(outcome)) => outcome.name(),
                Some(DisclosureState::Denied) => "denied",
                Some(DisclosureState::Intended) | None => "intended",
            };
            let alike = |row: &&mut ExceptionRow| {
                (&row.peer, row.lane, row.state.as_str()) == (peer, *lane, state)
            };
            match rows.iter_mut().find(alike) {
                Some(row) => {
                    row.count += 1;
                    row.next_attempt = row.next_attempt.min(exception.next_attempt);
                    row.ends_at = row.ends_at.min(exception.ends_at);
                }
                None => rows.push(ExceptionRow {
                    peer: peer.clone(),
                    lane: *lane,
                    state: state.to_owned(),
                    count: 1,
                    next_attempt: exception.next_attempt,
                    ends_at: exception.ends_at,
                }),
            }
        }
        rows
    }

    /// Makes the items that a peer holds, or held, due at once.
    pub(super) fn answers_ready(&mut self, peer: &NodeId, now: Timestamp) {
        let held: Vec<RecordId> = self
            .ledger
            .iter()
            .filter(|((_, of), lines)| {
                let held = DisclosureState::Answered(Outcome::Held);
                of == peer && lines.iter().any(|line| line.row.state == held)
            })
            .map(|((record, _), _)| *record)
            .collect();
        for ((of, _, record), exception) in Arc::make_mut(&mut self.exceptions) {
            if of == peer && held.contains(record) {
                exception.next_attempt = exception.next_attempt.min(now);
            }
        }
    }

    fn exceptions_of(
        &self,
        peer: &NodeId,
        lane: Lane,
    ) -> impl Iterator<Item = (&RecordId, &Exception)> {
        self.exceptions
            .iter()
            .filter(move |((of, in_lane, _), _)| (of, *in_lane) == (peer, lane))
            .map(|((_, _, record), exception)| (record, exception))
    }

    pub(super) fn due(
        &self,
        peer: &NodeId,
        lane: Lane,
        now: Timestamp,
        limit: u32,
        mutant: Option<Mutant>,
    ) -> Vec<HeldRecord> {
        if mutant == Some(Mutant::RetryNever) {
            return Vec::new();
        }
        let mut due: Vec<_> = self
            .exceptions_of(peer, lane)
            .filter(|(_, exception)| {
                let lives = exception.ends_at > now || mutant == Some(Mutant::RetryForEver);
                let due = exception.next_attempt <= now
                    // Planned under a clock that has been set back since.
                    || exception.next_attempt > now.plus_millis(LONGEST_WAIT_MS);
                due && lives
            })
            .collect();
        due.sort_by_key(|(_, exception)| exception.next_attempt);
        due.into_iter()
            .take(usize::try_from(limit).unwrap_or(usize::MAX))
            .filter_map(|(record, _)| self.held_record(record))
            .collect()
    }

    pub(super) fn next_due(
        &self,
        peer: &NodeId,
        lane: Lane,
        now: Timestamp,
        mutant: Option<Mutant>,
    ) -> Option<Timestamp> {
        if mutant == Some(Mutant::RetryNever) {
            return None;
        }
        self.exceptions_of(peer, lane)
            .filter(|(_, exception)| {
                (exception.next_attempt < exception.ends_at && exception.ends_at > now)
                    || mutant == Some(Mutant::RetryForEver)
            })
            .map(|(_, exception)| exception.next_attempt)
            .min()
    }
}

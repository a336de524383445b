//! The ledger of disclosures, the cursors and the exceptions of dispatch.
//!
//! A ledger row stands for one record, peer and form. A row that a peer has answered for good never
//! changes again, whatever is decided later: the ledger keeps every disclosure.

use portcullis_protocol::{
    frame::{Answer, Lane, Outcome},
    identifiers::NodeId,
    record::Form,
    statement::SignedStatement,
    time::Timestamp,
    wire,
};
use prost::Message as _;

use super::{decode::named, group::Group};
use crate::error::SqlError;
use portcullis_store::{DisclosureState, Intend, LedgerEntry, Settle};

/// Peer, lane and time of one operation on the ledger.
#[derive(Clone, Copy)]
pub(super) struct Posting<'a> {
    pub(super) peer: &'a NodeId,
    pub(super) lane: Lane,
    pub(super) now: Timestamp,
}

/// The part of a ledger row that new decisions look at.
struct PriorDecision {
    form: Form,
    state: DisclosureState,
}

impl PriorDecision {
    fn is_final(&self) -> bool {
        match self.state {
            DisclosureState::Answered(outcome) => outcome.is_final(),
            DisclosureState::Intended | DisclosureState::Denied => false,
        }
    }

    /// Returns true if the peer has all of `form`.
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
    pub(super) fn intend(&mut self, intend: &Intend) -> Result<(), SqlError> {
        let Intend {
            peer,
            lane,
            now,
            generation: _,
            first_sequence,
            entries,
            cursor,
            filled,
        } = intend;
        let posting = Posting {
            peer,
            lane: *lane,
            now: *now,
        };
        let (mut split, left) = self.split(posting, *first_sequence, entries)?;
        self.dissolve(posting, left, &mut split)?;
        for single in self.write_sent(posting, *first_sequence, split)? {
            self.intend_one(posting, single.number, single.entry)?;
        }
        self.move_backfill(filled.as_ref(), *now)?;
        match cursor {
            Some(cursor) => self.advance(posting, *cursor),
            None => Ok(()),
        }
    }

    fn intend_one(
        &mut self,
        posting: Posting<'_>,
        number: i64,
        entry: &LedgerEntry,
    ) -> Result<(), SqlError> {
        if entry.form.is_empty() {
            self.end_exception(posting, number)?;
            self.deny_owed(posting, number)?;
            return self.decide(posting, number, entry, DisclosureState::Denied);
        }
        let priors = self.priors(number, posting.peer)?;
        let settled = priors.iter().find(|prior| {
            prior.covers(entry.form) || (prior.form == entry.form && prior.is_final())
        });
        match settled {
            Some(prior) => self.renew(posting, number, prior.form),
            None => self.decide(posting, number, entry, DisclosureState::Intended),
        }
    }

    /// Returns the ledger's entries for a record and a peer, one for each form.
    fn priors(&self, record: i64, peer: &NodeId) -> Result<Vec<PriorDecision>, SqlError> {
        let single = self.rows(
            "SELECT form, state FROM disclosure WHERE record = ?1 AND peer = ?2",
            (record, peer.as_str()),
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)),
        )?;
        let mut priors = Vec::new();
        for (form, state) in single {
            priors.push(PriorDecision {
                form: Form::from_bits(form.cast_unsigned()),
                state: state_named(&state)?,
            });
        }
        for row in self.sent_of(peer.as_str(), record)? {
            for item in row.items.iter().filter(|item| item.number == record) {
                if priors.iter().all(|prior| prior.form != item.form) {
                    priors.push(PriorDecision {
                        form: item.form,
                        state: row.state(item),
                    });
                }
            }
        }
        Ok(priors)
    }

    /// Returns true if the ledger holds this form, or a fuller one, as intended or answered.
    pub(super) fn tells_of(
        &self,
        record: i64,
        peer: &NodeId,
        form: Form,
    ) -> Result<bool, SqlError> {
        let priors = self.priors(record, peer)?;
        Ok(priors.iter().any(|prior| {
            let is_intended = prior.state == DisclosureState::Intended;
            let is_answered = prior.form == form && prior.is_final();
            prior.covers(form) || is_answered || (is_intended && form.is_within(prior.form))
        }))
    }

    /// Makes the row of this form the newest decision.
    pub(super) fn decide(
        &mut self,
        posting: Posting<'_>,
        record: i64,
        entry: &LedgerEntry,
        state: DisclosureState,
    ) -> Result<(), SqlError> {
        let decision = self.decision(&entry.note)?;
        let ordinal = self.next_ordinal();
        self.run(
            "INSERT OR REPLACE INTO disclosure
                 (record, peer, form, ordinal, withheld, state, decision, decided_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            (
                record,
                posting.peer.as_str(),
                entry.form.bits().cast_signed(),
                ordinal,
                entry.withheld,
                state_name(state),
                decision,
                posting.now.as_millis(),
            ),
        )?;
        Ok(())
    }

    /// Makes a row that was answered for good the newest decision again, and changes nothing else.
    fn renew(&mut self, posting: Posting<'_>, record: i64, form: Form) -> Result<(), SqlError> {
        self.renew_sent(posting, record, form)?;
        let ordinal = self.next_ordinal();
        self.run(
            "UPDATE disclosure SET ordinal = ?4 WHERE record = ?1 AND peer = ?2 AND form = ?3",
            (
                record,
                posting.peer.as_str(),
                form.bits().cast_signed(),
                ordinal,
            ),
        )?;
        Ok(())
    }

    /// Notes a peer's answers with its receipt.
    pub(super) fn settle(&mut self, settle: &Settle) -> Result<(), SqlError> {
        let Settle {
            peer,
            lane,
            now,
            first_sequence,
            answers,
            receipt,
            cursor,
            generation: _,
            frame: _,
            next_sequence: _,
            retry_at: _,
            expires: _,
            filled,
        } = settle;
        let posting = Posting {
            peer,
            lane: *lane,
            now: *now,
        };
        let receipt = self.keep_receipt(posting, receipt, answers)?;
        for answer in self.settle_sent(posting, (*first_sequence, receipt), answers)? {
            let number = self.known(&answer.record)?;
            self.answered(posting, number, answer, receipt)?;
            if answer.outcome.is_final() {
                self.end_exception(posting, number)?;
            }
        }
        self.pay(posting, answers)?;
        self.retry(posting, settle)?;
        self.end_overdue(posting)?;
        self.move_backfill(filled.as_ref(), *now)?;
        self.settle_position(settle)?;
        self.advance(posting, cursor.unwrap_or(0))
    }

    fn keep_receipt(
        &self,
        posting: Posting<'_>,
        statement: &SignedStatement,
        answers: &[Answer],
    ) -> Result<i64, SqlError> {
        let receipt = wire::Receipt {
            payload: Some(statement.into()),
            answers: answers.iter().map(wire::Answer::from).collect(),
            refused: String::new(),
        };
        self.insert(
            "INSERT INTO receipt (peer, lane, at, receipt) VALUES (?1, ?2, ?3, ?4)",
            (
                posting.peer.as_str(),
                posting.lane.name(),
                posting.now.as_millis(),
                receipt.encode_to_vec(),
            ),
        )
    }

    fn answered(
        &mut self,
        posting: Posting<'_>,
        record: i64,
        answer: &Answer,
        receipt: i64,
    ) -> Result<(), SqlError> {
        let priors = self.priors(record, posting.peer)?;
        let of_form = priors.iter().find(|prior| prior.form == answer.form);
        let covered = priors.iter().any(|prior| prior.covers(answer.form));
        match of_form {
            Some(prior) if prior.is_final() => return Ok(()),
            None if covered => return Ok(()),
            Some(_) => {}
            // An answer to something that the ledger does not hold is evidence of a disclosure as
            // well.
            None => {
                let entry = LedgerEntry {
                    sequence: None,
                    record: answer.record,
                    form: answer.form,
                    withheld: 0,
                    note: portcullis_store::DecisionNote::default(),
                };
                self.decide(posting, record, &entry, DisclosureState::Intended)?;
            }
        }
        self.run(
            "UPDATE disclosure SET state = ?4, reason = ?5, answered_at = ?6, receipt = ?7
             WHERE record = ?1 AND peer = ?2 AND form = ?3",
            (
                record,
                posting.peer.as_str(),
                answer.form.bits().cast_signed(),
                answer.outcome.name(),
                answer.reason.as_deref(),
                posting.now.as_millis(),
                receipt,
            ),
        )?;
        Ok(())
    }

    /// Moves the cursor forward; it never moves back.
    fn advance(&self, posting: Posting<'_>, cursor: u64) -> Result<(), SqlError> {
        self.run(
            "INSERT INTO dispatch (peer, lane, cursor) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET cursor = max(cursor, excluded.cursor)",
            (
                posting.peer.as_str(),
                posting.lane.name(),
                cursor.cast_signed(),
            ),
        )?;
        Ok(())
    }
}

/// Returns the name of a state in the ledger.
pub(super) const fn state_name(state: DisclosureState) -> &'static str {
    match state {
        DisclosureState::Intended => "intended",
        DisclosureState::Denied => "denied",
        DisclosureState::Answered(outcome) => outcome.name(),
    }
}

/// Returns the state with this name.
pub(super) fn state_named(name: &str) -> Result<DisclosureState, SqlError> {
    match name {
        "intended" => Ok(DisclosureState::Intended),
        "denied" => Ok(DisclosureState::Denied),
        outcome => named::<Outcome>(outcome).map(DisclosureState::Answered),
    }
}

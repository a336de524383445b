//! Repairs of the differences that comparing channels found.
//!
//! A record that a peer lost is retried as an exception, and so decided on anew by policy. Its row
//! in the ledger stays as it was answered, because the ledger keeps every disclosure. A disclosure
//! that the ledger lost gets a new row that says how it was learned. A record that either side
//! withdrew is not sent.

use crate::channel::LEARNED;
use portcullis_protocol::{
    frame::{Answer, Lane, Outcome},
    identifiers::NodeId,
    reconcile::Entry,
    record::{Form, RecordId},
    time::Timestamp,
    verify::VerifiedRecord,
};

use super::{
    channel::Difference, decode::named, dispatch::Posting, exceptions::LIFE_MS, group::Group,
    pack::pack_of,
};
use crate::error::SqlError;
use portcullis_store::{
    DecisionNote, DisclosureState, Event, GiveBack, LedgerEntry, ReconciliationRow, Repair,
};

/// Policy name in a ledger row for a record that was given back to the authority that made it.
const GIVEN_BACK: &str = "given-back";
/// Most records of which a peer may say that it withdrew them.
const MAX_WITHDRAWN: i64 = 65_536;
/// Kind of the event that reports the result of comparing channels.
const RECONCILED: &str = "reconciled";

/// Returns a ledger entry that no policy decided, with `why` in place of a policy.
fn said(why: &str, entry: &Entry) -> LedgerEntry {
    LedgerEntry {
        sequence: None,
        record: entry.id,
        form: entry.form,
        withheld: 0,
        note: DecisionNote {
            policies: vec![why.to_owned()],
            bundle: None,
        },
    }
}

impl Group<'_> {
    /// Carries out a repair.
    pub(super) fn repair(&mut self, repair: &Repair) -> Result<(), SqlError> {
        let Repair {
            peer,
            at,
            owed,
            learned,
            withdrawn,
        } = repair;
        for id in owed {
            self.owe(peer, id, *at)?;
        }
        for entry in learned {
            self.learn(peer, entry, *at)?;
        }
        for id in withdrawn {
            self.note_withdrawn(peer, id, *at)?;
        }
        Ok(())
    }

    /// Schedules a record that the peer lost to be sent again, unless it was withdrawn.
    fn owe(&mut self, peer: &NodeId, id: &RecordId, at: Timestamp) -> Result<(), SqlError> {
        let Some(number) = self.number(id)? else {
            return Ok(());
        };
        if self.is_withdrawn(number)? || self.channel_note(peer, number)?.is_some() {
            return Ok(());
        }
        let Some(lane) = self.lane_of(number)? else {
            return self.set_note(peer, number, Difference::Gone, at);
        };
        self.set_note(peer, number, Difference::Owed, at)?;
        self.run(
            "INSERT OR REPLACE INTO exception
                 (peer, lane, record, next_attempt, attempts, ends_at)
             VALUES (?1, ?2, ?3, ?4, 0, ?5)",
            (
                peer.as_str(),
                lane.name(),
                number,
                at.as_millis(),
                at.plus_millis(LIFE_MS).as_millis(),
            ),
        )?;
        Ok(())
    }

    /// Returns the lane of a record that is held.
    fn lane_of(&self, number: i64) -> Result<Option<Lane>, SqlError> {
        let Some(place) = self.places(number)?.first().copied() else {
            return Ok(None);
        };
        let lane = self.first(
            "SELECT lane FROM pack WHERE n = ?1",
            [pack_of(place)],
            |row| row.get::<_, String>(0),
        )?;
        lane.map(|lane| named(&lane)).transpose()
    }

    /// Enters a disclosure that the peer reported into the ledger. A disclosure that the ledger
    /// holds in any state stays as it is: its own receipt is on its way, or was there.
    fn learn(&mut self, peer: &NodeId, entry: &Entry, at: Timestamp) -> Result<(), SqlError> {
        let number = self.known(&entry.id)?;
        match self.channel_note(peer, number)? {
            Some(Difference::Withdrawn) => return Ok(()),
            Some(Difference::Owed | Difference::Gone) => self.forget_note(peer, number)?,
            None => {}
        }
        if entry.is_withdrawn() || self.tells_of(number, peer, entry.form)? {
            return Ok(());
        }
        let posting = Posting {
            peer,
            lane: Lane::Bulk,
            now: at,
        };
        let said = said(LEARNED, entry);
        let accepted = DisclosureState::Answered(Outcome::Accepted);
        self.decide(posting, number, &said, accepted)?;
        self.run(
            "UPDATE disclosure SET answered_at = ?4 WHERE peer = ?1 AND record = ?2 AND form = ?3",
            (
                peer.as_str(),
                number,
                entry.form.bits().cast_signed(),
                at.as_millis(),
            ),
        )?;
        Ok(())
    }

    /// Enters records that are about to be given back to the authority that made them. No receipt
    /// follows, so that they stay as intended. An entry that is there already is not made again.
    pub(super) fn give_back(&mut self, back: &GiveBack) -> Result<(), SqlError> {
        let GiveBack { peer, at, given } = back;
        let posting = Posting {
            peer,
            lane: Lane::Bulk,
            now: *at,
        };
        for entry in given {
            let Some(number) = self.number(&entry.id)? else {
                continue;
            };
            if !self.tells_of(number, peer, entry.form)? {
                let said = said(GIVEN_BACK, entry);
                self.decide(posting, number, &said, DisclosureState::Intended)?;
            }
        }
        Ok(())
    }

    fn note_withdrawn(
        &mut self,
        peer: &NodeId,
        id: &RecordId,
        at: Timestamp,
    ) -> Result<(), SqlError> {
        let noted = self.column(
            "SELECT count(*) FROM channel_note WHERE peer = ?1 AND what = 'withdrawn'",
            &[&peer.as_str()],
        )?;
        if noted.first().is_none_or(|noted| *noted >= MAX_WITHDRAWN) {
            return Ok(());
        }
        let number = self.known(id)?;
        self.set_note(peer, number, Difference::Withdrawn, at)?;
        for lane in Lane::ALL {
            let posting = Posting {
                peer,
                lane: *lane,
                now: at,
            };
            self.end_exception(posting, number)?;
        }
        Ok(())
    }

    /// Returns the note on a record in the channel to this peer.
    fn channel_note(&self, peer: &NodeId, number: i64) -> Result<Option<Difference>, SqlError> {
        let what = self.first(
            "SELECT what FROM channel_note WHERE peer = ?1 AND record = ?2",
            (peer.as_str(), number),
            |row| row.get::<_, String>(0),
        )?;
        what.map(|what| Difference::named(&what)).transpose()
    }

    fn set_note(
        &self,
        peer: &NodeId,
        number: i64,
        note: Difference,
        at: Timestamp,
    ) -> Result<(), SqlError> {
        self.run(
            "INSERT OR REPLACE INTO channel_note (peer, record, what, at)
             VALUES (?1, ?2, ?3, ?4)",
            (peer.as_str(), number, note.name(), at.as_millis()),
        )?;
        Ok(())
    }

    fn forget_note(&self, peer: &NodeId, number: i64) -> Result<(), SqlError> {
        self.run(
            "DELETE FROM channel_note WHERE peer = ?1 AND record = ?2",
            (peer.as_str(), number),
        )?;
        Ok(())
    }

    /// Returns true if anything is owed to the peer again.
    fn owes(&self, peer: &NodeId) -> Result<bool, SqlError> {
        let owed = self.first(
            "SELECT record FROM channel_note WHERE peer = ?1 AND what = 'owed' LIMIT 1",
            [peer.as_str()],
            |row| row.get::<_, i64>(0),
        )?;
        Ok(owed.is_some())
    }

    /// Clears the debt of records that were owed again and are now answered. A record that the peer
    /// did not admit counts as lost for good.
    pub(super) fn pay(&self, posting: Posting<'_>, answers: &[Answer]) -> Result<(), SqlError> {
        if !self.owes(posting.peer)? {
            return Ok(());
        }
        for answer in answers.iter().filter(|answer| answer.outcome.is_final()) {
            let Some(number) = self.number(&answer.record)? else {
                continue;
            };
            if self.channel_note(posting.peer, number)? != Some(Difference::Owed) {
                continue;
            }
            if answer.outcome.is_admitted() {
                self.forget_note(posting.peer, number)?;
            } else {
                self.set_note(posting.peer, number, Difference::Gone, posting.now)?;
            }
        }
        Ok(())
    }

    /// Marks a record that was owed again and is now denied as lost for good.
    pub(super) fn deny_owed(&self, posting: Posting<'_>, number: i64) -> Result<(), SqlError> {
        self.run(
            "UPDATE channel_note SET what = 'gone' WHERE peer = ?1 AND record = ?2
             AND what = 'owed'",
            (posting.peer.as_str(), number),
        )?;
        Ok(())
    }

    /// Notes that the channel to a peer was compared.
    pub(super) fn reconciled(&self, row: &ReconciliationRow) -> Result<(), SqlError> {
        let ReconciliationRow {
            peer,
            own,
            theirs,
            at,
            found,
        } = row;
        self.run(
            "INSERT OR REPLACE INTO reconciled
                 (peer, own, theirs, at, owed, learned, withdrawn, recovered)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            (
                peer.as_str(),
                own.as_bytes(),
                theirs.as_bytes(),
                at.as_millis(),
                found.owed.cast_signed(),
                found.learned.cast_signed(),
                found.withdrawn.cast_signed(),
                found.recovered.cast_signed(),
            ),
        )?;
        if found.is_nothing() {
            return Ok(());
        }
        self.event(&Event {
            at: *at,
            kind: RECONCILED.to_owned(),
            peer: Some(peer.clone()),
            detail: found.to_string(),
        })
    }

    /// Takes back records of this authority that it had lost. A withdrawn record stays withdrawn.
    pub(super) fn recover(
        &mut self,
        records: &[VerifiedRecord],
        now: Timestamp,
    ) -> Result<(), SqlError> {
        for record in records {
            let number = self.number(&record.id())?;
            if let Some(number) = number
                && self.is_withdrawn(number)?
            {
                continue;
            }
            let held: Option<(i64, Form)> = match number {
                Some(number) => self.held_form(number)?.map(|form| (number, form)),
                None => None,
            };
            match held {
                None => {
                    self.insert_record(record, number, None, now)?;
                }
                Some((_, held)) if record.form().is_within(held) => {}
                Some((number, held)) => self.extend_record(number, record, held, None, now)?,
            }
        }
        self.close_pack()
    }
}

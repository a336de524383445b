//! Planning of the next frame for a peer: pure, from the record log and policy.
//!
//! Every record that comes from the disk is verified again from its bytes, so that nothing leaves
//! that was changed there. Policy then decides on it section by section. A denial is a ledger row;
//! a release is in the frame and in the ledger. No record goes back to where it came from.
//!
//! A [`Draft`] takes records in pages until its frame is full, so that no more records are opened
//! than leave. [`super::load`] brings the pages.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use portcullis_protocol::{
    frame::{
        Chain, FrameError, FrameHead, Generation, Lane, MAX_FRAME_BYTES, MAX_ITEMS, SentFrame,
    },
    identifiers::NodeId,
    keys::SigningKey,
    record::{Form, RecordId},
    register::{Authority, AuthorityKind},
    rules::Rule,
    time::Timestamp,
    verify::{Refusal, VerifiedRecord},
};

pub use super::outgoing::Outgoing;
use portcullis_kernel::{
    decide::{Decider, Release, Verification},
    dialect::Spoken,
};
use portcullis_store::{
    Awaiting, BackfillMove, DecisionNote, DisclosureRow, DisclosureState, DispatchPosition,
    HeldRecord, LedgerEntry, LogEntry, Logged,
};

/// Bytes at which a frame is closed: half of its limit. A larger record travels alone.
const FULL_BYTES: usize = MAX_FRAME_BYTES / 2;
/// Most bytes that a record may add to a frame; the rest is for the frame's own statement.
const MOST_BYTES: usize = MAX_FRAME_BYTES - (4 << 10);

/// Start of a plan: what is settled, and what is planned already and on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footing {
    /// Generation of the sender.
    pub generation: Generation,
    /// Log number after which entries are looked at.
    pub cursor: u64,
    /// Sequence number of the next item sent.
    pub next_sequence: u64,
    /// Sequence number before which every item is settled.
    pub settled_sequence: u64,
    /// Chain over the settled frames.
    pub chain: Chain,
}

impl From<DispatchPosition> for Footing {
    /// Makes the footing for a lane with nothing on its way.
    fn from(position: DispatchPosition) -> Self {
        let DispatchPosition {
            generation,
            cursor,
            next_sequence,
            chain,
        } = position;
        Self {
            generation,
            cursor,
            next_sequence,
            settled_sequence: next_sequence,
            chain,
        }
    }
}

/// Next steps for one peer and lane.
#[derive(Debug)]
pub struct Plan {
    /// Footing from which the plan starts.
    pub footing: Footing,
    /// Ledger rows to commit first.
    pub entries: Vec<LedgerEntry>,
    /// Frame to send once the rows are durable.
    pub frame: Option<Box<Outgoing>>,
    /// Log number to which the cursor moves with the ledger rows: nothing up to it needs a receipt.
    pub passes: Option<u64>,
    /// Log number to which the cursor moves with the receipt.
    pub settles: Option<u64>,
    /// Sequence number after the frame's last item.
    pub next_sequence: u64,
    /// Records of the frame that have a time of deletion, with that time.
    pub expires: Vec<(RecordId, Timestamp)>,
    /// Progress in a range of older records. It is stored with the receipt, or at once if there is
    /// no frame.
    pub filled: Option<BackfillMove>,
    /// Records that wait for the peer's version.
    pub awaits: Vec<Awaiting>,
    /// Time to look again if there is nothing to do.
    pub next_due: Option<Timestamp>,
    /// Time of planning.
    pub now: Timestamp,
}

impl Plan {
    /// Returns true if there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && self.frame.is_none()
            && self.passes.is_none()
            && self.filled.is_none()
            && self.awaits.is_empty()
    }
}

/// Plans for one peer and lane.
#[derive(Clone, Copy)]
pub struct Planner<'a> {
    /// Decides, and holds the register.
    pub decider: &'a Arc<Decider>,
    /// The node that sends.
    pub sender: &'a NodeId,
    /// The peer's authority.
    pub authority: &'a Authority,
    /// The peer.
    pub peer: &'a NodeId,
    /// The lane.
    pub lane: Lane,
    /// The sender's hop key.
    pub key: &'a SigningKey,
    /// Present time.
    pub now: Timestamp,
    /// Largest number of items in the frame, and of entries looked at for it.
    pub most: usize,
    /// Version of the protocol that the peer has.
    pub spoken: Spoken,
}

/// Decision on one candidate.
enum Step {
    /// The record needs neither frame nor ledger row.
    Skip,
    /// The record is denied, as this ledger row says.
    Deny(LedgerEntry),
    /// The record waits for the peer's version; the ledger says so, unless it does already.
    Wait(Awaiting, Option<LedgerEntry>),
    /// The record goes into the frame.
    Send(Arc<VerifiedRecord>, LedgerEntry),
}

/// A plan in the making. It takes candidates until its frame is full.
pub struct Draft<'a> {
    planner: Planner<'a>,
    verification: Verification<'a>,
    footing: Footing,
    seen: BTreeSet<RecordId>,
    ledger: Vec<LedgerEntry>,
    records: Vec<Arc<VerifiedRecord>>,
    /// Log number of the last entry looked at.
    last: Option<u64>,
    bytes: usize,
    looked_at: usize,
    is_full: bool,
    /// Progress that this plan makes in a range of older records.
    filled: Option<BackfillMove>,
    /// Records that wait for the peer's version.
    awaits: Vec<Awaiting>,
}

impl Draft<'_> {
    /// Takes records whose delivery is tried again. They come before new ones.
    pub fn retry(&mut self, due: Vec<HeldRecord>) {
        for held in due {
            if !self.consider(None, Logged::Stored(held), None) {
                return;
            }
        }
    }

    /// Takes entries of the log after [`Draft::cursor`], in ascending order, with the newest
    /// disclosure of each record to this peer.
    pub fn add(&mut self, entries: Vec<LogEntry>, earlier: Vec<DisclosureRow>) {
        let earlier: BTreeMap<_, _> = earlier.into_iter().map(|row| (row.record, row)).collect();
        for LogEntry { sequence, logged } in entries {
            let before = earlier.get(&logged.id());
            if !self.consider(Some(sequence), logged, before) {
                return;
            }
        }
    }

    /// Takes older entries of the log in the way that [`Draft::add`] takes new ones. Returns the
    /// number of the last one taken. The cursor stays where it is.
    pub fn fill(&mut self, entries: Vec<LogEntry>, earlier: Vec<DisclosureRow>) -> Option<u64> {
        let last = self.last.take();
        self.add(entries, earlier);
        std::mem::replace(&mut self.last, last)
    }

    /// Sets the progress in the range from which older entries were taken.
    pub const fn moves(&mut self, filled: BackfillMove) {
        self.filled = Some(filled);
    }

    /// Returns true if the log gave no entry.
    #[must_use]
    pub const fn found_nothing_new(&self) -> bool {
        self.last.is_none()
    }

    /// Returns the ledger's entries, in the order of the decisions.
    #[must_use]
    pub fn ledger(&self) -> &[LedgerEntry] {
        &self.ledger
    }

    /// Lists the records of the frame, in its order.
    pub fn records(&self) -> impl Iterator<Item = &VerifiedRecord> {
        self.records.iter().map(AsRef::as_ref)
    }

    /// Takes a candidate. Returns `false` if the frame is full without it.
    fn consider(
        &mut self,
        sequence: Option<u64>,
        logged: Logged,
        before: Option<&DisclosureRow>,
    ) -> bool {
        if self.is_full {
            return false;
        }
        self.looked_at += 1;
        let id = logged.id();
        // A record may be logged again while it waits for another try. Both entries stand for the
        // form held now.
        let is_new = !self.seen.contains(&id);
        let step = if is_new {
            self.step(sequence, logged, before)
        } else {
            Step::Skip
        };
        if !self.take(step) {
            self.is_full = true;
            return false;
        }
        self.seen.insert(id);
        self.last = sequence.or(self.last);
        self.is_full = self.records.len() >= self.planner.most.min(MAX_ITEMS);
        true
    }

    fn step(
        &mut self,
        sequence: Option<u64>,
        logged: Logged,
        before: Option<&DisclosureRow>,
    ) -> Step {
        let id = logged.id();
        let (record, source) = match self.verified(logged) {
            Ok(verified) => verified,
            Err(refusal) => return Step::Deny(damaged(sequence, id, &refusal)),
        };
        let Planner {
            decider,
            authority,
            now,
            ..
        } = self.planner;
        if self.planner.came_from_peer(&record, source.as_ref()) {
            return Step::Skip;
        }
        let release = decider.release(&record, source.as_ref(), &authority.id, now);
        let form = release.form();
        let nothing_new = if form.is_empty() {
            before.is_some_and(|row| is_denied_alike(row, &release))
        } else {
            before.is_some_and(|row| is_settled(row, form))
        };
        if nothing_new {
            return Step::Skip;
        }
        let needed = (self.planner.spoken.needed)(record.header());
        if needed > self.planner.spoken.version && !form.is_empty() {
            return waits(sequence, &record, needed, before);
        }
        self.planner.released(sequence, &record, &release)
    }

    /// Returns the record, and the node that delivered it. A record from the disk is verified from
    /// its bytes. A record that was verified and never left memory is only checked for the standing
    /// of its key.
    fn verified(
        &mut self,
        logged: Logged,
    ) -> Result<(Arc<VerifiedRecord>, Option<NodeId>), Refusal> {
        match logged {
            Logged::Stored(held) => {
                let record = self.verification.seen(&held.sealed, held.received_at)?;
                Ok((Arc::new(record), held.source))
            }
            Logged::AtHand { record, since } => {
                self.verification.again(&record, since)?;
                Ok((record, None))
            }
        }
    }

    fn take(&mut self, step: Step) -> bool {
        match step {
            Step::Skip => {}
            Step::Deny(entry) => self.ledger.push(entry),
            Step::Wait(awaiting, entry) => {
                self.awaits.push(awaiting);
                self.ledger.extend(entry);
            }
            Step::Send(record, entry) => {
                let bytes = self.bytes + weight(&record);
                if bytes > FULL_BYTES && !self.records.is_empty() {
                    return false;
                }
                self.bytes = bytes;
                self.records.push(record);
                self.ledger.push(entry);
            }
        }
        true
    }

    /// Returns the log number of the last entry looked at. The next page begins after it.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.last.unwrap_or(self.footing.cursor)
    }

    /// Returns true if the frame takes no more records.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.is_full
    }

    /// Returns the number of records in the frame.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns true if the frame has no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns the number of entries looked at, whatever was decided on them.
    #[must_use]
    pub const fn looked_at(&self) -> usize {
        self.looked_at
    }

    /// Returns the approximate size of the frame's records in bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the approximate number of bytes that the frame still takes.
    #[must_use]
    pub const fn room(&self) -> usize {
        FULL_BYTES.saturating_sub(self.bytes)
    }

    /// Signs the frame and makes the plan. Without records the plan only settles entries.
    ///
    /// # Errors
    ///
    /// [`FrameError`] if the hop key cannot sign. The fault is the operator's or this node's own.
    pub fn conclude(self, next_due: Option<Timestamp>) -> Result<Plan, FrameError> {
        let Self {
            planner,
            verification: _,
            footing,
            seen: _,
            ledger,
            records,
            last,
            bytes: _,
            looked_at: _,
            is_full: _,
            filled,
            awaits,
        } = self;
        let next_sequence = footing.next_sequence + records.len() as u64;
        let frame = if records.is_empty() {
            None
        } else {
            let signed = SentFrame::sign(planner.head(footing), &records, planner.key)?;
            Some(Box::new(Outgoing::new(signed, Arc::clone(planner.decider))))
        };
        let expires = records
            .iter()
            .filter_map(|record| Some((record.id(), record.header().marking.delete_at?)))
            .collect();
        let (passes, settles) = match frame {
            Some(_) => (None, last),
            None => (last, None),
        };
        Ok(Plan {
            footing,
            entries: ledger,
            frame,
            passes,
            settles,
            next_sequence,
            expires,
            filled,
            awaits,
            next_due,
            now: planner.now,
        })
    }
}

impl<'a> Planner<'a> {
    /// Begins a plan.
    #[must_use]
    pub fn draft(self, footing: Footing) -> Draft<'a> {
        Draft {
            verification: self.decider.verification(self.now),
            planner: self,
            footing,
            seen: BTreeSet::new(),
            ledger: Vec::new(),
            records: Vec::new(),
            last: None,
            bytes: 0,
            looked_at: 0,
            is_full: false,
            filled: None,
            awaits: Vec::new(),
        }
    }

    /// Returns true if the peer's authority made the record or the peer delivered it. Nothing goes
    /// back to either.
    fn came_from_peer(&self, record: &VerifiedRecord, source: Option<&NodeId>) -> bool {
        record.header().origin == self.authority.id || source == Some(self.peer)
    }

    fn released(
        &self,
        sequence: Option<u64>,
        record: &Arc<VerifiedRecord>,
        release: &Release,
    ) -> Step {
        let form = release.form();
        let entry = LedgerEntry {
            sequence,
            record: record.id(),
            form,
            withheld: record.form().len() - form.len(),
            note: release.note(),
        };
        match release.apply(record, &self.authority.id) {
            Some(released) if weight(&released) > MOST_BYTES => {
                Step::Deny(unfit(sequence, record.id(), Rule::Oversized))
            }
            Some(released) => Step::Send(released, entry),
            None => Step::Deny(LedgerEntry {
                form: Form::EMPTY,
                withheld: record.form().len(),
                ..entry
            }),
        }
    }

    fn head(&self, footing: Footing) -> FrameHead {
        let register = self.decider.register();
        FrameHead {
            federation: register.federation.clone(),
            sender: self.sender.clone(),
            receiver: self.peer.clone(),
            generation: footing.generation,
            lane: self.lane,
            first_sequence: footing.next_sequence,
            settled_sequence: footing.settled_sequence,
            chain: footing.chain,
            sent_at: self.now,
            register_epoch: register.epoch,
        }
    }
}

/// Returns the approximate number of bytes that a record adds to a frame.
fn weight(record: &VerifiedRecord) -> usize {
    let sections: usize = record
        .sections()
        .iter()
        .map(|open| open.section.body.len() + 32)
        .sum();
    record.header_bytes().len() + record.statement().unverified_payload().len() + sections + 600
}

/// Returns true if the peer has given a final answer to this form or a fuller one.
fn is_settled(row: &DisclosureRow, form: Form) -> bool {
    match row.state {
        DisclosureState::Answered(outcome) => outcome.is_final() && form.is_within(row.form),
        DisclosureState::Intended | DisclosureState::Denied => false,
    }
}

/// Returns true if the ledger already says that the same policies deny it.
fn is_denied_alike(row: &DisclosureRow, release: &Release) -> bool {
    row.state == DisclosureState::Denied && row.note == release.note()
}

/// Has a record wait until its peer has the version that it needs.
fn waits(
    sequence: Option<u64>,
    record: &VerifiedRecord,
    version: u32,
    before: Option<&DisclosureRow>,
) -> Step {
    let entry = LedgerEntry {
        sequence,
        record: record.id(),
        form: Form::EMPTY,
        withheld: record.form().len(),
        note: DecisionNote {
            policies: vec![format!("awaits-version-{version}")],
            bundle: None,
        },
    };
    let is_told =
        before.is_some_and(|row| row.state == DisclosureState::Denied && row.note == entry.note);
    let awaiting = Awaiting {
        record: record.id(),
        version,
        delete_at: record.header().marking.delete_at,
    };
    Step::Wait(awaiting, (!is_told).then_some(entry))
}

/// Makes the ledger row for a record whose bytes on disk do not verify. Such a record never leaves;
/// the row names the rule.
fn damaged(sequence: Option<u64>, record: RecordId, refusal: &Refusal) -> LedgerEntry {
    if refusal.rule == Rule::KeyCompromised {
        tracing::info!(%record, %refusal, "a record is set apart; it is not sent");
    } else {
        tracing::error!(%record, %refusal, "a held record does not verify; it is not sent");
    }
    unfit(sequence, record, refusal.rule)
}

/// Makes the ledger row for a record that a rule, and no policy, keeps here.
fn unfit(sequence: Option<u64>, record: RecordId, rule: Rule) -> LedgerEntry {
    LedgerEntry {
        sequence,
        record,
        form: Form::EMPTY,
        withheld: 0,
        note: DecisionNote {
            policies: vec![rule.id().to_owned()],
            bundle: None,
        },
    }
}

/// Returns the relaying of a node of this kind: a hub passes on the records of others, every other
/// node only its own.
#[must_use]
pub const fn relays(kind: AuthorityKind) -> portcullis_store::Relay {
    match kind {
        AuthorityKind::Hub => portcullis_store::Relay::Others,
        AuthorityKind::Customs
        | AuthorityKind::Police
        | AuthorityKind::PortAuthority
        | AuthorityKind::PrivateOperator => portcullis_store::Relay::OwnOnly,
    }
}

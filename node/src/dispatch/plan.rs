//! What goes into the next frame for a peer: pure, from the record log and policy.
//!
//! Every record that comes up is verified again from its bytes, so that nothing leaves that was
//! changed on disk, and decided on section by section. What policy denies is a ledger row; what
//! it releases is in the frame and in the ledger. Nothing goes back to where it came from.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_protocol::{
    frame::{FrameError, FrameHead, Generation, Lane, MAX_FRAME_BYTES, MAX_ITEMS, SentFrame},
    identifiers::NodeId,
    keys::SigningKey,
    record::{Form, RecordId},
    register::{Authority, AuthorityKind},
    rules::Rule,
    time::Timestamp,
    verify::{Refusal, VerifiedRecord},
};

use crate::{
    decide::{Decider, Release},
    store::{
        DecisionNote, DisclosureRow, DisclosureState, DispatchPosition, HeldRecord, LedgerEntry,
        LogEntry,
    },
};

/// A frame is closed at half its bytes; a record that is larger travels alone.
const FULL_BYTES: usize = MAX_FRAME_BYTES / 2;
/// What a record may add to a frame at most; the rest is for the frame's own statement.
const MOST_BYTES: usize = MAX_FRAME_BYTES - (4 << 10);
/// Records tried again that one frame takes; the rest is for what is new.
const MAX_RETRIED: usize = MAX_ITEMS / 4;

/// What was loaded to plan from.
#[derive(Debug, Default)]
pub struct Candidates {
    /// Entries of the log after the cursor, ascending.
    pub entries: Vec<LogEntry>,
    /// Records whose delivery is tried again; planned before the others, in a bounded share.
    pub due: Vec<HeldRecord>,
    /// The newest disclosure to this peer of each of these records.
    pub earlier: BTreeMap<RecordId, DisclosureRow>,
    /// When the next exception falls due.
    pub next_due: Option<Timestamp>,
}

/// What to do next.
#[derive(Debug)]
pub struct Plan {
    /// Ledger rows to commit first.
    pub entries: Vec<LedgerEntry>,
    /// The frame to send once they are durable.
    pub frame: Option<Box<SentFrame>>,
    /// Where the cursor moves with the ledger rows: everything up to it needs no receipt.
    pub passes: Option<u64>,
    /// Where the cursor moves with the receipt.
    pub settles: Option<u64>,
    /// The generation in which it was planned.
    pub generation: Generation,
    /// The sequence number of the frame's first item.
    pub first_sequence: u64,
    /// The sequence number after the frame's last item.
    pub next_sequence: u64,
    /// When to look again if there is nothing to do.
    pub next_due: Option<Timestamp>,
    /// When it was planned.
    pub now: Timestamp,
}

/// Plans for one peer and lane.
pub struct Planner<'a> {
    /// Decides, and knows the register.
    pub decider: &'a Decider,
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
    /// The present.
    pub now: Timestamp,
}

/// What became of one candidate.
enum Step {
    /// It needs neither frame nor ledger.
    Skip,
    /// A ledger row says that it is denied.
    Deny(LedgerEntry),
    /// It goes into the frame.
    Send(Box<VerifiedRecord>, LedgerEntry),
}

impl Planner<'_> {
    /// Plans the next frame, or what can be settled without one.
    ///
    /// # Errors
    ///
    /// [`FrameError`] if the hop key cannot sign: the operator's or our fault.
    pub fn plan(
        &self,
        position: DispatchPosition,
        candidates: Candidates,
    ) -> Result<Plan, FrameError> {
        let Candidates {
            entries,
            due,
            earlier,
            next_due,
        } = candidates;
        let retried = due.into_iter().take(MAX_RETRIED).map(|held| (None, held));
        let fresh = entries
            .into_iter()
            .map(|entry| (Some(entry.sequence), entry.held));
        let gathered = self.gather(retried.chain(fresh), &earlier);
        self.concluded(position, gathered, next_due)
    }

    fn gather(
        &self,
        candidates: impl Iterator<Item = (Option<u64>, HeldRecord)>,
        earlier: &BTreeMap<RecordId, DisclosureRow>,
    ) -> Gathered {
        let mut gathered = Gathered::default();
        let mut seen = BTreeSet::new();
        for (sequence, held) in candidates {
            let id = held.sealed.id();
            // Logged again while it waits for another try: both are the form held now.
            let step = if seen.insert(id) {
                self.step(sequence, &held, sequence.and_then(|_| earlier.get(&id)))
            } else {
                Step::Skip
            };
            if !gathered.take(step) {
                break;
            }
            gathered.last = sequence.or(gathered.last);
            if gathered.records.len() >= MAX_ITEMS {
                break;
            }
        }
        gathered
    }

    fn step(
        &self,
        sequence: Option<u64>,
        held: &HeldRecord,
        before: Option<&DisclosureRow>,
    ) -> Step {
        let id = held.sealed.id();
        let record = match self.decider.verify_held(&held.sealed, self.now) {
            Ok(record) => record,
            Err(refusal) => return Step::Deny(damaged(sequence, id, &refusal)),
        };
        if self.came_from_peer(held, &record) {
            return Step::Skip;
        }
        let source = held.source.as_ref();
        let release = self
            .decider
            .release(&record, source, &self.authority.id, self.now);
        let form = release.form();
        let nothing_new = if form.is_empty() {
            before.is_some_and(|row| is_denied_alike(row, &release))
        } else {
            before.is_some_and(|row| is_settled(row, form))
        };
        if nothing_new {
            return Step::Skip;
        }
        self.released(sequence, &record, &release)
    }

    /// Nothing goes back to its origin or to who delivered it.
    fn came_from_peer(&self, held: &HeldRecord, record: &VerifiedRecord) -> bool {
        record.header().origin == self.authority.id || held.source.as_ref() == Some(self.peer)
    }

    fn released(&self, sequence: Option<u64>, record: &VerifiedRecord, release: &Release) -> Step {
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
            Some(released) => Step::Send(Box::new(released), entry),
            None => Step::Deny(LedgerEntry {
                form: Form::EMPTY,
                withheld: record.form().len(),
                ..entry
            }),
        }
    }

    fn concluded(
        &self,
        position: DispatchPosition,
        gathered: Gathered,
        next_due: Option<Timestamp>,
    ) -> Result<Plan, FrameError> {
        let Gathered {
            ledger,
            records,
            last,
            bytes: _,
        } = gathered;
        let next_sequence = position.next_sequence + records.len() as u64;
        let frame = if records.is_empty() {
            None
        } else {
            let head = self.head(position);
            Some(Box::new(SentFrame::sign(head, &records, self.key)?))
        };
        let (passes, settles) = match frame {
            Some(_) => (None, last),
            None => (last, None),
        };
        Ok(Plan {
            entries: ledger,
            frame,
            passes,
            settles,
            generation: position.generation,
            first_sequence: position.next_sequence,
            next_sequence,
            next_due,
            now: self.now,
        })
    }

    fn head(&self, position: DispatchPosition) -> FrameHead {
        let register = self.decider.register();
        FrameHead {
            federation: register.federation.clone(),
            sender: self.sender.clone(),
            receiver: self.peer.clone(),
            generation: position.generation,
            lane: self.lane,
            first_sequence: position.next_sequence,
            settled_sequence: position.next_sequence,
            chain: position.chain,
            sent_at: self.now,
            register_epoch: register.epoch,
        }
    }
}

impl Gathered {
    /// Takes a step in; `false` if the frame is full without it.
    fn take(&mut self, step: Step) -> bool {
        match step {
            Step::Skip => {}
            Step::Deny(entry) => self.ledger.push(entry),
            Step::Send(record, entry) => {
                let bytes = self.bytes + weight(&record);
                if bytes > FULL_BYTES && !self.records.is_empty() {
                    return false;
                }
                self.bytes = bytes;
                self.records.push(*record);
                self.ledger.push(entry);
            }
        }
        true
    }
}

#[derive(Default)]
struct Gathered {
    ledger: Vec<LedgerEntry>,
    records: Vec<VerifiedRecord>,
    /// The log number of the last candidate looked at.
    last: Option<u64>,
    bytes: usize,
}

/// The bytes a record adds to a frame, about.
fn weight(record: &VerifiedRecord) -> usize {
    let sections: usize = record
        .sections()
        .iter()
        .map(|open| open.section.body.len() + 32)
        .sum();
    record.header_bytes().len() + record.statement().unverified_payload().len() + sections + 600
}

/// Whether a peer has given a final answer to this form or a fuller one.
fn is_settled(row: &DisclosureRow, form: Form) -> bool {
    match row.state {
        DisclosureState::Answered(outcome) => outcome.is_final() && form.is_within(row.form),
        DisclosureState::Intended | DisclosureState::Denied => false,
    }
}

/// Whether the ledger says already that the same policies deny it.
fn is_denied_alike(row: &DisclosureRow, release: &Release) -> bool {
    row.state == DisclosureState::Denied && row.note == release.note()
}

/// A record whose bytes on disk do not verify never leaves; the ledger names the rule.
fn damaged(sequence: Option<u64>, record: RecordId, refusal: &Refusal) -> LedgerEntry {
    tracing::error!(%record, %refusal, "a held record does not verify; it is not sent");
    unfit(sequence, record, refusal.rule)
}

/// The ledger's row for a record that a rule, and no policy, keeps here.
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

/// Whether a node of this kind passes on what others made.
#[must_use]
pub const fn relays(kind: AuthorityKind) -> crate::store::Relay {
    match kind {
        AuthorityKind::Hub => crate::store::Relay::Others,
        AuthorityKind::Customs
        | AuthorityKind::Police
        | AuthorityKind::PortAuthority
        | AuthorityKind::PrivateOperator => crate::store::Relay::OwnOnly,
    }
}

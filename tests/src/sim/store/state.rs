//! The state of a node's disk, as maps. Tables are shared until they are changed, so that a copy of
//! the whole is cheap: every commit makes one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use portcullis_protocol::{
    frame::{Chain, Generation, Lane, Memory, Witness},
    identifiers::NodeId,
    record::{Form, Kind, RecordId},
    register::SignedRegister,
    seal::SealedRecord,
    statement::SignedStatement,
    time::Timestamp,
    verify::VerifiedRecord,
};
use portcullis_store::{
    ArrivalRow, ConsignmentRow, DisclosureRow, DispatchPosition, FactKind, FactRow, ForkRow,
    HeldItem, HeldKey, HeldRecord, NodeEvent, PersonRow, ReceiptRow, ReconciliationRow, ScoreRow,
};

use super::channel::Note;

/// An act that was logged.
#[derive(Debug, Clone)]
pub struct LoggedAct {
    /// True if it was begun and has no end yet.
    pub is_open: bool,
    /// The answer that is kept of it.
    pub answer: Option<Vec<u8>>,
}

/// A record in the form held.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The record.
    pub record: VerifiedRecord,
    /// Peer that delivered it first; `None`: made here.
    pub source: Option<NodeId>,
    /// Time at which it was received or made.
    pub received_at: Timestamp,
    /// Its number among all records that were ever kept here.
    pub number: u64,
}

/// A line of the record log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLine {
    /// Its number.
    pub sequence: u64,
    /// The lane the record travels in.
    pub lane: Lane,
    /// Set if it was made here.
    pub own: bool,
    /// The record.
    pub record: RecordId,
    /// Form that was held from this line on.
    pub form: Form,
}

/// A line of the disclosure ledger.
#[derive(Debug, Clone)]
pub struct LedgerLine {
    /// Row of the ledger, as readers see it.
    pub row: DisclosureRow,
    /// Receipt behind the answer.
    pub receipt: Option<Arc<ReceiptRow>>,
}

/// A record that the cursor passed without a final answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exception {
    /// Time of the next attempt.
    pub next_attempt: Timestamp,
    /// Time from which it is not tried again.
    pub ends_at: Timestamp,
    /// Number of times it was sent.
    pub attempts: u32,
}

/// Knowledge of a peer's position in a lane.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownPlace {
    /// Last claim of the peer and the answers given to it since.
    pub witness: Witness,
    /// Tells whether all answers ever given to the peer are known.
    pub memory: Memory,
    /// Time at which its generation was first seen.
    pub since: Timestamp,
    /// Signed statement of the frame with the claim.
    pub statement: SignedStatement,
}

type Table<K, V> = Arc<BTreeMap<K, V>>;

/// Payload and signature of an act.
pub type ActKey = (Vec<u8>, Vec<u8>);

/// Everything a node has on disk.
#[derive(Debug, Clone)]
pub struct State {
    /// Generation of its sequence numbers.
    pub generation: Generation,
    /// Generations of its own that are over, the oldest first.
    pub own_left: Arc<Vec<Generation>>,
    /// Records by id.
    pub records: Table<RecordId, Arc<Kept>>,
    /// The record log, ascending.
    pub log: Arc<Vec<LogLine>>,
    /// Records that are never admitted again.
    pub tombstones: Arc<BTreeSet<RecordId>>,
    /// Items that peers delivered, with the answers.
    pub arrivals: Table<(RecordId, NodeId, Form), Arc<ArrivalRow>>,
    /// Items that wait for a person, the oldest first.
    pub held: Arc<Vec<Arc<HeldItem>>>,
    /// The disclosure ledger; the newest decision on a record and peer comes last.
    pub ledger: Table<(RecordId, NodeId), Arc<Vec<LedgerLine>>>,
    /// Cursors of dispatch, by peer and lane.
    pub cursors: Table<(NodeId, Lane), u64>,
    /// Next sequence number and chain in the present generation.
    pub sent: Table<(NodeId, Lane), (u64, Chain)>,
    /// Positions that peers claim.
    pub places: Table<(NodeId, Lane), KnownPlace>,
    /// Generations that peers have left, the oldest first.
    pub left: Table<(NodeId, Lane), Vec<Generation>>,
    /// Forks found, the oldest first.
    pub forks: Arc<Vec<ForkRow>>,
    /// Records that are tried again.
    pub exceptions: Table<(NodeId, Lane, RecordId), Exception>,
    /// Records that are not tried again: the number of attempts and the time of the end.
    pub undelivered: Table<(NodeId, Lane, RecordId), (u32, Timestamp)>,
    /// The register's epochs, ascending.
    pub registers: Arc<Vec<SignedRegister>>,
    /// Facts about trust, by their kind and subject.
    pub facts: Table<(FactKind, String), FactRow>,
    /// Persons by id.
    pub persons: Table<String, PersonRow>,
    /// Statements that were carried out: key id and payload.
    pub acts: Arc<BTreeMap<ActKey, LoggedAct>>,
    /// Statements about persons, in their order.
    pub about_persons: Arc<Vec<SignedStatement>>,
    /// Consignments by reference.
    pub consignments: Table<String, ConsignmentRow>,
    /// Scores by reference.
    pub scores: Table<String, ScoreRow>,
    /// Events, the oldest first.
    pub events: Arc<Vec<NodeEvent>>,
    /// Findings from comparisons of channels.
    pub notes: Table<(NodeId, RecordId), Note>,
    /// Last comparison of the channel with each peer.
    pub reconciliations: Table<NodeId, ReconciliationRow>,
}

impl State {
    /// Returns the keys of the items that wait for a person, the oldest first, numbered in that
    /// order.
    pub(super) fn held_keys(&self) -> Vec<HeldKey> {
        let numbered = (1..).zip(self.held.iter());
        numbered
            .map(|(n, item)| HeldKey {
                n,
                record: item.sealed.id(),
                peer: item.peer.clone(),
                form: item.form,
                at: item.at,
                ends_at: item.ends_at,
            })
            .collect()
    }

    /// Returns an empty state in this generation.
    #[must_use]
    pub fn new(generation: Generation) -> Self {
        Self {
            generation,
            own_left: Arc::default(),
            records: Arc::default(),
            log: Arc::default(),
            tombstones: Arc::default(),
            arrivals: Arc::default(),
            held: Arc::default(),
            ledger: Arc::default(),
            cursors: Arc::default(),
            sent: Arc::default(),
            places: Arc::default(),
            left: Arc::default(),
            forks: Arc::default(),
            exceptions: Arc::default(),
            undelivered: Arc::default(),
            registers: Arc::default(),
            facts: Arc::default(),
            persons: Arc::default(),
            acts: Arc::default(),
            about_persons: Arc::default(),
            consignments: Arc::default(),
            scores: Arc::default(),
            events: Arc::default(),
            notes: Arc::default(),
            reconciliations: Arc::default(),
        }
    }

    /// Returns a record as a reader gets it.
    #[must_use]
    pub fn held_record(&self, id: &RecordId) -> Option<HeldRecord> {
        self.records.get(id).map(|kept| held_record(kept))
    }

    /// Returns the form in which a record is held.
    #[must_use]
    pub fn form(&self, id: &RecordId) -> Form {
        self.records
            .get(id)
            .map_or(Form::EMPTY, |kept| kept.record.form())
    }

    /// Returns the ledger lines on a record for a peer, the newest last.
    #[must_use]
    pub fn ledger(&self, record: &RecordId, peer: &NodeId) -> &[LedgerLine] {
        self.ledger
            .get(&(*record, peer.clone()))
            .map_or(&[], |lines| lines.as_slice())
    }

    /// Returns the position of dispatch with a peer in a lane.
    #[must_use]
    pub fn position(&self, peer: &NodeId, lane: Lane) -> DispatchPosition {
        let key = (peer.clone(), lane);
        let (next_sequence, chain) = self.sent.get(&key).copied().unwrap_or((1, Chain::START));
        DispatchPosition {
            generation: self.generation,
            cursor: self.cursors.get(&key).copied().unwrap_or(0),
            next_sequence,
            chain,
        }
    }

    pub(super) fn newest_first(&self, chosen: impl Fn(&Kept) -> bool) -> Vec<HeldRecord> {
        let mut kept: Vec<_> = self.records.values().filter(|kept| chosen(kept)).collect();
        kept.sort_by_key(|kept| std::cmp::Reverse((kept.received_at, kept.number)));
        kept.into_iter().map(|kept| held_record(kept)).collect()
    }

    /// Keeps and logs a record that is not held yet.
    pub(super) fn insert(
        &mut self,
        record: VerifiedRecord,
        source: Option<NodeId>,
        received_at: Timestamp,
    ) {
        let (own, number) = (source.is_none(), self.next_number());
        self.append(&record, own);
        let kept = Kept {
            number,
            record,
            source,
            received_at,
        };
        let records = Arc::make_mut(&mut self.records);
        records.insert(kept.record.id(), Arc::new(kept));
    }

    fn next_number(&self) -> u64 {
        let numbers = self.records.values().map(|kept| kept.number);
        numbers.max().unwrap_or(0) + 1
    }

    /// Adds a line to the log.
    pub(super) fn append(&mut self, record: &VerifiedRecord, own: bool) {
        let sequence = self.log.last().map_or(0, |line| line.sequence) + 1;
        Arc::make_mut(&mut self.log).push(LogLine {
            sequence,
            lane: lane_of(record.header().kind),
            own,
            record: record.id(),
            form: record.form(),
        });
    }

    /// Erases a record and leaves a tombstone, so that it is never admitted again.
    pub fn withdraw(&mut self, record: RecordId) {
        Arc::make_mut(&mut self.records).remove(&record);
        Arc::make_mut(&mut self.tombstones).insert(record);
        if self.held.iter().any(|item| item.sealed.id() == record) {
            Arc::make_mut(&mut self.held).retain(|item| item.sealed.id() != record);
        }
    }

    pub(super) fn publish(&mut self, records: Vec<VerifiedRecord>, now: Timestamp) {
        for record in records {
            let id = record.id();
            if !self.records.contains_key(&id) && !self.tombstones.contains(&id) {
                self.insert(record, None, now);
            }
        }
    }
}

fn held_record(kept: &Kept) -> HeldRecord {
    let statement = Arc::clone(kept.record.statement());
    HeldRecord {
        sealed: SealedRecord::new(kept.record.to_wire(0), statement),
        form: kept.record.form(),
        source: kept.source.clone(),
        received_at: kept.received_at,
    }
}

/// Returns the lane of a kind: alerts are urgent, all else is bulk.
#[must_use]
pub fn lane_of(kind: Kind) -> Lane {
    if kind == Kind::Alert {
        Lane::Urgent
    } else {
        Lane::Bulk
    }
}

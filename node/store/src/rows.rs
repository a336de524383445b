//! What is read: rows in the domain's terms, and which of them are asked for.

use std::{fmt, sync::Arc};

use portcullis_protocol::{
    body::SelectorKind,
    frame::{Answer, Chain, Generation, Lane, Outcome},
    identifiers::{AuthorityId, NodeId},
    reconcile::Buckets,
    record::{Form, Kind, RecordId},
    seal::SealedRecord,
    statement::SignedStatement,
    time::Timestamp,
    verify::VerifiedRecord,
};

use super::DecisionNote;

/// A record as it is held: its reader verifies it again.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldRecord {
    /// The record in the form held; its `batch` field is 0.
    pub sealed: SealedRecord,
    /// Which sections are held.
    pub form: Form,
    /// Who delivered it first; `None`: this authority made it.
    pub source: Option<NodeId>,
    /// When it was committed here.
    pub received_at: Timestamp,
}

/// A place in the record log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogEntry {
    /// Its number, from 1, without an order across gaps that were rolled back.
    pub sequence: u64,
    /// The record as it is held now.
    pub logged: Logged,
}

/// A record of the log.
#[derive(Debug, Clone, PartialEq)]
pub enum Logged {
    /// As it was read from the disk: its reader verifies it again.
    Stored(HeldRecord),
    /// This authority's own, verified when it was published and in memory since then.
    AtHand {
        /// The record.
        record: Arc<VerifiedRecord>,
        /// When it was committed here.
        since: Timestamp,
    },
}

impl Logged {
    /// The record's id.
    #[must_use]
    pub fn id(&self) -> RecordId {
        match self {
            Self::Stored(held) => held.sealed.id(),
            Self::AtHand { record, since: _ } => record.id(),
        }
    }

    /// The record as it is held.
    #[must_use]
    pub fn sealed(&self) -> &SealedRecord {
        match self {
            Self::Stored(held) => &held.sealed,
            Self::AtHand { record, since: _ } => record.sealed(),
        }
    }
}

/// How far dispatch is with one peer in one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DispatchPosition {
    /// The present generation.
    pub generation: Generation,
    /// Everything up to this number of the log is dealt with.
    pub cursor: u64,
    /// The sequence number of the next item sent; all before it are settled.
    pub next_sequence: u64,
    /// The chain over the frames that are settled.
    pub chain: Chain,
}

/// A record that a peer gave no final answer to, and that is not tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndeliveredRow {
    /// The peer.
    pub peer: NodeId,
    /// The lane.
    pub lane: Lane,
    /// The record.
    pub record: RecordId,
    /// How often it was sent.
    pub attempts: u32,
    /// When it was given up.
    pub ended_at: Timestamp,
}

/// An item that failed verification, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadItemRow {
    /// Its number here.
    pub n: i64,
    /// Who delivered it.
    pub peer: NodeId,
    /// The id of the record that it says it is.
    pub record: RecordId,
    /// The id of the rule that it broke.
    pub rule: String,
    /// How, without secrets.
    pub detail: String,
    /// When it came.
    pub at: Timestamp,
    /// Its bytes.
    pub bytes: u64,
}

/// What is kept beside the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aside {
    /// Items that wait for a person.
    pub held: u64,
    /// Items that failed verification.
    pub quarantined: u64,
}

/// What of a peer and lane waits for another try, of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExceptionRow {
    /// The peer.
    pub peer: NodeId,
    /// The lane.
    pub lane: Lane,
    /// The state of the newest disclosure of each: what the peer said last.
    pub state: String,
    /// How many records.
    pub count: u64,
    /// When the next of them is tried.
    pub next_attempt: Timestamp,
    /// When the first of them is given up.
    pub ends_at: Timestamp,
}

/// Places of the record log: after the first and up to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The place before the first.
    pub after: u64,
    /// The last place.
    pub last: u64,
}

/// A range of older records that a peer is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackfillRow {
    /// Its number.
    pub n: i64,
    /// The peer.
    pub peer: NodeId,
    /// The lane of the log that is looked through; all of it travels in bulk.
    pub log: Lane,
    /// What came at or after this time …
    pub since: Timestamp,
    /// … and before this.
    pub until: Timestamp,
    /// Everything up to this number of the log is dealt with.
    pub next: u64,
    /// The last number.
    pub last: u64,
    /// How many records were looked at.
    pub looked_at: u64,
    /// How many of them were sent.
    pub sent: u64,
    /// When it was entered.
    pub started_at: Timestamp,
    /// When nothing was left of it, or a person ended it.
    pub ended_at: Option<Timestamp>,
    /// Whether a person ended it.
    pub cancelled: bool,
}

/// The evidence that a peer's history has forked: two frames that it signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForkRow {
    /// The peer.
    pub peer: NodeId,
    /// The lane.
    pub lane: Lane,
    /// When it was found.
    pub at: Timestamp,
    /// The frame whose claim was believed.
    pub known: SignedStatement,
    /// The frame whose claim does not follow from it.
    pub forked: SignedStatement,
}

/// Which end of a channel is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelSide {
    /// What this node delivered to the peer and the peer confirmed.
    Sent,
    /// What the peer delivered to this node and this node admitted.
    Received,
}

/// Which entries of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelPage {
    /// Of these buckets.
    pub of: Buckets,
    /// After this record; `None`: from the beginning.
    pub after: Option<RecordId>,
    /// At most so many, the first ones.
    pub most: usize,
}

/// What comparing a channel found, in records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// The peer had lost them: they are sent again.
    pub owed: u64,
    /// The ledger had forgotten that they were disclosed.
    pub learned: u64,
    /// One side had withdrawn them, and the other did not know.
    pub withdrawn: u64,
    /// This authority had lost them, and the peer gave them back.
    pub recovered: u64,
}

impl Found {
    /// Whether both sides agreed.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        let Self {
            owed,
            learned,
            withdrawn,
            recovered,
        } = *self;
        owed == 0 && learned == 0 && withdrawn == 0 && recovered == 0
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} records that the peer had lost are sent again, {} disclosures that were forgotten \
             here are in the ledger again, {} records that were lost here were given back, {} \
             were withdrawn at one side",
            self.owed, self.learned, self.recovered, self.withdrawn
        )
    }
}

/// When the channel to a peer was compared last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconciliationRow {
    /// The peer.
    pub peer: NodeId,
    /// This node's generation then.
    pub own: Generation,
    /// The peer's generation then.
    pub theirs: Generation,
    /// When.
    pub at: Timestamp,
    /// What was found.
    pub found: Found,
}

/// The state of a disclosure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DisclosureState {
    /// Decided on and about to be sent, or sent without an answer yet.
    Intended,
    /// Denied by this node's policy: nothing was sent.
    Denied,
    /// Answered.
    Answered(Outcome),
}

/// A row of the disclosure ledger: the newest decision on a record for a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisclosureRow {
    /// The record.
    pub record: RecordId,
    /// The peer.
    pub peer: NodeId,
    /// The form released; empty when denied.
    pub form: Form,
    /// How many sections were withheld.
    pub withheld: u32,
    /// Its state.
    pub state: DisclosureState,
    /// The reason the peer gave.
    pub reason: Option<String>,
    /// Which policies decided.
    pub note: DecisionNote,
    /// When it was decided.
    pub decided_at: Timestamp,
    /// When it was answered.
    pub answered_at: Option<Timestamp>,
}

/// A row of what peers delivered: the answer that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrivalRow {
    /// The peer.
    pub peer: NodeId,
    /// The answer.
    pub answer: Answer,
    /// Which policies decided.
    pub note: DecisionNote,
    /// When.
    pub at: Timestamp,
}

/// A receipt as it is kept: enough to check its signature and its answers again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptRow {
    /// Who gave it.
    pub peer: NodeId,
    /// When it was settled here.
    pub at: Timestamp,
    /// The statement as the peer signed it.
    pub statement: SignedStatement,
    /// The answers that the statement's root covers, in order.
    pub answers: Vec<Answer>,
}

/// How long an item waits for a person: a day less than its sender asks for (exceptions), so that
/// the sender is told the end as well.
pub const HELD_LIFE_MS: i64 = 6 * 24 * 3_600_000;

/// An item that arrived and waits for a person's decision.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldItem {
    /// Who delivered it.
    pub peer: NodeId,
    /// The form in which it was delivered.
    pub form: Form,
    /// The id of the rule that holds it.
    pub rule: String,
    /// When.
    pub at: Timestamp,
    /// When it waits no longer: after [`HELD_LIFE_MS`], or when the record is to be deleted.
    pub ends_at: Timestamp,
    /// The record: its reader verifies it again.
    pub sealed: SealedRecord,
}

/// Which records to list.
#[derive(Debug, Clone, Default)]
pub struct RecordFilter {
    /// Only this kind.
    pub kind: Option<Kind>,
    /// Only this origin.
    pub origin: Option<AuthorityId>,
    /// At most so many, the newest first; `None`: all.
    pub limit: Option<u32>,
}

/// A consignment of the authority: an opaque body, and what finds it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsignmentRow {
    /// The authority's own reference, for instance a declaration number.
    pub reference: String,
    /// The period or day it belongs to.
    pub at: Timestamp,
    /// Whether it waits to be scored or is history.
    pub arriving: bool,
    /// Its fields, encoded by the importer; kept encrypted.
    pub body: Vec<u8>,
    /// Its identifiers: kind and canonical text; kept as keyed hashes.
    pub selectors: Vec<(SelectorKind, String)>,
}

/// The newest score of a consignment.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreRow {
    /// The consignment's reference.
    pub reference: String,
    /// 0 to 100.
    pub points: f64,
    /// When it was computed.
    pub at: Timestamp,
    /// The explanation, as JSON; kept encrypted.
    pub explanation: Vec<u8>,
    /// The records it stands on.
    pub records: Vec<RecordId>,
}

/// A person enrolled at the authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonRow {
    /// Their id, a short name.
    pub id: String,
    /// Their full name.
    pub name: String,
    /// Their role's name.
    pub role: String,
    /// Their public key, 32 bytes.
    pub public_key: Vec<u8>,
    /// When they were enrolled.
    pub enrolled_at: Timestamp,
    /// Who enrolled them; empty for the first.
    pub enrolled_by: String,
}

/// Whether records of others are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relay {
    /// Only this authority's own records leave: a member.
    OwnOnly,
    /// Records of others leave as well, as policy allows: a hub.
    Others,
}

/// Which consignments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Those with a known outcome.
    History,
    /// Those that wait for a decision.
    Arriving,
}

//! Results of queries in the domain's terms, and the filters that select them.

use std::{fmt, sync::Arc};

use portcullis_protocol::{
    digest::Digest,
    frame::{Answer, Chain, Generation, Lane, Outcome},
    identifiers::{AuthorityId, NodeId},
    reconcile::Buckets,
    record::{Form, Kind, RecordId},
    seal::SealedRecord,
    statement::SignedStatement,
    time::Timestamp,
    verify::VerifiedRecord,
};

/// A record as it is held. Its reader verifies it again.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldRecord {
    /// The record in the form held; its `batch` field is 0.
    pub sealed: SealedRecord,
    /// Sections that are held.
    pub form: Form,
    /// Peer that delivered the record first; `None` if this authority made it.
    pub source: Option<NodeId>,
    /// Time at which the record was committed here.
    pub received_at: Timestamp,
}

/// Bytes of records after which a page of the log, or of records to be tried again, ends: as many
/// as a frame is filled with. A page holds one record more at most.
pub const PAGE_BYTES: usize = 4 << 20;

/// Returns true if a page ends after these entries, whatever comes after them.
#[must_use]
pub fn ends_page(entries: &[LogEntry]) -> bool {
    let weights = entries.iter().map(|entry| weight(entry.logged.sealed()));
    weights.fold(0, usize::saturating_add) >= PAGE_BYTES
}

/// Returns the bytes of a record's header and bodies.
#[must_use]
pub fn weight(sealed: &SealedRecord) -> usize {
    let record = sealed.wire();
    let bodies = record.sections.iter().map(|section| section.body.len());
    bodies.fold(record.header.len(), usize::saturating_add)
}

/// A place in the record log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogEntry {
    /// Its number, from 1. Numbers ascend and may have gaps.
    pub sequence: u64,
    /// The record as it is held now.
    pub logged: Logged,
}

/// A record of the log.
#[derive(Debug, Clone, PartialEq)]
pub enum Logged {
    /// A record as it was read from the disk. Its reader verifies it again.
    Stored(HeldRecord),
    /// This authority's own record, verified at publication and kept in memory since then.
    AtHand {
        /// The record.
        record: Arc<VerifiedRecord>,
        /// Time at which the record was committed here.
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

    /// The time since which the record is in the log.
    #[must_use]
    pub const fn since(&self) -> Timestamp {
        match self {
            Self::Stored(held) => held.received_at,
            Self::AtHand { record: _, since } => *since,
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

/// Position of dispatch with one peer in one lane.
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

/// A record that a peer gave no final answer to and that is no longer retried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndeliveredRow {
    /// The peer.
    pub peer: NodeId,
    /// The lane.
    pub lane: Lane,
    /// The record.
    pub record: RecordId,
    /// Number of times the record was sent.
    pub attempts: u32,
    /// Time at which the record was given up.
    pub ended_at: Timestamp,
}

/// An item that failed verification, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadItemRow {
    /// Number of the item in the quarantine.
    pub n: i64,
    /// Peer that delivered the item.
    pub peer: NodeId,
    /// Id of the record that the item claims to be.
    pub record: RecordId,
    /// Id of the rule that the item broke.
    pub rule: String,
    /// Description of the violation, without secrets.
    pub detail: String,
    /// Time of arrival.
    pub at: Timestamp,
    /// Size of the item, in bytes.
    pub bytes: u64,
}

/// Numbers of items kept outside the record log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aside {
    /// Items that wait for a person's decision.
    pub held: u64,
    /// Items that failed verification.
    pub quarantined: u64,
}

/// Records of one peer, lane and state that wait for another attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExceptionRow {
    /// The peer.
    pub peer: NodeId,
    /// The lane.
    pub lane: Lane,
    /// State of the newest disclosure of each record: the peer's latest answer.
    pub state: String,
    /// Number of records.
    pub count: u64,
    /// Time of the earliest next attempt among the records.
    pub next_attempt: Timestamp,
    /// Time at which the first of the records is given up.
    pub ends_at: Timestamp,
}

/// Places of the record log after `after`, up to and including `last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The place just before the first one.
    pub after: u64,
    /// The last place.
    pub last: u64,
}

/// A range of older records that is sent to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackfillRow {
    /// Number of the range.
    pub n: i64,
    /// The peer.
    pub peer: NodeId,
    /// The lane of the log that is searched. All of the range travels in the bulk lane.
    pub log: Lane,
    /// Start of the time range: records received at or after this time.
    pub since: Timestamp,
    /// End of the time range: records received before this time.
    pub until: Timestamp,
    /// Everything up to this number of the log is dealt with.
    pub next: u64,
    /// The last number of the log in the range.
    pub last: u64,
    /// Number of records examined.
    pub looked_at: u64,
    /// Number of the examined records that were sent.
    pub sent: u64,
    /// Time at which the range was entered.
    pub started_at: Timestamp,
    /// Time at which the range was exhausted or a person ended it.
    pub ended_at: Option<Timestamp>,
    /// True if a person ended the range.
    pub cancelled: bool,
}

/// The evidence that a peer's history has forked: two frames that the peer signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForkRow {
    /// The peer.
    pub peer: NodeId,
    /// The lane.
    pub lane: Lane,
    /// Time at which the fork was found.
    pub at: Timestamp,
    /// The frame whose claim this node believed.
    pub known: SignedStatement,
    /// The frame whose claim does not follow from that of `known`.
    pub forked: SignedStatement,
}

/// One end of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelSide {
    /// Records that this node delivered and the peer confirmed.
    Sent,
    /// Records that the peer delivered and this node admitted.
    Received,
}

/// Selection of the entries of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelPage {
    /// Only entries in these buckets.
    pub of: Buckets,
    /// Only entries after this record; `None` starts at the beginning.
    pub after: Option<RecordId>,
    /// Greatest number of entries, counted from the first.
    pub most: usize,
}

/// Differences found by comparing a channel, each in records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// Records that the peer had lost. They are sent again.
    pub owed: u64,
    /// Records whose disclosure the ledger had lost.
    pub learned: u64,
    /// Records that one side had withdrawn without the other knowing.
    pub withdrawn: u64,
    /// Records of this authority that it had lost and the peer gave back.
    pub recovered: u64,
}

impl Found {
    /// Returns true if both sides agreed.
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

/// Latest comparison of the channel to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconciliationRow {
    /// The peer.
    pub peer: NodeId,
    /// This node's generation at that time.
    pub own: Generation,
    /// The peer's generation at that time.
    pub theirs: Generation,
    /// Time of the comparison.
    pub at: Timestamp,
    /// Differences that were found.
    pub found: Found,
}

/// The state of a disclosure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DisclosureState {
    /// Decided and about to be sent, or sent and not answered yet.
    Intended,
    /// Denied by this node's policy. Nothing was sent.
    Denied,
    /// Answered by the peer.
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
    /// Number of sections withheld.
    pub withheld: u32,
    /// Its state.
    pub state: DisclosureState,
    /// The reason the peer gave.
    pub reason: Option<String>,
    /// Policies behind the decision.
    pub note: DecisionNote,
    /// Time of the decision.
    pub decided_at: Timestamp,
    /// Time of the peer's answer.
    pub answered_at: Option<Timestamp>,
}

/// A row of the peers' deliveries: the answer that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrivalRow {
    /// The peer.
    pub peer: NodeId,
    /// The answer.
    pub answer: Answer,
    /// Policies behind the answer.
    pub note: DecisionNote,
    /// Time of the answer.
    pub at: Timestamp,
}

/// A receipt as it is kept: enough to check its signature and its answers again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptRow {
    /// Peer that gave the receipt.
    pub peer: NodeId,
    /// Time at which the receipt was settled here.
    pub at: Timestamp,
    /// The statement as the peer signed it.
    pub statement: SignedStatement,
    /// The answers that the statement's root covers, in order.
    pub answers: Vec<Answer>,
}

/// Longest time for which a held item waits for a person, in milliseconds. It is a day less than
/// the time for which the sender retries (see the exceptions), so that the sender still learns of
/// the end.
pub const HELD_LIFE_MS: i64 = 6 * 24 * 3_600_000;

/// An item that arrived and waits for a person's decision.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldItem {
    /// Peer that delivered the item.
    pub peer: NodeId,
    /// The form in which it was delivered.
    pub form: Form,
    /// Id of the rule under which the item is held.
    pub rule: String,
    /// Time of arrival.
    pub at: Timestamp,
    /// Time at which the item stops waiting: [`HELD_LIFE_MS`] after arrival, or earlier if the
    /// record is to be deleted before.
    pub ends_at: Timestamp,
    /// The record. Its reader verifies it again.
    pub sealed: SealedRecord,
}

/// Selection of the records to list.
#[derive(Debug, Clone, Default)]
pub struct RecordFilter {
    /// Only records of this kind.
    pub kind: Option<Kind>,
    /// Only records of this origin.
    pub origin: Option<AuthorityId>,
    /// Greatest number of records, counted from the newest; `None` lists all.
    pub limit: Option<u32>,
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
    /// Time of the enrolment.
    pub enrolled_at: Timestamp,
    /// Id of the person who enrolled this one; empty for the first.
    pub enrolled_by: String,
}

/// Choice of the records that a node passes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relay {
    /// Only this authority's own records leave the node: a member.
    OwnOnly,
    /// Records of others leave as well, as far as policy allows: a hub.
    Others,
}

/// The policies behind a decision, as the ledger notes them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct DecisionNote {
    /// The ids of the policies that decided.
    pub policies: Vec<String>,
    /// The digest of the bundle they belong to.
    pub bundle: Option<Digest>,
}

/// A stored thing that can be damaged by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Damaged {
    /// A record.
    Record(RecordId),
    /// All records of one pack, by its number.
    Pack(i64),
    /// An item that waits for a person.
    Held {
        /// Id of the record.
        record: RecordId,
        /// Peer that delivered it.
        peer: NodeId,
    },
    /// A consignment, by its reference.
    Consignment(String),
    /// The score of a consignment, by its reference.
    Score(String),
    /// A table, by its name: its rows are not all that was written, and nothing else.
    Table(&'static str),
    /// The indexes of a table, by its name: they do not say what its rows say, or the rows do not
    /// stand where a search looks for them.
    Indexes(&'static str),
}

impl std::fmt::Display for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Record(id) => write!(f, "record `{id}`"),
            Self::Pack(n) => write!(f, "the records of pack {n}"),
            Self::Held { record, peer } => write!(f, "held item `{record}` from `{peer}`"),
            Self::Consignment(reference) => write!(f, "consignment `{reference}`"),
            Self::Score(reference) => write!(f, "the score of `{reference}`"),
            Self::Table(name) => write!(f, "table `{name}`"),
            Self::Indexes(name) => write!(f, "indexes of table `{name}`"),
        }
    }
}

/// A stored thing that is not what was written. Lists leave it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamageRow {
    /// The thing.
    pub thing: Damaged,
    /// Description of the damage.
    pub why: String,
}

/// Key of an item that waits for a person, which can be read although its content is damaged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldKey {
    /// Number of the item; a later item has a greater one.
    pub n: i64,
    /// Id of the record.
    pub record: RecordId,
    /// Peer that delivered it.
    pub peer: NodeId,
    /// Form in which it was delivered.
    pub form: Form,
    /// Time of arrival.
    pub at: Timestamp,
    /// Time at which it stops waiting.
    pub ends_at: Timestamp,
}

/// An act as it is kept in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActRow {
    /// Its number in the log.
    pub n: i64,
    /// Time of the act.
    pub at: Timestamp,
    /// Name of the act.
    pub action: String,
    /// Id of the person; empty if nobody signed.
    pub person: String,
    /// The uid of the socket that brought it.
    pub uid: Option<u32>,
    /// Records, consignments or persons that the act concerns, without their content.
    pub concerns: String,
    /// Its end in words; `None` for an act that took effect with its log.
    pub outcome: Option<String>,
    /// True if a statement is kept with it.
    pub is_signed: bool,
}

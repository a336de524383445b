//! What a node keeps, in the domain's terms.
//!
//! ```text
//! writer task ──commit([Write, …])──▶ Store ──▶ one durable transaction, then the answers
//! everyone else ──queries──────────▶ Store ──▶ a consistent read of what is durable
//! ```
//!
//! The store takes only verified records, keeps every section under a key of its own, and gives
//! no record out but as [`HeldRecord`], which its reader verifies again: a flipped bit on disk
//! is found when it is read. An answer given to a peer once and for all is kept and given again.
//!
//! Failure cases: a failed commit leaves nothing behind and is reported to every writer in the
//! group; a failed fsync ends the process (DESIGN §7), for nobody knows what is on disk then.

mod crypt;
pub mod node_key;
mod sqlite;
#[cfg(test)]
mod tests;
pub mod writer;

use std::sync::Arc;

pub use node_key::StoreKey;
pub use sqlite::SqliteStore;

use portcullis_protocol::{
    body::SelectorKind,
    digest::Digest,
    frame::{Answer, Generation, Lane, Outcome},
    identifiers::{AuthorityId, NodeId},
    record::{Form, Kind, RecordId},
    register::SignedRegister,
    rules::Rule,
    seal::SealedRecord,
    statement::SignedStatement,
    time::Timestamp,
    verify::VerifiedRecord,
};

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database refused or failed.
    #[error("the database `{file}` failed: {source}")]
    Database {
        /// Which file of the store.
        file: &'static str,
        /// What SQLite said.
        source: Arc<rusqlite::Error>,
    },
    /// A file of the store cannot be opened or made.
    #[error("`{path}` cannot be opened: {source}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        source: Arc<std::io::Error>,
    },
    /// There is a store already where one was to be made.
    #[error("`{0}` is there already; open that store, or choose another folder")]
    Exists(String),
    /// The store was written by a newer version.
    #[error("the store has format {found}, this version reads up to {known}; update portcullis")]
    Format {
        /// The store's format.
        found: u32,
        /// The newest known here.
        known: u32,
    },
    /// The node's key does not open the store.
    #[error("the node's key does not open this store; give the passphrase it was made with")]
    WrongKey,
    /// Something on disk is not what was written.
    #[error("the store is damaged: {0}; restore it from a backup")]
    Damaged(String),
    /// The cryptographic library refused what must always succeed.
    #[error("{0} failed in the cryptographic library; run `portcullis doctor`")]
    Cryptography(&'static str),
    /// A person's statement that was carried out before.
    #[error("this statement was carried out before; sign a new one")]
    Replayed,
    /// A person of this id is enrolled.
    #[error("a person `{0}` is enrolled already; choose another id")]
    Enrolled(String),
    /// An epoch of the register that does not follow the newest one kept.
    #[error("epoch {found} does not follow the newest epoch {newest} kept; apply the next one")]
    Epoch {
        /// The epoch to be kept.
        found: u64,
        /// The newest epoch kept; 0 for none.
        newest: u64,
    },
    /// The caller asked for what makes no sense.
    #[error("{0}; this is a fault of portcullis, report it")]
    Fault(&'static str),
    /// The writer has stopped or is about to.
    #[error("the store is closing; try again once the node runs")]
    Stopped,
}

impl StoreError {
    /// Whether nobody knows what is on disk now, so that the process has to end (DESIGN §7).
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Database { source, .. } => {
                source.sqlite_error_code() == Some(rusqlite::ErrorCode::SystemIoFailure)
            }
            Self::File { .. }
            | Self::Exists(_)
            | Self::Format { .. }
            | Self::WrongKey
            | Self::Damaged(_)
            | Self::Cryptography(_)
            | Self::Replayed
            | Self::Enrolled(_)
            | Self::Epoch { .. }
            | Self::Fault(_)
            | Self::Stopped => false,
        }
    }
}

/// How a decision is noted in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct DecisionNote {
    /// The ids of the policies that decided.
    pub policies: Vec<String>,
    /// The digest of the bundle they belong to.
    pub bundle: Option<Digest>,
}

/// One change; the changes of one commit become durable together.
#[derive(Debug)]
pub enum Write {
    /// The authority's own records, sealed and verified.
    Publish {
        /// The records.
        records: Vec<VerifiedRecord>,
        /// The present.
        now: Timestamp,
    },
    /// What became of a frame that arrived.
    Intake(Intake),
    /// What is about to be sent to a peer and what is denied to it.
    Intend(Intend),
    /// What a peer answered.
    Settle(Settle),
    /// An epoch of the register that was verified.
    Register(SignedRegister),
    /// A person's statement, kept as it was signed, and the change it makes.
    Act(Act),
    /// The authority's own consignments; one that is there is replaced.
    Consignments(Vec<ConsignmentRow>),
    /// Scores; one that is there for the consignment is replaced.
    Scores(Vec<ScoreRow>),
    /// Something to remember that no other table does.
    Event(Event),
}

/// What a [`Write`] gave, in the order of the writes.
#[derive(Debug, PartialEq, Eq)]
pub enum Written {
    /// It is done.
    Done,
    /// The answers to the items of a frame, in order.
    Answers(Vec<Answer>),
}

/// What a person's statement changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// What is done, for instance `publish`.
    pub action: String,
    /// The person's id; empty for the node itself.
    pub person: String,
    /// The uid of the socket that brought it.
    pub uid: Option<u32>,
    /// When.
    pub at: Timestamp,
    /// The statement as it was signed; `None` for an access that needs no signature.
    pub statement: Option<SignedStatement>,
    /// Which records, consignments or persons it concerns, without their content.
    pub concerns: String,
    /// The enrolment it makes, if it is one.
    pub enrols: Option<PersonRow>,
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

/// A frame that arrived, item by item.
#[derive(Debug)]
pub struct Intake {
    /// Who delivered it.
    pub peer: NodeId,
    /// The sender's generation.
    pub generation: Generation,
    /// The lane.
    pub lane: Lane,
    /// The sequence number of its first item.
    pub first_sequence: u64,
    /// The present.
    pub now: Timestamp,
    /// Its items.
    pub items: Vec<IntakeItem>,
}

/// One item of a frame and what was judged of it.
#[derive(Debug)]
pub struct IntakeItem {
    /// The record.
    pub id: RecordId,
    /// The form in which it was delivered.
    pub form: Form,
    /// What was judged.
    pub judgement: Judgement,
}

/// What intake judged of an item before looking at what is held.
#[derive(Debug)]
pub enum Judgement {
    /// Policy admits it in this form, which may be thinner than the delivered one.
    Admit {
        /// The record in the form that is admitted.
        record: VerifiedRecord,
        /// Which policies decided.
        note: DecisionNote,
    },
    /// It is refused for good.
    Refuse {
        /// Under which rule.
        rule: Rule,
        /// Which policies decided, if any did.
        note: DecisionNote,
    },
    /// It is refused for now.
    RefuseForNow {
        /// Under which rule.
        rule: Rule,
    },
    /// A person decides.
    Hold {
        /// The record.
        record: VerifiedRecord,
        /// Under which rule.
        rule: Rule,
        /// Which policies decided.
        note: DecisionNote,
    },
}

/// What dispatch is about to do for one peer and lane.
#[derive(Debug)]
pub struct Intend {
    /// The peer.
    pub peer: NodeId,
    /// The lane.
    pub lane: Lane,
    /// The present.
    pub now: Timestamp,
    /// One entry for each record decided on.
    pub entries: Vec<LedgerEntry>,
    /// Where the cursor moves: everything up to it is receipted, denied or an exception.
    pub cursor: Option<u64>,
}

/// A decision of dispatch on one record for one peer.
#[derive(Debug)]
pub struct LedgerEntry {
    /// The record.
    pub record: RecordId,
    /// The form released; empty when it is denied.
    pub form: Form,
    /// How many sections of the held form are withheld.
    pub withheld: u32,
    /// Which policies decided.
    pub note: DecisionNote,
}

/// What a peer answered to a frame.
#[derive(Debug)]
pub struct Settle {
    /// The peer.
    pub peer: NodeId,
    /// The lane.
    pub lane: Lane,
    /// The present.
    pub now: Timestamp,
    /// The answers.
    pub answers: Vec<Answer>,
    /// The signed receipt, kept as evidence.
    pub receipt: SignedStatement,
    /// Where the cursor moves, if it moves.
    pub cursor: Option<u64>,
    /// The sequence number of the next item in this lane.
    pub next_sequence: u64,
    /// When items that were refused for now or held are tried again.
    pub retry_at: Timestamp,
}

/// Something to remember.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What kind of thing, for instance `frame-refused`.
    pub kind: String,
    /// The peer it concerns, if any.
    pub peer: Option<NodeId>,
    /// In words, without bodies or selectors.
    pub detail: String,
}

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
    pub held: HeldRecord,
}

/// How far dispatch is with one peer in one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DispatchPosition {
    /// Everything up to this number of the log is dealt with.
    pub cursor: u64,
    /// The sequence number of the next item sent.
    pub next_sequence: u64,
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

/// A node's store.
pub trait Store: Send + Sync {
    /// Takes jobs from `next` until it gives none, and makes all of them durable in one
    /// transaction; then gives the results of each, in order. A job that fails leaves nothing
    /// behind and does not touch the others; a failed commit fails them all.
    fn commit_group(
        &self,
        next: &mut dyn FnMut() -> Option<Vec<Write>>,
    ) -> Vec<Result<Vec<Written>, StoreError>>;

    /// Makes all of the writes durable in one transaction, and gives their results in order.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; nothing was written then.
    fn commit(&self, writes: Vec<Write>) -> Result<Vec<Written>, StoreError> {
        let mut job = Some(writes);
        self.commit_group(&mut || job.take())
            .pop()
            .unwrap_or(Err(StoreError::Stopped))
    }

    /// The generation in which this store's sequence numbers count.
    fn generation(&self) -> Generation;

    /// Entries of the log in this lane after `cursor`, ascending, at most `limit`. Only records
    /// that this node may pass on are listed: its own, and if `relay`, those of others.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn outbox(
        &self,
        lane: Lane,
        relay: Relay,
        cursor: u64,
        limit: u32,
    ) -> Result<Vec<LogEntry>, StoreError>;

    /// How far dispatch is with this peer in this lane.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn position(&self, peer: &NodeId, lane: Lane) -> Result<DispatchPosition, StoreError>;

    /// Records whose delivery to this peer is due for another attempt, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn due(
        &self,
        peer: &NodeId,
        lane: Lane,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<HeldRecord>, StoreError>;

    /// When the next exception of this peer and lane falls due.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn next_due(&self, peer: &NodeId, lane: Lane) -> Result<Option<Timestamp>, StoreError>;

    /// The newest disclosure of this record to this peer.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn disclosure(
        &self,
        record: &RecordId,
        peer: &NodeId,
    ) -> Result<Option<DisclosureRow>, StoreError>;

    /// The newest disclosure to each peer: of one record, or of all.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn disclosures(&self, record: Option<&RecordId>) -> Result<Vec<DisclosureRow>, StoreError>;

    /// Every decision on this record for this peer, a row for each form, the oldest first: what
    /// was disclosed once stays in it, whatever is decided later.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn disclosure_history(
        &self,
        record: &RecordId,
        peer: &NodeId,
    ) -> Result<Vec<DisclosureRow>, StoreError>;

    /// The peer's signed receipt behind its newest answer on this record.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn receipt(&self, record: &RecordId, peer: &NodeId) -> Result<Option<ReceiptRow>, StoreError>;

    /// Items that wait for a person's decision, the oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn held_items(&self) -> Result<Vec<HeldItem>, StoreError>;

    /// What peers delivered and was answered: of one record, or of all.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn arrivals(&self, record: Option<&RecordId>) -> Result<Vec<ArrivalRow>, StoreError>;

    /// One record in the form held.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn record(&self, id: &RecordId) -> Result<Option<HeldRecord>, StoreError>;

    /// The ids that begin with these hexadecimal characters, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn ids_with_prefix(&self, prefix: &str, limit: u32) -> Result<Vec<RecordId>, StoreError>;

    /// Records, the newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn records(&self, filter: &RecordFilter) -> Result<Vec<HeldRecord>, StoreError>;

    /// Records with this very selector: found by its keyed hash, or, if the kind has too few
    /// values for one, by reading every subject.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn records_about(&self, kind: SelectorKind, value: &str)
    -> Result<Vec<HeldRecord>, StoreError>;

    /// The newest number of the log, to wait for something newer.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn log_end(&self) -> Result<u64, StoreError>;

    /// Every epoch of the register that was applied, ascending.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn registers(&self) -> Result<Vec<SignedRegister>, StoreError>;

    /// The persons enrolled.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn persons(&self) -> Result<Vec<PersonRow>, StoreError>;

    /// Whether a statement with this digest was carried out before: a replay is refused.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn act_seen(&self, statement: &SignedStatement) -> Result<bool, StoreError>;

    /// Consignments: those that arrive, or the history; ascending by reference.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn consignments(&self, stage: Stage) -> Result<Vec<ConsignmentRow>, StoreError>;

    /// One consignment.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn consignment(&self, reference: &str) -> Result<Option<ConsignmentRow>, StoreError>;

    /// Arriving consignments with this very identifier; found as [`Store::records_about`] does.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn consignments_with(
        &self,
        kind: SelectorKind,
        value: &str,
    ) -> Result<Vec<ConsignmentRow>, StoreError>;

    /// The newest score of a consignment.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn score(&self, reference: &str) -> Result<Option<ScoreRow>, StoreError>;

    /// Scores, the highest first, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn scores(&self, limit: u32) -> Result<Vec<ScoreRow>, StoreError>;

    /// Events, the newest first, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn events(&self, limit: u32) -> Result<Vec<Event>, StoreError>;
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

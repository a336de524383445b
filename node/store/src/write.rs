//! What is written: changes in the domain's terms, and what they give.

use portcullis_protocol::{
    digest::Digest,
    frame::{Answer, Generation, Lane, Place},
    identifiers::NodeId,
    reconcile::Entry,
    record::{Form, RecordId},
    register::SignedRegister,
    rules::Rule,
    seal::SealedRecord,
    statement::SignedStatement,
    time::Timestamp,
    verify::VerifiedRecord,
};

use super::{ConsignmentRow, Fact, PersonRow, ReconciliationRow, ScoreRow};

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
    /// A fact about trust.
    Fact(Fact),
    /// A person's statement, kept as it was signed, and the change it makes.
    Act(Act),
    /// The authority's own consignments; one that is there is replaced.
    Consignments(Vec<ConsignmentRow>),
    /// Scores; one that is there for the consignment is replaced.
    Scores(Vec<ScoreRow>),
    /// Something to remember that no other table does.
    Event(Event),
    /// Another generation of this node.
    StartGeneration(NewGeneration),
    /// Peers that are new: they begin where the log ends.
    Meet(Vec<NodeId>),
    /// Older records that a peer is owed.
    Backfill(Backfill),
    /// A person ends the ranges of older records of a peer.
    CancelBackfills(CancelBackfills),
    /// A record that is tried again at once.
    Retry(Retry),
    /// Items that failed verification, set apart.
    Quarantine(Vec<BadItem>),
    /// Items of the quarantine, by number, to be destroyed.
    DropBad(Vec<i64>),
    /// What became of items that were held.
    Decide(HeldDecision),
    /// A peer has decided on what it held: that is asked for again at once.
    AskAgain {
        /// The peer.
        peer: NodeId,
        /// The present.
        now: Timestamp,
    },
    /// What comparing the channel to a peer found.
    Repair(Repair),
    /// Records go back to the authority that made them, which lost them and asked.
    GiveBack(GiveBack),
    /// The channel to a peer was compared.
    Reconciled(ReconciliationRow),
    /// Records are withdrawn: tombstones stay, the keys of their sections are destroyed.
    Withdraw {
        /// The records, held or not.
        records: Vec<RecordId>,
        /// Why, in a word: `recalled`, `expired`, `erased`.
        outcome: String,
        /// When.
        at: Timestamp,
    },
    /// Records of this authority that it had lost and a peer gave back.
    Recover {
        /// The records.
        records: Vec<VerifiedRecord>,
        /// The present.
        now: Timestamp,
    },
}

impl Write {
    /// How many records of the urgent lane it logs at most.
    #[must_use]
    pub fn urgent_logged(&self) -> usize {
        match self {
            Self::Publish { records, .. } | Self::Recover { records, .. } => {
                records.iter().filter(|record| is_urgent(record)).count()
            }
            Self::Intake(intake) => urgent_admitted(&intake.items),
            Self::Decide(decision) => urgent_admitted(&decision.items),
            Self::Intend(_)
            | Self::Settle(_)
            | Self::Register(_)
            | Self::Fact(_)
            | Self::Act(_)
            | Self::Consignments(_)
            | Self::Scores(_)
            | Self::Event(_)
            | Self::StartGeneration(_)
            | Self::Meet(_)
            | Self::Backfill(_)
            | Self::CancelBackfills(_)
            | Self::GiveBack(_)
            | Self::Retry(_)
            | Self::Quarantine(_)
            | Self::DropBad(_)
            | Self::AskAgain { .. }
            | Self::Repair(_)
            | Self::Reconciled(_)
            | Self::Withdraw { .. } => 0,
        }
    }
}

fn urgent_admitted(items: &[IntakeItem]) -> usize {
    let admitted = items.iter().filter(|item| match &item.judgement {
        Judgement::Admit { record, .. } => is_urgent(record),
        Judgement::Refuse { .. } | Judgement::RefuseForNow { .. } | Judgement::Hold { .. } => false,
    });
    admitted.count()
}

/// Whether a record travels in the urgent lane.
pub fn is_urgent(record: &VerifiedRecord) -> bool {
    Lane::of(record.header().kind) == Lane::Urgent
}

/// What a [`Write`] gave, in the order of the writes.
#[derive(Debug, PartialEq, Eq)]
pub enum Written {
    /// It is done.
    Done,
    /// The answers to the items of a frame, in order.
    Answers(Vec<Answer>),
    /// The whole frame is refused under this rule; nothing in it was taken in.
    Refused(Rule),
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

/// An item that failed verification.
#[derive(Debug, Clone, PartialEq)]
pub struct BadItem {
    /// Who delivered it.
    pub peer: NodeId,
    /// It as it came.
    pub sealed: SealedRecord,
    /// The rule that it broke.
    pub rule: Rule,
    /// How, without secrets.
    pub detail: String,
    /// When it came.
    pub at: Timestamp,
}

/// Older records that a peer is owed: what came at or after `since` and before `until`, as far as
/// policy permits it when its turn comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backfill {
    /// The peer.
    pub peer: NodeId,
    /// From when on.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// The present.
    pub now: Timestamp,
}

/// Ranges of older records that a person ends, all of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelBackfills {
    /// The peer.
    pub peer: NodeId,
    /// The present.
    pub now: Timestamp,
}

/// How far a range of older records is dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackfillMove {
    /// Which range.
    pub n: i64,
    /// Everything up to this number of the log is dealt with.
    pub next: u64,
    /// How many records were looked at.
    pub looked_at: u64,
    /// How many of them are sent.
    pub sent: u64,
    /// Whether nothing is left of it.
    pub ended: bool,
}

/// A record that is tried again at once, and for another seven days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// The peer.
    pub peer: NodeId,
    /// The record.
    pub record: RecordId,
    /// The present.
    pub now: Timestamp,
    /// When the record is to be deleted: it is not tried after.
    pub delete_at: Option<Timestamp>,
}

/// Final answers to items of one peer that were held. An item that is not held any more stays
/// answered as it is.
#[derive(Debug)]
pub struct HeldDecision {
    /// Who delivered them.
    pub peer: NodeId,
    /// The present.
    pub now: Timestamp,
    /// The items, admitted or refused.
    pub items: Vec<IntakeItem>,
}

/// A frame that arrived, item by item.
#[derive(Debug)]
pub struct Intake {
    /// Who delivered it.
    pub peer: NodeId,
    /// The lane.
    pub lane: Lane,
    /// Where it stands, as its sender says.
    pub place: Place,
    /// What its sender signed, kept if it turns out to be evidence.
    pub statement: SignedStatement,
    /// Whether this is the frame or a later part of it.
    pub part: Part,
    /// The present.
    pub now: Timestamp,
    /// Its items.
    pub items: Vec<IntakeItem>,
}

/// Which part of a frame is taken in: a long one becomes durable piece by piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The first or only one: it is where the frame's place is judged.
    First,
    /// A later one of a frame whose first part was taken in.
    Later,
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
    /// The generation in which it plans.
    pub generation: Generation,
    /// The sequence number of the first item of the frame that follows; `None`: none follows.
    pub first_sequence: Option<u64>,
    /// One entry for each record decided on, those that the frame brings in its order.
    pub entries: Vec<LedgerEntry>,
    /// Where the cursor moves: everything up to it is receipted, denied or an exception.
    pub cursor: Option<u64>,
    /// Where a range of older records moves, if nothing of it is sent.
    pub filled: Option<BackfillMove>,
}

/// A decision of dispatch on one record for one peer.
#[derive(Debug)]
pub struct LedgerEntry {
    /// Its number in the log; `None` if it comes from the exceptions.
    pub sequence: Option<u64>,
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
    /// The generation in which the frame was sent.
    pub generation: Generation,
    /// The frame's digest.
    pub frame: Digest,
    /// The sequence number of the frame's first item.
    pub first_sequence: u64,
    /// The answers, in the order of the frame's items.
    pub answers: Vec<Answer>,
    /// The signed receipt, kept as evidence.
    pub receipt: SignedStatement,
    /// Where the cursor moves, if it moves.
    pub cursor: Option<u64>,
    /// The sequence number after the frame's last item.
    pub next_sequence: u64,
    /// When items that were refused for now or held are tried again at first; the wait doubles
    /// with every attempt.
    pub retry_at: Timestamp,
    /// Records of the frame that are to be deleted, and when: they are not tried again after.
    pub expires: Vec<(RecordId, Timestamp)>,
    /// Where a range of older records moves that the frame brought some of.
    pub filled: Option<BackfillMove>,
}

/// Another generation of this node: sequence numbers and chains begin anew, cursors stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGeneration {
    /// The generation that ends. If another is in force already, nothing is done.
    pub instead_of: Generation,
    /// The generation that begins, drawn at random.
    pub generation: Generation,
    /// When.
    pub at: Timestamp,
    /// Why, in words.
    pub why: String,
}

/// What comparing the channel to a peer found, to be put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// The peer.
    pub peer: NodeId,
    /// When.
    pub at: Timestamp,
    /// Records that the peer had confirmed and lost: they are sent again, as policy decides.
    pub owed: Vec<RecordId>,
    /// What the peer has and the ledger does not tell of.
    pub learned: Vec<Entry>,
    /// Records that the peer says it has withdrawn: they are not sent to it.
    pub withdrawn: Vec<RecordId>,
}

/// Records that are given back to the authority that made them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GiveBack {
    /// The authority's node.
    pub peer: NodeId,
    /// When.
    pub at: Timestamp,
    /// The records, in the form that is held.
    pub given: Vec<Entry>,
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

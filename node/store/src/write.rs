//! Changes to the store in the domain's terms, and their results.

use std::{fmt, sync::Arc};

use portcullis_protocol::{
    digest::Digest,
    frame::{Answer, FramePosition, Generation, Lane},
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

use super::{ConsignmentRow, DecisionNote, Fact, PersonRow, ReconciliationRow, ScoreRow};

/// One change. The changes of one commit become durable together.
#[derive(Debug)]
pub enum Write {
    /// The authority's own records, sealed and verified.
    Publish {
        /// The records.
        records: Vec<VerifiedRecord>,
        /// Time of the commit.
        now: Timestamp,
    },
    /// The items of a frame that arrived, as intake judged them.
    Intake(Intake),
    /// The plan of a frame to a peer: the records about to be sent and those denied.
    Intend(Intend),
    /// A peer's answers to a frame.
    Settle(Settle),
    /// An epoch of the register that was verified.
    Register(SignedRegister),
    /// A fact about trust.
    Fact(Fact),
    /// A person's statement, kept as it was signed, and the change it makes.
    Act(Act),
    /// Notes how an act ended.
    ActOutcome(ActOutcome),
    /// The authority's own consignments. One with the same reference is replaced.
    Consignments(Vec<ConsignmentRow>),
    /// Scores. An earlier one of the same consignment is replaced; one of a consignment that is not kept is
    /// left out.
    Scores(Vec<ScoreRow>),
    /// References of consignments that end, with their scores. Their keys are destroyed.
    RemoveConsignments(Vec<String>),
    /// An event to remember, for what no other table holds.
    Event(NodeEvent),
    /// The start of another generation of this node.
    StartGeneration(NewGeneration),
    /// New peers: they begin where the log ends.
    Meet(Vec<NodeId>),
    /// A range of older records to send to a peer.
    Backfill(Backfill),
    /// The end of a peer's ranges of older records, ordered by a person.
    CancelBackfills(CancelBackfills),
    /// A record to retry at once.
    Retry(Retry),
    /// Items that failed verification, to be set apart.
    Quarantine(Vec<BadItem>),
    /// Numbers of items in the quarantine that are to be destroyed.
    DropBad(Vec<i64>),
    /// Final answers to items that were held.
    Decide(HeldDecision),
    /// A peer has decided on items it held: the node asks for their answers again at once.
    AnswersReady {
        /// The peer.
        peer: NodeId,
        /// Time of the request.
        now: Timestamp,
    },
    /// Differences found by comparing the channel to a peer.
    Repair(Repair),
    /// Records given back to the authority that made them, which lost them and asked.
    GiveBack(GiveBack),
    /// The result of comparing the channel to a peer.
    Reconciled(ReconciliationRow),
    /// Records to withdraw: tombstones stay, the keys of their sections are destroyed.
    Withdraw {
        /// The records, held or not.
        records: Vec<RecordId>,
        /// Reason in one word: `recalled`, `expired` or `erased`.
        outcome: String,
        /// Time of the withdrawal.
        at: Timestamp,
    },
    /// Records of this authority that it had lost and a peer gave back.
    Recover {
        /// The records.
        records: Vec<VerifiedRecord>,
        /// Time of the commit.
        now: Timestamp,
    },
}

impl Write {
    /// Returns the greatest number of urgent-lane records that this write can log.
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
            | Self::ActOutcome(_)
            | Self::Consignments(_)
            | Self::Scores(_)
            | Self::RemoveConsignments(_)
            | Self::Event(_)
            | Self::StartGeneration(_)
            | Self::Meet(_)
            | Self::Backfill(_)
            | Self::CancelBackfills(_)
            | Self::GiveBack(_)
            | Self::Retry(_)
            | Self::Quarantine(_)
            | Self::DropBad(_)
            | Self::AnswersReady { .. }
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

/// Returns true if the record travels in the urgent lane.
pub fn is_urgent(record: &VerifiedRecord) -> bool {
    Lane::of(record.header().kind) == Lane::Urgent
}

/// Result of a [`Write`]. Results come in the order of the writes.
#[derive(Debug, PartialEq, Eq)]
pub enum Written {
    /// The write is done.
    Done,
    /// The answers to the items of a frame, in order.
    Answers(Vec<Answer>),
    /// The number of items that were destroyed.
    Destroyed(usize),
    /// The whole frame is refused under this rule, and nothing in it was taken in.
    Refused(Rule),
    /// The whole frame is refused as out of sequence (EX-10), and nothing in it was taken in. The
    /// statement is the sender's, with its last claim that was believed.
    OutOfSequence(Box<SignedStatement>),
}

/// An act of a person or of the node, with the statement that orders it.
#[derive(Debug, Clone)]
pub struct Act {
    /// Name of the act, for instance `publish`.
    pub action: String,
    /// The person's id; empty for the node itself.
    pub person: String,
    /// The uid of the socket that brought it.
    pub uid: Option<u32>,
    /// Time of the act.
    pub at: Timestamp,
    /// The statement as it was signed; `None` for an access that needs no signature.
    pub statement: Option<SignedStatement>,
    /// Records, consignments or persons that the act concerns, without their content.
    pub concerns: String,
    /// The person that the act enrols, if it is an enrolment.
    pub enrols: Option<PersonRow>,
    /// Place of the effects of the act.
    pub effects: Effects,
}

impl Act {
    /// Name of the end of an act that was carried out.
    pub const DONE: &'static str = "done";
    /// Name of the end of an act that is logged before it is carried out.
    pub const BEGUN: &'static str = "begun";

    /// Returns true if an act with this end may be carried out again: it was begun and cut short, or
    /// it failed. An act without an end took effect with its log.
    #[must_use]
    pub fn is_open(outcome: Option<&str>) -> bool {
        outcome.is_some_and(|outcome| outcome != Self::DONE)
    }
}

/// Place of the effects of an act.
#[derive(Debug, Clone)]
pub enum Effects {
    /// It has none, for it only reads.
    Nothing,
    /// They are the other writes of its job, so that act and effects are one commit. The answer is
    /// kept with them.
    InJob(ActAnswer),
    /// They follow. The act is logged as begun, and an [`ActOutcome`] tells how it ended. Until then,
    /// the same act may be begun again.
    Following,
}

/// Makes the answer of an act from the results of its job, so that whoever sends the act again is
/// answered in the same way.
#[derive(Clone)]
pub struct ActAnswer(Arc<MakeAnswer>);

type MakeAnswer = dyn Fn(&[Written]) -> Vec<u8> + Send + Sync;

impl ActAnswer {
    /// Makes the answer with this function of the results of all writes of the job, in order.
    #[must_use]
    pub fn new(make: impl Fn(&[Written]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }

    /// Returns the answer.
    #[must_use]
    pub fn of(&self, written: &[Written]) -> Vec<u8> {
        (self.0)(written)
    }
}

impl fmt::Debug for ActAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ActAnswer")
    }
}

/// End of an act that was logged before it was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActOutcome {
    /// The statement that orders the act.
    pub statement: SignedStatement,
    /// Its end in words, without content.
    pub outcome: String,
    /// The answer to whoever sends an act again that was done; `None` if none is kept.
    pub answer: Option<Vec<u8>>,
}

/// An item that failed verification.
#[derive(Debug, Clone, PartialEq)]
pub struct BadItem {
    /// Peer that delivered the item.
    pub peer: NodeId,
    /// The item exactly as it arrived.
    pub sealed: SealedRecord,
    /// The rule that it broke.
    pub rule: Rule,
    /// Description of the violation, without secrets.
    pub detail: String,
    /// Time of arrival.
    pub at: Timestamp,
}

/// A range of older records to send to a peer: those received at or after `since` and before
/// `until`. Policy decides on each when its turn comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backfill {
    /// The peer.
    pub peer: NodeId,
    /// Start of the time range, inclusive.
    pub since: Timestamp,
    /// End of the time range, exclusive.
    pub until: Timestamp,
    /// Time of the entry.
    pub now: Timestamp,
}

/// The end of all of a peer's ranges of older records, ordered by a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelBackfills {
    /// The peer.
    pub peer: NodeId,
    /// Time of the order.
    pub now: Timestamp,
}

/// Progress in a range of older records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackfillMove {
    /// Number of the range.
    pub n: i64,
    /// Everything up to this number of the log is dealt with.
    pub next: u64,
    /// Number of records examined.
    pub looked_at: u64,
    /// Number of the examined records that are sent.
    pub sent: u64,
    /// True if nothing of the range is left.
    pub ended: bool,
}

/// A record to retry at once, and for seven days from now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// The peer.
    pub peer: NodeId,
    /// The record.
    pub record: RecordId,
    /// Time of the order.
    pub now: Timestamp,
    /// Time at which the record is to be deleted. It is not retried after that.
    pub delete_at: Option<Timestamp>,
}

/// Final answers to items of one peer that were held. An item that is no longer held keeps the
/// answer it has.
#[derive(Debug)]
pub struct HeldDecision {
    /// Peer that delivered the items.
    pub peer: NodeId,
    /// Time of the decision.
    pub now: Timestamp,
    /// The items, admitted or refused.
    pub items: Vec<IntakeItem>,
}

/// A frame that arrived, item by item.
#[derive(Debug)]
pub struct Intake {
    /// Peer that delivered the frame.
    pub peer: NodeId,
    /// The lane.
    pub lane: Lane,
    /// FramePosition of the frame in the peer's sequence, as its sender states it.
    pub place: FramePosition,
    /// Statement that the sender signed over the frame; kept as evidence in case of a fork.
    pub statement: SignedStatement,
    /// Part of the frame that this is.
    pub part: Part,
    /// Time of arrival.
    pub now: Timestamp,
    /// The items of this part.
    pub items: Vec<IntakeItem>,
}

impl Intake {
    /// Cuts the frame into parts of at most `most` items, in order; there is at least one part.
    #[must_use]
    pub fn parts(self, most: usize) -> Vec<Self> {
        let Self {
            peer,
            lane,
            place,
            statement,
            mut part,
            now,
            items,
        } = self;
        let mut items = items.into_iter();
        let mut parts = Vec::new();
        loop {
            let some: Vec<_> = items.by_ref().take(most.max(1)).collect();
            if some.is_empty() && !parts.is_empty() {
                return parts;
            }
            parts.push(Self {
                peer: peer.clone(),
                lane,
                place,
                statement: statement.clone(),
                part: std::mem::replace(&mut part, Part::Later),
                now,
                items: some,
            });
        }
    }
}

/// Part of a frame that is taken in at once. A long frame becomes durable piece by piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The first or only part. The frame's place is judged on it.
    First,
    /// A later part of a frame whose first part was taken in.
    Later,
}

/// One item of a frame with intake's judgement of it.
#[derive(Debug)]
pub struct IntakeItem {
    /// The record.
    pub id: RecordId,
    /// The form in which it was delivered.
    pub form: Form,
    /// The judgement.
    pub judgement: Judgement,
}

/// Intake's judgement of an item, made before it is compared with the records held.
#[derive(Debug)]
pub enum Judgement {
    /// Policy admits it in this form, which may be thinner than the delivered one.
    Admit {
        /// The record in the form that is admitted.
        record: VerifiedRecord,
        /// Policies behind the decision.
        note: DecisionNote,
    },
    /// The item is refused for good.
    Refuse {
        /// The rule under which it is refused.
        rule: Rule,
        /// Policies behind the decision, if any decided.
        note: DecisionNote,
    },
    /// The item is refused for now.
    RefuseForNow {
        /// The rule under which it is refused.
        rule: Rule,
    },
    /// The item waits for a person's decision.
    Hold {
        /// The record.
        record: VerifiedRecord,
        /// The rule under which it is held.
        rule: Rule,
        /// Policies behind the decision.
        note: DecisionNote,
    },
}

/// Plan of dispatch for one peer and lane.
#[derive(Debug)]
pub struct Intend {
    /// The peer.
    pub peer: NodeId,
    /// The lane.
    pub lane: Lane,
    /// Time of the plan.
    pub now: Timestamp,
    /// The generation in which the frame is planned.
    pub generation: Generation,
    /// Sequence number of the first item of the frame that follows; `None` if no frame follows.
    pub first_sequence: Option<u64>,
    /// One entry for each record decided on. Those that the frame brings stand in its order.
    pub entries: Vec<LedgerEntry>,
    /// New position of the cursor. Everything up to it is receipted, denied or an exception.
    pub cursor: Option<u64>,
    /// Progress in a range of older records, if nothing of it is sent.
    pub filled: Option<BackfillMove>,
    /// Records that wait until the peer has the version of the protocol that they need.
    pub awaits: Vec<Awaiting>,
}

/// A record that needs a version of the protocol that its peer does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaiting {
    /// The record.
    pub record: RecordId,
    /// Version that it needs.
    pub version: u32,
    /// Time at which it is to be deleted. It does not wait beyond that.
    pub delete_at: Option<Timestamp>,
}

/// A decision of dispatch on one record for one peer.
#[derive(Debug)]
pub struct LedgerEntry {
    /// Its number in the log; `None` if the record comes from the exceptions.
    pub sequence: Option<u64>,
    /// The record.
    pub record: RecordId,
    /// The form released; empty when it is denied.
    pub form: Form,
    /// Number of sections of the held form that are withheld.
    pub withheld: u32,
    /// Policies behind the decision.
    pub note: DecisionNote,
}

/// A peer's answers to a frame.
#[derive(Debug)]
pub struct Settle {
    /// The peer.
    pub peer: NodeId,
    /// The lane.
    pub lane: Lane,
    /// Time at which the receipt arrived.
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
    /// New position of the cursor; `None` leaves it.
    pub cursor: Option<u64>,
    /// The sequence number after the frame's last item.
    pub next_sequence: u64,
    /// Time of the first retry of items that were refused for now or held. The wait doubles with
    /// every attempt.
    pub retry_at: Timestamp,
    /// Records of the frame that are to be deleted, each with the time. They are not retried after
    /// it.
    pub expires: Vec<(RecordId, Timestamp)>,
    /// Progress in a range of older records of which the frame brought some.
    pub filled: Option<BackfillMove>,
}

/// Another generation of this node. Sequence numbers and chains begin anew; cursors stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGeneration {
    /// The generation that ends. If another one is in force already, nothing is done.
    pub instead_of: Generation,
    /// The generation that begins, drawn at random.
    pub generation: Generation,
    /// A generation that a peer showed as this node's own, and that this node does not remember. It
    /// proves nothing a second time.
    pub shown: Option<Generation>,
    /// Time of the start.
    pub at: Timestamp,
    /// Reason in words.
    pub why: String,
}

/// Differences found by comparing the channel to a peer, to be repaired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// The peer.
    pub peer: NodeId,
    /// Time of the comparison.
    pub at: Timestamp,
    /// Records that the peer had confirmed and has lost. They are sent again, as far as policy
    /// decides so.
    pub owed: Vec<RecordId>,
    /// Records that the peer has and whose disclosure the ledger does not hold.
    pub learned: Vec<Entry>,
    /// Records that the peer says it has withdrawn. They are not sent to it.
    pub withdrawn: Vec<RecordId>,
}

impl Repair {
    /// Cuts it into repairs of at most `most` records each, in order; at least one. Each of them holds
    /// by itself: what is repaired is not found again when the channel is compared once more.
    #[must_use]
    pub fn parts(self, most: usize) -> Vec<Self> {
        let Self {
            peer,
            at,
            owed,
            learned,
            withdrawn,
        } = self;
        let empty = Self {
            peer,
            at,
            owed: Vec::new(),
            learned: Vec::new(),
            withdrawn: Vec::new(),
        };
        let most = most.max(1);
        let owed = owed.chunks(most).map(|owed| Self {
            owed: owed.to_vec(),
            ..empty.clone()
        });
        let learned = learned.chunks(most).map(|learned| Self {
            learned: learned.to_vec(),
            ..empty.clone()
        });
        let withdrawn = withdrawn.chunks(most).map(|withdrawn| Self {
            withdrawn: withdrawn.to_vec(),
            ..empty.clone()
        });
        let parts: Vec<Self> = owed.chain(learned).chain(withdrawn).collect();
        if parts.is_empty() { vec![empty] } else { parts }
    }
}

/// Records that are given back to the authority that made them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GiveBack {
    /// The authority's node.
    pub peer: NodeId,
    /// Time at which they are given back.
    pub at: Timestamp,
    /// The records, in the form that is held.
    pub given: Vec<Entry>,
}

/// An event to remember.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEvent {
    /// Time of the event.
    pub at: Timestamp,
    /// Kind of event, for instance `frame-refused`.
    pub kind: String,
    /// The peer it concerns, if any.
    pub peer: Option<NodeId>,
    /// Description in words, without bodies or selectors.
    pub detail: String,
}

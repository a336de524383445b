//! The invariants, checked after every step from outside: against the disks, the frames sent and
//! the statements signed.

mod answering;
mod disk;
mod forking;
mod lying;
mod sending;
mod starting;

use std::collections::{BTreeMap, BTreeSet};

use portcullis_protocol::{
    frame::{Answer, Chain, Lane},
    record::{Form, RecordId},
    time::Timestamp,
};

use super::{
    cast::{Cast, MEMBERS, MemberNumber, START, who},
    expect::Made,
    store::State,
    world::World,
};

/// An invariant of the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// Nothing is sent without a permit under the register and policy in force, and without a
    /// durable intended disclosure.
    PermittedAndIntended,
    /// There is one acceptance per record, form and peer, and a final answer never changes.
    OneFinalAnswer,
    /// After the faults have ended, everything permitted has arrived, and nothing else.
    AllArrives,
    /// A record for which a sender holds an acceptance is durable at the receiver.
    NothingAcknowledgedIsLost,
    /// A withdrawn record does not come back.
    WithdrawnStaysAway,
    /// No record goes back to where it came from.
    NothingGoesBack,
    /// A cursor passes only records that are answered, denied or exceptions.
    NothingIsPassedOver,
    /// Urgent records do not wait for bulk.
    UrgentIsFirst,
    /// Queues are bounded, and no retry goes on for ever.
    Bounded,
    /// An honest node is never taken for a forked one.
    HonestIsNoFork,
    /// A record held is, byte for byte, the one that its originator sealed.
    OnlyGenuineIsHeld,
    /// Answers in the ledger were given by that peer. A node answers only frames that were made for
    /// it by the peer that delivers them.
    AnswersAreGiven,
    /// Of two histories within a generation each peer answers one. The other is refused and kept as
    /// evidence, and the sender delivers nothing more of it. The memory of what was answered is given
    /// up only by a node whose disk is an older one, whatever a peer says.
    ForkIsSeen,
}

/// A violation of an invariant.
#[derive(Debug, Clone)]
pub struct Violation {
    /// The invariant that was violated.
    pub invariant: Invariant,
    /// Description of the violation.
    pub detail: String,
    /// Time since the start of the run, in milliseconds.
    pub at_ms: i64,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?} at {} ms: {}",
            self.invariant, self.at_ms, self.detail
        )
    }
}

/// Memory of the invariants.
#[derive(Debug, Default)]
pub struct Watch {
    /// The first violation.
    pub violation: Option<Violation>,
    /// Withdrawn records, with the process that withdrew them.
    pub withdrawn: BTreeSet<(MemberNumber, RecordId)>,
    /// Final answer of a receiver to a sender, by record and form.
    finals: BTreeMap<(MemberNumber, MemberNumber, RecordId, Form), Answer>,
    /// Time at which a record came onto its originator's disk.
    pub(super) published: BTreeMap<RecordId, Timestamp>,
    /// Members whose backup was restored.
    pub restored: BTreeSet<MemberNumber>,
    /// Members that break the rules themselves, because they lie or their node exists twice.
    /// Nothing is guaranteed of what others have of them, or of what they have of others.
    pub faulty: BTreeSet<MemberNumber>,
    /// Members whose node exists twice.
    doubled: BTreeSet<MemberNumber>,
    /// Outcomes that a receiver answered to a sender, by record and form.
    given: BTreeSet<(MemberNumber, MemberNumber, RecordId, Form, &'static str)>,
    /// Settled sequence numbers and chains, as each process knows them.
    histories: BTreeMap<forking::Line, BTreeMap<u64, Chain>>,
    /// Claim of a sender that a receiver answered last.
    claims: BTreeMap<(MemberNumber, MemberNumber, Lane), forking::Claim>,
    /// Processes that must not deliver to a peer because it told them of a fork: the life of the
    /// process and the time it was told.
    stopped: BTreeMap<(MemberNumber, MemberNumber, Lane), (u32, Timestamp)>,
    /// Members restored as the product does it: in a new generation, so that they know.
    pub(super) told_restored: BTreeSet<MemberNumber>,
    /// Records that their originator lost in a restore; the form that it gets back may be thinner.
    pub(super) lost: BTreeSet<RecordId>,
    /// Records that a member withdrew at some time, even if it has forgotten since.
    pub(super) withdrew_once: BTreeSet<(MemberNumber, RecordId)>,
    /// Member that delivered a record first, whatever the node remembers.
    sources: BTreeMap<(MemberNumber, RecordId), MemberNumber>,
    /// Time at which an alert arrived at a process.
    pub(super) urgent: BTreeMap<(MemberNumber, RecordId), Timestamp>,
    /// Time of the first answer that was not final.
    waits: BTreeMap<(MemberNumber, MemberNumber, RecordId), Timestamp>,
}

/// Most jobs that may wait at a writer: those of drivers, streams and publications.
const MOST_WAITING: usize = 80;
/// Tolerance at the end of an exception's life, in milliseconds: a retry may come this long after
/// the last attempt within its life.
const RETRY_SLACK_MS: i64 = 26 * 3_600_000;

impl Watch {
    /// Forgets what a member loses with the restore of a backup: the records that are not in it,
    /// and what the member knew.
    pub(super) fn forget(&mut self, cast: &Cast, member: MemberNumber, backup: &State) {
        self.restored.insert(member);
        let forgotten = self.withdrawn.iter().filter(|(by, _)| *by == member);
        self.withdrew_once.extend(forgotten.copied());
        self.withdrawn.retain(|(by, _)| *by != member);
        self.sources.retain(|(at, _), _| *at != member);
        self.finals.retain(|(receiver, ..), _| *receiver != member);
        self.claims.retain(|(receiver, ..), _| *receiver != member);
        let lost = &mut self.lost;
        self.published.retain(|record, _| {
            let own = cast.made(record).is_some_and(|made| made.origin == member);
            let kept = !own || backup.records.contains_key(record);
            if !kept {
                lost.insert(*record);
            }
            kept
        });
    }
}

impl World {
    pub(super) fn violated(&mut self, invariant: Invariant, detail: String) {
        self.say(|| format!("VIOLATED {invariant:?}: {detail}"));
        let at_ms = self.now.millis_since(START);
        self.watch.violation.get_or_insert(Violation {
            invariant,
            detail,
            at_ms,
        });
    }

    pub(super) fn made(&self, record: &RecordId) -> Made {
        self.cast.made(record).unwrap()
    }

    pub(super) fn check_queue(&mut self, member: MemberNumber, waiting: usize) {
        if waiting > MOST_WAITING {
            let detail = format!("{waiting} jobs wait at {member}");
            self.violated(Invariant::Bounded, detail);
        }
    }

    /// Checks that an urgent job waits only for the commit that is under way.
    pub(super) fn check_urgent_waits(&mut self, member: MemberNumber, passed_over: u32) {
        if passed_over > 0 {
            let detail = format!("{member} commits bulk while something urgent waits");
            self.violated(Invariant::UrgentIsFirst, detail);
        }
    }
}

fn lane_of(kept: &super::store::Kept) -> Lane {
    super::store::lane_of(kept.record.header().kind)
}

pub(super) fn is_hub(member: MemberNumber) -> bool {
    MEMBERS[who(member)].1 == portcullis_protocol::register::AuthorityKind::Hub
}

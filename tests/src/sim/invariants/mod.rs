//! What has to hold, looked at after every step, from outside: from what is on disk, what is sent
//! and what is signed.

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

/// Something that has to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// Nothing leaves without a permit under what is in force, and a durable intended disclosure.
    PermittedAndIntended,
    /// One acceptance per record, form and peer; a final answer never changes.
    OneFinalAnswer,
    /// Once all is well, everything that is permitted has arrived, and nothing else.
    AllArrives,
    /// What a sender holds an acceptance for is durable at the receiver.
    NothingAcknowledgedIsLost,
    /// What was withdrawn does not come back.
    WithdrawnStaysAway,
    /// Nothing goes back to where it came from.
    NothingGoesBack,
    /// A cursor passes only what is answered, denied or an exception.
    NothingIsPassedOver,
    /// What is urgent does not wait for bulk.
    UrgentIsFirst,
    /// Queues are bounded, and no retry goes on for ever.
    Bounded,
    /// An honest node is never taken for one that forked.
    HonestIsNoFork,
    /// What is held is, byte for byte, what its originator sealed.
    OnlyGenuineIsHeld,
    /// What counts as answered, that peer answered; and only frames made for oneself by who brings
    /// them are.
    AnswersAreGiven,
    /// Of two histories within a generation each peer answers one; the other is refused, kept as
    /// evidence, and delivered no further.
    ForkIsSeen,
}

/// What was violated, when and how.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Which invariant.
    pub invariant: Invariant,
    /// How.
    pub detail: String,
    /// When, since the start.
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

/// What the invariants remember.
#[derive(Debug, Default)]
pub struct Watch {
    /// The first violation.
    pub violation: Option<Violation>,
    /// Records withdrawn, by whom.
    pub withdrawn: BTreeSet<(MemberNumber, RecordId)>,
    /// The final answer of a receiver to a sender on a record in a form.
    finals: BTreeMap<(MemberNumber, MemberNumber, RecordId, Form), Answer>,
    /// When a record was on its originator's disk.
    pub(super) published: BTreeMap<RecordId, Timestamp>,
    /// Members whose backup came back.
    pub restored: BTreeSet<MemberNumber>,
    /// Members that break the rules themselves, by two copies of their node: what others
    /// have of them, and they of others, is not warranted.
    pub faulty: BTreeSet<MemberNumber>,
    /// Members of whose node there are two.
    doubled: BTreeSet<MemberNumber>,
    /// What a receiver answered a sender on a record in a form.
    given: BTreeSet<(MemberNumber, MemberNumber, RecordId, Form, &'static str)>,
    /// What was settled where, in each process's own eyes.
    histories: BTreeMap<forking::Line, BTreeMap<u64, Chain>>,
    /// What a receiver last answered of a sender's claims.
    claims: BTreeMap<(MemberNumber, MemberNumber, Lane), forking::Claim>,
    /// Since when a process, in one of its lives, does not deliver to a peer that told of a fork.
    stopped: BTreeMap<(MemberNumber, MemberNumber, Lane), (u32, Timestamp)>,
    /// Members restored as the product does it: they know.
    pub(super) told_restored: BTreeSet<MemberNumber>,
    /// Records whose originator lost them in a restore: what it gets back may be thinner.
    pub(super) lost: BTreeSet<RecordId>,
    /// Records that somebody withdrew at some time, though it may have forgotten.
    pub(super) withdrew_once: BTreeSet<(MemberNumber, RecordId)>,
    /// Who delivered a record first, whatever the node remembers.
    sources: BTreeMap<(MemberNumber, RecordId), MemberNumber>,
    /// When an alert was everywhere.
    pub(super) urgent: BTreeMap<(MemberNumber, RecordId), Timestamp>,
    /// When the first answer that was not final came.
    waits: BTreeMap<(MemberNumber, MemberNumber, RecordId), Timestamp>,
}

/// The most jobs that may wait at a writer here: drivers, streams and what is published.
const MOST_WAITING: usize = 80;
/// A retry may come so long after the last attempt within its life.
const RETRY_SLACK_MS: i64 = 26 * 3_600_000;

impl Watch {
    /// A backup of a member comes back: what is not in it is lost, and so is what it knew.
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

    /// An urgent job waits for the commit that is under way, and for no other.
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

//! Counters of the events of a run: a test that never saw a fault has shown nothing about it.

use std::collections::BTreeMap;

use super::lying::LIES;

macro_rules! seen {
    ($( $(#[$meta:meta])* $variant:ident = $name:literal, )+) => {
        /// A kind of event that is counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Seen { $( $(#[$meta])* $variant, )+ }

        impl Seen {
            /// Every kind that is counted.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )+ ];

            /// Returns its description.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $name, )+ }
            }
        }
    };
}

seen! {
    /// A process ended while nothing was under way.
    CrashIdle = "crash at rest",
    /// Between a plan and the request to commit it.
    CrashPlanned = "crash with a plan in hand",
    /// With a job in the writer's queue.
    CrashQueued = "crash with a job queued",
    /// With a transaction on its way to disk.
    CrashUnsynced = "crash before the disk has a commit",
    /// With a transaction on disk that nobody was told of.
    CrashDurable = "crash after the disk has a commit",
    /// Before a frame is sent.
    CrashBeforeSend = "crash before a frame is sent",
    /// After a frame was sent.
    CrashSent = "crash with a frame in flight",
    /// With a receipt in hand.
    CrashReceipt = "crash with a receipt in hand",
    /// With a frame judged and not stored.
    CrashJudged = "crash with a frame judged",
    /// Before a receipt is sent.
    CrashBeforeReceipt = "crash before a receipt is sent",
    /// After a receipt was sent.
    CrashAfterReceipt = "crash after a receipt is sent",
    /// A commit that was not synced was lost.
    UnsyncedLost = "unsynced commit lost",
    /// A commit that was not synced was on disk nevertheless.
    UnsyncedKept = "unsynced commit kept",
    /// A commit failed.
    CommitFailed = "commit failed",
    /// Both ways between two members were cut.
    Partition = "partition",
    /// One way was cut.
    HalfOpen = "half-open connection",
    /// A connection broke and lost a message.
    Loss = "message lost with its connection",
    /// A frame arrived a second time.
    Duplicate = "frame repeated",
    /// A repeated frame was refused because of its position.
    ReplayRefused = "repeated frame refused for its place",
    /// A node started a new generation.
    NewGeneration = "new generation started",
    /// A sender was told that it was rolled back.
    RolledBack = "sender told that it was rolled back",
    /// A node was restored from a backup.
    Restored = "node restored from a backup",
    /// A channel was compared.
    Compared = "channel compared",
    /// A peer had lost a record, and the record was sent again.
    Owed = "lost record owed again",
    /// A ledger had forgotten a disclosure and learned of it.
    Learned = "forgotten disclosure learned",
    /// A node got back a record that it had made and lost.
    Recovered = "own record given back",
    /// A member lied.
    Liar = "member that lies",
    /// A node's disk was copied while it ran, and both copies went on.
    Copied = "node copied while it runs",
    /// A fork within a generation was refused and kept as evidence.
    ForkRefused = "fork within a generation refused",
    /// A sender was told of a fork and stopped.
    ForkHeeded = "delivery stopped after a fork",
    /// A copy that was behind the other was told that it was rolled back.
    CopyBehind = "copy told that it is behind",
    /// A receipt did not arrive in time.
    TimedOut = "receipt timed out",
    /// Another epoch came into force.
    RegisterChange = "register change",
    /// A tighter policy came into force.
    Tightening = "policy tightened",
    /// A looser policy came into force.
    Loosening = "policy loosened",
    /// A frame was not sent because the register or the policy had changed.
    Superseded = "frame superseded by a reload",
    /// A record was withdrawn.
    Withdrawn = "record withdrawn",
    /// A withdrawn record arrived again and was refused.
    WithdrawnAgain = "withdrawn record refused",
    /// A hub passed a record on.
    Relay = "record relayed by a hub",
    /// A record got further sections.
    Extended = "record extended",
    /// An item was already held.
    Repeated = "item answered as duplicate",
    /// An item was refused for good.
    Refused = "item refused for good",
    /// An item was refused for now.
    RefusedForNow = "item refused for now",
    /// An item refused for now got its final answer.
    FinalLater = "final answer after a refusal for now",
    /// An item was held for a person.
    Held = "item held for a person",
    /// Retries came to their end.
    RetriesEnded = "retries ended",
    /// A record expired before it was delivered.
    Expired = "record expired",
    /// An alert travelled while bulk was under way.
    UrgentBesideBulk = "alert beside bulk",
}

/// Counters of every kind in [`Seen`], and of the lies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    seen: BTreeMap<Seen, u64>,
    /// Number of lies, by the id of the behaviour.
    lies: BTreeMap<&'static str, u64>,
}

impl Coverage {
    /// Counts one event.
    pub fn count(&mut self, seen: Seen) {
        *self.seen.entry(seen).or_default() += 1;
    }

    /// Counts a lie by its id.
    pub fn count_lie(&mut self, hp: &'static str) {
        *self.lies.entry(hp).or_default() += 1;
    }

    /// Returns how often this kind of event happened.
    #[must_use]
    pub fn of(&self, seen: Seen) -> u64 {
        self.seen.get(&seen).copied().unwrap_or(0)
    }

    /// Adds the counters of another run.
    pub fn add(&mut self, other: &Self) {
        for (seen, count) in &other.seen {
            *self.seen.entry(*seen).or_default() += count;
        }
        for (hp, count) in &other.lies {
            *self.lies.entry(hp).or_default() += count;
        }
    }

    /// Returns the kinds of events and the lies that never happened.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let all = Seen::ALL.iter();
        let lies = LIES.iter().filter(|lie| !self.lies.contains_key(lie.hp));
        all.filter(|seen| self.of(**seen) == 0)
            .map(|seen| seen.name())
            .chain(lies.map(|lie| lie.hp))
            .collect()
    }
}

impl std::fmt::Display for Coverage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Seen::ALL
            .iter()
            .try_for_each(|seen| writeln!(f, "{:>9}  {}", self.of(*seen), seen.name()))?;
        LIES.iter().try_for_each(|lie| {
            let count = self.lies.get(lie.hp).copied().unwrap_or(0);
            writeln!(f, "{count:>9}  {}: {}", lie.hp, lie.name)
        })
    }
}

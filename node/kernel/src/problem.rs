//! A problem and its remedy, as an operator is told of them.

/// A problem that keeps the node from its work or from a part of it, and its remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Kind of the problem, for monitoring.
    pub kind: ProblemKind,
    /// Description of the problem.
    pub what: String,
    /// Action that solves it.
    pub remedy: &'static str,
}

/// Kind of a problem or hindrance. Its name says nothing of cargo, persons or peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProblemKind {
    /// The register does not list this node and its keys as they are.
    Register,
    /// This node's certificate has ended.
    Certificate,
    /// The clock was set, and nobody has confirmed it.
    Clock,
    /// A setting that decides was changed, and nobody has accepted that.
    Settings,
    /// The store was not checked whole for too long.
    CheckOverdue,
    /// The facts about trust are not those that were written.
    Facts,
    /// Persons in the store are not believed.
    Persons,
    /// The recovery of an administrator waits for its time.
    Recovery,
    /// The store is not bound to the node's keys.
    Unbound,
    /// Release is stopped to everyone, or bulk is because the register is stale.
    Released,
    /// A stored closure is damaged and closes at its widest.
    Closure,
    /// A peer takes nothing from this node.
    Refused,
    /// Nothing can be written.
    Writer,
    /// Too little is free on the disk of the store.
    Disk,
    /// The store does not answer.
    Store,
    /// Something that is kept is damaged.
    Damaged,
    /// Something that is kept is left out of scores.
    LeftOut,
    /// A peer is blocked, suspended or stopped.
    PeerClosed,
    /// A peer is not reached.
    PeerUnreachable,
    /// Clocks of this node and peers differ.
    ClockApart,
    /// Too much waits for a person, or for too long.
    Held,
}

impl ProblemKind {
    /// Every kind.
    pub const ALL: [Self; 21] = [
        Self::Register,
        Self::Certificate,
        Self::Clock,
        Self::Settings,
        Self::CheckOverdue,
        Self::Facts,
        Self::Persons,
        Self::Recovery,
        Self::Unbound,
        Self::Released,
        Self::Closure,
        Self::Refused,
        Self::Writer,
        Self::Disk,
        Self::Store,
        Self::Damaged,
        Self::LeftOut,
        Self::PeerClosed,
        Self::PeerUnreachable,
        Self::ClockApart,
        Self::Held,
    ];

    /// Returns the name, as metrics and JSON have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Certificate => "certificate",
            Self::Clock => "clock",
            Self::Settings => "settings",
            Self::CheckOverdue => "check-overdue",
            Self::Facts => "trust-facts",
            Self::Persons => "persons",
            Self::Recovery => "recovery",
            Self::Unbound => "store-unbound",
            Self::Released => "release-stopped",
            Self::Closure => "closure-damaged",
            Self::Refused => "refused-by-peer",
            Self::Writer => "writer",
            Self::Disk => "disk",
            Self::Store => "store",
            Self::Damaged => "damaged",
            Self::LeftOut => "left-out-of-scores",
            Self::PeerClosed => "peer-closed",
            Self::PeerUnreachable => "peer-unreachable",
            Self::ClockApart => "clock-apart",
            Self::Held => "held",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_is_listed_once_under_a_name_of_its_own() {
        let kinds: BTreeSet<_> = ProblemKind::ALL.into_iter().collect();
        let names: BTreeSet<_> = kinds.iter().map(|kind| kind.name()).collect();
        assert_eq!((kinds.len(), names.len()), (21, 21));
        // The last variant's number says that none is missing.
        assert_eq!(ProblemKind::Held as usize + 1, ProblemKind::ALL.len());
    }
}

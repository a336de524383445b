//! Actions that are asked about, and facts about a record that are not in its header.

use portcullis_protocol::{marking::Marking, time::Timestamp};

/// Action on a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Send an own record to a member.
    Release,
    /// Send another's record to a member.
    Relay,
    /// Admit a record here.
    Admit,
    /// Show the record to a person of this authority.
    Consult,
    /// Let the record count in a score.
    Score,
    /// Write the record to a file or system outside of the federation.
    Export,
}

impl Action {
    /// Every action.
    pub const ALL: &'static [Self] = &[
        Self::Release,
        Self::Relay,
        Self::Admit,
        Self::Consult,
        Self::Score,
        Self::Export,
    ];

    /// Returns its name in the schema.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Relay => "relay",
            Self::Admit => "admit",
            Self::Consult => "consult",
            Self::Score => "score",
            Self::Export => "export",
        }
    }

    /// Returns whether it sends the record to another member.
    #[must_use]
    pub const fn sends(self) -> bool {
        match self {
            Self::Release | Self::Relay => true,
            Self::Admit | Self::Consult | Self::Score | Self::Export => false,
        }
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// Facts that depend on the time or on other records, computed before a policy is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// True if the date of deletion has passed.
    pub expired: bool,
    /// True if the date of review has passed.
    pub review_due: bool,
    /// True if the originator's grant of this record to the principal is in force.
    pub grant_active: bool,
    /// True if a person of this authority has read and approved a record that was held.
    pub approved: bool,
}

impl Facts {
    /// Returns the facts of a marking at `now`, without grant and approval.
    #[must_use]
    pub fn at(marking: &Marking, now: Timestamp) -> Self {
        let passed = |date: Option<Timestamp>| date.is_some_and(|date| date <= now);
        Self {
            expired: passed(marking.delete_at),
            review_due: passed(marking.review_at),
            grant_active: false,
            approved: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_protocol::marking::{Purpose, Tlp};

    use super::*;

    #[test]
    fn a_date_has_passed_from_its_own_moment_on() {
        let mut marking = Marking::new(Tlp::Green, [Purpose::CustomsControl]);
        marking.review_at = Some(Timestamp::from_millis(10));
        marking.delete_at = Some(Timestamp::from_millis(20));
        let at = |millis| {
            let facts = Facts::at(&marking, Timestamp::from_millis(millis));
            (facts.review_due, facts.expired)
        };
        assert_eq!(at(9), (false, false));
        assert_eq!(at(10), (true, false));
        assert_eq!(at(20), (true, true));
    }
}

//! Exit codes of the command line: one meaning each, so that a script can tell what happened. `docs/exit-codes.md`
//! is the page about them.

use std::process::ExitCode;

/// Outcome of a command, as scripts see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The command did what was asked.
    Ok,
    /// The work failed for another reason than those below: a disk is full, a file may not be written.
    Failed,
    /// A policy, a role or a signature does not allow it, or this user may not use the node's socket.
    Denied,
    /// The input is not valid: a value, an identifier, a file that is missing or holds something else.
    Invalid,
    /// What was named is not there: a record, a consignment, a person, a node by its name.
    NotFound,
    /// No node answers, or it broke off before it answered.
    Unanswered,
    /// The node cannot do its work: `status` or `doctor` found a problem, or the node failed at a request.
    Unable,
    /// The command line itself is not valid (`EX_USAGE` of sysexits.h).
    Usage,
}

impl Exit {
    /// Every outcome, by its number.
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::Failed,
        Self::Denied,
        Self::Invalid,
        Self::NotFound,
        Self::Unanswered,
        Self::Unable,
        Self::Usage,
    ];

    /// Returns the number that the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Denied => 2,
            Self::Invalid => 3,
            Self::NotFound => 4,
            Self::Unanswered => 5,
            Self::Unable => 6,
            Self::Usage => 64,
        }
    }

    /// Returns its meaning in a few words.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done",
            Self::Failed => "failed",
            Self::Denied => "denied",
            Self::Invalid => "wrong input",
            Self::NotFound => "not found",
            Self::Unanswered => "no node answers",
            Self::Unable => "the node cannot do its work",
            Self::Usage => "wrong usage",
        }
    }

    /// Returns the advice for an error that has none of its own.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Ok | Self::Failed => {
                "mend what is named, then try again; `portcullis doctor` looks at the whole node"
            }
            Self::Denied => {
                "have it done by somebody who may; `portcullis person list` shows the roles"
            }
            Self::Invalid => "correct it; the command's `--help` says what is expected",
            Self::NotFound => "check what you named; the `list` commands show what there is",
            Self::Unanswered => {
                "start the node with `portcullis run`, or name another one with `--home DIR` or `-n NAME`"
            }
            Self::Unable => "run `portcullis doctor`, and look at the node's log",
            Self::Usage => "see the command's `--help`",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Newcomer B19: three things that monitoring must tell apart had one number.
    #[test]
    fn the_codes_are_those_that_are_documented() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/exit-codes.md");
        let page = std::fs::read_to_string(page).unwrap();
        let documented: Vec<(u8, &str)> = page
            .lines()
            .filter_map(|line| {
                let mut cells = line.trim_matches('|').split('|').map(str::trim);
                Some((cells.next()?.parse().ok()?, cells.next()?))
            })
            .collect();
        let all = Exit::ALL.map(|exit| (exit.code(), exit.meaning()));
        assert_eq!(documented, all);
        for exit in Exit::ALL {
            let told = format!("{} {}", exit.code(), exit.meaning());
            assert!(crate::AFTER_HELP.contains(&told), "{told}");
        }
    }

    #[test]
    fn no_two_outcomes_have_one_number() {
        let numbers: std::collections::BTreeSet<u8> = Exit::ALL.map(Exit::code).into();
        assert_eq!(numbers.len(), Exit::ALL.len());
    }
}

//! Exit codes of the command line.

use std::process::ExitCode;

/// Outcome of a command, as scripts see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The command did what was asked.
    Ok,
    /// The work failed: the node does not answer, a disk is full, a peer does not answer.
    Failed,
    /// A policy, a role or a signature does not allow it.
    Denied,
    /// The input is not valid: an identifier, a file, a policy.
    Invalid,
    /// The command line itself is not valid (`EX_USAGE` of sysexits.h).
    Usage,
}

impl Exit {
    /// Returns the number that the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Denied => 2,
            Self::Invalid => 3,
            Self::Usage => 64,
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

    #[test]
    fn the_codes_are_those_that_are_documented() {
        let all = [
            Exit::Ok,
            Exit::Failed,
            Exit::Denied,
            Exit::Invalid,
            Exit::Usage,
        ];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 64]);
    }
}

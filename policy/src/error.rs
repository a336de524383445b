//! Why a bundle cannot be used: always the operator's to mend, with where and what to do.

use std::fmt;

/// One thing that is wrong with a policy, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The line in it, from 1.
    pub line: usize,
    /// The policy, if it is known which.
    pub policy: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            policy,
            message,
        } = self;
        match policy {
            Some(policy) => write!(f, "`{file}` line {line}, policy `{policy}`: {message}"),
            None => write!(f, "`{file}` line {line}: {message}"),
        }
    }
}

/// Why policies cannot be put in force. Nothing of the bundle is in force then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A file's name is not fit to be part of a policy's id.
    #[error(
        "`{0}` cannot be the name of a policy file; \
         use 1 to 100 letters, digits, dots, hyphens and underscores"
    )]
    FileName(String),
    /// Texts that are not Cedar.
    #[error("{}", list(.0))]
    Parse(Vec<Finding>),
    /// Policies that are Cedar, but not such as a bundle may hold.
    #[error("{}", list(.0))]
    Unfit(Vec<Finding>),
    /// Policies that do not fit the schema.
    #[error("{}", list(.0))]
    Invalid(Vec<Finding>),
    /// The schema that ships with this version cannot be used.
    #[error("the schema of this version cannot be used: {0}; report it, this is no fault of yours")]
    Schema(String),
}

impl PolicyError {
    /// What is wrong, one by one; empty for errors that are about no policy.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::Parse(findings) | Self::Unfit(findings) | Self::Invalid(findings) => findings,
            Self::FileName(_) | Self::Schema(_) => &[],
        }
    }
}

fn list(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

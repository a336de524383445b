//! Errors that keep a bundle from being used. The operator has to correct them; each names the
//! place and the remedy.

use std::fmt;

/// One fault of a policy, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The line in the file, counted from 1.
    pub line: usize,
    /// The policy, if it is known.
    pub policy: Option<String>,
    /// The fault and the remedy.
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

/// Error in putting policies in force; nothing of the bundle is in force then.
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
    /// Policies that are valid Cedar, but that a bundle may not hold.
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
    /// Returns the single faults; empty for errors that concern no policy.
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

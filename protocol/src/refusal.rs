//! A refusal: the rule that refuses something, and why.

use crate::rules::Rule;

/// A refusal: the rule and the details.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {detail}")]
pub struct Refusal {
    /// The rule that refuses it.
    pub rule: Rule,
    /// The details, without secrets.
    pub detail: String,
}

impl Refusal {
    /// A refusal under `rule`.
    pub fn new(rule: Rule, detail: impl Into<String>) -> Self {
        Self {
            rule,
            detail: detail.into(),
        }
    }
}

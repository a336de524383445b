//! A problem and its remedy, as an operator is told of them.

/// A problem that keeps the node from its work or from a part of it, and its remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Description of the problem.
    pub what: String,
    /// Action that solves it.
    pub remedy: &'static str,
}

//! Error of a command.
//!
//! Every command's error has the same parts: what happened, its causes, what to do, and the exit
//! code. A command turns the errors that it meets into this type with [`CliError::from_error`] and
//! an [`Exit`]; nothing else prints errors to standard error.

use std::error::Error;

use serde::Serialize;

use super::exit::Exit;

/// Name and version of an error's JSON form.
pub(super) const SCHEMA: &str = "portcullis/error/v1";

/// Error of a command that did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CliError {
    /// The event, in one sentence.
    pub message: String,
    /// Causes, the nearest first.
    pub causes: Vec<String>,
    /// Advice to the user.
    pub remedy: Option<String>,
    /// Rule or policy that refused, if one did; `portcullis explain` describes it.
    pub rule: Option<String>,
    /// Exit code.
    pub exit: Exit,
}

impl CliError {
    /// Makes an error with this exit code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            causes: Vec::new(),
            remedy: None,
            rule: None,
            exit,
        }
    }

    /// Makes an error of work that failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// Makes an error of an act that is not allowed.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(Exit::Denied, message)
    }

    /// Makes an error of something that was named and is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, message)
    }

    /// Makes an error of a node that does not answer.
    pub fn unanswered(message: impl Into<String>) -> Self {
        Self::new(Exit::Unanswered, message)
    }

    /// Makes an error of a node that cannot do its work.
    pub fn unable(message: impl Into<String>) -> Self {
        Self::new(Exit::Unable, message)
    }

    /// Makes an error of invalid input.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Exit::Invalid, message)
    }

    /// Makes an error of a wrong command line.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Makes an error with the message and the causes of `error`.
    pub fn from_error(exit: Exit, error: &dyn Error) -> Self {
        Self {
            causes: causes(error),
            ..Self::new(exit, error.to_string())
        }
    }

    /// Adds a cause, and the causes of that cause. A cause that only repeats another is left out.
    #[must_use]
    pub fn because(mut self, cause: &dyn Error) -> Self {
        self.causes.push(cause.to_string());
        self.causes.extend(causes(cause));
        self
    }

    /// Adds advice to the user.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Adds the rule that refused.
    #[must_use]
    pub fn rule(mut self, rule: impl Into<String>) -> Self {
        self.rule = Some(rule.into());
        self
    }

    /// Returns the lines for a person.
    #[must_use]
    pub fn human(&self) -> String {
        let mut text = format!("error: {}\n", self.message);
        for cause in &self.causes {
            text.push_str(&format!("  because: {cause}\n"));
        }
        if let Some(rule) = &self.rule {
            text.push_str(&format!(
                "  rule: {rule} (see `portcullis explain {rule}`)\n"
            ));
        }
        text.push_str(&format!("  do: {}\n", self.advice()));
        text
    }

    /// Returns what to do: the advice of this error, or else that of its exit code. No error is without.
    fn advice(&self) -> &str {
        self.remedy.as_deref().unwrap_or(self.exit.advice())
    }

    /// Returns the same for a program.
    #[must_use]
    pub fn view(&self) -> ErrorView<'_> {
        ErrorView {
            schema: SCHEMA,
            message: &self.message,
            causes: &self.causes,
            rule: self.rule.as_deref(),
            r#do: self.advice(),
            exit: self.exit.code(),
        }
    }
}

/// An error as JSON, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct ErrorView<'a> {
    schema: &'static str,
    message: &'a str,
    causes: &'a [String],
    rule: Option<&'a str>,
    r#do: &'a str,
    exit: u8,
}

fn causes(error: &dyn Error) -> Vec<String> {
    let mut told = error.to_string();
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !told.contains(&text) {
            causes.push(text.clone());
            told = text;
        }
        next = cause.source();
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("inner")]
    struct Inner;

    #[test]
    fn causes_are_told_one_by_one_and_what_to_do_last() {
        let error = CliError::from_error(Exit::Failed, &Outer(Inner))
            .remedy("try again")
            .rule("EX-07");
        assert_eq!(
            error.human(),
            "error: outer\n  because: inner\n  rule: EX-07 (see `portcullis explain EX-07`)\n  \
             do: try again\n"
        );
    }

    #[test]
    fn a_program_gets_the_exit_code_too() {
        let error = CliError::invalid("wrong");
        let json = serde_json::to_value(error.view()).unwrap();
        assert_eq!(json["exit"], 3);
        assert_eq!(json["do"], Exit::Invalid.advice(), "no error is without");
        assert_eq!(json["schema"], "portcullis/error/v1");
    }
}

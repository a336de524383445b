//! What a command says when it did not do what was asked.
//!
//! One shape for every command: what happened, what it came from, what to do, and the exit code.
//! A command turns the errors it meets into this with [`CliError::from_error`] and a kind of
//! [`Exit`]; nothing else prints to standard error.

use std::error::Error;

use serde::Serialize;

use super::exit::Exit;

/// Why a command did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CliError {
    /// What happened, in one sentence.
    pub message: String,
    /// What it came from, the nearest cause first.
    pub causes: Vec<String>,
    /// What to do about it.
    pub remedy: Option<String>,
    /// The rule or policy that refused, if one did: `portcullis explain` knows it.
    pub rule: Option<String>,
    /// The exit code.
    pub exit: Exit,
}

impl CliError {
    /// An error with this exit code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            causes: Vec::new(),
            remedy: None,
            rule: None,
            exit,
        }
    }

    /// The work failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// It is not allowed.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(Exit::Denied, message)
    }

    /// What was given is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Exit::Invalid, message)
    }

    /// The command line is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// An error with the message and the causes of `error`.
    pub fn from_error(exit: Exit, error: &dyn Error) -> Self {
        Self {
            causes: causes(error),
            ..Self::new(exit, error.to_string())
        }
    }

    /// Adds what it came from, with the causes of that. A cause that only repeats is left out.
    #[must_use]
    pub fn because(mut self, cause: &dyn Error) -> Self {
        self.causes.push(cause.to_string());
        self.causes.extend(causes(cause));
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Names the rule that refused.
    #[must_use]
    pub fn rule(mut self, rule: impl Into<String>) -> Self {
        self.rule = Some(rule.into());
        self
    }

    /// The lines for a person.
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
        if let Some(remedy) = &self.remedy {
            text.push_str(&format!("  do: {remedy}\n"));
        }
        text
    }

    /// The same for a program.
    #[must_use]
    pub fn view(&self) -> ErrorView<'_> {
        ErrorView {
            schema: "portcullis/error/v1",
            message: &self.message,
            causes: &self.causes,
            rule: self.rule.as_deref(),
            r#do: self.remedy.as_deref(),
            exit: self.exit.code(),
        }
    }
}

/// An error as JSON, version 1.
#[derive(Debug, Serialize)]
pub struct ErrorView<'a> {
    schema: &'static str,
    message: &'a str,
    causes: &'a [String],
    rule: Option<&'a str>,
    r#do: Option<&'a str>,
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
        assert_eq!(json["schema"], "portcullis/error/v1");
    }
}

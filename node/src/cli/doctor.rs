//! `portcullis doctor`: what is wrong with a node, and what to do.

use std::io;

use serde::Serialize;

use super::{
    Session,
    error::CliError,
    output::{Page, View},
};
use crate::{
    clock::system_clock,
    doctor::{Finding, Severity, diagnose, inspect},
    home::Home,
};

/// Find out what is wrong with a node, and what to do
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Find out what is wrong with a node, and what to do: configuration, permissions, keys, register, \
certificate, revocation lists, policies, clock and socket. Changes nothing, and works whether or \
not the node runs.

Exit code 1 if there is an error. Warnings do not change the exit code.",
    after_long_help = "\
Example:
  portcullis doctor --home /var/lib/portcullis"
)]
pub(super) struct Doctor {}

impl Doctor {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let home = Home::new(session.home()?);
        let findings = diagnose(&inspect(&home, system_clock()()));
        let errors = findings
            .iter()
            .filter(|found| found.severity == Severity::Error)
            .count();
        session.output.show(&FindingsView {
            home: home.folder().display().to_string(),
            errors,
            findings: findings.into_iter().map(FindingView::from).collect(),
        })?;
        match errors {
            0 => Ok(()),
            1 => Err(CliError::failed("there is 1 error")),
            _ => Err(CliError::failed(format!("there are {errors} errors"))),
        }
    }
}

/// What was found, version 1.
#[derive(Debug, Serialize)]
struct FindingsView {
    home: String,
    errors: usize,
    findings: Vec<FindingView>,
}

/// One finding.
#[derive(Debug, Serialize)]
struct FindingView {
    severity: &'static str,
    about: &'static str,
    what: String,
    r#do: Option<String>,
}

impl From<Finding> for FindingView {
    fn from(finding: Finding) -> Self {
        let Finding {
            severity,
            about,
            what,
            advice,
        } = finding;
        Self {
            severity: severity.name(),
            about,
            what,
            r#do: Some(advice).filter(|advice| !advice.is_empty()),
        }
    }
}

impl View for FindingsView {
    const SCHEMA: &'static str = "portcullis/doctor/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.heading(&format!("node in {}", self.home))?;
        for found in &self.findings {
            page.line(format!(
                "  {:7}  {}: {}",
                found.severity, found.about, found.what
            ))?;
            if let Some(advice) = &found.r#do {
                page.line(format!("           do: {advice}"))?;
            }
        }
        Ok(())
    }
}

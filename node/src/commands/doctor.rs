//! `portcullis doctor`: reports what is wrong with a node, and what to do about it.

use std::{io, time::Duration};

use portcullis_protocol::{freshness::Stage, time::Timestamp};
use serde::Serialize;

use crate::{
    alone::Alone,
    doctor::{Finding, NodeFacts, Severity, SocketFact, diagnose, inspect},
    kept,
};
use portcullis_admin_api::v1::status::{CheckView, EndView, StatusView};
use portcullis_cli::{
    Session,
    error::CliError,
    live::block_on,
    output::{Page, View},
};
use portcullis_home::{
    Home,
    clock::system_clock,
    config::{Config, duration::parse_duration},
    keyring::Keyring,
};
use portcullis_kernel::outlook::outage;
use portcullis_store::Store as _;

/// Find out what is wrong with a node, and what to do
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Find out what is wrong with a node, and what to do: configuration, permissions, keys, register, \
certificate, revocation lists, freshness, policies, clock, socket, and what is closed to whom; then \
everything that comes to an end by itself, with the time left, what stops then and what to do \
before. Changes nothing, and works whether or not the node runs; a node that runs is asked for what \
only it knows.

With `--full` everything that is kept is compared with its seals: by the node if it runs, otherwise \
by this command, which opens the node's keys. It takes a minute for some millions of records.

With `--simulate-outage 72h` it says what would stop when, if nothing could be renewed or fetched \
for that time.

Exit code 1 if there is an error. Warnings do not change the exit code.",
    after_long_help = "\
Examples:
  portcullis doctor --home /var/lib/portcullis
  portcullis doctor --full
  portcullis doctor --simulate-outage 72h --json"
)]
pub(super) struct Doctor {
    /// Say what would stop when, in an outage of this length
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    simulate_outage: Option<Duration>,
    /// Check everything that is kept: the node does it, or this command if the node does not run
    #[arg(long)]
    full: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

impl Doctor {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let home = Home::new(session.home()?);
        let mut facts = inspect(&home, system_clock()());
        let now = facts.now;
        let asked = match &mut facts.node {
            Ok(node) if node.socket == SocketFact::Answers => ask(session, node, now),
            Ok(_) | Err(_) => None,
        };
        if self.full
            && let Ok(node) = &mut facts.node
        {
            node.checked = Some(checked(session, &home, node));
        }
        let ends = asked.unwrap_or_else(|| {
            let seen = facts.node.iter().flat_map(|node| &node.dependencies);
            seen.map(|one| portcullis_admin::views::end(one, now))
                .collect()
        });
        let findings = diagnose(&facts);
        let errors = findings
            .iter()
            .filter(|found| found.severity == Severity::Error)
            .count();
        session.output.show(&FindingsView {
            home: home.folder().display().to_string(),
            errors,
            findings: findings.into_iter().map(FindingView::from).collect(),
            outage: self
                .simulate_outage
                .map(|lasts| OutageView::new(&ends, now, lasts)),
            ends,
        })?;
        match errors {
            0 => Ok(()),
            1 => Err(CliError::unable("there is 1 error").remedy("do what stands beside it")),
            _ => Err(CliError::unable(format!("there are {errors} errors"))
                .remedy("do what stands beside each, from the top")),
        }
    }
}

/// Has everything that is kept compared with its seals. Returns what differs, in words.
fn checked(session: &Session, home: &Home, node: &NodeFacts) -> Result<Vec<String>, String> {
    if node.socket == SocketFact::Answers {
        let asked = session
            .client()
            .and_then(|client| block_on(async { Ok(client.get::<CheckView>("/v1/check").await?) }));
        return asked
            .map(|checked| checked.damaged)
            .map_err(|error| error.to_string());
    }
    check_offline(home).map_err(|error| error.to_string())
}

fn check_offline(home: &Home) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let config = Config::of(home)?;
    let keyring = Keyring::load(home, &config.key)?;
    let _alone = Alone::at(home)?;
    let store = kept::open(home, &keyring)?;
    let mut part = 0;
    while store.scrub(part)?.is_some() {
        part += 1;
    }
    let damaged = store.damaged().into_iter();
    Ok(damaged
        .map(|row| format!("{}: {}", row.thing, row.why))
        .collect())
}

/// Adds the facts that only the running node knows, and returns what will end as that node sees it.
/// A node that does not answer is not a finding: the facts seen from outside remain.
fn ask(session: &Session, node: &mut NodeFacts, now: Timestamp) -> Option<Vec<EndView>> {
    let asked = session
        .client()
        .and_then(|client| block_on(async { Ok(client.get::<StatusView>("/v1/status").await?) }));
    let status = asked.ok()?;
    let until = status.fresh_until.and_then(|text| text.parse().ok());
    node.freshness = Stage::at(until, now);
    // The node looks at its disk itself.
    node.space = None;
    let problems = status.problems.into_iter();
    node.reported = problems
        .map(|problem| (problem.what, problem.r#do))
        .collect();
    let hindrances = status.hindrances.into_iter();
    node.hindered = hindrances.map(|one| (one.what, one.r#do)).collect();
    let taken = status.last_backup.and_then(|at| at.parse().ok());
    node.last_backup = Some(taken);
    Some(status.ends)
}

/// Things that would stop in an outage.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct OutageView {
    lasts_hours: u64,
    stops: Vec<StopView>,
}

/// One thing that would stop.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct StopView {
    after_hours: i64,
    what: String,
    stops: String,
    r#do: String,
}

impl OutageView {
    fn new(ends: &[EndView], now: Timestamp, lasts: Duration) -> Self {
        let lasts_ms = i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX);
        let end = |one: &EndView| one.ends.parse().ok();
        Self {
            lasts_hours: lasts.as_secs() / 3600,
            stops: outage(ends, end, now, lasts_ms)
                .into_iter()
                .map(|(one, after)| StopView {
                    after_hours: after / 3_600_000,
                    what: one.what.clone(),
                    stops: one.stops.clone(),
                    r#do: one.r#do.clone(),
                })
                .collect(),
        }
    }

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.heading(&format!("In an outage of {} hours", self.lasts_hours))?;
        if self.stops.is_empty() {
            return page.line("  nothing would stop");
        }
        for stop in &self.stops {
            page.line(format!(
                "  after {} hours: {} ends",
                stop.after_hours, stop.what
            ))?;
            page.line(format!("           then: {}", stop.stops))?;
            page.line(format!("           do: {}", stop.r#do))?;
        }
        Ok(())
    }
}

/// Findings, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct FindingsView {
    home: String,
    errors: usize,
    findings: Vec<FindingView>,
    /// Things that end by themselves, the nearest first.
    ends: Vec<EndView>,
    /// Things that would stop in the outage that was asked about.
    outage: Option<OutageView>,
}

/// One finding.
#[derive(Debug, Serialize, schemars::JsonSchema)]
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
        if !self.ends.is_empty() {
            page.heading("What ends by itself")?;
        }
        for one in &self.ends {
            page.line(format!(
                "  {}: {} left, until {}",
                one.what, one.left, one.ends
            ))?;
            page.line(format!("           then: {}", one.stops))?;
            page.line(format!("           do: {}", one.r#do))?;
        }
        self.outage
            .as_ref()
            .map_or(Ok(()), |outage| outage.page(page))
    }
}

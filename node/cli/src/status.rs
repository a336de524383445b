//! `portcullis status`: shows the state of a running node.

use std::io;

use super::{
    Session,
    error::CliError,
    live::block_on,
    output::{Column, Page, Table, View, seconds},
    peer_list,
};
use portcullis_admin_api::v1::status::{PeerView, StatusView};

/// Number of things set aside that the page names.
const SET_ASIDE_SHOWN: usize = 20;
/// Most alarms shown in the page.
const ALARMS_SHOWN: usize = 10;

/// Show how it stands with the node: register, policy, peers, problems
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Show how it stands with the node: register, policy, certificate, peers, and what keeps it from its \
work.

Exit code 6 if something keeps it from its work, so that a script can ask. A node that works and does \
not do a part of its work (a peer is blocked, stopped or not reached, a clock differs, what waits \
lapses soon) is `hindered`, with exit code 0.",
    after_long_help = "\
Examples:
  portcullis status
  portcullis -n police status --json"
)]
pub(super) struct Status {}

impl Status {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let client = session.client()?;
        let status: StatusView = block_on(async { Ok(client.get("/v1/status").await?) })?;
        session.output.show(&status)?;
        match status.problems.first() {
            None => Ok(()),
            Some(problem) => Err(CliError::unable(format!(
                "the node cannot do its work: {}",
                problem.what
            ))
            .remedy(problem.r#do.clone())),
        }
    }
}

impl View for StatusView {
    const SCHEMA: &'static str = "portcullis/status/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.heading(&format!(
            "{} of {} in {}",
            self.node, self.authority, self.federation
        ))?;
        let development = if self.development {
            " (development: its keys are worthless)"
        } else {
            ""
        };
        page.pairs(&[
            ("state", state(self).to_owned()),
            ("time", self.now.clone()),
            (
                "register",
                format!(
                    "epoch {} {:.12}{development}",
                    self.register_epoch, self.register_digest
                ),
            ),
            (
                "policy",
                format!("{:.12}, {} of its own", self.policy, self.own_policies),
            ),
            ("freshness", freshness(self)),
            ("certificate", format!("until {}", self.certificate_ends)),
            ("persons", self.persons.to_string()),
            ("record log", format!("up to {}", self.log_end)),
            ("software", self.software.clone()),
            ("last backup", backup(self)),
            ("channels", channels(self)),
        ])?;
        let sealed = ["", "accepted"].contains(&self.settings.as_str());
        if !sealed {
            let settings = format!("{}: `portcullis settings show`", self.settings);
            page.pairs(&[("settings", settings)])?;
        }
        let pending: Vec<&str> = self
            .keys
            .iter()
            .filter(|key| key.waits.is_some())
            .map(|key| key.r#use.as_str())
            .collect();
        if !pending.is_empty() {
            let keys = format!(
                "new ones wait for the register to list them: {}",
                pending.join(", ")
            );
            page.pairs(&[("keys", keys)])?;
        }
        if self.held > 0 {
            let until = self.held_until.as_ref();
            let until = until.map(|until| format!(", the first until {}", seconds(until)));
            let waiting = format!(
                "{} for a person{}: `portcullis hold list`",
                self.held,
                until.unwrap_or_default()
            );
            page.pairs(&[("waits", waiting)])?;
        }
        if self.quarantined > 0 {
            let apart = format!(
                "{} items failed verification: `portcullis quarantine list`",
                self.quarantined
            );
            page.pairs(&[("set apart", apart)])?;
        }
        for (heading, those) in [
            ("Problems", &self.problems),
            ("Not done, though the node works", &self.hindrances),
        ] {
            if !those.is_empty() {
                page.heading(heading)?;
            }
            for one in those {
                page.line(format!("  {}", one.what))?;
                page.line(format!("           do: {}", one.r#do))?;
            }
        }
        if let Some(scrubbed) = &self.scrubbed {
            page.pairs(&[("checked whole", scrubbed.clone())])?;
        }
        if !self.set_aside.is_empty() {
            page.heading("Set aside: damaged, or not of the schema")?;
        }
        for one in self.set_aside.iter().take(SET_ASIDE_SHOWN) {
            page.line(format!("  {one}"))?;
        }
        if self.set_aside.len() > SET_ASIDE_SHOWN {
            let more = self.set_aside.len() - SET_ASIDE_SHOWN;
            page.line(format!("  and {more} more: `portcullis status --json`"))?;
        }
        if !self.alarms.is_empty() {
            page.heading("Alarms")?;
        }
        for one in self.alarms.iter().take(ALARMS_SHOWN) {
            page.line(format!("  {one}"))?;
        }
        if self.alarms.len() > ALARMS_SHOWN {
            let more = self.alarms.len() - ALARMS_SHOWN;
            page.line(format!("  and {more} more: `portcullis status --json`"))?;
        }
        let ending: Vec<_> = self.ends.iter().filter(|one| one.is_warned_of()).collect();
        if !ending.is_empty() {
            page.heading("Ends soon")?;
        }
        for one in ending {
            page.line(format!(
                "  {}: {} left, until {}",
                one.what, one.left, one.ends
            ))?;
            page.line(format!("           do: {}", one.r#do))?;
        }
        if !self.peers.is_empty() {
            page.heading("Peers")?;
            page.table(&peers(&self.peers))?;
        }
        for line in self.peers.iter().flat_map(peer_list::unreachable) {
            page.line(line)?;
        }
        for line in self.peers.iter().filter_map(failed) {
            page.line(line)?;
        }
        for line in self.peers.iter().filter_map(clock_apart) {
            page.line(line)?;
        }
        Ok(())
    }
}

fn freshness(status: &StatusView) -> String {
    match (&status.fresh_until, status.freshness.as_str()) {
        (None, _) => "not used: the register lists no freshness keys".to_owned(),
        (Some(until), stage @ ("fresh" | "ending")) => format!("{stage}, until {until}"),
        (Some(since), stage) => format!("{stage}, since {since}"),
    }
}

/// Formats how far the records sent to peers are compared with what they hold, and what was
/// repaired.
fn channels(status: &StatusView) -> String {
    let open: Vec<&str> = status
        .peers
        .iter()
        .filter(|peer| peer.reconciled.is_none())
        .map(|peer| peer.node.as_str())
        .collect();
    let repaired = status.peers.iter().filter_map(|peer| {
        let repaired = peer.repaired.as_ref()?;
        Some(format!("{}: {repaired}", peer.node))
    });
    let mut lines = vec![match (&status.restored_from, open.is_empty()) {
        (Some(backup), _) => format!(
            "restored from a backup of {backup}; reconciling with {}",
            open.join(", ")
        ),
        (None, true) => "compared with every peer".to_owned(),
        (None, false) => format!("to be compared with {}", open.join(", ")),
    }];
    lines.extend(repaired);
    lines.join("\n")
}

fn state(status: &StatusView) -> &'static str {
    match (status.problems.is_empty(), status.hindrances.is_empty()) {
        (true, true) => "ok",
        (true, false) => "hindered: it works, and a part of its work is not done",
        (false, _) => "cannot do its work",
    }
}

/// Formats the time of the latest backup.
fn backup(status: &StatusView) -> String {
    let taken = status.last_backup.as_ref();
    taken.map_or_else(|| "none that this node took".to_owned(), |at| seconds(at))
}

/// Formats the difference between a peer's clock and this one. Returns `None` unless the difference
/// exceeds its error by more than a second.
fn clock_apart(peer: &PeerView) -> Option<String> {
    let (ahead, error) = (peer.clock_ahead_ms?, peer.clock_error_ms?);
    let apart = ahead.saturating_abs();
    let (way, node) = (if ahead < 0 { "behind" } else { "ahead of" }, &peer.node);
    (apart > error.saturating_add(1_000)).then(|| {
        format!("  the clock of {node} is {apart} ms {way} this node's, within {error} ms")
    })
}

fn peers(peers: &[PeerView]) -> Table {
    let mut table = Table::new(&[
        Column::Text("NODE"),
        Column::Text("AUTHORITY"),
        Column::Text("KIND"),
        Column::Text("LAST RECEIPT"),
        Column::Number("BEHIND"),
        Column::Text("STATE"),
    ]);
    for peer in peers {
        table.row([
            peer.node.clone(),
            peer.authority.clone(),
            peer.kind.clone(),
            peer.last_receipt.clone().unwrap_or_else(|| "-".to_owned()),
            peer.behind_urgent.max(peer.behind_bulk).to_string(),
            standing(peer),
        ]);
    }
    table
}

/// Formats the state of a peer in a word or two. Sentences stand below the table.
fn standing(peer: &PeerView) -> String {
    let word = match (&peer.closed, &peer.unreachable, &peer.failure) {
        (Some(closed), _, _) => return closed.clone(),
        (None, Some(_), _) => "unreachable",
        (None, None, Some(_)) => "failed",
        (None, None, None) if peer.last_heard.is_some() => "ok",
        (None, None, None) => "-",
    };
    word.to_owned()
}

/// Formats why the last delivery to a peer that can be reached failed.
fn failed(peer: &PeerView) -> Option<String> {
    let why = peer
        .failure
        .as_ref()
        .filter(|_| peer.unreachable.is_none())?;
    Some(format!("  {}: the last delivery failed: {why}", peer.node))
}

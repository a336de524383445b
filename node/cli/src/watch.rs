//! `portcullis watch`: prints events as they happen, rings, and starts a command for each.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::Stdio,
    time::Duration,
};

use portcullis_protocol::{
    identifiers::{AuthorityId, NodeId},
    record::Kind,
};
use tokio::{io::AsyncWriteExt as _, process::Command};

use super::{
    Session,
    error::CliError,
    live::block_on,
    output::{Page, View},
};
use portcullis_admin_api::v1::notice::{NoticeView, WhatView};

/// Longest time that a command started for an event may take.
const LONGEST_COMMAND: Duration = Duration::from_secs(30);

/// Watch what happens: records, answers, scores, failures
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Watch what happens at the node as it happens: records published, received and declined, peers' \
answers, new scores, failed deliveries. End it with Ctrl-C. With `--json` each is a line of JSON.

Without a filter everything is shown. Each filter lets through what fits it; an event that a filter says nothing \
about (an answer has no origin) is left out by it.

`--exec` starts a shell command for each event that is shown, one after the other, with the event as a line of \
JSON on its standard input. One that takes longer than 30 seconds is ended. Nothing of an event stands in the \
command line, so that no text of a peer is ever run.",
    after_long_help = "\
Examples:
  portcullis watch
  portcullis watch --event received --kind alert --bell
  portcullis watch --event scored --points 80 --exec 'jq -r .reference | mail -s score duty@customs.example'
  portcullis watch --json --count 10"
)]
pub(super) struct Watch {
    /// End after so many
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Only these events, with commas between them
    #[arg(long, value_name = "EVENT", value_enum, value_delimiter = ',')]
    event: Vec<EventName>,
    /// Only records of this kind: indicator, alert, advisory, outcome or risk-profile
    #[arg(long, value_name = "KIND")]
    kind: Option<Kind>,
    /// Only records of this authority
    #[arg(long, value_name = "AUTHORITY")]
    origin: Option<AuthorityId>,
    /// Only what concerns this peer
    #[arg(long, value_name = "PEER")]
    peer: Option<NodeId>,
    /// Only scores of so many points or more, from 0 to 100
    #[arg(long, value_name = "POINTS", value_parser = clap::value_parser!(u8).range(0..=100))]
    points: Option<u8>,
    /// Ring the terminal's bell for each
    #[arg(long)]
    bell: bool,
    /// Start this shell command for each, with the event as JSON on its standard input
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
}

/// Kind of event, as it is named in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum EventName {
    Published,
    Received,
    Declined,
    Answered,
    DeliveryFailed,
    Scored,
    Alarm,
    Missed,
}

impl EventName {
    const fn of(what: &WhatView) -> Self {
        match what {
            WhatView::Published { .. } => Self::Published,
            WhatView::Received { .. } => Self::Received,
            WhatView::Declined { .. } => Self::Declined,
            WhatView::Answered { .. } => Self::Answered,
            WhatView::DeliveryFailed { .. } => Self::DeliveryFailed,
            WhatView::Scored { .. } => Self::Scored,
            WhatView::Alarm { .. } => Self::Alarm,
            WhatView::Missed { .. } => Self::Missed,
        }
    }
}

/// Properties of an event that filters ask for; absent where the event has none.
#[derive(Debug, Default)]
struct Facets<'a> {
    kind: Option<&'a str>,
    origin: Option<&'a str>,
    peer: Option<&'a str>,
    points: Option<f64>,
}

impl<'a> Facets<'a> {
    fn of(what: &'a WhatView) -> Self {
        let none = Self::default();
        match what {
            WhatView::Published { kind, .. } => Self {
                kind: Some(kind),
                ..none
            },
            WhatView::Received {
                kind, origin, peer, ..
            } => Self {
                kind: Some(kind),
                origin: Some(origin),
                peer: Some(peer),
                ..none
            },
            WhatView::Declined { peer, .. }
            | WhatView::Answered { peer, .. }
            | WhatView::DeliveryFailed { peer, .. } => Self {
                peer: Some(peer),
                ..none
            },
            WhatView::Scored { points, .. } => Self {
                points: Some(*points),
                ..none
            },
            WhatView::Alarm { .. } | WhatView::Missed { .. } => none,
        }
    }
}

impl Watch {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let client = session.client()?;
        block_on(async {
            let mut notices = client.watch().await?;
            let mut left = self.count;
            while left != Some(0) {
                let Some(notice) = notices.next().await? else {
                    return Err(CliError::failed("the node has stopped"));
                };
                if !self.fits(&notice.what) {
                    continue;
                }
                session.output.show_line(&notice)?;
                if self.bell {
                    ring();
                }
                if let Some(command) = &self.exec {
                    start(session, command, &notice).await?;
                }
                left = left.map(|left| left.saturating_sub(1));
            }
            Ok(())
        })
    }

    fn fits(&self, what: &WhatView) -> bool {
        let name = EventName::of(what);
        // That something was missed concerns every reader.
        if name == EventName::Missed {
            return true;
        }
        let facets = Facets::of(what);
        let is = |asked: Option<&str>, found: Option<&str>| asked.is_none() || asked == found;
        let is_named = self.event.is_empty() || self.event.contains(&name);
        let is_scored = self.points.is_none_or(|least| {
            facets
                .points
                .is_some_and(|points| points >= f64::from(least))
        });
        is_named
            && is(self.kind.map(Kind::name), facets.kind)
            && is(self.origin.as_ref().map(AuthorityId::as_str), facets.origin)
            && is(self.peer.as_ref().map(NodeId::as_str), facets.peer)
            && is_scored
    }
}

/// Rings at the terminal, whatever the output is written to.
fn ring() {
    let mut errors = io::stderr();
    if errors.is_terminal()
        && let Err(error) = errors.write_all(b"\x07")
    {
        tracing::debug!(%error, "the bell does not ring");
    }
}

/// Starts a command with a notice on its standard input, and waits for its end. A command that fails is told
/// and ends nothing.
async fn start(session: &Session, command: &str, notice: &NoticeView) -> Result<(), CliError> {
    let mut line = serde_json::to_vec(notice)
        .map_err(|error| CliError::failed("the event cannot be written").because(&error))?;
    line.push(b'\n');
    let spawned = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child =
        spawned.map_err(|error| CliError::failed("`sh` cannot be started").because(&error))?;
    let to = child.stdin.take();
    let ran = async {
        if let Some(mut to) = to {
            // A command need not read what it is given.
            drop(to.write_all(&line).await);
        }
        child.wait().await
    };
    let told = match tokio::time::timeout(LONGEST_COMMAND, ran).await {
        Ok(Ok(status)) if status.success() => return Ok(()),
        Ok(Ok(status)) => format!("the command ended with {status}"),
        Ok(Err(error)) => format!("the command was lost: {error}"),
        Err(_) => format!(
            "the command took longer than {} s and was ended",
            LONGEST_COMMAND.as_secs()
        ),
    };
    session.output.note(&told);
    Ok(())
}

impl View for NoticeView {
    const SCHEMA: &'static str = "portcullis/notice/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.line(format!("{}  {}", self.at, told(&self.what)))
    }
}

fn told(what: &WhatView) -> String {
    match what {
        WhatView::Published { record, kind } => format!("published  {record:.12}  {kind}"),
        WhatView::Received {
            record,
            kind,
            origin,
            peer,
        } => {
            format!("received   {record:.12}  {kind} of {origin} from {peer}")
        }
        WhatView::Declined {
            record,
            peer,
            answer,
            reason,
        } => format!(
            "declined   {record:.12}  from {peer}: {answer}{}",
            by_rule(reason.as_deref())
        ),
        WhatView::Answered {
            record,
            peer,
            answer,
            reason,
        } => format!(
            "answered   {record:.12}  {peer}: {answer}{}",
            by_rule(reason.as_deref())
        ),
        WhatView::DeliveryFailed { peer, why } => format!("failed     {peer}: {why}"),
        WhatView::Scored { reference, points } => format!("scored     {reference}: {points:.0}"),
        WhatView::Alarm { alarm } => format!("alarm      {alarm}"),
        WhatView::Missed { notices } => {
            format!("missed     {notices} notices; this reader is slow")
        }
    }
}

fn by_rule(reason: Option<&str>) -> String {
    reason.map_or_else(String::new, |rule| format!(" ({rule})"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        watch: Watch,
    }

    #[track_caller]
    fn shown(flags: &[&str]) -> Vec<usize> {
        let flags = Flags::try_parse_from([&["test"][..], flags].concat()).unwrap();
        let text = str::to_owned;
        let events = [
            WhatView::Published {
                record: text("1"),
                kind: text("alert"),
            },
            WhatView::Received {
                record: text("2"),
                kind: text("alert"),
                origin: text("police"),
                peer: text("hub"),
            },
            WhatView::Received {
                record: text("3"),
                kind: text("indicator"),
                origin: text("lisbon"),
                peer: text("lisbon"),
            },
            WhatView::DeliveryFailed {
                peer: text("hub"),
                why: text("closed"),
            },
            WhatView::Scored {
                reference: text("4"),
                points: 79.6,
            },
            WhatView::Alarm { alarm: text("5") },
            WhatView::Missed { notices: 6 },
        ];
        let places = events.iter().enumerate();
        let fits = places.filter(|(_, event)| flags.watch.fits(event));
        fits.map(|(place, _)| place).collect()
    }

    /// Newcomer A8: an officer on duty had to read everything that happened.
    #[test]
    fn filters_let_through_what_fits_all_of_them_and_what_was_missed() {
        assert_eq!(shown(&[]), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(shown(&["--event", "received"]), [1, 2, 6]);
        assert_eq!(shown(&["--event", "published,alarm"]), [0, 5, 6]);
        assert_eq!(shown(&["--kind", "alert"]), [0, 1, 6]);
        assert_eq!(shown(&["--kind", "alert", "--origin", "police"]), [1, 6]);
        assert_eq!(shown(&["--peer", "hub"]), [1, 3, 6]);
        assert_eq!(shown(&["--points", "79"]), [4, 6]);
        assert_eq!(shown(&["--points", "80"]), [6]);
        assert!(Flags::try_parse_from(["test", "--event", "seen"]).is_err());
    }
}

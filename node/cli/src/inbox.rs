//! `portcullis inbox`: what came since this person last looked.
//!
//! The moment of the last look is kept beside the person's other files, one for each node, and moves when the page
//! was printed. It is the node's time, so that a clock of this machine which is wrong hides nothing.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use portcullis_home::files::{self, Access};
use portcullis_protocol::time::Timestamp;
use serde::Serialize;

use super::{
    Session,
    error::CliError,
    list,
    live::block_on,
    output::{Page, View, seconds, thousands},
};
use portcullis_admin_api::v1::{
    ListView,
    hold::HeldView,
    record::{FilterView, RecordLine, RecordsView},
    status::StatusView,
};

/// Time that a first look goes back, in milliseconds: a day.
const FIRST_LOOK_MS: i64 = 24 * 60 * 60 * 1000;

/// Most records on the page.
const MOST: u32 = 500;

/// Show what came since you last looked
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Show what came since you last looked: records of others, alerts first, and what waits for a person. A first look \
goes back one day. When you have seen the page, the next one begins where it ended; `--keep` leaves that as it is, \
and so does `--since`. The time of the last look is kept in `$XDG_STATE_HOME/portcullis` (or \
`~/.local/state/portcullis`), for each node by itself. Listing is logged as a consultation.",
    after_long_help = "\
Examples:
  portcullis inbox
  portcullis inbox --since 2026-11-30 --json"
)]
pub(super) struct Inbox {
    /// Show what came since this time instead
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Do not move the time of the last look
    #[arg(long)]
    keep: bool,
}

impl Inbox {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let client = session.client()?;
        let status: StatusView = block_on(async { Ok(client.get("/v1/status").await?) })?;
        let now: Timestamp = status
            .now
            .parse()
            .map_err(|error| CliError::failed("the node says no time").because(&error))?;
        let mark = match self.since {
            Some(_) => None,
            None => Some(Mark::of(&folder()?, &status.federation, &status.node)),
        };
        let last = mark.as_ref().map(Mark::read).transpose()?.flatten();
        let since = self
            .since
            .or(last)
            .unwrap_or_else(|| now.plus_millis(-FIRST_LOOK_MS));
        let filter = FilterView {
            since: Some(since.to_string()),
            before: Some(now.to_string()),
            limit: MOST,
            ..FilterView::default()
        };
        let view = block_on(async {
            let mut records: RecordsView = client.post("/v1/records", &filter).await?;
            let listed = records.items.len();
            records.items.retain(|line| line.from.is_some());
            let held: ListView<HeldView> = super::hold::list(&client).await?;
            Ok(InboxView {
                version: 1,
                since: since.to_string(),
                until: now.to_string(),
                made_here: listed.saturating_sub(records.items.len()) as u64,
                records,
                held: held.items.len() as u64,
            })
        })?;
        session.output.show(&view)?;
        match mark {
            Some(mark) if !self.keep => mark.write(now),
            Some(_) | None => Ok(()),
        }
    }
}

/// The file that keeps the time of a person's last look at a node.
struct Mark(PathBuf);

impl Mark {
    fn of(folder: &Path, federation: &str, node: &str) -> Self {
        Self(folder.join(format!("inbox-{federation}-{node}")))
    }

    /// Returns the time of the last look; `None` before the first, or if the file says no time.
    fn read(&self) -> Result<Option<Timestamp>, CliError> {
        match fs::read_to_string(&self.0) {
            Ok(text) => Ok(text.trim().parse().ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                let told = format!("`{}` cannot be read", self.0.display());
                Err(CliError::failed(told)
                    .because(&error)
                    .remedy("say since when with `--since TIME`"))
            }
        }
    }

    fn write(&self, now: Timestamp) -> Result<(), CliError> {
        let written = self
            .0
            .parent()
            .map_or(Ok(()), files::create_folder)
            .and_then(|()| files::replace(&self.0, now.to_string().as_bytes(), Access::Owner));
        written.map_err(|error| {
            CliError::from(error).remedy("say since when with `--since TIME`, which keeps no time")
        })
    }
}

/// Returns the folder for what programs remember of a person.
fn folder() -> Result<PathBuf, CliError> {
    let set = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")));
    let state = state.ok_or_else(|| {
        CliError::failed("there is no place to keep the time of your last look")
            .remedy("set HOME, or say since when with `--since TIME`")
    })?;
    Ok(state.join("portcullis"))
}

/// What came in a time. Version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct InboxView {
    /// Version of the format: 1.
    version: u32,
    /// Beginning of the time.
    since: String,
    /// End of the time, where the next look begins.
    until: String,
    /// Records of others that came in it, the newest first.
    records: RecordsView,
    /// Number of records that were made here in it, of those that were looked at.
    made_here: u64,
    /// Number of items that wait for a person, whenever they came.
    held: u64,
}

impl View for InboxView {
    const SCHEMA: &'static str = "portcullis/inbox/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        let count = match self.records.items.len() {
            0 => "nothing new".to_owned(),
            1 => "1 record".to_owned(),
            count => format!("{} records", thousands(count as u64)),
        };
        let since = seconds(&self.since);
        page.line(format!("{count} since {since}"))?;
        let is_alert = |line: &&RecordLine| line.kind == "alert";
        let (alerts, others): (Vec<&RecordLine>, Vec<&RecordLine>) =
            self.records.items.iter().partition(is_alert);
        for (heading, lines) in [("Alerts", alerts), ("Others", others)] {
            if !lines.is_empty() {
                let lines: Vec<RecordLine> = lines.into_iter().cloned().collect();
                page.heading(heading)?;
                page.table(&list::records(&lines))?;
            }
        }
        if self.records.more {
            page.line(format!(
                "these are the newest; `portcullis list --since {} --limit 10000` lists all",
                self.since
            ))?;
        }
        match self.held {
            0 => Ok(()),
            1 => page.line("\n1 item waits for a person: `portcullis hold list`"),
            held => page.line(format!(
                "\n{} items wait for a person: `portcullis hold list`",
                thousands(held)
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Newcomer A7: nobody could tell what was new from what was read yesterday.
    #[test]
    fn the_next_look_begins_where_the_last_one_ended_at_each_node_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state/portcullis");
        let (one, other) = (
            Mark::of(&state, "eu", "antwerp"),
            Mark::of(&state, "eu", "hub"),
        );
        assert_eq!(one.read().unwrap(), None);
        let now: Timestamp = "2026-12-01T08:00:00.123Z".parse().unwrap();
        one.write(now).unwrap();
        assert_eq!(one.read().unwrap(), Some(now));
        assert_eq!(other.read().unwrap(), None);
        // What somebody wrote into it is no time: the look goes back a day, and not to nothing.
        fs::write(&one.0, "tomorrow").unwrap();
        assert_eq!(one.read().unwrap(), None);
        fs::remove_file(&one.0).unwrap();
        fs::create_dir(&one.0).unwrap();
        assert!(one.read().is_err());
    }
}

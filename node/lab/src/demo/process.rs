//! A node of the demo's federation: a process of this same binary, and the client that speaks to
//! it.
//!
//! Each process has a process group of its own, so an interrupt at the terminal reaches only the
//! demo, and kept nodes go on running. Nodes that are not kept are ended with the demo, whatever
//! ends it.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use tokio::process::{Child, Command};

use super::{DemoError, cast::Member};
use portcullis_admin_api::{client::Client, v1::status::StatusView};
use portcullis_home::Home;

/// Longest time until a node answers after its start.
const START: Duration = Duration::from_secs(30);

/// Longest time that a node may take to stop.
const STOP: Duration = Duration::from_secs(20);

/// Number of last lines of a log that are shown.
const TAIL: usize = 5;

/// A running node.
pub struct NodeProcess {
    /// Member that the node belongs to.
    pub member: Member,
    /// Home of the node.
    pub home: Home,
    /// Client of the node's admin API.
    pub client: Client,
    log: PathBuf,
    child: Child,
    kept: bool,
}

impl NodeProcess {
    /// Starts the node of a home that was set up.
    ///
    /// # Errors
    ///
    /// [`DemoError::Process`] if the binary does not start.
    pub fn start(member: Member, home: Home) -> Result<Self, DemoError> {
        let log = home.folder().join("node.log");
        let child = spawn(&home, &log).map_err(|source| DemoError::Process {
            node: member.node.to_string(),
            source,
        })?;
        Ok(Self {
            client: Client::new(home.socket()),
            member,
            home,
            log,
            child,
            kept: false,
        })
    }

    /// Waits until the node answers.
    ///
    /// # Errors
    ///
    /// [`DemoError::Ended`], with the end of the log, if the node ends or does not answer in time.
    pub async fn ready(&mut self) -> Result<StatusView, DemoError> {
        let begun = Instant::now();
        loop {
            if let Ok(status) = self.client.get::<StatusView>("/v1/status").await {
                return Ok(status);
            }
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || begun.elapsed() > START {
                return Err(self.ended(ended));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops the node and waits until its process has ended.
    ///
    /// # Errors
    ///
    /// [`DemoError::Ended`] if the process does not end.
    pub async fn stop(&mut self) -> Result<(), DemoError> {
        if let Some(id) = self.child.id() {
            terminate(id).await;
        }
        match tokio::time::timeout(STOP, self.child.wait()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(self.ended(None)),
        }
    }

    /// Starts the node again after [`Self::stop`].
    ///
    /// # Errors
    ///
    /// [`DemoError::Process`] if the binary does not start.
    pub fn start_again(&mut self) -> Result<(), DemoError> {
        self.child = spawn(&self.home, &self.log).map_err(|source| DemoError::Process {
            node: self.member.node.to_string(),
            source,
        })?;
        Ok(())
    }

    /// Waits for the node's end, which should come at once. Returns its exit status and the end of
    /// its log.
    pub async fn last_words(&mut self) -> Option<(ExitStatus, String)> {
        let status = tokio::time::timeout(START, self.child.wait()).await.ok()?;
        Some((status.ok()?, tail(&self.log)))
    }

    /// Returns the node's whole log.
    #[must_use]
    pub fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Lets the node go on running when the demo ends.
    pub const fn keep(&mut self) {
        self.kept = true;
    }

    fn ended(&self, status: Option<ExitStatus>) -> DemoError {
        DemoError::Ended {
            node: self.member.node.to_string(),
            how: status.map_or_else(|| "does not answer".to_owned(), |s| format!("ended: {s}")),
            log: self.log.clone(),
            tail: tail(&self.log),
        }
    }
}

impl Drop for NodeProcess {
    /// Waits until the process is gone, so that it writes nothing into a folder being removed.
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = self.child.start_kill() {
            tracing::debug!(%error, "a node had ended already");
        }
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(2) && matches!(self.child.try_wait(), Ok(None))
        {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn spawn(home: &Home, log: &Path) -> std::io::Result<Child> {
    let output = File::options().create(true).append(true).open(log)?;
    Command::new(std::env::current_exe()?)
        .arg("--home")
        .arg(home.folder())
        .arg("run")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0)
        .spawn()
}

/// Asks a process to stop. The `kill` program is used because the standard library has no safe call
/// for it.
async fn terminate(id: u32) {
    let asked = Command::new("kill")
        .arg("-TERM")
        .arg(id.to_string())
        .stderr(Stdio::null())
        .status();
    if let Err(error) = asked.await {
        tracing::debug!(%error, "a node was not asked to stop");
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL);
    lines.get(from..).unwrap_or_default().join("\n")
}

//! Handle of a worker: a process of this same binary that receives orders and sends replies.
//!
//! Each worker has a process group of its own, so an interrupt at the terminal reaches only the
//! bench, which then ends its workers. Workers also end by themselves when their orders end.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use portcullis_protocol::identifiers::NodeId;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::{
    BenchError,
    census::Census,
    machine::Usage,
    order::{Order, Reply, Role},
};
use crate::demo::show::Step;
use portcullis_home::Home;

/// Longest time that a worker may take to stop.
const STOP: Duration = Duration::from_secs(30);

/// Number of last lines of a log that are shown.
const TAIL: usize = 5;

/// Parameters with which a worker is started.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    /// Name of the worker.
    pub(super) name: &'static str,
    /// The home of its node.
    pub(super) home: &'a Home,
    /// Role of the worker.
    pub(super) role: Role,
    /// Node to which the worker sends.
    pub(super) peer: Option<&'a NodeId>,
    /// Seed of its record generator.
    pub(super) seed: u64,
    /// Records handed over at once.
    pub(super) batch: u64,
}

/// A running worker.
pub(super) struct Worker {
    name: &'static str,
    log: PathBuf,
    orders: ChildStdin,
    replies: Lines<BufReader<ChildStdout>>,
    child: Child,
}

impl Worker {
    /// Starts a worker on a home and waits until it is up.
    pub(super) async fn start(part: Part<'_>) -> Result<Self, BenchError> {
        let name = part.name;
        let log = part.home.folder().join("worker.log");
        let mut child = spawn(part, &log).map_err(|source| BenchError::Process { name, source })?;
        let (orders, replies) = match (child.stdin.take(), child.stdout.take()) {
            (Some(orders), Some(replies)) => (orders, replies),
            (Some(_) | None, Some(_) | None) => return Err(BenchError::Unexpected { name }),
        };
        let mut worker = Self {
            name,
            log,
            orders,
            replies: BufReader::new(replies).lines(),
            child,
        };
        let reply = worker.reply(None).await?;
        if reply == Reply::Ready {
            return Ok(worker);
        }
        Err(worker.unexpected(&reply))
    }

    /// Sends an order and waits for its reply.
    pub(super) async fn ask(
        &mut self,
        order: &Order,
        step: Option<&Step>,
    ) -> Result<Reply, BenchError> {
        let mut line = serde_json::to_vec(order).map_err(BenchError::Json)?;
        line.push(b'\n');
        if self.orders.write_all(&line).await.is_err() {
            return Err(self.ended());
        }
        self.reply(step).await
    }

    async fn reply(&mut self, step: Option<&Step>) -> Result<Reply, BenchError> {
        loop {
            let Ok(Some(line)) = self.replies.next_line().await else {
                return Err(self.ended());
            };
            let reply = serde_json::from_str(&line).map_err(BenchError::Json)?;
            if let Reply::Progress { done } = reply {
                if let Some(step) = step {
                    step.at(&done.to_string());
                }
                continue;
            }
            if let Reply::Failed { why } = reply {
                return Err(BenchError::Worker {
                    name: self.name,
                    why,
                });
            }
            return Ok(reply);
        }
    }

    /// Has an order carried out that returns no value.
    pub(super) async fn done(&mut self, order: &Order) -> Result<(), BenchError> {
        let reply = self.ask(order, None).await?;
        if reply == Reply::Done {
            return Ok(());
        }
        Err(self.unexpected(&reply))
    }

    /// Has records streamed. Returns the time that it took, in seconds.
    pub(super) async fn streamed(&mut self, order: &Order, step: &Step) -> Result<f64, BenchError> {
        let reply = self.ask(order, Some(step)).await?;
        if let Reply::Streamed { seconds } = reply {
            return Ok(seconds);
        }
        Err(self.unexpected(&reply))
    }

    /// Returns the resources that the worker has used.
    pub(super) async fn usage(&mut self) -> Result<Usage, BenchError> {
        let reply = self.ask(&Order::Usage, None).await?;
        if let Reply::Usage(usage) = reply {
            return Ok(usage);
        }
        Err(self.unexpected(&reply))
    }

    /// Returns the set of records that the order asks for.
    pub(super) async fn census(&mut self, order: &Order) -> Result<Census, BenchError> {
        let reply = self.ask(order, None).await?;
        if let Reply::Census(census) = reply {
            return Ok(census);
        }
        Err(self.unexpected(&reply))
    }

    /// Stops the worker in order and waits until its process has ended.
    pub(super) async fn stop(mut self) -> Result<(), BenchError> {
        let mut line = serde_json::to_vec(&Order::Stop).map_err(BenchError::Json)?;
        line.push(b'\n');
        if self.orders.write_all(&line).await.is_err() {
            return Err(self.ended());
        }
        match tokio::time::timeout(STOP, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(_) | Err(_)) | Err(_) => Err(self.ended()),
        }
    }

    pub(super) fn unexpected(&self, reply: &Reply) -> BenchError {
        tracing::debug!(
            worker = self.name,
            ?reply,
            "a worker replied something else"
        );
        BenchError::Unexpected { name: self.name }
    }

    fn ended(&self) -> BenchError {
        BenchError::Ended {
            name: self.name,
            tail: tail(&self.log),
        }
    }
}

impl Drop for Worker {
    /// Waits until the process is gone, so that it writes nothing into a folder being removed.
    fn drop(&mut self) {
        if let Err(error) = self.child.start_kill() {
            tracing::debug!(%error, "a worker had ended already");
        }
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(2) && matches!(self.child.try_wait(), Ok(None))
        {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn spawn(part: Part<'_>, log: &Path) -> std::io::Result<Child> {
    let Part {
        name: _,
        home,
        role,
        peer,
        seed,
        batch,
    } = part;
    let errors = File::options().create(true).append(true).open(log)?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("--home")
        .arg(home.folder())
        .args(["bench", "worker", role.name(), "--seed"])
        .arg(seed.to_string())
        .arg("--batch")
        .arg(batch.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(errors)
        .process_group(0)
        .kill_on_drop(true);
    if let Some(peer) = peer {
        command.arg("--peer").arg(peer.as_str());
    }
    command.spawn()
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL);
    lines.get(from..).unwrap_or_default().join("\n")
}

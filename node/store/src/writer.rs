//! The only writer of the store: a thread that groups jobs into transactions.
//!
//! ```text
//! WriterHandle ──urgent──▶┐
//!                         ├─▶ thread: urgent jobs, or bulk pieces for about 5 ms ─▶ one commit ─▶ answers
//! WriterHandle ──bulk────▶┘
//! ```
//!
//! An answer leaves only when the commit is on disk. Both queues are bounded: a sender that writes
//! more than the disk takes has to wait. A bulk job of one long write is cut into pieces, so that
//! urgent jobs get in between. It is answered when its last piece is durable. If the process ends
//! before, the job may be durable in part; when it is delivered again, the answers that were given
//! stand.
//!
//! A transaction that publishes an alert is kept open for a millisecond at most. Meanwhile the
//! store announces the alert and idle urgent lanes plan it, so that their ledger entries become
//! durable in the same commit and not one later. While alerts come, bulk transactions are short.
//!
//! The abort path: if a commit fails because the disk failed (`SQLITE_IOERR`, which includes a
//! failed fsync), the state on disk is unknown and nothing that was read since can be trusted. The
//! jobs of the group get no answer and the process ends at once with `std::process::abort` (exit by
//! SIGABRT). It starts again from what the WAL holds (docs/design.md, Store).

mod following;
mod jobs;
mod queues;

use std::{
    cell::Cell,
    collections::VecDeque,
    sync::{Arc, atomic::AtomicUsize},
    thread,
    time::{Duration, Instant},
};

use portcullis_protocol::frame::Lane;
use tokio::sync::{mpsc, oneshot, watch};

pub use self::following::Follower;
use self::{
    following::Following,
    jobs::{Cut, OpenJobs, answer},
    queues::{Job, MAX_URGENT, NextJob, Queues, Reply},
};
use super::{Store, StoreError, Write};

/// Jobs that each queue holds before senders have to wait.
const QUEUE: usize = 256;
/// Longest time for which bulk pieces are added to one transaction.
const SLICE: Duration = Duration::from_millis(5);
/// Shortest time for which bulk pieces are added, unless urgent jobs come. Urgent work waits for a
/// slice and its commit.
const SHORT_SLICE: Duration = Duration::from_millis(2);
/// Time for which bulk pieces are added while urgent jobs come. Most of an alert's wait is for the
/// transaction before it.
const SHORTEST_SLICE: Duration = Duration::from_micros(500);
/// Time after an urgent job during which further ones are expected.
const URGENT_LATELY: Duration = Duration::from_secs(1);
/// Length of a slice in multiples of its commit's duration, where the disk is slow.
const SLICE_PER_COMMIT: u32 = 3;
/// Longest time for which a transaction that publishes an alert is kept open. The alert is planned
/// meanwhile, and the plans for its peers join the transaction.
const FOLLOW_UP: Duration = Duration::from_millis(1);

/// Queue that a job goes into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Served before anything in bulk.
    Urgent,
    /// Served when no urgent job waits.
    Bulk,
}

impl Priority {
    /// Both queues.
    pub const ALL: [Self; 2] = [Self::Urgent, Self::Bulk];

    /// Returns the name of the queue.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Bulk => "bulk",
        }
    }
}

impl From<Lane> for Priority {
    fn from(lane: Lane) -> Self {
        match lane {
            Lane::Urgent => Self::Urgent,
            Lane::Bulk => Self::Bulk,
        }
    }
}

/// Handle that gives jobs to the writer. Clones share one writer.
#[derive(Debug, Clone)]
pub struct WriterHandle {
    urgent: mpsc::Sender<Job>,
    bulk: mpsc::Sender<Job>,
    log_end: watch::Receiver<u64>,
    urgent_end: watch::Receiver<u64>,
    last_urgent: watch::Receiver<Option<Instant>>,
    failing: watch::Receiver<Option<StoreError>>,
    followers: Arc<AtomicUsize>,
}

/// Fault of the writer, by which nothing becomes durable.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriterFault {
    /// The thread has ended. It does so only when the node stops, or by a panic.
    #[error("the store's writer has ended")]
    Gone,
    /// The latest commit failed in the engine or at the disk.
    #[error("nothing can be written: {0}")]
    Failing(StoreError),
}

impl WriterHandle {
    /// Makes the writes durable, all or none, and returns their results in order. A bulk job of one
    /// long write is made durable piece by piece.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; [`StoreError::Stopped`] if the writer has stopped.
    pub async fn commit(&self, priority: Priority, writes: Vec<Write>) -> Reply {
        self.submit(priority, writes).await?.durable().await
    }

    /// Gives the writer a job without waiting until it is durable. Jobs of one priority become
    /// durable in the order in which they were given.
    ///
    /// # Errors
    ///
    /// [`StoreError::Stopped`] if the writer has stopped.
    pub async fn submit(
        &self,
        priority: Priority,
        writes: Vec<Write>,
    ) -> Result<Pending, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue(priority)
            .send(Job { writes, reply })
            .await
            .map_err(|_| StoreError::Stopped)?;
        Ok(Pending(answer))
    }

    /// Returns true if more than three quarters of a queue's places are taken.
    #[must_use]
    pub fn is_crowded(&self, priority: Priority) -> bool {
        let queue = self.queue(priority);
        queue.capacity() < queue.max_capacity() / 4
    }

    /// Returns the number of jobs that wait in a queue, and the number of its places.
    #[must_use]
    pub fn waiting(&self, priority: Priority) -> (usize, usize) {
        let queue = self.queue(priority);
        let places = queue.max_capacity();
        (places.saturating_sub(queue.capacity()), places)
    }

    /// [`WriterHandle::commit`] for threads outside the async runtime.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; [`StoreError::Stopped`] if the writer has stopped.
    pub fn commit_blocking(&self, priority: Priority, writes: Vec<Write>) -> Reply {
        let (reply, answer) = oneshot::channel();
        self.queue(priority)
            .blocking_send(Job { writes, reply })
            .map_err(|_| StoreError::Stopped)?;
        answer.blocking_recv().unwrap_or(Err(StoreError::Stopped))
    }

    /// Watches the newest number of the record log.
    #[must_use]
    pub fn log_end(&self) -> watch::Receiver<u64> {
        self.log_end.clone()
    }

    /// Watches the newest number of the record log as records of this lane are added. For the bulk
    /// lane, and where a write does not show what it logs, every growth is reported.
    #[must_use]
    pub fn logged(&self, lane: Lane) -> watch::Receiver<u64> {
        match lane {
            Lane::Urgent => self.urgent_end.clone(),
            Lane::Bulk => self.log_end(),
        }
    }

    /// Declares that a peer's urgent records will be planned as soon as they are announced. Until
    /// the guard is dropped, a transaction that publishes is kept open for a moment, so that the
    /// plan joins it.
    #[must_use]
    pub fn follow(&self) -> Follower {
        Follower::new(&self.followers)
    }

    /// Returns the fault that keeps the writer from its work. A writer that failed is sound again
    /// after the next commit that succeeds.
    #[must_use]
    pub fn fault(&self) -> Option<WriterFault> {
        if self.log_end.has_changed().is_err() {
            return Some(WriterFault::Gone);
        }
        self.failing.borrow().clone().map(WriterFault::Failing)
    }

    /// Waits until the writer's thread has ended.
    pub async fn gone(&self) {
        let mut end = self.log_end();
        while end.changed().await.is_ok() {}
    }

    /// Returns true if something urgent was written within the last second. Bulk work comes in
    /// small portions then.
    #[must_use]
    pub fn is_urgent_lately(&self) -> bool {
        is_lately(*self.last_urgent.borrow(), Instant::now())
    }

    const fn queue(&self, priority: Priority) -> &mpsc::Sender<Job> {
        match priority {
            Priority::Urgent => &self.urgent,
            Priority::Bulk => &self.bulk,
        }
    }
}

/// A job that was given to the writer.
#[derive(Debug)]
pub struct Pending(oneshot::Receiver<Reply>);

impl Pending {
    /// Waits until the job is durable, and returns its results.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; [`StoreError::Stopped`] if the writer has stopped.
    pub async fn durable(self) -> Reply {
        self.0.await.unwrap_or(Err(StoreError::Stopped))
    }
}

/// Reaction to a failure of the disk.
pub type OnDiskFailure = Box<dyn Fn(&StoreError) + Send>;

/// Ends the process. This is the documented abort path.
#[must_use]
pub fn abort_on_disk_failure() -> OnDiskFailure {
    Box::new(|error| {
        tracing::error!(%error, "the disk failed in a commit; stopping at once");
        std::process::abort();
    })
}

/// Part of a store that the writer uses.
trait Sink: Send + Sync {
    fn commit_group(&self, next: &mut dyn FnMut() -> Option<Vec<Write>>) -> Vec<Reply>;
    fn log_end(&self) -> Result<u64, StoreError>;
}

impl Sink for dyn Store {
    fn commit_group(&self, next: &mut dyn FnMut() -> Option<Vec<Write>>) -> Vec<Reply> {
        Store::commit_group(self, next)
    }

    fn log_end(&self) -> Result<u64, StoreError> {
        Store::log_end(self)
    }
}

/// Times for which a transaction is kept open.
struct Pace {
    /// Longest time for bulk pieces.
    slice: Duration,
    /// Longest time for the plans that follow a published alert.
    follow_up: Duration,
}

/// The writer's thread.
#[derive(Debug)]
pub struct Writer {
    /// Tells the thread to stop, both when it is used and when it is dropped.
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the log cannot be read or the thread cannot be started.
    pub fn start(
        store: Arc<dyn Store>,
        on_disk_failure: OnDiskFailure,
    ) -> Result<(Self, WriterHandle), StoreError> {
        let pace = Pace {
            slice: SLICE,
            follow_up: FOLLOW_UP,
        };
        Self::start_with(store, on_disk_failure, pace)
    }

    fn start_with<S: Sink + ?Sized + 'static>(
        store: Arc<S>,
        on_disk_failure: OnDiskFailure,
        pace: Pace,
    ) -> Result<(Self, WriterHandle), StoreError> {
        let (urgent, urgent_jobs) = mpsc::channel(QUEUE);
        let (bulk, bulk_jobs) = mpsc::channel(QUEUE);
        let (stop, stopping) = oneshot::channel();
        let end = store.log_end()?;
        let (grown, log_end) = watch::channel(end);
        let (urgent_grown, urgent_end) = watch::channel(end);
        let followers = Arc::default();
        let (urgent_taken, last_urgent) = watch::channel(None);
        let (failed, failing) = watch::channel(None);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .map_err(no_thread)?;
        let writer = WriterThread {
            store,
            on_disk_failure,
            grown,
            urgent_grown,
            untold: Cell::new(false),
            pace,
            last_commit: Duration::ZERO,
            last_urgent: urgent_taken,
            failing: failed,
            pieces: VecDeque::new(),
            followers: Arc::clone(&followers),
        };
        let queues = Queues {
            urgent: urgent_jobs,
            bulk: bulk_jobs,
            stopping,
            is_stopping: false,
        };
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.work(queues, &runtime))
            .map_err(no_thread)?;
        let handle = WriterHandle {
            urgent,
            bulk,
            log_end,
            urgent_end,
            last_urgent,
            failing,
            followers,
        };
        Ok((Self { stop, thread }, handle))
    }

    /// Takes no further job, makes durable what was taken, and waits until the thread has ended.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the store's writer had panicked");
        }
    }
}

fn is_lately(last: Option<Instant>, now: Instant) -> bool {
    last.is_some_and(|last| now.saturating_duration_since(last) < URGENT_LATELY)
}

fn no_thread(source: std::io::Error) -> StoreError {
    StoreError::File {
        path: "store-writer".to_owned(),
        source: Arc::new(source),
    }
}

/// State of the writer's thread.
struct WriterThread<S: ?Sized> {
    store: Arc<S>,
    on_disk_failure: OnDiskFailure,
    grown: watch::Sender<u64>,
    urgent_grown: watch::Sender<u64>,
    /// True if something urgent was logged and its watchers could not be told.
    untold: Cell<bool>,
    pace: Pace,
    /// Duration of the latest slice's commit.
    last_commit: Duration,
    /// Time at which the latest urgent job was taken.
    last_urgent: watch::Sender<Option<Instant>>,
    /// Error of the engine in the latest commit, if it did nothing else.
    failing: watch::Sender<Option<StoreError>>,
    /// Bulk jobs taken, the oldest first.
    pieces: VecDeque<Cut>,
    /// Number of lanes that plan at once when something urgent is published.
    followers: Arc<AtomicUsize>,
}

impl<S: Sink + ?Sized> WriterThread<S> {
    fn work(mut self, mut queues: Queues, runtime: &tokio::runtime::Runtime) {
        loop {
            let urgent = self.waiting(&mut queues);
            if !urgent.is_empty() {
                self.commit_urgent(urgent, &mut queues);
            } else if !self.pieces.is_empty() {
                self.commit_slice(&mut queues);
            } else {
                match runtime.block_on(queues.next()) {
                    NextJob::Urgent(job) => self.commit_urgent(vec![job], &mut queues),
                    NextJob::Bulk(job) => self.pieces.push_back(Cut::new(job)),
                    NextJob::Nothing => return,
                }
            }
        }
    }

    /// Takes the urgent jobs that wait.
    fn waiting(&self, queues: &mut Queues) -> Vec<Job> {
        queues.notice_stop();
        std::iter::from_fn(|| queues.urgent.try_recv().ok())
            .take(MAX_URGENT)
            .collect()
    }

    fn commit_urgent(&self, jobs: Vec<Job>, queues: &mut Queues) {
        self.last_urgent.send_replace(Some(Instant::now()));
        let mut jobs = jobs.into_iter();
        let mut replies = Vec::new();
        let mut following = self.following();
        let results = self.commit(&mut || {
            let job = jobs.next().or_else(|| following.next(queues))?;
            following.took(&job);
            replies.push(job.reply);
            Some(job.writes)
        });
        replies.extend(jobs.map(|job| job.reply));
        // A transaction that could not begin took one job. The others fail for the same reason.
        let failure = results
            .last()
            .and_then(|result| result.as_ref().err().cloned())
            .unwrap_or(StoreError::Stopped);
        let mut results = results.into_iter();
        for reply in replies {
            let result = results.next().unwrap_or_else(|| Err(failure.clone()));
            answer(reply, result);
        }
    }

    /// Commits bulk pieces until the slice is over. An urgent job that arrives meanwhile joins the
    /// transaction, which then ends: the job waits for one piece and one commit at most.
    fn commit_slice(&mut self, queues: &mut Queues) {
        let began = Instant::now();
        let slice = self.slice(began);
        let mut open = OpenJobs::new(std::mem::take(&mut self.pieces));
        let mut closed = None;
        let mut following = self.following();
        let results = self.commit(&mut || {
            if let Some(job) = following.next(queues) {
                following.took(&job);
                return Some(open.join(job));
            }
            let is_over = !open.is_empty() && began.elapsed() >= slice;
            let next = if is_over || open.has_urgent() {
                None
            } else {
                open.next_piece(&mut queues.bulk)
            };
            closed = next.is_none().then(Instant::now);
            next
        });
        self.last_commit = closed.map_or(self.last_commit, |closed| closed.elapsed());
        if open.has_urgent() {
            self.last_urgent.send_replace(Some(began));
        }
        self.pieces = open.settle(results);
    }

    fn following(&self) -> Following<'_> {
        Following::new(&self.urgent_grown, &self.followers, self.pace.follow_up)
    }

    /// Returns the time for which bulk pieces are added to a transaction that begins now.
    fn slice(&self, now: Instant) -> Duration {
        if is_lately(*self.last_urgent.borrow(), now) {
            return SHORTEST_SLICE.min(self.pace.slice);
        }
        let commits = self.last_commit * SLICE_PER_COMMIT;
        SHORT_SLICE.max(commits).min(self.pace.slice)
    }

    /// Commits a group. If the disk has failed, the process ends here.
    fn commit(&self, next: &mut dyn FnMut() -> Option<Vec<Write>>) -> Vec<Reply> {
        let mut is_urgent = self.untold.get();
        let results = self.store.commit_group(&mut || {
            let writes = next()?;
            is_urgent |= writes.iter().any(|write| write.urgent_logged() > 0);
            Some(writes)
        });
        let failure = results
            .iter()
            .filter_map(|result| result.as_ref().err())
            .find(|error| error.is_fatal());
        if let Some(error) = failure {
            (self.on_disk_failure)(error);
        }
        self.tell_of_failure(&results);
        match self.store.log_end() {
            Ok(end) => {
                tell(&self.grown, end);
                if is_urgent {
                    tell(&self.urgent_grown, end);
                }
                self.untold.set(false);
            }
            Err(error) => {
                self.untold.set(is_urgent);
                tracing::warn!(%error, "the log's end cannot be read");
            }
        }
        results
    }
}

impl<S: ?Sized> WriterThread<S> {
    /// Keeps the error of a commit in which nothing succeeded, if it is not the fault of what was to
    /// be written.
    fn tell_of_failure(&self, results: &[Reply]) {
        if results.iter().any(Result::is_ok) {
            self.failing
                .send_if_modified(|known| known.take().is_some());
            return;
        }
        let mut errors = results.iter().filter_map(|result| result.as_ref().err());
        if let Some(error) = errors.rfind(|error| error.is_of_the_engine()) {
            self.failing.send_replace(Some(error.clone()));
        }
    }
}

/// Tells watchers of a new end of the log; an unchanged end is not reported.
fn tell(watched: &watch::Sender<u64>, end: u64) {
    watched.send_if_modified(|known| std::mem::replace(known, end) != end);
}

#[cfg(test)]
mod tests;

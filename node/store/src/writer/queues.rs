//! The two queues of jobs: what is urgent is taken first.

use tokio::sync::{mpsc, oneshot};

use crate::{StoreError, Write, Written};

/// Most urgent jobs in one transaction.
pub(super) const MAX_URGENT: usize = 1024;

pub(super) type Reply = Result<Vec<Written>, StoreError>;

pub(super) struct Job {
    pub(super) writes: Vec<Write>,
    pub(super) reply: oneshot::Sender<Reply>,
}

impl Job {
    /// Returns true if plans for peers will follow the job.
    pub(super) fn publishes(&self) -> bool {
        let publishes = |write: &Write| matches!(write, Write::Publish { .. });
        self.writes.iter().any(publishes)
    }
}

/// The queues of jobs, and the signal to stop.
pub(super) struct Queues {
    pub(super) urgent: mpsc::Receiver<Job>,
    pub(super) bulk: mpsc::Receiver<Job>,
    pub(super) stopping: oneshot::Receiver<()>,
    pub(super) is_stopping: bool,
}

pub(super) enum NextJob {
    Urgent(Job),
    Bulk(Job),
    /// All jobs have been taken, and no more will come.
    Nothing,
}

impl Queues {
    /// Waits for the next job; urgent ones come first.
    pub(super) async fn next(&mut self) -> NextJob {
        loop {
            tokio::select! {
                biased;
                Some(job) = self.urgent.recv() => return NextJob::Urgent(job),
                Some(job) = self.bulk.recv() => return NextJob::Bulk(job),
                _ = &mut self.stopping, if !self.is_stopping => self.close(),
                else => return NextJob::Nothing,
            }
        }
    }

    /// Closes the queues if the writer is to stop. It is called even when there is no pause between
    /// jobs.
    pub(super) fn notice_stop(&mut self) {
        let running = matches!(
            self.stopping.try_recv(),
            Err(oneshot::error::TryRecvError::Empty)
        );
        if !running && !self.is_stopping {
            self.close();
        }
    }

    /// Closes both queues. Jobs that wait already are still taken.
    pub(super) fn close(&mut self) {
        self.is_stopping = true;
        self.urgent.close();
        self.bulk.close();
    }
}

//! Plans that join the transaction of the alert they follow.
//!
//! Idle urgent lanes are told of the alert before it is durable, and plan it. The transaction waits
//! for as many jobs as there are such lanes, and only for a moment.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::queues::{Job, MAX_URGENT, Queues};

/// Pause between two looks for a following job.
const GLANCE: Duration = Duration::from_micros(50);

/// Guard of a lane that plans urgent records as soon as they are announced.
#[derive(Debug)]
pub struct Follower(Arc<AtomicUsize>);

impl Follower {
    pub(super) fn new(followers: &Arc<AtomicUsize>) -> Self {
        followers.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(followers))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The jobs that follow in a transaction that publishes something urgent.
pub(super) struct Following<'a> {
    /// Wakes the lanes that plan what the store announces.
    grown: &'a watch::Sender<u64>,
    /// Longest time for which following jobs are awaited.
    patience: Duration,
    followers: &'a AtomicUsize,
    /// Number of jobs that will follow if all lanes are quick.
    expected: usize,
    /// Time since which they are awaited.
    since: Option<Instant>,
    is_untold: bool,
    joined: usize,
    /// Number of jobs that the transaction has taken.
    taken: usize,
}

impl<'a> Following<'a> {
    pub(super) const fn new(
        grown: &'a watch::Sender<u64>,
        followers: &'a AtomicUsize,
        patience: Duration,
    ) -> Self {
        Self {
            grown,
            patience,
            followers,
            expected: 0,
            since: None,
            is_untold: false,
            joined: 0,
            taken: 0,
        }
    }

    /// Returns the next urgent job: one that is queued, or one that is awaited.
    pub(super) fn next(&mut self, queues: &mut Queues) -> Option<Job> {
        if std::mem::take(&mut self.is_untold) {
            // The store has taken the published records and announced them.
            self.grown.send_modify(|_| {});
        }
        loop {
            if self.taken >= MAX_URGENT {
                return None;
            }
            if let Ok(job) = queues.urgent.try_recv() {
                return Some(job);
            }
            let lasts = |since: Instant| since.elapsed() < self.patience;
            if self.joined >= self.expected || !self.since.is_some_and(lasts) {
                return None;
            }
            thread::sleep(GLANCE);
        }
    }

    /// Notes a job that joins the transaction.
    pub(super) fn took(&mut self, job: &Job) {
        self.taken += 1;
        if job.publishes() {
            // A further alert in the same transaction does not prolong the wait.
            self.since.get_or_insert_with(Instant::now);
            self.is_untold = true;
            self.expected = self.followers.load(Ordering::Relaxed);
            self.joined = 0;
        } else if self.since.is_some() {
            self.joined += 1;
        }
    }
}

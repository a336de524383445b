//! What follows an alert into the transaction that publishes it.
//!
//! Idle urgent lanes are told of the alert before it is durable, and plan it. What they intend for
//! their peers is waited for, as many jobs as there are such lanes, and only for a moment.

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

/// Between two looks for what is intended.
const GLANCE: Duration = Duration::from_micros(50);

/// Someone who plans what is urgent as soon as it is told of.
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

/// What follows in a transaction that publishes something urgent.
pub(super) struct Following<'a> {
    /// Tells who plans of what the store announces.
    grown: &'a watch::Sender<u64>,
    /// How long each is waited for.
    patience: Duration,
    followers: &'a AtomicUsize,
    /// How many jobs will follow, if all are quick.
    expected: usize,
    /// Since when they are waited for.
    since: Option<Instant>,
    is_untold: bool,
    joined: usize,
    /// How many jobs the transaction has taken.
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

    /// The next urgent job: one that waits, or one that is waited for.
    pub(super) fn next(&mut self, queues: &mut Queues) -> Option<Job> {
        if std::mem::take(&mut self.is_untold) {
            // The store has taken what was published.
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
            // What is published meanwhile keeps nobody waiting for longer.
            self.since.get_or_insert_with(Instant::now);
            self.is_untold = true;
            self.expected = self.followers.load(Ordering::Relaxed);
            self.joined = 0;
        } else if self.since.is_some() {
            self.joined += 1;
        }
    }
}

//! Processor work off the runtime's threads, by lane: bulk work gives way to urgent work.
//!
//! Sealing, verifying and planning for the bulk lane run on threads of their own, as many as the
//! machine has cores. The system schedules them after all others of the process, so a burst in bulk
//! delays an alert only until its thread is scheduled. Niceness alone separates the two: on a
//! machine that is idle otherwise, bulk gets all of it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use portcullis_protocol::frame::Lane;
use portcullis_store::niceness::give_way;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::oneshot;

/// Runs work of either lane.
#[derive(Debug)]
pub struct Work {
    /// Threads for bulk work. Without them bulk work runs beside everything else.
    bulk: Option<ThreadPool>,
}

impl Work {
    /// Starts the threads for bulk work.
    #[must_use]
    pub fn start() -> Self {
        let pool = ThreadPoolBuilder::new()
            .thread_name(|number| format!("bulk-{number}"))
            .start_handler(|_| give_way())
            .panic_handler(|_| tracing::error!("work of the bulk lane was cut short by a panic"))
            .build();
        if let Err(error) = &pool {
            tracing::warn!(%error, "the bulk lane has no threads of its own: it may delay alerts");
        }
        Self { bulk: pool.ok() }
    }

    /// Runs `work`. The future yields its result. Dropping the future does not stop the work.
    pub fn run<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Running<T> {
        let (done, result) = oneshot::channel();
        let job = move || {
            if done.send(work()).is_err() {
                tracing::trace!("nobody waits for the result of this work");
            }
        };
        match (&self.bulk, lane) {
            (Some(pool), Lane::Bulk) => pool.spawn(job),
            (None, Lane::Bulk) | (_, Lane::Urgent) => drop(portcullis_store::apart::spawn(job)),
        }
        Running(result)
    }
}

/// Work that was started.
#[derive(Debug)]
pub struct Running<T>(oneshot::Receiver<T>);

/// Error of work that ended without a result: it panicked, or the process is about to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the work was cut short")]
pub struct CutShort;

impl<T> Future for Running<T> {
    type Output = Result<T, CutShort>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|result| result.map_err(|_| CutShort))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_store::niceness::NICENESS;

    #[tokio::test]
    async fn work_of_both_lanes_is_done_and_a_panic_is_told() {
        let work = Work::start();
        for lane in Lane::ALL {
            assert_eq!(work.run(*lane, || 7).await, Ok(7));
            let panics = work.run(*lane, || -> u8 { panic!("a test") });
            assert_eq!(panics.await, Err(CutShort));
            assert_eq!(work.run(*lane, || 8).await, Ok(8));
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn only_bulk_gives_way() {
        let work = Work::start();
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let ours = niceness();
        assert_eq!(work.run(Lane::Urgent, niceness).await, Ok(ours));
        let theirs = work.run(Lane::Bulk, niceness).await.unwrap();
        assert_eq!(theirs, NICENESS.max(ours));
    }
}

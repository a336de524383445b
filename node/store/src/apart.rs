//! Work apart from the threads that drive the runtime.
//!
//! A store blocks: on the disk, on its one writer, on a connection that somebody else reads with. A
//! thread of the runtime that waits for it drives nothing meanwhile, and a node has as few of them as
//! the machine has cores. Work on the store therefore runs on a thread of its own, or through
//! [`spawn`]. A store tells [`noticed`] of every question and every commit; what comes on a thread
//! of the runtime is counted, and every federation in the tests ends with a count of 0.

use std::{
    backtrace::Backtrace,
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use tokio::task::JoinHandle;

/// Name of the runtime's threads, which is tokio's own. Its threads for blocking work have it as well.
const OF_THE_RUNTIME: &str = "tokio-rt-worker";

/// Number of times that a store was used on a thread of the runtime.
static SEEN: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Place of the work that this thread does now.
    static PLACE: Cell<Place> = const { Cell::new(Place::Unknown) };
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The name of the thread was not looked at yet.
    Unknown,
    /// The thread drives the runtime.
    Runtime,
    /// Whoever waits for this thread is nobody else's loss.
    Apart,
}

/// Runs blocking work, for the processor or the disk, apart from the threads that drive the runtime.
pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    tokio::task::spawn_blocking(move || within(work))
}

fn within<T>(work: impl FnOnce() -> T) -> T {
    /// Puts the place back, also if the work panics.
    struct Back(Place);
    impl Drop for Back {
        fn drop(&mut self) {
            PLACE.set(self.0);
        }
    }
    let _back = Back(PLACE.replace(Place::Apart));
    work()
}

/// Notes that a store is used on this thread. The first use on a thread of the runtime is logged.
pub fn noticed() {
    let place = match PLACE.get() {
        Place::Unknown => {
            let is_of_it = thread::current().name() == Some(OF_THE_RUNTIME);
            let place = if is_of_it {
                Place::Runtime
            } else {
                Place::Apart
            };
            PLACE.set(place);
            place
        }
        known @ (Place::Runtime | Place::Apart) => known,
    };
    if place == Place::Runtime && SEEN.fetch_add(1, Ordering::Relaxed) == 0 {
        let place = Backtrace::capture();
        tracing::error!(%place, "the store was used on a thread of the runtime: peers may have waited for it; this is a fault of portcullis, report it");
    }
}

/// Returns the number of times that a store was used on a thread of the runtime.
#[must_use]
pub fn seen_on_the_runtime() -> u64 {
    SEEN.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// House HM2: eight readers without end stopped both threads of a node with two cores.
    #[test]
    fn only_what_is_used_on_a_thread_of_the_runtime_is_counted() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .build()
            .unwrap();
        runtime.block_on(async {
            let seen = seen_on_the_runtime;
            for _ in 0..8 {
                spawn(noticed).await.unwrap();
                spawn(|| within(noticed)).await.unwrap();
            }
            thread::spawn(noticed).join().unwrap();
            assert_eq!(seen(), 0);
            for count in 1..=3 {
                tokio::spawn(async { noticed() }).await.unwrap();
                assert_eq!(seen(), count);
            }
            // Who leaves `spawn` out is seen, and a panic leaves no mark behind.
            tokio::task::spawn_blocking(noticed).await.unwrap();
            assert_eq!(seen(), 4);
            assert!(spawn(|| panic!("a test")).await.is_err());
            tokio::spawn(async { noticed() }).await.unwrap();
            assert_eq!(seen(), 5);
            spawn(noticed).await.unwrap();
            assert_eq!(seen(), 5);
        });
    }
}

//! The scrub: everything that is kept is checked part by part, the whole of it within a day.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{Kernel, moment::Moment};

/// Time after the start until the first part is checked.
const FIRST: Duration = Duration::from_secs(10 * 60);
/// Pause between two parts. There are at most 135, so that all of them pass within 23 hours.
const PAUSE: Duration = Duration::from_secs(10 * 60);

/// The latest whole pass over everything that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scrubbed {
    /// Time at which it ended.
    pub at: portcullis_protocol::time::Timestamp,
    /// Moment at which it ended.
    pub moment: Moment,
}

/// Checks part after part, with a pause between them, until `shutdown`.
pub async fn run(kernel: Arc<Kernel>, shutdown: CancellationToken) {
    let mut pause = FIRST;
    let mut part = 0;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = PAUSE;
        part = match checked(&kernel, part).await {
            Some(true) => part.saturating_add(1),
            Some(false) => {
                kernel.note_scrubbed();
                0
            }
            // It is tried again after the pause.
            None => part,
        };
    }
}

/// Checks a part; false if there is none with this number, `None` if it cannot be read.
async fn checked(kernel: &Arc<Kernel>, part: usize) -> Option<bool> {
    let asked = Arc::clone(kernel);
    let checking = portcullis_store::apart::spawn(move || asked.store().scrub(part));
    match checking.await {
        Ok(Ok(name)) => {
            kernel.move_gates();
            Some(name.is_some())
        }
        Ok(Err(error)) => {
            tracing::error!(part, %error, "a part of the store cannot be checked");
            None
        }
        Err(error) => {
            tracing::error!(part, %error, "the check of the store was cut short");
            None
        }
    }
}

//! The scrub: everything that is kept is checked part by part, the whole of it within a day.

use std::{sync::Arc, time::Duration};

use portcullis_protocol::time::Timestamp;
use portcullis_store::{DamageRow, NodeEvent};
use tokio_util::sync::CancellationToken;

use crate::{Kernel, moment::Moment};

/// Time after the start until the first part is checked.
const FIRST: Duration = Duration::from_secs(10 * 60);
/// Pause between two parts. There are at most 142, so that all of them pass within 22 hours.
const PAUSE: Duration = Duration::from_secs(9 * 60);
/// Pauses of the first pass after a node that did not close its store.
const HURRY: Duration = Duration::from_secs(1);

/// The latest whole pass over everything that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scrubbed {
    /// Time at which it ended.
    pub at: Timestamp,
    /// Moment at which it ended.
    pub moment: Moment,
}

/// Checks part after part, with a pause between them, until `shutdown`.
pub async fn run(kernel: Arc<Kernel>, shutdown: CancellationToken) {
    let (mut pause, mut pauses) = (FIRST, PAUSE);
    if kernel.store().stopped_uncleanly() {
        tracing::warn!("the node before did not close its store: all of it is checked now");
        (pause, pauses) = (HURRY, HURRY);
    }
    let mut part = 0;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = pauses;
        part = match checked(&kernel, part).await {
            Some(true) => part.saturating_add(1),
            Some(false) => {
                kernel.note_scrubbed();
                (pause, pauses) = (PAUSE, PAUSE);
                0
            }
            // It is tried again after the pause.
            None => {
                pause = PAUSE;
                part
            }
        };
    }
}

/// Checks a part; false if there is none with this number, `None` if it cannot be read.
async fn checked(kernel: &Arc<Kernel>, part: usize) -> Option<bool> {
    let asked = Arc::clone(kernel);
    let checking = portcullis_store::apart::spawn(move || asked.store().scrub(part));
    match checking.await {
        Ok(Ok(name)) => {
            mend_indexes(kernel).await;
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

/// Has the indexes built anew that do not say what their tables say, and tells of each as an event.
pub async fn mend_indexes(kernel: &Arc<Kernel>) {
    let asked = Arc::clone(kernel);
    let mending = portcullis_store::apart::spawn(move || asked.store().mend_indexes());
    match mending.await {
        Ok(Ok(mended)) => {
            for event in told(&mended, kernel.now()) {
                kernel.note(event).await;
            }
        }
        Ok(Err(error)) => tracing::error!(%error, "indexes of the store cannot be built anew"),
        Err(error) => tracing::error!(%error, "the mending of the store was cut short"),
    }
}

/// Returns an event for each thing that was mended.
#[must_use]
pub fn told(mended: &[DamageRow], at: Timestamp) -> Vec<NodeEvent> {
    let event = |row: &DamageRow| NodeEvent {
        at,
        kind: "indexes-mended".to_owned(),
        peer: None,
        detail: format!(
            "{} did not say what the table says and are built anew: {}; somebody may have written to the disk",
            row.thing, row.why
        ),
    };
    mended.iter().map(event).collect()
}

#[cfg(test)]
mod tests {
    use portcullis_store::Damaged;
    use portcullis_testbed::NOW;

    use super::*;

    #[test]
    fn an_index_that_was_mended_is_an_event_that_says_which_and_what_was_found() {
        let mended = DamageRow {
            thing: Damaged::Indexes("act"),
            why: "row 1 missing from index sqlite_autoindex_act_1".to_owned(),
        };
        let events = told(&[mended], NOW);
        let [event] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!((event.kind.as_str(), event.at), ("indexes-mended", NOW));
        assert!(event.detail.contains("`act`") && event.detail.contains("row 1 missing"));
        assert_eq!(told(&[], NOW), []);
    }
}

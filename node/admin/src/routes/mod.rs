//! Handlers of the requests. They translate; the kernel, the desk and the store do the work.

pub(super) mod acts;
mod backup;
pub(super) mod consignments;
pub(super) mod consultation;
mod deeds;
pub(super) mod dispatch;
pub(super) mod forks;
mod gates;
pub(super) mod hold;
mod log;
pub(super) mod names;
pub(super) mod outcome;
pub(super) mod peers;
pub(super) mod preview;
pub(super) mod quarantine;
pub(super) mod records;
pub(super) mod register;
pub(super) mod scores;
pub(super) mod settings;
pub(super) mod status;
pub(super) mod trust;
pub(super) mod watch;

use serde::de::DeserializeOwned;

use super::problem::{Problem, ProblemKind};

/// Runs blocking work, for the processor or the disk, outside of the runtime's threads.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    portcullis_store::apart::spawn(work)
        .await
        .map_err(|_| Problem::new(ProblemKind::Failed, "the work was cut short; try again"))?
}

/// Reads the JSON body of an act.
fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        Problem::new(
            ProblemKind::Invalid,
            format!("the request cannot be read: {error}"),
        )
    })
}

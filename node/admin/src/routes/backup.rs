//! Backup of the running node: an act that an administrator signs. Its end is recorded as an event.

use crate::{
    problem::{Problem, ProblemKind},
    request::Admin,
    views,
};
use axum::{
    body::Body,
    body::Bytes,
    http::header::CONTENT_TYPE,
    response::{IntoResponse as _, Response},
};
use portcullis_backup::manifest::Manifest;
use std::{convert::Infallible, path::PathBuf};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

use portcullis_admin_api::{
    act,
    v1::{
        ProblemView,
        backup::{BackupOrder, BackupStep},
    },
};
use portcullis_backup as backup;
use portcullis_backup::{BackupError, Order};
use portcullis_kernel::{BACKUP, BACKUP_TAKEN};
use portcullis_protocol::statement::SignedStatement;
use portcullis_store::{Act, NodeEvent};

use super::outcome::{ActTurn, bytes, note_outcome};

/// Number of lines that wait for a slow reader. Progress beyond them is not reported.
const LINES_WAITING: usize = 64;

/// Folders that a person wants the node copied to.
#[derive(Debug)]
pub(super) struct BackupAct {
    to: PathBuf,
    keys_to: PathBuf,
}

impl BackupAct {
    /// Reads the body of a signed act.
    pub(super) fn read(body: &[u8]) -> Result<Self, Problem> {
        let invalid = |message: String| Problem::new(ProblemKind::Invalid, message);
        let BackupOrder { to, keys_to } = serde_json::from_slice(body)
            .map_err(|error| invalid(format!("the request cannot be read: {error}")))?;
        if !to.is_absolute() || !keys_to.is_absolute() {
            return Err(invalid(
                "the folders of a backup are named by absolute paths".to_owned(),
            ));
        }
        Ok(Self { to, keys_to })
    }

    /// Describes the object of the act for the log.
    pub(super) fn concerns(&self) -> String {
        let (to, keys_to) = (self.to.display(), self.keys_to.display());
        format!("a backup to `{to}`, keys to `{keys_to}`")
    }

    /// Begins the backup. The answer tells of its steps, a line for each.
    pub(super) fn begin(
        self,
        admin: &Admin,
        act: Option<SignedStatement>,
        turn: ActTurn,
    ) -> Response {
        let order = Order {
            home: admin.reloader.home().clone(),
            to: self.to,
            keys_to: self.keys_to,
            key: admin.kernel.log_key(),
            now: admin.kernel.now(),
            act: act.as_ref().map(act::id),
        };
        let (lines, told) = mpsc::channel(LINES_WAITING);
        let working = work(admin.clone(), order, act, lines);
        tokio::spawn(async move {
            working.await;
            drop(turn);
        });
        let body =
            ReceiverStream::new(told).map(|step| Ok::<_, Infallible>(Bytes::from(line(&step))));
        let body = Body::from_stream(body);
        ([(CONTENT_TYPE, "application/x-ndjson")], body).into_response()
    }
}

/// Takes the backup, even if its caller no longer listens, and reports its end.
async fn work(
    admin: Admin,
    order: Order,
    act: Option<SignedStatement>,
    lines: mpsc::Sender<BackupStep<Manifest>>,
) {
    let (snapshots, telling, asked) = (admin.snapshots.clone(), lines.clone(), order.clone());
    let taken = portcullis_store::apart::spawn(move || {
        backup::take(&asked, || snapshots.take(), &mut |progress| {
            if telling.try_send(views::progress(progress)).is_err() {
                tracing::trace!("nobody has read how far the backup is");
            }
        })
    })
    .await;
    let (detail, end) = match taken {
        Ok(Ok(taken)) => (
            format!("{BACKUP_TAKEN}`{}`", order.to.display()),
            views::taken(taken),
        ),
        Ok(Err(error)) => (format!("no backup was made: {error}"), failed(&error)),
        Err(_) => (
            "a backup was cut short".to_owned(),
            BackupStep::Failed {
                invalid: false,
                problem: problem("the backup was cut short; try again".to_owned()),
            },
        ),
    };
    let event = NodeEvent {
        at: admin.kernel.now(),
        kind: BACKUP.to_owned(),
        peer: None,
        detail,
    };
    admin.kernel.note(event).await;
    let (outcome, answer) = if matches!(end, BackupStep::Taken { .. }) {
        admin.kernel.note_backup(order.now);
        (Act::DONE, Some(line(&end)))
    } else {
        ("failed: no backup was made", None)
    };
    note_outcome(&admin, act, outcome.to_owned(), answer).await;
    if lines.send(end).await.is_err() {
        tracing::info!("nobody waits for the end of the backup");
    }
}

/// Returns a step as a line of the answer.
fn line(step: &BackupStep<Manifest>) -> Vec<u8> {
    let mut line = bytes(step);
    line.push(b'\n');
    line
}

fn failed(error: &BackupError) -> BackupStep<Manifest> {
    BackupStep::Failed {
        invalid: error.is_invalid(),
        problem: problem(error.to_string()),
    }
}

const fn problem(message: String) -> ProblemView {
    ProblemView {
        message,
        rule: None,
        r#do: None,
        causes: Vec::new(),
    }
}

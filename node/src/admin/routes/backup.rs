//! A backup of the running node. No person signs it: what is copied is sealed as it is in the home,
//! and the folders are the node's own user's. It is remembered as an event.

use crate::admin::request::JsonBody;
use axum::{
    body::Body,
    body::Bytes,
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse as _, Response},
};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

use crate::{
    admin::{
        api::{
            ProblemView,
            backup::{BackupOrder, BackupStep},
        },
        problem::{Problem, ProblemKind},
        request::Admin,
    },
    backup::{self, BackupError, Order},
    store::Event,
};

/// Lines that wait for a slow reader; progress beyond them is not told.
const LINES_WAITING: usize = 64;

pub(in crate::admin) async fn take(
    State(admin): State<Admin>,
    JsonBody(order): JsonBody<BackupOrder>,
) -> Result<Response, Problem> {
    let BackupOrder { to, keys_to } = order;
    if !to.is_absolute() || !keys_to.is_absolute() {
        return Err(Problem::new(
            ProblemKind::Invalid,
            "the folders of a backup are named by absolute paths",
        ));
    }
    let order = Order {
        home: admin.reloader.home().clone(),
        to,
        keys_to,
        key: admin.core.log_key(),
        now: admin.core.now(),
    };
    let (lines, told) = mpsc::channel(LINES_WAITING);
    tokio::spawn(work(admin, order, lines));
    let body = ReceiverStream::new(told).map(|step| {
        serde_json::to_vec(&step).map(|mut line| {
            line.push(b'\n');
            Bytes::from(line)
        })
    });
    let body = Body::from_stream(body);
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// Takes the backup whether or not its caller still listens, and tells of its end.
async fn work(admin: Admin, order: Order, lines: mpsc::Sender<BackupStep>) {
    let (store, telling, asked) = (admin.store.clone(), lines.clone(), order.clone());
    let taken = tokio::task::spawn_blocking(move || {
        backup::take(&asked, || store.snapshot(), &mut |progress| {
            if telling.try_send(progress.into()).is_err() {
                tracing::trace!("nobody has read how far the backup is");
            }
        })
    })
    .await;
    let (detail, end) = match taken {
        Ok(Ok(taken)) => (
            format!("a backup is in `{}`", order.to.display()),
            BackupStep::from(taken),
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
    let event = Event {
        at: admin.core.now(),
        kind: "backup".to_owned(),
        peer: None,
        detail,
    };
    admin.core.note(event).await;
    if lines.send(end).await.is_err() {
        tracing::info!("nobody waits for the end of the backup");
    }
}

fn failed(error: &BackupError) -> BackupStep {
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
    }
}

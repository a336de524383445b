//! The log of an act and its effects, and the answer to an act that was done before.
//!
//! ```text
//! effects in the store ─────── one commit: act, effects, answer
//! effects elsewhere, or long ─ act begun ─▶ effects ─▶ act done, answer
//! ```
//!
//! An act that was begun finds its earlier attempt when it comes again, and finishes it: consignments
//! are replaced by the same ones, and the end is one commit with the last of them; settings that were
//! sealed under the number of the act are its own; a backup that is there has the act's id. A clock is
//! confirmed after the act is logged as done.
//!
//! An act that was done is answered from the log and not carried out again. An act that failed, or
//! was cut short with the node, is carried out when it is sent again.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use axum::{
    http::header::CONTENT_TYPE,
    response::{IntoResponse as _, Response},
};
use portcullis_protocol::{digest::Digest, statement::SignedStatement};
use portcullis_store::{Act, ActAnswer, ActOutcome, Effects, Write, Written, writer::Priority};
use serde::Serialize;

use super::apart;
use crate::{problem::Problem, request::Admin};

/// Turns of acts: the same act, sent twice, is carried out by one request at a time.
#[derive(Debug, Clone, Default)]
pub(crate) struct ActTurns(
    /// Locked only to find a turn.
    Arc<Mutex<BTreeMap<Digest, Weak<tokio::sync::Mutex<()>>>>>,
);

/// The turn of a request to carry out an act.
#[derive(Debug)]
pub(super) struct ActTurn {
    _held: tokio::sync::OwnedMutexGuard<()>,
}

impl ActTurns {
    /// Waits until no other request carries out the act with this id.
    pub(super) async fn of(&self, act: Digest) -> ActTurn {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| turn.strong_count() > 0);
            turns.get(&act).and_then(Weak::upgrade).unwrap_or_else(|| {
                let turn = Arc::default();
                turns.insert(act, Arc::downgrade(&turn));
                turn
            })
        };
        ActTurn {
            _held: turn.lock_owned().await,
        }
    }
}

/// Returns the answer of an act that was done before; `None` if it is to be carried out.
pub(super) async fn answered_before(
    admin: &Admin,
    statement: &SignedStatement,
) -> Result<Option<Response>, Problem> {
    let (kernel, statement) = (admin.kernel.clone(), statement.clone());
    let answer = apart(move || Ok(kernel.store().act_answer(&statement)?)).await?;
    Ok(answer.map(in_json))
}

/// Returns the log of an act whose effects are in its job. Its answer is made from the job's results.
pub(super) fn in_job<T: Serialize>(
    log: Act,
    answer: impl Fn(&[Written]) -> T + Send + Sync + 'static,
) -> Write {
    Write::Act(Act {
        effects: Effects::InJob(ActAnswer::new(move |written| bytes(&answer(written)))),
        ..log
    })
}

/// Returns an answer as it is kept.
pub(super) fn bytes(answer: &impl Serialize) -> Vec<u8> {
    // Structs of texts, numbers and lists always serialise.
    serde_json::to_vec(answer).unwrap_or_else(|_| b"null".to_vec())
}

/// Returns the response with this answer.
pub(super) fn shown(answer: &impl Serialize) -> Response {
    in_json(bytes(answer))
}

fn in_json(answer: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/json")], answer).into_response()
}

/// Logs an act as begun, carries it out, and notes how it ended, with the answer.
pub(super) async fn logged<T: Serialize>(
    admin: &Admin,
    log: Act,
    deed: impl Future<Output = Result<T, Problem>> + Send,
) -> Result<Response, Problem> {
    let statement = begin(admin, log).await?;
    let answer = bytes(&deed.await?);
    note_outcome(admin, statement, Act::DONE.to_owned(), Some(answer.clone())).await;
    Ok(in_json(answer))
}

/// Logs an act as begun. Returns its statement.
pub(super) async fn begin(admin: &Admin, log: Act) -> Result<Option<SignedStatement>, Problem> {
    let statement = log.statement.clone();
    let begun = Act {
        effects: Effects::Following,
        ..log
    };
    let writes = vec![Write::Act(begun)];
    admin.kernel.commit(Priority::Urgent, writes).await?;
    Ok(statement)
}

/// Returns the write that an act which was begun is done, for the job that finishes its effects.
pub(super) fn ended(statement: Option<SignedStatement>, answer: &impl Serialize) -> Option<Write> {
    let answer = Some(bytes(answer));
    let done = |statement| ActOutcome {
        statement,
        outcome: Act::DONE.to_owned(),
        answer,
    };
    statement.map(done).map(Write::ActOutcome)
}

/// Notes how an act ended. The act stands whether or not that can be written.
pub(super) async fn note_outcome(
    admin: &Admin,
    statement: Option<SignedStatement>,
    outcome: String,
    answer: Option<Vec<u8>>,
) {
    let Some(statement) = statement else {
        return;
    };
    let write = Write::ActOutcome(ActOutcome {
        statement,
        outcome,
        answer,
    });
    if let Err(error) = admin.kernel.commit(Priority::Urgent, vec![write]).await {
        tracing::error!(%error, "the end of an act was not noted; the log says that it was begun");
    }
}

/// Notes that an act failed, whether it was begun or nothing of it was logged yet.
pub(super) async fn note_failure(admin: &Admin, log: Act, problem: &Problem) {
    let Some(statement) = log.statement.clone() else {
        return;
    };
    let begun = Act {
        effects: Effects::Following,
        ..log
    };
    let outcome = Write::ActOutcome(ActOutcome {
        statement,
        outcome: format!("failed: {}", problem.in_a_word()),
        answer: None,
    });
    let writes = vec![Write::Act(begun), outcome];
    // An act that was carried out before stays as it is logged.
    if let Err(error) = admin.kernel.commit(Priority::Urgent, writes).await {
        tracing::warn!(%error, "it was not noted that an act failed");
    }
}

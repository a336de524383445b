//! The end of an act in the log: an act whose effect is no single commit is logged as begun, and
//! then as done or failed. An act that was begun and has no end was cut short with the node.

use std::future::Future;

use axum::response::Response;
use portcullis_protocol::statement::SignedStatement;
use portcullis_store::{Act, ActOutcome, Write, writer::Priority};

use crate::{problem::Problem, request::Admin};

/// Logs an act as begun, carries it out, and notes how it ended.
pub(super) async fn logged(
    admin: &Admin,
    log: Act,
    deed: impl Future<Output = Result<Response, Problem>> + Send,
) -> Result<Response, Problem> {
    let statement = begin(admin, log).await?;
    let done = deed.await;
    let outcome = match &done {
        Ok(_) => "done".to_owned(),
        Err(problem) => format!("failed: {}", problem.in_a_word()),
    };
    note_outcome(admin, statement, outcome).await;
    done
}

/// Logs an act as begun. Returns its statement.
pub(super) async fn begin(admin: &Admin, log: Act) -> Result<Option<SignedStatement>, Problem> {
    let statement = log.statement.clone();
    let begun = statement.clone().map(|statement| {
        Write::ActOutcome(ActOutcome {
            statement,
            outcome: "begun".to_owned(),
        })
    });
    let mut writes = vec![Write::Act(log)];
    writes.extend(begun);
    admin.kernel.commit(Priority::Urgent, writes).await?;
    Ok(statement)
}

/// Notes how an act ended. The act stands whether or not that can be written.
pub(super) async fn note_outcome(
    admin: &Admin,
    statement: Option<SignedStatement>,
    outcome: String,
) {
    let Some(statement) = statement else {
        return;
    };
    let write = Write::ActOutcome(ActOutcome { statement, outcome });
    if let Err(error) = admin.kernel.commit(Priority::Urgent, vec![write]).await {
        tracing::error!(%error, "the end of an act was not noted; the log says that it was begun");
    }
}

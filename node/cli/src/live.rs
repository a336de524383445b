//! Requests to the running node: the client, and the exit codes of the node's refusals.

use std::future::Future;

use hyper::StatusCode;

use super::{Session, error::CliError, exit::Exit};
use portcullis_admin_api::{
    client::{Client, ClientError},
    v1::ProblemView,
};
use portcullis_home::Home;

impl Session {
    /// Returns a client of the node that the command line or the environment names.
    ///
    /// # Errors
    ///
    /// [`CliError`] if the command line names no node.
    pub fn client(&self) -> Result<Client, CliError> {
        Ok(Client::new(Home::new(self.home()?).socket()))
    }
}

/// Runs work that speaks to the node.
///
/// # Errors
///
/// [`CliError`] of the work, or if the operating system gives no runtime.
pub fn block_on<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::failed("the operating system gives no runtime").because(&error))?
        .block_on(work)
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(status, problem) => refused(status, *problem),
            ClientError::NotThere(_) => Self::unanswered(error.to_string()).remedy(
                "start it with `portcullis run`, or name another node with `--home DIR` or \
                 `-n NAME`",
            ),
            ClientError::NotAllowed(_) => Self::denied(error.to_string()).remedy(
                "work as the node's user, or join its group and have `admin_access = \"group\"` set",
            ),
            ClientError::Connection(_) | ClientError::Broken(_) => {
                Self::unanswered(error.to_string()).remedy("look at the node's log, then try again")
            }
            ClientError::Unreadable(_) => Self::failed(error.to_string())
                .remedy("use a command line of the node's version: `portcullis --version`"),
        }
    }
}

/// Maps a refusal to its exit code: 403 is a denial; 404 not found; 400, 413 and 422 are invalid input; from 500 on
/// the node cannot do its work; all others are failures.
fn refused(status: StatusCode, problem: ProblemView) -> CliError {
    let exit = match status {
        StatusCode::FORBIDDEN => Exit::Denied,
        StatusCode::NOT_FOUND => Exit::NotFound,
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY => Exit::Invalid,
        status if status.is_server_error() => Exit::Unable,
        _ => Exit::Failed,
    };
    let ProblemView {
        message,
        rule,
        r#do,
        causes,
    } = problem;
    CliError {
        rule,
        causes,
        remedy: r#do,
        ..CliError::new(exit, message)
    }
}

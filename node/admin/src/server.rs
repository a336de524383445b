//! The admin socket: its access mode and the table of routes.
//!
//! The mode of the socket determines who may connect; the signature of an act determines who acts.
//! The uid of the other side, for which the kernel vouches (`SO_PEERCRED`), is logged beside both.

use crate::{
    local::{self, Bounds, WhenFull},
    request::{Admin, InFlight, MOST_ASKED},
};
use portcullis_home::config::SocketAccess;
use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use axum::{
    Extension, Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};
use tokio::net::{UnixListener, UnixStream};

use super::{
    problem::{Problem, ProblemKind},
    routes::{
        acts, consignments, dispatch, forks, hold, names, outcome::ActTurns, peers, preview,
        quarantine, records, register, scores, settings, status, trust, watch,
    },
};

/// Bounds of the socket. Streams of notices last for as long as they are read, and count as well.
const BOUNDS: Bounds = Bounds {
    connections: 64,
    when_full: WhenFull::Wait,
    head: Duration::from_secs(5),
    pause: Duration::from_secs(30),
    whole: None,
};

/// Error of making the admin socket. The operator has to correct it.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another node answers at the path.
    #[error("another node answers at `{}`; stop it first, or give this one a home of its own", .0.display())]
    InUse(PathBuf),
    /// The socket cannot be made.
    #[error("the admin socket `{}` cannot be made: {source}", path.display())]
    Unmade {
        /// Path of the socket.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

/// Makes the socket. It appears under its name with its mode already set. A socket that a stopped
/// node left behind is replaced; one that answers is not.
///
/// # Errors
///
/// [`SocketError`].
pub async fn bind(path: &Path, access: SocketAccess) -> Result<UnixListener, SocketError> {
    if UnixStream::connect(path).await.is_ok() {
        return Err(SocketError::InUse(path.to_owned()));
    }
    let unmade = |source| SocketError::Unmade {
        path: path.to_owned(),
        source,
    };
    let fresh = path.with_extension("sock-new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unmade(error)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&fresh).map_err(unmade)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(access.mode()))
        .and_then(|()| fs::rename(&fresh, path))
        .map_err(unmade)?;
    Ok(listener)
}

/// Removes the socket of a node that stops in order, so that what is left behind tells of one that did not.
pub fn unbind(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::debug!(%error, "the socket stays behind");
    }
}

/// Serves until `shutdown`; `more` are routes that who runs the node adds, which is how a laboratory looks inside.
pub async fn serve(listener: UnixListener, admin: Admin, more: Router<Admin>) {
    let shutdown = admin.shutdown.clone();
    local::serve(listener, router(admin, more), BOUNDS, shutdown).await;
}

fn router(admin: Admin, more: Router<Admin>) -> Router {
    Router::new()
        .route("/v1/status", get(status::status))
        .route("/v1/settings", get(settings::show))
        .route("/v1/check", get(status::check))
        .route("/v1/peers", get(peers::list))
        .route("/v1/persons", get(status::persons))
        .route("/v1/persons/proposals", get(status::proposals))
        .route("/v1/policies", get(status::policies))
        .route("/v1/names", get(names::list))
        .route("/v1/records", post(records::list))
        .route("/v1/records/{prefix}", get(records::show))
        .route("/v1/quarantine", get(quarantine::list))
        .route("/v1/quarantine/items", get(quarantine::items))
        .route("/v1/quarantine/items/{number}", get(quarantine::item))
        .route("/v1/held", get(hold::list))
        .route("/v1/held/after/{number}", get(hold::list_after))
        .route("/v1/held/{prefix}", get(hold::show))
        .route("/v1/dispatch/status", get(dispatch::status))
        .route("/v1/dispatch/undelivered", get(dispatch::undelivered))
        .route("/v1/dispatch/forks", get(forks::list))
        .route("/v1/dispatch/backfill", post(dispatch::preview))
        .route("/v1/watch", get(watch::watch))
        .route("/v1/preview", post(preview::preview))
        .route("/v1/repeated", post(preview::repeated))
        .route("/v1/consignments", post(consignments::list))
        .route("/v1/imports/progress", get(consignments::importing))
        .route("/v1/consignments/{reference}", get(consignments::show))
        .route("/v1/scores/top", post(scores::ranking))
        .route("/v1/scores/top/{limit}", get(scores::top))
        .route("/v1/scores/of/{reference}", get(scores::of))
        .route("/v1/register", post(register::take_up))
        .route("/v1/freshness", post(trust::freshness))
        .route("/v1/suspensions", post(trust::suspension))
        .route("/v1/acts", post(acts::act))
        .merge(more)
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(MOST_ASKED))
        .layer(Extension(InFlight::default()))
        .layer(Extension(ActTurns::default()))
        .with_state(admin)
}

async fn unknown() -> Problem {
    Problem::new(ProblemKind::Unknown, "this node has no such request")
        .remedy("use a command line of the node's version: `portcullis --version`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_is_its_owners_from_the_first_moment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let listener = bind(&path, SocketAccess::Owner).await.unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = bind(&path, SocketAccess::Owner).await;
        assert!(matches!(again, Err(SocketError::InUse(_))));
        drop(listener);
        let after = bind(&path, SocketAccess::Group).await.unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        drop(after);
    }
}

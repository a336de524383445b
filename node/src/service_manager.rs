//! Messages to the service manager that started the node, as systemd's `sd_notify(3)` defines them: the node is ready,
//! reloads, stops, in which state it is, and that it still works.
//!
//! Nothing is sent where no manager listens (`NOTIFY_SOCKET`). A message that cannot be sent is logged and changes
//! nothing else: the manager's own time limit tells of it.

use std::{fmt::Display, sync::Arc, time::Duration};

use portcullis_kernel::{
    Kernel,
    health::{self, Health},
};
use portcullis_store::writer::{Priority, WriterFault, WriterHandle};
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

/// Interval of the messages if the manager asks for no sign of life.
const CALM: Duration = Duration::from_secs(20);

/// Tells that the node reads what it needs before it can serve.
pub(crate) fn starting() {
    tell(&[NotifyState::Status(
        "starting: reads keys, store and register",
    )]);
}

/// Tells that a reload begins. It must end with [`reloaded`].
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[
            NotifyState::Reloading,
            now,
            NotifyState::Status("reloading"),
        ]),
        // A reload without its time would be held for one that never ends.
        Err(error) => {
            tracing::debug!(%error, "the time since the start of the system is not known")
        }
    }
}

/// Tells that a reload has ended, with the error for which nothing was taken up.
pub(crate) fn reloaded(error: Option<&dyn Display>) {
    let status = error.map_or_else(
        || "ok: reloaded".to_owned(),
        |error| format!("nothing was reloaded: {error}"),
    );
    tell(&[NotifyState::Ready, NotifyState::Status(&line(&status))]);
}

/// Tells for which error the node ends.
pub(crate) fn failed(error: &dyn Display) {
    tell(&[NotifyState::Status(&line(&error.to_string()))]);
}

/// Tells that the node is ready, then its state again and again until `shutdown`, and then that it stops. The sign of
/// life that a watchdog waits for is given only after the store's writer has answered, so a node whose writer or whose
/// runtime hangs is started anew. One that answers and cannot work is not: its state says what keeps it from that.
pub(crate) async fn keep(kernel: Arc<Kernel>, shutdown: CancellationToken) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return shutdown.cancelled().await;
    }
    tell(&[NotifyState::Ready, NotifyState::Status("ok")]);
    let pulse = || answer(kernel.writer());
    let state = || async { summary(&health::health_apart(&kernel).await) };
    let watching = watch(interval(sd_notify::watchdog_enabled()), pulse, state, tell);
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = watching => {}
    }
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Returns the interval of the signs of life: a third of the time that the manager waits for one.
fn interval(watchdog: Option<Duration>) -> Duration {
    watchdog.map_or(CALM, |limit| limit / 3)
}

/// Gives a sign of life after each pulse, and tells the state. A pulse that does not come is waited for, without a sign.
async fn watch<P, S>(
    every: Duration,
    pulse: impl Fn() -> P,
    state: impl Fn() -> S,
    tell: impl Fn(&[NotifyState<'_>]),
) where
    P: Future<Output = bool>,
    S: Future<Output = String>,
{
    loop {
        if pulse().await {
            tell(&[NotifyState::Watchdog]);
        }
        tell(&[NotifyState::Status(&state().await)]);
        tokio::time::sleep(every).await;
    }
}

/// Waits until the store's writer has answered. Returns false if it has ended.
async fn answer(writer: &WriterHandle) -> bool {
    match writer.fault() {
        Some(WriterFault::Gone) => false,
        // It answers, with errors. A commit of nothing might succeed and hide them.
        Some(WriterFault::Failing(_)) => true,
        None => {
            // An error is an answer as well.
            drop(writer.commit(Priority::Urgent, Vec::new()).await);
            writer.log_end().has_changed().is_ok()
        }
    }
}

/// Puts the state of the node into a line: what keeps it from its work, or else from a part of it.
fn summary(health: &Health) -> String {
    let Some((first, others)) = health.problems.split_first() else {
        return match health.hindrances.first() {
            None => "ok".to_owned(),
            Some(first) => line(&format!("hindered: {}", first.what)),
        };
    };
    let more = match others.len() {
        0 => String::new(),
        more => format!(" (and {more} more: `portcullis status`)"),
    };
    line(&format!("not ok: {}{more}", first.what))
}

/// Makes one line of a text: a message has one for each thing it tells.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn tell(message: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(message) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use portcullis_kernel::health::{Problem, ProblemKind};

    fn of(problems: &[Problem]) -> Health {
        Health {
            problems: problems.to_vec(),
            hindrances: Vec::new(),
        }
    }

    fn problem(what: &str) -> Problem {
        Problem {
            kind: ProblemKind::Disk,
            what: what.to_owned(),
            remedy: "",
        }
    }

    /// Lists what is told within a moment.
    async fn told<P: Future<Output = bool>>(pulse: impl Fn() -> P) -> Vec<String> {
        let heard = Mutex::new(Vec::new());
        let tell = |message: &[NotifyState<'_>]| {
            let mut heard = heard.lock().unwrap();
            heard.extend(message.iter().map(ToString::to_string));
        };
        let state = || std::future::ready("ok".to_owned());
        let watching = watch(Duration::from_millis(1), pulse, state, tell);
        let limit = Duration::from_millis(100);
        assert!(tokio::time::timeout(limit, watching).await.is_err());
        heard.into_inner().unwrap()
    }

    #[tokio::test]
    async fn a_sign_of_life_is_given_only_after_the_writer_has_answered() {
        let answers = told(|| std::future::ready(true)).await;
        assert!(answers.contains(&"WATCHDOG=1".to_owned()), "{answers:?}");
        assert!(answers.contains(&"STATUS=ok".to_owned()), "{answers:?}");
        assert_eq!(told(std::future::pending).await, Vec::<String>::new());
        let ended = told(|| std::future::ready(false)).await;
        assert!(!ended.contains(&"WATCHDOG=1".to_owned()), "{ended:?}");
    }

    #[test]
    fn three_signs_of_life_fit_into_the_time_of_the_watchdog() {
        assert_eq!(
            interval(Some(Duration::from_secs(60))),
            Duration::from_secs(20)
        );
        assert_eq!(interval(None), CALM);
    }

    #[test]
    fn the_state_is_one_line_that_names_the_first_problem_and_counts_the_others() {
        assert_eq!(summary(&of(&[])), "ok");
        assert_eq!(
            summary(&of(&[problem("the disk\nruns full")])),
            "not ok: the disk runs full"
        );
        let both = summary(&of(&[problem("one"), problem("two")]));
        assert!(both.starts_with("not ok: one (and 1 more"), "{both}");
        let hindered = Health {
            problems: Vec::new(),
            hindrances: vec![problem("a peer is blocked")],
        };
        assert_eq!(summary(&hindered), "hindered: a peer is blocked");
    }
}

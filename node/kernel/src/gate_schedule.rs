//! Keeper of the gates. It moves them when time, the register or a statement moves, and renews the
//! freshness statement on a node that is trusted to do so.

use crate::{
    Kernel, OfferError,
    outlook::{Dependency, Subject, Urgency},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use portcullis_protocol::{
    freshness::{Freshness, SignedFreshness, Stage},
    keys::SigningKey,
    time::Timestamp,
    verify::Refusal,
};
use tokio_util::sync::CancellationToken;

/// Longest wait between two looks at the gates. It holds even if the next change is later, because
/// the clock may have been set.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A loaded freshness key, and its interval.
#[derive(Debug)]
pub struct Renewal {
    /// The freshness key.
    pub key: SigningKey,
    /// Interval between renewals.
    pub every: Duration,
}

/// Keeps the gates up to date until `shutdown`.
pub async fn run(kernel: Arc<Kernel>, shutdown: CancellationToken) {
    let mut deciders = kernel.deciders();
    // A statement taken up meanwhile has an end of its own to wait for.
    let mut gates = kernel.watch_gates();
    let mut reminder = Reminder::default();
    let mut keys = kernel.keys_in_use();
    loop {
        keys = kernel.tell_key_switches(keys).await;
        let before = kernel.gates().stage;
        kernel.move_gates();
        tell(before, kernel.gates().stage);
        // Reading the time here notices a step of the clock on an idle node as well.
        let (dependencies, now) = (kernel.dependencies(), kernel.now());
        kernel.metrics().show_ends(&dependencies, now);
        for one in reminder.due(&dependencies, now) {
            remind(one, now);
        }
        let wait = kernel.next_gate_change().map_or(LONGEST_WAIT, |time| {
            let millis = time.millis_since(kernel.now()).max(1);
            Duration::from_millis(u64::try_from(millis).unwrap_or(1)).min(LONGEST_WAIT)
        });
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
            changed = gates.changed() => if changed.is_err() { return },
            changed = deciders.changed() => if changed.is_err() { return },
        }
    }
}

/// Warnings given, with their times. Each is repeated at most once a day.
#[derive(Debug, Default)]
struct Reminder(BTreeMap<Subject, Timestamp>);

impl Reminder {
    const EVERY_MS: i64 = 24 * 3_600_000;

    /// Returns the dependencies to warn of now.
    fn due<'a>(&mut self, all: &'a [Dependency], now: Timestamp) -> Vec<&'a Dependency> {
        let soon = |one: &&Dependency| one.urgency(now) != Urgency::Later;
        let ending: Vec<&Dependency> = all.iter().filter(soon).collect();
        self.0
            .retain(|subject, _| ending.iter().any(|one| one.subject == *subject));
        let untold = |one: &&Dependency| {
            let told = self.0.get(&one.subject);
            // A warning of the future was given by a clock that has been set back since.
            told.is_none_or(|told| !(0..Self::EVERY_MS).contains(&now.millis_since(*told)))
        };
        let due: Vec<&Dependency> = ending.into_iter().filter(untold).collect();
        let told = due.iter().map(|one| (one.subject.clone(), now));
        self.0.extend(told);
        due
    }
}

fn remind(one: &Dependency, now: Timestamp) {
    tracing::warn!(
        what = %one.subject,
        ends = %one.ends,
        left = one.left(now),
        then = one.stops(),
        advice = one.remedy(),
        "something ends soon"
    );
}

fn tell(before: Stage, after: Stage) {
    if before.name() == after.name() {
        return;
    }
    match after {
        Stage::Unused | Stage::Fresh(_) => tracing::info!(stage = after.name(), "register"),
        Stage::Ending(until) => tracing::warn!(
            %until,
            "no new freshness statement came in the last day; see `portcullis status`"
        ),
        Stage::Stale(since) => tracing::warn!(
            %since,
            "nobody has said since then that the register is the newest; see to a connection with any member"
        ),
        Stage::BulkStopped(since) => tracing::error!(
            %since,
            "the register is not fresh for more than seven days: bulk records are not released"
        ),
    }
}

/// Signs a freshness statement for each new register, and at every interval, until `shutdown`.
pub async fn renew(kernel: Arc<Kernel>, renewal: Renewal, shutdown: CancellationToken) {
    let mut deciders = kernel.deciders();
    loop {
        if let Err(error) = sign(&kernel, &renewal.key).await {
            tracing::warn!(%error, "the freshness statement was not renewed");
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(renewal.every) => {}
            changed = deciders.changed() => if changed.is_err() { return },
        }
    }
}

async fn sign(kernel: &Arc<Kernel>, key: &SigningKey) -> Result<(), OfferError> {
    let decider = kernel.decider();
    let freshness = Freshness::of(decider.verified_register(), kernel.now());
    let mut statement = SignedFreshness::unsigned(&freshness);
    statement.sign(key).map_err(|error| {
        Refusal::new(
            portcullis_protocol::rules::Rule::FreshnessSignatures,
            error.to_string(),
        )
    })?;
    kernel.offer_freshness(&statement.encode()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_peering::term::Term;

    #[test]
    fn what_ends_soon_is_said_once_a_day_and_no_more_once_it_is_renewed() {
        const HOUR: i64 = 3_600_000;
        let start = Timestamp::from_millis(1_772_366_400_000);
        let ends = |hours: i64| {
            let until = start.plus_millis(hours * HOUR);
            let since = until.plus_millis(-365 * 24 * HOUR);
            [Dependency::lasting(
                Subject::Certificate,
                Term { since, until },
            )]
        };
        let mut reminder = Reminder::default();
        let mut told = |left: i64, at: i64| {
            let all = ends(left);
            reminder.due(&all, start.plus_millis(at * HOUR)).len()
        };
        assert_eq!(told(24 * 31, 0), 0);
        assert_eq!(told(24 * 30, 0), 1);
        assert_eq!(told(24 * 30, 23), 0);
        assert_eq!(told(24 * 30, 24), 1);
        assert_eq!(told(24 * 30, 25), 0);
        // The clock was set back by a year.
        assert_eq!(told(24 * 30 - 24 * 365, 25 - 24 * 365), 1);
        assert_eq!(told(24 * 30, 25), 1);
        // The dependency is renewed, and much later is near its end again.
        assert_eq!(told(24 * 90, 26), 0);
        assert_eq!(told(24, 27), 1);
    }
}

//! Moves the gates when time, the register or a statement moves, and renews freshness where this
//! node is trusted to.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use portcullis_protocol::{
    freshness::{Freshness, SignedFreshness, Stage},
    identifiers::AuthorityId,
    keys::SigningKey,
    verify::Refusal,
};
use portcullis_protocol::{gossip::Standing, time::Timestamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Gates,
    state::{Change, TrustState},
};
use crate::{
    core::Core,
    outlook::{Dependency, Subject, Term, Urgency, ending_keys, freshness_ends, in_order},
    store::{StoreError, Write, writer::Priority},
};

/// Looked at so often, whatever is said of the next change: the clock may have been set.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The state, and the gates that were computed from it last.
#[derive(Debug)]
pub(crate) struct Gatekeeper {
    /// Guards the state for the moment in which it is copied or replaced.
    state: Mutex<TrustState>,
    gates: watch::Sender<Arc<Gates>>,
    /// Guards nothing but the order of changes, each of which is kept before it counts.
    turn: tokio::sync::Mutex<()>,
}

impl Default for Gatekeeper {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            gates: watch::Sender::new(Arc::default()),
            turn: tokio::sync::Mutex::default(),
        }
    }
}

impl Gatekeeper {
    pub(crate) fn gates(&self) -> Arc<Gates> {
        Arc::clone(&self.gates.borrow())
    }

    fn state(&self) -> TrustState {
        let state = self.state.lock();
        state.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, state: TrustState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// How a node renews the freshness statement by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewalSettings {
    /// The file of the freshness key.
    pub key: PathBuf,
    /// The file with its passphrase.
    pub passphrase_file: PathBuf,
    /// How often.
    pub every: Duration,
}

/// A freshness key at hand, and how often it speaks.
#[derive(Debug)]
pub struct Renewal {
    /// The key.
    pub key: SigningKey,
    /// How often.
    pub every: Duration,
}

/// Why what was offered is not taken up.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// It is refused.
    #[error("{}: {}; {}", .0.rule, .0.detail, .0.rule.remedy())]
    Refused(#[from] Refusal),
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keeps the gates where they belong until `shutdown`.
pub async fn run(core: Arc<Core>, shutdown: CancellationToken) {
    let mut deciders = core.deciders();
    // What is taken up meanwhile has an end of its own to wait for.
    let mut gates = core.watch_gates();
    let mut reminder = Reminder::default();
    loop {
        let before = core.gates().stage;
        core.move_gates();
        tell(before, core.gates().stage);
        // The look at the time notices a step of the clock on an idle node as well.
        let (dependencies, now) = (core.dependencies(), core.now());
        core.metrics().show_ends(&dependencies, now);
        for one in reminder.due(&dependencies, now) {
            remind(one, now);
        }
        let wait = core.next_gate_change().map_or(LONGEST_WAIT, |time| {
            let millis = time.millis_since(core.now()).max(1);
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

/// What was warned of, and when: once a day each.
#[derive(Debug, Default)]
struct Reminder(BTreeMap<Subject, Timestamp>);

impl Reminder {
    const EVERY_MS: i64 = 24 * 3_600_000;

    /// What is to be warned of now.
    fn due<'a>(&mut self, all: &'a [Dependency], now: Timestamp) -> Vec<&'a Dependency> {
        let soon = |one: &&Dependency| one.urgency(now) != Urgency::Later;
        let ending: Vec<&Dependency> = all.iter().filter(soon).collect();
        self.0
            .retain(|subject, _| ending.iter().any(|one| one.subject == *subject));
        let untold = |one: &&Dependency| {
            let told = self.0.get(&one.subject);
            told.is_none_or(|told| now.millis_since(*told) >= Self::EVERY_MS)
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

/// Signs the freshness of each new register, and again and again, until `shutdown`.
pub async fn renew(core: Arc<Core>, renewal: Renewal, shutdown: CancellationToken) {
    let mut deciders = core.deciders();
    loop {
        if let Err(error) = sign(&core, &renewal.key).await {
            tracing::warn!(%error, "the freshness statement was not renewed");
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(renewal.every) => {}
            changed = deciders.changed() => if changed.is_err() { return },
        }
    }
}

async fn sign(core: &Arc<Core>, key: &SigningKey) -> Result<(), OfferError> {
    let decider = core.decider();
    let freshness = Freshness::of(decider.verified_register(), core.now());
    let mut statement = SignedFreshness::unsigned(&freshness);
    statement.sign(key).map_err(|error| {
        Refusal::new(
            portcullis_protocol::rules::Rule::FreshnessSignatures,
            error.to_string(),
        )
    })?;
    core.offer_freshness(&statement.encode()).await?;
    Ok(())
}

impl Core {
    /// Reads what was kept about trust and closes what it closes. Called once, at the start.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn restore_gates(&self) -> Result<(), StoreError> {
        let decider = self.decider();
        let rows = self.store().facts()?;
        let state = TrustState::load(&rows, decider.verified_register(), self.now());
        self.gatekeeper().replace(state);
        self.move_gates();
        Ok(())
    }

    /// What this node depends on that comes to an end by itself, the nearest first.
    #[must_use]
    pub fn dependencies(&self) -> Vec<Dependency> {
        let (decider, now) = (self.decider(), self.now());
        let (register, me) = (decider.register(), self.me());
        let trust = self.trust().current();
        let mut lists: BTreeMap<&AuthorityId, Term> = BTreeMap::new();
        let mut all = vec![Dependency::lasting(
            Subject::Certificate,
            self.identity().certificate().term(),
        )];
        for (node, terms) in trust.terms() {
            all.push(Dependency::lasting(
                Subject::Anchor(node.clone()),
                terms.anchor,
            ));
            if let (Some((authority, _)), Some(term)) = (register.node(node), terms.list) {
                let first = lists.entry(&authority.id).or_insert(term);
                if term.until < first.until {
                    *first = term;
                }
            }
        }
        let lists = lists.into_iter();
        all.extend(lists.map(|(authority, term)| {
            Dependency::lasting(Subject::RevocationList(authority.clone()), term)
        }));
        let seen = self.trust().seen().into_iter();
        let others = seen.filter(|(node, _)| *node != me.node);
        all.extend(
            others.map(|(node, term)| Dependency::lasting(Subject::PeerCertificate(node), term)),
        );
        if let Some((_, own)) = register.node(&me.node) {
            all.extend(ending_keys(own, now));
        }
        all.extend(freshness_ends(self.gates().stage));
        in_order(all)
    }

    /// Watches the gates.
    #[must_use]
    pub fn watch_gates(&self) -> watch::Receiver<Arc<Gates>> {
        self.gatekeeper().gates.subscribe()
    }

    /// Computes the gates anew, and cuts the connections that they cut.
    pub fn move_gates(&self) {
        let decider = self.decider();
        let state = self.gatekeeper().state();
        let gates = state.gates(decider.verified_register(), self.now());
        self.trust().cut(gates.cuts(decider.register()));
        self.gatekeeper().gates.send_if_modified(|present| {
            let moved = **present != gates;
            if moved {
                *present = Arc::new(gates);
            }
            moved
        });
    }

    /// What the gates are computed from.
    #[must_use]
    pub fn trust_state(&self) -> TrustState {
        self.gatekeeper().state()
    }

    /// What this node has, to be compared with what a member has.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let decider = self.decider();
        self.trust_state()
            .standing(decider.verified_register(), self.now())
    }

    fn next_gate_change(&self) -> Option<Timestamp> {
        let decider = self.decider();
        self.trust_state()
            .next_change(decider.verified_register(), self.now())
    }

    /// Takes up a freshness statement, whoever brought it; `true` if it is newer.
    ///
    /// # Errors
    ///
    /// [`OfferError`].
    pub async fn offer_freshness(&self, bytes: &[u8]) -> Result<bool, OfferError> {
        let _turn = self.gatekeeper().turn.lock().await;
        let decider = self.decider();
        let change =
            self.trust_state()
                .with_freshness(bytes, decider.verified_register(), self.now())?;
        Ok(self.change(change, Vec::new()).await?)
    }

    /// Takes up a suspension, whoever brought it; `true` if it was not known.
    ///
    /// # Errors
    ///
    /// [`OfferError`].
    pub async fn offer_suspension(&self, bytes: &[u8]) -> Result<bool, OfferError> {
        let _turn = self.gatekeeper().turn.lock().await;
        let decider = self.decider();
        let change =
            self.trust_state()
                .with_suspension(bytes, decider.verified_register(), self.now())?;
        Ok(self.change(change, Vec::new()).await?)
    }

    /// Changes the state as `make` says, in one commit with `beside`, and moves the gates.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; nothing was changed then.
    pub async fn change_gates(
        &self,
        make: impl FnOnce(&TrustState) -> Change + Send,
        beside: Vec<Write>,
    ) -> Result<(), StoreError> {
        let _turn = self.gatekeeper().turn.lock().await;
        let change = make(&self.trust_state());
        self.change(Some(change), beside).await.map(drop)
    }

    async fn change(&self, change: Option<Change>, beside: Vec<Write>) -> Result<bool, StoreError> {
        let Some(Change { facts, state }) = change else {
            return Ok(false);
        };
        let mut writes = beside;
        writes.extend(facts.into_iter().map(Write::Fact));
        self.commit(Priority::Urgent, writes).await?;
        self.gatekeeper().replace(state);
        self.move_gates();
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // Renewed, and much later near its end again.
        assert_eq!(told(24 * 90, 26), 0);
        assert_eq!(told(24, 27), 1);
    }
}

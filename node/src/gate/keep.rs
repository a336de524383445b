//! Moves the gates when time, the register or a statement moves, and renews freshness where this
//! node is trusted to.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use portcullis_protocol::{
    freshness::{Freshness, SignedFreshness, Stage},
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
    loop {
        let before = core.gates().stage;
        core.move_gates();
        tell(before, core.gates().stage);
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

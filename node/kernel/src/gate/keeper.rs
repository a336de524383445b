//! The state of the gates in memory, the gates computed from it last, and the order of changes.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::{Gates, state::GateState};

/// The trust state, and the gates last computed from it.
#[derive(Debug)]
pub(crate) struct Gatekeeper {
    /// Locked only while the state is copied or replaced.
    state: Mutex<GateState>,
    pub(crate) gates: watch::Sender<Arc<Gates>>,
    /// Guards only the order of changes. Each change is stored before it takes effect.
    pub(crate) turn: tokio::sync::Mutex<()>,
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

    pub(crate) fn state(&self) -> GateState {
        let state = self.state.lock();
        state.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the state by what `change` makes of it, if it makes anything.
    pub(crate) fn forget(&self, change: impl FnOnce(&GateState) -> Option<GateState>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(changed) = change(&state) {
            *state = changed;
        }
    }

    pub(crate) fn replace(&self, state: GateState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

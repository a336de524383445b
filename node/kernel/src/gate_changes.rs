//! Gates move: when time, the register or a statement moves, each change durable before it counts.

use std::{collections::BTreeMap, sync::Arc};

use portcullis_protocol::{
    gossip::Standing, identifiers::AuthorityId, time::Timestamp, verify::Refusal,
};
use tokio::sync::watch;

use super::Kernel;
use crate::{
    gate::{
        Gates,
        state::{Change, GateState},
    },
    outlook::{Dependency, Subject, ending_keys, freshness_ends, in_order},
};
use portcullis_peering::term::Term;
use portcullis_store::{StoreError, Write, writer::Priority};

/// Reason for which an offered statement is not taken up.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// The statement is refused.
    #[error("{}: {}; {}", .0.rule, .0.detail, .0.rule.remedy())]
    Refused(#[from] Refusal),
    /// The statement could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Kernel {
    /// Reads the stored trust state and closes gates accordingly. Called once, at the start.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the facts cannot be read.
    pub fn restore_gates(&self) -> Result<(), StoreError> {
        let decider = self.decider();
        let rows = self.store().facts()?;
        let state = GateState::load(&rows, decider.verified_register(), self.now());
        self.gatekeeper().replace(state);
        self.move_gates();
        Ok(())
    }

    /// Lists the dependencies of this node that end by themselves, the nearest end first.
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

    /// Subscribes to changes of the gates.
    #[must_use]
    pub fn watch_gates(&self) -> watch::Receiver<Arc<Gates>> {
        self.gatekeeper().gates.subscribe()
    }

    /// Computes the gates anew, and cuts the connections that they no longer allow.
    pub fn move_gates(&self) {
        let decider = self.decider();
        self.gatekeeper()
            .forget(|state| state.without_the_future(self.now()));
        let state = self.gatekeeper().state();
        let gates = Gates {
            shut: self.acceptance().is_shut || self.facts_are_damaged(),
            ..state.gates(decider.verified_register(), self.now())
        };
        self.trust().cut(gates.cuts(decider.register()));
        self.gatekeeper().gates.send_if_modified(|present| {
            let moved = **present != gates;
            if moved {
                *present = Arc::new(gates);
            }
            moved
        });
    }

    /// Returns the trust state from which the gates are computed.
    #[must_use]
    pub fn gate_state(&self) -> GateState {
        self.gatekeeper().state()
    }

    /// Returns the trust data of this node, for comparison with a member's.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let decider = self.decider();
        self.gate_state()
            .standing(decider.verified_register(), self.now())
    }

    /// The next time at which the gates change by themselves.
    #[must_use]
    pub fn next_gate_change(&self) -> Option<Timestamp> {
        let decider = self.decider();
        self.gate_state()
            .next_change(decider.verified_register(), self.now())
    }

    /// Takes up a freshness statement from any bearer. Returns `true` if it is newer than the one
    /// held.
    ///
    /// # Errors
    ///
    /// [`OfferError`] if it is refused or cannot be stored.
    pub async fn offer_freshness(&self, bytes: &[u8]) -> Result<bool, OfferError> {
        let _turn = self.gatekeeper().turn.lock().await;
        let decider = self.decider();
        let change =
            self.gate_state()
                .with_freshness(bytes, decider.verified_register(), self.now())?;
        Ok(self.change(change, Vec::new()).await?)
    }

    /// Takes up a suspension from any bearer. Returns `true` if it was not known.
    ///
    /// # Errors
    ///
    /// [`OfferError`] if it is refused or cannot be stored.
    pub async fn offer_suspension(&self, bytes: &[u8]) -> Result<bool, OfferError> {
        let _turn = self.gatekeeper().turn.lock().await;
        let decider = self.decider();
        let change =
            self.gate_state()
                .with_suspension(bytes, decider.verified_register(), self.now())?;
        Ok(self.change(change, Vec::new()).await?)
    }

    /// Applies the change that `make` returns, in one commit with the writes in `beside`, and moves
    /// the gates.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the commit fails; nothing is changed then.
    pub async fn change_gates(
        &self,
        make: impl FnOnce(&GateState) -> Change + Send,
        beside: Vec<Write>,
    ) -> Result<(), StoreError> {
        let _turn = self.gatekeeper().turn.lock().await;
        let change = make(&self.gate_state());
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

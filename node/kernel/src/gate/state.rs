//! Trust state from which the gates are computed: freshness, suspensions, blocks and stops. It is
//! kept in the store.
//!
//! Statements that members offer are verified before they are stored. Stored statements are
//! verified again when the node starts; one that no longer holds is left out with a line in the
//! log.

use std::collections::BTreeSet;

use bytes::Bytes;
use portcullis_protocol::{
    freshness::{
        BULK_AFTER_MS, SignedFreshness, Stage, VerifiedFreshness, WARN_BEFORE_MS, fresh_until,
    },
    gossip::Standing,
    identifiers::NodeId,
    register::VerifiedRegister,
    suspension::{Offered, Suspensions, VerifiedSuspension},
    time::Timestamp,
    verify::Refusal,
};

use super::{Gates, Stops};
use portcullis_store::{Fact, FactKind, FactRow};

/// Subject of a stop for everyone. No node can have this name.
pub const EVERYONE: &str = "*";

/// Freshness, suspensions, blocks and stops.
#[derive(Debug, Clone, Default)]
pub struct GateState {
    freshness: Option<VerifiedFreshness>,
    suspensions: Suspensions,
    blocked: BTreeSet<NodeId>,
    stops: Stops,
}

/// A change of the state: the facts to write, and the resulting state.
#[derive(Debug)]
pub struct Change {
    /// Facts to write.
    pub facts: Vec<Fact>,
    /// State after the change.
    pub state: GateState,
}

impl GateState {
    /// Reads the state from the stored facts.
    #[must_use]
    pub fn load(rows: &[FactRow], register: &VerifiedRegister, now: Timestamp) -> Self {
        let mut state = Self::default();
        for row in rows {
            if let Err(refusal) = state.restore(row, register, now) {
                let (kind, subject) = (row.kind.name(), &row.subject);
                tracing::warn!(kind, subject, %refusal, "what was kept does not hold any more");
            }
        }
        state
    }

    fn restore(
        &mut self,
        row: &FactRow,
        register: &VerifiedRegister,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        match row.kind {
            FactKind::Freshness => {
                let signed = SignedFreshness::decode(&row.content)?;
                self.freshness = Some(signed.verify(register, now)?);
            }
            FactKind::Suspension => {
                self.suspensions
                    .restore(&row.content, register.register())?;
            }
            FactKind::Block => self.blocked.extend(row.subject.parse()),
            FactKind::Stop if row.subject == EVERYONE => self.stops.all = true,
            FactKind::Stop => self.stops.peers.extend(row.subject.parse()),
        }
        Ok(())
    }

    /// Computes the gates at `now`.
    #[must_use]
    pub fn gates(&self, register: &VerifiedRegister, now: Timestamp) -> Gates {
        Gates {
            blocked: self.blocked.clone(),
            stops: self.stops.clone(),
            suspended: self.suspensions.in_force(register.register(), now),
            stage: Stage::at(fresh_until(register, self.freshness.as_ref()), now),
        }
    }

    /// Returns the next time at which the gates change by the passing of time alone.
    #[must_use]
    pub fn next_change(&self, register: &VerifiedRegister, now: Timestamp) -> Option<Timestamp> {
        let ends = self.suspensions.all().map(|held| held.suspension().until);
        let steps = fresh_until(register, self.freshness.as_ref())
            .into_iter()
            .flat_map(|until| {
                [-WARN_BEFORE_MS, 0, BULK_AFTER_MS].map(|step| until.plus_millis(step))
            });
        ends.chain(steps).filter(|time| *time > now).min()
    }

    /// Returns the trust data of this node, for comparison with a member's.
    #[must_use]
    pub fn standing(&self, register: &VerifiedRegister, now: Timestamp) -> Standing {
        let present = register.register();
        Standing {
            federation: present.federation.clone(),
            epoch: present.epoch,
            register: register.digest(),
            freshness_issued: self
                .current_freshness(register)
                .map(|held| held.freshness().issued_at),
            suspensions: self.suspensions.digest(present, now),
        }
    }

    /// Returns the freshness statement, if it is for this very register.
    #[must_use]
    pub fn current_freshness(&self, register: &VerifiedRegister) -> Option<&VerifiedFreshness> {
        let held = self.freshness.as_ref()?;
        (held.freshness().register == register.digest()).then_some(held)
    }

    /// Lists the suspensions that another node may still take up, encoded.
    #[must_use]
    pub fn current_suspensions(&self, register: &VerifiedRegister, now: Timestamp) -> Vec<Bytes> {
        self.suspensions
            .current(register.register(), now)
            .map(|held| held.encoded().clone())
            .collect()
    }

    /// Takes up a freshness statement if it is newer than the one held. Returns `None` if it is
    /// not.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under FR-01 to FR-05.
    pub fn with_freshness(
        &self,
        bytes: &[u8],
        register: &VerifiedRegister,
        now: Timestamp,
    ) -> Result<Option<Change>, Refusal> {
        let offered = SignedFreshness::decode(bytes)?.verify(register, now)?;
        let newer = self
            .current_freshness(register)
            .is_none_or(|held| held.freshness().issued_at < offered.freshness().issued_at);
        if !newer {
            return Ok(None);
        }
        let fact = Fact {
            kind: FactKind::Freshness,
            subject: String::new(),
            content: Some(offered.signed().encode()),
            at: now,
        };
        Ok(Some(Change {
            facts: vec![fact],
            state: Self {
                freshness: Some(offered),
                ..self.clone()
            },
        }))
    }

    /// Takes up a suspension. Returns `None` if it is held already.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under SU-01 to SU-05.
    pub fn with_suspension(
        &self,
        bytes: &[u8],
        register: &VerifiedRegister,
        now: Timestamp,
    ) -> Result<Option<Change>, Refusal> {
        let mut state = self.clone();
        state.suspensions.forget_spent(register.register(), now);
        if state.suspensions.offer(bytes, register.register(), now)? == Offered::Known {
            return Ok(None);
        }
        let kept: Vec<(String, Vec<u8>)> = state
            .suspensions
            .all()
            .map(|held| (slot(held), held.encoded().to_vec()))
            .collect();
        let forgotten = self
            .suspensions
            .all()
            .map(slot)
            .filter(|name| !kept.iter().any(|(kept, _)| kept == name))
            .map(|subject| (subject, None))
            .collect::<Vec<_>>();
        let facts = kept
            .into_iter()
            .map(|(subject, content)| (subject, Some(content)))
            .chain(forgotten)
            .map(|(subject, content)| Fact {
                kind: FactKind::Suspension,
                subject,
                content,
                at: now,
            })
            .collect();
        Ok(Some(Change { facts, state }))
    }

    /// Blocks a node, or admits it again.
    #[must_use]
    pub fn with_block(&self, peer: &NodeId, switch: Switch, now: Timestamp) -> Change {
        let mut state = self.clone();
        match switch {
            Switch::Close => state.blocked.insert(peer.clone()),
            Switch::Open => state.blocked.remove(peer),
        };
        Change {
            facts: vec![switch.fact(FactKind::Block, peer.as_str(), now)],
            state,
        }
    }

    /// Stops release to a node or to everyone, or resumes it.
    #[must_use]
    pub fn with_stop(&self, whom: &Whom, switch: Switch, now: Timestamp) -> Change {
        let mut state = self.clone();
        let subject = match (whom, switch) {
            (Whom::Everyone, _) => {
                state.stops.all = switch == Switch::Close;
                EVERYONE
            }
            (Whom::Peer(peer), Switch::Close) => {
                state.stops.peers.insert(peer.clone());
                peer.as_str()
            }
            (Whom::Peer(peer), Switch::Open) => {
                state.stops.peers.remove(peer);
                peer.as_str()
            }
        };
        Change {
            facts: vec![switch.fact(FactKind::Stop, subject, now)],
            state,
        }
    }
}

/// Names the slot of a suspension in the store: key, authority and epoch.
fn slot(held: &VerifiedSuspension) -> String {
    let suspension = held.suspension();
    format!(
        "{}/{}/{}",
        held.key(),
        suspension.authority,
        suspension.epoch
    )
}

/// Direction in which a gate is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// The gate closes.
    Close,
    /// The gate opens, as if it had not been closed.
    Open,
}

impl Switch {
    fn fact(self, kind: FactKind, subject: &str, at: Timestamp) -> Fact {
        Fact {
            kind,
            subject: subject.to_owned(),
            content: match self {
                Self::Close => Some(Vec::new()),
                Self::Open => None,
            },
            at,
        }
    }
}

/// Receiver of a stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// Every member.
    Everyone,
    /// One node.
    Peer(NodeId),
}

impl std::fmt::Display for Whom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Everyone => f.write_str("all"),
            Self::Peer(peer) => peer.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_protocol::{
        frame::Lane, keys::KeyUse, suspension::Suspension, suspension::encode,
    };

    use super::*;
    use portcullis_testbed as testbed;
    use portcullis_testbed::{NOW, key};

    const HOUR: i64 = 3_600_000;

    /// Returns the rows that the store would give back.
    fn rows(facts: Vec<Fact>) -> Vec<FactRow> {
        facts
            .into_iter()
            .filter_map(|fact| {
                Some(FactRow {
                    kind: fact.kind,
                    subject: fact.subject,
                    content: fact.content?,
                    at: fact.at,
                })
            })
            .collect()
    }

    fn suspension(hours: i64) -> Vec<u8> {
        let suspension = Suspension {
            federation: "test".parse().unwrap(),
            authority: "antwerp".parse().unwrap(),
            epoch: 1,
            from: NOW,
            until: NOW.plus_millis(hours * HOUR),
            reason: String::new(),
        };
        encode(&suspension.sign(&key(9, KeyUse::Governance)).unwrap())
    }

    #[test]
    fn a_suspension_is_taken_up_kept_and_ends_by_itself() {
        let register = testbed::register();
        let before = GateState::default();
        let change = before
            .with_suspension(&suspension(2), &register, NOW)
            .unwrap()
            .unwrap();
        let after = change.state;
        let antwerp = "antwerp".parse().unwrap();
        assert!(after.gates(&register, NOW).suspended.contains_key(&antwerp));
        let end = NOW.plus_millis(2 * HOUR);
        assert_eq!(after.next_change(&register, NOW), Some(end));
        assert!(after.gates(&register, end).suspended.is_empty());
        let again = after.with_suspension(&suspension(2), &register, NOW);
        assert!(again.unwrap().is_none());
        let restored = GateState::load(&rows(change.facts), &register, NOW);
        assert_eq!(restored.gates(&register, NOW), after.gates(&register, NOW));
        assert_ne!(
            after.standing(&register, NOW).suspensions,
            before.standing(&register, NOW).suspensions
        );
        // Once it has ended nobody can take it up, so it is not counted as missing.
        assert_eq!(
            after.standing(&register, end).suspensions,
            before.standing(&register, end).suspensions
        );
    }

    #[test]
    fn su_05_a_key_that_has_used_its_turn_is_refused_after_the_end_and_a_restart() {
        let register = testbed::register();
        let change = GateState::default()
            .with_suspension(&suspension(1), &register, NOW)
            .unwrap()
            .unwrap();
        let later = NOW.plus_millis(2 * HOUR);
        let restored = GateState::load(&rows(change.facts), &register, later);
        let refused = restored.with_suspension(&suspension(3), &register, later);
        assert_eq!(refused.unwrap_err().rule.id(), "SU-05");
    }

    #[test]
    fn what_was_kept_damaged_is_left_out() {
        let register = testbed::register();
        let row = |kind, content: &[u8]| FactRow {
            kind,
            subject: String::new(),
            content: content.to_vec(),
            at: NOW,
        };
        let rows = [
            row(FactKind::Freshness, &[0xff]),
            row(FactKind::Suspension, &suspension(1)[1..]),
        ];
        let state = GateState::load(&rows, &register, NOW);
        assert_eq!(state.gates(&register, NOW), Gates::default());
    }

    #[test]
    fn blocks_and_stops_hold_through_a_restart_until_they_are_lifted() {
        let register = testbed::register();
        let hub: NodeId = "hub-1".parse().unwrap();
        let blocked = GateState::default().with_block(&hub, Switch::Close, NOW);
        let stopped = blocked.state.with_stop(&Whom::Everyone, Switch::Close, NOW);
        let facts = rows([blocked.facts, stopped.facts].concat());
        let restored = GateState::load(&facts, &register, NOW);
        let gates = restored.gates(&register, NOW);
        assert_eq!(gates, stopped.state.gates(&register, NOW));
        assert!(gates.blocked.contains(&hub) && gates.stops.all);
        let opened = restored.with_block(&hub, Switch::Open, NOW).state;
        let resumed = opened.with_stop(&Whom::Everyone, Switch::Open, NOW);
        assert_eq!(resumed.state.gates(&register, NOW), Gates::default());
        assert!(resumed.facts.iter().all(|fact| fact.content.is_none()));
        let one = Whom::Peer(hub.clone());
        let stopped = opened.with_stop(&one, Switch::Close, NOW).state;
        let closed = stopped.gates(&register, NOW);
        let hub_authority = "hub".parse().unwrap();
        // The stop of everyone is still on in `opened`, and lifting it leaves the stop of the hub.
        let resumed = stopped.with_stop(&Whom::Everyone, Switch::Open, NOW).state;
        assert!(closed.stops.all);
        let left = resumed.gates(&register, NOW);
        assert!(left.closed(&hub_authority, &hub, Lane::Urgent).is_some());
        let antwerp = ("antwerp".parse().unwrap(), "antwerp-1".parse().unwrap());
        assert_eq!(left.closed(&antwerp.0, &antwerp.1, Lane::Urgent), None);
    }
}

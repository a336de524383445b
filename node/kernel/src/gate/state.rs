//! Trust state from which the gates are computed: freshness, suspensions, blocks and stops. It is
//! kept in the store.
//!
//! Statements that members offer are verified before they are stored. Stored statements are
//! verified again when the node starts. A freshness statement that no longer holds is left out with
//! a line in the log. What closes stays closed when its row is damaged, as widely as the damage
//! leaves open whom it was for:
//!
//! | damaged | closed |
//! |---|---|
//! | stop | release to everyone, until somebody resumes |
//! | block | every node, until each is unblocked |
//! | suspension of an authority | that authority, for as long as a suspension can last |
//! | suspension of nobody knows whom | release to everyone |

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use portcullis_protocol::{
    freshness::{
        BULK_AFTER_MS, SignedFreshness, Stage, VerifiedFreshness, WARN_BEFORE_MS, fresh_until,
    },
    gossip::Standing,
    identifiers::{AuthorityId, NodeId},
    register::{Register, VerifiedRegister},
    suspension::{MAX_SUSPENSION_MS, Offered, Suspensions, VerifiedSuspension},
    time::Timestamp,
    verify::{MAX_CLOCK_AHEAD_MS, Refusal},
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
    /// Authorities whose suspension is damaged, with the latest end it can have.
    unread: BTreeMap<AuthorityId, Timestamp>,
    damaged: Vec<Damaged>,
}

/// Row of the store that closes something and does not say what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Kind of the fact.
    pub kind: FactKind,
    /// Subject as it was found.
    pub subject: String,
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
            match row.kind {
                FactKind::Freshness => {
                    let signed = SignedFreshness::decode(&row.content);
                    match signed.and_then(|signed| signed.verify(register, now)) {
                        Ok(freshness) => state.freshness = Some(freshness),
                        Err(refusal) => left_out(row, &refusal),
                    }
                }
                FactKind::Suspension => state.restore_suspension(row, register.register(), now),
                FactKind::Block => match row.subject.parse() {
                    Ok(peer) => drop(state.blocked.insert(peer)),
                    Err(_) => {
                        state.damaged(row);
                        let nodes = register.register().nodes();
                        state.blocked.extend(nodes.map(|(_, node)| node.id.clone()));
                    }
                },
                // Of persons, and no gate.
                FactKind::Recovery => {}
                FactKind::Stop if row.subject == EVERYONE => state.stops.all = true,
                FactKind::Stop => match row.subject.parse() {
                    Ok(peer) => drop(state.stops.peers.insert(peer)),
                    Err(_) => {
                        state.damaged(row);
                        state.stops.all = true;
                    }
                },
            }
        }
        state
    }

    fn restore_suspension(&mut self, row: &FactRow, register: &Register, now: Timestamp) {
        let Err(refusal) = self.suspensions.restore(&row.content, register) else {
            return;
        };
        let Some((key, authority)) = suspended(&row.subject) else {
            self.damaged(row);
            self.stops.all = true;
            return;
        };
        if !register
            .governance
            .iter()
            .any(|governs| governs.id().to_string() == key)
        {
            // Its key governs no more, so that it would not count either.
            return left_out(row, &refusal);
        }
        self.damaged(row);
        let latest = row
            .at
            .min(now)
            .plus_millis(MAX_SUSPENSION_MS + MAX_CLOCK_AHEAD_MS);
        let end = self.unread.entry(authority).or_insert(latest);
        *end = latest.max(*end);
    }

    fn damaged(&mut self, row: &FactRow) {
        let (kind, subject) = (row.kind.name(), row.subject.escape_debug());
        tracing::error!(kind, %subject, "a row that closes something is damaged: it is taken at its widest");
        self.damaged.push(Damaged {
            kind: row.kind,
            subject: row.subject.clone(),
        });
    }

    /// Lists the rows that close something and do not say what.
    #[must_use]
    pub fn damage(&self) -> &[Damaged] {
        &self.damaged
    }

    /// Takes damaged rows of a kind out, once a person has said what is to be open. Returns the
    /// facts that remove them.
    fn mended(&mut self, kind: FactKind, at: Timestamp) -> Vec<Fact> {
        let (mended, left) = std::mem::take(&mut self.damaged)
            .into_iter()
            .partition::<Vec<_>, _>(|damaged| damaged.kind == kind);
        self.damaged = left;
        let removed = mended.into_iter().map(|Damaged { kind, subject }| Fact {
            kind,
            subject,
            content: None,
            at,
        });
        removed.collect()
    }

    /// Forgets a freshness statement that no node would take up at `now`: it was signed under a
    /// clock that has been set back since, and would hide every one that is right. Returns `None` if
    /// there is nothing to forget.
    #[must_use]
    pub fn without_the_future(&self, now: Timestamp) -> Option<Self> {
        let held = self.freshness.as_ref()?;
        is_of_the_future(held, now).then(|| Self {
            freshness: None,
            ..self.clone()
        })
    }

    /// Computes the gates at `now`.
    #[must_use]
    pub fn gates(&self, register: &VerifiedRegister, now: Timestamp) -> Gates {
        Gates {
            blocked: self.blocked.clone(),
            stops: self.stops.clone(),
            suspended: self.suspended(register.register(), now),
            stage: Stage::at(fresh_until(register, self.freshness.as_ref()), now),
            shut: false,
        }
    }

    fn suspended(&self, register: &Register, now: Timestamp) -> BTreeMap<AuthorityId, Timestamp> {
        let mut suspended = self.suspensions.in_force(register, now);
        for (authority, end) in self.unread.iter().filter(|(_, end)| **end > now) {
            let until = suspended.entry(authority.clone()).or_insert(*end);
            *until = (*end).max(*until);
        }
        suspended
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
        let unread = self.unread.values().copied();
        ends.chain(unread)
            .chain(steps)
            .filter(|time| *time > now)
            .min()
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
            .filter(|held| !is_of_the_future(held, now))
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
        state.unread.retain(|authority, _| {
            let mut held = state.suspensions.all();
            !held.any(|held| held.suspension().authority == *authority)
        });
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
        let mut facts = vec![switch.fact(FactKind::Block, peer.as_str(), now)];
        let mended = state.mended(FactKind::Block, now);
        if !mended.is_empty() {
            // The damaged row blocked every node. Those that stay blocked get rows of their own.
            let blocked = state.blocked.iter();
            facts.extend(
                blocked.map(|peer| Switch::Close.fact(FactKind::Block, peer.as_str(), now)),
            );
        }
        facts.extend(mended);
        Change { facts, state }
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
        let mut facts = vec![switch.fact(FactKind::Stop, subject, now)];
        if state.stops.all {
            facts.push(Switch::Close.fact(FactKind::Stop, EVERYONE, now));
        } else {
            facts.extend(state.mended(FactKind::Stop, now));
            facts.extend(state.mended(FactKind::Suspension, now));
        }
        Change { facts, state }
    }
}

const fn is_of_the_future(held: &VerifiedFreshness, now: Timestamp) -> bool {
    held.freshness().issued_at.millis_since(now) > MAX_CLOCK_AHEAD_MS
}

fn left_out(row: &FactRow, refusal: &Refusal) {
    let (kind, subject) = (row.kind.name(), row.subject.escape_debug());
    tracing::warn!(kind, %subject, %refusal, "what was kept does not hold any more");
}

/// Reads key and authority from the name of a suspension's slot.
fn suspended(slot: &str) -> Option<(&str, AuthorityId)> {
    let mut parts = slot.split('/');
    let (key, authority, epoch) = (parts.next()?, parts.next()?, parts.next()?);
    epoch.parse::<u64>().ok()?;
    Some((key, authority.parse().ok()?)).filter(|_| parts.next().is_none())
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
        frame::Lane, freshness::Freshness, keys::KeyUse, suspension::Suspension, suspension::encode,
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

    fn row(kind: FactKind, subject: &str, content: &[u8]) -> FactRow {
        FactRow {
            kind,
            subject: subject.to_owned(),
            content: content.to_vec(),
            at: NOW,
        }
    }

    fn loaded(rows: &[FactRow]) -> GateState {
        GateState::load(rows, &testbed::register(), NOW)
    }

    #[test]
    fn a_freshness_statement_that_was_kept_damaged_is_left_out() {
        let state = loaded(&[row(FactKind::Freshness, "", &[0xff])]);
        assert_eq!(state.gates(&testbed::register(), NOW), Gates::default());
    }

    /// Attack HM5: a damaged suspension, stop or block opened what it had closed.
    #[test]
    fn what_closes_stays_closed_when_any_octet_of_its_row_is_damaged() {
        let register = testbed::register();
        let kept = |change: Change| rows(change.facts).remove(0);
        let before = GateState::default();
        let suspended = before.with_suspension(&suspension(2), &register, NOW);
        let hub: NodeId = "hub-1".parse().unwrap();
        let stop = before.with_stop(&Whom::Peer(hub.clone()), Switch::Close, NOW);
        let all = before.with_stop(&Whom::Everyone, Switch::Close, NOW);
        let block = before.with_block(&hub, Switch::Close, NOW);
        for kept in [
            kept(suspended.unwrap().unwrap()),
            kept(stop),
            kept(all),
            kept(block),
        ] {
            let whom = match kept.kind {
                FactKind::Suspension => ("antwerp", "antwerp-1"),
                FactKind::Freshness | FactKind::Stop | FactKind::Block | FactKind::Recovery => {
                    ("hub", "hub-1")
                }
            };
            let (authority, node) = (whom.0.parse().unwrap(), whom.1.parse().unwrap());
            let closed = |row: FactRow| {
                let gates = loaded(&[row]).gates(&register, NOW);
                gates.closed(&authority, &node, Lane::Urgent).is_some()
            };
            assert!(closed(kept.clone()));
            for at in 0..kept.content.len() {
                let mut damaged = kept.clone();
                damaged.content[at] ^= 0x55;
                assert!(closed(damaged), "{:?}: octet {at}", kept.kind);
            }
            // A subject that is no name at all. (One name made of another cannot be told here.)
            for subject in ["", "\u{1}", "a/b/c/d", "Hub 1"] {
                let mut damaged = kept.clone();
                damaged.subject = subject.to_owned();
                damaged.content.pop();
                assert!(closed(damaged), "{:?}: `{subject}`", kept.kind);
            }
        }
    }

    #[test]
    fn a_suspension_of_a_key_that_governs_no_more_is_left_out() {
        let slot = format!("{}/antwerp/1", key(8, KeyUse::Governance).id());
        let state = loaded(&[row(FactKind::Suspension, &slot, &suspension(2))]);
        assert!(state.damage().is_empty());
    }

    #[test]
    fn a_damaged_suspension_ends_when_no_suspension_could_last_longer() {
        let slot = format!("{}/antwerp/1", key(9, KeyUse::Governance).id());
        let state = loaded(&[row(FactKind::Suspension, &slot, b"damaged")]);
        let register = testbed::register();
        let end = state.next_change(&register, NOW).unwrap();
        assert_eq!(end, NOW.plus_millis(MAX_SUSPENSION_MS + MAX_CLOCK_AHEAD_MS));
        assert!(state.gates(&register, end).suspended.is_empty());
    }

    #[test]
    fn who_opens_a_damaged_gate_opens_that_and_no_more_and_it_lasts() {
        let register = testbed::register();
        let (hub, antwerp): (NodeId, NodeId) =
            ("hub-1".parse().unwrap(), "antwerp-1".parse().unwrap());
        let damaged = [
            row(FactKind::Block, "\u{2}", b""),
            row(FactKind::Stop, "", b""),
        ];
        let state = loaded(&damaged);
        assert_eq!(state.damage().len(), 2);
        let opened = state.with_block(&hub, Switch::Open, NOW);
        let resumed = opened.state.with_stop(&Whom::Everyone, Switch::Open, NOW);
        assert!(resumed.state.damage().is_empty());
        let mut kept: BTreeMap<(FactKind, String), FactRow> = damaged
            .into_iter()
            .map(|row| ((row.kind, row.subject.clone()), row))
            .collect();
        for fact in opened.facts.into_iter().chain(resumed.facts) {
            let key = (fact.kind, fact.subject.clone());
            match rows(vec![fact]).pop() {
                Some(row) => drop(kept.insert(key, row)),
                None => drop(kept.remove(&key)),
            }
        }
        let again = loaded(&kept.into_values().collect::<Vec<_>>());
        let gates = again.gates(&register, NOW);
        assert_eq!(gates, resumed.state.gates(&register, NOW));
        assert!(!gates.blocked.contains(&hub) && gates.blocked.contains(&antwerp));
        assert!(!gates.stops.all);
    }

    /// Newcomer A1: a statement signed under a clock that ran ahead hid every later one.
    #[test]
    fn a_freshness_statement_of_the_future_gives_way_to_one_of_now() {
        let register = testbed::fresh_register();
        let statement = |at: Timestamp| {
            let freshness = Freshness::of(&register, at);
            let mut signed = SignedFreshness::unsigned(&freshness);
            signed.sign(&key(8, KeyUse::Freshness)).unwrap();
            signed.encode()
        };
        let ahead = NOW.plus_millis(100 * 24 * HOUR);
        let wrong = GateState::default()
            .with_freshness(&statement(ahead), &register, ahead)
            .unwrap()
            .unwrap()
            .state;
        assert!(wrong.without_the_future(ahead).is_none());
        let right = wrong.with_freshness(&statement(NOW), &register, NOW);
        assert!(right.unwrap().is_some());
        let forgot = wrong.without_the_future(NOW).unwrap();
        assert!(forgot.current_freshness(&register).is_none());
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

//! Health of the node: the problems that `/health`, `status` and the log report.
//!
//! Health is judged by the node's ability to work, not by the existence of its process: keys that
//! the register lists, a certificate that peers accept, a store that answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use portcullis_protocol::{
    frame::Lane,
    freshness::Stage,
    identifiers::{AuthorityId, NodeId},
    keys::{KeyId, KeyUse},
    register::Register,
    rules::Rule,
    time::Timestamp,
};

pub use crate::problem::{Problem, ProblemKind};
use crate::{
    Kernel, Me, PeerHealth,
    disk::Space,
    gate::{Gates, state::Damaged},
    hindrance::{Facts, PeerFacts, hindrances},
    moment::Moment,
};
use portcullis_store::{FactKind, writer::WriterFault};

/// Longest wait for the store's answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest time for a check of everything that is kept.
const LONGEST_SCRUB: Duration = Duration::from_secs(24 * 60 * 60);

/// Health of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// Problems that keep the node from its work.
    pub problems: Vec<Problem>,
    /// Parts of the work that are not done, though the node works.
    pub hindrances: Vec<Problem>,
}

impl Health {
    /// Returns the state in a word: `ok`, `hindered` or `failing`.
    #[must_use]
    pub const fn state(&self) -> &'static str {
        match (self.problems.is_empty(), self.hindrances.is_empty()) {
            (true, true) => "ok",
            (true, false) => "hindered",
            (false, _) => "failing",
        }
    }
}

fn no_answer() -> Problem {
    Problem {
        kind: ProblemKind::Store,
        what: format!(
            "the store did not answer within {} seconds",
            PATIENCE.as_secs()
        ),
        remedy: "look at disk and log; restart the node if it lasts",
    }
}

/// Returns the problems that keep this node from its work; empty if there are none. It waits for the
/// store.
#[must_use]
pub fn problems(kernel: &Kernel) -> Vec<Problem> {
    let decider = kernel.decider();
    let mut problems = register_problems(
        decider.register(),
        kernel.me(),
        kernel.hop_key().id(),
        kernel.now(),
    );
    problems.extend(certificate_problem(
        Timestamp::from_millis(kernel.identity().certificate().not_after().as_millisecond()),
        kernel.now(),
    ));
    problems.extend(kernel.clock_step().map(clock_problem));
    problems.extend(kernel.acceptance().problems());
    let since = kernel
        .scrubbed()
        .map_or(Moment::default(), |last| last.moment);
    let waited = kernel.moment().millis_since(since);
    let waited = Duration::from_millis(u64::try_from(waited).unwrap_or(0));
    problems.extend(overdue(waited));
    if kernel.facts_are_damaged() {
        problems.push(Problem {
            kind: ProblemKind::Facts,
            what: "the facts about trust are not those that were written: nobody is connected".to_owned(),
            remedy: "somebody may have lifted a block or a stop on the disk; restore the store from a backup",
        });
    }
    problems.extend(kernel.reported());
    problems.extend(closed_to_all(&kernel.gates()));
    problems.extend(own_suspension(&kernel.gates(), &kernel.me().authority));
    problems.extend(kernel.gate_state().damage().iter().map(damaged_gate));
    problems.extend(stopped_deliveries(&kernel.peer_health()));
    problems.extend(kernel.writer().fault().map(writer_problem));
    problems.extend(kernel.space().and_then(disk_problem));
    problems.extend(kernel.set_aside().problems(&kernel.store().damaged()));
    if let Err(error) = kernel.store().log_end() {
        problems.push(Problem {
            kind: ProblemKind::Store,
            what: format!("the store does not answer: {error}"),
            remedy: "look at disk and log, then restart the node",
        });
    }
    problems
}

/// Returns the health of the node as [`health`] does, off the runtime's threads. A store that does
/// not answer in time is one of its problems.
pub async fn health_apart(kernel: &Arc<Kernel>) -> Health {
    let asked = Arc::clone(kernel);
    let asking = portcullis_store::apart::spawn(move || health(&asked));
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(Ok(health)) => health,
        Ok(Err(_)) | Err(_) => Health {
            problems: vec![no_answer()],
            hindrances: Vec::new(),
        },
    }
}

/// Returns the health of the node. It waits for the store.
#[must_use]
pub fn health(kernel: &Kernel) -> Health {
    Health {
        problems: problems(kernel),
        hindrances: hindrances(&hindrance_facts(kernel), kernel.now()),
    }
}

/// Gathers the facts that show hindrances. A store that does not answer shows none of its own: it is
/// a problem.
fn hindrance_facts(kernel: &Kernel) -> Facts {
    let (decider, gates, me) = (kernel.decider(), kernel.gates(), kernel.me());
    let health = kernel.peer_health();
    let others = decider
        .register()
        .nodes()
        .filter(|(_, node)| node.id != me.node);
    let peers = others.map(|(authority, node)| PeerFacts {
        closed: gates.closed(&authority.id, &node.id, Lane::Urgent),
        unreachable_since: kernel.reach(&node.id).trouble.map(|one| one.since),
        skew: health.get(&node.id).and_then(|one| one.skew),
        node: node.id.clone(),
    });
    let aside = kernel.store().aside();
    let end = kernel.store().next_held_end();
    Facts {
        peers: peers.collect(),
        all_closed: gates.shut || gates.stops.all,
        held: aside.map_or(0, |aside| aside.held),
        held_end: end.unwrap_or(None),
    }
}

/// Returns the problem that nothing is released to anybody, whoever closed it.
fn closed_to_all(gates: &Gates) -> Option<Problem> {
    if gates.stops.all {
        return Some(Problem {
            kind: ProblemKind::Released,
            what: "release is stopped to everyone: nothing leaves this node".to_owned(),
            remedy: "`portcullis release resume all`, once the stop is no longer meant",
        });
    }
    match gates.stage {
        Stage::BulkStopped(since) => Some(Problem {
            kind: ProblemKind::Released,
            what: format!("the register is not fresh since {since}: bulk records are not released"),
            remedy: "see to a connection with any member, or run `portcullis federation freshness`",
        }),
        Stage::Unused | Stage::Fresh(_) | Stage::Ending(_) | Stage::Stale(_) => None,
    }
}

/// Returns the problem that the federation suspended this node's own authority: its peers know it, and this node
/// has the statement as well.
fn own_suspension(gates: &Gates, own: &AuthorityId) -> Option<Problem> {
    let until = gates.suspended.get(own)?;
    Some(Problem {
        kind: ProblemKind::Released,
        what: format!(
            "this authority is suspended until {until}: no member takes anything from it or sends it anything"
        ),
        remedy: "a suspension ends by itself; ask the governance about it",
    })
}

/// Returns the problem of too little free space.
#[must_use]
pub fn disk_problem(space: Space) -> Option<Problem> {
    space.shortage().map(|what| Problem {
        kind: ProblemKind::Disk,
        what,
        remedy: "free space or enlarge the disk, before nothing can be written; `disk.reserve` sets the reserve",
    })
}

/// Returns the problem of a check of everything that has not ended for too long. The time is that
/// since the end of the latest, or since the start.
fn overdue(since: Duration) -> Option<Problem> {
    (since > LONGEST_SCRUB).then(|| Problem {
        kind: ProblemKind::CheckOverdue,
        what: format!(
            "the store was not checked whole for {} hours",
            since.as_secs() / 3600
        ),
        remedy: "look at the log for parts that cannot be read; `portcullis doctor --full` checks everything at once",
    })
}

fn writer_problem(fault: WriterFault) -> Problem {
    Problem {
        kind: ProblemKind::Writer,
        what: fault.to_string(),
        remedy: match fault {
            WriterFault::Gone => "look at the log, then restart the node",
            WriterFault::Failing(_) => {
                "free space on the disk, or look at it; the node goes on by itself"
            }
        },
    }
}

fn clock_problem(step_ms: i64) -> Problem {
    Problem {
        kind: ProblemKind::Clock,
        what: format!(
            "the clock was set by {} seconds; nothing is sealed until it is confirmed",
            step_ms / 1000
        ),
        remedy: "look at the clock, then have an administrator run `portcullis clock confirm`",
    }
}

fn damaged_gate(damaged: &Damaged) -> Problem {
    let (kind, subject) = (damaged.kind, damaged.subject.escape_debug());
    let (closed, remedy) = match kind {
        FactKind::Block => (
            "every peer is blocked",
            "find in the log of acts whom it was for, then unblock the others with `portcullis peer unblock NODE`",
        ),
        FactKind::Stop => (
            "release is stopped to everyone",
            "find in the log of acts whom it was for, stop release to them, then run `portcullis release resume`",
        ),
        FactKind::Suspension | FactKind::Freshness | FactKind::Recovery => (
            "its authority is suspended, or release is stopped to everyone",
            "a suspension ends by itself; if release is stopped, ask a member about it, then run `portcullis release resume`",
        ),
    };
    Problem {
        kind: ProblemKind::Closure,
        what: format!(
            "the stored {} `{subject}` is damaged: {closed}",
            kind.name()
        ),
        remedy,
    }
}

/// Returns a problem for each peer that takes nothing from this node.
fn stopped_deliveries(peers: &BTreeMap<NodeId, PeerHealth>) -> Vec<Problem> {
    let stopped = peers
        .iter()
        .filter_map(|(peer, health)| Some((peer, health.stopped.as_ref()?)));
    stopped
        .map(|(peer, rule)| {
            let rule = rule.parse::<Rule>();
            Problem {
                kind: ProblemKind::Refused,
                what: match &rule {
                    Ok(rule) => format!("`{peer}` takes nothing from this node: {rule}"),
                    Err(error) => format!("`{peer}` takes nothing from this node: {error}"),
                },
                remedy: rule.map_or("ask the peer's operator why", Rule::remedy),
            }
        })
        .collect()
}

fn certificate_problem(not_after: Timestamp, now: Timestamp) -> Option<Problem> {
    (not_after <= now).then(|| Problem {
        kind: ProblemKind::Certificate,
        what: format!("this node's certificate expired at {not_after}"),
        remedy: "have its authority's CA sign a new one and install it",
    })
}

fn register_problems(register: &Register, me: &Me, hop: KeyId, now: Timestamp) -> Vec<Problem> {
    let Some((authority, node)) = register.node(&me.node) else {
        return vec![Problem {
            kind: ProblemKind::Register,
            what: format!("the register does not list node `{}`", me.node),
            remedy: "have the authority's request admitted and apply the new epoch",
        }];
    };
    let in_force: BTreeSet<KeyUse> = node
        .keys
        .iter()
        .filter(|key| key.signs_at(now))
        .map(|key| key.public.usage())
        .collect();
    let mut problems: Vec<Problem> = [KeyUse::Sealing, KeyUse::Hop]
        .into_iter()
        .filter(|usage| !in_force.contains(usage))
        .map(|usage| Problem {
            kind: ProblemKind::Register,
            what: format!(
                "the register lists no {usage} key in force for `{}`",
                me.node
            ),
            remedy: "request the listing of a new key",
        })
        .collect();
    if register.hop_key(&me.node, &hop, now).is_none() {
        problems.push(Problem {
            kind: ProblemKind::Register,
            what: "this node's hop key is not the one in the register".to_owned(),
            remedy: "restore the key file, or request the listing of this key",
        });
    }
    if authority.id != me.authority {
        problems.push(Problem {
            kind: ProblemKind::Register,
            what: format!(
                "the register lists node `{}` under `{}`",
                me.node, authority.id
            ),
            remedy: "correct `authority` in portcullis.toml",
        });
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Stops;
    use portcullis_testbed as testbed;

    fn me(node: &str, authority: &str) -> Me {
        Me {
            federation: "test".parse().unwrap(),
            authority: authority.parse().unwrap(),
            node: node.parse().unwrap(),
        }
    }

    #[test]
    fn a_node_whose_key_the_register_lists_is_healthy() {
        let hop = testbed::key(1, KeyUse::Hop).id();
        let verified = testbed::register();
        let problems = register_problems(
            verified.register(),
            &me("rotterdam-1", "rotterdam"),
            hop,
            testbed::NOW,
        );
        assert_eq!(problems, []);
    }

    #[test]
    fn another_key_another_authority_or_no_listing_is_a_problem() {
        let verified = testbed::register();
        let register = verified.register();
        let own = testbed::key(1, KeyUse::Hop).id();
        let other = testbed::key(2, KeyUse::Hop).id();
        for (me, hop) in [
            (me("rotterdam-1", "rotterdam"), other),
            (me("rotterdam-1", "antwerp"), own),
            (me("rotterdam-9", "rotterdam"), own),
        ] {
            assert_eq!(register_problems(register, &me, hop, testbed::NOW).len(), 1);
        }
    }

    #[test]
    fn a_peer_that_refuses_this_node_as_a_fork_is_a_problem_that_names_the_rule() {
        let health = PeerHealth {
            stopped: Some("EX-11".to_owned()),
            ..PeerHealth::default()
        };
        let peers = BTreeMap::from([
            ("antwerp-1".parse().unwrap(), health),
            ("hub-1".parse().unwrap(), PeerHealth::default()),
        ]);
        let problems = stopped_deliveries(&peers);
        let [problem] = &problems[..] else {
            panic!("{problems:?}");
        };
        assert!(problem.what.contains("EX-11") && problem.what.contains("antwerp-1"));
        assert_eq!(problem.remedy, Rule::Fork.remedy());
    }

    /// Newcomer B15: with release stopped to everyone, `status` ended with 0 and `/health` said ok.
    #[test]
    fn a_node_from_which_nothing_leaves_is_not_well() {
        let stopped = |stops, stage| Gates {
            stops,
            stage,
            ..Gates::default()
        };
        let all = Stops {
            all: true,
            ..Stops::default()
        };
        let one = Stops {
            peers: ["hub-1".parse().unwrap()].into(),
            ..Stops::default()
        };
        let stale = Stage::BulkStopped(testbed::NOW);
        let problem = |stops, stage| closed_to_all(&stopped(stops, stage)).is_some();
        assert!(problem(all, Stage::Unused));
        assert!(problem(one.clone(), stale));
        assert!(!problem(one, Stage::Stale(testbed::NOW)));
        let health = |problems: usize, hindrances: usize| Health {
            problems: vec![no_answer(); problems],
            hindrances: vec![no_answer(); hindrances],
        };
        assert_eq!(health(0, 0).state(), "ok");
        assert_eq!(health(0, 1).state(), "hindered");
        assert_eq!(health(1, 1).state(), "failing");
    }

    /// A node whose own authority was suspended said that all was well, and blamed its peers.
    #[test]
    fn a_suspension_of_this_authority_is_a_problem_and_one_of_another_is_not() {
        let own: AuthorityId = "antwerp".parse().unwrap();
        let gates = |of: &AuthorityId| Gates {
            suspended: [(of.clone(), testbed::NOW)].into(),
            ..Gates::default()
        };
        let problem = own_suspension(&gates(&own), &own).unwrap();
        assert!(problem.what.contains("is suspended until"), "{problem:?}");
        assert_eq!(
            own_suspension(&gates(&"lisbon".parse().unwrap()), &own),
            None
        );
        assert_eq!(own_suspension(&Gates::default(), &own), None);
    }

    #[test]
    fn a_check_of_the_store_that_is_overdue_is_a_problem() {
        assert_eq!(overdue(LONGEST_SCRUB), None);
        assert!(overdue(LONGEST_SCRUB + Duration::from_secs(1)).is_some());
    }

    #[test]
    fn an_expired_certificate_is_a_problem() {
        assert!(certificate_problem(testbed::NOW, testbed::NOW).is_some());
        assert!(certificate_problem(testbed::NOW.plus_millis(1), testbed::NOW).is_none());
    }
}

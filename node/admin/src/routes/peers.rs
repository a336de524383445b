//! Status of each peer: the part that `status` shows, and data that is kept in several other
//! places.

use std::collections::{BTreeMap, BTreeSet};

use axum::{Json, extract::State};
use portcullis_protocol::{frame::Lane, identifiers::NodeId, time::Timestamp};

use super::{apart, status};
use crate::{problem::Problem, request::Admin};
use portcullis_admin_api::v1::{
    ListView,
    status::{PeerStandingView, PeerView},
};
use portcullis_kernel::{Kernel, PeerHealth, connected::Way};
use portcullis_peering::term::Term;
use portcullis_store::{ExceptionRow, ForkRow, UndeliveredRow};

pub(crate) async fn list(
    State(admin): State<Admin>,
) -> Result<Json<ListView<PeerStandingView>>, Problem> {
    let kernel = admin.kernel.clone();
    let items = apart(move || standings(&kernel)).await?;
    Ok(Json(ListView { items }))
}

/// Data kept about all peers.
struct Kept {
    exceptions: Vec<ExceptionRow>,
    undelivered: Vec<UndeliveredRow>,
    forks: Vec<ForkRow>,
    /// Term of the certificate that each peer showed last.
    certificates: BTreeMap<NodeId, Term>,
    /// State of deliveries to each peer.
    health: BTreeMap<NodeId, PeerHealth>,
    /// Peers that took a connection since the start, and no later try failed.
    reached: BTreeSet<NodeId>,
}

impl Kept {
    fn read(kernel: &Kernel) -> Result<Self, Problem> {
        let (store, now) = (kernel.store(), kernel.now());
        Ok(Self {
            exceptions: store.exceptions(now)?,
            undelivered: store.undelivered(now)?,
            forks: store.forks()?,
            certificates: kernel.trust().seen(),
            health: kernel.peer_health(),
            reached: reached(kernel),
        })
    }

    fn exceptions(&self, peer: &NodeId, lane: Lane) -> u64 {
        let of_it = |row: &&ExceptionRow| row.peer == *peer && row.lane == lane;
        let rows = self.exceptions.iter().filter(of_it);
        rows.map(|row| row.count).sum()
    }
}

fn reached(kernel: &Kernel) -> BTreeSet<NodeId> {
    let decider = kernel.decider();
    let nodes = decider.register().nodes().map(|(_, node)| &node.id);
    nodes
        .filter(|node| kernel.reach(node).reached)
        .cloned()
        .collect()
}

/// Times since which there are streams to a peer, and from it.
#[derive(Clone, Copy)]
struct Since {
    to: Option<Timestamp>,
    from: Option<Timestamp>,
}

fn standings(kernel: &Kernel) -> Result<Vec<PeerStandingView>, Problem> {
    let kept = Kept::read(kernel)?;
    let peers = status::peers(kernel)?.into_iter();
    let standings = peers.map(|(node, view)| {
        let since = Since {
            to: kernel.connected_since(&node, Way::ToPeer),
            from: kernel.connected_since(&node, Way::FromPeer),
        };
        standing(&kept, &node, view, since)
    });
    Ok(standings.collect())
}

fn standing(kept: &Kept, node: &NodeId, peer: PeerView, since: Since) -> PeerStandingView {
    let refuses = kept.health.get(node).and_then(|one| one.stopped.clone());
    let state = match (&peer.closed, &refuses, since.to) {
        (Some(closed), _, _) => closed.clone(),
        (None, Some(rule), _) => format!("takes nothing: {rule}"),
        (None, None, Some(_)) => "connected".to_owned(),
        (None, None, None) if peer.unreachable_since.is_some() => "unreachable".to_owned(),
        (None, None, None) if kept.reached.contains(node) => "reachable".to_owned(),
        (None, None, None) => "not tried yet".to_owned(),
    };
    let undelivered = kept.undelivered.iter().filter(|row| row.peer == *node);
    let forks = kept.forks.iter().filter(|row| row.peer == *node);
    let ends = kept.certificates.get(node).map(|term| term.until);
    PeerStandingView {
        peer,
        state,
        connected_since: since.to.map(|time| time.to_string()),
        delivers_since: since.from.map(|time| time.to_string()),
        refuses,
        exceptions_urgent: kept.exceptions(node, Lane::Urgent),
        exceptions_bulk: kept.exceptions(node, Lane::Bulk),
        undelivered: undelivered.count() as u64,
        forks: forks.count() as u64,
        certificate_ends: ends.map(|time| time.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_testbed::NOW;

    fn peer(closed: Option<&str>) -> PeerView {
        PeerView {
            node: "antwerp-1".to_owned(),
            authority: "antwerp".to_owned(),
            kind: "customs".to_owned(),
            last_receipt: None,
            failure: None,
            last_heard: None,
            unreachable_since: None,
            unreachable: None,
            unreachable_do: None,
            closed: closed.map(ToOwned::to_owned),
            clock_ahead_ms: None,
            clock_error_ms: None,
            reconciled: None,
            repaired: None,
            behind_urgent: 0,
            behind_bulk: 3,
        }
    }

    fn exception(peer: &str, lane: Lane, count: u64) -> ExceptionRow {
        ExceptionRow {
            peer: peer.parse().unwrap(),
            lane,
            state: "held".to_owned(),
            count,
            next_attempt: NOW,
            ends_at: NOW,
        }
    }

    fn kept(refuses: Option<&str>) -> Kept {
        let (antwerp, hub) = ("antwerp-1".parse().unwrap(), "hub-1".parse().unwrap());
        let health = PeerHealth {
            stopped: refuses.map(ToOwned::to_owned),
            ..PeerHealth::default()
        };
        let term = Term {
            since: NOW,
            until: NOW,
        };
        Kept {
            exceptions: vec![
                exception("antwerp-1", Lane::Urgent, 1),
                exception("antwerp-1", Lane::Bulk, 2),
                exception("antwerp-1", Lane::Bulk, 4),
                exception("hub-1", Lane::Bulk, 8),
            ],
            undelivered: Vec::new(),
            forks: Vec::new(),
            certificates: [(hub, term)].into(),
            health: [(antwerp, health)].into(),
            reached: BTreeSet::new(),
        }
    }

    fn shown(
        closed: Option<&str>,
        refuses: Option<&str>,
        to: Option<Timestamp>,
    ) -> PeerStandingView {
        let since = Since { to, from: None };
        let node = "antwerp-1".parse().unwrap();
        standing(&kept(refuses), &node, peer(closed), since)
    }

    #[test]
    fn only_what_is_kept_of_a_peer_counts_for_it() {
        let view = shown(None, None, None);
        assert_eq!((view.exceptions_urgent, view.exceptions_bulk), (1, 6));
        assert_eq!(view.certificate_ends, None);
    }

    /// Newcomer A12: an idle peer and a dead one were both `away`.
    #[test]
    fn a_peer_that_is_idle_and_one_that_is_dead_differ() {
        let node: NodeId = "antwerp-1".parse().unwrap();
        let since = Since {
            to: None,
            from: Some(NOW),
        };
        let mut idle = kept(None);
        idle.reached.insert(node.clone());
        let state = |kept: &Kept, peer| standing(kept, &node, peer, since).state;
        assert_eq!(state(&idle, peer(None)), "reachable");
        assert_eq!(state(&kept(None), peer(None)), "not tried yet");
        let dead = PeerView {
            unreachable_since: Some(NOW.to_string()),
            ..peer(None)
        };
        assert_eq!(state(&kept(None), dead), "unreachable");
    }

    #[test]
    fn what_a_person_closed_is_said_first_then_what_the_peer_refuses_then_the_connection() {
        let state = |closed, refuses, to| shown(closed, refuses, to).state;
        let (closed, rule) = (Some("blocked here"), Some("EX-11"));
        assert_eq!(state(closed, rule, Some(NOW)), "blocked here");
        assert_eq!(state(None, rule, Some(NOW)), "takes nothing: EX-11");
        assert_eq!(state(None, None, Some(NOW)), "connected");
        assert_eq!(state(None, None, None), "not tried yet");
    }
}

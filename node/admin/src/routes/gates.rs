//! Acts that close and open gates: each is read from its body and carried out in one commit with
//! its log.

use portcullis_protocol::identifiers::NodeId;

use super::names;
use crate::problem::{Problem, ProblemKind};
use portcullis_admin_api::{
    act::Action,
    v1::trust::{GateView, MovedView},
};
use portcullis_kernel::{
    Kernel,
    gate::state::{Change, GateState, Switch, Whom},
};

/// Largest length of a logged reason, in bytes.
const LONGEST_REASON: usize = 256;

/// An act that closes or opens a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GateAct {
    gate: Gate,
    switch: Switch,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Gate {
    Block(NodeId),
    Stop(Whom),
}

impl GateAct {
    /// Reads the body of a signed act.
    pub(super) fn read(action: Action, body: &[u8]) -> Result<Self, Problem> {
        let invalid = |message: String| Problem::new(ProblemKind::Invalid, message);
        let (blocks, switch) = match action {
            Action::PeerBlock => (true, Switch::Close),
            Action::PeerUnblock => (true, Switch::Open),
            Action::ReleaseStop => (false, Switch::Close),
            Action::ReleaseResume => (false, Switch::Open),
            Action::Publish
            | Action::Alert
            | Action::Advisory
            | Action::ImportConsignments
            | Action::CloseConsignment
            | Action::PruneConsignments
            | Action::PublishProfile
            | Action::Enrol
            | Action::PersonEnd
            | Action::PersonRekey
            | Action::PersonRole
            | Action::PersonSecond
            | Action::PersonWithdraw
            | Action::ConfirmClock
            | Action::Reload
            | Action::AcceptSettings
            | Action::HoldRelease
            | Action::HoldDrop
            | Action::DispatchRetry
            | Action::Backfill
            | Action::BackfillCancel
            | Action::QuarantineDrop
            | Action::Backup
            | Action::ReadLog => {
                return Err(invalid(format!("`{}` moves no gate", action.name())));
            }
        };
        let GateView { peer, reason } = serde_json::from_slice(body)
            .map_err(|error| invalid(format!("the request cannot be read: {error}")))?;
        if reason.len() > LONGEST_REASON || reason.chars().any(char::is_control) {
            return Err(invalid("the reason is not one short line".to_owned()));
        }
        let node = |peer: &str| -> Result<NodeId, Problem> {
            peer.parse().map_err(|_| {
                invalid(format!(
                    "`{peer}` is no node; `portcullis status` lists them"
                ))
            })
        };
        let gate = match (blocks, peer.as_str()) {
            (true, peer) => Gate::Block(node(peer)?),
            (false, "all") => Gate::Stop(Whom::Everyone),
            (false, peer) => Gate::Stop(Whom::Peer(node(peer)?)),
        };
        Ok(Self {
            gate,
            switch,
            reason,
        })
    }

    /// Refuses to move a gate for a node that the register does not list, which is a typing error. The gate
    /// of a node that has left it can be opened if it is closed.
    pub(super) fn check(&self, kernel: &Kernel) -> Result<(), Problem> {
        let (Gate::Block(peer) | Gate::Stop(Whom::Peer(peer))) = &self.gate else {
            return Ok(());
        };
        let known = names::known(kernel).peer(peer);
        match self.switch {
            Switch::Close => Ok(known?),
            // A node that left the register may be closed still.
            Switch::Open if known.is_err() && !self.is_closed(kernel) => Ok(known?),
            Switch::Open => Ok(()),
        }
    }

    /// Returns true if the gate is closed.
    fn is_closed(&self, kernel: &Kernel) -> bool {
        let gates = kernel.gates();
        match &self.gate {
            Gate::Block(peer) => gates.blocked.contains(peer),
            Gate::Stop(Whom::Peer(peer)) => gates.stops.peers.contains(peer),
            Gate::Stop(Whom::Everyone) => gates.stops.all,
        }
    }

    /// Describes the object of the act for the log.
    pub(super) fn concerns(&self) -> String {
        let reason = if self.reason.is_empty() {
            String::new()
        } else {
            format!(": {}", self.reason)
        };
        match &self.gate {
            Gate::Block(peer) => format!("peer {peer}{reason}"),
            Gate::Stop(whom) => format!("release to {whom}{reason}"),
        }
    }

    /// Returns the change of the trust state that the act makes.
    pub(super) fn change(&self, state: &GateState, kernel: &Kernel) -> Change {
        match &self.gate {
            Gate::Block(peer) => state.with_block(peer, self.switch, kernel.now()),
            Gate::Stop(whom) => state.with_stop(whom, self.switch, kernel.now()),
        }
    }

    /// Returns the state of the gate after the act.
    pub(super) fn view(&self) -> MovedView {
        let (peer, state) = match (&self.gate, self.switch) {
            (Gate::Block(peer), Switch::Close) => (peer.to_string(), "blocked"),
            (Gate::Block(peer), Switch::Open) => (peer.to_string(), "not blocked"),
            (Gate::Stop(whom), Switch::Close) => (whom.to_string(), "release stopped"),
            (Gate::Stop(whom), Switch::Open) => (whom.to_string(), "release not stopped"),
        };
        MovedView {
            peer,
            state: state.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(action: Action, peer: &str, reason: &str) -> Result<GateAct, Problem> {
        let body = serde_json::json!({ "peer": peer, "reason": reason });
        GateAct::read(action, body.to_string().as_bytes())
    }

    #[test]
    fn everyone_is_stopped_and_never_blocked() {
        let stop = read(Action::ReleaseStop, "all", "").unwrap();
        assert_eq!(stop.gate, Gate::Stop(Whom::Everyone));
        // `all` is a valid id of a node; a block of `all` names that node.
        let block = read(Action::PeerBlock, "all", "").unwrap();
        assert_eq!(block.gate, Gate::Block("all".parse().unwrap()));
    }

    #[test]
    fn what_is_no_node_or_no_line_is_refused() {
        assert!(read(Action::PeerBlock, "", "").is_err());
        assert!(read(Action::ReleaseStop, "not a node", "").is_err());
        assert!(read(Action::PeerBlock, "hub", "two\nlines").is_err());
        assert!(GateAct::read(Action::PeerBlock, b"{}").is_err());
        assert!(read(Action::Reload, "hub", "").is_err());
    }

    #[test]
    fn the_log_says_whom_and_why() {
        let act = read(Action::ReleaseStop, "hub", "drill").unwrap();
        assert_eq!(act.concerns(), "release to hub: drill");
        assert_eq!(act.view().state, "release stopped");
    }
}

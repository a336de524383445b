//! Checks of what a member that lies must not bring about between honest ones.

use std::sync::Arc;

use portcullis_protocol::{
    frame::{Answer, MAX_ANSWERED, ReceivedFrame},
    verify::VerifiedRecord,
};
use portcullis_store::DisclosureState;

use super::Invariant;
use crate::sim::{
    cast::{MemberNumber, who},
    network::LinkId,
    store::State,
    world::World,
};

/// Most forks of a peer that are kept.
const MOST_FORKS: usize = 16;
/// Most generations of a peer that are remembered.
const MOST_LEFT: usize = 64;

impl World {
    /// Checks that an answered frame was made for the receiver by the peer that delivers it.
    pub(in crate::sim) fn check_addressed(
        &mut self,
        receiver: MemberNumber,
        link: LinkId,
        frame: &ReceivedFrame,
    ) {
        let head = &frame.head;
        let bearer = self.network.link(link).map(|link| link.from);
        let brought = bearer.is_none_or(|bearer| *self.cast.node(bearer) == head.sender);
        if !brought || head.receiver != *self.cast.node(receiver) {
            let detail = format!(
                "{receiver} answers a frame of {} to {}",
                head.sender, head.receiver
            );
            self.violated(Invariant::AnswersAreGiven, detail);
        }
    }

    /// Records an answer for which a receipt is signed.
    pub(super) fn remember_given(
        &mut self,
        receiver: MemberNumber,
        sender: MemberNumber,
        answer: &Answer,
    ) {
        let outcome = answer.outcome.name();
        let given = (who(receiver), sender, answer.record, answer.form, outcome);
        self.watch.given.insert(given);
    }

    /// Checks that every answer in the ledger was given by that peer.
    pub(super) fn check_given(&mut self, sender: MemberNumber, before: &State, after: &State) {
        let changed = after.ledger.iter().filter(|(key, lines)| {
            let known = before.ledger.get(*key);
            known.is_none_or(|known| !Arc::ptr_eq(known, lines))
        });
        let invented = changed
            .flat_map(|(_, lines)| lines.iter())
            .find(|line| match line.row.state {
                DisclosureState::Answered(outcome) => {
                    let peer = self.cast.member(&line.row.peer);
                    let (record, form) = (line.row.record, line.row.form);
                    // Learned from the peer in a comparison of channels.
                    let learned = line.receipt.is_none();
                    let said = (peer, who(sender), record, form, outcome.name());
                    !learned && !self.watch.given.contains(&said)
                }
                DisclosureState::Intended | DisclosureState::Denied => false,
            })
            .map(|line| (line.row.record, line.row.peer.clone()));
        if let Some((record, peer)) = invented {
            let name = self.name(&record);
            let detail = format!("{sender} counts {name} as answered by {peer}, which never did");
            self.violated(Invariant::AnswersAreGiven, detail);
        }
    }

    /// Checks that every newly held record is the one that its originator sealed.
    pub(super) fn check_genuine(&mut self, member: MemberNumber, before: &State, after: &State) {
        let forged = after.records.iter().find(|(id, kept)| {
            let known = before.records.get(*id);
            let changed = known.is_none_or(|known| !Arc::ptr_eq(known, kept));
            changed && !self.is_genuine(&kept.record)
        });
        if let Some((record, _)) = forged {
            let detail = format!(
                "{member} holds {}, which nobody sealed so",
                self.name(record)
            );
            self.violated(Invariant::OnlyGenuineIsHeld, detail);
        }
    }

    fn is_genuine(&self, record: &VerifiedRecord) -> bool {
        let Some(whole) = self.cast.sealed(&record.id()) else {
            return false;
        };
        let (whole, held) = (whole.to_wire(0), record.to_wire(0));
        let sections = held
            .sections
            .iter()
            .all(|section| whole.sections.contains(section));
        sections && whole.header == held.header && whole.path == held.path
    }

    /// Checks that the data kept because of a peer is bounded, whatever the peer does.
    pub(super) fn check_kept(&mut self, member: MemberNumber, after: &State) {
        let forks = after.forks.iter().any(|fork| {
            let of_peer = after.forks.iter().filter(|other| other.peer == fork.peer);
            of_peer.count() > MOST_FORKS
        });
        let left = after.left.values().any(|left| left.len() > MOST_LEFT);
        let answered = after
            .places
            .values()
            .any(|known| known.witness.answered.len() > MAX_ANSWERED);
        if forks || left || answered {
            let detail = format!("{member} keeps more of a peer than it may");
            self.violated(Invariant::Bounded, detail);
        }
    }
}

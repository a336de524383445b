//! Checks of frames that leave: permitted, intended, not back to the source, and not for ever.

use portcullis_protocol::{
    frame::{Lane, SentFrame},
    record::{Form, RecordId},
};
use portcullis_store::DisclosureState;

use super::{Invariant, RETRY_SLACK_MS};
use crate::sim::{
    cast::{MemberNumber, who},
    coverage::Seen,
    dispatching::{OPEN_TIMEOUT_MS, RECEIPT_TIMEOUT_MS},
    expect,
    profile::Weather,
    store::EXCEPTION_LIFE_MS,
    world::World,
};

impl World {
    /// Checks a frame that is about to leave.
    pub(in crate::sim) fn check_sending(
        &mut self,
        sender: MemberNumber,
        receiver: MemberNumber,
        frame: &SentFrame,
    ) {
        let items: Vec<(RecordId, Form)> = frame.items().to_vec();
        let names: Vec<String> = items
            .iter()
            .filter(|_| self.is_traced())
            .map(|(id, form)| format!("{} {form:?}", self.name(id)))
            .collect();
        let lane = frame.head().lane;
        self.check_stopped(sender, (receiver, lane));
        self.say(|| format!("{sender} sends {names:?} to {receiver} in {lane}"));
        for (record, form) in items {
            self.check_item(sender, receiver, record, form);
        }
        if lane == Lane::Urgent && self.profile.weather == Weather::Calm {
            let bulk = &self.node(sender).drivers[&(receiver, Lane::Bulk)];
            if bulk.machine.in_flight() > 0 {
                self.coverage.count(Seen::UrgentBesideBulk);
            }
        }
    }

    fn check_item(
        &mut self,
        sender: MemberNumber,
        receiver: MemberNumber,
        record: RecordId,
        form: Form,
    ) {
        let made = self.made(&record);
        let identity = who(sender);
        let (cast, now) = (self.cast, self.now);
        let node = self.node(sender);
        let state = node.store.durable();
        let intended = state
            .ledger(&record, cast.node(receiver))
            .iter()
            .any(|line| match line.row.state {
                DisclosureState::Denied => false,
                DisclosureState::Intended => line.row.form == form,
                // A record that the peer lost is sent again under the row that covered it.
                DisclosureState::Answered(outcome) => {
                    line.row.form == form
                        || (outcome.is_admitted() && form.is_within(line.row.form))
                }
            });
        // The record's deletion date may pass between the plan and the last attempt to send it.
        let planned = now.plus_millis(-RECEIPT_TIMEOUT_MS - OPEN_TIMEOUT_MS);
        let in_force = node.in_force;
        let permitted = form.is_within(expect::sends(made, identity, receiver, in_force, planned));
        let waits_since = self.watch.waits.get(&(sender, receiver, record)).copied();
        if identity != made.origin {
            self.coverage.count(Seen::Relay);
        }
        if !intended || !permitted {
            let name = self.name(&record);
            let why = if intended {
                "a permit"
            } else {
                "an intended disclosure"
            };
            let detail = format!("{sender} sends {name} in {form:?} to {receiver} without {why}");
            self.violated(Invariant::PermittedAndIntended, detail);
        }
        let source = self.watch.sources.get(&(sender, record)).copied();
        if receiver == made.origin || source == Some(receiver) {
            let name = self.name(&record);
            let detail = format!("{sender} sends {name} back to {receiver}");
            self.violated(Invariant::NothingGoesBack, detail);
        }
        // Two copies of one node answer in turn, and a node whose backup came back lacks what it took: what
        // the comparison of channels finds missing is owed anew.
        let owed_anew =
            self.watch.doubled.contains(&receiver) || self.watch.restored.contains(&receiver);
        if let Some(since) = waits_since
            && !owed_anew
            && self.now.millis_since(since) > EXCEPTION_LIFE_MS + RETRY_SLACK_MS
        {
            let name = self.name(&record);
            let detail = format!("{sender} still tries {name} with {receiver}");
            self.violated(Invariant::Bounded, detail);
        }
    }
}

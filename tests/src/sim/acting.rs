//! Actions of members: they publish, withdraw, and change their register or policy.

use portcullis_protocol::record::RecordId;

use super::{
    cast::{InForce, MemberNumber, Policy, who},
    coverage::Seen,
    happening::Happening,
    world::World,
};

impl World {
    pub(super) fn publish(&mut self, member: MemberNumber, batch: usize) {
        let batch = &self.cast.batches(member)[batch];
        // If the node was copied, either copy may be the one in use.
        let member = self.reached(member);
        let node = self.node(member);
        if !node.up || node.in_force.epoch < batch.epoch {
            // The publisher tries again later.
            if !self.healed {
                let later = self.now.plus_millis(20_000);
                let at = self
                    .cast
                    .batches(member)
                    .iter()
                    .position(|one| std::ptr::eq(one, batch));
                self.at(later, Happening::Publish(who(member), at.unwrap()));
            }
            return;
        }
        let names: Vec<String> = batch
            .records
            .iter()
            .map(|record| self.name(&record.id()))
            .collect();
        self.say(|| format!("{member} publishes {names:?}"));
        self.enqueue_publication(member, batch.records.clone());
    }

    pub(super) fn reload(&mut self, member: MemberNumber, in_force: InForce) {
        for process in self.processes(member) {
            self.reload_process(process, in_force);
        }
    }

    fn reload_process(&mut self, member: MemberNumber, in_force: InForce) {
        let (cast, now) = (self.cast, self.now);
        let node = self.node(member);
        let before = node.in_force;
        if before == in_force {
            return;
        }
        node.in_force = in_force;
        node.history.push((now, in_force));
        if node.up {
            node.decider = cast.decider(member, in_force);
        }
        self.say(|| format!("{member} has {in_force:?} in force"));
        if before.epoch != in_force.epoch {
            self.coverage.count(Seen::RegisterChange);
        }
        match (before.policy, in_force.policy) {
            (Policy::Baseline, Policy::Tight) => self.coverage.count(Seen::Tightening),
            (Policy::Tight, Policy::Baseline) => self.coverage.count(Seen::Loosening),
            (Policy::Baseline, Policy::Baseline) | (Policy::Tight, Policy::Tight) => {}
        }
    }

    pub(super) fn withdraw(&mut self, member: MemberNumber) {
        let held: Vec<RecordId> = self
            .node(member)
            .store
            .durable()
            .records
            .keys()
            .copied()
            .collect();
        // While a transaction is on its way to disk, the only writer has to wait for it.
        if held.is_empty() || self.node(member).writer.committing.is_some() {
            return;
        }
        let record = *self.random.pick(&held);
        let name = self.name(&record);
        self.say(|| format!("{member} withdraws {name}"));
        self.node(member).store.withdraw(record);
        self.watch.withdrawn.insert((member, record));
        self.coverage.count(Seen::Withdrawn);
    }
}

//! A node that exists twice: its disk is copied while it runs, as when a virtual machine is cloned
//! or an old image is started beside the original. Both go on as one identity in one generation.

use super::{
    cast::{MemberNumber, copy_of, who},
    coverage::Seen,
    happening::Happening,
    node::Node,
    store::ModelStore,
    world::World,
};

impl World {
    /// Schedules the copy of a member's node, unless that member's backup is restored.
    pub(super) fn prepare_copy(&mut self, restored: Option<MemberNumber>) {
        if !self.random.chance(250) {
            return;
        }
        let member = *self.random.pick(&self.profile.members);
        if restored != Some(member) {
            let at = self.some_time();
            self.at(at, Happening::Copy(member));
        }
    }

    /// Returns the processes of a member: one, or two copies.
    pub(super) fn processes(&self, member: MemberNumber) -> Vec<MemberNumber> {
        let own = self.nodes.keys().copied();
        own.filter(|process| who(*process) == who(member)).collect()
    }

    /// Returns the process that is reached at a member's address; with two copies it may be either.
    pub(super) fn reached(&mut self, member: MemberNumber) -> MemberNumber {
        if self.nodes.contains_key(&copy_of(member)) && self.random.chance(500) {
            copy_of(member)
        } else {
            member
        }
    }

    pub(super) fn copy(&mut self, member: MemberNumber) {
        if !self.node(member).up || self.healed {
            return;
        }
        let (cast, mutant, page) = (self.cast, self.mutant, self.profile.plan_limit);
        let original = self.node(member);
        let store = ModelStore::holding(original.store.durable(), mutant, page);
        let copy = copy_of(member);
        let mut node = Node::new(cast, copy, store, original.in_force);
        node.history.clone_from(&original.history);
        self.nodes.insert(copy, node);
        self.watch.double(member, copy);
        self.coverage.count(Seen::Copied);
        self.say(|| format!("the node of {member} is copied and goes on as {copy} as well"));
        self.start_drivers(copy);
    }
}

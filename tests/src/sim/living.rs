//! The end and the restart of processes: the disk survives, everything else is lost.

use std::sync::Arc;

use super::{
    cast::MemberNumber,
    coverage::Seen,
    happening::{Happening, Passage, Task},
    invariants::is_hub,
    mutant::Mutant,
    network::LinkId,
    node::DriverKey,
    world::World,
};

impl World {
    /// Passes a point at which the process may end; `None` if it does.
    pub(super) fn pass(&mut self, member: MemberNumber, passage: Passage) -> Option<()> {
        if self.healed || !self.random.chance(self.profile.crash) {
            return Some(());
        }
        self.coverage.count(passage.seen());
        self.say(|| format!("{member} ends at the passage {passage:?}"));
        self.crash(member);
        None
    }

    /// Ends a process: everything that is not on disk is lost, and its connections break.
    pub(super) fn crash(&mut self, member: MemberNumber) {
        self.say(|| format!("{member} ends"));
        let committing = self.node(member).forget();
        if let Some(committing) = committing {
            self.coverage.count(Seen::CrashUnsynced);
            if self.random.chance(500) {
                self.coverage.count(Seen::UnsyncedKept);
                self.install(member, committing.state);
            } else {
                self.coverage.count(Seen::UnsyncedLost);
            }
        }
        self.damage(member);
        for id in self.network.links_of(member) {
            self.break_link(id, member);
        }
        let down = self.random.between(50, 20_000);
        let at = self.now.plus_millis(down);
        self.at(at, Happening::Restart(member));
    }

    /// Loses what two of the mutants lose although it was on disk. One does so with a crash, the
    /// other, at a hub, at once.
    pub(super) fn damage(&mut self, member: MemberNumber) {
        let mutant = self.mutant;
        let store = &self.node(member).store;
        let mut state = store.durable();
        match mutant {
            Some(Mutant::ExceptionsForgotten) => state.exceptions = Arc::default(),
            Some(Mutant::SourceForgotten) if is_hub(member) => {
                for kept in Arc::make_mut(&mut state.records).values_mut() {
                    Arc::make_mut(kept).source = None;
                }
            }
            Some(_) | None => return,
        }
        store.install(state);
    }

    /// Ends a connection because one of its processes ended. The other side notices it at once or
    /// late.
    pub(super) fn break_link(&mut self, id: LinkId, ended: MemberNumber) {
        let Some(link) = self.network.close(id) else {
            return;
        };
        let (other, life) = if link.from == ended {
            (link.to, link.lives.1)
        } else {
            (link.from, link.lives.0)
        };
        let late = if self.random.chance(300) { 30_000 } else { 0 };
        let notices = self.now.plus_millis(self.profile.latency_ms + late);
        self.at(notices, Happening::To(other, life, Task::Closed(id)));
    }

    pub(super) fn restart(&mut self, member: MemberNumber) {
        let cast = self.cast;
        let node = self.node(member);
        if node.up {
            return;
        }
        node.up = true;
        node.life += 1;
        node.decider = cast.decider(member, node.in_force);
        node.first_decider = Arc::clone(&node.decider);
        self.say(|| format!("{member} starts again"));
        self.start_drivers(member);
        self.check_restart(member);
    }

    pub(super) fn start_drivers(&mut self, member: MemberNumber) {
        let (cast, members, retry) = (self.cast, self.profile.members.clone(), self.profile.retry);
        self.node(member).make_drivers(cast, &members, retry);
        let keys: Vec<DriverKey> = self.node(member).drivers.keys().copied().collect();
        for key in keys {
            self.after(member, 0, Task::Timer(key, 0));
        }
        self.start_reconciling(member);
    }

    pub(super) fn heal(&mut self) {
        self.say(|| "from now on nothing goes wrong".to_owned());
        self.healed = true;
        self.network.heal();
        let processes: Vec<MemberNumber> = self.nodes.keys().copied().collect();
        for member in processes {
            self.restart(member);
        }
    }
}

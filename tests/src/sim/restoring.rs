//! A backup that comes back while the federation runs: an old disk under a node that goes on.
//!
//! Nobody tells the node: its peers do, who know more of it than it does itself.

use portcullis_protocol::{frame::Generation, seal::Entropy as _};
use portcullis_store::NewGeneration;

use super::{cast::MemberNumber, coverage::Seen, happening::Happening, world::World};

impl World {
    /// Takes a backup of a member, and has it come back later.
    pub(super) fn prepare_restore(&mut self) -> Option<MemberNumber> {
        if !self.random.chance(200) {
            return None;
        }
        let member = *self.random.pick(&self.profile.members);
        let mut times = [self.some_time(), self.some_time()];
        times.sort_unstable();
        let [backup, restore] = times;
        self.at(backup, Happening::Backup(member));
        self.at(restore, Happening::Restore(member));
        Some(member)
    }

    pub(super) fn back_up(&mut self, member: MemberNumber) {
        let node = self.node(member);
        node.backup = Some(node.store.durable());
        self.say(|| format!("{member} is backed up"));
    }

    /// The process ends, and starts again on the disk of the backup.
    pub(super) fn restore(&mut self, member: MemberNumber) {
        let Some(backup) = self.node(member).backup.take() else {
            return;
        };
        self.say(|| format!("the backup of {member} comes back"));
        self.coverage.count(Seen::Restored);
        if self.node(member).up {
            self.crash(member);
        }
        self.watch.forget(self.cast, member, &backup);
        let mut backup = backup;
        // Most come back as the product restores them: in a new generation.
        if self.random.chance(700) {
            self.watch.told_restored.insert(member);
            let mut drawn = [0; 16];
            self.random.fill(&mut drawn);
            backup.start_generation(NewGeneration {
                instead_of: backup.generation,
                generation: Generation::from_bytes(drawn),
                at: self.now,
                why: "restored".to_owned(),
            });
        }
        self.node(member).store.install(backup);
    }
}

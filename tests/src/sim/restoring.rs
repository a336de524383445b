//! The restore of a backup while the federation runs: the node continues on an old disk.
//!
//! Nobody tells the node. Its peers do, because they know more of it than it does itself.

use portcullis_protocol::{frame::Generation, seal::Entropy as _};
use portcullis_store::NewGeneration;

use super::{cast::MemberNumber, coverage::Seen, happening::Happening, world::World};

impl World {
    /// Schedules a backup of a member and its restore later. Returns the member, if there is one.
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

    /// Ends the process; it starts again on the disk of the backup.
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
        // Most are restored as the product does it: in a new generation.
        if self.random.chance(700) {
            self.watch.told_restored.insert(member);
            let mut drawn = [0; 16];
            self.random.fill(&mut drawn);
            backup.start_generation(NewGeneration {
                instead_of: backup.generation,
                generation: Generation::from_bytes(drawn),
                shown: None,
                at: self.now,
                why: "restored".to_owned(),
            });
        }
        self.node(member).store.install(backup);
    }
}

//! The events of a run that nothing else triggers, drawn before it begins.

use super::{
    cast::{InForce, MemberNumber, Policy, START},
    coverage::Seen,
    happening::Happening,
    profile::Weather,
    world::World,
};
use portcullis_protocol::time::Timestamp;

/// A day, the time by which comparisons of channels may come later than a day, and time to deliver.
const NEXT_DAY_MS: i64 = 28 * 3_600_000;
/// Time before the end of a long run at which one more batch is published.
const LATE_MS: i64 = 12 * 3_600_000;

impl World {
    /// Schedules all events that nothing else triggers.
    pub(super) fn prepare(&mut self) {
        let profile = self.profile.clone();
        self.say(|| format!("{profile:?}"));
        for member in profile.members.clone() {
            self.start_drivers(member);
            self.prepare_publications(member);
        }
        let heal = START.plus_millis(profile.trouble_ms);
        self.at(heal, Happening::Heal);
        if profile.weather != Weather::Calm {
            self.prepare_changes();
            self.prepare_cuts();
            self.prepare_crashes();
            let restored = self.prepare_restore();
            if restored.is_some() && self.profile.weather == Weather::Rough {
                // Channels that were not compared at once are compared a day later.
                self.profile.aftermath_ms = NEXT_DAY_MS;
                self.profile.longest_rest_ms = NEXT_DAY_MS;
            }
            self.prepare_lies();
            if self.liar.is_none() {
                self.prepare_copy(restored);
            }
        }
    }

    pub(super) fn prepare_publications(&mut self, member: MemberNumber) {
        let mut left: Vec<usize> = (0..self.cast.batches(member).len()).collect();
        for _ in 0..self.profile.batches.min(left.len()) {
            let batch = left.swap_remove(self.random.index(left.len()));
            let at = self.some_time();
            self.at(at, Happening::Publish(member, batch));
        }
        if self.profile.weather == Weather::Long && !left.is_empty() {
            // Retries that have ended by then are reported with the next receipt.
            let late = START.plus_millis(self.profile.aftermath_ms - LATE_MS);
            self.at(late, Happening::Publish(member, left[0]));
        }
    }

    /// Draws a time within the trouble.
    pub(super) fn some_time(&mut self) -> Timestamp {
        let within = self.random.between(0, self.profile.trouble_ms - 1_000);
        START.plus_millis(within)
    }

    pub(super) fn prepare_changes(&mut self) {
        for member in self.profile.members.clone() {
            let newest = if self.random.chance(700) {
                super::cast::NEWEST_EPOCH
            } else {
                self.random.index(super::cast::NEWEST_EPOCH) + 1
            };
            let mut times: Vec<Timestamp> = (0..newest + 1).map(|_| self.some_time()).collect();
            times.sort_unstable();
            let mut in_force = InForce {
                epoch: 1,
                policy: Policy::Baseline,
            };
            for at in times {
                if in_force.epoch < newest && self.random.chance(600) {
                    in_force.epoch += 1;
                } else if self.random.chance(500) {
                    in_force.policy = match in_force.policy {
                        Policy::Baseline => Policy::Tight,
                        Policy::Tight => Policy::Baseline,
                    };
                }
                self.at(at, Happening::Reload(member, in_force));
            }
            if self.random.chance(250) {
                let at = self.some_time();
                self.at(at, Happening::Withdraw(member));
            }
        }
    }

    pub(super) fn prepare_cuts(&mut self) {
        for _ in 0..self.random.index(5) {
            let members = self.profile.members.clone();
            let (one, other) = (*self.random.pick(&members), *self.random.pick(&members));
            if one == other {
                continue;
            }
            let begins = self.some_time();
            let ends = begins.plus_millis(self.random.between(500, 60_000));
            self.at(begins, Happening::Cut(one, other));
            self.at(ends, Happening::Mend(one, other));
            if self.random.chance(500) {
                self.at(begins, Happening::Cut(other, one));
                self.at(ends, Happening::Mend(other, one));
                self.coverage.count(Seen::Partition);
            } else {
                self.coverage.count(Seen::HalfOpen);
            }
        }
    }

    pub(super) fn prepare_crashes(&mut self) {
        if self.profile.crash == 0 {
            return;
        }
        for member in self.profile.members.clone() {
            for _ in 0..self.random.index(4) {
                let at = self.some_time();
                self.at(at, Happening::Crash(member));
            }
        }
    }
}

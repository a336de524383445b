//! The judgement at the end of a run: everything permitted has arrived, nothing else has, and
//! alerts were in time.

use portcullis_protocol::{
    record::{Form, RecordId},
    time::Timestamp,
};

use super::{
    cast::{Likeness, MemberNumber, START},
    expect::{Bounds, Journey},
    invariants::Invariant,
    profile::Weather,
    world::World,
};

/// Time within which an alert must be everywhere if nothing hinders it.
const URGENT_WITHIN_MS: i64 = 3_000;

impl World {
    /// Checks at the end of the run that everything permitted has arrived, and nothing else.
    pub(super) fn judge_the_end(&mut self) {
        let published: Vec<(RecordId, Timestamp)> = self
            .watch
            .published
            .iter()
            .map(|(id, at)| (*id, *at))
            .collect();
        for (record, at) in published {
            self.judge_record(record, at);
        }
        let processes: Vec<MemberNumber> = self.nodes.keys().copied().collect();
        for process in processes {
            self.check_restart(process);
        }
    }

    fn judge_record(&mut self, record: RecordId, published: Timestamp) {
        let made = self.made(&record);
        let members = self.profile.members.clone();
        // A member that lies may deliver the record before its node publishes it.
        let since = if self.watch.faulty.contains(&made.origin) {
            START
        } else {
            published
        };
        let in_force: Vec<_> = members
            .iter()
            .map(|member| self.nodes[member].in_force_since(since))
            .collect();
        let withdrew: Vec<MemberNumber> = members
            .iter()
            .copied()
            .filter(|member| {
                let withdrew = (*member, record);
                self.watch.withdrawn.contains(&withdrew)
                    || self.watch.withdrew_once.contains(&withdrew)
            })
            .collect();
        let known = &self.watch.told_restored;
        let restored = self.watch.restored.difference(known).copied().collect();
        let faulty = self.watch.faulty.clone();
        let journey = Journey {
            made,
            members: &members,
            in_force: &in_force,
            withdrew: &withdrew,
            restored: &restored,
            faulty: &faulty,
            end: self.now,
        };
        let reach = journey.reach();
        let receivers = members.iter().filter(|member| **member != made.origin);
        for receiver in receivers {
            let bounds = Bounds {
                least: journey.least(*receiver),
                most: reach.get(receiver).copied().unwrap_or(Form::EMPTY),
            };
            self.judge_haste(record, published, *receiver, bounds.least);
            for process in self.processes(*receiver) {
                let held = self.nodes[&process].store.durable().form(&record);
                if !bounds.least.is_within(held) || !held.is_within(bounds.most) {
                    let detail = format!(
                        "{receiver} holds {held:?} of {} made by {}: at least {:?}, at most {:?}",
                        self.name(&record),
                        made.origin,
                        bounds.least,
                        bounds.most
                    );
                    self.violated(Invariant::AllArrives, detail);
                }
            }
        }
    }

    /// Checks that an alert in calm weather arrived at once, in spite of all other traffic.
    fn judge_haste(
        &mut self,
        record: RecordId,
        published: Timestamp,
        receiver: MemberNumber,
        least: Form,
    ) {
        let urgent = self.made(&record).like == Likeness::GreenAlert;
        if self.profile.weather != Weather::Calm || !urgent || least.is_empty() {
            return;
        }
        let came = self.watch.urgent.get(&(receiver, record)).copied();
        if came.is_none_or(|came| came.millis_since(published) > URGENT_WITHIN_MS) {
            let detail = format!("{} came to {receiver} late", self.name(&record));
            self.violated(Invariant::UrgentIsFirst, detail);
        }
    }
}

//! Bytes that each authority may add to this node's disk in a day, whoever delivers them.
//!
//! Beyond its quota the bulk of an originator is refused for now, so that its sender tries again on
//! another day and nothing is lost; alerts have a quarter more. What others bring by the same peer
//! is not touched. What stands on the disk afterwards counts (`charges`); a duplicate costs nothing. The
//! count is kept in memory and begins anew with a start; the reserve of the disk does not depend on it. While the disk is short of
//! space, alerts share its reserve: each originator has a sixteenth of it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use portcullis_kernel::disk::Space;
use portcullis_protocol::{frame::Lane, identifiers::NodeId, rules::Rule, time::Timestamp};
use portcullis_store::{Intake, Judgement, NodeEvent};

use super::charges::{Account, Cause, Charges};

/// Accounts from which on those without bytes are forgotten.
const FEW_ACCOUNTS: usize = 1_024;

/// Length of a day, in milliseconds.
const DAY_MS: i64 = 24 * 3_600_000;

/// Bytes of the day, by account.
#[derive(Debug)]
pub(super) struct Quota {
    /// Bytes that one authority may add in a day.
    daily: u64,
    /// Held for a moment only. The register lists the authorities: records of others are refused.
    of: Mutex<BTreeMap<Account, Day>>,
}

/// Bytes since the day began.
#[derive(Debug, Clone, Copy)]
struct Day {
    began: Timestamp,
    bytes: u64,
    /// Those of them that were urgent.
    urgent: u64,
    /// Value of `urgent` when the disk ran short of space; `None` while it is not.
    urgent_before_short: Option<u64>,
}

/// Items of a frame that a quota turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TurnedAway {
    /// None.
    Nothing,
    /// Some, each of which is refused for now.
    Some,
    /// A whole frame of the deliverer's own bulk. It can be refused whole, because nobody else waits
    /// behind it.
    OwnFrame,
}

impl Quota {
    pub(super) const fn new(daily: u64) -> Self {
        Self {
            daily,
            of: Mutex::new(BTreeMap::new()),
        }
    }

    /// Refuses for now what is beyond its originator's quota. `charges` are those of the items, in
    /// order.
    pub(super) fn judge(&self, intake: &mut Intake, charges: &Charges, space: Space) -> TurnedAway {
        let (now, all) = (intake.now, intake.items.len());
        let mut of = self.lock();
        if of.len() > FEW_ACCOUNTS {
            of.retain(|_, day| day.bytes > 0 && !day.is_over(now));
        }
        // Most frames bring records of one originator.
        let mut last: Option<((&Cause, Lane), bool)> = None;
        let mut turned = 0;
        let mut is_own = intake.lane == Lane::Bulk;
        for (item, (cause, lane)) in intake.items.iter_mut().zip(charges.causes()) {
            if !matches!(
                item.judgement,
                Judgement::Admit { .. } | Judgement::Hold { .. }
            ) {
                continue;
            }
            let has_room = match last {
                Some((known, has_room)) if known == (cause, lane) => has_room,
                _ => charges
                    .accounts(cause)
                    .into_iter()
                    .all(|account| day(&mut of, account, now).has_room(self.daily, lane, space)),
            };
            last = Some(((cause, lane), has_room));
            if !has_room {
                item.judgement = Judgement::RefuseForNow { rule: Rule::Busy };
                turned += 1;
                is_own &= *cause == Cause::Deliverer;
            }
        }
        match turned {
            0 => TurnedAway::Nothing,
            count if count == all && is_own => TurnedAway::OwnFrame,
            _ => TurnedAway::Some,
        }
    }

    /// Counts bytes that stand on the disk now. Returns an event if they use up the quota.
    pub(super) fn spend(
        &self,
        peer: &NodeId,
        (account, lane, bytes): (Account, Lane, u64),
        now: Timestamp,
    ) -> Option<NodeEvent> {
        let told = account.clone();
        let mut of = self.lock();
        let day = day(&mut of, account, now);
        let before = day.bytes;
        day.bytes = before.saturating_add(bytes);
        if lane == Lane::Urgent {
            day.urgent = day.urgent.saturating_add(bytes);
        }
        (before < self.daily && day.bytes >= self.daily).then(|| NodeEvent {
            at: now,
            kind: "quota-used-up".to_owned(),
            peer: Some(peer.clone()),
            detail: used_up(&told, day.bytes >> 20),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Account, Day>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the day of an account, begun anew if it is over.
fn day(of: &mut BTreeMap<Account, Day>, account: Account, now: Timestamp) -> &mut Day {
    let day = of.entry(account).or_insert(Day::began(now));
    day.renew(now);
    day
}

fn used_up(account: &Account, mebibytes: u64) -> String {
    match account {
        Account::Added(of) => format!(
            "`{of}` added {mebibytes} MiB within a day; its bulk is refused until the day is over"
        ),
        Account::Again { of, by } => format!(
            "records of `{of}` that `{by}` brought and that were refused, held or extended take {mebibytes} MiB; its bulk by that peer is refused until the day is over"
        ),
    }
}

impl Day {
    const fn began(now: Timestamp) -> Self {
        Self {
            began: now,
            bytes: 0,
            urgent: 0,
            urgent_before_short: None,
        }
    }

    /// Begins another day if this one is over.
    fn renew(&mut self, now: Timestamp) {
        if self.is_over(now) {
            *self = Self::began(now);
        }
    }

    /// A clock that was set back ends the day as well.
    fn is_over(&self, now: Timestamp) -> bool {
        !(0..DAY_MS).contains(&now.millis_since(self.began))
    }

    /// Notes that the disk has run short of space, or has enough again.
    fn note(&mut self, space: Space) {
        self.urgent_before_short = space
            .is_short()
            .then(|| self.urgent_before_short.unwrap_or(self.urgent));
    }

    /// Returns true if more may be added, on a disk with this space.
    fn has_room(&mut self, daily: u64, lane: Lane, space: Space) -> bool {
        self.note(space);
        match lane {
            Lane::Bulk => self.bytes < daily,
            Lane::Urgent => {
                let since = |before| self.urgent.saturating_sub(before) < space.reserve / 16;
                self.bytes < daily.saturating_add(daily / 4)
                    && self.urgent_before_short.is_none_or(since)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_protocol::{
        digest::Digest,
        frame::{Chain, FramePosition, Generation},
        identifiers::AuthorityId,
        keys::{KeyId, KeyUse, PublicKey},
        record::Kind,
        seal::Batch,
        statement::SignedStatement,
        verify::{KeyStanding, Occasion, SealingKeys, VerifiedRecord, Verifier},
    };
    use portcullis_store::{DecisionNote, IntakeItem, Part};

    use super::*;
    use portcullis_testbed as testbed;
    use portcullis_testbed::NOW;

    struct Keys(PublicKey);

    impl SealingKeys for Keys {
        fn sealing_key(&self, _: &AuthorityId, _: &KeyId) -> Option<(&PublicKey, KeyStanding)> {
            Some((&self.0, KeyStanding::InForce))
        }
    }

    fn record(member: u8, kind: Kind) -> VerifiedRecord {
        let mut draft = testbed::indicator();
        draft.kind = kind;
        let keys = Keys(testbed::key(member, KeyUse::Sealing).public());
        let verifier = Verifier {
            federation: &"test".parse().unwrap(),
            keys: &keys,
            now: NOW,
            occasion: Occasion::Arriving,
        };
        verifier
            .verify(&testbed::seal(member, vec![draft], 1)[0])
            .unwrap()
    }

    fn intake(peer: &str, records: &[&VerifiedRecord], now: Timestamp) -> Intake {
        let key = testbed::key(1, KeyUse::Sealing);
        let items = records.iter().map(|record| IntakeItem {
            id: record.id(),
            form: record.form(),
            judgement: Judgement::Admit {
                record: (*record).clone(),
                note: DecisionNote::default(),
            },
        });
        Intake {
            peer: peer.parse().unwrap(),
            lane: Lane::Bulk,
            place: FramePosition {
                generation: Generation::from_bytes([0; 16]),
                first_sequence: 1,
                next_sequence: 1 + records.len() as u64,
                settled_sequence: 1,
                chain: Chain::START,
                digest: Digest::from_bytes([0; 32]),
            },
            statement: SignedStatement::sign::<Batch>(Vec::new().into(), &key).unwrap(),
            part: Part::First,
            now,
            items: items.collect(),
        }
    }

    const PLENTY: Space = Space {
        free: 16_000,
        reserve: 16_000,
    };
    const SHORT: Space = Space {
        free: 15_999,
        reserve: 16_000,
    };

    /// Judges records from the hub. Returns a flag for each that is refused for now.
    fn judged(
        quota: &Quota,
        (peer, space): (&str, Space),
        records: &[&VerifiedRecord],
        now: Timestamp,
    ) -> (TurnedAway, Vec<bool>) {
        let mut intake = intake(peer, records, now);
        let deliverer = peer.trim_end_matches("-1").parse().unwrap();
        let arrived: Vec<_> = records.iter().map(|one| one.sealed().clone()).collect();
        let register = testbed::register();
        let charges = Charges::of(&intake, &arrived, (register.register(), &deliverer));
        let turned = quota.judge(&mut intake, &charges, space);
        let busy = |item: &IntakeItem| {
            matches!(item.judgement, Judgement::RefuseForNow { rule: Rule::Busy })
        };
        (turned, intake.items.iter().map(busy).collect())
    }

    /// Counts bytes of the record's originator, brought by this peer.
    fn spend(
        quota: &Quota,
        (peer, record): (&NodeId, &VerifiedRecord),
        bytes: u64,
        now: Timestamp,
    ) -> Option<NodeEvent> {
        let header = record.header();
        let account = Account::Added(header.origin.clone());
        quota.spend(peer, (account, Lane::of(header.kind), bytes), now)
    }

    /// Attack H4: one member's flood ends at its quota, what others bring by the same hub goes on, and
    /// alerts have a quarter more.
    #[test]
    fn an_originator_beyond_its_quota_is_refused_for_now_and_nobody_else_is() {
        let quota = Quota::new(1_000);
        let hub: NodeId = "hub-1".parse().unwrap();
        let by_hub = ("hub-1", PLENTY);
        let [flood, alert] = [Kind::Indicator, Kind::Alert].map(|kind| record(4, kind));
        let other = record(1, Kind::Indicator);
        let all = [&flood, &alert, &other];
        let (none, some) = (TurnedAway::Nothing, TurnedAway::Some);
        assert_eq!(judged(&quota, by_hub, &all, NOW), (none, vec![false; 3]));
        assert!(spend(&quota, (&hub, &flood), 999, NOW).is_none());
        let event = spend(&quota, (&hub, &flood), 1, NOW).unwrap();
        assert!(event.detail.contains("terminal"), "{event:?}");
        assert!(spend(&quota, (&hub, &flood), 1, NOW).is_none());
        let beyond = judged(&quota, by_hub, &all, NOW);
        assert_eq!(beyond, (some, vec![true, false, false]));
        // What others bring waits behind it, so that the hub's frame is answered item by item.
        let alone = judged(&quota, by_hub, &[&flood, &flood], NOW);
        assert_eq!(alone, (some, vec![true, true]));
        // No other peer brings more of it, be it the originator itself (finding F8).
        let itself = judged(&quota, ("terminal-1", PLENTY), &all, NOW);
        assert_eq!(itself, (some, vec![true, false, false]));
        spend(&quota, (&hub, &flood), 249, NOW);
        let beyond = judged(&quota, by_hub, &all, NOW);
        assert_eq!(beyond, (some, vec![true, true, false]));
        let next_day = NOW.plus_millis(DAY_MS);
        assert_eq!(judged(&quota, by_hub, &all, next_day).0, none);
        // The originator's own frame is refused whole: its sender waits, and no record is given up.
        let itself: NodeId = "terminal-1".parse().unwrap();
        spend(&quota, (&itself, &flood), 1_000, NOW);
        let own = judged(&quota, ("terminal-1", PLENTY), &[&flood, &flood], NOW);
        assert_eq!(own.0, TurnedAway::OwnFrame);
    }

    /// Finding F8: refused items were in no quota. One deliverer that brings the same refused record
    /// over and over takes nothing from its originator but what it brings itself.
    #[test]
    fn refused_records_use_up_a_quota_of_originator_and_deliverer() {
        let quota = Quota::new(1_000);
        let hub: NodeId = "hub-1".parse().unwrap();
        let [flood, other] = [4, 1].map(|member| record(member, Kind::Indicator));
        let refused = Account::Again {
            of: "terminal".parse().unwrap(),
            by: "hub".parse().unwrap(),
        };
        let event = quota.spend(&hub, (refused, Lane::Bulk, 1_000), NOW);
        assert!(event.unwrap().detail.contains("`hub` brought"));
        let all = [&flood, &other];
        let some = (TurnedAway::Some, vec![true, false]);
        assert_eq!(judged(&quota, ("hub-1", PLENTY), &all, NOW), some);
        let none = (TurnedAway::Nothing, vec![false, false]);
        assert_eq!(judged(&quota, ("terminal-1", PLENTY), &all, NOW), none);
        assert_eq!(judged(&quota, ("rotterdam-1", PLENTY), &all, NOW), none);
    }

    /// Attack H4: a flood of alerts does not use up the reserve that is for the alerts of all.
    #[test]
    fn while_the_disk_is_short_each_originator_has_its_share_of_the_reserve() {
        let quota = Quota::new(u64::MAX);
        let hub: NodeId = "hub-1".parse().unwrap();
        let (flood, other) = (record(4, Kind::Alert), record(1, Kind::Alert));
        let all = [&flood, &other];
        spend(&quota, (&hub, &flood), 5_000, NOW);
        let refused = |space| judged(&quota, ("hub-1", space), &all, NOW).1;
        assert_eq!(refused(SHORT), [false, false], "what came before is over");
        spend(&quota, (&hub, &flood), 1_000, NOW);
        assert_eq!(refused(SHORT), [true, false]);
        assert_eq!(refused(PLENTY), [false, false]);
        assert_eq!(refused(SHORT), [false, false], "it is short anew");
    }
}

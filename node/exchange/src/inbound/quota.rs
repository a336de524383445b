//! Bytes that each originator may add to this node's disk in a day, through each peer that delivers.
//!
//! Beyond its quota the bulk of an originator is refused for now, so that its sender tries again on
//! another day and nothing is lost; alerts have a quarter more. What others bring by the same peer
//! is not touched. Only what was added counts: a duplicate costs nothing. The count is kept in
//! memory and begins anew with a start; the reserve of the disk does not depend on it. While the disk
//! is short of space, alerts share its reserve: each originator has a sixteenth of it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use portcullis_kernel::disk::Space;
use portcullis_protocol::{
    frame::Lane,
    identifiers::{AuthorityId, NodeId},
    rules::Rule,
    time::Timestamp,
    verify::VerifiedRecord,
};
use portcullis_store::{Intake, Judgement, NodeEvent, weight};

/// Length of a day, in milliseconds.
const DAY_MS: i64 = 24 * 3_600_000;

/// Bytes added, by peer and originator.
#[derive(Debug)]
pub(super) struct Quota {
    /// Bytes that one originator may add in a day through one peer.
    daily: u64,
    /// Held for a moment only. The register lists the peers and the originators, whose records were
    /// verified.
    of: Mutex<BTreeMap<(NodeId, AuthorityId), Day>>,
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

/// Cost of a record to its originator.
#[derive(Debug, Clone)]
pub(super) struct Charge {
    origin: AuthorityId,
    lane: Lane,
    bytes: u64,
}

impl Charge {
    pub(super) fn of(record: &VerifiedRecord) -> Self {
        let header = record.header();
        Self {
            origin: header.origin.clone(),
            lane: Lane::of(header.kind),
            bytes: u64::try_from(weight(record.sealed())).unwrap_or(u64::MAX),
        }
    }
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

    /// Refuses for now what is beyond its originator's quota. `deliverer` is the authority of the peer.
    pub(super) fn judge(
        &self,
        intake: &mut Intake,
        deliverer: &AuthorityId,
        space: Space,
    ) -> TurnedAway {
        let (now, all) = (intake.now, intake.items.len());
        let mut turned = 0;
        let mut is_own = intake.lane == Lane::Bulk;
        for item in &mut intake.items {
            let (Judgement::Admit { record, .. } | Judgement::Hold { record, .. }) =
                &item.judgement
            else {
                continue;
            };
            let charge = Charge::of(record);
            if !self.has_room(&intake.peer, &charge, space, now) {
                item.judgement = Judgement::RefuseForNow { rule: Rule::Busy };
                turned += 1;
                is_own &= charge.origin == *deliverer;
            }
        }
        match turned {
            0 => TurnedAway::Nothing,
            count if count == all && is_own => TurnedAway::OwnFrame,
            _ => TurnedAway::Some,
        }
    }

    fn has_room(&self, peer: &NodeId, charge: &Charge, space: Space, now: Timestamp) -> bool {
        let mut of = self.lock();
        let key = (peer.clone(), charge.origin.clone());
        let day = of.entry(key).or_insert(Day::began(now));
        day.renew(now);
        day.note(space);
        day.has_room(self.daily, charge.lane, space)
    }

    /// Counts what was added. Returns an event if it uses up the quota.
    pub(super) fn spend(
        &self,
        peer: &NodeId,
        charge: &Charge,
        now: Timestamp,
    ) -> Option<NodeEvent> {
        let Charge {
            origin,
            lane,
            bytes,
        } = charge;
        let mut of = self.lock();
        let key = (peer.clone(), origin.clone());
        let day = of.entry(key).or_insert(Day::began(now));
        day.renew(now);
        let before = day.bytes;
        day.bytes = before.saturating_add(*bytes);
        if *lane == Lane::Urgent {
            day.urgent = day.urgent.saturating_add(*bytes);
        }
        (before < self.daily && day.bytes >= self.daily).then(|| NodeEvent {
            at: now,
            kind: "quota-used-up".to_owned(),
            peer: Some(peer.clone()),
            detail: format!(
                "`{origin}` added {} MiB within a day; its bulk is refused until the day is over",
                day.bytes >> 20
            ),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(NodeId, AuthorityId), Day>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Begins another day if this one is over. A clock that was set back ends it as well.
    fn renew(&mut self, now: Timestamp) {
        if !(0..DAY_MS).contains(&now.millis_since(self.began)) {
            *self = Self::began(now);
        }
    }

    /// Notes that the disk has run short of space, or has enough again.
    fn note(&mut self, space: Space) {
        self.urgent_before_short = space
            .is_short()
            .then(|| self.urgent_before_short.unwrap_or(self.urgent));
    }

    fn has_room(&self, daily: u64, lane: Lane, space: Space) -> bool {
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
        keys::{KeyId, KeyUse, PublicKey},
        record::Kind,
        seal::Batch,
        statement::SignedStatement,
        verify::{KeyStanding, Occasion, SealingKeys, Verifier},
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
        let turned = quota.judge(&mut intake, &deliverer, space);
        let busy = |item: &IntakeItem| {
            matches!(item.judgement, Judgement::RefuseForNow { rule: Rule::Busy })
        };
        (turned, intake.items.iter().map(busy).collect())
    }

    fn charge(record: &VerifiedRecord, bytes: u64) -> Charge {
        Charge {
            bytes,
            ..Charge::of(record)
        }
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
        assert!(quota.spend(&hub, &charge(&flood, 999), NOW).is_none());
        let event = quota.spend(&hub, &charge(&flood, 1), NOW).unwrap();
        assert!(event.detail.contains("terminal"), "{event:?}");
        assert!(quota.spend(&hub, &charge(&flood, 1), NOW).is_none());
        let beyond = judged(&quota, by_hub, &all, NOW);
        assert_eq!(beyond, (some, vec![true, false, false]));
        // What others bring waits behind it, so that the hub's frame is answered item by item.
        let alone = judged(&quota, by_hub, &[&flood, &flood], NOW);
        assert_eq!(alone, (some, vec![true, true]));
        // By another peer, and on another day, it goes on.
        assert_eq!(judged(&quota, ("terminal-1", PLENTY), &all, NOW).0, none);
        quota.spend(&hub, &charge(&flood, 249), NOW);
        let beyond = judged(&quota, by_hub, &all, NOW);
        assert_eq!(beyond, (some, vec![true, true, false]));
        let next_day = NOW.plus_millis(DAY_MS);
        assert_eq!(judged(&quota, by_hub, &all, next_day).0, none);
        // The originator's own frame is refused whole: its sender waits, and no record is given up.
        let itself: NodeId = "terminal-1".parse().unwrap();
        quota.spend(&itself, &charge(&flood, 1_000), NOW);
        let own = judged(&quota, ("terminal-1", PLENTY), &[&flood, &flood], NOW);
        assert_eq!(own.0, TurnedAway::OwnFrame);
    }

    /// Attack H4: a flood of alerts does not use up the reserve that is for the alerts of all.
    #[test]
    fn while_the_disk_is_short_each_originator_has_its_share_of_the_reserve() {
        let quota = Quota::new(u64::MAX);
        let hub: NodeId = "hub-1".parse().unwrap();
        let (flood, other) = (record(4, Kind::Alert), record(1, Kind::Alert));
        let all = [&flood, &other];
        quota.spend(&hub, &charge(&flood, 5_000), NOW);
        let refused = |space| judged(&quota, ("hub-1", space), &all, NOW).1;
        assert_eq!(refused(SHORT), [false, false], "what came before is over");
        quota.spend(&hub, &charge(&flood, 1_000), NOW);
        assert_eq!(refused(SHORT), [true, false]);
        assert_eq!(refused(PLENTY), [false, false]);
        assert_eq!(refused(SHORT), [false, false], "it is short anew");
    }
}

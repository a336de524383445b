//! Conduct of peers: budgets for what they bring that is refused, and short reports of it.
//!
//! A peer that floods this node with what it refuses must not fill its disk or its log. Refused
//! frames therefore make one event when a kind of refusal begins, and one with a count for the
//! minute that follows. Each peer also has a budget of refused records a minute; beyond it, its
//! frames are refused whole before their records are looked at (EX-15, with no credit). What an
//! originator signed has a budget of its own at each peer that delivers it; beyond it, its records by
//! that peer are refused for now, and no others. A deliverer can name many originators in records of
//! which nothing is verified; all of those together have one budget, beyond which the peer is slowed for
//! the minute and nothing of anybody is refused for it. All is kept in memory, for what the register lists: a
//! restart loses at most one minute's count. The lanes have budgets of their own, so that bulk which a
//! hub passes on does not shut out the alerts that it passes on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use portcullis_kernel::telling::{Telling, within_minute};
use portcullis_protocol::{frame::Lane, identifiers::NodeId, rules::Rule, time::Timestamp};
use portcullis_store::NodeEvent;

use super::charges::Cause;

/// Peers with a kind of refusal that are counted apart: more than a register lists.
const MOST_COUNTED: usize = 8_192;
/// Budget of refused records per peer and minute: eight full frames. Beyond it the peer's frames
/// are refused.
pub(super) const REFUSED_A_MINUTE: usize = 8 * 1024;

/// Budget of refused urgent records per peer and minute.
const URGENT_REFUSED_A_MINUTE: usize = 1024;

/// Budget of records of which nothing was verified, per peer and minute, whomever they name. Beyond it
/// the peer has one frame on its way at a time, and its frames are verified beside bulk.
const UNVERIFIED_A_MINUTE: usize = 1024;

/// Period over which urgent work is counted, in milliseconds.
const SECOND_MS: i64 = 1_000;
/// Budget of urgent work per peer and second: items verified, whatever becomes of them. Beyond it
/// the peer's frames are verified beside bulk.
const URGENT_ITEMS_A_SECOND: usize = 512;
/// Budget of urgent work per peer and second: bytes of records.
const URGENT_BYTES_A_SECOND: usize = 16 << 20;

type Budgets = BTreeMap<(NodeId, Lane), BTreeMap<Cause, Budget>>;

/// Refusals counted per peer.
#[derive(Debug)]
pub(super) struct Conduct {
    /// Budgets by peer, lane and cause; held for a moment only.
    budgets: Mutex<Budgets>,
    /// Records of which nothing was verified, by peer; held for a moment only.
    unverified: Mutex<BTreeMap<NodeId, Budget>>,
    /// Urgent work by peer; held for a moment only.
    urgent: Mutex<BTreeMap<NodeId, UrgentWork>>,
    /// Frames refused, by peer and rule; held for a moment only.
    frames: Mutex<Telling<(NodeId, Rule)>>,
}

impl Default for Conduct {
    fn default() -> Self {
        Self {
            budgets: Mutex::default(),
            unverified: Mutex::default(),
            urgent: Mutex::default(),
            frames: Mutex::new(Telling::new(1, MOST_COUNTED)),
        }
    }
}

/// Urgent work since the second began.
#[derive(Debug, Default)]
struct UrgentWork {
    began: Option<Timestamp>,
    items: usize,
    bytes: usize,
}

/// Records refused since the minute began.
#[derive(Debug, Default)]
struct Budget {
    began: Option<Timestamp>,
    refused: usize,
}

impl Conduct {
    /// Returns true while this peer's frames in this lane are refused unread.
    pub(super) fn is_shut_out(&self, (peer, lane): (&NodeId, Lane), now: Timestamp) -> bool {
        let budgets = self.budgets();
        let of_peer = budgets.get(&(peer.clone(), lane));
        let own = of_peer.and_then(|causes| causes.get(&Cause::Deliverer));
        own.is_some_and(|budget| budget.is_used_up(lane, now))
    }

    /// Returns the originators whose records are refused for now, if this peer brings them.
    pub(super) fn shut_out_by(
        &self,
        (peer, lane): (&NodeId, Lane),
        now: Timestamp,
    ) -> BTreeSet<Cause> {
        let budgets = self.budgets();
        let causes = budgets.get(&(peer.clone(), lane)).into_iter().flatten();
        let used_up = causes.filter(|(_, budget)| budget.is_used_up(lane, now));
        used_up.map(|(cause, _)| cause.clone()).collect()
    }

    /// Counts refused records. Returns an event if they use up the budget.
    pub(super) fn records_refused(
        &self,
        (peer, lane): (&NodeId, Lane),
        (cause, count): (&Cause, usize),
        now: Timestamp,
    ) -> Option<NodeEvent> {
        if count == 0 {
            return None;
        }
        let most = most_refused(lane);
        let mut budgets = self.budgets();
        let causes = budgets.entry((peer.clone(), lane)).or_default();
        let budget = causes.entry(cause.clone()).or_default();
        let before = budget.count(count, now);
        (before < most && budget.refused >= most).then(|| NodeEvent {
            at: now,
            kind: "peer-shut-out".to_owned(),
            peer: Some(peer.clone()),
            detail: shut_out(cause, lane, budget.refused),
        })
    }

    /// Counts records of which nothing was verified. Returns an event if they use up the budget.
    pub(super) fn unverified(
        &self,
        peer: &NodeId,
        count: usize,
        now: Timestamp,
    ) -> Option<NodeEvent> {
        if count == 0 {
            return None;
        }
        let mut unverified = self.unverified_budgets();
        let budget = unverified.entry(peer.clone()).or_default();
        let before = budget.count(count, now);
        (before < UNVERIFIED_A_MINUTE && budget.refused >= UNVERIFIED_A_MINUTE).then(|| NodeEvent {
            at: now,
            kind: "peer-slowed".to_owned(),
            peer: Some(peer.clone()),
            detail: format!(
                "{} of its records within a minute are signed with keys that no register lists, or are of a later version; it is slowed until the minute is over",
                budget.refused
            ),
        })
    }

    /// Returns true while this peer is slowed.
    pub(super) fn is_slowed(&self, peer: &NodeId, now: Timestamp) -> bool {
        let unverified = self.unverified_budgets();
        let budget = unverified.get(peer);
        budget.is_some_and(|of| of.is_open(now) && of.refused >= UNVERIFIED_A_MINUTE)
    }

    /// Counts the work for an urgent frame of so many items and bytes. Returns the lane in whose pool
    /// it is done: bulk while the peer is slowed, or once its budget for the second is used up.
    pub(super) fn urgent_work(
        &self,
        peer: &NodeId,
        (items, bytes): (usize, usize),
        now: Timestamp,
    ) -> Lane {
        let is_slowed = self.is_slowed(peer, now);
        let mut urgent = self.urgent();
        let work = urgent.entry(peer.clone()).or_default();
        if !work.is_open(now) {
            *work = UrgentWork {
                began: Some(now),
                ..UrgentWork::default()
            };
        }
        work.items = work.items.saturating_add(items);
        work.bytes = work.bytes.saturating_add(bytes);
        if is_slowed || work.items > URGENT_ITEMS_A_SECOND || work.bytes > URGENT_BYTES_A_SECOND {
            Lane::Bulk
        } else {
            Lane::Urgent
        }
    }

    /// Counts a refused frame. Returns an event if none has reported this rule yet.
    pub(super) fn frame_refused(
        &self,
        peer: &NodeId,
        rule: Rule,
        detail: &str,
        now: Timestamp,
    ) -> Option<NodeEvent> {
        let told = self.frames().count((peer.clone(), rule), now);
        told.then(|| frame_event(peer, detail.to_owned(), now))
    }

    /// Returns an event for each rule and peer whose minute is over and that had more refusals, and
    /// drops the counts.
    pub(super) fn over(&self, now: Timestamp) -> Vec<NodeEvent> {
        self.budgets().retain(|_, causes| {
            causes.retain(|_, budget| budget.is_open(now));
            !causes.is_empty()
        });
        self.urgent().retain(|_, work| work.is_open(now));
        self.unverified_budgets()
            .retain(|_, budget| budget.is_open(now));
        let untold = self.frames().over(now);
        let event = |((peer, rule), more): &((NodeId, Rule), u64)| {
            let detail = format!("{rule}: {more} more frames within a minute");
            frame_event(peer, detail, now)
        };
        untold.causes.iter().map(event).collect()
    }

    fn budgets(&self) -> MutexGuard<'_, Budgets> {
        self.budgets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unverified_budgets(&self) -> MutexGuard<'_, BTreeMap<NodeId, Budget>> {
        self.unverified
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn urgent(&self) -> MutexGuard<'_, BTreeMap<NodeId, UrgentWork>> {
        self.urgent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn frames(&self) -> MutexGuard<'_, Telling<(NodeId, Rule)>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the refused records of a minute after which a peer is shut out in this lane.
const fn most_refused(lane: Lane) -> usize {
    match lane {
        Lane::Urgent => URGENT_REFUSED_A_MINUTE,
        Lane::Bulk => REFUSED_A_MINUTE,
    }
}

impl UrgentWork {
    /// A clock that was set back ends the second as well.
    fn is_open(&self, now: Timestamp) -> bool {
        let within = |began| (0..SECOND_MS).contains(&now.millis_since(began));
        self.began.is_some_and(within)
    }
}

impl Budget {
    /// Counts records, in a new minute if the one before is over. Returns the count before them.
    fn count(&mut self, count: usize, now: Timestamp) -> usize {
        if !self.is_open(now) {
            *self = Self {
                began: Some(now),
                refused: 0,
            };
        }
        let before = self.refused;
        self.refused = before.saturating_add(count);
        before
    }

    fn is_used_up(&self, lane: Lane, now: Timestamp) -> bool {
        self.is_open(now) && self.refused >= most_refused(lane)
    }

    fn is_open(&self, now: Timestamp) -> bool {
        self.began.is_some_and(|began| within_minute(began, now))
    }
}

fn shut_out(cause: &Cause, lane: Lane, refused: usize) -> String {
    match cause {
        Cause::Deliverer => format!(
            "{refused} of its {lane} records were refused within a minute; its frames in that lane are refused until the minute is over"
        ),
        Cause::Originator(origin) => format!(
            "{refused} {lane} records of `{origin}` that it brought were refused within a minute; what it brings of `{origin}` in that lane is refused until the minute is over"
        ),
    }
}

fn frame_event(peer: &NodeId, detail: String, now: Timestamp) -> NodeEvent {
    NodeEvent {
        at: now,
        kind: "frame-refused".to_owned(),
        peer: Some(peer.clone()),
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_kernel::telling::MINUTE_MS;
    use portcullis_testbed::NOW;

    fn peer(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    #[test]
    fn a_flood_of_refused_frames_is_two_events_a_minute() {
        let conduct = Conduct::default();
        let refuse = |rule, at| conduct.frame_refused(&peer("antwerp-1"), rule, "why", at);
        assert!(refuse(Rule::FrameSignature, NOW).is_some());
        for number in 0..1_000 {
            assert_eq!(refuse(Rule::FrameSignature, NOW.plus_millis(number)), None);
        }
        // A refusal under another rule is another event.
        assert!(refuse(Rule::FrameItems, NOW).is_some());
        assert_eq!(conduct.over(NOW.plus_millis(MINUTE_MS - 1)), []);
        let events = conduct.over(NOW.plus_millis(MINUTE_MS));
        let [event] = &events[..] else {
            panic!("{events:?}");
        };
        assert!(event.detail.starts_with("EX-05"), "{}", event.detail);
        assert!(event.detail.contains(" 1000 more"), "{}", event.detail);
        assert!(refuse(Rule::FrameSignature, NOW.plus_millis(MINUTE_MS)).is_some());
    }

    #[test]
    fn ex_15_a_peer_beyond_its_budget_of_refused_records_is_shut_out_for_the_minute() {
        let conduct = Conduct::default();
        let (bad, good) = (peer("antwerp-1"), peer("hub-1"));
        let refused =
            |count, at| conduct.records_refused((&bad, Lane::Bulk), (&Cause::Deliverer, count), at);
        let is_shut_out = |peer, at| conduct.is_shut_out((peer, Lane::Bulk), at);
        assert_eq!(refused(REFUSED_A_MINUTE - 1, NOW), None);
        assert!(!is_shut_out(&bad, NOW));
        // It is told once, however many more come.
        assert!(refused(1, NOW.plus_millis(5)).is_some());
        assert_eq!(refused(1_024, NOW.plus_millis(6)), None);
        assert!(is_shut_out(&bad, NOW.plus_millis(MINUTE_MS - 1)));
        assert!(!is_shut_out(&good, NOW));
        assert!(!is_shut_out(&bad, NOW.plus_millis(MINUTE_MS)));
        let next = NOW.plus_millis(MINUTE_MS);
        assert!(refused(REFUSED_A_MINUTE, next).is_some());
        assert!(is_shut_out(&bad, next));
    }

    #[test]
    fn a_clock_that_is_set_back_shuts_nobody_out_for_long() {
        let conduct = Conduct::default();
        let bad = peer("antwerp-1");
        conduct.records_refused(
            (&bad, Lane::Bulk),
            (&Cause::Deliverer, REFUSED_A_MINUTE),
            NOW,
        );
        assert!(!conduct.is_shut_out((&bad, Lane::Bulk), NOW.plus_millis(-1)));
    }

    /// Attack HH2: bulk that a hub passes on, and that is refused here, shut out the alerts that it
    /// passes on for everybody else.
    #[test]
    fn refused_bulk_does_not_shut_out_the_alerts_of_the_same_peer() {
        let conduct = Conduct::default();
        let hub = peer("hub-1");
        conduct.records_refused(
            (&hub, Lane::Bulk),
            (&Cause::Deliverer, REFUSED_A_MINUTE),
            NOW,
        );
        assert!(conduct.is_shut_out((&hub, Lane::Bulk), NOW));
        assert!(!conduct.is_shut_out((&hub, Lane::Urgent), NOW));
        let urgent = (&hub, Lane::Urgent);
        assert!(
            conduct
                .records_refused(urgent, (&Cause::Deliverer, URGENT_REFUSED_A_MINUTE), NOW)
                .is_some()
        );
        assert!(conduct.is_shut_out(urgent, NOW));
    }

    /// Finding F9: refused alerts of one originator shut out those that the same hub passes on for
    /// everybody else.
    #[test]
    fn what_an_originator_signed_shuts_out_nobody_else_at_the_same_peer() {
        let conduct = Conduct::default();
        let hub = peer("hub-1");
        let urgent = (&hub, Lane::Urgent);
        let flood = Cause::Originator("terminal".parse().unwrap());
        let event = conduct.records_refused(urgent, (&flood, URGENT_REFUSED_A_MINUTE), NOW);
        assert!(event.unwrap().detail.contains("`terminal`"));
        assert!(!conduct.is_shut_out(urgent, NOW));
        assert_eq!(conduct.shut_out_by(urgent, NOW), [flood.clone()].into());
        let bulk = (&hub, Lane::Bulk);
        assert_eq!(conduct.shut_out_by(bulk, NOW), BTreeSet::new());
        let other = peer("terminal-1");
        let by_other = conduct.shut_out_by((&other, Lane::Urgent), NOW);
        assert_eq!(by_other, BTreeSet::new());
        let later = NOW.plus_millis(MINUTE_MS);
        assert_eq!(conduct.shut_out_by(urgent, later), BTreeSet::new());
        assert_eq!(conduct.over(later), []);
        assert!(conduct.budgets().is_empty());
    }

    /// Hostile HP-194: whoever names many originators in records of unknown keys had the budget of each.
    /// All of them together slow the peer; nobody's records are refused for it, and no other peer waits.
    #[test]
    fn names_that_nothing_vouches_for_slow_their_deliverer_and_shut_out_nobody() {
        let conduct = Conduct::default();
        let (bad, good) = (peer("hub-1"), peer("hub-2"));
        let mut events = 0;
        for number in 0..8 {
            let named = Cause::Originator(format!("authority-{number}").parse().unwrap());
            let urgent = (&bad, Lane::Urgent);
            assert_eq!(conduct.records_refused(urgent, (&named, 128), NOW), None);
            assert!(!conduct.is_slowed(&bad, NOW), "{number}");
            events += usize::from(conduct.unverified(&bad, 128, NOW).is_some());
        }
        assert_eq!((events, conduct.unverified(&bad, 128, NOW)), (1, None));
        assert!(conduct.is_slowed(&bad, NOW) && !conduct.is_slowed(&good, NOW));
        assert_eq!(conduct.urgent_work(&bad, (1, 1), NOW), Lane::Bulk);
        assert_eq!(conduct.urgent_work(&good, (1, 1), NOW), Lane::Urgent);
        for lane in [Lane::Urgent, Lane::Bulk] {
            assert!(!conduct.is_shut_out((&bad, lane), NOW));
            assert_eq!(conduct.shut_out_by((&bad, lane), NOW), BTreeSet::new());
        }
        let later = NOW.plus_millis(MINUTE_MS);
        assert!(!conduct.is_slowed(&bad, later));
        conduct.over(later);
        assert!(conduct.unverified_budgets().is_empty());
    }

    /// Attack M3: one frame of duplicates again and again, as urgent.
    #[test]
    fn urgent_work_beyond_a_peers_budget_is_done_beside_bulk_for_the_second() {
        let conduct = Conduct::default();
        let (bad, good) = (peer("antwerp-1"), peer("hub-1"));
        let work = |of: &NodeId, items, bytes, at| conduct.urgent_work(of, (items, bytes), at);
        for _ in 0..16 {
            assert_eq!(work(&bad, 32, 1_000, NOW), Lane::Urgent);
        }
        assert_eq!(work(&bad, 1, 1_000, NOW.plus_millis(999)), Lane::Bulk);
        assert_eq!(work(&good, 1, 1_000, NOW.plus_millis(999)), Lane::Urgent);
        assert_eq!(work(&bad, 1, 1_000, NOW.plus_millis(1_000)), Lane::Urgent);
        // Few items of many bytes are work as well.
        let bytes = URGENT_BYTES_A_SECOND + 1;
        assert_eq!(work(&bad, 1, bytes, NOW.plus_millis(1_000)), Lane::Bulk);
        assert_eq!(
            work(&bad, 1, 1, NOW.plus_millis(900)),
            Lane::Urgent,
            "set back"
        );
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let conduct = Conduct::default();
        conduct.records_refused(
            (&peer("antwerp-1"), Lane::Bulk),
            (&Cause::Deliverer, 5),
            NOW,
        );
        conduct.frame_refused(&peer("hub-1"), Rule::FrameItems, "why", NOW);
        assert_eq!(conduct.budgets().len(), 1);
        assert_eq!(conduct.over(NOW.plus_millis(MINUTE_MS)), []);
        assert!(conduct.budgets().is_empty() && conduct.frames().is_empty());
    }
}

//! What has to hold, looked at after every step, from outside: from what is on disk, what is sent
//! and what is signed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use portcullis_node::store::DisclosureState;
use portcullis_protocol::{
    frame::{Answer, Lane, Outcome, Receipt, SentFrame, Verdict},
    record::{Form, RecordId},
    rules::Rule,
    time::Timestamp,
};

use super::{
    cast::{Cast, MEMBERS, MemberNumber, START},
    coverage::Seen,
    dispatching::{OPEN_TIMEOUT_MS, RECEIPT_TIMEOUT_MS},
    expect::{self, Made, Taken, WHOLE},
    network::LinkId,
    profile::Weather,
    store::{EXCEPTION_LIFE_MS, LogLine, State},
    world::World,
};

/// Something that has to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// Nothing leaves without a permit under what is in force, and a durable intended disclosure.
    PermittedAndIntended,
    /// One acceptance per record, form and peer; a final answer never changes.
    OneFinalAnswer,
    /// Once all is well, everything that is permitted has arrived, and nothing else.
    AllArrives,
    /// What a sender holds an acceptance for is durable at the receiver.
    NothingAcknowledgedIsLost,
    /// What was withdrawn does not come back.
    WithdrawnStaysAway,
    /// Nothing goes back to where it came from.
    NothingGoesBack,
    /// A cursor passes only what is answered, denied or an exception.
    NothingIsPassedOver,
    /// What is urgent does not wait for bulk.
    UrgentIsFirst,
    /// Queues are bounded, and no retry goes on for ever.
    Bounded,
    /// An honest node is never taken for one that forked.
    HonestIsNoFork,
}

/// What was violated, when and how.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Which invariant.
    pub invariant: Invariant,
    /// How.
    pub detail: String,
    /// When, since the start.
    pub at_ms: i64,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?} at {} ms: {}",
            self.invariant, self.at_ms, self.detail
        )
    }
}

/// What the invariants remember.
#[derive(Debug, Default)]
pub struct Watch {
    /// The first violation.
    pub violation: Option<Violation>,
    /// Records withdrawn, by whom.
    pub withdrawn: BTreeSet<(MemberNumber, RecordId)>,
    /// The final answer of a receiver to a sender on a record in a form.
    finals: BTreeMap<(MemberNumber, MemberNumber, RecordId, Form), Answer>,
    /// When a record was on its originator's disk.
    pub(super) published: BTreeMap<RecordId, Timestamp>,
    /// Members whose backup came back.
    pub restored: BTreeSet<MemberNumber>,
    /// Who delivered a record first, whatever the node remembers.
    sources: BTreeMap<(MemberNumber, RecordId), MemberNumber>,
    /// When an alert was everywhere.
    pub(super) urgent: BTreeMap<(MemberNumber, RecordId), Timestamp>,
    /// When the first answer that was not final came.
    waits: BTreeMap<(MemberNumber, MemberNumber, RecordId), Timestamp>,
}

/// The most jobs that may wait at a writer here: drivers, streams and what is published.
const MOST_WAITING: usize = 80;
/// A retry may come so long after the last attempt within its life.
const RETRY_SLACK_MS: i64 = 26 * 3_600_000;

impl Watch {
    /// A backup of a member comes back: what is not in it is lost, and so is what it knew.
    pub(super) fn forget(&mut self, cast: &Cast, member: MemberNumber, backup: &State) {
        self.restored.insert(member);
        self.withdrawn.retain(|(by, _)| *by != member);
        self.sources.retain(|(at, _), _| *at != member);
        self.finals.retain(|(receiver, ..), _| *receiver != member);
        self.published.retain(|record, _| {
            let own = cast.made(record).is_some_and(|made| made.origin == member);
            !own || backup.records.contains_key(record)
        });
    }
}

impl World {
    pub(super) fn violated(&mut self, invariant: Invariant, detail: String) {
        self.say(|| format!("VIOLATED {invariant:?}: {detail}"));
        let at_ms = self.now.millis_since(START);
        self.watch.violation.get_or_insert(Violation {
            invariant,
            detail,
            at_ms,
        });
    }

    pub(super) fn made(&self, record: &RecordId) -> Made {
        self.cast.made(record).unwrap()
    }

    /// A frame is about to leave.
    pub(super) fn check_sending(
        &mut self,
        sender: MemberNumber,
        receiver: MemberNumber,
        frame: &SentFrame,
    ) {
        let items: Vec<(RecordId, Form)> = frame.items().to_vec();
        let names: Vec<String> = items
            .iter()
            .filter(|_| self.is_traced())
            .map(|(id, form)| format!("{} {form:?}", self.name(id)))
            .collect();
        let lane = frame.head().lane;
        self.say(|| format!("{sender} sends {names:?} to {receiver} in {lane}"));
        for (record, form) in items {
            self.check_item(sender, receiver, record, form);
        }
        if lane == Lane::Urgent && self.profile.weather == Weather::Calm {
            let bulk = &self.node(sender).drivers[&(receiver, Lane::Bulk)];
            if bulk.machine.in_flight() > 0 {
                self.coverage.count(Seen::UrgentBesideBulk);
            }
        }
    }

    fn check_item(
        &mut self,
        sender: MemberNumber,
        receiver: MemberNumber,
        record: RecordId,
        form: Form,
    ) {
        let made = self.made(&record);
        let (cast, now) = (self.cast, self.now);
        let node = self.node(sender);
        let state = node.store.durable();
        let intended = state
            .ledger(&record, cast.node(receiver))
            .iter()
            .any(|line| line.row.form == form && line.row.state != DisclosureState::Denied);
        // Its date may pass between the plan and the last attempt to send it.
        let planned = now.plus_millis(-RECEIPT_TIMEOUT_MS - OPEN_TIMEOUT_MS);
        let in_force = node.in_force;
        let permitted = form.is_within(expect::sends(made, sender, receiver, in_force, planned));
        let waits_since = self.watch.waits.get(&(sender, receiver, record)).copied();
        if sender != made.origin {
            self.coverage.count(Seen::Relay);
        }
        if !intended || !permitted {
            let name = self.name(&record);
            let why = if intended {
                "a permit"
            } else {
                "an intended disclosure"
            };
            let detail = format!("{sender} sends {name} in {form:?} to {receiver} without {why}");
            self.violated(Invariant::PermittedAndIntended, detail);
        }
        let source = self.watch.sources.get(&(sender, record)).copied();
        if receiver == made.origin || source == Some(receiver) {
            let name = self.name(&record);
            let detail = format!("{sender} sends {name} back to {receiver}");
            self.violated(Invariant::NothingGoesBack, detail);
        }
        if let Some(since) = waits_since
            && self.now.millis_since(since) > EXCEPTION_LIFE_MS + RETRY_SLACK_MS
        {
            let name = self.name(&record);
            let detail = format!("{sender} still tries {name} with {receiver}");
            self.violated(Invariant::Bounded, detail);
        }
    }

    /// Receipts are signed for these answers.
    pub(super) fn check_answers(
        &mut self,
        receiver: MemberNumber,
        sender: MemberNumber,
        answers: &[Answer],
    ) {
        for answer in answers {
            self.count_answer(answer);
            let withdrawn = answer.reason.as_deref() == Some(Rule::Withdrawn.id());
            let key = (receiver, sender, answer.record, answer.form);
            let earlier = self.watch.finals.get(&key).cloned();
            if let Some(earlier) = &earlier
                && earlier != answer
                && !withdrawn
            {
                let name = self.name(&answer.record);
                let detail = format!(
                    "{receiver} answered {sender} on {name} {:?} and now {:?}",
                    earlier.outcome, answer.outcome
                );
                self.violated(Invariant::OneFinalAnswer, detail);
            }
            let waited = self
                .watch
                .waits
                .contains_key(&(sender, receiver, answer.record));
            if answer.outcome.is_final() && !withdrawn && earlier.is_none() {
                if waited {
                    self.coverage.count(Seen::FinalLater);
                }
                self.watch.finals.insert(key, answer.clone());
            }
        }
        let said: Vec<String> = answers
            .iter()
            .filter(|_| self.is_traced())
            .map(|answer| format!("{} {}", self.name(&answer.record), answer.outcome))
            .collect();
        self.say(|| format!("{receiver} answers {sender}: {said:?}"));
    }

    /// A frame is refused whole.
    pub(super) fn check_refusal(
        &mut self,
        receiver: MemberNumber,
        sender: MemberNumber,
        link: LinkId,
        rule: Rule,
    ) {
        let repeated = self.network.link(link).is_none_or(|link| link.repeats);
        // A node that does not know yet that it was restored believes nobody.
        let excused = self.watch.restored.contains(&receiver);
        if rule == Rule::Fork && !excused {
            let detail = format!("{receiver} takes {sender} for forked");
            self.violated(Invariant::HonestIsNoFork, detail);
        }
        if rule != Rule::Sequence || self.watch.restored.contains(&sender) {
            return;
        }
        if repeated {
            self.coverage.count(Seen::ReplayRefused);
        } else {
            let detail = format!("{receiver} takes {sender} for rolled back");
            self.violated(Invariant::HonestIsNoFork, detail);
        }
    }

    fn count_answer(&mut self, answer: &Answer) {
        let seen = match answer.outcome {
            Outcome::Accepted => return,
            Outcome::Extended => Seen::Extended,
            Outcome::Duplicate => Seen::Repeated,
            Outcome::Refused => Seen::Refused,
            Outcome::RefusedForNow => Seen::RefusedForNow,
            Outcome::Held => Seen::Held,
        };
        self.coverage.count(seen);
        match answer.reason.as_deref() {
            Some(rule) if rule == Rule::Withdrawn.id() => self.coverage.count(Seen::WithdrawnAgain),
            Some(rule) if rule == Rule::Expired.id() => self.coverage.count(Seen::Expired),
            Some(_) | None => {}
        }
    }

    /// A sender holds a receipt.
    pub(super) fn check_receipt(
        &mut self,
        sender: MemberNumber,
        receiver: MemberNumber,
        receipt: &Receipt,
    ) {
        let Verdict::Answered(answers) = &receipt.verdict else {
            return;
        };
        let now = self.now;
        for answer in answers {
            let key = (sender, receiver, answer.record);
            if answer.outcome.is_admitted() {
                self.check_held(sender, receiver, answer.record, answer.form);
            } else if !answer.outcome.is_final() {
                self.watch.waits.entry(key).or_insert(now);
            }
        }
    }

    /// What a receiver has said that it has must be on its disk.
    fn check_held(
        &mut self,
        sender: MemberNumber,
        receiver: MemberNumber,
        record: RecordId,
        form: Form,
    ) {
        let restored = self.watch.restored.contains(&receiver);
        if restored || self.watch.withdrawn.contains(&(receiver, record)) {
            return;
        }
        let (made, cast) = (self.made(&record), self.cast);
        let node = self.node(receiver);
        let state = node.store.durable();
        let held = state.form(&record);
        let answered = state
            .arrivals
            .get(&(record, cast.node(sender).clone(), form))
            .is_some_and(|row| row.answer.outcome.is_admitted());
        // Whatever was in force when it came: at least what all of it lets in.
        let least = node
            .in_force_since(START)
            .into_iter()
            .map(|in_force| expect::takes(made, receiver, sender, form, in_force, START))
            .fold(WHOLE, |least, taken| match taken {
                Taken::In(form) => least.intersection(form),
                Taken::Held => Form::EMPTY,
            });
        if held.is_empty() || !answered || !least.is_within(held) {
            let name = self.name(&record);
            let detail = format!(
                "{sender} holds an acceptance of {name} in {form:?} by {receiver}, which holds {held:?}"
            );
            self.violated(Invariant::NothingAcknowledgedIsLost, detail);
        }
    }

    /// A process starts again: what others hold receipts for has to be there.
    pub(super) fn check_restart(&mut self, member: MemberNumber) {
        let cast = self.cast;
        let id = cast.node(member).clone();
        let mut accepted = Vec::new();
        for (sender, node) in &self.nodes {
            let state = node.store.durable();
            let of_it = state.ledger.iter().filter(|((_, peer), _)| *peer == id);
            for line in of_it.flat_map(|(_, lines)| lines.iter()) {
                if let DisclosureState::Answered(outcome) = line.row.state
                    && outcome.is_admitted()
                {
                    accepted.push((*sender, line.row.record, line.row.form));
                }
            }
        }
        for (sender, record, form) in accepted {
            self.check_held(sender, member, record, form);
        }
        self.check_waiting(member);
    }

    /// What was not answered for good is an exception as long as it lives.
    fn check_waiting(&mut self, member: MemberNumber) {
        let (cast, now) = (self.cast, self.now);
        let state = self.node(member).store.durable();
        let forgotten = state.ledger.iter().find_map(|((record, peer), lines)| {
            let newest = &lines.last()?.row;
            let waits =
                matches!(newest.state, DisclosureState::Answered(outcome) if !outcome.is_final());
            let lane = state.records.get(record).map(|kept| lane_of(kept))?;
            let key = (peer.clone(), lane, *record);
            (waits && !state.exceptions.contains_key(&key) && !state.undelivered.contains_key(&key))
                .then(|| (*record, cast.member(peer)))
        });
        let Some((record, peer)) = forgotten else {
            return;
        };
        let since = self.watch.waits.get(&(member, peer, record)).copied();
        if since.is_some_and(|since| now.millis_since(since) < EXCEPTION_LIFE_MS - RETRY_SLACK_MS) {
            let detail = format!("{member} forgot to try {} again", self.name(&record));
            self.violated(Invariant::NothingIsPassedOver, detail);
        }
    }

    /// A transaction is on disk.
    pub(super) fn check_state(&mut self, member: MemberNumber, before: &State) {
        let after = self.node(member).store.durable();
        if !Arc::ptr_eq(&before.records, &after.records) {
            self.check_log(member, before, &after);
        }
        if !Arc::ptr_eq(&before.records, &after.records) {
            self.check_tombstones(member, &after);
            self.check_logged(member, &after);
            self.remember_sources(member, &after);
        }
        if !Arc::ptr_eq(&before.arrivals, &after.arrivals) {
            self.check_arrivals(member, before, &after);
        }
        if !Arc::ptr_eq(&before.ledger, &after.ledger) {
            self.check_ledger(member, before, &after);
        }
        if !Arc::ptr_eq(&before.cursors, &after.cursors) {
            self.check_cursors(member, before, &after);
        }
        if after.events.len() > before.events.len()
            && after
                .events
                .iter()
                .any(|event| event.kind == "exceptions-ended")
        {
            self.coverage.count(Seen::RetriesEnded);
        }
    }

    fn check_log(&mut self, member: MemberNumber, before: &State, after: &State) {
        let mut known: BTreeMap<RecordId, Form> = BTreeMap::new();
        for LogLine {
            record,
            form,
            own,
            sequence,
            ..
        } in after.log.iter()
        {
            let held = known.entry(*record).or_default();
            let grows = !form.is_within(*held);
            *held = held.union(*form);
            let again = self.watch.withdrawn.contains(&(member, *record));
            if !grows && !again {
                let detail = format!("{member} took {} in twice", self.name(record));
                self.violated(Invariant::OneFinalAnswer, detail);
                return;
            }
            let fresh = before
                .log
                .last()
                .is_none_or(|last| last.sequence < *sequence);
            if *own && fresh {
                self.watch.published.entry(*record).or_insert(self.now);
            }
        }
    }

    /// What is held has to be in the log as it is held: whoever passes it on looks there.
    fn check_logged(&mut self, member: MemberNumber, after: &State) {
        let mut logged: BTreeMap<RecordId, Form> = BTreeMap::new();
        for line in after.log.iter() {
            let known = logged.entry(line.record).or_default();
            *known = known.union(line.form);
        }
        let missing = after.records.iter().find(|(id, kept)| {
            let known = logged.get(id).copied().unwrap_or_default();
            !kept.record.form().is_within(known)
        });
        if let Some((record, _)) = missing {
            let detail = format!(
                "{member} holds more of {} than it logged",
                self.name(record)
            );
            self.violated(Invariant::NothingIsPassedOver, detail);
        }
    }

    fn check_tombstones(&mut self, member: MemberNumber, after: &State) {
        let withdrawn = self.watch.withdrawn.iter();
        let back = withdrawn
            .filter(|(by, _)| *by == member)
            .find(|(_, record)| after.records.contains_key(record))
            .copied();
        if let Some((_, record)) = back {
            let detail = format!("{member} withdrew {} and holds it", self.name(&record));
            self.violated(Invariant::WithdrawnStaysAway, detail);
        }
    }

    fn remember_sources(&mut self, member: MemberNumber, after: &State) {
        for (record, kept) in after.records.iter() {
            if let Some(source) = &kept.source {
                let source = self.cast.member(source);
                self.watch
                    .sources
                    .entry((member, *record))
                    .or_insert(source);
            }
            if lane_of(kept) == Lane::Urgent {
                self.watch
                    .urgent
                    .entry((member, *record))
                    .or_insert(self.now);
            }
        }
    }

    fn check_arrivals(&mut self, member: MemberNumber, before: &State, after: &State) {
        let changed = before.arrivals.iter().find(|(key, row)| {
            let same = after
                .arrivals
                .get(*key)
                .is_some_and(|now| Arc::ptr_eq(now, row));
            !same
                && row.answer.outcome.is_final()
                && after
                    .arrivals
                    .get(*key)
                    .is_none_or(|now| now.answer != row.answer)
        });
        if let Some(((record, peer, _), _)) = changed {
            let detail = format!(
                "{member} changed its answer to {peer} on {}",
                self.name(record)
            );
            self.violated(Invariant::OneFinalAnswer, detail);
        }
    }

    fn check_ledger(&mut self, member: MemberNumber, before: &State, after: &State) {
        for (key, lines) in before.ledger.iter() {
            let (record, peer) = key;
            if after
                .ledger
                .get(key)
                .is_some_and(|now| Arc::ptr_eq(now, lines))
            {
                continue;
            }
            let now = after.ledger(record, peer);
            let changed = lines.iter().any(|line| {
                matches!(line.row.state, DisclosureState::Answered(outcome) if outcome.is_final())
                    && !now.iter().any(|later| later.row == line.row)
            });
            if changed {
                let detail = format!(
                    "{member} changed what {peer} answered on {}",
                    self.name(record)
                );
                self.violated(Invariant::OneFinalAnswer, detail);
                return;
            }
        }
    }

    /// Between where a cursor was and where it is, everything is dealt with.
    fn check_cursors(&mut self, member: MemberNumber, before: &State, after: &State) {
        for ((peer, lane), cursor) in after.cursors.iter() {
            let earlier = before.position(peer, *lane).cursor;
            if *cursor < earlier {
                let detail = format!("{member}'s cursor for {peer} moves back");
                self.violated(Invariant::NothingIsPassedOver, detail);
                return;
            }
            let passed = after
                .log
                .iter()
                .filter(|line| line.lane == *lane)
                .filter(|line| line.sequence > earlier && line.sequence <= *cursor);
            let lost = passed
                .filter(|line| line.own || is_hub(member))
                .find(|line| !self.is_dealt_with(line.record, after, (peer, *lane)))
                .copied();
            if let Some(line) = lost {
                let detail = format!(
                    "{member}'s cursor for {peer} passes {}",
                    self.name(&line.record)
                );
                self.violated(Invariant::NothingIsPassedOver, detail);
                return;
            }
        }
    }

    fn is_dealt_with(
        &self,
        record: RecordId,
        state: &State,
        (peer, lane): (&portcullis_protocol::identifiers::NodeId, Lane),
    ) -> bool {
        let Some(kept) = state.records.get(&record) else {
            return true;
        };
        let receiver = self.cast.member(peer);
        let goes_back = self.made(&record).origin == receiver || kept.source.as_ref() == Some(peer);
        let waits = state.exceptions.contains_key(&(peer.clone(), lane, record));
        let said = state
            .ledger(&record, peer)
            .last()
            .map(|line| line.row.state);
        goes_back || waits || said.is_some_and(|state| state != DisclosureState::Intended)
    }

    pub(super) fn check_queue(&mut self, member: MemberNumber, waiting: usize) {
        if waiting > MOST_WAITING {
            let detail = format!("{waiting} jobs wait at {member}");
            self.violated(Invariant::Bounded, detail);
        }
    }

    /// An urgent job waits for the commit that is under way, and for no other.
    pub(super) fn check_urgent_waits(&mut self, member: MemberNumber, passed_over: u32) {
        if passed_over > 0 {
            let detail = format!("{member} commits bulk while something urgent waits");
            self.violated(Invariant::UrgentIsFirst, detail);
        }
    }
}

fn lane_of(kept: &super::store::Kept) -> Lane {
    super::store::lane_of(kept.record.header().kind)
}

fn is_hub(member: MemberNumber) -> bool {
    MEMBERS[member].1 == portcullis_protocol::register::AuthorityKind::Hub
}

//! Checks of answers and receipts: given once, final, and only about what is on disk.

use portcullis_protocol::{
    frame::{Answer, FrameAnswer, Outcome, Receipt},
    record::{Form, RecordId},
    rules::Rule,
};

use super::Invariant;
use crate::sim::{
    cast::{MemberNumber, START, who},
    coverage::Seen,
    expect::{self, Reception, WHOLE},
    network::LinkId,
    world::World,
};

impl World {
    /// Checks the answers for which a receipt is about to be signed.
    pub(in crate::sim) fn check_answers(
        &mut self,
        receiver: MemberNumber,
        sender: MemberNumber,
        answers: &[Answer],
    ) {
        for answer in answers {
            self.count_answer(answer);
            self.remember_given(receiver, sender, answer);
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

    /// Checks the refusal of a whole frame.
    pub(in crate::sim) fn check_refusal(
        &mut self,
        receiver: MemberNumber,
        sender: MemberNumber,
        link: LinkId,
        rule: Rule,
    ) {
        if self.watch.faulty.contains(&sender) || self.watch.faulty.contains(&who(receiver)) {
            return;
        }
        let repeated = self.network.link(link).is_none_or(|link| link.repeats);
        // A restored node that does not know it yet believes nobody.
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

    /// Checks a receipt that a sender has received.
    pub(in crate::sim) fn check_receipt(
        &mut self,
        sender: MemberNumber,
        receiver: MemberNumber,
        receipt: &Receipt,
    ) {
        let FrameAnswer::Answered(answers) = &receipt.verdict else {
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

    /// Checks that a record which a receiver acknowledged is on its disk.
    pub(super) fn check_held(
        &mut self,
        sender: MemberNumber,
        receiver: MemberNumber,
        record: RecordId,
        form: Form,
    ) {
        let excused =
            self.watch.restored.contains(&receiver) || self.watch.faulty.contains(&who(receiver));
        if excused || self.watch.withdrawn.contains(&(receiver, record)) {
            return;
        }
        let (made, cast) = (self.made(&record), self.cast);
        let node = self.node(receiver);
        let state = node.store.durable();
        let held = state.form(&record);
        // Its sections may have arrived one after the other.
        let from = state.arrivals.iter().filter(|((of, peer, _), row)| {
            *of == record && peer == cast.node(sender) && row.answer.outcome.is_admitted()
        });
        let came = from.fold(Form::EMPTY, |came, ((_, _, form), _)| came.union(*form));
        let answered = form.is_within(came);
        // The register and policy at the time of arrival are unknown: the least that all of them
        // admit.
        let least = node
            .in_force_since(START)
            .into_iter()
            .map(|in_force| expect::takes(made, receiver, who(sender), form, in_force, START))
            .fold(WHOLE, |least, taken| match taken {
                Reception::In(form) => least.intersection(form),
                Reception::Held => Form::EMPTY,
            });
        if held.is_empty() || !answered || !least.is_within(held) {
            let name = self.name(&record);
            let detail = format!(
                "{sender} holds an acceptance of {name} in {form:?} by {receiver}, which holds {held:?}"
            );
            self.violated(Invariant::NothingAcknowledgedIsLost, detail);
        }
    }
}

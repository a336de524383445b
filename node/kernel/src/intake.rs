//! Intake: judgement of an arrived frame's records, before the store compares them with the held
//! ones.
//!
//! Pure. The frame's signature and items were checked already. Here each record is verified, then
//! decided on by policy, and gets a judgement. A refusal names a rule. Refusals for now ask for
//! another try, for example under an unknown sealing key, because the register may soon list it.

use portcullis_protocol::{
    frame::ReceivedFrame,
    identifiers::{AuthorityId, NodeId},
    record::RecordId,
    rules::Rule,
    seal::SealedRecord,
    time::Timestamp,
    verify::{Refusal, VerifiedRecord},
};

use crate::{
    decide::{Admission, Approval, Decider, Verification},
    gate::Gates,
};
use portcullis_home::config::Exercises;
use portcullis_store::{DecisionNote, HeldItem, Intake, IntakeItem, Judgement, Part};

/// Judges frames of one peer. Policy decides if the peer may bring records of others.
pub struct Judge<'a> {
    /// Verifies and decides.
    pub decider: &'a Decider,
    /// Returns the time at which a held record was first seen; called only if its key has ended.
    pub first_seen: &'a dyn Fn(&RecordId) -> Option<Timestamp>,
    /// Closures in force.
    pub gates: &'a Gates,
    /// This authority.
    pub own: &'a AuthorityId,
    /// The peer.
    pub peer: &'a NodeId,
    /// Treatment of exercises: admitted or not.
    pub exercises: Exercises,
    /// Present time.
    pub now: Timestamp,
}

impl Judge<'_> {
    /// Judges every item of a frame.
    #[must_use]
    pub fn judge(&self, frame: &ReceivedFrame) -> Intake {
        let mut verification = self.decider.verification(self.now);
        let items = frame
            .records
            .iter()
            .map(|record| IntakeItem {
                id: record.id(),
                form: record.claimed_form(),
                judgement: match frame.check_lane(record) {
                    Ok(()) => self.item(record, &mut verification),
                    Err(refusal) => refused(&refusal),
                },
            })
            .collect();
        Intake {
            peer: self.peer.clone(),
            lane: frame.head.lane,
            place: frame.place(),
            statement: frame.statement().clone(),
            part: Part::First,
            now: self.now,
            items,
        }
    }

    /// Judges a held item anew after a person has approved it. Its key is judged as of the time at
    /// which the item was first seen. Policy is asked about everything but the approval.
    #[must_use]
    pub fn approved(&self, item: &HeldItem) -> Judgement {
        let verified = self
            .decider
            .verify_seen(&item.sealed, item.at, self.now)
            .and_then(|record| self.check(&record).map(|()| record));
        match verified {
            Ok(record) => self.admission(record, Approval::Given),
            Err(refusal) => refused(&refusal),
        }
    }

    fn item(&self, sealed: &SealedRecord, verification: &mut Verification<'_>) -> Judgement {
        match self.verified(sealed, verification) {
            Ok(record) => self.admission(record, Approval::Open),
            Err(refusal) if is_of_ended_key(&refusal) => self.late(sealed, &refusal),
            Err(refusal) => refused(&refusal),
        }
    }

    /// Judges a record whose key has ended. A record first seen before the end is judged as any
    /// other. If it is first seen now, a person decides if the key was retired, and it is refused
    /// if the key is compromised. Policy is asked first, because nobody need look at what it
    /// denies.
    fn late(&self, sealed: &SealedRecord, refusal: &Refusal) -> Judgement {
        let before = (self.first_seen)(&sealed.id());
        let first_seen = before.unwrap_or(self.now);
        let verified = self
            .decider
            .verify_seen(sealed, first_seen, self.now)
            .and_then(|record| self.check(&record).map(|()| record));
        let judgement = match verified {
            Ok(record) => self.admission(record, Approval::Open),
            Err(refusal) => return refused(&refusal),
        };
        if before.is_some() {
            return judgement;
        }
        match judgement {
            Judgement::Admit { record, note } | Judgement::Hold { record, note, .. } => {
                tracing::info!(%refusal, "a late record waits for a person");
                Judgement::Hold {
                    record,
                    rule: Rule::KeyEnded,
                    note,
                }
            }
            denied @ (Judgement::Refuse { .. } | Judgement::RefuseForNow { .. }) => denied,
        }
    }

    fn verified(
        &self,
        sealed: &SealedRecord,
        verification: &mut Verification<'_>,
    ) -> Result<VerifiedRecord, Refusal> {
        let record = verification.arriving(sealed)?;
        self.check(&record)?;
        Ok(record)
    }

    /// Refuses records that this node takes from nobody, however well they are sealed.
    fn check(&self, record: &VerifiedRecord) -> Result<(), Refusal> {
        let header = record.header();
        if header.origin == *self.own {
            return Err(Refusal::new(Rule::OwnRecord, "it was made here"));
        }
        if let Some(until) = self.gates.suspended.get(&header.origin) {
            let detail = format!("`{}` is suspended until {until}", header.origin);
            return Err(Refusal::new(Rule::Suspended, detail));
        }
        if header.exercise && self.exercises == Exercises::Refused {
            return Err(Refusal::new(Rule::Exercise, "it belongs to an exercise"));
        }
        if let Some(end) = header.marking.delete_at.filter(|end| *end <= self.now) {
            let detail = format!("it was to be deleted at {end}");
            return Err(Refusal::new(Rule::Expired, detail));
        }
        Ok(())
    }

    fn admission(&self, record: VerifiedRecord, approval: Approval) -> Judgement {
        match self.decider.admit(record, self.peer, self.now, approval) {
            Admission::Admitted { record, note } => Judgement::Admit {
                record: *record,
                note,
            },
            Admission::Denied {
                rule: rule @ Rule::PolicyError,
                note: _,
            } => Judgement::RefuseForNow { rule },
            Admission::Denied { rule, note } => Judgement::Refuse { rule, note },
            Admission::Held { record, note } => Judgement::Hold {
                record: *record,
                rule: Rule::PolicyHeld,
                note,
            },
        }
    }
}

fn is_of_ended_key(refusal: &Refusal) -> bool {
    [Rule::KeyEnded, Rule::KeyCompromised].contains(&refusal.rule)
}

fn refused(refusal: &Refusal) -> Judgement {
    tracing::debug!(%refusal, "an item is refused");
    let rule = refusal.rule;
    // These refusals may pass with time: an unknown key may be listed soon, a clock that is ahead
    // is overtaken, a suspension ends, this node is updated to a later version, and the sender may
    // choose the right lane.
    if matches!(
        rule,
        Rule::SealingKey
            | Rule::FutureSeal
            | Rule::Suspended
            | Rule::LaterVersion
            | Rule::RecordKind
            | Rule::LaneOfKind
    ) {
        return Judgement::RefuseForNow { rule };
    }
    Judgement::Refuse {
        rule,
        note: DecisionNote::default(),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use portcullis_policy::{Bundle, Engine};
    use portcullis_protocol::{
        frame::{Chain, FrameHead, Generation, Hop, Lane, SentFrame},
        keys::KeyUse,
        record::{Form, SectionTag},
        register::{Archive, RegisteredKey, SignedRegister},
        seal::Draft,
        statement::SignedStatement,
        wire,
    };

    use super::*;
    use portcullis_testbed as testbed;
    use portcullis_testbed::NOW;

    fn decider(own: &str) -> Decider {
        let engine = Engine::new(Bundle::empty(), NonZeroUsize::new(64).unwrap()).unwrap();
        Decider::new(testbed::register(), engine, own.parse().unwrap()).unwrap()
    }

    /// Makes a frame from member `sender` to antwerp with these records, valid or not.
    fn frame(sender: u8, records: &[SealedRecord]) -> ReceivedFrame {
        let (_, name, _) = testbed::MEMBERS[usize::from(sender) - 1];
        let peer: NodeId = format!("{name}-1").parse().unwrap();
        let rotterdam = decider("rotterdam");
        let verified: Vec<_> = records
            .iter()
            .map(|record| rotterdam.verify_seen(record, NOW, NOW).unwrap())
            .collect();
        let head = FrameHead {
            federation: "test".parse().unwrap(),
            sender: peer.clone(),
            receiver: "antwerp-1".parse().unwrap(),
            generation: Generation::from_bytes([1; 16]),
            lane: Lane::Bulk,
            first_sequence: 1,
            settled_sequence: 1,
            chain: Chain::START,
            sent_at: NOW,
            register_epoch: 1,
        };
        let key = testbed::key(sender, KeyUse::Hop);
        let sent = SentFrame::sign(head, &verified, &key).unwrap();
        let hop = Hop {
            federation: &"test".parse().unwrap(),
            receiver: &"antwerp-1".parse().unwrap(),
            peer: &peer,
        };
        ReceivedFrame::verify(sent.wire().clone(), hop, |_| Some(key.public())).unwrap()
    }

    fn judge(sender: u8, frame: &ReceivedFrame, now: Timestamp) -> Vec<Judgement> {
        judge_with(&Gates::default(), sender, frame, now)
    }

    fn judge_with(
        gates: &Gates,
        sender: u8,
        frame: &ReceivedFrame,
        now: Timestamp,
    ) -> Vec<Judgement> {
        let (_, name, _) = testbed::MEMBERS[usize::from(sender) - 1];
        let judge = Judge {
            decider: &decider("antwerp"),
            first_seen: &|_| None,
            gates,
            own: &"antwerp".parse().unwrap(),
            peer: &format!("{name}-1").parse().unwrap(),
            exercises: Exercises::Refused,
            now,
        };
        let items = judge.judge(frame).items;
        items.into_iter().map(|item| item.judgement).collect()
    }

    #[track_caller]
    fn refused_under(judgements: &[Judgement], expected: Rule) {
        let [Judgement::Refuse { rule, .. } | Judgement::RefuseForNow { rule }] = judgements else {
            panic!("{judgements:?}");
        };
        assert_eq!(*rule, expected);
    }

    #[track_caller]
    fn admitted(judgements: &[Judgement]) -> &VerifiedRecord {
        let [Judgement::Admit { record, .. }] = judgements else {
            panic!("{judgements:?}");
        };
        record
    }

    fn one(draft: Draft) -> SealedRecord {
        testbed::seal(1, vec![draft], 1).remove(0)
    }

    #[test]
    fn what_customs_send_to_customs_is_admitted_whole() {
        let judgements = judge(1, &frame(1, &[one(testbed::indicator())]), NOW);
        assert_eq!(admitted(&judgements).form(), Form::from_bits(0b1111));
    }

    /// Attack L7: `duplicate` told a member that another one holds a record which it may not have.
    #[test]
    fn po_01_who_may_not_have_a_record_is_refused_whether_it_is_held_or_not() {
        let mut draft = testbed::indicator();
        draft.marking.release_to = Some(["antwerp".parse().unwrap()].into());
        let record = one(draft);
        let by = |member| judge(member, &frame(member, std::slice::from_ref(&record)), NOW);
        refused_under(&by(4), Rule::PolicyDenied);
        admitted(&by(1));
        admitted(&by(3));
        // Who may have a record may bring it.
        admitted(&judge(4, &frame(4, &[one(testbed::indicator())]), NOW));
    }

    /// Attacks HH6 and M3: an indicator that calls itself urgent.
    #[test]
    fn ex_22_an_item_that_is_not_for_the_urgent_lane_is_refused_for_now() {
        let mut received = frame(1, &[one(testbed::indicator())]);
        received.head.lane = Lane::Urgent;
        let judgements = judge(1, &received, NOW);
        assert!(matches!(judgements[..], [Judgement::RefuseForNow { .. }]));
        refused_under(&judgements, Rule::LaneOfKind);
    }

    #[test]
    fn ex_07_an_unknown_sealing_key_is_worth_another_try() {
        let mut received = frame(1, &[one(testbed::indicator())]);
        let statement = received.records[0].statement();
        let other = wire::SignedStatement {
            key_id: vec![7; 32].into(),
            ..statement.as_ref().into()
        };
        let forged = SignedStatement::try_from(other).unwrap();
        let record = received.records[0].wire().clone();
        received.records[0] = SealedRecord::new(record, forged.into());
        // A statement that names one key and is signed by another counts as malformed before it
        // counts as unknown.
        refused_under(&judge(1, &received, NOW), Rule::BatchStatement);
        let stranger =
            testbed::seal_with(1, testbed::key(8, KeyUse::Sealing), testbed::indicator());
        received.records[0] = stranger;
        let judgements = judge(1, &received, NOW);
        assert!(matches!(judgements[..], [Judgement::RefuseForNow { .. }]));
        refused_under(&judgements, Rule::SealingKey);
    }

    /// Makes antwerp's decider after rotterdam's sealing key has ended in this way.
    fn ended(change: impl FnOnce(&mut RegisteredKey)) -> Decider {
        let present = testbed::register();
        let mut next = present.register().clone();
        next.epoch = 2;
        next.previous = Some(present.digest());
        let rotterdam = next.authorities.get_mut(&"rotterdam".parse().unwrap());
        change(&mut rotterdam.unwrap().nodes[0].keys[0]);
        let mut signed = SignedRegister::unsigned(&next).unwrap();
        signed.sign(&testbed::key(9, KeyUse::Governance)).unwrap();
        let engine = Engine::new(Bundle::empty(), NonZeroUsize::new(64).unwrap()).unwrap();
        let next = present.next(signed).unwrap();
        Decider::new(next, engine, "antwerp".parse().unwrap()).unwrap()
    }

    fn judged_by(decider: &Decider, record: &SealedRecord) -> Judgement {
        judged_again(decider, record, None)
    }

    fn judged_again(
        decider: &Decider,
        record: &SealedRecord,
        first_seen: Option<Timestamp>,
    ) -> Judgement {
        let judge = Judge {
            decider,
            first_seen: &|_| first_seen,
            gates: &Gates::default(),
            own: &"antwerp".parse().unwrap(),
            peer: &"rotterdam-1".parse().unwrap(),
            exercises: Exercises::Refused,
            now: NOW,
        };
        judge.item(record, &mut judge.decider.verification(NOW))
    }

    #[test]
    fn ex_09_what_arrives_late_under_a_retired_key_is_held() {
        let retired = ended(|key| key.retired_at = Some(NOW.plus_millis(-1)));
        let judgement = judged_by(&retired, &one(testbed::indicator()));
        let Judgement::Hold { rule, record, .. } = judgement else {
            panic!("{judgement:?}");
        };
        assert_eq!(rule, Rule::KeyEnded);
        assert_eq!(record.form(), Form::from_bits(0b1111));
        // Nobody need look at a record that this node would not take anyway.
        let mut exercise = testbed::indicator();
        exercise.exercise = true;
        refused_under(&[judged_by(&retired, &one(exercise))], Rule::Exercise);
    }

    #[test]
    fn ex_21_what_arrives_under_a_compromised_key_is_refused_for_good() {
        let compromised = ended(|key| key.compromised_since = Some(NOW.plus_millis(-1)));
        let judgement = judged_by(&compromised, &one(testbed::indicator()));
        assert!(matches!(judgement, Judgement::Refuse { .. }));
        refused_under(&[judgement], Rule::KeyCompromised);
    }

    #[test]
    fn what_was_first_seen_before_its_key_ended_comes_again_as_any_other() {
        let record = one(testbed::indicator());
        let end = NOW.plus_millis(-10);
        let before = Some(end.plus_millis(-1));
        for change in [
            |key: &mut RegisteredKey| key.retired_at = Some(NOW.plus_millis(-10)),
            |key: &mut RegisteredKey| key.compromised_since = Some(NOW.plus_millis(-10)),
        ] {
            let again = judged_again(&ended(change), &record, before);
            admitted(&[again]);
        }
        let compromised = ended(|key| key.compromised_since = Some(end));
        let since = judged_again(&compromised, &record, Some(end));
        refused_under(&[since], Rule::KeyCompromised);
    }

    #[test]
    fn what_was_admitted_stays_verifiable_when_its_originator_has_left() {
        let record = one(testbed::indicator());
        let present = testbed::register();
        let mut next = present.register().clone();
        next.epoch = 2;
        next.previous = Some(present.digest());
        next.authorities.remove(&"rotterdam".parse().unwrap());
        let mut signed = SignedRegister::unsigned(&next).unwrap();
        signed.sign(&testbed::key(9, KeyUse::Governance)).unwrap();
        let next = present.next(signed).unwrap();
        let engine = || Engine::new(Bundle::empty(), NonZeroUsize::new(64).unwrap()).unwrap();
        let own = || "antwerp".parse().unwrap();
        let without = Decider::new(next.clone(), engine(), own()).unwrap();
        assert!(without.verify_seen(&record, NOW, NOW).is_err());
        let archive = Archive::of([present.register()]);
        let with = Decider::new(next, engine(), own())
            .unwrap()
            .with_archive(archive);
        assert!(with.verify_seen(&record, NOW, NOW).is_ok());
        // The archive lets nothing new in.
        let arriving = with.verify_arriving(&record, NOW).unwrap_err();
        assert_eq!(arriving.rule, Rule::SealingKey);
    }

    #[test]
    fn su_06_what_a_suspended_authority_made_is_refused_for_now_whoever_brings_it() {
        let gates = Gates {
            suspended: [("rotterdam".parse().unwrap(), NOW.plus_millis(1))].into(),
            ..Gates::default()
        };
        let received = frame(3, &[one(testbed::indicator())]);
        let judgements = judge_with(&gates, 3, &received, NOW);
        assert!(matches!(judgements[..], [Judgement::RefuseForNow { .. }]));
        refused_under(&judgements, Rule::Suspended);
    }

    #[test]
    fn ex_18_a_record_past_its_date_of_deletion_is_refused() {
        let mut draft = testbed::indicator();
        draft.marking.delete_at = Some(NOW.plus_millis(1));
        let received = frame(1, &[one(draft)]);
        admitted(&judge(1, &received, NOW));
        refused_under(&judge(1, &received, NOW.plus_millis(1)), Rule::Expired);
    }

    #[test]
    fn ex_19_a_record_of_ones_own_that_comes_back_is_refused() {
        let own = testbed::seal(2, vec![testbed::indicator()], 1);
        refused_under(&judge(3, &frame(3, &own), NOW), Rule::OwnRecord);
    }

    #[test]
    fn ex_20_a_record_of_an_exercise_is_refused_outside_of_one() {
        let mut draft = testbed::indicator();
        draft.exercise = true;
        refused_under(&judge(1, &frame(1, &[one(draft)]), NOW), Rule::Exercise);
    }

    #[test]
    fn a_member_that_is_no_hub_does_not_bring_what_others_made() {
        let record = [one(testbed::indicator())];
        admitted(&judge(3, &frame(3, &record), NOW));
        let mut amber = testbed::indicator();
        amber.marking.tlp = portcullis_protocol::marking::Tlp::Amber;
        let judgements = judge(4, &frame(4, &[one(amber)]), NOW);
        assert!(matches!(
            judgements[..],
            [Judgement::Refuse {
                rule: Rule::PolicyDenied,
                ..
            }]
        ));
    }

    #[test]
    fn a_withheld_section_stays_withheld_and_shows() {
        let whole = one(testbed::indicator());
        let thinner = decider("rotterdam")
            .verify_seen(&whole, NOW, NOW)
            .unwrap()
            .withhold(Form::from_bits(0b0011))
            .unwrap();
        let judgements = judge(1, &frame(1, &[thinner.sealed().clone()]), NOW);
        let record = admitted(&judgements);
        assert_eq!(record.id(), whole.id());
        assert!(record.body(SectionTag::Source).is_none());
        assert_eq!(record.header().full_form(), Form::from_bits(0b1111));
    }
}

//! The shell of the receiving end: frames in, receipts out, as inbound/service.rs does.

use std::sync::Arc;

use portcullis_home::config::Exercises;
use portcullis_kernel::{decide::Decider, gate::Gates, intake::Judge};
use portcullis_protocol::{
    frame::{Answer, Answering, Hop, ReceivedFrame, WINDOW},
    identifiers::NodeId,
    keys::SigningKey,
    rules::Rule,
    statement::SignedStatement,
    time::Timestamp,
    wire,
};
use portcullis_store::{DecisionNote, Intake, Judgement, NodeEvent, Write, Written};

use crate::hostile::forge::payload;

use super::{
    cast::{FEDERATION, MemberNumber},
    happening::{Message, Passage, Task},
    mutant::Mutant,
    network::{LinkId, Way},
    node::Asker,
    store::Reply,
    world::World,
};

impl World {
    pub(super) fn frame_arrived(&mut self, member: MemberNumber, link: LinkId, frame: wire::Frame) {
        let Some(stream) = self.node(member).streams.get_mut(&link) else {
            return;
        };
        if stream.busy {
            stream.waiting.push_back(frame);
            return;
        }
        stream.busy = true;
        self.take_frame(member, link, frame);
    }

    fn take_frame(&mut self, member: MemberNumber, link: LinkId, frame: wire::Frame) {
        let Some(peer) = self.network.link(link).map(|link| link.from) else {
            return;
        };
        self.overhear_heard(member, &frame);
        let (cast, now) = (self.cast, self.now);
        let decider = self.deciding(member);
        let register = decider.register();
        let (receiver, sender) = self.believed(member, peer, &frame);
        let hop = Hop {
            federation: &FEDERATION.parse().unwrap(),
            receiver: &receiver,
            peer: &sender,
        };
        let hop_key = |key: &_| register.hop_key(&sender, key, now);
        let frame = match ReceivedFrame::verify(frame, hop, hop_key) {
            Ok(frame) => frame,
            Err(refused) => {
                let key = self.cast.hop_key(member);
                let receipt = refused.answer(hop, self.signing(key, &decider)).unwrap();
                let detail = refused.refusal.to_string();
                self.remember_refusal(member, peer, detail);
                self.after(member, 1, Task::Answered(link, Box::new(receipt)));
                return;
            }
        };
        let mut intake = Judge {
            decider: &decider,
            first_seen: &|_| None,
            own: cast.authority(member),
            peer: &sender,
            exercises: Exercises::Refused,
            gates: &Gates::default(),
            now,
        }
        .judge(&frame);
        if self.mutant == Some(Mutant::RelayedUnasked) {
            admit_relayed(&mut intake, &frame, &decider, now);
        }
        let takes = self.random.between(0, 6);
        let judged = Task::Judged(link, Box::new((frame, intake)), decider);
        self.after(member, takes, judged);
    }

    /// Returns the receiver and the sender of a frame: this node and the peer of the connection.
    /// One mutant believes the frame's own statement instead.
    fn believed(
        &self,
        member: MemberNumber,
        peer: MemberNumber,
        frame: &wire::Frame,
    ) -> (NodeId, NodeId) {
        let is = (self.cast.node(member).clone(), self.cast.node(peer).clone());
        if self.mutant != Some(Mutant::AnyoneBringsFrames) || frame.payload.is_none() {
            return is;
        }
        let says = payload(frame);
        let named = says.receiver.parse().ok().zip(says.sender.parse().ok());
        named.unwrap_or(is)
    }

    fn signing<'a>(&self, key: &'a SigningKey, decider: &Decider) -> Answering<'a> {
        Answering {
            key,
            now: self.now,
            register_epoch: decider.register().epoch,
            credit: u32::try_from(WINDOW).unwrap_or(1),
        }
    }

    fn remember_refusal(&mut self, member: MemberNumber, peer: MemberNumber, detail: String) {
        self.say(|| format!("{member} refuses a frame of {peer}: {detail}"));
        let event = NodeEvent {
            at: self.now,
            kind: "frame-refused".to_owned(),
            peer: Some(self.cast.node(peer).clone()),
            detail,
        };
        let bulk = portcullis_store::writer::Priority::Bulk;
        self.enqueue(member, bulk, vec![Write::Event(event)], Asker::Nobody);
    }

    pub(super) fn judged(
        &mut self,
        member: MemberNumber,
        link: LinkId,
        (frame, intake): (ReceivedFrame, Intake),
        decider: Arc<Decider>,
    ) {
        if self.pass(member, Passage::Judged).is_none() {
            return;
        }
        let lane = frame.head.lane;
        let asker = Asker::Stream(link, Box::new(frame), decider);
        self.enqueue(member, lane.into(), vec![Write::Intake(intake)], asker);
    }

    /// Gives the writer's reply to a delivery stream.
    pub(super) fn stream_replied(
        &mut self,
        member: MemberNumber,
        link: LinkId,
        frame: &ReceivedFrame,
        decider: &Decider,
        reply: Reply,
    ) {
        if self.pass(member, Passage::BeforeReceipt).is_none() {
            return;
        }
        let key = self.cast.hop_key(member);
        let signing = self.signing(key, decider);
        let peer = self.cast.member(&frame.head.sender);
        let receipt = match written(reply) {
            Said::Answers(answers) => {
                self.check_addressed(member, link, frame);
                self.check_claim(member, frame);
                self.check_answers(member, peer, &answers);
                frame.answer(answers, signing).unwrap()
            }
            Said::Refused(rule) => {
                let receipt = frame.refuse(rule, signing).unwrap();
                self.check_refusal(member, peer, link, rule);
                self.check_evidence(member, rule, frame);
                self.remember_refusal(member, peer, rule.to_string());
                receipt
            }
            Said::OutOfSequence(shown) => {
                let receipt = frame.refuse_forgotten(&shown, signing).unwrap();
                let rule = Rule::Sequence;
                self.check_refusal(member, peer, link, rule);
                self.check_evidence(member, rule, frame);
                self.remember_refusal(member, peer, rule.to_string());
                receipt
            }
        };
        match self.said_instead(member, frame, receipt) {
            Some(receipt) => self.send_receipt(member, link, receipt),
            None => self.stream_goes_on(member, link),
        }
    }

    pub(super) fn send_receipt(
        &mut self,
        member: MemberNumber,
        link: LinkId,
        receipt: wire::Receipt,
    ) {
        self.post(link, Way::Back, || Message::Receipt(Box::new(receipt)));
        if self.pass(member, Passage::AfterReceipt).is_none() {
            return;
        }
        self.stream_goes_on(member, link);
    }

    /// Takes the next frame of a stream, if one waits.
    fn stream_goes_on(&mut self, member: MemberNumber, link: LinkId) {
        let Some(stream) = self.node(member).streams.get_mut(&link) else {
            return;
        };
        match stream.waiting.pop_front() {
            Some(next) => self.take_frame(member, link, next),
            None => stream.busy = false,
        }
    }
}

/// Applies a mutant's fault: items that policy refuses are admitted if another than the peer made
/// them.
fn admit_relayed(intake: &mut Intake, frame: &ReceivedFrame, decider: &Decider, now: Timestamp) {
    for (item, sealed) in intake.items.iter_mut().zip(&frame.records) {
        let refused = matches!(
            &item.judgement,
            Judgement::Refuse {
                rule: Rule::PolicyDenied,
                ..
            }
        );
        let verified = decider.verify_seen(sealed, now, now);
        if let (true, Ok(record)) = (refused, verified)
            && decider
                .register()
                .node(&intake.peer)
                .is_some_and(|(bearer, _)| bearer.id != record.header().origin)
        {
            item.judgement = Judgement::Admit {
                record,
                note: DecisionNote::default(),
            };
        }
    }
}

/// The store's reply to a frame.
enum Said {
    Answers(Vec<Answer>),
    Refused(Rule),
    OutOfSequence(Box<SignedStatement>),
}

fn written(reply: Reply) -> Said {
    match reply.map(|mut written| written.pop()) {
        Ok(Some(Written::Answers(answers))) => Said::Answers(answers),
        Ok(Some(Written::Refused(rule))) => Said::Refused(rule),
        Ok(Some(Written::OutOfSequence(shown))) => Said::OutOfSequence(shown),
        Ok(Some(Written::Done | Written::Destroyed(_)) | None) | Err(_) => {
            Said::Refused(Rule::Busy)
        }
    }
}

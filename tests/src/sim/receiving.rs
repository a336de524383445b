//! The shell of the receiving end: frames in, receipts out, as exchange/service.rs does.

use std::sync::Arc;

use portcullis_node::{
    config::Exercises,
    decide::Decider,
    dispatch::machine::WINDOW,
    gate::Gates,
    intake::Judge,
    store::{Event, Intake, Write, Written},
};
use portcullis_protocol::{
    frame::{Answer, Answering, Hop, ReceivedFrame},
    keys::SigningKey,
    rules::Rule,
    wire,
};

use super::{
    cast::{FEDERATION, MemberNumber},
    happening::{Message, Passage, Task},
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
        let (cast, now) = (self.cast, self.now);
        let decider = self.deciding(member);
        let register = decider.register();
        let hop = Hop {
            federation: &FEDERATION.parse().unwrap(),
            receiver: cast.node(member),
            peer: cast.node(peer),
        };
        let hop_key = |key: &_| register.hop_key(cast.node(peer), key, now);
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
        let intake = Judge {
            decider: &decider,
            first_seen: &|_| None,
            own: cast.authority(member),
            peer: cast.node(peer),
            exercises: Exercises::Refused,
            gates: &Gates::default(),
            now,
        }
        .judge(&frame);
        let takes = self.random.between(0, 6);
        let judged = Task::Judged(link, Box::new((frame, intake)), decider);
        self.after(member, takes, judged);
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
        let event = Event {
            at: self.now,
            kind: "frame-refused".to_owned(),
            peer: Some(self.cast.node(peer).clone()),
            detail,
        };
        let bulk = portcullis_node::store::writer::Priority::Bulk;
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

    /// The writer answers a stream.
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
        };
        self.send_receipt(member, link, receipt);
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
        let Some(stream) = self.node(member).streams.get_mut(&link) else {
            return;
        };
        match stream.waiting.pop_front() {
            Some(next) => self.take_frame(member, link, next),
            None => stream.busy = false,
        }
    }
}

/// What the store said to a frame.
enum Said {
    Answers(Vec<Answer>),
    Refused(Rule),
}

fn written(reply: Reply) -> Said {
    match reply.map(|mut written| written.pop()) {
        Ok(Some(Written::Answers(answers))) => Said::Answers(answers),
        Ok(Some(Written::Refused(rule))) => Said::Refused(rule),
        Ok(Some(Written::Done) | None) | Err(_) => Said::Refused(Rule::Busy),
    }
}

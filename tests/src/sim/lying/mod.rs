//! A member that lies: besides the traffic of its node, it sends frames and receipts of its own
//! making.
//!
//! It has its keys, everything that its node holds, and every frame and receipt that passed through
//! it. Its lies are drawn from the behaviours of docs/validation.md and named by their ids;
//! tests/src/hostile performs the same behaviours over real TLS. Nothing is guaranteed to it or
//! about it. What honest members have of each other must be as if it did not exist.

mod frames;
mod receipts;
mod records;

use portcullis_protocol::{
    frame::{ReceivedFrame, SentFrame},
    keys::{KeyUse, SigningKey},
    wire,
};

use super::{
    cast::{self, MemberNumber, who},
    coverage::Seen,
    happening::{Happening, Message, Task},
    network::Way,
    profile::Weather,
    world::World,
};

/// A behaviour of a member that lies.
pub struct Lie {
    /// Its id in docs/validation.md.
    pub hp: &'static str,
    /// Description of the lie.
    pub name: &'static str,
    told: Told,
}

/// Way in which a lie is told.
#[derive(Clone, Copy)]
enum Told {
    /// In frames, over a separate connection.
    Frames(fn(&mut World, Parties) -> Option<Vec<wire::Frame>>),
    /// In place of a receipt; `None`: no receipt is sent.
    Receipt(fn(&mut World, MemberNumber, &ReceivedFrame, wire::Receipt) -> Option<wire::Receipt>),
}

/// The member that lies and the one that it lies to.
#[derive(Debug, Clone, Copy)]
pub struct Parties {
    liar: MemberNumber,
    victim: MemberNumber,
}

macro_rules! lies {
    ($( $hp:literal $told:ident $made:path: $name:literal; )+) => {
        /// Every behaviour of a member that lies.
        pub const LIES: &[Lie] = &[ $( Lie { hp: $hp, name: $name, told: Told::$told($made) }, )+ ];
    };
}

lies! {
    "HP-42" Frames frames::other_federation: "a frame of another federation";
    "HP-43" Frames frames::other_receiver: "a frame that was made for another node";
    "HP-44" Frames frames::other_sender: "the frame of another sender";
    "HP-45" Frames frames::sealing_key: "a frame signed by a sealing key";
    "HP-47" Frames frames::item_added: "an item added after signing";
    "HP-48" Frames frames::item_taken: "an item taken away after signing";
    "HP-55" Frames frames::replayed: "an old frame replayed";
    "HP-57" Frames records::section_stripped: "a section stripped from the table";
    "HP-58" Frames records::section_added: "a section added";
    "HP-59" Frames records::salts_swapped: "two salts swapped";
    "HP-60" Frames records::bodies_swapped: "the body of another record";
    "HP-62" Frames records::group_cut: "a group cut apart";
    "HP-63" Frames records::nothing_opened: "nothing opened";
    "HP-70" Frames records::of_another_federation: "a record of another federation";
    "HP-71" Frames records::of_an_exercise: "a record of an exercise";
    "HP-73" Frames records::of_the_future: "a record of the future";
    "HP-75" Frames records::back_dated: "a back-dated batch of a key in no register";
    "HP-77" Frames records::forged_origin: "a forged signature of an honest originator";
    "HP-78" Frames records::brought_back: "the target's own record";
    "HP-79" Frames records::thin_and_whole: "a thinner form racing the full one";
    "HP-80" Frames records::retargeted: "a record for others, re-targeted";
    "HP-81" Frames records::passed_on: "what another made, passed on to anyone";
    "HP-90" Receipt receipts::of_a_stranger: "a receipt signed by a stranger";
    "HP-91" Receipt receipts::frame_as_receipt: "a frame's statement shown as a receipt";
    "HP-92" Receipt receipts::of_an_earlier_frame: "the receipt of an earlier frame";
    "HP-93" Receipt receipts::of_other_items: "answers to items that were not sent";
    "HP-98" Receipt receipts::refusing_all: "everything refused, under any rule";
    "HP-98" Receipt receipts::forgetting_what_is_remembered:
        "a rollback proven by what is remembered";
    "HP-99" Receipt receipts::withheld: "receipts withheld";
    "HP-100" Frames frames::false_history: "a history that was never answered";
    "HP-101" Frames frames::going_back: "a sender that goes back";
    "HP-102" Frames frames::far_ahead: "items far ahead";
    "HP-103" Frames frames::generation_left: "a generation that was left";
    "HP-130" Frames records::withdrawn: "what was withdrawn brought back";
    "HP-131" Frames records::expired: "what was to be deleted";
}

/// Frames and receipts that passed through the liar, the newest of each.
#[derive(Debug, Default)]
pub struct Memory {
    /// Frames that its node sent, with their receivers.
    sent: Vec<(MemberNumber, wire::Frame)>,
    /// Frames that others sent to it.
    heard: Vec<wire::Frame>,
    /// Receipts that its node made.
    answered: Vec<wire::Receipt>,
}

/// Number of frames or receipts of each kind that are remembered.
const REMEMBERED: usize = 24;
/// Receipts per thousand that are lies.
const LIES_OF_RECEIPTS: u64 = 250;
/// Time by which some lies are told later than the others, possibly after the other faults have
/// ended.
const GOES_ON_MS: i64 = 60_000;

fn remember<T>(list: &mut Vec<T>, one: T) {
    if list.len() == REMEMBERED {
        list.remove(0);
    }
    list.push(one);
}

/// Returns a key that belongs to no member.
pub(super) fn stranger() -> SigningKey {
    cast::key(cast::MEMBERS.len(), KeyUse::Hop, 0)
}

impl World {
    /// Makes a member lie, in about one of three runs that are not calm.
    pub(super) fn prepare_lies(&mut self) {
        if self.profile.weather == Weather::Calm || !self.random.chance(330) {
            return;
        }
        let liar = *self.random.pick(&self.profile.members);
        self.liar = Some(liar);
        self.watch.faulty.insert(liar);
        self.say(|| format!("{liar} lies"));
        self.coverage.count(Seen::Liar);
        for _ in 0..self.random.between(8, 40) {
            let at = self.some_time();
            let at = if self.random.chance(300) {
                at.plus_millis(GOES_ON_MS)
            } else {
                at
            };
            self.at(at, Happening::Lie(liar));
        }
    }

    /// Remembers a frame that the liar's own node sends.
    pub(super) fn overhear_sent(
        &mut self,
        sender: MemberNumber,
        receiver: MemberNumber,
        frame: &SentFrame,
    ) {
        if self.liar == Some(sender) {
            remember(&mut self.lies.sent, (receiver, frame.wire().clone()));
        }
    }

    /// Remembers a frame that arrives at the liar.
    pub(super) fn overhear_heard(&mut self, receiver: MemberNumber, frame: &wire::Frame) {
        if self.liar == Some(receiver) {
            remember(&mut self.lies.heard, frame.clone());
        }
    }

    /// Tells a random lie to a random member. If there is nothing to tell it with, another lie is
    /// tried.
    pub(super) fn lie(&mut self, liar: MemberNumber) {
        let others: Vec<MemberNumber> = self
            .profile
            .members
            .iter()
            .copied()
            .filter(|one| *one != liar)
            .collect();
        let victim = *self.random.pick(&others);
        if !self.node(liar).up || !self.node(victim).up {
            return;
        }
        for _ in 0..12 {
            let lie = self.random.pick(LIES);
            let Told::Frames(made) = lie.told else {
                continue;
            };
            if let Some(frames) = made(self, Parties { liar, victim }) {
                self.coverage.count_lie(lie.hp);
                self.say(|| format!("{liar} lies to {victim}: {} {}", lie.hp, lie.name));
                return self.deliver_lies(liar, victim, frames);
            }
        }
    }

    /// Sends the frames one after the other over a separate connection.
    fn deliver_lies(&mut self, liar: MemberNumber, victim: MemberNumber, frames: Vec<wire::Frame>) {
        let lives = (self.node(liar).life, self.node(victim).life);
        let lane = portcullis_protocol::frame::Lane::Bulk;
        let link = self.network.open((liar, victim), lane, lives);
        self.node(victim).streams.entry(link).or_default();
        for frame in frames {
            self.post(link, Way::Out, || Message::Frame(Box::new(frame)));
        }
        self.after(victim, 30_000, Task::Closed(link));
    }

    /// Returns the receipt that the liar sends instead of the true one; `None`: it sends none.
    pub(super) fn said_instead(
        &mut self,
        member: MemberNumber,
        frame: &ReceivedFrame,
        receipt: wire::Receipt,
    ) -> Option<wire::Receipt> {
        if self.liar != Some(who(member)) {
            return Some(receipt);
        }
        remember(&mut self.lies.answered, receipt.clone());
        if !self.random.chance(LIES_OF_RECEIPTS) {
            return Some(receipt);
        }
        loop {
            let lie = self.random.pick(LIES);
            if let Told::Receipt(made) = lie.told {
                self.coverage.count_lie(lie.hp);
                let sender = frame.head.sender.clone();
                self.say(|| format!("{member} lies to {sender}: {} {}", lie.hp, lie.name));
                return made(self, member, frame, receipt);
            }
        }
    }
}

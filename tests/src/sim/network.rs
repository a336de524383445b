//! The network: connections that carry messages in order until they break.
//!
//! As with TCP, nothing overtakes on one connection and nothing is lost on it but by its end; an
//! end may be noticed late or by one side only. What connections carry is unordered among them.
//! The network decides when something arrives; the world delivers it.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_protocol::{frame::Lane, time::Timestamp};

use super::{
    cast::{MemberNumber, who},
    profile::Profile,
    random::Random,
};

/// Names a connection.
pub type LinkId = u64;

/// Which way a message goes on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From who opened it: frames.
    Out,
    /// Back: receipts.
    Back,
}

/// A connection.
#[derive(Debug, Clone)]
pub struct Link {
    /// Who opened it.
    pub from: MemberNumber,
    /// To whom.
    pub to: MemberNumber,
    /// For which lane.
    pub lane: Lane,
    /// The lives of both processes: a connection does not outlive them.
    pub lives: (u32, u32),
    /// Whether it still carries anything.
    pub open: bool,
    /// Whether it brings copies of what was sent before.
    pub repeats: bool,
    /// When the last message of each way arrives.
    last: [Timestamp; 2],
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives then.
    Arrives(Timestamp),
    /// It is lost and the connection with it; both ends notice after so many milliseconds.
    Lost(i64, i64),
    /// The connection had ended before.
    Nowhere,
}

/// Every connection, and what lies between the members.
#[derive(Debug, Default)]
pub struct Network {
    links: BTreeMap<LinkId, Link>,
    next: LinkId,
    /// Who reaches whom not, each way by itself.
    cut: BTreeSet<(MemberNumber, MemberNumber)>,
    /// Whether messages are lost and repeated at all.
    pub calm: bool,
}

impl Network {
    /// Opens a connection, as far as the network is concerned.
    pub fn open(
        &mut self,
        (from, to): (MemberNumber, MemberNumber),
        lane: Lane,
        lives: (u32, u32),
    ) -> LinkId {
        self.next += 1;
        self.links.insert(
            self.next,
            Link {
                from,
                to,
                lane,
                lives,
                open: true,
                repeats: false,
                last: [Timestamp::from_millis(0); 2],
            },
        );
        self.next
    }

    /// Says of a connection that it brings copies.
    pub fn mark_repeating(&mut self, link: LinkId) {
        if let Some(link) = self.links.get_mut(&link) {
            link.repeats = true;
        }
    }

    /// A connection.
    #[must_use]
    pub fn link(&self, link: LinkId) -> Option<&Link> {
        self.links.get(&link)
    }

    /// Ends a connection, and forgets it.
    pub fn close(&mut self, link: LinkId) -> Option<Link> {
        self.links.remove(&link)
    }

    /// The connections of a member.
    #[must_use]
    pub fn links_of(&self, member: MemberNumber) -> Vec<LinkId> {
        let links = self.links.iter();
        let of_it = links.filter(|(_, link)| link.from == member || link.to == member);
        of_it.map(|(id, _)| *id).collect()
    }

    /// How many connections from one member to another are open.
    #[must_use]
    pub fn count(&self, from: MemberNumber, to: MemberNumber) -> usize {
        let links = self.links.values();
        links
            .filter(|link| (link.from, link.to) == (from, to))
            .count()
    }

    /// Whether a message gets from one to the other.
    #[must_use]
    pub fn reaches(&self, from: MemberNumber, to: MemberNumber) -> bool {
        !self.cut.contains(&(from, to))
    }

    /// Cuts one way.
    pub fn cut(&mut self, from: MemberNumber, to: MemberNumber) {
        self.cut.insert((from, to));
    }

    /// Mends one way.
    pub fn mend(&mut self, from: MemberNumber, to: MemberNumber) {
        self.cut.remove(&(from, to));
    }

    /// Mends everything and lets nothing more go wrong.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.calm = true;
    }

    /// Says what becomes of a message that is sent now.
    pub fn fate(
        &mut self,
        id: LinkId,
        way: Way,
        now: Timestamp,
        profile: &Profile,
        random: &mut Random,
    ) -> Fate {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.open) else {
            return Fate::Nowhere;
        };
        let (from, to, at) = match way {
            Way::Out => (link.from, link.to, 0),
            Way::Back => (link.to, link.from, 1),
        };
        if self.cut.contains(&(who(from), who(to))) {
            link.open = false;
            return Fate::Lost(random.between(1_000, 40_000), random.between(1_000, 40_000));
        }
        if !self.calm && random.chance(profile.loss) {
            link.open = false;
            return Fate::Lost(random.between(1, 2_000), random.between(1, 20_000));
        }
        let arrives = now.plus_millis(latency(profile, random)).max(link.last[at]);
        link.last[at] = arrives;
        Fate::Arrives(arrives)
    }
}

/// How long a message is under way.
pub fn latency(profile: &Profile, random: &mut Random) -> i64 {
    let most = profile.latency_ms * 2 + 1;
    random.between(profile.latency_ms, most)
}

//! The network: connections that carry messages in order until they break.
//!
//! As with TCP, no message overtakes another on one connection, and none is lost except at the
//! connection's end. That end may be noticed late, or by one side only. There is no order among
//! connections. The network decides when a message arrives; the world delivers it.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_protocol::{frame::Lane, time::Timestamp};

use super::{
    cast::{MemberNumber, who},
    profile::Profile,
    random::Random,
};

/// Id of a connection.
pub type LinkId = u64;

/// Direction of a message on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the end that opened the connection: frames.
    Out,
    /// Back to it: receipts.
    Back,
}

/// A connection.
#[derive(Debug, Clone)]
pub struct Link {
    /// Process that opened it.
    pub from: MemberNumber,
    /// Process to which it was opened.
    pub to: MemberNumber,
    /// Lane of its frames.
    pub lane: Lane,
    /// Lives of both processes; a connection does not outlive them.
    pub lives: (u32, u32),
    /// Set while it carries messages.
    pub open: bool,
    /// Set if it carries copies of messages sent before.
    pub repeats: bool,
    /// Arrival time of the last message in each direction.
    last: [Timestamp; 2],
}

/// Outcome of sending a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives at this time.
    Arrives(Timestamp),
    /// It is lost and the connection with it; the sender and the receiver notice after these times,
    /// in milliseconds.
    Lost(i64, i64),
    /// The connection had already ended.
    Nowhere,
}

/// All connections and the cuts between members.
#[derive(Debug, Default)]
pub struct Network {
    links: BTreeMap<LinkId, Link>,
    next: LinkId,
    /// Pairs of members of which the first does not reach the second. Each direction is cut on its
    /// own.
    cut: BTreeSet<(MemberNumber, MemberNumber)>,
    /// Set once messages are neither lost nor repeated any more.
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

    /// Marks a connection as carrying copies.
    pub fn mark_repeating(&mut self, link: LinkId) {
        if let Some(link) = self.links.get_mut(&link) {
            link.repeats = true;
        }
    }

    /// Returns a connection.
    #[must_use]
    pub fn link(&self, link: LinkId) -> Option<&Link> {
        self.links.get(&link)
    }

    /// Ends a connection and forgets it.
    pub fn close(&mut self, link: LinkId) -> Option<Link> {
        self.links.remove(&link)
    }

    /// Returns the connections of a process, in both directions.
    #[must_use]
    pub fn links_of(&self, member: MemberNumber) -> Vec<LinkId> {
        let links = self.links.iter();
        let of_it = links.filter(|(_, link)| link.from == member || link.to == member);
        of_it.map(|(id, _)| *id).collect()
    }

    /// Counts the connections from one process to another.
    #[must_use]
    pub fn count(&self, from: MemberNumber, to: MemberNumber) -> usize {
        let links = self.links.values();
        links
            .filter(|link| (link.from, link.to) == (from, to))
            .count()
    }

    /// Returns whether messages get from one member to the other.
    #[must_use]
    pub fn reaches(&self, from: MemberNumber, to: MemberNumber) -> bool {
        !self.cut.contains(&(from, to))
    }

    /// Cuts one direction.
    pub fn cut(&mut self, from: MemberNumber, to: MemberNumber) {
        self.cut.insert((from, to));
    }

    /// Mends one direction.
    pub fn mend(&mut self, from: MemberNumber, to: MemberNumber) {
        self.cut.remove(&(from, to));
    }

    /// Mends all cuts and lets nothing fail any more.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.calm = true;
    }

    /// Determines the fate of a message that is sent now.
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

/// Draws the latency of a message, in milliseconds.
pub fn latency(profile: &Profile, random: &mut Random) -> i64 {
    let most = profile.latency_ms * 2 + 1;
    random.between(profile.latency_ms, most)
}

//! Places for unfinished handshakes: who gets one, and who gives way.
//!
//! A caller is silent until its ClientHello is whole. If no place is free, the oldest silent caller gives way, and after
//! it the oldest that has had its time; a newer caller is turned away only if nobody can give way. Places are counted
//! in all, for each address, and for each network: /24 of IPv4, /64 of IPv6, which one subscriber has. An address that
//! belongs to a member has a few places of its own, which nobody else can take.
//!
//! Refuses to look at more than addresses and times: it knows no socket and no clock.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Places that each address of a member has to itself.
const OWN_PLACES: usize = 4;

/// Bounds of [`Places`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Places in all, besides those of members.
    pub(super) total: usize,
    /// Places of one address.
    pub(super) per_address: usize,
    /// Time after which a caller that is not silent gives way as well.
    pub(super) patience: Duration,
}

/// Origin of a caller, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// An address of no member that is known.
    Stranger(IpAddr),
    /// An address that belongs to a member.
    Listed(IpAddr),
    /// A proxy that has not said yet for whom it calls.
    Proxy,
}

/// Reason for which no place is free, or for which one was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crowded {
    /// The address, or its network, has as many places as it may.
    Address,
    /// All places are taken.
    All,
}

/// A place given, and what it took to find it.
#[derive(Debug)]
pub(super) struct Given {
    /// Number of the place; numbers grow with time.
    number: u64,
    /// Token that is cancelled when the place has to be given up.
    gone: CancellationToken,
    /// Reason for which an older caller had to give way.
    pub(super) instead: Option<Crowded>,
}

#[derive(Debug)]
struct Held {
    caller: Caller,
    kind: Kind,
    silent: bool,
    since: Instant,
    gone: CancellationToken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Own,
    Common,
}

/// The places that are held.
#[derive(Debug)]
pub(super) struct Places {
    bounds: Bounds,
    next: u64,
    held: BTreeMap<u64, Held>,
}

impl Places {
    pub(super) const fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            next: 0,
            held: BTreeMap::new(),
        }
    }

    /// Gives `caller` a place, for which another may have to give way.
    pub(super) fn give(&mut self, caller: Caller, now: Instant) -> Result<Given, Crowded> {
        if self.has_own_place(caller) {
            return Ok(self.hold(caller, Kind::Own, now, None));
        }
        let instead = self.make_room(caller, now)?;
        Ok(self.hold(caller, Kind::Common, now, instead))
    }

    /// Notes that the caller's ClientHello is whole.
    fn heard(&mut self, number: u64) {
        if let Some(held) = self.held.get_mut(&number) {
            held.silent = false;
        }
    }

    fn leave(&mut self, number: u64) {
        self.held.remove(&number);
    }

    fn has_own_place(&self, caller: Caller) -> bool {
        let Caller::Listed(address) = caller else {
            return false;
        };
        let own = |held: &&Held| held.kind == Kind::Own && held.caller.address() == Some(address);
        self.held.values().filter(own).count() < OWN_PLACES
    }

    /// Finds room for one more among the common places.
    fn make_room(&mut self, caller: Caller, now: Instant) -> Result<Option<Crowded>, Crowded> {
        let bounds = self.bounds;
        let per_network = bounds.per_address.max(bounds.total / 2);
        let rules = [
            (bounds.per_address, Crowded::Address, Share::Address(caller)),
            (per_network, Crowded::Address, Share::Network(caller)),
            (bounds.total, Crowded::All, Share::All),
        ];
        let full = rules
            .into_iter()
            .find(|(most, _, share)| self.common(*share).count() >= *most);
        let Some((_, crowded, share)) = full else {
            return Ok(None);
        };
        let number = self.first_to_go(share, now).ok_or(crowded)?;
        if let Some(held) = self.held.remove(&number) {
            held.gone.cancel();
        }
        Ok(Some(crowded))
    }

    fn common(&self, share: Share) -> impl Iterator<Item = (u64, &Held)> {
        self.held
            .iter()
            .filter(move |(_, held)| held.kind == Kind::Common && share.holds(held.caller))
            .map(|(number, held)| (*number, held))
    }

    /// Returns the oldest silent caller, else the oldest that has had its time.
    fn first_to_go(&self, share: Share, now: Instant) -> Option<u64> {
        let patience = self.bounds.patience;
        let silent = self.common(share).find(|(_, held)| held.silent);
        let slow = || {
            self.common(share)
                .find(|(_, held)| now.duration_since(held.since) >= patience)
        };
        silent.or_else(slow).map(|(number, _)| number)
    }

    fn hold(
        &mut self,
        caller: Caller,
        kind: Kind,
        since: Instant,
        instead: Option<Crowded>,
    ) -> Given {
        let number = self.next;
        self.next = number.wrapping_add(1);
        let gone = CancellationToken::new();
        let held = Held {
            caller,
            kind,
            silent: true,
            since,
            gone: gone.clone(),
        };
        self.held.insert(number, held);
        Given {
            number,
            gone,
            instead,
        }
    }
}

/// Callers that are counted together.
#[derive(Debug, Clone, Copy)]
enum Share {
    Address(Caller),
    Network(Caller),
    All,
}

impl Share {
    fn holds(self, other: Caller) -> bool {
        let same = |caller: Caller, of: fn(IpAddr) -> IpAddr| {
            let (one, two) = (caller.address().map(of), other.address().map(of));
            one.is_some() && one == two
        };
        match self {
            Self::Address(caller) => same(caller, |address| address),
            Self::Network(caller) => same(caller, network),
            Self::All => true,
        }
    }
}

impl Caller {
    /// Returns the address of the caller; `None` as long as a proxy has not named it.
    pub(super) fn address(self) -> Option<IpAddr> {
        match self {
            Self::Stranger(address) | Self::Listed(address) => Some(address.to_canonical()),
            Self::Proxy => None,
        }
    }
}

/// Returns the network of an address: /24 of IPv4, /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & !0xff).into(),
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
    }
}

/// [`Places`] that the handshakes share.
#[derive(Debug, Clone)]
pub(super) struct Door {
    // Guards the places alone. Held for one walk over them, and never across an await.
    places: Arc<Mutex<Places>>,
}

/// A place taken; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    gone: CancellationToken,
    door: Door,
}

impl Door {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            places: Arc::new(Mutex::new(Places::new(bounds))),
        }
    }

    /// Takes a place. Says as well why an older caller had to give way, if one had to.
    pub(super) fn take(&self, caller: Caller) -> Result<(Place, Option<Crowded>), Crowded> {
        let given = self.lock().give(caller, Instant::now())?;
        let place = Place {
            number: given.number,
            gone: given.gone,
            door: self.clone(),
        };
        Ok((place, given.instead))
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Notes that the caller's ClientHello is whole.
    pub(super) fn heard(&self) {
        self.door.lock().heard(self.number);
    }

    /// Waits until the place has to be given up.
    pub(super) async fn gone(&self) {
        self.gone.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.door.lock().leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);

    fn places(total: usize, per_address: usize) -> Places {
        Places::new(Bounds {
            total,
            per_address,
            patience: PATIENCE,
        })
    }

    fn stranger(address: &str) -> Caller {
        Caller::Stranger(address.parse().unwrap())
    }

    fn listed(address: &str) -> Caller {
        Caller::Listed(address.parse().unwrap())
    }

    /// Attack H5: 256 unfinished handshakes kept members out for 7 s.
    #[test]
    fn at_the_bound_the_oldest_silent_caller_gives_way_and_not_the_newest() {
        let mut places = places(2, 2);
        let now = Instant::now();
        let oldest = places.give(stranger("192.0.2.1"), now).unwrap();
        let silent = places.give(stranger("198.51.100.1"), now).unwrap();
        places.heard(oldest.number);
        let given = places.give(stranger("203.0.113.1"), now).unwrap();
        assert_eq!(given.instead, Some(Crowded::All));
        assert_eq!(
            (oldest.gone.is_cancelled(), silent.gone.is_cancelled()),
            (false, true)
        );
    }

    #[test]
    fn who_spoke_gives_way_only_after_its_time() {
        let mut places = places(1, 1);
        let now = Instant::now();
        let first = places.give(stranger("192.0.2.1"), now).unwrap();
        places.heard(first.number);
        let early = places.give(stranger("198.51.100.1"), now);
        assert_eq!(early.unwrap_err(), Crowded::All);
        assert!(!first.gone.is_cancelled());
        places
            .give(stranger("198.51.100.1"), now + PATIENCE)
            .unwrap();
        assert!(first.gone.is_cancelled());
    }

    #[test]
    fn an_address_or_network_at_its_ceiling_displaces_its_own_alone() {
        let mut places = places(4, 1);
        let now = Instant::now();
        let other = places.give(stranger("203.0.113.1"), now).unwrap();
        let same = places.give(stranger("192.0.2.1"), now).unwrap();
        let again = places.give(stranger("::ffff:192.0.2.1"), now).unwrap();
        assert_eq!(again.instead, Some(Crowded::Address));
        assert!(same.gone.is_cancelled());
        let second = places.give(stranger("192.0.2.2"), now).unwrap();
        assert_eq!(second.instead, None);
        let third = places.give(stranger("192.0.2.3"), now).unwrap();
        assert_eq!(third.instead, Some(Crowded::Address));
        assert_eq!(
            (again.gone.is_cancelled(), other.gone.is_cancelled()),
            (true, false)
        );
    }

    #[test]
    fn a_subscriber_of_ipv6_counts_as_one_network() {
        let mut places = places(4, 1);
        let now = Instant::now();
        let first = places.give(stranger("2001:db8::1"), now).unwrap();
        places.give(stranger("2001:db8::2"), now).unwrap();
        places.give(stranger("2001:db8:0:1::1"), now).unwrap();
        assert!(!first.gone.is_cancelled());
        let third = places.give(stranger("2001:db8::3"), now).unwrap();
        assert_eq!(third.instead, Some(Crowded::Address));
        assert!(first.gone.is_cancelled());
    }

    #[test]
    fn a_members_address_has_places_that_no_stranger_can_take() {
        let mut places = places(1, 1);
        let now = Instant::now();
        let hold = places.give(stranger("192.0.2.1"), now).unwrap();
        places.heard(hold.number);
        let own: Vec<Given> = (0..OWN_PLACES)
            .map(|_| places.give(listed("203.0.113.1"), now).unwrap())
            .collect();
        let beyond = places.give(listed("203.0.113.1"), now);
        assert_eq!(beyond.unwrap_err(), Crowded::All);
        for _ in 0..100 {
            let later = now + PATIENCE;
            places.give(stranger("198.51.100.1"), later).unwrap();
        }
        assert!(own.iter().all(|given| !given.gone.is_cancelled()));
    }

    #[test]
    fn a_proxys_callers_are_not_counted_as_one_address() {
        let mut places = places(3, 1);
        let now = Instant::now();
        for _ in 0..3 {
            assert_eq!(places.give(Caller::Proxy, now).unwrap().instead, None);
        }
        let fourth = places.give(Caller::Proxy, now).unwrap();
        assert_eq!(fourth.instead, Some(Crowded::All));
    }

    #[test]
    fn a_place_given_back_is_free() {
        let door = Door::new(Bounds {
            total: 1,
            per_address: 1,
            patience: PATIENCE,
        });
        let (first, _) = door.take(stranger("192.0.2.1")).unwrap();
        first.heard();
        assert!(door.take(stranger("192.0.2.2")).is_err());
        drop(first);
        assert!(door.take(stranger("192.0.2.2")).is_ok());
    }
}

//! Room for items that wait for a person, counted in bytes.
//!
//! An item that does not fit is refused for now, so that its sender tries again and nothing is
//! lost. Bulk gives way first: an urgent item has room as long as its originator, through this
//! deliverer, has not used its share and the reserve on top of it, however much others wait. A
//! flood through a hub therefore uses up no room for the alerts of any other originator.
//!
//! Pure.

use portcullis_protocol::frame::Lane;

/// Items, and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Number of items.
    pub items: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Most of one originator's items that one peer delivered.
pub const HELD_OF_ORIGIN: Amount = Amount {
    items: 4_096,
    bytes: 64 << 20,
};
/// Most urgent items of one originator beyond [`HELD_OF_ORIGIN`].
pub const HELD_URGENT_RESERVE: Amount = Amount {
    items: 1_024,
    bytes: 16 << 20,
};
/// Most items that one peer delivered. Only urgent ones are held beyond it.
pub const HELD_OF_PEER: Amount = Amount {
    items: 16_384,
    bytes: 256 << 20,
};
/// Most items of all peers. Only urgent ones are held beyond it.
pub const HELD_IN_TOTAL: Amount = Amount {
    items: 65_536,
    bytes: 1 << 30,
};

/// Items that wait, as an item that would be added sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeldLoad {
    /// Items of the same originator from the same peer.
    pub of_origin: Amount,
    /// Items from the same peer.
    pub of_peer: Amount,
    /// All items.
    pub in_total: Amount,
}

impl Amount {
    /// Returns the sum.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            items: self.items.saturating_add(other.items),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    /// Returns the difference, zero at least.
    #[must_use]
    pub const fn less(self, other: Self) -> Self {
        Self {
            items: self.items.saturating_sub(other.items),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }

    const fn is_within(self, most: Self) -> bool {
        self.items <= most.items && self.bytes <= most.bytes
    }
}

impl HeldLoad {
    /// Returns true if an item of this lane and size may wait beside the others.
    #[must_use]
    pub fn has_room(&self, lane: Lane, bytes: u64) -> bool {
        let one = Amount { items: 1, bytes };
        let of_origin = self.of_origin.plus(one);
        match lane {
            Lane::Urgent => of_origin.is_within(HELD_OF_ORIGIN.plus(HELD_URGENT_RESERVE)),
            Lane::Bulk => {
                of_origin.is_within(HELD_OF_ORIGIN)
                    && self.of_peer.plus(one).is_within(HELD_OF_PEER)
                    && self.in_total.plus(one).is_within(HELD_IN_TOTAL)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn amount(items: u64, bytes: u64) -> Amount {
        Amount { items, bytes }
    }

    #[track_caller]
    fn check(load: HeldLoad, bytes: u64, (bulk, urgent): (bool, bool)) {
        assert_eq!(load.has_room(Lane::Bulk, bytes), bulk, "bulk");
        assert_eq!(load.has_room(Lane::Urgent, bytes), urgent, "urgent");
    }

    /// Attack H3, HH2: 4,096 items of 7 MiB were 28 GiB.
    #[test]
    fn what_waits_of_an_originator_is_bounded_in_bytes_and_bulk_gives_way_first() {
        let of_origin = |bytes| HeldLoad {
            of_origin: amount(10, bytes),
            of_peer: amount(10, bytes),
            in_total: amount(10, bytes),
        };
        check(of_origin(0), 7 * MIB, (true, true));
        check(of_origin(57 * MIB), 7 * MIB, (true, true));
        check(of_origin(58 * MIB), 7 * MIB, (false, true));
        check(of_origin(73 * MIB), 7 * MIB, (false, true));
        check(of_origin(74 * MIB), 7 * MIB, (false, false));
    }

    #[test]
    fn small_items_are_bounded_by_their_number() {
        let of_origin = |items| HeldLoad {
            of_origin: amount(items, 0),
            ..HeldLoad::default()
        };
        check(of_origin(4_095), 1, (true, true));
        check(of_origin(4_096), 1, (false, true));
        check(of_origin(5_120), 1, (false, false));
    }

    /// Attack HH2: a flood through a hub leaves room for the alerts of every other originator.
    #[test]
    fn a_full_peer_and_a_full_node_still_hold_the_alerts_of_others() {
        for (of_peer, in_total) in [
            (HELD_OF_PEER, HELD_OF_PEER),
            (Amount::default(), HELD_IN_TOTAL),
            (HELD_OF_PEER, HELD_IN_TOTAL),
        ] {
            let load = HeldLoad {
                of_origin: Amount::default(),
                of_peer,
                in_total,
            };
            check(load, MIB, (false, true));
        }
    }
}

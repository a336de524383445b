//! Shares of the desk's memory: a bound in bytes on what a model holds of others.
//!
//! Every origin has a share, and all of them together have a bound. What comes first stays, and the
//! desk reads the newest first. If all together do not fit, the origin that takes most gives way,
//! so that one member's flood leaves out nothing of the others.
//!
//! Pure.

use std::collections::BTreeMap;

use portcullis_protocol::identifiers::AuthorityId;
use portcullis_scoring::weight::Weight;

/// Bounds in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Most bytes of one origin.
    pub(super) each: usize,
    /// Most bytes of all origins together.
    pub(super) total: usize,
}

/// Number of records of each origin that did not fit.
pub(super) type LeftOut = BTreeMap<AuthorityId, usize>;

/// Things that were taken in, by origin.
#[derive(Debug)]
pub(super) struct Shares<T> {
    bounds: Bounds,
    bytes: usize,
    /// Number of things that were offered so far: the place of the next one.
    offered: usize,
    of: BTreeMap<AuthorityId, Share<T>>,
    left_out: LeftOut,
}

#[derive(Debug)]
struct Share<T> {
    bytes: usize,
    /// Each thing with its place in the order in which all came, and its bytes.
    things: Vec<(usize, usize, T)>,
}

impl<T: Weight> Shares<T> {
    /// Returns empty shares within these bounds.
    #[must_use]
    pub(super) const fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            bytes: 0,
            offered: 0,
            of: BTreeMap::new(),
            left_out: BTreeMap::new(),
        }
    }

    /// Takes in what a record of `origin` says, if it fits.
    pub(super) fn add(&mut self, origin: &AuthorityId, thing: T) {
        let bytes = thing.weight();
        let place = self.offered;
        self.offered += 1;
        let share = self.of.entry(origin.clone()).or_insert_with(|| Share {
            bytes: 0,
            things: Vec::new(),
        });
        if share.bytes.saturating_add(bytes) > self.bounds.each {
            *self.left_out.entry(origin.clone()).or_default() += 1;
            return;
        }
        share.bytes += bytes;
        share.things.push((place, bytes, thing));
        self.bytes = self.bytes.saturating_add(bytes);
        while self.bytes > self.bounds.total && self.give_way() {}
    }

    /// Leaves out the last thing of the origin that takes most; false if there is none.
    fn give_way(&mut self) -> bool {
        let largest = self.of.iter_mut().max_by_key(|(_, share)| share.bytes);
        let Some((origin, share)) = largest else {
            return false;
        };
        let Some((_, bytes, _)) = share.things.pop() else {
            return false;
        };
        share.bytes -= bytes;
        self.bytes -= bytes;
        *self.left_out.entry(origin.clone()).or_default() += 1;
        true
    }

    /// Returns everything that was taken in, in the order in which it came, and what was left out.
    #[must_use]
    pub(super) fn into_parts(self) -> (Vec<T>, LeftOut) {
        let mut all: Vec<_> = self
            .of
            .into_values()
            .flat_map(|share| share.things)
            .collect();
        all.sort_unstable_by_key(|(place, _, _)| *place);
        let things = all.into_iter().map(|(_, _, thing)| thing).collect();
        (things, self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    struct Bytes(usize);

    impl Weight for Bytes {
        fn weight(&self) -> usize {
            self.0
        }
    }

    fn shares(each: usize, total: usize, offered: &[(&str, usize)]) -> (Vec<usize>, LeftOut) {
        let mut shares = Shares::new(Bounds { each, total });
        for (origin, bytes) in offered {
            shares.add(&origin.parse().unwrap(), Bytes(*bytes));
        }
        let held = shares.bytes;
        let (kept, left_out) = shares.into_parts();
        let kept: Vec<usize> = kept.into_iter().map(|bytes| bytes.0).collect();
        assert_eq!(held, kept.iter().sum::<usize>());
        assert!(held <= total);
        (kept, left_out)
    }

    fn left(out: &[(&str, usize)]) -> LeftOut {
        let out = out.iter();
        out.map(|(origin, count)| (origin.parse().unwrap(), *count))
            .collect()
    }

    #[test]
    fn what_fits_stays_in_its_order() {
        let (kept, left_out) = shares(10, 20, &[("police", 3), ("port", 4), ("police", 5)]);
        assert_eq!((kept, left_out), (vec![3, 4, 5], left(&[])));
    }

    /// Attack H3: a flood of one origin stops at its share, and what came first stays.
    #[test]
    fn an_origin_stays_within_its_share_whatever_the_others_leave() {
        let flood = [
            ("terminal", 4),
            ("terminal", 4),
            ("terminal", 4),
            ("police", 9),
        ];
        let (kept, left_out) = shares(10, 100, &flood);
        assert_eq!((kept, left_out), (vec![4, 4, 9], left(&[("terminal", 1)])));
    }

    /// Attack H3: when all together are too much, the largest gives way and not who came last.
    #[test]
    fn the_origin_that_takes_most_gives_way_to_the_others() {
        let offered = [("terminal", 5), ("terminal", 5), ("police", 3), ("port", 3)];
        let (kept, left_out) = shares(10, 12, &offered);
        assert_eq!((kept, left_out), (vec![5, 3, 3], left(&[("terminal", 1)])));
    }

    #[test]
    fn a_thing_larger_than_the_bound_is_left_out_and_ends_nothing() {
        let (kept, left_out) = shares(100, 10, &[("police", 50), ("port", 5)]);
        assert_eq!((kept, left_out), (vec![5], left(&[("police", 1)])));
    }
}

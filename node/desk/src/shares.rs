//! Shares of the desk's memory: a bound in bytes on what a model holds of others.
//!
//! Every origin has the same share: a part of the bound on all together, by the number of origins
//! from which anything came. What it holds is the longest run from its first thing on that fits, and
//! things of one group stay or go together. The desk reads the newest first. So what an origin may
//! fill does not depend on how much the others send, and a flood leaves out nothing of theirs.
//!
//! The work of looking at a record counts as bytes as well, whether or not it says anything. Whoever
//! has filled its share is looked at no more.
//!
//! Pure.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_protocol::identifiers::AuthorityId;
use portcullis_scoring::weight::Weight;

/// Least bytes of a thing: what it takes to look at a record.
pub(super) const LOOK: usize = 1 << 10;

/// Bounds in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Most bytes of one origin, however few there are.
    pub(super) each: usize,
    /// Most bytes of all origins together.
    pub(super) total: usize,
}

/// Number of records of each origin that did not fit.
pub(super) type LeftOut = BTreeMap<AuthorityId, usize>;

/// Things that were taken in, by origin. `G` tells the groups apart.
#[derive(Debug)]
pub(super) struct Shares<G, T> {
    bounds: Bounds,
    /// Number of things that were offered so far: the place of the next one.
    offered: usize,
    of: BTreeMap<AuthorityId, Share<G, T>>,
}

#[derive(Debug)]
struct Share<G, T> {
    bytes: usize,
    things: Vec<Thing<G, T>>,
    left_out: usize,
    /// Group of the first thing that does not fit. Nothing is known of those after it.
    first_out: Option<G>,
    /// True once something did not fit: nothing that comes later is taken in.
    is_full: bool,
}

#[derive(Debug)]
struct Thing<G, T> {
    /// Its place in the order in which all came.
    place: usize,
    bytes: usize,
    /// Its group and what it says; nothing, if the record says nothing that counts, or too much.
    said: Option<(G, T)>,
    /// Its group, if what it says would fit into no share.
    oversize: Option<G>,
}

impl<G: Ord, T: Weight> Shares<G, T> {
    /// Returns empty shares within these bounds.
    #[must_use]
    pub(super) const fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            offered: 0,
            of: BTreeMap::new(),
        }
    }

    /// Returns true if nothing more of this origin is taken in. The record that was to be looked at
    /// counts as left out then.
    pub(super) fn is_full(&mut self, origin: &AuthorityId) -> bool {
        let share = self.of.get_mut(origin).filter(|share| share.is_full);
        if let Some(share) = share {
            share.left_out += 1;
            return true;
        }
        false
    }

    /// Returns the origins of which nothing more is taken in.
    #[must_use]
    pub(super) fn full(&self) -> BTreeSet<AuthorityId> {
        let full = self.of.iter().filter(|(_, share)| share.is_full);
        full.map(|(origin, _)| origin.clone()).collect()
    }

    /// Counts records of origins of which nothing more is taken in, and which were not looked at.
    pub(super) fn leave_out(&mut self, records: BTreeMap<AuthorityId, usize>) {
        for (origin, count) in records {
            if let Some(share) = self.of.get_mut(&origin) {
                share.left_out = share.left_out.saturating_add(count);
            }
        }
    }

    /// Takes in what a record of `origin` says, if it fits. What does not fit leaves out its whole group.
    /// `looked` is the number of other records that were looked at for it.
    pub(super) fn add(&mut self, origin: &AuthorityId, looked: usize, said: Option<(G, T)>) {
        let work = looked.saturating_add(1).saturating_mul(LOOK);
        let bytes = said.as_ref().map_or(0, |(_, content)| content.weight());
        let mut thing = Thing {
            place: self.offered,
            bytes: bytes.saturating_add(work),
            said,
            oversize: None,
        };
        self.offered += 1;
        let origins = self.of.len();
        let share = self.of.entry(origin.clone()).or_insert_with(Share::new);
        if thing.bytes > self.bounds.each {
            // It would not fit if there were nobody else. The work was done.
            thing.bytes = work.min(self.bounds.each);
            thing.oversize = thing.said.take().map(|(group, _)| group);
        }
        share.add(thing);
        let is_new = self.of.len() > origins;
        let most = self.bounds.each.min(self.bounds.total / self.of.len());
        if is_new {
            self.of.values_mut().for_each(|share| share.cut(most));
        } else if let Some(share) = self.of.get_mut(origin) {
            share.cut(most);
        }
    }

    /// Returns everything that was taken in, in the order in which it came, and what was left out.
    #[must_use]
    pub(super) fn into_parts(self) -> (Vec<T>, LeftOut) {
        let (mut all, mut left_out) = (Vec::new(), LeftOut::new());
        for (origin, share) in self.of {
            let (things, left) = share.into_whole_groups();
            if left > 0 {
                left_out.insert(origin, left);
            }
            all.extend(things);
        }
        all.sort_unstable_by_key(|thing| thing.place);
        let things = all
            .into_iter()
            .filter_map(|thing| Some(thing.said?.1))
            .collect();
        (things, left_out)
    }
}

impl<G: Ord, T> Share<G, T> {
    const fn new() -> Self {
        Self {
            bytes: 0,
            things: Vec::new(),
            left_out: 0,
            first_out: None,
            is_full: false,
        }
    }

    fn add(&mut self, thing: Thing<G, T>) {
        if self.is_full {
            self.left_out += 1;
            return;
        }
        self.bytes = self.bytes.saturating_add(thing.bytes);
        self.things.push(thing);
    }

    /// Leaves out the last things until no more than `most` bytes are left.
    fn cut(&mut self, most: usize) {
        while self.bytes > most
            && let Some(last) = self.things.pop()
        {
            self.is_full = true;
            self.bytes -= last.bytes;
            self.left_out += 1;
            self.first_out = last.said.map(|(group, _)| group).or(last.oversize);
        }
    }

    /// Returns the things whose groups are whole, and the number of all others. Groups are judged last,
    /// so that it makes no difference when somebody else came and the share became smaller.
    fn into_whole_groups(self) -> (impl Iterator<Item = Thing<G, T>>, usize) {
        let oversize = self.things.iter().filter(|thing| thing.oversize.is_some());
        let mut left_out = self.left_out + oversize.count();
        let (mut cut, mut kept): (BTreeSet<G>, Vec<Thing<G, T>>) = Default::default();
        cut.extend(self.first_out);
        for thing in self.things {
            match thing.oversize {
                Some(group) => drop(cut.insert(group)),
                None => kept.push(thing),
            }
        }
        let is_cut = |thing: &Thing<G, T>| {
            let group = thing.said.as_ref().map(|(group, _)| group);
            group.is_some_and(|group| cut.contains(group))
        };
        left_out += kept.iter().filter(|thing| is_cut(thing)).count();
        kept.retain(|thing| !is_cut(thing));
        (kept.into_iter(), left_out)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    struct Bytes(usize);

    impl Weight for Bytes {
        fn weight(&self) -> usize {
            self.0 * LOOK - LOOK
        }
    }

    /// A thing of an origin: its group, and its bytes, in units of [`LOOK`].
    type Offered<'a> = (&'a str, u32, usize);

    fn shares(each: usize, total: usize, offered: &[Offered<'_>]) -> (Vec<usize>, LeftOut) {
        let mut shares = Shares::new(Bounds {
            each: each * LOOK,
            total: total * LOOK,
        });
        for (origin, group, bytes) in offered {
            let origin = origin.parse().unwrap();
            if !shares.is_full(&origin) {
                shares.add(&origin, 0, Some((*group, Bytes(*bytes))));
            }
        }
        let held = shares.of.values().map(|share| share.bytes).sum::<usize>() / LOOK;
        let (kept, left_out) = shares.into_parts();
        let kept: Vec<usize> = kept.into_iter().map(|bytes| bytes.0).collect();
        assert!(kept.iter().sum::<usize>() <= held && held <= total);
        let left: usize = left_out.values().sum();
        assert_eq!(kept.len() + left, offered.len());
        (kept, left_out)
    }

    fn left(out: &[(&str, usize)]) -> LeftOut {
        let out = out.iter();
        out.map(|(origin, count)| (origin.parse().unwrap(), *count))
            .collect()
    }

    #[test]
    fn what_fits_stays_in_its_order() {
        let offered = [("police", 1, 3), ("port", 1, 4), ("police", 2, 5)];
        assert_eq!(shares(10, 20, &offered), (vec![3, 4, 5], left(&[])));
    }

    /// Attack H3: a flood of one origin stops at its share, and what came first stays.
    #[test]
    fn an_origin_stays_within_its_share_whatever_the_others_leave() {
        let flood = [
            ("terminal", 1, 4),
            ("terminal", 2, 4),
            ("terminal", 3, 4),
            ("police", 1, 9),
        ];
        let kept = (vec![4, 4, 9], left(&[("terminal", 1)]));
        assert_eq!(shares(10, 100, &flood), kept);
    }

    /// Hostile HP-197: whoever asks for more says whose records need not be opened, and counts them.
    #[test]
    fn an_origin_is_full_once_something_of_it_did_not_fit_and_what_is_not_opened_counts_as_left_out()
     {
        let mut shares = Shares::new(Bounds {
            each: 2 * LOOK,
            total: 100 * LOOK,
        });
        let [terminal, police] = ["terminal", "police"].map(|name| name.parse().unwrap());
        let add = |shares: &mut Shares<u32, Bytes>, origin| {
            shares.add(origin, 0, Some((1, Bytes(1))));
            shares.full()
        };
        assert_eq!(add(&mut shares, &terminal), BTreeSet::new());
        assert_eq!(add(&mut shares, &police), BTreeSet::new());
        assert_eq!(add(&mut shares, &terminal), BTreeSet::new());
        assert_eq!(
            add(&mut shares, &terminal),
            BTreeSet::from([terminal.clone()])
        );
        let never_seen: AuthorityId = "port".parse().unwrap();
        shares.leave_out(BTreeMap::from([(terminal.clone(), 40), (never_seen, 7)]));
        // The group of what did not fit goes with it: three of its own, and those that were not opened.
        let (kept, left_out) = shares.into_parts();
        assert_eq!((kept.len(), left_out), (1, left(&[("terminal", 43)])));
    }

    /// Finding F7: an honest origin that takes more than a flood gave way to it.
    #[test]
    fn nobody_gives_way_to_another() {
        let honest = [("police", 1, 6), ("port", 1, 2)];
        let alone = shares(10, 18, &honest).0;
        let flood = (1..40).map(|group| ("terminal", group, 5));
        let offered: Vec<_> = honest.into_iter().chain(flood).collect();
        let (kept, left_out) = shares(10, 18, &offered);
        assert_eq!(kept[..2], alone[..]);
        assert_eq!(
            (&kept[2..], left_out),
            (&[5][..], left(&[("terminal", 38)]))
        );
    }

    /// Finding F7: a part of an edition counted as all of it.
    #[test]
    fn a_group_that_does_not_fit_is_left_out_whole() {
        let offered = [
            ("police", 1, 4),
            ("police", 2, 3),
            ("police", 2, 3),
            ("police", 2, 3),
            ("police", 3, 1),
        ];
        let (kept, left_out) = shares(10, 20, &offered);
        assert_eq!((kept, left_out), (vec![4], left(&[("police", 4)])));
        // So it is if it did fit until somebody else came.
        let offered = [
            ("police", 1, 4),
            ("police", 2, 3),
            ("police", 2, 3),
            ("port", 1, 1),
        ];
        let (kept, left_out) = shares(10, 18, &offered);
        assert_eq!((kept, left_out), (vec![4, 1], left(&[("police", 2)])));
    }

    #[test]
    fn a_thing_larger_than_any_share_is_left_out_with_its_group_and_ends_nothing_else() {
        let offered = [("police", 1, 50), ("police", 2, 3), ("port", 1, 5)];
        let kept = (vec![3, 5], left(&[("police", 1)]));
        assert_eq!(shares(40, 10, &offered), kept);
        // The parts of one edition, in whatever order they come.
        for order in [[50, 3, 2], [3, 50, 2], [2, 3, 50]] {
            let offered = order.map(|bytes| ("police", 1, bytes));
            assert_eq!(
                shares(40, 80, &offered),
                (vec![], left(&[("police", 3)])),
                "{order:?}"
            );
        }
        let between = [
            ("police", 1, 4),
            ("police", 2, 3),
            ("police", 1, 8),
            ("police", 2, 1),
        ];
        assert_eq!(shares(10, 20, &between), (vec![3], left(&[("police", 3)])));
    }

    /// Each look at something too large is work.
    #[test]
    fn things_larger_than_any_share_fill_it_by_the_work_they_make() {
        let police = "police".parse().unwrap();
        let mut shares: Shares<u32, Bytes> = Shares::new(Bounds {
            each: 5 * LOOK,
            total: 9 * LOOK,
        });
        let looked = (0..100).filter(|group| {
            let looks = !shares.is_full(&police);
            if looks {
                shares.add(&police, 1, Some((*group, Bytes(50))));
            }
            looks
        });
        assert_eq!(looked.count(), 3);
    }

    /// Finding F11: records that say nothing were looked at without a bound.
    #[test]
    fn a_record_that_says_nothing_takes_its_place() {
        let police = "police".parse().unwrap();
        let mut shares: Shares<u32, Bytes> = Shares::new(Bounds {
            each: 3 * LOOK,
            total: 9 * LOOK,
        });
        let looked = (0..100).filter(|_| {
            let looks = !shares.is_full(&police);
            if looks {
                shares.add(&police, 0, None);
            }
            looks
        });
        assert_eq!(looked.count(), 4);
        let (kept, left_out) = shares.into_parts();
        assert_eq!((kept, left_out), (vec![], left(&[("police", 97)])));
    }

    proptest! {
        /// Finding F7: nothing depends on another's bytes, number of things or order.
        #[test]
        fn what_is_kept_of_an_origin_depends_on_nothing_that_another_sends(
            own in prop::collection::vec((0_u32..4, 1_usize..8), 1..12),
            others in prop::collection::vec((0_u32..4, 1_usize..8, any::<prop::sample::Index>()), 1..20),
        ) {
            let own: Vec<Offered<'_>> = own.iter().map(|(group, bytes)| ("police", *group, 100 + bytes)).collect();
            let of_police = |others: &[(u32, usize, prop::sample::Index)]| {
                let mut offered = own.clone();
                for (group, bytes, at) in others {
                    offered.insert(at.index(offered.len() + 1), ("terminal", *group, *bytes));
                }
                let (kept, _) = shares(500, 800, &offered);
                kept.into_iter().filter(|bytes| *bytes > 100).collect::<Vec<_>>()
            };
            prop_assert_eq!(of_police(&others), of_police(&others[..1]));
        }
    }
}

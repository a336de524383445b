//! The counts of several authorities, each (authority, period) counted once.
//!
//! Counts reach an authority directly, through a hub, or inside a hub's sum. A [`Pool`] keeps them
//! apart by contributors, period and edition. When asked, it decides which of them count:
//!
//! - parts of one edition add up; the same part again changes nothing;
//! - of several editions the last plausible one counts, alone: one that shows more than ten times
//!   the controls of the edition before is set aside and named;
//! - where a sum and an authority's own signed counts speak of the same authority, the sum does not
//!   count; of two sums the one of fewer authorities does, and then the one that shows more controls;
//! - the authority's own counts are its own, whole, and never taken from others.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use portcullis_protocol::{identifiers::AuthorityId, record::RecordId};

use crate::{
    consignment::Period,
    profile::{CellKey, Counts, Profile},
    received::{CellsPart, Contributors, Edition, ProfileRecord},
};

/// Result of adding cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// They were not held before.
    New,
    /// The same part of the same edition is held already.
    Known,
    /// They count this authority's own controls, which it knows better.
    Own,
}

/// Counts of this authority and of others.
#[derive(Debug, Clone)]
pub struct Pool {
    own: AuthorityId,
    own_profiles: BTreeMap<Period, Profile>,
    held: BTreeMap<(Period, Contributors), BTreeMap<Edition, BTreeMap<u32, HeldPart>>>,
}

#[derive(Debug, Clone)]
struct HeldPart {
    said_by: ProfileRecord,
    cells: Vec<(CellKey, Counts)>,
}

/// Growth from one edition to the next beyond which the later one is not believed.
const MOST_GROWTH: u64 = 10;
/// Number of controls up to which any growth is believed.
const FEW_CONTROLS: u64 = 1_000;

/// Counts that take part in the sums, with their origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The authorities whose controls are counted.
    pub contributors: Contributors,
    /// The period of those controls.
    pub period: Period,
    /// The records that state the counts; none for the authority's own.
    pub records: Vec<ProfileRecord>,
}

impl Pool {
    /// Makes a pool of `own` that holds no counts yet.
    #[must_use]
    pub const fn new(own: AuthorityId) -> Self {
        Self {
            own,
            own_profiles: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }

    /// Replaces all of the authority's own counts.
    pub fn replace_own(&mut self, profiles: BTreeMap<Period, Profile>) {
        self.own_profiles = profiles;
    }

    /// Adds the cells of one received section.
    pub fn add(&mut self, part: CellsPart) -> Added {
        if part.contributors == Contributors::one(self.own.clone()) {
            return Added::Own;
        }
        let parts = self
            .held
            .entry((part.period, part.contributors))
            .or_default()
            .entry(part.edition)
            .or_default();
        if parts.contains_key(&part.part) {
            return Added::Known;
        }
        let held = HeldPart {
            said_by: part.said_by,
            cells: part.cells,
        };
        parts.insert(part.part, held);
        Added::New
    }

    /// Removes all counts from `record`; returns whether there were any.
    pub fn remove(&mut self, record: &RecordId) -> bool {
        let before = self.part_count();
        for editions in self.held.values_mut() {
            for parts in editions.values_mut() {
                parts.retain(|_, part| part.said_by.record != *record);
            }
            editions.retain(|_, parts| !parts.is_empty());
        }
        self.held.retain(|_, editions| !editions.is_empty());
        self.part_count() != before
    }

    /// Returns the sources that count, in a fixed order, the authority's own first.
    #[must_use]
    pub fn sources(&self) -> Vec<Source> {
        self.counted()
            .into_iter()
            .map(|(source, _)| source)
            .collect()
    }

    pub(crate) fn counted(&self) -> Vec<(Source, Vec<(&CellKey, Counts)>)> {
        let own = self.own_profiles.iter().map(|(period, profile)| {
            let source = Source {
                contributors: Contributors::one(self.own.clone()),
                period: period.clone(),
                records: Vec::new(),
            };
            (
                source,
                profile
                    .cells()
                    .iter()
                    .map(|(key, counts)| (key, *counts))
                    .collect(),
            )
        });
        own.chain(self.chosen().into_iter().map(Candidate::into_source))
            .collect()
    }

    /// Returns the records of editions that are not believed, because they show far more controls
    /// than the edition before.
    #[must_use]
    pub fn implausible(&self) -> Vec<RecordId> {
        let editions = self.held.values().flat_map(|editions| {
            let believed = believed(editions);
            editions
                .iter()
                .filter(move |(edition, _)| !believed.contains(edition))
        });
        let parts = editions.flat_map(|(_, parts)| parts.values());
        let records: BTreeSet<RecordId> = parts.map(|part| part.said_by.record).collect();
        records.into_iter().collect()
    }

    /// Selects the counts of others that take part: no two of one period count the same authority.
    fn chosen(&self) -> Vec<Candidate<'_>> {
        let mut candidates: Vec<Candidate<'_>> = self
            .held
            .iter()
            .filter_map(|(of, editions)| Candidate::latest(of, editions))
            .collect();
        candidates.retain(|candidate| !candidate.contributors.0.contains(&self.own));
        candidates
            .sort_by_key(|candidate| (candidate.contributors.0.len(), Reverse(candidate.controls)));
        let mut chosen: Vec<Candidate<'_>> = Vec::new();
        for candidate in candidates {
            if !chosen.iter().any(|other| other.speaks_of_same(&candidate)) {
                chosen.push(candidate);
            }
        }
        chosen.sort_by_key(|candidate| (candidate.period, candidate.contributors));
        chosen
    }

    fn part_count(&self) -> usize {
        self.held
            .values()
            .flat_map(BTreeMap::values)
            .map(BTreeMap::len)
            .sum()
    }
}

/// The latest edition of the counts of some contributors for one period.
struct Candidate<'p> {
    contributors: &'p Contributors,
    period: &'p Period,
    parts: &'p BTreeMap<u32, HeldPart>,
    controls: u64,
}

impl<'p> Candidate<'p> {
    fn latest(
        (period, contributors): &'p (Period, Contributors),
        editions: &'p BTreeMap<Edition, BTreeMap<u32, HeldPart>>,
    ) -> Option<Self> {
        let last = *believed(editions).last()?;
        let parts = editions.get(last)?;
        Some(Self {
            contributors,
            period,
            parts,
            controls: controls(parts),
        })
    }

    fn speaks_of_same(&self, other: &Self) -> bool {
        self.period == other.period && self.contributors.overlap(other.contributors)
    }

    fn into_source(self) -> (Source, Vec<(&'p CellKey, Counts)>) {
        let said_by = self
            .parts
            .values()
            .map(|part| (part.said_by.record, part.said_by.clone()));
        let records: BTreeMap<RecordId, ProfileRecord> = said_by.collect();
        let source = Source {
            contributors: self.contributors.clone(),
            period: self.period.clone(),
            records: records.into_values().collect(),
        };
        let cells = self.parts.values().flat_map(|part| &part.cells);
        (source, cells.map(|(key, counts)| (key, *counts)).collect())
    }
}

/// Returns the editions that are believed, in their order.
fn believed(editions: &BTreeMap<Edition, BTreeMap<u32, HeldPart>>) -> Vec<&Edition> {
    let mut believed = Vec::new();
    let mut before: Option<u64> = None;
    for (edition, parts) in editions {
        let shown = controls(parts);
        let most = before.map(|before| before.saturating_mul(MOST_GROWTH).max(FEW_CONTROLS));
        if most.is_none_or(|most| shown <= most) {
            before = Some(shown);
            believed.push(edition);
        }
    }
    believed
}

/// Returns the number of controls that an edition shows.
fn controls(parts: &BTreeMap<u32, HeldPart>) -> u64 {
    let cells = parts.values().flat_map(|part| &part.cells);
    cells.map(|(_, counts)| u64::from(counts.controls())).sum()
}

#[cfg(test)]
mod tests {
    use portcullis_protocol::{record::RootTag, time::Timestamp};

    use super::*;
    use crate::{
        fixtures::{self, authority},
        received::Speaker,
    };

    fn cell(goods: &str, controls: u32, findings: u32) -> (CellKey, Counts) {
        let key = CellKey::new([goods, "BE", "BE", "A", "8"]);
        (key, Counts::new(controls, findings).unwrap())
    }

    /// Makes a part of one edition, distinguished by `n`, that counts the controls of `of`.
    fn part(of: &[&str], n: u8, sealed_at: i64, cells: Vec<(CellKey, Counts)>) -> CellsPart {
        let named = of.iter().map(|name| authority(name));
        let alone = authority(of[0]);
        let hub = authority("hub");
        let speaker = match of.len() {
            1 => Speaker::Authority(&alone),
            _ => Speaker::Hub(&hub),
        };
        CellsPart {
            said_by: said_by(n),
            edition: Edition {
                sealed_at: Timestamp::from_millis(sealed_at),
                root: RootTag::from_bytes([7; 16]),
            },
            contributors: Contributors::claimed(speaker, named).unwrap(),
            period: "2020".parse().unwrap(),
            part: u32::from(n),
            cells,
        }
    }

    fn said_by(n: u8) -> ProfileRecord {
        fixtures::said_by(&[n])
    }

    fn pool() -> Pool {
        Pool::new(authority("own"))
    }

    #[track_caller]
    fn controls(pool: &Pool, expected: u32) {
        let cells = pool.counted().into_iter().flat_map(|(_, cells)| cells);
        assert_eq!(
            cells.map(|(_, counts)| counts.controls()).sum::<u32>(),
            expected
        );
    }

    #[test]
    fn parts_add_up_and_the_same_part_does_not() {
        let mut pool = pool();
        let first = part(&["a"], 1, 5, vec![cell("010101", 1, 0)]);
        let second = part(&["a"], 2, 5, vec![cell("010102", 2, 1)]);
        assert_eq!(pool.add(first.clone()), Added::New);
        assert_eq!(pool.add(second), Added::New);
        assert_eq!(pool.add(first), Added::Known);
        controls(&pool, 3);
    }

    #[test]
    fn a_later_edition_stands_alone_whichever_came_first() {
        let old = [
            part(&["a"], 1, 5, vec![cell("010101", 1, 0)]),
            part(&["a"], 2, 5, vec![cell("010102", 2, 0)]),
        ];
        let new = part(&["a"], 3, 6, vec![cell("010101", 30, 0)]);
        for order in [[&old[0], &old[1], &new], [&new, &old[1], &old[0]]] {
            let mut pool = pool();
            for part in order {
                assert_eq!(pool.add(part.clone()), Added::New);
            }
            controls(&pool, 30);
        }
    }

    #[test]
    fn other_periods_and_authorities_add_up() {
        let mut pool = pool();
        let mut other = part(&["a"], 1, 5, vec![cell("010101", 1, 0)]);
        pool.add(other.clone());
        other.period = "2019".parse().unwrap();
        pool.add(other);
        pool.add(part(&["b"], 1, 5, vec![cell("010101", 1, 0)]));
        controls(&pool, 3);
    }

    #[test]
    fn a_sum_and_its_parts_never_count_together() {
        let sum = part(&["a", "b", "c"], 9, 5, vec![cell("010101", 60, 6)]);
        let a = part(&["a"], 1, 5, vec![cell("010101", 20, 2)]);
        let b = part(&["b"], 1, 5, vec![cell("010101", 20, 2)]);
        let c = part(&["c"], 1, 5, vec![cell("010101", 20, 2)]);
        let mut pool = pool();
        for (add, expected) in [(sum.clone(), 60), (a, 20), (sum, 20), (b, 40), (c, 60)] {
            pool.add(add);
            controls(&pool, expected);
        }
        let finest: Vec<usize> = pool
            .sources()
            .iter()
            .map(|source| source.contributors.iter().count())
            .collect();
        assert_eq!(finest, [1, 1, 1]);
    }

    /// A hub's sum of a million controls made an authority's own signed counts vanish.
    #[test]
    fn an_authoritys_own_counts_stand_before_any_sum() {
        let mut pool = pool();
        pool.add(part(&["a"], 1, 5, vec![cell("010101", 100, 10)]));
        let claimed = vec![cell("010101", 1_000_000, 1_000_000)];
        pool.add(part(&["a", "b"], 2, 9, claimed));
        controls(&pool, 100);
    }

    /// Attack C2, by an authority that had sent honest counts before.
    #[test]
    fn an_edition_that_grows_beyond_belief_is_set_aside_and_named() {
        let mut pool = pool();
        pool.add(part(&["a"], 1, 5, vec![cell("010101", 300, 30)]));
        pool.add(part(&["a"], 2, 6, vec![cell("010101", 3_001, 0)]));
        controls(&pool, 300);
        assert_eq!(pool.implausible(), [said_by(2).record]);
        pool.add(part(&["a"], 3, 7, vec![cell("010101", 3_000, 0)]));
        controls(&pool, 3_000);
        assert_eq!(pool.implausible(), [said_by(2).record]);
    }

    #[test]
    fn overlapping_sums_never_count_together() {
        let mut pool = pool();
        pool.add(part(&["a", "b"], 1, 5, vec![cell("010101", 20, 2)]));
        pool.add(part(&["b", "c"], 2, 5, vec![cell("010101", 30, 2)]));
        controls(&pool, 30);
    }

    #[test]
    fn own_counts_are_never_taken_from_others() {
        let mut pool = pool();
        let own: Profile = [cell("010101", 4, 1)].into_iter().collect();
        pool.replace_own(BTreeMap::from([("2020".parse().unwrap(), own.clone())]));
        let echoed = part(&["own"], 1, 5, vec![cell("010101", 400, 1)]);
        assert_eq!(pool.add(echoed), Added::Own);
        pool.add(part(&["own", "a"], 2, 5, vec![cell("010101", 500, 1)]));
        controls(&pool, 4);
        pool.replace_own(BTreeMap::from([("2020".parse().unwrap(), own)]));
        controls(&pool, 4);
    }

    #[test]
    fn a_recalled_record_stops_counting() {
        let mut pool = pool();
        pool.add(part(&["a"], 1, 5, vec![cell("010101", 1, 0)]));
        pool.add(part(&["a"], 2, 5, vec![cell("010102", 2, 0)]));
        assert!(pool.remove(&RecordId::of_header(&[1])));
        assert!(!pool.remove(&RecordId::of_header(&[1])));
        controls(&pool, 2);
        let records: Vec<_> = pool.sources().into_iter().flat_map(|s| s.records).collect();
        assert_eq!(records, [said_by(2)]);
    }
}

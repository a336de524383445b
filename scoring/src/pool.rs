//! The counts of several authorities, each (authority, period) counted once.
//!
//! Counts reach an authority directly, through a hub, or inside a hub's sum. A [`Pool`] keeps them
//! apart by contributors, period, signer and edition. When asked, it decides which of them count:
//!
//! - parts of one edition add up; the same part again changes nothing;
//! - of several editions of one signer the last plausible one counts, alone: one that shows more than
//!   ten times the controls of the edition before is set aside and named;
//! - where a sum and an authority's own signed counts speak of the same authority, the sum does not
//!   count; of two sums the one of fewer authorities does, and then the one that shows more controls;
//! - the authority's own counts are its own, whole, and never taken from others.
//!
//! A `Choice` is such a decision. It can leave signers out, as if they had never sent anything: the
//! sources that theirs had displaced count then.

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
    held: BTreeMap<(Period, Contributors, AuthorityId), Editions>,
}

/// The editions of one signer's counts of some contributors for one period, each with its parts.
type Editions = BTreeMap<Edition, BTreeMap<u32, HeldPart>>;

#[derive(Debug, Clone)]
struct HeldPart {
    said_by: ProfileRecord,
    cells: Vec<(CellKey, Counts)>,
}

/// Growth from one edition to the next beyond which the later one is not believed.
const MOST_GROWTH: u64 = 10;
/// Number of controls up to which any growth is believed.
const FEW_CONTROLS: u64 = 1_000;

/// Counts that may take part in the sums, with their origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The authority that signed them: one of the contributors alone, or a hub.
    pub signer: AuthorityId,
    /// The authorities whose controls are counted.
    pub contributors: Contributors,
    /// The period of those controls.
    pub period: Period,
    /// The records that state the counts; none for the authority's own.
    pub records: Vec<ProfileRecord>,
}

/// Decision on which sources count, by their positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice(Vec<bool>);

/// A source with its cells.
pub(crate) type Sourced<'p> = (Source, Vec<(&'p CellKey, Counts)>);

impl Choice {
    /// Selects, of sources in their order of preference, those that count if `left_out` had never
    /// sent anything: no two of one period count the same authority.
    pub(crate) fn of(sources: &[Source], left_out: &BTreeSet<AuthorityId>) -> Self {
        let mut chosen = Vec::with_capacity(sources.len());
        for source in sources {
            let displaced = sources
                .iter()
                .zip(&chosen)
                .any(|(other, counts)| *counts && other.speaks_of_same(source));
            chosen.push(!displaced && !left_out.contains(&source.signer));
        }
        Self(chosen)
    }

    /// Returns whether the source at this position counts.
    pub(crate) fn counts(&self, source: usize) -> bool {
        self.0.get(source).copied().unwrap_or(false)
    }
}

impl Source {
    fn speaks_of_same(&self, other: &Self) -> bool {
        self.period == other.period && self.contributors.overlap(&other.contributors)
    }
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
            .entry((part.period, part.contributors, part.signer))
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

    /// Returns everything that may count, in the order of preference: the authority's own counts
    /// first, then those of fewer authorities, then those that show more controls.
    pub(crate) fn sources(&self) -> Vec<Sourced<'_>> {
        let own = self.own_profiles.iter().map(|(period, profile)| {
            let source = Source {
                signer: self.own.clone(),
                contributors: Contributors::one(self.own.clone()),
                period: period.clone(),
                records: Vec::new(),
            };
            let cells = profile.cells().iter();
            (source, cells.map(|(key, counts)| (key, *counts)).collect())
        });
        own.chain(self.of_others()).collect()
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

    /// Returns the latest edition of each signer, in the order of preference.
    fn of_others(&self) -> Vec<Sourced<'_>> {
        let mut latest: Vec<Latest<'_>> = self
            .held
            .iter()
            .filter(|((_, contributors, _), _)| !contributors.0.contains(&self.own))
            .filter_map(|(of, editions)| Latest::of(of, editions))
            .collect();
        latest.sort_by_key(|latest| (latest.contributors.0.len(), Reverse(latest.controls)));
        latest.into_iter().map(Latest::into_source).collect()
    }

    fn part_count(&self) -> usize {
        self.held
            .values()
            .flat_map(BTreeMap::values)
            .map(BTreeMap::len)
            .sum()
    }
}

/// The latest edition of one signer's counts of some contributors for one period.
struct Latest<'p> {
    signer: &'p AuthorityId,
    contributors: &'p Contributors,
    period: &'p Period,
    parts: &'p BTreeMap<u32, HeldPart>,
    controls: u64,
}

impl<'p> Latest<'p> {
    fn of(
        (period, contributors, signer): &'p (Period, Contributors, AuthorityId),
        editions: &'p Editions,
    ) -> Option<Self> {
        let last = *believed(editions).last()?;
        let parts = editions.get(last)?;
        Some(Self {
            signer,
            contributors,
            period,
            parts,
            controls: controls(parts),
        })
    }

    fn into_source(self) -> Sourced<'p> {
        let said_by = self
            .parts
            .values()
            .map(|part| (part.said_by.record, part.said_by.clone()));
        let records: BTreeMap<RecordId, ProfileRecord> = said_by.collect();
        let source = Source {
            signer: self.signer.clone(),
            contributors: self.contributors.clone(),
            period: self.period.clone(),
            records: records.into_values().collect(),
        };
        let cells = self.parts.values().flat_map(|part| &part.cells);
        (source, cells.map(|(key, counts)| (key, *counts)).collect())
    }
}

/// Returns the editions that are believed, in their order.
fn believed(editions: &Editions) -> Vec<&Edition> {
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
    cells.map(|(_, counts)| counts.controls()).sum()
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
            signer: speaker.authority().clone(),
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

    /// Returns the sources that count if these had never sent anything, with their controls.
    fn counted(pool: &Pool, left_out: &[&str]) -> Vec<(Source, u64)> {
        let left_out = left_out.iter().map(|name| authority(name)).collect();
        let (sources, cells): (Vec<Source>, Vec<_>) = pool.sources().into_iter().unzip();
        let choice = Choice::of(&sources, &left_out);
        let sum = |cells: Vec<(&CellKey, Counts)>| {
            cells.iter().map(|(_, counts)| counts.controls()).sum()
        };
        let sources = sources.into_iter().zip(cells).enumerate();
        sources
            .filter(|(at, _)| choice.counts(*at))
            .map(|(_, (source, cells))| (source, sum(cells)))
            .collect()
    }

    #[track_caller]
    fn controls_without(pool: &Pool, left_out: &[&str], expected: u64) {
        let counted = counted(pool, left_out);
        assert_eq!(
            counted.iter().map(|(_, controls)| controls).sum::<u64>(),
            expected
        );
    }

    #[track_caller]
    fn controls(pool: &Pool, expected: u64) {
        controls_without(pool, &[], expected);
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
        let finest: Vec<usize> = counted(&pool, &[])
            .iter()
            .map(|(source, _)| source.contributors.iter().count())
            .collect();
        assert_eq!(finest, [1, 1, 1]);
    }

    /// An authority sent counts of its own, and the sum that also counted others was gone.
    #[test]
    fn what_a_signer_displaced_counts_where_it_is_left_out() {
        let mut pool = pool();
        pool.add(part(&["a", "b", "c"], 9, 5, vec![cell("010101", 60, 6)]));
        pool.add(part(&["a"], 1, 5, vec![cell("010101", 20, 2)]));
        controls(&pool, 20);
        controls_without(&pool, &["a"], 60);
        controls_without(&pool, &["hub"], 20);
        controls_without(&pool, &["a", "hub"], 0);
    }

    /// A second hub's sum of the same authorities was an edition of the first one's.
    #[test]
    fn a_hub_does_not_supersede_another() {
        let mut pool = pool();
        pool.add(part(&["a", "b"], 1, 5, vec![cell("010101", 60, 6)]));
        let mut other = part(&["a", "b"], 2, 9, vec![cell("010101", 70, 0)]);
        other.signer = authority("other-hub");
        pool.add(other);
        controls(&pool, 70);
        controls_without(&pool, &["other-hub"], 60);
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
        let records: Vec<_> = counted(&pool, &[])
            .into_iter()
            .flat_map(|(s, _)| s.records)
            .collect();
        assert_eq!(records, [said_by(2)]);
    }
}

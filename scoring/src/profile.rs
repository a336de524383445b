//! Risk profiles: the number of controls and of findings for each kind of consignment.
//!
//! A profile keeps counts of its schema's most specific level only. Coarser counts are sums of the
//! cells that are shown, never numbers of their own, so that withholding a cell withholds it
//! everywhere. Cells are separated into [`CountBand`]s, so that small counts can be withheld alone.

use std::{collections::BTreeMap, iter};

use portcullis_protocol::{
    body::{Cell, Cells},
    identifiers::AuthorityId,
};

use crate::{
    consignment::{Consignment, Period},
    schema::Schema,
};

/// The largest encoding of one section's cells, in bytes, with room for the fields around them.
pub const SECTION_LIMIT: usize = 1_000_000;

/// The values of the schema's key fields: the name of a cell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellKey(Box<[Box<str>]>);

impl CellKey {
    /// Makes the key of the cell with these values, in the order of [`Schema::key`].
    pub fn new<'v>(values: impl IntoIterator<Item = &'v str>) -> Self {
        Self(values.into_iter().map(Box::from).collect())
    }

    /// Returns the key of the cell that counts `consignment`.
    #[must_use]
    pub fn of(schema: &Schema, consignment: &Consignment) -> Self {
        Self::new(schema.key().iter().map(|field| consignment.value(*field)))
    }

    /// Its values.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }
}

/// Number of controls, and number of those that found something. A cell holds 32 bits of each; sums
/// have room for all cells that can be held, so that no member brings them to their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Counts {
    controls: u64,
    findings: u64,
}

/// Error for two numbers that are not counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CountsError {
    /// No controls: a cell without any holds no information.
    #[error("a cell counts at least one control; leave out cells without any")]
    NoControls,
    /// More findings than controls.
    #[error("`{findings}` findings in `{controls}` controls; a control finds at most once")]
    MoreFindings {
        /// The controls.
        controls: u32,
        /// The findings.
        findings: u32,
    },
}

impl Counts {
    /// Makes the counts of a cell.
    ///
    /// # Errors
    ///
    /// [`CountsError`] for no controls and for more findings than controls.
    pub const fn new(controls: u32, findings: u32) -> Result<Self, CountsError> {
        if controls == 0 {
            Err(CountsError::NoControls)
        } else if findings > controls {
            Err(CountsError::MoreFindings { controls, findings })
        } else {
            Ok(Self {
                controls: controls as u64,
                findings: findings as u64,
            })
        }
    }

    /// Returns counts of zero.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            controls: 0,
            findings: 0,
        }
    }

    /// Returns the number of controls.
    #[must_use]
    pub const fn controls(self) -> u64 {
        self.controls
    }

    /// Returns the number of controls that found something.
    #[must_use]
    pub const fn findings(self) -> u64 {
        self.findings
    }

    /// Returns the two numbers for calculations.
    pub(crate) fn numbers(self) -> (f64, f64) {
        (number(self.controls), number(self.findings))
    }

    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            controls: self.controls.saturating_add(other.controls),
            findings: self.findings.saturating_add(other.findings),
        }
    }

    /// Subtracts `other`; `None` if `other` is not part of these counts.
    pub(crate) fn minus(self, other: Self) -> Option<Self> {
        let controls = self.controls.checked_sub(other.controls)?;
        let findings = self.findings.checked_sub(other.findings)?;
        (findings <= controls).then_some(Self { controls, findings })
    }

    pub(crate) const fn one(found: bool) -> Self {
        Self {
            controls: 1,
            findings: if found { 1 } else { 0 },
        }
    }
}

/// Returns the count as a cell holds it.
fn narrowed(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Returns the count for calculations, exact up to 2⁵³.
fn number(count: u64) -> f64 {
    let high = u32::try_from(count >> 32).unwrap_or(u32::MAX);
    f64::from(high) * 4_294_967_296.0 + f64::from(narrowed(count & 0xffff_ffff))
}

/// Band of a cell's number of controls, as finely as sharing needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CountBand {
    /// One.
    One,
    /// Two.
    Two,
    /// Three or four.
    ThreeToFour,
    /// Five to nine.
    FiveToNine,
    /// Ten and more.
    TenAndMore,
}

impl CountBand {
    /// Every band, the smallest counts first.
    pub const ALL: [Self; 5] = [
        Self::One,
        Self::Two,
        Self::ThreeToFour,
        Self::FiveToNine,
        Self::TenAndMore,
    ];

    /// Returns the band of a cell.
    #[must_use]
    pub const fn of(counts: Counts) -> Self {
        match counts.controls {
            0 | 1 => Self::One,
            2 => Self::Two,
            3 | 4 => Self::ThreeToFour,
            5..=9 => Self::FiveToNine,
            10.. => Self::TenAndMore,
        }
    }

    /// Returns the smallest count in the band.
    #[must_use]
    pub const fn least(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::ThreeToFour => 3,
            Self::FiveToNine => 5,
            Self::TenAndMore => 10,
        }
    }
}

/// One section of a profile: cells of one band, small enough to be sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellsSection {
    /// The band of all its cells.
    pub band: CountBand,
    /// Number of this part of the whole profile, counted from 1.
    pub part: u32,
    /// Number of parts of the whole profile.
    pub parts: u32,
    /// The smallest count of controls of any cell in it.
    pub least_count: u32,
    /// The cells, in the order of their keys.
    pub cells: Vec<(CellKey, Counts)>,
}

/// The counts of one authority for one period.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    cells: BTreeMap<CellKey, Counts>,
}

impl Profile {
    /// Counts the controlled consignments, separately for each period. Consignments without a
    /// control are not counted.
    pub fn by_period<'c>(
        schema: &Schema,
        consignments: impl IntoIterator<Item = &'c Consignment>,
    ) -> BTreeMap<Period, Self> {
        let mut profiles: BTreeMap<Period, Self> = BTreeMap::new();
        for consignment in consignments {
            if let Some(found) = consignment.finding() {
                let profile = profiles.entry(consignment.period()).or_default();
                profile.count(CellKey::of(schema, consignment), Counts::one(found));
            }
        }
        profiles
    }

    fn count(&mut self, key: CellKey, counts: Counts) {
        let cell = self.cells.entry(key).or_default();
        *cell = cell.plus(counts);
    }

    /// Returns its cells, in the order of their keys.
    #[must_use]
    pub const fn cells(&self) -> &BTreeMap<CellKey, Counts> {
        &self.cells
    }

    /// Returns the sum of all cells.
    #[must_use]
    pub fn total(&self) -> Counts {
        self.cells
            .values()
            .fold(Counts::none(), |sum, cell| sum.plus(*cell))
    }

    /// Cuts the profile into sections of one band each, none above `limit` bytes when encoded, and
    /// numbers them. A single cell above the limit gets a section of its own.
    #[must_use]
    pub fn sections(&self, limit: usize) -> Vec<CellsSection> {
        let mut sections: Vec<CellsSection> = Vec::new();
        for band in CountBand::ALL {
            let cells = self
                .cells
                .iter()
                .filter(|(_, counts)| CountBand::of(**counts) == band);
            let mut size = limit;
            for (key, counts) in cells {
                let bytes = encoded_bound(key);
                size = size.saturating_add(bytes);
                let full = size > limit;
                if full {
                    size = bytes;
                    sections.push(CellsSection::empty(band));
                }
                if let Some(section) = sections.last_mut() {
                    section.least_count = section.least_count.min(narrowed(counts.controls));
                    section.cells.push((key.clone(), *counts));
                }
            }
        }
        let parts = u32::try_from(sections.len()).unwrap_or(u32::MAX);
        for (section, part) in sections.iter_mut().zip(1..) {
            section.part = part;
            section.parts = parts;
        }
        sections
    }
}

impl FromIterator<(CellKey, Counts)> for Profile {
    /// Adds up cells that occur more than once.
    fn from_iter<T: IntoIterator<Item = (CellKey, Counts)>>(cells: T) -> Self {
        let mut profile = Self::default();
        for (key, counts) in cells {
            profile.count(key, counts);
        }
        profile
    }
}

impl CellsSection {
    /// Makes the body of the section, for one authority's controls in one period.
    #[must_use]
    pub fn into_body(self, schema: &Schema, period: &Period, contributor: &AuthorityId) -> Cells {
        let cells = self.cells.into_iter().map(|(key, counts)| Cell {
            key: key.values().map(str::to_owned).collect(),
            controls: narrowed(counts.controls),
            findings: narrowed(counts.findings),
        });
        Cells {
            schema: schema.digest(),
            period: period.as_str().to_owned(),
            contributors: [contributor.clone()].into(),
            part: self.part,
            parts: self.parts,
            cells: cells.collect(),
        }
    }

    const fn empty(band: CountBand) -> Self {
        Self {
            band,
            part: 0,
            parts: 0,
            least_count: u32::MAX,
            cells: Vec::new(),
        }
    }
}

/// Returns an upper bound of the bytes of the cell's protobuf encoding: a tag and a length of up to
/// five bytes before each text and before the cell, and two numbers with a tag and up to five bytes
/// each.
fn encoded_bound(key: &CellKey) -> usize {
    const HEAD: usize = 6;
    let texts = key.values().map(|value| value.len() + HEAD);
    texts.chain(iter::repeat_n(HEAD, 3)).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures;

    fn counts(controls: u32, findings: u32) -> Counts {
        Counts::new(controls, findings).unwrap()
    }

    #[test]
    fn counts_that_cannot_be_are_refused() {
        assert_eq!(Counts::new(0, 0), Err(CountsError::NoControls));
        assert_eq!(
            Counts::new(1, 2).unwrap_err().to_string(),
            "`2` findings in `1` controls; a control finds at most once"
        );
    }

    #[test]
    fn bands_begin_where_the_issue_says() {
        let bands = [1, 2, 3, 4, 5, 9, 10, 4_000].map(|n| CountBand::of(counts(n, 0)).least());
        assert_eq!(bands, [1, 2, 3, 3, 5, 5, 10, 10]);
    }

    #[test]
    fn the_profile_counts_every_controlled_consignment_once() {
        // Rows and findings of office 13 in 2020, counted with `awk` over the file.
        let rows = fixtures::history();
        let own = fixtures::of_office(&rows, "13");
        let profiles = Profile::by_period(&fixtures::schema(), own);
        let periods: Vec<_> = profiles.keys().map(Period::as_str).collect();
        assert_eq!(periods, ["2020"]);
        let total = profiles.values().next().unwrap().total();
        assert_eq!((total.controls(), total.findings()), (956, 217));
    }

    #[test]
    fn a_part_is_closed_before_it_passes_the_limit() {
        let profile: Profile = (0..100)
            .map(|n| {
                (
                    CellKey::new([format!("{n:06}").as_str()]),
                    counts(1 + n % 12, 0),
                )
            })
            .collect();
        let limit = 100;
        let sections = profile.sections(limit);
        for section in &sections {
            let size: usize = section
                .cells
                .iter()
                .map(|(key, _)| encoded_bound(key))
                .sum();
            assert!(size <= limit, "{size} bytes");
        }
        let parts: Vec<u32> = sections.iter().map(|section| section.part).collect();
        assert_eq!(
            parts,
            (1..=u32::try_from(sections.len()).unwrap()).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_cell_above_the_limit_stands_alone() {
        let profile: Profile = ["a", "b"]
            .iter()
            .map(|key| (CellKey::new([*key]), counts(1, 1)))
            .collect();
        assert_eq!(profile.sections(1).len(), 2);
    }

    proptest! {
        #[test]
        fn sections_hold_the_profile_and_nothing_else(
            cells in prop::collection::btree_map("[a-c]{1,3}", (1u32..20, 0u32..20), 0..40),
            limit in 1usize..200,
        ) {
            let profile: Profile = cells
                .iter()
                .map(|(key, (n, f))| (CellKey::new([key.as_str()]), counts(*n, *f.min(n))))
                .collect();
            let sections = profile.sections(limit);
            let least = |section: &CellsSection| {
                section.cells.iter().map(|(_, counts)| narrowed(counts.controls())).min()
            };
            for section in &sections {
                prop_assert_eq!(Some(section.least_count), least(section));
                prop_assert!(section.cells.iter().all(|(_, c)| CountBand::of(*c) == section.band));
                prop_assert!(section.least_count >= section.band.least());
            }
            let again: Profile = sections.into_iter().flat_map(|section| section.cells).collect();
            prop_assert_eq!(again, profile);
        }
    }
}

//! Publication: turns the authority's own controls into risk profiles that can be sealed.
//!
//! There is one profile for each period. Each of its sections holds cells of one count band, so
//! that small counts can be withheld alone. The sections are packed into records below 1 MiB. They
//! are numbered consecutively, and the records share a root. Only counts per cell leave the node:
//! no row, no identifier, no day.

use portcullis_protocol::{
    body::{Body, BodyError},
    evaluation::{Evaluation, InformationCode, SourceCode},
    identifiers::AuthorityId,
    marking::Marking,
    record::{Kind, MAX_SECTIONS, RootTag},
    seal::{Draft, Entropy},
};
use portcullis_scoring::{
    consignment::{Consignment, Period},
    profile::{Profile, SECTION_LIMIT},
    schema::Schema,
};

/// Limit in bytes: the bodies of one record together stay below it.
const RECORD_BYTES: usize = 1 << 20;

/// A profile of one period, ready to be sealed.
#[derive(Debug)]
pub struct ProfileDraft {
    /// The period.
    pub period: Period,
    /// Number of its controls.
    pub controls: u64,
    /// Number of its findings.
    pub findings: u64,
    /// Number of its cells.
    pub cells: usize,
    /// Number of its sections.
    pub sections: usize,
    /// Its records, which are sealed in one batch.
    pub drafts: Vec<Draft>,
}

/// Makes the profiles of `own`, the authority's own rows, one for each period.
///
/// # Errors
///
/// [`BodyError`] if a section cannot be sealed.
pub fn drafts(
    schema: &Schema,
    own: &[Consignment],
    contributor: &AuthorityId,
    marking: &Marking,
    entropy: &mut dyn Entropy,
) -> Result<Vec<ProfileDraft>, BodyError> {
    Profile::by_period(schema, own)
        .into_iter()
        .map(|(period, profile)| {
            let total = profile.total();
            let bodies: Vec<Body> = profile
                .sections(SECTION_LIMIT)
                .into_iter()
                .map(|section| Body::Cells(section.into_body(schema, &period, contributor)))
                .collect();
            let mut root = [0; 16];
            entropy.fill(&mut root);
            Ok(ProfileDraft {
                controls: total.controls(),
                findings: total.findings(),
                cells: profile.cells().len(),
                sections: bodies.len(),
                drafts: packed(bodies, marking, RootTag::from_bytes(root))?,
                period,
            })
        })
        .collect()
}

/// Packs sections into as few records as the limits allow, in their order.
fn packed(bodies: Vec<Body>, marking: &Marking, root: RootTag) -> Result<Vec<Draft>, BodyError> {
    let mut records: Vec<Vec<Body>> = Vec::new();
    let mut size = RECORD_BYTES;
    for body in bodies {
        let bytes = body.encode()?.len();
        size = size.saturating_add(bytes);
        let sections = records.last().map_or(0, Vec::len);
        if size >= RECORD_BYTES || sections >= usize::from(MAX_SECTIONS) {
            records.push(Vec::new());
            size = bytes;
        }
        if let Some(record) = records.last_mut() {
            record.push(body);
        }
    }
    // The authority counted its own controls, so the counts are known and not in doubt.
    let evaluation = Evaluation::new(SourceCode::A, InformationCode::One);
    let drafts = records.into_iter().map(|bodies| Draft {
        root: Some(root),
        ..Draft::new(Kind::RiskProfile, marking.clone(), evaluation, bodies)
    });
    Ok(drafts.collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use portcullis_protocol::marking::{Purpose, Tlp};

    use super::*;
    use crate::fixtures::{read, row_with, schema};

    /// Counts up, so that nothing here depends on chance.
    struct Counting(u8);

    impl Entropy for Counting {
        fn fill(&mut self, out: &mut [u8]) {
            self.0 += 1;
            out.fill(self.0);
        }
    }

    fn marking() -> Marking {
        Marking::new(Tlp::Amber, [Purpose::CustomsControl])
    }

    /// Returns `count` controlled rows of one cell in a year.
    fn rows(first: u32, count: u32, heading: &str, year: &str) -> Vec<String> {
        (first..first + count)
            .map(|id| {
                row_with("HS6 Code", heading)
                    .replacen("56839011", &id.to_string(), 1)
                    .replacen("2021-01-01", &format!("{year}-03-01"), 1)
            })
            .collect()
    }

    #[test]
    fn each_period_has_a_profile_of_its_own_and_each_band_a_section() {
        let own = read(
            &[
                rows(1, 1, "100000", "2019"),
                rows(10, 1, "100000", "2020"),
                rows(20, 5, "200000", "2020"),
                rows(30, 12, "300000", "2020"),
            ]
            .concat(),
        );
        let authority = "kr-customs-40".parse().unwrap();
        let profiles = drafts(&schema(), &own, &authority, &marking(), &mut Counting(0)).unwrap();
        let facts: Vec<_> = profiles
            .iter()
            .map(|p| {
                (
                    p.period.as_str(),
                    p.controls,
                    p.cells,
                    p.sections,
                    p.drafts.len(),
                )
            })
            .collect();
        assert_eq!(facts, [("2019", 1, 1, 1, 1), ("2020", 18, 3, 3, 1)]);
        let least: Vec<_> = profiles[1].drafts[0]
            .sections
            .iter()
            .map(|section| section.body.least_count().unwrap())
            .collect();
        assert_eq!(least, [1, 5, 12]);
    }

    #[test]
    fn records_stay_below_the_limit_and_share_their_root() {
        let body = |part| {
            let own = read(&rows(1, 1, "100000", "2020"));
            let mut profiles = drafts(
                &schema(),
                &own,
                &"kr-customs-40".parse().unwrap(),
                &marking(),
                &mut Counting(0),
            )
            .unwrap();
            let section = profiles[0].drafts[0].sections.remove(0);
            let Body::Cells(mut cells) = section.body else {
                panic!("a profile has cells")
            };
            cells.part = part;
            cells.parts = 3;
            let one = cells.cells[0].clone();
            cells.cells = (0..12_000)
                .map(|n| {
                    let mut cell = one.clone();
                    cell.key[0] = format!("{n:06}");
                    cell
                })
                .collect();
            Body::Cells(cells)
        };
        let bodies: Vec<Body> = (1..=3).map(body).collect();
        let size = bodies[0].encode().unwrap().len();
        assert!(size < RECORD_BYTES && 3 * size > RECORD_BYTES, "{size}");
        let records = packed(bodies, &marking(), RootTag::from_bytes([7; 16])).unwrap();
        let roots: BTreeSet<_> = records.iter().map(|draft| draft.root.unwrap()).collect();
        assert_eq!((records.len() > 1, roots.len()), (true, 1));
        for record in records {
            let bytes: usize = record
                .sections
                .iter()
                .map(|section| section.body.encode().unwrap().len())
                .sum();
            assert!(bytes < RECORD_BYTES, "{bytes}");
        }
    }
}

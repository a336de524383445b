//! Received cells, and the check of the contributors that their sender names.
//!
//! Refused are an authority that speaks for another, a hub that restates one authority, and cells
//! of another schema.

use std::collections::BTreeSet;

use portcullis_protocol::{
    body::{Cell, Cells},
    digest::Digest,
    evaluation::Evaluation,
    identifiers::AuthorityId,
    marking::Marking,
    record::{RecordId, RootTag},
    time::Timestamp,
};

use crate::{
    consignment::{Period, PeriodParseError},
    profile::{CellKey, CountBand, Counts, CountsError},
    schema::Schema,
};

/// The signer of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker<'a> {
    /// An authority, which may speak only for itself.
    Authority(&'a AuthorityId),
    /// A hub, which may sum up counts given by several authorities.
    Hub(&'a AuthorityId),
}

impl<'a> Speaker<'a> {
    /// Returns the authority that signed.
    #[must_use]
    pub const fn authority(self) -> &'a AuthorityId {
        match self {
            Self::Authority(authority) | Self::Hub(authority) => authority,
        }
    }
}

/// The authorities whose controls some cells count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contributors(pub(crate) BTreeSet<AuthorityId>);

/// One edition of a profile, shared by all its parts. Editions are ordered by their time of
/// sealing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edition {
    /// Time of sealing.
    pub sealed_at: Timestamp,
    /// The root tag of its records.
    pub root: RootTag,
}

/// Header data of a received profile that its counts depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileRecord {
    /// The record.
    pub record: RecordId,
    /// Its marking in the form that is held.
    pub marking: Marking,
    /// Its evaluation.
    pub evaluation: Evaluation,
    /// True if it counts by the authority's own policies alone: the baseline hears no counts of its
    /// publisher, or of one whose controls it sums up.
    pub is_by_own_policy: bool,
}

/// The cells of one section of a received profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellsPart {
    /// The record that holds the section.
    pub(crate) said_by: ProfileRecord,
    /// The authority that signed it.
    pub(crate) signer: AuthorityId,
    /// The edition of the profile that it belongs to.
    pub(crate) edition: Edition,
    /// The authorities whose controls it counts.
    pub(crate) contributors: Contributors,
    /// The period of those controls.
    pub(crate) period: Period,
    /// Number of this part of the profile, counted from 1.
    pub(crate) part: u32,
    /// The cells.
    pub(crate) cells: Vec<(CellKey, Counts)>,
}

/// Error for received cells that are not taken as counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceivedError {
    /// No contributor is named.
    #[error(
        "the cells say of nobody that they count their controls; the sender names its contributors"
    )]
    NoContributors,
    /// An authority that is no hub speaks for others.
    #[error(
        "`{0}` is not a hub and speaks of other authorities' controls; ask those for their own profiles"
    )]
    SpeaksForOthers(AuthorityId),
    /// A contributor has no right to report controls.
    #[error(
        "`{0}` is no authority whose controls count here; the policy names the kinds that may report them"
    )]
    NoRight(AuthorityId),
    /// A hub restates one authority's counts.
    #[error(
        "the hub `{0}` restates one authority's counts; it passes on that authority's own record instead"
    )]
    RestatesOne(AuthorityId),
    /// A cell's key has another number of values than the schema.
    #[error(
        "a cell's key has `{found}` values where the profile schema has `{expected}`; both sides need the same schema"
    )]
    KeyWidth {
        /// The values of the schema's key.
        expected: usize,
        /// The values of the cell's key.
        found: usize,
    },
    /// Cells of another profile schema.
    #[error("the cells are of another profile schema, `{0}`; both sides need the same")]
    OtherSchema(Digest),
    /// A period that is not valid.
    #[error(transparent)]
    Period(#[from] PeriodParseError),
    /// Counts that are not valid.
    #[error(transparent)]
    Counts(#[from] CountsError),
    /// Cells of several bands in one section.
    #[error("the cells of one section are of several count bands; the sender cuts them by band")]
    MixedBands,
    /// A cell occurs twice in one section.
    #[error("a cell stands twice in one section; the sender sums it up")]
    RepeatedCell,
}

impl Contributors {
    /// Makes a set of one authority.
    #[must_use]
    pub fn one(authority: AuthorityId) -> Self {
        Self(BTreeSet::from([authority]))
    }

    /// Takes the contributors that a profile names, if its signer may speak for them.
    ///
    /// # Errors
    ///
    /// [`ReceivedError`] if nobody is named, if an authority names another, and if a hub names one
    /// alone.
    pub fn claimed(
        speaker: Speaker<'_>,
        named: impl IntoIterator<Item = AuthorityId>,
    ) -> Result<Self, ReceivedError> {
        let named: BTreeSet<AuthorityId> = named.into_iter().collect();
        if named.is_empty() {
            return Err(ReceivedError::NoContributors);
        }
        match speaker {
            Speaker::Authority(itself) if named.iter().any(|other| other != itself) => {
                Err(ReceivedError::SpeaksForOthers(itself.clone()))
            }
            Speaker::Hub(hub) if named.len() == 1 => Err(ReceivedError::RestatesOne(hub.clone())),
            Speaker::Authority(_) | Speaker::Hub(_) => Ok(Self(named)),
        }
    }

    /// The authorities, in order.
    pub fn iter(&self) -> impl Iterator<Item = &AuthorityId> {
        self.0.iter()
    }

    pub(crate) fn overlap(&self, other: &Self) -> bool {
        !self.0.is_disjoint(&other.0)
    }
}

impl CellsPart {
    /// Reads the body of a cells section that `speaker` signed.
    ///
    /// # Errors
    ///
    /// [`ReceivedError`] for another schema, for contributors that the speaker may not speak for,
    /// and for invalid counts.
    pub fn read(
        schema: &Schema,
        speaker: Speaker<'_>,
        edition: Edition,
        said_by: ProfileRecord,
        body: Cells,
    ) -> Result<Self, ReceivedError> {
        let Cells {
            schema: stated,
            period,
            contributors,
            part,
            parts: _,
            cells,
        } = body;
        if stated != schema.digest() {
            return Err(ReceivedError::OtherSchema(stated));
        }
        let cells = cells
            .into_iter()
            .map(
                |Cell {
                     key,
                     controls,
                     findings,
                 }| {
                    let key = CellKey::new(key.iter().map(String::as_str));
                    Ok((key, Counts::new(controls, findings)?))
                },
            )
            .collect::<Result<Vec<_>, ReceivedError>>()?;
        check(schema, &cells)?;
        Ok(Self {
            said_by,
            signer: speaker.authority().clone(),
            edition,
            contributors: Contributors::claimed(speaker, contributors)?,
            period: period.parse()?,
            part,
            cells,
        })
    }
}

fn check(schema: &Schema, cells: &[(CellKey, Counts)]) -> Result<(), ReceivedError> {
    let expected = schema.key().len();
    let mut seen = BTreeSet::new();
    let mut bands = BTreeSet::new();
    for (key, counts) in cells {
        let found = key.values().len();
        if found != expected {
            return Err(ReceivedError::KeyWidth { expected, found });
        }
        if !seen.insert(key) {
            return Err(ReceivedError::RepeatedCell);
        }
        bands.insert(CountBand::of(*counts));
    }
    if bands.len() > 1 {
        return Err(ReceivedError::MixedBands);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixtures::{self, authority, schema},
        profile::Profile,
    };

    fn profile() -> Profile {
        let cell = |goods, findings| {
            let key = CellKey::new([goods, "BE", "BE", "A", "8"]);
            (key, Counts::new(1, findings).unwrap())
        };
        [cell("010101", 1), cell("010102", 0)].into_iter().collect()
    }

    fn body() -> Cells {
        let section = profile().sections(1_000).remove(0);
        section.into_body(&schema(), &"2020".parse().unwrap(), &authority("a"))
    }

    fn read(speaker: Speaker<'_>, body: Cells) -> Result<CellsPart, ReceivedError> {
        let edition = Edition {
            sealed_at: Timestamp::from_millis(5),
            root: RootTag::from_bytes([7; 16]),
        };
        CellsPart::read(&schema(), speaker, edition, fixtures::said_by(&[1]), body)
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut Cells), error: ReceivedError) {
        let mut changed = body();
        change(&mut changed);
        assert_eq!(
            read(Speaker::Authority(&authority("a")), changed),
            Err(error)
        );
    }

    #[test]
    fn a_section_is_read_as_it_was_written() {
        let part = read(Speaker::Authority(&authority("a")), body()).unwrap();
        assert_eq!(part.cells.into_iter().collect::<Profile>(), profile());
        assert_eq!(part.contributors, Contributors::one(authority("a")));
        assert_eq!((part.period.as_str(), part.part), ("2020", 1));
    }

    #[test]
    fn nobody_speaks_for_others() {
        let (a, hub) = (authority("a"), authority("hub"));
        let claim = |speaker, named: &[&str]| {
            Contributors::claimed(speaker, named.iter().map(|name| authority(name)))
        };
        assert_eq!(
            claim(Speaker::Authority(&a), &[]),
            Err(ReceivedError::NoContributors)
        );
        let others = Err(ReceivedError::SpeaksForOthers(a.clone()));
        assert_eq!(claim(Speaker::Authority(&a), &["b"]), others);
        assert_eq!(claim(Speaker::Authority(&a), &["a", "b"]), others);
        assert_eq!(
            claim(Speaker::Hub(&hub), &["b"]),
            Err(ReceivedError::RestatesOne(hub.clone()))
        );
        assert_eq!(
            claim(Speaker::Authority(&a), &["a"]),
            Ok(Contributors::one(a.clone()))
        );
        let b = authority("b");
        assert_eq!(
            read(Speaker::Authority(&b), body()),
            Err(ReceivedError::SpeaksForOthers(b.clone()))
        );
    }

    #[test]
    fn cells_that_do_not_fit_are_refused_whole() {
        let other = Digest::from_bytes([0; 32]);
        refused(
            |body| body.schema = other,
            ReceivedError::OtherSchema(other),
        );
        refused(
            |body| body.cells[1].findings = 2,
            ReceivedError::Counts(Counts::new(1, 2).unwrap_err()),
        );
        refused(
            |body| body.cells[1].key.truncate(1),
            ReceivedError::KeyWidth {
                expected: 5,
                found: 1,
            },
        );
        refused(|body| body.cells[1].controls = 2, ReceivedError::MixedBands);
        refused(
            |body| body.cells[1].key = body.cells[0].key.clone(),
            ReceivedError::RepeatedCell,
        );
        refused(
            |body| body.period = "last year".to_owned(),
            ReceivedError::Period("last year".parse::<Period>().unwrap_err()),
        );
    }
}

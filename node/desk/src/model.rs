//! The model in force: scorers calibrated on the authority's own controls, with its own counts
//! alone and with what the federation gave.
//!
//! Pure. A model is built whole and replaced whole; the counts in it are those of the records
//! held when it was built.

use portcullis_protocol::identifiers::AuthorityId;
use portcullis_scoring::{
    consignment::Consignment,
    evidence::SelectorEvidence,
    levels::Levels,
    pool::Pool,
    profile::Profile,
    received::CellsPart,
    schema::Schema,
    score::{Scorer, Settings},
    scorecard::{Calibration, CalibrationError, Scorecard},
};

/// What a model is built with.
#[derive(Debug)]
pub struct Builder<'a> {
    /// The schema of consignments and cells.
    pub schema: &'a Schema,
    /// This authority.
    pub own: &'a AuthorityId,
    /// Its own rows of the past.
    pub history: &'a [Consignment],
    /// How scores are made.
    pub settings: &'a Settings,
    /// How scorecards are calibrated.
    pub calibration: Calibration,
}

impl Builder<'_> {
    /// The scorer that has the authority's own counts and those of others.
    ///
    /// # Errors
    ///
    /// [`CalibrationError`].
    pub fn scorer(
        &self,
        others: impl IntoIterator<Item = CellsPart>,
    ) -> Result<Scorer, CalibrationError> {
        let mut pool = Pool::new(self.own.clone());
        pool.replace_own(Profile::by_period(self.schema, self.history));
        for part in others {
            let added = pool.add(part);
            tracing::trace!(?added, "cells of a profile");
        }
        let levels = Levels::of(self.schema, &pool);
        let scorecard = Scorecard::calibrated(&levels, self.history, self.calibration)?;
        Ok(Scorer::new(levels, scorecard, self.settings.clone()))
    }
}

/// The two scorers in force, and what is matched in memory.
#[derive(Debug)]
pub struct Model {
    /// Which state of the store it was built from.
    pub revision: u64,
    /// With the authority's own counts alone.
    pub local: Scorer,
    /// With the counts of others as well.
    pub federated: Scorer,
    /// What records say about identifiers that no index finds: goods and ports.
    pub unindexed: Vec<SelectorEvidence>,
}

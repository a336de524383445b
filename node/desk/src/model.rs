//! The model in force: two scorers calibrated on the authority's own controls. One uses its own
//! counts alone, the other also the counts that the federation gave.
//!
//! Pure. A model is built whole and replaced whole. Its counts are those of the records held when
//! it was built.

use std::sync::Arc;

use crate::Setup;
use portcullis_protocol::{identifiers::AuthorityId, record::RecordId, time::Timestamp};
use portcullis_scoring::{
    bound::Hearings,
    consignment::Consignment,
    evidence::SelectorEvidence,
    levels::Levels,
    pool::Pool,
    profile::Profile,
    received::CellsPart,
    schema::Schema,
    score::{Scorer, Settings},
    scorecard::{Calibration, CalibrationError},
};

/// Input for building a model.
#[derive(Debug)]
pub struct Builder<'a> {
    /// The schema of consignments and cells.
    pub schema: &'a Schema,
    /// This authority.
    pub own: &'a AuthorityId,
    /// Consignments of its own history.
    pub history: &'a [Consignment],
    /// Settings for scoring.
    pub settings: &'a Settings,
    /// Settings for calibrating scorecards.
    pub calibration: Calibration,
}

impl Builder<'_> {
    /// Returns the scorer with the authority's own counts and those of others, and the records of
    /// profiles that are not believed. The hearings of `before` are used again where nothing changed
    /// that they rest on.
    ///
    /// # Errors
    ///
    /// [`CalibrationError`].
    pub fn scorer(
        &self,
        others: impl IntoIterator<Item = CellsPart>,
        before: Option<&Scorer>,
    ) -> Result<(Scorer, Vec<RecordId>), CalibrationError> {
        let mut pool = Pool::new(self.own.clone());
        pool.replace_own(Profile::by_period(self.schema, self.history));
        for part in others {
            let added = pool.add(part);
            tracing::trace!(?added, "cells of a profile");
        }
        let levels = Levels::of(self.schema, &pool);
        let before = before.map(|scorer| Arc::clone(scorer.hearings()));
        let hearings = Hearings::renewed(before, &levels, self.history, self.calibration)?;
        let scorer = Scorer::new(levels, hearings, self.settings.clone());
        Ok((scorer, pool.implausible()))
    }
}

/// The two scorers in force, and the evidence that is matched in memory.
#[derive(Debug)]
pub struct Model {
    /// Revision of the desk's state that it was built from.
    pub revision: u64,
    /// Scorer with the authority's own counts alone.
    pub local: Scorer,
    /// Scorer with the counts of others as well.
    pub federated: Scorer,
    /// Records of profiles that are not believed.
    pub implausible: Vec<RecordId>,
    /// Evidence of records on identifiers that are not indexed: goods and ports.
    pub unindexed: Vec<SelectorEvidence>,
    /// Time at which the next record that counts is to be deleted; from then on it does not count.
    pub next_end: Option<Timestamp>,
    /// The schema and the settings that it was built with.
    pub setup: Arc<Setup>,
}

//! The authority's own consignments and their newest scores, as the store keeps them.

use portcullis_protocol::{body::SelectorKind, time::Timestamp};

/// Greatest number of consignments on a page.
pub const CONSIGNMENTS_A_PAGE: u32 = 2_000;

/// A consignment of the authority: an opaque body, and the identifiers by which it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsignmentRow {
    /// The authority's own reference, for instance a declaration number.
    pub reference: String,
    /// The period or day it belongs to.
    pub at: Timestamp,
    /// True if the consignment waits to be scored, false if it is history.
    pub arriving: bool,
    /// Its fields, encoded by the importer; kept encrypted.
    pub body: Vec<u8>,
    /// Its identifiers: kind and canonical text; kept as keyed hashes.
    pub selectors: Vec<(SelectorKind, String)>,
}

/// The newest score of a consignment.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreRow {
    /// The consignment's reference.
    pub reference: String,
    /// The score, from 0 to 100.
    pub points: f64,
    /// Time at which the score was computed.
    pub at: Timestamp,
    /// The control and the reason in short, encoded by the desk; kept encrypted.
    pub summary: Vec<u8>,
    /// Number of records on which the score rests.
    pub records: u64,
}

/// Choice of consignments by stage and day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsignmentsOf {
    /// Only consignments of this stage; `None` for both.
    pub stage: Option<ConsignmentStage>,
    /// Only consignments of this time or later.
    pub since: Timestamp,
    /// Only consignments before this time.
    pub before: Timestamp,
}

impl ConsignmentsOf {
    /// Returns the choice of all consignments of a stage.
    #[must_use]
    pub const fn stage(stage: ConsignmentStage) -> Self {
        Self {
            stage: Some(stage),
            since: Timestamp::from_millis(i64::MIN),
            // Not the end of the calendar: a day that is not known is written as its last.
            before: Timestamp::from_millis(i64::MAX),
        }
    }

    /// Returns true if a consignment of this stage and time is chosen.
    #[must_use]
    pub fn takes(&self, arriving: bool, at: Timestamp) -> bool {
        let staged = self
            .stage
            .is_none_or(|stage| arriving == (stage == ConsignmentStage::Arriving));
        staged && self.since <= at && at < self.before
    }
}

/// The consignments chosen, by their scores.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConsignmentRanking {
    /// Number of consignments that are chosen.
    pub total: u64,
    /// Number of them that have a score.
    pub scored: u64,
    /// Those listed, the highest score first, those without a score last. Equal ones are ascending by
    /// reference.
    pub listed: Vec<RankedConsignment>,
}

/// A consignment and the points of its newest score.
#[derive(Debug, Clone, PartialEq)]
pub struct RankedConsignment {
    /// The consignment's reference.
    pub reference: String,
    /// The points, from 0 to 100; `None` without a score that opens.
    pub points: Option<f64>,
}

/// Stage of a consignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsignmentStage {
    /// The consignment's outcome is known.
    History,
    /// The consignment waits for a decision.
    Arriving,
}

/// Place in the store's order of consignments, which is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ConsignmentPlace(pub u64);

/// A page of consignments.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsignmentPage {
    /// The consignments, in the store's order.
    pub rows: Vec<ConsignmentRow>,
    /// Place at which the next page begins; `None` if there is none.
    pub next: Option<ConsignmentPlace>,
}

/// References on a page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReferencePage {
    /// The references, in the store's order.
    pub references: Vec<String>,
    /// Place at which the next page begins; `None` if there is none.
    pub next: Option<ConsignmentPlace>,
}

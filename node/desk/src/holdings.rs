//! The held records, as far as policy lets them count in a score.
//!
//! Every record from the store is verified again, and decided on under the action `score`. A record
//! that does not pass does not count here, and the log says why.

use std::sync::Arc;

use portcullis_protocol::{
    body::SelectorKind,
    identifiers::NodeId,
    record::{Form, Kind, RecordId},
    rules::Rule,
    time::Timestamp,
    verify::VerifiedRecord,
};
use portcullis_scoring::{
    evidence::SelectorEvidence,
    received::CellsPart,
    reliability::{Observer, Reliabilities},
    schema::Schema,
};

use super::evidence;
use portcullis_kernel::{Kernel, decide::Decider};
use portcullis_store::{HeldRecord, RecordFilter, Store, StoreError};

/// Kinds of records that name identifiers.
const ON_SELECTORS: [Kind; 3] = [Kind::Indicator, Kind::Alert, Kind::Outcome];

/// The held records, under one register and policy.
pub(super) struct Holdings {
    kernel: Arc<Kernel>,
    store: Arc<dyn Store>,
    decider: Arc<Decider>,
    now: Timestamp,
}

impl Holdings {
    pub(super) fn of(kernel: &Arc<Kernel>) -> Self {
        Self {
            store: Arc::clone(kernel.store()),
            decider: kernel.decider(),
            now: kernel.now(),
            kernel: Arc::clone(kernel),
        }
    }

    /// Returns the time to which all decisions here refer.
    pub(super) const fn now(&self) -> Timestamp {
        self.now
    }

    /// Verifies a held record again and returns the part that may count; `None` if nothing may.
    pub(super) fn countable(&self, held: &HeldRecord) -> Option<VerifiedRecord> {
        let record = match self.decider.verify_held(held, self.now) {
            Ok(record) => record,
            Err(refusal) if refusal.rule == Rule::KeyCompromised => {
                tracing::debug!(record = %held.sealed.id(), "a record is set apart; it does not count");
                return None;
            }
            Err(refusal) => {
                let record = held.sealed.id();
                tracing::debug!(%record, %refusal, "a held record does not verify; it does not count");
                self.kernel.set_aside().refused(record, refusal.rule);
                return None;
            }
        };
        let form = self.counting_form(&record, held.source.as_ref());
        if form == record.form() {
            return Some(record);
        }
        if form == Form::EMPTY {
            tracing::debug!(record = %record.id(), "policy does not let a record count");
            return None;
        }
        record.withhold(form).ok()
    }

    /// Returns the sections that policy lets count.
    fn counting_form(&self, record: &VerifiedRecord, source: Option<&NodeId>) -> Form {
        let holding = self.decider.holding(record, source, self.now);
        match holding.scoring() {
            Ok(request) => self.decider.engine().decide(&request).opened(),
            Err(unknown) => {
                tracing::warn!(record = %record.id(), %unknown, "a record does not count");
                Form::EMPTY
            }
        }
    }

    /// Returns the counts in the profiles of others, from sections whose smallest count is at least
    /// `least`.
    pub(super) fn profiles(
        &self,
        schema: &Schema,
        least: u32,
    ) -> Result<Vec<CellsPart>, StoreError> {
        let mut parts = Vec::new();
        for held in self.records(Kind::RiskProfile)? {
            let Some(record) = self.countable(&held) else {
                continue;
            };
            if record.header().origin == self.kernel.me().authority {
                continue;
            }
            match evidence::cells(schema, self.decider.register(), &record, least) {
                Ok(cells) => parts.extend(cells),
                Err(error) => {
                    let record = record.id();
                    tracing::warn!(%record, %error, "a profile is not counted");
                }
            }
        }
        Ok(parts)
    }

    /// Returns the evidence of records on an identifier of this kind and value, found by the index.
    pub(super) fn about(
        &self,
        kind: SelectorKind,
        value: &str,
    ) -> Result<Vec<SelectorEvidence>, StoreError> {
        let held = self.store.records_about(kind, value)?;
        Ok(held.iter().flat_map(|held| self.said_by(held)).collect())
    }

    /// Returns the evidence of a record on the identifiers it names.
    pub(super) fn said_by(&self, held: &HeldRecord) -> Vec<SelectorEvidence> {
        self.countable(held)
            .map(|record| evidence::on_selectors(self.decider.register(), &record))
            .unwrap_or_default()
    }

    /// Returns the evidence of records on identifiers that are not indexed on disk, because their
    /// kinds (goods, ports) have too few values. These are matched in memory.
    pub(super) fn unindexed(&self) -> Result<Vec<SelectorEvidence>, StoreError> {
        let mut found = Vec::new();
        for kind in ON_SELECTORS {
            for held in self.records(kind)? {
                let said = self.said_by(&held).into_iter();
                found.extend(said.filter(|item| !item.selector.kind().is_high_entropy()));
            }
        }
        Ok(found)
    }

    /// Returns the reliability of each origin, learned from the outcomes held for its indicators.
    pub(super) fn reliabilities(&self) -> Result<Reliabilities, StoreError> {
        let mut reliabilities = Reliabilities::default();
        for held in self.records(Kind::Outcome)? {
            let Some(outcome) = self.countable(&held) else {
                continue;
            };
            let Some(finding) = evidence::finding(&outcome) else {
                continue;
            };
            let observer = if outcome.header().origin == self.kernel.me().authority {
                Observer::Own
            } else {
                Observer::Other
            };
            for id in &outcome.header().derived_from {
                let Some(indicator) = self.record(id)? else {
                    continue;
                };
                if let Some(indicator) = self.countable(&indicator) {
                    let origin = &indicator.header().origin;
                    if *origin != outcome.header().origin {
                        reliabilities.observe(origin, finding, observer);
                    }
                }
            }
        }
        Ok(reliabilities)
    }

    /// Returns a held record. One that is damaged counts as none; the store tells of it.
    pub(super) fn record(&self, id: &RecordId) -> Result<Option<HeldRecord>, StoreError> {
        match self.store.record(id) {
            Err(StoreError::Damaged(_)) => Ok(None),
            other => other,
        }
    }

    fn records(&self, kind: Kind) -> Result<Vec<HeldRecord>, StoreError> {
        self.store.records(&RecordFilter {
            kind: Some(kind),
            ..RecordFilter::default()
        })
    }
}

//! The held records, as far as policy lets them count in a score.
//!
//! Every record from the store is verified again, and decided on under the action `score`. A record
//! that does not pass does not count here, and the log says why.

use std::sync::Arc;

use portcullis_protocol::{
    body::{Finding, SelectorKind},
    identifiers::{AuthorityId, NodeId},
    record::{Form, Kind, RecordId, RootTag},
    rules::Rule,
    time::Timestamp,
    verify::VerifiedRecord,
};
use portcullis_scoring::{
    evidence::SelectorEvidence,
    received::CellsPart,
    reliability::{Observation, Observer, Reliabilities},
    schema::Schema,
};

use super::evidence::{self, Members};
use portcullis_kernel::{Kernel, decide::Decider};
use portcullis_store::{HeldRecord, RecordFilter, Store, StoreError};

/// Kinds of records that name identifiers.
const ON_SELECTORS: [Kind; 3] = [Kind::Indicator, Kind::Alert, Kind::Outcome];

/// Most steps back from a record to those that it was derived from.
const MOST_DERIVED: usize = 4;
/// Most records that are looked at for each step back.
const MOST_PARENTS: usize = 4;

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
            match evidence::cells(schema, self.members(), &record, least) {
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
        let mut said = Vec::new();
        for held in &held {
            said.extend(self.said_by(held)?);
        }
        Ok(said)
    }

    /// Returns the evidence of a record on the identifiers it names. A record that was derived from
    /// others rests on the knowledge of the first of them that is held.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub(super) fn said_by(&self, held: &HeldRecord) -> Result<Vec<SelectorEvidence>, StoreError> {
        let Some(record) = self.countable(held) else {
            return Ok(Vec::new());
        };
        let said = evidence::on_selectors(self.members(), &record);
        self.rooted(&record, said)
    }

    /// Sets the root of a record's evidence. Each record on the way back is verified again, so that
    /// this is asked only of evidence that is used.
    fn rooted(
        &self,
        record: &VerifiedRecord,
        mut said: Vec<SelectorEvidence>,
    ) -> Result<Vec<SelectorEvidence>, StoreError> {
        if !said.is_empty() {
            let root = self.root(record)?;
            for item in &mut said {
                item.root = root;
            }
        }
        Ok(said)
    }

    fn root(&self, record: &VerifiedRecord) -> Result<RootTag, StoreError> {
        let said = |record: &VerifiedRecord| {
            let header = record.header();
            (header.origin.clone(), header.root)
        };
        root_of(record.clone(), said, |record| self.parent(record))
    }

    fn parent(&self, record: &VerifiedRecord) -> Result<Option<VerifiedRecord>, StoreError> {
        for id in record.header().derived_from.iter().take(MOST_PARENTS) {
            let Some(held) = self.record(id)? else {
                continue;
            };
            let parent = self.countable(&held);
            if let Some(parent) = parent.filter(|parent| evidence::share_goods(parent, record)) {
                return Ok(Some(parent));
            }
        }
        Ok(None)
    }

    fn members(&self) -> Members<'_> {
        Members {
            register: self.decider.register(),
            own: &self.kernel.me().authority,
        }
    }

    /// Returns the evidence of records on identifiers that are not indexed on disk, because their
    /// kinds (goods, ports) have too few values. These are matched in memory.
    pub(super) fn unindexed(&self) -> Result<Vec<SelectorEvidence>, StoreError> {
        let mut found = Vec::new();
        for kind in ON_SELECTORS {
            for held in self.records(kind)? {
                let Some(record) = self.countable(&held) else {
                    continue;
                };
                let mut said = evidence::on_selectors(self.members(), &record);
                said.retain(|item| !item.selector.kind().is_high_entropy());
                found.extend(self.rooted(&record, said)?);
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
            for id in &outcome.header().derived_from {
                let Some(indicator) = self.record(id)? else {
                    continue;
                };
                let Some(indicator) = self.countable(&indicator) else {
                    continue;
                };
                let origin = &indicator.header().origin;
                // A control says nothing of an indicator on other goods, or of another time.
                if *origin != outcome.header().origin && evidence::share_goods(&indicator, &outcome)
                {
                    let observation = self.observation(&outcome, indicator.id(), finding);
                    reliabilities.observe(origin, observation);
                }
            }
        }
        Ok(reliabilities)
    }

    fn observation(
        &self,
        outcome: &VerifiedRecord,
        indicator: RecordId,
        finding: Finding,
    ) -> Observation {
        let header = outcome.header();
        let observer = if header.origin == self.kernel.me().authority {
            Observer::Own
        } else {
            Observer::Other(header.origin.clone())
        };
        Observation {
            observer,
            indicator,
            outcome: outcome.id(),
            sealed_at: header.sealed_at,
            marking: header.marking_of(outcome.form()),
            finding,
        }
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

/// Returns the root of the first record, through all that were derived from it. A record without a
/// parent ends the way back; `parent` gives only those that are held, count and name the same goods.
/// So does the first record of another authority: what that one says of its own sources binds its
/// record alone, or it could make the records of others depend on each other.
fn root_of<R, E>(
    record: R,
    said: impl Fn(&R) -> (AuthorityId, RootTag),
    mut parent: impl FnMut(&R) -> Result<Option<R>, E>,
) -> Result<RootTag, E> {
    let (author, mut root) = said(&record);
    let mut at = record;
    for _ in 0..MOST_DERIVED {
        let Some(parent) = parent(&at)? else {
            break;
        };
        let (origin, its) = said(&parent);
        root = its;
        if origin != author {
            break;
        }
        at = parent;
    }
    Ok(root)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Returns the number of the root of the first of these records, each derived from the next.
    fn root(authors: &[&str]) -> u8 {
        let tag = |at: usize| RootTag::from_bytes([u8::try_from(at).unwrap(); 16]);
        let said = |at: &usize| (authors[*at].parse().unwrap(), tag(*at));
        let parent = |at: &usize| {
            let next = at + 1;
            Ok::<_, Infallible>((next < authors.len()).then_some(next))
        };
        let root = root_of(0, said, parent).unwrap();
        (0..8).find(|at| tag(usize::from(*at)) == root).unwrap()
    }

    #[test]
    fn a_record_has_the_root_of_what_it_was_derived_from() {
        assert_eq!(root(&["police"]), 0);
        assert_eq!(root(&["police", "customs"]), 1);
        assert_eq!(root(&["police", "police", "customs"]), 2);
    }

    /// A port authority's record said that it was derived from customs' own. A police record that was
    /// derived from it honestly then shared a root with customs', and only one of them counted.
    #[test]
    fn what_another_says_of_its_sources_binds_nobody_else() {
        assert_eq!(root(&["police", "port", "customs"]), 1);
    }
}

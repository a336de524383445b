//! The held records, as far as policy lets them count in a score.
//!
//! Every record from the store is verified again, and decided on under the action `score`. A record
//! that does not pass does not count here, and the log says why. Of a record only its header and the
//! sections that say something on goods or counts are opened, and what is kept of all records has
//! a bound in bytes: files and floods cost no memory.

use std::{cell::Cell, sync::Arc};

use portcullis_protocol::{
    body::{Finding, SelectorKind},
    identifiers::{AuthorityId, NodeId},
    record::{Form, Kind, RecordId, RootTag, SectionTag},
    rules::Rule,
    time::Timestamp,
    verify::Excerpt,
};
use portcullis_scoring::{
    evidence::SelectorEvidence,
    received::CellsPart,
    reliability::{Observation, Observer, Reliabilities},
    schema::Schema,
    weight::Weight,
};

use super::{
    evidence::{self, Members},
    shares::{Bounds, LeftOut, Shares},
};
use portcullis_kernel::{Kernel, decide::Decider};
use portcullis_store::{ExcerptsOf, HeldExcerpt, Store, StoreError};

/// Kinds of records that name identifiers.
const ON_SELECTORS: [Kind; 3] = [Kind::Indicator, Kind::Alert, Kind::Outcome];

/// Sections that say something on goods.
const ON_GOODS: [SectionTag; 2] = [SectionTag::Subject, SectionTag::Assessment];

/// Bounds on the counts of profiles: about 160,000 cells of one origin, 40,000 if sixteen send some.
const CELLS: Bounds = Bounds {
    each: 32 << 20,
    total: 128 << 20,
};
/// Bounds on the evidence that is matched in memory, and on the observations of controls: some
/// 10,000 of one origin.
const SAID: Bounds = Bounds {
    each: 8 << 20,
    total: 64 << 20,
};
/// Bounds on the evidence on one identifier.
const ON_ONE: Bounds = Bounds {
    each: 1 << 20,
    total: 16 << 20,
};

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
    /// Time at which the next of the records seen is to be deleted.
    next_end: Cell<Option<Timestamp>>,
    /// Number of records that were looked at because another one names them.
    looked: Cell<usize>,
}

impl Holdings {
    pub(super) fn of(kernel: &Arc<Kernel>) -> Self {
        Self {
            store: Arc::clone(kernel.store()),
            decider: kernel.decider(),
            now: kernel.now(),
            next_end: Cell::new(None),
            looked: Cell::new(0),
            kernel: Arc::clone(kernel),
        }
    }

    /// Returns the time to which all decisions here refer.
    pub(super) const fn now(&self) -> Timestamp {
        self.now
    }

    /// Returns the time at which the next of the records seen so far is to be deleted.
    pub(super) const fn next_end(&self) -> Option<Timestamp> {
        self.next_end.get()
    }

    /// Verifies a held record again and returns the part that may count; `None` if nothing may.
    pub(super) fn countable(&self, held: &HeldExcerpt) -> Option<Excerpt> {
        let record = match self.decider.verify_excerpt(held, self.now) {
            Ok(record) => record,
            Err(refusal) if refusal.rule == Rule::KeyCompromised => {
                tracing::debug!(record = %held.opened.id(), "a record is set apart; it does not count");
                return None;
            }
            Err(refusal) => {
                let record = held.opened.id();
                tracing::debug!(%record, %refusal, "a held record does not verify; it does not count");
                self.kernel.set_aside().refused(record, refusal.rule);
                return None;
            }
        };
        let form = self.counting_form(&record, held.source.as_ref());
        if form == Form::EMPTY {
            tracing::debug!(record = %record.id(), "policy does not let a record count");
            return None;
        }
        if let Some(end) = record.header().marking.delete_at {
            let next = self.next_end.get();
            self.next_end
                .set(Some(next.map_or(end, |next| next.min(end))));
        }
        Some(record.within(form))
    }

    /// Returns the sections that policy lets count.
    fn counting_form(&self, record: &Excerpt, source: Option<&NodeId>) -> Form {
        let holding = self.decider.holding_of(record, source, self.now);
        match holding.scoring() {
            Ok(request) => self.decider.engine().decide(&request).opened(),
            Err(unknown) => {
                tracing::warn!(record = %record.id(), %unknown, "a record does not count");
                Form::EMPTY
            }
        }
    }

    /// Returns the counts in the profiles of others, from sections whose smallest count is at least
    /// `least`, and what did not fit.
    pub(super) fn profiles(
        &self,
        schema: &Schema,
        least: u32,
    ) -> Result<(Vec<CellsPart>, LeftOut), StoreError> {
        let mut parts = Shares::new(CELLS);
        let own = &self.kernel.me().authority;
        self.gather(
            ExcerptsOf::Kind(Kind::RiskProfile),
            &[SectionTag::Cells],
            &mut parts,
            |record| {
                let header = record.header();
                let cells = evidence::cells(schema, self.members(), record, least)
                    .inspect_err(|error| {
                        let record = record.id();
                        tracing::warn!(%record, %error, "a profile is not counted");
                    })
                    .ok()
                    .filter(|_| header.origin != *own);
                Ok(cells.map(|cells| ((header.sealed_at, header.root), cells)))
            },
        )?;
        let (parts, left_out) = parts.into_parts();
        Ok((parts.into_iter().flatten().collect(), left_out))
    }

    /// Returns the evidence of records on an identifier of this kind and value, found by the index.
    pub(super) fn about(
        &self,
        kind: SelectorKind,
        value: &str,
    ) -> Result<Vec<SelectorEvidence>, StoreError> {
        let mut said = Shares::new(ON_ONE);
        let on_it = ExcerptsOf::Selector(kind, value);
        self.gather(on_it, &ON_GOODS, &mut said, |record| {
            Ok(Some((record.id(), self.said_in(record)?)))
        })?;
        let (said, left_out) = said.into_parts();
        self.kernel.set_aside().crowded(&left_out);
        Ok(said.into_iter().flatten().collect())
    }

    /// Returns the evidence of a record on the identifiers it names. A record that was derived from
    /// others rests on the knowledge of the first of them that is held.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub(super) fn said_by(&self, held: &HeldExcerpt) -> Result<Vec<SelectorEvidence>, StoreError> {
        let Some(record) = self.countable(held) else {
            return Ok(Vec::new());
        };
        self.said_in(&record)
    }

    fn said_in(&self, record: &Excerpt) -> Result<Vec<SelectorEvidence>, StoreError> {
        let said = evidence::on_selectors(self.members(), record);
        self.rooted(record, said)
    }

    /// Sets the root of a record's evidence. Each record on the way back is verified again, so that
    /// this is asked only of evidence that is used.
    fn rooted(
        &self,
        record: &Excerpt,
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

    fn root(&self, record: &Excerpt) -> Result<RootTag, StoreError> {
        let said = |record: &Excerpt| {
            let header = record.header();
            (header.origin.clone(), header.root)
        };
        root_of(record.clone(), said, |record| self.parent(record))
    }

    fn parent(&self, record: &Excerpt) -> Result<Option<Excerpt>, StoreError> {
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
        Members(&self.decider)
    }

    /// Returns the evidence of records on identifiers that are not indexed on disk, because their
    /// kinds (goods, ports) have too few values, and what did not fit. These are matched in memory.
    pub(super) fn unindexed(&self) -> Result<(Vec<SelectorEvidence>, LeftOut), StoreError> {
        let mut found = Shares::new(SAID);
        for kind in ON_SELECTORS {
            let of_kind = ExcerptsOf::Kind(kind);
            self.gather(of_kind, &ON_GOODS, &mut found, |record| {
                let mut said = evidence::on_selectors(self.members(), record);
                said.retain(|item| !item.selector.kind().is_high_entropy());
                Ok(Some((record.id(), self.rooted(record, said)?)))
            })?;
        }
        let (found, left_out) = found.into_parts();
        Ok((found.into_iter().flatten().collect(), left_out))
    }

    /// Returns the reliability of each origin, learned from the outcomes held for its indicators,
    /// and the outcomes that did not fit.
    pub(super) fn reliabilities(&self) -> Result<(Reliabilities, LeftOut), StoreError> {
        let mut observed = Shares::new(SAID);
        let outcomes = ExcerptsOf::Kind(Kind::Outcome);
        self.gather(outcomes, &ON_GOODS, &mut observed, |outcome| {
            let Some(finding) = evidence::finding(outcome) else {
                return Ok(None);
            };
            let mut seen = Vec::new();
            for id in &outcome.header().derived_from {
                let Some(indicator) = self.record(id)? else {
                    continue;
                };
                let Some(indicator) = self.countable(&indicator) else {
                    continue;
                };
                let origin = &indicator.header().origin;
                // A control says nothing of an indicator on other goods, or of another time.
                if *origin != outcome.header().origin && evidence::share_goods(&indicator, outcome)
                {
                    let observation = self.observation(outcome, indicator.id(), finding);
                    seen.push(Observed {
                        of: origin.clone(),
                        observation,
                    });
                }
            }
            Ok(Some((outcome.id(), seen)))
        })?;
        let (observed, left_out) = observed.into_parts();
        let mut reliabilities = Reliabilities::default();
        for Observed { of, observation } in observed.into_iter().flatten() {
            reliabilities.observe(&of, observation);
        }
        Ok((reliabilities, left_out))
    }

    fn observation(&self, outcome: &Excerpt, indicator: RecordId, finding: Finding) -> Observation {
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
            is_by_own_policy: self.members().outcomes_by_own_policy(&header.origin),
        }
    }

    /// Returns what a held record says. One that is damaged counts as none; the store tells of it.
    pub(super) fn record(&self, id: &RecordId) -> Result<Option<HeldExcerpt>, StoreError> {
        self.looked.set(self.looked.get().saturating_add(1));
        match self.store.excerpt(id, &ON_GOODS) {
            Err(StoreError::Damaged(_)) => Ok(None),
            other => other,
        }
    }

    /// Goes over records, the newest first, and takes in what those that count say, as far as the
    /// shares of their origins go. A record whose origin has filled its share is not looked at: from the
    /// next page on it is not opened either.
    fn gather<G: Ord, T: Weight>(
        &self,
        of: ExcerptsOf<'_>,
        tags: &[SectionTag],
        shares: &mut Shares<G, T>,
        read: impl Fn(&Excerpt) -> Result<Option<(G, T)>, StoreError>,
    ) -> Result<(), StoreError> {
        let mut from = None;
        loop {
            let page = self.store.excerpts_but(&shares.full(), of, tags, from)?;
            shares.leave_out(page.left_out);
            for held in page.excerpts {
                let origin = held.opened.claimed_origin();
                if origin.as_ref().is_some_and(|one| shares.is_full(one)) {
                    continue;
                }
                let before = self.looked.get();
                let counted = self.countable(&held);
                let said = counted.as_ref().map(&read).transpose()?.flatten();
                if let Some(origin) = origin {
                    let looked = self.looked.get().saturating_sub(before);
                    shares.add(&origin, looked, said);
                }
            }
            if page.next.is_none() {
                return Ok(());
            }
            from = page.next;
        }
    }
}

/// An observation, and the origin that it is of.
struct Observed {
    of: AuthorityId,
    observation: Observation,
}

impl Weight for Observed {
    fn weight(&self) -> usize {
        self.observation.weight()
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

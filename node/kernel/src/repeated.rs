//! Drafts that say what this authority has said already.
//!
//! Whoever imports a list twice, or sends again what broke off, would make every record a second time at
//! every peer. A draft repeats a record of this authority if the record says the same about the same, under
//! the same markings, and is neither replaced by a later one nor past its date of deletion.
//!
//! ```text
//! drafts ── their first identifiers ──▶ own headers and subjects, page by page ──▶ the few that may say the same
//!                                       (records of other members are left out)     are read whole
//! ```
//!
//! Records of others are told by their headers and not opened, so that nobody else's records or files cost
//! memory here. The looking ends after a time; the drafts that are left then are answered as not looked up.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use portcullis_protocol::{
    body::{Body, Selector, SelectorKind},
    identifiers::AuthorityId,
    record::{Header, RecordId, SectionTag},
    seal::Draft,
    time::Timestamp,
    verify::{Excerpt, VerifiedRecord},
};
use portcullis_store::{ExcerptPage, ExcerptsOf, StoreError};

use super::{Kernel, decide::Decider};

/// Longest time for which records are looked through, beyond the page that is under way.
const LONGEST: Duration = Duration::from_secs(2);

/// An identifier: its kind and its canonical text.
type Key = (SelectorKind, String);

/// Answer for one draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It says something new.
    New,
    /// It says what this record says.
    Of(RecordId),
    /// The time was over before all records were looked at.
    NotLookedUp,
}

/// Returns for each draft whether it repeats a record. A draft that names no identifier repeats none. It
/// reads the store and verifies what it reads.
///
/// # Errors
///
/// [`StoreError`].
pub fn repeated(kernel: &Kernel, drafts: &[Draft]) -> Result<Vec<Repeat>, StoreError> {
    Look::begin(kernel, LONGEST).at(drafts)
}

/// A look at the records of this authority.
struct Look<'k> {
    kernel: &'k Kernel,
    decider: Arc<Decider>,
    /// The members whose records are left out.
    others: BTreeSet<AuthorityId>,
    now: Timestamp,
    ends: Instant,
    /// Own records by the identifiers that were looked up.
    found: BTreeMap<Key, Vec<Own>>,
}

/// A record of this authority as far as its subject.
#[derive(Debug, Clone)]
struct Own {
    id: RecordId,
    header: Header,
}

impl<'k> Look<'k> {
    fn begin(kernel: &'k Kernel, longest: Duration) -> Self {
        let decider = kernel.decider();
        let members = decider.register().authorities.keys();
        let others = members.filter(|member| **member != kernel.me().authority);
        Self {
            others: others.cloned().collect(),
            decider,
            kernel,
            now: kernel.now(),
            ends: Instant::now() + longest,
            found: BTreeMap::new(),
        }
    }

    fn at(mut self, drafts: &[Draft]) -> Result<Vec<Repeat>, StoreError> {
        let keys: Vec<Option<Key>> = drafts
            .iter()
            .map(|draft| first_selector(draft).map(key_of))
            .collect();
        let unindexed = keys.iter().flatten();
        let unindexed = unindexed.filter(|(kind, _)| !kind.is_high_entropy());
        self.look_for_all(unindexed.cloned().collect())?;
        drafts
            .iter()
            .zip(keys)
            .map(|(draft, key)| match key {
                Some(key) => self.one(draft, &key),
                None => Ok(Repeat::New),
            })
            .collect()
    }

    fn one(&mut self, draft: &Draft, key: &Key) -> Result<Repeat, StoreError> {
        if !self.found.contains_key(key) && key.0.is_high_entropy() {
            self.look_for(key)?;
        }
        let Some(records) = self.found.get(key) else {
            return Ok(Repeat::NotLookedUp);
        };
        for own in records
            .iter()
            .filter(|own| is_same_header(draft, &own.header))
        {
            let Some(held) = self.kernel.store().record(&own.id)? else {
                continue;
            };
            let record = self.decider.verify_held(&held, self.now);
            if record.is_ok_and(|record| says_the_same(draft, &record)) {
                return Ok(Repeat::Of(own.id));
            }
        }
        Ok(Repeat::New)
    }

    /// Looks for the own records with an identifier that is indexed.
    fn look_for(&mut self, key: &Key) -> Result<(), StoreError> {
        let mut own = Vec::new();
        let (kind, value) = key;
        let is_whole = self.pages(ExcerptsOf::Selector(*kind, value), |excerpt| {
            own.push(Own::of(&excerpt));
        })?;
        if is_whole {
            self.found.insert(key.clone(), counting(own, self.now));
        }
        Ok(())
    }

    /// Looks for the own records with one of these identifiers, which no index has, all at once.
    fn look_for_all(&mut self, keys: BTreeSet<Key>) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut found: BTreeMap<Key, Vec<Own>> =
            keys.into_iter().map(|key| (key, Vec::new())).collect();
        let is_whole = self.pages(ExcerptsOf::Any, |excerpt| {
            for selector in selectors(&excerpt) {
                if let Some(own) = found.get_mut(&key_of(selector)) {
                    own.push(Own::of(&excerpt));
                }
            }
        })?;
        if is_whole {
            let counting = |(key, own)| (key, counting(own, self.now));
            self.found.extend(found.into_iter().map(counting));
        }
        Ok(())
    }

    /// Hands the own records that are selected to `each`. Returns false if the time was over before.
    fn pages(&self, of: ExcerptsOf<'_>, mut each: impl FnMut(Excerpt)) -> Result<bool, StoreError> {
        let mut from = None;
        loop {
            if Instant::now() >= self.ends {
                return Ok(false);
            }
            let ExcerptPage { excerpts, next, .. } =
                self.kernel
                    .store()
                    .excerpts_but(&self.others, of, &[SectionTag::Subject], from)?;
            let verified = excerpts
                .iter()
                .filter_map(|held| self.decider.verify_excerpt(held, self.now).ok());
            verified
                .filter(|excerpt| excerpt.header().origin == self.kernel.me().authority)
                .for_each(&mut each);
            if next.is_none() {
                return Ok(true);
            }
            from = next;
        }
    }
}

impl Own {
    fn of(excerpt: &Excerpt) -> Self {
        Self {
            id: excerpt.id(),
            header: excerpt.header().clone(),
        }
    }
}

fn key_of(selector: &Selector) -> Key {
    (selector.kind(), selector.value().to_owned())
}

fn first_selector(draft: &Draft) -> Option<&Selector> {
    let mut bodies = draft.sections.iter().map(|section| &section.body);
    bodies.find_map(|body| selectors_of(body).first())
}

fn selectors(excerpt: &Excerpt) -> &[Selector] {
    excerpt
        .body(SectionTag::Subject)
        .map_or(&[], |body| selectors_of(body))
}

fn selectors_of(body: &Body) -> &[Selector] {
    match body {
        Body::Subject(subject) => &subject.selectors,
        Body::Assessment(_)
        | Body::Narrative(_)
        | Body::Source(_)
        | Body::Persons(_)
        | Body::Attachments(_)
        | Body::Cells(_) => &[],
    }
}

/// Returns the records that count: neither replaced by another of them nor past their deletion.
fn counting(mut own: Vec<Own>, now: Timestamp) -> Vec<Own> {
    let replaced: BTreeSet<RecordId> = own.iter().filter_map(|own| own.header.supersedes).collect();
    own.retain(|own| {
        let is_over = own.header.marking.delete_at.is_some_and(|at| at <= now);
        !replaced.contains(&own.id) && !is_over
    });
    own
}

fn is_same_header(draft: &Draft, header: &Header) -> bool {
    header.kind == draft.kind
        && header.exercise == draft.exercise
        && header.audience == draft.audience
        && header.marking == draft.marking
        && header.evaluation == draft.evaluation
        && header.derived_from == draft.derived_from
        && header.supersedes == draft.supersedes
}

fn says_the_same(draft: &Draft, record: &VerifiedRecord) -> bool {
    let said: Vec<(SectionTag, &Body)> = record
        .sections()
        .iter()
        .map(|section| (section.body.tag(), &section.body))
        .collect();
    let mut meant: Vec<(SectionTag, &Body)> = draft
        .sections
        .iter()
        .map(|section| (section.body.tag(), &section.body))
        .collect();
    // The table of a record lists its sections by tag.
    meant.sort_by_key(|(tag, _)| *tag);
    is_same_header(draft, record.header()) && said == meant
}

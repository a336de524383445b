//! Drafts that say what this authority has said already.
//!
//! Whoever imports a list twice, or sends again what broke off, would make every record a second time at
//! every peer. A draft repeats a record of this authority if the record says the same about the same, under
//! the same markings, and is neither replaced by a later one nor past its date of deletion.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use portcullis_protocol::{
    body::{Body, Selector, SelectorKind},
    record::{RecordId, SectionTag},
    seal::Draft,
    time::Timestamp,
    verify::VerifiedRecord,
};
use portcullis_store::StoreError;

use super::Kernel;

/// Own records about an identifier.
type About = BTreeMap<(SelectorKind, String), Vec<VerifiedRecord>>;

/// Returns for each draft the record that it repeats, if there is one. A draft that names no identifier
/// repeats none. It reads the store and verifies what it reads.
///
/// # Errors
///
/// [`StoreError`].
pub fn repeated(kernel: &Kernel, drafts: &[Draft]) -> Result<Vec<Option<RecordId>>, StoreError> {
    let mut about = About::new();
    drafts
        .iter()
        .map(|draft| {
            let Some(selector) = first_selector(draft) else {
                return Ok(None);
            };
            let key = (selector.kind(), selector.value().to_owned());
            let records = match about.entry(key) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(free) => free.insert(own_records(kernel, selector)?),
            };
            Ok(repeated_by(draft, records))
        })
        .collect()
}

fn first_selector(draft: &Draft) -> Option<&Selector> {
    draft
        .sections
        .iter()
        .find_map(|section| match &section.body {
            Body::Subject(subject) => subject.selectors.first(),
            Body::Assessment(_)
            | Body::Narrative(_)
            | Body::Source(_)
            | Body::Persons(_)
            | Body::Attachments(_)
            | Body::Cells(_) => None,
        })
}

/// Returns the records of this authority about an identifier that still count.
fn own_records(kernel: &Kernel, selector: &Selector) -> Result<Vec<VerifiedRecord>, StoreError> {
    let (decider, now) = (kernel.decider(), kernel.now());
    let held = kernel
        .store()
        .records_about(selector.kind(), selector.value())?;
    let records: Vec<VerifiedRecord> = held
        .iter()
        .filter_map(|held| decider.verify_held(held, now).ok())
        .filter(|record| record.header().origin == kernel.me().authority)
        .collect();
    let replaced: BTreeSet<RecordId> = records
        .iter()
        .filter_map(|record| record.header().supersedes)
        .collect();
    let counts = |record: &VerifiedRecord| {
        !replaced.contains(&record.id()) && !is_over(record.header().marking.delete_at, now)
    };
    Ok(records.into_iter().filter(counts).collect())
}

fn is_over(delete_at: Option<Timestamp>, now: Timestamp) -> bool {
    delete_at.is_some_and(|at| at <= now)
}

fn repeated_by(draft: &Draft, records: &[VerifiedRecord]) -> Option<RecordId> {
    let same = records.iter().find(|record| says_the_same(draft, record));
    same.map(VerifiedRecord::id)
}

fn says_the_same(draft: &Draft, record: &VerifiedRecord) -> bool {
    let header = record.header();
    let is_same_header = header.kind == draft.kind
        && header.exercise == draft.exercise
        && header.audience == draft.audience
        && header.marking == draft.marking
        && header.evaluation == draft.evaluation
        && header.derived_from == draft.derived_from
        && header.supersedes == draft.supersedes;
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
    is_same_header && said == meant
}

//! Comparison of the two ends of a channel. Pure.
//!
//! ```text
//! all ─ differs? ─▶ 64 parts ─ which differ? ─▶ their buckets ─ which differ? ─▶ pages of entries
//! ```
//!
//! Only ranges that differ are looked into. Buckets that differ share a page with the buckets
//! between them, as long as those hold few entries. The peer's answers count only for its own side.
//! They are bounded in the number of pages, and in what this node learns from them.

use std::collections::{BTreeMap, VecDeque};

use portcullis_protocol::{
    reconcile::{Answer, Buckets, Entry, MAX_ENTRIES, MAX_RANGES, Page, RangeDigest, Summary},
    record::RecordId,
    rules::Rule,
    verify::Refusal,
};

/// Number of parts into which a range that differs is cut.
const PARTS: u16 = 64;
/// Largest number of entries that both sides have and that are listed all the same, to save a
/// question.
const MOST_BETWEEN: u64 = 64;
/// Largest number of pages looked at in one comparison.
const MAX_PAGES: usize = 16_384;
/// Largest number of disclosures learned in one comparison.
pub const MAX_LEARNED: usize = 131_072;

/// Next step of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Ask for the digests of these ranges.
    Digests(Vec<Buckets>),
    /// Read this node's own entries of the page, then ask for the peer's.
    Page(Page),
    /// Stop: all ranges that differ were looked into.
    Done,
}

/// Differences between the two sides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// Records that the peer had confirmed and now lacks, wholly or in sections.
    pub missing: Vec<RecordId>,
    /// Records, or sections of them, that the peer has and this node knows nothing of.
    pub unknown: Vec<Entry>,
    /// Records that the peer withdrew without this node knowing it.
    pub withdrawn_there: Vec<RecordId>,
    /// Records that this node withdrew without the peer knowing it.
    pub withdrawn_here: Vec<RecordId>,
}

/// A comparison under way.
#[derive(Debug)]
pub struct Walk {
    own: Summary,
    /// Ranges whose digests are to be asked for.
    open: VecDeque<Buckets>,
    /// Ranges whose digests were asked for.
    asked: Vec<Buckets>,
    /// Buckets that differ, with the number of entries that the peer has in each.
    differing: BTreeMap<u16, u64>,
    pages: VecDeque<Page>,
    pages_left: usize,
    learned: usize,
}

impl Walk {
    /// Begins with this node's own summary of the channel.
    #[must_use]
    pub fn new(own: Summary) -> Self {
        Self {
            own,
            open: VecDeque::from([Buckets::ALL]),
            asked: Vec::new(),
            differing: BTreeMap::new(),
            pages: VecDeque::new(),
            pages_left: MAX_PAGES,
            learned: 0,
        }
    }

    /// Returns the next step.
    #[must_use]
    pub fn step(&mut self) -> Next {
        if !self.open.is_empty() {
            let count = self.open.len().min(MAX_RANGES);
            self.asked = self.open.drain(..count).collect();
            return Next::Digests(self.asked.clone());
        }
        self.group();
        match self.pages.pop_front() {
            Some(page) if self.pages_left > 0 => {
                self.pages_left -= 1;
                Next::Page(page)
            }
            Some(_) | None => Next::Done,
        }
    }

    /// Takes the digests that the peer answered.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under RC-01 if their number is not that of the ranges asked for.
    pub fn digests(&mut self, theirs: &[RangeDigest]) -> Result<(), Refusal> {
        let asked = std::mem::take(&mut self.asked);
        if asked.len() != theirs.len() {
            return Err(unreadable("it answers other ranges than were asked for"));
        }
        for (range, theirs) in asked.into_iter().zip(theirs) {
            if self.own.of(range) == *theirs {
                continue;
            }
            if range.width() == 1 {
                self.differing.insert(range.first(), theirs.count);
            } else {
                self.open.extend(range.parts(PARTS));
            }
        }
        Ok(())
    }

    /// Groups buckets that differ, as many as one page holds.
    fn group(&mut self) {
        let mut group: Option<(Buckets, u64, u64)> = None;
        for (bucket, theirs) in std::mem::take(&mut self.differing) {
            let Some(one) = Buckets::new(bucket, bucket) else {
                continue;
            };
            let own = self.own.of(one).count;
            let joined = group.and_then(|(range, ours, others)| {
                // Between the two, both sides have the same entries.
                let between = range.last().checked_add(1).zip(bucket.checked_sub(1));
                let between = between.and_then(|(first, last)| Buckets::new(first, last));
                let same = between.map_or(0, |between| self.own.of(between).count);
                let range = Buckets::new(range.first(), bucket).filter(|_| same <= MOST_BETWEEN)?;
                let ours = ours.checked_add(same)?.checked_add(own)?;
                let others = others.checked_add(same)?.checked_add(theirs)?;
                let fits = ours.checked_add(others)? <= MAX_ENTRIES as u64;
                fits.then_some((range, ours, others))
            });
            if joined.is_none() {
                self.close(group);
            }
            group = Some(joined.unwrap_or((one, own, theirs)));
        }
        self.close(group);
    }

    fn close(&mut self, group: Option<(Buckets, u64, u64)>) {
        let page = group.map(|(of, _, _)| Page { of, after: None });
        self.pages.extend(page);
    }

    /// Takes a page: this node's own entries, which were read before the peer was asked, and the
    /// peer's.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under RC-01 if an entry of the peer is of another page, or if an empty page
    /// claims that more follow.
    pub fn page(
        &mut self,
        page: Page,
        own: &[Entry],
        theirs: &Answer,
    ) -> Result<Findings, Refusal> {
        let entries = &theirs.entries;
        let within = |entry: &Entry| {
            page.of.contains(&entry.id) && page.after.is_none_or(|after| entry.id > after)
        };
        if !entries.iter().all(within) {
            return Err(unreadable("its entries are of another page"));
        }
        let until = match entries.last() {
            Some(last) if theirs.more => {
                self.pages.push_front(Page {
                    of: page.of,
                    after: Some(last.id),
                });
                Some(last.id)
            }
            None if theirs.more => return Err(unreadable("a page is empty and not the last")),
            Some(_) | None => None,
        };
        let own = own
            .iter()
            .filter(|entry| until.is_none_or(|until| entry.id <= until));
        let mut findings = differences(own, entries);
        let room = MAX_LEARNED.saturating_sub(self.learned);
        findings.unknown.truncate(room);
        self.learned += findings.unknown.len();
        Ok(findings)
    }
}

fn unreadable(detail: &str) -> Refusal {
    Refusal::new(Rule::ReconcileUnreadable, detail)
}

/// Compares the entries of both sides.
fn differences<'e>(own: impl Iterator<Item = &'e Entry>, theirs: &[Entry]) -> Findings {
    let mut both: BTreeMap<RecordId, (Option<Entry>, Option<Entry>)> = BTreeMap::new();
    for entry in own {
        both.entry(entry.id).or_default().0 = Some(*entry);
    }
    for entry in theirs {
        both.entry(entry.id).or_default().1 = Some(*entry);
    }
    let mut findings = Findings::default();
    for (id, sides) in both {
        match sides {
            (None, None) => {}
            (Some(own), None) if own.is_withdrawn() => findings.withdrawn_here.push(id),
            (Some(_), None) => findings.missing.push(id),
            (None, Some(theirs)) if theirs.is_withdrawn() => findings.withdrawn_there.push(id),
            (None, Some(theirs)) => findings.unknown.push(theirs),
            (Some(own), Some(theirs)) => match (own.is_withdrawn(), theirs.is_withdrawn()) {
                (true, true) => {}
                (true, false) => findings.withdrawn_here.push(id),
                (false, true) => findings.withdrawn_there.push(id),
                (false, false) => {
                    if !own.form.is_within(theirs.form) {
                        findings.missing.push(id);
                    }
                    if !theirs.form.is_within(own.form) {
                        findings.unknown.push(theirs);
                    }
                }
            },
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use portcullis_protocol::{digest::Digest, frame::Generation, record::Form};

    use super::*;

    /// A peer that holds these entries and answers from them.
    struct Model {
        entries: BTreeMap<RecordId, Form>,
        most: usize,
        questions: usize,
    }

    fn entry((id, form): (&RecordId, &Form)) -> Entry {
        Entry {
            id: *id,
            form: *form,
        }
    }

    fn within(entries: &BTreeMap<RecordId, Form>, page: Page) -> Vec<Entry> {
        entries
            .iter()
            .map(entry)
            .filter(|entry| page.of.contains(&entry.id))
            .filter(|entry| page.after.is_none_or(|after| entry.id > after))
            .collect()
    }

    impl Model {
        fn new(entries: BTreeMap<RecordId, Form>) -> Self {
            Self {
                entries,
                most: 50,
                questions: 0,
            }
        }

        fn summary(&self) -> Summary {
            let all: Vec<Entry> = self.entries.iter().map(entry).collect();
            all.iter().collect()
        }

        fn answer(&self) -> Answer {
            Answer::empty(Generation::from_bytes([1; 16]))
        }

        fn page(&mut self, page: Page) -> Answer {
            self.questions += 1;
            let mut entries = within(&self.entries, page);
            let more = entries.len() > self.most;
            entries.truncate(self.most);
            Answer {
                entries,
                more,
                ..self.answer()
            }
        }
    }

    /// Walks to the end and returns all findings.
    fn compared(own: &BTreeMap<RecordId, Form>, peer: &mut Model) -> Findings {
        let mut walk = Walk::new(Model::new(own.clone()).summary());
        let mut all = Findings::default();
        loop {
            let (page, theirs) = match walk.step() {
                Next::Digests(ranges) => {
                    peer.questions += 1;
                    let summary = peer.summary();
                    let digests: Vec<_> = ranges.iter().map(|range| summary.of(*range)).collect();
                    walk.digests(&digests).unwrap();
                    continue;
                }
                Next::Page(page) => (page, peer.page(page)),
                Next::Done => return all,
            };
            let found = walk.page(page, &within(own, page), &theirs).unwrap();
            all.missing.extend(found.missing);
            all.unknown.extend(found.unknown);
            all.withdrawn_here.extend(found.withdrawn_here);
            all.withdrawn_there.extend(found.withdrawn_there);
        }
    }

    fn id(number: u32) -> RecordId {
        let digest = Digest::labelled("test", &[&number.to_be_bytes()]);
        RecordId::from_slice(digest.as_bytes()).unwrap()
    }

    fn whole(count: u32) -> BTreeMap<RecordId, Form> {
        let form = Form::from_bits(0b111);
        (0..count).map(|number| (id(number), form)).collect()
    }

    fn sorted(numbers: &[u32]) -> Vec<RecordId> {
        let mut ids: Vec<_> = numbers.iter().map(|number| id(*number)).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn what_is_level_costs_one_question() {
        for count in [0, 1, 5_000] {
            let own = whole(count);
            let mut peer = Model::new(own.clone());
            assert_eq!(compared(&own, &mut peer), Findings::default());
            assert_eq!(peer.questions, 1);
        }
    }

    #[test]
    fn each_kind_of_difference_is_found_and_little_else_is_looked_into() {
        let mut own = whole(5_000);
        let mut peer = Model::new(own.clone());
        peer.entries.remove(&id(1));
        own.remove(&id(2));
        own.insert(id(3), Form::EMPTY);
        peer.entries.insert(id(4), Form::EMPTY);
        peer.entries.insert(id(5), Form::from_bits(0b001));
        own.insert(id(6), Form::from_bits(0b001));
        own.insert(id(7), Form::EMPTY);
        peer.entries.insert(id(7), Form::EMPTY);
        own.remove(&id(8));
        peer.entries.insert(id(8), Form::EMPTY);
        own.insert(id(9), Form::EMPTY);
        peer.entries.remove(&id(9));
        let found = compared(&own, &mut peer);
        assert_eq!(found.missing, sorted(&[1, 5]));
        let unknown: Vec<_> = found.unknown.iter().map(|entry| entry.id).collect();
        assert_eq!(unknown, sorted(&[2, 6]));
        assert_eq!(found.withdrawn_here, sorted(&[3, 9]));
        assert_eq!(found.withdrawn_there, sorted(&[4, 8]));
        assert!(peer.questions < 25, "{}", peer.questions);
    }

    #[test]
    fn one_side_that_lost_everything_finds_it_all() {
        let own = whole(5_000);
        let mut peer = Model::new(BTreeMap::new());
        let mut ids: Vec<_> = own.keys().copied().collect();
        ids.sort_unstable();
        assert_eq!(compared(&own, &mut peer).missing, ids);
        assert!(peer.questions < 70, "{}", peer.questions);
        let mut peer = Model::new(own.clone());
        let found = compared(&BTreeMap::new(), &mut peer);
        let unknown: Vec<_> = found.unknown.iter().map(|entry| entry.id).collect();
        assert_eq!(unknown, ids);
    }

    #[test]
    fn random_differences_are_found_exactly() {
        for seed in 0..20_u32 {
            let mut own = whole(700);
            let mut peer = Model::new(own.clone());
            peer.most = 3;
            let chosen = |kind: u32| {
                let drawn = (0..700).filter(move |number| {
                    Digest::labelled(
                        "draw",
                        &[&[seed, kind, *number].map(u32::to_be_bytes).concat()],
                    )
                    .as_bytes()[0]
                        < 20
                });
                drawn.collect::<Vec<u32>>()
            };
            let lost_here = chosen(1);
            let lost_there: Vec<u32> = chosen(2)
                .into_iter()
                .filter(|number| !lost_here.contains(number))
                .collect();
            lost_here.iter().for_each(|number| {
                own.remove(&id(*number));
            });
            for number in &lost_there {
                peer.entries.remove(&id(*number));
            }
            let found = compared(&own, &mut peer);
            assert_eq!(found.missing, sorted(&lost_there), "seed {seed}");
            let unknown: Vec<_> = found.unknown.iter().map(|entry| entry.id).collect();
            assert_eq!(unknown, sorted(&lost_here), "seed {seed}");
        }
    }

    #[test]
    fn a_peer_that_answers_without_end_is_left() {
        let own = whole(10);
        let peer = Model::new(whole(20));
        let mut walk = Walk::new(Model::new(own.clone()).summary());
        let mut pages = 0;
        loop {
            match walk.step() {
                Next::Digests(ranges) => {
                    let summary = peer.summary();
                    let digests: Vec<_> = ranges.iter().map(|range| summary.of(*range)).collect();
                    walk.digests(&digests).unwrap();
                }
                Next::Page(page) => {
                    pages += 1;
                    // The peer always gives one entry more and never ends.
                    let mut bytes = [0; 32];
                    let prefix = (page.of.first() << 4).to_be_bytes();
                    bytes[..2].copy_from_slice(&prefix);
                    bytes[24..].copy_from_slice(&(pages as u64 + 1).to_be_bytes());
                    let entries = vec![Entry {
                        id: RecordId::from_slice(&bytes).unwrap(),
                        form: Form::from_bits(1),
                    }];
                    let answer = Answer {
                        entries,
                        more: true,
                        ..peer.answer()
                    };
                    walk.page(page, &[], &answer).unwrap();
                }
                Next::Done => break,
            }
        }
        assert_eq!(pages, MAX_PAGES);
    }

    #[test]
    fn answers_of_other_ranges_and_pages_are_refused() {
        let own = whole(100);
        let mut walk = Walk::new(Model::new(own.clone()).summary());
        let Next::Digests(_) = walk.step() else {
            panic!("no question");
        };
        assert_eq!(
            walk.digests(&[]).unwrap_err().rule,
            Rule::ReconcileUnreadable
        );
        let page = Page {
            of: Buckets::new(0, 0).unwrap(),
            after: None,
        };
        let answer = Answer {
            entries: own.iter().map(entry).collect(),
            ..Model::new(BTreeMap::new()).answer()
        };
        assert!(walk.page(page, &[], &answer).is_err());
        let endless = Answer {
            more: true,
            ..Model::new(BTreeMap::new()).answer()
        };
        assert!(walk.page(page, &[], &endless).is_err());
    }
}

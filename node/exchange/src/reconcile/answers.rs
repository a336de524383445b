//! Answers to questions about a channel in which a peer sends to this node.
//!
//! Answers are made from the held records, within a budget. A summary costs a look at all that the
//! peer delivered, and is kept for a while because it is small. A page or a record costs another
//! look. A peer that asks too much is told to ask later. Questions of all peers are answered one at
//! a time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use portcullis_protocol::{
    frame::Lane,
    identifiers::{AuthorityId, NodeId},
    reconcile::{Answer, Ask, Buckets, Entry, MAX_ENTRIES, Page, Question, Summary},
    record::RecordId,
    seal::SealedRecord,
    time::Timestamp,
    verify::Refusal,
    wire,
};

use super::summary;
use portcullis_kernel::{Kernel, calls::Call};
use portcullis_store::{
    ChannelPage, ChannelSide, GiveBack, Repair, StoreError, Write, writer::Priority,
};

const MINUTE_MS: i64 = 60_000;
/// Budget of one peer per minute, in the units of [`DEAR`] and [`CHEAP`].
const BUDGET: u32 = 120;
/// Cost of a question that reads through the channel. Any other question costs [`CHEAP`].
const DEAR: u32 = 3;
const CHEAP: u32 = 1;
/// Longest age of a summary that is used while a comparison goes on, in milliseconds.
const USABLE_MS: i64 = 10 * MINUTE_MS;
/// Summaries kept at the same time, 160 KiB each.
const MOST_SUMMARIES: usize = 16;

/// Reason for which a question is not answered.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The question is refused. The fault is the peer's.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The peer asks too much.
    #[error("too many questions about a channel within a minute; ask later")]
    Busy,
    /// The peer is cut off, so nothing goes to it now.
    #[error("the peer is cut off")]
    Cut,
    /// The store failed. The fault is this node's own.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Budgets and summaries of the peers that asked.
#[derive(Debug, Default)]
pub struct Answers {
    /// State by peer; held for a moment only.
    peers: Mutex<BTreeMap<NodeId, Of>>,
}

#[derive(Debug, Default)]
struct Of {
    began: Option<Timestamp>,
    spent: u32,
    summary: Option<(Timestamp, Arc<Summary>)>,
}

impl Of {
    fn spend(&mut self, cost: u32, now: Timestamp) -> Result<(), AnswerError> {
        let within = |began: Timestamp| (0..MINUTE_MS).contains(&now.millis_since(began));
        if !self.began.is_some_and(within) {
            self.began = Some(now);
            self.spent = 0;
        }
        self.spent = self.spent.saturating_add(cost);
        if self.spent > BUDGET {
            return Err(AnswerError::Busy);
        }
        Ok(())
    }

    fn kept(&self, now: Timestamp) -> Option<Arc<Summary>> {
        let (at, summary) = self.summary.as_ref()?;
        (0..USABLE_MS)
            .contains(&now.millis_since(*at))
            .then(|| Arc::clone(summary))
    }
}

impl Answers {
    /// Answers a peer's question. It reads through what the peer delivered, so it must not run on
    /// the runtime's threads.
    ///
    /// # Errors
    ///
    /// [`AnswerError`] if the question is refused, the peer is over its budget or cut off, or the
    /// store fails.
    pub fn answer(
        &self,
        kernel: &Kernel,
        peer: &NodeId,
        ask: wire::ReconcileAsk,
    ) -> Result<Answer, AnswerError> {
        let decider = kernel.decider();
        let (authority, node) = decider.register().node(peer).ok_or(AnswerError::Cut)?;
        if kernel.gates().cut(&authority.id, &node.id).is_some() {
            return Err(AnswerError::Cut);
        }
        let ask = Ask::read(ask, &kernel.me().federation)?;
        self.notice_generation(kernel, peer, &ask)?;
        let empty = Answer::empty(kernel.store().generation()?);
        match ask.question {
            Question::Digests(ranges) => {
                let summary = self.summary(kernel, peer, &ranges)?;
                let ranges = ranges.iter().map(|range| summary.of(*range));
                Ok(Answer {
                    ranges: ranges.collect(),
                    ..empty
                })
            }
            Question::Page(page) => {
                self.spend(peer, DEAR, kernel.now())?;
                page_of(kernel, peer, page, empty)
            }
            Question::Withdrawn(ids) => {
                self.spend(peer, CHEAP, kernel.now())?;
                note_withdrawn(kernel, peer, ids)?;
                Ok(empty)
            }
            Question::Wanted(ids) => {
                self.spend(peer, DEAR, kernel.now())?;
                // A closed gate applies here as well, even though the records are the peer's own.
                if kernel.closed(peer, Lane::Bulk).is_some() {
                    return Err(AnswerError::Cut);
                }
                let records = own_records(kernel, &authority.id, ids)?;
                give_back(kernel, peer, &records)?;
                Ok(Answer { records, ..empty })
            }
        }
    }

    /// Calls for a comparison if the peer is in another generation than at the last one. Such a
    /// peer was restored, and may have lost what this node sent to it.
    fn notice_generation(
        &self,
        kernel: &Kernel,
        peer: &NodeId,
        ask: &Ask,
    ) -> Result<(), AnswerError> {
        let known = kernel.store().reconciliations()?;
        let row = known.iter().find(|row| row.peer == *peer);
        if row.is_none_or(|row| row.theirs != ask.generation) {
            kernel.call_to_compare(Call::With(peer.clone()));
        }
        Ok(())
    }

    /// Returns the summary of what the peer delivered, made anew when a comparison begins.
    fn summary(
        &self,
        kernel: &Kernel,
        peer: &NodeId,
        ranges: &[Buckets],
    ) -> Result<Arc<Summary>, AnswerError> {
        let now = kernel.now();
        // A question for all buckets begins a comparison. What came since the last one counts.
        let begins = ranges == [Buckets::ALL];
        let kept = self.with(peer, |of| of.kept(now).filter(|_| !begins));
        if let Some(summary) = kept {
            self.spend(peer, CHEAP, now)?;
            return Ok(summary);
        }
        self.spend(peer, DEAR, now)?;
        let made = summary(kernel.store().as_ref(), peer, ChannelSide::Received)?;
        let made = Arc::new(made);
        self.with(peer, |of| of.summary = Some((now, Arc::clone(&made))));
        self.forget_oldest();
        Ok(made)
    }

    fn forget_oldest(&self) {
        let mut peers = self.lock();
        let mut ages: Vec<Timestamp> = peers
            .values()
            .filter_map(|of| of.summary.as_ref().map(|(at, _)| *at))
            .collect();
        ages.sort_unstable();
        let excess = ages.len().saturating_sub(MOST_SUMMARIES);
        let Some(oldest) = excess.checked_sub(1).and_then(|at| ages.get(at).copied()) else {
            return;
        };
        for of in peers.values_mut() {
            of.summary.take_if(|(at, _)| *at <= oldest);
        }
    }

    fn spend(&self, peer: &NodeId, cost: u32, now: Timestamp) -> Result<(), AnswerError> {
        self.with(peer, |of| of.spend(cost, now))
    }

    fn with<T>(&self, peer: &NodeId, work: impl FnOnce(&mut Of) -> T) -> T {
        work(self.lock().entry(peer.clone()).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Of>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn page_of(
    kernel: &Kernel,
    peer: &NodeId,
    page: Page,
    empty: Answer,
) -> Result<Answer, AnswerError> {
    let Page { of, after } = page;
    let asked = ChannelPage {
        of,
        after,
        most: MAX_ENTRIES + 1,
    };
    let mut entries = kernel
        .store()
        .channel(peer, ChannelSide::Received, &asked)?;
    let more = entries.len() > MAX_ENTRIES;
    entries.truncate(MAX_ENTRIES);
    Ok(Answer {
        entries,
        more,
        ..empty
    })
}

/// Returns those of these records that are held here and that the authority made, as many as an
/// answer carries. No policy is asked about them, so that what is past its deletion date is left out
/// here.
fn own_records(
    kernel: &Kernel,
    authority: &AuthorityId,
    ids: Vec<RecordId>,
) -> Result<Vec<SealedRecord>, StoreError> {
    let (decider, now) = (kernel.decider(), kernel.now());
    let mut records = Vec::new();
    for id in ids {
        let held = kernel.store().record(&id)?;
        let verified = held.and_then(|held| decider.verify_held(&held, now).ok());
        let own = verified.filter(|record| {
            let header = record.header();
            header.origin == *authority && !header.marking.is_over(now)
        });
        records.extend(own.map(|record| record.sealed().clone()));
    }
    records.truncate(Answer::carries(&records));
    Ok(records)
}

/// Enters records to be given back in the ledger, before they leave.
fn give_back(kernel: &Kernel, peer: &NodeId, records: &[SealedRecord]) -> Result<(), StoreError> {
    if records.is_empty() {
        return Ok(());
    }
    let given = records.iter().map(|record| Entry {
        id: record.id(),
        form: record.claimed_form(),
    });
    let back = GiveBack {
        peer: peer.clone(),
        at: kernel.now(),
        given: given.collect(),
    };
    kernel
        .writer()
        .commit_blocking(Priority::Bulk, vec![Write::GiveBack(back)])
        .map(drop)
}

/// Notes that the peer withdrew records, so that they are not sent to it. The copies held here
/// stay: only a signed recall by the originator erases them.
fn note_withdrawn(kernel: &Kernel, peer: &NodeId, ids: Vec<RecordId>) -> Result<(), StoreError> {
    let repair = Repair {
        peer: peer.clone(),
        at: kernel.now(),
        owed: Vec::new(),
        learned: Vec::new(),
        withdrawn: ids,
    };
    kernel
        .writer()
        .commit_blocking(Priority::Bulk, vec![Write::Repair(repair)])
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_testbed::NOW;

    #[test]
    fn a_peer_that_asks_too_much_is_told_to_ask_later() {
        let answers = Answers::default();
        let (greedy, other) = ("antwerp-1".parse().unwrap(), "hub-1".parse().unwrap());
        let pages = (0..1_000).take_while(|_| answers.spend(&greedy, DEAR, NOW).is_ok());
        assert_eq!(pages.count(), 40);
        answers.spend(&other, DEAR, NOW).unwrap();
        let later = NOW.plus_millis(MINUTE_MS);
        answers.spend(&greedy, DEAR, later).unwrap();
    }

    #[test]
    fn no_more_summaries_are_kept_than_may_be() {
        let answers = Answers::default();
        let empty = Arc::new([].iter().collect::<Summary>());
        for number in 0..40 {
            let peer = format!("node-{number}").parse().unwrap();
            let at = NOW.plus_millis(number);
            answers.with(&peer, |of| of.summary = Some((at, Arc::clone(&empty))));
            answers.forget_oldest();
        }
        let kept = answers.lock();
        let summaries = kept.values().filter(|of| of.summary.is_some());
        assert_eq!(summaries.count(), MOST_SUMMARIES);
    }
}

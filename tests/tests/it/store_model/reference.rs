//! The simulation's model, with additions for what no node of the simulation does: new peers,
//! ranges of older records, retries that a person asks for, the quarantine. The additions are
//! written from the trait's documentation as well.

use portcullis_protocol::{
    frame::{Generation, Lane, Outcome},
    identifiers::NodeId,
    seal::SealedRecord,
    time::Timestamp,
};
use portcullis_store::{
    Backfill, BackfillMove, BackfillRow, BadItem, BadItemRow, Intend, Retry, Settle, Span, Store,
    StoreError, Write, Written,
};
use portcullis_tests::sim::{
    ModelStore,
    store::{EXCEPTION_LIFE_MS, Note, State, state::Exception},
};

use super::side::{Lines, Reply, Side, commit_all};

/// Most ranges of one peer that wait, and most that are still listed after they have ended.
const MOST_RANGES: usize = 16;

/// The model and its additions.
pub(super) struct Reference {
    pub(super) model: ModelStore,
    pub(super) beside: Beside,
    pub(super) lines: Lines,
}

/// State that the model does not keep.
#[derive(Debug, Clone, Default)]
pub(super) struct Beside {
    ranges: Vec<BackfillRow>,
    /// Number of ranges ever entered.
    entered: i64,
    bad: Vec<(i64, BadItem)>,
    /// Number of items ever set apart.
    set_apart: i64,
    /// Sequence number, lane and time of each line of the log.
    times: Vec<(u64, Lane, Timestamp)>,
}

/// State to which a reference can be put back.
pub(super) struct Saved {
    state: State,
    beside: Beside,
    lines: Lines,
}

impl Reference {
    pub(super) fn new(model: ModelStore) -> Self {
        Self {
            model,
            beside: Beside::default(),
            lines: Lines::default(),
        }
    }

    pub(super) fn save(&self) -> Saved {
        Saved {
            state: self.model.durable(),
            beside: self.beside.clone(),
            lines: self.lines.clone(),
        }
    }

    pub(super) fn put_back(&mut self, saved: Saved) {
        let Saved {
            state,
            beside,
            lines,
        } = saved;
        self.model.install(state);
        self.beside = beside;
        self.lines = lines;
    }

    /// Returns the events that can be seen to have happened since the store began in this
    /// generation.
    pub(super) fn happened(&self, first: Generation) -> Vec<&'static str> {
        let state = self.model.durable();
        let notes = state.notes.values();
        let ended = |row: &BackfillRow| row.ended_at.is_some() && row.looked_at > 0;
        let extended = state
            .arrivals
            .values()
            .any(|row| row.answer.outcome == Outcome::Extended);
        let seen = [
            ("a fork", !state.forks.is_empty()),
            ("a held item", !state.held.is_empty()),
            ("an extended record", extended),
            ("a withdrawn record", !state.tombstones.is_empty()),
            ("an exception", !state.exceptions.is_empty()),
            ("an undelivered record", !state.undelivered.is_empty()),
            (
                "a record owed again",
                notes.copied().any(|note| note == Note::Owed),
            ),
            ("a range that ended", self.beside.ranges.iter().any(ended)),
            ("an item set apart", !self.beside.bad.is_empty()),
            ("another generation", state.generation != first),
        ];
        let seen = seen.into_iter().filter(|(_, seen)| *seen);
        seen.map(|(what, _)| what).collect()
    }

    fn alone(&mut self, write: Alone) -> Reply {
        match write {
            Alone::Meet(peers) => self.meet(&peers),
            Alone::Retry(retry) => self.retry(&retry)?,
            Alone::Backfill(backfill) => self.beside.enter(&backfill)?,
            Alone::Quarantine(items) => self.beside.set_apart(items),
            Alone::DropBad(numbers) => {
                let destroyed = self.beside.drop_bad(&numbers)?;
                return Ok(vec![Written::Destroyed(destroyed)]);
            }
        }
        Ok(vec![Written::Done])
    }

    fn meet(&self, peers: &[NodeId]) {
        let mut state = self.model.durable();
        let end = self.model.log_end().unwrap();
        let mut cursors = (*state.cursors).clone();
        for peer in peers {
            for lane in Lane::ALL {
                let cursor = cursors.entry((peer.clone(), *lane)).or_default();
                *cursor = end.max(*cursor);
            }
        }
        state.cursors = cursors.into();
        self.model.install(state);
    }

    /// Makes the retries of a record due at once and for another seven days, whether they wait or
    /// were given up.
    fn retry(&self, retry: &Retry) -> Result<(), StoreError> {
        let mut state = self.model.durable();
        let mut exceptions = (*state.exceptions).clone();
        let mut undelivered = (*state.undelivered).clone();
        let life = retry.now.plus_millis(EXCEPTION_LIFE_MS);
        let mut found = false;
        for lane in Lane::ALL {
            let key = (retry.peer.clone(), *lane, retry.record);
            if undelivered.remove(&key).is_some() || exceptions.contains_key(&key) {
                let exception = Exception {
                    next_attempt: retry.now,
                    ends_at: retry.delete_at.map_or(life, |at| life.min(at)),
                    attempts: 0,
                };
                exceptions.insert(key, exception);
                found = true;
            }
        }
        state.exceptions = exceptions.into();
        state.undelivered = undelivered.into();
        self.model.install(state);
        found.then_some(()).ok_or(StoreError::NotOwed)
    }

    fn note_times(&mut self, now: Timestamp) {
        let state = self.model.durable();
        let known = self.beside.times.len();
        let new = state.log.iter().skip(known);
        let times = new.map(|line| (line.sequence, line.lane, now));
        self.beside.times.extend(times);
    }
}

impl Beside {
    fn enter(&mut self, backfill: &Backfill) -> Result<(), StoreError> {
        let Backfill {
            peer,
            since,
            until,
            now,
        } = backfill;
        let mut after = self.clone();
        for lane in Lane::ALL {
            let span = self.span_of(*lane, *since, *until);
            after.entered += 1;
            after.ranges.push(BackfillRow {
                n: after.entered,
                peer: peer.clone(),
                log: *lane,
                since: *since,
                until: *until,
                next: span.after,
                last: span.last,
                looked_at: 0,
                sent: 0,
                started_at: *now,
                ended_at: (span.after >= span.last).then_some(*now),
                cancelled: false,
            });
        }
        let of_peer = |ended: bool| {
            let rows = after.ranges.iter();
            rows.filter(move |row| row.peer == *peer && row.ended_at.is_some() == ended)
        };
        if of_peer(false).count() > MOST_RANGES {
            return Err(StoreError::Crowded(
                "as many ranges are sent to this peer as may",
            ));
        }
        let ended: Vec<i64> = of_peer(true).map(|row| row.n).collect();
        let surplus = ended.len().saturating_sub(MOST_RANGES);
        let forgotten = &ended[..surplus];
        after.ranges.retain(|row| !forgotten.contains(&row.n));
        *self = after;
        Ok(())
    }

    fn span_of(&self, lane: Lane, since: Timestamp, until: Timestamp) -> Span {
        let within = self
            .times
            .iter()
            .filter(|(_, of, at)| *of == lane && (since..until).contains(at));
        let places: Vec<u64> = within.map(|(sequence, ..)| *sequence).collect();
        match (places.first(), places.last()) {
            (Some(first), Some(last)) => Span {
                after: first - 1,
                last: *last,
            },
            _ => Span { after: 0, last: 0 },
        }
    }

    fn moved(&mut self, filled: &BackfillMove, now: Timestamp) {
        let open = |row: &&mut BackfillRow| {
            row.n == filled.n && row.ended_at.is_none() && row.next <= filled.next
        };
        if let Some(row) = self.ranges.iter_mut().find(open) {
            row.next = filled.next;
            row.looked_at += filled.looked_at;
            row.sent += filled.sent;
            row.ended_at = filled.ended.then_some(now);
        }
    }

    fn drop_bad(&mut self, numbers: &[i64]) -> Result<usize, StoreError> {
        let before = self.bad.len();
        self.bad.retain(|(n, _)| !numbers.contains(n));
        match before - self.bad.len() {
            0 => Err(StoreError::NotThere),
            dropped => Ok(dropped),
        }
    }

    fn set_apart(&mut self, items: Vec<BadItem>) {
        for item in items {
            self.set_apart += 1;
            self.bad.push((self.set_apart, item));
        }
    }
}

/// Returns the move of a range that this write makes, if any.
const fn move_of(write: &Write) -> Option<BackfillMove> {
    if let Write::Intend(Intend { filled, .. }) | Write::Settle(Settle { filled, .. }) = write {
        *filled
    } else {
        None
    }
}

/// A write that the model does not handle; it is in a group of its own.
enum Alone {
    Meet(Vec<NodeId>),
    Retry(Retry),
    Backfill(Backfill),
    Quarantine(Vec<BadItem>),
    DropBad(Vec<i64>),
}

/// Returns the only write of the jobs, if the model does not handle it.
fn alone(jobs: &[Vec<Write>]) -> Option<Alone> {
    let [job] = jobs else { return None };
    let [write] = job.as_slice() else { return None };
    if let Write::Meet(peers) = write {
        Some(Alone::Meet(peers.clone()))
    } else if let Write::Retry(retry) = write {
        Some(Alone::Retry(retry.clone()))
    } else if let Write::Backfill(backfill) = write {
        Some(Alone::Backfill(backfill.clone()))
    } else if let Write::Quarantine(items) = write {
        Some(Alone::Quarantine(items.clone()))
    } else if let Write::DropBad(numbers) = write {
        Some(Alone::DropBad(numbers.clone()))
    } else {
        None
    }
}

impl Side for Reference {
    fn store(&self) -> &dyn Store {
        &self.model
    }

    fn lines(&self) -> &Lines {
        &self.lines
    }

    fn commit(&mut self, jobs: Vec<Vec<Write>>, now: Timestamp) -> Vec<Reply> {
        let moves: Vec<Vec<_>> = jobs
            .iter()
            .map(|job| job.iter().filter_map(move_of).collect())
            .collect();
        let replies = match alone(&jobs) {
            Some(write) => vec![self.alone(write)],
            None => commit_all(&self.model, jobs),
        };
        for (reply, moves) in replies.iter().zip(moves) {
            for filled in moves.iter().filter(|_| reply.is_ok()) {
                self.beside.moved(filled, now);
            }
        }
        self.note_times(now);
        self.lines.update(&self.model);
        replies
    }

    fn span(&self, lane: Lane, since: Timestamp, until: Timestamp) -> Span {
        self.beside.span_of(lane, since, until)
    }

    fn backfills(&self) -> Vec<BackfillRow> {
        self.beside.ranges.clone()
    }

    fn next_backfill(&self, peer: &NodeId) -> Option<BackfillRow> {
        let open = |row: &&BackfillRow| row.peer == *peer && row.ended_at.is_none();
        self.beside.ranges.iter().find(open).cloned()
    }

    fn bad_items(&self) -> Vec<BadItemRow> {
        let row = |(n, item): &(i64, BadItem)| BadItemRow {
            n: *n,
            peer: item.peer.clone(),
            record: item.sealed.id(),
            rule: item.rule.id().to_owned(),
            detail: item.detail.clone(),
            at: item.at,
            bytes: 0,
        };
        self.beside.bad.iter().rev().map(row).collect()
    }

    fn bad_item(&self, n: i64) -> Option<SealedRecord> {
        let found = self.beside.bad.iter().find(|(of, _)| *of == n);
        found.map(|(_, item)| item.sealed.clone())
    }

    fn quarantined(&self) -> u64 {
        self.beside.bad.len() as u64
    }
}

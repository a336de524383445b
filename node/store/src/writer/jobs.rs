//! Bulk jobs cut into pieces, and the owner of each part of a transaction.

use std::collections::VecDeque;

use tokio::sync::{mpsc, oneshot};

use super::queues::{Job, Reply};
use crate::{Write, Written};

/// Items in one piece of a long write: as many as a pack holds records.
const PIECE: usize = 32;

/// A bulk job in progress.
pub(super) struct Cut {
    /// Pieces that are not in a transaction yet.
    pieces: VecDeque<Vec<Write>>,
    /// Results of the other pieces. The first error stays.
    result: Reply,
    reply: oneshot::Sender<Reply>,
}

/// Owner of a part of a transaction.
#[derive(Clone, Copy)]
enum Owner {
    /// The bulk job with this number.
    Bulk(usize),
    Urgent,
}

/// The jobs from which one transaction takes parts.
pub(super) struct OpenJobs {
    /// Bulk jobs, the oldest first.
    cuts: VecDeque<Cut>,
    /// Index of the bulk job whose pieces are taken.
    at: usize,
    /// Reply channels of the urgent jobs that joined.
    urgent: Vec<oneshot::Sender<Reply>>,
    /// Owner of each part of the transaction.
    owners: Vec<Owner>,
}

impl OpenJobs {
    pub(super) const fn new(cuts: VecDeque<Cut>) -> Self {
        Self {
            cuts,
            at: 0,
            urgent: Vec::new(),
            owners: Vec::new(),
        }
    }

    /// Returns true if the transaction has taken nothing yet.
    pub(super) const fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// Returns true if an urgent job has joined.
    pub(super) const fn has_urgent(&self) -> bool {
        !self.urgent.is_empty()
    }

    pub(super) fn join(&mut self, job: Job) -> Vec<Write> {
        self.owners.push(Owner::Urgent);
        self.urgent.push(job.reply);
        job.writes
    }

    /// Returns the next piece of the open jobs, or of one that is queued.
    pub(super) fn next_piece(&mut self, bulk: &mut mpsc::Receiver<Job>) -> Option<Vec<Write>> {
        let is_done = |job: &Cut| job.pieces.is_empty();
        while self.cuts.get(self.at).is_some_and(is_done) {
            self.at += 1;
        }
        if self.at == self.cuts.len() {
            self.cuts.push_back(Cut::new(bulk.try_recv().ok()?));
        }
        let piece = self.cuts.get_mut(self.at)?.pieces.pop_front()?;
        self.owners.push(Owner::Bulk(self.at));
        Some(piece)
    }

    /// Gives every job its results, and returns the jobs that are not done. A transaction that
    /// could not begin took one part only; the owner of that part gets the failure.
    pub(super) fn settle(mut self, results: Vec<Reply>) -> VecDeque<Cut> {
        let mut urgent = self.urgent.into_iter();
        for (owner, result) in self.owners.into_iter().zip(results) {
            match owner {
                Owner::Bulk(number) => {
                    if let Some(job) = self.cuts.get_mut(number) {
                        job.take(result);
                    }
                }
                Owner::Urgent => {
                    if let Some(reply) = urgent.next() {
                        answer(reply, result);
                    }
                }
            }
        }
        self.cuts.into_iter().filter_map(Cut::finished).collect()
    }
}

impl Cut {
    pub(super) fn new(job: Job) -> Self {
        Self {
            pieces: pieces(job.writes),
            result: Ok(Vec::new()),
            reply: job.reply,
        }
    }

    /// Takes the result of the next piece. An error ends the job.
    fn take(&mut self, result: Reply) {
        match (&mut self.result, result) {
            (Ok(all), Ok(more)) => merge(all, more),
            (Ok(_), Err(error)) => {
                self.pieces.clear();
                self.result = Err(error);
            }
            (Err(_), _) => {}
        }
    }

    /// Answers a job that is done; returns it if it is not.
    fn finished(self) -> Option<Self> {
        if !self.pieces.is_empty() {
            return Some(self);
        }
        answer(self.reply, self.result);
        None
    }
}

/// Adds the results of a later piece of the same write.
fn merge(all: &mut Vec<Written>, more: Vec<Written>) {
    if all.is_empty() {
        *all = more;
        return;
    }
    for (whole, part) in all.iter_mut().zip(more) {
        match (whole, part) {
            (Written::Answers(answers), Written::Answers(more)) => answers.extend(more),
            (
                whole @ (Written::Done | Written::Answers(_) | Written::Destroyed(_)),
                refused @ (Written::Refused(_) | Written::OutOfSequence(_)),
            ) => {
                *whole = refused;
            }
            (Written::Refused(_) | Written::OutOfSequence(_), _)
            | (Written::Done | Written::Answers(_) | Written::Destroyed(_), Written::Done)
            | (_, Written::Destroyed(_))
            | (Written::Done | Written::Destroyed(_), Written::Answers(_)) => {}
        }
    }
}

/// Returns the pieces of a bulk job. A job of several writes is not cut, because the next piece is
/// taken before the result of the last one is known.
fn pieces(mut writes: Vec<Write>) -> VecDeque<Vec<Write>> {
    match (writes.pop(), writes.is_empty()) {
        (Some(write), true) => cut(write).into_iter().map(|piece| vec![piece]).collect(),
        (last, _) => {
            writes.extend(last);
            VecDeque::from([writes])
        }
    }
}

fn cut(write: Write) -> Vec<Write> {
    match write {
        Write::Publish { records, now } => {
            chunks(records, |records| Write::Publish { records, now })
        }
        Write::Intake(intake) => intake.parts(PIECE).into_iter().map(Write::Intake).collect(),
        Write::Consignments(rows) => chunks(rows, Write::Consignments),
        Write::Scores(rows) => chunks(rows, Write::Scores),
        Write::RemoveConsignments(names) => chunks(names, Write::RemoveConsignments),
        Write::Repair(repair) => repair.parts(PIECE).into_iter().map(Write::Repair).collect(),
        whole @ (Write::Intend(_)
        | Write::Fact(_)
        | Write::Settle(_)
        | Write::Register(_)
        | Write::Act(_)
        | Write::ActOutcome(_)
        | Write::Event(_)
        | Write::StartGeneration(_)
        | Write::Quarantine(_)
        | Write::DropBad(_)
        | Write::Meet(_)
        | Write::Backfill(_)
        | Write::CancelBackfills(_)
        | Write::Retry(_)
        | Write::Decide(_)
        | Write::AnswersReady { .. }
        | Write::GiveBack(_)
        | Write::Withdraw { .. }
        | Write::Reconciled(_)
        | Write::Recover { .. }) => vec![whole],
    }
}

/// Returns pieces of at most [`PIECE`] items, in order; at least one piece.
fn chunks<T>(items: Vec<T>, mut piece: impl FnMut(Vec<T>) -> Write) -> Vec<Write> {
    if items.is_empty() {
        return vec![piece(items)];
    }
    let mut items = items.into_iter();
    std::iter::from_fn(|| {
        let chunk: Vec<T> = items.by_ref().take(PIECE).collect();
        (!chunk.is_empty()).then(|| piece(chunk))
    })
    .collect()
}

/// Sends the result of a job. The requester may be gone by then; the write stands all the same.
pub(super) fn answer(reply: oneshot::Sender<Reply>, result: Reply) {
    if reply.send(result).is_err() {
        tracing::debug!("nobody waits for the result of a write");
    }
}
